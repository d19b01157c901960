"""RLlib's networks of SAC, which act by tanh of the mean when they do not explore.

RLlib 2.60 takes the mean itself there, clipped to the bounds: not the middle of the policy that was
learnt (Haarnoja et al., arXiv:1801.01290, appendix C; they evaluate tanh of the mean).
"""

from ray.rllib.algorithms.sac.torch.default_sac_torch_rl_module import DefaultSACTorchRLModule
from ray.rllib.core.distribution.torch.torch_distribution import (
    TorchDeterministic,
    TorchSquashedGaussian,
)
from ray.rllib.utils.annotations import override


class SquashedMean(TorchSquashedGaussian):
    """The squashed Gaussian, whose deterministic action is squashed as well."""

    @override(TorchSquashedGaussian)
    def to_deterministic(self) -> TorchDeterministic:
        return TorchDeterministic(loc=self._squash(self.loc))


class SACModule(DefaultSACTorchRLModule):
    """Policy and Q functions as RLlib has them."""

    @override(DefaultSACTorchRLModule)
    def get_inference_action_dist_cls(self) -> type[SquashedMean]:
        return SquashedMean
