"""Risk measures of the user's own: a distortion or a spectrum as a function, and how to name one.

A config names a measure of its own as ``package.module:function``; the function takes
`rho_parameters` and returns a `RiskMeasure`, for instance

    def cautious(k):
        return FunctionDistortion(lambda u: 1.0 - (1.0 - u) ** k)
"""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.integrate import cumulative_trapezoid

from tenfold.envs.risk.measures import Distortion, RiskMeasure

# Points at which functions are looked at, and how exactly they must begin and end.
POINTS, EXACT = 10_001, 1e-6


@dataclass(frozen=True)
class FunctionDistortion(Distortion):
    """A distortion given by any function h of levels, elementwise on arrays.

    Raises:
        ValueError: h is not nondecreasing from h(0) = 0 to h(1) = 1, as seen at 10,001 levels.
    """

    function: Callable[[np.ndarray], np.ndarray]

    def __post_init__(self) -> None:
        seen = self._seen
        if seen.shape != (POINTS,) or not np.isfinite(seen).all():
            raise ValueError("A distortion must give one finite number for each level in [0, 1].")
        if abs(seen[0]) > EXACT or abs(seen[-1] - 1.0) > EXACT:
            raise ValueError(
                f"A distortion must rise from h(0) = 0 to h(1) = 1, not from {seen[0]:.6g} to "
                f"{seen[-1]:.6g}."
            )
        rises = np.diff(seen)
        if rises.min() < -EXACT / POINTS:
            near = rises.argmin() / POINTS
            raise ValueError(f"A distortion must not fall, but it does near u = {near:.3g}.")

    @cached_property
    def _seen(self) -> np.ndarray:
        return np.asarray(self.function(np.linspace(0.0, 1.0, POINTS)), dtype=float)

    def h(self, u: np.ndarray) -> np.ndarray:
        return self.function(u)

    def slope(self) -> float:
        """The steepest chord between 10,001 levels, at most the true constant."""
        return float(np.diff(self._seen).max() * (POINTS - 1))


def spectrum(phi: Callable[[np.ndarray], np.ndarray]) -> FunctionDistortion:
    """The spectral measure of a weight phi on levels: rho = int phi(u) F^{-1}(u) du.

    Args:
        phi: Elementwise on arrays of levels in [0, 1]; averse to risk if decreasing. It is
            integrated by trapezoids between 10,001 levels.

    Raises:
        ValueError: phi is negative somewhere, or does not integrate to 1.
    """
    levels = np.linspace(0.0, 1.0, POINTS)
    weights = np.asarray(phi(levels), dtype=float)
    if weights.shape != levels.shape or not weights.min() >= 0.0:
        raise ValueError("A spectrum must give one weight of at least 0 for each level in [0, 1].")
    total = cumulative_trapezoid(weights, levels, initial=0.0)
    if not abs(total[-1] - 1.0) <= 1e-3:
        raise ValueError(f"A spectrum must integrate to 1, not to {total[-1]:.6g}.")
    return FunctionDistortion(lambda u: np.interp(u, levels, total / total[-1]))


def load_measure(entry: str, parameters: Mapping[str, Any]) -> RiskMeasure:
    """The measure that a function named by a config returns.

    Args:
        entry: ``package.module:function``.
        parameters: Keyword arguments of the function.

    Raises:
        ValueError: No such module or function, other parameters, or no measure returned.
    """
    module_name, _, name = entry.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), name, None)
    except Exception as error:  # whatever the user's module raises
        raise ValueError(
            f"Bad value '{entry}' for 'rho': module '{module_name}' cannot be imported ({error})."
        ) from error
    if not callable(function):
        raise ValueError(
            f"Bad value '{entry}' for 'rho': module '{module_name}' has no function '{name}'."
        )
    try:
        inspect.signature(function).bind(**parameters)
    except TypeError as error:
        raise ValueError(f"'rho_parameters' does not fit rho = {entry}: {error}.") from None
    try:
        measure = function(**parameters)
    except Exception as error:  # whatever the user's function raises
        raise ValueError(
            f"rho = {entry} refuses 'rho_parameters' {dict(parameters)}: {error}."
        ) from error
    if not isinstance(measure, RiskMeasure):
        raise ValueError(
            f"Bad value '{entry}' for 'rho': the function must return a RiskMeasure, not "
            f"{type(measure).__name__}; wrap a distortion in FunctionDistortion."
        )
    return measure
