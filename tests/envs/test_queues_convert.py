"""Logs become the trace that a pencil makes of them, or are refused by row; some four seconds."""

import gzip
import json
import sys
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tenfold.algorithms.softmw import METHOD
from tenfold.algorithms.softmw.schedulers import make_scheduler
from tenfold.envs.queues.convert import (
    NANOSECONDS,
    parse_service,
    parse_slot,
    to_slots,
    write_recording,
)
from tenfold.envs.queues.events import Events, Layout, read_events
from tenfold.envs.queues.simulator import Simulator
from tenfold.envs.queues.trace import read_trace
from tenfold.platform import cli
from tenfold.platform.configuration import build_config

# 2026-01-31 08:00:00 UTC; with slots of 100 ms the four events stand in slots 1, 4, 1 and 2.
START = 1_769_846_400
TIMES = ["08:00:00.050", "08:00:00.310", "08:00:00.099", "08:00:00.100"]
OFFSETS = [50, 310, 99, 100]  # milliseconds
QUEUES = ["web", "db", "web", "web"]
SIZES = [2, 1, 1.5, 4]
LAYOUT = Layout("t", "who", "size")
ARRIVALS = [[0, 3.5], [0, 4], [0, 0], [1, 0]]  # queues db, web
MILLISECOND = 10**6


def log_of(times: list[str], separator: str = ",", quote: str = "") -> str:
    rows = [["who", "t", "size"]]
    rows += [
        [who, f"{quote}{t}{quote}", str(size)]
        for who, t, size in zip(QUEUES, times, SIZES, strict=True)
    ]
    return "\n".join(separator.join(row) for row in rows) + "\n"


def epochs(unit: str) -> list[str]:
    """Exact numbers, for seconds with a fraction."""
    scale = {"s": Fraction(1), "ms": Fraction(1_000), "us": Fraction(10**6), "ns": Fraction(10**9)}
    exact = [(START + Fraction(offset, 1_000)) * scale[unit] for offset in OFFSETS]
    return [f"{float(x):.3f}" if unit == "s" else str(int(x)) for x in exact]


ISO = [f"2026-01-31T{time}" for time in TIMES]
LOGS = {
    "zulu": (log_of([f"{t}Z" for t in ISO]), "ISO 8601 times, with their zone"),
    "zone": (log_of([f"{t.replace('08', '10', 1)}+02:00" for t in ISO]), "with their zone"),
    "zones": (
        log_of([f"{ISO[0]}Z", *(f"{t.replace('T08', 'T03')}-0500" for t in ISO[1:])]),
        "with their zone",
    ),
    "naive": (log_of(ISO), "without a zone, as UTC"),
    "space": (log_of([t.replace("T", " ") for t in ISO]), "without a zone"),
    "decimal comma": (log_of([t.replace(".", ",") for t in ISO], quote='"'), "ISO 8601"),
    "seconds": (log_of(epochs("s")), "seconds since 1970, by their size"),
    "milliseconds": (log_of(epochs("ms")), "milliseconds since 1970, by their size"),
    "microseconds": (log_of(epochs("us")), "microseconds since 1970"),
    "nanoseconds": (log_of(epochs("ns")), "nanoseconds since 1970"),
    "semicolons": (log_of(ISO, ";"), "ISO"),
    "tabs": (log_of(ISO, "\t"), "ISO"),
    "bars": (log_of(ISO, " | "), "ISO"),
    "blanks": (log_of(ISO, "   "), "ISO"),
    "mark": ("\ufeff" + log_of(ISO), "ISO"),
    "windows": (log_of(ISO).replace("\n", "\r\n"), "ISO"),
    "further columns": (log_of(ISO).replace("\n", ",x,y\n"), "ISO"),
}


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("ending", [".csv", ".log.gz"])
def test_times_and_separators_of_many_kinds_give_the_same_slots(
    tmp_path: Path, name: str, ending: str
) -> None:
    text, clock = LOGS[name]
    data = text.encode()
    (tmp_path / f"log{ending}").write_bytes(gzip.compress(data) if ending == ".log.gz" else data)
    events = read_events(tmp_path / f"log{ending}", LAYOUT)
    assert clock in events.clock
    recording = to_slots(events, 3.0, 100 * MILLISECOND)
    assert recording.names == ["db", "web"]
    assert recording.start == START * 10**9
    np.testing.assert_array_equal(recording.arrivals, ARRIVALS)
    np.testing.assert_array_equal(recording.service, np.full((4, 2), 3.0))


MOMENTS = [datetime.fromtimestamp(START + offset / 1_000, UTC) for offset in OFFSETS]


@pytest.mark.parametrize(
    "times",
    [
        pa.array(MOMENTS, pa.timestamp("ms", "Europe/Berlin")),
        pa.array([moment.replace(tzinfo=None) for moment in MOMENTS], pa.timestamp("us")),
        pa.array([int(text) for text in epochs("ns")]),
        pa.array([Decimal(text) for text in epochs("s")]),
        pa.array([START + offset / 1_000 for offset in OFFSETS], pa.float64()),
        pa.array(ISO, pa.string_view()),
    ],
    ids=lambda column: str(column.type),
)
def test_parquet_logs_give_the_same_slots(tmp_path: Path, times: pa.Array) -> None:
    sizes = pa.array([Decimal(str(size)) for size in SIZES])
    table = pa.table({"t": times, "who": pa.array(QUEUES).dictionary_encode(), "size": sizes})
    parquet.write_table(table, tmp_path / "log.parquet")
    recording = to_slots(read_events(tmp_path / "log.parquet", LAYOUT), 1.0, 100 * MILLISECOND)
    np.testing.assert_array_equal(recording.arrivals, ARRIVALS)


def test_the_unit_that_is_asked_for_counts(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("t\n5\n7.25\n-0.5\n")
    for unit, factor in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        events = read_events(tmp_path / "log.csv", Layout("t", unit=unit))
        assert "as asked" in events.clock
        np.testing.assert_array_equal(events.moments, [5 * factor, 29 * factor // 4, -factor // 2])
    floored = read_events(tmp_path / "log.csv", Layout("t", unit="ns"))
    np.testing.assert_array_equal(floored.moments, [5, 7, -1])


def test_nanoseconds_stay_exact(tmp_path: Path) -> None:
    first = 1_700_000_000_000_000_001
    (tmp_path / "log.csv").write_text(f"t\n{first + 2}\n{first}\n1700000000000000001.9\n")
    recording = to_slots(read_events(tmp_path / "log.csv", Layout("t")), 1.0, 1)
    assert recording.start == first
    np.testing.assert_array_equal(recording.arrivals, [[2], [0], [1]])


def test_queues_are_numbered_by_size_or_by_the_alphabet(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(
        "t,who\n" + "".join(f"1,{q}\n" for q in ("10", "b", "9", "a"))
    )
    recording = to_slots(read_events(tmp_path / "log.csv", Layout("t", "who")), 1.0, 10**9)
    assert recording.names == ["9", "10", "a", "b"]


def test_a_service_log_counts_where_it_stands_and_widens_the_time(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("t,who\n12,a\n14,b\n14,b\n")
    (tmp_path / "out.csv").write_text("t,who\n11,a\n14,b\n15,a\n15,a\n15,c\n")
    layout = Layout("t", "who", unit="s")
    arrivals, service = (read_events(tmp_path / name, layout) for name in ("in.csv", "out.csv"))
    recording = to_slots(arrivals, service, 2 * 10**9)
    assert (recording.names, recording.start) == (["a", "b", "c"], 10 * 10**9)
    np.testing.assert_array_equal(recording.arrivals, [[0, 0, 0], [1, 0, 0], [0, 2, 0]])
    np.testing.assert_array_equal(recording.service, [[1, 0, 0], [0, 0, 0], [2, 1, 1]])


def test_services_are_by_slot_or_by_time() -> None:
    half = parse_slot("500ms")
    assert parse_service(["3"], half) == 3.0
    assert parse_service(["20/s"], half) == 10.0
    assert parse_service(["60/min"], half) == 0.5
    assert parse_service(["a=b=2", "c=1e1/s"], half) == {"a=b": 2.0, "c": 5.0}


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("100ms", 10**8),
        ("1.5 s", 1_500_000_000),
        ("5min", 300 * 10**9),
        ("1e-3us", 1),
        ("2h", 72 * 10**11),
    ],
)
def test_lengths_of_slots(text: str, length: int) -> None:
    assert parse_slot(text) == length


def events_of(rows: list[tuple[int, str, float]]) -> Events:
    moments, names, amounts = zip(*rows, strict=True)
    return Events(np.array(moments), np.array(names, object), np.array(amounts, float), "")


def test_the_load_is_that_of_the_best_switching_policy() -> None:
    rows = [(0, "a", 3.0), (999, "b", 2.0)]
    constant = to_slots(events_of(rows), {"a": 0.01, "b": 0.02}, 1)
    assert constant.load() == pytest.approx((3 / 1_000) / 0.01 + (2 / 1_000) / 0.02)
    # a is served in the first half only and b in the second: each has its half for itself.
    turns = [(t, "a" if t < 500 else "b", 1.0) for t in range(1_000)]
    assert to_slots(events_of(rows), events_of(turns), 1).load() == pytest.approx(3 / 500)
    assert to_slots(events_of(rows), {"a": 1.0, "b": 0.0}, 1).load() == float("inf")
    assert to_slots(events_of([(0, "a", 0.0)]), 1.0, 1).load() == 0.0


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(-50_000, 50_000), st.sampled_from("abc"), st.integers(0, 9)),
        min_size=1,
        max_size=30,
    ),
    slot=st.integers(100, 9_999),
)
def test_every_event_stands_in_its_slot_and_nothing_else_does(
    rows: list[tuple[int, str, float]], slot: int
) -> None:
    recording = to_slots(events_of(rows), 1.0, slot)
    expected = np.zeros_like(recording.arrivals)
    for moment, name, amount in rows:
        expected[(moment - recording.start) // slot, recording.names.index(name)] += amount
    np.testing.assert_array_equal(recording.arrivals, expected)
    assert recording.start % slot == 0
    last = recording.start + slot * len(recording.arrivals)
    assert recording.start <= min(rows)[0] < recording.start + slot
    assert last - slot <= max(rows)[0] < last


@pytest.mark.parametrize("ending", [".csv", ".csv.gz", ".parquet"])
def test_what_is_written_reads_back_as_it_was(tmp_path: Path, ending: str) -> None:
    rng = np.random.default_rng(0)
    rows = [
        (int(t), f"q, {q}", float(a))
        for t, q, a in zip(
            rng.integers(0, 900, 300), rng.integers(3, size=300), rng.random(300), strict=True
        )
    ]
    recording = to_slots(events_of(rows), {"q, 0": 1 / 3, "q, 1": 2.0, "q, 2": 1e-9}, 10)
    path = tmp_path / f"trace{ending}"
    write_recording(recording, path)
    again = read_trace(path)
    np.testing.assert_array_equal(again.arrivals, recording.arrivals)
    np.testing.assert_array_equal(again.service, recording.service)
    table = pd.read_parquet(path) if ending == ".parquet" else pd.read_csv(path)
    assert dict(zip(table["queue"], table["name"], strict=True)) == dict(enumerate(recording.names))
    first = path.read_bytes()
    write_recording(recording, path)
    assert path.read_bytes() == first
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def tenfold(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["tenfold", "trace", "convert", *words])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return int(left.value.code or 0)


OPTIONS = {
    "--slot": "100ms",
    "--time": "t",
    "--queue": "who",
    "--amount": "size",
    "--service": "20/s",
    "-o": "trace.csv.gz",
}
WORDS = ["log.csv", *(word for option in OPTIONS.items() for word in option)]


def test_the_command_makes_a_task_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("log.csv").write_text(log_of(epochs("ms")))
    assert tenfold(monkeypatch, *WORDS, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "output": "trace.csv.gz",
        "events": 4,
        "times": "milliseconds since 1970, by their size",
        "slots": 4,
        "slot_seconds": 0.1,
        "start": "2026-01-31T08:00:00.000000000Z",
        "queues": [
            {"queue": 0, "name": "db", "arrivals_per_slot": 0.25, "service_per_slot": 2.0},
            {"queue": 1, "name": "web", "arrivals_per_slot": 1.875, "service_per_slot": 2.0},
        ],
        "load": pytest.approx(2.125 / 2),
    }
    config = build_config(METHOD, str(tmp_path / "trace.csv.gz"), "longest_queue", {}, 0)
    declared = config.scenario()
    simulator = Simulator(declared, 2)
    simulator.run(make_scheduler(config.scheduler, declared, 2), 8)
    # After the slots: 3.5; 5.5; 3.5; 1.5 and 1; web again 0 + 3.5; 1.5 + 4 ...: by hand.
    np.testing.assert_array_equal(simulator.metrics().arrived, [[2, 15]] * 2)
    q = np.zeros(2)
    for slot in range(8):
        served = int(np.argmax(q))
        q[served] = max(q[served] - 2, 0)
        q += ARRIVALS[slot % 4]
    np.testing.assert_array_equal(simulator.q, [q, q])
    assert tenfold(monkeypatch, *WORDS) == 0
    said = capsys.readouterr().out
    for part in ("4 events", "4 slots of 0.1 s", "load 1.062: no schedule", "web", "trace.csv.gz"):
        assert part in said


def changed(**options: str | None) -> list[str]:
    """The words of a good call with some options changed; None takes one away."""
    given = {f"--{name.replace('_', '-')}": value for name, value in options.items()}
    return [
        WORDS[0],
        *(w for name, value in (OPTIONS | given).items() if value for w in (name, value)),
    ]


GOOD = log_of(epochs("ms"))
LATE = str((START + 10**6) * 1_000)


@pytest.mark.parametrize(
    ("text", "words", "parts"),
    [
        (GOOD.replace(epochs("ms")[1], "soon"), WORDS, ["row 2", "t 'soon'", "not a number"]),
        (GOOD.replace(epochs("ms")[1], ""), WORDS, ["row 2", "t ''"]),
        (log_of([*ISO[:3], "soon"]), WORDS, ["row 4", "t 'soon'", "ISO 8601"]),
        (log_of([*ISO[:2], "a", "b"]), WORDS, ["row 3", "t 'a'", "(2 such rows)"]),
        (log_of([ISO[0], *(f"{t}Z" for t in ISO[1:])]), WORDS, ["row 1", "has no zone"]),
        (log_of(["1500-01-01", *ISO[1:]]), WORDS, ["row 1", "1500"]),
        (log_of(["9999-01-01"] * 4), WORDS, ["row 1", "9999-01-01", "(4 such rows)"]),
        (GOOD, changed(unit="s"), ["row 1", "2262"]),
        (log_of(["1e300"] * 4), WORDS, ["row 1", "1e300", "2262"]),
        (GOOD, changed(unit="weeks"), ["'weeks'", "'us'"]),
        (GOOD.replace("db", ""), WORDS, ["row 2", "who ''", "empty"]),
        (GOOD.replace(",2\n", ",two\n"), WORDS, ["row 1", "size 'two'", "finite number"]),
        (GOOD.replace(",2\n", ",inf\n"), WORDS, ["row 1", "size 'inf'", "finite number"]),
        (GOOD.replace(",2\n", ",-2\n"), WORDS, ["row 1", "size '-2'", "negative"]),
        (GOOD.replace(",2\n", "\n"), WORDS, ["row 1", "size ''"]),
        (GOOD.replace("\n", ",9\n").replace("size,9", "size"), WORDS, ["more fields"]),
        (GOOD.replace(",1\n", ",1,7,7\n"), WORDS, ["line 3", "saw 5"]),
        (GOOD, changed(time="tme"), ["column 'tme'", "who, t, size"]),
        (GOOD, changed(separator=";"), ["column 't'", "it has who,t,size"]),
        (GOOD, changed(queue="t"), ["three columns"]),
        ("who,t,size\n", WORDS, ["no row below the header"]),
        ("", WORDS, ["the file is empty"]),
        (GOOD, changed(slot="soon"), ["'soon'", "100ms"]),
        (GOOD, changed(slot="100"), ["'100'", "a unit"]),
        (GOOD, changed(slot="0s"), ["'0s'", "1 or more"]),
        (GOOD, changed(slot="0.1ns"), ["'0.1ns'", "whole number of nanoseconds"]),
        (log_of([*epochs("ms")[:3], LATE]), changed(slot="1us"), ["slots of 2 queues", "longer"]),
        (GOOD, changed(service=None), ["--service-log"]),
        (GOOD, changed(service_log="log.csv"), ["either --service"]),
        (GOOD, changed(service="fast"), ["'fast'", "20/s"]),
        (GOOD, changed(service="-1"), ["'-1'", "0 or more"]),
        (GOOD, changed(service="web=1"), ["'db'", "no service"]),
        (GOOD, [*WORDS, "--service", "db=1"], ["'20/s'", "name=number"]),
        (GOOD, [*changed(service="db=1"), "--service", "db=2"], ["'db'", "twice"]),
        (
            GOOD,
            [*changed(service="db=1"), "--service", "web=2", "--service", "wbe=2"],
            ["'wbe'", "db, web"],
        ),
        (GOOD, [*changed(service=None), "--service-log", "none.csv"], ["none.csv", "no such file"]),
        (GOOD, ["none.csv", *WORDS[1:]], ["none.csv", "no such file"]),
        (GOOD, [*WORDS[:-1], "trace.txt"], ["trace.txt", ".parquet"]),
        (GOOD, [*WORDS[:-1], "nowhere/trace.csv"], ["nowhere/trace.csv", "does not exist"]),
        (GOOD, [*WORDS[:-1], "log.csv"], ["'log.csv' is the log itself"]),
    ],
)
def test_a_log_that_cannot_be_converted_is_one_sentence(
    text: str,
    words: list[str],
    parts: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("log.csv").write_text(text)
    assert tenfold(monkeypatch, *words) == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("Error:")
    assert len(said.splitlines()) == 1
    for part in parts:
        assert part in said
    assert [each.name for each in tmp_path.iterdir()] == ["log.csv"]
    assert Path("log.csv").read_text() == text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.parquet", b"no parquet"),
        ("log.csv.gz", b"no gzip"),
        ("cut.csv.gz", gzip.compress(GOOD.encode() * 99, mtime=0)[:60]),
        ("latin.csv", GOOD.replace("db", "d\xe9").encode("latin-1")),
    ],
)
def test_files_that_are_no_logs_are_refused_by_name(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name}: cannot be read as a log") as refusal:
        read_events(tmp_path / name, LAYOUT)
    assert len(str(refusal.value).splitlines()) == 1


def test_every_unit_of_a_slot_is_one_of_a_service() -> None:
    for unit, length in NANOSECONDS.items():
        assert parse_service([f"7/{unit}"], parse_slot(f"2{unit}")) == pytest.approx(14.0), length
