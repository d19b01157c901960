"""Iterated CVaR with a quantile critic: the deep counterpart of `icvar` (arXiv:2307.02842).

Q(s, a) = CVaR_alpha of r + gamma max_a' Q(s', a') over what one step may bring. The critic learns
the quantiles of that one-step distribution, so risk is taken at every step and not over the whole
return. alpha = 1 is the risk-neutral agent of the same code; the variant is judged at 0.25.
"""

from tenfold.algorithms.common.risk_levels import at_levels
from tenfold.envs.risk.names import CONTROL_NAMES
from tenfold.platform.registry import Method

EXACT = (
    "evaluation/expected_return",
    *at_levels("evaluation/iterated_cvar"),
)

METHOD = Method(
    name="icvar_deep",
    title="Iterated CVaR with a quantile critic (DQN)",
    paper="2307.02842",
    trainable="tenfold.algorithms.icvar_deep.algorithm:ICVaRDeep",
    config="tenfold.algorithms.icvar_deep.config:ICVaRDeepConfig",
    tasks=CONTROL_NAMES,
    gymnasium_tasks=True,
    metric="evaluation/policy_value",
    mode="max",
    score="tail_mean",
    metrics=(
        "env_runners/episode_return_mean",
        "env_runners/episode_return_min",
        "learners/default_policy/qf_loss",
        "learners/default_policy/qf_mean",
        "learners/default_policy/alpha",
        "evaluation/policy_value",
        *EXACT,
    ),
    optional_metrics=frozenset(EXACT),
    step_metric="num_env_steps_sampled_lifetime",
    step_unit="env steps",
    stop={"num_env_steps_sampled_lifetime": 20_000},
    variants={
        "icvar_deep": {},
        "annealed": {"anneal_steps": 8_000},
        "risk_neutral": {"alpha": 1.0, "judged_alpha": 0.25},
    },
    spaces="tenfold.tune_spaces.icvar_deep:SPACES",
    adjustable=("lr", "kappa", "tau"),
    smoke={
        "train_batch_size_per_learner": 16,
        "num_steps_sampled_before_learning_starts": 32,
        "min_sample_timesteps_per_iteration": 64,
        "model_config.fcnet_hiddens": [8],
    },
)
