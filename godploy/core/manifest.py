"""`godploy.yaml`: text in, a manifest out, or every mistake in it at once, each with its line and column.

Reading goes through the YAML tree, the schema, the shape of each value and the coherence of the whole, and collects
from all of them. What comes out says what was written, merged for an environment, and no more: defaults are the
plan's.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from godploy.core import coherence, schema, yamltree
from godploy.core.model import Feed
from godploy.core.problems import Path, Problem, dotted, printable
from godploy.core.shape import Shape
from godploy.core.template import Template
from godploy.errors import Invalid

PRODUCTION = "production"

_Services = dict[str, dict[str, Any]]
_Overrides = dict[str, dict[str, dict[str, Any] | None]]  # environment → service → what differs; None: removed


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest without mistakes. `filename` is its path in the repository, as errors name it."""

    text: str
    filename: str
    _tree: yamltree.Tree = field(repr=False)
    _feeds: Mapping[str, Feed] = field(repr=False)
    _services: _Services = field(repr=False)
    _overrides: _Overrides = field(repr=False)
    _templates: Mapping[str, Template] = field(repr=False)

    def environments(self) -> dict[str, Feed]:
        """What feeds each environment; `production` by the default branch where the manifest names none."""
        return dict(self._feeds)

    def definitions(self, environment: str) -> _Services:
        """The services as they are in an environment, in one shape, without defaults.

        As in the schema, with every form made the long one: `build` a mapping (its paths are relative to the
        manifest's folder), commands lists of words, `routes` lists of {"host", "path", …} with "inherited" where a
        host of the top level is none of this environment, `volumes` lists of {"name", "path", "shared"}, `env`, `args`,
        `parameters`, sizes and durations as they were written.

        An environment that the manifest does not name has what stands at the top level: what feeds it may have been
        recorded from another commit. Raises Invalid where that contradicts itself.
        """
        merged = _merged(self._services, self._overrides, environment)
        if environment not in self._feeds:
            contradictions = list(coherence.problems(merged, self._templates))
            if contradictions:
                message = f"{self.filename} does not hold together in the environment {environment}"
                raise Invalid(
                    message, [f"{self.place(p.path)}: {p.message}" for p in contradictions], code="invalid_manifest"
                )
        return merged

    def place(self, path: Path, environment: str | None = None) -> str:
        """`godploy.yaml:9:5: services.web.env.KEY`: where a path of the merged services stands in the file, which is
        below the environment when the value came from there. Of a path that is not written, what of it is."""
        return _place(self._tree, self.filename, _written_path(self._tree, path, environment))


def parse(
    text: bytes | str, *, filename: str = "godploy.yaml", templates: Mapping[str, Template], dashboard: bool = False
) -> Manifest:
    """The manifest in `text`. `filename` is its path from the root of the repository, which also bounds what its
    paths may reach. A `dashboard` manifest has no repository, so nothing in it may come from one.

    Raises Invalid with all mistakes as sentences: `godploy.yaml:9:5: services.web.helth: unknown key; …`.
    """
    try:
        tree = yamltree.read(text)
    except yamltree.YamlError as error:
        at = f"{filename}:{error.mark.line}:{error.mark.column}" if error.mark else filename
        raise _invalid(filename, [printable(f"{at}: {error.message}")]) from None
    of_schema = schema.problems(tree.data)
    shape = Shape(tree.texts, _folder(filename), frozenset(prefix for p in of_schema for prefix in _prefixes(p.path)))
    manifest = Manifest(
        text if isinstance(text, str) else text.decode("utf-8-sig"),
        filename,
        tree,
        _feeds(tree.data),
        {
            name: shape.service(said, ("services", name))
            for name, said in _mapping(tree.data, "services").items()
            if isinstance(said, dict)
        },
        _shaped_overrides(tree.data, shape),
        templates,
    )
    found = [*of_schema, *shape.problems, *_contradictions(manifest, shape.unsound), *_claimed_twice(manifest)]
    if dashboard:
        found += _from_a_repository(manifest)
    sentences = _sentences(found, tree, filename)
    if sentences:
        raise _invalid(filename, sentences)
    return manifest


def _folder(filename: str) -> str:
    folder = posixpath.normpath(posixpath.dirname(filename)).lstrip("/")
    return "" if folder.partition("/")[0] in (".", "..") else folder


def _prefixes(path: Path) -> Iterator[Path]:
    return (path[:length] for length in range(1, len(path) + 1))


def _mapping(data: Any, *path: str) -> dict[str, Any]:
    """The mapping at a path, empty where there is none: the schema has said so."""
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


def _feeds(data: Any) -> dict[str, Feed]:
    names = _mapping(data, "environments")
    if not names:
        return {PRODUCTION: Feed()}
    said = {name: _mapping(data, "environments", name) for name in names}
    return {name: Feed(feed.get("branch"), feed.get("tag")) for name, feed in said.items()}


def _shaped_overrides(data: Any, shape: Shape) -> _Overrides:
    overrides: _Overrides = {}
    for environment in _mapping(data, "environments"):
        overrides[environment] = {
            name: None if said is None else shape.service(said, ("environments", environment, "services", name))
            for name, said in _mapping(data, "environments", environment, "services").items()
            if said is None or isinstance(said, dict)
        }
    return overrides


def _merged(services: _Services, overrides: _Overrides, environment: str) -> _Services:
    """What stands under the environment over what stands at the top level, with routes marked that are not its own."""
    differing = overrides.get(environment, {})
    merged = {name: dict(service) for name, service in services.items() if differing.get(name, service) is not None}
    if environment != PRODUCTION:
        for service in merged.values():
            if "routes" in service:
                service["routes"] = [{**route, "inherited": True} for route in service["routes"]]
    for name, said in differing.items():
        if said is not None:
            merged[name] = _over(merged.get(name, {}), said)
    return merged


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged, everything else replaces, null removes."""
    merged = dict(below)
    for key, value in above.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            under = merged.get(key)
            merged[key] = _over(under if isinstance(under, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def _contradictions(manifest: Manifest, unsound: frozenset[Path]) -> Iterator[Problem]:
    """Each environment is looked at as it will be. What is wrong in some of them only says in which."""
    seen: dict[Problem, list[str]] = {}
    environments = manifest.environments()
    for environment in environments:
        for problem in _of_environment(manifest, environment, unsound):
            written = Problem(_written_path(manifest._tree, problem.path, environment), problem.message)
            names = seen.setdefault(written, [])
            if environment not in names:
                names.append(environment)
    for problem, names in seen.items():
        everywhere = len(names) == len(environments) or problem.path[:1] == ("environments",)
        yield problem if everywhere else Problem(problem.path, f"{problem.message} (in {', '.join(names)})")


def _of_environment(manifest: Manifest, environment: str, unsound: frozenset[Path]) -> Iterator[Problem]:
    merged = _merged(manifest._services, manifest._overrides, environment)
    differing = manifest._overrides.get(environment, {})
    told = {
        name
        for name in merged
        if ("services", name) in unsound or ("environments", environment, "services", name) in unsound
    }
    for name in merged.keys() & differing.keys() - told:
        # Each half was checked by itself; together they may still be no service.
        plain = {key: value for key, value in merged[name].items() if key != "routes"}
        of_schema = schema.problems(plain, definition="service", at=("services", name))
        if of_schema:
            told.add(name)
            yield from of_schema
    yield from coherence.problems(merged, manifest._templates, unsound=frozenset(told))


def _claimed_twice(manifest: Manifest) -> Iterator[Problem]:
    """A host and path belong to one environment, so that no other can take its traffic."""
    owners: dict[tuple[str, str], str] = {}
    for environment in manifest.environments():
        for name, service in _merged(manifest._services, manifest._overrides, environment).items():
            for number, route in enumerate(service.get("routes", ())):
                claims = [(route["host"], route["path"]), *((host, "/") for host in route.get("redirect_from", ()))]
                for host, where in [] if route.get("inherited") else claims:
                    owner = environment if host == "auto" else owners.setdefault((host, where), environment)
                    if owner != environment:
                        path = _written_path(manifest._tree, ("services", name, "routes", number), environment)
                        yield Problem(path, f"{host}{where} belongs to the environment {owner} already")


def _from_a_repository(manifest: Manifest) -> Iterator[Problem]:
    for environment, feed in manifest.environments().items():
        for key, value in (("branch", feed.branch), ("tag", feed.tag)):
            if value is not None:
                yield Problem(("environments", environment, key), "no repository feeds a manifest of the dashboard")
        for name, service in _merged(manifest._services, manifest._overrides, environment).items():
            paths: list[Path] = [("services", name, "build")] if "build" in service else []
            paths += [path for reference, path in coherence.mentions(name, service) if reference.kind == "deployment"]
            for path in paths:
                written = _written_path(manifest._tree, path, environment)
                yield Problem(
                    written, "a manifest of the dashboard has no repository, so there is nothing to take it from"
                )


def _written_path(tree: yamltree.Tree, path: Path, environment: str | None) -> Path:
    """The path at which the value for `path` of the merged services stands, or the longest part of it that does."""
    candidates = [path] if environment is None else [("environments", environment, *path), path]
    found = [_longest_written(tree, candidate) for candidate in candidates]
    missing = [len(candidate) - len(part) for candidate, part in zip(candidates, found, strict=True)]
    return found[missing.index(min(missing))]


def _longest_written(tree: yamltree.Tree, path: Path) -> Path:
    while path and path not in tree.marks:
        path = path[:-1]
    return path


def _place(tree: yamltree.Tree, filename: str, path: Path) -> str:
    mark = tree.marks.get(_longest_written(tree, path), yamltree.Mark(1, 1))
    place = f"{filename}:{mark.line}:{mark.column}"
    return f"{place}: {dotted(path)}" if path else place


def _sentences(found: Iterable[Problem], tree: yamltree.Tree, filename: str) -> list[str]:
    """Each mistake once, in the order of the file."""
    told: dict[tuple[int, int, str], None] = {}
    for path, mark in tree.repeated:
        place = f"{filename}:{mark.line}:{mark.column}: {dotted(path)}"
        told[mark.line, mark.column, f"{place}: this key stands here a second time"] = None
    for problem in found:
        mark = tree.marks.get(_longest_written(tree, problem.path), yamltree.Mark(1, 1))
        told[mark.line, mark.column, f"{_place(tree, filename, problem.path)}: {problem.message}"] = None
    return list(dict.fromkeys(printable(sentence) for _, _, sentence in sorted(told)))


def _invalid(filename: str, problems: list[str]) -> Invalid:
    count = "one mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
    return Invalid(f"{filename} has {count}", problems, code="invalid_manifest")
