"""No-limit Leduc: our tree is OpenSpiel's game, and so is the exploitability in the full game."""

from functools import cache

import numpy as np
import pyspiel
import pytest
from open_spiel.python.algorithms.exploitability import exploitability as spiel_exploitability

from tenfold.algorithms.rl_cfr.abstraction import Abstraction, Fixed
from tenfold.algorithms.rl_cfr.epoch import alone, play_hand
from tenfold.algorithms.rl_cfr.leduc.full_game import (
    FullGamePolicy,
    choose,
    every_raise,
    expected_win,
    exploitability,
    played,
    solve_chosen,
    translate,
    understood,
)
from tenfold.algorithms.rl_cfr.leduc.nested import solve_nested, worth
from tenfold.algorithms.rl_cfr.leduc.own_raises import OwnTree, solve_own_raises
from tenfold.algorithms.rl_cfr.mdp import Decision, Solving, explore, solve
from tenfold.algorithms.rl_cfr.play.small_match import expected_small
from tenfold.algorithms.rl_cfr.solver.openspiel import SmallGame
from tenfold.algorithms.rl_cfr.solver.solver import Solver
from tenfold.algorithms.rl_cfr.worlds.leduc import (
    DECK,
    LeducWorld,
    game_string,
    public_tree,
    signs,
)
from tenfold.envs.poker.rules import CALL, FOLD, BettingState, Rules, openspiel_action, start
from tenfold.envs.poker.sizes import Menu

WORLD = LeducWorld(4)
ROOT = WORLD.root(np.random.default_rng(0))
SOLVING = Solving(Menu((1.0,)), max_raises=4, variant="dcfr", iterations=20)


class EveryRaise:
    """The abstraction that leaves nothing out."""

    def __call__(self, decision: Decision) -> list[int]:
        return list(every_raise(decision.state))


@cache
def strategies(*sizes: float) -> dict[tuple[int, ...], np.ndarray]:
    abstraction: Abstraction = Fixed(sizes) if sizes else EveryRaise()
    return translate(WORLD, solve_chosen(WORLD, choose(WORLD, abstraction, SOLVING), "cfr+", 300))


def test_random_hands_are_those_of_openspiel() -> None:
    rng = np.random.default_rng(0)
    for stack in (3, 7, 12):
        game = pyspiel.load_game(game_string(stack))
        for _ in range(60):
            theirs, ours = game.new_initial_state(), LeducWorld(stack).root(rng).state
            while not theirs.is_terminal():
                if theirs.is_chance_node():
                    theirs.apply_action(int(rng.choice(theirs.legal_actions())))
                    continue
                assert ours.player == theirs.current_player()
                legal = [openspiel_action(each) for each in ours.legal_actions()]
                assert legal == theirs.legal_actions()
                move = int(rng.integers(len(legal)))
                theirs.apply_action(legal[move])
                ours = ours.apply(ours.legal_actions()[move])
            winner = None
            if ours.folded is None:
                first, second, board = _cards(theirs)
                sign = signs((board,))[first, second]
                winner = None if sign == 0 else int(sign < 0)
            assert list(ours.payoffs(winner)) == theirs.returns()


def _cards(state: "pyspiel.State") -> list[int]:
    """Both hands, then the board where it came."""
    moves = state.full_history()
    return [move.action for move in moves if move.player == pyspiel.PlayerId.CHANCE]


def test_the_full_tree_is_openspiels() -> None:
    small = SmallGame(pyspiel.load_game(game_string(4))).game
    ours, theirs = Solver(WORLD.subgame(ROOT, every_raise).game, "cfr+"), Solver(small, "cfr+")
    mine, other = ours.values(), theirs.values()
    assert mine.players == pytest.approx(other.players, abs=1e-12)
    assert mine.best == pytest.approx(other.best, abs=1e-12)
    # Regrets that are 0 but for rounding decide some ties: now two equilibria are near each other.
    ours.iterate(300)
    theirs.iterate(300)
    mine, other = ours.values(), theirs.values()
    apart = 2 * (mine.exploitability + other.exploitability)
    assert abs(mine.players[0] - other.players[0]) < apart < 0.02


@pytest.mark.parametrize("sizes", [(1.0,), (0.5, 2.0)])
def test_exploitability_in_the_full_game_is_openspiels(sizes: tuple[float, ...]) -> None:
    policy = FullGamePolicy(WORLD, strategies(*sizes))
    theirs = spiel_exploitability(pyspiel.load_game(game_string(4)), policy)
    assert exploitability(WORLD, strategies(*sizes)) == pytest.approx(theirs, abs=1e-6)


def test_the_whole_abstraction_has_no_exploitability_and_less_costs_some() -> None:
    assert exploitability(WORLD, strategies()) < 2e-3
    assert exploitability(WORLD, strategies(1.0)) > 2e-2


def test_solving_again_answers_raises_better_than_translating_them() -> None:
    nested = solve_nested(WORLD, Fixed([1.0]), SOLVING, "cfr+", 100)
    assert nested.keys() == strategies(1.0).keys()
    gap = exploitability(WORLD, nested)
    assert gap < 0.75 * exploitability(WORLD, strategies(1.0))
    theirs = spiel_exploitability(pyspiel.load_game(game_string(4)), FullGamePolicy(WORLD, nested))
    assert gap == pytest.approx(theirs, abs=1e-6)
    for strategy in nested.values():
        np.testing.assert_allclose(strategy.sum(axis=0), 1.0, atol=1e-9)


def test_solving_again_safely_leaves_less_open() -> None:
    beliefs, safe = (
        solve_nested(WORLD, Fixed([1.0]), SOLVING, "cfr+", 300, safe=safe) for safe in (False, True)
    )
    gap = exploitability(WORLD, safe)
    assert gap < 0.85 * exploitability(WORLD, beliefs)
    theirs = spiel_exploitability(pyspiel.load_game(game_string(4)), FullGamePolicy(WORLD, safe))
    assert gap == pytest.approx(theirs, abs=1e-6)


def test_a_gadget_pays_what_it_says() -> None:
    # Player 0 has bet one chip; whoever holds a king may refuse, for two chips a deal or for none.
    answer = Decision((), ROOT.state.apply(2), np.ones((2, DECK)))
    plain = Solver(public_tree(answer, lambda history, state: [])[0].game, "cfr+")
    plain.iterate(500)
    for price in (2.0, -50.0):
        refused = np.where(np.arange(DECK) // 2 == 2, price, -50.0)
        subgame, nodes = public_tree(answer, lambda history, state: [], refused)
        solver = Solver(subgame.game, "cfr+")
        solver.iterate(500)
        values, tree = solver.values(), subgame.game.tree
        assert sum(values.players) == pytest.approx(0.0, abs=1e-9)
        assert list(tree.children(0)) == [1, nodes[()]]
        kings = solver.strategy(0)[0, 4:]
        if price > 0:
            np.testing.assert_allclose(kings, 1.0, atol=1e-3)
            np.testing.assert_allclose(values.answers[0, 4:], price * (DECK - 1), atol=1e-2)
        else:
            np.testing.assert_allclose(kings, 0.0, atol=1e-3)
            np.testing.assert_allclose(values.players, plain.values().players, atol=1e-2)


def test_the_worth_of_the_root_is_the_value_of_its_best_answers() -> None:
    chosen = choose(WORLD, Fixed([1.0]), SOLVING)
    found = worth(ROOT, solve_chosen(WORLD, chosen, "cfr+", 50), ())
    solver = Solver(public_tree(ROOT, lambda history, state: chosen[history])[0].game, "cfr+")
    solver.iterate(50)
    assert found.mean() == pytest.approx(solver.values().best[0], abs=1e-12)


def test_with_every_raise_in_the_tree_nothing_is_solved_again() -> None:
    nested = solve_nested(WORLD, EveryRaise(), SOLVING, "cfr+", 300)
    for history, strategy in strategies().items():
        np.testing.assert_allclose(nested[history], strategy, atol=1e-12)


def test_own_raises_lose_what_their_game_is_worth_less_than_the_whole_one() -> None:
    whole = Solver(WORLD.subgame(ROOT, every_raise).game, "cfr+")
    whole.iterate(1_000)
    lost = 0.0
    for player in (0, 1):
        own = OwnTree(WORLD, Fixed([1.0]), SOLVING, player)
        own.solve("cfr+", 1_000)
        values = Solver(own.subgame.game, "cfr+")
        values.iterate(1_000)
        lost += whole.values().players[player] - values.values().players[player]
    own, _ = solve_own_raises(WORLD, Fixed([1.0]), SOLVING, "cfr+", 1_000)
    theirs = spiel_exploitability(pyspiel.load_game(game_string(4)), FullGamePolicy(WORLD, own))
    assert exploitability(WORLD, own) == pytest.approx(theirs, abs=1e-6)
    assert theirs == pytest.approx(lost / 2, abs=1e-3)
    assert theirs < 0.5 * exploitability(WORLD, strategies(1.0))


def test_what_a_strategy_wins_is_openspiels_expectation() -> None:
    game = pyspiel.load_game(game_string(4))
    pair = strategies(1.0), strategies(0.5, 2.0)
    theirs = expected_small(game, [FullGamePolicy(WORLD, each) for each in pair])
    assert abs(theirs) > 1e-4
    assert expected_win(WORLD, *pair) == pytest.approx(theirs, abs=1e-9)


def test_a_player_with_every_raise_of_its_own_gives_nothing_away() -> None:
    own, nodes = solve_own_raises(WORLD, EveryRaise(), SOLVING, "cfr+", 300)
    for history, strategy in strategies().items():
        np.testing.assert_allclose(own[history], strategy, atol=1e-12)
    assert nodes == 2 * len(WORLD.subgame(ROOT, every_raise).game.tree.kind)


def test_own_raises_are_chosen_at_every_decision_by_its_beliefs() -> None:
    seen: list[Decision] = []

    def looks(decision: Decision) -> list[int]:
        seen.append(decision)
        return list(every_raise(decision.state))[-1:]

    own = OwnTree(WORLD, looks, SOLVING, player=1)
    mine = {at: state for at, state in own.states.items() if state.player == 1}
    assert len(seen) == sum(state.raises is not None for state in mine.values())
    assert {decision.state.player for decision in seen} == {1}
    for history, state in mine.items():
        assert list(own.raises(history, state)) == list(every_raise(state))[-1:]
    # Nobody can hold the card that is out.
    assert all(not decision.ranges[:, list(decision.board)].any() for decision in seen)


def test_every_strategy_of_the_full_game_is_a_law() -> None:
    for strategy in strategies(0.5, 2.0).values():
        np.testing.assert_allclose(strategy.sum(axis=0), 1.0, atol=1e-9)


def test_equities_are_counted_over_hands_and_boards() -> None:
    ranges = np.array([[1.0, 0, 0, 0, 0, 0.5], [0, 1.0, 1.0, 0, 0, 1.0]])
    state = start(WORLD.rules)
    equities = WORLD.equities(Decision((), state, ranges))
    for hand in range(DECK):
        won, total = 0.0, 0.0
        for other in np.flatnonzero(ranges[1]):
            for card in set(range(DECK)) - {hand, int(other)}:
                if other == hand:
                    continue
                a, b = (3 if h // 2 == card // 2 else h // 2 for h in (hand, int(other)))
                won += ranges[1, other] * (1.0 if a > b else 0.5 if a == b else 0.0)
                total += ranges[1, other]
        assert equities[0, hand] == pytest.approx(won / total)
    board = WORLD.equities(Decision((4,), state, ranges))
    assert board[0, 5] == 1.0
    assert board[0, 0] == pytest.approx((0.5 + 0.0 + 0.0) / 3)


def test_the_board_comes_by_bayes_and_leaves_the_ranges() -> None:
    ranges = np.array([[1.0, 1.0, 0, 0, 0, 0], [0, 1.0, 1.0, 0, 0, 0]])
    second = start(WORLD.rules).apply(CALL).apply(CALL)
    counts = np.zeros(DECK)
    rng = np.random.default_rng(1)
    for _ in range(3_000):
        dealt = WORLD.deal(Decision((), second, ranges), rng)
        counts[dealt.board[0]] += 1
        assert not dealt.ranges[:, dealt.board[0]].any()
    # Pairs (0, 1), (0, 2), (1, 2), each equally likely, leave four cards each.
    np.testing.assert_allclose(counts / 3_000, np.array([1, 1, 1, 3, 3, 3]) / 12, atol=0.03)


def test_hands_reach_the_second_street() -> None:
    streets = set()
    for seed in range(6):
        rng = np.random.default_rng(seed)
        decision: Decision | None = ROOT
        while decision is not None:
            streets.add(decision.state.street)
            solved = solve(WORLD, decision, None, SOLVING)
            decision = explore(WORLD, decision, solved, 0.3, rng)
    assert streets == {0, 1}
    hand = play_hand(WORLD, alone(Fixed([0.5]), 1), SOLVING, 0.3, np.random.default_rng(0))
    assert np.isfinite(hand.batch.rewards).all()


def bet(target: int) -> BettingState:
    return start(Rules((100, 100), blinds=(1, 1), first=(0, 0), big_blind=1)).apply(target)


def test_off_tree_raises_go_to_the_neighbour_of_the_pseudo_harmonic_mapping() -> None:
    state = start(bet(5).rules)
    offered = [CALL, 2, 5, 100]  # bets of a half and two pots, and all-in
    # Between A = 0.5 and B = 2 pots the mapping is even at x = (A + B + 2 A B) / (A + B + 2) = 1.
    assert [understood(move, state, state, offered) for move in (2, 3, 4, 5)] == [2, 2, 5, 5]
    assert understood(100, state, state, offered) == 100
    assert understood(CALL, state, state, offered) == CALL
    assert understood(2, state, state, [CALL]) == CALL


def test_own_raises_keep_their_share_of_the_pot() -> None:
    believed, real = bet(5), bet(9)
    raise_to = 5 + (believed.pot + believed.to_call)  # a pot
    assert played(raise_to, believed, real) == 9 + real.pot + real.to_call
    assert played(100, believed, real) == 100
    assert played(FOLD, believed, real) == FOLD
    assert played(raise_to, believed, bet(100)) == CALL


def test_a_stack_that_is_no_stack_is_refused() -> None:
    with pytest.raises(ValueError, match="1 for 'stack': give a whole number of at least 2"):
        LeducWorld(1)
