"""Training of the embedded default: its autoencoder, and its teacher by noise prediction.

Both trainings draw all that is random from the seed and the step and write a checkpoint every
now and then, from which an interrupted training goes on as if it had not been.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

Report = Callable[[int, float], None]


@dataclass(frozen=True)
class Stage:
    """How long and how fast to train.

    Attributes:
        steps: Optimizer steps.
        batch: Images a step.
        lr: Peak learning rate; rises over `warmup` steps, then falls along a cosine to 0.
        warmup: Steps of rising learning rate.
        save_every: Steps between two checkpoints.
    """

    steps: int
    batch: int
    lr: float
    warmup: int = 50
    save_every: int = 100

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        rise = min(1.0, (step + 1) / self.warmup)
        return self.lr * rise * 0.5 * (1 + math.cos(math.pi * step / self.steps))


AUTOENCODER = Stage(steps=2_400, batch=32, lr=2e-3)
TEACHER = Stage(steps=1_600, batch=64, lr=1.5e-3)
EMPTY_CAPTIONS = 0.1
_KL_WEIGHT = 1e-6
_EMA = 0.999


def generator(seed: int, step: int) -> torch.Generator:
    """The source of all that is random in a step."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def train_autoencoder(
    vae: AutoencoderKL, images: Tensor, stage: Stage, seed: int, folder: Path, report: Report
) -> None:
    """Train by reconstruction (squared and absolute error) with a small KL term.

    Afterwards `scaling_factor` in its config is 1 / the deviation of its latents.

    Args:
        vae: Trained in place.
        images: (N, 3, H, W) in [-1, 1].
        stage: How long.
        seed: Of order and latents.
        folder: For the checkpoint.
        report: Told step and loss.
    """
    vae.to(memory_format=torch.channels_last)

    def loss(step: int) -> Tensor:
        draw = generator(seed, step)
        batch = images[torch.randint(len(images), (stage.batch,), generator=draw)]
        posterior = vae.encode(batch).latent_dist
        decoded = vae.decode(posterior.sample(draw)).sample
        error = decoded - batch
        return error.square().mean() + 0.1 * error.abs().mean() + _KL_WEIGHT * posterior.kl().mean()

    _train({"vae": vae}, loss, stage, folder, report)
    vae.to(memory_format=torch.contiguous_format)
    vae.eval()
    with torch.no_grad():
        latents = torch.cat(
            [vae.encode(part).latent_dist.mean for part in images[:2048].split(256)]
        )
    vae.register_to_config(scaling_factor=1 / float(latents.std()))


def train_teacher(
    pipeline: StableDiffusionPipeline,
    images: Tensor,
    captions: list[str],
    stage: Stage,
    seed: int,
    folder: Path,
    report: Report,
) -> None:
    """Train UNet and text encoder to predict noise; some captions are empty, for guidance.

    Only parameters that require a gradient learn, for a style's LoRA those of the LoRA. The
    pipeline ends with the moving average of the weights.

    Args:
        pipeline: Its autoencoder is trained; its UNet and text encoder are trained in place.
        images: (N, 3, H, W) in [-1, 1].
        captions: N.
        stage: How long.
        seed: Of order, noise and timesteps.
        folder: For the checkpoint.
        report: Told step and loss.
    """
    unet, text, vae = pipeline.unet, pipeline.text_encoder, pipeline.vae
    with torch.no_grad():
        moments = [vae.encode(part).latent_dist.parameters for part in images.split(256)]
    mean, log_variance = torch.cat(moments).chunk(2, dim=1)
    deviation = (0.5 * log_variance.clamp(-30, 20)).exp()
    tokens = pipeline.tokenizer(
        ["", *captions], padding="max_length", truncation=True, return_tensors="pt"
    ).input_ids
    abar = pipeline.scheduler.alphas_cumprod

    def loss(step: int) -> Tensor:
        draw = generator(seed, step)
        places = torch.randint(len(images), (stage.batch,), generator=draw)
        shape = (stage.batch, *mean.shape[1:])
        z0 = mean[places] + deviation[places] * torch.randn(shape, generator=draw)
        z0 = z0 * vae.config.scaling_factor
        empty = torch.rand(stage.batch, generator=draw) < EMPTY_CAPTIONS
        prompt = tokens[torch.where(empty, 0, places + 1)]
        t = torch.randint(len(abar), (stage.batch,), generator=draw)
        eps = torch.randn(shape, generator=draw)
        a = abar[t].view(-1, 1, 1, 1)
        z = a.sqrt() * z0 + (1 - a).sqrt() * eps
        predicted = unet(z, t, encoder_hidden_states=text(prompt)[0]).sample
        return nn.functional.mse_loss(predicted, eps)

    _train({"unet": unet, "text": text}, loss, stage, folder, report, ema=_EMA)
    unet.eval()
    text.eval()


def _train(
    modules: Mapping[str, nn.Module],
    loss: Callable[[int], Tensor],
    stage: Stage,
    folder: Path,
    report: Report,
    ema: float | None = None,
) -> None:
    """AdamW over the modules' parameters, from the checkpoint in `folder` if there is one."""
    parameters = {
        f"{name}.{key}": p
        for name, module in modules.items()
        for key, p in module.named_parameters()
        if p.requires_grad
    }
    optimizer = torch.optim.AdamW(parameters.values(), lr=stage.lr, weight_decay=1e-4)
    averages = {name: p.detach().clone() for name, p in parameters.items()}
    first = _load(folder, parameters, averages, optimizer)
    for module in modules.values():
        module.train()
    for step in range(first, stage.steps):
        for group in optimizer.param_groups:
            group["lr"] = stage.rate(step)
        value = loss(step)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step()
        if ema is not None:
            keep = min(ema, (1 + step) / (10 + step))
            for name, average in averages.items():
                average.lerp_(parameters[name].detach(), 1 - keep)
        report(step, float(value.detach()))
        if (step + 1) % stage.save_every == 0:
            _save(folder, step + 1, parameters, averages, optimizer)
    if ema is not None:
        with torch.no_grad():
            for name, average in averages.items():
                parameters[name].copy_(average)


def _save(
    folder: Path,
    step: int,
    parameters: Mapping[str, Tensor],
    averages: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    state = optimizer.state_dict()["state"]
    tensors = {
        **{f"parameter/{name}": p.detach().contiguous() for name, p in parameters.items()},
        **{f"average/{name}": p.contiguous() for name, p in averages.items()},
        **{
            f"optimizer/{i}/{key}": torch.as_tensor(value).contiguous()
            for i, entries in state.items()
            for key, value in entries.items()
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    # Written beside and moved, so that an interruption leaves the older one whole.
    save_file(tensors, folder / "new.safetensors", {"step": json.dumps(step)})
    (folder / "new.safetensors").replace(folder / "checkpoint.safetensors")


def _load(
    folder: Path,
    parameters: Mapping[str, Tensor],
    averages: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
) -> int:
    """Continue from a folder's checkpoint, and return the step that it stands at."""
    file = folder / "checkpoint.safetensors"
    if not file.exists():
        return 0
    with safe_open(file, "pt") as opened:
        step = int(json.loads(opened.metadata()["step"]))
    tensors = load_file(file)
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        kind, _, key = name.partition("/")
        if kind == "optimizer":
            place, _, entry = key.partition("/")
            state.setdefault(int(place), {})[entry] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    with torch.no_grad():
        for name in parameters:
            parameters[name].copy_(tensors[f"parameter/{name}"])
            averages[name].copy_(tensors[f"average/{name}"])
    return step
