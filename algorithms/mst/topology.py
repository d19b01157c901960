"""One topology step of one layer: which weights go, and which come.

All functions work on a layer's tensors of one shape; scores decide, and ties are broken by
position, so that every worker with the same scores makes the same choice. A weight may also stand
for a unit of several, see `granularity`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
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


@dataclass(frozen=True)
class GroupLimit:
    """At most so many active weights in each group of consecutive ones.

    Attributes:
        axis: Along which they are consecutive; its length is a multiple of `size`.
        most: Active weights of a group.
        size: Weights of a group.
    """

    axis: int
    most: int
    size: int

    def within(self, scores: torch.Tensor, taken: torch.Tensor) -> torch.Tensor:
        """Scores of what there is room for, -inf elsewhere.

        In each group that is as many of the best as are missing to `most`, so that the largest of
        what is left, however many, keep to the limit, and no others that do have a larger sum.

        Args:
            scores: Of candidates, -inf of others.
            taken: Active weights, bool.
        """
        grouped = self._grouped(scores)
        room = self.most - self._grouped(taken).sum(dim=-1, keepdim=True)
        order = grouped.argsort(dim=-1, descending=True, stable=True)
        place = order.argsort(dim=-1)
        left = torch.where(place < room, grouped, -torch.inf)
        return left.flatten(-2).movedim(-1, self.axis)

    def holds(self, mask: torch.Tensor) -> bool:
        """Whether a mask keeps to it."""
        return int(self._grouped(mask).sum(dim=-1).max()) <= self.most

    def _grouped(self, values: torch.Tensor) -> torch.Tensor:
        return values.movedim(self.axis, -1).unflatten(-1, (-1, self.size))


def evolve(
    mask: torch.Tensor,
    keep_score: torch.Tensor,
    grow_score: torch.Tensor,
    target: int,
    zeta: float,
    gradient_share: float,
    generator: np.random.Generator,
    limit: GroupLimit | None = None,
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
        generator: Of the uniform choice, the same wherever the layer is.
        limit: What the new mask keeps to; `target` must have room in it. The old mask need not if
            it is full.

    Returns:
        The new mask, and the weights that stayed active throughout (bool).
    """
    active = int(mask.sum())
    prune = max(int(zeta * active), active - target)
    grow = prune - (active - target)
    none = torch.zeros_like(mask)
    kept = _best(torch.where(mask, keep_score, -torch.inf), active - prune, none, limit)
    by_gradient = round(grow * gradient_share)
    grown = _best(torch.where(kept, -torch.inf, grow_score), by_gradient, kept, limit)
    new = kept | grown
    free = mask.numel() - (active - prune + by_gradient)
    return new | _any(new, free, grow - by_gradient, generator, limit), kept


def first_mask(
    weight: torch.Tensor,
    active: int,
    kind: str,
    generator: np.random.Generator,
    limit: GroupLimit | None = None,
) -> torch.Tensor:
    """A mask with `active` weights: the largest (``magnitude``) or any (``random``)."""
    none = torch.zeros_like(weight, dtype=torch.bool)
    if kind == "random":
        return _any(none, none.numel(), active, generator, limit)
    return _best(weight.abs(), active, none, limit)


def _best(
    scores: torch.Tensor, count: int, taken: torch.Tensor, limit: GroupLimit | None
) -> torch.Tensor:
    """The places of the largest scores that a limit has room for beside those taken, bool."""
    if limit is not None:
        scores = limit.within(scores, taken)
    return _marked(_largest(scores.flatten(), count), taken)


def _any(
    taken: torch.Tensor,
    free: int,
    count: int,
    generator: np.random.Generator,
    limit: GroupLimit | None,
) -> torch.Tensor:
    """Places of `count` of the weights not taken, each as likely as any other, bool.

    Drawn on the CPU wherever the layer is. Only what is chosen is drawn: to draw lots for all
    weights, as a limit wants it, takes most of a topology step of a large layer on a card. How many
    are `free` the caller knows without waiting for that card.
    """
    if limit is not None:
        lots = torch.from_numpy(generator.random(taken.shape)).to(taken.device)
        return _best(torch.where(taken, -torch.inf, lots), count, taken, limit)
    places = (~taken).flatten().nonzero().flatten()
    chosen = generator.choice(free, count, replace=False, shuffle=False)
    return _marked(places[torch.from_numpy(chosen).to(places.device)], taken)


def _marked(places: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A mask of the given shape that is on at these places of it, flattened."""
    found = torch.zeros_like(like).flatten()
    found[places] = True
    return found.view_as(like)


def _largest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Places of the `count` largest scores (NaN as infinity), the first ones among equals.

    By selection, which takes a seventh of a stable sort's time or less.
    """
    if count == 0:
        return torch.zeros(0, dtype=torch.int64, device=scores.device)
    scores = scores.nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)
    least = scores.topk(count, sorted=False).values.min()  # kthvalue is one block on a card
    above = (scores > least).nonzero().flatten()
    equal = (scores == least).nonzero().flatten()
    return torch.cat([above, equal[: count - len(above)]])
