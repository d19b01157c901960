"""One update of all agents: critics, then policies, then the targets of both.

    L(theta_j) = bc_weight L_bc(theta_j) - eta / E|Q_j| E Q_j(o, a),   a ~ pi_theta_j(o)

Without a term it is a baseline: eta = 0 is behaviour cloning, zeta = 0 Diffusion-QL a agent, and a
deterministic policy makes TD3+BC, MA-CQL and OMAR of the same arithmetic.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.utils.annotations import override
from torch import Tensor, nn

from tenfold.algorithms.dom2.critics import (
    bootstrap,
    conservative_gap,
    expectile_loss,
    improved_actions,
    sampled_actions,
)
from tenfold.algorithms.dom2.module import StackedAgents
from tenfold.algorithms.offline.learner import StackedLearner

_LARGEST_ADVANTAGE_WEIGHT = 100.0  # of IQL (arXiv:2110.06169)
_TANH_PENALTY = 1e-3  # OMAR's, but on what its tanh is taken of: it undoes saturation only there


class DOM2Learner(StackedLearner):
    """Everything that `DOM2Config` offers, in one update."""

    @override(StackedLearner)
    def parts(self, module: StackedAgents) -> Mapping[str, tuple[Iterable[nn.Parameter], float]]:
        c = self.config
        found: dict[str, tuple[Iterable[nn.Parameter], float]] = {
            "actor": (module.policy.parameters(), c.lr_actor)
        }
        if module.critic is not None:
            found["critic"] = (module.critic.parameters(), c.lr_critic)
        if module.value is not None:
            found["value"] = (module.value.parameters(), c.lr_critic)
        return found

    @override(StackedLearner)
    def update_once(
        self, module: StackedAgents, batch: Mapping[str, Tensor], update: int
    ) -> dict[str, Any]:
        c = self.config
        o, o_next = (module.normalised(batch[key]) for key in (Columns.OBS, Columns.NEXT_OBS))
        a, rewards = batch[Columns.ACTIONS], c.reward_scale * batch[Columns.REWARDS]
        metrics: dict[str, Any] = {}
        few = slice(c.q_batch)
        if module.value is not None:
            metrics |= self._update_value(module, o[:, few], a[:, few])
        if module.critic is not None:
            columns = (o, a, rewards, o_next, batch[Columns.TERMINATEDS])
            metrics |= self._update_critic(module, *(column[:, few] for column in columns))
        if update % c.policy_delay == 0:
            guided = c.eta > 0 and (update >= c.q_warmup or not c.bc_weight)
            loss, said = self._actor_loss(module, o, a, guided)
            self.step("actor", loss, c.grad_clip)
            metrics |= {"loss": loss.detach(), **said}
            _follow(module.target_policy, module.policy, c.tau)
        else:
            metrics |= {"loss": metrics["critic_loss"]}
        if module.critic is not None and module.target_critic is not None:
            _follow(module.target_critic, module.critic, c.tau)
        return metrics

    def _update_critic(
        self,
        module: StackedAgents,
        o: Tensor,
        a: Tensor,
        rewards: Tensor,
        o_next: Tensor,
        terminated: Tensor,
    ) -> dict[str, Any]:
        c, critic = self.config, module.critic
        assert critic is not None
        with torch.no_grad():
            y = self._targets(module, rewards, o_next, terminated)
        seen, actions = module.seen_by_critic(o, a), a[:, :, None]
        if c.cql_alpha > 0:
            drawn, log_rho = self._rho(module, o, a, o_next)
            actions = torch.cat([actions, drawn], dim=2)
        q = critic(seen, actions)  # (K, n, B, 1 + S), the recorded action first
        loss = (q[..., 0] - y).square().mean(dim=-1).sum()
        metrics = {"td_loss": loss.detach(), "q_mean": q[..., 0].detach().mean()}
        if c.cql_alpha > 0:
            gap = conservative_gap(q[..., 1:], log_rho, q[..., 0], c.cql_temperature)
            loss = loss + c.cql_alpha * gap.sum()
            metrics["cql_gap"] = gap.detach().mean()
        self.step("critic", loss, c.grad_clip)
        return {**metrics, "critic_loss": loss.detach()}

    def _targets(
        self, module: StackedAgents, rewards: Tensor, o_next: Tensor, terminated: Tensor
    ) -> Tensor:
        """y, (n, B)."""
        c = self.config
        if module.value is not None:
            value = module.value(o_next).squeeze(-1)
            return rewards + c.gamma * (1 - terminated.float()) * value
        B, M = o_next.shape[1], c.backup_candidates
        repeated = o_next.repeat_interleave(M, dim=1) if M > 1 else o_next
        a_next = module.target_policy.act(repeated)
        if c.target_noise > 0:
            noise = (c.target_noise * torch.randn_like(a_next)).clamp(-0.5, 0.5)
            a_next = (a_next + noise).clamp(-1, 1)
        candidates = a_next.unflatten(1, (B, M))
        assert module.target_critic is not None
        seen = module.seen_by_critic(o_next, candidates[:, :, 0])
        return bootstrap(module.target_critic(seen, candidates), rewards, terminated, c.gamma)

    def _rho(
        self, module: StackedAgents, o: Tensor, a: Tensor, o_next: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Actions that the conservative term holds down, and their log densities."""
        c = self.config
        own = None
        if c.cql_sampler == "policy":
            with torch.no_grad():
                own = (module.policy.act(o), module.policy.act(o_next))
        return sampled_actions(a, c.cql_samples, c.cql_sampler, own)

    def _update_value(self, module: StackedAgents, o: Tensor, a: Tensor) -> dict[str, Any]:
        """IQL: V is an expectile of Q over recorded actions."""
        c = self.config
        assert module.value is not None
        assert module.target_critic is not None
        with torch.no_grad():
            q = module.target_critic(o, a[:, :, None])[..., 0].amin(dim=0)
        loss = expectile_loss(q - module.value(o).squeeze(-1), c.expectile).sum()
        self.step("value", loss, c.grad_clip)
        return {"value_loss": loss.detach()}

    def _actor_loss(
        self, module: StackedAgents, o: Tensor, a: Tensor, guided: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of all agents together, with Q if `guided`, and what is to be seen of it."""
        c, policy = self.config, module.policy
        bc = policy.bc_loss(o, a, self._advantage_weights(module, o, a)) if c.bc_weight else None
        said = {} if bc is None else {"bc_loss": bc.detach().mean()}
        loss = torch.zeros((), device=o.device) if bc is None else c.bc_weight * bc.sum()
        if guided:
            o, a = o[:, : c.q_batch], a[:, : c.q_batch]
            own = policy.act_for_gradient(o, a)  # (n, B, m)
            assert module.critic is not None
            seen = module.seen_by_critic(o, a)
            q = module.critic(seen, own[:, :, None])[0, :, :, 0]  # (n, B)
            scale = q.abs().mean(dim=1).detach() if c.q_normalise else torch.ones_like(q[:, 0])
            gain = (c.eta / scale.clamp(min=1e-6) * q.mean(dim=1)).sum()
            loss = loss + _TANH_PENALTY * policy.size(o).sum()
            if c.omar_coe > 0:
                best = improved_actions(
                    module.critic, seen, own.detach(), c.omar_iters, c.omar_samples, c.omar_sigma
                )
                mimic = (own - best).square().mean(dim=(1, 2)).sum()
                loss = loss + c.omar_coe * mimic - (1 - c.omar_coe) * gain
            else:
                loss = loss - gain
        return loss, said

    def _advantage_weights(self, module: StackedAgents, o: Tensor, a: Tensor) -> Tensor | None:
        """exp(beta (Q - V)) of IQL, (n, B)."""
        if module.value is None:
            return None
        assert module.target_critic is not None
        with torch.no_grad():
            q = module.target_critic(o, a[:, :, None])[..., 0].amin(dim=0)
            advantage = q - module.value(o).squeeze(-1)
            return (self.config.awr_beta * advantage).exp().clamp(max=_LARGEST_ADVANTAGE_WEIGHT)


@torch.no_grad()
def _follow(target: nn.Module, online: nn.Module, tau: float) -> None:
    """target <- (1 - tau) target + tau online."""
    torch._foreach_lerp_(list(target.parameters()), list(online.parameters()), tau)
