"""Offline multi-agent learning on RLlib's new API stack: what any such method is built from.

RLlib 2.60 reads recorded data of one agent only. Here are, in the order in which data flow: the
weights of trajectories (`weights`), batches of all agents drawn by them from arrays (`sampler`) or
from Ray Data (`streaming`), the learner that takes them (`learner`), the algorithm around it
(`algorithm`), and evaluation in many environments at once (`evaluation`). `dom2` and its baselines
use all of it, see docs/offline-multi-agent.md for a method of your own.
"""
