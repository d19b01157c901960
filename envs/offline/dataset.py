"""An offline multi-agent data set: joint transitions in memory, and on disk as Parquet.

On disk it is a folder with ``card.json`` and Parquet files in ``steps/``, one row a joint step, by
episode and time. Columns are ``episode`` and ``t`` (int64), ``terminated`` and ``truncated``
(bool), and for each agent ``obs.NAME``, ``action.NAME``, ``next_obs.NAME`` (fixed-size lists of
float32) and ``reward.NAME`` (float32). ``pandas.read_parquet(folder / "steps")``, pyarrow and
``ray.data.read_parquet`` read them as they are.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from tenfold.envs.offline.card import DataCard, Returns
from tenfold.envs.offline.checks import check_arrays, check_card, check_columns, check_filled

STEPS = "steps"
ROWS_PER_FILE = 250_000
MOST_STEPS = 100_000_000
_JOINT = {"episode": np.int64, "t": np.int64, "terminated": np.bool_, "truncated": np.bool_}
_PER_AGENT = ("obs", "action", "reward", "next_obs")


@dataclass(frozen=True)
class OfflineDataset:
    """T joint transitions of n agents, by episode and time.

    Attributes:
        agents: Names, in the order of the environments' axis.
        obs: Agent -> observations, float32 (T, o).
        actions: Agent -> actions, float32 (T, m).
        rewards: Agent -> rewards, float32 (T,).
        next_obs: Agent -> observations after the step, float32 (T, o).
        terminated: Whether the environment terminated, bool (T,): nothing is to be bootstrapped.
        truncated: Whether the episode was cut by its time limit, bool (T,): the value goes on.
        episode: Number of the episode, int64 (T,), 0, 1, ... without gaps.
        t: Step within the episode, int64 (T,), 0, 1, ... without gaps.
        card: What is known about the data.
    """

    agents: tuple[str, ...]
    obs: Mapping[str, np.ndarray]
    actions: Mapping[str, np.ndarray]
    rewards: Mapping[str, np.ndarray]
    next_obs: Mapping[str, np.ndarray]
    terminated: np.ndarray
    truncated: np.ndarray
    episode: np.ndarray
    t: np.ndarray
    card: DataCard

    @classmethod
    def from_arrays(
        cls,
        *,
        environment: str,
        obs: Mapping[str, Any],
        actions: Mapping[str, Any],
        rewards: Mapping[str, Any],
        next_obs: Mapping[str, Any],
        terminated: Any,
        truncated: Any,
        episode: Any,
        **about: Any,
    ) -> "OfflineDataset":
        """A data set of arrays, steps in their order; see the class for shapes.

        Args:
            environment: Id of the environment.
            obs: Agent -> observations; its keys are the agents, in their order.
            actions: Agent -> actions.
            rewards: Agent -> rewards.
            next_obs: Agent -> observations after the step.
            terminated: Whether the environment terminated.
            truncated: Whether the episode was cut.
            episode: Number of each step's episode; equal numbers are adjacent.
            **about: Further fields of the card.

        Raises:
            ValueError: The data do not fit, see `checks.check_arrays`.
        """
        arrays: dict[str, np.ndarray] = {}
        given = {"obs": obs, "action": actions, "reward": rewards, "next_obs": next_obs}
        for kind, by_agent in given.items():
            for name in obs:
                if name not in by_agent:
                    raise ValueError(f"Agent '{name}' has no {kind}: give it for every agent.")
                arrays[f"{kind}.{name}"] = np.ascontiguousarray(by_agent[name], np.float32)
        numbers = np.asarray(episode)
        starts = np.flatnonzero(np.r_[True, numbers[1:] != numbers[:-1]])
        lengths = np.diff(np.append(starts, len(numbers)))
        arrays["episode"] = np.repeat(np.arange(len(starts)), lengths)
        arrays["t"] = np.arange(len(numbers)) - np.repeat(starts, lengths)
        arrays["terminated"] = np.asarray(terminated, np.bool_)
        arrays["truncated"] = np.asarray(truncated, np.bool_)
        agents = tuple(obs)
        check_arrays(arrays, agents, "The data")
        made = cls._of(arrays, agents, card=None)
        card = DataCard(
            environment=environment,
            agents=list(agents),
            episodes=len(starts),
            transitions=len(numbers),
            returns=Returns.of(made.returns().mean(axis=1)),
            sha256=made.digest(),
            **about,
        )
        return cls._of(arrays, agents, card)

    @classmethod
    def _of(cls, arrays: Mapping[str, np.ndarray], agents: Sequence[str], card: Any) -> Any:
        return cls(
            agents=tuple(agents),
            obs={name: arrays[f"obs.{name}"] for name in agents},
            actions={name: arrays[f"action.{name}"] for name in agents},
            rewards={name: arrays[f"reward.{name}"] for name in agents},
            next_obs={name: arrays[f"next_obs.{name}"] for name in agents},
            card=card,
            **{name: arrays[name] for name in _JOINT},
        )

    def __len__(self) -> int:
        """Number of joint transitions T."""
        return len(self.t)

    def returns(self) -> np.ndarray:
        """Summed rewards by episode and agent, float64 (episodes, n)."""
        starts = np.flatnonzero(self.t == 0)
        return np.stack(
            [np.add.reduceat(self.rewards[name], starts, dtype=np.float64) for name in self.agents],
            axis=1,
        )

    def digest(self) -> str:
        """SHA-256 of all arrays with their names and shapes; independent of how Parquet packs."""
        digest = hashlib.sha256()
        for name, array in self.columns():
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def columns(self) -> Iterator[tuple[str, np.ndarray]]:
        """Name and array of each column, in the order in which they are stored."""
        for joint in _JOINT:
            yield joint, getattr(self, joint)
        kinds = zip(_PER_AGENT, (self.obs, self.actions, self.rewards, self.next_obs), strict=True)
        for kind, by_agent in kinds:
            for name in self.agents:
                yield f"{kind}.{name}", by_agent[name]

    def write(self, folder: Path) -> None:
        """Write card and steps into a folder, which is made if it is not there.

        Raises:
            ValueError: It holds a data set already.
        """
        steps = folder / STEPS
        if steps.exists():
            raise ValueError(f"'{folder}' holds a data set already: give another folder.")
        steps.mkdir(parents=True)
        table = pa.table({name: _to_arrow(array) for name, array in self.columns()})
        for number, first in enumerate(range(0, len(self), ROWS_PER_FILE)):
            piece = table.slice(first, ROWS_PER_FILE)
            # A dictionary of floats costs five times the time and saves nothing.
            parquet.write_table(piece, steps / f"part-{number:05}.parquet", use_dictionary=False)
        self.card.write(folder)

    @classmethod
    def read(cls, folder: str | Path) -> "OfflineDataset":
        """The data set in a folder, checked.

        Raises:
            ValueError: There is none, or its data do not fit: one sentence that names what.
        """
        folder = Path(folder)
        card = DataCard.read(folder)
        files = sorted((folder / STEPS).glob("*.parquet"))
        if not files:
            raise ValueError(f"'{folder / STEPS}' holds no Parquet file: the steps belong there.")
        try:
            if sum(parquet.read_metadata(file).num_rows for file in files) > MOST_STEPS:
                raise ValueError(f"'{folder}' has over {MOST_STEPS:,} steps: take a part of them.")
            table = pa.concat_tables([parquet.read_table(file) for file in files])
        except (pa.ArrowInvalid, OSError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise ValueError(f"The steps of '{folder}' cannot be read: {reason}.") from None
        check_columns(table.schema, card.agents, f"'{folder}'")
        columns = [*_JOINT, *(f"{kind}.{name}" for kind in _PER_AGENT for name in card.agents)]
        check_filled({name: table[name].null_count for name in columns}, f"'{folder}'")
        arrays = {name: _to_numpy(table[name]) for name in columns}
        check_arrays(arrays, card.agents, f"'{folder}'")
        found = cls._of(arrays, card.agents, card)
        check_card(found, f"'{folder}'")
        return found


def _to_arrow(array: np.ndarray) -> pa.Array:
    if array.ndim == 1:
        return pa.array(array)
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])


def _to_numpy(column: pa.ChunkedArray) -> np.ndarray:
    whole = column.combine_chunks()
    if pa.types.is_fixed_size_list(column.type):
        flat = whole.flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat.reshape(-1, column.type.list_size), np.float32)
    return np.asarray(whole.to_numpy(zero_copy_only=False))
