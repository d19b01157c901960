"""The policies of all agents: by diffusion, and the Gaussian and deterministic ones of baselines.

Each takes observations (n, B, o), agent axis first, and has

    bc_loss(o, a, weight)   how far it is from the data, (n,), the mean over rows and entries
    act(o)                  actions in [-1, 1], (n, B, m), through which gradients flow
    size(o)                 how far its tanh is from where it is steep, (n,)
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from tenfold.algorithms.dom2.networks import (
    ACTIVATIONS,
    Activation,
    NoiseMLP,
    NoiseNetName,
    NoiseUNet,
    StackedMLP,
)
from tenfold.algorithms.dom2.schedule import (
    Prediction,
    Schedule,
    ScheduleName,
    Spacing,
    split,
    target_of,
)
from tenfold.algorithms.dom2.solver import Solver, SolverName

PolicyName = Literal["diffusion", "gaussian", "deterministic"]
Backprop = Literal["all", "last", "one_step"]
_SMALL = 3e-3  # OMAR's last layers start small, so that tanh is steep


class Shared(nn.Module):
    """One network for all agents, where n stacked ones are expected.

    Args:
        network: Stacked, of one agent.
        axis: Where the agent axis of its output is.
    """

    def __init__(self, network: nn.Module, axis: int = 0) -> None:
        super().__init__()
        self.network, self.axis = network, axis

    def forward(self, *inputs: Tensor) -> Tensor:
        """Inputs (n, B, ...) as one agent's (1, n B, ...); a time () stays."""
        n = inputs[0].shape[0]
        folded = [x if x.dim() == 0 else x.reshape(1, -1, *x.shape[2:]) for x in inputs]
        out: Tensor = self.network(*folded)
        before, after = out.shape[: self.axis], out.shape[self.axis + 2 :]
        return out.reshape(*before, n, -1, *after)


class DiffusionPolicy(nn.Module):
    """b_1 ~ N(0, I), then N solver steps on the agent's own observation.

    Args:
        network: (b, o, t) -> output.
        m: Size of an action.
        schedule: alpha and sigma.
        prediction: What the network says.
        solver: Takes the steps.
        backprop: Gradients of `act` flow through all steps or through the last one; ``one_step``
            is EDP's approximation (arXiv:2305.20081): the network's guess of the action from one
            noisy recorded action.
        t_min: Least time of training.
    """

    def __init__(
        self,
        network: nn.Module,
        m: int,
        schedule: Schedule,
        prediction: Prediction,
        solver: Solver,
        backprop: Backprop,
        t_min: float,
    ) -> None:
        super().__init__()
        self.network, self.m = network, m
        self.schedule, self.prediction, self.solver = schedule, prediction, solver
        self.backprop, self.t_min = backprop, t_min

    def _noised(self, a: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """b, noise, t (n, B), alpha_t and sigma_t (n, B, 1) for actions."""
        t = self.schedule.training_times((a.shape[0], a.shape[1]), self.t_min, a.device)
        alpha, sigma = (x[..., None] for x in self.schedule.alpha_sigma(t))
        xi = torch.randn_like(a)
        return alpha * a + sigma * xi, xi, t, alpha, sigma

    def bc_loss(self, o: Tensor, a: Tensor, weight: Tensor | None = None) -> Tensor:
        """E || target - output(alpha_t a + sigma_t xi, o, t) ||^2, the mean over entries, (n,)."""
        b, xi, t, alpha, sigma = self._noised(a)
        target = target_of(self.prediction, a, xi, alpha, sigma)
        error = (self.network(b, o, t) - target).square().mean(dim=-1)
        return _weighted(error, weight)

    def sample(self, o: Tensor, noise: Tensor | None = None) -> Tensor:
        """b_{t_0}, (n, B, m), before it is clipped to [-1, 1]."""
        b = torch.randn(*o.shape[:2], self.m, device=o.device) if noise is None else noise
        last = None if self.backprop == "all" else 1
        return self.solver.sample(lambda b, t: self.network(b, o, t), b, last)

    def act(self, o: Tensor) -> Tensor:
        """Actions, (n, B, m)."""
        return self.sample(o).clamp(-1, 1)

    def act_for_gradient(self, o: Tensor, a: Tensor) -> Tensor:
        """Actions whose Q-value the policy is to raise, (n, B, m).

        Args:
            o: Observations.
            a: The recorded actions there.
        """
        if self.backprop != "one_step":
            return self.act(o)
        b, _, t, alpha, sigma = self._noised(a)
        guess, _ = split(self.prediction, self.network(b, o, t), b, alpha, sigma, clip=False)
        return guess.clamp(-1, 1)

    def size(self, o: Tensor) -> Tensor:
        """0 for each agent: no tanh saturates here."""
        return torch.zeros(len(o), device=o.device)


class GaussianPolicy(nn.Module):
    """N(tanh f(o), diag s(o)^2); it acts by the mean, and is fitted by likelihood."""

    def __init__(self, network: nn.Module, m: int) -> None:
        super().__init__()
        self.network, self.m = network, m

    def gaussian(self, o: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log deviation, each (n, B, m)."""
        mean, log_std = self.network(o).split(self.m, dim=-1)
        return mean.tanh(), log_std.clamp(-5.0, 2.0)

    def bc_loss(self, o: Tensor, a: Tensor, weight: Tensor | None = None) -> Tensor:
        """- log density of the recorded actions, the mean over entries, (n,)."""
        mean, log_std = self.gaussian(o)
        error = 0.5 * ((a - mean) / log_std.exp()).square() + log_std + 0.5 * math.log(2 * math.pi)
        return _weighted(error.mean(dim=-1), weight)

    def act(self, o: Tensor) -> Tensor:
        """The mean, (n, B, m)."""
        return self.gaussian(o)[0]

    def act_for_gradient(self, o: Tensor, a: Tensor) -> Tensor:
        """The mean, (n, B, m)."""
        return self.act(o)

    def size(self, o: Tensor) -> Tensor:
        """f(o)^2, the mean over rows and entries, (n,)."""
        return _squares(self.network(o)[..., : self.m])


class DeterministicPolicy(nn.Module):
    """tanh f(o), fitted by least squares."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def bc_loss(self, o: Tensor, a: Tensor, weight: Tensor | None = None) -> Tensor:
        """(a - tanh f(o))^2, the mean over entries, (n,)."""
        return _weighted((self.act(o) - a).square().mean(dim=-1), weight)

    def act(self, o: Tensor) -> Tensor:
        """Actions, (n, B, m)."""
        out: Tensor = self.network(o).tanh()
        return out

    def act_for_gradient(self, o: Tensor, a: Tensor) -> Tensor:
        """Actions, (n, B, m)."""
        return self.act(o)

    def size(self, o: Tensor) -> Tensor:
        """f(o)^2, the mean over rows and entries, (n,)."""
        return _squares(self.network(o))


Policy = DiffusionPolicy | GaussianPolicy | DeterministicPolicy


def _squares(x: Tensor) -> Tensor:
    return x.square().mean(dim=(1, 2))


def _weighted(error: Tensor, weight: Tensor | None) -> Tensor:
    """The mean over rows of errors (n, B), each times its weight."""
    return (error if weight is None else error * weight).mean(dim=-1)


def make_noise_network(c: "PolicyDesign", n: int, o: int, m: int) -> nn.Module:
    """The noise networks of n agents, see `make_policy`."""
    if c.noise_net == "mlp":
        return NoiseMLP(n, o, m, c.hidden, c.time_embed, c.activation)
    return NoiseUNet(n, o, m, c.hidden, c.time_embed, c.dropout)


def make_policy(c: "PolicyDesign", n: int, o: int, m: int) -> Policy:
    """The policies of n agents.

    Args:
        c: Which ones; a config of the method is one.
        n: Networks: agents, or 1 where they share one.
        o: Width of observations.
        m: Width of actions.
    """
    if c.policy == "diffusion":
        schedule = Schedule(c.schedule, c.beta0, c.beta1, c.train_steps_T)
        solver = Solver(
            schedule,
            c.prediction_type,
            c.solver,
            c.solver_steps,
            c.time_spacing,
            c.t_min,
            c.clip_x0,
        )
        network = make_noise_network(c, n, o, m)
        net = Shared(network) if c.share_parameters else network
        return DiffusionPolicy(
            net, m, schedule, c.prediction_type, solver, c.backprop_steps, c.t_min
        )
    outputs = 2 * m if c.policy == "gaussian" else m
    mlp = StackedMLP(n, [o, c.hidden, c.hidden, c.hidden, outputs], ACTIVATIONS[c.activation])
    nn.init.uniform_(mlp.layers[-1].weight, -_SMALL, _SMALL)
    plain: nn.Module = Shared(mlp) if c.share_parameters else mlp
    return GaussianPolicy(plain, m) if c.policy == "gaussian" else DeterministicPolicy(plain)


class PolicyDesign:
    """What `make_policy` reads of a config."""

    policy: PolicyName
    noise_net: NoiseNetName
    hidden: int
    time_embed: int
    dropout: float
    activation: Activation
    schedule: ScheduleName
    beta0: float
    beta1: float
    train_steps_T: int
    prediction_type: Prediction
    solver: SolverName
    solver_steps: int
    time_spacing: Spacing
    t_min: float
    clip_x0: bool
    backprop_steps: Backprop
    share_parameters: bool
