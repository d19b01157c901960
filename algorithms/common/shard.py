"""A process's part of a checkpoint: its tensors (safetensors) and its counters (JSON).

Every process writes its own, since local workers differ in parameters and optimizer state; of a
model that is divided among processes the first one writes all, as if it were alone. What is written
and read is on the CPU, so that a checkpoint of a GPU or of many goes on anywhere.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor

from tenfold.algorithms.common.local_optimizer import LocalOptimizer
from tenfold.algorithms.common.sharded import part, whole


@dataclass(frozen=True)
class Shard:
    """What a process saves.

    Attributes:
        tensors: Tensors by name, in groups: ``parameter``, ``buffer``, ...
        counters: Whatever else is needed to go on; JSON values.
    """

    tensors: Mapping[str, Mapping[str, torch.Tensor]]
    counters: Mapping[str, Any]

    def write(self, folder: Path, rank: int, optimizer: LocalOptimizer) -> None:
        """Write it and the optimizer's state as process `rank`'s, or as process 0's if divided."""
        state = optimizer.state_dict()
        inner = state.pop("inner")["state"]
        flat = {f"{group}/{k}": t for group, held in self.tensors.items() for k, t in held.items()}
        for index, entries in inner.items():
            for name, value in entries.items():
                flat[f"optimizer/{index}/{name}"] = torch.as_tensor(value)
        counters = {**self.counters, "optimizer": state, "schedule": _schedule(optimizer)}
        divided = any(isinstance(tensor, DTensor) for tensor in flat.values())
        copies = {}
        for name, tensor in flat.items():
            gathered = whole(tensor.detach())
            if rank == 0 or not divided:
                copies[name] = gathered.cpu().contiguous().clone()
        if divided:
            counters["processes"] = 1
            if rank > 0:
                return
        save_file(copies, folder / f"worker-{rank}.safetensors")
        (folder / f"worker-{rank}.json").write_text(json.dumps(counters))

    @classmethod
    def take_up(cls, folder: Path, rank: int, optimizer: LocalOptimizer) -> tuple[int, "Shard"]:
        """Continue as process `rank` from a checkpoint of any number of processes.

        Where the rule or the learning rate is another than when it was saved, a new round begins:
        averages that were done stay done, and from this step on the new schedule holds.

        Returns:
            How many processes saved it, and the shard of one of them, `rank`'s own if it has one.
        """
        saved = int(cls.read(folder, 0).counters["processes"])
        shard = cls.read(folder, rank % saved, optimizer)
        now = _schedule(optimizer)
        if shard.counters.get("schedule", now) != now:
            optimizer.restart_round()
        return saved, shard

    @classmethod
    def read(cls, folder: Path, rank: int, optimizer: LocalOptimizer | None = None) -> "Shard":
        """Read process `rank`'s shard, and put the optimizer where it stood."""
        counters = json.loads((folder / f"worker-{rank}.json").read_text())
        groups: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in load_file(folder / f"worker-{rank}.safetensors").items():
            group, _, key = name.partition("/")
            groups.setdefault(group, {})[key] = tensor
        inner: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in groups.pop("optimizer", {}).items():
            index, _, name = key.partition("/")
            inner.setdefault(int(index), {})[name] = tensor
        state = counters.pop("optimizer")
        if optimizer is not None:
            for place, like in enumerate(optimizer.parameters):
                entries = inner.get(place, {})
                fit = {name: part(t, like) for name, t in entries.items() if t.shape == like.shape}
                entries.update(fit)
            param_groups = optimizer.inner.state_dict()["param_groups"]
            whole = {"state": inner, "param_groups": param_groups}
            optimizer.load_state_dict({**state, "inner": whole})
        return cls(groups, counters)


def _schedule(optimizer: LocalOptimizer) -> str:
    """The rule and the learning rate, to tell whether they have changed."""
    return repr((optimizer.rule, optimizer.learning_rate))
