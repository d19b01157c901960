"""TD3's learner with many members in the critic, which all learn one target."""

from typing import Any

from ray.rllib.utils.annotations import override

from tenfold.algorithms.omnet.base_learner import SubnetworkLearner
from tenfold.algorithms.td3.learner import TD3Learner


class OMNetTD3Learner(SubnetworkLearner, TD3Learner):
    """The critic's loss is OMNet's, all else TD3's."""

    @override(TD3Learner)
    def _update(self, batch: dict[str, Any]) -> Any:
        taken = super()._update(batch)
        for module in self.module.values():
            counted = module.unwrapped()
            counted.critic_steps += 1
            counted.actor_steps += int(counted.policy_is_due)
        return taken
