"""`tenfold export`: a model acts as the policy of the trial does (11 s, and Ray if it is first)."""

import os
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from conftest import invoke
from mlflow import MlflowClient
from mlflow.entities import Run
from ray.rllib.core import COMPONENT_RL_MODULE

from tenfold.platform.errors import InputError
from tenfold.platform.experiment import make_experiment
from tenfold.platform.export import _policy, log_network, mlflow_on
from tenfold.platform.registry import get_method
from tenfold.platform.study import resolve_study
from tenfold.platform.trial import trial_class


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture
def run(uri: str) -> Run:
    client = MlflowClient(uri)
    found = client.get_experiment_by_name("models")
    experiment = (
        found.experiment_id
        if found
        else client.create_experiment(
            "models", artifact_location=str(Path(uri.removeprefix("sqlite:///")).parent)
        )
    )
    return client.create_run(experiment)


def trained(name: str, task: str) -> Any:
    method = get_method(name)
    fields = {"method": name, "config": method.smoke, "stop": {"training_iteration": 1}}
    study = resolve_study(make_experiment(fields))
    variant = next(iter(method.variants))
    built = trial_class(study)({"task": task, "variant": variant, "seed": 0})
    built.train()
    return built


def played(algorithm: Any) -> tuple[np.ndarray, np.ndarray]:
    """Observations of a greedy episode by RLlib's runner, and the actions that the task got."""
    runner = algorithm.eval_env_runner
    # As `evaluate` does; it holds what it played last.
    runner.set_state({COMPONENT_RL_MODULE: algorithm.get_module().get_state(inference_only=True)})
    given: list[Any] = []
    step = runner.env.step

    def recorded(actions: Any) -> Any:
        given.append(np.asarray(actions)[0])
        return step(actions)

    runner.env.step = recorded
    (episode,) = runner.sample(num_episodes=1, explore=False)
    runner.env.step = step
    return np.asarray(episode.get_observations(), np.float32)[:-1], np.array(given)[: len(episode)]


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("ppo", "CartPole-v1"),
        ("ppo", "Pendulum-v1"),
        ("dqn", "CartPole-v1"),
        ("sac", "Pendulum-v1"),
        ("td3", "Pendulum-v1"),
        ("omnet", "Pendulum-v1"),
    ],
)
def test_a_model_acts_as_rllibs_runner_does_without_exploration(
    name: str, task: str, uri: str, run: Run, tmp_path: Path
) -> None:
    algorithm = trained(name, task)
    seen, given = played(algorithm)
    policy, example = _policy(get_method(name), algorithm, tmp_path)
    log_network(policy, example, run, uri, step=0)
    with mlflow_on(uri):
        loaded = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
    assert "MLFLOW_TRACKING_URI" not in os.environ
    np.testing.assert_allclose(loaded.predict(seen), given, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loaded.predict(seen[:1]), given[:1], rtol=1e-5, atol=1e-6)
    algorithm.stop()


@pytest.mark.usefixtures("in_process")
def test_a_trial_without_a_network_is_refused_with_what_it_leaves(runs: Path) -> None:
    assert invoke("run", "ucb1", "--stop", "pulls=2000").exit_code == 0
    (trial,) = (path.parent for path in runs.rglob("params.json"))
    done = invoke("export", trial)
    assert isinstance(done.exception, InputError)
    assert str(trial / "checkpoint_") in str(done.exception)
