
# A copy of a destination's server that is started beside the living one: both run one worker,
# one of them is failed, and neither loses or doubles a row.  It goes without a trace of it in
# what the living group has at the broker.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloLife;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $last = 0;

sub insert { $last = live_on($source, $last, @_); return; }

sub same { my ($node, $name) = @_; return lives_same($source, $node, $name); }

make_life($source, $dest);
insert('copied');
create_copy_group($source, $dest, 'g', options => q{'{"keyless_tables": "insert_only"}'});
insert('streamed');
same($dest, 'at first');

# What may not change while a copy is dropped: all that is at the broker but positions
sub at_broker
{
	my $consumers = $nats->api('CONSUMER.LIST.pgflo_g_stream')->{consumers};
	my %streams = map { $_ => $nats->api("STREAM.INFO.$_") } $nats->streams;

	return {
		streams => { map { $_ => [ $streams{$_}{config}, $streams{$_}{created} ] } keys %streams },
		consumers => { map { $_->{name} => $_->{created} } @$consumers },
		registered => $source->safe_psql('postgres',
			q{SELECT consumer, worker_name, database FROM flo.stream_status('g') ORDER BY consumer})
	};
}

sub base_backup
{
	my ($name) = @_;
	$dest->backup($name);
	return;
}

sub cold_copy
{
	my ($name) = @_;

	$dest->stop('fast');
	$dest->backup_fs_cold($name);
	$dest->start;
	wait_state($dest, 'g', 'postgres', 'streaming');
	return;
}

sub is_failed { return status_of($_[0], 'g', 'postgres', 'state') eq 'failed'; }

# Started beside the living one, while rows come
sub started_beside
{
	my ($twin) = @_;
	my $name = $twin->name;

	$twin->start;
	await(sub { insert("beside $name"); is_failed($dest) || is_failed($twin) }, 'one of two to be failed') or die;
	my ($failed, $other) = is_failed($dest) ? ($dest, $twin) : ($twin, $dest);
	like(status_of($failed, 'g', 'postgres', 'detail'), qr/^another worker uses consumer/,
		"$name: both run one worker, one of them is failed");
	insert("$name: one goes on", 3);
	wait_state($other, 'g', 'postgres', 'streaming');
	same($other, "$name: the other one goes on");
	is($_->safe_psql('postgres', 'SELECT count(*) - count(DISTINCT a) FROM keyless'), '0', "$name: no row is doubled")
	  for $failed, $other;
	return;
}

# As the hint of that says
sub disabled
{
	my ($twin) = @_;
	my $name = $twin->name;

	$twin->append_conf('postgresql.conf', "pg_flo.enabled = off\n");
	$twin->reload;
	wait_until($twin, 'postgres', 'SELECT count(pid) = 0 FROM flo.status', 'the twin to rest') or die;
	$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
	return;
}

# Its groups are dropped, while the original runs and is ahead
sub dropped
{
	my ($twin) = @_;
	my $name = $twin->name;
	my $there = at_broker();
	my $restarts = status_of($dest, 'g', 'postgres', 'restarts');
	my $pid = pid_of($dest, 'g', 'postgres');
	my $lsn = $twin->safe_psql('postgres', q{SELECT max(remote_lsn) FROM pg_replication_origin_status});

	insert("beside $name, disabled");
	wait_caught_up($source, $dest, 'g');
	wait_until($source, 'postgres', "SELECT acked_lsn > '$lsn' FROM flo.stream_status('g') WHERE database = 'postgres'",
		'the original to be heard') or die;
	like(error_of($twin, q{SELECT flo.drop_group('g')}), qr/^55006: .*another copy of this database that runs it/,
		"$name: its group is not dropped in passing");
	is(error_of($twin, q{SELECT flo.drop_group('g', force => true)}), '', "$name: but with force");
	is_deeply(at_broker(), $there, "$name: what is at the broker stays");
	insert("$name is gone");
	same($dest, "$name: the living group goes on");
	is_deeply(at_broker(), $there, "$name: what is at the broker is the same");
	is(pid_of($dest, 'g', 'postgres'), $pid, "$name: undisturbed");
	$twin->stop('fast');
	return;
}

sub twin_of_dest
{
	my ($name, $make) = @_;
	my $twin = PostgreSQL::Test::Cluster->new($name);

	$make->($name);
	$twin->init_from_backup($dest, $name);
	return $twin;
}

# --- while the stream is held --------------------------------------------------------------------

# by a worker that is late: whoever is failed finds all it lacks
$source->safe_psql('postgres', 'CREATE DATABASE late');
$source->safe_psql('late', q{CREATE EXTENSION pg_flo;
	SELECT flo.create_worker('g', options => '{"start": "latest"}')});
start_member($source, 'g', 'postgres', 'late');
$source->safe_psql('late', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'postgres', 'stopped', 'late');

for ([ 'backup', \&base_backup ], [ 'files', \&cold_copy ])
{
	my $twin = twin_of_dest(@$_);

	insert('missed by ' . $twin->name, 3);
	started_beside($twin);
	disabled($twin);
	wait_state($dest, 'g', 'postgres', 'streaming');
	same($dest, $twin->name . ': the original goes on');
	dropped($twin);
}

# --- while nobody else needs the stream ----------------------------------------------------------

# what the twin takes alone is missed by the original, which is noticed
$source->safe_psql('late', q{SELECT flo.drop_group('g')});
my $twin = twin_of_dest('alone', \&base_backup);
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
my $lsn = status_of($dest, 'g', 'postgres', 'durable_lsn');
$twin->start;
wait_state($twin, 'g', 'postgres', 'streaming');
await(sub {
		insert('taken by one');
		$source->safe_psql('postgres', "SELECT first_lsn > '$lsn' FROM flo.stream_status('g')") eq 't';
	}, 'the stream to be released') or die;
same($twin, 'alone: it takes the place of the original');
disabled($twin);
wait_state($dest, 'g', 'postgres', 'failed');
like(status_of($dest, 'g', 'postgres', 'detail'), qr/^gap/, 'alone: what only it has taken is missed');
$source->safe_psql('postgres', q{SELECT flo.resync('g')});
# until the source has begun anew it is failed as before
await(sub {
		$dest->safe_psql('postgres', q{SELECT flo.start_group('g')}) if is_failed($dest);
		$source->safe_psql('postgres', 'SELECT count(*) = 0 FROM flo.copy_requests') eq 't';
	}, 'the copy') or die;
wait_state($dest, 'g', 'postgres', 'streaming');
same($dest, 'alone: flo.resync() is the way out');
dropped($twin);

# --- one that has what the original has, and does not reach the broker ---------------------------

my $apart = twin_of_dest('apart', \&base_backup);
my $there = at_broker();
my $pid = pid_of($dest, 'g', 'postgres');
$apart->append_conf('postgresql.conf', "pg_flo.enabled = off\npg_flo.nats_url = 'nats://127.0.0.1:1'\n");
$apart->start;
is(error_of($apart, q{SELECT flo.drop_group('g', force => true)}), '', 'apart: its group is dropped');
is_deeply(at_broker(), $there, 'apart: what is at the broker stays');
insert('apart is gone');
same($dest, 'apart: the living group goes on');
is(pid_of($dest, 'g', 'postgres'), $pid, 'apart: undisturbed');
$apart->stop('fast');

$_->stop('fast') for $source, $dest;
done_testing();
