"""Cost of an episode of optimistic planning over histories, beside the same in plain loops.

    python benchmarks/risk_pomdp.py

Milliseconds of processor time of planning (counts to policy), median of several, on random POMDPs
in which one of S, A, O and H grows. Both versions start from the same 200 learnt episodes and must
find the same value and the same actions. The growth is that from the row above: a power of a size,
and a base of H.
"""

import math
import statistics
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from tenfold.algorithms.risk_pomdp.algorithm import random_reactions
from tenfold.algorithms.risk_pomdp.learner import HindsightLearner
from tenfold.algorithms.risk_pomdp.optimism import OptimisticSolution, rewards_to_come
from tenfold.envs.risk.pomdp import TabularPOMDP
from tenfold.envs.risk.pomdp_benchmarks import random_pomdp

GAMMA, SCALE, DELTA, K, LEARNT = -1.0, 0.1, 0.05, 1_000, 200
BASE = {"S": 4, "A": 2, "O": 3, "H": 4}
GROWTH = {"S": (8, 16, 32, 64), "A": (2, 4, 6, 8), "O": (2, 4, 6, 8), "H": (3, 4, 5, 6)}


def plain_plan(learner: HindsightLearner) -> OptimisticSolution:
    """Planning as its recursion reads: one history, action and state at a time."""
    model, bonus, gamma = learner.model(), learner.bonus(), learner.gamma
    sign = math.copysign(1.0, gamma)
    low, high = rewards_to_come(model.rewards)
    policy = [np.zeros(model.O * (model.A * model.O) ** h, dtype=int) for h in range(model.H)]

    def within(h: int, mass: float, value: float) -> float:
        ends = sorted((math.exp(gamma * low[h]), math.exp(gamma * high[h])))
        return min(max(value, mass * ends[0]), mass * ends[1])

    def worth(h: int, history: int, sigma: list[float]) -> float:
        best, values = -math.inf, []
        for a in range(model.A):
            grown = [sigma[s] * math.exp(gamma * model.rewards[h, s, a]) for s in range(model.S)]
            value = 0.0
            if h == model.H - 1:
                value = sum(grown)
            else:
                moved = [
                    sum(grown[s] * model.transitions[h, s, a, t] for s in range(model.S))
                    for t in range(model.S)
                ]
                for o in range(model.O):
                    seen = [moved[t] * model.emissions[h + 1, t, o] for t in range(model.S)]
                    value += worth(h + 1, (history * model.A + a) * model.O + o, seen)
            value += sign * sum(sigma[s] * bonus[h, s, a] for s in range(model.S))
            values.append(value)
            if sign * value > best:
                best = sign * value
                policy[h][history] = a
        return within(h, sum(sigma), values[policy[h][history]])

    total = sign * learner.first_bonus()
    for o in range(model.O):
        first = [model.initial[s] * model.emissions[0, s, o] for s in range(model.S)]
        total += worth(0, o, first)
    return OptimisticSolution(policy, math.log(within(0, 1.0, total)) / gamma)


def learnt(pomdp: TabularPOMDP) -> HindsightLearner:
    """A learner after episodes of uniform behaviour."""
    learner = HindsightLearner(pomdp.rewards, pomdp.O, GAMMA, SCALE, DELTA, K)
    rng = np.random.default_rng(0)
    for _ in range(LEARNT):
        learner.update(pomdp.play(random_reactions(pomdp, rng), rng))
    return learner


def milliseconds(plan: Callable[[], OptimisticSolution], repeats: int) -> float:
    """Median processor time of planning."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        plan()
        found.append(time.process_time() - start)
    return 1e3 * statistics.median(found)


def growth_table() -> Table:
    """Ours and the loops as each of S, A, O and H grows."""
    table = Table(
        "grows", "S", "A", "O", "H", "histories", "NumPy ms", "loops ms", "ratio", "growth"
    )
    for key, sizes in GROWTH.items():
        costs: list[float] = []
        for size in sizes:
            now = {**BASE, key: size}
            pomdp = random_pomdp(**now)
            learner = learnt(pomdp)
            ours, loops = learner.plan(), plain_plan(learner)
            np.testing.assert_allclose(ours.value, loops.value, atol=1e-9)
            for one, other in zip(ours.policy, loops.policy, strict=True):
                np.testing.assert_array_equal(one, other)
            costs.append(milliseconds(learner.plan, repeats=25))
            plain = milliseconds(lambda learner=learner: plain_plan(learner), repeats=1)
            growth = ""
            if costs[1:]:
                before = sizes[len(costs) - 2]
                over = size - before if key == "H" else math.log(size / before)
                rate = math.log(costs[-1] / costs[-2]) / over
                growth = f"{math.exp(rate):.1f}^H" if key == "H" else f"{key}^{rate:.2f}"
            histories = pomdp.O * (pomdp.A * pomdp.O) ** (pomdp.H - 1)
            table.add_row(
                key,
                *(str(value) for value in now.values()),
                f"{histories:,}",
                f"{costs[-1]:.2f}",
                f"{plain:,.0f}",
                f"{plain / costs[-1]:,.0f}",
                growth,
            )
    return table


def main() -> None:
    """Print the table."""
    Console(width=120).print(growth_table())


if __name__ == "__main__":
    main()
