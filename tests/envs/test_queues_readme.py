"""What the READMEs of the queue worlds and of SoftMW show runs as written; some five seconds."""

import gzip
import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer

from tenfold.algorithms.softmw.schedulers import SCHEDULERS, make_scheduler
from tenfold.envs.queues.scenarios import SAMPLE_TRACE, scenario
from tenfold.envs.queues.simulator import Simulator
from tenfold.platform import cli, launch

ROOT = Path(__file__).parent.parent.parent
WORLDS = (ROOT / "envs" / "queues" / "README.md").read_text()
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


def test_the_world_in_yaml_runs(tmp_path: Path) -> None:
    (block,) = blocks(WORLDS, "yaml")
    (tmp_path / "my_world.yaml").write_text(block)
    world = scenario(str(tmp_path / "my_world.yaml"))
    assert (world.name, world.K, world.horizon) == ("two_users", 2, 100_000)
    simulator = Simulator(world, 8, seed=1)
    simulator.run(make_scheduler("longest_queue", world, 8), 20_000)
    # On a third of the time three times 0.2, and 0.1.
    np.testing.assert_allclose(
        simulator.metrics().arrived.mean(axis=0) / 20_000, [0.2, 0.1], rtol=0.05
    )


def test_the_environments_in_python_are_made() -> None:
    (block,) = blocks(WORLDS, "python")
    names: dict[str, Any] = {}
    exec(block, names)
    _, reward, *_ = names["env"].reset() and names["env"].step(0)
    assert reward <= 0
    names["batch"].reset(seed=1)
    assert names["batch"].step(np.zeros(64, dtype=int))[1].shape == (64,)


def test_the_log_becomes_the_trace_that_stands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    log, trace = blocks(WORLDS, "csv")
    (command,) = (each for each in commands(WORLDS) if "trace convert" in each)
    Path("requests.csv").write_text(log)
    assert tenfold(monkeypatch, command) == 0
    assert gzip.decompress(Path("trace.csv.gz").read_bytes()).decode() == trace
    assert "load 0.500" in capsys.readouterr().out


@pytest.mark.parametrize("command", [c for c in commands(METHOD) if " compare " not in c])
def test_the_commands_of_the_method_are_valid_up_to_their_start(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: Path
) -> None:
    """Everything that is checked before Ray starts, every trial's config included."""
    started: list[Any] = []

    def start(study: Any, *args: Any, **options: Any) -> Any:
        started.append(study)  # whoever launches has checked it
        raise typer.Exit(0)

    monkeypatch.chdir(tmp_path)
    Path("my_trace.csv").write_bytes(gzip.decompress(SAMPLE_TRACE.read_bytes()))
    monkeypatch.setattr(launch, "launch", start)
    assert tenfold(monkeypatch, command) == 0
    assert started[0].method.name == "softmw"


@pytest.mark.parametrize("command", ["adversarial", "fast", "table"])
def test_the_measurements_give_a_record_no_interval(command: str, tmp_path: Path) -> None:
    """A short run of the commands that the tables of SoftMW's README name."""
    assert f"`{command}`" in METHOD
    names = runpy.run_path(str(ROOT / "experiments" / "queues" / "measure.py"))
    names["save"].__globals__["RESULTS"] = tmp_path
    names[command](replicas=3, horizon=200)
    found = pd.read_csv(tmp_path / f"{command}.csv")
    halves = [column for column in found if column.endswith("±")]
    assert halves
    record = found.get("scenario", pd.Series("", found.index)) == "trace"
    assert found.loc[record, halves].isna().all(axis=None)
    assert found.loc[~record, halves].notna().all(axis=None)
    assert "nan" not in (tmp_path / f"{command}.md").read_text()
    if command == "fast":  # below its threshold SoftMW-fast is discounted UCB
        assert (found["softmw_fast"] == found["discounted_ucb"]).all()


def test_the_benchmark_says_how_to_install_its_peer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "python benchmarks/queues.py" in WORLDS
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
