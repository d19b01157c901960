"""The masks of a GPT-2 in training: which weights are on.

A weight that is off is exactly 0 and stays so: its gradient and its optimizer state are 0. So the
model is a plain `GPT2LMHeadModel` at every moment, and W means W * M.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from tenfold.algorithms.mst.schedule import active_weights
from tenfold.algorithms.mst.topology import evolve, first_mask


def masked_layers(model: nn.Module) -> dict[str, Conv1D]:
    """The linear layers of the blocks by name; embeddings, norms and the tied head stay dense.

    GPT-2's `Conv1D` stores its weight as (n_in, n_out).
    """
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, Conv1D)}


class Masks:
    """One mask a layer, and its history.

    The weights may be a stack of local workers' (workers, n_in, n_out): all of them share the mask.

    Attributes:
        masks: Active weights by layer, (n_in, n_out) bool, where the weights are.
        counts: How many each layer has, known without waiting for a GPU.
        ever: Weights that were active at some time.
        churn: Fraction of the active weights that the last topology step replaced.
    """

    def __init__(
        self,
        weights: Mapping[str, torch.Tensor],
        distribution: str,
        sparsity: float,
        first: str,
        seed: int,
    ) -> None:
        self.distribution = distribution
        self.shapes = {name: (w.shape[-2], w.shape[-1]) for name, w in weights.items()}
        self.seed = seed
        self.churn = 0.0
        targets = self.targets(sparsity)
        generator = torch.Generator().manual_seed(seed)
        self.masks = {
            name: first_mask(_of_one(w.detach()), targets[name], first, generator)
            for name, w in weights.items()
        }
        self.counts = targets
        self.ever = {name: mask.clone() for name, mask in self.masks.items()}

    def restore(
        self, masks: Mapping[str, torch.Tensor], ever: Mapping[str, torch.Tensor], churn: float
    ) -> None:
        """Go on from what was saved."""
        self.masks = {n: mask.to(self.masks[n].device) for n, mask in masks.items()}
        self.counts = {name: int(mask.sum()) for name, mask in masks.items()}
        self.ever = {n: mask.to(self.masks[n].device) for n, mask in ever.items()}
        self.churn = churn

    def targets(self, sparsity: float) -> dict[str, int]:
        """Active weights of each layer at a sparsity of all together."""
        counts = active_weights(list(self.shapes.values()), self.distribution, sparsity)
        return dict(zip(self.shapes, counts, strict=True))

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

    @torch.no_grad()
    def apply(self, tensors: Mapping[str, torch.Tensor | None]) -> None:
        """Set to 0 what is off, in weights or gradients by layer."""
        for name, mask in self.masks.items():
            tensor = tensors[name]
            if tensor is not None and self.counts[name] < mask.numel():
                tensor.mul_(mask)

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
        """
        targets = self.targets(sparsity)
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)
        replaced, before = 0, self.active
        for name, mask in self.masks.items():
            new, kept = evolve(
                mask,
                keep[name],
                gradients[name].abs(),
                targets[name],
                zeta,
                gradient_share,
                generator,
            )
            replaced += int((mask & ~kept).sum())
            weights[name].mul_(kept)
            for tensor in state[name]:
                tensor.mul_(kept)
            self.masks[name] = new
            self.ever[name] |= new
        self.counts = targets
        self.churn = replaced / before


def _of_one(weight: torch.Tensor) -> torch.Tensor:
    """A weight of one worker of a stack."""
    return weight if weight.dim() == 2 else weight[0]
