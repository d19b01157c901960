"""Quantile critics: the loss, and risk measures of quantiles."""

import numpy as np
import pytest
import torch

from tenfold.algorithms.common.quantile_critic import (
    at_actions,
    quantile_huber_loss,
    risk_of_quantiles,
)
from tenfold.envs.risk.measures import CVaR, DualPower, Entropic, Expectation

MEASURES = [Expectation(), CVaR(0.25), CVaR(0.13), DualPower(2.0), Entropic(-1.5)]


@pytest.mark.parametrize("measure", MEASURES, ids=str)
def test_the_risk_of_quantiles_is_that_of_the_distribution_with_equal_masses(measure) -> None:
    quantiles = torch.randn(4, 3, 11, dtype=torch.float64, generator=torch.Generator())
    expected = measure(quantiles.numpy(), np.full(11, 1 / 11))
    np.testing.assert_allclose(risk_of_quantiles(quantiles, measure).numpy(), expected, atol=1e-12)


def test_the_loss_is_its_definition() -> None:
    rng = np.random.default_rng(0)
    theta, targets, kappa = rng.normal(size=(2, 3)), rng.normal(size=(2, 4)), 0.3
    expected = np.zeros(2)
    for b in range(2):
        for i in range(3):
            for y in targets[b]:
                u = y - theta[b, i]
                size = u**2 / 2 if abs(u) <= kappa else kappa * (abs(u) - kappa / 2)
                expected[b] += abs((i + 0.5) / 3 - (u < 0)) * size / kappa / 4
    loss = quantile_huber_loss(torch.tensor(theta), torch.tensor(targets), kappa)
    np.testing.assert_allclose(loss.numpy(), expected, rtol=1e-6)


def test_its_minimum_is_at_the_quantiles_of_the_midpoints() -> None:
    theta = torch.zeros(1, 5, dtype=torch.float64, requires_grad=True)
    targets = torch.linspace(0.0, 1.0, 1_001, dtype=torch.float64)[None]
    optimizer = torch.optim.SGD([theta], lr=0.5)
    for _ in range(400):
        optimizer.zero_grad()
        quantile_huber_loss(theta, targets, 0.0).sum().backward()
        optimizer.step()
    np.testing.assert_allclose(theta.detach().numpy()[0], [0.1, 0.3, 0.5, 0.7, 0.9], atol=5e-3)


def test_entries_are_picked_at_the_actions() -> None:
    values = torch.arange(12.0).reshape(2, 3, 2)
    assert at_actions(values, torch.tensor([2, 0])).tolist() == [[4.0, 5.0], [6.0, 7.0]]
