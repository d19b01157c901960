"""Rake and locked decisions: closed forms, and best answers found once more over hands.

Cost: about 4 s on one core.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fuzzing import cases, ends_well
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from phevaluator.evaluator import evaluate_7cards

from tenfold.algorithms.rl_cfr.solver import locks as locks_module
from tenfold.algorithms.rl_cfr.solver.locks import Lock, LockWords, parse_locks, read_lock_file
from tenfold.algorithms.rl_cfr.solver.solve import solve
from tenfold.algorithms.rl_cfr.solver.solver import Solver
from tenfold.algorithms.rl_cfr.solver.subgame import Subgame, legal_moves
from tenfold.envs.poker.cards import HANDS, format_hand, hand_index, parse_cards
from tenfold.envs.poker.rake import Rake
from tenfold.envs.poker.rules import BettingState
from tenfold.envs.poker.sizes import parse_menu
from tenfold.envs.poker.spot import Spot, read_spot
from tenfold.envs.poker.words import describe
from tenfold.platform.errors import InputError

MENU = parse_menu("0.5,allin")
BOARD = "AsKd7h2c3d"
TURN = read_spot(BOARD[:8], 100, "300", ["AcAd", "KcKs"], 10)
FIRST, SECOND = "AcAd,QcQd,Td9d,5c4c:0.5,JhTh", "KcKs,JJ:0.5,AhQh,6c6d"


def river(rake: Rake | None = None) -> Spot:
    spot = read_spot(BOARD, 100, "300", [FIRST, SECOND], 10)
    return replace(spot, rules=replace(spot.rules, rake=rake or Rake()))


def by_hands(
    subgame: Subgame, solver: Solver, seat: int, best: bool, locks: list[Lock] | None = None
) -> float:
    """What a seat wins on a river against the other's average strategy, hand by hand.

    Args:
        subgame: On the river.
        solver: Of it.
        seat: The player.
        best: Whether it answers best, but where it is locked; else by its average strategy.
        locks: Its locked decisions.
    """
    spot, rules = subgame.spot, subgame.spot.rules
    tree, hands = subgame.game.tree, subgame.hands
    cards = [set(HANDS[hand].tolist()) for hand in hands]
    ranks = [evaluate_7cards(*spot.board, *sorted(each)) for each in cards]  # low ranks win
    apart = np.array([[not one & two for two in cards] for one in cards], float)
    fixed = {lock.line: lock.strategy[:, hands] for lock in locks or []}

    def paid(state: BettingState) -> NDArray[np.float64]:
        """(hands, other's hands): what is won at an end; an uncalled bet goes back."""
        put = min(state.committed)
        pot = rules.pot + 2 * put
        left = pot - min(rules.rake.share * pot, rules.rake.cap)
        if state.folded is not None:
            won = -float(put) if state.folded == seat else left - put
            return np.full((len(hands), len(hands)), won)
        ahead = np.sign(np.subtract.outer(ranks, ranks).T)  # > 0 where the row is better
        return (0.5 + 0.5 * ahead) * left - put

    def value(node: int, state: BettingState, line: tuple[int, ...], reach: Any) -> Any:
        if state.over:
            return (apart * paid(state)) @ reach
        sigma = solver.strategy(node).astype(float)
        below = []
        for place, (move, child) in enumerate(
            zip(subgame.moves[node], tree.children(node).tolist(), strict=True)
        ):
            after = reach if state.player == seat else reach * sigma[place]
            below.append(value(child, state.apply(move), (*line, place), after))
        values = np.array(below)
        if state.player != seat:
            return values.sum(axis=0)
        if not best:
            return (sigma * values).sum(axis=0)
        strategy = fixed.get(line, np.full_like(sigma, -1.0))
        held = (strategy * values).sum(axis=0)
        return np.where(strategy[0] >= 0, held, values.max(axis=0))

    ranges = spot.ranges[:, hands]
    values = value(0, subgame.root, (), ranges[1 - seat])
    return float(ranges[seat] @ values / subgame.game.mass)


@pytest.mark.parametrize(("share", "cap"), [(0.0, np.inf), (0.05, np.inf), (0.1, 15.0)])
def test_a_pot_bet_with_rake_has_its_closed_form(share: float, cap: float) -> None:
    # Nuts or air, even chances, against a hand between them; the first may bet the pot once.
    pot = 100.0
    spot = read_spot(BOARD, 100, "100", ["AcAd,5c4c,QhJh,Th9h", "KcKs"], 10)
    spot = replace(spot, rules=replace(spot.rules, rake=Rake(share, cap)))
    taken, called = min(share * pot, cap), min(3 * share * pot, cap)

    def raises(state: BettingState) -> list[int]:
        return [100] if state.player == 0 and not state.raised else []

    solution = solve(Subgame(spot, raises, dtype=np.float64), "dcfr", 4_000)
    # A call wins 3 pots less the rake against air and costs one: the share of bluffs in the bets.
    bluffs = pot / (3 * pot - called)
    # A bluff wins the raked pot where it is not called, and loses a pot where it is.
    folds = pot / (2 * pot - taken)
    value = folds * (pot - taken) + (1 - folds) * (2 * pot - called)
    second = 0.5 * (1 - bluffs / (1 - bluffs)) * (pot - taken)
    assert solution.value[0] == pytest.approx(0.5 * value, abs=0.1)
    assert solution.value[1] == pytest.approx(second, abs=0.1)
    bets = solution.strategy[1, [hand_index(*parse_cards(h)) for h in ("AcAd", "QhJh", "Th9h")]]
    assert bets[0] == pytest.approx(1.0, abs=0.01)
    assert bets[1:].mean() == pytest.approx(bluffs / (1 - bluffs), abs=0.01)
    assert solution.percent < 0.1


@pytest.mark.parametrize("rake", [Rake(), Rake(0.05), Rake(0.1, 20.0)], ids=str)
@pytest.mark.parametrize("iterations", [3, 1_500])
def test_exploitability_with_rake_is_that_of_best_answers_over_hands(
    rake: Rake, iterations: int
) -> None:
    subgame = Subgame(river(rake), MENU.raises, 2, dtype=np.float64, own_hands=True)
    solver = Solver(subgame.game, "dcfr")
    solver.iterate(iterations)
    found = solver.values()
    gains = 0.0
    for seat in (0, 1):
        kept, best = (by_hands(subgame, solver, seat, best) for best in (False, True))
        assert found.players[seat] == pytest.approx(kept, abs=1e-9)
        assert found.best[seat] == pytest.approx(best, abs=1e-9)
        gains += best - kept
    assert found.exploitability == pytest.approx(gains / 2, abs=1e-9)
    if iterations > 1_000:
        assert found.exploitability < 0.05


@pytest.mark.parametrize("board", [BOARD, "AsKd7h2c"])
def test_checking_down_pays_the_rake_once(board: str) -> None:
    spot = read_spot(board, 100, "300", ["AcAd,QcQd", "KcKs,JJ"], 10)
    spot = replace(spot, rules=replace(spot.rules, rake=Rake(0.05, 4.0)))
    solution = solve(Subgame(spot, lambda state: [], dtype=np.float64), "cfr", 1)
    assert sum(solution.value) == pytest.approx(96.0, abs=1e-9)
    assert solution.raked == pytest.approx(4.0, abs=1e-9)
    assert solution.exploitability == pytest.approx(0.0, abs=1e-9)


def test_all_in_before_the_river_is_raked() -> None:
    spot = read_spot("AsKd7h2c", 100, "300", ["AcAd", "KcKs"], 10)
    spot = replace(spot, rules=replace(spot.rules, rake=Rake(0.1)))
    locks = parse_locks(
        [
            LockWords(line=[], strategy={"all-in": 1}),
            LockWords(line=["bet 300"], strategy={"call": 1}),
        ],
        spot,
        lambda state: legal_moves(state, parse_menu("allin").raises, 1),
    )
    game = Subgame(spot, parse_menu("allin").raises, 1, dtype=np.float64, locks=locks)
    # Only the case king beats the aces: 1 of 44 rivers, and never ties.
    won = 0.9 * 700
    assert solve(game, "cfr", 1).value == pytest.approx((43 / 44 * won - 300, won / 44 - 300), 1e-6)


def test_leaves_take_no_rake() -> None:
    with pytest.raises(ValueError, match="Leaves are valued without a rake"):
        Subgame(river(Rake(0.05)), MENU.raises, leaf=lambda subgame: lambda reaches: reaches)


@pytest.mark.parametrize(
    ("rake", "cap", "sentence"),
    [
        ("5", None, "Bad rake '5'"),
        ("100%", None, "Bad rake '100%'"),
        ("-1%", None, "Bad rake '-1%'"),
        ("nan", None, "Bad rake 'nan'"),
        (None, "3", "Rake cap '3' caps nothing"),
        ("5%", "free", "Bad rake cap 'free'"),
    ],
)
def test_rakes_that_cannot_be_are_named(rake: Any, cap: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_spot(BOARD, 100, "300", ["AA", "KK"], rake=rake, rake_cap=cap)


def test_a_rake_is_read_in_units_of_the_rules() -> None:
    spot = read_spot(BOARD, "5.5", "100", ["AA", "KK"], None, (), True, "5%", "0.3")
    assert spot.rules.rake == Rake(0.05, 0.3 * spot.unit)
    assert read_spot(BOARD, 100, "300", ["AA", "KK"], rake="0.025").rules.rake == Rake(0.025)


# Locked decisions


def moves(state: BettingState) -> list[int]:
    return legal_moves(state, MENU.raises, 2)


def decisions_of(subgame: Subgame, player: int) -> list[tuple[list[str], int]]:
    """Lines, in words, and nodes of a player's decisions on a river."""
    found, tree = [], subgame.game.tree
    waiting: list[tuple[list[str], int]] = [([], 0)]
    while waiting:
        line, node = waiting.pop()
        state = subgame.states[node]
        if state.player == player:
            found.append((line, node))
        for move, child in zip(subgame.moves[node], tree.children(node).tolist(), strict=True):
            if not state.apply(move).over:
                waiting.append(([*line, describe(move, state)], child))
    return found


@pytest.mark.parametrize("locked", [0, 1])
def test_against_a_wholly_locked_player_the_other_finds_the_best_answer(locked: int) -> None:
    spot, rng = river(), np.random.default_rng(locked)
    free = Subgame(spot, MENU.raises, 2, dtype=np.float64)
    words = []
    for line, node in decisions_of(free, locked):
        names = [describe(move, free.states[node]) for move in free.moves[node]]
        mixes = {
            format_hand(hand): dict(
                zip(names, rng.dirichlet(np.ones(len(names))).round(3).tolist(), strict=True)
            )
            for hand in np.flatnonzero(spot.ranges[locked]).tolist()
        }
        words.append(LockWords(line=line, hands=mixes))
    locks = parse_locks(words, spot, moves)
    subgame = Subgame(spot, MENU.raises, 2, dtype=np.float64, own_hands=True, locks=locks)
    solver = Solver(subgame.game, "dcfr")
    solver.iterate(300)
    found = solver.values()
    best = by_hands(subgame, solver, 1 - locked, best=True)
    assert found.best[1 - locked] == pytest.approx(best, abs=1e-9)
    assert found.players[1 - locked] == pytest.approx(best, abs=1e-3)
    # Who is locked can answer nothing better, so nothing but the other's gain is left.
    assert found.best[locked] == pytest.approx(found.players[locked], abs=1e-9)
    held = subgame.spread(solver.strategy(0))
    if locked == 0:
        inside = spot.ranges[0] > 0
        np.testing.assert_allclose(held[:, inside], locks[0].strategy[:, inside], atol=1e-12)


@pytest.mark.parametrize("rake", [Rake(), Rake(0.05, 10.0)], ids=str)
def test_hands_that_are_not_locked_answer_best_beside_those_that_are(rake: Rake) -> None:
    spot = river(rake)
    words = [
        LockWords(line=[], hands={"AcAd,QcQd": {"check": 1}}),
        LockWords(line=["check", "bet 50"], hands={"5c4c": {"call": 0.25, "fold": 0.75}}),
        LockWords(line=["check"], strategy={"check": 0.7, "allin": 0.3}),
    ]
    locks = parse_locks(words, spot, moves)
    subgame = Subgame(spot, MENU.raises, 2, dtype=np.float64, own_hands=True, locks=locks)
    solver = Solver(subgame.game, "pcfr+")
    solver.iterate(5)
    for seat in (0, 1):
        best = by_hands(subgame, solver, seat, best=True, locks=locks)
        assert solver.values().best[seat] == pytest.approx(best, abs=1e-9)
    solver.iterate(800)
    assert solver.values().exploitability < 0.05
    sigma = subgame.spread(solver.strategy(0))
    named = [hand_index(*parse_cards(hand)) for hand in ("AcAd", "QcQd", "Td9d")]
    assert sigma[0, named[:2]].tolist() == [1.0, 1.0]
    assert sigma[0, named[2]] < 1.0


@pytest.mark.parametrize("card", ["any", "2c", "9s"])
def test_locks_and_merged_suits_agree(card: str) -> None:
    spot = read_spot("AsKs7s2d", 100, "150", ["AA,KQs,88", "KK,QJs,76s"], 10)
    raises = parse_menu("allin").raises
    words = [
        LockWords(line=["check", "check", card], hands={"AA,88": {"check": 0.5, "bet 150": 0.5}}),
        LockWords(
            line=["check"], hands={"KcKh": {"check": 1}, "76s": {"check": 0.25, "allin": 0.75}}
        ),
    ]
    locks = parse_locks(words, spot, lambda state: legal_moves(state, raises, 1))
    found = [
        solve(Subgame(spot, raises, 1, None, merged, np.float64, locks=locks), "dcfr", 40)
        for merged in (True, False)
    ]
    sizes = [solution.subgame.game.tree.rows for solution in found]
    # A 2c that is named stands for no 2h.
    assert (sizes[0] < sizes[1]) == (card != "2c")
    np.testing.assert_allclose(found[0].ev, found[1].ev, atol=1e-6)
    assert found[0].exploitability == pytest.approx(found[1].exploitability, abs=1e-6)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([{"line": ["bet 51"], "strategy": {}}], "'bet 51' in line .* give one of check, bet 50"),
        ([{"line": ["bet 50", "fold"], "strategy": {}}], "ends the hand at 'fold'"),
        ([{"line": []}], "fixes nothing"),
        ([{"line": [], "strategy": {"fold": 1}}], "'fold' in the lock of line"),
        ([{"line": [], "strategy": {"check": 0.5}}], "add up to 0.5"),
        ([{"line": [], "strategy": {"check": 1.5}}], "Bad probability 1.5"),
        ([{"line": [], "hands": {"AA": {"check": 1}, "AcAd": {"check": 1}}}], "AdAc twice"),
        ([{"line": [], "hands": {"AX": {"check": 1}}}], "Cannot read range 'AX'"),
        ([{"line": [], "strategy": {"check": 1}}] * 2, "is locked twice"),
    ],
)
def test_locks_that_fit_no_tree_are_named(words: list[dict[str, Any]], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_locks([LockWords(**each) for each in words], river(), moves)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["check", "check"], "ends where a card comes"),
        (["check", "check", "As"], "'As' in line .* is no card that can come"),
        (["check", "check", "check"], "'check' in line .* is no card that can come"),
    ],
)
def test_lines_across_streets_name_cards(line: list[str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_locks([LockWords(line=line, strategy={"check": 1})], TURN, moves)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[]", "not a mapping"),
        ("locks: 3", "Bad value 3 for 'locks': give a list"),
        ("locks: [{line: check}]", "'locks.0.line'"),
        ("locks: [{line: [], stategy: {check: 1}}]", "Unknown key of locks.0 'stategy'"),
        ("locks: [{line: [], strategy: {check: yes}}]", "give a number"),
        ("locks: [", "not valid YAML"),
        (f"locks: [{'{line: []}, ' * 1_001}]", "give at most 1000 entries"),
    ],
)
def test_lock_files_that_cannot_be_read_are_named(text: str, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "locks.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=sentence):
        read_lock_file(file)
    with pytest.raises(InputError, match="does not exist"):
        read_lock_file(tmp_path / "none.yaml")


WORDS = st.sampled_from(["check", "bet 50", "allin", "call", "fold", "any", "2c", "AA", "", "x"])
STRATEGIES = st.dictionaries(WORDS, st.floats(-0.5, 1.5), max_size=3)


@cases(150)
@given(
    st.lists(WORDS, max_size=4),
    st.none() | STRATEGIES,
    st.dictionaries(st.sampled_from(["AA", "AcAd", "22+", "A", ""]), STRATEGIES, max_size=2),
)
def test_any_lock(line: Any, strategy: Any, hands: Any) -> None:
    def read() -> list[Lock]:
        return parse_locks([LockWords(line=line, strategy=strategy, hands=hands)], TURN, moves)

    if ends_well(read):
        (lock,) = read()
        held = lock.strategy[:, lock.strategy[0] >= 0]
        np.testing.assert_allclose(held.sum(axis=0), 1.0)


def test_a_lock_file_is_yaml_or_json(tmp_path: Path) -> None:
    file = tmp_path / "locks.yaml"
    file.write_text("locks:\n  - line: [check, bet 50]\n    hands: {77: {fold: 1}}\n")
    expected = [LockWords(line=["check", "bet 50"], hands={"77": {"fold": 1.0}})]
    assert read_lock_file(file) == expected
    file.write_text('{"locks": [{"line": ["check", "bet 50"], "hands": {"77": {"fold": 1}}}]}')
    assert read_lock_file(file) == expected


def test_the_locks_of_the_page_are_read(tmp_path: Path) -> None:
    page = Path(locks_module.__file__).parents[1] / "SOLVING.md"
    (block,) = re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    file = tmp_path / "locks.yaml"
    file.write_text(block)
    spot = read_spot("KsQd9h2c", 1_000, "9000", ["random", "random"], 100)
    menu = parse_menu("0.5,allin")
    locks = parse_locks(
        read_lock_file(file), spot, lambda state: legal_moves(state, menu.raises, 2)
    )
    assert [lock.cards for lock in locks] == [(), (None,)]
    named = [hand_index(*parse_cards(hand)) for hand in ("AsAh", "5c5d", "Jc8d")]
    assert locks[0].strategy[:, named].T.tolist() == [
        [0, 0.5, 0.5, 0],
        [1, 0, 0, 0],
        [0.4, 0.6, 0, 0],
    ]
