"""Fit the judge of the default forecasting model (``layers/core/farwatch/forecasting/judge.npz``) to recorded series.

``python tests/bench/fit_forecast.py DIR [--out judge.npz] [--folds 5] [--windows FILE]``; DIR holds ``<series>.csv``
files as `farwatch backtest forecast` reads them, the more and the more different the better. Needs PyTorch, which
nothing else here needs: ``pip install torch``. With ``--folds`` it prints how the method does on series left out of the
fit, over four windows a day and, with ``--windows`` (series,origin), over exactly those; with ``--out`` it fits all
series and writes the weights.

Fitted are windows of a week and the two days after. Recorded series come as they are and as variants (bent, clipped,
inverted, made noisy, mixed with another series, averaged to hours, with less history), and made-up ones
(`made_up_metrics`) are added, so that a judge with ten thousand weights has more than a few dozen series to learn from.
A window's loss is half the logarithm of its mean absolute error plus that of its quantile loss, so that every series counts
alike whatever its size, less a reward for values that fall inside the intervals: of all ways to reach the nominal
coverage that finds the one that costs least. Each judge of the ensemble sees its own bag of the recorded series
(Breiman, *Bagging predictors*, 1996; the Bayesian bootstrap of Rubin, 1981).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from forecast_windows import MADE_UP, STEPS, Window, asked, prepared, work

from farwatch.forecasting.candidates import NAMES
from farwatch.forecasting.default import TRIM, held_to
from farwatch.forecasting.forecast import LEVELS
from infra.local.backtest_forecast import read_series

REWARD_80, REWARD_95 = 0.65, 3.5
MIDDLE = 0.5  # what the error of the median weighs beside the quantile loss
HIDDEN, DROPOUT, INPUT_DROPOUT, DECAY, RATE, BATCH = 24, 0.3, 0.15, 0.1, 5e-3, 64
SKIP = 6  # of the fitted steps, each round takes one in so many


class Tensors:
    """Many windows as tensors, and the forward pass and loss of a fit over them."""

    def __init__(self, torch: Any, found: Sequence[Window]) -> None:
        def stack(name: str) -> Any:
            return torch.from_numpy(np.stack([getattr(window, name) for window in found]))

        self.torch = torch
        made = stack("made")
        self.last_day = made[:, :, NAMES.index("yesterday")].clone()
        self.order = made.argsort(-1).to(torch.int16)
        self.made = made.gather(-1, self.order.long())
        self.losses, self.inputs = stack("losses"), stack("inputs")
        self.classes, self.actual, self.naive = stack("classes").long(), stack("actual"), stack("naive")
        self.weights = torch.tensor([window.weight for window in found], dtype=torch.float32)

    def shares(self, judge: Any, rows: Any, every: slice, *, drop: float = 0.0) -> Any:
        """What the module ``judge`` gives each candidate (windows, steps, 5, candidates), for the chosen rows and steps."""
        torch = self.torch
        scores = self.losses[rows][torch.arange(len(rows))[:, None], self.classes[rows][:, every]]
        inputs = self.inputs[rows][:, every]
        if drop:
            lost = torch.rand(len(rows), 1, inputs.shape[2]) < drop
            inputs = torch.where(lost, judge.centre, inputs)
        logits = judge.net((inputs - judge.centre) / judge.width).view(scores.shape)
        return torch.softmax(logits - judge.beta * scores, dim=-1)

    def quantiles(self, shares: Any, rows: Any, every: slice) -> Any:
        """The trimmed means of the candidates (windows, steps, 5), as `farwatch.forecasting.default` takes them."""
        torch = self.torch
        order = self.order[rows][:, every, None].long().expand(-1, -1, len(LEVELS), -1)
        below = shares.gather(-1, order).cumsum(-1).clamp(TRIM, 1 - TRIM)
        kept = torch.diff(below, dim=-1, prepend=torch.full_like(below[..., :1], TRIM)) / (1 - 2 * TRIM)
        return torch.einsum("nsqc,nsc->nsq", kept, self.made[rows][:, every])

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


def fit(torch: Any, data: Tensors, rows: Any, weights: Any, rounds: int) -> Any:
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
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=rounds, pct_start=0.1)
    for _ in range(rounds):
        chosen = rows[torch.multinomial(weights, BATCH, replacement=True)]
        every = slice(int(torch.randint(0, SKIP, (1,))), None, SKIP)
        quantiles = data.quantiles(data.shares(judge, chosen, every, drop=INPUT_DROPOUT), chosen, every)
        maes, losses, known = data.errors(quantiles, chosen, every)
        loss = (MIDDLE * sum(part.mean() for part in maes) + sum(part.mean() for part in losses)) / 2
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


def ensemble(
    torch: Any,
    data: Tensors,
    found: Sequence[Window],
    out: set[str],
    args: argparse.Namespace,
) -> list[Any]:
    """Judges fitted to the windows that owe nothing to the series ``out``, each to its own bag of the others.

    A bag gives each recorded series a random weight with mean one, exponential as in the Bayesian bootstrap.
    """
    rows = torch.tensor([at for at, one in enumerate(found) if not one.sources & out])
    names = sorted(set().union(*(one.sources for one in found)))
    judges = []
    for member in range(args.members):
        rng = np.random.default_rng(member)
        torch.manual_seed(member)
        bag = dict(zip(names, rng.exponential(1.0, len(names)), strict=True))
        lots = [float(np.mean([bag[name] for name in found[at].sources] or [1.0])) for at in rows.tolist()]
        judges.append(fit(torch, data, rows, data.weights[rows] * torch.tensor(lots), args.rounds))
    return judges


def forecasts(torch: Any, data: Tensors, judges: Sequence[Any], rows: Any) -> Any:
    """The forecasts of all judges together for the chosen windows (windows, steps, 5), all steps of two days."""
    every, made = slice(None), []
    with torch.no_grad():
        for some in rows.split(64):
            shares = sum(data.shares(judge, some, every) for judge in judges) / len(judges)
            made.append(data.quantiles(shares, some, every))
    every_value = np.ones(STEPS // 2, dtype=bool)
    finished = []
    for row, said in zip(rows.tolist(), torch.cat(made).numpy(), strict=True):
        held = held_to(np.sort(said, axis=1), data.last_day[row, : STEPS // 2].numpy(), every_value)
        ranked = data.made[row].numpy()
        finished.append(np.clip(held, ranked[:, :1], ranked[:, -1:]))
    return torch.from_numpy(np.stack(finished).astype(np.float32))


def figures(torch: Any, data: Tensors, quantiles: Any, rows: Any) -> str:
    """relMAE/relPL and the coverage of both intervals, at 24 and 48 h, each series or window with its weight."""
    parts = []
    maes, losses, known = data.errors(quantiles, rows, slice(None))
    share = data.weights[rows] / data.weights[rows].sum()
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


def report(torch: Any, title: str, data: Tensors, found: Sequence[Window], quantiles: Any, rows: Any) -> None:
    """Print `figures` of the recorded windows, of those asked for, and of the last of these by kind of metric."""
    metrics: dict[str, list[int]] = {}
    for kind in ("recorded", "asked"):
        at = [place for place, row in enumerate(rows.tolist()) if found[row].kind == kind]
        if at:
            print(f"{title}, {kind:9} {figures(torch, data, quantiles[at], rows[at])}", flush=True)
            metrics = {}
        for place in at:
            metrics.setdefault(min(found[int(rows[place])].sources).split("-")[0], []).append(place)
    for metric, places in metrics.items():
        print(f"  {metric:10} {figures(torch, data, quantiles[places], rows[places])}", flush=True)


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
    parser.add_argument("--windows", type=Path, help="CSV with series,origin: report on these as well")
    parser.add_argument("--cache", type=Path, help="keep the windows in this file, or take them from it")
    parser.add_argument("--processes", type=int, default=1, help="processes that make the windows")
    parser.add_argument("--members", type=int, default=3, help="judges whose shares are averaged")
    parser.add_argument("--variants", type=int, default=10, help="variants of each series")
    parser.add_argument("--rounds", type=int, default=1800, help="steps of a fit, 64 windows each")
    args = parser.parse_args(argv)
    import torch

    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    recordings = {path.stem: read_series(path) for path in sorted(args.folder.glob("*.csv"))}
    series = {name: (one.whole, round(86_400 / one.step)) for name, one in recordings.items()}
    tasks = list(work(series, args.variants, rng))
    if args.windows:
        tasks += asked(recordings, args.windows)
    made = prepared(tasks, args.processes, args.cache)
    judged = [one for one in made if one.kind in {"recorded", "asked"}]
    found = [one.thinned() if one.kind == "recorded" else one for one in made if one.kind != "asked"]
    del made
    data, test = Tensors(torch, found), Tensors(torch, judged)
    print(f"{len(found)} windows of {len(series)} series and {MADE_UP} made-up ones", flush=True)
    if args.out:
        judges = ensemble(torch, data, found, set(), args)
        np.savez_compressed(args.out, **_packed(judges))
        print(f"wrote {args.out}, {args.out.stat().st_size} bytes", flush=True)
        rows = torch.arange(len(judged))
        report(torch, "fitted", test, judged, forecasts(torch, test, judges, rows), rows)
    order = rng.permutation(sorted(series)).tolist()
    unseen, places = [], []
    for fold in range(args.folds):
        out = set(order[fold :: args.folds])
        rows = torch.tensor([at for at, one in enumerate(judged) if one.sources & out])
        unseen.append(forecasts(torch, test, ensemble(torch, data, found, out, args), rows))
        places.append(rows)
        print(f"without group {fold + 1}: {figures(torch, test, unseen[-1], rows)}", flush=True)
    if unseen:
        report(torch, "left out", test, judged, torch.cat(unseen), torch.cat(places))
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
