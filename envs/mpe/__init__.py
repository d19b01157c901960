"""Particle worlds: cooperative navigation, predator-prey, world, and six landmarks for three.

`worlds` holds W of them at once, compiled; `parallel_env` one of them as a PettingZoo parallel
environment; `controllers` scripted policies. README.md tells the rest. `names` is importable at no
cost.
"""
