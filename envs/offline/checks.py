"""What a data set must be before anything starts; each refusal is one sentence that names it."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from tenfold.envs.offline.dataset import OfflineDataset

_LISTS = ("obs", "action", "next_obs")


def check_columns(schema: pa.Schema, agents: Sequence[str], where: str) -> None:
    """Whether the steps' columns are those of the agents, with their types.

    Args:
        schema: Of the Parquet files.
        agents: Those of the card.
        where: What the data are called in a refusal.

    Raises:
        ValueError: One sentence on the first column that does not fit.
    """
    there = {name.partition(".")[2] for name in schema.names if "." in name}
    if there != set(agents):
        raise ValueError(
            f"{where} has the agents {', '.join(sorted(there)) or '(none)'} in its columns and "
            f"{', '.join(agents)} in its card: they must be the same."
        )
    for name in ("episode", "t"):
        _check_type(schema, name, pa.types.is_integer, "whole numbers", where)
    for name in ("terminated", "truncated"):
        _check_type(schema, name, pa.types.is_boolean, "true or false", where)
    for agent in agents:
        _check_type(schema, f"reward.{agent}", pa.types.is_floating, "numbers", where)
        for kind in _LISTS:
            _check_type(schema, f"{kind}.{agent}", _is_vector, "lists of one fixed size", where)


def _check_type(
    schema: pa.Schema, name: str, right: Callable[[Any], bool], words: str, where: str
) -> None:
    if name not in schema.names:
        raise ValueError(f"{where} has no column '{name}': it holds {words}.")
    kind = schema.field(name).type
    if not right(kind):
        raise ValueError(f"Column '{name}' of {where} is {kind}: give {words}.")


def _is_vector(kind: pa.DataType) -> bool:
    return pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type)


def check_filled(empty: Mapping[str, int], where: str) -> None:
    """Whether every row of every column has a value.

    Args:
        empty: Column -> number of empty rows.
        where: What the data are called in a refusal.

    Raises:
        ValueError: A column has empty rows.
    """
    for name, count in empty.items():
        if count:
            raise ValueError(f"Column '{name}' of {where} has {count} empty rows: fill them.")


def check_arrays(arrays: Mapping[str, np.ndarray], agents: Sequence[str], where: str) -> None:
    """Whether the arrays belong together, are finite, and are ordered in time without gaps.

    Args:
        arrays: Column -> array, see `dataset`.
        agents: Names.
        where: What the data are called in a refusal.

    Raises:
        ValueError: One sentence on the first thing that does not fit.
    """
    count = len(arrays["t"])
    if count == 0:
        raise ValueError(f"{where} has no steps: give one at least.")
    for name, array in arrays.items():
        if len(array) != count:
            raise ValueError(f"Column '{name}' of {where} has {len(array)} steps, 't' has {count}.")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int(np.argwhere(~np.isfinite(array))[0][0])
            raise ValueError(
                f"Column '{name}' of {where} is not finite in episode {arrays['episode'][bad]}, "
                f"step {arrays['t'][bad]}: give numbers."
            )
    for agent in agents:
        seen, after = arrays[f"obs.{agent}"].shape, arrays[f"next_obs.{agent}"].shape
        if seen != after:
            raise ValueError(
                f"Agent '{agent}' of {where} observes {seen[1:]} before a step and {after[1:]} "
                "after it: give one shape."
            )
    _check_order(arrays, where)


def _check_order(arrays: Mapping[str, np.ndarray], where: str) -> None:
    episode, t = arrays["episode"], arrays["t"]
    done = arrays["terminated"] | arrays["truncated"]
    if episode[0] != 0 or t[0] != 0:
        raise ValueError(
            f"{where} begins with episode {episode[0]}, step {t[0]}: sort the rows by episode and "
            "t, both counted from 0."
        )
    same = np.diff(episode) == 0
    right = np.where(same, np.diff(t) == 1, (np.diff(episode) == 1) & (t[1:] == 0))
    if not right.all():
        bad = int(np.flatnonzero(~right)[0]) + 1
        raise ValueError(
            f"In {where} step {t[bad]} of episode {episode[bad]} comes after step {t[bad - 1]} of "
            f"episode {episode[bad - 1]}: sort the rows by episode and t, without gaps."
        )
    within = same & done[:-1]
    if within.any():
        bad = int(np.flatnonzero(within)[0])
        raise ValueError(
            f"In {where} episode {episode[bad]} goes on after its end in step {t[bad]}: begin a "
            "new episode there."
        )
    open_end = np.append(~same, True) & ~done
    if open_end.any():
        bad = int(np.flatnonzero(open_end)[0])
        raise ValueError(
            f"In {where} episode {episode[bad]} stops in step {t[bad]} and is neither terminated "
            "nor truncated: mark its last step."
        )


def check_card(found: "OfflineDataset", where: str) -> None:
    """Whether data are those that their card tells of.

    Raises:
        ValueError: Another number of steps or episodes, or another hash.
    """
    card, episodes = found.card, int(found.episode[-1]) + 1
    for words, there, told in (
        ("steps", len(found), card.transitions),
        ("episodes", episodes, card.episodes),
    ):
        if there != told:
            raise ValueError(
                f"{where} has {there} {words}, its card says {told}: a part may be missing."
            )
    if found.digest() != card.sha256:
        raise ValueError(
            f"The data of {where} are not those of its card, whose SHA-256 is "
            f"{card.sha256[:12]}...: collect or convert them again."
        )
    told_parts = sum(part.episodes for part in card.parts)
    if card.parts and told_parts != episodes:
        raise ValueError(f"The parts of {where} hold {told_parts} episodes, not {episodes}.")


def check_fits(
    found: "OfflineDataset",
    *,
    environment: str,
    agents: Sequence[str],
    observation_sizes: Sequence[int],
    action_size: int,
    physics_order: str,
    reward: str,
) -> None:
    """Whether data come from the environment in which a policy is to be evaluated.

    Args:
        found: The data.
        environment: Id of the environment.
        agents: Its learned agents.
        observation_sizes: Their observations' sizes.
        action_size: Size of an action.
        physics_order: See `DataCard`.
        reward: See `DataCard`.

    Raises:
        ValueError: One sentence that names what is different.
    """
    card = found.card
    for field, there, wanted in (
        ("environment", card.environment, environment),
        ("agents", ", ".join(card.agents), ", ".join(agents)),
        ("physics_order", card.physics_order, physics_order),
        ("reward", card.reward, reward),
    ):
        if there != wanted:
            raise ValueError(
                f"The data have {field} '{there}', the environment has '{wanted}': give data of "
                "that environment, or evaluate in theirs."
            )
    for agent, size in zip(agents, observation_sizes, strict=True):
        if found.obs[agent].shape[1] != size:
            raise ValueError(
                f"Agent '{agent}' observes {found.obs[agent].shape[1]} numbers in the data and "
                f"{size} in '{environment}': give data of that environment."
            )
        if found.actions[agent].shape[1] != action_size:
            raise ValueError(
                f"Agent '{agent}' has actions of size {found.actions[agent].shape[1]} in the data "
                f"and {action_size} in '{environment}': give data of that environment."
            )
