
# Copies of whole servers: a base backup that is started beside the living one, a
# destination at an earlier point in time, a source that was rewound.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
# what pg_rewind reads at either side is to be there when that comes
my $source = flo_node('source', $nats, conf => "wal_log_hints = on\nhot_standby = on\n"
	  . "wal_keep_size = 512MB\n");
my $dest = flo_node('dest', $nats, start => 0);
$dest->enable_archiving;
$dest->start;
$dest->safe_psql('postgres', 'CREATE EXTENSION pg_flo');
my $last = 0;

sub insert
{
	my ($node, $rows, $words) = @_;
	$node->safe_psql('postgres', "INSERT INTO t SELECT i, '$words' FROM generate_series($last + 1, $last + $rows) i");
	$last += $rows;
	return;
}

sub clone_of
{
	my ($node, $name, $conf) = @_;
	my $clone = PostgreSQL::Test::Cluster->new($name);

	$node->backup("for_$name");
	$clone->init_from_backup($node, "for_$name");
	$clone->append_conf('postgresql.conf', $conf) if $conf;
	$clone->start;
	return $clone;
}

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)') for $source, $dest;
insert($source, 1000, 'copied');
create_copy_group($source, $dest, 'g', tables => q{'{public.t}'});
wait_caught_up($source, $dest, 'g');

sub undisturbed
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	insert($source, 10, $name);
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, 't', "$name: the group goes on");
	is(status_of($source, 'g', 'replicator', 'restarts') . status_of($dest, 'g', 'postgres', 'restarts'), '00',
		"$name: undisturbed");
	return;
}

# --- a base backup of the source, started beside it ----------------------------------------------

sub set_heartbeat
{
	$source->append_conf('postgresql.conf', "pg_flo.heartbeat_interval = '$_[0]'");
	$source->reload;
	return;
}

# As long as nothing is written, by the server itself neither, neither WAL nor what was
# published tells the two apart; something may be: then there is another clone
my $purge = q{SELECT flo.drop_group('g', purge_stream => true)};
my ($clone, @said);
for my $n (1 .. 5)
{
	$source->safe_psql('postgres', 'VACUUM');
	my $writer = $source->safe_psql('postgres',
		q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'background writer'});
	pause_process($writer);
	$clone = clone_of($source, "clone$n");
	wait_state($clone, 'g', 'replicator', 'failed');
	like(status_of($clone, 'g', 'replicator', 'detail'), qr/^lost slot|^history diverged/,
		'a clone of the source fails');
	@said = error_of($clone, $purge);
	# from then on it is heard so seldom that nobody knows whether it lives
	set_heartbeat('20 s');
	await(sub { ($said[1] = error_of($clone, $purge)) !~ /another copy of this database publishes/ },
		'the setting to be told');
	# the clone's replicator begins again as its group stays after all, and has a word as well
	wait_state($clone, 'g', 'replicator', 'failed');
	$said[2] = error_of($clone, $purge);
	set_heartbeat('1 s');
	kill 'CONT', $writer;
	last if "@said" !~ /history diverged/;
	$clone->stop('fast');
}
like($said[0], qr/^55006: .*another copy of this database publishes/,
	'the stream of the one that publishes is not removed there');
like($said[1], qr/^55006: .*may publish to the stream, which would say so only every 40 s/,
	'nor of one that would not be heard');
like($said[2], qr/^55006/, 'also when the clone has said how often it would be');
undisturbed('a clone of the source');
like(error_of($clone, $purge), qr/^55006: .*history diverged/, 'nor when the two have parted');
is(error_of($clone, q{SELECT flo.drop_group('g')}), '', 'without the stream its group can be dropped');
$clone->stop('fast');
undisturbed('a clone of the source, dropped there');

# --- a base backup of the destination, started beside it ---------------------------------------

my $twin = clone_of($dest, 'twin', "pg_flo.enabled = off\narchive_mode = off\n");
is($twin->safe_psql('postgres', 'SELECT count(pid) FROM flo.status'), '0', 'a clone with pg_flo.enabled = off rests');
is(error_of($twin, q{SELECT flo.drop_group('g', force => true)}), '', 'and its group can be dropped');
$twin->stop('fast');
undisturbed('a clone of the destination');
is($source->safe_psql('postgres', q{SELECT count(*) FROM flo.stream_status('g')}), '1', 'its registration is there');

# --- the destination at an earlier point in time -----------------------------------------------

# another worker holds the stream, as one that is late would
$dest->safe_psql('postgres', 'CREATE DATABASE late');
$dest->safe_psql('late', q{CREATE EXTENSION pg_flo; CREATE TABLE t (id int PRIMARY KEY, v text);
	SELECT flo.create_worker('g', options => '{"start": "latest"}')});
start_member($dest, 'g', 'postgres', 'late');
insert($source, 10, 'held');
wait_caught_up($source, $dest, 'g', dest_db => 'late');
$dest->safe_psql('late', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped', 'late');
my $directory = PostgreSQL::Test::Utils::tempdir();
$dest->safe_psql('postgres',
	qq{SELECT flo.create_worker('g', sink => 'file', options => '{"directory": "$directory", "start": "latest"}')});
start_member($dest, 'g', 'file');
$dest->backup('early');
my $first = $last + 1;
insert($source, 100, 'kept') for 1 .. 3;
wait_caught_up($source, $dest, 'g');
my $point = $dest->safe_psql('postgres', q{SELECT pg_create_restore_point('point')});
insert($source, 100, 'undone') for 1 .. 3;
$source->safe_psql('postgres', q{UPDATE t SET v = v || '!' WHERE id % 3 = 0; DELETE FROM t WHERE id % 7 = 0});
wait_caught_up($source, $dest, 'g');
$dest->safe_psql('postgres', 'SELECT pg_switch_wal()');
$dest->stop('fast');

sub at_point
{
	my ($name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init_from_backup($dest, 'early', has_restoring => 1, standby => 0);
	$node->append_conf('postgresql.conf', "archive_mode = off\nrecovery_target_name = 'point'\n"
		  . "recovery_target_action = 'promote'\n");
	$node->start;
	wait_until($node, 'postgres', 'SELECT NOT pg_is_in_recovery()', 'the end of recovery') or die;
	return $node;
}
my $back = at_point('back');
wait_state($back, 'g', 'postgres', 'streaming');
wait_caught_up($source, $back, 'g');
is_same_table($source, $back, 't', 'a destination restored to an earlier point finds its place in the stream');
my %written;
$written{$_}++ for map { /"Type":"INSERT".*"NewTuple":\{"id":(\d+)/ ? $1 : () } map { split /\n/, slurp_file($_) }
  glob("$directory/*.jsonl");
is_deeply([ sort { $a <=> $b } keys %written ], [ $first .. $last ], 'so does its file, which has every event');
is_deeply([ grep { $written{$_} > 1 } keys %written ], [], 'once');
$back->safe_psql('late', q{SELECT flo.start_group('g')});
wait_state($back, 'g', 'postgres', 'streaming', 'late');
wait_caught_up($source, $back, 'g', dest_db => 'late');
is($back->safe_psql('late', 'SELECT count(*) FROM t') > 600 ? 1 : 0, 1, 'so does the one that was late');
insert($source, 10, 'all have this');
wait_caught_up($source, $back, 'g', dest_db => $_) for qw(postgres late);
is_same_table($source, $back, 't', 'and follows');
$back->safe_psql('late', q{SELECT flo.drop_group('g')});
$back->stop('fast');

# nobody needs it any more, and it is removed
$nats->api('STREAM.PURGE.pgflo_g_stream', { keep => 1 });
my $gone = at_point('gone');
wait_state($gone, 'g', 'postgres', 'failed');
like(status_of($gone, 'g', 'postgres', 'detail'), qr/^gap/, 'what the stream does not hold any more is missed');
$source->safe_psql('postgres', q{SELECT flo.resync('g')});
# until the source has begun anew it is failed as before
await(sub {
		$gone->safe_psql('postgres', q{SELECT flo.start_group('g')})
		  if status_of($gone, 'g', 'postgres', 'state') eq 'failed';
		$source->safe_psql('postgres', 'SELECT count(*) = 0 FROM flo.copy_requests') eq 't';
	}, 'the copy') or die;
wait_state($gone, 'g', 'postgres', 'streaming');
wait_caught_up($source, $gone, 'g');
is_same_table($source, $gone, 't', 'flo.resync() is the way out');
$dest = $gone;

# --- a source that was rewound --------------------------------------------------------------------

my $standby = PostgreSQL::Test::Cluster->new('standby');
$source->backup('for_standby');
$standby->init_from_backup($source, 'for_standby', has_streaming => 1);
$standby->start;
$source->wait_for_catchup($standby);
$standby->promote;
wait_state($standby, 'g', 'replicator', 'failed');
insert($source, 10, 'after the parting');
wait_caught_up($source, $dest, 'g');
$source->stop('fast');
$standby->safe_psql('postgres', q{SELECT flo.resync('g')});
$last += 1000;
insert($standby, 10, 'at the new primary');
wait_state($standby, 'g', 'replicator', 'streaming');
wait_until($standby, 'postgres', q{SELECT count(*) = 0 FROM flo.copy_requests}, 'the copy') or die;
wait_caught_up($standby, $dest, 'g');
is_same_table($standby, $dest, 't', 'the group goes on at the new primary');

$standby->safe_psql('postgres', 'CHECKPOINT');
command_ok([ 'pg_rewind', '--target-pgdata', $source->data_dir, '--source-server', $standby->connstr('postgres'),
	'--no-sync' ], 'pg_rewind');
$source->append_conf('postgresql.conf', 'port = ' . $source->port . "\n"
	  . q{primary_conninfo = '} . $standby->connstr . qq{'\n});
$source->set_standby_mode;
$source->start;
$standby->wait_for_catchup($source);
is($source->safe_psql('postgres', q{SELECT string_agg(state, ' '), count(pid) FROM flo.status}), 'stopped|0',
	'nothing runs at the rewound one');
is($source->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_slots'), '0', 'it has no slot that keeps WAL');
insert($standby, 10, 'with a rewound standby');
wait_caught_up($standby, $dest, 'g');
is_same_table($standby, $dest, 't', 'which does not touch the group');
$standby->wait_for_catchup($source);
$standby->stop('fast');
$source->promote;
wait_state($source, 'g', 'replicator', 'failed');
like(status_of($source, 'g', 'replicator', 'detail'), qr/^lost slot/, 'promoted again it has no slot');
$source->safe_psql('postgres', q{SELECT flo.resync('g')});
insert($source, 10, 'back');
wait_until($source, 'postgres', q{SELECT count(*) = 0 FROM flo.copy_requests}, 'the copy') or die;
wait_state($source, 'g', 'replicator', 'streaming');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'the group goes on at the old one');

$_->stop('fast') for $source, $dest;
done_testing();
