"""What a run shows while it goes: one live line on a terminal, few plain lines elsewhere."""

import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial
from rich.console import Console
from rich.live import Live
from rich.text import Text

from tenfold.platform.configuration import flatten
from tenfold.platform.faults import reason
from tenfold.platform.registry import Method
from tenfold.platform.search import sampled_values
from tenfold.platform.study import Study
from tenfold.platform.trial import NOTICE, SCORE, has_ended

# Without a terminal a line is printed at each tenth of the work, unless another one has just been,
# and after so long without one.
_JUST_SECONDS = 5.0
_QUIET_SECONDS = 60.0
# With more trials than these their ends are not told one by one.
_TOLD = 20


class Progress(Callback):
    """How far all trials of an experiment are, each trial's end, and why one failed.

    Args:
        study: What is run; its method's metric and step are shown.
        earlier: Trials of this run that have ended before and are not seen here.
    """

    def __init__(self, study: Study, earlier: Sequence[Trial] = ()) -> None:
        self.study = study
        self.experiment = study.experiment
        self.method = study.method
        length = study.length()
        self.length = length if length is not None and length[1] > 0 else None
        self.earlier = len(earlier)
        self._best = _best(self.method, [_value(trial) for trial in earlier if has_ended(trial)])

    def setup(self, stop: Any = None, num_samples: int | None = None, **info: Any) -> None:
        # Made here, since Tune pickles its callbacks before it calls this.
        self.console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self.begin = self._last_line = time.monotonic()
        self._shares: dict[str, float] = {}
        self._ended: set[str] = set()
        self._latest: float | None = None
        self._done_before: float | None = None
        self._tenth = 0
        self.total = self.experiment.trials()
        self.live = Live(
            get_renderable=lambda: Text(self.line(self.console.width), no_wrap=True),
            console=self.console,
            refresh_per_second=2,
        )
        if self.console.is_terminal:
            self.live.start()

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if self._done_before is None:
            for trial in trials:
                self._note(trial, trial.last_result or {})
            self._done_before = self.share

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        if NOTICE in result:
            self.console.print(f"damaged   {self.name(trial)}: {result[NOTICE]}", markup=False)
        self._note(trial, result)
        self._tell_share()

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        # Tune tells of a trial's end before it counts as finished.
        self._note(trial, trial.last_result or {}, ended=True)
        self._tell_end(trial)

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self.console.print(
            f"lost      {self.name(trial)}, going on: {_reason(trial)}", markup=False
        )

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._note(trial, trial.last_result or {}, ended=True)
        self.console.print(f"failed    {self.name(trial)}: {_reason(trial)}", markup=False)
        if trial.run_metadata.error_filename:
            self.console.print(f"          see {_error_file(trial)}", markup=False)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self.live.stop()

    @property
    def share(self) -> float:
        """How much of all the work is done, from 0 to 1; what has ended counts whole."""
        return min((self.earlier + sum(self._shares.values())) / self.total, 1.0)

    def line(self, width: int) -> str:
        """Where the run is, in one line of at most so many characters."""
        ended, share = self.earlier + len(self._ended), self.share
        elapsed = time.monotonic() - self.begin
        parts = [f"{ended}/{self.total} trials", f"{share:.0%}", _clock(elapsed)]
        fresh = share - (self._done_before or 0.0)
        if fresh > 0 and share < 1:
            parts.append(f"{_clock(elapsed * (1 - share) / fresh)} left")
        if self.length is not None:
            axis, last = self.length
            units = {
                "training_iteration": "iterations",
                self.method.step_metric: self.method.step_unit,
            }
            steps = last * self.total
            parts.append(f"{_short(share * steps)}/{_short(steps)} {units.get(axis, axis)}")
        metric = self.method.metric.rpartition("/")[2]
        if self._best is not None and len(self.experiment.tasks) == 1:
            parts.append(f"best {metric} {self._best:.4g}")
        elif self._latest is not None:
            parts.append(f"{metric} {self._latest:.4g}")
        while len(" | ".join(parts)) > width and len(parts) > 1:
            parts.pop()
        return " | ".join(parts)[:width]

    def name(self, trial: Trial) -> str:
        """A trial by what tells it from the others."""
        point, experiment = trial.config, self.experiment
        at = self.study.point(point)
        parts = [
            *([at.label] if len(experiment.tasks) > 1 else []),
            *([at.variant] if len(experiment.variants) > 1 else []),
            *(f"{key}={_written(value)}" for key, value in sampled_values(point).items()),
        ]
        if len(experiment.seeds) > 1 or not parts:
            parts.append(f"seed {at.seed}")
        return " ".join(parts)

    def _note(self, trial: Trial, result: dict[str, Any], ended: bool = False) -> None:
        value, key = _value(trial, result), trial.trial_id
        reached = 0.0
        if self.length is not None:
            axis, last = self.length
            reached = min(float(flatten(result, separator="/").get(axis) or 0.0) / last, 1.0)
        # Of a cumulative metric an early value is no better one: only whole trials count.
        whole = bool(result) and (reached >= 1 or (self.length is None and ended))
        if ended or trial.is_finished():
            self._ended.add(key)
        self._shares[key] = 1.0 if key in self._ended else reached
        if value is not None:
            self._latest = value
            if whole:
                self._best = _best(self.method, [self._best, value])

    def _tell_share(self) -> None:
        """A plain line where no live one is seen, when it has something to say."""
        if self.console.is_terminal:
            return
        silent, tenth = time.monotonic() - self._last_line, int(self.share * 10)
        if silent > _QUIET_SECONDS or (tenth > self._tenth and silent > _JUST_SECONDS):
            self._tenth = tenth
            self._print(f"running   {self.line(200)}")

    def _print(self, text: str) -> None:
        self._last_line = time.monotonic()
        self.console.print(text, markup=False)

    def _tell_end(self, trial: Trial) -> None:
        if self.total > _TOLD:
            return
        value, ended = _value(trial), self.earlier + len(self._ended)
        metric = self.method.metric.rpartition("/")[2]
        shown = "no result" if value is None else f"{metric} {value:.4g}"
        text = f"finished  {self.name(trial)}: {shown} ({ended}/{self.total})"
        self._print(text)


def _value(trial: Trial, result: dict[str, Any] | None = None) -> float | None:
    found = (trial.last_result if result is None else result) or {}
    return None if found.get(SCORE) is None else float(found[SCORE])


def _best(method: Method, values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return (min if method.mode == "min" else max)(known, default=None)


def _error_file(trial: Trial) -> Path:
    return Path(trial.local_path) / trial.run_metadata.error_filename


def _reason(trial: Trial) -> str:
    file = _error_file(trial) if trial.run_metadata.error_filename else None
    return reason(file.read_text(errors="replace")) if file and file.exists() else "no message"


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _short(number: float) -> str:
    """1234567 as 1.2M."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= limit:
            return f"{number / limit:.3g}{letter}"
    return f"{number:.0f}"


def _written(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
