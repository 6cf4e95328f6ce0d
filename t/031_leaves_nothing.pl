
# What is left of a group that was dropped, and of the extension after it: nothing.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats, extension => 0);
my $dest = flo_node('dest', $nats, extension => 0);
my $directory = PostgreSQL::Test::Utils::tempdir();
mkdir "$directory/$_" for 1 .. 3, 'unused';

$_->safe_psql('postgres', <<'SQL') for $source, $dest;
CREATE SCHEMA app;
CREATE TABLE app.keyed (id int PRIMARY KEY, v text, s serial);
CREATE TABLE app.keyless (a int, b text);
CREATE TABLE app.nothing (a int, b text);
ALTER TABLE app.nothing REPLICA IDENTITY NOTHING;
CREATE TABLE app.parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE app.part1 PARTITION OF app.parts FOR VALUES FROM (0) TO (1000);
SQL

# --- what a database and its server hold ------------------------------------------------

# Rows of every catalog, and who has a part in shared ones; statistics of the planner come and go
sub catalogs
{
	my ($node) = @_;
	my $tables = $node->safe_psql('postgres',
		q{SELECT oid::regclass FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace
		AND relkind = 'r' AND oid::regclass::text NOT IN ('pg_statistic', 'pg_largeobject') ORDER BY 1});
	return $node->safe_psql('postgres', join(' UNION ALL ', map { "SELECT '$_ ' || count(*) FROM $_" } split /\n/,
		$tables));
}

# Files without a relation, once those of dropped relations may go
sub files
{
	my ($node) = @_;
	$node->safe_psql('postgres', 'CHECKPOINT');
	return $node->safe_psql('postgres', <<'SQL');
SELECT 'lost file ' || f FROM pg_database d, pg_ls_dir('base/' || d.oid) f
 WHERE d.datname = current_database() AND f ~ '^[0-9]+$'
   AND f::oid NOT IN (SELECT pg_relation_filenode(oid) FROM pg_class WHERE pg_relation_filenode(oid) IS NOT NULL)
UNION ALL SELECT 'file ' || d || f
	FROM unnest('{./,pg_replslot/,pg_logical/,pg_logical/snapshots/,pg_logical/mappings/,pg_dynshmem/,global/}'::text[])
	d, pg_ls_dir(d) f
 WHERE d <> 'global/' OR f !~ '^[0-9]' AND f <> 'pg_internal.init'
UNION ALL SELECT 'temporary file ' || f FROM pg_ls_dir('base/pgsql_tmp', true, false) f
ORDER BY 1
SQL
}

sub snapshot
{
	my ($node) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';

	$node->run_log([ 'pg_dump', '-s', '-f', $file, '-p', $node->port, '-h', $node->host, 'postgres' ]) or die 'pg_dump';
	my $dump = slurp_file($file);
	$dump =~ s/^\\(?:un)?restrict .*$//mg;
	wait_until($node, 'postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'pg_flo'},
		'processes to leave');
	return {
		dump => $dump,
		catalogs => catalogs($node),
		files => files($node),
		shared => $node->safe_psql('postgres', <<'SQL') };
SELECT 'origin ' || roname FROM pg_replication_origin
UNION ALL SELECT 'origin status ' || external_id FROM pg_replication_origin_status
UNION ALL SELECT 'slot ' || slot_name FROM pg_replication_slots
UNION ALL SELECT 'statistics of slot ' || slot_name FROM pg_stat_replication_slots
UNION ALL SELECT 'process ' || backend_type || ' ' || query FROM pg_stat_activity WHERE backend_type LIKE 'pg_flo%'
UNION ALL SELECT 'setting of ' || setdatabase || ' ' || setrole FROM pg_db_role_setting
UNION ALL SELECT 'lock ' || locktype FROM pg_locks JOIN pg_stat_activity USING (pid)
	WHERE locktype = 'advisory' OR backend_type LIKE 'pg_flo%' AND locktype <> 'virtualxid'
UNION ALL SELECT 'default ACL ' || oid FROM pg_default_acl
UNION ALL SELECT 'setting ' || name FROM pg_settings WHERE name LIKE 'pg_flo.%'
	AND source NOT IN ('default', 'configuration file')
ORDER BY 1
SQL
}

sub is_as_before
{
	my ($node, $before, $name) = @_;
	my $now = snapshot($node);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($now->{$_}, $before->{$_}, "$name, " . $node->name . ": $_") for qw(catalogs dump shared files);
	return;
}

# --- rounds ---------------------------------------------------------------------------------

sub begin_round
{
	my ($round) = @_;

	$source->safe_psql('postgres', "INSERT INTO app.keyed SELECT i, 'x' FROM generate_series(1, 100) i;
		INSERT INTO app.keyless SELECT i, 'x' FROM generate_series(1, 100) i;"
		  . "INSERT INTO app.nothing VALUES (1, 'x'); INSERT INTO app.parts SELECT i, 'x'
			FROM generate_series(1, 100) i");
	$_->safe_psql('postgres', 'CREATE EXTENSION pg_flo') for $source, $dest;
	$source->safe_psql('postgres',
		q{SELECT flo.create_replicator('g', schemas => '{app}', mode => 'copy_and_stream', sync_schema => true,
		track_ddl => true,
		options => '{"keyless_tables": "full"}')});
	$source->safe_psql('postgres', q{SELECT flo.start_group('g')});
	$dest->safe_psql('postgres', q{SELECT flo.create_worker('g')});
	$dest->safe_psql('postgres',
		qq{SELECT flo.create_worker('g', sink => 'file', options => '{"directory": "$directory/$round"}')});
	$dest->safe_psql('postgres', q{INSERT INTO flo.rules (group_name, schema_name, table_name, column_name, action)
		VALUES ('g', 'app', 'keyed', 'v', 'mask')});
	$dest->safe_psql('postgres',
		q{INSERT INTO flo.rules (group_name, worker_name, schema_name, table_name, column_name, action)
		VALUES ('g', 'postgres', 'app', 'parts', 'v', 'mask')});
	is($dest->safe_psql('postgres', 'SELECT sum(restarts + inserts + updates) FROM flo.status'), '0',
		"round $round begins without counters of the one before");
	$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
	wait_state($dest, 'g', $_, 'streaming') for qw(postgres file);
	$source->safe_psql('postgres', q{UPDATE app.keyless SET b = 'y'; CREATE TABLE app.made (id int PRIMARY KEY);
		INSERT INTO app.made VALUES (1); DELETE FROM app.parts WHERE id < 10});
	$source->safe_psql('postgres', 'DROP TABLE app.made');
	wait_caught_up($source, $dest, 'g');
	is($dest->safe_psql('postgres', q{SELECT count(*) FILTER (WHERE b = 'y') FROM app.keyless}), '100',
		"round $round replicates");
	return;
}

sub end_round
{
	my ($round, $before) = @_;

	is($source->safe_psql('postgres', 'SELECT count(*) FROM flo.ddl_log')
		  . $dest->safe_psql('postgres', 'SELECT count(*) FROM flo.ddl_log'), '00',
		"round $round: the group takes its log along");
	$_->safe_psql('postgres', 'DROP EXTENSION pg_flo') for $source, $dest;
	$_->safe_psql('postgres', 'TRUNCATE app.keyed, app.keyless, app.nothing, app.parts') for $source, $dest;
	is_as_before($source, $before->{source}, "round $round leaves nothing");
	is_as_before($dest, $before->{dest}, "round $round leaves nothing");
	is_deeply([ $nats->streams ], [], "round $round: no stream at the broker");
	return;
}

my %before = (source => snapshot($source), dest => snapshot($dest));

begin_round(1);
is(error_of($_, 'DROP EXTENSION pg_flo CASCADE') =~ /^2BP01.*\n.*hint: .*drop_group/s ? 1 : 0, 1,
	'DROP EXTENSION CASCADE is refused: ' . $_->name) for $source, $dest;
like(error_of($_, 'DROP SCHEMA flo CASCADE'), qr/^2BP01/, 'so is DROP SCHEMA: ' . $_->name) for $source, $dest;
like(error_of($source, 'DROP TABLE flo.groups CASCADE'), qr/^2BP01/, 'and DROP TABLE');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM flo.workers'), '2', 'and nothing is half dropped');
$dest->safe_psql('postgres', q{SELECT flo.drop_group('g')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});
end_round(1, \%before);

# all of it stopped before
begin_round(2);
for my $node ($dest, $source)
{
	$node->safe_psql('postgres', q{SELECT flo.stop_group('g')});
	wait_until($node, 'postgres', q{SELECT bool_and(state = 'stopped') FROM flo.status}, 'a stop');
}
$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});
$dest->safe_psql('postgres', q{SELECT flo.drop_group('g')});
end_round(2, \%before);

# member by member, one of them never started, and the broker away
begin_round(3);
$dest->safe_psql('postgres',
	qq{SELECT flo.create_worker('g', sink => 'file', worker_name => 'unused',
	options => '{"directory": "$directory/unused"}')});
# workers that run would make the bucket anew to report to it
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', $_, 'stopped') for qw(postgres file);
$source->safe_psql('postgres', q{SELECT flo.drop_replicator('g', purge_stream => true)});
$nats->stop;
$dest->safe_psql('postgres', "SELECT flo.drop_worker('g', '$_', force => true)") for qw(unused postgres file);
$nats->start;
end_round(3, \%before);

# --- the schema -------------------------------------------------------------------------------

my $error = error_of($dest, 'CREATE SCHEMA flo; CREATE EXTENSION pg_flo');
like($error, qr/^42P06: .*schema "flo" exists already/, q{a schema of that name is nobody's but its owner's});
like($error, qr/hint: Rename it/, 'and the hint says what to do');
$dest->safe_psql('postgres', 'DROP SCHEMA IF EXISTS flo');
like(error_of($dest, 'CREATE EXTENSION pg_flo SCHEMA public'), qr/^0A000: .*must be installed in schema/,
	'it cannot be put elsewhere');

$dest->safe_psql('postgres', 'CREATE ROLE installer SUPERUSER; SET ROLE installer; CREATE EXTENSION pg_flo');
is($dest->safe_psql('postgres',
	q{SELECT string_agg(DISTINCT coalesce((pg_identify_object(classid, objid, objsubid)).schema, '-'), ' ')
	FROM pg_depend WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_flo')}),
	'- flo', 'nothing of it is outside its schema');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM pg_depend d JOIN pg_extension e ON e.oid = d.objid
	WHERE e.extname = 'pg_flo' AND d.classid = 'pg_extension'::regclass}), '0',
	'and it depends on no schema that could be dropped');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('kept', options => '{"start": "latest"}');
	INSERT INTO flo.rules (group_name, table_name, column_name, action) VALUES ('kept', 't', 'c', 'mask');
	CREATE ROLE reader; GRANT EXECUTE ON FUNCTION flo.peek TO reader});

like(error_of($dest, 'DROP OWNED BY installer'), qr/^2BP01/, 'DROP OWNED is refused while there are groups');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM flo.workers'), '1', 'and drops nothing');

# --- dump and restore ---------------------------------------------------------------------------

my $file = PostgreSQL::Test::Utils::tempdir() . '/database.dump';
$dest->command_ok([ 'pg_dump', '-Fc', '-f', $file, '-p', $dest->port, '-h', $dest->host, 'postgres' ],
	'a database with the extension can be dumped');
$dest->safe_psql('postgres', 'CREATE DATABASE restored');
$dest->command_ok([ 'pg_restore', '-e', '-d', 'restored', '-p', $dest->port, '-h', $dest->host, $file ],
	'and restored');
is($dest->safe_psql('restored', 'SELECT group_name, worker_name FROM flo.workers') . ' '
	  . $dest->safe_psql('restored', 'SELECT table_name FROM flo.rules'), 'kept|postgres t',
	'with its configuration');
is($dest->safe_psql('restored', q{SELECT has_function_privilege('reader', oid, 'EXECUTE') FROM pg_proc
	WHERE proname = 'peek'}), 't', 'and what was granted');
$dest->safe_psql('restored', q{SELECT flo.drop_group('kept', force => true); DROP SCHEMA app CASCADE});
$dest->command_ok([ 'pg_restore', '-e', '--clean', '--if-exists', '-d', 'restored', '-p', $dest->port, '-h',
	$dest->host, $file ], 'pg_restore --clean once the groups are dropped');
is($dest->safe_psql('restored', 'SELECT group_name FROM flo.workers'), 'kept', 'which restores them');

# --- DROP DATABASE --------------------------------------------------------------------------------

# A stopped group goes with its database: slot at once, origin within seconds
$_->safe_psql('postgres', 'CREATE DATABASE doomed') for $source, $dest;
$_->safe_psql('doomed', 'CREATE EXTENSION pg_flo; CREATE TABLE t (id int PRIMARY KEY)') for $source, $dest;
create_group($source, $dest, 'd', source_db => 'doomed', dest_db => 'doomed');
$source->safe_psql('doomed', 'INSERT INTO t VALUES (1)');
wait_caught_up($source, $dest, 'd', source_db => 'doomed', dest_db => 'doomed');
for my $node ($source, $dest)
{
	like(error_of($node, 'DROP DATABASE doomed'), qr/^55006.*\n.*hint: .*stop_group/s,
		'DROP DATABASE is refused while a member runs: ' . $node->name);
	like(error_of($node, 'ALTER DATABASE doomed RENAME TO renamed'), qr/^55006/, 'so is a new name');
	$node->safe_psql('doomed', q{SELECT flo.stop_group('d')});
	wait_until($node, 'doomed', q{SELECT bool_and(state = 'stopped') FROM flo.status}, 'a stop');
	$node->safe_psql('postgres', 'ALTER DATABASE doomed RENAME TO renamed');
	$node->safe_psql('renamed', q{SELECT flo.start_group('d')});
	wait_until($node, 'renamed', q{SELECT bool_and(state = 'streaming') FROM flo.status}, 'a start');
}
$source->safe_psql('renamed', 'INSERT INTO t VALUES (2)');
wait_caught_up($source, $dest, 'd', source_db => 'renamed', dest_db => 'renamed');
is($dest->safe_psql('renamed', 'SELECT count(*) FROM t'), '2', 'a group goes on in a database of another name');
for my $node ($source, $dest)
{
	$node->safe_psql('renamed', q{SELECT flo.stop_group('d')});
	wait_until($node, 'renamed', q{SELECT bool_and(state = 'stopped') FROM flo.status}, 'a stop');
	$node == $source ? $node->safe_psql('postgres', 'DROP DATABASE renamed') : drop_slowly('renamed');
	ok(wait_until($node, 'postgres',
		q{SELECT (SELECT count(*) FROM pg_replication_origin WHERE roname LIKE 'pgflo%') + (SELECT count(*)
		FROM pg_replication_slots) = 0},
			'slots and origins to go'), 'with its database go slot and origin: ' . $node->name);
}

# Its commit waits for a standby, while what to start is read once more
sub drop_slowly
{
	my ($db) = @_;
	my $session = FloTest::Session->new($dest);

	wait_until($dest, $db, 'SELECT count(*) = 0 FROM flo.unsaved_events()', 'events to be saved') or die;
	$dest->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'\nlog_min_messages = debug1\n");
	$dest->reload;
	# by the process that makes it known to the others
	$dest->safe_psql('postgres', 'CHECKPOINT');
	$session->send("DROP DATABASE $db");
	wait_until($dest, 'postgres', q{SELECT count(*) = 1 FROM pg_stat_activity
		WHERE wait_event = 'SyncRep' AND query LIKE 'DROP DATABASE%'}, 'a commit that waits') or die;
	my $size = -s $dest->logfile;
	$dest->safe_psql('postgres', 'SET synchronous_commit = local; UPDATE flo.routes SET enabled = enabled');
	$dest->wait_for_log(qr/background worker "pg_flo" \(PID \d+\) exited with exit code 0/, $size);
	$dest->append_conf('postgresql.conf', "synchronous_standby_names = ''\n");
	$dest->reload;
	$session->result;
	is($session->{err}, '', 'a database that is dropped slowly');
}

done_testing();
