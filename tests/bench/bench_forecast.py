"""Every forecasting model on the same simulated week of the same hosts: quality, CPU, and what it costs in memory.

``python tests/bench/bench_forecast.py [--series N] [--seed N]``, or ``./farwatch bench forecast``. The series are
made here, so the figures compare the models with each other and with yesterday repeated; what to expect on real
metrics is in ``docs/forecasting.md``. Relative figures below 1 are better than yesterday repeated.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from farwatch.forecasting import DEFAULT, History, get, names
from farwatch.forecasting.capacity import time_to_threshold
from farwatch.forecasting.history import Floats
from infra.local.backtest_forecast import Recording, score

DAY = 96
STEP = 900.0
DAYS = 9


def wander(rng: np.random.Generator, steps: int, persistence: float, size: float) -> Floats:
    """A first-order autoregression of the given standard deviation, ``steps`` long."""
    shocks = rng.normal(0, size * np.sqrt(1 - persistence**2), steps)
    level = 0.0
    return np.array([level := persistence * level + shock for shock in shocks])


def simulate(kind: str, rng: np.random.Generator, days_long: int = DAYS) -> Floats:
    """Some days of one metric of one host, of a kind every fleet has."""
    steps = days_long * DAY
    days = np.arange(steps) / DAY
    phase = rng.uniform(0, 2 * np.pi)
    rhythm = np.sin(2 * np.pi * days + phase) + 0.4 * np.sin(4 * np.pi * days + phase)
    noise = rng.standard_normal(steps)
    hour = days % 1 * 24
    shift = int(rng.integers(3 * DAY, steps))
    period = rng.choice([4, 8, 12, 24, 48])
    makers: dict[str, Callable[[], Floats]] = {
        "cpu": lambda: np.clip(35 + 15 * rhythm + wander(rng, steps, 0.98, 6) + 3 * noise, 0, 100),
        "requests": lambda: rng.poisson(200 * np.exp(0.7 * rhythm + wander(rng, steps, 0.95, 0.15))).astype(
            float
        ),
        "memory": lambda: np.clip(60 + wander(rng, steps, 0.999, 8) + 0.2 * noise, 0, 100),
        "nightly job": lambda: np.where((hour > 2) & (hour < 3.5), 900 + 100 * noise, 4 + np.abs(noise)),
        "errors": lambda: (rng.random(steps) < 0.03) * rng.lognormal(1, 1, steps),
        "latency": lambda: np.exp(3 + 0.2 * rhythm + 0.25 * noise) + 400 * (rng.random(steps) < 0.01),
        "disk": lambda: 40 + np.cumsum(0.02 * np.exp(rhythm) * rng.gamma(2, 0.5, steps)),
        "deployment": lambda: 20 + 5 * rhythm + noise + 15 * (np.arange(steps) > shift),
        "log rotation": lambda: np.cumsum(rng.gamma(2, 0.5, steps)) % rng.uniform(0.5 * DAY, 4 * DAY),
        "frequent job": lambda: 5.0 * (np.arange(steps) % period < period / 3) + 1 + 0.1 * noise,
        "batch load": lambda: np.repeat(rng.choice([1.0, 30.0, 95.0], steps), rng.geometric(0.02, steps))[
            :steps
        ],
    }
    return makers[kind]()


KINDS = (
    *("cpu", "requests", "memory", "nightly job", "errors", "latency", "disk", "deployment"),
    *("log rotation", "frequent job", "batch load"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 if the default model is not the best of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=int, default=4, help="simulated series of each kind (default 4)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    rng = np.random.default_rng(args.seed)
    recordings = [
        Recording(kind, [], simulate(kind, rng), 0.0, STEP) for kind in KINDS for _ in range(args.series)
    ]
    print(f"{len(recordings)} series of {len(KINDS)} kinds, 7 days -> 48 h, steps of 15 min\n")
    print(f"{'model':16} {'relMAE':>7} {'relPL':>7} {'cov80':>6} {'cov95':>6} {'CPU ms':>8} {'MB more':>8}")
    losses = {}
    for name in sorted(names(), key=lambda name: name in {"prophet", "arima"}):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        model = get(name)
        model.forecast(recordings[0].history(7 * DAY), 2 * DAY)  # the first call pays for the imports
        scores, spent = [], 0.0
        for recording in recordings:
            began = time.process_time()
            forecast = model.forecast(recording.history(7 * DAY), 2 * DAY)
            spent += time.process_time() - began
            judged = score(recording, 7 * DAY, forecast)
            if judged is not None:
                scores.append(judged)
        table = np.array(scores)
        mae, loss = np.exp(np.log(table[:, 1:3]).mean(axis=0))
        losses[name] = loss
        more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        milliseconds = 1000 * spent / len(recordings)
        print(
            f"{name:16} {mae:7.3f} {loss:7.3f} {table[:, 3].mean():6.2f} {table[:, 4].mean():6.2f}"
            f" {milliseconds:8.1f} {more:8.1f}"
        )
    print()
    _capacity(recordings, rng)
    return 0 if min(losses, key=losses.__getitem__) == DEFAULT else 1


def _capacity(recordings: Sequence[Recording], rng: np.random.Generator) -> None:
    """How near the time to a threshold comes, on the series that are never negative taken as write rates."""
    errors, inside, spent = [], [], 0.0
    for recording in recordings:
        level = np.cumsum(recording.whole)
        at, ahead = 7 * DAY, int(rng.integers(DAY // 4, 2 * DAY))
        history = History(0.0, STEP, level[: at + 1])
        reached = int(np.argmax(level[at:] >= level[at + ahead]))
        if reached == 0:
            continue
        began = time.process_time()
        found = time_to_threshold(history, float(level[at + ahead]), at * STEP)
        spent += time.process_time() - began
        median, low, high = (
            np.inf if s is None else s / STEP for s in (found.median_s, found.low_s, found.high_s)
        )
        errors.append(abs(median - reached) / reached)
        inside.append(low <= reached <= high)
    print(
        f"time to full: median error {100 * np.median(errors):.1f} %, 80 % range holds"
        f" {100 * np.mean(inside):.0f} %, {1000 * spent / len(errors):.1f} ms ({len(errors)} cases)"
    )


if __name__ == "__main__":
    sys.exit(main())
