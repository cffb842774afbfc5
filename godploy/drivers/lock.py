"""One Godploy for each data directory: a lock that is held as long as its process lives, whatever ends it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from godploy.errors import Conflict

NAME = "lock"


class Lock:
    """That of a data directory, taken at once. Raises Conflict where another process has it. Blocking."""

    def __init__(self, data: Path) -> None:
        self._descriptor = os.open(data / NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.geteuid() == 0:  # a command on the console, where the service has a user of its own
                owner = data.stat()
                os.fchown(self._descriptor, owner.st_uid, owner.st_gid)
        except BlockingIOError as error:
            self.close()
            raise Conflict(
                f"another Godploy works with {data} already",
                next_step="end it first, or give this one a data directory of its own",
            ) from error

    def close(self) -> None:
        os.close(self._descriptor)
