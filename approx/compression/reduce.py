"""Smaller radial networks that compute the same function (arXiv 2107.02550, section 5, and beyond)."""

from __future__ import annotations

import copy
import functools
import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from approx import _checks
from approx.activations import RadialActivation
from approx.blocks import Block
from approx.compression._lossy import Budget
from approx.compression._measure import deviation
from approx.compression._stacks import reduce_stack
from approx.compression.factors import Factors, Orthogonal
from approx.compression.result import Compression, versions
from approx.networks import Dense, Growing, RadialNetwork, Stack

__all__ = ["METHODS", "compress"]

METHODS = ("diagonal", "qr", "rank")
_LONG = 64  # layers from which a stack goes through the compiled loop
_PIECES = 1000  # most pieces a long stack is cut into; beyond, all its layers get the largest width


def compress(
    network: RadialNetwork,
    *,
    method: str | None = None,
    tol: float = 0.0,
    radius: float = 1.0,
    samples: int = 256,
    seed: int = 0,
) -> Compression:
    """A radial network of smaller widths with the same feedforward function, or one within `tol` of it.

    method : "qr", Algorithm 1: widths n_i^red = min(n_i, n_{i-1}^red + 1), n_0 and n_L kept, for any weights.
        "rank": the smallest widths (below). "diagonal": the same widths, with the weights of layers 2, 4, ... diagonal
        (their singular values), as far as these layers are hidden.
        Default: "qr", or "rank" if tol > 0.
    tol : 0 is lossless for every radial activation, up to rounding; tol > 0 drops singular values as long as
        |F(x) - F_red(x)| <= tol for all |x| <= radius is proved, weights taken as exact
    radius, samples, seed : the ball, and the points in it where the deviation is measured; samples=0 measures nothing

    Returns a `Compression`. The full network is left as it is; the reduced one has its dtype and device, its weights
    ask for gradients if the full ones do, and activations are the same objects (copies if they have parameters).

    Algorithm. A_1 = [b_1, W_1]; A_i = V_i R_i with orthonormal columns V_i; R_i = [b_i^red, W_i^red];
    A_{i+1} = [b_{i+1}, W_{i+1} V_i]. Since rho(V y) = V rho(y), the hidden vectors are z_i = V_i y_i exactly. The
    paper takes a complete QR factorisation, of which only these columns ever act; where n_i^red = n_i nothing can be
    gained and V_i is the identity, so such layers, whole stacks among them, keep their bits. Signs are as they fall.

    Why rank A_i cannot be beaten. Any reduction by a change of basis keeps z_i in a subspace U_i that contains b_i and
    W_i U_{i-1}, U_0 = R^n. The ranges of the A_i are the least such chain: range A_i = span(b_i) + W_i range A_{i-1},
    and this only grows with U_{i-1}; by induction every valid U_i contains range A_i, so all widths are least at once.
    Directions that the next layer ignores must stay: rho_i sees them through |A_i u|^2, u = (1, y), a quadratic form of
    rank rank A_i, and a layer with the same form A'^T A' = A_i^T A_i has at least so many rows. A width is at least 1.
    The rank is that above the rounding level max(n_i, n_{i-1}) eps |[b_i, W_i]|_F. Growing runs, and all layers of a
    stack that changes its rank more than 1,000 times, are treated alike: the former stay, the latter get the largest.

    Cost: sum of n_i n_{i-1} n_{i-1}^red operations; a stack that keeps its width costs nothing with "qr".
    Raises TypeError for something that is not a radial network of float32 or float64, ValueError for weights that are
    not finite, shapes that do not fit, layers that share weights, an unknown method, a negative tol, or a tol > 0 that
    cannot be proved: activations without a Lipschitz constant, or rounding alone exceeds it.
    Source: arXiv 2107.02550, Algorithm 1 and Theorem 6. "rank", "diagonal" and tol go beyond the paper.

    >>> from approx.activations import Squashing
    >>> def layer(rows, columns, *activation):
    ...     return Dense(torch.arange(1.0, rows * columns + 1).reshape(rows, columns), torch.ones(rows), *activation)
    >>> rho = Squashing()
    >>> net = RadialNetwork([layer(8, 1, rho), layer(16, 8, rho), layer(8, 16, rho), layer(1, 8)])
    >>> small = compress(net)
    >>> small.widths, small.reduced_widths, small.parameters
    ((1, 8, 16, 8, 1), (1, 2, 3, 4, 1), (305, 34))
    """
    call = "compress"
    _check_network(call, network)
    tol, radius = _checks.finite(call, "tol", tol), _checks.positive(call, "radius", radius)
    if tol < 0:
        raise ValueError(_checks.message(call, f"tol = {tol:g}", "tol >= 0", "Pass 0 for a lossless compression."))
    samples = _checks.count(call, "samples", samples, least=0)
    seed = _checks.count(call, "seed", seed, least=0)
    method = _checks.one_of(call, "method", method or ("rank" if tol else "qr"), METHODS)
    if tol and method == "qr":
        action = "Use method='rank' or 'diagonal', or tol=0."
        raise ValueError(_checks.message(call, f"method='qr' with tol = {tol:g}", "a lossless 'qr'", action))
    with torch.no_grad():
        budget = Budget(network, RadialNetwork(_Walk(network, "qr").run()), tol, radius) if tol else None
        walk = _Walk(network, method, budget)
        reduced, factors = RadialNetwork(walk.run()), walk.factors
        if method == "diagonal":
            reduced, factors = _diagonal(reduced, factors)
    if budget is not None:
        budget.check()
    reduced.requires_grad_(any(block.weight.requires_grad for block in network.blocks))
    apart, scale = deviation(network, reduced, radius, samples, seed) if samples else (None, None)
    bound = None if budget is None else budget.spent
    return Compression(reduced, network, factors, method, bound, apart, scale, radius, samples, versions(network))


class _Walk:
    """One pass through the layers of a network, which collects the factors."""

    def __init__(self, network: RadialNetwork, method: str, budget: Budget | None = None):
        self.network, self.method, self.budget = network, method, budget
        self.factors = Factors()
        self.basis: Tensor | None = None  # V_{i-1} (n_{i-1}, n_{i-1}^red); None is the identity

    def run(self) -> list[Block]:
        """The reduced blocks."""
        blocks: list[Block] = []
        copies: dict[int, RadialActivation] = {}
        width, first, last = self.network.dim_in, 0, self.network.depth - 1
        for block in self.network.blocks:
            activation = _own(block.activation, copies)
            hidden = min(block.layers, last - first)  # layers that may be reduced
            simple = self.method != "qr" and self.budget is None and block.layers > _LONG
            untouched = isinstance(block, Growing) and simple
            pieces: list[Block] = []
            done = 0
            while done < block.layers:
                if self.basis is None and block.weight.ndim == 3 and (untouched or self.method == "qr"):
                    pieces.append(type(block)(block.weight[done:], block.bias[done:], activation))
                    sizes = block.widths_after(width)[done:hidden]
                    self.factors.extend(len(sizes), functools.partial(_identity, sizes))
                    break
                if isinstance(block, Stack) and simple and done < hidden:
                    pieces += self._long_stack(block, hidden, activation)
                    done = hidden
                else:
                    weight, bias = block.matrix(done, width)
                    pieces.append(self._layer(first + done, weight, bias, activation, done < hidden, untouched))
                    done += 1
            blocks += _packed(pieces) if isinstance(block, Stack) else pieces
            first += block.layers
            width = block.widths_after(width)[-1]
        return blocks

    def _layer(
        self, index: int, weight: Tensor, bias: Tensor, activation: RadialActivation | None, hidden: bool, whole: bool
    ) -> Dense:
        """Layer `index` reduced; whole: its full width is kept."""
        moved = weight if self.basis is None else weight @ self.basis
        rows, columns = weight.shape[0], moved.shape[1] + 1
        reduced, factor = (moved, bias), Orthogonal(rows)
        if hidden and not whole:
            if self.method == "qr":
                if rows > columns:
                    reflectors, tau = torch.geqrf(torch.cat([bias[:, None], moved], dim=1))
                    factor, upper = Orthogonal(rows, reflectors, tau), _upper(reflectors)
                    reduced = (upper[:, 1:], upper[:, 0])
                count = min(rows, columns)
            else:
                factor, count = self._revealing(index, weight, moved, bias)
        elif self.budget is not None and not (self.basis is None and self.method == "rank"):
            self.budget.spend(index, self._rounding(weight, moved, bias, self.budget.size))
        self.basis = None if factor.is_identity else factor.columns(count)
        if self.method != "qr" and self.basis is not None:
            reduced = (self.basis.T @ moved, self.basis.T @ bias)
        if self.budget is not None:
            self.budget.advance(index, *reduced, activation)
        if hidden:
            self.factors.extend(1, lambda _: factor)
        return Dense(*reduced, activation)

    def _revealing(self, index: int, weight: Tensor, moved: Tensor, bias: Tensor) -> tuple[Orthogonal, int]:
        """The factor whose leading columns span the range of [bias, moved], and how many of them to keep."""
        size = 1.0 if self.budget is None else self.budget.size  # of y, which the bound weighs with 1
        largest = max(1.0, size)
        map_ = torch.cat([bias[:, None] / largest, size / largest * moved], dim=1)
        rows, columns = map_.shape
        reflected = torch.geqrf(map_) if rows > columns else None
        small = map_ if reflected is None else _upper(reflected[0])
        turn, singular, _ = torch.linalg.svd(small, full_matrices=False)
        if self.budget is None:
            rounding = max(weight.shape) * torch.finfo(weight.dtype).eps * _size(weight, bias)
            count = max(1, int((singular > rounding).sum()))
        else:
            rounding = self._rounding(weight, moved, bias, size)
            unchanged = rows <= columns and self.basis is None and self.method == "rank"
            count = self.budget.rank(index, largest * singular.double(), rounding, 0.0 if unchanged else rounding)
        if count == rows:
            return Orthogonal(rows), rows
        if reflected is None:
            return Orthogonal(rows, core=turn), count
        return Orthogonal(rows, *reflected, None if count == columns else turn), count

    def _rounding(self, weight: Tensor, moved: Tensor, bias: Tensor, size: float) -> float:
        """A bound of what rounding moves the argument of the activation by: products, QR, SVD, non-orthogonality;
        size: of the vectors that the layer is applied to."""
        factor = 32 if self.method == "diagonal" else 16
        share = factor * torch.finfo(weight.dtype).eps * sum(weight.shape) * math.sqrt(moved.shape[1] + 1)
        return share * _size(weight, bias) * math.hypot(1.0, size)

    def _long_stack(self, block: Stack, hidden: int, activation: RadialActivation | None) -> list[Block]:
        """The first `hidden` layers of a long stack, in runs of equal width."""
        incoming = None if self.basis is None else self.basis.cpu().numpy()
        found = reduce_stack(block.weight[:hidden].cpu().numpy(), block.bias[:hidden].cpu().numpy(), incoming)
        weights, biases, counts, reflectors, tau = (torch.from_numpy(value).to(block.weight.device) for value in found)
        ranks, size = counts.tolist(), block.weight.shape[1]
        kept = ranks
        if sum(a != b for a, b in itertools.pairwise(ranks)) > _PIECES:
            kept = [max(ranks)] * hidden
        start = size if self.basis is None else self.basis.shape[1]
        if min(kept) == size:  # nothing to gain: only the first layer changes, by the basis of its input
            weights, biases, ranks = block.weight[:hidden].clone(), block.bias[:hidden], kept
            if self.basis is not None:
                weights[0] = 0
                weights[0, :, :start] = block.weight[0] @ self.basis

        def factor(layer: int) -> Orthogonal:
            if ranks[layer] == size:
                return Orthogonal(size)
            return Orthogonal(size, reflectors[layer, :, : kept[layer]], tau[layer, : kept[layer]])

        pieces: list[Block] = []
        first = 0
        for rank, run in itertools.groupby(kept):
            stop = first + len(list(run))
            if start != rank:
                pieces.append(Dense(weights[first, :rank, :start], biases[first, :rank], activation))
                first += 1
            if stop > first:
                pieces.append(Stack(weights[first:stop, :rank, :rank], biases[first:stop, :rank], activation))
            first, start = stop, rank
        self.factors.extend(hidden, factor)
        last = factor(hidden - 1)
        self.basis = None if last.is_identity else last.columns(kept[-1])
        return pieces


def _packed(blocks: list[Block]) -> list[Block]:
    """Runs of square layers of equal width as stacks again."""
    packed: list[Block] = []
    for shape, run in itertools.groupby(blocks, lambda block: block.weight.shape if type(block) is Dense else None):
        layers = list(run)
        if shape is None or shape[0] != shape[1] or len(layers) == 1:
            packed += layers
        else:
            weights, biases = (torch.stack([getattr(layer, name) for layer in layers]) for name in ("weight", "bias"))
            packed.append(Stack(weights, biases, layers[0].activation))
    return packed


def _diagonal(network: RadialNetwork, factors: Factors) -> tuple[RadialNetwork, Factors]:
    """Layers 2, 4, ... with a hidden layer on both sides turned to their singular values; the factors to match."""
    layers, turned = list(network.layers()), list(factors)
    weights, biases = [weight for weight, _, _ in layers], [bias for _, bias, _ in layers]
    for i in range(1, len(layers) - 1, 2):
        left, singular, right = torch.linalg.svd(weights[i], full_matrices=True)
        weights[i - 1], biases[i - 1] = right @ weights[i - 1], right @ biases[i - 1]
        weights[i] = torch.zeros_like(weights[i])
        weights[i].diagonal()[:] = singular
        biases[i] = left.T @ biases[i]
        weights[i + 1] = weights[i + 1] @ left
        turned[i - 1], turned[i] = turned[i - 1].turned(right.T), turned[i].turned(left)
    result = Factors()
    result.extend(len(turned), turned.__getitem__)
    activations = (activation for _, _, activation in layers)
    return RadialNetwork.from_layers(zip(weights, biases, activations, strict=True)), result


def _identity(sizes: Sequence[int], layer: int) -> Orthogonal:
    return Orthogonal(sizes[layer])


def _own(activation: RadialActivation | None, copies: dict[int, RadialActivation]) -> RadialActivation | None:
    """The activation itself, or a copy if it has parameters, shared by the same layers as before."""
    if activation is None or next(activation.parameters(), None) is None:
        return activation
    if id(activation) not in copies:
        copies[id(activation)] = copy.deepcopy(activation)
    return copies[id(activation)]


def _upper(reflectors: Tensor) -> Tensor:
    """The triangle R (k, k) that torch.geqrf leaves above its reflectors (n, k); triu starts threads at any size."""
    index = torch.arange(reflectors.shape[1], device=reflectors.device)
    return reflectors[: len(index)].masked_fill(index[:, None] > index, 0)


def _size(weight: Tensor, bias: Tensor) -> float:
    """|[b, W]|_F."""
    return math.hypot(float(torch.linalg.vector_norm(weight)), float(torch.linalg.vector_norm(bias)))


def _check_network(call: str, network: RadialNetwork) -> None:
    if not isinstance(network, RadialNetwork):
        action = "Pass construction.network, or make one with RadialNetwork.from_sequential."
        received = f"network = {_checks.show(network)}"
        raise TypeError(_checks.message(call, received, "a RadialNetwork", action))
    seen: set[int] = set()
    for position, block in enumerate(network.blocks):
        place = f"block {position}"
        if block.activation is not None and not isinstance(block.activation, RadialActivation):
            received = f"{place} with activation {_checks.show(block.activation)}"
            action = "Only these commute with orthogonal maps; wrap a profile h with RadialActivation(h)."
            raise TypeError(_checks.message(call, received, "radial activations", action))
        for name, value in (("weight", block.weight), ("bias", block.bias)):
            if value.dtype != network.dtype or value.dtype not in (torch.float32, torch.float64):
                received = f"{place} with {name} of {value.dtype}"
                required = "one dtype, float32 or float64"
                raise TypeError(_checks.message(call, received, required, "Convert the network, e.g. .double()."))
            if not torch.isfinite(value.sum()) and not torch.isfinite(value).all():  # the sum is ten times as fast
                received = f"{place} with NaN or infinity in its {name}"
                raise ValueError(_checks.message(call, received, "finite weights", "Take an earlier state of it."))
            if value.data_ptr() in seen:
                received = f"{place}, whose {name} also belongs to another layer"
                action = "Compression would untie them; give every layer its own copy."
                raise ValueError(_checks.message(call, received, "layers that share no parameters", action))
            seen.add(value.data_ptr())
        if block.bias.shape != block.weight.shape[:-1]:
            received = f"{place} with weight {tuple(block.weight.shape)} and bias {tuple(block.bias.shape)}"
            raise ValueError(_checks.message(call, received, "weight (..., out, in), bias (..., out)", "Check them."))
    RadialNetwork(network.blocks)  # raises where the blocks do not fit together
