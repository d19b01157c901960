"""Tune trials as MLflow runs: a sweep is a parent run, each trial a child.

Tags: method, variant, task, seed, experiment, paper, commit, ray_version, step_unit, metric, mode,
run_dir, trial_dir, and MLflow's own for source, user, description and data set. Parameters: every
key that `recorded_parameters` names, defaults too. Artifacts: the whole config as YAML, Tune's
``result.json``, and where they are wanted there the trial's checkpoints. Metrics: those that the
method declares, over its true step, also where they are not finite; the tag `DIVERGED` then holds
the step since which they are not. On request also ``system/...``, which MLflow shows as system
metrics, over the same step.

At its end the parent run has the numbers of trials, and of a sweep the best score (``best_score``),
its swept values as parameters and its trial's id (tag ``best_trial``).

Population-based training changes the config of a trial on the way, and MLflow's parameters cannot
change. There the parameters are written at a trial's end, as they were last, each swept number is a
metric ``config/<key>`` over the steps, and ``perturbations.json`` tells every change.
"""

import getpass
import json
import math
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
import yaml
from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_COMMIT,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_USER,
)
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.tune.experiment import Trial
from ray.tune.logger import LoggerCallback

from tenfold.platform.checkpoints import POINT_FILE, numbered
from tenfold.platform.configuration import (
    Point,
    changed_from_default,
    flatten,
)
from tenfold.platform.journal import SWEEP, Journal, deliver_all, journals
from tenfold.platform.machine import SYSTEM
from tenfold.platform.registry import Method
from tenfold.platform.results import results_of
from tenfold.platform.rllib_keys import SET_ELSEWHERE, own_keys, types_of
from tenfold.platform.standing import groups
from tenfold.platform.store import in_a_job, sqlite_path
from tenfold.platform.study import Study
from tenfold.platform.tasks import fingerprint, labels
from tenfold.platform.training import TrainingConfig
from tenfold.platform.trial import has_ended, is_empty_mean
from tenfold.platform.trial_files import TRIAL
from tenfold.platform.wheel import commit
from tenfold.platform.whole_file import replace_file

TRACKING_FOLDER = "tracking"
DIVERGED = "diverged"
# After a failed delivery none is tried for so long, or for so many times as long as it took: a
# server that hangs must not hold the run up.
_RETRY_SECONDS, _RETRY_SHARE = 20.0, 20


class Tracker(LoggerCallback):
    """Writes each trial's journal and delivers it; a store that is down never stops a run.

    Args:
        study: What is run.
        run_dir: Tune's folder of this run; the journals go into its ``tracking`` folder.
        uri: The MLflow store.
        offline: Write journals only; `tenfold sync` sends them.
    """

    def __init__(self, study: Study, run_dir: Path, uri: str, offline: bool) -> None:
        super().__init__()
        self.study = study
        self.experiment = study.experiment
        self.method = study.method
        self.run_dir = run_dir
        self.uri = uri
        self.offline = offline
        self._population = self.experiment.scheduler_kind() == "pbt"
        self._last_steps: dict[str, int] = {}
        self._points: dict[str, dict[str, Any]] = {}
        self._diverged: dict[str, str] = {}
        self._quiet_until = 0.0
        self.undelivered = False

    def open(self) -> None:
        """Begin the parent run, or go on with it."""
        for each in journals(self.run_dir / TRACKING_FOLDER):
            damage = each.damage()
            if damage is not None:
                print(damage)
        journal = self._journal(SWEEP)
        if journal.begun:
            journal.status("RUNNING")
        else:
            tags = {**self._tags("sweep"), MLFLOW_RUN_NOTE: self._note()}
            journal.start(self.experiment.name, self.run_dir.name, tags)
        journal.artifact(self.run_dir / "experiment.yaml")
        self._deliver(journal)

    def log_trial_start(self, trial: Trial) -> None:
        journal = self._journal(trial.trial_id)
        self._last_steps[trial.trial_id] = journal.last_step()
        self._diverged[trial.trial_id] = journal.last_tag(DIVERGED)
        self._points.setdefault(trial.trial_id, dict(trial.config))
        if journal.begun:
            journal.status("RUNNING")
            return
        at, config = self._config(trial)
        config_file = self._write_config(trial, config)
        tags = {
            **self._tags("trial"),
            "task": at.label,
            "task_path": at.task,
            "variant": at.variant,
            "seed": str(at.seed),
            "trial_dir": str(trial.path),
            **_data_set(at),
        }
        params = {} if self._population else recorded_parameters(self.method, at.task, config)
        name = f"{at.label}/{at.variant}/seed={at.seed}"
        journal.start(self.experiment.name, name, tags, params, parent=SWEEP)
        journal.artifact(config_file)
        self._deliver(self._journal(SWEEP), journal)

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        flat = flatten(result, separator="/")
        step = int(flat.get(self.method.step_metric, iteration))
        journal = self._journal(trial.trial_id)
        # What a resumed trial repeats since its checkpoint is known already, as is what a member of
        # a population repeats that took the place of a slower one.
        if step > self._last_steps[trial.trial_id]:
            self._last_steps[trial.trial_id] = step
            values = {
                key: float(flat[key])
                for key in self.method.metrics
                if flat.get(key) is not None and not is_empty_mean(flat, key)
            }
            machine = {
                key: float(value) for key, value in flat.items() if key.startswith(f"{SYSTEM}/")
            }
            journal.metrics(step, {**values, **self._swept_numbers(trial), **machine})
            self._note_divergence(journal, step, values)
        # The scheduler has seen the result before this is called: a changed config is that of
        # the steps to come.
        if trial.config != self._points[trial.trial_id]:
            self._note_perturbation(trial, step)
        self._deliver(journal)

    def log_trial_save(self, trial: Trial) -> None:
        """Pictures that a method puts into its checkpoints are seen while it trains."""
        if trial.checkpoint is None:
            return
        journal = self._journal(trial.trial_id)
        step = self._last_steps.get(trial.trial_id, 0)
        for picture in sorted(Path(trial.checkpoint.path).rglob("*.png")):
            kept = self._artifact_folder(trial) / f"{picture.stem}-{max(step, 0):08d}.png"
            journal.artifact(Path(shutil.copy(picture, kept)))
        self._deliver(journal)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        journal = self._journal(trial.trial_id)
        if not journal.begun:  # it failed before its actor was up
            self.log_trial_start(trial)
        if self._population:
            at, config = self._config(trial)
            journal.artifact(self._write_config(trial, config))
            journal.params(recorded_parameters(self.method, at.task, config))
        results = results_of(trial)
        if results.exists():
            journal.artifact(Path(shutil.copy(results, self._artifact_folder(trial))))
        if self._uploads:
            self._upload(journal, Path(trial.path))
        journal.status("FAILED" if failed else "FINISHED" if has_ended(trial) else "KILLED")
        self._deliver(journal)

    def close(self, status: str) -> int:
        """End the parent run, and the runs of trials that were cut off; deliver all that waits.

        Args:
            status: Of the parent run: ``FINISHED``, ``FAILED`` or ``KILLED``.

        Returns:
            How many trials were cut off.
        """
        cut_off = 0
        found = journals(self.run_dir / TRACKING_FOLDER)
        for journal in found:
            if journal.key != SWEEP and journal.last_status() == "RUNNING":
                journal.status("KILLED")
                cut_off += 1
        self._quiet_until = 0.0
        self._deliver(*found)
        self._sum_up(found)
        self._journal(SWEEP).status(status)
        self._deliver(*found)
        return cut_off

    def _sum_up(self, found: Sequence[Journal]) -> None:
        """Write counts, and of a sweep its best point, into the parent run."""
        parent = self._journal(SWEEP)
        statuses = [journal.last_status() for journal in found if journal.key != SWEEP]
        counts = {
            "trials": len(statuses),
            "trials_finished": statuses.count("FINISHED"),
            "trials_failed": statuses.count("FAILED"),
            "trials_killed": statuses.count("KILLED"),
        }
        parent.metrics(0, {key: float(count) for key, count in counts.items()})
        ranked = groups(self.experiment, self.run_dir / TRACKING_FOLDER)
        # Across tasks and variants scores do not mean the same.
        cells = {(group.trials[0].task, group.trials[0].variant) for group in ranked}
        if self.experiment.space is None or len(cells) != 1:
            return
        best = ranked[0]
        parent.metrics(0, {"best_score": best.estimate.value})
        for key, value in best.trials[0].swept.items():
            parent.tag(f"best.{key}", str(value))
        parent.tag("best_trial", best.trials[0].run_id)

    def _note(self) -> str:
        """The description that MLflow shows above a run."""
        asked = self.experiment
        lines = [
            f"**{self.method.title}** ({self.method.name})",
            f"tasks: {', '.join(labels(asked.tasks))}",
            f"variants: {', '.join(asked.variants)}",
            f"seeds: {', '.join(map(str, asked.seeds))}",
        ]
        if asked.space is not None:
            lines.append(f"space: {asked.space}, {asked.search_kind()}, {asked.points()} points")
        return "\n\n".join(lines)

    def _config(self, trial: Trial) -> tuple[Point, Any]:
        at = self.study.point(trial.config)
        return at, self.study.config(at)

    def _write_config(self, trial: Trial, config: Any) -> Path:
        file = self._artifact_folder(trial) / "config.yaml"
        file.write_text(yaml.safe_dump(_plain(config.to_dict()), sort_keys=True))
        return file

    def _swept_numbers(self, trial: Trial) -> dict[str, float]:
        """What population-based training may have changed, as metrics over the steps."""
        if not self._population:
            return {}
        point = self._points[trial.trial_id]
        return {
            f"config/{key}": float(value)
            for key, value in point.items()
            if key in self.method.adjustable and isinstance(value, int | float)
        }

    def _note_perturbation(self, trial: Trial, step: int) -> None:
        before, now = self._points[trial.trial_id], dict(trial.config)
        self._points[trial.trial_id] = now
        file = self._artifact_folder(trial) / "perturbations.json"
        told = json.loads(file.read_text()) if file.exists() else []
        changes = {key: [before.get(key), now[key]] for key in now if before.get(key) != now[key]}
        told.append({"after_step": step, "changes": changes})
        replace_file(file, json.dumps(told, indent=2))
        self._journal(trial.trial_id).artifact(file)

    def _note_divergence(self, journal: Journal, step: int, values: Mapping[str, float]) -> None:
        """Keep the tag `DIVERGED` true: since when a metric is not finite, empty if all are."""
        broken = any(not math.isfinite(value) for value in values.values())
        since = self._diverged.get(journal.key, "")
        if broken != bool(since):
            self._diverged[journal.key] = str(step) if broken else ""
            journal.tag(DIVERGED, self._diverged[journal.key])

    @property
    def _uploads(self) -> bool:
        asked = self.experiment.checkpoint.upload
        return sqlite_path(self.uri) is None if asked is None else asked

    def _upload(self, journal: Journal, folder: Path) -> None:
        """What another machine needs to restore a trial, see `trial_files.fetched`."""
        for checkpoint in numbered(folder).values():
            journal.artifact(checkpoint, f"{TRIAL}/{checkpoint.name}")
        journal.artifact(folder / POINT_FILE, TRIAL)

    def _journal(self, key: str) -> Journal:
        return Journal(self.run_dir / TRACKING_FOLDER, key)

    def _artifact_folder(self, trial: Trial) -> Path:
        folder = self.run_dir / TRACKING_FOLDER / trial.trial_id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _deliver(self, *found: Journal) -> None:
        if self.offline or time.monotonic() < self._quiet_until:
            self.undelivered = True
            return
        begin = time.monotonic()
        try:
            deliver_all(found, self.uri)
        except Exception as error:  # whatever a store, its driver or a proxy raises: we go on
            if not self.undelivered:
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                print(
                    f"The MLflow store does not take records now ({reason}). The run goes on and "
                    "keeps them; if it is still down at the end, send them with 'tenfold sync'."
                )
            self.undelivered = True
            took = time.monotonic() - begin
            self._quiet_until = time.monotonic() + max(_RETRY_SECONDS, _RETRY_SHARE * took)

    def _tags(self, kind: str) -> dict[str, str]:
        return {
            "kind": kind,
            "method": self.method.name,
            "experiment": self.experiment.name,
            "paper": self.method.paper or "",
            "commit": commit(),
            "ray_version": ray.__version__,
            "step_unit": self.method.step_unit,
            "metric": self.method.metric,
            "mode": self.method.mode,
            "run_dir": str(self.run_dir),
            MLFLOW_USER: _user(),
            MLFLOW_SOURCE_NAME: f"tenfold {self.method.name}",
            MLFLOW_SOURCE_TYPE: "JOB" if in_a_job() else "LOCAL",
            **({MLFLOW_GIT_COMMIT: commit()} if commit() else {}),
        }


def recorded_parameters(method: Method, task: str, config: Any) -> dict[str, Any]:
    """What a trial's run has as parameters: what a user can tell the method, and what differs.

    Args:
        method: Whose config it is.
        task: The trial's task.
        config: Its config.

    Returns:
        Every key of the method's own, every typed one of the RLlib algorithm it is built on, and of
        all others those that are not as by default; flat, plain data only.
    """
    if isinstance(config, TrainingConfig):
        told = set(type(config).model_fields)
    else:
        # A method that plans or counts has RLlib's general keys and uses none of them.
        theirs = next(c for c in type(config).__mro__ if c.__module__.startswith("ray."))
        told = {*(types_of(config) if theirs is not AlgorithmConfig else ()), *own_keys(config)}
    told -= SET_ELSEWHERE.keys()
    values = {
        key: value
        for key, value in flatten(config.to_dict()).items()
        if key.partition(".")[0] in told and _is_plain(value)
    }
    return {**values, **changed_from_default(method, task, config)}


def _is_plain(value: Any) -> bool:
    return value is None or type(value) in (bool, int, float, str, list, tuple)


def _data_set(at: Point) -> dict[str, str]:
    """The tags that tell what a trial ran on: its task, and of a file what tells it from others."""
    mark = fingerprint(at.task)
    return {"dataset": at.label, **({"dataset_digest": mark} if mark else {})}


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        return str(os.getuid())


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if type(value) in (bool, int, float, str) or value is None:
        return value
    return repr(value)
