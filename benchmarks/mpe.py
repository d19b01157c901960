"""Speed of the batched particle worlds beside mpe2, in one run.

    python benchmarks/mpe.py

A step is one joint step of one world: physics, rewards and observations of all agents, with resets
every 25 steps. Actions are drawn beforehand. mpe2's parallel environment steps one world, ours W of
them in one call, each on one core.
"""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.table import Table

from tenfold.envs.mpe.worlds import ParticleWorlds

REPEATS, EPISODES, LENGTH = 5, 40, 25
TASKS = ("spread", "tag", "world")


def ours(task: str, worlds: int) -> Callable[[], int]:
    """`ParticleWorlds` in the OMAR fork's physics and reward."""
    batch = ParticleWorlds(task, worlds, 0)
    actions = np.random.default_rng(0).uniform(-1, 1, (LENGTH, worlds, 3, 2))

    def run() -> int:
        for _ in range(EPISODES):
            batch.reset()
            for action in actions:
                batch.step(action)
        return EPISODES * LENGTH * worlds

    run()
    return run


def theirs(task: str) -> Callable[[], int]:
    """mpe2's parallel environment of the same world."""
    from mpe2 import simple_spread_v3, simple_tag_v3, simple_world_comm_v3

    env = {
        "spread": lambda: simple_spread_v3.parallel_env(continuous_actions=True),
        "tag": lambda: simple_tag_v3.parallel_env(continuous_actions=True),
        "world": lambda: simple_world_comm_v3.parallel_env(
            num_good=1, num_adversaries=3, continuous_actions=True
        ),
    }[task]()
    env.reset(seed=0)
    actions = {agent: env.action_space(agent).sample() for agent in env.agents}

    def run() -> int:
        for _ in range(EPISODES):
            env.reset()
            for _ in range(LENGTH):
                env.step(actions)
        return EPISODES * LENGTH

    return run


def rate(run: Callable[[], int]) -> float:
    """Median steps a second of processor time."""
    rates = []
    for _ in range(REPEATS):
        start = time.process_time()
        done = run()
        rates.append(done / (time.process_time() - start))
    return statistics.median(rates)


def main() -> None:
    """Print the table."""
    try:
        import mpe2  # noqa: F401
    except ImportError:
        print(
            "Error: mpe2, the peer of this benchmark, is not installed: install it with "
            "'.venv/bin/pip install --constraint constraints.txt --editable \".[dev]\"', or run "
            "'make bench'.",
            file=sys.stderr,
        )
        sys.exit(2)
    table = Table("world", "mpe2", "1 world", "64 worlds", "1,024 worlds", "64 worlds, times mpe2")
    for task in TASKS:
        peer, *found = rate(theirs(task)), *(rate(ours(task, W)) for W in (1, 64, 1024))
        rates = [f"{steps:,.0f}" for steps in (peer, *found)]
        table.add_row(task, *rates, f"{found[1] / peer:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
