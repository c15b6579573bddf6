"""The script that installs the agent: sound shell, and every refusal says what to do. `tests/stack` runs it for real."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

from farwatch.services.installer import fill_in, installer_line, line_without_curl
from infra.local import agent_wheel
from tests.unit.agent.conftest import ROOT

SCRIPT = (ROOT / "functions" / "api" / "install.sh").read_text()
SHELLS = [found for name in ("sh", "dash", "bash") if (found := shutil.which(name))]
PACKAGE = b"not really a wheel"


@contextmanager
def handing_out(package: bytes) -> Iterator[str]:
    """Run a back end that hands out ``package``, and give its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(package)

        def log_message(self, *args: object) -> None:
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{served.server_port}"
    finally:
        served.shutdown()
        served.server_close()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A back end that hands out ``PACKAGE``."""
    with handing_out(PACKAGE) as url:
        yield url


def psutil_wheel(folder: Path) -> Path:
    """Make a wheel of the psutil that is installed here, as a package index would have it."""
    found = find_spec("psutil")
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    info = f"psutil-{version('psutil')}.dist-info"
    folder.mkdir()
    path = folder / f"psutil-{version('psutil')}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file in sorted(package.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                wheel.write(file, str(file.relative_to(package.parent)))
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: psutil\nVersion: {version('psutil')}\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def filled(server: str = "http://127.0.0.1:1", sha256: str = "0" * 64) -> str:
    return fill_in(SCRIPT, server=server, package="farwatch_agent-0.1.0-py3-none-any.whl", sha256=sha256)


def run(home: Path, script: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the script as the line does, from standard input, with everything it writes below ``home``."""
    places = ["--prefix", str(home / "program"), "--no-service"]
    return subprocess.run(
        ["sh", "-s", "--", *places, *arguments],
        input=script,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "FARWATCH_AGENT_STATE_DIR": str(home / "state"),
            "FARWATCH_PYTHON": sys.executable,
            **env,
        },
        capture_output=True,
        text=True,
        timeout=110,
    )


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_here_can_read_it(shell: str) -> None:
    done = subprocess.run([shell, "-n"], input=filled(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_download_that_breaks_off_does_nothing(tmp_path: Path) -> None:
    script = filled()
    home = tmp_path / "home"
    home.mkdir()
    for cut in range(200, len(script) - 30, 1500):
        run(home, script[:cut], "--uninstall", "--purge")
        run(home, script[:cut], FARWATCH_AGENT_TOKEN="fwe_x")
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "env", "wrong", "advice"),
    [
        (["--nope"], {}, "there is no option --nope", "--help"),
        (["--token"], {}, "--token needs a value", "--help"),
        ([], {"FARWATCH_AGENT_TOKEN": "fwa_1"}, "not an enrolment token", "copy the whole line"),
        (["--token-file", "/nowhere"], {}, "/nowhere cannot be read", "check its name"),
        (["--prefix", "relative"], {}, "must begin with /", "whole path"),
        (["--prefix", "/tmp/a b"], {}, "must have plain names", "--prefix"),
        ([], {"FARWATCH_PYTHON": "/nope", "PATH": "/nowhere"}, "", ""),
        ([], {}, "could not be fetched", "check that this machine reaches"),
    ],
)
def test_a_refusal_says_what_is_wrong_and_what_to_do(
    tmp_path: Path, arguments: list[str], env: dict[str, str], wrong: str, advice: str
) -> None:
    if env.get("PATH") == "/nowhere":
        tools = tmp_path / "tools"
        tools.mkdir()
        (tools / "id").symlink_to(shutil.which("id") or "/usr/bin/id")
        (tools / "sh").symlink_to("/bin/sh")
        env, wrong, advice = (
            {**env, "PATH": str(tools)},
            "Python 3.11 or newer was not found",
            "apt-get install",
        )
    done = run(tmp_path, filled(), *arguments, **env)
    assert done.returncode == 1
    assert wrong in done.stderr
    assert f"what to do: {advice}" in done.stderr or advice in done.stderr.partition("what to do: ")[2]
    assert not (tmp_path / "program").exists()


def test_a_package_that_is_not_the_one_the_script_was_made_for_never_runs(
    tmp_path: Path, server: str
) -> None:
    done = run(tmp_path, filled(server))
    assert done.returncode == 1
    assert "SHA-256" in done.stderr
    assert "nothing was installed" in done.stderr
    assert not (tmp_path / "program").exists()


@pytest.mark.parametrize("altered", [False, True])
def test_psutil_is_the_file_that_is_locked_or_nothing_is_installed(tmp_path: Path, altered: bool) -> None:
    root = tmp_path / "root"
    shutil.copytree(ROOT / "collector_agent", root / "collector_agent")
    shutil.copy(ROOT / "pyproject.toml", root)
    wheel = psutil_wheel(tmp_path / "index")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (root / "locks").mkdir()
    (root / "locks" / "run.txt").write_text(
        f"psutil=={version('psutil')} \\\n    --hash=sha256:{'1' * 64} \\\n    --hash=sha256:{digest}\n"
    )
    if altered:
        with zipfile.ZipFile(wheel, "a") as archive:
            archive.writestr("psutil/more.py", "")
    name, body = agent_wheel.build(root)
    with handing_out(body) as url:
        script = fill_in(SCRIPT, server=url, package=name, sha256=hashlib.sha256(body).hexdigest())
        done = run(tmp_path, script, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheel.parent))
    assert done.returncode == 1
    installed = list((tmp_path / "program").glob("versions/*/complete"))
    if altered:
        assert "psutil could not be installed" in done.stderr
        assert installed == []
    else:
        assert "this machine is not enrolled and no token was given" in done.stderr, "all else went well"
        assert len(installed) == 1


def test_a_python_that_makes_no_environments_is_named_with_the_package_that_helps(tmp_path: Path) -> None:
    bare = tmp_path / "python3"
    bare.write_text("#!/bin/sh\ncase $2 in *version_info*) exit 0 ;; esac\nexit 1\n")
    bare.chmod(0o755)
    done = run(tmp_path, filled(), FARWATCH_PYTHON=str(bare))
    assert done.returncode == 1
    assert "apt-get install python3-venv" in done.stderr


def test_uninstalling_where_nothing_is_installed_removes_nothing_of_others(tmp_path: Path) -> None:
    for folder in ("program", "state"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "precious.txt").write_text("keep")
    done = run(tmp_path, filled(), "--uninstall", "--purge")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "program" / "precious.txt").exists()
    assert (tmp_path / "state" / "precious.txt").exists()


def test_purging_takes_everything_that_an_agent_may_have_left(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "quarantine").mkdir(parents=True)
    left = ["credentials.json", "status.json", "agent.lock", "spool.db", "spool.db-wal", "quarantine/1.json"]
    left += [".credentials.json.4242", ".status.json.4242", ".probe.4242"]  # killed while writing
    left += ["damaged-1790000000.db", "damaged-1790000000.db-wal", "damaged-1790000000.db-shm"]
    for name in left:
        (state / name).touch()
    done = run(tmp_path, filled(), "--uninstall", "--purge")
    assert done.returncode == 0, done.stderr
    assert not state.exists()


def test_values_of_the_back_end_cannot_become_shell(tmp_path: Path) -> None:
    hostile = "https://x.example/$(touch pwned)'`touch pwned`"
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "touch"):
        (tools / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    cwd = tmp_path / "here"
    cwd.mkdir()
    script = fill_in(SCRIPT, server=hostile, package="p'; touch pwned; '", sha256="$(touch pwned)")
    subprocess.run(["sh", "-s", "--", "--help"], input=script, cwd=cwd, text=True, capture_output=True)
    assert list(cwd.iterdir()) == []
    for line in (installer_line(hostile, "fwe_0_1"), line_without_curl(hostile, "fwe_0_1")):
        subprocess.run(["/bin/sh", "-c", line], cwd=cwd, env={"PATH": str(tools)}, capture_output=True)
    assert list(cwd.iterdir()) == []


def test_the_token_is_in_no_argument_and_replacing_is_asked_for_only_by_a_token_for_one_host() -> None:
    for made in (installer_line, line_without_curl):
        line = made("https://farwatch.example", "fwe_0_1")
        assert line.endswith("| FARWATCH_AGENT_TOKEN=fwe_0_1 sh")
        assert "https://farwatch.example/api/v1/agents/install.sh" in line
        assert made("https://farwatch.example", "fwe_0_1", re_enrol=True).endswith("sh -s -- --re-enrol")


@pytest.mark.parametrize("as_root", ["yes", "no"])
def test_the_service_is_one_that_systemd_accepts(tmp_path: Path, as_root: str) -> None:
    analyse = shutil.which("systemd-analyze")
    if analyse is None:
        pytest.skip("needs systemd-analyze")
    functions = filled("https://farwatch.example").rpartition('main "$@"')[0]
    unit = tmp_path / "farwatch-agent.service"
    settings = "\n".join(
        [
            f"as_root={as_root} prefix=/usr state=/var/lib/farwatch-agent settings=/etc/farwatch/agent.toml",
            "service_user=root wanted_by=default.target",
            f"write_unit {unit}",
        ]
    )
    made = subprocess.run(["sh"], input=functions + settings, text=True, capture_output=True)
    assert made.returncode == 0, made.stderr
    text = unit.read_text()
    assert ("User=" in text) == (as_root == "yes")
    # What it starts need not be here; everything else is held against what this systemd knows.
    unit.write_text(text.replace("/usr/current/bin/farwatch-agent", "/bin/true"))
    checked = subprocess.run([analyse, "verify", str(unit)], text=True, capture_output=True)
    ours = [line for line in checked.stderr.splitlines() if "farwatch-agent.service" in line]
    assert ours == [], checked.stderr
