#!/usr/bin/env bash
# Takes away what install/install.sh and Godploy made on this machine: services, volumes and their data included.
#
#   install/uninstall.sh [--yes] [--prefix DIR]
#     --yes          asks nothing
#     --prefix DIR   as it was given to the installer
#
# Packages that apt installed stay and are listed. Nothing that others made is touched: objects of the engine are found
# by the label of this installation, everything else stands in the record that the installer kept.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/lib/common.sh"
source "$here/lib/engine.sh"
source "$here/lib/paths.sh"
source "$here/lib/service.sh"

prefix="" yes="" left=""
parse() {
  while [ $# -gt 0 ]; do
    case $1 in
      --yes) yes=yes ;;
      --prefix)
        [ $# -gt 1 ] || fail "--prefix needs a directory"
        prefix=${2%/}
        shift ;;
      --help | -h) usage; exit ;;
      *) fail "unknown option $1" "install/uninstall.sh --help lists them." ;;
    esac
    shift
  done
}

# ours KIND   ids of the engine's objects of that kind that carry this installation's label.
ours() {
  case $1 in
    container) docker container ls -aq --filter "label=godploy.instance=$instance" ;;
    network) docker network ls -q --filter "label=godploy.instance=$instance" ;;
    volume) docker volume ls -q --filter "label=godploy.instance=$instance" ;;
    image) docker image ls -aq --filter "label=godploy.instance=$instance" | sort -u ;;
  esac
}

confirm() {
  local kind answer
  echo "This removes Godploy (instance $instance) and everything that it runs here:"
  if engine_answers; then
    for kind in container network volume image; do note "$(ours "$kind" | wc -l) ${kind}s"; done
  fi
  note "$app, $data and $link, all secrets and databases in volumes included"
  recorded demo | while read -r place; do note "$place"; done
  [ -z "$yes" ] || return 0
  [ -t 0 ] || fail "nobody can be asked here" "Run it with --yes if that is what you want."
  read -r -p "Type \"remove\" to go on: " answer
  [ "$answer" = remove ] || fail "nothing was removed"
}

remove_objects() {
  local kind ids id
  if ! engine_answers; then
    note "no Docker engine answers, so containers, networks, volumes and images of ours stay where they are, if there are any"
    return
  fi
  for kind in container network volume image; do
    mapfile -t ids < <(ours "$kind")
    [ ${#ids[@]} != 0 ] || continue
    step "removing ${#ids[@]} ${kind}s"
    case $kind in
      container) docker container rm -f -v "${ids[@]}" >/dev/null ;;
      image) for id in "${ids[@]}"; do remove_image "$id"; done ;;
      *) docker "$kind" rm "${ids[@]}" >/dev/null ;;
    esac
  done
  recorded image | while read -r id; do remove_image "$id"; done
}

# remove_image IMAGE   unless somebody's container is made from it, such as another installation's Traefik.
remove_image() {
  if [ -n "$(docker container ls -aq --filter "ancestor=$1")" ] || ! docker image rm -f "$1" >/dev/null 2>&1; then
    note "the image $(docker image inspect -f '{{or (index .RepoTags 0) .Id}}' "$1" 2>/dev/null || echo "$1") stays: something else uses it"
  fi
}

remove_files() {
  local place
  step "removing files"
  recorded signed-in | while read -r place; do
    as_person "$link" logout "$place" || note "the sign-in to $place is left in $home/.config/godploy"
  done
  if [ -n "$unit" ] && [ -e "$unit" ]; then
    systemctl disable --quiet "$(basename "$unit")"
    rm -f "$unit"
    systemctl daemon-reload
  fi
  recorded demo | while read -r place; do rm -rf -- "$place"; done
  # Made on the way; whatever somebody else has put there since is theirs.
  recorded if-empty | while read -r place; do
    if [ -d "$place" ]; then rmdir --ignore-fail-on-non-empty "$place"; elif [ ! -s "$place" ]; then rm -f -- "$place"; fi
  done
  [ "$(readlink "$link")" != "$app/current/bin/godploy" ] || rm -f "$link"
}

# An engine that the installer started is ended with it, unless somebody else's containers run there.
remove_engine() {
  local state pid
  state=$(recorded engine)
  [ -n "$state" ] || return 0
  if pid=$(cat "$state/respawn.pid" 2>/dev/null) && grep -qsF "$state/respawn" "/proc/$pid/cmdline"; then
    if engine_answers && [ -n "$(docker ps -q)" ]; then
      note "the Docker engine goes on, since other containers run there; to end it: kill $pid; rm -r $state"
      return
    fi
    step "stopping the Docker engine; its images stay in /var/lib/docker"
    end_process "$pid" "$state/log"
  fi
  umount "$state"/run/netns/* 2>/dev/null || true # the engine may leave the mounts of its network namespaces
  rm -rf -- "$state"
}

main() {
  parse "$@"
  as_root "$0" "$@"
  set_paths "$prefix"
  [ -e "$record_file" ] || fail "there is no installation in $app" "Was it made with --prefix? Then give the same here."
  instance=$(setting GODPLOY_INSTANCE main)
  confirm
  step "stopping Godploy"
  stop_service
  remove_objects
  remove_files
  remove_engine
  left=$(recorded package | sort -u | paste -sd ' ')
  rm -rf -- "$app" "$data"
  [ -z "$prefix" ] || find "$prefix" -depth -type d -empty -delete
  step "done"
  if [ -n "$left" ]; then
    note "These packages were installed for it and stay; if nothing else needs them:"
    note "  apt-get purge --autoremove $left"
  fi
}

main "$@"
