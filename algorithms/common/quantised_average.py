"""Averages that send 8 bits a number instead of 32.

Averaged is the displacement d_k of each worker from a point that all of them know: the parameters
at the round's start, or 0 for gradients. Blocks of numbers have a scale each, s = max |d| / 127,
and a worker sends d / s rounded to whole numbers; the mean of what was sent is rounded the same way
on its way back, so that both halves of an all-reduce (scatter and gather) send 8 bits. Rounding is

- stochastic: floor(d / s + u) with u uniform in [0, 1), whose expectation is d / s (QSGD,
  arXiv:1610.02132);
- by error feedback: to the nearest, and what a rounding has left is added to the next d, of the
  workers' as of the mean's (arXiv:1901.09847).

Ours, not the QSR paper's, which averages in full precision.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import torch
import torch.distributed as dist

from tenfold.algorithms.common.local_optimizer import Averager

Rounding = Literal["stochastic", "error_feedback"]
BLOCK = 256
"""Numbers that share a scale."""
_LARGEST = 127


def to_codes(numbers: torch.Tensor, lots: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Round numbers to 8 bits.

    Args:
        numbers: (..., n) float32, n a multiple of `BLOCK`.
        lots: u of stochastic rounding, of the same shape; None rounds to the nearest.

    Returns:
        Codes (..., n) int8, and scales (..., n / BLOCK) float32, which are not finite where a
        number of the block is not.
    """
    blocks = numbers.unflatten(-1, (-1, BLOCK))
    scales = blocks.abs().amax(dim=-1, keepdim=True) / _LARGEST
    ratios = torch.where(scales == 0, 0.0, blocks / scales)
    whole = ratios.round() if lots is None else (ratios + lots.view_as(ratios)).floor()
    codes = whole.clamp(-_LARGEST, _LARGEST).nan_to_num().to(torch.int8)
    return codes.flatten(-2), scales.squeeze(-1)


def from_codes(codes: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """What codes and scales stand for, (..., n) float32."""
    return (codes.unflatten(-1, (-1, BLOCK)) * scales.unsqueeze(-1)).flatten(-2)


class QuantisedMean(Averager):
    """The mean over all workers, of which 8 bits a number are sent.

    All numbers that are averaged lie in one row, n of them, filled up to whole blocks for each
    process. Every worker's lots are a function of the seed, the number of the average and the
    worker, so that they do not depend on how workers are spread over processes.

    Attributes:
        start: (n,), the point that displacements are from.
        left: (stacked, n), what rounding has left of each worker's displacement; 0 of a stochastic.
        left_of_mean: (n,), likewise of the mean, in the part that this process rounds.
        count: Averages done.

    Args:
        parameters: What will be averaged, or has gradients of the same sizes that will; (stacked,
            ...) each with more than one worker in the stack, all workers at one place.
        stacked: Workers of this process.
        rounding: See above.
        seed: Of the lots.
        gradients: Whether gradients are averaged, whose displacement is from 0.
        group: Process group; the default one when None. Without any this is the only process.
    """

    def __init__(
        self,
        parameters: Sequence[torch.Tensor],
        stacked: int,
        rounding: Rounding,
        seed: int,
        gradients: bool = False,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        super().__init__()
        together = dist.is_initialized()
        self.group = group
        self.processes = dist.get_world_size(group) if together else 1
        self.rank = dist.get_rank(group) if together else 0
        self.stacked = stacked
        self.workers = stacked * self.processes
        self.rounding = rounding
        self.seed = seed
        self.gradients = gradients
        self.count = 0
        self._numbers = sum(p.numel() for p in parameters) // stacked
        part = BLOCK * self.processes
        self._padded = -(-self._numbers // part) * part
        device = parameters[0].device
        self.start = torch.zeros(self._padded, device=device)
        self.left = torch.zeros(stacked, self._padded, device=device)
        self.left_of_mean = torch.zeros(self._padded, device=device)
        self.round_begins(parameters)

    def round_begins(self, parameters: Sequence[torch.Tensor]) -> None:
        if not self.gradients:
            self.start.copy_(self._row(parameters)[0])

    def forget(self, parameters: Sequence[torch.Tensor]) -> None:
        """Begin anew with all workers at one place; what roundings have left is dropped."""
        self.left.zero_()
        self.left_of_mean.zero_()
        self.round_begins(parameters)

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """What a checkpoint needs to have, with `count`."""
        return {"start": self.start, "left": self.left, "left_of_mean": self.left_of_mean}

    def mean(self, tensors: Sequence[torch.Tensor]) -> int:
        first = self.rank * self.stacked
        moved = self._row(tensors) - self.start + self.left
        codes, scales = to_codes(moved, self._lots(range(first, first + self.stacked)))
        self._leave(self.left, moved, codes, scales)
        n = self._padded // self.processes
        mine = slice(self.rank * n, (self.rank + 1) * n)
        mean = from_codes(self._scatter(codes), self._scatter(scales)).mean(dim=0)
        mean += self.left_of_mean[mine]
        lots = self._lots([self.workers])
        codes, scales = to_codes(mean, None if lots is None else lots[0, mine])
        self._leave(self.left_of_mean[mine], mean, codes, scales)
        row = self.start + from_codes(self._gather(codes), self._gather(scales))
        parts = row[: self._numbers].split([t.numel() // self.stacked for t in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape[1:] if self.stacked > 1 else tensor.shape))
        self.count += 1
        return self._numbers + 4 * -(-self._numbers // BLOCK)

    def _row(self, tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        """All numbers of each worker in a row, (stacked, n)."""
        rows = [t.detach().reshape(self.stacked, -1).float() for t in tensors]
        filling = self._padded - self._numbers
        return torch.cat([*rows, rows[0].new_zeros(self.stacked, filling)], dim=1)

    def _lots(self, workers: Iterable[int]) -> torch.Tensor | None:
        """Lots of some workers, (workers, n); the mean's are those of the one after the last."""
        if self.rounding == "error_feedback":
            return None
        device, rows = self.start.device, []
        for worker in workers:
            seeds = np.random.SeedSequence([self.seed, self.count, worker])
            generator = torch.Generator(device).manual_seed(int(seeds.generate_state(1)[0]))
            rows.append(torch.rand(self._padded, generator=generator, device=device))
        return torch.stack(rows)

    def _leave(
        self, left: torch.Tensor, numbers: torch.Tensor, codes: torch.Tensor, scales: torch.Tensor
    ) -> None:
        """Keep what rounding has left, in place; nothing of numbers that are not finite."""
        if self.rounding == "error_feedback":
            rest = numbers - from_codes(codes, scales)
            left.copy_(torch.where(rest.isfinite(), rest, 0.0))

    def _scatter(self, own: torch.Tensor) -> torch.Tensor:
        """Of (stacked, n) of each process the part of this one, (all workers, n / processes)."""
        if self.processes == 1:
            return own
        parts = own.unflatten(1, (self.processes, -1)).transpose(0, 1).contiguous()
        found = torch.empty_like(parts)
        dist.all_to_all_single(found, parts, group=self.group)
        return found.flatten(0, 1)

    def _gather(self, part: torch.Tensor) -> torch.Tensor:
        """The parts of all processes in a row."""
        if self.processes == 1:
            return part
        found = part.new_empty(self.processes * len(part))
        dist.all_gather_into_tensor(found, part.contiguous(), group=self.group)
        return found
