"""Search spaces of `qsr`."""

from tenfold.platform.registry import Space

SPACES = {
    "default": Space(
        define=lambda tune: {
            "alpha": tune.loguniform(1e-3, 2e-2),
            "base": tune.choice([1, 2, 4, 8]),
            "lr": tune.loguniform(5e-4, 8e-3),
        },
        samples=16,
        scheduler="asha",
    ),
    "alpha": Space(
        define=lambda tune: {"alpha": tune.choice([0.002, 0.003, 0.004, 0.006, 0.008, 0.012])},
        samples=6,
        search="grid",
    ),
    "smoke": Space(define=lambda tune: {"base": tune.choice([1, 2])}, samples=2, search="grid"),
}
