"""A test that hangs ends the run instead of the patience of whoever waits for it, and says where it hangs.

By our own lines: pytest-timeout gives its timer up when a test has failed, and the hang that follows is in the clearing
up; what an event loop waits for is in no thread's stack; and what failed before would be lost with the process.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import os
import sys
import threading
from collections.abc import Generator
from typing import Any

import pytest

_PATIENCE, _LONG = 300.0, 1800.0  # seconds for a test with its fixtures; for one of the longer suite


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    timer = threading.Timer(_LONG if item.get_closest_marker("long") else _PATIENCE, _end, (item,))
    timer.daemon = True
    timer.start()
    try:
        return (yield)
    finally:
        timer.cancel()


def _end(item: pytest.Item) -> None:
    try:
        _tell(item)
    finally:  # also where the telling fails: this thread's error would end nothing
        os._exit(1)


def _tell(item: pytest.Item) -> None:
    plugins = item.config.pluginmanager
    plugins.getplugin("capturemanager").suspend_global_capture(in_=True)
    plugins.getplugin("terminalreporter").summary_failures()
    print(f"\n{item.nodeid} hangs. The tasks that wait:", file=sys.stderr)
    for task in [each for each in gc.get_objects() if isinstance(each, asyncio.Task)]:
        if not task.done():
            task.print_stack(file=sys.stderr)
    faulthandler.dump_traceback(sys.stderr)
    sys.stdout.flush()
