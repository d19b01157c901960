"""How long an action takes, and the DDPM chain that accelerated solvers are held against."""

import time
from collections.abc import Callable
from typing import Any

import torch

from tenfold.algorithms.dom2.policies import DiffusionPolicy
from tenfold.algorithms.dom2.solver import Solver

_REPEATS = 30


def chain_of(policy: DiffusionPolicy, N: int) -> DiffusionPolicy:
    """The same policy, sampled by N steps of the DDPM chain."""
    old = policy.solver
    solver = Solver(policy.schedule, policy.prediction, "ddpm", N, clip_x0=old.clip_x0)
    return DiffusionPolicy(
        policy.network, policy.m, policy.schedule, policy.prediction, solver, "all", policy.t_min
    ).eval()


@torch.no_grad()
def action_seconds(act: Callable[[], Any]) -> float:
    """Median time of a call."""
    times = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return sorted(times)[_REPEATS // 2]
