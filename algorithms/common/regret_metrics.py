"""What runs of learners with exact regret log, apart from what measures it: nothing is imported."""

METRICS = (
    "regret",
    "regret_slope",
    "last_regret",
    "burn_in",
    "near_optimum",
    "episode_return",
    "policy_value",
    "optimal_value",
    "planning_seconds",
)
"""Of every run; `RegretAlgorithm` says what they are."""

CHECKED = ("covered", "optimistic")
"""Beside these, under `check_confidence`."""
