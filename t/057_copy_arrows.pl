
# kill -9 at each step of a copy, of the copy that a generation begins with and
# of one that a marker asks for: nothing is lost and nothing comes twice, which
# a table without a key would show.

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
my $n = 0;
my $next = 100000;

$_->safe_psql('postgres', q{CREATE TABLE keyed (id int PRIMARY KEY, v text); CREATE TABLE keyless (a int, v text);
	ALTER TABLE keyless REPLICA IDENTITY FULL;
	CREATE TABLE large (id int PRIMARY KEY, v text)}) for $source, $dest;
$source->safe_psql('postgres', q{
	INSERT INTO keyed SELECT i, repeat(md5(i::text), 20) FROM generate_series(1, 3000) i;
	INSERT INTO keyless SELECT i % 100, repeat(md5(i::text), 20) FROM generate_series(1, 3000) i;
	ALTER TABLE large ALTER v SET STORAGE EXTERNAL;
	INSERT INTO large SELECT i, repeat(md5(i::text), 50000) FROM generate_series(1, 3) i});

sub write_some
{
	$next++;
	$source->safe_psql('postgres', "INSERT INTO keyed VALUES ($next, 'new'); INSERT INTO keyless VALUES ($next, 'new');
		UPDATE keyed SET v = 'changed' WHERE id = " . ($next - 100000)
		  . '; DELETE FROM keyed WHERE id = ' . ($next - 97500) . "; UPDATE keyless SET v = 'changed' WHERE a = "
		  . (($next - 100000) % 100));
}

# The process that comes to a point is killed there, and with it its server
sub killed_at
{
	my ($point, $node, $marked) = @_;
	my $group = 'k' . ++$n;
	my $name = ($marked ? 'marker, ' : '') . $point;

	$dest->safe_psql('postgres', 'TRUNCATE keyed, keyless, large');
	my $log_before = -s $node->logfile;
	if ($marked)
	{
		create_copy_group($source, $dest, $group, copy_workers => 2, worker_options => q{'{"loaders": 2}'});
		$node->append_conf('postgresql.conf', "pg_flo.stop_at = ''\n");
		halt_at($node, $point);
		$source->safe_psql('postgres', "SELECT flo.resync('$group', t) FROM unnest('{keyless, large}'::regclass[]) t");
	}
	else
	{
		halt_at($node, $point);
		create_copy_group($source, $dest, $group, wait => 0, copy_workers => 2, worker_options => q{'{"loaders": 2}'});
	}
	await_halt($node, $name) or die;
	my $pid = halted_pid($node, $point, $log_before) or die;
	write_some();
	kill('KILL', $pid) or die "kill $pid: $!";
	$node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)") or die;
	if ($marked)
	{
		wait_until($source, 'postgres', q{SELECT count(*) = 0 FROM flo.copy_requests}, "$name: the copy") or die;
	}
	wait_state($dest, $group, 'postgres', 'streaming');
	wait_state($source, $group, 'replicator', 'streaming');
	write_some();
	wait_caught_up($source, $dest, $group);
	is_same_table($source, $dest, $_, "$name: $_") for qw(keyed keyless large);
	$dest->safe_psql('postgres', "SELECT flo.drop_group('$group')");
	$source->safe_psql('postgres', "SELECT flo.drop_group('$group', purge_stream => true)");
}

killed_at($_, $source) for 'plan.before', 'range.before', 'chunk.after:3', 'range.after', 'copied.after',
	'published.after';
killed_at($_, $dest) for 'load.before:2', 'load.after', 'load.after:4', 'finish.before', 'finish.after';
killed_at($_, $source, 1) for 'chunk.after:2', 'copied.after', 'published.after';
killed_at($_, $dest, 1) for 'load.after:2', 'finish.before', 'finish.after';

$_->stop('fast') for $source, $dest;
done_testing();
