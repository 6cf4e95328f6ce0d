
# The rules of the protocol that can be provoked from outside, one by one, with
# messages forged or replayed by hand.  The numbers are those of doc/protocol.md.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloChunk;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $stream = 'pgflo_g_stream';

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE unrelated (id int)')
  for $source, $dest;
create_group($source, $dest, 'g', tables => q{'{public.t}'});

my $id = 0;
sub insert { $id++; $source->safe_psql('postgres', "INSERT INTO t VALUES ($id, 'x')"); }
sub same { wait_caught_up($source, $dest, 'g'); is_same_table($source, $dest, 't', $_[0]); }
sub up { wait_until($_, 'postgres', 'SELECT true', $_->name) for $source, $dest; }
sub member_is { my ($node, $member, $state) = @_; wait_state($node, 'g', $member, $state); }

# The newest message that is a chunk (with rows, if asked), and its sequence
sub newest
{
	my ($with_rows) = @_;
	for (my $seq = $nats->last_seq($stream); $seq > 0; $seq--)
	{
		my $bytes = $nats->message($stream, $seq) // return;
		my $chunk = FloChunk->parse($bytes) or next;
		return ($chunk, $seq) if !$with_rows || !$chunk->is_heartbeat;
	}
}

sub log_since { my ($node, $from) = @_; return substr(slurp_file($node->logfile), $from); }

insert() for 1 .. 3;
same('to begin with');

# --- 17, 32: what is made at the broker -----------------------------------------------------

my $consumer = $source->safe_psql('postgres', q{SELECT consumer FROM flo.stream_status('g')});
my $config = $nats->api("CONSUMER.INFO.$stream.$consumer")->{config};
is_deeply([ @$config{qw(ack_policy deliver_policy max_deliver)} ], [ 'all', 'by_start_sequence', -1 ],
	'rule 17: how the consumer is made');
is($config->{max_ack_pending} // -1, -1, 'rule 17: any number of messages may be unacknowledged');
cmp_ok($config->{ack_wait} / 1e9, '>=', 3600, 'rule 17: no redelivery for hours');
$config = $nats->api("STREAM.INFO.$stream")->{config};
is_deeply([ @$config{qw(max_bytes max_age discard retention storage)} ], [ -1, 0, 'new', 'limits', 'file' ],
	'rule 32: no limit unless asked for');

# --- 1, 2: what stands in a message ------------------------------------------------------------

my ($chunk) = newest(1);
is($chunk->{system}, $source->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()'),
	'rule 1: system identifier');
is(unpack('H*', $chunk->{generation}), $source->safe_psql('postgres',
	q{SELECT replace(generation::text, '-', '') FROM flo.generations}), 'rule 1: generation');
is($chunk->{epoch}, $source->safe_psql('postgres', 'SELECT epoch FROM flo.generations'), 'rule 1: epoch');
{
	my ($previous, $broken) = (undef, 0);
	for my $seq (1 .. $nats->last_seq($stream))
	{
		my $bytes = $nats->message($stream, $seq) // next;
		my $c = FloChunk->parse($bytes);
		$broken++ if $previous && ($c->{from} != $previous->{upto} || $c->{upto} < $c->{from}
			  || $c->{position} < $c->{upto});
		$previous = $c;
	}
	is($broken, 0, 'rule 2: every chunk links to the one before');
}

# --- 3, 5, 6: a late message of an older session (F1) ---------------------------------------------

# Kept from this session, sent again in the next one: an INSERT that would be
# applied, since it links, if it counted
my $forge = sub {
	my ($epoch) = @_;
	my ($late) = newest(1);
	my ($end) = newest(0);

	$late->move_to($end->{upto}, $end->{position} + 16);
	$late->{epoch} = $epoch // $late->{epoch};
	$late->{records} =~ s/\x00\x00\x00\x01[xy]/\x00\x00\x00\x01y/ or die 'no row to change';
	return $late;
};
my ($old) = newest(1);
kill9_member($source, 'g', 'replicator');
up();
insert();
same('rule 8: a new session goes on where the stream ends');
($chunk) = newest(1);
cmp_ok($chunk->{epoch}, '>', $old->{epoch}, 'rule 3: a new connection is a new session');

# what is counted is handed in a moment after the position
sub counted { wait_until($dest, 'postgres', "SELECT sum(inserts) >= $_[0] FROM flo.status", 'rows to be counted'); }
counted($id);
my $conflicts = $dest->safe_psql('postgres', 'SELECT sum(inserts) FROM flo.status');
my $log = -s $source->logfile;
my $position = status_of($dest, 'g', 'postgres', 'received_lsn');
$nats->publish('pgflo.g', $forge->($old->{epoch})->bytes);
is($nats->last_seq($stream) > 0, 1, 'F1: a late message of the older session is stored');
insert();
same('rule 6: its successor is refused, and sent again in a new session');
like(log_since($source, $log), qr/the broker refused a chunk: wrong last sequence/,
	'rule 6: the refusal ends the session');
counted($conflicts + 1);
is($dest->safe_psql('postgres', 'SELECT sum(inserts) FROM flo.status'), $conflicts + 1,
	'rule 5: the late message is void: its row is not applied');
wait_state($dest, 'g', 'postgres', 'streaming');

# Resuming and attaching pass over void messages, too
$nats->publish('pgflo.g', $forge->($old->{epoch})->bytes) for 1 .. 2;
kill9_member($_->[0], 'g', $_->[1]) for [ $source, 'replicator' ], [ $dest, 'postgres' ];
up();
insert();
same('rules 5, 8, 20: void messages at the end of the stream are passed over at a start');

# What is no chunk at all is passed over with a warning
$log = -s $dest->logfile;
$nats->publish('pgflo.g', 'garbage');
insert();
same('rule 5: garbage in the stream does no harm');
like(log_since($dest, $log), qr/message \d+ of stream "$stream" is passed over: /, 'but is not passed over silently');

# --- 16: purging --------------------------------------------------------------------------------

insert() for 1 .. 10;
same('before purging');
ok(wait_until($source, 'postgres', q{SELECT messages < 12 FROM flo.stream_status('g')}, 'messages to be purged'),
	'rule 16: what all workers have is purged');
cmp_ok($nats->api("STREAM.INFO.$stream")->{state}{messages}, '>=', 5, 'rule 16: except W + 1 messages');

# --- 17, 18: the consumer is no evidence (F2) -----------------------------------------------------

$nats->api("CONSUMER.DELETE.$stream.$consumer");
insert();
same('F2: a consumer that is deleted by hand is made again');
member_is($dest, 'postgres', 'streaming');
$log = -s $dest->logfile;
halt_at($dest, 'ack.before');
insert() for 1 .. 3;
ok(await_halt($dest), 'F2: a worker dies before it acknowledges');
kill9_member($dest, 'g', 'postgres');
up();
insert() for 1 .. 3;
same('F2, rule 22: what was applied and not acknowledged is not applied again');

# --- 14, 25: heartbeats and batches without effect ------------------------------------------------

$source->safe_psql('postgres', 'INSERT INTO unrelated SELECT generate_series(1, 1000)');
my $lsn = $source->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
ok(wait_until($source, 'postgres', "SELECT bool_and(confirmed_flush_lsn >= '$lsn') FROM pg_replication_slots",
	'the slot'),
	'rules 12, 14: an idle group releases WAL by heartbeats');
ok(wait_until($dest, 'postgres', "SELECT flo.origin_position('g', 'postgres') >= '$lsn'", 'the origin'),
	'rule 25: the origin follows heartbeats within ten seconds');

# --- 22, 26: the origin ---------------------------------------------------------------------------

$dest->safe_psql('postgres', 'ALTER TABLE t ADD CONSTRAINT refused CHECK (id < 0) NOT VALID');
insert();
member_is($dest, 'postgres', 'backoff');
my $held = $dest->safe_psql('postgres', q{SELECT flo.origin_position('g', 'postgres')});
ok(wait_until($dest, 'postgres', q{SELECT restarts >= 3 FROM flo.status WHERE member = 'postgres'}, 'some attempts'),
	'several attempts fail');
is($dest->safe_psql('postgres', q{SELECT flo.origin_position('g', 'postgres')}), $held,
	'F7, rule 26: a failed apply does not move the origin');
$dest->safe_psql('postgres', 'ALTER TABLE t DROP CONSTRAINT refused');
same('F7: the row is applied once the cause is gone');

# --- 9, 11: the stream loses its end or everything (F3, F4) ---------------------------------------

$nats->api("STREAM.PURGE.$stream");
insert();
same('rule 9: an empty stream whose workers have everything goes on');
$nats->api("STREAM.DELETE.$stream");
insert();
same('rule 11: so does one that was deleted');

# The broker goes back to an older store; the worker has what is lost
$nats->save_store;
insert() for 1 .. 5;
same('before the broker loses them');
ok(wait_until($source, 'postgres',
	q{SELECT bool_and(acked_lsn >= (SELECT confirmed_flush_lsn FROM pg_replication_slots)) FROM flo.stream_status('g')},
	'reports'),
	'the worker has reported');
$nats->restore_store;
# its report is in the store, too, and went back with it: the worker writes it again
insert();
same('F3, rules 11, 21: data lost by the broker that all workers have is no loss');

# The same, with a worker that does not have it
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
member_is($dest, 'postgres', 'stopped');
$nats->save_store;
my $before = $source->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
insert() for 1 .. 3;
$source->safe_psql('postgres', q{SELECT flo.wait_for('g')});
$lsn = $source->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
ok(wait_until($source, 'postgres', "SELECT bool_and(confirmed_flush_lsn >= '$lsn') FROM pg_replication_slots",
	'the slot'), 'the WAL is released');
$nats->restore_store;
member_is($source, 'replicator', 'failed');
like(status_of($source, 'g', 'replicator', 'detail'),
	qr{^gap: the stream ends at [0-9A-F]+/[0-9A-F]+, transactions up to [0-9A-F]+/[0-9A-F]+ are lost},
	'F3, rule 11: lost data that a worker needs is failed, with the range');
is($source->safe_psql('postgres',
	q{SELECT (regexp_match(detail, 'ends at (\S+),'))[1]::pg_lsn <= (regexp_match(detail, 'up to (\S+) are'))[1]::pg_lsn
	FROM flo.status}),
	't', 'the range makes sense');
$source->safe_psql('postgres', q{SELECT flo.resync('g', copy => false)});
member_is($source, 'replicator', 'streaming');
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
$source->safe_psql('postgres', 'TRUNCATE t');
insert();
same('resync is the way out');

# A gap at the worker: purged by hand before it was applied
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
member_is($dest, 'postgres', 'stopped');
insert() for 1 .. 3;
$source->safe_psql('postgres', q{SELECT flo.wait_for('g')});
$nats->api("STREAM.PURGE.$stream");
insert();
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
member_is($dest, 'postgres', 'failed');
like(status_of($dest, 'g', 'postgres', 'detail'),
	qr{^gap: this worker has everything up to [0-9A-F]+/[0-9A-F]+, the stream goes on after [0-9A-F]+/[0-9A-F]+},
	'F4, rule 19: a stream that was purged by hand is a gap, with the range');
$source->safe_psql('postgres', q{SELECT flo.resync('g', copy => false)});
member_is($source, 'replicator', 'streaming');
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
$source->safe_psql('postgres', 'TRUNCATE t');
insert();
same('resync is the way out of that, too');

# --- 19: what no replicator writes ----------------------------------------------------------------

# Each forged message follows the newest one; what is in it must neither be applied nor move the position
sub record { return pack('N', length $_[0]) . $_[0]; }
sub worker_refuses
{
	my ($state, $change, $pattern, $name) = @_;

	# it stands still meanwhile: a heartbeat that is refused would have it begin a session after the forged message
	my $replicator = pid_of($source, 'g', 'replicator');
	pause_process($replicator);
	my ($end, $row) = ((newest(0))[0], (newest(1))[0]);
	my $held = status_of($dest, 'g', 'postgres', 'durable_lsn');
	my ($b, $c) = map { my ($type) = $_; my $in = $row->{records}; my $found;
		while (length $in) { my $n = unpack 'N', $in; $found = substr($in, 0, 4 + $n) if substr($in, 4, 1) eq $type;
			$in = substr($in, 4 + $n); } $found } 'B', 'C';

	$row->move_to($end->{upto}, $end->{position} + 16);
	@$row{qw(epoch number)} = ($end->{epoch}, $end->{number} + 1);
	$row->{txn_number} = $row->{number};
	$change->($row, $b, $c);
	my $restarts = status_of($dest, 'g', 'postgres', 'restarts');
	my $begun = time;
	my $seq = $nats->publish('pgflo.g', $row->bytes)->{seq};
	member_is($dest, 'postgres', $state);
	like(status_of($dest, 'g', 'postgres', $state eq 'failed' ? 'detail' : 'last_error'),
		qr/^message $seq of stream "$stream" $pattern/, $name);
	$restarts = status_of($dest, 'g', 'postgres', 'restarts') - $restarts;
	cmp_ok($restarts, '<=', 3 + 2 * (time - $begun), "$name: without haste");
	is($dest->safe_psql('postgres', "SELECT flo.origin_position('g', 'postgres') <= '$held'"), 't',
		"$name: the position stands");
	ok($nats->api("STREAM.MSG.DELETE.$stream", { seq => $seq })->{success}, 'the forged message can be deleted');
	kill 'CONT', $replicator;
	$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
	insert();
	same("$name: over");
}

insert();
same('before the forged ones');
worker_refuses('backoff', sub { my ($r) = @_; $r->{records} = substr($r->{records}, 4 + unpack('N', $r->{records})); },
	qr/breaks the protocol: .* outside a transaction/, 'rows without BEGIN');
worker_refuses('backoff', sub { my ($r, $b, $c) = @_; $r->{records} = substr($r->{records}, -30); },
	qr/breaks the protocol: a transaction ends that has not begun/, 'COMMIT without BEGIN');
worker_refuses('backoff', sub { my ($r) = @_; $r->{records} = substr($r->{records}, 0, 4 + unpack('N', $r->{records}))
	  . $r->{records}; },
	qr/breaks the protocol: a transaction begins within another/, 'BEGIN within a transaction');
worker_refuses('backoff', sub { my ($r) = @_; $r->{records} = substr($r->{records}, 0, -30); },
	qr/breaks the protocol: it does not end as its header says/, 'BEGIN without COMMIT');
worker_refuses('backoff', sub { my ($r) = @_; substr($r->{records}, -16, 8) = pack('Q>', $r->{upto} + 1000); },
	qr/breaks the protocol: its commits are not those that its header names/, 'a COMMIT elsewhere');
worker_refuses('backoff', sub { my ($r) = @_; $r->{upto} = $r->{position} = $r->{upto} + 1000; },
	qr/breaks the protocol: its commits are not those that its header names/, 'a header that promises more');
worker_refuses('backoff', sub { my ($r) = @_; $r->{records} .= 'xx'; },
	qr/breaks the protocol: something follows its last record/, 'remains');
worker_refuses('backoff', sub { my ($r) = @_; $r->{records} .= pack('N', 500) . 'I'; $r->{flags} |= 8; },
	qr/breaks the protocol: it does not end as its header says/, 'a split record outside a transaction');
worker_refuses('backoff', sub { my ($r) = @_; $r->{flags} |= 4; $r->{rest} = 10; },
	qr/breaks the protocol: it does not begin as its header says/, 'the rest of nothing');
worker_refuses('failed', sub { my ($r) = @_; $r->{flags} |= 1; $r->{txn_number}--; },
	qr/does not link: it goes on inside a transaction, as chunk \d+ of session \d+, after chunk \d+ of session \d+/,
	'inside of nothing');
worker_refuses('failed', sub { my ($r) = @_; $r->{flags} |= 1; $r->{txn_number} = 1; $r->{number} += 100; },
	qr/does not link/, 'far behind');
unlike(slurp_file($dest->logfile), qr/another worker uses/, 'none of it is taken for another worker');

# --- 29, 30: workers without a position -----------------------------------------------------------

insert() for 1 .. 10;
same('before a new worker');
ok(wait_until($source, 'postgres', q{SELECT first_lsn > (SELECT start_lsn FROM flo.generations)
	FROM flo.stream_status('g')}, 'history to be purged'), 'history is purged');
$dest->safe_psql('postgres', q{CREATE DATABASE late});
$dest->safe_psql('late', q{CREATE EXTENSION pg_flo; CREATE TABLE t (id int PRIMARY KEY, v text);
	SELECT flo.create_worker('g'); SELECT flo.start_group('g')});
wait_state($dest, 'g', 'postgres', 'waiting', 'late');
ok(wait_until($dest, 'late', q{SELECT detail ~ '^needs flo\.resync.*history purged: the stream begins after'
	FROM flo.status}, 'the reason'), 'rule 30: a new worker does not begin in the middle');
$dest->safe_psql('late', q{SELECT flo.drop_group('g')});
$dest->safe_psql('postgres', 'DROP DATABASE late');

$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
member_is($dest, 'postgres', 'stopped');
$dest->safe_psql('postgres', q{DELETE FROM flo.progress});
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
member_is($dest, 'postgres', 'failed');
like(status_of($dest, 'g', 'postgres', 'detail'), qr/is registered, but its position is not known here/,
	'rule 29: a lost position is not the beginning');
$dest->safe_psql('postgres', q{SELECT flo.drop_group('g')});

# --- 7, 15, 40: whose stream is it (F9) -----------------------------------------------------------

# Each forged message is the stream's newest when the replicator starts
sub replicator_fails
{
	my ($change, $pattern, $name) = @_;
	my $newest;

	insert();
	$source->safe_psql('postgres', q{SELECT flo.wait_for('g')});
	$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
	member_is($source, 'replicator', 'stopped');
	($newest) = newest(0);
	# a heartbeat at the start of a session knows no record yet
	@$newest{qw(anchor_lsn anchor_crc)} = @{ (newest(1))[0] }{qw(anchor_lsn anchor_crc)} if !$newest->{anchor_lsn};
	$change->($newest);
	my $seq = $nats->publish('pgflo.g', $newest->bytes)->{seq};
	$source->safe_psql('postgres', q{SELECT flo.start_group('g')});
	member_is($source, 'replicator', 'failed');
	like(status_of($source, 'g', 'replicator', 'detail'), $pattern, $name);
	ok($nats->api("STREAM.MSG.DELETE.$stream", { seq => $seq })->{success}, 'the forged message can be deleted');
	$source->safe_psql('postgres', q{SELECT flo.start_group('g')});
	member_is($source, 'replicator', 'streaming');
}

replicator_fails(sub { $_[0]->{epoch} += 1 }, qr/^another replicator publishes to the stream: its session is \d+/,
	'rules 7, 40: a newer session of another replicator');
replicator_fails(sub { $_[0]->{system} += 1 }, qr/^the stream is owned by another source: system \d+ instead of \d+/,
	'rule 15: another system');
replicator_fails(sub { $_[0]->{generation} = 'x' x 16 }, qr/^the stream is owned by another generation of this group/,
	'rule 15: another generation');
replicator_fails(sub { $_[0]->{position} += 1 << 40 },
	qr{^history diverged: published up to \S+, but this server has WAL up to \S+ only},
	'F9, rule 15: published ahead of what this cluster has');
replicator_fails(sub { $_[0]->{anchor_crc} ^= 1 },
	qr{^history diverged at \S+: the WAL there is not what was published}, 'F9, rule 15: other WAL at the anchor');
replicator_fails(sub { $_[0]->{timeline} += 7 },
	qr{^history diverged: published up to \S+ on timeline \d+, which this server left earlier},
	'F9, rule 15: a timeline that is not in the history');
replicator_fails(sub { $_[0]->{epoch} += 1; $_[0]->{number} = 1 }, qr/another replicator/,
	'rule 7: never taken over silently');

$_->stop('fast') for $source, $dest;
done_testing();
