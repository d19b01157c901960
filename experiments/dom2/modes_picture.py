"""Where policies act that cloned a mixture of four modes: experiments/results/dom2/modes.png.

python -m experiments.dom2.modes_picture

One agent of `modes/free`, whose data lie at four points. The Gaussian policy is shown by its mean
and by draws from its distribution, the diffusion by five steps of DPM-Solver-2, and by the one step
that is distilled from it.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from experiments.dom2.modes import trained
from tenfold.algorithms.dom2.distill import distil

OUT = Path(__file__).parents[1] / "results" / "dom2" / "modes.png"
DRAWS = 1_000


def main() -> None:
    torch.set_num_threads(1)
    gaussian, diffusion = (
        trained("modes/free-expert", variant, 0)[0] for variant in ("gaussian_bc", "diffusion_bc")
    )
    nothing = torch.zeros(2, DRAWS, 1)
    teacher = diffusion.agents_module.target_policy
    student = distil(teacher, lambda update: nothing[:, :128], 400, 10, 2e-3, seed=0)
    with torch.no_grad():
        mean, log_std = gaussian.agents_module.target_policy.gaussian(nothing)
        drawn = mean + log_std.exp() * torch.randn_like(mean)
        many = diffusion.agents_module.actions(nothing)
        one = student(nothing, torch.randn(2, DRAWS, 2))
    data = diffusion.transitions.actions[:DRAWS, 0]
    panels = [
        ("data", data),
        ("Gaussian BC", drawn[0].numpy()),
        ("diffusion, 5 steps", many[0].numpy()),
        ("distilled to one step", one[0].numpy()),
    ]
    figure, axes = plt.subplots(1, len(panels), figsize=(12, 3.2), sharex=True, sharey=True)
    for axis, (title, points) in zip(axes, panels, strict=True):
        axis.scatter(*np.asarray(points).T, s=3, alpha=0.4)
        axis.set(title=title, xlim=(-1.4, 1.4), ylim=(-1.4, 1.4), aspect="equal")
    axes[1].scatter(*mean[0, 0].numpy(), marker="x", color="black", label="acts by its mean")
    axes[1].legend(loc="upper right", fontsize=8)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(OUT, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()
