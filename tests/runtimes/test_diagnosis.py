"""From what the kernel shows of a container's sockets to the sentence that a user reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from godploy.core.failures import FAILURES, failure
from godploy.core.specification import Health
from godploy.drivers.probe import Answer, Miss
from godploy.runtimes.engine import diagnosis
from godploy.runtimes.engine.settings import Found
from godploy.runtimes.protocol import Launch, Ref

REF = Ref("w", "e", "s", "web")
LAUNCH = Launch(REF, "image", port=8000, memory=512 << 20, health=Health(start_timeout=60))
FOUND = Found("id", REF, 1, 8000, "10.0.0.2", False, "running", 7, 0, False, 0, "", "", "no", False, "SIGTERM")

TABLE = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 00000000:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 0B00007F:8D8B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3 1
   3: 0200000A:1F40 0100000A:CAFE 01 00000000:00000000 00:00000000 00000000     0        0 4 1
""".splitlines()
TABLE6 = """\
  sl  local_address                         remote_address                        st
   0: 00000000000000000000000000000000:1F40 00000000000000000000000000000000:0000 0A 0 0
   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0 0
   2: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A 0 0
""".splitlines()


def test_listening_sockets_but_not_the_engine_s_resolver() -> None:
    seen = [(str(each.address), each.port, each.loopback) for each in diagnosis.parse_sockets(TABLE)]
    assert seen == [("127.0.0.1", 8000, True), ("0.0.0.0", 3000, False)]


def test_sockets_of_ipv6_and_mapped_ones() -> None:
    seen = [(each.port, each.loopback) for each in diagnosis.parse_sockets(TABLE6)]
    assert seen == [(8000, False), (80, True), (81, True)]


@pytest.mark.parametrize("line", ["", "nonsense", "0: zz:1F40 0:0 0A", "0: 0100007F 0 0A", "0: 0100007F:1F40 0:0 01"])
def test_what_is_no_listening_socket(line: str) -> None:
    assert list(diagnosis.parse_sockets([line])) == []


def listening(address: str, port: int) -> diagnosis.Listening:
    return diagnosis.Listening(diagnosis.ipaddress.ip_address(address), port)


@pytest.mark.parametrize(
    ("found", "answer", "sockets", "code", "sentence"),
    [
        (FOUND, Answer(miss=Miss.REFUSED), [], "never_listens", "did not listen on port 8000 within 60 s"),
        (FOUND, Answer(miss=Miss.REFUSED), [("127.0.0.1", 8000)], "loopback_only", "127.0.0.1:8000 only"),
        (FOUND, Answer(miss=Miss.REFUSED), [("::1", 8000)], "loopback_only", "127.0.0.1:8000 only"),
        (
            FOUND,
            Answer(miss=Miss.REFUSED),
            [("0.0.0.0", 3000)],
            "wrong_port",
            "listens on 3000, the manifest says 8000",
        ),
        (FOUND, Answer(miss=Miss.REFUSED), [("::", 3000), ("0.0.0.0", 22)], "wrong_port", "listens on 22, 3000"),
        (FOUND, Answer(miss=Miss.TIMEOUT), [("0.0.0.0", 8000)], "never_listens", "port 8000"),
        (FOUND, Answer(503), [("0.0.0.0", 8000)], "health_status", "answered /up with 503, expected 200-399"),
        (replace(FOUND, oom=True), Answer(miss=Miss.RESET), [], "oom", "more than its 512M of memory"),
    ],
)
def test_causes_as_sentences(
    found: Found, answer: Answer, sockets: list[tuple[str, int]], code: str, sentence: str
) -> None:
    launch = replace(LAUNCH, health=replace(LAUNCH.health, path="/up"))
    cause = diagnosis.unanswered(found, launch, answer, [listening(*each) for each in sockets])
    assert cause.code == code
    assert sentence in failure(cause.code, **cause.facts).message


def test_endings_as_sentences() -> None:
    dead = replace(FOUND, state="exited", exit_code=3)
    for cause, sentence in [
        (diagnosis.ended(dead, LAUNCH, 1.26), "web ended with exit code 3"),
        (diagnosis.ended(replace(dead, oom=True), LAUNCH, 1), "web was killed"),
        (diagnosis.restarted(replace(FOUND, restarts=2, exit_code=9), LAUNCH), "web ended"),
    ]:
        assert cause.code in FAILURES
        told = failure(cause.code, **cause.facts).message
        assert sentence in told
        assert "?" not in told


async def test_a_process_that_is_gone_or_not_ours_shows_no_sockets() -> None:
    assert await diagnosis.listening(0) == []
    assert await diagnosis.listening(2**22 + 1) == []
