"""Local optimizer steps with averages in between, around any `torch.optim.Optimizer`.

    optimizer = LocalOptimizer(torch.optim.AdamW(model.parameters()), rule, learning_rate)
    for batch in batches:
        loss(model, batch).backward()
        optimizer.step()
        optimizer.zero_grad()

Parameters are averaged in place under `no_grad`; the inner optimizer's state stays local unless
asked for. The model must not be wrapped in DDP, which would average gradients at every step.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist

from tenfold.algorithms.common.outer_optimizer import OuterNesterov
from tenfold.algorithms.common.synchronisation import SyncRule


class Averager(ABC):
    """Replaces tensors by their mean over the K workers, in place.

    Attributes:
        workers: K.
        sent: Bytes that a worker has sent, counted as in a ring all-reduce: 2 (K - 1) / K times
            the size of what is averaged.
        seconds: Time spent averaging.
    """

    workers: int

    def __init__(self) -> None:
        self.sent = 0.0
        self.seconds = 0.0

    def __call__(self, tensors: Sequence[torch.Tensor]) -> None:
        start = self._now(tensors)
        with torch.no_grad():
            averaged = self.mean(tensors)
        self.seconds += self._now(tensors) - start
        self.sent += 2 * (self.workers - 1) / self.workers * averaged

    def _now(self, tensors: Sequence[torch.Tensor]) -> float:
        """The time, when a GPU has done what it was told before."""
        if self.workers > 1 and tensors and tensors[0].is_cuda:
            torch.cuda.synchronize(tensors[0].device)
        return time.perf_counter()

    def round_begins(self, parameters: Sequence[torch.Tensor]) -> None:  # noqa: B027
        """All workers stand at these parameters, from which they will move."""

    @abstractmethod
    def mean(self, tensors: Sequence[torch.Tensor]) -> int:
        """Average, and return the bytes that one worker holds of what was averaged."""


class AllReduce(Averager):
    """The mean over the processes of a `torch.distributed` group, in flat buckets.

    Args:
        bucket_bytes: Largest bucket; tensors of a bucket travel in one collective.
        group: Process group; the default one when None. Without any there is one worker.
    """

    def __init__(self, bucket_bytes: int = 25 * 2**20, group: Any = None) -> None:
        super().__init__()
        self.bucket_bytes = bucket_bytes
        self.group = group
        self.workers = dist.get_world_size(group) if dist.is_initialized() else 1

    def mean(self, tensors: Sequence[torch.Tensor]) -> int:
        if self.workers > 1:
            for bucket in self._buckets(tensors):
                flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
                dist.all_reduce(flat, group=self.group)
                flat /= self.workers
                for tensor, part in zip(
                    bucket, flat.split([t.numel() for t in bucket]), strict=True
                ):
                    tensor.copy_(part.view_as(tensor))
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def _buckets(self, tensors: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
        """Consecutive tensors of one type, up to `bucket_bytes` together."""
        buckets: list[list[torch.Tensor]] = []
        room = 0
        for tensor in tensors:
            size = tensor.numel() * tensor.element_size()
            if not buckets or size > room or tensor.dtype != buckets[-1][0].dtype:
                buckets.append([])
                room = self.bucket_bytes
            buckets[-1].append(tensor)
            room -= size
        return buckets


class StackMean(Averager):
    """The mean over workers that are stacked along the first axis, and over processes of such.

    Args:
        stacked: Workers in a stack.
        across: Averages the stacks' means over processes.
    """

    def __init__(self, stacked: int, across: AllReduce) -> None:
        super().__init__()
        self.stacked = stacked
        self.across = across
        self.workers = stacked * across.workers

    def mean(self, tensors: Sequence[torch.Tensor]) -> int:
        means = [tensor.mean(dim=0) for tensor in tensors]
        size = self.across.mean(means)
        for tensor, mean in zip(tensors, means, strict=True):
            tensor.copy_(mean.expand_as(tensor))
        return size


class LocalOptimizer(torch.optim.Optimizer):
    """Counts steps, sets the learning rate, and averages at the end of each round.

    It has the inner optimizer's parameter groups and state, so that torch's schedulers take it.

    Attributes:
        step_count: Steps done, t.
        round_start: Step at which the current round began.
        averages: Averages done.

    Args:
        inner: The optimizer of this worker (or of a stack of workers, if it acts elementwise).
        rule: Length of each round.
        learning_rate: eta_t of each step, the rate of the parameter group that has the largest in
            `inner`; the others keep their ratios to it. When None the groups' rates are left to
            whoever sets them, for instance a scheduler of torch, and eta_t is the largest of them.
        average: How to average; over the default process group when None.
        gradients: Average gradients before every step instead of parameters after a round (plain
            data parallel; the rule must have H = 1).
        moments: Names of inner state to average along with the parameters, for instance
            ``("exp_avg", "exp_avg_sq")``; the paper averages none.
        before_step: Called before each inner step, with the gradients that it will see (the place
            to clip them).
        before_average: Called at the end of a round, before parameters are averaged.
        scaler: What scaled the loss; gradients are unscaled before `before_step`, and a step whose
            gradients overflowed leaves the parameters. Its scale is this worker's own.
        outer: What becomes of the mean at the end of a round; nothing when None. Its tensors are
            no part of `state_dict`.
    """

    def __init__(
        self,
        inner: torch.optim.Optimizer,
        rule: SyncRule,
        learning_rate: Callable[[int], float] | None = None,
        average: Averager | None = None,
        gradients: bool = False,
        moments: Sequence[str] = (),
        before_step: Callable[[], None] | None = None,
        before_average: Callable[[], None] | None = None,
        scaler: torch.amp.GradScaler | None = None,
        outer: OuterNesterov | None = None,
    ) -> None:
        super().__init__(inner.param_groups, inner.defaults)
        self._share(inner)
        self.rule = rule
        self.learning_rate = learning_rate
        self.average = AllReduce() if average is None else average
        self.gradients = gradients
        self.moments = tuple(moments)
        self.before_step = before_step
        self.before_average = before_average
        self.outer = outer
        self.scaler = torch.amp.GradScaler(enabled=False) if scaler is None else scaler
        rates = [float(group["lr"]) for group in inner.param_groups]
        self._ratios = [rate / max(rates) if max(rates) > 0 else 1.0 for rate in rates]
        self.step_count = 0
        self.averages = 0
        self._H = 0
        self.restart_round()

    @property
    def parameters(self) -> list[torch.Tensor]:
        """All parameters of the inner optimizer."""
        return [p for group in self.inner.param_groups for p in group["params"]]

    @property
    def H(self) -> int:
        """Local steps of the current round, which its first step fixes."""
        if self._before_first_step:
            self._H = self.rule.h(self._rate(), self.step_count)
        return self._H

    # Closures are not supported, and the result tells of the average instead of a loss.
    def step(self) -> bool:
        """One optimizer step, and an average if it ends the round; returns whether it did."""
        H = self.H
        self._before_first_step = False
        self._set_learning_rate()
        if self.gradients:
            self.average([p.grad for p in self.parameters if p.grad is not None])
        self.scaler.unscale_(self.inner)
        if self.before_step is not None:
            self.before_step()
        self.scaler.step(self.inner)
        self.scaler.update()
        self.step_count += 1
        if self.step_count < self.round_start + H:
            return False
        if not self.gradients:
            if self.before_average is not None:
                self.before_average()
            self.average(self._averaged())
            if self.outer is not None:
                self.outer.step()
            self.average.round_begins(self.parameters)
        self.averages += 1
        self.restart_round()
        return True

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        self.inner.zero_grad(set_to_none)

    def restart_round(self) -> None:
        """Begin a round at this step."""
        self.round_start = self.step_count
        self._before_first_step = self.step_count < self.rule.total

    def state_dict(self) -> dict[str, Any]:
        """The inner optimizer's state and where the round stands."""
        return {
            "inner": self.inner.state_dict(),
            "step_count": self.step_count,
            "round_start": self.round_start,
            "H": self.H,
            "averages": self.averages,
            "sent": self.average.sent,
            "seconds": self.average.seconds,
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self.inner.load_state_dict(state["inner"])
        self._share(self.inner)
        for name in ("step_count", "round_start", "averages"):
            setattr(self, name, state[name])
        self._H = state["H"]
        self._before_first_step = self.round_start == self.step_count < self.rule.total
        self.average.sent, self.average.seconds = state["sent"], state["seconds"]
        if state.get("scaler") and self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])

    def _averaged(self) -> list[torch.Tensor]:
        state = [
            self.inner.state[p][name]
            for name in self.moments
            for p in self.parameters
            if name in self.inner.state[p]
        ]
        return [*self.parameters, *state]

    def _share(self, inner: torch.optim.Optimizer) -> None:
        """Have the inner optimizer's groups and state; it makes new ones when it is loaded."""
        self.inner = inner
        self.param_groups, self.state = inner.param_groups, inner.state

    def _rate(self) -> float:
        """eta_t of the next step."""
        if self.learning_rate is None:
            return max(float(group["lr"]) for group in self.inner.param_groups)
        return self.learning_rate(self.step_count)

    def _set_learning_rate(self) -> None:
        if self.learning_rate is not None:
            rate = self._rate()
            for group, ratio in zip(self.inner.param_groups, self._ratios, strict=True):
                group["lr"] = rate * ratio
