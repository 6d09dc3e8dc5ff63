"""Deliberately broken certifiers must be caught: each row changes one line, and its check must fail.

The package is imported anew from the changed source, next to the real one, which is put back afterwards. Kernels of the
changed module run as Python, so that nothing is compiled for one check.
"""

import importlib
import sys
from contextlib import contextmanager
from importlib.machinery import PathFinder, SourceFileLoader

import pytest

import approx
from tests.approx.certifier_checks import (
    arithmetic,
    both_sides,
    boundaries,
    boxes,
    claims,
    corners,
    decisions,
    dense,
    disks,
    ellipses,
    far_away,
    first_match,
    forms,
    infinity,
    level_sets,
    models,
    nothing_known,
    profiles,
    quantities,
    rims,
    series,
    sums,
    value_errors,
)

PACKAGE = "approx.certification"
UNCOMPILED = (
    "from approx._compile import compiled\n",
    "compiled = lambda function=None, **_: function or (lambda inner: inner)\n",
)


class Mutation(SourceFileLoader):
    """Loads a module with one piece of its source replaced and its kernels not compiled."""

    def __init__(self, name, path, old, new):
        super().__init__(name, path)
        self.old, self.new = old, new

    def exec_module(self, module):
        source = self.get_data(self.path).decode()
        assert source.count(self.old) == 1, (
            f"{self.name} must contain {self.old!r} once, not {source.count(self.old)} times"
        )
        source = source.replace(self.old, self.new).replace(*UNCOMPILED)
        exec(compile(source, f"<mutant of {self.name}>", "exec"), module.__dict__)


class Finder:
    def __init__(self, name, old, new):
        self.name, self.change = f"{PACKAGE}.{name}", (old, new)

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        spec = PathFinder.find_spec(name, path)
        spec.loader = Mutation(name, spec.origin, *self.change)
        return spec


@contextmanager
def mutant(name, old, new):
    """The package with the change."""
    real = {key: module for key, module in sys.modules.items() if key.startswith(PACKAGE)}
    finder = Finder(name, old, new)
    sys.meta_path.insert(0, finder)
    for key in real:
        del sys.modules[key]
    try:
        yield importlib.import_module(PACKAGE)
    finally:
        sys.meta_path.remove(finder)
        for key in [key for key in sys.modules if key.startswith(PACKAGE)]:
            del sys.modules[key]
        sys.modules.update(real)
        approx.certification = real[PACKAGE]


MUTANTS = [
    ("intervals", "    x -= slack\n", "    pass\n", arithmetic),
    ("intervals", "    x += slack\n", "    pass\n", arithmetic),
    ("intervals", "return unchecked(np.maximum(down(near * near), 0.0), up(far * far))",
     "return unchecked(near * near, far * far)", arithmetic),
    ("intervals", "UNIT = 2.0**-52", "UNIT = 2.0**-56", arithmetic),
    ("intervals", "return np.maximum(np.maximum(a.lo, -a.hi), 0.0)",
     "return np.minimum(np.abs(a.lo), np.abs(a.hi))", boxes),
    ("intervals", "np.subtract: lambda a, b: unchecked(down(a.lo - b.hi), up(a.hi - b.lo)),",
     "np.subtract: lambda a, b: unchecked(down(a.lo - b.lo), up(a.hi - b.hi)),", boxes),
    ("intervals", "_wave(np.sin, 0.25)", "_wave(np.sin, 0.75)", boxes),
    ("intervals", "return np.floor(high - phase) >= np.ceil(low - phase)",
     "return np.floor(high - phase) > np.ceil(low - phase)", boxes),
    ("intervals", "return view(a.lo) == view(b.lo) and view(a.hi) == view(b.hi)", "return True", boxes),
    ("intervals", "if factor.lo > 0.0 else unchecked(down(hi), up(lo))", "", boxes),
    ("jets", "form.value, boxes - form.middle", "form.value, (boxes - form.middle) * 0.5", boxes),
    ("jets", "np.sin: (lambda v, a: np.cos(a),),", "np.sin: (lambda v, a: np.cos(unchecked(a.lo, a.lo)),),", boxes),
    ("jets", "np.multiply: (lambda v, a, b: b, lambda v, a, b: a),",
     "np.multiply: (lambda v, a, b: a, lambda v, a, b: b),", boxes),
    ("jets", "return unchecked(np.where(above & ~below, 1.0, -1.0), np.where(below & ~above, -1.0, 1.0))",
     "return unchecked(np.where(below, -1.0, 1.0), np.where(below, -1.0, 1.0))", boxes),
    ("enclosures", "radius = np.linalg.norm(np.maximum(upper - middle, middle - lower), axis=1) * ROUNDING",
     "radius = np.max(np.maximum(upper - middle, middle - lower), axis=1) * ROUNDING", corners),
    ("enclosures", "unchecked(down(at_middle - change), up(at_middle + change))",
     "unchecked(down(at_middle - change / 2), up(at_middle + change / 2))", corners),
    ("enclosures", "    return Enclosure(target, basis, True, _modulus_bounds(target))",
     "    return Enclosure(target, basis, False, _modulus_bounds(target))", corners),
    ("cells", "for e in range(starts[parent], starts[parent + 1]):",
     "for e in range(starts[parent + 1] - 1, starts[parent] - 1, -1):", first_match),
    ("cells", "            if far < inner[i]:\n", "            if near < inner[i]:\n", first_match),
    ("cells", "            if near > outer[i]:\n", "            if far > outer[i]:\n", first_match),
    ("cells", "        slack = self.collars\n        if", "        slack = 0 * self.collars\n        if", both_sides),
    ("cells", "radii = np.maximum(self.radii + self.collars, 0.0)", "radii = np.maximum(self.radii, 0.0)", both_sides),
    ("cells", "low += one if entry > 0.0 else other", "low += one", ellipses),
    ("cells", "extents = np.linalg.norm(inverse, axis=2) * radii[:, None]",
     "extents = np.abs(np.einsum('kii->ki', inverse)) * radii[:, None]", ellipses),
    ("_constrained", "edge = outer[members[c]] if inside else inner[members[c]]",
     "edge = inner[members[c]]", rims),
    ("_constrained", "total = start + turn * (q - limit)", "total = start + t * (q - limit)", rims),
    ("_constrained", "        total += t * bend\n", "        total += 0.0\n", rims),
    ("_constrained", "for back in range(count if last else e + 1):", "for back in range(count):", rims),
    ("_constrained", "if not (0.0 < t < 1e100):", "if t != t:", rims),
    ("_constrained", "total += max(abs(sign * slopes[s + a] + shift), abs(sign * slopes[s + n + a] + shift))",
     "total += min(abs(sign * slopes[s + a] + shift), abs(sign * slopes[s + n + a] + shift))", rims),
    ("_constrained", "[-low, level - low] + rounding", "[high, high - level] + rounding", rims),
    ("_constrained", "2.0 * radius * gradient", "radius * gradient", rims),
    ("_constrained", "square += largest * largest", "square = largest * largest", rims),
    ("_boxes", "        proper = low <= high\n        return",
     "        proper = ~(low > high)\n        return", nothing_known),
    ("_boxes", "return (norm(gap) * self._up + error) * self._up",
     "return norm(gap) * self._up * self._up", value_errors),
    ("_boxes", "self._upward(gap, self.errors[cells])", "self._upward(gap, 0.0)", value_errors),
    ("_boxes", "return np.maximum((size - error) * self._down, 0.0), highest, decided",
     "return np.maximum(size * self._down, 0.0), highest, decided", value_errors),
    ("_boxes", "return ~(norm(gap) > self.ball.radius * self._wide)",
     "return ~(norm(gap) > self.ball.radius * 0.9)", disks),
    ("_boxes", "decided = valid & (in_cell | (~closed & (counts == 0)))", "decided = valid", both_sides),
    ("_boxes", "bounds, box = np.where(closed, 0.0, outside[rows]), np",
     "bounds, box = np.zeros(len(rows)), np", disks),
    ("branch", "if limits.eps is not None and upper <= limits.eps:",
     "if limits.eps is not None and not upper <= limits.eps:", decisions),
    ("_halving", "        return max(self.lower, top, self.done.bound if self.done else 0.0)",
     "        return max(self.lower, top)", decisions),
    ("_certify", "if tail is not None and tail.bound > upper:", "if tail is None:", far_away),
    ("_infinity", "if not same_slope or not np.isfinite(found.reach):", "if not np.isfinite(found.reach):", far_away),
    ("_infinity", "np.nextafter(bounds[first] + offset, np.inf)", "np.nextafter(bounds[first], np.inf)", far_away),
    ("_certify", "    check_claims(target)\n", "", claims),
    ("_certify", "conditional = enclosure.conditional or bool", "conditional = bool", corners),
    ("pieces", "return Cells(self.centers[chosen], self.radii[chosen], collars=collars[chosen])",
     "return Cells(self.centers[chosen], self.radii[chosen])", boundaries),
    ("pieces", "drift = Drift(errors.norm[self.layers], errors.shift[self.layers])",
     "drift = Drift(0 * errors.norm[self.layers], 0 * errors.shift[self.layers])", boundaries),
    ("forms", "rounded = rounding * (size", "rounded = 1e-3 * rounding * (size", forms),
    ("forms", "rest = (steep * (second + bend * reach + v.slack * p) + rounding) * grow",
     "rest = rounding * grow", forms),
    ("forms", "zeroed = np.flatnonzero(~(low >= 1))", "zeroed = np.flatnonzero(high < 1)", forms),
    ("forms", "kept = ~(high < 1)", "kept = low >= 1", forms),
    ("forms", "(rest + line.error * p + np.fmin(", "(rest + np.fmin(", forms),
    ("forms", "low = middle - swing - slack", "low = middle + swing - slack", forms),
    ("forms", "ends[0].min(axis=0), ends[1].max(axis=0)", "ends[0].min(axis=0), ends[0].max(axis=0)", forms),
    ("forms", "large = ~(rounded <= rounding", "large = (rounded != rounded) & (rounded <= rounding", dense),
    ("_lines", "return low.min(axis=0), high.max(axis=0)", "return low.max(axis=0), high.min(axis=0)", forms),
    ("_lines", "most = factor.lo.min(axis=0), factor.hi.max(axis=0)",
     "most = factor.hi.min(axis=0), factor.lo.max(axis=0)", forms),
    ("_profiles", "np.where((r.lo <= peak[1]) & (r.hi >= peak[0]), most,", "np.where(r.lo > np.inf, most,", profiles),
    ("dense", "least, most = np.fmax(least, joint[0]), np.fmin(most, joint[1])",
     "least, most = np.fmax(least, joint[1]), np.fmin(most, joint[0])", dense),
    ("dense", "        terms[1 + j] -= moved\n", "        terms[1 + j] += moved\n", dense),
    ("dense", "error += (half * (1 + 4 * UNIT)) * radius[:, j] + ", "error += ", dense),
    ("_series", "dropped += of_a[d, k] * tail", "dropped += 0.5 * of_a[d, k] * tail", series),
    ("_series", "            tail, lowest = 0.0, top\n", "            tail, lowest = 0.0, top - 1\n", series),
    ("_series", "rounding = _ROUNDING * counted_a * counted_b + terms", "rounding = terms", series),
    ("_series", "+ error_a * (size_b + error_b) + size_a * error_b)", "+ error_a * error_b)", series),
    ("_series", "known(terms, (missing + rest) * (1 + 4 * UNIT))", "known(terms, missing * (1 + 4 * UNIT))", series),
    ("_series", "for i in range(1, count):\n                spread",
     "for i in range(2, count):\n                spread", series),
    ("_expansions", "found[-1] / (j + 1.0))\n    return found\n\n\ndef _expm1",
     "found[-1] / (j + 2.0))\n    return found\n\n\ndef _expm1", series),
    ("_expansions", "_waves((1, 1, -1, -1), x,", "_waves((1, 1, 1, -1), x,", series),
    ("_expansions", "rest = sign * total", "rest = total", series),
    ("taylor", "rest = np.maximum(np.abs(series[-1].lo[1]), np.abs(series[-1].hi[1]))",
     "rest = np.abs(series[-1].lo[0])", series),
    ("models", "+ self._evaluation(profile, factor.bounds, middle, radius, size)", "", models),
    ("models", "error = (layer.magnitude @ error + rounded)", "error = (layer.magnitude @ error)", models),
    ("models", "error = (layer.magnitude @ error + rounded)", "error = (0 * error[:1] + rounded)", models),
    ("models", "inner, shrunk, factor.error)", "inner, 0 * shrunk, factor.error)", models),
    ("outside", "up(model.error + error))", "model.error)", infinity),
    ("outside", "if slope != _Dyadic.of(affine.matrix):",
     "if not np.allclose(slope.rounded(), affine.matrix):", infinity),
    ("outside", "added(*_mapped(step.slope, direction), *self._times(t, rest))",
     "_mapped(step.slope, direction)", infinity),
    ("outside", "            rest = models._affine(step.layer, *rest)\n", "", infinity),
    ("outside", "np.full(boxes, -step.far.shift)", "np.full(boxes, step.far.shift)", infinity),
    ("outside", "_blurred(z._lift(height), step.far.rest(least)) * inverse",
     "_blurred(z._lift(height), step.far.rest(least))", infinity),
    ("outside", "face[0] = self.side", "face[0] = 1.0", infinity),
    ("outside", "terms[:, : self.axis], face, terms[:, self.axis : -1]", "terms[:, :-1], face", infinity),
    ("outside", "constant[0] = -self.offset[:, None]", "constant[0] = self.offset[:, None]", infinity),
    ("_profiles", "np.exp(b - r) * (1 + 2.0**-32) + TINY", "np.exp(b - 2 * r)", infinity),
    ("_infinity", "np.nextafter(high + bound, np.inf)", "np.nextafter(high, np.inf)", far_away),
    ("pieces", "return float(np.linalg.norm(fixed.last + relative.last * radius)) * OUTWARD", "return 0.0", sums),
    ("_levels", "size = float(np.abs(level.along) @ level.reach)",
     "size = float(abs(level.along @ level.reach))", level_sets),
    ("_levels", "float(np.linalg.norm(core.center - level.center)) + core.radius) ** 2",
     "float(np.linalg.norm(core.center - level.center)) - core.radius) ** 2", level_sets),
    ("_levels", "np.einsum(\"ki,ij,kj->k\", corners, level.gram, corners).max())",
     "np.einsum(\"ki,ij,kj->k\", corners, level.gram, corners).min())", level_sets),
    ("_levels", "outer = np.square(np.maximum(cells.radii + cells.collars, 0.0)) * (1 + 8 * _U)",
     "outer = np.square(np.maximum(cells.radii, 0.0)) * (1 + 8 * _U)", level_sets),
    ("_levels", "inner = np.square(np.maximum(cells.radii - cells.collars, 0.0)) * (1 - 8 * _U)",
     "inner = np.square(np.maximum(cells.radii, 0.0)) * (1 - 8 * _U)", level_sets),
    ("_levels", "errors[-1] = (errors[-1] + off) * (1 + 8 * _U)", "errors[-1] = errors[-1]", level_sets),
    ("_levels", "offset = affine.offset + affine.matrix @ level.center", "offset = affine.offset", level_sets),
    ("_levels", "inner, outer = np.sqrt(inner), np.sqrt(outer)", "inner, outer = inner, outer", level_sets),
    ("_quadratics", "            rest = rest + left * level.sizes[p]\n", "", quantities),
    ("_quadratics", "quadratic = [square[i, i] if i == j else 2 * square[i, j] for i, j in self.pairs]",
     "quadratic = [square[i, j] for i, j in self.pairs]", quantities),
    ("_quadratics", "np.zeros(())).rounded(self.error + other.error)", "np.zeros(()))", quantities),
    ("_quadratics", "r = place[min(p, q) - 1, max(p, q) - 1]", "r = place[p - 1, p - 1]", quantities),
    ("_quadratics", "np.square(t) if level.gram is None else t)", "t)", quantities),
    ("_quadratics", "level.center + up(level.reach, 2) +", "level.center +", quantities),
]  # fmt: skip
CHECKS = list(dict.fromkeys(row[3] for row in MUTANTS))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_certifier_passes_every_check(check):
    check(approx.certification)


@pytest.mark.parametrize(
    ("name", "old", "new", "check"), MUTANTS, ids=lambda value: value.strip()[:40] if isinstance(value, str) else ""
)
def test_every_mutant_is_caught(name, old, new, check):
    with mutant(name, old, new) as broken:
        assert sys.modules[f"{PACKAGE}.{name}"].__spec__.loader.__class__ is Mutation
        with pytest.raises(BaseException) as caught:  # pytest.fail is no Exception
            check(broken)
    assert isinstance(caught.value, Exception) or "DID NOT RAISE" in str(caught.value)
    assert approx.certification is sys.modules[PACKAGE] and approx.certify is approx.certification.certify
