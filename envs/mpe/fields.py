"""What a particle world takes; the worlds, data cards and `env_config` share it."""

from typing import Annotated, Literal

from pydantic import Field

from tenfold.platform.parameters import Parameters, parameter

Speed = Annotated[float, Field(gt=0)]


class WorldFields(Parameters):
    """Simulator, reward, length and shifts of a world.

    A shift changes the world that a policy is evaluated in, not the one that its data come from.
    """

    physics_order: Literal["legacy", "mpe2"] = parameter(
        "legacy",
        "Whose simulator: OMAR's moves velocities first, mpe2's positions (see the README)",
    )
    reward: Literal["omar", "mpe2"] = parameter("omar", "Whose reward")
    episode_steps: int = parameter(25, "Length of an episode", unit="steps", ge=1, le=10_000)
    max_speed: Speed | Annotated[list[Speed], Field(min_length=2, max_length=2)] | None = parameter(
        None,
        "Speed limit of the learned agents: a number, or [low, high] from which each agent's is "
        "drawn at each reset; the world's own when null",
    )
    unavailable: Annotated[int, Field(ge=0, le=5)] | list[Annotated[int, Field(ge=0, le=5)]] = (
        parameter(
            0,
            "Landmarks of six_landmarks without reward: how many are drawn at each reset, or which",
        )
    )
    start: float = parameter(
        0.1, "Half-width of the square in which the agents of six_landmarks start", gt=0, le=1
    )
