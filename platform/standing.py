"""Where a run stands: its finished trials in groups over seeds, scored as the method says.

Everything is read from the run's own folder (journals and `params.json`), so that it is the same
offline, after a resume and on a cluster.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenfold.platform.checkpoints import point_of
from tenfold.platform.experiment import Experiment
from tenfold.platform.importance import importances
from tenfold.platform.journal import SWEEP, journals
from tenfold.platform.registry import Method, get_method
from tenfold.platform.score import score_of
from tenfold.platform.search import sampled_values
from tenfold.platform.statistics import Estimate, mean_interval

# What methods with an exact optimum record: the value of their policy, and the best there is.
_VALUE, _OPTIMUM = "policy_value", "optimal_value"


@dataclass(frozen=True)
class Scored:
    """A trial that ended: where it stands, its score, and its MLflow id (empty if it has none).

    Attributes:
        value: Value of its last policy and the best there is, where the method records both.
    """

    task: str
    variant: str
    seed: int
    swept: dict[str, Any]
    score: float
    value: tuple[float, float] | None
    run_id: str


@dataclass(frozen=True)
class Group:
    """Trials that differ in their seed alone.

    Attributes:
        trials: The best first.
        estimate: Their mean score with its 95 % interval.
    """

    trials: list[Scored]
    estimate: Estimate

    @property
    def value(self) -> tuple[float, float] | None:
        """Mean value of the policies and of the optimum."""
        known = [trial.value for trial in self.trials if trial.value is not None]
        if not known:
            return None
        return statistics.fmean(v for v, _ in known), statistics.fmean(o for _, o in known)


def groups(experiment: Experiment, tracking: Path) -> list[Group]:
    """The finished trials of a run: in the order asked for, of a sweep the best point first.

    Args:
        experiment: What was run.
        tracking: The folder of the run's journals.
    """
    method = get_method(experiment.method)
    parted: dict[tuple[str, ...], list[Scored]] = {}
    for trial in sorted(_scored(method, tracking), key=lambda each: each.seed):
        key = (trial.task, trial.variant, repr(trial.swept))
        parted.setdefault(key, []).append(trial)
    found = [
        Group(
            sorted(trials, key=lambda each: _rank(method, each.score)),
            mean_interval([each.score for each in trials]),
        )
        for trials in parted.values()
    ]
    if experiment.space is None:
        order = experiment.variants
        return sorted(found, key=lambda g: (g.trials[0].task, order.index(g.trials[0].variant)))
    return sorted(found, key=lambda group: _rank(method, group.estimate.value))


def parameter_importances(found: Sequence[Group]) -> dict[str, float]:
    """Share of each swept parameter, see `importance.importances`; one task and variant only."""
    if len({(group.trials[0].task, group.trials[0].variant) for group in found}) != 1:
        return {}
    finite = [group for group in found if math.isfinite(group.estimate.value)]
    points = [
        {key: _number_or_text(value) for key, value in group.trials[0].swept.items()}
        for group in finite
    ]
    return importances(points, [group.estimate.value for group in finite])


def _scored(method: Method, tracking: Path) -> list[Scored]:
    found = []
    for journal in journals(tracking):
        history = journal.history(method.metric)
        if journal.key == SWEEP or journal.last_status() != "FINISHED" or not history:
            continue
        tags = journal.tags()
        value, best = journal.history(_VALUE), journal.history(_OPTIMUM)
        trial_dir = tracking.parent / Path(tags["trial_dir"]).relative_to(tags["run_dir"])
        found.append(
            Scored(
                task=tags["task"],
                variant=tags["variant"],
                seed=int(tags["seed"]),
                swept=sampled_values(point_of(trial_dir)),
                score=score_of(history, method),
                value=(value[-1][1], best[-1][1]) if value and best else None,
                run_id=journal.run_id() or "",
            )
        )
    return found


def _rank(method: Method, score: float) -> float:
    """Smaller is better; what diverged comes last."""
    if math.isnan(score):
        return math.inf
    return score if method.mode == "min" else -score


def _number_or_text(value: Any) -> float | str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else str(value)
