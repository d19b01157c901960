"""A scenario: what arrives, what is served, for how long, and in how many replicas."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from tenfold.envs.queues.processes import Queue, Spec
from tenfold.platform.yaml_text import LimitedLoader, load

# Tags that pydantic puts between the keys of a place; a user's file does not have them.
_TAGS = {
    *("bernoulli", "poisson", "deterministic", "pareto", "lognormal", "trace"),
    *("piecewise", "periodic", "on_off", "walk", "adversarial", "number"),
}

MOST_SLOTS, MOST_REPLICAS = 10**9, 10**6


class Scenario(Spec):
    """Arrivals and services as declared, for a number of slots and replicas.

    Attributes:
        name: As it is shown in tables.
        about: One sentence.
        queues: Arrivals and service of each queue.
        horizon: Slots of an episode or a run.
        replicas: Independent copies of it.
    """

    name: str
    about: str = ""
    queues: tuple[Queue, ...] = Field(min_length=1, strict=False)
    horizon: int = Field(default=1_000_000, ge=1, le=MOST_SLOTS)
    replicas: int = Field(default=64, ge=1, le=MOST_REPLICAS)

    @property
    def K(self) -> int:
        """Number of queues."""
        return len(self.queues)

    @property
    def bound(self) -> float:
        """M, the most that can arrive or be served in a slot; infinite without a bound."""
        return max(max(queue.arrivals.bound, queue.service.bound) for queue in self.queues)

    @property
    def costs(self) -> tuple[float, ...]:
        """Holding cost of a unit of work of each queue a slot, (K,)."""
        return tuple(queue.cost for queue in self.queues)

    @property
    def random(self) -> bool:
        """Whether its replicas are different instances; else they are one, an interval over which
        says nothing but how much the scheduler's own draws matter."""
        return any(queue.arrivals.random or queue.service.random for queue in self.queues)


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
    return declare(_read(Path(path)), str(path))


def traces_of(path: str | Path) -> list[Path]:
    """The trace files that the scenario in a YAML file names, each once, in their order there.

    Raises:
        ValueError: The file cannot be read as a scenario's mapping.
    """
    return list(dict.fromkeys(Path(trace["path"]) for trace in _traces(_read(Path(path)))))


def _read(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, with the paths of its traces placed in the file's folder."""
    declaration = read_mapping(path)
    for trace in _traces(declaration):
        trace["path"] = str(path.parent / trace["path"])
    return declaration


_HOLDS = "a scenario is a mapping with the keys name and queues"


def read_mapping(path: Path, holds: str = _HOLDS) -> dict[str, Any]:
    """The mapping in a YAML file, whose scalars are those of YAML 1.2.

    Args:
        path: The file.
        holds: What it should hold, for the message.

    Raises:
        ValueError: The file cannot be read, is not YAML, or holds no mapping.
    """
    try:
        declaration = load(path, _Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: is not YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(declaration, dict):
        raise ValueError(f"{path}: {holds}.")
    return declaration


class _Loader(LimitedLoader):
    """YAML with the scalars of YAML 1.2's core schema.

    PyYAML follows YAML 1.1, where ``on`` and ``no`` are truth values, 1e-3 a text and 010 eight.
    A whole number may be written 1e6.
    """

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012  (PyYAML's own type)

    def construct_int(self, node: Any) -> int:
        text = self.construct_scalar(node)
        return int(text, 0) if text.startswith(("0o", "0x")) else int(text)

    def construct_float(self, node: Any) -> int | float:
        text = self.construct_scalar(node).lower()
        number = float(text.replace(".inf", "inf").replace(".nan", "nan"))
        return int(number) if "e" in text and number.is_integer() else number


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), _first
    )
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_float)


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


def _traces(declaration: Any, seen: set[int] | None = None) -> Iterator[dict[str, Any]]:
    """The mappings of trace processes in a declaration; an alias in YAML is met once."""
    seen = set() if seen is None else seen
    if id(declaration) in seen:
        return
    seen.add(id(declaration))
    if isinstance(declaration, dict):
        if declaration.get("kind") == "trace" and isinstance(declaration.get("path"), str):
            yield declaration
        for value in declaration.values():
            yield from _traces(value, seen)
    elif isinstance(declaration, list):
        for value in declaration:
            yield from _traces(value, seen)
