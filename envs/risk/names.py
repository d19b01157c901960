"""The names of the risk-sensitive tasks, importable at no cost (the command line lists them)."""

TASK_NAMES = (
    "mdp/RiskyShortcut-v0",
    "mdp/LowerBound-v0",
    "mdp/RandomMixture-v0",
    "mdp/WindyCliff-v0",
    "mdp/FrozenLake-v0",
    "mdp/QueueBacklog-v0",
)

# Endings of files that hold an MDP of the user's own.
MDP_ENDINGS = (".npz", ".json")

STATIC_TASK_NAMES = (
    "static/BudgetedPath-v0",
    "static/TwoLotteries-v0",
    "static/Betting-v0",
    "static/Inventory-v0",
    "static/QueueBacklog-v0",
)

POMDP_NAMES = (
    "pomdp/Tiger-v0",
    "pomdp/Treatment-v0",
    "pomdp/CombinationLock-v0",
    "pomdp/Random-v0",
)

# The same as Gymnasium tasks whose observation is the history and whose states come at the end.
HINDSIGHT_NAMES = tuple(name.replace("pomdp/", "hindsight/") for name in POMDP_NAMES)

# Endings of files in Cassandra's format.
POMDP_ENDINGS = (".pomdp", ".POMDP")

CONTROL_NAMES = (
    "risk/WindyCliff-v0",
    "risk/CurvyRoad-v0",
    "risk/RiskyShortcut-v0",
    "risk/FrozenLake-v0",
    "risk/QueueBacklog-v0",
    "risk/ThinIce-v0",
)

# Tasks that are no tables and of which something is hidden.
PARTIAL_NAMES = ("partial/ThinIce-v0", "partial/FoggyRoad-v0")

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

# The same with continuous actions.
CONTINUOUS_NAMES = ("collected/Trading-v0", "collected/SpeedLimit-v0")
