"""Distances and accuracies of the judge, and the trainings of the embedded default. About 10 s."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tenfold.algorithms.lcm.embedded import make_pipeline
from tenfold.algorithms.lcm.judge import (
    as_tensor,
    caption_accuracy,
    diversity,
    frechet_distance,
    load_judge,
    mmd,
    save_judge,
    train_judge,
)
from tenfold.algorithms.lcm.pretraining import Stage, train_autoencoder, train_teacher
from tenfold.envs.data.scenes import WORDS, draw_scenes


def test_the_frechet_distance_of_gaussians_is_its_closed_form() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(0.0, 1.0, (200_000, 3))
    b = rng.normal(0.5, 2.0, (200_000, 3))
    # |m_a - m_b|^2 + sum (s_a - s_b)^2
    assert frechet_distance(a, b) == pytest.approx(3 * 0.25 + 3 * 1.0, rel=0.02)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-6)


def test_mmd_is_unbiased_and_sees_a_shift() -> None:
    rng = np.random.default_rng(1)
    same = [mmd(rng.normal(size=(50, 4)), rng.normal(size=(50, 4))) for _ in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(200)
    assert mmd(rng.normal(size=(50, 4)), rng.normal(1.0, 1.0, (50, 4))) > max(same)


def test_accuracy_counts_each_attribute_and_all_of_them() -> None:
    asked = np.zeros((4, 5), dtype=int)
    seen = asked.copy()
    seen[0, 0] = seen[1, 0] = seen[1, 4] = 1
    accuracy = caption_accuracy(seen, asked)
    assert accuracy["accuracy"] == 0.5
    assert accuracy["accuracy_first_shape"] == 0.5
    assert accuracy["accuracy_relation"] == 0.75
    assert accuracy["accuracy_second_colour"] == 1.0


def test_diversity_is_the_mean_distance_within_a_prompt() -> None:
    images = torch.zeros(2, 2, 3, 4, 4)
    images[0, 1] = 1.0
    assert diversity(images) == pytest.approx(0.5)


def test_a_judge_learns_and_keeps_what_it_knows(tmp_path: Path) -> None:
    judge = train_judge("night", seed=0, steps=60, drawings=1_000)
    scenes = draw_scenes(200, seed=9, style="night")
    accuracy = caption_accuracy(judge.attributes(as_tensor(scenes.images)), scenes.attributes)
    assert accuracy["accuracy_relation"] > 0.9  # chance 0.5
    save_judge(judge, "night", tmp_path)
    again, style = load_judge(tmp_path)
    assert style == "night"
    images = as_tensor(scenes.images)
    np.testing.assert_allclose(again.features(images), judge.features(images), atol=0.02)


def test_every_word_of_a_caption_has_a_token_of_its_own() -> None:
    tokenizer = make_pipeline(0).tokenizer
    ids = tokenizer(" ".join(WORDS[:10])).input_ids
    assert len(set(ids)) == 12
    assert tokenizer.unk_token_id not in tokenizer(list(WORDS)).input_ids[0]
    captions = draw_scenes(50, seed=0).captions
    assert max(len(each) for each in tokenizer(captions).input_ids) <= tokenizer.model_max_length


def test_an_interrupted_training_of_the_teacher_goes_on_as_if_it_had_not_been(
    tmp_path: Path,
) -> None:
    scenes = draw_scenes(32, seed=0)
    images = as_tensor(scenes.images)
    ends = {}
    for name, stop in (("straight", None), ("interrupted", 3)):
        pipeline = make_pipeline(0)
        stage = Stage(steps=4, batch=8, lr=1e-3, save_every=2)

        def report(step: int, loss: float, stop: int | None = stop) -> None:
            if step == stop:
                raise KeyboardInterrupt

        arguments = (stage, 0, tmp_path / name)
        train_autoencoder(pipeline.vae, images, stage, 0, tmp_path / f"{name}_vae", lambda *_: None)
        if stop is not None:
            with pytest.raises(KeyboardInterrupt):
                train_teacher(pipeline, images, scenes.captions, *arguments, report)
        train_teacher(pipeline, images, scenes.captions, *arguments, lambda *_: None)
        ends[name] = pipeline.unet.state_dict()
        assert pipeline.vae.config.scaling_factor > 0
    for name, tensor in ends["straight"].items():
        assert torch.equal(tensor, ends["interrupted"][name])
