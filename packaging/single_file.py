"""Where the single file begins: as the command line, or, under the name of a program that git starts, as that one."""

import os
import sys
from pathlib import Path


def _give_back(name: str) -> None:
    """What the file set for its own libraries must not reach git, docker and bash.

    https://pyinstaller.org/en/stable/common-issues-and-pitfalls.html#launching-external-programs-from-the-frozen-application
    """
    original = os.environ.pop(f"{name}_ORIG", None)
    if original is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = original


_give_back("LD_LIBRARY_PATH")

if Path(sys.argv[0]).name == "post-receive":
    from godploy.api import post_receive

    sys.exit(post_receive.main())

if Path(sys.argv[0]).name == "git-ssh":
    from godploy.drivers import git_ssh

    sys.exit(git_ssh.main())

from godploy.cli.main import main  # noqa: E402  # those need none of it, and the environment comes first

main()
