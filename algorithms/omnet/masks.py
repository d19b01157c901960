"""The K fixed binary masks of an OMNet (arXiv:2310.14009): stage 1, initialisation.

Subnetwork k computes f(x; theta * M^k). The masks are drawn once, before training, and then frozen.
Two granularities:

- "weight": M^k_l is a matrix of the shape of layer l's weight, kept with the layer's density d_l.
- "unit": subnetwork k keeps n_l = round((1 - S) H_l) units of each hidden layer, so that it is a
  smaller dense network (`tenfold.algorithms.omnet.layers` runs it as one). Between two hidden
  layers it keeps about (1 - S)^2 of the weights.

And three kinds of overlap between the K masks: "independent" draws; "balanced", in which owners are
spread evenly, so that no weight is dead where K (1 - S) >= 1; and "masksembles" (Durasov et al.,
arXiv:2012.08334), the units' masks whose overlap follows from one scale.

The paper says fixed random masks, K = 5 and S = 0.5; densities, overlap and granularity are
reconstructed.
"""

import hashlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Granularity = Literal["weight", "unit"]
Overlap = Literal["independent", "balanced", "masksembles"]
Density = Literal["er", "uniform"]


@dataclass(frozen=True)
class MaskScheme:
    """How masks are drawn.

    Attributes:
        num_subnets: K.
        sparsity: S, the share of weights (or of hidden units) that a subnetwork leaves out.
        layer_density: Weights' densities: Erdos-Renyi or the same in every layer.
        dense_input: The first layer is not masked. Masking it stopped learning altogether.
        dense_output: The last layer is not masked.
        granularity: Weights or hidden units.
        overlap: How the K masks overlap.
        seed: Of the draws; equal seeds give equal masks.
    """

    num_subnets: int = 1
    sparsity: float = 0.0
    layer_density: Density = "er"
    dense_input: bool = True
    dense_output: bool = True
    granularity: Granularity = "weight"
    overlap: Overlap = "independent"
    seed: int = 0

    @property
    def dense(self) -> bool:
        """Whether nothing is masked at all."""
        return self.sparsity == 0.0


@dataclass(frozen=True)
class Masks:
    """The masks of one multilayer perceptron.

    Attributes:
        num_subnets: K.
        weights: For each layer (K, I, O), bool, or None for a dense one; weight granularity.
        units: For each hidden layer (K, n), int64, the units that are kept, in ascending order;
            unit granularity.
        densities: For each layer, the density of its weights that was asked for.
    """

    num_subnets: int
    weights: tuple[np.ndarray | None, ...]
    units: tuple[np.ndarray, ...]
    densities: tuple[float, ...]

    @property
    def digest(self) -> str:
        """A hash of all masks, which a checkpoint carries."""
        found = hashlib.sha256()
        for mask in (*self.weights, *self.units):
            found.update(b"-" if mask is None else repr(mask.shape).encode())
            if mask is not None:
                packed = np.packbits(mask) if mask.dtype == bool else mask
                found.update(packed.tobytes())
        return found.hexdigest()


def make_masks(sizes: Sequence[int], scheme: MaskScheme, key: str = "sparsity") -> Masks:
    """Draw the masks of a multilayer perceptron.

    Args:
        sizes: Units of each layer, inputs first and outputs last.
        scheme: How to draw.
        key: What a user sets the sparsity by, for refusals.

    Raises:
        ValueError: The scheme cannot be drawn, or a subnetwork cuts an output off from every input.
    """
    rng = np.random.default_rng([scheme.seed, len(sizes)])
    K, layers = scheme.num_subnets, list(itertools.pairwise(sizes))
    if scheme.granularity == "unit":
        kept = [max(1, round((1.0 - scheme.sparsity) * H)) for H in sizes[1:-1]]
        units = tuple(
            _unit_masks(H, n, K, scheme.overlap, rng)
            for H, n in zip(sizes[1:-1], kept, strict=True)
        )
        shares = [1.0, *(n / H for n, H in zip(kept, sizes[1:-1], strict=True)), 1.0]
        pairs = tuple(a * b for a, b in itertools.pairwise(shares))
        return Masks(K, (None,) * len(layers), units, pairs)
    if scheme.overlap == "masksembles":
        raise ValueError(
            "Bad value 'masksembles' for 'mask_overlap': its masks are of units, so set "
            "mask_granularity=unit or choose independent, balanced."
        )
    densities = layer_densities(layers, scheme)
    draw = _balanced_weights if scheme.overlap == "balanced" else _independent_weights
    weights = tuple(
        None if d >= 1.0 else draw(shape, d, K, rng)
        for shape, d in zip(layers, densities, strict=True)
    )
    _check_paths(sizes, weights, scheme, key)
    return Masks(K, weights, (), tuple(densities))


def layer_densities(shapes: Sequence[tuple[int, int]], scheme: MaskScheme) -> list[float]:
    """The density d_l of each layer's weights.

    Of the layers that may be masked, a share 1 - S of all weights is kept. Uniform densities are
    1 - S in each. Erdos-Renyi densities are min(1, eps (I_l + O_l) / (I_l O_l)) with eps such that
    sum_l d_l I_l O_l = (1 - S) sum_l I_l O_l; layers that would pass 1 are dense and eps is solved
    again over the rest.

    Args:
        shapes: (I_l, O_l) of each layer.
        scheme: S, the density rule, and whether the first and last layers are dense.

    Raises:
        ValueError: No layer is left to mask.
    """
    last = len(shapes) - 1
    masked = [
        i
        for i in range(len(shapes))
        if not (i == 0 and scheme.dense_input) and not (i == last and scheme.dense_output)
    ]
    densities = [1.0] * len(shapes)
    if scheme.dense:
        return densities
    if not masked:
        raise ValueError(
            "Bad value for 'model_config.fcnet_hiddens': with one hidden layer the first and the "
            "last layer are all there is to mask; give two hidden layers or more, or set "
            "dense_input=false."
        )
    if scheme.layer_density == "uniform":
        for i in masked:
            densities[i] = 1.0 - scheme.sparsity
        return densities
    budget = (1.0 - scheme.sparsity) * sum(math.prod(shapes[i]) for i in masked)
    open_ = list(masked)
    while open_:
        eps = budget / sum(sum(shapes[i]) for i in open_)
        full = [i for i in open_ if eps * sum(shapes[i]) >= math.prod(shapes[i])]
        if not full:
            for i in open_:
                densities[i] = eps * sum(shapes[i]) / math.prod(shapes[i])
            break
        budget -= sum(math.prod(shapes[i]) for i in full)
        open_ = [i for i in open_ if i not in full]
    return densities


def masksembles_scale(share: float, num_masks: int) -> float:
    """The scale s of masks that each keep a share of the units, every unit being kept by some mask.

    Of m s positions each mask draws m; the share 1 - (1 - 1/s)^K of positions that some mask draws
    becomes the width, so share = 1 / (s (1 - (1 - 1/s)^K)) (arXiv:2012.08334, section 3.2).

    Args:
        share: Of the units that a mask keeps, in [1 / K, 1].
        num_masks: K.

    Raises:
        ValueError: K masks of this share cannot cover all units.
    """
    if share * num_masks < 1.0 - 1e-9:
        raise ValueError(
            f"Bad value {1.0 - share:.4g} for 'sparsity': {num_masks} masksembles masks cover all "
            f"units only up to {1.0 - 1.0 / num_masks:.4g}."
        )
    low, high = 1.0, 1e6
    for _ in range(200):
        s = math.sqrt(low * high)
        wide = s * -math.expm1(num_masks * math.log1p(-1.0 / s)) if s > 1.0 else 1.0
        low, high = (s, high) if wide < 1.0 / share else (low, s)
    return low


def overlap_matrix(masks: Masks, sizes: Sequence[int]) -> np.ndarray:
    """Jaccard index of the kept entries of each pair of subnetworks, (K, K).

    Entries are the weights of masked layers, or the units of hidden layers; all ones if nothing is
    masked.
    """
    flat = [mask.reshape(len(mask), -1) for mask in masks.weights if mask is not None]
    for kept, width in zip(masks.units, sizes[1:-1], strict=False):
        flat.append(_as_booleans(kept, width))
    if not flat:
        return np.ones((masks.num_subnets, masks.num_subnets))
    kept = np.concatenate(flat, axis=1).astype(np.float64)
    both = kept @ kept.T
    single = np.diag(both)
    return both / (single[:, None] + single[None, :] - both)


def _independent_weights(
    shape: tuple[int, int], density: float, K: int, rng: np.random.Generator
) -> np.ndarray:
    return rng.random((K, *shape)) < density


def _balanced_weights(
    shape: tuple[int, int], density: float, K: int, rng: np.random.Generator
) -> np.ndarray:
    """Each weight has floor or ceil of K d owners, at random, such that the density is d."""
    owners = np.floor(K * density + rng.random(shape))
    ranks = rng.random((K, *shape)).argsort(axis=0)
    return ranks < owners


def _unit_masks(H: int, n: int, K: int, overlap: Overlap, rng: np.random.Generator) -> np.ndarray:
    if overlap == "masksembles":
        return _masksembles(H, n, K, rng)
    if overlap == "balanced":
        return _balanced_units(H, n, K, rng)
    return np.stack([np.sort(rng.permutation(H)[:n]) for _ in range(K)])


def _balanced_units(H: int, n: int, K: int, rng: np.random.Generator) -> np.ndarray:
    """Each unit has floor or ceil of K n / H owners, and each mask keeps exactly n units."""
    owners = np.full(H, K * n // H)
    owners[rng.permutation(H)[: K * n % H]] += 1
    kept = rng.random((K, H)).argsort(axis=0) < owners
    while (sums := kept.sum(axis=1)).max() > n:
        giver, taker = sums.argmax(), sums.argmin()
        unit = rng.choice(np.flatnonzero(kept[giver] & ~kept[taker]))
        kept[giver, unit], kept[taker, unit] = False, True
    return np.stack([np.flatnonzero(row) for row in kept])


def _masksembles(H: int, n: int, K: int, rng: np.random.Generator) -> np.ndarray:
    """Masks of n units over round(n s) positions, of which those that some mask keeps are the H."""
    s = masksembles_scale(n / H, K)
    nearest = round(n * s) + np.array([0, 1, -1, 2, -2, 3, -3])
    positions = nearest[(nearest >= H) & (nearest <= max(H, K * n))]
    for attempt in range(100_000):
        total = positions[attempt // 1_000 % len(positions)]
        kept = np.zeros((K, total), dtype=bool)
        for row in kept:
            row[rng.permutation(total)[:n]] = True
        used = kept.any(axis=0)
        if used.sum() == H:
            return np.stack([np.flatnonzero(row) for row in kept[:, used]])
    raise ValueError(
        f"Bad value for 'mask_overlap': no masksembles masks of {n} of {H} units were found; "
        "choose balanced."
    )


def _as_booleans(kept: np.ndarray, width: int) -> np.ndarray:
    """(K, n) indices as (K, H) truth values."""
    found = np.zeros((len(kept), width), dtype=bool)
    np.put_along_axis(found, kept, True, axis=1)
    return found


def _check_paths(
    sizes: Sequence[int], weights: Sequence[np.ndarray | None], scheme: MaskScheme, key: str
) -> None:
    """Refuse masks in which an output has no path to any input."""
    reached = np.ones((scheme.num_subnets, sizes[0]), dtype=bool)
    for mask, width in zip(weights, sizes[1:], strict=True):
        if mask is None:
            reached = np.repeat(reached.any(axis=1, keepdims=True), width, axis=1)
        else:
            reached = np.einsum("ki,kio->ko", reached, mask) > 0
    if not reached.all():
        k = int(np.flatnonzero(~reached.all(axis=1))[0])
        raise ValueError(
            f"Bad value {scheme.sparsity:.4g} for '{key}': subnetwork {k} has an output that no "
            f"input reaches; lower it, widen the layers, or choose another mask_seed."
        )
