"""The spool: bounds, damage, another machine, quarantine."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from collector_agent.log import Log
from collector_agent.spool import Limits, Spool
from tests.unit.agent.payloads import number_of, payload


def opened(folder: Path, limits: Limits | None = None, machine_id: str = "m") -> Spool:
    return Spool(folder, Log("error", stream=io.StringIO()), limits, machine_id=machine_id)


def drain(spool: Spool) -> list[int]:
    numbers = []
    while (head := spool.head()) is not None:
        item = spool.read(head.spool_id, head.oldest)
        assert item is not None
        numbers.append(number_of(item))
        spool.confirm(head.spool_id, head.oldest)
    return numbers


def test_a_spool_closed_in_good_order_goes_on_under_the_same_id(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(payload(1))
    before = spool.head()
    spool.close()
    again = opened(tmp_path)
    again.append(payload(2))
    after = again.head()
    assert before is not None
    assert after is not None
    assert (after.spool_id, after.last_seq) == (before.spool_id, 2)
    assert drain(again) == [1, 2]
    assert again.last_ms == payload(2).last_ms
    again.close()


def test_the_spool_is_private(tmp_path: Path) -> None:
    spool = opened(tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0
    assert (tmp_path / "new" / "spool.db").stat().st_mode & 0o077 == 0
    spool.close()


def test_over_its_bytes_the_oldest_go_first_and_are_counted(tmp_path: Path) -> None:
    size = len(payload(1, samples=50).data)
    spool = opened(tmp_path, Limits(batches=1000, bytes=5 * size))
    for number in range(1, 21):
        spool.append(payload(number, samples=50))
    assert spool.bytes <= 5 * size
    left = drain(spool)
    assert left == list(range(21 - len(left), 21))
    assert spool.dropped_samples == 50 * (20 - len(left))
    spool.close()
    again = opened(tmp_path)
    assert again.dropped_samples == 50 * (20 - len(left))
    again.close()


def test_over_its_batches_the_oldest_go_first_and_the_file_shrinks_once_empty(tmp_path: Path) -> None:
    spool = opened(tmp_path, Limits(batches=500))
    for number in range(600):
        spool.append(payload(number))
    assert spool.batches == 500
    assert spool.dropped_samples == 100
    full = (tmp_path / "spool.db").stat().st_size
    assert drain(spool) == list(range(100, 600))
    spool.close()
    assert (tmp_path / "spool.db").stat().st_size < full


def test_a_damaged_spool_is_put_aside_and_what_is_readable_is_saved(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for number in range(1, 201):
        spool.append(payload(number, samples=40))
    spool.close()
    path = tmp_path / "spool.db"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 8192] = b"\xde\xad" * 4096
    path.write_bytes(bytes(content))
    again = opened(tmp_path)
    saved = drain(again)
    assert len(saved) > 50
    assert saved == sorted(set(saved))
    assert list(tmp_path.glob("damaged-*.db"))
    again.append(payload(999))
    assert drain(again) == [999]
    assert not again.degraded
    again.close()


def test_a_file_that_is_no_database_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "spool.db").write_bytes(b"hello, this was something else\n" * 500)
    spool = opened(tmp_path)
    spool.append(payload(1))
    assert drain(spool) == [1]
    assert not spool.degraded
    spool.close()


def test_a_batch_whose_checksum_is_wrong_is_dropped_and_counted(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for number in (1, 2, 3):
        spool.append(payload(number))
    spool._disk._db.execute("UPDATE batches SET payload = x'00' WHERE seq = 2")  # type: ignore[union-attr]
    head = spool.head()
    assert head is not None
    assert spool.read(head.spool_id, 2) is None
    assert spool.dropped_samples == 1
    assert drain(spool) == [1, 3]
    spool.close()


def test_a_spool_copied_to_another_machine_gets_ids_of_its_own(tmp_path: Path) -> None:
    spool = opened(tmp_path, machine_id="first")
    spool.append(payload(1))
    before = spool.head()
    spool.close()
    clone = opened(tmp_path, machine_id="second")
    after = clone.head()
    assert before is not None
    assert after is not None
    assert after.spool_id != before.spool_id
    assert drain(clone) == [1]
    clone.close()


def test_a_folder_that_cannot_be_used_means_memory_and_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    stream = io.StringIO()
    spool = Spool(tmp_path / "file" / "spool", Log("info", stream=stream))
    assert spool.degraded
    spool.append(payload(1))
    assert drain(spool) == [1]
    assert json.loads(stream.getvalue().splitlines()[0])["event"].startswith("spool disk fails")
    spool.close()


def test_a_disk_that_fills_up_leaves_no_half_of_a_refused_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened(tmp_path)
    spool.append(payload(1))
    head = spool.head()
    assert head is not None
    write_text = Path.write_text

    def torn(self: Path, data: str) -> int:
        write_text(self, data[:50])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", torn)
    spool.quarantine(head.spool_id, head.oldest, "HTTP 422 no")
    assert list((tmp_path / "quarantine").iterdir()) == []
    assert (spool.batches, spool.quarantined_batches) == (0, 1)
    spool.close()


def test_the_quarantine_keeps_the_newest_hundred(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for number in range(1, 121):
        spool.append(payload(number))
        head = spool.head()
        assert head is not None
        spool.quarantine(head.spool_id, head.oldest, "HTTP 422 no")
    kept = sorted((tmp_path / "quarantine").glob("*.json"))
    assert len(kept) == 100
    assert json.loads(kept[-1].read_text())["batch"]["series"][0]["values"] == [120]
    assert spool.quarantined_batches == 120
    assert spool.head() is None
    spool.close()
