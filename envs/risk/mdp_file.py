"""A user's own MDP: a ``.npz`` or ``.json`` file with named arrays.

    transition  (A, S, S), P(s' | s, a) at [a, s, s']; or one for each step, (H, S, A, S) at
                [h, s, a, s']
    reward      (S,) or (S, A); or one for each step, (H, S, A); or one for each next state too,
                (A, S, S) at [a, s, s'], or (H, S, A, S) if `transition` is
    initial     the first state, or a distribution (S,); state 0 when left out
    H           steps of an episode, unless the arrays or `env_config.H` say it

A linear mixture of known kernels has, in place of `transition`,

    kernels     (d, A, S, S)
    theta       (d,) or (H, d), their weights, which sum to 1

Probabilities that are off by rounding (1e-5, so single precision will do) are scaled to sum to 1.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.envs.risk.fields import MOST_ENTRIES, SLACK, check_size
from tenfold.platform.errors import one_line

KEYS = ("transition", "kernels", "theta", "reward", "initial", "H")


@dataclass(frozen=True, eq=False)
class MDPFile:
    """What a file says, step by step.

    Attributes:
        transitions: (H, S, A, S) float64.
        rewards: Of each next state too, (H, S, A, S) float64.
        initial: (S,) float64.
        mixture: Kernels (d, S, A, S) and theta (H, d), if the file has them.
    """

    transitions: np.ndarray
    rewards: np.ndarray
    initial: np.ndarray
    mixture: tuple[np.ndarray, np.ndarray] | None


def read_mdp(path: str, H: int | None = None) -> MDPFile:
    """Read a file.

    Args:
        path: Ends with ``.json``, or it is read as ``.npz``.
        H: Steps, in place of the file's.

    Raises:
        ValueError: It cannot be read, or its first mistake.
    """
    try:
        return _Reader(_load(path), H).read()
    except ValueError as error:
        raise ValueError(f"'{Path(path).name}': {error}") from None


class _Reader:
    """Checks the arrays of a file against each other; `sizes` holds what the letters stand for."""

    def __init__(self, values: dict[str, Any], H: int | None) -> None:
        self.values = values
        self.sizes: dict[str, int] = {}
        if H is not None or "H" in values:
            self.sizes["H"] = self._whole("H", least=1) if H is None else H

    def read(self) -> MDPFile:
        if ("transition" in self.values) == ("kernels" in self.values):
            raise ValueError("give either 'transition' or 'kernels' with 'theta'.")
        mixture = None
        if "kernels" in self.values:
            _, kernels = self._array("kernels", ["dASS"], distribution=True)
            layout, theta = self._array("theta", ["d", "Hd"], distribution=True)
            H = self._steps()
            mixture = kernels.transpose(0, 2, 1, 3), np.broadcast_to(theta, (H, len(kernels)))
            transitions = np.einsum("hi,isat->hsat", mixture[1], mixture[0])
        else:
            layout, kernel = self._array("transition", ["ASS", "HSAS"], distribution=True)
            H = self._steps()
            kernel = kernel.transpose(1, 0, 2) if layout == "ASS" else kernel
            transitions = np.broadcast_to(kernel, (H, *kernel.shape[-3:]))
        each_next = "HSAS" if layout == "HSAS" else "ASS"
        layout, rewards = self._array("reward", ["S", "SA", each_next, "HSA"])
        if layout == "ASS":
            rewards = rewards.transpose(1, 0, 2)[None]
        else:  # to (H, S, A, S), with 1 where a letter is missing
            rewards = rewards.reshape(
                *(self.sizes[x] if x in layout else 1 for x in "HSA"), -1 if layout == "HSAS" else 1
            )
        rewards = np.broadcast_to(rewards, transitions.shape)
        return MDPFile(transitions, rewards, self._initial(), mixture)

    def _initial(self) -> np.ndarray:
        S = self.sizes["S"]
        if np.ndim(self.values.get("initial", 0)) > 0:
            return self._array("initial", ["S"], distribution=True)[1]
        first = self._whole("initial", least=0) if "initial" in self.values else 0
        if first >= S:
            raise ValueError(
                f"'initial' is {first}, give a state from 0 to {S - 1} or a distribution."
            )
        return np.eye(S)[first]

    def _steps(self) -> int:
        if "H" not in self.sizes:
            raise ValueError("'H' is missing: put it into the file, or set env_config.H.")
        H, S, A = (self.sizes[letter] for letter in "HSA")
        check_size(H * S * A * S, H=H, S=S, A=A)
        return H

    def _array(
        self, key: str, layouts: Sequence[str], distribution: bool = False
    ) -> tuple[str, np.ndarray]:
        """An array in one of some layouts (a letter a dimension), and in which it is.

        Args:
            key: Its name in the file.
            layouts: Tried in this order.
            distribution: Whether its last axis is a probability distribution.
        """
        if key not in self.values:
            raise ValueError(f"'{key}' is missing.")
        try:
            array = np.asarray(self.values[key], dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"'{key}' is not an array of numbers.") from None
        fits = (layout for layout in layouts if self._fits(layout, array.shape))
        layout = next(fits, None)
        if layout is None or array.size == 0:
            known = ", ".join(f"{letter} = {size}" for letter, size in self.sizes.items())
            wanted = " or ".join(f"({', '.join(each)})" for each in layouts)
            raise ValueError(
                f"'{key}' must be of shape {wanted}{f' with {known}' if known else ''}, not "
                f"{array.shape}."
            )
        if not np.isfinite(array).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise ValueError(f"'{key}' at {where} is {array[where]}, give finite numbers.")
        if distribution:
            sums = array.sum(axis=-1, keepdims=True)
            if array.min() < 0.0 or np.abs(sums - 1.0).max() > SLACK:
                raise ValueError(
                    f"'{key}' must hold probabilities that sum to 1 along the last axis, but the "
                    f"sums go from {sums.min():.6g} to {sums.max():.6g} and the least entry is "
                    f"{array.min():g}."
                )
            array = array / sums
        return layout, array

    def _fits(self, layout: str, shape: tuple[int, ...]) -> bool:
        """Whether a shape has a layout; if so, the letters that were free stand for its sizes."""
        sizes = dict(self.sizes)
        if len(layout) != len(shape):
            return False
        fits = all(sizes.setdefault(x, n) == n for x, n in zip(layout, shape, strict=True))
        if fits:
            self.sizes = sizes
        return fits

    def _whole(self, key: str, least: int) -> int:
        value = np.asarray(self.values[key])
        if value.shape != () or value.dtype.kind not in "iu" or value < least:
            raise ValueError(f"'{key}' is {str(value)[:80]}, give a whole number from {least}.")
        return int(value)


def _load(path: str) -> dict[str, Any]:
    """The named values of a file."""
    try:
        if path.endswith(".json"):
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        else:
            with np.load(path, allow_pickle=False) as arrays:
                if sum(each.file_size for each in arrays.zip.infolist()) > 9 * MOST_ENTRIES:
                    raise ValueError(f"it has more than {MOST_ENTRIES:,} numbers")
                values = dict(arrays)
    except Exception as error:  # of the file system, of zip, of what is inside
        raise ValueError(f"it cannot be read: {error}.") from None
    if not isinstance(values, dict):
        raise ValueError(f"it holds a {type(values).__name__}, not named arrays.")
    for key in values:
        if key not in KEYS:
            near = get_close_matches(key, KEYS, n=1, cutoff=0.5)
            hint = f"did you mean '{near[0]}'?" if near else f"choose one of {', '.join(KEYS)}."
            raise ValueError(f"Unknown key '{one_line(key)}': {hint}")
    return values
