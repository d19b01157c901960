"""What QSR trains on: a model from a transformers config, its data, its loss and its judgement."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from tenfold.algorithms.common.language_model import judge, make_gpt2, next_token_loss
from tenfold.algorithms.common.workers import Batch
from tenfold.algorithms.qsr.config import QSRConfig
from tenfold.algorithms.qsr.models import make_image_model
from tenfold.envs.data.images import ImageData, load_images, worker_indices
from tenfold.envs.data.text import batch, check_length, load_corpus
from tenfold.platform.devices import CPU
from tenfold.platform.store import runs_folder


class Task(ABC):
    """A model and its data.

    Attributes:
        items: What a batch holds, ``images`` or ``tokens``.
        items_per_batch: How many of them a worker takes at once.
    """

    items: ClassVar[str]
    items_per_batch: int

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


class ImageTask(Task):
    """Image classification by a ViT or a ResNet, with label noise and smoothing."""

    items = "images"

    def __init__(self, config: QSRConfig) -> None:
        self.config = config
        self.items_per_batch = config.batch
        self.data: ImageData = load_images(
            config.task,
            cache=runs_folder() / "data",
            size=config.image_size,
            label_noise=config.label_noise,
            seed=config.seed,
        )

    def model(self) -> nn.Module:
        _, channels, size, _ = self.data.train_x.shape
        return make_image_model(self.config, channels, size, len(self.data.classes))

    def batch(self, number: int, worker: int, workers: int) -> Batch:
        chosen = worker_indices(
            len(self.data.train_y), workers, worker, self.config.batch, number, self.config.seed
        )
        return {
            "pixel_values": torch.from_numpy(np.ascontiguousarray(self.data.train_x[chosen])),
            "labels": torch.from_numpy(self.data.train_y[chosen]),
        }

    def loss(self, model: Callable[..., Any], batch: Batch) -> torch.Tensor:
        logits = model(pixel_values=batch["pixel_values"]).logits.float()
        return cross_entropy(logits, batch["labels"], label_smoothing=self.config.label_smoothing)

    def inputs(self, batch: Batch) -> Batch:
        return {"pixel_values": batch["pixel_values"]}

    @torch.no_grad()
    def judge(self, model: nn.Module, device: torch.device = CPU) -> dict[str, float]:
        labels = torch.from_numpy(self.data.test_y).to(device)
        arrays = np.array_split(self.data.test_x, -(-len(labels) // 512))
        parts = (torch.from_numpy(array).to(device) for array in arrays)
        logits = torch.cat([model(pixel_values=part).logits for part in parts])
        accuracy = (logits.argmax(dim=1) == labels).double().mean()
        if not bool(logits.isfinite().all()):
            accuracy.fill_(torch.nan)  # of NaN, argmax is a class as any other
        return {"accuracy": float(accuracy), "loss": float(cross_entropy(logits, labels))}


class TextTask(Task):
    """Next-token prediction by a GPT-2."""

    items = "tokens"

    def __init__(self, config: QSRConfig) -> None:
        self.config = config
        self.items_per_batch = config.batch * config.context
        self.corpus = load_corpus(config.task, config.tokenizer, runs_folder() / "data")
        check_length(self.corpus, config.context)

    def model(self) -> nn.Module:
        return make_gpt2(self.corpus.vocabulary, self.config.context, self.config.model_sizes)

    def batch(self, number: int, worker: int, workers: int) -> Batch:
        key = [self.config.seed, number, worker]
        tokens = batch(self.corpus.train, self.config.context, self.config.batch, key)
        return {"tokens": torch.from_numpy(tokens)}

    def loss(self, model: Callable[..., Any], batch: Batch) -> torch.Tensor:
        logits = model(input_ids=batch["tokens"][:, :-1]).logits
        return next_token_loss(logits, batch["tokens"])

    def inputs(self, batch: Batch) -> Batch:
        return {"input_ids": batch["tokens"][:, :-1]}

    def judge(self, model: nn.Module, device: torch.device = CPU) -> dict[str, float]:
        c = self.config
        return judge(model, self.corpus, c.context, c.validation_windows, device)


def make_task(config: QSRConfig) -> Task:
    """The task of a config.

    Raises:
        ValueError: The data cannot be read or are too few.
    """
    return TextTask(config) if config.architecture == "gpt2" else ImageTask(config)
