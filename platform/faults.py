"""Why a trial failed, in one line, and whether it is worth another try.

A worker that died, a node that was lost or memory that ran out on a machine is a fault: the trial
goes on from its checkpoint. An exception of the method comes again however often it is tried.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.experiment import Trial

from tenfold.platform.replaced import replaced

_RAISED = re.compile(r"^[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt)\b")
_LONGEST = 300


def is_fault(error: BaseException | None) -> bool:
    """Whether an error is the machines' and not the method's.

    Args:
        error: What Ray raised for a call of a trial.
    """
    while isinstance(error, RayTaskError):
        error = error.cause
    if isinstance(error, RayActorError):
        return not error.actor_init_failed
    return isinstance(error, RayError | ConnectionError)


@contextmanager
def only_faults_retried() -> Iterator[None]:
    """Meanwhile Tune gives a trial up at once whose method raised an exception.

    Tune counts failures against one limit, whatever they were, and has no hook between an error and
    the decision; so the count itself is put beyond the limit.
    """
    handle = Trial.handle_error

    def handle_error(trial: Trial, exc: BaseException | None = None) -> None:
        handle(trial, exc)
        if not is_fault(exc):
            beyond = trial.max_failures + 1
            trial.run_metadata.num_failures = max(trial.run_metadata.num_failures, beyond)
            trial.run_metadata.invalidate_cache()

    with replaced(Trial, "handle_error", handle_error):
        yield


def reason(text: str) -> str:
    """The last error in a traceback, and the one that caused it, on one line.

    Args:
        text: What Tune wrote into a trial's ``error.txt``, or an exception's own text.
    """
    text = text.rpartition("Failure # ")[2]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    raised = [line for line in lines if _RAISED.match(line)]
    if not raised:
        return (lines or ["no message"])[-1][:_LONGEST]
    last = raised[-1][:_LONGEST]
    chained = "direct cause" in text or "another exception occurred" in text
    if chained and raised[0] != raised[-1]:
        return f"{last} (caused by {raised[0][:_LONGEST]})"
    return last
