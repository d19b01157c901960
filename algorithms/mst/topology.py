"""One topology step of one layer: which weights go, and which come.

All functions work on a layer's tensors of one shape; scores decide, and ties are broken by
position, so that every worker with the same scores makes the same choice.
"""

from collections.abc import Callable

import torch

Score = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]

DROP: dict[str, Score] = {
    "magnitude": lambda weight, gradient, balance: weight.abs(),
    "mest": lambda weight, gradient, balance: weight.abs() + balance * gradient.abs(),
}
"""What keeps a weight: |W|, or |W| + lambda |G| (MEST)."""

GRADIENT_SHARE: dict[str, Callable[[float], float]] = {
    "random": lambda ratio: 0.0,
    "gradient": lambda ratio: 1.0,
    "mixed": lambda ratio: ratio / (ratio + 1),
}
"""Share of the new weights that is chosen by |G|: none (SET), all (RigL), r / (r + 1) (MST)."""


def evolve(
    mask: torch.Tensor,
    keep_score: torch.Tensor,
    grow_score: torch.Tensor,
    target: int,
    zeta: float,
    gradient_share: float,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Prune the weakest active weights and grow others, to `target` active ones.

    With n active weights, n_prune = max(int(zeta n), n - target) go and
    n_grow = n_prune - (n - target) come; a weight that was just pruned may come back, at 0.

    Args:
        mask: Active weights, bool.
        keep_score: Score by which active weights stay.
        grow_score: Score by which inactive ones come, the size of the dense gradient.
        target: Number of active weights afterwards.
        zeta: Fraction of active weights to replace.
        gradient_share: Fraction of the new weights chosen by `grow_score`, the rest uniformly.
        generator: Of the uniform choice, on the CPU wherever the layer is.

    Returns:
        The new mask, and the weights that stayed active throughout (bool).
    """
    active = int(mask.sum())
    prune = max(int(zeta * active), active - target)
    grow = prune - (active - target)
    kept = torch.zeros_like(mask.flatten())
    scores = torch.where(mask, keep_score, -torch.inf).flatten()
    kept[_largest(scores, active - prune)] = True
    by_gradient = round(grow * gradient_share)
    new = kept.clone()
    candidates = torch.where(kept, -torch.inf, grow_score.flatten())
    new[_largest(candidates, by_gradient)] = True
    # Every candidate that is left is as likely as any other.
    lots = torch.rand(new.shape, generator=generator, dtype=torch.float64).to(new.device)
    new[_largest(torch.where(new, -torch.inf, lots), grow - by_gradient)] = True
    return new.view_as(mask), kept.view_as(mask)


def first_mask(
    weight: torch.Tensor, active: int, kind: str, generator: torch.Generator
) -> torch.Tensor:
    """A mask with `active` weights: the largest (``magnitude``) or any (``random``)."""
    random = kind == "random"
    scores = torch.rand(weight.shape, generator=generator) if random else weight.abs()
    mask = torch.zeros(weight.numel(), dtype=torch.bool, device=weight.device)
    mask[_largest(scores.to(mask.device).flatten(), active)] = True
    return mask.view_as(weight)


def _largest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Places of the `count` largest scores (NaN as infinity), the first ones among equals.

    By selection, which takes a seventh of a stable sort's time or less.
    """
    if count == 0:
        return torch.zeros(0, dtype=torch.int64, device=scores.device)
    scores = scores.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
    least = scores.kthvalue(len(scores) - count + 1).values
    above = (scores > least).nonzero().flatten()
    equal = (scores == least).nonzero().flatten()
    return torch.cat([above, equal[: count - len(above)]])
