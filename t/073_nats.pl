
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

# who does not say his name must not publish everything
my $nats = FloTest::Nats->new('broker', conf => q{
	authorization { users = [ { user: test, password: test },
		{ user: all, password: all, permissions: { publish: { deny: "forbidden.>" } } } ] }
	no_auth_user: all});
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $client = FloNatsClient->new($nats->port);
my $json = JSON::PP->new->utf8;

$source->safe_psql('postgres', q{
	CREATE TABLE orders (id int PRIMARY KEY, customer int, v text);
	CREATE SCHEMA "Odd.Schema";
	CREATE TABLE "Odd.Schema"."täble *>" (a text, b int, PRIMARY KEY (a, b))});
create_group($source, undef, 'g');

sub caught_up { my ($worker) = @_; return wait_caught_up($source, $dest, 'g', member => $worker); }
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


# Change options, and wait until they are in force
sub alter
{
	my ($worker, $options) = @_;
	my $pid = status_of($dest, 'g', $worker, 'pid');
	$dest->safe_psql('postgres', "SELECT flo.alter_worker('g', '$worker', '$options')");
	wait_other_pid($dest, 'g', $worker, $pid) if $pid ne '';
}
sub drop { my ($worker) = @_; $dest->safe_psql('postgres', "SELECT flo.drop_worker('g', '$worker', force => true)"); }
sub failed_like
{
	my ($worker, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_until($dest, 'postgres', "SELECT last_error IS NOT NULL FROM flo.status WHERE member = '$worker'", 'an error');
	like($dest->safe_psql('postgres', "SELECT concat_ws(' | ', last_error, last_hint) FROM flo.status
		WHERE member = '$worker'"), $pattern, $name);
}

# --- partitions -----------------------------------------------------------------------------

create_event_worker($dest, 'g', 'nats', 'parts',
	{ subject => 'parts.{partition}.{table}.{key}', partitions => 4, stream => 'PARTS', stream_max_age => '1d',
		start => 'latest' });
$source->safe_psql('postgres', q{
	INSERT INTO orders SELECT i, i, 'v' FROM generate_series(101, 140) i;
	UPDATE orders SET v = 'w' WHERE id > 100;
	UPDATE orders SET id = 1101 WHERE id = 101;
	TRUNCATE orders});
caught_up('parts');
my @parts = $client->stream('PARTS');
my (%where, @truncates);
for my $message (@parts)
{
	my $row = $json->decode($message->{data});
	my ($partition, $key) = $message->{subject} =~ /^parts\.(\d+)\.orders\.(\S+)$/;

	if ($row->{Type} eq 'TRUNCATE') { push @truncates, "$partition $key"; next; }
	is($key, $row->{NewTuple}{id}, 'the key in the subject') if $key ne $row->{NewTuple}{id};
	$where{$key}{$partition}++;
}
is(scalar(keys %where), 41, 'each key is there');
is_deeply([ grep { keys %{ $where{$_} } != 1 } keys %where ], [], 'in one partition each');
is(join(' ', sort map { keys %$_ } @where{ 102 .. 104 }) ne '', 1, 'which is a number');
my %used = map { $_ => 1 } map { keys %$_ } values %where;
is(join(' ', sort keys %used), '0 1 2 3', 'all partitions are used');
is_deeply([ sort @truncates ], [ map { "$_ =" } 0 .. 3 ], 'a TRUNCATE goes to all');
is($client->api('STREAM.INFO.PARTS')->{config}{max_age}, 86400 * 1e9, 'the stream has the limits of the options');

alter('parts', '{"partitions": 6}');
$source->safe_psql('postgres', q{INSERT INTO orders SELECT i, i, 'v' FROM generate_series(1, 60) i});
caught_up('parts');
my @later = $client->stream('PARTS', undef, $parts[-1]{seq} + 1);
my @notices = splice @later, 0, 6;
is_deeply([ map { $_->{subject} } @notices ], [ map { "parts.$_.=.=" } 0 .. 5 ],
	'other partitions: all are told, first');
is_deeply([ map { @$_{qw(Type Partitions PartitionsBefore)} } events_of(@notices) ], [ ('REPARTITION', 6, 4) x 6 ],
	'how many there are now');
is(scalar @later, 60, 'and nothing else comes between');
%used = map { $_->{subject} =~ /^parts\.(\d+)/; $1 => 1 } @later;
is(join(' ', sort keys %used), '0 1 2 3 4 5', 'then the new ones are used');
alter('parts', '{"partition_by": "table"}');
$source->safe_psql('postgres', q{DELETE FROM orders});
caught_up('parts');
@later = $client->stream('PARTS', undef, $later[-1]{seq} + 1);
is(scalar(grep { /REPARTITION/ } map { $_->{data} } splice @later, 0, 6), 6, 'dealt out otherwise: all are told, too');
%used = map { $_->{subject} =~ /^parts\.(\d+)/; $1 => 1 } @later;
is(scalar @later . ' ' . keys %used, '60 1', 'a table is in one partition then');
drop('parts');

# --- streams that do not do -------------------------------------------------------------------

my %bad = (
	RETENTION => [ { subjects => ['bad.retention.>'], retention => 'workqueue' },
		qr/^stream "RETENTION" cannot be used: it forgets what is consumed.*\| Name a stream/ ],
	NOACK => [ { subjects => ['bad.noack.>'], no_ack => JSON::PP::true() }, qr/^stream .*acknowledges nothing/ ],
	OTHER => [ { subjects => ['else.>'] },
		qr/^stream "OTHER" cannot be used: it does not have the subjects "bad\.other\.\*" .*\| Add them/ ],
);
for my $name (sort keys %bad)
{
	my ($config, $pattern) = @{ $bad{$name} };
	my $worker = lc $name;

	$client->api("STREAM.CREATE.$name", { name => $name, storage => 'file', %$config });
	$dest->safe_psql('postgres', "SELECT flo.create_worker('g', 'nats', '$worker',
		'{\"stream\": \"$name\", \"subject\": \"bad.$worker.{table}\"}'); SELECT flo.start_group('g', '$worker')");
	failed_like($worker, $pattern, "stream $name");
	drop($worker);
}
$dest->safe_psql('postgres', q{
	SELECT flo.create_worker('g', 'nats', 'overlap', '{"stream": "OVERLAP", "subject": "else.{table}"}');
	SELECT flo.start_group('g', 'overlap')});
failed_like('overlap', qr/^could not create stream "OVERLAP": subjects overlap.*\| Another stream has/,
	'subjects of another stream');
drop('overlap');

# --- a stream that is full, and one that is deleted ------------------------------------------------

$client->api('STREAM.CREATE.FULL', { name => 'FULL', subjects => ['full.>'], storage => 'file', max_msgs => 100,
	discard => 'new' });
create_event_worker($dest, 'g', 'nats', 'full', { stream => 'FULL', subject => 'full.{table}', start => 'latest' });
$source->safe_psql('postgres', q{INSERT INTO orders SELECT i, i, 'v' FROM generate_series(1, 250) i});
ok(wait_until($dest, 'postgres', q{SELECT state = 'waiting' AND detail ~ '^for room in stream "FULL": maximum messages'
	FROM flo.status WHERE member = 'full'}, 'the wait for room'), 'a full stream: the worker waits, and says for what');
my @in = $client->stream('FULL');
for my $turn (1 .. 2)
{
	$client->api('STREAM.PURGE.FULL');
	await(sub { $client->api('STREAM.INFO.FULL')->{state}{messages} >= ($turn == 1 ? 100 : 50) }, 'what fits');
	push @in, $client->stream('FULL');
}
caught_up('full');
is_deeply([ map { $_->{NewTuple}{id} } events_of(@in) ], [ 1 .. 250 ], 'when there is room it goes on, exactly');
$client->api('STREAM.DELETE.FULL');
$source->safe_psql('postgres', q{DELETE FROM orders});
caught_up('full');
is(scalar $client->stream('FULL'), 250, 'a stream that is deleted is made again, and nothing is missing in it');
$client->api('STREAM.DELETE.FULL');
$client->api('STREAM.CREATE.FULL', { name => 'FULL', subjects => ['full.>'], storage => 'file' });
$source->safe_psql('postgres', q{INSERT INTO orders VALUES (1, 1, 'v')});
caught_up('full');
is(scalar $client->stream('FULL'), 1, 'one that is another all of a sudden has what comes');
ok(await(sub { slurp_file($dest->logfile) =~
		/WARNING:  stream "FULL" has lost messages.*\n.*It ended at sequence 250, and ends at 0 now/ }, 'a warning'),
	'and the log says that it has lost the rest');
$source->safe_psql('postgres', 'DELETE FROM orders');
drop('full');

# --- others publish to the same stream -----------------------------------------------------------------

$client->api('STREAM.CREATE.SHARED',
	{ name => 'SHARED', subjects => [ 'shared.>', 'theirs' ], storage => 'file', duplicate_window => 1e8 });
create_event_worker($dest, 'g', 'nats', 'shared',
	{ stream => 'SHARED', subject => 'shared.{table}', start => 'latest' });
$source->safe_psql('postgres', q{INSERT INTO orders SELECT i, i, 'v' FROM generate_series(1, 20000) i});
{
	my $theirs = 0;
	until (status_of($dest, 'g', 'shared', 'inserts') eq '20000') { $client->request('theirs', $theirs++) for 1 .. 50; }
	caught_up('shared');
	is_deeply([ map { /"id":(\d+)/ } map { $_->{data} } $client->stream('SHARED', 'shared.>') ], [ 1 .. 20000 ],
		'in a stream that others write to, too: all, once, in order');
	cmp_ok($theirs, '>=', 50, "with $theirs of theirs between");
}
drop('shared');

# --- without JetStream ------------------------------------------------------------------------------------

create_event_worker($dest, 'g', 'nats', 'core',
	{ jetstream => JSON::PP::false(), subject => 'core.{table}', start => 'latest' });
my $listener = FloNatsClient->new($nats->port);
$listener->subscribe('core.*');
$source->safe_psql('postgres', q{UPDATE orders SET v = 'core' WHERE id <= 5000});
caught_up('core');
@heard = $listener->take(5000, 20);
is(scalar @heard, 5000, 'without JetStream: who listens has them');
is_deeply([ map { /"id":(\d+)/ } map { $_->{data} } @heard ], [ 1 .. 5000 ], 'in order');
is(grep({ exists $_->{headers}{'Flo-Place'} } @heard), 0, 'without what only a stream needs');
drop('core');

$listener->subscribe('allowed.*');
create_event_worker($dest, 'g', 'nats', 'core',
	{ jetstream => JSON::PP::false(), subject => 'forbidden.{table}', start => 'latest' });
$source->safe_psql('postgres', q{UPDATE orders SET v = 'forbidden' WHERE id = 1});
failed_like('core', qr/Permissions Violation for Publish to "forbidden\.orders"/, 'a subject that is forbidden');
alter('core', '{"subject": "allowed.{table}"}');
caught_up('core');
is(scalar $listener->take(1, 5), 1, 'what was refused there is not passed over');
drop('core');

# --- events that are too large -------------------------------------------------------------------------------

$source->safe_psql('postgres', q{CREATE TABLE large (id int PRIMARY KEY, a text, b text)});
create_event_worker($dest, 'g', 'nats', 'large', { subject => 'large.{table}', stream => 'LARGE', start => 'latest' });
$source->safe_psql('postgres', q{
	INSERT INTO large VALUES (1, 'x', repeat('y', 1000)), (2, 'x', repeat(md5('y'), 40000)), (3, 'x', 'z')});
ok(wait_until($dest, 'postgres', q{SELECT state = 'failed' FROM flo.status WHERE member = 'large'}, 'its stop'),
	'an event that is too large stops the worker');
failed_like('large',
	qr/^event "g-[^"]+" of table "public\.large" is too large for NATS: \d+ bytes.*\| Set the worker's option oversize/,
	'with a hint');
is_deeply([ map { $_->{NewTuple}{id} } events_of($client->stream('LARGE')) ], [1], 'what came before is published');
$dest->safe_psql('postgres',
	q{SELECT flo.alter_worker('g', 'large', '{"oversize": "reference"}'); SELECT flo.start_group('g', 'large')});
caught_up('large');
my @large = events_of($client->stream('LARGE'));
is_deeply([ map { $_->{NewTuple}{id} } @large ], [ 1 .. 3 ], 'as a reference it comes, and all behind it');
is_deeply([ $large[1]{Omitted}, $large[1]{NewTuple}{a}, exists $large[1]{NewTuple}{b} ? 1 : 0 ], [ ['b'], 'x', 0 ],
	'without the value, which is named');
my $writer = pid_of($dest, 'g', 'large');
for my $id (4 .. 6)
{
	$source->safe_psql('postgres', "INSERT INTO large VALUES ($id, 'x', repeat(md5('y'), 200))");
	caught_up('large');
}
is_deeply([ map { $_->{NewTuple}{id} } events_of($client->stream('LARGE')) ], [ 1 .. 6 ], 'some kB come one by one');
is(pid_of($dest, 'g', 'large'), $writer, 'from one and the same process');
drop('large');

# --- a copy -------------------------------------------------------------------------------------------------------

$source->safe_psql('postgres', q{
	CREATE TABLE copied (id int PRIMARY KEY, v text);
	INSERT INTO copied SELECT i, repeat(md5(i::text), 3) FROM generate_series(1, 20000) i;
	SELECT flo.create_replicator('c', tables => '{copied}', mode => 'copy_and_stream'); SELECT flo.start_group('c')});
create_event_worker($dest, 'c', 'nats', 'nats', { start => 'copy' });
$source->safe_psql('postgres', q{UPDATE copied SET v = 'new' WHERE id = 1});
wait_caught_up($source, $dest, 'c');
my @rows = $client->stream('cdc_c');
is($rows[-1]{subject}, 'cdc.c.public.copied.update', 'a copy, then changes');
is(join(',', sort { $a <=> $b } map { /"NewTuple":\{"id":(\d+)/ } map { $_->{data} } @rows[ 0 .. $#rows - 1 ]),
	join(',', 1 .. 20000), 'each row of the copy once');

$_->stop('fast') for $source, $dest;
done_testing();
