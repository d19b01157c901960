"""Levels of CVaR that evaluations of deep agents give beside their own: nothing is imported."""

LEVELS = (0.1, 0.25, 0.5)


def at_levels(measure: str) -> tuple[str, ...]:
    """What a measure's values at `LEVELS` are called, such as ``cvar_0.25``."""
    return tuple(f"{measure}_{level:g}" for level in LEVELS)
