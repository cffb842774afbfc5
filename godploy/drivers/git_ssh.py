"""What git starts as its ssh: OpenSSH's own client, with the configuration that was written for this one call.

Git runs this file by itself, with nothing but the standard library, so it imports nothing of Godploy. A variable of
git's that names a command (`GIT_SSH_COMMAND`, `core.sshCommand`) is given to a shell; `GIT_SSH`, which names a program,
is not: https://git-scm.com/docs/git#Documentation/git.txt-GITSSH
"""

import os
import sys

CONFIG = "GODPLOY_SSH_CONFIG"
KEY, KNOWN_HOSTS = "key", "known_hosts"  # beside the configuration
NOT_INSTALLED = "the program ssh is not installed on this server: install the package openssh-client"


def main() -> int:
    config = os.environ.pop(CONFIG)
    place = os.path.dirname(config)  # noqa: PTH120  # importing pathlib takes longer than all the rest
    files = ("-o", f"IdentityFile={place}/{KEY}", "-o", f"UserKnownHostsFile={place}/{KNOWN_HOSTS}")
    try:
        os.execvp("ssh", ["ssh", "-F", config, *files, *sys.argv[1:]])  # noqa: S606
    except FileNotFoundError:
        print(NOT_INSTALLED, file=sys.stderr)
    return 127


if __name__ == "__main__":
    sys.exit(main())
