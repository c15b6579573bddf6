"""What detection costs: samples a second on one core, cost as series grow, bytes of state.

Run by ``./farwatch bench detect`` or ``python -m tests.bench.bench_detect``. The shapes are those of ``process``: a
host's batch holds one sample of each of its 100 to 300 series when it is sent as it was taken, a few when the agent
gathers a minute, and thousands when history is read back after a lost state. Beside the default detector it runs, on the
same data, the plain z-score with its calibration, a bare z-score in three numpy lines, and scikit-learn's two detectors.
"""

import os

# One core means one thread, and numpy reads this when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from farwatch.detection import registry
from farwatch.detection.host import HostDetector

ROWS = 6
"""Samples of each series in a batch: a minute at ten seconds."""

COLUMNS = (10, 30, 100, 300, 1_000, 10_000)

WARM = 1_000
"""Samples folded in before the clock starts, so that memories are full enough to be typical."""

STEP = 10.0


def series(rows: int, columns: int, seed: int = 3) -> NDArray[np.float64]:
    """Return made-up host metrics (rows, columns): a daily swing, noise, and now and then a spike."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, columns)
    swing = np.sin(2 * np.pi * np.arange(rows)[:, None] * STEP / 86400.0 + phase)
    noise = rng.normal(0, 1, (rows, columns))
    spikes = (rng.random((rows, columns)) < 0.001) * rng.exponential(20, (rows, columns))
    return 50.0 + 10.0 * swing + noise + spikes


def rate(name: str, columns: int, rows: int = ROWS, seconds: float = 1.0) -> tuple[float, int]:
    """Return (samples a second of processor time, bytes of state per series) of the detector on ``columns``
    series in batches of ``rows`` samples each."""
    detector = registry.get(name)
    state = detector.new_state(columns)
    batches = min(400, 2 + 3_000_000 // (rows * columns))
    values = series(WARM + batches * rows, columns)
    times: NDArray[np.float64] = 1.7e9 + STEP * np.arange(len(values), dtype=np.float64)
    detector.fold(state, times[:WARM], values[:WARM])
    done, at, began = 0, WARM, time.process_time()
    while time.process_time() - began < seconds and at + rows <= len(values):
        detector.fold(state, times[at : at + rows], values[at : at + rows])
        at += rows
        done += rows * columns
    return done / (time.process_time() - began), detector.dtype.itemsize


def bare_zscore(columns: int, seconds: float = 1.0) -> float:
    """Return samples a second of a z-score with nothing around it: no calibration, no care for bad input."""
    values = series(2000, columns)
    mean, variance = values[0].copy(), np.ones(columns)
    done, began = 0, time.process_time()
    while time.process_time() - began < seconds:
        for x in values:
            delta = x - mean
            np.abs(delta) / np.sqrt(variance)
            mean += delta / 288.0
            variance += (delta * delta - variance) / 288.0
        done += values.size
    return done / (time.process_time() - began)


def host_rate(metrics: int, seconds: float = 1.0) -> tuple[float, int]:
    """Return (samples a second, bytes of state) of the whole-host score of a host with ``metrics``
    metrics."""
    detector = HostDetector(metrics)
    state = detector.new_state()
    values = series(4000, metrics)
    done, at, began = 0, 0, time.process_time()
    while time.process_time() - began < seconds:
        part = np.arange(at, at + ROWS) % len(values)
        detector.fold(state, 1.7e9 + STEP * np.arange(at, at + ROWS, dtype=np.float64), values[part])
        at += ROWS
        done += ROWS * metrics
    return done / (time.process_time() - began), detector.dtype.itemsize


def main(say: Callable[[str], None] = print) -> None:
    """Measure and print the table."""
    say("samples a second of processor time, one core; state in bytes per series")
    say(f"default detector, batches of {ROWS} samples of each series, and of 1:")
    for columns in COLUMNS:
        speed, size = rate("default", columns)
        single, _ = rate("default", columns, rows=1)
        costs = " ".join(f"{samples:12,.0f}/s {1e6 / samples:6.2f} µs" for samples in (speed, single))
        say(f"{columns:6d} series {costs} {size:6d} bytes")
    speed, _ = rate("default", 150, rows=400)
    say(f"   150 series {speed:12,.0f}/s in batches of 400")
    say(f"others, batches of {ROWS}:")
    say(f"bare z-score        1000 series {bare_zscore(1000):12,.0f}/s")
    for name, columns in (("zscore", 1000), ("iqr", 1000), ("isolation_forest", 4), ("lof", 4)):
        speed, size = rate(name, columns)
        say(f"{name:17s} {columns:6d} series {speed:12,.0f}/s {1e6 / speed:8.2f} µs each {size:6d} bytes")
    for metrics in (20, 80):
        speed, size = host_rate(metrics)
        say(
            f"host score        {metrics:6d} metrics {speed:11,.0f}/s {1e6 / speed:8.2f} µs each {size:6d} bytes"
        )


if __name__ == "__main__":
    main()
