"""``./farwatch audit verify``: prove that the audit log is whole.

Every row's hash is computed again from its text and the row before it. Cutting off the newest rows leaves a whole
chain, so note the head this prints now and then somewhere else, and hand it back with ``--head``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from farwatch.adapters.postgres.audit import PostgresAuditLog
from farwatch.adapters.postgres.database import Database
from farwatch.domain.audit import verify
from farwatch.errors import FarwatchError
from farwatch.settings import Settings, load_secrets


def main(argv: Sequence[str] | None = None) -> int:
    """Check the chain and print the result; return 0 when it is whole, 1 when it is not, 2 when it cannot be read."""
    parser = argparse.ArgumentParser(prog="farwatch audit verify", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--head", type=_head, help="row number and hash noted earlier, as printed: 1234:ab12…"
    )
    parser.add_argument("--secrets", type=Path, help="secrets document (default: that of the data folder)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse_args(argv)
    try:
        database = Database(load_secrets(_settings(arguments.secrets)).database_url)
        try:
            verdict = verify(PostgresAuditLog(database).links(), arguments.head)
        finally:
            database.close()
    except FarwatchError as error:
        print(f"The audit log cannot be read: {error}")
        return 2
    head = f"{verdict.head_seq}:{verdict.head_hash.hex()}"
    if arguments.json:
        result = {"whole": verdict.broken_at is None, "rows": verdict.rows, "head": head}
        print(json.dumps({**result, "broken_at": verdict.broken_at, "reason": verdict.reason}))
    elif verdict.broken_at is None:
        print(f"The audit log is whole: {verdict.rows} rows.\nHead (note it elsewhere): {head}")
    else:
        print(f"The audit log was altered: row {verdict.broken_at}: {verdict.reason}.")
        print(f"Whole up to row {verdict.rows}.")
    return 0 if verdict.broken_at is None else 1


def _settings(secrets: Path | None) -> Settings:
    from infra.local.home import Home

    settings = Settings()
    if secrets is None and settings.secrets_file is None and not settings.secrets_id:
        secrets = Home.find().secrets
    return settings if secrets is None else settings.model_copy(update={"secrets_file": secrets})


def _head(text: str) -> tuple[int, bytes]:
    seq, _, digest = text.partition(":")
    try:
        head = int(seq), bytes.fromhex(digest)
    except ValueError as error:
        raise argparse.ArgumentTypeError("expected NUMBER:HASH as printed, for example 1234:ab12…") from error
    if len(head[1]) != 32:
        raise argparse.ArgumentTypeError("the hash has 64 hex digits")
    return head


if __name__ == "__main__":
    raise SystemExit(main())
