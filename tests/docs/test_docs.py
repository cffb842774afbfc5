"""The documentation says what is so: generated parts are current, named commands exist, links lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import click
import pytest

from godploy import settings
from godploy.cli.main import godploy
from godploy.core.facts import Policy
from godploy.core.failures import FAILURES
from godploy.core.manifest import parse
from godploy.core.template import shipped
from godploy.settings import Settings
from tests.docs import generated

CHECKOUT = generated.DOCS.parent
PAGES = [CHECKOUT / "README.md", *sorted(generated.DOCS.glob("*.md"))]


def rows(page: str, first: str) -> list[list[str]]:
    """The cells of the table that has `first` as its first column's head."""
    table = (generated.DOCS / page).read_text().partition(f"\n| {first} |")[2].partition("\n\n")[0]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


@pytest.mark.parametrize("page", generated.pages(), ids=lambda page: page.name)
def test_generated_parts_are_current(page: Path) -> None:
    assert page.read_text() == generated.pages()[page], "run: python -m tests.docs.generated"


def test_every_setting_stands_on_its_page_with_its_default() -> None:
    told = {name: (variable, default) for name, variable, default, _ in rows("settings.md", "`config.yaml`")}
    assert told.pop("policy") == ("", "none")
    known = [field for field in fields(Settings) if field.name not in ("data", "policies")]
    words = {(): "none", "": "none", None: "none", "capabilities": "a short list"}
    assert told == {
        field.name: (
            f"GODPLOY_{field.name.upper()}",
            words.get(field.name) or words.get(field.default) or str(field.default).removesuffix(".0"),
        )
        for field in known
    }


def test_every_limit_of_the_policy_stands_on_its_page() -> None:
    assert [row[0] for row in rows("settings.md", "limit")] == [field.name for field in fields(Policy)]


def test_the_settings_of_the_page_can_be_loaded(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (generated.DOCS / "settings.md").read_text(), re.DOTALL)
    (tmp_path / "config.yaml").write_text("".join(blocks))
    found = settings.load(tmp_path, {})
    assert found.private_bases == ("http://10.0.0.5:3000", "git://10.0.0.6")
    assert found.policy("shop").memory == 4 << 30
    assert found.policy("blog").memory == 2 << 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]*)(?:#[^)]*)?\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_manifests_in_the_text_are_valid(page: Path) -> None:
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL):
        if re.search(r"^version: 1$", block, re.MULTILINE):
            parse(block.encode(), templates=shipped())


def commands_in(text: str) -> Iterator[str]:
    return (found.strip() for found in re.findall(r"(?:`|\$ |: |: \"|^)(godploy [a-z][^`\n;]*)", text, re.MULTILINE))


@pytest.mark.parametrize(
    "command",
    sorted(
        {command for page in PAGES for command in commands_in(page.read_text())}
        | {command for known in FAILURES.values() for command in commands_in(known.next_step)}
        | {
            "godploy " + word
            for known in FAILURES.values()
            for word in re.findall(r"godploy ([a-z-]+)", known.next_step)
        }
    ),
)
def test_commands_that_are_named_exist_and_take_these_options(command: str) -> None:
    words = shlex.split(re.sub(r"[<>].*| &&.*| #.*| -- .*|[.,)(]+$", "", command))[1:]
    found: click.Command = godploy
    with click.Context(found) as context:
        while words and isinstance(found, click.Group):
            name = words.pop(0)
            next_one = found.get_command(context, name)
            assert next_one is not None, f"there is no {name}"
            found = next_one
    known = {option for parameter in found.params for option in parameter.opts} | {"--help"}
    if found.context_settings.get("ignore_unknown_options"):  # a script's, which names them in its opening comment
        script = CHECKOUT / "install" / f"{found.name}.sh"
        known |= set(re.findall(r"^#     (--[a-z-]+)", script.read_text(), re.MULTILINE))
    assert {word for word in words if word.startswith("-")} <= known
