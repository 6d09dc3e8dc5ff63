"""A local search in compiled code: the (1+1) evolution strategy with covariance adaptation.

Source: Igel, Suttorp and Hansen, GECCO 2006, algorithm 2 with the Cholesky update. A caller's loop asks for a trial
with `mutate`, scores it, and reports back with `adapt`. Steps come as rows of standard normal numbers, so that a
search depends on its seed alone.
"""

from __future__ import annotations

import numpy as np

from approx._compile import compiled

__all__ = ["GOAL", "adapt", "mutate"]

GOAL = 2.0 / 11.0  # of the share of successful trials, and its first value
_SHARE = 1.0 / 12.0
_STILL, _AGAIN = 1e-4, 0.1  # a step size that has fallen below the first starts anew from the second


@compiled
def mutate(theta, factor, sigma, noise, trial, step):  # pragma: no cover - compiled
    """Into trial (p,): theta + sigma factor noise; into step (p,): factor noise."""
    for i in range(theta.shape[0]):
        step[i] = 0.0
        for j in range(theta.shape[0]):
            step[i] += factor[i, j] * noise[j]
        trial[i] = theta[i] + sigma * step[i]


@compiled
def adapt(factor, sigma, success, better, noise, step):  # pragma: no cover - compiled
    """The new sigma and share of successes after a trial; a better one stretches `factor` (p, p) along its step."""
    p = step.shape[0]
    success = (1 - _SHARE) * success + (_SHARE if better else 0.0)
    sigma *= np.exp((success - GOAL) / (1 - GOAL) / (1.0 + p / 2.0))
    if better:
        spread = 2.0 / (p * p + 6.0)
        length = 0.0
        for j in range(p):
            length += noise[j] * noise[j]
        shrink = np.sqrt(1 - spread)
        grow = shrink / length * (np.sqrt(1 + spread * length / (1 - spread)) - 1)
        for i in range(p):
            for j in range(p):
                factor[i, j] = shrink * factor[i, j] + grow * step[i] * noise[j]
    return (_AGAIN if sigma < _STILL else sigma), success
