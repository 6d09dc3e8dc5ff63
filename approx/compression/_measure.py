"""How far two networks differ at sampled points, and how large a difference rounding alone explains."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from approx.activations import RadialActivation
from approx.domains import Ball
from approx.networks import RadialNetwork

__all__ = ["deviation"]

_DEEPEST = 2000  # layers up to which the scale follows the hidden layers


@torch.no_grad()
def deviation(
    full: RadialNetwork, reduced: RadialNetwork, radius: float, samples: int, seed: int
) -> tuple[float, float]:
    """(max |F - F_red|, scale) over `samples` points of the ball |x| <= radius.

    The scale is the largest s_L over the points, where s_0 = |x| and s_i = g_i (|b_i| + |W_i| s_{i-1}): g_i is the
    larger of |lambda| and the slope of the profile at the point. An error of eps in front of every activation grows to
    about eps s_L. Networks of more than 2,000 layers take max(1, |F|).
    """
    points = Ball(np.zeros(full.dim_in), radius).sample(samples, seed)
    x = torch.from_numpy(np.ascontiguousarray(points)).to(full.device, full.dtype)
    values = full(x)
    apart = float((values - reduced(x)).norm(dim=1).max())
    if full.depth > _DEEPEST:
        return apart, max(1.0, float(values.norm(dim=1).max()))
    size = x.norm(dim=1).double()
    for weight, bias, activation in full.layers():
        size = size * _norm(weight) + float(bias.norm())
        x = torch.addmm(bias, x, weight.T)
        if activation is not None:
            size = size * _gain(activation, x.norm(dim=1)).double()
            x = activation(x)
    return apart, float(size.max())


def _norm(weight: Tensor) -> float:
    """The spectral norm by a few steps of the power method, from below."""
    generator = torch.Generator().manual_seed(0)
    vector = torch.randn(weight.shape[1], 2, generator=generator, dtype=torch.float64).to(weight)
    for _ in range(4):
        vector = weight.T @ (weight @ (vector / vector.norm(dim=0).clamp(min=torch.finfo(weight.dtype).tiny)))
    return math.sqrt(float(vector.norm(dim=0).max()))


def _gain(activation: RadialActivation, r: Tensor) -> Tensor:
    """max(|lambda(r)|, |h'(r)|), the slope by differences; 0 where r = 0, which both networks hit exactly."""
    step = math.sqrt(torch.finfo(r.dtype).eps)
    safe = torch.where(r == 0, 1.0, r)
    height = activation.profile(safe)
    slopes = [(activation.profile(safe * (1 + side)) - height).abs() / (safe * step) for side in (step, -step)]
    return torch.where(r == 0, 0.0, torch.stack([height.abs() / safe, *slopes]).amax(dim=0))
