"""Questions and answers as all providers have them: JSON sent, JSON read, refusals told in words."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Generator, Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from godploy.errors import Invalid
from godploy.providers.protocol import ProviderError, Request, Response, Talk, Trouble, parts

_LONGEST = 300  # characters of a provider's words that are repeated
_DEEPEST = 5  # levels of an error's body that are read; what is deeper was not written for people
_MOST_LOOKED = 1000  # places of it in all
_MOST_NAMES = 100  # of a level, where none is one of the usual
_MOST_PARTS = 2_000_000  # of a delivery, whose largest has that many in no honest way
_LONGEST_WAIT = 3600.0  # seconds; who asks for more is asked again all the same
_LINK = re.compile(r'<([^<>]+)>\s*;\s*rel="next"')
_TROUBLES = {
    400: Trouble.INVALID,
    401: Trouble.CREDENTIAL,
    403: Trouble.FORBIDDEN,
    404: Trouble.MISSING,
    409: Trouble.INVALID,
    410: Trouble.MISSING,
    422: Trouble.INVALID,
    423: Trouble.FORBIDDEN,
    429: Trouble.BUSY,
}


def asking(method: str, url: str, tree: Any = None, headers: Mapping[str, str] | None = None) -> Request:
    """A request with, where there is one, a JSON body."""
    body = b"" if tree is None else json.dumps(tree).encode()
    typed = {"Content-Type": "application/json"} if body else {}
    return Request(method, url, body, {"Accept": "application/json", **typed, **(headers or {})})


def posting(url: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Request:
    """A form, sent without the connection's credential: what OAuth's token endpoints take."""
    typed = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    return Request("POST", url, urlencode(fields).encode(), {**typed, **(headers or {})}, anonymous=True)


def answered(request: Request, title: str, also: Collection[int] = ()) -> Talk[Response]:
    """The answer, if it is a good one or its status is among `also`. Raises ProviderError otherwise."""
    response = yield request
    if 200 <= response.status < 300 or response.status in also:
        return response
    raise refusal(response, title)


def tree(request: Request, title: str) -> Generator[Request, Response, Any]:
    """The JSON of a good answer. Raises ProviderError."""
    response = yield from answered(request, title)
    found = response.tree()
    if found is None:
        raise ProviderError(Trouble.DOWN, f"{title} answered something that is no JSON; is the address right?")
    return found


def next_page(response: Response) -> str | None:
    """Where the next page is, by the `Link` header: https://www.rfc-editor.org/rfc/rfc8288"""
    found = _LINK.search(response.headers.get("link", ""))
    return found[1] if found else None


def refusal(response: Response, title: str) -> ProviderError:
    """What a bad answer means. 403 is "busy" where it says when to come back."""
    wait = waiting(response)
    trouble = _TROUBLES.get(response.status, Trouble.DOWN if response.status >= 500 else Trouble.INVALID)
    if trouble is Trouble.FORBIDDEN and wait is not None:
        trouble = Trouble.BUSY
    said = words(response.tree())
    return ProviderError(trouble, f"{title} answered {response.status}" + (f": {said}" if said else ""), wait=wait)


def waiting(response: Response) -> float | None:
    """Seconds that the answer asks to be left alone for; the form with a date is not used by any provider here."""
    text = response.headers.get("retry-after", "")
    return min(float(text), _LONGEST_WAIT) if re.fullmatch(r"[0-9]{1,6}", text) else None


def words(found: Any) -> str:
    """What an error's body says, in one line: `message`, `error_description` or `error`, with what belongs to it."""
    return _words(found, _DEEPEST, iter(range(_MOST_LOOKED)))


def _words(found: Any, depth: int, left: Iterator[int]) -> str:
    """`left`: how many more places are looked at, since a body may be written to be looked at often."""
    if depth < 0 or next(left, None) is None:
        return ""
    if isinstance(found, Mapping):
        parts = [
            _words(found.get(name), depth - 1, left)
            for name in ("message", "error_description", "error", "errors", "detail")
        ]
        text = "; ".join(dict.fromkeys(part for part in parts if part))
        if not text:
            named = (
                (name, _words(value, depth - 1, left))
                for name, value in islice(found.items(), _MOST_NAMES)
                if name not in ("type", "documentation_url")
            )
            text = "; ".join(f"{name}: {part}" for name, part in named if part)
    elif isinstance(found, list):
        said = (_words(each, depth - 1, left) for each in found[:5])
        text = "; ".join(part for part in said if part)
    else:
        text = found if isinstance(found, str) else ""
    return "".join(character if character.isprintable() else " " for character in text[:_LONGEST]).strip()


def payload(body: bytes) -> Mapping[str, Any]:
    """A delivery's JSON object. Raises Invalid."""
    if parts(body) > _MOST_PARTS:
        raise Invalid(f"the delivery has more than {_MOST_PARTS} values")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Invalid(
            "the delivery is no JSON", next_step='set the hook\'s content type to "application/json"'
        ) from error
    if not isinstance(found, dict):
        raise Invalid("the delivery is no JSON object")
    return found


def at(found: Any, *path: str | int) -> Any:
    """What stands at a path of a tree that anybody may have written; None where there is nothing."""
    for step in path:
        if isinstance(step, str) and isinstance(found, Mapping):
            found = found.get(step)
        elif isinstance(step, int) and isinstance(found, list) and step < len(found):
            found = found[step]
        else:
            return None
    return found


def text(found: Any, *path: str | int) -> str:
    """The string at a path, "" where there is none. Half of a character, which JSON can name and nothing can keep, is
    a question mark."""
    value = at(found, *path)
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def number(found: Any, *path: str | int) -> int:
    """The integer at a path, one that a database takes; 0 where there is none."""
    value = at(found, *path)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else 0
