"""Linear layers that hold many networks at once, and the perceptron made of them.

P weight tensors ("copies") with K masks each give E = P K members; member e = p K + k is subnetwork
k of copy p. OMNet is P = 1 with K masks; an ensemble of N networks is P = N with one mask, or none.
All members that are asked for are computed in one fused product of shape (E, B, I) x (E, I, O).

A layer that nothing masks is the same for all K subnetworks of the one copy, so its output is
computed once and stays (B, O) until members part.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from ray.rllib.models.utils import get_activation_fn
from torch import nn

from tenfold.algorithms.omnet.masks import Masks, MaskScheme, make_masks


class SubnetworkLinear(nn.Module):
    """y = x (W * M^k) + b for members of P copies with K masks each.

    The gradient of a weight is the sum over the masks that hold it.

    Attributes:
        weight: theta, (P, I, O), float32; the only weights there are.
        bias: (P, 1, O), never masked.
        mask: (1, K, I, O), float32, or None for a dense layer.
        frozen: Weights change only by being copied into, as in a runner's module. (Fused optimisers
            change weights without a sign that could be seen here.)
    """

    mask: torch.Tensor | None

    def __init__(self, shape: tuple[int, int], copies: int, K: int, mask: np.ndarray | None):
        super().__init__()
        self.shape, self.copies, self.K = shape, copies, K
        bound = shape[0] ** -0.5  # torch's own initialisation of linear layers
        self.weight = nn.Parameter(torch.empty(copies, *shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(copies, 1, shape[1]).uniform_(-bound, bound))
        stored = None if mask is None else torch.as_tensor(mask, dtype=torch.float32)[None]
        self.register_buffer("mask", stored, persistent=False)
        self.frozen = False
        self._acting: tuple[tuple[int, int], Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_acting": None}

    @property
    def shared(self) -> bool:
        """Whether all members are the same here."""
        return self.mask is None and self.copies == 1

    def forward(self, x: torch.Tensor, members: torch.Tensor | None) -> torch.Tensor:
        """Apply the layer.

        Args:
            x: (B, I), the same for all members, or (E, B, I).
            members: Indices of the E members that are computed, (E,), int64; all when None.

        Returns:
            (E, B, O); (B, O) where x is (B, I) and members do not differ.
        """
        if self.shared:
            return torch.nn.functional.linear(x, self.weight[0].T, self.bias[0, 0])
        weight, bias = self.of_all() if members is None else self.of_members(members)
        if x.ndim == 2:
            x = x.expand(len(weight), *x.shape)
        return torch.baddbmm(bias, x, weight)

    def of_all(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights and biases of all members; where nothing trains, kept until weights change."""
        if not self.frozen or torch.compiler.is_exporting():
            return self.of_members(None)
        stamp = (self.weight._version, self.weight.data_ptr())
        if self._acting is None or self._acting[0] != stamp:
            self._acting = (stamp, self.of_members(None))
        return self._acting[1]

    def of_members(self, members: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights (E, I, O) and biases (E, 1, O), masked."""
        if self.mask is None and self.K == 1:
            found = (self.weight, self.bias)
            return found if members is None else (self.weight[members], self.bias[members])
        if members is None:
            weight = self.weight[:, None]
            weight = weight.expand(-1, self.K, -1, -1) if self.mask is None else weight * self.mask
            return weight.flatten(0, 1), self.bias.repeat_interleave(self.K, dim=0)
        copy = members // self.K
        weight = self.weight[copy] if self.copies > 1 else self.weight
        if self.mask is not None:
            weight = weight * self.mask[0, members % self.K]
        return weight, self.bias[copy]

    def flops(self, executed: bool) -> float:
        """Floating-point operations of one sample's pass through one member, twice the products.

        Args:
            executed: Count the dense products that run, or only the weights that are kept.
        """
        kept = 1.0 if executed or self.mask is None else float(self.mask.mean())
        return 2.0 * kept * self.shape[0] * self.shape[1]


class CompactLinear(SubnetworkLinear):
    """The same with unit masks, run as small dense layers of the units that are kept.

    Attributes:
        rows: Inputs that member k keeps, (K, n_in), int64.
        columns: Outputs that it keeps, (K, n_out), int64.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    entries: torch.Tensor

    def __init__(self, shape: tuple[int, int], copies: int, rows: np.ndarray, columns: np.ndarray):
        super().__init__(shape, copies, len(rows), None)
        self.register_buffer("rows", torch.as_tensor(rows), persistent=False)
        self.register_buffer("columns", torch.as_tensor(columns), persistent=False)
        each = self.rows[:, :, None] * shape[1] + self.columns[:, None, :]  # (K, n_in, n_out)
        entries = torch.arange(copies)[:, None, None, None] * (shape[0] * shape[1]) + each
        self.register_buffer("entries", entries.flatten(0, 1), persistent=False)

    @property
    def shared(self) -> bool:
        return False

    def of_members(self, members: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights (E, n_in, n_out) and biases (E, 1, n_out), gathered from the one tensor."""
        if members is None:
            members = torch.arange(self.copies * self.K, device=self.weight.device)
        entries = self.entries[members]
        weight = self.weight.flatten().index_select(0, entries.flatten()).view(entries.shape)
        return weight, self.at_columns(self.bias, members)

    def at_columns(self, values: torch.Tensor, members: torch.Tensor) -> torch.Tensor:
        """(P, 1, O) at the outputs that members keep: (E, 1, n_out)."""
        return values[members // self.K, 0].gather(1, self.columns[members % self.K])[:, None]

    def flops(self, executed: bool) -> float:
        return 2.0 * self.rows.shape[1] * self.columns.shape[1]


class SubnetworkMLP(nn.Module):
    """E = P K multilayer perceptrons: linear, dropout, layer normalisation, activation, linear.

    Dropout before normalisation is DroQ's order (arXiv:2110.02034). The masks are made again from
    their seed wherever the network is built; a state dict holds their hash alone, and one with
    other masks is refused.

    Attributes:
        sizes: Units of each layer, inputs first.
        scheme: Of the masks.
        masks: The masks that it drew.
        layers: `SubnetworkLinear` each.
        members: E.
    """

    mask_digest: torch.Tensor

    def __init__(
        self,
        sizes: Sequence[int],
        copies: int = 1,
        scheme: MaskScheme | None = None,
        *,
        rescale_init: bool = True,
        dropout: float = 0.0,
        layer_norm: bool = False,
        activation: str = "relu",
    ):
        """Make the network.

        Args:
            sizes: Units of each layer, inputs first and outputs last.
            copies: P, independent weight tensors.
            scheme: Of the K masks; one dense network a copy when None.
            rescale_init: Divide initial weights by the root of the share of inputs that are kept,
                without which activations shrink by it in each layer.
            dropout: Probability that a hidden unit is left out of a training pass.
            layer_norm: Normalise hidden layers.
            activation: As RLlib names it.

        Raises:
            ValueError: The masks cannot be drawn, see `make_masks`.
        """
        super().__init__()
        self.sizes, self.scheme = tuple(sizes), scheme or MaskScheme()
        self.members = copies * self.scheme.num_subnets
        self.masks = make_masks(sizes, self.scheme)
        self.layers = nn.ModuleList(_layers(sizes, copies, self.masks))
        if rescale_init:
            for layer, share in zip(self.layers, self._input_shares(), strict=True):
                layer.weight.data /= share**0.5
        self.dropout = nn.Dropout(dropout) if dropout > 0.0 else nn.Identity()
        hidden = self.sizes[1:-1] if layer_norm else ()
        self.gains = nn.ParameterList(torch.ones(copies, 1, width) for width in hidden)
        self.shifts = nn.ParameterList(torch.zeros(copies, 1, width) for width in hidden)
        self.activation = get_activation_fn(activation, framework="torch")()
        digest = torch.frombuffer(bytearray.fromhex(self.masks.digest), dtype=torch.uint8)
        self.register_buffer("mask_digest", digest)
        self.register_load_state_dict_pre_hook(_check_digest)

    def forward(self, x: torch.Tensor, members: torch.Tensor | None = None) -> torch.Tensor:
        """Outputs of members.

        Args:
            x: Inputs (B, I), the same for all members, or (E, B, I).
            members: Indices of the E members to compute, int64; all when None.

        Returns:
            (E, B, O).
        """
        *hidden, last = self.layers
        for i, layer in enumerate(hidden):
            x = self.dropout(layer(x, members))
            if len(self.gains):
                x = self._normalise(i, x, members)
            x = self.activation(x)
        x = last(x, members)
        count = self.members if members is None else len(members)
        return x if x.ndim == 3 else x.expand(count, *x.shape)

    def flops(self, members: int, executed: bool) -> float:
        """Floating-point operations of one sample's forward pass through some members.

        Args:
            members: How many.
            executed: The dense products that really run, or (False) the weights that are kept.
        """
        total, together = 0.0, True
        for layer in self.layers:
            together = together and layer.shared
            total += layer.flops(executed) * (1 if together else members)
        return total

    def _normalise(self, i: int, x: torch.Tensor, members: torch.Tensor | None) -> torch.Tensor:
        gain, shift, layer = self.gains[i], self.shifts[i], self.layers[i]
        x = nn.functional.layer_norm(x, x.shape[-1:])
        if x.ndim == 2:
            return x * gain[0] + shift[0]
        chosen = torch.arange(self.members, device=x.device) if members is None else members
        if isinstance(layer, CompactLinear):
            return x * layer.at_columns(gain, chosen) + layer.at_columns(shift, chosen)
        copy = chosen // self.scheme.num_subnets
        return x * gain[copy] + shift[copy]

    def _input_shares(self) -> list[float]:
        """The share of its inputs that a unit of each layer keeps."""
        if self.scheme.granularity == "weight":
            return list(self.masks.densities)
        kept = zip(self.masks.units, self.sizes[1:-1], strict=True)
        return [1.0, *(units.shape[1] / width for units, width in kept)]


def _layers(sizes: Sequence[int], copies: int, masks: Masks) -> list[SubnetworkLinear]:
    shapes = list(itertools.pairwise(sizes))
    K = masks.num_subnets
    if not masks.units:
        pairs = zip(shapes, masks.weights, strict=True)
        return [SubnetworkLinear(shape, copies, K, mask) for shape, mask in pairs]
    kept = [_all(sizes[0], K), *masks.units, _all(sizes[-1], K)]
    return [
        CompactLinear(shape, copies, rows, columns)
        for shape, rows, columns in zip(shapes, kept, kept[1:], strict=False)
    ]


def _all(width: int, K: int) -> np.ndarray:
    return np.tile(np.arange(width), (K, 1))


def _check_digest(
    network: nn.Module, state: dict[str, torch.Tensor], prefix: str, *_: object
) -> None:
    there = state.get(f"{prefix}mask_digest")
    own = network.mask_digest
    if there is not None and not torch.equal(torch.as_tensor(there).to(own), own):
        raise ValueError(
            "The checkpoint was trained with other masks: set the mask_seed, num_subnets, sparsity "
            "and layers that it was made with."
        )
