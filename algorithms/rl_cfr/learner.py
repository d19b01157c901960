"""All that training changes: replay buffer, networks, counters; and the work items they ask for."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tenfold.algorithms.rl_cfr.abstraction import describe_learned
from tenfold.algorithms.rl_cfr.config import RLCFRConfig
from tenfold.algorithms.rl_cfr.epoch import Hand
from tenfold.algorithms.rl_cfr.learning.actor_critic import ACTOR, CRITICS, ActorCritic, Batch
from tenfold.algorithms.rl_cfr.learning.features import FEATURES
from tenfold.algorithms.rl_cfr.learning.value_learner import ValueLearner

TRAINING, HELD_OUT, UPDATES, SITUATIONS, MATCHES = range(5)
"""Streams of random numbers: no hand of an evaluation is one of training."""

SITUATIONS_AT_ONCE = 100
"""Random subgames that are solved between two trainings of a value network."""


class AbstractionLearner:
    """TD3 on a replay buffer, and value networks where the task needs them.

    A config whose policy is not learned only counts hands and learns values.

    Args:
        config: A valid one.

    Attributes:
        networks: `ActorCritic`.
        buffer: The newest transitions.
        values: `ValueLearner` of the streets that the task's trees end at.
        episodes: Hands played.
        decisions: Decisions in them.
    """

    def __init__(self, config: RLCFRConfig) -> None:
        self._config, self._seed = config, config.seed or 0
        self.networks = ActorCritic(
            features=FEATURES,
            m=config.m,
            hidden=config.hidden,
            lr=config.lr,
            weight_decay=config.weight_decay,
            reward_clip=config.reward_clip,
            gamma=config.gamma,
            sigma=config.target_noise,
            delay=config.actor_delay,
            tau=config.tau,
            seed=self._seed,
        )
        self.values = ValueLearner(
            config.world().valued,
            hidden=config.value_hidden,
            lr=config.value_lr,
            batch_size=config.value_batch_size,
            buffer_size=config.value_buffer_size,
            updates_per_sample=config.value_updates_per_sample,
            seed=self._seed,
        )
        self.episodes, self.decisions = 0, 0
        states, numbers = np.zeros((0, FEATURES), np.float32), np.zeros(0, np.float32)
        actions = np.zeros((0, config.m), np.float32)
        self.buffer = Batch(states, actions, numbers, states, numbers)

    def items(self, stream: int, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Work items of hands, each with its seed: the config's, the stream, and its number."""
        return self._items(stream, numbers, self._config.episodes_per_item)

    def matches(self) -> list[dict[str, Any]]:
        """Work items of the matches of an evaluation, one a spot.

        All hands of Leduc start alike and share what is solved, so they are one item.
        """
        count = self._config.match_spots
        return self._items(MATCHES, range(count), count if self._config.env == "leduc_nl" else 1)

    def _items(self, stream: int, numbers: Sequence[int], size: int) -> list[dict[str, Any]]:
        arrays = self.networks.arrays()
        who = CRITICS if self._config.choice == "critics" else ACTOR
        actor = {name: value for name, value in arrays.items() if name.startswith(f"{who}.")}
        seeds = [(self._seed, stream, number) for number in numbers]
        return self._split(seeds, size, stream=stream, actor=actor)

    def situations(self) -> list[dict[str, Any]]:
        """Work items of random subgames, of the last street that has seen too few of them.

        The values of a street need those of the next one, so the river comes first.
        """
        for street in reversed(self.values.networks):
            seen = self.values.seen[street]
            missing = min(SITUATIONS_AT_ONCE, self._config.value_warmup - seen)
            if missing > 0:
                seeds = [(self._seed, SITUATIONS, street, seen + each) for each in range(missing)]
                size = self._config.episodes_per_item
                return self._split(seeds, size, stream=SITUATIONS, street=street)
        return []

    def _split(
        self, seeds: Sequence[tuple[int, ...]], size: int, **carried: Any
    ) -> list[dict[str, Any]]:
        """Work items of `size` seeds, with what all carry and the value networks' weights."""
        weights = self.values.weights()
        return [
            {"seeds": seeds[start : start + size], "values": weights, **carried}
            for start in range(0, len(seeds), size)
        ]

    def epoch(self) -> list[dict[str, Any]]:
        """Work items of the next sampling epoch."""
        numbers = range(self.episodes, self.episodes + self._config.episodes_per_iteration)
        return self.items(TRAINING, numbers)

    def learn(self, hands: Sequence[Hand]) -> float:
        """Remember the hands of an epoch and update the networks, those of values too.

        Returns:
            The mean loss of the critics, 0 before the first update.
        """
        config = self._config
        self.episodes += len(hands)
        self.decisions += sum(len(hand.own) for hand in hands)
        solved = [each for hand in hands for each in hand.values]
        for street in self.values.networks:
            self.values.learn(street, [sample for where, sample in solved if where == street])
        if config.policy != "learned":
            return 0.0
        columns = zip(self.buffer, *(hand.batch for hand in hands), strict=True)
        self.buffer = Batch(*(np.concatenate(column)[-config.buffer_size :] for column in columns))
        kept = len(self.buffer.rewards)
        if kept < config.warmup:
            return 0.0
        new = sum(len(hand.batch.rewards) for hand in hands)
        rng = np.random.default_rng((self._seed, UPDATES, self.episodes))
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        losses = []
        for _ in range(max(1, round(config.updates_per_transition * new))):
            rows = rng.integers(kept, size=config.batch_size)
            batch = Batch(*(column[rows] for column in self.buffer))
            batch = batch._replace(rewards=batch.rewards / np.float32(config.reward_unit))
            losses.append(self.networks.update(batch, generator))
        return float(np.mean(losses))

    def get_plan(self) -> dict[str, Any]:
        """Arrays and JSON values, see `planning.Plan`."""
        config = self._config
        return {
            "episodes": self.episodes,
            "decisions": self.decisions,
            "updates": self.networks.updates,
            "policy": describe_learned(
                config.env, config.size_map(), config.hidden, **config.env_config
            ),
            "value_hidden": config.value_hidden,
            "value_loss": self.values.loss,
            "values_seen": {str(street): seen for street, seen in self.values.seen.items()},
            **self.networks.arrays(),
            **self.values.arrays(),
            **{f"buffer.{name}": column for name, column in self.buffer._asdict().items()},
        }

    def set_plan(self, plan: Mapping[str, Any]) -> None:
        """Continue from `get_plan`."""
        self.episodes, self.decisions = plan["episodes"], plan["decisions"]
        self.networks.updates = plan["updates"]
        self.networks.load(plan)
        self.values.load(plan, plan["values_seen"])
        self.values.loss = plan["value_loss"]
        self.buffer = Batch(*(plan[f"buffer.{name}"] for name in Batch._fields))
