"""Judges what `tenfold run` distilled, beside the teacher's solvers, and writes CSV files.

python -m experiments.lcm.measure solvers                     the teacher by DDIM, Euler, ...
python -m experiments.lcm.measure history lcm-target          what its trials reported
python -m experiments.lcm.measure students lcm-quality        its last students, judged anew
python -m experiments.lcm.measure plugged lcm-quality --base runs/lcm-night
                                                              a base's LoRAs in a fine-tuned teacher
python -m experiments.lcm.measure picture lcm-target          teacher and first student side by side
python -m experiments.lcm.measure table                       means and intervals over seeds

A row is one sampler at one number of steps under one seed: of the noise, and for students of the
training too. Every Frechet distance is of 1,000 samples and 1,000 drawings unless --images says
otherwise.
"""

import argparse
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from scipy import stats

from tenfold.algorithms.lcm.commands import build_pipeline, find_source
from tenfold.algorithms.lcm.folder import EMBEDDED_FOLDER, PipelineFolder
from tenfold.algorithms.lcm.judge import load_judge
from tenfold.algorithms.lcm.judging import HELD_OUT_SEED, SceneJudging
from tenfold.algorithms.lcm.sampling import SOLVERS, draw_grid, sample, solver, write_png
from tenfold.algorithms.lcm.teacher import Teacher
from tenfold.envs.data.scenes import draw_scenes
from tenfold.platform.store import runs_folder

RESULTS = Path("experiments/results/lcm")
STEPS = (1, 2, 4, 8)
SEEDS = (0, 1, 2)
COLUMNS = ("sampler", "steps", "guidance_scale", "seed")


def judging(folder: Path, images: int) -> SceneJudging:
    """The judge of a pipeline's folder, on the style that it knows."""
    judge, style = load_judge(folder)
    return SceneJudging(judge, style, images)


def trials(experiment: str) -> Iterator[tuple[str, dict[str, Any], Path]]:
    """Variant, config and last student of each trial of the newest run of an experiment."""
    found = sorted((runs_folder() / "tune").glob(f"{experiment}*"), key=lambda p: p.stat().st_mtime)
    if not found:
        raise SystemExit(f"no run of '{experiment}': do tenfold run experiments/lcm/*.yaml first")
    for params in sorted(found[-1].rglob("params.json")):
        checkpoints = [
            (int(match[1]), path)
            for path in params.parent.glob("checkpoint_*")
            if (match := re.fullmatch(r"checkpoint_(\d+)", path.name))
        ]
        if checkpoints:
            config = json.loads(params.read_text())
            yield config["variant"], config, max(checkpoints)[1] / "student"


def of_history(experiment: str) -> list[dict[str, Any]]:
    """What every trial of the newest run of an experiment reported, a row a number of steps."""
    runs = sorted((runs_folder() / "tune").glob(f"{experiment}-*"), key=lambda p: p.stat().st_mtime)
    rows = []
    for params in sorted(runs[-1].rglob("params.json")):
        point = json.loads(params.read_text())
        for line in (params.parent / "result.json").read_text().splitlines():
            result = json.loads(line)
            rows += [
                {
                    "sampler": point["variant"],
                    "trained": int(result["step"]),
                    "steps": n,
                    "seed": point["seed"],
                    "frechet": result[f"frechet_{n}_steps"],
                    "accuracy": result[f"accuracy_{n}_steps"],
                    "ode_distance": result["ode_distance"],
                }
                for n in STEPS
            ]
    return rows


def write(rows: list[dict[str, Any]], name: str) -> None:
    """One CSV file; an existing one is replaced."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    frame = pd.DataFrame(rows)
    frame.to_csv(RESULTS / f"{name}.csv", index=False)
    print(frame.to_string(index=False))


def of_solvers(folder: Path, images: int, seeds: tuple[int, ...], w: float) -> list[dict[str, Any]]:
    """The teacher by each solver at each number of steps, and by DDIM at 50."""
    pipeline = Teacher(folder, torch.device("cpu"), torch.float32).pipeline
    config, judge = pipeline.scheduler.config, judging(folder, images)
    rows = []
    for name, steps in [*((name, n) for n in STEPS for name in SOLVERS), ("ddim", 50)]:
        for seed in seeds:
            pipeline.scheduler = solver(name, config)
            judged = judge(pipeline, steps, 1 + w, seed)
            rows.append(dict(zip(COLUMNS, (name, steps, 1 + w, seed), strict=True)) | judged)
            print(rows[-1], flush=True)
    return rows


def of_students(experiment: str, base: Path | None, images: int) -> list[dict[str, Any]]:
    """Every trial's student; with a base, its LoRA in that pipeline."""
    rows = []
    for variant, config, folder in trials(experiment):
        source = find_source(str(folder))
        if base is not None:
            source = type(source)(PipelineFolder(base), source.student, source.record)
        pipeline, scale = build_pipeline(source, []), source.record.guidance_scale
        judge = judging(source.base.path, images)
        changes = {k: v for k, v in config.items() if k not in ("task", "variant", "seed")}
        label = variant + "".join(f" {k}={v}" for k, v in changes.items() if k[:2] != "__")
        for n in STEPS:
            judged = judge(pipeline, n, scale, config["seed"])
            at = dict(zip(COLUMNS, (label, n, scale, config["seed"]), strict=True))
            rows.append(at | judged)
            print(rows[-1], flush=True)
    return rows


def picture(experiment: str, w: float) -> None:
    """Eight captions; rows: DDIM-4, DDIM-50, and the student at 1, 2, 4 and 8 steps."""
    _, _, folder = next(trials(experiment))
    source = find_source(str(folder))
    student, teacher = (
        build_pipeline(each, []) for each in (source, replace(source, student=None))
    )
    teacher.scheduler = solver("ddim", teacher.scheduler.config)
    prompts = draw_scenes(8, HELD_OUT_SEED).captions
    rows = [sample(teacher, prompts, n, 1 + w, 0) for n in (4, 50)]
    rows += [sample(student, prompts, n, source.record.guidance_scale, 0) for n in STEPS]
    RESULTS.mkdir(parents=True, exist_ok=True)
    write_png(draw_grid(torch.cat(rows), len(prompts), smallest=64), RESULTS / "steps.png")
    print(prompts)


def interval(values: pd.Series) -> str:
    """Mean and the half-width of its 95 % t interval."""
    if len(values) < 2:
        return f"{values.mean():.3f} (one)"
    half = stats.t.ppf(0.975, len(values) - 1) * values.std() / len(values) ** 0.5
    return f"{values.mean():.3f} ± {half:.3f}"


def table() -> None:
    """All CSV files of lcm as tables with intervals."""
    for file in sorted(RESULTS.glob("*.csv")):
        frame = pd.read_csv(file)
        shown = ["frechet", "accuracy", "mmd", "diversity", "evaluations", "ode_distance"]
        by = [key for key in ("sampler", "trained", "steps") if key in frame]
        rows = frame.groupby(by)[[key for key in shown if key in frame]].agg(interval)
        rows.insert(0, "seeds", frame.groupby(by).size())
        print(f"\n{file.name}\n")
        flat = rows.reset_index()
        print("|".join(["", *flat.columns, ""]) + "\n" + "|---" * len(flat.columns) + "|")
        for row in flat.itertuples(index=False):
            print("| " + " | ".join(str(cell) for cell in row) + " |")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "what", choices=["solvers", "history", "students", "plugged", "picture", "table"]
    )
    parser.add_argument("experiment", nargs="?", default="lcm-quality")
    parser.add_argument("--base", type=Path, default=None, help="another pipeline's folder")
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--w", type=float, default=6.5)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--name", help="of the CSV file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    seeds = tuple(range(given.seeds))
    name = given.experiment.removeprefix("lcm-").replace("-", "_")
    if given.what == "table":
        table()
    elif given.what == "picture":
        picture(given.experiment, given.w)
    elif given.what == "solvers":
        rows = of_solvers(given.base or EMBEDDED_FOLDER, given.images, seeds, given.w)
        write(rows, given.name or "solvers")
    elif given.what == "history":
        write(of_history(given.experiment), given.name or name)
    else:
        rows = of_students(given.experiment, given.base, given.images)
        write(rows, given.name or name)


if __name__ == "__main__":
    main()
