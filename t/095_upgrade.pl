
# From pg_flo 0.1: the extension becomes what a new installation has, what it knew is
# kept, and groups go on exactly from where they were, workers first.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use FloUpgrade;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

skip_without_former();
my $nats = FloTest::Nats->new('broker');
my $source = former_node('source', $nats);
my $dest = former_node('dest', $nats);

sub src { return $source->safe_psql('postgres', $_[0]) }
sub dst { return $dest->safe_psql('postgres', $_[0]) }
sub caught_up { return wait_caught_up($source, $dest, shift, member => 'postgres') }

transfer_tables($source, $dest);
src(q{INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 100) i;
	CREATE SCHEMA shop; CREATE TABLE shop."Odd" (id int PRIMARY KEY, v text, secret text);
	INSERT INTO shop."Odd" SELECT i, 'v' || i, 's' || i FROM generate_series(1, 5000) i;
	CREATE TABLE stopped (id int PRIMARY KEY)});
dst(q{CREATE SCHEMA shop; CREATE TABLE masked (id int PRIMARY KEY, v text, secret text)});

# --- what 0.1 has -----------------------------------------------------------------

src(q{
	CREATE ROLE keeper LOGIN REPLICATION; CREATE ROLE gone LOGIN REPLICATION;
	GRANT EXECUTE ON FUNCTION flo.start_group(text, text), flo.drop_group(text, bool, bool) TO keeper;
	GRANT SELECT ON flo.status TO keeper WITH GRANT OPTION;
	GRANT INSERT, UPDATE ON flo.rules TO keeper; GRANT SELECT (group_name) ON flo.secrets TO keeper;
	REVOKE SELECT ON flo.tables FROM PUBLIC});
dst(q{CREATE ROLE keeper LOGIN});

src(q{
	SELECT flo.create_replicator('bank', tables => '{accounts,moves}', mode => 'copy_and_stream',
		options => '{"release_wal": "applied"}');
	SELECT flo.create_replicator('shop', schemas => '{shop}', mode => 'copy_and_stream', sync_schema => true,
		track_ddl => true);
	SELECT flo.create_replicator('idle', tables => '{stopped}', except_tables => NULL);
	SELECT flo.create_replicator('all', except_tables => '{stopped}')});
dst(q{
	SELECT flo.create_worker('bank'), flo.create_worker('shop');
	SELECT flo.create_worker('bank', 'webhook', options => '{"url": "http://127.0.0.1:9/", "secret": "not told"}');
	INSERT INTO flo.routes (group_name, source_schema, source_table, destination_schema, destination_table)
		VALUES ('shop', 'shop', 'Odd', 'public', 'masked');
	INSERT INTO flo.rules (group_name, schema_name, table_name, column_name, action, arguments)
		VALUES ('shop', 'shop', 'Odd', 'secret', 'mask', '{}');
	INSERT INTO flo.webhook_subscriptions (group_name, url) VALUES ('bank', 'http://127.0.0.1:9/more');
	INSERT INTO flo.rules (group_name, worker_name, schema_name, table_name, column_name, action, arguments, operations,
			position, enabled)
		VALUES ('bank', 'webhook', 'public', 'moves', 'a', 'gt', '{"value": 5}', '{INSERT}', 7, false);
	INSERT INTO flo.routes (group_name, worker_name, source_table, destination_table, operations, enabled)
		VALUES ('bank', 'webhook', 'moves', 'moved', '{INSERT,DELETE}', false);
	INSERT INTO flo.webhook_subscriptions (group_name, worker_name, url, schema_name, table_name, operations, enabled)
		VALUES ('bank', 'webhook', 'http://127.0.0.1:9/', 'public', 'moves', '{DELETE}', false)});
src("SELECT flo.start_group('bank'), flo.start_group('shop')");
dst("SELECT flo.start_group('bank', 'postgres'), flo.start_group('shop')");
wait_state($source, $_, 'replicator', 'streaming') for 'bank', 'shop';
wait_state($dest, $_, 'postgres', 'streaming') for 'bank', 'shop';

my $load = transfer_load($source, rate => 200);
caught_up($_) for 'bank', 'shop';
is(dst('SELECT count(*) FROM masked'), 5000, '0.1 copies, and streams');

# what takes more than a test to come by
src(q{UPDATE flo.replicators SET owner = 'gone' WHERE group_name = 'idle'; DROP ROLE gone});
dst(q{
	INSERT INTO flo.dead_letters (group_name, worker_name, url, event_id, lsn, event, error) VALUES ('bank',
		'webhook', 'u', 'e', '0/1', '{"a": 1}', 'x');
	INSERT INTO flo.pending_ddl (group_name, worker_name, lsn, committed_at, tag, command, reason, ordinal)
		VALUES ('bank', 'postgres', '0/1', now(), 'T', 'c', 'r', 1);
	INSERT INTO flo.ddl_log (group_name, tag, command, outcome) VALUES ('bank', 'T', 'c', 'applied');
	UPDATE flo.progress SET lsn = '0/7', sink_state = '{"file": 1}' WHERE worker_name = 'webhook'});

# Every column that both versions have, but for those that change while members run, or mean another thing in 0.2
my @kept = qw(groups workers routes rules webhook_subscriptions replicators full_identities generations progress
	shaped_tables copied_tables copied_chunks copied_objects dead_letters pending_ddl ddl_log secrets);
my %differs = (
	progress => [qw(lsn updated_at)], generations => [qw(follows epoch)],
	copied_tables => [qw(expected)], secrets => []);
my %of_0_1;

sub rows_of
{
	my ($node) = @_;
	my @rows;

	for my $table (@kept)
	{
		# as 0.1 has them, which is asked first
		my $columns = $of_0_1{$table} ||= $node->safe_psql('postgres', "SELECT array_agg(attname) FROM pg_attribute
			WHERE attrelid = 'flo.$table'::regclass AND attnum > 0 AND NOT attisdropped
			AND attname <> ALL ('{" . join(',', @{ $differs{$table} || [] }) . "}')");
		# a role that is gone had a name, and has a number; keys that 0.1 signs with are no group's
		push @rows, "$table:\n" . $node->safe_psql('postgres', "SELECT replace(kept::text, '4294967295', 'gone')
			FROM flo.$table t, to_jsonb(t) whole, LATERAL (SELECT jsonb_object_agg(k, v) AS kept
				FROM jsonb_each(whole) e (k, v) WHERE k = ANY ('$columns')) x
			WHERE whole->>'key' IS DISTINCT FROM 'ddl' AND whole->>'key' IS DISTINCT FROM 'sign' ORDER BY 1");
	}
	return join "\n", @rows,
	  $node->safe_psql('postgres', q{SELECT lsn FROM flo.progress WHERE worker_name = 'webhook'});
}

# --- the script wants the library ---------------------------------------------------

my ($code, $out, $err) = $dest->psql('postgres', "ALTER EXTENSION pg_flo UPDATE TO '0.2'");
like($err, qr/still runs the library of an earlier version of pg_flo/,
	'before the server was restarted the update is refused');
like($err, qr/HINT:  Restart the server/, 'with what to do');
is(dst(q{SELECT extversion, count(state) FROM pg_extension, flo.status WHERE extname = 'pg_flo' GROUP BY 1}),
	'0.1|3', 'and nothing has happened');

# --- the destination first ----------------------------------------------------------

sub waits_for_update
{
	my ($node) = @_;
	my $log = -s $node->logfile;
	my $name = $node->name;
	my $told = qr/extension pg_flo of database "postgres" has version 0\.1/;

	$node->run_with(undef);
	for my $statement ('SELECT * FROM flo.status', "SELECT flo.start_group('bank')",
		"SELECT flo.drop_group('bank')", "INSERT INTO flo.rules (group_name, table_name, action) VALUES ('a', 'b',
			'mask')", 'SELECT * FROM flo.check()', $node == $source ? 'CREATE TABLE made (i int)' : ())
	{
		my ($failed, $rows, $error) = $node->psql('postgres', $statement);
		like($error, qr/$told, and this server runs pg_flo 0\.2\nHINT:  Run ALTER EXTENSION pg_flo UPDATE/,
			"$name: $statement");
	}
	is_logged($node, $log, qr/WARNING:  $told/, "$name: the log says it");
	is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity
		WHERE application_name ~ '^pg_flo (worker|replicator)'}), 0,
		"$name: nothing is started");
	unlike(slurp_file($node->logfile, $log), qr/terminated by signal|server process/, "$name: nothing has crashed");
}

my $before = rows_of($dest);
waits_for_update($dest);
is(dst('CREATE DATABASE other; SELECT 1'), 1, 'other statements run');
dst('ALTER EXTENSION pg_flo UPDATE');
is(rows_of($dest), $before, 'rows of the destination are kept');
is(dst(q{SELECT value FROM flo.secrets WHERE worker_name = 'webhook'}), 'not told', 'secrets, too');
wait_state($dest, $_, 'postgres', 'streaming') for 'bank', 'shop';
is(status_of($dest, 'bank', 'webhook', 'state'), 'stopped', 'what ran goes on by itself, what did not does not');
caught_up($_) for 'bank', 'shop';

# --- a source with 0.1, a worker with 0.2 -------------------------------------------

src(q{INSERT INTO shop."Odd" SELECT i, repeat('w', 3000), 'abc' FROM generate_series(5001, 8000) i;
	UPDATE shop."Odd" SET v = 'u' WHERE id % 7 = 0; DELETE FROM shop."Odd" WHERE id % 11 = 0});
caught_up('shop');
is(dst(q{SELECT count(*), sum(length(v)), max(secret) FILTER (WHERE id = 7999) FROM masked}),
	src(q{SELECT count(*), sum(length(v)), 'a*c' FROM shop."Odd"}), 'worker first: rows, rules and routes');
src('ALTER TABLE shop."Odd" ADD more int DEFAULT 5; INSERT INTO shop."Odd" VALUES (9001, \'x\', \'abc\', 6)');
wait_until($dest, 'postgres', q{SELECT EXISTS (SELECT FROM flo.pending_ddl WHERE group_name = 'shop')},
	'a held statement');
like(dst(q{SELECT command, reason FROM flo.pending_ddl WHERE group_name = 'shop'}),
	qr/^ALTER TABLE shop."Odd" ADD more.*a source with pg_flo 0\.1 does not say/, 'DDL waits for a person');
dst(q{SELECT flo.release_ddl(id) FROM flo.pending_ddl WHERE group_name = 'shop'});
caught_up('shop');
is(dst('SELECT count(*), sum(more) FROM masked'), src('SELECT count(*), sum(more) FROM shop."Odd"'),
	'and goes on');
src('TRUNCATE shop."Odd"');
caught_up('shop');
is(dst('SELECT count(*) FROM masked'), 0, 'TRUNCATE');

# --- the source ---------------------------------------------------------------------

$before = rows_of($source);
waits_for_update($source);
src('ALTER EXTENSION pg_flo UPDATE');
is(rows_of($source), $before, 'rows of the source are kept');
is(src(q{SELECT group_name, kind, object::regclass::text, name FROM flo.chosen
	WHERE kind <> 'schema' ORDER BY group_name, place}),
	join("\n", 'all|except|stopped|public.stopped', 'bank|table|accounts|public.accounts',
		'bank|table|moves|public.moves', 'idle|table|stopped|public.stopped'),
	'tables are known as what they are');
wait_state($source, $_, 'replicator', 'streaming') for 'bank', 'shop';
src(q{ALTER TABLE shop."Odd" ADD again int; INSERT INTO shop."Odd" VALUES (1, 'a', 'abc', 1, 2);
	CREATE TABLE shop.late (id int PRIMARY KEY); INSERT INTO shop.late VALUES (3)});
caught_up('shop');
is(dst('SELECT id, secret, again, (SELECT id FROM shop.late) FROM masked'), '1|a*c|2|3', 'DDL of 0.2 is applied');

stop_load($load);
caught_up($_) for 'bank', 'shop';
is_same_table($source, $dest, $_) for 'accounts', 'moves';
is(src('SELECT count(*) > 50 FROM moves'), 't', 'all the time there was something to move');
is(dst('SELECT count(*) FROM (SELECT FROM moves GROUP BY id HAVING count(*) > 1) d'), 0, 'nothing twice');

# --- an older library over the new script -----------------------------------------------

is(dst(q{SELECT string_agg(prosrc, ' ') FROM pg_proc p JOIN pg_language l ON l.oid = prolang
	WHERE lanname = 'c' AND pronamespace = 'flo'::regnamespace AND prosrc !~ '_v2$'}),
	'', 'no function has a name of 0.1');
my %size;
for my $server ($source, $dest)
{
	$size{$server} = -s $server->logfile;
	$server->run_with($former);
}
for my $statement ('SELECT * FROM flo.status', q{SELECT flo.set_owner('bank', 'replicator', 'keeper')},
	q{SELECT flo.start_group('bank')}, q{SELECT flo.stop_group('bank')}, q{SELECT flo.resync('bank')},
	q{SELECT flo.drop_group('bank', force => true)}, q{SELECT flo.skip('bank', 'postgres', '0/1')},
	q{SELECT flo.add_table('bank', 'public.stopped')}, q{SELECT flo.create_replicator('more')},
	q{SELECT flo.create_worker('more')}, q{SELECT flo.sync_sequences('bank')}, 'SELECT * FROM flo.replicators',
	q{SELECT flo.check_broker('bank')}, 'DELETE FROM flo.rules',
	'CREATE TABLE fresh (id int PRIMARY KEY)', 'ALTER TABLE accounts ADD COLUMN later int',
	'DROP EXTENSION pg_flo CASCADE')
{
	($code, $out, $err) = $source->psql('postgres', $statement);
	like($err, qr/could not find function "flo_\w+_v2" in file ".*pg_flo/, "an older library: $statement");
}
src(q{INSERT INTO accounts SELECT 1000 + i, 5 FROM generate_series(1, 10) i});
for my $server ($source, $dest)
{
	my ($name, $size) = ($server->name, $size{$server});
	is_logged($server, $size, qr/could not find function "flo_of_this_library_v2"/,
		"$name: what to start cannot be read");
	ok( $server->poll_query_until(
			'postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'pg_flo')}),
		"$name: so nothing is started");
	unlike(slurp_file($server->logfile, $size), qr/terminated by signal/, "$name: and nothing has crashed");
}
$_->run_with(undef) for $dest, $source;
caught_up('bank');
is_same_table($source, $dest, 'accounts');

# --- what was granted ----------------------------------------------------------------

is(src(q{SELECT string_agg(p::text, ' ') FROM unnest(ARRAY[
		has_function_privilege('keeper', 'flo.start_group(text, text)', 'EXECUTE'),
		has_function_privilege('keeper', 'flo.drop_group(text, bool, bool, bool)', 'EXECUTE'),
		has_table_privilege('keeper', 'flo.status', 'SELECT WITH GRANT OPTION'), has_table_privilege('keeper',
			'flo.rules', 'INSERT'),
		has_column_privilege('keeper', 'flo.secrets', 'group_name', 'SELECT'), NOT has_column_privilege('keeper',
			'flo.secrets', 'value', 'SELECT'),
		NOT has_table_privilege('keeper', 'flo.tables', 'SELECT'), NOT has_function_privilege('keeper',
			'flo.stop_group(text, text)', 'EXECUTE')]) p}),
	join(' ', ('true') x 8), 'privileges that somebody granted or revoked are there again');
my ($dump) = run_command([ 'pg_dump', '-s', '-p', $source->port, '-h', $source->host, 'postgres' ]);
like($dump, qr/GRANT ALL ON FUNCTION flo\.start_group\(.*\) TO keeper/, 'and pg_dump saves them');

# --- the same as a new installation ---------------------------------------------------

$dest->safe_psql('other', 'CREATE EXTENSION pg_flo');
my @upgraded = grep { !/event trigger pg_flo_track_ddl/ } split /\n/, objects_of($dest, 'postgres');
my @new = grep { !/event trigger pg_flo_track_ddl/ } split /\n/, objects_of($dest, 'other');
cmp_ok(scalar @new, '>', 700, 'objects of a new installation');
is_deeply(\@upgraded, \@new, 'are what an upgraded one has');

# pg_dump of all of it: as if nothing belonged to the extension
sub dump_of
{
	my ($db) = @_;
	dst(q{SELECT flo.stop_group(group_name) FROM flo.groups}) if $db eq 'postgres';
	$dest->safe_psql($db, q{DO $$ DECLARE i record; BEGIN
		FOR i IN SELECT o.type, o.identity FROM pg_depend d, pg_identify_object(d.classid, d.objid, d.objsubid) o
				  WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND o.type <> 'type'
					AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_flo')
		LOOP EXECUTE format('ALTER EXTENSION pg_flo DROP %s %s', i.type, i.identity); END LOOP; END $$});
	my ($text, $problem) = run_command([ 'pg_dump', '-s', '-n', 'flo', '-p', $dest->port, '-h', $dest->host, $db ]);
	return [ grep { !/^--|^\\(un)?restrict|^$/ } split /\n/, $text ];
}
my $new = dump_of('other');
cmp_ok(scalar @$new, '>', 4000, 'pg_dump of the schema of a new installation');
is_deeply(dump_of('postgres'), $new, 'is that of an upgraded one');

done_testing();
