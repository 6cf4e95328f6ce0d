
# Chunks whose records are compressed while they travel: what arrives is exact, in tables,
# copies, events and transactions that travel early; what is small or does not become smaller
# travels as it is; nothing that is forged does harm; nobody gets what he does not read.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloChunk;
use FloEvents;
use FloForge;
use FloTest;
use JSON::PP ();
use MIME::Base64 ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.restart_interval = '100ms'\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);
my $stream = 'pgflo_g_stream';

sub src { return $source->safe_psql('postgres', $_[0]); }
sub dst { return $dest->safe_psql('postgres', $_[0]); }
sub synced { wait_caught_up($source, $dest, 'g'); }
# what is counted is handed in with what is published, which a worker may have before
sub sent { wait_caught_up($source, $source, 'g'); return status_of($source, 'g', 'replicator', 'bytes'); }

# Those with records that the stream has got since
sub chunks_since
{
	my ($seq, $of) = @_;
	$of //= $stream;
	return grep { $_ && !$_->is_heartbeat } map { FloChunk->parse($nats->message($of, $_) // '') }
		$seq + 1 .. $nats->last_seq($of);
}
sub squeezed { return join ' ', map { $_->{squeezed} ? 'yes' : 'no' } @_; }
sub newest { return $nats->last_seq($stream); }

$_->safe_psql('postgres', q{
	CREATE FUNCTION noise(i int, n int) RETURNS bytea LANGUAGE sql IMMUTABLE AS
		$$ SELECT string_agg(decode(md5(i || '.' || j), 'hex'), '') FROM generate_series(1, n) j $$;
	CREATE TABLE t (id int PRIMARY KEY, v text);
	CREATE TABLE easy (id int PRIMARY KEY, a text, b int, c timestamptz);
	CREATE TABLE hard (id int PRIMARY KEY, v bytea);
	CREATE TABLE huge (id int PRIMARY KEY, v text, w bytea);
	ALTER TABLE huge ALTER v SET STORAGE EXTERNAL}) for $source, $dest;
my @tables = qw(t easy hard huge);
create_group($source, $dest, 'g', options => q{'{"large_transaction_size": "0"}'});
my $files = PostgreSQL::Test::Utils::tempdir() . '/events';
mkdir $files;
create_event_worker($dest, 'g', 'file', 'events', { directory => $files });

my $id = 0;
sub rows_of
{
	my ($table, $n) = @_;
	my ($from, $to) = ($id + 1, $id += $n);
	my %values = (
		t => q{'row ' || i},
		easy => q{'row number ' || i, i, now()},
		hard => 'noise(i, 16)',
		huge => q{repeat('row ' || i, 200000), noise(i, 20000)});
	return "INSERT INTO $table SELECT i, $values{$table} FROM generate_series($from, $to) i;";
}
sub same
{
	my ($what) = @_;
	synced();
	is_same_table($source, $dest, $_, "$what: $_") for @tables;
}

# Do 500 rows alike travel compressed?  Soon they do, or do not any more.
sub becomes
{
	my ($yes, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(await(sub {
		my $before = newest();
		src(rows_of('t', 500));
		synced();
		return squeezed(chunks_since($before)) eq ($yes ? 'yes' : 'no');
	}, $what), $what);
}

# --- what is forged -------------------------------------------------------------------------

# As it can be without any match, and with one that overlaps itself
sub long_length { my ($n) = @_; return $n < 15 ? '' : chr(255) x int(($n - 15) / 255) . chr(($n - 15) % 255); }
sub token { my ($n, $m) = @_; return chr(($n < 15 ? $n : 15) << 4 | ($m < 15 ? $m : 15)); }
sub literals { my ($in) = @_; return token(length $in, 0) . long_length(length $in) . $in; }
sub matched
{
	my ($unit, $times) = @_;
	my ($n, $m) = (length $unit, length($unit) * ($times - 1) - 4);
	return token($n, $m) . long_length($n) . $unit . pack('v', $n) . long_length($m);
}
sub plain { my ($in) = @_; return pack('N', length $in) . literals($in); }
my @forged = (
	[ 'without a length', sub { '' }, 'are cut off' ],
	[ 'with half of a length', sub { "\0\0" }, 'are cut off' ],
	[ 'with nothing behind the length', sub { pack 'N', 100 }, 'are cut off' ],
	[ 'of no length', sub { pack('N', 0) . literals($_[0]) }, 'claim to be too long' ],
	[ 'very long', sub { pack('N', 0xFFFFFFFF) . literals($_[0]) }, 'claim to be too long' ],
	[ 'too long',
		sub { pack('N', 1024 * 1024 + 1) . matched('x', 1024 * 1024 + 1 - 5) . literals('yyyyy') },
		'claim to be too long' ],
	[ 'shorter than it says', sub { pack('N', length($_[0]) + 1) . literals($_[0]) }, 'cannot be expanded' ],
	[ 'longer than it says', sub { pack('N', length($_[0]) - 1) . literals($_[0]) }, 'cannot be expanded' ],
	[ 'much longer',
		sub { pack('N', length $_[0]) . matched('x', 1_000_000) . literals('yyyyyyyyyyyy') }, 'cannot be expanded' ],
	[ 'cut', sub { substr plain($_[0]), 0, -3 }, 'cannot be expanded' ],
	[ 'from before its beginning',
		sub { pack('N', 100) . token(4, 4) . 'abcd' . pack('v', 9) . literals('x' x 88) }, 'cannot be expanded' ],
	[ 'of noise',
		sub { pack('N', 60000) . join '', map { chr(($_ * 7919 ^ $_ >> 3) & 255) } 1 .. 3000 }, 'cannot be expanded' ]);

# --- the stream -----------------------------------------------------------------------------

becomes(1, 'chunks travel compressed when all workers read them');
my $before = newest();
src(rows_of('t', 1));
synced();
is(squeezed(chunks_since($before)), 'no', 'a small transaction travels as it is');

my $bytes = sent();
src(rows_of('easy', 20000));
synced();
my $easy = sent() - $bytes;
cmp_ok($easy, '<', 20000 * 60 / 2, 'rows alike travel in half of the bytes') or diag $easy;
is($nats->api("STREAM.INFO.$stream")->{state}{messages} > 0, 1, 'counted as they are stored');
same('rows alike');

$before = newest();
src(rows_of('hard', 4000));
synced();
is(squeezed(grep { length $_->{records} > 8192 } chunks_since($before)) =~ /yes/, '',
	'what does not become smaller travels as it is');
same('noise');
src(rows_of('hard', 4000) . rows_of('easy', 300)) for 1 .. 3;
src('BEGIN;' . join('', map { rows_of('hard', 100) . rows_of('easy', 200) . rows_of('hard', 1) } 1 .. 30) . 'COMMIT');
same('mixed');
becomes(1, 'and others are compressed behind it');

# what becomes small is packed until it is worth a message, as far as the stream has room for it
sub longest
{
	my ($before, $n) = (newest(), @_);
	my ($from, $to) = ($id + 1, $id += $n);
	src("INSERT INTO t SELECT i, repeat('alike ', 20) FROM generate_series($from, $to) i");
	src(rows_of('hard', 4000));
	synced();
	my @chunks = chunks_since($before);
	my ($plain) = sort { $b <=> $a } map { length $_->{records} } grep { $_->{squeezed} } @chunks;
	my ($any) = sort { $b <=> $a } map { length $_->{records} } @chunks;
	return ($plain, $any);
}
my ($plain, $any) = longest(20000);
cmp_ok($plain, '>', 300 * 1024, 'rows alike travel in large chunks');
cmp_ok($any, '<=', 512 * 1024, 'none is larger than that, noise behind them included');
same('large chunks');

# Soon after a change of the configuration, so many times in a row
sub soon
{
	my ($times, $test, $what) = @_;
	my $passed = 0;
	for (1 .. 30)
	{
		($plain, $any) = longest(10000);
		$passed = $test->() ? $passed + 1 : 0;
		return pass($what) if $passed == $times;
	}
	return fail($what) || diag("$plain, $any");
}
src(q{SELECT flo.alter_replicator('g', '{"stream_max_bytes": "200MB"}')});
soon(4, sub { $any <= 256 * 1024 }, 'a stream that is to hold little gets smaller ones');
soon(1, sub { $plain > 200 * 1024 }, 'which are packed as full as that');
src(q{SELECT flo.alter_replicator('g', '{"stream_max_bytes": null}')});
soon(1, sub { $plain > 300 * 1024 }, 'and large ones without that');
same('smaller ones');

# while much is read that is not the group's, what has committed does not wait for more of its kind
src('CREATE TABLE other (id int, v text)');
my $replicator = pid_of($source, 'g', 'replicator');
kill 'STOP', $replicator;
src(q{DO $$ BEGIN FOR i IN 1 .. 200 LOOP
	INSERT INTO t VALUES (-i, 'alone');
	INSERT INTO other SELECT j, repeat(md5(j::text), 6) FROM generate_series(1, 5000) j;
	COMMIT; END LOOP; END $$});
$before = newest();
kill 'CONT', $replicator;
synced();
cmp_ok(scalar(chunks_since($before)), '>', 1, 'what has committed leaves while others are read');
same('among others');
src(rows_of('huge', 3));
same('rows that are larger than a chunk');
src(q{UPDATE easy SET a = a || '!' WHERE id % 3 = 0; DELETE FROM easy WHERE id % 5 = 0;
	UPDATE hard SET v = noise(id, 17) WHERE id % 7 = 0});
same('updates and deletes');

# --- what is looked at from outside ------------------------------------------------------------

src(rows_of('easy', 800));
synced();
$before = newest();
is(src(q{SELECT count(*) >= 400 FROM flo.peek('g', 1000)}), 't', 'flo.peek() sees what is in compressed chunks');
is(src(qq{SELECT count(*) FROM flo.peek('g', 800) WHERE event::text ~ 'row number $id'}), 1, 'to the last row');

# --- a place is found again ----------------------------------------------------------------------

dst(q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', $_, 'stopped') for qw(postgres events);
src('BEGIN;' . rows_of('easy', 15000) . 'COMMIT;' . rows_of('hard', 500) . rows_of('easy', 15000));
dst(q{SELECT flo.start_group('g')});
same('a backlog');
kill9_member($dest, 'g', 'postgres');
kill9_member($source, 'g', 'replicator');
wait_until($_, 'postgres', 'SELECT true', $_->name) for $source, $dest;
same('after a crash');
becomes(1, 'a new session compresses, too');

# --- transactions that travel early -----------------------------------------------------------------

$before = newest();
my $x = $source->background_psql('postgres', on_error_stop => 1);
$x->query_safe('BEGIN');
$x->query_safe(rows_of('easy', 90000));
$x->query_safe('SAVEPOINT s');
$x->query_safe(rows_of('easy', 5000));
$x->query_safe('ROLLBACK TO s');
$x->query_safe(rows_of('hard', 2000));
ok(await(sub {
	src(rows_of('t', 1));
	return 5 < grep { $_->{flags} & 0x20 && $_->{squeezed} } chunks_since($before);
}, 'pieces'), 'pieces travel compressed');
$x->query_safe('COMMIT');
$x->quit;
same('early');

# --- copies ---------------------------------------------------------------------------------------

dst(q{SELECT flo.drop_worker('g', 'events')});
dst(q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
src("SELECT flo.resync('g', '$_')") for qw(easy hard huge);
my (@copied, %kinds);
ok(await(sub {
	my $info = eval { $nats->api('STREAM.INFO.pgflo_g_copy') };
	return 0 if !$info || !$info->{state} || $info->{state}{messages} < 20;
	# tables come side by side, and one of them does not become smaller
	@copied = chunks_since(0, 'pgflo_g_copy');
	$kinds{ $_->{flags} & 0xC } //= $_ for @copied;
	return squeezed(@copied) =~ /yes/ && keys %kinds == 4;
}, 'a copy'), 'a copy is at the broker');
like(squeezed(@copied), qr/yes/, 'chunks of a copy travel compressed');

# among them what is forged; and whole ones and all pieces of a row as another compressor would
# have made them
for my $kind (sort keys %kinds)
{
	for my $squeeze (\&plain, map({ $_->[1] } @forged), \&plain)
	{
		my $chunk = bless {%{ $kinds{$kind} }}, 'FloChunk';
		my $piece = join('-', (unpack 'N5', $chunk->{records})[ 1 .. 4 ]);

		# the rest of a row is found by its subject: what is last there counts
		@$chunk{qw(flags records)} = ($chunk->{flags} | 0x2000, $squeeze->($chunk->{records}));
		$nats->publish($kind & 4 ? "pgflo.g.copy.$piece" : 'pgflo.g.copy.1', $chunk->bytes);
	}
}
my $log_before = -s $dest->logfile;
dst(q{TRUNCATE easy, hard, huge; SELECT flo.start_group('g')});
for (qw(easy hard huge))
{
	ok(wait_until($dest, 'postgres', "SELECT count(*) = " . src("SELECT count(*) FROM $_") . " FROM $_", "copy of $_"),
		"$_ is copied");
}
same('a copy');
unlike(substr(slurp_file($dest->logfile), $log_before), qr/ERROR|PANIC|terminated by signal/, 'nothing objects');

# --- the option -----------------------------------------------------------------------------------

src(q{SELECT flo.alter_replicator('g', '{"compression": "none"}')});
becomes(0, 'with compression = none they travel as they are');
src(q{SELECT flo.alter_replicator('g', '{"compression": null}')});
becomes(1, 'and compressed again without it');

# --- who does not read them ------------------------------------------------------------------------

my $consumer = dst(q{SELECT consumer FROM flo.stream_status('g') WHERE worker_name = 'postgres'});
my $key = '$KV.pg_flo_state_g.worker.';
my $answer = $nats->api('STREAM.MSG.GET.KV_pg_flo_state_g', { last_by_subj => "$key$consumer" });
my $report = JSON::PP::decode_json(MIME::Base64::decode_base64($answer->{message}{data}));
ok(delete $report->{lz4_chunks}, 'a worker says that it reads them');
(my $other = $consumer) =~ s/.$/x/;
$nats->publish("$key$other", JSON::PP::encode_json($report));
becomes(0, 'while a worker is registered that does not, chunks travel plain');
$nats->request("$key$other", '');
$nats->api('STREAM.PURGE.KV_pg_flo_state_g', { filter => "$key$other" });
becomes(1, 'and compressed again without it');
same('at last');

# --- forged ones -----------------------------------------------------------------------------------

src(q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
src(q{SELECT flo.start_group('g')});
becomes(1, 'another session');
src(q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
forge_after($nats, 'g', $dest);

my $n = 1_000_000;
my $pid = pid_of($dest, 'g', 'postgres');

whole($n, $description . row(++$n, 'literals'), squeeze => \&plain);
ids_are($n, $n, $n, 'what another compressor has made');
for my $case (@forged)
{
	my ($name, $squeeze, $error) = @$case;
	my $log = -s $dest->logfile;
	my ($upto, $position) = @$end{qw(upto position)};

	whole($n, $description . row(++$n, $name), squeeze => $squeeze);
	@$end{qw(upto position)} = ($upto, $position);
	whole($n, $description . row(++$n, "after $name"));
	ids_are($n - 1, $n, $n, "$name: passed over");
	like(substr(slurp_file($dest->logfile), $log), qr/is passed over: its compressed records $error/, "$name: $error");
}
is(pid_of($dest, 'g', 'postgres'), $pid, 'the worker goes on through all of it');

done_testing();
