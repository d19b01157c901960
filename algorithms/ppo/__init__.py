"""RLlib's PPO as a method, so that it runs, sweeps and compares through the same door.

Schulman et al., "Proximal Policy Optimization Algorithms" (arXiv:1707.06347), as RLlib has it.
On queue tasks it is the learned baseline of queue scheduling.
"""

from tenfold.envs.queues.names import SCENARIO_NAMES
from tenfold.platform.registry import Method

METHOD = Method(
    name="ppo",
    title="Proximal policy optimisation (RLlib), baseline",
    paper="1707.06347",
    trainable="ray.rllib.algorithms.ppo:PPO",
    config="tenfold.algorithms.ppo.config:PPOBaselineConfig",
    tasks=("CartPole-v1", "Acrobot-v1", "Pendulum-v1", *SCENARIO_NAMES),
    gymnasium_tasks=True,
    metric="evaluation/env_runners/episode_return_mean",
    mode="max",
    score="tail_mean",
    metrics=(
        "evaluation/env_runners/episode_return_mean",
        "env_runners/episode_return_mean",
        "env_runners/episode_len_mean",
        "learners/default_policy/total_loss",
        "learners/default_policy/entropy",
        "learners/default_policy/mean_kl_loss",
    ),
    step_metric="num_env_steps_sampled_lifetime",
    step_unit="env steps",
    stop={"num_env_steps_sampled_lifetime": 100_000},
    variants={"ppo": {}, "no_entropy_bonus": {"entropy_coeff": 0.0}},
    spaces="tenfold.tune_spaces.ppo:SPACES",
    adjustable=("lr", "entropy_coeff", "num_epochs"),
    smoke={
        "evaluation_duration": 1,
        "train_batch_size_per_learner": 128,
        "minibatch_size": 64,
        "num_epochs": 1,
        "model_config.fcnet_hiddens": [8],
    },
)
