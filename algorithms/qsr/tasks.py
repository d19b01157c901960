"""What QSR trains on: a model from a transformers config, its data, its loss and its judgement."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tenfold.algorithms.common.causal_lm import save_causal_lm
from tenfold.algorithms.common.language_model import judge, next_token_loss
from tenfold.algorithms.common.workers import Batch
from tenfold.algorithms.qsr.config import QSRConfig
from tenfold.algorithms.qsr.models import make_image_model, make_text_model
from tenfold.envs.data.drawings import SIZE, load_drawings
from tenfold.envs.data.image_files import Columns
from tenfold.envs.data.image_split import ImageData
from tenfold.envs.data.images import load_images, worker_indices
from tenfold.envs.data.text import batch, check_length, load_corpus
from tenfold.platform.devices import CPU
from tenfold.platform.store import runs_folder

_JUDGED_AT_ONCE = 512


class Task(ABC):
    """A model and its data.

    Attributes:
        items: What a batch holds, ``images`` or ``tokens``.
        items_per_batch: How many of them a worker takes at once.
        ahead: Whether batches are made ahead on the CPU, too, since they take long.
    """

    items: ClassVar[str]
    items_per_batch: int
    ahead: bool = False

    @abstractmethod
    def model(self) -> nn.Module:
        """An untrained model, drawn from torch's global generator."""

    @abstractmethod
    def batch(self, number: int, worker: int, workers: int) -> Batch:
        """A worker's micro-batch, a pure function of the seed and the arguments."""

    @abstractmethod
    def loss(self, model: Callable[..., Any], batch: Batch) -> torch.Tensor:
        """Mean loss of a batch, a scalar."""

    @abstractmethod
    def inputs(self, batch: Batch) -> Batch:
        """The model's inputs in a batch."""

    @abstractmethod
    def judge(self, model: nn.Module, device: torch.device = CPU) -> dict[str, float]:
        """Held-out ``accuracy`` and ``loss`` of a model on a device."""

    def save(self, model: Any, folder: Path) -> None:
        """Write a model as transformers reads it."""
        model.save_pretrained(folder)


class ImageTask(Task):
    """Image classification, with label noise, label smoothing and augmentation."""

    items = "images"

    def __init__(self, config: QSRConfig) -> None:
        self.config = config
        self.items_per_batch = config.batch
        self.data = image_data(config)
        self.ahead = config.decode == "batch"
        self._classes = len(self.data.classes)

    def model(self) -> nn.Module:
        _, channels, size, _ = self.data.train_x.shape
        return make_image_model(self.config, channels, size, self._classes)

    def batch(self, number: int, worker: int, workers: int) -> Batch:
        c = self.config
        chosen = worker_indices(len(self.data.train_y), workers, worker, c.batch, number, c.seed)
        rng = np.random.default_rng([c.seed, number, worker, 1])
        pixels = c.augmentation.images(self.data.train_x[chosen], rng)
        pixels = c.augmentation.standardised(self.data.standardised(pixels), rng)
        labels = self.data.train_y[chosen]
        if c.mixup:
            targets = np.eye(self._classes, dtype=np.float32)[labels]
            pixels, labels = c.augmentation.mixed(pixels, targets, rng)
        return {"pixel_values": torch.from_numpy(pixels), "labels": torch.from_numpy(labels)}

    def loss(self, model: Callable[..., Any], batch: Batch) -> torch.Tensor:
        logits = model(pixel_values=batch["pixel_values"]).logits.float()
        return cross_entropy(logits, batch["labels"], label_smoothing=self.config.label_smoothing)

    def inputs(self, batch: Batch) -> Batch:
        return {"pixel_values": batch["pixel_values"]}

    @torch.no_grad()
    def judge(self, model: nn.Module, device: torch.device = CPU) -> dict[str, float]:
        labels = torch.from_numpy(self.data.test_y).to(device)
        places = np.array_split(np.arange(len(labels)), -(-len(labels) // _JUDGED_AT_ONCE))
        arrays = (self.data.standardised(self.data.test_x[at]) for at in places)
        parts = (torch.from_numpy(array).to(device) for array in arrays)
        logits = torch.cat([model(pixel_values=part).logits for part in parts])
        accuracy = (logits.argmax(dim=1) == labels).double().mean()
        if not bool(logits.isfinite().all()):
            accuracy.fill_(torch.nan)  # of NaN, argmax is a class as any other
        return {"accuracy": float(accuracy), "loss": float(cross_entropy(logits, labels))}


class TextTask(Task):
    """Next-token prediction by a causal language model."""

    items = "tokens"

    def __init__(self, config: QSRConfig) -> None:
        self.config = config
        self.items_per_batch = config.batch * config.context
        self.corpus = load_corpus(config.task, config.tokenizer, runs_folder() / "data")
        check_length(self.corpus, config.context)

    def model(self) -> nn.Module:
        return make_text_model(self.config, self.corpus.vocabulary)

    def batch(self, number: int, worker: int, workers: int) -> Batch:
        key = [self.config.seed, number, worker]
        tokens = batch(self.corpus.train, self.config.context, self.config.batch, key)
        return {"tokens": torch.from_numpy(tokens)}

    def loss(self, model: Callable[..., Any], batch: Batch) -> torch.Tensor:
        logits = model(input_ids=batch["tokens"][:, :-1]).logits
        return next_token_loss(logits, batch["tokens"])

    def inputs(self, batch: Batch) -> Batch:
        return {"input_ids": batch["tokens"][:, :-1]}

    def save(self, model: Any, folder: Path) -> None:
        save_causal_lm(model, self.corpus.tokenizer, folder)

    def judge(self, model: nn.Module, device: torch.device = CPU) -> dict[str, float]:
        c = self.config
        return judge(model, self.corpus, c.context, c.validation_windows, device)


def image_data(config: QSRConfig) -> ImageData:
    """The images of a config.

    Raises:
        ValueError: They cannot be read.
    """
    c, cache = config, runs_folder() / "data"
    if c.task == "drawings":
        return load_drawings(
            c.train_images,
            c.test_images,
            cache=cache,
            size=c.image_size or SIZE,
            label_noise=c.label_noise,
            seed=c.seed,
        )
    return load_images(
        c.task,
        cache=cache,
        size=c.image_size,
        label_noise=c.label_noise,
        seed=c.seed,
        columns=Columns(c.image_column, c.label_column),
        encoded=c.decode == "batch",
    )


def make_task(config: QSRConfig) -> Task:
    """The task of a config.

    Raises:
        ValueError: The data cannot be read or are too few.
    """
    return TextTask(config) if config.language else ImageTask(config)
