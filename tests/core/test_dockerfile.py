"""What a Dockerfile exposes."""

from __future__ import annotations

import pytest

from godploy.core.dockerfile import exposed


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("FROM x\nEXPOSE 8000", (8000,)),
        ("FROM x\nexpose 80 443/tcp 53/udp", (80, 443)),
        ("FROM x AS build\nEXPOSE 9\nFROM y\nEXPOSE 3000\n", (3000,)),
        ("FROM x AS build\nEXPOSE 9\nFROM y\n", ()),
        ("FROM x\nEXPOSE 80 \\\n  # a remark\n  81\n", (80, 81)),
        ("# escape=`\nFROM x\nEXPOSE 80 `\n 81", (80, 81)),
        ("ARG PORT=5000\nFROM x\nEXPOSE $PORT ${OTHER:-5001} ${NONE}", (5000, 5001)),
        ("FROM x\nENV PORT=7000\nEXPOSE ${PORT}", (7000,)),
        ("FROM x\n# EXPOSE 80\nEXPOSE 8000-8010 99999 abc", ()),
        ("FROM x\r\nEXPOSE 80\r\n", (80,)),
        ("FROM x\nEXPOSE 80\nEXPOSE 80", (80,)),
        ("", ()),
    ],
)
def test_exposed(text: str, ports: tuple[int, ...]) -> None:
    assert exposed(text) == ports
