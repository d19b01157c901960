"""The names of the risk-sensitive tasks, importable at no cost (the command line lists them)."""

TASK_NAMES = (
    "icvar/RiskyShortcut-v0",
    "icvar/LowerBound-v0",
    "icvar/RandomMixture-v0",
    "icvar/WindyCliff-v0",
    "icvar/FrozenLake-v0",
    "icvar/QueueBacklog-v0",
)

# Endings of files that hold an MDP of the user's own.
MDP_ENDINGS = (".npz", ".json")
