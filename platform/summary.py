"""What a run came to: scores with intervals, run ids, the best trial and what to type next."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tenfold.platform.experiment import Experiment
from tenfold.platform.launch import Outcome
from tenfold.platform.registry import Method, get_method
from tenfold.platform.standing import Group, groups, parameter_importances
from tenfold.platform.store import in_a_job, shown_uri
from tenfold.platform.tables import plus_minus
from tenfold.platform.tracking import TRACKING_FOLDER

# Of an MLflow id so much is shown; `tenfold evaluate` takes any beginning that is one run's only.
SHOWN_ID = 8
_POINTS_SHOWN = 5


def next_commands(experiment: Experiment, outcome: Outcome, found: Sequence[Group]) -> list[str]:
    """What can be typed now, most useful first, and only what works in this place."""
    run, again = outcome.run_dir.name, f"tenfold run {outcome.run_dir}/experiment.yaml --resume"
    if outcome.failed or outcome.unfinished:
        return [again]
    if in_a_job():  # nobody types in there
        return []
    if outcome.undelivered:
        return [f"tenfold sync {outcome.run_dir}"]
    by = "".join(f" --by {key}" for key in _swept(found)[:1])
    commands = [f"tenfold compare {run}{by}"]
    if found and found[0].trials[0].run_id:
        commands.append(f"tenfold evaluate {found[0].trials[0].run_id[:SHOWN_ID]}")
    return [*commands, "tenfold ui"]


def print_summary(experiment: Experiment, outcome: Outcome, uri: str, console: Console) -> None:
    """Print all of it; no line depends on the width but the table."""
    method = get_method(experiment.method)
    found = groups(experiment, outcome.run_dir / TRACKING_FOLDER)
    if found:
        console.print(_table(experiment, method, found))
    for line in _sentences(experiment, method, found):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    counts = f"{outcome.trials} trials, {outcome.failed} failed"
    counts += f", {outcome.unfinished} unfinished" if outcome.unfinished else ""
    lines = [f"{counts}; folder {outcome.run_dir}"]
    if outcome.undelivered:
        lines.append("Not all records are in MLflow yet: run 'tenfold sync' when the store is up.")
    else:
        lines.append(f"MLflow store {shown_uri(uri)}")
    commands = next_commands(experiment, outcome, found)
    if outcome.failed or outcome.unfinished:
        lines.append(f"Continue with '{commands[0]}'.")
    elif commands:
        lines += ["Next:", *(f"  {command}" for command in commands)]
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _table(experiment: Experiment, method: Method, found: Sequence[Group]) -> Table:
    metric = method.metric.rpartition("/")[2]
    swept = experiment.space is not None
    keys = _swept(found)
    optimum = any(group.value is not None for group in found)
    table = Table(box=None, pad_edge=False)
    several_tasks, several_variants = len(experiment.tasks) > 1, len(experiment.variants) > 1
    if several_tasks or not swept:
        table.add_column("task", overflow="fold")
    if several_variants or not swept:
        table.add_column("variant", overflow="fold")
    for key in keys:
        table.add_column(escape(key.rpartition(".")[2]), overflow="fold")
    table.add_column("seeds", justify="right")
    table.add_column(f"{metric} (95 %)", overflow="fold")
    if optimum:
        table.add_column("value of optimum")
    table.add_column("best run", no_wrap=True)
    for group in found[: _POINTS_SHOWN if swept else None]:
        first = group.trials[0]
        cells = [first.task] if several_tasks or not swept else []
        cells += [first.variant] if several_variants or not swept else []
        cells += [_shown(first.swept[key]) for key in keys]
        cells += [str(len(group.trials)), plus_minus(group.estimate)]
        if optimum:
            cells.append("-" if group.value is None else "{:.4g} of {:.4g}".format(*group.value))
        table.add_row(*map(escape, [*cells, first.run_id[:SHOWN_ID] or "-"]))
    return table


def _sentences(experiment: Experiment, method: Method, found: Sequence[Group]) -> list[str]:
    if experiment.space is None or not found:
        return []
    best = found[0]
    lines = []
    if len(found) > _POINTS_SHOWN:
        lines.append(f"The {_POINTS_SHOWN} best of {len(found)} points.")
    values = ", ".join(f"{key}={value!r}" for key, value in best.trials[0].swept.items())
    where = f"{best.trials[0].task}, {best.trials[0].variant}"
    lines.append(f"Best ({where}): {values}")
    shares = parameter_importances(found)
    if shares:
        told = ", ".join(f"{key} {share:.0%}" for key, share in shares.items())
        lines.append(f"Importance for {method.metric}: {told}")
    return lines


def _swept(found: Sequence[Group]) -> list[str]:
    """The swept keys, those of one value left out."""
    keys = dict.fromkeys(key for group in found for key in group.trials[0].swept)
    values = {key: {repr(group.trials[0].swept.get(key)) for group in found} for key in keys}
    return [key for key in keys if len(values[key]) > 1]


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
