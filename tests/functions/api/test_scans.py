"""Security scans: published by programs and people, compared with the one before, read by administrators only."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from farwatch.domain import scans as bounds
from farwatch.domain.rbac import Role
from infra.scan import main, scan
from infra.scan.publish import PublishError, publish, result_of
from tests.gateway import Answered, Gateway
from tests.unit.scan.credentials import made_up_credential
from tests.unit.scan.test_reports import HOSTILE
from tests.wsgi import WsgiGateway

SCANS = "/api/v1/scans"


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None: ...


@contextmanager
def serving(gateway: Gateway) -> Iterator[str]:
    """Put the API on a port of loopback and give its address."""
    with make_server("127.0.0.1", 0, WsgiGateway(gateway), handler_class=_Quiet) as server:  # type: ignore[arg-type]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def admin(gateway: Gateway) -> str:
    return gateway.as_role(Role.ADMIN)


def finding(number: int, severity: str = "high", rule: str = "sql-format", **changes: Any) -> dict[str, Any]:
    return {
        "rule": rule,
        "kind": "sql_injection",
        "severity": severity,
        "file": f"src/a{number}.py",
        "line": number + 1,
        "column": 1,
        "snippet": "cursor.execute(f'… {name}')",
        "why": "Text from outside becomes SQL.",
        "fix": "Pass it as a parameter.",
        "cwe": 89,
        "sources": ["farwatch"],
        "fingerprint": f"{number:020x}",
        **changes,
    }


def result(*findings: dict[str, Any], target: str = "shop", **changes: Any) -> dict[str, Any]:
    return {"target": target, "files": 12, "seconds": 0.5, "findings": list(findings), **changes}


def published(gateway: Gateway, token: str, *findings: dict[str, Any], **changes: Any) -> Answered:
    answer = gateway("POST", SCANS, result(*findings, **changes), token=token)
    assert answer.status == 201, answer.raw
    return answer


def test_a_second_scan_says_what_is_new_fixed_and_still_open(gateway: Gateway, admin: str) -> None:
    first = published(gateway, admin, finding(1), finding(2, "low"))
    assert first.body["trend"] is None
    published(gateway, admin, finding(1), target="another tree")
    second = published(gateway, admin, finding(3, "critical"), finding(1)).body
    assert second["trend"] == {"previous_id": first.body["id"], "new": 1, "fixed": 1, "open": 1}
    assert {k: v for k, v in second["counts"].items() if v} == {"critical": 1, "high": 1}
    path = f"{SCANS}/{second['id']}/findings"
    found = gateway("GET", path, token=admin).body["items"]
    assert [(one["fingerprint"][-1], one["change"]) for one in found] == [("3", "new"), ("1", "open")]
    gone = gateway("GET", path, token=admin, query={"change": "fixed"}).body["items"]
    assert [(one["fingerprint"][-1], one["change"]) for one in gone] == [("2", "fixed")]


def test_lists_have_the_newest_of_each_target_a_history_filters_and_cursors(
    gateway: Gateway, admin: str
) -> None:
    for target in ("a", "b", "a"):
        last = published(
            gateway,
            admin,
            *(finding(n, "low" if n > 2 else "high", f"rule-{n % 2}") for n in range(5)),
            target=target,
        ).body
    newest = gateway("GET", SCANS, token=admin, query={"newest": "true"}).body["items"]
    assert [one["target"] for one in newest] == ["a", "b"]
    history = gateway("GET", SCANS, token=admin, query={"target": "a"}).body["items"]
    assert len(history) == 2
    page = gateway("GET", SCANS, token=admin, query={"limit": "2"}).body
    rest = gateway("GET", SCANS, token=admin, query={"limit": "2", "cursor": page["next_cursor"]}).body
    assert (
        len(page["items"] + rest["items"]) == len({one["id"] for one in page["items"] + rest["items"]}) == 3
    )
    wrong = gateway("GET", SCANS, token=admin, query={"target": "a", "cursor": page["next_cursor"]})
    assert (wrong.status, wrong.body["code"]) == (400, "invalid_cursor")
    path = f"{SCANS}/{last['id']}/findings"
    low = gateway("GET", path, token=admin, query={"severity": "low", "rule": "rule-1"}).body["items"]
    assert [one["line"] for one in low] == [4]
    first = gateway("GET", path, token=admin, query={"limit": "3"}).body
    second = gateway("GET", path, token=admin, query={"limit": "3", "cursor": first["next_cursor"]}).body
    assert [one["line"] for one in first["items"] + second["items"]] == [1, 2, 3, 4, 5]
    assert gateway("GET", f"{SCANS}/{last['id']}", token=admin).body["rules"] == {"rule-0": 3, "rule-1": 2}


def test_a_pipeline_may_publish_and_read_nothing(gateway: Gateway, admin: str) -> None:
    made = gateway("POST", "/api/v1/tokens", {"name": "ci", "scopes": ["scan:publish"]}, token=admin).body
    scan_id = published(gateway, made["token"], finding(1)).body["id"]
    assert gateway("GET", f"{SCANS}/{scan_id}", token=made["token"]).status == 403
    shown = gateway("GET", f"{SCANS}/{scan_id}", token=admin).body
    assert shown["published_by"] == {"kind": "token", "id": made["id"]}
    for role in (Role.OPERATOR, Role.VIEWER, Role.GUEST):
        token = gateway.as_role(role)
        assert gateway("POST", SCANS, result(), token=token).status == 403
        assert gateway("GET", SCANS, token=token).status == 403


def test_publishing_and_reading_findings_are_in_the_audit_log(gateway: Gateway, admin: str) -> None:
    scan_id = published(gateway, admin, finding(1)).body["id"]
    gateway("GET", f"{SCANS}/{scan_id}/findings", token=admin)
    rows = gateway("GET", "/api/v1/audit", token=admin).body["items"]
    by_action = {row["action"]: row for row in rows}
    assert by_action["scan.publish"]["after"] == {"target": "shop", "counts": {"high": 1}}
    assert by_action["scan.read"]["target"] == scan_id


def test_the_same_request_twice_is_kept_once(gateway: Gateway, admin: str) -> None:
    body, headers = result(finding(1)), {"Idempotency-Key": "once"}
    first, second = (gateway("POST", SCANS, body, token=admin, headers=headers) for _ in range(2))
    assert first.body == second.body
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len(gateway("GET", SCANS, token=admin).body["items"]) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (result(target="two\nlines"), "body.target"),
        (result(finding(1), finding(1)), "body.findings[1].fingerprint"),
        (result(finding(1, "fatal")), "severity"),
        (result(finding(1, fingerprint="<script>")), "fingerprint"),
        (result(finding(1, snippet="x" * 501)), "snippet"),
        (result(finding(1, secret="hush")), "secret"),
        (result(finding(1, file="a\x00b")), "file"),
    ],
)
def test_what_is_no_scan_is_refused_and_the_field_named(
    gateway: Gateway, admin: str, body: dict[str, Any], field: str
) -> None:
    answer = gateway("POST", SCANS, body, token=admin)
    assert answer.status == 422
    assert any(field in error["loc"] for error in answer.body["errors"]), answer.raw


def test_a_scan_may_be_larger_than_other_bodies_and_not_endless(gateway: Gateway, admin: str) -> None:
    big = [finding(n, why="w" * 900) for n in range(500)]
    published(gateway, admin, *big)
    assert gateway("POST", "/api/v1/tokens", {"name": "x" * 300_000, "scopes": []}, token=admin).status == 413
    huge = gateway(
        "POST", SCANS, result(*(finding(n, why="w" * 1000, fix="f" * 1000) for n in range(1900))), token=admin
    )
    assert (huge.status, huge.body["code"]) == (413, "too_large")
    many = gateway("POST", SCANS, result(*(finding(n) for n in range(2001))), token=admin)
    assert many.status == 422


def test_only_so_many_scans_and_targets_are_kept(
    gateway: Gateway, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farwatch.adapters.postgres.scans.KEPT_PER_TARGET", 2)
    monkeypatch.setattr("farwatch.adapters.postgres.scans.MOST_TARGETS", 2)
    ids = [published(gateway, admin, finding(1), target=target).body["id"] for target in "aaab"]
    kept = {one["id"] for one in gateway("GET", SCANS, token=admin).body["items"]}
    assert kept == set(ids[1:])
    published(gateway, admin, target="c")
    assert {one["target"] for one in gateway("GET", SCANS, token=admin).body["items"]} == {"b", "c"}
    gone = gateway("GET", f"{SCANS}/{ids[0]}", token=admin)
    assert (gone.status, gone.body["code"]) == (404, "unknown_scan")
    assert bounds.KEPT_PER_TARGET * bounds.MOST_TARGETS * bounds.MOST_FINDINGS < 10_000_000


# From the command


@pytest.fixture
def tree(tmp_path: Path) -> tuple[Path, str]:
    """A tree with a live-looking credential, a hostile file name and hostile text."""
    root = tmp_path / "shop <b>"
    root.mkdir()
    credential = made_up_credential()
    (root / "keys.py").write_text(f'aws_access_key_id = "{credential}"\n')
    (root / HOSTILE).write_text(
        "import httpx\nx = httpx.Client(verify=False)  # </pre><script>alert(1)</script>\n"
    )
    return root, credential


def test_a_secret_in_the_tree_never_leaves_it(gateway: Gateway, admin: str, tree: tuple[Path, str]) -> None:
    root, credential = tree
    body = result_of(scan(root), root.name)
    assert any(one["kind"] == "secret" for one in body["findings"])
    assert credential not in json.dumps(body)
    answer = gateway("POST", SCANS, body, token=admin)
    assert answer.status == 201, answer.raw
    for form in ("json", "sarif"):
        report = gateway("GET", f"{SCANS}/{answer.body['id']}/report", token=admin, query={"format": form})
        assert report.status == 200
        assert credential not in report.raw
        assert len(report.body["findings"] if form == "json" else report.body["runs"][0]["results"]) == 2


def test_the_command_publishes_to_the_installation_on_this_machine(
    gateway: Gateway,
    admin: str,
    tree: tuple[Path, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("FARWATCH_HOME", str(tmp_path))
    for name in ("FARWATCH_API_URL", "FARWATCH_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    root, _ = tree
    assert main([str(root), "--publish", "--as", "shop"]) == 1
    assert "Published as shop: its first scan." in capsys.readouterr().err
    (root / "keys.py").unlink()
    assert main([str(root), "--publish", "--as", "shop", "--fail-on", "critical"]) == 0
    assert "0 new, 1 fixed, 1 still open" in capsys.readouterr().err
    newest = gateway("GET", SCANS, token=admin).body["items"][0]
    assert newest["published_by"] == {"kind": "system", "id": "system"}
    monkeypatch.setenv("FARWATCH_HOME", str(tmp_path / "nothing"))
    assert main([str(root), "--publish"]) == 2
    assert "no installation in" in capsys.readouterr().err


def test_a_token_is_not_sent_where_it_could_be_overheard(tree: tuple[Path, str]) -> None:
    report = scan(tree[0])
    with pytest.raises(PublishError, match="https"):
        publish(report, "x", {"FARWATCH_API_URL": "http://farwatch.example", "FARWATCH_API_TOKEN": "fwt_1_2"})
    with pytest.raises(PublishError, match="both"):
        publish(report, "x", {"FARWATCH_API_TOKEN": "fwt_1_2"})


def test_the_command_publishes_over_http_with_a_token(
    gateway: Gateway, admin: str, tree: tuple[Path, str]
) -> None:
    made = gateway("POST", "/api/v1/tokens", {"name": "ci", "scopes": ["scan:publish"]}, token=admin).body
    with serving(gateway) as url:
        environment = {"FARWATCH_API_URL": f"{url}/api/v1", "FARWATCH_API_TOKEN": made["token"]}
        assert "its first scan" in publish(scan(tree[0]), "shop", environment)
        with pytest.raises(PublishError, match="scope scan:publish"):
            publish(
                scan(tree[0]),
                "shop",
                {**environment, "FARWATCH_API_TOKEN": "fwt_0123456789abcdef_" + "0" * 64},
            )


def test_more_findings_than_fit_are_counted(tree: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.scan.publish.MOST_BYTES", 700)
    body = result_of(scan(tree[0]), "shop")
    assert (len(body["findings"]), body["left_out"]) == (1, 1)
    assert body["findings"][0]["kind"] == "secret", "the worst stay"
