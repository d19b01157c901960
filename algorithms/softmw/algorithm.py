"""Queue scheduling as an RLlib algorithm: runners simulate batches of replicas, slot after slot.

The replicas of a trial are cut into batches of fixed size. A work item is one batch: the state of
its simulator, the memory of its schedulers and the number of slots to go on. So results depend
neither on the number of runners nor on their faults, and a checkpoint holds every replica exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from tenfold.algorithms.common.planning import PlanningAlgorithm, PlanningRunner
from tenfold.algorithms.softmw.config import SoftMWConfig
from tenfold.algorithms.softmw.schedulers import make_scheduler
from tenfold.envs.queues.metrics import Metrics, running_mean_slope, running_mean_slopes
from tenfold.envs.queues.simulator import Simulator

# Evaluation meets instances that training never saw, whatever the training seeds are.
EVALUATION_SEED = 1_000_003


class ReplicaRunner(PlanningRunner):
    """Simulates one batch of replicas for some slots."""

    def make_env(self) -> None:
        config: SoftMWConfig = self.config
        self.scenario = config.scenario()

    def rollout(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Go on with a batch.

        Args:
            item: ``first`` (number of the first replica), ``replicas``, ``slots``, ``seed``,
                ``simulator`` and ``memory`` (None at the start).

        Returns:
            The new ``simulator`` and ``memory``, and the ``metrics`` since slot 1.

        Raises:
            ValueError: The memory is of a scheduler of another number of queues.
        """
        config: SoftMWConfig = self.config
        simulator = Simulator(
            self.scenario, item["replicas"], item["seed"], config.signal, item["first"]
        )
        scheduler = make_scheduler(
            config.scheduler, self.scenario, item["replicas"], **config.constants
        )
        if item["simulator"] is not None:
            simulator.set_state(item["simulator"])
        if item["memory"] is not None:
            memory = item["memory"]["state"]
            if memory.shape != scheduler.state.shape:
                raise ValueError(
                    f"The checkpoint's scheduler has a memory of {memory.shape[1]} numbers, task "
                    f"'{config.env}' with its {scheduler.K} queues needs "
                    f"{scheduler.state.shape[1]}: choose a task with as many queues."
                )
            scheduler.state[...] = memory
            scheduler.t = item["memory"]["t"]
        simulator.run(scheduler, item["slots"])
        return {
            "simulator": simulator.get_state(),
            "memory": {"state": scheduler.state, "t": scheduler.t},
            "metrics": simulator.metrics(),
        }


class SoftMW(PlanningAlgorithm):
    """Runs the scheduler of its config over all replicas, `slots_per_iteration` at a time."""

    config: SoftMWConfig

    runner_class = ReplicaRunner

    @classmethod
    def get_default_config(cls) -> SoftMWConfig:
        return SoftMWConfig()

    def initialise(self) -> None:
        sizes = self.config.batch_sizes()
        self.scenario = self.config.scenario()
        self.slots = 0
        self.simulators: list[Any] = [None] * len(sizes)
        self.memories: list[Any] = [None] * len(sizes)

    def training_step(self) -> None:
        slots = min(self.config.slots_per_iteration, self.config.total_steps() - self.slots)
        results = self._run(slots, self.config.seed, self.simulators)
        self.slots += slots
        self.simulators = [result["simulator"] for result in results]
        self.memories = [result["memory"] for result in results]
        self.report(**self._summary(results))

    def finished(self) -> bool:
        return self.slots >= self.config.total_steps()

    def evaluate_plan(self) -> dict[str, float]:
        """The schedulers as they are now, on empty queues of instances that training never saw."""
        fresh = [None] * len(self.memories)
        seed = self.config.seed + EVALUATION_SEED
        results = self._run(self.config.evaluation_duration, seed, fresh)
        return self._summary(results)

    def _summary(self, results: list[dict[str, Any]]) -> dict[str, float]:
        metrics = joined([result["metrics"] for result in results])
        return summary(metrics, self.scenario.random, self.scenario.costs)

    def _run(self, slots: int, seed: int, simulators: list[Any]) -> list[dict[str, Any]]:
        items, first = [], 0
        batches = zip(self.config.batch_sizes(), simulators, self.memories, strict=True)
        for replicas, simulator, memory in batches:
            item = {"first": first, "replicas": replicas, "slots": slots, "seed": seed}
            items.append({**item, "simulator": simulator, "memory": memory})
            first += replicas
        return self.rollouts(items)

    def get_plan(self) -> dict[str, Any]:
        # "world", as in older checkpoints.
        plan: dict[str, Any] = {"slots": self.slots, "batches": len(self.simulators)}
        for number, (simulator, memory) in enumerate(
            zip(self.simulators, self.memories, strict=True)
        ):
            plan |= {f"world/{number}/{key}": value for key, value in (simulator or {}).items()}
            plan |= {f"memory/{number}/{key}": value for key, value in (memory or {}).items()}
        return plan

    def set_plan(self, plan: Mapping[str, Any]) -> None:
        def part(kind: str, number: int) -> dict[str, Any] | None:
            prefix = f"{kind}/{number}/"
            found = {k.removeprefix(prefix): v for k, v in plan.items() if k.startswith(prefix)}
            return found or None

        self.slots = plan["slots"]
        self.simulators = [part("world", number) for number in range(plan["batches"])]
        self.memories = [part("memory", number) for number in range(plan["batches"])]


def joined(parts: list[Metrics]) -> Metrics:
    """The metrics of several batches as those of one, replicas in order."""
    shared = ("slots", "curve_slots")
    values: dict[str, Any] = {
        field.name: getattr(parts[0], field.name)
        if field.name in shared
        else np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Metrics)
    }
    return Metrics(**values)


def summary(
    metrics: Metrics, random: bool, costs: Sequence[float] | None = None
) -> dict[str, float]:
    """What is logged: means over replicas, under the names that the method's README explains.

    Every value is finite; what does not exist is left out: a delay where no work has left, a
    recovery without switches, an interval over fewer than two instances.

    Args:
        metrics: Of all replicas.
        random: Whether the replicas are different instances.
        costs: Holding cost of a unit of work of each queue a slot (K,); 1 each when None.
    """
    weights = np.ones(metrics.backlog_by_queue.shape[1]) if costs is None else np.array(costs)
    logged = {
        "slots": float(metrics.slots),
        "backlog_mean": float(metrics.backlog_mean.mean()),
        "backlog_now": float(metrics.backlog_final.mean()),
        "backlog_max": float(metrics.backlog_max.max()),
        "cost_mean": float((metrics.backlog_by_queue @ weights).mean()),
        "wasted": float(metrics.wasted.mean()),
        "drift": float(metrics.drift.mean()),
    }
    if not random:
        logged["one_world"] = 1.0
    for name in ("delay_mean", "delay_p99", "delay_little"):
        delays = getattr(metrics, name)
        if not np.isnan(delays).all():
            logged[name] = float(np.nanmean(delays))
    for queue, share in enumerate(metrics.service_share.mean(axis=0)):
        logged[f"service_share_{queue}"] = float(share)
    for queue, delays in enumerate(metrics.delay_by_queue.T):
        if not np.isnan(delays).all():
            logged[f"delay_mean_{queue}"] = float(np.nanmean(delays))
    if metrics.switches.min() > 1:
        logged["recovery_mean"] = float(np.nanmean(metrics.recovery_mean))
    if metrics.slots >= 8:
        logged["slope"] = float(running_mean_slopes(metrics).mean())
        if random and len(metrics.backlog_mean) > 1:
            slope = running_mean_slope(metrics)
            logged |= {"slope_low": slope.low, "slope_high": slope.high}
    return logged
