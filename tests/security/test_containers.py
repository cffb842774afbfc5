"""What a manifest can make of a container: exactly this, and nothing that reaches the machine."""

from __future__ import annotations

import json
from typing import Any

import pytest

from godploy.core import manifest as manifests
from godploy.errors import Invalid
from godploy.runtimes.engine import settings
from godploy.runtimes.engine.settings import Place
from godploy.runtimes.protocol import Launch, Ref

HOSTILE: dict[str, Any] = {
    "privileged": True, "cap_add": ["SYS_ADMIN"], "devices": ["/dev/sda"], "pid": "host", "ipc": "host", "uts": "host",
    "network": "host", "network_mode": "host", "userns_mode": "host", "cgroup": "host", "cgroup_parent": "/",
    "security_opt": ["seccomp:unconfined"], "sysctls": {"kernel.x": 1}, "ulimits": {"nofile": 1}, "runtime": "runc",
    "labels": {"traefik.enable": "true"}, "ports": ["0.0.0.0:22:22"], "expose": [22], "extra_hosts": ["a:1.2.3.4"],
    "dns": ["1.1.1.1"], "links": ["other"], "volumes_from": ["other"], "tmpfs": ["/x"], "user": "0",
    "group_add": ["docker"],
    "container_name": "godploy-traefik-main", "hostname": "x", "domainname": "x", "mac_address": "x", "init": False,
    "restart": "always", "logging": {"driver": "syslog"}, "shm_size": "1G", "oom_kill_disable": True,
    "oom_score_adj": -1000,
    "pids_limit": -1, "mem_swappiness": 0, "cpu_rt_runtime": 1, "blkio_config": {},
    "device_cgroup_rules": ["a *:* rwm"],
    "gpus": "all", "isolation": "x", "storage_opt": {}, "stop_signal": "SIGKILL", "working_dir": "/",
    "env_file": "/etc/shadow",
    "configs": ["x"], "profiles": ["x"], "extends": {"file": "/etc/passwd"}, "annotations": {}, "credential_spec": {},
    "healthcheck": {}, "read_only": True, "networks": ["bridge"], "driver": "local", "driver_opts": {"device": "/"},
}  # fmt: skip
VOLUMES: list[Any] = [
    "/etc:/host", "/var/run/docker.sock:/var/run/docker.sock", "../x:/x", ".:/x", "~/x:/x", "a:/x:rw",
    "a:/x,volume-driver=x",
    "a:x", "a:/../x", "a:/x/../../etc", "a:/", "a:", ":/x", "A:/x", "a/b:/x", "a:/x\n", "a:/x\x00", "C:\\x:/x",
    {"name": "a", "path": "/x", "driver": "local"}, {"name": "a", "path": "/x", "driver_opts": {"type": "none",
    "o": "bind"}},
    {"type": "bind", "source": "/", "target": "/x"}, {"name": "a", "path": "/x", "external": True},
    {"name": "/etc", "path": "/x"}, {"name": "a", "path": "/x", "nocopy": True}, {"name": "gp-other.x", "path": "/x"},
]  # fmt: skip
IMAGES = [
    "-v", "--privileged", "x y", "x\n", "x;id", "$(id)", "`id`", "x\x00", "../x", "http://x/y", "file:///etc",
    "docker-archive:/x",
    "a/../../containers/x", "a/..", "a/./b", "a//b", "/a", "a/", "a:b:c", "a@sha256:x", "A/../b", "a@b",
    "x'", 'x"', "x|y", "x&y", "\u202ex", "", "é", "${secrets.X}", "x" * 500,
]  # fmt: skip
WORDS = [["a\x00b"], "a\x00b", "a; id", "a | b", "a && b", "a > /etc/x", "a `id`", "a $(id)", "a $HOME", "a 'b"]


def refused(**service: Any) -> str:
    """The first complaint about a service with these keys."""
    base = {} if {"image", "build", "template"} & service.keys() else {"image": "app:1"}
    with pytest.raises(Invalid) as caught:
        manifests.parse(json.dumps({"version": 1, "services": {"web": {**base, **service}}}), templates={})
    return caught.value.problems[0]


@pytest.mark.parametrize("key", HOSTILE)
def test_no_key_gives_power_over_the_machine(key: str) -> None:
    assert ":1:" in refused(**{key: HOSTILE[key]})


@pytest.mark.parametrize("volume", VOLUMES, ids=repr)
def test_a_volume_is_a_name_and_a_folder(volume: Any) -> None:
    refused(volumes=[volume])


@pytest.mark.parametrize("image", IMAGES, ids=repr)
def test_an_image_is_a_name(image: str) -> None:
    refused(image=image)


@pytest.mark.parametrize("command", WORDS, ids=repr)
def test_a_command_is_words_without_a_shell(command: Any) -> None:
    refused(command=command)


@pytest.mark.parametrize(
    "build",
    ["/", "/etc", "..", "../..", "a/../../b", "a\\b", "a\x00", "a\n", {"dockerfile": "/etc/shadow"},
    {"dockerfile": "../Dockerfile"},
     {"context": "a", "dockerfile": "../../x"}, {"target": "-x"}, {"target": "a b"}, {"target": "a\n"},
     {"network": "host"},
     {"ssh": "default"}, {"entitlements": ["security.insecure"]}, {"cache_from": ["x"]}, {"extra_hosts": ["a:1"]},
     {"secrets": ["../x"]}, {"secrets": ["a,src=/etc/shadow"]}, {"secrets": ["A\n"]}, {"args": {"A,src=/x": "b"}},
     {"args": {"A": "${secrets.X}"}}, {"watch": ["/etc/*"]}, {"watch": ["../../*"]}, {"builder": "evil/x"}],
    ids=repr,
)  # fmt: skip
def test_a_build_stays_in_its_repository(build: Any) -> None:
    refused(build=build)


def test_the_whole_of_a_container() -> None:
    ref = Ref("workld1", "environ", "stackid", "web")
    launch = Launch(ref, "sha256:x", command=("--privileged", "-v", "/:/x"), env={"A": "--privileged"}, port=80,
                    mounts=(("volumeid", "/data"),), memory=64 << 20, cpus=0.5, pids=100)  # fmt: skip
    made = settings.container(launch, Place(ref, 1, "10.0.0.2"), "main", processors=4)
    assert made["HostConfig"] == {
        "NetworkMode": "gp-environ",
        "RestartPolicy": {"Name": "no"},
        "Init": True,
        "CapDrop": ["ALL"],
        "CapAdd": [
            "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETGID", "SETPCAP", "SETUID",
            "SYS_CHROOT",
        ],
        "SecurityOpt": ["no-new-privileges:true"],
        "NanoCpus": 500_000_000,
        "Memory": 64 << 20,
        "MemorySwap": 64 << 20,
        "PidsLimit": 100,
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}},
        "Mounts": [{"Type": "volume", "Source": "gp-environ-volumeid", "Target": "/data"}],
    }  # fmt: skip
    known = {"Image", "Env", "Labels", "StopTimeout", "Healthcheck", "HostConfig", "NetworkingConfig", "Cmd"}
    assert made.keys() == known
    assert list(made["NetworkingConfig"]["EndpointsConfig"]) == ["gp-environ"]
    assert all(label.startswith("godploy.") for label in made["Labels"])
