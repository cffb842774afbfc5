"""The pages that a browser sees on its way to a provider and back. They hold nothing but text, and one form."""

from __future__ import annotations

from html import escape
from urllib.parse import urlsplit

from aiohttp import web

from godploy.api.call import Call
from godploy.core.problems import printable
from godploy.deploy.hosting import consenting
from godploy.errors import GodployError
from godploy.providers import HOSTS

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title} · Godploy</title>
<h1>{title}</h1>
{body}
</html>
"""
_ANSWERED = """<p>{account} at {provider} has agreed. Type this code in the terminal that asked for it:</p>
<p><strong id="code">{code}</strong></p>
<p>If somebody else sent you here, do not give it to them: whoever has it can read and change what {account} can.</p>
"""
_INSTALL = '<p>Then <a href="{url}" rel="noreferrer">install the app on your repositories</a>.</p>\n'
_FORM = """<p>GitHub will show the app, which will be yours. It may read code, and set hooks and statuses.</p>
<form method="post" action="{action}">
<input type="hidden" name="manifest" value="{manifest}">
<button>Make the GitHub App</button>
</form>
"""


async def oauth_callback(call: Call) -> web.Response:
    given = call.given
    error = printable(given["error_description"] or given["error"])
    try:
        found = await consenting.answer(call.services, given["provider"], given["state"], given["code"], error)
    except GodployError as trouble:
        return _refused(trouble)
    body = _ANSWERED.format(account=escape(found.account), provider=escape(found.title), code=escape(found.code))
    if found.install_url is not None:
        body += _INSTALL.format(url=escape(found.install_url))
    return _page("One step is left", body)


async def github_app_form(call: Call) -> web.Response:
    form = await consenting.app_form(call.services, call.given["state"])
    if form is None:
        return _page("This address was used already, or is too old", "<p>Begin anew in the terminal.</p>", status=422)
    action, manifest = form
    answer = _page("Connect GitHub", _FORM.format(action=escape(action), manifest=escape(manifest)))
    parts = urlsplit(action)
    answer.headers["Content-Security-Policy"] = (
        f"default-src 'none'; frame-ancestors 'none'; form-action {parts.scheme}://{parts.netloc}"
    )
    return answer


async def github_app_installed(call: Call) -> web.Response:
    title = HOSTS["github"].title
    return _page(f"The app is installed at {title}", "<p>The terminal goes on by itself; this page can be closed.</p>")


def _refused(trouble: GodployError) -> web.Response:
    next_step = f"<p>next: {escape(trouble.next_step)}</p>" if trouble.next_step else ""
    return _page("Not connected", f"<p>{escape(trouble.message)}</p>{next_step}", status=trouble.status)


def _page(title: str, body: str, status: int = 200) -> web.Response:
    text = _PAGE.format(title=escape(title), body=body)
    return web.Response(text=text, content_type="text/html", status=status, headers={"Cache-Control": "no-store"})
