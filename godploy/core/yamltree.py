"""YAML without surprises: reads one document into plain values and keeps where each of them stands.

PyYAML's own loaders read `no` as False, `22:22` as 1342 and `0123` as 83, and keep the last of two equal keys. So the
tree is built here from the parser's events: only `true` and `false` are booleans, only plain decimal numbers are
numbers, and whatever could be read in two ways is refused. Nothing recurses, and depth and size are bounded, so no
input is too deep or too large.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from godploy.core.problems import Path

MAXIMUM_BYTES = 64 * 1024
MAXIMUM_DEPTH = 20

# The characters that YAML allows (https://yaml.org/spec/1.2.2/#51-character-set), turned around.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNUSABLE = re.compile("[\0\ud800-\udfff]")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,14})")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]{0,14})\.[0-9]{1,15}")

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the text; both count from 1."""

    line: int
    column: int


class YamlError(ValueError):
    """The text is not one plain YAML document; `mark` says where."""

    def __init__(self, message: str, mark: Mark | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.mark = mark


@dataclass(frozen=True, slots=True)
class Tree:
    """`data` is made of dict, list, str, int, float, bool and None. `marks` says where each path stands (a value of a
    mapping: where its key does), `texts` how each scalar was written."""

    data: Any
    marks: Mapping[Path, Mark]
    texts: Mapping[Path, str]
    repeated: tuple[tuple[Path, Mark], ...] = ()  # keys that stood there before; the first one counts


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet."""

    path: Path
    value: Any
    key: str | None = None  # of a mapping, once it is read
    ignored: bool = False  # below a repeated key


@dataclass(slots=True)
class _Builder:
    marks: dict[Path, Mark] = field(default_factory=dict)
    texts: dict[Path, str] = field(default_factory=dict)
    repeated: list[tuple[Path, Mark]] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)
    root: Any = None

    def add(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self.stack.pop()
            return
        if not isinstance(event, yaml.ScalarEvent | yaml.MappingStartEvent | yaml.SequenceStartEvent):
            return
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self._key(top, event)
        else:
            self._value(top, event)

    def _key(self, top: _Open, event: yaml.Event) -> None:
        mark = _mark(event.start_mark)
        if not isinstance(event, yaml.ScalarEvent):
            raise YamlError("a key must be a plain word", mark)
        top.key = _usable(event.value, mark)
        path = (*top.path, top.key)
        if top.ignored:
            return
        if top.key in top.value:
            self.repeated.append((path, mark))
        else:
            self.marks[path] = mark

    def _value(self, top: _Open | None, event: yaml.Event) -> None:
        mark = _mark(event.start_mark)
        path: Path = ()
        ignored = False
        if top is not None:
            step: str | int = len(top.value) if top.key is None else top.key
            path = (*top.path, step)
            ignored = top.ignored or (top.key is not None and top.key in top.value)
        value: Any
        if isinstance(event, yaml.ScalarEvent):
            text = _usable(event.value, mark)
            value = _scalar(text) if event.implicit[0] else text
            if not ignored:
                self.texts[path] = text
        else:
            value = {} if isinstance(event, yaml.MappingStartEvent) else []
            self.stack.append(_Open(path, value, ignored=ignored))
            if len(self.stack) > MAXIMUM_DEPTH:
                raise YamlError(f"nested more than {MAXIMUM_DEPTH} levels deep", mark)
        if top is None:
            self.root = value
            self.marks[path] = mark
        elif top.key is None:
            top.value.append(value)
            if not ignored:
                self.marks[path] = mark
        else:
            if not ignored:
                top.value[top.key] = value
            top.key = None


def read(text: bytes | str) -> Tree:
    """The document in `text`. Raises YamlError for whatever is not plain YAML; keys given twice are not raised but
    listed, so that they can be told together with all else that is wrong."""
    source = _decode(text)
    builder = _Builder()
    for event in _events(source):
        builder.add(event)
    return Tree(builder.root, builder.marks, builder.texts, tuple(builder.repeated))


def _decode(text: bytes | str) -> str:
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > MAXIMUM_BYTES:
        raise YamlError(f"the file is {-(-len(raw) // 1024)} KiB large; at most {MAXIMUM_BYTES // 1024} KiB are read")
    try:
        source = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", "replace")
        raise YamlError("this is not UTF-8; save the file in that encoding", _end_of(before)) from None
    source = source.removeprefix("\ufeff")
    if bad := _UNPRINTABLE.search(source):
        raise YamlError(
            f"the control character U+{ord(bad[0]):04X} cannot stand in YAML", _end_of(source[: bad.start()])
        )
    return source


def _end_of(text: str) -> Mark:
    line_start = max(text.rfind("\n"), text.rfind("\r")) + 1
    return Mark(len(re.findall(r"\r\n|\r|\n", text)) + 1, len(text) - line_start + 1)


def _events(source: str) -> Iterator[yaml.Event]:
    documents = 0
    try:
        for event in yaml.parse(source, Loader=_Loader):
            mark = _mark(event.start_mark)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise YamlError("a second document begins here; a manifest is one document", mark)
            if isinstance(event, yaml.AliasEvent):
                raise YamlError(f"aliases (*{event.anchor}) are not read; write the value out", mark)
            if isinstance(event, yaml.NodeEvent) and event.anchor is not None:
                raise YamlError(f"anchors (&{event.anchor}) are not read; write each value where it is used", mark)
            if (tag := getattr(event, "tag", None)) is not None:
                raise YamlError(f"tags ({tag}) are not read; quote the text if it begins with !", mark)
            yield event
    except yaml.MarkedYAMLError as error:
        raise _explain(error, source) from None
    except yaml.YAMLError:
        raise YamlError("this cannot be read as YAML") from None


def _explain(error: yaml.MarkedYAMLError, source: str) -> YamlError:
    at = error.problem_mark or error.context_mark
    if at is None:
        return YamlError(f"this cannot be read as YAML: {error.problem}")
    mark = _mark(at)
    lines = re.split(r"\r\n|\r|\n", source)
    line = lines[mark.line - 1] if mark.line <= len(lines) else ""
    indentation = re.match(r"[ \t]*", line)
    if indentation and "\t" in indentation[0]:
        return YamlError("a tab cannot indent in YAML; use spaces", Mark(mark.line, line.index("\t") + 1))
    begun = error.context_mark
    if begun is not None and "flow" in (error.context or "") and begun.line < at.line:
        return YamlError("this [ or { is not closed, or a comma is missing after it", _mark(begun))
    problem = error.problem or "the structure breaks off here"
    hint = ""
    if "mapping values are not allowed" in problem:
        problem, hint = "a second “: ” on this line", "; quote the text if it contains one, and check the indentation"
    elif re.search(r"[{\[].*\$\{", line):
        hint = "; between { } or [ ] a value with ${…} needs quotes"
    elif "found character" in problem and line[mark.column - 1 : mark.column] in ("@", "`", "%"):
        hint = "; quote the text"
    return YamlError(f"this cannot be read as YAML: {problem}{hint}", mark)


def _mark(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1)


def _usable(text: str, mark: Mark) -> str:
    if bad := _UNUSABLE.search(text):
        raise YamlError(f"the character U+{ord(bad[0]):04X} cannot be part of a value", mark)
    return text


def _scalar(text: str) -> Any:
    """What a plain (unquoted) scalar means."""
    if text in ("", "null", "~"):
        return None
    if text in ("true", "false"):
        return text == "true"
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    return text
