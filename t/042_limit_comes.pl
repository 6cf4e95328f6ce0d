
# An account gets a limit while a group runs in it: with nats-server that counts what it has
# refused, or stores it and removes it again, nothing may take the place of what was refused.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloNatsClient;
use FloTest;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

sub accounts
{
	my ($max) = @_;
	my $limits = $max ? "{ max_file: $max }" : 'enabled';
	return "accounts { A { jetstream: $limits, users: [ { user: test, password: test },"
	  . ' { user: pgflo, password: pgflo } ] } }';
}
my $nats = FloTest::Nats->new('broker', conf => accounts());
my $conf = "pg_flo.nats_user = 'pgflo'\npg_flo.nats_password = 'pgflo'\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);
my $json = JSON::PP->new->utf8;

sub src { return $source->safe_psql('postgres', $_[0]); }
sub used { return $nats->api('INFO')->{storage}; }
sub shows
{
	my ($node, $member, $pattern, $name) = @_;
	ok(wait_until($node, 'postgres', "SELECT EXISTS (SELECT FROM flo.status WHERE member = '$member'"
		  . " AND concat_ws(' ', state, detail) ~ '$pattern')", "$member to show $pattern"), $name)
	  or diag(status_of($node, 'g', $member, "concat_ws(' | ', state, detail, last_error)"));
}
# A limit that leaves so much room, while all are connected
sub leave_room
{
	my ($bytes) = @_;
	$nats->configure(accounts($bytes ? used() + $bytes : 0));
	$nats->reload;
}
# What everybody has done with would make room as it goes
sub trimmed
{
	await(sub { $nats->api('STREAM.INFO.pgflo_g_stream')->{state}{bytes} < 50_000 }, 'the stream to be trimmed')
	  or die;
}
# Both sides have asked what the account may keep since then
sub noticed
{
	my $client = FloNatsClient->new($nats->port);
	my $asked = 0;

	$client->subscribe('$JS.API.INFO');
	# the first may have been on its way before
	while ($asked < 3) { $asked++ if $client->next(20) // die 'nobody asks'; }
}

$_->safe_psql('postgres', q{
	CREATE FUNCTION noise(i int, n int) RETURNS text LANGUAGE sql IMMUTABLE AS
		$$ SELECT string_agg(md5(i || '.' || j), '') FROM generate_series(1, n) j $$;
	CREATE TABLE t (id int PRIMARY KEY, v text);
	ALTER TABLE t ALTER v SET STORAGE EXTERNAL;
	CREATE TABLE e (LIKE t INCLUDING ALL); ALTER TABLE e ALTER v SET STORAGE EXTENDED}) for $source, $dest;
create_group($source, $dest, 'g', options => q{'{"compression": "none"}'});
create_event_worker($dest, 'g', 'nats', 'nats', {});

# --- events -------------------------------------------------------------------------------------

my $id = 0;
my @taken;
sub take
{
	return if !defined $nats->last_seq('cdc_g');
	my @messages = FloNatsClient->new($nats->port)->stream('cdc_g');
	push @taken, map { $json->decode($_->{data})->{NewTuple}{id} } @messages;
	$nats->api('STREAM.PURGE.cdc_g', { seq => $messages[-1]{seq} + 1 }) if @messages;
}
# Large ones and small ones in turn: what is small fits where what is large does not
sub events_arrive
{
	my ($n, $limited, $name) = @_;
	my $to = $id + $n;
	my $lsn = src("INSERT INTO e SELECT i, repeat(md5(i::text), CASE WHEN i % 2 = 0 THEN 1 ELSE 6000 END)
		FROM generate_series($id + 1, $to) i; SELECT pg_current_wal_insert_lsn()");

	shows($dest, 'nats', '^waiting for room in stream', "$name: events wait for room") if $limited;
	ok(await(sub { take(); $dest->safe_psql('postgres', "SELECT flo.wait_for('g', '$lsn', '1 s', 'nats')") eq 't' },
		'events to get on'), "$name: they get on");
	take();
	is("@taken", join(' ', $id + 1 .. $to), "$name: each once, in order");
	@taken = ();
	$id = $to;
}

events_arrive(100, 0, 'no limit');
leave_room(3_000_000);
noticed();
events_arrive(100, 1, 'a limit');
leave_room(0);
noticed();
leave_room(3_000_000);
events_arrive(100, 1, 'a limit that nobody has noticed');
leave_room(0);

# --- the group's stream ------------------------------------------------------------------------------

sub synced
{
	my ($name) = @_;
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, 't', "$name: the same rows");
}
$dest->safe_psql('postgres', q{SELECT flo.drop_worker('g', 'nats')});
# behind the first chunks of a session several are under way
for (1 .. 6)
{
	src("INSERT INTO t VALUES (-$_, 'warm')");
	wait_caught_up($source, $dest, 'g');
}
my $restarts = status_of($source, 'g', 'replicator', 'restarts') . status_of($dest, 'g', 'postgres', 'restarts');
trimmed();
leave_room(150_000);
noticed();
src("INSERT INTO t SELECT i, noise(i, 100) FROM generate_series(1, 100) i");
shows($source, 'replicator', '^waiting broker full', 'a chunk waits for room');
leave_room(2_000_000);
synced('a limit');
is(status_of($source, 'g', 'replicator', 'restarts') . status_of($dest, 'g', 'postgres', 'restarts'), $restarts,
	'without a restart');

# --- before anybody has noticed ------------------------------------------------------------------------

# what was stored behind a refused chunk does not stay there: nobody would miss what is before it
leave_room(0);
src(q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
start_member($source, 'g', 'replicator');
for (1 .. 6)
{
	src("INSERT INTO t VALUES (-10 - $_, 'warm')");
	wait_caught_up($source, $dest, 'g');
}
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
trimmed();
leave_room(150_000);
$nats->pause;
src("INSERT INTO t VALUES (9000000 + $_, noise($_, " . ($_ == 1 ? 6000 : 10) . '))') for 1 .. 3;
my $since = time();
await(sub { time() - $since > 1 }, 'two chunks to be under way');
$nats->resume;
# what nats-server has stored behind the refused one for a moment only, it says too
ok(wait_until($source, 'postgres', q{SELECT count(*) > 0 FROM flo.status WHERE member = 'replicator'
	AND (detail ~ '^broker full' OR last_error ~ 'after it had refused')}, 'answers'), 'both are answered');
leave_room(0);
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
synced('at once');

$_->stop('fast') for $source, $dest;
done_testing();
