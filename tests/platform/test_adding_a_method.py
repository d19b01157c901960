"""The method that docs/adding-a-method.md shows is whole, short, and runs as the page says."""

import json
import re
import subprocess
from collections.abc import Callable

import pytest
from conftest import ROOT


def test_the_example_is_under_sixty_lines() -> None:
    text = (ROOT / "docs" / "adding-a-method.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.strip()]
    assert len(blocks) == 2
    assert len(lines) < 60


@pytest.mark.usefixtures("ray_session")
def test_its_commands_run_and_compare(
    tenfold: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    listed = tenfold("list", "--json")
    assert '"ucb1"' in listed.stdout
    done = tenfold(
        *[
            "run",
            "ucb1",
            "--seeds",
            "3",
            "--variant",
            "ucb1",
            "--variant",
            "greedy",
            "--stop",
            "pulls=1000",
        ]
    )
    assert done.returncode == 0, done.stderr
    compared = tenfold("compare", "ucb1", "--baseline", "greedy", "--json")
    assert compared.returncode == 0, compared.stderr

    rows = {row["group"]: row for row in json.loads(compared.stdout)["rows"]}
    assert rows["greedy"]["seeds"] == rows["ucb1"]["seeds"] == 3
    # Greedy locks onto the first arm that ever paid: the better one only by luck.
    assert rows["ucb1"]["mean"]["value"] < rows["greedy"]["mean"]["value"]
    assert rows["ucb1"]["better"]["value"] > 0.5
