"""Config of QSR, its ablations and its baselines."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from tenfold.algorithms.common.learning_rate import LearningRate
from tenfold.algorithms.common.synchronisation import ConstantSync, SyncRule
from tenfold.algorithms.common.text_tasks import TEXT_TASKS, check_text, is_text
from tenfold.algorithms.common.workers_config import WorkersConfig
from tenfold.algorithms.qsr.schedule import PostLocalSync, QuadraticSync, SwapSync
from tenfold.envs.data.augmentation import STRONGEST, Augmentation
from tenfold.platform.errors import shown
from tenfold.platform.parameters import parameter
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

IMAGE_TASKS = ("digits", "drawings")

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
            "decode",
            "context",
            "tokenizer",
            "rule",
            "outer",
            "average_bits",
            "average_rounding",
            "optimizer",
            "workers_per_process",
        }
    )

    task: str = parameter("digits", "The images or texts to train on")
    steps: int = parameter(2_000, "Optimizer steps T", ge=1, le=10**9)
    report_every: int = parameter(200, "Between two reports", unit="steps", ge=1, le=10**9)
    model: str | dict[str, Any] | None = parameter(
        None,
        "vit, resnet or gpt2 with SIZES (qsr/config.py); an image classifier or causal language "
        "model of transformers: its folder, its config.json, or a mapping of its config's fields "
        "with model_type; timm:NAME of timm; by the task when null",
    )
    sizes: dict[str, Any] = parameter(
        {}, "Fields of the model's transformers config that differ from SIZES or from its file"
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
    outer: Literal["mean", "nesterov"] = parameter(
        "mean",
        "What a round ends with: the workers' mean, or DiLoCo's outer Nesterov step towards it",
    )
    outer_lr: float = parameter(0.7, "Learning rate of the outer step", gt=0, le=10)
    outer_momentum: float = parameter(0.9, "Momentum of the outer step", ge=0, lt=1)
    average_bits: Literal[32, 8] = parameter(
        32, "Bits of a number that a worker sends for an average"
    )
    average_rounding: Literal["stochastic", "error_feedback"] = parameter(
        "stochastic", "Of 8 bits: without bias, or to the nearest with what is left carried over"
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
        "What images of a folder or file are resized to, and a side of drawings; as they are, "
        "or 24, when null",
        unit="pixels",
        ge=1,
        le=4_096,
    )
    image_column: str | None = parameter(
        None, "Column of images of Parquet or Arrow files; found by type and name when null"
    )
    label_column: str | None = parameter(
        None, "Column of labels of Parquet or Arrow files; found by its name when null"
    )
    decode: Literal["once", "batch"] = parameter(
        "once",
        "once: images of your own are decoded into bytes on disk before training; batch: those of "
        "Parquet, Arrow and webdataset shards stay encoded, a batch is decoded ahead of its step",
    )
    train_images: int = parameter(20_000, "Training images of drawings", ge=40, le=10**7)
    test_images: int = parameter(4_000, "Held-out images of drawings", ge=40, le=10**6)
    crop: int = parameter(
        0, "Margin around an image that is cut at random to its size", unit="pixels", ge=0, le=512
    )
    flip: bool = parameter(False, "Mirror half of the training images; not for digits")
    randaugment: int = parameter(
        0, "Operations of RandAugment on a training image, its N; not for digits", ge=0, le=14
    )
    magnitude: int = parameter(10, "Strength of RandAugment, its M", ge=0, le=STRONGEST)
    cutout: int = parameter(
        0, "Side of the square that is cut out of a training image", unit="pixels", ge=0, le=4_096
    )
    mixup: float = parameter(
        0.0, "alpha of mixup, which mixes the images of a batch; 0 leaves it out", ge=0, le=100
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

    @model_validator(mode="before")
    @classmethod
    def _tokenizer_of_the_model(cls, values: Any) -> Any:
        """The tokenizer, where none is given, is that beside a language model of the user's."""
        model = values.get("model")
        if "tokenizer" in values or not isinstance(model, str) or not os.path.isdir(model):
            return values
        from tenfold.algorithms.common.causal_lm import NamedModel

        with suppress(ValueError):
            tokenizer = NamedModel.read(model, "model").tokenizer
            return values if tokenizer is None else {**values, "tokenizer": str(tokenizer)}
        return values

    @property
    def architecture(self) -> str | dict[str, Any]:
        """The model's kind, one of SIZES, or what names one of transformers'."""
        if self.model is not None:
            return self.model
        return "gpt2" if is_text(self.task) else "vit"

    @property
    def ours(self) -> bool:
        """Whether the model is one of SIZES."""
        return isinstance(self.architecture, str) and self.architecture in SIZES

    @property
    def language(self) -> bool:
        """Whether the model is one of texts.

        Raises:
            ValueError: It is a user's, and nothing that transformers has.
        """
        if self.ours:
            return self.architecture == "gpt2"
        from tenfold.algorithms.qsr.models import is_language_model

        return is_language_model(self.architecture)

    @property
    def model_sizes(self) -> dict[str, Any]:
        """Fields of the transformers config that differ from its own."""
        own = SIZES[self.architecture] if isinstance(self.architecture, str) and self.ours else {}
        return {**own, **self.sizes}

    @property
    def augmentation(self) -> Augmentation:
        """What training images go through."""
        return Augmentation(
            crop=self.crop,
            flip=self.flip,
            operations=self.randaugment,
            magnitude=self.magnitude,
            cutout=self.cutout,
            mixup=self.mixup,
        )

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
        if self.sharding == "fsdp" and self.rule != "data_parallel":
            raise ValueError(
                f"Bad value 'fsdp' for 'sharding': by the rule '{self.rule}' each worker trains a "
                "whole model of its own, so give none, or 'rule' data_parallel."
            )
        if self.sharding == "fsdp" and self.sharpness_samples:
            raise ValueError(
                f"Bad value {self.sharpness_samples} for 'sharpness_samples': with 'sharding' fsdp "
                "there are no second derivatives, so give 0."
            )
        self._check_model()
        self._check_columns()
        if self.task == "digits":
            self._check_digits()
        if self.outer != "mean" and self.rule == "data_parallel":
            raise ValueError(
                f"Bad value '{self.outer}' for 'outer': data_parallel averages gradients, so give "
                "mean or another 'rule'."
            )
        moments = {"adamw": {"exp_avg", "exp_avg_sq"}, "sgd": {"momentum_buffer"}}[self.optimizer]
        for name in self.average_moments:
            if name not in moments:
                raise ValueError(
                    f"Bad value '{name}' for 'average_moments': {self.optimizer} keeps "
                    f"{' and '.join(sorted(moments))}."
                )
        if self.average_bits == 8 and self.average_moments:
            raise ValueError(
                f"Bad value {shown(list(self.average_moments))} for 'average_moments': they are "
                "averaged in 32 bits only, so leave it out or give 'average_bits' 32."
            )
        if self.average_bits == 8 and self.sharding == "fsdp":
            raise ValueError(
                "Bad value 8 for 'average_bits': with 'sharding' fsdp gradients are averaged where "
                "they are made, in 32 bits, so give 32."
            )
        self._check_data()

    def _check_model(self) -> None:
        """Refuse a model that is not there, or that the task is not for."""
        model = self.model
        known = self.ours or (isinstance(model, str) and model.startswith("timm:"))
        if isinstance(model, str) and not known and not os.path.exists(model):
            raise ValueError(
                f"Bad value {shown(model)} for 'model': give {', '.join(SIZES)}, or the path of "
                "the folder or config.json of a transformers model."
            )
        if self.task in TEXT_TASKS and not self.language:
            raise ValueError(
                f"Bad value {shown(model)} for 'model': '{self.task}' needs gpt2 or another causal "
                "language model."
            )
        if self.task in IMAGE_TASKS and self.language:
            raise ValueError(
                f"Bad value {shown(model)} for 'model': '{self.task}' needs vit, resnet or another "
                "image classifier."
            )

    def _check_columns(self) -> None:
        """Refuse columns where there are none."""
        for name in ("image_column", "label_column"):
            value = getattr(self, name)
            if value is not None and (self.task in IMAGE_TASKS or self.language):
                raise ValueError(
                    f"Bad value {shown(value)} for '{name}': it is for images in Parquet or Arrow "
                    "files, so leave it out."
                )
        if self.decode == "batch" and (self.task in IMAGE_TASKS or self.language):
            raise ValueError(
                "Bad value 'batch' for 'decode': it is for images of your own in Parquet or "
                "Arrow files or webdataset shards, so leave it out."
            )

    def _check_digits(self) -> None:
        """Refuse what digits do not stand: another class, or other pixels than 0 to 16."""
        for name, why in (
            ("flip", "a mirrored digit is another one or none, so give false"),
            ("randaugment", "it is for pixels from 0 to 255, and the digits' end at 16; give 0"),
        ):
            if getattr(self, name):
                raise ValueError(f"Bad value {getattr(self, name)} for '{name}': {why}.")

    def _check_data(self) -> None:
        """Read the data once, so that what is wrong with them shows before any worker starts."""
        if self.language:
            tokens = check_text(self.task, self.tokenizer, self.context)
            if self.sizes or not self.ours:
                from tenfold.algorithms.qsr.models import check_text_model

                check_text_model(self, tokens)
            return
        from tenfold.algorithms.qsr.models import check_image_model
        from tenfold.algorithms.qsr.tasks import image_data
        from tenfold.envs.data.drawings import CLASSES, SIZE
        from tenfold.envs.data.image_files import Columns
        from tenfold.envs.data.images import worker_indices
        from tenfold.envs.data.tokenizer import check_tokenizer

        check_tokenizer(self.tokenizer)
        if self.decode == "batch":  # read by Ray Data when a trial needs them
            from tenfold.envs.data.encoded_images import check_encoded

            columns = Columns(self.image_column, self.label_column)
            size = check_encoded(Path(self.task), self.image_size, columns)
            check_image_model(self, (3, size, size), classes=2)
            return
        if self.task == "drawings":  # drawn when a trial needs them; they cannot be wrong
            count, shape, classes = self.train_images, (3, *[self.image_size or SIZE] * 2), CLASSES
        else:
            data = image_data(self)
            count, shape, classes = len(data.train_y), data.train_x.shape[1:], data.classes
        K = self.workers_per_process * max(1, self.workers)
        worker_indices(count, K, 0, self.batch, 0, self.seed)
        if self.sizes or not self.ours or self.task != "digits":
            check_image_model(self, shape, len(classes))
