"""What every method on recorded multi-agent data takes: data, weights, evaluation."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.tune.registry import register_env

from tenfold.algorithms.common.typed_config import TypedConfig
from tenfold.algorithms.offline.streaming import head_of
from tenfold.algorithms.offline.weights import Augment, ReturnOf
from tenfold.envs.offline.card import DataCard
from tenfold.envs.offline.checks import check_fits
from tenfold.envs.offline.dataset import OfflineDataset
from tenfold.envs.offline.environments import (
    BatchedEnvironments,
    fields_of,
    make_environments,
    simulator_of,
)
from tenfold.envs.offline.names import OFFLINE_TASKS, split_task
from tenfold.envs.offline.tasks import offline_task
from tenfold.platform import parameters
from tenfold.platform.parameters import check, parameter

Reader = Literal["arrays", "ray_data"]
Threshold = Annotated[float, Field(ge=-1e12, le=1e12)]


class OfflineConfig(TypedConfig):
    """A task is a named data set, or a folder as `OfflineDataset.write` leaves it.

    `env_config` is for the environments that the policy is evaluated in: what it changes there
    against those of the data is a shift.
    """

    reads = frozenset({"env_config", "min_time_s_per_iteration", "num_cpus_for_main_process"})

    class Parameters(TypedConfig.Parameters):
        """Data, weights and evaluation."""

        gamma: float = parameter(0.95, "Discount of a step", ge=0, le=1)
        batch: int = parameter(512, "Rows of each agent in an update", ge=1, le=10**6)
        updates_per_iteration: int = parameter(500, "Updates between two results", ge=1, le=10**7)
        reader: Reader = parameter("arrays", "Data in memory, or streamed from Parquet by Ray Data")
        data_fraction: float = parameter(
            1.0, "Share of the trajectories; smaller shares lie in larger ones", gt=0, le=1
        )
        data_seed: int = parameter(0, "Which trajectories a share keeps", ge=0, le=2**31)
        augment: Augment = parameter(
            "quantiles",
            "Weights of trajectories: none, 1 + the number of thresholds below the return "
            "(quantiles 1/2, 3/4, 7/8, 7/8; the authors' table; a list), or 1 + exp(beta z)",
        )
        thresholds: list[Threshold] = parameter([], "Of 'augment' thresholds")
        exp_weight_beta: float = parameter(1.0, "beta of 'augment' exp_weight", ge=0, le=100)
        return_of: ReturnOf = parameter(
            "agent", "Return that weighs: each agent's own, or the mean over agents"
        )
        baseline: bool = parameter(False, "This is what the method is compared with")
        augment_baselines: bool = parameter(True, "Baselines get the same weights")
        reward_scale: float = parameter(1.0, "Factor of rewards in learning", gt=0, le=1e6)
        obs_norm: bool = parameter(True, "Standardise observations by the data's")
        judge_episodes: int = parameter(
            400, "Episodes that a result is evaluated on", ge=1, le=10**6
        )
        judge_shifts: bool = parameter(
            False, "Evaluate under each shift of the environments as well, see `offline/shifts.py`"
        )
        num_gpus_per_learner: float = parameter(0, "GPUs of the learner", ge=0, le=1)
        num_env_runners: int = parameter(
            0, "None: data are recorded, and the trial evaluates by itself", ge=0, le=0
        )

    def __init__(self, algo_class: type | None = None) -> None:
        super().__init__(algo_class=algo_class)
        self._is_online = False
        self._dont_auto_sync_env_runner_states = True

    @property
    def weighed_by(self) -> Augment:
        """`augment`, but none of a baseline that is to get none."""
        return "none" if self.baseline and not self.augment_baselines else self.augment

    @property
    def joint_rows(self) -> bool:
        """Whether all agents' rows must be of the same joint steps."""
        return False

    @classmethod
    def task_parameters(cls, task: str) -> type[parameters.Parameters] | None:
        """What the environments of a task take."""
        if task in OFFLINE_TASKS:
            return fields_of(split_task(task)[0])
        return fields_of(DataCard.read(Path(task)).environment)

    def validate(self) -> None:
        """Check types and bounds, and a folder's data.

        Raises:
            ValueError: One sentence that names what does not fit.
        """
        super().validate()
        if self.augment == "thresholds" and not self.thresholds:
            raise ValueError(
                "Bad value [] for 'thresholds': 'augment' is thresholds, so give one at least."
            )
        if self.thresholds and self.augment != "thresholds":
            raise ValueError(
                f"Bad value {self.thresholds} for 'thresholds': 'augment' is {self.augment}, so "
                "leave it out, or give 'augment' thresholds."
            )
        if self.joint_rows and self.return_of == "agent" and self.weighed_by != "none":
            raise ValueError(
                "Bad value 'agent' for 'return_of': joint critics ('ctde') need the rows of all "
                "agents at one step, so give team, or 'augment' none."
            )
        if isinstance(self.env, str):
            if self.env not in OFFLINE_TASKS:
                data = head_of(self.folder(), 1) if self.reader == "ray_data" else self.read_data()
                self.make_environments(data, 1, 0)
            register_env(self.env, _no_single_environment)

    def folder(self) -> Path:
        """Where the task's data lie; a named task's are made if they are not there."""
        return offline_task(self.env) if self.env in OFFLINE_TASKS else Path(self.env)

    def read_data(self) -> OfflineDataset:
        """The task's data set, made or read."""
        path = self.folder()
        changed = max(os.stat(file).st_mtime_ns for file in [path, *path.rglob("*")])
        return _read(path, changed)

    def make_environments(
        self, data: OfflineDataset, count: int, seed: int, **shift: Any
    ) -> BatchedEnvironments:
        """Environments to evaluate in: those of the data, as `env_config` and a shift change them.

        Raises:
            ValueError: The data do not come from such environments.
        """
        card = data.card
        own = {"physics_order": card.physics_order, "reward": card.reward}
        told = {key: value for key, value in own.items() if value != "none"}
        fields = {**card.parameters, **told, **self.env_config, **shift}
        check(fields_of(card.environment), fields, "env_config.")
        environments = make_environments(card.environment, count, seed, **fields)
        check_fits(
            data,
            environment=card.environment,
            agents=environments.agents,
            observation_sizes=environments.observation_sizes,
            action_size=environments.action_size,
            **simulator_of(card.environment, **fields),
        )
        return environments

    def get_evaluation_config_object(self) -> AlgorithmConfig:
        """This config: evaluation needs no runners of its own."""
        return self


@lru_cache(maxsize=2)
def _read(path: Path, changed: int) -> OfflineDataset:
    """A folder's data; one read serves the check and the trials of a process."""
    return OfflineDataset.read(path)


def _no_single_environment(env_config: Any) -> Any:
    raise ValueError("An offline task has no single environment: it is evaluated in batched ones.")
