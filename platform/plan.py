"""What a run is going to do, told before it does it. Imports nothing heavy until it must."""

from collections.abc import Sequence
from pathlib import Path

from tenfold.platform.experiment import Experiment
from tenfold.platform.registry import Method, get_method
from tenfold.platform.spaces import contents
from tenfold.platform.store import shown_uri
from tenfold.platform.tasks import labels

# Names that a line of the plan lists before it counts the rest.
_LISTED = 6


def plan(experiment: Experiment, place: Path, store: str | None) -> list[str]:
    """The plan in lines: what runs, how often, for how long, and where results go.

    Args:
        experiment: What is asked for.
        place: The folder that run folders are made in.
        store: The MLflow store; None where records stay in journals.
    """
    method = get_method(experiment.method)
    trials = experiment.trials()
    is_plain = experiment.variants == [next(iter(method.variants))]
    variants = [] if is_plain else experiment.variants
    what = [f"{method.name} on {_listed(list(labels(experiment.tasks)))}"]
    what += [f"{_count(len(variants), 'variant')} {_listed(variants)}"] if variants else []
    what += [f"{_count(len(experiment.seeds), 'seed')} {_numbers(experiment.seeds)}"]
    lines = [f"{experiment.name}: {_count(trials, 'trial')}", f"  runs     {'; '.join(what)}"]
    space = experiment.search_space()
    if space is not None:
        kind, scheduler = experiment.search_kind(), experiment.scheduler_kind()
        how = f"{kind}, {scheduler}" if scheduler else str(kind)
        lines.append(f"  sweeps   {_count(experiment.points(), 'point')} ({how})")
        lines += [f"           {key}: {domain}" for key, domain in contents(space).items()]
    rule = experiment.stopping_rule()
    ends = " or ".join(
        f"{value:,.0f} {method.step_unit}" if key == method.step_metric else f"{key} {value:g}"
        for key, value in rule.items()
    )
    lines.append(f"  until    {ends or 'the end that the config of each trial sets'}")
    records = f"MLflow at {shown_uri(store)}" if store else "sent to MLflow later by 'tenfold sync'"
    return [*lines, f"  results  {place}", f"  records  {records}"]


def ruled_length(experiment: Experiment, method: Method) -> tuple[str, float] | None:
    """A result key that grows, and its value at a trial's end; None where no stopping rule says."""
    rule = experiment.stopping_rule()
    for axis in (method.step_metric, "training_iteration", *rule):
        if axis in rule:
            return axis, float(rule[axis])
    return None


def total(experiment: Experiment, length: tuple[str, float] | None) -> str | None:
    """How much work a plan comes to, in the method's unit; None where nothing says.

    Args:
        experiment: What is asked for.
        length: A trial's, see `ruled_length` and `Study.length`.
    """
    if length is None:
        return None
    method = get_method(experiment.method)
    axis, last = length
    unit = method.step_unit if axis == method.step_metric else axis.replace("_", " ")
    each = f"{last:,.0f} {unit}"
    trials = experiment.trials()
    return each if trials == 1 else f"{each} a trial, {trials * last:,.0f} in all"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _numbers(seeds: Sequence[int]) -> str:
    """``0 to 4`` for seeds in a row, else their list."""
    in_a_row = list(range(seeds[0], seeds[0] + len(seeds)))
    if len(seeds) > 2 and list(seeds) == in_a_row:
        return f"{seeds[0]} to {seeds[-1]}"
    return _listed([str(seed) for seed in seeds])


def _count(number: int, noun: str) -> str:
    return noun if number == 1 and noun == "seed" else f"{number:,} {noun}{'s' * (number != 1)}"
