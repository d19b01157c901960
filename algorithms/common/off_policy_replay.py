"""The loop of off-policy learners whose batch is single steps: SAC, TD3 and what builds on them.

RLlib's loop for DQN and SAC makes an episode object of each step and a batch of such objects for
each update, lets connectors turn them into arrays, and reduces all metrics after each update.
`ReplayLoop` and `ReplayLearner` do the same steps on arrays (`transition_replay`):

- `ReplayLoop.training_step` collects, stores and learns until an iteration's steps are done, and
  reduces metrics once, at its end;
- `ReplayLearner.update` takes `gradient_steps` of them in one call, each on a batch of its own;
- weights for a runner in the same process are copied tensor to tensor.

Collecting and learning alternate as in RLlib: each round of steps is followed by gradient steps.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.core.rl_module.apis import TargetNetworkAPI
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.annotations import override
from ray.rllib.utils.metrics import (
    ENV_RUNNER_RESULTS,
    LEARNER_RESULTS,
    NUM_ENV_STEPS_SAMPLED_LIFETIME,
    TD_ERROR_KEY,
    TIMERS,
)
from ray.rllib.utils.metrics.metrics_logger import MetricsLogger

from tenfold.algorithms.common.local_optimizer import AllReduce
from tenfold.algorithms.common.transition_replay import TransitionReplay, Transitions

GRADIENT_STEPS = "gradient_steps"


class ReplayLearner(TorchLearner):
    """A learner that takes many gradient steps in one call.

    Put it before RLlib's learner of the algorithm. What a gradient step is stays there: the loss,
    the optimisers, the target networks' pairs.

    Attributes:
        gradient_steps: How many were taken so far, those before a checkpoint included.
        metrics: RLlib's.
    """

    metrics: MetricsLogger

    @override(TorchLearner)
    def build(self) -> None:
        self.gradient_steps = 0
        self._targets_moved: dict[str, int] = defaultdict(int)
        super().build()

    @override(TorchLearner)
    def update(self, *args: Any, gradient_steps: int | None = None, **kwargs: Any) -> Any:
        """RLlib's update, or `gradient_steps` of them on the slices of one batch of steps."""
        if gradient_steps is None:
            return super().update(*args, **kwargs)
        return self._update_on_slices(gradient_steps, **kwargs)

    def register_adams(
        self, module_id: str, *parts: tuple[str, Iterable[torch.nn.Parameter], Any]
    ) -> None:
        """Register an Adam for each part of a module.

        Args:
            module_id: The module.
            *parts: Name, parameters, and learning rate or its schedule of each.
        """
        for name, parameters, rate in parts:
            own = list(parameters)
            self.register_optimizer(
                module_id=module_id,
                optimizer_name=name,
                optimizer=torch.optim.Adam(own),
                params=own,
                lr_or_lr_schedule=rate,
            )

    def _update_on_slices(
        self,
        gradient_steps: int,
        *,
        training_data: TrainingData,
        timesteps: dict[str, Any],
        _no_metrics_reduce: bool = False,
        **_: Any,
    ) -> Any:
        """Take gradient steps.

        Args:
            gradient_steps: How many; the batch's rows are a multiple of it.
            training_data: Holds the batch, columns (gradient_steps * B, ...).
            timesteps: As RLlib's `update` has it.
            _no_metrics_reduce: Return nothing and keep no metrics.
            **_: What groups of several learners pass on (`return_state`), read by no learner.

        Returns:
            The metrics of the last gradient step.
        """
        columns = {
            name: torch.tensor(values, device=self._device)
            for name, values in training_data.batch[DEFAULT_MODULE_ID].items()
        }
        # What RLlib's losses ask for: weights of a prioritised replay, steps of a target.
        ones = torch.ones_like(columns[Columns.REWARDS])
        columns |= {"weights": ones, "n_step": ones}
        rows = len(ones) // gradient_steps
        steps = timesteps[NUM_ENV_STEPS_SAMPLED_LIFETIME]
        self._weights_seq_no += 1
        for index in range(gradient_steps):
            batch = {name: v[index * rows : (index + 1) * rows] for name, v in columns.items()}
            with self._heard(index == gradient_steps - 1 and not _no_metrics_reduce):
                if index == 0:
                    self.before_gradient_based_update(timesteps=timesteps)
                _, losses, _ = self._update({DEFAULT_MODULE_ID: batch})
                self.gradient_steps += 1
                self.move_targets(steps)
        with self._heard(not _no_metrics_reduce):
            # Learning rates; the base's own is called, since DQN's would move targets again.
            TorchLearner.after_gradient_based_update(self, timesteps=timesteps)
            for module_id, loss in losses.items():
                self.metrics.log_value((module_id, self.TOTAL_LOSS_KEY), loss, window=1)
                self.metrics.log_value((module_id, GRADIENT_STEPS), self.gradient_steps, window=1)
        return None if _no_metrics_reduce else self.metrics.reduce()

    @contextmanager
    def _heard(self, heard: bool) -> Iterator[None]:
        """Losses log as they are computed; only what is reduced afterwards is worth the time."""
        metrics: MetricsLogger = self.metrics
        if not heard:
            self.metrics = _DEAF
        try:
            yield
        finally:
            self.metrics = metrics

    def move_targets(self, steps: int) -> None:
        """Polyak averaging of the target networks that are due: target += tau (online - target).

        Args:
            steps: Environment steps collected so far.
        """
        for module_id, module in self.module._rl_modules.items():
            plain = module.unwrapped()
            if not isinstance(plain, TargetNetworkAPI) or not self.targets_due(module_id, steps):
                continue
            online, targets = [], []
            for network, target in plain.get_target_network_pairs():
                online += network.parameters()
                targets += target.parameters()
            with torch.no_grad():
                torch._foreach_lerp_(targets, online, self.config.tau)
            self._targets_moved[module_id] = steps

    def targets_due(self, module_id: str, steps: int) -> bool:
        """Whether targets move after this gradient step."""
        due: int = self._targets_moved[module_id] + self.config.target_network_update_freq
        return steps >= due

    @override(TorchLearner)
    def compute_gradients(self, loss_per_module: dict[str, Any], **kwargs: Any) -> Any:
        """One backward pass; a parameter that no loss of this step reaches has no gradient.

        Of several learners, DDP averages the gradients of a module's parameters; those of others,
        as SAC's temperature is, are averaged here.
        """
        found = TorchLearner.compute_gradients(self, loss_per_module, **kwargs)
        found = {key: gradient for key, gradient in found.items() if gradient is not None}
        if self.config.num_learners > 1:
            own = {each for module in self.module.values() for each in module.parameters()}
            self.average([gradient for key, gradient in found.items() if key not in own])
        return found

    def average(self, gradients: list[torch.Tensor]) -> None:
        """Mean over learners, in place; nothing to do for a single one."""
        if self.config.num_learners > 1:
            AllReduce().mean(gradients)

    @override(TorchLearner)
    def apply_gradients(self, gradients_dict: Any) -> None:
        """Step every optimiser; what is not finite is left to RLlib, which looks at each tensor."""
        norm = torch.nn.utils.get_total_norm(gradients_dict.values())
        if self._grad_scalers or self._lr_scheduler_classes or not torch.isfinite(norm):
            super().apply_gradients(gradients_dict)
            return
        for parameter, gradient in gradients_dict.items():
            parameter.grad = gradient
        for optimizer in self._named_optimizers.values():
            optimizer.step()

    @override(TorchLearner)
    def register_optimizer(self, *, optimizer: Any, **kwargs: Any) -> None:
        """Adam in one kernel over all parameters, on CPUs too, where torch's default is a loop."""
        if isinstance(optimizer, torch.optim.Adam):
            for group in optimizer.param_groups:
                group["fused"] = True
        super().register_optimizer(optimizer=optimizer, **kwargs)

    @override(TorchLearner)
    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_state(*args, **kwargs), GRADIENT_STEPS: self.gradient_steps}

    @override(TorchLearner)
    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self.gradient_steps = state.get(GRADIENT_STEPS, self.gradient_steps)


class _Deaf(MetricsLogger):
    """Keeps nothing of what it is given."""

    def log_value(self, *args: Any, **kwargs: Any) -> None:
        pass

    def log_dict(self, *args: Any, **kwargs: Any) -> None:
        pass


_DEAF = _Deaf()


class ReplayLoop(Algorithm):
    """Collect, store, learn; put it before RLlib's algorithm class.

    The config's learner is a `ReplayLearner`, its runners are `TransitionRunner`s.
    """

    def stores_steps(self) -> bool:
        """Whether the batch is single steps drawn uniformly; if not, RLlib's own loop runs."""
        return True

    def gradient_steps_after(self, collected: int) -> int:
        """Gradient steps that follow a round.

        Args:
            collected: Environment steps of the round.
        """
        steps: int = collected * self.config.utd_ratio
        return steps

    @override(Algorithm)
    def _create_local_replay_buffer_if_necessary(self, config: Any) -> Any:
        if not self.stores_steps():
            return super()._create_local_replay_buffer_if_necessary(config)
        return TransitionReplay(config["replay_buffer_config"]["capacity"], config["seed"])

    @override(Algorithm)
    def training_step(self) -> None:
        if not self.stores_steps():
            super().training_step()
            return
        config, replay = self.config, self.local_replay_buffer
        counter = (ENV_RUNNER_RESULTS, NUM_ENV_STEPS_SAMPLED_LIFETIME)
        steps = self.metrics.peek(counter, default=0)
        due = steps + config.min_sample_timesteps_per_iteration
        seconds = dict.fromkeys(("collect", "replay", "learn", "weights"), 0.0)
        results: list[Any] = []
        while True:
            with _timed(seconds, "collect"):
                parts = self._collect()
            with _timed(seconds, "replay"):
                for part in parts:
                    replay.add(part)
            collected = sum(len(part[Columns.REWARDS]) for part in parts)
            steps += collected
            # Without a step every runner is lost: RLlib restores them between two calls.
            last = steps >= due or not collected
            taken = self.gradient_steps_after(collected)
            if taken and steps >= config.num_steps_sampled_before_learning_starts:
                with _timed(seconds, "replay"):
                    batch = replay.sample(taken * config.total_train_batch_size)
                with _timed(seconds, "learn"):
                    results = self._learn(batch, taken, steps, reduce=last)
                with _timed(seconds, "weights"):
                    self._sync_runners()
            if last:
                break
        self._log(results, seconds)

    def _collect(self) -> list[Transitions]:
        """A round of every runner."""
        if not self.env_runner_group.num_remote_env_runners():
            return [self.env_runner.collect()]
        parts: list[Transitions] = self.env_runner_group.foreach_env_runner(
            lambda runner: runner.collect(),
            local_env_runner=False,
            timeout_seconds=self.config.sample_timeout_s,
        )
        return parts

    def _learn(self, columns: Transitions, taken: int, steps: int, *, reduce: bool) -> list[Any]:
        batch = MultiAgentBatch(
            {DEFAULT_MODULE_ID: SampleBatch(columns)}, len(columns[Columns.REWARDS])
        )
        results: list[Any] = self.learner_group.update(
            batch=batch,
            timesteps={NUM_ENV_STEPS_SAMPLED_LIFETIME: steps},
            gradient_steps=taken,
            _no_metrics_reduce=not reduce,
        )
        return results if reduce else []

    def _sync_runners(self) -> None:
        if self.learner_group.is_remote or self.env_runner_group.num_remote_env_runners():
            self.env_runner_group.sync_weights(
                from_worker_or_learner_group=self.learner_group, inference_only=True
            )
            return
        learnt = self.learner_group._learner.module[DEFAULT_MODULE_ID].state_dict(keep_vars=True)
        acting = self.env_runner.module.state_dict(keep_vars=True)
        with torch.no_grad():
            torch._foreach_copy_(list(acting.values()), [learnt[name] for name in acting])

    def _log(self, results: list[Any], seconds: dict[str, float]) -> None:
        if self.env_runner_group.num_remote_env_runners():
            collected = self.env_runner_group.foreach_env_runner(
                lambda runner: runner.get_metrics(), local_env_runner=False
            )
        else:
            collected = [self.env_runner.get_metrics()]
        self.metrics.aggregate(collected, key=ENV_RUNNER_RESULTS)
        for result in results:
            for of_module in result.values():
                of_module.pop(TD_ERROR_KEY, None)  # an entry for each row of a batch
        if results:
            self.metrics.aggregate(results, key=LEARNER_RESULTS)
        for name, spent in seconds.items():
            self.metrics.log_value((TIMERS, f"{name}_seconds"), spent, reduce="sum")

    @override(Algorithm)
    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        state: dict[str, Any] = super().get_state(*args, **kwargs)
        if self.config.store_buffer_in_checkpoints:
            state["replay"] = self.local_replay_buffer.get_state()
        return state

    @override(Algorithm)
    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        if "replay" in state:
            self.local_replay_buffer.set_state(state["replay"])


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    begun = perf_counter()
    yield
    seconds[name] += perf_counter() - begun
