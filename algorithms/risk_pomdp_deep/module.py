"""PPO's network with a head that guesses the hidden state and tells the policy."""

from typing import Any

import torch
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import ACTOR, CRITIC, ENCODER_OUT
from ray.rllib.utils.annotations import override
from torch import nn

BELIEF_LOGITS = "belief_logits"


class BeliefModule(DefaultPPOTorchRLModule):
    """pi(a | e, b) with e the encoded history and b = softmax of the head's logits.

    The policy's gradient does not flow into b, so that b means what hindsight says it means.
    `model_config["hidden_states"]` is the number S of hidden states.
    """

    @override(DefaultPPOTorchRLModule)
    def setup(self) -> None:
        super().setup()
        width = self.catalog.latent_dims[0]
        states = self.model_config["hidden_states"]
        self.hindsight = nn.Linear(width, states)
        self.pi = nn.Sequential(
            nn.Linear(width + states, width), nn.Tanh(), nn.Linear(width, self.action_space.n)
        )

    @override(DefaultPPOTorchRLModule)
    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Action logits (B, A) and belief logits (B, S)."""
        return self._heads(self.encoder(batch)[ENCODER_OUT][ACTOR])

    @override(DefaultPPOTorchRLModule)
    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """The same, with the critic's embeddings."""
        encoded = self.encoder(batch)[ENCODER_OUT]
        return {**self._heads(encoded[ACTOR]), Columns.EMBEDDINGS: encoded[CRITIC]}

    def _heads(self, encoded: torch.Tensor) -> dict[str, torch.Tensor]:
        logits = self.hindsight(encoded)
        belief = torch.softmax(logits, dim=-1).detach()
        action_logits = self.pi(torch.cat([encoded, belief], dim=-1))
        return {Columns.ACTION_DIST_INPUTS: action_logits, BELIEF_LOGITS: logits}
