"""The methods that docs/adding-a-method.md shows are whole, short, and run as the page says."""

import importlib
import json
import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT, install_example, invoke

PAGE = (ROOT / "docs" / "adding-a-method.md").read_text()
EXAMPLES = ("ucb1", "a2c", "softmax")


@pytest.fixture
def others(runs: Path, more_methods: Path) -> None:
    """The page's second and third method, installed for one test."""
    for name in EXAMPLES[1:]:
        install_example(more_methods, name)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_under_sixty_lines(name: str, tmp_path: Path) -> None:
    install_example(tmp_path, name)
    files = sorted((tmp_path / name).glob("*.py"))
    assert len(files) == 2
    lines = [line for file in files for line in file.read_text().splitlines() if line.strip()]
    assert len(lines) < 60
    assert max(map(len, lines)) <= 100


def test_every_block_belongs_to_an_example() -> None:
    assert len(re.findall("```python", PAGE)) == 2 * len(EXAMPLES)


@pytest.mark.usefixtures("in_process", "runs")
def test_its_commands_run_and_compare() -> None:
    assert '"ucb1"' in invoke("list", "--json").stdout
    variants = ["--variant", "ucb1", "--variant", "greedy"]
    done = invoke("run", "ucb1", "--seeds", 3, *variants, "--stop", "pulls=1000", "--cpus", 1)
    assert done.exit_code == 0, done.output
    compared = invoke("compare", "ucb1", "--baseline", "greedy", "--json")
    assert compared.exit_code == 0, compared.output
    rows = {row["group"]: row for row in json.loads(compared.stdout)["rows"]}
    assert rows["greedy"]["seeds"] == rows["ucb1"]["seeds"] == 3
    # Greedy locks onto the first arm that ever paid: the better one only by luck.
    assert rows["ucb1"]["mean"]["value"] < rows["greedy"]["mean"]["value"]
    assert rows["ucb1"]["better"]["value"] > 0.5


@pytest.mark.usefixtures("ray_session", "others")
@pytest.mark.parametrize("name", EXAMPLES[1:])
def test_the_commands_of_the_others_run_as_written(name: str) -> None:
    commands = re.findall(rf"^tenfold (run {name} .*)$", PAGE, re.MULTILINE)
    assert commands
    for command in commands:
        done = invoke(*shlex.split(command))
        assert done.exit_code == 0, f"{command}\n{done.output}"
    assert invoke("compare", name, "--last", "--json").exit_code == 0


@pytest.mark.usefixtures("others")
def test_softmax_learns_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    loop = importlib.import_module("softmax.loop")
    straight = loop.SoftmaxLoop(loop.SoftmaxConfig(steps=200, report_every=200))
    assert straight.advance()["accuracy"] > 0.85
    half = loop.SoftmaxLoop(loop.SoftmaxConfig(steps=200, report_every=100))
    half.advance()
    half.save(tmp_path)
    resumed = loop.SoftmaxLoop(loop.SoftmaxConfig(steps=200, report_every=100))
    resumed.load(tmp_path)
    resumed.advance()
    assert (resumed.weights == straight.weights).all()
