#!/bin/bash
# What pg_flo costs those who run statements, against a plain server in the same
# run: in a server that has preloaded it, in a database with a group that does not
# track DDL, and in one whose every statement is tracked.
#
#	bench/ddl.sh
#	RUNS=5 KINDS="comment add_column" bench/ddl.sh
#	PGSRC=/usr/src/postgresql-15.20 bench/ddl.sh	also PostgreSQL's own regression suite
#	KINDS=none PGSRC=... bench/ddl.sh				nothing else
#
# CPU microseconds of the session per statement, as its kernel counts them (other
# work on the machine counts for little), and bytes of WAL; each statement in a
# transaction of its own, run by PL/pgSQL's EXECUTE, whose share the kind "nothing"
# shows.  Medians of RUNS.  Of the suite: CPU seconds of all sessions together.
#
# PGSRC is the server's own source, unpacked (suite/fetch.sh prints where); of the
# suite SCHEDULE, a file, or all of it.  Each run has a cluster of its own.
# Needs pg_flo installed for pg_config's server; no NATS, as nothing is decoded here.
set -eu
. "$(cd "$(dirname "$0")/../.ci" && pwd)/common.sh"

runs=${RUNS:-3}
port=${PORT:-6790}
pgsrc=${PGSRC:-}
kinds=${KINDS:-}
bin=${BINDIR:-$(pg_bindir)}
work=$(TMPDIR=${TMPDIR:-/dev/shm} server_tmpdir pg_flo_ddl)
systems="plain preloaded untracked tracked"

finish()
{
	for n in plain loaded; do as_server "$bin/pg_ctl" -D "$work/$n" -m immediate stop >/dev/null 2>&1 || true; done
	rm -rf "$work"
}
trap finish EXIT

port_of() { if [ "$1" = plain ]; then echo "$port"; else echo $((port + 1)); fi; }
cluster_of() { if [ "$1" = plain ]; then echo plain; else echo loaded; fi; }
sql() { as_server "$bin/psql" -XAtq -v ON_ERROR_STOP=1 -h "$work" -p "$(port_of "$1")" -d "$2" "${@:3}"; }

# name: a new cluster
begin()
{
	as_server "$bin/pg_ctl" -D "$work/$1" -m immediate stop >/dev/null 2>&1 || true
	rm -rf "${work:?}/$1"
	as_server "$bin/initdb" -D "$work/$1" -A trust -N --no-locale -E SQL_ASCII >/dev/null
	as_server tee -a "$work/$1/postgresql.conf" >/dev/null <<CONF
port = $(port_of "$1")
unix_socket_directories = '$work'
listen_addresses = ''
wal_level = logical
$([ "$1" = plain ] || echo "shared_preload_libraries = 'pg_flo'")
fsync = off
autovacuum = off
shared_buffers = 256MB
max_wal_size = 4GB
max_prepared_transactions = 2
CONF
	as_server "$bin/pg_ctl" -D "$work/$1" -l "$work/$1.log" -w start >/dev/null
}
begin plain
begin loaded

# name, database: as the system of that name has it
prepare()
{
	sql "$1" postgres -c "CREATE DATABASE $2 TEMPLATE template0"
	case $1 in
		untracked | tracked)
			sql "$1" "$2" -c "CREATE EXTENSION pg_flo" -c "SELECT flo.create_replicator('g', track_ddl => $([ "$1" = tracked ] && echo true || echo false),
				options => '{\"keyless_tables\": \"full\", \"schema_owner\": true, \"schema_privileges\": true}')" >/dev/null 2>&1 ;;
	esac
}

cat >"$work/kinds.sql" <<'SQL'
CREATE SCHEMA bench;
CREATE TABLE bench.kinds (position serial, kind text, times int, before text, statement text, after text);
INSERT INTO bench.kinds (kind, times, before, statement, after) VALUES
	('nothing', 20000, NULL, NULL, NULL),
	('select', 10000, NULL, 'SELECT 1', NULL),
	('set', 10000, NULL, 'SET work_mem = ''4MB''', NULL),
	('insert', 10000, 'CREATE TABLE n (id int PRIMARY KEY, v text)', 'INSERT INTO n VALUES (%s, ''v'')', 'DROP TABLE n'),
	('temporary_table', 500, NULL, 'CREATE TEMP TABLE n%s (id int PRIMARY KEY, v text)', 'DISCARD TEMP'),
	('create_table', 500, NULL, 'CREATE TABLE n%s (id int PRIMARY KEY, v text)', NULL),
	('drop_table', 500, NULL, 'DROP TABLE n%s', NULL),
	('create_keyless', 500, NULL, 'CREATE TABLE n%s (id int, v text)', '*DROP TABLE n%s'),
	('create_table_as', 500, NULL, 'CREATE TABLE n%s AS SELECT 1 id, ''v'' v', '*DROP TABLE n%s'),
	('create_view', 1000, NULL, 'CREATE VIEW n%s AS SELECT 1 id, ''v'' v', '*DROP VIEW n%s'),
	('create_function', 1000, NULL, 'CREATE FUNCTION n%s() RETURNS int LANGUAGE sql RETURN 1', '*DROP FUNCTION n%s'),
	('create_index', 500, 'CREATE TABLE n (id int PRIMARY KEY, v text)', 'CREATE INDEX n%s ON n (v)', 'DROP TABLE n'),
	('grant', 2000, 'CREATE TABLE n (id int PRIMARY KEY, v text)', 'GRANT SELECT ON n TO PUBLIC', 'DROP TABLE n'),
	('comment', 5000, 'CREATE TABLE n (id int PRIMARY KEY, v text)', 'COMMENT ON TABLE n IS ''%s''', 'DROP TABLE n'),
	('add_column', 200, 'CREATE TABLE n (id int PRIMARY KEY, v text)', 'ALTER TABLE n ADD COLUMN n%s int', 'DROP TABLE n'),
	('set_default', 1000, 'CREATE TABLE n (id int PRIMARY KEY, v text)', 'ALTER TABLE n ALTER COLUMN v SET DEFAULT ''%s''', 'DROP TABLE n'),
	('wide_comment', 5000, '*wide', 'COMMENT ON TABLE n IS ''%s''', NULL),
	('wide_add_column', 200, NULL, 'ALTER TABLE n ADD COLUMN n%s int', NULL),
	('wide_set_default', 500, NULL, 'ALTER TABLE n ALTER COLUMN c1 SET DEFAULT ''%s''', NULL),
	('wide_create_index', 100, NULL, 'CREATE INDEX n%s ON n (c1)', NULL),
	('wide_drop_index', 100, NULL, 'DROP INDEX n%s', 'DROP TABLE n');

-- of this session, ns
CREATE FUNCTION bench.cpu() RETURNS bigint LANGUAGE sql VOLATILE AS
	$$ SELECT split_part(pg_read_file('/proc/self/schedstat', 0, 100), ' ', 1)::bigint $$;

CREATE PROCEDURE bench.run(statement text, times int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. times LOOP
		IF statement IS NOT NULL THEN
			EXECUTE replace(statement, '%s', i::text);
		END IF;
		COMMIT;
	END LOOP;
END $$;

CREATE PROCEDURE bench.aside(statement text, times int) LANGUAGE plpgsql AS $$
BEGIN
	IF statement = '*wide' THEN
		EXECUTE format('CREATE TABLE n (id int PRIMARY KEY, %s)', (SELECT string_agg('c' || i || ' text', ', ') FROM generate_series(1, 499) i));
		COMMIT;
	ELSIF statement LIKE '*%' THEN
		CALL bench.run(substr(statement, 2), times);
	ELSIF statement IS NOT NULL THEN
		CALL bench.run(statement, 1);
	END IF;
END $$;

CREATE PROCEDURE bench.all(wanted text[]) LANGUAGE plpgsql AS $$
DECLARE
	k record;
	cpu bigint;
	wal pg_lsn;
BEGIN
	FOR k IN SELECT * FROM bench.kinds ORDER BY position LOOP
		CONTINUE WHEN wanted <> '{}' AND k.kind <> ALL (wanted);
		CALL bench.aside(k.before, k.times);
		cpu := bench.cpu();
		wal := pg_current_wal_insert_lsn();
		CALL bench.run(k.statement, k.times);
		RAISE INFO '% % %', k.kind, round((bench.cpu() - cpu) / 1000.0 / k.times, 2), round((pg_current_wal_insert_lsn() - wal) / k.times);
		CALL bench.aside(k.after, k.times);
	END LOOP;
END $$;
SQL
chmod 644 "$work/kinds.sql"

wanted=$(echo "$kinds" | tr -s ' ' ',')
for run in $(seq "$runs"); do
	for n in $systems; do
		prepare "$n" "b_$n"
		sql "$n" "b_$n" -f "$work/kinds.sql" >/dev/null 2>&1
		sql "$n" "b_$n" -c "SET client_min_messages = error" -c "CALL bench.all('{$wanted}')" 2>&1 |
			sed -n "s/^INFO: */$n /p" >>"$work/figures"
		sql "$n" postgres -c "DROP DATABASE b_$n WITH (FORCE)" 2>/dev/null || { sql "$n" "b_$n" -c "SELECT flo.drop_group('g')"; sql "$n" postgres -c "DROP DATABASE b_$n"; }
	done
done

perl - "$work/figures" <<'PERL'
my (%cpu, %wal, @kinds);
while (<>)
{
	my ($system, $kind, $cpu, $wal) = split;
	push @kinds, $kind if !$cpu{$kind};
	push @{ $cpu{$kind}{$system} }, $cpu;
	push @{ $wal{$kind}{$system} }, $wal;
}
sub median { my @v = sort { $a <=> $b } @{ $_[0] }; return $v[ $#v / 2 ]; }
my @systems = qw(plain preloaded untracked tracked);
print "| statement | ", join(' | ', map { "$_, µs" } @systems), " | ratios to plain | WAL plain | WAL tracked |\n| --- |", ' ---: |' x 7, "\n";
for my $kind (@kinds)
{
	my @us = map { median($cpu{$kind}{$_}) } @systems;
	printf "| %s | %.1f | %.1f | %.1f | %.1f | %s | %d | %d |\n", $kind, @us, join(' ', map { sprintf '%.2f', $_ / $us[0] } @us[ 1 .. 3 ]),
		median($wal{$kind}{plain}), median($wal{$kind}{tracked});
}
PERL
[ -n "$pgsrc" ] || exit 0

# --- PostgreSQL's own regression suite --------------------------------------------------

# of all sessions that have ended, s
ended_cpu()
{
	awk -v tick="$(getconf CLK_TCK)" '{ print ($16 + $17) / tick }' "/proc/$(head -1 "$work/$(cluster_of "$1")/postmaster.pid")/stat"
}

suite()
{
	local before dir="$work/suite.$1.$run"
	as_server mkdir "$dir"
	begin "$(cluster_of "$1")"
	prepare "$1" "suite_$1_$run"
	before=$(ended_cpu "$1")
	as_server env PGOPTIONS= "$(dirname "$("$PG_CONFIG" --pgxs)")/../test/regress/pg_regress" --use-existing --dbname="suite_$1_$run" \
		--inputdir="$work/input" --outputdir="$dir" --dlpath="$work/lib" --bindir="$bin" --max-concurrent-tests=20 \
		--host="$work" --port="$(port_of "$1")" --schedule="${SCHEDULE:-$work/input/parallel_schedule}" >"$dir.log" 2>&1 || true
	echo "$1 suite $(perl -e 'printf "%.2f", $ARGV[1] - $ARGV[0]' "$before" "$(ended_cpu "$1")") $(grep -c '\.\.\. ok\|^ok ' "$dir.log")" >>"$work/suites"
}

as_server mkdir "$work/lib" "$work/input"
for file in src/test/regress/regress contrib/spi/refint contrib/spi/autoinc; do
	${CC:-cc} -O1 -fPIC -shared -w -I"$("$PG_CONFIG" --includedir-server)" "$pgsrc/$file.c" -o "$work/lib/$(basename $file).so"
done
cp -R "$pgsrc/src/test/regress/sql" "$pgsrc/src/test/regress/expected" "$pgsrc/src/test/regress/data" "$pgsrc/src/test/regress/parallel_schedule" "$work/input"
chmod -R u+rwX,go+rX "$work/input" "$work/lib"
[ "$(id -u)" != 0 ] || chown -R "$(server_user)" "$work/input"

for run in $(seq "$runs"); do
	for n in $systems; do suite "$n"; done
done
perl - "$work/suites" <<'PERL'
my (%cpu, %ok);
while (<>) { my ($system, undef, $cpu, $ok) = split; push @{ $cpu{$system} }, $cpu; $ok{$system} = $ok; }
sub median { my @v = sort { $a <=> $b } @{ $_[0] }; return $v[ $#v / 2 ]; }
print "\n| PostgreSQL's regression suite | CPU s of all sessions | ratio to plain | all runs | tests with the expected output |\n| --- | ---: | ---: | --- | ---: |\n";
printf "| %s | %.1f | %.2f | %s | %d |\n", $_, median($cpu{$_}), median($cpu{$_}) / median($cpu{plain}), join(' ', @{ $cpu{$_} }), $ok{$_} for qw(plain preloaded untracked tracked);
PERL
