
# A group is led to another broker while the source is written to, back to one that
# holds what it was long ago, and its broker is restored from a backup.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @nats = map { FloTest::Nats->new("broker$_") } 1 .. 2;
my $source = flo_node('source', $nats[0]);
my $dest = flo_node('dest', $nats[0]);
my $stream = 'pgflo_g_stream';

transfer_tables($source, $dest);
$_->safe_psql('postgres', 'INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 100) i') for $source, $dest;
create_group($source, $dest, 'g');
my $load = transfer_load($source, rate => 200);

sub set
{
	my ($node, $setting, $value) = @_;
	$node->append_conf('postgresql.conf', "pg_flo.$setting = '$value'\n");
	$node->reload;
}
sub shows
{
	my ($node, $member, $pattern, $name) = @_;
	ok(wait_until($node, 'postgres', "SELECT concat_ws(' ', state, detail) ~ '$pattern' FROM flo.status",
			"$member to show $pattern"), $name);
}
sub moves { return $_[0]->safe_psql('postgres', 'SELECT coalesce(max(id), 0) FROM moves'); }
sub same
{
	my ($name) = @_;

	stop_load($load);
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, $_, "$name: $_") for qw(accounts moves);
	is($dest->safe_psql('postgres', 'SELECT sum(balance) FROM accounts'), '100000', "$name: the sum is what it was");
	$load = transfer_load($source, rate => 200);
}
# What was published up to now is in the broker alone
sub let_go
{
	my $lsn = $source->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');

	ok(wait_until($source, 'postgres', "SELECT confirmed_flush_lsn >= '$lsn' FROM pg_replication_slots", 'the slot'),
		'the WAL is released');
}
# As doc/operations.md says it: the source first, then each worker when it has everything
sub move_to
{
	my ($nats) = @_;

	let_go();
	set($source, 'nats_url', $nats->url);
	shows($source, 'replicator', '^waiting for workers to report: the broker holds nothing of this group',
		'the replicator waits at the other broker');
	my $published = status_of($source, 'g', 'replicator', 'durable_lsn');
	is($dest->safe_psql('postgres', "SELECT flo.wait_for('g', '$published')"), 't',
		'the worker has all of the old one');
	set($dest, 'nats_url', $nats->url);
	moves_arrive($source, $dest, 'another broker');
}
moves_arrive($source, $dest, 'at first');

# --- another broker -----------------------------------------------------------------------------

move_to($nats[1]);
same('another broker');
is(status_of($_->[0], 'g', $_->[1], 'restarts'), '0', "no error of the $_->[1]")
  for [ $source, 'replicator' ], [ $dest, 'postgres' ];

# Back to where the group once was: what lies there is of long ago, and goes first
is(scalar(grep { /_g/ } $nats[0]->streams), 2, 'the first broker has what it had');
$nats[0]->api("STREAM.DELETE.$_") for $stream, 'KV_pg_flo_state_g';
move_to($nats[0]);
same('back again');

# The worker first, by mistake: it lacks what is in the old broker only
$nats[1]->api("STREAM.DELETE.$_") for $stream, 'KV_pg_flo_state_g';
my $lock = FloTest::Session->new($dest);
$lock->query('BEGIN; LOCK TABLE moves');
ok(wait_until($source, 'postgres', q{SELECT pending_bytes > 50000 FROM flo.stream_status('g')}, 'a backlog'),
	'a worker that is behind');
let_go();
set($_, 'nats_url', $nats[1]->url) for $source, $dest;
# what it has in memory it would apply before it hears of that
$dest->safe_psql('postgres', 'SELECT pg_terminate_backend(' . pid_of($dest, 'g', 'postgres') . ')');
shows($source, 'replicator', '^failed gap: the stream ends at', 'led away too early: says what is lost');
$lock->query('COMMIT');
set($_, 'nats_url', $nats[0]->url) for $source, $dest;
$source->safe_psql('postgres', q{SELECT flo.start_group('g')});
moves_arrive($source, $dest, 'led back');
same('led back: nothing was lost');

# --- a broker restored from a backup ----------------------------------------------------------------

# All that is not there any more is still in the source's WAL, or in the destination
set($source, 'broker_sync_interval', '1h');
moves_arrive($source, $dest, 'before the backup');
$nats[0]->save_store;
moves_arrive($source, $dest, 'after the backup');
$lock->query('BEGIN; LOCK TABLE moves');
my $behind = moves($source);
ok(wait_until($source, 'postgres', "SELECT max(id) > $behind + 100 FROM moves", 'more load'), 'what no worker has');
$nats[0]->restore_store;
$lock->query('COMMIT');
moves_arrive($source, $dest, 'restored');
same('restored, with the WAL of since then');

$_->stop('fast') for $source, $dest;
done_testing();
