#!/usr/bin/env bash
# Starts at boot what a service manager would: the Docker engine, where the installer started one itself, and Godploy.
# The installer puts a copy beside its program and tells cron of it.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/lib/common.sh"
source "$here/lib/engine.sh"
source "$here/lib/paths.sh"
source "$here/lib/service.sh"

set_paths "${here%/opt/godploy}"
state=$(recorded engine)
if [ -n "$state" ] && ! engine_found; then start_own_engine "$state"; fi
# Without the program only the services stay, which the engine starts by itself: uninstall.sh --keep-apps left them.
if [ ! -e "$app/current" ] || service_pid >/dev/null; then exit; fi
start_service
wait_ready "$(setting GODPLOY_LISTEN 127.0.0.1:8400)" || { service_log; fail "Godploy does not become ready" "The end of its log stands above."; }
step "Godploy runs"
