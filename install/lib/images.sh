# shellcheck shell=bash disable=SC2016
# Base images under their official names: pulled where a registry answers, else made from Debian's packages.
# `install/images/NAME-TAG/` holds one Dockerfile for each; busybox and debian have no parent and are made here.

images_here=$(cd "$(dirname "${BASH_SOURCE[0]}")/../images" && pwd)

have_image() { docker image inspect "$1" >/dev/null 2>&1; }

# ensure_images NAME:TAG…   names of those that had to be made are left in $images_made.
images_made=()
ensure_images() {
  local ref lock begin missing=()
  exec {lock}>/run/lock/godploy-images
  flock "$lock" # two runs at once would make everything twice
  for ref in "$@"; do have_image "$ref" || missing+=("$ref"); done
  if [ ${#missing[@]} != 0 ]; then
    begin=$(date +%s)
    if timeout 60 docker pull -q "${missing[0]}" >/dev/null 2>&1; then
      step "pulling images: ${missing[*]}"
      for ref in "${missing[@]}"; do docker pull -q "$ref" >/dev/null || fail "docker pull $ref failed"; done
    else
      step "no container registry answers: making ${missing[*]} from Debian's packages"
      make_images "${missing[@]}"
      images_made+=("${missing[@]}")
    fi
    note "images: $(($(date +%s) - begin)) s"
  fi
  exec {lock}>&-
}

# make_images NAME:TAG…   the parent first, what stands on it side by side.
make_images() {
  local ref work jobs=() status=0
  work=$(mktemp -d)
  for ref in "$@"; do
    case $ref in
      busybox:stable) make_busybox "$ref" "$work" ;;
      debian:bookworm-slim) ;;
      *) [ -d "$images_here/${ref/:/-}" ] || fail "there is no recipe for $ref" "Known: busybox:stable, debian:bookworm-slim and those in install/images." ;;
    esac
    case $ref in busybox:stable) ;; *) have_image debian:bookworm-slim || make_debian debian:bookworm-slim "$work" ;; esac
  done
  for ref in "$@"; do
    [ -d "$images_here/${ref/:/-}" ] || continue
    # The older builder is in every engine and client. It borrows the host's network, so that name resolution is the host's.
    DOCKER_BUILDKIT=0 docker build --network host -t "$ref" "$images_here/${ref/:/-}" >"$work/${ref/:/-}.log" 2>&1 &
    jobs+=("$!:$ref")
  done
  for ref in "${jobs[@]}"; do
    wait "${ref%%:*}" && continue
    tail -n 20 "$work/$(tr : - <<<"${ref#*:}").log" >&2
    note "could not make ${ref#*:}; the end of its build stands above"
    status=1
  done
  rm -rf "$work"
  [ $status = 0 ] || fail "a base image could not be made"
}

make_busybox() {
  local root=$2/busybox applet
  ensure_packages busybox-static
  mkdir -p "$root"/{bin,dev,etc,home,proc,root,sys,tmp,usr,var}
  chmod 1777 "$root/tmp"
  for applet in $(busybox --list); do ln -sf busybox "$root/bin/$applet"; done
  cp --remove-destination /bin/busybox "$root/bin/busybox"
  ln -s ../bin "$root/usr/bin"
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
  tar -C "$root" --owner 0 --group 0 --numeric-owner -c . | docker import -c 'CMD ["sh"]' - "$1" >/dev/null
}

make_debian() {
  make_root bookworm "$2/debian.tar" ca-certificates
  docker import -c 'CMD ["bash"]' "$2/debian.tar" "$1" >/dev/null
  rm "$2/debian.tar"
}

# make_root SUITE TAR PACKAGE…   a minimal Debian root file system.
make_root() {
  local suite=$1 tar=$2 mirror log=$2.log
  shift 2
  ensure_packages mmdebstrap debian-archive-keyring ca-certificates
  # The mirror that this machine uses may be the only one that it reaches.
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null |
    grep -Ev 'security|backports' | head -n 1)
  # The host's certificates go in, so that pip and npm work in builds behind a proxy that inspects.
  mmdebstrap --variant=minbase --include="$(IFS=, && echo "$*")" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='force-unsafe-io' \
    --customize-hook='cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/ca-certificates.crt"' \
    "$suite" "$tar" ${mirror:+"$mirror"} >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    fail "mmdebstrap could not make a Debian root file system" "What it said stands above."
  }
  rm "$log"
}
