"""Detector state as bytes: what a cache keeps between two batches."""

import struct
import zlib
from functools import lru_cache
from typing import Any

import numpy as np

from farwatch.detection.interface import Detector, StateArray

_HEAD = struct.Struct("<4sHHI")
_MAGIC = b"FWD1"


class StateError(ValueError):
    """The bytes are not a state of this detector in this version; begin with ``new_state`` instead."""


def pack(detector: Detector, state: StateArray) -> bytes:
    """Return ``state`` (S records) as bytes that ``unpack`` reads back: a 12-byte head and the records.

    The head carries the detector's version and a checksum of its name and record layout, so that bytes
    written by another detector, or by another release of this one, are refused rather than misread.
    """
    return _HEAD.pack(_MAGIC, detector.version, 0, _layout(detector)) + np.ascontiguousarray(state).tobytes()


def unpack(detector: Detector, blob: bytes) -> StateArray:
    """Return the writable state array that ``pack`` wrote; raise ``StateError`` when it is not one."""
    if len(blob) < _HEAD.size:
        raise StateError("detector state is truncated")
    magic, version, _, layout = _HEAD.unpack_from(blob)
    if magic != _MAGIC or version != detector.version or layout != _layout(detector):
        raise StateError(f"not a state of detector {detector.name!r} version {detector.version}")
    if (len(blob) - _HEAD.size) % detector.dtype.itemsize:
        raise StateError("detector state is truncated")
    return np.frombuffer(bytearray(blob), dtype=detector.dtype, offset=_HEAD.size)


def _layout(detector: Detector) -> int:
    return _checksum(detector.name, detector.dtype)


@lru_cache(maxsize=16)
def _checksum(name: str, dtype: np.dtype[Any]) -> int:
    return zlib.crc32(f"{name}|{dtype.descr!r}".encode())
