"""The policy network: a squashed Gaussian of J subnetworks, pi_j = pi(. ; phi * N^j).

Stage 3 of OMNet: exploration is diverse because each episode acts through one of the J subnetworks.
J = 1 is SAC's policy (Haarnoja et al., arXiv:1812.05905, appendix C).
"""

import math
from collections.abc import Sequence

import torch
from torch import nn

from tenfold.algorithms.omnet.layers import SubnetworkMLP
from tenfold.algorithms.omnet.masks import MaskScheme

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0


class SubnetworkPolicy(nn.Module):
    """tanh(mean + std * noise) with mean and log std by a network of J subnetworks.

    Attributes:
        network: (B, obs) -> (J, B, 2 act), means and log standard deviations.
        members: J.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        hiddens: Sequence[int] = (256, 256),
        *,
        scheme: MaskScheme | None = None,
        rescale_init: bool = True,
        activation: str = "relu",
    ):
        """Make the policy; arguments as `EnsembleCritic` takes them."""
        super().__init__()
        self.network = SubnetworkMLP(
            [observation_size, *hiddens, 2 * action_size],
            scheme=scheme,
            rescale_init=rescale_init,
            activation=activation,
        )
        self.members = self.network.members

    def sample(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Reparameterised actions of the mixture of all subnetworks, and their log densities.

        The batch is cut into J slices, each acted on by one subnetwork; a batch that J does not
        divide is filled up with its first rows.

        Args:
            observations: (B, obs).

        Returns:
            Actions in (-1, 1), (B, act), and log pi_j(a|s) of the subnetwork that acted, (B,).
        """
        count, J = len(observations), self.members
        if J == 1:
            return draw(self.network(observations)[0])
        filled = torch.cat([observations, observations[: -count % J]])
        outputs = self.network(filled.unflatten(0, (J, -1))).flatten(0, 1)[:count]
        return draw(outputs)

    def act(
        self, observations: torch.Tensor, members: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Random actions, each by the subnetwork named for it.

        Args:
            observations: (B, obs).
            members: (B,), int64.

        Returns:
            Actions (B, act) and log densities (B,).
        """
        outputs = self.network(observations)
        return draw(outputs[members, torch.arange(len(members), device=members.device)])

    def act_on_mean(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Random actions by the mean of the subnetworks' means and log standard deviations."""
        return draw(self.network(observations).mean(dim=0))

    def candidates(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One random action of each subnetwork, (J, B, act), and log densities (J, B)."""
        return draw(self.network(observations))

    def modes(self, observations: torch.Tensor) -> torch.Tensor:
        """tanh of each subnetwork's mean, (J, B, act)."""
        means, _ = self.network(observations).chunk(2, dim=-1)
        return torch.tanh(means)


def draw(outputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A reparameterised draw of a squashed Gaussian.

    log pi(a|s) = sum_i log N(u_i) - log(1 - tanh(u_i)^2), with the stable form
    log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u)).

    Args:
        outputs: Means and log standard deviations, (..., 2 act).

    Returns:
        Actions (..., act) and log densities (...).
    """
    mean, log_std = outputs.chunk(2, dim=-1)
    log_std = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
    noise = torch.randn_like(mean)
    u = mean + log_std.exp() * noise
    normal = -0.5 * noise**2 - log_std - 0.5 * math.log(2.0 * math.pi)
    squash = 2.0 * (math.log(2.0) - u - nn.functional.softplus(-2.0 * u))
    return torch.tanh(u), (normal - squash).sum(dim=-1)
