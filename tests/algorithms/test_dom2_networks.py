"""Stacked networks and losses of DOM2 beside agents one by one; about 2 processor seconds."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from tenfold.algorithms.dom2.critics import (
    best_of,
    bootstrap,
    conservative_gap,
    improved_actions,
    sampled_actions,
    softmax_choice,
)
from tenfold.algorithms.dom2.distill import one_agent
from tenfold.algorithms.dom2.networks import (
    NoiseMLP,
    NoiseMLPAtTime,
    NoiseUNet,
    StackedCritic,
    StackedMLP,
)
from tenfold.algorithms.dom2.policies import Shared
from tenfold.algorithms.offline.learner import clip_stacked

n, B, o, m = 3, 5, 4, 2


@pytest.mark.parametrize("kind", ["mlp", "unet_mlp"])
def test_agents_of_a_stack_are_what_they_are_alone(kind: str) -> None:
    torch.manual_seed(0)
    made = NoiseMLP(n, o, m, 16, 8, "mish") if kind == "mlp" else NoiseUNet(n, o, m, 16, 8, 0.1)
    made.eval()
    b, seen, t = torch.randn(n, B, m), torch.randn(n, B, o), torch.rand(n, B)
    out = made(b, seen, t)
    assert out.shape == (n, B, m)
    for j in range(n):
        part = slice(j, j + 1)
        alone = one_agent(made, j, n)(b[part], seen[part], t[part])
        torch.testing.assert_close(out[part], alone)
    same = torch.tensor(0.3)
    torch.testing.assert_close(made(b, seen, same), made(b, seen, same.expand(n, B)))


def test_a_network_at_one_time_says_what_it_says_at_that_time() -> None:
    made = NoiseMLP(n, o, m, 16, 8, "relu")
    b, seen = torch.randn(n, B, m), torch.randn(n, B, o)
    torch.testing.assert_close(
        NoiseMLPAtTime(made, 0.7)(b, seen), made(b, seen, torch.tensor(0.7)), rtol=1e-4, atol=1e-5
    )


def test_the_u_shaped_network_has_sfbc_s_widths_and_drops_out_in_training_only() -> None:
    made = NoiseUNet(1, o, m, 256, 32, 0.1)
    shapes = [block.first.weight.shape[1:] for block in [*made.down, made.middle, *made.up]]
    assert [tuple(s) for s in shapes] == [
        (m, 512),
        (512, 256),
        (256, 128),
        (128, 128),
        (256, 256),
        (512, 512),
    ]
    assert made.out.weight.shape == (1, 1024, m)
    assert made.condition.layers[-1].weight.shape == (1, 128, 128)
    x = torch.randn(1, 50, m), torch.randn(1, 50, o), torch.rand(1, 50)
    made.train()
    assert not torch.equal(made(*x), made(*x))
    made.eval()
    assert torch.equal(made(*x), made(*x))


def test_a_critic_says_of_many_actions_what_it_says_of_each() -> None:
    torch.manual_seed(1)
    critic = StackedCritic(2, n, o, m, 8)
    seen, a = torch.randn(n, B, o), torch.randn(n, B, 6, m)
    q = critic(seen, a)
    assert q.shape == (2, n, B, 6)
    for k in range(2):
        for j in range(n):
            h = torch.cat([seen[j, :, None].expand(-1, 6, -1), a[j]], dim=-1)
            h = torch.relu(h @ critic.first.weight[k * n + j] + critic.first.bias[k * n + j])
            for layer in critic.rest.layers:
                one = hasattr(layer, "weight")
                h = h @ layer.weight[k * n + j] + layer.bias[k * n + j] if one else layer(h)
            torch.testing.assert_close(q[k, j], h[..., 0])


def test_agents_that_share_a_network_are_answered_alike() -> None:
    policy, critic = Shared(StackedMLP(1, [o, 8, m])), Shared(StackedCritic(2, 1, o, m, 8), axis=1)
    seen, a = torch.randn(1, B, o).repeat(n, 1, 1), torch.randn(1, B, 3, m).repeat(n, 1, 1, 1)
    q = critic(seen, a)
    assert q.shape == (2, n, B, 3)
    torch.testing.assert_close(q[:, 0], q[:, 2])
    torch.testing.assert_close(policy(seen)[0], policy(seen)[2])


def test_each_network_s_gradient_is_clipped_by_its_own_norm() -> None:
    gradients = [torch.randn(n, 4, 3), torch.randn(n, 1, 3)]
    gradients[0][1] *= 1e-3
    gradients[1][1] *= 1e-3
    before = [g.clone() for g in gradients]
    clip_stacked(gradients, 0.5)
    for j in range(n):
        kept = [nn.Parameter(torch.zeros_like(g[j])) for g in before]
        for parameter, g in zip(kept, before, strict=True):
            parameter.grad = g[j].clone()
        torch.nn.utils.clip_grad_norm_(kept, 0.5)
        for parameter, g in zip(kept, gradients, strict=True):
            torch.testing.assert_close(parameter.grad, g[j])


def test_the_conservative_term_by_hand() -> None:
    """Two uniform actions on [-1, 1]: log rho = log 1/2; Q = 1 and 3 there and 2 in the data."""
    q_rho, log_rho = torch.tensor([[[[1.0, 3.0]]]]), torch.full((1, 1, 2), math.log(0.5))
    gap = conservative_gap(q_rho, log_rho, torch.tensor([[[2.0]]]), 1.0)
    assert float(gap) == pytest.approx(math.log(2 * math.e + 2 * math.e**3) - 2)
    cool = conservative_gap(q_rho, log_rho, torch.tensor([[[2.0]]]), 0.01)
    assert float(cool) == pytest.approx(3 + math.log(2) - 2, abs=1e-4)  # the greatest alone


def test_what_is_held_down_are_uniform_actions_and_noisy_ones_of_the_policy() -> None:
    torch.manual_seed(0)
    own = torch.full((n, 400, m), 0.1), torch.full((n, 400, m), -0.2)
    a, log_rho = sampled_actions(own[0], 10, "policy", own)
    assert a.shape == (n, 400, 30, m)
    assert torch.all(log_rho[..., :10] == m * math.log(0.5))
    for place, mean in ((10, 0.1), (20, -0.2)):
        drawn = a[:, :, place : place + 10]
        assert float(drawn.mean()) == pytest.approx(mean, abs=0.01)
        assert float(drawn.std()) == pytest.approx(0.2, abs=0.01)
        drawn_from = torch.distributions.Normal(mean, 0.2)
        inside = (drawn.abs() < 1).all(dim=-1)
        told = log_rho[:, :, place : place + 10][inside]
        torch.testing.assert_close(
            told, drawn_from.log_prob(drawn[inside]).sum(-1), rtol=1e-3, atol=1e-3
        )


def test_targets_take_the_lesser_critic_and_the_better_action_and_stop_at_the_end() -> None:
    q = torch.tensor([[[[1.0, 5.0]]], [[[4.0, 2.0]]]])  # (2, 1, 1, 2): min 1 and 2
    rewards = torch.tensor([[10.0]])
    assert float(bootstrap(q, rewards, torch.tensor([[False]]), 0.5)) == 11.0
    assert float(bootstrap(q, rewards, torch.tensor([[True]]), 0.5)) == 10.0


def test_omar_finds_the_best_action_where_a_local_search_would_not() -> None:
    torch.manual_seed(0)

    def critic(seen: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        near, far = (a - 0.7).square().sum(-1), (a + 0.6).square().sum(-1)
        return (20 * torch.exp(-20 * near) + 5 * torch.exp(-2 * far))[None]

    own = torch.full((n, 200, m), -0.6)
    found = improved_actions(critic, torch.zeros(n, 200, o), own, 3, 100, 2.0)
    assert float(critic(own, found[:, :, None]).mean()) > 9
    worse = improved_actions(
        critic, torch.zeros(n, 200, o), torch.full((n, 200, m), 0.7), 1, 2, 2.0
    )
    torch.testing.assert_close(worse, torch.full((n, 200, m), 0.7))


def test_a_choice_among_candidates_follows_q() -> None:
    torch.manual_seed(0)
    candidates = torch.arange(3.0).view(1, 1, 3, 1).expand(1, 20_000, 3, 1)
    q = torch.tensor([0.0, 1.0, 2.0]).expand(1, 20_000, 3)
    chosen = softmax_choice(candidates, q)
    expected = torch.softmax(q[0, 0], dim=0).numpy()
    np.testing.assert_allclose(np.bincount(chosen.flatten().int()) / 20_000, expected, atol=0.01)
    assert torch.all(best_of(candidates, q) == 2)
