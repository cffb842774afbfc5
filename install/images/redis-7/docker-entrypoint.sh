#!/bin/sh
# As the official image: options alone mean the server, which then leaves root and answers on every address.
set -e
case ${1-} in -* | *.conf) set -- redis-server "$@" ;; esac
[ "$1" = redis-server ] || exec "$@"
shift
case ${1-} in *.conf) file=$1 && shift ;; esac
set -- redis-server ${file:+"$file"} --dir /data --bind '*' '-::*' --protected-mode no "$@"
if [ "$(id -u)" = 0 ]; then
  find . \! -user redis -exec chown redis '{}' +
  exec setpriv --reuid=redis --regid=redis --clear-groups "$@"
fi
exec "$@"
