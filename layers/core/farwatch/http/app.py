"""The resolver every API function uses: one way in, one way to refuse, one way out.

In this order, for each request: rate limits, who may call the route, the body's size and shape, validation against the
route's models, the idempotency key, the use case, the audit row, security headers, one access-log line.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, cast

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, CORSConfig, Response
from aws_lambda_powertools.event_handler.api_gateway import ResponseBuilder, Route, Router
from aws_lambda_powertools.event_handler.exceptions import NotFoundError

from farwatch.domain.rbac import Caller, PrincipalKind
from farwatch.errors import FarwatchError, InvalidInput, Misconfigured, Refused
from farwatch.http.access import Access, access_of
from farwatch.http.bodies import DEFAULT_MAX_BODY, check_text, check_utf8, parse_json, raw_body
from farwatch.http.changes import forget_change, noted_change
from farwatch.http.idempotency import once, reply_key
from farwatch.http.limits import check_allowances, rate_limit_headers
from farwatch.http.principal import caller_of, refusal_of, set_current_caller
from farwatch.http.problems import problem, problem_of
from farwatch.observability import logger, report_exception
from farwatch.ports.http import AccessLog, Allowance, RateLimits, ReplyStore
from farwatch.settings import Settings

SECURITY_HEADERS = {
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-site",
    "Cache-Control": "no-store",
}
EXPOSED_HEADERS = [
    "ETag",
    "Location",
    "Retry-After",
    "RateLimit",
    "RateLimit-Policy",
    "X-Request-Id",
    "Idempotent-Replayed",
]
ALLOWED_HEADERS = ["If-Match", "If-None-Match", "Idempotency-Key"]
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Api(APIGatewayHttpResolver):
    """A Powertools resolver with the house rules built in; made by ``create_api``."""

    def __init__(
        self,
        settings: Settings,
        *,
        limits: RateLimits | None,
        replies: ReplyStore | None,
        access_log: AccessLog | None,
        max_body: int,
    ) -> None:
        origins = [origin.strip() for origin in settings.cors_origins.split(",") if origin.strip()]
        super().__init__(
            cors=_cors(origins),
            enable_validation=True,
            response_validation_error_http_code=HTTPStatus.INTERNAL_SERVER_ERROR,
            json_body_deserializer=parse_json,
        )
        self._type_base = settings.api_url.rstrip("/")
        self._limits = limits
        self._replies = replies
        self._access_log = access_log
        self._max_body = max_body
        self._caller = Caller()
        self._matched: Route | None = None
        self._allowances: list[Allowance] = []
        self.exception_handler(Exception)(self._answer)
        self.exception_handler(NotFoundError)(self._answer_unknown_route)

    @property
    def routes(self) -> list[Route]:
        """Every registered route, in the order of registration."""
        return [*self._static_routes, *self._dynamic_routes]

    def handle(self, event: Mapping[str, Any], context: Any) -> dict[str, Any]:
        """Return the API Gateway response to ``event``."""
        started = time.perf_counter()
        self._caller = caller = caller_of(event)
        self._matched = None
        self._allowances = []
        set_current_caller(caller)
        forget_change()
        logger.set_correlation_id(caller.request_id)
        result = self.resolve(event, context)
        if result.get("body") is None:
            result["body"] = ""  # the local engine answers 500 to a 204 whose body is null
        headers = result.setdefault("headers", {})
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        headers["X-Request-Id"] = caller.request_id
        headers.update(rate_limit_headers(self._allowances))
        if self._cors_enabled:
            headers["Vary"] = "Origin"
        logger.info(
            "request",
            method=event.get("requestContext", {}).get("http", {}).get("method"),
            route=self._matched.path if self._matched is not None else None,
            status=result["statusCode"],
            milliseconds=round((time.perf_counter() - started) * 1000, 1),
            principal=f"{caller.principal.kind}:{caller.principal.id}",
        )
        return result

    def _call_route(self, route: Route, route_arguments: dict[str, str]) -> ResponseBuilder[Any]:
        # Powertools validates the request before its middlewares run. Whether the caller may call the route at all
        # must be settled earlier, or a stranger could read the route's schema off the validation errors.
        access = access_of(route.func)
        try:
            body = self._admit(route, access, route_arguments)
            key = self._idempotency_key(route)
            if key is None or self._replies is None:
                response = self._serve(route, route_arguments)
            else:
                response = once(self._replies, key, body, lambda: self._serve(route, route_arguments))
        except FarwatchError as error:
            response = self._answer(error)
        self._audit(route, access, route_arguments, response)
        return ResponseBuilder(response=response, serializer=self._serializer, route=route)

    def _admit(self, route: Route, access: Access | None, arguments: dict[str, str]) -> bytes:
        """Return the body of a request that may go on; raises the reason why it may not."""
        if route.method == "OPTIONS":
            return b""
        if self._limits is not None:
            self._allowances = list(self._limits.spend(self._caller, access.limit if access else None))
            check_allowances(self._allowances)
        if access is None:  # an unknown path: there is nothing to protect
            return b""
        self._matched = route
        event = self.current_event.raw_event
        if access.public is None:
            refusal = refusal_of(event)
            if refusal is not None:
                raise refusal
        access.check(self._caller.principal)
        for name, value in arguments.items():
            check_text(value, f"path.{name}")
        for name, value in (event.get("queryStringParameters") or {}).items():
            check_text(str(value), f"query.{name}")
        body = raw_body(event, access.max_body or self._max_body)
        if body and route.dependant.body_params:
            if not self._says_json():
                raise InvalidInput(
                    "send the body as application/json", status=415, code="unsupported_media_type"
                )
            check_utf8(body)  # Powertools decodes it before parse_json sees it
        return body

    def _says_json(self) -> bool:
        # An HTML form cannot send application/json, which is the half of CSRF protection that needs no cookie.
        sent = str(self.current_event.headers.get("content-type") or "application/json")
        return sent.split(";", maxsplit=1)[0].strip().lower() == "application/json"

    def _serve(self, route: Route, arguments: dict[str, str]) -> Response[Any]:
        builder = super()._call_route(route, arguments)
        response: Response[Any] = builder.response
        if response.is_json() and not isinstance(response.body, str):
            response.body = self._serializer(cast(dict[str, Any], response.body))
        return response

    def _idempotency_key(self, route: Route) -> str | None:
        sent = self.current_event.headers.get("idempotency-key")
        if sent is None or route.method != "POST":
            return None
        if self._caller.principal.kind is PrincipalKind.ANONYMOUS:
            return None  # nobody to keep an answer for: anybody could ask for it again
        return reply_key(self._caller, self.current_event.path, sent)

    def _audit(
        self, route: Route, access: Access | None, arguments: Mapping[str, str], response: Response[Any]
    ) -> None:
        if self._access_log is None or access is None:
            return
        denied = response.status_code in {401, 403}
        changed = route.method in _CHANGING and response.status_code < 400
        read = access.audit is not None and response.status_code < 400
        if not (denied or changed or read):
            return
        before, after = noted_change() if changed else (None, None)
        try:
            self._access_log.record_request(
                self._caller,
                action=access.audit or route.func.__name__,
                target=" ".join(arguments.values()),
                outcome="denied" if denied else "done",
                before=before,
                after=after,
                detail={"status": response.status_code, "method": route.method, "route": route.path},
            )
        except FarwatchError as error:
            # The change has happened; losing its row must be as loud as it can be without undoing the change.
            logger.error(
                "audit row not written", action=access.audit or route.func.__name__, error=str(error)
            )
            report_exception(error)

    def _answer(self, error: Exception) -> Response[str]:
        if not isinstance(error, Refused) and not _is_validation(error):
            logger.exception("request failed", error=type(error).__name__)
            report_exception(error)
        return problem_of(error, request_id=self._caller.request_id, type_base=self._type_base)

    def _answer_unknown_route(self, _: NotFoundError) -> Response[str]:
        path = self._remove_prefix(self.current_event.path)
        allowed = sorted({route.method for route in self.routes if route.rule.match(path)})
        if allowed:
            return problem(
                405,
                "method_not_allowed",
                f"use {' or '.join(allowed)} here",
                request_id=self._caller.request_id,
                type_base=self._type_base,
                headers={"Allow": ", ".join(allowed)},
            )
        return problem(
            404,
            "not_found",
            "there is no such route",
            request_id=self._caller.request_id,
            type_base=self._type_base,
        )


def create_api(
    settings: Settings,
    routers: Iterable[Router],
    *,
    limits: RateLimits | None = None,
    replies: ReplyStore | None = None,
    access_log: AccessLog | None = None,
    max_body: int = DEFAULT_MAX_BODY,
) -> Api:
    """Return the API made of ``routers``.

    Raises Misconfigured when a route does not declare who may call it: a forgotten declaration must stop the function
    at its first request in a test, never leave a door open.
    """
    api = Api(settings, limits=limits, replies=replies, access_log=access_log, max_body=max_body)
    for router in routers:
        api.include_router(router)
    for route in api.routes:
        if access_of(route.func) is None:
            raise Misconfigured(
                f"{route.method} {route.path} does not say who may call it: add @requires(Permission.X) under the route"
            )
    return api


def _cors(origins: list[str]) -> CORSConfig | None:
    if not origins:
        return None
    # No credentials: the API reads no cookie, so another site cannot act with a visitor's rights.
    return CORSConfig(
        allow_origin=origins[0],
        extra_origins=origins[1:],
        allow_headers=ALLOWED_HEADERS,
        expose_headers=EXPOSED_HEADERS,
        max_age=600,
    )


def _is_validation(error: Exception) -> bool:
    from aws_lambda_powertools.event_handler.exceptions import ServiceError
    from aws_lambda_powertools.event_handler.openapi.exceptions import (
        RequestUnsupportedContentType,
        RequestValidationError,
    )

    return isinstance(error, RequestValidationError | RequestUnsupportedContentType | ServiceError)


def created(location: str, body: Any) -> Response[Any]:
    """Return 201 with ``Location``, for a route annotated ``-> Response[Model]``."""
    return Response(
        status_code=201, content_type="application/json", headers={"Location": location}, body=body
    )


def no_content() -> Response[None]:
    """Return 204."""
    return Response(status_code=204, body=None)
