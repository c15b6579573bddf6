"""What the template lets through without the authoriser is what the code declares public, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from farwatch.http.access import access_of
from farwatch.http.app import Api, create_api
from farwatch.settings import Settings
from functions.api.routes import ROUTERS
from tests.api_events import http_event

ROOT = Path(__file__).parents[3]


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation YAML, taking every short form (``!Ref``, ``!Sub`` …) for its argument."""


def _argument(loader: yaml.SafeLoader, _: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node)
    assert isinstance(node, yaml.MappingNode)
    return loader.construct_mapping(node)


_Loader.add_multi_constructor("!", _argument)


@pytest.fixture(scope="module")
def api() -> Api:
    return create_api(Settings(), ROUTERS)


@pytest.fixture(scope="module")
def routes_in_template() -> dict[str, str]:
    template = yaml.load((ROOT / "template.yaml").read_text(), Loader=_Loader)
    return {
        r["Properties"]["RouteKey"]: r["Properties"].get("AuthorizationType", "NONE")
        for r in template["Resources"].values()
        if r["Type"] == "AWS::ApiGatewayV2::Route" and r["Properties"]["ApiId"] == "Api"
    }


def test_every_public_route_is_reachable_without_a_credential_and_no_other_is(
    api: Api, routes_in_template: dict[str, str]
) -> None:
    declared = {
        f"{route.method} {route.openapi_path}"
        for route in api.routes
        if (access := access_of(route.func)) is not None and access.public is not None
    }
    open_doors = {key for key, kind in routes_in_template.items() if kind == "NONE"}
    assert open_doors - {"OPTIONS /api/v1/{proxy+}", "$default"} == declared


def test_everything_else_passes_the_authoriser(routes_in_template: dict[str, str]) -> None:
    assert routes_in_template["ANY /api/v1/{proxy+}"] == "CUSTOM"


def test_a_request_that_skipped_the_authoriser_opens_nothing() -> None:
    served = create_api(Settings(), ROUTERS)
    for route in served.routes:
        access = access_of(route.func)
        if access is not None and access.public is None:
            path = re.sub("<.*?>", "x_1", route.path)
            assert served.handle(http_event(route.method, path), None)["statusCode"] == 401, route.path
