
# flo.backfill() into NATS: messages on subjects, and a bucket with a key for each row,
# of which a backfill of some rows leaves the others alone; and to an endpoint that
# refuses the rows, until the backfill is cancelled.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloHook;
use FloNatsClient;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $client = FloNatsClient->new($nats->port);

$source->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	INSERT INTO t SELECT i, 'x' FROM generate_series(1, 50) i;
	SELECT flo.create_replicator('g', mode => 'copy_and_stream');
	SELECT flo.create_worker('g', 'nats', 'kv', '{"kv_bucket": "rows", "start": "copy"}');
	SELECT flo.start_group('g')});
wait_state($source, 'g', 'kv', 'streaming');
$source->safe_psql('postgres', q{
	SELECT flo.create_worker('g', 'nats', 'subjects', '{"stream": "CDC"}');
	SELECT flo.start_group('g', 'subjects')});
wait_state($source, 'g', 'subjects', 'streaming');

# Keys that the bucket has
sub keys_there
{
	my %keys;

	wait_caught_up($source, $source, 'g', member => 'kv');
	for my $message ($client->stream('KV_rows'))
	{
		$keys{ $message->{subject} } = 1;
		delete $keys{ $message->{subject} } if $message->{headers}{'KV-Operation'};
	}
	return scalar keys %keys;
}

sub backfilled
{
	my ($worker, $where) = @_;
	my $id = $source->safe_psql('postgres', "SELECT flo.backfill('g', 't', '$worker', $where)");

	wait_until($source, 'postgres', "SELECT finished_at IS NOT NULL FROM flo.backfills WHERE id = $id", 'its end');
	return $source->safe_psql('postgres', "SELECT state, detail, rows_sent FROM flo.backfills WHERE id = $id");
}

is(keys_there(), 50, 'the copy is in the bucket');
is(backfilled('kv', q{'id < 5'}), 'done||4', 'some rows');
$source->safe_psql('postgres', q{INSERT INTO t VALUES (51, 'y')});
is(keys_there(), 51, 'the keys of others are still there');
is(backfilled('kv', 'NULL'), 'done||51', 'all rows');
is(keys_there(), 51, 'and all keys');
is(backfilled('subjects', 'NULL'), 'done||51', 'messages');
my @messages = grep { $_->{data} =~ /"Snapshot":true/ } $client->stream('CDC');
is(scalar(@messages), 51, 'each once');
is(status_of($source, 'g', $_, 'last_error'), '', "no error of $_") for qw(kv subjects);

# An endpoint that refuses them: what is cancelled holds the worker up no longer
my $hook = FloHook->new('hook');
$source->safe_psql('postgres', "SELECT flo.create_worker('g', 'webhook', 'hook', '{\"url\": \"" . $hook->url . "\"}');
	SELECT flo.start_group('g', 'hook')");
wait_state($source, 'g', 'hook', 'streaming');
$hook->answer('503 Busy');
my $id = $source->safe_psql('postgres', q{SELECT flo.backfill('g', 't', 'hook')});
wait_until($source, 'postgres',
	q{SELECT state IN ('copying', 'waiting') AND retries > 0 FROM flo.status WHERE member = 'hook'},
	'the endpoint to refuse a row') or die;
$source->safe_psql('postgres', "SELECT flo.cancel_backfill($id)");
ok(wait_state($source, 'g', 'hook', 'streaming'),
	'a worker goes on when a backfill is cancelled that its endpoint refuses');

$source->stop('fast');
done_testing();
