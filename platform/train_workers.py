"""Ray Train behind a training trial: start its workers, take their reports, stop them.

`TorchTrainer.fit` blocks until the end, so it runs in an actor of its own, the host. A report goes
worker -> Ray Train's controller -> host -> trial. Stopping aborts the controller, which frees what
Ray Train had reserved for its workers: killed, it would leave that to an actor that fails where
two Rays run on one machine. Ray Train restarts the workers from the last report's checkpoint when
one dies; each worker adds its own files to that checkpoint.
"""

import contextlib
import logging
import os
import queue
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import cloudpickle, train
from ray.train.v2.api.callback import UserCallback

from tenfold.platform.seals import check_folder_seal, seal_folder

if TYPE_CHECKING:
    from tenfold.platform.training import TrainingConfig, TrainingLoop

_MAX_FAILURES = 3
_PART = "part-{}.json"  # the seal of what one worker wrote
_ABORT_S = 20  # Ray Train gives workers five seconds to shut down


class TrainWorkers:
    """The Ray Train workers of one trial.

    Attributes:
        checkpoint: Folder of the checkpoint that came with the last report.
    """

    def __init__(
        self,
        loop_class: "type[TrainingLoop]",
        config: "TrainingConfig",
        folder: Path,
        restored: Path | None,
    ) -> None:
        self.checkpoint: Path
        fewest = config.min_workers or config.workers
        resources = {"CPU": config.cpus_per_worker, "GPU": config.gpus_per_worker}
        scaling = train.ScalingConfig(
            num_workers=config.workers if fewest == config.workers else (fewest, config.workers),
            use_gpu=config.gpus_per_worker > 0,
            resources_per_worker={name: n for name, n in resources.items() if n > 0},
        )
        # Packed, the loop and all that it imports are loaded by the workers alone.
        work = cloudpickle.dumps((loop_class, config, restored))
        # Should the trial's process be killed, Ray Train's cleaner must find this Ray among others.
        here = {"env_vars": {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}}
        host = ray.remote(num_cpus=0, max_concurrency=4, runtime_env=here)(_Host)
        self._host = host.remote()
        self._host.fit.remote(self._host, work, scaling, folder)

    def next_report(self) -> dict[str, Any]:
        """Wait for the workers' next report.

        Raises:
            RuntimeError: Training failed for good; the message is the worker's.
        """
        metrics, path, error = ray.get(self._host.next_report.remote())
        if error is not None:
            raise RuntimeError(error)
        self.checkpoint = Path(path)
        return dict(metrics)

    def stop(self) -> None:
        """End the workers, free what they had reserved, and end the host."""
        ray.wait([self._host.stop.remote()], timeout=_ABORT_S)
        ray.kill(self._host)


class _Host:
    def __init__(self) -> None:
        self.reports: queue.Queue[tuple[Any, str | None, str | None]] = queue.Queue(1)
        self.controller: Any = None

    def fit(self, me: Any, work: bytes, scaling: train.ScalingConfig, folder: Path) -> None:
        from ray.train.torch import TorchConfig, TorchTrainer

        logging.getLogger("ray.train").setLevel(logging.ERROR)
        # Ray Train takes one report a poll, and polls every two seconds unless told otherwise.
        os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")
        trainer = TorchTrainer(
            train_worker,
            train_loop_config={"work": work},
            torch_config=TorchConfig(backend=_backend(scaling)),
            scaling_config=scaling,
            run_config=train.RunConfig(
                # A name of its own: Ray Train would continue an older run of the same name.
                name=f"workers-{time.time_ns()}",
                storage_path=str(folder),
                failure_config=train.FailureConfig(max_failures=_MAX_FAILURES),
                checkpoint_config=train.CheckpointConfig(num_to_keep=3),
                callbacks=[_PassOn(me)],
            ),
        )
        try:
            trainer.fit()
        except Exception as error:  # whatever ends Ray Train ends the trial with its message
            self.reports.put((None, None, f"{type(error).__name__}: {error}"))

    def put(self, controller: Any, metrics: Mapping[str, Any], path: str) -> None:
        self.controller = controller
        self.reports.put((metrics, path, None))

    def next_report(self) -> tuple[Any, str | None, str | None]:
        return self.reports.get()

    def stop(self) -> None:
        # Nobody takes reports any more, and the controller must not wait for that.
        full, self.reports = self.reports, queue.Queue()
        with contextlib.suppress(queue.Empty):
            full.get_nowait()
        if self.controller is not None:
            with contextlib.suppress(ray.exceptions.RayActorError):  # aborting ends the actor
                ray.get(self.controller.abort.remote())


def _backend(scaling: train.ScalingConfig) -> str:
    """NCCL refuses two workers on one card, which fractions of a GPU may put there."""
    return "nccl" if (scaling.resources_per_worker or {}).get("GPU", 0) >= 1 else "gloo"


class _PassOn(UserCallback):
    """Runs in Ray Train's controller: passes the first worker's metrics on to the host."""

    def __init__(self, host: Any) -> None:
        self.host = host

    def after_report(
        self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any
    ) -> None:
        # Waiting for the host keeps training at most two reports ahead of the trial, so that the
        # checkpoint of the trial's last report is always among those that are kept.
        controller = ray.get_runtime_context().current_actor
        ray.get(self.host.put.remote(controller, metrics[0], checkpoint.path))


def check_parts(folder: Path) -> None:
    """Compare what each worker wrote into a checkpoint of Ray Train with its seal.

    Raises:
        Damaged: A file is not as it was written.
    """
    for seal in sorted(folder.glob(_PART.format("*"))):
        check_folder_seal(folder, seal.name)


def train_worker(given: dict[str, Any]) -> None:
    """What runs in each Ray Train worker: a loop, reported and saved until it is finished.

    A loop that was finished when it was saved still reports once.
    """
    loop_class, config, restored = cloudpickle.loads(given["work"])
    context = train.get_context()
    loop = loop_class(config, context.get_world_rank(), context.get_world_size())
    latest = train.get_checkpoint()
    if latest is not None:
        with latest.as_directory() as folder:
            check_parts(Path(folder))
            loop.load(Path(folder))
    elif restored is not None:
        loop.load(restored)
    while True:
        metrics = loop.advance()
        with tempfile.TemporaryDirectory() as folder:
            loop.save(Path(folder))
            seal_folder(Path(folder), _PART.format(loop.rank))
            train.report(metrics, checkpoint=train.Checkpoint.from_directory(folder))
        if loop.finished:
            return
