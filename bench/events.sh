#!/bin/bash
# Events per second of the file and webhook sinks, against what the replicator
# publishes, on this machine:
#
#	bench/events.sh [ROWS]		default 500000
#
# Needs pg_flo installed for pg_config's server, nats-server, perl.  Everything
# runs in a folder of its own; as root, as user postgres.
set -eu

rows=${1:-500000}
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
rate() { perl -e 'printf "%-44s %9.0f events/s  (%d in %.2f s)\n", $ARGV[0], $ARGV[1] / ($ARGV[3] - $ARGV[2]), $ARGV[1], $ARGV[3] - $ARGV[2]' "$@"; }

source_sql "CREATE EXTENSION pg_flo; CREATE TABLE t (id bigint PRIMARY KEY, name text, price numeric(12,2), at timestamptz, tags text[], doc jsonb)"
dest_sql "CREATE EXTENSION pg_flo"
source_sql "SELECT flo.create_replicator('b', options => '{\"release_wal\": \"published\"}')"
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

# name, sink, options, events
measure()
{
	local name=$1 sink=$2 options=$3 part=$4 upto start
	upto=$lsn
	dest_sql "SELECT flo.create_worker('b', '$sink', 'w', '$options')"
	start=$(now)
	dest_sql "SELECT flo.start_group('b', 'w')" >/dev/null
	if [ "$part" = all ]; then
		[ "$(dest_sql "SELECT flo.wait_for('b', '$upto', '10 min', 'w')")" = t ]
		rate "$name" "$rows" "$start" "$(now)"
	else
		# as many as it can in so many seconds
		until [ "$(dest_sql "SELECT inserts > 0 FROM flo.status WHERE member = 'w'")" = t ]; do sleep 0.02; done
		start=$(now)
		local first done
		first=$(dest_sql "SELECT inserts FROM flo.status WHERE member = 'w'")
		sleep "$part"
		done=$(dest_sql "SELECT inserts FROM flo.status WHERE member = 'w'")
		rate "$name" $((done - first)) "$start" "$(now)"
	fi
	dest_sql "SELECT flo.drop_worker('b', 'w')"
}
mkdir "$work/events"
[ -n "$as" ] && chown postgres "$work/events"
# somebody who never gets anywhere keeps the stream from being purged
dest_sql "SELECT flo.create_worker('b', 'webhook', 'keeper', '{\"url\": \"http://127.0.0.1:1/\"}')"
dest_sql "SELECT flo.start_group('b', 'keeper')" >/dev/null
until [ "$(dest_sql "SELECT state FROM flo.status WHERE member = 'keeper'")" = waiting ]; do sleep 0.05; done

url="http://127.0.0.1:$((port + 3))/"
measure "file" file "{\"directory\": \"$work/events\"}" all
ls -l "$work/events" | awk 'NR > 1 { n++; bytes += $5 } END { printf "%-44s %9.0f MB in %d files\n", "", bytes / 1e6, n }'
measure "webhook, 1 event per request" webhook "{\"url\": \"$url\"}" 10
measure "webhook, 1 event per request, signed" webhook "{\"url\": \"$url\", \"secret\": \"s\"}" 10
measure "webhook, 100 events per request" webhook "{\"url\": \"$url\", \"events_per_request\": 100}" all
