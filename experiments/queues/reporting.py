"""What the measurements of queue scheduling share: a run, its statistics, its lines of a table.

Replicas of a scenario that is random have arrivals, services and draws of the scheduler of their
own, so intervals are over independent instances. A record is one instance however many replicas
replay it, and has no interval.
"""

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom

from tenfold.algorithms.softmw.schedulers import make_scheduler
from tenfold.envs.queues.metrics import Metrics, running_mean_slopes
from tenfold.envs.queues.scenario import Scenario
from tenfold.envs.queues.scenarios import scenario
from tenfold.envs.queues.simulator import Simulator
from tenfold.platform.statistics import mean_interval
from tenfold.platform.tables import save_table

RESULTS = Path(__file__).parent.parent / "results" / "queues"


@dataclass(frozen=True)
class Run:
    """A scheduler on a scenario: what was measured, the seconds that it took, whether the replicas
    are different instances."""

    metrics: Metrics
    seconds: float
    random: bool

    def interval(self, values: np.ndarray) -> tuple[float, float]:
        """Mean over the replicas and half width of its 95 % interval, NaN without one."""
        return interval(values) if self.random else (float(values.mean()), math.nan)

    def median_interval(self, values: np.ndarray) -> tuple[float, float, float]:
        """Median over the replicas and its 95 % interval, NaN without one."""
        return median_interval(values if self.random else values[:1])


def simulate(
    declared: str | Scenario,
    scheduler: str,
    replicas: int,
    horizon: int,
    seed: int = 1,
    **fields: Any,
) -> Run:
    """Run a scheduler on a scenario."""
    constants = fields.pop("constants", {})
    spec = scenario(declared, **fields) if isinstance(declared, str) else declared
    simulator = Simulator(spec, replicas, seed)
    chosen = make_scheduler(scheduler, spec, replicas, **constants)
    start = time.perf_counter()
    simulator.run(chosen, horizon)
    return Run(simulator.metrics(), time.perf_counter() - start, spec.random)


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half width of its 95 % Student interval, NaN for fewer than two values."""
    found = mean_interval(values)
    if found.low is None or found.high is None:
        return found.value, math.nan
    return found.value, (found.high - found.low) / 2


def median_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Median and its 95 % interval between order statistics, which holds for any distribution.

    NaN for fewer than six values: the least and the largest of five enclose the median in 94 %.
    """
    n = len(values)
    below = int(binom.ppf(0.025, n, 0.5))  # P(fewer values than this below the median) <= 2.5 %
    ordered = np.sort(values)
    low, high = (ordered[below - 1], ordered[n - below]) if n >= 6 else (math.nan, math.nan)
    return float(np.median(values)), float(low), float(high)


def trend(backlog: float, least_growth: float) -> str:
    """`grows` (linear growth is twice the mean), `rises` by a quarter of the mean, or `level`."""
    if least_growth > backlog:
        return "grows"
    return "rises" if least_growth > 0.25 * backlog else "level"


def late_growth(metrics: Metrics) -> np.ndarray:
    """Slope of the backlog over the last half of the slots, times T, for each replica."""
    late = metrics.curve_slots > metrics.slots / 2
    x = metrics.curve_slots[late] - metrics.curve_slots[late].mean()
    growth: np.ndarray = metrics.curve[:, late] @ x / (x @ x) * metrics.slots
    return growth


def row(run: Run, **labels: Any) -> dict[str, Any]:
    """One line of a table; slopes are times T, so in work units over the whole run.

    The running mean's slope is positive for every stable queue that starts empty (the start fades
    as 1 / T), the oracle's included. So it is reported twice, from the first slot and with the
    first quarter of the slots left out as warm-up, beside the growth of the backlog itself over
    the last half; `trend` says what is sure of that.
    """
    metrics, T = run.metrics, run.metrics.slots
    backlog, half = run.interval(metrics.backlog_mean)
    delay, delay_half = run.interval(metrics.delay_p99)
    slope, slope_half = run.interval(running_mean_slopes(metrics) * T)
    settled, settled_half = run.interval(running_mean_slopes(metrics, warmup=T // 4) * T)
    late, late_half = run.interval(late_growth(metrics))
    return {
        **labels,
        "backlog": backlog,
        "backlog ±": half,
        "final": float(metrics.backlog_final.mean()),
        "mean's slope x T": slope,
        "low": slope - slope_half,
        "high": slope + slope_half,
        "after warm-up": settled,
        "its low": settled - settled_half,
        "its high": settled + settled_half,
        "late growth": late,
        "late ±": late_half,
        "trend": trend(backlog, late - (late_half if run.random else 0.0)),
        "p99 delay": delay,
        "p99 ±": delay_half,
        "seconds": run.seconds,
    }


def spread(run: Run, **labels: Any) -> dict[str, Any]:
    """A line for replicas that lie far apart: median with interval, quartiles, largest, mean.

    `end` is the median over replicas of the mean backlog of the last tenth of the slots.
    """
    backlog, growth = run.metrics.backlog_mean, late_growth(run.metrics)
    mean, half = run.interval(backlog)
    median, low, high = run.median_interval(backlog)
    grown, grown_half = run.interval(growth)
    last = run.metrics.curve[:, run.metrics.curve_slots > 0.9 * run.metrics.slots].mean(axis=1)
    end, end_low, end_high = run.median_interval(last)
    return {
        **labels,
        "median": median,
        "low": low,
        "high": high,
        "quartile": float(np.quantile(backlog, 0.25)),
        "upper quartile": float(np.quantile(backlog, 0.75)),
        "largest": float(backlog.max()),
        "mean": mean,
        "±": half,
        "end": end,
        "end low": end_low,
        "end high": end_high,
        "late growth": grown,
        "late ±": grown_half,
        "trend": trend(mean, grown - grown_half),
        "replicas that grow": f"{100 * (growth > backlog).mean():.0f} %",
    }


def save(name: str, rows: Iterable[Mapping[str, Any]], about: str) -> pd.DataFrame:
    """Write a table into the results of queues, and print it."""
    return save_table(RESULTS / name, rows, about)
