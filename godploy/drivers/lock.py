"""One Godploy for each data directory: a lock that is held as long as its process lives, whatever ends it."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

from godploy.errors import Conflict

NAME = "lock"


class Lock:
    """That of a data directory, taken at once. Raises Conflict where another process has it. Blocking."""

    def __init__(self, data: Path) -> None:
        try:  # never through a link: as root the file is given to the directory's owner, who may have made one
            self._descriptor = os.open(data / NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENXIO):
                raise
            raise _no_lock(data) from error
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            self.close()
            raise _no_lock(data)
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


def _no_lock(data: Path) -> Conflict:
    return Conflict(f"{data / NAME} is no file of Godploy's", next_step="look at it, and remove it")
