"""Files of `NAME=value` lines: what they say, and which of it is for a secret rather than for a manifest."""

from __future__ import annotations

import re

from godploy.core.references import VARIABLE_NAME

_LINE = re.compile(rf"\s*(?:export\s+)?({VARIABLE_NAME})\s*=\s*(.*?)\s*")
_SECRET = re.compile(
    r"(?:^|_)(?:SECRET|TOKEN|PASS|PASSWD|PASSWORD|PASSPHRASE|CREDENTIALS?|PRIVATE|APIKEY|KEY|DSN|SALT|AUTH)(?:_|$)"
)
_PUBLIC = re.compile(r"^(?:PUBLIC|NEXT_PUBLIC|VITE|REACT_APP|NUXT_PUBLIC)_|PUBLI(?:C|SHABLE)_KEY|_FILE$|_PATH$")
_PLACEHOLDER = re.compile(
    r"(?i)^(?:<.*>|\.\.\.|x{3,}|changeme.*|change[-_ ]me.*|your[-_ ].*|todo|replace[-_ ].*|secret)$"
)
_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+.-]*://[^/@\s]*:[^/@\s]+@", re.IGNORECASE)


def read(text: str) -> dict[str, str]:
    """name → value, quotes taken off; a line that is none is passed over, and of two equal names the last counts.
    A ` #` after an unquoted value begins a comment."""
    values: dict[str, str] = {}
    for line in text.removeprefix("\ufeff").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        name, value = match[1], match[2]
        quoted = re.match(r"""(["'])(.*?)\1\s*(?:#.*)?$""", value)
        values[name] = quoted[2] if quoted else re.sub(r"(?:^|\s)#.*$", "", value).strip()
    return values


def is_secret(name: str, value: str) -> bool:
    """Whether a variable looks like a secret: by its name, by a password in its value, or since no value is there."""
    if not value or _PLACEHOLDER.match(value):
        return True
    if _PUBLIC.search(name.upper()):
        return False
    return _SECRET.search(name.upper()) is not None or _WITH_PASSWORD.match(value) is not None
