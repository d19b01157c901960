"""The masks of a language model in training: which weights are on.

A weight that is off is exactly 0 and stays so: its gradient and its optimizer state are 0. So the
model is a plain one of transformers' at every moment, and W means W * M.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from tenfold.algorithms.common.sharded import part, whole
from tenfold.algorithms.mst.granularity import Granularity
from tenfold.algorithms.mst.schedule import active_weights
from tenfold.algorithms.mst.topology import evolve, first_mask

WEIGHTS = Granularity()
"""Single weights, the paper's own."""
NO_AXES: Mapping[str, int] = MappingProxyType({})


def masked_layers(model: PreTrainedModel, head: bool = False) -> dict[str, nn.Module]:
    """The layers that have masks, by name.

    These are the linear layers of the blocks. A mask has the shape of the weight: (n_in, n_out) of
    GPT-2's `Conv1D`, (n_out, n_in) of torch's `Linear`, which other models have. Norms and
    positions never have one.

    Args:
        model: A causal language model.
        head: The output layer, too. Where it is tied to the token embeddings, as GPT-2's is, these
            are masked with it, as in the authors' released code.
    """
    output = model.get_output_embeddings()
    found = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, Conv1D | nn.Linear) and layer is not output
    }
    if head:
        name = head_name(model)
        found[name] = model.get_submodule(name)
    return found


def head_name(model: PreTrainedModel) -> str:
    """Name of the output layer, or of the token embeddings where both are one parameter."""
    weight = model.get_output_embeddings().weight
    name = next(name for name, own in model.named_parameters() if own is weight)
    return name.removesuffix(".weight")


def input_axis(layer: nn.Module) -> int:
    """The axis of a layer's weight along which its inputs lie, those of the head for embeddings."""
    return 0 if isinstance(layer, Conv1D) else 1


class Masks:
    """One mask a layer, and its history.

    The weights may be a stack of local workers' (workers, n_in, n_out): all of them share the mask.

    Args:
        weights: By layer.
        distribution: Of sparsity over layers, see `schedule.active_weights`.
        sparsity: To begin with.
        first: Which weights are on when sparsity first sets in, see `topology.first_mask`.
        seed: Of all uniform choices.
        granularity: What goes on and off as one; the sides of layers are multiples of its divisor.
        axes: By layer the axis of inputs, see `input_axis`; 0 of layers that are not there.

    Attributes:
        masks: Active weights by layer, (n_in, n_out) bool, where the weights are.
        counts: How many each layer has, known without waiting for a GPU.
        ever: Weights that were active at some time.
        churn: Fraction of the active weights that the last topology step replaced.
        settled: The masks as restoration began, None before it.
    """

    def __init__(
        self,
        weights: Mapping[str, torch.Tensor],
        distribution: str,
        sparsity: float,
        first: str,
        seed: int,
        granularity: Granularity = WEIGHTS,
        axes: Mapping[str, int] = NO_AXES,
    ) -> None:
        self.distribution = distribution
        self.granularity = granularity
        self.axes = {name: axes.get(name, 0) for name in weights}
        self.shapes = {name: (w.shape[-2], w.shape[-1]) for name, w in weights.items()}
        self.seed = seed
        self.churn = 0.0
        self.settled: dict[str, torch.Tensor] | None = None
        targets = self.targets(sparsity)
        generator = np.random.default_rng(seed)
        self.masks = {
            name: granularity.spread(
                first_mask(
                    granularity.summed(_of_one(whole(w.detach())).abs()),
                    targets[name] // granularity.block**2,
                    first,
                    generator,
                    granularity.limit(self.axes[name], sparsity),
                )
            )
            for name, w in weights.items()
        }
        self.counts = targets
        self.ever = {name: mask.clone() for name, mask in self.masks.items()}

    def groups(self) -> dict[str, Mapping[str, torch.Tensor]]:
        """All masks by what they tell, for a checkpoint."""
        found: dict[str, Mapping[str, torch.Tensor]] = {"mask": self.masks, "ever": self.ever}
        return found if self.settled is None else {**found, "settled": self.settled}

    def restore(self, groups: Mapping[str, Mapping[str, torch.Tensor]], churn: float) -> None:
        """Go on from what `groups` gave.

        Raises:
            ValueError: It is of another granularity.
        """
        for name, mask in groups["mask"].items():
            if not self.granularity.fits(mask, self.axes[name]):
                raise ValueError(
                    f"The checkpoint's mask of '{name}' is of another 'granularity': give the "
                    "granularity and block of the run that saved it."
                )
        device = next(iter(self.masks.values())).device
        # In the order of before: a generator is dealt to layers in turn, and files sort names.
        on = {
            group: {name: groups[group][name].to(device) for name in self.masks}
            for group in ("mask", "ever", "settled")
            if group in groups
        }
        self.counts = {name: int(groups["mask"][name].sum()) for name in self.masks}
        self.masks, self.ever, self.settled = on["mask"], on["ever"], on.get("settled")
        self.churn = churn

    def targets(self, sparsity: float) -> dict[str, int]:
        """Active weights of each layer at a sparsity of all together, whole units."""
        units = [self.granularity.units(shape) for shape in self.shapes.values()]
        most = self.granularity.most(sparsity)
        counts = active_weights(units, self.distribution, sparsity, most)
        each = self.granularity.block**2
        return {name: each * count for name, count in zip(self.shapes, counts, strict=True)}

    def density(self) -> dict[str, float]:
        """Fraction of active weights of each layer."""
        return {name: self.counts[name] / mask.numel() for name, mask in self.masks.items()}

    @property
    def active(self) -> int:
        """Active weights of all layers."""
        return sum(self.counts.values())

    @property
    def size(self) -> int:
        """Weights of all layers."""
        return sum(mask.numel() for mask in self.masks.values())

    @property
    def ever_active(self) -> float:
        """Fraction of the weights that were active at some time (in-time overparameterisation)."""
        return sum(int(ever.sum()) for ever in self.ever.values()) / self.size

    @property
    def restored(self) -> dict[str, torch.Tensor]:
        """The weights that came with the restoration and are on; none before it."""
        settled = self.masks if self.settled is None else self.settled
        return {name: mask & ~settled[name] for name, mask in self.masks.items()}

    @torch.no_grad()
    def apply(self, tensors: Mapping[str, torch.Tensor | None]) -> None:
        """Set to 0 what is off, in weights or gradients by layer."""
        for name, mask in self.masks.items():
            tensor = tensors[name]
            if tensor is not None and self.counts[name] < mask.numel():
                tensor.mul_(part(mask, tensor))

    @torch.no_grad()
    def step(
        self,
        number: int,
        weights: Mapping[str, torch.Tensor],
        gradients: Mapping[str, torch.Tensor],
        state: Mapping[str, Iterable[torch.Tensor]],
        keep: Mapping[str, torch.Tensor],
        sparsity: float,
        zeta: float,
        gradient_share: float,
        restoring: bool,
    ) -> None:
        """A topology step of all layers, in place.

        Args:
            number: The training step, which seeds the uniform choices.
            weights: Weights by layer; new ones start at 0.
            gradients: Dense gradients by layer, averaged over all workers, (n_in, n_out).
            state: Optimizer state by layer, reset wherever a weight did not stay.
            keep: Scores by which weights stay, (n_in, n_out).
            sparsity: Of all layers together, afterwards.
            zeta: Fraction of active weights to replace.
            gradient_share: See `topology.evolve`.
            restoring: Whether restoration has begun.
        """
        if not restoring:
            self.settled = None
        elif self.settled is None:
            self.settled = dict(self.masks)
        targets = self.targets(sparsity)
        generator = np.random.default_rng([self.seed, number])
        replaced, before = 0, self.active
        units = self.granularity
        for name, mask in self.masks.items():
            new, kept = map(
                units.spread,
                evolve(
                    units.reduced(mask),
                    units.summed(whole(keep[name])),
                    units.summed(whole(gradients[name]).abs()),
                    targets[name] // units.block**2,
                    zeta,
                    gradient_share,
                    generator,
                    units.limit(self.axes[name], sparsity),
                ),
            )
            replaced += int((mask & ~kept).sum())
            weights[name].mul_(part(kept, weights[name]))
            for tensor in state[name]:
                tensor.mul_(part(kept, tensor))
            self.masks[name] = new
            self.ever[name] |= new
        self.counts = targets
        self.churn = replaced / before


def norm_share(weights: Mapping[str, torch.Tensor], chosen: Mapping[str, torch.Tensor]) -> float:
    """Share of the squared norm of weights that chosen ones hold; 0 where none is chosen.

    Args:
        weights: By layer.
        chosen: Bool, of the same shapes.
    """
    total = held = 0.0
    for name, weight in weights.items():
        squares = weight.double().square()
        total += float(whole(squares.sum()))
        held += float(whole((squares * part(chosen[name], squares)).sum()))
    return held / total if total else 0.0


def _of_one(weight: torch.Tensor) -> torch.Tensor:
    """A weight of one worker of a stack."""
    return weight if weight.dim() == 2 else weight[0]


def assert_same_masks(masks: Masks) -> None:
    """Check that every process has the same masks.

    Raises:
        RuntimeError: They differ.
    """
    flat = torch.cat([mask.flatten() for mask in masks.masks.values()]).to(torch.int64)
    places = torch.arange(1, flat.numel() + 1, device=flat.device)
    checksum = (flat * (places * 2_654_435_761 % 2**31)).sum()
    most, least = checksum.clone(), checksum.clone()
    dist.all_reduce(most, dist.ReduceOp.MAX)
    dist.all_reduce(least, dist.ReduceOp.MIN)
    if not torch.equal(most, least):
        raise RuntimeError("The workers' masks differ: their scores or seeds were not the same.")
