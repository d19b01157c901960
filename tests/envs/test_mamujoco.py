"""The half cheetah and its shifts; some four seconds, most of it Gymnasium-Robotics' import."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tenfold.envs.mamujoco import CheetahEnvironments, make_cheetah
from tenfold.envs.offline.collect import collect
from tenfold.envs.offline.names import CHEETAH

STEPS = 40
ACTIONS = np.random.default_rng(0).uniform(-1, 1, (STEPS, 1, 2, 3)).astype(np.float32)


def rewards(envs: CheetahEnvironments) -> np.ndarray:
    """Those of one episode, (steps, agents)."""
    envs.reset(seed=3)
    return np.concatenate([envs.step(action)[1] for action in ACTIONS])


def model(envs: CheetahEnvironments) -> Any:
    return envs._model(envs._envs[0])


def test_the_environments_are_gymnasium_robotics_environment_in_float32() -> None:
    envs, env = CheetahEnvironments(1, 0, episode_steps=STEPS), make_cheetah()
    start = envs.reset(seed=9)
    seen, _ = env.reset(seed=int(np.random.default_rng(9).integers(2**31)))
    assert start.dtype == np.float32
    assert envs.observation_sizes == (11, 11)
    for t, action in enumerate(ACTIONS):
        np.testing.assert_array_equal(start[0], np.float32([seen[a] for a in envs.agents]))
        seen, reward, *_ = env.step(dict(zip(envs.agents, action[0], strict=True)))
        start, mine, over = envs.step(action)
        assert mine[0].tolist() == [reward[agent] for agent in envs.agents]
        assert over == (t == STEPS - 1)


def test_making_one_says_nothing_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """MuJoCo would write MUJOCO_LOG.TXT into the current folder."""
    monkeypatch.chdir(tmp_path)
    CheetahEnvironments(1, 0)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_shift_changes_the_model_by_its_ratios_and_is_taken_back() -> None:
    nominal = CheetahEnvironments(1, 0)
    envs = CheetahEnvironments(1, 0, power=1.8, density=500.0, friction=0.4)
    np.testing.assert_allclose(model(envs).actuator_gear, 2.0 * model(nominal).actuator_gear)
    np.testing.assert_allclose(model(envs).body_mass, 0.5 * model(nominal).body_mass)
    np.testing.assert_allclose(model(envs).body_inertia, 0.5 * model(nominal).body_inertia)
    ratio = model(envs).geom_friction / model(nominal).geom_friction
    np.testing.assert_allclose(ratio, np.tile([0.5, 1.0, 1.0], (len(ratio), 1)))
    plain = rewards(nominal)
    assert np.abs(rewards(envs) - plain).max() > 0.01
    envs.restore()
    for name in ("actuator_gear", "body_mass", "body_inertia", "geom_friction"):
        np.testing.assert_array_equal(getattr(model(envs), name), getattr(model(nominal), name))


@pytest.mark.parametrize(
    ("shift", "power", "density", "friction"),
    [
        ("random", [(0.7, 1.1)], [(750, 1250)], [(0.5, 1.1)]),
        (
            "extreme",
            [(0.5, 0.7), (1.1, 1.3)],
            [(500, 750), (1250, 1500)],
            [(0.2, 0.5), (1.1, 1.4)],
        ),
    ],
    ids=["random", "extreme"],
)
def test_shifts_are_drawn_from_packers_ranges(
    shift: str,
    power: list[tuple[float, float]],
    density: list[tuple[float, float]],
    friction: list[tuple[float, float]],
) -> None:
    envs = CheetahEnvironments(1, 0, shift=shift)
    drawn = [envs._draw() for _ in range(200)]
    for name, ranges in (("power", power), ("density", density), ("friction", friction)):
        values = np.array([each[name] for each in drawn])
        inside = np.array([(low <= values) & (values <= high) for low, high in ranges])
        assert inside.any(axis=0).all()
        np.testing.assert_allclose(inside.mean(axis=1), 1 / len(ranges), atol=0.12)


def test_equal_seeds_give_equal_shifts_and_trajectories() -> None:
    one, two = (CheetahEnvironments(1, 4, shift="extreme") for _ in range(2))
    np.testing.assert_array_equal(rewards(one), rewards(two))
    np.testing.assert_array_equal(model(one).body_mass, model(two).body_mass)
    masses = []
    for _ in range(3):
        one.reset()
        masses.append(float(model(one).body_mass.sum()))
    assert len(set(masses)) == 3


def test_levels_of_the_cheetah_are_recorded_in_their_order() -> None:
    """Short episodes: the policies have left random far behind after 200 steps."""
    fields = {"episode_steps": 200}
    random, medium = (
        collect(CHEETAH, level, 800, 0, fields=fields) for level in ("random", "medium")
    )
    assert random.agents == medium.agents == ("agent_0", "agent_1")
    assert random.obs["agent_1"].shape == (800, 11)
    assert medium.returns().min() > random.returns().max() + 50
    assert medium.card.anchors == random.card.anchors
    assert medium.card.anchors is not None
    assert medium.card.anchors.expert > 100 > 0 > medium.card.anchors.random
    assert medium.card.parameters == fields


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean 'friction'"):
        CheetahEnvironments(1, 0, frictoin=1.0)
    with pytest.raises(ValueError, match="choose one of none, random, extreme"):
        CheetahEnvironments(1, 0, shift="hard")
