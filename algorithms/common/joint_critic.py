"""Q networks that read observation and action together, as SAC and TD3 have them on flat input.

RLlib's SAC gives each its own encoder and joins the two in a third network, about three times the
weights of the one perceptron that papers and other libraries mean by "2 x 256".
"""

from dataclasses import replace
from typing import Any

import torch
from gymnasium import spaces
from ray.rllib.algorithms.sac.sac_catalog import SACCatalog
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import ENCODER_OUT
from ray.rllib.utils.annotations import override
from torch import nn


class JointEncoder(nn.Module):
    """An encoder of observation and action, one beside the other."""

    def __init__(self, network: nn.Module) -> None:
        """
        Args:
            network: RLlib's encoder of (B, observation size + action size).
        """
        super().__init__()
        self.network = network

    def forward(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Columns OBS and ACTIONS -> ENCODER_OUT (B, units of the last layer)."""
        joint = torch.cat([batch[Columns.OBS], batch[Columns.ACTIONS]], dim=-1)
        encoded: dict[str, torch.Tensor] = self.network({Columns.OBS: joint})
        return {ENCODER_OUT: encoded[ENCODER_OUT]}


class JointCriticCatalog(SACCatalog):
    """RLlib's networks of SAC with a joint critic; images keep RLlib's separate encoders."""

    @override(SACCatalog)
    def _build_qf_encoder_continuous(self, framework: str) -> nn.Module:
        seen = self.observation_space
        if not isinstance(seen, spaces.Box) or len(seen.shape) != 1:
            encoder: nn.Module = super()._build_qf_encoder_continuous(framework)
            return encoder
        size = seen.shape[0] + self.action_space.shape[0]
        return JointEncoder(replace(self._encoder_config, input_dims=[size]).build(framework))
