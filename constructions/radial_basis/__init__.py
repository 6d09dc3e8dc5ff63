"""Radial-basis networks: the same width n + m + 1 for other activations than Step-ReLU, without training.

Statement. Let lambda(r) = h(r)/r -> 1 as r -> infinity, write delta = 1 - lambda, and suppose that for some levels
H -> infinity and slopes K = K(H) the functions

    phi_H(d) = delta(sqrt(H^2 + K^2 d^2)) / delta(H)

tend, uniformly for d in bounded sets, to a continuous phi that is no even polynomial. Then the radial networks with
activation h and all hidden widths n + m + 1 are dense in C(X, R^m) for every compact X in R^n.
If moreover |phi_H(d)| <= g(d) with g -> 0 at infinity, and phi(|x|) has a Fourier transform that is positive away from
0 (as inverse multiquadrics and Gaussians have), they approximate every asymptotically constant f uniformly on all of
R^n. For asymptotically affine f = L + f_0 the same holds if also sup_t t |delta(sqrt(H^2 + K^2 t^2))| -> 0.

Which h. If delta is regularly varying with index -p < 0, phi(d) = (1 + kappa^2 d^2 / p)^(-p/2): p = 1 for the shifted
ReLU (delta = b/r, the formula holds at every level) and for radial softplus with a shift, an inverse multiquadric.
If -r delta'/delta -> infinity, regularly (radial swish, radial softplus without shift), phi(d) = exp(-kappa^2 d^2 / 2).
Not: bounded h (lambda -> 0), and h(r) = r beyond some radius (Step-ReLU: delta = 0 there, so a level does nothing).
That lambda -> 1 alone suffices is not proved here: phi_H may have no limit when delta oscillates.

Proof. (1) Layer i has the constant coordinate H, so it multiplies (x - c_i, y, H) by lambda_i and the next affine map
reads x' = c_i + (x - c_i) lambda_i / s, y' = y lambda_i / s + a_i phi_H(|x - c_i|) from it (`features`; eta y enters
|v| by less than 2^-80 of it, and with eta -> 0 not at all). (2) So F = A x_N + b + sum_i a_i psi_i with
psi_i = phi_i prod_{j > i} lambda_j / s. With s = lambda(H), N fixed and H -> infinity all lambda_j / s -> 1 on compact
sets, x_j -> x, psi_i -> phi(|x - c_i|), uniformly. (3) The span of phi(kappa |x - c|) over all c and kappa is dense in
C(X) unless phi is an even polynomial (Pinkus, TDI-subspaces of C(R^d) and some density problems from neural networks,
1996): choose N, c_i, K_i, a_i for eps/2, then H for the other half. Vector values share c_i and K_i. (4) On R^n take
s = 1. Translates of phi are dense in C_0(R^n): a finite measure mu that annihilates them has mu^ phi^ = 0, so mu^ = 0
away from 0, and everywhere by continuity. Each layer moves x by at most m_i = sup_t t |delta(sqrt(H^2 + K_i^2 t^2))|,
so for large |x| every psi_i is as small as g, and on compact sets (2) applies. (5) |A x_N - A x| <= |A| sum_i m_i,
where m_i = b/K_i for the shifted ReLU: it falls with H at a fixed kappa = K/H, and costs as many digits.

What is proved and what is measured. The statement above is a proof of density, with no rate. The rates are measured
(tests/benchmarks/bench_radial_basis): for analytic
targets log error is a straight line over N^(1/n) until rounding takes over, for |x| the error is algebraic. `report`
holds a maximum over points of the dense network itself: a lower bound. `build(prove=True)` adds a certificate by Taylor
models (`approx.certification.models`) where n <= 3. It counts every rounding of the network's float64 layers at its
worst, which is 10 to 30 times u D sum |a_i|: where rounding does not matter yet the bound is within a few percent of
the error, and beyond that it is that worst case. On R^n it reaches up to infinity
(`approx.certification.outside`, there in real arithmetic): slopes K_i are powers of two, so the network has A exactly.
`attainable` and `score` are estimates. `beyond` and `slope_error` follow
from formulas, in real arithmetic.

Digits. lambda H is rounded, and phi_H = (H - lambda H) / (H delta(H)) has lost the gain D = 1/delta(H): errors are
about 2 u D |a| for rounding unit u. The weights therefore minimise |F - f|^2 + (u D |a|)^2, in the mean the error with
rounding; D itself is tried at 1, 2 and 4 times the number of layers (less distorts x so much that features degenerate).
In float32 that leaves three to five digits.

    kernels   activation -> kernel and level, or why there is none
    features  what the layers do to points, and their weights as a network
    centers   candidates, and the greedy choice among them
    solve     least squares that knows the rounding; Lawson's iteration
    design    shapes, reach and gain by the error at points held out
    tails     bounds far away
    build     from a target;  data  from samples;  tuning  centres and shapes by L-BFGS
"""

from constructions.radial_basis.build import NAME, build
from constructions.radial_basis.data import from_samples
from constructions.radial_basis.features import Layers, assemble, sweep
from constructions.radial_basis.kernels import Kernel, kernel
from constructions.radial_basis.result import RadialBasis, SampleReport
from constructions.radial_basis.tuning import fine_tune

__all__ = [
    "NAME",
    "Kernel",
    "Layers",
    "RadialBasis",
    "SampleReport",
    "assemble",
    "build",
    "fine_tune",
    "from_samples",
    "kernel",
    "sweep",
]
