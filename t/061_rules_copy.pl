
# Rules and routes apply to copied rows exactly as to streamed ones, in the
# processes that read them and in those that load them.

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

my $types = q{CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');};
src($types . q{
	CREATE TABLE users (id int PRIMARY KEY, email text, age int, ssn text);
	CREATE TABLE moods (id int PRIMARY KEY, m mood, big text);
	ALTER TABLE moods ALTER big SET STORAGE EXTERNAL;
	CREATE TABLE none_pass (id int PRIMARY KEY, v text);
	CREATE SCHEMA eu; CREATE TABLE eu.orders (id int PRIMARY KEY, v text);
	CREATE SCHEMA us; CREATE TABLE us.orders (id int PRIMARY KEY, v text);
	INSERT INTO users SELECT i, 'user' || i || '@example.com', i % 50, 'XYZZY' || i FROM generate_series(1, 20000) i;
	INSERT INTO moods SELECT i, (ARRAY['sad', 'ok', 'happy']::mood[])[1 + i % 3], repeat('m', 3000 + i)
		FROM generate_series(1, 300) i;
	INSERT INTO none_pass SELECT i, 'x' FROM generate_series(1, 100) i;
	INSERT INTO eu.orders SELECT i, 'eu' FROM generate_series(1, 2000, 2) i;
	INSERT INTO us.orders SELECT i, 'us' FROM generate_series(2, 2000, 2) i;
});
dst('CREATE TABLE moved (a int); DROP TABLE moved;' . $types . q{
	CREATE TABLE customers (customer_id bigint PRIMARY KEY, email text, age int);
	CREATE TABLE moods (id int PRIMARY KEY, m mood, big text);
	CREATE TABLE none_pass (id int PRIMARY KEY, v text);
	CREATE TABLE orders (id int PRIMARY KEY, v text);
});

src(q{
	SELECT flo.create_replicator('g', mode => 'copy_and_stream', copy_workers => 2);
	INSERT INTO flo.rules (group_name, stage, table_name, column_name, action, arguments) VALUES
		('g', 'replicator', 'users', 'ssn', 'mask', '{"keep_first": 0, "keep_last": 2}'),
		('g', 'replicator', 'moods', 'm', 'ne', '{"value": "sad"}'),
		('g', 'replicator', 'none_pass', 'id', 'lt', '{"value": 0}');
	SELECT flo.start_group('g');
});
dst(q{
	BEGIN;
	SELECT flo.create_worker('g', options => '{"loaders": 2}');
	INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments) VALUES
		('g', 'users', 'email', 'expression', '{"expression": "md5(email) || right(ssn, 2)"}'),
			('g', 'users', 'age', 'gte', '{"value": 18}'),
		('g', 'moods', 'big', 'mask', '{}');
	INSERT INTO flo.routes (group_name, source_schema, source_table, destination_schema, destination_table,
		column_mappings, operations) VALUES
		('g', 'public', 'users', NULL, 'customers', '{"id": "customer_id", "ssn": null}',
			'{INSERT,UPDATE,DELETE,TRUNCATE}'),
		('g', 'eu', 'orders', 'public', NULL, '{}', '{INSERT,UPDATE,DELETE}'),
			('g', 'us', 'orders', 'public', NULL, '{}', '{INSERT,UPDATE,DELETE}');
	SELECT flo.start_group('g');
	COMMIT;
});
wait_state($dest, 'g', 'postgres', 'streaming');
is(status_of($dest, 'g', 'postgres', 'filtered'), '7200', 'copied rows that rules drop are counted where that is');
is(status_of($source, 'g', 'replicator', 'filtered'), '200', 'at the source, too');
src(q{INSERT INTO users VALUES (20001, 'streamed', 20, 'XYZZY1');
	UPDATE moods SET m = 'happy', big = 'mum' WHERE id = 3; DELETE FROM eu.orders WHERE id = 1});
wait_caught_up($source, $dest, 'g');

my $sum = 'count(*), sum(hashtextextended(t::text, 0))';
is(dst("SELECT $sum FROM customers t"),
	src("SELECT $sum FROM (SELECT id, md5(email) || right(ssn, 2), age FROM users WHERE age >= 18) t"),
	'a table renamed, filtered, transformed');
is(dst("SELECT $sum FROM (SELECT id, m, length(big) FROM moods WHERE id <> 3) t"),
	src("SELECT $sum FROM (SELECT id, m, length(big) FROM moods WHERE m <> 'sad' AND id <> 3) t"),
	'a type of users, and values out of line, filtered at the source');
is(dst(q{SELECT count(*) FROM moods WHERE big !~ '^m[*]*m$'}), 0, 'and masked here');
is(dst("SELECT $sum FROM orders t"),
	src("SELECT $sum FROM (SELECT * FROM eu.orders UNION ALL SELECT * FROM us.orders) t"), 'two tables into one');
is(dst('SELECT count(*) FROM none_pass'), 0, 'a table none of whose rows pass');
is(`grep -rla XYZZY '$nats->{dir}/store'`, '', 'no clear text in the broker\'s files');

# copied afresh, into the renamed table
src(q{SELECT flo.resync('g', 'users')});
src(q{UPDATE users SET age = 0 WHERE id <= 1000});
ok(wait_until($dest, 'postgres', q{SELECT count(*) = 1 FROM flo.copied_tables
	WHERE table_name = 'users' AND attempt > 1 AND finished_at IS NOT NULL}, 'the second copy'),
	'a table asked for while the first copy is still being wound up');
wait_caught_up($source, $dest, 'g');
is(dst('SELECT count(*) FROM customers WHERE customer_id > 1000'),
	src('SELECT count(*) FROM users WHERE age >= 18 AND id > 1000'),
	'a second copy empties the table that the route names');

# asked for once more while it is being copied: copied once more
my $leaders = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'pg_flo copy leader g%'";
wait_until($source, 'postgres', "SELECT (SELECT count(*) FROM flo.copy_requests) + ($leaders) = 0",
	'the second copy to be over') or die;
my $attempt = dst(q{SELECT attempt FROM flo.copied_tables WHERE table_name = 'users'});
dst(q{BEGIN; LOCK customers IN SHARE MODE; PREPARE TRANSACTION 'held'});
src(q{SELECT flo.resync('g', 'users')});
ok(wait_until($source, 'postgres', "SELECT ($leaders) = 1", 'the third copy to begin'), 'a third copy begins');
src(q{UPDATE users SET age = 0 WHERE id BETWEEN 1001 AND 2000; SELECT flo.resync('g', 'users')});
dst(q{COMMIT PREPARED 'held'});
ok(wait_until($dest, 'postgres', "SELECT count(*) = 1 FROM flo.copied_tables
	WHERE table_name = 'users' AND attempt = $attempt + 2 AND finished_at IS NOT NULL", 'the fourth copy'),
	'a table asked for while it is copied is copied once more');
ok(wait_until($source, 'postgres', 'SELECT count(*) = 0 FROM flo.copy_requests', 'no request to be left'),
	'and then no more');
wait_caught_up($source, $dest, 'g');
is(dst('SELECT count(*) FROM customers WHERE customer_id > 2000'),
	src('SELECT count(*) FROM users WHERE age >= 18 AND id > 2000'), 'with the rows of the last');

# a range that is broken off is not read again when rules apply: they may cut it otherwise
wait_state($source, 'g', 'replicator', 'streaming');
$attempt = dst(q{SELECT attempt FROM flo.copied_tables WHERE table_name = 'users'});
halt_at($source, 'chunk.after:2');
src(q{SELECT flo.resync('g', 'users')});
await_halt($source, 'the middle of a range') or die;
src("ALTER SYSTEM SET pg_flo.stop_at = ''");
$source->reload;
src('SELECT pg_terminate_backend(' . helper_pid($source, 'copier') . ')');
ok(wait_until($dest, 'postgres', "SELECT count(*) = 1 FROM flo.copied_tables
	WHERE table_name = 'users' AND attempt > $attempt + 1 AND finished_at IS NOT NULL", 'another copy'),
	'a copier that ends in a table with rules');
ok($source->log_contains('that may come out otherwise was broken off: it begins again'), 'has its copy begin again');
wait_caught_up($source, $dest, 'g');
is(dst("SELECT $sum FROM customers t"),
	src("SELECT $sum FROM (SELECT id, md5(email) || right(ssn, 2), age FROM users WHERE age >= 18) t"),
	'and the rows are those of one copy');
is(dst('SELECT count(*) FROM flo.shaped_tables'), 4, 'what it remembers of the tables');

# a table that a route sends to one which has rows of its own: neither's copy empties the other's
dst(q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
$_->safe_psql('postgres', 'CREATE TABLE own (id int PRIMARY KEY); CREATE TABLE routed (id int PRIMARY KEY)')
  for $source, $dest;
src('INSERT INTO own VALUES (1), (2); INSERT INTO routed VALUES (3), (4)');
src(q{SELECT flo.create_replicator('both', tables => '{own,routed}', mode => 'copy_and_stream');
	SELECT flo.start_group('both')});
dst(q{INSERT INTO flo.routes (group_name, source_table, destination_table) VALUES ('both', 'routed', 'own')});
dst(q{SELECT flo.create_worker('both', options => '{"copy_into": "truncate"}'); SELECT flo.start_group('both')});
for my $round (0 .. 5)
{
	my $since = dst('SELECT clock_timestamp()');

	if ($round > 0)
	{
		dst('DELETE FROM own');
		src(q{SELECT flo.resync('both')});
	}
	$since = 'epoch' if $round == 0;
	wait_until($dest, 'postgres', "SELECT count(*) = 2 AND min(finished_at) > '$since' FROM flo.copied_tables
		WHERE group_name = 'both'", 'both tables to be copied') or die;
	is(dst(q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM own}), '1 2 3 4',
		"rows of both tables, copied time $round");
}

$_->stop for $source, $dest;
done_testing();
