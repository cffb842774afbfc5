#!/bin/sh
# A stand-in for the official image where no registry answers: FerretDB speaks MongoDB's protocol, its SQLite back end
# keeps the data, and the variables of the official image make the first user.
set -eu
[ "${1:-mongod}" = mongod ] || exec "$@"
mkdir -p /data/db
set -- --handler=sqlite --sqlite-url=file:/data/db/ --state-dir=/data/db --listen-addr=0.0.0.0:27017 \
  --telemetry=disable --debug-addr=-
if [ -n "${MONGO_INITDB_ROOT_USERNAME:-}" ]; then
  set -- "$@" --test-enable-new-auth --setup-database=admin \
    --setup-username="$MONGO_INITDB_ROOT_USERNAME" --setup-password="$MONGO_INITDB_ROOT_PASSWORD"
fi
exec ferretdb "$@"
