"""Configs whose copies have every key.

RLlib builds an algorithm from a copy of its config, and the copy leaves out what equals -1, its
mark of keys that are gone. A key of a method may well be -1.
"""

from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.utils.annotations import override


class WholeState(AlgorithmConfig):
    """A config that keeps the keys it adds to RLlib's; put it before RLlib's class."""

    @override(AlgorithmConfig)
    def get_state(self) -> dict[str, Any]:
        """RLlib's state, with our keys whatever their values."""
        library = next(each for each in type(self).__mro__ if each.__module__.startswith("ray."))
        ours = vars(self).keys() - vars(library()).keys()
        return {**super().get_state(), **{key: getattr(self, key) for key in ours}}
