"""Batches of all agents from Parquet that need not fit into memory, read by Ray Data.

A pass over the files keeps a step of agent j with the probability w / w_max of its trajectory, so
that steps come in proportion to their weights and never twice in a pass; `sampler` draws the same
distribution with replacement. Files and rows come in another order in each pass. Which rows a batch
holds depends on how Ray's tasks overtake each other: a resumed run goes on with other draws.
"""

from collections.abc import Generator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset
import ray
from ray.rllib.core.columns import Columns

from tenfold.algorithms.offline.sampler import stack_padded
from tenfold.envs.offline.card import DataCard
from tenfold.envs.offline.checks import check_columns
from tenfold.envs.offline.dataset import STEPS, OfflineDataset

_ROWS, _SHUFFLED = 4_096, 65_536
_KEPT = "kept"


def streamed_returns(folder: Path, agents: Sequence[str]) -> np.ndarray:
    """Summed rewards by episode and agent, float64 (episodes, n); only rewards are read."""
    columns = [f"reward.{name}" for name in agents]
    steps = ray.data.read_parquet(str(folder / STEPS)).select_columns(["episode", *columns])
    sums = steps.groupby("episode").sum(on=columns).to_pandas().sort_values("episode")
    return sums[[f"sum({column})" for column in columns]].to_numpy(dtype=np.float64)


def head_of(folder: Path, episodes: int) -> OfflineDataset:
    """The first episodes of a data set, checked, with the anchors of the whole.

    Args:
        folder: As `OfflineDataset.write` leaves it.
        episodes: How many, or all if there are fewer.
    """
    card = DataCard.read(folder)
    files = pyarrow.dataset.dataset(folder / STEPS)
    check_columns(files.schema, card.agents, f"'{folder}'")
    table = files.to_table(filter=pyarrow.dataset.field("episode") < episodes)
    batch = {name: _array(table[name].to_numpy()) for name in table.column_names}

    def of(kind: str) -> dict[str, np.ndarray]:
        return {name: batch[f"{kind}.{name}"] for name in card.agents}

    about = ("parameters", "physics_order", "reward", "level", "behaviour", "anchors")
    return OfflineDataset.from_arrays(
        environment=card.environment,
        obs=of("obs"),
        actions=of("action"),
        rewards=of("reward"),
        next_obs=of("next_obs"),
        terminated=batch["terminated"],
        truncated=batch["truncated"],
        episode=batch["episode"],
        **{name: getattr(card, name) for name in about},
    )


class StreamedSampler:
    """What `WeightedSampler` is, for data on disk.

    Args:
        folder: As `OfflineDataset.write` leaves it.
        agents: Names, in the order of the agent axis.
        weights: w(tau), int64 (E, n); trajectories of weight 0 are left out.
        joint: All agents' rows are of the same joint steps.
        seed: Of the order and of what is kept.
    """

    def __init__(
        self, folder: Path, agents: Sequence[str], weights: np.ndarray, joint: bool, seed: int
    ) -> None:
        self.folder, self.agents, self.weights = folder, tuple(agents), weights
        self.joint, self.seed = joint, seed
        self._waiting: dict[str, list[np.ndarray]] = {}
        self._stream = self._kept_rows()

    def sample(self, size: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """A batch as `WeightedSampler.sample` gives it; `rng` is not asked."""
        n = len(self.agents)
        while not self._waiting or min(len(rows) for rows in self._waiting[_KEPT]) < size:
            self._take(next(self._stream))
        taken = {}
        for column in (name for name in self._waiting if name != _KEPT):
            rows = self._waiting[column]
            taken[column] = np.stack([rows[j][:size] for j in range(n)], axis=1)
        for column, rows in self._waiting.items():
            self._waiting[column] = [each[size:] for each in rows]
        return taken

    def close(self) -> None:
        """Stop reading."""
        self._stream.close()

    def coverage(self, drawn: int) -> float:
        """Expected share of steps of an agent seen after so many rows, for equal lengths."""
        used = self.weights[self.weights.sum(axis=1) > 0]
        steps = DataCard.read(self.folder).transitions * len(used) / len(self.weights)
        passes = drawn / (steps * used.mean() / used.max())
        return float(1 - ((1 - used / used.max()) ** passes).mean())

    def _take(self, batch: Mapping[str, np.ndarray]) -> None:
        kept = batch[_KEPT]
        for column, values in batch.items():
            own = [values[kept[:, j], j] for j in range(len(self.agents))]
            waiting = self._waiting.get(column, [each[:0] for each in own])
            together = zip(waiting, own, strict=True)
            self._waiting[column] = [np.concatenate(pair) for pair in together]

    def _kept_rows(self) -> Generator[dict[str, np.ndarray], None, None]:
        for epoch in count():
            steps = ray.data.read_parquet(
                str(self.folder / STEPS), shuffle=ray.data.FileShuffleConfig(self.seed + epoch)
            )
            thinned = steps.map_batches(
                _thin,
                fn_args=(self.agents, self.weights, self.joint, self.seed, epoch),
                batch_size=_ROWS,
            )
            yield from thinned.iter_batches(
                batch_size=_ROWS,
                local_shuffle_buffer_size=_SHUFFLED,
                local_shuffle_seed=self.seed + epoch,
            )


def _thin(
    batch: dict[str, Any],
    agents: Sequence[str],
    weights: np.ndarray,
    joint: bool,
    seed: int,
    epoch: int,
) -> dict[str, np.ndarray]:
    """Rows that some agent keeps, with an agent axis, and which agents keep them."""
    episode = np.asarray(batch["episode"])
    rng = np.random.default_rng([seed, epoch, int(episode[0]), int(batch["t"][0])])
    chance = weights[episode] / weights.max(axis=0)  # (R, n)
    kept = rng.random(chance.shape) < chance
    if joint:
        kept[:] = kept[:, :1]
    some = kept.any(axis=1)

    def stacked(kind: str) -> np.ndarray:
        return stack_padded([_array(batch[f"{kind}.{name}"])[some] for name in agents])

    ends = np.asarray(batch["terminated"], np.bool_)[some]
    return {
        Columns.OBS: stacked("obs"),
        Columns.ACTIONS: stacked("action"),
        Columns.REWARDS: stacked("reward"),
        Columns.NEXT_OBS: stacked("next_obs"),
        Columns.TERMINATEDS: np.repeat(ends[:, None], len(agents), axis=1),
        _KEPT: kept[some],
    }


def _array(column: Any) -> np.ndarray:
    """A column of numbers or of lists of one length as an array of numbers."""
    values = np.asarray(column)
    return np.stack(list(values)) if values.dtype == object else values
