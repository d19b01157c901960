"""The particle worlds beside mpe2 and closed forms; some six seconds, most of it compilation."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pettingzoo.test import parallel_api_test, parallel_seed_test

from tenfold.envs.mpe.controllers import Controller, Skill
from tenfold.envs.mpe.names import WORLD_NAMES
from tenfold.envs.mpe.parallel_env import ParticleEnv
from tenfold.envs.mpe.physics import CONTACT_FORCE, CONTACT_MARGIN, DAMPING, DT
from tenfold.envs.mpe.picture import GONE, LANDMARK, LEARNED, PIXELS, REACH
from tenfold.envs.mpe.prey import VIGOUR, flee
from tenfold.envs.mpe.worlds import ParticleWorlds

PREY = "agent_0"


def peer(task: str) -> Any:
    import mpe2.simple_spread_v3
    import mpe2.simple_tag_v3
    import mpe2.simple_world_comm_v3

    if task == "spread":
        return mpe2.simple_spread_v3.parallel_env(continuous_actions=True)
    if task == "tag":
        return mpe2.simple_tag_v3.parallel_env(continuous_actions=True)
    return mpe2.simple_world_comm_v3.parallel_env(
        num_good=1, num_adversaries=3, continuous_actions=True
    )


def as_mpe2(force: np.ndarray, size: int) -> np.ndarray:
    """(ux, uy) as mpe2 takes it: pushes to the left, right, down and up; silence."""
    action = np.zeros(size, np.float32)
    action[1:5] = [max(-force[0], 0), max(force[0], 0), max(-force[1], 0), max(force[1], 0)]
    return action


@pytest.mark.parametrize("task", ["spread", "tag", "world"])
def test_worlds_are_those_of_mpe2_to_the_last_bit(task: str) -> None:
    """20 episodes: starts of equal seeds, observations, rewards, ends. The prey moves in both."""
    theirs = peer(task)
    ours = ParticleWorlds(task, 1, 0, physics_order="mpe2", reward="mpe2")
    rng = np.random.default_rng(0)
    kind, size = ours.scenario.kind, ours.observation_sizes[0]
    for episode in range(20):
        seen, _ = theirs.reset(seed=episode)
        mine, over = ours.reset(seed=episode), False
        names = list(theirs.agents)
        while not over:
            for j, name in enumerate(names[:3]):
                np.testing.assert_array_equal(seen[name][:size], mine[0, j])
            forces = rng.uniform(-1, 1, (3, 2)).astype(np.float32)
            if task != "spread":
                prey = np.zeros((1, 2), np.float32)
                flee(prey, seen[PREY][None].copy(), kind, VIGOUR[kind] / 4.0)
                forces = np.concatenate([forces, prey])
            spaces = [theirs.action_space(name).shape[0] for name in names]
            told = {
                name: as_mpe2(force, size)
                for name, force, size in zip(names, forces, spaces, strict=True)
            }
            seen, rewards, _, truncations, _ = theirs.step(told)
            mine, mine_rewards, over = ours.step(forces[None, :3])
            assert [rewards[name] for name in names[:3]] == mine_rewards[0].tolist()
            assert over == truncations[names[0]]


def test_random_actions_in_spread_score_what_the_published_card_says() -> None:
    worlds = ParticleWorlds("spread", 1_000, seed=7)
    rng, total, over = np.random.default_rng(7), np.zeros((1_000, 3)), False
    while not over:
        _, rewards, over = worlds.step(rng.uniform(-1, 1, (1_000, 3, 2)))
        total += rewards
    assert total.mean() == pytest.approx(159.0, abs=3.0)
    assert total.mean(axis=1).std() == pytest.approx(60.5, abs=4.0)


@pytest.mark.parametrize("order", ["legacy", "mpe2"])
def test_a_free_agent_moves_as_the_recurrence_says(order: str) -> None:
    """v' = 0.75 v + 0.5 u, and x' = x + 0.1 v' (legacy) or x + 0.1 v (mpe2); terminal speed 2 u."""
    worlds = ParticleWorlds("spread", 1, 0, physics_order=order, episode_steps=200)
    worlds.places[0, :3] = [[0, 0], [50, 0], [0, 50]]  # too far away to touch
    velocity, place, actions = 0.0, 0.0, np.zeros((1, 3, 2))
    actions[0, 0, 0] = 0.8
    for _ in range(100):
        before, velocity = velocity, (1 - DAMPING) * velocity + 5 * 0.8 * DT
        place += DT * (velocity if order == "legacy" else before)
        worlds.step(actions)
        assert worlds.velocities[0, 0, 0] == pytest.approx(velocity, rel=1e-6)
        assert worlds.places[0, 0, 0] == pytest.approx(place, rel=1e-6)
    assert velocity == pytest.approx(1.6)


def test_accelerations_count_twice_in_the_fork_and_once_in_mpe2() -> None:
    for order, force in (("legacy", 9.0), ("mpe2", 3.0)):
        worlds = ParticleWorlds("tag", 1, 0, physics_order=order)
        worlds.places[0] = 10.0 * np.arange(6)[:, None]
        worlds.step(np.full((1, 3, 2), [0.1, 0.0]))
        np.testing.assert_allclose(worlds.velocities[0, :3, 0], 0.1 * force * DT, rtol=1e-6)


def test_agents_that_overlap_are_pushed_apart_by_the_contact_force() -> None:
    worlds = ParticleWorlds("spread", 1, 0)
    worlds.places[0, :3] = [[0, 0], [0.2, 0], [50, 50]]
    worlds.step(np.zeros((1, 3, 2)))
    deep = np.logaddexp(0, (0.3 - 0.2) / CONTACT_MARGIN) * CONTACT_MARGIN
    np.testing.assert_allclose(worlds.velocities[0, 1], [CONTACT_FORCE * deep * DT, 0])
    np.testing.assert_allclose(worlds.velocities[0, 0], [-CONTACT_FORCE * deep * DT, 0])


def at_rest(task: str, places: list[list[float]]) -> np.ndarray:
    """Rewards of a world with its first entities there and the rest far away.

    In mpe2's order a step moves nothing that has no velocity yet.
    """
    worlds = ParticleWorlds(task, 1, 0, physics_order="mpe2", reward="omar")
    worlds.places[0] = 30.0 + 3.0 * np.arange(worlds.places.shape[1])[:, None]
    worlds.places[0, : len(places)] = places
    _, rewards, _ = worlds.step(np.zeros((1, 3, 2)))
    return rewards[0]


def test_rewards_are_those_of_omars_fork() -> None:
    """By hand: two agents that collide near a landmark, and the prey touched by two of three."""
    places = [[0.0, 0.0], [0.2, 0.0], [9.0, 0.0], [0.0, 0.05], [0.2, 0.5], [9.0, 4.0]]
    rewards = at_rest("spread", places)
    common = 10.0 + 1 / 0.5 + 1 / 4.0
    np.testing.assert_allclose(rewards, [common - 5, common - 5, common])
    for task, touch in (("tag", 10.0), ("world", 5.0)):
        rewards = at_rest(task, [[0.1, 0.0], [0.0, 0.1], [3.0, 0.0], [0.0, 0.0]])
        np.testing.assert_allclose(rewards, 2 * touch - 0.1 * 3.2)


@settings(max_examples=20, deadline=None)
@given(
    task=st.sampled_from(WORLD_NAMES),
    order=st.sampled_from(["legacy", "mpe2"]),
    seed=st.integers(0, 2**31),
    turn=st.permutations([0, 1, 2]),
)
def test_agents_are_interchangeable(task: str, order: str, seed: int, turn: list[int]) -> None:
    """Two worlds with the same agents in another order: the same trajectories, in that order."""
    worlds = ParticleWorlds(task, 2, seed, physics_order=order)
    worlds.places[1] = worlds.places[0]
    worlds.places[1, :3] = worlds.places[0, turn]
    worlds.look()
    rng = np.random.default_rng(seed)
    for _ in range(5):
        actions = np.repeat(rng.uniform(-1, 1, (1, 3, 2)), 2, axis=0)
        actions[1] = actions[0, turn]
        _, rewards, _ = worlds.step(actions)
        np.testing.assert_allclose(worlds.places[1, :3], worlds.places[0, turn], atol=1e-5)
        np.testing.assert_allclose(rewards[1], rewards[0, turn], rtol=1e-3, atol=1e-3)


def testspeed_limits_are_drawn_and_kept() -> None:
    worlds = ParticleWorlds("tag", 50, 3, max_speed=[0.5, 1.0])
    same_starts = ParticleWorlds("tag", 50, 3)
    np.testing.assert_array_equal(worlds.places, same_starts.places)
    limits = worlds.speed_limits.copy()
    assert limits[:, :3].min() >= 0.5
    assert limits[:, :3].max() <= 1.0
    assert len(np.unique(limits[:, :3])) == 150
    assert (limits[:, 3] == 1.3).all()
    for _ in range(25):
        worlds.step(np.ones((50, 3, 2)))
        speeds = np.linalg.norm(worlds.velocities, axis=-1)
        assert (speeds <= limits + 1e-12).all()
    worlds.reset()
    assert (worlds.speed_limits[:, :3] != limits[:, :3]).all()


def test_landmarks_that_are_removed_stay_visible_and_give_nothing() -> None:
    whole = ParticleWorlds("six_landmarks", 3, 0)
    fewer = ParticleWorlds("six_landmarks", 3, 0, unavailable=[0, 1, 2, 4, 5])
    np.testing.assert_array_equal(whole.look(), fewer.look())
    for worlds in (whole, fewer):
        worlds.places[:, :3] = [[0.95, 0.0], [0.0, 3.0], [0.0, -3.0]]
    still = np.zeros((3, 3, 2))
    gaps = np.linalg.norm(whole.places[:, :3, None] - whole.places[:, None, 3:], axis=-1)
    only = np.minimum(1 / gaps[..., 3], 10.0).sum(axis=1)
    every = np.minimum(1 / gaps.min(axis=-1), 10.0).sum(axis=1)
    np.testing.assert_allclose(fewer.step(still)[1][:, 0], only)
    np.testing.assert_allclose(whole.step(still)[1][:, 0], every)
    drawn = ParticleWorlds("six_landmarks", 200, 0, unavailable=3)
    assert (drawn.available.sum(axis=1) == 3).all()
    assert (drawn.available.mean(axis=0) < 0.7).all()


@pytest.mark.parametrize(
    ("task", "fields", "sentence"),
    [
        ("spred", {}, "No particle world 'spred'"),
        ("tag", {"unavailable": 2}, "only six_landmarks can lose landmarks"),
        ("tag", {"max_speed": [1.0, 0.5]}, "give [low, high]"),
        ("tag", {"max_speed": -1.0}, "max_speed"),
        ("spread", {"physics_order": "openai"}, "choose one of legacy, mpe2"),
        ("spread", {"speed": 1.0}, "did you mean"),
        ("six_landmarks", {"unavailable": [0, 1, 2, 3, 4, 5]}, "leave one landmark"),
    ],
    ids=["world", "landmarks", "order", "speed", "physics", "key", "all-gone"],
)
def test_what_does_not_fit_is_refused(task: str, fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as refused:
        ParticleWorlds(task, 1, 0, **fields)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("task", WORLD_NAMES)
def test_pettingzoos_tests_pass(task: str) -> None:
    parallel_api_test(ParticleEnv(task), num_cycles=50)
    parallel_seed_test(lambda: ParticleEnv(task), num_cycles=50)


def test_the_parallel_environment_is_one_of_the_worlds() -> None:
    env, worlds = ParticleEnv("world"), ParticleWorlds("world", 1, 5)
    seen, _ = env.reset(seed=5)
    rng, over = np.random.default_rng(0), False
    while not over:
        actions = rng.uniform(-1, 1, (3, 2)).astype(np.float32)
        seen, rewards, _, truncated, _ = env.step(dict(zip(worlds.agents, actions, strict=True)))
        mine, mine_rewards, over = worlds.step(actions[None])
        np.testing.assert_array_equal(np.stack(list(seen.values())), mine[0])
        assert list(rewards.values()) == mine_rewards[0].tolist()
        assert list(truncated.values()) == [over] * 3
    assert env.agents == []


def test_a_picture_shows_agents_where_they_are() -> None:
    env = ParticleEnv("six_landmarks", render_mode="rgb_array", unavailable=[1])
    env.reset(seed=0)
    env._worlds.places[0, :3] = [[-1, 0.5], [-1, 0.0], [0.5, -1]]
    picture = env.render()
    assert picture is not None
    assert picture.shape == (PIXELS, PIXELS, 3)

    def colour(x: float, y: float) -> tuple[int, ...]:
        scale = PIXELS / (2 * REACH)
        return tuple(picture[round((REACH - y) * scale), round((REACH + x) * scale)])

    assert colour(-1, 0.5) == colour(0.5, -1) == LEARNED
    assert colour(-1, 0.0) == LEARNED  # on top of a landmark
    assert colour(1, 0) == LANDMARK
    assert colour(0.5, np.sin(np.pi / 3)) == GONE
    assert colour(1.5, 1.5) == (255, 255, 255)


def test_the_assignment_is_the_best_one() -> None:
    """Every agent, from what it sees alone, heads for its landmark of the least total distance."""
    from scipy.optimize import linear_sum_assignment

    worlds = ParticleWorlds("spread", 30, 0)
    seen = worlds.reset(seed=1)
    target = Controller("spread", Skill("assigned", gain=1.0), seed=0).target(seen)
    for w, places in enumerate(worlds.places):
        gaps = np.linalg.norm(places[:3, None] - places[None, 3:], axis=-1)
        _, chosen = linear_sum_assignment(gaps)
        np.testing.assert_allclose(target[w], places[3:][chosen] - places[:3], atol=1e-5)
