
# Workers that are to take in a copy of which there is nothing, or not all that
# was asked for: a group without tables, tables that are taken away before they
# are read.  Nobody waits for what does not come; and where the marker that asked
# for a copy has been purged, nobody takes that for a copy of nothing.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats, conf => "pg_flo.heartbeat_interval = '1s'\n");
my $dest = flo_node('dest', $nats);
my $tables = 'CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text)';

$_->safe_psql('postgres', $tables) for $source, $dest;
$source->safe_psql('postgres', q{INSERT INTO a VALUES (1, 'x'), (2, 'y'); INSERT INTO b SELECT * FROM a});

my $number = 0;

# Both kinds of sinks, in a database of their own; its name
sub workers
{
	my ($group) = @_;
	my $db = 'd' . ++$number;
	my $dir = PostgreSQL::Test::Utils::tempdir();

	$dest->safe_psql('postgres', "CREATE DATABASE $db");
	$dest->safe_psql($db, qq{CREATE EXTENSION pg_flo; $tables;
		SELECT flo.create_worker('$group');
		SELECT flo.create_worker('$group', sink => 'file', options => '{"start": "copy", "directory": "$dir"}');
		SELECT flo.start_group('$group')});
	return ($db, $dir);
}

sub events
{
	my ($dir) = @_;
	return join(' ', sort map { /"Type":"INSERT".*"Table":"(\w+)".*"NewTuple":\{"id":(\d+)/ ? "$1$2" : () }
		map { split /\n/, slurp_file($_) } glob("$dir/pg_flo_log_*.jsonl"));
}

# Both stream, and a restart changes nothing
sub both_stream
{
	my ($db, $group, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	for my $member (qw(postgres file))
	{
		ok(wait_until($dest, $db, "SELECT state = 'streaming' FROM flo.status WHERE member = '$member'",
			"$what: $member"), "$what: the $member worker streams") or return;
	}
	wait_caught_up($source, $dest, $group, dest_db => $db);
	ok(wait_until($dest, $db, 'SELECT NOT bool_or(copying) FROM flo.progress', 'the end of the copy'),
		"$what: none is taken to be copying");
}

sub drop_all
{
	my ($db, $group) = @_;

	$dest->safe_psql($db, "SELECT flo.drop_group('$group')");
	$dest->safe_psql('postgres', "DROP DATABASE $db");
	$source->safe_psql('postgres', "SELECT flo.drop_group('$group', purge_stream => true)");
}

# --- no tables at all ------------------------------------------------------------------------

for my $mode (qw(stream copy_and_stream))
{
	$source->safe_psql('postgres', "SELECT flo.create_replicator('e', tables => '{a}', mode => '$mode');
		SELECT flo.remove_table('e', 'a'); SELECT flo.start_group('e')");
	my ($db, $dir) = workers('e');
	both_stream($db, 'e', "$mode, no table");

	my $was = $source->safe_psql('postgres', 'SELECT generation FROM flo.generations');
	$source->safe_psql('postgres', q{SELECT flo.resync('e')});
	wait_until($source, 'postgres', "SELECT generation <> '$was' FROM flo.generations", 'another generation') or die;
	both_stream($db, 'e', "$mode, no table, after resync");
	my ($late, $late_dir) = workers('e');
	both_stream($late, 'e', "$mode, no table, workers made after resync");
	$source->safe_psql('postgres', q{SELECT flo.add_table('e', 'a')});
	wait_until($source, 'postgres', 'SELECT count(*) = 0 FROM flo.copy_requests', 'the table to be copied') or die;
	both_stream($late, 'e', "$mode, a table joins");
	is($dest->safe_psql($late, 'SELECT count(*) FROM a'), '2', "$mode: its rows are there");

	$dest->safe_psql($late, q{SELECT flo.drop_group('e')});
	$dest->safe_psql('postgres', "DROP DATABASE $late");
	drop_all($db, 'e');
}

$source->safe_psql('postgres', q{SELECT flo.create_replicator('o', tables => '{a}', mode => 'copy');
	SELECT flo.remove_table('o', 'a'); SELECT flo.start_group('o')});
my ($only) = workers('o');
ok(wait_until($dest, $only, q{SELECT bool_and(state = 'stopped') FROM flo.status}, 'the workers to rest'),
	'a copy of no table ends');
ok(wait_until($source, 'postgres', q{SELECT state = 'stopped' FROM flo.status}, 'the source to rest'),
	'at the source, too');
for my $side ([ $dest, $only, 'file postgres' ], [ $source, 'postgres', 'replicator' ])
{
	my ($node, $db, $members) = @$side;
	is($node->safe_psql($db, q{SELECT string_agg(member, ' ' ORDER BY member),
		bool_and(phase = 'complete' AND tables_total = 0 AND rows_done = 0 AND percent = 100 AND eta IS NULL
			AND finished_at IS NOT NULL) FROM flo.copy_summary('o')}), "$members|t",
				"$members: a copy of nothing is done");
	my @told = slurp_file($node->logfile) =~ /group "o": copy finished: 0 tables, 0 rows, 0 bytes in \d/g;
	is(scalar(@told), scalar(() = $members =~ /\w+/g), 'and told of once');
}
drop_all($only, 'o');

# --- taken away: before the marker, and between the marker and the snapshot -----------------------

for my $taken ([ 'a' ], [ 'a', 'b' ])
{
	for my $moment (qw(before between))
	{
		my $what = join(' and ', @$taken) . " taken away $moment";
		my $open = FloTest::Session->new($source);

		create_group($source, undef, 'w', tables => q{'{a, b}'});
		my $was = $source->safe_psql('postgres', 'SELECT generation FROM flo.generations');
		if ($moment eq 'before')
		{
			$source->safe_psql('postgres', q{SELECT flo.stop_group('w')});
			wait_state($source, 'w', 'replicator', 'stopped');
		}
		else
		{
			# the slot of the generation gets through, that of the copy does not
			halt_at($source, 'announce.after');
		}
		$source->safe_psql('postgres', q{SELECT flo.resync('w')});
		if ($moment eq 'between')
		{
			await_halt($source, 'the announcement') or die;
			$open->query(q{BEGIN; INSERT INTO b VALUES (-1, 'open')});
			my $pid = pid_of($source, 'w', 'replicator');
			kill 'TERM', $pid;
			wait_until($source, 'postgres', q{SELECT detail ~ 'open as a new snapshot is taken' FROM flo.status},
				'the snapshot to wait') or die;
		}
		my ($db, $dir) = $moment eq 'between' ? workers('w') : ();
		if ($moment eq 'between')
		{
			wait_until($dest, $db, q{SELECT bool_and(detail IS NOT NULL OR state = 'streaming') FROM flo.status},
				'the workers to look for it') or die;
		}
		$source->safe_psql('postgres', "SELECT flo.remove_table('w', '$_')") for @$taken;
		if ($moment eq 'before')
		{
			$source->safe_psql('postgres', q{SELECT flo.start_group('w')});
			wait_until($source, 'postgres', "SELECT generation <> '$was' AND NOT resync FROM flo.generations",
				'another generation') or die;
			wait_state($source, 'w', 'replicator', @$taken == 1 ? 'copying' : 'streaming');
			($db, $dir) = workers('w');
		}
		$open->query('ROLLBACK') if $moment eq 'between';
		both_stream($db, 'w', $what);
		wait_until($source, 'postgres', 'SELECT count(*) = 0 FROM flo.copy_requests',
			'all requests to be fulfilled') or die;
		my $left = @$taken == 1 ? '2' : '0';
		is($dest->safe_psql($db, 'SELECT count(*) FROM b'), $left, "$what: rows of what was left came");
		is(events($dir), @$taken == 1 ? 'b1 b2' : '', "$what: as events as well");
		$open->close;
		drop_all($db, 'w');
	}
}

# --- a marker that was purged is not one of no tables ---------------------------------------------

create_group($source, $dest, 'p', tables => q{'{a}'});
my $first = $source->safe_psql('postgres', 'SELECT generation FROM flo.generations');
$source->safe_psql('postgres', q{SELECT flo.resync('p')});
wait_until($source, 'postgres', "SELECT generation <> '$first' FROM flo.generations", 'another generation') or die;
wait_until($source, 'postgres', 'SELECT count(*) = 0 FROM flo.copy_requests', 'its copy') or die;
is($dest->safe_psql('postgres', 'SELECT count(*) FROM a'), '2', 'the worker that was there has the rows');
# an idle group: heartbeats, and no transaction that would move where one can enter
my $end = $nats->last_seq('pgflo_p_stream');
my $purged = await(sub {
		$source->safe_psql('postgres', q{SELECT pg_logical_emit_message(false, 'x', 'x')});
		$nats->api('STREAM.INFO.pgflo_p_stream')->{state}{first_seq} > $end;
	}, 'the marker to be purged');
ok($purged, 'the marker is purged');
my ($db) = workers('p');
for my $member (qw(postgres file))
{
	ok(wait_until($dest, $db, "SELECT state = 'waiting' AND detail ~ 'needs flo.resync' FROM flo.status
		WHERE member = '$member'", "$member to say what it needs"),
		"a $member worker that comes later says that it needs a copy");
}
$source->safe_psql('postgres', q{SELECT flo.resync('p')});
both_stream($db, 'p', 'after flo.resync()');
is($dest->safe_psql($db, 'SELECT count(*) FROM a'), '2', 'and it has the rows then');

$_->stop('fast') for $source, $dest;
done_testing();
