"""RL-CFR as an RLlib algorithm: runners play sampling epochs, the networks learn from them.

A work item carries the actor's and the value networks' weights and the seeds of its hands, so that
results depend neither on the number of runners nor on their faults. Replay buffers, networks and
optimisers are the plan.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tenfold.algorithms.common.planning import PlanningAlgorithm, PlanningRunner
from tenfold.algorithms.rl_cfr.abstraction import Abstraction, Learned, Random, make_actor
from tenfold.algorithms.rl_cfr.config import RLCFRConfig
from tenfold.algorithms.rl_cfr.epoch import (
    Evaluation,
    Hand,
    alone,
    evaluate,
    explorer,
    first_choice,
    play_hand,
    solve_situations,
)
from tenfold.algorithms.rl_cfr.learner import (
    HELD_OUT,
    MATCHES,
    SITUATIONS,
    TRAINING,
    AbstractionLearner,
)
from tenfold.algorithms.rl_cfr.learning.actor_critic import Chooser
from tenfold.algorithms.rl_cfr.learning.features import FEATURES
from tenfold.algorithms.rl_cfr.learning.value_network import ValueSamples
from tenfold.algorithms.rl_cfr.mdp import World, solve
from tenfold.algorithms.rl_cfr.opponents import Gains, meet_all, meet_in_leduc, standings
from tenfold.algorithms.rl_cfr.play.match import score
from tenfold.algorithms.rl_cfr.worlds.holdem import HoldemWorld
from tenfold.algorithms.rl_cfr.worlds.leduc import LeducWorld
from tenfold.envs.poker.starts import StreetStarts
from tenfold.platform.devices import assigned_device

Results = list[Hand] | list[Evaluation] | list[ValueSamples] | list[dict[str, Gains]]


class EpochRunner(PlanningRunner):
    """Plays hands of sampling epochs and matches, solves random subgames, evaluates the policy."""

    config: RLCFRConfig

    def make_env(self) -> None:
        """Compile what solving needs; a work item's value networks make the world."""
        warm_up(self.config)

    def rollout(self, item: Mapping[str, Any]) -> Results:
        return work_off(self.config, item)


def warm_up(config: RLCFRConfig) -> None:
    """Solve one decision off the clock, or the first that is timed would pay for compilation."""
    leduc = config.env == "leduc_nl"
    world: World = LeducWorld() if leduc else HoldemWorld(StreetStarts(hands=10))
    solving = replace(config.solving(), max_raises=1, iterations=1)
    solve(world, world.root(np.random.default_rng(0)), None, solving)


def work_off(config: RLCFRConfig, item: Mapping[str, Any]) -> Results:
    """What a work item of `AbstractionLearner` asks for, one result a seed."""
    kinds: dict[int, Callable[..., Results]] = {
        TRAINING: played,
        HELD_OUT: evaluated,
        SITUATIONS: situations,
        MATCHES: met,
    }
    return kinds[item["stream"]](config, config.world(item["values"]), item)


def situations(config: RLCFRConfig, world: World, item: Mapping[str, Any]) -> list[ValueSamples]:
    """Solve random subgames of the work item's street, on the runner's GPU if it has one."""
    rngs, device = [np.random.default_rng(seed) for seed in item["seeds"]], str(assigned_device())
    return solve_situations(world, item["street"], config.solving(), rngs, device)


def played(config: RLCFRConfig, world: World, item: Mapping[str, Any]) -> list[Hand]:
    """Play the hands of a work item.

    Args:
        config: Who chooses the raises, and how they are tried.
        world: The game.
        item: ``seeds`` (one a hand) and the ``actor``'s arrays, see `AbstractionLearner.items`.
    """
    hands, sizes, device = [], config.size_map(), str(assigned_device())
    for seed in item["seeds"]:
        rng = np.random.default_rng(seed)
        if config.policy == "learned":
            actor = make_actor(sizes, config.hidden, item["actor"])
            propose = explorer(actor, sizes, config.exploration())
        else:
            propose = alone(policy(config, world, item["actor"], rng), sizes.m)
        hands.append(play_hand(world, propose, config.solving(), config.epsilon, rng, device))
    return hands


def evaluated(config: RLCFRConfig, world: World, item: Mapping[str, Any]) -> list[Evaluation]:
    """The policy beside the default at the first decision of each hand of a work item."""
    evaluations = []
    for seed in item["seeds"]:
        rng = np.random.default_rng(seed)
        decision = first_choice(world, config.solving(), rng)
        abstraction = policy(config, world, item["actor"], rng)
        evaluations.append(evaluate(world, decision, abstraction, config.solving()))
    return evaluations


def met(config: RLCFRConfig, world: World, item: Mapping[str, Any]) -> list[dict[str, Gains]]:
    """The policy against the config's opponents, on a spot a seed."""
    opponents, solving, deals = config.opponents, config.solving(), config.match_deals
    rngs = [np.random.default_rng(seed) for seed in item["seeds"]]
    if isinstance(world, LeducWorld):
        abstraction = policy(config, world, item["actor"], rngs[0])
        return meet_in_leduc(world, abstraction, opponents, solving, deals, rngs)
    assert isinstance(world, HoldemWorld)
    rivers, gains = config.match_rivers, []
    for rng in rngs:
        abstraction = policy(config, world, item["actor"], rng)
        gains.append(meet_all(world, abstraction, opponents, solving, deals, rivers, rng))
    return gains


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
    return config.fixed() if config.policy == "fixed" else Random(sizes, rng)


def sampling_epoch(
    learner: AbstractionLearner, rollouts: Callable[[Sequence[Any]], list[Any]]
) -> dict[str, float]:
    """One iteration of the method: random subgames until values are warm, then hands to learn from.

    Args:
        learner: What learns.
        rollouts: From work items to their results, see `work_off`.

    Returns:
        What is logged.
    """
    while items := learner.situations():
        samples = [sample for samples in rollouts(items) for sample in samples]
        learner.values.learn(items[0]["street"], samples)
    hands = [hand for hands in rollouts(learner.epoch()) for hand in hands]
    loss = learner.learn(hands)
    return {
        **summary([each for hand in hands for each in hand.own]),
        "critic_loss": loss,
        "value_loss": learner.values.loss,
        "episodes": float(learner.episodes),
        "decisions": float(learner.decisions),
        "transitions": float(len(learner.buffer.rewards)),
    }


class RLCFR(PlanningAlgorithm):
    """Sampling epochs, values and TD3; fixed and random policies only play."""

    config: RLCFRConfig

    runner_class = EpochRunner

    @classmethod
    def get_default_config(cls) -> RLCFRConfig:
        return RLCFRConfig()

    def initialise(self) -> None:
        torch.use_deterministic_algorithms(True)
        self.learner = AbstractionLearner(self.config)

    def step(self) -> dict[str, Any]:
        """RLlib has None for what was logged before and is not there this time; we leave it out."""
        return {key: value for key, value in super().step().items() if value is not None}

    def training_step(self) -> None:
        self.report(**sampling_epoch(self.learner, self.rollouts))

    def evaluate_plan(self) -> dict[str, float]:
        """The policy without noise at held-out decisions, each the first of a hand; matches."""
        items = self.learner.items(HELD_OUT, range(self.config.evaluation_duration))
        found = summary([each for results in self.rollouts(items) for each in results])
        if self.config.opponents:
            matches = self.rollouts(self.learner.matches())
            found |= standings([each for results in matches for each in results])
        return found

    def as_network(self) -> tuple[Chooser, np.ndarray]:
        """Who chooses, from features to components of an abstraction, and two rows of features.

        Raises:
            ValueError: Nothing is learnt: the policy is fixed or random.
        """
        if self.config.policy != "learned":
            raise ValueError(f"Policy '{self.config.policy}' has no network: nothing is learnt.")
        config, plan = self.config, self.learner.get_plan()
        actor = make_actor(config.size_map(), config.hidden, plan)
        return actor, np.zeros((2, FEATURES), np.float32)

    def get_plan(self) -> dict[str, Any]:
        return self.learner.get_plan()

    def set_plan(self, plan: Mapping[str, Any]) -> None:
        self.learner.set_plan(plan)


def summary(evaluations: Sequence[Evaluation]) -> dict[str, float]:
    """What is logged, under the names that LEARNING.md explains.

    The interval is Student's t over the evaluations; one evaluation has none, and then neither
    `gain_mbb_low` nor `gain_mbb_high` is there.
    """
    gains = [each.gain_mbb for each in evaluations]
    nodes = np.array([each.nodes for each in evaluations], float)
    seconds = np.array([each.seconds for each in evaluations])
    return {
        **score(gains).metrics("gain_mbb"),
        "gain_millipot": 1000.0 * float(np.mean([each.gain for each in evaluations])),
        "nodes": float(nodes[:, 0].mean()),
        "default_nodes": float(nodes[:, 1].mean()),
        "solve_seconds": float(seconds[:, 0].mean()),
        "default_solve_seconds": float(seconds[:, 1].mean()),
    }
