"""Training of the value networks: samples of solved subgames by street, and their networks."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tenfold.algorithms.rl_cfr.learning.actor_critic import adamw, named_tensors
from tenfold.algorithms.rl_cfr.learning.value_network import CONTEXT, ValueNetwork, ValueSamples

PREFIX = "values."
"""Of the names of the networks' weights in a checkpoint."""


class ValueLearner:
    """A value network a street, each with a buffer of the newest samples.

    Args:
        streets: Those whose starts are valued.
        hidden: Widths of the networks' hidden layers.
        lr: Learning rate of AdamW.
        batch_size: Samples of an update.
        buffer_size: Samples that are kept of a street.
        updates_per_sample: Updates that a new sample pays for.
        seed: Of the first weights and of the batches.

    Attributes:
        networks: Street -> network.
        seen: Street -> samples so far.
        loss: Mean over the last updates; 0 before the first.
    """

    def __init__(
        self,
        streets: Sequence[int],
        hidden: Sequence[int],
        lr: float,
        batch_size: int,
        buffer_size: int,
        updates_per_sample: float,
        seed: int,
    ) -> None:
        self.networks = make_networks(streets, hidden, seed)
        self.seen = dict.fromkeys(streets, 0)
        self.loss = 0.0
        self._batch_size, self._buffer_size = batch_size, buffer_size
        self._updates_per_sample, self._seed = updates_per_sample, seed
        self._optimisers = {
            street: adamw(network, lr, weight_decay=0.0)
            for street, network in self.networks.items()
        }
        self.buffers = {street: _no_samples(net) for street, net in self.networks.items()}

    def learn(self, street: int, samples: Sequence[ValueSamples]) -> None:
        """Remember the samples of a street and update its network."""
        if not samples:
            return
        columns = zip(self.buffers[street], *samples, strict=True)
        kept = [np.concatenate(column)[-self._buffer_size :] for column in columns]
        self.buffers[street] = ValueSamples(*kept)
        self.seen[street] += len(samples)
        rng = np.random.default_rng((self._seed, street, self.seen[street]))
        network, optimiser, losses = self.networks[street], self._optimisers[street], []
        for _ in range(max(1, round(self._updates_per_sample * len(samples)))):
            rows = rng.integers(len(kept[0]), size=self._batch_size)
            loss = network.loss(ValueSamples(*(column[rows] for column in kept)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        self.loss = float(np.mean(losses))

    def weights(self) -> dict[str, NDArray[Any]]:
        """The networks' weights alone: all that solving needs."""
        tensors = _network_tensors(self.networks)
        return {name: value.detach().numpy().copy() for name, value in tensors}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Every array that training changes, by name."""
        tensors = {name: value.detach().numpy().copy() for name, value in self._tensors()}
        return tensors | {
            f"value_buffer.{street}.{name}": column
            for street, buffer in self.buffers.items()
            for name, column in buffer._asdict().items()
        }

    def load(self, arrays: Mapping[str, NDArray[Any]], seen: Mapping[str, int]) -> None:
        """Continue from `arrays` and `seen`, the keys of which JSON has made text."""
        with torch.no_grad():
            for name, value in self._tensors():
                value.copy_(torch.from_numpy(arrays[name]))
        self.seen = {int(street): count for street, count in seen.items()}
        for street in self.networks:
            columns = (arrays[f"value_buffer.{street}.{name}"] for name in ValueSamples._fields)
            self.buffers[street] = ValueSamples(*columns)

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from _network_tensors(self.networks)
        optimisers = {f"{PREFIX}{street}": each for street, each in self._optimisers.items()}
        yield from named_tensors({}, optimisers)


def make_networks(
    streets: Sequence[int], hidden: Sequence[int], seed: int = 0
) -> dict[int, ValueNetwork]:
    """Untrained networks: they say that nobody bets."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {street: ValueNetwork(street, hidden) for street in streets}


def read_networks(
    streets: Sequence[int], hidden: Sequence[int], arrays: Mapping[str, NDArray[Any]]
) -> dict[int, ValueNetwork]:
    """The networks whose weights are among the arrays of `ValueLearner.weights`."""
    networks = make_networks(streets, hidden)
    with torch.no_grad():
        for name, value in _network_tensors(networks):
            value.copy_(torch.from_numpy(arrays[name]))
    return networks


def _network_tensors(networks: Mapping[int, nn.Module]) -> Iterator[tuple[str, Tensor]]:
    return named_tensors({f"{PREFIX}{street}": net for street, net in networks.items()}, {})


def _no_samples(network: ValueNetwork) -> ValueSamples:
    pair = np.zeros((0, 2, network.B), np.float32)
    return ValueSamples(pair, pair, np.zeros((0, CONTEXT), np.float32), pair, pair)
