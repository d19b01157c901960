"""Typed parameters: a key's name, type, bounds, default, unit and meaning on one line.

A method declares what it can be told as a `Parameters` model, and a task what its `env_config` may
change. Whatever a user gives is checked against them before anything starts, and `tenfold describe`
prints them; the check and its sentence stand nowhere else.

    class Parameters(tenfold.platform.parameters.Parameters):
        alpha: float = parameter(0.25, "Risk level: the mean of the worst share alpha", gt=0, le=1)
        horizon: int = parameter(1_000, "Length of a run", unit="slots", ge=1, le=10**9)
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from tenfold.platform.errors import shown, unknown


class Parameters(BaseModel):
    """What can be told; types are strict (no text or truth value for a number) and finite.

    Fields are lists rather than tuples where several values are due, as YAML gives them.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, populate_by_name=True
    )


def parameter(default: Any, meaning: str, *, unit: str = "", **bounds: Any) -> Any:
    """A field of `Parameters`.

    Args:
        default: Its default, the only place where it stands.
        meaning: One line for a user.
        unit: What it is counted in, where that is not plain from the meaning.
        **bounds: As pydantic's `Field` takes them: gt, ge, lt, le, min_length, alias, ...
    """
    extra: Any = {"unit": unit} if unit else None
    return Field(default, description=meaning, json_schema_extra=extra, **bounds)


def parameters_of(function: Callable[..., Any], leave_out: Iterable[str] = ()) -> type[Parameters]:
    """The parameters that a function takes by name, from its signature.

    Args:
        function: Every argument has an annotation (``Annotated[float, Field(gt=0)]`` for bounds and
            meaning) and a default.
        leave_out: Arguments that are not the user's to give.
    """
    given = inspect.signature(function, eval_str=True).parameters
    fields: dict[str, Any] = {
        name: (each.annotation, each.default)
        for name, each in given.items()
        if name not in set(leave_out)
    }
    return create_model(f"{function.__name__} parameters", __base__=Parameters, **fields)


def own_first(model: type[BaseModel]) -> list[str]:
    """Names of fields, those that a model declares itself before those that it inherits."""
    declared = [name for each in model.__mro__ for name in vars(each).get("__annotations__", {})]
    names = dict.fromkeys([*declared, *model.model_fields])
    return [name for name in names if name in model.model_fields]


def check(model: type[BaseModel], values: Mapping[str, Any], place: str = "") -> None:
    """Hold values against a model.

    Args:
        model: What may be given.
        values: Key -> value; keys that are not there have their defaults.
        place: What stands before a key in the message, for example ``env_config.``.

    Raises:
        ValueError: One sentence that names the key, the value and what would be right.
    """
    try:
        model.model_validate(dict(values))
    except ValidationError as error:
        raise ValueError(complaint(error, model, values, place)) from None


def complaint(
    error: ValidationError, model: type[BaseModel], values: Mapping[str, Any], place: str = ""
) -> str:
    """The first mistake that pydantic found, as one sentence.

    Args:
        error: What pydantic raised.
        model: The model that refused.
        values: What was given to it.
        place: What stands before a key, as in `check`.
    """
    found = error.errors(include_url=False, include_context=True)
    first = found[0]
    if first["type"] == "extra_forbidden":
        *parents, name = first["loc"]
        inner = _inner(model, parents)
        known = [field.alias or name for name, field in inner.model_fields.items()]
        where = ".".join(str(step) for step in parents) or place.rstrip(".")
        return str(unknown(f"key of {where}" if where else "key", name, known))
    # A union complains once for each of its members: the one that got deepest was meant.
    same = [
        (_steps(values, each["loc"]), each) for each in found if each["loc"][:1] == first["loc"][:1]
    ]
    path, meant = max(same, key=lambda pair: len(pair[0]))
    cures = dict.fromkeys(_cure(each) for steps, each in same if steps == path)
    if meant["type"] in _BOUNDED and len(path) == 1 and (limits := _range(model, path[0])):
        cures = {limits: None}
    where = ".".join(str(step) for step in path)
    cure = " or ".join(cures).replace(" or give ", " or ")
    return f"Bad value {shown(meant['input'])} for '{place}{where}': {cure}."


def _steps(values: Any, place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The keys and indices of a place, without the marks that pydantic puts between them."""
    steps: list[int | str] = []
    for part in place:
        inside = part in values if isinstance(values, Mapping) else isinstance(part, int)
        if inside:
            values = values[part]
            steps.append(part)
    return tuple(steps) or place[:1]


def _cure(mistake: Any) -> str:
    """What would have been right."""
    kind, limits = mistake["type"], mistake.get("ctx", {})
    if kind in _CURES:
        return _CURES[kind].format(**{name: _short(limit) for name, limit in limits.items()})
    if kind == "value_error":
        return str(limits["error"])
    if kind.startswith("literal") or kind == "enum":
        return f"choose one of {limits['expected'].replace(' or ', ', ')}".replace("'", "")
    return str(mistake["msg"]).rstrip(".")


_BOUNDED = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")


def _inner(model: type[BaseModel], path: Iterable[int | str]) -> type[BaseModel]:
    """The model of a mapping inside another one's field."""
    for key in path:
        kinds = [_field(model, key).annotation, *get_args(_field(model, key).annotation)]
        model = next(k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel))
    return model


def _field(model: type[BaseModel], key: int | str) -> FieldInfo:
    return next(f for name, f in model.model_fields.items() if key in (name, f.alias))


def _range(model: type[BaseModel], key: int | str) -> str:
    """All bounds of a field in words; empty if they stand inside its type."""
    field = _field(model, key)
    limits = {type(each).__name__: each for each in field.metadata}
    words = [
        f"{word} {_short(getattr(limits[kind], kind.lower()))}"
        for kind, word in {"Gt": "above", "Ge": "from", "Lt": "below", "Le": "at most"}.items()
        if kind in limits
    ]
    if len(words) == 1 and "Ge" in limits:
        return f"give {_short(limits['Ge'].ge)} or more"
    if {"Ge", "Le"} <= limits.keys():
        return f"give {_short(limits['Ge'].ge)} or more, up to {_short(limits['Le'].le)}"
    return f"give a number {' and '.join(words)}" if words else ""


def _short(limit: Any) -> Any:
    """1.0 as 1."""
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


_CURES = {
    "bool_type": "give true or false",
    "int_type": "give a whole number",
    "int_parsing_size": "give a whole number of fewer digits",
    "float_type": "give a number",
    "finite_number": "give a finite number",
    "string_type": "give a text",
    "list_type": "give a list",
    "dict_type": "give a mapping",
    "model_type": "give a mapping",
    "none_required": "leave it out",
    "missing": "it is missing, give it",
    "greater_than": "give a number above {gt}",
    "greater_than_equal": "give {ge} or more",
    "less_than": "give a number below {lt}",
    "less_than_equal": "give at most {le}",
    "too_short": "give at least {min_length} entries",
    "too_long": "give at most {max_length} entries",
    "string_too_short": "give a text that is not empty",
}
