"""The learning part of RL-CFR: the abstraction MDP, its features, the actor-critic, checkpoints."""

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
    on_board,
)
from tenfold.algorithms.rl_cfr.algorithm import played, summary
from tenfold.algorithms.rl_cfr.config import RLCFRConfig
from tenfold.algorithms.rl_cfr.epoch import (
    Evaluation,
    Hand,
    alone,
    evaluate,
    first_choice,
    play_hand,
)
from tenfold.algorithms.rl_cfr.learner import HELD_OUT, AbstractionLearner
from tenfold.algorithms.rl_cfr.learning.actor_critic import (
    REWARD_UNIT,
    Actor,
    ActorCritic,
    Batch,
    Critic,
)
from tenfold.algorithms.rl_cfr.learning.features import FEATURES, features
from tenfold.algorithms.rl_cfr.mdp import Decision, Solving, explore, frequencies, gain, solve
from tenfold.algorithms.rl_cfr.solver.solver import Solver
from tenfold.algorithms.rl_cfr.solver.subgame import Subgame
from tenfold.algorithms.rl_cfr.worlds.holdem import HoldemWorld, river_equities
from tenfold.envs.poker.cards import HANDS
from tenfold.envs.poker.isomorphism import HAND_MAPS, PERMUTATIONS
from tenfold.envs.poker.rules import CALL, Rules, start
from tenfold.envs.poker.sizes import Menu, abstraction_raises
from tenfold.envs.poker.spot import Spot, deals
from tenfold.envs.poker.starts import StreetStarts
from tenfold.envs.poker.strength import board_ranks

DEFAULT = Menu((0.5, 1.0, 2.0))
SOLVING = Solving(DEFAULT, max_raises=2, variant="dcfr", iterations=60)
WORLD = HoldemWorld(StreetStarts(hands=30))


def decision(seed: int) -> Decision:
    return first_choice(WORLD, SOLVING, np.random.default_rng(seed))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=4))
def test_an_abstraction_is_never_wider_than_its_vector_or_the_default(
    seed: int, a: list[float]
) -> None:
    sizes = SizeMap(len(a), -0.6, 0.1, 4.0, default=DEFAULT.fractions)
    state = decision(seed % 1_000).state
    raises = sizes.raises(state, a)
    assert len(raises) <= min(len(a) + 1, len(DEFAULT.raises(state)))
    wide = abstraction_raises(state, a, -0.6, 0.1, 4.0)
    assert raises[:-1] == wide[: len(raises) - 1]
    assert raises == sorted(set(raises)) == sizes.raises(state, a[::-1])
    assert all(state.is_legal(each) and each > CALL for each in raises)
    assert raises[-1] == state.rules.depth


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_rivers_are_legal_hands_of_the_full_game(seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts = StreetStarts()
    spot = starts.sample(rng)
    pot, stack = spot.rules.pot, spot.rules.depth
    assert 4 * 100 - 1 <= pot <= 60 * 100 + 1
    assert pot // 2 + stack <= 20_000
    assert deals(spot.ranges).sum(axis=1) == pytest.approx(deals(spot.ranges).sum() / 2)
    assert not spot.ranges[:, np.isin(HANDS, spot.board).any(axis=1)].any()
    state = starts.decision(spot, rng)
    assert state.street == 3
    assert not state.over


def test_the_three_kinds_of_river_decisions_are_equally_frequent() -> None:
    rng = np.random.default_rng(0)
    starts = StreetStarts()
    spot = starts.sample(rng)
    states = [starts.decision(spot, rng) for _ in range(3_000)]
    kinds = np.array(
        [[s.player == 0, s.player == 1 and not s.to_call, s.to_call > 0] for s in states]
    )
    np.testing.assert_allclose(kinds.mean(axis=0), 1 / 3, atol=0.03)


def test_river_equities_are_those_of_pairs_of_hands() -> None:
    rng = np.random.default_rng(3)
    spot = StreetStarts(hands=40).sample(rng)
    ranks = board_ranks(spot.board)
    equities = river_equities(spot.board, spot.ranges, 52)
    for player in (0, 1):
        for hand in np.flatnonzero(spot.ranges[player])[::5]:
            free = ~np.isin(HANDS, HANDS[hand]).any(axis=1) & (ranks >= 0)
            others = spot.ranges[1 - player] * free
            won = others @ (ranks[hand] > ranks) + 0.5 * (others @ (ranks[hand] == ranks))
            assert equities[player, hand] == pytest.approx(won / others.sum(), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_features_do_not_see_the_names_of_suits(seed: int) -> None:
    one = decision(seed)
    renaming = PERMUTATIONS[1 + 7 * seed]
    board = tuple(sorted(card // 4 * 4 + renaming[card % 4] for card in one.board))
    ranges = np.empty_like(one.ranges)
    ranges[:, HAND_MAPS[1 + 7 * seed]] = one.ranges
    other = Decision(board, one.state, ranges)
    assert other.board != one.board
    np.testing.assert_allclose(features(WORLD, one), features(WORLD, other), atol=1e-6)
    assert features(WORLD, one).shape == (FEATURES,)


def test_the_default_abstraction_gains_exactly_nothing() -> None:
    evaluation = evaluate(WORLD, decision(1), Fixed([0.5, 1.0, 2.0]), SOLVING)
    assert evaluation.gain == evaluation.gain_mbb == 0.0
    assert evaluation.nodes[0] == evaluation.nodes[1]


def test_the_gain_is_the_difference_of_two_converged_values() -> None:
    spot = Spot((0, 5, 22, 35, 50), Rules((4_000, 4_000), street=3, pot=1_000), np.zeros((2, 1326)))
    rng = np.random.default_rng(0)
    live = np.flatnonzero(~np.isin(HANDS, spot.board).any(axis=1))
    for player in (0, 1):
        spot.ranges[player, rng.choice(live, 30, replace=False)] = 1.0
    root = start(spot.rules).apply(700)
    at = Decision(spot.board, root, spot.ranges)
    many = replace(SOLVING, iterations=1_500)
    got = gain(at, solve(WORLD, at, [1_400, 4_000], many), solve(WORLD, at, None, many))
    bounds = []
    for raises in ([1_400, 4_000], DEFAULT.raises(root)):
        subgame = Subgame(
            spot, lambda s, r=raises: r if s == root else DEFAULT.raises(s), 2, root=root
        )
        solver = Solver(subgame.game, "cfr+")
        solver.iterate(1_500)
        best = solver.values().best
        bounds.append((subgame.game.total - best[0], best[1]))
    low, high = bounds[0][0] - bounds[1][1], bounds[0][1] - bounds[1][0]
    assert low - 1.0 <= got * root.pot <= high + 1.0
    assert high - low < 10.0


def test_more_raises_at_the_root_never_cost_the_mover_once_converged() -> None:
    many = replace(SOLVING, iterations=1_000)
    for seed in range(3):
        at = decision(seed)
        default = DEFAULT.raises(at.state)
        more = sorted({*default, *Menu((0.25, 0.75)).raises(at.state)})
        assert gain(at, solve(WORLD, at, more, many), solve(WORLD, at, None, many)) > -5e-4


def test_ranges_follow_the_solved_strategy_by_bayes() -> None:
    at = decision(4)
    solved = solve(WORLD, at, None, SOLVING)
    chances = frequencies(WORLD, at, solved)
    assert chances.sum() == pytest.approx(1.0)
    seen = 0
    for seed in range(20):
        after = explore(WORLD, at, solved, 0.0, np.random.default_rng(seed))
        if after is None:
            continue
        mover, other = at.state.player, 1 - at.state.player
        place = next(i for i, a in enumerate(solved.actions) if at.state.apply(a) == after.state)
        reach = at.ranges[mover] * solved.strategy[place]
        kept = after.ranges[mover] > 0
        np.testing.assert_allclose(after.ranges[mover][kept], (reach / reach.max())[kept])
        assert reach[~kept].max(initial=0.0) <= 1e-3 * at.ranges[mover].max()
        np.testing.assert_array_equal(after.ranges[other], at.ranges[other])
        seen += 1
    assert seen > 0


def test_a_hand_alternates_until_nobody_can_choose() -> None:
    hand = play_hand(WORLD, alone(Fixed([0.5]), 3), SOLVING, 0.5, np.random.default_rng(2))
    rows = hand.batch
    assert len(rows.rewards) == len(hand.own)
    assert rows.done.tolist() == [0.0] * (len(rows.done) - 1) + [1.0]
    np.testing.assert_array_equal(rows.features[1:], rows.following[:-1])


def test_the_critic_is_a_function_of_the_set_of_raises() -> None:
    torch.manual_seed(0)
    critic = Critic(4, 3, [8])
    s, a = torch.randn(5, 4), torch.rand(5, 3) * 2 - 1
    torch.testing.assert_close(critic(s, a), critic(s, a[:, [2, 0, 1]]))


def networks(gamma: float = 0.0) -> ActorCritic:
    return ActorCritic(2, 1, [32], 1e-2, 0.0, 9.0, gamma, 0.1, 2, 0.1, seed=0)


def test_the_actor_finds_the_best_abstraction_of_a_known_reward() -> None:
    nets, rng = networks(), np.random.default_rng(0)
    generator = torch.Generator().manual_seed(0)
    s = rng.uniform(-1, 1, (4_000, 2)).astype(np.float32)
    a = rng.uniform(-1, 1, (4_000, 1)).astype(np.float32)
    r = (REWARD_UNIT * -4.0 * (a[:, 0] - 0.7 * s[:, 0]) ** 2).astype(np.float32)
    for _ in range(500):
        rows = rng.integers(len(s), size=128)
        batch = Batch(s[rows], a[rows], r[rows], s[rows], np.ones(128, np.float32))
        nets.update(batch, generator)
    with torch.no_grad():
        error = nets.actor(torch.from_numpy(s))[:, 0].numpy() - 0.7 * s[:, 0]
    assert np.abs(error).mean() < 0.08


def test_discounted_values_are_the_geometric_series() -> None:
    nets, rng = networks(gamma=0.5), np.random.default_rng(0)
    generator = torch.Generator().manual_seed(0)
    s = np.ones((64, 2), np.float32)
    r = np.full(64, REWARD_UNIT, np.float32)
    for _ in range(400):
        a = rng.uniform(-1, 1, (64, 1)).astype(np.float32)
        nets.update(Batch(s, a, r, s, np.zeros(64, np.float32)), generator)
    with torch.no_grad():
        Q = nets.critics[0](torch.ones(1, 2), torch.zeros(1, 1))
    assert float(Q) == pytest.approx(1.0 / (1.0 - 0.5), abs=0.1)


def test_networks_continue_from_their_arrays_exactly() -> None:
    def batch(seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        s, following = rng.normal(size=(2, 16, 2)).astype(np.float32)
        a = rng.uniform(-1, 1, (16, 1)).astype(np.float32)
        r, done = rng.normal(size=(2, 16)).astype(np.float32)
        return Batch(s, a, r, following, (done > 0).astype(np.float32))

    def train(nets: ActorCritic, seeds: range) -> None:
        for seed in seeds:
            nets.update(batch(seed), torch.Generator().manual_seed(seed))

    whole, first, second = networks(0.9), networks(0.9), networks(0.9)
    train(whole, range(6))
    train(first, range(3))
    second.load(first.arrays())
    second.updates = first.updates
    train(second, range(3, 6))
    for name, value in whole.arrays().items():
        np.testing.assert_array_equal(value, second.arrays()[name], err_msg=name)


def small_config() -> RLCFRConfig:
    config = RLCFRConfig().environment("river_hunl", env_config={"hands": 20}).debugging(seed=3)
    config.hidden, config.batch_size, config.warmup = [8], 8, 2
    config.cfr_iterations, config.tries, config.episodes_per_iteration = 10, 1, 3
    return config


def epoch(config: RLCFRConfig, learner: AbstractionLearner) -> list[Hand]:
    return [hand for item in learner.epoch() for hand in played(config, config.world(), item)]


def test_learning_goes_on_from_a_plan_as_if_never_interrupted() -> None:
    config = small_config()
    whole, second = AbstractionLearner(config), AbstractionLearner(config)
    for _ in range(2):
        whole.learn(epoch(config, whole))
    plan = whole.get_plan()
    values = {key: value for key, value in plan.items() if not isinstance(value, np.ndarray)}
    second.set_plan({**plan, **json.loads(json.dumps(values))})
    for learner in (whole, second):
        learner.learn(epoch(config, learner))
    assert whole.networks.updates == second.networks.updates > 0
    for key, value in whole.get_plan().items():
        np.testing.assert_array_equal(value, second.get_plan()[key], err_msg=key)


def test_hands_depend_on_their_number_alone() -> None:
    config = small_config()
    learner = AbstractionLearner(config)
    together = epoch(config, learner)
    config.episodes_per_item = 1
    apart = epoch(config, learner)
    for one, other in zip(together, apart, strict=True):
        for column, same in zip(one.batch, other.batch, strict=True):
            np.testing.assert_array_equal(column, same)


def test_held_out_decisions_are_not_those_of_training() -> None:
    learner = AbstractionLearner(small_config())
    dealt = {seed for item in learner.epoch() for seed in item["seeds"]}
    held_out = {seed for item in learner.items(HELD_OUT, range(50)) for seed in item["seeds"]}
    assert not dealt & held_out


def test_the_buffer_keeps_the_newest_transitions() -> None:
    config = small_config()
    config.buffer_size = 4
    learner = AbstractionLearner(config)
    hands = epoch(config, learner)
    learner.learn(hands)
    rewards = np.concatenate([hand.batch.rewards for hand in hands])
    np.testing.assert_array_equal(learner.buffer.rewards, rewards[-4:])


def test_a_checkpoint_gives_the_abstraction_that_was_saved(tmp_path: Path) -> None:
    nets = ActorCritic(FEATURES, 2, [16], 1e-3, 0.0, 9.0, 0.0, 0.1, 2, 0.01, seed=5)
    sizes = SizeMap(2, -0.6, 0.1, 4.0, (0.5, 1.0))
    plan = {"policy": describe_learned("river_hunl", sizes, [16], hands=30)}
    (tmp_path / "plan.json").write_text(json.dumps({"plan": plan}))
    np.savez(tmp_path / "plan.npz", **nets.arrays())
    at = decision(0)
    wanted = sizes.raises(at.state, nets.actor.act(features(WORLD, at)).tolist())
    loaded = load_abstraction(tmp_path)
    assert loaded(at) == wanted == on_board(loaded, at.board)(at.state, at.ranges)


def test_a_folder_without_a_policy_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no checkpoint of rl_cfr"):
        load_abstraction(tmp_path)


def test_the_summary_weighs_gains_in_big_blinds() -> None:
    evaluations = [
        Evaluation(1e-3, 10.0, (20, 10), (0.2, 0.1)),
        Evaluation(0.0, 0.0, (10, 10), (0.1, 0.1)),
    ]
    logged = summary(evaluations)
    assert logged["gain_mbb"] == 5.0
    assert logged["gain_millipot"] == 0.5
    half = 12.706205 * np.std([10.0, 0.0], ddof=1) / np.sqrt(2)  # Student's t of one degree
    assert logged["gain_mbb_high"] == pytest.approx(5.0 + half, rel=1e-6)
    assert logged["gain_mbb_low"] == pytest.approx(5.0 - half, rel=1e-6)
    assert (logged["nodes"], logged["default_nodes"]) == (15.0, 10.0)
    alone = summary(evaluations[:1])
    assert alone["gain_mbb"] == 10.0
    assert not {"gain_mbb_low", "gain_mbb_high"} & alone.keys()
    assert np.isfinite(list(alone.values())).all()


def test_an_iteration_with_one_decision_has_no_interval(ray_session: None) -> None:
    config = RLCFRConfig().environment("leduc_nl", env_config={"stack": 3}).debugging(seed=0)
    config.policy, config.episodes_per_iteration, config.cfr_iterations = "fixed", 1, 5
    algorithm = config.build_algo()
    seen, decisions = set(), 0.0
    for _ in range(6):
        found = algorithm.train()
        alone, decisions = found["decisions"] == decisions + 1, found["decisions"]
        assert ("gain_mbb_low" in found) == ("gain_mbb_high" in found) == (not alone)
        assert np.isfinite(found["gain_mbb"])
        seen.add(alone)
    algorithm.stop()
    assert seen == {True, False}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy": "best"}, "'best' for 'policy': choose one of learned"),
        ({"m": 0}, "0 for 'm': give 1 or more, up to 100"),
        ({"threshold": 1.0}, "1.0 for 'threshold'"),
        ({"smallest": 5.0}, "4.0 for 'largest': give at least 'smallest', which is 5.0"),
        ({"epsilon": 1.5}, "1.5 for 'epsilon': give 0 or more, up to 1"),
        ({"cfr_variant": "cfr-"}, "'cfr-' for 'cfr_variant': choose one of cfr"),
        ({"default_sizes": [0.5, -1.0]}, "-1.0 for 'default_sizes.1': give a number above 0"),
        ({"hidden": [0]}, r"0 for 'hidden\.0'"),
        ({"env_config": {"hand": 3}}, "Unknown key of env_config 'hand': did you mean 'hands'"),
        ({"env_config": {"hands": 0}}, r"0 for 'env_config\.hands'"),
        ({"env_config": {"pots": [5.0, 2.0]}}, "for 'pots': give two numbers above 0, the least"),
    ],
)
def test_bad_values_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    config = RLCFRConfig().environment("river_hunl")
    for key, value in changes.items():
        setattr(config, key, value)
    with pytest.raises(ValueError, match=message):
        config.validate()


def test_an_actor_starts_with_spread_components() -> None:
    torch.manual_seed(0)
    a = Actor(FEATURES, 3, [16]).act(np.zeros(FEATURES, np.float32))
    assert a[0] < a[1] - 0.2 < a[2] - 0.4
