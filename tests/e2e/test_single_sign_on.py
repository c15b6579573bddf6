"""Signing in through an identity provider: a real one on loopback, a real browser, the whole stack between them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e import chromium
from tests.identity_provider import IdentityProvider
from tests.stack.running import RunningStack

pytestmark = [pytest.mark.browser, pytest.mark.stack]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.browser() as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(chromium.PATIENCE_MS)
    yield opened
    context.close()


def consent(page: Page, url: str, choice: str) -> None:
    page.goto(url)
    page.get_by_role("button", name="Sign in with Example ID").click()
    page.get_by_role("link", name=choice).click()


def test_consent_leads_back_signed_in_with_the_mapped_role_and_signing_out_ends_both(
    page: Page, stack: RunningStack, provider: IdentityProvider
) -> None:
    ended = provider.ended
    consent(page, f"{stack.dashboard_url}/rules", "Allow as olga")
    page.get_by_role("link", name="Olga Operator · operator").wait_for()
    page.wait_for_url("**/rules")
    page.get_by_role("heading", name="Rules").wait_for()
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    assert cookies["_streamlit_user_tokens"]["httpOnly"] is True
    assert provider.issued[-1] not in page.content()

    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in to Farwatch")).to_be_visible()
    assert provider.ended == ended + 1
    assert not [cookie for cookie in page.context.cookies() if cookie["name"].startswith("_streamlit_user")]
    page.reload()
    expect(page.get_by_role("button", name="Sign in with Example ID")).to_be_visible()


def test_a_session_that_was_ended_does_not_come_back_with_the_old_identity(
    page: Page, stack: RunningStack
) -> None:
    consent(page, stack.dashboard_url, "Allow as olga")
    chromium.wait_for_cookie(page)
    people = stack.call("GET", "/api/v1/users")[1]["items"]
    olga = next(one for one in people if one["email"] == "olga@example.org")
    assert olga["role"] == "operator"
    assert stack.call("POST", f"/api/v1/users/{olga['id']}/sign-out", {})[0] == 200
    page.context.clear_cookies(name="farwatch_session")
    page.goto(stack.dashboard_url)
    expect(page.get_by_role("button", name="Sign in with Example ID")).to_be_visible()
    expect(page.get_by_role("link", name="Olga Operator")).to_have_count(0)


def test_who_is_in_no_mapped_group_is_told_so_and_may_take_another_account(
    page: Page, stack: RunningStack
) -> None:
    consent(page, stack.dashboard_url, "Allow as vito")
    page.get_by_text("you may not sign in here").wait_for()
    expect(page.get_by_text("This person has no role here.")).to_be_visible()
    page.get_by_role("button", name="Take another account").click()
    expect(page.get_by_text("you may not sign in here")).to_have_count(0)
    expect(page.get_by_role("button", name="Sign in with Example ID")).to_be_visible()
    assert not [cookie for cookie in page.context.cookies() if cookie["name"].startswith("_streamlit_user")]


def test_saying_no_is_understood(page: Page, stack: RunningStack) -> None:
    consent(page, stack.dashboard_url, "Deny")
    expect(page.get_by_text("Example ID did not sign you in.")).to_be_visible()


def test_the_secrets_of_single_sign_on_are_private_and_in_no_log(
    stack: RunningStack, provider: IdentityProvider
) -> None:
    path = stack.home.path("single-sign-on.json")
    assert path.stat().st_mode & 0o077 == 0
    cookie_secret = json.loads(path.read_text())["cookie_secret"]
    assert len(cookie_secret) >= 32
    logs = "".join(log.read_text(errors="replace") for log in stack.home.logs.iterdir()) + stack.output
    for secret in (provider.client_secret, cookie_secret, *provider.issued):
        assert secret not in logs
