"""Signed deliveries at a steady rate on kept connections, and what became of each."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from godploy.core import signing

_CONNECTIONS = 64


@dataclass
class Crowd:
    """`seconds` from when each delivery was due to its answer; `statuses` counts the answers; `lasted` seconds. `lost`
    are those that were accepted and not decided, `peak` is the server's memory in bytes."""

    seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    lasted: float = 0.0
    lost: int = 0
    peak: int = 0


def deliver(port: int, path: str, secret: str, commits: Sequence[str], rate: float) -> Crowd:
    """One push of main for each of `commits`, in this order, `rate` of them each second."""
    return asyncio.run(_deliver(port, path, secret, commits, rate))


async def _deliver(port: int, path: str, secret: str, commits: Sequence[str], rate: float) -> Crowd:
    crowd, free = Crowd(), asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]]()
    for _ in range(_CONNECTIONS):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    begun = time.perf_counter()

    async def one(number: int, commit: str) -> None:
        due = begun + number / rate
        connection = await free.get()
        status = await _post(connection, path, secret, commit)
        free.put_nowait(connection)
        crowd.seconds.append(time.perf_counter() - due)
        crowd.statuses[status] = crowd.statuses.get(status, 0) + 1

    sending = []
    for number, commit in enumerate(commits):
        wait = begun + number / rate - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        sending.append(asyncio.create_task(one(number, commit)))
    await asyncio.gather(*sending)
    crowd.lasted = time.perf_counter() - begun
    while not free.empty():
        free.get_nowait()[1].close()
    return crowd


async def _post(
    connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], path: str, secret: str, commit: str
) -> int:
    reader, writer = connection
    body = json.dumps({"event": "push", "ref": "refs/heads/main", "commit": commit}).encode()
    now = str(int(time.time()))
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{signing.DELIVERY}: {uuid.uuid4().hex}\r\n{signing.TIMESTAMP}: {now}\r\n"
        f"{signing.SIGNATURE}: {signing.sign(secret, now, body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[16:]) for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length: "))
    await reader.readexactly(length)
    return int(answer[9:12])
