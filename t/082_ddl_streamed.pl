
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

$source->safe_psql('postgres', 'CREATE TABLE big (id int PRIMARY KEY, v text); CREATE TABLE routed (id int PRIMARY KEY); CREATE TABLE mapped (id int PRIMARY KEY, v text)');
$dest->safe_psql('postgres', 'CREATE TABLE big (id int PRIMARY KEY, v text); CREATE SCHEMA there; CREATE TABLE there.led (id int PRIMARY KEY); CREATE TABLE mapped (id int PRIMARY KEY, w text)');
$source->safe_psql('postgres', q{SELECT flo.create_replicator('g', track_ddl => true)});
start_member($source, 'g', 'replicator');
$dest->safe_psql('postgres', q{
	SELECT flo.create_worker('g', options => '{"ddl_trust": "source"}');
	INSERT INTO flo.routes (group_name, source_table, destination_schema, destination_table) VALUES ('g', 'routed', 'there', 'led');
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
	'ALTER TABLE big ADD w int|applied', 'ALTER TABLE big DROP v|applied', 'CREATE TABLE within (id int PRIMARY KEY, v text)|applied'),
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
is($dest->safe_psql('postgres', 'SELECT string_agg(v, chr(32) ORDER BY id) FROM around'), 'CHANGED C LOW stays low six nine', 'each on its side of it');

$source->safe_psql('postgres', 'ALTER TABLE routed ADD v text; CREATE INDEX routed_v ON routed (v); CREATE INDEX CONCURRENTLY routed_c ON routed (v, id); INSERT INTO routed VALUES (1, 1)');
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', q{SELECT count(*) || ' ' || (SELECT count(*) FROM pg_indexes WHERE schemaname = 'there') FROM there.led WHERE v = '1'}), '1 3', 'a route leads DDL, too');
$source->safe_psql('postgres', 'ALTER TABLE mapped ALTER v SET DEFAULT 1');
$source->safe_psql('postgres', 'INSERT INTO mapped (id) VALUES (1)');
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', 'SELECT id, w FROM mapped'), '1|1', 'and maps its columns');

# --- events -----------------------------------------------------------------------------

my $dir = PostgreSQL::Test::Utils::tempdir();
$dest->safe_psql('postgres', qq{SELECT flo.create_worker('g', sink => 'file', worker_name => 'events', options => '{"directory": "$dir", "start": "latest"}')});
start_member($dest, 'g', 'events');
$source->safe_psql('postgres', q{CREATE TABLE told (id int PRIMARY KEY); ALTER TABLE told ADD "v ""ü" text DEFAULT 'é'; INSERT INTO told VALUES (1); CREATE INDEX CONCURRENTLY told_i ON told (id); DROP TABLE told});
wait_caught_up($source, $dest, 'g');
my @events = map { JSON::PP->new->utf8->decode($_) } map { split /\n/, slurp_file($_) } sort glob("$dir/*.jsonl");
is(join(' ', map { "$_->{Type}:$_->{Schema}.$_->{Table}" } @events),
	'DDL:public.told DDL:public.told INSERT:public.told DDL:public.told_i DDL:public.told', 'one event for each statement, in order');
is($events[1]{Command}{tag} . ': ' . $events[1]{Command}{search_path}, 'ALTER TABLE: public', 'tag and search_path');
is($events[1]{Command}{text}, qq{ALTER TABLE told ADD "v ""\x{fc}" text DEFAULT '\x{e9}'}, 'text');
is($events[1]{Command}{tables}[0]{columns}[1]{name}, qq{v "\x{fc}}, 'the definition afterwards');
is_deeply($events[1]{Command}{objects}, [ { type => 'table', schema => 'public', name => 'told' } ], 'objects');
my %ids = map { $_->{Id} => 1 } @events;
is(scalar(keys %ids), 5, 'each has an Id');

done_testing();
