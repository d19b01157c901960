"""The exponential utility of returns, in a form that does not overflow.

    d/dtheta (1 / gamma) log E[e^{gamma R}] = E[ u(R) sum_t d/dtheta log pi(a_t | history) ],
    u(R) = (e^{gamma (R - J)} - 1) / gamma,     J = (1 / gamma) log E[e^{gamma R}]

since E[sum_t d log pi] = 0. So a policy gradient that is paid u(R) at the end of an episode, and
nothing before, climbs the entropic risk; u has mean 0, and gamma -> 0 gives R - E[R].
"""

import numpy as np

from tenfold.envs.risk.measures import Entropic


def entropic_risk(returns: np.ndarray, gamma: float) -> float:
    """J of equally likely returns (n,); the mean at gamma = 0."""
    if gamma == 0.0:
        return float(np.mean(returns))
    return float(Entropic(gamma)(returns, np.full(len(returns), 1.0 / len(returns))))


def utilities(returns: np.ndarray, gamma: float) -> np.ndarray:
    """u of equally likely returns (n,), with their own J; mean 0."""
    above = returns - entropic_risk(returns, gamma)
    return above if gamma == 0.0 else np.asarray(np.expm1(gamma * above) / gamma)
