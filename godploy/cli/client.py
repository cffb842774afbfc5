"""Talks to a server's API: JSON answers and streams of events, over https with a certificate that is known.

The standard library's http.client is enough for that and costs a fifth of aiohttp's start: a command line is started
often and makes one or two requests. Every failure becomes a sentence with a next step.
"""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import json
import socket
import ssl
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from godploy import __version__
from godploy.errors import GodployError, Invalid, Unauthorized, Unavailable

_CONNECT_TIMEOUT = 15.0
_ANSWER_TIMEOUT = 60.0
_SILENCE = 60.0  # seconds without a byte on a stream; the server sends a heartbeat every 15
_DEFAULT_PORTS = {"https": 443, "http": 80}


class UnknownCertificateError(GodployError):
    """The server's certificate is signed by nobody that this machine trusts, and none was pinned."""

    code = "certificate_unknown"


class OtherHostError(GodployError):
    """The server's certificate is for another host than the one in the address."""

    code = "certificate_other_host"


class ChangedCertificateError(GodployError):
    """The server shows another certificate than the one that was pinned."""

    code = "certificate_changed"


class StreamBrokenError(Unavailable):
    """A stream ended before its last event; what it told about may well go on."""

    code = "stream_broken"


@dataclass(frozen=True, slots=True)
class Happening:
    """One event of a stream."""

    kind: str
    data: dict[str, Any]


def normal(url: str) -> str:
    """A server's address as it is stored and compared: scheme, host in lower case, port unless it is the default.

    Raises Invalid for what is no such address, and for plain http to anywhere but this machine.
    """
    text = url.strip()
    if "://" not in text:
        text = f"https://{text}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
        parts = urlsplit("")
    if parts.scheme not in _DEFAULT_PORTS or not host or parts.username or parts.query or parts.path.strip("/"):
        raise Invalid(f'"{url}" is not the address of a server', next_step="write it as https://HOST[:PORT]")
    if parts.scheme == "http" and not is_loopback(host):
        raise Invalid(
            f"{url} is plain http, which would show your token to the network",
            next_step=f"write https://{host}, or reach the server through a tunnel on localhost",
        )
    shown = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{shown}" + ("" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Client:
    """A server, a token for it and, where nobody vouches for its certificate, the one that was pinned (PEM text)."""

    def __init__(self, url: str, token: str | None = None, certificate: str | None = None) -> None:
        self.url = normal(url)
        self._token = token
        self._pinned = certificate

    def get(self, *path: str, **query: Any) -> Any:
        return self.call("GET", *path, query=query)

    def post(self, *path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self.call("POST", *path, body=body)

    def put(self, *path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self.call("PUT", *path, body=body)

    def delete(self, *path: str, **query: Any) -> Any:
        return self.call("DELETE", *path, query=query)

    def call(
        self,
        method: str,
        *path: str,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        timeout: float = _ANSWER_TIMEOUT,
    ) -> Any:
        """The JSON answer of `/api/v1/…`, None for an empty one. Path parts are escaped, query values of None left out;
        `timeout` is in seconds.

        Raises the GodployError that the server told, Unauthorized, and what `reach` raises.
        """
        with closing(self._connection()) as connection:
            try:
                response = self._ask(connection, method, _address(path, query), body, timeout)
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from error
        return self._answer(response, content)

    def stream(
        self, method: str, *path: str, query: Mapping[str, Any] | None = None, body: Mapping[str, Any] | None = None
    ) -> Iterator[Happening]:
        """The events of a stream, as they come. Raises StreamBrokenError where it breaks off, else as `call` does."""
        with closing(self._connection()) as connection:
            try:
                response = self._ask(connection, method, _address(path, query), body, _SILENCE)
                content = response.read() if response.status >= 300 else b""
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from error
            if response.status >= 300:
                self._answer(response, content)
            try:
                yield from _events(response)
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise StreamBrokenError(f"the connection to {self.url} broke off ({_why(error)})") from error

    def reach(self) -> None:
        """Only connects, and checks the certificate. Raises Unavailable, UnknownCertificateError,
        ChangedCertificateError or OtherHostError."""
        with closing(self._connection()) as connection:
            try:
                connection.connect()
            except (OSError, http.client.HTTPException) as error:
                raise self._unreachable(error) from error

    def _connection(self) -> http.client.HTTPConnection:
        return _connection(self.url, lambda: trusting(self._pinned))

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        address: str,
        body: Mapping[str, Any] | None,
        timeout: float,
    ) -> http.client.HTTPResponse:
        headers = {"Accept": "application/json, text/event-stream", "User-Agent": f"godploy/{__version__}"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        connection.connect()
        connection.sock.settimeout(timeout)
        connection.request(method, address, content, headers)
        return connection.getresponse()

    def _answer(self, response: http.client.HTTPResponse, content: bytes) -> Any:
        try:
            data = json.loads(content) if content else None
        except ValueError:
            data, content = None, b"?"
        if response.status < 300 and (data is not None or not content):
            return data
        if response.status == 401:
            raise Unauthorized(
                f"{self.url} does not accept your token: it expired, was revoked, or belongs to another server",
                next_step=f"godploy login {self.url}",
            )
        if isinstance(data, dict) and isinstance(data.get("error"), dict):
            raise told(data["error"])
        raise Unavailable(
            f"{self.url} answered {response.status} without a word of Godploy's",
            next_step="check the address; if it is right, the server behind it is not running",
        )

    def _unreachable(self, error: Exception) -> GodployError:
        if not isinstance(error, ssl.SSLCertVerificationError):
            return _silent(self.url, error)
        if error.verify_code in (62, 64):  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
            return OtherHostError(
                f"the certificate of {self.url} is for another host ({error.verify_message})",
                next_step="use an address that the server knows as its own: GODPLOY_URL, its IP address, or localhost",
            )
        if self._pinned is None:
            return UnknownCertificateError(
                f"the certificate of {self.url} is not known to this machine ({error.verify_message})",
                next_step=f"godploy login {self.url} shows it to you and remembers it",
            )
        return ChangedCertificateError(
            f"THE CERTIFICATE OF {self.url} HAS CHANGED since you pinned it. "
            "Either the server was set up anew, or somebody stands between you and it. Nothing was sent.",
            next_step="compare the fingerprint with the one that the server's installer printed: "
            f"godploy login {self.url} --fingerprint SHA256",
        )


def told(error: Mapping[str, Any]) -> GodployError:
    """The error that a server described in JSON, as if it had been raised here."""
    kind = Unavailable if error.get("retry") else GodployError
    return kind(
        str(error.get("message", "the server told no reason")),
        next_step=str(error.get("next_step") or ""),
        fields=error.get("fields") or {},
        code=str(error.get("code", "error")),
    )


def trusting(certificate: str | None) -> ssl.SSLContext:
    """What this machine trusts or, given one, exactly that certificate (PEM) and nothing else; the host counts in
    both. A pinned certificate need not be an authority's."""
    if certificate is None:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=certificate)
    return context


def shown_certificate(url: str) -> str:
    """The certificate that the server at `url` shows, unchecked, as PEM. Raises Unavailable. For https only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only looked at: nothing is sent, and a person compares the fingerprint
    with closing(_connection(normal(url), lambda: context)) as connection:
        try:
            connection.connect()
            assert isinstance(connection.sock, ssl.SSLSocket)
            found = connection.sock.getpeercert(binary_form=True)
        except (OSError, http.client.HTTPException) as error:
            raise _silent(url, error) from error
    assert found is not None  # a TLS server always shows one
    return ssl.DER_cert_to_PEM_cert(found)


def fingerprint(certificate: str) -> str:
    """SHA-256 of a PEM certificate, in pairs of hexadecimal digits as `openssl x509 -fingerprint` writes it."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).digest().hex(":").upper()


def _connection(url: str, context: Callable[[], ssl.SSLContext]) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    if parts.scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=_CONNECT_TIMEOUT)
    proxy = _proxy(host)
    if proxy is None:
        return http.client.HTTPSConnection(host, port, timeout=_CONNECT_TIMEOUT, context=context())
    connection = http.client.HTTPSConnection(*proxy, timeout=_CONNECT_TIMEOUT, context=context())
    connection.set_tunnel(host, port)
    return connection


def _silent(url: str, error: Exception) -> Unavailable:
    return Unavailable(
        f"{url} does not answer ({_why(error)})",
        next_step="check that the server is running and, for an address on localhost, that your tunnel is open",
    )


def _address(path: tuple[str, ...], query: Mapping[str, Any] | None) -> str:
    address = "/api/v1/" + "/".join(quote(str(part), safe="") for part in path)
    given = {
        key: str(value).lower() if isinstance(value, bool) else value
        for key, value in (query or {}).items()
        if value is not None
    }
    return address + (f"?{urlencode(given)}" if given else "")


def _proxy(host: str) -> tuple[str, int] | None:
    """The proxy for https that the environment names; never for this machine itself."""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    named = urllib.request.getproxies().get("https")
    if not named:
        return None
    parts = urlsplit(named if "://" in named else f"http://{named}")
    return (parts.hostname, parts.port or 3128) if parts.hostname else None


def _events(response: http.client.HTTPResponse) -> Iterator[Happening]:
    """Server-sent events, as far as the API uses them: https://html.spec.whatwg.org/multipage/server-sent-events.html"""
    kind, data = "message", list[str]()
    while raw := response.readline():
        line = raw.decode(errors="replace").rstrip("\r\n")
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield Happening(kind, json.loads("\n".join(data)))
            kind, data = "message", []
        elif field == "event":
            kind = value
        elif field == "data":
            data.append(value)


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "no such host"
    if isinstance(error, http.client.HTTPException):
        return "no whole answer"
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
