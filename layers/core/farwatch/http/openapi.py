"""The OpenAPI 3.1 document, generated from the routes and finished with what every route shares."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools.event_handler.api_gateway import Route
from aws_lambda_powertools.event_handler.openapi.types import OpenAPIResponse

from farwatch.http.access import Access, access_of
from farwatch.http.app import Api
from farwatch.http.models import Problem
from farwatch.http.problems import MEDIA_TYPE

PROBLEM_STATUSES = (400, 401, 403, 404, 409, 412, 413, 415, 422, 429, 502, 503)
_PROBLEM_REF = {"$ref": "#/components/schemas/Problem"}


def problems(*statuses: int) -> dict[int, OpenAPIResponse]:
    """Return the ``responses`` of a route that can answer with these statuses, beside those every route can."""
    return {status: _problem_response(status) for status in statuses}


def _problem_response(status: int) -> OpenAPIResponse:
    return {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": _PROBLEM_REF}}}


def openapi_document(api: Api, *, version: str) -> dict[str, Any]:
    """Return the document as plain data: routes, models, problems, who may call what, rate-limit answers."""
    refusals = {id(route): _take_problems(route) for route in api.routes}
    document: dict[str, Any] = json.loads(
        api.get_openapi_json_schema(
            title="Farwatch",
            version=version,
            description="Hosts, samples, anomalies, forecasts, incidents and the people who care.",
        )
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for foreign in ("HTTPValidationError", "ValidationError", "ResponseValidationError"):
        schemas.pop(foreign, None)
    schemas.update(_problem_schemas())
    components["schemas"] = dict(sorted(schemas.items()))
    components["securitySchemes"] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "An access token of a person, an API token (fwt_…) or an agent credential (fwa_…).",
        }
    }
    for route in api.routes:
        access = access_of(route.func)
        operation = document["paths"].get(route.openapi_path, {}).get(route.method.lower())
        if operation is not None and access is not None:
            operation["operationId"] = route.func.__name__
            _finish(operation, access, route.openapi_path, refusals[id(route)])
    components["responses"] = {f"Problem{status}": _problem_response(status) for status in PROBLEM_STATUSES}
    document["paths"] = dict(sorted(document["paths"].items()))
    return document


def _take_problems(route: Route) -> set[int]:
    """Return the refusals a route declared, and leave it with its successes only.

    Powertools documents the answer of the return type only for a route that declares no responses at all.
    """
    declared = route.responses or {}
    route.responses = {status: answer for status, answer in declared.items() if status < 400} or None
    return {status for status in declared if status >= 400}


def _finish(operation: dict[str, Any], access: Access, path: str, declared: set[int]) -> None:
    statuses = {429, 503, *declared}
    if access.public is None:
        statuses |= {401, 403}
        operation["security"] = [{"bearer": []}]
    else:
        operation["security"] = []
    if access.permission is not None:
        operation["x-permission"] = str(access.permission)
    if "requestBody" in operation:
        statuses |= {400, 413, 415, 422}
    if operation.get("parameters"):
        statuses.add(422)
    if any(p["name"] == "cursor" for p in operation.get("parameters", [])):
        statuses.add(400)
    if "{" in path:
        statuses.add(404)
    responses = operation["responses"]
    responses.pop("500", None)
    if 422 not in statuses:
        responses.pop("422", None)
    responses.get("204", {}).pop("content", None)
    statuses |= {int(status) for status in responses if int(status) >= 400}
    for status in statuses:
        responses[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    operation["responses"] = dict(sorted(responses.items()))


def _problem_schemas() -> dict[str, Any]:
    schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    nested = schema.pop("$defs", {})
    return {"Problem": schema, **nested}
