
# A good citizen of the server it lives in: statistics, autovacuum, the clock,
# pg_stat_activity, and commands that wait for every process.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $nats = FloTest::Nats->new('broker');
my $conf = <<'CONF';
autovacuum_naptime = '1s'
autovacuum_vacuum_threshold = 500
autovacuum_vacuum_insert_threshold = -1
autovacuum_analyze_threshold = 500
CONF
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats, conf => $conf);
my $directory = PostgreSQL::Test::Utils::tempdir();

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text);
	CREATE TABLE copied (id int PRIMARY KEY, v text)') for $source, $dest;
$source->safe_psql('postgres', q{INSERT INTO copied SELECT i, 'x' FROM generate_series(1, 2000) i});
create_copy_group($source, $dest, 'g', tables => q{'{t,copied}'});
$dest->safe_psql('postgres',
	qq{SELECT flo.create_worker('g', sink => 'file', options => '{"directory": "$directory", "start": "latest"}')});
start_member($dest, 'g', 'file');

# Statistics come within a second or two while the process that made them lives
my $worker = pid_of($dest, 'g', 'postgres');
my $file = pid_of($dest, 'g', 'file');

sub counted
{
	my ($node, $condition, $table, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(wait_until($node, 'postgres', "SELECT $condition FROM pg_stat_all_tables
		WHERE relid = '$table'::regclass", $name), $name);
}

# --- statistics ------------------------------------------------------------------------

counted($dest, 'n_tup_ins = 2000', 'copied', 'rows of a copy are counted');
counted($dest, 'last_autoanalyze IS NOT NULL', 'copied', 'and make it analyzed');

$source->safe_psql('postgres', q{INSERT INTO t SELECT i, 'x' FROM generate_series(1, 2000) i});
wait_caught_up($source, $dest, 'g');
counted($dest, 'n_tup_ins = 2000', 't', 'inserts of a worker are counted while it lives');
counted($dest, 'last_autoanalyze IS NOT NULL', 't', 'and seen by autoanalyze');
for (1 .. 3)
{
	$source->safe_psql('postgres', q{UPDATE t SET v = v || 'y'});
	wait_caught_up($source, $dest, 'g');
}
counted($dest, 'n_tup_upd = 6000', 't', 'updates are counted');
counted($dest, 'last_autovacuum IS NOT NULL', 't', 'and seen by autovacuum');
$source->safe_psql('postgres', q{DELETE FROM t WHERE id > 1000});
wait_caught_up($source, $dest, 'g');
counted($dest, 'n_tup_del = 1000', 't', 'deletes are counted');
counted($dest, 'n_tup_upd > 0', 'flo.progress', q{the file worker's own writes are counted});

# Also what an aborted batch has left: its rows are dead, and nobody else knows of them
$dest->safe_psql('postgres', 'ALTER TABLE t ADD CONSTRAINT few CHECK (id < 5000)');
$source->safe_psql('postgres', q{INSERT INTO t VALUES (5001, 'refused')});
wait_state($dest, 'g', 'postgres', 'backoff');
$dest->safe_psql('postgres', 'ALTER TABLE t DROP CONSTRAINT few');
wait_caught_up($source, $dest, 'g');
$worker = pid_of($dest, 'g', 'postgres');

# --- the clock --------------------------------------------------------------------------

$dest->safe_psql('postgres', 'ALTER TABLE t ADD arrived timestamptz DEFAULT now()');
for my $id (6001, 6002)
{
	my $before = $dest->safe_psql('postgres', 'SELECT clock_timestamp()');
	$source->safe_psql('postgres', "INSERT INTO t VALUES ($id, 'clock')");
	wait_caught_up($source, $dest, 'g');
	is($dest->safe_psql('postgres', "SELECT arrived BETWEEN '$before' AND now() FROM t WHERE id = $id"), 't',
		"now() is the present in a worker's transaction ($id)");
}

# --- history ------------------------------------------------------------------------------

# More than one portion, of which some is to stay; a worker looks through it when it starts and every minute
$dest->safe_psql('postgres',
	q{INSERT INTO flo.ddl_log (group_name, worker_name, lsn, tag, command, outcome, executed_at)
	SELECT 'g', 'postgres', '0/1'::pg_lsn, 'ALTER TABLE', 'old', 'applied', now() - interval '31 days'
		FROM generate_series(1, 1200)
	UNION ALL SELECT g, 'postgres', '0/1'::pg_lsn, 'ALTER TABLE', 'kept', 'applied', now() - interval '29 days'
		FROM (VALUES ('g'), ('g')) v (g)});
$dest->safe_psql('postgres',
	q{INSERT INTO flo.dead_letters (group_name, worker_name, url, event_id, lsn, event, error, attempts,
	first_attempt_at, last_attempt_at, redrive_requested_at)
	SELECT 'g', 'file', 'u', i::text, '0/1'::pg_lsn, '{}'::json, 'e', 1, now() - interval '10 days',
		now() - interval '10 days', CASE WHEN i = 1 THEN now() END FROM generate_series(1, 5) i});
sub begin_again
{
	my $pid = pid_of($dest, 'g', 'postgres');
	$dest->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	wait_other_pid($dest, 'g', 'postgres', $pid);
	$worker = pid_of($dest, 'g', 'postgres');
	return;
}
begin_again();
ok(wait_until($dest, 'postgres', q{SELECT count(*) = 2 AND min(command) = 'kept' FROM flo.ddl_log}, 'history to go'),
	'flo.ddl_log keeps 30 days');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM flo.dead_letters'), '5',
	'and dead letters stay until somebody sees to them');
$dest->append_conf('postgresql.conf', "pg_flo.dead_letters_keep = '9d'\npg_flo.ddl_log_keep = 0\n");
$dest->reload;
begin_again();
ok(wait_until($dest, 'postgres', q{SELECT count(*) = 1 AND bool_and(redrive_requested_at IS NOT NULL)
	FROM flo.dead_letters}, 'letters to go'),
	'or for as long as was said, those to be redriven excepted');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM flo.ddl_log'), '2', 'while what has no limit stays');
$dest->safe_psql('postgres', 'DELETE FROM flo.dead_letters');

# --- what a DBA sees ------------------------------------------------------------------------

for my $node ($source, $dest)
{
	ok(wait_until($node, 'postgres', q{SELECT bool_and(a.state = 'idle' AND a.xact_start IS NULL AND a.query <> '')
		FROM pg_stat_activity a JOIN flo.status s USING (pid)},
			'idle'), 'a member with nothing to do is idle in pg_stat_activity: ' . $node->name);
	# now and then it writes down how far it is, and for a moment waits for that
	ok(wait_until($node, 'postgres', q{SELECT count(*) = 0 FROM pg_stat_activity a JOIN flo.status s USING (pid)
		WHERE wait_event_type <> 'Extension'
		OR wait_event NOT IN ('Extension', 'PgFloIdle', 'PgFloStream')}, 'what is ours'), 'and waits for what is ours');
}

# What is decoded is no transaction of this server's that was rolled back
my $replicated = "SELECT total_txns FROM pg_stat_replication_slots WHERE slot_name LIKE 'pgflo%'";
my $rolled_back = q{SELECT xact_rollback FROM pg_stat_database WHERE datname = 'postgres'};
my @before = map { $source->safe_psql('postgres', $_) } $replicated, $rolled_back;
$source->safe_psql('postgres',
	q{DO $$ BEGIN FOR i IN 1 .. 300 LOOP INSERT INTO t VALUES (30000 + i, 'y'); COMMIT; END LOOP; END $$});
wait_caught_up($source, $dest, 'g');
ok(wait_until($source, 'postgres', "SELECT ($replicated) >= $before[0] + 300", 'the slot to count them'),
	'the slot counts the transactions that were decoded');
$source->safe_psql('postgres', q{SELECT flo.stop_group('g', 'replicator')});
wait_state($source, 'g', 'replicator', 'stopped');
start_member($source, 'g', 'replicator');
cmp_ok($source->safe_psql('postgres', $rolled_back) - $before[1], '<', 100,
	'none of which is one more that was rolled back');

# --- commands that wait for every process -------------------------------------------------------

# DROP DATABASE has all processes let go of files; here of processes that wait for the broker
sub barrier_ok
{
	my ($node, $name) = @_;
	my $start = time();

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->safe_psql('postgres', 'CREATE DATABASE passing');
	$node->psql('postgres', 'DROP DATABASE passing', timeout => 60);
	is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_database WHERE datname = 'passing'}), '0',
		"$name: " . $node->name);
	cmp_ok(time() - $start, '<', 30, 'without a long wait');
	return;
}

barrier_ok($_, 'DROP DATABASE does not wait for idle members') for $source, $dest;

# a transaction of which the rest has not come, in the worker and in the decoder
$source->safe_psql('postgres', q{INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(10001, 12000) i});
$nats->pause;
$source->safe_psql('postgres', q{INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(20001, 24000) i});
barrier_ok($_, 'nor for members that wait for the broker') for $source, $dest;
my $log = -s $dest->logfile;
$dest->safe_psql('postgres', "SELECT pg_log_backend_memory_contexts($worker)");
ok($dest->wait_for_log(qr/level: [01]; TopMemoryContext/, $log), 'which still say what they keep in memory');
$nats->resume;
wait_caught_up($source, $dest, 'g');
is($source->safe_psql('postgres', 'SELECT count(*) FROM t'), $dest->safe_psql('postgres', 'SELECT count(*) FROM t'),
	'and go on');

is(pid_of($dest, 'g', 'file'), $file, 'all of it in one life of a process');

done_testing();
