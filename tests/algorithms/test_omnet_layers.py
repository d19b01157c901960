"""Masked layers against separate networks, compact against masked. Costs two processor seconds."""

import copy

import pytest
import torch
from torch import nn

from tenfold.algorithms.omnet.critic import EnsembleCritic
from tenfold.algorithms.omnet.layers import SubnetworkMLP
from tenfold.algorithms.omnet.masks import MaskScheme

SIZES = [5, 16, 12, 2]
WEIGHTS = MaskScheme(4, 0.5, seed=1)
UNITS = MaskScheme(4, 0.5, granularity="unit", overlap="balanced")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def dense_mask(network: SubnetworkMLP, layer: int, k: int) -> torch.Tensor:
    """The mask of one layer's weights (I, O), also where it is one of units."""
    shape = network.layers[layer].weight.shape[1:]
    if network.masks.units:
        mask = torch.zeros(shape)
        inner = network.layers[layer]
        mask[inner.rows[k][:, None], inner.columns[k][None]] = 1.0
        return mask
    drawn = network.masks.weights[layer]
    return torch.ones(shape) if drawn is None else torch.as_tensor(drawn[k]).float()


def separate(network: SubnetworkMLP, e: int) -> nn.Sequential:
    """Member e as a plain network of its own; units that it leaves out have no way on."""
    copy, k = divmod(e, network.scheme.num_subnets)
    made: list[nn.Module] = []
    for i, layer in enumerate(network.layers):
        plain = nn.Linear(*layer.weight.shape[1:])
        plain.weight.data = (layer.weight[copy] * dense_mask(network, i, k)).T.detach().clone()
        plain.bias.data = layer.bias[copy, 0].detach().clone()
        made += [plain, nn.ReLU()]
    return nn.Sequential(*made[:-1])


@pytest.mark.parametrize("scheme", [WEIGHTS, UNITS], ids=["weight", "unit"])
@pytest.mark.parametrize("copies", [1, 2])
def test_values_and_gradients_are_those_of_separate_networks_with_tied_weights(scheme, copies):
    network = SubnetworkMLP(SIZES, copies, scheme)
    x = torch.randn(7, 5)
    goal = torch.randn(network.members, 7, 2)
    out = network(x)
    ((out - goal) ** 2).sum().backward()
    tied = [torch.zeros_like(layer.weight) for layer in network.layers]
    for e in range(network.members):
        alone = separate(network, e)
        own = alone(x)
        torch.testing.assert_close(out[e], own)
        ((own - goal[e]) ** 2).sum().backward()
        copy, k = divmod(e, scheme.num_subnets)
        for i, plain in enumerate(m for m in alone if isinstance(m, nn.Linear)):
            tied[i][copy] += plain.weight.grad.T * dense_mask(network, i, k)
    for layer, gradient in zip(network.layers, tied, strict=True):
        torch.testing.assert_close(layer.weight.grad, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scheme", [WEIGHTS, UNITS, MaskScheme()], ids=["weight", "unit", "dense"])
def test_chosen_members_are_those_of_all(scheme):
    network = SubnetworkMLP(SIZES, 3, scheme)
    x, chosen = torch.randn(7, 5), torch.tensor([2, 0])
    torch.testing.assert_close(network(x, chosen), network(x)[chosen])
    sliced = torch.randn(network.members, 6, 5)
    for e, values in enumerate(network(sliced)):
        torch.testing.assert_close(values, network(sliced[e])[e])


@torch.no_grad()
def test_a_runner_acts_by_the_weights_that_it_was_given_last():
    acting, learnt = SubnetworkMLP(SIZES, 1, WEIGHTS), SubnetworkMLP(SIZES, 1, WEIGHTS)
    for layer in acting.layers:
        layer.frozen = True
    x = torch.randn(3, 5)
    assert not torch.allclose(acting(x), learnt(x))
    torch._foreach_copy_(list(acting.parameters()), list(learnt.parameters()))
    torch.testing.assert_close(acting(x), learnt(x))
    other = SubnetworkMLP(SIZES, 1, WEIGHTS)
    acting.load_state_dict(other.state_dict())
    torch.testing.assert_close(acting(x), other(x))
    torch.testing.assert_close(copy.deepcopy(acting)(x), other(x))


def test_layer_normalisation_is_over_the_units_that_a_member_keeps():
    network = SubnetworkMLP(SIZES, 1, UNITS, layer_norm=True)
    nn.init.normal_(network.gains[0])
    nn.init.normal_(network.shifts[0])
    x, k = torch.randn(7, 5), 2
    first = network.layers[0]
    kept = first.columns[k]
    hidden = x @ first.weight[0][:, kept] + first.bias[0, 0, kept]
    hidden = nn.functional.layer_norm(hidden, hidden.shape[-1:])
    hidden = torch.relu(hidden * network.gains[0][0, 0, kept] + network.shifts[0][0, 0, kept])
    second = network.layers[1]
    rows, columns = second.rows[k], second.columns[k]
    hidden = hidden @ second.weight[0][rows[:, None], columns] + second.bias[0, 0, columns]
    hidden = torch.relu(nn.functional.layer_norm(hidden, hidden.shape[-1:]))
    last = network.layers[2]
    expected = hidden @ last.weight[0][columns] + last.bias[0, 0]
    torch.testing.assert_close(network(x)[k], expected)


@pytest.mark.parametrize("scheme", [MaskScheme(5, 0.5), MaskScheme(5, 0.5, granularity="unit")])
def test_rescaled_weights_keep_the_size_of_activations(scheme):
    """Without rescaling, each masked layer shrinks them by the root of the share that is kept."""
    x = torch.randn(256, 32)
    sizes = [32, 512, 512, 512, 1]

    def size(network: SubnetworkMLP) -> float:
        return float(network(x).detach().std())

    def typical(scheme: MaskScheme, rescale: bool) -> float:
        drawn = []
        for seed in range(5):
            torch.manual_seed(seed)
            network = SubnetworkMLP(sizes, 1, scheme, rescale_init=rescale)
            for layer in network.layers:
                nn.init.zeros_(layer.bias)
            drawn.append(size(network))
        return sum(drawn) / len(drawn)

    dense = typical(MaskScheme(), True)
    assert typical(scheme, True) == pytest.approx(dense, rel=0.35)
    assert typical(scheme, False) < 0.65 * dense


def test_a_state_with_other_masks_is_refused():
    state = SubnetworkMLP(SIZES, 1, WEIGHTS).state_dict()
    assert not any("mask" in name and "digest" not in name for name in state)
    SubnetworkMLP(SIZES, 1, WEIGHTS).load_state_dict(state)
    with pytest.raises(ValueError, match="trained with other masks: set the mask_seed"):
        SubnetworkMLP(SIZES, 1, MaskScheme(4, 0.5, seed=2)).load_state_dict(state)


def test_ledger_counts_kept_weights_and_products_that_run():
    shapes = (14 * 256, 256 * 256, 256)
    dense = 2.0 * sum(shapes)
    single = EnsembleCritic(11, 3)
    assert single.network.flops(1, executed=True) == single.network.flops(1, False) == dense
    redq = EnsembleCritic(11, 3, num_critics=10)
    assert redq.network.flops(10, executed=True) == 10 * dense
    # What is before the first mask is the same for all subnetworks, run and counted once...
    omnet = EnsembleCritic(11, 3, scheme=MaskScheme(5, 0.5))
    first, middle, last = (2.0 * each for each in shapes)
    assert omnet.network.flops(5, executed=True) == first + 5 * (middle + last)
    kept = float(omnet.network.layers[1].mask.mean())
    assert omnet.network.flops(5, executed=False) == pytest.approx(
        first + 5 * (kept * middle + last)
    )
    # ... and units are run as what they are.
    unit = EnsembleCritic(11, 3, scheme=MaskScheme(5, 0.5, granularity="unit"))
    assert unit.network.flops(5, executed=True) == 5 * 2.0 * (14 * 128 + 128 * 128 + 128)


@pytest.mark.parametrize(
    ("settings", "members"),
    [
        ({}, 1),
        ({"num_critics": 10}, 10),
        ({"num_critics": 2, "dropout": 0.1, "layer_norm": True}, 2),
        ({"scheme": MaskScheme(5, 0.5)}, 5),
        ({"num_critics": 2, "scheme": MaskScheme(3, 0.5, granularity="unit")}, 6),
    ],
    ids=["SinSAC", "REDQ", "DroQ", "OMNet", "two OMNets"],
)
def test_one_critic_class_spans_all_methods(settings, members):
    critic = EnsembleCritic(4, 2, (16, 16), **settings)
    states, actions = torch.randn(12, 4), torch.randn(12, 2)
    assert critic(states, actions).shape == (members, 12)
    sliced = critic(critic.split(states), critic.split(actions))
    assert sliced.shape == (members, 12 // members)
    discrete = EnsembleCritic(4, 3, (16, 16), discrete=True, **settings)
    assert discrete(states).shape == (members, 12, 3)
