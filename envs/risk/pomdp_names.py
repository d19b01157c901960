"""The names of the POMDPs, importable at no cost (the command line lists them)."""

POMDP_NAMES = (
    "risk_pomdp/Tiger-v0",
    "risk_pomdp/Treatment-v0",
    "risk_pomdp/CombinationLock-v0",
    "risk_pomdp/Random-v0",
)

# The same as Gymnasium tasks whose observation is the history and whose states come at the end.
HINDSIGHT_NAMES = tuple(name.replace("risk_pomdp/", "hindsight/") for name in POMDP_NAMES)

# Endings of files in Cassandra's format.
POMDP_ENDINGS = (".pomdp", ".POMDP")
