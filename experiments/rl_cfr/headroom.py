"""What a choice of raise sizes is worth beside tuned fixed rules and beside all sizes.

    python experiments/rl_cfr/headroom.py solve --task river_one --decisions 100    (and river_wide)
    python experiments/rl_cfr/headroom.py headroom --task river_one
    python experiments/rl_cfr/headroom.py solve --stream held-out --decisions 800 --iterations 1000
    python experiments/rl_cfr/measure.py train --task headline --variant critics --seed 0
    python experiments/rl_cfr/headroom.py judge headline-critics headline
    python experiments/rl_cfr/headroom.py table headline-critics headline
    python experiments/rl_cfr/headroom.py cost headline-critics-0 headline-0

`solve` solves random decisions with all ten sizes at them (the ceiling) and with each set of m
sizes; below the decision everybody has the config's `opponent_sizes`. It writes a line a decision,
values in chips of the player to act, and goes on where it was stopped. Streams `tuning` and
`held-out` are of no training. `headroom` reads what fixed choices lose to the ceiling on the very
decisions that they are chosen on: the best set, the best by place (first to act, after a check,
facing a bet), by place and depth, and the best of each decision.

`judge` solves the held-out decisions with what trainings chose. `table` sets their losses beside
those of fixed rules that are tuned on all that the trainings of `critics` tried, which is every set
at every decision of all seeds: each rule saw as many solves as all seeds together. 95 % Student-t
over decisions, learned choices being means over their seeds first.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from measure import KINDS, RESULTS, RUNS, configured, interval, keep, kind, load, show

from tenfold.algorithms.rl_cfr.abstraction import (
    Abstraction,
    Fixed,
    Learned,
    load_abstraction,
    make_actor,
)
from tenfold.algorithms.rl_cfr.config import RLCFRConfig
from tenfold.algorithms.rl_cfr.epoch import first_choice
from tenfold.algorithms.rl_cfr.learner import HELD_OUT
from tenfold.algorithms.rl_cfr.mdp import Decision, Solving, World, bet_tree, solve
from tenfold.algorithms.rl_cfr.solver.solver import Solver

TEN = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.0)
CEILING = "ten"
SEEDS = {"tuning": 2_000, "held-out": 1_000}
"""First number of the decisions' seeds; those of trainings are below 1,000."""
DEPTHS = (0.0, 1.0, 3.0, 8.0, np.inf)
"""Bounds of the stack behind, in pots after a call, of the rule by place and depth."""
SAVE_EVERY = 20

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
Task = Annotated[str, typer.Option(help="Of an experiment file beside this one.")]
Iterations = Annotated[int, typer.Option(help="Of CFR.")]
Stream = Annotated[str, typer.Option(help="tuning or held-out.")]


def set_name(sizes: tuple[float, ...]) -> str:
    """Such as ``0.35+1.4``."""
    return "+".join(f"{size:g}" for size in sizes)


def drawn(world: World, solving: Solving, stream: str, number: int) -> Decision:
    """A decision of a stream."""
    rng = np.random.default_rng((SEEDS[stream], HELD_OUT, number))
    return first_choice(world, solving, rng)


def depth(decision: Decision) -> float:
    """Stack behind in pots, both after a call."""
    state = decision.state
    behind = state.rules.depth - max(state.committed)
    return behind / (state.pot + state.to_call)


def values(
    world: World, decision: Decision, solving: Solving, sets: list[tuple[float, ...]]
) -> Iterator[tuple[str, float]]:
    """What each set is worth, and the ceiling; sets of equal raises are solved once."""
    known: dict[tuple[int, ...], float] = {}
    for sizes in [TEN, *sets]:
        raises = tuple(Fixed(sizes)(decision))
        if raises not in known:
            known[raises] = solve(world, decision, raises, solving).value
        yield CEILING if sizes == TEN else set_name(sizes), known[raises]


@app.command("solve")
def solve_all(
    task: Task = "headline",
    stream: Stream = "tuning",
    decisions: int = 100,
    iterations: Iterations = 400,
) -> None:
    """Solve decisions with every set of m sizes."""
    config = configured(task, cfr_iterations=iterations)
    world, solving = config.world(), config.solving()
    sets = list(combinations(TEN, config.m))
    file = f"values/{task}/{stream}"
    path = RESULTS / f"{file}.csv"
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    done = {row["decision"] for row in rows}
    for number in sorted(set(range(decisions)) - done):
        decision = drawn(world, solving, stream, number)
        about = {"decision": number, "kind": kind(decision), "depth": depth(decision)}
        about |= {"pot": decision.state.pot, "blind": decision.state.rules.big_blind}
        rows.append({**about, **dict(values(world, decision, solving, sets))})
        if len(rows) % SAVE_EVERY == 0:
            keep(file, pd.DataFrame(rows))
    keep(file, pd.DataFrame(rows))


Rule = Callable[[pd.DataFrame], Sequence[str]]
"""From decisions (their kind and depth) to the set that is chosen at each."""

ABOUT = ["decision", "kind", "depth", "pot", "blind"]
RULES: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "one set": lambda table: pd.Series("all", table.index),
    "by place": lambda table: table.kind,
    "by place and depth": lambda table: table.kind + pd.cut(table.depth, DEPTHS).astype(str),
}
"""What fixed rules go by."""


def losses(table: pd.DataFrame) -> pd.DataFrame:
    """Thousandths of the pot that each set loses to the ceiling."""
    sets = table.drop(columns=[*ABOUT, CEILING])
    return sets.rsub(table[CEILING], axis=0).mul(1e3 / table.pot, axis=0)


def tuned(about: pd.DataFrame, lost: pd.DataFrame, by: Callable[..., pd.Series]) -> Rule:
    """The best set of each group of decisions."""
    chosen, usual = lost.groupby(by(about)).mean().idxmin(axis=1), lost.mean().idxmin()
    return lambda table: [chosen.get(each, usual) for each in by(table)]


def pick(lost: pd.DataFrame, sets: Sequence[str]) -> pd.Series:
    """What a choice for each decision loses."""
    found = [lost.at[row, name] for row, name in zip(lost.index, sets, strict=True)]
    return pd.Series(found, lost.index)


@app.command()
def headroom(task: Task = "river_one", stream: Stream = "tuning") -> None:
    """What fixed choices lose to the ceiling where they were chosen, and the best of each."""
    table = pd.read_csv(RESULTS / "values" / task / f"{stream}.csv")
    lost, lines = losses(table), []
    best = {name: pick(lost, tuned(table, lost, by)(table)) for name, by in RULES.items()}
    best["best of each decision"] = lost.min(axis=1)
    for group in ("all", *KINDS):
        rows = table.index if group == "all" else table.index[table.kind == group]
        for name, each in best.items():
            line = {"decisions of": group, "decisions": len(rows), "rule": name}
            if len(rows):
                above = best["by place"][rows] - each[rows]
                line |= interval("loses millipot", each[rows].to_numpy())
                lines.append(line | interval("above by place", above.to_numpy()))
    show(f"{task}_headroom", pd.DataFrame(lines), f"{task}, what fixed sizes lose to all ten.")


def tried(name: str, sets: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The decisions of a training of `critics`, and what each set loses to the best there."""
    plan = load(RUNS / name)
    states = plan["buffer.features"][:: len(sets)]
    vectors = plan["buffer.actions"].reshape(len(states), len(sets), -1)
    order = np.lexsort(vectors.transpose(2, 0, 1)[::-1], axis=-1)
    gains = plan["buffer.rewards"].reshape(len(states), len(sets))
    gains = 1e3 * np.take_along_axis(gains, order, axis=1)
    # See `features`: who acts, the price of a call, and the logarithm of the depth.
    faced, second = states[:, 3] > 0, states[:, 1] > 0
    kinds = np.array(KINDS)[np.where(faced, 2, second.astype(int))]
    about = pd.DataFrame({"kind": kinds, "depth": np.exp(3.0 * states[:, 4])})
    return about, pd.DataFrame(gains.max(axis=1, keepdims=True) - gains, columns=sets)


def trained(name: str, seed: int, config: RLCFRConfig) -> Learned:
    """A policy by its folder; ``:actor`` takes the actor that was trained beside the critics."""
    folder, _, who = name.partition(":")
    learned = load_abstraction(RUNS / f"{folder}-{seed}")
    if not who:
        return learned
    sizes = replace(config.size_map(), grid=())
    actor = make_actor(sizes, config.hidden, load(RUNS / f"{folder}-{seed}"))
    return Learned(learned.world, sizes, actor)


@app.command()
def judge(
    names: Annotated[list[str], typer.Argument(help="Folders of runs/rl_cfr, without the seed.")],
    task: Task = "headline",
    decisions: int = 800,
    seeds: int = 3,
    iterations: Iterations = 1_000,
) -> None:
    """Solve held-out decisions with what trainings chose; keeps the others of `judged.csv`."""
    config = configured(task, cfr_iterations=iterations)
    world, solving = config.world(), config.solving()
    policies = {
        f"{name}-{seed}": trained(name, seed, config) for name in names for seed in range(seeds)
    }
    rows = []
    for number in range(decisions):
        decision = drawn(world, solving, "held-out", number)
        known: dict[tuple[int, ...], float] = {}
        row: dict[str, float] = {"decision": number}
        for name, policy in policies.items():
            raises = tuple(policy(decision))
            if raises not in known:
                known[raises] = solve(world, decision, raises, solving).value
            row[name] = known[raises]
        rows.append(row)
    found, path = pd.DataFrame(rows), RESULTS / "values" / task / "judged.csv"
    if path.exists():
        before = pd.read_csv(path)
        found = found.join(before[before.columns.difference(found.columns)])
    keep(f"values/{task}/judged", found)


@app.command()
def table(
    names: Annotated[list[str], typer.Argument(help="Folders of runs/rl_cfr, without the seed.")],
    task: Task = "headline",
    seeds: int = 3,
    teacher: Annotated[str, typer.Option(help="Whose tries tune the fixed rules.")] = "critics",
) -> None:
    """Learned choices beside tuned fixed rules, on held-out decisions."""
    folder = RESULTS / "values" / task
    held = pd.read_csv(folder / "held-out.csv")
    lost = losses(held)
    parts = [tried(f"{task}-{teacher}-{seed}", list(lost.columns)) for seed in range(seeds)]
    about, tries = (pd.concat(each, ignore_index=True) for each in zip(*parts, strict=True))
    keep(f"values/{task}/tried", pd.concat([about, tries], axis=1).round(5))
    judged = pd.read_csv(folder / "judged.csv").set_index("decision").loc[held.decision]
    found, chosen = {}, {}
    for name, by in RULES.items():
        rule = tuned(about, tries, by)
        found[name] = pick(lost, rule(held))
        places = about.assign(of=by(about), set=rule(about)).drop_duplicates("of")
        chosen[name] = "; ".join(f"{row.of}: {row.set}" for row in places.itertuples())
    for name in names:
        columns = [f"{name}-{seed}" for seed in range(seeds)]
        value = judged[columns].set_axis(columns, axis=1).set_index(held.index)
        each = value.rsub(held[CEILING], axis=0).mul(1e3 / held.pot, axis=0)
        found[f"{name}, {seeds} seeds"] = each.mean(axis=1)
        found |= {column: each[column] for column in columns}
    found["best of each decision"] = lost.min(axis=1)
    blinds, lines = held.pot / held.blind, []
    for group in ("all", *sorted(set(held.kind))):
        rows = held.index if group == "all" else held.index[held.kind == group]
        reference = {name: found[name][rows] for name in ("by place", "by place and depth")}
        for name, whole in found.items():
            each = whole[rows]
            line = {"decisions of": group, "decisions": len(rows), "choice": name}
            line |= interval("loses millipot", each.to_numpy())
            for label, other in reference.items():
                line |= interval(f"above {label}", (other - each).to_numpy())
            ahead = (reference["by place"] - each) * blinds[rows]
            line |= interval("mbb above by place", ahead.to_numpy())
            line["share of headroom"] = 1.0 - each.mean() / reference["by place"].mean()
            lines.append(line | {"sets": chosen.get(name, "")})
    show(f"{task}_gain", pd.DataFrame(lines), f"{task}, choices on held-out decisions.")


@app.command()
def cost(
    names: Annotated[list[str], typer.Argument(help="Folders of runs/rl_cfr.")],
    task: Task = "headline",
    decisions: int = 100,
) -> None:
    """Nodes times hands and processor time of a solve, choosing included, policies in turns.

    Ratios are geometric means over decisions.
    """
    config = configured(task)
    world, solving = config.world(), config.solving()
    policies: dict[str, Abstraction] = {"1 pot": Fixed([1.0]), "0.5 pot": Fixed([0.5])}
    policies |= {name: load_abstraction(RUNS / name) for name in names}
    policies["ten sizes"] = Fixed(TEN)
    rows = []
    for number in range(-3, decisions):  # three decisions warm up
        decision = drawn(world, solving, "held-out", max(number, 0))
        world.equities(decision)
        order = np.roll(list(policies), number)
        row = {}
        for name in order:
            start = time.process_time()
            raises = policies[name](decision)
            game = world.subgame(decision, bet_tree(decision, raises, solving)).game
            solver = Solver(game, solving.variant)
            solver.iterate(solving.iterations)
            row[f"{name} ms"] = 1e3 * (time.process_time() - start)
            row[f"{name} nodes x hands"] = len(game.tree.kind) * game.tree.counts.mean()
        if number >= 0:
            rows.append(row)
    found = pd.DataFrame(rows)
    lines = []
    for name in policies:
        line = {"choice": name, "decisions": len(found)}
        for unit in ("nodes x hands", "ms"):
            ratio = found[f"{name} {unit}"] / found[f"1 pot {unit}"]
            line |= {f"median {unit}": found[f"{name} {unit}"].median()}
            ends = interval(f"{unit} / 1 pot", np.log(ratio.to_numpy()))
            line |= {key: float(np.exp(each)) for key, each in ends.items()}
        lines.append(line)
    show(f"{task}_cost", pd.DataFrame(lines), f"{task}, cost of trees beside a pot alone.")


if __name__ == "__main__":
    app()
