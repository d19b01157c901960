"""Trees that start before the river, against linear programs and closed forms; merged suits.

The references know nothing of `Subgame`: betting lines, cards and showdowns are written down once
more, and the sequence form (Koller, Megiddo and von Stengel 1996) is solved by SciPy's HiGHS. Cost:
about 12 s on one core.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations, product

import numpy as np
import pyspiel
import pytest
from phevaluator.evaluator import evaluate_7cards
from scipy.optimize import linprog
from scipy.sparse import bmat, coo_matrix

from tenfold.algorithms.rl_cfr.solver.dealing import deal_out
from tenfold.algorithms.rl_cfr.solver.openspiel import SmallGame
from tenfold.algorithms.rl_cfr.solver.solve import solve
from tenfold.algorithms.rl_cfr.solver.solver import Solver
from tenfold.algorithms.rl_cfr.solver.subgame import Raises, Subgame
from tenfold.envs.poker.cards import HANDS, parse_cards
from tenfold.envs.poker.isomorphism import CARD_MAPS, HAND_MAPS, symmetries
from tenfold.envs.poker.rules import BettingState, Rules
from tenfold.envs.poker.sizes import parse_menu
from tenfold.envs.poker.spot import Spot, read_spot

POT = 100
FLOP, TURN, RIVER = 1, 2, 3
BETS = [kept for n in (1, 2, 3) for kept in product((FLOP, TURN, RIVER), repeat=n)]
SUBSETS = sorted({tuple(sorted(set(kept))) for kept in BETS})
"""Streets with a bet: every subset of the three but the empty one."""


@dataclass
class SequenceForm:
    """The game in which either player may bet the pot once on some streets, as a linear program.

    Attributes:
        deck: Cards of the deck.
        hands: The hands of both players as pairs of cards, with weights.
        streets: On which a bet is possible.
        stack: Chips behind.
        sequences: Number of sequences of each player; the first is the empty one.
        constraints: (player, infoset, sequence, coefficient).
        infosets: Number of each player's information sets.
        payoffs: (sequence of player 0, of player 1, chance times payoff to player 0).
    """

    deck: int
    hands: tuple[dict[tuple[int, int], float], dict[tuple[int, int], float]]
    streets: tuple[int, ...]
    stack: int
    sequences: list[int] = field(default_factory=lambda: [1, 1])
    constraints: list[tuple[int, int, int, float]] = field(default_factory=list)
    infosets: list[int] = field(default_factory=lambda: [0, 0])
    payoffs: list[tuple[int, int, float]] = field(default_factory=list)

    def value(self, board: tuple[int, ...]) -> float:
        """What player 0 wins from the flop on, as a share of pots that sum to `POT`."""
        roots = tuple(dict.fromkeys(hands, 0) for hands in self.hands)
        self._street(FLOP, board, 0, roots, 1.0)
        (n, m), (k, j) = self.sequences, self.infosets
        row, column, entry = map(np.array, zip(*self.payoffs, strict=True))
        a = coo_matrix((entry, (row, column)), shape=(n, m))
        matrices = []
        for player in (0, 1):
            kept = [each[1:] for each in self.constraints if each[0] == player]
            lines, places, entries = map(np.array, zip(*kept, strict=True))
            # Line 0 says that the empty sequence has probability 1.
            lines, places = np.append(lines + 1, 0), np.append(places, 0)
            entries = np.append(entries, 1.0)
            shape = (self.infosets[player] + 1, self.sequences[player])
            matrices.append(coo_matrix((entries, (lines, places)), shape=shape))
        found = linprog(
            np.concatenate([np.zeros(n), [-1.0], np.zeros(j)]),
            A_ub=bmat([[-a.T, matrices[1].T]], format="csr"),
            b_ub=np.zeros(m),
            A_eq=bmat([[matrices[0], coo_matrix((k + 1, j + 1))]], format="csr"),
            b_eq=np.append(1.0, np.zeros(k)),
            bounds=[(0, None)] * n + [(None, None)] * (j + 1),
            method="highs",
        )
        assert found.status == 0, found.message
        mass = sum(
            u * v
            for (one, u), (two, v) in product(*(hands.items() for hands in self.hands))
            if not set(one) & set(two)
        )
        return float(-found.fun / mass)

    def _street(
        self,
        street: int,
        board: tuple[int, ...],
        put: int,
        reached: tuple[dict[tuple[int, int], int], ...],
        chance: float,
    ) -> None:
        """A street's betting: check or bet; whoever meets a bet folds or calls."""
        if street not in self.streets or put == self.stack:
            self._next(street, board, put, reached, chance)
            return
        pot = POT + 2 * put
        bet = min(put + pot, self.stack)
        for first in range(2):  # who bets: player 0, or player 1 after a check
            checked, opened = self._decide(first, board, reached)
            folded, called = self._decide(1 - first, board, opened)
            won = POT + put if first == 0 else -put
            self._end(board, folded, chance, lambda one, two, won=won: won)
            self._next(street, board, bet, called, chance)
            reached = checked
        self._next(street, board, put, reached, chance)

    def _decide(
        self,
        player: int,
        board: tuple[int, ...],
        reached: tuple[dict[tuple[int, int], int], ...],
    ) -> Iterator[tuple[dict[tuple[int, int], int], ...]]:
        """Two actions at one public state: an information set for each hand."""
        after: list[dict[tuple[int, int], int]] = [{}, {}]
        for hand, sequence in reached[player].items():
            if set(hand) & set(board):
                continue
            infoset = self.infosets[player]
            self.infosets[player] += 1
            self.constraints.append((player, infoset, sequence, -1.0))
            for action in range(2):
                new = self.sequences[player]
                self.sequences[player] += 1
                self.constraints.append((player, infoset, new, 1.0))
                after[action][hand] = new
        other = reached[1 - player]
        return ((each, other) if player == 0 else (other, each) for each in after)

    def _next(
        self,
        street: int,
        board: tuple[int, ...],
        put: int,
        reached: tuple[dict[tuple[int, int], int], ...],
        chance: float,
    ) -> None:
        """The next card, or the showdown."""
        if street == RIVER:

            def payoff(one: tuple[int, int], two: tuple[int, int]) -> float:
                ranks = evaluate_7cards(*board, *one), evaluate_7cards(*board, *two)
                share = 0.5 + 0.5 * float(np.sign(ranks[1] - ranks[0]))  # low ranks win
                return share * (POT + 2 * put) - put

            self._end(board, reached, chance, payoff)
            return
        share = chance / (self.deck - len(board) - 4)
        for card in range(self.deck):
            if card not in board:
                self._street(street + 1, (*board, card), put, reached, share)

    def _end(
        self,
        board: tuple[int, ...],
        reached: tuple[dict[tuple[int, int], int], ...],
        chance: float,
        payoff: Callable[[tuple[int, int], tuple[int, int]], float],
    ) -> None:
        for one, two in product(*reached):
            if len({*one, *two, *board}) == 4 + len(board):
                weight = chance * self.hands[0][one] * self.hands[1][two]
                pair = reached[0][one], reached[1][two]
                self.payoffs.append((*pair, weight * payoff(one, two)))


def pot_bets(streets: tuple[int, ...]) -> Raises:
    """A bet of the pot, or all-in, as the first bet of some streets."""

    def raises(state: BettingState) -> list[int]:
        if state.street not in streets or state.raised or state.raises is None:
            return []
        return [min(max(state.committed) + state.pot, state.rules.depth)]

    return raises


def short_flop(rng: np.random.Generator, deck: int, hands: int, stack: int) -> Spot:
    """A random flop of a short deck with few weighted hands a player."""
    board = tuple(sorted(rng.permutation(deck)[:3].tolist()))
    free = [h for h, cards in enumerate(HANDS) if cards[0] < deck and not {*cards} & {*board}]
    ranges = np.zeros((2, len(HANDS)))
    for player in (0, 1):
        ranges[player, rng.choice(free, hands, replace=False)] = rng.uniform(0.3, 1.0, hands)
    return Spot(board, Rules((stack, stack), big_blind=10, street=FLOP, pot=POT), ranges, deck)


@pytest.mark.parametrize("streets", SUBSETS, ids=str)
@pytest.mark.parametrize(("seed", "deck", "stack"), [(0, 16, 250), (1, 16, 80)])
def test_flops_have_the_value_of_the_linear_program(
    seed: int, deck: int, stack: int, streets: tuple[int, ...]
) -> None:
    spot = short_flop(np.random.default_rng(seed), deck, hands=3, stack=stack)
    first, second = (
        {(int(HANDS[h, 0]), int(HANDS[h, 1])): float(weights[h]) for h in np.flatnonzero(weights)}
        for weights in spot.ranges
    )
    value = SequenceForm(deck, (first, second), streets, stack).value(spot.board)
    subgame = Subgame(spot, pot_bets(streets), dtype=np.float64)
    solver = Solver(subgame.game, "dcfr")
    solver.iterate(600)
    found = solver.values()
    assert found.exploitability < 2e-3 * POT
    assert sum(found.players) == pytest.approx(POT, abs=1e-9)
    # All-in chances are float32.
    assert POT - found.best[1] - 1e-5 <= value <= found.best[0] + 1e-5


def open_handed(share: float, stack: int) -> float:
    """What player 0 wins on a turn with both hands face up, one all-in possible, no river bets.

    Args:
        share: Of the pot that player 0 wins on average over the rivers.
        stack: Chips behind.
    """
    called = share * (POT + 2 * stack) - stack
    raised = max(called, 0.0)  # player 0 answers player 1's all-in
    checked = min(share * POT, raised)
    return max(checked, min(called, POT))


@pytest.mark.parametrize(
    ("board", "hands", "stack"),
    [
        # Six of 45 turns give JsTs its straight and no draw gets its price: 100 x 39/45.
        ("KsQh2d", ("AsAh", "JsTs"), 1_000),
        ("QsJh2h", ("7c7d", "Th9h"), 100),
    ],
)
def test_all_in_on_the_turn_is_settled_by_the_turns_chances(
    board: str, hands: tuple[str, str], stack: int
) -> None:
    spot = read_spot(board, POT, str(stack), hands, 10)
    first, second = (parse_cards(hand) for hand in hands)

    def shares(cards: Sequence[int]) -> float:
        """Player 0's mean share over the cards to come."""
        if len(cards) == 5:
            ranks = evaluate_7cards(*cards, *first), evaluate_7cards(*cards, *second)
            return 0.5 + 0.5 * float(np.sign(ranks[1] - ranks[0]))
        left = set(range(52)) - {*cards, *first, *second}
        return float(np.mean([shares([*cards, card]) for card in left]))

    turns = set(range(52)) - {*spot.board, *first, *second}
    value = float(np.mean([open_handed(shares([*spot.board, card]), stack) for card in turns]))
    if stack == 1_000:
        assert value == pytest.approx(POT * 39 / 45)

    def raises(state: BettingState) -> list[int]:
        return [state.rules.depth] if state.street == TURN and not state.raised else []

    solution = solve(Subgame(spot, raises, dtype=np.float64), "cfr+", 300)
    assert abs(solution.value[0] - value) < 2 * solution.exploitability < 0.2


def drifting(board: str, isomorphism: bool, iterations: int) -> tuple[Subgame, Solver]:
    """A spot with many ties between hands that a renaming of suits makes of each other."""
    if len(board) == 8:
        spot = read_spot(board, POT, "150", ["22+,A2+,K9+,QT+,98"] * 2, 10)
    else:  # a deck of sixes and lower
        spot = read_spot(board, POT, "150", ["66-22,62+,52+,42+,32"] * 2, 10)
        spot = replace(spot, deck=20)
    raises = parse_menu("0.5,allin").raises
    subgame = Subgame(spot, raises, 1, isomorphism=isomorphism, dtype=np.float64)
    solver = Solver(subgame.game, "dcfr")
    solver.iterate(iterations)
    return subgame, solver


@pytest.mark.parametrize("board", ["AsKs7s2s", "5s4s2s"])
def test_merged_suits_do_not_drift(board: str) -> None:
    # Rounding alone used to decide ties differently for hands that are alike: 100.00002 here.
    merged, ours = drifting(board, True, 30)
    plain, theirs = drifting(board, False, 30)
    assert merged.game.tree.rows < 0.6 * plain.game.tree.rows
    found, expected = ours.values(), theirs.values()
    assert sum(found.players) == pytest.approx(POT, abs=1e-9)
    # The values of two strategies differ by no more than what both are exploitable by.
    apart = 2 * (found.exploitability + expected.exploitability)
    assert abs(found.players[0] - expected.players[0]) < apart < 4.0
    strategy = ours.strategy(0)
    for renamed in symmetries(merged.spot.board, *merged.spot.ranges):
        images = np.searchsorted(merged.hands, HAND_MAPS[renamed, merged.hands])
        np.testing.assert_array_equal(strategy[:, images], strategy)


@pytest.mark.parametrize(("board", "deck"), [("5s4s2s", 20), ("5s4s2h", 24), ("5s4h2d", 20)])
def test_boards_up_to_suits_are_the_orbits_of_turn_and_river(board: str, deck: int) -> None:
    cards = parse_cards(board)
    renamings = symmetries(cards)
    dealt = deal_out(cards, renamings, 2, deck)
    pairs = set(permutations(set(range(deck)) - set(cards), 2))
    orbits = {min((int(m[a]), int(m[b])) for m in CARD_MAPS[renamings]) for a, b in pairs}
    found = [each[len(cards) :] for each in dealt[2].boards]
    assert sorted(found) == sorted(orbits)
    assert sum(len(rows) for rows in dealt[1].stands_for) == deck - len(cards)
    rivers = iter(len(rows) for rows in dealt[2].stands_for)
    for after in dealt[1].after:  # every river after each turn, once
        assert sum(next(rivers) for _ in range(after)) == deck - len(cards) - 1


@pytest.mark.parametrize("board", ["5s4s2s", "5s4s2h"])
def test_merged_turns_and_rivers_change_nothing(board: str) -> None:
    spot = read_spot(board, POT, "150", ["66,55,64s,53s,43:0.5", "66,44,65s,54s,63"], 10)
    spot = replace(spot, deck=24)
    raises = parse_menu("allin").raises
    merged, plain = (
        solve(Subgame(spot, raises, 1, isomorphism=each, dtype=np.float64), "cfr", 3)
        for each in (True, False)
    )
    sizes = [len(each.subgame.game.tree.kind) for each in (merged, plain)]
    assert sizes[0] < {"5s4s2s": 0.3, "5s4s2h": 0.6}[board] * sizes[1]
    assert merged.exploitability == pytest.approx(plain.exploitability, abs=1e-6)
    np.testing.assert_allclose(merged.ev, plain.ev, atol=1e-6)
    np.testing.assert_allclose(merged.strategy, plain.strategy, atol=1e-6)


def test_games_whose_players_forget_are_refused() -> None:
    game = pyspiel.load_game(
        "universal_poker(betting=nolimit,numPlayers=2,numRounds=3,blind=1 1,firstPlayer=1 1 1,"
        "numSuits=2,numRanks=3,numHoleCards=1,numBoardCards=0 1 1,stack=4 4,"
        "bettingAbstraction=fchpa)"
    )
    with pytest.raises(ValueError, match="stands for several public states"):
        SmallGame(game)
