"""Tune trials as MLflow runs: a sweep is a parent run, each trial a child.

Tags: method, variant, task, seed, experiment, paper, commit, ray_version, step_unit, metric, mode,
run_dir, trial_dir. Parameters: what differs from the method's defaults. Artifacts: the whole config
as YAML and Tune's ``result.json``. Metrics: those that the method declares, over its true step.
"""

import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
import yaml
from mlflow.exceptions import MlflowException
from ray.tune.experiment import Trial
from ray.tune.logger import LoggerCallback
from ray.tune.result import EXPR_RESULT_FILE

from tenfold.platform.configuration import (
    build_config,
    changed_from_default,
    flatten,
    trial_point,
)
from tenfold.platform.experiment import Experiment
from tenfold.platform.journal import SWEEP, Journal, deliver_all
from tenfold.platform.registry import Method
from tenfold.platform.wheel import commit

TRACKING_FOLDER = "tracking"
_RETRY_SECONDS = 20.0


class Tracker(LoggerCallback):
    """Writes each trial's journal and delivers it; a store that is down never stops a run.

    Args:
        experiment: What is run.
        method: Its method.
        run_dir: Tune's folder of this run; the journals go into its ``tracking`` folder.
        uri: The MLflow store.
        offline: Write journals only; `tenfold sync` sends them.
    """

    def __init__(
        self, experiment: Experiment, method: Method, run_dir: Path, uri: str, offline: bool
    ) -> None:
        super().__init__()
        self.experiment = experiment
        self.method = method
        self.run_dir = run_dir
        self.uri = uri
        self.offline = offline
        self._last_steps: dict[str, int] = {}
        self._quiet_until = 0.0
        self.undelivered = False

    def setup(self, *args: Any, **info: Any) -> None:
        journal = self._journal(SWEEP)
        if journal.exists:
            journal.status("RUNNING")
        else:
            journal.start(self.experiment.name, self.run_dir.name, self._tags("sweep"))
            journal.artifact(self.run_dir / "experiment.yaml")
        self._deliver(journal)

    def log_trial_start(self, trial: Trial) -> None:
        journal = self._journal(trial.trial_id)
        self._last_steps[trial.trial_id] = journal.last_step()
        if journal.exists:
            journal.status("RUNNING")
            return
        at = trial_point(self.experiment, trial.config)
        config = build_config(self.method, at.task, at.variant, at.overrides, at.seed)
        config_file = self._artifact_folder(trial) / "config.yaml"
        config_file.write_text(yaml.safe_dump(_plain(config.to_dict()), sort_keys=True))
        tags = {
            **self._tags("trial"),
            "task": at.task,
            "variant": at.variant,
            "seed": str(at.seed),
            "trial_dir": str(trial.path),
        }
        params = changed_from_default(self.method, at.task, config)
        name = f"{at.task}/{at.variant}/seed={at.seed}"
        journal.start(self.experiment.name, name, tags, params, parent=SWEEP)
        journal.artifact(config_file)
        self._deliver(self._journal(SWEEP), journal)

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        flat = flatten(result, separator="/")
        step = int(flat.get(self.method.step_metric, iteration))
        if step <= self._last_steps[trial.trial_id]:
            return  # iterations since the last checkpoint that a resumed trial repeats
        self._last_steps[trial.trial_id] = step
        values = {
            key: float(flat[key])
            for key in self.method.metrics
            if key in flat and not math.isnan(float(flat[key]))
        }
        journal = self._journal(trial.trial_id)
        journal.metrics(step, values)
        self._deliver(journal)

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        journal = self._journal(trial.trial_id)
        if not journal.exists:  # it failed before its actor was up
            self.log_trial_start(trial)
        results = Path(trial.local_path) / EXPR_RESULT_FILE
        if results.exists():
            journal.artifact(Path(shutil.copy(results, self._artifact_folder(trial))))
        journal.status("FAILED" if failed else "FINISHED")
        self._deliver(journal)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        failed = any(trial.status == Trial.ERROR for trial in trials)
        done = all(trial.is_finished() for trial in trials)
        self.close("KILLED" if not done else "FAILED" if failed else "FINISHED", trials)

    def close(self, status: str, trials: list[Trial]) -> None:
        """End the parent run and try once more to deliver all that waits."""
        parent = self._journal(SWEEP)
        parent.status(status)
        self._quiet_until = 0.0
        self._deliver(parent, *(self._journal(trial.trial_id) for trial in trials))

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
        try:
            deliver_all(found, self.uri)
        except (MlflowException, OSError) as error:
            if not self.undelivered:
                reason = " ".join(str(error).split())[:200]
                print(
                    f"The MLflow store does not take records now ({reason}). The run goes on and "
                    "keeps them; if it is still down at the end, send them with 'tenfold sync'."
                )
            self.undelivered = True
            self._quiet_until = time.monotonic() + _RETRY_SECONDS

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
        }


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if type(value) in (bool, int, float, str) or value is None:
        return value
    return repr(value)
