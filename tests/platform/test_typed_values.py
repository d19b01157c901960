"""Whatever a user gives for any key of any method: it is taken, or refused in one sentence.

The keys are those of the methods' own models, so a new key is covered as soon as it is declared.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import ray
from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tenfold.platform.configuration import build_config
from tenfold.platform.errors import InputError
from tenfold.platform.parameters import check, shown
from tenfold.platform.registry import Method, methods
from tenfold.platform.training import TrainingConfig

# Those that a type may take by mistake come first.
VALUES: list[Any] = [
    10**400,
    -(10**400),
    1e308,
    math.nan,
    math.inf,
    -math.inf,
    -1,
    0,
    0.123,
    "abc",
    "",
    True,
    None,
    [],
    ["abc", None],
    {},
    {"abc": 1},
    "0.1",
]
# So many of the values that a key's type takes are tried on the whole config.
TRIED = 3


@dataclass(frozen=True)
class Key:
    """A key of a method, on one of its tasks."""

    method: Method
    task: str
    place: str
    model: type[BaseModel]
    name: str

    def __str__(self) -> str:
        return f"{self.place}{self.name}"

    def by_type(self, value: Any) -> str | None:
        """The sentence that the key's type refuses a value with; None if it takes it."""
        given = {"task": self.task} if issubclass(self.model, TrainingConfig) else {}
        return self._sentence(value, lambda: check(self.model, {**given, self.name: value}))

    def by_config(self, value: Any) -> str | None:
        """The same of the whole config."""
        variant = next(iter(self.method.variants))
        changes = {str(self): value}
        return self._sentence(
            value, lambda: build_config(self.method, self.task, variant, changes, seed=0)
        )

    def _sentence(self, value: Any, validate: Callable[[], Any]) -> str | None:
        case = f"{self.method.name} on {self.task}: {self} = {shown(value)}"
        try:
            validate()
        except ValueError as error:
            sentence, kind = str(error), type(error)
        except Exception as error:
            pytest.fail(f"{case}: {type(error).__name__}: {error}"[:600])
        else:
            return None
        assert kind in (InputError, ValueError), case
        assert len(sentence.splitlines()) == 1, case
        assert self.name in sentence, f"{case}: {sentence[:600]}"
        assert len(sentence) < 600, f"{case}: {sentence[:600]}"
        return sentence


def keys(method: Method) -> Iterator[tuple[Key, FieldInfo]]:
    """A method's own keys on its first task, and what each of its tasks takes."""
    config = method.load_config_class()
    models = [(method.tasks[0], "", config if issubclass(config, BaseModel) else config.Parameters)]
    if hasattr(config, "task_parameters"):
        models += [(task, "env_config.", config.task_parameters(task)) for task in method.tasks]
    for task, place, model in models:
        for name, field in model.model_fields.items() if model else ():
            if name not in ("task", "seed"):
                yield Key(method, task, place, model, field.alias or name), field


@pytest.mark.parametrize("method", methods().values(), ids=methods().keys())
def test_every_value_of_every_key_is_taken_or_refused_in_one_sentence(method: Method) -> None:
    started = ray.is_initialized()
    for key, _ in keys(method):
        refused = [value for value in VALUES if key.by_type(value)]
        assert refused, f"{method.name} on {key.task}: '{key}' takes anything"
        assert key.by_config(refused[0]), f"{method.name}: the type of '{key}' is not asked"
        for value in [value for value in VALUES if not key.by_type(value)][:TRIED]:
            key.by_config(value)
    assert ray.is_initialized() == started


@pytest.mark.parametrize("method", methods().values(), ids=methods().keys())
def test_the_bounds_of_every_key_are_taken_or_refused_in_one_sentence(method: Method) -> None:
    """The largest value that a type allows must not take all memory, and beyond it is too much."""
    for key, field in keys(method):
        for limit in field.metadata:
            if not isinstance(limit, Ge | Gt | Le | Lt):
                continue
            edge = getattr(limit, type(limit).__name__.lower())
            step = 1 if isinstance(edge, int) else 1e-3 * max(1.0, abs(edge))
            assert key.by_type(edge + (step if isinstance(limit, Le | Lt) else -step))
            key.by_config(edge)
