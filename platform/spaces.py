"""Search spaces in words: a user's own, and what a method's holds, without importing Ray.

    lr: loguniform(1e-4, 1e-2)
    heads: [2, 4, 8]

A range is a distribution's name and its numbers, as Ray Tune calls them; a list names the values
themselves. The text is taken apart by a pattern, never evaluated.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from tenfold.platform.errors import InputError, one_line, shown
from tenfold.platform.registry import Space

# Name of a distribution -> what its numbers are.
RANGES: dict[str, tuple[str, ...]] = {
    "uniform": ("low", "high"),
    "loguniform": ("low", "high"),
    "quniform": ("low", "high", "step"),
    "randint": ("low", "high"),
    "lograndint": ("low", "high"),
}
_WHOLE = ("randint", "lograndint")
_LOGARITHMIC = ("loguniform", "lograndint")
_CALL = re.compile(r"([A-Za-z_]+)\s*\((.*)\)$", re.DOTALL)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")
_HINT = "write a range like loguniform(1e-4, 1e-2), or a list of values like [2, 4, 8]"
_SAMPLES = 10
MOST_CHOICES = 1_000
"""Values in the lists of a space together; each is tried on the method before anything starts."""


@dataclass(frozen=True)
class Domain:
    """What a swept key ranges over.

    Attributes:
        kind: ``choice``, or the name of a distribution in `RANGES`.
        values: The values of a choice, or the numbers of the distribution.
    """

    kind: str
    values: tuple[Any, ...]

    def __str__(self) -> str:
        if self.kind == "choice":
            return f"[{', '.join(_written(value) for value in self.values)}]"
        return f"{self.kind}({', '.join(_written(value) for value in self.values)})"

    def record(self) -> Any:
        """The domain as an experiment's file holds it; `parse_domain` reads it."""
        return list(self.values) if self.kind == "choice" else str(self)

    def extremes(self) -> list[Any]:
        """The values that must be valid for all to be: both ends of a range, or every choice."""
        if self.kind == "choice":
            return list(self.values)
        low, high = self.values[:2]
        # Whole numbers are drawn below the upper end.
        return [low, high - 1 if self.kind in _WHOLE else high]

    def of(self, tune: ModuleType) -> Any:
        """The domain as the module `ray.tune` has it."""
        if self.kind == "choice":
            return tune.choice(list(self.values))
        return getattr(tune, self.kind)(*self.values)


def parse_domain(key: str, given: Any) -> Domain:
    """A domain as a user writes it.

    Args:
        key: The swept key, for the message.
        given: A list of values, or the text of a range.

    Raises:
        InputError: It is neither, or the numbers make no range.
    """
    if isinstance(given, list):
        return _choice(key, given)
    call = _CALL.match(given.strip()) if isinstance(given, str) else None
    if call is None:
        raise InputError(f"Bad space {shown(given)} for '{one_line(key)}': {_HINT}.")
    kind = call.group(1)
    if kind == "choice":
        raise InputError(
            f"Bad space {shown(given)} for '{one_line(key)}': write the choices as a list [...]."
        )
    if kind not in RANGES:
        raise InputError(
            f"Unknown distribution '{one_line(kind)}' for '{one_line(key)}': choose one of "
            f"{', '.join(RANGES)}, or a list of values."
        )
    texts = [text.strip() for text in call.group(2).split(",")]
    if len(texts) != len(RANGES[kind]) or not all(map(_NUMBER.match, texts)):
        raise InputError(
            f"Bad space {shown(given)} for '{one_line(key)}': write {kind}"
            f"({', '.join(RANGES[kind])}) with numbers."
        )
    numbers = [float(text) for text in texts]
    _check_range(key, given, kind, numbers)
    whole = kind in _WHOLE or all(re.fullmatch(r"[-+]?\d+", text) for text in texts)
    return Domain(kind, tuple(int(number) if whole else number for number in numbers))


def check_choices(given: Mapping[Any, Any]) -> None:
    """Refuse a space whose lists have too many values.

    Raises:
        InputError: They have more than `MOST_CHOICES`.
    """
    count = sum(len(each) for each in given.values() if isinstance(each, list))
    if count > MOST_CHOICES:
        raise InputError(
            f"The lists of 'space' have {count:,} values, and {MOST_CHOICES:,} is the most: write "
            "a range such as uniform(0, 1)."
        )


def _choice(key: str, values: Sequence[Any]) -> Domain:
    if not values:
        raise InputError(f"The list of '{one_line(key)}' is empty: give the values to try.")
    if any(values.count(value) > 1 for value in values):
        raise InputError(f"The list of '{one_line(key)}' has a value twice: give each once.")
    return Domain("choice", tuple(values))


def _check_range(key: str, given: str, kind: str, numbers: Sequence[float]) -> None:
    low, high, *step = numbers
    reason = None
    if not all(map(math.isfinite, numbers)):
        reason = "the numbers must be finite"
    elif low >= high:
        reason = f"the lower end {low:g} is not below the upper end {high:g}"
    elif kind in _LOGARITHMIC and low <= 0:
        reason = "a logarithmic range must begin above 0"
    elif kind in _WHOLE and not all(number.is_integer() for number in numbers):
        reason = "give whole numbers"
    elif not math.isfinite(high - low) or (kind in _WHOLE and max(-low, high) >= 2**63):
        reason = "the numbers are too far apart"
    elif step and not (0 < step[0] <= high - low and (high - low) / step[0] <= 2**53):
        reason = "the step must be above 0 and fit into the range"
    if reason:
        raise InputError(f"Bad space {shown(given)} for '{one_line(key)}': {reason}.")


def own_space(given: Mapping[str, Any]) -> Space:
    """A user's own space: lists alone are searched as a grid, ranges at random.

    Args:
        given: Config key -> domain, as `parse_domain` takes it.

    Raises:
        InputError: A domain that is none.
    """
    domains = {key: parse_domain(key, each) for key, each in given.items()}
    lists_alone = all(each.kind == "choice" for each in domains.values())
    return Space(
        lambda tune: {key: domain.of(tune) for key, domain in domains.items()},
        samples=_SAMPLES,
        search="grid" if lists_alone else "random",
    )


def contents(space: Space) -> dict[str, Domain]:
    """What a space sweeps, in words, without Ray: its definition is asked with names alone."""
    found: dict[str, Domain] = dict(space.define(_Names("names")))
    return found


class _Names(ModuleType):
    """Stands for the module `ray.tune`: every distribution is its name and its numbers."""

    def __getattr__(self, kind: str) -> Callable[..., Domain]:
        if kind == "choice":
            return lambda values: Domain("choice", tuple(values))
        return lambda *numbers: Domain(kind, numbers)


def _written(value: Any) -> str:
    """A value as YAML has it, numbers with all the digits that tell them apart."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
