
# flo.backfill() with kill -9 at every arrow of either side, and of the broker: it is
# complete, and in files each row is there once.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloBackfill;
use FloEvents;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.restart_interval = '200ms'\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);
my $root = PostgreSQL::Test::Utils::tempdir();

mkdir "$root/$_" for qw(a b);
$source->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	INSERT INTO t SELECT i, repeat(md5(i::text), 46) FROM generate_series(1, 800) i;
});
create_group($source, undef, 'g');
create_event_worker($dest, 'g', 'file', 'a', { directory => "$root/a" });
create_event_worker($dest, 'g', 'file', 'b', { directory => "$root/b" });

my $n = 10000;

# Each row once, no event twice, and the change that came meanwhile after its row
sub is_exact
{
	my ($before, $rows, $name) = @_;
	my @lines = file_lines("$root/a");
	my $sent = grep { /"Snapshot":true/ } @lines;
	my ($last) = grep { /"NewTuple":\{"id":9,/ } reverse @lines;

	ok($sent - $before == $rows || $sent - $before == $rows + 1, "$name: each row once")
	  or diag(($sent - $before) . " of $rows rows");
	lines_are_exactly(\@lines, scalar(@lines), $name);
	like($last, qr/"v":"meanwhile $n"/, "$name: the last event of a row is what it is now");
}

# The worker is at the place, and has had the time to take rows that it should not take yet
sub await_loader
{
	await(sub { helper_pid($dest, 'loader g') ne '' }, 'a loader') or die;
	my $seen = q{SELECT last_seen FROM flo.stream_status('g') WHERE worker_name = 'a'};
	my $first = $source->safe_psql('postgres', $seen);
	wait_until($source, 'postgres', "SELECT ($seen) > '$first'", 'the worker to report') or die;
	is($dest->safe_psql('postgres', 'SELECT count(*) FROM flo.copied_chunks'), '0',
		'nothing is taken before all is there');
}

sub killed_at
{
	my ($point, $node, $loads) = @_;
	my $before = snapshots("$root/a");
	my $rows = $source->safe_psql('postgres', 'SELECT count(*) FROM t');
	my $log_before = -s $node->logfile;

	halt_at($node, $point);
	my $id = backfill($source, 't', 'a');
	await_halt($node, $point) or die;
	await_loader() if $loads;
	$n++;
	$source->safe_psql('postgres', "UPDATE t SET v = 'meanwhile $n' WHERE id = 9; INSERT INTO t VALUES ($n, 'new')");
	my $pid = halted_pid($node, $point, $log_before) or die;
	kill('KILL', $pid) or die "kill $pid: $!";
	$node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)") or die;
	is(wait_done($source, $id, $point), 'done', "$point: the backfill is complete");
	wait_caught_up($source, $dest, 'g', member => $_) for qw(a b);
	is_exact($before, $rows, $point);
}

killed_at($_, $source) for 'backfill.told', 'backfill.snapshot', 'backfill.marked', 'backfill.published';
killed_at($_, $source, 1) for 'chunk.after:3', 'backfill.read';
killed_at($_, $dest)
  for 'backfill.met', 'backfill.due', 'load.before:2', 'load.after:3', 'finish.before', 'finish.after';

# The broker, while rows are read, and while they are taken
for my $at ([ 'chunk.after:2', $source ], [ 'load.before:3', $dest ])
{
	my ($point, $node) = @$at;
	my $before = snapshots("$root/a");
	my $rows = $source->safe_psql('postgres', 'SELECT count(*) FROM t');
	my $log_before = -s $node->logfile;

	halt_at($node, $point);
	my $id = backfill($source, 't', 'a');
	await_halt($node, $point) or die;
	my $pid = halted_pid($node, $point, $log_before) or die;
	$nats->kill9;
	kill('KILL', $pid);			# unless it has noticed and is gone
	$node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)") or die;
	$nats->start;
	$n++;
	$source->safe_psql('postgres', "UPDATE t SET v = 'meanwhile $n' WHERE id = 9");
	is(wait_done($source, $id, "broker, $point"), 'done', "broker, $point: the backfill is complete");
	wait_caught_up($source, $dest, 'g', member => $_) for qw(a b);
	is_exact($before, $rows, "broker, $point");
}
is(snapshots("$root/b"), 0, 'another worker gets nothing');

$_->stop('fast') for $source, $dest;
done_testing();
