"""What the READMEs of the queues and of SoftMW show runs as written; some six seconds."""

import gzip
import re
import runpy
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tenfold.algorithms.softmw.schedulers import SCHEDULERS, make_scheduler
from tenfold.envs.queues.capacity import load
from tenfold.envs.queues.scenarios import SAMPLE_TRACE, scenario
from tenfold.envs.queues.simulator import Simulator
from tenfold.platform import cli
from tenfold.platform.study import Study

ROOT = Path(__file__).parent.parent.parent
QUEUES = (ROOT / "envs" / "queues" / "README.md").read_text()
METHOD = (ROOT / "algorithms" / "softmw" / "README.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [block for named, block in found if named == language]


def commands(text: str) -> list[str]:
    lines = "".join(blocks(text, "")).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("tenfold ")]


def tenfold(monkeypatch: pytest.MonkeyPatch, command: str) -> int:
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as left:
        cli.main()
    return int(left.value.code or 0)


def test_the_scenario_in_yaml_runs(tmp_path: Path) -> None:
    block, _ = blocks(QUEUES, "yaml")
    (tmp_path / "my_scenario.yaml").write_text(block)
    declared = scenario(str(tmp_path / "my_scenario.yaml"))
    assert (declared.name, declared.K, declared.horizon) == ("two_users", 2, 100_000)
    simulator = Simulator(declared, 8, seed=1)
    simulator.run(make_scheduler("longest_queue", declared, 8), 20_000)
    # On a third of the time three times 0.2, and 0.1.
    np.testing.assert_allclose(
        simulator.metrics().arrived.mean(axis=0) / 20_000, [0.2, 0.1], rtol=0.05
    )


def test_the_environments_in_python_are_made() -> None:
    names: dict[str, Any] = {}
    for block in blocks(QUEUES, "python"):
        exec(block, names)
    _, reward, *_ = names["env"].reset() and names["env"].step(0)
    assert reward <= 0
    names["batch"].reset(seed=1)
    assert names["batch"].step(np.zeros(64, dtype=int))[1].shape == (64,)
    network = names["network"]
    network.reset(seed=1)
    assert network.step(np.ones(6))[4]["event_time"] > 0


def test_the_network_in_yaml_runs_by_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, block = blocks(QUEUES, "yaml")
    monkeypatch.chdir(tmp_path)
    Path("my_network.yaml").write_text(block)
    (command,) = (each for each in commands(QUEUES) if "my_network.yaml" in each)
    assert tenfold(monkeypatch, f"{command} --time 500 --warmup 50") == 0
    said = capsys.readouterr().out
    assert "two_classes" in said
    assert "lost" in said


def test_the_log_becomes_the_trace_that_stands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    log, trace = blocks(QUEUES, "csv")
    (command,) = (each for each in commands(QUEUES) if "trace convert" in each)
    Path("requests.csv").write_text(log)
    assert tenfold(monkeypatch, command) == 0
    assert gzip.decompress(Path("trace.csv.gz").read_bytes()).decode() == trace
    assert "load 0.500" in capsys.readouterr().out


@pytest.mark.parametrize("command", [c for c in commands(METHOD) if " compare " not in c])
def test_the_commands_of_the_method_are_valid_up_to_their_start(
    command: str,
    tmp_path: Path,
    launched: list[Study],
    monkeypatch: pytest.MonkeyPatch,
    runs: Path,
) -> None:
    """Everything that is checked before Ray starts, every trial's config included."""
    monkeypatch.chdir(tmp_path)
    Path("my_trace.csv").write_bytes(gzip.decompress(SAMPLE_TRACE.read_bytes()))
    assert tenfold(monkeypatch, command) == 0
    assert launched[0].method.name == "softmw"


@pytest.fixture
def measurements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """The names of a script of experiments/queues, which writes into a folder of the test."""
    monkeypatch.syspath_prepend(ROOT / "experiments" / "queues")
    monkeypatch.setattr("reporting.RESULTS", tmp_path)
    return lambda script: runpy.run_path(str(ROOT / "experiments" / "queues" / script))


@pytest.mark.parametrize("command", ["adversarial", "fast", "table"])
def test_the_measurements_give_a_record_no_interval(
    command: str, tmp_path: Path, measurements: Callable[[str], Any]
) -> None:
    """A short run of the commands that the tables of SoftMW's README name."""
    assert f"`{command}" in METHOD
    measurements("measure.py")[command](replicas=3, horizon=200)
    found = pd.read_csv(tmp_path / f"{command}.csv")
    halves = [column for column in found if column.endswith("±")]
    assert halves
    record = found.get("scenario", pd.Series("", found.index)) == "trace"
    assert found.loc[record, halves].isna().all(axis=None)
    assert found.loc[~record, halves].notna().all(axis=None)
    assert "nan" not in (tmp_path / f"{command}.md").read_text()
    if command == "fast":  # below its threshold SoftMW-fast is discounted UCB
        assert (found["softmw_fast"] == found["discounted_ucb"]).all()


def test_a_median_lies_between_order_statistics(measurements: Callable[[str], Any]) -> None:
    """Of 64 values the 24th and the 41st enclose the median in 96.7 % of cases, of 5 none do."""
    median_interval = measurements("reporting.py")["median_interval"]
    assert median_interval(np.random.default_rng(0).permutation(64) + 1.0) == (32.5, 24, 41)
    assert np.isnan(median_interval(np.arange(5.0))[1:]).all()
    draws = np.random.default_rng(1).exponential(size=(2_000, 64))
    found = np.array([median_interval(each)[1:] for each in draws])
    covered = ((found[:, 0] < np.log(2)) & (np.log(2) < found[:, 1])).mean()
    assert covered == pytest.approx(0.967, abs=0.015)


def test_instances_are_drawn_by_seed_and_evaluated_apart_from_the_tuning(
    tmp_path: Path, measurements: Callable[[str], Any]
) -> None:
    script = measurements("worlds.py")
    assert not set(script["TUNING"]) & set(script["EVALUATED"])
    drawn = [script["draw_instance"](seed) for seed in range(5)]
    assert [each.name.split("-")[0] for each in drawn] == list(script["KINDS"])
    assert drawn[0] == script["draw_instance"].__wrapped__(0)
    assert drawn[0] != script["draw_instance"](5)
    for each in drawn:
        assert 0.29 < load(each.queues, 10**6) < 0.96
    for kind, best, level in (("walk", "uniform", ""), ("periodic", "ssmw", "uniform softmw")):
        line = {"world": 0, "kind": kind, "K": 2, **dict.fromkeys(SCHEDULERS, 10.0), best: 4.0}
        frame = pd.DataFrame([line | {"oracle": 1.0, "grows": level}])
        path = tmp_path / "worlds.csv"
        frame.to_csv(path, mode="a", header=not path.exists(), index=False)
    script["report"]()
    told = pd.read_csv(tmp_path / "worlds_won.csv").set_index(["worlds", "scheduler"])
    assert told.loc[("all", "uniform"), "best"].startswith("50 % [")
    assert told.loc[("all", "softmw"), "level"].startswith("50 % [")
    assert told.loc[("walk", "uniform"), "best"].startswith("100 % [")
    assert told.loc[("walk", "softmw"), "median ratio to the best"] == 2.5


def test_the_benchmark_says_how_to_install_its_peer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "python benchmarks/queues.py" in QUEUES
    monkeypatch.setitem(sys.modules, "ciw", None)  # as if it were not installed
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(ROOT / "benchmarks" / "queues.py"), run_name="__main__")
    assert left.value.code == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert "Ciw" in said
    assert "make bench" in said


def test_every_symbol_of_the_table_is_a_constant_with_its_default() -> None:
    table = METHOD[METHOD.index("## Constants") : METHOD.index("## Metrics")]
    told: dict[str, str] = {}
    for names, _, defaults in re.findall(r"^\| (`.*?) \| (.*?) \| (.*?) \|$", table, re.MULTILINE):
        told |= zip(re.findall(r"`(\w+)`", names), defaults.split(", "), strict=False)
    there = {
        name: field.default
        for kind in ("softmw", "ssmw", "softmw_plus", "softmw_fast")
        for name, field in SCHEDULERS[kind].Constants.model_fields.items()
    }
    assert told.keys() == there.keys()
    for name, default in there.items():
        if default is not None:
            assert float(told[name].replace(",", "")) == default
