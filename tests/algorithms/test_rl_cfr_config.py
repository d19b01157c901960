"""Whatever is given for a key of rl_cfr or of its games: taken, or refused in one sentence.

The keys are those of the models, so a new one is covered as soon as it is declared. Everything runs
in this process, without Ray. Cost: about 10 s on one core.
"""

import math
from typing import Any, get_args

import numpy as np
import pytest

from tenfold.algorithms.rl_cfr import METHOD
from tenfold.algorithms.rl_cfr.config import OPPONENTS, RLCFRConfig
from tenfold.algorithms.rl_cfr.mdp import has_choice
from tenfold.algorithms.rl_cfr.solver.variants import VARIANTS
from tenfold.algorithms.rl_cfr.worlds.catalogue import make_world
from tenfold.algorithms.rl_cfr.worlds.fields import FIELDS

VALUES: list[Any] = [
    *("abc", "", "0.1", "1\n2", b"1", True, False, None),
    *(math.nan, math.inf, -math.inf, 10**400, -(10**400), 1e308, 0.5, 0, -1, 3, 1e-300),
    *("dcfr", "fixed", "actor", [16]),
    *([], ["a"], [math.nan], [math.inf], [True], [None], [0.5, "a"], [[1]], [-1.0], [10**400]),
    *({}, {"a": 1}, (1, 2), {1, 2}, np.array([1.0, 2.0]), object(), len),
]
OWN = sorted(RLCFRConfig.Parameters.model_fields)
GAMES = [(task, key) for task, model in FIELDS.items() for key in model.model_fields]


def refused(task: str, key: str, value: Any, inside: bool) -> str | None:
    """The sentence of a refusal, None if the value is taken; everything else is a failure."""
    config = RLCFRConfig().environment(task)
    if inside:
        config.env_config = {key: value}
    else:
        setattr(config, key, value)
    try:
        config.validate()
    except ValueError as error:
        sentence = str(error)
        assert len(sentence.splitlines()) == 1, sentence
        assert len(sentence) < 400, sentence
        assert key in sentence, sentence
        return sentence
    return None


@pytest.mark.parametrize("key", OWN)
def test_every_value_of_every_key_is_taken_or_refused_by_name(key: str) -> None:
    said = [refused("river_hunl", key, value, inside=False) for value in VALUES]
    assert sum(each is not None for each in said) >= 20
    assert None in said


@pytest.mark.parametrize(("task", "key"), GAMES)
def test_every_value_of_every_field_is_taken_or_refused_by_name(task: str, key: str) -> None:
    said = [refused(task, key, value, inside=True) for value in VALUES]
    assert sum(each is not None for each in said) >= 20


@pytest.mark.parametrize("task", FIELDS)
@pytest.mark.parametrize("value", ["abc", None, 3, ["hands"], {"hand": 3}, {3: 3}, {"": 1}])
def test_what_is_no_mapping_of_fields_is_refused(task: str, value: Any) -> None:
    config = RLCFRConfig().environment(task)
    config.env_config = value
    with pytest.raises(ValueError, match="env_config") as error:
        config.validate()
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("sizes", ["a"], "Bad value 'a' for 'sizes.0': give a number."),
        ("sizes", "0.5,1", "Bad value '0.5,1' for 'sizes': give a list."),
        ("sizes", [0.5, 0.0], "Bad value 0.0 for 'sizes.1': give a number above 0."),
        ("hidden", 64, "Bad value 64 for 'hidden': give a list."),
        ("m", True, "Bad value True for 'm': give a whole number."),
        ("lr", math.nan, "Bad value nan for 'lr': give a finite number."),
        ("opponents", "lbr", "Bad value 'lbr' for 'opponents': give a list."),
    ],
)
def test_the_sentence_names_key_value_and_what_would_be_right(
    key: str, value: Any, sentence: str
) -> None:
    assert refused("river_hunl", key, value, inside=False) == sentence


def test_the_choices_are_those_that_there_are() -> None:
    fields = RLCFRConfig.Parameters.model_fields
    assert set(get_args(fields["cfr_variant"].annotation)) == set(VARIANTS)
    [names] = get_args(fields["opponents"].annotation)
    assert set(get_args(names)) == {name for each in OPPONENTS.values() for name in each}
    assert set(FIELDS) == set(METHOD.tasks)


@pytest.mark.parametrize("task", ["river_hunl", "turn_hunl"])
@pytest.mark.parametrize("pots", [1, 399])
@pytest.mark.parametrize("ratios", [0.01, 10_000])
@pytest.mark.parametrize("bets", [0.001, 1_000])
def test_hands_start_at_the_bounds_of_the_law(
    task: str, pots: float, ratios: float, bets: float
) -> None:
    changes = {"pots": [pots] * 2, "ratios": [ratios] * 2, "bets": [bets] * 2, "hands": 1}
    config = RLCFRConfig().environment(task, env_config=changes)
    config.validate()
    world, rng = make_world(task, None, **changes), np.random.default_rng(0)
    decisions = [world.root(rng) for _ in range(8)]
    assert any(has_choice(each, config.solving()) for each in decisions)
    assert all(min(each.state.rules.stacks) >= 1 for each in decisions)


@pytest.mark.parametrize(
    ("task", "changes"),
    [("leduc_nl", {"stack": 2}), ("flop_short", {"deck": 12, "stack": 20})],
)
def test_small_games_start_at_their_least(task: str, changes: dict[str, int]) -> None:
    decision = make_world(task, None, **changes).root(np.random.default_rng(0))
    assert decision.state.raises is not None
