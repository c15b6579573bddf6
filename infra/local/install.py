"""Makes the environment in `.farwatch/venv` from a committed lock file. Standard library only.

Called by `./farwatch` as `install.py CHECKOUT run|dev` when what is installed is not what the lock says. Every
package is checked against the hash in the lock. An installation that was interrupted carries no marker, so the
next call does it again; two calls at once do it once.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

# Compiled before the first start because every start imports them; the rest follows in the background.
# fmt: off
_STARTS = (
    "ministack", "boto3", "botocore", "s3transfer", "jmespath", "samtranslator", "hypercorn", "click", "psycopg",
    "pydantic", "pydantic_settings", "aws_lambda_powertools", "redis", "msgspec", "yoyo", "jinja2", "cryptography",
    "streamlit", "tornado", "starlette", "uvicorn", "urllib3", "yaml",
)
# fmt: on


class InstallError(Exception):
    """The environment cannot be made; the message says why and what to do."""


class Installer:
    """Makes or mends one checkout's environment so that it holds what `locks/NEED.txt` says."""

    def __init__(self, checkout: Path, need: str) -> None:
        self.checkout = checkout
        self.folder = checkout / ".farwatch"
        self.venv = self.folder / "venv"
        self.python = str(self.venv / "bin" / "python")
        self._choose(need)

    def run(self) -> None:
        """Install, unless another process has just done so. Raises `InstallError`."""
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o711)
        with (self.folder / "install.lock").open("w") as lock:
            self._wait_for(lock.fileno())
            # Another one may have put the developers' packages there meanwhile, and use them by now.
            self._choose(self.need)
            repair = os.environ.get("FARWATCH_REPAIR") == "1"
            if self._is_done() and not repair:
                return
            began = time.monotonic()
            self._check_space()
            for marker in ("run.lock", "dev.lock"):
                (self.venv / marker).unlink(missing_ok=True)
            if repair or not self._works():
                say("Making a Python environment in .farwatch/venv (once; about 1.3 GB, a minute or two)")
                shutil.rmtree(self.venv, ignore_errors=True)
                self._make_venv()
            else:
                say("Bringing the Python environment in .farwatch/venv up to date")
            self._install()
            self._link_checkout()
            self._compile()
            shutil.copyfile(self.lock, self.venv / f"{self.need}.lock.new")
            (self.venv / f"{self.need}.lock.new").rename(self.venv / f"{self.need}.lock")
            say(f"Installed in {time.monotonic() - began:.0f} s")

    def _choose(self, need: str) -> None:
        """Take the lock file of `need`. An environment with the developers' packages stays one: they are a superset."""
        self.need = "dev" if need == "dev" or (self.venv / "dev.lock").is_file() else "run"
        self.lock = self.checkout / "locks" / f"{self.need}.txt"

    def _wait_for(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another ./farwatch that is installing")
            fcntl.flock(lock, fcntl.LOCK_EX)

    def _is_done(self) -> bool:
        marker = self.venv / f"{self.need}.lock"
        try:
            same_lock = marker.read_bytes() == self.lock.read_bytes()
            return same_lock and (self.venv / "checkout").read_text().strip() == str(self.checkout)
        except OSError:
            return False

    def _works(self) -> bool:
        """Whether the environment's own interpreter starts; a moved checkout or an upgraded system breaks it."""
        if not (self.venv / "pyvenv.cfg").is_file():
            return False
        probe = [self.python, "-I", "-c", "import sys; sys.exit(sys.prefix == sys.base_prefix)"]
        try:
            return subprocess.run(probe, capture_output=True, check=False).returncode == 0
        except OSError:
            return False

    def _check_space(self) -> None:
        free = shutil.disk_usage(self.folder).free
        if not self.venv.is_dir() and free < 2_000_000_000:
            raise InstallError(
                f"only {free // 1_000_000} MB are free where {self.folder} is, and the environment needs 2,000 MB"
            )

    def _make_venv(self) -> None:
        try:
            import ensurepip  # noqa: F401 - Debian splits it off
            import venv  # noqa: F401
        except ImportError:
            self._make_venv_without_pip()
            return
        run([sys.executable, "-m", "venv", str(self.venv)], "making the environment")

    def _make_venv_without_pip(self) -> None:
        """Debian without python3-venv: the bare environment can be made, and the system's pip can fill it."""
        pip = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False)
        if pip.returncode:
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            raise InstallError(
                f"this Python {version} can make no environments. On Debian or Ubuntu: "
                f"{'' if os.geteuid() == 0 else 'sudo '}apt install python{version}-venv"
            )
        run([sys.executable, "-m", "venv", "--without-pip", str(self.venv)], "making the environment")
        system_pip = [sys.executable, "-m", "pip", "--python", self.python, "install", "--quiet", "pip"]
        run(system_pip, "putting pip into the environment")

    def _install(self) -> None:
        say(f"Installing what locks/{self.need}.txt lists")
        pip = [self.python, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
        locked = ["--require-hashes", "--no-deps", "-r"]
        try:
            run([*pip, *locked, str(self.checkout / "locks" / "uv.txt")], "installing uv")
            uv = [
                str(self.venv / "bin" / "uv"),
                "pip",
                "sync",
                "--quiet",
                "--require-hashes",
                "--python",
                self.python,
            ]
            run([*uv, str(self.lock)], "installing with uv", {**os.environ, **self._uv_settings()})
        except InstallError as error:
            say(f"{error}\nTrying again with pip alone, which takes longer")
            run([*pip, *locked, str(self.lock)], "installing with pip")

    def _uv_settings(self) -> dict[str, str]:
        """pip's settings that say where packages come from, as uv reads them. uv's own, if set, win."""
        listed = subprocess.run(
            [self.python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
        )
        pip: dict[str, str] = {}
        for line in listed.stdout.splitlines():  # later lines, the environment's, win over files
            name, _, value = line.partition("=")
            section, _, key = name.strip().rpartition(".")
            if section in ("global", "install", ":env:"):
                pip[key] = value.strip().strip("'\"")
        found = {
            "UV_DEFAULT_INDEX": pip.get("index-url"),
            "UV_INDEX": _existing(pip.get("extra-index-url")),
            "UV_FIND_LINKS": ",".join(_existing(pip.get("find-links")).split()),
            "UV_INSECURE_HOST": pip.get("trusted-host"),
            "SSL_CERT_FILE": pip.get("cert"),
            "HTTPS_PROXY": pip.get("proxy"),
            "HTTP_PROXY": pip.get("proxy"),
            "UV_HTTP_TIMEOUT": pip.get("default-timeout") or pip.get("timeout"),
        }
        return {
            "UV_NO_PROGRESS": "1",
            # As pip does: any of its indexes may have the file. The hash in the lock decides which is right.
            "UV_INDEX_STRATEGY": "unsafe-best-match",
            **{name: value for name, value in found.items() if value and name not in os.environ},
        }

    def _link_checkout(self) -> None:
        """Put the checkout and the core layer on the path, as an editable installation would."""
        packages = next((self.venv / "lib").glob("python3.*/site-packages"))
        (packages / "farwatch-checkout.pth").write_text(
            f"{self.checkout}\n{self.checkout / 'layers' / 'core'}\n"
        )
        (self.venv / "checkout").write_text(f"{self.checkout}\n")

    def _compile(self) -> None:
        """Write the bytecode of what every start imports now, and leave the rest to a quiet background process."""
        packages = next((self.venv / "lib").glob("python3.*/site-packages"))
        compiler = [self.python, "-m", "compileall", "-q", "-j", "0"]
        first = [str(packages / name) for name in _STARTS if (packages / name).is_dir()]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        # Some packages carry files for other versions of Python, which do not compile: no reason to stop.
        subprocess.run([*compiler, *first], capture_output=True, env=environment, check=False)
        with suppress(OSError):
            subprocess.Popen(
                ["nice", "-n", "19", *compiler[:-2], str(packages)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )


def _existing(locations: str | None) -> str:
    """Those of pip's space-separated locations that are URLs of a network or folders that exist; uv refuses others."""
    kept = []
    for location in (locations or "").replace("\\n", " ").split():
        path = location.removeprefix("file://")
        if "://" in path or Path(path).is_dir():
            kept.append(location)
    return " ".join(kept)


def run(command: list[str], doing: str, environment: dict[str, str] | None = None) -> None:
    """Run `command`; raise `InstallError` with the end of what it printed when it fails."""
    try:
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
    except OSError as error:
        raise InstallError(f"{doing} failed: {error}") from error
    if done.returncode:
        raise InstallError(f"{doing} failed:\n" + "\n".join(done.stdout.strip().splitlines()[-12:]))


def say(line: str) -> None:
    """Print one line of progress where it does not mix with a command's own output."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    """Install for the checkout and need on the command line; return the exit code."""
    checkout, need = Path(sys.argv[1]), sys.argv[2]
    try:
        Installer(checkout, need).run()
    except InstallError as error:
        say(f"Farwatch cannot be installed: {error}")
        return 69
    except OSError as error:
        say(f"Farwatch cannot be installed: {error.filename or checkout}: {error.strerror}")
        return 74
    except KeyboardInterrupt:
        say("Interrupted; the next ./farwatch goes on from here.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
