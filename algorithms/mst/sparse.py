"""A linear layer with a binary mask on its weight: sparse on the CPU where that is faster.

Forward y = x (W * M) + b, and backward the gradients of x, b and the active entries of W only,
cost 2 rows n_in n_out density operations each instead of 2 rows n_in n_out. Dense matrix products
run at several times the rate per operation, so `calibrate` measures up to which density the sparse
path wins for a layer's shape, and `prefers_sparse` says so of a layer. The gradient of inactive
entries, which topology steps need, is the one of W * M in a dense product: neither path gives it.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from tenfold.algorithms.mst.sparse_kernels import LANES, Array, product, sampled_product
from tenfold.platform.devices import Compute

HERE = Compute()
"""The CPU, in float32."""


@dataclass(frozen=True, eq=False)
class MaskStructure:
    """Where the active entries of a mask are; made once a topology change.

    Attributes:
        mask: (n_in, n_out) bool.
        by_output, by_input: flat positions in W of the active entries, in either order.
        output_start: (n_out + 1,) int64, where each output's entries begin in `by_output`.
        input_start: (n_in + 1,) int64, where each input's entries begin in `by_input`.
        inputs, outputs: uint32, input of each entry of `by_output`, output of each of `by_input`.
    """

    mask: Tensor
    by_output: Tensor
    by_input: Tensor
    output_start: Array
    input_start: Array
    inputs: Array
    outputs: Array

    @classmethod
    def from_mask(cls, mask: Tensor) -> "MaskStructure":
        """Index a boolean mask of shape (n_in, n_out) on the CPU."""
        if mask.dtype != torch.bool or mask.ndim != 2:
            found = f"{mask.dtype} of shape {tuple(mask.shape)}"
            raise ValueError(f"mask must be a two-dimensional bool tensor, not {found}")
        n_out = mask.shape[1]
        outputs, inputs = mask.t().nonzero(as_tuple=True)
        by_output = inputs * n_out + outputs
        by_input = mask.flatten().nonzero().flatten()
        return cls(
            mask=mask.clone(),
            by_output=by_output,
            by_input=by_input,
            output_start=_starts(mask.sum(0)),
            input_start=_starts(mask.sum(1)),
            inputs=inputs.numpy().astype(np.uint32),
            outputs=(by_input % n_out).numpy().astype(np.uint32),
        )

    @property
    def density(self) -> float:
        """Active share of the entries."""
        return len(self.by_output) / self.mask.numel()


def _starts(counts: Tensor) -> Array:
    """Offsets of consecutive groups of the given sizes."""
    return np.concatenate([[0], counts.cumsum(0).numpy()]).astype(np.int64)


class SparseLinear(torch.autograd.Function):
    """y = x (W * M) + b for two-dimensional x; use `sparse_linear`."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, structure: MaskStructure
    ) -> Tensor:
        """x (rows, n_in), weight (n_in, n_out), bias (n_out,) or None; returns (rows, n_out)."""
        x = x.contiguous()
        ctx.save_for_backward(x, weight)
        ctx.structure = structure
        tiles = -(-len(x) // LANES)
        # Kept for backward, whose thread may have another count than the one set here.
        ctx.parts = max(1, min(torch.get_num_threads(), tiles))
        n_out = weight.shape[1]
        y = x.new_empty(len(x), n_out)
        product(
            x.numpy(),
            structure.output_start,
            structure.inputs,
            weight.flatten()[structure.by_output].numpy(),
            (x.new_zeros(n_out) if bias is None else bias).numpy(),
            y.numpy(),
            ctx.parts,
        )
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of x, W (zero where inactive) and b."""
        x, weight = ctx.saved_tensors
        structure: MaskStructure = ctx.structure
        grad_y = grad_y.contiguous()
        grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.empty_like(x)
            product(
                grad_y.numpy(),
                structure.input_start,
                structure.outputs,
                weight.flatten()[structure.by_input].numpy(),
                x.new_zeros(x.shape[1]).numpy(),
                grad_x.numpy(),
                ctx.parts,
            )
        if ctx.needs_input_grad[1]:
            sums = x.new_zeros(ctx.parts, len(structure.by_output))
            start, index = structure.output_start, structure.inputs
            sampled_product(x.numpy(), grad_y.numpy(), start, index, sums.numpy())
            grad_weight = weight.new_zeros(weight.shape)
            grad_weight.view(-1)[structure.by_output] = sums.sum(0)
        if ctx.needs_input_grad[2]:
            grad_bias = grad_y.sum(0)
        return grad_x, grad_weight, grad_bias, None


def sparse_linear(
    x: Tensor, weight: Tensor, structure: MaskStructure, bias: Tensor | None = None
) -> Tensor:
    """x (W * M) + b without touching inactive weights.

    Args:
        x: (..., n_in), float32 or float64, on the CPU.
        weight: (n_in, n_out) as GPT-2's Conv1D stores it, the dtype of `x`; inactive entries may
            hold anything.
        structure: of the mask M.
        bias: (n_out,).

    Returns:
        (..., n_out). The gradient of `weight` is dense, exactly zero where inactive; the same
        number of threads gives the same bits.

    Raises:
        ValueError: for another dtype, or shapes that do not fit.
    """
    if x.dtype not in (torch.float32, torch.float64) or x.dtype != weight.dtype:
        raise ValueError(
            f"x and weight must both be float32 or float64, not {x.dtype} and {weight.dtype}"
        )
    if weight.shape != structure.mask.shape or x.shape[-1] != weight.shape[0]:
        raise ValueError(
            f"x {tuple(x.shape)}, weight {tuple(weight.shape)} and mask "
            f"{tuple(structure.mask.shape)} do not fit x @ weight"
        )
    y = SparseLinear.apply(x.reshape(-1, x.shape[-1]), weight, bias, structure)
    return y.view(*x.shape[:-1], weight.shape[1])


class Structure(Protocol):
    """What a product needs to know of a mask.

    Attributes:
        mask: (n_in, n_out) bool.
        density: Its active share.
    """

    @property
    def mask(self) -> Tensor: ...
    @property
    def density(self) -> float: ...


def masked_linear(
    x: Tensor, weight: Tensor, structure: Structure, bias: Tensor | None = None
) -> Tensor:
    """x (W * M) + b by a dense product; the same gradients as `sparse_linear`."""
    y = x @ (weight * structure.mask)
    return y if bias is None else y + bias


@dataclass(frozen=True)
class Product:
    """A way to run masked layers.

    Attributes:
        structure: From a mask to what `linear` needs to know of it.
        linear: From x, W, that structure and b to x (W * M) + b.
        draw: A random mask, (n_in, n_out) and its density, by which it is measured.
        densities: At which it is measured.
    """

    structure: Callable[[Tensor], Structure]
    linear: Callable[[Tensor, Tensor, Any, Tensor | None], Tensor]
    draw: Callable[[int, int, float], Tensor]
    densities: tuple[float, ...] = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)


def random_mask(n_in: int, n_out: int, density: float) -> Tensor:
    """Each weight on by itself, the same ones in every call."""
    return torch.rand(n_in, n_out, generator=torch.Generator().manual_seed(0)) < density


KERNELS = Product(MaskStructure.from_mask, sparse_linear, random_mask)
"""This module's own, on the CPU, for masks of any shape."""


class Calibration(TypedDict):
    """What `calibrate` measured, ready for JSON."""

    rows: int
    threads: int
    thresholds: dict[str, float]  # "n_in x n_out": sparse up to this density, 0 for never


def calibrate(
    sizes: Sequence[tuple[int, int]],
    rows: int,
    densities: Sequence[float] | None = None,
    repeats: int = 5,
    product: Product = KERNELS,
    compute: Compute = HERE,
) -> Calibration:
    """Measure forward + backward of both paths, alternating, on random masks.

    Args:
        sizes: (n_in, n_out) of the layers.
        rows: rows of x, batch times context.
        densities: tried in ascending order until the sparse path loses; the product's own if None.
        repeats: medians are over this many runs of each path.
        product: the sparse path.
        compute: where and in what precision.

    Returns:
        Of each shape the largest density at which, as at every smaller one, sparse was faster.
    """
    thresholds = {}
    for n_in, n_out in sizes:
        threshold = 0.0
        for density in sorted(product.densities if densities is None else densities):
            mask = product.draw(n_in, n_out, density).to(compute.device)
            structure = product.structure(mask)
            runs = {
                name: layer_run(path, structure, rows, compute)
                for name, path in (("sparse", product.linear), ("dense", masked_linear))
            }
            seconds = median_seconds(runs, repeats)
            if seconds["sparse"] >= seconds["dense"]:
                break
            threshold = density
        thresholds[f"{n_in}x{n_out}"] = threshold
    return {"rows": rows, "threads": torch.get_num_threads(), "thresholds": thresholds}


def layer_run(
    path: Callable[[Tensor, Tensor, Any, Tensor], Tensor],
    structure: Structure,
    rows: int,
    compute: Compute = HERE,
) -> Callable[[], None]:
    """A function that does forward and backward of one layer on fixed random numbers.

    It returns when the device is done with them.
    """
    n_in, n_out = structure.mask.shape
    generator = torch.Generator().manual_seed(1)
    shapes = ((rows, n_in), (n_in, n_out), (n_out,), (rows, n_out))
    x, weight, bias, grad_y = (
        torch.randn(shape, generator=generator).to(compute.device) for shape in shapes
    )
    leaves = tuple(tensor.requires_grad_() for tensor in (x, weight, bias))

    def run() -> None:
        with compute.autocast():
            y = path(x, weight, structure, bias)
        torch.autograd.grad(y, leaves, grad_y.to(y.dtype))
        if y.is_cuda:
            torch.cuda.synchronize(y.device)

    return run


def median_seconds(runs: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Median wall-clock seconds of each run, after one run each to warm up, all interleaved."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def prefers_sparse(calibration: Calibration, structure: Structure) -> bool:
    """Whether the measured threshold of this shape says sparse; an unmeasured shape is dense."""
    n_in, n_out = structure.mask.shape
    return 0 < structure.density <= calibration["thresholds"].get(f"{n_in}x{n_out}", 0.0)
