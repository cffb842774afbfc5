# shellcheck shell=bash disable=SC2034,SC2154
# What the installer is told, what follows from it, and what it is going to do.

prefix="" with_demo="" dry_run="" domain="" email="" apps_domain="" acme_url="" acme_ca=""
http_port="" https_port="" listen="" api_port="" pool="" instance="" wheel=""
packages=(git curl ca-certificates nftables openssh-client)

parse() {
  while [ $# -gt 0 ]; do
    case $1 in
      --demo) with_demo=yes ;;
      --dry-run) dry_run=yes ;;
      --help | -h) usage; exit ;;
      --*)
        option "$@"
        shift ;;
      *) fail "unknown option $1" "install/install.sh --help lists them." ;;
    esac
    shift
  done
}

# option NAME VALUE   those that take one.
option() {
  local name=""
  case $1 in
    --domain) name=domain ;;
    --email) name=email ;;
    --apps-domain) name=apps_domain ;;
    --acme-url) name=acme_url ;;
    --acme-ca) name=acme_ca ;;
    --port) name=http_port ;;
    --https-port) name=https_port ;;
    --listen) name=listen ;;
    --traefik-api-port) name=api_port ;;
    --pool) name=pool ;;
    --instance) name=instance ;;
    --wheel) name=wheel ;;
    --prefix) name=prefix ;;
    *) fail "unknown option $1" "install/install.sh --help lists them." ;;
  esac
  [ $# -gt 1 ] || fail "$1 needs a value"
  printf -v "$name" '%s' "$2"
}

# What the flags did not say is as it was, or the default.
settle() {
  local number host='^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$'
  http_port=${http_port:-$(setting GODPLOY_HTTP_PORT 80)}
  https_port=${https_port:-$(setting GODPLOY_HTTPS_PORT 443)}
  api_port=${api_port:-$(setting GODPLOY_TRAEFIK_API_PORT 8499)}
  listen=${listen:-$(setting GODPLOY_LISTEN 127.0.0.1:8400)}
  pool=${pool:-$(setting GODPLOY_POOL 10.213.0.0/16)}
  instance=${instance:-$(setting GODPLOY_INSTANCE main)}
  for number in "$http_port" "$https_port" "$api_port" "${listen##*:}"; do
    [[ $number =~ ^[1-9][0-9]{0,4}$ && $number -le 65535 ]] || fail "\"$number\" is not a port (1 to 65535)"
  done
  [[ $listen =~ ^(127\.[0-9.]+|\[::1\]|localhost):[0-9]+$ ]] ||
    fail "--listen: \"$listen\" is not a loopback HOST:PORT such as 127.0.0.1:8400" "Traefik stands before Godploy for everybody else."
  [[ $pool =~ ^(10\.|172\.(1[6-9]|2[0-9]|3[01])\.|192\.168\.)[0-9.]+/(8|9|1[0-9]|2[0-4])$ ]] ||
    fail "--pool: \"$pool\" is not a private network of at least a /24, such as 10.213.0.0/16"
  [ "$(printf '%s\n' "$http_port" "$https_port" "$api_port" "${listen##*:}" | sort -u | wc -l)" = 4 ] ||
    fail "two of the ports are the same: $http_port, $https_port, $api_port, ${listen##*:}"
  [[ $instance =~ ^[a-z]([a-z0-9-]{0,18}[a-z0-9])?$ ]] || fail "--instance takes up to 20 of a-z, 0-9 and hyphens"
  domain=${domain:-$(domain_before)}
  [[ -z $domain || $domain =~ $host ]] || fail "--domain: \"$domain\" is not a host such as deploy.example.com"
  apps_domain=${apps_domain:-$(setting GODPLOY_APPS_DOMAIN "$(domain_of_address)")}
  [[ $apps_domain = localhost || $apps_domain =~ $host ]] || fail "--apps-domain: \"$apps_domain\" is not a domain such as apps.example.com"
  settle_email
  settle_source
  local_url=https://localhost
  [ "$https_port" = 443 ] || local_url=$local_url:$https_port
  url=${local_url/localhost/${domain:-localhost}}
}

# domain_before   as an earlier run was told.
domain_before() {
  setting GODPLOY_URL | sed -n 's|^https://\([^:/]*\).*|\1|p' | grep -vx localhost || true
}

# domain_of_address   a name for every app without any DNS of one's own, where the machine has a public address.
domain_of_address() {
  local address
  for address in $(hostname -I 2>/dev/null || true); do
    # https://www.iana.org/assignments/iana-ipv4-special-registry
    [[ $address =~ ^[0-9.]+$ ]] || continue
    [[ ! $address =~ ^(0|10|127|169\.254|172\.(1[6-9]|2[0-9]|3[01])|192\.168|192\.0\.[02]|198\.1[89]|198\.51\.100|203\.0\.113|100\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])|22[4-9]|2[3-5][0-9])\. ]] || continue
    echo "${address//./-}.sslip.io"
    return
  done
  echo localhost
}

# The authority's account has an address; the first owner has the same.
settle_email() {
  local account
  account=${email:-$(setting GODPLOY_ACME_EMAIL)}
  email=${email:-$(recorded owner)}
  [[ -z $email || $email =~ ^[^[:space:]@]+@[^[:space:]@]+$ ]] || fail "--email: \"$email\" is not an address"
  acme_email=""
  if [ -n "$domain" ]; then
    [ -n "$account" ] || fail "--domain needs --email ADDRESS" "The certificate authority wants to know whom to reach."
    acme_email=$account
  fi
  email=${email:-owner@localhost}
  acme_url=${acme_url:-$(setting GODPLOY_ACME_URL)}
  [[ -z $acme_url || $acme_url = https://* ]] || fail "--acme-url: \"$acme_url\" does not begin with https://"
  [ -z "$acme_ca" ] || grep -qs 'BEGIN CERTIFICATE' "$acme_ca" || fail "--acme-ca: there is no certificate in $acme_ca"
}

# Where the program comes from, and its version.
settle_source() {
  if [ -n "$wheel" ]; then
    [[ -r $wheel && $wheel = *.whl ]] || fail "--wheel: there is no wheel $wheel"
    new_version=$(basename "$wheel" | cut -d- -f2)
  elif [ -e "$checkout/pyproject.toml" ]; then
    new_version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$checkout/godploy/__init__.py")
  else
    fail "there is no checkout around this script to install from" "Run it as: godploy install"
  fi
}

# The service reads these, and so does every command of Godploy on this machine.
remember_settings() {
  local authority
  authority=$(setting GODPLOY_ACME_CA)
  if [ -n "$acme_ca" ]; then
    authority=$app/acme-ca.pem # the service may not look into everybody's home
    install -m 0644 "$acme_ca" "$authority"
  fi
  write_settings "GODPLOY_DATA=$data" "GODPLOY_LISTEN=$listen" "GODPLOY_INSTANCE=$instance" "GODPLOY_POOL=$pool" \
    "GODPLOY_HTTP_PORT=$http_port" "GODPLOY_HTTPS_PORT=$https_port" "GODPLOY_TRAEFIK_API_PORT=$api_port" \
    "GODPLOY_URL=$url" "GODPLOY_APPS_DOMAIN=$apps_domain" "GODPLOY_ACME_EMAIL=$acme_email" \
    "GODPLOY_ACME_URL=$acme_url" "GODPLOY_ACME_CA=$authority"
}

# say_plan   what the rest of the run would do.
say_plan() {
  local package missing=()
  for package in "${packages[@]}"; do installed "$package" || missing+=("$package"); done
  find_python >/dev/null || missing+=("Python 3.11 or newer")
  command -v docker >/dev/null || missing+=("docker.io, if no engine is there")
  step "what would be done:"
  if [ -e "$app/current" ]; then note "upgrade      $(installed_version) to $new_version; traffic goes on"; else note "install      Godploy $new_version"; fi
  note "packages     ${missing[*]:-all there}"
  if engine_listens; then note "engine       the one that is here"; else note "engine       Docker, started and kept running"; fi
  note "user         $service_user$([ "$service_user" = root ] || echo ", of the system, which may use the engine and nothing else")"
  note "files        $app, $data, $link"
  note "service      $(plan_service)"
  note "ports        $http_port and $https_port (Traefik, from everywhere); $listen and 127.0.0.1:$api_port (this machine only)"
  note "address      $url${acme_email:+, with a certificate by ACME for $acme_email}; apps below $apps_domain"
  note "packet rules containers in $pool and on Docker's default network reach this machine on ports $http_port and $https_port only,"
  note "             and no metadata address of a cloud"
  [ -z "$with_demo" ] || note "demo         $demo"
  step "nothing was changed"
}

plan_service() {
  if [ -n "$unit" ]; then
    echo "$unit, $packets_unit"
  elif [ "$(boot_by)" = cron ]; then
    echo "a small parent that starts it again; at boot by $boot_file"
  else
    echo "a small parent that starts it again; nothing on this machine starts it after a reboot"
  fi
}
