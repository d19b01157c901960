"""Config of QSR, its ablations and its baselines."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from tenfold.algorithms.common.learning_rate import LearningRate
from tenfold.algorithms.common.synchronisation import ConstantSync, SyncRule
from tenfold.algorithms.common.text_tasks import TEXT_TASKS, check_text, is_text
from tenfold.algorithms.common.workers_config import WorkersConfig
from tenfold.algorithms.qsr.schedule import PostLocalSync, QuadraticSync, SwapSync
from tenfold.platform.parameters import parameter
from tenfold.platform.store import runs_folder
from tenfold.platform.training import Listed, Pair

SIZES: Mapping[str, Mapping[str, Any]] = {
    "vit": {
        "patch_size": 2,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    },
    "resnet": {
        "embedding_size": 16,
        "hidden_sizes": [16, 32],
        "depths": [1, 1],
        "layer_type": "basic",
    },
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 2},
}
"""Fields of the transformers config of each model, unless `QSRConfig.sizes` changes them."""

Fraction = Annotated[float, Field(ge=0, lt=1)]


class QSRConfig(WorkersConfig):
    """Local gradient steps with averages (arXiv:2310.14423); K workers, T steps, H a round.

    K is `workers_per_process` times the number of Ray Train workers (or the trial's own process).
    """

    fixed: ClassVar[frozenset[str]] = frozenset(
        {
            "model",
            "sizes",
            "image_size",
            "context",
            "tokenizer",
            "rule",
            "optimizer",
            "workers_per_process",
        }
    )

    task: str = parameter("digits", "The images or texts to train on")
    steps: int = parameter(2_000, "Optimizer steps T", ge=1, le=10**9)
    report_every: int = parameter(200, "Between two reports", unit="steps", ge=1, le=10**9)
    model: Literal["vit", "resnet", "gpt2"] | None = parameter(
        None, "Architecture; by the task when null"
    )
    sizes: dict[str, Any] = parameter(
        {}, "Fields of the model's transformers config that differ from SIZES (qsr/config.py)"
    )
    workers_per_process: int = parameter(
        4, "Local workers that a process holds as a stack", ge=1, le=1_024
    )
    batch: int = parameter(16, "Images or sequences of a worker in a micro-batch", ge=1, le=2**20)
    rule: Literal["quadratic", "constant", "post_local", "swap", "data_parallel"] = parameter(
        "quadratic",
        "H: quadratic is max(base, floor((alpha / eta)^power)); data_parallel averages gradients "
        "at every step",
    )
    alpha: float = parameter(
        0.004, "Growth coefficient of quadratic, in units of the learning rate", gt=0, le=1e6
    )
    base: int = parameter(
        4, "Least H (H_base), and the H of constant and post_local", ge=1, le=10**9
    )
    power: float = parameter(2.0, "2: QSR; 1 and 3: its ablations", gt=0, le=100)
    switch: float = parameter(
        0.5, "Fraction of T after which post_local and swap leave H = 1", ge=0, lt=1
    )
    average_moments: Listed[tuple[Literal["exp_avg", "exp_avg_sq", "momentum_buffer"], ...]] = (
        parameter((), "Optimizer state averaged with the parameters; none in the paper")
    )
    optimizer: Literal["adamw", "sgd"] = parameter("adamw", "Local optimizer")
    lr: float = parameter(0.002, "Peak learning rate", gt=0, le=1e6)
    lr_floor: float = parameter(1e-6, "Learning rate at the end, at most lr", ge=0, le=1e6)
    lr_shape: Literal["cosine", "linear", "step", "stepped_cosine", "constant"] = parameter(
        "cosine", "How the learning rate falls"
    )
    warmup: float = parameter(0.05, "Fraction of T with rising learning rate", ge=0, lt=1)
    weight_decay: float = parameter(0.05, "Of the optimizer, applied locally", ge=0, le=1e6)
    betas: Pair[tuple[Fraction, Fraction]] = parameter(
        (0.9, 0.999), "Of AdamW; the first is SGD's momentum"
    )
    clip: float = parameter(
        1.0, "Largest norm of a worker's gradient; 0 does not clip", ge=0, le=1e9
    )
    label_smoothing: float = parameter(0.0, "Of the classification loss", ge=0, lt=1)
    label_noise: float = parameter(
        0.1, "Fraction of the training labels that are wrong", ge=0, lt=1
    )
    image_size: int | None = parameter(
        None,
        "What images of a folder or file are resized to; as they are when null",
        unit="pixels",
        ge=1,
        le=4_096,
    )
    context: int = parameter(64, "Length of a sequence", unit="tokens", ge=1, le=2**16)
    tokenizer: str = parameter("bytes", "bytes, bpe:<vocabulary> or the path of a tokenizers file")
    validation_windows: int = parameter(
        256, "Sequences of held-out text that are judged", ge=1, le=10**9
    )
    batchnorm_batches: int = parameter(
        100, "Batches that re-estimate running statistics of batch normalisation", ge=1, le=10**6
    )
    sharpness_samples: int = parameter(
        0, "Probes of the Hessian's trace at each report; 0 leaves it out", ge=0, le=10**6
    )

    @property
    def architecture(self) -> str:
        """The model's kind."""
        return self.model or ("gpt2" if is_text(self.task) else "vit")

    @property
    def model_sizes(self) -> dict[str, Any]:
        """Fields of the transformers config."""
        return {**SIZES[self.architecture], **self.sizes}

    @property
    def learning_rate(self) -> LearningRate:
        """eta_t of each step."""
        return LearningRate(
            self.lr_shape, self.lr, self.steps, int(self.warmup * self.steps), self.lr_floor
        )

    @property
    def sync(self) -> SyncRule:
        """The rule that gives H."""
        T, switch = self.steps, int(self.switch * self.steps)
        if self.rule == "quadratic":
            warmup = int(self.warmup * T)
            return QuadraticSync(T, self.alpha, self.base, self.power, warmup, self.lr)
        if self.rule == "post_local":
            return PostLocalSync(T, switch, self.base)
        if self.rule == "swap":
            return SwapSync(T, switch)
        return ConstantSync(T, 1 if self.rule == "data_parallel" else self.base)

    def check(self) -> None:
        """Refuse values that do not go together and data that are not there.

        Raises:
            ValueError: One sentence with the field, its value and what would be right.
        """
        super().check()
        if self.gradient_checkpointing and self.architecture == "resnet":
            raise ValueError(
                "Bad value true for 'gradient_checkpointing': resnet has none, so give false."
            )
        if self.lr_floor > self.lr:
            raise ValueError(
                f"Bad value {self.lr_floor} for 'lr_floor': give at most 'lr', which is {self.lr}."
            )
        if self.task in TEXT_TASKS and self.architecture != "gpt2":
            raise ValueError(f"Bad value '{self.model}' for 'model': '{self.task}' needs gpt2.")
        if self.task == "digits" and self.architecture == "gpt2":
            raise ValueError("Bad value 'gpt2' for 'model': 'digits' needs vit or resnet.")
        moments = {"adamw": {"exp_avg", "exp_avg_sq"}, "sgd": {"momentum_buffer"}}[self.optimizer]
        for name in self.average_moments:
            if name not in moments:
                raise ValueError(
                    f"Bad value '{name}' for 'average_moments': {self.optimizer} keeps "
                    f"{' and '.join(sorted(moments))}."
                )
        self._check_data()

    def _check_data(self) -> None:
        """Read the data once, so that what is wrong with them shows before any worker starts."""
        if self.architecture == "gpt2":
            check_text(self.task, self.tokenizer, self.context)
            if self.sizes:
                from tenfold.algorithms.qsr.models import check_model

                check_model(self, None, classes=256)
            return
        from tenfold.envs.data.images import load_images, worker_indices
        from tenfold.envs.data.tokenizer import check_tokenizer

        check_tokenizer(self.tokenizer)
        data = load_images(
            self.task,
            cache=runs_folder() / "data",
            size=self.image_size,
            label_noise=self.label_noise,
            seed=self.seed,
        )
        K = self.workers_per_process * max(1, self.workers)
        worker_indices(len(data.train_y), K, 0, self.batch, 0, self.seed)
        if self.sizes or self.task != "digits":
            from tenfold.algorithms.qsr.models import check_model

            check_model(self, data.train_x.shape[1:], len(data.classes))
