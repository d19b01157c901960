"""RL-CFR as an RLlib algorithm: runners play sampling epochs, the actor-critic learns from them.

A work item carries the actor's weights and the seeds of its hands, so that results depend neither
on the number of runners nor on their faults. Replay buffer, networks and optimisers are the plan.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.planning import PlanningAlgorithm, PlanningRunner
from tenfold.algorithms.rl_cfr.abstraction import Abstraction, Fixed, Learned, Random, make_actor
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
from tenfold.algorithms.rl_cfr.learner import HELD_OUT, AbstractionLearner
from tenfold.algorithms.rl_cfr.mdp import World


class EpochRunner(PlanningRunner):
    """Plays hands of sampling epochs, or judges the policy on held-out decisions."""

    config: RLCFRConfig

    def make_env(self) -> None:
        self.world = self.config.world()

    def rollout(self, item: Mapping[str, Any]) -> list[Hand] | list[Judgement]:
        if item["held_out"]:
            return judged(self.config, self.world, item)
        return played(self.config, self.world, item)


def played(config: RLCFRConfig, world: World, item: Mapping[str, Any]) -> list[Hand]:
    """Play the hands of a work item.

    Args:
        config: Who chooses the raises, and how they are tried.
        world: The game.
        item: ``seeds`` (one a hand) and the ``actor``'s arrays, see `AbstractionLearner.items`.
    """
    hands, sizes = [], config.size_map()
    for seed in item["seeds"]:
        rng = np.random.default_rng(seed)
        if config.policy == "learned":
            actor = make_actor(sizes, config.hidden, item["actor"])
            propose = explorer(actor, sizes, config.exploration())
        else:
            propose = alone(policy(config, world, item["actor"], rng), sizes.m)
        hands.append(play_hand(world, propose, config.solving(), config.epsilon, rng))
    return hands


def judged(config: RLCFRConfig, world: World, item: Mapping[str, Any]) -> list[Judgement]:
    """The policy beside the default at the first decision of each hand of a work item."""
    judgements = []
    for seed in item["seeds"]:
        rng = np.random.default_rng(seed)
        decision = first_choice(world, config.solving(), rng)
        abstraction = policy(config, world, item["actor"], rng)
        judgements.append(judge(world, decision, abstraction, config.solving()))
    return judgements


def policy(
    config: RLCFRConfig,
    world: World,
    arrays: Mapping[str, NDArray[Any]],
    rng: np.random.Generator,
) -> Abstraction:
    """Who chooses the raises, without noise."""
    sizes = config.size_map()
    if config.policy == "learned":
        return Learned(world, sizes, make_actor(sizes, config.hidden, arrays))
    return Fixed(config.sizes) if config.policy == "fixed" else Random(sizes, rng)


class RLCFR(PlanningAlgorithm):
    """Sampling epochs and TD3; fixed and random policies only play."""

    config: RLCFRConfig

    runner_class = EpochRunner

    @classmethod
    def get_default_config(cls) -> RLCFRConfig:
        return RLCFRConfig()

    def initialise(self) -> None:
        self.learner = AbstractionLearner(self.config)

    def training_step(self) -> None:
        learner = self.learner
        hands = [hand for hands in self.rollouts(learner.epoch()) for hand in hands]
        loss = learner.learn(hands)
        self.report(
            **summary([each for hand in hands for each in hand.own]),
            critic_loss=loss,
            episodes=float(learner.episodes),
            decisions=float(learner.decisions),
            transitions=float(len(learner.buffer.rewards)),
        )

    def evaluate_plan(self) -> dict[str, float]:
        """The policy without noise at held-out decisions, each the first of a hand."""
        items = self.learner.items(HELD_OUT, range(self.config.evaluation_duration))
        return summary([each for results in self.rollouts(items) for each in results])

    def get_plan(self) -> dict[str, Any]:
        return self.learner.get_plan()

    def set_plan(self, plan: Mapping[str, Any]) -> None:
        self.learner.set_plan(plan)


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
