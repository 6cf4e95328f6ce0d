
# A group streams: every kind of change, every kind of table, transactions as
# transactions, the functions around it, and nothing is left when it is dropped.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);

# Settings of a database must reach neither side's processes
$_->safe_psql('postgres', q{
	ALTER DATABASE postgres SET datestyle = 'SQL, DMY';
	ALTER DATABASE postgres SET intervalstyle = 'sql_standard';
	ALTER DATABASE postgres SET bytea_output = 'escape';
	ALTER DATABASE postgres SET extra_float_digits = -10;
	ALTER DATABASE postgres SET timezone = 'Asia/Kathmandu';
}) for $source, $dest;
$dest->safe_psql('postgres', q{
	ALTER DATABASE postgres SET default_transaction_read_only = on;
	ALTER DATABASE postgres SET statement_timeout = '1ms';
	ALTER DATABASE postgres SET search_path = 'nowhere';
});
$ENV{PGOPTIONS} = '-c default_transaction_read_only=off -c statement_timeout=0 -c search_path=public -c datestyle=ISO '
  . '-c extra_float_digits=1 -c timezone=UTC -c intervalstyle=postgres -c bytea_output=hex';

# --- tables ----------------------------------------------------------------------------

my $tables = q{
	CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
	CREATE DOMAIN posint AS int CHECK (VALUE > 0);
	CREATE TYPE pair AS (a int, b text);
	CREATE TABLE plain (id int PRIMARY KEY, v text, n numeric, at timestamptz DEFAULT now());
	CREATE TABLE two_keys (a int, b text, v text, PRIMARY KEY (a, b));
	CREATE TABLE "Odd ""Name" ("the Key" int PRIMARY KEY, "select" text);
	CREATE TABLE typed (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		m mood, ms mood[], d posint, p pair, j jsonb, b bytea, f float8, i interval, u uuid,
		ts timestamptz, ints int[], r int4range, twice int GENERATED ALWAYS AS (d * 2) STORED);
	CREATE TABLE no_key (a int, b text);
	ALTER TABLE no_key REPLICA IDENTITY FULL;
	CREATE TABLE by_index (a int NOT NULL, b int NOT NULL, v text);
	CREATE UNIQUE INDEX by_index_b ON by_index (b);
	ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_b;
	CREATE TABLE toasted (id int PRIMARY KEY, big text, small int);
	ALTER TABLE toasted ALTER big SET STORAGE EXTERNAL;
	CREATE TABLE parent (id int PRIMARY KEY);
	CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent);
	CREATE TABLE parted (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
	CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
	CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
};
$source->safe_psql('postgres', $tables);
$dest->safe_psql('postgres', $tables);

# At the destination the columns may stand in another order, triggers do not
# fire, and the owner need not be a superuser
$dest->safe_psql('postgres', q{
	DROP TABLE plain;
	CREATE TABLE plain (extra int DEFAULT 7, at timestamptz, n numeric, v text, id int PRIMARY KEY);
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''a trigger fired''; END';
	CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON two_keys FOR EACH ROW EXECUTE FUNCTION refuse();
	CREATE ROLE app;
	ALTER TABLE two_keys OWNER TO app;
	ALTER TABLE toasted OWNER TO app;
});

my @same = ('two_keys', '"Odd ""Name"', 'typed', 'no_key', 'by_index', 'toasted', 'parent', 'child', 'parted_1',
	'parted_2');

sub all_same
{
	my ($when) = @_;
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, $_, "$when: $_") for @same;
	my $query = 'SELECT count(*), coalesce(sum(hashtextextended((id, v, n, at)::text, 1)), 0) FROM plain';
	is($dest->safe_psql('postgres', $query), $source->safe_psql('postgres', $query), "$when: plain");
}

create_group($source, $dest, 'g');

is($source->safe_psql('postgres', q{SELECT member, state, pid IS NOT NULL, last_error IS NULL FROM flo.status}),
	'replicator|streaming|t|t', 'flo.status of the source');
is($dest->safe_psql('postgres', q{SELECT member, sink, state, pid IS NOT NULL, last_error IS NULL FROM flo.status}),
	'postgres|postgres|streaming|t|t', 'flo.status of the destination');
is($source->safe_psql('postgres', q{SELECT count(*) FROM flo.tables
	WHERE group_name = 'g' AND table_name::text = 'public.plain'}),
	'1', 'flo.tables lists what is replicated');

# --- changes ---------------------------------------------------------------------------

$source->safe_psql('postgres', q{
	INSERT INTO plain SELECT i, 'v' || i, i / 7.0 FROM generate_series(1, 1000) i;
	INSERT INTO plain VALUES (-1, NULL, 'NaN', NULL), (-2, '', 0, 'infinity'),
		(-3, E'tab\tnewline\nback\\\\slash', 1e100, '0001-01-01 BC');
	INSERT INTO two_keys SELECT i % 3, 'k' || i, 'x' FROM generate_series(1, 50) i;
	INSERT INTO "Odd ""Name" VALUES (1, 'from'), (2, NULL);
	INSERT INTO typed (m, ms, d, p, j, b, f, i, u, ts, ints, r) VALUES
		('ok', '{sad,happy}', 3, '(1,"a, b")', '{"k": [1, null, "x"]}', '\x00ff01', 0.1::float8 + 0.2::float8,
			'1 mon -2 days 03:04:05.678',
		 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '2024-02-29 12:34:56.789012+03', '{{1,2},{3,NULL}}', '[1,10)'),
		(NULL, NULL, NULL, NULL, NULL, NULL, 'NaN', NULL, NULL, '-infinity', '{}', 'empty');
	INSERT INTO no_key VALUES (1, 'a'), (1, 'a'), (2, NULL), (NULL, NULL);
	INSERT INTO by_index SELECT i, -i, 'r' || i FROM generate_series(1, 20) i;
	INSERT INTO parted SELECT i, 1 + i % 2, 'p' || i FROM generate_series(1, 20) i;
	INSERT INTO parent SELECT generate_series(1, 10);
	INSERT INTO child SELECT i, i FROM generate_series(1, 10) i;
});
all_same('INSERT');
is($dest->safe_psql('postgres', 'SELECT DISTINCT extra FROM plain'), '7',
	"a column only the destination has gets its default");

$source->safe_psql('postgres', q{
	UPDATE plain SET v = v || '!', n = -n WHERE id % 2 = 0;
	UPDATE plain SET v = NULL WHERE id % 10 = 0;
	UPDATE two_keys SET v = 'y' WHERE a = 1;
	UPDATE "Odd ""Name" SET "select" = 'where' WHERE "the Key" = 2;
	UPDATE typed SET m = 'happy', j = j || '{"more": true}', d = 5 WHERE d IS NOT NULL;
	UPDATE no_key SET b = 'changed' WHERE a = 2;
	UPDATE by_index SET v = v || v WHERE a < 5;
	UPDATE parted SET v = 'q' WHERE id < 5;
});
all_same('UPDATE');

$source->safe_psql('postgres', q{
	UPDATE plain SET id = id + 100000 WHERE id BETWEEN 1 AND 100;
	UPDATE plain SET id = -id WHERE id BETWEEN 101 AND 110;
	UPDATE two_keys SET a = a + 10, b = upper(b) WHERE b LIKE 'k1%';
	UPDATE by_index SET b = b - 100 WHERE a > 15;
	UPDATE parted SET k = 2 WHERE id = 2;
	UPDATE parted SET id = 777 WHERE id = 3;
});
all_same('UPDATE of keys');

$source->safe_psql('postgres', q{
	DELETE FROM plain WHERE id % 3 = 0;
	DELETE FROM two_keys WHERE a = 0;
	DELETE FROM typed WHERE m IS NULL;
	DELETE FROM no_key WHERE a IS NULL;
	DELETE FROM no_key WHERE ctid = (SELECT min(ctid) FROM no_key WHERE a = 1);
	DELETE FROM by_index WHERE a = 7;
	DELETE FROM parted WHERE id > 15;
	DELETE FROM child WHERE id > 5;
});
all_same('DELETE');

$source->safe_psql('postgres', q{
	TRUNCATE by_index;
	TRUNCATE parent, child;
	TRUNCATE parted;
	INSERT INTO by_index VALUES (1, 1, 'after the truncate');
	INSERT INTO parent VALUES (1);
	INSERT INTO parted VALUES (1, 1, 'again');
	BEGIN;
	INSERT INTO no_key VALUES (9, 'gone');
	TRUNCATE no_key;
	INSERT INTO no_key VALUES (10, 'stays');
	COMMIT;
});
all_same('TRUNCATE');

# --- rows larger than a NATS message ---------------------------------------------------

$source->safe_psql('postgres', q{
	INSERT INTO toasted SELECT i, repeat(md5(i::text), 32 * 1024 * i), 0 FROM generate_series(1, 5) i;
	UPDATE toasted SET small = small + 1;
	INSERT INTO toasted VALUES (100, repeat('z', 20000000), 0);
	UPDATE toasted SET big = big || 'end' WHERE id = 2;
	UPDATE toasted SET id = 50 WHERE id = 5;
	DELETE FROM toasted WHERE id = 4;
});
all_same('rows beyond max_payload');

# --- transactions -----------------------------------------------------------------------

$source->safe_psql('postgres', q{
	BEGIN;
	INSERT INTO parent VALUES (500);
	INSERT INTO child VALUES (500, 500);
	UPDATE two_keys SET v = 'one transaction';
	DELETE FROM plain WHERE id = 1;
	INSERT INTO plain VALUES (200001, 'kept');
	SAVEPOINT s;
	INSERT INTO plain VALUES (200002, 'rolled back');
	UPDATE two_keys SET v = 'rolled back';
	ROLLBACK TO s;
	SAVEPOINT s;
	INSERT INTO plain VALUES (200003, 'kept too');
	RELEASE s;
	INSERT INTO plain VALUES (200002, 'kept instead');
	COMMIT;
	BEGIN;
	INSERT INTO plain VALUES (200004, 'never');
	TRUNCATE two_keys;
	ROLLBACK;
});
all_same('savepoints and rollbacks');

$source->safe_psql('postgres', q{
	BEGIN;
	INSERT INTO plain VALUES (200010, 'prepared');
	PREPARE TRANSACTION 'one';
	BEGIN;
	INSERT INTO plain VALUES (200011, 'prepared and lost');
	PREPARE TRANSACTION 'two';
	COMMIT PREPARED 'one';
	ROLLBACK PREPARED 'two';
});
all_same('two-phase commit');

# A transaction that overflows decoding's memory and many chunks
$source->safe_psql('postgres', q{
	BEGIN;
	INSERT INTO plain SELECT i, repeat('w', 300), i FROM generate_series(1000001, 1300000) i;
	DELETE FROM plain WHERE id BETWEEN 1000001 AND 1000100;
	COMMIT;
});
all_same('a large transaction');

# Sessions that run into each other
{
	my $stop = PostgreSQL::Test::Utils::tempdir() . '/script.sql';
	append_to_file($stop, q{
\set a random(1, 400)
\set b random(1, 400)
BEGIN;
UPDATE plain SET n = coalesce(n, 0) + 1 WHERE id = :a;
INSERT INTO two_keys VALUES (:a, :b::text || ':' || :client_id || ':' || clock_timestamp(), 'load')
	ON CONFLICT DO NOTHING;
COMMIT;
});
	$source->command_ok([ 'pgbench', '-n', '-c', 8, '-t', 250, '-f', $stop, '-p', $source->port, '-h', $source->host,
		'postgres' ],
		'2000 transactions by 8 clients');
}
all_same('many small transactions');

cmp_ok(status_of($dest, 'g', 'postgres', 'transactions'), '>=', 2000, 'transactions are counted');
is($dest->safe_psql('postgres', q{SELECT inserts > 300000 AND updates > 1000 AND deletes > 100 AND truncates >= 4
	FROM flo.status}),
	't', 'and so are rows');

# --- wait_for ----------------------------------------------------------------------------

is($source->safe_psql('postgres', q{SELECT flo.wait_for('g')}), 't', 'wait_for at the source, up to now');
my $future = $source->safe_psql('postgres', q{SELECT pg_current_wal_lsn() + 1000000000});
is($dest->safe_psql('postgres', qq{SELECT flo.wait_for('g', '$future', '1 s')}), 'f',
	'wait_for is false at the time-out');
is($dest->safe_psql('postgres', qq{SELECT flo.wait_for('g', '0/1', '0 s')}), 't', 'wait_for of something long done');
like(error_of($dest, q{SELECT flo.wait_for('g')}), qr/^22004/, 'wait_for needs an LSN at the destination');
like(error_of($dest, q{SELECT flo.wait_for('nobody', '0/1')}), qr/^42704/, 'wait_for of an unknown group');
like(error_of($dest, q{SELECT flo.wait_for('g', '0/1', '-1 s')}), qr/^22023/, 'wait_for with a negative time-out');

# An idle group follows the server's LSN: nothing of the group is written here
{
	$source->safe_psql('postgres', 'CREATE UNLOGGED TABLE elsewhere (a int); SELECT pg_switch_wal(); CHECKPOINT');
	my $lsn = $source->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
	my $start = time();
	is($dest->safe_psql('postgres', "SELECT flo.wait_for('g', '$lsn', '20 s')"), 't',
		'an idle group reaches the current LSN');
	cmp_ok(time() - $start, '<', 10, 'within seconds');
	ok(wait_until($source, 'postgres', "SELECT confirmed_flush_lsn >= '$lsn' FROM pg_replication_slots",
		'the slot to follow'),
		'and does not keep WAL');
}

# --- stop and start ------------------------------------------------------------------------

$source->safe_psql('postgres', q{BEGIN; SELECT flo.stop_group('g'); ROLLBACK});
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
is($dest->safe_psql('postgres', q{SELECT pid IS NULL FROM flo.status}), 't', 'a stopped member has no process');
is(status_of($source, 'g', 'replicator', 'state'), 'streaming', 'a rolled back stop stops nothing');

my $before = $dest->safe_psql('postgres', 'SELECT count(*) FROM plain');
$source->safe_psql('postgres', q{INSERT INTO plain SELECT i, 'while stopped' FROM generate_series(3000001, 3001000) i});
is($source->safe_psql('postgres', q{SELECT flo.wait_for('g')}), 't', 'the source goes on publishing');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM plain'), $before, 'the stopped worker applies nothing');
start_member($dest, 'g', 'postgres');
all_same('after a stop of the worker');

$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
$source->safe_psql('postgres', q{INSERT INTO plain SELECT i, 'while stopped' FROM generate_series(3001001, 3002000) i});
start_member($source, 'g', 'replicator');
all_same('after a stop of the replicator');

# --- who holds the stream --------------------------------------------------------------------

my $dest_id = $dest->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()');
ok(wait_until($source, 'postgres',
		q{SELECT count(*) = 1 FROM flo.stream_status('g') WHERE worker_name = 'postgres' AND acked_lsn IS NOT NULL},
		'stream_status'),
	'stream_status names the worker');
is($source->safe_psql('postgres', q{SELECT stream, system_identifier::text, database::text
	FROM flo.stream_status('g')}),
	"pgflo_g_stream|$dest_id|postgres", 'and where it lives');

# --- DROP --------------------------------------------------------------------------------------

is_deeply([ $nats->streams ], [ 'KV_pg_flo_state_g', 'pgflo_g_stream' ], 'the stream and the bucket of the group');
$dest->safe_psql('postgres', q{SELECT flo.drop_group('g')});
is($dest->safe_psql('postgres', q{SELECT (SELECT count(*) FROM pg_replication_origin),
	(SELECT count(*) FROM flo.workers), (SELECT count(*) FROM flo.groups), (SELECT count(*) FROM flo.status)}),
	'0|0|0|0', 'drop_group leaves nothing at the destination');
is($source->safe_psql('postgres', q{SELECT count(*) FROM flo.stream_status('g') WHERE worker_name IS NOT NULL}), '0',
	'nor a consumer');
$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});
is($source->safe_psql('postgres', q{SELECT (SELECT count(*) FROM pg_replication_slots),
	(SELECT count(*) FROM pg_publication), (SELECT count(*) FROM flo.replicators), (SELECT count(*) FROM flo.groups),
	(SELECT count(*) FROM flo.status)}),
	'0|0|0|0|0', 'drop_group leaves nothing at the source');
is_deeply([ $nats->streams ], [], 'nor in the broker');
$_->safe_psql('postgres', 'DROP EXTENSION pg_flo') for $source, $dest;
$_->stop('fast') for $source, $dest;

done_testing();
