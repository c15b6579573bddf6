"""Keys and the secrets document: made once, kept private, and what people added stays."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from farwatch.settings import Settings, load_secrets
from infra.local.doctor import examine
from infra.local.home import Home, Ports
from infra.local.keys import Keys, Unreadable, secrets_document


def made(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.create()
    return home


def test_keys_are_made_once_and_differ_between_installations(tmp_path: Path) -> None:
    home = made(tmp_path)
    keys = Keys.load_or_make(home)
    assert Keys.load_or_make(home) == keys
    assert Keys.load_or_make(made(tmp_path / "other")) != keys
    assert home.path("keys.json").stat().st_mode & 0o077 == 0


def test_keys_of_an_older_installation_get_what_is_new_and_keep_the_rest(tmp_path: Path) -> None:
    home = made(tmp_path)
    keys = asdict(Keys.load_or_make(home))
    del keys["cookie_secret"]
    home.path("keys.json").write_text(json.dumps(keys))
    renewed = Keys.load_or_make(home)
    assert renewed == Keys.load_or_make(home)
    assert len(renewed.cookie_secret) >= 32
    assert renewed.database_password == keys["database_password"]


def test_the_document_is_what_the_functions_read(tmp_path: Path) -> None:
    home = made(tmp_path)
    document = secrets_document(home, Keys.load_or_make(home), Ports(9000))
    secrets = load_secrets(Settings(secrets_file=home.secrets))
    assert secrets.database_url == document["database_url"]
    assert ":9002/" in secrets.database_url
    assert ":9003/" in secrets.redis_url
    assert secrets.jwt_active_kid in secrets.jwt_keys


def test_moving_the_ports_keeps_signing_keys_and_what_people_added(tmp_path: Path) -> None:
    home = made(tmp_path)
    keys = Keys.load_or_make(home)
    before = secrets_document(home, keys, Ports(9000))
    smtp = {"host": "mail.example.org", "port": 465, "security": "tls"}
    home.secrets.write_text(json.dumps({**before, "smtp": smtp}))
    after = secrets_document(home, keys, Ports(9100))
    assert ":9102/" in after["database_url"]
    assert after["smtp"] == smtp
    assert (after["jwt_keys"], after["pepper"]) == (before["jwt_keys"], before["pepper"])


@pytest.mark.parametrize("content", ["", '{"pepper": "hidden",}', "null", "[]", "\xff"])
@pytest.mark.parametrize("name", ["keys.json", "secrets.json"])
def test_a_damaged_file_is_named_by_up_and_by_doctor(tmp_path: Path, name: str, content: str) -> None:
    home = made(tmp_path)
    keys = Keys.load_or_make(home)
    secrets_document(home, keys, Ports(9000))
    home.path(name).write_text(content, "latin-1")
    with pytest.raises(Unreadable, match=name) as refused:
        secrets_document(home, Keys.load_or_make(home), Ports(9000))
    assert "hidden" not in str(refused.value)
    assert [finding.seen for finding in examine(home) if finding.code == "E006"] == [str(refused.value)]


def test_keys_with_a_name_that_is_none_are_refused(tmp_path: Path) -> None:
    home = made(tmp_path)
    home.path("keys.json").write_text('{"colour": "blue"}')
    with pytest.raises(Unreadable, match=r"keys\.json"):
        Keys.load_or_make(home)
