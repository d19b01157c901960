"""ICVaR-HF: iterated CVaR where rewards are unknown and a human compares episodes.

After each episode the human says which is better, it or an earlier one that is drawn at random, by
Bradley and Terry's model

    P(tau better than tau') = sigma(c (R(tau) - R(tau'))),

and nothing else is seen of the rewards. (Two episodes in a row are mostly of the same policy and
tell little.) With x the difference of how often both episodes visit each feature (s, a) and y = 1
or -1 for what the human says, the rewards w are the maximum of

    sum_i log sigma(c y_i <x_i, w>) - lambda/2 |w - 1/2|^2,

and ICVaR-L plans with r~ = clip(w + beta_r ||e_(s,a)||_{Lambda^{-1}}, 0, 1), where Lambda is the
Hessian there and beta_r = sqrt(2 log(1/delta) + log det(Lambda / lambda)) + sqrt(lambda d) / 2. The
last term covers |w - 1/2| <= sqrt(d) / 2. A reward that is added to all features is never seen and
changes no policy, as all episodes have H steps.

The extension to human feedback is named in the paper's abstract; all of this is a reconstruction.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy.special import expit, log_expit

from tenfold.algorithms.icvar.linear import ICVaRL
from tenfold.algorithms.icvar.planner import Solution
from tenfold.envs.risk.mdp import Episode, TabularMDP

# Rewards are within 1/2 of 1/2: the precision of a prior that wide.
RIDGE = 4.0
# The rewards are fitted anew once there is this share more to fit.
_GROWN = 0.02
_NEWTON_STEPS, _CLOSE = 50, 1e-9
_PLANNER = "planner/"


class Human:
    """Who compares episodes, as a simulation: it alone knows what they are worth.

    Args:
        rationality: c; the larger, the more surely the better episode is preferred.
        seed: Of what it compares and says.
        episodes: The most that it can remember.
    """

    def __init__(self, rationality: float, seed: int, episodes: int) -> None:
        self.rationality, self.seed = rationality, seed
        self.totals = np.zeros(episodes)

    def compare(self, number: int, total: float) -> tuple[int, bool] | None:
        """Look at an episode, and say how it compares with an earlier one.

        Args:
            number: Of the episode, from 0.
            total: Its return.

        Returns:
            The number of the earlier episode, and whether the new one is called better; None for
            the first.
        """
        self.totals[number] = total
        if number == 0:
            return None
        rng = np.random.default_rng([self.seed, number])
        other = int(rng.integers(number))
        better = rng.random() < expit(self.rationality * (total - self.totals[other]))
        return other, bool(better)


class HumanFeedback:
    """ICVaR-L on rewards that are learnt from comparisons.

    Args:
        planner: ICVaR-L on the task; its rewards are replaced before it plans, and of the task's
            own only this is read: whether they depend on the step.
        human: Who compares.
        episodes: K.
        bonus_scale: Factor of beta_r.
        delta: Of beta_r.
    """

    def __init__(
        self, planner: ICVaRL, human: Human, episodes: int, bonus_scale: float, delta: float
    ) -> None:
        self.planner, self.human = planner, human
        self.scale, self.delta = bonus_scale, delta
        self.shape = features_of(planner.task.mdp)
        d = math.prod(self.shape)
        self.visits = np.zeros((episodes, d), np.int16)
        # Of each episode but the first: which it was compared with, and what was said.
        self.others = np.zeros(episodes, np.int64)
        self.y = np.zeros(episodes, np.int8)
        self.seen = self.fitted = 0
        self.w = np.full(d, 0.5)
        self._rewards: np.ndarray | None = None

    def plan(self, rng: np.random.Generator) -> Solution:
        """ICVaR-L's policy on the optimistic rewards; `rng` is not needed."""
        task = self.planner.task
        rewards = np.broadcast_to(self.rewards(), task.mdp.rewards.shape)
        self.planner.task = replace(task, mdp=replace(task.mdp, rewards=rewards))
        return self.planner.plan(rng)

    def rewards(self) -> np.ndarray:
        """r~, (S, A), or (H, S, A) where rewards depend on the step."""
        compared = max(self.seen - 1, 0)
        if compared > (1.0 + _GROWN) * self.fitted:
            self.w = fit(*self._said(compared), self.human.rationality, self.w)
            self.fitted, self._rewards = compared, None
        if self._rewards is None:
            Lambda = information(*self._said(self.fitted), self.human.rationality, self.w)
            widths = np.sqrt(np.diagonal(np.linalg.inv(Lambda)))
            bonus = self.scale * self._radius(Lambda) * widths
            self._rewards = np.clip(self.w + bonus, 0.0, 1.0).reshape(self.shape)
        return self._rewards

    def _said(self, comparisons: int) -> tuple[np.ndarray, np.ndarray]:
        """X and y of the first comparisons, see `fit`."""
        new = slice(1, comparisons + 1)
        differences = self.visits[new] - self.visits[self.others[new]]
        return differences.astype(float), self.y[new].astype(float)

    def _radius(self, Lambda: np.ndarray) -> float:
        """beta_r."""
        volume = np.linalg.slogdet(Lambda / RIDGE)[1]
        prior = math.sqrt(RIDGE * len(Lambda)) / 2.0
        return math.sqrt(2.0 * math.log(1.0 / self.delta) + volume) + prior

    def update(self, episode: Episode) -> None:
        """Learn the transitions of an episode, and what the human says of it."""
        self.planner.update(episode)
        visits = np.zeros(self.shape, np.int16)
        steps = (np.arange(len(episode.actions)),) if len(self.shape) == 3 else ()
        np.add.at(visits, (*steps, episode.states[:-1], episode.actions), 1)
        self.visits[self.seen] = visits.ravel()
        said = self.human.compare(self.seen, episode.total)
        if said is not None:
            self.others[self.seen], better = said
            self.y[self.seen] = 1 if better else -1
        self.seen += 1

    def get_state(self) -> dict[str, np.ndarray]:
        """Episodes, comparisons, rewards, what the human remembers, and ICVaR-L's memory."""
        own: dict[str, np.ndarray] = {"visits": self.visits, "y": self.y, "w": self.w}
        counts = np.array([self.seen, self.fitted], np.int64)
        learnt = {f"{_PLANNER}{key}": value for key, value in self.planner.get_state().items()}
        compared = {"others": self.others, "totals": self.human.totals}
        return {**own, **compared, "counts": counts, **learnt}

    def set_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue from `get_state`."""
        own = (state[name].copy() for name in ("visits", "others", "y", "w", "totals"))
        self.visits, self.others, self.y, self.w, self.human.totals = own
        self._rewards = None
        self.seen, self.fitted = (int(count) for count in state["counts"])
        self.planner.set_state(
            {k.removeprefix(_PLANNER): v for k, v in state.items() if k.startswith(_PLANNER)}
        )


def features_of(mdp: TabularMDP) -> tuple[int, ...]:
    """The shape of the rewards that are learnt: (S, A), or (H, S, A) if they depend on the step."""
    stationary = (mdp.rewards == mdp.rewards[0]).all()
    return (mdp.S, mdp.A) if stationary else (mdp.H, mdp.S, mdp.A)


def fit(X: np.ndarray, y: np.ndarray, c: float, start: np.ndarray) -> np.ndarray:
    """The rewards of largest penalised likelihood, by Newton's method.

    Args:
        X: Differences of visits, (n, d).
        y: What the human says, (n,) of 1 and -1.
        c: Rationality.
        start: (d,), where to begin.
    """

    def loss(w: np.ndarray) -> float:
        return float(RIDGE / 2 * ((w - 0.5) ** 2).sum() - log_expit(c * y * (X @ w)).sum())

    w, reached = start, loss(start)
    for _ in range(_NEWTON_STEPS):
        slope = RIDGE * (w - 0.5) - c * X.T @ (y * expit(-c * y * (X @ w)))
        step = np.linalg.solve(information(X, y, c, w), slope)
        while (after := loss(w - step)) > reached:  # far off, a whole step may be too long
            step = step / 2
            if np.abs(step).max() < _CLOSE:
                return w
        w, reached = w - step, after
        if np.abs(step).max() < _CLOSE:
            break
    return w


def information(X: np.ndarray, y: np.ndarray, c: float, w: np.ndarray) -> np.ndarray:
    """Lambda, the Hessian of `fit`'s loss at w, (d, d)."""
    said = expit(c * y * (X @ w))
    Lambda: np.ndarray = RIDGE * np.eye(X.shape[1]) + c**2 * (X.T * (said * (1.0 - said))) @ X
    return Lambda
