"""The card of a data set: where it comes from, and what a return in it is worth.

It lies beside the data as ``card.json``. Anchors are returns of uniformly random actions and of the
expert in the same environment; a normalised score is 100 (S - random) / (expert - random).
"""

import importlib.metadata
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

FILE = "card.json"
_HISTOGRAM_BINS = 20
_VERSIONED = ("numpy", "numba", "mujoco", "gymnasium-robotics")


# An agent's name is a column's and a file's: it must not lead out of a folder.
Agent = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f.][^/\\\x00-\x1f]*$", max_length=100)]


class _Fixed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Anchors(_Fixed):
    """Mean returns of an episode that stand for 0 and 100 of the normalised score."""

    random: float
    expert: float

    @model_validator(mode="after")
    def _differ(self) -> "Anchors":
        if self.random == self.expert:
            raise ValueError("random and expert are equal: they must differ to normalise scores")
        return self


class Returns(_Fixed):
    """Distribution of the episodes' scores: mean over agents of the summed rewards.

    Attributes:
        mean: Their mean.
        std: Their standard deviation (of the sample, not of its mean).
        edges: Edges of the histogram's bins, one more than counts.
        counts: Episodes in each bin.
    """

    mean: float
    std: float
    edges: list[float]
    counts: list[int]

    @classmethod
    def of(cls, scores: np.ndarray) -> "Returns":
        """The distribution of scores, float (episodes,)."""
        counts, edges = np.histogram(scores, bins=_HISTOGRAM_BINS)
        return cls(
            mean=float(scores.mean()),
            std=float(scores.std()),
            edges=[float(edge) for edge in edges],
            counts=[int(count) for count in counts],
        )


class Part(_Fixed):
    """Episodes in a row that come from one level; a mixture has two of them."""

    level: str
    episodes: Annotated[int, Field(ge=1)]


class DataCard(_Fixed):
    """What is known about a data set.

    Attributes:
        environment: Id of the environment, see `tenfold.envs.offline.names`; others are
            allowed, but then the data cannot be used to evaluate in Tenfold's own environments.
        parameters: Fields of the environment, beside the two below.
        physics_order: Which of position and velocity a step moves first, see
            `tenfold.envs.mpe.worlds`; ``"none"`` where it does not apply.
        reward: Variant of the reward; ``"none"`` where there is only one.
        level: Name of the behaviour's quality, for example ``medium``.
        parts: The levels that the episodes come from, in their order.
        behaviour: What acted, in words and numbers.
        seed: Seed of the collection.
        agents: Names of the agents, in the order of the environments' axis.
        episodes: How many.
        transitions: Joint steps in all.
        returns: Distribution of the scores.
        anchors: Scores that normalise others; None where they are not known.
        versions: Versions of what made the data.
        sha256: Of the arrays, see `OfflineDataset.digest`.
    """

    environment: str
    parameters: dict[str, Any] = {}
    physics_order: Literal["legacy", "mpe2", "none"] = "none"
    reward: Literal["omar", "mpe2", "none"] = "none"
    level: str = "own"
    parts: list[Part] = []
    behaviour: dict[str, Any] = {}
    seed: int = 0
    agents: list[Agent]
    episodes: int
    transitions: int
    returns: Returns
    anchors: Anchors | None = None
    versions: dict[str, str] = {}
    sha256: str

    def normalised(self, score: float) -> float:
        """100 (score - random) / (expert - random).

        Raises:
            ValueError: The card has no anchors.
        """
        if self.anchors is None:
            raise ValueError(
                f"The data of '{self.environment}' have no anchors: give 'anchors' with the scores "
                f"of random and of expert in {FILE}."
            )
        return 100.0 * (score - self.anchors.random) / (self.anchors.expert - self.anchors.random)

    def write(self, folder: Path) -> None:
        """Write ``card.json`` into a folder."""
        (folder / FILE).write_text(self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "DataCard":
        """The card that lies in a folder.

        Raises:
            ValueError: There is no card, or it is not valid.
        """
        path = folder / FILE
        if not os.path.isfile(path):
            raise ValueError(
                f"'{folder}' has no {FILE}: give a folder that 'tenfold collect' or "
                "'tenfold dataset convert' wrote."
            )
        try:
            return cls.model_validate_json(path.read_text())
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise ValueError(f"'{path}' is not a card: {where}: {first['msg']}.") from None


def versions() -> Mapping[str, str]:
    """Versions of what simulates, of those that are installed."""
    found = {}
    for name in _VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
