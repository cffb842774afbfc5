# shellcheck shell=bash disable=SC2154
# Godploy as a running program: a unit where systemd runs, else a respawning parent. The places come from paths.sh.

# write_settings KEY=VALUE…   what the service is started with; lines that somebody added to the file stay.
write_settings() {
  local line keys=()
  for line in "$@"; do keys+=(-e "^${line%%=*}="); done
  {
    printf '%s\n' "$@"
    grep -sv "${keys[@]}" "$app/settings" || true
  } >"$app/settings.new"
  chmod 600 "$app/settings.new"
  mv "$app/settings.new" "$app/settings"
}

install_service() {
  install -m 0755 "$here/respawn.sh" "$app/respawn"
  cat >"$app/serve.new" <<EOF
#!/bin/sh
# Starts Godploy with the settings beside this file.
set -ae
. "$app/settings"
set +a
cd /
exec "$app/current/bin/godploy" serve --data "\$GODPLOY_DATA" --listen "\$GODPLOY_LISTEN"
EOF
  chmod 755 "$app/serve.new"
  mv "$app/serve.new" "$app/serve"
  [ -n "$unit" ] || return 0
  cat >"$unit" <<EOF
[Unit]
Description=Godploy, a GitOps deployer
After=network-online.target docker.service
Wants=network-online.target docker.service

[Service]
ExecStart=$app/serve
Restart=always
RestartSec=1
# Applications and Traefik are the engine's: stopping Godploy leaves them alone.
KillMode=mixed
TimeoutStopSec=60

[Install]
WantedBy=multi-user.target
EOF
  systemctl daemon-reload
  systemctl enable --quiet "$(basename "$unit")"
}

service_pid() {
  local pid
  pid=$(cat "$app/respawn.pid" 2>/dev/null) && grep -qsF "$app/respawn" "/proc/$pid/cmdline" && echo "$pid"
}

start_service() {
  if [ -n "$unit" ]; then
    systemctl restart "$(basename "$unit")"
  else
    # A clean environment, as a unit would have: what the caller happens to export is nothing to the service.
    setsid env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
      "$app/respawn" "$app/respawn.pid" "$app/log" "$app/serve" </dev/null >/dev/null 2>&1 &
  fi
}

stop_service() {
  local pid
  if [ -n "$unit" ]; then
    [ ! -e "$unit" ] || systemctl stop "$(basename "$unit")"
    return
  fi
  pid=$(service_pid) || return 0
  end_process "$pid" "$app/log"
}

service_log() {
  if [ -n "$unit" ]; then journalctl --no-pager -u "$(basename "$unit")" -n 20; else tail -n 20 "$app/log" 2>/dev/null; fi
}

# wait_ready LISTEN   until Godploy says that it can deploy; false after a minute.
wait_ready() {
  local deadline=$(($(date +%s) + 60))
  until curl -fsS --noproxy '*' --max-time 5 "http://$1/readyz" >/dev/null 2>&1; do
    [ "$(date +%s)" -lt $deadline ] || return 1
    sleep 0.2
  done
}
