"""Entropic risk under partial observation by PPO: the deep counterpart of `risk_pomdp`.

The agent remembers by a vector of the history or by a GRU and maximises (1 / gamma)
log E[e^{gamma R}] of the return; a head of its network learns the hidden state from what hindsight
reveals and tells its belief to the policy. gamma = 0 is the risk-neutral agent of the same code.
README.md has the derivation and the evidence.
"""

from tenfold.envs.risk.names import HINDSIGHT_NAMES, PARTIAL_NAMES
from tenfold.platform.registry import Method

METHOD = Method(
    name="risk_pomdp_deep",
    title="Entropic risk in POMDPs with hindsight by PPO",
    paper="2402.18149",
    trainable="tenfold.algorithms.risk_pomdp_deep.algorithm:RiskPOMDPDeep",
    config="tenfold.algorithms.risk_pomdp_deep.config:RiskPOMDPDeepConfig",
    tasks=(*HINDSIGHT_NAMES, *PARTIAL_NAMES),
    gymnasium_tasks=True,
    metric="learners/default_policy/entropic_risk",
    mode="max",
    score="tail_mean",
    metrics=(
        "learners/default_policy/entropic_risk",
        "learners/default_policy/hindsight_loss",
        "learners/default_policy/entropy",
        "env_runners/episode_return_mean",
        "env_runners/episode_return_min",
        "evaluation/policy_value",
        "evaluation/expected_return",
    ),
    optional_metrics=frozenset(
        {
            "learners/default_policy/hindsight_loss",
            "evaluation/policy_value",
            "evaluation/expected_return",
        }
    ),
    step_metric="num_env_steps_sampled_lifetime",
    step_unit="env steps",
    stop={"num_env_steps_sampled_lifetime": 40_000},
    variants={
        "risk_averse": {},
        "risk_neutral": {"gamma_risk": 0.0},
        "no_hindsight": {"hindsight_coeff": 0.0},
        "recurrent": {"memory": "gru", "critic": "hindsight"},
        "recurrent_neutral": {"memory": "gru", "critic": "hindsight", "gamma_risk": 0.0},
    },
    spaces="tenfold.tune_spaces.risk_pomdp_deep:SPACES",
    adjustable=("lr", "entropy_coeff", "hindsight_coeff"),
    smoke={
        "train_batch_size_per_learner": 64,
        "minibatch_size": 32,
        "num_epochs": 1,
        "model_config.fcnet_hiddens": [8],
        "model_config.max_seq_len": 16,
    },
)
