"""How much each swept parameter explains of the scores, by Optuna."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

# Points of a sweep for each of its parameters without which nothing is said.
_POINTS_EACH = 4
# Numbers so far apart are taken by their logarithms.
_LOG_RATIO = 100.0


def importances(
    points: Sequence[Mapping[str, float | str]], scores: Sequence[float]
) -> dict[str, float]:
    """Parameter -> its share of the variance of the scores (functional ANOVA), largest first.

    Args:
        points: Value of each parameter at each point; all points have the same parameters.
        scores: Finite score of each point, its mean over seeds.

    Returns:
        Shares that add up to 1; empty with fewer than four points a parameter, with equal scores
        and with no parameter of more than one value.
    """
    varied = {
        key: [point[key] for point in points]
        for key in (points[0] if points else ())
        if len({point[key] for point in points}) > 1
    }
    if not varied or len(points) < _POINTS_EACH * len(varied) or len(set(scores)) < 2:
        return {}
    import optuna

    logging.getLogger("optuna").setLevel(logging.WARNING)
    domains = {key: _domain(optuna, values) for key, values in varied.items()}
    study = optuna.create_study()
    study.add_trials(
        optuna.trial.create_trial(
            params={key: point[key] for key in varied}, distributions=domains, value=score
        )
        for point, score in zip(points, scores, strict=True)
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {key: float(share) for key, share in found.items()}


def _domain(optuna: Any, values: Sequence[float | str]) -> Any:
    """The distribution that the values span."""
    numbers = [value for value in values if isinstance(value, float)]
    if len(numbers) < len(values):
        return optuna.distributions.CategoricalDistribution(sorted(set(values), key=str))
    low, high = min(numbers), max(numbers)
    return optuna.distributions.FloatDistribution(
        low, high, log=low > 0 and high / low > _LOG_RATIO
    )
