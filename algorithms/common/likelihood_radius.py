"""By how much the log-likelihood of the truth may fall short of the largest, at all times at once.

For m outcomes (or weights of m known distributions) let D_n be the likelihood of n draws averaged
over a Dirichlet(1/2, ..., 1/2) prior. D_n / L_n(truth) is a martingale of mean 1, however the draws
were chosen, so it exceeds 1 / delta at any time with probability at most delta (Ville). And the
largest likelihood is at most 2 (n + 1)^{(m - 1) / 2} D_n, for any data (Cover and Ordentlich,
Universal portfolios with side information, 1996, theorem 2; Krichevsky and Trofimov's estimator is
the case of outcomes). So with probability 1 - delta, for all n,

    log max L_n - log L_n(truth) <= log(1 / delta) + (m - 1) / 2 log(n + 1) + log 2.

For the *mean* of one fixed function of the outcomes m is 2, whatever their number: a bet on the
mean is a portfolio of two assets (Honda and Takemura, 2010), and n KL_inf(empirical, true mean) is
the logarithm of the best one's wealth.
"""

import math

import numpy as np


def likelihood_radius(counts: np.ndarray, m: int, log_failures: float) -> np.ndarray:
    """The bound of the module's text.

    Args:
        counts: Draws n, any shape.
        m: Outcomes or weights; 2 for the mean of a fixed function.
        log_failures: log(1 / delta) of each.

    Returns:
        Same shape as `counts`.
    """
    bound: np.ndarray = log_failures + (m - 1) / 2.0 * np.log(counts + 1.0) + math.log(2.0)
    return bound
