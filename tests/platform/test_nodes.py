"""A cluster of three nodes loses one in mid-run, with all that works there (about 60 s).

Ray's own `Cluster` starts the nodes as processes of this machine, from a process of its own, since
it takes Ray's global state. A trial's actor, its runner and Ray Train's workers die with their
node; another node comes, as an autoscaler brings one.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import Started
from mlflow import MlflowClient

# Loses a node, and gets another, for each line that it is given.
CLUSTER = """
import sys
from ray.cluster_utils import Cluster

sys.executable = sys.argv[1]  # Ray starts its workers with it
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
for _ in range(2):
    cluster.add_node(num_cpus=1)
print("address", cluster.address, flush=True)
for _ in sys.stdin:
    cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    cluster.add_node(num_cpus=1)
cluster.shutdown()
"""

KINDS = {
    "planning": {
        "method": "ucb1",
        "seeds": 2,
        "config": {"pulls_per_iteration": 1_500},
        "stop": {"pulls": 30_000},
    },
    "learner": {
        "method": "dqn",
        "seeds": 2,
        "config": {
            "min_sample_timesteps_per_iteration": 50,
            "num_steps_sampled_before_learning_starts": 50,
        },
        "stop": {"training_iteration": 8},
    },
    "ray-train": {
        "method": "qsr",
        "seeds": 1,
        "config": {
            "steps": 120,
            "report_every": 10,
            "workers": 2,
            "workers_per_process": 1,
            "batch": 4,
            "sizes": {"num_hidden_layers": 1, "hidden_size": 8, "intermediate_size": 8},
        },
    },
}
RESULTS = {"planning": 20, "learner": 8, "ray-train": 12}


class Cluster:
    """A head that takes no work, and two nodes of one CPU."""

    def __init__(self, interpreter: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER, interpreter],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        said = (line.split() for line in self.process.stdout)
        self.address = next(words[1] for words in said if words[:1] == ["address"])

    def lose_a_node(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def shut_down(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="module")
def cluster(prefork: Path) -> Iterator[Cluster]:
    made = Cluster(prefork)
    yield made
    made.shut_down()


def journals(runs: Path) -> dict[str, list[dict]]:
    found = (runs / "tune").glob("nodes-*/tracking/*.jsonl")
    return {
        path.stem: [json.loads(line) for line in path.read_text().splitlines()]
        for path in found
        if path.stem != "sweep"
    }


def all_are_on_their_way(runs: Path, trials: int) -> bool:
    reported = [sum(r["op"] == "metrics" for r in each) for each in journals(runs).values()]
    return len(reported) == trials and min(reported) >= 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_loses_nothing_with_a_node(
    kind: str, cluster: Cluster, tmp_path: Path, runs: Path, started: Started
) -> None:
    experiment = {**KINDS[kind], "name": "nodes", "checkpoint": {"every": 1, "keep": 2}}
    file = tmp_path / "nodes.yaml"
    file.write_text(yaml.safe_dump(experiment))
    with started("run", file, cwd=tmp_path, address=cluster.address) as driver:
        while not all_are_on_their_way(runs, experiment["seeds"]):
            assert driver.poll() is None, driver.communicate()
            time.sleep(0.02)
        cluster.lose_a_node()
        said = driver.communicate()
    assert driver.returncode == 0, said
    client = MlflowClient(tracking_uri=f"sqlite:///{runs}/mlflow.db")
    found = client.get_experiment_by_name("nodes")
    assert found is not None
    trials = client.search_runs([found.experiment_id], "tags.kind = 'trial'")
    assert len(trials) == experiment["seeds"]
    for trial in trials:
        assert trial.info.status == "FINISHED"
        reported: set[int] = set()
        for metric in trial.data.metrics:
            steps = [m.step for m in client.get_metric_history(trial.info.run_id, metric)]
            assert len(steps) == len(set(steps)), metric
            reported.update(steps)
        assert len(reported) == RESULTS[kind]
