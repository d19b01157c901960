"""Config of QSR, its ablations and its baselines."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from tenfold.algorithms.qsr.schedule import (
    ConstantSync,
    LearningRate,
    PostLocalSync,
    QuadraticSync,
    SwapSync,
    SyncRule,
)
from tenfold.platform.store import runs_folder
from tenfold.platform.training import TrainingConfig

TEXT_TASKS = ("stdlib",)

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


class QSRConfig(TrainingConfig):
    """Local gradient steps with averages (arXiv:2310.14423); K workers, T steps, H a round.

    K is `workers_per_process` times the number of Ray Train workers (or the trial's own process).

    Attributes:
        model: ``vit``, ``resnet`` or ``gpt2``; by the task when None.
        sizes: Fields of the model's transformers config that differ from `SIZES`.
        workers_per_process: Local workers that a process holds as a stack.
        batch: Images or sequences of a worker in a step.
        rule: ``quadratic`` (max(base, floor((alpha / eta)^power))), ``constant``, ``post_local``,
            ``swap``, or ``data_parallel`` (gradients averaged at every step).
        alpha: Growth coefficient of ``quadratic``, in units of the learning rate.
        base: Least H (H_base), and the H of ``constant`` and ``post_local``.
        power: 2: QSR; 1 and 3: its ablations.
        switch: Fraction of T after which ``post_local`` and ``swap`` leave H = 1.
        average_moments: Optimizer state averaged along with the parameters; none in the paper.
        optimizer: ``adamw`` or ``sgd``.
        lr: Peak learning rate.
        lr_floor: Learning rate at the end.
        lr_shape: ``cosine``, ``linear``, ``step``, ``stepped_cosine`` or ``constant``.
        warmup: Fraction of T with rising learning rate.
        weight_decay: Of the optimizer, applied locally.
        betas: Of AdamW; the first is SGD's momentum.
        clip: Largest norm of a worker's gradient; 0 does not clip.
        label_smoothing: Of the classification loss.
        label_noise: Fraction of the training labels that are wrong.
        image_size: Pixels that images of a folder or file are resized to; as they are when None.
        context: Tokens of a sequence.
        tokenizer: ``bytes``, ``bpe:<vocabulary>`` or the path of a tokenizers file.
        validation_windows: Sequences of held-out text that are judged.
        batchnorm_batches: Batches that re-estimate running statistics of batch normalisation.
        sharpness_samples: Probes of the Hessian's trace at each report; 0 leaves it out.
    """

    task: str = "digits"
    steps: PositiveInt = 2_000
    report_every: PositiveInt = 200
    model: Literal["vit", "resnet", "gpt2"] | None = None
    sizes: Mapping[str, Any] = Field(default={})
    workers_per_process: PositiveInt = 4
    batch: PositiveInt = 16
    rule: Literal["quadratic", "constant", "post_local", "swap", "data_parallel"] = "quadratic"
    alpha: PositiveFloat = 0.004
    base: PositiveInt = 4
    power: PositiveFloat = 2.0
    switch: Fraction = 0.5
    average_moments: tuple[Literal["exp_avg", "exp_avg_sq", "momentum_buffer"], ...] = ()
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: PositiveFloat = 0.002
    lr_floor: NonNegativeFloat = 1e-6
    lr_shape: Literal["cosine", "linear", "step", "stepped_cosine", "constant"] = "cosine"
    warmup: Fraction = 0.05
    weight_decay: NonNegativeFloat = 0.05
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    clip: NonNegativeFloat = 1.0
    label_smoothing: Fraction = 0.0
    label_noise: Fraction = 0.1
    image_size: PositiveInt | None = None
    context: PositiveInt = 64
    tokenizer: str = "bytes"
    validation_windows: PositiveInt = 256
    batchnorm_batches: PositiveInt = 100
    sharpness_samples: NonNegativeInt = 0

    @property
    def architecture(self) -> str:
        """The model's kind."""
        return self.model or ("gpt2" if self.task in TEXT_TASKS else "vit")

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
        cache = runs_folder() / "data"
        if self.architecture == "gpt2":
            if self.task not in TEXT_TASKS:
                from tenfold.envs.text import check_length, load_corpus

                check_length(load_corpus(self.task, self.tokenizer, cache), self.context)
            return
        from tenfold.envs.images import load_images, worker_indices

        data = load_images(
            self.task,
            cache=cache,
            size=self.image_size,
            label_noise=self.label_noise,
            seed=self.seed,
        )
        K = self.workers_per_process * max(1, self.workers)
        worker_indices(len(data.train_y), K, 0, self.batch, 0, self.seed)
