"""Masked linear layers: dense beside masked, block and 2:4 products, by size and density.

    python benchmarks/sparse_layers.py                  this CPU: float32, one thread, a minute
    python benchmarks/sparse_layers.py --device cuda    the card: bf16, blocks by Triton, 2:4
    python benchmarks/sparse_layers.py --kernels        compiles the Triton kernels for cards that
                                                        need not be there; needs triton
    TRITON_INTERPRET=1 python benchmarks/sparse_layers.py --kernels
                                                        are they right? In triton's interpreter

One layer on random masks of the given density, forward alone and forward with all gradients. Speed-
ups are over `dense`, which is x @ W + b without a mask, as MST runs its layers by `kernels=dense`
(its weights that are off are 0): `masked` multiplies W by its mask as well, `weights` are our
kernels for single weights (CPU), `block N` products of N x N blocks, `2:4` the card's sparse
units, which a CPU has not. All paths of a row alternate; a speed-up is the geometric mean over the
repeats with its 95 % Student-t interval. A path breaks even at the largest density at which, as at
every smaller one that was tried, the whole interval of forward and gradients is above 1. A CPU is
timed by its processor seconds, which others on the machine disturb less than the clock does.
Before it is timed each path is compared with `masked`, gradients included.
"""

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from tenfold.algorithms.mst.execution import TWO_FOUR, block_product
from tenfold.algorithms.mst.sparse import KERNELS, Product, Structure, masked_linear, random_mask
from tenfold.algorithms.mst.sparse_blocks import BlockStructure
from tenfold.platform.devices import CPU, Compute
from tenfold.platform.statistics import mean_interval

DENSITIES = (0.5, 0.3, 0.2, 0.1, 0.05)
ON_CPU = ((256, 1024), (768, 3072))
ON_CARD = ((768, 3072), (1024, 4096), (4096, 4096))
Path = Callable[[Tensor, Tensor, Structure, Tensor], Tensor]


class _Mask:
    """A mask that is looked at only."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask
        self.density = float(mask.float().mean())


def dense_linear(x: Tensor, weight: Tensor, structure: Structure, bias: Tensor) -> Tensor:
    """The layer of an unmasked model."""
    return torch.addmm(bias, x, weight)


def products(on_card: bool) -> dict[str, Product]:
    """What there is on a device."""
    masked = Product(_Mask, masked_linear, random_mask)
    blocks = {f"block {side}": block_product(side) for side in (16, 32)}
    if on_card:
        return {"masked": masked, **blocks, "2:4": TWO_FOUR}
    return {"masked": masked, "weights": KERNELS, **blocks}


class Layer:
    """One layer's forward, and forward with gradients, on fixed random numbers."""

    def __init__(self, path: Path, structure: Structure, rows: int, compute: Compute) -> None:
        self.path, self.structure, self.compute = path, structure, compute
        n_in, n_out = structure.mask.shape
        generator = torch.Generator().manual_seed(1)
        shapes = ((rows, n_in), (n_in, n_out), (n_out,), (rows, n_out))
        numbers = [torch.randn(shape, generator=generator).to(compute.device) for shape in shapes]
        self.leaves = [tensor.requires_grad_() for tensor in numbers[:3]]
        self.grad_y = numbers[3]

    def forward(self) -> Tensor:
        with self.compute.autocast():
            return self.path(self.leaves[0], self.leaves[1], self.structure, self.leaves[2])

    def both(self) -> list[Tensor]:
        y = self.forward()
        return [y.detach(), *torch.autograd.grad(y, self.leaves, self.grad_y.to(y.dtype))]

    def seconds(self, gradients: bool) -> float:
        clock = time.perf_counter if self.compute.on_card else time.process_time
        start = clock()
        if gradients:
            self.both()
        else:
            with torch.no_grad():
                self.forward()
        if self.compute.on_card:
            torch.cuda.synchronize(self.compute.device)
        return clock() - start


def check(layer: Layer, product: Product, rows: int) -> None:
    """Compare a path with the masked dense layer.

    Raises:
        AssertionError: They differ by more than rounding.
    """
    masked = Layer(masked_linear, layer.structure, rows, layer.compute)
    mask = layer.structure.mask
    for place, (one, other) in enumerate(zip(layer.both(), masked.both(), strict=True)):
        if place == 2:  # the weight's gradient, of which masks leave a part
            one, other = one * mask, other * mask
        off = float((one - other).float().norm() / other.float().norm())
        assert off < (1e-4 if layer.compute.dtype == torch.float32 else 2e-2), (product, off)


def compile_kernels() -> None:
    """Compile the Triton kernels for cards of compute capability 8.0 and 9.0.

    Raises:
        triton.compiler.errors.CompilationError: One does not compile.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from tenfold.algorithms.mst import block_kernels

    tables = {"start", "place", "inputs", "outputs"}
    matrices = {"matrix", "weight", "out", "x", "grad_y"}
    cases = [
        (kernel, capability, dtype, side)
        for kernel in (block_kernels._product, block_kernels._sampled)
        for capability in (80, 90)
        for dtype in ("fp32", "bf16")
        for side in block_kernels.SIDES
    ]
    for kernel, capability, dtype, side in cases:
        types = {
            name: "*i32" if name in tables else f"*{dtype}" if name in matrices else "i32"
            for name in kernel.arg_names
        }
        constants = {"SIDE": side, "ROWS": block_kernels._ROWS}
        source = ASTSource(
            fn=kernel,
            signature=types | dict.fromkeys(constants, "constexpr"),
            constexprs={(kernel.arg_names.index(name),): v for name, v in constants.items()},
        )
        triton.compile(source, target=GPUTarget("cuda", capability, 32))
    print(f"{len(cases)} kernels compile")


def check_kernels() -> None:
    """Compare the Triton kernels with masked dense products, in float32.

    Raises:
        AssertionError: They differ by more than rounding.
    """
    from tenfold.algorithms.mst import block_kernels

    for side, n_in, n_out, rows, density in ((16, 48, 64, 70, 0.4), (32, 64, 96, 130, 0.5)):
        mask = block_product(side).draw(n_in, n_out, density)
        structure = BlockStructure.from_mask(mask, side)
        x, weight, grad_y = (torch.randn(n) for n in ((rows, n_in), (n_in, n_out), (rows, n_out)))
        outs, ins = structure.by_output, structure.by_input
        found = (
            block_kernels.product(x, weight, outs.start, outs.place, side),
            block_kernels.product(grad_y, weight.t(), ins.start, ins.place, side),
            block_kernels.sampled_product(x, grad_y, outs.place, structure.outputs, side),
        )
        masked = weight * mask
        wanted = (x @ masked, grad_y @ masked.t(), (x.t() @ grad_y) * mask)
        for one, other in zip(found, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
        print(f"blocks of {side}: the kernels give the masked dense products")


def interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean of ratios, and the ends of its 95 % Student-t interval."""
    found = mean_interval(np.log(ratios))
    mean, low, high = np.exp(np.array([found.value, found.low, found.high], float))
    return float(mean), float(low), float(high)


def measure(
    sizes: Sequence[tuple[int, int]], rows: int, repeats: int, compute: Compute
) -> tuple[Table, Table]:
    """Speed-ups by layer, density and path, and where each path breaks even."""
    title = f"{rows} rows, {str(compute.dtype).removeprefix('torch.')}"
    table = Table("layer", "density", "path", "ms", "forward", "with gradients", title=title)
    even = Table("layer", "path", "not slower up to density", title="break-even")
    for n_in, n_out in sizes:
        wins: dict[str, list[tuple[float, bool]]] = {}
        for density in DENSITIES:
            layers = {"dense": Layer(dense_linear, _ones(n_in, n_out, compute), rows, compute)}
            for name, product in products(compute.on_card).items():
                if name == "2:4" and density != 0.5:
                    continue
                mask = product.draw(n_in, n_out, density).to(compute.device)
                try:
                    layers[name] = Layer(product.linear, product.structure(mask), rows, compute)
                    check(layers[name], product, rows)
                except (RuntimeError, ImportError, ValueError) as error:
                    del layers[name]
                    table.add_row(f"{n_in}x{n_out}", f"{density:g}", name, "-", str(error)[:60], "")
            times: dict[bool, dict[str, list[float]]] = {}
            for gradients in (False, True):
                found = {name: [layer.seconds(gradients)] for name, layer in layers.items()}
                for _ in range(repeats):
                    for name, layer in layers.items():
                        found[name].append(layer.seconds(gradients))
                times[gradients] = {name: taken[1:] for name, taken in found.items()}
            for name in layers:
                ups = [
                    interval([d / t for d, t in zip(found["dense"], found[name], strict=True)])
                    for found in (times[False], times[True])
                ]
                cells = ["1", "1"]
                if name != "dense":
                    cells = [f"{mean:.2f} [{low:.2f}, {high:.2f}]" for mean, low, high in ups]
                    wins.setdefault(name, []).append((density, ups[1][1] > 1))
                median = 1e3 * float(np.median(times[True][name]))
                row = (f"{n_in}x{n_out}", f"{density:g}", name, f"{median:.2f}", *cells)
                table.add_row(*row)
                print(*row, sep="  ", file=sys.stderr, flush=True)  # kept if the rest is cut off
        for name, found_at in wins.items():
            even.add_row(f"{n_in}x{n_out}", name, break_even(found_at))
    return table, even


def break_even(wins: Sequence[tuple[float, bool]]) -> str:
    """The largest density up to which a path wins at all that were tried."""
    largest = "none of those tried"
    for density, won in sorted(wins):
        if not won:
            break
        largest = f"{density:g}"
    return largest


def _ones(n_in: int, n_out: int, compute: Compute) -> _Mask:
    return _Mask(torch.ones(n_in, n_out, dtype=torch.bool, device=compute.device))


def report(on_card: bool, rows: int | None = None, repeats: int = 9) -> list[Table]:
    """The tables of a device; on the CPU of one thread."""
    if not on_card:
        torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message=".*[Ss]parse", category=UserWarning)  # a prototype
    compute = Compute(torch.device("cuda", 0), torch.bfloat16) if on_card else Compute(CPU)
    sizes = ON_CARD if on_card else ON_CPU
    return list(measure(sizes, rows or (16_384 if on_card else 512), repeats, compute))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Masked linear layers, dense, by blocks, 2:4.")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cpu")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--kernels", action="store_true", help="Check the Triton kernels only.")
    options = parser.parse_args()
    if options.kernels:
        (check_kernels if os.environ.get("TRITON_INTERPRET") == "1" else compile_kernels)()
        return
    for table in report(options.device == "cuda", options.rows, options.repeats):
        Console(width=110).print(table)


if __name__ == "__main__":
    main()
