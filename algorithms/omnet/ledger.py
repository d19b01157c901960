"""What training costs, in floating-point operations: ideal (kept weights) and executed.

A forward pass through a network costs F, a backward pass 2 F, and one that only reaches the inputs
F. Sparse kernels would run the ideal number; dense kernels, which do not skip zeros, run the
executed one. Unit masks are run as small dense networks, so the two agree for them.
"""

from typing import Any, Protocol

import torch

from tenfold.algorithms.omnet.critic import EnsembleCritic
from tenfold.algorithms.omnet.policy import SubnetworkPolicy


class Counted(Protocol):
    """What is asked of a module, whatever the base algorithm.

    Attributes:
        told: Keys of the config that shape the module.
        qf: The critic.
        pi: The policy, if it has a network of its own.
        critic_steps: Gradient steps of the critic so far.
        actor_steps: Those of the policy.
        online_targets: Members of the online critic that a target asks beside those of its own.
    """

    told: dict[str, Any]
    qf: EnsembleCritic
    pi: SubnetworkPolicy | None
    critic_steps: torch.Tensor
    actor_steps: torch.Tensor
    online_targets: int


def critic_step_flops(module: Counted, batch_size: int, *, executed: bool) -> float:
    """Floating-point operations of one gradient step of the critic.

    Args:
        module: What is trained.
        batch_size: Rows of a batch.
        executed: Count dense products as they run, or kept weights only.
    """
    told, network = module.told, module.qf.network
    trained = network.members if told["subnet_batch_mode"] == "all" else 1
    target = network.flops(told["target_subset"], executed)
    if module.online_targets:
        target += network.flops(module.online_targets, executed)
    if module.pi is not None:
        target += module.pi.network.flops(1, executed)
    return batch_size * (target + 3.0 * network.flops(trained, executed))


def actor_step_flops(module: Counted, batch_size: int, *, executed: bool) -> float:
    """The same for one gradient step of the policy: through all members, not to their weights."""
    if module.pi is None:
        return 0.0
    critic = module.qf.network.flops(module.qf.members, executed)
    return batch_size * (3.0 * module.pi.network.flops(1, executed) + 2.0 * critic)


def spent(module: Counted, batch_size: int) -> dict[str, Any]:
    """Gradient steps and operations since the beginning, and the critic's size."""
    steps = int(module.critic_steps), int(module.actor_steps)
    found: dict[str, Any] = {
        "critic_steps": steps[0],
        "actor_steps": steps[1],
        "critic_parameters": sum(weights.numel() for weights in module.qf.parameters()),
    }
    if module.pi is not None:
        found["policy_parameters"] = sum(weights.numel() for weights in module.pi.parameters())
    for name, executed in (("ideal_flops", False), ("executed_flops", True)):
        found[name] = steps[0] * critic_step_flops(module, batch_size, executed=executed)
        found[name] += steps[1] * actor_step_flops(module, batch_size, executed=executed)
    return found
