"""Gymnasium's view of the queues: valid, equal to the simulator, and without a leak."""

import gzip
from decimal import Decimal
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from gymnasium.utils.env_checker import check_env
from pyarrow import parquet

import tenfold.envs.queues  # noqa: F401
from tenfold.envs.queues import sample_trace
from tenfold.envs.queues.scenarios import SAMPLE_TRACE, scenario
from tenfold.envs.queues.simulator import Simulator
from tenfold.envs.queues.trace import block_means, read_trace


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


def test_the_vector_environment_resets_with_the_step_after_the_end() -> None:
    batch = gym.make_vec(
        "tenfold/Queues-v0",
        num_envs=2,
        vectorization_mode="vector_entry_point",
        scenario="infeasible",
        horizon=3,
    )
    batch.reset(seed=5)
    ends = [batch.step(np.zeros(2, dtype=int))[3].all() for _ in range(3)]
    assert ends == [False, False, True]
    observations, rewards, terminations, truncations, _ = batch.step(np.zeros(2, dtype=int))
    np.testing.assert_array_equal(observations, 0.0)
    np.testing.assert_array_equal(rewards, 0.0)
    assert not terminations.any()
    assert not truncations.any()


def test_drift_is_the_growth_of_half_the_squares_and_arrivals_are_told_if_asked() -> None:
    environment = gym.make(
        "tenfold/Queues-v0", scenario="bursty", reward="drift", show_arrivals=True, horizon=50
    )
    environment.reset(seed=3)
    q, total = np.zeros(8), 0.0
    for slot in range(50):
        observation, reward, *_, info = environment.step(slot % 8)
        q[slot % 8] -= info["departures"]
        q += info["arrivals"]
        np.testing.assert_array_equal(observation[:8], q)
        total += reward
    assert total == pytest.approx(-(q**2).sum() / 2)
    assert q.sum() > 0


def test_with_departures_as_signal_the_offered_service_stays_hidden() -> None:
    shown = []
    for signal in ("service", "departures"):
        environment = gym.make("tenfold/Queues-v0", scenario="trace", signal=signal, horizon=9)
        environment.reset(seed=3)
        observation, _, _, _, info = environment.step(0)  # the queue is empty: nothing departs
        shown.append((observation[6], info["service"], info["departures"]))
    assert shown[0][0] == shown[0][1] > 0
    assert shown[0][2] == 0
    assert shown[1] == (0, 0, 0)


def test_episodes_differ_but_repeat_with_the_seed() -> None:
    def episodes() -> list[float]:
        environment = gym.make("tenfold/Queues-v0", scenario="stationary", horizon=200)
        backlogs = []
        for seed in (8, None, None):
            environment.reset(seed=seed)
            backlogs.append(sum(float(environment.step(0)[1]) for _ in range(200)))
        return backlogs

    first = episodes()
    assert len(set(first)) == 3
    assert episodes() == first


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"reward": "speed"}, "reward must be 'backlog' or 'drift', not 'speed'"),
        ({"signal": "rates"}, "signal must be 'service' or 'departures', not 'rates'"),
        ({"scenario": scenario("trace"), "load": 0.5}, "load can be changed for a named scenario"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        gym.make("tenfold/Queues-v0", **arguments)


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
    for number in range(2):
        service = np.random.default_rng(10 + number).integers(0, 5, (slots, K))
        service[np.arange(slots), actions] = np.arange(slots) % 4  # the same where it is served
        path = write_trace(tmp_path / f"{number}.csv", service, arrivals)
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
        (GOOD.replace("2,0,1,1\n", ""), ["before row 3", "slot 2 has no row for queue 0"]),
        (GOOD.replace("2,1,2,0\n", ""), ["after row 3", "slot 2 has no row for queue 1"]),
        (GOOD.replace("2,", "4,"), ["before row 3", "slot 2 has no row"]),
        (GOOD + "2,1,2,0\n", ["row 5", "slot 2, queue 1 is already in row 4"]),
        (GOOD.replace("1,1,0,3", "1,1,0,inf"), ["row 2", "service", "infinite"]),
        (GOOD.replace("1,1,0,3", "1,1,nan,3"), ["row 2", "arrivals", "NaN"]),
        (GOOD.replace("1,1,0,3", "1,0.5,0,3"), ["row 2", "queue 0.5", "whole number"]),
        (GOOD.replace("1,1,0,3", "1,-1,0,3"), ["row 2", "queue -1", "negative"]),
        (GOOD.replace("1,1,0,3", "1,1,-1,3"), ["arrivals", "-1", "negative"]),
        (GOOD.replace("1,1,0,3", "1,1,,3"), ["arrivals", "row 2"]),
        (GOOD.replace("1,1,0,3", "1,1,0,many"), ["service", "many"]),
        (GOOD.replace("1,1,0,3", "1,1,True,3"), ["row 2", "arrivals", "True", "not a number"]),
        (GOOD.replace("1,1,0,3", "1.5,1,0,3"), ["row 2", "slot 1.5", "whole number"]),
        (GOOD.replace("1,1,0,3", f"{2**63},1,0,3"), ["row 2", f"slot {2**63}", "too large"]),
        (GOOD.replace("1,", "9007199254740994.0,"), ["row 1", "slot", "without a point"]),
        (GOOD.replace("\n", ",9\n").replace("service,9", "service"), ["more fields", "header"]),
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


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("trace.parquet", b"no parquet", "cannot be read as a trace"),
        ("trace.csv.gz", b"no gzip", "cannot be read as a trace"),
        (
            "cut.csv.gz",
            gzip.compress(b"slot,queue\n" * 99, mtime=0)[:30],
            "cannot be read as a trace",
        ),
        ("trace.txt", b"slot", "ends with .csv, .csv.gz, .parquet"),
    ],
)
def test_files_that_are_no_traces_are_refused(
    tmp_path: Path, name: str, content: bytes, part: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=name.replace(".", r"\.")) as refusal:
        read_trace(path)
    assert part in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


def test_rows_of_a_trace_may_come_in_any_order(tmp_path: Path) -> None:
    header, *rows = GOOD.splitlines()
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "mixed.csv").write_text("\n".join([header, *rows[::-1]]) + "\n")
    good, mixed = (read_trace(tmp_path / name) for name in ("good.csv", "mixed.csv"))
    np.testing.assert_array_equal(good.arrivals, [[1, 0], [1, 2]])
    np.testing.assert_array_equal(good.arrivals, mixed.arrivals)
    np.testing.assert_array_equal(good.service, mixed.service)


def test_rates_of_a_trace_are_means_of_blocks() -> None:
    means = block_means(np.arange(250.0))
    np.testing.assert_array_equal(means, np.repeat([49.5, 149.5, 224.5], [100, 100, 50]))


def test_csv_and_parquet_give_the_same_scenario(tmp_path: Path) -> None:
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


def test_slots_beyond_the_exact_floats_stay_apart(tmp_path: Path) -> None:
    """Nanoseconds since 1970 and slots of one nanosecond: float64 would make 256 slots one."""
    first = 1_700_000_000_000_000_001
    rows = "".join(f"{first + slot},0,{slot},1\n" for slot in range(300))
    for name, text in (("gap", rows.replace(f"{first + 7},", f"{first + 300},")), ("whole", rows)):
        (tmp_path / f"{name}.csv").write_text("slot,queue,arrivals,service\n" + text)
    arrivals = read_trace(tmp_path / "whole.csv").arrivals[:, 0]
    np.testing.assert_array_equal(arrivals, np.arange(300))
    with pytest.raises(ValueError, match=f"slot {first + 7} has no row for queue 0"):
        read_trace(tmp_path / "gap.csv")


def columns_of(arrivals: Any, slots: Any = None) -> pa.Table:
    slots = pa.array([2**60 + 1, 2**60 + 1, 2**60 + 2, 2**60 + 2]) if slots is None else slots
    return pa.table(
        {"slot": slots, "queue": [0, 1, 0, 1], "arrivals": arrivals, "service": [2.0, 3, 1, 0]}
    )


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 0, 1, 2], pa.uint8()),
        pa.array([1, 0, 1, 2], pa.float32()),
        pa.array([1, 0, 1, 2]).dictionary_encode(),
        pa.array(["1", "0", "1.0", "2e0"]),
        pa.array(["1", "0", "1", "2"], pa.string_view()),
        pa.array(["1", "0", "1", "2"], pa.large_string()).dictionary_encode(),
        pa.array([Decimal("1.00"), Decimal("0"), Decimal("1"), Decimal("2")]),
    ],
    ids=lambda column: str(column.type),
)
def test_parquet_columns_of_many_types_are_read(tmp_path: Path, column: pa.Array) -> None:
    parquet.write_table(columns_of(column), tmp_path / "trace.parquet")
    np.testing.assert_array_equal(read_trace(tmp_path / "trace.parquet").arrivals, [[1, 0], [1, 2]])


def test_slots_may_be_a_dictionary_or_decimals_in_parquet(tmp_path: Path) -> None:
    large = [Decimal(2**60 + i) for i in (1, 1, 2, 2)]
    for slots in (pa.array(["7", "7", "8", "8"]).dictionary_encode(), pa.array(large)):
        parquet.write_table(columns_of([1, 0, 1, 2], slots), tmp_path / "trace.parquet")
        np.testing.assert_array_equal(
            read_trace(tmp_path / "trace.parquet").arrivals, [[1, 0], [1, 2]]
        )


@pytest.mark.parametrize(
    ("column", "part"),
    [
        (pa.array([True, False, True, True]), "'arrivals' holds bool"),
        (pa.array([[1], [0], [1], [2]]), "'arrivals' holds list"),
        (pa.array([1, None, 1, 2]), "row 2: arrivals nan is empty"),
        (pa.array([1, 2, 3, 4], pa.timestamp("ns")), "tenfold trace convert"),
    ],
)
def test_parquet_columns_that_hold_no_numbers_are_refused(
    tmp_path: Path, column: pa.Array, part: str
) -> None:
    parquet.write_table(columns_of(column), tmp_path / "trace.parquet")
    with pytest.raises(ValueError, match=r"trace\.parquet") as refusal:
        read_trace(tmp_path / "trace.parquet")
    assert part in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1
