"""Git's post-receive hook: tells Godploy what was pushed, and prints what comes of it.

Git runs this file by itself, with nothing but the standard library, so it imports nothing of Godploy. It speaks to a
socket in the data directory, with a token that was made for this one push. Whatever happens it exits with 0: the
objects are accepted, and what is not told now is found by catch-up.
"""

import json
import os
import socket
import sys
from collections.abc import Iterator

_LINE, _END = " ", "."  # the first character of each line of the answer


def answer(updates: list[list[str]]) -> Iterator[str]:
    """The lines that Godploy has to say, each with its first character."""
    place, name = os.path.split(os.environ["GODPLOY_HOOK_SOCKET"])
    body = json.dumps({"token": os.environ["GODPLOY_HOOK_TOKEN"], "updates": updates}).encode()
    head = (
        f"POST /push HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    )
    os.chdir(place)  # the path of a socket has room for 107 bytes, its name alone always fits
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(name)
        connection.sendall(head.encode() + b"\r\n" + body)
        with connection.makefile("r", encoding="utf-8", errors="replace", newline="\n") as lines:
            if " 200 " not in next(lines, ""):
                return
            while next(lines, "\r\n").strip():
                pass
            for line in lines:
                yield line.rstrip("\n")


def main() -> int:
    lines = sys.stdin.buffer.read().decode(errors="surrogateescape").split("\n")  # names may hold other line ends
    updates = [line.split(" ", 2) for line in lines if line]
    try:
        for line in answer(updates):
            if line.startswith(_END):
                return 0
            print(line.removeprefix(_LINE), flush=True)
    except OSError:
        pass
    print("Godploy does not answer any more. The push is accepted and will be deployed; see: godploy deployments")
    return 0


if __name__ == "__main__":
    sys.exit(main())
