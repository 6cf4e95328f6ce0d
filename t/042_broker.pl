
# What a user sees when something is wrong at the broker, and how it ends.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloNatsClient;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker', start => 0);
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $other = flo_node('other', $nats);
my $stream = 'pgflo_g_stream';

transfer_tables($source, $dest);
$source->safe_psql('postgres', 'INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 100) i');
$dest->safe_psql('postgres', 'INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 100) i');
sub same { wait_caught_up($source, $dest, 'g'); is_same_table($source, $dest, $_, "$_[0]: $_") for qw(accounts moves); }
sub shows
{
	my ($node, $member, $pattern, $name) = @_;
	ok(wait_until($node, 'postgres', "SELECT EXISTS (SELECT FROM flo.status WHERE member = '$member'"
		  . " AND concat_ws(' ', state, detail, last_error) ~* '$pattern')", "$member to show $pattern"), $name)
	  or diag(status_of($node, 'g', $member, "concat_ws(' | ', state, detail, last_error)"));
}
sub both_stream
{
	wait_state($source, 'g', 'replicator', 'streaming');
	wait_state($dest, 'g', 'postgres', 'streaming');
}
sub load_a_bit
{
	$source->safe_psql('postgres', q{DO $$ BEGIN FOR i IN 1..50 LOOP
		UPDATE accounts SET balance = balance - 1 WHERE id = i; UPDATE accounts SET balance = balance + 1
			WHERE id = 101 - i;
		INSERT INTO moves (a, b, amount) VALUES (i, 101 - i, 1); COMMIT; END LOOP; END $$});
}

# --- down ----------------------------------------------------------------------------------

$source->safe_psql('postgres', q{SELECT flo.create_replicator('g'); SELECT flo.start_group('g')});
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g'); SELECT flo.start_group('g')});
shows($source, 'replicator', '^waiting .*NATS', 'down at the start: the replicator waits for NATS');
shows($dest, 'postgres', '^waiting .*NATS', 'so does the worker');
$nats->start;
both_stream();
load_a_bit();
same('down at the start');

my $load = transfer_load($source, rate => 200);
wait_until($dest, 'postgres', 'SELECT count(*) > 200 FROM moves', 'some load') or die;
$nats->kill9;
shows($source, 'replicator', '^(waiting|backoff) .*NATS', 'down under load: the replicator says so');
shows($dest, 'postgres', '^(waiting|backoff) .*NATS', 'so does the worker');
my $moves = $source->safe_psql('postgres', 'SELECT count(*) FROM moves');
ok(wait_until($source, 'postgres', "SELECT count(*) > $moves + 1000 FROM moves", 'the load'),
	'the source does not care');
cmp_ok($source->safe_psql('postgres', 'SELECT retained_wal_bytes FROM flo.status'), '>', 0, 'and keeps the WAL');
$nats->start;
both_stream();
stop_load($load);
same('down under load');

# --- things removed by hand -------------------------------------------------------------------

my $consumer = $source->safe_psql('postgres', q{SELECT consumer FROM flo.stream_status('g')});
$nats->api("CONSUMER.DELETE.$stream.$consumer");
load_a_bit();
same('consumer deleted by hand');

$nats->api("STREAM.DELETE.$stream");
load_a_bit();
same('stream deleted by hand, all of it applied');

$nats->api('STREAM.DELETE.KV_pg_flo_state_g');
kill9_member($dest, 'g', 'postgres');
wait_until($dest, 'postgres', 'SELECT true', 'the destination') or die;
load_a_bit();
same('state bucket deleted by hand');

# --- full stream -------------------------------------------------------------------------------

$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
$source->safe_psql('postgres', q{SELECT flo.alter_replicator('g',
	'{"stream_max_bytes": "4MB", "compression": "none"}')});
# the first of them may still be compressed
for (1 .. 30)
{
	$source->safe_psql('postgres', q{INSERT INTO moves (a, amount, note) SELECT i, 0, repeat(md5(i::text), 10)
		FROM generate_series(1, 1500) i});
}
shows($source, 'replicator', 'stream full: .* of 4096 kB, slowest consumer postgres',
	'stream full: the detail says whose fault it is');
my $kept = $source->safe_psql('postgres', 'SELECT retained_wal_bytes FROM flo.status');
cmp_ok($kept, '>', 1024 * 1024, 'stream full: WAL is kept');
cmp_ok($nats->api("STREAM.INFO.$stream")->{state}{bytes}, '<=', 4 * 1024 * 1024, 'stream full: the limit holds');
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
same('stream full: goes on when there is space');

# One transaction that does not fit (F10)
$source->safe_psql('postgres', q{INSERT INTO moves (a, amount, note) SELECT i, 0, repeat(md5(i::text), 10)
	FROM generate_series(1, 30000) i});
shows($source, 'replicator', 'failed .*needs more than stream_max_bytes',
	'F10, rule 31: a transaction larger than the stream');
private_memory_ok($source, 'g', 'replicator', 64, 'memory while the stream is full');
my $large = pid_of($source, 'g', 'replicator');
$source->safe_psql('postgres', q{SELECT flo.alter_replicator('g', '{"stream_max_bytes": "64MB"}')});
same('F10: goes on when the limit is raised');
is(pid_of($source, 'g', 'replicator'), $large, 'F10: the process that has read it, which nobody reads again');

# What a rule has looked up is of no use to the one that waits
$source->safe_psql('postgres', q{SELECT flo.alter_replicator('g', '{"stream_max_bytes": "4MB"}');
	CREATE FUNCTION as_it_is(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
	INSERT INTO flo.rules (group_name, stage, table_name, column_name, action, arguments)
		VALUES ('g', 'replicator', 'moves', 'note', 'expression', '{"expression": "public.as_it_is(note)"}')});
$source->safe_psql('postgres', q{INSERT INTO moves (a, amount, note)
	SELECT 1, 0, string_agg(md5(i::text), '') FROM generate_series(1, 500000) i});
shows($source, 'replicator', 'failed .*needs more than stream_max_bytes', 'a row larger than the stream, with a rule');
is($source->safe_psql('postgres', 'SELECT backend_xmin FROM pg_stat_activity WHERE pid = '
	  . pid_of($source, 'g', 'replicator')), '', 'it keeps nothing from being vacuumed');
$source->safe_psql('postgres', q{SELECT flo.alter_replicator('g', '{"stream_max_bytes": "64MB"}')});
same('a row larger than the stream: goes on, too');
$source->safe_psql('postgres', 'DELETE FROM flo.rules');
$source->safe_psql('postgres', q{SELECT flo.alter_replicator('g', '{"stream_max_bytes": null}')});

# --- the server's limits --------------------------------------------------------------------------

$nats->configure('max_payload: 32768');
$nats->restart;
$source->safe_psql('postgres', q{INSERT INTO moves (a, amount, note) VALUES (1, 0, repeat('x', 200000))});
load_a_bit();
same('max_payload lowered: rows are split');
$nats->configure('max_payload: 1024');
$nats->restart;
shows($source, 'replicator', 'max_payload of nats-server is 1024 bytes, less than', 'max_payload too low: says so');
$nats->configure('');
$nats->restart;
load_a_bit();
same('max_payload raised again');

# --- permissions ----------------------------------------------------------------------------------

$nats->configure('authorization { users = [ { user: "test", password: "test" }, { user: "a", password: "hidden", '
	  . 'permissions: { publish: { deny: ["pgflo.>", "$KV.>"] } } } ] }');
$nats->restart;
shows($source, 'replicator', '(waiting|backoff).*(authorization|permission|NATS)',
	'not allowed in: the replicator says so');
$_->append_conf('postgresql.conf', "pg_flo.nats_user = 'a'\npg_flo.nats_password = 'hidden'\n") for $source, $dest;
$_->reload for $source, $dest;
shows($source, 'replicator', 'backoff.*(permission|did not acknowledge|no answer)',
	'not allowed to publish: the replicator says so');
unlike(slurp_file($source->logfile), qr/hidden/, 'no password in the log');
$nats->configure('authorization { users = [ { user: "test", password: "test" }, { user: "a", password: "hidden" } ] }');
$nats->restart;
load_a_bit();
same('allowed again');
$nats->configure('');
$nats->restart;
$_->append_conf('postgresql.conf', "pg_flo.nats_user = ''\npg_flo.nats_password = ''\n") for $source, $dest;
$_->reload for $source, $dest;
both_stream();

# --- another source of the same name --------------------------------------------------------------

$other->safe_psql('postgres', q{CREATE TABLE accounts (id int PRIMARY KEY);
	SELECT flo.create_replicator('g', tables => '{public.accounts}'); SELECT flo.start_group('g')});
wait_state($other, 'g', 'replicator', 'failed');
like(status_of($other, 'g', 'replicator', 'detail'), qr/is owned by another source/,
	'a second replicator on the stream is failed');
is(status_of($source, 'g', 'replicator', 'state'), 'streaming', 'the first goes on');
load_a_bit();
same('a second replicator');
is($dest->safe_psql('postgres', 'SELECT sum(balance) FROM accounts'), '100000', 'the sum is what it was');

# --- the consumer's leader changes ----------------------------------------------------------------

my $watcher = FloNatsClient->new($nats->port);
my $logged = -s $dest->logfile;
$watcher->subscribe("\$JS.API.CONSUMER.MSG.NEXT.$stream.$consumer");
$watcher->flush;
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
start_member($dest, 'g', 'postgres');
for my $round (1 .. 8)
{
	my $pull = $watcher->next(60) or die "nothing is asked for, $round";
	$watcher->publish($pull->{reply}, '', undef, Status => 409, Description => 'Leadership Change');
	$watcher->flush;
}
same('a consumer whose leader changes again and again');
unlike(slurp_file($dest->logfile, $logged), qr/another worker uses/, 'that is not taken for another worker');

# --- somebody else takes the consumer (rule 40) ---------------------------------------------------

await(sub {
		$nats->api("CONSUMER.DELETE.$stream.$consumer") if !$nats->api("CONSUMER.INFO.$stream.$consumer")->{error};
		$source->safe_psql('postgres', q{INSERT INTO moves (a, amount) VALUES (0, 0)});
		status_of($dest, 'g', 'postgres', 'state') eq 'failed';
	}, 'the worker to give it up');
shows($dest, 'postgres', 'failed another worker uses consumer',
	'rule 40: a consumer that is taken away again and again');
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
same('after that');

$_->stop('fast') for $source, $dest, $other;
done_testing();
