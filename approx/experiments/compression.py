"""The paper's experiments on compression: it loses nothing, commutes with training, and saves time.

Source: arXiv 2107.02550, section 7, experiments 1 to 3. Where the paper leaves a setting open, PyTorch's usual random
start is taken, and the mean square error over all points and components.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from approx import _checks
from approx.compression import compress
from approx.experiments._result import Experiment, Row, curve, run_trials
from approx.networks import RadialNetwork
from approx.training import Network, Training, random_network, train

__all__ = ["lossless", "projected_descent", "training_time"]

SOURCE = "arXiv 2107.02550, section 7"
_SMALL = (1, 6, 7, 1)
_LARGE = (2, 16, 64, 128, 16, 2)
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


def lossless(*, trials: int = 10, seed: int = 0, progress: bool = False) -> Experiment:
    """Experiment 1: a compressed network has the values of the full one, up to rounding.

    Random networks of widths (1, 6, 7, 1) with shifted sigmoid, at 121 points of [-3, 3]; the mean of |F - F_red| over
    the points. The paper computes in float32. Raises TypeError or ValueError for trials < 1 or seed < 0.

    >>> result = lossless(trials=2)
    >>> bool(result.rows[0].mean < 1e-6 and result.rows[2].mean < 1e-14)  # float32 and float64
    True
    """
    x, y = _gaussian_line()

    def trial(s: int) -> list[float]:
        values = []
        for dtype in _DTYPES.values():
            network = random_network(_SMALL, seed=s, dtype=dtype)
            with torch.no_grad():
                full, reduced = network(x.to(dtype)), compress(network).network(x.to(dtype))
            losses = [float(((part - y.to(dtype)) ** 2).mean()) for part in (full, reduced)]
            values += [float((full - reduced).abs().double().mean()), abs(losses[0] - losses[1])]
        return values

    results, seeds, seconds, interrupted = run_trials("lossless", trial, trials, seed, progress)
    columns = np.array(results).T
    rows = (
        Row("mean |F - F_red|, float32", columns[0], (1.31e-8, 4.45e-9)),
        Row("|loss - loss_red|, float32", columns[1]),
        Row("mean |F - F_red|, float64", columns[2]),
        Row("|loss - loss_red|, float64", columns[3]),
    )
    units = [rows[0].mean / np.finfo(np.float32).eps, rows[2].mean / np.finfo(np.float64).eps]
    commentary = (
        f"The deviation is {units[0]:.2g} units of rounding in float32 (2^-23) and {units[1]:.2g} in float64 (2^-52): "
        "nothing but rounding is left, as Theorem 6 says."
    )
    return Experiment(
        number=1,
        title="lossless compression",
        source=SOURCE,
        settings={"f": "exp(-x^2)", "widths": _SMALL, "activation": "shifted_sigmoid", "points": 121},
        seeds=seeds,
        rows=rows,
        curves=(),
        commentary=commentary,
        seconds=seconds,
        interrupted=interrupted,
    )


def projected_descent(
    *, trials: int = 10, seed: int = 0, epochs: int = 3000, lr: float = 0.01, progress: bool = False
) -> Experiment:
    """Experiment 2: projected gradient descent of Q^-1 . W follows gradient descent of the compressed network.

    The networks and points of `lossless`, trained on exp(-x^2); |loss - loss_red| after the last epoch, in float32 as
    in the paper, and in float64. Theorem 8 is about the weights, so their largest deviation from W_red + U is
    measured too; and plain gradient descent of Q^-1 . W shows what the projection is for.
    Raises TypeError or ValueError for trials, epochs < 1, seed < 0 or lr <= 0.

    >>> result = projected_descent(trials=1, epochs=10)
    >>> bool(result.rows[3].mean < 1e-14 < result.rows[2].mean)  # with the projection, and without it
    True
    """
    call = "projected_descent"
    epochs = _checks.count(call, "epochs", epochs)
    x, y = _gaussian_line()

    def trial(s: int) -> tuple[list[float], list[np.ndarray]]:
        values, lines = [], []
        for name, dtype in _DTYPES.items():
            small = compress(random_network(_SMALL, seed=s, dtype=dtype))
            options: dict[str, Any] = {"lr": lr, "epochs": epochs}
            reduced = _run(train(small.network, x, y, **options))
            projected = _run(train(small.rotated, x, y, reduced_widths=small.reduced_widths, **options))
            gap = weight_gap(projected.network, reduced.network, small.residual)
            values += [abs(projected.losses[-1] - reduced.losses[-1]), gap]
            if name == "float32":
                plain = _run(train(small.rotated, x, y, **options))
                values.append(abs(plain.losses[-1] - reduced.losses[-1]))
                lines = [reduced.losses, projected.losses, plain.losses]
        return values, lines

    results, seeds, seconds, interrupted = run_trials(call, trial, trials, seed, progress)
    columns = np.array([values for values, _ in results]).T
    rows = (
        Row("|loss - loss_red|, projected, float32", columns[0], (4.02e-9, 7.01e-9)),
        Row("largest weight deviation, float32", columns[1]),
        Row("|loss - loss_red|, not projected, float32", columns[2]),
        Row("|loss - loss_red|, projected, float64", columns[3]),
        Row("largest weight deviation, float64", columns[4]),
    )
    names = ("compressed", "full, projected", "full, not projected")
    curves = tuple(curve(name, "loss", [lines[i] for _, lines in results]) for i, name in enumerate(names))
    if rows[4].mean < 1e-10:
        commentary = "With the projection both runs agree to rounding, weights included (Theorem 8); "
    else:
        commentary = "At this step size training magnifies rounding, so that Theorem 8 cannot be seen; "
    commentary += f"without the projection the losses differ by {rows[2].mean:.2g}."
    return Experiment(
        number=2,
        title="projected gradient descent",
        source=SOURCE,
        settings={"f": "exp(-x^2)", "widths": _SMALL, "activation": "shifted_sigmoid", "epochs": epochs, "lr": lr},
        seeds=seeds,
        rows=rows,
        curves=curves,
        commentary=commentary,
        seconds=seconds,
        interrupted=interrupted,
    )


def training_time(
    *,
    trials: int = 10,
    seed: int = 0,
    f: str = "gaussian",
    side: int = 21,
    lr: float = 0.05,
    momentum: float = 0.9,
    stop_loss: float = 0.01,
    epochs: int = 10_000,
    progress: bool = False,
) -> Experiment:
    """Experiment 3: the compressed network reaches a loss in less time, though not in fewer epochs.

    Networks of widths (2, 16, 64, 128, 16, 2) with radial sigmoid, float32, full-batch gradient descent with momentum
    until the loss is at most `stop_loss`, or for `epochs` epochs.

    f : "gaussian", (exp(-t1^2), exp(-t2^2)) as in the paper; or "sigmoid", (1 / (1 + e^-t1), 1 / (1 + e^-t2)) as in
        the script that its authors published
    side : points along each side of the grid on [-3, 3]^2; the script has 121
    lr, momentum : plain descent (momentum=0) with the script's lr=0.01 suffices for "sigmoid"; "gaussian" then takes
        more than 5,000 epochs, and with lr=0.1 some 4,500 for either network. Momentum shortens both alike

    As all experiments, it runs on one thread.

    Raises TypeError or ValueError for counts or step sizes that make no sense.

    >>> result = training_time(trials=1, side=5, epochs=3)
    >>> result.settings["reduced"]
    (2, 3, 4, 5, 6, 2)
    """
    call = "training_time"
    _checks.one_of(call, "f", f, _TARGETS)
    side = _checks.count(call, "side", side, least=2)
    line = torch.linspace(-3, 3, side, dtype=torch.float64)
    x = torch.cartesian_prod(line, line)
    y = _TARGETS[f](x)

    def trial(s: int) -> tuple[Training, Training]:
        network = random_network(_LARGE, "radial_sigmoid", seed=s, dtype=torch.float32)
        options: dict[str, Any] = {"lr": lr, "momentum": momentum, "epochs": epochs, "stop_loss": stop_loss}
        return _run(train(compress(network).network, x, y, **options)), _run(train(network, x, y, **options))

    results, seeds, seconds, interrupted = run_trials(call, trial, trials, seed, progress)
    small, full = ([pair[i] for pair in results] for i in (0, 1))
    rows = (
        Row("seconds, compressed", np.array([run.seconds for run in small]), (15.32, 2.53)),
        Row("seconds, full", np.array([run.seconds for run in full]), (31.24, 4.55)),
        Row("full / compressed, seconds", np.array([b.seconds / a.seconds for a, b in results])),
        Row("epochs, compressed", np.array([float(run.epochs) for run in small])),
        Row("epochs, full", np.array([float(run.epochs) for run in full])),
        Row("full / compressed, seconds per epoch", np.array([_pace(b) / _pace(a) for a, b in results])),
    )
    reached = [sum(run.stopped == "stop_loss" for run in runs) for runs in (small, full)]
    commentary = (
        f"{reached[0]} of {len(small)} compressed and {reached[1]} of {len(full)} full networks reached the loss. "
        f"An epoch of the compressed network is {rows[5].mean:.2g} times cheaper here. The epochs differ, since "
        "gradient descent of the full network is not projected: it moves more weights and needs "
        f"{'fewer' if rows[4].mean < rows[3].mean else 'more'} epochs. Theorem 8 makes no claim about that comparison."
    )
    curves = tuple(
        curve(name, "loss", [run.losses for run in runs]) for name, runs in (("compressed", small), ("full", full))
    )
    settings = {"f": f, "widths": _LARGE, "reduced": small[0].network.widths, "activation": "radial_sigmoid"}
    settings |= {"points": side**2, "lr": lr, "momentum": momentum, "stop_loss": stop_loss, "most_epochs": epochs}
    return Experiment(
        number=3,
        title="training time",
        source=SOURCE,
        settings=settings | {"threads": 1},
        seeds=seeds,
        rows=rows,
        curves=curves,
        commentary=commentary,
        seconds=seconds,
        interrupted=interrupted,
    )


def weight_gap(projected: RadialNetwork, reduced: RadialNetwork, residual: Any) -> float:
    """The largest entry of |(W, b) - (W_red, b_red) - U| (Theorem 8), W_red padded with zeros."""
    largest = 0.0
    for large, small, rest in zip(projected.layers(), reduced.layers(), residual, strict=True):
        for full, part, u in zip(large[:2], small[:2], rest, strict=True):
            gap = full.double() - torch.as_tensor(u).double()
            gap[tuple(slice(size) for size in part.shape)] -= part.double()
            largest = max(largest, float(gap.abs().max()))
    return largest


def _gaussian_line() -> tuple[Tensor, Tensor]:
    x = torch.linspace(-3, 3, 121, dtype=torch.float64)[:, None]
    return x, _TARGETS["gaussian"](x)


def _run(run: Training[Network]) -> Training[Network]:
    """The run, unless it was interrupted: an unfinished trial is no trial."""
    if run.stopped == "interrupted":
        raise KeyboardInterrupt
    return run


def _pace(run: Training) -> float:
    return run.seconds / max(run.epochs, 1)


_TARGETS = {"gaussian": lambda t: torch.exp(-t * t), "sigmoid": torch.sigmoid}
