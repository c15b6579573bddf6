"""One command starts everything, keeps it running through `kill -9`, says what is wrong, and stops it."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from infra.local.home import Home, State, is_process
from tests.stack.running import RunningStack, farwatch, free_base, open_folder, running_stack

pytestmark = pytest.mark.stack


def samples_stored(stack: RunningStack) -> int:
    with psycopg.connect(stack.secrets["database_url"]) as connection:
        row = connection.execute("SELECT count(*) FROM samples").fetchone()
        assert row is not None
        return int(row[0])


def wait_for_more_samples(stack: RunningStack, than: int, patience: float = 120.0) -> int:
    deadline = time.monotonic() + patience
    while (now := samples_stored(stack)) <= than:
        assert time.monotonic() < deadline, "no sample was stored:\n" + stack.home.log("agent").read_text()
        time.sleep(0.2)
    return now


def wait_until_all_well(stack: RunningStack, patience: float = 60.0) -> None:
    deadline = time.monotonic() + patience
    while (done := farwatch("status", home=stack.home)).returncode != 0:
        assert time.monotonic() < deadline, done.stdout


def test_status_tells_programs_where_everything_is_and_that_it_is_well(stack: RunningStack) -> None:
    done = farwatch("status", "--json", home=stack.home)
    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert report["status"] == "running"
    assert set(report["parts"]) == {"postgres", "valkey", "engine", "dashboard", "agent", "api"}
    assert all(part["healthy"] for part in report["parts"].values())
    assert (report["api_url"], report["ws_url"]) == (stack.api_url, stack.ws_url)
    with urllib.request.urlopen(report["dashboard_url"], timeout=10) as answer:
        assert answer.status == 200


def test_this_host_is_enrolled_and_its_samples_arrive(stack: RunningStack) -> None:
    wait_for_more_samples(stack, samples_stored(stack))
    assert stack.own_host["name"] == socket.gethostname()
    assert stack.own_host["status"] == "live"


def test_the_printed_password_signs_in_and_a_wrong_one_does_not(stack: RunningStack) -> None:
    status, me = stack.call("GET", "/api/v1/auth/me")
    assert (status, me["role"]) == (200, "admin")
    email, _ = stack.admin
    status, _ = stack.call("POST", "/api/v1/auth/login", {"email": email, "password": "guessed it"}, token="")
    assert status == 401


def test_a_second_up_on_the_same_folder_says_that_it_runs(stack: RunningStack) -> None:
    done = farwatch("up", home=stack.home)
    assert done.returncode == 1
    assert "already running" in done.stderr
    assert stack.dashboard_url in done.stderr


@pytest.mark.parametrize("part", ["postgres", "valkey", "engine", "agent", "dashboard"])
def test_a_killed_part_comes_back_and_samples_flow_again(stack: RunningStack, part: str) -> None:
    stored = wait_for_more_samples(stack, 0)
    killed = stack.pid(part)
    stack.kill(part)
    stack.wait_until_back(part, killed)
    wait_for_more_samples(stack, stored)
    wait_until_all_well(stack)


def test_functions_may_do_what_they_do(stack: RunningStack) -> None:
    wait_for_more_samples(stack, 0)
    log = stack.home.log("functions")
    deadline = time.monotonic() + 30
    while not (log.is_file() and '"farwatch-process"' in log.read_text()):
        assert time.monotonic() < deadline, "no log of a function arrived"
        time.sleep(0.2)
    assert "AccessDenied" not in log.read_text()
    assert "not authorized" not in log.read_text()


def test_the_health_page_may_ask_for_everything_it_shows(stack: RunningStack) -> None:
    status, health = stack.call("GET", "/api/v1/health")
    assert status == 200
    parts = {part["name"]: part for part in health["parts"]}
    assert {"postgres", "redis", "sweep", "batches", "deliveries", "dead letters"} <= set(parts)
    assert "cannot be counted" not in parts["dead letters"]["detail"]


def test_files_with_secrets_are_private(stack: RunningStack) -> None:
    for name in ("keys.json", "secrets.json", "state.json"):
        assert stack.home.path(name).stat().st_mode & 0o077 == 0, name
    listed = Path(f"/proc/{stack.pid('valkey')}/cmdline").read_bytes()
    assert stack.secrets["redis_url"].split(":")[2].split("@")[0].encode() not in listed


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


def test_it_starts_again_after_a_stop_and_after_its_supervisor_was_killed(folder: Path) -> None:
    home = Home(folder / "home")
    with running_stack(home.root) as first:
        admin = first.admin
        stored = wait_for_more_samples(first, 0)
        parts = State.load(home).parts
        assert first.stop() == 0
    assert not [name for name, part in parts.items() if is_process(part.pid, part.started)]
    with running_stack(home.root) as second:
        assert second.output.count("Sign in as") == 1, "the password is shown once"
        assert (
            second.call(
                "POST", "/api/v1/auth/login", dict(zip(("email", "password"), admin, strict=True)), token=""
            )[0]
            == 200
        )
        assert samples_stored(second) >= stored
        os.kill(second.process.pid, signal.SIGKILL)
        second.process.wait()
    with running_stack(home.root, base=free_base()) as third:
        assert third.call("GET", "/api/v1/health/ready", token="")[0] == 200
        assert samples_stored(third) >= stored
