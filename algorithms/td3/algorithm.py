"""TD3 on the array loop."""

from tenfold.algorithms.common.off_policy_replay import ReplayLoop


class TD3(ReplayLoop):
    """Twin delayed deep deterministic policy gradient; its steps are `ReplayLoop`'s."""
