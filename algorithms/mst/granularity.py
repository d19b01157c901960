"""What a mask switches on and off as one: a single weight, a square block, or two of every four.

Masks stay masks of weights, (n_in, n_out), whatever their granularity, so that what applies, saves
and counts them need not know of it; topology steps alone work on units. Blocks and 2:4 are ours,
not the paper's: they are the shapes that a GPU's matrix units can make use of.
"""

from dataclasses import dataclass

import torch

from tenfold.algorithms.mst.topology import GroupLimit

_FOUR = 4


@dataclass(frozen=True)
class Granularity:
    """The units of masks.

    Attributes:
        block: Side of the square blocks of weights that go on and off together; 1 for single ones.
        two_four: At most 2 of every 4 weights of an output to consecutive inputs are on (2:4
            semi-structured sparsity), wherever weights are off at all.
    """

    block: int = 1
    two_four: bool = False

    @classmethod
    def of(cls, name: str, block: int) -> "Granularity":
        """That of a config's ``granularity`` and ``block``."""
        return cls(block if name == "block" else 1, name == "two_four")

    @property
    def divisor(self) -> int:
        """What both sides of a layer must be multiples of."""
        return _FOUR if self.two_four else self.block

    def units(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Units along both sides of a layer."""
        return shape[0] // self.block, shape[1] // self.block

    def most(self, sparsity: float) -> float:
        """The largest density that a layer may have where this fraction of all weights is off."""
        return 0.5 if self.two_four and sparsity > 0 else 1.0

    def limit(self, input_axis: int, sparsity: float) -> GroupLimit | None:
        """What a topology step must keep to, None where units are free.

        Args:
            input_axis: The axis of a layer's weight along which its inputs lie.
            sparsity: Fraction of all weights that is off.
        """
        if not self.two_four or sparsity == 0:
            return None
        return GroupLimit(input_axis, most=2, size=_FOUR)

    def summed(self, scores: torch.Tensor) -> torch.Tensor:
        """Scores of units: sums of their weights' scores."""
        if self.block == 1:
            return scores
        rows, columns = self.units((scores.shape[0], scores.shape[1]))
        return scores.reshape(rows, self.block, columns, self.block).sum(dim=(1, 3))

    def reduced(self, mask: torch.Tensor) -> torch.Tensor:
        """A mask of units from one of weights."""
        return mask[:: self.block, :: self.block]

    def spread(self, mask: torch.Tensor) -> torch.Tensor:
        """A mask of weights from one of units."""
        if self.block == 1:
            return mask
        return mask.repeat_interleave(self.block, 0).repeat_interleave(self.block, 1)

    def fits(self, mask: torch.Tensor, input_axis: int) -> bool:
        """Whether a mask of weights, if it is not full, is one of these units."""
        limit = None if bool(mask.all()) else self.limit(input_axis, sparsity=1.0)
        if limit is not None and not limit.holds(mask):
            return False
        return bool((self.spread(self.reduced(mask)) == mask).all())
