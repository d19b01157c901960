"""OMNet's masks: densities, overlap, granularity, refusals. Costs two processor seconds."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from masksembles.common import generation_wrapper

from tenfold.algorithms.omnet.masks import (
    MaskScheme,
    layer_densities,
    make_masks,
    masksembles_scale,
    overlap_matrix,
)

HOPPER = [14, 256, 256, 1]


def kept_of(masks) -> np.ndarray:
    """The masked weights of all layers, (K, n)."""
    drawn = [mask for mask in masks.weights if mask is not None]
    return np.concatenate([mask.reshape(len(mask), -1) for mask in drawn], axis=1)


@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 64), min_size=4, max_size=6),
    sparsity=st.floats(0.05, 0.9),
    dense_input=st.booleans(),
)
def test_erdos_renyi_densities_keep_the_share_that_was_asked_for(sizes, sparsity, dense_input):
    shapes = list(itertools.pairwise(sizes))
    scheme = MaskScheme(sparsity=sparsity, dense_input=dense_input)
    densities = layer_densities(shapes, scheme)
    masked = range(0 if not dense_input else 1, len(shapes) - 1)
    weights = {i: shapes[i][0] * shapes[i][1] for i in masked}
    kept = sum(densities[i] * weights[i] for i in masked)
    assert kept == pytest.approx((1 - sparsity) * sum(weights.values()))
    assert densities[-1] == 1.0
    # Below 1, densities are in proportion to (I + O) / (I O): one eps for all.
    eps = [densities[i] * weights[i] / sum(shapes[i]) for i in masked if densities[i] < 1.0]
    np.testing.assert_allclose(eps, eps[:1] * len(eps))
    assert all(0.0 < density <= 1.0 for density in densities)


def test_erdos_renyi_makes_small_layers_denser_than_large_ones():
    shapes = list(itertools.pairwise(HOPPER))
    er = layer_densities(shapes, MaskScheme(sparsity=0.5, dense_input=False, dense_output=False))
    assert er[0] == er[2] == 1.0
    assert er[1] == pytest.approx(0.5 - 0.5 * (14 * 256 + 256) / 256**2)
    even = MaskScheme(sparsity=0.5, layer_density="uniform", dense_input=False)
    assert layer_densities(shapes, even) == [0.5, 0.5, 1.0]
    assert layer_densities(shapes, MaskScheme(sparsity=0.5)) == [1.0, 0.5, 1.0]


def test_independent_masks_overlap_and_die_as_often_as_chance_says():
    kept = kept_of(make_masks(HOPPER, MaskScheme(5, 0.5)))
    n = kept.shape[1]
    sigma = 0.5 / n**0.5
    both = (kept[:, None] & kept[None]).mean(axis=-1)[~np.eye(5, dtype=bool)]
    assert np.abs(both - 0.25).max() < 5 * sigma
    assert abs((~kept.any(axis=0)).mean() - 0.5**5) < 5 * sigma
    overlap = overlap_matrix(make_masks(HOPPER, MaskScheme(5, 0.5)), HOPPER)
    assert np.diag(overlap) == pytest.approx(1.0)
    assert np.abs(overlap[~np.eye(5, dtype=bool)] - 1 / 3).max() < 0.01


def test_balanced_weights_have_owners_that_differ_by_at_most_one():
    kept = kept_of(make_masks(HOPPER, MaskScheme(5, 0.5, overlap="balanced")))
    assert set(np.unique(kept.sum(axis=0))) == {2, 3}
    assert kept.mean() == pytest.approx(0.5, abs=0.01)


@settings(max_examples=25, deadline=None)
@given(K=st.integers(1, 7), width=st.integers(4, 40), sparsity=st.floats(0.0, 0.9))
def test_balanced_units_are_spread_evenly(K, width, sparsity):
    scheme = MaskScheme(K, sparsity, granularity="unit", overlap="balanced", seed=K)
    (units,) = make_masks([3, width, 1], scheme).units
    assert units.shape == (K, max(1, round((1 - sparsity) * width)))
    owners = np.bincount(units.ravel(), minlength=width)
    assert owners.max() - owners.min() <= 1
    assert all(len(set(row)) == len(row) for row in units.tolist())


def test_masksembles_masks_are_those_of_the_package():
    """Same number of ones and the same mean overlap as `masksembles` draws, at equal scale."""
    K, width, share = 4, 64, 0.5
    s = masksembles_scale(share, K)
    np.random.seed(0)
    theirs = np.mean([_mean_overlap(generation_wrapper(width, K, s) > 0) for _ in range(20)])
    ours = []
    for seed in range(20):
        scheme = MaskScheme(K, 1 - share, granularity="unit", overlap="masksembles", seed=seed)
        (units,) = make_masks([3, width, 1], scheme).units
        kept = np.zeros((K, width), bool)
        np.put_along_axis(kept, units, True, axis=1)
        assert kept.any(axis=0).all()  # no unit is dead
        assert (kept.sum(axis=1) == round(share * width)).all()
        ours.append(_mean_overlap(kept))
    assert np.mean(ours) == pytest.approx(theirs, abs=0.5)
    assert np.mean(ours) == pytest.approx(share * width / s, abs=0.5)  # of m ones, a share 1 / s


def _mean_overlap(kept: np.ndarray) -> float:
    pairs = itertools.combinations(kept, 2)
    return float(np.mean([(a & b).sum() for a, b in pairs]))


def test_scale_of_masksembles_solves_its_equation():
    for share, K in ((0.5, 4), (0.3, 8), (0.9, 3)):
        s = masksembles_scale(share, K)
        assert 1 / (s * (1 - (1 - 1 / s) ** K)) == pytest.approx(share, rel=1e-6)
    assert masksembles_scale(1.0, 4) == pytest.approx(1.0, abs=1e-6)


def test_masks_follow_their_seed():
    scheme = MaskScheme(3, 0.5)
    assert make_masks(HOPPER, scheme).digest == make_masks(HOPPER, scheme).digest
    assert (
        make_masks(HOPPER, scheme).digest != make_masks(HOPPER, MaskScheme(3, 0.5, seed=1)).digest
    )


@pytest.mark.parametrize(
    ("sizes", "scheme", "sentence"),
    [
        ([3, 8, 1], MaskScheme(5, 0.5), "two hidden layers or more"),
        ([3, 4, 4, 1], MaskScheme(5, 0.95), "an output that no input reaches"),
        ([3, 8, 8, 1], MaskScheme(5, 0.5, overlap="masksembles"), "mask_granularity=unit"),
        (
            [3, 20, 1],
            MaskScheme(2, 0.8, granularity="unit", overlap="masksembles"),
            "only up to 0.5",
        ),
    ],
    ids=["one hidden layer", "no path", "weights", "too sparse"],
)
def test_masks_that_cannot_be_are_refused(sizes, scheme, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_masks(sizes, scheme)
