"""Discounted returns of episodes as returns of episodes: the reward of step h counts discount^h.

Finite horizons need no theory of their own then. For iterated CVaR V'_h = discount^h V_h fulfils
V'_h = discount^h r_h + CVaR(V'_{h+1}), since CVaR is positively homogeneous; for entropic risk
gamma R_disc is a sum with the risk parameter gamma discount^h at step h, which fades: what is far
off is taken at its mean. And all measures here move by no more than the largest change of the
return, so an endless episode is worth within `rest` of one of H steps, whatever the risk level.
"""

from dataclasses import replace

import numpy as np

from tenfold.envs.risk.mdp import TabularMDP
from tenfold.envs.risk.pomdp import TabularPOMDP
from tenfold.envs.risk.returns import GridMDP
from tenfold.envs.risk.scale import Unit, say

# Points of the return grid of discounted rewards.
POINTS = 400


def rest(discount: float, H: int, largest: float) -> float:
    """The most that steps from H on can add if no reward is larger; infinite without a discount."""
    return largest * discount**H / (1.0 - discount) if discount < 1.0 else np.inf


def discounted_mdp(mdp: TabularMDP, discount: float) -> TabularMDP:
    """An MDP whose step h pays discount^h of its rewards."""
    if discount == 1.0:
        return mdp
    tell(discount, mdp.H, _largest(mdp, mdp.rewards))
    return replace(mdp, rewards=_faded(mdp.rewards, discount), unit=_unit(mdp, discount))


def discounted_pomdp(pomdp: TabularPOMDP, discount: float) -> TabularPOMDP:
    """A POMDP whose step h pays discount^h of its rewards."""
    if discount == 1.0:
        return pomdp
    tell(discount, pomdp.H, _largest(pomdp, pomdp.rewards))
    return replace(pomdp, rewards=_faded(pomdp.rewards, discount), unit=_unit(pomdp, discount))


def discounted_grid(mdp: GridMDP, discount: float) -> GridMDP:
    """The same of rewards on a grid, in the equal parts of its step that move rewards the least
    and make no more than `POINTS` returns."""
    if discount == 1.0:
        return mdp
    faded = _faded(mdp.rewards.astype(float), discount)
    most = faded.reshape(mdp.H, -1).max(axis=1)
    fit = [parts for parts in range(1, POINTS) if np.rint(parts * most).sum() < POINTS]
    moved = [np.abs(np.rint(parts * faded) / parts - faded).max() for parts in fit or [1]]
    parts = (fit or [1])[int(np.argmin(np.round(moved, 12)))]
    rewards, step = np.rint(parts * faded).astype(np.int64), mdp.step / parts
    off = mdp.step * float(min(moved))
    rounding = f" on a grid of step {step:.4g}, which moves none by more than {off:.2g},"
    tell(discount, mdp.H, _largest(mdp, mdp.step * mdp.rewards), rounding)
    return replace(mdp, rewards=rewards, step=step, unit=_unit(mdp, discount))


def _faded(rewards: np.ndarray, discount: float) -> np.ndarray:
    weights = discount ** np.arange(len(rewards))
    faded: np.ndarray = weights.reshape(-1, *(1,) * (rewards.ndim - 1)) * rewards
    return faded


def _largest(model: TabularMDP | TabularPOMDP | GridMDP, rewards: np.ndarray) -> float:
    """The largest reward, or cost, in the user's unit."""
    least, most = (model.unit.span * end for end in (rewards.min(), rewards.max()))
    shift = model.unit.offset / model.H
    return float(max(abs(least + shift), abs(most + shift)))


def _unit(model: TabularMDP | TabularPOMDP | GridMDP, discount: float) -> Unit:
    share = (1.0 - discount**model.H) / (1.0 - discount) / model.H
    return replace(model.unit, offset=model.unit.offset * share)


def tell(discount: float, H: int, largest: float, rounding: str = "") -> None:
    """Say what a discount does to episodes of H steps.

    Args:
        discount: Below 1.
        H: Steps.
        largest: No reward or cost is larger, in the user's unit.
        rounding: What else happened to rewards.
    """
    say(
        f"discount = {discount:g}: the reward of step h counts {discount:g}^h{rounding} and what "
        f"an endless episode has beyond {H} steps is at most {rest(discount, H, largest):.3g}."
    )
