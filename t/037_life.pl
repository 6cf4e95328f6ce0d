
# The life of a group as its log and flo.events tell it: one line for each change
# of a member's state, the same error not again and again, pauses that grow, what
# is known through restarts of the server.

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
my $dest = flo_node('dest', $nats, conf => "pg_flo.restart_interval = '4s'\n");
my $member = q{worker "postgres" of group "move"};

sub log_of { return slurp_file($_[0]->logfile); }

# Lines of the server's log with such words
sub lines_with
{
	my ($node, $words) = @_;
	return grep { /$words/ } split /\n/, log_of($node);
}

# What flo.events says of a member since its last so many events
sub events
{
	my ($node, $columns, $condition) = @_;
	return $node->safe_psql('postgres', "SELECT $columns FROM flo.events WHERE group_name = 'move' AND $condition");
}

sub saved { return $_[0]->safe_psql('postgres', 'SELECT count(*) FROM flo.event_log'); }

# --- a copy, the stream, a broker that is away ----------------------------------------------

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v int)') for $source, $dest;
$source->safe_psql('postgres', 'INSERT INTO t SELECT i, i FROM generate_series(1, 5000) i');
create_copy_group($source, $dest, 'move', tables => q{'{public.t}'});
$source->safe_psql('postgres', 'INSERT INTO t VALUES (5001, 0)');
wait_caught_up($source, $dest, 'move');

$nats->kill9;
wait_state($source, 'move', 'replicator', 'waiting');
wait_state($dest, 'move', 'postgres', 'waiting');
$nats->start;
wait_state($source, 'move', 'replicator', 'streaming');
wait_state($dest, 'move', 'postgres', 'streaming');
$source->safe_psql('postgres', 'INSERT INTO t VALUES (5002, 0)');
wait_caught_up($source, $dest, 'move');

is(scalar(lines_with($dest, qr/$member: streaming from \d+\/[0-9A-F]+$/)), 2, 'streaming is told once for each time');
is(scalar(lines_with($dest, qr/$member: waiting for NATS: /)), 1, 'that the broker is away is told once');
is(scalar(lines_with($source, qr/replicator of group "move": waiting for NATS: /)), 1, 'at the source, too');
is(events($dest, q{string_agg(state, ' ' ORDER BY at)},
	q{member = 'postgres' AND state NOT IN ('starting', 'waiting', 'copying')
	OR detail LIKE 'for NATS%'}), 'streaming waiting streaming', 'flo.events has the same');

is(scalar(grep { !/logical replication launcher/ } map { lines_with($_, qr/FATAL|exited with exit code/) } $source,
		$dest),
	0, 'and no process ends without having said why');

# --- a row that cannot be applied -----------------------------------------------------------

$dest->safe_psql('postgres', 'ALTER TABLE t ADD CHECK (v <> 666) NOT VALID');
$source->safe_psql('postgres', 'INSERT INTO t VALUES (1000000, 666)');
wait_until($dest, 'postgres', q{SELECT restarts >= 4 FROM flo.status WHERE member = 'postgres'}, 'four restarts');
is(scalar(lines_with($dest, qr/ERROR:.*violates check constraint/)), 1, 'the error is logged whole once');
is(scalar(lines_with($dest, qr/$member: backoff: see last_error; retry in 0.5 s: .*violates check/)), 1,
	'its first pause is told');
is(scalar(lines_with($dest, qr/$member: backoff: see last_error, the same 2 times in a row; retry in 1 s: /)), 1,
	'the pause doubles, and is told with the count');
is(scalar(lines_with($dest, qr/the same 3 times in a row/)), 0, 'that of the third is not');
is(scalar(lines_with($dest, qr/the same 4 times in a row; retry in 4 s/)), 1, 'that of the fourth is');
is(scalar(lines_with($dest, qr/$member: streaming/)), 2, 'what it does in between is not told');
is(scalar(lines_with($dest, qr/exited with exit code/)), 0, 'nor does the postmaster say anything');
is($dest->safe_psql('postgres',
	q{SELECT last_error ~ 'check constraint' AND last_error_at > coalesce(recovered_at, '-infinity')
	FROM flo.status WHERE member = 'postgres'}), 't', 'last_error without a later recovered_at: it is now');
is(events($dest, 'count(*) || min(sqlstate)', q{state = 'backoff'}), '323514', 'events know the error by its code');
like(events($dest, 'error', q{state = 'backoff' LIMIT 1}), qr/check constraint.*table "public.t"/s,
	'and where it happened');

$dest->safe_psql('postgres', 'ALTER TABLE t DROP CONSTRAINT t_v_check');
wait_caught_up($source, $dest, 'move');
wait_until($dest, 'postgres', q{SELECT recovered_at > last_error_at FROM flo.status WHERE member = 'postgres'},
	'to have recovered');
is(scalar(lines_with($dest, qr/$member: recovered after [4-9] retries in [\d.]+ s$/)), 1, 'that it recovered is told');
is(status_of($dest, 'move', 'postgres', 'state'), 'streaming', 'it streams');

# an error that has no more to do with the stream is over, too, when nothing is left to be done
my $pid = pid_of($dest, 'move', 'postgres');
$dest->safe_psql('postgres', 'ALTER TABLE t ADD CHECK (v <> 667) NOT VALID');
$source->safe_psql('postgres', 'INSERT INTO t VALUES (1000001, 667)');
wait_until($dest, 'postgres',
	q{SELECT count(*) = 2 FROM flo.events WHERE group_name = 'move' AND detail = 'see last_error; retry in 0.5 s'},
	'the pauses to begin anew');
my $lsn = $dest->safe_psql('postgres',
	q{SELECT substring(last_error FROM 'transaction at ([0-9A-F/]+)') FROM flo.status WHERE member = 'postgres'});
wait_until($dest, 'postgres', qq{SELECT flo.skip('move', 'postgres', '$lsn') IS NOT NULL}, 'to skip') if $lsn;
$dest->safe_psql('postgres', 'ALTER TABLE t DROP CONSTRAINT t_v_check');
wait_until($dest, 'postgres', q{SELECT recovered_at > last_error_at FROM flo.status WHERE member = 'postgres'},
	'to have recovered again');

# --- through restarts of the server ---------------------------------------------------------

$_->safe_psql('postgres', q{SELECT flo.stop_group('move')}) for $source, $dest;
wait_state($_->[0], 'move', $_->[1], 'stopped') for [$source, 'replicator'], [$dest, 'postgres'];
is(scalar(lines_with($dest, qr/$member: stopped$/)), 1, 'an end that was asked for is one line');
my $known = q{SELECT inserts, retries, restarts, last_error, last_error_at, recovered_at, received_lsn, durable_lsn
	FROM flo.status WHERE member = 'postgres'};
my $before = $dest->safe_psql('postgres', $known);
my $told = events($dest, 'count(*)', 'true');
my $saved = $dest->data_dir . '/pg_stat/pg_flo.stat';
$dest->stop;
my $written = slurp_file($saved);
is(sprintf('%o', (stat $saved)[2] & 07777), '600', 'what is saved, errors among it, is the server\'s alone');
$dest->start;
is($dest->safe_psql('postgres', $known), $before, 'what is known of a member outlives a restart of the server');
is(events($dest, 'count(*)', 'true'), $told, 'so do events');
wait_until($dest, 'postgres', "SELECT count(*) = $told FROM flo.event_log", 'all events to be written down');
is(events($dest, 'count(*)', 'true'), $told, 'each is there once');
kill 'KILL', $dest->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'pg_flo launcher'});
wait_until($dest, 'postgres', 'SELECT coalesce(sum(inserts), 0) = 0 FROM flo.status', 'the server to begin anew');
is(events($dest, 'count(*)', 'true'), $told, 'what is written down outlives a crash');
ok(!-e $saved, 'nothing old is left to be read');

# a file that is not what was written is none
my $flipped = $written;
substr($flipped, 300, 1) ^= "\x10";
my %broken = (empty => '', 'cut off' => substr($written, 0, -1), 'with a bit flipped' => $flipped,
	'too long' => "$written\0", strange => substr($written, 0, 40) . 'A' x (length($written) - 40),
	'something else' => 'pg_flo' x 10000);
for my $how (sort keys %broken)
{
	my $from = -s $dest->logfile;
	$dest->stop;
	open my $file, '>:raw', $saved or die "$saved: $!";
	print $file $broken{$how};
	close $file;
	$dest->start;
	is($dest->safe_psql('postgres', 'SELECT coalesce(sum(inserts), 0) + count(last_error) FROM flo.status'), '0',
		"a file that is $how is not read");
	is(events($dest, 'count(*)', 'true'), $told, 'nor are its events');
	like(substr(slurp_file($dest->logfile), $from), qr/LOG:  file "pg_stat\/pg_flo.stat" is not as it was written/,
		'which is told');
	ok(!-e $saved, 'and it is gone');
}

$_->safe_psql('postgres', q{SELECT flo.start_group('move')}) for $source, $dest;
$source->safe_psql('postgres', 'INSERT INTO t VALUES (1000002, 0)');
wait_caught_up($source, $dest, 'move');
wait_until($dest, 'postgres', 'SELECT inserts > 0 FROM flo.status', 'a row to be counted');
$dest->safe_psql('postgres', q{SELECT flo.stop_group('move')});
wait_state($dest, 'move', 'postgres', 'stopped');
wait_until($dest, 'postgres', 'SELECT count(*) = 0 FROM flo.unsaved_events()', 'events to be written down');
$dest->stop('immediate');
$dest->start;
is($dest->safe_psql('postgres', 'SELECT sum(inserts) FROM flo.status'), '0', 'an immediate stop is a crash');

# --- who sees what, and for how long --------------------------------------------------------

$dest->safe_psql('postgres', 'CREATE ROLE nobody; CREATE ROLE watcher; GRANT pg_monitor TO watcher;
	GRANT USAGE ON SCHEMA flo TO nobody, watcher');
for my $case (['nobody', 0], ['watcher', 1])
{
	my ($role, $sees) = @$case;
	my $rows = $dest->safe_psql('postgres',
		qq{SET ROLE $role; SELECT count(*) > 5, count(error) > 0, count(hint) FROM flo.events});
	like($rows, $sees ? qr/^t\|t/ : qr/^t\|f\|0/, "$role sees " . ($sees ? 'errors' : 'that something happened'));
}
like(error_of($dest, 'SET ROLE watcher; SELECT * FROM flo.event_log'), qr/42501/, 'the table behind it is not for all');

$dest->safe_psql('postgres', q{UPDATE flo.event_log SET at = at - interval '8 days'});
$dest->safe_psql('postgres', q{SELECT flo.start_group('move')});
wait_until($dest, 'postgres', q{SELECT count(*) > 0 AND min(at) > now() - interval '1 hour' FROM flo.event_log},
	'old events to go');

# --- a row that cannot be copied ------------------------------------------------------------

$_->safe_psql('postgres', 'CREATE TABLE c (id int PRIMARY KEY, v int)') for $source, $dest;
$source->safe_psql('postgres', 'INSERT INTO c SELECT i, i FROM generate_series(1, 1000) i');
$dest->safe_psql('postgres', 'ALTER TABLE c ADD CHECK (v <> 66)');
my $from = length log_of($dest);
create_copy_group($source, $dest, 'brought', tables => q{'{public.c}'}, wait => 0);
wait_until($dest, 'postgres', q{SELECT restarts >= 4 FROM flo.status WHERE group_name = 'brought'},
	'four restarts in a copy');
my $log = substr(log_of($dest), $from);
my @errors = $log =~ /ERROR: .*/g;
cmp_ok(scalar(@errors), '<=', 2, 'the error of a loader, and of the worker that it ended, is logged whole once')
	or diag(join("\n", @errors));
like($log, qr/the same 4 times in a row; retry in 4 s/, 'the pauses of a copy grow');
$dest->safe_psql('postgres', 'ALTER TABLE c DROP CONSTRAINT c_v_check');
wait_state($dest, 'brought', 'postgres', 'streaming');
wait_until($dest, 'postgres', q{SELECT recovered_at > last_error_at FROM flo.status WHERE group_name = 'brought'},
	'the copy to get on');
like(substr(log_of($dest), $from), qr/worker "postgres" of group "brought": recovered after \d+ retries/,
	'and that is told');
is_same_table($source, $dest, 'c', 'it is complete');

# --- a database that is dropped -----------------------------------------------------------

$dest->safe_psql('postgres', 'CREATE DATABASE gone');
$dest->safe_psql('gone', q{CREATE EXTENSION pg_flo; CREATE TABLE t (id int PRIMARY KEY, v int);
	SELECT flo.create_worker('move', options => '{"start": "latest"}'); SELECT flo.start_group('move')});
wait_until($dest, 'gone', q{SELECT count(*) > 1 FROM flo.events}, 'something to happen there');
# of a group that is gone before, and of its last moment
$dest->safe_psql('gone', q{SELECT flo.drop_group('move', force => true)});
$dest->safe_psql('postgres', 'DROP DATABASE gone WITH (FORCE)');
# the next round of writing down is about what is there; a process of the one before may still be coming
for my $state ('stopped', 'streaming')
{
	my $call = $state eq 'stopped' ? 'stop_group' : 'start_group';

	$from = length log_of($dest);
	my $since = $dest->safe_psql('postgres', "SELECT clock_timestamp() FROM flo.$call('brought')");
	wait_until($dest, 'postgres', "SELECT EXISTS (SELECT FROM flo.event_log
			WHERE group_name = 'brought' AND state = '$state' AND at >= '$since')",
		'the next events to be written down');
}
unlike(substr(log_of($dest), $from), qr/database \d+ does not exist/, 'nobody looks for it any more');

note($_) for map { s/^\S+ //r } lines_with($dest, qr/of group|FATAL|ERROR|exit code/);
note($_) for map { s/^\S+ //r } lines_with($source, qr/of group|FATAL|ERROR|exit code/);
$_->stop('fast') for $source, $dest;
done_testing();
