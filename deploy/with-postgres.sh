#!/bin/sh
# Runs a command with a throw-away PostgreSQL on the loopback interface, appending
# --postgres URL --postgres-password-file FILE to it. The server's settings are its defaults:
# fsync is on, because what is measured includes it.
set -eu
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)
if [ -z "$bin" ]; then
	echo "PostgreSQL is not installed: run make tools" >&2
	exit 1
fi
dir=$(mktemp -d /tmp/pg.XXXXXX)
port=$((20000 + $$ % 20000))
as() { "$@"; }
if [ "$(id -u)" -eq 0 ]; then
	chown postgres "$dir"
	as() { runuser -u postgres -- "$@"; }
fi
stop() {
	as "$bin/pg_ctl" -D "$dir/data" -m immediate stop >/dev/null 2>&1 || true
	rm -rf "$dir"
}
trap stop EXIT INT TERM
as sh -c "umask 077; head -c 18 /dev/urandom | base64 > '$dir/password'"
as "$bin/initdb" -D "$dir/data" -U stele -A scram-sha-256 --pwfile="$dir/password" -E UTF8 --locale=C.UTF-8 >/dev/null
as "$bin/pg_ctl" -D "$dir/data" -w -l "$dir/log" -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$dir" start >/dev/null
PGPASSWORD=$(cat "$dir/password") "$bin/createdb" -h 127.0.0.1 -p "$port" -U stele stele
"$@" --postgres "postgres://stele@127.0.0.1:$port/stele?sslmode=disable" --postgres-password-file "$dir/password"
