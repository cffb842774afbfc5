"""Carries a compose file over into a manifest, as far as it goes, and tells what was left behind and why.

The format: https://github.com/compose-spec/compose-spec/blob/main/spec.md. Scalars are read as texts, since compose
takes them so in nearly every place, and YAML 1.1 would turn `22:22` into a number.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from godploy.core import compose_values, databases, dockerfile, dotenv, naming, schema, shape, words
from godploy.core.draft import Draft

_MAXIMUM = 256 * 1024
_PROXIES = ("traefik", "jwilder/nginx-proxy", "nginxproxy/nginx-proxy", "nginxproxy/acme-companion")
_IMAGE = r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,398}"
_RULE_HOST = re.compile(r"Host\(`([^`]+)`\)")


def service_name(name: str, taken: Container[str] = ()) -> str | None:
    """The name as one of a service here, or None where it cannot be one or is taken."""
    ours = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40].rstrip("-")
    return ours if naming.is_name(ours) and ours not in taken else None


def carry_over(text: str, filename: str, files: Mapping[str, str | None], draft: Draft) -> None:
    """Adds the services of a compose file at the root of the repository to the draft, and notes."""
    said = _load(text, filename, draft)
    services = compose_values.mapping(said.get("services"))
    if not services:
        draft.note(f"{filename} has no services that can be read.")
        return
    carrier = _Carrier(filename, files, draft)
    carrier.choose(services)
    for name, ours in carrier.names.items():
        service = compose_values.mapping(services[name])
        if name in carrier.databases:
            carrier.database(name, ours, service)
        else:
            carrier.service(name, ours, service)
    carrier.finish()
    for key in ("secrets", "configs", "include"):
        if said.get(key):
            draft.note(f"{filename}: {key} are left out: {schema.foreign('Manifest', key)}.")


def _load(text: str, filename: str, draft: Draft) -> dict[str, Any]:
    if len(text) > _MAXIMUM:
        draft.note(f"{filename} is not used: it has more than {_MAXIMUM // 1024} KiB.")
        return {}
    try:
        # Texts only, so nothing is constructed; the Python loader, since it meets deep nesting with an exception.
        said = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506
    except (yaml.YAMLError, RecursionError, ValueError):
        draft.note(f"{filename} is not used: it cannot be read as YAML.")
        return {}
    return compose_values.mapping(said)


@dataclass(slots=True)
class _Database:
    ours: str
    known: databases.Known
    version: str | None
    variables: Mapping[str, str]  # as the compose file sets them

    def refer(self, key: str) -> str:
        return f"${{services.{self.ours}.{key}}}"

    def address(self, scheme: str) -> str:
        user = self.refer("user") if self.known.user else ""
        database = self.refer("database") if self.known.database else "0"
        host, port, password = self.refer("host"), self.refer("port"), self.refer("password")
        return f"{scheme}://{user}:{password}@{host}:{port}/{database}"


@dataclass(slots=True)
class _Carrier:
    filename: str
    files: Mapping[str, str | None]
    draft: Draft
    names: dict[str, str] = field(default_factory=dict)  # name in the compose file → ours
    databases: dict[str, _Database] = field(default_factory=dict)
    mounted: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # volume → where it is mounted

    def left(self, name: str, key: str, reason: str) -> None:
        self.draft.note(f"{self.filename}: {name}: {key} is left out: {reason}.")

    def left_below(self, name: str, section: str, keys: Iterable[str]) -> None:
        for key in sorted(keys):
            self.left(name, f"{section}.{key}", schema.foreign(section.title(), key) or "there is no key for it")

    def choose(self, services: Mapping[str, Any]) -> None:
        """Which services come along, and under which names."""
        for name, said in services.items():
            service = compose_values.mapping(said)
            image = compose_values.interpolated(str(service.get("image", ""))).text
            base = image.partition(":")[0].removeprefix("docker.io/").removeprefix("library/")
            ours = service_name(name, self.names.values())
            if base in _PROXIES:
                self.left(name, "the service", "Godploy has its own Traefik; say routes under each service")
            elif "build" not in service and not image:
                self.left(name, "the service", "it has neither build nor image")
            elif "build" not in service and not re.fullmatch(_IMAGE, image.rstrip(":@")):
                self.left(name, "the service", f"its image, {image}, is not the name of one")
            elif ours is None:
                self.left(name, "the service", "its name cannot be one here, or another has it already")
            else:
                self.names[name] = ours
                found = databases.by_image(image) if "build" not in service else None
                if found is not None:
                    variables = compose_values.pairs(service.get("environment"))
                    self.databases[name] = _Database(ours, found[0], found[1], variables)

    def database(self, name: str, ours: str, service: Mapping[str, Any]) -> None:
        known = self.databases[name]
        parameters: dict[str, Any] = {"version": known.version} if known.version else {}
        for parameter, variable in (("database", known.known.database), ("user", known.known.user)):
            value = compose_values.interpolated(known.variables.get(variable or "", "")).text
            if databases.is_name(value):
                parameters[parameter] = value
        template = known.known.template
        self.draft.services[ours] = {"template": template, **({"parameters": parameters} if parameters else {})}
        self.draft.note(
            f"{self.filename}: {name} became the template {template}: it has a new password, a new, empty volume and "
            "a health check of its own, and is reached by services of its environment only."
        )
        if any(key in service for key in ("command", "entrypoint")):
            self.left(name, "command", "the template has its own")

    def service(self, name: str, ours: str, said: Mapping[str, Any]) -> None:
        service: dict[str, Any] = {}
        self.draft.services[ours] = service
        for key, value in said.items():
            carry = _CARRIED.get(key)
            if carry is not None:
                carry(self, name, service, value)
            elif not key.startswith("x-"):
                self.left(name, key, schema.foreign("Service", key) or "there is no key for it")
        self._port_of_dockerfile(service)
        if "port" not in service:
            for key in ("health", "routes"):
                service.pop(key, None)
            return
        if "routes" not in service and said.get("ports") and ours != "web":
            if "build" in service:
                service["routes"] = ["auto"]
            else:  # it may be a broker or a database, which nobody wants to meet on the web
                self.left(
                    name, "ports", "it is reached by services of its environment; give it routes if it speaks HTTP"
                )

    def _port_of_dockerfile(self, service: dict[str, Any]) -> None:
        build = service.get("build")
        if build is None or "port" in service:
            return
        context, path = (build, "Dockerfile") if isinstance(build, str) else (
            build.get("context", "."), build.get("dockerfile", "Dockerfile")
        )  # fmt: skip
        text = self.files.get(posixpath.normpath(posixpath.join(context, path)))
        if text and (ports := dockerfile.exposed(text)):
            service["port"] = ports[0]

    def finish(self) -> None:
        """What can be known only when every service is there."""
        for mounts in self.mounted.values():
            if len(mounts) > 1:
                for mount in mounts:
                    mount["shared"] = True
        for name, service in self.draft.services.items():
            volumes = service.get("volumes", ())
            if service.get("replicas", 1) > 1 and not all(volume.get("shared") for volume in volumes):
                service.pop("replicas")
                self.left(name, "replicas", "its volume is for one container at a time")
            service["volumes"] = [
                volume if volume.get("shared") else f"{volume['name']}:{volume['path']}" for volume in volumes
            ]
            for key in ("volumes", "depends_on"):
                if not service.get(key):
                    service.pop(key, None)
        if "web" not in self.draft.services and not any("routes" in s for s in self.draft.services.values()):
            self.draft.note("No service has an address yet; give the one for the public a port and routes: [auto].")

    def build(self, name: str, service: dict[str, Any], value: Any) -> None:
        service.pop("image", None)
        said = {"context": value} if isinstance(value, str) else compose_values.mapping(value)
        context = posixpath.normpath(compose_values.interpolated(str(said.get("context", "."))).text or ".")
        if context.startswith(("..", "/")) or "://" in str(said.get("context")):
            self.left(name, "build.context", "only folders of this repository are built")
            context = "."
        build: dict[str, Any] = {"context": context}
        if "dockerfile" in said:
            build["dockerfile"] = str(said["dockerfile"])
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", str(said.get("target", ""))):
            build["target"] = said["target"]
        args = {}
        for variable, text in compose_values.pairs(said.get("args")).items():
            found = compose_values.interpolated(text)
            if found.missing or dotenv.is_secret(variable, found.text):
                self.left(
                    name, f"build.args.{variable}", "it has no value here, or looks like a secret; see build.secrets"
                )
            else:
                args[variable] = found.escaped
        if args:
            build["args"] = args
        self.left_below(name, "build", said.keys() - {"context", "dockerfile", "target", "args"})
        service["build"] = context if build == {"context": context} else build

    def image(self, name: str, service: dict[str, Any], value: Any) -> None:
        if "build" in service:
            return
        found = compose_values.interpolated(str(value))
        if found.missing:
            self.left(name, "the variable in image", f"nothing fills in {', '.join(found.missing)}; write the tag out")
        service["image"] = found.text.rstrip(":@")

    def command(self, key: str, name: str, service: dict[str, Any], value: Any) -> None:
        parts = [value] if isinstance(value, str) else [str(item) for item in compose_values.items(value)]
        found = [compose_values.interpolated(part) for part in parts]
        if any(part.missing for part in found):
            self.left(name, key, "it takes variables from outside; set them under env and write it anew")
            return
        if isinstance(value, str):
            try:
                service[key] = [word.replace("${", "$${") for word in words.split(found[0].text)]
            except ValueError as error:
                if found[0].text:
                    self.left(name, key, str(error))
        elif found:
            service[key] = [part.escaped for part in found]

    def environment(self, name: str, service: dict[str, Any], value: Any) -> None:
        for variable, text in compose_values.pairs(value).items():
            self._variable(name, service, variable, compose_values.interpolated(text))

    def env_file(self, name: str, service: dict[str, Any], value: Any) -> None:
        for item in compose_values.items(value):
            path = str(item.get("path", "")) if isinstance(item, dict) else str(item)
            text = self.files.get(posixpath.normpath(path)) or self.files.get(f"{posixpath.normpath(path)}.example")
            if text is None:
                self.left(
                    name, f"env_file {path}", "it is not in the repository; godploy secrets import takes its values"
                )
                continue
            for variable, written in dotenv.read(text).items():
                if variable not in service.get("env", {}) and variable not in service.get("secrets", ()):
                    self._variable(name, service, variable, compose_values.interpolated(written))

    def _variable(self, name: str, service: dict[str, Any], variable: str, found: compose_values.Interpolated) -> None:
        if not re.fullmatch(naming.VARIABLE, variable):
            self.left(name, f"environment.{variable}", "that is no name of a variable")
            return
        if variable == "PORT":
            if found.text.isdecimal():
                service.setdefault("port", int(found.text))
            return
        refers = self._to_database(service, found.text)
        if refers is not None:
            service.setdefault("env", {})[variable] = refers
        elif variable in found.missing or (not found.missing and dotenv.is_secret(variable, found.text)):
            secrets = service.setdefault("secrets", [])
            if variable not in secrets:
                secrets.append(variable)
            self.draft.note(f"{variable} became a secret: set its value with godploy secrets set {variable}.")
        else:
            service.setdefault("env", {})[variable] = found.with_secrets
            for missing in found.missing:
                self.draft.note(f"{missing} became a secret: set its value with godploy secrets set {missing}.")

    def _to_database(self, service: dict[str, Any], text: str) -> str | None:
        """A reference, where a value is a database's address or password."""
        for name, known in self.databases.items():
            if databases.by_address(text, (name,)):
                scheme = text.partition("://")[0]
                # A driver's own scheme (`postgresql+asyncpg`) needs an address that is put together from its parts.
                refers = known.address(scheme) if "+" in scheme else known.refer("url")
            elif text and text == compose_values.interpolated(known.variables.get(known.known.password or "", "")).text:
                refers = known.refer("password")
            else:
                continue
            needed = service.setdefault("depends_on", [])
            if known.ours not in needed:
                needed.append(known.ours)
            return refers
        return None

    def ports(self, name: str, service: dict[str, Any], value: Any) -> None:
        ports = [port for item in compose_values.items(value) if (port := compose_values.port(item)) is not None]
        if ports:
            service["port"] = ports[0]
        if len(dict.fromkeys(ports)) > 1:
            self.left(
                name, f"port {', '.join(map(str, ports[1:]))}", "a service has one port that is reached from outside"
            )
        if len(ports) < len(compose_values.items(value)):
            self.left(name, "a range of ports or a UDP port", "routes are for HTTP, and lead to one port")

    def expose(self, name: str, service: dict[str, Any], value: Any) -> None:
        ports = [port for item in compose_values.items(value) if (port := compose_values.port(item)) is not None]
        if ports:
            service.setdefault("port", ports[0])

    def volumes(self, name: str, service: dict[str, Any], value: Any) -> None:
        for item in compose_values.items(value):
            source, path, kind = compose_values.mount(item)
            volume = service_name(source)
            if kind != "volume" or source.startswith((".", "/", "~")):
                self.left(
                    name, f"volume {source or path}", "a folder of the host cannot be mounted; build it into the image"
                )
            elif volume is None or not re.fullmatch(r"/[A-Za-z0-9._-][A-Za-z0-9._/-]*", path):
                self.left(name, f"volume {source}:{path}", "a volume needs a name and an absolute path")
            elif not any(mount["path"] == path or mount["name"] == volume for mount in service.get("volumes", ())):
                mount = {"name": volume, "path": path}
                service.setdefault("volumes", []).append(mount)
                self.mounted.setdefault(volume, []).append(mount)

    def depends_on(self, name: str, service: dict[str, Any], value: Any) -> None:
        needed = service.setdefault("depends_on", [])
        for other in [str(item) for item in compose_values.items(value)]:
            ours = self.names.get(other)
            if ours is not None and ours not in needed and other != name:
                needed.append(ours)

    def healthcheck(self, name: str, service: dict[str, Any], value: Any) -> None:
        said = compose_values.mapping(value)
        test = " ".join(str(item) for item in compose_values.items(said.get("test")))
        asked = re.search(r"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0)(?::\d+)?(/[A-Za-z0-9._~/?=&%-]*)?", test)
        if asked is None:
            self.left(name, "healthcheck", str(schema.foreign("Service", "healthcheck")))
            return
        health: dict[str, Any] = {"path": asked[1] or "/"}
        for theirs, ours in (("start_period", "start_timeout"), ("interval", "interval"), ("timeout", "timeout")):
            if duration := compose_values.duration(said.get(theirs)):
                health[ours] = duration
        if str(said.get("retries", "")).isdecimal() and 1 <= int(said["retries"]) <= 100:
            health["failures"] = int(said["retries"])
        service["health"] = health

    def deploy(self, name: str, service: dict[str, Any], value: Any) -> None:
        said = compose_values.mapping(value)
        self.replicas(name, service, said.get("replicas"))
        limits = compose_values.mapping(compose_values.mapping(said.get("resources")).get("limits"))
        self.memory(name, service, limits.get("memory"))
        self.cpus(name, service, limits.get("cpus"))
        self.left_below(name, "deploy", said.keys() - {"replicas", "resources"})

    def replicas(self, name: str, service: dict[str, Any], value: Any) -> None:
        if str(value).isdecimal() and 2 <= int(value) <= 50:
            service["replicas"] = int(value)

    def memory(self, name: str, service: dict[str, Any], value: Any) -> None:
        if size := compose_values.size(value):
            service.setdefault("resources", {})["memory"] = size

    def cpus(self, name: str, service: dict[str, Any], value: Any) -> None:
        if re.fullmatch(r"[0-9]{1,2}(?:\.[0-9]{1,4})?", str(value)) and float(value) >= 0.01:
            service.setdefault("resources", {})["cpus"] = float(value)

    def grace(self, name: str, service: dict[str, Any], value: Any) -> None:
        if duration := compose_values.duration(value):
            service["stop_grace_period"] = duration

    def labels(self, name: str, service: dict[str, Any], value: Any) -> None:
        routes = []
        for label, text in compose_values.pairs(value).items():
            hosts = _RULE_HOST.findall(text) if re.fullmatch(r"traefik\.http\.routers\..*\.rule", label) else []
            for written in hosts:
                try:
                    routes.append(shape.host(written))
                except ValueError:
                    self.left(name, f"the route of {written}", "that is no host name")
        if routes:
            service["routes"] = list(dict.fromkeys(routes))
        else:
            self.left(name, "labels", str(schema.foreign("Service", "labels")))


_Carry = Callable[[_Carrier, str, dict[str, Any], Any], None]

_CARRIED: Mapping[str, _Carry] = {
    "build": _Carrier.build,
    "image": _Carrier.image,
    "command": lambda carrier, name, service, value: carrier.command("command", name, service, value),
    "entrypoint": lambda carrier, name, service, value: carrier.command("entrypoint", name, service, value),
    "environment": _Carrier.environment,
    "env_file": _Carrier.env_file,
    "ports": _Carrier.ports,
    "expose": _Carrier.expose,
    "volumes": _Carrier.volumes,
    "depends_on": _Carrier.depends_on,
    "links": _Carrier.depends_on,
    "healthcheck": _Carrier.healthcheck,
    "deploy": _Carrier.deploy,
    "scale": _Carrier.replicas,
    "mem_limit": _Carrier.memory,
    "cpus": _Carrier.cpus,
    "stop_grace_period": _Carrier.grace,
    "labels": _Carrier.labels,
}
