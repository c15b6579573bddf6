"""Noise that is a function of time: the same seed and moment always give the same value.

A generator with a state would have to be run from the beginning to know what it says today. Here each value is a
hash of (seed, name, index on a grid in time), smoothed between grid points where wanted, so that any stretch of
any series can be made at any resolution, and live samples continue the history without a seam.
"""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Times = npt.NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def _hash(name: str, index: Times) -> npt.NDArray[np.uint64]:
    """Return 64 well-mixed bits for each index (the finaliser of SplitMix64, Steele and others 2014)."""
    key = np.uint64(zlib.crc32(name.encode()) * 0x1_0000_0001)
    with np.errstate(over="ignore"):
        z = (index.astype(np.uint64) + key) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


def uniform(name: str, index: Times) -> Floats:
    """Return numbers in [0, 1), one for each index."""
    values: Floats = (_hash(name, index) >> np.uint64(11)).astype(np.float64) / 2.0**53
    return values


def normal(name: str, index: Times) -> Floats:
    """Return numbers that are normal to the eye: mean 0, deviation 1, never beyond 3.5 (a sum of four uniforms)."""
    bits = _hash(name, index)
    total = np.zeros(len(index))
    for shift in (0, 16, 32, 48):
        total += ((bits >> np.uint64(shift)) & np.uint64(0xFFFF)).astype(np.float64)
    values: Floats = (total / 65535.0 - 2.0) * np.sqrt(3.0)
    return values


def smooth(name: str, times: Times, period_s: float) -> Floats:
    """Return a wandering line with features of about ``period_s`` seconds; mean 0, deviation about 0.8."""
    place: Floats = times / (period_s * 1000.0)
    index: Times = np.floor(place).astype(np.int64)
    share: Floats = place - index
    share = share * share * (3.0 - 2.0 * share)
    before, after = normal(name, index), normal(name, index + 1)
    blend: Floats = before + (after - before) * share
    return blend


def bursts(name: str, times: Times, every_s: float, lasting_s: float) -> Floats:
    """Return 0 with occasional bursts of random height (1 on average), one each ``every_s`` on average."""
    cell = times // round(lasting_s * 1000)
    hit = uniform(name, cell) < lasting_s / every_s
    height = -np.log(1.0 - uniform(f"{name}/height", cell))
    return np.where(hit, height, 0.0)
