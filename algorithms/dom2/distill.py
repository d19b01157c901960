"""A one-step policy from a diffusion policy, by consistency distillation.

The student learns to jump from any point of the teacher's flow to its end: it must say the same of
b_t and of the b_t' to which one solver step of the teacher leads (Song et al., arXiv:2303.01469).
The core is that of `lcm`, on the plane of actions in place of latents: `consistency` counts times
0 .. T - 1, of which k is (k + 1) / T of the schedule's here. Points b_t are noised actions of the
teacher.
"""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn

from tenfold.algorithms.common.consistency import (
    Boundary,
    ConsistencyFunction,
    Network,
    NoiseSchedule,
    SolverGrid,
    consistency_loss,
    make_distance,
    solver_step,
    update_average,
)
from tenfold.algorithms.dom2.networks import NoiseMLP, NoiseMLPAtTime
from tenfold.algorithms.dom2.policies import DiffusionPolicy
from tenfold.algorithms.dom2.schedule import split

T = 1_000
_DECAY, _HUBER = 0.95, 1e-3


class AtTime(nn.Module):
    """A network at one time for ever."""

    def __init__(self, network: nn.Module, t: float) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("t", torch.tensor(t))
        self.t: Tensor

    def forward(self, b: Tensor, o: Tensor) -> Tensor:
        """The output at noisy actions (n, B, m) and observations (n, B, o)."""
        out: Tensor = self.network(b, o, self.t)
        return out


class OneStepPolicy(nn.Module):
    """f(b, t_N): an action from noise by one call of a network.

    Args:
        network: As the teacher's; it says the action.
        f: The consistency function.
        grid: What it was distilled on.
        end: Last time of the teacher's schedule.
    """

    def __init__(
        self, network: nn.Module, f: ConsistencyFunction, grid: SolverGrid, end: float
    ) -> None:
        super().__init__()
        k = grid.timesteps[-1:]
        self.t = float(k + 1) / T * end
        fixed = isinstance(network, NoiseMLP)
        self.network = NoiseMLPAtTime(network, self.t) if fixed else AtTime(network, self.t)
        self.c_skip, self.c_out = float(f.boundary.c_skip(k)), float(f.boundary.c_out(k))

    def forward(self, o: Tensor, noise: Tensor) -> Tensor:
        """Actions (n, B, m) at normalised observations (n, B, o) from noise (n, B, m)."""
        guess = self.network(noise, o)
        return (self.c_skip * noise + self.c_out * guess).clamp(-1, 1)


def distil(
    teacher: DiffusionPolicy,
    observations: Callable[[int], Tensor],
    updates: int,
    solver_steps: int,
    lr: float,
    seed: int,
) -> OneStepPolicy:
    """The student of a teacher.

    Args:
        teacher: In evaluation mode.
        observations: Update -> normalised observations, (n, B, o).
        updates: How many.
        solver_steps: Steps N of the grid on which the teacher's flow is followed.
        lr: Learning rate.
        seed: Of noise and times.
    """
    torch.manual_seed(seed)
    end = teacher.schedule.end
    alpha, _ = teacher.schedule.alpha_sigma(_time(torch.arange(T), end))
    schedule = NoiseSchedule((alpha**2).float(), "sample")
    grid, f = SolverGrid(solver_steps, T), ConsistencyFunction(schedule, Boundary())
    student = deepcopy(teacher.network).train().requires_grad_(True)
    if teacher.prediction != "sample":  # the student says the action, so it starts anew
        for module in student.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    average = deepcopy(student).eval().requires_grad_(False)
    optimizer = torch.optim.Adam(student.parameters(), lr=lr)
    schedule_of_lr = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    distance = make_distance("huber", _HUBER)
    for update in range(updates):
        o = observations(update)
        z, i = _points(teacher, schedule, grid, o)
        t, t_next = grid.timesteps[i], grid.successors[i]
        with torch.no_grad():
            x0 = _action_of(teacher, o, z, t)
            z_next = solver_step(schedule, grid, i, z, x0, x0, torch.zeros(len(z)))
        loss = consistency_loss(
            f, _at(student, o, end), _at(average, o, end), z, t, z_next, t_next, distance
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule_of_lr.step()
        update_average(list(average.parameters()), list(student.parameters()), _DECAY)
    return OneStepPolicy(average, f, grid, end)


def _points(
    teacher: DiffusionPolicy, schedule: NoiseSchedule, grid: SolverGrid, o: Tensor
) -> tuple[Tensor, Tensor]:
    """Points (n B, m) of the teacher's flow at random places of the grid, and the places (n B,)."""
    with torch.no_grad():
        a = teacher.act(o).flatten(0, 1)
    i = torch.randint(0, grid.N, (len(a),))
    return schedule.noised(a, torch.randn_like(a), grid.timesteps[i]), i


def _action_of(teacher: DiffusionPolicy, o: Tensor, z: Tensor, t: Tensor) -> Tensor:
    """The action (n B, m) that the teacher sees in points z."""
    end = teacher.schedule.end
    alpha, sigma = (x.float()[:, None] for x in teacher.schedule.alpha_sigma(_time(t, end)))
    output = _at(teacher.network, o, end)(z, t)
    return split(teacher.prediction, output, z, alpha, sigma, teacher.solver.clip_x0)[0]


def _time(t: Tensor, end: float) -> Tensor:
    """The schedule's times of `consistency`'s."""
    return (t + 1).double() / T * end


def _at(network: nn.Module, o: Tensor, end: float) -> Network:
    """A stacked network at fixed observations, as `consistency` takes it."""
    n, B, _ = o.shape

    def said(z: Tensor, t: Tensor) -> Tensor:
        out: Tensor = network(z.view(n, B, -1), o, _time(t, end).float().view(n, B))
        return out.flatten(0, 1)

    return said


def one_agent(stacked: nn.Module, j: int, agents: int) -> nn.Module:
    """A copy of stacked networks that holds agent j's alone; a shared one is everybody's."""
    single = deepcopy(stacked)
    for module in single.modules():
        for name, value in list(module._parameters.items()):
            if value is not None and len(value) == agents > 1:
                own = value[j : j + 1].detach().clone()
                module._parameters[name] = nn.Parameter(own, requires_grad=False)
    return single


class AgentPolicy(nn.Module):
    """One agent's policy by itself, as it is exported: raw observations in, actions out.

    Args:
        policy: Of all agents.
        j: Which agent.
        agents: How many there are.
        mean: Of its observations, (o,); std likewise.
        size: Width of what it observes, without padding.
    """

    def __init__(
        self, policy: OneStepPolicy, j: int, agents: int, mean: Tensor, std: Tensor, size: int
    ) -> None:
        super().__init__()
        self.policy, self.padding = one_agent(policy, j, agents), len(mean) - size
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())
        self.mean: Tensor
        self.std: Tensor

    def forward(self, obs: Tensor, noise: Tensor) -> Tensor:
        """Actions (B, m) at observations (B, o) from standard normal noise (B, m)."""
        padded = torch.nn.functional.pad(obs, (0, self.padding))
        o = (padded - self.mean) / self.std
        out: Tensor = self.policy(o[None], noise[None])[0]
        return out

    def torchscript(self, m: int) -> torch.jit.ScriptModule:
        """The same as TorchScript, its constants (the embedding of t_N) computed once.

        Args:
            m: Size of an action.
        """
        size = len(self.mean) - self.padding
        with torch.no_grad():
            traced = torch.jit.trace(self.eval(), (torch.zeros(2, size), torch.zeros(2, m)))
        return torch.jit.freeze(traced)
