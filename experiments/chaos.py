"""A run of each kind of method, killed again and again, beside the same run left alone.

    python -m experiments.chaos
    python -m experiments.chaos --kind planning --kills 20 --seed 0

The moments of the kills are random, by a fixed seed: each is a share of all results that the run
records. The first comes as soon as the run's folder is there, the last when the last result is
written. Three kinds take turns: the driver; a worker (a process of a trial, or one of Ray Train's);
driver and workers while a checkpoint is being written. After each end the run is resumed as a user
would, with ``tenfold run ... --resume``. All of them use one Ray, as on a cluster, which ends the
workers of a driver that was killed.

It is held to this: the run ends well; no trial that had ended trains again (a driver that is
killed before Tune has noted an end notes it once more); MLflow has each trial
once, and of each metric each step once, the same steps as of the run left alone; and where a
method claims it (`Kind.exact`), the same values, bit for bit. A kind that is in the table is not
run again, and one that was cut off is gone on with from its last kill.
"""

import csv
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import psutil
import ray
import typer
import yaml
from mlflow import MlflowClient

from tenfold.platform.store import runs_folder

RESULTS = Path(__file__).parent / "results" / "chaos"
FIELDS = ("kind", "method", "kills", "driver", "worker", "checkpoint", "starts", "seconds")
FIELDS += ("points", "exact", "faults")
TARGETS = ("checkpoint", "driver", "worker")
_OF_RAY = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")
TIMED = ("_seconds", "_per_second")  # metrics that measure time
History = dict[str, list[tuple[int, float]]]
Start = Callable[[Sequence[str], Path], subprocess.Popen[Any]]

app = typer.Typer(help=__doc__, pretty_exceptions_enable=False, rich_markup_mode=None)


@dataclass(frozen=True)
class Kind:
    """A kind of method: an experiment without its name, and whether a resumed run is equal."""

    experiment: dict[str, Any]
    exact: bool
    results: int  # that its trials record together, if nothing happens


_OFTEN = {"seeds": 2, "checkpoint": {"every": 1, "keep": 2}}
_SIDE_BY_SIDE = {"concurrent": 2}
KINDS = {
    "planning": Kind(
        {
            **_OFTEN,
            "method": "icvar",
            "tasks": "mdp/FrozenLake-v0",
            "config": {"episodes_per_iteration": 20},
            "stop": {"episodes": 2000},
            "resources": _SIDE_BY_SIDE,
        },
        exact=True,
        results=200,
    ),
    "learner": Kind(
        {
            **_OFTEN,
            "method": "dqn",
            "config": {"min_sample_timesteps_per_iteration": 200},
            "stop": {"training_iteration": 40},
            "resources": _SIDE_BY_SIDE,
        },
        exact=False,  # an environment in mid-episode begins anew
        results=80,
    ),
    "ray-train": Kind(
        {
            **_OFTEN,
            "method": "mst",
            "config": {"steps": 120, "report_every": 3, "workers": 2, "delta": 6, "n_layer": 2}
            | {"n_head": 2, "n_embd": 32, "context": 64, "batch": 4, "validation_windows": 16},
            "resources": _SIDE_BY_SIDE,
        },
        exact=True,
        results=80,
    ),
    "offline": Kind(
        {
            **_OFTEN,
            "method": "dom2",
            "config": {"batch": 16, "q_batch": 8, "q_warmup": 0, "updates_per_iteration": 10}
            | {"hidden": 16, "critic_hidden": 16, "solver_steps": 2, "judge_episodes": 4},
            "stop": {"updates": 400},
            "resources": _SIDE_BY_SIDE,
        },
        exact=True,
        results=80,
    ),
}


@app.command()
def main(
    kind: Annotated[list[str] | None, typer.Option(help="Only these; all if none.")] = None,
    kills: Annotated[int, typer.Option(min=1)] = 20,
    seed: Annotated[int, typer.Option(help="Of the moments and the victims.")] = 0,
) -> None:
    """Run the kinds that the table lacks, and write it after each."""
    rows = known()
    ray.init(address="local", num_cpus=4, include_dashboard=True, log_to_driver=False)
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    for name in kind or KINDS:
        if name in rows:
            continue
        folder = runs_folder() / "chaos" / name
        rows[name] = {"kind": name, **chaos(KINDS[name], kills, seed, folder, started)}
        if not rows[name]["faults"]:
            shutil.rmtree(folder)
        RESULTS.mkdir(parents=True, exist_ok=True)
        with (RESULTS / "chaos.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows.values())
        print(*(f"{key}={value}" for key, value in rows[name].items()), flush=True)
    sys.exit(any(row["faults"] for row in rows.values()))


def known() -> dict[str, dict[str, Any]]:
    """The table's rows by kind; of a kind that had a fault none."""
    table = RESULTS / "chaos.csv"
    rows = list(csv.DictReader(table.open())) if table.exists() else []
    return {row["kind"]: row for row in rows if not row["faults"]}


def started(arguments: Sequence[str], runs: Path) -> subprocess.Popen[Any]:
    """`tenfold` in a process of its own; what it says goes into a file beside the runs."""
    with (runs / "said.log").open("a") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "tenfold.platform.cli", *arguments],
            env={**os.environ, "TENFOLD_RUNS": str(runs)},
            stdout=said,
            stderr=said,
        )


def chaos(kind: Kind, kills: int, seed: int, folder: Path, start: Start) -> dict[str, Any]:
    """Two runs of a kind, one of which is killed; what became of it.

    Args:
        kind: What to run.
        kills: How many.
        seed: Of their moments and victims.
        folder: For both runs; what is there is gone on with.
        start: Runs `tenfold` with some arguments and a folder of runs.

    Returns:
        A row of the table; ``faults`` holds what went wrong, and is empty.
    """
    alone, killed = (_Run(kind, folder / name) for name in ("alone", "killed"))
    left_alone = folder / "alone.ended"
    if not left_alone.exists():
        options = ["--resume"] if alone.folder() is not None else []
        if start(["run", str(alone.file), *options], alone.runs).wait():
            return {"method": kind.experiment["method"], "faults": "the run left alone failed"}
        left_alone.touch()
    log = folder / "kills.json"
    state: dict[str, Any] = {"struck": [], "starts": 0, "seconds": 0.0, "ended": {}}
    if log.exists():
        state = json.loads(log.read_text())
    faults = _kill(
        killed, moments(kills, kind.results, seed), random.Random(seed), start, state, log
    )
    faults += differences(alone.histories(), killed.histories(), kind.exact) + killed.faults
    struck = Counter(state["struck"])
    if sum(struck.values()) < kills:
        faults.append(f"only {sum(struck.values())} kills")
    return {
        "method": kind.experiment["method"],
        "kills": sum(struck.values()),
        **{target: struck[target] for target in TARGETS},
        "starts": state["starts"],
        "seconds": round(state["seconds"]),
        "points": sum(len(h) for trial in killed.histories().values() for h in trial.values()),
        "exact": kind.exact,
        "faults": "; ".join(faults),
    }


def moments(kills: int, results: int, seed: int) -> list[tuple[int, str]]:
    """After how many results the run is struck, and what: rising, from none to all of them."""
    drawn = random.Random(seed)
    shares = sorted(drawn.random() for _ in range(kills - 2))
    between = [(int(share * results), TARGETS[n % 3]) for n, share in enumerate(shares)]
    return [(0, "driver"), *between, (results, "driver")][:kills]


def differences(alone: dict[int, History], killed: dict[int, History], exact: bool) -> list[str]:
    """What the killed run has otherwise than the one left alone, in words."""
    if alone.keys() != killed.keys():
        return [f"trials of seeds {sorted(killed)}"]
    found = []
    for seed, expected in alone.items():
        for metric, points in expected.items():
            # A resumed learner may have had no episode where the other had one, and so no mean.
            steps, there = [s for s, _ in points], killed[seed].get(metric, [])
            once = [step for step, _ in there]
            if len(set(once)) < len(once) or (exact and once != steps):
                found.append(f"seed {seed} has other steps of {metric}")
            elif exact and there != points:
                found.append(f"seed {seed} has other values of {metric}")
        last = max(step for points in expected.values() for step, _ in points)
        if last != max(step for points in killed[seed].values() for step, _ in points):
            found.append(f"seed {seed} ended elsewhere")
    return found


@dataclass
class _Run:
    """An experiment in a folder of runs of its own, and what is wrong with it so far."""

    kind: Kind
    runs: Path
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.runs.mkdir(parents=True, exist_ok=True)
        self.file = self.runs / "chaos.yaml"
        self.file.write_text(yaml.safe_dump({**self.kind.experiment, "name": "chaos"}))

    def folder(self) -> Path | None:
        """The run's folder, None before there is one."""
        return next((self.runs / "tune").glob("chaos-*"), None)

    def journals(self) -> dict[str, str]:
        """Each trial's journal as it stands."""
        found = (self.runs / "tune").glob("chaos-*/tracking/*.jsonl")
        return {path.stem: path.read_text() for path in found if path.stem != "sweep"}

    def results(self) -> int:
        """How many results are recorded."""
        return sum(map(len, map(_results, self.journals().values())))

    def checkpoints(self) -> set[Path]:
        return set((self.runs / "tune").glob("chaos-*/*/checkpoint_*"))

    def ended(self) -> dict[str, str]:
        """The journals of the trials that are done."""
        return {
            key: text
            for key, text in self.journals().items()
            if text.endswith("\n") and json.loads(text.splitlines()[-1]).get("status") == "FINISHED"
        }

    def histories(self) -> dict[int, History]:
        """Of each seed and metric the points that MLflow has, those that measure time left out."""
        client = MlflowClient(tracking_uri=f"sqlite:///{self.runs}/mlflow.db")
        experiment = client.get_experiment_by_name("chaos")
        if experiment is None:
            return {}
        found: dict[int, History] = {}
        for run in client.search_runs([experiment.experiment_id], "tags.kind = 'trial'"):
            seed = int(run.data.tags["seed"])
            if seed in found:
                self.faults.append(f"seed {seed} stands twice")
            if run.info.status != "FINISHED":
                self.faults.append(f"seed {seed} is {run.info.status}")
            found[seed] = {
                metric: [
                    (point.step, point.value)
                    for point in client.get_metric_history(run.info.run_id, metric)
                ]
                for metric in run.data.metrics
                if not metric.endswith(TIMED)
            }
        return found


def _results(journal: str) -> list[str]:
    """The records of a journal that hold results."""
    return [line for line in journal.splitlines() if '"op": "metrics"' in line]


def _kill(
    run: _Run,
    plan: list[tuple[int, str]],
    random_: random.Random,
    start: Start,
    state: dict[str, Any],
    log: Path,
) -> list[str]:
    """Run to the end through all kills; what went wrong.

    Args:
        run: What to kill.
        plan: When, and what.
        random_: Picks victims.
        start: Runs `tenfold`.
        state: What was struck, how often `tenfold` was started, the seconds it took, and the
            journals of the trials that had ended by a kill; brought up to date.
        log: Where to write the state after each kill.
    """
    code: int | None = None
    while code != 0 or len(state["struck"]) < len(plan):
        if state["starts"] > 3 * len(plan):
            return [f"does not end: left with {code}"]
        options = ["--resume"] if run.folder() is not None else []
        begin, others = time.monotonic(), _workers()
        driver = start(["run", str(run.file), *options], run.runs)
        state["starts"] += 1
        code = None
        while len(state["struck"]) < len(plan) and driver.poll() is None:
            code = _until(run, driver, plan[len(state["struck"])], random_)
            if code is not None:
                break
            state["ended"].update(run.ended())
            target = plan[len(state["struck"])][1]
            state["struck"].append(_strike(driver, target, random_, others))
            log.write_text(json.dumps(state))
        code = driver.wait() if code is None else code
        state["seconds"] += time.monotonic() - begin
    now = run.journals()
    return [
        f"{key} trained again"
        for key, text in sorted(state["ended"].items())
        if _results(now[key]) != _results(text)
    ]


def _until(
    run: _Run, driver: subprocess.Popen[Any], moment: tuple[int, str], random_: random.Random
) -> int | None:
    """Wait for a moment; the exit code of a driver that ends before."""
    results, target = moment
    # A driver that begins late works for a while before it is struck.
    results = max(results, min(run.results() + 1, run.kind.results)) if results else 0
    known: set[Path] | None = None
    jitter = random_.random() * 0.2
    while driver.poll() is None:
        if run.folder() is not None and run.results() >= results:
            if target != "checkpoint":
                time.sleep(jitter)
                return driver.poll()
            known = run.checkpoints() if known is None else known
            if run.checkpoints() - known or results >= run.kind.results:
                return None
            time.sleep(0.0005)
        else:
            time.sleep(0.01)
    return driver.wait()


def _strike(
    driver: subprocess.Popen[Any],
    target: str,
    random_: random.Random,
    others: set[psutil.Process],
) -> str:
    """Kill the driver, or one of the processes that work for it; says which it was."""
    workers = sorted(_workers() - others, key=lambda each: each.pid)
    if target == "worker" and workers:
        random_.choice(workers).kill()
        return target
    driver.kill()
    if target == "checkpoint":  # a worker writes it
        for each in workers:
            each.kill()
    driver.wait()
    # Ray ends them with their driver; what is slow to end must not meet the next one.
    _, alive = psutil.wait_procs(workers, timeout=20)
    for each in alive:
        each.kill()
    return "driver" if target == "worker" else target


def _workers() -> set[psutil.Process]:
    """The processes that Ray has at work."""
    return {each for each in psutil.Process().children(recursive=True) if _works(each)}


def _works(process: psutil.Process) -> bool:
    """Whether a process is an actor's or a task's, and not of Ray itself."""
    try:
        name = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return name.startswith("ray::") and not name.startswith(_OF_RAY)


if __name__ == "__main__":
    app()
