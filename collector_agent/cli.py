"""The command line: ``farwatch-agent run|once|check|status|enrol|print``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from collector_agent import __version__, config, state
from collector_agent.config import Config, ConfigError
from collector_agent.log import Log
from collector_agent.state import Credentials, StateError
from collector_agent.transport import Answer, Transport, TransportError, is_safe

OK, FAILED, USAGE, NOT_RUNNING = 0, 1, 2, 3


class CommandError(Exception):
    """A command cannot go on; the message says what to do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 good, 1 failed, 2 wrongly called, 3 not running."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace, Config], int] = arguments.command
    try:
        return command(arguments, config.load(arguments.config))
    except ConfigError as error:
        print(f"farwatch-agent: {error}", file=sys.stderr)  # noqa: T201 - the command line speaks by printing
        return USAGE
    except (CommandError, StateError) as error:
        print(f"farwatch-agent: {error}", file=sys.stderr)  # noqa: T201 - as above
        return FAILED
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="farwatch-agent", description="Samples this host for Farwatch.")
    parser.add_argument("--version", action="version", version=f"farwatch-agent {__version__}")
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"default {config.default_config_file()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="sample and deliver until stopped")
    run.set_defaults(command=_run)

    once = commands.add_parser("once", help="take one sample, deliver everything spooled, and leave")
    once.add_argument(
        "--timeout", type=float, default=30.0, metavar="SECONDS", help="give up after this long"
    )
    once.set_defaults(command=_once)

    check = commands.add_parser(
        "check", help="say whether configuration, folder, server and credential are good"
    )
    check.set_defaults(command=_check)

    status = commands.add_parser(
        "status", help="say how the running agent does (exit status for health checks)"
    )
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(command=_status)

    enrol = commands.add_parser("enrol", help="trade an enrolment token for the identity of this host")
    enrol.add_argument(
        "--server", metavar="URL", help="where the back end is, such as https://farwatch.example.org"
    )
    enrol.add_argument(
        "--token",
        metavar="TOKEN",
        help="begins with fwe_; better given in FARWATCH_AGENT_TOKEN, where ps shows nothing",
    )
    enrol.add_argument("--hostname", metavar="NAME", help="name to show, if not the host's own")
    enrol.add_argument("--label", action="append", default=[], metavar="NAME=VALUE", help="may be repeated")
    present = enrol.add_mutually_exclusive_group()
    present.add_argument("--force", action="store_true", help="replace an identity that is there already")
    present.add_argument(
        "--unless-accepted", action="store_true", help="replace it unless the server accepts its credential"
    )
    enrol.set_defaults(command=_enrol)

    show = commands.add_parser("print", help="print one sample of this host; nothing is sent")
    show.add_argument("--json", action="store_true", help="print JSON")
    show.set_defaults(command=_print)
    return parser


def _say(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)  # names of a host, in any terminal
    print(text, flush=True)  # noqa: T201 - the command line speaks by printing


def _credentials(cfg: Config) -> Credentials:
    credentials = state.load_credentials(cfg.state_dir)
    if credentials is None:
        raise CommandError(
            f"this host is not enrolled ({cfg.state_dir}/credentials.json is missing);"
            " run farwatch-agent enrol --server URL --token fwe_…"
        )
    _require_safe(cfg, cfg.server or credentials.server)
    return credentials


def _require_safe(cfg: Config, server: str) -> None:
    if not is_safe(server) and not cfg.allow_plain_http:
        raise CommandError(
            f"{server} is not https, so the credential could be read on the way;"
            " use https, or set allow_plain_http = true"
        )


def _run(_: argparse.Namespace, cfg: Config) -> int:
    from collector_agent.agent import Agent

    credentials = _credentials(cfg)
    log = Log(cfg.log_level)
    if state.readable_by_others(cfg.state_dir):
        log.warning(
            "credentials can be read by other users", hint=f"chmod 600 {cfg.state_dir}/credentials.json"
        )
    with state.lock(cfg.state_dir):
        agent = Agent(cfg, credentials, log)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: agent.stop())
        agent.run()
    return OK


def _once(arguments: argparse.Namespace, cfg: Config) -> int:
    from collector_agent.agent import Agent
    from collector_agent.delivery import Policy

    credentials = _credentials(cfg)
    with state.lock(cfg.state_dir):
        agent = Agent(
            dataclasses.replace(cfg, jitter_s=0.0, flush_s=1.0),
            credentials,
            Log(cfg.log_level),
            Policy(replay_per_second=cfg.replay_per_second, idle_poll=0.25),  # somebody is waiting
        )
        until = time.monotonic() + arguments.timeout
        agent.prime()
        time.sleep(1.0)  # rates and shares need two looks
        agent.tick()
        agent.sender.start()
        try:
            while agent.spool.batches and time.monotonic() < until and not agent.sender.learned.unauthorised:
                time.sleep(0.05)
            left, learned = agent.spool.batches, agent.sender.learned
        finally:
            agent.close()
    if left:
        reason = learned.last_error or "not confirmed in time"
        raise CommandError(f"{left} batches stay in the spool: {reason}")
    _say(f"stored: {learned.batches_confirmed} batches")
    return OK


def _check(_: argparse.Namespace, cfg: Config) -> int:
    good = True

    def report(name: str, problem: str, detail: str = "") -> None:
        nonlocal good
        good = good and not problem
        _say(f"{'FAIL' if problem else 'ok  '}  {name:<13} {problem or detail}")

    report("configuration", "", f"{cfg.interval_s:g} s until the server says otherwise")
    report("state folder", _folder_problem(cfg.state_dir), str(cfg.state_dir))
    try:
        credentials = _credentials(cfg)
    except (CommandError, StateError) as error:
        report("enrolment", str(error))
        return FAILED
    mode = (
        "credentials.json can be read by others: chmod 600" if state.readable_by_others(cfg.state_dir) else ""
    )
    report("enrolment", mode, f"host {credentials.host_id}")
    server = cfg.server or credentials.server
    report("server", *_server_state(cfg, server, credentials))
    return OK if good else FAILED


def _folder_problem(folder: Path) -> str:
    probe = folder / f".probe.{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            probe.write_bytes(b"x" * 4096)
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        return f"{folder} cannot be written ({error.strerror}); set state_dir"
    return ""


def _server_state(cfg: Config, server: str, credentials: Credentials) -> tuple[str, str]:
    """Return what is wrong with the server (empty when nothing), and how it answered."""
    transport = Transport(server, timeout=cfg.timeout_s, ca_file=cfg.ca_file or None)
    started = time.time()
    try:
        answer = _ask_progress(transport, credentials)
    except TransportError as error:
        return f"{server} cannot be reached: {error}", ""
    finally:
        transport.close()
    took = time.time() - started
    if answer.status in (401, 403):
        return f"{server} does not accept the credential ({answer.explain()}); enrol again", ""
    body = answer.json()
    if body is None or (answer.status != 200 and answer.problem() is None):
        return f"{server} does not answer as a Farwatch server does ({answer.explain()})", ""
    skew = ""
    server_time = body.get("server_time")
    if isinstance(server_time, int | float):
        off = started + took / 2 - server_time / 1000
        if abs(off) > 30:
            return f"clock of this host is {off:+.0f} s off the server's; set up a time service", ""
        skew = f", clock {off:+.1f} s"
    return "", f"{server} answered in {took * 1000:.0f} ms{skew}"


def _status(arguments: argparse.Namespace, cfg: Config) -> int:
    status = state.load_status(cfg.state_dir)
    running = _is_running(cfg.state_dir)
    if status is None:
        status = {}
    verdict = _verdict(status, cfg.state_dir, running=running)
    if arguments.json:
        _say(json.dumps({**status, "running": running, "health": verdict or "ok"}))
    elif not running:
        _say(f"not running (state folder {cfg.state_dir})")
    else:
        for key, value in status.items():
            _say(f"{key.replace('_', ' '):<22} {value}")
        _say(f"{'health':<22} {verdict or 'ok'}")
    if not running:
        return NOT_RUNNING
    return FAILED if verdict else OK


def _is_running(state_dir: Path) -> bool:
    try:
        if not (state_dir / "agent.lock").exists():
            return False
        with state.lock(state_dir):
            return False
    except state.InUse:
        return True
    except PermissionError as error:
        raise CommandError(
            f"{state_dir}: cannot be looked into ({error.strerror}); ask as the user the agent runs as"
        ) from error


def _verdict(status: dict[str, Any], state_dir: Path, *, running: bool) -> str:
    """Return what is wrong with the agent, in one line; empty when nothing is."""
    if not running:
        return "not running"
    if not status or status.get("stopped"):
        return "starting"
    age = time.time() - float(status.get("updated_at", 0))
    if age > 3 * float(status.get("interval_s", 5.0)) + 20:
        # A full disk takes no new status either; the agent may do well otherwise.
        unwritable = _folder_problem(state_dir)
        return f"nothing heard for {age:.0f} s: {unwritable}" if unwritable else f"no sample for {age:.0f} s"
    troubles = {
        "unauthorised": "the back end does not accept the credential: enrol again",
        "renewal_error": f"the credential cannot be renewed: {status.get('renewal_error')}",
        "spool_degraded": f"spool is in memory: {status.get('spool_degraded')}",
    }
    return next((words for key, words in troubles.items() if status.get(key)), "")


def _enrol(arguments: argparse.Namespace, cfg: Config) -> int:
    from collector_agent import enrolment

    server = arguments.server or cfg.server
    if not server:
        raise CommandError("--server is missing; for example --server https://farwatch.example.org")
    server = config.BY_KEY["server"].read("server", server)
    _require_safe(cfg, server)
    # A file made elsewhere ends its lines in \r\n, of which the shell takes off only the last character.
    token = (arguments.token or os.environ.get(config.ENV_PREFIX + "TOKEN", "")).strip()
    if not token:
        raise CommandError("--token is missing; make one in the dashboard under Admin, Agents")
    labels = {**cfg.labels, **config.BY_KEY["labels"].read("labels", ",".join(arguments.label))}
    existing = state.load_credentials(cfg.state_dir) if not arguments.force else None
    if existing is not None and not arguments.unless_accepted:
        raise CommandError(f"already enrolled as {existing.host_id}; --force replaces that identity")
    transport = Transport(server, timeout=cfg.timeout_s, ca_file=cfg.ca_file or None)
    try:
        if existing is not None and _accepted(transport, server, existing):
            _say(f"already enrolled as {existing.host_id}, and the server accepts its credential")
            return OK
        credentials = enrolment.enrol(
            transport, server, token, enrolment.describe_host(arguments.hostname), labels
        )
    except enrolment.EnrolmentError as error:
        raise CommandError(str(error)) from error
    finally:
        transport.close()
    try:
        path = state.save_credentials(cfg.state_dir, credentials)
    except OSError as error:
        raise CommandError(f"enrolled, but {cfg.state_dir} cannot be written ({error.strerror})") from error
    _say(f"enrolled as {credentials.host_id}; credentials are in {path}")
    return OK


def _accepted(transport: Transport, server: str, credentials: Credentials) -> bool:
    """Return whether ``server`` accepts the credential; raises :class:`CommandError` when it does not say."""
    if credentials.server.rstrip("/") != server.rstrip("/"):
        return False  # another back end's; it is none of this one's business
    try:
        answer = _ask_progress(transport, credentials)
    except TransportError as error:
        raise CommandError(f"{server} cannot be reached: {error}") from error
    if answer.status not in (200, 401, 403):
        raise CommandError(f"{server} does not say whether it knows this host ({answer.explain()})")
    return answer.status == 200


def _ask_progress(transport: Transport, credentials: Credentials) -> Answer:
    from collector_agent.sender import BATCHES_PATH

    path = f"{BATCHES_PATH}/progress?spool_id={'0' * 32}"
    return transport.request("GET", path, credential=credentials.credential)


def _print(arguments: argparse.Namespace, cfg: Config) -> int:
    from collector_agent import catalogue, sampler

    taken = sampler.from_config(cfg, Log(cfg.log_level), lambda: (0, 0))
    taken.sample(time.monotonic())
    time.sleep(1.0)  # rates and shares need two looks
    samples, top = taken.sample(time.monotonic())
    if arguments.json:
        rows = [{"metric": name, "labels": dict(labels), "value": value} for name, labels, value in samples]
        _say(json.dumps({"samples": rows, "top_processes": top}, indent=2))
        return OK
    for name, labels, value in sorted(samples, key=lambda s: (catalogue.ORDER.get(s[0], 999), s[1])):
        shown = ",".join(f"{key}={text!r}" for key, text in labels)
        _say(
            f"{name + ('{' + shown + '}' if shown else ''):<60} {value:>20.2f} {catalogue.BY_NAME[name].unit}"
        )
    for process in top:
        _say(
            f"process {process['pid']} {process['name']!r}: {process['cpu_percent']} %,"
            f" {process['rss_bytes']} bytes"
        )
    return OK
