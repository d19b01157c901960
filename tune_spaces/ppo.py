"""Search spaces of PPO: the keys that matter most, after Andrychowicz et al. (arXiv:2006.05990)."""

from tenfold.platform.registry import Space

SPACES = {
    "default": Space(
        lambda tune: {
            "lr": tune.loguniform(1e-5, 3e-3),
            "entropy_coeff": tune.loguniform(1e-4, 1e-1),
            "num_epochs": tune.choice([4, 8, 16]),
        },
        samples=16,
        scheduler="asha",
    ),
    "smoke": Space(lambda tune: {"lr": tune.choice([1e-4, 1e-3])}, samples=2),
}
