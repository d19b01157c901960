"""A sampling epoch: hands played by solving, with rewards of the abstractions that were tried."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.abstraction import Abstraction, SizeMap
from tenfold.algorithms.rl_cfr.learning.actor_critic import Batch, Chooser
from tenfold.algorithms.rl_cfr.learning.features import features
from tenfold.algorithms.rl_cfr.learning.value_network import (
    ValueSamples,
    starts_street,
    value_sample,
)
from tenfold.algorithms.rl_cfr.mdp import (
    Decision,
    Solved,
    Solving,
    World,
    explore,
    follow_choices,
    gain,
    has_choice,
    solve,
    solve_all,
)
from tenfold.algorithms.rl_cfr.solver.together import CPU
from tenfold.algorithms.rl_cfr.worlds.holdem import situation

Proposal = tuple[NDArray[np.float32], list[int]]
"""An abstraction as a vector (m,), and the raises that it stands for."""

Proposer = Callable[[Decision, NDArray[np.float32], np.random.Generator], list[Proposal]]
"""From a decision and its features to the abstractions to solve it with, the policy's own first."""


@dataclass(frozen=True)
class Exploration:
    """How abstractions are tried.

    Attributes:
        tries: Abstractions that are solved at a decision beside the policy's own.
        sigma: Standard deviation of the noise on the policy's vector in a try.
        uniform: Share of tries that are uniform vectors instead.
    """

    tries: int
    sigma: float
    uniform: float


@dataclass(frozen=True)
class Evaluation:
    """One abstraction on one decision beside the default.

    Attributes:
        gain: Of the player to act, in pots.
        gain_mbb: The same in thousandths of a big blind a hand.
        nodes: Size of the tree and of the default's.
        seconds: Processor time of both solves, the building of trees included.
    """

    gain: float
    gain_mbb: float
    nodes: tuple[int, int]
    seconds: tuple[float, float]


def explorer(actor: Chooser, sizes: SizeMap, exploration: Exploration) -> Proposer:
    """The actor's own abstraction, then tries around it or anywhere.

    Where the critics choose of a grid, tries are other sets of the grid, each at most once.
    """
    if sizes.grid:
        return _grid_explorer(actor, sizes, exploration.tries)

    def propose(
        decision: Decision, s: NDArray[np.float32], rng: np.random.Generator
    ) -> list[Proposal]:
        own = actor.act(s)
        tries = own + exploration.sigma * rng.standard_normal((exploration.tries, sizes.m))
        anywhere = rng.random(exploration.tries) < exploration.uniform
        tries[anywhere] = rng.uniform(-1.0, 1.0, (int(anywhere.sum()), sizes.m))
        vectors = [own, *tries.clip(-1.0, 1.0).astype(np.float32)]
        return [(a, sizes.raises(decision.state, a.tolist())) for a in vectors]

    return propose


def _grid_explorer(actor: Chooser, sizes: SizeMap, tries: int) -> Proposer:
    grid = sizes.vectors()

    def propose(
        decision: Decision, s: NDArray[np.float32], rng: np.random.Generator
    ) -> list[Proposal]:
        own = actor.act(s)
        others = rng.permutation(grid[(grid != own).any(axis=1)])
        vectors = [own, *others[:tries]]
        return [(a, sizes.raises(decision.state, a.tolist())) for a in vectors]

    return propose


def alone(abstraction: Abstraction, m: int) -> Proposer:
    """Only what a given abstraction says; its vector is 0."""
    return lambda decision, s, rng: [(np.zeros(m, np.float32), abstraction(decision))]


@dataclass(frozen=True)
class Hand:
    """What one hand left behind.

    Attributes:
        batch: A row for each decision and abstraction tried.
        own: The evaluations of the first proposal of each decision.
        values: Street and sample of each solved start of a street that the world values.
    """

    batch: Batch
    own: list[Evaluation]
    values: list[tuple[int, ValueSamples]]


def play_hand(
    world: World,
    propose: Proposer,
    solving: Solving,
    epsilon: float,
    rng: np.random.Generator,
    device: str = CPU,
) -> Hand:
    """One episode: at every decision with a choice solve the default and all proposals.

    Every proposal gets a next state of its own, sampled from its own strategies; the hand goes on
    from that of the first.
    """
    rows: list[tuple[NDArray[np.float32], NDArray[np.float32], float, NDArray[np.float32], bool]]
    rows, own, values = [], [], []
    decision = first_choice(world, solving, rng)
    s = features(world, decision)
    following: Decision | None = decision
    while following is not None:
        decision = following
        proposals = propose(decision, s, rng)
        choices = [None, *(raises for _, raises in proposals)]
        (default, spent), *tried = _solve_timed(world, decision, choices, solving, device)
        if decision.state.street in world.valued and starts_street(decision.state):
            values.append((decision.state.street, _value_sample(world, decision, default)))
        states: list[tuple[Decision | None, NDArray[np.float32]]] = []
        for (a, _), (solved, seconds) in zip(proposals, tried, strict=True):
            r = gain(decision, solved, default)
            step = explore(world, decision, solved, epsilon, rng)
            after = follow_choices(world, step, solving, epsilon, rng)
            s_after = np.zeros_like(s) if after is None else features(world, after)
            rows.append((s, a, r, s_after, after is None))
            if not states:
                own.append(_evaluation(decision, solved, default, (seconds, spent)))
            states.append((after, s_after))
        following, s = states[0]
    columns = (np.array(column, dtype=np.float32) for column in zip(*rows, strict=True))
    return Hand(Batch(*columns), own, values)


def _solve_timed(
    world: World,
    decision: Decision,
    choices: Sequence[Sequence[int] | None],
    solving: Solving,
    device: str,
) -> list[tuple[Solved, float]]:
    """Solve a decision with each of some raises, and the processor time of each.

    On a GPU they are solved together, and each has its share of the time.
    """
    found: list[tuple[Solved, float]] = []
    for part in [[choice] for choice in choices] if device == CPU else [choices]:
        begin = time.process_time()
        solved = solve_all(world, [(decision, raises) for raises in part], solving, device)
        seconds = (time.process_time() - begin) / len(part)
        found += [(each, seconds) for each in solved]
    return found


def solve_situations(
    world: World,
    street: int,
    solving: Solving,
    rngs: Sequence[np.random.Generator],
    device: str = CPU,
) -> list[ValueSamples]:
    """Random starts of a street, solved with the default abstraction, as value samples."""
    decisions = [situation(street, world.deck, rng) for rng in rngs]
    solved = solve_all(world, [(each, None) for each in decisions], solving, device)
    return [_value_sample(world, *each) for each in zip(decisions, solved, strict=True)]


def solve_situation(
    world: World, street: int, solving: Solving, rng: np.random.Generator
) -> ValueSamples:
    """One of `solve_situations`."""
    return solve_situations(world, street, solving, [rng])[0]


def _value_sample(world: World, decision: Decision, solved: Solved) -> ValueSamples:
    return value_sample(decision, solved.hands, world.equities(decision), world.deck)


def first_choice(world: World, solving: Solving, rng: np.random.Generator) -> Decision:
    """A root at which someone can raise."""
    while True:
        decision = world.root(rng)
        if has_choice(decision, solving):
            return decision


def evaluate(
    world: World, decision: Decision, abstraction: Abstraction, solving: Solving
) -> Evaluation:
    """Solve a decision with an abstraction and with the default one."""
    raises = abstraction(decision)
    world.equities(decision)  # or the default, which is solved first, would pay for the board
    begin = time.process_time()
    default = solve(world, decision, None, solving)
    middle = time.process_time()
    chosen = solve(world, decision, raises, solving)
    seconds = time.process_time() - middle, middle - begin
    return _evaluation(decision, chosen, default, seconds)


def _evaluation(
    decision: Decision, chosen: Solved, default: Solved, seconds: tuple[float, float]
) -> Evaluation:
    r = gain(decision, chosen, default)
    blinds = decision.state.pot / decision.state.rules.big_blind
    return Evaluation(r, 1000.0 * r * blinds, (chosen.nodes, default.nodes), seconds)
