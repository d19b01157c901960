"""`tenfold evaluate`: judge a trial's last checkpoint, on its own task or another."""

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from tenfold.platform.configuration import build_config, flatten, trial_point
from tenfold.platform.errors import InputError, unknown
from tenfold.platform.experiment import load_experiment
from tenfold.platform.launch import EXPERIMENT_FILE, start_ray
from tenfold.platform.registry import get_method


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one checkpoint on one task, and the MLflow run that holds them."""

    run_id: str
    checkpoint: str
    task: str
    metrics: dict[str, float]


def evaluate(run_id: str, uri: str, task: str | None = None) -> Evaluation:
    """Restore a trial's newest checkpoint and run its algorithm's `evaluate`.

    The metrics go into a new MLflow run (tag ``kind=evaluation``) under the trial's run, and with
    them the files that the algorithm draws, if it has a ``draw_evaluation(folder) -> list[Path]``.

    Args:
        run_id: MLflow id of a trial.
        uri: The store that has it.
        task: Another task of the method; the trial's own when None.

    Raises:
        InputError: No such run, not a trial, no checkpoint on this machine, an unknown task, or
            one that the checkpoint does not fit.
    """
    client = MlflowClient(tracking_uri=uri)
    run = _trial_run(client, run_id)
    tags = run.data.tags
    method = get_method(tags["method"])
    if task is not None and task not in method.tasks:
        raise unknown(f"task of {method.name}", task, method.tasks)
    trial_dir = Path(tags["trial_dir"])
    checkpoint = _newest_checkpoint(trial_dir)
    experiment = load_experiment(Path(tags["run_dir"]) / EXPERIMENT_FILE)
    point = trial_point(experiment, json.loads((trial_dir / "params.json").read_text()))
    config = build_config(method, task or point.task, point.variant, point.overrides, point.seed)
    start_ray(experiment, None)
    algorithm = method.load_trainable()(config)
    algorithm.load_checkpoint(str(checkpoint))
    try:
        result = flatten(algorithm.evaluate(), separator="/")
    except ValueError as error:
        raise InputError(" ".join(str(error).split())) from None
    finally:
        algorithm.stop()
    metrics = {
        key: float(value)
        for key, value in result.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    judged = client.create_run(
        run.info.experiment_id,
        run_name=f"evaluation of {run.info.run_name}",
        tags={
            **{key: value for key, value in tags.items() if not key.startswith("mlflow.")},
            "kind": "evaluation",
            "task": task or point.task,
            "checkpoint": str(checkpoint),
            MLFLOW_PARENT_RUN_ID: run_id,
        },
    )
    for key, value in metrics.items():
        client.log_metric(judged.info.run_id, key, value)
    if hasattr(algorithm, "draw_evaluation"):
        with tempfile.TemporaryDirectory() as folder:
            for path in algorithm.draw_evaluation(Path(folder)):
                client.log_artifact(judged.info.run_id, str(path))
    client.set_terminated(judged.info.run_id)
    return Evaluation(judged.info.run_id, checkpoint.name, task or point.task, metrics)


def _trial_run(client: MlflowClient, run_id: str) -> Run:
    try:
        run = client.get_run(run_id)
    except MlflowException:
        raise InputError(
            f"No run '{run_id}' in the store: copy one from 'tenfold compare' or the MLflow UI."
        ) from None
    if run.data.tags.get("kind") != "trial":
        kind = run.data.tags.get("kind", "foreign")
        raise InputError(f"Run '{run_id}' is a {kind} run: give the id of one of its trials.")
    return run


def _newest_checkpoint(trial_dir: Path) -> Path:
    numbered = re.compile(r"checkpoint_(\d+)$")
    found = sorted(path for path in trial_dir.glob("checkpoint_*") if numbered.match(path.name))
    if not found:
        raise InputError(
            f"No checkpoint in '{trial_dir}': evaluate on the machine that ran the trial, "
            "or run it again."
        )
    return found[-1]
