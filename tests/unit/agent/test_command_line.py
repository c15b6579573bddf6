"""The agent through its own door: the command line, against a back end on this machine."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from collector_agent import catalogue, cli, state
from tests.unit.agent.backend import CREDENTIAL, Backend
from tests.unit.agent.eventually import eventually

Run = Callable[..., "subprocess.CompletedProcess[str]"]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def enrolled(farwatch_agent: Run, backend: Backend) -> Backend:
    done = farwatch_agent("enrol", "--server", backend.url, "--token", "fwe_good", "--label", "env=test")
    assert done.returncode == 0, done.stderr
    return backend


def test_enrolment_describes_the_host_and_keeps_the_credential_private(
    enrolled: Backend, tmp_path: Path
) -> None:
    told = enrolled.messages[0]
    assert told["labels"] == {"env": "test"}
    assert told["cpus"] == os.cpu_count()
    assert told["memory_bytes"] > 0
    assert told["hostname"]
    path = tmp_path / "state" / "credentials.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert json.loads(path.read_text())["credential"] == CREDENTIAL


def test_a_refused_token_is_explained_and_nothing_is_written(
    farwatch_agent: Run, backend: Backend, tmp_path: Path
) -> None:
    done = farwatch_agent("enrol", "--server", backend.url, "--token", "fwe_bad")
    assert done.returncode == 1
    assert "the token is not valid" in done.stderr
    assert not (tmp_path / "state" / "credentials.json").exists()


def test_the_token_may_come_from_the_environment(farwatch_agent: Run, backend: Backend) -> None:
    done = farwatch_agent("enrol", "--server", backend.url, FARWATCH_AGENT_TOKEN="fwe_good\r")
    assert done.returncode == 0, done.stderr


def test_enrolling_twice_needs_force(enrolled: Backend, farwatch_agent: Run) -> None:
    again = ("enrol", "--server", enrolled.url, "--token", "fwe_good")
    done = farwatch_agent(*again)
    assert done.returncode == 1
    assert "already enrolled as host_1" in done.stderr
    assert farwatch_agent(*again, "--force").returncode == 0


def test_an_identity_the_server_accepts_can_be_kept_and_another_replaced(
    enrolled: Backend, farwatch_agent: Run, tmp_path: Path
) -> None:
    again = ("enrol", "--server", enrolled.url, "--token", "fwe_good", "--unless-accepted")
    kept = farwatch_agent(*again)
    assert (kept.returncode, enrolled.enrolled) == (0, 1)
    assert "accepts its credential" in kept.stdout
    enrolled.trouble = lambda _: (503, {}, {"title": "away"})
    unknown = farwatch_agent(*again)
    assert unknown.returncode == 1
    assert "does not say whether it knows this host" in unknown.stderr
    enrolled.trouble = lambda _: None
    enrolled.credential = "fwa_another"
    assert farwatch_agent(*again).returncode == 0
    assert json.loads((tmp_path / "state" / "credentials.json").read_text())["host_id"] == "host_2"
    elsewhere = Backend()
    try:
        moved = farwatch_agent("enrol", "--server", elsewhere.url, "--token", "fwe_good", "--unless-accepted")
        assert moved.returncode == 0, moved.stderr
        assert [path for method, path, _ in elsewhere.requests] == ["/base/api/v1/agents/enrol"]
    finally:
        elsewhere.close()


def test_a_credential_is_not_sent_readable_to_another_host(farwatch_agent: Run) -> None:
    done = farwatch_agent("enrol", "--server", "http://monitor.invalid", "--token", "fwe_good")
    assert done.returncode == 1
    assert "not https" in done.stderr


def test_run_without_enrolment_says_what_to_do(farwatch_agent: Run) -> None:
    done = farwatch_agent("run")
    assert done.returncode == 1
    assert "farwatch-agent enrol" in done.stderr


def test_once_delivers_a_sample_of_this_host(enrolled: Backend, farwatch_agent: Run) -> None:
    done = farwatch_agent("once")
    assert done.returncode == 0, done.stderr
    (message,) = enrolled.stored
    names = {series["metric"] for series in message["series"]}
    assert {"cpu.percent", "memory.used_percent", "load.1m", "uptime.seconds", "agent.rss_bytes"} <= names
    assert names <= set(catalogue.BY_NAME)
    assert message["top_processes"]
    assert abs(message["times"][0] / 1000 - time.time()) < 60


def test_once_fails_when_the_back_end_does_not_store(enrolled: Backend, farwatch_agent: Run) -> None:
    enrolled.trouble = lambda _: (503, {}, {"title": "away"})
    done = farwatch_agent("once", "--timeout", "2")
    assert done.returncode == 1
    assert "stay in the spool" in done.stderr


def test_check_is_good_when_everything_is(enrolled: Backend, farwatch_agent: Run) -> None:
    done = farwatch_agent("check")
    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ((401, {"Content-Type": "application/problem+json"}, {"title": "Unauthorized"}), "enrol again"),
        ((200, {"Content-Type": "text/html"}, b"<html>hotel wifi</html>"), "does not answer as"),
        ((200, {}, {"stored_through": 0, "server_time": 1}), "time service"),
        ("cut", "cannot be reached"),
    ],
)
def test_check_names_what_is_wrong(
    enrolled: Backend, farwatch_agent: Run, trouble: object, said: str
) -> None:
    enrolled.trouble = lambda _: trouble
    done = farwatch_agent("check")
    assert done.returncode == 1
    assert said in done.stdout


def test_print_shows_samples_and_needs_no_server(farwatch_agent: Run) -> None:
    done = farwatch_agent("print", "--json")
    assert done.returncode == 0, done.stderr
    assert {sample["metric"] for sample in json.loads(done.stdout)["samples"]} <= set(catalogue.BY_NAME)


def test_a_wrong_setting_is_named_with_an_example(farwatch_agent: Run) -> None:
    done = farwatch_agent("check", FARWATCH_AGENT_INTERVAL_S="fast")
    assert done.returncode == 2
    assert "FARWATCH_AGENT_INTERVAL_S" in done.stderr
    assert "interval_s = 5" in done.stderr


def test_the_running_agent_delivers_reports_itself_and_stops_quickly(
    enrolled: Backend, farwatch_agent: Run, start_agent: Start
) -> None:
    enrolled.interval_s = 1.0
    process = start_agent(FARWATCH_AGENT_FLUSH_S="1")
    eventually(lambda: len(enrolled.stored) >= 3)
    status = json.loads(farwatch_agent("status", "--json").stdout)
    assert status["running"]
    assert status["health"] == "ok"
    second = start_agent()
    assert "in use by another agent" in second.communicate(timeout=60)[1]
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert time.monotonic() - began < 20
    assert farwatch_agent("status").returncode == 3
    assert [message["seq"] for message in enrolled.stored] == list(range(1, len(enrolled.stored) + 1))


def test_a_folder_that_cannot_be_used_holds_no_running_agent(farwatch_agent: Run, tmp_path: Path) -> None:
    (tmp_path / "state" / "agent.lock").mkdir(parents=True)
    done = farwatch_agent("status")
    assert done.returncode == 1
    assert "cannot be used" in done.stderr


def test_asked_by_somebody_who_may_not_look_status_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "agent.toml").touch()
    monkeypatch.setenv("FARWATCH_AGENT_STATE_DIR", str(tmp_path / "state"))

    def closed(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", closed)
    assert cli.main(["--config", str(tmp_path / "agent.toml"), "status"]) == 1
    assert "ask as the user the agent runs as" in capsys.readouterr().err


def on_a_full_disk(agent_env: dict[str, str], command: str) -> subprocess.CompletedProcess[str]:
    """Run a command that can write files of a few bytes only."""
    return subprocess.run(
        [sys.executable, "-B", "-m", "collector_agent", command],
        env=agent_env,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )


def test_looking_at_a_folder_that_takes_nothing_leaves_nothing_there(
    agent_env: dict[str, str], tmp_path: Path
) -> None:
    done = on_a_full_disk(agent_env, "check")
    assert "cannot be written" in done.stdout
    assert list((tmp_path / "state").iterdir()) == []


def test_a_status_that_is_old_because_the_disk_is_full_is_called_so(
    agent_env: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    with state.lock(folder):
        state.save_status(folder, {"updated_at": time.time() - 3600, "interval_s": 5.0})
        done = on_a_full_disk(agent_env, "status")
    assert done.returncode == 1
    assert f"{folder} cannot be written (File too large)" in done.stdout


def test_certificates_that_cannot_be_read_are_named_by_their_setting(
    enrolled: Backend, farwatch_agent: Run, tmp_path: Path
) -> None:
    done = farwatch_agent(
        "check", FARWATCH_AGENT_SERVER="https://127.0.0.1:1", FARWATCH_AGENT_CA_FILE=str(tmp_path / "no.pem")
    )
    assert done.returncode == 1
    assert f"ca_file: {tmp_path / 'no.pem'} has no certificates" in done.stdout


def test_a_terminal_that_knows_no_unicode_is_no_trouble(farwatch_agent: Run) -> None:
    done = farwatch_agent("check", PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert "is not enrolled" in done.stdout
    assert "Traceback" not in done.stderr


def test_an_agent_that_gathers_for_minutes_is_well_meanwhile(
    enrolled: Backend, farwatch_agent: Run, start_agent: Start
) -> None:
    enrolled.interval_s = 1.0
    start_agent(FARWATCH_AGENT_FLUSH_S="300")
    eventually(lambda: farwatch_agent("status").returncode == 0, within=20)
    assert enrolled.stored == [], "its first batch is minutes away"


def test_the_interval_follows_the_back_end_without_a_restart(enrolled: Backend, start_agent: Start) -> None:
    enrolled.interval_s = 1.0
    start_agent(FARWATCH_AGENT_FLUSH_S="1")
    eventually(lambda: len(enrolled.stored) == 3)
    enrolled.interval_s = 2.0
    eventually(lambda: len(enrolled.stored) == 6)
    stamps = [message["times"][-1] for message in enrolled.stored]
    # The answer to the fourth batch carried the new interval, and the tick after it obeyed.
    assert stamps[2] - stamps[1] == 1000
    assert stamps[5] - stamps[4] == 2000
    assert stamps[5] % 2000 == 0
