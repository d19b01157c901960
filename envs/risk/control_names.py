"""The names of the control tasks, importable at no cost (the command line lists them)."""

CONTROL_NAMES = (
    "risk/WindyCliff-v0",
    "risk/CurvyRoad-v0",
    "risk/RiskyShortcut-v0",
    "risk/FrozenLake-v0",
    "risk/QueueBacklog-v0",
)
