#!/usr/bin/env bash
# Installs Godploy on Debian or Ubuntu, with or without systemd, and upgrades it when run again.
#
#   install/install.sh [--domain HOST --email ADDRESS] [options]
#     --domain HOST         where it is reached from outside, with a certificate; without one it is https://localhost
#     --email ADDRESS       of the first owner (owner@localhost), and for the certificate authority
#     --apps-domain DOMAIN  where apps get their names; needs a DNS entry for *.DOMAIN. Else it is made of this machine's
#                           public address (1-2-3-4.sslip.io), or is localhost
#     --dry-run             looks at the machine, says what would be done, and changes nothing
#     --demo                also makes a project with a small web page, pushes it, and shows it live
#     --acme-url URL        another certificate authority than Let's Encrypt (its ACME directory)
#     --acme-ca FILE        the certificate by which that one is trusted, where it is your own
#     --port N              where Traefik answers HTTP (80)
#     --https-port N        and HTTPS (443)
#     --listen HOST:PORT    where Godploy itself listens, behind Traefik (127.0.0.1:8400)
#     --traefik-api-port N  loopback port of Traefik's API (8499)
#     --pool SUBNET         private /16 for the networks of environments (10.213.0.0/16)
#     --instance NAME       tells several installations on one machine apart (main)
#     --wheel FILE          installs this wheel of Godploy rather than the checkout around this script
#     --prefix DIR          puts everything below DIR and runs it as root, for trying it out beside another
#
# Run as root, or it asks sudo. It asks nothing else, and changes nothing where something stands in the way. What an
# upgrade is not told stays as it was. install/uninstall.sh takes away what it made.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(dirname "$here")
source "$here/lib/common.sh"
source "$here/lib/engine.sh"
source "$here/lib/images.sh"
source "$here/lib/options.sh"
source "$here/lib/paths.sh"
source "$here/lib/preflight.sh"
source "$here/lib/program.sh"
source "$here/lib/service.sh"
source "$here/lib/upgrade.sh"
source "$here/lib/demo.sh"

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
    start_own_engine "$engine_state"
  fi
  step "engine: $(engine_version)"
}

# What starts the service is written, and $fresh is what it starts.
put_in_force() {
  remember_settings
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
  rm -f "$app/installing"
}

main() {
  parse "$@"
  prefix=${prefix%/}
  as_root "$0" "$@"
  umask 022
  set_paths "$prefix"
  only_installer
  [ -n "$dry_run" ] || resume_upgrade
  settle
  preflight
  if [ -n "$dry_run" ]; then
    say_plan
    exit
  fi
  mkdir -p "$app" "$(dirname "$link")" "$home" # what is there keeps its mode: a home is its owner's
  touch "$record_file"
  only_installer
  echo $$ >"$app/installing"
  trap leave EXIT
  ensure_packages "${packages[@]}"
  ensure_python
  prepare_engine
  ensure_user
  install -d -m 0700 -o "$service_user" -g "$service_user" "$data"
  install_program
  start_program
  ln -sfn "$app/current/bin/godploy" "$link"
  sign_in
  await_certificate
  [ -z "$with_demo" ] || run_demo
  farewell
}

main "$@"
