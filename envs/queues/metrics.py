"""From streamed sums to what is reported of a simulation."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student_t

from tenfold.envs.queues.fifo import COARSEST
from tenfold.envs.queues.memory import FINE, State, Sums
from tenfold.envs.queues.recovery import SINCE, SWITCHES, TIME, UNRECOVERED


@dataclass(frozen=True)
class Metrics:
    """Measurements after `slots` slots; R replicas, K queues, work in units, times in slots.

    Attributes:
        slots: Number of slots T.
        backlog_mean: Time-average total backlog, (1/T) sum_t sum_i Q_i(t+1), (R,).
        backlog_by_queue: The same of each queue (R, K).
        backlog_final: Total backlog now (R,).
        backlog_max: Largest total backlog (R,).
        arrived: Work that arrived (R, K).
        departed: Work that left (R, K).
        service_share: Fraction of the slots in which each queue was served (R, K).
        wasted: Offered service of chosen queues that found no work, a slot (R,).
        drift: Mean Lyapunov drift, (L(T+1) - L(1)) / T with L = sum_i Q_i^2 / 2, (R,).
        delay_mean: Mean delay of the work that left, by FIFO timestamps (R,); this and the next
            three are NaN where none left.
        delay_by_queue: Mean delay of the work that left each queue, NaN where none left (R, K).
        delay_p99: 99th percentile over all queues (R,), exact below 128 slots, else within 1.6 %.
        delay_little: Mean delay by Little's law: time-average backlog / throughput (R,).
        fifo_resolution: Slots that shared a FIFO timestamp at most; 1: delays are exact (R,).
        switches: Declared switches met (R,).
        recovery_mean: Mean time after a switch until the mean backlog of a block of 100 slots is
            back under that of the last block before the switch; a switch that is overtaken by the
            next one counts with the time between them; NaN without a switch (R,).
        unrecovered: Fraction of the switches that were overtaken by the next one (R,).
        curve_slots: Last slot of each bin of the backlog curve (bins,).
        curve: Mean total backlog in each bin (R, bins).
    """

    slots: int
    backlog_mean: np.ndarray
    backlog_by_queue: np.ndarray
    backlog_final: np.ndarray
    backlog_max: np.ndarray
    arrived: np.ndarray
    departed: np.ndarray
    service_share: np.ndarray
    wasted: np.ndarray
    drift: np.ndarray
    delay_mean: np.ndarray
    delay_by_queue: np.ndarray
    delay_p99: np.ndarray
    delay_little: np.ndarray
    fifo_resolution: np.ndarray
    switches: np.ndarray
    recovery_mean: np.ndarray
    unrecovered: np.ndarray
    curve_slots: np.ndarray
    curve: np.ndarray

    @classmethod
    def from_sums(cls, sums: Sums, state: State, slots: int, curve_shift: int) -> "Metrics":
        """Metrics of `slots` slots; a bin of the curve has 2 ** curve_shift of them."""
        T = max(slots, 1)
        departed = np.where(sums.departed.any(axis=1), sums.departed.sum(axis=1), np.nan)
        bins = -(-slots >> curve_shift)
        starts = np.arange(bins) << curve_shift
        ends = np.minimum(starts + (1 << curve_shift), slots)
        switches = sums.recovery[:, SWITCHES]
        settled = switches - (sums.recovery[:, SINCE] >= 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            return cls(
                slots=slots,
                backlog_mean=sums.backlog.sum(axis=1) / T,
                backlog_by_queue=sums.backlog / T,
                backlog_final=state.q.sum(axis=1),
                backlog_max=sums.largest.copy(),
                arrived=sums.arrived.copy(),
                departed=sums.departed.copy(),
                service_share=sums.served / T,
                wasted=sums.wasted / T,
                drift=(state.q**2).sum(axis=1) / (2 * T),
                delay_mean=sums.delay.sum(axis=1) / departed,
                delay_by_queue=np.where(sums.departed > 0, sums.delay / sums.departed, np.nan),
                delay_p99=np.array([histogram_quantile(h, 0.99) for h in sums.delay_histogram]),
                delay_little=sums.backlog.sum(axis=1) / departed,
                fifo_resolution=state.ring[:, :, COARSEST].max(axis=1),
                switches=switches.copy(),
                recovery_mean=sums.recovery[:, TIME] / settled,
                unrecovered=sums.recovery[:, UNRECOVERED] / settled,
                curve_slots=ends,
                curve=sums.curve[:, :bins] / (ends - starts),
            )

    def running_mean(self, warmup: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Last slots of the bins after the warm-up, and the time average from there to each.

        Args:
            warmup: Slots to leave out; a bin that begins before it is left out whole.

        Returns:
            Slots (bins,) and total backlogs (R, bins).
        """
        lengths = np.diff(self.curve_slots, prepend=0)
        kept = self.curve_slots - lengths >= warmup
        means = np.cumsum(self.curve[:, kept] * lengths[kept], axis=1) / np.cumsum(lengths[kept])
        return self.curve_slots[kept], means


def histogram_quantile(histogram: np.ndarray, level: float) -> float:
    """The delay that a fraction `level` of the work does not exceed, NaN without work."""
    total = histogram.sum()
    if total == 0:
        return float("nan")
    place = int(np.searchsorted(np.cumsum(histogram), level * total * (1 - 1e-12)))
    octave = max(0, place // (FINE // 2) - 1)
    first = (place - octave * (FINE // 2)) << octave
    return first + ((1 << octave) - 1) / 2


@dataclass(frozen=True)
class Slope:
    """Slope of the running mean, work units a slot, with a 95 % interval across replicas."""

    mean: float
    low: float
    high: float


def running_mean_slopes(metrics: Metrics, warmup: int = 0) -> np.ndarray:
    """Least-squares slope of each replica's running mean backlog over the last half, (R,).

    A bounded time average has a slope that goes to 0; linear growth of the backlog at rate g gives
    g / 2. A queue that starts empty has a positive slope that fades as 1 / T; deleting a warm-up
    (Welch's method) takes it away.

    Args:
        metrics: What is compared.
        warmup: Slots at the start that the running mean leaves out.

    Raises:
        ValueError: There are fewer than four points of the curve.
    """
    slots, means = metrics.running_mean(warmup)
    late = slots > metrics.slots / 2
    if late.sum() < 2:
        raise ValueError(f"a slope needs at least 4 slots, not {metrics.slots}.")
    x = slots[late] - slots[late].mean()
    slopes: np.ndarray = means[:, late] @ x / (x @ x)
    return slopes


def running_mean_slope(metrics: Metrics, warmup: int = 0) -> Slope:
    """The mean of `running_mean_slopes`; the interval is Student's t on them.

    Raises:
        ValueError: There are fewer than two replicas, or as `running_mean_slopes`.
    """
    slopes = running_mean_slopes(metrics, warmup)
    R = len(slopes)
    if R < 2:
        raise ValueError(f"an interval of a slope needs at least 2 replicas, not {R}.")
    half = student_t.ppf(0.975, R - 1) * slopes.std(ddof=1) / np.sqrt(R)
    return Slope(float(slopes.mean()), float(slopes.mean() - half), float(slopes.mean() + half))
