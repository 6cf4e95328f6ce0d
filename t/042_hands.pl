
# What hands at the broker do to stream and bucket of a group: another shape,
# nothing in it, not there any more.  Both sides go on by themselves, or say
# within seconds what is lost, also when nobody writes anything.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
# nobody but the test writes WAL
my $quiet = "autovacuum = off\ncheckpoint_timeout = 1h\n";
my $source = flo_node('source', $nats, conf => $quiet);
my $dest = flo_node('dest', $nats, conf => $quiet);
my ($stream, $bucket) = ('pgflo_g_stream', 'KV_pg_flo_state_g');
my $n = 0;

sub shows
{
	my ($node, $member, $pattern, $name) = @_;
	ok(wait_until($node, 'postgres',
		"SELECT EXISTS (SELECT FROM flo.status WHERE group_name = 'g' AND member = '$member'"
		  . " AND concat_ws(' ', state, detail) ~ '$pattern')", "$member to show $pattern"), $name)
	  or diag(status_of($node, 'g', $member, "concat_ws(' | ', state, detail, last_error)"));
}
sub insert
{
	$source->safe_psql('postgres', "INSERT INTO t SELECT i, repeat('x', 3000) FROM generate_series($n + 1, $n + 20) i");
	$n += 20;
}
sub same
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	insert();
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, 't', "$name: the same rows");
}
sub settings { return $nats->api("STREAM.INFO.$_[0]")->{config}; }
sub shape
{
	my $c = $_[1] || settings($_[0]);
	return join ' ', map { "$_=" . (ref $c->{$_} eq 'ARRAY' ? "@{$c->{$_}}" : $c->{$_} // '') } qw(subjects discard
		max_msgs max_msg_size max_msgs_per_subject no_ack max_age max_bytes);
}
sub soon
{
	my ($name, $test) = @_;
	ok(await($test, $name), $name);
}

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)') for $source, $dest;
create_group($source, $dest, 'g');
same('at first');

# --- another shape ---------------------------------------------------------------------------

for ([ $stream, subjects => ['elsewhere'] ], [ $stream, max_msg_size => 1000 ],
	[ $stream, max_bytes => 100000, max_msgs => 3 ], [ $stream, no_ack => JSON::PP::true() ],
	[ $bucket, max_msg_size => 10 ], [ $bucket, subjects => ['$KV.elsewhere.>'], max_msgs => 1, discard => 'old' ])
{
	my ($of, %edit) = @$_;
	my $before = shape($of);
	my $what = "$of " . join ' ', sort keys %edit;
	my $answer = $nats->api("STREAM.UPDATE.$of", { %{ settings($of) }, %edit });

	# who minds it may have been there before we look
	isnt($answer->{config} ? shape($of, $answer->{config}) : $before, $before, "$what is edited")
	  or diag($answer->{error}{description});
	insert() for 1 .. 4;
	soon("$what: it gets its shape back", sub { shape($of) eq $before });
	same($what);
}

# --- removed, with nothing written -------------------------------------------------------------

$nats->api("STREAM.DELETE.$stream");
soon('the stream is made again though nobody writes', sub { $nats->last_seq($stream) });
same('the stream deleted');

$nats->api("STREAM.DELETE.$bucket");
ok(wait_until($source, 'postgres', q{SELECT count(acked_lsn) = 1 FROM flo.stream_status('g')},
	'the bucket with the report of the worker'), 'the bucket is made again, and the worker is known');
same('the bucket deleted');
$nats->api("STREAM.PURGE.$bucket");
soon('what was in the bucket is written again', sub { $nats->message($bucket, $nats->last_seq($bucket)) });
$nats->api("STREAM.DELETE.$_") for $bucket, $stream;
same('both deleted');

# --- a broker that does not answer ----------------------------------------------------------------

wait_state($source, 'g', 'replicator', 'streaming');
$nats->pause;
shows($source, 'replicator', '^waiting for NATS', 'a broker that hangs: the replicator notices, though nobody writes');
shows($dest, 'postgres', '^waiting for NATS', 'the worker, too');
$nats->resume;
same('it goes on');
$nats->configure('max_connections: 1');
$nats->restart;
ok(wait_until($_, 'postgres', q{SELECT bool_or(state = 'streaming' OR detail ~ 'max_connections') FROM flo.status},
	'the reason'), 'no connection more: the reason is named') for $source, $dest;
$nats->configure('');
$nats->restart;
same('connections enough');

# --- purged with a worker behind ------------------------------------------------------------------

$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
insert();
$source->safe_psql('postgres', q{SELECT flo.wait_for('g')});
$nats->api("STREAM.PURGE.$stream");
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
shows($dest, 'postgres', '^failed gap: this worker has everything up to',
	'purged: the worker says what it lacks, though nobody writes');
$source->safe_psql('postgres', q{SELECT flo.resync('g')});
wait_until($source, 'postgres', q{SELECT NOT resync FROM flo.generations}, 'the next generation') or die;
wait_state($source, 'g', 'replicator', 'streaming|copying');
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
same('flo.resync() leads out');

my $generation = $source->safe_psql('postgres', 'SELECT generation FROM flo.generations');
sub said
{
	return $nats->message($bucket, $nats->api("STREAM.MSG.GET.$bucket",
		{ last_by_subj => '$KV.pg_flo_state_g.generation' })->{message}{seq}) // '';
}
like(said(), qr/"generation": ?"$generation"/, 'the bucket says which generation it is');
for my $garbage ('', 'nonsense',
	said() =~ s/"generation": ?"[^"]+"/"generation": "00000000-0000-0000-0000-000000000000"/r)
{
	$nats->request('$KV.pg_flo_state_g.generation', $garbage);
	soon('what a hand has put in its place is written over', sub { said() =~ /"generation": ?"$generation"/ });
}
same('the generation said again');

# --- keys of a copy -------------------------------------------------------------------------------

$dest->safe_psql('postgres', q{SELECT flo.drop_group('g')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});
for my $node ($source, $dest)
{
	$node->safe_psql('postgres', 'TRUNCATE t; CREATE TABLE u (id int PRIMARY KEY, v text)');
}
$source->safe_psql('postgres', q{INSERT INTO u SELECT i, repeat(md5(i::text), 10) FROM generate_series(1, 5000) i});
my $lock = FloTest::Session->new($dest);
$lock->query('BEGIN; LOCK TABLE u');
create_copy_group($source, $dest, 'g', wait => 0, worker_options => q{'{"lock_timeout": "1h"}'});
shows($source, 'replicator', 'all tables are published', 'a copy waits for its loaders');
my $oid = $source->safe_psql('postgres', q{SELECT 'u'::regclass::oid});
$nats->request("\$KV.pg_flo_state_g.copy.$oid", '');
shows($dest, 'postgres', 'copying|keys were removed|waiting', 'the end of a table is removed from the bucket');
$lock->query('COMMIT');
wait_state($dest, 'g', 'postgres', 'streaming');
same('no table is forgotten');
is_same_table($source, $dest, 'u', 'nor its rows');
soon("the copy's stream goes when it is over", sub { $nats->api('STREAM.INFO.pgflo_g_copy')->{error} });
$nats->request('$KV.pg_flo_state_g.copy', '');
same('the end of a copy that is over, removed');
is_same_table($source, $dest, 'u', 'changes nothing');
is($nats->api('STREAM.INFO.pgflo_g_copy')->{error}{err_code}, 10059, 'and nothing is copied once more');

$_->stop('fast') for $source, $dest;
done_testing();
