"""Measurements of the learned abstraction; each writes CSV and Markdown to results/rl_cfr.

    python experiments/rl_cfr/measure.py train --seed 0    (and 1, 2)
    python experiments/rl_cfr/measure.py value default random-0 learned-0 learned-1 learned-2
    python experiments/rl_cfr/measure.py value pot_only small_sizes large_sizes spread_sizes
    python experiments/rl_cfr/measure.py value all_sizes
    python experiments/rl_cfr/measure.py gain
    python experiments/rl_cfr/measure.py train --task leduc_nl --hands 300 --seed 0    (to 9; or _8)
    python experiments/rl_cfr/measure.py leduc    (or --task leduc_nl_8)
    python experiments/rl_cfr/measure.py train --task turn_hunl --seed 0    (and 1, 2)
    python experiments/rl_cfr/measure.py value default learned-0 ... --task turn_hunl [--exact]
    python experiments/rl_cfr/measure.py gain --task turn_hunl [--exact]
    python experiments/rl_cfr/measure.py matches --task turn_hunl --seed 0    (and 1, 2)
    python experiments/rl_cfr/measure.py train --task flop_short

`train` saves a checkpoint in the folder `runs`, and writes the learning curve. `value` solves
held-out decisions, the first of hands that training never dealt and the same for all abstractions,
turns with the value network of `values.py train`, which no training saw, or with `--exact` through
all their rivers; `gain` compares after equally many iterations; `matches` plays the matches of the
method's evaluation. Intervals are 95 % Student-t over decisions or spots; those of several seeds
take, for each decision, the mean over the seeds first.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from numpy.typing import NDArray

from tenfold.algorithms.common.planning import PLAN_ARRAYS, PLAN_VALUES
from tenfold.algorithms.rl_cfr import METHOD
from tenfold.algorithms.rl_cfr.abstraction import (
    Abstraction,
    Fixed,
    Random,
    load_abstraction,
)
from tenfold.algorithms.rl_cfr.algorithm import met, sampling_epoch, work_off
from tenfold.algorithms.rl_cfr.config import RLCFRConfig
from tenfold.algorithms.rl_cfr.epoch import first_choice
from tenfold.algorithms.rl_cfr.learner import HELD_OUT, AbstractionLearner
from tenfold.algorithms.rl_cfr.leduc.full_game import (
    choose,
    expected_win,
    exploitability,
    solve_chosen,
    translate,
)
from tenfold.algorithms.rl_cfr.leduc.nested import solve_nested
from tenfold.algorithms.rl_cfr.leduc.own_raises import solve_own_raises
from tenfold.algorithms.rl_cfr.mdp import Decision, Solving, World, bet_tree
from tenfold.algorithms.rl_cfr.opponents import standings
from tenfold.algorithms.rl_cfr.play.match import score
from tenfold.algorithms.rl_cfr.solver.solver import Solver
from tenfold.algorithms.rl_cfr.worlds.catalogue import ENUMERATE
from tenfold.algorithms.rl_cfr.worlds.leduc import LeducWorld
from tenfold.platform.configuration import build_config
from tenfold.platform.experiment import load_experiment
from tenfold.platform.tables import save_table

ROOT = Path(__file__).parent.parent
RESULTS, RUNS = ROOT / "results" / "rl_cfr", ROOT.parent / "runs" / "rl_cfr"
CHECKPOINTS = (50, 100, 200, 400)
"""CFR iterations after which the gain is read; policies were trained with the config's."""
WIDE: dict[str, dict[str, Any]] = {"river_hunl": {"env_config": {}}}
"""What `value` changes of a task's experiment file: rivers have all the hands of the game."""
SAVE_EVERY = 5
"""Sampling epochs between checkpoints of `train`."""
JUDGE = 1_000
"""Seed of the value network that judges turns."""
SINGLE = (1.0, 0.5, 1.5, 2.0)
"""Fixed sizes in Leduc, the default's first."""
BY_STREET = (1.0, 0.5)
"""A fixed size for each street of Leduc."""
KINDS = ("first to act", "after a check", "facing a bet")

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
Seeds = Annotated[int, typer.Option(help="Independent trainings.")]
Task = Annotated[str, typer.Option(help="Of an experiment file beside this one.")]
Exact = Annotated[bool, typer.Option("--exact", help="Solve turns through all their rivers.")]


@app.command()
def train(
    task: Task = "river_hunl",
    seed: Annotated[int, typer.Option(help="Of the training.")] = 0,
    variant: Annotated[str, typer.Option(help="A learned one of the method's.")] = METHOD.name,
    hands: Annotated[int, typer.Option(help="Stop at so many.")] = 640,
    minutes: Annotated[float, typer.Option(help="Stop after so long.")] = 10.0,
) -> None:
    """Train in this process, the method without its actors; goes on from its last checkpoint."""
    torch.set_num_threads(1)
    config, name = configured(task, seed, variant), trained(task, variant)
    folder, log = RUNS / f"{name}-{seed}", f"{name}_curve_{seed}"
    learner = AbstractionLearner(config)
    curve, spent = [], 0.0
    if folder.exists():
        learner.set_plan(load(folder))
        curve = pd.read_csv(RESULTS / f"{log}.csv").to_dict("records")
        spent = curve[-1]["cpu_seconds"]
    end, start = time.monotonic() + 60.0 * minutes, time.process_time()
    while learner.episodes < hands and time.monotonic() < end:
        row = sampling_epoch(learner, lambda items: [work_off(config, each) for each in items])
        curve.append({"seed": seed, "cpu_seconds": spent + time.process_time() - start, **row})
        done = learner.episodes >= hands or time.monotonic() >= end
        if done or len(curve) % SAVE_EVERY == 0:
            keep(log, pd.DataFrame(curve))
            save(learner, folder)


def trained(task: str, variant: str) -> str:
    """What the files of a training are called."""
    return task if variant == METHOD.name else f"{task}-{variant}"


def configured(task: str, seed: int = 0, variant: str = METHOD.name, **more: Any) -> RLCFRConfig:
    """The config of a task's experiment file, changed by more."""
    experiment = load_experiment(Path(__file__).parent / f"{task}.yaml")
    [game], changes = experiment.tasks, {**experiment.config, **more}
    config = build_config(METHOD, game, variant, changes, seed)
    assert isinstance(config, RLCFRConfig)
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
def value(
    names: Annotated[list[str], typer.Argument(help="default, random-0, learned-0, pot_only, ...")],
    task: Task = "river_hunl",
    decisions: int = 300,
    most: Annotated[int, typer.Option(help="CFR iterations.")] = 400,
    exact: Exact = False,
) -> None:
    """Solve held-out decisions with abstractions; writes what they are worth, see `gain`."""
    config = configured(task, **WIDE.get(task, {}))
    if exact:
        config.env_config = {**config.env_config, ENUMERATE: True}
    networks = judge(JUDGE) if task == "turn_hunl" and not exact else None
    world, solving = config.world(networks), config.solving()
    warm_up(world, solving)
    for name in names:
        abstraction, rows = named(name, config), []
        for number in range(decisions):
            # The seeds of trainings are below 1,000, so these decisions are nobody's.
            rng = np.random.default_rng((1_000, HELD_OUT, number))
            decision = first_choice(world, solving, rng)
            raises = abstraction(decision)
            world.equities(decision)  # or the first abstraction would pay for each board's tables
            start = time.process_time()
            subgame = world.subgame(decision, bet_tree(decision, raises, solving))
            solver = Solver(subgame.game, solving.variant)
            spent = time.process_time() - start
            about = {"decision": number, "kind": kind(decision), "pot": decision.state.pot}
            about |= {"blind": decision.state.rules.big_blind, "nodes": len(subgame.game.tree.kind)}
            for iterations in [each for each in CHECKPOINTS if each <= most]:
                start = time.process_time()
                solver.iterate(iterations - solver.iteration)
                spent += time.process_time() - start
                value = solver.values().players[decision.state.player]
                rows.append({**about, "iterations": iterations, "value": value, "seconds": spent})
        keep(f"values/{judged(task, exact)}/{name}", pd.DataFrame(rows))


def warm_up(world: World, solving: Solving) -> None:
    """Solve one decision off the clock: whoever is timed first would pay for compilation."""
    decision = first_choice(world, solving, np.random.default_rng((1_000, HELD_OUT, 0)))
    solver = Solver(world.subgame(decision, bet_tree(decision, [], solving)).game, solving.variant)
    solver.iterate(1)
    solver.values()


def judged(task: str, exact: bool) -> str:
    """The name of a task's results by who judged them."""
    return f"{task}_exact" if exact else task


def judge(seed: int) -> dict[str, Any]:
    """The weights of value networks that `values.py train` saved."""
    with np.load(RUNS / f"values-{seed}.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def named(name: str, config: RLCFRConfig) -> Abstraction:
    """An abstraction by the name that `value` takes."""
    policy, _, seed = name.partition("-")
    if policy == "learned":
        return load_abstraction(RUNS / f"{config.env}-{seed}")
    if policy == "random":
        return Random(config.size_map(), np.random.default_rng(int(seed)))
    return Fixed(METHOD.variants[name].get("sizes", config.default_sizes))


@app.command()
def gain(task: Task = "river_hunl", exact: Exact = False) -> None:
    """Tables of the gains over the default, from what `value` wrote."""
    keys, label = ["decision", "kind", "iterations"], judged(task, exact)
    files = sorted((RESULTS / "values" / label).glob("*.csv"))
    default = pd.read_csv(RESULTS / "values" / label / "default.csv").set_index(keys)
    parts = []
    for file in files:
        part = pd.read_csv(file).set_index(keys)
        millipot = 1e3 * (part.value - default.value) / part.pot
        columns = {"millipot": millipot, "mbb": millipot * part.pot / part.blind}
        columns |= {"nodes": part.nodes / default.nodes, "seconds": part.seconds}
        columns |= {"default_seconds": default.seconds}
        table = pd.DataFrame(columns).dropna().reset_index()
        name, _, seed = file.stem.partition("-")
        parts.append(table.assign(policy=name, seed=seed))
    table = pd.concat(parts)
    table = table[table.policy != "default"]
    at = table[table.iterations == configured(task).cfr_iterations]
    learned = table[table.policy == "learned"]
    seeds = at[at.policy == "learned"]
    about = f"{label}, {at.decision.nunique()} decisions, gain over the default"
    show(f"{label}_gain", by_policy(at, ["policy"]), f"{about}.")
    show(
        f"{label}_gain_iterations",
        by_policy(learned, ["policy", "iterations"]),
        f"{about}, by iterations of both.",
    )
    show(f"{label}_gain_seeds", by_policy(seeds, ["policy", "seed"]), f"{about}, by training.")
    show(f"{label}_gain_kinds", by_policy(at, ["kind", "policy"]), f"{about}, by kind.")


@app.command()
def matches(
    task: Task = "turn_hunl",
    seed: Annotated[int, typer.Option(help="Of the training; spots and deals are its own.")] = 0,
    opponent: Annotated[str, typer.Option(help="See the method's config.")] = "default",
    spots: Annotated[int, typer.Option(help="Random starts.")] = 100,
    deals: Annotated[int, typer.Option(help="Of a spot, each played from both seats.")] = 20,
    rivers: Annotated[int, typer.Option(help="Of a turn, for the expectation.")] = 2,
) -> None:
    """Play the policy of `train` against an opponent."""
    numbers = {"match_spots": spots, "match_deals": deals, "match_rivers": rivers}
    config = configured(task, seed, opponents=[opponent], **numbers)
    learner = AbstractionLearner(config)
    learner.set_plan(load(RUNS / f"{task}-{seed}"))
    start, gains = time.process_time(), []
    for item in learner.matches():
        gains += met(config, config.world(item["values"]), item)
    row = {"seed": seed, "opponent": opponent, "spots": spots, "hands": 2 * spots * deals}
    row |= {"rivers": rivers, **standings(gains), "cpu_seconds": time.process_time() - start}
    file = RESULTS / f"{task}_matches.csv"
    rows = pd.read_csv(file).to_dict("records") if file.exists() else []
    kept = [each for each in rows if (each["seed"], each["opponent"]) != (seed, opponent)]
    show(f"{task}_matches", pd.DataFrame([*kept, row]), f"{task}, matches in mbb a hand.")


@app.command()
def leduc(
    task: Task = "leduc_nl", seeds: Seeds = 10, iterations: int = 400, precise: int = 4_000
) -> None:
    """Exploitability in the full game of no-limit Leduc, solved by CFR+ with each abstraction.

    Own raises: in trees in which the other player has every raise (`precise` iterations), and what
    that strategy wins from the default's. In a tree of the abstraction for both, raises outside it
    are answered by solving again (see `nested.py`), or as the nearest one inside.
    """
    config = configured(task)
    world, solving = LeducWorld(**config.env_config), config.solving()
    policies: dict[str, Abstraction] = {f"{size:g} pot": Fixed([size]) for size in SINGLE}
    policies["1 pot, then 0.5 pot"] = ByStreet(BY_STREET)
    for seed in range(seeds):
        policies[f"random {seed}"] = Random(config.size_map(), np.random.default_rng(seed))
    for seed in range(seeds):
        policies[f"learned {seed}"] = load_abstraction(RUNS / f"{task}-{seed}")
    rows, default = [], None
    for name, abstraction in policies.items():
        own, own_nodes = solve_own_raises(world, abstraction, solving, "cfr+", precise)
        default = default or own
        tree = solve_chosen(world, choose(world, abstraction, solving), "cfr+", iterations)
        again = [
            solve_nested(world, abstraction, solving, "cfr+", iterations, safe)
            for safe in (True, False)
        ]
        row = {"abstraction": name, "nodes": tree.nodes, "nodes of both own trees": own_nodes}
        row["own raises"] = exploitability(world, own)
        row["wins from the default's"] = expected_win(world, own, default)
        row["solving again, safely"] = exploitability(world, again[0])
        row["solving again, by beliefs"] = exploitability(world, again[1])
        row["translating"] = exploitability(world, translate(world, tree))
        rows.append(row)
        show(f"{task}_exploitability", pd.DataFrame(rows), f"{task}, exploitability.")
    table = pd.DataFrame(rows).set_index("abstraction").drop(columns="nodes")
    ahead = table - table.loc[f"{SINGLE[0]:g} pot"]
    lines = []
    for kind in ("random", "learned"):
        part = ahead[ahead.index.str.startswith(kind)]
        for column in ahead.columns:
            lines.append({"abstraction": kind, "seeds": len(part), "column": column})
            lines[-1] |= interval("more than the default", part[column].to_numpy())
    show(f"{task}_difference", pd.DataFrame(lines), f"{task}, beside one size: a pot.")


class ByStreet:
    """One pot fraction a street, and all-in."""

    def __init__(self, sizes: Sequence[float]) -> None:
        self._streets = [Fixed([size]) for size in sizes]

    def __call__(self, decision: Decision) -> list[int]:
        return self._streets[decision.state.street](decision)


def kind(decision: Decision) -> str:
    """Which of `KINDS` a decision is."""
    return KINDS[2 if decision.state.to_call else decision.state.player]


def by_policy(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """One line a group: mean gains with intervals over decisions, sizes and times."""
    lines = []
    for key, group in table.groupby(keys):
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
    """Mean and 95 % Student-t interval, which one value does not have."""
    return {name + end.replace("_", " "): each for end, each in score(values).metrics("").items()}


def keep(name: str, table: pd.DataFrame) -> None:
    """Write what tables are made of to the results."""
    file = RESULTS / f"{name}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(file, index=False, float_format="%.8g")


def show(name: str, table: pd.DataFrame, about: str) -> None:
    """Write a table to the results, and print it."""
    save_table(RESULTS / name, table.to_dict("records"), about)


if __name__ == "__main__":
    app()
