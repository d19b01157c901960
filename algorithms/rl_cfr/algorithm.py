"""RL-CFR as an RLlib algorithm: runners play sampling epochs, the actor-critic learns from them.

A work item carries the actor's weights and the seeds of its hands, so that results depend neither
on the number of runners nor on their faults. Replay buffer, networks and optimisers are the plan.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tenfold.algorithms.planning import PlanningAlgorithm, PlanningRunner
from tenfold.algorithms.rl_cfr.abstraction import (
    Abstraction,
    Fixed,
    Learned,
    Random,
    describe_learned,
    make_actor,
)
from tenfold.algorithms.rl_cfr.actor_critic import ActorCritic, Batch
from tenfold.algorithms.rl_cfr.config import RLCFRConfig
from tenfold.algorithms.rl_cfr.epoch import (
    Hand,
    Judgement,
    alone,
    explorer,
    first_choice,
    judge,
    play_hand,
)
from tenfold.algorithms.rl_cfr.features import FEATURES

TRAINING, HELD_OUT, UPDATES = range(3)
"""Streams of random numbers: no hand of an evaluation is one of training."""


class EpochRunner(PlanningRunner):
    """Plays hands of sampling epochs, or judges the policy on held-out decisions."""

    config: RLCFRConfig

    def make_env(self) -> None:
        self.world = self.config.world()

    def rollout(self, item: Mapping[str, Any]) -> list[Hand | Judgement]:
        """Play or judge.

        Args:
            item: ``seeds`` (one tuple of ints a hand), ``held_out`` (whether to judge the policy at
                the first decision instead of playing), and the ``actor``'s arrays.
        """
        config, solving, sizes = self.config, self.config.solving(), self.config.size_map()
        out: list[Hand | Judgement] = []
        for seed in item["seeds"]:
            rng = np.random.default_rng(seed)
            if item["held_out"]:
                decision = first_choice(self.world, solving, rng)
                policy = self._policy(item["actor"], rng)
                out.append(judge(self.world, decision, policy, solving))
                continue
            if config.policy == "learned":
                actor = make_actor(sizes, config.hidden, item["actor"])
                propose = explorer(actor, sizes, config.exploration())
            else:
                propose = alone(self._policy(item["actor"], rng), sizes.m)
            out.append(play_hand(self.world, propose, solving, config.epsilon, rng))
        return out

    def _policy(self, arrays: Mapping[str, NDArray[Any]], rng: np.random.Generator) -> Abstraction:
        config, sizes = self.config, self.config.size_map()
        if config.policy == "learned":
            return Learned(self.world, sizes, make_actor(sizes, config.hidden, arrays))
        return Fixed(config.sizes) if config.policy == "fixed" else Random(sizes, rng)


class RLCFR(PlanningAlgorithm):
    """Sampling epochs and TD3; fixed and random policies only play."""

    config: RLCFRConfig

    runner_class = EpochRunner

    @classmethod
    def get_default_config(cls) -> RLCFRConfig:
        return RLCFRConfig()

    def initialise(self) -> None:
        config = self.config
        self.networks = ActorCritic(
            features=FEATURES,
            m=config.m,
            hidden=config.hidden,
            lr=config.lr,
            gamma=config.gamma,
            sigma=config.target_noise,
            delay=config.actor_delay,
            tau=config.tau,
            seed=config.seed or 0,
        )
        self.episodes, self.decisions = 0, 0
        empty = np.zeros((0, FEATURES), np.float32)
        numbers, actions = np.zeros(0, np.float32), np.zeros((0, config.m), np.float32)
        self.buffer = Batch(empty, actions, numbers, empty, numbers)

    def training_step(self) -> None:
        config = self.config
        numbers = range(self.episodes, self.episodes + config.episodes_per_iteration)
        hands = self._run(TRAINING, numbers)
        self.episodes += len(hands)
        own = [each for hand in hands for each in hand.own]
        self.decisions += len(own)
        loss = 0.0
        if config.policy == "learned":
            loss = self._learn([hand.batch for hand in hands])
        self.report(
            **summary(own),
            critic_loss=loss,
            episodes=float(self.episodes),
            decisions=float(self.decisions),
            transitions=float(len(self.buffer.rewards)),
        )

    def evaluate_plan(self) -> dict[str, float]:
        """The policy without noise at held-out decisions, each the first of a hand."""
        judgements = self._run(HELD_OUT, range(self.config.evaluation_duration))
        return summary(judgements)

    def _run(self, stream: int, numbers: Sequence[int]) -> list[Any]:
        """Hands or judgements, one a number; the seed of a hand is its stream and number."""
        arrays = self.networks.arrays()
        actor = {name: value for name, value in arrays.items() if name.startswith("actor.")}
        size = self.config.episodes_per_item
        seeds = [(self.config.seed or 0, stream, number) for number in numbers]
        items = [
            {"seeds": seeds[start : start + size], "held_out": stream == HELD_OUT, "actor": actor}
            for start in range(0, len(seeds), size)
        ]
        return [each for results in self.rollouts(items) for each in results]

    def _learn(self, batches: Sequence[Batch]) -> float:
        """Remember new transitions, update the networks; returns the mean loss of the critics."""
        config = self.config
        columns = zip(self.buffer, *batches, strict=True)
        self.buffer = Batch(*(np.concatenate(column)[-config.buffer_size :] for column in columns))
        kept = len(self.buffer.rewards)
        if kept < config.warmup:
            return 0.0
        new = sum(len(batch.rewards) for batch in batches)
        rng = np.random.default_rng((config.seed or 0, UPDATES, self.episodes))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        losses = []
        for _ in range(max(1, round(config.updates_per_transition * new))):
            rows = rng.integers(kept, size=config.batch_size)
            batch = Batch(*(column[rows] for column in self.buffer))
            losses.append(self.networks.update(batch, generator))
        return float(np.mean(losses))

    def get_plan(self) -> dict[str, Any]:
        config = self.config
        return {
            "episodes": self.episodes,
            "decisions": self.decisions,
            "updates": self.networks.updates,
            "policy": describe_learned(config.env, config.size_map(), config.hidden),
            **self.networks.arrays(),
            **{f"buffer.{name}": column for name, column in self.buffer._asdict().items()},
        }

    def set_plan(self, plan: Mapping[str, Any]) -> None:
        self.episodes, self.decisions = plan["episodes"], plan["decisions"]
        self.networks.updates = plan["updates"]
        self.networks.load(plan)
        self.buffer = Batch(*(plan[f"buffer.{name}"] for name in Batch._fields))


def summary(judgements: Sequence[Judgement]) -> dict[str, float]:
    """What is logged, under the names that README.md explains."""
    gains = np.array([each.gain_mbb for each in judgements])
    nodes = np.array([each.nodes for each in judgements], float)
    seconds = np.array([each.seconds for each in judgements])
    half = 1.96 * gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else np.inf
    return {
        "gain_mbb": float(gains.mean()),
        "gain_mbb_low": float(gains.mean() - half),
        "gain_mbb_high": float(gains.mean() + half),
        "gain_millipot": 1000.0 * float(np.mean([each.gain for each in judgements])),
        "nodes": float(nodes[:, 0].mean()),
        "default_nodes": float(nodes[:, 1].mean()),
        "solve_seconds": float(seconds[:, 0].mean()),
        "default_solve_seconds": float(seconds[:, 1].mean()),
    }
