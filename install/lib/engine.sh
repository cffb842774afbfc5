# shellcheck shell=bash
# A Docker engine on the default socket: found, installed from Debian's packages, started with or without systemd.

engine_socket=/var/run/docker.sock
engine_patience=5 # seconds that it may take for one answer

engine_answers() {
  [ -S "$engine_socket" ] && curl -fsS --max-time $engine_patience --unix-socket "$engine_socket" http://localhost/_ping >/dev/null 2>&1
}

# engine_listens   someone holds the socket, even if too busy to answer now. A second engine on this network would take the
# first one's bridge away, and the first one's socket could never be had back.
engine_listens() {
  local status=0
  [ -S "$engine_socket" ] || return 1
  curl -fsS --max-time $engine_patience --unix-socket "$engine_socket" http://localhost/_ping >/dev/null 2>&1 || status=$?
  [ $status != 7 ] # 7: nobody there, as a killed engine leaves it
}

# engine_found   an engine is there and answers; one that is busy is given its time.
engine_found() {
  engine_wait 3 && return
  engine_listens || return 1
  engine_wait 120 || fail "a Docker engine holds $engine_socket, but does not answer" "Look into its log, or restart it; then run this again."
}

engine_version() {
  curl -fsS --unix-socket "$engine_socket" http://localhost/version |
    sed -n 's/.*"Version":"\([^"]*\)","ApiVersion":"\([^"]*\)".*/Docker \1, API \2/p'
}

# engine_group   whoever is in it may talk to the engine.
engine_group() { stat -c %G "$engine_socket"; }

# runs_as PIDFILE NAME   true if the process in the file lives and is that program: a number alone may be somebody else's.
runs_as() {
  local pid
  pid=$(cat "$1" 2>/dev/null) && [ -n "$pid" ] && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = "$2" ]
}

has_systemd() { [ -d /run/systemd/system ]; }

engine_packages() {
  local packages=(docker.io iptables) extra
  # Newer releases split the client and BuildKit's part of it off. AppArmor's parser is only recommended by the engine,
  # which starts no container without it where the kernel has AppArmor on.
  for extra in docker-cli docker-buildx; do
    apt-cache show "$extra" >/dev/null 2>&1 && packages+=("$extra")
  done
  grep -qs Y /sys/module/apparmor/parameters/enabled && packages+=(apparmor)
  command -v dockerd >/dev/null && packages=("${packages[@]/docker.io/}")
  # shellcheck disable=SC2048,SC2086 # the emptied entry is meant to vanish
  echo ${packages[*]}
}

# engine_install   the engine's packages, unless an engine listens or is there.
engine_install() {
  engine_listens && command -v docker >/dev/null && return
  [ -d /var/lib/apt/lists ] && compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null ||
    apt-get update -qq >/dev/null 2>&1 || fail "apt-get update failed" "Run it by hand to see why."
  # shellcheck disable=SC2046
  ensure_packages $(engine_packages)
}

# engine_start STATE DATA [LAUNCHER…]   where engine_found finds none: starts an engine as a process of ours and waits
# until it answers. STATE holds pid file and log, DATA the images; LAUNCHER is put in front of dockerd (something that restarts it).
engine_start() {
  local state=$1 data=$2 run=$1/run
  shift 2
  mkdir -p "$state" "$data"
  # What a killed engine leaves behind would stop the next one: its containerd (which holds the database of images),
  # and pid files whose numbers have been given to other programs.
  if runs_as "$run/containerd/containerd.pid" containerd; then kill "$(cat "$run/containerd/containerd.pid")"; fi
  rm -rf "$state/dockerd.pid" "$engine_socket" "$run/containerd/containerd.pid" "$run/containerd/containerd.sock"
  if ! mountpoint -q /sys/fs/cgroup && command -v cgroupfs-mount >/dev/null; then cgroupfs-mount; fi
  (cd / && exec setsid "$@" dockerd --data-root "$data" --exec-root "$run" --pidfile "$state/dockerd.pid" \
    --host "unix://$engine_socket" </dev/null >>"$state/log" 2>&1) &
  engine_wait 60 && return
  tail -n 15 "$state/log" >&2
  fail "the Docker engine did not start" "Its log is $state/log; the last lines stand above."
}

# start_own_engine STATE   one that a small parent keeps running, where nothing else would.
start_own_engine() { engine_start "$1" /var/lib/docker "$1/respawn" "$1/respawn.pid" "$1/log"; }

# engine_wait SECONDS   until it answers.
engine_wait() {
  local deadline=$(($(date +%s) + $1))
  until engine_answers; do
    [ "$(date +%s)" -lt $deadline ] || return 1
    sleep 0.2
  done
}

# end_process PID LOG   asks it to end and waits for that, a minute at most.
end_process() {
  kill "$1"
  for _ in $(seq 600); do
    # What has ended but is not reaped is over, too: the first process of a container may never do it.
    grep -Eqs '^State:[[:space:]]+[^ZX[:space:]]' "/proc/$1/status" || return 0
    sleep 0.1
  done
  fail "process $1 does not end" "Its log is $2."
}

# engine_stop STATE   ends the engine that engine_start started there, and no other.
engine_stop() {
  if runs_as "$1/dockerd.pid" dockerd; then end_process "$(cat "$1/dockerd.pid")" "$1/log"; fi
}
