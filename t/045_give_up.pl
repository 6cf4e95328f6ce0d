# flo.give_up(): one table that cannot be applied is passed over, whatever is wrong
# with it, other tables of the same transactions go on, and a copy that is asked for
# at the source takes it up again exactly.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloHook;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.restart_interval = '300ms'\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);
my $directory = $dest->basedir . '/events';
my $ddl = q{
	CREATE TABLE a (id int PRIMARY KEY, v text);
	CREATE TABLE b (id int PRIMARY KEY, v int);
	CREATE TABLE gone (id int PRIMARY KEY, v int);
	CREATE TABLE narrow (id int PRIMARY KEY, v text);
	CREATE TABLE raising (id int PRIMARY KEY, v int);
	CREATE TABLE routed (id int PRIMARY KEY, v int);
	CREATE TABLE parts (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
	CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
	CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (1000);
	CREATE TABLE dropped (id int PRIMARY KEY, v int);
	CREATE TABLE parent (id int PRIMARY KEY);
	CREATE TABLE child (id int PRIMARY KEY, p int REFERENCES parent) PARTITION BY RANGE (id);
	CREATE TABLE child_1 PARTITION OF child FOR VALUES FROM (0) TO (100);
	CREATE TABLE "Ü ""t" (id int PRIMARY KEY, v int);
	CREATE TABLE one (id int PRIMARY KEY, v int);
	CREATE TABLE two (id int PRIMARY KEY, v int);
};

mkdir $directory, 0700;
$_->safe_psql('postgres', $ddl) for $source, $dest;
$dest->safe_psql('postgres', q{
	CREATE ROLE mallory LOGIN; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA flo TO mallory;
	ALTER TABLE b ADD CHECK (v < 100);
	DROP TABLE gone;
	ALTER TABLE narrow ALTER v TYPE int USING v::int;
	CREATE FUNCTION object() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'I object'; END $$;
	CREATE TRIGGER object BEFORE INSERT ON raising FOR EACH ROW EXECUTE FUNCTION object();
	ALTER TABLE raising ENABLE ALWAYS TRIGGER object;
	ALTER TABLE routed RENAME TO elsewhere; ALTER TABLE elsewhere ADD CHECK (v < 100)});

sub src { return $source->safe_psql('postgres', $_[0]); }
sub dst { return $dest->safe_psql('postgres', $_[0]); }
sub caught_up { wait_caught_up($source, $dest, 'g', member => 'postgres'); }
sub given_up
{
	return dst(q{SELECT string_agg(table_name, ' ' ORDER BY table_name) FROM flo.tables WHERE state = 'given up'});
}

sub stopped_at
{
	my ($table) = @_;
	wait_until($dest, 'postgres', "SELECT state IN ('backoff', 'starting', 'streaming')
		AND last_error ~ 'transaction at .*$table' FROM flo.status WHERE member = 'postgres'",
		"the worker to stop at $table") or die;
}

# The table is copied anew, and is as at the source
sub taken_up
{
	my ($table, $call) = @_;

	src($call || "SELECT flo.resync('g', '$table')");
	wait_until($dest, 'postgres',
		"SELECT NOT EXISTS (SELECT FROM flo.tables WHERE state = 'given up' AND table_name = 'public.$table')",
		"$table to be taken up") or die;
	caught_up();
}

create_group($source, $dest, 'g');
$dest->safe_psql('postgres',
	"SELECT flo.create_worker('g', sink => 'file', worker_name => 'events',
	options => '{\"directory\": \"$directory\"}')");
start_member($dest, 'g', 'events');
dst(q{INSERT INTO flo.routes (group_name, worker_name, source_table, destination_table)
	VALUES ('g', 'postgres', 'routed', 'elsewhere'), ('g', 'postgres', 'one', 'two')});

# --- who, where and what -----------------------------------------------------------------

like(error_of($source, q{SELECT flo.give_up('g', 'b')}),
	qr/^42704: group "g" has no worker in this database\nhint: .*flo\.remove_table/, 'at the source');
like(error_of($source, q{SELECT flo.give_up('g', 'b', 'replicator')}), qr/^22023: "replicator" is not a worker/,
	'the replicator');
like(error_of($dest, q{SELECT flo.give_up('h', 'b')}), qr/^42704: group "h" does not exist/, 'no such group');
like(error_of($dest, q{SELECT flo.give_up('g', 'b', 'w')}), qr/^42704: group "g" has no worker "w"/, 'no such worker');
like(error_of($dest, q{SELECT flo.give_up('g', 'b')}),
	qr/^22023: group "g" has several workers in this database\nhint: Name the one/,
	'one of several workers has to be named');
like(error_of($dest, q{SELECT flo.give_up('g', 'public.bb', 'postgres')}),
	qr/^42P01: worker "postgres" of group "g" knows no table "public\.bb"\ndetail: .*\nhint: Names are/,
	'no such table');
like(error_of($dest, "SELECT flo.give_up('g', '$_', 'postgres')"),
	qr/^22023: "\Q$_\E" is not the name of a table\nhint: Write schema\.table.*double quotes/, "no name of a table: $_")
  for 'x.y.z', '', '.', 'public.', '""', 'public.My Table';
like(error_of($dest, q{SELECT flo.give_up('g', 'elsewhere', 'postgres')}),
	qr/^42P01: table "public\.elsewhere" .* gets the rows of public\.routed .*\nhint: .*'public\.routed'/,
	'the name of this database');
like(error_of($dest, q{SELECT flo.give_up('g', 'parts_1', 'postgres')}),
	qr/^42809: table "public\.parts_1" is a partition here.*\nhint: .* public\.parts\.$/, 'a partition');
like(error_of($dest, q{SET ROLE mallory; SELECT flo.give_up('g', 'b', 'postgres')}),
	qr/^42501: permission denied for member "postgres"/, 'somebody else\'s worker');
is(dst('SELECT count(*) FROM flo.given_up'), 0, 'nothing is given up');

# --- a constraint, and what is seen -------------------------------------------------------

src(q{BEGIN; INSERT INTO a VALUES (1, 'before'); INSERT INTO b VALUES (1, 1), (2, 500);
	INSERT INTO a VALUES (2, 'behind'); COMMIT;
	INSERT INTO b VALUES (3, 3)});
stopped_at('public.b');
my $lsn = dst(q{SELECT substring(last_error FROM 'transaction at ([0-9A-F/]+)') FROM flo.status
	WHERE member = 'postgres'});
dst(q{SELECT flo.give_up('g', 'b')});
caught_up();
is_same_table($source, $dest, 'a', 'the rest of the transaction is there');
is(dst('SELECT count(*) FROM b'), 0, 'what is given up is not, nor what comes later');
like(dst(q{SELECT table_name, detail FROM flo.tables WHERE state = 'given up'}),
	qr/^public\.b\|by worker postgres, since .* at \Q$lsn\E; told by \w+ at \d.*; error: .*"b_v_check": .*\(2, 500\)/,
	'flo.tables says which, since when, by whom and why');
unlike(dst(q{SET ROLE mallory; SELECT detail FROM flo.tables WHERE state = 'given up'}), qr/Failing row/,
	'the error is for the worker\'s owner');
is(dst(q{SET ROLE mallory; SELECT count(*) FROM flo.given_up}), '0', 'as in flo.given_up');
is(status_of($dest, 'g', 'postgres', "state || ': ' || detail"),
	'streaming: without tables that are given up: public.b', 'so says flo.status');
like(dst(q{SELECT item, status, hint FROM flo.check('g') WHERE detail LIKE 'given up%'}),
	qr/^table public\.b of group g\|warning\|.*flo\.resync\('g', 'public\.b'\)/, 'and flo.check()');
my ($out, $err) = ('', '');
$dest->psql('postgres', q{SELECT flo.wait_for('g', '0/1', '10 s', 'postgres')}, stdout => \$out, stderr => \$err);
like("$out $err",
	qr/^t .*WARNING:  worker "postgres" of group "g" has given up tables, whose rows are not there: public\.b\n/s,
	'flo.wait_for() warns');
is(status_of($dest, 'g', 'postgres', 'filtered'), 3, 'what was passed over is counted');
$dest->psql('postgres', q{SELECT flo.give_up('g', 'b', 'postgres')}, stderr => \$err);
like($err, qr/NOTICE:  worker "postgres" of group "g" has given up table "public\.b" already/, 'given up twice');
is(dst('SELECT count(*) FROM flo.given_up'), 1, 'counts once');

src(q{BEGIN; UPDATE b SET v = 7 WHERE id = 2; DELETE FROM b WHERE id = 3; UPDATE a SET v = 'x'; COMMIT});
$dest->restart;
wait_state($dest, 'g', 'postgres', 'streaming');
caught_up();
is_same_table($source, $dest, 'a', 'it stays given up over a restart');
src('TRUNCATE a, b; INSERT INTO b SELECT g, 1 FROM generate_series(1, 5000) g; INSERT INTO a VALUES (9, NULL)');
caught_up();
is_same_table($source, $dest, 'a', 'TRUNCATE of it and of another');
is(dst('SELECT count(*) FROM b'), 0, 'leaves it as it is');
dst('INSERT INTO b VALUES (77777, 1)');

# --- taken up again, interrupted anywhere -------------------------------------------------

for my $point ('load.after', 'finish.before')
{
	halt_at($dest, $point);
	src(q{SELECT flo.resync('g', 'b')});
	src("INSERT INTO a (id) SELECT max(id) + 1 FROM a; UPDATE b SET v = v + 1 WHERE id % 3 = 0");
	await_halt($dest, $point) or die;
	is(given_up(), 'public.b', "$point: still given up");
	$dest->stop('immediate');
	$dest->append_conf('postgresql.conf', "pg_flo.stop_at = ''\n");
	$dest->start;
	wait_until($dest, 'postgres', q{SELECT NOT EXISTS (SELECT FROM flo.given_up)}, "b to be taken up ($point)") or die;
	caught_up();
	is_same_table($source, $dest, $_, "$point: $_ is as at the source") for 'a', 'b';
	dst(q{SELECT flo.give_up('g', 'b', 'postgres')});
	src('UPDATE b SET v = 2 WHERE id = 1; DELETE FROM b WHERE id = 2');
	caught_up();
}
# while it is taken up again
halt_at($dest, 'load.before');
src(q{SELECT flo.resync('g', 'b')});
await_halt($dest, 'a loader') or die;
is(dst(q{SELECT asked FROM flo.given_up}), 't', 'a copy is coming');
dst(q{SELECT flo.give_up('g', 'b', 'postgres')});
$dest->stop('immediate');
$dest->append_conf('postgresql.conf', "pg_flo.stop_at = ''\n");
$dest->start;
wait_state($dest, 'g', 'postgres', 'streaming');
wait_caught_up($source, $dest, 'g', member => 'postgres');
is(given_up(), 'public.b', 'given up while it is copied, it stays so when that copy is over');

# The whole group, whose copies are counted anew; one that has left it, and one that is known by its name only
dst(q{SELECT flo.give_up('g', 'dropped', 'postgres'); SELECT flo.give_up('g', 'parent', 'postgres');
	SELECT flo.give_up('g', 'dropped', 'events')});
src(q{INSERT INTO one VALUES (1, 1); INSERT INTO two VALUES (2, 2)});
caught_up();
dst(q{SELECT flo.give_up('g', 'one', 'postgres')});
src(q{INSERT INTO dropped VALUES (1, 1); INSERT INTO one VALUES (3, 3); INSERT INTO two VALUES (4, 4)});
caught_up();
is(dst(q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM two}), '1 2 4',
	'one of two tables whose rows go to one here');
dst('DELETE FROM two');
src(q{SELECT flo.remove_table('g', 'dropped')});
taken_up('b', q{SELECT flo.resync('g')});
wait_caught_up($source, $dest, 'g', member => 'events');
is(dst('SELECT count(*) FROM flo.given_up'), 0,
	'a copy of all takes up all, and forgets what is not in the group any more');
is_same_table($source, $dest, $_, "taken up once more: $_") for 'a', 'b';
is(dst(q{SELECT string_agg(id::text, ' ' ORDER BY id) FROM two}), '1 2 3 4',
	'so are both that go to one, when that is empty');
src('UPDATE b SET v = 3 WHERE id = 1; DELETE FROM b WHERE id = 5');
caught_up();
is_same_table($source, $dest, 'b', 'and changes of it arrive');

# --- by its name only, which a request tells ------------------------------------------------

dst(q{SELECT flo.give_up('g', '"Ü ""t"', w) FROM unnest('{postgres,events}'::text[]) w;
	SELECT flo.give_up('g', 'parent', 'postgres')});
src(q{SELECT flo.resync('g', 'a')});
wait_until($dest, 'postgres', q{SELECT count(*) = 1 FROM flo.copied_tables
	WHERE table_name = 'a' AND attempt > 1 AND finished_at IS NOT NULL}, 'a to be copied') or die;
is(dst('SELECT count(*) FROM flo.given_up WHERE asked'), 0, 'a copy of another table is none of them');
src(q{SELECT flo.resync('g', '"Ü ""t"')});
wait_until($dest, 'postgres', q{SELECT string_agg(table_name, ' ') = 'parent' FROM flo.given_up},
	'both workers to take it up');
src(q{INSERT INTO "Ü ""t" VALUES (1, 1)});
caught_up();
is_same_table($source, $dest, '"Ü ""t"', 'and it goes on');

# --- foreign keys from it, and TRUNCATE ------------------------------------------------------

src(q{SELECT flo.resync('g', 'parent'); INSERT INTO parent VALUES (1), (2); INSERT INTO child VALUES (1, 1)});
wait_until($dest, 'postgres', 'SELECT count(*) = 0 FROM flo.given_up', 'parent to be taken up') or die;
caught_up();
dst(q{SELECT flo.give_up('g', 'child', 'postgres')});
src(q{INSERT INTO child VALUES (2, 2); TRUNCATE parent, child; INSERT INTO parent VALUES (7);
	INSERT INTO child VALUES (7, 7)});
caught_up();
is_same_table($source, $dest, 'parent', 'a table to which it refers is emptied');
is(dst('SELECT count(*) FROM child'), 0, 'and so is it');
taken_up('child');
is(dst('SELECT * FROM child'), '7|7', 'taken up: one with a foreign key');

# --- other reasons -----------------------------------------------------------------------

src(q{BEGIN; TRUNCATE raising, gone; INSERT INTO gone VALUES (1, 1); INSERT INTO a VALUES (100, 'gone'); COMMIT});
stopped_at('public.gone');
dst(q{SELECT flo.give_up('g', 'public.gone', 'postgres')});
src(q{BEGIN; INSERT INTO narrow VALUES (1, 'no number'); INSERT INTO a VALUES (101, 'narrow'); COMMIT});
stopped_at('public.narrow');
dst(q{SELECT flo.give_up('g', 'narrow', 'postgres')});
src(q{BEGIN; INSERT INTO raising VALUES (1, 1); INSERT INTO a VALUES (102, 'raising'); COMMIT});
stopped_at('public.raising');
dst(q{SELECT flo.give_up('g', 'raising', 'postgres')});
src(q{BEGIN; INSERT INTO routed VALUES (1, 500); INSERT INTO a VALUES (103, 'routed'); COMMIT});
stopped_at('public.elsewhere');
dst(q{SELECT flo.give_up('g', 'routed', 'postgres')});
dst(q{SELECT flo.give_up('g', '"parts"', 'postgres')});
src(q{INSERT INTO parts VALUES (1, 1), (100, 1); TRUNCATE parts_1, b});
caught_up();
is_same_table($source, $dest, $_, "other tables: $_") for 'a', 'b';
is(given_up(), 'public.gone public.narrow public.parts public.raising public.routed',
	'a table that is missing, another type, a trigger, a route, partitions');
is(dst('SELECT count(*) FROM parts'), 0, 'rows of partitions are passed over');
dst(q{CREATE TABLE gone (id int PRIMARY KEY, v int); ALTER TABLE narrow ALTER v TYPE text;
	ALTER TABLE raising DISABLE TRIGGER object; INSERT INTO parts VALUES (500, 1);
	DO $$ BEGIN EXECUTE (SELECT 'ALTER TABLE elsewhere DROP CONSTRAINT ' || conname FROM pg_constraint
		WHERE conrelid = 'elsewhere'::regclass AND contype = 'c'); END $$});
taken_up($_, q{SELECT flo.resync('g', t::regclass) FROM unnest('{gone,narrow,raising,routed,parts}'::text[]) t})
  for 'gone';
wait_until($dest, 'postgres', 'SELECT count(*) = 0 FROM flo.given_up', 'all of them to be taken up') or die;
caught_up();
is_same_table($source, $dest, $_, "taken up: $_") for 'gone', 'narrow', 'raising';
is(dst('SELECT id, v FROM elsewhere'), src('SELECT id, v FROM routed'), 'taken up: one that a route leads elsewhere');
is(dst('SELECT id, v FROM parts ORDER BY 1'), src('SELECT id, v FROM parts ORDER BY 1'), 'taken up: partitions');

# --- what becomes of it at the source ------------------------------------------------------

dst(q{SELECT flo.give_up('g', 'b', 'postgres')});
src(q{INSERT INTO b VALUES (7001, 1); ALTER TABLE b RENAME TO c; INSERT INTO c VALUES (7002, 2)});
caught_up();
is(given_up(), 'public.c', 'renamed, it is given up under its new name');
src(q{CREATE TABLE b (id int PRIMARY KEY, v int); INSERT INTO b VALUES (1, 1)});
caught_up();
is(dst('SELECT count(*) FROM b WHERE id = 1'), 1, 'a new table of its former name is not');
dst('ALTER TABLE b RENAME TO b_old; CREATE TABLE b (id int PRIMARY KEY, v int); INSERT INTO b VALUES (1, 1);
	CREATE TABLE c (id int PRIMARY KEY, v int)');
taken_up('c');
is_same_table($source, $dest, $_, "after the renaming: $_") for 'b', 'c';

# --- the whole group -------------------------------------------------------------------------

dst(q{SELECT flo.give_up('g', 'c', 'postgres'); SELECT flo.give_up('g', 'a', 'postgres')});
src(q{INSERT INTO c VALUES (8001, 1); UPDATE a SET v = 'whole'});
caught_up();
dst('DELETE FROM two');
taken_up('c', q{SELECT flo.resync('g')});
wait_until($dest, 'postgres', 'SELECT count(*) = 0 FROM flo.given_up', 'all to be taken up') or die;
wait_caught_up($source, $dest, 'g', member => 'postgres');
is_same_table($source, $dest, $_, "resync of all takes up: $_") for 'a', 'b', 'c';
dst(q{SELECT flo.give_up('g', 'c', 'postgres')});
src(q{INSERT INTO c VALUES (8002, 1)});
caught_up();
src(q{SELECT flo.resync('g', copy => false)});
wait_until($source, 'postgres', 'SELECT NOT resync FROM flo.generations', 'the new generation') or die;
wait_state($source, 'g', 'replicator', 'streaming');
src(q{INSERT INTO c VALUES (8003, 1); INSERT INTO a VALUES (8003, 'on')});
wait_until($dest, 'postgres', 'SELECT EXISTS (SELECT FROM a WHERE id = 8003)',
	'the group to go on without a copy') or die;
is(dst('SELECT count(*) FROM c WHERE id > 8001'), 0, 'without a copy it stays given up');
taken_up('c');
is_same_table($source, $dest, 'c', 'until there is one');

# --- events ------------------------------------------------------------------------------------

sub events
{
	return scalar grep { /"Table" ?: ?"c"/ } split /\n/, join('', map { slurp_file($_) } glob "$directory/*.jsonl");
}
wait_caught_up($source, $dest, 'g', member => 'events');
my $before = events();
dst(q{SELECT flo.give_up('g', 'c', 'events')});
src(q{INSERT INTO c VALUES (9001, 1)});
wait_caught_up($source, $dest, 'g', member => 'events');
is(events(), $before, 'events of a table are given up');
caught_up();
is_same_table($source, $dest, 'c', 'by that worker only');
src(q{SELECT flo.resync('g', 'c')});
wait_until($dest, 'postgres', 'SELECT count(*) = 0 FROM flo.given_up', 'the events to go on') or die;
src(q{INSERT INTO c VALUES (9002, 1)});
wait_caught_up($source, $dest, 'g', member => 'events');
is(events(), $before + 1, 'and go on from where the table is copied anew');

# an endpoint that does not take the events of a table, which is not even here
my $hook = FloHook->new('crm');
$_->safe_psql('postgres', 'CREATE TABLE refused (id int PRIMARY KEY, v int)') for $source, $dest;
dst('SELECT flo.create_worker($$g$$, sink => $$webhook$$, worker_name => $$hook$$, options => $${"start": "latest",
	"url": "' . $hook->url . '"}$$)');
start_member($dest, 'g', 'hook');
$hook->answer('500 Broken', unless => '"Table" ?: ?"a"');
src(q{INSERT INTO refused VALUES (1, 1); INSERT INTO a VALUES (12001, 'hook')});
wait_until($dest, 'postgres', q{SELECT detail ~ '\(public\.refused\): HTTP 500.*attempt' FROM flo.status
	WHERE member = 'hook'}, 'it to be told which table that is') or die;
caught_up();
dst(q{DROP TABLE refused; SELECT flo.give_up('g', 'refused', 'hook')});
wait_caught_up($source, $dest, 'g', member => 'hook');
is(scalar(grep { $_->{body} =~ /"Table" ?: ?"a"/ } $hook->requests), 1, 'it goes on with others at once');
dst(q{SELECT flo.drop_worker('g', 'hook')});
src(q{SELECT flo.remove_table('g', 'refused')});

# at the same time as others
my @sessions = map { FloTest::Session->new($dest) } 1 .. 3;
$sessions[0]->query(q{BEGIN; SELECT flo.give_up('g', 'c', 'events')});
$sessions[1]->send(q{SELECT flo.give_up('g', 'c', 'events')});
wait_until($dest, 'postgres', q{SELECT count(*) = 1 FROM pg_stat_activity
	WHERE wait_event_type = 'Lock' AND query ~ 'give_up'}, 'the second to wait') or die;
$sessions[0]->query('COMMIT');
$sessions[1]->result;
is(dst('SELECT count(*) FROM flo.given_up'), 1, 'given up by two at once, it counts once');
$sessions[0]->query(q{BEGIN; SELECT flo.give_up('g', 'a', 'events')});
$sessions[2]->send(q{SELECT flo.drop_worker('g', 'events')});
wait_until($dest, 'postgres', q{SELECT count(*) = 1 FROM pg_stat_activity
	WHERE wait_event_type = 'Lock' AND query ~ 'drop_worker'}, 'the worker to be dropped') or die;
$sessions[0]->query('COMMIT');
$sessions[2]->result;
is(dst('SELECT count(*) FROM flo.given_up'), 0, 'they go with the worker');
$_->close for @sessions;

# --- while it is copied for the first time, with definitions, and with triggers -------------------

$_->safe_psql('postgres', 'CREATE DATABASE d') for $source, $dest;
$source->safe_psql('d', q{CREATE EXTENSION pg_flo; CREATE SCHEMA s;
	CREATE TABLE s.t (id int PRIMARY KEY, v int); INSERT INTO s.t SELECT g, g FROM generate_series(1, 3000) g;
	CREATE TABLE s.parent (id int PRIMARY KEY); INSERT INTO s.parent VALUES (1);
	CREATE TABLE s.child (id int PRIMARY KEY, p int REFERENCES s.parent); INSERT INTO s.child VALUES (1, 1);
	CREATE TABLE s.other (id int PRIMARY KEY)});
$dest->safe_psql('d', q{CREATE EXTENSION pg_flo; CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY, v int);
	CREATE FUNCTION object() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'too large'; END $$;
	CREATE TRIGGER object BEFORE INSERT ON s.t FOR EACH ROW WHEN (NEW.v > 2000) EXECUTE FUNCTION object();
	ALTER TABLE s.t ENABLE ALWAYS TRIGGER object});
$source->safe_psql('d',
	q{SELECT flo.create_replicator('k', schemas => '{s}', mode => 'copy_and_stream', sync_schema => true,
	track_ddl => true); SELECT flo.start_group('k')});
$dest->safe_psql('d', q{SELECT flo.create_worker('k', options => '{"fire_triggers": true}');
	SELECT flo.start_group('k')});

sub d_src { return $source->safe_psql('d', $_[0]); }
sub d_dst { return $dest->safe_psql('d', $_[0]); }
sub d_caught_up { wait_caught_up($source, $dest, 'k', source_db => 'd', dest_db => 'd'); }
sub d_taken_up
{
	d_src("SELECT flo.resync('k', '$_[0]')");
	wait_until($dest, 'd',
		"SELECT NOT EXISTS (SELECT FROM flo.tables WHERE state = 'given up' AND table_name = '$_[0]')",
		"$_[0] to be taken up") or die;
	d_caught_up();
}

wait_until($dest, 'd', q{SELECT last_error ~ 'too large' FROM flo.status}, 'the copy to stop') or die;
d_dst(q{SELECT flo.give_up('k', 's.t')});
wait_state($dest, 'k', 'postgres', 'streaming', 'd');
d_src('INSERT INTO s.other VALUES (1); INSERT INTO s.t VALUES (5000, 1)');
d_caught_up();
is(d_dst('SELECT count(*) FROM s.t'), 0, 'given up during its copy: the copy is over without it');
is_same_table($source, $dest, "s.$_", "and others are there: $_", 'd') for 'other', 'parent', 'child';
is(d_dst(q{SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND connamespace = 's'::regnamespace}), 0,
	'keys wait until all tables are in');
d_dst('DROP TRIGGER object ON s.t');
d_taken_up('s.t');
is_same_table($source, $dest, 's.t', 'a later copy takes it up', 'd');
is(d_dst(q{SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND connamespace = 's'::regnamespace}), 1,
	'and the keys are there');

d_dst(q{SELECT flo.give_up('k', 's.t'); INSERT INTO s.t VALUES (-1, -1)});
d_src(q{DELETE FROM s.t WHERE id < 100; ALTER TABLE s.t ADD w int DEFAULT 7; INSERT INTO s.other VALUES (2)});
d_caught_up();
is(d_dst('SELECT count(*), min(w) FROM s.t'), '3002|7', 'a statement about it is run, and its rows stay');
d_src(q{ALTER TABLE s.t ADD CHECK (id > 0); INSERT INTO s.other VALUES (3)});
d_caught_up();
is(d_dst(q{SELECT count(*), (SELECT count(*) FROM pg_constraint WHERE conrelid = 's.t'::regclass AND contype = 'c')
	FROM s.t}), '0|1', 'one to which they object is run without them');
d_dst('DROP TABLE s.t');
d_src(q{ALTER TABLE s.t RENAME w TO x; CREATE INDEX CONCURRENTLY tx ON s.t (x); INSERT INTO s.other VALUES (4)});
d_caught_up();
is(d_dst(q{SELECT string_agg(tag, ', ' ORDER BY id) FROM flo.ddl_log
	WHERE outcome = 'given_up' AND detail ~ 's.t" does not exist'}), 'ALTER TABLE, CREATE INDEX',
	'one that cannot be run is told, and passed over');
is_same_table($source, $dest, 's.other', 'nothing waits for it', 'd');
d_dst('CREATE TABLE s.t (id int PRIMARY KEY, v int, x int)');
d_taken_up('s.t');
is_same_table($source, $dest, 's.t', 'with a table that fits it is taken up', 'd');

d_dst(q{SELECT flo.give_up('k', 's.parent')});
d_src(q{BEGIN; INSERT INTO s.parent VALUES (2); INSERT INTO s.child VALUES (2, 2); COMMIT;
	DELETE FROM s.child WHERE id = 1; DELETE FROM s.parent WHERE id = 1});
d_caught_up();
is_same_table($source, $dest, 's.child', 'foreign keys to it do not stop others, with fire_triggers', 'd');
is(d_dst('SELECT string_agg(id::text, $$ $$) FROM s.parent'), '1', 'it stays as it was');
d_taken_up('s.parent');
is_same_table($source, $dest, "s.$_", "taken up: $_", 'd') for 'parent', 'child';
wait_until($dest, 'd', 'SELECT NOT EXISTS (SELECT FROM flo.unchecked_tables)', 'the keys to be checked') or die;

d_dst(q{SELECT flo.give_up('k', 's.other')});
d_src('INSERT INTO s.other VALUES (5); DROP TABLE s.other; INSERT INTO s.child VALUES (3, 2)');
d_caught_up();
is(d_dst('SELECT count(*) FROM flo.given_up'), 0, 'a table that the source drops is not given up any more');

# --- definitions that move it, or rows of it ------------------------------------------------------

sub d_given_up
{
	return d_dst(q{SELECT coalesce(string_agg(table_name, ' ' ORDER BY table_name), '') FROM flo.tables
		WHERE state = 'given up'});
}
sub d_same
{
	my ($table, $name) = @_;
	my $q = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 1)), 0) FROM $table t";
	is(d_dst($q), d_src($q), $name);
}

d_src(q{CREATE TABLE s.other (id int PRIMARY KEY, v int); CREATE TABLE s.away (id int PRIMARY KEY, v int);
	CREATE TABLE s.lost (id int PRIMARY KEY, v int);
	CREATE TABLE s.p (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
	CREATE TABLE s.p1 PARTITION OF s.p FOR VALUES FROM (0) TO (100);
	CREATE TABLE s.q (id int PRIMARY KEY, v int) PARTITION BY RANGE (id);
	CREATE TABLE s.q1 PARTITION OF s.q FOR VALUES FROM (0) TO (100);
	CREATE TABLE s.leaf (id int PRIMARY KEY, v int); INSERT INTO s.leaf VALUES (201, 1);
	INSERT INTO s.p VALUES (1, 1)});
d_caught_up();
d_dst(q{DROP TABLE s.q, s.lost; SELECT flo.give_up('k', t) FROM unnest('{s.p,s.leaf,s.away}'::text[]) t});
d_src(q{INSERT INTO s.p VALUES (2, 2); INSERT INTO s.leaf VALUES (202, 2); INSERT INTO s.away VALUES (1, 1);
	ALTER TABLE s.away RENAME TO moved});
d_caught_up();
is(d_given_up(), 's.leaf s.moved s.p', 'renamed, with nothing behind that');
d_src(q{CREATE SCHEMA elsewhere; ALTER TABLE s.moved SET SCHEMA elsewhere; ALTER TABLE s.p DETACH PARTITION s.p1;
	INSERT INTO s.p1 VALUES (3, 3)});
d_caught_up();
is(d_given_up(), 's.leaf s.p s.p1', 'one that leaves the group is forgotten; '
	  . 'of a partition that is detached as much is missing');
d_taken_up($_) for 's.p1', 's.p';
d_same("s.$_", "taken up: $_") for 'p', 'p1';
d_src(q{ALTER TABLE s.p ATTACH PARTITION s.leaf FOR VALUES FROM (200) TO (300); INSERT INTO s.p VALUES (203, 3)});
wait_until($dest, 'd', q{SELECT count(*) = 1 FROM flo.pending_ddl
	WHERE reason ~ 'rows of s.leaf would be missing in s.p'},
	'what would take it into another table to be held') or die;
my ($way_on) = d_dst('SELECT reason FROM flo.pending_ddl') =~ /(flo\.give_up\('k', '.*?'\))/;
d_dst("SELECT $way_on");
d_caught_up();
is(d_given_up(), 's.p', 'that one is given up instead, as the reason says');
d_taken_up('s.p');
d_same('s.p', 'taken up: the table that it became part of');

d_src(q{INSERT INTO s.q VALUES (1, 1)});
wait_until($dest, 'd', q{SELECT last_error ~ 'table "s.q"' FROM flo.status},
	'the worker to stop at a partitioned table') or die;
d_dst(q{SELECT flo.give_up('k', 's.q')});
d_src(q{CREATE TABLE s.q2 PARTITION OF s.q FOR VALUES FROM (100) TO (200); CREATE INDEX ON s.q1 (v); DROP TABLE s.q1;
	INSERT INTO s.q VALUES (101, 1); INSERT INTO s.other VALUES (6, 1)});
d_caught_up();
d_same('s.other', 'statements about partitions of one that is missing are passed over');
d_src(q{ALTER TABLE s.q DETACH PARTITION s.q2; INSERT INTO s.q2 VALUES (102, 1); DROP TABLE s.q, s.q2;
	INSERT INTO s.lost VALUES (1, 1)});
wait_until($dest, 'd', q{SELECT last_error ~ 'table "s.lost"' FROM flo.status},
	'the worker to stop at a missing table') or die;
is(d_given_up(), '', 'and it is forgotten with them');
d_dst(q{SELECT flo.give_up('k', 's.lost')});
d_src(q{DROP TABLE s.lost, s.child});
d_caught_up();
is(d_dst(q{SELECT to_regclass('s.child') IS NULL}) . d_given_up(), 't', 'DROP TABLE of it and another');
d_dst(q{SELECT flo.give_up('k', 's.other')});
d_src(q{BEGIN; DROP TABLE s.other; CREATE TABLE s.other (id int PRIMARY KEY, w int); INSERT INTO s.other VALUES (1, 1);
	COMMIT});
d_caught_up();
d_same('s.other', 'one that is made again in the same transaction is another one');

done_testing();
