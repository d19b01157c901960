"""Sharpness of a minimiser: the trace of the loss's Hessian by Hutchinson's estimator."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel


def hessian_trace(
    module: nn.Module, loss: Callable[[], torch.Tensor], samples: int, seed: int
) -> float:
    """Mean of v' H v over Rademacher probes v; its expectation is the trace of H.

    Args:
        module: The model whose parameters the Hessian is of.
        loss: Its loss on a batch, recomputed at every call.
        samples: Number of probes.
        seed: Of the probes.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    generator = torch.Generator().manual_seed(seed)
    with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
        gradients = torch.autograd.grad(loss(), parameters, create_graph=True)
    total = 0.0
    for _ in range(samples):
        probes = [
            torch.randint(0, 2, p.shape, generator=generator).to(p.device, p.dtype) * 2 - 1
            for p in parameters
        ]
        products = torch.autograd.grad(gradients, parameters, probes, retain_graph=True)
        total += sum(float((v * p).sum()) for v, p in zip(probes, products, strict=True))
    return total / samples
