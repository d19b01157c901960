"""A particle world as a picture."""

import numpy as np
from PIL import Image, ImageDraw

from tenfold.envs.mpe.scenarios import FORESTS, WORLD, Scenario

PIXELS = 400
REACH = 1.6  # from the centre to an edge of the picture
LEARNED, PREY = (53, 105, 200), (40, 150, 60)
SOLID, LANDMARK, GONE = (70, 70, 70), (120, 120, 120), (215, 215, 215)
FOREST, FOOD = (190, 225, 190), (225, 150, 40)


def draw(scenario: Scenario, places: np.ndarray, available: np.ndarray) -> np.ndarray:
    """Draw one world.

    Args:
        scenario: Its entities.
        places: Their places, (E, 2).
        available: Which landmarks of six_landmarks count, bool (6,).

    Returns:
        Red, green and blue, uint8 (400, 400, 3); the second axis of a place points up.
    """
    image = Image.new("RGB", (PIXELS, PIXELS), "white")
    pen = ImageDraw.Draw(image)
    scale = PIXELS / (2 * REACH)
    for entity in reversed(range(len(places))):  # agents last, on top
        x, y = (places[entity] * [1, -1] + REACH) * scale
        radius = scenario.sizes[entity] * scale
        pen.ellipse(
            (x - radius, y - radius, x + radius, y + radius),
            fill=_colour(scenario, entity, available),
        )
    return np.asarray(image)


def _colour(scenario: Scenario, entity: int, available: np.ndarray) -> tuple[int, int, int]:
    landmark = entity - scenario.moving
    if entity < len(scenario.agents):
        return LEARNED
    if landmark < 0:
        return PREY
    if scenario.collides[entity]:
        return SOLID
    if scenario.kind == WORLD:
        return FOREST if entity >= len(scenario.sizes) - FORESTS else FOOD
    return LANDMARK if available[landmark] else GONE
