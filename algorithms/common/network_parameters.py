"""RLlib's keys of methods that train networks, typed: of all, of PPO, of DQN and SAC, of DQN.

Methods subclass these and give other defaults where theirs differ.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tenfold.algorithms.common.typed_config import TypedConfig
from tenfold.platform.parameters import Parameters, parameter
from tenfold.platform.rllib_keys import Network


def _from_the_start(schedule: list[list[float]]) -> list[list[float]]:
    steps = [step for step, _ in schedule]
    if steps[0] != 0 or sorted(set(steps)) != steps:
        raise ValueError("give a schedule [[step, value], ...] with steps that go up from 0")
    return schedule


# RLlib's schedules: [[step, value], ...], linear in between, the last value for ever.
Knot = Annotated[list[Annotated[float, Field(ge=0)]], Field(min_length=2, max_length=2)]
Schedule = Annotated[list[Knot], Field(min_length=2), AfterValidator(_from_the_start)]

LearningRate = Annotated[float, Field(gt=0, le=100)] | Schedule
Share = Annotated[float, Field(ge=0, le=1)] | Schedule
Coefficient = Annotated[float, Field(ge=0, le=1e6)] | Schedule


class NetworkParameters(TypedConfig.Parameters):
    """What every method that trains RLlib's networks takes."""

    network: Network = parameter(
        {"fcnet_hiddens": [64, 64]}, "Layers of the networks", alias="model_config"
    )
    gamma: float = parameter(0.99, "Discount of a step", ge=0, le=1)
    train_batch_size_per_learner: int = parameter(
        32, "Steps of a training batch, for each learner", ge=1, le=10**9
    )
    grad_clip: float | None = parameter(None, "Largest gradient, see grad_clip_by", gt=0, le=1e12)
    grad_clip_by: Literal["global_norm", "norm", "value"] = parameter(
        "global_norm", "Of all gradients together, of each tensor, or of each entry"
    )
    num_envs_per_env_runner: int = parameter(
        1, "Environments that a runner steps through together", ge=1, le=10_000
    )
    rollout_fragment_length: Annotated[int, Field(ge=1, le=10**9)] | Literal["auto"] = parameter(
        "auto", "Steps of each environment between two updates"
    )
    num_learners: int = parameter(
        0, "Learner processes; 0 learns in the trial's own", ge=0, le=10_000
    )
    num_cpus_per_learner: Annotated[float, Field(ge=0, le=10_000)] | Literal["auto"] = parameter(
        "auto", "CPUs of a learner"
    )
    num_gpus_per_learner: float = parameter(0, "GPUs of a learner", ge=0, le=10_000)
    min_sample_timesteps_per_iteration: int = parameter(
        0, "Fewest steps between two results", unit="env steps", ge=0, le=10**12
    )
    min_time_s_per_iteration: float | None = parameter(
        None, "Least time between two results", unit="seconds", ge=0, le=10**7
    )
    evaluation_interval: int | None = parameter(
        None, "Iterations between two evaluations; none when null", ge=1, le=10**9
    )
    evaluation_num_env_runners: int = parameter(
        0, "Runner processes of an evaluation; 0 uses the trial's own", ge=0, le=10_000
    )
    metrics_num_episodes_for_smoothing: int = parameter(
        100, "Episodes that returns are averaged over", ge=1, le=10**9
    )


class PPOParameters(NetworkParameters):
    """Proximal policy optimisation."""

    lr: LearningRate = parameter(3e-4, "Learning rate of Adam, or its schedule")
    train_batch_size_per_learner: int = parameter(
        4_000, "Steps of a training batch, for each learner", ge=1, le=10**9
    )
    num_epochs: int = parameter(8, "Passes over a batch", ge=1, le=10_000)
    minibatch_size: int | None = parameter(
        128, "Steps of a gradient step; the whole batch when null", ge=1, le=10**9
    )
    shuffle_batch_per_epoch: bool = parameter(True, "Shuffle the batch before each pass")
    entropy_coeff: Coefficient = parameter(0.01, "Weight of the entropy, or its schedule")
    lambda_: float = parameter(
        1.0, "Of generalised advantage estimation", ge=0, le=1, alias="lambda"
    )
    clip_param: float = parameter(0.3, "Largest change of a probability's ratio", gt=0, le=1e6)
    use_critic: bool = parameter(True, "Learn a value function as a baseline")
    vf_loss_coeff: float = parameter(1.0, "Weight of the value function's loss", ge=0, le=1e6)
    vf_clip_param: float = parameter(
        10.0, "Largest loss of a value; .inf for none", gt=0, allow_inf_nan=True
    )
    use_kl_loss: bool = parameter(True, "Punish the divergence from the last policy")
    kl_coeff: float = parameter(0.2, "Its weight at first", ge=0, le=1e6)
    kl_target: float = parameter(0.01, "The divergence that its weight is adapted to", gt=0, le=1e6)
    num_envs_per_env_runner: int = parameter(
        8, "Environments that a runner steps through together", ge=1, le=10_000
    )


class Buffer(Parameters):
    """RLlib's replay buffers of episodes."""

    type: Literal["EpisodeReplayBuffer", "PrioritizedEpisodeReplayBuffer"] = parameter(
        "PrioritizedEpisodeReplayBuffer", "Uniform or prioritised by the last error"
    )
    capacity: int = parameter(50_000, "Steps that it holds", ge=1, le=10**9)
    alpha: float = parameter(0.6, "How far priorities count; 0 is uniform", ge=0, le=1)
    beta: float = parameter(0.4, "How far weights correct for priorities", ge=0, le=1)
    metrics_num_episodes_for_smoothing: int = parameter(
        100, "RLlib fills it in from the key of this name", ge=1, le=10**9
    )


class ReplayParameters(NetworkParameters):
    """Learning from replayed steps, as DQN and SAC do."""

    replay_buffer_config: Buffer = parameter(
        {
            "type": "PrioritizedEpisodeReplayBuffer",
            "capacity": 50_000,
            "alpha": 0.6,
            "beta": 0.4,
        },
        "The replay buffer",
    )
    num_steps_sampled_before_learning_starts: int = parameter(
        1_000, "Steps that are collected before the first update", ge=0, le=10**9
    )
    min_sample_timesteps_per_iteration: int = parameter(
        1_000, "Fewest steps between two results", unit="env steps", ge=0, le=10**12
    )
    n_step: int = parameter(1, "Steps of rewards in a target", ge=1, le=10_000)
    tau: float = parameter(
        1.0, "Share of the network that its target takes over in an update", gt=0, le=1
    )
    target_network_update_freq: int = parameter(
        500, "Steps between two updates of the target", unit="env steps", ge=0, le=10**9
    )
    training_intensity: float | None = parameter(
        None, "Replayed steps for each collected one; one batch an update when null", gt=0, le=1e6
    )
    store_buffer_in_checkpoints: bool = parameter(False, "Save the buffer in checkpoints too")


class DQNParameters(ReplayParameters):
    """Deep Q-learning."""

    lr: LearningRate = parameter(5e-4, "Learning rate of Adam, or its schedule")
    epsilon: Share = parameter(
        [[0, 1.0], [10_000, 0.05]], "Share of random actions, or its schedule"
    )
    grad_clip: float | None = parameter(40.0, "Largest gradient, see grad_clip_by", gt=0, le=1e12)
    double_q: bool = parameter(
        True, "The online network chooses the next action, the target says its worth"
    )
    dueling: bool = parameter(True, "Separate heads for the state and for advantages")
    num_atoms: int = parameter(
        1, "Atoms of the distribution of returns; 1 learns its mean only", ge=1, le=10_000
    )
    v_min: float = parameter(-10.0, "The lowest atom", ge=-1e12, le=1e12)
    v_max: float = parameter(10.0, "The highest atom", ge=-1e12, le=1e12)
    td_error_loss_fn: Literal["huber", "mse"] = parameter("huber", "Loss of an error")
    burn_in_len: int = parameter(
        0, "First steps of a sequence that only warm an LSTM up", ge=0, le=10**6
    )
