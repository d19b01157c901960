"""What is possible on `collected/Trading-v0`: the optimum of CVaR and that of the mean.

    python -m experiments.rs_disrl_sac.ceiling

The optimum of CVaR is planned (`envs/risk/trading_optimum.py`) and its plan played in a million
episodes; the optimum of the mean holds throughout and is a mixture of normals. Writes
`experiments/results/rs_disrl_sac/ceiling.md`.
"""

from pathlib import Path

import numpy as np

from tenfold.envs.risk.measures import CVaR
from tenfold.envs.risk.trading import Trading
from tenfold.envs.risk.trading_optimum import held, plan, simulate

RESULTS = Path(__file__).parent.parent / "results" / "rs_disrl_sac"
LEVELS, EPISODES = (0.1, 0.25, 0.5, 1.0), 1_000_000


def main() -> None:
    """Print the table and write it."""
    env = Trading()
    heads = " | ".join(f"CVaR {level:g}" for level in LEVELS)
    lines = [f"| policy | planned | {heads} |", "|" + "---|" * (len(LEVELS) + 2)]
    for alpha in LEVELS[:-1]:
        best = plan(env, alpha)
        returns = simulate(env, best, EPISODES, seed=0)
        mass = np.full(EPISODES, 1.0 / EPISODES)
        shown = " | ".join(f"{float(CVaR(level).of(returns, mass)):.3f}" for level in LEVELS)
        lines.append(f"| optimum of CVaR {alpha:g} | {best.value:.3f} | {shown} |")
    shown = " | ".join(f"{held(env, level):.3f}" for level in LEVELS)
    lines.append(f"| optimum of the mean (a = 1) | {held(env, 1.0):.3f} | {shown} |")
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "ceiling.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
