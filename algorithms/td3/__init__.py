"""TD3: deterministic policy gradients with twin critics, delayed actor and smoothed targets.

Fujimoto, van Hoof and Meger, "Addressing Function Approximation Error in Actor-Critic Methods"
(arXiv:1802.09477). RLlib 2.60 has neither TD3 nor DDPG; this is one on its new API stack.
"""

from tenfold.platform.registry import Method

METHOD = Method(
    name="td3",
    title="Twin delayed deep deterministic policy gradient",
    paper="1802.09477",
    trainable="tenfold.algorithms.td3.algorithm:TD3",
    config="tenfold.algorithms.td3.config:TD3Config",
    tasks=("Pendulum-v1", "HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Ant-v5", "Humanoid-v5"),
    gymnasium_tasks=True,
    metric="evaluation/env_runners/episode_return_mean",
    mode="max",
    score="tail_mean",
    metrics=(
        "evaluation/env_runners/episode_return_mean",
        "env_runners/episode_return_mean",
        "env_runners/episode_len_mean",
        "learners/default_policy/qf_loss",
        "learners/default_policy/policy_loss",
        "learners/default_policy/qf_mean",
        "learners/default_policy/gradient_steps",
    ),
    step_metric="num_env_steps_sampled_lifetime",
    step_unit="env steps",
    stop={"num_env_steps_sampled_lifetime": 50_000},
    variants={
        "td3": {},
        "single_q": {"twin_q": False},
        "ddpg": {"twin_q": False, "policy_delay": 1, "target_policy_noise": 0.0},
    },
    spaces="tenfold.tune_spaces.td3:SPACES",
    adjustable=("actor_lr", "critic_lr", "tau"),
    smoke={
        "evaluation_duration": 1,
        "train_batch_size_per_learner": 16,
        "num_steps_sampled_before_learning_starts": 32,
        "rollout_fragment_length": 16,
        "min_sample_timesteps_per_iteration": 128,
        "model_config.fcnet_hiddens": [8],
    },
)
