"""GitHub Apps as GitHub plays them: made of a manifest, installed, and proven by a key."""

from __future__ import annotations

import asyncio
import json
import secrets as random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.providers.fakes.base import Call, Fake
from tests.providers.fakes.github_shapes import Shapes
from tests.providers.fakes.state import NotApproved, Refused, Repository, Token, User

_CODE_LIFE, _TOKEN_LIFE = 3600.0, 3600.0  # seconds


@dataclass(eq=False)
class PlayedApp:
    id: int
    slug: str
    owner: User
    manifest: dict[str, Any]
    key: rsa.RSAPrivateKey = field(repr=False)

    @property
    def permissions(self) -> dict[str, str]:
        found: dict[str, str] = self.manifest.get("default_permissions", {})
        return found


@dataclass(eq=False)
class PlayedInstallation:
    id: int
    app: PlayedApp
    account: User
    repositories: set[int]


class Apps(Fake, Shapes):
    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.apps: dict[str, PlayedApp] = {}
        self.installations: dict[int, PlayedInstallation] = {}
        self.installation_of: dict[str, PlayedInstallation] = {}  # by token
        self._manifest_codes: dict[str, tuple[PlayedApp, float]] = {}

    def app_routes(self) -> None:
        for method, path, answer in (
            ("POST", "/app-manifests/{code}/conversions", self._convert),
            ("GET", "/app", self._app),
            ("GET", "/app/installations", self._installations),
            ("POST", "/app/installations/{id}/access_tokens", self._access_token),
            ("GET", "/installation/repositories", self._installed),
        ):
            self.route(method, f"/api/v3{path}", answer)

    # A person in a browser

    def create_app(self, form_action_url: str, manifest_json: str, user: User) -> str:
        """Where the browser is sent when the user presses the button. Raises NotApproved."""
        parts, manifest = urlsplit(form_action_url), json.loads(manifest_json)
        state = parse_qs(parts.query).get("state", [""])[0]
        owner, _, below = parts.path.removeprefix(f"{self.prefix}/").rpartition("settings/apps/new")
        organization = owner.removeprefix("organizations/").strip("/")
        slug = "-".join(manifest.get("name", "").lower().replace(".", " ").split())
        problems = {
            "it is not the page": not form_action_url.startswith(f"{self.base}/") or bool(below),
            "there is no such organization": bool(organization) and organization not in self.users,
            "there is no state": not state,
            "the name is missing, too long or taken": not slug or len(manifest["name"]) > 34 or slug in self.apps,
            "addresses are missing": not (manifest.get("url") and manifest.get("redirect_url")),
            "the hook has no address": "hook_attributes" in manifest and not manifest["hook_attributes"].get("url"),
        }
        found = [problem for problem, there in problems.items() if there]
        if found:
            raise NotApproved("; ".join(found))
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        app = PlayedApp(self.new_id(), slug, self.users[organization] if organization else user, manifest, key)
        self.apps[slug] = app
        code = random.token_hex(20)
        self._manifest_codes[code] = app, self.now() + _CODE_LIFE
        return f"{manifest['redirect_url']}?{urlencode({'code': code, 'state': state})}"

    def install_app(self, slug: str, user: User, repositories: Sequence[Repository]) -> str:
        """Where the browser is sent when the user has installed it for these."""
        app = self.apps[slug]
        made = PlayedInstallation(self.new_id(), app, user, {each.id for each in repositories})
        self.installations[made.id] = made
        query = urlencode({"installation_id": made.id, "setup_action": "install"})
        return f"{app.manifest['setup_url']}?{query}"

    def uninstall_app(self, slug: str) -> None:
        for each in [each for each in self.installations.values() if each.app.slug == slug]:
            del self.installations[each.id]
            for text, installation in self.installation_of.items():
                if installation is each:
                    self.revoke(text)

    # The API

    def app_of(self, text: str) -> Token | None:
        """The App that signed a JSON web token, as a token of the kind "app"; None where it is no such thing."""
        if text.count(".") != 2:
            return None
        try:
            issuer = str(jwt.decode(text, options={"verify_signature": False}).get("iss"))
            app = next(each for each in self.apps.values() if issuer in (str(each.id), f"Iv{each.id}"))
            claims = jwt.decode(
                text, app.key.public_key(), algorithms=["RS256"], options={"require": ["exp", "iat", "iss"]}
            )
        except (jwt.PyJWTError, StopIteration) as error:
            raise Refused(401, {"message": "A JSON web token could not be decoded"}) from error
        if claims["exp"] > self.now() + 600:
            raise Refused(401, {"message": "'Expiration time' claim ('exp') is too far in the future"})
        return Token(app.slug, None, None, "app")

    def _asking_app(self, call: Call) -> PlayedApp:
        if call.token is None or call.token.kind != "app":
            raise Refused(401, {"message": "A JSON web token could not be decoded"})
        return self.apps[call.token.text]

    async def _convert(self, call: Call) -> web.Response:
        app, until = self._manifest_codes.pop(call.path["code"], (None, 0.0))
        if app is None or until <= self.now():
            raise self.not_found()
        form = serialization.PrivateFormat.TraditionalOpenSSL
        encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        pem = await asyncio.to_thread(app.key.private_bytes, encoding, form, plain)
        secrets = {"client_id": f"Iv{app.id}", "client_secret": random.token_hex(20), "webhook_secret": None}
        return web.json_response({**self._app_tree(app), **secrets, "pem": pem.decode()}, status=201)

    def _app_tree(self, app: PlayedApp) -> dict[str, Any]:
        named = {"id": app.id, "slug": app.slug, "owner": self.user_tree(app.owner), "name": app.manifest["name"]}
        addresses = {"external_url": app.manifest["url"], "html_url": f"{self.base}/github-apps/{app.slug}"}
        return {**named, **addresses, "permissions": app.permissions, "events": app.manifest["default_events"]}

    async def _app(self, call: Call) -> web.Response:
        return web.json_response(self._app_tree(self._asking_app(call)))

    async def _installations(self, call: Call) -> web.Response:
        app = self._asking_app(call)
        found = [each for each in self.installations.values() if each.app is app]
        trees = [{"id": each.id, "account": self.user_tree(each.account), "suspended_at": None} for each in found]
        return web.json_response(trees)

    async def _access_token(self, call: Call) -> web.Response:
        app, found = self._asking_app(call), self.installations.get(int(call.path["id"]))
        if found is None or found.app is not app:
            raise self.not_found()
        text, ends_at = self.new_text("installation"), self.now() + _TOKEN_LIFE
        self.tokens[text] = Token(text, None, None, "installation", ends_at, repositories=found.repositories)
        self.installation_of[text] = found
        until = datetime.fromtimestamp(ends_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        tree = {"token": text, "expires_at": until, "permissions": app.permissions, "repository_selection": "selected"}
        return web.json_response(tree, status=201)

    async def _installed(self, call: Call) -> web.Response:
        if call.token is None or call.token.kind != "installation":
            message = "You must authenticate with an installation access token in order to list repositories"
            raise Refused(403, {"message": message})
        found = [each for each in self.repositories.values() if each.id in (call.token.repositories or ())]
        trees = [self.repository_tree(each, call.token) for each in found]
        return web.json_response({"total_count": len(trees), "repositories": trees})
