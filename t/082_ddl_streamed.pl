
# DDL within a transaction that is decoded while it is still open, and DDL of
# tables that a route leads elsewhere.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);

$source->safe_psql('postgres', 'CREATE TABLE big (id int PRIMARY KEY, v text); CREATE TABLE routed (id int PRIMARY KEY);
	CREATE TABLE mapped (id int PRIMARY KEY, v text)');
$dest->safe_psql('postgres', 'CREATE TABLE big (id int PRIMARY KEY, v text); CREATE SCHEMA there;
	CREATE TABLE there.led (id int PRIMARY KEY); CREATE TABLE mapped (id int PRIMARY KEY, w text)');
$source->safe_psql('postgres', q{SELECT flo.create_replicator('g', track_ddl => true)});
start_member($source, 'g', 'replicator');
$dest->safe_psql('postgres', q{
	SELECT flo.create_worker('g', options => '{"ddl_trust": "source"}');
	INSERT INTO flo.routes (group_name, source_table, destination_schema, destination_table)
		VALUES ('g', 'routed', 'there', 'led');
	INSERT INTO flo.routes (group_name, source_table, column_mappings) VALUES ('g', 'mapped', '{"v": "w"}');
});
start_member($dest, 'g', 'postgres');

$source->safe_psql('postgres', q{
	BEGIN;
	INSERT INTO big SELECT i, repeat('x', 500) FROM generate_series(1, 80000) i;
	ALTER TABLE big ADD w int;
	INSERT INTO big SELECT i, repeat('y', 500), i FROM generate_series(80001, 160000) i;
	SAVEPOINT a;
	ALTER TABLE big ADD gone int;
	CREATE TABLE gone (id int PRIMARY KEY);
	INSERT INTO gone SELECT generate_series(1, 100000);
	INSERT INTO big SELECT i, repeat('z', 500), i, i FROM generate_series(160001, 240000) i;
	ROLLBACK TO a;
	ALTER TABLE big DROP v;
	CREATE TABLE within (id int PRIMARY KEY, v text);
	INSERT INTO within SELECT i, repeat('w', 500) FROM generate_series(1, 80000) i;
	COMMIT;
});
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, $_) for qw(big within);
is($dest->safe_psql('postgres', 'SELECT command, outcome FROM flo.ddl_log ORDER BY id'), join("\n",
	'ALTER TABLE big ADD w int|applied', 'ALTER TABLE big DROP v|applied',
	'CREATE TABLE within (id int PRIMARY KEY, v text)|applied'),
	'what was rolled back is not there');

# few rows around a statement are gathered for a set: those before it must not be written after it
$source->safe_psql('postgres', q{
	CREATE TABLE around (id int PRIMARY KEY, v text);
	INSERT INTO around VALUES (1, 'a'), (2, 'b'), (3, 'c');
	BEGIN;
	INSERT INTO around VALUES (4, 'low');
	UPDATE around SET v = 'changed' WHERE id = 1;
	DELETE FROM around WHERE id = 2;
	ALTER TABLE around ALTER v TYPE text USING upper(v);
	INSERT INTO around VALUES (5, 'stays low');
	COMMIT;
	BEGIN;
	INSERT INTO around VALUES (6, 'six');
	CREATE RULE around_none AS ON INSERT TO around DO ALSO NOTHING;
	COMMENT ON TABLE around IS 'a';
	ALTER TABLE around ADD w int DEFAULT 7;
	ALTER TABLE around ALTER w SET DEFAULT 8;
	INSERT INTO around VALUES (9, 'nine');
	COMMIT;
});
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 'around', 'rows before and after a statement of the same transaction');
is($dest->safe_psql('postgres', 'SELECT string_agg(v, chr(32) ORDER BY id) FROM around'),
	'CHANGED C LOW stays low six nine', 'each on its side of it');

$source->safe_psql('postgres', 'ALTER TABLE routed ADD v text; CREATE INDEX routed_v ON routed (v);
	CREATE INDEX CONCURRENTLY routed_c ON routed (v, id); INSERT INTO routed VALUES (1, 1)');
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', q{SELECT count(*) || ' ' || (SELECT count(*) FROM pg_indexes WHERE schemaname = 'there')
	FROM there.led WHERE v = '1'}), '1 3', 'a route leads DDL, too');
$source->safe_psql('postgres', 'ALTER TABLE mapped ALTER v SET DEFAULT 1');
$source->safe_psql('postgres', 'INSERT INTO mapped (id) VALUES (1)');
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', 'SELECT id, w FROM mapped'), '1|1', 'and maps its columns');

# --- events -----------------------------------------------------------------------------

my $dir = PostgreSQL::Test::Utils::tempdir();
$dest->safe_psql('postgres',
	qq{SELECT flo.create_worker('g', sink => 'file', worker_name => 'events',
	options => '{"directory": "$dir", "start": "latest"}')});
start_member($dest, 'g', 'events');
$source->safe_psql('postgres', q{CREATE TABLE told (id int PRIMARY KEY);
	ALTER TABLE told ADD "v ""ü" text DEFAULT 'é'; INSERT INTO told VALUES (1);
	CREATE INDEX CONCURRENTLY told_i ON told (id); DROP TABLE told});
wait_caught_up($source, $dest, 'g');
my @events = map { JSON::PP->new->utf8->decode($_) } map { split /\n/, slurp_file($_) } sort glob("$dir/*.jsonl");
is(join(' ', map { "$_->{Type}:$_->{Schema}.$_->{Table}" } @events),
	'DDL:public.told DDL:public.told INSERT:public.told DDL:public.told_i DDL:public.told',
	'one event for each statement, in order');
is($events[1]{Command}{tag} . ': ' . $events[1]{Command}{search_path}, 'ALTER TABLE: public', 'tag and search_path');
is($events[1]{Command}{text}, qq{ALTER TABLE told ADD "v ""\x{fc}" text DEFAULT '\x{e9}'}, 'text');
is($events[1]{Command}{tables}[0]{columns}[1]{name}, qq{v "\x{fc}}, 'the definition afterwards');
is_deeply($events[1]{Command}{objects}, [ { type => 'table', schema => 'public', name => 'told' } ], 'objects');
my %ids = map { $_->{Id} => 1 } @events;
is(scalar(keys %ids), 5, 'each has an Id');

# --- what the replicator reads in the catalogs, as they were at that point of WAL ----------

# The events whose statement's text begins so
sub told_of
{
	my ($text) = @_;
	return grep { $_->{Type} eq 'DDL' && index($_->{Command}{text}, $text) == 0 }
	  map { JSON::PP->new->utf8->decode($_) } grep { /"DDL"/ } map { split /\n/,
		slurp_file($_) } sort glob("$dir/*.jsonl");
}

$source->safe_psql('postgres', q{
	CREATE TABLE written (id int PRIMARY KEY, "a ""b" text DEFAULT '$8',
		twice int GENERATED ALWAYS AS (id * 2 + length("a ""b" || '$9''' || E'\\\\')) STORED,
		at timestamptz DEFAULT '2020-01-01 00:00+00');
	CREATE UNIQUE INDEX written_u ON written (id, lower("a ""b"), (id + twice));
	CREATE UNIQUE INDEX written_w ON written ((written IS NULL));
	CREATE INDEX written_i ON written (twice); COMMENT ON TABLE written IS 'a';
	DROP INDEX written_u; ALTER TABLE written RENAME TO renamed; ALTER TABLE renamed DROP "a ""b" CASCADE;
	DROP TABLE renamed});
wait_caught_up($source, $dest, 'g');
my ($table) = map { $_->{Command}{tables}[0] } told_of('CREATE TABLE written');
is($table->{columns}[2]{generated}, q{((id * 2) + length((("a ""b" || '$9'''::text) || '\\'::text)))},
	'an expression over columns');
is($table->{columns}[3]{default}, q{'2020-01-01 00:00:00+00'::timestamp with time zone}, 'a default');
($table) = map { $_->{Command}{tables}[0] } told_of('CREATE UNIQUE INDEX written_w');
is(join(' / ', map { join ', ', @{ $_->{columns} } } @{ $table->{keys} }),
	q{id / id, lower("a ""b"), ((id + twice)) / ((written.* IS NULL))}, 'keys');
is(join(' ', map { scalar @{ $_->{Command}{tables} } } told_of('CREATE INDEX written_i'),
	told_of('COMMENT ON TABLE written'), told_of('DROP TABLE renamed')), '0 0 0',
	'what leaves the table as it was, or nothing of it, tells none');
is(join(' ', map { $_->{Command}{tables}[0]{table} . ':' . @{ $_->{Command}{tables}[0]{columns} } . ':'
	  . @{ $_->{Command}{tables}[0]{keys} } }
		told_of('DROP INDEX'), told_of('ALTER TABLE written RENAME'), told_of('ALTER TABLE renamed DROP')),
		'written:4:2 renamed:4:2 renamed:2:2', 'each as it was afterwards');

# A statement that has begun in a piece of a transaction, while many of others begin and end
$source->safe_psql('postgres', q{CREATE TABLE other (id int PRIMARY KEY, v int);
	CREATE FUNCTION awaited() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_lock(1);
		PERFORM pg_advisory_unlock(1); RETURN 0; END $$;
	CREATE TABLE parted (id int, k int) PARTITION BY LIST ((k % 2));
	CREATE TABLE parted_0 PARTITION OF parted FOR VALUES IN (0);
	CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
	ALTER TABLE parted REPLICA IDENTITY FULL; ALTER TABLE parted_0 REPLICA IDENTITY FULL;
	ALTER TABLE parted_1 REPLICA IDENTITY FULL;
	INSERT INTO parted SELECT i, i FROM generate_series(1, 10) i});
my ($lock, $slow) = map { FloTest::Session->new($source) } 1 .. 2;
my $much = q{generate_series(1, 40000) i};
$lock->query('SELECT pg_advisory_lock(1)');
$slow->query('BEGIN');
$slow->send("SELECT i AS id, repeat('x', 500) AS v INTO slow FROM $much UNION ALL SELECT awaited(), 'last'");
wait_until($source, 'postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted},
	'the statement to be in its midst');
$source->safe_psql('postgres', join(';', map { "ALTER TABLE other ALTER v SET DEFAULT $_" } 1 .. 70));
wait_caught_up($source, $dest, 'g');
$lock->query('SELECT pg_advisory_unlock(1)');
$slow->result;
$slow->query('COMMIT');
wait_caught_up($source, $dest, 'g');
is(scalar(told_of('ALTER TABLE other')), 70, 'statements beside it are told');
is(join(' ', map { $_->{Command}{tables}[0]{columns}[1]{type} } told_of('SELECT i AS id')), 'text', 'and it is');

# What is decoded may be locked by the very transaction
$slow->query("BEGIN; LOCK TABLE parted; TRUNCATE parted_1;
	ALTER TABLE other ADD w int GENERATED ALWAYS AS (v + 1) STORED;
	INSERT INTO around SELECT i + 1000, repeat('x', 500), 1 FROM $much");
$source->safe_psql('postgres', 'INSERT INTO big VALUES (-1)');
ok(wait_caught_up($source, $dest, 'g'), 'others go on while it is open');
$slow->query('COMMIT');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, $_) for qw(parted other big around);
is(join(' ', map { $_->{Command}{tables}[0]{columns}[2]{generated} } told_of('ALTER TABLE other ADD')), '(v + 1)',
	'and its definition is told');

# What cannot be written down stops nobody
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g', 'postgres')});
wait_state($dest, 'g', 'postgres', 'stopped');
$source->safe_psql('postgres', q{ALTER SYSTEM SET max_stack_depth = '150kB'; SELECT pg_reload_conf()});
# the replicator has heard of that before the statement, and hears of no more until it has read it
$source->safe_psql('postgres', 'INSERT INTO other VALUES (3, 3)');
wait_caught_up($source, $dest, 'g', member => 'events');
$source->safe_psql('postgres', q{SET max_stack_depth = '6MB';
	SELECT 'ALTER TABLE other ADD deep int DEFAULT ' || repeat('1 + ', 3000) || '1' \gexec});
$source->safe_psql('postgres', q{SET max_stack_depth = '6MB'; INSERT INTO other VALUES (2, 2)});
ok(wait_caught_up($source, $dest, 'g', member => 'events'), 'a default too deep to be written down');
$source->safe_psql('postgres', 'ALTER SYSTEM RESET max_stack_depth; SELECT pg_reload_conf()');
is(join(' ', map { scalar @{ $_->{Command}{tables} } } told_of('ALTER TABLE other ADD deep')), '0',
	'is told without the definition');

done_testing();
