"""``/api/v1/agents`` and ``/api/v1/enrolment-tokens``: how machines become hosts, and stop being."""

from __future__ import annotations

from typing import Annotated

from aws_lambda_powertools.event_handler.api_gateway import Response, Router
from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from farwatch.bootstrap import container
from farwatch.domain.rbac import Permission
from farwatch.http.access import public, requires
from farwatch.http.app import created, no_content
from farwatch.http.clock import now_ms
from farwatch.http.models import (
    Answer,
    Body,
    Limit,
    Page,
    Timestamp,
    moment,
    moment_or_none,
    plain_text,
)
from farwatch.http.openapi import problems
from farwatch.http.principal import current_caller
from farwatch.ports.credentials import Agent, EnrolmentToken, Machine
from farwatch.services.enrol import NewToken
from farwatch.services.installer import installer_line, line_without_curl

router = Router()
TAGS = ["agents"]
HostId = Annotated[str, Path(pattern="^host_[0-9a-zA-Z_]{1,60}$")]
TokenId = Annotated[str, Path(pattern="^[0-9a-f]{16}$")]
Fact = Annotated[str, StringConstraints(max_length=200), AfterValidator(plain_text)]
LabelName = Annotated[str, StringConstraints(pattern="^[A-Za-z_][A-Za-z0-9_.-]{0,62}$")]
Labels = Annotated[dict[LabelName, Fact], Field(max_length=32)]


class EnrolIn(BaseModel):
    """What an agent says to enrol. Fields it does not know are ignored, so that newer agents can talk to it."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    token: Annotated[SecretStr, Field(min_length=1, max_length=200)]
    hostname: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
        AfterValidator(plain_text),
    ]
    machine_id: Fact = ""
    os: Fact = ""
    kernel: Fact = ""
    cpus: Annotated[int, Field(ge=0, le=100_000)] = 0
    memory_bytes: Annotated[int, Field(ge=0, le=2**60)] = 0
    agent_version: Fact = ""
    labels: Labels = Field(default_factory=dict)


class Enrolment(Answer):
    """A host's id and credential; the credential is shown this once."""

    host_id: str
    credential: str
    interval_s: float


class Renewed(Answer):
    """A new credential; the earlier one works until an hour after this one was first used."""

    host_id: str
    credential: str


class EnrolmentTokenIn(Body):
    """A token to make. ``max_uses`` null: as many machines as wanted until it expires."""

    name: Fact = ""
    expires_in_s: Annotated[int, Field(ge=60, le=90 * 86_400)] = 3600
    max_uses: Annotated[int, Field(ge=1, le=100_000)] | None = 1
    labels: Labels = Field(default_factory=dict)


class EnrolmentTokenOut(Answer):
    """An enrolment token that can still be used; ``host_id`` is set when it re-enrols one host."""

    id: str
    name: str
    created_by: str
    created_at: Timestamp
    expires_at: Timestamp
    max_uses: int | None
    uses: int
    labels: dict[str, str]
    host_id: str | None


class EnrolmentTokenCreated(EnrolmentTokenOut):
    """A new token, shown this once, and the line to paste on the machine: with curl, or with Python alone."""

    token: str
    install: str
    install_without_curl: str


class EnrolmentTokens(Answer):
    """The tokens that can still be used, newest first."""

    items: list[EnrolmentTokenOut]


class AgentOut(Answer):
    """A host and the state of its agent's credential; by ``credential_due_at`` the agent should have renewed it."""

    host_id: str
    name: str
    agent_version: str
    enrolled_at: Timestamp
    last_seen_at: Timestamp | None
    retired_at: Timestamp | None
    clone_suspected_at: Timestamp | None
    credential_id: str | None
    credential_issued_at: Timestamp | None
    credential_last_used_at: Timestamp | None
    credential_due_at: Timestamp | None


def _agent_out(agent: Agent) -> AgentOut:
    issued_at, lifetime_s = agent.credential_issued_at, container().settings.credential_days * 86_400
    return AgentOut(
        host_id=agent.host_id,
        name=agent.name,
        agent_version=agent.agent_version,
        enrolled_at=moment(agent.enrolled_at),
        last_seen_at=moment_or_none(agent.last_seen_at),
        retired_at=moment_or_none(agent.retired_at),
        clone_suspected_at=moment_or_none(agent.clone_suspected_at),
        credential_id=agent.credential_id,
        credential_issued_at=moment_or_none(agent.credential_issued_at),
        credential_last_used_at=moment_or_none(agent.credential_last_used_at),
        credential_due_at=moment_or_none(None if issued_at is None else issued_at + round(lifetime_s * 1000)),
    )


def _token_fields(token: EnrolmentToken) -> dict[str, object]:
    return {
        "id": token.id,
        "name": token.name,
        "created_by": token.created_by,
        "created_at": moment(token.created_at),
        "expires_at": moment(token.expires_at),
        "max_uses": token.max_uses,
        "uses": token.uses,
        "labels": dict(token.labels),
        "host_id": token.host_id,
    }


def _token_created(made: NewToken) -> Response[EnrolmentTokenCreated]:
    api_url, replaces = container().settings.api_url, made.token.host_id is not None
    answer = EnrolmentTokenCreated.model_validate(
        {
            **_token_fields(made.token),
            "token": made.text,
            "install": installer_line(api_url, made.text, re_enrol=replaces),
            "install_without_curl": line_without_curl(api_url, made.text, re_enrol=replaces),
        }
    )
    return created(f"/api/v1/enrolment-tokens/{made.token.id}", answer)


@router.post(
    "/api/v1/agents/enrol",
    summary="Enrol this machine",
    tags=TAGS,
    status_code=201,
    responses=problems(401),
)
@public("the enrolment token is the credential", audit="agent.enrol", limit="sign-in")
def enrol(body: EnrolIn) -> Response[Enrolment]:
    """Turn an enrolment token into a host id and a credential."""
    made = container()
    machine = Machine(**body.model_dump(exclude={"token"}))
    enrolled = made.enrol.enrol(current_caller(), body.token.get_secret_value(), machine, now_ms())
    host = made.adapters.hosts.get(enrolled.host_id)
    interval_s = host.interval_s if host is not None else made.settings.default_interval_s
    answer = Enrolment(host_id=enrolled.host_id, credential=enrolled.credential, interval_s=interval_s)
    return created(f"/api/v1/hosts/{enrolled.host_id}", answer)


@router.post("/api/v1/agents/credential", summary="Renew the agent's credential", tags=TAGS)
@requires(Permission.METRICS_INGEST, audit="agent.renew", limit="heavy")
def renew_credential() -> Renewed:
    """Return a new credential for the agent that asks; the present one ends an hour after the new one is first used."""
    renewed = container().renewal.renew(current_caller(), now_ms())
    return Renewed(host_id=renewed.host_id, credential=renewed.credential)


@router.get("/api/v1/agents", summary="Agents", tags=TAGS)
@requires(Permission.AGENTS_MANAGE, audit="agent.list")
def list_agents(
    limit: Annotated[Limit, Query()] = 50,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
    retired: Annotated[bool, Query()] = False,
) -> Page[AgentOut]:
    """Return hosts with the state of their credentials, by host id."""
    made = container()
    bound = {"list": "agents", "retired": retired}
    after = str(made.adapters.cursors.decode(cursor, bound)[0]) if cursor else None
    found = made.enrol.agents(current_caller(), after_id=after, limit=limit + 1, retired=retired)
    return Page(
        items=[_agent_out(agent) for agent in found[:limit]],
        next_cursor=made.adapters.cursors.encode([found[limit - 1].host_id], bound)
        if len(found) > limit
        else None,
    )


@router.get("/api/v1/agents/<host_id>", summary="One agent", tags=TAGS, responses=problems(404))
@requires(Permission.AGENTS_MANAGE, audit="agent.read")
def get_agent(host_id: HostId) -> AgentOut:
    """Return one host with the state of its credential."""
    return _agent_out(container().enrol.agent(current_caller(), host_id))


@router.post(
    "/api/v1/agents/<host_id>/revoke",
    summary="Revoke an agent's credentials",
    tags=TAGS,
    status_code=204,
    responses=problems(404),
)
@requires(Permission.AGENTS_MANAGE, audit="agent.revoke")
def revoke_agent(host_id: HostId) -> Response[None]:
    """Make every credential of the host worthless, within a minute everywhere; the host can be enrolled again."""
    container().enrol.revoke(current_caller(), host_id, now_ms())
    return no_content()


@router.post(
    "/api/v1/agents/<host_id>/retire",
    summary="Retire a host",
    tags=TAGS,
    status_code=204,
    responses=problems(404, 409),
)
@requires(Permission.AGENTS_MANAGE, audit="agent.retire")
def retire_agent(host_id: HostId) -> Response[None]:
    """Stop watching the host and end its credentials; its history stays."""
    container().enrol.retire(current_caller(), host_id, now_ms())
    return no_content()


@router.post(
    "/api/v1/agents/<host_id>/re-enrol",
    summary="Make a token that gives a host a new agent",
    tags=TAGS,
    status_code=201,
    responses=problems(404),
)
@requires(Permission.AGENTS_MANAGE, audit="enrolment_token.create")
def re_enrol_agent(host_id: HostId) -> Response[EnrolmentTokenCreated]:
    """Return a single-use token good for an hour; the host keeps its id and history, its old credentials end."""
    return _token_created(
        container().enrol.create_enrolment_token(current_caller(), now_ms(), name="re-enrol", host_id=host_id)
    )


@router.get("/api/v1/enrolment-tokens", summary="Enrolment tokens", tags=TAGS)
@requires(Permission.AGENTS_MANAGE, audit="enrolment_token.list")
def list_enrolment_tokens() -> EnrolmentTokens:
    """Return the tokens that can still be used, without their secrets."""
    found = container().enrol.enrolment_tokens(current_caller(), now_ms())
    return EnrolmentTokens(items=[EnrolmentTokenOut.model_validate(_token_fields(t)) for t in found])


@router.post("/api/v1/enrolment-tokens", summary="Make an enrolment token", tags=TAGS, status_code=201)
@requires(Permission.AGENTS_MANAGE, audit="enrolment_token.create")
def create_enrolment_token(body: EnrolmentTokenIn) -> Response[EnrolmentTokenCreated]:
    """Return a token, shown this once, and the line to paste on a machine."""
    return _token_created(
        container().enrol.create_enrolment_token(
            current_caller(),
            now_ms(),
            name=body.name,
            lifetime_ms=body.expires_in_s * 1000,
            max_uses=body.max_uses,
            labels=body.labels,
        )
    )


@router.delete(
    "/api/v1/enrolment-tokens/<token_id>",
    summary="Revoke an enrolment token",
    tags=TAGS,
    status_code=204,
    responses=problems(404),
)
@requires(Permission.AGENTS_MANAGE, audit="enrolment_token.revoke")
def revoke_enrolment_token(token_id: TokenId) -> Response[None]:
    """Make a token worthless."""
    container().enrol.revoke_enrolment_token(current_caller(), token_id, now_ms())
    return no_content()
