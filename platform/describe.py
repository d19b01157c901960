"""`tenfold describe`: every key that a method and a task take, from the models that check them."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from tenfold.platform import rllib_keys
from tenfold.platform.errors import InputError
from tenfold.platform.parameters import own_first
from tenfold.platform.registry import Method
from tenfold.platform.tasks import resolve
from tenfold.platform.tuned import all_tuned_values


@dataclass(frozen=True)
class Row:
    """One key.

    Attributes:
        group: "method", "task" (`env_config` of the task) or "rllib" (RLlib's own keys).
        key: As `--set` and an experiment's `config` take it.
        type: In words.
        bounds: In words, empty if there are none.
        default: As a value of YAML and JSON; None too where the key must be given.
        unit: What it is counted in, empty if plain.
        meaning: One line.
    """

    group: Literal["method", "task", "rllib"]
    key: str
    type: str
    bounds: str
    default: Any
    unit: str
    meaning: str


def describe(method: Method, task: str | None = None, everything: bool = False) -> list[Row]:
    """The keys of a method, then what `env_config` may hold on a task.

    Args:
        method: The method.
        task: One of its tasks, its first when None.
        everything: RLlib's own keys too, and the entries of mappings.

    Raises:
        InputError: There is no such task.
    """
    task = method.tasks[0] if task is None else resolve(method, task)
    config = method.load_config_class()
    own = config if issubclass(config, BaseModel) else getattr(config, "Parameters", None)
    rows = list(_rows("method", "", own, everything)) if own else []
    known = {row.key for row in rows}
    if issubclass(config, AlgorithmConfig):
        default = config()
        rows += [
            Row("method", key, _type(type(value)), "", value, "", "")
            for key, value in rllib_keys.own_keys(default).items()
            if key.rstrip("_") not in known and key not in known
        ]
        library = rllib_keys.library_parameters(default)
        theirs = _rows("rllib", "", library, everything) if everything else ()
        rest = [row for row in theirs if row.key not in {row.key for row in rows}]
    else:
        rest = []
    try:
        model = getattr(config, "task_parameters", lambda _: None)(task)
    except ValueError as error:
        raise InputError(" ".join(str(error).split())) from None
    return [*rows, *_rows("task", "env_config.", model, everything), *rest]


def show(method: Method, task: str | None, rows: Iterable[Row], as_json: bool) -> None:
    """Print rows, as blocks of two lines that fit a narrow terminal, or as JSON."""
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2, default=str))
        return
    titles = {
        "method": f"{method.name}: {method.title}",
        "task": f"env_config of {task or method.tasks[0]}",
        "rllib": "RLlib's own keys",
    }
    console = Console(highlight=False)
    group = None
    for row in rows:
        if row.group != group:
            group = row.group
            console.print(Text(f"\n{titles[group]}", style="bold underline"))
        console.print(Text.assemble((row.key, "bold"), " = ", (_yaml(row.default), "cyan")))
        details = ", ".join(part for part in (row.type, row.bounds, row.unit) if part)
        said = Text.assemble(f"{row.meaning.rstrip('.')} " if row.meaning else "", f"({details})")
        console.print(Padding(said, (0, 0, 0, 4), expand=False))
    for name, values in all_tuned_values(method).items():
        console.print(Text(f"\n--tuned on {name}", style="bold underline"))
        for key, value in values.items():
            console.print(Text.assemble((key, "bold"), " = ", (_yaml(value), "cyan")))


def _rows(
    group: Literal["method", "task", "rllib"],
    place: str,
    model: type[BaseModel] | None,
    inside: bool,
    defaults: dict[str, Any] | None = None,
) -> Iterator[Row]:
    if model is None:
        return
    for name in own_first(model):
        field = model.model_fields[name]
        if name in ("task", "seed") and not place:
            continue
        key = field.alias or name
        default = (defaults or {}).get(key, field.get_default(call_default_factory=True))
        inner = _model(field.annotation)
        yield Row(
            group,
            f"{place}{key}",
            _type(field.annotation),
            _bounds(field),
            None if field.is_required() else default,
            str((field.json_schema_extra or {}).get("unit", "")),  # type: ignore[union-attr]
            field.description or "",
        )
        if inside and inner is not None:
            yield from _rows(group, f"{place}{key}.", inner, inside, default or {})


def _model(annotation: Any) -> type[BaseModel] | None:
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return annotation if is_model else None


def _type(annotation: Any) -> str:
    """A type in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(inner[0])
    if origin is Literal:
        return " | ".join(_yaml(value) for value in inner)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_type(member) for member in inner))
    if origin in (list, tuple):
        entry = _type(inner[0]) if inner else "anything"
        return {
            "number": "list of numbers",
            "whole number": "list of whole numbers",
            "text": "list of texts",
            "anything": "list",
        }.get(entry, "list of lists" if entry.startswith("list") else f"list of {entry}")
    if origin is dict or _model(annotation):
        return "mapping"
    return _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))


_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    list: "list",
    tuple: "list",
    dict: "mapping",
    NoneType: "null",
    Any: "anything",
}


def _bounds(field: FieldInfo) -> str:
    """Bounds in words, those inside a union's members too."""
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found: dict[str, Any] = {}
    for limit in [*field.metadata, *_metadata(field.annotation)]:
        for name in words:
            if getattr(limit, name, None) is not None:
                found.setdefault(name, getattr(limit, name))
    if {"ge", "le"} <= found.keys():
        return f"{_short(found['ge'])} to {_short(found['le'])}"
    return ", ".join(f"{words[name]} {_short(found[name])}" for name in words if name in found)


def _short(limit: Any) -> str:
    """A bound: 10000, 0.5, 1e6."""
    plain = limit == int(limit) and abs(limit) < 10**6
    return str(int(limit)) if plain else f"{limit:g}".replace("e+0", "e").replace("e+", "e")


def _metadata(annotation: Any) -> Iterator[Any]:
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        for each in inner[1:]:
            yield from each.metadata if isinstance(each, FieldInfo) else [each]
        yield from _metadata(inner[0])
    elif origin in (Union, UnionType):
        for member in inner:
            if get_origin(member) is Annotated and get_args(member)[0] in (int, float):
                yield from _metadata(member)


def _yaml(value: Any) -> str:
    """A value as it is typed after `--set key=`."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"{value:.1f}"
    try:
        text = yaml.safe_dump(value, default_flow_style=True, width=10**6)
    except yaml.YAMLError:
        return str(value)
    return text.removesuffix("\n").removesuffix("\n...")
