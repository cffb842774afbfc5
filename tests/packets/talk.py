"""Both ends of a conversation, as a program for the networks that the tests make.

    talk.py answer [GROUP] TARGET…   answers at each until it is ended; says "ready"
    talk.py ask [GROUP] TARGET…      asks each, at the same time, and prints what became of it, as JSON

A TARGET is tcp/ADDRESS/PORT or udp/ADDRESS/PORT; GROUP is a control group's folder to go into first.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

_PATIENCE = 1.5  # seconds until nobody is there
_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


def ask(target: str) -> str:
    """ "answered", "refused" where somebody says so at once, "silence"."""
    protocol, address, port = target.split("/")
    try:
        with _socket(protocol, address) as asking:
            asking.settimeout(_PATIENCE)
            asking.connect(_place(address, port))
            asking.send(b"?")
            return "answered" if asking.recv(1) else "cut"
    except TimeoutError:
        return "silence"
    except OSError as error:
        return "refused" if error.errno is not None else str(error)


def answer(targets: list[str]) -> None:
    """Answers whatever comes with one byte."""
    waiting = selectors.DefaultSelector()
    for target in targets:
        protocol, address, port = target.split("/")
        listening = _socket(protocol, address)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listening.family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(_place(address, port))
        if protocol == "tcp":
            listening.listen()
        waiting.register(listening, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in waiting.select():
            _answer_one(key.fileobj)


def _answer_one(listening: object) -> None:
    assert isinstance(listening, socket.socket)
    if listening.type == socket.SOCK_DGRAM:
        _, whom = listening.recvfrom(1)
        listening.sendto(b"!", whom)
        return
    talking, _ = listening.accept()
    with talking, suppress(OSError):  # the other one has had enough
        talking.sendall(b"!")
        talking.shutdown(socket.SHUT_WR)
        talking.settimeout(_PATIENCE)
        while talking.recv(1024):  # unread bytes would turn the end into a reset
            pass


def _socket(protocol: str, address: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, _KINDS[protocol])


def _place(address: str, port: str) -> tuple[str, int]:
    return address, int(port)


def main() -> None:
    what, *targets = sys.argv[1:]
    if targets and targets[0].startswith("/"):
        (Path(targets.pop(0)) / "cgroup.procs").write_text(str(os.getpid()))
    if what == "answer":
        answer(targets)
    with ThreadPoolExecutor(max(len(targets), 1)) as pool:
        print(json.dumps(dict(zip(targets, pool.map(ask, targets), strict=True))))


if __name__ == "__main__":
    main()
