"""Speed of DOM2: an update beside a bare torch loop, and an action beside a DDPM chain.

python benchmarks/dom2.py

Both update loops take the same rows and do the same arithmetic in one process, in turns: RLlib's
learner, and a loop that knows nothing of RLlib or of configs. Actions are timed for one row and for
400, in one process as well. Times are processor seconds of one thread.
"""

import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from ray.rllib.core.columns import Columns
from torch import Tensor

from tenfold.algorithms.common.consistency import ConsistencyFunction, NoiseSchedule, SolverGrid
from tenfold.algorithms.dom2 import METHOD
from tenfold.algorithms.dom2.algorithm import DOM2
from tenfold.algorithms.dom2.distill import AgentPolicy, OneStepPolicy, one_agent
from tenfold.algorithms.dom2.latency import chain_of
from tenfold.algorithms.dom2.policies import DiffusionPolicy
from tenfold.algorithms.offline.sampler import stacked_batch
from tenfold.platform.configuration import build_config

TASK, UPDATES, REPEATS = "mpe/spread-medium", 40, 7


class BareLoop:
    """DOM2's update on copies of an algorithm's networks, in torch alone."""

    def __init__(self, algorithm: DOM2) -> None:
        module = algorithm.agents_module
        self.c, self.mean, self.std = algorithm.config, module.mean, module.std
        self.policy, self.critic = deepcopy(module.policy), deepcopy(module.critic)
        self.policies, self.critics = (list(p.parameters()) for p in (self.policy, self.critic))
        self.slow_policy, self.slow_critic = deepcopy(self.policy), deepcopy(self.critic)
        self.followers = [
            (list(slow.parameters()), list(fast.parameters()))
            for slow, fast in ((self.slow_policy, self.policy), (self.slow_critic, self.critic))
        ]
        self.actor_step = torch.optim.Adam(self.policies, lr=1e-3, fused=True)
        self.critic_step = torch.optim.Adam(self.critics, lr=1e-3, fused=True)

    def update(self, o: Tensor, a: Tensor, r: Tensor, o_next: Tensor, done: Tensor) -> None:
        all_o, all_a = (o - self.mean) / self.std, a
        few = slice(self.c.q_batch)
        o, a, r, o_next, done = (x[:, few] for x in (all_o, a, r, o_next, done))
        o_next = (o_next - self.mean) / self.std
        n, B, m = a.shape
        with torch.no_grad():
            a_next = self.slow_policy.act(o_next)
            q_next = self.slow_critic(o_next, a_next[:, :, None])[..., 0].amin(0)
            y = r + self.c.gamma * (1 - done.float()) * q_next
        drawn = 2 * torch.rand(n, B, self.c.cql_samples, m) - 1
        q = self.critic(o, torch.cat([a[:, :, None], drawn], dim=2))
        soft = torch.logsumexp(q[..., 1:] + m * np.log(2), dim=-1)
        loss = (q[..., 0] - y).square().mean(-1).sum() + (soft - q[..., 0]).mean(-1).sum()
        self._step(self.critic_step, self.critics, loss)
        own = self.policy.act(o)
        q = self.critic(o, own[:, :, None])[0, :, :, 0]
        gain = (q.mean(1) / q.abs().mean(1).detach()).sum()
        self._step(self.actor_step, self.policies, self.policy.bc_loss(all_o, all_a).sum() - gain)
        with torch.no_grad():
            for slow, fast in self.followers:
                torch._foreach_lerp_(slow, fast, self.c.tau)

    def _step(self, optimizer: torch.optim.Optimizer, parameters: list[Any], loss: Tensor) -> None:
        gradients = torch.autograd.grad(loss, parameters)
        norms = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
        scale = (0.5 / (norms + 1e-6)).clamp(max=1)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.mul_(scale.view(-1, 1, 1))
        optimizer.step()


def seconds(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def updates(algorithm: DOM2) -> None:
    """An update of RLlib's learner, drawing its rows included, over one of the bare loop."""
    bare = BareLoop(algorithm)

    def by_learner() -> None:
        batch = stacked_batch(algorithm.minibatches(0, UPDATES))
        algorithm.learner_group.update(batch=batch)

    def by_loop() -> None:
        rows = algorithm.minibatches(0, UPDATES)
        columns = (Columns.OBS, Columns.ACTIONS, Columns.REWARDS, Columns.NEXT_OBS)
        tensors = [torch.as_tensor(rows[name]) for name in (*columns, Columns.TERMINATEDS)]
        folded = [each.unflatten(0, (UPDATES, -1)).transpose(1, 2) for each in tensors]
        for values in zip(*folded, strict=True):
            bare.update(*values)

    by_learner()
    by_loop()
    pairs = [(seconds(by_learner), seconds(by_loop)) for _ in range(REPEATS)]
    ours, theirs = (1e3 * statistics.median(each) / UPDATES for each in zip(*pairs, strict=True))
    ratios = sorted(a / b for a, b in pairs)
    print(
        f"an update: {ours:.2f} ms by the learner, {theirs:.2f} ms by the bare loop; ratio "
        f"{statistics.median(ratios):.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}"
    )


def actions(policy: DiffusionPolicy, observation: int) -> None:
    """Actions by N solver steps, by chains, and in one step; how often one goes into 50 of DDPM."""
    f = ConsistencyFunction(NoiseSchedule(torch.ones(1_000), "sample"))
    one = OneStepPolicy(policy.network, f, SolverGrid(20), 1.0)
    alone = AgentPolicy(one, 0, 3, torch.zeros(observation), torch.ones(observation), observation)
    exported = alone.torchscript(policy.m)
    own_chain = deepcopy(chain_of(policy, 50))
    own_chain.network = one_agent(policy.network, 0, 3)
    chain_50, chain_100 = chain_of(policy, 50), chain_of(policy, 100)
    for rows in (1, 400):
        o = torch.randn(3, rows, observation)
        ways = {
            f"{len(policy.solver.steps)} solver steps": lambda o=o: policy.act(o),
            "50 steps of DDPM": lambda o=o: chain_50.act(o),
            "100 steps of DDPM": lambda o=o: chain_100.act(o),
            "one step": lambda o=o: one(o, torch.randn(3, len(o[0]), policy.m)),
            "one agent by 50 steps of DDPM": lambda o=o: own_chain.act(o[:1]),
            "one agent's TorchScript": lambda o=o: exported(o[0], torch.randn(len(o[0]), policy.m)),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        with torch.no_grad():
            for _ in range(30):
                for name, act in ways.items():
                    times[name].append(seconds(act))
        median = {name: statistics.median(each) for name, each in times.items()}
        for name, each in median.items():
            chain = median[
                "one agent by 50 steps of DDPM" if "agent" in name else "50 steps of DDPM"
            ]
            print(f"an action, {rows} rows, {name}: {1e3 * each:.2f} ms, {chain / each:.1f}x")


def evaluation(algorithm: DOM2) -> None:
    start = time.perf_counter()
    seen = algorithm.play()
    print(f"{len(seen.returns)} episodes are evaluated in {time.perf_counter() - start:.2f} s")


def main() -> None:
    torch.set_num_threads(1)
    algorithm = DOM2(build_config(METHOD, TASK, "dom2", {"q_warmup": 0}, seed=0))
    algorithm.play()
    updates(algorithm)
    actions(algorithm.agents_module.target_policy, algorithm.transitions.obs.shape[2])
    evaluation(algorithm)


if __name__ == "__main__":
    main()
