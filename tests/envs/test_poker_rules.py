"""The betting rules: OpenSpiel's hands replayed, and the rules of thumb of no-limit poker."""

from dataclasses import replace

import numpy as np
import pyspiel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.envs.poker.openspiel import disagreement, game_string, random_action
from tenfold.envs.poker.rake import Rake
from tenfold.envs.poker.rules import CALL, FOLD, HUNL, BettingState, Rules, start
from tenfold.envs.poker.sizes import (
    Menu,
    abstraction_raises,
    component_fraction,
    geometric,
    parse_menu,
    parse_menus,
    pot_raise,
)
from tenfold.envs.poker.words import describe, read_action

RIVER = Rules(stacks=(9_500, 9_500), street=3, pot=1_000)


def play(rules: Rules, *actions: int) -> BettingState:
    state = start(rules)
    for action in actions:
        state = state.apply(action)
    return state


@pytest.mark.parametrize(
    ("rules", "hands"),
    [
        (HUNL, 250),
        (Rules(stacks=(1_500, 1_500), blinds=(100, 50)), 200),
        (Rules(stacks=(7, 7), blinds=(2, 1), big_blind=2), 200),
    ],
)
def test_random_hands_go_as_in_openspiel(rules: Rules, hands: int) -> None:
    rng = np.random.default_rng(0)
    game = pyspiel.load_game(game_string(rules))
    for _ in range(hands):
        assert disagreement(game, rules, rng) is None


def test_a_disagreement_is_told() -> None:
    game = pyspiel.load_game(game_string(HUNL))
    other = Rules(stacks=(20_000, 20_000), blinds=(100, 50), big_blind=150)
    said = disagreement(game, other, np.random.default_rng(0))
    assert said is not None
    assert "legal actions" in said


def test_min_raises_follow_the_last_raise() -> None:
    opened = play(HUNL, 250)
    assert opened.raises == (400, 20_000)
    assert opened.apply(1_000).raises == (1_750, 20_000)
    flop = opened.apply(CALL)
    assert (flop.street, flop.player, flop.pot, flop.raises) == (1, 0, 500, (350, 20_000))
    assert play(HUNL, CALL).player == 0
    assert play(HUNL, CALL, CALL).street == 1


def test_short_stacks_may_only_go_all_in() -> None:
    state = play(Rules(stacks=(250, 250), blinds=(100, 50)), 230)
    assert state.raises == (250, 250)
    called = state.apply(250).apply(CALL)
    assert called.over
    assert called.raises is None
    assert called.legal_actions() == []


def test_no_bet_goes_beyond_the_shorter_stack() -> None:
    state = start(Rules(stacks=(9_500, 4_000), street=3, pot=1_000))
    assert state.raises == (100, 4_000)
    assert state.apply(4_000).apply(CALL).payoffs(1) == (-4_000, 5_000)


def test_payoffs_of_a_subgame_share_its_pot() -> None:
    assert play(RIVER, 500, FOLD).payoffs() == (1_000, 0)
    assert play(RIVER, CALL, 500, CALL).payoffs(1) == (-500, 1_500)
    assert play(RIVER, CALL, CALL).payoffs(None) == (500, 500)


def test_the_house_takes_of_what_is_called_up_to_its_cap() -> None:
    rules = replace(RIVER, rake=Rake(0.05, 80.0))
    # 500 that nobody calls go back: 5 % of 1,000.
    assert play(rules, 500, FOLD).payoffs() == (950, 0)
    assert play(rules, 200, 900, FOLD).payoffs() == (-200, 1_200 - 70)
    assert play(rules, 500, CALL).payoffs(0) == (1_500 - 80, -500)
    assert play(rules, CALL, CALL).payoffs(None) == (475, 475)
    assert play(replace(rules, rake=Rake(0.05)), 500, CALL).payoffs(1) == (-500, 1_400)


def test_no_flop_no_drop() -> None:
    rules = replace(HUNL, rake=Rake(0.05))
    assert play(rules, 300, FOLD).payoffs() == (-100, 100)
    assert play(rules, 300, CALL, CALL, 600, FOLD).payoffs() == (-300, 270)
    assert play(rules, 20_000, CALL).raked == 2_000


@pytest.mark.parametrize("fields", [{"share": -0.1}, {"share": 1.0}, {"share": 0.1, "cap": -1.0}])
def test_impossible_rakes_are_refused(fields: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"Rake .* give"):
        Rake(**fields)


@pytest.mark.parametrize(
    ("actions", "action", "message"),
    [
        ((), FOLD, "check instead"),
        ((), 50, "raise to 100..9500"),
        ((), 9_501, "raise to 100..9500"),
        ((9_500,), 9_500, "a player is all-in"),
        ((9_500, CALL), CALL, "play is over"),
    ],
)
def test_illegal_actions_are_refused(actions: tuple[int, ...], action: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        play(RIVER, *actions).apply(action)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stacks": (100, 100), "blinds": (100, 50)}, "too short"),
        ({"stacks": (500, 500), "blinds": (200, 100)}, "big blind"),
        ({"stacks": (500, 500), "pot": -1}, "Pot -1 is negative"),
        ({"stacks": (500, 500), "street": 4}, "Street 4"),
    ],
)
def test_impossible_rules_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rules(**fields)


def test_actions_are_told_in_words_and_read_back() -> None:
    turn = play(Rules(stacks=(9_500, 9_500), street=2, pot=1_000), 500, CALL)
    assert describe(CALL, turn) == "check"
    assert describe(1_500, turn) == "bet 1000"
    bet = turn.apply(1_500)
    words = ["fold", "call 1000", "raise to 2500", "raise to 9000 all-in"]
    assert [describe(each, bet) for each in (FOLD, CALL, 3_000, 9_500)] == words
    assert [read_action(each, bet) for each in words] == [FOLD, CALL, 3_000, 9_500]
    short = ["f", "C", "r2500", "allin", " Raise  2500 "]
    assert [read_action(each, bet) for each in short] == [FOLD, CALL, 3_000, 9_500, 3_000]
    assert read_action("k", turn) == CALL


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Cannot read ''"),
        ("jump", "Cannot read 'jump': write fold, call, raise 2000..9000, or all-in"),
        ("raise", "say how much: write fold, call, raise 2000..9000"),
        ("raise 1.5", "Cannot read 'raise 1.5'"),
        ("check", "Check is not possible: there is a bet of 1000"),
        ("raise 100", "'raise 100' is not legal: write fold, call, raise 2000..9000"),
        ("raise 9001", "raise 2000..9000"),
        ("call 500", "'call 500' has a number that is not the call"),
    ],
)
def test_bad_words_are_refused(text: str, message: str) -> None:
    bet = play(Rules(stacks=(9_500, 9_500), street=2, pot=1_000), 500, CALL, 1_500)
    with pytest.raises(ValueError, match=message):
        read_action(text, bet)


def test_menus_raise_by_fractions_of_the_pot() -> None:
    menu = parse_menu("1, 0.5,ALLIN")
    assert menu == Menu((0.5, 1.0), all_in=True)
    assert menu.raises(start(RIVER)) == [500, 1_000, 9_500]
    # Facing 500 into 1,000: the pot after the call is 2,000.
    assert menu.raises(play(RIVER, 500)) == [1_500, 2_500, 9_500]
    # Too small becomes the smallest legal raise and merges, too large becomes all-in.
    assert Menu((0.01, 0.05, 20.0), all_in=False).raises(start(RIVER)) == [100, 9_500]
    assert menu.raises(play(RIVER, 9_500)) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Unknown bet size ''"),
        ("half", "Unknown bet size 'half' in 'half'"),
        ("0.5,-1", "Unknown bet size '-1'"),
        ("inf", "Unknown bet size 'inf'"),
        ("0.5,0.50", "name a size twice"),
    ],
)
def test_bad_menus_are_refused_by_name(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_menu(text)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_components_map_to_legal_raises_in_order(seed: int, a: float, b: float) -> None:
    rng = np.random.default_rng(seed)
    state = start(HUNL)
    for _ in range(rng.integers(8)):
        after = state.apply(random_action(state, rng))
        state = state if after.over else after
    low, high = state.raises or (0, 0)
    a, b = sorted((a, b))
    alone = [abstraction_raises(state, [each], -0.5, 0.1, 4.0) for each in (a, b)]
    merged = abstraction_raises(state, (b, a, b), -0.5, 0.1, 4.0)
    assert merged == sorted({*alone[0], *alone[1]})
    for component, raises in zip((a, b), alone, strict=True):
        assert raises == [] if state.raises is None else raises[-1] == high
        assert all(low <= each <= high for each in raises)
        assert len(raises) <= 1 + (component >= -0.5)
    if a >= -0.5 and state.raises is not None:
        assert alone[0][0] <= alone[1][0]


def test_the_ends_of_the_component_map() -> None:
    ends = [component_fraction(each, -0.5, 0.1, 4.0) for each in (-0.6, -0.5, 0.25, 1.0)]
    assert ends[0] is None
    assert ends[1:] == pytest.approx([0.1, (0.1 * 4.0) ** 0.5, 4.0])
    state = play(RIVER, 500)
    assert abstraction_raises(state, [-0.5, 1.0], -0.5, 0.1, 4.0) == [
        1_000,
        pot_raise(state, 4.0),
        state.rules.depth,
    ]


def test_bets_are_counted_street_by_street() -> None:
    assert play(HUNL).raised == 0
    assert play(HUNL, 300, 900).raised == 2
    assert play(HUNL, 300, 900, CALL).raised == 0


def test_a_multiple_raises_to_so_many_times_the_bet_and_opens_nothing() -> None:
    menu = parse_menu("2.5x,4x,1")
    assert menu.raises(start(RIVER)) == [1_000]
    # Facing 500 into 1,000: 2.5 and 4 times 500, and the pot after the call on top of it.
    assert menu.raises(play(RIVER, 500)) == [1_250, 2_000, 2_500]


def test_sizes_are_those_of_the_street_and_the_player() -> None:
    menus = parse_menus(["1", "river:2", "second:3", "river/second:4", "turn:5"])
    turn = Rules(stacks=(9_500, 9_500), street=2, pot=1_000)
    assert menus.at(start(RIVER)).fractions == (2.0,)
    assert menus.at(play(RIVER, 500)).fractions == (4.0,)
    assert menus.at(start(turn)).fractions == (5.0,)
    assert menus.at(play(turn, 500)).fractions == (3.0,)
    assert menus.raises(start(RIVER)) == [2_000]
    assert menus.fractions == (1.0, 2.0, 3.0, 4.0, 5.0)


@pytest.mark.parametrize("stack", [37, 400, 9_500])
@pytest.mark.parametrize(("street", "size"), [(1, "e"), (2, "e"), (3, "e"), (1, "3e"), (2, "2e")])
def test_a_geometric_size_bet_on_every_street_is_all_in(street: int, size: str, stack: int) -> None:
    state = start(Rules(stacks=(stack, stack), street=street, pot=100, big_blind=1))
    menu, fractions = parse_menu(size), []
    for left in range(4 - street, 0, -1):
        # One size less each street, where their number is given.
        menu = menu if size == "e" else parse_menu(f"{left}e")
        (bet,) = menu.raises(state)
        fractions.append((bet - state.level) / state.pot)
        state = state.apply(bet).apply(CALL)
    assert state.over
    assert state.committed == (stack, stack)
    assert max(fractions) - min(fractions) < 0.02 * max(fractions) + 0.02


def test_a_geometric_raise_counts_from_the_pot_after_the_call() -> None:
    # 1,000 and twice 500 after the call; 9,000 behind: (1 + 2 f)^2 = 10.
    assert geometric(play(RIVER, 500), 2) == pytest.approx((10**0.5 - 1) / 2)
    assert parse_menu("2e").raises(play(RIVER, 500)) == [500 + round(2_000 * (10**0.5 - 1) / 2)]
    assert parse_menu("1e").raises(play(RIVER, 500)) == [9_500]


def test_per_cent_are_fractions() -> None:
    assert parse_menu("50%, 133%, a") == Menu((0.5, 1.33), all_in=True)


@pytest.mark.parametrize(("ratio", "there"), [("9.4", False), ("9.5", True), ("950%", True)])
def test_all_in_is_there_up_to_a_ratio_of_stack_to_pot(ratio: str, there: bool) -> None:
    assert parse_menu(f"1,spr={ratio}").raises(start(RIVER)) == [1_000, *[9_500] * there]


def test_all_in_counts_the_stack_after_the_call() -> None:
    # 1,000 and twice 3,000 after the call, and 6,500 behind.
    assert parse_menu("0.5,spr=0.92").raises(play(RIVER, 3_000)) == [6_500]
    assert parse_menu("0.5,spr=0.93").raises(play(RIVER, 3_000)) == [6_500, 9_500]


@pytest.mark.parametrize(("share", "largest"), [("0.33", 3_100), ("0.32", 9_500)])
def test_a_bet_of_much_of_the_stack_is_all_in(share: str, largest: int) -> None:
    # 3,100 of 9,500 are 0.326.
    assert parse_menu(f"1,3.1,commit={share}").raises(start(RIVER)) == [1_000, largest]


def test_commitment_counts_the_chips_that_are_left() -> None:
    # 2,000 in, 28,000 left, of which a raise by half the pot to 9,500 puts in 0.268.
    state = play(Rules(stacks=(30_000, 30_000), street=3, pot=1_000), 2_000, 4_500)
    assert parse_menu("0.5,commit=0.27").raises(state) == [9_500]
    assert parse_menu("0.5,commit=0.26").raises(state) == [30_000]
    assert (
        "would put in 0.67 of the stack or more"
        in parse_menu("7,commit=0.67").notes(start(RIVER))[0]
    )


def test_near_sizes_merge_into_the_largest() -> None:
    # Pots after a call: 1,980, 2,000, 2,200 and 3,000.
    assert parse_menu("0.49,0.5,0.6,1,merge=0.09").raises(start(RIVER)) == [500, 600, 1_000]
    assert parse_menu("0.49,0.5,0.6,1,merge=0.12").raises(start(RIVER)) == [600, 1_000]
    menu = parse_menu("0.5,0.6,merge=0.2")
    assert menu.changes(start(RIVER))
    assert menu.notes(start(RIVER)) == [
        "Sizes 0.6 and 0.5 are one bet of 600 chips, which 0.5 would be near."
    ]


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["1", "rivr:2"], "Unknown place 'rivr' in 'rivr:2'"),
        (["1", "river/turn:2"], "Unknown place 'turn'"),
        (["1", "river:2", "river:3"], "'river:3' are for a place that has some"),
        (["river:2"], "'river:2' leave decisions without any"),
        (["1x"], "Unknown bet size '1x'"),
        (["2x,2.0x"], "name a size twice"),
        (["0.5,50%"], "name a size twice"),
        (["a,allin"], "name a size twice"),
        (["e,e"], "name a size twice"),
        (["0e"], "Unknown bet size '0e'"),
        (["2.5e"], "Unknown bet size '2.5e'"),
        (["%"], "Unknown bet size '%'"),
        (["spr="], "Bad limit 'spr='"),
        (["spr=0"], "Bad limit 'spr=0' in 'spr=0': give the stack after a call in pots"),
        (["commit=1.1"], "Bad limit 'commit=1.1'"),
        (["merge=nan"], "Bad limit 'merge=nan'"),
        (["spr=1,spr=2"], "give 'spr' twice"),
        (["rsp=1"], "Unknown limit 'rsp=1'"),
    ],
)
def test_sizes_that_cannot_be_read_are_named(texts: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_menus(texts)
