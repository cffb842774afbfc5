# shellcheck shell=bash disable=SC2154
# Looks at the machine before anything is changed, and tells at once everything that would go wrong. It gets by with what
# a bare Debian has. The places come from paths.sh, the wishes from install.sh.

disk_floor=2048  # MB: packages, program and Traefik's image take half of it, the images of a first app the rest
memory_floor=900 # MB, swap included: engine, Traefik and Godploy take about 400, a build takes what is left
api_floor=1.41   # of Docker 20.10, the oldest that Godploy is tested with
clock_floor=300  # seconds that the clock may be off; certificates are refused beyond

problems=() warnings=()

# problem SENTENCE ADVICE…   what stands in the way; warning: what does not.
problem() { problems+=("$(printf '%s\n' "$1" "${@:2}" | sed '2,$s/^/       /')"); }
warning() { warnings+=("$(printf '%s\n' "$1" "${@:2}" | sed '2,$s/^/                /')"); }

preflight() {
  local text
  step "looking at this machine"
  check_distribution
  check_places
  check_ports
  check_disk
  check_memory
  check_docker
  check_instance
  check_clock
  check_dns
  for text in ${warnings[@]+"${warnings[@]}"}; do note "warning: $text"; done
  [ ${#problems[@]} != 0 ] || return 0
  printf '\n' >&2
  for text in "${problems[@]}"; do printf 'error: %s\n' "$text" >&2; done
  printf '\nNothing was changed.\n' >&2
  exit 1
}

check_distribution() {
  local ID="" VERSION_ID="" PRETTY_NAME="" oldest=""
  # shellcheck source=/dev/null
  [ ! -r /etc/os-release ] || source /etc/os-release
  case $ID in
    debian) oldest=12 ;;
    ubuntu) oldest=22.04 ;;
  esac
  if [ -z "$oldest" ] || ! at_least "${VERSION_ID:-$oldest}" $oldest; then # Debian's testing has no number yet
    problem "this is ${PRETTY_NAME:-an unknown system}; Godploy is installed on Debian 12 or Ubuntu 22.04, or newer" \
      "Elsewhere its container image may do: see docs/install.md."
  fi
}

# at_least VERSION FLOOR
at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

# What lies where ours is to go must be ours.
check_places() {
  local entry target
  if [ ! -e "$record_file" ] && [ -n "$(ls -A "$app" 2>/dev/null)" ]; then
    problem "$app is there already, and this installer did not make it" "Move it away: mv $app $app.old"
  fi
  target=$(readlink "$link" 2>/dev/null || true)
  if [ -e "$link" ] && [ "$target" != "$app/current/bin/godploy" ]; then
    problem "$link is there already, and this installer did not make it" "Move it away: mv $link $link.old"
  fi
  if [ "$service_user" != root ] && entry=$(getent passwd "$service_user") && [[ ! $entry =~ :(/usr/sbin|/sbin|/bin)/(nologin|false)$ ]]; then
    problem "there is a user $service_user who can log in; Godploy's service needs that name for its own" \
      "Rename it: usermod -l OTHER-NAME $service_user"
  fi
  if [ -e "$app/current" ] && older_than_installed; then
    problem "this is Godploy $new_version, older than $(installed_version), which is installed: it would not understand the database" \
      "Install the newer one, or restore a backup that was made with this one."
  fi
}

installed_version() { "$app/current/bin/godploy" version 2>/dev/null | sed -n 's/^godploy //p'; }

older_than_installed() {
  local there
  there=$(installed_version)
  [ -n "$there" ] && [ -n "$new_version" ] && ! at_least "$new_version" "$there"
}

check_ports() {
  check_port "$http_port" --port
  check_port "$https_port" --https-port
  check_port "$api_port" --traefik-api-port
  check_port "${listen##*:}" --listen
}

# check_port PORT FLAG   an upgrade finds its ports held by itself.
check_port() {
  local inode pid holder
  inode=$(listening "$1")
  [ -n "$inode" ] || return 0
  # Processes end while they are looked through.
  pid=$({ find /proc/[0-9]*/fd -maxdepth 1 -lname "socket:\\[$inode\\]" 2>/dev/null || true; } | cut -d/ -f3 | sort -un | sed -n 1p)
  holder=$(holder "$1" "$pid")
  case $holder in
    "the container godploy-traefik-$instance") return ;;
    *"(process "*) ! grep -qsF "$app/" "/proc/$pid/cmdline" || return 0 ;;
  esac
  problem "port $1 is taken by $holder" "End that, or choose another port: $2 (install/install.sh --help)"
}

# listening PORT   the inode of the socket that listens there on TCP, on whatever address.
# https://docs.kernel.org/networking/proc_net_tcp.html: second the local address, fourth the state, tenth the inode
listening() {
  { cat /proc/net/tcp /proc/net/tcp6 2>/dev/null || true; } |
    awk -v port="$(printf ':%04X' "$1")" '$4 == "0A" && substr($2, length($2) - 4) == port && !seen++ { print $10 }'
}

# holder PORT PID   who that is, in words.
holder() {
  local id name=""
  [ -n "$2" ] || { echo "a program that cannot be seen from here"; return; }
  id=$(sed -n 's|.*docker[/-]\([0-9a-f]\{64\}\).*|\1|p' "/proc/$2/cgroup" | sed -n 1p)
  if [ -n "$id" ]; then
    name=$(docker container inspect -f '{{.Name}}' "$id" 2>/dev/null || true)
  elif [ "$(cat "/proc/$2/comm")" = docker-proxy ]; then
    name=$(docker container ls --filter "publish=$1" --format '{{.Names}}' 2>/dev/null | sed -n 1p)
  fi
  if [ -n "$name" ]; then echo "the container ${name#/}"; else echo "$(cat "/proc/$2/comm") (process $2)"; fi
}

# Each file system counts once.
check_disk() {
  local place device seen=" " free
  for place in "$app" "$data" "$(timeout 20 docker info -f '{{.DockerRootDir}}' 2>/dev/null || echo /var/lib/docker)"; do
    until [ -d "$place" ]; do place=$(dirname "$place"); done
    read -r device free < <(df -Pm "$place" | awk 'NR == 2 { print $1, $4 }')
    [[ $seen != *" $device "* ]] || continue
    seen+="$device "
    [ "$free" -ge $disk_floor ] ||
      problem "$place has $free MB left; $disk_floor MB are needed, for packages, Traefik's image and the images of a first app" \
        "Make room: du -xh --max-depth=2 $place | sort -h | tail"
  done
}

check_memory() {
  local there
  there=$(awk '/^(MemTotal|SwapTotal):/ { sum += $2 } END { print int(sum / 1024) }' /proc/meminfo)
  [ "$there" -ge $memory_floor ] ||
    problem "this machine has $there MB of memory and swap; $memory_floor MB are needed, or builds end for want of it" \
      "More memory, or swap: fallocate -l 2G /swapfile && chmod 600 /swapfile && mkswap /swapfile && swapon /swapfile"
}

check_docker() {
  local program api group names
  program=$(command -v docker) || return 0
  if [[ $(readlink -f "$program") = /snap/* || $(readlink -f "$program") = /usr/bin/snap ]]; then
    problem "Docker comes from snap here, and sees neither $app nor $data" \
      "Remove it (snap remove docker), and run this again: it installs Debian's packages."
    return
  fi
  if "$program" --version 2>/dev/null | grep -qi podman; then
    problem "docker is Podman here (package podman-docker), which cannot build and run as Godploy needs it" \
      "Remove it (apt-get remove podman-docker), and run this again: it installs Docker."
    return
  fi
  api=$(timeout 20 "$program" version -f '{{.Server.APIVersion}}' 2>/dev/null) || return 0 # it is started later
  at_least "$api" $api_floor ||
    problem "the Docker engine speaks API $api; $api_floor (Docker 20.10) or newer is needed" "Upgrade Docker first."
  group=$(engine_group)
  [ "$service_user" = root ] || [ "$group" != root ] ||
    problem "the Docker socket belongs to the group root, so that Godploy's own user could not use it" \
      "groupadd --system docker, then restart the engine: it gives the socket to that group."
  names=$(docker container ls --filter network=bridge --format '{{.Names}}' 2>/dev/null | paste -sd ' ')
  [ -z "$names" ] || warning "on Docker's default network there are containers of yours: $names" \
    "Godploy's packet rules apply there, too, since images are built there: they reach this machine" \
    "only on ports $http_port and $https_port then, and not the metadata address of a cloud."
}

check_instance() {
  local owner
  owner=$(timeout 20 docker container inspect -f '{{index .Config.Labels "godploy.data"}}' "godploy-traefik-$instance" 2>/dev/null) || return 0
  [ "$owner" = "$data" ] || problem "an instance \"$instance\" of Godploy is on this machine already; its data is in $owner" \
    "Give this one a name, ports and a pool of its own: --instance, --port, --https-port, --listen, --traefik-api-port, --pool"
}

check_clock() {
  local url told off
  url=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    grep -v '^ *#' | grep -Eo 'https?://[^ /]+' | sed -n 1p || true)
  told=$(told_date "$url" | sed -n 's/^[Dd]ate: *\(.*GMT\).*/\1/p' | sed -n 1p)
  if [ -z "$told" ] || ! told=$(date -d "$told" +%s 2>/dev/null); then
    warning "the clock was not checked, since ${url:-no package mirror} did not answer; if it is wrong, certificates fail"
    return
  fi
  off=$(($(date +%s) - told))
  [ ${off#-} -le $clock_floor ] ||
    problem "the clock is off by ${off#-} seconds, compared with ${url#*//}: certificates would fail" \
      "Set it (apt-get install systemd-timesyncd, or date -s), and run this again."
}

# told_date URL   the head of a server's answer.
# shellcheck disable=SC2016 # expanded in there
told_date() {
  if command -v curl >/dev/null; then
    curl -sI --max-time 10 "$1/" 2>/dev/null || true
  elif [[ $1 = http://* ]]; then
    timeout 10 bash -c 'exec 3<>"/dev/tcp/${1%%:*}/80" && printf "HEAD / HTTP/1.0\r\nHost: %s\r\n\r\n" "$1" >&3 && cat <&3' \
      clock "${1#http://}" 2>/dev/null || true
  fi
}

# People often set DNS after the server: certificates come as soon as it is right.
check_dns() {
  [ -z "$domain" ] || leads_here "$domain" "$domain"
  [[ $apps_domain = localhost || $apps_domain = *.sslip.io ]] || leads_here "x.$apps_domain" "*.$apps_domain"
}

# leads_here HOST RECORD   warns where DNS sends that host elsewhere; RECORD is the name of the entry to make.
leads_here() {
  local found own address
  found=$(timeout 15 getent ahosts "$1" | awk '{ print $1 }' | sort -u | paste -sd ' ' || true)
  own=$(hostname -I 2>/dev/null | xargs || true)
  for address in $found; do [[ " $own " != *" $address "* ]] || return 0; done
  if [ -z "$found" ]; then
    warning "$1 does not resolve yet" "Make a DNS entry for $2 that leads to ${own%% *}; certificates come once it is there."
  elif [[ $found = 127.* || $found = ::1* ]]; then
    warning "/etc/hosts says where $1 is, so DNS was not looked at"
  else
    warning "$1 leads to $found, this server is ${own%% *}" \
      "Behind an address translation that can be right; else correct the DNS entry for $2. Certificates come once it is."
  fi
}
