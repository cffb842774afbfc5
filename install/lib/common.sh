# shellcheck shell=bash
# What the installer, the uninstaller and the test command share: how they speak, and Debian's packages.

started=$(date +%s)

step() { printf '%4ds  %s\n' $(($(date +%s) - started)) "$*"; }
note() { printf '       %s\n' "$*"; }
fail() {
  printf '\nerror: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '       %s\n' "$line" >&2; done
  exit 1
}

# usage   prints the comment that the script begins with.
usage() { sed -n -e '/^[^#]/q' -e '/^# shellcheck/d' -e '2,$s/^# \{0,1\}//p' "$0"; }

# The script again, as root: everything here touches packages, the engine's socket or system directories.
as_root() {
  [ "$(id -u)" = 0 ] && return
  command -v sudo >/dev/null || fail "this needs root, and there is no sudo" "Run it as root: su -c \"$*\""
  note "asking sudo for root"
  exec sudo --preserve-env=CI,PYTHON,PIP_INDEX_URL,PIP_CERT,SSL_CERT_FILE,http_proxy,https_proxy,no_proxy -- bash "$@"
}

installed() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

# ensure_packages PACKAGE…   installs those that are missing; their names are left in $packages_installed.
packages_installed=()
ensure_packages() {
  local missing=() package log
  for package in "$@"; do installed "$package" || missing+=("$package"); done
  [ ${#missing[@]} = 0 ] && return
  command -v apt-get >/dev/null || fail "apt-get is missing: only Debian and Ubuntu are supported" "Needed here: ${missing[*]}"
  step "installing packages: ${missing[*]}"
  log=$(mktemp)
  # A restarted service or a question on the terminal is the last thing that is wanted in the middle of this.
  if ! env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l sh -c '
      apt-get update -qq && apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"' \
    apt "${missing[@]}" </dev/null >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    rm -f "$log"
    fail "apt could not install ${missing[*]}" "What it said stands above; once \"apt-get update\" works, run this again."
  fi
  rm -f "$log"
  packages_installed+=("${missing[@]}")
}

# find_python   prints the first Python that is new enough and can make virtual environments; $PYTHON is asked first.
find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
    if "$candidate" -I -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

# ensure_python   leaves the interpreter in $python.
# shellcheck disable=SC2034
ensure_python() {
  python=$(find_python) && return
  ensure_packages python3 python3-venv
  python=$(find_python) || {
    ensure_packages python3.11 python3.11-venv # Ubuntu 22.04 calls 3.10 "python3" and has 3.11 beside it
    python=$(find_python) || fail "no Python 3.11 or newer here" "Install one, or name it: PYTHON=/path/to/python3 $0"
  }
}
