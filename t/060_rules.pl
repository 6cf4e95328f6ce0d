
# Rules and routes at work: in the worker and in the replicator, changed while
# they run, and failing closed.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);

my $types = q{
	CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
};
my $tables = q{
	CREATE TABLE users (id int PRIMARY KEY, email text, phone text, age int, note varchar(40));
	CREATE TABLE moods (id int PRIMARY KEY, m mood, name text);
	CREATE TABLE everything (id int PRIMARY KEY, age int, name text, big text);
	ALTER TABLE everything REPLICA IDENTITY FULL;
	ALTER TABLE everything ALTER big SET STORAGE EXTERNAL;
	CREATE TABLE keyed (email text PRIMARY KEY, n int);
	CREATE TABLE plain (id int PRIMARY KEY, v text);
};
# user types get other OIDs at the destination
$dest->safe_psql('postgres', 'CREATE TABLE before (a int, b int); DROP TABLE before;');
$_->safe_psql('postgres', $types . $tables) for $source, $dest;
$source->safe_psql('postgres', 'CREATE TABLE people (id int PRIMARY KEY, name text, ssn text, at timestamptz);
	CREATE SCHEMA eu; CREATE TABLE eu.orders (id int PRIMARY KEY, v text); CREATE SCHEMA us;
	CREATE TABLE us.orders (id int PRIMARY KEY, v text);');
$dest->safe_psql('postgres',
	'CREATE TABLE customers (customer_id bigint PRIMARY KEY, name text, at date, extra int DEFAULT 7);
	CREATE TABLE orders (id int PRIMARY KEY, v text);');

sub src { return $source->safe_psql('postgres', $_[0]); }
sub dst { return $dest->safe_psql('postgres', $_[0]); }
sub synced { wait_caught_up($source, $dest, 'g'); }

src(q{SELECT flo.create_replicator('g')});
start_member($source, 'g', 'replicator');
# in one transaction: worker, rules, start
dst(q{
	BEGIN;
	SELECT flo.create_worker('g');
	INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments) VALUES
		('g', 'users', 'email', 'mask', '{}'),
		('g', 'users', 'phone', 'regex', jsonb_build_object('pattern', '^(\d{3})(\d{3})(\d{4})$', 'replace',
			'($1) $2-$3')),
		('g', 'users', 'age', 'gte', '{"value": 18}'),
		('g', 'users', 'note', 'expression', '{"expression": "coalesce(note, ''none'') || age"}'),
		('g', 'moods', 'm', 'gt', '{"value": "sad"}'),
		('g', 'moods', 'name', 'expression', '{"expression": "name || m"}'),
		('g', 'everything', 'age', 'gte', '{"value": 18}'),
		('g', 'everything', 'name', 'mask', '{}'),
		('g', 'keyed', 'email', 'regex', '{"pattern": "@.*", "replace": "@x"}'),
		('g', 'people', 'name', 'expression', '{"expression": "name || '' '' || right(ssn, 2)"}');
	INSERT INTO flo.routes (group_name, source_schema, source_table, destination_schema, destination_table,
		column_mappings, operations) VALUES
		('g', 'public', 'people', NULL, 'customers', '{"id": "customer_id", "ssn": null}', '{INSERT,UPDATE,DELETE}'),
		('g', 'eu', '*', 'public', NULL, '{}', '{INSERT,UPDATE,DELETE}'),
		('g', 'us', 'orders', 'public', NULL, '{}', '{INSERT,UPDATE,DELETE}');
	SELECT flo.start_group('g');
	COMMIT;
});
wait_state($dest, 'g', 'postgres', 'streaming');

# --- rows --------------------------------------------------------------------------------

src(q{
	INSERT INTO users VALUES (1, 'bob@example.com', '5551234567', 20, 'hi'), (2, 'ann@example.com', '123', 17, 'x'),
		(3, NULL, NULL, 30, NULL), (4, 'günther@köln.de', '5551234567', NULL, 'y');
	UPDATE users SET age = 18 WHERE id = 2;
	INSERT INTO moods VALUES (1, 'sad', 'a'), (2, 'ok', 'b'), (3, 'happy', 'c');
	UPDATE moods SET m = 'happy' WHERE id = 1;
	INSERT INTO keyed VALUES ('bob@example.com', 1), ('ann@example.com', 2);
	UPDATE keyed SET email = 'rob@example.com' WHERE n = 1;
	DELETE FROM keyed WHERE n = 2;
	INSERT INTO plain VALUES (1, 'as it is');
	INSERT INTO people VALUES (1, 'Bob', '12345', '2024-02-29 23:59:59Z'), (2, 'Ann', '999', NULL);
	UPDATE people SET id = 3 WHERE id = 2;
	INSERT INTO eu.orders VALUES (1, 'eu');
	INSERT INTO us.orders VALUES (2, 'us');
});
synced();
is(dst('SELECT * FROM users ORDER BY id'),
	"1|b*************m|(555) 123-4567|20|hi20\n2|a*************m|123|18|x18\n3|||30|none30",
	'binary rows: mask, regex, filter, expression');
is(dst('SELECT * FROM moods ORDER BY id'), "1|happy|ahappy\n2|ok|bok\n3|happy|chappy",
	'rows with a type of users: its order, and its name in an expression');
is(dst('SELECT * FROM keyed'), 'rob@x|1', 'a transformed key finds its row');
is(dst('SELECT * FROM plain'), '1|as it is', 'a table without rules');
is(dst('SELECT * FROM customers ORDER BY 1'), "1|Bob 45|2024-02-29|7\n3|Ann 99||7",
	'a route: table, columns, types, a column left out that a rule needs');
is(dst('SELECT * FROM orders ORDER BY 1'), "1|eu\n2|us", 'two sources in one table, one by schema');
is(status_of($dest, 'g', 'postgres', 'filtered'), 3, 'filtered counts dropped rows');

src(q{TRUNCATE eu.orders, plain});
synced();
is(dst('SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM plain)'), '2|0',
	'TRUNCATE of several tables reaches those whose route lets it pass');

# REPLICA IDENTITY FULL: rows leave and enter, with values that were not sent
src(q{
	INSERT INTO everything VALUES (1, 20, 'Albert', repeat('x', 10000)), (2, 10, 'Berta', repeat('y', 10000)),
		(3, 30, 'Carla', repeat('z', 10000));
	UPDATE everything SET age = 17 WHERE id = 1;
	UPDATE everything SET age = 18 WHERE id = 2;
	UPDATE everything SET name = 'Carlotta' WHERE id = 3;
});
synced();
is(dst('SELECT id, age, name, length(big) FROM everything ORDER BY id'), "2|18|B***a|10000\n3|30|C******a|10000",
	'rows leave and enter the filter');
src(q{DELETE FROM everything WHERE id = 3; DELETE FROM everything WHERE id = 1});
synced();
is(dst('SELECT id FROM everything'), '2', 'DELETE with the whole old row');

# --- changed while running ------------------------------------------------------------------

my $pid = pid_of($dest, 'g', 'postgres');
src('CREATE TABLE ticks (id bigserial PRIMARY KEY, a text, b text)');
dst('CREATE TABLE ticks (id bigint PRIMARY KEY, a text, b text); CREATE TABLE tocks (LIKE ticks INCLUDING ALL)');
my $script = $source->basedir . '/ticks.sql';
append_to_file($script, "INSERT INTO ticks (a, b) VALUES ('clear', 'clear');\n");
my $bench = IPC::Run::start([ 'pgbench', '-n', '-h', $source->host, '-p', $source->port, '-c', 2, '-T', 600, '-f',
	$script, 'postgres' ],
	'>', \my $bench_out, '2>', \my $bench_err);
wait_until($dest, 'postgres', 'SELECT count(*) > 100 FROM ticks', 'ticks to arrive') or die;
dst(q{
	BEGIN;
	INSERT INTO flo.rules (group_name, table_name, column_name, action)
		VALUES ('g', 'ticks', 'a', 'mask'), ('g', 'ticks', 'b', 'mask');
	INSERT INTO flo.routes (group_name, source_table, destination_table, operations)
		VALUES ('g', 'ticks', 'tocks', '{INSERT}');
	COMMIT;
});
my $changed = time();
wait_until($dest, 'postgres', 'SELECT count(*) > 0 FROM tocks', 'the route to be in force') or die;
my $waited = time() - $changed;
cmp_ok($waited, '<', 5, sprintf('new rules and a new route are in force under load (after %.2f s)', $waited));
wait_until($dest, 'postgres', 'SELECT count(*) > 100 FROM tocks', 'tocks to arrive') or die;
$bench->signal('TERM');
eval { $bench->finish };
synced();
is(dst(q{SELECT count(*) FROM ticks WHERE a <> 'clear' OR b <> 'clear'}), 0, 'before: neither rules nor route');
is(dst(q{SELECT count(*) FROM tocks WHERE a <> 'c***r' OR b <> 'c***r'}), 0, 'after: both rules and the route');
is(dst('SELECT (SELECT min(id) FROM tocks) > (SELECT max(id) FROM ticks)'), 't', 'all at once');
is(dst('SELECT (SELECT count(*) FROM tocks) + (SELECT count(*) FROM ticks)'), src('SELECT count(*) FROM ticks'),
	'nothing lost, nothing doubled');
is(pid_of($dest, 'g', 'postgres'), $pid, 'without a restart');
dst(q{DELETE FROM flo.rules WHERE table_name = 'ticks'; UPDATE flo.routes SET enabled = false
	WHERE source_table = 'ticks'});
src(q{INSERT INTO ticks (id, a) VALUES (-1, 'idle')});
synced();
is(dst('SELECT a FROM ticks WHERE id = -1'), 'idle', 'a change is in force for what is committed after it');

# --- failing closed -----------------------------------------------------------------------------

# Wait until the worker cannot go on, and return why
sub stopped
{
	my ($node, $member, $pattern) = @_;
	wait_until($node, 'postgres', "SELECT last_error ~ '$pattern' FROM flo.status WHERE member = '$member'",
		"$member to say $pattern");
	return status_of($node, 'g', $member, 'last_error');
}
my $rule = dst(q{SELECT id FROM flo.rules WHERE table_name = 'users' AND column_name = 'note'});

# an error in an expression: rule and row are named, nothing is dropped
dst(qq{UPDATE flo.rules SET arguments = '{"expression": "100 / (age - 50)"}' WHERE id = $rule});
src(q{INSERT INTO users VALUES (10, 'x', 'x', 50, 'x')});
like(stopped($dest, 'postgres', 'division by zero'), qr/rule $rule, row \(id\)=\(10\)/,
	'an error in an expression names rule and row');
dst(qq{UPDATE flo.rules SET arguments = '{"expression": "age"}' WHERE id = $rule});
synced();
is(dst('SELECT note FROM users WHERE id = 10'), '50', 'and is over when the rule is right');

# a column is renamed
src('ALTER TABLE users RENAME email TO mail; INSERT INTO users VALUES (11, \'secret@example.com\', NULL, 20, NULL)');
$rule = dst(q{SELECT id FROM flo.rules WHERE table_name = 'users' AND action = 'mask'});
like(stopped($dest, 'postgres', 'column "email" does not exist'), qr/rule $rule\b/i,
	'a renamed column stops the worker, with the rule');
is(dst('SELECT count(*) FROM users WHERE id = 11'), 0, 'before the next row');
dst(q{ALTER TABLE users RENAME email TO mail; UPDATE flo.rules SET column_name = 'mail'
	WHERE column_name = 'email' AND table_name = 'users'});
synced();
is(dst('SELECT mail FROM users WHERE id = 11'), 's****************m', 'and it goes on with the rule changed');

# ... and another takes its name
src('ALTER TABLE users RENAME mail TO old_mail; ALTER TABLE users ADD mail text;
	INSERT INTO users VALUES (12, \'secret@example.com\', NULL, 20, NULL, \'new\')');
like(stopped($dest, 'postgres', 'is another column now'),
	qr/column "mail" of table "public.users", which rule $rule names/,
	'a name that has passed to another column stops it');
dst(q{ALTER TABLE users RENAME mail TO old_mail; ALTER TABLE users ADD mail text;
	UPDATE flo.rules SET column_name = 'old_mail' WHERE column_name = 'mail' AND table_name = 'users'});
synced();
is(dst('SELECT old_mail, mail FROM users WHERE id = 12'), 's****************m|new', 'and it goes on');

# a table is renamed, and the worker killed meanwhile
dst(q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
src(q{ALTER TABLE users RENAME TO members; INSERT INTO members
	VALUES (13, 'secret@example.com', NULL, 20, NULL, NULL)});
dst(q{CREATE TABLE members (LIKE users INCLUDING ALL); SELECT flo.start_group('g')});
like(stopped($dest, 'postgres', 'is now called'),
	qr/table "public.users", which rule \d+ names, is now called "public.members"/,
	'a renamed table stops it, also after a restart');
is(dst('SELECT count(*) FROM members'), 0, 'before the next row');
dst(q{UPDATE flo.rules SET table_name = 'members' WHERE table_name = 'users'});
synced();
is(dst('SELECT old_mail FROM members'), 's****************m', 'and it goes on with the rules changed');

# an author who may not
dst(q{CREATE ROLE stranger;
	INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments, author)
		VALUES ('g', 'plain', 'v', 'expression', '{"expression": "upper(v)"}', 'stranger')});
src(q{INSERT INTO plain VALUES (5, 'v')});
like(stopped($dest, 'postgres', 'must not run code'), qr/role "stranger"/,
	'an expression of an author who could not act as the worker\'s owner');
dst(q{DELETE FROM flo.rules WHERE author = 'stranger'::regrole});
synced();

# a mapping to a column that is not there
dst(q{INSERT INTO flo.routes (group_name, source_table, column_mappings, operations)
	VALUES ('g', 'plain', '{"v": "w"}', '{INSERT}')});
src(q{INSERT INTO plain VALUES (6, 'v')});
like(stopped($dest, 'postgres', 'does not exist at the destination'), qr/"w" \("v" by a route\)/,
	'a mapping to a column that does not exist names both');
dst(q{DELETE FROM flo.routes WHERE source_table = 'plain'});
synced();

# --- at the replicator ----------------------------------------------------------------------------

like(error_of($dest, q{INSERT INTO flo.rules (group_name, stage, table_name, column_name, action)
	VALUES ('g', 'replicator', 'plain', 'v', 'mask')}),
	qr/^55000: rule \d+ is for the replicator/, 'a rule for a member that is not here is refused');
src(q{
	CREATE FUNCTION hide(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN 'hidden ' || length($1);
		END $$;
	CREATE TABLE vault (id int PRIMARY KEY, secret text, kind mood, shown text, amount numeric);
	INSERT INTO flo.rules (group_name, stage, table_name, column_name, action, arguments) VALUES
		('g', 'replicator', 'vault', 'secret', 'mask', '{"keep_first": 2, "keep_last": 0}'),
		('g', 'replicator', 'vault', 'shown', 'expression', '{"expression": "public.hide(secret) || kind"}'),
		('g', 'replicator', 'vault', 'amount', 'lt', '{"value": 1000}'),
		('g', 'replicator', 'plain', 'v', 'regex', '{"pattern": "XYZZY[a-z]*", "replace": "gone"}');
});
dst('CREATE TABLE vault (id int PRIMARY KEY, secret text, kind mood, shown text, amount numeric)');
my $replicator = pid_of($source, 'g', 'replicator');
src(q{
	INSERT INTO vault VALUES (1, 'XYZZYtopsecret', 'ok', 'XYZZYshown', 10),
		(2, 'XYZZYtoorich', 'sad', 'XYZZYx', 1000.5);
	INSERT INTO plain VALUES (7, 'a XYZZYplain b');
	UPDATE vault SET secret = 'XYZZYother' WHERE id = 1;
	UPDATE plain SET v = 'more XYZZYplain' WHERE id = 7;
});
synced();
is(dst('SELECT * FROM vault'), '1|XY********|ok|hidden 10ok|10',
	'rules of the replicator: mask, expression with a function, filter');
is(dst('SELECT v FROM plain WHERE id = 7'), 'more gone', 'and on binary rows');
ok(wait_until($source, 'postgres', q{SELECT filtered = 1 FROM flo.status WHERE member = 'replicator'}, 'the count'),
	'filtered counts there, too');
is(pid_of($source, 'g', 'replicator'), $replicator, 'without a restart');

# what is committed after a rule is never without it, however little after
my $insert_rule = 'INSERT INTO flo.rules (group_name, stage, table_name, column_name, action) VALUES';
my @members = ($replicator, pid_of($dest, 'g', 'postgres'));
my @soon = map { "soon$_" } 1 .. 8;
$_->(join '', map { "CREATE TABLE $_ (id int PRIMARY KEY, v text);" } @soon) for \&src, \&dst;
synced();
for my $n (0 .. $#soon)
{
	# both are there when they look again, or while they look
	pause_process(@members) if $n % 2 == 0;
	if ($n < 4) { src("$insert_rule ('g', 'replicator', '$soon[$n]', 'v', 'mask')"); }
	else { dst("$insert_rule ('g', 'worker', '$soon[$n]', 'v', 'mask')"); }
	src("INSERT INTO $soon[$n] VALUES (1, 'secret')");
	kill 'CONT', @members;
}
synced();
is(dst(join ' UNION ', map { "SELECT v FROM $_" } @soon), 's****t', 'a rule holds for what is committed after it');

# a transaction so large that it leaves the decoder in pieces
src(q{
	CREATE TABLE bulk (id int PRIMARY KEY, v text, n int);
	INSERT INTO flo.rules (group_name, stage, table_name, column_name, action, arguments) VALUES
		('g', 'replicator', 'bulk', 'v', 'expression', '{"expression": "public.hide(v)"}'),
			('g', 'replicator', 'bulk', 'n', 'lt', '{"value": 9}');
});
dst('CREATE TABLE bulk (id int PRIMARY KEY, v text, w text, n int)');
src(q{
	BEGIN;
	INSERT INTO bulk SELECT i, 'XYZZY' || repeat('x', 100), i % 10 FROM generate_series(1, 150000) i;
	SAVEPOINT s; INSERT INTO bulk SELECT i, 'XYZZY rolled back', 0 FROM generate_series(150001, 200000) i;
	ROLLBACK TO s;
	ALTER TABLE bulk ADD w text;
	INSERT INTO bulk SELECT i, 'XYZZY' || i, i % 10, 'w' FROM generate_series(200001, 300000) i;
	COMMIT;
});
synced();
is(dst(q{SELECT count(*), count(w), count(*) FILTER (WHERE v !~ '^hidden [0-9]+$' OR n >= 9) FROM bulk}),
	'225000|90000|0', 'rules on a transaction larger than memory');

# the broker writes to its files with some delay; a restart makes it write all
$nats->restart;
wait_state($source, 'g', 'replicator', 'streaming');
my $found = `grep -rla XYZZY '$nats->{dir}/store'`;
is($found, '', 'no clear text in the broker\'s files');
src(q{INSERT INTO flo.rules (group_name, stage, table_name, column_name, action)
	VALUES ('g', 'replicator', 'ticks', 'a', 'mask');
	INSERT INTO ticks (id, a, b) VALUES (-2, 'x', 'PLUGH')});
synced();
$nats->restart;
isnt(`grep -rla PLUGH '$nats->{dir}/store'`, '', 'where there is some it would be found');

# fail closed here as well
$rule = src(q{SELECT id FROM flo.rules WHERE column_name = 'secret'});
src(q{ALTER TABLE vault RENAME secret TO open; INSERT INTO vault VALUES (3, 'XYZZYnever', 'ok', 'x', 1)});
like(stopped($source, 'replicator', 'column "secret" does not exist'), qr/rule $rule\b/i,
	'a renamed column stops the replicator');
src(q{ALTER TABLE vault RENAME open TO secret});
dst(q{SELECT 1});
# the row was written while the column had the other name: the rule must know that one
src(qq{INSERT INTO flo.rules (group_name, stage, table_name, column_name, action, enabled)
	VALUES ('g', 'replicator', 'vault', 'secret', 'mask', false)});
ok(1, 'the replicator waits for its rules');
src(q{DELETE FROM flo.rules WHERE table_name = 'vault' AND column_name IN ('secret', 'shown')});
dst(q{ALTER TABLE vault ADD open text});
synced();
is(dst('SELECT id, open FROM vault ORDER BY id DESC LIMIT 1'), '3|XYZZYnever', 'and goes on when these are gone');

# --- another encoding at the source ---------------------------------------------------------------

src(q{CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0});
$source->safe_psql('latin', q{CREATE EXTENSION pg_flo; CREATE TABLE l (id int PRIMARY KEY, a text, b text, c text);
	CREATE TYPE t AS ENUM ('x');
	CREATE TABLE lt (id int PRIMARY KEY, a text, t t)});
dst(q{CREATE TABLE l (id int PRIMARY KEY, a text, b text, c text); CREATE TYPE t AS ENUM ('x');
	CREATE TABLE lt (id int PRIMARY KEY, a text, t t)});
$source->safe_psql('latin', q{SELECT flo.create_replicator('latin')});
start_member($source, 'latin', 'replicator', 'latin');
$source->safe_psql('latin',
	q{SET client_encoding = 'UTF8'; INSERT INTO flo.rules (group_name, stage, table_name, column_name, action,
	arguments) VALUES
	('latin', 'replicator', 'l', 'c', 'regex', '{"pattern": "[äöü]", "replace": "é"}')});
dst(q{SELECT flo.create_worker('latin', worker_name => 'latin');
	INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments) VALUES
	('latin', 'l', 'a', 'mask', '{"mask_char": "ß"}'), ('latin', 'l', 'b', 'contains', '{"value": "ü"}'),
		('latin', 'l', 'c', 'expression', '{"expression": "c || ''Ö'' || length(a)"}'),
	('latin', 'lt', 'a', 'regex', '{"pattern": "^.", "replace": "Ä"}')});
start_member($dest, 'latin', 'latin');
$source->safe_psql('latin', q{SET client_encoding = 'UTF8'; INSERT INTO l
	VALUES (1, 'äöü', 'ü', 'für'), (2, 'aou', 'u', 'x'); INSERT INTO lt VALUES (1, 'öä', 'x')});
wait_caught_up($source, $dest, 'latin', source_db => 'latin');
is(dst('SELECT * FROM l'), '1|äßü|ü|férÖ3', 'LATIN1 at the source, UTF-8 here: characters stay characters');
is(dst('SELECT a FROM lt'), 'Ää', 'also in rows that travel as text');

# --- preflight and start --------------------------------------------------------------------------

src(q{INSERT INTO flo.rules (group_name, stage, table_name, column_name, action)
	VALUES ('g', 'replicator', 'nowhere', 'a', 'mask')});
is(src(q{SELECT status, detail FROM flo.check('g') WHERE item ~ '^rule' AND detail ~ 'nowhere'}),
	'warning|it never matches: the group does not publish public.nowhere', 'check: a rule that never matches');
like(dst(q{SELECT string_agg(detail, ';') FROM flo.check('g') WHERE item ~ '^rule' AND status = 'warning'}),
	qr/the old row does not hold what this filter looks at/, 'check: a filter that cannot see what leaves');
dst(q{INSERT INTO flo.routes (group_name, source_table, destination_table, operations)
	VALUES ('g', 'ghost', 'nowhere', '{INSERT}')});
like(dst(q{SELECT string_agg(status || ' ' || detail, ';') FROM flo.check('g') WHERE item ~ '^route'}),
	qr/error table public.nowhere does not exist here/, 'check: a route to a table that is not there');

$_->stop for $source, $dest;
done_testing();
