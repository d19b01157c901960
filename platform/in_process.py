"""Trials in the driver's own process, where actors would only cost their start.

A planning method without runners needs seconds, starting Ray and an actor as long again. So where
one trial runs at a time anyway, Tune's controller gets this module's `_Trials` in place of its
manager of actors: searchers, schedulers, callbacks, checkpoints and the folder of the run stay
Tune's, and a run that was begun here goes on with actors or the other way round.
"""

import copy
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import ray
import ray.tune.tune
from ray.air.execution._internal.tracked_actor import TrackedActor
from ray.exceptions import RayTaskError
from ray.train._internal import storage
from ray.train._internal.session import _FutureTrainingResult
from ray.tune import Trainable
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from threadpoolctl import threadpool_limits

from tenfold.platform.replaced import replaced

Call = Callable[..., Any]


@contextmanager
def trials_in_process(resources: Mapping[str, float]) -> Iterator[None]:
    """Meanwhile `ray.tune.Tuner` runs its trials here, one after another.

    Numerical libraries use one thread, as in an actor with one CPU, so that results are the same
    to the last bit. Tune has no hook for its controller, so the name by which it makes one is
    replaced, and so is what it asks of a running Ray: its resources, and a folder of its session.

    Args:
        resources: What this machine has, by Ray's names.
    """
    with ExitStack() as stack:
        interruption = stack.enter_context(_interruption())
        staging = stack.enter_context(TemporaryDirectory(prefix="tenfold-"))
        controller = partial(_Controller, interruption)
        for owner, name, value in (
            (ray.tune.tune, "TuneController", controller),
            (ray, "cluster_resources", lambda: dict(resources)),
            (storage, "_get_ray_train_session_dir", lambda: staging),
        ):
            stack.enter_context(replaced(owner, name, value))
        # No Ray is started, signals are `_Interruption`'s, the process stays where the user is.
        for variable, text in (
            ("TUNE_DISABLE_AUTO_INIT", "1"),
            ("TUNE_DISABLE_SIGINT_HANDLER", "1"),
            ("RAY_CHDIR_TO_TRIAL_DIR", "0"),
        ):
            stack.enter_context(_environment(variable, text))
        stack.enter_context(_one_thread())
        yield


@contextmanager
def _environment(variable: str, text: str) -> Iterator[None]:
    before = os.environ.get(variable)
    os.environ[variable] = text
    try:
        yield
    finally:
        if before is None:
            del os.environ[variable]
        else:
            os.environ[variable] = before


class _Interruption:
    """Ctrl-C or SIGTERM: it ends an iteration, which may take minutes, and nothing else midway.

    A checkpoint, a record or a state of Tune's that is being written is written to its end.
    """

    def __init__(self) -> None:
        self._asked = self._iterating = False

    def __call__(self, number: int, frame: Any) -> None:
        self._asked = True
        if self._iterating:
            raise KeyboardInterrupt

    def check(self) -> None:
        """Between two things: end here if it has been asked for."""
        if self._asked:
            raise KeyboardInterrupt

    @contextmanager
    def iteration(self) -> Iterator[None]:
        self._iterating = True
        try:
            self.check()
            yield
        finally:
            self._iterating = False


@contextmanager
def _interruption() -> Iterator[_Interruption]:
    interruption = _Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, interruption) for number in numbers]
    try:
        yield interruption
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _one_thread() -> Iterator[None]:
    torch = sys.modules["torch"]  # RLlib has imported it
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        torch.set_num_threads(threads)


class _Controller(TuneController):
    """Tune's controller over trials of this process."""

    def __init__(self, interruption: _Interruption, **options: Any) -> None:
        super().__init__(**options)
        self._actor_manager = _Trials(interruption)
        self._class_cache = SimpleNamespace(get=lambda trainable: trainable)

    def _schedule_trial_save(
        self, trial: Trial, result: dict[str, Any] | None = None
    ) -> _FutureTrainingResult | None:
        saving = super()._schedule_trial_save(trial, result)
        if saving is not None:
            saving = trial.temporary_state.saving_to = _Saving(saving.future)
        return saving


class _Saving(_FutureTrainingResult):
    """A checkpoint that is to be written; population-based training waits for it."""

    def resolve(self, block: bool = True) -> Any:
        self.future.run()
        return self.future.result


@dataclass
class _Task:
    """A method of a trial that is to be called."""

    tracked: TrackedActor
    method: Call
    on_result: Call | None
    on_error: Call | None
    result: Any = None
    error: Exception | None = None
    done: bool = False

    def run(self) -> None:
        """Call it, once."""
        if self.done:
            return
        self.done = True
        try:
            self.result = copy.deepcopy(self.method())
        except Exception as error:
            self.error = _as_task_error(error)

    def __call__(self) -> None:
        self.run()
        if self.error is not None:
            if self.on_error is not None:
                self.on_error(self.tracked, self.error)
        elif self.on_result is not None:
            self.on_result(self.tracked, self.result)


def _as_task_error(error: Exception) -> RayTaskError:
    """An exception as Ray hands it over from an actor, so that all that reads errors reads it."""
    return RayTaskError("train", "".join(traceback.format_exception(error)), error)


class _Trials:
    """Trials as plain objects, with the methods that `TuneController` calls of a `RayActorManager`.

    One trial lives at a time. What is asked of it waits in a queue, of which `next` works off one,
    so that the controller gets its calls back from there and nowhere else, as with actors. And as
    with actors, what either side is given is a copy.
    """

    def __init__(self, interruption: _Interruption) -> None:
        self._interruption = interruption
        self._number = 0
        self.forget()

    def forget(self) -> None:
        """Have no trials."""
        self._waiting: deque[tuple[TrackedActor, Callable[[], Trainable]]] = deque()
        self._queue: deque[_Task | tuple[TrackedActor, Call]] = deque()
        # By the name under which the controller looks up an actor's handle.
        self._live_actors_to_ray_actors_resources: dict[TrackedActor, tuple[Any, Any]] = {}

    def add_actor(
        self,
        cls: type[Trainable],
        resource_request: Any,
        kwargs: dict[str, Any],
        on_start: Call,
        on_stop: Call,
        on_error: Call,
    ) -> TrackedActor:
        self._number += 1
        tracked = TrackedActor(self._number, on_start, on_stop, on_error)
        make: Callable[..., Trainable] = cls
        self._waiting.append((tracked, partial(make, **copy.deepcopy(kwargs))))
        return tracked

    def next(self, timeout: float) -> bool:
        """Do one thing; returns whether there was any."""
        self._interruption.check()
        if self._queue:
            event = self._queue.popleft()
            if isinstance(event, _Task):
                event()
            else:
                self._end(*event)
        elif self._waiting and not self._live_actors_to_ray_actors_resources:
            self._begin(*self._waiting.popleft())
        else:
            time.sleep(timeout)
            return False
        return True

    def _begin(self, tracked: TrackedActor, make: Callable[[], Trainable]) -> None:
        try:
            trial = make()
        except Exception as error:
            tracked._on_error(tracked, _as_task_error(error))
            return
        self._live_actors_to_ray_actors_resources[tracked] = (_Handle(trial), None)
        tracked._on_start(tracked)

    def _end(self, tracked: TrackedActor, stop: Call) -> None:
        del self._live_actors_to_ray_actors_resources[tracked]
        stop()
        if tracked._on_stop is not None:
            tracked._on_stop(tracked)

    def schedule_actor_task(
        self,
        tracked_actor: TrackedActor,
        method_name: str,
        args: tuple[Any, ...] | None = None,
        kwargs: dict[str, Any] | None = None,
        on_result: Call | None = None,
        on_error: Call | None = None,
        _return_future: bool = False,
    ) -> _Task | None:
        if not self.is_actor_started(tracked_actor):
            return None
        trial = self._live_actors_to_ray_actors_resources[tracked_actor][0].trial
        given = copy.deepcopy((args or (), kwargs or {}))
        method = partial(getattr(trial, method_name), *given[0], **given[1])
        if method_name == "train":
            method = self._interruption.iteration()(method)
        task = _Task(tracked_actor, method, on_result, on_error)
        self._queue.append(task)
        return task if _return_future else None

    def clear_actor_task_futures(self, tracked_actor: TrackedActor) -> None:
        """Forget what the trial was asked for and has not begun."""
        self._queue = deque(
            event
            for event in self._queue
            if not (isinstance(event, _Task) and event.tracked == tracked_actor)
        )

    def remove_actor(
        self, tracked_actor: TrackedActor, kill: bool = False, stop_future: _Task | None = None
    ) -> bool:
        """Have a trial end; returns whether it lives, so that `on_stop` is to come."""
        self._waiting = deque(each for each in self._waiting if each[0] != tracked_actor)
        if not self.is_actor_started(tracked_actor):
            return False
        self.clear_actor_task_futures(tracked_actor)
        stop = self._live_actors_to_ray_actors_resources[tracked_actor][0].trial.stop
        self._queue.append((tracked_actor, stop))
        return True

    def is_actor_started(self, tracked_actor: TrackedActor) -> bool:
        return tracked_actor in self._live_actors_to_ray_actors_resources

    def is_actor_failed(self, tracked_actor: TrackedActor) -> bool:
        """Never: what fails to start is forgotten at once."""
        return False

    @property
    def num_live_actors(self) -> int:
        return len(self._live_actors_to_ray_actors_resources)

    @property
    def num_pending_actors(self) -> int:
        return len(self._waiting)

    @property
    def num_total_actors(self) -> int:
        return self.num_live_actors + self.num_pending_actors

    @property
    def num_actor_tasks(self) -> int:
        return len(self._queue)

    def cleanup(self) -> None:
        """End what still lives."""
        for handle, _ in self._live_actors_to_ray_actors_resources.values():
            handle.trial.stop()
        self.forget()


@dataclass
class _Handle:
    """A trial where Tune keeps the handle of its actor."""

    trial: Trainable

    def __getattr__(self, name: str) -> Any:
        """``handle.method.remote(...)`` calls the method."""
        return SimpleNamespace(remote=getattr(self.trial, name))
