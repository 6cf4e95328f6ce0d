#!/bin/bash
# make quickstart, make quickstart-stop: two throw-away clusters, a nats-server
# and a running group under ./quickstart/, from nothing.
#
# Run by root (or through sudo) the servers run as another user; when that user
# cannot reach the checkout, ./quickstart is a link to a folder in /tmp.  A
# second "make quickstart" removes the first one's servers and begins again.
# Nothing listens on a port but nats-server, on the loopback interface.
set -u
. "$(dirname "$0")/common.sh"

LINK="$TOP/quickstart"
SOURCE_PORT=5433		# names the socket; the clusters have no TCP port
DEST_PORT=5434
DB=bench

# --- stop ------------------------------------------------------------------------------

# End a process, unless its id now belongs to something else
stop_pid()
{
	local pid=$1 command=$2 i

	[ -n "$pid" ] && [ -r "/proc/$pid/cmdline" ] || return 0
	tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qF -- "$command" || return 0
	# the shell's own kill: a minimal system has no other
	as_server sh -c "kill $pid" 2>/dev/null
	for i in $(seq 100); do
		[ -d "/proc/$pid" ] || return 0
		sleep 0.1
	done
	as_server sh -c "kill -9 $pid" 2>/dev/null
}

stop_all()
{
	local dir side

	dir=$(readlink -f "$LINK" 2>/dev/null) && [ -d "$dir" ] || { rm -f "$LINK"; return 0; }
	# never remove a folder that somebody else called quickstart
	[ -f "$dir/.pg_flo_quickstart" ] || die "$LINK was not made by make quickstart: move it away first"
	for side in source dest; do
		[ -f "$dir/$side/postmaster.pid" ] &&
			as_server "$(cat "$dir/.pg_flo_quickstart")/pg_ctl" -D "$dir/$side" -m fast -w -t 60 stop >/dev/null 2>&1
	done
	[ -f "$dir/nats.pid" ] && stop_pid "$(cat "$dir/nats.pid")" "$dir/nats.conf"
	rm -rf "$dir" "$LINK"
}

# --- start ------------------------------------------------------------------------------

make_dir()
{
	local user
	user=$(server_user)
	DIR=$LINK
	# a path too long for a socket, or one the server user cannot reach
	if [ ${#LINK} -gt 80 ] || ! as_server test -x "$TOP"; then
		DIR=$(mktemp -d "${TMPDIR:-/tmp}/pg_flo_quickstart.XXXXXX") || exit 1
		ln -s "$DIR" "$LINK"
	else
		mkdir "$DIR" || exit 1
	fi
	echo "$BIN" >"$DIR/.pg_flo_quickstart"
	# whoever reaches the sockets is superuser there
	chmod 700 "$DIR"
	if [ "$(id -u)" = 0 ]; then chown -R "$user" "$DIR"; fi
}

free_port()
{
	local port
	for port in $(seq "$1" $(($1 + 200))); do
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
	done
	die "no free port from $1 on"
}

in_dir() { as_server sh -c "$1"; }

start_nats()
{
	local port
	port=$(free_port 14222)
	NATS_URL="nats://127.0.0.1:$port"
	in_dir "cat >'$DIR/nats.conf'" <<-CONF
		listen: "127.0.0.1:$port"
		pid_file: "$DIR/nats.pid"
		log_file: "$DIR/nats.log"
		jetstream { store_dir: "$DIR/jetstream", max_file_store: 10GB }
	CONF
	in_dir "PATH=\"\$PATH:/usr/sbin:/usr/local/sbin\" nohup setsid nats-server -c '$DIR/nats.conf' >'$DIR/nats.out' 2>&1 </dev/null &"
	for _ in $(seq 100); do
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return 0
		sleep 0.1
	done
	cat "$DIR/nats.out" "$DIR/nats.log" >&2
	die "nats-server did not start"
}

start_cluster()
{
	local name=$1 port=$2
	as_server "$BIN/initdb" -D "$DIR/$name" -U postgres -A trust -E UTF8 --locale=C.UTF-8 >"$DIR/$name.initdb.log" 2>&1 ||
		as_server "$BIN/initdb" -D "$DIR/$name" -U postgres -A trust >"$DIR/$name.initdb.log" 2>&1 ||
		{ cat "$DIR/$name.initdb.log" >&2; die "initdb failed"; }
	in_dir "cat >>'$DIR/$name/postgresql.conf'" <<-CONF

		port = $port
		listen_addresses = ''
		unix_socket_directories = '$DIR'
		shared_preload_libraries = 'pg_flo'
		wal_level = logical
		max_worker_processes = 16
		pg_flo.nats_url = '$NATS_URL'
	CONF
	as_server "$BIN/pg_ctl" -D "$DIR/$name" -l "$DIR/$name.log" -w -s start >/dev/null </dev/null ||
		{ tail -20 "$DIR/$name.log" >&2; die "the $name cluster did not start"; }
}

sql() { "$BIN/psql" -X -q -v ON_ERROR_STOP=1 -h "$DIR" -U postgres -p "$1" -d "${3:-$DB}" -c "$2"; }
ask() { "$BIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$DIR" -U postgres -p "$1" -d "$DB" -c "$2"; }
show() { sql "$1" "$2" | sed 's/^/    /'; }
bench() { PGOPTIONS='-c client_min_messages=warning' "$BIN/pgbench" -h "$DIR" -U postgres -p "$SOURCE_PORT" "$@" "$DB"; }

wait_streaming()
{
	for _ in $(seq 300); do
		[ "$(ask "$1" "SELECT count(*) FROM flo.status WHERE member = '$2' AND state = 'streaming'" 2>/dev/null)" = 1 ] && return 0
		sleep 0.2
	done
	sql "$1" "SELECT member, state, detail, last_error FROM flo.status" >&2
	die "$2 did not begin to stream: see $DIR"
}

# Both sides' rows as one number, doubles counted
fingerprint()
{
	ask "$1" "SELECT count(*) || ' rows, checksum ' || coalesce(sum(hashtextextended(t::text, 0)), 0) FROM $2 t"
}

# However it ends before its end
leftovers() { [ -n "${FINISHED:-}" ] || echo "# what runs by now goes on running: make quickstart-stop removes it" >&2; }

start_all()
{
	local log lsn table load

	"$(dirname "$0")/setup.sh" run || exit 1
	BIN=$(pg_bindir)
	stop_all
	say "building and installing pg_flo for $("$PG_CONFIG" --version)"
	log=$(build_and_install 2>&1) || { echo "$log" >&2; exit 1; }
	make_dir
	trap leftovers EXIT
	trap 'exit 130' INT TERM

	say "starting nats-server and two clusters in $DIR as user $(server_user)"
	start_nats
	start_cluster source $SOURCE_PORT
	start_cluster dest $DEST_PORT
	for port in $SOURCE_PORT $DEST_PORT; do
		sql $port "CREATE DATABASE $DB" postgres || exit 1
		sql $port "CREATE EXTENSION pg_flo" || exit 1
	done

	say "source: a pgbench database with 500 000 accounts; the destination is empty"
	"$BIN/pgbench" -i -I dtp -q -h "$DIR" -U postgres -p $SOURCE_PORT $DB 2>&1 | grep -i error
	# its history needs a key of its own to be followed
	sql $SOURCE_PORT "ALTER TABLE pgbench_history ADD id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY" || exit 1
	bench -i -I g -q -s 5 >"$DIR/pgbench.log" 2>&1 || { cat "$DIR/pgbench.log" >&2; die "pgbench -i failed"; }
	say "pgbench on the source for 10 seconds, in the background"
	bench -n -c 4 -T 10 -M prepared >>"$DIR/pgbench.log" 2>&1 &
	load=$!

	say "source:      SELECT flo.create_replicator('demo', mode => 'copy_and_stream', sync_schema => true); SELECT flo.start_group('demo');"
	sql $SOURCE_PORT "DO \$\$ BEGIN PERFORM flo.create_replicator('demo', mode => 'copy_and_stream', sync_schema => true); PERFORM flo.start_group('demo'); END \$\$" || exit 1
	say "destination: SELECT flo.create_worker('demo'); SELECT flo.start_group('demo');"
	sql $DEST_PORT "DO \$\$ BEGIN PERFORM flo.create_worker('demo'); PERFORM flo.start_group('demo'); END \$\$" || exit 1
	wait_streaming $DEST_PORT postgres
	wait_streaming $SOURCE_PORT replicator
	say "tables, indexes and rows are copied; the destination follows"
	wait $load || { cat "$DIR/pgbench.log" >&2; die "pgbench failed"; }
	grep -E '^(number of transactions actually processed|tps)' "$DIR/pgbench.log" | tail -2 | sed 's/^/    /'

	lsn=$(ask $SOURCE_PORT 'SELECT pg_current_wal_lsn()')
	say "destination: SELECT flo.wait_for('demo', '$lsn', '2 min');"
	[ "$(ask $DEST_PORT "SELECT flo.wait_for('demo', '$lsn', '2 min')")" = t ] ||
		{ show $DEST_PORT 'SELECT * FROM flo.status'; die "the destination did not catch up"; }

	local columns='group_name, member, state, durable_lsn, lag_bytes, lag, transactions, inserts, updates, bytes'
	say "flo.status of the source"
	show $SOURCE_PORT "SELECT $columns FROM flo.status"
	say "flo.status of the destination"
	show $DEST_PORT "SELECT $columns FROM flo.status"

	say "the same rows on both sides"
	for table in pgbench_accounts pgbench_branches pgbench_tellers pgbench_history; do
		local a b
		a=$(fingerprint $SOURCE_PORT $table)
		b=$(fingerprint $DEST_PORT $table)
		[ -n "$a" ] && [ "$a" = "$b" ] || die "$table differs: source has $a, destination has $b"
		printf '    %-17s %s\n' $table "$a"
	done

	FINISHED=yes
	local sudo=
	[ "$(id -u)" = 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$(server_user)" != "$SUDO_USER" ] && sudo='sudo '
	cat <<-END

		It goes on running. Look around:

		    ${sudo}$BIN/psql -h $DIR -p $SOURCE_PORT -U postgres $DB    # source
		    ${sudo}$BIN/psql -h $DIR -p $DEST_PORT -U postgres $DB    # destination

		    destination=> INSERT INTO flo.rules (group_name, table_name, column_name, action) VALUES ('demo', 'pgbench_branches', 'filler', 'mask');
		    source=>      UPDATE pgbench_branches SET filler = 'hello';
		    destination=> SELECT * FROM pgbench_branches;
		    either=>      SELECT * FROM flo.status;
		    either=>      SELECT * FROM flo.check('demo');
		    source=>      SELECT * FROM flo.stream_status('demo');

		make quickstart-stop removes it.
	END
}

case "${1:-}" in
	start) start_all ;;
	stop) stop_all && say "the quickstart is gone" ;;
	*) die "usage: quickstart.sh start|stop" ;;
esac
