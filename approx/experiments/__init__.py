"""The four experiments of arXiv 2107.02550, section 7, each a function that returns an `Experiment` with its table.

    lossless           1: compression changes nothing but rounding
    projected_descent  2: projected gradient descent is gradient descent of the compressed network (Theorem 8)
    training_time      3: the time and the epochs to a given loss, compressed and full
    image_recovery     4: which image is this a noisy copy of? Step-ReLU against ReLU

>>> result = lossless(trials=2)
>>> result["mean |F - F_red|, float32"].mean < 1e-6
True
"""

from approx.experiments._result import Curve, Experiment, Row
from approx.experiments.compression import lossless, projected_descent, training_time
from approx.experiments.digits import load_digits, read_idx
from approx.experiments.recovery import image_recovery, noisy_copies, pointwise_relu

__all__ = [
    "EXPERIMENTS",
    "Curve",
    "Experiment",
    "Row",
    "image_recovery",
    "load_digits",
    "lossless",
    "noisy_copies",
    "pointwise_relu",
    "projected_descent",
    "read_idx",
    "training_time",
]

EXPERIMENTS = {1: lossless, 2: projected_descent, 3: training_time, 4: image_recovery}
"""The experiments by their numbers in the paper."""
