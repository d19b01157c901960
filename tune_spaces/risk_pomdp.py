"""Search spaces of risk-sensitive learning with hindsight: the bonus, and the risk parameter."""

from tenfold.platform.registry import Space

SPACES = {
    "default": Space(lambda tune: {"bonus_scale": tune.loguniform(1e-4, 1.0)}, samples=12),
    "gamma": Space(
        lambda tune: {"gamma_risk": tune.choice([-5.0, -1.0, -0.1, 0.1, 1.0, 5.0])},
        samples=6,
        search="grid",
    ),
    "scales": Space(
        lambda tune: {"bonus_scale": tune.choice([0.3, 0.1, 0.03, 0.01])},
        samples=4,
        search="grid",
    ),
    "smoke": Space(lambda tune: {"bonus_scale": tune.choice([0.01, 1.0])}, samples=2),
}
