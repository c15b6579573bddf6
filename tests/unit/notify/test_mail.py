"""Mail about incidents: what it says, what it must not let a name do, and how it travels and fails."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from farwatch.adapters.channels import slack
from farwatch.adapters.channels.email import EmailSender, MailServer
from farwatch.adapters.mail import SmtpMail
from farwatch.domain.routing import Channel
from farwatch.errors import InvalidInput, Misconfigured, Rejected, Unavailable
from farwatch.ports.deliveries import RECIPIENT_REJECTED
from farwatch.services.channels import check_settings
from tests.functions.notify.far_sides import (
    Mailbox,
    certificate,
    free_port,
    mail_server,
)
from tests.unit.notify import stories
from tests.unit.notify.makers import an_event


def test_hostile_names_are_text_and_nothing_else() -> None:
    event = stories.events()["hostile"]
    html = stories.html(event)
    assert "<img" not in html
    assert "<!channel>" not in html
    assert "\u202e" not in html + stories.mail(event)
    body = json.dumps(slack.compose(event, stories.DASHBOARD))
    assert "<!channel>" not in body
    assert re.findall(r"<[^|>]*\|", body) == [f"<{stories.DASHBOARD}/incidents?id={event.incident_id}|"]


def test_a_line_break_in_a_name_is_not_a_header() -> None:
    event = an_event(title="x\r\nBcc: victim@example.com\r\n\r\nboo", host_name="y\r\nX-Evil: 1")
    mail = stories.composed(event)
    assert mail["Bcc"] is None
    assert mail["X-Evil"] is None


@pytest.mark.parametrize(
    "word", ["=?utf-8?q?x=0D=0ABcc:_victim@example.com?=", "=?utf-8?b?eA0KQmNjOiB2aWN0aW1AZXhhbXBsZS5jb20=?="]
)
def test_an_encoded_word_in_a_name_stays_as_it_is_and_is_not_a_header(word: str) -> None:
    for event in (
        an_event(title=f"CPU 97 % on {word}"),
        an_event(host_name=word),
        an_event(title=f"={word}"),
    ):
        sent = message_from_bytes(stories.composed(event).as_bytes(), policy=policy.default)
        assert sent["Bcc"] is None
        assert word.removeprefix("=?").removesuffix("?=") in sent["Subject"]


@pytest.mark.parametrize("address", ["a(b@example.com", ".a@example.com", "ü@example.com", "a;b@example.com"])
def test_an_address_that_cannot_be_one_says_nothing_against_the_mail_server(address: str) -> None:
    with pytest.raises(Rejected, match="recipient") as caught:
        sender(server(1)).send(an_event(), address, "dlv_1")
    assert caught.value.code == RECIPIENT_REJECTED


def test_all_mails_of_an_incident_are_one_thread() -> None:
    mails = [stories.composed(event) for event in (stories.events()["opened"], stories.events()["resolved"])]
    assert len({mail["References"] for mail in mails}) == 1
    assert mails[0]["References"] == mails[0]["In-Reply-To"]


def test_the_mail_is_readable_without_html_and_the_html_without_pictures() -> None:
    mail = stories.composed(stories.events()["opened"])
    assert mail.get_content_type() == "multipart/alternative"
    plain, html = mail.get_body(("plain",)).get_content(), mail.get_body(("html",)).get_content()
    for text in (plain, html):
        assert "stress" in text
        assert "renice 10 -p PID" in text
        assert f"{stories.DASHBOARD}/incidents?id=inc_" in text
    assert "<img" not in html
    assert "prefers-color-scheme: dark" in html
    assert max(map(len, mail.as_bytes().splitlines())) <= 998


# Mail on the way


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusted(pem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))


def sender(server: MailServer | None) -> EmailSender:
    return EmailSender(lambda: server, dashboard_url=stories.DASHBOARD, environment="tests")


def server(port: int, **changes: Any) -> MailServer:
    values: dict[str, Any] = {"security": "none", "sender": "Farwatch <farwatch@example.com>"}
    return MailServer(id="chan_mail", host="127.0.0.1", port=port, **{**values, **changes})


@pytest.fixture
def plain() -> Iterator[Mailbox]:
    with mail_server() as box:
        yield box


def test_mail_is_handed_over_and_the_connection_kept(plain: Mailbox) -> None:
    with_plain = sender(server(plain.port))
    first = with_plain.send(an_event(), "ada@example.com", "dlv_1")
    with_plain.send(an_event(), "bob@example.com", "dlv_2")
    assert first == "<dlv_1@example.com>"
    assert plain.recipients == ["ada@example.com", "bob@example.com"]
    assert plain.messages[0]["Message-ID"] == first
    assert plain.connections == 1


def test_a_connection_the_server_dropped_is_replaced(plain: Mailbox) -> None:
    with_plain = sender(server(plain.port))
    with_plain.send(an_event(), "ada@example.com", "dlv_1")
    assert with_plain._open is not None
    with_plain._open[1].sock.shutdown(2)  # type: ignore[union-attr]  # the server hangs up on us
    with_plain.send(an_event(), "ada@example.com", "dlv_2")
    assert plain.connections == 2
    assert len(plain.messages) == 2


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # it has TLS from the first byte
@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.usefixtures("trusted")
def test_mail_goes_over_tls_with_a_user_name(pem: Path, security: str) -> None:
    with mail_server(certificate=pem, implicit_tls=security == "tls", login=("ada", "secret")) as box:
        good = server(box.port, security=security, username="ada", password="secret")
        sender(good).send(an_event(), "ada@example.com", "dlv_1")
        assert len(box.messages) == 1
        with pytest.raises(Unavailable, match="user name and password") as caught:
            sender(replace(good, password="wrong-secret")).send(an_event(), "ada@example.com", "dlv_2")
        assert "wrong-secret" not in str(caught.value)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_server_nobody_vouches_for_gets_no_mail_and_no_password(pem: Path, security: str) -> None:
    with mail_server(certificate=pem, implicit_tls=security == "tls") as box:
        with pytest.raises(Unavailable, match="TLS failed"):
            sender(server(box.port, security=security)).send(an_event(), "ada@example.com", "dlv_1")
        assert box.messages == []


def test_a_server_without_tls_is_refused_when_tls_is_asked_for(plain: Mailbox) -> None:
    with pytest.raises(Unavailable):
        sender(server(plain.port, security="starttls")).send(an_event(), "ada@example.com", "dlv_1")
    assert plain.messages == []


def test_plain_text_to_another_machine_is_refused() -> None:
    with pytest.raises(Misconfigured, match="TLS"):
        sender(replace(server(25), host="mail.example.com")).send(an_event(), "ada@example.com", "dlv_1")


@pytest.mark.parametrize(
    ("refusal", "kind", "of_recipient"),
    [
        ({"refuse_recipient": "550 5.1.1 no such user"}, Rejected, True),
        ({"refuse_recipient": "450 4.2.0 greylisted"}, Unavailable, True),
        ({"refuse_recipient": "530 5.7.0 Authentication required"}, Unavailable, False),
        ({"refuse_message": "554 5.7.1 looks like spam"}, Rejected, False),
        ({"refuse_message": "452 4.3.1 disk full"}, Unavailable, False),
    ],
)
def test_refusals_are_told_apart(
    plain: Mailbox, refusal: dict[str, str], kind: type[Any], of_recipient: bool
) -> None:
    [(name, reply)] = refusal.items()
    setattr(plain, name, reply)
    with pytest.raises(kind) as caught:
        sender(server(plain.port)).send(an_event(), "ada@example.com", "dlv_1")
    assert (caught.value.code == RECIPIENT_REJECTED) is of_recipient
    assert reply[4:] in caught.value.message


def test_a_server_that_does_not_answer_is_a_passing_fault() -> None:
    with pytest.raises(Unavailable, match="refused"):
        sender(server(free_port())).send(an_event(), "ada@example.com", "dlv_1")
    with pytest.raises(Unavailable, match="no mail server"):
        sender(None).send(an_event(), "ada@example.com", "dlv_1")


@pytest.mark.parametrize(
    "changes",
    [
        {"host": "mail..example.com", "security": "tls"},
        {"username": "ada", "password": "pässword"},
        {"username": "ädä"},
    ],
)
def test_settings_no_server_can_be_reached_with_are_told_of_and_leave_mail_waiting(
    plain: Mailbox, changes: dict[str, str]
) -> None:
    odd = replace(server(plain.port), **changes)  # type: ignore[arg-type]  # test data
    with pytest.raises(Misconfigured, match=r"host name|ASCII") as caught:
        sender(odd).send(an_event(), "ada@example.com", "dlv_1")
    assert "pässword" not in caught.value.message
    with pytest.raises(Unavailable):
        SmtpMail(lambda: odd).send("ada@example.com", "Hello", "text")
    with pytest.raises(InvalidInput):
        check_settings(
            Channel.EMAIL,
            {"host": odd.host, "sender": odd.sender, "username": odd.username},
            {"password": odd.password or "x"},
        )
