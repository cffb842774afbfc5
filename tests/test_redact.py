"""A secret is not shown, however it is written: as it is, in base64 of any alignment, in a URL, in JSON, in hex."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from godploy.redact import MASK, Redactor, Secret

PASSWORD = 'pa$$ wörd/"+&=ü'


def test_a_secret_prints_as_dots() -> None:
    secret = Secret("hunter2-hunter2")
    assert f"{secret} {secret!r} {[secret]} %s" % secret == f"{MASK} {MASK} [{MASK}] {MASK}"
    assert secret.reveal() == "hunter2-hunter2"
    assert secret == Secret("hunter2-hunter2") != Secret("other") and secret != "hunter2-hunter2"
    assert len({secret, Secret("hunter2-hunter2")}) == 1
    with pytest.raises(AttributeError):
        secret.anything = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "written",
    [
        str,
        lambda text: quote(text, safe=""),
        quote_plus,
        lambda text: json.dumps(text),
        lambda text: json.dumps(text, ensure_ascii=False),
        lambda text: text.encode().hex(),
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    ],
)
def test_every_way_of_writing_it_is_masked(written: Callable[[str], str]) -> None:
    text = f"before {written(PASSWORD)} after"
    masked = Redactor([PASSWORD])(text)
    assert MASK in masked and masked.startswith("before ") and masked.endswith(" after")
    assert written(PASSWORD).strip('"=') not in masked


@pytest.mark.parametrize("before", ["", "u", "us", "user:", "another:"])
@pytest.mark.parametrize("after", ["", "@", "@h", "@host"])
def test_it_is_found_inside_a_longer_base64_text(before: str, after: str) -> None:
    header = base64.b64encode(f"{before}correct-horse-battery{after}".encode()).decode()
    masked = Redactor(["correct-horse-battery"])(f"Authorization: Basic {header}")
    assert MASK in masked
    left = masked.removeprefix("Authorization: Basic ").split(MASK)
    assert sum(len(part) for part in left) <= 4 * (len(before) + len(after) + 6) / 3 + 4


def test_a_secret_of_several_lines_is_masked_line_by_line() -> None:
    redactor = Redactor(["-----BEGIN KEY-----\nfirst-line-of-it\nsecond-line-of-it\n-----END KEY-----"])
    assert redactor("read second-line-of-it") == f"read {MASK}"


def test_short_values_leave_ordinary_text_alone() -> None:
    redactor = Redactor(["true", "8080", ""])
    assert redactor("listening on 8080: true") == "listening on 8080: true"


def test_the_longest_is_masked_first_so_no_tail_is_left() -> None:
    redactor = Redactor(["secret", "secret-and-more"])
    assert redactor("it is secret-and-more") == f"it is {MASK}"


def test_secrets_may_be_added_later() -> None:
    redactor = Redactor()
    assert redactor("late-secret") == "late-secret"
    redactor.add(["late-secret"])
    assert redactor("late-secret") == MASK
