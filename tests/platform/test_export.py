"""`tenfold export`: a model acts as the policy of the trial does (11 s, and Ray if it is first)."""

import os
import re
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from conftest import invoke
from mlflow import MlflowClient
from mlflow.entities import Run
from ray.rllib.core import COMPONENT_RL_MODULE
from torch import nn

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


def trained(name: str, task: str, **config: Any) -> Any:
    method = get_method(name)
    fields = {"method": name, "config": {**method.smoke, **config}}
    study = resolve_study(make_experiment({**fields, "stop": {"training_iteration": 1}}))
    variant = next(iter(method.variants))
    built = trial_class(study)({"task": task, "variant": variant, "seed": 0})
    built.train()
    return built


def played(algorithm: Any) -> tuple[np.ndarray, np.ndarray]:
    """Observations of a greedy episode by RLlib's runner, and the actions that the task got."""
    runner = algorithm.eval_env_runner or algorithm.env_runner
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
        ("icvar_deep", "risk/WindyCliff-v0"),
        ("rs_disrl_deep", "collected/Betting-v0"),
        ("risk_pomdp_deep", "hindsight/Tiger-v0"),
    ],
)
def test_a_model_acts_as_rllibs_runner_does_without_exploration(
    name: str, task: str, uri: str, run: Run, tmp_path: Path
) -> None:
    algorithm = trained(name, task)
    seen, given = played(algorithm)
    policy, example = _policy(get_method(name), algorithm, tmp_path)
    loaded = served(policy, example, run, uri)
    assert "MLFLOW_TRACKING_URI" not in os.environ
    np.testing.assert_allclose(loaded.predict(seen), given, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(loaded.predict(seen[:1]), given[:1], rtol=1e-5, atol=1e-6)
    algorithm.stop()


def served(network: nn.Module, example: np.ndarray, run: Run, uri: str) -> Any:
    """The model as whoever loads it from the store gets it."""
    log_network(network, example, run, uri, step=0)
    with mlflow_on(uri):
        return mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")


def test_what_transformers_loads_goes_with_a_network(uri: str, run: Run, tmp_path: Path) -> None:
    saved = tmp_path / "model"
    saved.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (saved / name).write_text(name)
    example = np.zeros((2, 3), np.float32)
    log_network(nn.Linear(3, 2), example, run, uri, step=0, beside=saved)
    with mlflow_on(uri):
        address = f"runs:/{run.info.run_id}/model"
        found = Path(mlflow.artifacts.download_artifacts(f"{address}/extra_files"))
        assert mlflow.pyfunc.load_model(address).predict(example).shape == (2, 2)
    assert {file.name: file.read_text() for file in found.iterdir()} == {
        name: name for name in ("config.json", "tokenizer.json")
    }


def test_a_table_of_actions_by_step_and_state_acts_as_the_plan(uri: str, run: Run) -> None:
    algorithm = trained("icvar", "mdp/RiskyShortcut-v0")
    model = served(*algorithm.as_network(), run, uri)
    policy, rng = algorithm.present_policy(), np.random.default_rng(0)
    for _ in range(10):
        played = algorithm.truth.mdp.play(policy, rng)
        at = np.column_stack([np.arange(len(played.actions)), played.states[:-1]])
        np.testing.assert_array_equal(model.predict(at), played.actions)


def test_a_table_that_knows_what_was_collected_acts_as_the_plan(uri: str, run: Run) -> None:
    algorithm = trained("rs_disrl", "static/Betting-v0")
    model = served(*algorithm.as_network(), run, uri)
    policy, rng = algorithm.present_policy(), np.random.default_rng(0)
    for _ in range(10):
        played = algorithm.mdp.play(policy, rng)
        at = [np.arange(len(played.actions)), played.states[:-1], played.collected[:-1]]
        np.testing.assert_array_equal(model.predict(np.column_stack(at)), played.actions)


@pytest.mark.parametrize("planner", ["exact", "point_based"])
def test_reactions_to_observations_are_those_of_the_plan(planner: str, uri: str, run: Run) -> None:
    algorithm = trained("risk_pomdp", "pomdp/Tiger-v0", planner=planner)
    model = served(*algorithm.as_network(), run, uri)
    policy, rng = algorithm.present_policy(), np.random.default_rng(0)
    for _ in range(10):
        played = algorithm.truth.play(policy, rng)
        H = len(played.actions)
        seen = np.where(np.tri(H, dtype=bool), played.observations, -1)  # row h: what h knows
        np.testing.assert_array_equal(model.predict(seen), played.actions)


def test_the_actor_over_abstractions_says_what_the_learned_policy_does(uri: str, run: Run) -> None:
    algorithm = trained("rl_cfr", "river_hunl")
    actor, example = algorithm.as_network()
    model = served(actor, example, run, uri)
    seen = np.random.default_rng(0).standard_normal((5, example.shape[1])).astype(np.float32)
    learned = algorithm.learner.networks.actor
    given = np.stack([learned.act(row) for row in seen])
    np.testing.assert_allclose(model.predict(seen), given, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("in_process")
def test_the_command_logs_a_plan_under_its_run(runs: Path) -> None:
    config = ("--set", "episodes_per_iteration=5", "--stop", "episodes=5")
    assert invoke("run", "icvar", *config).exit_code == 0
    (trial,) = (path.parent for path in runs.rglob("params.json"))
    done = invoke("export", trial)
    assert done.exit_code == 0, done.output
    (address,) = set(re.findall(r"runs:/\w+/model", done.stdout))
    with mlflow_on(f"sqlite:///{runs}/mlflow.db"):
        model = mlflow.pyfunc.load_model(address)
    assert model.predict(np.zeros((3, 2), np.int64)).shape == (3,)


@pytest.mark.usefixtures("in_process")
def test_a_trial_without_a_network_is_refused_with_what_it_leaves(runs: Path) -> None:
    assert invoke("run", "ucb1", "--stop", "pulls=2000").exit_code == 0
    (trial,) = (path.parent for path in runs.rglob("params.json"))
    done = invoke("export", trial)
    assert isinstance(done.exception, InputError)
    assert str(trial / "checkpoint_") in str(done.exception)
