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
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import EXPERIMENT_FILE, read_record
from tenfold.platform.ray_session import start_ray
from tenfold.platform.registry import get_method
from tenfold.platform.runs import ID_PREFIX, search_runs
from tenfold.platform.store import open_store, runs_folder, sqlite_path
from tenfold.platform.tasks import labels, resolve
from tenfold.platform.video import check_video, film


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one checkpoint on one task, and the MLflow run that holds them."""

    run_id: str
    checkpoint: str
    task: str
    metrics: dict[str, float]
    video: str | None = None


def evaluate(
    run_id: str, uri: str, task: str | None = None, video: Path | None = None
) -> Evaluation:
    """Restore a trial's newest checkpoint and run its algorithm's `evaluate`.

    The metrics go into a new MLflow run (tag ``kind=evaluation``) under the trial's run, and with
    them the files that the algorithm draws, if it has a ``draw_evaluation(folder) -> list[Path]``,
    and the video.

    Args:
        run_id: A trial, as `find_trial` takes it.
        uri: The store that has it.
        task: Another task of the method (a name, a file, a folder); the trial's own when None.
        video: Where to write an episode of the policy, see `tenfold.platform.video`.

    Raises:
        InputError: No such run, not a trial, no checkpoint on this machine, an unknown task,
            one that the checkpoint does not fit, or one that cannot be drawn.
    """
    client = open_store(uri)
    run = find_trial(client, run_id)
    tags = run.data.tags
    method = get_method(tags["method"])
    chosen = None if task is None else resolve(method, task)
    run_dir = _present(Path(tags["run_dir"]), uri)
    trial_dir = run_dir / Path(tags["trial_dir"]).relative_to(tags["run_dir"])
    checkpoint = _newest_checkpoint(trial_dir)
    experiment = read_record(run_dir / EXPERIMENT_FILE)
    point = trial_point(experiment, json.loads((trial_dir / "params.json").read_text()))
    on = chosen or point.task
    config = build_config(method, on, point.variant, point.overrides, point.seed)
    label = next(iter(labels([on])))
    if video is not None:
        check_video(video, config, label)
    start_ray(experiment, None)
    algorithm = method.load_trainable()(config)
    algorithm.load_checkpoint(str(checkpoint))
    try:
        result = flatten(algorithm.evaluate(), separator="/")
        if video is not None:
            film(algorithm, video)
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
            "task": label,
            "task_path": on,
            "checkpoint": str(checkpoint),
            MLFLOW_PARENT_RUN_ID: run.info.run_id,
        },
    )
    for key, value in metrics.items():
        client.log_metric(judged.info.run_id, key, value)
    if hasattr(algorithm, "draw_evaluation"):
        with tempfile.TemporaryDirectory() as folder:
            for path in algorithm.draw_evaluation(Path(folder)):
                client.log_artifact(judged.info.run_id, str(path))
    if video is not None:
        client.log_artifact(judged.info.run_id, str(video))
    client.set_terminated(judged.info.run_id)
    shown = None if video is None else str(video)
    return Evaluation(judged.info.run_id, checkpoint.name, label, metrics, shown)


def find_trial(client: MlflowClient, name: str) -> Run:
    """The MLflow run of a trial.

    Args:
        client: Of the store.
        name: The run's id or the beginning of it, the trial's folder or that folder's name, or the
            folder of a run with one trial.

    Raises:
        InputError: Nothing has this name, several trials have, or what has it is no trial.
    """
    try:
        exact = client.get_run(name)
    except MlflowException:
        exact = None
    if exact is not None:
        if exact.data.tags.get("kind") != "trial":
            kind = exact.data.tags.get("kind", "foreign")
            raise InputError(f"Run '{name}' is of kind '{kind}': give the id of one of its trials.")
        return exact
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    trials = search_runs(client, ids, "tags.kind = 'trial'")
    folder = Path(name).name
    for found in (
        [run for run in trials if len(name) >= ID_PREFIX and run.info.run_id.startswith(name)],
        [run for run in trials if Path(run.data.tags["trial_dir"]).name == folder],
        [run for run in trials if Path(run.data.tags["run_dir"]).name == folder],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            some = ", ".join(f"{run.info.run_id[:12]} ({run.info.run_name})" for run in found[:3])
            more = ", ..." if len(found) > 3 else ""
            raise InputError(f"{len(found)} trials are called '{name}': give one of {some}{more}.")
    raise InputError(
        f"No run '{name}' in the store: copy one from 'tenfold compare' or the MLflow UI."
    )


def _present(recorded: Path, uri: str) -> Path:
    """The folder of a run, also where all runs have moved together.

    Raises:
        InputError: It is nowhere.
    """
    store = sqlite_path(uri)
    roots = [recorded.parent, runs_folder() / "tune", *([store.parent / "tune"] if store else [])]
    for root in roots:
        if (root / recorded.name / EXPERIMENT_FILE).is_file():
            return root / recorded.name
    raise InputError(
        f"The folder of this run, '{recorded}', is not on this machine, nor is '{recorded.name}' "
        f"in {' or '.join(str(root) for root in roots[1:])}: set TENFOLD_RUNS to the folder of "
        "runs, or evaluate on the machine that ran the trial."
    )


def _newest_checkpoint(trial_dir: Path) -> Path:
    numbered = re.compile(r"checkpoint_(\d+)$")
    found = sorted(path for path in trial_dir.glob("checkpoint_*") if numbered.match(path.name))
    if not found:
        raise InputError(
            f"There is no checkpoint in '{trial_dir}': the trial ended before its first one, or it "
            "was deleted; run it again."
        )
    return found[-1]
