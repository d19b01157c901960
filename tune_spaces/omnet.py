"""Search spaces of OMNet."""

from tenfold.platform.registry import Space

# What a population may change in mid-run; masks it may not.
RATES = Space(
    lambda tune: {
        "actor_lr": tune.loguniform(1e-4, 1e-3),
        "critic_lr": tune.loguniform(1e-4, 1e-3),
        "tau": tune.loguniform(2e-3, 2e-2),
    },
    samples=8,
    scheduler="pbt",
)

SPACES = {
    "default": Space(
        lambda tune: {
            "num_subnets": tune.choice([3, 5, 8]),
            "sparsity": tune.choice([0.3, 0.5, 0.7]),
            "critic_lr": tune.loguniform(1e-4, 1e-3),
            "target_subset": tune.choice([1, 2]),
        },
        samples=16,
        scheduler="asha",
    ),
    "masks": Space(
        lambda tune: {
            "num_subnets": tune.choice([2, 3, 5, 8]),
            "sparsity": tune.choice([0.25, 0.5, 0.75]),
            "mask_granularity": tune.choice(["weight", "unit"]),
            "mask_overlap": tune.choice(["independent", "balanced"]),
        },
        samples=16,
    ),
    "cost": Space(
        lambda tune: {
            "subnet_batch_mode": tune.choice(["all", "split"]),
            "mask_granularity": tune.choice(["weight", "unit"]),
            "utd_ratio": tune.choice([1, 2, 5]),
            "layer_norm": tune.choice([False, True]),
            "critic_lr": tune.loguniform(1e-4, 2e-3),
            "policy_subnets": tune.choice([1, 5]),
        },
        samples=24,
        scheduler="asha",
    ),
    "rates": RATES,
    "smoke": Space(lambda tune: {"sparsity": tune.choice([0.25, 0.5])}, samples=2),
}
