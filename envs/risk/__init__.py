"""Risk-sensitive tasks: risk measures on discrete distributions, tabular MDPs, and benchmark tasks.

`measures` holds the risk measures, `mdp` the MDP type with its exact (return-distribution and
brute-force) reference calculations, `benchmarks` the named tasks. `names` is importable at no cost.
"""
