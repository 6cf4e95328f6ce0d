
# Promise 2: kill any process, any time, under load.  Each fault comes once,
# while pgbench writes; then both sides must hold exactly the same rows.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
# the time-out of an idle load, and the product's own hold-back of the slot
my $conf = "pg_flo.broker_sync_interval = '2s'\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);
my @tables = qw(pgbench_accounts pgbench_branches pgbench_tellers pgbench_history large);

pgbench_tables($source, $dest);
$_->safe_psql('postgres', 'CREATE TABLE large (id int PRIMARY KEY, v text)') for $source, $dest;
create_group($source, $dest, 'g');
$source->command_ok([ 'pgbench', '-i', '-I', 'g', '-q', '-p', $source->port, '-h', $source->host, 'postgres' ],
	"pgbench's rows, through the stream");
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, $_, "before: $_") for @tables;

# A transaction of pgbench adds the same number to one account, teller and
# branch: never may a reader at the destination see them differ
my $torn = q{SELECT (SELECT sum(abalance) FROM pgbench_accounts) IS DISTINCT
	FROM (SELECT sum(bbalance) FROM pgbench_branches)
	OR (SELECT sum(tbalance) FROM pgbench_tellers) IS DISTINCT FROM (SELECT sum(bbalance) FROM pgbench_branches)};

# Some more transactions reach the destination than when this was called
sub some_progress
{
	my ($what) = @_;
	my $seen = $dest->safe_psql('postgres', 'SELECT coalesce(max(id), 0) FROM pgbench_history');
	wait_until($dest, 'postgres', "SELECT count(*) > 300 FROM pgbench_history WHERE id > $seen", $what)
	  or die "no progress: $what";
}

my $large = 0;

# One fault under load; afterwards nothing is lost, doubled or torn
sub fault
{
	my ($name, $do) = @_;
	my $load = start_load($source, clients => 4);

	some_progress("the load before: $name");
	# something large is on its way, so that the fault cuts a transaction in half
	$large++;
	my $timer = IPC::Run::start(
		[ 'psql', '-qX', '-p', $source->port, '-h', $source->host, '-d', 'postgres', '-c',
			"INSERT INTO large SELECT $large * 1000000 + i, repeat('x', 200) FROM generate_series(1, 60000) i" ],
		'>', \my $out, '2>', \my $err);
	$do->();
	some_progress("the load after: $name");
	is($dest->safe_psql('postgres', $torn), 'f', "$name: transactions arrive whole");
	stop_load($load);
	$timer->finish;
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, $_, "$name: $_") for @tables;
	wait_state($source, 'g', 'replicator', 'streaming');
	wait_state($dest, 'g', 'postgres', 'streaming');
}

fault('kill -9 of the worker', sub {
	ok(wait_other_pid($dest, 'g', 'postgres', kill9_member($dest, 'g', 'postgres')), 'the worker is another process');
});

fault('kill -9 of the replicator', sub {
	ok(wait_other_pid($source, 'g', 'replicator', kill9_member($source, 'g', 'replicator')),
		'the replicator is another process');
});

fault('kill -9 of nats-server', sub {
	$nats->kill9;
	wait_state($dest, 'g', 'postgres', 'waiting|backoff');
	wait_state($source, 'g', 'replicator', 'waiting|backoff');
	like(status_of($source, 'g', 'replicator', "coalesce(detail, '') || coalesce(last_error, '')"),
		qr/nats|connect/i, 'flo.status says what it waits for');
	$nats->start;
});

fault('kill -9 of nats-server, back at once', sub { $nats->kill9; $nats->start; });

fault('a nats-server that stops answering', sub {
	$nats->pause;
	# both sides notice by themselves, or go on as if nothing had been
	my $seen = $source->safe_psql('postgres', 'SELECT count(*) FROM pgbench_history');
	ok(wait_until($source, 'postgres', "SELECT count(*) > $seen + 1000 FROM pgbench_history", 'the load to go on'),
		'the source does not care');
	$nats->resume;
});

fault('immediate restart of the destination', sub { $dest->stop('immediate'); $dest->start; });
fault('immediate restart of the source', sub { $source->stop('immediate'); $source->start; });
fault('kill -9 of everything', sub {
	$nats->kill9;
	my $replicator = kill9_member($source, 'g', 'replicator');
	my $worker = kill9_member($dest, 'g', 'postgres');
	$nats->start;
	ok(wait_other_pid($source, 'g', 'replicator', $replicator), 'the replicator is back');
	ok(wait_other_pid($dest, 'g', 'postgres', $worker), 'the worker is back');
});
fault('fast restart of both', sub { $_->restart for $source, $dest; });

# All of it in the order of the source: the newest rows are there, nothing is pending
is($source->safe_psql('postgres', q{SELECT count(*) FROM pg_replication_slots WHERE NOT active}), '0',
	'one slot, in use');
# restart_lsn moves when a snapshot of running transactions is confirmed, and of
# two of them in flight PostgreSQL remembers one: so one after the other
for (1 .. 2)
{
	$source->safe_psql('postgres', 'CHECKPOINT');
	my $lsn = $source->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
	ok(wait_until($source, 'postgres', "SELECT confirmed_flush_lsn >= '$lsn' FROM pg_replication_slots",
		'the slot to be confirmed'),
		'the slot follows');
}
ok(wait_until($source, 'postgres', q{SELECT retained_wal_bytes < 16 * 1024 * 1024 FROM flo.status},
	'WAL to be released'),
	'WAL is released in the end');

$_->stop('fast') for $source, $dest;
done_testing();
