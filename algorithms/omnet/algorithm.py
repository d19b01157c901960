"""OMNet on SAC: RLlib's algorithm on the array loop, with metrics of its subnetworks."""

import resource
from typing import Any

from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.utils.annotations import override

from tenfold.algorithms.common.off_policy_replay import ReplayLoop
from tenfold.algorithms.common.seeded_replay import SeededSAC

# Steps of the replay that subnetworks are looked at on.
LOOKED_AT = 256
SUBNETWORKS = "subnetworks"


class SubnetworkAlgorithm(ReplayLoop):
    """The array loop with metrics of subnetworks; put it before RLlib's algorithm of the base.

    A result's `subnetworks` says what they have become, its `evaluation` the critic's bias.
    """

    # Whether the values are those of the exploring policy.
    values_exploring = True

    @override(ReplayLoop)
    def step(self) -> dict[str, Any]:
        result: dict[str, Any] = super().step()
        if len(self.local_replay_buffer):
            columns = self.local_replay_buffer.sample(LOOKED_AT)
            peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            result[SUBNETWORKS] = {
                **self._of_learner("diagnose", columns),
                "peak_memory_bytes": peak,
            }
        return result

    @override(ReplayLoop)
    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """RLlib's evaluation, and the critic's bias on episodes of the policy that it values."""
        result: dict[str, Any] = super().evaluate(*args, **kwargs)
        count, group = self.config.value_bias_episodes, self.eval_env_runner_group
        if count == 0 or group is None:
            return result
        remote, exploring = group.healthy_env_runner_ids()[:1], self.values_exploring
        episodes = group.foreach_env_runner(
            lambda runner: runner.play(count, explore=exploring),
            remote_worker_ids=remote,
            local_env_runner=not remote,
        )
        return {**result, **self._of_learner("value_bias", episodes[0])}

    def _of_learner(self, name: str, given: Any) -> dict[str, Any]:
        """What a method of the (first) learner says about its module."""
        answers = self.learner_group.foreach_learner(
            lambda learner: getattr(learner, name)(DEFAULT_MODULE_ID, given)
        )
        found: dict[str, Any] = next(iter(answers)).get()
        return found


class OMNet(SubnetworkAlgorithm, SeededSAC):
    """SAC with subnetworks in critic and policy."""
