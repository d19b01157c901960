"""Shifts of the environments that a policy is evaluated in, after training on data without them.

Speed limits from 0.5 are those of a disabled shift in the first author's code (`lizr16/OM2P`); that
DOM2's own begin there is a reconstruction. Six landmarks are the paper's motivating example. The
half cheetah's are Packer et al.'s (arXiv:1810.12282).
"""

from collections.abc import Mapping
from typing import Any

from tenfold.envs.offline.names import CHEETAH, PARTICLES

_SPEEDS: dict[str, Mapping[str, Any]] = {
    "slow": {"max_speed": [0.5, 1.0]},
    "slower": {"max_speed": 0.5},
    "slowest": {"max_speed": 0.3},
}
_LOST: dict[str, Mapping[str, Any]] = {
    "lost_1": {"unavailable": 1},
    "lost_3": {"unavailable": 3},
    "lost_5": {"unavailable": 5},
}
_PACKER: dict[str, Mapping[str, Any]] = {
    "random": {"shift": "random"},
    "extreme": {"shift": "extreme"},
}

SHIFT_NAMES = (*_SPEEDS, *_LOST, *_PACKER)


def shifts_of(environment: str) -> dict[str, Mapping[str, Any]]:
    """Name -> what `env_config` says under the shift; empty where there is none."""
    if environment == CHEETAH:
        return _PACKER
    if environment not in PARTICLES:
        return {}
    return {**_SPEEDS, **(_LOST if environment.endswith("six_landmarks") else {})}
