"""Single sign-on on this machine: what reaches the template, what reaches the dashboard, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.local.home import Home, Ports
from infra.local.keys import Keys
from infra.local.single_sign_on import SECRET, SingleSignOnError, dashboard_file, parameters

SETTINGS = {
    "OIDC_ISSUER": "https://id.example.org",
    "OIDC_CLIENT_ID": "farwatch",
    "OIDC_JWKS_URL": "https://id.example.org/keys",
    "OIDC_ROLES": "sre=operator",
}
DOCUMENT = {SECRET: "hush"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.create()
    return made


def test_the_template_is_given_what_the_environment_says() -> None:
    assert parameters({}) == {}
    assert parameters(SETTINGS) == {
        "OidcIssuer": "https://id.example.org",
        "OidcClientId": "farwatch",
        "OidcJwksUrl": "https://id.example.org/keys",
        "OidcRoles": "sre=operator",
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"OIDC_CLIENT_ID": ""}, "OIDC_CLIENT_ID is not"),
        ({"OIDC_JWKS_URL": ""}, "OIDC_JWKS_URL is not"),
        ({"OIDC_ISSUER": "http://id.example.org"}, "OIDC_ISSUER must be https"),
        ({"OIDC_JWKS_URL": "ftp://127.0.0.1/keys"}, "OIDC_JWKS_URL must be https"),
    ],
)
def test_what_is_missing_or_could_be_overheard_stops_the_start(changes: dict[str, str], words: str) -> None:
    with pytest.raises(SingleSignOnError, match=words):
        parameters({**SETTINGS, **changes})


def test_the_dashboards_file_is_private_and_goes_when_single_sign_on_does(home: Home) -> None:
    keys = Keys.load_or_make(home)
    path = Path(dashboard_file(home, Ports(9000), keys, DOCUMENT, SETTINGS))
    assert path.stat().st_mode & 0o077 == 0
    known = json.loads(path.read_text())
    assert (known["client_secret"], known["cookie_secret"]) == ("hush", keys.cookie_secret)
    assert known["dashboard_url"] == "http://127.0.0.1:9000"
    assert dashboard_file(home, Ports(9000), keys, DOCUMENT, {}) == ""
    assert not path.exists()


def test_a_missing_client_secret_is_named(home: Home) -> None:
    with pytest.raises(SingleSignOnError, match=SECRET):
        dashboard_file(home, Ports(9000), Keys.load_or_make(home), {}, SETTINGS)
