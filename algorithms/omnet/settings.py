"""What makes an OMNet of a base algorithm: the keys, their checks, and the call that sets them.

A base's config (`OMNetConfig` on SAC) inherits `SubnetworkSettings`, and its `Parameters` those
of `SubnetworkParameters`; then `config.omnet(num_subnets=5, sparsity=0.5)` turns it into OMNet.
"""

from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from tenfold.algorithms.omnet.masks import MaskScheme, make_masks
from tenfold.platform import parameters
from tenfold.platform.errors import unknown
from tenfold.platform.parameters import parameter


class SubnetworkParameters(parameters.Parameters):
    """Subnetworks of the critic, how a batch is spread over them, and which of them acts."""

    num_critics: int = parameter(1, "Independent weight tensors P of the critic", ge=1, le=100)
    num_subnets: int = parameter(5, "Subnetworks K, masks of each weight tensor", ge=1, le=100)
    sparsity: float = parameter(
        0.5, "Share S of weights, or of hidden units, that a subnetwork leaves out", ge=0, lt=1
    )
    layer_density: Literal["er", "uniform"] = parameter(
        "er", "Densities of masked layers: Erdos-Renyi, or 1 - S in each; of weight masks only"
    )
    dense_input: bool = parameter(True, "Leave the first layer unmasked: it did not learn masked")
    dense_output: bool = parameter(True, "Leave the last layer unmasked")
    mask_granularity: Literal["weight", "unit"] = parameter(
        "weight", "Mask weights, or hidden units, which run as K small dense networks"
    )
    mask_overlap: Literal["independent", "balanced", "masksembles"] = parameter(
        "independent", "Draw masks independently, with evenly spread owners, or as Masksembles does"
    )
    mask_seed: int | None = parameter(
        None, "Seed of the masks; the run's own when null", ge=0, le=2**31
    )
    rescale_init: bool = parameter(
        True, "Divide initial weights by the root of the share of inputs that is kept"
    )
    dropout: float = parameter(0.0, "Dropout of the critic's hidden units (DroQ)", ge=0, lt=1)
    layer_norm: bool = parameter(False, "Layer normalisation in the critic (DroQ)")
    target_subset: int = parameter(2, "Members m of which the target takes a random subset", ge=1)
    target_reduce: Literal["min", "mean", "quantile"] = parameter(
        "min", "What the target takes of them"
    )
    target_quantile: float = parameter(0.25, "Level of target_reduce=quantile", ge=0, le=1)
    subnet_batch_mode: Literal["all", "split", "sample"] = parameter(
        "all",
        "Every member learns every row of a batch; each a slice of it; or one at random all of it",
    )
    critic_loss: Literal["mse", "huber"] = parameter("mse", "Loss of an error")
    critic_loss_reduction: Literal["mean", "sum"] = parameter("mean", "Over members")
    policy_sampling: Literal["per_episode", "per_step", "mean"] = parameter(
        "per_episode", "The subnetwork that acts: of an episode, of a step, or the mean of all"
    )
    eval_sampling: Literal["mean"] | Annotated[int, Field(ge=0)] = parameter(
        "mean", "At evaluations: the mean of the subnetworks' actions, or one of them"
    )
    ucb_coef: float = parameter(
        0.0,
        "Above 0, act by the policy subnetwork with the largest mean Q + ucb_coef std Q",
        ge=0,
        le=1e6,
    )


class PolicyParameters(SubnetworkParameters):
    """The same with a policy network that has subnetworks of its own."""

    actor_q_reduce: Literal["mean", "min"] = parameter(
        "mean", "Of the members' values, what the policy climbs"
    )
    policy_subnets: int = parameter(5, "Subnetworks J of the policy; 1 for none", ge=1, le=100)
    policy_sparsity: float = parameter(0.5, "Their sparsity, where J is above 1", ge=0, lt=1)


class SubnetworkSettings:
    """Mixin of a config whose `Parameters` are `SubnetworkParameters` too."""

    def omnet(self, **settings: Any) -> Self:
        """Set keys of `SubnetworkParameters`, in RLlib's way of one call a group.

        Args:
            **settings: Keys and values; `num_subnets=1` with `num_critics=2` and `sparsity=0` is
                the base algorithm itself.

        Raises:
            ValueError: No such key, or a bad value: one sentence.
        """
        config: Any = self
        known = self.subnetworks()
        for key in settings:
            if key not in known:
                raise unknown("key of omnet()", key, known)
        parameters.check(config.Parameters, settings)
        for key, value in settings.items():
            setattr(self, key, value)
        return self

    def subnetworks(self) -> dict[str, Any]:
        """All keys of `SubnetworkParameters`, and of `PolicyParameters` if there is a policy."""
        known = [
            *SubnetworkParameters.model_fields,
            *(PolicyParameters.model_fields if self.has_policy else ()),
        ]
        return {key: getattr(self, key) for key in known}

    @property
    def has_policy(self) -> bool:
        """Whether a policy network has subnetworks, and not the critic alone."""
        config: Any = self
        return issubclass(config.Parameters, PolicyParameters)

    def members(self) -> int:
        """E = P K, members of the critic."""
        config: Any = self
        return int(config.num_critics * config.num_subnets)

    def actors(self) -> int:
        """Subnetworks that can act."""
        config: Any = self
        return int(config.policy_subnets) if self.has_policy else self.members()

    def critic_masks(self) -> MaskScheme:
        """How the critic's masks are drawn."""
        config: Any = self
        seed = config.seed if config.mask_seed is None else config.mask_seed
        return MaskScheme(
            num_subnets=config.num_subnets,
            sparsity=config.sparsity,
            layer_density=config.layer_density,
            dense_input=config.dense_input,
            dense_output=config.dense_output,
            granularity=config.mask_granularity,
            overlap=config.mask_overlap,
            seed=2 * (seed or 0),
        )

    def policy_masks(self) -> MaskScheme:
        """The same for the policy's: other draws, and none for a single network."""
        config: Any = self
        masks = self.critic_masks()
        if config.policy_subnets == 1:
            return MaskScheme()
        return replace(
            masks,
            num_subnets=config.policy_subnets,
            sparsity=config.policy_sparsity,
            seed=masks.seed + 1,
        )

    def check_subnetworks(
        self, critic: list[int], batch_size: int, policy: list[int] | None = None
    ) -> None:
        """Hold keys against each other, and draw all masks.

        Args:
            critic: Units of the critic's layers, inputs first.
            batch_size: Rows of a batch.
            policy: Units of the policy's layers, if there is a policy network.

        Raises:
            ValueError: One sentence.
        """
        config: Any = self
        members, actors = self.members(), self.actors()
        if config.target_subset > members:
            raise ValueError(
                f"Bad value {config.target_subset} for 'target_subset': the critic has {members} "
                f"{'members' if members > 1 else 'member'} (num_critics times num_subnets), so "
                f"give at most {members}."
            )
        if config.subnet_batch_mode == "split" and batch_size < members:
            raise ValueError(
                f"Bad value {batch_size} for 'train_batch_size_per_learner': split over {members} "
                f"members it needs {members} or more."
            )
        if config.eval_sampling != "mean" and config.eval_sampling >= actors:
            raise ValueError(
                f"Bad value {config.eval_sampling} for 'eval_sampling': there are {actors} "
                "subnetworks that act, so give 'mean' or a number below that."
            )
        if config.ucb_coef > 0 and actors == 1:
            cure = "policy_subnets" if self.has_policy else "num_subnets"
            raise ValueError(
                f"Bad value {config.ucb_coef} for 'ucb_coef': it chooses among subnetworks, so set "
                f"{cure} to 2 or more."
            )
        make_masks(critic, self.critic_masks())
        if policy is not None:
            make_masks(policy, self.policy_masks(), "policy_sparsity")
