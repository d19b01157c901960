"""Speed of LCM: images beside DDIM-50 with guidance, and distillation steps by architecture.

python benchmarks/lcm.py                                      the embedded teacher, on this machine
python benchmarks/lcm.py --architecture sdxl --batch 1 --batch 4    random weights; wants a GPU
python benchmarks/lcm.py --architecture sd15

The first compares both samplers in one process, in turns, with a LoRA of random weights (its
values do not change the time). The others time LoRA steps (rank 64, both teacher passes, target,
student, AdamW) on random latents and prompts, at 1024 pixels for SDXL and 512 for SD-1.5, with the
peak of the GPU's memory; autoencoder and text encoders are left out.
"""

import argparse
import statistics
import time
from typing import Any

import torch
from diffusers import UNet2DConditionModel

from tenfold.algorithms.common.consistency import (
    ConsistencyFunction,
    NoiseSchedule,
    SolverGrid,
    consistency_loss,
    make_distance,
    solver_step,
)
from tenfold.algorithms.lcm.config import LCMConfig
from tenfold.algorithms.lcm.folder import EMBEDDED_FOLDER
from tenfold.algorithms.lcm.sampling import lcm_scheduler, sample, solver
from tenfold.algorithms.lcm.student import Student, add_lora
from tenfold.algorithms.lcm.teacher import Condition, Teacher

SD15 = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SDXL = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}


def sampling(images: int, repeats: int) -> None:
    """CPU seconds an image: 4 steps of a LoRA, and DDIM-50 with guidance."""
    pipelines: dict[str, tuple[Any, int, float]] = {}
    for name, steps, scale in (("LCM-LoRA", 4, 1.0), ("DDIM with guidance", 50, 7.5)):
        pipeline = Teacher(EMBEDDED_FOLDER, torch.device("cpu"), torch.float32).pipeline
        config = pipeline.scheduler.config
        if name == "LCM-LoRA":
            add_lora(pipeline.unet, LCMConfig())
            pipeline.scheduler = lcm_scheduler(config, SolverGrid(50), 10.0)
        else:
            pipeline.scheduler = solver("ddim", config)
        pipelines[name] = (pipeline, steps, scale)
    used: dict[str, list[float]] = {name: [] for name in pipelines}
    prompts = ["a red ring left of a blue square"] * images
    for repeat in range(repeats):
        for name, (pipeline, steps, scale) in pipelines.items():
            start = time.process_time()
            sample(pipeline, prompts, steps, scale, repeat)
            used[name].append((time.process_time() - start) / images)
    for name, (_, steps, _) in pipelines.items():
        print(f"{name}, {steps} steps: {1000 * statistics.median(used[name]):.1f} ms an image")
    ratios = [b / a for a, b in zip(*used.values(), strict=True)]
    print(f"ratio: median {statistics.median(ratios):.1f}, {min(ratios):.1f} to {max(ratios):.1f}")


def distillation(architecture: str, batch: int, steps: int) -> None:
    """Seconds a step and peak memory."""
    sizes: dict[str, Any] = {"sd15": SD15, "sdxl": SDXL}[architecture]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16
    with device:
        unet = UNet2DConditionModel(**sizes).to(dtype)
    config = LCMConfig(
        rank=64, precision="bf16", gradient_checkpointing=True, target="student", ema_decay=0.0
    )
    student = Student(config, unet)
    optimizer = torch.optim.AdamW(student.parameters.values(), lr=1e-4)
    abar = torch.linspace(0.999, 0.005, 1000)
    schedule, grid = NoiseSchedule(abar), SolverGrid(50)
    f, distance = ConsistencyFunction(schedule), make_distance("huber", 1e-3)
    side, width = sizes["sample_size"], sizes["cross_attention_dim"]
    z = torch.randn(batch, 4, side, side, device=device)
    prompts = torch.randn(batch, 77, width, device=device, dtype=dtype)
    extra = (
        (torch.randn(batch, 1280, device=device, dtype=dtype), torch.zeros(batch, 6, device=device))
        if architecture == "sdxl"
        else (None, None)
    )
    condition, w = Condition(prompts, *extra), torch.full((batch,), 6.5, device=device)
    seconds = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        i = torch.randint(grid.N, (batch,))
        t, t_next = grid.timesteps[i].to(device), grid.successors[i].to(device)
        with torch.autocast(device.type, dtype):
            said = student.teacher(z.repeat(2, 1, 1, 1), t.repeat(2), condition.joined(condition))
            cond, uncond = said.chunk(2)
            z_next = solver_step(schedule, grid, i.to(device), z, cond, uncond, w)
            loss = consistency_loss(
                f,
                lambda z, t: student(z, t, condition, w),
                lambda z, t: student(z, t, condition, w),
                z,
                t,
                z_next,
                t_next,
                distance,
            )
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else float("nan")
    where = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(
        f"{architecture}, {8 * side} pixels, batch {batch}, {where}: "
        f"{statistics.median(seconds[2:]):.3f} s a step, peak {peak:.1f} GiB"
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--architecture", choices=["embedded", "sd15", "sdxl"], default="embedded")
    parser.add_argument("--batch", type=int, action="append", help="of a distillation step")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--images", type=int, default=64)
    given = parser.parse_args()
    if given.architecture == "embedded":
        torch.set_num_threads(1)
        sampling(given.images, repeats=5)
    for batch in given.batch or ([] if given.architecture == "embedded" else [1]):
        distillation(given.architecture, batch, given.steps)


if __name__ == "__main__":
    main()
