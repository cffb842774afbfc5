"""The application: routes as data, each behind its guard, with what every answer has in common around them."""

from __future__ import annotations

from aiohttp import web

from godploy.api import answers, git_remote, hooks, pages
from godploy.api.call import SERVICES
from godploy.api.guard import guarded
from godploy.api.push import PUSHES, Pushes
from godploy.api.routes import ROUTES
from godploy.core import schema
from godploy.deploy.services import Services

BODY_LIMIT = 1024 * 1024  # hooks and git read their own bodies, with their own limits


def build(services: Services) -> web.Application:
    """Raises ValueError for a route without a permission, or one that the contract does not have. Reads files."""
    app = web.Application(
        middlewares=[answers.answered, answers.expected_host, answers.encrypted, answers.accepted],
        client_max_size=BODY_LIMIT,
    )
    app[SERVICES] = services
    app[PUSHES] = Pushes(services)
    hooks.prepare(app)
    app.router.add_routes([guarded(route) for route in ROUTES])
    git_remote.add_routes(app)
    app.router.add_get("/deployments/{deployment}", pages.deployment_page)
    app.router.add_get("/pulls/{pull}", pages.pull_page)
    app.router.add_get("/{path:.*}", pages.page)
    app.on_response_prepare.append(answers.add_headers)
    schema.document()  # read here rather than by the first who asks
    return app
