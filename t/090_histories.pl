# Changes written as sets leave what changes applied one by one leave, which is
# what the source has: thousands of random transactions over tables of every
# kind (t/history_*.sql), into one database by a worker that gathers, and into
# another by one that does not (fire_triggers), live and as a backlog.

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
my $seed = $ENV{FLO_SEED} || time() % 100000;
my $rounds = $ENV{FLO_ROUNDS} || 8;
my $transactions = 400;
my %worker = (sets => 'gathering', strict => 'plain');

note "seed $seed; repeat with FLO_SEED=$seed";

my $tables = slurp_file("$FindBin::Bin/history_tables.sql");
my $make = slurp_file("$FindBin::Bin/history_make.sql");
my $differently = slurp_file("$FindBin::Bin/history_dest.sql");
$source->safe_psql('postgres', $tables . $make);
for my $db (sort keys %worker)
{
	$dest->safe_psql('postgres', "CREATE DATABASE $db");
	$dest->safe_psql($db, 'CREATE EXTENSION pg_flo');
	$dest->safe_psql($db, $tables . $differently . $make);
	$differently =~ s/CREATE ROLE app;//;
}
# with triggers on, a worker does not change identity columns
$source->safe_psql('postgres', q{DELETE FROM templates WHERE s LIKE '%SET id = DEFAULT%'});
my $names = $source->safe_psql('postgres', 'SELECT array_agg(DISTINCT t) FROM templates');
create_group($source, undef, 'g', tables => "'$names'");
$dest->safe_psql('sets', "SELECT flo.create_worker('g', worker_name => 'gathering')");
$dest->safe_psql('strict',
	q{SELECT flo.create_worker('g', worker_name => 'plain', options => '{"fire_triggers": true}')});
start_member($dest, 'g', $worker{$_}, $_) for sort keys %worker;

my $everything = 'SELECT t, count(*), sum(hashtextextended(r, 1)) FROM everything GROUP BY t ORDER BY t';
for my $round (1 .. $rounds)
{
	my $backlog = $round % 2 == 0;

	if ($backlog)
	{
		for my $db (sort keys %worker)
		{
			$dest->safe_psql($db, "SELECT flo.stop_group('g', '$worker{$db}')");
			wait_state($dest, 'g', $worker{$db}, 'stopped', $db);
		}
	}
	$source->safe_psql('postgres', "CALL history($transactions, 1.0 / (1 + $seed + $round))");
	if ($backlog)
	{
		start_member($dest, 'g', $worker{$_}, $_) for sort keys %worker;
	}
	my $want = $source->safe_psql('postgres', $everything);
	for my $db (sort keys %worker)
	{
		wait_caught_up($source, $dest, 'g', dest_db => $db, member => $worker{$db});
		is($dest->safe_psql($db, $everything), $want,
			"round $round" . ($backlog ? ' (backlog)' : '') . ": $db has what the source has");
	}
}

# What is refused as a set must fail as it does one by one, and be the failing
# change's own error: here the last of many
for my $db (sort keys %worker)
{
	$dest->safe_psql($db, 'TRUNCATE plain');
	$dest->safe_psql($db, 'ALTER TABLE plain ADD CONSTRAINT small CHECK (v IS NULL OR v < 1000000)');
}
$source->safe_psql('postgres', 'TRUNCATE plain');
$source->safe_psql('postgres', 'BEGIN; INSERT INTO plain SELECT g, g FROM generate_series(1, 500) g;
	UPDATE plain SET v = 1000000 WHERE id = 500; UPDATE plain SET v = 1 WHERE id = 500; COMMIT');
for my $db (sort keys %worker)
{
	wait_state($dest, 'g', $worker{$db}, 'backoff', $db);
	like(status_of($dest, 'g', $worker{$db}, 'last_error', $db),
		qr/violates check constraint "small".*UPDATE, table "public.plain"/s,
		"$db: a version that a later one replaces meets the check");
	$dest->safe_psql($db, 'ALTER TABLE plain DROP CONSTRAINT small');
}
for my $db (sort keys %worker)
{
	wait_caught_up($source, $dest, 'g', dest_db => $db, member => $worker{$db});
	is($dest->safe_psql($db, 'SELECT count(*), sum(v) FROM plain'), '500|124751',
		"$db: all is there once nothing objects");
}

# A unique index that only the destination has objects to an order of changes
# that one by one would be refused, too
$source->safe_psql('postgres', 'INSERT INTO extra VALUES (5000, 77) ON CONFLICT DO NOTHING;
	DELETE FROM extra WHERE id <> 5000');
for my $db (sort keys %worker)
{
	wait_caught_up($source, $dest, 'g', dest_db => $db, member => $worker{$db});
	$dest->safe_psql($db, 'CREATE UNIQUE INDEX only_here ON extra (v)');
}
$source->safe_psql('postgres', 'BEGIN; INSERT INTO extra SELECT g, g FROM generate_series(6000, 6010) g;
	INSERT INTO extra VALUES (5001, 77); DELETE FROM extra WHERE id = 5000; COMMIT');
for my $db (sort keys %worker)
{
	wait_state($dest, 'g', $worker{$db}, 'backoff', $db);
	like(status_of($dest, 'g', $worker{$db}, 'last_error', $db), qr/"only_here".*INSERT, table "public.extra"/s,
		"$db: the order of changes of different rows is kept");
	$dest->safe_psql($db, 'DROP INDEX only_here');
}

cmp_ok(status_of($dest, 'g', 'gathering', 'fallbacks', 'sets'), '>', 0, 'some sets had to be undone');
is(status_of($dest, 'g', 'plain', 'fallbacks', 'strict'), 0, 'without sets nothing is undone');

# What fits together is written as it is
wait_caught_up($source, $dest, 'g', dest_db => 'sets', member => 'gathering');
my $before = status_of($dest, 'g', 'gathering', 'fallbacks', 'sets');
for (1 .. 20)
{
	$source->safe_psql('postgres', 'BEGIN; DELETE FROM plain WHERE id <= 100;
		INSERT INTO plain SELECT g, 0 FROM generate_series(1, 100) g;'
		. 'UPDATE plain SET v = id; UPDATE plain SET v = v + 1;
			INSERT INTO plain SELECT g, 0 FROM generate_series(9001, 9010) g; DELETE FROM plain WHERE id > 9000;
			COMMIT');
}
wait_caught_up($source, $dest, 'g', dest_db => 'sets', member => 'gathering');
wait_until($dest, 'sets', "SELECT (SELECT max(id) FROM plain) = 500", 'the last of it');
is(status_of($dest, 'g', 'gathering', 'fallbacks', 'sets'), $before,
	'changes that follow from each other are no reason to undo');
is($dest->safe_psql('sets', 'SELECT count(*), sum(v) FROM plain'),
	$source->safe_psql('postgres', 'SELECT count(*), sum(v) FROM plain'), '... and come out right');
$_->stop for $source, $dest;
$nats->stop;
done_testing();
