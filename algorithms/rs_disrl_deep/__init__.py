"""Static risk of the return with a quantile critic: the deep counterpart of `rs_disrl`.

The critic learns the distribution of the rewards to come given what was collected so far, and
actions are chosen by the derivative of the risk measure at the distribution of the whole return.
`risk_neutral` is QR-DQN of the same code, judged by the same measure.
"""

from tenfold.algorithms.common.risk_levels import at_levels
from tenfold.envs.risk.names import COLLECTED_NAMES
from tenfold.platform.registry import Method

METHOD = Method(
    name="rs_disrl_deep",
    title="Static risk of the return with a quantile critic (DQN)",
    paper="2402.18159",
    trainable="tenfold.algorithms.rs_disrl_deep.algorithm:RSDisRLDeep",
    config="tenfold.algorithms.rs_disrl_deep.config:RSDisRLDeepConfig",
    tasks=COLLECTED_NAMES,
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
        "env_runners/episode_return_min",
        "learners/default_policy/qf_loss",
        "learners/default_policy/qf_mean",
        "learners/default_policy/believed_risk",
    ),
    step_metric="num_env_steps_sampled_lifetime",
    step_unit="env steps",
    stop={"num_env_steps_sampled_lifetime": 20_000},
    variants={
        "cvar": {},
        "entropic": {"rho": "entropic", "rho_parameters": {"gamma": -1.0}},
        "mean_cvar": {"rho": "mean_cvar", "rho_parameters": {"alpha": 0.25, "weight": 0.5}},
        "unshifted": {"shift_span": 0.0},
        "risk_neutral": {"maximise": "mean"},
    },
    spaces="tenfold.tune_spaces.rs_disrl_deep:SPACES",
    adjustable=("lr", "kappa", "tau"),
    smoke={
        "judged_episodes": 4,
        "train_batch_size_per_learner": 16,
        "num_steps_sampled_before_learning_starts": 32,
        "min_sample_timesteps_per_iteration": 64,
        "model_config.fcnet_hiddens": [8],
    },
)
