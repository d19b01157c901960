"""The names of the control tasks, importable at no cost (the command line lists them)."""

CONTROL_NAMES = (
    "risk/WindyCliff-v0",
    "risk/CurvyRoad-v0",
    "risk/RiskyShortcut-v0",
    "risk/FrozenLake-v0",
    "risk/QueueBacklog-v0",
)

# The same with the reward collected so far in the observation, and grid tasks with it.
COLLECTED_NAMES = (
    "collected/BudgetedPath-v0",
    "collected/Betting-v0",
    "collected/Inventory-v0",
    "collected/QueueBacklog-v0",
    "collected/CurvyRoad-v0",
    "collected/WindyCliff-v0",
    "collected/RiskyShortcut-v0",
    "collected/FrozenLake-v0",
)
