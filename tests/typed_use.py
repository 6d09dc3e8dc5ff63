"""What the checkers of users have to accept, with the types they have to see. Only mypy reads it, see test_types."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure

import approx
import constructions
from approx import plotting
from approx.training import random_network


def builders(target: approx.Target, name: str) -> None:
    built: constructions.Construction = constructions.build(target, eps=0.1)
    also: constructions.Construction = constructions.build(target, 0.1, builder="narrow")
    smooth: constructions.RadialBasis = constructions.build(target, builder="radial_basis", layers=10)
    either: constructions.Construction | constructions.RadialBasis = constructions.build(target, 0.1, builder=name)
    figure: Figure = plotting.overview(built)
    assert len(built.cover) and also.cover.is_balls and smooth.fit and either.network and figure.axes


def objects() -> None:
    outside = approx.AffineMap.constant([0.0], 1)
    cover = approx.Cover([[0.0], [1.0]], [[5.0], [7.0]], outside, radii=[1.0, 1.0])
    network: approx.RadialNetwork = approx.train(random_network((1, 6, 1)), cover.centers, cover.values).network
    weight: torch.Tensor = network.blocks[0].weight
    assert network.evaluate([[0.0]]).shape == cover([[0.0]]).shape and weight.ndim == 2
