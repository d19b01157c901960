"""Captioned scenes: what is drawn is what the caption says, in every style. About 2 s."""

import numpy as np
import pytest

from tenfold.envs.data.scenes import (
    CLASSES,
    COLOURS,
    STYLES,
    WORDS,
    attributes_of,
    caption,
    draw_scenes,
)


def test_a_caption_and_its_attributes_are_each_others_inverse() -> None:
    for attributes in np.ndindex(*CLASSES):
        text = caption(np.array(attributes))
        assert attributes_of(text).tolist() == list(attributes)
        assert set(text.split()) <= set(WORDS)
    assert caption(np.array([4, 0, 2, 2, 0])) == "a red ring left of a blue triangle"
    with pytest.raises(ValueError, match="'a red dog' describes no scene"):
        attributes_of("a red dog")


def test_a_scene_shows_the_colours_and_the_relation_of_its_caption() -> None:
    scenes = draw_scenes(200, seed=3)
    inks = np.array(tuple(COLOURS.values()))
    for image, (_, first, _, second, relation) in zip(
        scenes.images.astype(int), scenes.attributes, strict=True
    ):
        if first == second:
            continue
        near = [np.abs(image - inks[ink]).sum(axis=2) < 40 for ink in (first, second)]
        centres = [np.argwhere(mask).mean(axis=0) for mask in near]  # (y, x) of each shape
        axis = 1 if relation == 0 else 0
        assert centres[0][axis] < centres[1][axis]


def test_attributes_are_uniform_and_a_seed_fixes_the_drawing() -> None:
    scenes = draw_scenes(1000, seed=1, size=16)
    assert scenes.images.shape == (1000, 16, 16, 3)
    for k, classes in enumerate(CLASSES):
        counts = np.bincount(scenes.attributes[:, k], minlength=classes)
        assert counts.min() > 0.7 * 1000 / classes
    again = draw_scenes(20, seed=7)
    np.testing.assert_array_equal(again.images, draw_scenes(20, seed=7).images)
    assert (again.images != draw_scenes(20, seed=8).images).any()


def test_styles_change_the_drawing_and_not_the_caption() -> None:
    plain, inked, night, tilted = (draw_scenes(30, seed=5, style=style) for style in STYLES)
    for other in (inked, night, tilted):
        assert other.captions == plain.captions
        assert (other.images != plain.images).any(axis=(1, 2, 3)).mean() > 0.5
    difference = plain.images.astype(int) + night.images - 255
    assert np.abs(difference).max() <= 1
    assert inked.images.min() == 0
    with pytest.raises(ValueError, match="'neon' for 'style': choose one of plain"):
        draw_scenes(1, seed=0, style="neon")
