"""One critic class for SinSAC, SAC, REDQ(N, m), DroQ(p), SinDroQ, static masks and OMNet.

They differ in the number of weight tensors P, of masks K, and in dropout and normalisation:

| method | P | K | sparsity | dropout, layer norm |
|---|---|---|---|---|
| SinSAC | 1 | 1 | 0 | |
| SAC (TD3) | 2 | 1 | 0 | |
| REDQ(N, m) | N | 1 | 0 | |
| DroQ(p) | 2 | 1 | 0 | p, yes |
| SinDroQ(p) | 1 | 1 | 0 | p, yes |
| static mask (arXiv:2506.17204) | 1 or 2 | 1 | S | |
| OMNet | 1 | K | S | |

so that their cost and their scores are compared in one code path.
"""

from collections.abc import Sequence

import torch
from torch import nn

from tenfold.algorithms.omnet.layers import SubnetworkMLP
from tenfold.algorithms.omnet.masks import MaskScheme


class EnsembleCritic(nn.Module):
    """Q_e(s, a) of E = P K members, or Q_e(s, .) where actions are discrete.

    Attributes:
        network: The perceptron of all members.
        members: E.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        hiddens: Sequence[int] = (256, 256),
        *,
        num_critics: int = 1,
        scheme: MaskScheme | None = None,
        discrete: bool = False,
        rescale_init: bool = True,
        dropout: float = 0.0,
        layer_norm: bool = False,
        activation: str = "relu",
    ):
        """Make the critic.

        Args:
            observation_size: Entries of an observation.
            action_size: Entries of a continuous action, or the number of discrete ones.
            hiddens: Units of each hidden layer.
            num_critics: P, independent weight tensors.
            scheme: Of the K masks; one dense network a copy when None.
            discrete: One output for each action, in place of the action as an input.
            rescale_init: See `SubnetworkMLP`, as are the rest.
            dropout: Probability that a hidden unit is left out.
            layer_norm: Normalise hidden layers.
            activation: As RLlib names it.

        Raises:
            ValueError: The masks cannot be drawn.
        """
        super().__init__()
        self.discrete = discrete
        inputs = observation_size if discrete else observation_size + action_size
        self.network = SubnetworkMLP(
            [inputs, *hiddens, action_size if discrete else 1],
            num_critics,
            scheme,
            rescale_init=rescale_init,
            dropout=dropout,
            layer_norm=layer_norm,
            activation=activation,
        )

    @property
    def members(self) -> int:
        """E."""
        return self.network.members

    def forward(
        self,
        observations: torch.Tensor,
        actions: torch.Tensor | None = None,
        members: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Values by all members, or by some.

        Args:
            observations: s, (B, obs), the same for all members, or (E, B, obs).
            actions: a, (B, act) or (E, B, act); None where actions are discrete.
            members: Indices of members, (E,), int64; all when None.

        Returns:
            (E, B); (E, B, A) where actions are discrete.
        """
        inputs = observations if actions is None else torch.cat([observations, actions], dim=-1)
        values: torch.Tensor = self.network(inputs, members)
        return values if self.discrete else values.squeeze(-1)

    def drawn(self, count: int, device: torch.device) -> torch.Tensor | None:
        """So many members at random, (count,), as a target takes them; None means all."""
        if count == self.members:
            return None
        return torch.randperm(self.members, device=device)[:count]

    def split(self, batch: torch.Tensor) -> torch.Tensor:
        """A batch cut into one slice for each member: (E b, ...) -> (E, b, ...).

        Up to E - 1 entries at the end belong to no slice.
        """
        each = len(batch) // self.members
        return batch[: each * self.members].unflatten(0, (self.members, each))
