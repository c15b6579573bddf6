"""Scans: keeping what a security scan found, and reading it. Keeping needs ``scan:publish``, reading ``scan:read``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from farwatch.domain.rbac import Caller, Permission
from farwatch.domain.sarif import sarif_log
from farwatch.domain.scans import MOST_FINDINGS, Finding, Scan, ScanResult
from farwatch.errors import FieldError, InvalidInput, NotFound
from farwatch.ports.audit import AuditLog
from farwatch.ports.scans import FindingFilter, Placed, ScanStore
from farwatch.ports.transactions import Transactions


class Scans:
    """The use cases behind ``/api/v1/scans``."""

    def __init__(self, transactions: Transactions, store: ScanStore, audit: AuditLog) -> None:
        self._transactions = transactions
        self._store = store
        self._audit = audit

    def publish(self, caller: Caller, result: ScanResult, now: int) -> Scan:
        """Keep a result and return it with its trend; raises InvalidInput for too many or repeated findings."""
        caller.principal.require(Permission.SCAN_PUBLISH)
        if len(result.findings) > MOST_FINDINGS:
            raise InvalidInput(
                f"at most {MOST_FINDINGS} findings can be kept: send the worst and count the others in left_out",
                [FieldError("body.findings", f"more than {MOST_FINDINGS}")],
            )
        seen: set[str] = set()
        for index, finding in enumerate(result.findings):
            if finding.fingerprint in seen:
                raise InvalidInput(
                    "each finding of a scan has a fingerprint of its own",
                    [FieldError(f"body.findings[{index}].fingerprint", "is there twice")],
                )
            seen.add(finding.fingerprint)
        with self._transactions.transaction():
            scan = self._store.add(caller, result, now)
            self._audit.record(
                caller,
                action="scan.publish",
                target=scan.id,
                after={"target": scan.target, "counts": {str(k): v for k, v in scan.counts.items() if v}},
            )
        return scan

    def scan(self, caller: Caller, scan_id: str) -> Scan:
        """Return one scan; raises NotFound."""
        caller.principal.require(Permission.SCAN_READ)
        found = self._store.get(scan_id)
        if found is None:
            raise NotFound("there is no such scan", code="unknown_scan")
        return found

    def page(
        self, caller: Caller, *, target: str | None, newest_only: bool, before_id: str | None, limit: int
    ) -> Sequence[Scan]:
        """Return scans, newest first."""
        caller.principal.require(Permission.SCAN_READ)
        return self._store.scans(target=target, newest_only=newest_only, before_id=before_id, limit=limit)

    def findings(
        self, caller: Caller, scan_id: str, wanted: FindingFilter, *, after: int, limit: int
    ) -> Sequence[Placed]:
        """Return findings of a scan, worst first; raises NotFound."""
        return self._store.findings(self.scan(caller, scan_id), wanted, after=after, limit=limit)

    def rules(self, caller: Caller, scan_id: str) -> dict[str, int]:
        """Return the rules that found something and how much; raises NotFound."""
        return self._store.rules(self.scan(caller, scan_id).id)

    def report(self, caller: Caller, scan_id: str) -> tuple[Scan, list[Finding]]:
        """Return a scan with all its findings; raises NotFound."""
        scan = self.scan(caller, scan_id)
        placed = self._store.findings(scan, FindingFilter(), after=-1, limit=MOST_FINDINGS)
        return scan, [one.finding for one in placed]

    def sarif(self, caller: Caller, scan_id: str) -> dict[str, Any]:
        """Return a scan as a SARIF log; raises NotFound."""
        return sarif_log(self.report(caller, scan_id)[1])
