#!/usr/bin/env bash
# Keeps one program running where there is no service manager: started again when it ends, a little later each time.
#   respawn.sh PIDFILE LOG COMMAND…     TERM ends the program, then this; PIDFILE holds this process
set -u
pidfile=$1 log=$2
shift 2
longest=30 steady=60 # seconds: the longest pause, and how long a run counts as sound

child="" stopping=""
# shellcheck disable=SC2317 # called by the trap
stop() {
  stopping=yes
  [ -z "$child" ] || kill -TERM "$child" 2>/dev/null
}
trap stop TERM INT
trap '' HUP
echo $$ >"$pidfile"

say() { printf '%s respawn: %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" >>"$log"; }

pause=1
until [ -n "$stopping" ]; do
  # Nobody else looks after the log's size here; between two runs no one writes to it.
  if [ "$(stat -c %s "$log" 2>/dev/null || echo 0)" -gt 10000000 ]; then mv "$log" "$log.1"; fi
  begin=$SECONDS
  "$@" >>"$log" 2>&1 </dev/null &
  child=$!
  [ -z "$stopping" ] || kill -TERM "$child"
  wait "$child"
  status=$?
  while kill -0 "$child" 2>/dev/null; do # a signal ends the waiting before the program ends
    wait "$child"
    status=$?
  done
  child=""
  [ -n "$stopping" ] && break
  [ $((SECONDS - begin)) -ge $steady ] && pause=1
  say "$1 ended with status $status; again in $pause s"
  sleep $pause &
  wait $!
  pause=$((pause * 2 > longest ? longest : pause * 2))
done
rm -f "$pidfile"
