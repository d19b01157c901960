"""`tenfold collect` and `tenfold dataset`: offline multi-agent data.

What they need is imported when they run, so that the command line stays quick.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tenfold.envs.offline.names import CHEETAH, ENVIRONMENTS, LEVELS
from tenfold.platform.errors import InputError, unknown

if TYPE_CHECKING:
    from tenfold.envs.offline.card import DataCard

dataset = typer.Typer(help="Look at offline data, convert other people's.", no_args_is_help=True)

Out = Annotated[Path, typer.Option("--out", "-o", help="A new folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print the card as JSON.")]


def collect(
    task: Annotated[str, typer.Argument(help=f"The environment: {', '.join(ENVIRONMENTS)}.")],
    out: Out,
    level: Annotated[str, typer.Option(help=f"Who acts: {', '.join(LEVELS)}.")] = "medium",
    steps: Annotated[int, typer.Option(min=1, help="Joint transitions.")] = 100_000,
    seed: Annotated[int, typer.Option(min=0, help="Of environments and policies.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="Fields of the environment, key=value; repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Record a data set for offline multi-agent learning: Parquet and a card.

    Example: tenfold collect mpe/spread --level medium-replay --out my_data
    """
    from tenfold.envs.offline.collect import collect as record
    from tenfold.envs.offline.names import levels_of
    from tenfold.platform.yaml_text import parse_value

    if task not in ENVIRONMENTS:
        raise unknown("environment", task, ENVIRONMENTS)
    if level not in levels_of(task):
        raise unknown(f"level of {task}", level, levels_of(task))
    _check_out(out)
    fields: dict[str, Any] = {}
    for setting in settings or []:
        key, equals, value = setting.partition("=")
        if not equals:
            raise InputError(f"Bad value '{setting}' for --set: write key=value.")
        fields[key] = parse_value(value)
    console = Console(highlight=False)
    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    shown = not as_json and sys.stdout.isatty()
    with Progress(*columns, console=console, disable=not shown, transient=True) as bar:
        job = bar.add_task(f"{task} {level}", total=steps)
        try:
            made = record(
                task, level, steps, seed, fields=fields, progress=lambda n: bar.advance(job, n)
            )
        except ValueError as error:
            raise InputError(str(error)) from None
        made.write(out)
    _show(made.card, out, as_json, console)


@dataset.command()
def show(
    folder: Annotated[Path, typer.Argument(help="A data set's folder.")], as_json: Json = False
) -> None:
    """Check a data set and print its card.

    Example: tenfold dataset show my_data
    """
    from tenfold.envs.offline.dataset import OfflineDataset

    try:
        found = OfflineDataset.read(folder)
    except ValueError as error:
        raise InputError(str(error)) from None
    _show(found.card, folder, as_json, Console(highlight=False))


@dataset.command()
def convert(
    source: Annotated[str, typer.Argument(help="A seed's folder of OMAR's, or a Minari id.")],
    out: Out,
    layout: Annotated[Literal["omar", "minari"], typer.Option("--from", help="Whose layout.")],
    environment: Annotated[
        str | None,
        typer.Option(help="The environment that it comes from, mpe/spread; Minari's id."),
    ] = None,
    level: Annotated[str, typer.Option(help="Its quality, for the card.")] = "own",
    episode_steps: Annotated[
        int | None, typer.Option(min=1, help="Of OMAR's files; 25, of the cheetah 1000.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Convert OMAR's .npy files or a Minari data set that is on this machine.

    Example: tenfold dataset convert simple_spread/medium/seed_0_data --from omar
    --environment mpe/spread --level medium --out spread_medium
    """
    from tenfold.envs.offline.convert import from_minari, from_omar
    from tenfold.envs.offline.environments import simulator_of

    _check_out(out)
    about: dict[str, Any] = {"level": level, "behaviour": {"source": f"{layout}: {source}"}}
    if environment is not None:
        if environment not in ENVIRONMENTS:
            raise unknown("environment", environment, ENVIRONMENTS)
        about |= {"environment": environment, **simulator_of(environment)}
    elif layout == "omar":
        raise InputError(
            "OMAR's files do not name their environment: give --environment mpe/spread."
        )
    try:
        if layout == "omar":
            length = episode_steps or (1_000 if environment == CHEETAH else 25)
            made = from_omar(Path(source), length, **about)
        else:
            made = from_minari(source, **about)
        made.write(out)
    except ValueError as error:
        raise InputError(str(error)) from None
    _show(made.card, out, as_json, Console(highlight=False))


def _check_out(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"'{out}' is there already: give --out a new folder.")


def _show(card: "DataCard", folder: Path, as_json: bool, console: Console) -> None:
    """The card, with a histogram of the scores."""
    if as_json:
        print(card.model_dump_json(indent=2))
        return
    console.print(
        f"{card.environment} {card.level}: {card.transitions:,} steps of {len(card.agents)} agents "
        f"in {card.episodes:,} episodes, score {card.returns.mean:.4g} ± {card.returns.std:.4g}",
        soft_wrap=True,
    )
    if card.anchors is not None:
        console.print(
            f"random {card.anchors.random:.4g}, expert {card.anchors.expert:.4g}: normalised "
            f"{card.normalised(card.returns.mean):.1f}"
        )
    table = Table("score from", "to", "episodes", "", box=None, pad_edge=False)
    edges, most = card.returns.edges, max(card.returns.counts)
    for low, high, count in zip(edges, edges[1:], card.returns.counts, strict=False):
        bar = "█" * round(40 * count / most)
        table.add_row(f"{low:.4g}", f"{high:.4g}", str(count), bar)
    console.print(table)
    console.print(f"Learn from it: tenfold run dom2 --task {folder}", soft_wrap=True)
