
# Lag, and what stands beside it in flo.status, while something is wrong: it counts
# from the oldest transaction that is not durable, or may not be, whoever does not
# run or is not heard.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.heartbeat_interval = '100ms'\npg_flo.restart_interval = '500ms'\nautovacuum = off\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);
my $n = 0;

sub insert { $source->safe_psql('postgres', 'INSERT INTO t VALUES (' . ++$n . ", 'x')"); }
sub both { my ($what) = @_; $_->safe_psql('postgres', $what) for $source, $dest; }

# Waits until flo.status of a group's member is so
sub shows
{
	my ($node, $member, $condition, $name) = @_;
	ok(wait_until($node, 'postgres',
		"SELECT EXISTS (SELECT FROM flo.status WHERE group_name = 'g' AND member = '$member' AND $condition)",
		"$member: $condition"), $name)
	  or diag(status_of($node, 'g', $member,
		"concat_ws(' | ', state, detail, lag, lag_bytes, pending_bytes, source_seen_at, last_error)"));
}

# From what moment lag counts, at each of some looks; one and the same, unless a clock is read twice
sub counts_from
{
	my ($node, $member, $looks) = @_;
	my $since = "extract(epoch FROM clock_timestamp() - lag)::numeric(20, 1)";
	my @seen = map { status_of($node, 'g', $member, $since) || 0 } 1 .. $looks;

	@seen = sort { $a <=> $b } @seen;
	return $seen[-1] - $seen[0] < 0.3 ? $seen[0] : "different moments: @seen";
}
sub grows
{
	my ($node, $member, $name, $looks) = @_;
	my $from = counts_from($node, $member, $looks || 5);
	my $now = $node->safe_psql('postgres', 'SELECT extract(epoch FROM clock_timestamp())::numeric(20, 1)');

	like($from, qr/^[0-9.]+$/, "$name: lag counts from one moment");
	cmp_ok($now - ($from =~ /^[0-9.]+$/ ? $from : $now), '>', 0.2, "$name: and grows");
}
sub calm
{
	my ($name) = @_;
	shows($dest, 'postgres',
		"state = 'streaming' AND detail IS NULL AND lag = '0' AND pending_bytes = 0 AND lag_bytes = 0",
		"$name: the worker lacks nothing");
	shows($source, 'replicator', "state = 'streaming' AND lag = '0'", "$name: the replicator neither");
}

both('CREATE TABLE t (id int PRIMARY KEY, v text)');
create_group($source, $dest, 'g', tables => "'{t}'");
insert();
wait_caught_up($source, $dest, 'g');

# --- nothing is wrong ------------------------------------------------------------------

calm('idle');
my @heard = ($dest, 'postgres', "source_seen_at > clock_timestamp() - interval '1 s'", 'idle: the replicator is heard');
shows(@heard);
my $words = "concat_ws(' ', state, lag < '1 s', source_seen_at > clock_timestamp() - interval '2.4 s')";
my %seen;
for (1 .. 30)
{
	my $begun = time();
	my $seen = status_of($dest, 'g', 'postgres', $words);

	# a machine that stands still does so for the replicator, too
	if (time() - $begun < 1) { $seen{$seen} = 1; }
	else { shows(@heard); }
}
is(join(', ', sort keys %seen), 'streaming t t', 'idle: that does not flap');
is(status_of($source, 'g', 'replicator', 'source_seen_at IS NULL AND pending_bytes < 1000 AND dead_letters = 0'), 't',
	'idle: columns of the replicator');

# --- the worker ------------------------------------------------------------------------

# A lock: nothing is reported while it is waited for
my $session = FloTest::Session->new($dest);
$session->query('BEGIN');
$session->query('LOCK TABLE t');
insert();
shows($dest, 'postgres', "lag > '0.5 s' AND pending_bytes > 0 AND detail LIKE 'lock held by pid%'",
	'lock: lag and pending bytes');
grows($dest, 'postgres', 'lock');
$session->query('COMMIT');
calm('lock gone');

# Backoff: the same through all attempts
$dest->safe_psql('postgres', 'ALTER TABLE t ADD CHECK (id <> ' . ($n + 1) . ')');
insert();
insert() for 1 .. 5;
shows($dest, 'postgres', "state = 'backoff' AND restarts > 0", 'backoff');
shows($dest, 'postgres', "lag > '0.5 s' AND pending_bytes > 200 AND lag_bytes > 0",
	'backoff: lag, pending bytes, bytes of WAL');
my $from = counts_from($dest, 'postgres', 1);
my $restarts = status_of($dest, 'g', 'postgres', 'restarts');
shows($dest, 'postgres', "restarts > $restarts + 1", 'backoff: further attempts');
grows($dest, 'postgres', 'backoff', 30);
cmp_ok(abs(counts_from($dest, 'postgres', 1) - $from), '<', 0.3, 'backoff: still from the same moment');

# Stopped with something pending, which a restart of the server does not change
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
shows($dest, 'postgres', "state = 'stopped' AND lag > '0.5 s' AND pending_bytes > 200 AND lag_bytes > 0",
	'stopped behind: numbers stay');
$dest->restart;
cmp_ok(abs(counts_from($dest, 'postgres', 1) - $from), '<', 0.3, 'stopped behind: also over a restart');
is(status_of($dest, 'g', 'postgres', 'pending_bytes > 200 AND lag_bytes > 0'), 't',
	'stopped behind: the other numbers, too');
$dest->safe_psql('postgres', 'ALTER TABLE t DROP CONSTRAINT t_id_check');
start_member($dest, 'g', 'postgres');
calm('mended');

# Failed
$dest->safe_psql('postgres', q{SELECT flo.alter_worker('g', 'postgres', '{"on_error": "stop"}')});
wait_state($dest, 'g', 'postgres', 'streaming');
$dest->safe_psql('postgres', 'ALTER TABLE t ADD CHECK (id <> ' . ($n + 1) . ')');
insert();
# bytes only if it was told of them before it failed
shows($dest, 'postgres', "state = 'failed' AND lag > '0.5 s'", 'failed: lag stays');
grows($dest, 'postgres', 'failed');
$dest->safe_psql('postgres', 'ALTER TABLE t DROP CONSTRAINT t_id_check');
start_member($dest, 'g', 'postgres');
calm('mended');

# Stopped with nothing pending: something may be since
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
shows($dest, 'postgres', "state = 'stopped' AND lag > '0.5 s'", 'stopped: lag counts from when the source was heard');
grows($dest, 'postgres', 'stopped');
$dest->restart;
shows($dest, 'postgres', "state = 'stopped' AND lag > '1 s'", 'stopped: also over a restart');
start_member($dest, 'g', 'postgres');
calm('started');

# Switched off
$dest->append_conf('postgresql.conf', 'pg_flo.enabled = off');
$dest->reload;
shows($dest, 'postgres', "state = 'stopped' AND detail LIKE '%pg_flo.enabled%' AND lag > '0.5 s'",
	'pg_flo.enabled = off: lag goes on');
$dest->append_conf('postgresql.conf', 'pg_flo.enabled = on');
$dest->reload;
calm('switched on');

# A crash leaves nothing, and what is asked of the source is known at once
$dest->stop('immediate');
$dest->start;
calm('crashed');

# --- the source ------------------------------------------------------------------------

# Stopped by a person, which the worker learns at once
$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
shows($dest, 'postgres',
	"state = 'waiting' AND detail ~ '^for the replicator, which was stopped at 20..-' AND lag > '0.3 s'",
	'replicator stopped: the worker says so');
grows($dest, 'postgres', 'replicator stopped');
is($dest->safe_psql('postgres', q{SELECT hint FROM flo.check() WHERE detail LIKE 'waiting%'}),
	q{At the source: SELECT flo.start_group('g', 'replicator');}, 'replicator stopped: flo.check() knows the way out');
# it may have stopped before it has read of that
shows($source, 'replicator', "state = 'stopped' AND (lag = '0' OR lag_bytes < 1000)",
	'replicator stopped: nothing is committed there but its stop');
insert();
shows($source, 'replicator', "state = 'stopped' AND lag > '0.5 s'", 'replicator stopped: now something is');
grows($source, 'replicator', 'replicator stopped with a commit');
$dest->restart;
shows($dest, 'postgres',
	"state = 'waiting' AND detail LIKE 'for the replicator, which was stopped at%' AND lag > '0.5 s'",
	'replicator stopped: a worker that starts says so, too');
start_member($source, 'g', 'replicator');
calm('replicator started');

# Switched off there
$source->append_conf('postgresql.conf', 'pg_flo.enabled = off');
$source->reload;
shows($dest, 'postgres', "state = 'waiting' AND detail LIKE 'for the replicator, which was stopped at%'",
	'pg_flo.enabled = off at the source: the worker says so');
is($source->safe_psql('postgres', q{SELECT hint FROM flo.check() WHERE item LIKE 'member %'}),
	'See shared_preload_libraries and pg_flo.enabled in this list.', 'and flo.check() there, what to do');
$source->append_conf('postgresql.conf', 'pg_flo.enabled = on');
$source->reload;
calm('switched on at the source');

# It fails at a transaction, again and again
$source->safe_psql('postgres', q{INSERT INTO flo.rules (group_name, stage, table_name, column_name, action, arguments)
	VALUES ('g', 'replicator', 't', 'v', 'expression', '{"expression": "1 / (id * 0)"}')});
insert();
shows($dest, 'postgres',
	"state = 'waiting' AND detail LIKE 'for the replicator, which fails again and again%' AND lag > '0.5 s'",
	'replicator fails: the worker says so');
shows($source, 'replicator', 'restarts > 2', 'replicator fails: further attempts');
grows($dest, 'postgres', 'replicator fails', 30);
like($dest->safe_psql('postgres', q{SELECT hint FROM flo.check() WHERE detail LIKE 'waiting%'}),
	qr/^At the source: SELECT \* FROM flo.check\('g'\)/, 'replicator fails: flo.check() says where to look');
my $told = () = slurp_file($source->logfile) =~ /starting logical decoding for slot/g;
my $failed = status_of($source, 'g', 'replicator', 'restarts');
shows($source, 'replicator', "restarts > $failed + 1", 'replicator fails: further attempts');
is(scalar(() = slurp_file($source->logfile) =~ /starting logical decoding for slot/g), $told,
	'replicator fails: the log does not tell of each begin');
$source->safe_psql('postgres', 'DELETE FROM flo.rules');
calm('rule removed');

# A short restart there is none of our business; what is short goes by how often the source speaks
sub speak_every
{
	my ($interval) = @_;

	$source->append_conf('postgresql.conf', "pg_flo.heartbeat_interval = '$interval'");
	$source->reload;
}
sub speak_seldom
{
	speak_every('2s');
	my $since = $dest->safe_psql('postgres', 'SELECT clock_timestamp()');
	shows($dest, 'postgres', "source_seen_at > timestamptz '$since' + interval '3 s'", 'the source speaks less often');
}
speak_seldom();
my $since = status_of($dest, 'g', 'postgres', 'state_since');
$source->restart;
calm('source restarted');
is(status_of($dest, 'g', 'postgres', 'state_since'), $since, 'source restarted: the worker went on streaming');
speak_every('100ms');

# Shut down, and crashed
$source->stop('fast');
shows($dest, 'postgres',
	"state = 'waiting' AND detail ~ '^nothing heard from the .* since 20.*; its server was shut down' AND lag > '2 s'",
	'source shut down: nothing is heard');
grows($dest, 'postgres', 'source shut down');
$source->start;
calm('source back');
$source->stop('immediate');
shows($dest, 'postgres',
	"state = 'waiting' AND detail ~ '^nothing heard from the replicator since 20..-[-0-9:+ ]*\$' AND lag > '2 s'",
	'source crashed: nothing is heard');
$source->start;
calm('source back');

# The broker is away: nothing can be heard, and nothing published
$nats->kill9;
shows($dest, 'postgres', "state = 'waiting' AND detail LIKE 'for NATS%' AND lag > '0.5 s'",
	'no broker: the worker may lack something');
shows($source, 'replicator',
	"state IN ('waiting', 'backoff') AND last_error IS NOT NULL", 'no broker: the replicator knows');
is(status_of($source, 'g', 'replicator', 'lag'), '00:00:00', 'no broker: nothing is committed');
$source->safe_psql('template1', 'CREATE TABLE elsewhere ()');
is(status_of($source, 'g', 'replicator', 'lag'), '00:00:00', 'no broker: another database does not count');
insert();
shows($source, 'replicator', "lag > '0.5 s'", 'no broker: a commit does');
grows($source, 'replicator', 'no broker', 10);
$nats->start;
calm('broker back');

# One that says nothing: lag counts as soon as the worker waits for it
speak_seldom();
$nats->pause;
my $first;
await(sub {
		$first = status_of($dest, 'g', 'postgres', "state || CASE WHEN lag > '0' THEN ', late' ELSE ', not late' END");
		$first =~ /waiting/;
	}, 'the worker to miss its broker');
is($first, 'waiting, late', 'paused broker: lag from the beginning');
$nats->resume;
calm('broker goes on');
speak_every('100ms');

# The slot is lost
$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
shows($source, 'replicator', "state = 'stopped'", 'stopped');
$source->safe_psql('postgres', q{SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots});
insert();
$source->safe_psql('postgres', q{SELECT flo.start_group('g')});
shows($source, 'replicator', "state = 'failed' AND lag > '0.3 s'", 'slot lost: lag goes on');
shows($dest, 'postgres',
	"state = 'waiting' AND detail LIKE 'for the replicator, which has failed: lost slot: %' AND lag > '0.3 s'",
	'slot lost: the worker says so');
$source->safe_psql('postgres', q{SELECT flo.resync('g')});
calm('copied afresh');
shows($source, 'replicator', 'last_error IS NULL OR recovered_at > last_error_at', 'copied afresh: the error is over');
is_same_table($source, $dest, 't');

done_testing();
