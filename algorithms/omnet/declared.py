"""What OMNet's methods declare alike: tasks, metrics, and the dense networks of their peers."""

from typing import Any

CONTROL_TASKS = (
    "InvertedDoublePendulum-v5",
    "Hopper-v5",
    "Walker2d-v5",
    "HalfCheetah-v5",
    "Ant-v5",
    "Humanoid-v5",
    "Pendulum-v1",
)
BIAS = (
    "evaluation/value_bias_mean",
    "evaluation/value_bias_std",
    "evaluation/error_cosine",
)
RETURNS = (
    "evaluation/env_runners/episode_return_mean",
    *BIAS,
    "env_runners/episode_return_mean",
)
# An iteration may have no evaluation, an evaluation no episodes for the bias.
OPTIONAL = frozenset({*BIAS, "env_runners/episode_return_mean"})
SUBNETWORKS = (
    "subnetworks/q_spread",
    "subnetworks/dead_units",
    "subnetworks/dormant_units",
    "subnetworks/effective_rank",
    "subnetworks/mask_overlap",
    "subnetworks/action_diversity",
)
SPENT = (
    "subnetworks/critic_parameters",
    "subnetworks/ideal_flops",
    "subnetworks/executed_flops",
)
DENSE: dict[str, Any] = {"num_subnets": 1, "sparsity": 0.0}
DENSE_ACTOR_CRITIC: dict[str, Any] = {**DENSE, "policy_subnets": 1}
SPLIT: dict[str, Any] = {"subnet_batch_mode": "split"}
UNIT: dict[str, Any] = {"mask_granularity": "unit", "mask_overlap": "balanced"}
