"""Search spaces of OMNet on TD3."""

from tenfold.platform.registry import Space
from tenfold.tune_spaces.omnet import RATES

SPACES = {
    "default": Space(
        lambda tune: {
            "num_subnets": tune.choice([2, 3, 5, 8]),
            "sparsity": tune.choice([0.2, 0.35, 0.5, 0.65]),
            "actor_lr": tune.loguniform(1e-4, 1e-3),
            "critic_lr": tune.loguniform(1e-4, 1e-3),
        },
        samples=16,
        scheduler="asha",
    ),
    "rates": RATES,
    "smoke": Space(lambda tune: {"num_subnets": tune.choice([2, 3])}, samples=2),
}
