"""Four equally good actions: diffusion finds them all, also in one step; about 9 processor seconds.

Two agents see nothing and copy data whose actions lie at (+-0.7, +-0.7).
"""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tenfold.algorithms.dom2.config import DOM2Config
from tenfold.algorithms.dom2.distill import AgentPolicy, OneStepPolicy, distil
from tenfold.algorithms.dom2.policies import DiffusionPolicy, GaussianPolicy, Policy, make_policy

AGENTS, B = 2, 128
MODES = torch.tensor([[x, y] for x in (-0.7, 0.7) for y in (-0.7, 0.7)])


def data(rows: int) -> torch.Tensor:
    chosen = MODES[torch.randint(4, (AGENTS, rows))]
    return (chosen + 0.03 * torch.randn_like(chosen)).clamp(-1, 1)


def trained(updates: int, **overrides: object) -> Policy:
    torch.manual_seed(0)
    defaults = {
        key: field.get_default() for key, field in DOM2Config.Parameters.model_fields.items()
    }
    policy = make_policy(SimpleNamespace(**{**defaults, "hidden": 64, **overrides}), AGENTS, 1, 2)
    optimizer = torch.optim.Adam(policy.parameters(), lr=3e-3)
    nothing = torch.zeros(AGENTS, B, 1)
    for _ in range(updates):
        loss = policy.bc_loss(nothing, data(B)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return policy.eval()


def shares_of_modes(actions: torch.Tensor) -> torch.Tensor:
    """Share of each agent's actions within 0.25 of each mode, (n, 4)."""
    near = (actions[:, :, None] - MODES).norm(dim=-1) < 0.25
    return near.float().mean(dim=1)


@pytest.fixture(scope="module")
def diffusion() -> DiffusionPolicy:
    policy = trained(1_000, solver_steps=10)
    assert isinstance(policy, DiffusionPolicy)
    return policy


def test_diffusion_finds_all_modes_and_the_gaussian_stands_between_them(
    diffusion: DiffusionPolicy,
) -> None:
    nothing, gaussian = torch.zeros(AGENTS, 2_000, 1), trained(200, policy="gaussian")
    assert isinstance(gaussian, GaussianPolicy)
    with torch.no_grad():
        shares = shares_of_modes(diffusion.act(nothing))
        middle = gaussian.act(nothing)
    assert float(shares.min()) > 0.1
    assert float(shares.sum(dim=1).min()) > 0.75
    assert float(middle.norm(dim=-1).max()) < 0.3
    assert float(shares_of_modes(middle).max()) == 0


def test_a_distilled_policy_finds_them_in_one_step_and_runs_without_tenfold(
    diffusion: DiffusionPolicy, tmp_path: Path
) -> None:
    nothing = torch.zeros(AGENTS, B, 1)
    student = distil(diffusion, lambda update: nothing, 300, 10, 2e-3, 0)
    assert isinstance(student, OneStepPolicy)
    assert student.t == 1.0
    with torch.no_grad():
        noise = torch.randn(AGENTS, 2_000, 2)
        together = student(torch.zeros(AGENTS, 2_000, 1), noise)
        slowly = diffusion.sample(torch.zeros(AGENTS, 2_000, 1), noise)
    shares = shares_of_modes(together)
    assert float(shares.min()) > 0.08
    assert float((together - slowly).norm(dim=-1).median()) < 0.15  # modes are 1.4 apart

    own = AgentPolicy(student, 1, AGENTS, torch.tensor([0.5]), torch.tensor([2.0]), 1).eval()
    own.torchscript(2).save(str(tmp_path / "one.pt"))
    torch.save(noise[1, :50], tmp_path / "noise.pt")
    program = (
        "import sys, torch; policy = torch.jit.load('one.pt'); noise = torch.load('noise.pt');"
        "torch.save(policy(torch.full((50, 1), 0.5), noise), 'actions.pt');"
        "assert not any(name.startswith('tenfold') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    acted = torch.load(tmp_path / "actions.pt")
    torch.testing.assert_close(acted, together[1, :50])  # 0.5 is 0 once it is standardised
