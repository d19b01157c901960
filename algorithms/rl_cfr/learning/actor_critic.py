"""The actor-critic over abstractions: TD3 (Fujimoto et al. 2018) on vectors a in [-1, 1]^m.

    y = clip(r, +-c) + gamma (1 - d) min_k Q'_k(s', clip(pi'(s') + eps)),
                                                   eps ~ clip(N(0, sigma), +-2 sigma)
    critics:  minimise  sum_k huber(Q_k(s, a) - y)
    actor:    maximise  min_k Q_k(s, pi(s)), every `delay` updates; then the primed networks follow

An abstraction is a set, so a critic sees its components in ascending order: it cannot tell apart
two vectors that mean the same raises. Rewards are of the order of a thousandth of the pot, and bad
abstractions cost many times what good ones gain: unclipped, the critics spend themselves on how bad
the bad ones are. States are costly, so weights decay (AdamW) and the actor trusts the lower critic.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

ACTOR, CRITICS = "actor", "critics"
"""What the names of their arrays begin with."""

REWARD_UNIT = 1e-3
"""Of the pot: what the critics call 1."""


class Batch(NamedTuple):
    """Transitions; B of them, F features, m components.

    Attributes:
        features: (B, F) of the state s.
        actions: (B, m).
        rewards: (B,) in pots.
        following: (B, F) features of the next state s'; anything where there is none.
        done: (B,) 1 where the hand ended before another choice of raises.
    """

    features: NDArray[np.float32]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float32]
    following: NDArray[np.float32]
    done: NDArray[np.float32]


class Chooser(nn.Module):
    """From features (..., F) to abstractions (..., m)."""

    def act(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """The abstraction of one state, (F,) -> (m,)."""
        with torch.no_grad():
            action: NDArray[np.float32] = self(torch.from_numpy(features)).numpy()
        return action


class Actor(Chooser):
    """pi(s): the abstraction; before training its components are spread over [-0.4, 0.8]."""

    def __init__(self, features: int, m: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.net = perceptron([features, *hidden, m])
        last = self.net[-1]
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias.copy_(torch.atanh(torch.linspace(-0.4, 0.8, m)))

    def forward(self, features: Tensor) -> Tensor:
        return torch.tanh(self.net(features))  # (B, m)


class Critic(nn.Module):
    """Q(s, a) in units of `REWARD_UNIT`, symmetric in the components of a."""

    def __init__(self, features: int, m: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.net = perceptron([features + m, *hidden, 1])

    def forward(self, features: Tensor, actions: Tensor) -> Tensor:
        ordered = actions.sort(dim=1).values
        return self.net(torch.cat([features, ordered], dim=1)).squeeze(1)  # (B,)


class BestOfGrid(Chooser):
    """The abstraction of a finite grid (N, m) that critics value highest, on their mean.

    Ours, not the paper's: an actor climbs its critic's slope to one peak, and from few decisions to
    a false one; where the sets worth having are few enough to be listed, they can be compared.
    """

    def __init__(self, critics: nn.ModuleList, grid: NDArray[np.float32]) -> None:
        super().__init__()
        self.critics = critics
        self.register_buffer("grid", torch.from_numpy(grid))

    def forward(self, features: Tensor) -> Tensor:
        states = features.reshape(-1, features.shape[-1])
        count, (sets, m) = states.shape[0], self.grid.shape
        s = states[:, None].expand(-1, sets, -1).reshape(count * sets, -1)
        a = self.grid.expand(count, sets, m).reshape(count * sets, m)
        Q = torch.stack([critic(s, a) for critic in self.critics]).mean(dim=0)
        best = Q.reshape(*features.shape[:-1], sets).argmax(dim=-1)
        return self.grid[best]  # (..., m)


def make_critics(features: int, m: int, hidden: Sequence[int]) -> nn.ModuleList:
    """The twins."""
    return nn.ModuleList(Critic(features, m, hidden) for _ in range(2))


class ActorCritic:
    """Networks, their targets and optimisers; every number of them is in `arrays`.

    Args:
        features: F.
        m: Components of an abstraction.
        hidden: Widths of the hidden layers of all networks.
        lr: Learning rate of AdamW.
        weight_decay: Of AdamW.
        reward_clip: c, in units of `REWARD_UNIT`.
        gamma: Discount.
        sigma: Standard deviation of the noise on target actions.
        delay: Updates of the critics for one of the actor and the targets.
        tau: Share by which the targets follow.
        seed: Of the first weights.
    """

    def __init__(
        self,
        features: int,
        m: int,
        hidden: Sequence[int],
        lr: float,
        weight_decay: float,
        reward_clip: float,
        gamma: float,
        sigma: float,
        delay: int,
        tau: float,
        seed: int,
    ) -> None:
        self.gamma, self.sigma, self.delay, self.tau = gamma, sigma, delay, tau
        self.reward_clip = reward_clip
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.actor = Actor(features, m, hidden)
            self.critics = make_critics(features, m, hidden)
        self.target_actor = copy.deepcopy(self.actor)
        self.target_critics = copy.deepcopy(self.critics)
        self._optimisers = {
            name: adamw(module, lr, weight_decay)
            for name, module in ((ACTOR, self.actor), (CRITICS, self.critics))
        }
        self.updates = 0

    def update(self, batch: Batch, generator: torch.Generator) -> float:
        """One optimiser step of the critics, and of the actor if it is its turn.

        Returns:
            The critics' loss.
        """
        s, a, r, following, done = (torch.from_numpy(part) for part in batch)
        loss = self.critic_loss(s, a, self._targets(r, following, done, generator))
        self._step(CRITICS, loss)
        self.updates += 1
        if self.updates % self.delay == 0:
            self._step(ACTOR, -self._lower(self.critics, s, self.actor(s)).mean())
            self._follow()
        return float(loss.detach())

    def critic_loss(self, s: Tensor, a: Tensor, y: Tensor) -> Tensor:
        """sum_k huber(Q_k(s, a) - y), the mean over the batch."""
        return torch.stack([smooth_l1_loss(Q(s, a), y) for Q in self.critics]).sum()

    def _targets(
        self, r: Tensor, following: Tensor, done: Tensor, generator: torch.Generator
    ) -> Tensor:
        """y, (B,), in units of `REWARD_UNIT`."""
        r = (r / REWARD_UNIT).clamp(-self.reward_clip, self.reward_clip)
        if self.gamma == 0.0:
            return r
        with torch.no_grad():
            a = self.target_actor(following)
            noise = self.sigma * torch.randn(a.shape, generator=generator)
            a = (a + noise.clamp(-2 * self.sigma, 2 * self.sigma)).clamp(-1.0, 1.0)
            Q = self._lower(self.target_critics, following, a)
            return r + self.gamma * (1.0 - done) * Q

    @staticmethod
    def _lower(critics: nn.ModuleList, s: Tensor, a: Tensor) -> Tensor:
        """min_k Q_k(s, a), (B,)."""
        return torch.stack([Q(s, a) for Q in critics]).amin(dim=0)

    def _step(self, name: str, loss: Tensor) -> None:
        optimiser = self._optimisers[name]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    def _follow(self) -> None:
        pairs = ((self.target_actor, self.actor), (self.target_critics, self.critics))
        with torch.no_grad():
            for target, source in pairs:
                for slow, fast in zip(target.parameters(), source.parameters(), strict=True):
                    slow.lerp_(fast, self.tau)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every number that training changes, by name."""
        return {name: value.detach().numpy().copy() for name, value in self._tensors()}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Continue from `arrays`; other names among them are ignored."""
        with torch.no_grad():
            for name, value in self._tensors():
                value.copy_(torch.from_numpy(arrays[name]))

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        modules = {
            ACTOR: self.actor,
            CRITICS: self.critics,
            "target_actor": self.target_actor,
            "target_critics": self.target_critics,
        }
        return named_tensors(modules, self._optimisers)


def adamw(module: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW whose moments are there from the start, so that they can be loaded."""
    optimiser = torch.optim.AdamW(module.parameters(), lr=lr, weight_decay=weight_decay)
    for weight in optimiser.param_groups[0]["params"]:
        moments = {key: torch.zeros_like(weight) for key in ("exp_avg", "exp_avg_sq")}
        optimiser.state[weight] = {"step": torch.tensor(0.0), **moments}
    return optimiser


def named_tensors(
    modules: Mapping[str, nn.Module], optimisers: Mapping[str, torch.optim.AdamW]
) -> Iterator[tuple[str, Tensor]]:
    """Every weight of some modules and every moment of their optimisers, by name."""
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            yield f"{name}.{key}", value
    for name, optimiser in optimisers.items():
        for place, weight in enumerate(optimiser.param_groups[0]["params"]):
            for key, value in optimiser.state[weight].items():
                yield f"adam.{name}.{place}.{key}", value


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for width, after in pairwise(widths):
        layers += [nn.Linear(width, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
