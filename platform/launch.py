"""Run an experiment: one code path for a run and a sweep, over `ray.tune.Tuner`.

Trials are the product of tasks, variants, sampled points and seeds. A trial is the method's
trainable (an RLlib `Algorithm` or a `TrainingTrial`), built from its point. A run's folder holds
the experiment, Tune's state and the MLflow journals, so that an interrupted run resumes from the
folder alone.
"""

import errno
import hashlib
import pickle
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.error import TuneError
from ray.tune.experiment import Trial
from ray.tune.result_grid import ResultGrid
from ray.tune.search import BasicVariantGenerator

from tenfold.platform.configuration import SEED_INDEX, requested
from tenfold.platform.errors import InputError, RunError, shown
from tenfold.platform.experiment import EXPERIMENT_FILE, Experiment, read_record
from tenfold.platform.faults import only_faults_retried
from tenfold.platform.in_process import trials_in_process
from tenfold.platform.journal import journals
from tenfold.platform.loggers import check_loggers, loggers
from tenfold.platform.progress import Progress
from tenfold.platform.ray_session import (
    check_room,
    has_ray,
    local_resources,
    needs_actors,
    set_environment,
    start_ray,
)
from tenfold.platform.results import Results
from tenfold.platform.run_lock import only_driver
from tenfold.platform.schedulers import cell, check_population, make_scheduler
from tenfold.platform.seals import Damaged, read_sealed, sealed, sealed_text
from tenfold.platform.search import (
    Point,
    all_points,
    missing_points,
    optuna,
    sampled_values,
    samples,
)
from tenfold.platform.store import check_folder, runs_folder
from tenfold.platform.study import Study
from tenfold.platform.tasks import fingerprint, labels
from tenfold.platform.tracking import TRACKING_FOLDER, Tracker
from tenfold.platform.training import TrainingConfig
from tenfold.platform.trial import CHECKPOINT_SCORE, SCORE, has_ended, trial_class
from tenfold.platform.tune_state import KeepState, begin, put_back
from tenfold.platform.whole_file import replace_file
from tenfold.platform.yaml_text import yaml_of

# Within which Tune runs.
Place = Callable[[], AbstractContextManager[None]]

INPUTS_FILE = "inputs.json"
_LATER_FILE = "later-stop"
_MAX_FAILURES = 3
# What a resumed run may not change; of the other fields `_check_extension` says how they may grow.
_FIXED = ("name", "method", "config", "variant_config", "space", "search", "scheduler")


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        run_dir: The run's folder.
        trials: Number of trials.
        failed: Trials that ended in an error.
        unfinished: Trials that did not run to their end: the run was interrupted.
        undelivered: Some records still wait for `tenfold sync`.
    """

    run_dir: Path
    trials: int
    failed: int
    unfinished: int
    undelivered: bool


def launch(
    study: Study,
    uri: str,
    offline: bool = False,
    address: str | None = None,
    resume: bool | Path = False,
) -> Outcome:
    """Run an experiment to its end, or pick up its last run where it was left or fell short.

    Args:
        study: What to run, see `resolve_study`.
        uri: MLflow store that takes the results.
        offline: Keep the results in journals only.
        address: A running Ray cluster; a local Ray is started when None.
        resume: Continue the newest run of an experiment with this name, or the one of a folder:
            what was interrupted, and what the experiment asks for beyond it (seeds, samples,
            tasks, variants, a later stop).

    Raises:
        InputError: Nothing to resume, another driver has the run, a trial that asks for more than
            Ray has, a logger that cannot work, or the run folder cannot be written.
        RunError: The disk filled up in mid-run.
    """
    experiment = study.experiment
    check_loggers(experiment)
    storage = runs_folder() / "tune"
    check_folder(storage)
    length = _length(study)
    named = resume if isinstance(resume, Path) else None
    earlier = resumable_run(storage, experiment, named) if resume else None
    if earlier is not None:  # refused before Ray starts
        with only_driver(earlier):
            pass
    if experiment.scheduler_kind() == "pbt":
        check_population(study, all_points(study))
    needed = _needed(study)
    local = local_resources(experiment)
    place: Place = nullcontext
    in_process = False
    if not has_ray(address):
        check_room({"CPU": needed.get("CPU", 0.0)}, local)
        in_process = set(needed) <= {"CPU"} and _is_one_after_another(study, local)
    if in_process:
        set_environment()
        place = partial(trials_in_process, local)
    else:
        start_ray(experiment, address)
        _check_devices(study)
        check_room(needed, ray.cluster_resources())
    run_dir = earlier or _new_run_dir(storage, experiment)
    run = _Run(study, run_dir, Tracker(study, run_dir, uri, offline), length, place)
    with _full_disk_told(run_dir), only_driver(run_dir), _termination_as_interruption():
        return run.to_its_end()


def run_of(file: Path) -> Path | None:
    """The folder of the run whose own record a file is; None for any other file."""
    storage, folder = runs_folder() / "tune", file.resolve().parent
    is_own = file.name == EXPERIMENT_FILE and folder.parent == storage.resolve()
    return storage / folder.name if is_own else None


def resumable_run(storage: Path, experiment: Experiment, run_dir: Path | None = None) -> Path:
    """The newest run folder of this experiment, or the given one, if the experiment continues it.

    Raises:
        InputError: There is none, or its experiment is another.
    """
    if run_dir is not None:
        _check_extension(run_dir, experiment)
        return run_dir
    pattern = re.compile(re.escape(experiment.name) + r"-\d{8}-\d{6}(-\d+)?$")
    found = sorted(
        path for path in storage.glob(f"{experiment.name}-*") if pattern.match(path.name)
    )
    if not found:
        raise InputError(
            f"Nothing to resume: no run of '{experiment.name}' in '{storage}'; "
            "start it without --resume."
        )
    _check_extension(found[-1], experiment)
    return found[-1]


def _check_extension(run_dir: Path, experiment: Experiment) -> None:
    """An experiment continues a run if it is the run's own, or asks for more of the same."""
    recorded = read_record(run_dir / EXPERIMENT_FILE)
    inputs = _inputs(run_dir)
    longer = _is_longer(recorded, experiment)
    grown = {
        "tasks": set(labels(recorded.tasks)) <= set(labels(experiment.tasks)),
        "variants": set(recorded.variants) <= set(experiment.variants),
        "seeds": experiment.seeds[: len(recorded.seeds)] == recorded.seeds,
        "samples": samples(experiment) >= samples(recorded),
        "stop": longer is not None,
        **{field: getattr(recorded, field) == getattr(experiment, field) for field in _FIXED},
    }
    for field, fits in grown.items():
        if not fits:
            raise InputError(
                f"Cannot resume '{run_dir.name}': its {field} is {getattr(recorded, field)!r}, "
                f"now it is {getattr(experiment, field)!r}; use "
                f"'tenfold run {run_dir / EXPERIMENT_FILE} --resume', or start a new run."
            )
    for label, task in labels(experiment.tasks).items():
        if label in inputs and inputs[label] != fingerprint(task):
            raise InputError(
                f"Cannot resume '{run_dir.name}': '{label}' has changed since; start a new run."
            )
    if experiment.scheduler_kind() is not None and (
        longer or (experiment.scheduler_kind() == "pbt" and samples(experiment) > samples(recorded))
    ):
        raise InputError(
            f"Cannot resume '{run_dir.name}' with more: scheduler '{experiment.scheduler_kind()}' "
            "has compared its trials as they were; start a new run."
        )


def _is_longer(recorded: Experiment, experiment: Experiment) -> bool | None:
    """Whether the stopping rule lets trials run on; None if it is another rule."""
    before, now = recorded.stopping_rule(), experiment.stopping_rule()
    if before.keys() != now.keys() or any(now[key] < value for key, value in before.items()):
        return None
    return before != now


@dataclass
class _Run:
    """A run in its folder.

    The first trials are a Tune experiment in the folder itself, those that were asked for later in
    ``more-1``, ``more-2``, ... below it. Trials run in actors, or where `place` says.
    """

    study: Study
    run_dir: Path
    tracker: Tracker
    length: tuple[str, float] | None
    place: Place

    @property
    def experiment(self) -> Experiment:
        """What the study is of."""
        return self.study.experiment

    def to_its_end(self) -> Outcome:
        """Run all that is missing."""
        recorded = read_record(self.run_dir / EXPERIMENT_FILE)
        later = self.run_dir / _LATER_FILE  # until the trials that are to run on have begun to
        if _is_longer(recorded, self.experiment):
            later.touch()
        longer = later.exists()
        _record(self.run_dir, self.experiment)
        self.tracker.open()
        try:
            return self._run_missing(longer)
        except KeyboardInterrupt:
            killed = self.tracker.close("KILLED")
            known = len(journals(self.run_dir / TRACKING_FOLDER)) - 1
            return Outcome(self.run_dir, known, 0, max(killed, 1), self.tracker.undelivered)
        except BaseException:
            with suppress(OSError):  # what ended the run may have filled the disk
                self.tracker.close("KILLED")
            raise

    def _run_missing(self, longer: bool) -> Outcome:
        """Go on with the trials that are there, then run the points that have none.

        Args:
            longer: Trials that ended by the former stopping rule are to run on.
        """
        trials: list[Trial] = []
        parts = [self.run_dir, *sorted(self.run_dir.glob("more-*"), key=_number)]
        for part in parts:
            begun, damaged = put_back(part)
            for sentence in damaged:
                print(sentence)
            if begun:
                trials += self._fit(self._restored(part, longer, trials))
        if _all_ended(trials):
            (self.run_dir / _LATER_FILE).unlink(missing_ok=True)
            for points in self._missing(trials):
                part = self.run_dir if not trials else self.run_dir / f"more-{len(parts)}"
                trials += self._fit(self._new(part, points, trials))
                parts.append(part)
                if not _all_ended(trials):
                    break
        failed = sum(trial.status == Trial.ERROR for trial in trials)
        unfinished = sum(not has_ended(trial) for trial in trials)
        self.tracker.close("KILLED" if unfinished else "FAILED" if failed else "FINISHED")
        return Outcome(
            run_dir=self.run_dir,
            trials=len(trials),
            failed=failed,
            unfinished=unfinished,
            undelivered=self.tracker.undelivered and any(_waiting(self.run_dir)),
        )

    def _missing(self, trials: Sequence[Trial]) -> Iterator[list[Point] | int]:
        """Points that have no trial yet; for Optuna the number of proposals that it still owes."""
        configs = [trial.config for trial in trials]
        if self.experiment.search_kind() == "optuna":
            known = {repr(sampled_values(config)): sampled_values(config) for config in configs}
            base = {"task": next(iter(labels(self.experiment.tasks)))}
            base["variant"] = self.experiment.variants[0]
            wanted: list[Point] = [
                {**base, SEED_INDEX: index, **values}
                for values in known.values()
                for index in range(len(self.experiment.seeds))
            ]
            points = missing_points(wanted, configs)
            owed = samples(self.experiment) - len(known)
            if points:
                yield points
            if owed > 0:
                yield owed
            return
        wanted = all_points(self.study)
        if self.experiment.scheduler_kind() == "pbt":  # it has changed the swept values
            cells = {cell(config) for config in configs}
            points = [point for point in wanted if cell(point) not in cells]
        else:
            points = missing_points(wanted, configs)
        if points:
            yield points

    def _fit(self, tuner: tune.Tuner) -> list[Trial]:
        """Run a Tuner; returns its trials, those of a restored one that had ended among them."""
        try:
            with only_faults_retried(), self.place():
                results: ResultGrid = tuner.fit()
        finally:
            self.progress.close()
        trials: list[Trial] = results._experiment_analysis.trials
        return trials

    def _restored(self, part: Path, longer: bool, earlier: Sequence[Trial]) -> tune.Tuner:
        kinds = tune.ResumeConfig.ResumeType
        resume = tune.ResumeConfig(
            finished=kinds.RESUME if longer else kinds.SKIP,
            unfinished=kinds.RESUME,
            errored=kinds.RESUME,
        )
        trainable = trial_class(self.study)
        try:
            tuner = tune.Tuner.restore(str(part), trainable=trainable, _resume_config=resume)
        except (EOFError, pickle.UnpicklingError, OSError, ValueError) as error:
            raise InputError(
                f"Cannot resume '{self.run_dir.name}': Tune's record in '{part}' cannot be read "
                f"({type(error).__name__}: {shown(str(error))}); start a new run."
            ) from None
        # A restored Tuner unpickles the callbacks it was saved with; ours are made anew.
        tuner._local_tuner._run_config.callbacks = self._callbacks(part, earlier)
        return tuner

    def _new(self, part: Path, points: list[Point] | int, trials: Sequence[Trial]) -> tune.Tuner:
        concurrent = self.experiment.resources.concurrent or self._trials_at_once()
        tuning: dict[str, Any] = {
            "metric": SCORE,
            "mode": self.study.method.mode,
            "trial_name_creator": _trial_name,
            "trial_dirname_creator": _trial_name,
            "reuse_actors": True,
        }
        if isinstance(points, int):
            known = _mean_scores(trials)
            task, variant = next(iter(labels(self.experiment.tasks))), self.experiment.variants[0]
            param_space: dict[str, Any] = {"task": task, "variant": variant, **self.study.domains}
            tuning |= {
                "search_alg": optuna(self.study, known),
                "num_samples": points * len(self.experiment.seeds),
                "max_concurrent_trials": concurrent,
            }
        else:
            param_space = tune.grid_search(points)
            population = self.experiment.scheduler_kind() == "pbt"
            made_at_once = 0 if population else concurrent or 0
            tuning["search_alg"] = BasicVariantGenerator(max_concurrent=made_at_once)
            # A run that is killed before its first record begins anew, with the same journals.
            mark = hashlib.sha256(f"{self.run_dir.name}/{part.name}".encode()).hexdigest()
            tuning["search_alg"]._uuid_prefix = f"{mark[:5]}_"
        if self.length is not None:
            tuning["scheduler"] = make_scheduler(self.study, self.length, concurrent)
        begin(part)
        return tune.Tuner(
            trial_class(self.study),
            param_space=param_space,
            run_config=self._run_config(part, trials),
            tune_config=tune.TuneConfig(**tuning),
        )

    def _run_config(self, part: Path, earlier: Sequence[Trial]) -> tune.RunConfig:
        saved, method = self.experiment.checkpoint, self.study.method
        return tune.RunConfig(
            name=part.name,
            storage_path=str(part.parent),
            callbacks=self._callbacks(part, earlier),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(
                checkpoint_frequency=saved.every,
                num_to_keep=saved.keep,
                checkpoint_score_attribute=None if method.cumulative else CHECKPOINT_SCORE,
                checkpoint_score_order=method.mode,
                checkpoint_at_end=True,
            ),
            failure_config=tune.FailureConfig(max_failures=_MAX_FAILURES),
        )

    def _callbacks(self, part: Path, earlier: Sequence[Trial]) -> list[Any]:
        self.progress = Progress(self.study, earlier)
        further = loggers(self.experiment, self.study.method)
        return [Results(), self.tracker, *further, self.progress, KeepState(part)]

    def _trials_at_once(self) -> int | None:
        """Trials that fit when Ray Train's workers, which Tune does not see, take the resources."""
        config = self.study.unswept(self.experiment.variants[0])
        if not isinstance(config, TrainingConfig):
            return None
        return config.trials_at_once(ray.cluster_resources())


def _is_one_after_another(study: Study, local: Mapping[str, float]) -> bool:
    """Whether nothing of a run would be done at the same time, so that it needs no actors."""
    experiment = study.experiment
    configs = map(study.unswept, experiment.variants)
    if "num_env_runners" in study.domains or any(needs_actors(study.method, c) for c in configs):
        return False
    if "wandb" in experiment.log:  # Tune's callback has an actor for each trial
        return False
    return experiment.trials() == 1 or experiment.resources.concurrent == 1 or local["CPU"] == 1


def _check_devices(study: Study) -> None:
    """Refuse a GPU, or a precision, that Ray's machines have not."""
    for config in map(study.unswept, study.experiment.variants):
        if isinstance(config, TrainingConfig):
            config.check_devices(ray.cluster_resources())


def _needed(study: Study) -> dict[str, float]:
    """The most that a trial of any variant asks for."""
    needed: dict[str, float] = {}
    for variant in study.experiment.variants:
        for name, count in requested(study.method, study.unswept(variant)).items():
            needed[name] = max(count, needed.get(name, 0.0))
    return needed


def _length(study: Study) -> tuple[str, float] | None:
    """A result key that grows, and its value at a trial's end; None where no scheduler asks.

    Raises:
        InputError: A scheduler asks, and neither the stopping rule nor the method says.
    """
    scheduler, method = study.experiment.scheduler_kind(), study.method
    if scheduler is None:
        return None
    length = study.length()
    if length is None:
        raise InputError(
            f"'scheduler: {scheduler}' must know how long a trial of {method.name} runs: give "
            f"--stop {method.step_metric}=NUMBER."
        )
    return length


def _mean_scores(trials: Sequence[Trial]) -> list[tuple[Point, float]]:
    """Sampled values of earlier trials and the mean of their last scores."""
    scores: dict[str, list[float]] = {}
    values: dict[str, Point] = {}
    for trial in trials:
        point = sampled_values(trial.config)
        if SCORE in (trial.last_result or {}):
            values[repr(point)] = point
            scores.setdefault(repr(point), []).append(trial.last_result[SCORE])
    return [(values[key], sum(each) / len(each)) for key, each in scores.items()]


def _all_ended(trials: Sequence[Trial]) -> bool:
    return all(map(has_ended, trials))


def _trial_name(trial: Trial) -> str:
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
    _record(run_dir, experiment)
    return run_dir


def _record(run_dir: Path, experiment: Experiment) -> None:
    """Write down what is asked for, and what tells its files from changed ones."""
    fields = experiment.model_dump(mode="json", exclude_defaults=True)
    text = yaml_of(fields)
    replace_file(run_dir / EXPERIMENT_FILE, sealed_text(text))
    marks = {label: fingerprint(task) for label, task in labels(experiment.tasks).items()}
    known = {**_inputs(run_dir), **{label: mark for label, mark in marks.items() if mark}}
    replace_file(run_dir / INPUTS_FILE, sealed(known))


def _inputs(run_dir: Path) -> dict[str, str]:
    """Fingerprints of the files and folders that stand as tasks, by label.

    Raises:
        InputError: They are damaged.
    """
    file = run_dir / INPUTS_FILE
    if not file.exists():
        return {}
    try:
        found: dict[str, str] = read_sealed(file, older=True)
    except Damaged as error:
        raise InputError(
            f"Cannot resume '{run_dir.name}': {error}; delete '{file}' to resume without a check "
            "that its tasks are still the same."
        ) from None
    return found


def _number(part: Path) -> int:
    return int(part.name.rpartition("-")[2])


def _waiting(run_dir: Path) -> list[str]:
    return [j.key for j in journals(run_dir / TRACKING_FOLDER) if j.waiting()]


@contextmanager
def _full_disk_told(run_dir: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, TuneError) as error:  # Tune has the text of what its callbacks raise
        full = (errno.ENOSPC, errno.EDQUOT)
        if getattr(error, "errno", None) not in full and not any(
            f"OSError: [Errno {number}]" in str(error) for number in full
        ):
            raise
        where = getattr(error, "filename", None) or run_dir
        raise RunError(
            f"The disk of '{where}' is full: free some space, then continue with 'tenfold run "
            f"{run_dir / EXPERIMENT_FILE} --resume'."
        ) from None


@contextmanager
def _termination_as_interruption() -> Iterator[None]:
    """While a run goes on, SIGTERM (of a stopped job) ends it at once, and that is written down.

    Ctrl-C is Tune's: it saves the state of the experiment and ends the trials one by one. A job
    that is stopped has three seconds.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
