"""How sparse the model is at each step: dense, ultra-sparse for most of the time, dense again.

A schedule is a table of (start, sparsity) with starts as fractions of the T steps, as the paper's
released code has a table of evaluation indices. The three phases of MST are read off it: what comes
before the largest sparsity is the warm-up, what comes after it the restoration.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tenfold.algorithms.common.synchronisation import SyncRule


@dataclass(frozen=True)
class SparsitySchedule:
    """A piecewise constant sparsity.

    Attributes:
        total: Steps T.
        table: (start, sparsity) in order of start, the first at 0; a start is a fraction of T,
            sparsity the fraction of weights that are off.

    Raises:
        ValueError: The table is empty, out of order or out of range.
    """

    total: int
    table: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        starts = [start for start, _ in self.table]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)) or starts[-1] >= 1:
            raise ValueError(
                f"Bad value {self.table} for 'sparsity': starts must rise from 0 and stay below 1."
            )
        for _, sparsity in self.table:
            if not 0 <= sparsity < 1:
                raise ValueError(
                    f"Bad value {sparsity} in 'sparsity': give fractions from 0 to below 1."
                )

    def __call__(self, step: int) -> float:
        """Sparsity that step aims at."""
        return self.table[self._place(step)][1]

    def phase(self, step: int) -> str:
        """``warm-up``, ``ultra`` or ``restoration``; ``dense`` throughout if nothing is off."""
        ultra = self._ultra
        if not ultra:
            return "dense"
        place = self._place(step)
        if place < ultra[0]:
            return "warm-up"
        return "ultra" if place <= ultra[-1] else "restoration"

    @property
    def restoration(self) -> int | None:
        """The step at which weights begin to come back, if they ever do."""
        place = self._restoration
        return None if place is None else self._start(place)

    def restored_from(self, start: float) -> "SparsitySchedule":
        """This schedule with a restoration that begins at another time and has the same shape.

        Args:
            start: As a fraction of T; what comes after it keeps its share of what is left.

        Raises:
            ValueError: There is no restoration, or it would begin before the ultra phase.
        """
        place = self._restoration
        if place is None:
            raise ValueError(
                f"Bad value {start} for 'restoration': no weights come back by 'sparsity', "
                f"{self.table}, so leave it out."
            )
        ultra, first = self.table[place - 1][0], self.table[place][0]
        if start <= ultra:
            raise ValueError(
                f"Bad value {start} for 'restoration': give more than {ultra}, where the largest "
                "sparsity of 'sparsity' begins."
            )
        stretch = (1 - start) / (1 - first)
        later = ((start + (s - first) * stretch, level) for s, level in self.table[place:])
        return replace(self, table=(*self.table[:place], *later))

    @property
    def changes(self) -> tuple[int, ...]:
        """The steps at which sparsity changes."""
        return tuple(self._start(place) for place in range(1, len(self.table)))

    def zeta(self, step: int, first: float) -> float:
        """Fraction of active weights to replace: a cosine from `first` to 0 within each phase."""
        here = self.phase(step)
        of_phase = [i for i in range(len(self.table)) if self.phase(self._start(i)) == here]
        begin, end = self._start(of_phase[0]), self._start(of_phase[-1] + 1)
        return first * 0.5 * (1 + math.cos(math.pi * (step - begin) / (end - begin)))

    @property
    def _ultra(self) -> list[int]:
        """Entries of the largest sparsity; none if nothing is ever off."""
        most = max(sparsity for _, sparsity in self.table)
        return [i for i, (_, sparsity) in enumerate(self.table) if sparsity == most > 0]

    @property
    def _restoration(self) -> int | None:
        """The first entry of the restoration."""
        after = self._ultra[-1] + 1 if self._ultra else len(self.table)
        return after if after < len(self.table) else None

    def _start(self, place: int) -> int:
        """First step of an entry, T for the one after the last.

        No entry comes after the last step, so that also a short run ends as the table does.
        """
        if place == len(self.table):
            return self.total
        return min(round(self.table[place][0] * self.total), self.total - 1)

    def _place(self, step: int) -> int:
        return max(i for i in range(len(self.table)) if self._start(i) <= step)


@dataclass(frozen=True)
class UpToChanges(SyncRule):
    """A rule whose rounds also end where sparsity changes, since masks change at averages only.

    Without it the long rounds at the end of QSR would leave no average at which to restore.
    """

    rule: SyncRule
    changes: tuple[int, ...]

    def wanted(self, lr: float, step: int) -> int:
        ahead = [change - step for change in self.changes if change > step]
        return min([self.rule.wanted(lr, step), *ahead])


def active_weights(
    shapes: Sequence[tuple[int, int]], distribution: str, sparsity: float, most: float = 1.0
) -> list[int]:
    """Active weights of each layer at a sparsity of all together.

    Args:
        shapes: (n_in, n_out) of each layer.
        distribution: ``erdos_renyi``, or ``uniform`` for the same density in each.
        sparsity: Fraction of all weights that are off, at least 1 - `most`.
        most: The largest density of a layer.
    """
    densities = [1 - sparsity] * len(shapes)
    if distribution == "erdos_renyi":
        densities = erdos_renyi(shapes, 1 - sparsity, most)
    sizes = (n_in * n_out for n_in, n_out in shapes)
    return [round(density * size) for density, size in zip(densities, sizes, strict=True)]


def erdos_renyi(
    shapes: Sequence[tuple[int, int]], density: float, most: float = 1.0
) -> list[float]:
    """Densities of layers proportional to (n_in + n_out) / (n_in n_out), at most `most`.

    A layer whose density would pass that has that, and the rest share what remains.

    Args:
        shapes: (n_in, n_out) of each layer.
        density: Fraction of all weights that are on, at most `most`.
        most: 1, so that a layer can be dense, or less.

    Returns:
        One density a layer; weighted by the layers' sizes they average to `density`.
    """
    sizes = [n_in * n_out for n_in, n_out in shapes]
    raw = [(n_in + n_out) / (n_in * n_out) for n_in, n_out in shapes]
    full: set[int] = set()
    while len(full) < len(shapes):
        rest = [i for i in range(len(shapes)) if i not in full]
        budget = density * sum(sizes) - most * sum(sizes[i] for i in full)
        scale = budget / sum(raw[i] * sizes[i] for i in rest)
        over = {i for i in rest if scale * raw[i] > most}
        if not over:
            return [most if i in full else scale * raw[i] for i in range(len(shapes))]
        full |= over
    return [most] * len(shapes)
