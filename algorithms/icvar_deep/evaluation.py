"""Iterated CVaR of a policy, exactly: on a table by backward induction, on a world by its steps."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np

from tenfold.algorithms.icvar.planner import IteratedCVaR
from tenfold.envs.risk.control import TableEnv

# Starts of a world that a value is averaged over.
STARTS = 50


def iterated_cvar(
    env: gym.Env[np.ndarray, Any],
    policy: Callable[[np.ndarray], np.ndarray],
    levels: Sequence[float],
) -> list[float]:
    """What a policy is worth at each level, 1 being the mean return.

    Args:
        env: A control task: a table, or a world that moves deterministically given its start and
            tells each step's CVaR (`cvar_of_step`).
        policy: Observations (B, n) to actions (B,).
        levels: Of risk, in (0, 1].

    Returns:
        (len(levels),): on a table weighted by its first state's distribution, on a world averaged
        over `STARTS` starts.
    """
    if isinstance(env, TableEnv):
        mdp = env.mdp
        seen = env.observations()
        actions = policy(seen.reshape(mdp.H * mdp.S, -1)).reshape(mdp.H, mdp.S)
        values = [IteratedCVaR(mdp, alpha).evaluate(actions)[0] for alpha in levels]
        return [float(mdp.initial @ value) for value in values]
    world: Any = env
    totals = np.zeros(len(levels))
    for start in range(STARTS):
        seen, _ = world.reset(seed=start)
        done = False
        while not done:
            seen, _, done, _, _ = world.step(policy(seen[None])[0])
            totals += np.array([world.cvar_of_step(alpha) for alpha in levels]) / STARTS
    return [float(total) for total in totals]
