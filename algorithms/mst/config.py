"""Config of MST, its ablations and its baselines."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from tenfold.algorithms.common.learning_rate import LearningRate
from tenfold.algorithms.common.synchronisation import ConstantSync, SyncRule
from tenfold.algorithms.common.text_tasks import check_text
from tenfold.algorithms.common.workers_config import WorkersConfig
from tenfold.algorithms.mst.granularity import Granularity
from tenfold.algorithms.mst.restoration import RewarmedRate
from tenfold.algorithms.mst.schedule import SparsitySchedule, UpToChanges, active_weights
from tenfold.algorithms.qsr.schedule import QuadraticSync
from tenfold.platform.parameters import parameter
from tenfold.platform.training import Listed, Pair

if TYPE_CHECKING:
    from tenfold.algorithms.common.causal_lm import NamedModel

Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]

_SIZES = {
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_embd": "hidden_size",
}
"""What a model that a user names fixes: our key, and transformers' own."""
_LONGEST = 2_048
"""Tokens of a context that such a model gets by itself; many take a hundred thousand."""


class MSTConfig(WorkersConfig):
    """Sparse pretraining of a language model (arXiv:2408.11746), T steps."""

    fixed: ClassVar[frozenset[str]] = frozenset(
        {
            *("n_layer", "n_head", "n_embd", "context", "vocabulary", "tokenizer"),
            *("model", "mask_head", "granularity", "block", "sync", "workers_per_process"),
        }
    )

    task: str = parameter("stdlib", "The texts to train on")
    steps: int = parameter(400, "Optimizer steps T", ge=1, le=10**9)
    report_every: int = parameter(100, "Between two reports", unit="steps", ge=1, le=10**9)
    n_layer: int = parameter(2, "Blocks", ge=1, le=1_000)
    n_head: int = parameter(4, "Attention heads", ge=1, le=2**16)
    n_embd: int = parameter(256, "Width d", ge=1, le=2**16)
    context: int = parameter(128, "Length of a sequence", unit="tokens", ge=1, le=2**16)
    tokenizer: str = parameter("bytes", "bytes, bpe:<vocabulary> or the path of a tokenizers file")
    vocabulary: int | None = parameter(
        None, "Tokens that the model has; when null those of the text", ge=1, le=2**16
    )
    model: str | dict[str, Any] | None = parameter(
        None,
        "A causal language model of transformers: its folder (with weights or without), its "
        "config.json, or a mapping of its config's fields with model_type; a GPT-2 of n_layer, "
        "n_head and n_embd when null",
    )
    init_from: str = parameter(
        "",
        "Folder of a saved causal language model to go on from, whose sizes, context and tokenizer "
        "then are the defaults; when empty the model is drawn at random",
    )
    batch: int = parameter(8, "Sequences of a worker in a micro-batch", ge=1, le=2**20)
    lr: float = parameter(4e-3, "Peak learning rate of the cosine", gt=0, le=1e6)
    lr_floor: float = parameter(1e-4, "Learning rate at the end, at most lr", ge=0, le=1e6)
    warmup: float = parameter(0.03, "Fraction of T with rising learning rate", ge=0, lt=1)
    weight_decay: float = parameter(
        0.1, "Of AdamW, on the blocks' weight matrices alone", ge=0, le=1e6
    )
    betas: Pair[tuple[Fraction, Fraction]] = parameter((0.9, 0.95), "Of AdamW")
    clip: float = parameter(1.0, "Largest norm of the gradient; 0 does not clip", ge=0, le=1e9)
    sparsity: Listed[tuple[Pair[tuple[Share, Fraction]], ...]] = parameter(
        (
            (0.0, 0.0),
            (0.01, 0.5),
            (0.02, 0.95),
            (0.93, 0.8),
            (0.95, 0.5),
            (0.98, 0.0),
        ),
        "Table of [start as a fraction of T, fraction of weights that are off]",
    )
    mask_head: bool = parameter(
        False, "Mask the output layer, too, which is one matrix with the token embeddings"
    )
    granularity: Literal["weight", "block", "two_four"] = parameter(
        "weight",
        "What goes on and off as one: single weights, square blocks of them, or with two_four at "
        "most 2 of every 4 weights of an output to consecutive inputs",
    )
    block: int = parameter(32, "Side of the blocks of granularity block", ge=2, le=1_024)
    distribution: Literal["erdos_renyi", "uniform"] = parameter(
        "erdos_renyi", "Sparsity over layers"
    )
    first_mask: Literal["random", "magnitude"] = parameter(
        "random", "Weights that are on when sparsity first sets in"
    )
    growth: Literal["mixed", "gradient", "random", "none"] = parameter(
        "mixed", "What new weights are; with none a mask changes where the table asks for it only"
    )
    grad_rand_ratio: float = parameter(
        3.0, "r of mixed growth: r / (r + 1) of the new weights by gradient", ge=0, le=1e9
    )
    drop: Literal["magnitude", "mest"] = parameter(
        "magnitude", "What keeps a weight: |W|, or with mest |W| + mest_lambda |G|"
    )
    mest_lambda: float = parameter(1.0, "Weight of the gradient in mest", ge=0, le=1e9)
    zeta: float = parameter(
        0.3, "Fraction of active weights that a topology step replaces, at first", ge=0, lt=1
    )
    delta: int = parameter(20, "Between topology steps", unit="steps", ge=1, le=10**9)
    restoration: float | None = parameter(
        None, "Fraction of T from which weights come back; when null as sparsity says", gt=0, lt=1
    )
    restoration_zeta: float = parameter(
        0.0, "zeta as restoration begins; with 0 weights come back and none is dropped", ge=0, lt=1
    )
    restoration_lr: float | None = parameter(
        None,
        "Learning rate that restoration warms up to; when null the cosine goes on",
        gt=0,
        le=1e6,
    )
    restoration_warmup: float = parameter(0.02, "Fraction of T over which it warms up", ge=0, lt=1)
    attention: Literal["dense", "local", "strided", "sparse", "fixed"] = parameter(
        "sparse", "Pattern while attention is sparse; sparse is local or strided"
    )
    attention_steps: Pair[tuple[Share, Share]] = parameter(
        (0.02, 0.7), "From when to when attention is sparse, as fractions of T"
    )
    attention_width: int = parameter(16, "Width of the local band", ge=1, le=2**16)
    attention_stride: int = parameter(
        16, "Stride of strided and sparse, block of fixed", ge=1, le=2**16
    )
    kernels: Literal["auto", "dense"] = parameter(
        "dense", "auto runs layers by sparse kernels where they measure faster on this CPU"
    )
    sync: Literal["data_parallel", "quadratic"] = parameter(
        "data_parallel", "quadratic: local AdamW by QSR's rule; masks change at averages only"
    )
    alpha: float = parameter(4e-3, "Growth coefficient of quadratic", gt=0, le=1e6)
    base: int = parameter(4, "Least H of quadratic", ge=1, le=10**9)
    validation_windows: int = parameter(
        256, "Sequences of held-out text that are judged", ge=1, le=10**9
    )

    @model_validator(mode="before")
    @classmethod
    def _as_in_the_model(cls, values: Any) -> Any:
        """What is not given is as in the model that the user names, if it can be read."""
        key, source = _named(values.get("init_from"), values.get("model"))
        if not isinstance(source, str | Mapping):
            return values
        from tenfold.algorithms.common.causal_lm import NamedModel

        with suppress(ValueError):
            named = NamedModel.read(source, key)
            own: dict[str, Any] = {k: getattr(named.config, name) for k, name in _SIZES.items()}
            if named.vocabulary is not None:
                own["vocabulary"] = named.vocabulary
            if named.trained and named.positions is not None:
                own["context"] = min(named.positions, _LONGEST)
            if named.tokenizer is not None:
                own["tokenizer"] = str(named.tokenizer)
            return {**own, **values}
        return values

    def named_model(self) -> "NamedModel | None":
        """The model that the user names, None for a GPT-2 of our sizes.

        Raises:
            ValueError: One sentence that names the key and what is wrong.
        """
        key, source = _named(self.init_from, self.model)
        if source is None:
            return None
        from tenfold.algorithms.common.causal_lm import NamedModel

        return NamedModel.read(source, key)

    @property
    def schedule(self) -> SparsitySchedule:
        """Sparsity of each step."""
        schedule = SparsitySchedule(self.steps, self.sparsity)
        return schedule if self.restoration is None else schedule.restored_from(self.restoration)

    @property
    def units(self) -> Granularity:
        """What masks switch as one."""
        return Granularity.of(self.granularity, self.block)

    @property
    def learning_rate(self) -> Callable[[int], float]:
        """Learning rate of each step."""
        warmup = int(self.warmup * self.steps)
        rate = LearningRate("cosine", self.lr, self.steps, warmup, self.lr_floor)
        start = self.schedule.restoration
        if self.restoration_lr is None or start is None:
            return rate
        rewarm = int(self.restoration_warmup * self.steps)
        return RewarmedRate(rate, start, rewarm, self.restoration_lr)

    @property
    def rule(self) -> SyncRule:
        """When workers synchronise."""
        if self.sync == "data_parallel":
            return ConstantSync(self.steps, 1)
        warmup = int(self.warmup * self.steps)
        quadratic = QuadraticSync(self.steps, self.alpha, self.base, 2.0, warmup, self.lr)
        return UpToChanges(self.steps, quadratic, self.schedule.changes)

    def check(self) -> None:
        """Refuse values that do not go together.

        Raises:
            ValueError: One sentence with the field, its value and what would be right.
        """
        super().check()
        self._check_divided()
        named = self.named_model()
        if named is not None:
            self._check_named(named)
        else:
            self._check_sparsity(self._own_shapes())
        if named is None and self.n_embd % self.n_head:
            raise ValueError(
                f"Bad value {self.n_head} for 'n_head': it must divide 'n_embd', "
                f"which is {self.n_embd}."
            )
        if self.attention_steps[0] > self.attention_steps[1]:
            raise ValueError(
                f"Bad value {self.attention_steps} for 'attention_steps': the first fraction must "
                "not be above the second."
            )
        if self.lr_floor > self.lr:
            raise ValueError(
                f"Bad value {self.lr_floor} for 'lr_floor': give at most 'lr', which is {self.lr}."
            )
        if self.restoration_lr is not None:
            if self.schedule.restoration is None:
                raise ValueError(
                    f"Bad value {self.restoration_lr} for 'restoration_lr': no weights come back "
                    "by 'sparsity', so leave it out."
                )
            if self.restoration_lr < self.lr_floor:
                raise ValueError(
                    f"Bad value {self.restoration_lr} for 'restoration_lr': give at least "
                    f"'lr_floor', which is {self.lr_floor}."
                )
        if self.workers_per_process > 1 and self.kernels == "auto":
            raise ValueError(
                "Bad value 'auto' for 'kernels': stacked workers run dense, "
                "so give dense or 'workers_per_process' 1."
            )
        if self.granularity == "weight" and self.device == "cuda" and self.kernels == "auto":
            raise ValueError(
                "Bad value 'auto' for 'kernels': they compute on the CPU, so give dense or "
                "'device' cpu."
            )
        if self.granularity == "weight" and self.precision != "fp32" and self.kernels == "auto":
            raise ValueError(
                "Bad value 'auto' for 'kernels': they compute in fp32, so give dense or "
                "'precision' fp32."
            )
        self._check_vocabulary(check_text(self.task, self.tokenizer, self.context), named)

    def _check_divided(self) -> None:
        """Refuse to divide a model among workers that have one each, or to run it sparse."""
        if self.sharding == "fsdp" and self.sync != "data_parallel":
            raise ValueError(
                f"Bad value 'fsdp' for 'sharding': with 'sync' {self.sync} each worker trains a "
                "whole model of its own, so give none, or 'sync' data_parallel."
            )
        if self.sharding == "fsdp" and self.kernels == "auto":
            raise ValueError(
                "Bad value 'auto' for 'kernels': with 'sharding' fsdp layers run dense, so give "
                "dense."
            )

    def _check_named(self, named: "NamedModel") -> None:
        """Refuse sizes other than those of the model that the user names."""
        key = named.key
        if self.init_from and self.model is not None:
            raise ValueError(
                f"Bad value {named.shown} for 'init_from': 'model' says which model, too, so give "
                "one of them."
            )
        if key == "init_from" and not named.trained:
            raise ValueError(
                f"Bad value {named.shown} for 'init_from': it has no weights (*.safetensors), so "
                "give it as 'model' for a new one of that config."
            )
        fixed = {k: getattr(named.config, name) for k, name in _SIZES.items()}
        if named.trained:
            fixed["vocabulary"] = named.vocabulary
        for name, right in fixed.items():
            value = getattr(self, name)
            if value != right:
                raise ValueError(
                    f"Bad value {value} for '{name}': the model of '{key}' has {right}, so leave "
                    "it out."
                )
        if named.positions is not None and self.context > named.positions:
            raise ValueError(
                f"Bad value {self.context} for 'context': the model of '{key}' has "
                f"{named.positions} positions, so give at most that."
            )

    def _check_vocabulary(self, tokens: int, named: "NamedModel | None") -> None:
        """Refuse a model of fewer tokens than the text has, or one that MST cannot train."""
        if self.vocabulary is not None and tokens > self.vocabulary:
            if named is not None and named.trained:
                raise ValueError(
                    f"Bad value '{self.tokenizer}' for 'tokenizer': the text then has {tokens} "
                    f"tokens and the model of '{named.key}' {self.vocabulary}, so give the model's."
                )
            raise ValueError(
                f"Bad value {self.vocabulary} for 'vocabulary': the text has {tokens} tokens, so "
                "give at least that."
            )
        vocabulary = self.vocabulary or tokens
        if named is not None:
            from tenfold.algorithms.mst.architectures import shapes_of

            shapes = shapes_of(
                named,
                vocabulary,
                self.context,
                attention=self.attention,
                head=self.mask_head,
                kernels=self.kernels == "auto",
                checkpointing=self.gradient_checkpointing,
            )
            self._check_sparsity(shapes)
        elif self.mask_head:
            self._check_sparsity([*self._own_shapes(), (vocabulary, self.n_embd)])

    def _own_shapes(self) -> list[tuple[int, int]]:
        """(n_in, n_out) of the masked layers of a GPT-2."""
        d = self.n_embd
        return [(d, 3 * d), (d, d), (d, 4 * d), (4 * d, d)] * self.n_layer

    def _check_sparsity(self, shapes: Sequence[tuple[int, int]]) -> None:
        """Refuse a table that is out of order, or that leaves a masked layer without any weight."""
        found = self.units
        for shape in shapes:
            if any(side % found.divisor for side in shape):
                raise ValueError(
                    f"Bad value '{self.granularity}' for 'granularity': a masked layer has "
                    f"{shape[0]} x {shape[1]} weights, and both must be multiples of "
                    f"{found.divisor}; give another 'n_embd', 'vocabulary' or 'block'."
                )
        units = [found.units(shape) for shape in shapes]
        for _, sparsity in self.schedule.table:
            most = found.most(sparsity)
            if 1 - sparsity > most:
                raise ValueError(
                    f"Bad value {sparsity} in 'sparsity': with 'granularity' two_four none of the "
                    "weights are off or at least half of them, so give 0 or 0.5 and more."
                )
            if min(active_weights(units, self.distribution, sparsity, most)) == 0:
                raise ValueError(
                    f"Bad value {sparsity} in 'sparsity': a layer of width {self.n_embd} would "
                    "have no weight left, so give less or a larger 'n_embd'."
                )


def _named(init_from: Any, model: Any) -> tuple[str, Any]:
    """The key that names a model, and what it is given; None for none."""
    return ("init_from", init_from) if init_from else ("model", model)
