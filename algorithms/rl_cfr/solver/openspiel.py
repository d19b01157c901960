"""Small games of OpenSpiel on our kernels, and our strategies as OpenSpiel policies.

The game must deal one private card (or hand) to each player, player 0 first, and then be public:
kuhn_poker, leduc_poker, and universal_poker with one hole card.
"""

from collections.abc import Iterator

import numpy as np
import pyspiel
from numpy.typing import NDArray
from open_spiel.python.policy import Policy

from tenfold.algorithms.rl_cfr.solver.game import Game
from tenfold.algorithms.rl_cfr.solver.solver import Solver
from tenfold.algorithms.rl_cfr.solver.tree import CHANCE, DECISION, MATRIX, TreeBuilder

States = dict[tuple[int, int], "pyspiel.State"]
"""One state for each pair of hands: they differ in nothing else."""


class SmallGame:
    """The public tree of a game of OpenSpiel.

    Args:
        game: Two players, zero-sum, perfect recall; see the module.

    Attributes:
        game: What a `Solver` takes; payoffs carry the chance of the deal, so its mass is 1.
        infosets: Information state -> (node, hand, legal actions).

    Raises:
        ValueError: The game is no such game, or its players forget: OpenSpiel's `universal_poker`
            sorts the board, so with one card on each of two streets nobody knows which came first.
    """

    def __init__(self, game: "pyspiel.Game") -> None:
        kind = game.get_type()
        if game.num_players() != 2 or kind.utility != pyspiel.GameType.Utility.ZERO_SUM:
            raise ValueError(f"Game '{kind.short_name}' is not a zero-sum game of two players.")
        self.infosets: dict[str, tuple[int, int, list[int]]] = {}
        self._spiel = game
        states, chances = _deal(game)
        hands = 1 + max(hand for pair in states for hand in pair)
        self._builder = TreeBuilder(np.zeros((hands, 2), np.int32))
        self._add(states, chances, -1, 0)
        self.game = Game(self._builder.build(np.float64), np.ones((2, hands)), 1.0, 0.0)

    def policy(self, solver: Solver) -> "SolverPolicy":
        """The average strategies of a solver of `game` as an OpenSpiel policy."""
        return SolverPolicy(self._spiel, self, solver)

    def _add(
        self, states: States, chances: dict[tuple[int, int], float], parent: int, action: int
    ) -> None:
        state = next(iter(states.values()))
        if state.is_terminal():
            hands = len(self._builder.cards)
            first = np.zeros((hands, hands))
            for pair, each in states.items():
                first[pair] = chances[pair] * each.returns()[0]
            matrix = self._builder.add_matrix(first), self._builder.add_matrix(-first.T)
            self._builder.add(MATRIX, parent, action, swing=1.0, matrix=matrix)
        elif state.is_chance_node():
            node = self._builder.add(CHANCE, parent, action)
            for place, card in enumerate(_outcomes(states)):
                below, weights = {}, {}
                for pair, each in states.items():
                    chance = dict(each.chance_outcomes()).get(card, 0.0)
                    if chance > 0.0:
                        below[pair] = each.child(card)
                        weights[pair] = chances[pair] * chance
                self._add(below, weights, node, place)
        else:
            player, legal = state.current_player(), state.legal_actions()
            node = self._builder.add(DECISION, parent, action, player, len(legal))
            for pair, each in states.items():
                self._name(each.information_state_string(player), node, pair[player], legal)
            for place, move in enumerate(legal):
                below = {pair: each.child(move) for pair, each in states.items()}
                self._add(below, chances, node, place)

    def _name(self, infoset: str, node: int, hand: int, legal: list[int]) -> None:
        if self.infosets.setdefault(infoset, (node, hand, legal))[0] != node:
            short = self._spiel.get_type().short_name
            raise ValueError(
                f"Game '{short}' forgets: information state '{infoset}' stands for several public "
                "states, so no policy can tell them apart: give a game whose states say in which "
                "order cards came, such as one board card in all."
            )


class SolverPolicy(Policy):
    """Average strategies, by information state."""

    def __init__(self, game: "pyspiel.Game", small: SmallGame, solver: Solver) -> None:
        super().__init__(game, [0, 1])
        self._infosets = small.infosets
        self._strategies: dict[int, NDArray[np.floating]] = {
            node: solver.strategy(node) for node, _, _ in small.infosets.values()
        }

    def action_probabilities(
        self, state: "pyspiel.State", player_id: int | None = None
    ) -> dict[int, float]:
        """Legal action -> probability."""
        player = state.current_player() if player_id is None else player_id
        node, hand, legal = self._infosets[state.information_state_string(player)]
        return dict(zip(legal, self._strategies[node][:, hand].tolist(), strict=True))


def _deal(game: "pyspiel.Game") -> tuple[States, dict[tuple[int, int], float]]:
    states, chances = {}, {}
    root = game.new_initial_state()
    if not root.is_chance_node():
        raise ValueError("The game does not deal one private card to each player.")
    for h0, p0 in root.chance_outcomes():
        after = root.child(h0)
        if not after.is_chance_node():
            raise ValueError("The game does not deal one private card to each player.")
        for h1, p1 in after.chance_outcomes():
            states[h0, h1], chances[h0, h1] = after.child(h1), p0 * p1
    return states, chances


def _outcomes(states: States) -> Iterator[int]:
    seen = {card for each in states.values() for card, _ in each.chance_outcomes()}
    return iter(sorted(seen))
