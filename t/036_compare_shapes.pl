
# What flo.compare() finds where rows are not at the destination as they are at the
# source: through rules, routes, other types and partitions, and in tables without a
# key.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);

sub src { return $source->safe_psql('postgres', $_[0]); }
sub dst { return $dest->safe_psql('postgres', $_[0]); }

src(q{
	CREATE TYPE mood AS ENUM ('sad', 'happy');
	CREATE TABLE plain (id int PRIMARY KEY, v text, n numeric);
	CREATE TABLE kinds (id int, part text, b bool, y bytea, t timestamptz, j jsonb, f float8, m mood, a int[],
		d date, i interval, g int GENERATED ALWAYS AS (id + 1) STORED, PRIMARY KEY (id, part));
	CREATE TABLE bag (a int, b text); ALTER TABLE bag REPLICA IDENTITY FULL;
	CREATE TABLE masked (id int PRIMARY KEY, email text, ssn text);
	CREATE TABLE filtered (id int PRIMARY KEY, region text);
	CREATE TABLE renamed (id int PRIMARY KEY, old_name text, left_out text);
	CREATE TABLE moved (id int PRIMARY KEY, old_name text);
	CREATE SCHEMA eu; CREATE TABLE eu.orders (id int PRIMARY KEY, v text);
	CREATE SCHEMA us; CREATE TABLE us.orders (id int PRIMARY KEY, v text);
	CREATE TABLE parted (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (500);
	CREATE TABLE parted_2 (v text, id int NOT NULL);
	ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES FROM (500) TO (5000);
	CREATE TABLE whole (id int PRIMARY KEY, v text);
	CREATE TABLE wide (id int PRIMARY KEY, v varchar(20), n numeric(10, 2), k char(5));
	CREATE TABLE large (id int PRIMARY KEY, v text); ALTER TABLE large ALTER v SET STORAGE EXTERNAL;
	INSERT INTO plain SELECT i, CASE WHEN i % 7 > 0 THEN 'v' || i END, i / 3.0 FROM generate_series(1, 2000) i;
	INSERT INTO kinds SELECT i, 'p', i % 2 = 0, decode(md5(i::text), 'hex'),
		'2020-01-01'::timestamptz + i * interval '1 h', jsonb_build_object('a', i), i / 7.0, 'happy', ARRAY[i, NULL],
		'2020-01-01'::date + i, i * interval '1 s'
		FROM generate_series(1, 500) i;
	INSERT INTO bag SELECT i % 10, 'b' FROM generate_series(1, 200) i;
	INSERT INTO masked SELECT i, 'user' || i || '@example.com', 'XYZZY' || i FROM generate_series(1, 300) i;
	INSERT INTO filtered SELECT i, CASE WHEN i % 3 = 0 THEN 'EU' ELSE 'US' END FROM generate_series(1, 300) i;
	INSERT INTO renamed SELECT i, 'n' || i, 'x' FROM generate_series(1, 300) i;
	INSERT INTO moved SELECT i, 'n' || i FROM generate_series(1, 300) i;
	INSERT INTO eu.orders SELECT i, 'eu' FROM generate_series(1, 400, 2) i;
	INSERT INTO us.orders SELECT i, 'us' FROM generate_series(2, 400, 2) i;
	INSERT INTO parted SELECT i, 'p' || i FROM generate_series(1, 1000) i;
	INSERT INTO whole SELECT i, 'w' || i FROM generate_series(1, 1000) i;
	INSERT INTO wide SELECT i, 'w' || i, i, i::text FROM generate_series(1, 300) i;
	INSERT INTO large SELECT i, repeat(md5(i::text), 50000) FROM generate_series(1, 4) i;
});
dst(q{
	CREATE TYPE mood AS ENUM ('happy', 'sad', 'other');
	CREATE TABLE plain (n numeric, own text DEFAULT 'here', id int PRIMARY KEY, v text);
	CREATE TABLE kinds (id int, part text, b bool, y bytea, t timestamptz, j jsonb, f float8, m mood, a int[],
		d date, i interval, g int GENERATED ALWAYS AS (id + 2) STORED, PRIMARY KEY (id, part));
	CREATE TABLE bag (a int, b text);
	CREATE TABLE masked (id int PRIMARY KEY, email text, ssn text);
	CREATE TABLE filtered (id int PRIMARY KEY, region text);
	CREATE TABLE renamed (new_id bigint PRIMARY KEY, new_name text);
	CREATE TABLE moved_here (id int PRIMARY KEY, new_name text);
	CREATE TABLE orders (id int PRIMARY KEY, v text);
	CREATE TABLE parted (id int PRIMARY KEY, v text);
	CREATE TABLE whole (id int PRIMARY KEY, v text) PARTITION BY HASH (id);
	CREATE TABLE whole_1 PARTITION OF whole FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE whole_2 (v text, id int NOT NULL);
	ALTER TABLE whole ATTACH PARTITION whole_2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
	CREATE TABLE wide (id bigint PRIMARY KEY, v text, n numeric(10, 4), k text);
	CREATE TABLE large (id int PRIMARY KEY, v text);
});
src(q{SELECT flo.create_replicator('g', mode => 'copy_and_stream'); SELECT flo.start_group('g')});
dst(q{
	BEGIN;
	SELECT flo.create_worker('g');
	INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments) VALUES
		('g', 'masked', 'email', 'expression', '{"expression": "md5(email)"}'),
		('g', 'masked', 'ssn', 'mask', '{"keep_last": 2}'),
		('g', 'filtered', 'region', 'eq', '{"value": "EU"}');
	INSERT INTO flo.routes (group_name, source_schema, source_table, destination_schema, destination_table,
		column_mappings) VALUES
		('g', 'public', 'renamed', NULL, NULL, '{"id": "new_id", "old_name": "new_name", "left_out": null}'),
		('g', 'public', 'moved', NULL, 'moved_here', '{"old_name": "new_name"}');
	INSERT INTO flo.routes (group_name, source_schema, source_table, destination_schema, operations) VALUES
		('g', 'eu', 'orders', 'public', '{INSERT,UPDATE,DELETE}'),
		('g', 'us', 'orders', 'public', '{INSERT,UPDATE,DELETE}');
	SELECT flo.start_group('g');
	COMMIT;
});
wait_state($dest, 'g', 'postgres', 'streaming');
wait_caught_up($source, $dest, 'g');

# Compares, and returns what came of it: table, state, missing, extra, different
sub compare
{
	my ($arguments) = @_;
	my $id = src("SELECT flo.compare('g'" . ($arguments ? ", $arguments" : '') . ')');

	wait_until($source, 'postgres', "SELECT count(*) > 0 AND count(*) = count(finished_at) FROM flo.comparisons"
		  . " WHERE id = $id AND NOT EXISTS (SELECT FROM flo.compare_requests)", 'the comparison to be over');
	return ($id, src(<<"SQL"));
SELECT concat_ws(' ', table_name, state, missing, extra, different,
	CASE WHEN state NOT IN ('equal', 'different') THEN detail END)
FROM flo.comparisons WHERE id = $id ORDER BY table_name
SQL
}

my @tables = sort qw(plain kinds bag masked filtered renamed moved parted whole wide large);
my ($id, $found) = compare();
is($found, join("\n", 'eu.orders equal 0 0 0', (map { "public.$_ equal 0 0 0" } @tables), 'us.orders equal 0 0 0'),
	'nothing differs');
is(dst("SELECT string_agg(DISTINCT state, ' ') FROM flo.comparisons WHERE id = $id"), 'equal',
	'the destination says so, too');

# One of each kind, in all tables
dst(q{SET session_replication_role = replica;
	DELETE FROM plain WHERE id = 77; UPDATE plain SET v = '' WHERE id = 7; INSERT INTO plain VALUES (5, 'x', 5000);
	UPDATE plain SET own = 'another' WHERE id = 9;
	UPDATE plain SET n = 5, id = 5001 WHERE id = 5;
	DELETE FROM kinds WHERE id = 3; UPDATE kinds SET f = f + 1e-12 WHERE id = 4;
	UPDATE kinds SET m = 'sad' WHERE id = 5;
	UPDATE kinds SET a = ARRAY[6, 0] WHERE id = 6;
	DELETE FROM bag WHERE ctid IN (SELECT ctid FROM bag WHERE a = 3 LIMIT 2);
	INSERT INTO bag VALUES (4, 'b'), (4, 'c'), (NULL, NULL);
	UPDATE masked SET ssn = 'XYZZY1' WHERE id = 1; DELETE FROM masked WHERE id = 2;
	INSERT INTO masked VALUES (0, '', '');
	INSERT INTO filtered VALUES (1, 'US'); DELETE FROM filtered WHERE id = 3;
	UPDATE renamed SET new_name = 'other' WHERE new_id = 1; DELETE FROM renamed WHERE new_id = 2;
	INSERT INTO renamed VALUES (0, '');
	UPDATE moved_here SET new_name = NULL WHERE id = 1;
	DELETE FROM orders WHERE id IN (1, 2); UPDATE orders SET v = 'us' WHERE id = 3; INSERT INTO orders VALUES (0, 'eu');
	UPDATE parted SET v = 'x' WHERE id IN (499, 500); DELETE FROM whole WHERE id IN (1, 2, 3);
	INSERT INTO whole VALUES (0, 'w');
	UPDATE wide SET n = n + 0.0001 WHERE id = 1; UPDATE wide SET k = rtrim(k) WHERE id = 2;
	UPDATE large SET v = 'x' || substr(v, 2) WHERE id = 1; DELETE FROM large WHERE id = 2});
($id, $found) = compare();
is($found, join("\n", 'eu.orders different 2 1 1', 'public.bag different 2 3 0', 'public.filtered different 1 1 0',
	'public.kinds different 1 0 3', 'public.large different 1 0 1', 'public.masked different 1 1 1',
	'public.moved different 0 0 1', 'public.parted different 0 0 2', 'public.plain different 2 2 1',
	'public.renamed different 1 1 1', 'public.whole different 3 1 0', 'public.wide different 0 0 2',
	'us.orders different 0 0 0'), 'each difference is found, and nothing else')
  or diag(src("SELECT * FROM flo.comparison_samples WHERE id = $id ORDER BY table_name, kind"));
is(src(qq{SELECT key::text || ' ' || (source_row->>'ssn') || ' ' || (destination_row->>'ssn')
	FROM flo.comparison_samples WHERE id = $id AND table_name = 'public.masked' AND kind = 'different'}),
	'{"id": "1"} X***Y1 XYZZY1', 'a sample shows the row as rules make it');
is(src("SELECT bool_and(length(source_row->>'v') < 1100) FROM flo.comparison_samples"
	  . " WHERE id = $id AND table_name = 'public.large'"),
	't', 'and of a large value the beginning');
is(dst("SELECT count(*) FROM flo.comparison_samples WHERE id = $id"),
	src("SELECT count(*) FROM flo.comparison_samples WHERE id = $id"), 'both sides show the same samples');

# Repair, while rows change
src(q{INSERT INTO plain SELECT i, 'new', i FROM generate_series(3000, 3100) i;
	UPDATE plain SET v = 'u' WHERE id < 100;
	DELETE FROM masked WHERE id = 5; UPDATE eu.orders SET v = v || 'x'});
($id, $found) = compare('repair => true, repair_extra => true');
is(src("SELECT string_agg(DISTINCT state, ' ') FROM flo.comparisons WHERE id = $id AND table_name IN ("
	  . join(', ', map { "'public.$_'" } qw(plain kinds moved parted whole wide large)) . ')'),
	'repaired', 'differences are repaired')
  or diag(src("SELECT table_name, state, missing, extra, different, detail FROM flo.comparisons WHERE id = $id"));
wait_caught_up($source, $dest, 'g');
(undef, $found) = compare();
is($found, join("\n", 'eu.orders different 0 1 0', 'public.bag different 2 3 0', 'public.filtered different 0 1 0',
	(map { "public.$_ equal 0 0 0" } qw(kinds large)), 'public.masked different 0 1 0',
	(map { "public.$_ equal 0 0 0" } qw(moved parted plain)),
	'public.renamed different 0 1 0',
	(map { "public.$_ equal 0 0 0" } qw(whole wide)), 'us.orders different 0 0 0'),
	'what is left has no key, or is extra where the key here is not that of the source');

# a table with rules is defined otherwise, and no row of it has come since
$_->safe_psql('postgres', 'ALTER TABLE masked ADD more int') for $dest, $source;
is((compare())[1], $found, 'a definition that no row has told of yet changes nothing');

done_testing();
