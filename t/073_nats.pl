
# Events as messages of NATS, read by a client that knows nothing of pg_flo: subjects,
# headers, partitions, streams that are there and that are made.

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

$FloTest::timeout = 60;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $client = FloNatsClient->new($nats->port);
my $json = JSON::PP->new->utf8;

$source->safe_psql('postgres', q{
	CREATE TABLE orders (id int PRIMARY KEY, customer int, v text);
	CREATE SCHEMA "Odd.Schema";
	CREATE TABLE "Odd.Schema"."täble *>" (a text, b int, PRIMARY KEY (a, b))});
create_group($source, undef, 'g');

sub caught_up { return wait_caught_up($source, $dest, 'g', @_); }
sub events_of { return map { $json->decode($_->{data}) } @_; }

# --- a stream of its own, made as nothing says otherwise ------------------------------------

$client->subscribe('cdc.g.public.orders.*');
create_event_worker($dest, 'g', 'nats', 'nats', {});
$source->safe_psql('postgres', q{
	INSERT INTO orders SELECT i, i % 3, 'v' || i FROM generate_series(1, 10) i;
	UPDATE orders SET v = 'new' WHERE id = 3;
	DELETE FROM orders WHERE id = 4;
	INSERT INTO "Odd.Schema"."täble *>" VALUES ('x.y', 1)});
caught_up('nats');
my @heard = $client->take(12, 10);
is_deeply([ map { $_->{subject} } @heard ],
	[ ('cdc.g.public.orders.insert') x 10, 'cdc.g.public.orders.update', 'cdc.g.public.orders.delete' ],
	'who listens to cdc.g.public.orders.* has them in order');
is_deeply([ map { ($_->{NewTuple} || $_->{OldTuple})->{id} } events_of(@heard) ], [ 1 .. 10, 3, 4 ], 'with their rows');
my ($first) = @heard;
my $event = $json->decode($first->{data});
is($first->{headers}{'Nats-Msg-Id'}, $event->{Id}, 'Nats-Msg-Id is the Id');
is_deeply([ @{ $first->{headers} }{qw(Flo-Type Flo-Schema Flo-Table Flo-Commit-LSN)} ],
	[ 'INSERT', 'public', 'orders', $event->{CommitLSN} ], 'headers say what it is');
my @kept = $client->stream('cdc_g');
is(scalar @kept, 13, 'the stream cdc_g has all, each once');
is($kept[-1]{subject}, 'cdc.g.Odd=2ESchema.t=C3=A4ble=20=2A=3E.insert', 'any name is one token');
my $info = $client->api('STREAM.INFO.cdc_g');
is_deeply($info->{config}{subjects}, ['cdc.g.*.*.*'], 'made with the subjects of its worker');

done_testing();
