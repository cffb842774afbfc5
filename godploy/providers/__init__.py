"""Git providers: where people keep their code. One module a provider, each pure: see `protocol`."""

from __future__ import annotations

from collections.abc import Mapping

from godploy.providers.bitbucket import BITBUCKET
from godploy.providers.generic import GENERIC
from godploy.providers.gitea import GITEA
from godploy.providers.github import GITHUB
from godploy.providers.gitlab import GITLAB
from godploy.providers.protocol import Host, Sender

HOSTS: Mapping[str, Host] = {"github": GITHUB, "gitlab": GITLAB, "bitbucket": BITBUCKET, "gitea": GITEA}
"""What can be asked, by name; adding one is a module and a line here and below."""

SENDERS: Mapping[str, Sender] = {
    "generic": GENERIC,
    "github": GITHUB,
    "gitlab": GITLAB,
    "bitbucket": BITBUCKET,
    "gitea": GITEA,
}
"""Whose deliveries are understood, by name."""
