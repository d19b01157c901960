"""A scenario: what arrives, what is served, for how long, and in how many replicas."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from tenfold.envs.queues.processes import Queue, Spec

# Tags that pydantic puts between the keys of a place; a user's file does not have them.
_TAGS = {
    *("bernoulli", "poisson", "deterministic", "pareto", "lognormal", "trace"),
    *("piecewise", "periodic", "on_off", "walk", "adversarial", "number"),
}


class Scenario(Spec):
    """A declared world.

    Attributes:
        name: As it is shown in tables.
        about: One sentence.
        queues: Arrivals and service of each queue.
        horizon: Slots of an episode or a run.
        replicas: Independent copies of it.
    """

    name: str
    about: str = ""
    queues: tuple[Queue, ...] = Field(min_length=1)
    horizon: int = Field(default=1_000_000, ge=1)
    replicas: int = Field(default=64, ge=1)

    @property
    def K(self) -> int:
        """Number of queues."""
        return len(self.queues)

    @property
    def bound(self) -> float:
        """M, the most that can arrive or be served in a slot; infinite without a bound."""
        return max(max(queue.arrivals.bound, queue.service.bound) for queue in self.queues)


def declare(declaration: Mapping[str, Any], where: str = "scenario") -> Scenario:
    """The scenario that a mapping declares, as a YAML file holds it.

    Args:
        declaration: Keys are the attributes of `Scenario`.
        where: Begins the message of a refusal.

    Raises:
        ValueError: One sentence that names the place and the value that is wrong there.
    """
    try:
        return Scenario.model_validate(declaration)
    except ValidationError as error:
        raise ValueError(f"{where}: {explain(error)}") from None


def read_scenario(path: str | Path) -> Scenario:
    """The scenario in a YAML file; paths of traces in it are relative to its folder.

    Raises:
        ValueError: One sentence that names the file, and the place and value that are wrong there.
    """
    path = Path(path)
    try:
        declaration = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: is not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(declaration, dict):
        raise ValueError(f"{path}: a scenario is a mapping with the keys name and queues.")
    _place_traces(declaration, path.parent)
    return declare(declaration, str(path))


def explain(error: ValidationError) -> str:
    """The first complaint of pydantic as one sentence."""
    first = error.errors()[0]
    place = ".".join(str(key) for key in first["loc"] if key not in _TAGS)
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    if first["type"] == "extra_forbidden":
        message = "there is no such key"
    elif first["type"] not in ("missing", "value_error"):
        message = f"{message}, not {first['input']!r}"
    return f"{place}: {message}." if place else f"{message}."


def _place_traces(declaration: Any, folder: Path) -> None:
    """Make the paths of trace processes relative to a folder, in place."""
    if isinstance(declaration, dict):
        if declaration.get("kind") == "trace" and isinstance(declaration.get("path"), str):
            declaration["path"] = str(folder / declaration["path"])
        for value in declaration.values():
            _place_traces(value, folder)
    elif isinstance(declaration, list):
        for value in declaration:
            _place_traces(value, folder)
