"""The JSON schema of an experiment's YAML, made from `Experiment` itself, for editors."""

import inspect
import re
from typing import Any

from pydantic import BaseModel

from tenfold.platform.experiment import MOST_SEEDS, Checkpoints, Experiment, Resources
from tenfold.platform.registry import methods
from tenfold.platform.spaces import RANGES

_NUMBER = r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*"
_RANGE = rf"^\s*({'|'.join(RANGES)})\s*\({_NUMBER}(,{_NUMBER}){{1,2}}\)\s*$"


def experiment_schema() -> dict[str, Any]:
    """Draft 2020-12; what a file may write in short (one task, a number of seeds) is allowed."""
    schema = Experiment.model_json_schema(by_alias=False)
    fields = schema["properties"]
    for name, text in documented(Experiment).items():
        fields[name]["description"] = text
    for model in (Resources, Checkpoints):
        for name, text in documented(model).items():
            schema["$defs"][model.__name__]["properties"][name]["description"] = text
    for name in ("tasks", "variants"):
        fields[name] = _or_one(fields[name], {"type": "string"})
        fields[name[:-1]] = {**fields[name], "description": f"The same as '{name}'."}
    number = {"type": "integer", "minimum": 1, "maximum": MOST_SEEDS}
    fields["seeds"] = _or_one(fields["seeds"], number)
    fields["log"] = _or_one(fields["log"], fields["log"]["items"])
    domain = {"anyOf": [{"type": "string", "pattern": _RANGE}, {"type": "array", "minItems": 1}]}
    own = {"type": "object", "additionalProperties": domain, "minProperties": 1}
    fields["space"]["anyOf"] = [{"type": "string"}, own, {"type": "null"}]
    fields["method"]["examples"] = list(methods())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "An experiment of Tenfold",
        "description": "What 'tenfold run FILE' takes, see docs/experiment.md.",
        "required": ["method"],
    }


def documented(model: type[BaseModel]) -> dict[str, str]:
    """Field -> what the model's docstring says about it, on one line."""
    text = inspect.cleandoc(model.__doc__ or "").partition("Attributes:\n")[2]
    entries = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: " ".join(line.split()).replace("``", "'") for name, line in entries}


def _or_one(field: dict[str, Any], single: dict[str, Any]) -> dict[str, Any]:
    """A list that may be written as a single value."""
    kept: dict[str, Any] = {
        key: field[key] for key in ("description", "default", "title") if key in field
    }
    several = {key: each for key, each in field.items() if key not in kept}
    return {**kept, "anyOf": [single, several]}
