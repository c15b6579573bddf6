"""How far the scanner follows a value before it says that it is dangerous, or that it is not."""

from __future__ import annotations

import pytest

from infra.scan import Kind, Report, Severity
from infra.scan.origin_patterns import How, admits_strangers
from infra.scan.secret_words import plausible, secrecy
from infra.scan.setting_words import opens_cors, weakness
from tests.unit.scan.conftest import Scan

DANGEROUS = {
    "a helper that builds the statement": (
        Kind.SQL_INJECTION, 6,
        (
            "def made(term):\n    return \"SELECT * FROM t WHERE a = '\" + term + \"'\"\n\n\n"
            "def load(cur, term):\n    cur.execute(made(term))\n"
        ),
    ),
    "a helper that runs what it is given": (
        Kind.SQL_INJECTION, 6,
        (
            "def rows(cur, sql):\n    cur.execute(sql)\n\n\n"
            "def load(cur, term):\n    rows(cur, \"SELECT * FROM t WHERE a = '\" + term + \"'\")\n"
        ),
    ),
    "a name that is assigned from itself": (
        Kind.SQL_INJECTION, 4,
        (
            "def load(cur, term):\n    sql = \"SELECT * FROM t WHERE a = '\" + term\n    sql = sql + \"'\"\n"
            "    cur.execute(sql)\n"
        ),
    ),
    "a check of another name": (
        Kind.SQL_INJECTION, 3,
        "def load(cur, a, b):\n    if a in {'x', 'y'}:\n        cur.execute(f\"SELECT {b} FROM t WHERE c = 1\")\n",
    ),
    "settings through two stars": (
        Kind.WEAK_CRYPTO, 4,
        "import httpx\n\nOPTIONS = {'verify': False}\nclient = httpx.Client(**OPTIONS)\n",
    ),
    "a number through a name": (
        Kind.WEAK_CRYPTO, 5,
        "import hashlib, os\n\nROUNDS = 2**10\n\nkey = hashlib.pbkdf2_hmac('sha256', b'p', os.urandom(16), ROUNDS)\n",
    ),
    "the origin asked for, compared by its end": (
        Kind.CORS, 4,
        (
            "def head(request):\n    origin = request.headers.get('Origin', '')\n    if origin.endswith('farm.test'):\n"
            "        return {'Access-Control-Allow-Origin': origin, 'Access-Control-Allow-Credentials': 'true'}\n"
        ),
    ),
}  # fmt: skip

HARMLESS = {
    "a helper called with constants": (
        "def made(column):\n    return f'SELECT {column} FROM t WHERE a = 1'\n\n\n"
        "def load(cur):\n    cur.execute(made('name'))\n"
    ),
    "a private function that is only given harmless text": (
        "def _load(cur, clause):\n    cur.execute(f'SELECT * FROM t WHERE a = 1 {clause}')\n\n\n"
        "def load(cur, up):\n    _load(cur, 'ORDER BY a' if up else 'ORDER BY b')\n"
    ),
    "a check around the use": (
        "def load(cur, column):\n    if column in {'x', 'y'}:\n        cur.execute(f'SELECT {column} FROM t WHERE a = 1')\n"
    ),
    "quotes that are doubled": (
        'def load(cur, a):\n    cur.execute("SELECT * FROM t WHERE a = \'" + a.replace("\'", "\'\'") + "\'")\n'
    ),
    "an origin from a list": (
        "def head(request):\n    origin = request.headers.get('Origin')\n    if origin in {'https://farm.test'}:\n"
        "        return {'Access-Control-Allow-Origin': origin, 'Access-Control-Allow-Credentials': 'true'}\n"
    ),
    "digests of contents": (
        "import hashlib\n\n\ndef same(a, b):\n    return hashlib.sha256(a).hexdigest() == hashlib.sha256(b).hexdigest()\n"
    ),
}


def test_values_are_followed_through_helpers_names_and_settings(scan_files: Scan) -> None:
    report = scan_files({f"{number}.py": text for number, (_, _, text) in enumerate(DANGEROUS.values())})
    seen = {(row.file, row.line, row.kind) for row in report.at_least(Severity.LOW)}

    for number, (name, (kind, line, _)) in enumerate(DANGEROUS.items()):
        assert (f"{number}.py", line, kind) in seen, name


def test_values_that_cannot_carry_an_attack_are_left_alone(scan_files: Scan) -> None:
    report = scan_files({f"{number}.py": text for number, text in enumerate(HARMLESS.values())})

    assert lines(report) == []


def lines(report: Report) -> list[tuple[str, int, str]]:
    return [(row.file, row.line, row.rule) for row in report.at_least(Severity.LOW)]


@pytest.mark.parametrize(
    ("pattern", "how", "admits"),
    [
        (".*", "fullmatch", True),
        (r"https://.*farm\.test", "fullmatch", True),
        (r"https://farm.test", "fullmatch", True),
        (r"https://farm\.test", "search", True),
        (r"https://[a-z-]+\.farm\.test", "fullmatch", False),
        (r"^https://[a-z-]+\.farm\.test$", "search", False),
        (r"https://(?:a|b)\.farm\.test", "fullmatch", False),
    ],
)
def test_a_pattern_of_origins_is_tried_on_origins_of_strangers(pattern: str, how: How, admits: bool) -> None:
    assert admits_strangers(pattern, how) is admits


@pytest.mark.parametrize(
    "pattern", ["^(a+)+$", "(a|aa)*b", ".*.*.*.*.*.*=", "(" * 90 + "a" + ")" * 90, "(", "x" * 500]
)
def test_a_pattern_built_to_stall_is_not_tried(pattern: str) -> None:
    assert admits_strangers(pattern, "search") is False


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("verify_ssl", "false", "crypto-tls-unverified"),
        ("insecureSkipVerify", "true", "crypto-tls-unverified"),
        ("MIN_TLS_VERSION", "1.0", "crypto-tls-old"),
        ("password_hash", "md5", "crypto-password-hash"),
        ("jwt_algorithm", "none", "crypto-jwt-none"),
        ("verify_ssl", "true", None),
        ("ssl_redirect", "false", None),
        ("min_tls_version", "1.2", None),
        ("TLS_1_0", "TLS_1_0", None),
        ("content_hash", "md5", None),
    ],
)
def test_a_setting_is_judged_by_its_name_and_value(name: str, value: str, rule: str | None) -> None:
    assert weakness(name, value) == rule


def test_a_setting_that_admits_every_origin_is_known_by_its_name() -> None:
    assert opens_cors("CORS_ALLOWED_ORIGINS", "*")
    assert not opens_cors("CORS_ALLOWED_ORIGINS", "https://farm.test")
    assert not opens_cors("ORIGIN_PATTERN", "*")


@pytest.mark.parametrize(
    ("name", "value", "credential"),
    [
        ("PGPASSWORD", "kestrel42", True),
        ("admin_password", "admin", True),
        ("session_secret", "Meadow7!lark", True),
        ("password", "password123", True),
        ("password", "changeme", False),
        ("secret", "orders-db-2", False),
        ("token_type", "Bearer42token", False),
        ("AUTH_TOKEN_COOKIE", "auth_token_v2", False),
        ("password_template", "accounts/password_reset.html", False),
        ("CreateKeySigningKey", "route53:CreateKeySigningKey", False),
        ("cache_key", "orders:2024:summary", False),
    ],
)
def test_a_name_and_a_value_together_make_a_credential(name: str, value: str, credential: bool) -> None:
    holds = secrecy(name)

    assert (holds is not None and plausible(value, holds)) is credential
