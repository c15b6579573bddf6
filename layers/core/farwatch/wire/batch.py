"""The batch an agent sends: decoded strictly, kept in its good part, and passed on to ``process``.

Decoding has two speeds. A well-formed batch is one typed msgspec pass, with no Python loop over its samples. Anything
else is taken apart series by series, so that what is good is kept and what is bad is named.
"""

from __future__ import annotations

import base64
import json
import math
import re
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct

from farwatch.errors import FieldError, InvalidInput, TooLarge

if TYPE_CHECKING:
    from farwatch.domain.samples import Batch

MAX_COMPRESSED = 1_000_000
MAX_UNZIPPED = 8_000_000
MAX_SAMPLES = 5_000
MAX_SERIES = 300
MAX_LABELS = 8
MAX_LABEL_VALUE = 200
MAX_ERRORS = 10
FUTURE_TOLERANCE_MS = 5 * 60_000
MAX_AGE_MS = 30 * 86_400_000

LARGEST, SMALLEST = 1e100, 1e-100
"""Values beyond the one, on either side, are left out, and within the other they are 0: means are made of sums, squares and
quotients, and where those overflow or underflow what one host sends stops the roll-ups of all."""

_METRIC = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")
_LABEL = re.compile(r"[a-z_][a-z0-9_]{0,39}")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]*")

_Value = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
_Ms = Annotated[int, Meta(ge=0, le=2**53)]
_Id = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


class WireSeries(Struct, forbid_unknown_fields=False):
    """One series of a batch: ``values[i]`` was measured at the batch's ``times[i]``; None means no sample."""

    metric: str
    values: list[_Value | None]
    labels: dict[str, str] = {}


class WireProcess(Struct):
    """One of the busiest processes when the batch was taken."""

    pid: Annotated[int, Meta(ge=0)]
    name: str
    cpu_percent: float = 0.0
    rss_bytes: Annotated[int, Meta(ge=0)] = 0


class WireAgent(Struct):
    """What the agent says of itself."""

    version: Annotated[str, Meta(max_length=40)] = ""
    started_at: _Ms = 0
    interval_s: float = 0.0


class WireBatch(Struct):
    """A batch as sent. See ``docs/wire.md`` for each field."""

    batch_id: _Id
    host_id: _Id
    spool_id: _Id
    seq: Annotated[int, Meta(ge=1, le=2**53)]
    oldest: Annotated[int, Meta(ge=1, le=2**53)]
    sent_at: _Ms
    times: list[_Ms]
    series: list[WireSeries]
    v: int = 1
    agent: WireAgent = msgspec.field(default_factory=WireAgent)
    top_processes: list[WireProcess] = []
    self_: Annotated[dict[str, float], Meta(max_length=20)] = msgspec.field(default_factory=dict, name="self")


class _Envelope(Struct):
    """The same batch with its samples still unread: what the slow path starts from."""

    batch_id: _Id
    host_id: _Id
    spool_id: _Id
    seq: Annotated[int, Meta(ge=1, le=2**53)]
    oldest: Annotated[int, Meta(ge=1, le=2**53)]
    sent_at: _Ms
    times: list[Any]
    series: list[Any]
    v: int = 1
    agent: Any = None
    top_processes: Any = None
    self_: Any = msgspec.field(default=None, name="self")


class Accepted(Struct):
    """The good part of a batch, with what was left out: ``rejected`` counts samples, ``errors`` names the first few."""

    batch: WireBatch
    accepted: int
    rejected: int
    errors: list[FieldError]


class WireStanding(Struct):
    """How far a spool is stored, how often the agent is to sample (seconds), whether it is to renew its credential.

    ``server_time`` is epoch ms.
    """

    stored_through: int
    server_time: int
    interval_s: float
    renew_credential: bool = False


class WireAnswer(WireStanding):
    """The answer to a batch: its samples counted, the first few faults named, and the standing."""

    accepted: int = 0
    rejected: int = 0
    errors: list[FieldError] = []


_BATCH = msgspec.json.Decoder(WireBatch)
_ENCODER = msgspec.json.Encoder()


def decode_batch(body: bytes, now: int) -> Accepted:
    """Return the good part of a gzipped batch; ``now`` is epoch milliseconds.

    Raises TooLarge over a size limit, and InvalidInput when nothing can be kept: not gzip, not JSON, an envelope field
    missing or wrong, an unknown version. Samples from more than five minutes ahead or thirty days ago, values that are
    not finite numbers or lie beyond ``LARGEST``, and series with a bad name, bad labels or the wrong number of values are
    left out and counted.
    """
    text = _gunzip(body)
    try:
        batch, rejected, errors = _BATCH.decode(text), 0, _Errors()
        places: Sequence[int] = range(len(batch.series))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        batch, places, rejected, errors = _salvage(text)
    if batch.v != 1:
        raise _invalid(FieldError("v", f"version {batch.v} is not spoken here; this server speaks 1"))
    if batch.oldest > batch.seq:
        raise _invalid(FieldError("oldest", f"{batch.oldest} is above seq {batch.seq}"))
    rejected += _drop_bad_series(batch, places, errors)
    rejected += _drop_bad_times(batch, now, errors)
    accepted = sum(len(series.values) - series.values.count(None) for series in batch.series)
    if accepted > MAX_SAMPLES:
        raise TooLarge(f"a batch holds at most {MAX_SAMPLES} samples, this one {accepted}: send it in parts")
    return Accepted(batch, accepted, rejected, errors.first)


def pack(batch: WireBatch) -> str:
    """Return the batch as text for a queue message: base64 of deflated JSON, well under SQS's 256 KB for 5,000 samples."""
    return base64.b64encode(zlib.compress(_ENCODER.encode(batch), 1)).decode()


def unpack(message: str) -> WireBatch:
    """Return the batch that ``pack`` made."""
    return _BATCH.decode(zlib.decompress(base64.b64decode(message)))


def to_samples(batch: WireBatch) -> Batch:
    """Return the batch in the domain's words, its values as one array."""
    import numpy as np

    from farwatch.domain.samples import Batch, SampleBlock, SeriesKey, TopProcess

    values = np.array([series.values for series in batch.series], dtype=np.float64)
    values[np.abs(values) < SMALLEST] = 0.0
    block = SampleBlock(
        np.array(batch.times, np.int64),
        tuple(SeriesKey.of(series.metric, series.labels) for series in batch.series),
        values.reshape(len(batch.series), len(batch.times)).T,
    )
    return Batch(
        batch_id=batch.batch_id,
        host_id=batch.host_id,
        spool_id=batch.spool_id,
        seq=batch.seq,
        oldest=batch.oldest,
        sent_at=batch.sent_at,
        samples=block,
        top_processes=tuple(
            TopProcess(p.pid, p.name[:200], p.cpu_percent, p.rss_bytes) for p in batch.top_processes[:10]
        ),
        agent_version=batch.agent.version,
    )


class _Errors:
    """Keeps the first ``MAX_ERRORS`` faults: enough to find the bug, never a second payload."""

    def __init__(self) -> None:
        self.first: list[FieldError] = []

    def add(self, loc: str, msg: str) -> None:
        if len(self.first) < MAX_ERRORS:
            self.first.append(FieldError(loc, msg))


def _invalid(*errors: FieldError) -> InvalidInput:
    return InvalidInput(
        "the batch cannot be read: " + errors[0].msg, errors, code="invalid_batch", status=400
    )


def _gunzip(body: bytes) -> bytes:
    if len(body) > MAX_COMPRESSED:
        raise TooLarge(f"a batch is at most {MAX_COMPRESSED:,} bytes compressed, this one is {len(body):,}")
    if body[:2] != b"\x1f\x8b":
        raise _invalid(FieldError("body", "the body is not gzip"))
    unzip = zlib.decompressobj(wbits=31)
    try:
        text = unzip.decompress(body, MAX_UNZIPPED)
    except zlib.error:
        raise _invalid(FieldError("body", "the gzip data is damaged")) from None
    if unzip.unconsumed_tail:
        raise TooLarge(f"a batch is at most {MAX_UNZIPPED:,} bytes unzipped")
    if not unzip.eof:
        raise _invalid(FieldError("body", "the gzip data is cut short"))
    return text


def _salvage(text: bytes) -> tuple[WireBatch, Sequence[int], int, _Errors]:
    """Take a batch apart piece by piece, and return it with the place each series had in what was sent.

    Python's own parser is used because it reads NaN and Infinity, which faulty senders write.
    """
    try:
        # Half characters, which Python's parser lets pass, cannot be written again: neither queued nor stored.
        raw = json.loads(json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise _invalid(FieldError("body", f"the body is not JSON ({str(error)[:120]})")) from None
    try:
        envelope = msgspec.convert(raw, _Envelope)
    except msgspec.ValidationError as error:
        raise _invalid(_field_error(error)) from None
    errors, rejected = _Errors(), 0
    for index, at in enumerate(envelope.times):
        if isinstance(at, bool) or not isinstance(at, int) or not 0 <= at <= 2**53:
            # The columns are aligned by position, so one unreadable time makes them all doubtful from there.
            errors.add(f"times[{index}]", "expected epoch milliseconds")
    if errors.first:
        raise _invalid(*errors.first)
    series: list[WireSeries] = []
    places: list[int] = []
    for index, item in enumerate(envelope.series):
        kept, lost = _salvage_series(item, index, errors)
        rejected += lost
        if kept is not None:
            series.append(kept)
            places.append(index)
    batch = WireBatch(
        batch_id=envelope.batch_id,
        host_id=envelope.host_id,
        spool_id=envelope.spool_id,
        seq=envelope.seq,
        oldest=envelope.oldest,
        sent_at=envelope.sent_at,
        times=envelope.times,
        series=series,
        v=envelope.v,
        agent=_or_default(envelope.agent, WireAgent, WireAgent(), "agent", errors),
        top_processes=_or_default(envelope.top_processes, list[WireProcess], [], "top_processes", errors),
        self_=_or_default(envelope.self_, dict[str, float], {}, "self", errors),
    )
    return batch, places, rejected, errors


def _salvage_series(item: Any, index: int, errors: _Errors) -> tuple[WireSeries | None, int]:
    """Return the series with its unreadable values emptied, and the samples lost; None when more than values is wrong."""
    values = item.get("values") if isinstance(item, dict) else None
    kept: list[float | None] = []
    lost = 0
    for position, value in enumerate(values if isinstance(values, list) else []):
        why = None if value is None else _fault_of(value)
        kept.append(None if why else value)
        if why:
            lost += 1
            errors.add(f"series[{index}].values[{position}]", f"{json.dumps(value, default=str)[:40]} {why}")
    try:
        return msgspec.convert(
            {**item, "values": kept} if isinstance(values, list) else item, WireSeries
        ), lost
    except msgspec.ValidationError as error:
        at = _field_error(error)
        errors.add(f"series[{index}]" + (f".{at.loc}" if at.loc != "body" else ""), at.msg)
        return None, max(1, len(kept) - kept.count(None) + lost)


def _fault_of(value: Any) -> str | None:
    """Return what is wrong with a value, None when it can be kept."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and abs(value) < math.inf):  # NaN is not below it either
        return "is not a finite number"
    return None if abs(value) <= LARGEST else f"lies beyond {LARGEST:g}"


def _or_default(value: Any, type_: Any, default: Any, loc: str, errors: _Errors) -> Any:
    if value is None:
        return default
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        at = _field_error(error)
        errors.add(f"{loc}.{at.loc}" if at.loc != "body" else loc, at.msg)
        return default


def _field_error(error: msgspec.MsgspecError) -> FieldError:
    """Split msgspec's ``Expected `int`, got `str` - at `$.seq``` into path and message."""
    msg, _, path = str(error).partition(" - at `$")
    missing = re.search(r"missing required field `(\w+)`", msg)
    loc = path.rstrip("`").lstrip(".")
    if missing:
        loc = f"{loc}.{missing[1]}".lstrip(".")
    return FieldError(loc or "body", msg)


def _drop_bad_times(batch: WireBatch, now: int, errors: _Errors) -> int:
    """Leave out the columns whose time is not between thirty days ago and five minutes ahead, or not ascending."""
    bad: set[int] = set()
    last = -1
    for index, at in enumerate(batch.times):
        if at > now + FUTURE_TOLERANCE_MS:
            errors.add(
                f"times[{index}]", f"{at} is {(at - now) / 1000:.0f} s in the future: set the host's clock"
            )
        elif at < now - MAX_AGE_MS:
            errors.add(f"times[{index}]", f"{at} is more than 30 days old")
        elif at <= last:
            errors.add(f"times[{index}]", f"{at} does not come after {last}")
        else:
            last = at
            continue
        bad.add(index)
    if not bad:
        return 0
    rejected = 0
    batch.times = [at for index, at in enumerate(batch.times) if index not in bad]
    for series in batch.series:
        rejected += sum(series.values[index] is not None for index in bad)
        series.values = [value for index, value in enumerate(series.values) if index not in bad]
    return rejected


def _drop_bad_series(batch: WireBatch, places: Sequence[int], errors: _Errors) -> int:
    """Leave out series with a bad name, bad labels, the wrong number of values, or seen before in this batch."""
    good: list[WireSeries] = []
    seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    rejected = 0
    for index, series in zip(places, batch.series, strict=True):
        key = (series.metric, tuple(sorted(series.labels.items())))
        fault = _fault(series, len(batch.times))
        if fault is None and key in seen:
            fault = FieldError("metric", "the same metric and labels came before in this batch")
        if fault is None and len(good) >= MAX_SERIES:
            fault = FieldError("metric", f"a host has at most {MAX_SERIES} series in a batch")
        if fault is not None:
            errors.add(f"series[{index}].{fault.loc}", fault.msg)
            rejected += len(series.values) - series.values.count(None)
            continue
        seen.add(key)
        good.append(series)
    batch.series = good
    return rejected


def _fault(series: WireSeries, width: int) -> FieldError | None:
    if len(series.metric) > 100 or not _METRIC.fullmatch(series.metric):
        return FieldError("metric", "a metric name is dotted lower case, for example cpu.percent")
    if len(series.values) != width:
        return FieldError("values", f"{len(series.values)} values for {width} times")
    if len(series.labels) > MAX_LABELS:
        return FieldError("labels", f"at most {MAX_LABELS} labels")
    for name, value in series.labels.items():
        if not _LABEL.fullmatch(name):
            return FieldError("labels", "a label name is lower case letters, digits and underscores")
        if len(value) > MAX_LABEL_VALUE or not _PRINTABLE.fullmatch(value):
            return FieldError(f"labels.{name}", f"at most {MAX_LABEL_VALUE} printable characters")
    return None
