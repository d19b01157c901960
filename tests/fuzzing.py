"""What the fuzz tests share: how a case may end, and what it may use.

Cases are drawn by Hypothesis from a fixed seed, so that each run has the same ones.
"""

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from tenfold.platform.errors import InputError

SECONDS = 10
"""Processor seconds that one case may take."""

BYTES = 2 * 2**30
"""Memory that the cases of a test may add to the process."""


def cases(count: int) -> settings:
    """So many cases, the same in each run; no clock is looked at."""
    return settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


SCALARS: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(None, True, False, 0, 1, -1, 3, 10**9, 2**31, 2**63, 10**300, -(10**300)),
        *(0.0, 0.5, -0.5, 1e-300, 1e300, float("inf"), float("-inf"), float("nan")),
        *("", " ", "x", "0.5", "1e3", "a" * 300, "\x00", "\x1b[2J", "é\n\u2028", "[", "{"),
        *("../../x", "/", "~", "/dev/null", "a/b", "a,b", "uniform(0, 1)", "<script>", "${HOME}"),
    ]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(SCALARS.map(str), inner, max_size=3)
    ),
    max_leaves=4,
)
"""Whatever YAML or JSON may hold."""


def ends_well(work: Callable[[], Any]) -> bool:
    """Whether a case was taken; it must be, or be refused in one sentence and in bounded time."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        work()
    except ValueError as error:
        sentence = str(InputError(str(error)))  # as whoever calls a reader of files makes it one
    else:
        return True
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    assert sentence.strip(), "an empty sentence"
    assert len(sentence.splitlines()) == 1, ascii(sentence)
    assert len(sentence) < 1_500, ascii(sentence)
    sentence.encode()  # a terminal must be able to show it
    return False


@contextmanager
def bounded_memory() -> Iterator[None]:
    """A process that may not grow by more than `BYTES`: what asks for more gets a MemoryError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
