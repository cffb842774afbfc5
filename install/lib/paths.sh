# shellcheck shell=bash disable=SC2034
# Where an installation has its things, and the record of what it made: the uninstaller takes away what stands there.

# set_paths PREFIX   all places; a prefix (for trying it out beside another one) also keeps home and service manager apart.
set_paths() {
  local prefix=$1
  [[ $prefix =~ ^[A-Za-z0-9/._-]*$ ]] || fail "--prefix may hold letters, digits, and / . _ - only"
  [ -z "$prefix" ] || [[ $prefix = /* ]] || fail "--prefix must begin with /"
  app=$prefix/opt/godploy
  data=$prefix/var/lib/godploy
  link=$prefix/usr/local/bin/godploy
  engine_state=$prefix/var/lib/godploy-engine
  record_file=$app/made
  boot_file=/etc/cron.d/godploy
  person=${SUDO_USER:-root}
  service_user=godploy
  unit="" packets_unit=""
  if [ -n "$prefix" ]; then
    person=root
    service_user=root
    home=$prefix/home
  else
    home=$(getent passwd "$person" | cut -d: -f6)
    if has_systemd; then
      unit=/etc/systemd/system/godploy.service
      packets_unit=/etc/systemd/system/godploy-packets.service
    fi
  fi
  demo=$home/godploy-demo
}

# record KIND NAME   remembers something made, once.
record() { grep -qsxF "$1 $2" "$record_file" || printf '%s %s\n' "$1" "$2" >>"$record_file"; }

# recorded KIND   the names remembered, a line each.
recorded() { [ ! -e "$record_file" ] || sed -n "s|^$1 ||p" "$record_file"; }

# setting KEY [DEFAULT]   as the service was last started with.
setting() {
  local value
  value=$(sed -n "s|^$1=||p" "$app/settings" 2>/dev/null || true)
  echo "${value:-${2-}}"
}

# as_person COMMAND…   runs as whoever called the installer, so that they own what is theirs: sign-in and demo.
# An exported GIT_SSL_CAINFO would win over the certificate that is pinned for git, so it stays outside.
as_person() {
  local run=(env -u GIT_SSL_CAINFO -u GIT_SSL_CAPATH -u XDG_CONFIG_HOME "HOME=$home" "PATH=$(dirname "$link"):$PATH" "$@")
  if [ "$person" = root ]; then "${run[@]}"; else sudo -u "$person" -- "${run[@]}"; fi
}
