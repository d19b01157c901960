"""Run an experiment: one code path for a run and a sweep, over `ray.tune.Tuner`.

Trials are the product of tasks, variants, sampled points and seeds. A trial is the method's
trainable (an RLlib `Algorithm` or a `TrainingTrial`), built from its point. A run's folder holds
the experiment, Tune's state and the MLflow journals, so that an interrupted run resumes from the
folder alone.
"""

import errno
import logging
import os
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import yaml
from ray import tune
from ray.tune.logger import JsonLoggerCallback
from ray.tune.schedulers import (
    ASHAScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)
from ray.tune.search import BasicVariantGenerator, Repeater, SearchAlgorithm, Searcher
from ray.tune.search.optuna import OptunaSearch

from tenfold.platform.checkpoints import still_there
from tenfold.platform.configuration import SEED_INDEX, build_config, trial_point
from tenfold.platform.errors import InputError
from tenfold.platform.experiment import Experiment, load_experiment
from tenfold.platform.journal import journals
from tenfold.platform.progress import Progress
from tenfold.platform.registry import Method, get_method
from tenfold.platform.store import check_folder, runs_folder
from tenfold.platform.tracking import TRACKING_FOLDER, Tracker
from tenfold.platform.training import TrainingConfig

EXPERIMENT_FILE = "experiment.yaml"
_MAX_FAILURES = 3


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        run_dir: The run's folder.
        trials: Number of trials.
        failed: Trials that ended in an error.
        unfinished: Trials that did not run to their end.
        undelivered: Some records still wait for `tenfold sync`.
    """

    run_dir: Path
    trials: int
    failed: int
    unfinished: int
    undelivered: bool


def launch(
    experiment: Experiment,
    uri: str,
    offline: bool = False,
    address: str | None = None,
    resume: bool = False,
) -> Outcome:
    """Run an experiment to its end, or pick up its last interrupted run.

    Args:
        experiment: What to run, checked by `configuration.check_configs`.
        uri: MLflow store that takes the results.
        offline: Keep the results in journals only.
        address: A running Ray cluster; a local Ray is started when None.
        resume: Continue the newest interrupted run of an experiment with this name.

    Raises:
        InputError: Nothing to resume, or the run folder cannot be written.
        RuntimeError: The disk filled up in mid-run.
    """
    storage = runs_folder() / "tune"
    check_folder(storage)
    interrupted = interrupted_run(storage, experiment) if resume else None
    method = get_method(experiment.method)
    start_ray(experiment, address)
    run_dir = interrupted or _new_run_dir(storage, experiment)
    tracker = Tracker(experiment, method, run_dir, uri, offline)
    progress = Progress(experiment, method)
    tuner = _make_tuner(experiment, method, run_dir, [JsonLoggerCallback(), tracker, progress])
    try:
        results = tuner.fit()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise RuntimeError(
                f"The disk of '{run_dir}' is full: free some space, then continue with "
                f"'tenfold run {run_dir / EXPERIMENT_FILE} --resume'."
            ) from None
        raise
    finally:
        progress.close()
    trials = results._experiment_analysis.trials
    return Outcome(
        run_dir=run_dir,
        trials=len(trials),
        failed=results.num_errors,
        unfinished=sum(not trial.is_finished() for trial in trials),
        undelivered=tracker.undelivered and any(_waiting(run_dir)),
    )


def interrupted_run(storage: Path, experiment: Experiment) -> Path:
    """The newest run folder of this experiment, refusing one of another content.

    Raises:
        InputError: There is none, or its experiment differs from this one.
    """
    pattern = re.compile(re.escape(experiment.name) + r"-\d{8}-\d{6}(-\d+)?$")
    found = sorted(
        path for path in storage.glob(f"{experiment.name}-*") if pattern.match(path.name)
    )
    if not found:
        raise InputError(
            f"Nothing to resume: no run of '{experiment.name}' in '{storage}'; "
            "start it without --resume."
        )
    recorded = load_experiment(found[-1] / EXPERIMENT_FILE)
    for field in Experiment.model_fields:
        if field not in ("tracking_uri", "resources") and (
            getattr(recorded, field) != getattr(experiment, field)
        ):
            raise InputError(
                f"Cannot resume '{found[-1].name}': its {field} is {getattr(recorded, field)!r}, "
                f"now it is {getattr(experiment, field)!r}; use "
                f"'tenfold run {found[-1] / EXPERIMENT_FILE} --resume'."
            )
    return found[-1]


def trial_class(experiment: Experiment, method: Method) -> type[tune.Trainable]:
    """The method's trainable, taking a point of the experiment."""
    base: type[tune.Trainable] = method.load_trainable()

    def config_of(point: Mapping[str, Any]) -> Any:
        at = trial_point(experiment, point)
        return build_config(method, at.task, at.variant, at.overrides, at.seed)

    class Trial(base):
        def __init__(self, config: Mapping[str, Any], **kwargs: Any) -> None:
            super().__init__(config_of(config), **kwargs)

        @classmethod
        def default_resource_request(cls, config: Mapping[str, Any]) -> Any:
            return base.default_resource_request(config_of(config).to_dict())

        def reset_config(self, new_config: Mapping[str, Any]) -> bool:
            """Become another trial in the same process, whose imports cost seconds."""
            self.cleanup()
            Trial.__init__(self, new_config, storage=self._storage)
            return True

        def restore(self, checkpoint_path: Any) -> None:
            saved = experiment.checkpoint
            super().restore(still_there(checkpoint_path, saved.every, saved.keep))

    Trial.__name__ = Trial.__qualname__ = method.name
    return Trial


def _make_tuner(
    experiment: Experiment, method: Method, run_dir: Path, callbacks: list[Any]
) -> tune.Tuner:
    trainable = trial_class(experiment, method)
    points = _points(experiment)
    run_config = tune.RunConfig(
        name=run_dir.name,
        storage_path=str(run_dir.parent),
        stop=dict(_stopping_rule(experiment, method)),
        callbacks=callbacks,
        verbose=0,
        checkpoint_config=tune.CheckpointConfig(
            checkpoint_frequency=experiment.checkpoint.every,
            num_to_keep=experiment.checkpoint.keep,
            checkpoint_at_end=True,
        ),
        failure_config=tune.FailureConfig(max_failures=_MAX_FAILURES),
    )
    if tune.Tuner.can_restore(str(run_dir)):
        tuner = tune.Tuner.restore(
            str(run_dir), trainable=trainable, param_space=points, resume_errored=True
        )
        # A restored Tuner unpickles the callbacks it was saved with; ours are made anew.
        tuner._local_tuner._run_config.callbacks = callbacks
        return tuner
    return tune.Tuner(
        trainable,
        param_space=points,
        run_config=run_config,
        tune_config=_tune_config(experiment, method),
    )


def _points(experiment: Experiment) -> dict[str, Any]:
    space = experiment.search_space()
    domains = dict(space.define(tune)) if space else {}
    if space and experiment.search_kind() == "grid":
        domains = {key: tune.grid_search(list(domains[key].categories)) for key in domains}
    if space and experiment.search_kind() == "optuna":
        return {"task": experiment.tasks[0], "variant": experiment.variants[0], **domains}
    return {
        "task": tune.grid_search(experiment.tasks),
        "variant": tune.grid_search(experiment.variants),
        "seed": tune.grid_search(experiment.seeds),
        **domains,
    }


def _stopping_rule(experiment: Experiment, method: Method) -> Mapping[str, float]:
    space = experiment.search_space()
    return experiment.stop or (space.stop if space else {}) or method.stop


def _tune_config(experiment: Experiment, method: Method) -> tune.TuneConfig:
    space = experiment.search_space()
    samples = 1
    concurrent = experiment.resources.concurrent or _trials_at_once(experiment, method)
    search: Searcher | SearchAlgorithm = BasicVariantGenerator(
        constant_grid_search=True,
        random_state=experiment.seeds[0],
        max_concurrent=concurrent or 0,
    )
    if space is not None:
        kind = experiment.search_kind()
        samples = 1 if kind == "grid" else experiment.samples or space.samples
        if kind == "optuna":
            optuna = OptunaSearch(metric=method.metric, mode=method.mode, seed=experiment.seeds[0])
            search = Repeater(optuna, repeat=len(experiment.seeds))
            samples *= len(experiment.seeds)
    return tune.TuneConfig(
        metric=method.metric,
        mode=method.mode,
        num_samples=samples,
        search_alg=search,
        scheduler=_scheduler(experiment),
        max_concurrent_trials=concurrent if isinstance(search, Searcher) else None,
        trial_name_creator=_trial_name,
        trial_dirname_creator=_trial_name,
        reuse_actors=True,
    )


def _trials_at_once(experiment: Experiment, method: Method) -> int | None:
    """Trials that fit when Ray Train's workers, which Tune does not see, take the resources."""
    variant = experiment.variants[0]
    config = build_config(method, experiment.tasks[0], variant, experiment.config, seed=0)
    if not isinstance(config, TrainingConfig):
        return None
    try:
        return config.trials_at_once(ray.cluster_resources())
    except ValueError as error:
        raise InputError(str(error)) from None


def _scheduler(experiment: Experiment) -> TrialScheduler | None:
    space = experiment.search_space()
    name = experiment.scheduler or (space.scheduler if space else None)
    makers: dict[str | None, Callable[[], TrialScheduler | None]] = {
        None: lambda: None,
        "asha": ASHAScheduler,
        "median": MedianStoppingRule,
        "pbt": lambda: PopulationBasedTraining(
            perturbation_interval=experiment.checkpoint.every,
            hyperparam_mutations=dict(space.define(tune)) if space else {},
        ),
    }
    if name == "pbt":  # it draws from the global generator
        random.seed(experiment.seeds[0])
    return makers[name]()


def _trial_name(trial: Any) -> str:
    point = trial.config
    seed = point.get("seed", point.get(SEED_INDEX))
    task = re.sub(r"[^A-Za-z0-9_.-]+", "-", str(point["task"]))
    return f"{task}_{point['variant']}_seed{seed}_{trial.trial_id}"


def _new_run_dir(storage: Path, experiment: Experiment) -> Path:
    """Make the run's folder, one that no other run has even if it starts in the same second."""
    name = f"{experiment.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    run_dir, number = storage / name, 1
    while True:
        try:
            run_dir.mkdir(parents=True)
            break
        except FileExistsError:
            number += 1
            run_dir = storage / f"{name}-{number}"
    fields = experiment.model_dump(mode="json", exclude_defaults=True)
    (run_dir / EXPERIMENT_FILE).write_text(yaml.safe_dump(fields, sort_keys=False))
    return run_dir


def start_ray(experiment: Experiment, address: str | None) -> None:
    """Connect to a Ray cluster, or start a local Ray unless this process has one.

    Raises:
        InputError: No cluster answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    # An iteration in which no episode ends has no return yet; that is no reason to fail a trial.
    os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
    # A store that is down must not hold the run up: the journal keeps what it does not take.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    # Progress and error files are ours to show: Tune's own output would say it all twice.
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    for noisy in ("ray.tune", "ray.train", "ray.rllib", "mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    # Tune's own record of the sweep is what --resume starts from: keep it at most a second old.
    os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1")
    if ray.is_initialized():
        return
    address = address or os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        cpus = experiment.resources.cpus
        options |= {"address": "local", "num_cpus": cpus, "include_dashboard": False}
    else:
        options |= {"address": address}
    try:
        ray.init(**options)
    except (ConnectionError, TimeoutError) as error:
        raise InputError(
            f"No Ray cluster answers at '{address}' ({error}): give the address that "
            "'ray start --head' printed, or leave it out to run locally."
        ) from None


def _waiting(run_dir: Path) -> list[str]:
    return [j.key for j in journals(run_dir / TRACKING_FOLDER) if j.waiting()]
