"""The command line. Each command imports what it needs when it runs, so that help is instant.

Exit codes: 0 fine, 1 a run failed, 2 a mistake in what was asked for (one sentence on stderr), 130
interrupted.
"""

import errno
import gc
import json
import os
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

from tenfold.platform.errors import INTERRUPTED, InputError, RunError, one_line, shown, unknown
from tenfold.platform.registry import command_entries


class Commands(TyperGroup):
    """The commands below, then those of installed methods, imported when typed or listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in the order of the help text."""
        own = super().list_commands(ctx)
        return own + [name for name in command_entries() if name not in own]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or None."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        entry = command_entries().get(cmd_name)
        if entry is None:
            return None
        loaded = entry.load()
        if isinstance(loaded, typer.Typer):
            group = typer.main.get_group(loaded)
            group.name = cmd_name
            return group
        single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        single.command(cmd_name)(loaded)
        return typer.main.get_command(single)


app = typer.Typer(
    name="tenfold",
    cls=Commands,
    help="Ten research papers as software people run: Ray jobs, Tune sweeps, MLflow comparison.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
jobs_app = typer.Typer(help="Look after jobs that 'tenfold submit' started.", no_args_is_help=True)
app.add_typer(jobs_app, name="jobs")

Target = Annotated[str, typer.Argument(help="A method, or a YAML file with an experiment.")]
Tasks = Annotated[
    list[str] | None, typer.Option("--task", "-t", help="Task or tasks a,b; may be repeated.")
]
Variants = Annotated[
    list[str] | None,
    typer.Option("--variant", "-v", help="Variant or variants a,b; may be repeated."),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="Config override key=value; repeatable.")
]
Seeds = Annotated[
    str | None, typer.Option(help="How many: 3 stands for 0, 1, 2; or which: 4,7 or 5, for one.")
]
Tuned = Annotated[
    bool, typer.Option("--tuned", help="Start from the tuned values of the method and the task.")
]
BestOf = Annotated[
    list[str] | None,
    typer.Option(
        "--best-of", help="Each variant at its own best point of this sweep; may be repeated."
    ),
]
Swept = Annotated[
    list[str] | None,
    typer.Option(
        "--sweep", help='Sweep key=range or list: "lr=loguniform(1e-4,1e-2)"; repeatable.'
    ),
]
Stop = Annotated[list[str] | None, typer.Option(help="Stop a trial at result key=value.")]
Name = Annotated[str | None, typer.Option(help="Experiment name; the method's by default.")]
Cpus = Annotated[int | None, typer.Option(help="Logical CPUs of the local Ray.")]
Concurrent = Annotated[int | None, typer.Option(help="Trials that run at the same time.")]
Address = Annotated[
    str | None, typer.Option(help="A running Ray cluster, for example ray://head:10001.")
]
Store = Annotated[str | None, typer.Option("--tracking-uri", help="MLflow store.")]
Offline = Annotated[bool, typer.Option(help="Keep results in runs/; send with 'tenfold sync'.")]
Log = Annotated[
    list[str] | None,
    typer.Option("--log", help="Beside MLflow: tensorboard, wandb; may be repeated."),
]
SystemMetrics = Annotated[
    bool, typer.Option("--system-metrics", help="Record CPU, memory, disk, network and GPUs.")
]
Resume = Annotated[bool, typer.Option(help="Pick up this experiment's interrupted run.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for other programs.")]
Best = Annotated[
    bool, typer.Option("--best", help="The checkpoint that scored best, not the newest.")
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Load pickles of a checkpoint that you did not make.")
]
JobId = Annotated[str, typer.Argument(help="The id that 'tenfold submit' printed.")]
Head = Annotated[
    str, typer.Option("--address", envvar="RAY_API_SERVER_ADDRESS", help="http://head:8265")
]
TokenFile = Annotated[Path | None, typer.Option(help="File with the cluster's token.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"tenfold {version('tenfold')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Say which this is."
        ),
    ] = False,
) -> None:
    """Ten research papers as software people run: Ray jobs, Tune sweeps, MLflow comparison."""


@app.command("list")
def list_methods(
    method: Annotated[str | None, typer.Argument(help="Only this one, with all it has.")] = None,
    as_json: Json = False,
) -> None:
    """Show methods with their variants, tasks, spaces and papers; of one, what they contain.

    Example: tenfold list softmw
    """
    from tenfold.platform import catalogue
    from tenfold.platform.registry import get_method, methods

    found = [get_method(method)] if method else list(methods().values())
    if as_json:
        print(json.dumps([catalogue.fields(each) for each in found], indent=2, default=str))
    elif method:
        catalogue.print_method(found[0], Console())
    else:
        catalogue.print_methods(found, Console())


@app.command()
def schema() -> None:
    """Print the JSON schema of an experiment's YAML, for editors.

    Example: tenfold schema > experiment.schema.json
    """
    from tenfold.platform.schema import experiment_schema

    print(json.dumps(experiment_schema(), indent=2))


@app.command()
def describe(
    method: Annotated[str, typer.Argument(help="A method, see 'tenfold list'.")],
    task: Annotated[str | None, typer.Argument(help="One of its tasks; its first.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="RLlib's other keys too.")] = False,
    as_json: Json = False,
) -> None:
    """Show every config key of a method and a task: default, type, bounds, unit, meaning.

    Example: tenfold describe icvar mdp/FrozenLake-v0
    """
    from tenfold.platform import describe as describe_module
    from tenfold.platform.registry import get_method

    found = get_method(method)
    rows = describe_module.describe(found, task, everything)
    describe_module.show(found, task, rows, as_json)


@app.command()
def run(
    context: typer.Context,
    target: Target,
    task: Tasks = None,
    variant: Variants = None,
    settings: Settings = None,
    tuned: Tuned = False,
    best_of: BestOf = None,
    swept: Swept = None,
    seeds: Seeds = None,
    stop: Stop = None,
    name: Name = None,
    cpus: Cpus = None,
    concurrent: Concurrent = None,
    address: Address = None,
    store: Store = None,
    log: Log = None,
    system_metrics: SystemMetrics = False,
    offline: Offline = False,
    resume: Resume = False,
) -> None:
    """Run a method on its tasks and record it in MLflow.

    Example: tenfold run softmw --task switching --seeds 3 --set horizon=200000
    """
    flags = _flags(context.params)
    _launch(target, flags, address, offline, resume, tuned=tuned, best_of=_split(best_of))


@app.command()
def sweep(
    context: typer.Context,
    target: Target,
    space: Annotated[
        str | None, typer.Option(help="A search space; the file's, else 'default'.")
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Points to draw.")] = None,
    search: Annotated[str | None, typer.Option(help="random, grid or optuna.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="asha, pbt or median.")] = None,
    task: Tasks = None,
    variant: Variants = None,
    settings: Settings = None,
    swept: Swept = None,
    seeds: Seeds = None,
    stop: Stop = None,
    name: Name = None,
    cpus: Cpus = None,
    concurrent: Concurrent = None,
    address: Address = None,
    store: Store = None,
    log: Log = None,
    system_metrics: SystemMetrics = False,
    offline: Offline = False,
    resume: Resume = False,
) -> None:
    """Search a method's space or your own; every point is a run in MLflow.

    Example: tenfold sweep ppo --sweep "lr=loguniform(1e-4,1e-2)" --samples 20 --scheduler asha
    """
    flags = _flags(context.params)
    if space is not None and swept:
        raise InputError(
            f"--space {space} and --sweep {swept[0]} both say what to sweep: give one of the two."
        )
    given = {"space": space, "samples": samples, "search": search, "scheduler": scheduler}
    flags |= {key: value for key, value in given.items() if value is not None}
    _launch(target, flags, address, offline, resume, default_space="default")


@app.command()
def compare(
    names: Annotated[
        list[str], typer.Argument(help="Methods, experiments, runs' folders, or MLflow ids.")
    ],
    by: Annotated[
        list[str] | None, typer.Option(help="Tag or parameter that groups; may be repeated.")
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option("--where", "-w", help="Only key=value; may be repeated.")
    ] = None,
    variant: Variants = None,
    task: Tasks = None,
    last: Annotated[bool, typer.Option("--last", help="Only the newest run of these.")] = False,
    baseline: Annotated[str | None, typer.Option(help="Group to compare with.")] = None,
    at: Annotated[
        str, typer.Option(help="Steps that count: common to all, completed runs', each run's end.")
    ] = "common",
    score: Annotated[
        str,
        typer.Option(help="Of a run: own, area (mean over steps) or reach=VALUE (steps to it)."),
    ] = "own",
    mix: Annotated[
        bool, typer.Option("--mix", help="Compare runs that differ in other parameters too.")
    ] = False,
    metric: Annotated[str | None, typer.Option(help="The method's own by default.")] = None,
    mode: Annotated[str | None, typer.Option(help="min or max; the method's own.")] = None,
    against: Annotated[str | None, typer.Option(help="Metric for the curves' axis.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the report.")] = None,
    figure_format: Annotated[
        str, typer.Option("--format", help="Of the figures: png, svg or pdf.")
    ] = "png",
    store: Store = None,
    as_json: Json = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print LaTeX tables.")] = False,
) -> None:
    """Compare runs: table with 95 % intervals, curves, CSV, JSON and an HTML report.

    Example: tenfold compare softmw --last --by variant --baseline uniform
    """
    from tenfold.platform.compare import compare as compare_runs
    from tenfold.platform.report import print_comparison, tables
    from tenfold.platform.runs import Selection
    from tenfold.platform.store import check_store, runs_folder, tracking_uri
    from tenfold.platform.tables import latex, markdown

    uri = tracking_uri(store)
    check_store(uri)
    comparison = compare_runs(
        Selection(names, task or (), _split(variant) or (), where or (), last),
        tracking_uri=uri,
        out=out or runs_folder() / "compare" / "-".join(names),
        figure_format=figure_format,
        by=by or (),
        metric=metric,
        baseline=baseline,
        at=at,
        score=score,
        mix=mix,
        mode=mode,
        against=against,
    )
    if as_json:
        print(comparison.to_json())
    elif as_markdown or as_latex:
        print("\n".join(map(latex if as_latex else markdown, tables(comparison))))
    else:
        print_comparison(comparison, Console())


@app.command()
def evaluate(
    run_id: Annotated[
        str, typer.Argument(help="MLflow id of a trial or its beginning, or the trial's folder.")
    ],
    task: Annotated[str | None, typer.Option(help="Another task of the method.")] = None,
    video: Annotated[
        Path | None, typer.Option(help="Write an episode to this file, .mp4 or .gif.")
    ] = None,
    best: Best = False,
    trust: Trust = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Evaluate a trial's newest or best checkpoint, on its own task or another.

    Example: tenfold evaluate 1f0c63ab --video walk.mp4
    """
    from tenfold.platform.store import check_store, tracking_uri

    uri = tracking_uri(store)
    check_store(uri)
    from tenfold.platform.evaluate import evaluate as evaluate_run

    evaluation = evaluate_run(run_id, uri, task, video, best, trust)
    if as_json:
        print(json.dumps(vars(evaluation)))
        return
    table = Table("metric", "value", title=f"{evaluation.checkpoint} on {evaluation.task}")
    for key, value in sorted(evaluation.metrics.items()):
        table.add_row(key, f"{value:.6g}")
    Console().print(table)
    if evaluation.video:
        print(f"Wrote {evaluation.video}.")


@app.command()
def export(
    run_id: Annotated[
        str, typer.Argument(help="MLflow id of a trial or its beginning, or the trial's folder.")
    ],
    best: Best = False,
    trust: Trust = False,
    store: Store = None,
    form: Annotated[
        Literal["mlflow", "pomdp_py"],
        typer.Option("--format", help="A model of MLflow, or a program for pomdp_py."),
    ] = "mlflow",
    output: Annotated[Path, typer.Option(help="Where the program for pomdp_py goes.")] = Path(
        "policy.py"
    ),
) -> None:
    """Log a trial's policy or network as a model of MLflow, which loads without Tenfold.

    Example: tenfold export 1f0c63ab --best
    """
    from tenfold.platform.store import check_store, shown_uri, tracking_uri

    uri = tracking_uri(store)
    check_store(uri)
    from tenfold.platform.export import export as export_run
    from tenfold.platform.export import export_program

    if form == "pomdp_py":
        checkpoint = export_program(run_id, uri, output, best, trust)
        print(f"{checkpoint} is {output}. With pomdp_py, and without Tenfold:\n")
        print(f"  python {output} 1000")
        return
    exported = export_run(run_id, uri, best, trust)
    (takes,), (gives,) = exported.signature.inputs.inputs, exported.signature.outputs.inputs
    print(f"{exported.checkpoint} is {exported.uri}. In Python:\n")
    print(f"  import mlflow; mlflow.set_tracking_uri({shown_uri(uri)!r})")
    print(f"  model = mlflow.pyfunc.load_model({exported.uri!r})\n")
    shapes = f"{takes.type} {takes.shape} and gives {gives.type} {gives.shape}"
    print(f"model.predict takes {shapes}; -1 is any number.")


@app.command()
def sync(
    run_dir: Annotated[
        Path | None, typer.Argument(help="A run's folder; all of them by default.")
    ] = None,
    store: Store = None,
) -> None:
    """Send what MLflow has not got yet: offline runs, and runs whose store went down.

    Example: tenfold sync
    """
    from tenfold.platform.store import (
        check_store,
        failure_of_store,
        runs_folder,
        shown_uri,
        tracking_uri,
    )

    uri = tracking_uri(store)
    if run_dir is not None and not (run_dir / "tracking").is_dir():
        raise InputError(f"'{run_dir}' is no folder of a run: give one under {runs_folder()}/tune.")
    check_store(uri)
    from tenfold.platform.journal import deliver_all, journals
    from tenfold.platform.run_lock import only_driver

    found = sorted(path.parent for path in (runs_folder() / "tune").glob("*/tracking"))
    folders = [run_dir] if run_dir else found
    sent, failed = 0, 0
    for folder in folders:
        try:
            with only_driver(folder):
                sent += deliver_all(journals(folder / "tracking"), uri)
        except InputError as error:
            failed += 1
            _complain(str(error))
        except Exception as error:  # whatever a store, its driver or a proxy raises
            failed += 1
            _complain(f"{folder.name} still waits, {failure_of_store(uri, error)}")
    print(f"Sent {sent} records of {len(folders) - failed} runs to {shown_uri(uri)}.")
    if failed:
        raise typer.Exit(1)


@app.command()
def submit(
    file: Annotated[Path, typer.Argument(help="A YAML file with an experiment.")],
    address: Head,
    extra: Annotated[
        list[str] | None, typer.Argument(help="Options for 'tenfold run' there, after --.")
    ] = None,
    token_file: TokenFile = None,
    python: Annotated[str, typer.Option(help="The cluster's Python interpreter.")] = "python",
    follow: Annotated[bool, typer.Option(help="Stream the job's log to its end.")] = False,
) -> None:
    """Run an experiment as a job on a Ray cluster, with this very version of Tenfold.

    Example: tenfold submit experiments/queues/demo.yaml --address http://head:8265 --follow
    """
    from tenfold.platform import jobs

    fields, options = _options_of_run([str(file), *(extra or ())])
    sent = jobs.submit(
        file,
        address=address,
        token_file=token_file,
        overrides=fields,
        options=options,
        python=python,
    )
    print(f"{sent.job_id} records in {sent.store}.")
    if follow:
        raise typer.Exit(jobs.follow(sent.job_id, address=address, token_file=token_file))


@jobs_app.command("list")
def list_jobs(address: Head, token_file: TokenFile = None, as_json: Json = False) -> None:
    """Show the cluster's jobs of ours, the newest first.

    Example: tenfold jobs list --address http://head:8265
    """
    from tenfold.platform import jobs

    _show_jobs(jobs.list_jobs(address=address, token_file=token_file), as_json)


@jobs_app.command()
def status(
    job_id: JobId, address: Head, token_file: TokenFile = None, as_json: Json = False
) -> None:
    """Show one job; exits with the job's own code once it has ended.

    Example: tenfold jobs status tenfold-ab12 --address http://head:8265
    """
    from tenfold.platform import jobs

    job = jobs.status(job_id, address=address, token_file=token_file)
    _show_jobs([job], as_json)
    raise typer.Exit(jobs.exit_code(job) if job.ended else 0)


@jobs_app.command()
def logs(job_id: JobId, address: Head, token_file: TokenFile = None) -> None:
    """Stream a job's log to its end; exits with the job's code.

    Example: tenfold jobs logs tenfold-ab12 --address http://head:8265
    """
    from tenfold.platform import jobs

    raise typer.Exit(jobs.follow(job_id, address=address, token_file=token_file))


@jobs_app.command("stop")
def stop_job(job_id: JobId, address: Head, token_file: TokenFile = None) -> None:
    """Stop a running job; its checkpoints stay.

    Example: tenfold jobs stop tenfold-ab12 --address http://head:8265
    """
    from tenfold.platform import jobs

    stopped = jobs.stop(job_id, address=address, token_file=token_file)
    print(f"{job_id} {'is being stopped' if stopped else 'had ended before'}.")


@app.command()
def doctor(store: Store = None, as_json: Json = False) -> None:
    """Check this machine: versions, cores, memory, GPU, disk, store.

    Example: tenfold doctor
    """
    from tenfold.platform import doctor as doctor_module
    from tenfold.platform.store import tracking_uri

    raise typer.Exit(doctor_module.report(tracking_uri(store), as_json=as_json))


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on loopback.")] = 5000,
    store: Store = None,
) -> None:
    """Open the MLflow UI over the store, on this machine only.

    Example: tenfold ui --port 5001
    """
    from tenfold.platform.store import tracking_uri
    from tenfold.platform.ui import serve

    serve(tracking_uri(store), port)


def _options_of_run(arguments: list[str]) -> tuple[dict[str, Any], list[str]]:
    """What arguments of `tenfold run` say: fields of the experiment, and options of the command."""
    command: Any = typer.main.get_command(app)
    given = command.get_command(None, "run").make_context("run", arguments).params
    options = [f"--{flag}" for flag in ("resume", "offline", "tuned") if given[flag]]
    options += [word for name in given["best_of"] or () for word in ("--best-of", name)]
    if given["address"] is not None:
        options += ["--address", given["address"]]
    return _flags(given), options


def _show_jobs(found: list[Any], as_json: bool) -> None:
    """A table of `jobs.Job` rows, or their JSON."""
    rows = [vars(job) for job in found]
    if as_json:
        print(json.dumps(rows, indent=2, default=str))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("id", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("started", no_wrap=True)
    table.add_column("experiment", overflow="fold")
    for row in rows:
        code = row["exit_code"]
        status = row["status"] if code in (0, None) else f"{row['status']} ({code})"
        started = (row["started"] or "-").removesuffix("+00:00").replace("T", " ")
        table.add_row(*map(escape, (row["id"], status, started, row["experiment"])))
    console = Console()
    # An id is there to be copied: in a narrow window the table is cut by the window, not by us.
    console.width = max(console.width, 80, *(len(row["id"]) + 50 for row in rows))
    console.print(table)


def _launch(
    target: str,
    flags: dict[str, Any],
    address: str | None,
    offline: bool,
    resume: bool,
    default_space: str | None = None,
    tuned: bool = False,
    best_of: Sequence[str] | None = None,
) -> None:
    """Check what is asked for, run it, and say where it went.

    Args:
        target: A method, or a YAML file.
        flags: Fields of the experiment, which win over the file's.
        address: A running Ray cluster.
        offline: Keep results in journals.
        resume: Go on with the newest run, or with the one whose own record the target is.
        default_space: The space where neither the file nor a flag names one.
        tuned: Start from the tuned values of the method and the task.
        best_of: Sweeps, of which each variant has its own best point.
    """
    from tenfold.platform.experiment import load_experiment, make_experiment
    from tenfold.platform.plan import plan, total
    from tenfold.platform.store import check_store, runs_folder, tracking_uri

    is_file = target.endswith((".yaml", ".yml"))
    default = {} if default_space is None else {"space": default_space}
    if is_file:
        experiment = load_experiment(Path(target), flags, default)
    else:
        experiment = make_experiment({"method": target, **default, **flags})
    if tuned:
        from tenfold.platform.tuned import with_tuned

        experiment = with_tuned(experiment)
    uri = tracking_uri(experiment.tracking_uri)
    if best_of or not offline:
        check_store(uri)
    lines = plan(experiment, runs_folder() / "tune", None if offline else uri)
    if best_of:
        from mlflow import MlflowClient

        from tenfold.platform.best_points import best_points, with_best_points

        found = best_points(experiment, best_of, MlflowClient(tracking_uri=uri))
        experiment = with_best_points(experiment, found)
        lines += [f"  tuned    {best}" for best in found]
    print("\n".join(lines), flush=True)
    from tenfold.platform.study import resolve_study

    study = resolve_study(experiment)
    length = total(experiment, study.length())
    if length is not None:
        print(f"  length   {length}", flush=True)
    from tenfold.platform.launch import launch, run_of
    from tenfold.platform.summary import print_summary

    own = run_of(Path(target)) if resume and is_file else None
    outcome = launch(study, uri, offline=offline, address=address, resume=own or resume)
    print_summary(experiment, outcome, uri, Console())
    if outcome.failed or outcome.unfinished:
        raise typer.Exit(INTERRUPTED if outcome.unfinished else 1)


def _flags(given: Mapping[str, Any]) -> dict[str, Any]:
    """The experiment fields that the flags give; a flag that is not there says nothing.

    Args:
        given: Parameters of `tenfold run` or `sweep`, as the command line has them.
    """
    fields: dict[str, Any] = {
        "tasks": _split(given["task"]),
        "variants": _split(given["variant"]),
        "config": _assignments("--set", given["settings"]),
        "space": _assignments("--sweep", given["swept"]),
        "seeds": None if given["seeds"] is None else _seeds(given["seeds"]),
        "stop": _assignments("--stop", given["stop"]),
        "name": given["name"],
        "tracking_uri": given["store"],
        "log": _split(given["log"]),
        "system_metrics": given["system_metrics"] or None,
        "resources": {key: given[key] for key in ("cpus", "concurrent") if given[key] is not None},
    }
    return {key: value for key, value in fields.items() if value or value == 0}


def _split(texts: list[str] | None) -> list[str] | None:
    """Names in a row, ``a,b``, one by one; a path that exists is one name, commas and all."""
    if texts is None:
        return None
    names = []
    for text in texts:
        is_path = os.path.exists(os.path.expanduser(text))
        names += [text] if is_path else [part.strip() for part in text.split(",") if part.strip()]
    return names


def _seeds(text: str) -> int | list[int]:
    """``3`` as a number of seeds, ``4,7`` and ``5,`` as the seeds themselves."""
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    if not numbers:
        raise InputError(
            f"Bad value {shown(text)} for --seeds: give an integer, how many, or a list like 1,2,3."
        )
    return numbers if "," in text else numbers[0]


def _assignments(flag: str, texts: list[str] | None) -> dict[str, Any]:
    """``["a=1", "b.c=x"]`` as ``{"a": 1, "b.c": "x"}``, values read as YAML."""
    from tenfold.platform.yaml_text import parse_value

    values: dict[str, Any] = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InputError(f"Bad value {shown(text)} for {flag}: write key=value.")
        if key in values:
            raise InputError(f"{flag} gives '{one_line(key)}' twice: give it once.")
        values[key] = parse_value(value)
    return values


def main() -> None:
    """Entry point of the console script."""
    # Importing Ray and torch makes some 10^6 objects that stay; looking for garbage among them at
    # the usual rate costs a fifth of the start-up time.
    gc.set_threshold(100_000)
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    try:
        code = app(standalone_mode=False)
    except InputError as error:
        _complain(str(error))
        code = 2
    except RunError as error:
        _complain(str(error))
        code = 1
    except typer.Abort:
        code = 1
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        _complain(f"No file can be called {shown(error.filename)}: its name is too long.")
        code = 2
    except Exception as error:
        code = _usage_mistake(error)
        if code is None and type(error).__module__.partition(".")[0] in ("mlflow", "sqlalchemy"):
            from tenfold.platform.store import failure_of_store, tracking_uri

            _complain(failure_of_store(tracking_uri(_given_store()), error))
            code = 1
        if code is None:
            raise
    sys.exit(code)


def _given_store() -> str | None:
    """The store that the command line names."""
    option = "--tracking-uri"
    return _given([option]) if any(word.startswith(option) for word in sys.argv) else None


def _usage_mistake(error: Any) -> int | None:
    """The exit code of a command line that Typer could not read, after one sentence on it."""
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error.format_message())
        return 2
    if not hasattr(error, "format_message"):
        return None
    message = " ".join(error.format_message().split())
    possible = getattr(error, "possibilities", None)
    if message.startswith("No such command"):
        wrong = message.split("'")[1]
        names = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
        names += command_entries()
        message = str(unknown("command", wrong, names))
    elif possible:
        wrong = message.partition(": ")[2].split(" ")[0]
        close = get_close_matches(wrong, possible) or possible
        nearest = max(close, key=lambda each: [a == b for a, b in zip(wrong, each, strict=False)])
        sentence = message.split(" Did you")[0].split(" (Possible")[0].rstrip(".")
        message = f"{sentence}: did you mean '{nearest}'?"
    elif message.startswith("Invalid value for"):
        message = f"{message} (got '{_given(error.param.opts)}')."
    _complain(message)
    return 2


def _given(names: list[str]) -> str:
    """What the command line gave for an option, which Typer's error does not say."""
    for position, word in enumerate(sys.argv):
        option, equals, value = word.partition("=")
        if option in names:
            return value if equals else sys.argv[position + 1]
    return " ".join(sys.argv[2:])


def _complain(sentence: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(
        f"[red]Error:[/red] {escape(sentence)}"
    )


if __name__ == "__main__":
    main()
