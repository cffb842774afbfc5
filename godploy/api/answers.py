"""What every answer has in common: errors as JSON, the headers of caution, an id for the log; and who may ask at all.

Middlewares, outermost first: `answered` turns whatever is raised into an answer, `expected_host` refuses names that are
not ours (a page elsewhere may point its own name at this machine), `encrypted` keeps tokens off plain connections,
`accepted` takes nothing that a version on trial could lose.
"""

from __future__ import annotations

import ipaddress
import logging
import secrets
from collections.abc import Awaitable, Callable
from functools import lru_cache
from urllib.parse import urlsplit

from aiohttp import web

from godploy.api.call import SERVICES
from godploy.core import naming
from godploy.core.failures import failure
from godploy.deploy.trial import OnTrial
from godploy.drivers.git_program import GitError
from godploy.errors import Forbidden, GodployError, NotFound, TooLarge, Unauthorized, Unavailable

logger = logging.getLogger(__name__)

_Next = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_ID = web.RequestKey("request_id", str)

_HEADERS = {
    "Server": "Godploy",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_POLICY = "default-src 'none'; frame-ancestors 'none'; form-action 'none'"

# Answered on plain http from anywhere: they carry no token, and a hook is signed.
_PLAIN = ("/hooks/", "/healthz", "/readyz", "/schemas/")


class UnknownHostError(GodployError):
    code = "unknown_host"
    status = 421


class MethodNotAllowedError(GodployError):
    code = "method_not_allowed"
    status = 405


class TooManyRequestsError(GodployError):
    code = "too_many_requests"
    status = 429
    retry = True


class BadRequestError(GodployError):
    code = "bad_request"
    status = 400


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """For `on_response_prepare`, so that streams have them, too."""
    response.headers.update(_HEADERS)
    response.headers["X-Request-Id"] = request.get(REQUEST_ID, "")
    response.headers.setdefault("Content-Security-Policy", _POLICY)  # the page with a form says where that goes
    response.headers.setdefault("Cache-Control", "no-store")


@web.middleware
async def answered(request: web.Request, handler: _Next) -> web.StreamResponse:
    request[REQUEST_ID] = secrets.token_hex(8)
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _refusal(request, _of_http(error))
    except GodployError as error:
        return _refusal(request, error)
    except GitError as error:
        return _refusal(request, failure(error.code, **error.facts))
    except ConnectionError:
        raise  # the other side has gone: nobody reads an answer
    except Exception:
        logger.exception("request %s: %s %s", request[REQUEST_ID], request.method, request.rel_url.raw_path)
        return _refusal(
            request,
            GodployError(
                "something went wrong in Godploy itself",
                next_step=f"look for request {request[REQUEST_ID]} in its log",
                fields={"request": request[REQUEST_ID]},
                code="internal",
            ),
        )


def _refusal(request: web.Request, error: GodployError) -> web.Response:
    if request.path.startswith("/git/"):  # git shows an error's text to its user, if it is plain
        text = f"{error.message}\n" + (f"next: {error.next_step}\n" if error.next_step else "")
        answer, scheme = web.Response(text=text, status=error.status), "Basic"
    else:
        answer, scheme = web.json_response({"error": error.to_json()}, status=error.status), "Bearer"
    if isinstance(error, Unauthorized):
        answer.headers["WWW-Authenticate"] = f'{scheme} realm="Godploy"'
    if isinstance(error, TooManyRequestsError | Unavailable):
        answer.headers["Retry-After"] = "5"
    return answer


def _of_http(error: web.HTTPException) -> GodployError:
    """What aiohttp refuses by itself, in our shape."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        return MethodNotAllowedError(
            f"{error.method} is not answered here; {', '.join(sorted(error.allowed_methods))} is"
        )
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        return TooLarge("the body is too large")
    if error.status == NotFound.status:
        return NotFound("there is nothing here")
    answer = BadRequestError(error.reason or "the request is malformed")
    answer.status = error.status
    return answer


@web.middleware
async def expected_host(request: web.Request, handler: _Next) -> web.StreamResponse:
    """An address as host is always fine: no other page can have it as its name."""
    given = request.headers.getall("Host", [])
    settings = request.app[SERVICES].settings
    names = {settings.host.lower(), "localhost", settings.listen_host.lower()}
    host = _hostname(given[0]) if len(given) == 1 else ""
    if host not in names and not naming.is_address(host):
        raise UnknownHostError("this server does not answer to that name", next_step=f"use {settings.url}")
    return await handler(request)


@lru_cache(maxsize=1000)
def _hostname(text: str) -> str:
    try:
        return (urlsplit(f"//{text}").hostname or "").removesuffix(".")
    except ValueError:
        return ""


@web.middleware
async def encrypted(request: web.Request, handler: _Next) -> web.StreamResponse:
    """Plain http for the API and git is for loopback only. Traefik stands on this machine and says whom it serves."""
    settings = request.app[SERVICES].settings
    from_here = _is_loopback(request.remote or "") or request.remote == settings.listen_host
    private = request.headers.get("X-Forwarded-Proto") == "https" or _is_loopback(client(request))
    if not (from_here and private) and not request.path.startswith(_PLAIN):
        raise Forbidden("plain http would show your token to the network", next_step=f"use {settings.url}")
    return await handler(request)


@web.middleware
async def accepted(request: web.Request, handler: _Next) -> web.StreamResponse:
    """While this version is on trial only what changes nothing is answered."""
    if request.app[SERVICES].trial.on and _changes_something(request):
        raise OnTrial
    return await handler(request)


def _changes_something(request: web.Request) -> bool:
    """A push begins with a GET, and a pull is a POST."""
    if request.path.startswith("/git/"):
        return "git-receive-pack" in (request.query.get("service"), request.path.rpartition("/")[2])
    return request.method not in ("GET", "HEAD")


def client(request: web.Request) -> str:
    """The address of whom we answer: behind Traefik, which alone reaches us from this machine, the one it saw."""
    remote = request.remote or ""
    forwarded = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    return forwarded if forwarded and _is_loopback(remote) else remote


@lru_cache(maxsize=1000)
def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False
