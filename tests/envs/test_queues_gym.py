"""Gymnasium's view of the queue worlds: valid, equal to the simulator, and without a leak."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
from gymnasium.utils.env_checker import check_env

import tenfold.envs.queues  # noqa: F401
from tenfold.envs.queues import sample_trace
from tenfold.envs.queues.scenarios import SAMPLE_TRACE, scenario
from tenfold.envs.queues.simulator import Simulator
from tenfold.envs.queues.trace import read_trace


@pytest.mark.parametrize("name", ["switching", "heavy_tail", "adversarial", "trace"])
def test_gymnasium_accepts_the_environment(name: str) -> None:
    environment = gym.make("tenfold/Queues-v0", scenario=name, horizon=50)
    check_env(environment.unwrapped, skip_render_check=True)


def test_single_steps_are_the_simulator_slot_by_slot() -> None:
    actions = np.random.default_rng(0).integers(4, size=60)
    single = gym.make("tenfold/Queues-v0", scenario="switching", period=10, horizon=60, replica=2)
    single.reset(seed=7)
    simulator = Simulator(scenario("switching", period=10), 4, seed=7)
    for action in actions:
        observation, reward, terminated, truncated, _ = single.step(action)
        simulator.step(np.full(4, action))
        np.testing.assert_array_equal(observation[:4], simulator.q[2].astype(np.float32))
        assert reward == pytest.approx(-simulator.q[2].sum())
        assert not terminated
    assert truncated


def test_the_vector_environment_is_its_replicas() -> None:
    batch = gym.make_vec(
        "tenfold/Queues-v0",
        num_envs=3,
        vectorization_mode="vector_entry_point",
        scenario="bursty",
        horizon=40,
    )
    observations, _ = batch.reset(seed=5)
    singles = [
        gym.make("tenfold/Queues-v0", scenario="bursty", horizon=40, replica=i) for i in range(3)
    ]
    for i, single in enumerate(singles):
        np.testing.assert_array_equal(single.reset(seed=5)[0], observations[i])
    rng = np.random.default_rng(1)
    for _ in range(40):
        actions = rng.integers(8, size=3)
        observations, rewards, _, truncations, _ = batch.step(actions)
        for i, single in enumerate(singles):
            observation, reward, _, truncated, _ = single.step(actions[i])
            np.testing.assert_array_equal(observation, observations[i])
            assert (reward, truncated) == (rewards[i], truncations[i])


def write_trace(path: Path, service: np.ndarray, arrivals: np.ndarray) -> str:
    slots, K = service.shape
    slot, queue = np.divmod(np.arange(slots * K), K)
    table = pd.DataFrame({"slot": slot + 1, "queue": queue})
    table["arrivals"], table["service"] = arrivals.ravel(), service.ravel()
    table.to_csv(path, index=False)
    return str(path)


def test_services_of_queues_that_are_not_served_leak_nowhere(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    slots, K = 50, 3
    arrivals = rng.integers(0, 3, (slots, K))
    actions = rng.integers(K, size=slots)
    seen: list[Any] = []
    for world in range(2):
        service = np.random.default_rng(10 + world).integers(0, 5, (slots, K))
        service[np.arange(slots), actions] = np.arange(slots) % 4  # the same where it is served
        path = write_trace(tmp_path / f"{world}.csv", service, arrivals)
        environment = gym.make("tenfold/Queues-v0", scenario=path, horizon=slots)
        start, start_info = environment.reset(seed=0)
        steps = [environment.step(action) for action in actions]
        seen.append((start, start_info, steps))
    np.testing.assert_array_equal(seen[0][0], seen[1][0])
    assert seen[0][1] == seen[1][1]
    for first, second in zip(seen[0][2], seen[1][2], strict=True):
        np.testing.assert_array_equal(first[0], second[0])
        assert first[1:] == second[1:]
        assert set(first[4]) <= {"departures", "service"}


def test_the_shipped_trace_is_what_its_generator_makes() -> None:
    made = sample_trace.generate()
    shipped = read_trace(SAMPLE_TRACE)
    K = shipped.service.shape[1]
    np.testing.assert_array_equal(made["service"].to_numpy().reshape(-1, K), shipped.service)
    np.testing.assert_array_equal(made["arrivals"].to_numpy().reshape(-1, K), shipped.arrivals)


GOOD = "slot,queue,arrivals,service\n1,0,1,2\n1,1,0,3\n2,0,1,1\n2,1,2,0\n"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (GOOD.replace("2,0,1,1\n", ""), ["2"]),
        (GOOD + "2,1,2,0\n", ["2"]),
        (GOOD.replace("1,1,0,3", "1,1,-1,3"), ["arrivals", "-1", "negative"]),
        (GOOD.replace("1,1,0,3", "1,1,,3"), ["arrivals", "row 2"]),
        (GOOD.replace("1,1,0,3", "1,1,0,many"), ["service", "many"]),
        (GOOD.replace("service", "speed"), ["service"]),
        ("slot,queue,arrivals,service\n", ["no row"]),
        ("", ["trace.csv"]),
    ],
)
def test_broken_traces_are_refused_by_file_and_row(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"trace\.csv") as refusal:
        scenario(str(path))
    for part in parts:
        assert part in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_csv_and_parquet_give_the_same_world(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text(GOOD)
    pd.read_csv(tmp_path / "trace.csv").to_parquet(tmp_path / "trace.parquet")
    queues = []
    for name in ("trace.csv", "trace.parquet"):
        simulator = Simulator(scenario(str(tmp_path / name)), 1)
        for action in (0, 1, 0, 1):
            simulator.step(np.array([action]))
        queues.append(simulator.q.copy())
    np.testing.assert_array_equal(queues[0], queues[1])
    # Slots 1, 2, then again 1, 2: queue 0 gets 2 of 0, 1 later 2 of 1; queue 1 gets 0 of 0.
    np.testing.assert_array_equal(queues[0], [[2.0, 4.0]])
