
# Option start of workers of events: from an LSN or a time, as far as the stream
# holds it, and an error where it does not.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats, conf => "pg_flo.restart_interval = '200ms'\n");
my $root = PostgreSQL::Test::Utils::tempdir();
my $n = 0;

$source->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)');
create_group($source, undef, 'g');
# what keeps the stream: it is stopped, and the broker holds all for it
mkdir "$root/keeps";
create_event_worker($dest, 'g', 'file', 'keeps', { directory => "$root/keeps" });
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g', 'keeps')});

# Each in a transaction of its own; the times lie between them
sub insert
{
	my ($from, $to) = @_;
	$source->safe_psql('postgres', "INSERT INTO t VALUES ($_, 'x')") for $from .. $to;
	return $source->safe_psql('postgres', 'SELECT clock_timestamp()');
}

my $zero = $source->safe_psql('postgres', 'SELECT clock_timestamp()');
my $three = insert(1, 3);
my $lsn = $source->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
my $five = insert(4, 5);
# one that is larger than a chunk, another that is committed within it, and one after
$source->safe_psql('postgres',
	'INSERT INTO t SELECT i, repeat(md5(i::text), 100) FROM generate_series(1001, 1500) i');
my $six = insert(6, 6);
insert(7, 9);
is($source->safe_psql('postgres', q{SELECT flo.wait_for('g', timeout => '60 s')}), 't', 'all is in the stream');
my @lines;

sub creation
{
	my ($name, $start) = @_;
	return "SELECT flo.create_worker('g', 'file', '$name',"
	  . " '{\"directory\": \"$root/$name\", \"start\": \"$start\"}')";
}

sub created
{
	my ($start, $extra) = @_;
	my $name = 'w' . ++$n;
	mkdir "$root/$name";
	$dest->safe_psql('postgres', ($extra || '') . '; ' . creation($name, $start)
		  . "; SELECT flo.start_group('g', '$name')");
	return $name;
}

# The ids of the small rows that come, in order
sub comes
{
	my ($start, $expected, $what, $extra) = @_;
	my $name = created($start, $extra);
	wait_state($dest, 'g', $name, 'streaming');
	wait_caught_up($source, $dest, 'g', member => $name);
	my @events = file_events("$root/$name");
	my @ids = grep { $_ < 1000 } map { $_->{NewTuple}{id} } @events;
	is("@ids", $expected, "$what: what comes");
	$dest->safe_psql('postgres', "SELECT flo.drop_worker('g', '$name')") if $expected eq '';
	return @events;
}

my @all = comes('earliest', '1 2 3 4 5 6 7 8 9', 'earliest');
my ($fourth) = grep { $_->{NewTuple}{id} == 4 } @all;
my ($seventh) = grep { $_->{NewTuple}{id} == 7 } @all;
comes($lsn, '4 5 6 7 8 9', 'an LSN between two commits');
comes($fourth->{CommitLSN}, '4 5 6 7 8 9', 'the CommitLSN of an event: it is the first');
comes(lc $seventh->{CommitLSN}, '7 8 9', 'in small letters');
comes($three, '4 5 6 7 8 9', 'a time');
comes($zero, '1 2 3 4 5 6 7 8 9', 'a time before the first, all of whose transactions are there');
is(scalar(comes($five, '6 7 8 9', 'a time just before a large transaction')), 504, 'which comes as a whole');
comes($six, '7 8 9', 'a time after it');
comes($fourth->{CommittedAt}, '4 5 6 7 8 9', 'the CommittedAt of an event');
my $there = $source->safe_psql('postgres',
	"SELECT to_char('$three'::timestamptz AT TIME ZONE 'Asia/Kathmandu', 'YYYY-MM-DD HH24:MI:SS.US')");
comes($there, '4 5 6 7 8 9', 'a time without zone is of the session', q{SET timezone = 'Asia/Kathmandu'});
like($dest->safe_psql('postgres', qq{SELECT options->>'start' FROM flo.workers WHERE worker_name = 'w$n'}),
	qr/^\d{4}-\d\d-\d\dT[\d:.]+Z$/,
	'and is kept as one that has one');
my $name = created($source->safe_psql('postgres', 'SELECT clock_timestamp()'));
wait_state($dest, 'g', $name, 'streaming');
insert(10, 10);
wait_caught_up($source, $dest, 'g', member => $name);
is(join(' ', map { $_->{NewTuple}{id} } file_events("$root/$name")), '10', 'a time after the last: what comes then');

# --- what is refused when it is set ------------------------------------------------------

for my $bad ('yesteryear', '0/0', '0/G', '1/2/3/4', '/1', '123456789/0', '', 'infinity', '2999-01-01', '0', 'true')
{
	my ($code, $out, $err) = $dest->psql('postgres', "\\set VERBOSITY verbose\n" . creation('bad', $bad));
	like($err, qr/22023: invalid value for option "start"/, "refused: $bad");
	unlike($err, qr/value.*yesteryear|value.*2999/, "and not repeated");
}
my ($code, $out, $err) = $dest->psql('postgres',
	"\\set VERBOSITY verbose\nSELECT flo.create_worker('g', options => '{\"start\": \"0/16C5490\"}')");
like($err, qr/22023: .*Valid values are: copy, earliest, latest/s, 'not for tables');

# --- what the stream does not hold -------------------------------------------------------

sub fails
{
	my ($start, $words, $what) = @_;
	my $name = created($start);
	wait_state($dest, 'g', $name, 'failed');
	like(status_of($dest, 'g', $name, 'last_error'), $words, "$what: why");
	return $name;
}

my $late = fails('FFFF/0', qr{the stream goes up to .*does not hold what option start asks for, FFFF/0},
	'beyond the end');
$dest->safe_psql('postgres', "SELECT flo.drop_worker('g', '$late')");
fails('0/1', qr{the stream begins after .* 0/1}, 'before the group began');

# all have it, and it is purged
$dest->safe_psql('postgres', q{SELECT flo.drop_worker('g', worker_name) FROM flo.workers WHERE worker_name <> 'w1'});
insert(11, 40);
wait_caught_up($source, $dest, 'g', member => 'w1');
wait_until($source, 'postgres',
	"SELECT first_lsn > '$seventh->{CommitLSN}' FROM flo.stream_status('g') LIMIT 1", 'the stream to be purged');
fails($fourth->{CommitLSN}, qr{the stream begins after}, 'an LSN that was purged');
my $gone = fails($three, qr{the stream begins after .* \d{4}-\d\d-\d\dT}, 'a time that was purged');
$dest->safe_psql('postgres', "SELECT flo.alter_worker('g', '$gone', '{\"start\": \"latest\"}')");
wait_state($dest, 'g', $gone, 'streaming');
pass('another start mends it');

$_->stop('fast') for $source, $dest;
done_testing();
