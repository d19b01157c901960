"""Networks: a squashed Gaussian pi(a | s, y), and critics of the quantiles of Z(s, y, a)."""

from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchSquashedGaussian
from ray.rllib.core.learner.utils import make_target_network
from ray.rllib.core.models.base import ENCODER_OUT, Model
from ray.rllib.core.models.configs import MLPHeadConfig
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI, TargetNetworkAPI
from ray.rllib.core.rl_module.torch.torch_rl_module import TorchRLModule
from ray.rllib.utils.annotations import override
from torch import nn

from tenfold.algorithms.common.joint_critic import JointCriticCatalog
from tenfold.algorithms.common.quantile_critic import NEXT_QUANTILES, QUANTILES
from tenfold.algorithms.common.return_utility import ReturnUtility, at_shifts
from tenfold.envs.risk.measures import RiskMeasure

# U of an action of the policy's own, its log density, both (B,), and the log temperature, ().
WORTH, LOGP, LOG_TEMPERATURE = "worth", "logp", "log_temperature"


class QuantileCriticCatalog(JointCriticCatalog):
    """Networks as SAC's, with a critic's head of `num_quantiles` numbers."""

    @override(JointCriticCatalog)
    def build_qf_head(self, framework: str) -> Model:
        return MLPHeadConfig(
            input_dims=self.latent_dims,
            hidden_layer_dims=self.pi_and_qf_head_hiddens,
            hidden_layer_activation=self.pi_and_qf_head_activation,
            output_layer_activation="linear",
            output_layer_dim=self._model_config_dict["num_quantiles"],
        ).build(framework)


class Policy(nn.Module):
    """pi(. | s, y), a Gaussian squashed to [-1, 1]."""

    def __init__(self, catalog: QuantileCriticCatalog) -> None:
        super().__init__()
        self.encoder = catalog.build_encoder("torch")
        self.head = catalog.build_pi_head("torch")

    def forward(self, scaled: torch.Tensor) -> TorchSquashedGaussian:
        encoded = self.encoder({Columns.OBS: scaled})[ENCODER_OUT]
        return TorchSquashedGaussian.from_logits(self.head(encoded))


class Critic(nn.Module):
    """Quantiles of Z(s, y, a), (B, N), in no certain order."""

    def __init__(self, catalog: QuantileCriticCatalog) -> None:
        super().__init__()
        self.encoder = catalog.build_qf_encoder("torch")
        self.head = catalog.build_qf_head("torch")

    def forward(self, scaled: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        encoded = self.encoder({Columns.OBS: scaled, Columns.ACTIONS: actions})
        quantiles: torch.Tensor = self.head(encoded[ENCODER_OUT])
        return quantiles


class RiskActorCritic(ReturnUtility, TorchRLModule, InferenceOnlyAPI, TargetNetworkAPI):
    """pi, `num_critics` critics, their targets and the utility; a runner has pi and the utility.

    Of several critics the least U counts, with the whole distribution of the critic that gives it:
    what clipped double Q-learning does for means. (TQC, arXiv:2005.04269, leaves out the highest
    quantiles instead, with which y + Z would not be a return.)

    Attributes:
        pi: The policy.
        qf: The critics.
        log_alpha: Log of the temperature, a scalar parameter.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        catalog_class = kwargs.pop("catalog_class", None) or QuantileCriticCatalog
        super().__init__(*args, **kwargs, catalog_class=catalog_class)

    @override(TorchRLModule)
    def setup(self) -> None:
        told = self.model_config
        self.pi = Policy(self.catalog)
        if not self.inference_only:
            self.qf = nn.ModuleList(Critic(self.catalog) for _ in range(told["num_critics"]))
            self.log_alpha = nn.Parameter(torch.tensor(told["initial_alpha"]).log())
        self.make_utility(told["num_quantiles"], told["return_scale"], told["shift_span"])

    @override(TargetNetworkAPI)
    def make_target_networks(self) -> None:
        self.target_qf = make_target_network(self.qf)

    @override(TargetNetworkAPI)
    def get_target_network_pairs(self) -> list[tuple[nn.Module, nn.Module]]:
        return [(self.qf, self.target_qf)]

    @override(InferenceOnlyAPI)
    def get_non_inference_attributes(self) -> list[str]:
        return ["qf", "target_qf", "log_alpha"]

    @override(TorchRLModule)
    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """The tanh of the Gaussian's mean."""
        return {Columns.ACTIONS: torch.tanh(self.pi(self.scaled(batch[Columns.OBS])).loc)}

    @override(TorchRLModule)
    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Uniform actions for the first steps, then those of the policy.

        Args:
            batch: OBS, (B, n).
            kwargs: `t`, environment steps so far.
        """
        seen, random_steps = batch[Columns.OBS], self.model_config["random_steps"]
        if kwargs.get("t", random_steps) < random_steps:
            shape = (len(seen), *self.action_space.shape)
            return {Columns.ACTIONS: 2.0 * torch.rand(shape, device=seen.device) - 1.0}
        return {Columns.ACTIONS: self.pi(self.scaled(seen)).sample()}

    @override(TorchRLModule)
    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """What the losses need, for y shifted at random.

        Args:
            batch: OBS, ACTIONS, NEXT_OBS, (B, ...).

        Returns:
            QUANTILES of all critics, (M, B, N); NEXT_QUANTILES, (B, N), without gradient; WORTH and
            LOGP of a fresh action of the policy, (B,), whose gradients reach the policy alone;
            LOG_TEMPERATURE, ().
        """
        here, after = self.shifted(batch[Columns.OBS], batch[Columns.NEXT_OBS])
        out = {
            QUANTILES: self.quantiles(self.qf, here, batch[Columns.ACTIONS]),
            NEXT_QUANTILES: self.forward_target({Columns.OBS: after}),
            # A leaf among the outputs would be unused to several learners' averaging.
            LOG_TEMPERATURE: self.log_alpha.clone(),
        }
        actions, out[LOGP] = self.pi(self.scaled(here)).rsample_and_logp()
        self.qf.requires_grad_(False)
        out[WORTH] = self.worth(here, self.quantiles(self.qf, here, actions)).amin(dim=0)
        self.qf.requires_grad_(True)
        return out

    @override(TargetNetworkAPI)
    @torch.no_grad()
    def forward_target(self, batch: dict[str, Any], **kwargs: Any) -> torch.Tensor:
        """Z of an action of the policy by the target critic of the least U, (B, N)."""
        seen = batch[Columns.OBS]
        actions = self.pi(self.scaled(seen)).sample()
        each = self.quantiles(self.target_qf, seen, actions)
        least = self.worth(seen, each).argmin(dim=0)
        return each[least, torch.arange(len(seen), device=seen.device)]

    def quantiles(
        self, critics: nn.Module, seen: torch.Tensor, actions: torch.Tensor
    ) -> torch.Tensor:
        """Of Z(s, y, a) in units of `return_scale` by M critics, (M, B, N)."""
        scaled = self.scaled(seen)
        return torch.stack([critic(scaled, actions) for critic in critics.children()])

    def worth(self, seen: torch.Tensor, quantiles: torch.Tensor) -> torch.Tensor:
        """U = E g(y + Z) in units of `return_scale`, (M, B), from quantiles (M, B, N)."""
        returns = seen[:, -1:] + self.scale * quantiles
        return self.utility(returns).mean(dim=-1) / self.scale

    def follow(self, first: torch.Tensor, rho: RiskMeasure, shifts: torch.Tensor) -> None:
        """Take F from the target critics, and g from F.

        Args:
            first: The first observations, (M, n).
            rho: The measure that is maximised.
            shifts: Of y, (J,) in reward units.
        """
        to_go = self.forward_target({Columns.OBS: at_shifts(first, shifts)})
        self.take_distribution(rho, to_go, len(shifts))
