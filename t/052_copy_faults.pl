
# Promise 2 for the initial copy: kill anything in the middle of it, and
# rewrite tables before they are read; the end is exact, and what was finished
# is not copied again.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my @tables = qw(wide pgbench_accounts pgbench_branches pgbench_tellers pgbench_history);

pgbench_tables($source, $dest);
# several ranges: more than the stream takes at once
$_->safe_psql('postgres', 'CREATE TABLE wide (id int PRIMARY KEY, v text)') for $source, $dest;
$source->safe_psql('postgres', q{INSERT INTO wide SELECT i, repeat(md5(i::text), 25)
	FROM generate_series(1, 120000) i});
$source->command_ok([ 'pgbench', '-i', '-I', 'g', '-q', '-p', $source->port, '-h', $source->host, 'postgres' ],
	"pgbench's rows");

my $n = 0;

# One fault in the middle of a copy under load
sub fault
{
	my ($name, $attempts, $do) = @_;
	my $group = 'g' . ++$n;
	my $load = start_load($source, clients => 2, rate => 300);

	create_copy_group($source, $dest, $group, wait => 0, options => q{'{"copy_stream_max_bytes": "64MB"}'},
		worker_options => q{'{"loaders": 2}'});
	wait_until($dest, 'postgres', 'SELECT count(*) > 20 FROM flo.copied_chunks', "$name: the middle of the copy");
	my $early = $dest->safe_psql('postgres', 'SELECT count(*) FROM flo.copied_chunks');
	is($dest->safe_psql('postgres', q{SELECT count(*) > 0 FROM flo.copy_progress
		WHERE tuples_processed > 0}), 't', "$name: flo.copy_progress shows it");
	$do->($group);
	wait_state($dest, $group, 'postgres', 'streaming');
	wait_state($source, $group, 'replicator', 'streaming');
	stop_load($load);
	cmp_ok($early, '<', 600, "$name: it came before the end ($early chunks)");
	wait_caught_up($source, $dest, $group);
	is_same_table($source, $dest, $_, "$name: $_") for @tables;
	like($dest->safe_psql('postgres', q{SELECT max(attempt) FROM flo.copied_tables}), $attempts, "$name: attempts");
	$dest->safe_psql('postgres', "SELECT flo.drop_group('$group')");
	$source->safe_psql('postgres', "SELECT flo.drop_group('$group', purge_stream => true)");
	$dest->safe_psql('postgres', 'TRUNCATE ' . join(', ', @tables));
}

# While the source's snapshot lives, nothing that is finished is copied again
fault('kill -9 of nats-server', qr/^[123]$/, sub { $nats->kill9; $nats->start; });
fault('immediate restart of the destination', qr/^1$/, sub { $dest->stop('immediate'); $dest->start; });
fault('end of a copier', qr/^1$/, sub {
	my $pid = helper_pid($source, 'copier');
	ok($pid, 'a copier runs');
	$source->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
});
fault('end of a loader', qr/^1$/, sub {
	my ($group) = @_;
	my $pid = helper_pid($dest, 'loader');
	ok($pid, 'a loader runs');
	$dest->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
});
fault('kill -9 of a copier, and so of the source', qr/^[23]$/, sub {
	my $pid = helper_pid($source, 'copier');
	kill 'KILL', $pid if $pid;
});
fault('immediate restart of the source', qr/^[23]$/, sub { $source->stop('immediate'); $source->start; });

# --- tables rewritten before they are read ------------------------------------------------

# The snapshot is exported while no process can be started, so that everything
# in between happens before the leader of the copy holds its locks.
my $dest_alter = '';
# should something fail meanwhile, the server can be stopped, and what failed is told
my $stopped;
END { kill 'CONT', $stopped if $stopped; }

sub rewritten
{
	my ($name, $sql, %param) = @_;
	my $group = 'r' . ++$n;
	my $logged = -s $source->logfile;

	$_->safe_psql('postgres', q{DROP TABLE IF EXISTS r, keep; CREATE TABLE r (id int PRIMARY KEY, v int);
		CREATE TABLE keep (id int PRIMARY KEY)})
	  for $source, $dest;
	$source->safe_psql('postgres', q{INSERT INTO r SELECT i, i FROM generate_series(1, 10000) i;
		INSERT INTO keep SELECT generate_series(1, 100)});
	$dest->safe_psql('postgres', $dest_alter) if $dest_alter;
	my $writer = FloTest::Session->new($source);
	my $rewriter = FloTest::Session->new($source);
	$writer->query('BEGIN');
	$writer->query('SELECT pg_current_xact_id()');
	$rewriter->query('SELECT 1');
	create_copy_group($source, $dest, $group, wait => 0, tables => q{'{r, keep}'});
	ok(wait_until($source, 'postgres', "SELECT detail ~ 'open' FROM flo.status WHERE group_name = '$group'",
		'the slot to be made'),
		"$name: the slot waits for a transaction");
	my $postmaster = (split /\n/, slurp_file($source->data_dir . '/postmaster.pid'))[0];
	$stopped = $postmaster;
	kill 'STOP', $postmaster;
	$writer->query('COMMIT');
	$writer->close;
	ok(await(sub { $rewriter->query("SELECT count(*) FROM pg_ls_dir('pg_snapshots')") }, 'a snapshot'),
		"$name: the snapshot is exported");
	$rewriter->query($_) for ref $sql ? @$sql : $sql;
	$rewriter->close;
	kill 'CONT', $postmaster;
	undef $stopped;
	wait_state($dest, $group, 'postgres', 'streaming');
	wait_state($source, $group, 'replicator', 'streaming');
	wait_caught_up($source, $dest, $group);
	is_same_table($source, $dest, $_, "$name: $_") for $param{tables} ? @{ $param{tables} } : qw(r keep);
	# the rows alone do not show it: VACUUM FULL keeps those that an old snapshot sees, and TRUNCATE is streamed
	ok($source->log_contains($param{log} || 'was dropped or rewritten while the copy began: it begins again', $logged),
		"$name: the copy begins again");
	$dest->safe_psql('postgres', "SELECT flo.drop_group('$group')");
	$source->safe_psql('postgres', "SELECT flo.drop_group('$group', purge_stream => true)");
}

rewritten('ALTER TYPE', 'ALTER TABLE r ALTER v TYPE bigint');
rewritten('VACUUM FULL', [ 'DELETE FROM r WHERE id % 2 = 0', 'VACUUM FULL r' ]);
rewritten('CLUSTER', [ 'UPDATE r SET v = -v', 'CLUSTER r USING r_pkey' ]);
rewritten('TRUNCATE', [ 'TRUNCATE r', 'INSERT INTO r VALUES (1, 1)' ]);
$dest_alter = 'ALTER TABLE r ADD w text';
rewritten('ADD COLUMN', [ 'ALTER TABLE r ADD w text', "UPDATE r SET w = 'x' WHERE id % 3 = 0" ],
	log => 'got another name or other columns while the copy began');
$dest_alter = '';
rewritten('DROP', 'DROP TABLE r', tables => ['keep']);

sub copied_bytes
{
	my ($group) = @_;
	my $info = $nats->api("STREAM.INFO.pgflo_${group}_copy");
	return $info->{state} ? $info->{state}{bytes} : 0;
}

# --- and while others are read ---------------------------------------------------------------

# One copier has filled the stream with the large table, and no worker is there
# yet: the small one is still to be read.  The rewrite has to wait, or the table
# is copied again.
sub rewritten_later
{
	my ($name, $sql, %param) = @_;
	my $group = 'l' . ++$n;

	$dest->safe_psql('postgres', 'TRUNCATE wide');
	$_->safe_psql('postgres', q{DROP TABLE IF EXISTS r; CREATE TABLE r (id int PRIMARY KEY, v int)}) for $source, $dest;
	$source->safe_psql('postgres', q{INSERT INTO r SELECT i, i FROM generate_series(1, 10000) i;
		DELETE FROM r WHERE id % 2 = 0});
	create_copy_group($source, undef, $group, tables => q{'{wide, r}'}, copy_workers => 1,
		options => q{'{"copy_stream_max_bytes": "64MB"}'});
	ok(await(sub { copied_bytes($group) > 60 * 1024 * 1024 }, 'a full copy stream'),
		"$name: the copy is in its middle");
	is($source->safe_psql('postgres', q{SELECT count(*) FROM flo.copied_tables
		WHERE table_name = 'r' AND tuples_done > 0}), '0', "$name: the table is not read yet");
	my $rewriter = FloTest::Session->new($source);
	my $pid = $rewriter->query('SELECT pg_backend_pid()');
	$rewriter->send($_) for ref $sql ? @$sql : $sql;
	ok(wait_until($source, 'postgres', "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $pid AND NOT granted)",
		'the rewrite to wait'), "$name: it waits for the copy's lock");
	$param{meanwhile}->($group) if $param{meanwhile};
	$dest->safe_psql('postgres', "SELECT flo.create_worker('$group'); SELECT flo.start_group('$group')");
	$rewriter->result;
	$rewriter->close;
	wait_state($dest, $group, 'postgres', 'streaming');
	wait_state($source, $group, 'replicator', 'streaming');
	wait_caught_up($source, $dest, $group);
	is_same_table($source, $dest, $_, "$name: $_") for $param{tables} ? @{ $param{tables} } : qw(wide r);
	$dest->safe_psql('postgres', "SELECT flo.drop_group('$group')");
	$source->safe_psql('postgres', "SELECT flo.drop_group('$group', purge_stream => true)");
}

rewritten_later('later ALTER TYPE', 'ALTER TABLE r ALTER v TYPE bigint', meanwhile => sub {
	# WAL is released while the copy stands still
	my ($group) = @_;
	my $slot = "FROM pg_replication_slots WHERE slot_name LIKE 'pgflo%_$group'";
	my $before = $source->safe_psql('postgres', "SELECT confirmed_flush_lsn, restart_lsn $slot");
	my ($confirmed, $restart) = split /\|/, $before;
	my $load = start_load($source, clients => 2, rate => 200);
	ok(wait_until($source, 'postgres', "SELECT confirmed_flush_lsn > '$confirmed'::pg_lsn + 100000
		AND restart_lsn > '$restart'::pg_lsn + 100000 $slot", 'the slot to move'),
		'the slot moves while tables are copied and written to');
	like(status_of($source, $group, 'replicator', 'state'), qr/copying/, 'and the copy goes on');
	stop_load($load);
});
rewritten_later('later VACUUM FULL', 'VACUUM FULL r');
rewritten_later('later CLUSTER', 'CLUSTER r USING r_pkey');
rewritten_later('later TRUNCATE', 'TRUNCATE r');
rewritten_later('later DROP', 'DROP TABLE r', tables => ['wide']);

# --- who comes late -------------------------------------------------------------------------

# A copier that has the plan, and its connection only when the leader has gone with the
# snapshot: that is no error, there is nothing for it to do.
{
	my $leader = q{SELECT pid FROM pg_stat_activity }
	  . q{WHERE query LIKE 'pg_flo copy leader%' AND wait_event_type = 'Lock'};
	my ($open, $copies, $databases) = map { FloTest::Session->new($source) } 1 .. 3;

	$_->safe_psql('postgres', 'CREATE TABLE few (id int PRIMARY KEY)') for $source, $dest;
	$source->safe_psql('postgres', q{INSERT INTO few SELECT generate_series(1, 10);
		SELECT flo.create_replicator('late', tables => '{few}', mode => 'copy_and_stream')});
	$dest->safe_psql('postgres', q{SELECT flo.create_worker('late'); SELECT flo.start_group('late')});

	# the leader is to wait once it has begun, and then what begins after it
	$open->query('BEGIN; SELECT pg_current_xact_id()');
	$source->safe_psql('postgres', q{SELECT flo.start_group('late')});
	wait_until($source, 'postgres', q{SELECT detail ~ 'open when the slot' FROM flo.status}, 'the slot to wait') or die;
	$copies->query('BEGIN; LOCK TABLE flo.copies IN SHARE MODE');
	$open->query('ROLLBACK');
	wait_until($source, 'postgres', "SELECT EXISTS ($leader)", 'the leader') or die;
	my $pid = $source->safe_psql('postgres', $leader);
	my $from = -s $source->logfile;
	my $copier;
	$databases->query('BEGIN; LOCK TABLE pg_database');
	$copies->query('ROLLBACK');
	ok( await(
			sub {
				my $pids = $databases->query(q{SELECT string_agg(pid::text, ' ') FROM pg_locks
					WHERE NOT granted AND relation = 'pg_database'::regclass});
				($copier) = grep { (eval { slurp_file("/proc/$_/cmdline") } // '') =~ /copier/ } split ' ', $pids;
				return $copier;
			},
			'a copier'),
		'a copier begins');
	$nats->pause;
	$databases->query('ROLLBACK');
	await(
		sub {
			$databases->query("SELECT wait_event_type FROM pg_stat_activity
				WHERE pid = $copier AND query LIKE 'pg_flo copier%'") =~ /Extension/;
		},
		'the copier to connect');
	kill 'TERM', $pid;
	await(sub { !kill(0, $pid) }, 'the end of the leader');
	$nats->resume;
	ok(await(sub { !kill(0, $copier) }, 'the end of the copier'), 'it ends when its leader has gone');
	wait_state($dest, 'late', 'postgres', 'streaming');
	wait_caught_up($source, $dest, 'late');
	unlike(slurp_file($source->logfile, $from), qr/snapshot identifier|import the requested/, 'without an error');
	is_same_table($source, $dest, 'few', 'of the next attempt');
	$_->close for $open, $copies, $databases;
}

$_->stop('fast') for $source, $dest;
done_testing();
