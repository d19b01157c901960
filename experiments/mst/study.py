"""Runs every arm of study.yaml at its own best learning rate of the sweep in tune_rate.yaml.

MST's ablations and its other forms, which are not tuned, run at the rate of ``mst_long``.

    tenfold sweep experiments/mst/tune_rate.yaml
    python experiments/mst/study.py

``--arms small_dense,mst_long`` takes these alone; further options go to each `tenfold run`, for
example ``--seeds 3``. An arm's rate is the one with the least mean of the last held-out loss over
the sweep's seeds; a rate at which a run diverged does not count.
"""

import argparse
import math
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import yaml
from mlflow import MlflowClient

from tenfold.platform.compare import collect
from tenfold.platform.runs import Selection
from tenfold.platform.store import tracking_uri

HERE = Path(__file__).parent


def best_rates(client: MlflowClient, sweep: str) -> dict[str, float]:
    """Variant -> the rate with the least mean loss.

    Args:
        client: Of the store that has the sweep.
        sweep: Its experiment.
    """
    found = collect(client, Selection([sweep]), by=["variant", "lr"], at="end", mix=True)
    losses: dict[tuple[str, float], list[float]] = defaultdict(list)
    for run in found.runs:
        point = run.values["variant"], float(run.values["lr"])
        losses[point].append(math.inf if run.score is None else run.score)
    means = {arm: sum(each) / len(each) for arm, each in losses.items()}
    best: dict[str, float] = {}
    for (variant, rate), mean in sorted(means.items(), key=lambda pair: pair[1]):
        if math.isfinite(mean):
            best.setdefault(variant, rate)
    return best


def main() -> None:
    """Run the arms, one after the other."""
    known = yaml.safe_load((HERE / "study.yaml").read_text())["variants"]
    parser = argparse.ArgumentParser(description="The arms of study.yaml at their own rates.")
    parser.add_argument("--arms", default=",".join(known), help="Some of them, a,b.")
    options, further = parser.parse_known_args()
    sweep = yaml.safe_load((HERE / "tune_rate.yaml").read_text())["name"]
    rates = best_rates(MlflowClient(tracking_uri=tracking_uri()), sweep)
    for variant in options.arms.split(","):
        tuned = "mst_long" if variant.startswith("mst_") else variant
        if tuned not in rates:
            sys.exit(f"'{tuned}' has no finished run in {sweep}: run tune_rate.yaml first.")
        arm = ["--variant", variant, "--set", f"lr={rates[tuned]}"]
        command = [sys.executable, "-m", "tenfold.platform.cli", "run", str(HERE / "study.yaml")]
        subprocess.run([*command, *arm, *further], check=True)


if __name__ == "__main__":
    main()
