"""The first administrator: made once, and never with a password that nobody was told."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra.local import first_run, start
from infra.local.home import Home


@pytest.fixture
def people(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Address and password of everybody there is, in place of the database."""
    known: dict[str, str] = {}

    def make(_by: object, email: str, _name: str, password: str, _now: int) -> None:
        known[email] = password

    made = SimpleNamespace(
        adapters=SimpleNamespace(people=SimpleNamespace(count=lambda: len(known))),
        auth=SimpleNamespace(create_first_admin=make),
    )
    monkeypatch.setattr(first_run, "container", lambda _: made)
    return known


def test_the_password_that_is_told_is_the_one_that_holds(people: dict[str, str], tmp_path: Path) -> None:
    told: list[str] = []
    first_run.first_administrator(Home(tmp_path), told.append)
    first_run.first_administrator(Home(tmp_path), told.append)
    assert people[first_run.ADMINISTRATOR] in told[0]
    assert told[1] == "", "there is an administrator already"


def test_nobody_is_made_when_nobody_hears_the_password(
    people: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when `up --detach` was interrupted while it waited."""
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setenv("FARWATCH_SECRET_PIPE", str(writer))
    with pytest.raises(RuntimeError, match="nobody would read the first password"):
        first_run.first_administrator(Home(tmp_path), start._tell_once)
    assert people == {}
