
# Tables that join a group with rows in them: they got a key, came from another
# schema, were attached as a partition.  Nothing is lost, nothing doubled.

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

sub both { my ($sql) = @_; $_->safe_psql('postgres', $sql) for $source, $dest; }
sub run { $source->safe_psql('postgres', $_) for @_; }

sub settled
{
	wait_until($source, 'postgres', 'SELECT count(*) = 0 FROM flo.copy_requests', 'the copies to be in');
	wait_caught_up($source, $dest, 'g');
}

sub same
{
	my @tables = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_same_table($source, $dest, $_) for @tables;
}

both('CREATE SCHEMA other; CREATE TABLE public.first (id int PRIMARY KEY)');
run(q{SELECT flo.create_replicator('g', schemas => '{public}', track_ddl => true)});
start_member($source, 'g', 'replicator');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g')});
start_member($dest, 'g', 'postgres');

# --- a key comes later ----------------------------------------------------------------------

run(q{CREATE TABLE made AS SELECT i AS id, repeat('x', 3000) || i AS v FROM generate_series(1, 100) i},
	q{INSERT INTO made VALUES (101, 'by itself')},
	q{UPDATE made SET v = 'changed' WHERE id < 10});
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM made'), '0', 'without a key only the definition travels');
run(q{ALTER TABLE made ADD PRIMARY KEY (id)},
	q{UPDATE made SET v = v || '+' WHERE id % 3 = 0},
	q{DELETE FROM made WHERE id = 50},
	q{ALTER TABLE made ADD w int DEFAULT 3},
	q{INSERT INTO made VALUES (102, 'with the key', 1)});
settled();
same('made');

run(q{BEGIN; SELECT i AS id, 'i' AS v INTO into_it FROM generate_series(1, 50) i; INSERT INTO into_it VALUES (51, 'in');
	  SAVEPOINT a; ALTER TABLE into_it ADD PRIMARY KEY (id); ROLLBACK TO a; UPDATE into_it SET v = 'u' WHERE id < 5;
	  ALTER TABLE into_it ALTER id SET NOT NULL, ADD UNIQUE (id);
	  ALTER TABLE into_it REPLICA IDENTITY USING INDEX into_it_id_key;
	  INSERT INTO into_it VALUES (52, 'after the key'); DELETE FROM into_it WHERE id = 10; COMMIT});
run(q{INSERT INTO into_it VALUES (53, 'after the commit')});
kill9_member($dest, 'g', 'postgres');
settled();
same('into_it');

run(q{CREATE TABLE fleeting AS SELECT 1 AS id; ALTER TABLE fleeting ADD PRIMARY KEY (id);
	ALTER TABLE fleeting DROP CONSTRAINT fleeting_pkey});
run(q{INSERT INTO first VALUES (1)});
settled();
same('first');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM fleeting'), '0', 'a key that is gone again stops nothing');

run(q{CREATE UNLOGGED TABLE scratch (id int PRIMARY KEY, v text);
	INSERT INTO scratch SELECT i, 's' FROM generate_series(1, 20) i},
	q{ALTER TABLE scratch SET LOGGED}, q{UPDATE scratch SET v = 't' WHERE id = 1});
settled();
same('scratch');

# --- from another schema --------------------------------------------------------------------

run(q{CREATE TABLE other.moved (id int PRIMARY KEY, v text);
	INSERT INTO other.moved SELECT i, 'm' FROM generate_series(1, 100) i},
	q{ALTER TABLE other.moved SET SCHEMA public},
	q{UPDATE moved SET v = 'n' WHERE id < 50}, q{ALTER TABLE moved ADD w int},
	q{INSERT INTO moved VALUES (101, 'late', 1)});
ok(wait_until($dest, 'postgres', q{SELECT last_error ~ 'moved' FROM flo.status WHERE group_name = 'g'}, 'an error'),
	'a table that is not there: an error that names it');
$dest->safe_psql('postgres', 'CREATE TABLE moved (id int PRIMARY KEY, v text)');
settled();
same('moved');

# --- partitions -----------------------------------------------------------------------------

my $partitions = 0;
for my $via_root ('false', 'true')
{
	both(q{CREATE TABLE IF NOT EXISTS other.dummy (id int)});
	run(q{SELECT flo.alter_replicator('g', '{"publish_via_partition_root": true}')}) if $via_root eq 'true';
	my $p = 'parted_' . ++$partitions;
	run(qq{CREATE TABLE $p (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k)},
		qq{CREATE TABLE ${p}_1 PARTITION OF $p FOR VALUES IN (1)},
		qq{INSERT INTO $p SELECT i, 1, 'one' FROM generate_series(1, 10) i});
	wait_caught_up($source, $dest, 'g');

	# known to the group before, or its own partition until now: its rows are there
	run(qq{CREATE TABLE ${p}_2 (LIKE $p INCLUDING ALL); INSERT INTO ${p}_2 VALUES (1, 2, 'two');
		ALTER TABLE $p ATTACH PARTITION ${p}_2 FOR VALUES IN (2)},
		qq{ALTER TABLE $p DETACH PARTITION ${p}_1; INSERT INTO ${p}_1 VALUES (11, 1, 'alone');
			UPDATE ${p}_1 SET v = 'alone' WHERE id = 1},
		qq{ALTER TABLE $p ATTACH PARTITION ${p}_1 FOR VALUES IN (1); UPDATE $p SET v = v || '!' WHERE id < 4});
	is($source->safe_psql('postgres', 'SELECT count(*) FROM flo.copy_requests'), '0',
		"$via_root: nothing is copied that is there");
	wait_caught_up($source, $dest, 'g');
	same("${p}_1", "${p}_2");

	# from elsewhere, with rows; a partitioned one, too
	$dest->safe_psql('postgres', $_) for
	  qq{CREATE TABLE other.${p}_3 (id int, k int, v text, PRIMARY KEY (id, k))},
	  qq{CREATE TABLE other.${p}_4 (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY RANGE (id)},
	  qq{CREATE TABLE other.${p}_4a PARTITION OF other.${p}_4 FOR VALUES FROM (0) TO (100)};
	run(qq{CREATE TABLE other.${p}_3 (id int, k int, v text, PRIMARY KEY (id, k))},
		qq{INSERT INTO other.${p}_3 SELECT i, 3, repeat('three', 1000) FROM generate_series(1, 50) i},
		qq{CREATE TABLE other.${p}_4 (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY RANGE (id)},
		qq{CREATE TABLE other.${p}_4a PARTITION OF other.${p}_4 FOR VALUES FROM (0) TO (100)},
		qq{INSERT INTO other.${p}_4 SELECT i, 4, 'four' FROM generate_series(1, 50) i},
		qq{BEGIN; ALTER TABLE $p ATTACH PARTITION other.${p}_3 FOR VALUES IN (3);
			UPDATE $p SET v = v || '?' WHERE id < 20; DELETE FROM $p WHERE id = 40; COMMIT},
		qq{ALTER TABLE $p ATTACH PARTITION other.${p}_4 FOR VALUES IN (4);
			INSERT INTO $p VALUES (60, 3, 'new'), (60, 4, 'new'); UPDATE $p SET v = v || '.' WHERE id < 20},
		qq{ALTER TABLE $p ADD w int; UPDATE $p SET w = 1 WHERE id < 10});
	for my $table ("other.${p}_3", "other.${p}_4")
	{
		wait_until($dest, 'postgres', qq{SELECT reason LIKE 'table $table is not known%' FROM flo.pending_ddl
			WHERE decision IS NULL}, "$table is asked for");
		$dest->safe_psql('postgres', 'SELECT flo.release_ddl(id) FROM flo.pending_ddl WHERE decision IS NULL');
	}
	kill9_member($dest, 'g', 'postgres');
	settled();
	same("${p}_1", "${p}_2", "other.${p}_3", "other.${p}_4a");
	run(qq{UPDATE $p SET v = 'end'; DELETE FROM $p WHERE id = 5});
	settled();
	same("${p}_1", "${p}_2", "other.${p}_3", "other.${p}_4a");
}
is($dest->safe_psql('postgres', q{SELECT count(*) FROM flo.copied_tables WHERE expected IS NOT NULL}), '0',
	'nothing is waited for any more');
is($dest->safe_psql('postgres', q{SELECT conflicts FROM flo.status WHERE group_name = 'g'}), '0', 'no conflicts');

done_testing();
