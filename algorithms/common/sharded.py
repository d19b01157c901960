"""Models divided among processes by FSDP2: parameters, gradients and optimizer state.

`divide` makes every parameter a DTensor, of which each process holds a part along the first axis. A
forward or backward pass gathers one block at a time and reduces its gradients to their means over
the processes. What must see a tensor as a whole (a checkpoint, a topology step) gathers it by
`whole`, which every process then has to do; `part` is the way back and sends nothing.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from tenfold.algorithms.common.local_optimizer import Averager


def divide(model: PreTrainedModel, device: torch.device) -> None:
    """Divide a model among all processes, in place, block by block.

    Args:
        model: On the CPU, the same in every process. Its blocks are what transformers does not
            split; each is moved to the device as a whole, and all but a part is let go.
        device: Of this process.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    blocks = set(model._no_split_modules or ())
    inner = [m for m in model.modules() if type(m).__name__ in blocks and m is not model]
    for module in [*reversed(inner), model]:
        fully_shard(module, mesh=mesh, reshard_after_forward=True)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """All of a tensor; if it is divided, every process must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def part(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A whole tensor, the same in every process, as another of its shape is divided, if it is."""
    if not isinstance(like, DTensor):
        return tensor
    here = tensor.to(like.device)
    return distribute_tensor(here, like.device_mesh, like.placements, src_data_rank=None)


class Counted(Averager):
    """For tensors that FSDP has averaged already: what it sent is counted.

    Gathering a tensor sends half of what an all-reduce of it would, and so does reducing and
    scattering it. For gradients FSDP sends three such halves a pass: parameters are gathered for
    forward and for backward, gradients are reduced and scattered.

    Args:
        share: What was sent, as a multiple of an all-reduce.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.workers = dist.get_world_size()

    def mean(self, tensors: Sequence[torch.Tensor]) -> int:
        return round(self.share * sum(t.numel() * t.element_size() for t in tensors))
