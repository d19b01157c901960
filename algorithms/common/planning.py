"""The RLlib base of methods that plan or count instead of descending a gradient.

Queue scheduling by bandits, tabular risk-sensitive RL and counterfactual regret minimisation have
no RLModule and no Learner: their update is plain Python (or a compiled kernel) over whole episodes.
They still are RLlib algorithms: EnvRunner actors collect the episodes, `training_step` is the
method, and checkpoints, evaluation, metrics and the restart of dead actors work as for PPO.

The one idea: **runners hold no state.** The algorithm cuts an iteration into work items, each of
which carries all it needs (a policy or a simulator's state, and its seed), and
`PlanningAlgorithm.rollouts` hands them to the runners. So a result depends neither on the number
of runners nor on which of them died on the way, and a checkpoint is the algorithm's state alone.

A method subclasses three classes::

    class MyConfig(PlanningConfig):          # every parameter, its default, its validation
    class MyRunner(PlanningRunner):          # rollout(item) -> whatever training_step wants back
    class MyAlgorithm(PlanningAlgorithm):    # runner_class, initialise(), training_step(),
                                             # get_plan(), set_plan()
"""

import json
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.callbacks.utils import make_callback
from ray.rllib.env.env_runner import EnvRunner
from ray.rllib.env.env_runner_group import EnvRunnerGroup
from ray.rllib.utils import force_list
from ray.rllib.utils.annotations import override
from ray.rllib.utils.debug import update_global_seed_if_necessary
from ray.tune.result import DONE

from tenfold.algorithms.common.typed_config import TypedConfig

# A method's whole memory: NumPy arrays, and values that JSON can hold.
Plan = Mapping[str, Any]

PLAN_ARRAYS = "plan.npz"
PLAN_VALUES = "plan.json"


class PlanningRunner(EnvRunner):
    """An actor that turns work items into episodes; it keeps nothing between two items."""

    def __init__(self, *, config: AlgorithmConfig, **kwargs: Any) -> None:
        super().__init__(config=config, **kwargs)
        self.make_env()

    @abstractmethod
    def rollout(self, item: Any) -> Any:
        """Collect what one work item asks for.

        The result may depend on `item` and on the config only, never on earlier items or on the
        index of this runner: an item may be sent to another runner after a fault.
        """

    @override(EnvRunner)
    def sample(self, *, item: Any, **kwargs: Any) -> Any:
        return self.rollout(item)

    @override(EnvRunner)
    def assert_healthy(self) -> None:
        pass

    @override(EnvRunner)
    def get_spaces(self) -> dict[str, Any]:
        return {}

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Nothing: RLlib asks for it when it restores a runner that died."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Nothing to set, see `get_state`."""


class PlanningConfig(TypedConfig):
    """Config of a planning algorithm: RLlib's, with the runner class and no Learner.

    Subclasses declare their parameters as a nested model ``Parameters``, see
    `tenfold.algorithms.common.typed_config`; `validate` adds what several keys together must
    fulfil and raises ValueError with one sentence.
    """

    # Of RLlib's keys, those of runners, resources and evaluation; the rest is about networks.
    reads = frozenset(
        {
            "create_local_env_runner",
            "custom_resources_for_main_process",
            "custom_resources_per_env_runner",
            "delay_between_env_runner_restarts_s",
            "env_config",
            "env_runner_health_probe_timeout_s",
            "env_runner_restore_timeout_s",
            "evaluation_interval",
            "ignore_env_runner_failures",
            "max_num_env_runner_restarts",
            "max_requests_in_flight_per_env_runner",
            "min_time_s_per_iteration",
            "num_consecutive_env_runner_failures_tolerance",
            "num_cpus_for_main_process",
            "num_cpus_per_env_runner",
            "num_env_runners",
            "num_gpus_per_env_runner",
            "placement_strategy",
            "restart_failed_env_runners",
            "validate_env_runners_after_construction",
        }
    )

    def __init__(self, algo_class: type["PlanningAlgorithm"] | None = None) -> None:
        super().__init__(algo_class=algo_class or PlanningAlgorithm)
        self.num_env_runners = 0
        self.restart_failed_env_runners = True
        # There are no connectors whose states would have to be merged.
        self._dont_auto_sync_env_runner_states = True


class PlanningAlgorithm(Algorithm):
    """An RLlib `Algorithm` without RLModule and Learner.

    Subclasses name their `runner_class` and implement `initialise`, `training_step` (log with
    `self.report`), `get_plan` and `set_plan`, and `evaluate_plan` if the method can be evaluated.
    """

    runner_class: ClassVar[type[PlanningRunner]]
    # Restoring a checkpoint reads no pickle; the platform asks.
    unpickles: ClassVar[bool] = False

    @classmethod
    @override(Algorithm)
    def get_default_config(cls) -> PlanningConfig:
        return PlanningConfig()

    @classmethod
    def needs_actors(cls, config: AlgorithmConfig) -> bool:
        """Whether a trial works in more than its own process; the platform asks."""
        return bool(config.num_env_runners)

    @override(Algorithm)
    def setup(self, config: AlgorithmConfig) -> None:
        # Not by RLlib's setting for torch: its deterministic algorithms, which are not needed, load
        # torch's compiler, for a second.
        update_global_seed_if_necessary(None, self.config.seed)
        if self.config.seed is not None:
            torch.manual_seed(self.config.seed)
        self.callbacks = [cls() for cls in force_list(self.config.callbacks_class)]
        self.offline_data = None
        with_runners = self.config.copy(copy_frozen=False)
        with_runners.env_runner_cls = self.runner_class
        if self.config.num_env_runners:
            self.env_runner_group = EnvRunnerGroup(
                env_creator=self.env_creator,
                config=with_runners,
                local_env_runner=self.config.create_local_env_runner,
                logdir=self.logdir,
                tune_trial_id=self.trial_id,
            )
        else:  # RLlib's group asks for a running Ray even if it holds no actor
            self.env_runner_group = None
            self._own_runner = self.runner_class(config=with_runners)
        self.evaluation_config = self.config.get_evaluation_config_object()
        self._set_up_metrics()
        self.initialise()
        make_callback(
            "on_algorithm_init",
            self.callbacks,
            self.config.callbacks_on_algorithm_init,
            kwargs={"algorithm": self, "metrics_logger": self.metrics},
        )

    @abstractmethod
    def initialise(self) -> None:
        """Set the method's memory to what it is before the first iteration."""

    @abstractmethod
    def get_plan(self) -> Plan:
        """The method's whole memory, see `Plan`."""

    @abstractmethod
    def set_plan(self, plan: Plan) -> None:
        """Continue from a memory that `get_plan` gave."""

    def evaluate_plan(self) -> dict[str, float]:
        """Evaluate the present policy without changing it; returns metrics.

        Raises:
            ValueError: The method has no evaluation.
        """
        raise ValueError(f"{type(self).__name__} has no evaluation: look at its training metrics.")

    def finished(self) -> bool:
        """Whether there is nothing left to do; Tune then ends the trial."""
        return False

    @override(Algorithm)
    def step(self) -> dict[str, Any]:
        result: dict[str, Any] = super().step()
        return {**result, DONE: self.finished()}

    def rollouts(self, items: Sequence[Any]) -> list[Any]:
        """Have the runners work the items off.

        Items of a runner that dies go to another one, or wait for its restart.

        Args:
            items: Work items, see `PlanningRunner.rollout`.

        Returns:
            One result an item, in the order of the items.

        Raises:
            Exception: What a `rollout` raised, as it was raised there.
            RuntimeError: No runner is left and none comes back within
                `config.env_runner_restore_timeout_s` seconds.
        """
        group = self.env_runner_group
        if group is None:
            return [self._own_runner.rollout(item) for item in items]
        results: dict[int, Any] = {}
        while len(results) < len(items):
            runners = group.healthy_worker_ids() or self._await_runner()
            missing = [i for i in range(len(items)) if i not in results][: len(runners)]
            answers = group.foreach_env_runner(
                [partial(_rollout_item, index=i, item=items[i]) for i in missing],
                remote_worker_ids=runners[: len(missing)],
                local_env_runner=False,
            )
            for index, result, error in answers:
                if error is not None:
                    raise error
                results[index] = result
        return [results[i] for i in range(len(items))]

    def _await_runner(self) -> list[int]:
        """The runners that are back, once there is one; Ray restarts them by itself."""
        deadline = time.monotonic() + self.config.env_runner_restore_timeout_s
        while time.monotonic() < deadline:
            back: list[int] = self.env_runner_group.probe_unhealthy_env_runners()
            if back:
                return back
            time.sleep(0.5)
        raise RuntimeError(
            "All runners are dead and none came back within "
            f"{self.config.env_runner_restore_timeout_s:g} s (env_runner_restore_timeout_s)."
        )

    def report(self, **metrics: float) -> None:
        """Log values of this iteration, exactly as they are (no smoothing)."""
        for key, value in metrics.items():
            self.metrics.log_value(key, value, reduce="item")

    @override(Algorithm)
    def restore_env_runners(self, env_runner_group: EnvRunnerGroup | None) -> list[int]:
        return super().restore_env_runners(env_runner_group) if env_runner_group else []

    @override(Algorithm)
    def cleanup(self) -> None:
        super().cleanup()
        if self.env_runner_group is None:
            self._own_runner.stop()

    @override(Algorithm)
    def evaluate(self, parallel_train_future: Any = None) -> dict[str, float]:
        return self.evaluate_plan()

    @override(Algorithm)
    def get_checkpointable_components(self) -> list[Any]:
        return []

    @override(Algorithm)
    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {"training_iteration": self.training_iteration, "plan": dict(self.get_plan())}

    @override(Algorithm)
    def set_state(self, state: Mapping[str, Any]) -> None:
        self._iteration = state["training_iteration"]
        self.set_plan(state["plan"])

    @override(Algorithm)
    def save_to_path(self, path: str | Path | None = None, **kwargs: Any) -> str:
        """Write the memory as ``plan.npz`` (no pickle) and ``plan.json``.

        RLlib's own files go beside them (`class_and_ctor_args.pkl`, from which
        `Algorithm.from_checkpoint` builds the object); `restore_from_path` reads ours only, so
        that resuming executes nothing from the checkpoint.
        """
        state = self.get_state()
        values = {"training_iteration": state["training_iteration"]}
        where = super().save_to_path(path, state=values, **kwargs)
        plan = state["plan"]
        arrays = {key: value for key, value in plan.items() if isinstance(value, np.ndarray)}
        values["plan"] = {key: value for key, value in plan.items() if key not in arrays}
        np.savez(Path(where) / PLAN_ARRAYS, allow_pickle=False, **arrays)
        (Path(where) / PLAN_VALUES).write_text(json.dumps(values))
        return where

    @override(Algorithm)
    def restore_from_path(self, path: str | Path, *args: Any, **kwargs: Any) -> None:
        values = json.loads((Path(path) / PLAN_VALUES).read_text())
        with np.load(Path(path) / PLAN_ARRAYS, allow_pickle=False) as arrays:
            values["plan"].update({key: arrays[key] for key in arrays.files})
        self.set_state(values)


def _rollout_item(
    runner: PlanningRunner, *, index: int, item: Any
) -> tuple[int, Any, Exception | None]:
    """One item on one runner; errors of ours travel as values, since RLlib swallows raised ones."""
    try:
        return index, runner.rollout(item), None
    except Exception as error:
        return index, None, error
