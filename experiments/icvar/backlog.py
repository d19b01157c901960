"""Backlog of the exact iterated-CVaR policies on the queue task, by forward recursion.

python -m experiments.icvar.backlog
"""

import sys
from pathlib import Path

import numpy as np

from tenfold.algorithms.icvar.planner import IteratedCVaR
from tenfold.envs.risk.benchmarks import make_task
from tenfold.envs.risk.mdp import return_distribution
from tenfold.envs.risk.measures import CVaR
from tenfold.platform.tables import save_table

TABLE = Path(__file__).parent.parent / "results" / "icvar" / "queue"


def main() -> None:
    """A row for each risk level."""
    rows = []
    for alpha in (1.0, 0.75, 0.5, 0.25, 0.1):
        mdp = make_task("mdp/QueueBacklog-v0", alpha).mdp
        policy = IteratedCVaR(mdp, alpha).optimal().policy
        occupancy, total = mdp.initial, np.zeros(mdp.S)
        for h in range(mdp.H):
            occupancy = occupancy @ mdp.transitions[h, np.arange(mdp.S), policy[h]]
            total += occupancy / mdp.H
        backlog = np.add(*np.divmod(np.arange(mdp.S), 5))
        shares = np.bincount(backlog, weights=total)
        returns, mass = return_distribution(mdp, policy)
        rows.append(
            {
                "alpha": alpha,
                "mean backlog": float(shares @ np.arange(len(shares))),
                "p95": int(np.searchsorted(np.cumsum(shares), 0.95)),
                "p99": int(np.searchsorted(np.cumsum(shares), 0.99)),
                "P(backlog >= 7), %": float(100 * shares[7:].sum()),
                "mean return": float(returns @ mass),
                "CVaR 0.05 of the return": float(CVaR(0.05)(returns, mass)),
                "iterated CVaR": float(mdp.initial @ IteratedCVaR(mdp, alpha).evaluate(policy)[0]),
            }
        )
    save_table(TABLE, rows, "mdp/QueueBacklog-v0, exact; backlog after each of the 10 steps.")


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(f"Error: there is nothing to choose, leave out '{sys.argv[1]}'.")
    main()
