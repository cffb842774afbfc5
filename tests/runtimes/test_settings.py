"""What a container is made with: an exact list, so that nothing can be added to it unnoticed."""

from __future__ import annotations

from typing import Any

import pytest

from godploy.runtimes.engine import settings
from godploy.runtimes.engine.settings import Place
from godploy.runtimes.protocol import Launch, Ref

REF = Ref("wabcdef", "eabcdef", "sabcdef", "web")
LAUNCH = Launch(
    REF,
    "sha256:1",
    command=("serve", "--all"),
    env={"PORT": "8000", "PASSWORD": "pa$$ = 'x'\n"},
    mounts=(("data", "/data"),),
    port=8000,
    cpus=0.5,
    memory=64 << 20,
    pids=100,
    stop_grace=20,
)


def test_the_whole_of_it() -> None:
    place = Place(REF, 2, "10.1.0.9", named=True)
    assert settings.container(LAUNCH, place, "one", processors=2) == {
        "Image": "sha256:1",
        "Cmd": ["serve", "--all"],
        "Env": ["PORT=8000", "PASSWORD=pa$$ = 'x'\n"],
        "Labels": {
            "godploy.instance": "one",
            "godploy.environment": "eabcdef",
            "godploy.stack": "sabcdef",
            "godploy.service": "web",
            "godploy.workload": "wabcdef",
            "godploy.replica": "2",
            "godploy.address": "10.1.0.9",
            "godploy.port": "8000",
        },
        "StopTimeout": 20,
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "NetworkMode": "gp-eabcdef",
            "RestartPolicy": {"Name": "no"},
            "Init": True,
            "CapDrop": ["ALL"],
            "CapAdd": list(settings.CAPABILITIES),
            "SecurityOpt": ["no-new-privileges:true"],
            "NanoCpus": 500_000_000,
            "Memory": 64 << 20,
            "MemorySwap": 64 << 20,
            "PidsLimit": 100,
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
            "Mounts": [{"Type": "volume", "Source": "gp-eabcdef-data", "Target": "/data"}],
        },
        "NetworkingConfig": {
            "EndpointsConfig": {"gp-eabcdef": {"IPAMConfig": {"IPv4Address": "10.1.0.9"}, "Aliases": ["web"]}}
        },
    }
    assert place.name == "gp-eabcdef-web-wabcdef-2"


def test_no_name_no_command_and_no_more_processors_than_there_are() -> None:
    launch = Launch(REF, "sha256:1", cpus=16)
    config = settings.container(launch, Place(REF, 1, "10.1.0.9", run=True), "one", processors=2)
    assert "Cmd" not in config
    assert "Entrypoint" not in config
    assert config["HostConfig"]["NanoCpus"] == 2_000_000_000
    assert config["NetworkingConfig"]["EndpointsConfig"]["gp-eabcdef"]["Aliases"] == []
    assert config["Labels"]["godploy.run"] == "wabcdef"
    assert "godploy.port" not in config["Labels"]


@pytest.mark.parametrize("forbidden", ["NET_RAW", "MKNOD", "SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE", "SETFCAP"])
def test_capabilities_that_nobody_gets(forbidden: str) -> None:
    assert forbidden not in settings.CAPABILITIES


@pytest.mark.parametrize(
    ("policy", "aliases", "port", "promoted"),
    [
        ("unless-stopped", ["web", "0123456789ab"], "8000", True),
        ("unless-stopped", ["0123456789ab"], "8000", False),
        ("unless-stopped", None, None, True),
        ("no", ["web"], "8000", False),
    ],
)
def test_promoted_is_name_and_policy(policy: str, aliases: list[str] | None, port: str | None, promoted: bool) -> None:
    found = settings.found(inspection(policy=policy, aliases=aliases, port=port))
    assert found.promoted is promoted
    assert found.ref == REF


def test_a_container_that_lost_its_network_is_still_found() -> None:
    tree = inspection(policy="no", aliases=None, port="8000")
    tree["NetworkSettings"]["Networks"] = {}
    found = settings.found(tree)
    assert (found.named, found.address, found.replica) == (False, "10.1.0.9", 2)


def inspection(*, policy: str, aliases: list[str] | None, port: str | None) -> dict[str, Any]:
    labels = settings.container(LAUNCH, Place(REF, 2, "10.1.0.9"), "one", processors=2)["Labels"]
    if port is None:
        del labels["godploy.port"]
    return {
        "Id": "0123",
        "State": {
            "Status": "running",
            "Pid": 7,
            "ExitCode": 0,
            "OOMKilled": False,
            "StartedAt": "2026-01-01T00:00:00Z",
            "Error": "",
        },
        "RestartCount": 0,
        "Config": {"Labels": labels, "StopSignal": "SIGQUIT"},
        "HostConfig": {"RestartPolicy": {"Name": policy}},
        "NetworkSettings": {"Networks": {"gp-eabcdef": {"Aliases": aliases}}},
    }
