# shellcheck shell=bash disable=SC2154
# The last part of an installation: the first owner signs in, the demo goes live, and what comes next is said.

token="" fingerprint="" address=""

# on_console COMMAND…   Godploy's commands that work on the data directory itself.
on_console() { "$app/current/bin/godploy" "$@" --data "$data"; }

# read_json EXPRESSION   evaluates it with `it` as the JSON on standard input.
read_json() { "$python" -c "import json, sys; it = json.load(sys.stdin); print($1)"; }

certificate_fingerprint() {
  "$python" - "$https_port" <<'EOF'
import hashlib, ssl, sys, time
for attempt in range(50):
    try:
        pem = ssl.get_server_certificate(("127.0.0.1", int(sys.argv[1])), timeout=5)
        break
    except OSError:
        time.sleep(0.2)
else:
    sys.exit(1)
print(hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest())
EOF
}

sign_in() {
  local owner place
  fingerprint=$(certificate_fingerprint) || fail "Traefik does not answer on port $https_port" "Its log: docker logs godploy-traefik-$instance"
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
  as_person "$link" login "$url" --token-stdin --fingerprint "$fingerprint" <<<"$token"
  record signed-in "$url"
  # The link outlives the directory of this version, which an upgrade takes away.
  as_person git config --global --replace-all "credential.$url.helper" "!$link git-credential" '^!'
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
  local tunnel=8443 undo="$here/uninstall.sh${prefix:+ --prefix $prefix}"
  step "done"
  [ -z "$address" ] || printf '\n  The demo is live:   %s\n  Change it:          cd %s, edit www/index.html, git commit -am "Mine" && git push godploy main\n' "$address" "$demo"
  printf '\n  Godploy:            %s, on this machine\n' "$url"
  printf '  From your own:      ssh -L %s:localhost:%s THIS-MACHINE, then https://localhost:%s\n' $tunnel "$https_port" $tunnel
  printf '  Sign in:            godploy login %s --fingerprint %s\n' "$url" "$fingerprint"
  if [ -n "$token" ]; then printf '  Your API token:     %s   (shown once; %s is signed in with it)\n' "$token" "$person"; fi
  printf '  Remove everything:  %s\n' "$undo"
  if [ -n "${GIT_SSL_CAINFO:-}" ]; then
    printf '\n  GIT_SSL_CAINFO is set here and overrides the certificate pinned for Godploy: unset it before git push godploy.\n'
  fi
}
