"""The method that docs/adding-a-method.md shows is whole, short, and runs as the page says."""

import json
import re

import pytest
from conftest import ROOT, invoke


def test_the_example_is_under_sixty_lines() -> None:
    text = (ROOT / "docs" / "adding-a-method.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.strip()]
    assert len(blocks) == 2
    assert len(lines) < 60


@pytest.mark.usefixtures("ray_session", "runs")
def test_its_commands_run_and_compare() -> None:
    assert '"ucb1"' in invoke("list", "--json").stdout
    variants = ["--variant", "ucb1", "--variant", "greedy"]
    done = invoke("run", "ucb1", "--seeds", 3, *variants, "--stop", "pulls=1000")
    assert done.exit_code == 0, done.output
    compared = invoke("compare", "ucb1", "--baseline", "greedy", "--json")
    assert compared.exit_code == 0, compared.output
    rows = {row["group"]: row for row in json.loads(compared.stdout)["rows"]}
    assert rows["greedy"]["seeds"] == rows["ucb1"]["seeds"] == 3
    # Greedy locks onto the first arm that ever paid: the better one only by luck.
    assert rows["ucb1"]["mean"]["value"] < rows["greedy"]["mean"]["value"]
    assert rows["ucb1"]["better"]["value"] > 0.5
