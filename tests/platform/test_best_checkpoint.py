"""Greedy evaluation at intervals, and the checkpoint that is the best by it.

Costs about 12 processor seconds, of which Ray and imports are 8.
"""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from conftest import invoke
from mlflow import MlflowClient
from ray.rllib.core.columns import Columns

from tenfold.platform.checkpoints import HISTORY_FILE
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import make_experiment
from tenfold.platform.launch import launch
from tenfold.platform.registry import get_method
from tenfold.platform.score import checkpoint_score
from tenfold.platform.study import resolve_study
from tenfold.platform.trial import CHECKPOINT_SCORE, trial_class
from tenfold.platform.trial_files import best_checkpoint, find_checkpoint

METRIC = "episode_return_mean"


def evaluations(results: list[dict[str, Any]]) -> list[float | None]:
    """The metric of each iteration, None where it had no evaluation."""
    found = [each.get("evaluation", {}).get("env_runners", {}).get(METRIC) for each in results]
    return [None if value is None else float(value) for value in found]


def trial(name: str, task: str, rule: int, **overrides: Any) -> Any:
    config = {**get_method(name).smoke, **overrides}
    fields = {"method": name, "config": config, "stop": {"training_iteration": rule}}
    study = resolve_study(make_experiment(fields))
    return trial_class(study)({"task": task, "variant": name, "seed": 0})


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    ("name", "task"), [("dqn", "CartPole-v1"), ("ppo", "CartPole-v1"), ("sac", "Pendulum-v1")]
)
def test_an_evaluation_is_a_rollout_of_the_modules_best_actions(name: str, task: str) -> None:
    episodes = 3
    built = trial(name, task, rule=2, evaluation_duration=episodes)
    _, found = evaluations([built.train(), built.train()])
    module, config = built.get_module(), built.evaluation_config
    assert config.explore is False
    env = gym.make(task)
    returns = []
    seen, _ = env.reset(seed=built.eval_env_runner._seed)  # at each evaluation, of RLlib's runner
    for _ in range(episodes):
        total, over = 0.0, False
        while not over:
            batch = {Columns.OBS: torch.from_numpy(np.asarray(seen, np.float32))[None]}
            with torch.no_grad():
                seen, reward, terminated, truncated, _ = env.step(greedy(module, env, batch))
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
        seen, _ = env.reset()
    assert found == pytest.approx(np.mean(returns), rel=1e-4)
    built.stop()


def greedy(module: Any, env: Any, batch: dict[str, torch.Tensor]) -> Any:
    """The most valued or most likely action, scaled to the environment's bounds."""
    if not isinstance(env.action_space, gym.spaces.Box):
        if hasattr(module, "compute_q_values"):
            return int(module.compute_q_values(batch)["qf_preds"].argmax())
        return int(module.forward_inference(batch)[Columns.ACTION_DIST_INPUTS].argmax())
    logits = module.forward_inference(batch)[Columns.ACTION_DIST_INPUTS][0]
    mean = torch.tanh(logits[: len(logits) // 2]).numpy()
    low, high = env.action_space.low, env.action_space.high
    return low + (mean + 1) * (high - low) / 2


@pytest.mark.usefixtures("ray_session")
def test_the_first_and_the_last_iteration_are_evaluated_whatever_the_interval() -> None:
    built = trial("dqn", "CartPole-v1", rule=5, evaluation_interval=3)
    found = [value is not None for value in evaluations([built.train() for _ in range(5)])]
    assert found == [True, False, True, False, True]
    built.stop()


@pytest.mark.usefixtures("ray_session")
def test_the_best_checkpoint_is_the_argmax_of_the_scores_and_the_newest_stays(runs: Path) -> None:
    uri, iterations = f"sqlite:///{runs}/mlflow.db", 8
    config = {**get_method("dqn").smoke, "evaluation_interval": 1, "lr": 0.05}
    experiment = make_experiment(
        {
            "method": "dqn",
            "config": config,
            "seeds": [1],
            "stop": {"training_iteration": iterations},
            "checkpoint": {"every": 1, "keep": 1},
        }
    )
    outcome = launch(resolve_study(experiment), uri)
    (file,) = outcome.run_dir.glob("*/result.json")
    results = [json.loads(line) for line in file.read_text().splitlines()]
    scores = [each[CHECKPOINT_SCORE] for each in results]
    assert scores == evaluations(results)  # of eight iterations the last tenth is one
    best = max(range(iterations), key=lambda index: (scores[index], index))
    assert best < iterations - 1
    kept = sorted(path.name for path in file.parent.glob("checkpoint_*"))
    assert kept == [f"checkpoint_{best:06d}", f"checkpoint_{iterations - 1:06d}"]
    client = MlflowClient(tracking_uri=uri)
    (found,) = client.search_experiments(filter_string="name = 'dqn'")
    (run,) = client.search_runs([found.experiment_id], "tags.kind = 'trial'")
    told = [
        json.loads(invoke("evaluate", run.info.run_id, *flags, "--json").stdout)
        for flags in ([], ["--best"])
    ]
    assert [each["checkpoint"] for each in told] == kept[::-1]


def checkpoints(folder: Path, histories: dict[int, list[tuple[float, float]]]) -> Path:
    for number, history in histories.items():
        place = folder / f"checkpoint_{number:06d}"
        place.mkdir()
        (place / HISTORY_FILE).write_text(json.dumps(history))
    return folder


@pytest.mark.parametrize(("mode", "best"), [("max", 4), ("min", 2)])
def test_what_diverged_is_never_the_best_and_the_later_of_equals_is(
    mode: str, best: int, tmp_path: Path
) -> None:
    method = replace(get_method("ppo"), mode=mode, score="best_evaluation")
    values = [2.0, 7.0, 1.0, 4.0, 7.0, 3.0, math.inf if mode == "max" else -math.inf]
    history = [(float(step), value) for step, value in enumerate(values)]
    folder = checkpoints(tmp_path, {n: history[: n + 1] for n in range(len(values))})
    assert best_checkpoint(folder, method).name == f"checkpoint_{best:06d}"
    assert checkpoint_score(history[:4], method) == 4.0


def test_a_trial_without_a_best_checkpoint_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'regret' of icvar adds up over a run"):
        best_checkpoint(checkpoints(tmp_path, {0: [(1.0, 2.0)]}), get_method("icvar"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="There is no checkpoint"):
        best_checkpoint(tmp_path / "empty", get_method("ppo"))
    (tmp_path / "unscored").mkdir()
    with pytest.raises(InputError, match="has no score"):
        best_checkpoint(checkpoints(tmp_path / "unscored", {3: []}), get_method("ppo"))


def test_a_folder_stands_for_its_newest_or_its_best_checkpoint(tmp_path: Path) -> None:
    """As `tenfold sample` and other commands of one method take it."""
    histories = {n: [(float(n), value)] for n, value in enumerate((2.0, 7.0, 1.0))}
    folder, uri = checkpoints(tmp_path, histories), f"sqlite:///{tmp_path}/none.db"
    for best, name in ((False, "checkpoint_000002"), (True, "checkpoint_000001")):
        assert find_checkpoint(str(folder), "ppo", uri, best) == folder / name
    one = folder / "checkpoint_000000"
    assert find_checkpoint(str(one), "ppo", uri) == one
    with pytest.raises(InputError, match="is no trial, of whose checkpoints --best takes one"):
        find_checkpoint(str(one), "ppo", uri, best=True)
