"""`godploy`: finds the command, loads only what that needs, and turns every failure into a sentence and an exit code.

Exit codes: 0 fine, 1 failed, 2 wrong usage, 130 interrupted; `godploy run` passes on that of its command.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from godploy import __version__
from godploy.errors import GodployError

# Name → module[:attribute]. Loaded one at a time: `godploy version` and git's helper must not pay for the rest.
_COMMANDS = {
    "serve": "serving",
    "user": "serving",
    "doctor": "examining",
    "packet-rules": "packets:packet_rules",
    "backup": "backing_up",
    "restore": "backing_up",
    "version": "serving",
    "install": "installing",
    "uninstall": "installing",
    "init": "authoring",
    "validate": "authoring",
    "plan": "authoring",
    "login": "signing_in",
    "logout": "signing_in",
    "git-credential": "signing_in:git_credential",
    "tokens": "signing_in",
    "link": "projects",
    "projects": "projects",
    "repositories": "repositories",
    "connections": "connections",
    "oauth": "oauth_clients",
    "templates": "projects",
    "volumes": "belongings",
    "hosts": "belongings",
    "secrets": "belongings",
    "manifest": "manifests",
    "deploy": "deploying",
    "deployments": "deploying",
    "releases": "deploying",
    "rollback": "deploying",
    "cancel": "deploying",
    "deliveries": "deploying",
    "pulls": "pulls",
    "logs": "running",
    "ps": "running",
    "restart": "running",
    "stop": "running",
    "start": "running",
    "run": "running",
    "open": "running:open_address",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name].partition(":")
        found = getattr(importlib.import_module(f"godploy.cli.{module}"), attribute or cmd_name)
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], _COMMANDS, 1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise click.UsageError(f'there is no command "{args[0]}"{hint}', ctx)
        return super().resolve_command(ctx, args)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="godploy %(version)s")
def godploy() -> None:
    """Push code to your own server, and it is live.

    A first deployment: godploy init, godploy login URL, godploy link, git push godploy main.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """The entry point of the program; ends it with its exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; what went wrong stands on standard error."""
    try:
        code = godploy.main(list(arguments) if arguments is not None else None, "godploy", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except GodployError as error:
        _complain(error.message, error.next_step, error.fields.get("problems", ()))
        return 1
    except click.UsageError as error:
        context = error.ctx.command_path if error.ctx else "godploy"
        _complain(error.format_message(), f"{context} --help")
        return 2
    except click.ClickException as error:
        _complain(error.format_message())
        return 1
    except click.Abort as error:
        if isinstance(error.__cause__, EOFError):
            _complain("there was nobody to answer", "run this in a terminal, or give the answer as an option")
            return 1
        return 130
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough; Python would complain once more while it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _complain(message: str, next_step: str = "", problems: Sequence[str] = ()) -> None:
    from godploy.cli.show import safe

    for problem in problems:
        click.echo(safe(str(problem)), err=True)
    click.echo(click.style("error:", fg="red", bold=True) + f" {safe(message)}", err=True, color=_colours())
    if next_step:
        click.echo(click.style("next:", bold=True) + f" {safe(next_step)}", err=True, color=_colours())


def _colours() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


if __name__ == "__main__":
    main()
