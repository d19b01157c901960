"""What a distillation leaves: files that plain diffusers loads, with a model card.

The LoRA's alpha travels in the metadata of its file, since diffusers takes alpha = rank without it.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from peft import get_peft_model_state_dict
from safetensors.torch import save_file
from torch import Tensor

from tenfold.algorithms.lcm.config import LCMConfig
from tenfold.algorithms.lcm.folder import EMBEDDED, RECORD, Record
from tenfold.algorithms.lcm.student import ADAPTER, Student
from tenfold.platform.devices import DTYPES

KOHYA_FILE = "lora_kohya.safetensors"


def export(student: Student, pipeline: Any, config: LCMConfig, folder: Path) -> None:
    """Write the student.

    LoRA: `pytorch_lora_weights.safetensors` (and `lora_kohya.safetensors` on demand). Full: `unet`,
    and `unet_target` with the averaged parameters. Both: `README.md` and `lcm.json`.

    Args:
        student: Its averaged parameters are written where it has them.
        pipeline: The teacher's; its class knows the file's format.
        config: Of the run.
        folder: Made if it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if config.mode == "full":
        student.unet.save_pretrained(folder / "unet")
        with student.standing() as unet:
            unet.save_pretrained(folder / "unet_target")
    else:
        with student.standing() as unet:
            write_lora(unet, type(pipeline), folder, _dtype(config), kohya=config.kohya)
    guidance_scale = 1 + config.w if config.time_cond_proj_dim else 1.0
    record = Record(
        teacher=EMBEDDED if config.teacher == EMBEDDED else str(config.teacher_folder.absolute()),
        mode=config.mode,
        solver_steps=config.solver_steps,
        timestep_scaling=config.timestep_scaling,
        guidance_scale=guidance_scale,
    )
    (folder / RECORD).write_text(record.model_dump_json(indent=1))
    (folder / "README.md").write_text(_card(config, type(pipeline).__name__, guidance_scale))


def write_lora(
    unet: UNet2DConditionModel,
    pipeline_class: Any,
    folder: Path,
    dtype: torch.dtype = torch.float32,
    kohya: bool = False,
) -> None:
    """Write a UNet's LoRA for `load_lora_weights`, and for A1111 and ComfyUI on demand."""
    adapter = unet.peft_config[ADAPTER]
    weights = {
        name: tensor.detach().to(dtype).cpu().contiguous()
        for name, tensor in get_peft_model_state_dict(unet, adapter_name=ADAPTER).items()
    }
    pipeline_class.save_lora_weights(
        folder, unet_lora_layers=weights, unet_lora_adapter_metadata=adapter.to_dict()
    )
    if kohya:
        save_file(kohya_weights(weights, float(adapter.lora_alpha)), folder / KOHYA_FILE)


def kohya_weights(weights: dict[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """A LoRA in kohya's names: lora_unet_<path with underscores>.lora_down.weight, .alpha, ...

    Args:
        weights: In peft's names, <path>.lora_A.weight and <path>.lora_B.weight.
        alpha: Of every layer.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        path, _, part = name.removesuffix(".weight").rpartition(".")
        layer = f"lora_unet_{path.replace('.', '_')}"
        side = {"lora_A": "lora_down", "lora_B": "lora_up"}[part]
        renamed[f"{layer}.{side}.weight"] = tensor
        renamed[f"{layer}.alpha"] = torch.tensor(alpha)
    return renamed


def _dtype(config: LCMConfig) -> torch.dtype:
    dtype: torch.dtype = DTYPES[config.precision]
    return dtype


def _card(config: LCMConfig, pipeline: str, guidance_scale: float) -> str:
    """A model card: what it is, how it was made, how it is used."""
    base = config.teacher
    if base == EMBEDDED:
        base = "path/of/tenfold/algorithms/lcm/scenes_teacher"
    load = (
        'pipe.load_lora_weights("path/of/this/folder", adapter_name="lcm")'
        if config.mode == "lora"
        else 'pipe.unet = UNet2DConditionModel.from_pretrained("path/of/this/folder/unet_target")'
    )
    w = f"{config.w_min}" if config.w_min == config.w_max else f"{config.w_min} to {config.w_max}"
    what = "LCM-LoRA" if config.mode == "lora" else "LCM"
    return f"""---
base_model: {config.teacher}
library_name: diffusers
tags: [lcm, {config.mode}]
---
# {what} of {config.teacher}

Distilled by `tenfold run lcm` (arXiv:2310.04378, 2311.05556): {config.steps} steps of
{config.batch * config.accumulate} images a worker from `{config.task}`, guidance w = {w}
(guidance_scale 1 + w), N = {config.solver_steps} solver steps, loss {config.loss}, learning rate
{config.lr}.

    import torch
    from diffusers import LCMScheduler, UNet2DConditionModel, {pipeline}

    pipe = {pipeline}.from_pretrained("{base}", torch_dtype=torch.float32)
    pipe.scheduler = LCMScheduler.from_config(
        pipe.scheduler.config, original_inference_steps={config.solver_steps}
    )
    {load}
    pipe("a prompt", num_inference_steps=4, guidance_scale={guidance_scale}).images[0]
"""
