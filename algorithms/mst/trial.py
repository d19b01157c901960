"""MST as Tune runs it, and its model on texts that it was not trained on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tenfold.algorithms.common.language_model import judge_zero_shot
from tenfold.algorithms.mst.config import MSTConfig
from tenfold.algorithms.mst.loop import MSTLoop
from tenfold.platform.devices import assigned_device
from tenfold.platform.training import FIXED_FILE, TrainingTrial


class MST(TrainingTrial):
    """MST as a Tune trainable."""

    loop_class = MSTLoop

    @staticmethod
    def evaluate_elsewhere(
        checkpoint: Path, task: str, changes: Mapping[str, Any]
    ) -> dict[str, float]:
        """Judge the model of a checkpoint on texts that it was not trained on.

        Args:
            checkpoint: Its folder.
            task: Other texts or tokens than the run's own.
            changes: What the run's config changes of the defaults.

        Raises:
            ValueError: See `judge_zero_shot`.
        """
        context = json.loads((checkpoint / FIXED_FILE).read_text())["context"]
        most = MSTConfig(**changes).validation_windows
        return judge_zero_shot(checkpoint / "model", task, context, most, assigned_device())
