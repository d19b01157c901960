"""`tenfold sample`: images from a run, a checkpoint, a distilled student or any pipeline.

What it needs is imported when it runs, so that the command line stays quick.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from tenfold.platform.errors import InputError

if TYPE_CHECKING:
    from tenfold.algorithms.lcm.folder import PipelineFolder, Record


@dataclass(frozen=True)
class Source:
    """What is sampled.

    Attributes:
        base: Folder of the pipeline.
        student: Folder of a distilled student; None for the pipeline as it is.
        record: What the student says of itself; None where there is none.
    """

    base: "PipelineFolder"
    student: Path | None
    record: "Record | None"


def sample(
    source: Annotated[
        str, typer.Argument(help="A run's id, or the folder of a checkpoint, student or pipeline.")
    ],
    prompt: Annotated[list[str], typer.Option(help="Once or more.")],
    steps: Annotated[int, typer.Option(help="Steps of the sampler.")] = 4,
    count: Annotated[int, typer.Option(help="Images of each prompt.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same images.")] = 0,
    lora: Annotated[
        list[str] | None, typer.Option(help="A further LoRA and its weight: style.safetensors=0.8")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(help="guidance_scale; by default a student's own, else 7.5."),
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="Of a run, the checkpoint that scored best.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for grid.png and single images.")] = Path(
        "samples"
    ),
) -> None:
    """Sample images: a grid and single PNG files.

    Example: tenfold sample 4f2a0c --prompt "a red ring left of a blue square" --steps 4 --count 8
    """
    if steps < 1 or count < 1:
        raise InputError(
            f"{steps} steps and {count} images a prompt give nothing: give at least 1 of each."
        )
    try:
        found = find_source(source, best)
        most = found.record.solver_steps if found.record else 1_000
        if steps > most:
            raise ValueError(
                f"Bad value {steps} for '--steps': '{source}' was distilled on {most}, so give at "
                "most that."
            )
        for text in prompt:
            found.base.check_prompt(text)
        pipeline = build_pipeline(found, [parse_lora(each) for each in lora or []])
    except ValueError as error:
        raise InputError(" ".join(str(error).split())) from None
    own = found.record.guidance_scale if found.record else 7.5
    _draw(pipeline, prompt, steps, own if guidance is None else guidance, count, seed, out)


def find_source(text: str, best: bool = False) -> Source:
    """The pipeline and student that a user means.

    Args:
        text: A folder or a run, as `sample` takes it.
        best: Of a run, take the checkpoint that scored best, and not the newest.

    Raises:
        ValueError: There is no such folder or run, or nothing in it can be sampled.
    """
    from tenfold.algorithms.lcm.folder import PipelineFolder, Record
    from tenfold.platform.store import tracking_uri
    from tenfold.platform.trial_files import find_checkpoint

    folder = find_checkpoint(text, "lcm", tracking_uri(), best)
    for place in (folder, folder / "student"):
        record = Record.read(place)
        if record is not None:
            return Source(PipelineFolder(record.teacher_folder), place, record)
    return Source(PipelineFolder(folder), None, None)


def parse_lora(text: str) -> tuple[Path, float]:
    """``file=weight`` as a path and a number; the weight is 1 where it is left out.

    Raises:
        ValueError: There is no such file, it is no .safetensors, or the weight is no number.
    """
    name, _, weight = text.partition("=")
    if not os.path.isfile(name):
        raise ValueError(f"Bad value '{text}' for '--lora': there is no file '{name}'.")
    if not name.endswith(".safetensors"):
        raise ValueError(
            f"Bad value '{text}' for '--lora': only .safetensors is read, since other files can "
            "hold code."
        )
    try:
        number = float(weight or 1)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(
            f"Bad value '{text}' for '--lora': '{weight}' is no number; write for example "
            f"{name}=0.8."
        )
    return Path(name), number


def build_pipeline(source: Source, loras: list[tuple[Path, float]]) -> Any:
    """The pipeline with its student and further LoRAs.

    Raises:
        ValueError: A LoRA is of another architecture.
    """
    import torch
    from diffusers import UNet2DConditionModel

    from tenfold.algorithms.common.consistency import SolverGrid
    from tenfold.algorithms.lcm.folder import LORA_FILE
    from tenfold.algorithms.lcm.sampling import lcm_scheduler
    from tenfold.algorithms.lcm.teacher import Teacher

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pipeline = Teacher(source.base.path, device, torch.float32).pipeline
    names, weights = [], []
    if source.student is not None and source.record is not None:
        pipeline.scheduler = lcm_scheduler(
            pipeline.scheduler.config,
            SolverGrid(source.record.solver_steps),
            source.record.timestep_scaling,
        )
        if source.record.mode == "full":
            folder = source.student / "unet_target"
            with _fitting("UNet", folder, source):
                unet = UNet2DConditionModel.from_pretrained(folder, use_safetensors=True)
            pipeline.unet = unet.to(device)
        else:
            loras = [(source.student / LORA_FILE, 1.0), *loras]
    for place, (file, weight) in enumerate(loras):
        name = f"lora_{place}"
        with _fitting("LoRA", file, source):
            pipeline.load_lora_weights(
                file.parent, weight_name=file.name, adapter_name=name, use_safetensors=True
            )
        names.append(name)
        weights.append(weight)
    if names:
        pipeline.set_adapters(names, weights)
    return pipeline


@contextmanager
def _fitting(kind: str, weights: Path, source: Source) -> Iterator[None]:
    """Turn whatever diffusers raises over a file of weights into one sentence."""
    try:
        yield
    except Exception:
        raise ValueError(
            f"The {kind} '{weights}' does not fit '{source.base.path}': it is damaged, of another "
            "architecture, or holds something else."
        ) from None


def _draw(
    pipeline: Any,
    prompts: list[str],
    steps: int,
    guidance: float,
    count: int,
    seed: int,
    out: Path,
) -> None:
    """Sample with a progress bar, and write the files."""
    from tenfold.algorithms.lcm.sampling import draw_grid, to_image, write_png
    from tenfold.algorithms.lcm.sampling import sample as sample_images

    wanted = [text for text in prompts for _ in range(count)]
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(f"{steps} steps", total=len(wanted))
        images = sample_images(
            pipeline,
            wanted,
            steps,
            guidance,
            seed,
            batch=8,
            progress=lambda done: bar.update(task, advance=done),
        )
    out.mkdir(parents=True, exist_ok=True)
    for place, image in enumerate(images):
        write_png(to_image(image), out / f"image_{place:03d}.png")
    print(write_png(draw_grid(images, count), out / "grid.png"))
