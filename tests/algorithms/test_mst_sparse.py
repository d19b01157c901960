"""The sparse path of a masked linear layer agrees with the dense one and is used where it wins."""

import json
from collections.abc import Iterator

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tenfold.algorithms.mst import sparse
from tenfold.algorithms.mst.sparse import (
    Calibration,
    MaskStructure,
    calibrate,
    masked_linear,
    prefers_sparse,
    sparse_linear,
)


def layer(
    rows: int, n_in: int, n_out: int, density: float, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """x, W, b, the gradient of y and a mask."""
    generator = torch.Generator().manual_seed(7)
    shapes = ((rows, n_in), (n_in, n_out), (n_out,), (rows, n_out))
    numbers = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    mask = torch.rand(n_in, n_out, generator=generator) < density
    return numbers[0], numbers[1], numbers[2], numbers[3], mask


def by_autograd(
    x: Tensor, weight: Tensor, bias: Tensor, grad_y: Tensor, mask: Tensor
) -> list[Tensor]:
    """y and the three gradients in double precision, by torch alone."""
    leaves = [tensor.double().requires_grad_() for tensor in (x, weight, bias)]
    y = torch.addmm(leaves[2], leaves[0], torch.where(mask, leaves[1], 0.0))
    return [y.detach(), *torch.autograd.grad(y, leaves, grad_y.double())]


def by_kernels(
    x: Tensor, weight: Tensor, bias: Tensor, grad_y: Tensor, mask: Tensor
) -> list[Tensor]:
    """The same by the sparse path."""
    leaves = [tensor.clone().requires_grad_() for tensor in (x, weight, bias)]
    y = sparse_linear(leaves[0], leaves[1], MaskStructure.from_mask(mask), leaves[2])
    return [y.detach(), *torch.autograd.grad(y, leaves, grad_y)]


def assert_equal_up_to_rounding(got: list[Tensor], wanted: list[Tensor], relative: float) -> None:
    for one, other in zip(got, wanted, strict=True):
        assert one.shape == other.shape
        assert (one - other).norm() <= relative * other.norm()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    rows=st.integers(1, 200),
    n_in=st.integers(1, 70),
    n_out=st.integers(1, 70),
    density=st.sampled_from([0.0, 0.02, 0.1, 0.5, 1.0]),
)
@example(rows=1, n_in=1, n_out=1, density=1.0)
@example(rows=64, n_in=16, n_out=32, density=1.0)
@example(rows=65, n_in=17, n_out=15, density=0.1)
@example(rows=130, n_in=48, n_out=33, density=0.0)
def test_forward_and_gradients_are_those_of_the_masked_dense_layer(
    rows: int, n_in: int, n_out: int, density: float
) -> None:
    given_layer = layer(rows, n_in, n_out, density)
    mask = given_layer[-1]
    got = by_kernels(*given_layer)
    assert_equal_up_to_rounding(got, by_autograd(*given_layer), 1e-5)
    assert torch.count_nonzero(got[2][~mask]) == 0


def test_a_gpt2_sized_layer_agrees_with_empty_rows_and_columns() -> None:
    x, weight, bias, grad_y, mask = layer(1000, 256, 1024, 0.1)
    mask[5] = False
    mask[:, [0, 400, 1023]] = False
    got = by_kernels(x, weight, bias, grad_y, mask)
    assert_equal_up_to_rounding(got, by_autograd(x, weight, bias, grad_y, mask), 1e-5)
    assert torch.equal(got[0][:, 400], bias[400].expand(1000))
    assert torch.count_nonzero(got[1][:, 5]) == 0


def test_gradients_are_the_derivatives_in_double_precision() -> None:
    x, weight, bias, _, mask = layer(5, 19, 18, 0.3, torch.float64)
    structure = MaskStructure.from_mask(mask)
    leaves = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    assert torch.autograd.gradcheck(
        lambda x, weight, bias: sparse_linear(x, weight, structure, bias), leaves
    )


def test_inputs_of_any_layout_and_number_of_dimensions_without_a_bias() -> None:
    x, weight, _, grad_y, mask = layer(60, 20, 24, 0.2)
    deep = x.reshape(5, 12, 20).transpose(0, 1).requires_grad_()
    strided = weight.t().contiguous().t().requires_grad_()
    structure = MaskStructure.from_mask(mask)
    grad_y = grad_y.reshape(5, 12, 24).transpose(0, 1)
    results = []
    for path in (sparse_linear, masked_linear):
        y = path(deep, strided, structure)
        results.append([y.detach(), *torch.autograd.grad(y, (deep, strided), grad_y)])
    assert results[0][0].shape == (12, 5, 24)
    assert_equal_up_to_rounding(results[0], results[1], 1e-5)


def test_inactive_weights_are_not_read() -> None:
    x, weight, bias, grad_y, mask = layer(70, 30, 40, 0.1)
    clean = by_kernels(x, weight, bias, grad_y, mask)
    spoiled = by_kernels(x, torch.where(mask, weight, torch.nan), bias, grad_y, mask)
    assert all(torch.equal(a, b) for a, b in zip(clean, spoiled, strict=True))


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_two_runs_on_two_threads_give_the_same_bits() -> None:
    given_layer = layer(1000, 96, 128, 0.1)
    first = by_kernels(*given_layer)
    assert_equal_up_to_rounding(first, by_autograd(*given_layer), 1e-5)
    for _ in range(3):
        again = by_kernels(*given_layer)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_structure_is_the_csr_and_csc_index_of_the_mask() -> None:
    mask = layer(1, 37, 53, 0.15)[-1]
    mask[3], mask[:, 9] = False, False
    structure = MaskStructure.from_mask(mask)
    csr, csc = scipy.sparse.csr_matrix(mask.numpy()), scipy.sparse.csc_matrix(mask.numpy())
    np.testing.assert_array_equal(structure.input_start, csr.indptr)
    np.testing.assert_array_equal(structure.outputs, csr.indices)
    np.testing.assert_array_equal(structure.output_start, csc.indptr)
    np.testing.assert_array_equal(structure.inputs, csc.indices)
    assert structure.density == csr.nnz / (37 * 53)


def test_structure_does_not_follow_a_mask_that_changes() -> None:
    mask = layer(1, 8, 8, 0.5)[-1]
    structure = MaskStructure.from_mask(mask)
    active = int(mask.sum())
    mask.fill_(True)
    assert structure.mask.sum() == active == len(structure.inputs)


def test_full_and_empty_masks_and_unmeasured_shapes_are_dense() -> None:
    measured = json.loads(json.dumps(calibrate([(32, 48)], rows=64, repeats=1)))
    assert measured["rows"] == 64
    assert measured["threads"] == torch.get_num_threads()
    assert measured["thresholds"].keys() == {"32x48"}
    full = torch.ones(32, 48, dtype=torch.bool)
    assert not prefers_sparse(measured, MaskStructure.from_mask(full))
    always: Calibration = {"rows": 64, "threads": 1, "thresholds": {"32x48": 1.0}}
    assert prefers_sparse(always, MaskStructure.from_mask(full))
    assert not prefers_sparse(always, MaskStructure.from_mask(~full))
    assert not prefers_sparse(always, MaskStructure.from_mask(full.t()))


@pytest.mark.parametrize(
    ("sparse_seconds", "threshold"),
    [((1.0, 1.9, 2.0, 1.0), 0.1), ((2.5, 1.0, 1.0, 1.0), 0.0), ((1.0, 1.0, 1.0, 1.0), 0.4)],
)
def test_threshold_is_the_last_density_before_sparse_first_loses(
    monkeypatch: pytest.MonkeyPatch, sparse_seconds: tuple[float, ...], threshold: float
) -> None:
    left = iter(sparse_seconds)
    monkeypatch.setattr(
        sparse, "median_seconds", lambda runs, repeats: {"sparse": next(left), "dense": 2.0}
    )
    measured = calibrate([(16, 8)], rows=4, densities=(0.4, 0.05, 0.2, 0.1))
    assert measured["thresholds"] == {"16x8": threshold}


@pytest.mark.parametrize(
    ("x", "weight", "said"),
    [
        (torch.zeros(2, 3), torch.zeros(3, 4).bfloat16(), "float32 and torch.bfloat16"),
        (torch.zeros(2, 3).half(), torch.zeros(3, 4).half(), "float16"),
        (torch.zeros(2, 4), torch.zeros(3, 4), r"x \(2, 4\)"),
        (torch.zeros(2, 4), torch.zeros(4, 3), r"mask \(3, 4\)"),
    ],
)
def test_what_the_kernels_cannot_do_is_said(x: Tensor, weight: Tensor, said: str) -> None:
    structure = MaskStructure.from_mask(torch.ones(3, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match=said):
        sparse_linear(x, weight, structure)


@pytest.mark.parametrize("mask", [torch.ones(3, 4), torch.ones(3, dtype=torch.bool)])
def test_only_a_boolean_matrix_is_a_mask(mask: Tensor) -> None:
    with pytest.raises(ValueError, match="two-dimensional bool"):
        MaskStructure.from_mask(mask)
