"""Every problem ``code`` the API can answer with, in words: what happened and what to do.

``GET /api/v1/problems/{code}`` serves this table, so a problem's ``type`` is an address that exists; ``docs/errors.md``
is printed from it, and a test finds every code that is raised anywhere and not explained here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProblemType:
    """``title`` is the short constant text of RFC 9457; ``advice`` says what the caller can do about it."""

    status: int
    title: str
    advice: str


PROBLEM_TYPES: dict[str, ProblemType] = {
    # The request itself
    "bad_request": ProblemType(400, "Bad request", "Correct the request; repeating it will not help."),
    "invalid_body": ProblemType(400, "Unreadable body", "Send the body as its headers say it is encoded."),
    "invalid_json": ProblemType(
        400, "Not acceptable JSON", "Send UTF-8 JSON, nested at most 32 levels, without NaN or repeated keys."
    ),
    "invalid_cursor": ProblemType(
        400, "Cursor of another list", "Start again without the cursor, and keep the filters while paging."
    ),
    "invalid_input": ProblemType(422, "Invalid input", "Correct the fields named in errors."),
    "invalid_id": ProblemType(422, "Malformed identifier", "Use identifiers as the API returned them."),
    "not_found": ProblemType(
        404, "Not found", "Check the identifier; it may have been deleted, or you may not know of it."
    ),
    "method_not_allowed": ProblemType(
        405, "Method not allowed", "Use one of the methods in the Allow header."
    ),
    "unsupported_media_type": ProblemType(415, "Unsupported media type", "Send application/json."),
    "too_large": ProblemType(413, "Body too large", "Split the request; the limit is in the detail."),
    "conflict": ProblemType(409, "Conflict with the present state", "Read the thing again and decide anew."),
    "version_conflict": ProblemType(
        412, "Changed by somebody else", "Read it again and repeat the change with the new ETag."
    ),
    # Batches of agents
    "invalid_batch": ProblemType(
        400, "Batch not readable", "Correct the field in errors; sending the same batch again will not help."
    ),
    "host_mismatch": ProblemType(
        403, "Batch of another host", "Enrol this machine: its credential belongs to another host."
    ),
    "agents_only": ProblemType(403, "Only for agents", "Samples are brought with an agent's credential."),
    "agent_not_packaged": ProblemType(
        404,
        "No agent to hand out",
        "Package the back end with ./farwatch up or sam build, which put the agent in.",
    ),
    "unknown_host": ProblemType(404, "Unknown host", "Check the id; the host may have been retired."),
    "unknown_rule": ProblemType(404, "Unknown rule", "Check the id; the rule may have been deleted."),
    "no_forecast": ProblemType(
        422, "No forecast possible", "The detail says what is missing, mostly more history; try again later."
    ),
    "unknown_forecast": ProblemType(404, "Unknown forecast", "Check the id; forecasts are kept for 90 days."),
    "unknown_scan": ProblemType(
        404, "Unknown scan", "Check the id; the newest 20 scans of each target are kept."
    ),
    "unknown_anomaly": ProblemType(404, "Unknown anomaly", "Check the id."),
    "no_verdict": ProblemType(404, "No verdict to take back", "Nobody has judged this anomaly."),
    # Idempotency
    "idempotency_key_invalid": ProblemType(
        422, "Idempotency key not usable", "Use 1–128 visible ASCII characters, for example a UUID."
    ),
    "idempotency_key_reused": ProblemType(
        422, "Idempotency key used for another request", "Use a new key for a new request."
    ),
    "idempotency_in_progress": ProblemType(
        409, "The same request is being served", "Repeat it after Retry-After seconds."
    ),
    # Who is asking
    "unauthenticated": ProblemType(401, "Sign in first", "Send Authorization: Bearer with a credential."),
    "credential_malformed": ProblemType(
        401,
        "Not a credential of ours",
        "Send an access token, an API token (fwt_…) or an agent credential (fwa_…).",
    ),
    "credential_invalid": ProblemType(401, "Credential not valid", "Sign in again, or ask for a new token."),
    "credential_expired": ProblemType(
        401, "Credential expired", "Refresh the access token, or sign in again."
    ),
    "credential_revoked": ProblemType(
        401, "Credential revoked", "Sign in again, or ask an administrator for a new credential."
    ),
    "credential_superseded": ProblemType(
        401,
        "Credential renewed by another holder",
        "Enrol the machine again; if nobody restored an old copy of it, somebody else has its credential.",
    ),
    "login_failed": ProblemType(
        401, "E-mail or password wrong", "Try again; after several failures you have to wait."
    ),
    "refresh_refused": ProblemType(401, "Refresh token not valid", "Sign in again."),
    "refresh_reused": ProblemType(
        401,
        "Refresh token used twice",
        "The session was ended for safety: sign in again and change the password if this was not you.",
    ),
    "sso_refused": ProblemType(401, "Identity token not accepted", "Sign in at the identity provider again."),
    "sso_spent": ProblemType(
        401, "Identity token used before", "It signs in once: sign in at the identity provider again."
    ),
    "sso_not_configured": ProblemType(
        409, "Single sign-on is not configured", "Set OIDC_ISSUER and OIDC_CLIENT_ID."
    ),
    "enrolment_refused": ProblemType(
        401, "Enrolment token not valid", "Make a new enrolment token in the admin page."
    ),
    "token_spent": ProblemType(
        401, "One-time token not valid", "Ask for a new one: it was used, has expired or never existed."
    ),
    # What may be done
    "forbidden": ProblemType(403, "Not allowed", "Ask an administrator."),
    "permission_missing": ProblemType(
        403,
        "Permission missing",
        "Ask an administrator for a role or scope with the permission in the detail.",
    ),
    "people_only": ProblemType(403, "Only for people", "Sign in as a person; machines may not do this."),
    "not_yours": ProblemType(403, "Not yours", "You may do this to your own things only."),
    "scope_too_wide": ProblemType(
        403, "Scope wider than your own rights", "Choose scopes that you hold yourself."
    ),
    "last_admin": ProblemType(
        409, "The last administrator stays", "Make somebody else an administrator first."
    ),
    "already_exists": ProblemType(
        409, "Already exists", "Choose another name or address, or change the existing one."
    ),
    "password_unfit": ProblemType(
        422, "Password not good enough", "Use 12 or more characters that are not easily guessed."
    ),
    # Messages between the functions
    "unreadable_message": ProblemType(
        422, "Unreadable message", "A queue holds a message of another kind; look at the dead letters."
    ),
    "unknown_message": ProblemType(
        422, "Unknown kind of message", "A function is older than the one that wrote the message: deploy it."
    ),
    "host_retired": ProblemType(409, "Host is retired", "Enrol the host again."),
    # Incidents, channels and live views
    "unknown_incident": ProblemType(404, "Unknown incident", "Check the id; old incidents are deleted."),
    "unknown_delivery": ProblemType(404, "Unknown delivery", "Check the id."),
    "unknown_notification": ProblemType(404, "Unknown notification", "Check the id; it must be your own."),
    "unknown_channel": ProblemType(
        404, "Unknown channel", "Check the id; the channel may have been deleted."
    ),
    "unknown_user": ProblemType(404, "Unknown person", "Check the id; the person may have been removed."),
    "already_acknowledged": ProblemType(409, "Already acknowledged", "The detail says who is on it."),
    "incident_resolved": ProblemType(409, "The incident is resolved", "Only comments can be added to it."),
    "one_mail_server": ProblemType(409, "There is a mail server already", "Change that channel instead."),
    "not_redrivable": ProblemType(
        409,
        "Nothing to try again",
        "Only failed, dead and suppressed deliveries can be tried again, and none once the recipient was told of the end.",
    ),
    "bad_channel": ProblemType(422, "The channel cannot work so", "Correct the settings named in errors."),
    "bad_webhook_address": ProblemType(
        500,
        "A webhook address cannot be used",
        "Enter the address of the channel again: https, without credentials.",
    ),
    "sealed_elsewhere": ProblemType(
        500,
        "A stored secret does not open",
        "Enter it again, or restore the secrets document it was stored under.",
    ),
    "bad_ticket": ProblemType(401, "Ticket not good", "Get a new ticket: each is good once, for a minute."),
    "topic_forbidden": ProblemType(403, "Topic not allowed", "Your role may not follow this topic."),
    "unknown_action": ProblemType(422, "Unknown action", "Send subscribe or ping."),
    "not_json": ProblemType(422, "Not a JSON object", "Send one JSON object per message."),
    "bad_topics": ProblemType(422, "Topics not usable", "Send a list of topic names."),
    "bad_after": ProblemType(422, "Not a sequence number", "Send the last number you have seen, or 0."),
    # Too much, too fast, or not now
    "rate_limited": ProblemType(429, "Too many requests", "Wait Retry-After seconds."),
    "misconfigured": ProblemType(
        500, "The service is misconfigured", "Tell the operator; the log names the setting."
    ),
    "dependency_failed": ProblemType(503, "A dependency failed", "Try again later."),
    "dependency_unavailable": ProblemType(
        503, "A dependency is unavailable", "Try again after Retry-After seconds."
    ),
    "dependency_rejected": ProblemType(
        502, "A dependency refused", "Trying again will not help; see the detail."
    ),
    "internal": ProblemType(
        500, "Something went wrong here", "Tell the operator the request id in instance."
    ),
}
