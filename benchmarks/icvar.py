"""Cost of an episode of ICVaR-L (planning and learning) beside the same method in plain loops.

    python benchmarks/icvar.py

Milliseconds of processor time an episode, median of several blocks, on random mixtures in which one
of S, A, H and d grows. Both versions start from the same 200 learnt episodes and must make the same
plans. The growth is the log-log slope up to that row.
"""

import math
import statistics
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from tenfold.algorithms.icvar.baselines import TabularUCB
from tenfold.algorithms.icvar.general import FiniteClass, ICVaRG, LinearClass, mixtures
from tenfold.algorithms.icvar.learners import Learner
from tenfold.algorithms.icvar.linear import ICVaRL, confidence_radius
from tenfold.algorithms.icvar.planner import Solution
from tenfold.envs.risk.benchmarks import make_task
from tenfold.envs.risk.mdp import Episode
from tenfold.envs.risk.mixture import Mixture

ALPHA, SCALE, DELTA, K, LEARNT = 0.4, 0.05, 0.05, 1_000, 200
BASE = {"S": 8, "A": 3, "H": 3, "d": 3}
GROWTH = {"S": (8, 16, 32, 64), "A": (3, 6, 12, 24), "H": (3, 6, 12, 24), "d": (3, 6, 12, 24)}


class PlainICVaRL:
    """ICVaR-L with the exact grid as its pseudo-code reads, one state and action at a time."""

    def __init__(self, task: Mixture) -> None:
        H, d = task.mdp.H, task.d
        self.task = task
        self.beta = SCALE * confidence_radius(d, H, K, DELTA, H**2)
        self.Lambda = [H**2 * np.eye(d) for _ in range(H)]
        self.b = [np.zeros(d) for _ in range(H)]
        self.V = np.zeros((H + 1, task.mdp.S))

    def feature(self, s: int, a: int, x: float, V: np.ndarray) -> np.ndarray:
        """psi_x(s, a)."""
        f = np.zeros(self.task.d)
        for after, value in enumerate(V):
            if x > value:
                f += self.task.kernels[:, s, a, after] * (x - value)
        return f / math.sqrt(self.task.d)

    def plan(self, rng: np.random.Generator) -> Solution:
        """Backward induction by loops over steps, states, actions and the grid."""
        mdp = self.task.mdp
        self.V = np.zeros((mdp.H + 1, mdp.S))
        policy = np.zeros((mdp.H, mdp.S), dtype=int)
        for h in reversed(range(mdp.H)):
            inverse = np.linalg.inv(self.Lambda[h])
            theta = inverse @ self.b[h]
            for s in range(mdp.S):
                best = -math.inf
                for a in range(mdp.A):
                    value, bonus = -math.inf, 0.0
                    for x in self.V[h + 1]:
                        f = self.feature(s, a, x, self.V[h + 1])
                        value = max(value, x - theta @ f / ALPHA)
                        bonus = max(bonus, math.sqrt(f @ inverse @ f))
                    q = mdp.rewards[h, s, a] + value + self.beta / ALPHA * bonus
                    if q > best:
                        best, policy[h, s] = q, a
                self.V[h, s] = min(max(best, 0.0), mdp.H - h)
        return Solution(policy, self.V)

    def update(self, episode: Episode) -> None:
        """The episode's transitions one after the other."""
        for h, a in enumerate(episode.actions):
            s, after, V = episode.states[h], episode.states[h + 1], self.V[h + 1]
            inverse = np.linalg.inv(self.Lambda[h])
            features = [(x, self.feature(s, a, x, V)) for x in V]
            x, f = max(features, key=lambda pair: pair[1] @ inverse @ pair[1])
            self.Lambda[h] += np.outer(f, f)
            self.b[h] += max(x - V[after], 0.0) * f


def learn(learner: Learner | PlainICVaRL, task: Mixture, first: int, episodes: int) -> np.ndarray:
    """Play some episodes; returns the values of the last policy."""
    for k in range(first, first + episodes):
        solution = learner.plan(np.random.default_rng([k, 0]))
        learner.update(task.mdp.play(solution.policy, np.random.default_rng([k, 1])))
    return solution.values


def milliseconds(
    learner: Learner | PlainICVaRL, task: Mixture, blocks: int, episodes: int
) -> float:
    """Median over blocks of processor time an episode, without that of playing it."""
    policy = learner.plan(np.random.default_rng(0)).policy
    start = time.process_time()
    for k in range(200):
        task.mdp.play(policy, np.random.default_rng([k, 1]))
    playing = (time.process_time() - start) / 200
    found = []
    for block in range(blocks):
        start = time.process_time()
        learn(learner, task, LEARNT + block * episodes, episodes)
        found.append((time.process_time() - start) / episodes - playing)
    return 1e3 * statistics.median(found)


def numpy_icvar_l(task: Mixture) -> ICVaRL:
    """Ours, with the benchmark's constants."""
    return ICVaRL(task, ALPHA, K, SCALE, DELTA)


def growth_table() -> Table:
    """Ours and the loops as each of S, A, H and d grows."""
    table = Table("grows", "S", "A", "H", "d", "NumPy ms", "loops ms", "ratio", "growth of NumPy's")
    for key, sizes in GROWTH.items():
        costs = []
        for size in sizes:
            sizes_now = {**BASE, key: size}
            task = make_task("mdp/RandomMixture-v0", ALPHA, **sizes_now)
            ours, loops = numpy_icvar_l(task), PlainICVaRL(task)
            learn(ours, task, 0, LEARNT)
            loops.Lambda = list(ours.regression.Lambda.copy())
            loops.b = list(ours.regression.b.copy())
            rng = np.random.default_rng(0)
            np.testing.assert_allclose(ours.plan(rng).values, loops.plan(rng).values, atol=1e-8)
            cost = milliseconds(ours, task, blocks=7, episodes=40)
            plain = milliseconds(loops, task, blocks=1, episodes=2)
            costs.append(cost)
            rate = np.polyfit(np.log(sizes[: len(costs)]), np.log(costs), 1)[0] if costs[1:] else 0
            table.add_row(
                key,
                *(str(value) for value in sizes_now.values()),
                f"{cost:.3f}",
                f"{plain:.1f}",
                f"{plain / cost:,.0f}",
                f"{key}^{rate:.2f}" if costs[1:] else "",
            )
    return table


def learners_table() -> Table:
    """All learners on the smallest task."""
    task = make_task("mdp/RandomMixture-v0", ALPHA, **BASE)
    makers: dict[str, Callable[[Mixture], Learner]] = {
        "ICVaR-L, exact grid": numpy_icvar_l,
        "ICVaR-L, grid of step 0.01": lambda t: ICVaRL(t, ALPHA, K, SCALE, DELTA, epsilon=0.01),
        "ICVaR-G, linear class": lambda t: ICVaRG(t, LinearClass(t, ALPHA, K, DELTA, SCALE)),
        "ICVaR-G, 32 models": lambda t: ICVaRG(
            t, FiniteClass(mixtures(t, 32, 0), t.mdp.H, ALPHA, DELTA, SCALE)
        ),
        "tabular bonus": lambda t: TabularUCB(t.mdp, ALPHA, K, SCALE, DELTA),
        "risk-neutral (UCRL-VTR)": lambda t: ICVaRL(t, 1.0, K, SCALE, DELTA),
    }
    table = Table("learner (S = 8, A = 3, H = 3, d = 3)", "ms an episode")
    for name, make in makers.items():
        learner = make(task)
        learn(learner, task, 0, LEARNT)
        table.add_row(name, f"{milliseconds(learner, task, blocks=7, episodes=100):.3f}")
    return table


def main() -> None:
    """Print the tables."""
    console = Console(width=120)
    console.print(learners_table())
    console.print(growth_table())


if __name__ == "__main__":
    main()
