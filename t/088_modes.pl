
# Servers in which nothing of pg_flo may run: pg_upgrade's, single-user mode, a
# standby, one without wal_level = logical.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats, conf => "log_min_messages = debug1\n");
my $dest = flo_node('dest', $nats);
my $registered = qr/registering background worker "pg_flo launcher"/;

# What is written to the log by a command
sub log_of
{
	my ($node, $run) = @_;
	my $from = -s $node->logfile || 0;
	$run->();
	return substr(slurp_file($node->logfile), $from);
}
sub messages_since
{
	my ($from) = @_;
	my $to = $source->safe_psql('postgres', 'SELECT pg_current_wal_flush_lsn()');
	my ($out) = run_command([ 'pg_waldump', '-p', $source->data_dir . '/pg_wal', '-r', 'LogicalMessage', '-s', $from,
		'-e', $to ]);
	return scalar(grep { /pg_flo/ } split /\n/, $out);
}
my $processes = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'pg_flo%'};
my $published = q{SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_publication_tables};
my $work = sub { qq{CREATE TABLE $_[0] (id int PRIMARY KEY); CREATE TABLE $_[0]_as AS SELECT 1 AS id;
	ALTER TABLE $_[0] ADD v int; DROP TABLE $_[0], $_[0]_as} };

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)') for $source, $dest;
$source->safe_psql('postgres', 'CREATE SCHEMA other; CREATE TABLE other.comes (id int PRIMARY KEY)');
$source->safe_psql('postgres',
	q{SELECT flo.create_replicator('g', schemas => '{public}', track_ddl => true,
	options => '{"keyless_tables": "full"}')});
start_member($source, 'g', 'replicator');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g')});
start_member($dest, 'g', 'postgres');
like(log_of($source, sub { $source->restart }), $registered, 'a server like any other has a launcher');
my $from = $source->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
$source->safe_psql('postgres', $work->('usual'));
isnt(messages_since($from), 0, 'and tells of DDL');

# --- pg_upgrade's ---------------------------------------------------------------------------

wait_state($source, 'g', 'replicator', 'streaming');
$from = $source->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
$source->stop;
my $log = log_of($source, sub {
	system_or_bail('pg_ctl', '-w', '-D', $source->data_dir, '-l', $source->logfile, '-o', '-b --cluster-name=source',
		'start');
	$source->_update_pid(1);
	$source->safe_psql('postgres', 'CREATE DATABASE gone');
	$source->safe_psql('postgres', 'DROP DATABASE gone WITH (FORCE)');
	$source->safe_psql('postgres', q{ALTER TABLE other.comes SET SCHEMA public; ALTER TABLE t ADD w int;
		ALTER TABLE t DROP w});
	is($source->safe_psql('postgres', $published), 't', 'pg_upgrade: no table joins');
	$source->safe_psql('postgres', q{ALTER TABLE comes SET SCHEMA other; INSERT INTO t VALUES (1, 'upgrading')});
	is($source->safe_psql('postgres', $processes), '0', 'pg_upgrade: no process');
	is(messages_since($from), 0, 'pg_upgrade: nothing is told of DDL');
	$source->stop;
});
unlike($log, $registered, 'pg_upgrade: no launcher');

# --- single-user mode -------------------------------------------------------------------------

sub single
{
	my ($sql) = @_;
	my ($out, $err) = ('', '');
	my $result = IPC::Run::run([ 'postgres', '--single', '-j', '-D', $source->data_dir, 'postgres' ], '<', \"$sql\n",
		'>', \$out, '2>', \$err);
	return ($result, $out . $err);
}
my ($result, $said) = single($work->('alone')
	  . q{; INSERT INTO t VALUES (2, 'alone'); CREATE TABLE alone_into AS SELECT 2 AS id; DROP TABLE alone_into;
	SELECT 'rows ' || count(*) AS rows FROM t;});
ok($result, 'single-user mode: the server ends well');
like($said, qr/rows 2/, 'single-user mode: all was run');
unlike($said, qr/ERROR|FATAL|PANIC/, 'single-user mode: without an error');

# --- a standby ----------------------------------------------------------------------------------

$source->start;
is(messages_since($from), 0, 'single-user mode: nothing is told of DDL');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'rows written meanwhile arrive');

$source->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($source, 'b', has_streaming => 1);
$standby->start;
$source->wait_for_catchup($standby, 'replay', $source->lsn('insert'));
is($standby->safe_psql('postgres', 'SELECT count(*) FROM t'), '2', 'a standby answers');
is($standby->safe_psql('postgres', $processes), '0', 'and has no process of pg_flo');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM flo.status'), '1', 'flo.status can be read there');
for my $sql ('CREATE TABLE here (id int)', 'CREATE TABLE here AS SELECT 1 AS id', 'CREATE TEMP TABLE here (id int)')
{
	my ($out, $err);
	$standby->psql('postgres', $sql, stdout => \$out, stderr => \$err);
	like($err, qr/cannot execute CREATE TABLE\w* ?\w* in a read-only transaction/,
		"a standby says what any standby says: $sql");
}
$standby->stop;

# --- without logical decoding ---------------------------------------------------------------------

my $replica = flo_node('replica', $nats, conf => "wal_level = replica\n");
$replica->safe_psql('postgres', $work->('low'));
my ($out, $err);
$replica->psql('postgres', q{SELECT flo.create_replicator('g')}, stdout => \$out, stderr => \$err);
like($err, qr/a replicator requires wal_level = logical/, 'wal_level = replica: no replicator');

done_testing();
