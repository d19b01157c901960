"""The training loop of QSR: local steps, averages, and the judgement of the averaged model."""

from pathlib import Path

import torch

from tenfold.algorithms.common.local_optimizer import (
    AllReduce,
    Averager,
    LocalOptimizer,
    StackMean,
)
from tenfold.algorithms.common.outer_optimizer import OuterNesterov
from tenfold.algorithms.common.quantised_average import QuantisedMean
from tenfold.algorithms.common.shard import Shard
from tenfold.algorithms.common.sharded import Counted, part
from tenfold.algorithms.common.workers import Batch, Workers, reestimate_batchnorm
from tenfold.algorithms.qsr.config import QSRConfig
from tenfold.algorithms.qsr.sharpness import hessian_trace
from tenfold.algorithms.qsr.tasks import make_task
from tenfold.platform.devices import Batches, Compute
from tenfold.platform.training import TrainingLoop, TrainingTrial


class QSRLoop(TrainingLoop):
    """Local gradient training of K workers, of which this process holds a stack."""

    config: QSRConfig

    def __init__(self, config: QSRConfig, rank: int = 0, size: int = 1) -> None:
        super().__init__(config, rank, size)
        self.task = make_task(config)
        torch.manual_seed(config.seed)
        model = self.task.model().train()
        if config.gradient_checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        stacked = config.workers_per_process
        self.compute = Compute.of(config)
        sharded = config.sharding == "fsdp" and size > 1
        self.workers = Workers(
            model, stacked, self.task.loss, self.compute, config.compile, sharded
        )
        self.batches = Batches(self._batch, self.compute, self.task.ahead)
        self.outer = (
            OuterNesterov(self.workers.parameters, config.outer_lr, config.outer_momentum)
            if config.outer == "nesterov"
            else None
        )
        self.quantised = (
            QuantisedMean(
                list(self.workers.parameters.values()),
                stacked,
                config.average_rounding,
                config.seed,
                gradients=config.rule == "data_parallel",
            )
            if config.average_bits == 8
            else None
        )
        self.optimizer = LocalOptimizer(
            self._inner(),
            config.sync,
            config.learning_rate,
            average=self._averager(),
            gradients=config.rule == "data_parallel",
            moments=config.average_moments,
            before_step=self._clip,
            before_average=self._judge_workers_if_due,
            scaler=self.compute.scaler(),
            outer=self.outer,
        )
        self.planned = self._planned()
        self._uncounted = AllReduce()
        self._of_workers: dict[str, float] = {}

    @property
    def K(self) -> int:
        """Number of local workers in all processes."""
        return self.config.workers_per_process * self.size

    @property
    def items(self) -> str:
        """Images or tokens."""
        return self.task.items

    @property
    def items_per_step(self) -> int:
        """Images or tokens that all workers consume in a step."""
        return self.K * self.config.accumulate * self.task.items_per_batch

    def train(self, due: int) -> dict[str, float]:
        """Local steps and averages up to step `due`.

        Raises:
            RuntimeError: The run did not have as many averages as planned.
        """
        losses = []
        while self.step < due:
            losses.append(self._gradients())
            self.step += 1
            self.optimizer.step()
            self.optimizer.zero_grad()
        if self.finished and self.optimizer.averages != self.planned:
            raise RuntimeError(
                f"{self.optimizer.averages} averages, but the schedule has {self.planned}."
            )
        if not self._of_workers:
            self._judge_workers()
        spread, self._of_workers = self._of_workers, {}
        train_loss = torch.stack(losses).mean()
        self._uncounted([train_loss])
        model_bytes = sum(p.numel() * p.element_size() for p in self.workers.means().values())
        done = self.optimizer.averages
        return {
            "train_loss": float(train_loss),
            "lr": self.optimizer.inner.param_groups[0]["lr"],
            "H": float(self.optimizer.H),
            "averages": float(done),
            "planned_averages": float(self.planned),
            "communication_fraction": done / self.step,
            "sent_bytes": self.optimizer.average.sent,
            "model_bytes": float(model_bytes),
            "averaging_seconds": self.optimizer.average.seconds,
            **spread,
            **self.evaluate(),
        }

    def evaluate(self) -> dict[str, float]:
        """Held-out accuracy and loss of the average of all workers' parameters."""
        mean = self.mean_parameters()
        with self.workers.standing(mean) as module:
            self._reestimate(module)
            judged = self.task.judge(module, self.compute.device)
            if self.config.sharpness_samples:
                judged["sharpness"] = hessian_trace(
                    module,
                    lambda: self.task.loss(module, self._sample(self.step)),
                    self.config.sharpness_samples,
                    self.config.seed,
                )
        return judged

    def mean_parameters(self) -> dict[str, torch.Tensor]:
        """The parameters averaged over all workers; no communication is counted for it."""
        mean = self.workers.means()
        if not self.workers.sharded:
            self._uncounted(list(mean.values()))
        return mean

    def save(self, folder: Path) -> None:
        """This process's parameters and optimizer state; process 0 adds the averaged model."""
        counters = {"processes": self.size}
        if self.quantised is not None:
            counters["quantised"] = self.quantised.count
        Shard(self._held(), counters).write(folder, self.rank, self.optimizer)
        mean = self.mean_parameters()
        if self.rank == 0 or self.workers.sharded:
            with self.workers.standing(mean) as module:
                self._reestimate(module)
                plain = self.workers.plain(module)
                if self.rank == 0:
                    self.task.save(plain, folder / "model")

    def load(self, folder: Path) -> None:
        """Continue from a checkpoint.

        With another number of processes than it was saved by, all go on from the mean of the saved
        parameters, with the optimizer state of one saved process each, and a new round. A changed
        rule or learning rate holds from this step on, see `Shard.take_up`.
        """
        saved, shard = Shard.take_up(folder, self.rank, self.optimizer)
        self.step = self.optimizer.step_count
        with torch.no_grad():
            if self.quantised is not None:
                self.quantised.count = shard.counters["quantised"]
            held = self._held()
            if saved != self.size:  # displacements lie otherwise in their rows
                held.pop("quantised", None)
            for group, tensors in held.items():
                for name, tensor in tensors.items():
                    tensor.copy_(part(shard.tensors[group][name], tensor))
            if saved != self.size:
                shards = [Shard.read(folder, rank) for rank in range(saved)]
                self.workers.meet([shard.tensors["parameter"] for shard in shards])
                self.optimizer.restart_round()
                if self.quantised is not None:
                    self.quantised.forget(self.optimizer.parameters)
        self.planned = self._planned()

    def _held(self) -> dict[str, dict[str, torch.Tensor]]:
        """The tensors of a checkpoint beside the optimizer's, in groups."""
        held = {"parameter": self.workers.parameters, "buffer": self.workers.buffers}
        if self.outer is not None:
            held |= {"outer_start": self.outer.start, "outer_velocity": self.outer.velocity}
        if self.quantised is not None:
            held["quantised"] = self.quantised.tensors
        return held

    def _planned(self) -> int:
        """Averages done, and those of the schedule from the current round on."""
        start = self.optimizer.round_start
        rounds = self.config.sync.rounds(self.config.learning_rate, start)
        return self.optimizer.averages + sum(1 for _ in rounds)

    def _averager(self) -> Averager:
        c = self.config
        if self.workers.sharded:
            return Counted(1.5 * c.accumulate)
        stacked = c.workers_per_process
        if self.quantised is not None:
            return self.quantised
        return AllReduce() if stacked == 1 else StackMean(stacked, AllReduce())

    def _inner(self) -> torch.optim.Optimizer:
        parameters = list(self.workers.parameters.values())
        c = self.config
        if c.optimizer == "sgd":
            return torch.optim.SGD(
                parameters, lr=c.lr, momentum=c.betas[0], weight_decay=c.weight_decay
            )
        return self.compute.adamw(parameters, lr=c.lr, betas=c.betas, weight_decay=c.weight_decay)

    def _clip(self) -> None:
        if self.config.clip > 0:
            self.workers.clip(self.config.clip)

    def _gradients(self) -> torch.Tensor:
        """Gradients of all micro-batches of a step; returns the mean loss."""
        c = self.config
        total = torch.zeros((), device=self.compute.device)
        for micro in range(c.accumulate):
            batch = self.batches(self.step * c.accumulate + micro)
            loss = self.workers.losses(batch) / c.accumulate
            self.optimizer.scaler.scale(loss.sum()).backward()
            total += loss.detach().mean()
        return total

    def _batch(self, number: int) -> Batch:
        """The workers' own micro-batches, stacked."""
        stacked = self.config.workers_per_process
        first = self.rank * stacked
        own = [self.task.batch(number, first + k, self.K) for k in range(stacked)]
        return {name: torch.stack([batch[name] for batch in own]) for name in own[0]}

    def _sample(self, number: int) -> Batch:
        return self.compute.bring(self.task.batch(number, 0, self.K))

    def _reestimate(self, module: torch.nn.Module) -> None:
        first = max(0, self.step - self.config.batchnorm_batches)
        batches = range(first, first + self.config.batchnorm_batches)
        if any(isinstance(m, torch.nn.BatchNorm2d) for m in module.modules()):
            reestimate_batchnorm(module, [self.task.inputs(self._sample(b)) for b in batches])

    def _judge_workers_if_due(self) -> None:
        """Before an average: judge the workers while they still differ, if a report is due."""
        due = self.step % self.config.report_every == 0 or self.step == self.config.steps
        if due:
            self._judge_workers()

    def _judge_workers(self) -> None:
        """Distance of the workers from their mean, and the accuracy of single ones."""
        distance = self.workers.consensus_distance(self.mean_parameters()).mean()
        with self.workers.standing(self.workers.of(0)) as module:
            judged = self.task.judge(module, self.compute.device)
        accuracy = torch.tensor(judged["accuracy"], device=self.compute.device)
        self._uncounted([distance, accuracy])
        self._of_workers = {
            "consensus_distance": float(distance),
            "worker_accuracy": float(accuracy),
        }


class QSR(TrainingTrial):
    """QSR as a Tune trainable."""

    loop_class = QSRLoop
