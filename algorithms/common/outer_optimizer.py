"""DiLoCo's outer optimizer: what to do with an average instead of taking it (arXiv:2311.08105).

The workers' displacement over a round counts as a gradient, g = theta - mean of theta_k with theta
the parameters at the round's start, and theta takes a step of SGD with Nesterov's momentum:
v <- mu v + g, theta <- theta - eta (g + mu v). With eta 1 and mu 0 that is the mean itself, bit for
bit.
"""

from collections.abc import Mapping

import torch


class OuterNesterov:
    """Outer steps of parameters that are the same in all workers after an average.

    Attributes:
        start: theta, the parameters after the last outer step, by name.
        velocity: v, by name.

    Args:
        parameters: The workers' parameters by name, all workers at one place. They are changed in
            place.
        lr: eta.
        momentum: mu.
    """

    def __init__(self, parameters: Mapping[str, torch.Tensor], lr: float, momentum: float) -> None:
        self.parameters = parameters
        self.lr = lr
        self.momentum = momentum
        self.start = {name: p.detach().clone() for name, p in parameters.items()}
        self.velocity = {name: torch.zeros_like(p) for name, p in self.start.items()}

    @torch.no_grad()
    def step(self) -> None:
        """Put the parameters, which are the workers' mean, where the outer step leads."""
        for name, p in self.parameters.items():
            start, velocity = self.start[name], self.velocity[name]
            gradient = start - p
            velocity.mul_(self.momentum).add_(gradient)
            # start - eta (g + mu v), from the mean on: with eta 1 and mu 0 it keeps its bits.
            p.add_(gradient, alpha=1 - self.lr).sub_(velocity, alpha=self.lr * self.momentum)
            start.copy_(p)
