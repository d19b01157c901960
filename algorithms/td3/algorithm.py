"""TD3 on the array loop."""

from typing import Any

from ray.rllib.utils.annotations import override

from tenfold.algorithms.common.off_policy_replay import ReplayLoop


class TD3(ReplayLoop):
    """Twin delayed deep deterministic policy gradient; its steps are `ReplayLoop`'s."""

    @classmethod
    @override(ReplayLoop)
    def get_default_config(cls) -> Any:
        from tenfold.algorithms.td3.config import TD3Config  # which names this class

        return TD3Config()
