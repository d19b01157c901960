"""Risk-sensitive worlds: risk measures on discrete laws, tabular MDPs, and benchmark tasks.

`measures` holds the risk measures, `mdp` the MDP type with its exact (return-law and brute-force)
reference calculations, `benchmarks` the named tasks. `names` is importable at no cost.
"""
