"""Speed of the masked linear layer: dense, torch's CSR product and our kernel, in one run.

    python benchmarks/mst.py
    python benchmarks/mst.py --threads 2

Forward + backward (gradients of x, W and b) of one layer in float32 with a random mask of the
given density; medians, all paths interleaved. `dense` is x @ W + b without a mask, as an unmasked
model runs it, and what the speed-ups are over; `masked` multiplies W by its mask as well. CSR and
our kernel give the weight gradient at active entries only.
"""

import argparse
import functools
import warnings
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from tenfold.algorithms.mst.sparse import (
    MaskStructure,
    calibrate,
    layer_run,
    masked_linear,
    median_seconds,
    sparse_linear,
)

SIZES = ((256, 256), (256, 1024), (1024, 256), (768, 768), (768, 3072), (3072, 768))
DENSITIES = (0.5, 0.3, 0.2, 0.1, 0.05, 0.02)


def dense_linear(x: Tensor, weight: Tensor, structure: MaskStructure, bias: Tensor) -> Tensor:
    """The layer of an unmasked model."""
    return torch.addmm(bias, x, weight)


@functools.cache
def csr_indices(structure: MaskStructure) -> list[Tensor]:
    """Index tensors of (W * M)^T and of W * M."""
    arrays = (
        structure.output_start,
        structure.inputs,
        structure.input_start,
        structure.outputs,
    )
    return [torch.from_numpy(array.astype("int64")) for array in arrays]


class CsrLinear(torch.autograd.Function):
    """The same layer with torch's sparse CSR products (MKL)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, structure: MaskStructure
    ) -> Tensor:
        """y^T = (W * M)^T x^T."""
        ctx.save_for_backward(x, weight)
        ctx.structure = structure
        transposed = torch.sparse_csr_tensor(
            *csr_indices(structure)[:2],
            weight.detach().flatten()[structure.by_output],
            (weight.shape[1], weight.shape[0]),
        )
        return (transposed @ x.t()).t() + bias

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, ...]:
        """The input's gradient by a CSR product, the weight's by a sampled dense product."""
        x, weight = ctx.saved_tensors
        structure = ctx.structure
        values = weight.flatten()[structure.by_input]
        masked = torch.sparse_csr_tensor(*csr_indices(structure)[2:], values, weight.shape)
        sampled = torch.sparse.sampled_addmm(masked, x.t(), grad_y, beta=0.0)
        grad_weight = torch.zeros_like(weight)
        grad_weight.view(-1)[structure.by_input] = sampled.values()
        return (masked @ grad_y.t()).t(), grad_weight, grad_y.sum(0), None


def csr_linear(x: Tensor, weight: Tensor, structure: MaskStructure, bias: Tensor) -> Tensor:
    """The layer by torch's CSR products."""
    return CsrLinear.apply(x, weight, bias, structure)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Masked linear layer, dense and sparse.")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="Sparse", category=UserWarning)  # CSR is in beta
    torch.set_num_threads(options.threads)
    paths = {
        "dense": dense_linear,
        "masked": masked_linear,
        "csr": csr_linear,
        "ours": sparse_linear,
    }
    table = Table(
        "layer",
        "density",
        *(f"{name} ms" for name in paths),
        "CSR speed-up",
        "our speed-up",
        title=f"forward + backward, {options.rows} rows, {torch.get_num_threads()} thread(s)",
    )
    for n_in, n_out in SIZES:
        for density in DENSITIES:
            generator = torch.Generator().manual_seed(0)
            mask = torch.rand(n_in, n_out, generator=generator) < density
            structure = MaskStructure.from_mask(mask)
            runs = {name: layer_run(path, structure, options.rows) for name, path in paths.items()}
            seconds = median_seconds(runs, options.repeats)
            table.add_row(
                f"{n_in}x{n_out}",
                f"{density:g}",
                *(f"{1e3 * seconds[name]:.2f}" for name in paths),
                f"{seconds['dense'] / seconds['csr']:.2f}",
                f"{seconds['dense'] / seconds['ours']:.2f}",
            )
    console = Console(width=120)
    console.print(table)
    console.print("calibrated thresholds:", calibrate(SIZES, options.rows)["thresholds"])


if __name__ == "__main__":
    main()
