"""What the README of the risk-sensitive tasks shows about files of the user's own, as written."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from tenfold.algorithms.icvar.config import ICVaRConfig
from tenfold.platform import cli
from tenfold.platform.study import Study

README = (Path(__file__).parents[2] / "envs" / "risk" / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
COMMANDS = [
    line
    for language, block in BLOCKS
    if not language
    for line in block.splitlines()
    if line.startswith("tenfold ")
]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The README's files in an empty folder, which is the current one."""
    named = {"pomdp": "tiger.pomdp", "json": "machine.json"}
    for language, block in BLOCKS:
        if language in named:
            (tmp_path / named[language]).write_text(block)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_are_valid_up_to_their_start(
    command: str,
    files: Path,
    runs: Path,
    launched: list[Study],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code in (0, None)
    assert Path(launched[0].experiment.tasks[0]).parent == files


def test_the_machine_has_as_many_kernels_as_it_says(files: Path) -> None:
    assert "two jumps, d = 3" in README
    config = ICVaRConfig().environment(str(files / "machine.json"))
    assert config.task().d == 3
