"""Route modules, one per subject. Each has a ``router``; this list is the whole API."""

from functions.api.routes import agents, audit, auth, health, problems, tickets, tokens, users

ROUTERS = (
    agents.router,
    audit.router,
    auth.router,
    health.router,
    problems.router,
    tickets.router,
    tokens.router,
    users.router,
)
