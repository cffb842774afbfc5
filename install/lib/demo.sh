# shellcheck shell=bash disable=SC2154
# The last part of an installation: the first owner signs in, the demo goes live, and what comes next is said.

token="" fingerprint="" address="" certified=""

# on_console COMMAND…   Godploy's commands that work on the data directory itself.
on_console() { "$app/current/bin/godploy" "$@" --data "$data"; }

# read_json EXPRESSION   evaluates it with `it` as the JSON on standard input.
read_json() { "$python" -I -c "import json, sys; it = json.load(sys.stdin); print($1)"; }

# certificate_fingerprint HOST   of what Traefik shows to those who ask for that host.
certificate_fingerprint() {
  "$python" -I - "$https_port" "$1" <<'EOF'
import hashlib, socket, ssl, sys, time
port, host = int(sys.argv[1]), sys.argv[2]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
for attempt in range(50):
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain, server_hostname=host) as tls:
            print(hashlib.sha256(tls.getpeercert(binary_form=True)).hexdigest())
        break
    except OSError:
        time.sleep(0.2)
else:
    sys.exit(1)
EOF
}

# await_certificate   an authority answers within seconds once DNS leads here; whatever it is, nothing else waits for it.
await_certificate() {
  local deadline
  [ -n "$acme_email" ] || return 0
  step "a certificate for $domain"
  deadline=$(($(date +%s) + 60))
  until [ "$(certificate_fingerprint "$domain")" != "$fingerprint" ]; do
    if [ "$(date +%s)" -ge $deadline ]; then
      note "there is none yet; Godploy goes on asking for it, and says how it stands: godploy doctor --data $data"
      return
    fi
    sleep 1
  done
  certified=yes
}

# On this machine by its own name and its own certificate: both are there whatever DNS and the authority say.
sign_in() {
  local owner place
  fingerprint=$(certificate_fingerprint localhost) || fail "Traefik does not answer on port $https_port" "Its log: docker logs godploy-traefik-$instance"
  if as_person "$link" projects --json >/dev/null 2>&1; then
    step "$person is signed in already"
    return
  fi
  owner=$(recorded owner)
  if [ -z "$owner" ]; then
    owner=$email
    step "the first owner, $owner"
    on_console user create-owner --email "$owner" --json >/dev/null
    record owner "$owner"
  fi
  token=$(on_console user token --email "$owner" --name "installer $(date +%F)" --json | read_json 'it["token"]')
  for place in "$home/.gitconfig" "$home/.config"; do [ -e "$place" ] || record if-empty "$place"; done
  as_person "$link" login "$local_url" --token-stdin --fingerprint "$fingerprint" <<<"$token"
  record signed-in "$local_url"
  # The link outlives the directory of this version, which an upgrade takes away.
  as_person git config --global --replace-all "credential.$local_url.helper" "!$link git-credential" '^!'
}

make_demo() {
  [ ! -e "$demo/.git" ] || return 0
  step "a small repository: $demo"
  as_person mkdir -p "$demo"
  record demo "$demo"
  tar -C "$here/demo" -c . | as_person tar -C "$demo" -x --no-same-owner
  as_person git -C "$demo" init -q -b main
  as_person git -C "$demo" add .
  # Who has told git their name is the author; on a fresh machine nobody has.
  as_person git -C "$demo" config user.email >/dev/null || as_person git -C "$demo" config user.email "$email"
  as_person git -C "$demo" config user.name >/dev/null || as_person git -C "$demo" config user.name "Demo"
  as_person git -C "$demo" commit -q -m "A page"
}

run_demo() {
  local host port
  ensure_images busybox:stable
  make_demo
  as_person env -C "$demo" "$link" link demo
  step "git push godploy main"
  as_person git -C "$demo" push godploy main
  address=$(as_person env -C "$demo" "$link" ps --json | read_json 'next((url for s in it["services"] for url in s["routes"]), "")')
  [ -n "$address" ] || fail "the demo has no address" "See what became of it: cd $demo && godploy deployments"
  step "fetching $address through Traefik"
  host=${address#*://} host=${host%%/*}
  port=${host#*:}
  [ "$port" != "$host" ] || port=80
  curl -fsS --noproxy '*' --max-time 10 --resolve "${host%%:*}:$port:127.0.0.1" "$address" | grep -o '<h1>.*</h1>' ||
    fail "$address does not show the demo's page" "See what became of it: cd $demo && godploy deployments"
}

farewell() {
  step "done"
  [ -z "$address" ] || printf '\n  The demo is live:   %s\n  Change it:          cd %s, edit www/index.html, git commit -am "Mine" && git push godploy main\n' "$address" "$demo"
  printf '\n  Godploy:            %s\n' "$url$([ -n "$domain" ] || echo ", on this machine")"
  say_laptop
  if [ -n "$token" ]; then printf '  Your API token:     %s   (shown once; %s is signed in with it)\n' "$token" "$person"; fi
  printf '  How it is:          godploy doctor --data %s\n' "$data"
  printf '  Remove everything:  %s/uninstall.sh\n' "$app"
  say_boot
  if [ -n "${GIT_SSL_CAINFO:-}" ]; then
    printf '\n  GIT_SSL_CAINFO is set here and overrides the certificate pinned for Godploy: unset it before git push godploy.\n'
  fi
}

# What to type on one's own machine. What no authority vouches for is named by its fingerprint; pip knows no fingerprints,
# so it gets the wheel through the tunnel.
say_laptop() {
  local there=$url wheels=$url pin=" --fingerprint $fingerprint"
  if [ -z "$domain" ]; then
    there=https://localhost:8443 wheels=http://localhost:8400
    printf '  From your own:      ssh -L 8443:localhost:%s -L 8400:%s THIS-MACHINE, and in another terminal:\n' "$https_port" "$listen"
  elif [ -n "$certified" ]; then
    pin=""
    printf '  From your own:\n'
  else
    printf '  From your own:      (once %s has its certificate, which ends the need for --fingerprint)\n' "$domain"
  fi
  printf '                        pipx install %s/wheels/%s\n' "$wheels" "$(basename "$app"/current/godploy-*.whl)"
  printf '                        godploy login %s%s\n' "$there" "$pin"
}

# Without a service manager not every machine has something that starts programs at boot.
say_boot() {
  [ -z "$unit" ] && [ -z "$prefix" ] && [ -z "$(boot_by)" ] || return 0
  printf '\n  Nothing on this machine starts Godploy after a reboot: have %s/boot.sh run then, as root,\n' "$app"
  printf '  or install cron (apt-get install cron) and run this again.\n'
}
