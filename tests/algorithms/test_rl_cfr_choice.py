"""Fixed rules by place, sets of a grid that critics compare, and trees with other sizes below.

Everything runs in this process, without Ray. Cost: about 2 s on one core.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold.algorithms.rl_cfr.abstraction import (
    Fixed,
    SizeMap,
    describe_learned,
    load_abstraction,
    make_actor,
)
from tenfold.algorithms.rl_cfr.config import RLCFRConfig
from tenfold.algorithms.rl_cfr.epoch import Exploration, explorer, first_choice
from tenfold.algorithms.rl_cfr.learning.actor_critic import (
    REWARD_UNIT,
    ActorCritic,
    Batch,
    BestOfGrid,
)
from tenfold.algorithms.rl_cfr.learning.features import FEATURES, features
from tenfold.algorithms.rl_cfr.mdp import Decision, Solving, bet_tree, solve
from tenfold.algorithms.rl_cfr.worlds.holdem import HoldemWorld
from tenfold.envs.poker.rules import CALL, Rules, start
from tenfold.envs.poker.sizes import Menu, component_fraction, fraction_component
from tenfold.envs.poker.starts import StreetStarts

TEN = (0.1, 0.2, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.0)
SOLVING = Solving(Menu((1.0,)), max_raises=2, variant="dcfr", iterations=200, below=Menu(TEN))
WORLD = HoldemWorld(StreetStarts(hands=12))
BOUNDS = -0.8, 0.1, 4.0


def decision(seed: int) -> Decision:
    return first_choice(WORLD, SOLVING, np.random.default_rng(seed))


def grid_map(m: int, grid: tuple[float, ...] = TEN) -> SizeMap:
    return SizeMap(m, *BOUNDS, default=(1.0,), narrow=False, grid=grid)


@settings(max_examples=60, deadline=None)
@given(st.floats(0.1, 4.0), st.floats(-1.0, 0.9))
def test_a_component_stands_for_the_fraction_that_it_was_made_of(f: float, t: float) -> None:
    component = fraction_component(f, t, 0.1, 4.0)
    assert t - 1e-9 <= component <= 1.0 + 1e-9
    back = component_fraction(max(component, t), t, 0.1, 4.0)
    assert back == pytest.approx(f, rel=1e-9)


@pytest.mark.parametrize("m", [1, 2])
def test_the_sets_of_a_grid_are_the_menus_of_its_sizes(m: int) -> None:
    sizes = grid_map(m)
    vectors = sizes.vectors()
    assert len(vectors) == (10 if m == 1 else 45)
    spread = [Fixed(TEN[:m]), Fixed(TEN[-m:])]
    for seed in range(4):
        at = decision(seed)
        for vector, fixed in zip(vectors[[0, -1]], spread, strict=True):
            got = sizes.raises(at.state, vector.tolist())
            np.testing.assert_allclose(got, fixed(at), atol=1.0)  # of a chip, by float32


def test_only_the_root_has_the_chosen_raises() -> None:
    root = start(Rules((4_000, 4_000), street=3, pot=1_000))
    at = Decision((), root, np.zeros((2, 1326)))
    wide, usual = bet_tree(at, [500], SOLVING), bet_tree(at, None, SOLVING)
    assert wide(root) == [500]
    assert usual(root) == Menu((1.0,)).raises(root)
    for below in (root.apply(CALL), root.apply(500)):
        assert wide(below) == usual(below) == Menu(TEN).raises(below)
    same = bet_tree(at, [500], replace(SOLVING, below=None))
    assert same(root.apply(CALL)) == Menu((1.0,)).raises(root.apply(CALL))
    assert wide(root.apply(500).apply(1_500)) == []


@pytest.mark.parametrize("seed", range(3))
def test_all_sizes_are_worth_as_much_as_any_one(seed: int) -> None:
    at, many = decision(seed), replace(SOLVING, iterations=800)
    ceiling = solve(WORLD, at, Fixed(TEN)(at), many).value
    for size in (0.2, 1.0, 3.0):
        assert solve(WORLD, at, Fixed([size])(at), many).value <= ceiling + 1e-3 * at.state.pot


def critics_of(seed: int, m: int = 1) -> dict[str, Any]:
    return ActorCritic(FEATURES, m, [8], 1e-3, 0.0, 9.0, 0.0, 0.1, 2, 0.1, seed).arrays()


def test_critics_find_the_higher_of_two_peaks() -> None:
    nets = ActorCritic(1, 1, [32], 1e-2, 0.0, 9.0, 0.0, 0.1, 2, 0.1, seed=0)
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    grid = np.linspace(-1, 1, 9, dtype=np.float32)[:, None]
    s = rng.choice([-1.0, 1.0], (4_000, 1)).astype(np.float32)
    a = rng.choice(grid[:, 0], (4_000, 1)).astype(np.float32)
    # Peaks at -0.5 and 0.5; the sign of s says which is higher.
    peaks = 4.0 * np.exp(-20 * (np.abs(a) - 0.5) ** 2) + s * np.sign(a)
    r = (REWARD_UNIT * peaks[:, 0]).astype(np.float32)
    for _ in range(400):
        rows = rng.integers(len(s), size=128)
        nets.update(Batch(s[rows], a[rows], r[rows], s[rows], np.ones(128, np.float32)), generator)
    chooser = BestOfGrid(nets.critics, grid)
    assert chooser.act(np.array([1.0], np.float32)).tolist() == [0.5]
    assert chooser.act(np.array([-1.0], np.float32)).tolist() == [-0.5]


def test_the_choice_is_a_graph_for_any_number_of_states() -> None:
    chooser = make_actor(grid_map(1), [8], critics_of(0)).eval()
    states = torch.randn(5, FEATURES, generator=torch.Generator().manual_seed(0))
    shapes = ({0: torch.export.Dim("states")},)
    graph = torch.export.export(chooser, (states[:2],), dynamic_shapes=shapes).module()
    each = [chooser.act(state) for state in states.numpy()]
    np.testing.assert_array_equal(graph(states).numpy(), np.stack(each))


def test_tries_are_other_sets_of_the_grid() -> None:
    sizes, at = grid_map(2), decision(0)
    actor = make_actor(sizes, [8], critics_of(0, m=2))
    s = features(WORLD, at)
    some = explorer(actor, sizes, Exploration(7, 0.3, 0.5))(at, s, np.random.default_rng(0))
    everything = explorer(actor, sizes, Exploration(99, 0.3, 0.5))(at, s, np.random.default_rng(0))
    for proposals, count in ((some, 8), (everything, 45)):
        vectors = np.array([vector for vector, _ in proposals])
        assert len(np.unique(vectors, axis=0)) == len(vectors) == count
        np.testing.assert_array_equal(vectors[0], actor.act(s))
        assert all(raises == sizes.raises(at.state, a.tolist()) for a, raises in proposals)


def test_a_checkpoint_gives_what_the_critics_choose(tmp_path: Path) -> None:
    sizes, arrays = grid_map(1), critics_of(3)
    plan = {"policy": describe_learned("river_hunl", sizes, [8], hands=12)}
    (tmp_path / "plan.json").write_text(json.dumps({"plan": plan}))
    np.savez(tmp_path / "plan.npz", **arrays)
    loaded, chooser = load_abstraction(tmp_path), make_actor(sizes, [8], arrays)
    for seed in range(3):
        at = decision(seed)
        wanted = sizes.raises(at.state, chooser.act(features(WORLD, at)).tolist())
        assert loaded(at) == wanted


def test_a_checkpoint_from_before_there_were_grids_loads(tmp_path: Path) -> None:
    sizes = SizeMap(2, -0.6, 0.1, 4.0, (0.5, 1.0))
    policy = describe_learned("river_hunl", sizes, [8], hands=12)
    old = {key: value for key, value in policy["sizes"].items() if key not in ("narrow", "grid")}
    plan = {"policy": {**policy, "sizes": old}}
    (tmp_path / "plan.json").write_text(json.dumps({"plan": plan}))
    np.savez(tmp_path / "plan.npz", **critics_of(3, m=2))
    at, arrays = decision(0), critics_of(3, m=2)
    vector = make_actor(sizes, [8], arrays).act(features(WORLD, at))
    assert load_abstraction(tmp_path)(at) == sizes.raises(at.state, vector.tolist())


def test_the_fixed_policy_goes_by_place() -> None:
    config = RLCFRConfig().environment("river_hunl")
    config.sizes, config.check_sizes, config.bet_sizes = [0.5], [1.0], [2.0]
    fixed, root = config.fixed(), start(Rules((40_000, 40_000), street=3, pot=1_000))
    for state, size in ((root, 0.5), (root.apply(CALL), 1.0), (root.apply(700), 2.0)):
        at = Decision((), state, np.zeros((2, 1326)))
        assert fixed(at) == Fixed([size])(at)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": [0.5, 1.0], "m": 3}, r"for 'grid': it has 0 sets of m = 3 sizes"),
        ({"grid": [0.5, 5.0], "m": 1}, r"5.0 for 'grid': give sizes from 'smallest' \(0.1\)"),
        ({"opponent_sizes": [0.0]}, "0.0 for 'opponent_sizes.0': give a number above 0"),
        ({"choice": "best"}, "'best' for 'choice': choose one of actor, critics"),
    ],
)
def test_bad_choices_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    config = RLCFRConfig().environment("river_hunl")
    for key, value in {"choice": "critics", **changes}.items():
        setattr(config, key, value)
    with pytest.raises(ValueError, match=message):
        config.validate()


def test_decisions_are_at_the_places_of_the_law() -> None:
    starts, rng = StreetStarts(hands=12, places=("check", "bet")), np.random.default_rng(0)
    spot = starts.sample(rng)
    states = [starts.decision(spot, rng) for _ in range(400)]
    assert all(state.player == 1 for state in states)
    assert np.mean([state.to_call > 0 for state in states]) == pytest.approx(0.5, abs=0.08)
    with pytest.raises(ValueError, match=r"for 'places': give one or more of first, check, bet"):
        StreetStarts(places=("last",))
