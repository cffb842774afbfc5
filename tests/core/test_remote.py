"""Which addresses of repositories may be given to git."""

from __future__ import annotations

import subprocess

import pytest

from godploy.core.remote import is_branch, is_commit, is_public, parse, parse_base, parse_server
from godploy.errors import Invalid

BASES = ("http://10.0.0.5:3000", "git://10.0.0.6", "https://git.lan/team", "http://[fd00::5]:3000")


@pytest.mark.parametrize(
    ("url", "host", "port", "private"),
    [
        ("https://github.com/shop/web.git", "github.com", 443, False),
        ("https://GitHub.com/shop/web", "github.com", 443, False),
        ("HTTPS://git.example.com:8443/a/b/c.git", "git.example.com", 8443, False),
        ("https://93.184.216.34/shop.git", "93.184.216.34", 443, False),
        ("https://[2606:2800:220:1::1]/shop.git", "2606:2800:220:1::1", 443, False),
        ("https://git.example.com/~me/it%20works.git", "git.example.com", 443, False),
        ("http://10.0.0.5:3000/shop/web.git", "10.0.0.5", 3000, True),
        ("git://10.0.0.6/web.git", "10.0.0.6", 9418, True),
        ("git://10.0.0.6:9418/web.git", "10.0.0.6", 9418, True),
        ("https://git.lan/team/web.git", "git.lan", 443, True),
        ("http://[fd00::5]:3000/web.git", "fd00::5", 3000, True),
    ],
)
def test_taken(url: str, host: str, port: int, private: bool) -> None:
    remote = parse(url, BASES)
    assert (remote.url, remote.host, remote.port, remote.private) == (url, host, port, private)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "-u",
        "--upload-pack=touch x",
        "-oProxyCommand=id:x",
        "ext::sh -c id",
        "ext::sh%20-c%20id",
        "fd::17/foo",
        "file:///etc",
        "file://localhost/etc",
        "/etc/passwd",
        "./repository",
        "../repository",
        "repository",
        "https://",
        "https:///host/x",
        "https:/host/x",
        "https://host",
        "https://host/",
        "https://-oProxyCommand=id/x",
        "ssh://git@github.com/shop/web.git",
        "ssh://-oProxyCommand=id/x",
        "git+ssh://git@github.com/shop/web.git",
        "git@github.com:shop/web.git",
        "github.com:shop/web.git",
        "http://github.com/shop/web.git",
        "git://github.com/shop/web.git",
        "ftp://example.com/x",
        "https://user@github.com/shop/web.git",
        "https://user:password@github.com/shop/web.git",
        "https://github.com:@10.0.0.5/x",
        "https://github.com/shop/web.git\n",
        "https://github.com/shop/\x00web.git",
        "https://github.com/shop/ web.git",
        "https://github.com/shop/web.git?x=y",
        "https://github.com/shop/web.git#x",
        "https://github.com\\@10.0.0.5/x",
        "https://github.com/../x",
        "https://github.com/shop/%2e%2e/x",
        "https://github.com/shop%2f..%2f..%2fx",
        "https://github.com/a//b",
        "https://exämple.com/x",
        "https://example.com./x",
        "https://exa mple.com/x",
        "https://example.com:0/x",
        "https://example.com:65536/x",
        "https://example.com:x/x",
        "https://127.0.0.1/x",
        "https://127.1/x",
        "https://2130706433/x",
        "https://0x7f000001/x",
        "https://0177.0.0.1/x",
        "https://127.0.0.0x1/x",
        "https://10.0.0.5/x",
        "https://169.254.169.254/latest",
        "https://100.64.0.1/x",
        "https://0.0.0.0/x",
        "https://[::1]/x",
        "https://[::ffff:127.0.0.1]/x",
        "https://[fd00::5]/x",
        "https://[64:ff9b::7f00:1]/x",
        "https://[::1/x",
        "https://[nonsense]/x",
        "http://10.0.0.5/web.git",  # another port than the listed one
        "http://10.0.0.5:30000/web.git",
        "http://10.0.0.5:3000@example.com/web.git",
        "git://10.0.0.5:3000/web.git",
        "http://git.lan/team/web.git",
        "http://10.0.0.5:3000/",
        "https://" + "a" * 64 + ".com/x",
        "https://example.com/" + "a" * 3000,
    ],
)
def test_refused(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(url, BASES)
    assert refused.value.code == "repository_refused"
    assert "password" not in refused.value.message or "user name" in refused.value.message
    assert refused.value.message.isprintable()


@pytest.mark.parametrize(
    "url, reason, next_step",
    [
        (
            "http://git.example.com",
            "http://git.example.com cannot be used: http:// is served only below the private bases",
            "Use https://git.example.com, or ask a server administrator to list http://git.example.com in ",
        ),
        (
            "http://10.0.0.9:3000/git",
            "http://10.0.0.9:3000/git cannot be used: http:// is served only below the private bases",
            "Ask a server administrator to list http://10.0.0.9:3000 in private_bases.",
        ),
        ("https://10.0.0.9", "https://10.0.0.9 cannot be used: it is a private address", "Ask a server administrator"),
        ("git.example.com", "git.example.com cannot be used: it is no address", "Write it with https:// in front."),
        ("https://ada:password@git.example.com", "https://•••@git.example.com cannot be used", "Leave that out"),
        ("ssh://git.example.com", "ssh://•••@git.example.com cannot be used: ssh needs a key", "Use https://"),
    ],
)
def test_a_server_is_refused_by_the_address_that_was_given(url: str, reason: str, next_step: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_server(url, BASES)
    assert refused.value.message.startswith(reason)
    assert refused.value.next_step.startswith(next_step)


def test_a_server_needs_no_path() -> None:
    assert parse_server("http://10.0.0.5:3000", BASES).private
    assert not parse_server("https://git.example.com/below", BASES).private


def test_a_base_with_a_path_covers_whole_names_below_it_only() -> None:
    assert parse("https://git.lan/team/web.git", BASES).private
    assert not parse("https://git.lan/teamster/web.git", BASES).private
    assert not parse("https://git.lan/web.git", BASES).private


SSH_BASES = ("ssh://10.0.0.5:2222", "ssh://git.lan/team", "http://10.0.0.6")


@pytest.mark.parametrize(
    ("url", "normal", "host", "port", "user", "private"),
    [
        ("ssh://git@github.com/shop/web.git", "ssh://git@github.com/shop/web.git", "github.com", 22, "git", False),
        ("ssh://github.com/shop/web.git", "ssh://git@github.com/shop/web.git", "github.com", 22, "git", False),
        ("SSH://git@GitHub.com:22/a/b", "ssh://git@github.com/a/b", "github.com", 22, "git", False),
        ("ssh://me.you-2_x@h.example:2222/~/b", "ssh://me.you-2_x@h.example:2222/~/b", "h.example", 2222,
         "me.you-2_x", False),
        ("ssh://[2606:2800:220:1::1]/x", "ssh://git@[2606:2800:220:1::1]/x", "2606:2800:220:1::1", 22, "git", False),
        ("git@github.com:shop/web.git", "ssh://git@github.com/shop/web.git", "github.com", 22, "git", False),
        ("github.com:shop/web.git", "ssh://git@github.com/shop/web.git", "github.com", 22, "git", False),
        ("me@github.com:/srv/web.git", "ssh://me@github.com/srv/web.git", "github.com", 22, "me", False),
        ("git@[2606:2800:220:1::1]:x", "ssh://git@[2606:2800:220:1::1]/x", "2606:2800:220:1::1", 22, "git", False),
        ("ssh://git@10.0.0.5:2222/web.git", "ssh://git@10.0.0.5:2222/web.git", "10.0.0.5", 2222, "git", True),
        ("ssh://me@git.lan/team/web", "ssh://me@git.lan/team/web", "git.lan", 22, "me", True),
        ("git@git.lan:team/web", "ssh://git@git.lan/team/web", "git.lan", 22, "git", True),
        ("git@git.lan:other/web", "ssh://git@git.lan/other/web", "git.lan", 22, "git", False),
    ],
)  # fmt: skip
def test_ssh_taken(url: str, normal: str, host: str, port: int, user: str, private: bool) -> None:
    remote = parse(url, SSH_BASES, ssh=True)
    found = (remote.url, remote.scheme, remote.host, remote.port, remote.user, remote.private)
    assert found == (normal, "ssh", host, port, user, private)
    assert parse(remote.url, SSH_BASES, ssh=True) == remote


@pytest.mark.parametrize(
    "url",
    [
        "ssh://git:password@github.com/x",
        "ssh://:password@github.com/x",
        "ssh://@github.com/x",
        "ssh://a@b@github.com/x",
        "ssh://-oProxyCommand=id@github.com/x",
        "ssh://-l@github.com/x",
        "ssh://a%0ab@github.com/x",
        "ssh://$(id)@github.com/x",
        "ssh://-oProxyCommand=id/x",
        "ssh://git@-oProxyCommand/x",
        "ssh://git@github.com",
        "ssh://git@github.com/",
        "ssh://git@github.com/../x",
        "ssh://git@github.com/%2e%2e/x",
        "ssh://git@github.com:0/x",
        "ssh://git@127.0.0.1/x",
        "ssh://git@[::1]/x",
        "ssh://git@0x7f000001/x",
        "ssh://git@10.0.0.5/web.git",  # another port than the listed one
        "ssh://git@10.0.0.6/web.git",  # listed for another scheme
        "git+ssh://git@github.com/x",
        "-oProxyCommand=id:x",
        "git@-oProxyCommand=id:x",
        "-l@github.com:x",
        "git@github.com:",
        "git@github.com:../x",
        "git@github.com:a b",
        "git@127.0.0.1:x",
        "git@127.1:x",
        "git@[::1]:x",
        "git@github.com::x",
        "ext::sh -c id",
        "ext::id",
        "fd::17/foo",
        "file:///etc",
        "/etc/passwd",
    ],
)
def test_ssh_refused(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(url, SSH_BASES, ssh=True)
    assert refused.value.code == "repository_refused"
    assert refused.value.message.isprintable()


def test_a_key_opens_no_other_scheme() -> None:
    with pytest.raises(Invalid):
        parse("http://github.com/x", SSH_BASES, ssh=True)


@pytest.mark.parametrize("url", ["git@github.com:shop/web.git", "ssh://github.com/shop/web.git"])
def test_the_refusal_of_ssh_names_what_works(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(url)
    assert "https://github.com/shop/web.git" in refused.value.next_step
    assert "repositories add NAME --url ssh://git@github.com/shop/web.git" in refused.value.next_step


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://GitHub.com/x", "https://github.com"),
        ("https://github.com:443/x", "https://github.com"),
        ("http://10.0.0.5:3000/x", "http://10.0.0.5:3000"),
        ("http://[fd00::5]:3000/x", "http://[fd00::5]:3000"),
    ],
)
def test_the_origin(url: str, origin: str) -> None:
    assert parse(url, BASES).origin == origin


@pytest.mark.parametrize(
    "url",
    ["https://me:hunter22@github.com/x", "ssh://me:hunter22@github.com/x", "me:hunter22@github.com:x", "x:hunter22@y"],
)
def test_a_password_is_not_repeated(url: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(url, ssh=True)
    assert "hunter22" not in refused.value.message + refused.value.next_step


@pytest.mark.parametrize(
    "base", ["", "10.0.0.5", "file:///srv", "http://user@10.0.0.5", "ssh://git@10.0.0.5", "git@10.0.0.5:x"]
)
def test_a_base_is_checked_as_well(base: str) -> None:
    with pytest.raises(Invalid):
        parse_base(base)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("100.127.255.255", False),
        ("0.0.0.0", False),
        ("0.1.2.3", False),
        ("192.0.0.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("239.1.1.1", False),
        ("255.255.255.255", False),
        ("240.0.0.1", False),
        ("::", False),
        ("::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("::7f00:1", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("fec0::1", False),
        ("fd12::1", False),
        ("ff02::1", False),
        ("64:ff9b::a00:1", False),
        ("64:ff9b:1::a00:1", False),
        ("2002:a00:1::", False),
        ("2001:0:4136:e378::", False),
        ("2001:db8::1", False),
        ("nonsense", False),
        ("", False),
    ],
)
def test_public(address: str, public: bool) -> None:
    assert is_public(address) is public


BRANCHES = [
    "main", "feature/x", "v1.2", "a-b_c", "ünïcode", "x@y", "a.b", "-x", "", "/x", "x/", "a//b", "a..b", "a.", ".a",
    "a/.b", "a.lock", "a.lock/b", "a b", "a\tb", "a~b", "a^b", "a:b", "a?b", "a*b", "a[b", "a\\b", "a@{b", "@", "a\n",
    "$(id)", "`id`", ";id", "a|b", "\"><svg>", "a\x7fb", "a'b", "x.lockx", "@/x",
]  # fmt: skip


@pytest.mark.parametrize("name", BRANCHES)
def test_branch_names_are_those_of_git(name: str) -> None:
    checked = subprocess.run(["git", "check-ref-format", f"refs/heads/{name}"], check=False)
    assert is_branch(name) is (checked.returncode == 0 and not name.startswith("-"))


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("a" * 40, True),
        ("0" * 64, True),
        ("a" * 39, False),
        ("a" * 41, False),
        ("A" * 40, False),
        ("a" * 40 + "\n", False),
        ("main", False),
        ("", False),
    ],
)
def test_commit_names(text: str, good: bool) -> None:
    assert is_commit(text) is good
