# shellcheck shell=bash disable=SC2154
# The program comes into force: at first, or in another one's place with a way back. Two things on the disk say where an
# upgrade stands, whatever ends the installer:
#
#   $app/before-upgrade  all that the way back needs, from the moment that it has its name; kept until the next upgrade
#   $data/trial          the mark. While it is there the new version accepts nothing, so that the way back loses nothing.
#                        Godploy itself removes it, with its first good answer of /readyz: that decides for the new one.
#
# A run that finds the mark goes back before it begins; one that does not finds one version in force as a whole.

upgrade_stage="" # "stopped": the service is down, nothing is changed · "tried": the mark is set
patience=60      # seconds

switch_to() {
  ln -sfn "$(basename "$1")" "$app/current.new"
  mv -T "$app/current.new" "$app/current"
  sync "$app"
}

# start_program   with `put_in_force` of the installer, which writes settings and service and switches to $fresh.
start_program() {
  local before
  before=$(readlink "$app/current" 2>/dev/null || true)
  if [ -n "$before" ]; then upgrade "$before"; else first_start; fi
  keep_only "$(basename "$fresh")"
}

first_start() {
  put_in_force
  step "starting Godploy"
  start_service
  becomes_ready "$listen" && return
  service_log >&2
  stop_service
  fail "Godploy does not become ready" "The end of its log stands above. Run this again, or install/uninstall.sh."
}

upgrade() {
  step "stopping Godploy; what it runs goes on"
  upgrade_stage=stopped
  stop_service
  step "keeping the database and the service as they are: $app/before-upgrade"
  keep_before "$1"
  rm -f "$data/trial" # the directory is the service's: whatever it put there is not written through
  (set -C && : >"$data/trial")
  sync "$data/trial" "$data"
  upgrade_stage=tried
  put_in_force
  step "starting the new version, on trial"
  start_service
  if becomes_ready "$listen"; then
    upgrade_stage=""
    return
  fi
  service_log >&2
  go_back
  if ! becomes_ready "$(setting GODPLOY_LISTEN 127.0.0.1:8400)"; then
    service_log >&2
    fail "$(in_force) is in force again, but does not become ready" "The ends of both logs stand above."
  fi
  if [ "$(in_force)" = "$(basename "$fresh")" ]; then
    note "it became ready in the last moment, and stays"
    return
  fi
  fail "the new version does not become ready; the one before is running again, with its database" "The end of the log stands above."
}

in_force() { readlink "$app/current"; }

# keep_before PROGRAM   the service is stopped.
keep_before() {
  local kept=$app/before-upgrade place
  rm -rf "$kept.new"
  install -d -m 0700 "$kept.new" "$kept.new/files"
  [ ! -e "$data/godploy.db" ] || copy_database "$data/godploy.db" "$kept.new/godploy.db" ||
    fail "the database could not be copied" "What was said stands above."
  service_files >"$kept.new/list"
  while read -r place; do
    [ -e "$place" ] || continue
    install -d -m 0700 "$kept.new/files$(dirname "$place")"
    cp -a "$place" "$kept.new/files$place"
  done <"$kept.new/list"
  echo "$1" >"$kept.new/program"
  find "$kept.new" -exec sync {} +
  rm -rf "$kept"
  mv -T "$kept.new" "$kept"
  sync "$app"
}

# service_files   whatever starts the service; a version may lack some of it.
service_files() {
  find "$app" -mindepth 1 -maxdepth 1 ! -name 'program-*' ! -name 'current*' ! -name 'before-upgrade*' ! -name pip-cache \
    ! -name made ! -name 'log*' ! -name respawn.pid ! -name installing
  [ -z "$unit" ] || printf '%s\n' "$unit" "$packets_unit"
  [ -n "$prefix" ] || printf '%s\n' "$boot_file"
}

# go_back   to the version before, with its database and what started it, unless the new one became ready in the last
# moment: then that stays. Either is started. Can be repeated, wherever it was interrupted.
go_back() {
  local kept=$app/before-upgrade before place
  before=$(cat "$kept/program")
  trap '' INT TERM HUP PIPE
  step "going back to the version before" || true # nobody may be listening any more
  stop_service
  if [ -e "$data/trial" ]; then
    while read -r place; do put_back "$kept/files$place" "$place"; done <"$kept/list"
    [ -z "$unit" ] || systemctl daemon-reload
    put_back_database "$app/$before/bin/python" "$kept/godploy.db"
    switch_to "$before"
    rm -f "$data/trial"
    sync "$data"
  fi
  upgrade_stage=""
  keep_only "$(in_force)"
  trap - INT TERM HUP PIPE # what is ignored here the service could never hear
  start_service
}

# put_back KEPT PLACE   as it was; what was not there goes.
put_back() {
  rm -rf -- "$2.before"
  if [ ! -e "$1" ]; then
    rm -rf -- "$2"
    return
  fi
  cp -aT --remove-destination "$1" "$2.before"
  find "$2.before" -exec sync {} +
  [ ! -d "$2" ] || rm -rf -- "$2"
  mv -T "$2.before" "$2"
}

# put_back_database PYTHON KEPT   SQLite empties its log of changes first: left beside another database it would damage
# that, and taken from its own, if the power went in between, that one.
put_back_database() {
  local database=$data/godploy.db
  [ ! -e "$database" ] || "$1" -I -c '
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
connection.close()' "$database" || note "the new version left its database damaged"
  rm -f "$database-wal" "$database-shm"
  put_back "$2" "$database"
  [ ! -e "$database" ] || chown -h --reference="$data" "$database"
  sync "$data"
}

# copy_database FROM TO   whole, and looked through.
copy_database() {
  "$fresh/bin/python" -I - "$1" "$2" <<'EOF'
import os, sqlite3, sys
from contextlib import closing
source, target = sys.argv[1:]
os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
with closing(sqlite3.connect(source)) as database, closing(sqlite3.connect(target)) as copy:
    database.backup(copy)
    found = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
sys.exit(0 if found == "ok" else f"the database is damaged: {found}")
EOF
}

# keep_only PROGRAM   the others' directories go.
keep_only() { find "$app" -maxdepth 1 -name 'program-*' ! -name "$1" -exec rm -rf {} +; }

# becomes_ready LISTEN   until Godploy says that it can deploy, and has removed the mark if there was one; false after a
# minute, or once it has ended three times.
becomes_ready() {
  local deadline=$(($(date +%s) + patience)) ended
  ended=$(times_ended)
  until curl -fsS --noproxy '*' --max-time 5 "http://$1/readyz" >/dev/null 2>&1 && [ ! -e "$data/trial" ]; do
    [ "$(date +%s)" -lt $deadline ] && [ $(($(times_ended) - ended)) -lt 3 ] || return 1
    sleep 0.2
  done
}

# times_ended   how often the service has ended by itself; only by how much that grows says anything.
times_ended() {
  if [ -n "$unit" ]; then
    systemctl show -p NRestarts --value "$(basename "$unit")"
  else
    grep -cs ' respawn: .* ended with status ' "$app/log" || true
  fi
}

# only_installer   fails while another run is at work: it would take back an upgrade that is only under way.
only_installer() {
  local other
  other=$(cat "$app/installing" 2>/dev/null || true)
  [ -n "$other" ] && [ "$other" != $$ ] && grep -qsF install.sh "/proc/$other/cmdline" || return 0
  fail "the installer is at work already (process $other)" "Nothing was changed. Wait for it, or end it: kill $other"
}

# resume_upgrade   what an installer that was killed left undecided is taken back.
resume_upgrade() {
  [ -e "$data/trial" ] || return 0
  step "an upgrade was interrupted while its version was on trial"
  if [ -e "$app/before-upgrade/program" ]; then
    go_back
  else
    note "nothing is kept to go back to, so what is there counts"
    rm -f "$data/trial"
  fi
}

# leave_upgrade   for the installer's end, whatever it is: what is undecided is taken back. Standard output may be a file
# that was being written.
leave_upgrade() {
  [ -n "$upgrade_stage" ] || return 0
  if [ "$upgrade_stage" = tried ]; then
    go_back >&2
  else
    stop_service # it may have been in the middle of that
    start_service
    rm -rf "$app/before-upgrade.new"
    note "nothing was changed; Godploy is started again" >&2
  fi
}
