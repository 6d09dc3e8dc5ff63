"""Matrix products in vector registers, written as LLVM vectors for the compiled engine.

Points lie side by side in the lanes of a vector, coordinates in the rows of a state (d, block). A tile multiplies a
matrix with a few vectors of points and keeps all its sums in registers, of which processors have different kinds and
numbers. Every entry is bias + w_1 x_1 + ... + w_d x_d, added from left to right with fused multiply-add, so it does not
depend on where in the block a point stands.
"""

from __future__ import annotations

import functools

from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["BYTES", "REGISTERS", "ROWS", "SIDE", "affine_tile", "square_tile"]


def _registers() -> tuple[int, int]:
    """Bytes of a vector register of this processor, and how many it has."""
    try:
        features = get_host_cpu_features()
    except RuntimeError:  # not known for every system
        features = {}
    if features.get("avx512f"):
        return 64, 32
    if features.get("avx2"):
        return 32, 16
    return 16, 32 if features.get("neon") else 16


BYTES, REGISTERS = _registers()
ROWS, SIDE = 4, 4 if REGISTERS == 32 else 2  # sums of an affine tile: rows and vectors


class _Vectors:
    """Loads, stores and arithmetic on vectors of one element type."""

    def __init__(self, context, builder, dtype):
        self.context, self.builder = context, builder
        self.element = context.get_value_type(dtype)
        self.size = dtype.bitwidth // 8
        self.lanes = BYTES // self.size
        self.vector = ir.VectorType(self.element, self.lanes)
        name = f"llvm.fma.v{self.lanes}f{dtype.bitwidth}"
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        self._fma = cgutils.get_or_insert_function(builder.module, kind, name)
        self.zero = ir.Constant(self.vector, [self.element(0.0)] * self.lanes)
        self.one = ir.Constant(self.vector, [self.element(1.0)] * self.lanes)

    def array(self, kind, value):
        return self.context.make_array(kind)(self.context, self.builder, value)

    def pointer(self, kind, array, *index):
        """Address of an entry of a C-contiguous array."""
        shape = cgutils.unpack_tuple(self.builder, array.shape, kind.ndim)
        strides = cgutils.unpack_tuple(self.builder, array.strides, kind.ndim)
        return cgutils.get_item_pointer2(self.context, self.builder, array.data, shape, strides, "C", index)

    def moved(self, pointer, steps):
        return self.builder.gep(pointer, [ir.Constant(ir.IntType(64), steps)])

    def load(self, pointer):
        return self.builder.load(self._cast(pointer), align=self.size)

    def store(self, value, pointer):
        self.builder.store(value, self._cast(pointer), align=self.size)

    def spread(self, pointer):
        """One number in all lanes."""
        place = ir.Constant(ir.IntType(32), 0)
        single = self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), self.builder.load(pointer), place)
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [ir.IntType(32)(0)] * self.lanes)
        return self.builder.shuffle_vector(single, single, mask)

    def fma(self, a, b, c):
        return self.builder.call(self._fma, [a, b, c])

    def add_square(self, total, value):
        return self.builder.fmul(value, value) if total is None else self.fma(value, value, total)

    def _cast(self, pointer):
        return self.builder.bitcast(pointer, self.vector.as_pointer())


def _literals(*values):
    return all(isinstance(value, types.IntegerLiteral) for value in values)


@intrinsic(prefer_literal=True)
def square_tile(typing, weights, biases, layer, state, out, squares, k, d, group, side, step):
    """weights[layer] @ state[:, k : k + side * lanes] + biases[layer] in its place, or in `out` if group < d.

    weights (N, d, d), biases (N, d), state and out (d, block), squares (block,). With step = 1 vectors of squared
    length below 1 become zero, otherwise the squared lengths go to `squares`. d, group, side and step are literal
    integers; `group` rows are summed at a time.
    """
    if not _literals(d, group, side, step):
        return None
    rows, together, count, stepped = d.literal_value, group.literal_value, side.literal_value, step.literal_value
    signature = types.void(weights, biases, types.intp, state, out, squares, types.intp, d, group, side, step)

    def emit(context, builder, signature, values):
        kinds = signature.args
        v = _Vectors(context, builder, weights.dtype)
        w, b, s, o, q = (v.array(kinds[i], values[i]) for i in (0, 1, 3, 4, 5))
        row, k = [ir.Constant(ir.IntType(64), i) for i in range(rows)], values[6]
        matrix, bias = v.pointer(kinds[0], w, values[2], row[0], row[0]), v.pointer(kinds[1], b, values[2], row[0])
        points, results = ([v.pointer(kinds[p], a, row[i], k) for i in range(rows)] for p, a in ((3, s), (4, o)))
        squares, sums = [None] * count, {}
        for start in range(0, rows, together):
            part = range(start, min(start + together, rows))
            for i in part:
                sums[i] = [v.spread(v.moved(bias, i))] * count
            for j in range(rows):
                x = [v.load(v.moved(points[j], c * v.lanes)) for c in range(count)]
                for i in part:
                    entry = v.spread(v.moved(matrix, i * rows + j))
                    sums[i] = [v.fma(entry, x[c], sums[i][c]) for c in range(count)]
            for i in part:
                squares = [v.add_square(total, value) for total, value in zip(squares, sums[i], strict=True)]
                if together < rows:
                    for c in range(count):
                        v.store(sums[i][c], v.moved(results[i], c * v.lanes))
        places = [(i, c) for i in range(rows) for c in range(count)]
        small = [builder.fcmp_ordered("<", square, v.one) for square in squares]  # false for NaN, which is kept
        if not stepped:
            for c in range(count):
                v.store(squares[c], v.moved(v.pointer(kinds[5], q, k), c * v.lanes))
        if together >= rows:
            for i, c in places:
                value = builder.select(small[c], v.zero, sums[i][c]) if stepped else sums[i][c]
                v.store(value, v.moved(points[i], c * v.lanes))
        elif stepped:  # seldom any
            some = builder.bitcast(functools.reduce(builder.or_, small), ir.IntType(v.lanes))
            with builder.if_then(builder.icmp_unsigned("!=", some, ir.Constant(ir.IntType(v.lanes), 0)), likely=False):
                for i, c in places:
                    place = v.moved(results[i], c * v.lanes)
                    v.store(builder.select(small[c], v.zero, v.load(place)), place)
        return context.get_dummy_value()

    return signature, emit


@intrinsic(prefer_literal=True)
def affine_tile(typing, weights, biases, layer, state, out, i, k, rows):
    """out[i : i + rows, k : ...] = weights[layer, i : i + rows] @ state[:, k : ...] + biases[layer, i : i + rows].

    weights (N, o, d), biases (N, o), state (>= d, block), out (>= o, block), SIDE vectors of points. rows is a literal
    integer.
    """
    if not _literals(rows):
        return None
    height = rows.literal_value
    signature = types.void(weights, biases, types.intp, state, out, types.intp, types.intp, rows)

    def emit(context, builder, signature, values):
        kinds = signature.args
        v = _Vectors(context, builder, weights.dtype)
        w, b, s, o = (v.array(kinds[p], values[p]) for p in (0, 1, 3, 4))
        zero = ir.Constant(ir.IntType(64), 0)
        row = [builder.add(values[5], ir.Constant(ir.IntType(64), r)) for r in range(height)]
        sums = []
        for r in range(height):
            start = v.spread(v.pointer(kinds[1], b, values[2], row[r]))
            sums.append([cgutils.alloca_once_value(builder, start) for _ in range(SIDE)])
        inputs = cgutils.unpack_tuple(builder, w.shape, 3)[2]
        with cgutils.for_range(builder, inputs) as loop:
            x = [v.load(v.moved(v.pointer(kinds[3], s, loop.index, values[6]), c * v.lanes)) for c in range(SIDE)]
            for r in range(height):
                entry = v.spread(v.pointer(kinds[0], w, values[2], row[r], loop.index))
                for c in range(SIDE):
                    builder.store(v.fma(entry, x[c], builder.load(sums[r][c])), sums[r][c])
        for r in range(height):
            target = v.pointer(kinds[4], o, row[r], values[6])
            for c in range(SIDE):
                v.store(builder.load(sums[r][c]), v.moved(target, c * v.lanes))
        del zero
        return context.get_dummy_value()

    return signature, emit
