"""`tenfold describe`: every key with what is known of it, in 80 columns and as JSON.

Costs a few seconds of imports.
"""

import json

import pytest
from conftest import invoke

from tenfold.platform.describe import describe
from tenfold.platform.errors import InputError
from tenfold.platform.registry import get_method, methods


@pytest.mark.parametrize("name", sorted(methods()))
def test_every_key_of_every_method_is_described(name: str) -> None:
    method = get_method(name)
    rows = describe(method)
    keys = [row.key for row in rows]
    assert len(set(keys)) == len(keys)
    assert all(row.type for row in rows)
    for variant in method.variants.values():
        assert {key.partition(".")[0] for key in variant} <= set(keys)
    if name != "ucb1":
        assert [row.key for row in rows if row.group == "method" and not row.meaning] == []


def test_what_a_key_is_stands_in_its_row() -> None:
    rows = {row.key: row for row in describe(get_method("icvar_deep"), "risk/CurvyRoad-v0")}
    alpha = rows["alpha"]
    assert (alpha.type, alpha.bounds, alpha.default) == ("number", "1e-06 to 1", 0.25)
    assert rows["lr"].type == "number or list of lists"
    assert rows["lr"].bounds == "above 0, at most 100"
    assert rows["anneal_steps"].unit == "env steps"
    assert rows["td_error_loss_fn"].type == "huber | mse"
    cost = rows["env_config.cost"]
    assert (cost.group, cost.default, cost.meaning) == ("task", 2.0, "What a skid costs")


def test_a_gymnasium_task_is_described_by_its_constructor() -> None:
    rows = {row.key: row for row in describe(get_method("dqn"), "FrozenLake-v1")}
    assert rows["env_config.is_slippery"].type == "true or false"
    assert rows["env_config.map_name"].default == "4x4"
    assert rows["env_config.max_episode_steps"].default == 100


def test_rllibs_own_keys_come_when_asked_for() -> None:
    few = {row.key for row in describe(get_method("ppo"))}
    every = {row.key: row for row in describe(get_method("ppo"), everything=True)}
    assert few < every.keys()
    assert every["sample_timeout_s"].meaning.startswith("The timeout in seconds")
    assert every["model_config.fcnet_activation"].type.startswith("tanh | relu")
    assert "num_gpus" not in every
    assert "model" not in every


def test_the_command_prints_narrow_text_and_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = invoke("describe", "icvar", "mdp/FrozenLake-v0")
    assert text.exit_code == 0
    lines = text.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    at = lines.index("alpha = 0.25")
    assert lines[at + 1].startswith("    Risk level")
    assert "env_config.slip = 0.6666666666666666" in lines
    rows = json.loads(invoke("describe", "icvar", "--json").stdout)
    assert {"group", "key", "type", "bounds", "default", "unit", "meaning"} == set(rows[0])


def test_a_task_that_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match="did you mean 'mdp/FrozenLake-v0'"):
        describe(get_method("icvar"), "mdp/FrozenLake-v1")
