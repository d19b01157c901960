"""Training FLOPs, counted exactly: by layer, by step, with what sparsity leaves.

A multiply-add is 2 FLOPs; norms, activations, softmax and the optimizer are left out, as is usual.
Dense causal attention counts all T^2 pairs, as dense kernels compute them; a pattern that keeps a
fraction f of the causal pairs counts f of that, so sparsity gets no credit for causality. A dense
model's count equals `torch.utils.flop_counter`'s.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from transformers import PreTrainedModel

from tenfold.algorithms.mst.masks import head_name, masked_layers


@dataclass(frozen=True)
class Sizes:
    """What is counted of a causal language model.

    Attributes:
        linear: n_in n_out of each linear layer of the blocks, by name.
        head: Name of the output layer, see `masks.head_name`.
        head_weights: d times the vocabulary.
        attention: Heads times their size, summed over the blocks.
    """

    linear: Mapping[str, int]
    head: str
    head_weights: int
    attention: int

    @classmethod
    def of(cls, model: PreTrainedModel) -> "Sizes":
        """The sizes of a model whose attention has one head size throughout."""
        config = model.config
        heads = config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // heads
        return cls(
            {name: layer.weight.numel() for name, layer in masked_layers(model).items()},
            head_name(model),
            model.get_output_embeddings().weight.numel(),
            config.num_hidden_layers * heads * size,
        )


@dataclass(frozen=True)
class StepFlops:
    """FLOPs by part.

    Attributes:
        linear: Linear layers of the blocks, forward and backward.
        attention: Scores and weighted sums of the blocks, forward and backward.
        dense_gradient: What a topology step adds in the blocks: gradients of weights that are off.
        head: Output layer, forward and backward, and what a topology step adds there.
    """

    linear: float = 0.0
    attention: float = 0.0
    dense_gradient: float = 0.0
    head: float = 0.0

    @property
    def blocks(self) -> float:
        """All but the head."""
        return self.linear + self.attention + self.dense_gradient

    @property
    def total(self) -> float:
        """Everything."""
        return self.blocks + self.head

    def __add__(self, other: "StepFlops") -> "StepFlops":
        return StepFlops(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def step_flops(
    sizes: Sizes,
    sequences: int,
    length: int,
    density: Mapping[str, float],
    attention_kept: float,
    topology_step: bool,
) -> StepFlops:
    """FLOPs of one forward and backward pass.

    Forward, gradient of the input and gradient of the weight of a layer cost the same; each is
    the layer's density times dense. A topology step needs the rest of the weight's gradient too.

    Args:
        sizes: The model's.
        sequences: Sequences of the batch.
        length: Tokens of each, T.
        density: Density by masked layer; the head is dense if it is not there. To look up
            embeddings costs nothing, whatever their density.
        attention_kept: Fraction of the causal pairs that attention computes.
        topology_step: Whether the dense gradient of the weights is computed.
    """
    tokens = sequences * length
    linear = dense_gradient = 0.0
    for name, size in sizes.linear.items():
        product, share = 2 * tokens * size, density[name]
        linear += 3 * product * share
        if topology_step:
            dense_gradient += product * (1 - share)
    share = density.get(sizes.head, 1.0)
    head = 3 * share + (1 - share if topology_step else 0.0)
    # Scores and weighted sums: two products forward, four backward.
    attention = 6 * 2 * tokens * length * sizes.attention * attention_kept
    return StepFlops(linear, attention, dense_gradient, head * 2 * tokens * sizes.head_weights)


class FlopLedger:
    """FLOPs spent so far, beside what dense training would have spent.

    Attributes:
        spent: What was computed.
        dense: The same steps of the dense model with dense attention.
    """

    def __init__(self) -> None:
        self.spent = StepFlops()
        self.dense = StepFlops()

    def add(self, spent: StepFlops, dense: StepFlops) -> None:
        """Count a step."""
        self.spent += spent
        self.dense += dense

    @property
    def reduction(self) -> float:
        """Dense over spent, the head included."""
        return self.dense.total / self.spent.total

    @property
    def reduction_blocks(self) -> float:
        """Dense over spent, without the head."""
        return self.dense.blocks / self.spent.blocks

    def state_dict(self) -> dict[str, Any]:
        """Everything, as JSON."""
        return {"spent": astuple(self.spent), "dense": astuple(self.dense)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self.spent, self.dense = StepFlops(*state["spent"]), StepFlops(*state["dense"])
