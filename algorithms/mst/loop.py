"""The training loop of MST: masked steps, topology steps, attention by phase, FLOPs counted."""

import re
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from tenfold.algorithms.common.causal_lm import make_gpt2, save_causal_lm
from tenfold.algorithms.common.language_model import judge, next_token_loss
from tenfold.algorithms.common.local_optimizer import (
    AllReduce,
    Averager,
    LocalOptimizer,
    StackMean,
)
from tenfold.algorithms.common.shard import Shard
from tenfold.algorithms.common.sharded import Counted, part
from tenfold.algorithms.common.workers import Batch, Workers
from tenfold.algorithms.mst.attention import kept_fraction, pattern_mask, set_pattern
from tenfold.algorithms.mst.config import MSTConfig
from tenfold.algorithms.mst.decay import decay_groups, regroup
from tenfold.algorithms.mst.execution import SparsePath, calibrated, product_for
from tenfold.algorithms.mst.flops import FlopLedger, Sizes, StepFlops, step_flops
from tenfold.algorithms.mst.masks import (
    Masks,
    assert_same_masks,
    input_axis,
    masked_layers,
    norm_share,
)
from tenfold.algorithms.mst.topology import DROP, GRADIENT_SHARE
from tenfold.envs.data.text import batch, check_length, load_corpus
from tenfold.platform.devices import Batches, Compute
from tenfold.platform.store import runs_folder
from tenfold.platform.training import TrainingLoop

Tensors = dict[str, torch.Tensor]
_MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW


class MSTLoop(TrainingLoop):
    """Sparse pretraining of a language model on K workers, of which this process holds a stack."""

    config: MSTConfig

    def __init__(self, config: MSTConfig, rank: int = 0, size: int = 1) -> None:
        super().__init__(config, rank, size)
        self.corpus = load_corpus(config.task, config.tokenizer, runs_folder() / "data")
        check_length(self.corpus, config.context)
        torch.manual_seed(config.seed)
        model = self._model()
        if config.gradient_checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        self.sizes = Sizes.of(model)
        self.compute = Compute.of(config)
        self.workers = Workers(
            model.train(),
            config.workers_per_process,
            self._loss,
            self.compute,
            config.compile,
            sharded=config.sharding == "fsdp" and size > 1,
        )
        self.batches = Batches(self._batch, self.compute)
        linear = masked_layers(model)
        masked = masked_layers(model, config.mask_head)
        self.weights: Tensors = {n: self.workers.parameters[f"{n}.weight"] for n in masked}
        self.schedule = config.schedule
        self.masks = Masks(
            self.weights,
            config.distribution,
            self.schedule(0),
            config.first_mask,
            config.seed,
            config.units,
            {name: input_axis(layer) for name, layer in masked.items()},
        )
        self.masks.apply(self.weights)
        self.sparse_path = None
        product = product_for(config.units, self.compute)
        if config.kernels == "auto" and product is not None:
            rows = config.batch * config.context
            calibration = calibrated(linear, rows, product, self.compute)
            self.sparse_path = SparsePath(linear, product, calibration)
            self.sparse_path.follow(self.masks.masks)
        self.optimizer = LocalOptimizer(
            self.compute.adamw(
                decay_groups(self.workers.parameters, {f"{name}.weight" for name in linear}),
                lr=config.lr,
                betas=config.betas,
                weight_decay=config.weight_decay,
            ),
            config.rule,
            config.learning_rate,
            average=self._averager(1.5 * config.accumulate),
            gradients=config.sync == "data_parallel",
            before_step=self._mask_and_clip,
            scaler=self.compute.scaler(),
        )
        self.scores = self._averager(0.5)
        self.uncounted = AllReduce()
        self.ledger = FlopLedger()
        self.evolved_at = 0  # the last topology step
        self.attention = "dense"
        self.pattern: torch.Tensor | None = None
        self.attention_kept = 1.0  # of the pairs of a query and a key
        self._set_attention()

    def _model(self) -> PreTrainedModel:
        """The model to begin with."""
        c, named = self.config, self.config.named_model()
        vocabulary = c.vocabulary or self.corpus.vocabulary
        if named is not None:
            return named.make(vocabulary, c.context)
        sizes = {"n_layer": c.n_layer, "n_head": c.n_head, "n_embd": c.n_embd}
        return make_gpt2(vocabulary, c.context, sizes)

    @property
    def K(self) -> int:
        """Number of workers in all processes."""
        return self.config.workers_per_process * self.size

    @property
    def items(self) -> str:
        """Tokens."""
        return "tokens"

    @property
    def items_per_step(self) -> int:
        """Tokens that all workers consume in a step."""
        c = self.config
        return self.K * c.accumulate * c.batch * c.context

    def train(self, due: int) -> dict[str, float]:
        """Steps up to step `due`."""
        losses = []
        while self.step < due:
            self._set_attention()
            topology = self._topology_is_due()
            losses.append(self._gradients(topology))
            self._count(topology)
            gradients = self._dense_gradients() if topology else {}
            self.step += 1
            self.optimizer.step()
            self.optimizer.zero_grad()
            if topology:
                self._evolve(gradients)
        train_loss = torch.stack(losses).mean()
        self.uncounted([train_loss])
        mean = self._mean()
        judged = self._judge(mean)
        return {
            "train_loss": float(train_loss),
            "lr": self.optimizer.inner.param_groups[0]["lr"],
            "sparsity": 1 - self.masks.active / self.masks.size,
            **{f"sparsity_{kind}": 1 - d for kind, d in self._density_by_kind().items()},
            "active_connections": float(self.masks.active),
            "ever_active": self.masks.ever_active,
            "churn": self.masks.churn,
            "attention_kept": self.attention_kept,
            "flops": self.ledger.spent.total,
            "flops_blocks": self.ledger.spent.blocks,
            "flop_reduction": self.ledger.reduction,
            "flop_reduction_blocks": self.ledger.reduction_blocks,
            "communication_fraction": self.optimizer.averages / self.step,
            "sent_bytes": self.optimizer.average.sent + self.scores.sent,
            **self._restored(mean, judged["loss"]),
            **judged,
        }

    def evaluate(self) -> dict[str, float]:
        """Held-out loss, bits a byte and accuracy of the model, averaged over workers."""
        return self._judge(self._mean())

    def _mean(self) -> Tensors:
        """The parameters, averaged over all workers."""
        mean = self.workers.means()
        if self.config.sync == "quadratic":
            self.uncounted(list(mean.values()))
        return mean

    def _judge(self, mean: Tensors) -> dict[str, float]:
        if self.sparse_path is not None:
            self.sparse_path.on = False
        with self.workers.standing(mean) as module:
            c = self.config
            return judge(module, self.corpus, c.context, c.validation_windows, self.compute.device)

    def _restored(self, mean: Tensors, loss: float) -> dict[str, float]:
        """What the weights that came with the restoration carry.

        Their share of the squared norm, and at the end of the run how much the held-out loss rises
        if they are set to 0.
        """
        restored = self.masks.restored
        weights = {name: mean[f"{name}.weight"] for name in restored}
        found = {"restored_norm_share": norm_share(weights, restored)}
        if self.finished and self.masks.settled is not None:
            without = {
                f"{name}.weight": w * part(~restored[name], w) for name, w in weights.items()
            }
            found["restored_loss_gap"] = self._judge({**mean, **without})["loss"] - loss
        return found

    def save(self, folder: Path) -> None:
        """This process's tensors; process 0 adds the averaged model, plain and loadable."""
        counters = {
            "processes": self.size,
            "churn": self.masks.churn,
            "evolved_at": self.evolved_at,
            "ledger": self.ledger.state_dict(),
            "scores": self.scores.sent,
            "decay_groups": True,
        }
        held = {"parameter": self.workers.parameters, **self.masks.groups()}
        Shard(held, counters).write(folder, self.rank, self.optimizer)
        mean = self._mean()
        if self.rank == 0 or self.workers.sharded:
            set_pattern(self.workers.module, None)
            with self.workers.standing(mean) as module:
                plain = self.workers.plain(module)
                if self.rank == 0:
                    save_causal_lm(plain, self.corpus.tokenizer, folder / "model")
            set_pattern(self.workers.module, self.pattern)

    def load(self, folder: Path) -> None:
        """Continue from a checkpoint.

        With another number of processes than it was saved by, all go on from the mean of the saved
        parameters in a new round. A changed rule or learning rate holds from this step on, see
        `Shard.take_up`.
        """
        saved, shard = Shard.take_up(folder, self.rank, self.optimizer)
        self.step = self.optimizer.step_count
        with torch.no_grad():
            for name, p in self.workers.parameters.items():
                p.copy_(part(shard.tensors["parameter"][name], p))
        if saved != self.size:
            shards = [Shard.read(folder, rank) for rank in range(saved)]
            self.workers.meet([found.tensors["parameter"] for found in shards])
            self.optimizer.restart_round()
        if "decay_groups" not in shard.counters:
            regroup(self.optimizer, self.workers.parameters)
        self.masks.restore(shard.tensors, shard.counters["churn"])
        self.evolved_at = shard.counters.get("evolved_at", self.step)
        self.ledger.load_state_dict(shard.counters["ledger"])
        self.scores.sent = shard.counters["scores"]
        if self.sparse_path is not None:
            self.sparse_path.follow(self.masks.masks)
        self._set_attention()

    def _averager(self, divided: float) -> Averager:
        """How tensors are averaged; those of a divided model are, and sent this share of it."""
        if self.workers.sharded:
            return Counted(divided)
        stacked = self.config.workers_per_process
        return AllReduce() if stacked == 1 else StackMean(stacked, AllReduce())

    def _loss(self, model: Any, own: Batch) -> torch.Tensor:
        """Mean next-token loss of a worker's micro-batch."""
        logits = model(input_ids=own["tokens"][:, :-1]).logits
        return next_token_loss(logits, own["tokens"])

    def _gradients(self, dense: bool) -> torch.Tensor:
        """Gradients of all micro-batches of a step; returns the mean loss.

        When `dense`, the last micro-batch runs without the sparse kernels, and its gradient alone
        is kept for the topology step.
        """
        total = torch.zeros((), device=self.compute.device)
        for micro in range(self.config.accumulate):
            last = micro == self.config.accumulate - 1
            if self.sparse_path is not None:
                self.sparse_path.on = not (dense and last)
            if dense and last:
                self._before_last = {
                    name: w.grad.clone() if w.grad is not None else torch.zeros_like(w)
                    for name, w in self.weights.items()
                }
            batch = self.batches(self.step * self.config.accumulate + micro)
            loss = self.workers.losses(batch) / self.config.accumulate
            self.optimizer.scaler.scale(loss.sum()).backward()
            total += loss.detach().mean()
        return total

    def _batch(self, number: int) -> Batch:
        """The workers' own micro-batches, stacked."""
        c = self.config
        step, micro = divmod(number, c.accumulate)
        first = self.rank * c.workers_per_process
        own = [
            batch(self.corpus.train, c.context, c.batch, [c.seed, step, micro, first + k])
            for k in range(c.workers_per_process)
        ]
        return {"tokens": torch.stack([torch.from_numpy(tokens) for tokens in own])}

    def _mask_and_clip(self) -> None:
        self.masks.apply({name: w.grad for name, w in self.weights.items()})
        if self.config.clip > 0:
            self.workers.clip(self.config.clip)

    def _topology_is_due(self) -> bool:
        """Whether masks change after this step.

        They do every `delta` steps and where the schedule's sparsity changes, or at the next
        average if workers do not meet then.
        """
        after = self.step + 1
        if after == self.config.steps or after != self.optimizer.round_start + self.optimizer.H:
            return False
        delta = self.config.delta
        if after // delta > self.evolved_at // delta and self._zeta(after) > 0:
            return True
        return sum(self.masks.targets(self.schedule(after)).values()) != self.masks.active

    def _zeta(self, step: int) -> float:
        """Fraction of the active weights that a topology step replaces."""
        c = self.config
        if c.growth == "none":
            return 0.0
        restoring = self.schedule.phase(step) == "restoration"
        return self.schedule.zeta(step, c.restoration_zeta if restoring else c.zeta)

    def _dense_gradients(self) -> Tensors:
        """Gradients of the last micro-batch, averaged over all workers, (n_in, n_out) each."""
        scale = self.optimizer.scaler.get_scale()
        gradients = {
            name: (w.grad - self._before_last[name]) * (self.config.accumulate / scale)
            for name, w in self.weights.items()
            if w.grad is not None
        }
        self.scores(list(gradients.values()))
        return {n: g if g.dim() == 2 else g[0] for n, g in gradients.items()}

    @torch.no_grad()
    def _evolve(self, gradients: Tensors) -> None:
        """A topology step, the same on every worker."""
        c = self.config
        one = {name: w if w.dim() == 2 else w[0] for name, w in self.weights.items()}
        inner = self.optimizer.inner.state
        # Where the scaler has skipped all steps so far there are no moments yet.
        moments = {
            n: [inner[w][m] for m in _MOMENTS if m in inner[w]] for n, w in self.weights.items()
        }
        self.masks.step(
            self.step,
            self.weights,
            gradients,
            moments,
            {n: DROP[c.drop](w, gradients[n], c.mest_lambda) for n, w in one.items()},
            self.schedule(self.step),
            self._zeta(self.step),
            GRADIENT_SHARE["mixed" if c.growth == "none" else c.growth](c.grad_rand_ratio),
            self.schedule.phase(self.step) == "restoration",
        )
        self.evolved_at = self.step
        if self.sparse_path is not None:
            self.sparse_path.follow(self.masks.masks)
        if self.size > 1:
            assert_same_masks(self.masks)

    def _set_attention(self) -> None:
        """The pattern while `attention_steps` last, dense attention before and after."""
        c = self.config
        start, end = (round(share * c.steps) for share in c.attention_steps)
        wanted = c.attention if start <= self.step < end else "dense"
        if wanted == self.attention:
            return
        self.attention, self.pattern, self.attention_kept = wanted, None, 1.0
        if wanted != "dense":
            self.pattern = pattern_mask(
                wanted,
                c.context,
                width=c.attention_width,
                stride=c.attention_stride,
                device=self.compute.device,
            )
            self.attention_kept = kept_fraction(self.pattern)
        set_pattern(self.workers.module, self.pattern)

    def _density_by_kind(self) -> dict[str, float]:
        """Density of each kind of layer: layers of one shape have one density."""
        kinds = {"head": 1.0}
        for name, density in self.masks.density().items():
            of_block = re.split(r"\.\d+\.", name, maxsplit=1)[-1]
            kind = "head" if name == self.sizes.head else of_block.replace(".", "_")
            kinds[kind] = density
        return kinds

    def _count(self, topology: bool) -> None:
        c = self.config

        def flops(density: dict[str, float], kept: float, dense: bool, micro: int) -> StepFlops:
            return step_flops(self.sizes, self.K * c.batch * micro, c.context, density, kept, dense)

        density, kept = self.masks.density(), self.attention_kept
        spent = flops(density, kept, topology, 1)
        if c.accumulate > 1:
            spent = spent + flops(density, kept, False, c.accumulate - 1)
        whole = dict.fromkeys(density, 1.0)
        self.ledger.add(spent, flops(whole, 1.0, False, c.accumulate))
