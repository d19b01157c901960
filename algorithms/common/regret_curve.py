"""What is kept of the cumulative regret R_1, ..., R_K of a run, so that its slope is there.

The log-log slope of regret over the second half of the episodes is 1 where nothing is learnt, at
most 1/2 where a guarantee of the order of sqrt(K) is met, and 0 where no regret is added any more.
It is fitted to `POINTS` episodes that are equally far apart in log k. The curve is kept at these of
every octave below K, some hundreds of numbers, so the slope of the episodes so far is there, too.
"""

import numpy as np

# Points of an octave, and the regret that counts as none.
POINTS, NONE = 60, 1e-9


class RegretCurve:
    """A curve at the marks k (M,) int, in rising order; regret (M,) float64 is 0 at those to come.

    Args:
        episodes: K.
    """

    def __init__(self, episodes: int) -> None:
        marks, high = {episodes}, episodes
        while high > 1:
            low = high // 2
            marks.update(np.geomspace(low, high, POINTS).astype(int).tolist())
            high = low
        self.marks = np.array(sorted(marks))
        self.regret = np.zeros(len(self.marks))
        self._place = {int(k): place for place, k in enumerate(self.marks)}

    def add(self, k: int, regret: float) -> None:
        """Keep R_k if k is a mark."""
        place = self._place.get(k)
        if place is not None:
            self.regret[place] = regret

    def slope(self, k: int) -> float | None:
        """The log-log slope over the second half of k episodes.

        Returns:
            0 where no regret was added; None where it is not defined: for a run whose regret begins
            in the second half, or where there are fewer than two marks.
        """
        half = (self.marks >= k // 2) & (self.marks <= k)
        marks, regret = self.marks[half], self.regret[half]
        if len(marks) < 2:
            return None
        if regret[-1] - regret[0] <= NONE:
            return 0.0
        if regret[0] <= NONE:
            return None
        return float(np.polyfit(np.log(marks), np.log(regret), 1)[0])
