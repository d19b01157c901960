"""RLlib's SAC as a method; baseline for tasks with continuous actions.

Haarnoja et al., "Soft Actor-Critic Algorithms and Applications" (arXiv:1812.05905), as RLlib has
it.
"""

from tenfold.platform.registry import Method

METHOD = Method(
    name="sac",
    title="Soft actor-critic (RLlib), baseline",
    paper="1812.05905",
    trainable="tenfold.algorithms.sac.algorithm:ReplaySAC",
    config="tenfold.algorithms.sac.config:SACBaselineConfig",
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
        "learners/default_policy/alpha_value",
    ),
    step_metric="num_env_steps_sampled_lifetime",
    step_unit="env steps",
    stop={"num_env_steps_sampled_lifetime": 50_000},
    variants={"sac": {}, "single_q": {"twin_q": False}},
    spaces="tenfold.tune_spaces.sac:SPACES",
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
