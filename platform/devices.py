"""Where a training loop computes and in what precision: what stands between a loop and a GPU.

    self.compute = Compute.of(config)
    model.to(self.compute.device)
    self.batches = Batches(self._batch, self.compute)  # made ahead, pinned, brought over unawaited
    with self.compute.autocast():
        logits = model(**self.batches(number))

Weights, optimizer state and reductions stay in float32 whatever the precision. Random numbers are
drawn on the CPU and moved, so that a card starts from the same model and sees the same data.
"""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import ray
import torch

from tenfold.platform.errors import InputError, shown

if TYPE_CHECKING:
    from tenfold.platform.training import TrainingConfig

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""The type that products are computed in, by `TrainingConfig.precision`."""

CPU = torch.device("cpu")
Batch = Mapping[str, torch.Tensor]
C = TypeVar("C", bound="TrainingConfig")


@dataclass(frozen=True)
class Compute:
    """A device and a precision.

    Attributes:
        device: Where tensors live; a GPU has its index.
        dtype: Of what autocast computes in a lower precision.
    """

    device: torch.device = CPU
    dtype: torch.dtype = torch.float32

    @classmethod
    def of(cls, config: "TrainingConfig") -> "Compute":
        """What a config asks for, in this process.

        Raises:
            InputError: There is no such device here, or it does not know the precision.
        """
        device = CPU if config.device == "cpu" else assigned_device()
        if config.device == "cuda" and device == CPU:
            raise InputError(
                "Bad value 'cuda' for 'device': this process has no GPU; give auto or cpu."
            )
        check_precision(config.precision, device)
        return cls(device, DTYPES[config.precision])

    @property
    def on_card(self) -> bool:
        """Whether the device is another than the CPU."""
        return self.device.type != "cpu"

    def bring(self, batch: Batch) -> Batch:
        """A batch on the device; from pinned memory the copy to a card is not waited for."""
        return {name: values.to(self.device, non_blocking=True) for name, values in batch.items()}

    def autocast(self) -> torch.autocast:
        """Within it, a model of float32 weights computes its products in `dtype`."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def scaler(self) -> torch.amp.GradScaler:
        """Scales the loss where gradients of float16 would vanish; does nothing elsewhere."""
        return torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)

    def adamw(
        self, parameters: list[torch.Tensor] | list[dict[str, Any]], **options: Any
    ) -> torch.optim.AdamW:
        """AdamW, on a card as one kernel for all parameters of a group.

        Args:
            parameters: On the device, or groups of them as torch takes them.
            **options: As `torch.optim.AdamW` takes them.
        """
        return torch.optim.AdamW(parameters, fused=True if self.on_card else None, **options)


class Batches:
    """Batches by their number, each made and pinned in a thread while the one before is used.

    Args:
        make: A batch on the CPU; a pure function of its number.
        compute: Where batches go. On the CPU they are made when they are asked for.
        ahead: Make them ahead on the CPU, too.
    """

    def __init__(self, make: Callable[[int], Batch], compute: Compute, ahead: bool = False) -> None:
        self._make = make
        self._compute = compute
        self._ahead: dict[int, Future[Batch]] = {}
        self._thread = ThreadPoolExecutor(1) if compute.on_card or ahead else None

    def __call__(self, number: int) -> Batch:
        """The batch, on the device; a copy to a card may still be under way."""
        if self._thread is None:
            return self._make(number)
        made = self._ahead.pop(number, None) or self._thread.submit(self._pinned, number)
        self._ahead = {number + 1: self._thread.submit(self._pinned, number + 1)}
        return self._compute.bring(made.result())

    def _pinned(self, number: int) -> Batch:
        batch = self._make(number)
        if not self._compute.on_card:
            return batch
        return {name: values.pin_memory() for name, values in batch.items()}


def assigned_device() -> torch.device:
    """The GPU that Ray assigned to this actor; outside of actors the one that torch would take.

    An actor without a GPU computes on the CPU, also where torch sees the cards of other trials.
    """
    if not torch.cuda.is_available():
        return CPU
    if not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
        return torch.device("cuda", torch.cuda.current_device())
    assigned = [str(card) for card in ray.get_gpu_ids()]
    if not assigned:
        return CPU
    # Ray Train's workers see all cards that their node has for them, other trials see their own.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    places = [visible.split(",").index(card) if visible else int(card) for card in assigned]
    return torch.device("cuda", min(places))


def anywhere(config: C) -> C:
    """A training's config for judging its model in this process, with a card or without one."""
    changed = {"device": "auto"}
    if config.precision == "fp16" and assigned_device() == CPU:
        changed["precision"] = "fp32"
    return config.model_copy(update=changed)


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that a device does not compute in.

    Raises:
        InputError: One sentence with the value and what would be right.
    """
    if precision == "fp16" and device.type == "cpu":
        raise InputError(
            "Bad value 'fp16' for 'precision': it is for GPUs, and this would run on the CPU; "
            "give fp32 or bf16."
        )
    if precision == "bf16" and device.type == "cuda":
        with torch.cuda.device(device):
            known = torch.cuda.is_bf16_supported(including_emulation=False)
        if not known:
            raise InputError(
                f"Bad value 'bf16' for 'precision': {torch.cuda.get_device_name(device)} does not "
                "compute in it; give fp32 or fp16."
            )


def compiled(model: Callable[..., Any]) -> Callable[..., Any]:
    """A model by torch.compile; where it cannot be compiled it says so once and runs as it is."""
    fast: Callable[..., Any] | None = torch.compile(model)

    def call(**inputs: Any) -> Any:
        nonlocal fast
        if fast is not None:
            try:
                return fast(**inputs)
            except torch._dynamo.exc.TorchDynamoException as error:
                fast = None
                print(f"torch.compile fails ({shown(str(error))}), so the model runs as it is.")
        return model(**inputs)

    return call
