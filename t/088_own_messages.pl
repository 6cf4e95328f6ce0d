
# Nothing that others write into WAL is taken for pg_flo's own: not by any prefix,
# not a changed or cut message, not a copy of a genuine one, wherever it stands.
# It is left out and counted, and nothing stops.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloMessage;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats, conf => "log_min_messages = debug1\n");
my $dest = flo_node('dest', $nats);

$_->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	CREATE TABLE unrelated (id int);
	CREATE SEQUENCE admin_seq;
	CREATE ROLE mallory LOGIN}) for $source, $dest;
$source->safe_psql('postgres', q{SELECT flo.create_replicator('g', tables => '{t}', track_ddl => true)});
start_member($source, 'g', 'replicator');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g')});
start_member($dest, 'g', 'postgres');

my $key = $source->safe_psql('postgres', q{SELECT value FROM flo.secrets WHERE group_name = 'g' AND key = 'sign'});
like($key, qr/^[0-9a-f]{64}$/, 'a group has a key');
my $source_pid = status_of($source, 'g', 'replicator', 'pid');
my $dest_pid = status_of($dest, 'g', 'postgres', 'pid');

my $id = 0;
my $foreign = 0;

# After "steps" more messages of others nothing has happened but that they were counted
sub nothing_but
{
	my ($count, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$source->safe_psql('postgres', 'INSERT INTO t (id) VALUES (' . ++$id . ')');
	wait_caught_up($source, $dest, 'g');
	$foreign += $count;
	ok(wait_until($source, 'postgres', "SELECT foreign_messages >= $foreign FROM flo.status", 'the counter'),
		"$name: counted");
	is(status_of($source, 'g', 'replicator', 'foreign_messages'), $foreign, "$name: exactly");
	is(status_of($source, 'g', 'replicator', 'pid'), $source_pid, "$name: the replicator has gone on");
	is(status_of($dest, 'g', 'postgres', 'pid'), $dest_pid, "$name: the worker, too");
	is(columns($dest), columns($source), "$name: the table is as at the source");
	is($dest->safe_psql('postgres', 'SELECT last_value, is_called FROM admin_seq'), '1|f',
		"$name: the sequence is as it was");
}

sub columns
{
	return $_[0]->safe_psql('postgres', q{SELECT string_agg(attname, ',' ORDER BY attname) FROM pg_attribute
		WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped});
}

sub as_mallory { my ($sql) = @_; $source->safe_psql('postgres', $sql, extra_params => [ '-U', 'mallory' ]); }

# --- by hand --------------------------------------------------------------------------------

my @contents = map { "convert_to(\$c\$$_\$c\$, 'UTF8')" } (
	'', 'x', '{}', '[]', 'null',
	'{"group":"g","sequences":[["public","admin_seq",9223372036854775807,true]]}',
	'{"group":"g","sequences":[["public",null,1,true]]}',
	'{"group":"g","sequences":[[1,2,3,4]]}',
	'{"group":"g","sequences":[["flo","rules_id_seq",123456789,true]]}',
	'{"group":"g","sequences":' . ('[' x 5000),
	('0' x 64) . '{"version": 1, "id": 1, "phase": "before", "tag": "ALTER TABLE", '
	  . '"text": "ALTER TABLE t ADD evil int", "objects": []}');
push @contents, q{'\x'}, q{'\xff'}, q{'\xfffe00'}, q{decode(repeat('ff', 1048576), 'hex')},
	q{decode(repeat('01', 1048576), 'hex')},
  q{decode('01' || repeat('00', 17) || 'ffff', 'hex')},
  q{decode('0144' || repeat('00', 16) || '000101' || '67' || repeat('00', 32), 'hex')},
  q{decode('0153' || repeat('ff', 16) || '0001' || '0167' || repeat('00', 31), 'hex')};
my @prefixes = qw(pg_flo pg_flo_ddl pg_flo_sequences pg_flo_);
as_mallory('SELECT ' . join(', ', map {
	my $content = $_;
	map { my $prefix = $_; map { "pg_logical_emit_message($_, '$prefix', $content)" } qw(true false) } @prefixes
} @contents));
as_mallory(q{SELECT pg_logical_emit_message(true, 'pg_flo', NULL::text), pg_logical_emit_message(true, NULL, 'x'),
	pg_logical_emit_message(NULL, 'pg_flo', 'x')});
as_mallory(q{SELECT pg_logical_emit_message(true, 'pg_flow', 'x'), pg_logical_emit_message(false, 'pg', 'x'),
	pg_logical_emit_message(true, '', 'x')});
nothing_but(2 * @prefixes * @contents, 'whatever mallory writes');
is(scalar(() = slurp_file($source->logfile) =~ /LOG: .*that pg_flo has not written/g), 1,
	'one line in the log for many');
is($source->safe_psql('postgres', q{SELECT status FROM flo.check('g') WHERE detail LIKE '%in the name of pg_flo%'}),
	'warning', 'flo.check tells');

# --- genuine ones, copied ---------------------------------------------------------------------

my $session = FloTest::Session->new($source);
sub position
{
	$source->safe_psql('postgres', 'INSERT INTO unrelated VALUES (1)');
	return $source->safe_psql('postgres', 'SELECT pg_current_wal_flush_lsn()');
}

# The messages of a statement that the session runs
sub captured
{
	my ($sql) = @_;
	my $from = position();
	$session->query($sql);
	my @messages = FloMessage::in_wal($source, $from, position());
	is(scalar(@messages), 2, "captured: $sql");
	return @messages;
}
sub again { $session->query("SELECT " . join ', ', map { FloMessage::emit($_) } @_); }

my @genuine = captured('ALTER TABLE t ADD c1 int');
again(@genuine);
nothing_but(2, 'a copy in another transaction');

$session->query('BEGIN');
my @own = captured('ALTER TABLE t ADD c2 int');
again(@own);
again(reverse @own);
$session->query('COMMIT');
nothing_but(4, 'a copy beside the original');

$session->query('BEGIN');
@own = captured('ALTER TABLE t ADD c3 int');
$session->query('SAVEPOINT s');
again(@own);
$session->query('RELEASE s');
$session->query('COMMIT');
nothing_but(2, 'a copy in a subtransaction');

$session->query('BEGIN; SAVEPOINT s');
@own = captured('ALTER TABLE t ADD gone int');
$session->query('ROLLBACK TO s');
again(@own);
$session->query('SAVEPOINT other');
again(@own);
$session->query('RELEASE other');
$session->query('ALTER TABLE t ADD c4 int');
again(@own);
$session->query('COMMIT');
nothing_but(6, 'a copy of what was rolled back with its savepoint');

$session->query('BEGIN; SAVEPOINT s');
@own = captured('ALTER TABLE t ADD gone int');
again(@own);
$session->query('ROLLBACK TO s; ALTER TABLE t ADD c5 int');
$session->query('COMMIT');
nothing_but(0, 'all rolled back, and a genuine one after it');

# Changed in any part of it, or cut, in the place where the original would stand
$session->query('BEGIN; SAVEPOINT s');
@own = captured('ALTER TABLE t ADD gone int');
$session->query('RELEASE s');
my @changed;
for my $at (0 .. 60, length($own[1]) - 1) { push @changed, $own[1]; substr($changed[-1], $at, 1) ^= "\x01"; }
push @changed, map { substr $own[0], 0, $_ } 0 .. 60, length($own[0]) - 1;
push @changed, "$own[0]x";
again(@changed);
$session->query('ALTER TABLE t DROP gone');
$session->query('COMMIT');

# one byte of the name of another group is that group's business
nothing_but(@changed - 1, 'changed and cut ones');

# The id of a transaction comes again after four thousand million others: that
# one has another epoch.  Made with the key, as after so many transactions.
sub made
{
	my ($epoch) = @_;
	my $xid = $session->query('BEGIN; SELECT pg_current_xact_id()');
	$session->query('SELECT '
		  . FloMessage::emit(FloMessage::signed(group => 'g', key => $key, kind => 'S', ordinal => 1,
		transaction => $xid + ($epoch << 32),
		subtransaction => $xid & 0xFFFFFFFF, payload => '{"version": 1, "group": "g", "sequences": []}')));
	$session->query('COMMIT');
}
made(0);
nothing_but(0, 'a message made with the key is one');
made(1);
nothing_but(1, 'but not in a transaction of another epoch');

# --- transactions that are decoded while they run ----------------------------------------------

# 9 MB each: more than what is decoded in one piece
my $rows = sub { my ($from) = @_;
	return "INSERT INTO t (id, v) SELECT i, repeat('x', 1000) FROM generate_series($from, $from + 9000) i"; };
$session->query('BEGIN; ' . $rows->(10000) . '; SAVEPOINT s');
@own = captured('ALTER TABLE t ADD gone int');
$session->query($rows->(20000));
again(@own);
$session->query('ROLLBACK TO s; ' . $rows->(30000));
again(@own);
$session->query('SAVEPOINT s2; ALTER TABLE t ADD c6 int; ' . $rows->(40000));
my @later = captured('ALTER TABLE t ADD c7 int');
again(@own, @later);
$session->query($rows->(50000));
again(@own, @later);
$session->query('RELEASE s2; ALTER TABLE t ADD c8 int');
$session->query('COMMIT');
wait_caught_up($source, $dest, 'g');
$foreign = status_of($source, 'g', 'replicator', 'foreign_messages');
cmp_ok($source->safe_psql('postgres', q{SELECT sum(stream_txns) FROM pg_stat_replication_slots}), '>=', 1,
	'it was decoded in pieces');
cmp_ok($foreign, '>=', 10, 'copies in pieces of a large transaction are counted, also where they are rolled back');
nothing_but(0, 'copies in pieces of a large transaction');
is_same_table($source, $dest, 't', 'and no row is lost');

# --- keys ---------------------------------------------------------------------------------------

# A transaction whose snapshot is older than the group, and that gets its id later
$session->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM flo.groups');
$source->safe_psql('postgres', q{SELECT flo.drop_replicator('g', purge_stream => true)});
is($source->safe_psql('postgres', 'SELECT count(*) FROM flo.secrets'), '0', 'a key goes with its replicator');
$source->safe_psql('postgres', q{SELECT flo.create_replicator('g', tables => '{t}', track_ddl => true)});
isnt($source->safe_psql('postgres', 'SELECT value FROM flo.secrets'), $key, 'and another one comes with the next');
start_member($source, 'g', 'replicator');
$session->query('ALTER TABLE t ADD c9 int');
$session->query('COMMIT');
ok(wait_until($source, 'postgres', q{SELECT flo.wait_for('g')}, 'the stream'), 'published');
my $sent = join '', map { $nats->message('pgflo_g_stream', $_) // '' } 1 .. $nats->last_seq('pgflo_g_stream');
like($sent, qr/pg_flo_ddl.*ADD c9/s, 'a transaction older than the group signs with its key of now');
is(status_of($source, 'g', 'replicator', 'foreign_messages'), '0', 'and nothing is taken for foreign');

# Removed by hand: told, and made again
$source->safe_psql('postgres', 'DELETE FROM flo.secrets');
{
	my $err;
	$source->psql('postgres', 'ALTER TABLE t ADD untold int', stderr => \$err);
	like($err, qr/WARNING: .*group "g" has no key/, 'a statement that cannot be signed is told of');
	$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
	wait_state($source, 'g', 'replicator', 'stopped');
	start_member($source, 'g', 'replicator');
	is($source->safe_psql('postgres', 'SELECT count(*) FROM flo.secrets'), '1', 'the replicator makes another one');
}

# Whatever a session has switched on, it does not get to see the key
$key = $source->safe_psql('postgres', 'SELECT value FROM flo.secrets');
{
	my ($out, $err);
	$source->psql('postgres', q{
		LOAD 'auto_explain';
		SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;
		SET auto_explain.log_analyze = on;
		SET auto_explain.log_verbose = on; SET log_statement = 'all'; SET log_min_duration_statement = 0;
		SET client_min_messages = debug5; SET debug_print_parse = on; SET debug_print_rewritten = on;
		SET debug_print_plan = on;
		SET log_error_verbosity = verbose; SET row_security = off;
		ALTER TABLE t ADD told int;
		SELECT flo.sync_sequences('g')}, stdout => \$out, stderr => \$err);
	like($err, qr/auto_explain|duration|DEBUG/i, 'all is shown to the client and in the log');
	unlike($out . $err . slurp_file($source->logfile), qr/$key/, 'but the key is not');
}
like(error_of($source, q{SET ROLE mallory; SELECT * FROM flo.secrets}), qr/^42501/, 'nor is its table to be read');

# A sequence that becomes a view while its value is asked for: the view's code does not run
$source->safe_psql('postgres', q{
	CREATE ROLE mal; GRANT CREATE ON SCHEMA public TO mal; SET ROLE mal;
	CREATE TABLE mt (id serial PRIMARY KEY);
	CREATE FUNCTION own() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
		IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN EXECUTE 'ALTER ROLE mal SUPERUSER'; END IF;
			RETURN 1; END $$;
	RESET ROLE; ALTER PUBLICATION pgflo_g ADD TABLE mt;});
{
	my $mal = FloTest::Session->new($source, 'postgres');
	my $admin = FloTest::Session->new($source, 'postgres');
	$mal->query(q{SET ROLE mal; BEGIN; ALTER SEQUENCE mt_id_seq RENAME TO other;
		CREATE VIEW mt_id_seq AS SELECT own() AS last_value, true AS is_called});
	$admin->send(q{SELECT flo.sequence_values('g')});
	ok(wait_until($source, 'postgres',
		q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query ~ 'sequence_values' AND wait_event_type = 'Lock')},
		'the lock'), 'the sequence is waited for');
	$mal->query('COMMIT');
	like($admin->result, qr/mt_id_seq/, 'and read');
	is($source->safe_psql('postgres', q{SELECT rolsuper FROM pg_roles WHERE rolname = 'mal'}), 'f',
		'its owner gains nothing by making a view of its name');
	$_->close for $mal, $admin;
}

done_testing();
