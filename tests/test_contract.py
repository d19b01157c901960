"""What holds for every registered method; a new one is covered as soon as it is declared."""

import tempfile
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from ray import tune
from safetensors.numpy import load_file

from tenfold.envs.gymnasium_tasks import make_gymnasium
from tenfold.platform.configuration import build_config, check_key, flatten
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import make_experiment
from tenfold.platform.registry import Method, Space, methods
from tenfold.platform.study import resolve_study
from tenfold.platform.training import TrainingConfig, TrainingTrial
from tenfold.platform.trial import trial_class

METHODS = methods()
TIMED = ("_seconds", "_per_second")
pytestmark = [
    pytest.mark.usefixtures("ray_session"),
    pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys()),
]


def smoke_trial(method: Method, task: str | None = None, **overrides: Any) -> Any:
    """The method's Algorithm as Tune builds it, sized to take about a second."""
    config = {**method.smoke, **overrides}
    experiment = make_experiment({"method": method.name, "config": config})
    point = {
        "task": task or experiment.tasks[0],
        "variant": experiment.variants[0],
        "seed": 0,
    }
    return trial_class(resolve_study(experiment))(point)


def declared(method: Method, result: dict[str, Any]) -> dict[str, float]:
    flat = flatten(result, separator="/")
    return {key: float(flat[key]) for key in method.metrics if key in flat}


def reproducible(values: dict[str, float]) -> dict[str, float]:
    """Metrics without those that measure time."""
    return {key: value for key, value in values.items() if not key.endswith(TIMED)}


def leaves(nested: Any, prefix: str = "") -> dict[str, Any]:
    """Every value of a nested state by its path; numbers and arrays only."""
    if isinstance(nested, dict):
        found: dict[str, Any] = {}
        for key, value in nested.items():
            found |= leaves(value, f"{prefix}/{key}")
        return found
    if isinstance(nested, list | tuple):
        return leaves(dict(enumerate(nested)), prefix)
    if isinstance(nested, int | float | np.ndarray | np.number) or hasattr(nested, "numpy"):
        return {prefix: np.asarray(nested)}
    return {}


def memory_of(algorithm: Any) -> dict[str, Any]:
    """What the trial learnt: its plan, its networks and optimisers, or what its loop saves."""
    if isinstance(algorithm, TrainingTrial):
        with tempfile.TemporaryDirectory() as folder:
            algorithm.save_checkpoint(folder)
            shards = sorted(Path(folder).glob("*.safetensors"))
            return leaves({shard.name: load_file(shard) for shard in shards})
    state = algorithm.get_state()
    return leaves(state["plan"] if "plan" in state else state["learner_group"])


def test_it_builds_trains_and_logs_its_declared_metrics(method: Method) -> None:
    algorithm = smoke_trial(method)
    results = [flatten(algorithm.train(), separator="/") for _ in range(3)]
    steps = [result[method.step_metric] for result in results]
    assert 0 < steps[0] < steps[1] < steps[2]
    assert method.metric in method.metrics
    logged = [declared(method, result) for result in results]
    # RLlib gives NaN for the mean return of an iteration in which no episode ended.
    assert any(np.isfinite(values.get(method.metric, np.nan)) for values in logged)
    assert set().union(*logged) >= set(method.metrics) - method.optional_metrics
    algorithm.stop()


def test_a_restored_algorithm_has_learnt_what_the_saved_one_had(
    method: Method, tmp_path: Path
) -> None:
    saved = smoke_trial(method)
    saved.train()
    checkpoint = str(tmp_path / "checkpoint")
    saved.save_checkpoint(checkpoint)
    restored = smoke_trial(method)
    before = memory_of(saved)
    assert before
    assert any(not np.array_equal(before[k], v) for k, v in memory_of(restored).items())
    restored.load_checkpoint(checkpoint)
    after = memory_of(restored)
    assert before.keys() == after.keys()
    for key, value in before.items():
        np.testing.assert_array_equal(value, after[key], err_msg=key)
    saved.stop()
    restored.stop()


def test_the_same_seed_gives_the_same_metrics_afresh_and_after_another_trial(
    method: Method,
) -> None:
    experiment = make_experiment({"method": method.name, "config": dict(method.smoke)})
    task, variant = experiment.tasks[0], experiment.variants[0]

    def point(seed: int) -> dict[str, Any]:
        return {"task": task, "variant": variant, "seed": seed}

    def metrics(algorithm: Any) -> dict[str, float]:
        for _ in range(2):
            result = algorithm.train()
        return reproducible(declared(method, result))

    build = trial_class(resolve_study(experiment))
    one = build(point(0))
    expected = metrics(one)
    one.stop()
    other = build(point(1))
    assert metrics(other) != expected
    assert other.reset(point(0))
    assert metrics(other) == expected
    other.stop()


def test_every_variant_and_space_is_valid_for_the_config(method: Method) -> None:
    task = method.tasks[0]
    for variant in method.variants:
        build_config(method, task, variant, method.smoke, seed=0)
    spaces = method.load_spaces()
    assert {"default", "smoke"} <= set(spaces)
    for name, space in spaces.items():
        assert isinstance(space, Space)
        sampled = {key: domain.sample() for key, domain in space.define(tune).items()}
        assert sampled, name
        build_config(method, task, next(iter(method.variants)), {**method.smoke, **sampled}, 0)


def test_every_task_is_there(method: Method) -> None:
    """Each task's config is built; an environment also takes a step."""
    for task in method.tasks:
        build_config(method, task, next(iter(method.variants)), {}, seed=0)
        if task in gymnasium.registry:
            env = make_gymnasium(task)
            env.reset(seed=0)
            observation, reward, *_ = env.step(env.action_space.sample())
            assert env.observation_space.contains(observation), task
            assert np.isfinite(reward), task
            env.close()


def test_it_refuses_a_key_it_does_not_have(method: Method) -> None:
    with pytest.raises(InputError, match="learning_rat_e") as refusal:
        build_config(method, method.tasks[0], next(iter(method.variants)), {"learning_rat_e": 1}, 0)
    assert method.name in str(refusal.value)


def test_its_declaration_is_whole(method: Method) -> None:
    assert method.mode in ("min", "max")
    assert method.title
    assert len(set(method.tasks)) == len(method.tasks)
    assert method.step_metric
    config_class = method.load_config_class()
    is_loop = issubclass(config_class, TrainingConfig)
    for key in method.smoke:
        check_key(method, config_class if is_loop else config_class(), key)
