
# A broker whose streams are restored from backups of each stream, beside what has gone
# on since: what is lost is said, what is not goes on, and a newer backup is a way out.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloNatsClient;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my ($stream, $bucket) = ('pgflo_g_stream', 'KV_pg_flo_state_g');
my $n = 0;
my @others = ();	# databases of further workers: who runs makes anew what it misses

sub src { return $source->safe_psql('postgres', $_[0]); }
sub dst { return $dest->safe_psql('postgres', $_[0]); }
sub shows
{
	my ($node, $member, $pattern, $name) = @_;
	ok(wait_until($node, 'postgres',
		"SELECT concat_ws(' ', state, detail) ~ '$pattern' FROM flo.status WHERE member = '$member'",
			"$member to show $pattern"), $name)
	  or diag(status_of($node, 'g', $member, "concat_ws(' | ', state, detail, last_error)"));
}
sub insert { src("INSERT INTO t SELECT i, repeat('x', 500) FROM generate_series($n + 1, $n + 20) i"); $n += 20; }
sub same
{
	my ($name) = @_;
	insert();
	wait_caught_up($source, $dest, 'g', member => 'postgres');
	is_same_table($source, $dest, 't', "$name: the same rows");
}
# What is published is in the broker alone
sub let_go
{
	my $lsn = src('SELECT pg_current_wal_lsn()');

	src(q{SELECT flo.wait_for('g')});
	ok(wait_until($source, 'postgres', "SELECT bool_and(confirmed_flush_lsn >= '$lsn') FROM pg_replication_slots",
		'the slot'), 'the WAL is released');
}
sub stop
{
	for my $node ($source, $dest)
	{
		$node->safe_psql('postgres', q{SELECT flo.stop_group('g')});
		ok(wait_until($node, 'postgres', q{SELECT bool_and(state = 'stopped') FROM flo.status}, 'the group to stop'),
			$node->name . ' stops');
	}
	for my $database (@others)
	{
		$dest->safe_psql($database, q{SELECT flo.stop_group('g')});
		wait_state($dest, 'g', 'postgres', 'stopped', $database);
	}
}
sub start
{
	$_->safe_psql('postgres', q{SELECT flo.start_group('g')}) for $source, $dest;
	$dest->safe_psql($_, q{SELECT flo.start_group('g')}) for @others;
}
sub backup { my $client = FloNatsClient->new($nats->port); return map { $client->backup($_) } @_; }

# As doc/operations.md says it, and the backup of each stream that is given is there instead
sub restored
{
	my (@backups) = @_;
	my $client = FloNatsClient->new($nats->port);

	stop();
	$nats->api("STREAM.DELETE.$_") for $stream, $bucket;
	$client->restore($_) for @backups;
	start();
}

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)') for $source, $dest;
create_group($source, $dest, 'g');
same('at first');

# --- what every worker has ------------------------------------------------------------------

my @first = backup($stream, $bucket);
same('since the backup');
let_go();
restored(@first);
same('both restored');
let_go();
restored($first[0]);
same('the stream alone');
let_go();
restored($first[1]);
same('the bucket alone');

# --- what a worker lacks --------------------------------------------------------------------

dst(q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
insert();
let_go();
# what an idle source publishes, too, has left its WAL: the backup has to hold the last of it
stop();
my @newer = backup($stream, $bucket);
restored(@first);
shows($source, 'replicator', '^failed gap: the stream ends at', 'an old backup: what is lost is said');
like(status_of($source, 'g', 'replicator', "concat_ws(' ', detail, last_hint)"),
	qr/worker "postgres" of database "postgres" lacks them Restore a newer backup.*flo\.resync/,
	'to whom, and what to do');
restored(@newer);
same('a newer one is the way out');

# --- workers that came and went -------------------------------------------------------------

let_go();
my @before = backup($stream, $bucket);
dst(q{CREATE DATABASE two});
$dest->safe_psql('two', q{CREATE EXTENSION pg_flo; CREATE TABLE t (id int PRIMARY KEY, v text);
	SELECT flo.create_worker('g', options => '{"start": "earliest"}'); SELECT flo.start_group('g')});
wait_state($dest, 'g', 'postgres', 'streaming', 'two');
@others = ('two');
sub other_has
{
	ok(wait_until($dest, 'two', "SELECT max(id) = $n FROM t", 'the other worker'), $_[0])
	  or diag($dest->safe_psql('two', 'SELECT * FROM flo.status'));
}
same('another worker');
other_has('which has the newest, too');
let_go();
restored(@before);
same('a worker that is not in the backup');
other_has('goes on');
wait_until($source, 'postgres', q{SELECT EXISTS (SELECT FROM flo.stream_status('g') WHERE database = 'two')},
	'the other worker to have said so') or die;
my @both = backup($stream, $bucket);
@others = ();
$dest->safe_psql('two', q{SELECT flo.drop_group('g')});
same('without it');
let_go();
restored(@both);
shows($source, 'replicator', '^failed gap.*worker "postgres" of database "two" lacks them',
	'one that was dropped since the backup is in the way');
src(q{SELECT flo.drop_consumer('g', consumer) FROM flo.stream_status('g') WHERE database = 'two';
	SELECT flo.start_group('g')});
same('and dropped again');

# --- another generation ---------------------------------------------------------------------

my @old = backup($stream, $bucket);
dst('TRUNCATE t');
src(q{SELECT flo.resync('g')});
wait_state($source, 'g', 'replicator', 'streaming');
same('a resync');
let_go();
restored(@old);
same('the stream of an earlier generation');

$_->stop('fast') for $source, $dest;
done_testing();
