"""The documents written from the code are up to date and say everything."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from farwatch import errors
from farwatch.domain.rbac import MATRIX, NEVER_A_SCOPE, Permission, Role, permissions_of
from farwatch.http.access import access_of
from farwatch.http.openapi import openapi_document
from farwatch.http.problem_types import PROBLEM_TYPES
from infra.local.api_reference import ROOT, assembled_api, documents


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_document(assembled_api(), version="test")


@pytest.mark.parametrize("name", ["docs/api/openapi.json", "docs/permissions.md", "docs/errors.md"])
def test_the_committed_document_is_what_the_code_says(name: str) -> None:
    committed = (ROOT / name).read_text()
    assert committed == documents()[name], "run: python -m infra.local.api_reference"


def operations(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_operation_has_a_name_of_its_own_a_summary_and_a_tag(document: dict[str, Any]) -> None:
    found = operations(document)
    names = [operation["operationId"] for _, operation in found]
    assert len(names) == len(set(names))
    assert [
        key for key, operation in found if not operation.get("summary") or not operation.get("tags")
    ] == []


def test_every_operation_documents_how_it_refuses(document: dict[str, Any]) -> None:
    for key, operation in operations(document):
        assert {"429", "503"} <= operation["responses"].keys(), key
        if operation["security"]:
            assert {"401", "403"} <= operation["responses"].keys(), key


def test_no_foreign_error_format_is_left(document: dict[str, Any]) -> None:
    assert not [name for name in document["components"]["schemas"] if "ValidationError" in name]


def test_every_code_that_is_raised_is_explained() -> None:
    classes = {
        cls.code
        for cls in vars(errors).values()
        if isinstance(cls, type) and issubclass(cls, errors.FarwatchError)
    }
    raised = set()
    for folder in ("layers/core/farwatch", "functions"):
        for path in Path(ROOT, folder).rglob("*.py"):
            raised |= set(re.findall(r'\bcode="([a-z_]+)"', path.read_text()))
    assert (classes | raised) - PROBLEM_TYPES.keys() == set()


# The permission matrix, cell by cell


def test_the_matrix_has_a_row_for_every_permission_and_roles_nest() -> None:
    assert set(MATRIX) == set(Permission)
    order = [Role.GUEST, Role.VIEWER, Role.OPERATOR, Role.ADMIN]
    for lesser, greater in itertools.pairwise(order):
        assert permissions_of(lesser) < permissions_of(greater)


def test_an_administrator_may_everything_that_people_may() -> None:
    assert permissions_of(Role.ADMIN) == set(Permission) - {Permission.METRICS_INGEST}


def test_what_no_token_may_have_is_what_makes_people_tokens_or_samples() -> None:
    managing = {p for p in NEVER_A_SCOPE if p.endswith(":manage")}
    assert managing == {Permission.USERS_MANAGE, Permission.TOKENS_MANAGE}


def test_every_route_says_who_may_call_it() -> None:
    assert [route.path for route in assembled_api().routes if access_of(route.func) is None] == []
