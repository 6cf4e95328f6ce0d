
# Rows in a bucket, whatever dies in between: who watches it sees every change of a row
# once and in order, and what is left is the table.

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

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats, conf => "pg_flo.restart_interval = '200ms'");
my $keys = 1200;
my $version = 0;

$source->safe_psql('postgres', qq{
	CREATE TABLE k (id int PRIMARY KEY, v int);
	CREATE TABLE gone (id int PRIMARY KEY, v int);
	INSERT INTO k SELECT i, 0 FROM generate_series(1, $keys) i;
	INSERT INTO gone SELECT i, 0 FROM generate_series(1, 700) i;
});
create_copy_group($source, undef, 'g');
create_event_worker($dest, 'g', 'nats', 'kv', { kv_bucket => 'k', kv_history => 64, start => 'copy' });
wait_state($dest, 'g', 'kv', 'streaming');

sub change { $version++; $source->safe_psql('postgres', 'UPDATE k SET v = v + 1'); }

# Halt there, in the midst of a row of changes, and die
sub killed_at
{
	my ($point) = @_;

	halt_at($dest, $point);
	change() for 1 .. 2;
	ok(await_halt($dest, $point), "the worker comes to $point");
	kill9_member($dest, 'g', 'kv');
	change();
	wait_caught_up($source, $dest, 'g');
}

# What the stream of the bucket holds of each key, in order
sub histories
{
	my %values;

	my $client = FloNatsClient->new($nats->port);
	for my $message ($client->stream('KV_k'))
	{
		my ($id) = $message->{subject} =~ /^\$KV\.k\.public\.(?:k|gone|few|many)\.(\d+)$/;
		my ($table) = $message->{subject} =~ /^\$KV\.k\.public\.(\w+)/;
		push @{ $values{$table}{$id} },
		  $message->{headers}{'KV-Operation'} // JSON::PP::decode_json($message->{data})->{v};
	}
	return \%values;
}

sub is_exact
{
	my ($name) = @_;
	my $found = histories()->{k};
	my $expected = join ' ', 0 .. $version;
	my @wrong = grep { join(' ', @{ $found->{$_} || [] }) ne $expected } 1 .. $keys;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	diag("key $wrong[0]: @{ $found->{$wrong[0]} || [] }") if @wrong;
	return is(@wrong . ' of ' . keys(%$found), "0 of $keys", $name);
}

killed_at($_) for 'send.before:500', 'send.after:1700', 'commit.before', 'commit.after';
is_exact('a worker that is killed: each value once, and in order');

# The broker goes, with what is under way
for my $time (1 .. 2)
{
	change() for 1 .. 2;
	$nats->kill9;
	change();
	$nats->start;
	wait_caught_up($source, $dest, 'g');
}
is_exact('a broker that is killed');

# A TRUNCATE that is broken off goes on with the keys that are left
halt_at($dest, 'send.after:300');
$source->safe_psql('postgres', 'TRUNCATE gone');
ok(await_halt($dest, 'the midst of a TRUNCATE'), 'in the midst of a TRUNCATE');
kill9_member($dest, 'g', 'kv');
$source->safe_psql('postgres', 'INSERT INTO gone VALUES (7, 1)');
wait_caught_up($source, $dest, 'g');
my $gone = histories()->{gone};
is_deeply([ map { join ' ', @{ $gone->{$_} } } 6, 7, 8, 700 ], [ 'PURGE', 'PURGE 1', 'PURGE', 'PURGE' ],
	'what is put after a TRUNCATE stays');
my @left = grep { $_ ne '7' && "@{ $gone->{$_} }" ne 'PURGE' } sort keys %$gone;
is(scalar @left, 0, 'and all before it is purged, once')
  or diag(join ', ', map { "$_: @{ $gone->{$_} }" } @left);

# Somebody else's message is the newest one as the worker dies, so it all comes again
my $config = $nats->api('STREAM.INFO.KV_k')->{config};
ok(!$nats->api('STREAM.UPDATE.KV_k', { %$config, duplicate_window => 100_000_000 })->{error}, 'Ids are soon forgotten');
$source->safe_psql('postgres', q{
	CREATE TABLE wide (id int PRIMARY KEY, v int, big text);
	ALTER TABLE wide ALTER big SET STORAGE EXTERNAL;
	INSERT INTO wide SELECT i, i, repeat('b', 3000) FROM generate_series(1, 5) i});
wait_caught_up($source, $dest, 'g');
halt_at($dest, 'commit.before');
$source->safe_psql('postgres', 'UPDATE wide SET id = id + 10');
ok(await_halt($dest, 'the commit'), 'keys are changed');
FloNatsClient->new($nats->port)->request('$KV.k.somebody', '{}');
kill9_member($dest, 'g', 'kv');
wait_caught_up($source, $dest, 'g');
my @wide = grep { !$_->{headers}{'KV-Operation'} }
  FloNatsClient->new($nats->port)->stream('KV_k', '$KV.k.public.wide.*');
cmp_ok(scalar @wide, '>', 10, 'they come twice');
is(scalar(grep { length(JSON::PP::decode_json($_->{data})->{big} // '') != 3000 } @wide), 0,
	'and what is not sent with them is still there');

# A TRUNCATE that goes on with fewer of its tables: what is left of the others is not for this worker any more
$source->safe_psql('postgres', q{
	CREATE TABLE few (id int PRIMARY KEY, v int); CREATE TABLE many (LIKE few INCLUDING ALL);
	INSERT INTO few SELECT i, 0 FROM generate_series(1, 50) i;
	INSERT INTO many SELECT i, 0 FROM generate_series(1, 700) i});
wait_caught_up($source, $dest, 'g');
halt_at($dest, 'send.after:300');
$source->safe_psql('postgres', 'TRUNCATE few, many');
ok(await_halt($dest, 'the midst of the second table'), 'in the midst of the second table of a TRUNCATE');
$dest->safe_psql('postgres', q{SELECT flo.alter_worker('g', 'kv', '{"tables": ["public.many"]}')});
kill9_member($dest, 'g', 'kv');
wait_caught_up($source, $dest, 'g');
my $many = histories()->{many};
is(scalar(grep { "@{ $many->{$_} }" ne 'PURGE' } keys %$many), 0, 'all of it is purged');

# A worker made anew, with the bucket there is: what is not in its copy goes
$dest->safe_psql('postgres', "SELECT flo.stop_group('g', 'kv')");
wait_state($dest, 'g', 'kv', 'stopped');
$dest->safe_psql('postgres', "SELECT flo.drop_worker('g', 'kv')");
$source->safe_psql('postgres', 'DELETE FROM k WHERE id > 1000; UPDATE k SET v = -1 WHERE id <= 10');
# of a source whose LSNs were higher
FloNatsClient->new($nats->port)->request('$KV.k.public.k.99999', '{"v":0}', 'Flo-Commit-LSN' => 'FFFF/0',
	'Flo-Place' => '0123456789abcdef FFFF/0 1 0');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g', 'nats', 'kv',
	'{"kv_bucket": "k", "kv_history": 64, "start": "copy"}'); SELECT flo.start_group('g', 'kv')});
wait_state($dest, 'g', 'kv', 'waiting');
halt_at($dest, 'send.after:400');
$source->safe_psql('postgres', "SELECT flo.resync('g')");
ok(await_halt($dest, 'the midst of a copy'), 'in the midst of a copy');
kill9_member($dest, 'g', 'kv');
wait_state($dest, 'g', 'kv', 'streaming');
change();
wait_caught_up($source, $dest, 'g');
my $found = histories()->{k};
is(scalar(grep { $found->{$_}[-1] eq 'DEL' } 1001 .. $keys), $keys - 1000, 'rows that are not in the copy are removed');
is($found->{99999}[-1], 'DEL', 'those of another source, too, whatever their LSNs are');
is(scalar(grep { $found->{$_}[-1] eq ($_ <= 10 ? 0 : $version) } 1 .. 1000), 1000, 'all others are as they are');
is(scalar(grep { "@{ $found->{$_} }[-2 .. -1]" ne ($_ <= 10 ? '-1 0' : $version - 1 . " $version") } 1 .. 1000), 0,
	'and what came after the copy comes after it');

done_testing();
