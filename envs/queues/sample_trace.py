"""The generator of the shipped trace: a week of a radio cell with six users, minute by minute.

`python -m tenfold.envs.queues.sample_trace` writes sample_trace.csv.gz again; a test compares.

Amounts are packets. Arrivals of a user are Poisson around a daily profile (morning and evening
peak, less at the weekend) times sessions that come and go. Service, the packets that the cell could
send to the user in a minute, follows the radio channel: a slow AR(1) fading of the signal, a
commute that brings some users close to the mast by day and others by night, and rare outages.
"""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd

DAY = 1440  # slots, of a minute each
DAYS = 7
SEED = 2024
DEMAND = (3.6, 2.4, 1.8, 1.2, 0.9, 0.6)  # packets a minute and user, on average
MEAN_RATE = (10.0, 8.0, 9.0, 6.0, 7.0, 5.0)  # packets a minute of service, typically
COMMUTE = (0.5, -0.5, 0.3, -0.3, 0.0, 0.0)  # log-gain by day, and minus that by night


def generate() -> pd.DataFrame:
    """The trace as a table with the columns of trace.py, integer amounts."""
    rng = np.random.default_rng(SEED)
    slots, K = DAY * DAYS, len(DEMAND)
    hour = np.arange(slots) % DAY / 60
    weekend = np.arange(slots) // DAY >= 5
    profile = 0.3 + np.exp(-(((hour - 9) / 2.5) ** 2)) + 1.4 * np.exp(-(((hour - 20) / 2.5) ** 2))
    profile *= np.where(weekend, 0.7, 1.0) / profile.mean()
    arrivals = np.empty((slots, K), dtype=np.int64)
    service = np.empty((slots, K), dtype=np.int64)
    for i in range(K):
        session = np.where(_on_off(rng, slots, mean_on=30, mean_off=45), 2.5, 0.0)
        arrivals[:, i] = rng.poisson(DEMAND[i] * profile * session)
        signal = _fading(rng, slots) - COMMUTE[i] * np.cos(2 * np.pi * hour / 24)
        outage = _on_off(rng, slots, mean_on=20, mean_off=2000)
        service[:, i] = np.where(outage, 0, np.rint(MEAN_RATE[i] * np.exp(signal)))
    slot, queue = np.divmod(np.arange(slots * K), K)
    return pd.DataFrame(
        {
            "slot": slot + 1,
            "queue": queue,
            "arrivals": arrivals.ravel(),
            "service": service.ravel(),
        }
    )


def _on_off(rng: np.random.Generator, slots: int, mean_on: float, mean_off: float) -> np.ndarray:
    """A Markov chain of two states that starts off, bool (slots,)."""
    u = rng.random(slots)
    on = np.zeros(slots, dtype=bool)
    for t in range(1, slots):
        on[t] = u[t] >= 1 / mean_on if on[t - 1] else u[t] < 1 / mean_off
    return on


def _fading(rng: np.random.Generator, slots: int) -> np.ndarray:
    """Logarithm of a gain of mean about 1 that forgets within some hours, (slots,)."""
    noise = rng.standard_normal(slots)
    level = np.zeros(slots)
    for t in range(1, slots):
        level[t] = 0.99 * level[t - 1] + 0.05 * noise[t]
    return level - 0.06


def write(path: Path) -> None:
    """Write the trace as CSV, compressed, with no date in it."""
    text = generate().to_csv(index=False, lineterminator="\n")
    path.write_bytes(gzip.compress(text.encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    write(Path(__file__).parent / "sample_trace.csv.gz")
