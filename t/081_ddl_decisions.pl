
# DDL that is not simply applied: held, released, skipped, ignored; what is there
# already; what fails and goes on once the cause is gone; locks; groups with a
# table list; and what is to be run outside a transaction, cut short.

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
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);

sub both { my ($sql) = @_; $_->safe_psql('postgres', $sql) for $source, $dest; }

sub wait_for_dest
{
	my ($query, $what) = @_;
	return ok(wait_until($dest, 'postgres', $query, $what), $what);
}

sub wait_error
{
	my ($pattern, $what) = @_;
	return wait_for_dest("SELECT last_error ~ '$pattern' FROM flo.status WHERE group_name = 'g'", $what);
}

sub log_of
{
	my ($like) = @_;
	return $dest->safe_psql('postgres', "SELECT outcome FROM flo.ddl_log WHERE command LIKE \$q\$$like\$q\$
		ORDER BY id");
}

# Options are in force when another process has begun with them
sub alter_ddl
{
	my ($value) = @_;
	my $pid = status_of($dest, 'g', 'postgres', 'pid') || 0;
	$dest->safe_psql('postgres', qq{SELECT flo.alter_worker('g', 'postgres', '{"ddl": "$value"}')});
	wait_other_pid($dest, 'g', 'postgres', $pid);
}

both(q{
	CREATE TABLE a (id int PRIMARY KEY, v text);
	CREATE TABLE b (id int PRIMARY KEY, v text);
	CREATE TABLE parted (id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
	CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
	CREATE TYPE used AS ENUM ('x');
	CREATE TYPE unused AS ENUM ('x');
	CREATE TABLE typed (id int PRIMARY KEY, u used[]);
});
$source->safe_psql('postgres', q{CREATE TABLE untracked (id int PRIMARY KEY)});
$source->safe_psql('postgres', q{SELECT flo.create_replicator('g', tables => '{a,b,parted,typed}', track_ddl => true)});
start_member($source, 'g', 'replicator');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g', options => '{"lock_timeout": "500ms"}')});
start_member($dest, 'g', 'postgres');

# --- a table list ---------------------------------------------------------------------------

$source->safe_psql('postgres', q{
	ALTER TABLE untracked ADD x int;
	CREATE TABLE new_one (id int PRIMARY KEY);
	CREATE INDEX untracked_x ON untracked (x);
	ALTER TYPE unused ADD VALUE 'y';
	CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
	CREATE TRIGGER f BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION f();
	ALTER TABLE a DISABLE TRIGGER f;
	ALTER TABLE a OWNER TO CURRENT_USER;
	GRANT SELECT ON a TO PUBLIC;
	CREATE INDEX a_v ON a (v);
	ALTER TYPE used ADD VALUE 'y';
	INSERT INTO typed VALUES (1, '{x,y}');
	CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2);
	INSERT INTO parted VALUES (1, 1), (1, 2);
	COMMENT ON COLUMN a.v IS 'of a';
	DROP TABLE new_one, untracked;
});
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', q{SELECT tag, outcome FROM flo.ddl_log ORDER BY id}), join("\n",
	'ALTER TABLE|present', 'CREATE INDEX|applied', 'ALTER TYPE|applied', 'CREATE TABLE|applied', 'COMMENT|applied'),
	'a table list: these tables and what belongs to them');
is_same_table($source, $dest, $_) for qw(typed parted_1 parted_2);
is($dest->safe_psql('postgres', q{SELECT detail FROM flo.ddl_log WHERE outcome = 'present'}),
	'trigger "f" does not exist here', 'a trigger that did not travel');
$source->safe_psql('postgres', q{CREATE TABLE c (id int PRIMARY KEY); DROP TABLE c, b});
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', q{SELECT to_regclass('b') IS NULL}), 't', 'DROP of a tracked and an untracked table');

# --- rewrites that the rows do not determine ----------------------------------------------------

$source->safe_psql('postgres', q{
	INSERT INTO a VALUES (1, 'one'), (2, '2');
	ALTER TABLE a ADD u uuid DEFAULT gen_random_uuid();
	INSERT INTO a VALUES (3, 'three');
});
wait_for_dest(q{SELECT count(*) = 1 FROM flo.pending_ddl WHERE reason ~ 'default'}, 'a random default is held');
wait_state($dest, 'g', 'postgres', 'waiting');
like(status_of($dest, 'g', 'postgres', 'detail'), qr/release_ddl\(\d+\)/, 'flo.status says what to do');
like($dest->safe_psql('postgres', q{SELECT hint FROM flo.check('g') WHERE detail LIKE 'waiting%'}),
	qr/^SELECT .* FROM flo\.pending_ddl; -- then flo\.release_ddl/, 'and so does flo.check()');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM a'), '2', 'the stream waits there');
is($dest->safe_psql('postgres', q{SELECT group_name, worker_name, tag, command, lsn IS NOT NULL, committed_at < now()
	FROM flo.pending_ddl}),
	q{g|postgres|ALTER TABLE|ALTER TABLE a ADD u uuid DEFAULT gen_random_uuid()|t|t}, 'flo.pending_ddl');
like(error_of($dest, 'SELECT flo.release_ddl(4711)'), qr/^42704/, 'release_ddl: unknown id');
like(error_of($dest, 'SELECT flo.skip_ddl(4711)'), qr/^42704/, 'skip_ddl: unknown id');
kill9_member($dest, 'g', 'postgres');
wait_state($dest, 'g', 'postgres', 'waiting');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM flo.pending_ddl'), '1', 'it is held once, also after a crash');
# the user does it by hand
$dest->safe_psql('postgres', q{ALTER TABLE a ADD u uuid; SELECT flo.skip_ddl(id) FROM flo.pending_ddl});
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', q{SELECT count(*), count(u) FROM a}), '3|1', 'skipped: the stream goes on');
is(log_of('%gen_random_uuid%'), 'skipped', 'flo.ddl_log: skipped');
$source->safe_psql('postgres', 'UPDATE a SET v = v');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 'a');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM flo.pending_ddl'), '0', 'nothing is held any more');

for my $case (
	[ 'ADD s serial', 1 ], [ 'ADD i int GENERATED ALWAYS AS IDENTITY', 1 ], [ 'ADD at timestamptz DEFAULT now()', 1 ],
	[ q{ADD n timestamptz DEFAULT 'now'}, 1 ], [ 'ALTER v TYPE text USING v || random()', 1 ],
	[ 'ALTER v TYPE varchar USING v || id::text', 0 ], [ q{ADD w text DEFAULT upper('x')}, 0 ],
	[ q{ADD d timestamptz DEFAULT '2020-01-01'}, 0 ],
	[ 'ALTER d TYPE timestamp', 0 ], [ q{ALTER d TYPE text USING d::text}, 0 ])
{
	my ($command, $held) = @$case;
	$source->safe_psql('postgres', "SET timezone = 'Asia/Kathmandu'; SET datestyle = 'SQL, DMY';
		ALTER TABLE a $command");
	if ($held)
	{
		ok(wait_until($dest, 'postgres', 'SELECT count(*) = 1 FROM flo.pending_ddl', "held: $command"),
			"held: $command");
		$dest->safe_psql('postgres', 'SELECT flo.release_ddl(id) FROM flo.pending_ddl');
	}
	wait_caught_up($source, $dest, 'g');
	my $like = $command;
	is(log_of("%$like"), 'applied', ($held ? 'released: ' : 'applied: ') . $command);
}
is($dest->safe_psql('postgres', 'SELECT string_agg(d, chr(32)) FROM a'),
	$source->safe_psql('postgres', 'SELECT string_agg(d, chr(32)) FROM a'),
	'conversions depend on the settings of the session at the source');
$source->safe_psql('postgres', 'UPDATE a SET s = s + 0, i = DEFAULT, v = v, at = at, n = n');

# on an empty table there is nothing to differ
$source->safe_psql('postgres', 'TRUNCATE typed; ALTER TABLE typed ADD s serial, ADD u2 uuid DEFAULT gen_random_uuid();
	INSERT INTO typed (id) VALUES (1), (2)');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 'typed', 'an empty table may get a serial column');

# several in one transaction, among complete transactions
$source->safe_psql('postgres', q{
	INSERT INTO typed (id) VALUES (10);
	INSERT INTO typed (id) VALUES (11);
	BEGIN;
	INSERT INTO typed (id) VALUES (12);
	ALTER TABLE typed ADD r1 float DEFAULT random();
	UPDATE typed SET r1 = 1;
	ALTER TABLE typed ADD r2 float DEFAULT random();
	UPDATE typed SET r2 = 2;
	COMMIT;
	INSERT INTO typed (id, r1, r2) VALUES (13, 1, 2);
});
wait_for_dest(q{SELECT count(*) = 1 FROM flo.pending_ddl WHERE command ~ 'r1'}, 'the first is held');
is($dest->safe_psql('postgres', 'SELECT max(id) FROM typed'), '11', 'transactions before it are there');
$dest->safe_psql('postgres', 'SELECT flo.release_ddl(id) FROM flo.pending_ddl');
wait_for_dest(q{SELECT count(*) = 1 FROM flo.pending_ddl WHERE command ~ 'r2' AND decision IS NULL}, 'then the second');
$dest->safe_psql('postgres', q{SELECT flo.release_ddl(id) FROM flo.pending_ddl WHERE command ~ 'r2'});
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 'typed', 'both were released');

# all in one go: rows may need what DDL before them has committed
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
$source->safe_psql('postgres', q{
	ALTER TYPE used ADD VALUE 'z';
	INSERT INTO typed (id, u) VALUES (14, '{z,x}');
	ALTER TABLE typed ADD burst used DEFAULT 'z';
	INSERT INTO typed (id) VALUES (15);
	ALTER TABLE typed DROP burst;
	INSERT INTO typed (id) VALUES (16);
});
start_member($dest, 'g', 'postgres');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 'typed', 'rows use what DDL just before them made');
unlike(status_of($dest, 'g', 'postgres', 'last_error'), qr/enum/, '... at the first attempt');

# --- the option ddl -------------------------------------------------------------------------------

alter_ddl('hold');
$source->safe_psql('postgres', q{ALTER TABLE typed ADD held1 int});
wait_for_dest(q{SELECT count(*) = 1 FROM flo.pending_ddl WHERE reason ~ 'hold'}, 'ddl = hold');
alter_ddl('ignore');
$source->safe_psql('postgres', q{ALTER TABLE typed ADD ignored int});
wait_caught_up($source, $dest, 'g');
is(log_of('%held1%'), 'ignored', 'ddl = ignore holds for a statement that was held, too');
is(log_of('%ignored%'), 'ignored', 'ddl = ignore');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM flo.pending_ddl}), '0', 'nothing is held');
alter_ddl('apply');

# --- what is there already ------------------------------------------------------------------------

$dest->safe_psql('postgres', q{
	ALTER TABLE typed ADD held1 int, ADD ignored int, ADD early varchar(7) NOT NULL DEFAULT 'e';
	CREATE INDEX typed_early ON typed (early);
	ALTER TABLE typed DROP COLUMN r1;
	ALTER TABLE typed ADD wrong text;
});
$source->safe_psql('postgres', q{
	ALTER TABLE typed ADD early varchar(7) NOT NULL DEFAULT 'e', ADD late int;
	CREATE INDEX typed_early ON typed (early);
	ALTER TABLE typed DROP COLUMN r1;
	INSERT INTO typed (id) VALUES (20);
	ALTER TABLE typed ADD wrong int;
});
wait_error('column "wrong" exists already.*has type text here instead of integer.*ALTER TABLE typed ADD wrong int',
	'another column of the same name stops the worker');
is(log_of('%ADD early%'), 'applied', 'what is there is left out of a statement');
is(log_of('%typed_early%') . log_of('%DROP COLUMN r1%'), 'presentpresent', 'what is there is passed');
$dest->safe_psql('postgres', q{ALTER TABLE typed DROP wrong});
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 'typed', 'it goes on when the cause is gone');

# expressions are compared, too: what is prepared at the destination, the statement, why it is another, how to make room
for my $case (
	[ 'ALTER TABLE typed ADD e1 int DEFAULT 1 + 2', 'ALTER TABLE typed ADD e1 int DEFAULT 3', 'another default',
		'ALTER TABLE typed DROP e1' ],
	[ 'ALTER TABLE typed ADD e2 int', 'ALTER TABLE typed ADD e2 int CHECK (e2 > 0)', 'lacks a constraint here: CHECK',
		'ALTER TABLE typed DROP e2' ],
	[ 'ALTER TABLE typed ADD e3 int CHECK (e3 > 1)', 'ALTER TABLE typed ADD e3 int CHECK (e3 > 0)',
		'lacks a constraint here: CHECK', 'ALTER TABLE typed DROP e3' ],
	[ 'ALTER TABLE typed ADD e4 int GENERATED ALWAYS AS (id + 1) STORED',
		'ALTER TABLE typed ADD e4 int GENERATED ALWAYS AS (id + 2) STORED', 'generated from another',
		'ALTER TABLE typed DROP e4' ],
	[ 'ALTER TABLE typed ADD e5 int UNIQUE', 'ALTER TABLE typed ADD e5 int REFERENCES a',
		'lacks a constraint here: FOREIGN', 'ALTER TABLE typed DROP e5' ],
	[ 'ALTER TABLE typed ADD CONSTRAINT e6 CHECK (id > 0)', 'ALTER TABLE typed ADD CONSTRAINT e6 CHECK (id > -1)',
		'another constraint of this name', 'ALTER TABLE typed DROP CONSTRAINT e6' ],
	[ 'CREATE INDEX e7 ON typed ((id + 1))', 'CREATE INDEX e7 ON typed ((id + 2))', 'its expressions are others',
		'DROP INDEX e7' ],
	[ 'CREATE INDEX e8 ON typed (id) WHERE id > 5', 'CREATE INDEX e8 ON typed (id) WHERE id > 6',
		'its condition is another', 'DROP INDEX e8' ],
	[ 'CREATE INDEX e9 ON typed (id)', 'CREATE INDEX e9 ON typed (id DESC)', 'its order is another', 'DROP INDEX e9' ],
	[ 'CREATE TABLE parted_9 (id int, k int CHECK (k < 10))',
		q{CREATE TABLE parted_9 PARTITION OF parted (CHECK (k < 20)) FOR VALUES IN (9)}, 'lacks a constraint',
		'DROP TABLE parted_9' ],
	[ q{ALTER TABLE typed ADD e10 text DEFAULT upper('a' || 1) CHECK (length(e10) > 0), }
		  . q{ADD e11 int GENERATED ALWAYS AS (id * 2) STORED, ADD CONSTRAINT e12 CHECK (e10 <> 'x' OR id > 0)},
	  q{ALTER TABLE typed ADD e10 text DEFAULT upper('a' || 1) CHECK (length(e10) > 0), }
	  . q{ADD e11 int GENERATED ALWAYS AS (id * 2) STORED, ADD CONSTRAINT e12 CHECK (e10 <> 'x' OR id > 0)} ],
	[ q{CREATE INDEX e13 ON typed (lower(e10), (id + 1) DESC) INCLUDE (late) WHERE e10 IS NOT NULL AND id > 0},
		q{CREATE INDEX e13 ON typed (lower(e10), (id + 1) DESC) INCLUDE (late) WHERE e10 IS NOT NULL AND id > 0} ])
{
	my ($there, $sql, $error, $away) = @$case;
	$dest->safe_psql('postgres', $there);
	$source->safe_psql('postgres', $sql);
	if ($error)
	{
		wait_error($error, "another is there: $there");
		$dest->safe_psql('postgres', $away);
	}
	wait_caught_up($source, $dest, 'g');
	is($dest->safe_psql('postgres', q{SELECT outcome FROM flo.ddl_log ORDER BY id DESC LIMIT 1}),
		$error ? 'applied' : 'present', $sql);
}

# --- what fails -----------------------------------------------------------------------------------

$dest->safe_psql('postgres', q{CREATE VIEW on_typed AS SELECT late FROM typed});
$source->safe_psql('postgres', q{ALTER TABLE typed ALTER late TYPE bigint; INSERT INTO typed (id) VALUES (30)});
wait_error('used by a view.*ALTER TABLE typed ALTER late TYPE bigint', 'a dependent view');
wait_state($dest, 'g', 'postgres', 'backoff');
wait_for_dest(q{SELECT count(*) = 1 FROM flo.pending_ddl WHERE reason ~ '^it fails here: .*used by a view'
	AND tag = 'ALTER TABLE' AND decision IS NULL}, 'it stands among what is held');
$dest->safe_psql('postgres', q{DROP VIEW on_typed});
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM flo.pending_ddl'), '0', 'until the cause is gone');

# it alone is passed over, or its transaction with it
my $fails = q{BEGIN; INSERT INTO typed (id) VALUES (%d); ALTER TABLE typed ALTER late TYPE %s;
	INSERT INTO typed (id, late) VALUES (%d, '5'); COMMIT};
$dest->safe_psql('postgres', q{CREATE VIEW on_typed AS SELECT late FROM typed});
$source->safe_psql('postgres', sprintf($fails, 33, 'text', 34));
wait_for_dest(q{SELECT count(*) = 1 FROM flo.pending_ddl}, 'in the midst of a transaction, too');
$dest->safe_psql('postgres', q{SELECT flo.skip_ddl(id) FROM flo.pending_ddl});
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', q{SELECT count(*), max(late) FROM typed WHERE id IN (33, 34)}), '2|5',
	'flo.skip_ddl(): the rows of its transaction are there');
is(log_of('%late TYPE text%'), 'skipped', 'and the statement is passed over');
$source->safe_psql('postgres', sprintf($fails, 35, 'varchar', 36));
wait_for_dest(q{SELECT count(*) = 1 FROM flo.pending_ddl}, 'again');
$dest->safe_psql('postgres', q{SELECT flo.skip('g', 'postgres', lsn) FROM flo.pending_ddl});
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', q{SELECT (SELECT count(*) FROM typed WHERE id IN (35, 36)),
	(SELECT count(*) FROM flo.pending_ddl)}), '0|0', 'flo.skip(): nothing of it is there, and nothing is held');
$dest->safe_psql('postgres', q{DROP VIEW on_typed; ALTER TABLE typed ALTER late TYPE varchar});
$source->safe_psql('postgres', 'DELETE FROM typed WHERE id IN (35, 36)');

$source->safe_psql('postgres', q{CREATE TYPE newer AS ENUM ('n'); ALTER TABLE typed ADD ne newer;
	INSERT INTO typed (id, ne) VALUES (31, 'n')});
wait_error('type "newer" does not exist.*ADD ne newer', 'a missing type');
$dest->safe_psql('postgres', q{CREATE TYPE newer AS ENUM ('n')});
wait_caught_up($source, $dest, 'g');

# the text is another server's: a statement this one cannot parse
my $key = $source->safe_psql('postgres', q{SELECT value FROM flo.secrets WHERE group_name = 'g' AND key = 'sign'});
my $relation = $source->safe_psql('postgres', q{SELECT 'typed'::regclass::oid});
my $message = q({"version": 1, "id": 1, "phase": "before", "tag": "ALTER TABLE", )
	  . q("text": "ALTER TABLE typed ADD v2 int VIRTUALLY SO", "search_path": "public", )
  . qq("objects": [{"type": "table", "schema": "public", "name": "typed", "relation": $relation, "position": -1}]});
my $session = FloTest::Session->new($source);
my $xid = $session->query('BEGIN; SELECT pg_current_xact_id()');
my $signed = FloMessage::signed(group => 'g', key => $key, kind => 'D', transaction => $xid,
	subtransaction => $xid & 0xFFFFFFFF, ordinal => 1, payload => $message);
$session->query('SELECT ' . FloMessage::emit($signed));
$session->query('INSERT INTO typed (id) VALUES (32); COMMIT');
wait_error('syntax error at or near "VIRTUALLY".*ALTER TABLE typed ADD v2', 'a statement of a newer version');
my $lsn = $dest->safe_psql('postgres', q{SELECT last_error FROM flo.status WHERE group_name = 'g'});
like($lsn, qr/transaction at [0-9A-F]+\/[0-9A-F]+/, 'with the transaction');
alter_ddl('ignore');
wait_caught_up($source, $dest, 'g');
alter_ddl('apply');
is_same_table($source, $dest, 'typed', 'nothing is lost');

# --- locks ----------------------------------------------------------------------------------------

my $holder = FloTest::Session->new($dest);
my $pid = $holder->query('BEGIN; LOCK TABLE typed IN ACCESS SHARE MODE; SELECT pg_backend_pid()');
$source->safe_psql('postgres', q{ALTER TABLE typed ADD locked int; INSERT INTO typed (id) VALUES (40)});
wait_for_dest("SELECT detail ~ 'lock held by pid $pid' FROM flo.status WHERE group_name = 'g'",
	'flo.status names who holds the lock');
wait_error("lock held by pid $pid.*ADD locked", 'and so does the error at lock_timeout');
$holder->query('COMMIT');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 'typed', 'it goes on when the lock is free');

# --- outside a transaction ------------------------------------------------------------------------

# An old snapshot keeps CREATE INDEX CONCURRENTLY from ending; the worker is killed there
$holder->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM a');
$source->safe_psql('postgres', q{INSERT INTO typed (id) VALUES (50); CREATE INDEX CONCURRENTLY cut ON typed (late);
	INSERT INTO typed (id) VALUES (51)});
wait_for_dest(q{SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass('cut')}, 'an index is being built');
is($dest->safe_psql('postgres', 'SELECT max(id) FROM typed'), '50', 'what is before it is committed');
kill9_member($dest, 'g', 'postgres');
$holder->close;
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', q{SELECT count(*), bool_and(indisvalid) FROM pg_index
	WHERE indexrelid::regclass::text ~ '^cut'}), '1|t', 'it is built anew after a crash');
is(log_of('%CONCURRENTLY cut%'), 'applied', 'and noted once');
$source->safe_psql('postgres', q{DROP INDEX CONCURRENTLY cut; ALTER TABLE parted DETACH PARTITION parted_2 CONCURRENTLY;
	INSERT INTO typed (id) VALUES (52)});
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', q{SELECT to_regclass('cut') IS NULL, relispartition FROM pg_class
	WHERE relname = 'parted_2'}), 't|f', 'DROP INDEX and DETACH CONCURRENTLY');
is_same_table($source, $dest, 'typed', 'nothing lost, nothing doubled');

# --- the end --------------------------------------------------------------------------------------

$source->safe_psql('postgres', q{SELECT flo.drop_group('g')});
is($source->safe_psql('postgres', q{SELECT evtenabled FROM pg_event_trigger WHERE evtname = 'pg_flo_track_ddl'}), 'D',
	'nothing is captured any more');

done_testing();
