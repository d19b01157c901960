"""Static risk of the return with continuous actions: `rs_disrl_deep` with an actor.

Quantile critics learn the distribution of the rewards to come given what was collected so far, and
a squashed Gaussian climbs the derivative of the risk measure at the distribution of the whole
return. `risk_neutral` is the same code for the mean, judged by the same measure.
"""

from tenfold.algorithms.common.risk_levels import at_levels
from tenfold.envs.risk.names import CONTINUOUS_NAMES
from tenfold.platform.registry import Method

METHOD = Method(
    name="rs_disrl_sac",
    title="Static risk of the return with continuous actions (SAC, quantile critics)",
    paper="2402.18159",
    trainable="tenfold.algorithms.rs_disrl_sac.algorithm:RSDisRLSAC",
    config="tenfold.algorithms.rs_disrl_sac.config:RSDisRLSACConfig",
    tasks=CONTINUOUS_NAMES,
    gymnasium_tasks=True,
    metric="evaluation/risk",
    mode="max",
    score="tail_mean",
    metrics=(
        "evaluation/risk",
        "evaluation/risk_low",
        "evaluation/risk_high",
        "evaluation/believed_risk",
        "evaluation/episode_return_mean",
        *at_levels("evaluation/cvar"),
        "env_runners/episode_return_mean",
        "learners/default_policy/qf_loss",
        "learners/default_policy/qf_mean",
        "learners/default_policy/policy_loss",
        "learners/default_policy/alpha_value",
        "learners/default_policy/believed_risk",
    ),
    step_metric="num_env_steps_sampled_lifetime",
    step_unit="env steps",
    stop={"num_env_steps_sampled_lifetime": 20_000},
    variants={
        "cvar": {},
        "risk_neutral": {"maximise": "mean"},
        "entropic": {"rho": "entropic", "rho_parameters": {"gamma": -1.0}},
        "unshifted": {"shift_span": 0.0},
    },
    spaces="tenfold.tune_spaces.rs_disrl_sac:SPACES",
    adjustable=("actor_lr", "critic_lr", "tau"),
    smoke={
        "judged_episodes": 4,
        "train_batch_size_per_learner": 16,
        "num_steps_sampled_before_learning_starts": 32,
        "rollout_fragment_length": 4,
        "min_sample_timesteps_per_iteration": 96,
        "utd_ratio": 0.25,
        "model_config.fcnet_hiddens": [8],
    },
)
