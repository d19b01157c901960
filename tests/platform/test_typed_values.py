"""Whatever a user gives for any key of any method: it is taken, or refused in one sentence.

The keys are those of the methods' own models, so a new key is covered as soon as it is declared.
"""

import math
from typing import Any

import pytest
import ray
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError
from tenfold.platform.parameters import shown
from tenfold.platform.registry import methods

VALUES: list[Any] = [
    "abc",
    "",
    "0.1",
    True,
    None,
    math.nan,
    math.inf,
    -math.inf,
    10**400,
    -(10**400),
    1e308,
    0.123,
    0,
    -1,
    [],
    ["abc", None],
    {},
    {"abc": 1},
]


def fields(name: str) -> list[tuple[str, str, FieldInfo]]:
    """A method's (task, key, field): its own keys on its first task, and what each task takes."""
    method = methods()[name]
    config = method.load_config_class()
    own = config if issubclass(config, BaseModel) else getattr(config, "Parameters", None)
    found = _keys(method.tasks[0], "", own)
    for task in method.tasks:
        model = getattr(config, "task_parameters", lambda task: None)(task)
        found += _keys(task, "env_config.", model)
    return found


def _keys(task: str, place: str, model: type[BaseModel] | None) -> list[tuple[str, str, FieldInfo]]:
    if model is None:
        return []
    return [
        (task, f"{place}{field.alias or name}", field)
        for name, field in model.model_fields.items()
        if name not in ("task", "seed")
    ]


def refusal(name: str, task: str, key: str, value: Any) -> str | None:
    """The sentence that a value is refused with, or None if it is taken; all else is a failure."""
    method = methods()[name]
    case = f"{name} on {task}: {key} = {shown(value)}"
    try:
        build_config(method, task, next(iter(method.variants)), {key: value}, seed=0)
    except InputError as error:
        sentence = str(error)
        assert len(sentence.splitlines()) == 1, case
        assert key.rsplit(".", 1)[-1] in sentence, f"{case}: {sentence[:600]}"
        assert len(sentence) < 600, f"{case}: {sentence[:600]}"
        return sentence
    except Exception as error:
        pytest.fail(f"{case}: {type(error).__name__}: {error}"[:600])
    return None


@pytest.mark.parametrize("name", sorted(methods()))
def test_every_value_of_every_key_is_taken_or_refused_in_one_sentence(name: str) -> None:
    started = ray.is_initialized()
    for task, key, _ in fields(name):
        refused = [value for value in VALUES if refusal(name, task, key, value) is not None]
        assert refused, f"{name} on {task}: '{key}' takes anything"
    assert ray.is_initialized() == started


@pytest.mark.parametrize("name", sorted(methods()))
def test_the_bounds_of_every_key_are_taken_or_refused_in_one_sentence(name: str) -> None:
    """The largest value that a type allows must not take all memory, nor what is just beyond it."""
    for task, key, field in fields(name):
        for limit in field.metadata:
            if isinstance(limit, Ge | Gt):
                edge, beyond = getattr(limit, "ge", getattr(limit, "gt", None)), -1
            elif isinstance(limit, Le | Lt):
                edge, beyond = getattr(limit, "le", getattr(limit, "lt", None)), 1
            else:
                continue
            refusal(name, task, key, edge)
            whole = isinstance(edge, int)
            assert refusal(name, task, key, edge + beyond if whole else edge + beyond * 1e-3)
