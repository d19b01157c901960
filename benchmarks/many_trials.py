"""What a trial costs beyond its own work, and the driver's memory, in a run of many short trials.

    python benchmarks/many_trials.py
    python benchmarks/many_trials.py --few 40 --many 200

The same trials of a planning method (two results each) by `tenfold run` in actors, two at a time,
and in its own process; and by plain Tune with MLflow's callback, as its documentation shows, two at
a time and asked to keep its actors, with a tenth of the trials, since in spite of that it starts a
process for each. Each is a process of its own with a store of its own. What is shown
is the difference of many and few trials, a trial: start and end, which are paid once, are in
neither.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from tenfold.platform.configuration import build_config
from tenfold.platform.registry import get_method

METHOD, TASK = "softmw", "stationary"
PEER = "Tune and MLflow's callback"
SMALL = {"horizon": 2_000, "slots_per_iteration": 1_000, "replicas": 1}
PLAIN = f"""
import sys
import ray
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from tenfold.platform.configuration import build_config
from tenfold.platform.registry import get_method


class Trial(tune.Trainable):
    def setup(self, config):
        method = get_method("{METHOD}")
        self.algorithm = method.load_trainable()(
            build_config(method, "{TASK}", "softmw", {SMALL}, config["seed"])
        )

    def step(self):
        result = self.algorithm.train()
        return {{"backlog_mean": result["backlog_mean"], "done": self.algorithm.finished()}}

    def reset_config(self, config):
        self.setup(config)
        return True


ray.init(num_cpus=2, logging_level="ERROR")
tune.Tuner(
    Trial,
    param_space={{"seed": tune.grid_search(list(range(int(sys.argv[1]))))}},
    run_config=tune.RunConfig(
        storage_path=sys.argv[2],
        verbose=0,
        callbacks=[
            MLflowLoggerCallback(
                tracking_uri="sqlite:///" + sys.argv[2] + "/mlflow.db", experiment_name="plain"
            )
        ],
    ),
    tune_config=tune.TuneConfig(reuse_actors=True),
).fit()
"""


def commands(trials: int, folder: str) -> dict[str, list[str]]:
    """What is run, by its name in the table."""
    ours = [sys.executable, "-m", "tenfold.platform.cli", "run", METHOD, "--task", TASK]
    ours += ["--seeds", str(trials), "--cpus", "2"]
    ours += [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    return {
        "tenfold, in actors": [*ours, "--concurrent", "2"],
        "tenfold, in its process": [*ours, "--concurrent", "1"],
        PEER: [sys.executable, "-c", PLAIN, str(trials), folder],
    }


def measured(name: str, trials: int) -> tuple[float, float]:
    """Wall-clock seconds of a run, and the most MiB that its driver held."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        driver = psutil.Popen(
            commands(trials, folder)[name],
            env={**os.environ, "TENFOLD_RUNS": folder, "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[1],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        most = 0

        def watch() -> None:
            nonlocal most
            while driver.poll() is None:
                most = max(most, driver.memory_info().rss)
                time.sleep(0.1)

        watching = threading.Thread(target=watch)
        watching.start()
        if driver.wait():
            raise SystemExit(f"'{name}' failed with {trials} trials")
        watching.join()
        return time.perf_counter() - start, most / 2**20


def own_seconds() -> float:
    """A trial's own work."""
    method = get_method(METHOD)
    start = time.perf_counter()
    for seed in range(20):
        algorithm = method.load_trainable()(build_config(method, TASK, "softmw", SMALL, seed))
        while not algorithm.finished():
            algorithm.train()
        algorithm.stop()
    return (time.perf_counter() - start) / 20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--few", type=int, default=40)
    parser.add_argument("--many", type=int, default=200)
    asked = parser.parse_args()
    own_seconds()  # compiles
    own, trials = own_seconds(), asked.many - asked.few
    print(f"{asked.few} and {asked.many} trials; own work {own:.3f} s a trial")
    row = "{:<28}{:>16}{:>18}{:>14}{:>14}"
    print(row.format("run", "seconds a trial", "beyond its work", "KiB a trial", "MiB with all"))
    for name in commands(1, ""):
        part = 10 if name == PEER else 1
        few, small = measured(name, asked.few // part)
        many, large = measured(name, asked.many // part)
        each, kib = part * (many - few) / trials, part * 1024 * (large - small) / trials
        print(
            row.format(name, f"{each:.3f}", f"{each - own:.3f}", f"{kib:.0f}", f"{large:.0f}"),
            flush=True,
        )


if __name__ == "__main__":
    main()
