"""The utility by which a critic of return distributions serves a static risk measure.

A critic knows the distribution Z(s, y, a) of the rewards to come, where y is what was collected so
far (the last entry of the observation). What an action is worth is not its mean but

    U(s, y, a) = E g(y + Z(s, y, a)),     g = rho(F) + rho'_F - E_F rho'_F

with F the distribution of the return and rho'_F the derivative of rho there: the first-order
estimate of rho if y + Z were the return. Any measure that has a derivative works: CVaR gives min(x
- b, 0) / alpha with b the quantile of F at alpha, the mean gives x. As the critic learns, F and g
follow.

Following its own distribution, an agent may stay at one that is best only as seen from itself. So y
is shifted at random in training (rewards do not depend on it), and the critic knows the
distributions of all policies that are greedy for a shifted g; F is the best of them (for CVaR: over
b).
"""

from typing import Any

import numpy as np
import torch

from tenfold.envs.risk.measures import RiskMeasure

# Slope that every utility has besides the measure's: of actions of equal risk, the better mean.
TIE = 1e-3


class ReturnUtility:
    """Mixin of an RLlib module whose critics learn N quantiles in units of `scale`.

    g is linear between the `knots`, the N quantiles of F: it has the value `heights[i]` at
    `knots[i]` and the slope `slopes[i]` from there to the next, and `slopes[0]` below the first. It
    is part of the weights: it comes to the runners with them, and into checkpoints.

    Attributes:
        scale: Reward units that are 1 to the network.
        span: Largest shift of y in training, reward units.
    """

    scale: float
    span: float
    knots: torch.Tensor
    slopes: torch.Tensor
    heights: torch.Tensor

    def make_utility(self, count: int, scale: float, span: float) -> None:
        """Begin with g(x) = x; `count` is N."""
        module: Any = self
        self.scale, self.span = scale, span
        module.register_buffer("knots", torch.zeros(count))
        module.register_buffer("slopes", torch.ones(count))
        module.register_buffer("heights", torch.zeros(count))

    def scaled(self, seen: torch.Tensor) -> torch.Tensor:
        """Observations (B, n) with y in units of `scale`, as networks see them."""
        return torch.cat([seen[:, :-1], seen[:, -1:] / self.scale], dim=-1)

    def shifted(self, *seen: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Observations (B, n) before and after a step, both with y shifted by the same uniform
        draw of each row."""
        shift = torch.zeros_like(seen[0])
        shift[:, -1].uniform_(-self.span, self.span)
        return tuple(each + shift for each in seen)

    def utility(self, returns: torch.Tensor) -> torch.Tensor:
        """g of each return, any shape."""
        below = torch.searchsorted(self.knots, returns.detach().contiguous())  # 0 to N
        anchor = (below - 1).clamp(min=0)
        return self.heights[anchor] + self.slopes[anchor] * (returns - self.knots[anchor])

    def believed_risk(self, rho: RiskMeasure) -> float:
        """A measure of F."""
        knots = self.knots.double().cpu().numpy()
        return float(rho.of(knots, np.full(len(knots), 1.0 / len(knots))))

    @torch.no_grad()
    def take_distribution(self, rho: RiskMeasure, to_go: torch.Tensor, candidates: int) -> float:
        """Take F from quantiles of the rewards to come, and g from F.

        Args:
            rho: The measure.
            to_go: At M first observations under J policies, (J M, N) in units of `scale`; a return
                distribution is the mean of the M.
            candidates: J; F is the distribution of the largest rho, of equal ones the first.

        Returns:
            rho(F).
        """
        J, N = candidates, len(self.knots)
        # Equal masses: N groups of M neighbours, each as its mean, which keeps the mean of F.
        pooled = to_go.reshape(J, -1).sort(dim=-1).values.reshape(J, N, -1).mean(dim=-1)
        each = self.scale * pooled.double().cpu().numpy()  # (J, N)
        knots = each[rho.of(each, np.full(each.shape, 1.0 / N)).argmax()]
        risk, slopes, heights = tangent(rho, knots)
        for name, values in (("knots", knots), ("slopes", slopes), ("heights", heights)):
            getattr(self, name).copy_(torch.as_tensor(values))
        return risk


def at_shifts(first: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """First observations (M, n) with y at each of the shifts (J,), (J M, n)."""
    seen = first.repeat(len(shifts), 1)
    seen[:, -1] += shifts.repeat_interleave(len(first))
    return seen


def tangent(rho: RiskMeasure, knots: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The derivative of a measure at the distribution of N equal masses.

    Args:
        rho: The measure.
        knots: (N,) in ascending order.

    Returns:
        rho(F), the slopes (N,) of g from each knot to the next, and its values (N,) there, such
        that their mean is rho(F). Where the measure has a kink, any slope between those of both
        neighbours is a derivative; this one is the steeper, which asks for more.
    """
    N = len(knots)
    masses = np.full(N, 1.0 / N)
    risk = float(rho.of(knots, masses))
    slopes = N * rho.derivative(knots, masses) + TIE
    heights = np.concatenate([[0.0], np.cumsum(slopes[:-1] * np.diff(knots))])
    return risk, slopes, heights - heights.mean() + risk
