
# The processes of a group and the server they live in: server stop, DROP
# DATABASE, DROP EXTENSION, promotion, dumps and clones, several databases.

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
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $table = 'CREATE TABLE t (id int PRIMARY KEY, v text)';

$_->safe_psql('postgres', $table) for $source, $dest;
create_group($source, $dest, 'g', tables => q{'{public.t}'});
$source->safe_psql('postgres', q{INSERT INTO t SELECT i, 'x' FROM generate_series(1, 1000) i});
wait_caught_up($source, $dest, 'g');

# --- what a DBA sees --------------------------------------------------------------------

is($source->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity a, flo.status s WHERE a.pid = s.pid
	AND a.backend_type ~ 'pg_flo' AND a.backend_type || ' ' || a.application_name || ' ' || a.query ~ '\mg\M'}),
	'1', 'pg_stat_activity names the replicator and its group');
is($source->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'pg_flo launcher'}),
	'1', 'one launcher');
is($source->safe_psql('postgres', q{SELECT count(*) FROM pg_replication_slots s
	JOIN flo.status f ON s.active_pid = f.pid
	WHERE s.slot_name LIKE 'pgflo\_%\_g' AND s.plugin = 'pgoutput' AND s.database = 'postgres'}),
	'1', 'the replicator reads a pgoutput slot of its database');

# Neither an ordinary backend nor the postmaster maps the NATS library
SKIP:
{
	skip 'no /proc', 2 if !-r "/proc/$$/maps";
	my $postmaster = $source->safe_psql('postgres', q{SELECT split_part(pg_read_file('postmaster.pid'), E'\n', 1)});
	unlike(slurp_file("/proc/$postmaster/maps"), qr/libnats/, 'the postmaster does not map libnats');
	like(slurp_file('/proc/' . pid_of($source, 'g', 'replicator') . '/maps'), qr/libnats/, 'the replicator does');
}

# --- server stop -------------------------------------------------------------------------

for my $node ($source, $dest)
{
	my $start = time();
	$node->stop('fast');
	cmp_ok(time() - $start, '<', 10, 'pg_ctl stop -m fast of ' . $node->name . ' does not wait for a running group');
	$node->start;
}
wait_state($source, 'g', 'replicator', 'streaming');
wait_state($dest, 'g', 'postgres', 'streaming');
$source->safe_psql('postgres', 'DELETE FROM t WHERE id <= 10');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'members come back with their server');

# The same with a broker that is gone: both then wait in the middle of it
$nats->kill9;
wait_state($source, 'g', 'replicator', 'waiting|backoff');
for my $node ($source, $dest)
{
	my $start = time();
	$node->stop('fast');
	cmp_ok(time() - $start, '<', 10, 'nor does it without a broker: ' . $node->name);
	$node->start;
}
$nats->start;
wait_state($source, 'g', 'replicator', 'streaming');
wait_state($dest, 'g', 'postgres', 'streaming');

# --- settings ----------------------------------------------------------------------------

$dest->append_conf('postgresql.conf', "pg_flo.enabled = off\n");
$dest->reload;
wait_state($dest, 'g', 'postgres', 'stopped');
$source->safe_psql('postgres', q{INSERT INTO t VALUES (5001, 'disabled')});
$dest->append_conf('postgresql.conf', "pg_flo.enabled = on\n");
$dest->reload;
wait_state($dest, 'g', 'postgres', 'streaming');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'pg_flo.enabled stops and starts without a restart');

# A member that is terminated is started again
{
	my $pid = pid_of($dest, 'g', 'postgres');
	$dest->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	ok(wait_other_pid($dest, 'g', 'postgres', $pid), 'a terminated worker is started again');
	wait_state($dest, 'g', 'postgres', 'streaming');
}
{
	my $pid = $source->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity
		WHERE backend_type ~ 'pg_flo launcher'});
	$source->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	ok(wait_until($source, 'postgres', "SELECT count(*) = 1 FROM pg_stat_activity
		WHERE backend_type ~ 'pg_flo launcher' AND pid <> $pid",
			'a new launcher'), 'so is the launcher');
	is(status_of($source, 'g', 'replicator', 'state'), 'streaming', 'and its replicator was not bothered');
}

# --- DROP EXTENSION ------------------------------------------------------------------------

my $error = error_of($source, 'DROP EXTENSION pg_flo');
like($error, qr/^2BP01/, 'DROP EXTENSION with a group is refused');
like($error, qr/hint: .*drop_group/, 'with the way out');
like(error_of($dest, 'DROP EXTENSION pg_flo CASCADE'), qr/^2BP01/, 'at the destination, and with CASCADE, too');
is($source->safe_psql('postgres', q{SELECT count(*) FROM flo.status}), '1', 'nothing is half dropped');

# --- several databases of one cluster, DROP DATABASE ------------------------------------------

# Two sources and two destinations with the same group's name nowhere in common
$source->safe_psql('postgres', 'CREATE DATABASE other');
$source->safe_psql('other', "CREATE EXTENSION pg_flo; $table");
$dest->safe_psql('postgres', 'CREATE DATABASE "Other Dest"');
$dest->safe_psql('Other Dest', "CREATE EXTENSION pg_flo; $table");
create_group($source, $dest, 'h', source_db => 'other', dest_db => 'Other Dest');
$source->safe_psql('other', q{INSERT INTO t VALUES (1, 'other')});
$source->safe_psql('postgres', q{INSERT INTO t VALUES (6001, 'postgres')});
wait_caught_up($source, $dest, 'h', source_db => 'other', dest_db => 'Other Dest');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'another database, another group', [ 'other', 'Other Dest' ]);
is_same_table($source, $dest, 't', 'and the first goes on');
is($source->safe_psql('other', 'SELECT group_name FROM flo.status'), 'h',
	'flo.status shows the groups of its database');

# From one database to another of the same cluster
$source->safe_psql('postgres', 'CREATE DATABASE third');
$source->safe_psql('third', "CREATE EXTENSION pg_flo; $table; INSERT INTO t VALUES (1, 'other');
	SELECT flo.create_worker('h', options => '{\"start\": \"latest\"}')");
start_member($source, 'h', 'postgres', 'third');
$source->safe_psql('other', q{INSERT INTO t VALUES (2, 'fan out')});
wait_caught_up($source, $dest, 'h', source_db => 'other', dest_db => 'Other Dest');
wait_caught_up($source, $source, 'h', source_db => 'other', dest_db => 'third');
is_same_table($source, $source, 't', 'a second worker of one group, in the same cluster', [ 'other', 'third' ]);
like(error_of($source, q{SELECT flo.create_worker('h')}, 'other'), qr/^22023/,
	'a worker in the database of its own replicator is refused');

# DROP DATABASE while a group runs: refused, and possible after a stop and drop
like(error_of($source, 'DROP DATABASE other'), qr/^55006/, 'DROP DATABASE with a running replicator is refused');
like(error_of($source, 'DROP DATABASE third'), qr/^55006/, 'with a running worker, too');
$source->safe_psql('third', q{SELECT flo.stop_group('h')});
wait_state($source, 'h', 'postgres', 'stopped', 'third');
$source->safe_psql('postgres', 'DROP DATABASE third');
pass('DROP DATABASE after a stop of its worker');
is($source->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE datname = 'third'}), '0',
	'nobody is there any more');
my $consumer = $source->safe_psql('other', q{SELECT consumer FROM flo.stream_status('h')
	WHERE database::text = 'third'});
$source->safe_psql('other', "SELECT flo.drop_consumer('h', '$consumer')");
is($source->safe_psql('other', q{SELECT count(*) FROM flo.stream_status('h') WHERE database::text = 'third'}), '0',
	'drop_consumer removes what the lost database left');

$dest->safe_psql('Other Dest', q{SELECT flo.drop_group('h')});
$dest->safe_psql('postgres', 'DROP DATABASE "Other Dest"');
$source->safe_psql('other', q{SELECT flo.stop_group('h')});
wait_state($source, 'h', 'replicator', 'stopped', 'other');
$source->safe_psql('postgres', 'DROP DATABASE other');
pass('DROP DATABASE after a stop of its replicator');
is($source->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_slots'), '1', 'no slot is left behind');

# DROP DATABASE ... WITH (FORCE) ends a worker like any other session
$dest->safe_psql('postgres', 'CREATE DATABASE forced');
$dest->safe_psql('forced', "CREATE EXTENSION pg_flo; $table;
	SELECT flo.create_worker('g', options => '{\"start\": \"latest\"}')");
start_member($dest, 'g', 'postgres', 'forced');
$dest->safe_psql('postgres', 'DROP DATABASE forced WITH (FORCE)');
ok(wait_until($dest, 'postgres', q{SELECT count(*) = 1 FROM pg_stat_activity
	WHERE backend_type ~ 'pg_flo' AND backend_type !~ 'launcher'},
		'the forced worker to be gone'), 'DROP DATABASE WITH (FORCE) succeeds and its worker stays gone');

# --- a dump never starts by itself ------------------------------------------------------------

{
	my $file = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';

	$dest->command_ok([ 'pg_dump', '-f', $file, '-p', $dest->port, '-h', $dest->host, 'postgres' ],
		'pg_dump with a running group');
	$dest->safe_psql('postgres', 'CREATE DATABASE restored');
	$dest->command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-f', $file, '-p', $dest->port, '-h', $dest->host,
		'restored' ],
		'the dump can be restored');
	is($dest->safe_psql('restored', q{SELECT group_name, worker_name FROM flo.workers}), 'g|postgres',
		'with its configuration');
	# Whatever would start it has started it when a change made later was noticed
	$dest->safe_psql('restored', q{SELECT flo.create_worker('later', options => '{"start": "earliest"}')});
	$dest->safe_psql('restored', q{SELECT flo.start_group('later')});
	wait_state($dest, 'later', 'postgres', 'starting|waiting|backoff|failed', 'restored');
	is(status_of($dest, 'g', 'postgres', 'state, pid IS NULL', 'restored'), 'stopped|t',
		'but it does not start by itself');
	is(status_of($dest, 'g', 'postgres', 'state'), 'streaming', 'and the original goes on');
	$dest->restart;
	wait_state($dest, 'later', 'postgres', 'starting|waiting|backoff|failed', 'restored');
	is(status_of($dest, 'g', 'postgres', 'state, pid IS NULL', 'restored'), 'stopped|t', 'nor with the server');
	$dest->safe_psql('restored', q{SELECT flo.drop_group('later', force => true)});
	$dest->safe_psql('restored', q{SELECT flo.drop_group('g', force => true)});
	is($dest->safe_psql('restored', 'SELECT count(*) FROM flo.workers'), '0',
		'a restored configuration can be dropped');
	wait_state($dest, 'g', 'postgres', 'streaming');
	$dest->safe_psql('postgres', 'DROP DATABASE restored');
}
$source->safe_psql('postgres', q{INSERT INTO t VALUES (7001, 'after the dump')});
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'and the original lost nothing by it');

# --- a database that cannot be read ---------------------------------------------------------------

{
	my $session = FloTest::Session->new($dest);
	my $scanner = q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'pg_flo scanner%'
		OR (backend_type = 'pg_flo' AND wait_event_type = 'Lock')};

	$dest->safe_psql('postgres', 'CREATE DATABASE other');
	$session->query(q{SELECT flo.stop_group('g')});
	wait_state($dest, 'g', 'postgres', 'stopped');
	$session->query(q{BEGIN; LOCK TABLE flo.workers IN ACCESS EXCLUSIVE MODE; SELECT flo.start_group('g')});
	$session->query('COMMIT; BEGIN; LOCK TABLE flo.workers IN ACCESS EXCLUSIVE MODE');
	ok(wait_until($dest, 'other', "SELECT EXISTS ($scanner)", 'the process that reads the configuration to wait'),
		'the configuration is locked');
	$dest->safe_psql('other', "SELECT pg_terminate_backend(pid) FROM ($scanner) s");
	ok(wait_until($dest, 'other', "SELECT NOT EXISTS ($scanner)", 'it to be gone'), 'who reads it is terminated');
	$session->query('COMMIT');
	$session->close;
	wait_state($dest, 'g', 'postgres', 'streaming');
	pass('it is read again, and the group starts');

	$dest->safe_psql('other', 'ALTER DATABASE postgres ALLOW_CONNECTIONS false');
	$dest->restart;
	wait_until($dest, 'other', q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type ~ 'pg_flo launcher')},
		'the launcher') or die;
	$dest->safe_psql('other', 'ALTER DATABASE postgres ALLOW_CONNECTIONS true');
	wait_state($dest, 'g', 'postgres', 'streaming');
	pass('a database that allows connections again is read');
	$dest->safe_psql('postgres', 'DROP DATABASE other');
}

# --- settings of a database that are meant for its applications -----------------------------------

{
	my @settings = ('default_transaction_read_only = on', 'default_transaction_isolation = serializable',
		"statement_timeout = '1ms'",
		"lock_timeout = '1ms'", "idle_in_transaction_session_timeout = '1ms'", 'session_replication_role = replica',
		'search_path = nowhere',
		'row_security = off', 'client_encoding = latin1', 'bytea_output = escape', "datestyle = 'SQL, DMY'",
		'exit_on_error = on', 'temp_file_limit = 0',
		"logical_decoding_work_mem = '64kB'", 'enable_indexscan = off');
	push @settings, "transaction_timeout = '1ms'" if $source->pg_version >= 17;

	for my $node ($source, $dest)
	{
		$node->safe_psql('postgres', join ' ', map { "ALTER DATABASE postgres SET $_;" } @settings);
	}
	local $ENV{PGOPTIONS} = '-c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0 -c '
		  . 'idle_in_transaction_session_timeout=0'
	  . ' -c session_replication_role=origin -c search_path=public -c client_encoding=utf8 -c exit_on_error=off'
	  . ($source->pg_version >= 17 ? ' -c transaction_timeout=0' : '');
	$_->restart for $source, $dest;
	wait_state($source, 'g', 'replicator', 'streaming');
	wait_state($dest, 'g', 'postgres', 'streaming');
	$source->safe_psql('postgres', q{INSERT INTO t SELECT i, repeat('settings', 20)
		FROM generate_series(20001, 40000) i});
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, 't', 'settings of the database concern neither side');
	$source->safe_psql('postgres', q{SELECT flo.resync('g', 'public.t')});
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, 't', 'nor a copy');
	$dest->safe_psql('postgres', 'ALTER TABLE t ADD CONSTRAINT odd CHECK (id < 0) NOT VALID');
	$source->safe_psql('postgres', q{INSERT INTO t VALUES (40001, 'refused')});
	ok(wait_until($dest, 'postgres', q{SELECT last_error ~ 'odd' FROM flo.status}, 'the error'), 'an error is told');
	$dest->safe_psql('postgres', 'ALTER TABLE t DROP CONSTRAINT odd');
	wait_caught_up($source, $dest, 'g');
	$_->safe_psql('postgres', 'ALTER DATABASE postgres RESET ALL') for $source, $dest;
}
$_->restart for $source, $dest;

# --- promotion ----------------------------------------------------------------------------------

{
	$dest->backup('b');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($dest, 'b', has_streaming => 1);
	$standby->start;
	$source->safe_psql('postgres', q{INSERT INTO t SELECT i, 'before the promotion'
		FROM generate_series(8001, 9000) i});
	wait_caught_up($source, $dest, 'g');
	$dest->wait_for_catchup($standby, 'replay', $dest->lsn('flush'));
	is($standby->safe_psql('postgres', q{SELECT count(*) FROM flo.status WHERE pid IS NOT NULL}), '0',
		'nothing runs on a standby');
	is($standby->safe_psql('postgres', q{SELECT concat_ws(': ', state, detail) FROM flo.status}),
		'stopped: this server is a standby: it starts when the server is promoted', 'which is said');
	is($standby->safe_psql('postgres', q{SELECT state FROM flo.overview}), 'stopped', 'and needs no person');
	unlike($standby->safe_psql('postgres', 'SELECT flo.metrics()'), qr/^pg_flo_needs_person\S* 1$/m, 'nor an alert');
	is($standby->safe_psql('postgres',
			q{SELECT status || coalesce(hint, '') FROM flo.check('g') WHERE item ~ '^member'}),
		'ok', 'nor is there anything to be done');
	$dest->stop('immediate');
	$source->safe_psql('postgres', q{INSERT INTO t SELECT i, 'meanwhile' FROM generate_series(9001, 10000) i});
	$standby->promote;
	wait_state($standby, 'g', 'postgres', 'streaming');
	wait_caught_up($source, $standby, 'g');
	is_same_table($source, $standby, 't', 'the promoted standby goes on where the destination was');
	$source->safe_psql('postgres', q{UPDATE t SET v = 'promoted' WHERE id > 8500});
	wait_caught_up($source, $standby, 'g');
	is_same_table($source, $standby, 't', 'and follows');
	$standby->stop('fast');
}

$source->stop('fast');
done_testing();
