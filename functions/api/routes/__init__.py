"""Route modules, one per subject. Each has a ``router``; this list is the whole API."""

from functions.api.routes import (
    agents,
    audit,
    auth,
    health,
    hosts,
    metrics,
    problems,
    rules,
    tickets,
    tokens,
    users,
)

ROUTERS = (
    agents.router,
    audit.router,
    auth.router,
    health.router,
    hosts.router,
    metrics.router,
    problems.router,
    rules.router,
    tickets.router,
    tokens.router,
    users.router,
)
