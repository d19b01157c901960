"""Cost of planning for CVaR on the augmented state, vectorised beside a straightforward loop.

    python benchmarks/rs_disrl.py

Milliseconds of processor time, a median, on random MDPs in which one of S, A and H grows.
First what an episode costs every learner that plans anew for it (planning and counting). Then one
optimistic planning of RS-DisRL-M with LSR sets (one sweep over all budgets, then the policy) beside
loops, which must find the same value. The growth is the log-log slope. At last V-LSR on the
inventory, where sets are searched at those (s, y) alone that were tried often enough, beside the
same planning with arrays of (Y, S, A, O, Y), in turns: after episodes of its own policies, and
after ones of uniform behaviour, which try all actions early on.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from tenfold.algorithms.rs_disrl.by_return import ReturnPlanner
from tenfold.algorithms.rs_disrl.learners import (
    Counting,
    IteratedRisk,
    LinearV,
    RSDisRL,
    ShiftedReturns,
)
from tenfold.algorithms.rs_disrl.planner import StaticPlanner
from tenfold.envs.risk.measures import CVaR, Expectation
from tenfold.envs.risk.returns import GridMDP
from tenfold.envs.risk.static_benchmarks import grid_mdp, make_static_task
from tenfold.platform.statistics import mean_interval

RHO, LEARNT, OUTCOMES, LARGEST = CVaR(0.25), 100, 4, 5
BASE = {"S": 6, "A": 3, "H": 4}
GROWTH = {"S": (6, 12, 24, 48), "A": (3, 6, 12, 24), "H": (2, 4, 8, 16)}
FOURFOLD = {"S": (6, 24), "A": (3, 12), "H": (2, 8)}
# Of V-LSR on the inventory: its episodes, how many of them have one policy, and pairs of timings.
INVENTORY, ONE_POLICY, PAIRS = 2_000, 20, 4
LEARNERS: dict[str, Callable[[GridMDP], Counting]] = {
    "M-LSR": lambda m: RSDisRL(m, RHO, "model", "lsr", 1_000, 0.1, 0.05),
    "M-MLE": lambda m: RSDisRL(m, RHO, "model", "mle", 1_000, 0.1, 0.05),
    "V-LSR": lambda m: RSDisRL(m, RHO, "value", "lsr", 1_000, 0.1, 0.05),
    "V-MLE": lambda m: RSDisRL(m, RHO, "value", "mle", 1_000, 0.1, 0.05),
    "V-LSR linear": lambda m: LinearV(m, RHO, 5, 1_000, 0.1, 0.05),
    "risk-neutral, M-LSR": lambda m: RSDisRL(m, Expectation(), "model", "lsr", 1_000, 0.1, 0.05),
    "Keramati-style": lambda m: ShiftedReturns(m, RHO, 0.1),
    "iterated risk": lambda m: IteratedRisk(m, RHO, 0.1),
}


def random_mdp(S: int, A: int, H: int) -> GridMDP:
    """Dirichlet distributions over a few outcomes with rewards of 0 to `LARGEST` grid steps."""
    rng = np.random.default_rng([S, A, H])

    def outcomes(h: int, s: int, a: int) -> list[tuple[int, int, float]]:
        chances = rng.dirichlet(np.ones(OUTCOMES))
        return [(int(rng.integers(S)), int(rng.integers(LARGEST + 1)), float(p)) for p in chances]

    return grid_mdp(H, S, A, outcomes, 0, 0.2)


def plain_cvar(learner: RSDisRL) -> float:
    """The optimistic CVaR by loops over steps, states, actions, budgets and outcomes."""
    mdp, belief = learner.mdp, learner.belief()
    Y = mdp.Y
    values = {(s, w): min(w, 0) * mdp.step for s in range(mdp.S) for w in range(1 - Y, Y)}
    for h in reversed(range(mdp.H)):
        now = {}
        for s, w in values:
            best = -np.inf
            for a in range(mdp.A):
                outcomes = sorted(
                    (
                        values[
                            int(mdp.nexts[h, s, a, o]), min(w + int(mdp.rewards[h, s, a, o]), Y - 1)
                        ],
                        belief.probabilities[h, s, a, o, 0],
                    )
                    for o in range(mdp.probabilities.shape[3])
                )
                left = mass = min(float(belief.sizes[h, s, a, 0]), 1.0)
                q = mass * outcomes[-1][0]
                for value, p in outcomes:
                    taken = min(left, p)
                    left -= taken
                    q += (p - taken) * value
                best = max(best, q)
            now[s, w] = best
        values = now
    return max(mdp.step * b + values[mdp.initial, -b] / RHO.alpha for b in range(Y))


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Median processor time of a call."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return 1e3 * statistics.median(found)


def learnt(learner: Counting, mdp: GridMDP) -> Counting:
    """A learner after episodes of uniform behaviour."""
    rng = np.random.default_rng(0)
    for _ in range(LEARNT):
        policy = rng.integers(mdp.A, size=(mdp.H, mdp.S, mdp.Y))
        learner.update(mdp.play(policy, rng))
    return learner


def episode_cost(make: Callable[[GridMDP], Counting], sizes: dict[str, int]) -> float:
    """Milliseconds of planning and of counting the episode that it is played for."""
    mdp = random_mdp(**sizes)
    learner = learnt(make(mdp), mdp)
    rng = np.random.default_rng(1)
    episode = mdp.play(learner.plan(rng).policy, rng)

    def plan_and_count() -> None:
        learner.plan(rng)
        learner.update(episode)

    return milliseconds(plan_and_count, 5)


def learners_table() -> Table:
    """Every learner at the base sizes, and how its cost grows when one size is four times."""
    table = Table("learner", "ms an episode", *(f"with {key}" for key in FOURFOLD))
    for name, make in LEARNERS.items():
        growth = []
        for key, (low, high) in FOURFOLD.items():
            costs = [episode_cost(make, {**BASE, key: size}) for size in (low, high)]
            growth.append(f"{key}^{np.log(costs[1] / costs[0]) / np.log(high / low):.2f}")
        table.add_row(name, f"{episode_cost(make, BASE):.2f}", *growth)
    return table


def growth_table() -> Table:
    """M with LSR sets and the loops as each of S, A and H grows."""
    table = Table("grows", "S", "A", "H", "Y", "NumPy ms", "loops ms", "ratio", "growth of NumPy's")
    for key, sizes in GROWTH.items():
        costs: list[float] = []
        for size in sizes:
            now = {**BASE, key: size}
            mdp = random_mdp(**now)
            learner = RSDisRL(mdp, RHO, "model", "lsr", 1_000, 0.1, 0.05)
            learnt(learner, mdp)
            planner = StaticPlanner(mdp, learner.belief())
            np.testing.assert_allclose(planner.solve(RHO).value, plain_cvar(learner), atol=1e-9)
            costs.append(milliseconds(lambda p=planner: p.solve(RHO), 7))
            loops = milliseconds(lambda x=learner: plain_cvar(x), 1)
            rate = np.polyfit(np.log(sizes[: len(costs)]), np.log(costs), 1)[0] if costs[1:] else 0
            table.add_row(
                key,
                *(str(value) for value in now.values()),
                str(mdp.Y),
                f"{costs[-1]:.2f}",
                f"{loops:.0f}",
                f"{loops / costs[-1]:,.0f}",
                f"{key}^{rate:.2f}" if costs[1:] else "",
            )
    return table


def by_return_table() -> Table:
    """V-LSR on the inventory: places that are searched, and both ways to plan, in turns."""
    mdp = make_static_task("static/Inventory-v0")
    table = Table("episodes", "places searched", "dense ms", "by place ms", "ratio", "95 %")
    for own in (True, False):
        searched, dense, sparse = [], [], []
        for seed in range(PAIRS):
            rng = np.random.default_rng(seed)
            learner = RSDisRL(mdp, RHO, "value", "lsr", INVENTORY, 0.2, 0.05)
            for k in range(INVENTORY):
                if k % ONE_POLICY == 0:
                    uniform = rng.integers(mdp.A, size=(mdp.H, mdp.S, mdp.Y))
                    policy = learner.plan(rng).policy if own else uniform
                learner.update(mdp.play(policy, rng))
            belief = learner.belief()
            before, after = StaticPlanner(learner.mdp, belief), ReturnPlanner(learner.mdp, belief)
            found = []
            for planner, costs in ((before, dense), (after, sparse)):
                start = time.process_time()
                found.append(planner.solve(RHO).value)
                costs.append(1e3 * (time.process_time() - start))
            np.testing.assert_allclose(*found, atol=1e-12)
            searched.append(sum(len(places) for places in after.places))
        ratio = mean_interval(np.log(np.array(dense) / np.array(sparse)))
        assert ratio.low is not None
        assert ratio.high is not None
        table.add_row(
            "its own" if own else "uniform",
            f"{np.mean(searched):,.0f}",
            f"{np.mean(dense):.0f}",
            f"{np.mean(sparse):.1f}",
            f"{np.exp(ratio.value):.0f}",
            f"{np.exp(ratio.low):.0f} to {np.exp(ratio.high):.0f}",
        )
    return table


def main() -> None:
    """Print the tables."""
    console = Console(width=120)
    console.print(by_return_table())
    console.print(learners_table())
    console.print(growth_table())


if __name__ == "__main__":
    main()
