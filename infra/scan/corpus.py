"""The planted-defect corpus: small files with one known defect each, and look-alikes that are fine.

The cases are data (``planted/*.yaml``); files are written from them on demand, so that no scanner finds
defects in this repository. Secrets do not stand in the data at all: ``@@name@@`` marks are filled with
values made when a file is written.
"""

from __future__ import annotations

import base64
import random
import re
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

MARK = "¶"
Corpus = Literal["tuning", "heldout", "hard", "blind", "blind2", "blind3"]

_WORDS = (
    "harvest",
    "Kestrel",
    "lantern",
    "Quarry",
    "meadow",
    "Thistle",
    "copper",
    "Walnut",
    "ember",
    "Juniper",
)
_ALNUM = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Case:
    """One planted file: where it goes, what it holds, and the defect it carries.

    ``defect`` is the kind of finding expected on one of ``lines`` (1-based; one defect may span several), or
    ``None`` for a look-alike on which any finding above ``info`` is a false alarm.
    """

    id: str
    file: str
    text: str
    defect: str | None
    lines: frozenset[int]

    def write(self, root: Path) -> Path:
        """Write the file below ``root`` in a folder of its own and return its path."""
        path = root / self.id / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text, encoding="utf-8")
        return path


def load(corpus: Corpus) -> list[Case]:
    """Return the cases of a corpus, secrets filled in; the same values at every call."""
    rows = yaml.safe_load((Path(__file__).parent / "planted" / f"{corpus}.yaml").read_text("utf-8"))
    return [_case(row) for row in rows]


def _case(row: dict[str, str]) -> Case:
    rng = random.Random(row["id"])  # noqa: S311 - reproducible test data, nothing is protected by it
    text = re.sub(r"@@(\w+)@@", lambda found: made_up(found[1], rng), row["code"])
    lines = text.split("\n")
    marked = {number for number, content in enumerate(lines, 1) if MARK in content}
    # A key block is one mark for several lines: the defect stands where the block begins.
    if any(lines[number - 1].startswith("-----END") for number in marked):
        marked = {number for number, content in enumerate(lines, 1) if "-----BEGIN" in content}
    clean = "\n".join(content.replace(" " + MARK, "").replace(MARK, "") for content in lines)
    return Case(row["id"], row["file"], clean, row.get("defect"), frozenset(marked))


def _pick(rng: random.Random, alphabet: str, length: int) -> str:
    return "".join(rng.choice(alphabet) for _ in range(length))


def _b64(rng: random.Random, size: int) -> str:
    return base64.urlsafe_b64encode(rng.randbytes(size)).decode()


def _key_block(kind: str, rng: random.Random) -> str:
    body = "\n".join(_pick(rng, _ALNUM + "+/", 64) for _ in range(3))
    return f"-----BEGIN {kind} KEY-----\n{body}\n-----END {kind} KEY-----"


def _password(rng: random.Random) -> str:
    return f"{rng.choice(_WORDS)}{rng.randint(2, 99)}-{rng.choice(_WORDS)}"


def made_up(name: str, rng: random.Random) -> str:
    """Return a made-up credential in the format ``name`` stands for."""
    upper, digits, hexa = string.ascii_uppercase + "234567", string.digits, "0123456789abcdef"
    if name == "password":
        return _password(rng)
    if name == "weak":
        word = rng.choice(_WORDS).capitalize()
        return f"{word.replace('a', '@').replace('e', '3')}{rng.randint(1, 2999)}{rng.choice('!*+')}"
    if name == "jwt":
        header = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').decode().rstrip("=")
        body = base64.urlsafe_b64encode(b'{"sub":"probe","admin":true}').decode().rstrip("=")
        return f"{header}.{body}.{_pick(rng, _ALNUM, 43)}"
    made = {
        "aws_id": lambda: "AKIA" + _pick(rng, upper, 16),
        "aws_secret": lambda: _pick(rng, _ALNUM + "+/", 40),
        "github": lambda: "ghp_" + _pick(rng, _ALNUM, 36),
        "gitlab": lambda: "glpat-" + _pick(rng, _ALNUM, 20),
        "slack": lambda: f"xoxb-{_pick(rng, digits, 12)}-{_pick(rng, digits, 12)}-{_pick(rng, _ALNUM, 24)}",
        "slack_hook": lambda: (
            f"https://hooks.slack.com/services/T{_pick(rng, upper, 8)}/B{_pick(rng, upper, 8)}/"
            + _pick(rng, _ALNUM, 24)
        ),
        "stripe": lambda: "sk_live_" + _pick(rng, _ALNUM, 24),
        "sendgrid": lambda: f"SG.{_pick(rng, _ALNUM, 22)}.{_pick(rng, _ALNUM, 43)}",
        "npm": lambda: "npm_" + _pick(rng, _ALNUM, 36),
        "pem": lambda: _key_block("RSA PRIVATE", rng),
        "openssh": lambda: _key_block("OPENSSH PRIVATE", rng),
        "ec": lambda: _key_block("EC PRIVATE", rng),
        "pkcs8": lambda: _key_block("PRIVATE", rng),
        "pem_line": lambda: _key_block("PRIVATE", rng).replace("\n", "\\n"),
        "google": lambda: "AIza" + _pick(rng, _ALNUM, 35),
        "openai": lambda: f"sk-proj-{_pick(rng, _ALNUM, 20)}T3BlbkFJ{_pick(rng, _ALNUM, 20)}",
        "azure": lambda: base64.b64encode(rng.randbytes(64)).decode(),
        "basic": lambda: base64.b64encode(f"deploy:{_password(rng)}".encode()).decode(),
        "b64pw": lambda: base64.b64encode(_password(rng).encode()).decode(),
        "b62_36": lambda: _pick(rng, _ALNUM, 36),
        "hex32": lambda: _pick(rng, hexa, 32),
        "hex40": lambda: _pick(rng, hexa, 40),
        "hex64": lambda: _pick(rng, hexa, 64),
        "b64": lambda: _b64(rng, 30),
        "b64long": lambda: _b64(rng, 64),
        "fernet": lambda: _b64(rng, 32),
    }
    return made[name]()
