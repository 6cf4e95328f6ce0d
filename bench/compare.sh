#!/bin/bash
# make bench: pg_flo beside PostgreSQL's own logical replication, in one run, on
# one machine, between the same two clusters with the same settings.
#
#	bulk		one transaction that inserts ROWS rows: until the last row can be
#				seen at the destination, from the beginning and from the commit
#	small		TXNS one-row transactions by pgbench, 8 clients: until all are there
#	backlog		the same TXNS written while replication was stopped: from its
#				start until all are there
#	latency		RATE one-row transactions a second: from clock_timestamp() in the
#				INSERT until a reader at the destination sees the row (it looks
#				every millisecond), so both commits are in it
#	memory		highest private memory (smaps, without shared mappings) of the
#				sending and the applying process in a transaction of BIG_ROWS rows
#
# Environment: ROWS, TXNS, RATE, LATENCY_SECONDS, BIG_ROWS, SYSTEMS ("native pg_flo"),
# BENCH_DIR (default: a folder in /tmp).  Prints a markdown table at the end.
set -u
. "$(cd "$(dirname "$0")/../.ci" && pwd)/common.sh"

ROWS=${ROWS:-1000000}
TXNS=${TXNS:-100000}
RATE=${RATE:-200}
LATENCY_SECONDS=${LATENCY_SECONDS:-20}
BIG_ROWS=${BIG_ROWS:-2000000}
SYSTEMS=${SYSTEMS:-native pg_flo}
CLIENTS=8

[ -n "${FLO_NO_SETUP:-}" ] || "$TOP/.ci/setup.sh" run || exit 1
BIN=$(pg_bindir)
log=$(build_and_install 2>&1) || { echo "$log" >&2; exit 1; }
if [ -n "${BENCH_DIR:-}" ]; then DIR=$(TMPDIR=$BENCH_DIR server_tmpdir pg_flo_bench); else DIR=$(server_tmpdir pg_flo_bench); fi
[ -n "$DIR" ] || exit 1
chmod 700 "$DIR"

# Sockets below $DIR are for us; the subscription comes by TCP, as NATS does
PGPASSWORD=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
export PGPASSWORD PGUSER=postgres PGHOST=$DIR PGDATABASE=postgres PGOPTIONS='-c client_min_messages=warning'

free_port()
{
	local port
	for port in $(seq "$1" $(($1 + 400))); do
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
	done
	die "no free port from $1 on"
}
SOURCE=$(free_port 25432)
DEST=$(free_port $((SOURCE + 1)))
NATS=$(free_port 24222)

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
now() { date +%s.%N; }
calc() { awk "BEGIN { printf \"$1\", $2 }"; }

# Wait, looking every 5 ms, until a condition holds at the destination
dest_wait()
{
	psql -p "$DEST" <<-SQL || die "the destination never saw: $1"
		SET statement_timeout = '15 min';
		DO \$\$ BEGIN
			LOOP
				EXIT WHEN ($1);
				COMMIT;
				PERFORM pg_sleep(0.005);
			END LOOP;
		END \$\$;
	SQL
}

start_cluster()
{
	local name=$1 port=$2
	echo "$PGPASSWORD" | as_server sh -c "cat >'$DIR/pw'"
	as_server "$BIN/initdb" -D "$DIR/$name" -U postgres -A scram-sha-256 --pwfile="$DIR/pw" --no-sync >"$DIR/initdb.log" 2>&1 ||
		{ cat "$DIR/initdb.log" >&2; die "initdb failed"; }
	as_server sh -c "cat >>'$DIR/$name/postgresql.conf'" <<-CONF
		port = $port
		listen_addresses = '127.0.0.1'
		unix_socket_directories = '$DIR'
		shared_preload_libraries = 'pg_flo'
		wal_level = logical
		max_worker_processes = 16
		shared_buffers = 1GB
		max_wal_size = 16GB
		checkpoint_timeout = 30min
		logical_decoding_work_mem = 64MB
		wal_retrieve_retry_interval = 100ms
		pg_flo.nats_url = 'nats://127.0.0.1:$NATS'
	CONF
	as_server "$BIN/pg_ctl" -D "$DIR/$name" -l "$DIR/$name.log" -w -s start </dev/null >/dev/null ||
		{ tail -20 "$DIR/$name.log" >&2; die "the $name cluster did not start"; }
}

# --- the two systems ----------------------------------------------------------------------

flo_streaming()
{
	local i
	for i in $(seq 600); do
		[ "$(psql -p "$1" -c "SELECT state FROM flo.status WHERE member = '$2'")" = streaming ] && return 0
		sleep 0.05
	done
	psql -p "$1" -x -c 'SELECT * FROM flo.status' >&2
	die "$2 does not stream"
}

native_conninfo() { echo "host=127.0.0.1 port=$SOURCE user=postgres password=$PGPASSWORD dbname=postgres"; }
native_setup()
{
	source_sql 'CREATE PUBLICATION bench FOR TABLE bulk, small, backlog, latency, big, ready'
	dest_sql "CREATE SUBSCRIPTION bench CONNECTION '$(native_conninfo)' PUBLICATION bench WITH (copy_data = false)"
}
native_stop() { dest_sql 'ALTER SUBSCRIPTION bench DISABLE'; dest_wait "NOT EXISTS (SELECT FROM pg_stat_subscription WHERE pid IS NOT NULL)"; }
native_start() { dest_sql 'ALTER SUBSCRIPTION bench ENABLE'; }
native_sender() { source_sql "SELECT pid FROM pg_stat_replication LIMIT 1"; }
native_applier() { dest_sql "SELECT pid FROM pg_stat_subscription WHERE pid IS NOT NULL LIMIT 1"; }
native_teardown() { dest_sql 'DROP SUBSCRIPTION bench'; source_sql 'DROP PUBLICATION bench'; }

pg_flo_setup()
{
	source_sql "CREATE EXTENSION pg_flo"
	dest_sql "CREATE EXTENSION pg_flo"
	source_sql "SELECT flo.create_replicator('bench', tables => '{bulk,small,backlog,latency,big,ready}')" >/dev/null
	source_sql "SELECT flo.start_group('bench')" >/dev/null
	flo_streaming "$SOURCE" replicator
	dest_sql "SELECT flo.create_worker('bench')" >/dev/null
	pg_flo_start_worker
}
pg_flo_start_worker() { dest_sql "SELECT flo.start_group('bench')" >/dev/null; flo_streaming "$DEST" postgres; }
pg_flo_stop()
{
	source_sql "SELECT flo.stop_group('bench')" >/dev/null
	dest_sql "SELECT flo.stop_group('bench')" >/dev/null
	dest_wait "NOT EXISTS (SELECT FROM flo.status WHERE pid IS NOT NULL)"
}
pg_flo_start() { source_sql "SELECT flo.start_group('bench')" >/dev/null; dest_sql "SELECT flo.start_group('bench')" >/dev/null; }
pg_flo_sender() { source_sql "SELECT pid FROM flo.status WHERE member = 'replicator'"; }
pg_flo_applier() { dest_sql "SELECT pid FROM flo.status WHERE member = 'postgres'"; }
pg_flo_teardown()
{
	dest_sql "SELECT flo.drop_group('bench')" >/dev/null
	source_sql "SELECT flo.drop_group('bench', purge_stream => true)" >/dev/null
}

# --- the measurements -----------------------------------------------------------------------

declare -A result

# A row that has just arrived says that everything before it has, too
ready_id=0
be_ready()
{
	ready_id=$((ready_id + 1))
	source_sql "INSERT INTO ready VALUES ($ready_id)"
	dest_wait "EXISTS (SELECT FROM ready WHERE id = $ready_id)"
}

fill() { echo "INSERT INTO $1 SELECT i, i % 1000, md5(i::text) || 'abcdefgh', now() FROM generate_series(1, $2) i"; }

bulk()
{
	local t0 t1 t2
	be_ready
	t0=$(now)
	source_sql "$(fill bulk "$ROWS")"
	t1=$(now)
	dest_wait "EXISTS (SELECT FROM bulk WHERE id = $ROWS)"
	t2=$(now)
	[ "$(dest_sql 'SELECT count(*) FROM bulk')" = "$ROWS" ] || die "$1 lost rows of the bulk insert"
	result[$1,bulk]=$(calc '%.0f' "$ROWS / ($t2 - $t0)")
	result[$1,bulk_after]=$(calc '%.0f' "$ROWS / ($t2 - $t1)")
	say "$1: bulk: insert $(calc %.2f "$t1 - $t0") s, there $(calc %.2f "$t2 - $t1") s after the commit"
}

# TXNS one-row transactions; ids from a sequence
pgbench_rows()
{
	echo "INSERT INTO $1 VALUES (nextval('ids'), 1, md5(:client_id::text) || 'abcdefgh', now());" >"$DIR/$1.pgbench"
	"$BIN/pgbench" -n -M prepared -c $CLIENTS -j 1 -t $((TXNS / CLIENTS)) -f "$DIR/$1.pgbench" -p "$SOURCE" postgres >"$DIR/pgbench.log" 2>&1 ||
		{ cat "$DIR/pgbench.log" >&2; die "pgbench failed"; }
}

small()
{
	local t0 t1 t2 n=$((TXNS / CLIENTS * CLIENTS))
	be_ready
	t0=$(now)
	pgbench_rows small
	t1=$(now)
	dest_wait "(SELECT count(*) FROM small) >= $n"
	t2=$(now)
	result[$1,small]=$(calc '%.0f' "$n / ($t2 - $t0)")
	say "$1: small: pgbench $(calc %.2f "$t1 - $t0") s ($(calc %.0f "$n / ($t1 - $t0)") tx/s), there $(calc %.2f "$t2 - $t1") s later"
}

backlog()
{
	local t0 t2 n=$((TXNS / CLIENTS * CLIENTS))
	be_ready
	"$1_stop"
	pgbench_rows backlog
	t0=$(now)
	"$1_start"
	dest_wait "(SELECT count(*) FROM backlog) >= $n"
	t2=$(now)
	result[$1,backlog]=$(calc '%.0f' "$n / ($t2 - $t0)")
	say "$1: backlog of $n transactions: $(calc %.2f "$t2 - $t0") s from the start"
}

latency()
{
	local n=$((RATE * LATENCY_SECONDS)) looker
	be_ready
	dest_sql 'DROP TABLE IF EXISTS seen; CREATE UNLOGGED TABLE seen (id bigint, at timestamptz)'
	# One client, so that ids come in the order of commits: whoever sees an id
	# sees all below it.
	psql -p "$DEST" >/dev/null <<-SQL &
		SET synchronous_commit = off;
		DO \$\$
		DECLARE last bigint := 0; cur bigint;
		BEGIN
			LOOP
				SELECT max(id) INTO cur FROM latency;
				IF cur > last THEN
					INSERT INTO seen VALUES (cur, clock_timestamp());
					last := cur;
				END IF;
				COMMIT;
				EXIT WHEN last >= $n;
				PERFORM pg_sleep(0.001);
			END LOOP;
		END \$\$;
	SQL
	looker=$!
	echo "INSERT INTO latency VALUES (nextval('latency_ids'), 1, 'x', clock_timestamp());" >"$DIR/latency.pgbench"
	"$BIN/pgbench" -n -M prepared -c 1 -R "$RATE" -t "$n" -f "$DIR/latency.pgbench" -p "$SOURCE" postgres >"$DIR/pgbench.log" 2>&1 ||
		{ cat "$DIR/pgbench.log" >&2; die "pgbench failed"; }
	wait $looker
	read -r p50 p99 max <<<"$(psql -p "$DEST" -F ' ' -c "
		SELECT round((1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY l))::numeric, 2),
			   round((1000 * percentile_cont(0.99) WITHIN GROUP (ORDER BY l))::numeric, 2),
			   round((1000 * max(l))::numeric, 2)
		FROM (SELECT extract(epoch FROM (SELECT min(at) FROM seen s WHERE s.id >= t.id) - t.c) AS l
			  FROM latency t WHERE t.id > $n / 20) x")"
	result[$1,p50]=$p50
	result[$1,p99]=$p99
	say "$1: latency at $RATE tx/s: p50 $p50 ms, p99 $p99 ms, max $max ms"
}

# Private pages but for those of shared buffers, which the kernel calls private
# as long as no other process has touched them
private_kb()
{
	awk '/^[0-9a-f]+-[0-9a-f]+ / { shared = ($2 ~ /s$/) }
		 /^Private_(Clean|Dirty)/ { if (!shared) n += $2 }
		 END { print n + 0 }' "/proc/$1/smaps" 2>/dev/null || echo 0
}

memory()
{
	local sender applier top_s=0 top_a=0 writer s a
	be_ready
	sender=$("$1_sender")
	applier=$("$1_applier")
	result[$1,idle_s]=$(private_kb "$sender")
	result[$1,idle_a]=$(private_kb "$applier")
	source_sql "$(fill big "$BIG_ROWS")" &
	writer=$!
	while :; do
		s=$(private_kb "$sender"); [ "$s" -gt "$top_s" ] && top_s=$s
		a=$(private_kb "$applier"); [ "$a" -gt "$top_a" ] && top_a=$a
		[ "$(dest_sql "SELECT EXISTS (SELECT FROM big WHERE id = $BIG_ROWS)")" = t ] && break
		sleep 0.1
	done
	wait $writer
	[ "$sender" = "$("$1_sender")" ] && [ "$applier" = "$("$1_applier")" ] || say "$1: a process was restarted meanwhile"
	result[$1,mem_s]=$(calc '%.1f' "$top_s / 1024")
	result[$1,mem_a]=$(calc '%.1f' "$top_a / 1024")
	say "$1: private memory in a transaction of $BIG_ROWS rows: sender ${result[$1,mem_s]} MB (idle $(calc %.1f "${result[$1,idle_s]} / 1024")), applier ${result[$1,mem_a]} MB (idle $(calc %.1f "${result[$1,idle_a]} / 1024"))"
}

# --- run ----------------------------------------------------------------------------------------

as_server sh -c "cat >'$DIR/nats.conf'" <<-CONF
	listen: "127.0.0.1:$NATS"
	log_file: "$DIR/nats.log"
	jetstream { store_dir: "$DIR/jetstream", max_file_store: 20GB }
CONF
as_server env PATH="$PATH:/usr/sbin" sh -c "echo \$\$ >'$DIR/nats.pid'; exec nats-server -c '$DIR/nats.conf'" >/dev/null 2>&1 </dev/null &
for _ in $(seq 100); do
	(exec 3<>"/dev/tcp/127.0.0.1/$NATS") 2>/dev/null && break
	sleep 0.1
done
NATS_PID=$(cat "$DIR/nats.pid")
start_cluster source "$SOURCE"
start_cluster dest "$DEST"
say "$("$BIN/postgres" --version), $(PATH="$PATH:/usr/sbin" nats-server --version), $(nproc) cpus"

tables='bulk, small, backlog, latency, big, ready'
for system in $SYSTEMS; do
	for side in "$SOURCE" "$DEST"; do
		psql -p "$side" -c "DROP TABLE IF EXISTS $tables" || exit 1
		for table in bulk small backlog latency big; do
			psql -p "$side" -c "CREATE TABLE $table (id bigint PRIMARY KEY, a int, b text, c timestamptz)" || exit 1
		done
		psql -p "$side" -c 'CREATE TABLE ready (id int PRIMARY KEY)' || exit 1
	done
	source_sql 'DROP SEQUENCE IF EXISTS ids, latency_ids'
	source_sql 'CREATE SEQUENCE ids CACHE 100'
	source_sql 'CREATE SEQUENCE latency_ids'
	"${system}_setup"
	for measurement in bulk small backlog latency memory; do
		source_sql CHECKPOINT
		dest_sql CHECKPOINT
		$measurement "$system"
	done
	"${system}_teardown"
done

row()
{
	local line="| $1 |" system
	for system in $SYSTEMS; do line="$line ${result[$system,$2]:--} |"; done
	echo "$line"
}
{
	header='| |' rule='| --- |'
	for system in $SYSTEMS; do header="$header $system |" rule="$rule ---: |"; done
	echo
	echo "$header"
	echo "$rule"
	row "$ROWS rows in one transaction, rows/s from its start" bulk
	row "the same, rows/s from its commit" bulk_after
	row "$TXNS one-row transactions as they come, tx/s" small
	row "$TXNS one-row transactions as a backlog, tx/s" backlog
	row "latency p50 at $RATE tx/s, ms" p50
	row "latency p99 at $RATE tx/s, ms" p99
	row "private memory of the sender, $BIG_ROWS rows, MB" mem_s
	row "private memory of the applier, $BIG_ROWS rows, MB" mem_a
}
