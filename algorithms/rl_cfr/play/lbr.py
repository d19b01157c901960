"""Local best response (Lisy and Bowling 2017): a lower bound on how exploitable a policy is.

It knows the policy, so it knows the range that the other player's actions leave. At each decision
it takes the action that is worth most if both players check and call from then on, save that the
other may fold to its bet right away.
"""

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.play.policies import HandStrategy, History, Policy
from tenfold.algorithms.rl_cfr.solver.subgame import all_in_signs
from tenfold.envs.poker.cards import HAND_COUNT, live_hands
from tenfold.envs.poker.rules import CALL, FOLD
from tenfold.envs.poker.sizes import Menu
from tenfold.envs.poker.spot import Spot, dealable


class LocalBestResponse:
    """A `Policy` that exploits another.

    Args:
        spot: Where the hand starts.
        against: The other player.
        menu: Bets that it considers.
    """

    def __init__(self, spot: Spot, against: Policy, menu: Menu) -> None:
        self._spot, self._against, self._menu = spot, against, menu
        self._hands = np.flatnonzero(spot.ranges.any(axis=0))
        self._memo: dict[tuple[tuple[int, ...], ...], HandStrategy] = {}

    def __call__(self, history: History) -> HandStrategy:
        """The best action of each hand, with probability 1; any of those that no range holds."""
        key = history.actions, history.board
        if key not in self._memo:
            self._memo[key] = self._best(history)
        return self._memo[key]

    def _best(self, history: History) -> HandStrategy:
        state = history.state
        reach = self._reach(history)
        actions = [*([FOLD] if state.to_call else []), CALL, *self._menu.raises(state)]
        signs = all_in_signs(tuple(sorted(history.board)), tuple(self._hands.tolist()))
        mass = dealable(reach)
        values = []
        for action in actions:
            if action == FOLD:
                values.append(np.zeros(HAND_COUNT))
                continue
            stay, won = reach, np.zeros(HAND_COUNT)
            if action != CALL:
                stay = reach * (1.0 - self._against(history.apply(action)).of(FOLD))
                won = state.pot * (mass - dealable(stay))
            level = max(action, *state.committed)
            price = level - state.committed[state.player]
            pot = state.rules.pot + 2 * level
            # Against a hand that stays: the whole pot for a win, half of it for a tie.
            stays = dealable(stay)
            shares = stays / 2
            shares[self._hands] += signs @ stay[self._hands].astype(np.float32) / 2
            values.append(won + pot * shares - price * stays)
        best = np.argmax(values, axis=0)
        return HandStrategy(actions, (best == np.arange(len(actions))[:, None]).astype(float))

    def _reach(self, history: History) -> NDArray[np.float64]:
        """(1326,) the other player's range, by its own policy."""
        other = 1 - history.state.player
        reach = self._spot.ranges[other] * live_hands(history.board)
        for past, action in history.past(self._spot):
            if past.state.player == other:
                reach = reach * self._against(past).of(action)
        return reach
