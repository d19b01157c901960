"""Static risk measures beyond `measures`: Wang, mean-semideviation, names, and the derivative in
the distribution that planning ascends along.

A measure is planned for through its Gateaux derivative at a distribution F: the utility g_F with
rho(F + e (G - F)) = rho(F) + e (E_G g_F - E_F g_F) + o(e). For a distortion h it has the slope
h'(F(x)), for the entropic measure it is an exponential; `influence` finds it for any measure.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError
from scipy.special import ndtr, ndtri

from tenfold.envs.risk.measures import (
    CVaR,
    Distortion,
    DualPower,
    Entropic,
    Expectation,
    ExponentialSpectrum,
    RiskMeasure,
    Spectral,
)
from tenfold.envs.risk.own_measures import load_measure

# Share of a point mass in the difference quotient of `influence`.
NUDGE = 1e-7

_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Wang(Distortion):
    """Wang's transform: h(u) = Phi(Phi^{-1}(u) + shift), averse to risk for shift > 0.

    h'(u) = exp(-shift z - shift^2 / 2) with z = Phi^{-1}(u) grows without bound as u -> 0, so Wang
    is *not* a Lipschitz measure: both constants are infinite.

    Raises:
        ValueError: `shift` is negative or not finite.
    """

    shift: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.shift < math.inf:
            raise ValueError(f"Bad value {self.shift} for 'shift': give a number of at least 0.")

    def h(self, u: np.ndarray) -> np.ndarray:
        risky: np.ndarray = ndtr(ndtri(np.clip(u, 0.0, 1.0)) + self.shift)
        return risky

    def slope(self) -> float:
        return math.inf if self.shift > 0.0 else 1.0


@dataclass(frozen=True)
class MeanSemideviation(RiskMeasure):
    """E X - c E (E X - X)^+, monotone for c <= 1.

    With m = E X, moving F by dF changes it by -int dF(x) (1 + c 1{x < m} - c F(m)) dx: the weight
    is between 1 - c and 1 + c, hence the constants (1 + c) in W_1 and (1 + c) span in sup norm.

    Raises:
        ValueError: `c` is outside [0, 1].
    """

    c: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.c <= 1.0:
            raise ValueError(
                f"Bad value {self.c} for 'c': the weight of the semideviation is from 0 to 1, "
                "above which more reward could be worse."
            )

    def of(self, values: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        mean = (values * probabilities).sum(axis=-1, keepdims=True)
        below = (probabilities * np.maximum(mean - values, 0.0)).sum(axis=-1)
        total: np.ndarray = mean[..., 0] - self.c * below
        return total

    def derivative(self, values: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        x, p = np.broadcast_arrays(np.asarray(values, float), np.asarray(probabilities, float))
        below = x < (x * p).sum(axis=-1, keepdims=True)
        share = (p * below).sum(axis=-1, keepdims=True)
        adjusted: np.ndarray = p * (1.0 + self.c * below - self.c * share)
        return adjusted

    def lipschitz(self, span: float) -> float:
        return 1.0 + self.c

    def lipschitz_cdf(self, span: float) -> float:
        return (1.0 + self.c) * span


def mean_cvar(alpha: float, weight: float) -> Spectral:
    """(1 - weight) E X + weight CVaR_alpha(X), a spectral measure of two levels.

    Raises:
        ValueError: `alpha` is outside (0, 1] or `weight` outside [0, 1].
    """
    if not 0.0 <= weight <= 1.0:
        raise ValueError(f"Bad value {weight} for 'weight': give a share from 0 to 1.")
    return Spectral((alpha, 1.0), (weight, 1.0 - weight))


MEASURES: dict[str, Callable[..., RiskMeasure]] = {
    "expectation": Expectation,
    "cvar": CVaR,
    "spectral": Spectral,
    "exponential_spectrum": ExponentialSpectrum,
    "proportional_hazard": DualPower,
    "wang": Wang,
    "entropic": Entropic,
    "mean_cvar": mean_cvar,
    "mean_semideviation": MeanSemideviation,
}


def make_measure(name: str, parameters: Mapping[str, Any]) -> RiskMeasure:
    """A measure by its name.

    Args:
        name: A key of `MEASURES`, or ``package.module:function`` (see `load_measure`).
        parameters: Exactly the parameters that the measure has, numbers or lists of numbers.

    Raises:
        ValueError: No such measure, parameters missing or unknown, or a bad value.
    """
    if ":" in name:
        return load_measure(name, parameters)
    if name not in MEASURES:
        raise ValueError(
            f"Bad value '{name}' for 'rho': choose one of {', '.join(MEASURES)}, or name a "
            "function of your own as package.module:function."
        )
    needed = inspect.signature(MEASURES[name]).parameters
    if set(parameters) != set(needed):
        wanted = f"exactly {', '.join(needed)}" if needed else "no parameters"
        raise ValueError(
            f"'rho_parameters' has {', '.join(map(str, parameters)) or 'nothing'}, but rho = "
            f"{name} takes {wanted}."
        )
    for key, value in parameters.items():
        kind = needed[key].annotation
        try:
            TypeAdapter(kind, config=_STRICT).validate_python(value)
        except ValidationError:
            right = "a finite number" if kind is float else "a list of finite numbers"
            raise ValueError(
                f"Bad value {value!r} for 'rho_parameters.{key}': give {right}."
            ) from None
    return MEASURES[name](**parameters)


def influence(rho: RiskMeasure, values: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The Gateaux derivative of a measure at a distribution, as a utility of each value.

    Args:
        rho: Any measure.
        values: (n,) float64.
        probabilities: (n,) float64.

    Returns:
        (n,) float64: lim (rho((1 - e) F + e delta_x) - rho(F)) / e by a difference quotient,
        made nondecreasing (rounding is of the size 1e-9).
    """
    nudged = (1.0 - NUDGE) * probabilities + NUDGE * np.eye(len(probabilities))
    after = rho.of(np.broadcast_to(values, nudged.shape), nudged)
    rate = (after - rho.of(values, probabilities)) / NUDGE
    increasing: np.ndarray = np.maximum.accumulate(rate)
    return increasing
