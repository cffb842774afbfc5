"""The smallest parts of a manifest: YAML, references, units, commands, hosts."""

from __future__ import annotations

import pytest

from godploy.core import units, words, yamltree
from godploy.core.references import BadReferenceError, Reference, parse_text, render
from godploy.core.shape import host
from godploy.core.specification import fill


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("a: NO", {"a": "NO"}),
        ("a: on", {"a": "on"}),
        ("on: yes", {"on": "yes"}),
        ("a: true", {"a": True}),
        ("a: True", {"a": "True"}),
        ("a: 22:22", {"a": "22:22"}),
        ("a: 0123", {"a": "0123"}),
        ("a: 0x1F", {"a": "0x1F"}),
        ("a: 1e3", {"a": "1e3"}),
        ("a: 1_000", {"a": "1_000"}),
        ("a: 2024-01-01", {"a": "2024-01-01"}),
        ("a: 8000", {"a": 8000}),
        ("a: -1", {"a": -1}),
        ("a: 0.5", {"a": 0.5}),
        ("a: '8000'", {"a": "8000"}),
        ("a: ~", {"a": None}),
        ("a:", {"a": None}),
        ("a: 'null'", {"a": "null"}),
        ("a: 99999999999999999999", {"a": "99999999999999999999"}),
        ("8000: x", {"8000": "x"}),
        ("a: [1, {b: c}]", {"a": [1, {"b": "c"}]}),
        ("\ufeffa: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
        ("---\na: |\n  x\n  y\n", {"a": "x\ny\n"}),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
        ("", None),
    ],
)
def test_yaml_means_what_it_looks_like(text: str, meant: object) -> None:
    assert yamltree.read(text).data == meant
    assert yamltree.read(text.encode()).data == meant


def test_yaml_keeps_how_and_where_a_value_was_written() -> None:
    tree = yamltree.read("a:\n  b: 16.10\n  c: [x, 0123]\n")
    assert tree.texts["a", "b"] == "16.10"
    assert tree.texts["a", "c", 1] == "0123"
    assert tree.marks["a", "b"] == yamltree.Mark(2, 3)
    assert tree.marks["a", "c", 1] == yamltree.Mark(3, 10)


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("a: &x 1", "anchors (&x) are not read", 1, 4),
        ("a: {b: *x}", "aliases (*x) are not read", 1, 8),
        ("a: !!str 1", "tags (tag:yaml.org,2002:str) are not read", 1, 4),
        ("a: !secret x", "tags (!secret) are not read", 1, 4),
        ("a:\n\tb: 1", "a tab cannot indent in YAML; use spaces", 2, 1),
        ("a:\n  b: 1\n  \tc: 1", "a tab cannot indent in YAML; use spaces", 3, 3),
        ("a: 1\n---\nb: 2", "a second document begins here", 2, 1),
        (b"a: 1\nb: \xff", "this is not UTF-8", 2, 4),
        ("a: 1\nb: \x07", "the control character U+0007 cannot stand in YAML", 2, 4),
        ('a: "\\0"', "the character U+0000 cannot be part of a value", 1, 4),
        ("? [a]\n: b", "a key must be a plain word", 1, 3),
        ("a: b: c", "a second “: ” on this line", 1, 5),
        ("env: {A: ${services.db.url}}", "a value with ${…} needs quotes", 1, 11),
        ("a: @x", "quote the text", 1, 4),
        ("a: [1, 2\nb: 3\n", "this [ or { is not closed", 1, 4),
        ("a: 'x\nb: 3\n", "found unexpected end of stream", None, None),
        ("[" * 21 + "]" * 21, "nested more than 20 levels deep", 1, 21),
    ],
)
def test_yaml_that_could_surprise_is_refused_with_its_place(
    text: str | bytes, message: str, line: int | None, column: int | None
) -> None:
    with pytest.raises(yamltree.YamlError) as caught:
        yamltree.read(text)
    assert message in caught.value.message
    assert caught.value.mark is not None
    assert line is None or caught.value.mark.line == line
    assert column is None or caught.value.mark.column == column


def test_yaml_is_bounded() -> None:
    assert yamltree.read("a: " + "x" * (64 * 1024 - 3)).data
    with pytest.raises(yamltree.YamlError, match="at most 64 KiB"):
        yamltree.read("a: " + "x" * (64 * 1024 - 2))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("plain", ["plain"]),
        ("pa$$word", ["pa$$word"]),
        ("$HOME", ["$HOME"]),
        ("$${HOME}", ["${HOME}"]),
        ("a$${b}${secrets.C}", ["a${b}", Reference("secrets", "C")]),
        ("${services.db.url}", [Reference("services", "db", "url")]),
        ("${environment.name}-x", [Reference("environment", "name"), "-x"]),
        ("${deployment.commit}${deployment.commit}", [Reference("deployment", "commit")] * 2),
    ],
)
def test_references(text: str, parts: list[str | Reference]) -> None:
    assert parse_text(text) == parts
    assert fill(render(parts, str), lambda inner: f"${{{inner}}}") == "".join(map(str, parts))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${HOME}", "use env or ${secrets.HOME}"),
        ("${", "a ${ without its }"),
        ("${}", "is none of the references"),
        ("${services.db}", "expected ${services.NAME.KEY}"),
        ("${services.DB.url}", "expected ${services.NAME.KEY}"),
        ("${services.db.url.x}", "expected ${services.NAME.KEY}"),
        ("${secrets.1A}", "expected ${secrets.NAME}"),
        ("${secrets.A\n}", "expected ${secrets.NAME}"),
        ("${environment.id}", "is none of the references"),
        ("${volumes.a.password@1}", "is none of the references"),
    ],
)
def test_wrong_references_say_what_to_write(text: str, message: str) -> None:
    with pytest.raises(BadReferenceError) as caught:
        parse_text(text)
    assert message in str(caught.value)


def test_units() -> None:
    assert [units.seconds(text) for text in ("10s", "5m", "1h", "7d", "0s")] == [10, 300, 3600, 604800, 0]
    assert [units.size(text) for text in ("1K", "512M", "2G")] == [1024, 512 << 20, 2 << 30]
    assert units.status_range("204") == (204, 204)
    assert units.status_range("200-399") == (200, 399)


@pytest.mark.parametrize("text", ["", "10", "1.5s", "-1s", "10S", "10 s", "10s\n", "1h30m", "٣s"])
def test_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        units.seconds(text)


@pytest.mark.parametrize("text", ["", "512", "0M", "1.5G", "512MB", "512m", "1T", "512M\n"])
def test_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="expected a size"):
        units.size(text)


@pytest.mark.parametrize("text", ["399-200", "99", "600", "2xx", "200-", "200-399\n"])
def test_no_status(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a status|is empty"):
        units.status_range(text)


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("celery -A shop worker", ["celery", "-A", "shop", "worker"]),
        ("  a \t b\n", ["a", "b"]),
        ("sh -c 'echo $HOME && ls | wc'", ["sh", "-c", "echo $HOME && ls | wc"]),
        ('a "b \\"c\\" d" \'\'', ["a", 'b "c" d', ""]),
        ("a\\ b c\\\\", ["a b", "c\\"]),
        ("x${services.db.url}y", ["x${services.db.url}y"]),
        ("$${LITERAL}", ["$${LITERAL}"]),
        ("price 5$ $5", ["price", "5$", "$5"]),
        ("a=b --x='1 2'", ["a=b", "--x=1 2"]),
    ],
)
def test_commands_are_split_into_words(text: str, split: list[str]) -> None:
    assert words.split(text) == split


@pytest.mark.parametrize("text", ["a && b", "a | b", "a; b", "a > b", "a < b", "a `b`", "a $HOME", "a $(b)", "a &"])
def test_commands_for_a_shell_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not run by a shell; write") as caught:
        words.split(text)
    assert f'["sh", "-c", "{text}"]' in str(caught.value)


@pytest.mark.parametrize("text", ["", "  ", "a 'b", 'a "b', "a \\"])
def test_commands_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"empty|without its end|nothing after"):
        words.split(text)


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("auto", "auto"),
        ("Shop.Example.com", "shop.example.com"),
        ("bücher.de", "xn--bcher-kva.de"),
        ("faß.de", "xn--fa-hia.de"),  # as browsers have it; IDNA 2003 said fass.de
        ("localhost", "localhost"),
        ("1a.b2", "1a.b2"),
    ],
)
def test_hosts_are_encoded_as_browsers_do(text: str, encoded: str) -> None:
    assert host(text) == encoded


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://shop.example.com/", 'without a scheme; write "shop.example.com"'),
        ("shop.example.com/api", "write {host: shop.example.com, path: /api}"),
        ("shop.example.com:80", "without a port"),
        ("*.example.com", "write each one out"),
        ("a_b.example.com", "letters, digits and hyphens"),
        ("-a.example.com", "letters, digits and hyphens"),
        ("a..b", "letters, digits and hyphens"),
        ("a.b.", "letters, digits and hyphens"),
        ("a.b\n", "letters, digits and hyphens"),
        ("10.0.0.5", "letters, digits and hyphens"),
        ("x`) || Host(`y", "letters, digits and hyphens"),
        (".".join(["a" * 60] * 5), "letters, digits and hyphens"),
        ("ü\u200d.de", "cannot be a host name"),
    ],
)
def test_hosts_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        host(text)
    assert message in str(caught.value)
