"""How fast the command line answers, beside the tools that people know, in one run.

    python benchmarks/cli.py

Whole processes, five runs each after one that warms the disk cache; the goal is under 1 s for
`tenfold --help` and `tenfold list`, and under 3 s for the refusal of a bad config key.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

BIN = Path(sys.executable).parent
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "tenfold --help": [BIN / "tenfold", "--help"],
    "tenfold list": [BIN / "tenfold", "list"],
    "tenfold run softmw --variant softmv (refused)": [
        BIN / "tenfold",
        *("run", "softmw", "--variant", "softmv", "--offline"),
    ],
    "tenfold run softmw --set horizn=1 (refused)": [
        BIN / "tenfold",
        *("run", "softmw", "--set", "horizn=1", "--offline"),
    ],
    "tenfold run ppo --set gama=0.9 (refused)": [
        BIN / "tenfold",
        *("run", "ppo", "--set", "gama=0.9", "--offline"),
    ],
    "ray --help": [BIN / "ray", "--help"],
    "mlflow --help": [BIN / "mlflow", "--help"],
    "python -c 'import ray.rllib'": [sys.executable, "-c", "import ray.rllib"],
}


def seconds(command: list[object]) -> float:
    """Wall-clock seconds of one run of a command."""
    start = time.perf_counter()
    subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return time.perf_counter() - start


def main(runs: int = 5) -> None:
    """Print the table."""
    table = Table("command", "median s", "least s", "times an empty Python")
    base = None
    for name, command in COMMANDS.items():
        seconds(command)
        times = [seconds(command) for _ in range(runs)]
        base = base or statistics.median(times)
        median = statistics.median(times)
        table.add_row(name, f"{median:.2f}", f"{min(times):.2f}", f"{median / base:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
