"""The table of failures: every sentence can be told, and every one says what to do."""

from __future__ import annotations

from string import Formatter

import pytest

from godploy.core.failures import FAILURES, failure, table


@pytest.mark.parametrize("code", FAILURES)
def test_each_names_cause_and_next_step(code: str) -> None:
    known = FAILURES[code]
    assert known.sentence
    assert known.next_step
    names = {name for text in (known.sentence, known.next_step) for _, name, _, _ in Formatter().parse(text) if name}
    told = failure(code, **{name: f"<{name}>" for name in names})
    assert told.code == code
    assert told.retry == known.retry
    for name in names:
        assert f"<{name}>" in told.message + told.next_step
    assert "?" not in told.message


def test_a_missing_fact_is_no_second_error() -> None:
    assert failure("exited", service="web").message == "web ended with exit code ?"


def test_lists_read_as_lists() -> None:
    told = failure("wrong_port", service="web", seen=[3000, 9229], port=8000)
    assert told.message == "web listens on 3000, 9229, the manifest says 8000"
    assert told.fields == {"service": "web", "seen": [3000, 9229], "port": 8000}


def test_a_fact_is_never_a_template() -> None:
    assert failure("cancelled", actor="{service.__class__}").message == "cancelled by {service.__class__}"


def test_an_unknown_code_is_an_error() -> None:
    with pytest.raises(KeyError):
        failure("nonsense")


def test_the_table_has_a_row_for_each() -> None:
    rows = table().splitlines()
    assert len(rows) == len(FAILURES) + 2
    assert "| `loopback_only` | *service* listens on 127.0.0.1:*port* only" in table()
    assert all(row.count("|") == 4 for row in rows)
