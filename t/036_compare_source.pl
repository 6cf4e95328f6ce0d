# A comparison at the source: it waits for no more than its snapshot, and the stream does
# not wait with it; whatever ends it ends nothing else, and it leaves nothing behind.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use MIME::Base64 ();
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.restart_interval = '300ms'\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);
my $n = 1000;

sub src { return $source->safe_psql('postgres', $_[0]); }
sub dst { return $dest->safe_psql('postgres', $_[0]); }
sub begin { return src("SELECT flo.compare('g'" . join('', map { ", $_" } @_) . ')'); }

# What came of it, a line a table
sub over
{
	my ($id) = @_;

	wait_until($source, 'postgres', "SELECT bool_and(finished_at IS NOT NULL) FROM flo.comparisons WHERE id = $id",
		"comparison $id to be over")
	  or diag(src('SELECT * FROM flo.comparisons WHERE finished_at IS NULL'));
	return src("SELECT concat_ws(' ', relation::regclass, state, missing, extra, different, detail)
		FROM flo.comparisons"
		. " WHERE id = $id ORDER BY relation::regclass::text");
}

sub streams
{
	my ($words) = @_;

	$n++;
	src("INSERT INTO t VALUES ($n, 'streamed')");
	wait_caught_up($source, $dest, 'g');
	is(dst("SELECT v FROM t WHERE id = $n"), 'streamed', $words);
}

# No request, slot, process, key or stream
sub nothing_left
{
	my ($words) = @_;

	wait_until($source, 'postgres', q{SELECT NOT EXISTS (SELECT FROM flo.compare_requests)
		AND NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name LIKE '%\_cmp')
		AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'pg_flo comparer%' AND pid <> pg_backend_pid())},
		"nothing to be left $words");
	ok(await(sub {
		my $keys = $nats->api('STREAM.INFO.KV_pg_flo_state_g', { subjects_filter => '>' })->{state}{subjects};
		return !grep { /compar/ } keys %$keys;
	}, 'no key to be left'), "no key is left $words");
	ok(!grep({ $_ eq 'pgflo_g_compare' } $nats->streams), "nor a stream $words");
}

$_->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	CREATE TABLE u (id int PRIMARY KEY, v text);
}) for $source, $dest;
create_group($source, $dest, 'g', tables => q{'{t,u}'});
dst('CREATE DATABASE two');
$dest->safe_psql('two', q{CREATE EXTENSION pg_flo; CREATE TABLE t (id int PRIMARY KEY, v text);
	CREATE TABLE u (id int PRIMARY KEY, v text); SELECT flo.create_worker('g')});
start_member($dest, 'g', 'postgres', 'two');
src(q{INSERT INTO t SELECT i, 'v' FROM generate_series(1, 1000) i; INSERT INTO u SELECT i, 'v'
	FROM generate_series(1, 1000) i});
wait_caught_up($source, $dest, 'g');
my $equal = "t equal 0 0 0\nu equal 0 0 0";

# --- two destinations with a worker of one name ----------------------------------------------------

wait_caught_up($source, $dest, 'g', dest_db => 'two');
$dest->safe_psql('two', 'DELETE FROM t WHERE id > 997; UPDATE u SET v = id WHERE id < 6');
like(error_of($source, q{SELECT flo.compare('g', worker_name => 'postgres')}), qr/2 databases have a worker "postgres"/,
	'which of them is meant?');
my $id = begin();
is(join(' ', sort split /\n/, over($id)), 't different 3 0 0 t equal 0 0 0 u different 0 0 5 u equal 0 0 0',
	'both are compared');
is(src("SELECT count(DISTINCT worker_name) FROM flo.comparisons WHERE id = $id"), '2',
	'each for itself, by its consumer');
my $consumer = src("SELECT DISTINCT worker_name FROM flo.comparisons WHERE id = $id AND state = 'different'");
is(over(begin("worker_name => '$consumer'", 'repair => true')), "t repaired 3 0 0\nu repaired 0 0 5",
	'one of them is repaired');
is(join(' ', sort split /\n/, over(begin())), 't equal 0 0 0 t equal 0 0 0 u equal 0 0 0 u equal 0 0 0',
	'all are the same');
$dest->safe_psql('two', q{SELECT flo.drop_worker('g', 'postgres')});

# --- bad input -----------------------------------------------------------------------------------

like(error_of($source, q{SELECT flo.compare('nobody')}), qr/42704/, 'no such group');
like(error_of($source, q{SELECT flo.compare('g', 'pg_class')}), qr/42704.*is not in group "g"/s,
	'no table of the group');
like(error_of($source, q{SELECT flo.compare('g', worker_name => 'nobody')}), qr/42704.*no worker "nobody"/s,
	'no such worker');
like(error_of($source, q{SELECT flo.compare('g', repair_extra => true)}), qr/22023.*needs repair/s,
	'repair_extra alone');
like(error_of($source, q{SELECT flo.compare('g', compare_samples => -1)}), qr/22023/, 'samples below 0');
like(error_of($dest, q{SELECT flo.compare('g')}), qr/42704/, 'not at the destination');

# --- transactions that are open ------------------------------------------------------------------

my $session = FloTest::Session->new($source);
$session->query(q{BEGIN; INSERT INTO u VALUES (5000, 'open')});
$id = begin();
wait_until($source, 'postgres', "SELECT bool_and(state = 'snapshot') FROM flo.comparisons WHERE id = $id",
	'it to wait');
wait_until($source, 'postgres', q{SELECT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name LIKE '%\_cmp')},
	'its slot');
streams('a write transaction that is open holds up the comparison, not the stream');
like(error_of($source, q{SELECT flo.compare('g', 't')}), qr/55006.*is being compared already, by comparison $id/s,
	'two comparisons of a table at once');
$session->query('COMMIT');
is(over($id), $equal, 'when it is over both sides are compared');
nothing_left('of one that went well');

# --- changes of a table --------------------------------------------------------------------------

halt_at($source, 'compare.marked');
$id = begin();
ok(await_halt($source, 'the leader'), 'halted between its snapshot and its locks');
src('ALTER TABLE u ADD w int');
dst('ALTER TABLE u ADD w int');
unlink $source->data_dir . '/pg_flo.stop';
src("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'pg_flo comparer%'
	AND pid <> pg_backend_pid()");
like(over($id), qr/^t failed\b.*\nu failed\b/, 'ended by hand it has failed, by name');
$source->append_conf('postgresql.conf', "pg_flo.stop_at = ''\n");
$source->reload;
nothing_left('of one that was ended by hand');
streams('the stream goes on');
is(over(begin()), $equal, 'another one is equal');

# --- kills ---------------------------------------------------------------------------------------

dst("DELETE FROM u WHERE id <= 3");
for my $point ('compare.snapshot', 'compare.marked', 'compared.before', 'compared.before:3', 'repair.before')
{
	halt_at($source, $point);
	$id = begin('repair => true');
	ok(await_halt($source, $point), "a process halts at $point");
	my $pid = helper_pid($source, 'comparer g');
	kill('KILL', $pid) or die "kill $pid: $!";
	wait_until($source, 'postgres', 'SELECT true', 'the server to be back');
	wait_state($source, 'g', 'replicator', 'streaming');
	like(over($id), qr/^t (failed .*|equal 0 0 0)\nu failed\b/, "killed at $point: it has failed, by name");
	streams("killed at $point: the stream goes on");
	nothing_left("after $point");
}
is(over(begin('repair => true')), "t equal 0 0 0\nu repaired 3 0 0", 'then one goes well');

# --- members that stop -----------------------------------------------------------------------------

halt_at($source, 'compare.marked');
$id = begin();
ok(await_halt($source, 'the leader'), 'a comparison is under way');
unlink $source->data_dir . '/pg_flo.stop';
$source->append_conf('postgresql.conf', "pg_flo.stop_at = ''\n");
$source->reload;
src(q{SELECT flo.stop_group('g')});
like(over($id), qr/^t failed the replicator was stopped\nu failed the replicator was stopped$/,
	'the replicator is stopped');
like(error_of($source, q{SELECT flo.compare('g')}), qr/55000.*is stopped/s, 'and begins with none');
start_member($source, 'g', 'replicator');
nothing_left('of one whose replicator was stopped');
is(over(begin()), $equal, 'it goes on where it was');

# as it is said a minute after a worker has stopped
dst(q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
my ($key, $report);
await(sub {
		($key) = grep { /\.worker\./ } keys %{ $nats->api('STREAM.INFO.KV_pg_flo_state_g',
			{ subjects_filter => '>' })->{state}{subjects} };
		$report = $nats->api('STREAM.MSG.GET.KV_pg_flo_state_g', { last_by_subj => $key })->{message}{data} if $key;
		$report;
	}, 'the report') or die;
$report = MIME::Base64::decode_base64($report);
$report =~ s/"at": ?"\d+/"at": "2020/;
$nats->publish($key, $report);
like(error_of($source, q{SELECT flo.compare('g')}), qr/55000.*has been heard of for a minute/s,
	'a worker that is stopped is not waited for');
dst(q{SELECT flo.start_group('g')});
wait_state($dest, 'g', 'postgres', 'streaming');
is(over(begin()), $equal, 'and it goes on, too');

done_testing();
