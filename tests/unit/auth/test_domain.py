"""The pure part: credentials, addresses, passwords, clones, the audit chain."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farwatch.domain.audit import GENESIS, Link, entry_text, link_hash, redact, verify
from farwatch.domain.clones import sounds_cloned
from farwatch.domain.credentials import (
    Credential,
    CredentialKind,
    derive_key,
    hash_token,
    new_credential,
    parse_credential,
)
from farwatch.domain.people import check_password, normal_email
from farwatch.domain.rbac import COMMAND_LINE, Permission, Role, token_permissions, topic_permission
from farwatch.errors import InvalidInput

KEY = derive_key("p" * 32, "test")


@given(st.sampled_from(CredentialKind))
def test_a_credential_is_read_back_and_fits_its_hash_only(kind: CredentialKind) -> None:
    credential = new_credential(kind)
    assert parse_credential(credential.text()) == credential
    assert credential.fits(credential.hashed(KEY), KEY)
    assert not new_credential(kind).fits(credential.hashed(KEY), KEY)
    assert not credential.fits(credential.hashed(KEY), derive_key("q" * 32, "test"))
    other_kind = next(k for k in CredentialKind if k is not kind)
    assert not replace(credential, kind=other_kind).fits(credential.hashed(KEY), KEY)


@given(st.text() | st.from_regex(r"fw[aet]_[0-9a-fA-F]{15,17}_[0-9a-f]{60,70}\n?"))
def test_any_text_is_a_credential_or_is_not(text: str) -> None:
    credential = parse_credential(text)
    assert credential is None or credential.text() == text


def test_a_credential_does_not_show_its_secret() -> None:
    assert "5ec4e7" not in repr(Credential(CredentialKind.AGENT, "0" * 16, "5ec4e7"))


def test_keys_for_different_purposes_differ() -> None:
    assert len({derive_key("p" * 32, purpose) for purpose in ("a", "b", "credentials", "replies")}) == 4
    assert hash_token("t", derive_key("p" * 32, "a")) != hash_token("t", derive_key("p" * 32, "b"))


@given(st.text(max_size=300) | st.emails())
def test_an_address_is_normal_or_refused_and_normal_stays_normal(text: str) -> None:
    try:
        email = normal_email(text)
    except InvalidInput:
        return
    assert normal_email(email) == email
    assert email.count("@") == 1
    assert not any(character.isspace() for character in email)


@pytest.mark.parametrize("text", ["a@b.c", "First.Last+tag@Example.COM", "ü@example.de"])
def test_usual_addresses_are_taken(text: str) -> None:
    assert normal_email(f" {text} ") == text.lower()


@pytest.mark.parametrize(
    "text",
    ["", "a", "a@", "@b", "a@b@c", "a b@c.d", "a@b..c", "a@-b.c", "a\n@b.c", "<a@b.c>", "x" * 65 + "@b.c"],
)
def test_what_cannot_be_an_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        normal_email(text)


@pytest.mark.parametrize("good", ["correct horse battery staple", "xK9#mP2$vL5@", "das pferd frisst keinen"])
def test_a_good_password_is_taken(good: str) -> None:
    check_password(good, "ada@example.com", "Ada Lovelace")


@pytest.mark.parametrize(
    "weak",
    [
        "",
        "eleven char",
        "aaaaaaaaaaaaa",
        "abababababab",
        "abcdefghijklm",
        "zyxwvutsrqpo",
        "lovelace-ada-",
        "Password123456",
        "x" * 257,
    ],
)
def test_a_weak_password_is_refused(weak: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_password(weak, "ada@example.com", "Ada Lovelace")
    assert caught.value.code == "password_unfit"


@given(st.lists(st.sampled_from(Permission)), st.sampled_from(Role))
def test_a_token_never_may_more_than_its_owner_or_its_scopes(scopes: list[Permission], owner: Role) -> None:
    allowed = token_permissions(scopes, owner)
    assert allowed <= set(scopes)
    assert allowed <= token_permissions(list(Permission), owner)
    assert Permission.USERS_MANAGE not in allowed


@pytest.mark.parametrize(
    ("topic", "permission"),
    [
        ("fleet", Permission.HOSTS_READ),
        ("incidents", Permission.INCIDENTS_READ),
        ("host:host_1", Permission.METRICS_READ),
        ("user:user_1", Permission.NOTIFICATIONS_OWN),
        ("notifications", Permission.NOTIFICATIONS_OWN),
        ("host:", None),
        ("audit", None),
        ("", None),
        ("fleet:x", None),
    ],
)
def test_a_topic_needs_its_permission(topic: str, permission: Permission | None) -> None:
    assert topic_permission(topic) == permission


# Clones


@given(st.integers(1, 8))
def test_restarts_and_reinstalls_are_no_clones(restarts: int) -> None:
    assert not sounds_cloned([f"speaker-{n}" for n in range(restarts)])


@given(st.integers(2, 3), st.integers(0, 20))
def test_machines_that_take_turns_are_clones_before_long(machines: int, offset: int) -> None:
    assert sounds_cloned([f"speaker-{(n + offset) % machines}" for n in range(8)])


def test_one_late_request_of_an_agent_that_is_gone_is_no_clone() -> None:
    assert not sounds_cloned(["new", "old", "new", "old"])


# The audit chain


def chain(count: int) -> list[Link]:
    links: list[Link] = []
    previous = GENESIS
    for seq in range(1, count + 1):
        text = entry_text(COMMAND_LINE, seq=seq, at=seq, action="test", target=f"t{seq}", outcome="done")
        digest = link_hash(previous, text)
        links.append(Link(seq, text, previous, digest))
        previous = digest
    return links


@given(st.integers(0, 12))
def test_a_chain_as_written_is_whole(count: int) -> None:
    verdict = verify(chain(count))
    assert (verdict.broken_at, verdict.rows) == (None, count)


@given(st.integers(2, 10), st.data())
def test_any_single_change_is_found(count: int, data: st.DataObject) -> None:
    links = chain(count)
    at = data.draw(st.integers(0, count - 2))  # dropping the newest row would leave a whole chain
    kind = data.draw(st.sampled_from(["text", "previous", "hash", "drop", "swap"]))
    if kind == "text":
        links[at] = replace(links[at], text=links[at].text.replace('"done"', '"denied"'))
    elif kind == "previous":
        links[at] = replace(links[at], previous=b"\xff" * 32)
    elif kind == "hash":
        links[at] = replace(links[at], hash=b"\xff" * 32)
    elif kind == "drop":
        del links[at]
    else:
        links[at], links[at + 1] = links[at + 1], links[at]
    assert verify(links).broken_at is not None


def test_a_head_noted_earlier_is_looked_for() -> None:
    links = chain(5)
    assert verify(links, (3, links[2].hash)).broken_at is None
    assert verify(links[:2], (3, links[2].hash)).broken_at == 3
    assert verify(links, (3, b"\x00" * 32)).broken_at == 3


VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
SECRET_NAMES = ["password", "api_token", "SMTP_Password", "webhook_url", "routing_key", "client_secret"]


@given(VALUES, st.sampled_from(SECRET_NAMES))
def test_nothing_under_a_secret_name_survives(value: Any, name: str) -> None:
    text = json.dumps(redact({"a": [{name: {"inner": "hunter2", "more": value}}], "kept": value}))
    assert "hunter2" not in text


def test_what_is_not_secret_survives() -> None:
    facts = {"name": "x", "token_id": "t1", "list": [1, {"role": "admin"}], "expires_at": 5}
    assert redact(facts) == facts


def test_entries_are_the_same_text_for_the_same_facts() -> None:
    texts = {
        entry_text(COMMAND_LINE, seq=1, at=1, action="a", target="t", outcome="done", after=after)
        for after in ({"x": 1, "y": 2}, {"y": 2, "x": 1})
    }
    assert len(texts) == 1
