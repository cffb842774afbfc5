"""Commands on what runs: its state, its logs, its start and end, and one-off commands beside it."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from godploy.cli import following, show
from godploy.cli.client import StreamBrokenError, told
from godploy.cli.target import Target, at_project, json_option, wait_option
from godploy.errors import NotFound

_PS_HEADS = (
    "SERVICE",
    "ENVIRONMENT",
    "STATE",
    "HEALTH",
    "REPLICAS",
    "CPU",
    "MEMORY",
    "NET IN/OUT",
    "RUNS",
    "RELEASE",
    "ADDRESS",
)
_STARTING = 900.0  # seconds: a start goes on until the service answers or its time is over


@click.command()
@at_project(environment=True)
@json_option
def ps(target: Target, as_json: bool) -> None:
    """Show what runs, with CPU, memory and network as they are now.

    Example: godploy ps
    """
    answer = target.client.get(*target.path("services"), environment=target.environment, stats=True)
    if as_json:
        show.as_json(answer)
        return
    several = len({found["environment"] for found in answer["services"]}) > 1
    rows = [
        (
            found["service"],
            found["environment"] if several else None,
            show.state(found["state"]),
            show.state(found["health"] or ""),
            f"{found['running']}/{found['replicas']}",
            _share(found["cpu"]),
            _memory(found),
            _traffic(found),
            (found["commit"] or "")[:9] or found["image"].removeprefix("sha256:")[:24],
            found["release"],
            " ".join(found["routes"]),
        )
        for found in answer["services"]
    ]
    show.table(_PS_HEADS, rows, empty="nothing runs here yet")


@click.command()
@click.argument("what", metavar="[SERVICE|NUMBER]", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("--tail", type=click.IntRange(0, 10_000), metavar="N", help="At most N lines of the past.")
@at_project(environment=True)
@json_option
def logs(target: Target, what: str | None, follow: bool, tail: int | None, as_json: bool) -> None:
    """Show the log of a service, by its name, or of a deployment, by its number.

    Without either it is the newest deployment's.

    Example: godploy logs web -f
    """
    if what is not None and not what.isdecimal():
        _service_log(target, what, follow, tail, as_json)
        return
    _deployment_log(target, _newest(target) if what is None else int(what), follow, tail, as_json)


@click.command()
@click.argument("services", nargs=-1)
@wait_option
@at_project(environment=True, repository="linked")
@json_option
def restart(target: Target, services: tuple[str, ...], wait: bool, as_json: bool) -> None:
    """Start services anew from the current release, without a gap; without names, all of the repository's.

    Example: godploy restart web
    """
    asked = _by_source(target, services) if services else [(target.repository, [])]
    begun = [
        target.client.post(*target.path("restart"), body=target.choice(repository=source, services=names or None))
        for source, names in asked
    ]
    following.started(target, begun, wait=wait, as_json=as_json)


@click.command()
@click.argument("service")
@at_project(environment=True)
@json_option
def stop(target: Target, service: str, as_json: bool) -> None:
    """Stop a service until it is started again; a push does not start it.

    Example: godploy stop worker
    """
    _set_stopped(target, service, "stop", as_json)


@click.command()
@click.argument("service")
@at_project(environment=True)
@json_option
def start(target: Target, service: str, as_json: bool) -> None:
    """Start a stopped service.

    Example: godploy start worker
    """
    _set_stopped(target, service, "start", as_json)


@click.command(context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False})
@click.option("-s", "--service", metavar="NAME", help="Whose image and environment; needed where there are several.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@at_project(environment=True)
@json_option
def run(target: Target, service: str | None, command: tuple[str, ...], as_json: bool) -> None:
    """Run a one-off command in the image and environment of the current release.

    Its exit code becomes this program's.

    Example: godploy run -s web -- python manage.py createsuperuser --no-input
    """
    body = {"argv": list(command), "service": service, "environment": target.environment}
    given = {key: value for key, value in body.items() if value is not None}
    for happening in target.client.stream("POST", *target.path("runs"), body=given):
        if as_json:
            show.as_json_line({"event": happening.kind, **happening.data})
        elif happening.kind == "line":
            _output(happening.data["text"])
        if happening.kind == "error":
            raise told(happening.data.get("error", happening.data))
        if happening.kind == "end":
            raise click.exceptions.Exit(_exit_code(happening.data["exit_code"]))
    raise StreamBrokenError("the connection ended before the command did")


@click.command("open")
@click.argument("service", required=False)
@at_project(environment=True)
@json_option
def open_address(target: Target, service: str | None, as_json: bool) -> None:
    """Print the address of a service, and open it where there is a browser.

    Example: godploy open web
    """
    answer = target.client.get(*target.path("services"), environment=target.environment or "production")
    addresses = {found["service"]: found["routes"] for found in answer["services"] if found["routes"]}
    if service is not None:
        addresses = {service: addresses[service]} if service in addresses else {}
    if not addresses:
        raise NotFound(
            f"{service or 'no service'} has {'no' if service else 'an'} address", next_step="godploy ps shows what runs"
        )
    name, routes = next(iter(addresses.items()))
    if as_json:
        show.as_json({"service": name, "addresses": routes})
        return
    show.line(routes[0])
    if sys.stdout.isatty() and (
        sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        click.launch(routes[0])


def _service_log(target: Target, service: str, follow: bool, tail: int | None, as_json: bool) -> None:
    query = {"environment": target.environment, "tail": 100 if tail is None else tail, "follow": follow}
    replicas: set[Any] = set()
    for happening in target.client.stream("GET", *target.path("services", service, "logs"), query=query):
        if happening.kind == "end":
            return
        if happening.kind == "error":
            raise told(happening.data.get("error", happening.data))
        if happening.kind != "line":
            continue
        if as_json:
            show.as_json_line(happening.data)
            continue
        replicas.add(happening.data.get("replica"))
        which = f"{service}.{happening.data['replica']}" if len(replicas) > 1 else service
        show.foreign(f"{_clock(happening.data['at'])} {which}  {happening.data['text']}")
    raise StreamBrokenError(f"the connection to {target.client.url} ended")


def _deployment_log(target: Target, number: int, follow: bool, tail: int | None, as_json: bool) -> None:
    def print_line(line: dict[str, Any]) -> None:
        if as_json:
            show.as_json_line(line)
        else:
            show.foreign(line["text"])

    if follow:
        following.follow(target, number, print_line, tail=tail)
        return
    lines = target.client.get(*target.path("deployments", number, "log"))["lines"]
    for line in lines if tail is None else lines[max(0, len(lines) - tail) :]:
        print_line(line)


def _newest(target: Target) -> int:
    query = {"environment": target.environment, "limit": 1}
    found = target.client.get(*target.path("deployments"), **query)["deployments"]
    if not found:
        raise NotFound("nothing was deployed here yet", next_step="git push godploy main")
    return int(found[0]["number"])


def _by_source(target: Target, names: tuple[str, ...]) -> list[tuple[str | None, list[str]]]:
    """The services by the source that they come from, since each has a deployment of its own."""
    query = {"environment": target.environment or "production"}
    there = {
        found["service"]: found["source"] for found in target.client.get(*target.path("services"), **query)["services"]
    }
    missing = [name for name in names if name not in there]
    if missing:
        raise NotFound(
            f"there is no service {missing[0]} in {query['environment']}",
            next_step=f"choose one of {', '.join(there) or 'none'}",
        )
    sources: dict[str | None, list[str]] = {}
    for name in dict.fromkeys(names):
        sources.setdefault(there[name], []).append(name)
    return list(sources.items())


def _set_stopped(target: Target, service: str, verb: str, as_json: bool) -> None:
    path = target.path("services", service, verb)
    answer = target.client.call("POST", *path, body=target.choice(), timeout=_STARTING)
    if as_json:
        show.as_json(answer)
    else:
        show.line(f"{service} in {answer['environment']} is {'stopped' if answer['stopped'] else 'started'}")


def _output(text: str) -> None:
    """What a command printed: harmless on a terminal, as it is into a file or another program."""
    if sys.stdout.isatty():
        show.foreign(text)
    else:
        click.echo(text)


def _exit_code(code: int) -> int:
    return code if 0 <= code <= 255 else 1


def _share(cpu: float | None) -> str:
    """Per cent of one core."""
    return "" if cpu is None else f"{cpu * 100:.1f}%"


def _memory(service: dict[str, Any]) -> str:
    used, limit = show.size(service["memory"]), show.size(service["memory_limit"])
    return f"{used}/{limit}" if used and limit else used


def _traffic(service: dict[str, Any]) -> str:
    if service["received"] is None:
        return ""
    return f"{show.size(service['received'])}/{show.size(service['sent'])}"


def _clock(moment: str) -> str:
    return show.moment(moment)[-8:]
