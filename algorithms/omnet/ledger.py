"""What training costs, in floating-point operations: ideal (kept weights) and executed.

A forward pass through a network costs F, a backward pass 2 F, and one that only reaches the inputs
F. Sparse kernels would run the ideal number; dense kernels, which do not skip zeros, run the
executed one. Unit masks are run as small dense networks, so the two agree for them.
"""

from typing import Any

from tenfold.algorithms.omnet.module import OMNetModule


def critic_step_flops(module: OMNetModule, batch_size: int, *, executed: bool) -> float:
    """Floating-point operations of one gradient step of the critic.

    Args:
        module: What is trained.
        batch_size: Rows of a batch.
        executed: Count dense products as they run, or kept weights only.
    """
    told, network = module.told, module.qf.network
    trained = network.members if told["subnet_batch_mode"] == "all" else 1
    policy = module.pi.network.flops(1, executed)
    target = network.flops(told["target_subset"], executed)
    return batch_size * (policy + target + 3.0 * network.flops(trained, executed))


def actor_step_flops(module: OMNetModule, batch_size: int, *, executed: bool) -> float:
    """The same for one gradient step of the policy: through all members, not to their weights."""
    critic = module.qf.network.flops(module.qf.members, executed)
    return batch_size * (3.0 * module.pi.network.flops(1, executed) + 2.0 * critic)


def spent(module: OMNetModule, batch_size: int) -> dict[str, Any]:
    """Gradient steps and operations since the beginning, and the critic's size."""
    steps = int(module.critic_steps), int(module.actor_steps)
    found: dict[str, Any] = {
        "critic_steps": steps[0],
        "actor_steps": steps[1],
        "critic_parameters": sum(weights.numel() for weights in module.qf.parameters()),
        "policy_parameters": sum(weights.numel() for weights in module.pi.parameters()),
    }
    for name, executed in (("ideal_flops", False), ("executed_flops", True)):
        found[name] = steps[0] * critic_step_flops(module, batch_size, executed=executed)
        found[name] += steps[1] * actor_step_flops(module, batch_size, executed=executed)
    return found
