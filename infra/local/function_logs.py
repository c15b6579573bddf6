"""Takes what functions logged out of the engine and appends it to a file.

The engine keeps every line of every invocation in memory for as long as it lives, whatever the log group's
retention says. Emptying its log groups bounds that, and gives `./farwatch logs functions` something to read.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from infra.local.deploy import client

if TYPE_CHECKING:
    from pathlib import Path

_PLATFORM = ("START RequestId:", "END RequestId:", "REPORT RequestId:")


class FunctionLogs:
    """The log groups of one engine. `log` receives one JSON line for each line that a function wrote."""

    def __init__(self, endpoint: str, log: Path) -> None:
        self._endpoint = endpoint
        self._log = log
        self._client: Any = None

    def drain(self) -> int:
        """Move all lines to the file and return how many there were.

        Raises `botocore.exceptions.BotoCoreError` or `ClientError` while the engine does not answer. A line
        written between reading a group and emptying it, a few milliseconds, is lost.
        """
        if self._client is None:
            self._client = client("logs", self._endpoint)
        lines: list[tuple[int, str, str]] = []
        for group in self._client.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]:
            name = group["logGroupName"]
            events = self._client.filter_log_events(logGroupName=name)["events"]
            if events:
                self._client.delete_log_group(logGroupName=name)
                function = name.rpartition("/")[2]
                lines += [(event["timestamp"], function, event["message"]) for event in events]
        kept = sorted(line for line in lines if not line[2].startswith(_PLATFORM))
        if kept:
            with self._log.open("a", encoding="utf-8") as file:
                file.writelines(_as_json(*line) for line in kept)
        return len(kept)


def _as_json(at: int, function: str, message: str) -> str:
    """One line: the function's own JSON with its name in front, or the bare text and when it was written."""
    try:
        fields = json.loads(message)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        fields = {"at": at, "message": message}
    return json.dumps({"function": function, **fields}, ensure_ascii=False) + "\n"
