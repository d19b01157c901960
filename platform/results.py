"""A trial's point, and its results line by line, in its own folder from the first on.

Tune writes ``result.json`` to a staging folder, which it copies to the trial's folder every five
minutes, and copies back whenever the trial begins again: after a pause or a kill the lines since
the last copy are gone, or the last of them is cut off. So the file is written where it stays, and
beside it the point that the trial is built from, sealed, which Tune's ``params.json`` is not.
"""

import json
import os
from pathlib import Path
from typing import Any, TextIO

from ray.air._internal.json import SafeFallbackEncoder
from ray.tune.experiment import Trial
from ray.tune.logger import JsonLoggerCallback
from ray.tune.result import EXPR_RESULT_FILE

from tenfold.platform.checkpoints import POINT_FILE
from tenfold.platform.seals import sealed
from tenfold.platform.whole_file import replace_file


class Results(JsonLoggerCallback):
    """Tune's record of parameters and results, of which the results are in ``trial.path``."""

    def log_trial_start(self, trial: Trial) -> None:
        self.log_trial_end(trial)
        self.update_config(trial, trial.config)
        self._trial_files[trial] = _continued(results_of(trial))
        point = json.loads(json.dumps(trial.config, cls=SafeFallbackEncoder))
        replace_file(Path(trial.path) / POINT_FILE, sealed(point))

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        if trial not in self._trial_files:
            self.log_trial_start(trial)
        file = self._trial_files[trial]
        file.write(f"{json.dumps(result, cls=SafeFallbackEncoder)}\n")
        file.flush()


def results_of(trial: Trial) -> Path:
    """The file with a trial's results, a JSON object a line."""
    return Path(trial.path) / EXPR_RESULT_FILE


def _continued(file: Path) -> TextIO:
    """Open a file to add lines to it; a last line that was cut off is dropped."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    os.truncate(file, file.read_bytes().rfind(b"\n") + 1)
    return file.open("a")
