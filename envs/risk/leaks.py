"""Does anything tell the hidden state before the episode is over?

An agent may know of the hidden state what its observations and actions tell, no more. So among
steps with the same visible history (o_0, a_0, ..., o_t) the hidden states s_0 ... s_t must be
independent of everything else that is visible: info, reward, the end of the episode, and the
agent's next action. `check_no_leak` plays episodes and tests each of these channels by permutation:
within a history, hidden states are exchangeable if nothing leaks, so shuffling them must not make
the association weaker every time. Where the emission probabilities are known they are tested as
well.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from scipy.stats import chi2

Agent = Callable[[list[Any], Mapping[str, Any]], Any]
"""Visible history [o_0, a_0, ..., o_t] and the info that came with o_t to an action."""

Samples = list[tuple[Any, Any, Any]]
"""Visible history, what a channel told, and a hidden state."""

SHUFFLES = 999


def check_no_leak(
    env: gym.Env[Any, Any],
    agent: Agent | None = None,
    episodes: int = 1_000,
    seed: int = 0,
    emissions: np.ndarray | None = None,
) -> None:
    """Refuse an environment, or an agent in it, that knows hidden states before the end.

    A leak-free pair is refused with a probability of about 0.001 a channel; a leak is found if it
    shows in `episodes` episodes.

    Args:
        env: Discrete observations and actions, and ``hindsight_states`` in the last ``info``.
        agent: Chooses the actions; uniformly random ones when None.
        episodes: To play.
        seed: Of the episodes, the random actions and the shuffles.
        emissions: O_h(o | s), (H, S, O), if the observations are to follow it.

    Raises:
        ValueError: The channel that leaks, or what the protocol misses.
    """
    for space in (env.observation_space, env.action_space):
        if not isinstance(space, gym.spaces.Discrete):
            raise ValueError(f"A leak check needs Discrete observations and actions, not {space}.")
    env.action_space.seed(seed)
    channels: dict[str, dict[tuple[int, int], Samples]] = defaultdict(lambda: defaultdict(list))
    sights: list[tuple[int, int, int]] = []
    for episode in range(episodes):
        states = _play(env, agent or (lambda *_: env.action_space.sample()), seed + episode)
        for (channel, t, history, told), known in states:
            for u, s in enumerate(known):
                channels[channel][t, u].append((history, told, s))
            if channel == "action":
                sights.append((t, int(known[-1]), int(history[-1])))
    rng = np.random.default_rng(seed)
    for channel, pairs in channels.items():
        if _associated(list(pairs.values()), rng):
            raise ValueError(
                f"The {channel} depends on hidden states beyond what the observations tell: it may "
                "not before the episode's end."
            )
    if emissions is not None and not _follows(sights, emissions):
        raise ValueError("The observation does not follow 'emissions'.")


def _play(
    env: gym.Env[Any, Any], agent: Agent, seed: int
) -> list[tuple[tuple[str, int, tuple[Any, ...], str], list[Any]]]:
    """What each channel told in an episode, and the hidden states up to then."""
    observation, info = env.reset(seed=seed)
    history: list[Any] = [int(observation)]
    told: list[tuple[str, int, tuple[Any, ...], str]] = [("info", 0, tuple(history), _shown(info))]
    t, done = 0, False
    while not done:
        action = agent(list(history), info)
        told.append(("action", t, tuple(history), _shown(action)))
        observation, reward, terminated, truncated, info = env.step(action)
        done = terminated or truncated
        told.append(("end", t, (*history, int(action)), _shown(done)))
        if not done:
            history += [int(action), int(observation)]
            t += 1
            told.append(("info", t, tuple(history), _shown(info)))
            told.append(("reward", t, tuple(history), _shown(float(reward))))
    if "hindsight_states" not in info:
        raise ValueError("The last info has no 'hindsight_states': wrap the environment.")
    states = np.asarray(info["hindsight_states"]).tolist()
    return [(entry, states[: entry[1] + 1]) for entry in told]


def _shown(value: Any) -> str:
    """A value as text, arrays and nested values included."""
    if isinstance(value, Mapping):
        return repr(sorted((str(key), _shown(inner)) for key, inner in value.items()))
    return repr(np.asarray(value).tolist())


def _associated(pairs: list[Samples], rng: np.random.Generator) -> bool:
    """Whether hidden states go with what was told, more than in every shuffle."""
    coded = []
    for samples in pairs:
        columns = [np.unique([repr(s[i]) for s in samples], return_inverse=True)[1] for i in (0, 1)]
        hidden = np.unique([repr(s[2]) for s in samples], return_inverse=True)[1]
        if columns[1].any():  # a channel that always tells the same tells nothing
            coded.append((*columns, hidden))
    if not coded:
        return False
    found = sum(_clumped(history, told, hidden) for history, told, hidden in coded)
    for _ in range(SHUFFLES):
        total = 0.0
        for history, told, hidden in coded:
            order = np.argsort(history, kind="stable")
            shuffled = np.empty_like(hidden)
            shuffled[order] = hidden[np.lexsort((rng.random(len(hidden)), history))]
            total += _clumped(history, told, shuffled)
        if total >= found - 1e-9:
            return False
    return True


def _clumped(*columns: np.ndarray) -> float:
    """sum n log n over the cells of a table; mutual information up to what shuffling keeps."""
    code = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        code = code * (int(column.max()) + 1) + column
    counts = np.unique(code, return_counts=True)[1]
    return float(counts @ np.log(counts))


def _follows(sights: list[tuple[int, int, int]], emissions: np.ndarray) -> bool:
    """Pearson's chi-square of observations a step and state, at level 0.001."""
    counts = np.zeros(emissions.shape)
    np.add.at(counts, tuple(np.array(sights).T), 1)
    expected = counts.sum(axis=2, keepdims=True) * emissions
    if (counts[emissions == 0.0] > 0).any():
        return False
    usable = expected >= 5.0
    statistic = ((counts - expected)[usable] ** 2 / expected[usable]).sum()
    free = int(np.maximum(usable.sum(axis=2) - 1, 0).sum())
    return free == 0 or bool(chi2.sf(statistic, free) > 0.001)
