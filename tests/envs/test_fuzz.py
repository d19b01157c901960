"""Whatever a user's file or text holds: it is taken, or refused in one sentence.

Traces, logs, scenarios, poker's notation, POMDPs, MDPs, data sets and texts; 5,300 cases in 13
processor seconds.
"""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from fuzzing import VALUES, bounded_memory, cases, ends_well
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from tenfold.envs.offline.card import DataCard
from tenfold.envs.offline.convert import from_omar
from tenfold.envs.offline.dataset import OfflineDataset
from tenfold.envs.poker.cards import parse_cards
from tenfold.envs.poker.ranges import format_range, parse_range
from tenfold.envs.poker.sizes import parse_menus
from tenfold.envs.poker.spot import read_spot
from tenfold.envs.queues.convert import parse_service, parse_slot
from tenfold.envs.queues.events import Layout, read_events
from tenfold.envs.queues.scenario import read_scenario
from tenfold.envs.queues.trace import read_trace
from tenfold.envs.risk.mdp_file import read_mdp
from tenfold.envs.risk.pomdp_file import read_pomdp


@pytest.fixture(autouse=True, scope="module")
def bounded() -> Iterator[None]:
    with bounded_memory():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def pieces(*some: str, most: int = 10) -> st.SearchStrategy[str]:
    """Texts made of some pieces."""
    return st.lists(st.sampled_from(some), max_size=most).map("".join)


JUNK = ("\x00", "\ufeff", "é", "\t", " ", "\n", "\r", '"', "'", "#", "\x1b[2J", "9" * 400, "１")
CELL = st.sampled_from(
    ["0", "1", "2", "0.5", "-1", "1e3", "1e400", "nan", "inf", "", "x", "9" * 30, *JUNK]
)
HEADER = "slot,queue,arrivals,service"


@cases(350)
@given(
    header=st.sampled_from([HEADER, f" {HEADER}", f"{HEADER},x", "slot,queue", HEADER * 2, ""]),
    rows=st.lists(st.lists(CELL, max_size=5).map(",".join), max_size=4),
    tail=st.sampled_from(["", "\n", "\x00", '"', "\n1,2,3,4,5,6\n"]),
    packed=st.sampled_from(["whole", "whole", "plain", "cut"]),
)
def test_any_trace_in_csv(
    folder: Path, header: str, rows: list[str], tail: str, packed: str
) -> None:
    content = "\n".join([header, *rows]).encode() + tail.encode()
    if packed == "plain":
        path = folder / "trace.csv"
    else:
        path = folder / "trace.csv.gz"
        content = gzip.compress(content, 1)[: 25 if packed == "cut" else None]
    path.write_bytes(content)
    ends_well(lambda: read_trace(path))
    ends_well(lambda: read_events(path, Layout("slot", "queue", "arrivals")))


COLUMNS = st.sampled_from(
    [
        pa.array([1, 2]),
        pa.array([0, 0]),
        pa.array([1.5, float("nan")]),
        pa.array([1, None]),
        pa.array([None, None]),
        pa.array(["1", "x"]),
        pa.array([True, False]),
        pa.array([2**63, 2**64 - 1], pa.uint64()),
        pa.array([[1], [2]]),
        pa.array([{"a": 1}, None]),
        pa.array([b"1", b"\xff"]),
        pa.array([1, 2], pa.timestamp("ns")),
        pa.array([1, 2], pa.date32()),
        pa.array([1, 2], pa.duration("s")),
        pa.array(["1", "2"]).dictionary_encode(),
        pa.array([1, 2], pa.decimal128(38, 30)),
        pa.array([1, 2], pa.float16()),
        pa.array([1, 2], pa.int8()),
        pa.nulls(2, pa.string_view()),
        pa.nulls(2, pa.month_day_nano_interval()),
        pa.nulls(2, pa.large_list(pa.int8())),
    ]
)


@cases(250)
@given(
    columns=st.lists(COLUMNS, min_size=4, max_size=4),
    names=st.sampled_from([HEADER, "slot,slot,queue,arrivals", "Slot,queue,arrivals,service"]),
    flip=st.none() | st.integers(0, 2_000),
)
def test_any_trace_in_parquet(
    folder: Path, columns: list[pa.Array], names: str, flip: int | None
) -> None:
    path = folder / "trace.parquet"
    try:
        table = pa.Table.from_arrays(columns, names.split(","))
        parquet.write_table(table, path)
    except pa.ArrowException:  # of such a kind there is no Parquet file
        return
    damage(path, flip)
    ends_well(lambda: read_trace(path))
    ends_well(lambda: read_events(path, Layout("slot", "queue", "arrivals")))


def damage(path: Path, flip: int | None) -> None:
    """Turn one byte of a file around."""
    if flip is not None:
        content = bytearray(path.read_bytes())
        content[flip % len(content)] ^= 0xFF
        path.write_bytes(content)


SCENARIO = (
    *("name: x\n", "queues:\n", "queues: ", "- ", "arrivals: ", "service: ", "{kind: ", "constant"),
    *(
        "trace",
        "}",
        "[",
        "]",
        ", ",
        "path: ",
        "../x",
        "rate: ",
        "mean: ",
        "1",
        "1e400",
        "0x",
        "&a ",
    ),
    *("*a", "<<: ", "!!int x", "!!python/name:os.system", "load: ", "horizon: ", "~", *JUNK),
)


@cases(300)
@given(text=pieces(*SCENARIO))
def test_any_scenario(folder: Path, text: str) -> None:
    path = folder / "scenario.yaml"
    path.write_text(text, encoding="utf-8")
    ends_well(lambda: read_scenario(path))


@cases(400)
@given(text=pieces("1", ".", "e", "-", "+", "3", "s", "ms", "/", "=", "a", "min", *JUNK, most=6))
def test_any_slot_and_service(text: str) -> None:
    ends_well(lambda: parse_slot(text))
    ends_well(lambda: parse_service([text], 10**9))
    ends_well(lambda: parse_service([text, text], 10**9))


RANGES = (
    *("AA", "22+", "KTs", "KTo+", "A5s-A2s", "AsKs", "random", "100%", "T9", "K", "s", "o", "+"),
    *("-", ":", "@", ":0.5", "@50%", ":50", "%", "[50.0]", "[/50.0]", "[", "]", "[/", ",", ";"),
    *JUNK,
)


@cases(1_500)
@given(text=pieces(*RANGES), board=st.sampled_from([(), (0, 1, 2), (51, 50, 49, 48, 47)]))
def test_any_range(text: str, board: tuple[int, ...]) -> None:
    if ends_well(lambda: parse_range(text, board)):
        weights = parse_range(text, board)
        assert ((weights >= 0) & (weights <= 1)).all()
        assert (parse_range(format_range(weights)) == weights).all()


@cases(700)
@given(
    cards=pieces("As", "Kd", "7h", "2c", "3d", "A", "s", "10", ",", *JUNK),
    sizes=pieces("0.5", "1", "allin", ",", "-", "e", "nan", "inf", "%", *JUNK),
    amount=pieces("1000", "0", ".", "5", "-", ",", "e9", "_", *JUNK, most=4),
    which=st.sampled_from(["cards", "sizes", "pot", "stacks", "blind"]),
)
def test_any_board_and_bets(cards: str, sizes: str, amount: str, which: str) -> None:
    ends_well(lambda: parse_cards(cards))
    ends_well(lambda: parse_menus([sizes]))
    spot: dict[str, Any] = {"pot": "1000", "stacks": "9500", "big_blind": None}
    name = {"pot": "pot", "stacks": "stacks", "blind": "big_blind"}.get(which)
    spot |= {name: amount} if name else {}
    board = cards if which == "cards" else "AsKd7h2c3d"
    for decimals in (False, True):
        ends_well(lambda d=decimals: read_spot(board, ranges=["QQ", "JJ"], decimals=d, **spot))


POMDP = (
    *("discount: 0.9\n", "values: reward\n", "states: 2\n", "states: a b\n", "actions: 2\n"),
    *(
        "observations: 2\n",
        "start: uniform\n",
        "start include: ",
        "start: 0\n",
        "T: ",
        "O: ",
        "R: ",
    ),
    *(
        "0 ",
        "1 ",
        "* ",
        ": ",
        "uniform\n",
        "identity\n",
        "reset\n",
        "0.5 0.5\n",
        "a ",
        "x ",
        "-1\n",
    ),
    *("states: 99999999\n", f"actions: {'9' * 5_000}\n", "nan ", "1e400 ", "²", *JUNK),
)
WHOLE = "states: 2\nactions: 2\nobservations: 2\n"


@cases(700)
@given(head=st.sampled_from(["", WHOLE]), text=pieces(*POMDP))
def test_any_pomdp(folder: Path, head: str, text: str) -> None:
    path = folder / "world.pomdp"
    path.write_text(head + text, encoding="utf-8")
    ends_well(lambda: read_pomdp(path))


ARRAYS = st.sampled_from(
    [
        [[[1.0]]],
        [[[0.5, 0.5], [1.0, 0.0]]],
        [[[float("nan")]]],
        [[1], [1, 2]],
        [],
        [[[]]],
        0,
        -1,
        10**30,
        True,
        None,
        "x",
        {"a": 1},
        [1.0],
        [[1.0]],
        1e400,
    ]
)


@cases(300)
@given(
    values=st.dictionaries(
        st.sampled_from(["transition", "kernels", "theta", "reward", "initial", "H", "hh", ""]),
        ARRAYS,
        max_size=5,
    ),
    H=st.sampled_from([None, 1, 10**3]),
    kind=st.sampled_from(["json", "npz", "cut"]),
)
def test_any_mdp(folder: Path, values: dict[str, Any], H: int | None, kind: str) -> None:
    path = folder / ("world.json" if kind == "json" else "world.npz")
    if kind == "json":
        path.write_text(json.dumps(values))
    else:
        arrays = {}
        for name, value in values.items():
            try:
                arrays[name or "x"] = np.array(value)
            except ValueError:
                arrays[name or "x"] = np.array(value, dtype=object)
        np.savez(path, **arrays)
        if kind == "cut":
            path.write_bytes(path.read_bytes()[:150])
    ends_well(lambda: read_mdp(str(path), H))


CARD: dict[str, Any] = {
    "environment": "mpe/spread",
    "agents": ["agent_0"],
    "episodes": 1,
    "transitions": 1,
    "returns": {"mean": 1.0, "std": 0.0, "edges": [0.0, 1.0], "counts": [1]},
    "sha256": "",
}


@cases(500)
@given(
    field=st.sampled_from([*DataCard.model_fields, "x"]),
    value=VALUES,
    text=st.sampled_from(
        [None, None, None, "", "{", "[]", "\ufeff{}", "[" * 100_000, "1" * 10_000]
    ),
)
def test_any_card(folder: Path, field: str, value: Any, text: str | None) -> None:
    text = json.dumps({**CARD, field: value}) if text is None else text
    (folder / "card.json").write_text(text, encoding="utf-8")
    ends_well(lambda: DataCard.read(folder))
    ends_well(lambda: OfflineDataset.read(folder))


VECTORS = st.sampled_from(
    [
        pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0], pa.float32()), 2),
        pa.FixedSizeListArray.from_arrays(pa.array([1.0], pa.float16()), 1),
        pa.FixedSizeListArray.from_arrays(pa.array([None], pa.float64()), 1),
        pa.FixedSizeListArray.from_arrays(pa.array([float("nan")]), 1),
        pa.array([None], pa.list_(pa.float32(), 2)),
        pa.array([[1.0]]),
        pa.array([0]),
        pa.array([1.0], pa.float32()),
        pa.array([True]),
        pa.array([None], pa.bool_()),
        pa.array(["x"]),
        pa.array([2**64 - 1], pa.uint64()),
    ]
)
STEPS = ("episode", "t", "terminated", "truncated")
PARTS = (*STEPS, *(f"{kind}.agent_0" for kind in ("obs", "action", "reward", "next_obs")))
RIGHT = {
    **dict.fromkeys(("episode", "t"), pa.array([0])),
    "terminated": pa.array([True]),
    "truncated": pa.array([False]),
    "reward.agent_0": pa.array([1.0], pa.float32()),
    **dict.fromkeys(
        ("obs.agent_0", "action.agent_0", "next_obs.agent_0"),
        pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0], pa.float32()), 2),
    ),
}


@cases(150)
@given(
    wrong=st.dictionaries(st.sampled_from([*PARTS, "obs.agent_1"]), VECTORS, max_size=2),
    left_out=st.sampled_from(["", "", *PARTS]),
    flip=st.none() | st.integers(0, 3_000),
)
def test_any_steps_of_a_data_set(
    folder: Path, wrong: dict[str, pa.Array], left_out: str, flip: int | None
) -> None:
    (folder / "card.json").write_text(json.dumps(CARD))
    (folder / "steps").mkdir(exist_ok=True)
    columns = {name: array for name, array in {**RIGHT, **wrong}.items() if name != left_out}
    path = folder / "steps" / "part-0.parquet"
    parquet.write_table(pa.table(columns), path)
    damage(path, flip)
    ends_well(lambda: OfflineDataset.read(folder))


NUMPY = st.sampled_from(
    [
        np.zeros((4, 3), np.float32),
        np.zeros(4),
        np.zeros((2, 3)),
        np.zeros(()),
        np.zeros((0, 3)),
        np.array([None], dtype=object),
        np.array(["x"] * 4),
        np.zeros((4, 3), complex),
        np.full((4, 3), np.nan),
        np.zeros((4, 1, 3)),
        np.zeros(4, [("a", "f4")]),
        np.array(["2001-01-01"] * 4, "M8[D]"),
    ]
)


@cases(150)
@given(arrays=st.lists(NUMPY, min_size=4, max_size=4), cut=st.none() | st.integers(0, 140))
def test_any_arrays_of_omar(folder: Path, arrays: list[np.ndarray], cut: int | None) -> None:
    for stem, array in zip(("obs", "acs", "rews", "next_obs"), arrays, strict=True):
        np.save(folder / f"{stem}_0.npy", array)
    if cut is not None:
        path = folder / "acs_0.npy"
        path.write_bytes(path.read_bytes()[:cut])
    ends_well(lambda: from_omar(folder, 2, environment="mpe/spread"))


LAUGHS = "\n".join(
    [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}' if k else 'ha'] * 9)}]" for k in range(9)]
)


@pytest.mark.parametrize("text", [LAUGHS, "a: &a {b: *a}", "[" * 50_000, "x: " + "1" * 5_000])
def test_a_scenario_that_would_take_all_memory_is_refused(folder: Path, text: str) -> None:
    path = folder / "scenario.yaml"
    path.write_text(text)
    assert not ends_well(lambda: read_scenario(path))
