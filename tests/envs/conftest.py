"""Small schedulers and checks that the tests of the queues share."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit

from tenfold.envs.queues.scheduling import PROBABILITIES, UPDATE


@njit(PROBABILITIES)
def _uniform(params, state, q, t, p):
    p[:] = 1.0 / q.shape[0]


@njit(PROBABILITIES)
def _longest(params, state, q, t, p):
    p[:] = 0.0
    p[np.argmax(q)] = 1.0


@njit(PROBABILITIES)
def _maxweight(params, state, q, t, p):
    best = 0
    for i in range(q.shape[0]):
        if q[i] * state[i] > q[best] * state[best]:
            best = i
    p[:] = 0.0
    p[best] = 1.0


@njit(UPDATE)
def _remember(params, state, q, p, action, service, t):
    """The end of the memory holds the last action, what was learnt, and the slot."""
    state[-3], state[-2], state[-1] = action, service, t


RULES = {"uniform": _uniform, "longest": _longest, "maxweight": _maxweight}


class Rule:
    """A `Scheduler` for the simulator; `maxweight` knows the rates."""

    def __init__(self, name: str, K: int, R: int) -> None:
        self.name = name
        self.K = K
        self.params = np.zeros(1)
        self.state = np.zeros((R, K + 3))
        self.t = 1
        self.knows_rates = name == "maxweight"
        self.probabilities_fn = RULES[name]
        self.update_fn = _remember


@pytest.fixture(scope="session")
def rule() -> Callable[..., Any]:
    """rule(name, K, R): a fresh scheduler."""
    return Rule


@pytest.fixture
def same_states() -> Callable[..., None]:
    """Asserts that two simulators are in exactly the same state, sums and random streams too."""

    def check(first: Any, second: Any) -> None:
        one, two = first.get_state(), second.get_state()
        assert one.keys() == two.keys()
        for name, value in one.items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(value, two[name], err_msg=name)
            else:
                assert value == two[name], name

    return check
