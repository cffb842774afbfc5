#!/usr/bin/env bash
# Installs Godploy from this checkout on Debian or Ubuntu, with or without systemd, and upgrades it when run again.
#
#   install/install.sh [--demo] [options]
#     --demo                also makes a project with a small web page, pushes it, and shows it live
#     --email ADDRESS       of the first owner (owner@localhost)
#     --port N              where Traefik answers HTTP (80)
#     --https-port N        and HTTPS (443)
#     --listen HOST:PORT    where Godploy itself listens, behind Traefik (127.0.0.1:8400)
#     --traefik-api-port N  loopback port of Traefik's API (8499)
#     --pool SUBNET         private /16 for the networks of environments (10.213.0.0/16)
#     --instance NAME       tells several installations on one machine apart (main)
#     --wheel FILE          installs this wheel of Godploy rather than the checkout around this script
#     --prefix DIR          puts everything below DIR, for trying it out beside another
#
# Run as root, or it asks sudo. It asks nothing else. What an upgrade is not told stays as it was.
# install/uninstall.sh takes away what it made.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(dirname "$here")
source "$here/lib/common.sh"
source "$here/lib/engine.sh"
source "$here/lib/images.sh"
source "$here/lib/paths.sh"
source "$here/lib/program.sh"
source "$here/lib/service.sh"
source "$here/lib/upgrade.sh"
source "$here/lib/demo.sh"

prefix="" with_demo="" email=owner@localhost
http_port="" https_port="" listen="" api_port="" pool="" instance="" wheel=""

parse() {
  while [ $# -gt 0 ]; do
    case $1 in
      --demo) with_demo=yes ;;
      --help | -h) usage; exit ;;
      --email | --port | --https-port | --listen | --traefik-api-port | --pool | --instance | --wheel | --prefix)
        [ $# -gt 1 ] || fail "$1 needs a value"
        case $1 in
          --email) email=$2 ;;
          --port) http_port=$2 ;;
          --https-port) https_port=$2 ;;
          --listen) listen=$2 ;;
          --traefik-api-port) api_port=$2 ;;
          --pool) pool=$2 ;;
          --instance) instance=$2 ;;
          --wheel) wheel=$2 ;;
          --prefix) prefix=${2%/} ;;
        esac
        shift ;;
      *) fail "unknown option $1" "install/install.sh --help lists them." ;;
    esac
    shift
  done
}

# What the flags did not say is as it was, or the default.
settle() {
  local number
  http_port=${http_port:-$(setting GODPLOY_HTTP_PORT 80)}
  https_port=${https_port:-$(setting GODPLOY_HTTPS_PORT 443)}
  api_port=${api_port:-$(setting GODPLOY_TRAEFIK_API_PORT 8499)}
  listen=${listen:-$(setting GODPLOY_LISTEN 127.0.0.1:8400)}
  pool=${pool:-$(setting GODPLOY_POOL 10.213.0.0/16)}
  instance=${instance:-$(setting GODPLOY_INSTANCE main)}
  for number in "$http_port" "$https_port" "$api_port" "${listen##*:}"; do
    [[ $number =~ ^[0-9]{1,5}$ ]] || fail "\"$number\" is not a port"
  done
  [[ $instance =~ ^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$ ]] || fail "--instance takes up to 20 of a-z, 0-9 and hyphens"
  if [ -n "$wheel" ]; then
    [[ -r $wheel && $wheel = *.whl ]] || fail "--wheel: there is no wheel $wheel"
  elif [ ! -e "$checkout/pyproject.toml" ]; then
    fail "there is no checkout around this script to install from" "Run it as: godploy install"
  fi
  [[ $email =~ ^[^[:space:]@]+@[^[:space:]@]+$ ]] || fail "--email: \"$email\" is not an address"
  url=https://localhost
  [ "$https_port" = 443 ] || url=$url:$https_port
}

# An upgrade finds its ports held by itself; a first installation must find them free.
check_ports() {
  local port
  [ ! -e "$app/current" ] || return 0
  for port in "$http_port" "$https_port" "$api_port" "${listen##*:}"; do
    "$python" - "$port" <<'EOF' || fail "port $port is taken" "See by what: ss -ltnp | grep :$port" "Stop that, or choose another port: install/install.sh --help"
import socket, sys
with socket.socket() as probe:
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("", int(sys.argv[1])))
    except OSError:
        sys.exit(1)
EOF
  done
}

prepare_engine() {
  engine_install
  if ! engine_answers && has_systemd; then
    step "starting the Docker engine"
    systemctl enable --quiet --now docker || true
  fi
  if ! engine_found; then
    step "starting the Docker engine, kept running by a small parent (there is no systemd here)"
    install -D -m 0755 "$here/respawn.sh" "$engine_state/respawn"
    record engine "$engine_state"
    engine_start "$engine_state" /var/lib/docker "$engine_state/respawn" "$engine_state/respawn.pid" "$engine_state/log"
  fi
  step "engine: $(engine_version)"
}

# What starts the service is written, and $fresh is what it starts.
put_in_force() {
  write_settings "GODPLOY_DATA=$data" "GODPLOY_LISTEN=$listen" "GODPLOY_INSTANCE=$instance" "GODPLOY_POOL=$pool" \
    "GODPLOY_HTTP_PORT=$http_port" "GODPLOY_HTTPS_PORT=$https_port" "GODPLOY_TRAEFIK_API_PORT=$api_port" \
    "GODPLOY_URL=$url"
  switch_to "$fresh"
  install_service
}

record_made() {
  local name
  [ -e "$record_file" ] || return 0
  for name in ${packages_installed[@]+"${packages_installed[@]}"}; do record package "$name"; done
  for name in ${images_made[@]+"${images_made[@]}"}; do record image "$name"; done
}

# Also when something fails half-way: what was made by then is remembered, and an upgrade that is not decided taken back.
leave() {
  record_made
  leave_upgrade
}

main() {
  parse "$@"
  as_root "$0" "$@"
  umask 022
  set_paths "$prefix"
  resume_upgrade
  settle
  install -d -m 0755 "$app" "$(dirname "$link")" "$home"
  touch "$record_file"
  trap leave EXIT
  step "looking for what is missing"
  ensure_packages git curl ca-certificates
  ensure_python
  check_ports
  install -d -m 0700 "$data"
  prepare_engine
  install_program
  start_program
  ln -sfn "$app/current/bin/godploy" "$link"
  sign_in
  [ -z "$with_demo" ] || run_demo
  farewell
}

main "$@"
