"""A learner whose one module holds the networks of all agents, stacked along an agent axis.

RLlib's learner asks each module for a loss, one backward pass and one step a batch. Methods with
critics take several steps that follow one another, so `StackedLearner.update_once` is the whole
update. Many minibatches come in one call: RLlib's accounting costs as much as a small update.

Everything random in update u follows from (seed, u), which makes a resumed run the straight one.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.utils.annotations import override
from torch import Tensor, nn

from tenfold.algorithms.offline.sampler import AGENTS

COLUMNS = (
    Columns.OBS,
    Columns.ACTIONS,
    Columns.REWARDS,
    Columns.NEXT_OBS,
    Columns.TERMINATEDS,
)
_SEEDS = 2**31


class StackedLearner(TorchLearner):
    """Subclasses implement `parts` and `update_once`; the config has `batch` and `seed`."""

    @abstractmethod
    def parts(self, module: Any) -> Mapping[str, tuple[Iterable[nn.Parameter], float]]:
        """Name -> parameters with an optimizer of their own, and its learning rate."""

    @abstractmethod
    def update_once(self, module: Any, batch: Mapping[str, Tensor], update: int) -> dict[str, Any]:
        """One update of all agents.

        Args:
            module: What `AGENTS` names in the `MultiRLModule`.
            batch: Agent axis first: obs (n, B, o), actions (n, B, m), rewards (n, B), ...
            update: Its number, from 0.

        Returns:
            Metrics, tensors without a gradient; ``loss`` is among them.
        """

    @override(TorchLearner)
    def compute_loss_for_module(self, **kwargs: Any) -> Tensor:
        """Not asked for: losses of one update follow one another in `update_once`."""
        raise NotImplementedError("A stacked learner's update has no single loss: see update_once.")

    @override(TorchLearner)
    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        module = self._module[module_id]
        for name, (parameters, lr) in self.parts(module).items():
            own = list(parameters)
            self.register_optimizer(
                module_id=module_id,
                optimizer_name=name,
                optimizer=torch.optim.Adam(own, lr=lr, fused=True),
                params=own,
                lr_or_lr_schedule=lr,
            )

    @override(TorchLearner)
    def _uncompiled_update(self, batch: Mapping[str, Any], **kwargs: Any) -> Any:
        """Rows (K x B, n, ...) as K updates of B rows each."""
        module = self.module[AGENTS]
        module.train()
        columns = batch[AGENTS]
        folded = [columns[name].unflatten(0, (-1, self.config.batch)) for name in COLUMNS]
        metrics: dict[str, Any] = {}
        for values in zip(*folded, strict=True):
            update = int(module.updates)
            torch.manual_seed(_seed_of(self.config.seed or 0, update))
            agents_first = [value.transpose(0, 1) for value in values]
            minibatch = dict(zip(COLUMNS, agents_first, strict=True))
            metrics = self.update_once(module, minibatch, update)
            module.updates += 1
        self.metrics.log_dict(metrics, key=AGENTS, window=1)
        return {}, {AGENTS: metrics["loss"]}, {}

    def step(self, name: str, loss: Tensor, grad_clip: float | None) -> None:
        """A gradient step of one part, each network's gradient clipped by itself.

        Args:
            name: Of the part, see `parts`.
            loss: Gradients are taken with respect to this part only.
            grad_clip: Largest norm of a network's gradient; none when None.
        """
        optimizer = self.get_optimizer(AGENTS, name)
        parameters = optimizer.param_groups[0]["params"]
        gradients = torch.autograd.grad(loss, parameters)
        if grad_clip is not None:
            clip_stacked(gradients, grad_clip)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()


def clip_stacked(gradients: Sequence[Tensor], most: float) -> None:
    """Scale the gradients of each of the stacked networks to a norm of at most `most`, in place.

    Args:
        gradients: Of one shape in front: (n, ...), one entry a network.
        most: The largest norm.
    """
    squares = torch.stack([g.flatten(1).square().sum(dim=1) for g in gradients]).sum(dim=0)
    scale = (most / (squares.sqrt() + 1e-6)).clamp(max=1.0)  # (n,)
    for gradient in gradients:
        gradient.mul_(scale.view(-1, *(1,) * (gradient.dim() - 1)))


def _seed_of(seed: int, update: int) -> int:
    return (seed * 1_000_003 + update) % _SEEDS
