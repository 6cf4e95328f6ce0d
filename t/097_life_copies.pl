
# Copies of databases that belong to a group: restored from pg_dump, in the same
# cluster and in another one, and made with CREATE DATABASE ... TEMPLATE.  They
# start nothing, take changes as any database, and go without a trace of them in
# the living group.

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
my $elsewhere = flo_node('elsewhere', $nats, extension => 0);
my $directory = PostgreSQL::Test::Utils::tempdir();
my %side = (source => $source, dest => $dest);

$_->safe_psql('postgres', 'CREATE DATABASE app') for $source, $dest;
$_->safe_psql('app', <<'SQL') for $source, $dest;
CREATE EXTENSION pg_flo;
CREATE SCHEMA "Sales ""1""";
CREATE TABLE "Sales ""1"""."the orders" (id int PRIMARY KEY, v text, n serial);
CREATE TABLE "Sales ""1""".keyless (a int, b text);
SQL
my $table = '"Sales ""1"""."the orders"';
my $last = 0;

sub insert
{
	my ($rows) = @_;
	$source->safe_psql('app', "INSERT INTO $table SELECT i, 'v' || i FROM generate_series($last + 1, $last + $rows) i;
		INSERT INTO " . '"Sales ""1""".keyless' . " SELECT i, 'x' FROM generate_series($last + 1, $last + $rows) i");
	$last += $rows;
	return;
}

insert(1000);
$source->safe_psql('app', q{SELECT flo.create_replicator('g', schemas => '{"Sales \"1\""}', mode => 'copy_and_stream',
	track_ddl => true, options => '{"keyless_tables": "full"}'); SELECT flo.start_group('g')});
$dest->safe_psql('app', qq{SELECT flo.create_worker('g'); SELECT flo.create_worker('g', sink => 'file',
	options => '{"directory": "$directory"}');
	INSERT INTO flo.rules (group_name, worker_name, schema_name, table_name, column_name, action)
	VALUES ('g', 'file', 'Sales "1"', 'the orders', 'v', 'mask'); SELECT flo.start_group('g')});
wait_state($dest, 'g', $_, 'streaming', 'app') for qw(postgres file);
wait_caught_up($source, $dest, 'g', source_db => 'app', dest_db => 'app');

# What may not change: what is at the broker, slots, origins, processes of the group
sub living
{
	my %node_of = %side;
	return {
		broker => join("\n", map {
				my $info = $nats->api("STREAM.INFO.$_");
				JSON::PP->new->canonical->encode($info->{config}) . " $info->{created}";
			} $nats->streams),
		map {
			$_ => $node_of{$_}->safe_psql('app', <<'SQL')
SELECT 'slot ' || slot_name || ' ' || database FROM pg_replication_slots
UNION ALL SELECT 'origin ' || roname FROM pg_replication_origin
UNION ALL SELECT concat_ws(' ', 'member', member, pid, state, restarts) FROM flo.status ORDER BY 1
SQL
		} keys %node_of };
}
my $before = living();

sub undisturbed
{
	my ($name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	insert(10);
	wait_caught_up($source, $dest, 'g', source_db => 'app', dest_db => 'app');
	is_same_table($source, $dest, $table, "$name: the group goes on", 'app');
	is_deeply(living(), $before, "$name: undisturbed");
	return;
}

# What every copy is: nothing of it runs, whatever is done there
my $no_process = q{SELECT count(*) = 0 FROM pg_stat_activity
	WHERE datname = current_database() AND backend_type ~ 'pg_flo'};

sub rests
{
	my ($node, $db, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql($db, q{SELECT string_agg(DISTINCT state, ' '), count(pid) FROM flo.status}), 'stopped|0',
		"$name starts nothing");
	like($node->safe_psql($db, q{SELECT string_agg(DISTINCT detail, ' ') FROM flo.status}),
		qr/start_group/, "$name says why, and what would start it");

	# another member, started: whoever starts members has read this database then
	$node->safe_psql($db, q{SELECT flo.create_worker('later', options => '{"start": "latest"}');
		SELECT flo.start_group('later')});
	wait_state($node, 'later', 'postgres', 'starting|waiting|backoff|failed', $db);
	is($node->safe_psql($db, q{SELECT count(pid) FROM flo.status WHERE group_name = 'g'}), '0',
		"$name: nor when it is read");
	$node->safe_psql($db, q{SELECT flo.drop_group('later', force => true)});
	wait_until($node, $db, $no_process, 'processes to leave');

	# rows and DDL as in any database
	is(error_of($node, "INSERT INTO $table SELECT -i, 'copy' FROM generate_series(1, 100) i;
		UPDATE " . '"Sales ""1""".keyless' . " SET b = 'copy';
		ALTER TABLE $table ADD copied int; CREATE TABLE " . '"Sales ""1""".made' . " (id int);
		DROP TABLE " . '"Sales ""1""".made', $db), '', "$name takes rows and DDL");
	return;
}

sub dump_of
{
	my ($node) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/dump';

	$node->command_ok([ 'pg_dump', '-Fc', '-f', $file, '-p', $node->port, '-h', $node->host, 'app' ],
		'pg_dump of ' . $node->name);
	return $file;
}

sub restore
{
	my ($node, $db, $file) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0");
	$node->command_ok([ 'pg_restore', '-e', '-d', $db, '-p', $node->port, '-h', $node->host, $file ],
		"pg_restore into $db of " . $node->name);
	return;
}

# --- restored ---------------------------------------------------------------------------------

for my $what (sort keys %side)
{
	my $file = dump_of($side{$what});

	for my $node ($side{$what}, $elsewhere)
	{
		my $name = "restored copy of the $what in " . $node->name;
		my $db = "restored_$what";

		# dropped as it is: nobody holds it
		restore($node, $db, $file);
		rests($node, $db, $name);
		undisturbed($name);
		is(error_of($node, "DROP DATABASE $db"), '', "$name can be dropped");
		undisturbed("$name, dropped");

		# its groups dropped first: nothing is left, of the extension neither
		restore($node, $db, $file);
		is(error_of($node, q{SELECT flo.drop_group('g', force => true)}, $db), '', "$name: its group can be dropped");
		is(error_of($node, 'DROP EXTENSION pg_flo', $db), '', "$name: and the extension");
		# but for the identities of keyless tables: what they were is not in a dump
		is($node->safe_psql($db, q{SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*)
			FROM pg_event_trigger)}), '0', "$name: which leaves nothing");
		$node->safe_psql('postgres', "DROP DATABASE $db");
		undisturbed("$name, its group dropped");
	}
}
is($elsewhere->safe_psql('postgres', q{SELECT (SELECT count(*) FROM pg_replication_slots)
	+ (SELECT count(*) FROM pg_replication_origin)}), '0', 'the other cluster has neither slots nor origins');

# --- CREATE DATABASE ... TEMPLATE ----------------------------------------------------------------

for my $what (sort keys %side)
{
	my $node = $side{$what};

	like(error_of($node, 'CREATE DATABASE clone TEMPLATE app'), qr/^55006/, "a living $what is no template");
	$node->safe_psql('app', q{SELECT flo.stop_group('g')});
	wait_until($node, 'app', q{SELECT bool_and(state = 'stopped' AND pid IS NULL) FROM flo.status}, 'a stop');
	is(error_of($node, 'CREATE DATABASE clone TEMPLATE app'), '', "a resting $what is one");
	is(error_of($node, 'CREATE DATABASE clone2 TEMPLATE app'), '', 'for another, too');
	$node->safe_psql('app', q{SELECT flo.start_group('g')});
	wait_until($node, 'app', q{SELECT bool_and(state = 'streaming') FROM flo.status}, 'a start');
	$before = living();

	rests($node, 'clone', "clone of the $what");
	undisturbed("clone of the $what");
	is(error_of($node, 'DROP DATABASE clone WITH (FORCE)'), '', "clone of the $what can be dropped");
	is(error_of($node, q{SELECT flo.drop_group('g', force => true)}, 'clone2'), '', 'its group, too');
	is($node->safe_psql('clone2', q{SELECT count(*) FROM pg_class WHERE relreplident = 'f'}), '0',
		'which undoes what it has done to tables');
	is(error_of($node, 'DROP DATABASE clone2'), '', 'and then the database');
	undisturbed("clone of the $what, dropped");
}

# a clone made while its members were to run
for my $what (sort keys %side)
{
	my $node = $side{$what};

	$node->append_conf('postgresql.conf', "pg_flo.enabled = off\n");
	$node->reload;
	wait_until($node, 'app', q{SELECT count(pid) = 0 FROM flo.status}, 'a stop');
	$node->safe_psql('postgres', 'CREATE DATABASE clone TEMPLATE app');
	$node->append_conf('postgresql.conf', "pg_flo.enabled = on\n");
	$node->reload;
	wait_until($node, 'app', q{SELECT bool_and(state = 'streaming') FROM flo.status}, 'a start');
	$before = living();
	rests($node, 'clone', "clone of a started $what");
	undisturbed("clone of a started $what");

	$node->safe_psql('postgres', 'ALTER DATABASE clone RENAME TO "Clone ""2"""');
	is($node->safe_psql('Clone "2"', 'SELECT count(pid) FROM flo.status'), '0', 'nor under another name');
	is(error_of($node, 'DROP DATABASE "Clone ""2"""'), '', 'which can be dropped, too');
	undisturbed("clone of a started $what, dropped");
}

# --- a database that was dropped, and made again ---------------------------------------------------

$dest->safe_psql('app', q{SELECT flo.drop_group('g')});
$source->safe_psql('app', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped', 'app');
is(error_of($source, 'DROP DATABASE app'), '', 'a source whose group rests can be dropped');
is($source->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_slots'), '0', 'with its slot');
$source->safe_psql('postgres', 'CREATE DATABASE app');
$source->safe_psql('app', q{CREATE EXTENSION pg_flo; CREATE TABLE t (id int PRIMARY KEY);
	SELECT flo.create_replicator('g'); SELECT flo.start_group('g')});
wait_state($source, 'g', 'replicator', 'failed', 'app');
like(status_of($source, 'g', 'replicator', 'detail', 'app'),
	qr/another database of this cluster that was called "app"/,
	'what it has left at the broker is not taken for that of the new one');
like(status_of($source, 'g', 'replicator', 'last_hint', 'app'), qr/If that database was dropped, .*force => true/,
	'and the hint says what to do');
my $purge = q{SELECT flo.drop_group('g', purge_stream => true%s)};
like(error_of($source, sprintf($purge, ''), 'app'), qr/^55006/, 'it is not removed in passing');
is(error_of($source, sprintf($purge, ', force => true'), 'app'), '', 'but with force');
is_deeply([ $nats->streams ], [], 'all of it');

$_->stop('fast') for $source, $dest, $elsewhere;
done_testing();
