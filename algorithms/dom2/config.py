"""Config of DOM2 and of the baselines that are the same arithmetic with terms left out."""

from typing import Annotated, Literal

from pydantic import Field

from tenfold.algorithms.dom2.algorithm import DOM2
from tenfold.algorithms.dom2.critics import CQLSampler
from tenfold.algorithms.dom2.learner import DOM2Learner
from tenfold.algorithms.dom2.networks import Activation, NoiseNetName
from tenfold.algorithms.dom2.policies import Backprop, PolicyName
from tenfold.algorithms.dom2.schedule import Prediction, ScheduleName, Spacing
from tenfold.algorithms.dom2.solver import SolverName
from tenfold.algorithms.offline.config import OfflineConfig
from tenfold.algorithms.offline.learner import StackedLearner
from tenfold.platform.parameters import parameter


class DOM2Config(OfflineConfig):
    """Diffusion Offline Multi-agent Model (arXiv:2307.01472), one agent like the other:

        L(theta_j) = L_bc(theta_j) - eta / E|Q_j| E Q_j(o_j, a_j),      a_j ~ pi_theta_j
        L(phi_j)   = E (Q_j - y_j)^2 + zeta (tau_l log sum exp (Q_j - log rho) / tau_l - Q_j)

    on trajectories weighted by their returns. zeta is `cql_alpha`, tau_l `cql_temperature`, rho
    `cql_sampler` and the target rate `tau`.
    """

    class Parameters(OfflineConfig.Parameters):
        """Policies, critics and their losses."""

        policy: PolicyName = parameter("diffusion", "Diffusion, or the policies of baselines")
        noise_net: NoiseNetName = parameter(
            "mlp", "Noise network: Diffusion-QL's, or SfBC's U-shaped one with dropout"
        )
        hidden: int = parameter(128, "Units of a policy's layer", ge=1, le=10_000)
        critic_hidden: int = parameter(64, "Units of a critic's layer", ge=1, le=10_000)
        activation: Activation = parameter("relu", "Of a policy's layers; Diffusion-QL has mish")
        time_embed: int = parameter(16, "Width of the embedding of t", ge=4, le=1024)
        dropout: float = parameter(0.1, "Of unet_mlp", ge=0, lt=1)
        schedule: ScheduleName = parameter("vp_linear", "Noise schedule")
        beta0: float = parameter(0.1, "beta_0 of a VP schedule", gt=0, le=1e3)
        beta1: float = parameter(20.0, "beta_1 of a VP schedule", gt=0, le=1e3)
        train_steps_T: int = parameter(100, "Times of vp_discrete", ge=1, le=10**5)
        prediction_type: Prediction = parameter(
            "sample", "What the noise network says: xi, the action, or alpha xi - sigma a"
        )
        solver: SolverName = parameter("dpm1", "Solver of actions")
        solver_steps: int = parameter(5, "Its steps N", ge=1, le=10_000)
        time_spacing: Spacing = parameter("logsnr", "Its times: uniform in t or in lambda")
        t_min: float = parameter(1e-3, "Least time", gt=0, le=0.5)
        clip_x0: bool = parameter(True, "Hold the action in [-1, 1] at each step")
        bc_weight: float = parameter(1.0, "Weight of L_bc", ge=0, le=1e6)
        q_batch: int | None = parameter(
            128,
            "Rows of the batch that critics and solver are trained on, L_bc being cheap; all when "
            "null",
            ge=1,
        )
        eta: float = parameter(0.1, "Weight of Q; 0 is behaviour cloning", ge=0, le=1e6)
        q_warmup: int = parameter(
            1_000,
            "Updates in which policies with L_bc follow it alone, while critics learn what to say",
            unit="updates",
            ge=0,
            le=10**9,
        )
        q_normalise: bool = parameter(True, "Divide eta by E|Q|")
        backprop_steps: Backprop = parameter(
            "all", "Solver steps that gradients of Q flow through; one_step is EDP's guess"
        )
        cql_alpha: float = parameter(1.0, "zeta, weight of the conservative term", ge=0, le=1e6)
        cql_samples: int = parameter(4, "Actions of it, of each kind", ge=1, le=10_000)
        cql_temperature: float = parameter(1.0, "tau_l", gt=0, le=1e6)
        cql_sampler: CQLSampler = parameter(
            "uniform", "rho: uniform, or also noisy actions of the policy at o and o'"
        )
        twin_q: bool = parameter(True, "Two critics an agent")
        backup_candidates: int = parameter(
            1,
            "Actions a' of which the best is backed up; Diffusion-QL's max_q_backup is 10",
            ge=1,
            le=1_000,
        )
        target_noise: float = parameter(0.0, "Deviation of TD3's noise on a'", ge=0, le=10)
        policy_delay: int = parameter(1, "Updates of critics a policy's", ge=1, le=1_000)
        tau: float = parameter(0.01, "Target rate", gt=0, le=1)
        lr_actor: float = parameter(3e-3, "Learning rate of policies", gt=0, le=1)
        lr_critic: float = parameter(3e-3, "Learning rate of critics", gt=0, le=1)
        grad_clip: float | None = parameter(
            0.5, "Largest norm of a network's gradient", gt=0, le=1e12
        )
        share_parameters: bool = parameter(False, "One network for all agents")
        act_with: Literal["target", "online"] = parameter(
            "target", "Policy that acts: the averaged one or the one that learns"
        )
        eval_candidates: int = parameter(
            1, "Actions drawn when acting, of which softmax of Q chooses", ge=1, le=1_000
        )
        ctde: bool = parameter(
            False, "Critics see all agents' observations and actions; execution stays decentralised"
        )
        omar_coe: float = parameter(0.0, "Weight of OMAR's best actions", ge=0, le=1)
        omar_iters: int = parameter(3, "Iterations of its search", ge=1, le=100)
        omar_samples: int = parameter(10, "Actions of each", ge=2, le=1_000)
        omar_sigma: float = parameter(2.0, "Deviation of the first", gt=0, le=100)
        expectile: Annotated[float, Field(gt=0, lt=1)] | None = parameter(
            None, "Of IQL's values; no such values when null"
        )
        awr_beta: float = parameter(3.0, "Inverse temperature of IQL's weights", ge=0, le=1e3)

    def __init__(self) -> None:
        super().__init__(algo_class=DOM2)

    @property
    def uses_critic(self) -> bool:
        """Whether anything asks for Q."""
        return self.eta > 0 or self.eval_candidates > 1 or self.expectile is not None

    @property
    def joint_rows(self) -> bool:
        return bool(self.ctde)

    def validate(self) -> None:
        """Check types and bounds, and what values mean together.

        Raises:
            ValueError: One sentence that names the key, the value and what would be right.
        """
        super().validate()
        if not self.beta0 < self.beta1:
            raise ValueError(
                f"Bad value {self.beta0} for 'beta0': give less than 'beta1', {self.beta1}."
            )
        if self.bc_weight == 0 and self.eta == 0:
            raise ValueError("Bad value 0 for 'eta': 'bc_weight' is 0 too, so nothing would learn.")
        if self.q_batch is not None and self.batch < self.q_batch and self.uses_critic:
            raise ValueError(
                f"Bad value {self.q_batch} for 'q_batch': 'batch' is {self.batch}, so give at most "
                "that, or null."
            )
        if self.schedule == "vp_discrete" and self.solver_steps > self.train_steps_T:
            raise ValueError(
                f"Bad value {self.solver_steps} for 'solver_steps': vp_discrete has "
                f"'train_steps_T' = {self.train_steps_T} times, so give at most that."
            )
        if self.schedule == "vp_discrete" and self.t_min >= 1 / self.train_steps_T:
            raise ValueError(
                f"Bad value {self.t_min} for 't_min': give less than 1 / 'train_steps_T', "
                f"{1 / self.train_steps_T:g}."
            )
        if self.policy_delay > 1 and not self.uses_critic:
            raise ValueError(
                f"Bad value {self.policy_delay} for 'policy_delay': there are no critics to wait "
                "for, so give 1."
            )
        if self.policy != "diffusion" and (self.eval_candidates > 1 or self.backup_candidates > 1):
            raise ValueError(
                f"Bad value '{self.policy}' for 'policy': it draws one action, so candidates need "
                "diffusion."
            )
        if self.ctde and (self.eval_candidates > 1 or self.expectile is not None):
            raise ValueError(
                "Bad value true for 'ctde': candidates and IQL ask critics of what an agent sees "
                "itself, so give false."
            )
        if self.ctde and self.backup_candidates > 1:
            raise ValueError(
                f"Bad value {self.backup_candidates} for 'backup_candidates': centralised critics "
                "back up one joint action, so give 1."
            )
        if self.ctde and self.share_parameters:
            raise ValueError("Bad value true for 'ctde': give 'share_parameters' false with it.")

    def get_default_learner_class(self) -> type[StackedLearner]:
        return DOM2Learner
