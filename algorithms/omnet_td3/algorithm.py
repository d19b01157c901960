"""TD3's loop, with metrics of its subnetworks."""

from typing import Any

from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.utils.annotations import override

from tenfold.algorithms.omnet.algorithm import LOOKED_AT, SUBNETWORKS
from tenfold.algorithms.td3.algorithm import TD3


class OMNetTD3(TD3):
    """TD3 with subnetworks; a result's `subnetworks` says what they have become."""

    @override(TD3)
    def step(self) -> dict[str, Any]:
        result: dict[str, Any] = super().step()
        columns = self.local_replay_buffer.sample(LOOKED_AT)
        answers = self.learner_group.foreach_learner(
            lambda learner: learner.diagnose(DEFAULT_MODULE_ID, columns)
        )
        result[SUBNETWORKS] = next(iter(answers)).get()
        return result
