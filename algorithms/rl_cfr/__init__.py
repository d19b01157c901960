"""RL-CFR (arXiv:2403.04344): the public-tree solver that the learned abstraction rests on."""
