"""Tuned values: they reach the config and the record, and what a user says wins.

Costs about 3 processor seconds, most of them imports.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tenfold import tune_spaces
from tenfold.platform import tuned
from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import Experiment, make_experiment
from tenfold.platform.registry import get_method
from tenfold.platform.tracking import recorded_parameters
from tenfold.platform.tuned import with_tuned

METHOD = get_method("ppo")
VALUES = {"lr": 0.002, "entropy_coeff": 0.03, "lambda": 0.9, "model_config.fcnet_hiddens": [7]}
SHIPPED = sorted((Path(tune_spaces.__file__).parent / "tuned").glob("*.yaml"))


@pytest.fixture(autouse=True)
def tuned_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of PPO for one task, and of nothing else."""
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "ppo.yaml").write_text(yaml.safe_dump({"Acrobot-v1": VALUES}))
    spaces = SimpleNamespace(__file__=str(tmp_path / "ppo.py"))
    monkeypatch.setattr(tuned, "import_module", lambda name: spaces)


def experiment(**fields: Any) -> Experiment:
    return make_experiment({"method": "ppo", "task": "Acrobot-v1", **fields})


def built(asked: Experiment) -> Any:
    return build_config(METHOD, asked.tasks[0], asked.variants[0], asked.config, seed=0)


def test_they_reach_the_config_and_the_record_and_what_is_set_wins() -> None:
    config = built(with_tuned(experiment(config={"lambda": 0.5, "gamma": 0.9})))
    assert (config.lr, config.entropy_coeff, config.lambda_, config.gamma) == (2e-3, 0.03, 0.5, 0.9)
    assert config.model_config["fcnet_hiddens"] == [7]
    recorded = recorded_parameters(METHOD, "Acrobot-v1", config)
    assert recorded["lr"] == 0.002
    assert built(experiment()).lr != 0.002


def test_a_mapping_that_is_set_as_a_whole_wins_over_an_entry() -> None:
    asked = with_tuned(experiment(config={"model_config": {"fcnet_hiddens": [5, 5]}}))
    assert built(asked).model_config["fcnet_hiddens"] == [5, 5]


def test_what_is_swept_and_what_a_variant_changes_stay() -> None:
    swept = with_tuned(experiment(space={"lr": "loguniform(1e-4, 1e-3)"}))
    assert "lr" not in swept.config
    assert swept.config["entropy_coeff"] == 0.03
    variant = with_tuned(experiment(variants=["ppo", "no_entropy_bonus"]))
    assert "entropy_coeff" not in variant.config
    assert variant.config["lr"] == 0.002


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"task": "CartPole-v1"}, "of ppo for 'CartPole-v1', only for Acrobot-v1: leave out"),
        ({"method": "dqn"}, "of dqn for 'Acrobot-v1': leave out --tuned"),
        ({"task": ["Acrobot-v1", "CartPole-v1"]}, "values of one task, and 2 are given"),
    ],
    ids=["task", "method", "tasks"],
)
def test_where_there_are_none_a_sentence_says_so(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as refusal:
        with_tuned(experiment(**fields))
    assert said in str(refusal.value)


@pytest.mark.parametrize("file", SHIPPED, ids=[file.stem for file in SHIPPED])
def test_shipped_values_are_valid_and_no_defaults(file: Path) -> None:
    method = get_method(file.stem)
    for task, values in yaml.safe_load(file.read_text()).items():
        assert task in method.tasks
        variant = next(iter(method.variants))
        config = build_config(method, task, variant, values, seed=0)
        recorded = recorded_parameters(method, task, config)
        default = recorded_parameters(method, task, build_config(method, task, variant, {}, 0))
        assert recorded != default
