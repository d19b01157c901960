"""The solver: known values, OpenSpiel's exploitability, brute force, both backends."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyspiel
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from open_spiel.python.algorithms.exploitability import exploitability

from tenfold.algorithms.rl_cfr.solver import kernels
from tenfold.algorithms.rl_cfr.solver.batch import BatchSolver
from tenfold.algorithms.rl_cfr.solver.openspiel import SmallGame
from tenfold.algorithms.rl_cfr.solver.solve import Solution, solve
from tenfold.algorithms.rl_cfr.solver.solver import Solver, share_out
from tenfold.algorithms.rl_cfr.solver.subgame import Raises, Subgame, all_in_signs
from tenfold.algorithms.rl_cfr.solver.terminals import showdown_values
from tenfold.algorithms.rl_cfr.solver.variants import VARIANTS
from tenfold.envs.poker.cards import HANDS, hand_index, parse_cards
from tenfold.envs.poker.isomorphism import next_cards, symmetries
from tenfold.envs.poker.rules import CALL, HUNL, BettingState, start
from tenfold.envs.poker.sizes import parse_menu
from tenfold.envs.poker.spot import Spot, deals, random_spot, read_spot
from tenfold.envs.poker.strength import board_order, board_ranks

TOY = (
    "universal_poker(betting=nolimit,numPlayers=2,numRounds=2,blind=1 1,firstPlayer=1 1,"
    "numSuits=2,numRanks=3,numHoleCards=1,numBoardCards=0 1,stack={0} {0},"
    "bettingAbstraction=fullgame)"
)
LEDUC_VALUE = -0.0856  # of the first player: Southey et al. 2005
FEW = "AA,KQs,T9s,77,54s,A2o:0.5"
OTHER = "KK,QQ:0.25,JTs,A9s,87s,33"


@lru_cache
def small(name: str) -> SmallGame:
    return SmallGame(pyspiel.load_game(name))


def river(board: str = "AsKd7h2c3d", first: str = FEW, second: str = OTHER) -> Spot:
    return read_spot(board, 1_000, "3000,2500", [first, second], 100)


@lru_cache
def pairs() -> NDArray[np.bool_]:
    """(1326, 1326): hands that can be dealt together."""
    holds = (HANDS[:, :, None] == np.arange(52)).any(axis=1).astype(float)
    return holds @ holds.T == 0


@pytest.mark.parametrize("name", ["kuhn_poker", "leduc_poker", TOY.format(4)])
@pytest.mark.parametrize("iterations", [1, 40])
def test_exploitability_is_openspiels(name: str, iterations: int) -> None:
    game = small(name)
    solver = Solver(game.game, "cfr+")
    solver.iterate(iterations)
    theirs = exploitability(pyspiel.load_game(name), game.policy(solver))
    assert solver.values().exploitability == pytest.approx(theirs, abs=1e-6)


def test_kuhns_value() -> None:
    solver = Solver(small("kuhn_poker").game, "pcfr+")
    solver.iterate(2_000)
    values = solver.values()
    assert values.exploitability < 1e-7
    assert values.players[0] == pytest.approx(-1 / 18, abs=1e-6)


def test_leducs_value() -> None:
    solver = Solver(small("leduc_poker").game, "dcfr")
    solver.iterate(3_000)
    assert solver.values().exploitability < 5e-5
    assert solver.values().players[0] == pytest.approx(LEDUC_VALUE, abs=5e-5)


@pytest.mark.parametrize("name", ["kuhn_poker", "leduc_poker"])
def test_cfr_plus_is_openspiels_iteration_by_iteration(name: str) -> None:
    spiel = pyspiel.load_game(name)
    theirs, ours = pyspiel.CFRPlusSolver(spiel), Solver(small(name).game, "cfr+")
    for _ in range(3):
        ours.iterate(10)
        for _ in range(10):
            theirs.evaluate_and_update_policy()
        gap = exploitability(spiel, theirs.average_policy())
        assert ours.values().exploitability == pytest.approx(gap, abs=1e-6)


def test_strategies_on_the_toy_are_openspiels() -> None:
    # From the fifth iteration on, regrets that are 0 but for rounding decide some ties.
    spiel, game = pyspiel.load_game(TOY.format(5)), small(TOY.format(5))
    theirs, ours = pyspiel.CFRPlusSolver(spiel), Solver(game.game, "cfr+")
    for _ in range(3):
        theirs.evaluate_and_update_policy()
        ours.iterate(1)
    policy = theirs.average_policy()
    for infoset, (node, hand, legal) in game.infosets.items():
        chances = dict(policy.action_probabilities(infoset))
        np.testing.assert_allclose(
            ours.strategy(node)[:, hand], [chances[action] for action in legal], atol=1e-9
        )


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_variants_converge(variant: str) -> None:
    gaps = []
    solver = Solver(small("leduc_poker").game, variant)
    for _ in range(2):
        solver.iterate(300)
        gaps.append(solver.values().exploitability)
    assert gaps[1] < 0.7 * gaps[0]
    assert gaps[1] < 0.03


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_showdown_is_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    board = sorted(rng.permutation(52)[:5].tolist())
    reach = rng.random((8, 1326)) * (rng.random((8, 1326)) < rng.random())
    base, swing = rng.normal(size=(2, 8))
    found = showdown_values(board_order(board), HANDS.astype(np.int32), reach, base, swing)
    ranks = board_ranks(board)
    live = ranks >= 0
    free = pairs() & live & live[:, None]
    signs = free * np.sign(ranks[:, None] - ranks)
    expected = base[:, None] * (reach @ free) - swing[:, None] * (reach @ signs)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_river_sums_to_the_pot_and_converges() -> None:
    subgame = Subgame(river(), parse_menu("0.5,1,allin").raises, dtype=np.float64)
    told: list[int] = []
    solution = solve(
        subgame, "dcfr", 2_000, 0.1, lambda iteration, gap, seconds: told.append(iteration)
    )
    assert solution.percent <= 0.1
    assert told[-1] == solution.iterations < 2_000
    assert sum(solution.value) == pytest.approx(1_000, abs=1e-6)
    weights = deals(subgame.spot.ranges)
    mean = (solution.ev * weights).sum(axis=1) / weights[0].sum()
    np.testing.assert_allclose(mean, solution.value, atol=1e-6)
    dealt = weights[0] > 0
    np.testing.assert_allclose(solution.strategy[:, dealt].sum(axis=0), 1.0, atol=1e-9)


def test_equity_is_brute_force() -> None:
    spot = river("AsKd7h2c")
    solution = solve(Subgame(spot, parse_menu("allin").raises, max_raises=1), "cfr+", 5)
    hand, against = hand_index(*parse_cards("AcAh")), spot.ranges[1]
    won = total = 0.0
    for card in set(range(52)) - {*spot.board, *HANDS[hand].tolist()}:
        ranks = board_ranks([*spot.board, card])
        free = pairs()[hand] & (ranks >= 0)
        score = 0.5 + 0.5 * np.sign(ranks[hand] - ranks)
        won += (against * free * score).sum()
        total += (against * free).sum()
    assert solution.equity[0, hand] == pytest.approx(won / total, abs=1e-6)


def test_nuts_never_fold_and_air_never_calls_all_in() -> None:
    spot = read_spot("AsKsQsJs2d", 100, "1000", ["Ts9h,3c3h,4c4h", "Td9d,5c5h"], 10)
    solution = solve(Subgame(spot, parse_menu("1,allin").raises, dtype=np.float64), "cfr+", 500)
    nuts = hand_index(*parse_cards("Ts9h"))
    assert solution.ev[0, nuts] >= 100 - 1e-6
    assert solution.equity[0, nuts] == 1.0


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_torch_agrees_with_the_kernels(variant: str) -> None:
    rng = np.random.default_rng(0)
    games = []
    for _ in range(2):
        spot = random_spot(rng, 1_000, 3_000, 100)
        spot = replace(spot, ranges=spot.ranges * rng.random((2, 1326)))
        subgame = Subgame(spot, parse_menu("0.5,allin").raises, 2, dtype=np.float64)
        games.append(subgame.game)
    batch = BatchSolver(games, variant, "cpu", torch.float64)
    batch.iterate(15)
    for place, (game, values) in enumerate(zip(games, batch.values(), strict=True)):
        solver = Solver(game, variant)
        solver.iterate(15)
        ours = solver.values()
        np.testing.assert_allclose(
            batch.strategy(0)[place, :, : game.tree.hands], solver.strategy(0), atol=1e-5
        )
        np.testing.assert_allclose(values.hands, ours.hands, rtol=1e-5, atol=1e-5)
        assert values.exploitability == pytest.approx(ours.exploitability, rel=1e-5)


def test_torch_agrees_on_a_small_game() -> None:
    game = small("leduc_poker").game
    batch, solver = BatchSolver([game], "cfr+", "cpu", torch.float64), Solver(game, "cfr+")
    batch.iterate(5)
    solver.iterate(5)
    assert batch.values()[0].exploitability == pytest.approx(
        solver.values().exploitability, abs=1e-9
    )


def turn(isomorphism: bool) -> tuple[Subgame, Solution]:
    spot = read_spot("AsKs7s2d", 100, "150", ["AA,KQs,88", "KK,QJs,76s"], 10)
    subgame = Subgame(
        spot, parse_menu("allin").raises, 1, isomorphism=isomorphism, dtype=np.float64
    )
    return subgame, solve(subgame, "dcfr", 60)


def test_suit_isomorphism_changes_nothing() -> None:
    (merged, ours), (plain, theirs) = turn(True), turn(False)
    assert merged.game.tree.rows < 0.8 * plain.game.tree.rows
    assert ours.exploitability == pytest.approx(theirs.exploitability, abs=1e-6)
    np.testing.assert_allclose(ours.ev, theirs.ev, atol=1e-6)
    np.testing.assert_allclose(ours.strategy, theirs.strategy, atol=1e-6)


def test_own_hands_and_threads_change_nothing() -> None:
    spot = read_spot("AsKs7s2d", 100, "150", ["AA,KQs,88", "KK,QJs,76s"], 10)
    raises = parse_menu("allin").raises
    both, own = (
        Subgame(spot, raises, 1, dtype=np.float64, own_hands=each) for each in (False, True)
    )
    assert own.game.tree.size < 0.7 * both.game.tree.size
    whole, mine = solve(both, "dcfr", 60), solve(own, "dcfr", 60)
    held = spot.ranges > 0
    np.testing.assert_allclose(mine.strategy, whole.strategy, atol=1e-6)
    np.testing.assert_allclose(mine.ev * held, whole.ev * held, atol=1e-6)
    assert mine.exploitability == pytest.approx(whole.exploitability, abs=1e-6)
    shared = solve(own, "dcfr", 60, threads=2)
    np.testing.assert_array_equal(shared.solver.sums, mine.solver.sums)
    np.testing.assert_array_equal(shared.ev, mine.ev)


def test_threads_do_not_wait_for_one_that_was_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    spot = read_spot("AsKs7s2d", 100, "150", ["AA,KQs,88", "KK,QJs,76s"], 10)
    solver = Solver(Subgame(spot, parse_menu("allin").raises, 1).game, "dcfr", threads=3)
    traverse, ended = kernels.traverse, []

    def interrupted(*args: Any) -> None:
        if args[-3] == 0:
            raise KeyboardInterrupt
        traverse(*args)
        ended.append(args[-3])

    monkeypatch.setattr(kernels, "traverse", interrupted)
    with pytest.raises(KeyboardInterrupt):
        solver.iterate(5)
    solver._pool.shutdown()
    assert sorted(ended) == [1, 2]


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads_share_out_all_cards_in_parts_of_like_work(threads: int) -> None:
    spot = read_spot("AsKs7s2d", 100, "150", ["AA,KQs,88", "KK,QJs,76s"], 10)
    tree = Subgame(spot, parse_menu("0.5,allin").raises, 2).game.tree
    tasks, bounds = tree.layout.tasks.tolist(), share_out(tree.layout, len(tree.kind), threads)
    assert bounds.tolist() == sorted(set(bounds.tolist()) & set(tasks))
    assert (bounds[0], bounds[-1]) == (tasks[0], tasks[-1])
    first = tree.layout.roots[tree.layout.events[bounds[:-1]]]
    nodes = np.diff(np.append(first, len(tree.kind)))
    assert nodes[0] == nodes.max()
    assert 0.4 < threads * nodes[0] / nodes.sum() < 0.7


@pytest.mark.parametrize("board", ["AsKd7h2c3d", "AsKs7s2d"])
def test_sixteen_bits_solve_what_floats_solve(board: str) -> None:
    spot = read_spot(board, 100, "150", ["AA,KQs,88", "KK,QJs,76s,A9o"], 10)
    subgame = Subgame(spot, parse_menu("0.5,allin").raises, 2, own_hands=True)
    floats, whole, shared = (
        Solver(subgame.game, "dcfr", threads, compressed)
        for threads, compressed in ((1, False), (1, True), (2, True))
    )
    for solver in (floats, whole, shared):
        solver.iterate(400)
    assert whole.regrets.dtype == whole.sums.dtype == np.int16
    ours, theirs = whole.values(), floats.values()
    assert ours.exploitability < 0.3
    # The values of two strategies differ by no more than what both are exploitable by.
    apart = 2 * (ours.exploitability + theirs.exploitability)
    assert abs(ours.players[0] - theirs.players[0]) < apart
    np.testing.assert_array_equal(shared.sums, whole.sums)
    np.testing.assert_allclose(whole.strategy(0).sum(axis=0), 1.0, atol=1e-6)
    strategy = np.full_like(whole.strategy(0), 1.0)
    strategy[0], strategy[1:] = 0.25, 0.75 / (len(strategy) - 1)
    whole.play(0, strategy)
    held = spot.ranges[0, subgame.hands] > 0
    np.testing.assert_allclose(whole.strategy(0)[:, held], strategy[:, held], atol=1e-4)


def test_forecasts_are_not_compressed() -> None:
    with pytest.raises(ValueError, match=r"Variant 'pcfr\+' is not kept in 16 bits"):
        Solver(small("kuhn_poker").game, "pcfr+", compressed=True)


def test_the_average_begins_anew_at_powers_of_four() -> None:
    weights = [VARIANTS["dcfr-anew"](t) for t in range(1, 19)]
    assert [t for t, each in enumerate(weights, 1) if each.kept == 0.0] == [1, 2, 5, 17]
    assert [each.average for each in weights[1:6]] == [1.0, 8.0, 27.0, 1.0, 8.0]


def test_all_in_equities_equal_the_rivers_one_by_one() -> None:
    subgame, _ = turn(False)
    board, cards = subgame.spot.board, next_cards(subgame.spot.board, [0])
    signs = np.zeros((1326, 1326))
    for card in cards:
        ranks = board_ranks([*board, card])
        live = ranks >= 0
        signs += np.sign(ranks[:, None] - ranks) * (live & live[:, None] & pairs())
    np.testing.assert_allclose(all_in_signs(tuple(sorted(board))), signs / 44, atol=1e-6)
    assert len(symmetries(board, *subgame.spot.ranges)) == 2


def test_leaf_evaluator_that_checks_down_equals_the_tree_that_does() -> None:
    spot = read_spot("AsKs7s2d", 100, "150", ["AA,KQs,88", "KK,QJs,76s"], 10)

    def raises(state: BettingState) -> list[int]:
        return [50] if state.street == 2 and max(state.committed) == 0 else []

    full = Subgame(spot, raises, dtype=np.float64)
    limited = Subgame(
        spot, raises, leaf=lambda subgame: partial(check_down, subgame), dtype=np.float64
    )
    assert limited.game.tree.leaves == 3
    whole, cut = solve(full, "cfr+", 40), solve(limited, "cfr+", 40)
    np.testing.assert_allclose(cut.strategy, whole.strategy, atol=1e-5)
    assert cut.exploitability == pytest.approx(whole.exploitability, abs=1e-3)


def rooted(*actions: int, board: str = "AsKd7h2c3d") -> Subgame:
    spot = river(board)
    state = start(spot.rules)
    for action in actions:
        state = state.apply(action)
    return Subgame(spot, lambda state: [], root=state)


def check_down(subgame: Subgame, reaches: NDArray[np.floating]) -> NDArray[np.floating]:
    """Values of leaves after which nobody bets: the pot by equity."""
    hands = subgame.hands
    signs = all_in_signs(tuple(sorted(subgame.spot.board)))[np.ix_(hands, hands)]
    free = pairs()[np.ix_(hands, hands)]
    out = np.empty_like(reaches)
    for leaf, state in enumerate(subgame.leaf_states):
        for player in (0, 1):
            payoff = (state.pot / 2 - state.committed[player]) * free + state.pot / 2 * signs
            out[leaf, player] = payoff @ reaches[leaf, 1 - player]
    return out


def after(subgame: Subgame, solver: Solver, raises: Raises, action: int) -> Subgame:
    """The subgame after the root's action of that place, with ranges by Bayes' rule."""
    ranges = subgame.spot.ranges.copy()
    ranges[subgame.root.player] *= subgame.spread(solver.strategy(0)[action])
    spot, root = replace(subgame.spot, ranges=ranges), subgame.root.apply(subgame.moves[0][action])
    return Subgame(spot, raises, 2, isomorphism=False, dtype=np.float64, root=root)


def follow(part: Subgame, subgame: Subgame, solver: Solver, node: int) -> Solver:
    """A solver of the part below a node that has the average strategies of the whole."""
    played, columns = Solver(part.game, "cfr+"), np.isin(subgame.hands, part.hands)
    for below in part.states:
        played.play(below, solver.strategy(node + below)[:, columns])
    return played


@pytest.mark.parametrize("board", ["AsKd7h2c3d", "AsKd7h2c"])
def test_values_after_each_action_add_up_to_the_roots(board: str) -> None:
    raises = parse_menu("1,allin").raises
    subgame = Subgame(river(board), raises, 2, isomorphism=False, dtype=np.float64)
    solver = Solver(subgame.game, "cfr+")
    solver.iterate(20)
    tree, total = subgame.game.tree, np.zeros(2)
    for action, node in enumerate(tree.children(0).tolist()):
        part = after(subgame, solver, raises, action)
        played = follow(part, subgame, solver, node)
        total += part.game.mass / subgame.game.mass * np.array(played.values().players)
    np.testing.assert_allclose(total, solver.values().players, atol=1e-9 * subgame.root.pot)


def test_solving_again_in_the_middle_of_a_street_keeps_the_value() -> None:
    raises = parse_menu("1,allin").raises
    subgame = Subgame(river(), raises, 2, isomorphism=False, dtype=np.float64)
    solver = Solver(subgame.game, "cfr+")
    solver.iterate(3_000)
    for action, node in enumerate(subgame.game.tree.children(0).tolist()):
        part = after(subgame, solver, raises, action)
        played, again = follow(part, subgame, solver, node), Solver(part.game, "cfr+")
        again.iterate(3_000)
        kept, found = played.values(), again.values()
        assert found.exploitability < 0.05
        # Two equilibria of a zero-sum game have one value; either is near by its exploitability.
        assert abs(found.players[0] - kept.players[0]) < 2 * (
            kept.exploitability + found.exploitability
        )
        assert kept.exploitability < 1.0
        if action == 1:
            solution = solve(part, "cfr+", 3_000)
            assert sum(solution.value) == pytest.approx(subgame.root.pot + 1_000, abs=1e-6)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: Solver(small("kuhn_poker").game, "cfr++"), "Unknown CFR variant 'cfr"),
        (lambda: Subgame(river(), lambda state: [10**6]), "no legal raise"),
        (lambda: solve(Subgame(river(), lambda state: []), "cfr", 0), "0 iterations"),
        (lambda: Subgame(river(), lambda state: [], root=start(HUNL)), "other rules"),
        (lambda: rooted(CALL, CALL), "play is over"),
        (lambda: rooted(CALL, CALL, board="AsKd7h2c"), "betting is on the river"),
        (lambda: SmallGame(pyspiel.load_game("tic_tac_toe")), "does not deal"),
    ],
)
def test_mistakes_are_named(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        call()
