"""Tuned values by method and task: `tuned/<method>.yaml` beside the module of the method's spaces.

Such a file maps a task to config keys and values, and says in comments how they were found.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from tenfold.platform.errors import InputError
from tenfold.platform.experiment import Experiment
from tenfold.platform.registry import Method, get_method
from tenfold.platform.spaces import contents
from tenfold.platform.tasks import labels
from tenfold.platform.yaml_text import read_yaml


def with_tuned(experiment: Experiment) -> Experiment:
    """The experiment with the tuned values of its method and task.

    Keys that the experiment sets or sweeps, and those that one of its variants changes, stay as
    they are.

    Raises:
        InputError: It has several tasks, or there are no tuned values for its task.
    """
    if len(experiment.tasks) > 1:
        raise InputError(
            f"--tuned takes the values of one task, and {len(experiment.tasks)} are given: run "
            "each by itself."
        )
    method, space = get_method(experiment.method), experiment.search_space()
    values = tuned_values(method, next(iter(labels(experiment.tasks))))
    settled = {key for name in experiment.variants for key in method.variants[name]}
    settled |= set(contents(space)) if space else set()
    kept = {key: value for key, value in values.items() if key not in settled}
    return experiment.model_copy(update={"config": {**kept, **experiment.config}})


def tuned_values(method: Method, task: str) -> dict[str, Any]:
    """Config key -> tuned value.

    Args:
        method: The method.
        task: Its task, as tables name it.

    Raises:
        InputError: There are none; the message says of which tasks there are.
    """
    tuned = all_tuned_values(method)
    if task not in tuned:
        known = f", only for {', '.join(tuned)}" if tuned else ""
        raise InputError(
            f"There are no tuned values of {method.name} for '{task}'{known}: leave out --tuned."
        )
    return tuned[task]


def all_tuned_values(method: Method) -> dict[str, dict[str, Any]]:
    """Task -> config key -> tuned value; empty where nothing was tuned."""
    module = import_module(method.spaces.partition(":")[0])
    file = Path(module.__file__ or "").parent / "tuned" / f"{method.name}.yaml"
    return read_yaml(file) if file.is_file() else {}
