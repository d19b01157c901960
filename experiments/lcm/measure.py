"""Judges what `tenfold run` distilled, beside the teacher's solvers: CSV files and Markdown tables.

python -m experiments.lcm.measure solvers               the teacher by DDIM, Euler, ...
python -m experiments.lcm.measure students lcm-quality  what the trials of experiments reported
python -m experiments.lcm.measure plugged lcm-quality lcm-tilted --base runs/lcm-tilted
                                  LoRAs of a base and of a fine-tuned teacher in the latter
python -m experiments.lcm.measure scales lcm-quality --base runs/lcm-tilted \\
    --style runs/lcm-tilted-lora   the same in the base, beside a LoRA of the style
python -m experiments.lcm.measure picture lcm-quality   teacher and first student, a PNG

Each row of a CSV file is one sampler at one number of steps under one seed: of the noise, and for
students of the training too. Tables give means with Student's 95 % intervals over seeds.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from mlflow import MlflowClient
from rich.console import Console

from tenfold.algorithms.lcm.commands import Source, build_pipeline, find_source
from tenfold.algorithms.lcm.folder import EMBEDDED_FOLDER, LORA_FILE, PipelineFolder
from tenfold.algorithms.lcm.judge import load_judge
from tenfold.algorithms.lcm.judging import HELD_OUT_SEED, SceneJudging
from tenfold.algorithms.lcm.sampling import SOLVERS, draw_grid, sample, solver, write_png
from tenfold.algorithms.lcm.teacher import Teacher
from tenfold.envs.data.scenes import draw_scenes
from tenfold.platform.errors import InputError
from tenfold.platform.runs import PARAM, Selection, columns, load_history, load_trials
from tenfold.platform.statistics import mean_interval
from tenfold.platform.store import tracking_uri
from tenfold.platform.tables import Table, markdown, plus_minus, print_table

RESULTS = Path("experiments/results/lcm")
STEPS = (1, 2, 4, 8)
LCM_SCALES, STYLE_SCALES = (0.6, 0.8, 1.0), (0.0, 0.4, 0.8, 1.0)
# Keys that say how long and how often, and not what.
_LENGTHS = ("steps", "report_every", "judge_images", "sample_steps")
_SHOWN = ("frechet", "accuracy", "ode_distance", "diversity", "evaluations", "image_seconds")

Rows = list[dict[str, Any]]


def of_solvers(folder: Path, images: int, seeds: Sequence[int], w: float) -> Rows:
    """The teacher by each solver at each number of steps, and by DDIM at 50."""
    pipeline = Teacher(folder, torch.device("cpu"), torch.float32).pipeline
    config, judge = pipeline.scheduler.config, judging(folder, images)
    rows = []
    for name, steps in [*((name, n) for n in STEPS for name in SOLVERS), ("ddim", 50)]:
        for seed in seeds:
            pipeline.scheduler = solver(name, config)
            rows.append({"sampler": name, "steps": steps, "seed": seed})
            rows[-1] |= judge(pipeline, steps, 1 + w, seed)
            print(rows[-1], flush=True)
    return rows


def of_students(experiments: Sequence[str]) -> Rows:
    """What every trial reported, a row a checkpoint and number of steps."""
    client = MlflowClient(tracking_uri=tracking_uri())
    table, labels = trials(client, experiments)
    rows = []
    for (_, trial), label in zip(table.iterrows(), labels, strict=True):
        history = {
            name: dict(zip(*load_history(client, trial["run_id"], name), strict=True))
            for name in trial["metrics"]
        }
        for trained, distance in history["ode_distance"].items():
            for n in [n for n in STEPS if f"frechet_{n}_steps" in history]:
                at = {"sampler": label, "trained": int(trained), "steps": n}
                at["seed"] = int(trial["seed"])
                for name in ("frechet", "accuracy"):
                    at[name] = history[f"{name}_{n}_steps"][trained]
                rows.append(at | {"ode_distance": distance})
    return rows


def of_plugged(
    experiments: Sequence[str], base: Path, images: int, seeds: Sequence[int], w: float
) -> Rows:
    """Last LoRAs of experiments in a teacher, and that teacher by DDIM."""
    rows, judge = [], judging(base, images)
    teacher = Teacher(base, torch.device("cpu"), torch.float32).pipeline
    teacher.scheduler = solver("ddim", teacher.scheduler.config)
    for n in (4, 50):
        for seed in seeds:
            rows.append({"sampler": "ddim", "steps": n, "seed": seed})
            rows[-1] |= judge(teacher, n, 1 + w, seed)
            print(rows[-1], flush=True)
    for experiment in experiments:
        for _, seed, source in students([experiment], base):
            pipeline = build_pipeline(source, [])
            for n in STEPS:
                rows.append({"sampler": experiment, "steps": n, "seed": seed})
                rows[-1] |= judge(pipeline, n, guidance_of(source), seed)
                print(rows[-1], flush=True)
    return rows


def of_scales(experiment: str, base: Path, style: Path, images: int, w: float) -> Rows:
    """lambda_1 of a style's LoRA beside lambda_2 of LCM's, at four steps; the former by DDIM-50.

    Decoded and judged as `base` is, a teacher that was fine-tuned on that style.
    """
    rows = []
    vae = Teacher(base, torch.device("cpu"), torch.float32).pipeline.vae
    judge = judging(base, images)
    for _, seed, source in students([experiment]):
        slow = build_pipeline(replace(source, student=None), [(style / LORA_FILE, 1.0)])
        slow.scheduler, slow.vae = solver("ddim", slow.scheduler.config), vae
        rows.append({"sampler": "style 1 by DDIM-50", "lcm": 0.0, "seed": seed})
        rows[-1] |= judge(slow, 50, 1 + w, seed)
        print(rows[-1], flush=True)
        pipeline = build_pipeline(source, [(style / LORA_FILE, 1.0)])
        pipeline.vae = vae
        for lcm in LCM_SCALES:
            for own in STYLE_SCALES:
                pipeline.set_adapters(["lora_0", "lora_1"], [lcm, own])
                rows.append({"sampler": f"style {own:g}", "lcm": lcm, "seed": seed})
                rows[-1] |= judge(pipeline, 4, guidance_of(source), seed)
                print(rows[-1], flush=True)
    return rows


def picture(experiment: str, w: float) -> None:
    """Eight captions; rows: DDIM-4, DDIM-50, and the student at 1, 2, 4 and 8 steps."""
    _, _, source = next(students([experiment]))
    student, teacher = (
        build_pipeline(each, []) for each in (source, replace(source, student=None))
    )
    teacher.scheduler = solver("ddim", teacher.scheduler.config)
    prompts = draw_scenes(8, HELD_OUT_SEED).captions
    rows = [sample(teacher, prompts, n, 1 + w, 0) for n in (4, 50)]
    rows += [sample(student, prompts, n, guidance_of(source), 0) for n in STEPS]
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_png(draw_grid(torch.cat(rows), len(prompts), smallest=64), RESULTS / "steps.png")
    print(prompts)


def judging(folder: Path, images: int) -> SceneJudging:
    """The judge of a pipeline's folder, on the style that it knows."""
    judge, style = load_judge(folder)
    return SceneJudging(judge, style, images)


def trials(client: MlflowClient, experiments: Sequence[str]) -> tuple[pd.DataFrame, pd.Series]:
    """All trials of experiments, and each one's variant with what is unusual in its config."""
    table = load_trials(client, Selection(experiments)).table
    labels = table["variant"].copy()
    for _, part in table.groupby("variant"):
        for name in columns(part, PARAM):
            key, usual = name.removeprefix(PARAM), part[name].mode()
            if key not in _LENGTHS and len(usual):
                unusual = part.index[part[name] != usual[0]]
                labels[unusual] += f", {key}=" + part.loc[unusual, name]
    return table, labels


def students(
    experiments: Sequence[str], base: Path | None = None
) -> Iterator[tuple[str, int, Source]]:
    """Label, seed and student of each trial that distilled a LoRA, on another base if given."""
    table, labels = trials(MlflowClient(tracking_uri=tracking_uri()), experiments)
    for (_, trial), label in zip(table.iterrows(), labels, strict=True):
        source = find_source(trial["run_id"])
        if source.record is not None and source.record.mode == "lora":
            found = source if base is None else replace(source, base=PipelineFolder(base))
            yield label, int(trial["seed"]), found


def guidance_of(source: Source) -> float:
    """diffusers' guidance_scale of a student."""
    assert source.record is not None
    return source.record.guidance_scale


def write(rows: Rows, name: str, about: str) -> None:
    """All rows as CSV, and means with intervals over seeds as a Markdown table of its own."""
    frame = pd.DataFrame(rows)
    by = [key for key in ("sampler", "trained", "lcm", "steps") if key in frame]
    shown = [key for key in _SHOWN if key in frame]
    means = [
        [
            *(f"{value:g}" if isinstance(value, float) else str(value) for value in values),
            str(len(part)),
            *(plus_minus(mean_interval(part[key])) for key in shown),
        ]
        for values, part in frame.groupby(by, sort=False)
    ]
    table = Table(about, [*by, "n", *shown], means)
    RESULTS.mkdir(parents=True, exist_ok=True)
    frame.to_csv(RESULTS / f"{name}.csv", index=False, float_format="%.6g")
    (RESULTS / f"{name}.md").write_text(markdown(table))
    print_table(Console(), table)


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["solvers", "students", "plugged", "scales", "picture"])
    parser.add_argument("experiments", nargs="*", default=["lcm-quality"])
    parser.add_argument("--base", type=Path, help="another pipeline's folder")
    parser.add_argument("--style", type=Path, help="folder of a style's LoRA")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--w", type=float, default=6.5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--name", help="of the files; what is measured when left out")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if (given.what in ("plugged", "scales") and given.base is None) or (
        given.what == "scales" and given.style is None
    ):
        parser.error(f"{given.what} needs --base, and scales also --style: see above.")
    try:
        measure(given)
    except (InputError, ValueError) as error:
        parser.error(str(error))


def measure(given: argparse.Namespace) -> None:
    """What is asked for."""
    name, first = given.name or given.what, given.experiments[0]
    if given.what == "solvers":
        rows = of_solvers(given.base or EMBEDDED_FOLDER, given.images, range(given.seeds), given.w)
        write(rows, name, "The teacher by its solvers")
    elif given.what == "students":
        write(of_students(given.experiments), name, ", ".join(given.experiments))
    elif given.what == "plugged":
        seeds = range(given.seeds)
        rows = of_plugged(given.experiments, given.base, given.images, seeds, given.w)
        write(rows, name, f"{', '.join(given.experiments)} in {given.base.name}")
    elif given.what == "scales":
        rows = of_scales(first, given.base, given.style, given.images, given.w)
        write(rows, name, f"{first} beside a LoRA of a style")
    else:
        picture(first, given.w)


if __name__ == "__main__":
    main()
