"""`tenfold list`: which methods there are, and what one of them contains."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tenfold.platform.experiment import make_experiment
from tenfold.platform.plan import ruled_length, total
from tenfold.platform.registry import Method, Space
from tenfold.platform.spaces import contents


def fields(method: Method) -> dict[str, Any]:
    """What a method contains, for JSON."""
    return {
        "name": method.name,
        "title": method.title,
        "paper": method.paper,
        "variants": {name: dict(changes) for name, changes in method.variants.items()},
        "tasks": list(method.tasks),
        "spaces": {
            name: {
                "keys": {key: str(domain) for key, domain in contents(space).items()},
                "samples": space.samples,
                "search": space.search,
                "scheduler": space.scheduler,
            }
            for name, space in method.load_spaces().items()
        },
        "metric": method.metric,
        "mode": method.mode,
        "step_unit": method.step_unit,
        "stop": dict(method.stop),
    }


def print_methods(found: Iterable[Method], console: Console) -> None:
    """All methods, their names and those of what they have."""
    table = Table("method", "what it offers", show_lines=True)
    for method in found:
        paper = f" (arXiv:{method.paper})" if method.paper else ""
        names: dict[str, Iterable[str]] = {
            "variants": method.variants,
            "tasks": method.tasks,
            "spaces": method.load_spaces(),
        }
        lines = [f"[bold]{escape(method.title)}{paper}[/bold]"]
        lines += [f"[cyan]{kind}[/cyan] {escape(', '.join(each))}" for kind, each in names.items()]
        table.add_row(method.name, "\n".join(lines))
    console.print(table)


def print_method(method: Method, console: Console) -> None:
    """One method with everything: what variants change, what spaces sweep, how long it runs."""
    paper = f" (arXiv:{method.paper})" if method.paper else ""
    console.print(f"[bold]{escape(method.title)}{paper}[/bold]")
    better = "the lower the better" if method.mode == "min" else "the higher the better"
    experiment = make_experiment({"method": method.name})
    length = ruled_length(experiment, method)
    if length is None:
        from tenfold.platform.study import resolve_study  # imports Ray, and the method

        length = resolve_study(experiment).length()
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="cyan")
    table.add_column(overflow="fold")
    table.add_row("judged by", escape(f"{method.metric}, {better}"))
    table.add_row("runs for", escape(total(experiment, length) or "as long as --stop says"))
    table.add_row("tasks", escape(", ".join(method.tasks)))
    for number, (name, changes) in enumerate(method.variants.items()):
        table.add_row("variants" if number == 0 else "", escape(f"{name}: {_changes(changes)}"))
    table.add_row("keys", escape(f"tenfold describe {method.name}"))
    for number, (name, space) in enumerate(method.load_spaces().items()):
        table.add_row("spaces" if number == 0 else "", escape(f"{name}: {_swept(space)}"))
    console.print(table)


def _changes(changes: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in changes.items()) or "the defaults"


def _swept(space: Space) -> str:
    keys = ", ".join(f"{key} {domain}" for key, domain in contents(space).items())
    how = [space.search, *([space.scheduler] if space.scheduler else [])]
    points = "" if space.search == "grid" else f"{space.samples} points, "
    return f"{keys} ({points}{', '.join(how)})"
