#!/bin/bash
# What rules cost: CPU time of the worker per million rows, by kind of rule.
#
# The same rows go through the same worker with no rules, with one rule of a kind
# and with all of them, in turn, ROUNDS times; the numbers are medians of user and
# system time of the worker's process, and their ratio to that with no rules.
#
# Environment: ROWS (a measurement), ROUNDS, KINDS, BENCH_DIR (default: a folder in
# /tmp), FLO_NO_INSTALL (measure what is installed).  Prints a markdown table.
set -u
. "$(cd "$(dirname "$0")/../.ci" && pwd)/common.sh"

ROWS=${ROWS:-300000}
ROUNDS=${ROUNDS:-7}
KINDS=${KINDS:-none mask regex expression filter where all}

BIN=$(pg_bindir)
if [ -z "${FLO_NO_INSTALL:-}" ]; then
	[ -n "${FLO_NO_SETUP:-}" ] || "$TOP/.ci/setup.sh" run || exit 1
	log=$(build_and_install 2>&1) || { echo "$log" >&2; exit 1; }
fi
if [ -n "${BENCH_DIR:-}" ]; then DIR=$(TMPDIR=$BENCH_DIR server_tmpdir pg_flo_bench); else DIR=$(server_tmpdir pg_flo_bench); fi
[ -n "$DIR" ] || exit 1
chmod 700 "$DIR"
export PGUSER=postgres PGHOST=$DIR PGDATABASE=postgres PGOPTIONS='-c client_min_messages=warning'

free_port()
{
	local port
	for port in $(seq "$1" $(($1 + 400))); do
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
	done
	die "no free port from $1 on"
}
SOURCE=$(free_port 26432)
DEST=$(free_port $((SOURCE + 1)))
NATS=$(free_port 25222)

finish()
{
	local side
	trap - EXIT INT TERM
	for side in source dest; do
		[ -f "$DIR/$side/postmaster.pid" ] && as_server "$BIN/pg_ctl" -D "$DIR/$side" -m immediate -w -s stop
	done
	[ -n "${NATS_PID:-}" ] && kill "$NATS_PID" 2>/dev/null && wait "$NATS_PID" 2>/dev/null
	rm -rf "$DIR"
}
trap 'finish' EXIT
trap 'exit 130' INT TERM

psql() { "$BIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }
source_sql() { psql -p "$SOURCE" -c "$1" || die "failed at the source: $1"; }
dest_sql() { psql -p "$DEST" -c "$1" || die "failed at the destination: $1"; }

start_cluster()
{
	local name=$1 port=$2
	as_server "$BIN/initdb" -D "$DIR/$name" -U postgres -A trust -E UTF8 --no-locale --no-sync >"$DIR/initdb.log" 2>&1 ||
		{ cat "$DIR/initdb.log" >&2; die "initdb failed"; }
	as_server sh -c "cat >>'$DIR/$name/postgresql.conf'" <<-CONF
		port = $port
		listen_addresses = ''
		unix_socket_directories = '$DIR'
		shared_preload_libraries = 'pg_flo'
		wal_level = logical
		max_worker_processes = 16
		shared_buffers = 512MB
		max_wal_size = 16GB
		checkpoint_timeout = 30min
		autovacuum = off
		pg_flo.nats_url = 'nats://127.0.0.1:$NATS'
	CONF
	as_server "$BIN/pg_ctl" -D "$DIR/$name" -l "$DIR/$name.log" -w -s start </dev/null >/dev/null ||
		{ tail -20 "$DIR/$name.log" >&2; die "the $name cluster did not start"; }
}

streaming()
{
	local i
	for i in $(seq 600); do
		[ "$(psql -p "$1" -c "SELECT state FROM flo.status WHERE member = '$2'")" = streaming ] && return 0
		sleep 0.05
	done
	psql -p "$1" -x -c 'SELECT * FROM flo.status' >&2
	die "$2 does not stream"
}

caught_up()
{
	local lsn
	lsn=$(source_sql 'SELECT pg_current_wal_insert_lsn()')
	[ "$(dest_sql "SELECT flo.wait_for('bench', '$lsn', '10 min')")" = t ] ||
		{ psql -p "$DEST" -x -c 'SELECT * FROM flo.status' >&2; die "the worker did not catch up"; }
}

# --- rules ----------------------------------------------------------------------------

rule_of()
{
	case $1 in
		mask) echo "('bench', 'users', 'email', 'mask', '{}')" ;;
		regex) echo "('bench', 'users', 'phone', 'regex', jsonb_build_object('pattern', '^(\d{3})(\d{3})(\d{4})\$', 'replace', '(\$1) \$2-\$3'))" ;;
		expression) echo "('bench', 'users', 'name', 'expression', '{\"expression\": \"upper(name)\"}')" ;;
		filter) echo "('bench', 'users', 'age', 'gte', '{\"value\": 18}')" ;;
		where) echo "('bench', 'users', NULL, 'where', '{\"expression\": \"age >= 18\"}')" ;;
	esac
}

set_rules()
{
	local kind values=
	for kind in mask regex expression filter where; do
		if [ "$1" = "$kind" ] || [ "$1" = all ]; then values="$values${values:+, }$(rule_of $kind)"; fi
	done
	dest_sql "DELETE FROM flo.rules"
	[ -z "$values" ] ||
		dest_sql "INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments) VALUES $values"
}

# nanoseconds on a processor
cpu() { awk '{ print $1 }' "/proc/$1/schedstat"; }

measure()
{
	local before after pid
	source_sql 'TRUNCATE users'
	set_rules "$1"
	caught_up
	sleep 1.2
	pid=$(dest_sql "SELECT pid FROM flo.status WHERE member = 'postgres'")
	# the rules are compiled before
	source_sql "INSERT INTO users SELECT 0, 'a@example.com', '5551234567', 'name', 20"
	caught_up
	before=$(cpu "$pid")
	source_sql "INSERT INTO users SELECT i, 'user' || i || '@example.com', (5550000000 + i)::text, 'name of user ' || i, 18 + i % 60
		FROM generate_series(1, $ROWS) i"
	caught_up
	after=$(cpu "$pid")
	[ "$(dest_sql 'SELECT count(*) FROM users')" = $((ROWS + 1)) ] || die "rows are missing with $1"
	awk "BEGIN { printf \"%.4f\n\", ($after - $before) / 1e9 / $ROWS * 1e6 }" >>"$DIR/$1.cpu"
}

median() { sort -n "$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

as_server mkdir "$DIR/store"
PATH="$PATH:/usr/sbin:/usr/local/sbin" nats-server -a 127.0.0.1 -p "$NATS" -js -sd "$DIR/store" >"$DIR/nats.log" 2>&1 &
NATS_PID=$!
start_cluster source "$SOURCE"
start_cluster dest "$DEST"
for port in $SOURCE $DEST; do
	psql -p "$port" -c 'CREATE EXTENSION pg_flo' -c 'CREATE TABLE users (id bigint PRIMARY KEY, email text, phone text, name text, age int)' || exit 1
done
source_sql "SELECT flo.create_replicator('bench')" >/dev/null
source_sql "SELECT flo.start_group('bench')" >/dev/null
streaming "$SOURCE" replicator
dest_sql "SELECT flo.create_worker('bench')" >/dev/null
dest_sql "SELECT flo.start_group('bench')" >/dev/null
streaming "$DEST" postgres

say "$ROUNDS rounds of $ROWS rows for each of: $KINDS"
measure none
rm "$DIR/none.cpu"
for round in $(seq "$ROUNDS"); do
	for kind in $KINDS; do measure "$kind"; done
	say "round $round: $(for kind in $KINDS; do echo "$kind $(tail -1 "$DIR/$kind.cpu")"; done | paste -sd, | sed 's/,/, /g')"
done

base=$(median "$DIR/none.cpu")
echo
echo "| rules | CPU s per million rows | ratio |"
echo "| --- | --- | --- |"
for kind in $KINDS; do
	m=$(median "$DIR/$kind.cpu")
	awk "BEGIN { printf \"| %s | %.3f | %.2f |\n\", \"$kind\", $m, $m / $base }"
done
