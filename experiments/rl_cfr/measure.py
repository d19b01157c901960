"""Measurements of the learned abstraction; each writes CSV and Markdown to results/rl_cfr.

    python experiments/rl_cfr/measure.py train --seed 0    (and 1, 2)
    python experiments/rl_cfr/measure.py gain

`train` saves a checkpoint a seed in the folder `runs`, and writes the learning curve. `gain`
compares what was saved with the default and with fixed and random abstractions on held-out
decisions, the first of hands that training never dealt: the same for all, after equally many
iterations. Intervals are 95 % Student-t over decisions; those of several seeds take, for each
decision, the mean over the seeds first.
"""

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from numpy.typing import NDArray
from scipy.stats import t as student_t

from tenfold.algorithms.planning import PLAN_ARRAYS, PLAN_VALUES
from tenfold.algorithms.rl_cfr import METHOD
from tenfold.algorithms.rl_cfr.abstraction import (
    Abstraction,
    Fixed,
    Random,
    load_abstraction,
)
from tenfold.algorithms.rl_cfr.algorithm import played, summary
from tenfold.algorithms.rl_cfr.config import RLCFRConfig
from tenfold.algorithms.rl_cfr.epoch import first_choice
from tenfold.algorithms.rl_cfr.learner import HELD_OUT, AbstractionLearner
from tenfold.algorithms.rl_cfr.mdp import Decision, Solving, World, bet_tree
from tenfold.algorithms.rl_cfr.solver import Solver

ROOT = Path(__file__).parent.parent
RESULTS, RUNS = ROOT / "results" / "rl_cfr", ROOT.parent / "runs" / "rl_cfr"
CHECKPOINTS = (50, 100, 200, 400)
"""CFR iterations after which the gain is read; policies were trained with the config's."""
FIXED = ("small_sizes", "large_sizes", "spread_sizes", "pot_only", "all_sizes")
SAVE_EVERY = 5
"""Sampling epochs between checkpoints of `train`."""
KINDS = ("first to act", "after a check", "facing a bet")

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
Seeds = Annotated[int, typer.Option(help="Independent trainings.")]
Task = Annotated[str, typer.Option(help="Game.")]


@app.command()
def train(
    task: Task = "river_hunl",
    seed: Annotated[int, typer.Option(help="Of the training.")] = 0,
    hands: Annotated[int, typer.Option(help="Stop at so many.")] = 2_400,
    minutes: Annotated[float, typer.Option(help="Stop after so long.")] = 10.0,
) -> None:
    """Train in this process, the method without its actors; goes on from its last checkpoint."""
    torch.set_num_threads(1)
    config, folder = configured(task, seed), RUNS / f"{task}-{seed}"
    world, learner = config.world(), AbstractionLearner(config)
    curve, spent = [], 0.0
    if folder.exists():
        learner.set_plan(load(folder))
        curve = pd.read_csv(RESULTS / f"{task}_curve_{seed}.csv").to_dict("records")
        spent = curve[-1]["cpu_seconds"]
    end, start = time.monotonic() + 60.0 * minutes, time.process_time()
    while learner.episodes < hands and time.monotonic() < end:
        epoch = [hand for item in learner.epoch() for hand in played(config, world, item)]
        loss = learner.learn(epoch)
        row = summary([each for hand in epoch for each in hand.own])
        row |= {"episodes": learner.episodes, "decisions": learner.decisions}
        row |= {"transitions": len(learner.buffer.rewards), "critic_loss": loss}
        curve.append({"seed": seed, "cpu_seconds": spent + time.process_time() - start, **row})
        if len(curve) % SAVE_EVERY == 0:
            write(f"{task}_curve_{seed}", pd.DataFrame(curve), markdown=False)
            save(learner, folder)


def configured(task: str, seed: int = 0) -> RLCFRConfig:
    """The method's own config on a task."""
    config = RLCFRConfig().environment(task).debugging(seed=seed)
    config.validate()
    return config


def save(learner: AbstractionLearner, folder: Path) -> None:
    """A checkpoint as a run of the method writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    plan = learner.get_plan()
    arrays = {key: value for key, value in plan.items() if isinstance(value, np.ndarray)}
    values = {key: value for key, value in plan.items() if key not in arrays}
    np.savez(folder / PLAN_ARRAYS, allow_pickle=False, **arrays)
    (folder / PLAN_VALUES).write_text(json.dumps({"plan": values}))


def load(folder: Path) -> dict[str, Any]:
    """The plan that `save` wrote."""
    values: dict[str, Any] = json.loads((folder / PLAN_VALUES).read_text())["plan"]
    with np.load(folder / PLAN_ARRAYS, allow_pickle=False) as arrays:
        return {**values, **{key: arrays[key] for key in arrays.files}}


@app.command()
def gain(task: Task = "river_hunl", seeds: Seeds = 3, decisions: int = 400) -> None:
    """Value over the default abstraction, by policy and by CFR iterations."""
    config = configured(task)
    world, solving, sizes = config.world(), config.solving(), config.size_map()
    policies: dict[str, list[Abstraction]] = {
        "learned": [load_abstraction(RUNS / f"{task}-{seed}") for seed in range(seeds)],
        "random": [Random(sizes, np.random.default_rng(seed)) for seed in range(seeds)],
        **{name: [Fixed(METHOD.variants[name]["sizes"])] for name in FIXED},
    }
    rows = []
    for number in range(decisions):
        # The seeds of trainings are below 1,000, so these decisions are nobody's.
        decision = first_choice(world, solving, np.random.default_rng((1_000, HELD_OUT, number)))
        default = solved(world, decision, None, solving)
        for name, copies in policies.items():
            for seed, abstraction in enumerate(copies):
                chosen = solved(world, decision, abstraction(decision), solving)
                for place, iterations in enumerate(CHECKPOINTS):
                    r = (chosen.values[place] - default.values[place]) / decision.state.pot
                    blinds = decision.state.pot / decision.state.rules.big_blind
                    rows.append(
                        {
                            "policy": name,
                            "seed": seed,
                            "decision": number,
                            "kind": kind(decision),
                            "iterations": iterations,
                            "millipot": 1e3 * r,
                            "mbb": 1e3 * r * blinds,
                            "nodes": chosen.nodes / default.nodes,
                            "seconds": chosen.seconds[place],
                            "default_seconds": default.seconds[place],
                        }
                    )
    table = pd.DataFrame(rows)
    write(f"{task}_gain", by_policy(table, ["iterations", "policy"]))
    at = table[table.iterations == config.cfr_iterations]
    write(f"{task}_gain_seeds", by_policy(at[at.policy == "learned"], ["policy", "seed"]))
    write(f"{task}_gain_kinds", by_policy(at, ["kind", "policy"]))


class Progress:
    """A solve read at every one of `CHECKPOINTS`."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.seconds: list[float] = []
        self.nodes = 0


def solved(
    world: World, decision: Decision, raises: list[int] | None, solving: Solving
) -> Progress:
    """Values of the player to act, in chips, and processor seconds, trees included."""
    out = Progress()
    start = time.process_time()
    subgame = world.subgame(decision, bet_tree(decision, raises, solving))
    solver = Solver(subgame.game, solving.variant)
    spent = time.process_time() - start
    out.nodes = len(subgame.game.tree.kind)
    for iterations in CHECKPOINTS:
        start = time.process_time()
        solver.iterate(iterations - solver.iteration)
        spent += time.process_time() - start
        out.seconds.append(spent)
        out.values.append(solver.values().players[decision.state.player])
    return out


def kind(decision: Decision) -> str:
    """Which of `KINDS` a decision is."""
    return KINDS[2 if decision.state.to_call else decision.state.player]


def by_policy(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """One line a group: mean gains with intervals over decisions, sizes and times."""
    lines = []
    for key, group in table.groupby(keys, sort=False):
        each = group.groupby("decision")[["mbb", "millipot"]].mean()
        line = dict(zip(keys, key, strict=True)) | {"decisions": len(each)}
        for unit in ("mbb", "millipot"):
            line |= interval(unit, each[unit].to_numpy())
        line |= {"nodes / default": group.nodes.mean()}
        line |= {"time / default": group.seconds.sum() / group.default_seconds.sum()}
        line |= {"ms": 1e3 * group.seconds.mean(), "default ms": 1e3 * group.default_seconds.mean()}
        lines.append(line)
    return pd.DataFrame(lines)


def interval(name: str, values: NDArray[np.float64]) -> dict[str, float]:
    """Mean and 95 % Student-t interval."""
    half = student_t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return {
        name: values.mean(),
        f"{name} low": values.mean() - half,
        f"{name} high": values.mean() + half,
    }


def write(name: str, table: pd.DataFrame, markdown: bool = True) -> None:
    """Write a table to the results, and show it."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    table.to_csv(RESULTS / f"{name}.csv", index=False, float_format="%.5g")
    if markdown:
        (RESULTS / f"{name}.md").write_text(to_markdown(table))
        typer.echo(to_markdown(table))


def to_markdown(table: pd.DataFrame) -> str:
    """The table in Markdown."""
    cells: Iterable[Iterable[object]] = [table.columns, ["---"] * len(table.columns)]
    cells = [*cells, *table.itertuples(index=False)]
    return "".join("| " + " | ".join(_shown(cell) for cell in row) + " |\n" for row in cells)


def _shown(cell: object) -> str:
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)


if __name__ == "__main__":
    app()
