"""RLlib's DQN (rainbow parts included) as a method; baseline for tasks with discrete actions.

Mnih et al., "Human-level control through deep reinforcement learning" (Nature 2015), and Hessel et
al., "Rainbow" (arXiv:1710.02298), as RLlib has them.
"""

from tenfold.envs.queues.names import SCENARIO_NAMES
from tenfold.platform.registry import Method

METHOD = Method(
    name="dqn",
    title="Deep Q-learning (RLlib), baseline",
    paper="1710.02298",
    trainable="tenfold.algorithms.common.seeded_replay:SeededDQN",
    config="tenfold.algorithms.dqn.config:DQNBaselineConfig",
    tasks=("CartPole-v1", "Acrobot-v1", *SCENARIO_NAMES),
    gymnasium_tasks=True,
    metric="evaluation/env_runners/episode_return_mean",
    mode="max",
    score="tail_mean",
    metrics=(
        "evaluation/env_runners/episode_return_mean",
        "env_runners/episode_return_mean",
        "env_runners/episode_len_mean",
        "learners/default_policy/qf_loss",
        "learners/default_policy/qf_mean",
    ),
    step_metric="num_env_steps_sampled_lifetime",
    step_unit="env steps",
    stop={"num_env_steps_sampled_lifetime": 50_000},
    variants={"dqn": {}, "single_q": {"double_q": False, "dueling": False}},
    spaces="tenfold.tune_spaces.dqn:SPACES",
    adjustable=("lr", "n_step", "target_network_update_freq"),
    smoke={
        "evaluation_duration": 1,
        "train_batch_size_per_learner": 16,
        "num_steps_sampled_before_learning_starts": 32,
        "rollout_fragment_length": 8,
        "min_sample_timesteps_per_iteration": 64,
        "model_config.fcnet_hiddens": [8],
    },
)
