"""`tenfold trace`: recordings for the queue scenarios.

What it needs is imported when it runs, so that the command line stays quick.
"""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from tenfold.platform.errors import InputError

if TYPE_CHECKING:
    from tenfold.envs.queues.convert import Recording
    from tenfold.envs.queues.events import Events

trace = typer.Typer(help="Make recordings for the queue scenarios.", no_args_is_help=True)

_SEPARATORS = {"auto": None, "tab": "\t", "\\t": "\t", "space": r"\s+", " ": r"\s+"}


@trace.command()
def convert(
    events: Annotated[
        Path, typer.Argument(help="A CSV file (.gz too) or Parquet, an event a row.")
    ],
    slot: Annotated[str, typer.Option(help="Length of a slot: 100ms, 1s, 5min.")],
    output: Annotated[Path, typer.Option("--output", "-o", help=".csv, .csv.gz or .parquet.")],
    time: Annotated[str, typer.Option(help="Column of the times.")] = "time",
    queue: Annotated[
        str | None, typer.Option(help="Column of the queues' names; else there is one queue.")
    ] = None,
    amount: Annotated[str | None, typer.Option(help="Column of the work; else 1 an event.")] = None,
    unit: Annotated[
        Literal["auto", "iso", "s", "ms", "us", "ns"], typer.Option(help="How times are written.")
    ] = "auto",
    separator: Annotated[
        str, typer.Option(help="Between fields; tab, space; found in the header by default.")
    ] = "auto",
    service: Annotated[
        list[str] | None,
        typer.Option(help="Work a slot (3) or a second (20/s), or name=3, once a queue."),
    ] = None,
    service_log: Annotated[
        Path | None, typer.Option(help="A log of service, with the same columns.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Turn a log of events into a trace that 'tenfold run softmw --task' replays.

    Example: tenfold trace convert requests.csv --slot 100ms --queue service_name --service 20/s
    -o trace.csv.gz
    """
    from tenfold.envs.queues.convert import parse_service, parse_slot, to_slots, write_recording
    from tenfold.envs.queues.events import Layout, read_events

    if bool(service) == (service_log is not None):
        raise InputError(
            "A trace holds what could be served, too: give either --service (3 a slot, 20/s or "
            "name=3) or --service-log FILE."
        )
    logs = [events] if service_log is None else [events, service_log]
    if output.exists() and any(log.exists() and output.samefile(log) for log in logs):
        raise InputError(f"'{output}' is the log itself: give another --output.")
    if not output.parent.is_dir():
        raise InputError(f"The folder of '{output}' does not exist: make it first.")
    try:
        length = parse_slot(slot)
        between = _SEPARATORS.get(separator, separator)
        layout = Layout(time, queue, amount, unit, between)
        read = read_events(events, layout)
        offered = (
            parse_service(service or [], length)
            if service_log is None
            else read_events(service_log, layout)
        )
        recording = to_slots(read, offered, length)
        write_recording(recording, output)
    except ValueError as error:
        raise InputError(str(error)) from None
    told = _summary(recording, read, output)
    if as_json:
        print(json.dumps(told))
    else:
        _show(told, Console(highlight=False))


def _summary(recording: "Recording", events: "Events", output: Path) -> dict[str, Any]:
    """What a user wants to see at once of a recording, values that JSON can hold."""
    import numpy as np

    load = recording.load()
    arrivals, service = recording.arrivals.mean(axis=0), recording.service.mean(axis=0)
    return {
        "output": str(output),
        "events": len(events.moments),
        "times": events.clock,
        "slots": len(recording.arrivals),
        "slot_seconds": recording.slot / 1e9,
        "start": f"{np.datetime64(recording.start, 'ns')}Z",
        "queues": [
            {
                "queue": number,
                "name": name,
                "arrivals_per_slot": float(arrivals[number]),
                "service_per_slot": float(service[number]),
            }
            for number, name in enumerate(recording.names)
        ],
        "load": load if math.isfinite(load) else None,
    }


def _show(told: dict[str, Any], console: Console) -> None:
    table = Table("queue", "name", "arrivals a slot", "service a slot")
    for each in told["queues"]:
        means = (each["arrivals_per_slot"], each["service_per_slot"])
        table.add_row(str(each["queue"]), each["name"], *(f"{mean:.4g}" for mean in means))
    console.print(table)
    console.print(
        f"{told['events']:,} events ({told['times']}) in {told['slots']:,} slots of "
        f"{told['slot_seconds']:g} s from {told['start']}",
        soft_wrap=True,
    )
    load = told["load"]
    said = (
        "load: a queue gets work, but never service"
        if load is None
        else f"load {load:.3f}: {'some' if load < 1 else 'no'} schedule can carry it"
    )
    console.print(
        f"{said}; run it with 'tenfold run softmw --task {told['output']}'", soft_wrap=True
    )
