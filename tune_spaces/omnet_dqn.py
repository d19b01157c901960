"""Search spaces of OMNet on DQN."""

from tenfold.platform.registry import Space

SPACES = {
    "default": Space(
        lambda tune: {
            "num_subnets": tune.choice([3, 5, 8]),
            "sparsity": tune.choice([0.3, 0.5, 0.7]),
            "lr": tune.loguniform(3e-4, 3e-3),
            "target_subset": tune.choice([1, 2]),
        },
        samples=16,
        scheduler="asha",
    ),
    # What a population may change in mid-run; masks it may not.
    "rates": Space(
        lambda tune: {
            "lr": tune.loguniform(3e-4, 3e-3),
            "tau": tune.loguniform(2e-3, 2e-2),
        },
        samples=8,
        scheduler="pbt",
    ),
    "smoke": Space(lambda tune: {"sparsity": tune.choice([0.25, 0.5])}, samples=2),
}
