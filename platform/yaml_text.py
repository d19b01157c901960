"""YAML from users, within limits: texts, numbers, truth values, nulls, lists and mappings.

Nothing that is read makes an object of another kind, and whatever a file holds, reading it ends
soon and takes little memory: a file has at most `LARGEST_FILE` bytes, `MOST_NODES` values, and
`DEEPEST` levels. What aliases repeat counts as often as it stands there.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tenfold.platform.errors import InputError, shown

LARGEST_FILE = 2**20
"""Bytes of a file."""

MOST_NODES = 30_000
"""Scalars, lists and mappings of a file, each repetition by an alias included."""

DEEPEST = 50
"""Lists and mappings within each other."""

LONGEST_NUMBER = 1_023
"""Bits of a whole number, so that each is a finite floating-point number too."""

_KINDS = ("null", "bool", "int", "float", "str", "seq", "map")
_TEXT = "tag:yaml.org,2002:str"
_POWER = "!power"


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, refusing a key that stands twice.

    Raises:
        InputError: The file is missing, unreadable, beyond the limits, or holds no mapping.
    """
    try:
        content = load(path, Loader)
    except FileNotFoundError:
        raise InputError(f"File '{path}' does not exist: give the path of a YAML file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"File '{path}' cannot be read as UTF-8 text: {error}.") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"File '{path}' is not valid YAML: {reason}.") from None
    if not isinstance(content, dict):
        raise InputError(
            f"File '{path}' holds {type(content).__name__}, not a mapping: "
            "write 'method: softmw' and other fields, one a line."
        )
    return content


def parse_value(text: str) -> Any:
    """A value as it would be read from an experiment's file; the text itself if it is no YAML.

    Raises:
        InputError: It is not UTF-8, or holds half a character.
    """
    if not _is_text(text):
        raise InputError(f"The value {shown(text)} is not UTF-8 text: write it in that encoding.")
    try:
        return parse(text.encode(), Loader)
    except yaml.YAMLError:
        return text


def load(path: Path, loader: type["LimitedLoader"]) -> Any:
    """What a file holds, see `parse`.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return parse(file.read(LARGEST_FILE + 1), loader)


def parse(content: bytes, loader: type["LimitedLoader"]) -> Any:
    """What a YAML document holds.

    Args:
        content: UTF-8; a byte order mark at its start is left out.
        loader: How scalars are read.

    Raises:
        UnicodeDecodeError: It is not UTF-8.
        yaml.YAMLError: It is not YAML, of another kind than the module says, or beyond a limit.
    """
    if len(content) > LARGEST_FILE:
        raise yaml.YAMLError(f"it has more than {LARGEST_FILE:,} bytes")
    return yaml.load(content.decode("utf-8-sig"), Loader=loader)


def yaml_of(values: Mapping[str, Any]) -> str:
    """The text of a mapping that `read_yaml` gives back as it was."""
    text: str = yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False)
    return text


class LimitedLoader(yaml.SafeLoader):
    """PyYAML's safe loader within the limits; two equal keys in a mapping are a mistake."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._depth, self._total = 0, 0
        self._sizes: dict[yaml.Node, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """One node of the document's tree, with all that is in it."""
        start = self.peek_event().start_mark
        if self.check_event(yaml.AliasEvent):
            node: Any = super().compose_node(parent, index)
            if node not in self._sizes:
                raise _mistake("an alias stands inside of what it repeats", start)
            self._count(self._sizes[node], start)
            return node
        before = self._total
        self._count(1, start)
        self._depth += 1
        if self._depth > DEEPEST:
            raise _mistake(f"lists and mappings are nested more than {DEEPEST} deep", start)
        node = super().compose_node(parent, index)
        self._depth -= 1
        self._sizes[node] = self._total - before
        return node

    def _count(self, nodes: int, place: Any) -> None:
        self._total += nodes
        if self._total > MOST_NODES:
            raise _mistake(f"there are more than {MOST_NODES:,} values", place)

    def entries(self, pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        """The entries of a mapping as they are meant."""
        return pairs

    def compose_mapping_node(self, anchor: Any) -> Any:
        """A mapping, whose keys are scalars, each once."""
        node = super().compose_mapping_node(anchor)
        node.value = self.entries(node.value)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                kind = "list" if isinstance(key, yaml.SequenceNode) else "mapping"
                raise _mistake(f"a key is a {kind}, make it a text", key.start_mark)
            if (key.tag, key.value) in seen:
                raise _mistake(f"the key '{key.value}' stands twice", key.start_mark)
            seen.add((key.tag, key.value))
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """The value of a node; one that is not what its tag says is a mistake."""
        try:
            value = super().construct_object(node, deep)
        except (ValueError, TypeError, LookupError, OverflowError):
            kind = node.tag.rpartition(":")[2]
            raise _mistake(f"{shown(node.value)} is no {kind}", node.start_mark) from None
        if isinstance(value, int) and value.bit_length() > LONGEST_NUMBER:
            raise _mistake(f"{shown(node.value)} has too many digits", node.start_mark)
        if isinstance(value, str) and not _is_text(value):
            raise _mistake(f"{shown(value)} holds half a character", node.start_mark)
        return value


class Loader(LimitedLoader):
    """YAML as PyYAML reads it, but as in YAML 1.2 ``1e-3`` is a number (``1e6`` a whole one), and
    dates and ``on`` are texts; and ``{lr: uniform(0, 1)}`` is one entry."""

    def entries(self, pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
        """Those of a mapping, with calls in one piece."""
        return _with_whole_calls(pairs)

    def construct_power(self, node: Any) -> int | float:
        """A number with an exponent."""
        number = float(self.construct_scalar(node))
        return int(number) if number.is_integer() else number


class _Dumper(yaml.SafeDumper):
    """Quotes the texts that `Loader` would read as something else."""


def _is_text(text: str) -> bool:
    """Whether it can be written as UTF-8; half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _mistake(what: str, place: Any) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, what, place)


def _with_whole_calls(pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Entries of a mapping in which ``{lr: uniform(0, 1)}`` is one; YAML ends it at the comma."""
    whole: list[tuple[Any, Any]] = []
    for key, value in pairs:
        before = whole[-1][1] if whole else None
        if (
            isinstance(before, yaml.ScalarNode)
            and before.style is None
            and before.value.count("(") > before.value.count(")")
            and isinstance(key, yaml.ScalarNode)
            and isinstance(value, yaml.ScalarNode)
            and value.value == ""
        ):
            text = f"{before.value}, {key.value}"
            joined = yaml.ScalarNode(_TEXT, text, before.start_mark, key.end_mark)
            whole[-1] = (whole[-1][0], joined)
        else:
            whole.append((key, value))
    return whole


LimitedLoader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in _KINDS
}
LimitedLoader.yaml_implicit_resolvers = {
    first: [each for each in resolvers if not each[0].endswith((":timestamp", ":bool"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
LimitedLoader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
for _each in (Loader, _Dumper):
    _each.add_implicit_resolver(
        _POWER,
        re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?[0-9]+$"),
        list("-+.0123456789"),
    )
Loader.add_constructor(_POWER, Loader.construct_power)
