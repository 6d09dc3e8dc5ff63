"""Medians of interleaved runs, in processor time of one thread, so that other work on the machine matters little."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

RUNS = 5


def medians(*calls: Callable[[], object]) -> list[float]:
    """Seconds of processor time of each call; the calls take turns, after one round to warm up."""
    torch.set_num_threads(1)
    seconds = np.empty((RUNS, len(calls)))
    for call in calls:
        call()
    for run in range(RUNS):
        for i, call in enumerate(calls):
            start = time.process_time()
            call()
            seconds[run, i] = time.process_time() - start
    return np.median(seconds, axis=0).tolist()
