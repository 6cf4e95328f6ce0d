
# Rows in a key-value bucket of NATS: after a copy it equals the tables, and stays so;
# who watches it sees each change of a row, in order and once, whatever dies.

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
use Time::HiRes qw(sleep time);

my $nats = FloTest::Nats->new('broker', conf => 'max_payload: 64KB');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $client = FloNatsClient->new($nats->port);
my $json = JSON::PP->new->utf8->canonical;
my $bytes = JSON::PP->new->canonical;

# What a client of the bucket finds: the newest value of each key that is there
sub keys_of
{
	my ($bucket) = @_;
	my %rows;

	for my $message ($client->stream("KV_$bucket"))
	{
		my $key = substr $message->{subject}, length "\$KV.$bucket.";
		if ($message->{headers}{'KV-Operation'}) { delete $rows{$key}; }
		else { $rows{$key} = $json->encode($json->decode($message->{data})); }
	}
	return \%rows;
}

# The documentation's token of a text
sub token
{
	my ($text) = @_;
	return '=' if $text eq '';
	return $text =~ s/([^A-Za-z0-9_-])/sprintf '=%02X', ord $1/ger;
}

# The rows of a table, by what their keys have to be
sub rows_of
{
	my ($table, @columns) = @_;
	my ($schema, $name) = ('public', $table =~ s/^"|"$//gr);
	my %rows;

	for my $row (split /\x1e/, $source->safe_psql('postgres',
		qq{SELECT string_agg(to_json(t)::text, E'\\x1e') FROM $table t}))
	{
		my $object = $json->decode($row);
		my $key = join '.', map { token($_) } $schema, $name, map { $object->{$_} } @columns;
		$rows{$key} = $json->encode($object);
	}
	return \%rows;
}

my %key_of = (t => ['id'], pairs => [ 'a', 'b' ], '"Odd Name.x"' => ['the key'], by_index => ['b']);

sub is_same_bucket
{
	my ($bucket, $name, @tables) = @_;
	my %expected;

	@tables = sort keys %key_of if !@tables;
	%expected = (%expected, %{ rows_of($_, @{ $key_of{$_} }) }) for @tables;
	my $found = keys_of($bucket);
	my @wrong = grep { ($found->{$_} // '') ne ($expected{$_} // '') } sort keys %{ { %expected, %$found } };
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	for my $key (grep { defined } (@wrong)[ 0 .. 4 ])
	{
		diag("$key: there is " . ($found->{$key} // 'nothing') . ', the row is ' . ($expected{$key} // 'nothing'));
	}
	return is(scalar @wrong, 0, $name);
}

# --- a copy, and what comes after it ------------------------------------------------------

$source->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text, big text, n numeric);
	ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
	CREATE TABLE pairs (a text, b int, v text, PRIMARY KEY (a, b));
	CREATE TABLE "Odd Name.x" ("the key" text PRIMARY KEY, "a ""b" int);
	CREATE TABLE by_index (a int, b int NOT NULL UNIQUE, v text);
	ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_b_key;
	INSERT INTO t SELECT i, 'v' || i, repeat('b', 3000), i / 7.0 FROM generate_series(1, 500) i;
	INSERT INTO pairs SELECT 'a.' || i % 10, i, 'x' FROM generate_series(1, 50) i;
	INSERT INTO "Odd Name.x" VALUES ('', 1), ('*.>', 2), ('=', 3);
	INSERT INTO by_index VALUES (1, 10, 'v');
});
create_copy_group($source, undef, 'g');
create_event_worker($dest, 'g', 'nats', 'rows', { kv_bucket => 'rows', kv_history => 20, start => 'copy' });
wait_state($dest, 'g', 'rows', 'streaming');
is_same_bucket('rows', 'after the copy the bucket equals the tables');
is_deeply([ grep { /Odd/ } sort keys %{ keys_of('rows') } ],
	[ map { "public.Odd=20Name=2Ex.$_" } '=', '=2A=2E=3E', '=3D' ], 'keys are made as documented');
is($nats->api('STREAM.INFO.KV_rows')->{state}{messages}, 554, 'one value for each row');

my $watch = FloNatsClient->new($nats->port);
$watch->subscribe('watch');
$watch->api('CONSUMER.CREATE.KV_rows', { stream_name => 'KV_rows', config => {
	deliver_subject => 'watch', ack_policy => 'none', deliver_policy => 'new' } });
my @seen;
sub seen
{
	my ($like) = @_;
	$watch->flush;
	while (my $message = $watch->next(0.2)) { push @seen, $message; }
	my @found = grep { $_->{subject} =~ $like } @seen;
	return join ' ', map { $_->{headers}{'KV-Operation'} // $json->decode($_->{data})->{v} } @found;
}

$source->safe_psql('postgres', q{
	INSERT INTO t VALUES (1000, 'a', repeat('z', 3000), 1), (1001, 'b', NULL, 2);
	UPDATE t SET v = 'c' WHERE id = 1000;
	UPDATE t SET v = 'd', n = 1.50 WHERE id = 1000;
	UPDATE t SET id = 2000 WHERE id = 1000;
	DELETE FROM t WHERE id = 1001;
	INSERT INTO t VALUES (1001, 'e');
	UPDATE pairs SET v = 'y' WHERE b < 20;
	UPDATE by_index SET b = 11, v = 'w';
	DELETE FROM "Odd Name.x" WHERE "the key" = '=';
});
wait_caught_up($source, $dest, 'g');
is_same_bucket('rows', 'changes: values that were not sent are kept, keys that change move');
is(seen(qr/public\.t\.1000$/), 'a c d DEL', 'a watcher sees every change of a row, in order');
is(seen(qr/public\.t\.2000$/), 'd', 'and of its new key');
is(seen(qr/public\.t\.1001$/), 'b DEL e', 'a deleted row, and one that comes after it');
is_deeply([ map { $_->{headers}{'Flo-Type'} } grep { $_->{subject} =~ /by_index/ } @seen ], [ 'UPDATE', 'UPDATE' ],
	'headers say what has happened');
like((grep { $_->{subject} =~ /by_index/ } @seen)[0]{headers}{'Flo-Commit-LSN'}, qr{^[0-9A-F]+/[0-9A-F]+$}, 'and when');

$source->safe_psql('postgres', q{
	BEGIN;
	INSERT INTO pairs VALUES ('before', 1, 'x');
	TRUNCATE pairs, by_index;
	INSERT INTO pairs VALUES ('after', 1, 'y');
	COMMIT;
});
wait_caught_up($source, $dest, 'g');
is_same_bucket('rows', 'TRUNCATE removes the keys of its tables, and no others');
like(seen(qr/public\.pairs\.before\.1$/), qr/PURGE$/, 'a watcher is told of each');
is(seen(qr/public\.pairs\.after\.1$/), 'y', 'but of none that comes after it');

# --- what does not fit, or has no key -------------------------------------------------------

sub says
{
	my ($member, $words, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(wait_until($dest, 'postgres',
		"SELECT last_error ~ '$words' FROM flo.status WHERE member = '$member'", "$member to say $words"), $name);
}

$source->safe_psql('postgres', q{INSERT INTO t VALUES (5000, 'v', repeat('x', 70000), 1)});
says('rows', 'too large for bucket "rows"', 'a row that is too large stops the worker');
$dest->safe_psql('postgres', q{SELECT flo.alter_worker('g', 'rows', '{"oversize": "reference"}')});
$source->safe_psql('postgres', q{UPDATE t SET n = 2 WHERE id = 5000});
wait_caught_up($source, $dest, 'g');
my @large = $client->stream('KV_rows', '$KV.rows.public.t.5000');
is_deeply([ map { $_->{data} } @large ], [ map { qq({"id":5000,"v":"v","n":$_}) } 1, 2 ],
	'or is kept without its largest value');
is_deeply([ map { $_->{headers}{'Flo-Omitted'} } @large ], [ 'big', 'big' ], 'which is named');
$source->safe_psql('postgres', q{DELETE FROM t WHERE id = 5000;
	CREATE TABLE nokey (a int); ALTER TABLE nokey REPLICA IDENTITY FULL; INSERT INTO nokey VALUES (1)});
says('rows', 'cannot be kept in a bucket: with REPLICA IDENTITY FULL', 'a table without a key stops the worker');
$dest->safe_psql('postgres', q{SELECT flo.alter_worker('g', 'rows',
	'{"tables": ["t", "pairs", "\"Odd Name.x\"", "by_index"]}')});
my $long = 'long ' x 400;
$source->safe_psql('postgres', qq{INSERT INTO pairs VALUES ('$long', 1, 'x')});
wait_caught_up($source, $dest, 'g');
ok((grep { /^public\.pairs\.=h[0-9A-F]{64}$/ } keys %{ keys_of('rows') }), 'a key that is too long is a hash');
$source->safe_psql('postgres', qq{DELETE FROM pairs WHERE a = '$long'});
wait_caught_up($source, $dest, 'g');
is_same_bucket('rows', 'what was stopped has gone on, with nothing lost');

# What somebody else has written stays until the row comes again
$client->request('$KV.rows.public.t.5', '{"id":5}');
$client->request('$KV.rows.public.t.6', '', 'KV-Operation' => 'DEL');
$source->safe_psql('postgres', q{UPDATE t SET v = 'z' WHERE id = 7; SELECT flo.backfill('g', 't', 'rows', 'id < 10');
	UPDATE t SET v = 'zz' WHERE id = 7});
ok(wait_until($source, 'postgres', q{SELECT bool_and(state = 'done') FROM flo.backfills}, 'a backfill'), 'a backfill');
wait_caught_up($source, $dest, 'g');
is_same_bucket('rows', 'brings rows that somebody has changed in the bucket');
like(seen(qr/public\.t\.7$/), qr/^z zz? zz$/, 'in order with changes');

# --- bad input ---------------------------------------------------------------------------------

for my $case (
	[ '{"kv_bucket": "a.b"}', qr/^22023.*kv_bucket/, 'a name that no bucket may have' ],
	[ '{"kv_bucket": "pg_flo_state_g"}', qr/^22023.*kv_bucket/, 'the state of a group' ],
	[ '{"kv_bucket": "x", "stream": "s"}', qr/^22023.*exclude/, 'a bucket and a stream' ],
	[ '{"kv_bucket": "x", "subject": "s.{table}"}', qr/^22023.*exclude/, 'a bucket and a subject' ],
	[ '{"kv_bucket": "x", "partition_by": "table"}', qr/^22023.*exclude/, 'a bucket and partitions' ],
	[ '{"kv_bucket": "x", "kv_history": 65}', qr/^22023.*kv_history/, 'too long a history' ])
{
	my ($options, $error, $name) = @$case;
	like(error_of($dest, "SELECT flo.create_worker('g', 'nats', 'bad', '$options')"), $error, $name);
}

$nats->api('STREAM.CREATE.KV_filled', { name => 'KV_filled', subjects => ['$KV.filled.>'], max_msgs_per_subject => 1,
	discard => 'new', allow_rollup_hdrs => JSON::PP::true() });
$client->request('$KV.filled.key', 'value');
$nats->api('STREAM.CREATE.KV_short', { name => 'KV_short', subjects => ['$KV.short.>'], max_msgs_per_subject => 1,
	discard => 'new', allow_rollup_hdrs => JSON::PP::true(), max_age => 1000000000 });
my %refused = (
	another => [ { kv_bucket => 'rows', kv_history => 20 }, 'belongs to another worker', 'a bucket of another worker' ],
	history => [ { kv_bucket => 'rows' }, 'its history is 20', 'one with another history' ],
	filled => [ { kv_bucket => 'filled' }, 'holds keys', 'one that somebody has filled' ],
	short => [ { kv_bucket => 'short' }, 'values go after a time', 'one that forgets' ]);
for my $worker (sort keys %refused)
{
	my ($options, $words, $name) = @{ $refused{$worker} };
	$dest->safe_psql('postgres', "SELECT flo.create_worker('g', 'nats', '$worker', '"
		  . JSON::PP::encode_json($options) . "'); SELECT flo.start_group('g', '$worker')");
	says($worker, $words, "$name is refused");
	$dest->safe_psql('postgres', "SELECT flo.drop_worker('g', '$worker', force => true)");
}

done_testing();
