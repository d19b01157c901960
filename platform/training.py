"""Training loops as Tune trials: in the trial's own process, or on Ray Train workers.

A method that trains by gradients is a `TrainingLoop`: an object that advances by some steps at a
time and can be saved and loaded. `TrainingTrial` makes it a Tune trainable. With ``workers=0`` the
loop runs inside the trial; with more, Ray Train runs one loop in each of its workers (gloo on CPU,
NCCL on GPUs) and the trial passes their reports on; `devices` says where a loop computes. Either
way a trial is the same to Tune: one result for every report, checkpoints that a killed trial
resumes from, and the same parameters after a resume as without one.
"""

import json
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import ray
from pydantic import BeforeValidator
from ray import tune
from ray.tune.result import DONE

from tenfold.platform.errors import InputError, shown
from tenfold.platform.parameters import Parameters, parameter
from tenfold.platform.train_workers import TrainWorkers, check_parts

FIXED_FILE = "fixed.json"
T = TypeVar("T")


def _listed(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError("give a list")
    return tuple(value)


def _pair(value: Any) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("give a list of two numbers")
    return tuple(value)


Listed = Annotated[T, BeforeValidator(_listed)]
"""A tuple that may be given as a list, as YAML has them."""

Pair = Annotated[T, BeforeValidator(_pair)]
"""A tuple of two that may be given as a list."""


class TrainingConfig(Parameters):
    """What every training loop is told; a method's config adds its own fields.

    Attributes:
        fixed: Keys that what is saved depends on, so that no checkpoint is continued under another
            value of them; all others can change in mid-run.
    """

    fixed: ClassVar[frozenset[str]] = frozenset()

    task: str = parameter("", "What to train on: a data set that the method names, or a path")
    seed: int = parameter(
        0, "Fixes the initial model and the order of the data", ge=0, le=2**63 - 1
    )
    steps: int = parameter(1_000, "Optimizer steps T", ge=1, le=10**9)
    report_every: int = parameter(
        100, "Between two reports (and checkpoints of Ray Train)", unit="steps", ge=1, le=10**9
    )
    workers: int = parameter(
        0, "Ray Train workers; 0 trains in the trial's own process", ge=0, le=10_000
    )
    min_workers: int | None = parameter(
        None, "Fewest workers to go on with after losing some; workers when null", ge=1, le=10_000
    )
    cpus_per_worker: float = parameter(1.0, "Logical CPUs of a Ray Train worker", gt=0, le=10_000)
    gpus_per_worker: float = parameter(
        0.0, "GPUs of a Ray Train worker, or a fraction of one", ge=0, le=1_000
    )
    gpus_per_trial: float | None = parameter(
        None,
        "GPUs of a trial with workers 0, or a fraction of one; when null 1 on a GPU and 0 on a CPU",
        ge=0,
        le=1,
    )
    device: Literal["auto", "cpu", "cuda"] = parameter(
        "auto", "Where to compute; auto: on the GPU that Ray assigns, else on the CPU"
    )
    precision: Literal["fp32", "bf16", "fp16"] = parameter(
        "fp32", "Of products; weights, optimizer state, reductions and the loss stay in fp32"
    )
    accumulate: int = parameter(1, "Micro-batches of a step", ge=1, le=2**20)

    def to_dict(self) -> dict[str, Any]:
        """Every field and its value."""
        return self.model_dump()

    def total_steps(self) -> int:
        """Optimizer steps T of a run."""
        return self.steps

    def trials_at_once(self, cluster: Mapping[str, float]) -> int | None:
        """How many trials a cluster's resources can run; None if Tune can tell by itself.

        Raises:
            ValueError: Not even one.
        """
        if self.workers == 0:
            return None
        fewest = self.min_workers or self.workers
        at_once = []
        for name, each in (("CPU", self.cpus_per_worker), ("GPU", self.gpus_per_worker)):
            if fewest * each > cluster.get(name, 0.0):
                raise ValueError(
                    f"Bad value {self.workers} for 'workers': {fewest} need {fewest * each:g} "
                    f"{name}s, Ray has {cluster.get(name, 0.0):g}; give fewer workers or a smaller "
                    f"'{name.lower()}s_per_worker'."
                )
            if each:
                at_once.append(int(cluster.get(name, 0.0) // (self.workers * each)))
        return max(1, min(at_once))

    def gpus_of_trial(self, cluster: Mapping[str, float]) -> float:
        """GPUs that a trial with ``workers=0`` asks Ray for.

        Args:
            cluster: What all nodes together have, by Ray's names.
        """
        if self.device == "cpu":
            return 0.0
        if self.gpus_per_trial is not None:
            return self.gpus_per_trial
        return 1.0 if self.device == "cuda" or cluster.get("GPU", 0.0) >= 1 else 0.0

    def check_devices(self, cluster: Mapping[str, float]) -> None:
        """Refuse a device or a precision that no trial would get.

        Args:
            cluster: What all nodes together have, by Ray's names.

        Raises:
            InputError: One sentence with the field, its value and what would be right.
        """
        if self.device == "cuda" and not cluster.get("GPU"):
            raise InputError(
                "Bad value 'cuda' for 'device': Ray has no GPU; give auto or cpu, or run on a "
                "cluster that has one."
            )
        asked = self.gpus_per_worker if self.workers else self.gpus_of_trial(cluster)
        if self.precision != "fp32":
            from tenfold.platform.devices import CPU, assigned_device, check_precision

            here = assigned_device()
            if not asked:
                check_precision(self.precision, CPU)
            elif here != CPU:  # of the cards of other machines their workers tell
                check_precision(self.precision, here)

    def check(self) -> None:
        """Refuse what the fields' types do not: values that do not go together, missing data.

        Raises:
            ValueError: One sentence that names the field, its value and what would be right.
        """
        if self.min_workers is not None and self.min_workers > self.workers:
            raise ValueError(
                f"Bad value {self.min_workers} for 'min_workers': give at most "
                f"'workers', which is {self.workers}."
            )
        gpus = self.gpus_per_worker if self.workers else self.gpus_per_trial
        field = "gpus_per_worker" if self.workers else "gpus_per_trial"
        if self.device == "cpu" and gpus:
            raise ValueError(
                f"Bad value {gpus:g} for '{field}': 'device' is cpu, so give 0, or 'device' auto."
            )
        if self.device == "cuda" and gpus == 0:
            raise ValueError(
                f"Bad value 'cuda' for 'device': '{field}' is 0, so give more, or 'device' auto."
            )
        if self.device == "cpu" and self.precision == "fp16":
            raise ValueError(
                "Bad value 'fp16' for 'precision': it is for GPUs and 'device' is cpu, so give "
                "fp32 or bf16."
            )


class TrainingLoop(ABC):
    """One worker's training: advances by some steps at a time, can be saved and loaded.

    All that is random is a function of the seed and the step, so that `step` and the tensors are
    the whole state, and a loaded loop goes on bit for bit as the saved one would have.

    Attributes:
        config: The trial's config.
        rank: This worker among all, from 0.
        size: Number of workers.
        step: Optimizer steps done.
    """

    def __init__(self, config: Any, rank: int = 0, size: int = 1) -> None:
        self.config = config
        self.rank = rank
        self.size = size
        self.step = 0

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= int(self.config.steps)

    def advance(self) -> dict[str, float]:
        """Train until the next report is due, and return its metrics, speed included.

        A loop that has nothing left to train (a finished run's checkpoint) only judges its model.
        """
        if self.finished:
            return {**self.evaluate(), "step": float(self.step)}
        start, first = time.perf_counter(), self.step
        due = min(self.step + self.config.report_every, self.config.steps)
        metrics = self.train(due)
        seconds = time.perf_counter() - start
        speed = (self.step - first) / seconds
        return {
            **metrics,
            "step": float(self.step),
            f"{self.items}_per_second": speed * self.items_per_step,
            "eta_seconds": (self.config.steps - self.step) / speed,
        }

    @property
    @abstractmethod
    def items(self) -> str:
        """What a step consumes: ``tokens`` or ``images``."""

    @property
    @abstractmethod
    def items_per_step(self) -> int:
        """Tokens or images that all workers together consume in a step."""

    @abstractmethod
    def train(self, due: int) -> dict[str, float]:
        """Train up to step `due` and return metrics, the same on every worker."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Judge the present model on held-out data without changing it."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write this worker's part of a checkpoint; worker 0 also writes what all share."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Continue from a checkpoint, also one of another number of workers if there can be one."""


class TrainingTrial(tune.Trainable):
    """A Tune trial of a training loop; subclasses name their `loop_class`."""

    loop_class: ClassVar[type[TrainingLoop]]

    def __init__(self, config: TrainingConfig, **kwargs: Any) -> None:
        self.settings = config
        self._loop: TrainingLoop | None = None
        self._train_workers: TrainWorkers | None = None
        self._start_folder: Path | None = None
        super().__init__({}, **kwargs)

    @classmethod
    def default_resource_request(cls, config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        """A core and a GPU for a loop in the trial; Ray Train asks for its workers' itself."""
        if config["workers"]:
            # Tune needs some resource; a byte leaves all cores to the workers.
            return tune.PlacementGroupFactory([{"memory": 1}])
        settings = TrainingConfig(**{name: config[name] for name in TrainingConfig.model_fields})
        gpus = settings.gpus_of_trial(ray.cluster_resources() if ray.is_initialized() else {})
        return tune.PlacementGroupFactory([{"CPU": 1, **({"GPU": gpus} if gpus else {})}])

    def step(self) -> dict[str, Any]:
        """Train until the next report."""
        if self.settings.workers == 0:
            metrics = self.loop.advance()
            return {**metrics, DONE: self.loop.finished}
        if self._train_workers is None:
            folder = Path(self.logdir) / "train"
            self._train_workers = TrainWorkers(
                self.loop_class, self.settings, folder, self._start_folder
            )
        metrics = self._train_workers.next_report()
        return {**metrics, DONE: metrics["step"] >= self.settings.steps}

    @property
    def loop(self) -> TrainingLoop:
        """The loop in this process, made and restored when first needed."""
        if self._loop is None:
            self._loop = self.loop_class(self.settings)
            if self._start_folder is not None:
                self._loop.load(self._start_folder)
        return self._loop

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the loop's state, or copy the checkpoint of the last report.

        Raises:
            Damaged: That checkpoint is not as the workers wrote it.
        """
        if self._train_workers is not None:
            shutil.copytree(self._train_workers.checkpoint, checkpoint_dir, dirs_exist_ok=True)
            check_parts(Path(checkpoint_dir))
        else:
            Path(checkpoint_dir).mkdir(parents=True, exist_ok=True)
            self.loop.save(Path(checkpoint_dir))
        (Path(checkpoint_dir) / FIXED_FILE).write_text(json.dumps(self._fixed()))

    def load_checkpoint(self, checkpoint: str | dict[str, Any] | None) -> None:
        """Continue from a checkpoint's folder.

        Raises:
            ValueError: It was saved under another value of a key that cannot change in mid-run.
        """
        self.cleanup()
        self._check_fixed(Path(str(checkpoint)) / FIXED_FILE)
        # Tune deletes its copy of the folder as soon as this returns.
        self._start_folder = Path(self.logdir) / "restored"
        shutil.rmtree(self._start_folder, ignore_errors=True)
        shutil.copytree(str(checkpoint), self._start_folder)
        if self.settings.workers == 0:
            _ = self.loop

    def evaluate(self) -> dict[str, float]:
        """Judge the restored model, in this process."""
        return self.loop.evaluate()

    def _fixed(self) -> dict[str, Any]:
        """The config's keys that cannot change in mid-run, as JSON has them."""
        values = self.settings.to_dict()
        found: dict[str, Any] = json.loads(
            json.dumps({key: values[key] for key in sorted(self.settings.fixed)})
        )
        return found

    def _check_fixed(self, file: Path) -> None:
        saved = json.loads(file.read_text()) if file.exists() else {}
        for key, value in self._fixed().items():
            if saved.get(key, value) != value:
                raise ValueError(
                    f"Bad value {shown(value)} for '{key}': the checkpoint has "
                    f"{shown(saved[key])}, and '{key}' cannot change in mid-run."
                )

    def cleanup(self) -> None:
        """End the workers."""
        if self._train_workers is not None:
            self._train_workers.stop()
        self._train_workers = self._loop = None
