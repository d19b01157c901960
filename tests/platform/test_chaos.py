"""A planning run that is killed at its first and last second and as it writes a checkpoint.

The same code kills runs of every kind twenty times in `experiments/chaos.py`, see
docs/resuming.md. Costs about 25 processor seconds, most of them drivers that start.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT
from prefork import CLI

KIND = {
    "method": "ucb1",
    "seeds": 2,
    "config": {"pulls_per_iteration": 500},
    "stop": {"pulls": 20_000},
    "resources": {"cpus": 1, "concurrent": 1},
    "checkpoint": {"every": 1, "keep": 2},
}


@pytest.fixture(scope="module")
def chaos() -> ModuleType:
    spec = importlib.util.spec_from_file_location("chaos", ROOT / "experiments" / "chaos.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["chaos"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_run_that_is_killed_again_and_again_ends_as_if_it_had_not_been(
    chaos: ModuleType, prefork: Path, tmp_path: Path
) -> None:
    def start(arguments: Sequence[str], runs: Path) -> subprocess.Popen[Any]:
        with (runs / "said.log").open("a") as said:
            return subprocess.Popen(
                [prefork, "-m", CLI, *arguments],
                env={**os.environ, "TENFOLD_RUNS": str(runs)},
                stdout=said,
                stderr=said,
            )

    kind = chaos.Kind(KIND, exact=True, results=80)
    row = chaos.chaos(kind, 3, 1, tmp_path, start)
    assert row["faults"] == "", (tmp_path / "killed" / "said.log").read_text()
    assert (row["kills"], row["checkpoint"]) == (3, 1)
    assert row["starts"] >= 4
    assert row["points"] == 2 * 40


HISTORY = {0: {"regret": [(1, 0.5), (2, 0.25)]}, 1: {"regret": [(1, 0.5), (2, 0.125)]}}


@pytest.mark.parametrize(
    ("seed", "points", "told"),
    [
        (1, [(1, 0.5), (2, 0.25)], "seed 1 has other values of regret"),
        (0, [(1, 0.5)], "seed 0 has other steps of regret"),
        (0, [(1, 0.5), (1, 0.5), (2, 0.25)], "seed 0 has other steps of regret"),
        (1, [(1, 0.5), (2, 0.125), (3, 0.0)], "seed 1 ended elsewhere"),
    ],
)
def test_what_a_killed_run_has_otherwise_is_found(
    chaos: ModuleType, seed: int, points: list[tuple[int, float]], told: str
) -> None:
    assert chaos.differences(HISTORY, HISTORY, exact=True) == []
    other = {**HISTORY, seed: {"regret": points}}
    assert told in chaos.differences(HISTORY, other, exact=True)
    assert chaos.differences(HISTORY, {0: HISTORY[0]}, exact=True) == ["trials of seeds [0]"]
