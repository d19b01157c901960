"""The names of the particle worlds, importable at no cost (the command line lists them)."""

WORLD_NAMES = ("spread", "tag", "world", "six_landmarks")
