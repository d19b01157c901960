"""Config of PPO on entropic risk under partial observation."""

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import gymnasium as gym
import numpy as np
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.ppo.ppo_catalog import PPOCatalog
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.tune.registry import register_env

from tenfold.algorithms.common.control_tasks import fields_of
from tenfold.algorithms.common.gymnasium_tasks import GymnasiumConfig
from tenfold.algorithms.common.network_parameters import Coefficient, LearningRate, PPOParameters
from tenfold.algorithms.risk_pomdp.beta import check_gamma
from tenfold.algorithms.risk_pomdp_deep.algorithm import (
    HindsightConnector,
    RiskPOMDPDeep,
    RiskPOMDPLearner,
)
from tenfold.algorithms.risk_pomdp_deep.module import BeliefModule, GRUCatalog
from tenfold.algorithms.risk_pomdp_deep.runner import WholeEpisodesRunner
from tenfold.algorithms.risk_pomdp_deep.tasks import hidden_states, longest_episode, make_task
from tenfold.envs.risk.names import HINDSIGHT_NAMES, PARTIAL_NAMES
from tenfold.envs.risk.partial import BUILDERS as WORLDS
from tenfold.envs.risk.pomdp import TabularPOMDP
from tenfold.envs.risk.pomdp_benchmarks import BUILDERS as TABLES
from tenfold.platform.parameters import Parameters as Model
from tenfold.platform.parameters import parameter
from tenfold.platform.rllib_keys import Network

if TYPE_CHECKING:
    from ray.rllib.core.learner.learner import Learner

for _name in (*HINDSIGHT_NAMES, *PARTIAL_NAMES):
    register_env(_name, lambda env_config, name=_name: make_task(name, **env_config))


def _create(
    task: str, memory: Mapping[str, Any], env_config: Mapping[str, Any]
) -> gym.Env[np.ndarray, Any]:
    return make_task(task, **{**memory, **env_config})


class RiskPOMDPDeepConfig(GymnasiumConfig, PPOConfig):
    """Entropic risk (1 / gamma) log E[e^{gamma R}] by PPO on histories.

    The utility is paid at the end of an episode, so there is no discount and advantages are those
    of whole episodes (gamma = lambda = 1). A batch holds whole episodes: on tables fragments are a
    multiple of their length, elsewhere the runner keeps what has begun (`WholeEpisodesRunner`).

    A recurrent agent learns from sequences of `model_config.max_seq_len` steps that begin with the
    state which the runner had there (RLlib's stored state). PPO learns at once from what the same
    weights, or in later epochs nearly the same, have played, so that no burn-in is needed to mend
    the state; and where an episode is no longer than a sequence it begins with the initial state.
    """

    class Parameters(PPOParameters):
        """Entropic risk with hindsight; the rest is in `PPOParameters`."""

        gamma_risk: float = parameter(
            -3.0, "gamma of the entropic risk: below 0 averse, above 0 seeking, 0 risk-neutral"
        )
        hindsight_coeff: float = parameter(
            0.5, "Weight of the hindsight head's cross entropy; 0 leaves it untrained", ge=0, le=1e6
        )
        memory: Literal["history", "gru"] = parameter(
            "history", "What the network remembers by: a vector of the steps so far, or a GRU"
        )
        history_steps: int = parameter(
            8,
            "Steps that a history holds; the tables' hold all",
            ge=1,
            le=10_000,
        )
        gru_units: int = parameter(64, "Units of the GRU", ge=1, le=100_000)
        critic: Literal["history", "hindsight"] = parameter(
            "history",
            "What the critic knows in training: the history, or what was revealed of it, too",
        )
        judged_gamma: float | None = parameter(
            None, "gamma of the entropic risk that evaluations give; gamma_risk when null"
        )
        judged_episodes: int = parameter(
            500, "Episodes of an evaluation; the tables' are exact", ge=2, le=100_000
        )
        gamma: float = parameter(1.0, "Discount of a step", ge=0, le=1)
        lr: LearningRate = parameter(1e-3, "Learning rate of Adam, or its schedule")
        entropy_coeff: Coefficient = parameter(0.003, "Weight of the entropy, or its schedule")
        minibatch_size: int | None = parameter(
            256, "Steps of a gradient step; the whole batch when null", ge=1, le=10**9
        )
        vf_clip_param: float = parameter(
            float("inf"), "Largest loss of a value; .inf for none", gt=0, allow_inf_nan=True
        )
        train_batch_size_per_learner: int = parameter(
            2_000, "Steps of a training batch, for each learner", ge=1, le=10**9
        )
        network: Network = parameter(
            {"fcnet_hiddens": [64], "fcnet_activation": "tanh", "max_seq_len": 64},
            "Layers of the network",
            alias="model_config",
        )

    def __init__(self) -> None:
        super().__init__(algo_class=RiskPOMDPDeep)
        self.env_runner_cls = WholeEpisodesRunner

    @classmethod
    def own_task(cls, task: str) -> type[Model] | None:
        """Arguments of the task's builder."""
        table = task.replace("hindsight/", "pomdp/")
        return fields_of(TABLES, table) if task in HINDSIGHT_NAMES else fields_of(WORLDS, task)

    @staticmethod
    def make_gymnasium(task: str, **fields: Any) -> gym.Env[np.ndarray, Any]:
        return make_task(task, **fields)

    def validate(self) -> None:
        """Refuse what cannot run.

        Raises:
            ValueError: A bad value, with what would be right.
        """
        self.check_parameters()
        if self.env is not None and self.is_table():
            H = self.true_model().H
            for name in ("gamma_risk", "judged_gamma"):
                if getattr(self, name):
                    check_gamma(getattr(self, name), H, name)
        if self.model_config.get("use_lstm"):
            raise ValueError("Bad value True for 'model_config.use_lstm': set memory to gru.")
        longest = self.longest_sequence()
        if self.memory == "gru" and (self.minibatch_size or longest) < longest:
            raise ValueError(
                f"Bad value {self.minibatch_size} for 'minibatch_size': a GRU learns from whole "
                f"sequences, so give at least model_config.max_seq_len = {longest}."
            )
        super().validate()
        if self.env is not None:  # for RLlib's own runner, which films; ours says it once more
            register_env(self.env, partial(_create, self.env, self.memory_fields()))

    def longest_sequence(self) -> int:
        """Steps that a recurrent agent learns from at once, RLlib's own where none are given."""
        longest: int = self.model_config.get("max_seq_len", DefaultModelConfig.max_seq_len)
        return longest

    def is_table(self) -> bool:
        """Whether the task is a tabular POMDP, whose policies have exact values."""
        return self.env in HINDSIGHT_NAMES

    def true_model(self) -> TabularPOMDP:
        """The tabular POMDP of `env` with the fields that `env_config` changes."""
        pomdp: TabularPOMDP = make_task(self.env, **self.env_config).unwrapped.pomdp
        return pomdp

    def memory_fields(self) -> dict[str, Any]:
        """What `make_task` must know of the agent's memory."""
        return {"memory": self.memory, "history_steps": self.history_steps}

    def make_task(self) -> gym.Env[np.ndarray, Any]:
        """The task of `env` as the agent sees it."""
        return make_task(self.env, **{**self.env_config, **self.memory_fields()})

    def gamma_of_evaluations(self) -> float:
        """gamma of the entropic risk that an evaluation gives."""
        return self.gamma_risk if self.judged_gamma is None else self.judged_gamma

    def get_rollout_fragment_length(self, worker_index: int = 0) -> int:
        """Steps of one environment at a time.

        On a table whole episodes, at least the batch size in all; elsewhere a quarter of the batch,
        for the runner is asked again until it has given enough.
        """
        environments = max(1, self.num_env_runners) * self.num_envs_per_env_runner
        if not self.is_table():
            return math.ceil(self.total_train_batch_size / (4 * environments))
        H = self.true_model().H
        return H * math.ceil(self.total_train_batch_size / (environments * H))

    def build_learner_connector(self, *args: object, **kwargs: object) -> object:
        """RLlib's pipeline, with ours before the critic's part."""
        pipeline = super().build_learner_connector(*args, **kwargs)
        pipeline.prepend(
            HindsightConnector(
                gamma=self.gamma_risk,
                states=hidden_states(self.make_task()),
                tells_critic=self.critic == "hindsight",
            )
        )
        return pipeline

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        task = self.make_task()
        # No sequence is longer than an episode with the step that RLlib adds for the critic.
        longest = min(self.longest_sequence(), longest_episode(task) + 1)
        ours = {
            "hidden_states": hidden_states(task),
            "critic": self.critic,
            "gru_units": self.gru_units,
            "max_seq_len": longest,
        }
        return RLModuleSpec(
            module_class=BeliefModule,
            catalog_class=GRUCatalog if self.memory == "gru" else PPOCatalog,
            model_config={**self.model_config, **ours},
        )

    def get_default_learner_class(self) -> type["Learner"]:
        return RiskPOMDPLearner
