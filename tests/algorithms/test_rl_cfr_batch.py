"""The solver of many games at once: it is the compiled one, node by node.

That its iterations ask nothing of the CPU is in `test_devices.py`, by `fake_card.py`. Cost: about
2 s on one core.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tenfold.algorithms.rl_cfr import mdp
from tenfold.algorithms.rl_cfr.abstraction import Fixed
from tenfold.algorithms.rl_cfr.epoch import Proposal, play_hand, solve_situations
from tenfold.algorithms.rl_cfr.mdp import Decision, Solving
from tenfold.algorithms.rl_cfr.solver import batch, batch_terminals, together
from tenfold.algorithms.rl_cfr.solver.batch import BatchSolver
from tenfold.algorithms.rl_cfr.solver.game import Game
from tenfold.algorithms.rl_cfr.solver.solver import Solver
from tenfold.algorithms.rl_cfr.solver.subgame import Subgame
from tenfold.algorithms.rl_cfr.solver.together import Solution, solve_games
from tenfold.algorithms.rl_cfr.solver.tree import DECISION
from tenfold.algorithms.rl_cfr.solver.variants import VARIANTS
from tenfold.algorithms.rl_cfr.worlds.holdem import HoldemWorld
from tenfold.envs.poker.sizes import Menu, parse_menu
from tenfold.envs.poker.spot import random_spot, read_spot
from tenfold.envs.poker.starts import StreetStarts


def rivers(count: int, seed: int) -> list[Game]:
    """Random rivers of one shape, with hands and weights of their own.

    Seed 1 has no early ties: a hand that wins the pot whatever it does has regrets that are 0 but
    for rounding, and its strategy, on which the other's values hang, is then any.
    """
    rng, games = np.random.default_rng(seed), []
    for _ in range(count):
        spot = random_spot(rng, 1_000, 3_000, 100)
        spot = replace(spot, ranges=spot.ranges * rng.random((2, 1326)))
        subgame = Subgame(spot, parse_menu("0.5,allin").raises, 2, dtype=np.float64)
        games.append(subgame.game)
    return games


def turn() -> Game:
    """All rivers of a turn one by one, and all-ins that end by a matrix."""
    spot = read_spot("AsKs7s2d", 100, "150", ["AA,KQs,88", "KK,QJs,76s"], 10)
    raises = parse_menu("allin").raises
    return Subgame(spot, raises, 1, isomorphism=False, dtype=np.float64).game


def agree(games: list[Game], variant: str, iterations: int) -> None:
    many = BatchSolver(games, variant, "cpu", torch.float64)
    many.iterate(iterations)
    for place, (game, found) in enumerate(zip(games, many.values(), strict=True)):
        alone = Solver(game, variant)
        alone.iterate(iterations)
        expected = alone.values()
        for node in np.flatnonzero(game.tree.kind == DECISION).tolist():
            ours = many.strategy(node)[place, :, : game.tree.hands]
            np.testing.assert_allclose(ours, alone.strategy(node), atol=1e-5)
        np.testing.assert_allclose(found.hands, expected.hands, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found.answers, expected.answers, rtol=1e-5, atol=1e-5)
        assert found.exploitability == pytest.approx(expected.exploitability, rel=1e-5)


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_strategies_of_all_decisions_are_the_compiled_solvers(variant: str) -> None:
    agree(rivers(2, seed=1), variant, 9)


@pytest.mark.parametrize("sums", [True, False], ids=["sums", "products"])
def test_turns_with_all_their_rivers_agree(sums: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_terminals, "adds_up", lambda device: sums)
    agree([turn()], "dcfr", 6)


def test_products_are_sums_in_the_order_of_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    games = rivers(2, seed=1)
    sums = BatchSolver(games, "dcfr", "cpu", torch.float64)
    monkeypatch.setattr(batch_terminals, "adds_up", lambda device: False)
    products = BatchSolver(games, "dcfr", "cpu", torch.float64)
    for solver in (sums, products):
        solver.iterate(4)
    np.testing.assert_allclose(sums.sums, products.sums, atol=1e-9)
    for one, two in zip(sums.values(), products.values(), strict=True):
        np.testing.assert_allclose(one.hands, two.hands, rtol=1e-9, atol=1e-9)


def test_games_of_one_shape_go_to_a_card_together(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []

    class OnCpu(BatchSolver):
        """There is no card here."""

        def __init__(self, games: list[Game], variant: str, device: str, dtype: Any) -> None:
            assert device == "cuda:0"
            taken.append(len(games))
            super().__init__(games, variant, "cpu", dtype)

    spot = read_spot("AsKs7s2d3c", 100, "150", ["AA,KQs,88", "KK,QJs,76s"], 10)
    own = Subgame(spot, parse_menu("1,allin").raises, 1, own_hands=True, dtype=np.float64)
    first, second = rivers(2, seed=1)
    games = [first, own.game, turn(), second, first]
    alone = solve_games(games, "dcfr", 3)
    monkeypatch.setattr(together, "BatchSolver", OnCpu)
    monkeypatch.setattr(together, "WORTH", 3 * len(first.tree.kind) * first.tree.hands)
    for one, two in zip(alone, solve_games(games, "dcfr", 3, "cuda:0"), strict=True):
        np.testing.assert_allclose(two.strategy, one.strategy, atol=1e-5)
        np.testing.assert_allclose(two.values.hands, one.values.hands, rtol=1e-5, atol=1e-5)
    assert taken == [3]  # the turn is not worth it, and no batch takes hands of one player alone


def test_hands_and_situations_are_played_on_a_card_as_without_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world, raises = HoldemWorld(StreetStarts(hands=10)), [Fixed([0.5]), Fixed([2.0])]
    solving = Solving(Menu((1.0,)), 1, "dcfr", 5)
    asked: list[str] = []

    def solve(games: list[Game], variant: str, iterations: int, device: str) -> list[Solution]:
        asked.extend([device] * len(games))
        return solve_games(games, variant, iterations)

    def propose(decision: Decision, s: Any, rng: np.random.Generator) -> list[Proposal]:
        return [(np.zeros(1, np.float32), each(decision)) for each in raises]

    def play(device: str) -> list[Any]:
        rng = np.random.default_rng(3)
        hand = play_hand(world, propose, solving, 0.5, rng, device)
        samples = solve_situations(world, 3, solving, [rng, rng], device)
        return [*hand.batch, *samples[0], *samples[1]]

    plain = play("cpu")
    monkeypatch.setattr(mdp, "solve_games", solve)
    carded = play("cuda:0")
    assert all(np.array_equal(*each) for each in zip(plain, carded, strict=True))
    assert asked[:3] == ["cuda:0"] * 3
    assert asked[-2:] == ["cuda:0"] * 2


def test_weights_are_brought_over_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    games = [turn()]
    whole, parts = (BatchSolver(games, "dcfr", "cpu", torch.float64) for _ in range(2))
    whole.iterate(7)
    monkeypatch.setattr(batch, "AT_ONCE", 3)
    parts.iterate(5)
    parts.iterate(2)
    assert torch.equal(parts.sums, whole.sums)
    assert torch.equal(parts.regrets, whole.regrets)


def test_on_a_card_one_iteration_is_captured_and_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    games = [turn()]
    plain, captured = (BatchSolver(games, "dcfr", "cpu", torch.float64) for _ in range(2))
    captured._device = torch.device("cuda")
    tensors = [each for each in vars(captured).values() if isinstance(each, torch.Tensor)]
    tensors += captured._reaches
    seen: list[str] = []

    class Graph:
        def replay(self) -> None:
            seen.append("replay")
            captured._iteration()

    @contextmanager
    def graph(recorded: Graph) -> Iterator[None]:
        """A capture changes nothing."""
        seen.append("capture")
        kept = [each.clone() for each in tensors]
        yield
        for each, old in zip(tensors, kept, strict=True):
            each.copy_(old)

    class Stream:
        def wait_stream(self, other: "Stream") -> None:
            pass

    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", graph)
    for solver in (plain, captured):
        solver.iterate(3)
        solver.iterate(2)
    assert seen == ["capture", *["replay"] * 4]
    assert torch.equal(captured.sums, plain.sums)
