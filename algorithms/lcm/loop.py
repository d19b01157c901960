"""The training loop of LCM: distillation steps, and the judgement of the averaged student."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tenfold.algorithms.common.consistency import (
    ConsistencyFunction,
    consistency_loss,
    make_distance,
    solver_step,
)
from tenfold.algorithms.common.local_optimizer import AllReduce
from tenfold.algorithms.lcm.config import LCMConfig
from tenfold.algorithms.lcm.data import Framing, load_captions
from tenfold.algorithms.lcm.export import export
from tenfold.algorithms.lcm.judge import as_tensor, frechet_distance
from tenfold.algorithms.lcm.judging import clip_score, inception_features, scene_judging
from tenfold.algorithms.lcm.sampling import draw_grid, lcm_scheduler, sample, solver, write_png
from tenfold.algorithms.lcm.student import Student
from tenfold.algorithms.lcm.teacher import Condition, Teacher
from tenfold.envs.data.cache import fingerprint, prepared, stamps
from tenfold.envs.data.images import worker_indices
from tenfold.platform.devices import Compute
from tenfold.platform.store import runs_folder
from tenfold.platform.training import TrainingLoop, TrainingTrial

_STATE = "state.safetensors"
_COUNTERS = "state.json"
_ODE_SEED = 10**6
_GRID_SEED = 10**6 + 1
_GRID_COLUMNS = 8


class LCMLoop(TrainingLoop):
    """Distils a pipeline's UNet; gradients are averaged over workers at every step."""

    config: LCMConfig

    def __init__(self, config: LCMConfig, rank: int = 0, size: int = 1) -> None:
        super().__init__(config, rank, size)
        c = config
        self.compute = Compute.of(c)
        self.device = self.compute.device
        self.data = load_captions(
            c.task,
            cache=runs_folder() / "data",
            image_column=c.image_column,
            caption_column=c.caption_column,
            limit=c.images,
        )
        self.teacher = Teacher(c.teacher_folder, self.device, self.compute.dtype)
        self.resolution = c.resolution or self.teacher.folder.resolution
        self.framing = Framing(self.resolution, c.center_crop, c.flip)
        self._ode_ends = self._along_the_ode()
        torch.manual_seed(c.seed)
        self.student = Student(c, self.teacher.pipeline.unet)
        self.f = ConsistencyFunction(self.teacher.schedule, c.boundary)
        self.distance = make_distance(c.loss, c.huber_c)
        self.optimizer = self._adamw()
        self.scaler = self.compute.scaler()
        self.average = AllReduce()
        self.judging = scene_judging(c.teacher_folder, c.style, c.judge_images)
        self._latents = self._encode_all() if c.cache_latents else None

    @property
    def items(self) -> str:
        """Images."""
        return "images"

    @property
    def items_per_step(self) -> int:
        """Images that all workers consume in a step."""
        return self.config.batch * self.config.accumulate * self.size

    def train(self, due: int) -> dict[str, float]:
        """Distillation steps up to step `due`."""
        c = self.config
        losses = []
        while self.step < due:
            for group in self.optimizer.param_groups:
                group["lr"] = c.learning_rate(self.step)
            for part in range(c.accumulate):
                loss = self._loss(self.step * c.accumulate + part)
                self.scaler.scale(loss / c.accumulate).backward()
                losses.append(loss.detach())
            # The mean of scaled gradients, so that one worker's overflow is seen by all.
            self.average([p.grad for p in self.student.parameters.values() if p.grad is not None])
            self.scaler.unscale_(self.optimizer)
            if c.clip > 0:
                torch.nn.utils.clip_grad_norm_(self.student.parameters.values(), c.clip)
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad(set_to_none=True)
            self.student.update()
            self.step += 1
        train_loss = torch.stack(losses).mean()
        self.average([train_loss])
        return {
            "train_loss": float(train_loss),
            "lr": self.optimizer.param_groups[0]["lr"],
            "skipped_images": float(sum(self.data.skipped.values())),
            **self.evaluate(),
        }

    def evaluate(self) -> dict[str, float]:
        """Distance to the teacher's ODE; of scenes also quality, diversity and time.

        `ode_distance` is the root of the mean square, in latents, between one step of the student
        and N guided DDIM steps of the teacher from the same noise.
        """
        c = self.config
        with self._sampling() as (pipeline, scale):
            jumped = sample(
                pipeline, self._ode_prompts, 1, scale, _ODE_SEED, size=self.resolution, latent=True
            )
            metrics = {"ode_distance": float((jumped - self._ode_ends).square().mean().sqrt())}
            if self.judging is not None:
                for n in c.sample_steps:
                    judged = self.judging(pipeline, n, scale, c.seed)
                    metrics[f"frechet_{n}_steps"] = judged["frechet"]
                    metrics[f"accuracy_{n}_steps"] = judged["accuracy"]
                    if n == c.judged_steps:
                        metrics |= judged
            if c.clip_model or c.inception:
                metrics |= self._judged_by_others(pipeline, scale)
        return metrics

    def _judged_by_others(self, pipeline: Any, scale: float) -> dict[str, float]:
        """CLIP score and FID, of samples of the first captions against their images."""
        c = self.config
        places = range(min(c.judge_images, len(self.data)))
        prompts = [self.data.caption(k) for k in places]
        images = sample(
            pipeline, prompts, c.judged_steps, scale, c.seed, batch=8, size=self.resolution
        )
        found = {}
        if c.clip_model:
            found["clip_score"] = clip_score(c.clip_model, images, prompts)
        if c.inception:
            middle = Framing(self.resolution)
            rng = np.random.default_rng(0)
            real = np.stack([middle(self.data.image(k), rng)[0] for k in places])
            found["fid"] = frechet_distance(
                inception_features(c.inception, images),
                inception_features(c.inception, as_tensor(real)),
            )
        return found

    def draw(self, folder: Path) -> list[Path]:
        """Grids of the prompts at each number of steps, as PNG files."""
        prompts = list(self.config.prompts) or [
            self.data.caption(k) for k in range(min(_GRID_COLUMNS, len(self.data)))
        ]
        files = []
        with self._sampling() as (pipeline, scale):
            for n in self.config.sample_steps:
                images = sample(pipeline, prompts, n, scale, _GRID_SEED, size=self.resolution)
                grid = draw_grid(images, min(_GRID_COLUMNS, len(prompts)))
                files.append(write_png(grid, folder / f"grid_{n}_steps.png"))
        return files

    def save(self, folder: Path) -> None:
        """Process 0: parameters, average, moments, and the student as diffusers loads it."""
        if self.rank != 0:
            return
        tensors: dict[str, Tensor] = {}
        for group, held in (
            ("parameter", self.student.parameters),
            ("average", self.student.average or {}),
        ):
            tensors |= {f"{group}/{name}": tensor for name, tensor in held.items()}
        scalars: dict[str, Any] = {}
        for place, entries in self.optimizer.state_dict()["state"].items():
            for name, value in entries.items():
                if isinstance(value, Tensor):
                    tensors[f"optimizer/{place}/{name}"] = value
                else:
                    scalars[f"{place}/{name}"] = value
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, folder / _STATE)
        counters = {"step": self.step, "scaler": self.scaler.state_dict(), "scalars": scalars}
        (folder / _COUNTERS).write_text(json.dumps(counters))
        export(self.student, self.teacher.pipeline, self.config, folder / "student")
        self.draw(folder / "student")

    def load(self, folder: Path) -> None:
        """Continue from a checkpoint, of any number of workers."""
        counters = json.loads((folder / _COUNTERS).read_text())
        state: dict[int, dict[str, Any]] = {}
        for name, tensor in load_file(folder / _STATE).items():
            group, _, key = name.partition("/")
            if group == "optimizer":
                place, _, entry = key.partition("/")
                state.setdefault(int(place), {})[entry] = tensor
                continue
            held = self.student.parameters if group == "parameter" else self.student.average
            with torch.no_grad():
                (held or {})[key].copy_(tensor)
        for name, value in counters["scalars"].items():
            place, _, entry = name.partition("/")
            state.setdefault(int(place), {})[entry] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.scaler.load_state_dict(counters["scaler"])
        self.step = counters["step"]

    def _loss(self, draw: int) -> Tensor:
        """The loss of one micro-batch (LCM-LoRA report, Algorithm 1)."""
        c, schedule = self.config, self.teacher.schedule
        rng = _generator(c.seed, self.rank, draw)
        places = worker_indices(len(self.data), self.size, self.rank, c.batch, draw, c.seed)
        moments, condition = self._batch(places, draw, rng)
        B, (C, *side) = c.batch, moments.shape[1:]
        shape = (B, C // 2, *side)
        z0 = self.teacher.latents(moments, torch.randn(shape, generator=rng).to(self.device))
        eps = torch.randn(shape, generator=rng).to(self.device)
        i = torch.randint(c.grid.N, (B,), generator=rng)
        w = (c.w_min + (c.w_max - c.w_min) * torch.rand(B, generator=rng)).to(self.device)
        t = c.grid.timesteps[i].to(self.device)
        t_next = c.grid.successors[i].to(self.device)
        z = schedule.noised(z0, eps, t)
        with self.compute.autocast():
            if c.successor == "teacher":
                both = condition.joined(self.teacher.unconditional(condition))
                said = self.student.teacher(z.repeat(2, 1, 1, 1), t.repeat(2), both)
                cond, uncond = said.chunk(2)
                z_next = solver_step(schedule, c.grid, i.to(self.device), z, cond, uncond, w)
            else:
                z_next = schedule.noised(z0, eps, t_next)
            return consistency_loss(
                self.f,
                lambda z, t: self.student(z, t, condition, w),
                lambda z, t: self.student(z, t, condition, w, averaged=c.target == "average"),
                z,
                t,
                z_next,
                t_next,
                self.distance,
            )

    def _batch(
        self, places: np.ndarray, draw: int, rng: torch.Generator
    ) -> tuple[Tensor, Condition]:
        """Moments of the latents (B, 2 C, h, w) and conditions of some examples."""
        empty = torch.rand(len(places), generator=rng) < self.config.empty_prompt_share
        prompts = [
            "" if dropped else self.data.caption(int(k))
            for k, dropped in zip(places, empty, strict=True)
        ]
        if self._latents is None:
            framed = [
                self.framing(self.data.image(int(k)), np.random.default_rng([draw, int(k)]))
                for k in places
            ]
            pixels = as_tensor(np.stack([image for image, _ in framed]))
            moments = self.teacher.moments(pixels, self.config.vae_batch)
            sizes = [size for _, size in framed]
        else:
            moments = torch.from_numpy(self._latents[0][places]).to(self.device)
            sizes = self._latents[1][places].tolist()
        R = self.resolution
        time_ids = torch.tensor([[*size, R, R] for size in sizes], dtype=torch.float32)
        return moments, self.teacher.condition(prompts, time_ids)

    def _encode_all(self) -> tuple[np.ndarray, np.ndarray]:
        """Moments of the latents of all images (N, 2 C, h, w), and sizes and crops (N, 4).

        They are kept on disk, and used again by trials of the same data, autoencoder and framing.
        """
        vae = stamps(sorted((self.teacher.folder.path.absolute() / "vae").iterdir()))
        key = fingerprint([self.data.folder.name, str(self.framing), *vae])
        folder = prepared(runs_folder() / "data", f"latents-{key}", self._encode_into)
        return (
            np.load(folder / "moments.npy", mmap_mode="r"),
            np.load(folder / "sizes.npy", mmap_mode="r"),
        )

    def _encode_into(self, folder: Path) -> None:
        rng, N, batch = np.random.default_rng(0), len(self.data), self.config.vae_batch
        moments: np.ndarray | None = None
        sizes = np.empty((N, 4), dtype=np.int64)
        for first in range(0, N, batch):
            framed = [self.framing(self.data.image(k), rng) for k in range(first, N)[:batch]]
            pixels = as_tensor(np.stack([image for image, _ in framed]))
            some = self.teacher.moments(pixels, batch).cpu().numpy()
            if moments is None:
                moments = np.lib.format.open_memmap(
                    folder / "moments.npy", "w+", np.float32, (N, *some.shape[1:])
                )
            moments[first : first + batch] = some
            sizes[first : first + batch] = [size for _, size in framed]
        np.save(folder / "sizes.npy", sizes)

    @property
    def _ode_prompts(self) -> list[str]:
        return [self.data.caption(k % len(self.data)) for k in range(self.config.ode_images)]

    def _along_the_ode(self) -> Tensor:
        """Where the teacher's own guided DDIM steps end, from the noise that `evaluate` uses."""
        pipeline = self.teacher.pipeline
        pipeline.scheduler = solver("ddim", self.teacher.scheduler)
        with self.compute.autocast():
            return sample(
                pipeline,
                self._ode_prompts,
                self.config.solver_steps,
                1 + self.config.w,
                _ODE_SEED,
                size=self.resolution,
                latent=True,
            )

    @contextmanager
    def _sampling(self) -> Iterator[tuple[Any, float]]:
        """The pipeline with the averaged student, and the guidance_scale to call it with."""
        c, pipeline = self.config, self.teacher.pipeline
        held = pipeline.unet
        with self.student.standing() as unet, self.compute.autocast():
            pipeline.unet = unet
            pipeline.scheduler = lcm_scheduler(self.teacher.scheduler, c.grid, c.timestep_scaling)
            try:
                yield pipeline, 1 + c.w if c.time_cond_proj_dim else 1.0
            finally:
                pipeline.unet = held

    def _adamw(self) -> torch.optim.Optimizer:
        c = self.config
        parameters: list[Tensor] = list(self.student.parameters.values())
        if c.optimizer == "adamw8bit":
            from bitsandbytes.optim import AdamW8bit

            return AdamW8bit(parameters, lr=c.lr, weight_decay=c.weight_decay)
        return self.compute.adamw(parameters, lr=c.lr, weight_decay=c.weight_decay)


class LCM(TrainingTrial):
    """LCM as a Tune trainable."""

    loop_class = LCMLoop

    @staticmethod
    def as_pyfunc(checkpoint: Path) -> dict[str, Any]:
        """What `mlflow.pyfunc` takes to serve a checkpoint's student."""
        from tenfold.algorithms.lcm.pyfunc import pyfunc_of  # with MLflow, which no worker needs

        return pyfunc_of(checkpoint / "student")

    def draw_evaluation(self, folder: Path) -> list[Path]:
        """Grids of the restored student at each number of steps."""
        assert isinstance(self.loop, LCMLoop)
        return self.loop.draw(folder)


def _generator(*parts: int) -> torch.Generator:
    """A source of random numbers that is a function of whole numbers."""
    state = np.random.SeedSequence(parts).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> 1))
