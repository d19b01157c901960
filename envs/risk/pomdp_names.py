"""The names of the POMDPs, importable at no cost (the command line lists them)."""

POMDP_NAMES = (
    "risk_pomdp/Tiger-v0",
    "risk_pomdp/Treatment-v0",
    "risk_pomdp/CombinationLock-v0",
    "risk_pomdp/Random-v0",
)
