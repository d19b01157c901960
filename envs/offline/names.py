"""Names of the environments and of the ready-made data sets, importable at no cost."""

from tenfold.envs.mpe.names import WORLD_NAMES

LEVELS = ("expert", "medium", "medium-replay", "random", "random-medium", "medium-expert")
PARTICLES = tuple(f"mpe/{name}" for name in WORLD_NAMES)
MODES = ("modes/free", "modes/match")
CHEETAH = "mamujoco/HalfCheetah-2x3"
ENVIRONMENTS = (*PARTICLES, *MODES, CHEETAH)


def levels_of(environment: str) -> tuple[str, ...]:
    """The levels of an environment's data sets; a game of modes has the mixture and chance only."""
    return ("expert", "random") if environment in MODES else LEVELS


OFFLINE_TASKS = tuple(
    f"{environment}-{level}" for environment in ENVIRONMENTS for level in levels_of(environment)
)


def split_task(name: str) -> tuple[str, str]:
    """``mpe/spread-medium-replay`` as (``mpe/spread``, ``medium-replay``).

    Raises:
        ValueError: There is no such data set.
    """
    for environment in ENVIRONMENTS:
        level = name.removeprefix(f"{environment}-")
        if level != name and level in levels_of(environment):
            return environment, level
    raise ValueError(
        f"No data set '{name}': choose one of {', '.join(OFFLINE_TASKS[:6])}, ..., or give a "
        "folder."
    )
