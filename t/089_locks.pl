
# Nothing of ours stands in a lock's queue: neither behind an idle transaction nor
# in front of applications.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use MIME::Base64 ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $session = FloTest::Session->new($source);
my $idle = FloTest::Session->new($source);
my $pid = $idle->query('SELECT pg_backend_pid()');

# The application's statements while a call of ours is under way; none may wait
sub refused_meanwhile
{
	my ($call, $holder, $name, @statements) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$session->{err} = '';
	$session->send("SET lock_timeout = '2s'; $call");
	my ($tried, $failed) = (0, '');
	while (!$session->ended)
	{
		for (@statements)
		{
			my ($out, $err);
			$source->psql('postgres', "SET client_min_messages = error; SET lock_timeout = '1ms'; BEGIN; $_; ROLLBACK",
				stdout => \$out, stderr => \$err, on_error_stop => 1);
			$failed .= $err;
		}
		$tried++;
	}
	cmp_ok($tried, '>', 0, "$name: the application worked on");
	is($failed, '', "$name: and waited for nothing");
	# one of the statements that go on meanwhile may hold it at that moment, too
	my $holders = ($holder =~ s/^process /process (?:\\d+, )*/r) . '(?:, \d+)*';
	like($session->{err},
		qr/ERROR:  .* is in use by other transactions\nDETAIL:  .* by (?:process \d+ and )?$holders\.\nHINT:  End/,
		"$name: a clear error");
	$session->query('RESET lock_timeout; ROLLBACK');
}
sub done
{
	my ($call, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($out, $err);
	is($source->psql('postgres', "SET lock_timeout = '1ms'; $call", stdout => \$out, stderr => \$err,
		on_error_stop => 1), 0, $name) or diag($err);
}

my $create = q{SELECT flo.create_replicator('g', schemas => '{public}', track_ddl => true)};
my @ddl = ('CREATE TABLE app (id int PRIMARY KEY)', 'CREATE TEMP TABLE app_temp (id int)',
	'CREATE TABLE app_as AS SELECT 1 AS id', 'ALTER TABLE t ADD w int', 'INSERT INTO t VALUES (5)');
$source->safe_psql('postgres', q{CREATE TABLE t (id int PRIMARY KEY); CREATE EXTENSION file_fdw;
	CREATE SERVER files FOREIGN DATA WRAPPER file_fdw});

# --- create_replicator() ---------------------------------------------------------------------

for my $made ('CREATE TEMP TABLE x (id int)', 'CREATE TEMP TABLE x AS SELECT 1 AS id', 'SELECT 1 AS id INTO TEMP x',
	'CREATE TABLE pg_temp.x (id int)', 'SET LOCAL search_path = pg_temp; CREATE TABLE x (id int)',
	'CREATE UNLOGGED TABLE x (id int)', q{CREATE FOREIGN TABLE x (a text) SERVER files OPTIONS (filename '/dev/null')},
	'CREATE TEMP TABLE x (id int); ALTER TABLE x ADD a int', 'SELECT * FROM t', 'INSERT INTO t VALUES (1)')
{
	$idle->query("BEGIN; $made");
	done("BEGIN; $create; ROLLBACK", "nothing is waited for: $made");
	$idle->query('ROLLBACK');
}

$idle->query('BEGIN; CREATE TABLE late (id int PRIMARY KEY)');
refused_meanwhile($create, "process $pid", 'create_replicator()', @ddl);
$idle->query(q{PREPARE TRANSACTION 'p'});
refused_meanwhile($create, 'a prepared transaction', 'create_replicator() and a prepared transaction', @ddl);
$idle->query(q{ROLLBACK PREPARED 'p'});

# a table made meanwhile is in it, whoever comes first
$idle->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT * FROM t; CREATE TABLE before (id int PRIMARY KEY)');
$session->send($create);
wait_until($source, 'postgres', q{SELECT wait_event_type = 'Extension' FROM pg_stat_activity
	WHERE query ~ 'create_replicator' AND pid <> pg_backend_pid()}, 'the call to try');
$idle->query('COMMIT');
$session->result;
my $old = FloTest::Session->new($source);
is($source->safe_psql('postgres', q{SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_publication_tables}),
	'before t', 'a table that was being made is in the group');
$source->safe_psql('postgres', q{SELECT flo.drop_group('g', force => true)});
$old->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t');
done($create, 'again');
$old->query('CREATE TABLE old (id int PRIMARY KEY); COMMIT');
is($source->safe_psql('postgres', q{SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_publication_tables}),
	'before old t', 'so is one of a transaction with an older snapshot');

# --- tables of a group -------------------------------------------------------------------------

$source->safe_psql('postgres', q{CREATE SCHEMA other; CREATE TABLE other.added (id int PRIMARY KEY);
	CREATE TABLE other.keyless (id int)});
$idle->query('BEGIN; CREATE TABLE joined (id int PRIMARY KEY)');
refused_meanwhile(q{SELECT flo.add_table('g', 'other.added', false)}, "process $pid", 'add_table()', @ddl);
refused_meanwhile(q{SELECT flo.remove_table('g', 't')}, "process $pid", 'remove_table()', @ddl);
refused_meanwhile(q{SELECT flo.drop_replicator('g', force => true)}, "process $pid", 'drop_replicator()', @ddl);
is($source->safe_psql('postgres', 'SELECT count(*) FROM flo.replicators'), '1', 'and all is there as before');
$idle->query('ROLLBACK');
done(q{SELECT flo.add_table('g', 'other.added', false); SELECT flo.remove_table('g', 'other.added')},
	'they are done when it has ended');

# REPLICA IDENTITY FULL excludes everybody
$source->safe_psql('postgres', q{SELECT flo.alter_replicator('g', '{"keyless_tables": "full"}')});
my @reads = ('SELECT * FROM other.keyless', 'INSERT INTO other.keyless VALUES (1)');
$idle->query('BEGIN; SELECT * FROM other.keyless');
refused_meanwhile(q{SELECT flo.add_table('g', 'other.keyless', false)}, "process $pid", 'REPLICA IDENTITY FULL', @reads,
	@ddl);
refused_meanwhile(q{SELECT flo.create_replicator('h', '{other.keyless}', options => '{"keyless_tables": "full"}')},
	"process $pid", 'REPLICA IDENTITY FULL of a new group', @reads, @ddl);
$idle->query('COMMIT');
done(q{SELECT flo.add_table('g', 'other.keyless', false)}, 'without a reader');
$idle->query('BEGIN; SELECT * FROM other.keyless');
refused_meanwhile(q{SELECT flo.remove_table('g', 'other.keyless')}, "process $pid", 'the former identity', @reads,
	@ddl);
refused_meanwhile(q{SELECT flo.drop_group('g', force => true)}, "process $pid",
	'the former identity of a dropped group', @reads, @ddl);

# a user's command that lets a table in does not wait on our account
$source->safe_psql('postgres', q{CREATE TABLE owned (id int) PARTITION BY LIST (id);
	CREATE TABLE owned_1 PARTITION OF owned DEFAULT});
$idle->query('COMMIT');
done(q{SELECT flo.drop_group('g', force => true)}, 'the group goes');
is($source->safe_psql('postgres', q{SELECT relreplident FROM pg_class WHERE oid = 'other.keyless'::regclass}), 'd',
	'and leaves tables as they were');

# --- a replicator ------------------------------------------------------------------------------

# It does not queue behind who changes a table, who waits for one that reads
$source->safe_psql('postgres', q{CREATE SCHEMA r; CREATE TABLE r.changed (id int PRIMARY KEY);
	SELECT flo.create_replicator('r', schemas => '{r}')});
start_member($source, 'r', 'replicator');
$idle->query('BEGIN; SELECT * FROM r.changed');
$session->send('ALTER TABLE r.changed ADD w int');
wait_until($source, 'postgres', q{SELECT EXISTS (SELECT FROM pg_locks
	WHERE relation = 'r.changed'::regclass AND NOT granted)}, 'the change to wait') or die;
$source->safe_psql('postgres', 'CREATE TABLE r.told (id int PRIMARY KEY)');
my $definitions = sub {
	my $answer = $nats->api('STREAM.MSG.GET.KV_pg_flo_state_r', { last_by_subj => '$KV.pg_flo_state_r.tables.0' });
	return MIME::Base64::decode_base64($answer->{message}{data} // '');
};
ok(await(sub { $definitions->() =~ /"told"/ }, 'its definition'), 'a replicator tells of tables while one is locked');
is($source->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity
	WHERE wait_event_type = 'Lock' AND backend_type ~ 'pg_flo'}), '0', 'and waits for nothing');
unlike($definitions->(), qr/"w"/, 'the change still waits');
$idle->query('COMMIT');
$session->result;
done(q{SELECT flo.drop_group('r', force => true)}, 'the group goes');

# an autovacuum, which may take hours, makes room
$source->append_conf('postgresql.conf', "autovacuum_naptime = '1s'\n");
$source->reload;
$source->safe_psql('postgres', q{CREATE TABLE large (id int PRIMARY KEY, v char(1000))
	WITH (autovacuum_vacuum_cost_delay = 100,
	autovacuum_vacuum_cost_limit = 1, autovacuum_analyze_threshold = 0);
	INSERT INTO large SELECT i, 'v' FROM generate_series(1, 20000) i});
wait_until($source, 'postgres', q{SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity USING (pid)
	WHERE l.relation = 'large'::regclass AND backend_type = 'autovacuum worker')}, 'an autovacuum');
is(error_of($source, q{SELECT flo.create_replicator('h', '{large}')}), '', 'an autovacuum makes room');

$_->close for $idle, $session, $old;
done_testing();
