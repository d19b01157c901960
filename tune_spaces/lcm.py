"""Search spaces of `lcm`: one to tune it, and one an ablation, each a grid over one key."""

from tenfold.platform.registry import Space

SPACES = {
    "default": Space(
        define=lambda tune: {
            "lr": tune.loguniform(1e-4, 2e-3),
            "rank": tune.choice([8, 16, 32]),
            "ema_decay": tune.choice([0.9, 0.95, 0.99]),
            "loss": tune.choice(["huber", "l2"]),
        },
        samples=8,
        scheduler="asha",
    ),
    "skipping": Space(
        define=lambda tune: {"solver_steps": tune.choice([20, 50, 100, 200])},
        samples=4,
        search="grid",
    ),
    "guidance": Space(
        define=lambda tune: {"w_min": tune.choice([0.0, 2.0, 6.5])}, samples=3, search="grid"
    ),
    "rank": Space(define=lambda tune: {"rank": tune.choice([4, 16, 64])}, samples=3, search="grid"),
    "loss": Space(
        define=lambda tune: {"loss": tune.choice(["huber", "l2"])}, samples=2, search="grid"
    ),
    "averaging": Space(
        define=lambda tune: {"ema_decay": tune.choice([0.9, 0.95, 0.99])}, samples=3, search="grid"
    ),
    "rate": Space(
        define=lambda tune: {"lr": tune.choice([2e-4, 5e-4, 1e-3, 2e-3])}, samples=4, search="grid"
    ),
    "smoke": Space(
        define=lambda tune: {
            "loss": tune.choice(["huber", "l2"]),
            "steps": tune.choice([20]),
            "report_every": tune.choice([10]),
            "images": tune.choice([1_000]),
            "judge_images": tune.choice([64]),
        },
        samples=2,
        search="grid",
    ),
}
