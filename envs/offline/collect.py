"""Make a data set: a level's policy acts in the batched environments, episode after episode."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from tenfold.envs.offline.card import Anchors, Part, versions
from tenfold.envs.offline.dataset import OfflineDataset
from tenfold.envs.offline.environments import (
    BatchedEnvironments,
    fields_of,
    make_environments,
    simulator_of,
)
from tenfold.envs.offline.levels import MIXTURES, Behaviour, make_behaviour, replay_shares
from tenfold.envs.offline.names import CHEETAH, LEVELS, levels_of
from tenfold.platform.parameters import check

# Side by side, however few episodes are wanted: so shorter data are the beginning of longer ones.
PARTICLES_AT_ONCE, CHEETAHS_AT_ONCE = 250, 4
ANCHOR_EPISODES, CHEETAH_ANCHOR_EPISODES = 1_000, 8
Columns = dict[str, np.ndarray]


def collect(
    environment: str,
    level: str,
    steps: int,
    seed: int,
    *,
    fields: Mapping[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> OfflineDataset:
    """Record whole episodes of a level's policy, as many as `steps` holds at least.

    Args:
        environment: Id of the environment.
        level: See `names.LEVELS`.
        steps: Joint transitions.
        seed: Of environments and policies; the parts of a mixture are the beginnings of the pure
            sets of the same seed.
        fields: Fields of the environment, see `environments.fields_of`.
        progress: Called with the number of transitions since its last call.

    Raises:
        ValueError: An argument is not valid: one sentence that names it.
    """
    told = dict(fields or {})
    check(fields_of(environment), told)
    if level not in levels_of(environment):
        raise ValueError(
            f"No level '{level}' of {environment}: choose one of "
            f"{', '.join(levels_of(environment))}."
        )
    length = make_environments(environment, 1, 0, **told).episode_steps
    if steps < length:
        raise ValueError(
            f"Bad value {steps} for 'steps': an episode of {environment} has {length}, give that "
            "at least."
        )
    episodes = steps // length
    shares = MIXTURES.get(level, ((level, 1.0),))
    counts = [round(episodes * share) for _, share in shares]
    if 0 in counts:
        raise ValueError(
            f"Bad value {steps} for 'steps': a mixture needs ten episodes, {10 * length} steps."
        )
    recorded, parts, about = [], [], {}
    for (part, _), count in zip(shares, counts, strict=True):
        columns, behaviour = _record(environment, part, count, seed, told, progress)
        recorded.append(columns)
        parts.append(Part(level=part, episodes=count))
        about[part] = behaviour.about()
    whole = {name: np.concatenate([columns[name] for columns in recorded]) for name in recorded[0]}
    agents = make_environments(environment, 1, 0, **told).agents
    total = sum(counts) * length
    return OfflineDataset.from_arrays(
        environment=environment,
        **{
            kind: {agent: whole[kind][:, j] for j, agent in enumerate(agents)}
            for kind in ("obs", "actions", "rewards", "next_obs")
        },
        terminated=np.zeros(total, bool),
        truncated=np.arange(1, total + 1) % length == 0,
        episode=np.repeat(np.arange(sum(counts)), length),
        parameters=told,
        level=level,
        parts=parts,
        behaviour=about,
        seed=seed,
        anchors=anchors(environment, told),
        versions=dict(versions()),
        **simulator_of(environment, **told),
    )


def anchors(environment: str, fields: Mapping[str, Any] | None = None) -> Anchors:
    """Mean scores of random and of expert, over 1,000 episodes (of the cheetah, 8)."""
    return _anchors(environment, json.dumps(dict(fields or {}), sort_keys=True))


@cache
def _anchors(environment: str, fields: str) -> Anchors:
    told = json.loads(fields)
    episodes = CHEETAH_ANCHOR_EPISODES if environment == CHEETAH else ANCHOR_EPISODES
    found = {}
    for level in ("random", "expert"):
        columns, _ = _record(environment, level, episodes, 0, told, None)
        found[level] = float(columns["rewards"].mean(axis=1).sum() / episodes)
    return Anchors(**found)


def _record(
    environment: str,
    level: str,
    episodes: int,
    seed: int,
    told: dict[str, Any],
    progress: Callable[[int], None] | None,
) -> tuple[Columns, Behaviour]:
    """Arrays by kind, (episodes x length, n, ...), and who acted."""
    count = CHEETAHS_AT_ONCE if environment == CHEETAH else PARTICLES_AT_ONCE
    stream = [seed, LEVELS.index(level)]
    start = int(np.random.default_rng(stream).integers(2**31))
    environments = make_environments(environment, count, start, **told)
    behaviour = make_behaviour(environment, level, environments, [*stream, 1])
    pieces = []
    for first in range(0, episodes, count):
        share = None
        if level == "medium-replay":
            numbers = first + np.arange(count)
            progress_made = np.minimum(numbers / max(episodes - 1, 1), 1.0)
            share = replay_shares(environment, progress_made)
        kept = min(count, episodes - first)
        pieces.append(
            {
                kind: array[:kept].reshape(-1, *array.shape[2:])
                for kind, array in _play(environments, behaviour, share).items()
            }
        )
        if progress is not None:
            progress(kept * environments.episode_steps)
    return {
        kind: np.concatenate([piece[kind] for piece in pieces]) for kind in pieces[0]
    }, behaviour


def _play(
    environments: BatchedEnvironments, behaviour: Behaviour, share: np.ndarray | None
) -> Columns:
    """One episode in every environment; arrays by kind, (W, length, n, ...)."""
    behaviour.begin(environments.count, share)
    seen, over = environments.reset(), False
    rows: dict[str, list[np.ndarray]] = {
        "obs": [],
        "actions": [],
        "rewards": [],
        "next_obs": [],
    }
    while not over:
        actions = behaviour.act(seen)
        after, rewards, over = environments.step(actions)
        values = (seen, actions, rewards.astype(np.float32), after)
        for kind, value in zip(rows, values, strict=True):
            rows[kind].append(value)
        seen = after
    return {kind: np.stack(steps, axis=1) for kind, steps in rows.items()}
