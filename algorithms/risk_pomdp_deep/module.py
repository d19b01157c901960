"""PPO's network with a head that guesses the hidden state and tells the policy; GRU memory."""

from typing import Any

import gymnasium as gym
import torch
from ray.rllib.algorithms.ppo.ppo_catalog import PPOCatalog
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import ACTOR, CRITIC, ENCODER_OUT
from ray.rllib.core.models.configs import ModelConfig, RecurrentEncoderConfig
from ray.rllib.utils.annotations import override
from torch import nn

BELIEF_LOGITS = "belief_logits"
REVEALED = "revealed"


class GRUCatalog(PPOCatalog):
    """RLlib's encoder of each step, and over the steps RLlib's GRU of `gru_units` units."""

    @classmethod
    @override(PPOCatalog)
    def _get_encoder_config(
        cls, observation_space: gym.Space[Any], model_config_dict: dict[str, Any], **kwargs: Any
    ) -> ModelConfig:
        of_a_step = super()._get_encoder_config(observation_space, model_config_dict, **kwargs)
        return RecurrentEncoderConfig(
            input_dims=observation_space.shape,
            recurrent_layer_type="gru",
            hidden_dim=model_config_dict["gru_units"],
            num_layers=1,
            batch_major=True,
            tokenizer_config=of_a_step,
        )


class BeliefModule(DefaultPPOTorchRLModule):
    """pi(a | e, b) with e the encoded history and b = softmax of the head's logits.

    The policy's gradient does not flow into b, so that b means what hindsight says it means.
    With `GRUCatalog` the module is recurrent, and all shapes have an axis T of steps after B.

    `model_config` names the number S of `hidden_states` (0: none are ever revealed, so there is no
    head and no b) and what the `critic` knows: the "history", or in "hindsight" also what was
    revealed when the episode was over, `batch[REVEALED]` (B, 1 + S): what had been collected before
    a step, and the hidden state that its action was taken in. No action had an influence on either
    before it was taken, so both may stand in a baseline; the policy never sees them.
    """

    @override(DefaultPPOTorchRLModule)
    def setup(self) -> None:
        super().setup()
        width = self.catalog.latent_dims[0]
        states = self.model_config["hidden_states"]
        if states:
            self.hindsight = nn.Linear(width, states)
        self.pi = nn.Sequential(
            nn.Linear(width + states, width), nn.Tanh(), nn.Linear(width, self.action_space.n)
        )
        if self.model_config["critic"] == "hindsight":
            self.vf = nn.Sequential(
                nn.Linear(width + 1 + states, width), nn.Tanh(), nn.Linear(width, 1)
            )

    @override(DefaultPPOTorchRLModule)
    def get_non_inference_attributes(self) -> list[str]:
        """RLlib's without a recurrent critic: runners store its states, so they need it trained."""
        names: list[str] = super().get_non_inference_attributes()
        return [name for name in names if not (self.is_stateful() and name.startswith("encoder"))]

    @override(DefaultPPOTorchRLModule)
    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Action logits (B, A), belief logits (B, S), and the state after the last step."""
        return self._heads(self.encoder(batch))

    @override(DefaultPPOTorchRLModule)
    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """The same, with the critic's embeddings."""
        encoded = self.encoder(batch)
        return {**self._heads(encoded), Columns.EMBEDDINGS: encoded[ENCODER_OUT][CRITIC]}

    @override(DefaultPPOTorchRLModule)
    def compute_values(
        self, batch: dict[str, Any], embeddings: torch.Tensor | None = None
    ) -> torch.Tensor:
        """V of each step, (B,)."""
        if self.model_config["critic"] == "history":
            return super().compute_values(batch, embeddings)
        if embeddings is None:
            embeddings = self.encoder(batch)[ENCODER_OUT][CRITIC]
        values: torch.Tensor = self.vf(torch.cat([embeddings, batch[REVEALED]], dim=-1))
        return values.squeeze(-1)

    def _heads(self, encoded: dict[str, Any]) -> dict[str, Any]:
        seen = encoded[ENCODER_OUT][ACTOR]
        outputs: dict[str, Any] = {}
        if Columns.STATE_OUT in encoded:
            outputs[Columns.STATE_OUT] = encoded[Columns.STATE_OUT]
        if self.model_config["hidden_states"]:
            outputs[BELIEF_LOGITS] = self.hindsight(seen)
            belief = torch.softmax(outputs[BELIEF_LOGITS], dim=-1).detach()
            seen = torch.cat([seen, belief], dim=-1)
        return {Columns.ACTION_DIST_INPUTS: self.pi(seen), **outputs}
