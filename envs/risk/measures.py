"""Risk measures on discrete distributions: expectation, CVaR, spectral, distortion and entropic.

A distribution is a pair of arrays ``values`` and ``probabilities`` of equal shape (..., n); leading
axes are batches. Values are rewards, so risk aversion looks at the lower tail. All but the entropic
measure are distortions of the distribution function F,

    rho(X) = int_0^1 F^{-1}(u) dh(u),       h: [0,1] -> [0,1] increasing, h(0) = 0, h(1) = 1,

which on a discrete distribution is the mean of the sorted values under the weights h(c_i) -
h(c_{i-1}) with c_i the cumulative probabilities (spectral measures: h concave, dh = phi du with phi
decreasing).

Every measure is monotone, translation-equivariant and 1-Lipschitz in the sup norm of the values.
In the distribution, with values in an interval of length `span`,

    |rho(F) - rho(G)| <= lipschitz(span) W_1(F, G),     |rho(F) - rho(G)| <= lipschitz_cdf(span)
                                                                           sup |F - G|;

the constants are our derivation, see algorithms/icvar/README.md.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

ROUNDING = 1e-9


def check_distribution(values: np.ndarray, probabilities: np.ndarray) -> None:
    """Refuse what is not a distribution.

    Args:
        values: (..., n) float64.
        probabilities: (..., n) float64.

    Raises:
        ValueError: A value is not finite, or probabilities are negative or do not sum to 1.
    """
    if not np.isfinite(values).all():
        raise ValueError("The values of a distribution must be finite numbers.")
    if not probabilities.min(initial=0.0) >= 0.0:
        raise ValueError(
            f"Probabilities must not be negative, but {float(np.nanmin(probabilities)):g} is "
            "among them."
        )
    sums = probabilities.sum(axis=-1)
    if not np.all(np.abs(sums - 1.0) <= ROUNDING):
        worst = float(np.ravel(sums)[np.argmax(np.abs(np.ravel(sums) - 1.0))])
        raise ValueError(
            f"The probabilities of a distribution must sum to 1, but some sum to {worst:.6g}."
        )


class RiskMeasure(ABC):
    """A functional of distributions; instances hold its parameters."""

    def __call__(self, values: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """The measure of each distribution.

        Args:
            values: (..., n) float64, in any order.
            probabilities: (..., n) float64, summing to 1; broadcasts against `values`.

        Returns:
            (...) float64.

        Raises:
            ValueError: See `check_distribution`.
        """
        x, p = np.broadcast_arrays(np.asarray(values, float), np.asarray(probabilities, float))
        check_distribution(x, p)
        return self.of(x, p)

    @abstractmethod
    def of(self, values: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """The measure of each distribution, unchecked; shapes as in `__call__`."""

    @abstractmethod
    def derivative(self, values: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """d rho / d values, (..., n): the risk-adjusted probabilities.

        Where values tie, or the measure has a kink, it is a supergradient for the concave ones.
        """

    @abstractmethod
    def lipschitz(self, span: float) -> float:
        """The constant in the 1-Wasserstein distance, for values in an interval of this length."""

    @abstractmethod
    def lipschitz_cdf(self, span: float) -> float:
        """The constant in the sup distance of distribution functions, in reward units."""


class Distortion(RiskMeasure):
    """A measure given by its distortion h; subclasses write `h` and its largest slope."""

    @abstractmethod
    def h(self, u: np.ndarray) -> np.ndarray:
        """The distortion at levels u in [0, 1], elementwise."""

    @abstractmethod
    def slope(self) -> float:
        """The largest slope of h, which is the Lipschitz constant in W_1."""

    def of(self, values: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        order = np.argsort(values, axis=-1, kind="stable")
        weights = self._weights(np.take_along_axis(probabilities, order, axis=-1))
        total: np.ndarray = (weights * np.take_along_axis(values, order, axis=-1)).sum(axis=-1)
        return total

    def derivative(self, values: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        x, p = np.broadcast_arrays(np.asarray(values, float), np.asarray(probabilities, float))
        order = np.argsort(x, axis=-1, kind="stable")
        adjusted = np.empty(x.shape)
        weights = self._weights(np.take_along_axis(p, order, axis=-1))
        np.put_along_axis(adjusted, order, weights, axis=-1)
        return adjusted

    def lipschitz(self, span: float) -> float:
        return self.slope()

    def lipschitz_cdf(self, span: float) -> float:
        return self.slope() * span

    def _weights(self, sorted_probabilities: np.ndarray) -> np.ndarray:
        """h(c_i) - h(c_{i-1}) of probabilities in the order of their values."""
        levels = np.minimum(np.cumsum(sorted_probabilities, axis=-1), 1.0)
        levels[..., -1] = 1.0
        return np.diff(self.h(levels), axis=-1, prepend=0.0)


@dataclass(frozen=True)
class Expectation(Distortion):
    """The mean: h(u) = u."""

    def h(self, u: np.ndarray) -> np.ndarray:
        return u

    def slope(self) -> float:
        return 1.0


@dataclass(frozen=True)
class CVaR(Distortion):
    """The mean of the worst share alpha: h(u) = min(u / alpha, 1).

    Equal to max_x { x - E[(x - X)^+] / alpha }, whose maximiser is among the values of X.

    Raises:
        ValueError: `alpha` is not in (0, 1].
    """

    alpha: float

    def __post_init__(self) -> None:
        check_alpha(self.alpha)

    def h(self, u: np.ndarray) -> np.ndarray:
        return np.minimum(u / self.alpha, 1.0)

    def slope(self) -> float:
        return 1.0 / self.alpha


@dataclass(frozen=True)
class Spectral(Distortion):
    """A mixture of CVaRs, which is every spectral measure with a step spectrum.

    h(u) = sum_j weights_j min(u / alphas_j, 1).

    Raises:
        ValueError: A level is not in (0, 1], or the weights do not sum to 1.
    """

    alphas: Sequence[float]
    weights: Sequence[float]

    def __post_init__(self) -> None:
        for alpha in self.alphas:
            check_alpha(alpha)
        if len(self.alphas) != len(self.weights):
            raise ValueError(
                f"A spectral measure needs a weight for each of its {len(self.alphas)} levels, "
                f"not {len(self.weights)}."
            )
        check_distribution(np.asarray(self.alphas, float), np.asarray(self.weights, float))

    def h(self, u: np.ndarray) -> np.ndarray:
        total = np.zeros(np.shape(u))
        for alpha, weight in zip(self.alphas, self.weights, strict=True):
            total += weight * np.minimum(u / alpha, 1.0)
        return total

    def slope(self) -> float:
        return sum(w / alpha for alpha, w in zip(self.alphas, self.weights, strict=True))


@dataclass(frozen=True)
class ExponentialSpectrum(Distortion):
    """The spectrum phi(u) = k e^{-k u} / (1 - e^{-k}): h(u) = (1 - e^{-k u}) / (1 - e^{-k}).

    Raises:
        ValueError: `k` is not a positive number.
    """

    k: float

    def __post_init__(self) -> None:
        if not 0.0 < self.k < math.inf:
            raise ValueError(f"Bad value {self.k} for 'k': give a number above 0.")

    def h(self, u: np.ndarray) -> np.ndarray:
        return np.expm1(-self.k * u) / math.expm1(-self.k)

    def slope(self) -> float:
        return -self.k / math.expm1(-self.k)


@dataclass(frozen=True)
class DualPower(Distortion):
    """The expected minimum of k independent copies: h(u) = 1 - (1 - u)^k.

    For k < 1 its slope at u = 1 has no bound, so k is at least 1.

    Raises:
        ValueError: `k` is below 1.
    """

    k: float

    def __post_init__(self) -> None:
        if not 1.0 <= self.k < math.inf:
            raise ValueError(f"Bad value {self.k} for 'k': give a number of at least 1.")

    def h(self, u: np.ndarray) -> np.ndarray:
        return 1.0 - (1.0 - u) ** self.k

    def slope(self) -> float:
        return float(self.k)


@dataclass(frozen=True)
class Entropic(RiskMeasure):
    """The certainty equivalent of exponential utility: (1 / gamma) log E[e^{gamma X}].

    gamma < 0 is averse to risk, gamma > 0 seeks it. Computed with the largest exponent taken out,
    so |gamma| times the span may be large.

    Raises:
        ValueError: `gamma` is 0 or not finite.
    """

    gamma: float

    def __post_init__(self) -> None:
        if self.gamma == 0.0 or not math.isfinite(self.gamma):
            raise ValueError(
                f"Bad value {self.gamma} for 'gamma': give a finite number other than 0 (for the "
                "risk-neutral limit take the expectation)."
            )

    def of(self, values: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        top, tilted = self._tilted(values, probabilities)
        certain: np.ndarray = (top[..., 0] + np.log(tilted.sum(axis=-1))) / self.gamma
        return certain

    def derivative(self, values: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        _, tilted = self._tilted(np.asarray(values, float), np.asarray(probabilities, float))
        adjusted: np.ndarray = tilted / tilted.sum(axis=-1, keepdims=True)
        return adjusted

    def lipschitz(self, span: float) -> float:
        with np.errstate(over="ignore"):
            return float(np.exp(abs(self.gamma) * span))

    def lipschitz_cdf(self, span: float) -> float:
        with np.errstate(over="ignore"):
            return float(np.expm1(abs(self.gamma) * span)) / abs(self.gamma)

    def _tilted(self, x: np.ndarray, p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The largest exponent among values that have mass, and p e^{gamma x - it}."""
        exponents = np.where(p > 0.0, self.gamma * x, -np.inf)
        top = exponents.max(axis=-1, keepdims=True)
        return top, p * np.exp(exponents - top)


def check_alpha(alpha: float, name: str = "alpha") -> None:
    """Refuse a risk level outside (0, 1].

    Raises:
        ValueError: With what would be right.
    """
    if not 0.0 < alpha <= 1.0:
        raise ValueError(
            f"Bad value {alpha} for '{name}': a risk level is above 0 (worst case) and at most 1 "
            "(risk-neutral)."
        )
