"""Config of MST, its ablations and its baselines."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from tenfold.algorithms.mst.schedule import SparsitySchedule, UpToChanges
from tenfold.algorithms.qsr.config import TEXT_TASKS
from tenfold.algorithms.qsr.schedule import ConstantSync, LearningRate, QuadraticSync, SyncRule
from tenfold.platform.store import runs_folder
from tenfold.platform.training import TrainingConfig

Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class MSTConfig(TrainingConfig):
    """Sparse pretraining of a GPT-2 (arXiv:2408.11746), T steps.

    Attributes:
        n_layer: Blocks.
        n_head: Attention heads.
        n_embd: Width d.
        context: Tokens of a sequence.
        tokenizer: ``bytes``, ``bpe:<vocabulary>`` or the path of a tokenizers file.
        batch: Sequences of a worker in a micro-batch.
        accumulate: Micro-batches of a step.
        precision: ``float32``, or ``bfloat16`` for the matrix products.
        lr: Peak learning rate of the cosine.
        lr_floor: Learning rate at the end.
        warmup: Fraction of T with rising learning rate.
        weight_decay: Of AdamW.
        betas: Of AdamW.
        clip: Largest norm of the gradient; 0 does not clip.
        sparsity: Table of (start as a fraction of T, sparsity), see `SparsitySchedule`.
        distribution: Sparsity over layers: ``erdos_renyi`` or ``uniform``.
        first_mask: Weights that are on when sparsity first sets in: ``random`` or ``magnitude``.
        growth: ``mixed``, ``gradient``, ``random``, or ``none`` for a mask that never changes
            but where the schedule asks for it.
        grad_rand_ratio: r of mixed growth: r / (r + 1) of the new weights by gradient.
        drop: ``magnitude``, or ``mest`` for |W| + mest_lambda |G|.
        mest_lambda: Weight of the gradient in ``mest``.
        zeta: Fraction of active weights that a topology step replaces, at a phase's start.
        delta: Steps between topology steps.
        attention: Pattern while attention is sparse: ``dense``, ``local``, ``strided``, ``sparse``
            (local or strided) or ``fixed``.
        attention_steps: From when to when attention is sparse, as fractions of T; it is dense
            before and after.
        attention_width: Width of the local band.
        attention_stride: Stride of ``strided`` and ``sparse``, block of ``fixed``.
        kernels: ``auto`` runs layers by the sparse kernels where they measure faster on this CPU,
            ``dense`` never.
        sync: ``data_parallel``, or ``quadratic`` for local AdamW with QSR's rule; the masks then
            change at averages only.
        alpha: Growth coefficient of ``quadratic``.
        base: Least H of ``quadratic``.
        workers_per_process: Local workers that a process holds as a stack (``quadratic``).
        validation_windows: Sequences of held-out text that are judged.
    """

    task: str = "stdlib"
    steps: PositiveInt = 400
    report_every: PositiveInt = 100
    n_layer: PositiveInt = 2
    n_head: PositiveInt = 4
    n_embd: PositiveInt = 256
    context: PositiveInt = 128
    tokenizer: str = "bytes"
    batch: PositiveInt = 8
    accumulate: PositiveInt = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    lr: PositiveFloat = 4e-3
    lr_floor: NonNegativeFloat = 1e-4
    warmup: Fraction = 0.03
    weight_decay: NonNegativeFloat = 0.1
    betas: tuple[Fraction, Fraction] = (0.9, 0.95)
    clip: NonNegativeFloat = 1.0
    sparsity: tuple[tuple[float, float], ...] = (
        (0.0, 0.0),
        (0.01, 0.5),
        (0.02, 0.95),
        (0.93, 0.8),
        (0.95, 0.5),
        (0.98, 0.0),
    )
    distribution: Literal["erdos_renyi", "uniform"] = "erdos_renyi"
    first_mask: Literal["random", "magnitude"] = "random"
    growth: Literal["mixed", "gradient", "random", "none"] = "mixed"
    grad_rand_ratio: NonNegativeFloat = 3.0
    drop: Literal["magnitude", "mest"] = "magnitude"
    mest_lambda: NonNegativeFloat = 1.0
    zeta: Fraction = 0.3
    delta: PositiveInt = 20
    attention: Literal["dense", "local", "strided", "sparse", "fixed"] = "sparse"
    attention_steps: tuple[Share, Share] = (0.02, 0.7)
    attention_width: PositiveInt = 16
    attention_stride: PositiveInt = 16
    kernels: Literal["auto", "dense"] = "dense"
    sync: Literal["data_parallel", "quadratic"] = "data_parallel"
    alpha: PositiveFloat = 4e-3
    base: PositiveInt = 4
    workers_per_process: PositiveInt = 1
    validation_windows: PositiveInt = 256

    @property
    def schedule(self) -> SparsitySchedule:
        """Sparsity of each step."""
        return SparsitySchedule(self.steps, self.sparsity)

    @property
    def learning_rate(self) -> LearningRate:
        """Learning rate of each step."""
        warmup = int(self.warmup * self.steps)
        return LearningRate("cosine", self.lr, self.steps, warmup, self.lr_floor)

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
        _ = self.schedule
        if self.n_embd % self.n_head:
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
        if self.workers_per_process > 1 and self.kernels == "auto":
            raise ValueError(
                "Bad value 'auto' for 'kernels': stacked workers run dense, "
                "so give dense or 'workers_per_process' 1."
            )
        if self.precision == "bfloat16" and self.kernels == "auto":
            raise ValueError(
                "Bad value 'auto' for 'kernels': they compute in float32, so give dense or "
                "'precision' float32."
            )
        if self.task not in TEXT_TASKS:
            from tenfold.envs.text import check_length, load_corpus

            corpus = load_corpus(self.task, self.tokenizer, runs_folder() / "data")
            check_length(corpus, self.context)
