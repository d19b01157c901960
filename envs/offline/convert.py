"""Other people's data sets as ours: OMAR's layout of `.npy` files, and Minari's."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.envs.offline.dataset import OfflineDataset

_OMAR = {"obs": "obs", "actions": "acs", "rewards": "rews", "next_obs": "next_obs"}


def from_omar(folder: Path, episode_steps: int, **about: Any) -> OfflineDataset:
    """A data set of the OMAR group (`zhuoran-li/offline_marl_dataset`).

    Args:
        folder: One seed's, with ``obs_0.npy``, ``acs_0.npy``, ``rews_0.npy`` and ``next_obs_0.npy``
            for agent 0, and so on.
        episode_steps: Length of an episode: the files do not tell, since their dones are all 0.
        **about: Fields of the card: `environment` and what is known beside it.

    Raises:
        ValueError: Files are missing, or their arrays do not fit together.
    """
    numbers = sorted(
        int(found[1]) for file in folder.glob("obs_*.npy") if (found := _number(file.name))
    )
    if not numbers:
        raise ValueError(
            f"'{folder}' holds no obs_0.npy: give the folder of one seed, for example "
            "simple_spread/medium/seed_0_data."
        )
    columns: dict[str, Any] = {kind: {} for kind in _OMAR}
    for number in numbers:
        for kind, stem in _OMAR.items():
            path = folder / f"{stem}_{number}.npy"
            if not path.is_file():
                raise ValueError(f"'{path}' is missing: agent {number} needs it.")
            array = _read_array(path)
            flat = array.reshape(-1) if kind == "rewards" else array
            columns[kind][_omar_name(about.get("environment", ""), number)] = flat
    steps = len(next(iter(columns["obs"].values())))
    if steps % episode_steps:
        raise ValueError(
            f"'{folder}' holds {steps} steps, which are not whole episodes of {episode_steps}: "
            "give the right --episode-steps."
        )
    end = np.arange(1, steps + 1) % episode_steps == 0
    return OfflineDataset.from_arrays(
        **columns,
        terminated=np.zeros(steps, bool),
        truncated=end,
        episode=np.arange(steps) // episode_steps,
        **about,
    )


def _read_array(path: Path) -> np.ndarray:
    """A file's numbers, one row a step; they stay in the file until they are used.

    Raises:
        ValueError: It cannot be read, or holds something else.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        reason = str(error).rstrip(".")
        raise ValueError(f"'{path}' cannot be read as an array: {reason}.") from None
    if not isinstance(array, np.ndarray) or array.ndim == 0 or array.dtype.kind not in "fiu":
        raise ValueError(f"'{path}' holds no numbers in rows: give an array with one row a step.")
    return array


def _number(name: str) -> re.Match[str] | None:
    return re.fullmatch(r"obs_(\d+)\.npy", name)


def _omar_name(environment: str, number: int) -> str:
    """Agents are numbered there; predators have their own name here."""
    return f"{'adversary' if environment in ('mpe/tag', 'mpe/world') else 'agent'}_{number}"


def from_minari(name: str, **about: Any) -> OfflineDataset:
    """A data set that Minari has on this machine; nothing is downloaded.

    Spaces that are dictionaries are read as one entry an agent, who share the reward; boxes as one
    agent, ``agent_0``.

    Args:
        name: Its id, for example ``mujoco/halfcheetah/medium-v0``.
        **about: Fields of the card; `environment` is the id where it is not given.

    Raises:
        ValueError: Minari is not installed, there is no such data set, or its spaces do not fit.
    """
    try:
        import minari
    except ImportError:
        raise ValueError(
            "Minari's data need Minari: install it with 'pip install \"tenfold[minari]\"'."
        ) from None
    try:
        found = minari.load_dataset(name)
    except (FileNotFoundError, ValueError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(f"Minari has no data set '{name}' on this machine: {reason}.") from None
    episodes = list(found.iterate_episodes())
    if not episodes:
        raise ValueError(f"Minari's data set '{name}' has no episodes: give another one.")
    first = episodes[0].observations
    agents = list(first) if isinstance(first, dict) else ["agent_0"]
    columns: dict[str, Any] = {kind: {} for kind in _OMAR}
    for agent in agents:
        seen = [_of(each.observations, agent) for each in episodes]  # one more than actions
        columns["obs"][agent] = _join(places[:-1] for places in seen)
        columns["next_obs"][agent] = _join(places[1:] for places in seen)
        columns["actions"][agent] = _join(_of(each.actions, agent) for each in episodes)
        columns["rewards"][agent] = _join(each.rewards for each in episodes)
    lengths = [len(each.rewards) for each in episodes]
    truncated = _join(each.truncations for each in episodes).astype(bool)
    terminated = _join(each.terminations for each in episodes).astype(bool)
    ends = np.cumsum(lengths) - 1
    truncated[ends] |= ~terminated[ends]  # a recording that was stopped
    return OfflineDataset.from_arrays(
        **{"environment": name, **about},
        **columns,
        terminated=terminated,
        truncated=truncated,
        episode=np.repeat(np.arange(len(episodes)), lengths),
    )


def _of(values: Any, agent: str) -> np.ndarray:
    """One agent's rows, flat."""
    if isinstance(values, dict):
        if agent not in values:
            raise ValueError(f"Agent '{agent}' observes and does not act: give data where all do.")
        values = values[agent]
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        raise ValueError(
            "A Minari data set fits whose spaces are boxes, or dictionaries of boxes by agent."
        )
    return values.reshape(len(values), -1)


def _join(pieces: Iterable[np.ndarray]) -> np.ndarray:
    return np.concatenate(list(pieces))
