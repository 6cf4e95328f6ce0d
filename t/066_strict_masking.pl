
# Strict masking: whatever way a column comes, no value of it arrives before
# somebody has decided about it; and what is said of values shows none.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloTest;
use File::Find ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $dir = PostgreSQL::Test::Utils::tempdir() . '/events';
mkdir $dir;

sub src { return $source->safe_psql('postgres', $_[0]); }
sub dst { return $dest->safe_psql('postgres', $_[0]); }
sub synced { return wait_caught_up($source, $dest, 'g', member => 'postgres'); }

sub rule
{
	my ($table, $column, $action, $arguments) = @_;
	$arguments ||= '{}';
	return dst("INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments)
		VALUES ('g', '$table', '$column', '$action', '$arguments') RETURNING id");
}

# No byte of what is never to be seen is anywhere in the destination's directory, its log, or the events
sub hidden
{
	my ($what) = @_;
	my @found;

	dst('CHECKPOINT');
	File::Find::find({
			no_chdir => 1,
			wanted => sub {
				return if !-f $_;
				open my $file, '<:raw', $_ or return;
				local $/;
				push @found, $_ if (<$file> // '') =~ /XYZZY/;
			}
		},
		$dest->data_dir, $dest->logfile, $dir);
	return is("@found", '', "no value is anywhere: $what");
}

# It stops with that error, having written nothing; then it is decided about, and goes on
sub stops
{
	my ($pattern, $what) = @_;
	ok(wait_until($dest, 'postgres', "SELECT coalesce(last_error, '') ~ \$p\$$pattern\$p\$ AND state = 'backoff'
		FROM flo.status WHERE group_name = 'g' AND member = 'postgres'", $what), "$what: it stops")
	  || diag(dst("SELECT last_error FROM flo.status WHERE group_name = 'g' AND member = 'postgres'"));
	return hidden($what);
}


src(q{
	CREATE TABLE users (id int PRIMARY KEY, email text, phone text, note text);
	INSERT INTO users SELECT i, 'XYZZY' || i || '@example.com', 'XYZZY', 'n' FROM generate_series(1, 100) i;
	CREATE SCHEMA app;
});
dst('CREATE SCHEMA app');
create_copy_group($source, $dest, 'g',
	tables => 'NULL, schemas => \'{public,app}\', track_ddl => true',
	sync_schema => 1,
	wait => 0,
	worker_options => q{'{"masking": "strict"}'});

# --- the copy ------------------------------------------------------------------------

ok(wait_until($dest, 'postgres', q{SELECT EXISTS (SELECT FROM flo.status WHERE group_name = 'g'
	AND last_error ~ 'column "id" of table "public.users" has no rule, and masking is strict')}, 'the copy to stop'),
	'a copied table without rules stops before its first row');
is(dst('SELECT count(*) FROM users'), 0, 'none of its rows is here');
is(dst(q{SELECT string_agg(column_name || ' ' || type || ' ' || decision, ', ') FROM flo.masking_report('g')}),
	'id integer none, email text none, phone text none, note text none',
	'the report has what nobody has decided about');
hidden('a copy');
rule('users', 'id', 'keep');
rule('users', 'email', 'mask', '{"keep_first": 0, "keep_last": 4}');
rule('users', 'note', 'keep');
hidden('a copy of which one column is left');
rule('users', 'phone', 'null');
wait_state($dest, 'g', 'postgres', 'streaming');
synced();
is(dst("SELECT count(*), min(email), count(phone) FROM users WHERE email LIKE '%.com'"), '100|****************.com|0',
	'then it is copied, masked') || diag(dst('SELECT min(email) FROM users'));

is(dst(q{SELECT string_agg(concat_ws(' ', column_name, decision, action, class, rules = ARRAY[(
		SELECT r.id FROM flo.rules r WHERE r.column_name = m.column_name)]), ', ') FROM flo.masking_report('g') m}),
	'id kept keep injective t, email changed mask lossy t, phone changed null lossy t, note kept keep injective t',
	'and what has been decided');
dst(q{SELECT flo.set_secret('main'); CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher});
my @hashed = (rule('users', 'phone', 'hash', '{"secret": "main", "length": 15}'),
	rule('users', 'phone', 'pseudonym', '{"secret": "main", "kind": "text"}'));
is(dst(q{SELECT class FROM flo.masking_report('g') WHERE column_name = 'phone'}), 'lossy', 'a short hash is lossy');
is(dst(q{SET ROLE watcher; SELECT string_agg(concat_ws(' ', column_name, decision, action), ', ')
	FROM flo.masking_report('g')}),
	'id kept keep, email changed mask, phone changed null, hash, pseudonym, note kept keep',
	'pg_monitor sees what becomes of columns');
dst('DELETE FROM flo.rules WHERE id IN (' . join(', ', @hashed) . ')');
is(src(q{SELECT string_agg(member || ' ' || column_name || ' ' || decision, ', ') FROM flo.masking_report('g')}),
	join(', ', map { "replicator $_ none" } qw(id email phone note)),
	'at the source it is about the rules of the replicator');

# --- every way a column comes --------------------------------------------------------

# rows before and after it are of one transaction
src(q{BEGIN; INSERT INTO users VALUES (101, 'XYZZY', 'XYZZY', 'n'); ALTER TABLE users ADD COLUMN ssn text;
	INSERT INTO users VALUES (102, 'XYZZY', 'XYZZY', 'n', 'XYZZY'); COMMIT});
stops('gets a column "ssn" that has no rule', 'ADD COLUMN');
is(dst('SELECT max(id) FROM users'), 100, 'of the transaction nothing is here');
rule('users', 'ssn', 'constant', '{"value": "hidden"}');
synced();
is(dst('SELECT ssn FROM users WHERE id = 102'), 'hidden', 'ADD COLUMN: then it goes on');

src(q{ALTER TABLE users ADD COLUMN code text DEFAULT 'XYZ' || 'ZY'; INSERT INTO users (id) VALUES (103)});
stops('gets a column "code" that has no rule', 'ADD COLUMN with a default');
rule('users', 'code', 'null');
ok(wait_until($dest, 'postgres', q{SELECT EXISTS (SELECT FROM flo.pending_ddl
		WHERE reason ~ 'default of column "code"')},
	'the statement to be held'), 'a default that a rule would change is held');
hidden('a default');
dst('ALTER TABLE users ADD COLUMN code text; SELECT flo.skip_ddl(id) FROM flo.pending_ddl');
synced();
is(dst('SELECT count(code) FROM users'), 0, 'and goes on without it');

src(q{ALTER TABLE users RENAME phone TO mobile; INSERT INTO users (id, mobile) VALUES (104, 'XYZZY')});
stops('column "mobile" of table "public.users" has no rule', 'RENAME COLUMN');
rule('users', 'mobile', 'null');
synced();

# a name that is kept passes to another column: once by a rename, once because the one in between has gone
rule('users', 'nick', 'keep');
src(q{ALTER TABLE users RENAME email TO nick; INSERT INTO users (id, nick) VALUES (105, 'XYZZY')});
stops('column "nick" .* may not be the one that was meant', 'a rename to a name that is kept');
dst(q{DELETE FROM flo.rules WHERE column_name = 'nick'});
rule('users', 'nick', 'keep');
stops('column "nick" .* may not be the one that was meant', 'while the rule for the former name stands');
dst(q{DELETE FROM flo.rules WHERE column_name = 'nick'});
rule('users', 'nick', 'null');
synced();
src(q{BEGIN; ALTER TABLE users DROP COLUMN note; ALTER TABLE users RENAME mobile TO note;
	INSERT INTO users (id, note) VALUES (106, 'XYZZY'); COMMIT});
stops('column "note" .* may not be the one that was meant', 'a column that is dropped, and one that takes its name');
dst(q{UPDATE flo.rules SET action = 'null' WHERE column_name = 'note'});
synced();

# the one behind it, which looks as if that one were dropped
src(q{CREATE TABLE later (id int PRIMARY KEY, v text, w text)});
rule('later', 'id', 'keep');
rule('later', 'v', 'keep');
rule('later', 'w', 'null');
src(q{INSERT INTO later VALUES (1, 'v', 'XYZZY')});
synced();
src(q{BEGIN; ALTER TABLE later DROP v; ALTER TABLE later RENAME w TO v; INSERT INTO later VALUES (2, 'XYZZY'); COMMIT});
stops('column "v" .* may not be the one that was meant',
	'a column that is dropped, and the next one that takes its name');
dst(q{UPDATE flo.rules SET action = 'null' WHERE table_name = 'later' AND column_name = 'v'});
synced();

src(q{CREATE TABLE kept (id int PRIMARY KEY, v int, w text)});
rule('kept', $_, 'keep') for 'id', 'v', 'w';
src(q{INSERT INTO kept VALUES (1, 1, 'w')});
synced();
src(q{ALTER TABLE kept ALTER v TYPE text; INSERT INTO kept VALUES (2, 'XYZZY')});
stops('Its type was integer and is text now', 'another type of a column that is kept');
dst(q{UPDATE flo.rules SET action = 'null' WHERE table_name = 'kept' AND column_name = 'v'});
synced();

src(q{ALTER TABLE kept REPLICA IDENTITY FULL});
dst(q{UPDATE flo.rules SET action = 'null', operations = '{INSERT,UPDATE}'
	WHERE table_name = 'kept' AND column_name = 'w'});
src(q{INSERT INTO kept VALUES (3, NULL, 'XYZZY')});
stops('for column "w" .* does not hold for all operations', 'a rule that does not hold for old rows');
dst(q{UPDATE flo.rules SET operations = '{INSERT,UPDATE,DELETE}' WHERE table_name = 'kept' AND column_name = 'w'});
synced();

# --- every way a table comes ---------------------------------------------------------

src(q{BEGIN; CREATE TABLE app.fresh (id int PRIMARY KEY, v text); INSERT INTO app.fresh VALUES (1, 'XYZZY'); COMMIT});
stops('column "id" of table "app.fresh" has no rule', 'CREATE TABLE in a schema of the group');
dst(q{INSERT INTO flo.rules (group_name, schema_name, table_name, column_name, action)
	VALUES ('g', 'app', 'fresh', 'id', 'keep'), ('g', 'app', 'fresh', 'v', 'null')});
synced();

src(q{ALTER TABLE kept RENAME TO renamed; INSERT INTO renamed VALUES (4, 'XYZZY')});
stops('table "public.kept", which rule \d+ names, is now called "public.renamed"', 'a table that is renamed');
dst(q{UPDATE flo.rules SET table_name = 'renamed' WHERE table_name = 'kept'});
stops('The table was called "public.kept" before', 'what is kept of it');
dst(q{INSERT INTO flo.rules (group_name, table_name, column_name, action)
		SELECT group_name, table_name, column_name, action FROM flo.rules WHERE table_name = 'renamed';
	DELETE FROM flo.rules a USING flo.rules b WHERE a.table_name = 'renamed' AND b.table_name = 'renamed'
		AND a.column_name = b.column_name AND a.id < b.id});
synced();

src(q{CREATE TABLE parts (id int, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
	CREATE TABLE lone (id int PRIMARY KEY, v text)});
rule('parts', 'id', 'keep');
rule('parts', 'v', 'null');
src(q{CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10); INSERT INTO parts VALUES (1, 'XYZZY');
	INSERT INTO lone VALUES (11, 'XYZZY')});
stops('column "id" of table "public.lone" has no rule', 'a table that is not yet attached');
rule('lone', 'id', 'keep');
rule('lone', 'v', 'null');
synced();
src(q{ALTER TABLE parts ATTACH PARTITION lone FOR VALUES FROM (10) TO (20); INSERT INTO parts VALUES (12, 'XYZZY')});
synced();
is(dst('SELECT count(*), count(v) FROM parts'), '3|0', 'ATTACH: rows come by the rules of the root');
src(q{CREATE TABLE parent (id int PRIMARY KEY, v text)});
rule('parent', 'id', 'keep');
rule('parent', 'v', 'null');
src(q{CREATE TABLE child (PRIMARY KEY (id)) INHERITS (parent); INSERT INTO parent VALUES (1, 'XYZZY');
	INSERT INTO child VALUES (2, 'XYZZY')});
stops('column "id" of table "public.child" has no rule', 'a child by inheritance');
rule('child', 'id', 'keep');
rule('child', 'v', 'null');
synced();

# --- what is decided is decided no more ----------------------------------------------

for my $case (
	[ 'deleted', q{DELETE FROM flo.rules WHERE column_name = 'ssn'} ],
	[ 'disabled', q{UPDATE flo.rules SET enabled = false WHERE column_name = 'ssn'} ],
	[ 'about another column', q{UPDATE flo.rules SET column_name = 'other' WHERE column_name = 'ssn'} ])
{
	my ($what, $sql) = @$case;
	dst($sql);
	src(q{INSERT INTO users (id, ssn) SELECT max(id) + 1, 'XYZZY' FROM users});
	stops('column "ssn" of table "public.users" has no rule', "a rule that is $what");
	dst(q{DELETE FROM flo.rules WHERE column_name IN ('ssn', 'other')});
	rule('users', 'ssn', 'null');
	synced();
}
dst(q{BEGIN; INSERT INTO flo.routes (group_name, source_table, column_mappings) VALUES ('g', 'users', '{"ssn": null}');
	DELETE FROM flo.rules WHERE column_name = 'ssn'; COMMIT});
src(q{INSERT INTO users (id, ssn) SELECT max(id) + 1, 'XYZZY' FROM users});
synced();
is(dst(q{SELECT decision FROM flo.masking_report('g') WHERE column_name = 'ssn'}), 'left out', 'a route leaves it out');
dst(q{UPDATE flo.routes SET column_mappings = '{}'});
src(q{INSERT INTO users (id, ssn) SELECT max(id) + 1, 'XYZZY' FROM users});
stops('column "ssn" of table "public.users" has no rule', 'a route that leaves it out no more');
rule('users', 'ssn', 'null');
synced();

# --- what is said of values ----------------------------------------------------------

my $bad = rule('users', 'code', 'expression', '{"expression": "code::int::text"}');
src(q{INSERT INTO users (id, code) SELECT max(id) + 1, 'XYZZY' FROM users});
stops("rule $bad failed on a value", 'an error of a rule');
dst("DELETE FROM flo.rules WHERE id = $bad");
synced();
like(error_of($dest, "SELECT * FROM flo.peek('g')"),
	qr/^55000: .*cannot be shown here: masking of worker "postgres" is strict/,
	'what is in the stream is not shown');
hidden('all that came');
like(error_of($dest, q{SELECT * FROM flo.preview('g', 'nowhere', 'INSERT', '{"id": 1}')}),
	qr/^55000: column "id" of table "public.nowhere" has no rule/,
	'flo.preview() says what a worker would');

# --- events --------------------------------------------------------------------------

# Whatever the type of a column is, what a rule makes of it is what an event says
src(q{CREATE TABLE typed (id int PRIMARY KEY, at timestamp, day date, yes bool, n int, deep int[], secret text);
	ALTER TABLE typed REPLICA IDENTITY FULL});
dst(q{INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments)
		SELECT 'g', 'typed', c, 'mask', '{"keep_first": 2, "keep_last": 0}'
		FROM unnest('{at,day,yes,n,deep}'::text[]) c;
	INSERT INTO flo.rules (group_name, table_name, column_name, action)
		SELECT 'g', 'typed', c, a FROM (VALUES ('id', 'keep'), ('secret', 'null')) v (c, a);
	INSERT INTO flo.rules (group_name, worker_name, table_name, column_name, action, arguments)
		VALUES ('g', 'postgres', 'typed', 'at', 'constant', '{"value": "2000-01-01"}'),
		('g', 'postgres', 'typed', 'day', 'constant', '{"value": "2000-01-01"}'),
		('g', 'postgres', 'typed', 'yes', 'constant', '{"value": "false"}'),
		('g', 'postgres', 'typed', 'n', 'constant', '{"value": 0}'),
		('g', 'postgres', 'typed', 'deep', 'constant', '{"value": "{}"}')});
synced();    # the latest is what comes after the table itself
create_event_worker($dest, 'g', 'file', 'file',
	{ directory => $dir, masking => 'strict', start => 'latest', tables => ['typed'] });
src(q{BEGIN; INSERT INTO typed VALUES (1, '2024-02-29 12:00', '2024-02-29', true, 12345, '{1,2}', 'XYZZY');
	UPDATE typed SET id = 2, secret = 'XYZZY2'; DELETE FROM typed; COMMIT;
	COMMENT ON TABLE typed IS 'XYZZY'; ALTER TABLE typed ALTER secret SET DEFAULT 'XYZZY'});
wait_caught_up($source, $dest, 'g', member => 'file');
my @events = file_events($dir);
my $masked = {
	id => 1, at => '20' . '*' x 17, day => '20********', yes => '*', n => '12***', deep => '{1***', secret => undef
};
is_deeply($events[0]{NewTuple}, $masked, 'a timestamp, a date, a boolean, a number, an array, masked');
is_deeply([ $events[1]{OldTuple}, $events[1]{NewTuple}, $events[2]{OldTuple} ],
	[ $masked, { %$masked, id => 2 }, { %$masked, id => 2 } ], 'and in old rows');
my ($ddl) = grep { $_->{Type} eq 'DDL' && $_->{Command}{tag} eq 'ALTER TABLE' } @events;
my $last = $ddl->{Command}{tables}[0]{columns}[6];
is_deeply([ $ddl->{Command}{text}, $last->{default}, $last->{name} ],
	[ '', undef, 'secret' ], 'an event of DDL has names and types, and neither its text nor a default');

src(q{ALTER TABLE typed ADD extra text; INSERT INTO typed (id, extra) VALUES (3, 'XYZZY')});
rule('typed', 'extra', 'null');
dst(q{DELETE FROM flo.rules WHERE column_name = 'day' AND worker_name IS NULL});
ok(wait_until($dest, 'postgres', q{SELECT last_error ~ 'column "day" of table "public.typed" has no rule'
	FROM flo.status
	WHERE member = 'file'}, 'the sink to stop'), 'a sink of events stops as well');
done_testing();
