"""Policies of likeliest actions: of all histories of a table, and played."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from ray.rllib.core.columns import Columns
from torch.utils._pytree import tree_map

from tenfold.envs.risk.pomdp import HistoryPolicy, TabularPOMDP


def likeliest_policy(module: Any, pomdp: TabularPOMDP) -> HistoryPolicy:
    """The network's likeliest action of every history.

    Raises:
        ValueError: More histories than can be enumerated.
    """

    def choose(seen: np.ndarray) -> np.ndarray:
        if not module.is_stateful():
            return _likeliest(module.forward_inference({Columns.OBS: torch.as_tensor(seen)}))
        steps = torch.as_tensor(as_steps(seen, pomdp))
        batch = {Columns.OBS: steps, Columns.STATE_IN: initial_states(module, len(steps))}
        return _likeliest(module.forward_inference(batch))[:, -1]

    return history_policy(choose, pomdp)


def history_policy(
    choose: Callable[[np.ndarray], np.ndarray], pomdp: TabularPOMDP
) -> HistoryPolicy:
    """The policy of an agent, asked about all histories.

    Args:
        choose: Observations (B, H (O + A)) float32 of `HistoryObservation` to actions (B,).
        pomdp: The POMDP.

    Raises:
        ValueError: More histories than can be enumerated.
    """
    pomdp.check_histories()
    H, A, O = pomdp.H, pomdp.A, pomdp.O  # noqa: E741
    seen = np.zeros((O, H, O + A), np.float32)
    seen[np.arange(O), 0, np.arange(O)] = 1.0
    policy: HistoryPolicy = []
    for h in range(H):
        policy.append(choose(seen.reshape(len(seen), -1)))
        if h < H - 1:  # history i, then action a, then observation o: (i A + a) O + o
            rest = np.arange(len(seen) * A * O)
            seen = np.repeat(seen, A * O, axis=0)
            seen[rest, h, O + rest // O % A] = 1.0
            seen[rest, h + 1, rest % O] = 1.0
    return policy


def as_steps(seen: np.ndarray, pomdp: TabularPOMDP) -> np.ndarray:
    """Histories of one length as a recurrent agent meets them.

    Args:
        seen: Of `HistoryObservation` after h actions each, (B, H (O + A)).
        pomdp: The POMDP.

    Returns:
        What `PreviousAction` shows at each step, (B, h + 1, O + A).
    """
    O, A = pomdp.O, pomdp.A  # noqa: E741
    table = seen.reshape(len(seen), pomdp.H, O + A)
    observed, taken = table[..., :O], table[..., O:]
    before = np.concatenate([np.zeros_like(taken[:, :1]), taken[:, :-1]], axis=1)
    length = int(observed[0].sum())
    return np.concatenate([observed, before], axis=-1)[:, :length]


def likeliest_returns(
    module: Any, envs: Sequence[gym.Env[np.ndarray, Any]], seed: int
) -> np.ndarray:
    """Returns of one episode of likeliest actions in each environment.

    Args:
        module: The network; a recurrent one begins each episode with its initial state.
        envs: Of one task, as its memory needs them.
        seed: Environment i starts from `seed` + i.

    Returns:
        (len(envs),) float64.
    """
    seen = np.array([env.reset(seed=seed + i)[0] for i, env in enumerate(envs)])
    totals, going = np.zeros(len(envs)), np.arange(len(envs))
    state = initial_states(module, len(envs)) if module.is_stateful() else None
    while len(going):
        batch: dict[str, Any] = {Columns.OBS: torch.as_tensor(seen)}
        if state is not None:
            batch = {Columns.OBS: batch[Columns.OBS][:, None], Columns.STATE_IN: state}
        outputs = module.forward_inference(batch)
        actions = _likeliest(outputs).reshape(-1)
        steps = [envs[int(i)].step(a) for i, a in zip(going, actions, strict=True)]
        totals[going] += [step[1] for step in steps]
        on = np.array([not (step[2] or step[3]) for step in steps])
        seen, going = np.array([step[0] for step in steps])[on], going[on]
        if state is not None:
            kept = torch.as_tensor(on)
            state = tree_map(lambda each: each[kept], outputs[Columns.STATE_OUT])  # noqa: B023
    return totals


def initial_states(module: Any, size: int) -> Any:
    """A recurrent module's state before the first step, for a batch of `size`."""
    return tree_map(
        lambda each: each.expand(size, *each.shape).contiguous(), module.get_initial_state()
    )


def _likeliest(outputs: dict[str, Any]) -> np.ndarray:
    """(..., A) to (...)."""
    actions: np.ndarray = outputs[Columns.ACTION_DIST_INPUTS].argmax(dim=-1).cpu().numpy()
    return actions
