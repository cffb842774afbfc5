"""Where a service's image comes from, and what of that is kept: an unchanged text keeps the image it once led to.

So a moved tag, a newer template file or another version of the builder changes nothing that runs; only the manifest's
text, the sources in git or an explicit update do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from godploy.core import builds, template
from godploy.core.builds import BuildPlan
from godploy.core.complaints import Complaints
from godploy.core.facts import Current, Facts
from godploy.core.problems import Path
from godploy.core.sealing import Sealer
from godploy.core.specification import Specification
from godploy.core.template import Template

KEYS = ("build", "image", "image_from", "template", "parameters")


@dataclass(frozen=True, slots=True)
class Source:
    """The parts of a specification that say what its image is; `image` is "" while `build` is still to give it."""

    image: str = ""
    image_text: str | None = None
    build_key: str | None = None
    build_secrets: Mapping[str, int] = field(default_factory=dict)
    template: Mapping[str, Any] | None = None
    build: BuildPlan | None = None
    image_from: str | None = None  # the service whose build gives the image

    @property
    def rendered(self) -> Mapping[str, Any]:
        """What the template says, or nothing."""
        return {} if self.template is None else self.template["rendered"]

    def fields(self) -> dict[str, Any]:
        """As keyword arguments of a Specification."""
        return {
            "image": self.image,
            "image_text": self.image_text,
            "build_key": self.build_key,
            "build_secrets": self.build_secrets,
            "template": self.template,
        }


def kept(specification: Specification) -> Source:
    """The source of what runs, as it is."""
    return Source(
        image=specification.image,
        image_text=specification.image_text,
        build_key=specification.build_key,
        build_secrets=specification.build_secrets,
        template=specification.template,
    )


def unchanged(definition: Mapping[str, Any], current: Current | None) -> bool:
    """Whether the definition takes its image from where what runs has it from, by its text."""
    return current is not None and all(definition.get(key) == current.definition.get(key) for key in KEYS)


def pin_template(
    service: str, definition: Mapping[str, Any], current: Current | None, templates: Mapping[str, Template]
) -> Mapping[str, Any] | None:
    """What `specification.template` is to hold: what runs was made from, where the text is the same, else the shipped
    template, rendered anew. None for a template that there is none of, or parameters that it refuses."""
    if current is not None and unchanged(definition, current):
        return current.specification.template
    found = templates.get(definition["template"])
    parameters = definition.get("parameters", {})
    if found is None or template.complaints(found, parameters):
        return None
    rendered = template.render(found, service, parameters)
    return {"name": found.name, "revision": found.revision, "parameters": rendered["parameters"], "rendered": rendered}


def image_to_look_up(text: str, current: Current | None, *, update: bool) -> bool:
    """Whether an image text must be resolved, since it is not the one that what runs was resolved from."""
    # A text that was changed to another of the same image restarted nothing: then the release has the newer one.
    return update or current is None or text not in (current.specification.image_text, current.definition.get("image"))


@dataclass(slots=True)
class Sources:
    """Finds the source of each service; `updates` are those to resolve anew although their text is the same."""

    facts: Facts
    templates: Mapping[str, Template]
    sealer: Sealer
    complaints: Complaints
    updates: frozenset[str]
    secret_updates: frozenset[str]

    def find(self, service: str, definition: Mapping[str, Any], current: Current | None) -> Source:
        """The source of a service that does not take another's image."""
        path: Path = ("services", service)
        if "build" in definition:
            return self._built(service, definition, current, (*path, "build"))
        if "template" in definition:
            return self._templated(service, definition, current, path)
        text = definition["image"]
        return Source(image=self._image(service, text, current, (*path, "image")), image_text=text)

    def _built(self, service: str, definition: Mapping[str, Any], current: Current | None, path: Path) -> Source:
        build = definition["build"] or {}
        asked = builds.query(build, self.facts.folder)
        context = self.facts.contexts.get(service)
        if context is None:
            shown = asked.context or "."
            self.complaints.fail((*path, "context"), "context_missing", service=service, path=shown)
            return Source()
        if not context.dockerfile:
            self.complaints.fail((*path, "dockerfile"), "missing_dockerfile", service=service, path=asked.dockerfile)
            return Source()
        wanted = builds.plan_build(
            build,
            self.facts.folder,
            args=self.sealer.build_arguments(build, path),
            secrets=self._build_secrets(build, current, path, same=unchanged(definition, current)),
            tree=context.tree,
            environment_class=self.facts.environment_class,
        )
        if current is not None and service not in self.updates:
            running = current.specification
            if running.image and builds.same_sources(running.build_key, wanted.key):
                return kept(running)
        there = self.facts.built.get(wanted.key)
        return Source(
            image=there.id if there else "",
            build_key=wanted.key,
            build_secrets=wanted.secrets,
            build=None if there else wanted,
        )

    def _build_secrets(
        self, build: Mapping[str, Any], current: Current | None, path: Path, *, same: bool
    ) -> dict[str, int]:
        pinned: dict[str, int] = {}
        if current is not None and same:
            kept_versions = current.specification.build_secrets.items()
            pinned = {name: version for name, version in kept_versions if name not in self.secret_updates}
        names = build.get("secrets", ())
        return {name: self.sealer.version(name, (*path, "secrets", i), pinned) for i, name in enumerate(names)}

    def _templated(self, service: str, definition: Mapping[str, Any], current: Current | None, path: Path) -> Source:
        name, parameters = definition["template"], definition.get("parameters", {})
        pinned = pin_template(service, definition, None if service in self.updates else current, self.templates)
        if pinned is None:
            found = self.templates.get(name)
            if found is None:
                known = ", ".join(sorted(self.templates))
                self.complaints.add((*path, "template"), f"there is no template {name}; there are {known}")
                return Source()
            for parameter, message in template.complaints(found, parameters).items():
                self.complaints.add((*path, "parameters", parameter), message)
            return Source()
        text = pinned["rendered"]["image"]
        image = self._image(service, text, current, (*path, "template"))
        return Source(image=image, image_text=text, template=pinned)

    def _image(self, service: str, text: str, current: Current | None, path: Path) -> str:
        if current is not None and not image_to_look_up(text, current, update=service in self.updates):
            return current.specification.image
        found = self.facts.images.get(text)
        if found is None:
            self.complaints.fail(path, "image_not_found", service=service, image=text)
            return ""
        return found.id
