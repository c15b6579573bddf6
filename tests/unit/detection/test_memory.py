"""What a series has been like: taking many samples at once is the same as taking one after the other."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from farwatch.detection.memory import INSIDE, distances, with_edges

PLACES = 16


def remembered(x: np.ndarray, scale: np.ndarray, most: int, grain: float) -> tuple[list[float], list[float]]:
    """Return the distances of ``x`` and what is remembered after it, by the plain rule, one by one."""
    held: list[float] = []
    gaps = []
    for value, (centre, unit) in zip(x, scale, strict=True):
        kept = float(np.float32(value))
        places = np.arcsinh((np.array(held) - centre) / unit)
        gap = float(np.min(np.abs(places - np.arcsinh((kept - centre) / unit)), initial=np.inf))
        gaps.append(gap)
        if gap > grain:
            held = sorted([*held, kept])
            if len(held) > most:
                places = np.arcsinh((np.array(held) - centre) / unit)
                del held[1 + int(np.argmin(places[2:] - places[:-2]))]
    return gaps, held


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    cuts=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    most=st.sampled_from([8, 12, 16]),
    every=st.sampled_from([1, 7, 30]),
)
def test_blocks_remember_what_one_sample_after_the_other_would(seed, cuts, most, every):
    rng = np.random.default_rng(seed)
    rows = sum(cuts)
    x = rng.normal(0, 1, (rows, 3)) * np.array([1.0, 100.0, 1e-3]) + rng.standard_cauchy((rows, 3))
    # Two of the three on a scale that moves now and then.
    scale = np.repeat(rng.uniform(0.5, 2.0, (2, rows // every + 1, 2)), every, axis=1)[:, : rows + 1]
    scale = np.concatenate([scale, np.repeat(scale[:, -1:], rows + 1 - scale.shape[1], axis=1)], axis=1)
    memory, crowd = with_edges(np.full((3, PLACES), np.inf, dtype=np.float32)), np.zeros(3)
    found, at = [], 0
    for cut in cuts:
        part = slice(at, at + cut)
        now = scale[:, at : at + cut + 1]
        if (now == now[:, :1]).all():
            now = now[:, :1]
        before = memory.copy()
        gaps, changed = distances(memory, crowd, np.full(3, most), x[part], 0.02, now)
        found.append(gaps)
        assert set((memory != before).any(axis=1).nonzero()[0]) <= set(changed)
        at += cut
    for column in range(2):
        gaps, held = remembered(x[:, column], scale[:, :rows, column].T, most, 0.02)
        np.testing.assert_allclose(np.concatenate(found)[:, column], gaps, rtol=1e-9)
        np.testing.assert_array_equal(memory[column, INSIDE][: len(held)], np.float32(held))
