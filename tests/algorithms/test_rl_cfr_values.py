"""Trees that end before the river: soft buckets, networks at leaves, play over streets."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tenfold.algorithms.rl_cfr.algorithm import sampling_epoch, work_off
from tenfold.algorithms.rl_cfr.config import RLCFRConfig
from tenfold.algorithms.rl_cfr.epoch import alone, play_hand, solve_situation
from tenfold.algorithms.rl_cfr.learner import AbstractionLearner
from tenfold.algorithms.rl_cfr.learning.buckets import PERCENTILES, bucket_count, buckets
from tenfold.algorithms.rl_cfr.learning.value_learner import ValueLearner, make_networks
from tenfold.algorithms.rl_cfr.learning.value_network import (
    ValueNetwork,
    ValueSamples,
    context,
    starts_street,
    value_sample,
)
from tenfold.algorithms.rl_cfr.mdp import Decision, Solving, bet_tree, solve
from tenfold.algorithms.rl_cfr.solver import subgame
from tenfold.algorithms.rl_cfr.solver.solve import solve as solve_subgame
from tenfold.algorithms.rl_cfr.solver.solver import Solver
from tenfold.algorithms.rl_cfr.solver.subgame import Subgame, all_in_signs
from tenfold.algorithms.rl_cfr.worlds import leaves
from tenfold.algorithms.rl_cfr.worlds.catalogue import make_world
from tenfold.algorithms.rl_cfr.worlds.holdem import RIVER, TURN, HoldemWorld, situation
from tenfold.algorithms.rl_cfr.worlds.leaves import network_leaves
from tenfold.envs.poker import potential as potential_module
from tenfold.envs.poker.cards import HANDS, hand_index, live_hands, parse_cards
from tenfold.envs.poker.isomorphism import CARD_MAPS, move_hands
from tenfold.envs.poker.potential import potential
from tenfold.envs.poker.sizes import Menu
from tenfold.envs.poker.spot import Spot, dealable, deals, read_spot
from tenfold.envs.poker.starts import ShortFlopStarts, StreetStarts
from tenfold.envs.poker.strength import board_ranks

MENU = Menu((0.5, 1.0))
SOLVING = Solving(MENU, max_raises=2, variant="dcfr", iterations=40)


def networks(*streets: int) -> dict[int, ValueNetwork]:
    """Networks that say something, though they have learned nothing."""
    made = make_networks(streets, [8], seed=1)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for network in made.values():
            last = network.net[-1]
            last.weight.copy_(0.3 * torch.randn(last.weight.shape, generator=generator))
    return made


def turn(nets: Mapping[int, ValueNetwork]) -> Subgame:
    spot = read_spot("AsKs7s2d", 100, "150", ["AA,KQs,88:0.5", "KK,QJs,76s:0.3"], 10)
    return Subgame(spot, MENU.raises, 2, leaf=network_leaves(nets), dtype=np.float64)


def reaches(limited: Subgame, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    shape = len(limited.leaf_states), 2, len(limited.hands)
    return limited.spot.ranges[:, limited.hands] * rng.random(shape)


@pytest.mark.parametrize("text", ["AsKd7h2c3d", "AsKd7h2c"])
def test_a_hand_is_wholly_in_the_buckets_around_its_strength(text: str) -> None:
    board = tuple(parse_cards(text))
    K = buckets(board, 52).matrix(bucket_count(len(board) - 2))
    live = live_hands(board)
    np.testing.assert_allclose(K.sum(axis=1), live, atol=1e-6)
    assert (K >= 0).all()
    if len(board) == 5:
        ranks = board_ranks(board)
        for hand in np.flatnonzero(live)[::97]:
            others = ranks[live]
            u = ((others < ranks[hand]).mean() + (others <= ranks[hand]).mean()) / 2
            assert K[hand] @ PERCENTILES == pytest.approx(u, abs=1e-6)


def test_potential_is_the_law_of_percentiles_over_all_rivers() -> None:
    board = tuple(parse_cards("Ah9h4c2d"))
    flush_draw, pair = hand_index(*parse_cards("QhJh")), hand_index(*parse_cards("9c8s"))
    found = potential(board, 52)
    for hand in (flush_draw, pair):
        seen = []
        for card in range(52):
            if card in board or card in HANDS[hand]:
                continue
            ranks = board_ranks((*board, card))
            others = ranks[ranks >= 0]
            seen.append((np.mean(others < ranks[hand]) + np.mean(others <= ranks[hand])) / 2)
        assert len(seen) == 46
        assert found.mean[hand] == pytest.approx(np.mean(seen), abs=1e-5)
        assert found.spread[hand] == pytest.approx(np.std(seen), abs=1e-4)
    assert found.spread[flush_draw] > 2 * found.spread[pair]


def test_short_decks_hold_no_other_cards() -> None:
    board, deck = (0, 5, 11, 14), 24
    signs = all_in_signs(board, deck=deck)
    inside = HANDS[:, 0] < deck
    assert not signs[~inside].any()
    hero, villain = hand_index(1, 2), hand_index(21, 22)
    rivers = [c for c in range(deck) if c not in (*board, 1, 2, 21, 22)]
    ranks = [board_ranks((*board, card), deck) for card in rivers]
    assert all((each[~inside] == -1).all() for each in ranks)
    wins = [np.sign(each[hero] - each[villain]) for each in ranks]
    assert signs[hero, villain] == pytest.approx(np.mean(wins), abs=1e-6)


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_values_of_leaves_add_up_to_the_pot(seed: int) -> None:
    limited = turn(networks(RIVER))
    r = reaches(limited, seed)
    values = limited.game.leaf(r)  # type: ignore[misc]
    mass = np.stack([deals(limited.spread(each))[0].sum() for each in r])
    won = (r * values).sum(axis=(1, 2))
    np.testing.assert_allclose(won, limited.spot.rules.pot * mass, rtol=1e-4)


def test_values_of_leaves_are_those_of_the_network_river_by_river() -> None:
    nets = networks(RIVER)
    limited = turn(nets)
    r = reaches(limited, 3)
    values = limited.game.leaf(r)  # type: ignore[misc]
    leaf, hands, board = 2, limited.hands, limited.spot.board
    state = limited.leaf_states[leaf]
    want = np.zeros((2, 1326))
    for card in set(range(52)) - set(board):
        ranges = limited.spread(r[leaf]) * live_hands([card])
        K = buckets((*board, card), 52).matrix(bucket_count(RIVER))
        mass = dealable(ranges)[::-1] * live_hands([card])
        dealt = ranges * mass
        shares = (ranges / ranges.sum(axis=1, keepdims=True)) @ K
        inputs = shares, dealt / dealt.sum(axis=1, keepdims=True) @ K, np.array(context(state))
        with torch.no_grad():
            o = nets[RIVER](*(torch.tensor(each[None], dtype=torch.float32) for each in inputs))
        strength = board_ranks((*board, card))
        beats = np.sign(strength[:, None] - strength)
        for i in (0, 1):
            for hand in hands:
                free = ~np.isin(HANDS, HANDS[hand]).any(axis=1)
                down = ranges[1 - i] @ (free * (0.5 + 0.5 * beats[hand]))
                added = mass[i, hand] * (K[hand] @ o[0, i].numpy())
                if live_hands([card])[hand]:
                    want[i, hand] += state.pot * (down + added) - state.level * mass[i, hand]
    np.testing.assert_allclose(values[leaf], want[:, hands] / 44, rtol=1e-4, atol=1e-4)


def test_an_untrained_network_checks_down() -> None:
    limited = turn(make_networks([RIVER], [8]))
    r = reaches(limited, 0)
    signs, hands = limited.signs(), HANDS[limited.hands]
    free = ~(hands[:, None, :, None] == hands[None, :, None, :]).any(axis=(2, 3))
    for leaf, state in enumerate(limited.leaf_states):
        payoff = (state.pot / 2 - state.level) * free + state.pot / 2 * signs
        for i in (0, 1):
            got = limited.game.leaf(r)[leaf, i]  # type: ignore[misc]
            np.testing.assert_allclose(got, payoff @ r[leaf, 1 - i], rtol=1e-5)


def test_a_sample_holds_what_betting_adds() -> None:
    rng = np.random.default_rng(0)
    decision = situation(RIVER, 52, rng)
    world = HoldemWorld(StreetStarts())
    equities, mass = world.equities(decision), dealable(decision.ranges)[::-1]
    K = buckets(decision.board, 52).matrix(bucket_count(RIVER))
    o = 0.3 * rng.standard_normal((2, bucket_count(RIVER)))
    state = decision.state
    values = mass * (state.pot * (equities + o @ K.T) - state.level)
    sample = value_sample(decision, values, equities, 52)
    known = sample.weights > 1e-3
    np.testing.assert_allclose(sample.targets[known], o[None][known], atol=0.1)
    down = value_sample(decision, values - mass * state.pot * (o @ K.T), equities, 52)
    np.testing.assert_allclose(down.targets, 0.0, atol=1e-5)
    for column in (sample.shares, sample.dealt, sample.weights):
        np.testing.assert_allclose(column.sum(axis=2), 1.0, atol=1e-5)


@pytest.mark.parametrize("street", [TURN, RIVER])
def test_the_network_does_not_see_the_names_of_suits(street: int) -> None:
    p, world = 11, HoldemWorld(StreetStarts(street=TURN), networks(RIVER))
    one = situation(street, 52, np.random.default_rng(1))
    board = tuple(int(CARD_MAPS[p, card]) for card in one.board)
    other = Decision(board, one.state, np.stack([move_hands(each, p) for each in one.ranges]))
    few = replace(SOLVING, iterations=5)
    samples = [
        value_sample(each, solve(world, each, None, few).hands, world.equities(each), 52)
        for each in (one, other)
    ]
    for name, first, second in zip(ValueSamples._fields, *samples, strict=True):
        np.testing.assert_allclose(first, second, atol=2e-3, err_msg=name)


def learner(hidden: int = 32) -> ValueLearner:
    return ValueLearner([RIVER], [hidden], 3e-3, 64, 1_000, 5.0, seed=0)


def off(network: ValueNetwork, samples: list[ValueSamples]) -> float:
    batch = ValueSamples(*(np.concatenate(column) for column in zip(*samples, strict=True)))
    with torch.no_grad():
        return float(network.loss(batch))


def test_solved_rivers_teach_more_than_checking_down() -> None:
    world = HoldemWorld(StreetStarts())
    samples = [
        solve_situation(world, RIVER, SOLVING, np.random.default_rng((5, number)))
        for number in range(150)
    ]
    values = learner()
    untrained = off(values.networks[RIVER], samples[100:])
    values.learn(RIVER, samples[:100])
    assert off(values.networks[RIVER], samples[100:]) < 0.6 * untrained


def test_leaves_after_nobody_bets_are_the_rivers_value() -> None:
    """With a network that knows that nobody bets on the river, a turn is solved exactly."""
    spot = read_spot("AsKs7s2d", 100, "150", ["AA,KQs,88", "KK,QJs,76s"], 10)

    def raises(state: Any) -> list[int]:
        return MENU.raises(state) if state.street == TURN and state.raised < 1 else []

    leaf = network_leaves(make_networks([RIVER], [8]))
    limited = solve_subgame(Subgame(spot, raises, leaf=leaf, dtype=np.float64), "cfr+", 60)
    whole = solve_subgame(Subgame(spot, raises, dtype=np.float64), "cfr+", 60)
    np.testing.assert_allclose(limited.value, whole.value, atol=1e-4)
    np.testing.assert_allclose(limited.strategy, whole.strategy, atol=1e-4)


def test_a_world_that_enumerates_rivers_solves_turns_to_the_end_of_the_hand() -> None:
    world = make_world("turn_hunl", hands=6, enumerate_rivers=True)
    assert world.valued == ()
    decision, few = world.root(np.random.default_rng(1)), replace(SOLVING, iterations=20)
    state, raises = decision.state, bet_tree(decision, None, few)
    spot = Spot(decision.board, state.rules, decision.ranges)
    whole = Subgame(spot, raises, root=state, isomorphism=False)
    solver = Solver(whole.game, few.variant)
    solver.iterate(20)
    solved = solve(world, decision, None, few)
    assert solved.value == pytest.approx(solver.values().players[state.player], rel=1e-4)
    limited = make_world("turn_hunl", networks(RIVER), hands=6)
    assert solved.nodes > 20 * solve(limited, decision, None, few).nodes


def config(task: str, **env_config: Any) -> RLCFRConfig:
    made = RLCFRConfig().environment(task, env_config=env_config).debugging(seed=3)
    made.hidden, made.value_hidden = [8], [8]
    made.batch_size, made.value_batch_size, made.warmup, made.value_warmup = 8, 8, 2, 5
    made.cfr_iterations, made.tries, made.episodes_per_iteration = 4, 1, 2
    made.validate()
    return made


def epoch(made: RLCFRConfig, learning: AbstractionLearner) -> dict[str, float]:
    return sampling_epoch(learning, lambda items: [work_off(made, item) for item in items])


def test_self_play_over_streets_goes_on_as_if_never_interrupted() -> None:
    made = config("turn_hunl", hands=8)
    whole, second = AbstractionLearner(made), AbstractionLearner(made)
    for _ in range(2):
        epoch(made, whole)
    plan = whole.get_plan()
    plain = {key: value for key, value in plan.items() if not isinstance(value, np.ndarray)}
    second.set_plan({**plan, **json.loads(json.dumps(plain))})
    assert epoch(made, whole)["value_loss"] == epoch(made, second)["value_loss"]
    assert whole.values.seen[RIVER] >= 5
    assert whole.networks.updates > 0
    for key, value in whole.get_plan().items():
        np.testing.assert_array_equal(value, second.get_plan()[key], err_msg=key)


def test_values_are_learned_from_the_river_backwards() -> None:
    made = config("flop_short", deck=12)
    learning, order = AbstractionLearner(made), []
    while items := learning.situations():
        order.append(items[0]["street"])
        samples = [sample for item in items for sample in work_off(made, item)]
        learning.values.learn(items[0]["street"], samples)  # type: ignore[arg-type]
    assert order == [RIVER, TURN]
    assert learning.values.seen == {TURN: 5, RIVER: 5}


def test_a_hand_is_played_through_the_streets_of_a_short_deck() -> None:
    world = HoldemWorld(ShortFlopStarts(deck=12), networks(TURN, RIVER))
    few = replace(SOLVING, iterations=8)
    streets = set()
    for seed in range(6):
        hand = play_hand(world, alone(lambda d: [], 1), few, 0.3, np.random.default_rng(seed))
        streets |= {street for street, _ in hand.values}
        assert all(np.isfinite(column).all() for _, sample in hand.values for column in sample)
    assert streets == {TURN, RIVER}


def test_cards_are_dealt_by_the_ranges_from_the_deck() -> None:
    world = HoldemWorld(ShortFlopStarts(deck=12))
    rng = np.random.default_rng(0)
    root = world.root(rng)
    state = root.state.apply(0).apply(0)
    assert starts_street(state)
    assert not starts_street(root.state.apply(0))
    ranges = np.zeros((2, 1326))
    free = [card for card in range(12) if card not in root.board]
    ranges[0, hand_index(free[0], free[1])] = ranges[1, hand_index(free[2], free[3])] = 1.0
    cards = []
    for _ in range(200):
        after = world.deal(Decision(root.board, state, ranges), rng)
        assert after.board[:3] == root.board
        cards.append(after.board[3])
    assert set(cards) == set(free[4:])
    counts = np.bincount(cards)[free[4:]]
    assert counts.min() > 20


def test_the_full_game_is_solved_from_before_the_flop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaves, "FLOPS", 2)
    monkeypatch.setattr(subgame, "SAMPLED", 4)
    monkeypatch.setattr(potential_module, "RUN_OUTS", 3)
    for cache in (leaves.next_boards, subgame.all_in_signs, potential_module._potential):
        cache.cache_clear()
    world = make_world("hunl", networks(1, TURN, RIVER))
    root = world.root(np.random.default_rng(0))
    assert root.board == ()
    solved = solve(world, root, None, replace(SOLVING, iterations=2))
    shares = (deals(root.ranges) / deals(root.ranges).sum() * 2).sum(axis=1)
    np.testing.assert_allclose(shares, 1.0)
    np.testing.assert_allclose(solved.strategy.sum(axis=0), 1.0, atol=1e-5)
    total = (root.ranges * solved.hands).sum() / deals(root.ranges)[0].sum()
    assert total == pytest.approx(0.0, abs=5.0)  # chips; the stacks are 20,000
    for cache in (leaves.next_boards, subgame.all_in_signs, potential_module._potential):
        cache.cache_clear()


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        ("turn_hunl", {"value_hidden": [0]}, r"0 for 'value_hidden\.0'"),
        ("turn_hunl", {"value_warmup": -1}, "-1 for 'value_warmup'"),
        ("turn_hunl", {"reward_unit": 0.0}, "0.0 for 'reward_unit'"),
        ("turn_hunl", {"env_config": {"street": 3}}, "Unknown key of env_config 'street'"),
        (
            "turn_hunl",
            {"env_config": {"enumerate_rivers": 1}},
            r"1 for 'env_config\.enumerate_rivers'",
        ),
        ("flop_short", {"env_config": {"enumerate_rivers": True}}, "Unknown key of env_config"),
        (
            "flop_short",
            {"env_config": {"deck": 22}},
            r"22 for 'env_config\.deck': choose one of 12",
        ),
        ("flop_short", {"env_config": {"stack": 2}}, r"2 for 'env_config\.stack'"),
        ("hunl", {"env_config": {"stack": 2}}, "Unknown key of env_config 'stack'"),
        ("leduc_nl", {"env_config": {"hands": 2}}, "'hands': choose one of stack"),
    ],
)
def test_bad_values_are_refused_by_name(task: str, changes: dict[str, Any], message: str) -> None:
    made = RLCFRConfig().environment(task)
    for key, value in changes.items():
        setattr(made, key, value)
    with pytest.raises(ValueError, match=message):
        made.validate()
