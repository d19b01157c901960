"""Methods: what Tenfold can run, and how a new one is added.

A method is declared once, as a `Method` value named `METHOD` in its package, and found through the
entry-point group `tenfold.methods`. The declaration imports nothing heavy: classes are named as
``"module:attribute"`` strings and loaded when a run needs them, so `tenfold list` stays quick.

A package may also bring commands of its own (`tenfold solve`): functions as Typer takes them, named
in the entry-point group `tenfold.commands`. Their modules import nothing heavy either.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType, ModuleType
from typing import Any, Literal

from tenfold.platform.errors import InputError, unknown

ENTRY_POINT_GROUP = "tenfold.methods"
COMMAND_GROUP = "tenfold.commands"


def load_attribute(path: str) -> Any:
    """Import what a ``"module:attribute"`` string names."""
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)


@dataclass(frozen=True)
class Space:
    """A search space of a method.

    Attributes:
        define: Maps the module `ray.tune` to ``{config key: tune domain}``. It takes the module as
            an argument so that reading a space's name costs no import of Ray.
        samples: How many points to draw when the user does not say.
        scheduler: Trial scheduler when the user does not say, see `Experiment.scheduler`.
        search: Search algorithm when the user does not say, see `Experiment.search`.
        stop: Stopping rule when the user does not say, as in `Experiment.stop`.
    """

    define: Callable[[ModuleType], Mapping[str, Any]]
    samples: int = 10
    scheduler: str | None = None
    search: str = "random"
    stop: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """One method of the platform: a paper, or a baseline that is an algorithm of its own.

    Attributes:
        name: What the user types.
        title: One line for `tenfold list`.
        paper: arXiv id, or None for a library baseline.
        trainable: ``"module:attribute"`` of an RLlib `Algorithm` or a `TrainingTrial` subclass.
        config: ``"module:attribute"`` of its `AlgorithmConfig` or `TrainingConfig` subclass. Its
            default object holds every default of the method, its `validate()` or `check()`
            refuses bad values.
        tasks: Names valid for `AlgorithmConfig.environment` or `TrainingConfig.task`, the default
            first.
        metric: Result key that the method is judged by, nested keys joined with ``/``.
        mode: ``"min"`` or ``"max"``.
        metrics: Result keys logged to MLflow (`metric` among them); the rest stays in the trial's
            ``result.json``, which is logged as an artifact.
        step_metric: Result key of the true step axis.
        step_unit: What a step is: "slots", "env steps", "episodes", "updates", "iterations".
        stop: Stopping rule of a plain `tenfold run`: result key -> value reached.
        variants: Named config overrides: the method itself, its ablations and its baselines. The
            first is the method itself.
        spaces: ``"module:attribute"`` of the mapping name -> `Space` (in `tune_spaces/`).
        smoke: Overrides that make a run take about a second; the contract tests use them.
        task_files: Endings of files that may stand as a task (a user's own trace: ".csv.gz").
        task_folders: A folder may stand as a task (a user's own images or texts).
        task_companions: ``"module:function"`` from a task file's path to the paths of further files
            that it names and that must travel with it (the trace of a scenario).
        gymnasium_tasks: Any Gymnasium id may stand as a task, a registered one ("Taxi-v3") or one
            that a module registers ("my_package:MyEnv-v0").
        path_keys: Config keys whose values are paths of files or folders.
        adjustable: Config keys that may change in mid-run: a checkpoint of one value goes on under
            another. Population-based training changes these of a space and no others.
        optional_metrics: Those of `metrics` that only some tasks or configs have.
        one_world: Result key, one of `optional_metrics`, that a run logs if all seeds of it meet
            one world (a record that is replayed): comparisons give such runs no interval.
        score: What of the metric's history is a run's score: its ``"last"`` value; for a metric
            that is noisy from one iteration to the next, ``"tail_mean"``, the mean over the last
            tenth of the steps; for one that is an evaluation of the policy kept,
            ``"best_evaluation"``, its best value, which is too good by the noise of the evaluation.
        normalised: Those of `metrics` that have one scale on all tasks: a comparison takes their
            means over tasks as they are, where it divides others by a baseline's.
        cumulative: The metric adds up over the run, as regret does, so it judges no checkpoint: the
            newest ones are kept, and not the best.
    """

    name: str
    title: str
    paper: str | None
    trainable: str
    config: str
    tasks: tuple[str, ...]
    metric: str
    mode: str
    metrics: tuple[str, ...]
    step_metric: str
    step_unit: str
    stop: Mapping[str, float]
    variants: Mapping[str, Mapping[str, Any]]
    spaces: str
    smoke: Mapping[str, Any] = field(default_factory=dict)
    task_files: tuple[str, ...] = ()
    task_folders: bool = False
    task_companions: str | None = None
    gymnasium_tasks: bool = False
    path_keys: tuple[str, ...] = ()
    adjustable: tuple[str, ...] = ()
    optional_metrics: frozenset[str] = frozenset()
    one_world: str | None = None
    score: Literal["last", "tail_mean", "best_evaluation"] = "last"
    normalised: frozenset[str] = frozenset()
    cumulative: bool = False

    def load_trainable(self) -> type:
        """The method's trainable class (imports Ray, and whatever the method needs)."""
        cls: type = load_attribute(self.trainable)
        return cls

    def load_config_class(self) -> type:
        """The method's config class (imports Ray)."""
        cls: type = load_attribute(self.config)
        return cls

    def load_spaces(self) -> Mapping[str, Space]:
        """The method's search spaces by name (imports no Ray)."""
        spaces: Mapping[str, Space] = load_attribute(self.spaces)
        return spaces


@cache
def methods() -> Mapping[str, Method]:
    """Every installed method by name, in alphabetical order, as they are at the first call.

    Raises:
        InputError: Two distributions declare a method of the same name, or an entry point does not
            lead to a `Method`.
    """
    found: dict[str, Method] = {}
    for entry in sorted(set(entry_points(group=ENTRY_POINT_GROUP)), key=lambda e: e.name):
        if entry.name in found:
            raise InputError(
                f"Two installed packages declare the method '{entry.name}': uninstall one of them."
            )
        method = entry.load()
        if not isinstance(method, Method) or method.name != entry.name:
            raise InputError(
                f"The entry point '{entry.name}' in group '{ENTRY_POINT_GROUP}' leads to "
                f"{entry.value}, which is not a Method named '{entry.name}'."
            )
        found[entry.name] = method
    return MappingProxyType(found)


def get_method(name: str) -> Method:
    """The method called `name`.

    Raises:
        InputError: There is none; the message names the nearest.
    """
    found = methods()
    if name not in found:
        raise unknown("method", name, found)
    return found[name]


def command_entries() -> dict[str, EntryPoint]:
    """The commands that installed packages add to the command line, by name, not yet imported."""
    found = sorted(entry_points(group=COMMAND_GROUP), key=lambda entry: entry.name)
    return {entry.name: entry for entry in found}
