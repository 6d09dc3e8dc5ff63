"""A radial network in numpy alone: this file needs nothing else and may be copied anywhere.

    network = Network.from_file("network.npz")      # arrays and a JSON header, written by an export
    network(x)                                      # x (..., n) -> (..., m), in the dtype of the weights

Points are taken in blocks of equal size, stored coordinate by coordinate, through all layers before the next block.
"""

import io
import json

import numpy as np

BLOCK = 1024


class Network:
    """A radial network R^dim_in -> R^dim_out as a numpy function, from the JSON header and the arrays of a plan."""

    def __init__(self, header, arrays):
        facts = json.loads(header)
        if facts.get("format") != "radial-plan" or facts.get("version") != 1:
            raise ValueError("Network: received a header of another format; required radial-plan, version 1.")
        self.dim_in, self.dim_out, self.dtype = facts["dim_in"], facts["dim_out"], np.dtype(facts["dtype"])
        self.steps = []
        for i, step in enumerate(facts["steps"]):
            prefix = f"step{i}."
            named = {name[len(prefix) :]: arrays[name] for name in arrays if name.startswith(prefix)}
            self.steps.append((step["kind"], step["activation"], named))

    @classmethod
    def from_file(cls, file):
        """From an .npz file: its name, or a binary stream."""
        with np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
        return cls(str(arrays.pop("header")), arrays)

    @classmethod
    def from_bytes(cls, data):
        """From the bytes of an .npz file."""
        return cls.from_file(io.BytesIO(data))

    def __call__(self, x):
        """x (..., n), numbers -> (..., m). Raises ValueError when the last axis does not hold n coordinates."""
        points = np.asarray(x)
        if points.dtype.kind not in "fiub" or points.ndim == 0 or points.shape[-1] != self.dim_in:
            required = f"required real numbers of shape (..., {self.dim_in})."
            raise ValueError(f"Network: received {points.dtype} of shape {points.shape}; {required}")
        flat = points.reshape(-1, self.dim_in)
        result = np.empty((len(flat), self.dim_out), self.dtype)
        state = np.zeros((self.dim_in, BLOCK), self.dtype)  # of full size, so that a value does not depend on the rest
        with np.errstate(over="ignore", invalid="ignore", under="ignore"):
            for start in range(0, len(flat), BLOCK):
                part = flat[start : start + BLOCK].T
                state[:, : part.shape[1]] = part
                result[start : start + BLOCK] = self._run(state)[:, : part.shape[1]].T
        return result.reshape(*points.shape[:-1], self.dim_out)

    def _run(self, x):
        for kind, activation, arrays in self.steps:
            if kind == "growing":
                x = _growing(x, activation, **arrays)
                continue
            one = [(arrays.get("weight"), arrays.get("bias"))]
            for w, b in zip(arrays["weight"], arrays["bias"], strict=True) if kind == "stack" else one:
                if w is not None and b is not None:
                    x = w @ x + b[:, None]
                if activation is not None:
                    x = rescale(x, activation)
        return x


def rescale(v, activation):
    """v (d, k), columns -> h(|v|) v / |v|, 0 where v = 0; Step-ReLU keeps v unless its sum of squares is below 1."""
    if activation["name"] == "step_relu":
        return np.where((v * v).sum(axis=0) < 1, v.dtype.type(0), v)
    top = np.abs(v).max(axis=0)
    zero = top == 0
    large = np.sqrt(np.finfo(v.dtype).max) / 1e4
    scale = np.where(zero | (top < 1 / large) | (top > large), np.where(zero, 1, top), 1)  # so that squares are numbers
    scaled = v / scale
    length = np.where(zero, 1, np.sqrt((scaled * scaled).sum(axis=0)))
    return np.where(zero, 0, profile(scale * length, activation) * (scaled / length)).astype(v.dtype)


def profile(r, activation):
    """The profile h(r) of an activation, for radii r >= 0."""
    name, shift = activation["name"], activation.get("shift", 0.0)
    if name == "radial_identity":
        return r
    if name == "squashing":
        return np.where(r < 1, r * r / (1 + r * r), 1 / (1 + (1 / np.maximum(r, 1)) ** 2))
    if name == "rational_squash":
        return r / (1 + r)
    if name == "radial_sigmoid":
        return _sigmoid(r)
    if name == "radial_swish":
        return r * _sigmoid(r)
    if name == "shifted_relu":
        return np.maximum(r - shift, 0)
    if name == "shifted_sigmoid":
        return _sigmoid(r - shift)
    if name == "radial_softplus":
        return np.maximum(r - shift, 0) + np.log1p(np.exp(-np.abs(r - shift)))
    if name == "step_relu":
        return np.where(r < 1, 0, r)
    raise ValueError(f"Network: received the activation {name!r}; required one that this file knows.")


def _sigmoid(t):
    decay = np.exp(-np.abs(t))
    return np.where(t >= 0, 1, decay) / (1 + decay)


def _growing(x, activation, weight, bias, readout, offset):
    """N layers that map the first h coordinates to h + 1 and carry the rest, then an affine map; x (w, k) -> (o, k)."""
    layers, head = weight.shape[0], weight.shape[2]
    carried = (x[head:] * x[head:]).sum(axis=0)  # squared length of the coordinates carried along
    total = readout[:, layers + head :] @ x[head:]  # their share of the readout
    x = x[:head]
    for layer in range(layers):
        grown = weight[layer] @ x + bias[layer][:, None]
        square = (grown * grown).sum(axis=0) + carried
        if activation is None:
            factor = np.ones_like(square)
        elif activation["name"] == "step_relu":
            factor = (~(square < 1)).astype(square.dtype)
        else:
            r = np.sqrt(square)
            factor = np.where(r > 0, profile(r, activation) / np.where(r > 0, r, 1), 0).astype(square.dtype)
        keep = factor != 0
        grown = np.where(keep, factor * grown, 0)
        x, newest = grown[:head], grown[head]
        carried = np.where(keep, factor * factor * carried, 0) + newest * newest
        total = np.where(keep, factor * total, 0) + readout[:, layers + head - 1 - layer, None] * newest
    return readout[:, :head] @ x + total + offset[:, None]
