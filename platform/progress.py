"""What a run shows while it goes: a live table on a terminal, plain lines elsewhere."""

import sys
import time
from datetime import timedelta
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from tenfold.platform.configuration import flatten
from tenfold.platform.experiment import Experiment
from tenfold.platform.registry import Method

_LINE_EVERY_SECONDS = 10.0


class Progress(Callback):
    """Prints each trial's end with its metric, and where the running ones are.

    Args:
        experiment: What is run.
        method: Its method, whose metric and step are shown.
    """

    def __init__(self, experiment: Experiment, method: Method) -> None:
        self.name = experiment.name
        self.method = method
        self._last_line = 0.0

    def setup(self, stop: Any = None, num_samples: int | None = None, **info: Any) -> None:
        # Made here, since Tune pickles its callbacks before it calls this.
        self.console = Console(file=sys.stderr)
        self.bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[latest]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.row = self.bars.add_task(self.name, total=None, latest="")
        self.bars.start()

    def on_trial_start(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self.bars.update(self.row, total=len(trials))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        latest = f"{trial.custom_trial_name}: {self._state(result)}"
        self.bars.update(self.row, latest=latest, total=len(trials))
        now = time.monotonic()
        if not self.console.is_terminal and now - self._last_line > _LINE_EVERY_SECONDS:
            self._last_line = now
            self.console.print(f"running  {latest}", soft_wrap=True, highlight=False)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._print("finished", trials, trial)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._print("failed  ", trials, trial)
        if trial.run_metadata.error_filename:
            where = f"{trial.path}/{trial.run_metadata.error_filename}"
            self.console.print(f"         see {where}", soft_wrap=True, highlight=False)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self.bars.stop()

    def _print(self, verb: str, trials: list[Trial], trial: Trial) -> None:
        # Tune tells of a trial's end before it counts as finished.
        done = sum(other is trial or other.is_finished() for other in trials)
        self.bars.update(self.row, completed=done, total=len(trials))
        name, state = trial.custom_trial_name, self._state(trial.last_result or {})
        self.console.print(
            f"{verb} {name}: {state} ({done}/{len(trials)})", soft_wrap=True, highlight=False
        )

    def _state(self, result: dict[str, Any]) -> str:
        flat = flatten(result, separator="/")
        value = flat.get(self.method.metric)
        step = flat.get(self.method.step_metric)
        shown = "no result yet" if value is None else f"{self.method.metric} {value:.4g}"
        if step is not None:
            shown += f" after {step:,.0f} {self.method.step_unit}"
        # A training loop says how fast it is and how long it will take.
        for key, speed in flat.items():
            if key.endswith("_per_second") and flat.get("eta_seconds"):
                left = timedelta(seconds=round(flat["eta_seconds"]))
                shown += f", {speed:,.0f} {key.removesuffix('_per_second')}/s, {left} left"
        return shown
