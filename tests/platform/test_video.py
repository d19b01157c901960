"""Videos of checkpoints: what is drawn is an episode of the policy; what cannot be is refused.

Costs about 10 processor seconds, of which Ray and the run are most.
"""

import json
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
import pytest
from conftest import invoke
from mlflow import MlflowClient

from tenfold.platform import video
from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import make_experiment
from tenfold.platform.launch import launch
from tenfold.platform.registry import get_method
from tenfold.platform.study import resolve_study
from tenfold.platform.video import check_video


def config(method: str, task: str, **overrides: Any) -> Any:
    declared = get_method(method)
    variant = next(iter(declared.variants))
    return build_config(declared, task, variant, {**declared.smoke, **overrides}, seed=0)


@pytest.mark.usefixtures("ray_session")
def test_an_evaluation_films_an_episode_and_keeps_it_as_an_artifact(runs: Path) -> None:
    uri = f"sqlite:///{runs}/mlflow.db"
    length = 25
    settings = {**get_method("td3").smoke, "env_config.max_episode_steps": length}
    experiment = make_experiment(
        {"method": "td3", "config": settings, "stop": {"training_iteration": 1}}
    )
    launch(resolve_study(experiment), uri)
    client = MlflowClient(tracking_uri=uri)
    (found,) = client.search_experiments(filter_string="name = 'td3'")
    (trial,) = client.search_runs([found.experiment_id], "tags.kind = 'trial'")
    file = runs / "swing.gif"
    shown = invoke("evaluate", trial.info.run_id, "--video", file, "--json")
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    assert told["video"] == str(file)
    pictures = imageio.mimread(file)
    assert len(pictures) == length + 1  # Pendulum draws 30 pictures a second: every step
    assert pictures[0].shape[:2] == (500, 500)
    assert np.any(pictures[0] != pictures[-1])
    (artifact,) = client.list_artifacts(told["run_id"])
    assert artifact.path == "swing.gif"
    assert artifact.file_size == file.stat().st_size


def test_an_mp4_plays_at_the_tasks_rate(tmp_path: Path) -> None:
    pictures = [np.full((60, 81, 3), shade, np.uint8) for shade in range(0, 250, 10)]
    video._write(tmp_path / "a.mp4", pictures, 12.5)
    read = imageio.get_reader(tmp_path / "a.mp4")
    assert read.get_meta_data()["fps"] == 12.5
    assert sum(1 for _ in read) == 25


@pytest.mark.parametrize(
    ("method", "task", "file", "said"),
    [
        ("td3", "Pendulum-v1", "swing.avi", "ends in .mp4 or .gif"),
        ("td3", "Pendulum-v1", "absent/swing.gif", "there is no folder"),
        ("softmw", "switching", "queue.gif", "Task 'switching' has no renderer"),
        ("dqn", "switching", "queue.gif", "Task 'switching' has no renderer"),
    ],
    ids=["suffix", "folder", "planner", "no-renderer"],
)
def test_what_cannot_be_filmed_is_refused(
    method: str, task: str, file: str, said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refusal:
        check_video(tmp_path / file, config(method, task), task)
    assert said in str(refusal.value)


def test_without_opengl_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(video, "_works", lambda way: False)
    with pytest.raises(InputError, match=r"no OpenGL \(tried egl, osmesa\)\. Install") as refusal:
        check_video(tmp_path / "hop.mp4", config("td3", "Hopper-v5"), "Hopper-v5")
    assert "\n" not in str(refusal.value)


def test_a_renderer_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "crayon")
    with pytest.raises(InputError, match=r"cannot be drawn on this machine: .*crayon"):
        check_video(tmp_path / "hop.mp4", config("td3", "Hopper-v5"), "Hopper-v5")
