#!/bin/bash
# Events per second of the sinks, against what the replicator publishes, on this
# machine, and the CPU that the worker takes for a million of them:
#
#	bench/events.sh [ROWS [NAME...]]		default 500000 and all: file stdout
#											webhook nats latency search kafka
#
# Needs pg_flo installed for pg_config's server, nats-server, perl.  Sinks that need
# more are measured where SEARCH_URL (of OpenSearch) or KAFKA_BROKERS is set.
# Everything runs in a folder of its own; as root, as user postgres.
set -eu

rows=${1:-500000}
[ $# -gt 0 ] && shift
names=" ${*:-file stdout webhook nats latency search kafka} "
here=$(dirname "$(readlink -f "$0")")
bin=$("${PG_CONFIG:-pg_config}" --bindir)
bin=${BINDIR:-$bin}
port=${PORT:-6690}
work=$(mktemp -d "${TMPDIR:-/tmp}/pg_flo_events.XXXXXX")
as=
if [ "$(id -u)" = 0 ]; then
	chown postgres "$work"
	as="runuser -u postgres --"
fi
nats_pid=
hook_pid=

finish()
{
	for n in source dest; do $as "$bin/pg_ctl" -D "$work/$n" -m immediate stop >/dev/null 2>&1 || true; done
	[ -n "$nats_pid" ] && kill "$nats_pid" 2>/dev/null
	[ -n "$hook_pid" ] && kill "$hook_pid" 2>/dev/null
	rm -rf "$work"
}
trap finish EXIT

# An endpoint that answers as fast as Perl can, and nothing else
cat >"$work/hook.pl" <<'PERL'
use strict; use warnings; use IO::Select; use IO::Socket::INET;
$SIG{PIPE} = 'IGNORE';
my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $ARGV[0], Listen => 16, ReuseAddr => 1) or die $@;
my $select = IO::Select->new($listen);
my %buffer;
while (1) {
	for my $s ($select->can_read) {
		if ($s == $listen) { my $c = $listen->accept; $select->add($c); $buffer{$c} = ''; next; }
		if (!sysread($s, $buffer{$s}, 1 << 20, length $buffer{$s})) { $select->remove($s); delete $buffer{$s}; close $s; next; }
		while ((my $end = index($buffer{$s}, "\r\n\r\n")) >= 0) {
			my ($len) = substr($buffer{$s}, 0, $end) =~ /content-length: (\d+)/i;
			last if length $buffer{$s} < $end + 4 + $len;
			substr($buffer{$s}, 0, $end + 4 + $len) = '';
			syswrite $s, "HTTP/1.1 204 No Content\r\n\r\n";
		}
	}
}
PERL
perl "$work/hook.pl" $((port + 3)) & hook_pid=$!
nats-server -a 127.0.0.1 -p $((port + 2)) -js -sd "$work/nats" >"$work/nats.log" 2>&1 & nats_pid=$!

p=$port
for n in source dest; do
	$as "$bin/initdb" -D "$work/$n" -A trust -N >/dev/null
	$as tee -a "$work/$n/postgresql.conf" >/dev/null <<CONF
port = $p
unix_socket_directories = '$work'
listen_addresses = ''
wal_level = logical
shared_preload_libraries = 'pg_flo'
pg_flo.nats_url = 'nats://127.0.0.1:$((port + 2))'
shared_buffers = 512MB
max_wal_size = 8GB
logical_decoding_work_mem = 256MB
CONF
	$as "$bin/pg_ctl" -D "$work/$n" -l "$work/$n.log" -w start >/dev/null
	p=$((p + 1))
done
source_sql() { $as "$bin/psql" -XAtq -h "$work" -p "$port" -d postgres -c "$1"; }
dest_sql() { $as "$bin/psql" -XAtq -h "$work" -p $((port + 1)) -d postgres -c "$1"; }
now() { date +%s.%N; }
wants() { case $names in *" $1 "*) ;; *) return 1 ;; esac; }
# seconds of CPU that a process has had
cpu() { perl -e 'open F, "/proc/$ARGV[0]/stat" or exit; $_ = <F>; s/.*\) //; @f = split; printf "%.2f", ($f[11] + $f[12]) / 100' "$1"; }
rate() { perl -e 'printf "%-44s %9.0f events/s  (%d in %.2f s)\n", $ARGV[0], $ARGV[1] / ($ARGV[3] - $ARGV[2]), $ARGV[1], $ARGV[3] - $ARGV[2]' "$@"; }

source_sql "CREATE EXTENSION pg_flo; CREATE TABLE t (id bigint PRIMARY KEY, name text, price numeric(12,2), at timestamptz, tags text[], doc jsonb); CREATE TABLE late (id int PRIMARY KEY, sent numeric)"
dest_sql "CREATE EXTENSION pg_flo"
source_sql "SELECT flo.create_replicator('b', options => '{\"release_wal\": \"published\"}')" >/dev/null
source_sql "SELECT flo.start_group('b')" >/dev/null
until [ "$(source_sql "SELECT state FROM flo.status")" = streaming ]; do sleep 0.1; done
source_sql "SELECT flo.stop_group('b')" >/dev/null
until [ "$(source_sql "SELECT state FROM flo.status")" = stopped ]; do sleep 0.1; done

# transactions of 100 rows
source_sql "DO \$\$ BEGIN FOR n IN 0..$((rows / 100 - 1)) LOOP
	INSERT INTO t SELECT n * 100 + i, 'name ' || i, i * 1.25, now(), ARRAY['a', 'b'], jsonb_build_object('n', n, 'i', i) FROM generate_series(1, 100) i; COMMIT; END LOOP; END \$\$"
lsn=$(source_sql "SELECT pg_current_wal_lsn()")

start=$(now)
source_sql "SELECT flo.start_group('b')" >/dev/null
[ "$(source_sql "SELECT flo.wait_for('b', '$lsn', '10 min')")" = t ]
rate "replicator: decoded and published" "$rows" "$start" "$(now)"

# name, sink, options; all rows, or as many as it can in so many seconds
measure()
{
	local name=$1 sink=$2 options=$3 part=$4 start first count pid before
	# what it began with is in the past: the worker reads as fast as it can
	dest_sql "SELECT flo.create_worker('b', '$sink', 'w', '$options')" >/dev/null
	start=$(now)
	dest_sql "SELECT flo.start_group('b', 'w')" >/dev/null
	until pid=$(dest_sql "SELECT pid FROM flo.status WHERE member = 'w'"); [ -n "$pid" ]; do sleep 0.02; done
	if [ "$part" = all ]; then
		[ "$(dest_sql "SELECT flo.wait_for('b', '$lsn', '10 min', 'w')")" = t ]
		rate "$name" "$rows" "$start" "$(now)"
		printf '%-44s %9.2f s of CPU per million\n' '' "$(perl -e 'print $ARGV[0] * 1e6 / $ARGV[1]' "$(cpu "$pid")" "$rows")"
	else
		until [ "$(dest_sql "SELECT inserts > 0 FROM flo.status WHERE member = 'w'")" = t ]; do sleep 0.02; done
		start=$(now)
		before=$(cpu "$pid")
		first=$(dest_sql "SELECT inserts FROM flo.status WHERE member = 'w'")
		sleep "$part"
		count=$(($(dest_sql "SELECT inserts FROM flo.status WHERE member = 'w'") - first))
		rate "$name" "$count" "$start" "$(now)"
		printf '%-44s %9.2f s of CPU per million\n' '' \
			"$(perl -e 'print(($ARGV[0] - $ARGV[1]) * 1e6 / ($ARGV[2] || 1))' "$(cpu "$pid")" "$before" "$count")"
	fi
	dest_sql "SELECT flo.drop_worker('b', 'w')" >/dev/null
}

# Milliseconds from a commit to a subscriber, at 200 commits a second
latency()
{
	dest_sql "SELECT flo.create_worker('b', 'nats', 'w', '$2')" >/dev/null
	dest_sql "SELECT flo.start_group('b', 'w')" >/dev/null
	[ "$(dest_sql "SELECT flo.wait_for('b', '$(source_sql "SELECT pg_current_wal_lsn()")', '10 min', 'w')")" = t ]
	perl -I"$here/../t" -MFloNatsClient -MTime::HiRes=time -e '
		my ($name, $port, $file) = @ARGV;
		my $client = FloNatsClient->new($port);
		$client->subscribe("cdc.b.public.late.insert");
		open my $ready, ">", $file; close $ready;
		my @ms;
		while (@ms < 2000 and my $message = $client->next(20)) {
			my ($sent) = $message->{data} =~ /"sent":([\d.]+)/ or next;
			push @ms, (time() - $sent) * 1000;
		}
		@ms = sort { $a <=> $b } @ms;
		printf "%-44s p50 %.1f ms, p99 %.1f ms (%d events)\n", $name, $ms[@ms / 2], $ms[@ms * 0.99], scalar @ms;
	' "$1" $((port + 2)) "$work/ready" &
	until [ -e "$work/ready" ]; do sleep 0.05; done
	# the clock is read where the row is made, right before its commit
	source_sql "DO \$\$ BEGIN FOR n IN 1..2000 LOOP
		INSERT INTO late VALUES (n, extract(epoch FROM clock_timestamp())); COMMIT;
		PERFORM pg_sleep(0.005); END LOOP; TRUNCATE late; END \$\$"
	wait $!
	rm -f "$work/ready"
	dest_sql "SELECT flo.drop_worker('b', 'w')" >/dev/null
}

mkdir "$work/events"
[ -n "$as" ] && chown postgres "$work/events"
# somebody who never gets anywhere keeps the stream from being purged
dest_sql "SELECT flo.create_worker('b', 'webhook', 'keeper', '{\"url\": \"http://127.0.0.1:1/\"}')" >/dev/null
dest_sql "SELECT flo.start_group('b', 'keeper')" >/dev/null
until [ "$(dest_sql "SELECT state FROM flo.status WHERE member = 'keeper'")" = waiting ]; do sleep 0.05; done

if wants file; then
	for format in pg_flo cloudevents debezium; do
		measure "file, $format" file "{\"directory\": \"$work/events\", \"format\": \"$format\"}" all
		ls -l "$work/events" | awk 'NR > 1 { n++; bytes += $5 } END { printf "%-44s %9.0f MB in %d files\n", "", bytes / 1e6, n }'
		rm -rf "$work/events/"* "$work/events/.pg_flo_owner"
	done
fi
wants stdout && measure "stdout" stdout '{}' all
if wants webhook; then
	url="http://127.0.0.1:$((port + 3))/"
	measure "webhook, 1 event per request" webhook "{\"url\": \"$url\"}" 10
	measure "webhook, 1 event per request, signed" webhook "{\"url\": \"$url\", \"secret\": \"s\"}" 10
	measure "webhook, binary cloudevents" webhook "{\"url\": \"$url\", \"format\": \"cloudevents\", \"cloudevents_mode\": \"binary\"}" 10
	measure "webhook, 100 events per request" webhook "{\"url\": \"$url\", \"events_per_request\": 100}" all
fi
if wants nats; then
	measure "nats, into a stream" nats '{"stream": "bench"}' all
	measure "nats, core" nats '{"jetstream": false}' all
	measure "nats, a bucket of rows" nats '{"kv_bucket": "rows"}' all
fi
if wants latency; then
	latency "nats, commit to subscriber, stream" '{}'
	latency "nats, commit to subscriber, core" '{"jetstream": false}'
fi
if wants search && [ -n "${SEARCH_URL:-}" ]; then
	measure "search" search "{\"url\": \"$SEARCH_URL\"}" all
fi
if wants kafka && [ -n "${KAFKA_BROKERS:-}" ]; then
	measure "kafka" kafka "{\"brokers\": \"$KAFKA_BROKERS\"}" all
fi
exit 0
