"""Greedy evaluation at intervals, as methods that train RLlib's networks have it by default.

RLlib plays the episodes on a runner of their own, without exploration, one after the other: several
environments side by side would stop at the first episodes that end, of which the short ones are too
many. Its runner starts from the trial's seed each time, so all evaluations of a trial play from the
same starts.
"""

from typing import Any

from tenfold.platform.parameters import Parameters, parameter

# Overrides of the method's own config for the runner that evaluates.
EVALUATION_CONFIG: dict[str, Any] = {"explore": False, "num_envs_per_env_runner": 1}


class EvaluationInterval(Parameters):
    """When a method is evaluated; put it before its other parameters."""

    evaluation_interval: int | None = parameter(
        5,
        "Iterations between two evaluations, the first and the last have one too; none when null",
        ge=1,
        le=10**9,
    )


class GreedyEvaluation(EvaluationInterval):
    """When it is evaluated, and on how much."""

    evaluation_duration: int = parameter(5, "Episodes of an evaluation", ge=1, le=10**6)
