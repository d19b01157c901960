"""Config of LCM and LCM-LoRA, and what can be refused before any worker starts."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from tenfold.algorithms.common.consistency import Boundary, SolverGrid
from tenfold.algorithms.common.learning_rate import LearningRate
from tenfold.algorithms.lcm.data import SCENES, check_source
from tenfold.algorithms.lcm.folder import EMBEDDED, PipelineFolder, teacher_folder
from tenfold.platform.parameters import parameter
from tenfold.platform.training import Listed, TrainingConfig

LORA_TARGETS = (
    *("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"),
    *("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv"),
    "time_emb_proj",
)
"""The layers that diffusers' LCM-LoRA scripts adapt."""


class LCMConfig(TrainingConfig):
    """Latent consistency distillation (arXiv:2310.04378, 2311.05556), T steps.

    The student learns f(z, t) with d(f(z_t, t), f'(z_t', t')) -> 0, where z_t' is one solver step
    of the teacher from z_t under guidance cond + w (cond - uncond); diffusers' `guidance_scale` is
    1 + w. Variants: LoRA on the teacher; all parameters, told w by an embedding, with an averaged
    target; and fine-tuning on data, where z_t' is the same image with the same noise (LCF).
    """

    fixed = frozenset(
        {"teacher", "mode", "rank", "alpha", "target_modules", "time_cond_proj_dim", "optimizer"}
    )

    task: str = parameter("scenes", "What to train on: scenes, or a path of captioned images")
    steps: int = parameter(160, "Optimizer steps T", ge=1, le=10**9)
    report_every: int = parameter(80, "Between two reports", unit="steps", ge=1, le=10**9)
    teacher: str = parameter(
        EMBEDDED, "Folder of a StableDiffusionPipeline or StableDiffusionXLPipeline, or embedded"
    )
    mode: Literal["lora", "full"] = parameter("lora", "Parameters that learn: LoRA layers, or all")
    successor: Literal["teacher", "data"] = parameter(
        "teacher", "Where z' comes from: the teacher's solver step (LCD), or the image (LCF)"
    )
    rank: int = parameter(16, "Rank r of the LoRA", ge=1, le=4096)
    alpha: float | None = parameter(None, "LoRA's scale is alpha / rank; rank when null", gt=0)
    dropout: float = parameter(0.0, "Of the LoRA's input", ge=0, lt=1)
    target_modules: Listed[tuple[str, ...]] = parameter(
        LORA_TARGETS, "Ends of the names of layers that get a LoRA", min_length=1
    )
    w_min: float = parameter(6.5, "Least guidance strength w", ge=0, le=100)
    w_max: float = parameter(6.5, "Greatest w; fixed when equal", ge=0, le=100)
    solver_steps: int = parameter(
        20, "Solver steps N; a step skips k = T // N (the papers: N = 50, k = 20)", ge=1, le=1000
    )
    timestep_scaling: float = parameter(10.0, "s of c_skip and c_out", gt=0, le=1000)
    loss: Literal["l2", "huber"] = parameter("huber", "Distance d")
    huber_c: float = parameter(1e-3, "c of huber", gt=0, le=10)
    target: Literal["student", "average"] = parameter(
        "average", "f' of the loss: the student itself drifts, see README.md"
    )
    ema_decay: float = parameter(
        0.95,
        "Decay a step of the averaged weights, which are judged and saved; 0: none",
        ge=0,
        lt=1,
    )
    time_cond_proj_dim: int = parameter(
        0, "Width of the embedding that tells w to the student (full LCD); 0: not told", ge=0
    )
    zero_init_cond: bool = parameter(False, "Start that embedding's layer at zero")
    optimizer: Literal["adamw", "adamw8bit"] = parameter("adamw", "adamw8bit needs bitsandbytes")
    lr: float = parameter(5e-4, "Peak learning rate", gt=0, le=1)
    lr_shape: Literal["constant", "cosine", "linear"] = parameter("cosine", "Its course")
    lr_warmup: int = parameter(20, "Of rising learning rate", unit="steps", ge=0)
    weight_decay: float = parameter(0.0, "Of AdamW", ge=0, le=1)
    clip: float = parameter(1.0, "Largest norm of the gradient; 0 does not clip", ge=0)
    batch: int = parameter(64, "Images of a worker in a micro-batch", ge=1, le=10**5)
    gradient_checkpointing: bool = parameter(False, "Trade time for memory")
    empty_prompt_share: float = parameter(0.0, "Captions replaced by the empty one", ge=0, lt=1)
    images: int = parameter(12_000, "Images to use, at most; scenes are drawn as many", ge=1)
    image_column: str = parameter("image", "Of Parquet and Arrow")
    caption_column: str = parameter(
        "text", "Of Parquet and Arrow, metadata files and a shard's .json"
    )
    resolution: int | None = parameter(
        None, "Side of a training image; the teacher's own when null", unit="pixels", ge=8, le=8192
    )
    center_crop: bool = parameter(True, "Cut the middle out; a random part otherwise")
    flip: bool = parameter(False, "Mirror half of the images")
    cache_latents: bool = parameter(True, "Encode each image once, before training")
    vae_batch: int = parameter(64, "Images that the autoencoder takes at once", ge=1)
    kohya: bool = parameter(False, "Write the LoRA in kohya's format too")
    prompts: Listed[tuple[str, ...]] = parameter((), "Of the grids; captions when empty")
    sample_steps: Listed[tuple[int, ...]] = parameter(
        (1, 2, 4, 8), "Numbers of steps that are sampled and judged", min_length=1
    )
    judge_images: int = parameter(256, "Images a number of steps, of scenes and of FID", ge=4)
    ode_images: int = parameter(16, "Samples that are held against the teacher's ODE", ge=1)
    clip_model: str = parameter("", "Folder of a CLIPModel for CLIP scores; none when empty")
    inception: str = parameter("", "TorchScript file of Inception for FID; none when empty")

    @property
    def teacher_folder(self) -> Path:
        """Where the teacher lies."""
        return teacher_folder(self.teacher)

    @property
    def style(self) -> str:
        """How the scenes of the task are drawn; '' where the task is a path."""
        return SCENES.get(self.task, "")

    @property
    def lora_alpha(self) -> float:
        """alpha, which is the rank unless given."""
        return float(self.rank) if self.alpha is None else self.alpha

    @property
    def grid(self) -> SolverGrid:
        """t_i and their successors."""
        return SolverGrid(self.solver_steps)

    @property
    def boundary(self) -> Boundary:
        """c_skip and c_out."""
        return Boundary(self.timestep_scaling)

    @property
    def w(self) -> float:
        """Guidance that the student is judged at: the middle of its range."""
        return 0.5 * (self.w_min + self.w_max)

    @property
    def judged_steps(self) -> int:
        """Of `sample_steps` the one nearest 4, which the main metrics are of."""
        return min(self.sample_steps, key=lambda n: abs(n - 4))

    @property
    def learning_rate(self) -> LearningRate:
        """Of each step."""
        return LearningRate(
            self.lr_shape, self.lr, self.steps, min(self.lr_warmup, self.steps - 1), 0
        )

    def check(self) -> None:
        """Refuse values that do not go together, and a teacher or data that are not there.

        Raises:
            ValueError: One sentence with the field, its value and what would be right.
        """
        super().check()
        if self.w_min > self.w_max:
            raise ValueError(
                f"Bad value {self.w_min} for 'w_min': give at most 'w_max', which is {self.w_max}."
            )
        for n in self.sample_steps:
            if not 1 <= n <= self.solver_steps:
                raise ValueError(
                    f"Bad value {n} for 'sample_steps': give from 1 to 'solver_steps', "
                    f"which is {self.solver_steps}."
                )
        if self.target == "average" and not self.ema_decay:
            raise ValueError("Bad value 'average' for 'target': it needs 'ema_decay' above 0.")
        if self.time_cond_proj_dim and (self.mode == "lora" or self.successor == "data"):
            raise ValueError(
                f"Bad value {self.time_cond_proj_dim} for 'time_cond_proj_dim': only full LCD "
                "tells w to the student, so give 0, or 'mode' full and 'successor' teacher."
            )
        if self.cache_latents and (self.flip or not self.center_crop):
            raise ValueError(
                "Bad value true for 'cache_latents': an image that is encoded once is always the "
                "same, so give false, or 'flip' false and 'center_crop' true."
            )
        if self.optimizer == "adamw8bit" and find_spec("bitsandbytes") is None:
            raise ValueError(
                "Bad value 'adamw8bit' for 'optimizer': bitsandbytes is not installed; install it "
                "or give adamw."
            )
        if self.clip_model and not os.path.isfile(Path(self.clip_model) / "config.json"):
            raise ValueError(
                f"Bad value '{self.clip_model}' for 'clip_model': it is no folder of a CLIPModel."
            )
        if self.inception and not os.path.isfile(self.inception):
            raise ValueError(
                f"Bad value '{self.inception}' for 'inception': there is no such file; give "
                "TorchScript that is called as StyleGAN's inception-2015-12-05.pt is."
            )
        self._check_teacher()
        if self.task not in SCENES:
            check_source(Path(self.task), self.image_column, self.caption_column)

    def _check_teacher(self) -> None:
        try:
            folder = PipelineFolder(self.teacher_folder)
            pixels = folder.pixels_per_latent
        except ValueError as error:
            raise ValueError(f"Bad value '{self.teacher}' for 'teacher': {error}") from None
        if self.mode == "lora" and self.rank > folder.width:
            raise ValueError(
                f"Bad value {self.rank} for 'rank': the narrowest layers of '{self.teacher}' are "
                f"{folder.width} wide, so give at most that."
            )
        if self.resolution is not None and self.resolution % pixels:
            raise ValueError(
                f"Bad value {self.resolution} for 'resolution': give a multiple of {pixels}."
            )
        for prompt in self.prompts:
            folder.check_prompt(prompt)
