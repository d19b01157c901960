"""Networks of all agents at once: each weight carries an agent axis, each layer is one product.

Inputs are (n, B, in): agent, row, feature. `StackedLinear` is what n separate `nn.Linear` are, so
that agents share nothing and learn as if alone. Here are the plain MLP of Diffusion-QL
(arXiv:2208.06193), the U-shaped MLP of SfBC (arXiv:2209.14548) with dropout, and the critics.
"""

import math
from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

NoiseNetName = Literal["mlp", "unet_mlp"]
Activation = Literal["silu", "mish", "relu"]
ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "relu": nn.ReLU,
}


class StackedLinear(nn.Module):
    """n linear layers; initialised as n times `nn.Linear`."""

    def __init__(self, n: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n, inputs, outputs))
        self.bias = nn.Parameter(torch.empty(n, 1, outputs))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """(n, B, inputs) -> (n, B, outputs)."""
        return torch.baddbmm(self.bias, x, self.weight)


class StackedMLP(nn.Module):
    """Linear layers with an activation between them.

    Args:
        n: Agents.
        sizes: Of the input, the hidden layers and the output.
        activation: Between two layers.
    """

    def __init__(self, n: int, sizes: Sequence[int], activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [StackedLinear(n, inputs, outputs), activation()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """(n, B, sizes[0]) -> (n, B, sizes[-1])."""
        out: Tensor = self.layers(x)
        return out


class Sinusoidal(nn.Module):
    """Times as sines and cosines, as transformers have positions; t is scaled by 1,000."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        frequencies = torch.exp(-math.log(10_000) * torch.arange(half) / max(half - 1, 1))
        self.register_buffer("frequencies", 1_000 * frequencies, persistent=False)
        self.frequencies: Tensor

    def forward(self, t: Tensor) -> Tensor:
        """(...) -> (..., width)."""
        angles = t[..., None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class GaussianFourier(nn.Module):
    """Times as sines and cosines of random frequencies (deviation 30), which do not learn."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2 * math.pi * 30 * torch.randn(width // 2))
        self.frequencies: Tensor

    def forward(self, t: Tensor) -> Tensor:
        """(...) -> (..., width)."""
        angles = t[..., None] * self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


def _spread(t: Tensor, b: Tensor) -> Tensor:
    """Times (n, B) or () as (n, B) or (n, 1)."""
    return t if t.dim() == 2 else t.expand(b.shape[0], 1)


class NoiseMLP(nn.Module):
    """[b, embedding of t, o] -> 3 x hidden -> m: the noise network of Diffusion-QL."""

    def __init__(
        self, n: int, o: int, m: int, hidden: int, time_embed: int, activation: Activation
    ) -> None:
        super().__init__()
        act = ACTIVATIONS[activation]
        self.embed = Sinusoidal(time_embed)
        self.time = StackedMLP(n, [time_embed, 2 * time_embed, time_embed], act)
        self.net = StackedMLP(n, [m + time_embed + o, hidden, hidden, hidden, m], act)

    def forward(self, b: Tensor, o: Tensor, t: Tensor) -> Tensor:
        """The output at noisy actions.

        Args:
            b: (n, B, m).
            o: Observations, (n, B, o).
            t: (n, B), or () for all the same.
        """
        e = self.time(self.embed(_spread(t, b))).expand(-1, b.shape[1], -1)
        out: Tensor = self.net(torch.cat([b, e, o], dim=-1))
        return out


class NoiseMLPAtTime(nn.Module):
    """A `NoiseMLP` at one time for ever: what it adds to the first layer is part of its bias.

    Args:
        network: The network.
        t: The time.
    """

    def __init__(self, network: NoiseMLP, t: float) -> None:
        super().__init__()
        first, *rest = network.net.layers
        n, inputs, hidden = first.weight.shape
        with torch.no_grad():
            e = network.time(network.embed(torch.full((n, 1), t)))  # (n, 1, time_embed)
            m = rest[-1].weight.shape[2]
            of_b, of_e, of_o = first.weight.split([m, e.shape[2], inputs - m - e.shape[2]], dim=1)
            self.first = StackedLinear(n, inputs - e.shape[2], hidden)
            self.first.weight.copy_(torch.cat([of_b, of_o], dim=1))
            self.first.bias.copy_(first.bias + torch.bmm(e, of_e))
        self.rest = nn.Sequential(*deepcopy(rest))

    def forward(self, b: Tensor, o: Tensor) -> Tensor:
        """The output at noisy actions (n, B, m) and observations (n, B, o)."""
        out: Tensor = self.rest(self.first(torch.cat([b, o], dim=-1)))
        return out


class _Block(nn.Module):
    """[linear, dropout, SiLU], + linear(SiLU(e)), [linear, dropout, SiLU], + skip."""

    def __init__(self, n: int, inputs: int, outputs: int, condition: int, dropout: float) -> None:
        super().__init__()
        self.first, self.second = (
            StackedLinear(n, inputs, outputs),
            StackedLinear(n, outputs, outputs),
        )
        self.condition = StackedLinear(n, condition, outputs)
        self.skip = StackedLinear(n, inputs, outputs) if inputs != outputs else nn.Identity()
        self.dropout, self.act = nn.Dropout(dropout), nn.SiLU()

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        h = self.act(self.dropout(self.first(x))) + self.condition(self.act(e))
        out: Tensor = self.act(self.dropout(self.second(h))) + self.skip(x)
        return out


class NoiseUNet(nn.Module):
    """SfBC's U-shaped MLP: widths 2h, h, h/2 down, h/2, and up again with concatenated skips.

    With hidden h = 256 the widths are those of the reference, 512, 256, 128.
    """

    def __init__(
        self, n: int, o: int, m: int, hidden: int, time_embed: int, dropout: float
    ) -> None:
        super().__init__()
        e = hidden // 2
        self.fourier = GaussianFourier(time_embed)
        self.time = StackedLinear(n, time_embed, time_embed)
        self.observation = StackedLinear(n, o, 32)
        self.condition = StackedMLP(n, [time_embed + 32, e, e], nn.SiLU)
        wide, middle, narrow = 2 * hidden, hidden, hidden // 2
        self.down = nn.ModuleList(
            [
                _Block(n, m, wide, e, dropout),
                _Block(n, wide, middle, e, dropout),
                _Block(n, middle, narrow, e, dropout),
            ]
        )
        self.middle = _Block(n, narrow, narrow, e, dropout)
        self.up = nn.ModuleList(
            [
                _Block(n, narrow + narrow, middle, e, dropout),
                _Block(n, middle + middle, wide, e, dropout),
            ]
        )
        self.out = StackedLinear(n, wide + wide, m)
        self.act = nn.SiLU()

    def forward(self, b: Tensor, o: Tensor, t: Tensor) -> Tensor:
        """As `NoiseMLP.forward`."""
        time = self.time(self.fourier(_spread(t, b))).expand(-1, b.shape[1], -1)
        seen = self.act(self.observation(o))
        e = self.condition(torch.cat([time, seen], dim=-1))
        skips, h = [], b
        for block in self.down:
            h = block(h, e)
            skips.append(h)
        h = self.middle(h, e)
        for block in self.up:
            h = block(torch.cat([h, skips.pop()], dim=-1), e)
        out: Tensor = self.out(torch.cat([h, skips.pop()], dim=-1))
        return out


class StackedCritic(nn.Module):
    """K critics an agent; many actions at one observation share what is computed of it.

    The first layer is linear in [o, a], so that the part of o is computed once for all S actions:
    conservative terms ask for tens of actions at each observation.

    Args:
        K: Critics an agent.
        n: Agents.
        o: Width of observations.
        m: Width of actions.
        hidden: Units of each of three layers.
    """

    def __init__(self, K: int, n: int, o: int, m: int, hidden: int) -> None:
        super().__init__()
        self.K, self.n = K, n
        self.first = StackedLinear(K * n, o + m, hidden)
        self.rest = StackedMLP(K * n, [hidden, hidden, hidden, 1], nn.ReLU)
        self.o = o

    def forward(self, o: Tensor, a: Tensor) -> Tensor:
        """Q_{j,k}(o, a), (K, n, B, S), of observations (n, B, o) and actions (n, B, S, m)."""
        n, B, S, m = a.shape
        weight_o, weight_a = self.first.weight.split([self.o, m], dim=1)
        seen = torch.baddbmm(self.first.bias, o.repeat(self.K, 1, 1), weight_o)  # (K n, B, h)
        acted = torch.bmm(a.reshape(n, B * S, m).repeat(self.K, 1, 1), weight_a)
        h = torch.relu(seen[:, :, None] + acted.unflatten(1, (B, S)))
        q: Tensor = self.rest(h.flatten(1, 2))
        return q.view(self.K, n, B, S)
