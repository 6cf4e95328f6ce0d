# What flo.status counts is what was done: what is undone with its transaction
# counts when it is done again, what was done just before an error, a SIGTERM or a
# lost broker is not forgotten, and the conflict that stops a worker counts.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.restart_interval = '300ms'\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);
my $directory = $dest->basedir . '/events';
my $n = 0;

sub src { return $source->safe_psql('postgres', $_[0]); }
sub dst { return $dest->safe_psql('postgres', $_[0]); }
sub counted
{
	my ($node, $member, @columns) = @_;
	return status_of($node, 'g', $member, join(" || ' ' || ", @columns));
}
# What a process ends with is handed in a moment after what it says of its end
sub conflicts_above
{
	my ($limit, $name) = @_;
	ok(wait_until($dest, 'postgres', "SELECT conflicts > $limit FROM flo.status WHERE member = 'postgres'",
		'the conflict to be counted'), $name);
}
# So is what is applied, after the position
sub is_counted
{
	my ($member, $columns, $expected, $name) = @_;
	my $value = join " || ' ' || ", split / /, $columns;

	wait_until($dest, 'postgres', "SELECT $value = '$expected' FROM flo.status WHERE member = '$member'", $columns);
	is(counted($dest, $member, split / /, $columns), $expected, $name);
}
sub no_halt { my ($node) = @_; $node->append_conf('postgresql.conf', "pg_flo.stop_at = ''\n"); $node->reload; }
sub stopped
{
	my ($node, $member) = @_;
	$node->safe_psql('postgres', "SELECT flo.stop_group('g', '$member')");
	wait_state($node, 'g', $member, 'stopped');
}

# Transactions of three rows each
sub transactions
{
	my ($count) = @_;
	src("DO \$\$ BEGIN FOR i IN 1 .. $count LOOP INSERT INTO t SELECT $n + i * 3 - g, 'v' FROM generate_series(0, 2) g;
		COMMIT; END LOOP; END \$\$");
	$n += 3 * $count;
}

mkdir $directory, 0700;
$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY, v text)')
  for $source, $dest;
create_group($source, $dest, 'g', worker_options => q{'{"on_conflict": "error", "on_missing": "error"}'});
$dest->safe_psql('postgres',
	"SELECT flo.create_worker('g', sink => 'file', worker_name => 'events',
	options => '{\"directory\": \"$directory\"}')");
start_member($dest, 'g', 'events');

# --- an error in the midst of a backlog -------------------------------------------------------

stopped($dest, 'postgres');
dst(q{INSERT INTO t VALUES (1000000, 'mine')});
transactions(40);
src(q{INSERT INTO t VALUES (1000000, 'theirs')});
transactions(10);
wait_caught_up($source, $dest, 'g', member => 'events');
dst(q{SELECT flo.start_group('g', 'postgres')});
wait_until($dest, 'postgres', q{SELECT last_error ~ 'transaction at' AND transactions = 40 FROM flo.status
	WHERE member = 'postgres'}, 'the worker to stop there') or die;
is(counted($dest, 'postgres', qw(transactions inserts)), '40 120',
	'what was committed before an error counts, once; what is undone does not');
conflicts_above(0, 'and the conflict that it stops at');
dst('DELETE FROM t WHERE id = 1000000');
wait_caught_up($source, $dest, 'g');
is_counted('postgres', 'transactions inserts', '51 151', 'in the end each counts once');

my $conflicts = counted($dest, 'postgres', 'conflicts');
dst(q{SELECT flo.alter_worker('g', 'postgres', '{"on_error": "stop"}'); DELETE FROM t WHERE id = 1});
src(q{UPDATE t SET v = 'x' WHERE id = 1});
wait_state($dest, 'g', 'postgres', 'failed');
conflicts_above($conflicts, 'a row that is missing is a conflict, at each attempt');
dst(q{INSERT INTO t VALUES (1, 'v'); SELECT flo.alter_worker('g', 'postgres', '{"on_error": null}');
	SELECT flo.start_group('g', 'postgres')});
wait_caught_up($source, $dest, 'g');
is_counted('postgres', 'transactions inserts updates', '52 151 1', 'and no update');

# --- SIGTERM, and a fast stop ------------------------------------------------------------------

halt_at($dest, 'commit.after');
transactions(1);
await_halt($dest, 'a commit') or die;
no_halt($dest);
stopped($dest, 'postgres');
stopped($dest, 'events');
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
wait_caught_up($source, $dest, 'g');
is_counted('postgres', 'transactions inserts', '53 154', 'what was committed just before SIGTERM counts');
is_counted('events', 'transactions inserts updates', '53 154 1', 'of a sink of events, too');

for my $point ('commit.before', 'apply.after:2')
{
	my ($transactions, $inserts) = split / /, counted($dest, 'postgres', qw(transactions inserts));

	halt_at($dest, $point);
	transactions(2);
	await_halt($dest, $point) or die;
	no_halt($dest);
	stopped($dest, 'postgres');
	stopped($dest, 'events');
	$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
	wait_caught_up($source, $dest, 'g');
	is_counted('postgres', 'transactions inserts', ($transactions + 2) . ' ' . ($inserts + 6),
		"$point: what was not committed counts when it is");
	is_counted('events', 'transactions inserts', ($transactions + 2) . ' ' . ($inserts + 6),
		"$point: of a sink of events, too");
}

# --- the source: an error, SIGTERM, a broker that goes away ---------------------------------------

src('INSERT INTO u VALUES (1), (2)');
wait_caught_up($source, $dest, 'g');
my $there = counted($dest, 'postgres', qw(transactions inserts updates));
ok(wait_until($source, 'postgres', "SELECT transactions || ' ' || inserts || ' ' || updates = '$there' FROM flo.status
	WHERE member = 'replicator'", 'the source to say the same'), 'both ends count the same');
for my $way ('lost broker', 'SIGTERM')
{
	my ($transactions, $inserts) = split / /, counted($source, 'replicator', qw(transactions inserts));

	halt_at($source, 'publish.before:3');
	src("INSERT INTO t SELECT $n + g, repeat('wide', 500) FROM generate_series(1, 3000) g");
	$n += 3000;
	await_halt($source, 'the middle of a transaction') or die;
	no_halt($source);
	if ($way eq 'lost broker')
	{
		# a halted process goes on at SIGTERM only: the broker is gone by then
		$nats->kill9;
		stopped($source, 'replicator');
		$nats->start;
	}
	else
	{
		stopped($source, 'replicator');
	}
	is(counted($source, 'replicator', qw(transactions inserts)), "$transactions $inserts",
		"$way: half a transaction does not count");
	src(q{SELECT flo.start_group('g', 'replicator')});
	wait_caught_up($source, $dest, 'g');
	wait_until($source, 'postgres', "SELECT inserts >= $inserts + 3000 FROM flo.status WHERE member = 'replicator'",
		'the rows to be counted') or die;
	is(counted($source, 'replicator', qw(transactions inserts)), ($transactions + 1) . ' ' . ($inserts + 3000),
		"$way: it counts when all of it is published");
}
is(counted($dest, 'postgres', qw(inserts)), counted($source, 'replicator', qw(inserts)), 'both ends count the same');

# --- a copy ---------------------------------------------------------------------------------------

$_->safe_psql('postgres', q{CREATE TABLE c (id int PRIMARY KEY, v text)}) for $source, $dest;
src(q{INSERT INTO c SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g});
wait_caught_up($source, $dest, 'g');
dst('ALTER TABLE c ADD CONSTRAINT small CHECK (id <> 15000) NOT VALID');
my $inserts = counted($dest, 'postgres', 'inserts');
src(q{SELECT flo.resync('g', 'c')});
wait_until($dest, 'postgres', q{SELECT last_error ~ 'small' FROM flo.status WHERE member = 'postgres'},
	'the copy to stop') or die;
dst('ALTER TABLE c DROP CONSTRAINT small');
wait_until($dest, 'postgres', q{SELECT count(*) = 1 FROM flo.copied_tables
	WHERE table_name = 'c' AND finished_at IS NOT NULL}, 'the copy to be in') or die;
wait_caught_up($source, $dest, 'g');
is(counted($dest, 'postgres', 'inserts'), $inserts + 20000, 'each copied row counts once, errors and all');

done_testing();
