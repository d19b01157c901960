"""The names of the queue scenarios, importable at no cost (the command line lists them)."""

SCENARIO_NAMES = (
    "switching",
    "stationary",
    "asymmetric",
    "periodic",
    "bursty",
    "drift",
    "adversarial",
    "heavy_tail",
    "near_critical",
    "infeasible",
    "trace",
)
