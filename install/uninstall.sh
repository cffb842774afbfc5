#!/usr/bin/env bash
# Takes away what install/install.sh and Godploy made on this machine, and nothing else. The volumes of databases and apps
# stay, with a backup of Godploy's own state, which holds the passwords to them.
#
#   install/uninstall.sh [--keep-apps | --keep-data | --purge[=HOST]] [--yes] [--prefix DIR]
#     --keep-apps      leaves what runs, Traefik and the data directory: only Godploy itself goes
#     --keep-data      leaves the data directory, and makes no backup
#     --purge[=HOST]   removes the volumes, too, and makes no backup; the dashboard's host is asked for unless it is given
#     --yes            asks nothing else; it never removes a volume by itself
#     --prefix DIR     as it was given to the installer
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

prefix="" yes="" left="" keep_apps="" keep_data="" purge="" host_given="" backup=""
case $here in */opt/godploy) prefix=${here%/opt/godploy} ;; esac # the copy that the installer left knows its place

parse() {
  while [ $# -gt 0 ]; do
    case $1 in
      --yes) yes=yes ;;
      --keep-apps) keep_apps=yes keep_data=yes ;;
      --keep-data) keep_data=yes ;;
      --purge) purge=yes ;;
      --purge=*) purge=yes host_given=${1#--purge=} ;;
      --prefix)
        [ $# -gt 1 ] || fail "--prefix needs a directory"
        prefix=${2%/}
        shift ;;
      --help | -h) usage; exit ;;
      *) fail "unknown option $1" "install/uninstall.sh --help lists them." ;;
    esac
    shift
  done
  [ -z "$purge" ] || [ -z "$keep_data" ] || fail "--purge and --keep-apps or --keep-data exclude each other"
}

# What can go wrong is looked at before anything is asked or removed.
settle() {
  instance=$(setting GODPLOY_INSTANCE main)
  host=$(setting GODPLOY_URL https://localhost | sed 's|^https\?://\([^:/]*\).*|\1|')
  if [ -n "$host_given" ] && [ "$host_given" != "$host" ]; then
    fail "--purge names $host_given, but this installation is $host" "Nothing was removed."
  fi
  if [ -n "$purge" ] && [ -z "$host_given" ] && { [ -n "$yes" ] || [ ! -t 0 ]; }; then
    fail "volumes are removed only when the dashboard's host is named" "If that is what you want: --purge=$host"
  fi
  if [ -e "$data/godploy.db" ] && [ -z "$purge$keep_data" ]; then
    backup=$prefix/var/backups/godploy-$instance-$(date +%Y%m%d-%H%M%S).backup
  fi
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

# kinds   of the engine's objects that go.
kinds() {
  [ -z "$keep_apps" ] || return 0
  echo container network ${purge:+volume} image
}

counted() { echo "$1 $2$([ "$1" = 1 ] || echo s)"; }

confirm() {
  local kind answer count place word=${purge:+$host}
  echo "This removes Godploy (instance $instance) from this machine:"
  if engine_answers; then
    for kind in $(kinds); do
      count=$(ours "$kind" | wc -l)
      [ "$count" = 0 ] || note "$(counted "$count" "$kind")"
    done
  fi
  note "$app and $link$([ -n "$keep_data" ] || echo ", and $data")"
  for place in ${unit:+"$unit"} ${packets_unit:+"$packets_unit"} ${prefix:-"$boot_file"}; do
    [ ! -f "$place" ] || note "$place"
  done
  [ -n "$keep_apps" ] || note "the packet rules of this instance"
  recorded user | while read -r name; do note "the system user $name"; done
  [ -n "$keep_data" ] || recorded demo | while read -r place; do note "$place"; done
  [ -z "$purge" ] || note "ALL DATA in its volumes, with no backup"
  say_what_stays
  [ -z "$yes" ] && [ -z "$host_given" ] || return 0
  [ -t 0 ] || fail "nobody can be asked here" "Run it with --yes if that is what you want."
  word=${word:-remove}
  read -r -p "Type \"$word\" to go on: " answer
  [ "$answer" = "$word" ] || fail "nothing was removed"
}

say_what_stays() {
  local volume
  if [ -n "$keep_apps" ]; then
    echo "What stays: services, Traefik, volumes and $data."
    note "Nothing watches the services any more; the engine restarts what ends, after a reboot, too."
    note "The packet rules stay until the next reboot."
    return
  fi
  [ -z "$keep_data" ] || echo "What stays: $data, with the keys to everything."
  [ -z "$backup" ] || echo "What stays: a backup of Godploy's own state, $backup"
  [ -z "$purge" ] && engine_answers && [ -n "$(ours volume)" ] || return 0
  echo "What stays: the data in these volumes, whose passwords are in what stays of Godploy:"
  for volume in $(ours volume); do note "$volume"; done
}

# Nothing is removed before the backup is there and was read again. Its passphrase lies beside it: this machine held
# everything in clear until now, so the seal is for when the file leaves it.
make_backup() {
  [ -n "$backup" ] || return 0
  step "a backup: $backup"
  [ -x "$app/current/bin/godploy" ] || no_backup
  install -d -m 0755 "$(dirname "$backup")"
  (umask 077 && head -c 24 /dev/urandom | base64 | tr '+/' '-_' >"$backup.passphrase")
  "$app/current/bin/godploy" backup "$backup" --data "$data" --passphrase-file "$backup.passphrase" || no_backup
  install -m 0600 "$app/settings" "$backup.settings" # the backup does not hold them
}

no_backup() {
  rm -f "$backup.passphrase"
  fail "no backup could be made, so nothing was removed" \
    "--keep-data leaves the data directory instead; --purge=$host removes everything."
}

remove_objects() {
  local kind ids id
  if ! engine_answers; then
    note "no Docker engine answers, so containers, networks, volumes and images of ours stay where they are, if there are any"
    return
  fi
  for kind in $(kinds); do
    mapfile -t ids < <(ours "$kind")
    [ ${#ids[@]} != 0 ] || continue
    step "removing $(counted ${#ids[@]} "$kind")"
    case $kind in
      container) docker container rm -f -v "${ids[@]}" >/dev/null ;;
      image) for id in "${ids[@]}"; do remove_image "$id"; done ;;
      *) docker "$kind" rm "${ids[@]}" >/dev/null ;;
    esac
  done
  [ -n "$keep_apps" ] || recorded image | while read -r id; do remove_image "$id"; done
}

# remove_image IMAGE   unless somebody's container is made from it, such as another installation's Traefik.
remove_image() {
  if [ -n "$(docker container ls -aq --filter "ancestor=$1")" ] || ! docker image rm -f "$1" >/dev/null 2>&1; then
    note "the image $(docker image inspect -f '{{or (index .RepoTags 0) .Id}}' "$1" 2>/dev/null || echo "$1") stays: something else uses it"
  fi
}

remove_rules() {
  [ -z "$keep_apps" ] && [ -x "$app/current/bin/godploy" ] || return 0
  step "removing the packet rules"
  "$app/current/bin/godploy" packet-rules remove --data "$data" >/dev/null || note "the packet rules stay: nft list tables"
}

remove_service() {
  local file
  for file in "$unit" "$packets_unit"; do
    [ -e "$file" ] || continue
    systemctl disable --quiet "$(basename "$file")"
    rm -f "$file"
  done
  [ -z "$unit" ] || systemctl daemon-reload
  # An engine that the installer started is still to come back with the services that stay.
  if [ -z "$keep_apps" ] || [ -z "$(recorded engine)" ]; then
    recorded boot | while read -r file; do rm -f -- "$file"; done
  fi
  recorded user | while read -r name; do userdel "$name"; done
}

remove_files() {
  local place
  step "removing files"
  recorded signed-in | while read -r place; do
    as_person "$link" logout "$place" || note "the sign-in to $place is left in $home/.config/godploy"
  done
  [ -n "$keep_data" ] || recorded demo | while read -r place; do rm -rf -- "$place"; done
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
  [ -n "$state" ] && [ -z "$keep_apps" ] || return 0
  if pid=$(cat "$state/respawn.pid" 2>/dev/null) && grep -qsF "$state/respawn" "/proc/$pid/cmdline"; then
    if engine_answers && [ -n "$(docker ps -q)" ]; then
      note "the Docker engine goes on, since other containers run there; to end it: kill $pid; rm -r $state"
      return
    fi
    step "stopping the Docker engine; its images${purge:+ and volumes of others} stay in /var/lib/docker"
    end_process "$pid" "$state/log"
  fi
  umount "$state"/run/netns/* 2>/dev/null || true # the engine may leave the mounts of its network namespaces
  rm -rf -- "$state"
}

# What stays belongs to root, since its user is gone; with the settings beside it the installer takes it up again.
remove_installation() {
  if [ -z "$keep_data" ]; then
    rm -rf -- "$app" "$data"
  else
    chown -hR root:root "$data"
    find "$app" -mindepth 1 -maxdepth 1 ! -name settings ! -name made ! -name uninstall.sh ! -name boot.sh ! -name lib \
      ! -name 'acme-ca.pem' -exec rm -rf {} +
    chown root:root "$app/settings"
    sed -i -e '/^user /d' -e '/^signed-in /d' "$record_file"
  fi
  [ -z "$prefix" ] || find "$prefix" -depth -type d -empty -delete
}

say_end() {
  step "done"
  if [ -n "$backup" ]; then
    note "The backup is $backup"
    note "Its passphrase is in $backup.passphrase, the settings in $backup.settings."
    note "Take all three away, the passphrase to another place. docs/backup.md tells how to restore."
  fi
  if [ -n "$keep_data" ]; then
    note "install/install.sh takes up what is left. To remove that, too: $app/uninstall.sh"
  fi
  if [ -n "$left" ]; then
    note "These packages were installed for it and stay; if nothing else needs them:"
    note "  apt-get purge --autoremove $left"
  fi
}

main() {
  parse "$@"
  as_root "$0" "$@"
  set_paths "$prefix"
  [ -e "$record_file" ] || fail "there is no installation in $app" "Was it made with --prefix? Then give the same here."
  settle
  confirm
  step "stopping Godploy"
  stop_service
  make_backup
  remove_objects
  remove_rules
  remove_files
  remove_service
  remove_engine
  left=$(recorded package | sort -u | paste -sd ' ')
  remove_installation
  say_end
}

main "$@"
