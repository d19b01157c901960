"""The student: a LoRA on the teacher's UNet, or a UNet of its own that is told w."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig
from torch import Tensor, nn
from torch.func import functional_call

from tenfold.algorithms.common.consistency import update_average
from tenfold.algorithms.lcm.config import LCMConfig
from tenfold.algorithms.lcm.teacher import Condition

ADAPTER = "lcm"


def lora_config(rank: int, alpha: float, dropout: float, targets: tuple[str, ...]) -> LoraConfig:
    """The LoRA of the scripts: on every layer whose name ends in one of the targets."""
    return LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=list(targets))


def add_lora(unet: UNet2DConditionModel, config: LCMConfig) -> None:
    """Give a frozen UNet a LoRA that learns in float32.

    Raises:
        ValueError: It has no layer of the given names.
    """
    unet.requires_grad_(False)
    targets = tuple(config.target_modules)
    unet.add_adapter(lora_config(config.rank, config.lora_alpha, config.dropout, targets), ADAPTER)
    for parameter in unet.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def guidance_embedding(w: Tensor, dim: int) -> Tensor:
    """[sin(u f), cos(u f)] with u = 1000 w, f_j = 10000^(-j / (dim/2 - 1)), (B, dim).

    It is what Stable Diffusion pipelines feed to a UNet with `time_cond_proj_dim`.

    Args:
        w: (B,).
        dim: An odd one gets a zero at its end.
    """
    half = dim // 2
    f = torch.exp(-math.log(10_000.0) / (half - 1) * torch.arange(half, device=w.device))
    phase = 1000.0 * w.float()[:, None] * f
    return nn.functional.pad(torch.cat([phase.sin(), phase.cos()], dim=1), (0, dim % 2))


def conditioned_copy(teacher: UNet2DConditionModel, dim: int, zero: bool) -> UNet2DConditionModel:
    """A UNet with the teacher's weights, in float32, that can be told w.

    Args:
        teacher: Copied.
        dim: Width of w's embedding; 0 for none.
        zero: Start the layer that takes it at zero, so that the copy equals the teacher.
    """
    student = UNet2DConditionModel.from_config(teacher.config, time_cond_proj_dim=dim or None)
    missing, unexpected = student.load_state_dict(teacher.state_dict(), strict=False)
    if unexpected or set(missing) - {"time_embedding.cond_proj.weight"}:
        raise ValueError(f"The teacher's weights do not fit: {missing}, {unexpected}.")
    if dim and zero:
        nn.init.zeros_(student.time_embedding.cond_proj.weight)
    return student.float()


class Student:
    """A UNet of which some parameters learn, with a moving average of them.

    Attributes:
        unet: The UNet, in whatever pipeline samples it.
        parameters: What learns, by name.
        average: Its moving average, if there is one.

    Args:
        config: Mode, embedding, averaging.
        teacher: The teacher's UNet; in LoRA mode the student is this very module.
    """

    def __init__(self, config: LCMConfig, teacher: UNet2DConditionModel) -> None:
        self.config = config
        self._teacher = teacher
        if config.mode == "lora":
            add_lora(teacher, config)
            self.unet = teacher
        else:
            self.unet = conditioned_copy(
                teacher, config.time_cond_proj_dim, config.zero_init_cond
            ).to(teacher.device)
        if config.gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()
        self.unet.train()
        self.parameters: dict[str, nn.Parameter] = {
            name: p for name, p in self.unet.named_parameters() if p.requires_grad
        }
        self.average: dict[str, Tensor] | None = (
            {name: p.detach().clone() for name, p in self.parameters.items()}
            if config.ema_decay
            else None
        )

    def __call__(
        self, z: Tensor, t: Tensor, condition: Condition, w: Tensor, averaged: bool = False
    ) -> Tensor:
        """The student's output m at (z, t), (B, C, h, w).

        Args:
            z: (B, C, h, w).
            t: (B,).
            condition: Prompts.
            w: Guidance (B,), told only to a UNet that has an embedding for it.
            averaged: With the moving average of the parameters.
        """
        arguments = dict(condition.arguments)
        if self.config.time_cond_proj_dim:
            arguments["timestep_cond"] = guidance_embedding(w, self.config.time_cond_proj_dim)
        weights: Mapping[str, Tensor] = (self.average or {}) if averaged else {}
        return functional_call(self.unet, dict(weights), (z, t), arguments).sample

    @torch.no_grad()
    def teacher(self, z: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """The teacher's output: the UNet without its LoRA, or the frozen one."""
        if self.config.mode == "full":
            return self._teacher(z, t, **condition.arguments).sample
        self.unet.disable_adapters()
        try:
            return self.unet(z, t, **condition.arguments).sample
        finally:
            self.unet.enable_adapters()

    def update(self) -> None:
        """Move the average."""
        if self.average is not None:
            new = [p.detach() for p in self.parameters.values()]
            update_average(list(self.average.values()), new, self.config.ema_decay)

    @contextmanager
    def standing(self) -> Iterator[Any]:
        """The UNet as it is judged and saved: with its averaged parameters, in evaluation mode."""
        held = {name: p.detach().clone() for name, p in self.parameters.items()}
        self._put(self.average or held)
        self.unet.eval()
        try:
            yield self.unet
        finally:
            self._put(held)
            self.unet.train()

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])
