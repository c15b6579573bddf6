"""Route modules, one per subject. Each has a ``router``; this list is the whole API."""

from functions.api.routes import (
    agents,
    audit,
    auth,
    channels,
    deliveries,
    health,
    hosts,
    incidents,
    metrics,
    notifications,
    preferences,
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
    channels.router,
    deliveries.router,
    health.router,
    hosts.router,
    incidents.router,
    metrics.router,
    notifications.router,
    preferences.router,
    problems.router,
    rules.router,
    tickets.router,
    tokens.router,
    users.router,
)
