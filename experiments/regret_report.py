"""Mean and half width of an interval, for tables that have both."""

import numpy as np

from tenfold.platform.statistics import mean_interval


def interval(values: np.ndarray) -> tuple[float, float]:
    """Mean and half width of its 95 % interval, of at least two values."""
    found = mean_interval(values)
    assert found.high is not None
    return found.value, found.high - found.value
