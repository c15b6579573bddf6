"""Configuration: one table of settings, read from a TOML file and from the environment.

The environment wins over the file.  Every error names the key and shows a value that would do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

ENV_PREFIX = "FARWATCH_AGENT_"
COLLECTORS = ("cpu", "memory", "disk_space", "disk_traffic", "network", "system", "sensors", "agent")


class ConfigError(Exception):
    """A setting that cannot be used; the message names it and shows a valid example."""


def _default_state_dir() -> Path:
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/farwatch-agent")
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "farwatch-agent"


def default_config_file() -> Path:
    """Return where the configuration file is looked for when none is named."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/etc/farwatch/agent.toml")
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "farwatch" / "agent.toml"


@dataclass(frozen=True)
class Config:
    """The settings of one agent, checked."""

    server: str = ""
    state_dir: Path = field(default_factory=_default_state_dir)
    interval_s: float = 5.0
    flush_s: float = 5.0
    jitter_s: float = 0.2
    labels: Mapping[str, str] = field(default_factory=dict)
    collectors: tuple[str, ...] = ("*",)
    metrics: tuple[str, ...] = ("*",)
    mounts: tuple[str, ...] = ("*", "-/boot/efi", "-/snap/*", "-/var/lib/docker/*", "-/run/*")
    devices: tuple[str, ...] = ("*", "-loop*", "-ram*", "-zram*", "-dm-*", "-md*", "-sr*", "-fd*")
    interfaces: tuple[str, ...] = ("*", "-lo", "-veth*", "-ifb*", "-dummy*", "-cali*")
    sensors: tuple[str, ...] = ("*",)
    per_core: bool = True
    top_processes: int = 5
    spool_max_batches: int = 10_000
    spool_max_mb: float = 64.0
    memory_max_mb: float = 4.0
    replay_per_second: float = 15.0
    timeout_s: float = 10.0
    ca_file: str = ""
    allow_plain_http: bool = False
    log_level: str = "info"


class Setting(NamedTuple):
    """One row of the table of settings: how a value is read, shown and explained."""

    key: str
    read: Callable[[str, Any], Any]
    example: str
    description: str


def _fail(key: str, value: object, problem: str) -> ConfigError:
    example = BY_KEY[key].example
    return ConfigError(f"{key}: {problem}, not {value!r}; for example {key} = {example}")


def _number(low: float, high: float, *, whole: bool = False) -> Callable[[str, Any], Any]:
    kind = "a whole number" if whole else "a number"

    def read(key: str, value: Any) -> Any:
        try:
            number = (
                float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
            )
        except (ValueError, OverflowError):
            number = None
        if number is None or not low <= number <= high or (whole and number != int(number)):
            raise _fail(key, value, f"must be {kind} from {low:g} to {high:g}")
        return int(number) if whole else number

    return read


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _fail(key, value, "must be text")
    return value


def _server(key: str, value: Any) -> str:
    try:
        url = urlsplit(value if isinstance(value, str) else "")
        good = url.scheme in ("http", "https") and bool(url.hostname) and not url.query and not url.fragment
        good = good and url.username is None and (url.port is None or url.port > 0)
    except ValueError:
        good = False
    if not good:
        raise _fail(key, value, "must be an http or https URL")
    return str(value).rstrip("/")


def _path(key: str, value: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise _fail(key, value, "must be a path")
    return Path(value).expanduser()


def _flag(key: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    known = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    flag = known.get(value.strip().lower()) if isinstance(value, str) else None
    if flag is None:
        raise _fail(key, value, "must be true or false")
    return flag


def _globs(key: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise _fail(key, value, "must be a list of patterns")
    return tuple(value)


def _labels(key: str, value: Any) -> dict[str, str]:
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if any(not separator for _, separator, _ in pairs):
            raise _fail(key, value, "must be pairs of name and value")
        value = {name.strip(): text.strip() for name, _, text in pairs}
    if not isinstance(value, dict) or not all(
        isinstance(text, str) and 0 < len(text) <= 200 and 0 < len(name) <= 64 for name, text in value.items()
    ):
        raise _fail(key, value, "must be pairs of name (up to 64 characters) and text (up to 200)")
    return dict(value)


def _choice(*allowed: str) -> Callable[[str, Any], Any]:
    def read(key: str, value: Any) -> str:
        if value not in allowed:
            raise _fail(key, value, f"must be one of {', '.join(allowed)}")
        return str(value)

    return read


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "server",
        _server,
        '"https://farwatch.example.org"',
        "Where batches go: the URL before `/api/v1`. Enrolment stores it, so it is seldom set by hand.",
    ),
    Setting(
        "state_dir", _path, '"/var/lib/farwatch-agent"', "Folder for credentials, spool, lock and status."
    ),
    Setting(
        "interval_s",
        _number(1, 3600),
        "5",
        "Seconds between samples until the server says otherwise; its word always wins.",
    ),
    Setting(
        "flush_s",
        _number(1, 300),
        "5",
        "Ticks are gathered this long into one batch. What is not yet in a batch is lost on `kill -9`.",
    ),
    Setting(
        "jitter_s",
        _number(0, 60),
        "0.2",
        "A batch leaves up to this much later, at random, to spread a fleet.",
    ),
    Setting("labels", _labels, '{ env = "prod", role = "web" }', "Labels of the host, sent at enrolment."),
    Setting("collectors", _globs, '["*", "-sensors"]', f"Which collectors run: {', '.join(COLLECTORS)}."),
    Setting("metrics", _globs, '["*", "-net.packets_*"]', "Which metrics are sent, by name."),
    Setting("mounts", _globs, '["*", "-/mnt/backup"]', "Which file systems are measured, by mount point."),
    Setting("devices", _globs, '["sd*", "nvme*"]', "Which block devices are measured."),
    Setting("interfaces", _globs, '["*", "-lo", "-veth*"]', "Which network interfaces are measured."),
    Setting("sensors", _globs, '["coretemp*"]', "Which temperature sensors are read; `[]` reads none."),
    Setting("per_core", _flag, "true", "Whether the load of each processor core is sent."),
    Setting(
        "top_processes", _number(0, 20, whole=True), "5", "Processes named by processor time and by memory."
    ),
    Setting(
        "spool_max_batches", _number(10, 1_000_000, whole=True), "10000", "Batches kept while unconfirmed."
    ),
    Setting("spool_max_mb", _number(1, 10_000), "64", "Megabytes (2^20) of batches kept while unconfirmed."),
    Setting("memory_max_mb", _number(0.1, 1000), "4", "The same for the memory used while the disk fails."),
    Setting("replay_per_second", _number(0.1, 1000), "15", "Most batches sent in a second when catching up."),
    Setting("timeout_s", _number(1, 120), "10", "Seconds to wait for the server to connect or to answer."),
    Setting("ca_file", _text, '"/etc/ssl/our-ca.pem"', "Certificates to trust instead of the system's."),
    Setting(
        "allow_plain_http",
        _flag,
        "false",
        "Permit `http://` to another host. The credential then crosses the network readable.",
    ),
    Setting(
        "log_level",
        _choice("debug", "info", "warning", "error"),
        '"info"',
        "Least severe lines that are written.",
    ),
)

BY_KEY: dict[str, Setting] = {setting.key: setting for setting in SETTINGS}


def load(file: Path | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """Return the configuration from ``file`` (or the default place, if it is there) and ``environ``.

    Raises :class:`ConfigError` for a file that was named and cannot be read, for an unknown key, and for a
    value that cannot be used.
    """
    named = file or (Path(environ[ENV_PREFIX + "CONFIG"]) if environ.get(ENV_PREFIX + "CONFIG") else None)
    path = named or default_config_file()
    values = _read_file(path, required=named is not None)
    for key, value in values.items():
        if key not in BY_KEY:
            raise ConfigError(f"{path}: there is no setting {key!r}; {_nearest(key)}")
        values[key] = BY_KEY[key].read(key, value)
    for setting in SETTINGS:
        text = environ.get(ENV_PREFIX + setting.key.upper())
        if text is not None and text != "":
            try:
                values[setting.key] = setting.read(setting.key, text)
            except ConfigError as error:
                raise ConfigError(f"{ENV_PREFIX}{setting.key.upper()}: {error}") from error
    return Config(**values)


def _read_file(path: Path, *, required: bool) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        if not required and isinstance(error, FileNotFoundError | NotADirectoryError):
            return {}
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, or a number of thousands of digits
        raise ConfigError(f"{path}: is not valid TOML ({error}); a line looks like interval_s = 5") from error


def _nearest(key: str) -> str:
    import difflib

    close = difflib.get_close_matches(key, BY_KEY, n=1)
    return (
        f"did you mean {close[0]} = {BY_KEY[close[0]].example}?"
        if close
        else f"known are {', '.join(BY_KEY)}"
    )


DEFAULTS: dict[str, Any] = {f.name: getattr(Config(), f.name) for f in fields(Config)}
"""The default of every setting, for the documentation."""
