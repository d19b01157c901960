"""Static risk with continuous actions on the array loop."""

from typing import Any

import numpy as np
from ray.rllib.utils.annotations import override
from ray.rllib.utils.spaces.space_utils import unsquash_action

from tenfold.algorithms.common.off_policy_replay import ReplayLoop
from tenfold.algorithms.common.static_risk import RiskEvaluation


class RSDisRLSAC(RiskEvaluation, ReplayLoop):
    """Collects and learns as `ReplayLoop`, and is judged by its own risk measure."""

    @classmethod
    @override(ReplayLoop)
    def get_default_config(cls) -> Any:
        from tenfold.algorithms.rs_disrl_sac.config import RSDisRLSACConfig  # which names this

        return RSDisRLSACConfig()

    @override(ReplayLoop)
    def gradient_steps_after(self, collected: int) -> int:
        return max(1, round(collected * self.config.utd_ratio))

    @override(RiskEvaluation)
    def for_task(self, actions: np.ndarray) -> np.ndarray:
        """From [-1, 1] to the bounds of the task."""
        mapped: np.ndarray = unsquash_action(actions, self.get_module().action_space)
        return mapped
