"""`tenfold evaluate`: judge a trial's newest or best checkpoint, on its own task or another."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow.entities import Run
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from tenfold.platform.checkpoints import point_of
from tenfold.platform.configuration import Point, build_config, flatten, trial_point
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import EXPERIMENT_FILE, Experiment, read_record
from tenfold.platform.ray_session import has_ray, needs_actors, set_environment, start_ray
from tenfold.platform.registry import Method, get_method
from tenfold.platform.store import open_store
from tenfold.platform.tasks import labels, resolve
from tenfold.platform.training import TrainingConfig
from tenfold.platform.trial_files import checkpoint_of, find_trial, trial_folders
from tenfold.platform.trust import check_trusted
from tenfold.platform.video import check_video, film


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one checkpoint on one task, and the MLflow run that holds them."""

    run_id: str
    checkpoint: str
    task: str
    metrics: dict[str, float]
    video: str | None = None


@dataclass(frozen=True)
class Chosen:
    """A checkpoint of a trial, with what is needed to restore it."""

    method: Method
    experiment: Experiment
    point: Point
    checkpoint: Path


def checkpoint_to_restore(run: Run, uri: str, best: bool, trust: bool) -> Chosen:
    """A trial's newest or best checkpoint, see `evaluate`.

    Raises:
        InputError: No checkpoint on this machine, or one that could run somebody else's code.
    """
    method = get_method(run.data.tags["method"])
    run_dir, trial_dir = trial_folders(run, uri)
    checkpoint = checkpoint_of(trial_dir, method, best)
    if getattr(method.load_trainable(), "unpickles", True):
        check_trusted(checkpoint, trust)
    experiment = read_record(run_dir / EXPERIMENT_FILE)
    point = trial_point(experiment, point_of(trial_dir))
    return Chosen(method, experiment, point, checkpoint)


def restore(chosen: Chosen, config: Any) -> Any:
    """The method's algorithm at a checkpoint, on Ray if it needs that; stop it in the end."""
    if has_ray(None) or needs_actors(chosen.method, config):
        start_ray(chosen.experiment, None)
    else:
        set_environment()
    if isinstance(config, TrainingConfig):
        from tenfold.platform.devices import anywhere  # it imports torch

        config = anywhere(config)
    algorithm = chosen.method.load_trainable()(config)
    algorithm.load_checkpoint(str(chosen.checkpoint))
    return algorithm


def evaluate(
    run_id: str,
    uri: str,
    task: str | None = None,
    video: Path | None = None,
    best: bool = False,
    trust: bool = False,
) -> Evaluation:
    """Restore a trial's checkpoint and run its algorithm's `evaluate`.

    The metrics go into a new MLflow run (tag ``kind=evaluation``) under the trial's run, and with
    them the files that the algorithm draws, if it has a ``draw_evaluation(folder) -> list[Path]``,
    and the video. A trainable that can be judged on what its own config could not be built for has
    an ``evaluate_elsewhere(checkpoint, task, changes)`` of its class: of a language model whose
    tokenizer and sizes are those of the checkpoint, whatever the other text.

    Args:
        run_id: A trial, as `find_trial` takes it.
        uri: The store that has it.
        task: Another task of the method (a name, a file, a folder); the trial's own when None.
        video: Where to write an episode of the policy, see `tenfold.platform.video`.
        best: Take the checkpoint that scored best, and not the newest.
        trust: Load pickles of a checkpoint that this user did not make, see `trust`.

    Raises:
        InputError: No such run, not a trial, no checkpoint on this machine, an unknown task,
            one that the checkpoint does not fit, or one that cannot be drawn; or a checkpoint
            that could run somebody else's code.
    """
    client = open_store(uri)
    run = find_trial(client, run_id)
    chosen = checkpoint_to_restore(run, uri, best, trust)
    method, point = chosen.method, chosen.point
    tags, checkpoint = run.data.tags, chosen.checkpoint
    on = point.task if task is None else resolve(method, task)
    label = next(iter(labels([on])))
    trainable: Any = method.load_trainable()
    algorithm: Any = None
    try:
        if video is None and on != point.task and hasattr(trainable, "evaluate_elsewhere"):
            changes = {**method.variants[point.variant], **point.overrides}
            result = trainable.evaluate_elsewhere(checkpoint, on, changes)
        else:
            config = build_config(method, on, point.variant, point.overrides, point.seed)
            if video is not None:
                check_video(video, config, label)
            algorithm = restore(chosen, config)
            result = flatten(algorithm.evaluate(), separator="/")
            if video is not None:
                film(algorithm, video)
    except ValueError as error:
        raise InputError(" ".join(str(error).split())) from None
    finally:
        if algorithm is not None:
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
