"""Matches as evaluation: estimates over rivers, equals against equals, work items, refusals."""

from typing import Any

import numpy as np
import pyspiel
import pytest

from tenfold.algorithms.rl_cfr.algorithm import work_off
from tenfold.algorithms.rl_cfr.config import RLCFRConfig
from tenfold.algorithms.rl_cfr.learner import AbstractionLearner
from tenfold.algorithms.rl_cfr.opponents import Gains, standings
from tenfold.algorithms.rl_cfr.play.lbr import LocalBestResponse
from tenfold.algorithms.rl_cfr.play.match import deal, deal_on_rivers, expected_gain
from tenfold.algorithms.rl_cfr.play.policies import check_call
from tenfold.algorithms.rl_cfr.play.small_match import CheckCall, play_small
from tenfold.algorithms.rl_cfr.worlds.leduc import game_string
from tenfold.envs.poker.cards import CARDS, HANDS, live_hands, parse_cards
from tenfold.envs.poker.sizes import parse_menu
from tenfold.envs.poker.spot import deals, read_spot


def config(task: str, opponents: list[str], **changes: Any) -> RLCFRConfig:
    env_config = {"stack": 3} if task == "leduc_nl" else {"hands": 10}
    made = RLCFRConfig().environment(task, env_config=env_config).debugging(seed=4)
    made.hidden, made.value_hidden, made.cfr_iterations = [8], [8], 10
    made.m, made.sizes, made.default_sizes = 1, [1.0], [1.0]
    made.opponents, made.match_spots, made.match_deals, made.match_rivers = opponents, 2, 3, 1
    for key, value in changes.items():
        setattr(made, key, value)
    made.validate()
    return made


def matches(made: RLCFRConfig) -> list[dict[str, Gains]]:
    items = AbstractionLearner(made).matches()
    return [each for item in items for each in work_off(made, item)]  # type: ignore[misc]


def test_drawn_rivers_estimate_the_expectation_over_all_of_them_without_bias() -> None:
    spot = read_spot("AsKd7h2c", 1_000, "2500", ["AA,KQs,T9s", "KK,JTs,33"], 100)
    policies = LocalBestResponse(spot, check_call, parse_menu("1")), check_call
    left = [card for card in range(CARDS) if card not in spot.board]
    mass = [deals(spot.ranges * live_hands([card]))[0].sum() for card in left]
    chances = np.array(mass) / (44 * deals(spot.ranges)[0].sum())
    gains = np.array([expected_gain(spot, policies, [card]) for card in left])
    assert chances.sum() == pytest.approx(1.0)
    assert chances @ gains == pytest.approx(expected_gain(spot, policies), rel=1e-6)
    assert np.ptp(gains) > 50
    two = expected_gain(spot, policies, left[:2])
    assert two == pytest.approx(gains[:2].mean(), rel=1e-6)
    assert expected_gain(spot, (check_call, check_call), left[:1]) == 0.0


def test_hands_on_drawn_rivers_are_dealt_as_those_on_all() -> None:
    spot, rng = read_spot("AsKd7h2c", 10, "9", ["AA,QJs", "KK,33"], 1), np.random.default_rng(0)
    rivers = [each.cards[0] for each in deal(spot, 3_000, rng)]
    counts = np.bincount(rivers, minlength=CARDS) / len(rivers)
    ace, deuce = parse_cards("Ac2d")
    half = deals(spot.ranges * live_hands([ace]))[0].sum() / deals(spot.ranges)[0].sum() / 44
    assert counts[ace] == pytest.approx(half, abs=0.004)
    assert counts[deuce] == pytest.approx(1 / 44, abs=0.008)
    dealt = deal_on_rivers(spot, [ace, deuce], 5, rng)
    assert [each.cards for each in dealt] == [(ace,)] * 3 + [(deuce,)] * 2
    for each in dealt:
        assert not {ace} & set(HANDS[list(each.hands)].ravel().tolist()) or each.cards != (ace,)
        assert not set(spot.board) & set(HANDS[list(each.hands)].ravel().tolist())


@pytest.mark.parametrize("task", ["river_hunl", "turn_hunl", "leduc_nl"])
def test_the_default_against_itself_gains_exactly_nothing(task: str) -> None:
    for gains in matches(config(task, ["default"], policy="fixed")):
        assert gains["default"].expected == 0.0


@pytest.mark.parametrize("task", ["river_hunl", "turn_hunl"])
def test_matches_depend_on_the_number_of_their_spot_alone(task: str) -> None:
    others = ["default", "lbr" if task == "river_hunl" else "call"]
    made = config(task, others)
    apart = AbstractionLearner(made).matches()
    together = {**apart[0], "seeds": [seed for item in apart for seed in item["seeds"]]}
    assert len(apart) == 2
    assert work_off(made, together) == [work_off(made, item)[0] for item in reversed(apart)][::-1]
    alone = config(task, others[1:])
    assert matches(alone)[0][others[1]].expected == matches(made)[0][others[1]].expected


def test_a_search_wins_from_opponents_that_do_not_look_at_their_cards() -> None:
    changes = {"cfr_iterations": 50, "match_spots": 8, "match_deals": 1}
    found = standings(matches(config("river_hunl", ["call", "random"], **changes)))
    assert found["match_call_mbb"] > 0
    assert found["match_random_mbb"] > 0


def test_leduc_is_met_in_one_item_and_its_expectation_has_no_error() -> None:
    made = config("leduc_nl", ["call", "random"], match_deals=50)
    assert len(AbstractionLearner(made).matches()) == 1
    found = standings(matches(made))
    for name in ("call", "random"):
        mean = found[f"match_{name}_mbb"]
        assert found[f"match_{name}_mbb_low"] == mean == found[f"match_{name}_mbb_high"]
        width = found[f"match_{name}_played_mbb_high"] - found[f"match_{name}_played_mbb_low"]
        assert width > 0
    assert found["match_random_mbb"] > 100


def test_the_caller_of_small_games_shows_every_hand_down_for_the_antes() -> None:
    game, rng = pyspiel.load_game(game_string(4)), np.random.default_rng(0)
    caller = CheckCall(game)
    for luck in rng.random((20, game.max_chance_nodes_in_history())):
        assert abs(play_small(game, (caller, caller), luck, rng)[0]) in (0.0, 1.0)


def test_standings_are_means_over_spots_with_students_intervals() -> None:
    spots = [{"call": Gains(each, 10.0 * each)} for each in (1.0, 2.0, 3.0)]
    half = 4.302653 / np.sqrt(3)
    assert standings(spots) == pytest.approx(
        {
            "match_call_mbb": 2.0,
            "match_call_mbb_low": 2.0 - half,
            "match_call_mbb_high": 2.0 + half,
            "match_call_played_mbb": 20.0,
            "match_call_played_mbb_low": 20.0 - 10.0 * half,
            "match_call_played_mbb_high": 20.0 + 10.0 * half,
        },
        rel=1e-6,
    )


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("flop_short", {}, r"\['call'\] for 'opponents': matches are played on river_hunl"),
        ("hunl", {}, "give an empty list on hunl"),
        ("leduc_nl", {"opponents": ["lbr"]}, "'lbr' for 'opponents': on leduc_nl choose of def"),
        ("river_hunl", {"opponents": ["slumbot"]}, r"'slumbot' for 'opponents\.0': choose one of"),
        ("river_hunl", {"opponents": ["call", "call"]}, "call, random, lbr, each once"),
        ("river_hunl", {"match_spots": 1}, "1 for 'match_spots': give 2 or more"),
        ("river_hunl", {"match_deals": 0}, "0 for 'match_deals'"),
        ("turn_hunl", {"match_rivers": 0}, "0 for 'match_rivers'"),
    ],
)
def test_bad_matches_are_refused_by_name(task: str, changes: dict[str, Any], message: str) -> None:
    made = RLCFRConfig().environment(task)
    made.opponents = ["call"]
    for key, value in changes.items():
        setattr(made, key, value)
    with pytest.raises(ValueError, match=message):
        made.validate()
