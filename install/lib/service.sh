# shellcheck shell=bash disable=SC2154
# Godploy as a running program, under a user of its own: a unit where systemd runs, else a respawning parent that is
# started at boot by what the machine has for that. The places come from paths.sh.

# write_settings KEY=VALUE…   what the service is started with; lines that somebody added to the file stay. An empty value
# leaves the key out.
write_settings() {
  local line keys=()
  for line in "$@"; do keys+=(-e "^${line%%=*}="); done
  {
    printf '%s\n' "$@" | grep -v '=$' || true
    grep -sv "${keys[@]}" "$app/settings" || true
  } >"$app/settings.new"
  chmod 640 "$app/settings.new"
  chown "root:$service_user" "$app/settings.new"
  mv "$app/settings.new" "$app/settings"
}

# The user may talk to the engine, and has nothing else. Where the installation is tried out below a prefix, it is root.
ensure_user() {
  [ "$service_user" != root ] || return 0
  if ! getent passwd "$service_user" >/dev/null; then
    step "the system user $service_user"
    useradd --system --user-group --home-dir "$data" --no-create-home --shell /usr/sbin/nologin "$service_user"
    record user "$service_user"
  fi
  # The unit asks for the group itself; so does setpriv, which reads it here.
  id -nG "$service_user" | grep -qwF "$(engine_group)" || usermod -aG "$(engine_group)" "$service_user"
}

# give_data   whatever root left in the data directory becomes the service's. -execdir: no folder of a path that was found
# can be exchanged for a link before it is used.
give_data() {
  [ "$service_user" = root ] || PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    find "$data" ! -user "$service_user" -execdir chown -h "$service_user:$service_user" {} +
}

install_service() {
  local script
  install -m 0755 "$here/respawn.sh" "$app/respawn"
  # Start at boot and removal must not depend on the folder that the installer was run from.
  install -d -m 0755 "$app/lib"
  for script in common engine paths service; do install -m 0644 "$here/lib/$script.sh" "$app/lib/"; done
  for script in boot uninstall; do install -m 0755 "$here/$script.sh" "$app/"; done
  write_serve
  if [ -n "$unit" ]; then install_unit; else install_boot; fi
}

# What the respawning parent runs, as root: the packet rules, then Godploy as its user, with no way back.
write_serve() {
  local become=""
  [ "$service_user" = root ] ||
    become="setpriv --reuid $service_user --regid $service_user --init-groups --inh-caps=-all --bounding-set=-all --no-new-privs "
  cat >"$app/serve.new" <<EOF
#!/bin/sh
# Puts the packet rules in place and becomes Godploy.
cd /
umask 022 # of the files that go into images
"$app/current/bin/godploy" packet-rules put --data "$data" || echo "the packet rules are not in place" >&2
export HOME="$data"
exec $become"$app/current/bin/godploy" serve --data "$data"
EOF
  chmod 755 "$app/serve.new"
  mv "$app/serve.new" "$app/serve"
}

install_unit() {
  write_unit >"$unit.new"
  mv "$unit.new" "$unit"
  write_packets_unit >"$packets_unit.new"
  mv "$packets_unit.new" "$packets_unit"
  systemctl daemon-reload
  systemctl enable --quiet "$(basename "$unit")" "$(basename "$packets_unit")"
}

write_packets_unit() {
  cat <<EOF
[Unit]
Description=Godploy's packet rules, anew whenever the engine starts: they know it by its control group
After=docker.service
PartOf=docker.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=$app/current/bin/godploy packet-rules put --data $data

[Install]
WantedBy=docker.service
EOF
}

# Tried as a whole with a push, a build and a restart of the engine. MemoryDenyWriteExecute is left out: Python's
# foreign functions need pages that it forbids.
write_unit() {
  cat <<EOF
[Unit]
Description=Godploy, a GitOps deployer
After=network-online.target docker.service
Wants=network-online.target docker.service

[Service]
User=$service_user
Group=$service_user
SupplementaryGroups=$(engine_group)
# As root; without them Godploy serves all the same, and "godploy doctor" says so.
ExecStartPre=-+$app/current/bin/godploy packet-rules put --data $data
ExecStart=$app/current/bin/godploy serve --data $data
Restart=always
RestartSec=1
# Applications and Traefik are the engine's: stopping Godploy leaves them alone.
KillMode=mixed
TimeoutStopSec=60

# Of the files that go into images; the data directory is closed as a whole.
UMask=0022
CapabilityBoundingSet=
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths=$data
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
EOF
}

# boot_by   what starts programs at boot where systemd does not: cron, or nothing that we know.
boot_by() {
  if [ -z "$prefix" ] && [ -d /etc/cron.d ] && command -v cron >/dev/null; then echo cron; fi
}

install_boot() {
  [ "$(boot_by)" = cron ] || return 0
  cat >"$boot_file" <<EOF
# Starts Godploy at boot, since there is no systemd here.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
@reboot root $app/boot.sh >>$app/log 2>&1
EOF
  chmod 644 "$boot_file"
  record boot "$boot_file"
}

service_pid() {
  local pid
  pid=$(cat "$app/respawn.pid" 2>/dev/null) && grep -qsF "$app/respawn" "/proc/$pid/cmdline" && echo "$pid"
}

start_service() {
  give_data
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
