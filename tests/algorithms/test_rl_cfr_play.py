"""Playing a spot: beliefs, search after unforeseen bets, opponents, matches counted in two ways."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyspiel
import pytest
from open_spiel.python.policy import FirstActionPolicy, UniformRandomPolicy

from tenfold.algorithms.rl_cfr.mdp import Decision, Solving
from tenfold.algorithms.rl_cfr.play.lbr import LocalBestResponse
from tenfold.algorithms.rl_cfr.play.match import (
    Deal,
    deal,
    duplicate,
    expected_gain,
    expected_payoffs,
    payoffs,
    play,
    score,
)
from tenfold.algorithms.rl_cfr.play.policies import (
    HandStrategy,
    History,
    Policy,
    RandomPolicy,
    check_call,
)
from tenfold.algorithms.rl_cfr.play.resolving import Resolver
from tenfold.algorithms.rl_cfr.play.response import best_response, exploitability
from tenfold.algorithms.rl_cfr.play.small_match import duplicate_small, expected_small
from tenfold.algorithms.rl_cfr.solver.openspiel import SmallGame
from tenfold.algorithms.rl_cfr.solver.solver import Solver
from tenfold.algorithms.rl_cfr.solver.subgame import Subgame
from tenfold.envs.poker.cards import HAND_COUNT, HANDS, hand_index, live_hands, parse_cards
from tenfold.envs.poker.rules import CALL, FOLD, BettingState
from tenfold.envs.poker.sizes import parse_menu
from tenfold.envs.poker.spot import Spot, read_spot
from tenfold.envs.poker.strength import board_ranks

MENU = parse_menu("1,allin")
SOLVING = Solving(MENU, max_raises=2, variant="dcfr", iterations=200)
FIRST, SECOND = "AA,KQs,T9s,77,54s,A2o:0.5", "KK,QQ:0.25,JTs,A9s,87s,33"


def spot_on(board: str = "AsKd7h2c3d", first: str = FIRST, second: str = SECOND) -> Spot:
    return read_spot(board, 1_000, "2500", [first, second], 100)


def after(spot: Spot, *actions: int) -> History:
    history = History.of(spot)
    for action in actions:
        history = history.apply(action)
    return history


def solved(spot: Spot) -> Solver:
    solver = Solver(Subgame(spot, MENU.raises, max_raises=2).game, "dcfr")
    solver.iterate(200)
    return solver


def lead_all_in(history: History) -> HandStrategy:
    """Bets all-in where nobody has, else calls."""
    action = history.state.rules.depth
    return HandStrategy(
        [action if history.state.is_legal(action) else CALL], np.ones((1, HAND_COUNT))
    )


class Recorder:
    """A policy that keeps what it was asked."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.asked = policy, list[History]()

    def __call__(self, history: History) -> HandStrategy:
        self.asked.append(history)
        return self.policy(history)


def test_a_search_against_itself_is_worth_what_the_solver_says() -> None:
    spot = spot_on()
    resolver = Resolver(spot, SOLVING)
    exact = expected_payoffs(spot, (resolver, resolver))
    assert exact == pytest.approx(solved(spot).values().players, abs=0.01)


def test_played_hands_agree_with_the_exact_mean() -> None:
    spot, rng = spot_on(), np.random.default_rng(0)
    policies = Resolver(spot, SOLVING), RandomPolicy(parse_menu("0.5,2"))
    won = [duplicate(spot, policies, cards, rng) for cards in deal(spot, 2_000, rng)]
    error = np.std(won) / np.sqrt(len(won))
    assert abs(np.mean(won) - expected_gain(spot, policies)) < 3 * error
    assert error < 30


def test_on_a_turn_the_rivers_are_dealt_fairly() -> None:
    spot, rng = spot_on("AsKd7h2c", "AA,QJs", "KK,T9s"), np.random.default_rng(0)
    policies = check_call, lead_all_in
    won = [
        payoffs(spot, play(spot, policies, cards, rng), cards)[0]
        for cards in deal(spot, 4_000, rng)
    ]
    exact, other = expected_payoffs(spot, policies)
    assert abs(np.mean(won) - exact) < 3 * np.std(won) / np.sqrt(len(won))
    assert exact + other == pytest.approx(1_000)


def test_a_duplicate_deal_is_even_between_equals_and_fair_between_others() -> None:
    spot, rng = spot_on(), np.random.default_rng(0)
    for cards in deal(spot, 50, rng):
        assert duplicate(spot, (lead_all_in, lead_all_in), cards, rng) == 0.0
    resolver, uniform = Resolver(spot, SOLVING), RandomPolicy(MENU)
    one = expected_gain(spot, (resolver, uniform))
    other = expected_gain(spot, (uniform, resolver))
    assert one == pytest.approx(-other, abs=1e-6)
    assert one > 100


def test_dealt_hands_follow_the_ranges() -> None:
    spot, rng = spot_on(first="AA:0.5,77", second="AK,33"), np.random.default_rng(0)
    deals = deal(spot, 3_000, rng)
    for each in deals[:100]:
        cards = [*spot.board, *HANDS[each.hands[0]], *HANDS[each.hands[1]]]
        assert len(set(cards)) == 9
    # Either of three pairs of aces leaves 3 AK and 3 threes, either of three sevens 9 and 3.
    aces = np.mean([HANDS[each.hands[0]][0] >= 48 for each in deals])
    expected = 0.5 * 3 * (3 + 3) / (0.5 * 3 * (3 + 3) + 3 * (9 + 3))
    assert aces == pytest.approx(expected, abs=0.03)


def test_beliefs_follow_bayes_rule() -> None:
    spot = spot_on()
    resolver = Resolver(spot, SOLVING)
    bet = 1_000
    ranges = resolver.ranges(after(spot, bet))
    reach = spot.ranges[0] * resolver(after(spot)).of(bet)
    np.testing.assert_allclose(ranges[0], reach / reach.max())
    np.testing.assert_array_equal(ranges[1], spot.ranges[1])


def test_a_bet_outside_the_tree_is_solved_with_that_bet_in_it() -> None:
    spot, real = spot_on(), 370
    resolver = Resolver(spot, SOLVING)
    assert real not in resolver(after(spot)).actions

    def raises(state: BettingState) -> Sequence[int]:
        first = [] if state.acted else [real]
        return sorted({*MENU.raises(state), *first}) if state.raised < 2 else []

    subgame = Subgame(spot, raises)
    solver = Solver(subgame.game, "dcfr")
    solver.iterate(200)
    place = subgame.moves[0].index(real)
    node = int(subgame.game.tree.children(0)[place])
    answer = resolver(after(spot, real))
    assert answer.actions == subgame.moves[node]
    held = subgame.hands
    np.testing.assert_allclose(answer.probabilities[:, held], solver.strategy(node), atol=1e-6)
    reach = spot.ranges[0, held] * solver.strategy(0)[place]
    np.testing.assert_allclose(
        resolver.ranges(after(spot, real))[0, held], reach / reach.max(), atol=1e-6
    )


def test_an_action_that_is_never_taken_tells_nothing() -> None:
    spot = spot_on("AsKsQsJs2d", "Ts9h,Ts8h", "4c3h,5c3h")  # royal flush against nothing
    resolver = Resolver(spot, SOLVING)
    shoved = after(spot, 1_000, 2_500)
    assert resolver(after(spot, 1_000)).of(2_500)[spot.ranges[1] > 0].max() < 1e-6
    np.testing.assert_array_equal(resolver.ranges(shoved)[1], spot.ranges[1])
    assert resolver(shoved).of(CALL)[spot.ranges[0] > 0].min() > 0.99


def test_a_card_takes_the_hands_that_hold_it() -> None:
    spot = spot_on("AsKd7h2c")
    resolver = Resolver(spot, replace(SOLVING, max_raises=1, iterations=50))
    checked = after(spot, CALL, CALL)
    assert checked.chance
    dealt = checked.deal(parse_cards("Ah")[0])
    before, now = resolver.ranges(checked), resolver.ranges(dealt)
    np.testing.assert_array_equal(now, before * live_hands(dealt.board))
    assert (now != before).any()
    assert resolver(dealt).actions == [CALL, 1_000, 2_500]


def test_an_abstraction_that_chooses_the_default_changes_nothing() -> None:
    spot = spot_on()
    plain = Resolver(spot, SOLVING)
    grown = Resolver(spot, SOLVING, lambda decision: MENU.raises(decision.state))
    for path in [(), (CALL,), (1_000,), (CALL, 1_000), (370,), (CALL, 370, 2_500)]:
        history = after(spot, *path)
        assert grown(history).actions == plain(history).actions
        np.testing.assert_array_equal(grown(history).probabilities, plain(history).probabilities)


def test_an_abstraction_chooses_by_the_beliefs_at_each_decision() -> None:
    spot, seen = spot_on(), dict[BettingState, Decision]()

    def abstraction(decision: Decision) -> list[int]:
        assert decision.state not in seen
        seen[decision.state] = decision
        return [max(decision.state.committed) + 700]

    resolver = Resolver(spot, SOLVING, abstraction)
    paths = [(), (CALL,), (700,), (CALL, 700)]
    assert set(seen) == {after(spot, *path).state for path in paths}
    assert resolver(after(spot)).actions == [CALL, 700]
    assert resolver(after(spot, 700)).actions == [FOLD, CALL, 1_400]
    assert resolver(after(spot, CALL, 700)).actions == [FOLD, CALL, 1_400]
    assert resolver(after(spot, CALL, 700, 1_400)).actions == [FOLD, CALL]

    def raises(state: BettingState) -> Sequence[int]:
        usual = MENU.raises(state) if state.acted else [700]
        return usual if state.raised < 2 else []

    subgame = Subgame(spot, raises)
    solver = Solver(subgame.game, "dcfr")
    solver.iterate(200)
    reach = spot.ranges[0, subgame.hands] * solver.strategy(0)[1]
    believed = seen[after(spot, 700).state].ranges
    np.testing.assert_allclose(believed[0, subgame.hands], reach / reach.max(), atol=1e-6)
    np.testing.assert_array_equal(believed[1], spot.ranges[1])


def test_a_search_does_not_see_the_other_hand() -> None:
    spot, own = spot_on(), hand_index(*parse_cards("KhQh"))
    used, paths = Resolver(spot, SOLVING), set()
    others = np.flatnonzero(spot.ranges[1] * live_hands(HANDS[own]))
    for other in others.tolist():
        recorder = Recorder(used)
        cards = Deal((own, other), ())
        play(spot, (recorder, lead_all_in), cards, np.random.default_rng(3))
        paths.add(tuple(recorder.asked))
    assert len(others) > 10
    assert len(paths) == 1
    for history in paths.pop():
        fresh = Resolver(spot, SOLVING)(history)
        np.testing.assert_array_equal(used(history).probabilities, fresh.probabilities)


def test_local_best_response_to_a_caller_is_the_best_response() -> None:
    spot = spot_on()
    lbr = LocalBestResponse(spot, check_call, MENU)
    ranks, best, mass = board_ranks(spot.board), 0.0, 0.0
    for hand in np.flatnonzero(spot.ranges[0]):
        against = spot.ranges[1] * live_hands(HANDS[hand])
        share = (against * (0.5 + 0.5 * np.sign(ranks[hand] - ranks))).sum()
        worth = max(share * (1_000 + 2 * bet) - bet * against.sum() for bet in (0, 1_000, 2_500))
        best += spot.ranges[0, hand] * worth
        mass += spot.ranges[0, hand] * against.sum()
    assert expected_payoffs(spot, (lbr, check_call))[0] == pytest.approx(best / mass, rel=1e-5)
    assert best_response(spot, check_call, 0, MENU, 2) == pytest.approx(best / mass, rel=1e-9)


def test_local_best_response_bounds_the_exploitability_from_below() -> None:
    spot = spot_on()
    resolver, uniform = Resolver(spot, SOLVING), RandomPolicy(MENU)
    values = solved(spot).values()
    for seat in (0, 1):
        lbr = LocalBestResponse(spot, resolver, MENU)
        policies = (lbr, resolver) if seat == 0 else (resolver, lbr)
        gained = expected_payoffs(spot, policies)[seat]
        assert gained <= values.best[seat] + 0.01
    weak = expected_gain(spot, (LocalBestResponse(spot, uniform, MENU), uniform))
    strong = expected_gain(spot, (LocalBestResponse(spot, resolver, MENU), resolver))
    assert weak > 100 > strong


def test_best_responses_are_the_solvers_in_the_solved_tree_and_better_outside() -> None:
    spot = spot_on()
    resolver, values = Resolver(spot, SOLVING), solved(spot).values()
    for seat in (0, 1):
        inside = best_response(spot, resolver, seat, MENU, 2)
        assert inside == pytest.approx(values.best[seat], abs=0.01)
    wide = parse_menu("0.25,0.5,1,2,allin")
    lbr = LocalBestResponse(spot, resolver, wide)
    lost = exploitability(spot, resolver, wide, 2)
    assert lost > values.exploitability
    assert lost > expected_gain(spot, (lbr, resolver))


def test_duplicate_deals_of_a_small_game_agree_with_its_exact_value() -> None:
    game = pyspiel.load_game("leduc_poker")
    small = SmallGame(game)
    solver = Solver(small.game, "dcfr")
    solver.iterate(100)
    policies = small.policy(solver), UniformRandomPolicy(game)
    won = duplicate_small(game, policies, 1_500, np.random.default_rng(0))
    exact = expected_small(game, policies)
    error = won.std() / np.sqrt(len(won))
    assert abs(won.mean() - exact) < 3 * error < exact
    folds = FirstActionPolicy(game)
    assert not duplicate_small(game, (folds, folds), 50, np.random.default_rng(0)).any()


def test_the_interval_is_students() -> None:
    found = score([10.0, 20.0, 30.0])
    assert found.mean == 20.0
    assert found.half_width == pytest.approx(4.302653 * 10 / np.sqrt(3), rel=1e-6)
    assert found.metrics("x") == {
        "x": 20.0,
        "x_low": 20.0 - found.half_width,
        "x_high": 20.0 + found.half_width,
    }


def test_one_spot_has_a_mean_and_no_interval() -> None:
    assert score([7.0]).metrics("x") == {"x": 7.0}
