"""Blocks and 2:4: what a mask switches as one, through topology steps, training and checkpoints.

About 5 processor seconds.
"""

import ast
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tenfold.algorithms import mst
from tenfold.algorithms.mst import METHOD
from tenfold.algorithms.mst import loop as loop_module
from tenfold.algorithms.mst.config import MSTConfig
from tenfold.algorithms.mst.execution import TWO_FOUR, block_product, product_for
from tenfold.algorithms.mst.granularity import Granularity
from tenfold.algorithms.mst.loop import MSTLoop
from tenfold.algorithms.mst.schedule import active_weights
from tenfold.algorithms.mst.sparse import KERNELS, masked_linear
from tenfold.algorithms.mst.sparse_blocks import BlockStructure, block_linear
from tenfold.algorithms.mst.topology import evolve, first_mask
from tenfold.platform.devices import Compute

TABLE = ((0.0, 0.0), (0.1, 0.5), (0.2, 0.75), (0.7, 0.5), (0.9, 0.0))
TINY: dict[str, Any] = {**METHOD.smoke, "steps": 20, "report_every": 10, "sparsity": TABLE}
BLOCKS: dict[str, Any] = {"granularity": "block", "block": 4}
FOURS: dict[str, Any] = {"granularity": "two_four"}
FOLDER = Path(str(mst.__file__)).parent
LIMIT = Granularity(two_four=True).limit(0, sparsity=0.5)
assert LIMIT is not None


def in_fours(mask: Tensor, axis: int = 0) -> Tensor:
    """Active weights of each group of four consecutive ones."""
    return mask.movedim(axis, -1).unflatten(-1, (-1, 4)).sum(dim=-1)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    active=st.integers(0, 24),
    target=st.integers(0, 24),
    zeta=st.floats(0, 0.9),
    share=st.floats(0, 1),
)
def test_a_topology_step_keeps_to_two_of_four(
    seed: int, active: int, target: int, zeta: float, share: float
) -> None:
    generator, lots = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    weight, gradient = torch.randn(2, 8, 6, generator=generator).abs()
    mask = first_mask(weight, active, "random", lots, LIMIT)
    assert int(mask.sum()) == active
    assert int(in_fours(mask).max()) <= 2
    new, kept = evolve(mask, weight, gradient, target, zeta, share, lots, LIMIT)
    assert int(new.sum()) == target
    assert int(in_fours(new).max()) <= 2
    assert int(kept.sum()) == active - max(int(zeta * active), active - target)
    assert bool((kept <= mask).all())
    assert bool((kept <= new).all())


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), target=st.integers(1, 4))
def test_two_of_four_from_dense_keep_as_much_as_any_mask_could(seed: int, target: int) -> None:
    generator, lots = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    weight = torch.randn(8, 1, generator=generator).abs()
    full = torch.ones(8, 1, dtype=torch.bool)
    new, _ = evolve(full, weight, weight, target, 0.0, 1.0, lots, LIMIT)
    sums = []
    for places in combinations(range(8), target):
        if all(sum(place // 4 == group for place in places) <= 2 for group in (0, 1)):
            sums.append(sum(float(weight[place]) for place in places))
    assert float(weight[new].sum()) == pytest.approx(max(sums))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), most=st.integers(0, 2))
def test_growth_by_gradient_takes_the_best_that_there_is_room_for(seed: int, most: int) -> None:
    generator, lots = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    gradient = torch.randn(8, 1, generator=generator).abs()
    mask = torch.zeros(8, 1, dtype=torch.bool)
    mask[:2] = True  # the first group is full
    new, _ = evolve(mask, gradient, gradient, 2 + most, 0.0, 1.0, lots, LIMIT)
    assert set((new & ~mask).flatten().nonzero().flatten().tolist()) == set(
        (gradient[4:].flatten().topk(most).indices + 4).tolist()
    )


def test_blocks_go_and_come_by_the_sums_of_their_weights() -> None:
    units = Granularity(block=2)
    scores = torch.tensor([[1.0, 2, 9, 0], [0, 3, 0, 0], [4, 0, 5, 5], [0, 0, 0, 1]])
    assert units.summed(scores).tolist() == [[6, 9], [4, 11]]
    kept = units.spread(torch.tensor([[False, True], [False, True]]))
    assert torch.equal(kept, torch.tensor([[False, False, True, True]] * 4))
    assert torch.equal(units.reduced(kept), torch.tensor([[False, True]] * 2))
    assert units.fits(kept, 0)
    kept[0, 3] = False
    assert not units.fits(kept, 0)
    assert Granularity().fits(kept, 0)


@pytest.mark.parametrize("sparsity", [0.5, 0.6, 0.9])
def test_no_layer_of_two_four_is_more_than_half_on(sparsity: float) -> None:
    shapes = [(16, 48), (16, 16), (16, 64), (64, 16)]
    counts = active_weights(shapes, "erdos_renyi", sparsity, most=0.5)
    sizes = [n * m for n, m in shapes]
    assert all(count <= size / 2 for count, size in zip(counts, sizes, strict=True))
    assert sum(counts) == pytest.approx((1 - sparsity) * sum(sizes), abs=4)


@pytest.mark.parametrize("units", [BLOCKS, {**FOURS, "mask_head": True}], ids=str)
def test_masks_keep_their_units_from_the_first_step_to_the_last(
    units: dict[str, Any], tmp_path: Path
) -> None:
    config = MSTConfig(**{**TINY, **units})
    config.check()
    loop, sparse = MSTLoop(config), 0
    for due in (2, 4, 7, 10, 14, 18, 20):
        loop.train(due)
        for name, mask in loop.masks.masks.items():
            axis = 1 if name.endswith("wte") else 0
            assert loop.masks.axes[name] == axis
            if not bool(mask.all()):
                sparse += 1
                if config.granularity == "two_four":
                    assert int(in_fours(mask, axis).max()) <= 2, (due, name)
                else:
                    blocks = mask.unflatten(1, (-1, 4)).unflatten(0, (-1, 4)).float()
                    assert bool((blocks.mean(dim=(1, 3)) % 1 == 0).all()), (due, name)
            off, weight = ~mask, loop.weights[name]
            state = loop.optimizer.inner.state[weight]
            for tensor in (weight, state["exp_avg"], state["exp_avg_sq"]):
                assert bool((tensor[off] == 0).all()), (due, name)
            assert loop.masks.counts[name] == int(mask.sum())
        if due == 10:
            assert loop.masks.density()["transformer.h.0.attn.c_attn"] < 0.5
            loop.save(tmp_path)
    assert sparse > 0
    assert loop.masks.active == loop.masks.size
    resumed = MSTLoop(config)
    resumed.load(tmp_path)
    resumed.train(20)
    for name, p in loop.workers.parameters.items():
        assert torch.equal(resumed.workers.parameters[name], p), name
    other = MSTLoop(MSTConfig(**{**TINY, **units, "granularity": "block", "block": 8}))
    with pytest.raises(ValueError, match="is of another 'granularity'"):
        other.load(tmp_path)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    rows=st.integers(1, 20),
    sides=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    side=st.sampled_from([2, 4, 8]),
    density=st.sampled_from([0.0, 0.2, 0.6, 1.0]),
)
def test_products_of_blocks_are_those_of_the_masked_dense_layer(
    rows: int, sides: tuple[int, int], side: int, density: float
) -> None:
    generator = torch.Generator().manual_seed(7)
    n_in, n_out = side * sides[0], side * sides[1]
    mask = block_product(side).draw(n_in, n_out, density)
    structure = BlockStructure.from_mask(mask, side)
    assert structure.density == pytest.approx(float(mask.float().mean()))
    leaves = [
        torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in ((rows, n_in), (n_in, n_out), (n_out,))
    ]
    grad_y = torch.randn(rows, n_out, generator=generator, dtype=torch.float64)
    found = []
    for path in (block_linear, masked_linear):
        y = path(leaves[0], leaves[1], structure, leaves[2])
        found.append([y.detach(), *torch.autograd.grad(y, leaves, grad_y)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    assert torch.count_nonzero(found[0][2][~mask]) == 0


def test_blocks_that_are_off_are_not_read_and_half_precision_is_kept() -> None:
    mask = block_product(4).draw(8, 12, 0.5)
    structure = BlockStructure.from_mask(mask, 4)
    x, weight = torch.randn(2, 3, 8), torch.randn(8, 12)
    spoiled = torch.where(mask, weight, torch.nan)
    assert torch.equal(block_linear(x, spoiled, structure), block_linear(x, weight, structure))
    with Compute(dtype=torch.bfloat16).autocast():
        half = block_linear(x, weight, structure, torch.ones(12))
    assert half.dtype == torch.bfloat16
    assert half.shape == (2, 3, 12)
    torch.testing.assert_close(half.float(), x @ (weight * mask) + 1, rtol=0.05, atol=0.05)
    with pytest.raises(ValueError, match="not of whole blocks of 4"):
        BlockStructure.from_mask(torch.eye(8) > 0, 4)
    with pytest.raises(ValueError, match="sides multiples of 4"):
        BlockStructure.from_mask(torch.ones(8, 6, dtype=torch.bool), 4)


def test_products_of_blocks_train_the_same_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "product_for", lambda units, compute: block_product(4))
    dense = MSTLoop(MSTConfig(**{**TINY, **BLOCKS}))
    sparse = MSTLoop(MSTConfig(**{**TINY, **BLOCKS, "kernels": "auto"}))
    assert sparse.sparse_path is not None
    thresholds = sparse.sparse_path.calibration["thresholds"]
    thresholds.update(dict.fromkeys(thresholds, 1.0))  # blocks whatever the density
    ran: list[float] = []
    product = sparse.sparse_path.product.linear
    object.__setattr__(
        sparse.sparse_path.product,
        "linear",
        lambda x, w, structure, b: ran.append(structure.density) or product(x, w, structure, b),
    )
    for due in (6, 14, 20):
        dense.train(due)
        sparse.train(due)
        for name, p in dense.workers.parameters.items():
            torch.testing.assert_close(
                sparse.workers.parameters[name], p, rtol=1e-3, atol=1e-3, msg=name
            )
    assert min(ran) < 0.5


def test_what_runs_sparse_where() -> None:
    card = Compute(torch.device("cuda", 0), torch.bfloat16)
    half = Compute(dtype=torch.bfloat16)
    assert product_for(Granularity(), card) is None
    assert product_for(Granularity(), half) is None
    assert product_for(Granularity(two_four=True), card) is TWO_FOUR
    assert product_for(Granularity(two_four=True), half) is None
    for units in (Granularity(), Granularity(block=4), Granularity(two_four=True)):
        assert product_for(units, Compute()) is KERNELS
    for compute in (card, half):
        product = product_for(Granularity(block=4), compute)
        assert product is not None
        assert product.linear is block_linear
    mask = TWO_FOUR.draw(8, 6, 0.5)
    assert in_fours(mask).tolist() == [[2, 2]] * 6
    assert TWO_FOUR.structure(mask).density == 0.5
    assert TWO_FOUR.structure(torch.ones(8, 6, dtype=torch.bool)).density == 1  # so it runs dense


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"granularity": "block"}, "Bad value 'block' for 'granularity': a masked layer has 16 x"),
        ({**FOURS, "n_embd": 18}, "both must be multiples of 4; give another 'n_embd'"),
        ({**FOURS, "sparsity": ((0.0, 0.3),)}, "Bad value 0.3 in 'sparsity': with 'granularity'"),
        ({**BLOCKS, "sparsity": ((0.0, 0.99),)}, "a layer of width 16 would have no weight left"),
        ({**BLOCKS, "vocabulary": 258, "mask_head": True}, "a masked layer has 258 x 16 weights"),
        ({"sharding": "fsdp", "workers": 2, "sync": "quadratic"}, "'fsdp' for 'sharding': with"),
        ({"sharding": "fsdp", "workers": 2, "kernels": "auto"}, "'auto' for 'kernels': with"),
    ],
    ids=str,
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=r"\.$") as refusal:
        MSTConfig(**{**TINY, **fields}).check()
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_triton_can_read_the_annotations_of_its_kernels() -> None:
    """It compiles them, too, and refuses any name but of a constant; no card is here to say so."""
    kernels = [
        node
        for node in ast.walk(ast.parse((FOLDER / "block_kernels.py").read_text()))
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(each) == "triton.jit" for each in node.decorator_list)
    ]
    assert len(kernels) == 2
    for kernel in kernels:
        said = {ast.unparse(a.annotation) for a in kernel.args.args if a.annotation is not None}
        assert said == {"tl.constexpr"}
