"""RLlib's SAC on the loop of `off_policy_replay`."""

from typing import Any

import torch
from ray.rllib.algorithms.dqn.dqn import calculate_rr_weights
from ray.rllib.algorithms.sac.torch.sac_torch_learner import SACTorchLearner
from ray.rllib.utils.annotations import override

from tenfold.algorithms.common.off_policy_replay import ReplayLearner, ReplayLoop
from tenfold.algorithms.common.seeded_replay import SeededSAC

LOG_ALPHA = "log_alpha"


class ReplaySACLearner(ReplayLearner, SACTorchLearner):
    """RLlib's losses of SAC; alpha, which RLlib leaves out of checkpoints, is in its state."""

    @override(ReplayLearner)
    def compute_gradients(self, loss_per_module: dict[str, Any], **kwargs: Any) -> Any:
        """One backward pass of the sum: no two of SAC's losses reach the same parameter."""
        self._temp_losses.clear()
        return super().compute_gradients(loss_per_module, **kwargs)

    @override(ReplayLearner)
    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        logs = {key: float(each.detach()) for key, each in self.curr_log_alpha.items()}
        return {**super().get_state(*args, **kwargs), LOG_ALPHA: logs}

    @override(ReplayLearner)
    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        with torch.no_grad():
            for key, value in state.get(LOG_ALPHA, {}).items():
                self.curr_log_alpha[key].fill_(value)


class ReplaySAC(ReplayLoop, SeededSAC):
    """SAC on arrays where single steps are drawn uniformly, and else as RLlib runs it."""

    @override(ReplayLoop)
    def setup(self, config: Any) -> None:
        self._rounds = 0
        super().setup(config)

    @override(ReplayLoop)
    def stores_steps(self) -> bool:
        uniform = self.config.replay_buffer_config["type"] == "EpisodeReplayBuffer"
        return bool(uniform and self.config.n_step == 1)

    @override(ReplayLoop)
    def gradient_steps_after(self, collected: int) -> int:
        """By `utd_ratio`; without one by RLlib's `training_intensity`, or one a round."""
        if self.config.utd_ratio is not None:
            return super().gradient_steps_after(collected)
        rounds, steps = calculate_rr_weights(self.config)
        self._rounds += 1
        return 0 if self._rounds % rounds else int(steps)
