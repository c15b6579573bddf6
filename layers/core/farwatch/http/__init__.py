"""The HTTP house: what every API function shares, so that a route is a declaration and one call into a use case.

A route module makes a Powertools ``Router`` and says, per route, who may call it::

    router = Router()

    @router.get("/api/v1/hosts/<host_id>", summary="One host", tags=["hosts"], responses=problems(404))
    @requires(Permission.HOSTS_READ)
    def get_host(host_id: str) -> HostOut: ...

``create_api`` assembles the routers; it refuses to start when a route does not say who may call it.
"""
