"""A classifier of scenes, and distances between sets of images in its features.

The classifier is trained on drawings; its features take the place that Inception's have in FID.
The distances are therefore called by what they are, a Frechet distance and an MMD in the features
of a classifier of scenes, and cannot be compared with FID or KID of anything else.
"""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from scipy.linalg import sqrtm
from torch import Tensor, nn

from tenfold.envs.data.scenes import ATTRIBUTES, CLASSES, draw_scenes

FEATURES = 32
FILE = "judge.safetensors"


class Judge(nn.Module):
    """Three convolutions, one head an attribute."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 64)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after)]
            layers += [nn.SiLU()]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 16, FEATURES), nn.SiLU())
        self.heads = nn.ModuleList(nn.Linear(FEATURES, classes) for classes in CLASSES)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Logits of each attribute, for images (B, 3, 32, 32) in [-1, 1]."""
        features = self.body(images)
        return [head(features) for head in self.heads]

    @torch.no_grad()
    def features(self, images: Tensor) -> np.ndarray:
        """(B, FEATURES) float64."""
        return self.body(images).double().cpu().numpy()

    @torch.no_grad()
    def attributes(self, images: Tensor) -> np.ndarray:
        """The attributes that the judge sees, (B, 5)."""
        return torch.stack([logits.argmax(dim=1) for logits in self(images)], dim=1).cpu().numpy()


def train_judge(
    style: str,
    seed: int,
    steps: int = 900,
    drawings: int = 12_000,
    batch: int = 128,
    progress: Callable[[int, float], None] | None = None,
) -> Judge:
    """Train a judge on drawings of a style.

    Args:
        style: As `draw_scenes` takes it.
        seed: Of the weights, the drawings and their order.
        steps: Optimizer steps.
        drawings: How many there are to learn from.
        batch: Drawings a step.
        progress: Told the step and its loss.
    """
    torch.manual_seed(seed)
    judge = Judge()
    scenes = draw_scenes(drawings, seed, style=style)
    images, attributes = as_tensor(scenes.images), torch.from_numpy(scenes.attributes)
    optimizer = torch.optim.AdamW(judge.parameters(), lr=2e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        draw = torch.Generator().manual_seed(seed * 1_000_003 + step)
        places = torch.randint(len(images), (batch,), generator=draw)
        noise = torch.randn((batch, *images.shape[1:]), generator=draw)
        logits = judge(images[places] + 0.1 * noise)
        losses = [
            nn.functional.cross_entropy(each, attributes[places, k])
            for k, each in enumerate(logits)
        ]
        loss = torch.stack(losses).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
        if progress is not None:
            progress(step, float(loss.detach()))
    return judge.eval()


def save_judge(judge: Judge, style: str, folder: Path) -> None:
    """Write a judge and the style that it knows, in half precision, into a folder."""
    weights = {name: tensor.half().contiguous() for name, tensor in judge.state_dict().items()}
    save_file(weights, folder / FILE, {"style": style})


def load_judge(folder: Path) -> tuple[Judge, str]:
    """The judge of a folder and the style that it knows."""
    judge = Judge()
    with safe_open(folder / FILE, "pt") as file:
        style = file.metadata()["style"]
    weights = load_file(folder / FILE)
    judge.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return judge.eval(), style


def as_tensor(images: np.ndarray) -> Tensor:
    """uint8 images (N, H, W, 3) as float32 (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def caption_accuracy(seen: np.ndarray, asked: np.ndarray) -> dict[str, float]:
    """Share of images that show what was asked for: each attribute, and all five.

    Args:
        seen: Attributes that the judge sees, (N, 5).
        asked: Attributes of the captions, (N, 5).
    """
    right = seen == asked
    each = {
        f"accuracy_{name.replace(' ', '_')}": float(right[:, k].mean())
        for k, name in enumerate(ATTRIBUTES)
    }
    return {"accuracy": float(right.all(axis=1).mean()), **each}


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of two sets of features (N, F)."""
    difference = a.mean(axis=0) - b.mean(axis=0)
    c_a, c_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = sqrtm(c_a @ c_b).real
    return float(difference @ difference + np.trace(c_a + c_b - 2 * root))


def mmd(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared MMD with KID's kernel (x . y / F + 1)^3 (Binkowski et al., 2018)."""
    n, m = len(a), len(b)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    k_a, k_b = kernel(a, a), kernel(b, b)
    within_a = (k_a.sum() - np.trace(k_a)) / (n * (n - 1))
    within_b = (k_b.sum() - np.trace(k_b)) / (m * (m - 1))
    return float(within_a + within_b - 2 * kernel(a, b).mean())


def diversity(images: Tensor) -> float:
    """Mean distance (root of the mean square over pixels) between images of one prompt.

    Args:
        images: (prompts, images a prompt, C, H, W) in [-1, 1].
    """
    flat = images.flatten(2).double()  # (P, K, D)
    distances = torch.cdist(flat, flat) / flat.shape[2] ** 0.5  # (P, K, K)
    K = flat.shape[1]
    return float(distances.sum() / (len(flat) * K * (K - 1)))
