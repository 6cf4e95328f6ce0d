
# Transactions that travel in pieces, as a worker sees them: the pieces are forged, with
# the replicator stopped, so that each comes exactly when and as it is wanted.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloForge;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $stream = 'pgflo_g_stream';

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)') for $source, $dest;
create_group($source, $dest, 'g', tables => q{'{public.t}'});
my $files = PostgreSQL::Test::Utils::tempdir() . '/events';
mkdir $files;
create_event_worker($dest, 'g', 'file', 'events', { directory => $files });
$source->safe_psql('postgres', q{INSERT INTO t VALUES (0, 'real')});
wait_caught_up($source, $dest, 'g');
$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');

forge_after($nats, 'g', $dest);

# Has the worker read the newest message?
sub is_read
{
	my $seq = $nats->last_seq($stream);
	my $held = 'SELECT bool_and(open_bytes > 0) FROM flo.status';
	return wait_until($dest, 'postgres', $held, 'the pieces to be read');
}
sub has { return $dest->safe_psql('postgres', "SELECT count(*) FROM t WHERE id BETWEEN $_[0] AND $_[1]"); }
sub applied { my ($id) = @_; whole(1000 + $id, rows($id)); ids_are($id, $id, $id, "row $id"); }

# --- interleaved ------------------------------------------------------------------------------

piece(10, rows(100 .. 104));
whole(11, rows(1));
piece(12, rows(200) . sub_of(13) . rows(201) . sub_of(14) . rows(202) . sub_of(12) . rows(203));
piece(10, rows(105 .. 109));
publish(0, void(12, 13));
whole(15, rows(2) . void(12, 14) . rows(3));
ids_are(1, 3, '1 2 3', 'small transactions do not wait for large ones; a subtransaction is void among their rows');
is(has(100, 299), 0, 'nothing of what has not committed is there');
pieces_end(12);
ids_are(200, 299, '200 203', 'a transaction of pieces is there from its end on, without void subtransactions');
pieces_end(10);
ids_are(100, 199, join(' ', 100 .. 109), 'and one that began earlier');


# A row that is larger than a piece, in a subtransaction that is void and in one that is not
for my $void (1, 0)
{
	my $xid = 20 + $void;
	my $row = record("I${relation}N" . pack('n', 2) . 't' . record(300 + $void) . 't' . record('x' x 1000));
	my $at = 700;

	piece($xid, sub_of(50 + $void) . $description . substr($row, 0, $at), flags => 0x28);
	piece($xid, substr($row, $at) . rows(310 + $void), flags => 0x24, rest => length($row) - $at);
	publish(0, void($xid, 50 + $void)) if $void;
	pieces_end($xid);
}
ids_are(300, 399, '300 310 311', 'a row split over pieces');

# Undone, and whole afterwards; another is never heard of again
piece(23, rows(350 .. 352));
piece(24, rows(360));
publish(0, void(23, 23));
delete $piece_of{23};
whole(23, rows(353));
ids_are(320, 399, '353', 'pieces that are withdrawn leave nothing');
publish(0, void(24, 24));
delete $piece_of{24};

# --- what the worker says ------------------------------------------------------------------------

my $consumer = $dest->safe_psql('postgres',
	q{SELECT consumer FROM flo.stream_status('g') WHERE worker_name = 'postgres'});
sub reported
{
	my $answer = $nats->api('STREAM.MSG.GET.KV_pg_flo_state_g',
		{ last_by_subj => "\$KV.pg_flo_state_g.worker.$consumer" });
	return JSON::PP::decode_json(MIME::Base64::decode_base64($answer->{message}{data}));
}
my $first = piece(30, rows(400 .. 404));
applied(4);
piece(30, rows(405 .. 409));
applied(5);
my $origin = q{SELECT flo.origin_position('g', 'postgres')};
ok(await(sub { reported()->{lsn} eq $dest->safe_psql('postgres', $origin) }, 'the report'),
	'the position goes on with other transactions while one is open');
is(reported()->{pieces}, JSON::PP::true(), 'a worker says that it reads pieces');
ok(await(sub { reported()->{seq} == $first - 1 }, 'what is reported'),
	'what a worker needs goes back to the first piece of what is open');
cmp_ok(status_of($dest, 'g', $_, 'open_bytes'), '>', 0, "what is kept is shown: $_") for qw(postgres events);
my $before = pieces_end(30);
ids_are(400, 499, join(' ', 400 .. 409), 'it commits');
ok(await(sub { reported()->{seq} >= $before }, 'what is reported'), 'and is needed no more');
ok(wait_until($dest, 'postgres', 'SELECT bool_and(open_bytes = 0) FROM flo.status', 'nothing'), 'nor kept');
is($dest->safe_psql('postgres', q{SELECT string_agg(events #>> '{NewTuple,id}', ' ' ORDER BY n)
	FROM flo.peek('g', 10) WITH ORDINALITY p (seq, lsn, at, events, n)}), join(' ', 400 .. 409), 'flo.peek() shows it');

# --- workers that begin again --------------------------------------------------------------------

# At each of these a worker dies: nothing is lost, nothing is there twice
my ($case, $other) = (0, 10000);
for my $point (qw(pieces.kept pieces.applied commit.before commit.after flush.before flush.after ack.after),
	'report.before')
{
	my $from = 1000 + 100 * $case++;
	my $xid = 100 + $case;

	piece($xid, rows($from .. $from + 4));
	applied(10 + $case);
	is_read();
	my $log = -s $dest->logfile;
	my $halt = halt_at($dest, $point);
	piece($xid, rows($from + 5 .. $from + 9));
	pieces_end($xid) if $point ne 'pieces.kept';
	# both workers come to it again and again, until one has heard of it
	await(sub { piece(++$other, rows($other)); pieces_end($other); !-e $halt }, $point);
	# one that has not heard of the new point yet may halt at the one before
	my $pid = await(sub { slurp_file($dest->logfile, $log) =~ /\[(\d+)\] LOG:  halted at "/ && $1 }, $point)
	  or die $point;
	kill 'KILL', $pid;
	pieces_end($xid) if $point eq 'pieces.kept';
	ids_are($from, $from + 99, join(' ', $from .. $from + 9), "killed at $point");
	applied(30 + $case);
}

# --- sessions ------------------------------------------------------------------------------------

piece(40, rows(500 .. 504));
piece(40, rows(505 .. 507));
applied(6);
@$end{qw(epoch number)} = ($end->{epoch} + 1, 0);
%piece_of = ();
publish(0x10, '');
piece(40, rows(500));
applied(7);
piece(40, rows(501 .. 509));
pieces_end(40);
ids_are(500, 599, join(' ', 500 .. 509), 'a new session sends all of it again, cut elsewhere');

# --- skip ----------------------------------------------------------------------------------------

$dest->safe_psql('postgres', 'ALTER TABLE t ADD CONSTRAINT no_601 CHECK (id <> 601)');
piece(41, rows(600, 601));
my $lsn = sprintf '%X/%X', map { $_ >> 32, $_ & 0xFFFFFFFF } (next_commit())[0];
pieces_end(41);
wait_state($dest, 'g', 'postgres', 'backoff');

like(status_of($dest, 'g', 'postgres', 'last_error'), qr/no_601.*\Q$lsn\E/s, 'an error names the commit');
$dest->safe_psql('postgres', "SELECT flo.skip('g', 'postgres', '$lsn')");
applied(8);
is(has(600, 699), 0, 'a transaction of pieces is skipped whole');

# --- a worker that comes late --------------------------------------------------------------------

my $seq = piece(42, rows(700));
piece(42, rows(701));
applied(9);
is_read();
$dest->safe_psql('postgres', 'CREATE DATABASE late');
$dest->safe_psql('late', q{CREATE EXTENSION pg_flo; CREATE TABLE t (id int PRIMARY KEY, v text);
	SELECT flo.create_worker('g', options => '{"start": "latest"}'); SELECT flo.start_group('g')});
wait_until($dest, 'late', 'SELECT open_bytes > 0 FROM flo.status', 'pieces');
pieces_end(42);
ids_are(700, 799, '700 701', 'a transaction that is open');
ok(wait_until($dest, 'late', q{SELECT string_agg(id::text, ' ' ORDER BY id) = '700 701' FROM t}, 'rows'),
	'a worker that comes late has all of a transaction that is open');
$dest->safe_psql('late', q{SELECT flo.drop_group('g'); TRUNCATE t});

$seq = piece(43, rows(710));
applied(90);
is_read();
piece(43, rows(711));
$nats->api("STREAM.PURGE.$stream", { seq => $seq + 1 });
$dest->safe_psql('late', q{SELECT flo.create_worker('g', options => '{"start": "earliest"}');
	SELECT flo.start_group('g')});
ok(wait_until($dest, 'late', q{SELECT state = 'waiting' AND detail ~ 'the end of a transaction' FROM flo.status},
	'waiting'), 'one for whom pieces are missing waits');
pieces_end(43);
applied(91);
ok(wait_until($dest, 'late', q{SELECT string_agg(id::text, ' ' ORDER BY id) = '91' FROM t}, 'rows'),
	'begins behind that transaction');
is($dest->safe_psql('late', 'SELECT count(*) FROM t WHERE id BETWEEN 700 AND 799'), 0, 'and has none of it');
$dest->safe_psql('late', q{SELECT flo.drop_group('g')});

# --- what no replicator writes -------------------------------------------------------------------

sub refused
{
	my ($name, $pattern, $seq) = @_;
	# it is in backoff because of the one before until it is started
	wait_until($dest, 'postgres', "SELECT bool_and(state = 'backoff' AND last_error ~ '^message $seq of')
		FROM flo.status", "the error of message $seq");
	like(status_of($dest, 'g', 'postgres', 'last_error'),
		qr/^message $seq of stream "$stream" breaks the protocol: $pattern/,
		$name);
	$nats->api("STREAM.MSG.DELETE.$stream", { seq => $seq });
	%piece_of = ();
	$end->{from} = $end->{upto};
	$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
}
sub again { my ($saved) = @_; @$end{ keys %$saved } = values %$saved; }

my %saved = %$end;
for my $case ([ 'no key', qr/a piece does not say/, sub { publish(0x20, rows(800)) } ],
	[ 'commits', qr/a piece says that it has commits/,
		sub { piece(60, rows(800), upto => $end->{upto} + 8, position => $end->{upto} + 8) } ],
	[ 'inside', qr/a piece says that it has commits/, sub { piece(60, rows(800), flags => 0x22) } ],
	[ 'rest of nothing', qr/a piece does not begin where/, sub { piece(60, rows(800), flags => 0x24, rest => 5) } ],
	[ 'subtransaction outside', qr/a subtransaction stands outside a piece/, sub { whole(60, sub_of(61)) } ],
	[ 'end within another', qr/the pieces of a transaction end within another/,
		sub { whole(60, record('c' . pack('N C Q> Q> Q> N', 61, 0, 1, 2, 0, 1))) } ],)
{
	my ($name, $pattern, $publish) = @$case;
	refused($name, $pattern, $publish->());
	again(\%saved);
}
piece(62, record('B' . pack('Q> Q> N', 8, 0, 62)) . rows(801));
$seq = pieces_end(62);
refused('a transaction within a piece', qr/a piece of the transaction that ends here holds/, $seq);
again(\%saved);
applied(92);
is(has(800, 899), 0, 'nothing of it is applied');

# --- a gap ---------------------------------------------------------------------------------------

$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', $_, 'stopped') for qw(postgres events);
$seq = piece(70, rows(900));
piece(70, rows(901));
$nats->api("STREAM.MSG.DELETE.$stream", { seq => $seq });
pieces_end(70);
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
wait_state($dest, 'g', $_, 'failed') for qw(postgres events);
like(status_of($dest, 'g', 'postgres', 'detail'),
	qr{^gap: transaction 70 of the source, which committed at [0-9A-F]+/[0-9A-F]+, travelled in 2 pieces},
	'a piece that is lost is a gap');

# Event files have the same, whole and in order
my @events = file_events($files);
are_exactly(\@events, scalar @events, 'events');
my %order;
push @{ $order{ $_->{CommitLSN} } }, $_->{NewTuple}{id} for @events;
is(scalar(grep { join(' ', @$_) ne join(' ', sort { $a <=> $b } @$_) } values %order), 0,
	'events of a transaction stand together');

$nats->stop;
$_->stop for $source, $dest;
done_testing();
