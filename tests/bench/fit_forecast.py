"""Fit the judge of the default forecasting model (``layers/core/farwatch/forecasting/judge.npz``) to recorded series.

``python tests/bench/fit_forecast.py DIR [--out judge.npz] [--folds 5]``; DIR holds ``<series>.csv`` files as
`farwatch backtest forecast` reads them, the more and the more different the better. Needs PyTorch, which nothing
else here needs: ``pip install torch``. With ``--folds`` it prints how the method does on series left out of the
fit; with ``--out`` it fits all of them and writes the weights.

Fitted are windows of a week and the two days after. Recorded series come as they are and as variants (bent,
clipped, inverted, made noisy, mixed with another series, averaged to hours, with less history), and simulated ones
are added, so that a judge with ten thousand weights has more than a few dozen series to learn from. A window's loss is
the logarithm of its mean absolute error plus that of its quantile loss, so that every series counts alike
whatever its size, less a reward for values that fall inside the intervals: of all ways to reach the nominal
coverage that finds the one that costs least.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench_forecast import DAY, KINDS, simulate

from farwatch.forecasting.accuracy import pinball
from farwatch.forecasting.candidates import NAMES
from farwatch.forecasting.default import evidence
from farwatch.forecasting.forecast import LEVELS
from farwatch.forecasting.history import MAX_DAYS, Floats, History
from farwatch.forecasting.seasonal_naive import yesterday_with_normal_errors
from farwatch.forecasting.trial import lead_class
from infra.local.backtest_forecast import read_series

STEPS = 192  # of a window: two days of quarters of an hour; coarser series repeat theirs
REWARD_80, REWARD_95 = 0.65, 3.0
HIDDEN, DROPOUT, INPUT_DROPOUT, DECAY, RATE, BATCH = 24, 0.3, 0.15, 0.1, 5e-3, 64


@dataclass(frozen=True, slots=True)
class Window:
    """One week and what followed: the series it comes from, and all a fit needs, in units of ``unit``."""

    sources: frozenset[str]
    weight: float
    recorded: bool
    made: Floats
    losses: Floats
    inputs: Floats
    classes: Floats
    actual: Floats
    naive: Floats


def window(
    values: Floats,
    at: int,
    day: int,
    sources: frozenset[str],
    weight: float,
    days: float,
    *,
    recorded: bool = False,
) -> Window | None:
    """The window with its origin at position ``at`` and ``days`` of history; None if too much is missing."""
    whole = History(0.0, 86_400 / day, values[max(at - MAX_DAYS * day, 0) : at])
    history = History(0.0, 86_400 / day, whole.values[-round(days * day) :])
    actual = values[at : at + 2 * day]
    known = np.isfinite(actual)
    if known[:day].mean() < 0.5 or known[day:].mean() < 0.5 or np.isfinite(history.values).mean() < 0.8:
        return None
    past = history.filled()
    filled = whole.filled()
    unit = float(np.mean(np.abs(filled[day:] - filled[:-day]))) + 1e-9 * (1 + float(np.abs(filled).max()))
    largest = float(np.abs(past).max())
    if largest == 0:
        return None  # the model does not ask the judge either
    made, losses, inputs = evidence(past / largest, np.isfinite(history.values), day, 2 * day)
    naive = yesterday_with_normal_errors(whole, 2 * day)
    yardsticks = []
    for end in (day, 2 * day):
        seen, said = actual[:end][known[:end]], naive[:end][known[:end]]
        yardsticks.append([float(np.mean(np.abs(seen - said[:, 2]))), pinball(seen, said)])
    take = np.arange(STEPS) * 2 * day // STEPS
    centre = float(np.median(past))
    return Window(
        sources,
        weight,
        recorded,
        ((made[:, take].T * largest - centre) / unit).astype(np.float32),
        losses.astype(np.float32),
        inputs[take].astype(np.float32),
        lead_class(day, 2 * day)[take],
        ((actual[take] - centre) / unit).astype(np.float32),
        np.array(yardsticks, dtype=np.float32) / unit,
    )


def unit_range(values: Floats) -> Floats:
    """A series, its holes bridged, moved and scaled to lie mostly in [0, 1]."""
    known = np.flatnonzero(np.isfinite(values))
    values = np.interp(np.arange(len(values)), known, values[known])
    low, high = np.quantile(values, [0.0, 0.99])
    return np.asarray((values - low) / (high - low + 1e-9 * (1 + abs(high))))


def variant(
    name: str, pool: dict[str, tuple[Floats, int]], rng: np.random.Generator
) -> tuple[Floats, int, set[str]]:
    """A series that might have been: ``name`` bent, mixed, clipped, inverted, made noisy, counted or averaged."""
    values, day = pool[name]
    made, sources = unit_range(values), {name}
    if rng.random() < 0.35:
        made = np.maximum(made, 0) ** rng.choice([0.4, 0.6, 1.6, 2.2])
    other = str(rng.choice([other for other in pool if other != name]))
    if rng.random() < 0.45 and pool[other][1] == day:
        second = np.roll(unit_range(pool[other][0]), rng.integers(day))
        size, share = min(len(made), len(second)), rng.uniform(0.15, 0.85)
        made = (1 - share) * made[:size] + share * second[:size]
        sources.add(other)
    if rng.random() < 0.2:
        made = np.minimum(made, np.quantile(made, rng.uniform(0.5, 0.95)))
    if rng.random() < 0.2:
        made = np.maximum(made, np.quantile(made, rng.uniform(0.1, 0.8)))
    if rng.random() < 0.25:
        made = made.max() - made
    if rng.random() < 0.25:
        made = made * np.exp(rng.normal(0, rng.uniform(0.02, 0.3), len(made)))
    if rng.random() < 0.15:
        made = np.round(made * rng.choice([10, 30, 100]))
    if rng.random() < 0.25 and day == DAY:
        made, day = made[: len(made) // 4 * 4].reshape(-1, 4).mean(axis=1), day // 4
    return made, day, sources


def windows(pool: dict[str, tuple[Floats, int]], variants: int, rng: np.random.Generator) -> Iterator[Window]:
    """Windows of every series four times a day or thereabouts, of its variants, and of simulated series.

    Real series weigh one each; all variants together weigh 1.2 times as much, the simulated ones 0.3 times.
    """
    share = 1.2 / (variants * 14)
    for name, (values, day) in pool.items():
        last = len(values) - 2 * day
        origins = range(MAX_DAYS * day, last + 1, max(min(day // 4, (last - MAX_DAYS * day) // 24), 1))
        for at in origins:
            yield from _some(
                window(values, at, day, frozenset({name}), 1 / len(origins), MAX_DAYS, recorded=True)
            )
        for _ in range(variants):
            made, its_day, sources = variant(name, pool, rng)
            yield from _random(made, its_day, frozenset(sources), share, 14, rng)
    simulated = [kind for kind in KINDS for _ in range(20)]
    share = 0.3 * len(pool) / (len(simulated) * 10)
    for kind in simulated:
        yield from _random(simulate(kind, rng, days_long=14), DAY, frozenset(), share, 10, rng)


def _random(
    values: Floats, day: int, sources: frozenset[str], weight: float, count: int, rng: np.random.Generator
) -> Iterator[Window]:
    days = rng.uniform(1, MAX_DAYS - 1) if rng.random() < 0.2 else MAX_DAYS
    for at in rng.integers(MAX_DAYS * day, len(values) - 2 * day + 1, count):
        yield from _some(window(values, int(at), day, sources, weight, days))


def _some(found: Window | None) -> Iterator[Window]:
    if found is not None:
        yield found


class Tensors:
    """Many windows as tensors, and the forward pass and loss of a fit over them."""

    def __init__(self, torch: Any, found: Sequence[Window]) -> None:
        def stack(name: str) -> Any:
            return torch.from_numpy(np.stack([getattr(window, name) for window in found]))

        self.torch = torch
        self.made, self.losses, self.inputs = stack("made"), stack("losses"), stack("inputs")
        self.classes, self.actual, self.naive = stack("classes").long(), stack("actual"), stack("naive")

    def quantiles(self, judge: Any, rows: Any, every: slice, *, drop: float = 0.0) -> Any:
        """Forecasts (windows, steps, 5) by the module ``judge`` for the chosen rows and steps."""
        torch = self.torch
        scores = self.losses[rows][torch.arange(len(rows))[:, None], self.classes[rows][:, every]]
        inputs = self.inputs[rows][:, every]
        if drop:
            lost = torch.rand(len(rows), 1, inputs.shape[2]) < drop
            inputs = torch.where(lost, judge.centre, inputs)
        logits = judge.net((inputs - judge.centre) / judge.width).view(scores.shape)
        shares = torch.softmax(logits - judge.beta * scores, dim=-1)
        return torch.einsum("nsqc,nsc->nsq", shares, self.made[rows][:, every])

    def errors(self, quantiles: Any, rows: Any, every: slice) -> tuple[list[Any], list[Any], Any]:
        """Log relative MAE and quantile loss of each window after one and two days, and how many were known."""
        torch = self.torch
        known = torch.isfinite(self.actual[rows][:, every])
        off = torch.nan_to_num(self.actual[rows][:, every])[:, :, None] - quantiles
        levels = torch.tensor(LEVELS)
        loss = torch.maximum(levels * off, (levels - 1) * off) * known[:, :, None]
        maes, losses = [], []
        for part in (0, 1):
            end = loss.shape[1] // (2 - part)
            count = known[:, :end].sum(1).clamp(min=1)
            naive = self.naive[rows][:, part]
            maes.append(torch.log((2 * loss[:, :end, 2].sum(1) / count + 1e-3) / (naive[:, 0] + 1e-3)))
            losses.append(torch.log((loss[:, :end].sum((1, 2)) / count / 5 + 1e-3) / (naive[:, 1] + 1e-3)))
        return maes, losses, known


def fit(torch: Any, data: Tensors, rows: Any, weights: Any, epochs: int, draws: int) -> Any:
    """A fitted judge: a module with ``net``, ``beta``, ``centre`` and ``width``."""
    nn = torch.nn
    judge = nn.Module()
    size = data.inputs.shape[2]
    judge.net = nn.Sequential(
        nn.Linear(size, HIDDEN), nn.Tanh(), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, len(LEVELS) * len(NAMES))
    )
    nn.init.normal_(judge.net[3].weight, std=0.01)
    nn.init.zeros_(judge.net[3].bias)
    judge.beta = nn.Parameter(torch.full((len(LEVELS), 1), 2.0))
    some = data.inputs[rows[torch.randperm(len(rows))[:500]]].reshape(-1, size)
    judge.centre, judge.width = some.mean(0), some.std(0) + 0.05
    decayed = [judge.net[0].weight, judge.net[3].weight]
    free = [judge.net[0].bias, judge.net[3].bias, judge.beta]
    optimiser = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": DECAY}, {"params": free, "weight_decay": 0.0}], lr=RATE
    )
    rounds = epochs * -(-draws // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=rounds, pct_start=0.1)
    for _ in range(rounds):
        chosen = rows[torch.multinomial(weights, BATCH, replacement=True)]
        every = slice(int(torch.randint(0, 4, (1,))), None, 4)
        quantiles = data.quantiles(judge, chosen, every, drop=INPUT_DROPOUT)
        maes, losses, known = data.errors(quantiles, chosen, every)
        loss = sum(part.mean() for part in (*maes, *losses)) / 2
        actual = torch.nan_to_num(data.actual[chosen][:, every])
        for low, high, reward in ((1, 3, REWARD_80), (0, 4, REWARD_95)):
            blur = 0.02 + 0.05 * (quantiles[:, :, high] - quantiles[:, :, low]).detach().abs()
            above = torch.sigmoid((actual - quantiles[:, :, low]) / blur + 2)
            below = torch.sigmoid((quantiles[:, :, high] - actual) / blur + 2)
            inside = (above * below * known).sum(1) / known.sum(1).clamp(min=1)
            loss = loss - reward * inside.mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(judge.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    judge.net.eval()
    return judge


def forecasts(torch: Any, data: Tensors, judges: Sequence[Any], rows: Any) -> Any:
    """The mean forecast of some judges for the chosen windows (windows, steps, 5)."""
    with torch.no_grad():
        made = [
            sum(data.quantiles(judge, some, slice(None)) for judge in judges) / len(judges)
            for some in rows.split(256)
        ]
    return torch.sort(torch.cat(made), dim=-1)[0]


def report(torch: Any, data: Tensors, judges: Sequence[Any], rows: Any, weights: Any) -> str:
    """`figures` of some judges on the chosen windows."""
    return figures(torch, data, forecasts(torch, data, judges, rows), rows, weights)


def figures(torch: Any, data: Tensors, quantiles: Any, rows: Any, weights: Any) -> str:
    """relMAE/relPL and the coverage of both intervals, at 24 and 48 h."""
    parts = []
    maes, losses, known = data.errors(quantiles, rows, slice(None))
    share = weights / weights.sum()
    for part, (mae, loss) in enumerate(zip(maes, losses, strict=True)):
        end = STEPS // (2 - part)
        actual, seen = data.actual[rows][:, :end], known[:, :end]
        covered = []
        for low, high in ((1, 3), (0, 4)):
            inside = (actual >= quantiles[:, :end, low]) & (actual <= quantiles[:, :end, high]) & seen
            covered.append(float((inside.sum(1) / seen.sum(1).clamp(min=1)) @ share))
        relative = f"{float(torch.exp(mae @ share)):.3f}/{float(torch.exp(loss @ share)):.3f}"
        parts.append(f"{24 * (part + 1)} h {relative} cov {covered[0]:.3f}/{covered[1]:.3f}")
    return "  ".join(parts)


def main(argv: Sequence[str] | None = None) -> int:
    """Fit, report, write; 0 when done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="DIR", type=Path)
    parser.add_argument("--out", type=Path, help="where to write the weights fitted to all series")
    parser.add_argument(
        "--folds", type=int, default=0, help="leave out series in this many groups, and report"
    )
    parser.add_argument("--members", type=int, default=2, help="judges whose forecasts are averaged")
    parser.add_argument("--variants", type=int, default=9, help="variants of each series")
    parser.add_argument("--epochs", type=int, default=14)
    parser.add_argument("--draws", type=int, default=4000, help="windows drawn in an epoch")
    args = parser.parse_args(argv)
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    recordings = [read_series(path) for path in sorted(args.folder.glob("*.csv"))]
    series = {one.name: (one.whole, round(86_400 / one.step)) for one in recordings}
    found = list(windows(series, args.variants, rng))
    data = Tensors(torch, found)
    weights = torch.tensor([window.weight for window in found], dtype=torch.float32)
    print(f"{len(found)} windows of {len(series)} series", flush=True)
    group = {
        name: int(place) % max(args.folds, 1)
        for name, place in zip(series, rng.permutation(len(series)), strict=True)
    }
    plain = torch.tensor([window.recorded for window in found])
    if args.out:
        rows = torch.arange(len(found))
        judges = [fit(torch, data, rows, weights, args.epochs, args.draws) for _ in range(args.members)]
        np.savez_compressed(args.out, **_packed(judges))
        print(f"wrote {args.out}, {args.out.stat().st_size} bytes", flush=True)
        plain_rows = torch.nonzero(plain)[:, 0]
        print(f"fitted:     {report(torch, data, judges, plain_rows, weights[plain_rows])}", flush=True)
    unseen, shares = [], []
    for fold in range(args.folds):
        touched = torch.tensor([any(group[source] == fold for source in w.sources) for w in found])
        inside = torch.nonzero(~touched)[:, 0]
        outside = torch.nonzero(touched & plain)[:, 0]
        judges = [
            fit(torch, data, inside, weights[inside], args.epochs, args.draws) for _ in range(args.members)
        ]
        print(f"left out {fold + 1}: {report(torch, data, judges, outside, weights[outside])}", flush=True)
        unseen.append(forecasts(torch, data, judges, outside))
        shares.append(outside)
    if unseen:
        rows = torch.cat(shares)
        print(f"left out:   {figures(torch, data, torch.cat(unseen), rows, weights[rows])}")
    return 0


def _packed(judges: Sequence[Any]) -> dict[str, Any]:
    """The arrays of the weights file: half precision where it is enough."""
    out: dict[str, Any] = {"members": np.array(len(judges))}
    for index, judge in enumerate(judges):
        first, last = judge.net[0], judge.net[3]
        exact = {"centre": judge.centre, "width": judge.width, "beta": judge.beta[:, 0]}
        rough = {
            "hidden": first.weight.T,
            "hidden_bias": first.bias,
            "out": last.weight.T,
            "out_bias": last.bias,
        }
        out |= {f"{index}.{key}": value.detach().numpy().astype(np.float32) for key, value in exact.items()}
        out |= {f"{index}.{key}": value.detach().numpy().astype(np.float16) for key, value in rough.items()}
    return out


if __name__ == "__main__":
    sys.exit(main())
