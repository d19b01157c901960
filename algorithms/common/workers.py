"""The local workers of one process: one model, or a stack of models trained together.

K workers are `size` processes with a stack of `stacked` workers each. A stack holds every parameter
as one tensor with a leading axis of workers, and runs all of them in one call of the model by
`torch.func.vmap`; optimizers that act elementwise (SGD, Adam, AdamW) then are independent local
optimizers. So studies of many workers run on a laptop, with the results of the distributed run.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import nn
from torch.func import functional_call, vmap
from transformers import PreTrainedModel

from tenfold.algorithms.common.sharded import divide, part, whole
from tenfold.platform.devices import Compute, compiled

Batch = Mapping[str, torch.Tensor]
Loss = Callable[[Callable[..., object], Batch], torch.Tensor]


class Workers:
    """`stacked` local workers around one model.

    With one worker its parameters are the model's own and the model runs as it is. A loss is a
    function of a callable model and a batch, as `tasks` has them.

    Attributes:
        stacked: Number of workers.
        module: A transformers model; with more than one worker only its structure counts.
        parameters: Parameters by name; with more than one worker (stacked, ...) tensors.
        buffers: Buffers likewise (running statistics of batch normalisation).

    Args:
        module: On the CPU; it is moved to the device.
        stacked: As above.
        loss: Of a callable model and a batch; the model's outputs may be in half precision.
        compute: Where, and in what precision the model runs.
        compile: Run a single worker's model by torch.compile.
        sharded: Divide a single worker's model among all processes, which are data parallel then;
            its parameters are DTensors, see `sharded`.
    """

    def __init__(
        self,
        module: PreTrainedModel,
        stacked: int,
        loss: Loss,
        compute: Compute,
        compile: bool = False,
        sharded: bool = False,
    ) -> None:
        self.sharded = sharded
        self._class = type(module)
        if sharded:
            divide(module, compute.device)
        else:
            module.to(compute.device)
        self.compute = compute
        self._run: Callable[..., object] = compiled(module) if compile else module
        self.module = module
        self.stacked = stacked
        self.loss = loss
        self.parameters = dict(module.named_parameters())
        self.buffers = dict(module.named_buffers())
        if stacked > 1:
            # The fused attention kernels have no batching rule.
            module.set_attn_implementation("eager")
            self.parameters = {
                name: _stack(p, stacked).requires_grad_() for name, p in self.parameters.items()
            }
            self.buffers = {name: _stack(b, stacked) for name, b in self.buffers.items()}

    def losses(self, batch: Batch) -> torch.Tensor:
        """Each worker's loss (stacked,), on its own part of a batch of (stacked, ...) tensors."""
        if self.stacked == 1:
            own = {name: value[0] for name, value in batch.items()}
            return self.loss(self._autocast(self._run), own).unsqueeze(0)

        def one(parameters: Batch, buffers: Batch, own: Batch) -> torch.Tensor:
            def run(**inputs: object) -> object:
                return functional_call(
                    self.module, (parameters, buffers), kwargs=inputs, tie_weights=True
                )

            return self.loss(self._autocast(run), own)

        losses: torch.Tensor = vmap(one, randomness="different")(
            self.parameters, self.buffers, batch
        )
        return losses

    @torch.no_grad()
    def clip(self, most: float) -> None:
        """Scale each worker's gradient down to the norm `most`."""
        if self.stacked == 1:
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), most)
            return
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        squares = [self._by_worker(g).pow(2).sum(dim=1) for g in gradients]
        norms = torch.stack(squares).sum(dim=0).sqrt()
        factors = (most / (norms + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            self._by_worker(gradient).mul_(factors.unsqueeze(1))

    @torch.no_grad()
    def means(self) -> dict[str, torch.Tensor]:
        """Copies of the parameters, averaged over the stack."""
        if self.stacked == 1:
            return {name: p.detach().clone() for name, p in self.parameters.items()}
        return {name: p.mean(dim=0) for name, p in self.parameters.items()}

    @torch.no_grad()
    def meet(self, saved: Sequence[Batch]) -> None:
        """Put all workers at the mean of parameters that several processes had."""
        for name, p in self.parameters.items():
            mean = torch.stack([parameters[name] for parameters in saved]).mean(dim=0)
            p.copy_(part(mean, p) if self.stacked == 1 else mean.mean(dim=0).expand_as(p))

    @contextmanager
    def standing(self, parameters: Batch, worker: int = 0) -> Iterator[nn.Module]:
        """The model with the given parameters and a worker's buffers, for as long as it is used."""
        buffers = {
            name: (b if self.stacked == 1 else b[worker]).detach().clone()
            for name, b in self.buffers.items()
        }
        own = [*self.module.named_parameters(), *self.module.named_buffers()]
        before = [tensor.detach().clone() for _, tensor in own]
        was_training = self.module.training
        try:
            with torch.no_grad():
                for name, tensor in own:
                    tensor.copy_(parameters[name] if name in parameters else buffers[name])
            yield self.module.eval()
        finally:
            with torch.no_grad():
                for (_, tensor), value in zip(own, before, strict=True):
                    tensor.copy_(value)
            self.module.train(was_training)

    def plain(self, module: PreTrainedModel) -> PreTrainedModel:
        """A standing model as one to be saved.

        That is itself, or of a divided one a copy on the CPU in process 0; every process must ask.
        """
        if not self.sharded:
            return module
        first, held = dist.get_rank() == 0, {}
        for name, tensor in module.state_dict().items():
            gathered = whole(tensor)
            if first:
                held[name] = gathered.cpu()
        if not first:
            return module
        with torch.device("meta"):
            copy = self._class(module.config)
        copy.load_state_dict(held, assign=True)
        copy.tie_weights()
        return copy

    def of(self, worker: int) -> dict[str, torch.Tensor]:
        """Copies of one worker's parameters."""
        if self.stacked == 1:
            return self.means()
        return {name: p[worker].detach().clone() for name, p in self.parameters.items()}

    @torch.no_grad()
    def consensus_distance(self, mean: Batch) -> torch.Tensor:
        """Each worker's distance from `mean`, relative to the norm of `mean`, (stacked,)."""
        if self.sharded:
            return torch.zeros(1, device=self.compute.device)  # there is one model
        pairs = [(self._by_worker(p), mean[name]) for name, p in self.parameters.items()]
        apart = torch.stack([(p - m.reshape(1, -1)).pow(2).sum(dim=1) for p, m in pairs])
        size = torch.stack([m.pow(2).sum() for _, m in pairs]).sum()
        return (apart.sum(dim=0) / size).sqrt()

    def _autocast(self, model: Callable[..., object]) -> Callable[..., object]:
        def run(**inputs: object) -> object:
            with self.compute.autocast():
                return model(**inputs)

        return run

    def _by_worker(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.reshape(self.stacked, -1) if self.stacked > 1 else tensor.reshape(1, -1)


@torch.no_grad()
def reestimate_batchnorm(module: nn.Module, batches: Sequence[Batch]) -> None:
    """Set running statistics to the averages over batches, as they are after an average.

    Averaged parameters have other activations than any worker's, so the workers' own running
    statistics do not fit them.
    """
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over all batches
        norm.train()
    for batch in batches:
        module(**batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _stack(tensor: torch.Tensor, stacked: int) -> torch.Tensor:
    return tensor.detach().expand(stacked, *tensor.shape).clone()
