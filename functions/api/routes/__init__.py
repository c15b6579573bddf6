"""Route modules, one per subject. Each has a ``router``; this list is the whole API."""

from functions.api.routes import health, problems

ROUTERS = (
    health.router,
    problems.router,
)
