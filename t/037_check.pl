# flo.check() and flo.check_plan() on real servers: typical mistakes, each of which
# is a row with a status and a hint before the first row is lost or stuck; the
# statement of the hint mends it, and the row is gone.  Whatever is wrong has a hint.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $bucket = '$KV.pg_flo_state';

sub src { return $source->safe_psql('postgres', $_[0]); }
sub dst { return $dest->safe_psql('postgres', $_[0]); }

# --- looking ---------------------------------------------------------------------------------

# Rows, as hashes; none that says that something is wrong is without a hint
my %without_hint;
sub rows
{
	my ($node, $call, $role) = @_;
	my $as = $role ? "SET ROLE $role; " : '';
	my $rows = decode_json($node->safe_psql('postgres', "${as}SELECT json_agg(c) FROM $call c"));

	for (@$rows)
	{
		$without_hint{"$_->{item}: $_->{detail}"} = 1 if $_->{status} ne 'ok' && ($_->{hint} // '') eq '';
		$without_hint{"$_->{item}: status $_->{status}"} = 1 if $_->{status} !~ /^(ok|warning|error)$/;
		$without_hint{"$_->{item}: no detail"} = 1 if ($_->{detail} // '') eq '';
	}
	return @$rows;
}

sub find
{
	my ($node, $call, $item, $status, $detail) = @_;
	return grep { $_->{item} eq $item && $_->{status} eq $status && $_->{detail} =~ $detail } rows($node, $call);
}

# The row comes; its hint
sub tells
{
	my ($node, $call, $item, $status, $detail, $hint, $name) = @_;
	my $row;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	my $there = await(sub { ($row) = find($node, $call, $item, $status, $detail); return defined $row; }, $name);
	ok($there, "$name: told")
		or diag(join "\n", map { join ' | ', $item, map { $_ // '' } @$_{qw(status item detail hint)} } rows($node,
		$call));
	like($row->{hint} // '', $hint, "$name: what to do") if $there;
	return $row->{hint} // '';
}

# And is there no more
sub is_mended
{
	my ($node, $call, $item, $status, $detail, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	ok(await(sub { !find($node, $call, $item, $status, $detail) }, $name), "$name: mended");
}

# A mistake, which the statement of its hint mends
sub mistake
{
	my ($node, $call, $item, $status, $detail, $hint, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $statement = tells($node, $call, $item, $status, $detail, $hint, $name);

	my ($rc, $out, $error) = $node->psql('postgres', $statement, on_error_stop => 1);
	is($rc, 0, "$name: its hint is a statement that runs") or diag("$statement\n$error");
	is_mended($node, $call, $item, $status, $detail, $name);
}
my $check = q{flo.check('g')};

# --- before there is a group ------------------------------------------------------------------

src(q{
	CREATE SCHEMA shop;
	CREATE EXTENSION citext SCHEMA public;
	CREATE TYPE shop.mood AS ENUM ('good', 'bad');
	CREATE TABLE shop.items (id int PRIMARY KEY, name text);
	CREATE TABLE shop."Odd 'one'" (id int PRIMARY KEY);
	CREATE TABLE wide (id int PRIMARY KEY, big bigint, at timestamptz, price numeric(10,2), tags text[],
		double int GENERATED ALWAYS AS (id * 2) STORED);
	CREATE TABLE moody (id int PRIMARY KEY, m shop.mood);
	CREATE TABLE loose (id int PRIMARY KEY, c citext);
	CREATE TABLE owned (id int PRIMARY KEY, v text, list int[]);
	CREATE TABLE seen (id int PRIMARY KEY);
	CREATE TABLE keyless (id int);
	CREATE UNLOGGED TABLE fleeting (id int PRIMARY KEY);
});

my $plan = 'flo.check_plan()';
mistake($source, $plan, 'replica identities of the plan', 'error', qr/public\.keyless$/,
	qr/^ALTER TABLE public\.keyless/, 'a table without a key');
mistake($source, $plan, 'unlogged and foreign tables of the plan', 'warning', qr/unlogged: public\.fleeting/,
	qr/SET LOGGED;$/, 'an unlogged table');

my $writer = FloTest::Session->new($source, 'postgres');
$writer->query('BEGIN; CREATE TABLE open_table (id int PRIMARY KEY)');
src(q{BEGIN; INSERT INTO wide (id) VALUES (1); PREPARE TRANSACTION 'left over'});
mistake($source, $plan, 'prepared transactions', 'warning', qr/'left over' in database postgres/,
	qr/^ROLLBACK PREPARED 'left over';/,
	'a prepared transaction');
mistake($source, $plan, 'open transactions', 'warning', qr/pid \d+ of role \w+ in database postgres/,
	qr/^SELECT pg_terminate_backend\(\d+\);/,
	'an open transaction that has written');

$writer = FloTest::Session->new($source, 'postgres');
$writer->query('BEGIN; LOCK TABLE wide');
mistake($source, $plan, 'locks of the plan', 'warning', qr/^tables that other sessions are changing.*: public\.wide$/,
	qr/^SELECT pg_terminate_backend\(\d+\);/,
	'a table that is being changed: looked past');
is(src('SELECT count(*) FROM flo.groups'), 0, 'check_plan() has made nothing');
is(src('SELECT count(*) FROM pg_publication'), 0, 'no publication either');

my $small = flo_node('small', $nats,
	conf => "wal_level = replica\nmax_worker_processes = 5\n"
	  . "max_replication_slots = 1\nmax_slot_wal_keep_size = '1GB'\n");
tells($small, 'flo.check()', 'wal_level', 'warning', qr/enough for a destination only/,
	qr/^ALTER SYSTEM SET wal_level = 'logical';/,
	'wal_level = replica before there is a group');
tells($small, $plan, 'wal_level', 'error', qr/replica/, qr/^ALTER SYSTEM SET wal_level = 'logical';/,
	'check_plan() on such a server');
tells($small, $plan, 'worker processes', 'warning', qr/slower/, qr/^ALTER SYSTEM SET max_worker_processes = \d+;/,
	'too few processes for a copy');
tells($small, $plan, 'replication slot of the plan', 'warning', qr/max_slot_wal_keep_size/, qr/lost/,
	'WAL that is not kept for ever');
$small->safe_psql('postgres', q{SELECT pg_create_physical_replication_slot('taken')});
my $statement = tells($small, $plan, 'replication slots', 'error', qr/1 of 1 are in use/,
	qr/^ALTER SYSTEM SET max_replication_slots = 2;/, 'no free slot');
$small->safe_psql('postgres', $_) for map { s/ --.*//r } $statement,
  tells($small, $plan, 'wal_level', 'error', qr/replica/, qr/ALTER SYSTEM/, 'again'),
  tells($small, $plan, 'worker processes', 'warning', qr/slower/, qr/ALTER SYSTEM/, 'again');
$small->restart;
is_mended($small, $plan, $_, 'error', qr/./, "$_, after the restart") for 'wal_level', 'replication slots';
is_mended($small, $plan, 'worker processes', 'warning', qr/./, 'processes, after the restart');
$small->safe_psql('postgres', q{SELECT pg_drop_replication_slot('taken')});
$small->stop;

# --- a destination before the first row ------------------------------------------------------

src(q{CREATE TABLE keyless2 (id int);
	SELECT flo.create_replicator('g', mode => 'stream', options => '{"keyless_tables": "skip"}')});
dst(q{SELECT flo.create_worker('g')});
tells($dest, $check, 'tables of group g', 'warning', qr/told nothing of its tables/, qr/flo\.start_group\('g'\);/,
	'a source that was not started');
mistake($source, $check, 'member replicator of group g', 'warning', qr/^stopped/, qr/^SELECT flo\.start_group/,
	'a member that was not started');
wait_state($source, 'g', 'replicator', 'streaming');

mistake($dest, $check, 'extension citext of group g', 'error', qr/public\.loose/, qr/^CREATE EXTENSION citext;$/,
	'an extension');
mistake($dest, $check, 'schemas of group g', 'error', qr/missing here: shop/, qr/^CREATE SCHEMA shop;$/, 'a schema');
dst(q{
	CREATE TABLE wide (id bigint NOT NULL, big int, at int, price numeric(6,1), must int NOT NULL,
		CONSTRAINT wide_big UNIQUE (big));
	CREATE TABLE moody (id int PRIMARY KEY);
	CREATE VIEW seen AS SELECT 1 AS id;
});
tells($dest, $check, 'types of group g', 'error', qr/shop\.mood; columns of these have them: public\.moody/,
	qr/pg_dump/, 'a type');
dst(q{CREATE TYPE shop.mood AS ENUM ('good', 'bad')});
is_mended($dest, $check, 'types of group g', 'error', qr/./, 'a type');

my $hint = tells($dest, $check, 'tables of group g', 'error', qr/missing here: .*shop\."Odd 'one'".*shop\.items/,
	qr/^pg_dump --schema-only -t .* SOURCE \| psql 'postgres'/, 'tables');
($hint) = $hint =~ /^(pg_dump .*? SOURCE \| psql 'postgres')/;
my ($source_connection, $dest_connection) = map { my $c = $_->connstr('postgres'); qq{"$c"} } $source, $dest;
$hint =~ s/SOURCE/$source_connection/;
$hint =~ s/psql 'postgres'/psql -q -v ON_ERROR_STOP=1 -d $dest_connection/;
is(system($hint), 0, 'the command of the hint runs');
is_mended($dest, $check, 'tables of group g', 'error', qr/missing/, 'tables');

tells($dest, $check, 'tables of group g', 'error', qr/no tables here.*public\.seen/, qr/routes/,
	'a view where a table should be');
dst('DROP VIEW seen; CREATE TABLE seen (id int PRIMARY KEY)');
# from 18 on generated columns are sent
my $sent = $source->pg_version >= 18 ? ', double' : '';
mistake($dest, $check, 'columns of group g', 'error', qr/public\.moody \(m\).*public\.wide \(tags$sent\)/,
	qr/ADD COLUMN m shop\.mood; ALTER/, 'columns');
mistake($dest, $check, 'column types of group g', 'error',
	qr/cannot be assigned: public\.wide\.at is integer here, timestamp with time zone at the source/,
	qr/^ALTER TABLE public\.wide ALTER COLUMN at TYPE timestamp with time zone USING/,
		'a type that takes no value of the source');
mistake($dest, $check, 'column types of group g', 'warning',
	qr/not every value fits: public\.wide\.big is integer here, .*public\.wide\.price is numeric\(6,1\) here/,
	qr/TYPE bigint; ALTER .* TYPE numeric\(10,2\);$/,
	'types that not every value fits');
mistake($dest, $check, 'required columns of group g', 'error', qr/public\.wide\.must/,
	qr/ALTER COLUMN must DROP NOT NULL;$/, 'a column that nobody fills');
mistake($dest, $check, 'keys of group g', 'warning', qr/found by these.*public\.wide \(id\)/,
	qr/^ALTER TABLE public\.wide ADD PRIMARY KEY \(id\);$/, 'a key');
mistake($dest, $check, 'keys of group g', 'warning', qr/unique here and not at the source.*public\.wide \(big\)/,
	qr/DROP CONSTRAINT wide_big;/, 'a key too many');

dst(q{CREATE FUNCTION trg() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
	CREATE TRIGGER audit AFTER INSERT ON owned FOR EACH ROW EXECUTE FUNCTION trg();
	ALTER TABLE owned ENABLE ALWAYS TRIGGER audit});
mistake($dest, $check, 'triggers of group g', 'warning', qr/audit on public\.owned/,
	qr/^ALTER TABLE public\.owned ENABLE TRIGGER audit;/, 'a trigger that fires always');

dst(q{INSERT INTO flo.routes (group_name, source_schema, source_table, destination_schema, destination_table) VALUES
	('g', 'shop', 'items', 'shop', 'New items'), ('g', 'public', 'seen', 'public', 'wide')});
tells($dest, $check, 'shared tables of group g', 'warning', qr/public\.wide from public\.seen and public\.wide/,
	qr/flo\.routes/, 'two tables with one target');
dst(q{DELETE FROM flo.routes WHERE source_table = 'seen'});
is_mended($dest, $check, 'shared tables of group g', 'warning', qr/./, 'two tables with one target');
mistake($dest, $check, 'tables of group g', 'error', qr/missing here: shop\."New items"/,
	qr/^CREATE TABLE shop\."New items" \(id integer NOT NULL, name text, PRIMARY KEY \(id\)\);$/,
	'the target of a route');

# what the destination learns of the source while it goes on
src('ALTER TABLE owned ADD COLUMN later date');
mistake($dest, $check, 'columns of group g', 'error', qr/public\.owned \(later\)/, qr/ADD COLUMN later date;$/,
	'a column that the source has added');
src('CREATE TABLE made_later (id int PRIMARY KEY)');
tells($dest, $check, 'tables of group g', 'error', qr/public\.made_later/, qr/pg_dump/,
	'a table that the source has made');
src(q{SELECT flo.remove_table('g', 'made_later')});
is_mended($dest, $check, 'tables of group g', 'error', qr/made_later/, 'a table that has left the group');

# --- whose rights ------------------------------------------------------------------------------

dst(q{
	CREATE ROLE applier; CREATE ROLE keeper; CREATE ROLE watcher; GRANT pg_monitor TO watcher;
	CREATE ROLE nobody_special;
	ALTER TABLE owned OWNER TO keeper;
	SELECT flo.set_owner('g', 'postgres', 'applier');
	SELECT flo.alter_worker('g', 'postgres', '{"tables": ["owned", "shop.gone"]}')});
tells($dest, $check, 'option tables of member postgres of group g', 'warning', qr/does not publish: shop\.gone/,
	qr/flo\.alter_worker/, 'a table of the option that is not there');
dst(q{SELECT flo.alter_worker('g', 'postgres', '{"tables": ["owned"]}')});
is_mended($dest, $check, 'option tables of member postgres of group g', 'warning', qr/./,
	'a table of the option that is not there');
my $rights = 'privileges of group g';
mistake($dest, $check, $rights, 'error', qr/role applier may not act as the owner.*public\.owned/,
	qr/^GRANT keeper TO applier;$/, 'a role that may not act as the owner');
dst(q{REVOKE keeper FROM applier; ALTER TABLE owned OWNER TO CURRENT_USER});
mistake($dest, $check, $rights, 'error', qr/may not act as the owner/,
	qr/^SELECT flo\.alter_worker\('g', 'postgres', '\{"run_as_owner": true\}'\);$/,
	'the same where the owner is a superuser, which nobody is to become');
mistake($dest, $check, $rights, 'error',
	qr/role applier lacks privileges on: public\.owned \(SELECT, INSERT, UPDATE, DELETE, TRUNCATE\)/,
	qr/^GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON public\.owned TO applier;$/, 'privileges on a table');
dst(q{REVOKE UPDATE ON owned FROM applier; REVOKE USAGE ON SCHEMA public FROM PUBLIC});
mistake($dest, $check, $rights, 'error', qr/lacks privileges on: public\.owned \(UPDATE\)/,
	qr/^GRANT UPDATE ON public\.owned TO applier;$/, 'one privilege');
mistake($dest, $check, $rights, 'error', qr/role applier lacks USAGE on the schemas: public/,
	qr/^GRANT USAGE ON SCHEMA public TO applier;$/, 'the schema');
dst(q{GRANT USAGE ON SCHEMA public TO PUBLIC; ALTER TABLE owned ENABLE ROW LEVEL SECURITY});
mistake($dest, $check, $rights, 'error', qr/row-level security applies to role applier on: public\.owned/,
	qr/^ALTER TABLE public\.owned DISABLE ROW LEVEL SECURITY;$/,
	'row-level security');
dst(q{SELECT flo.set_owner('g', 'postgres', current_user::regrole);
	SELECT flo.alter_worker('g', 'postgres', '{"run_as_owner": null, "tables": null}')});
ok((find($dest, $check, 'tables of group g', 'ok', qr/^\d+ of the source are here/)), 'now all is as it should be')
  or diag(explain([ grep { $_->{status} ne 'ok' } rows($dest, $check) ]));

# --- while it runs ---------------------------------------------------------------------------

mistake($dest, $check, 'member postgres of group g', 'warning', qr/^stopped/,
	qr/^SELECT flo\.start_group\('g', 'postgres'\);$/, 'a worker that was not started');
wait_state($dest, 'g', 'postgres', 'streaming');

# who watches sees the same
my $seen = sub { return join "\n", sort map { "$_->{item}|$_->{status}" } rows($_[0], 'flo.check()', $_[1]) };
my ($theirs, $ours);
# something may change between two looks
await(sub { ($theirs, $ours) = map { $seen->($dest, $_) } 'watcher', undef; $theirs eq $ours }, 'the same twice');
is($theirs, $ours, 'members of pg_monitor see what superusers do');
is(error_of($dest, q{SET ROLE nobody_special; SELECT * FROM flo.check()}) =~ /42501/ ? 1 : 0, 1, 'others do not');

# the same definitions are not written again, neither by another process nor for
# what concerns no table of the group
sub written
{
	my ($group, $key) = @_;
	return decode_json($nats->request("\$JS.API.STREAM.MSG.GET.KV_pg_flo_state_$group",
		qq({"last_by_subj":"${bucket}_$group.$key"})))->{message}{seq};
}
my @before = map { written('g', $_) } 'tables', 'tables.0';
src(q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
start_member($source, 'g', 'replicator');
src(q{CREATE TEMP TABLE passing (id int); ANALYZE wide});
is_deeply([ map { written('g', $_) } 'tables', 'tables.0' ], \@before, 'what has not changed is not written again');
src(q{CREATE TABLE shop.marked (id int PRIMARY KEY)});
dst(q{CREATE TABLE shop.marked (id int PRIMARY KEY)});
ok(await(sub { written('g', 'tables.0') > $before[1] }, 'the definition'), 'what has is');
is(written('g', 'tables'), $before[0], 'that alone');
wait_caught_up($source, $dest, 'g');

# nor are they gone for long when somebody has removed them
for ('tables', 'tables.0')
{
	my $key = $_;
	$nats->publish("${bucket}_g.$key", '');
	ok(await(sub {
				my $message = $nats->api('STREAM.MSG.GET.KV_pg_flo_state_g', { last_by_subj => "${bucket}_g.$key" });
				return ($message->{message}{data} // '') ne '';
			}, "key $key"), "the key $key is removed: it is written again");
}

# an error's hint is that of the row
dst('DROP TABLE shop.marked');
src('INSERT INTO shop.marked VALUES (1)');
tells($dest, $check, 'member postgres of group g', 'warning', qr/^backoff.*shop\.marked/,
	qr/^Create the table here.*tried again/, 'an error while applying');
tells($dest, $check, 'tables of group g', 'error', qr/shop\.marked/, qr/pg_dump/, 'and the table');
dst('CREATE TABLE shop.marked (id int PRIMARY KEY)');
wait_caught_up($source, $dest, 'g');

# letters that nobody took
dst(qq{SELECT flo.create_worker('g', 'webhook', options => '{"url": "http://127.0.0.1:1/"}');
	INSERT INTO flo.dead_letters (group_name, worker_name, url, event_id, event) VALUES ('g', 'webhook',
		'http://127.0.0.1:1/', 'x', '{}')});
tells($dest, $check, 'dead letters of member webhook of group g', 'warning', qr/^1, the oldest since/,
	qr/^SELECT flo\.redrive_group\('g'\);/, 'a dead letter');
dst(q{SELECT flo.drop_worker('g', 'webhook', force => true)});

# a destination that is gone holds the stream
my $report = encode_json({ version => 1, worker => 'gone', system_identifier => '77', database => 'away',
	lsn => '0/1', seq => 0,
	copied_seq => 0, copying => JSON::PP::false, awaits_resync => JSON::PP::false, missing_chunks => 0,
		missing_attempt => 0,
	copy_attempt => 0, at => '2026-01-31T12:00:00.000000Z' });
$nats->publish("${bucket}_g.worker.pgflo_g_gone_1", $report);
my $gone = tells($source, $check, 'worker gone of group g', 'warning',
	qr/"gone" in database "away" \(system 77\) has not been seen since 2026-01-31.*the stream keeps \S+ \S+ for it/,
	qr/SELECT flo\.drop_consumer\('g', 'pgflo_g_gone_1'\);$/, 'a destination that is gone');
src($1) if $gone =~ /here: (SELECT flo\.drop_consumer.*)$/;
is_mended($source, $check, 'worker gone of group g', 'warning', qr/./, 'a destination that is gone');

# documents that somebody else wrote
$nats->publish("${bucket}_g.tables", '{"version": 1, "mode": 7}');
tells($dest, $check, 'tables of group g', 'warning', qr/not compared.*"mode"/, qr/NATS account/,
	'a document that is none');

# ... and such as no replicator writes: nothing of them gets into a statement unquoted
my $sorry = q{hint LIKE '%; DROP%' OR hint LIKE '%pg_catalog%' OR hint LIKE '%flo.workers%'};
my $document = sub {
	my ($key, %fields) = @_;
	$nats->publish("${bucket}_g.$key", encode_json({ version => 1, pieces => 1, %fields }));
};
my $forge = sub {
	my ($schema, $table, @columns) = @_;
	$document->('tables.0', lsn => '0/1', tables => [ { relation => 1, schema => $schema, table => $table,
		columns => [ { name => 'id', type => 'integer' }, @columns ] } ]);
};
src(q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
$document->('tables', mode => 'stream', sync_schema => JSON::PP::false, track_ddl => JSON::PP::false);
for my $type ('int; DROP TABLE owned; --', 'int, DROP COLUMN id', 'int DEFAULT now()', '(((', 'int(1 -- )', '"int',
	'int[] x', '')
{
	$forge->('public', 'owned', { name => 'forged', type => $type });
	tells($dest, $check, 'tables of group g', 'warning',
		qr/not compared.*"tables.0".*"columns\[1\].type" is not the name/, qr/NATS account/,
		"a type that is none: '$type'");
}
for my $type ('numeric(100000)', 'varchar(99999999999)')
{
	$forge->('public', 'owned', { name => 'forged', type => $type });
	tells($dest, $check, 'tables of group g', 'warning', qr/not compared.*malformed document "tables"/,
		qr/NATS account/, "a type that cannot be: $type");
}
for my $type ('timestamp(3) without time zone', 'interval day to second(3)', 'character varying(10)[]', '"char"',
	'"My; type"."x"" y"(Point,4326)', 'double precision', 'bit varying(5)')
{
	$forge->('public', 'owned', { name => 'forged', type => $type });
	ok(!find($dest, $check, 'tables of group g', 'warning', qr/malformed/), "a type that may be: $type");
}
$forge->("a\n\";'", "b'\$(c)\n; DROP", { name => "d'\";\n; DROP", type => 'text', type_schema => 'e"',
	type_name => 'f;', extension => "g\n; DROP" });
tells($dest, $check, 'schemas of group g', 'error', qr/missing here/, qr/^CREATE SCHEMA "a\n"";'";$/,
	'names are quoted');
tells($dest, $check, 'tables of group g', 'error', qr/missing here/,
	qr/^pg_dump --schema-only -t '"a\n"";'\\''"\."b'\\''\$\(c\)\n; DROP"' SOURCE/, 'for a shell, too');
for (['pg_catalog', 'pg_class'], ['information_schema', 'sql_parts'], ['flo', 'workers'])
{
	$forge->(@$_, { name => 'forged', type => 'text' });
	tells($dest, $check, 'tables of group g', 'error', qr/not applied to system tables: $_->[0]\.$_->[1]$/, qr/routes/,
		"a table of the system: $_->[0]");
	is(dst("SELECT count(*) FROM $check WHERE $sorry"), 0, 'which no hint is about');
}
$document->('tables.0', lsn => '0/1', tables => [ map { { relation => $_, schema => 'many', table => "t$_",
	columns => [ map { { name => "c$_", type => 'integer' } } 1 .. 10 ] } } 1 .. 1500 ]);
is(dst(qq{SET statement_timeout = '30s'; SELECT detail ~ 'and 1480 more' FROM $check
	WHERE item = 'tables of group g'}), 't', 'many tables are compared within seconds');

# positions that are no server's
$document->('source', lsn => 'FFFFFFFF/FFFFFFFF', system_identifier => '5', epoch => 1,
	generation => dst(q{SELECT generation FROM flo.progress WHERE group_name = 'g'}), at => '2026-01-31T12:00:00Z');
ok(wait_until($dest, 'postgres', q{SELECT lag_bytes = 9223372036854775807 FROM flo.status WHERE group_name = 'g'},
	'the position'), 'a position beyond all others');
is(dst('SELECT flo.metrics() IS NOT NULL AND flo.healthy() IS NOT NULL AND EXISTS (SELECT FROM flo.overview)'), 't',
	'is told, and nothing fails of it');

# nor sizes of a copy
is(dst(q{BEGIN; INSERT INTO flo.copies (group_name, worker_name, generation, phase, started_at)
		VALUES ('g', 'postgres', gen_random_uuid(), 'loading', now());
	INSERT INTO flo.planned_tables (group_name, worker_name, relation, schema_name, table_name, attempt, bytes, tuples)
		SELECT 'g', 'postgres', i, 's', 't' || i, 1, 9223372036854775807, 9223372036854775807
		  FROM generate_series(1, 3) i;
	SELECT bytes_total = 9223372036854775807 AND rows_total = 9223372036854775807 FROM flo.copy_summary('g')}), 't',
	'a copy of more than there can be is told, too');

# what a destination says of itself
my $evil = encode_json({ %{ decode_json($report) }, worker => "w'); DROP TABLE owned; --", database => "d'; DROP" });
$nats->publish("${bucket}_g.worker.$_", $evil) for 'pgflo_g_gone_1', "x');SELECT(1);--";
$nats->publish("${bucket}_g.worker.y');SELECT(1);--", 'x');
my $quoted = tells($source, $check, "worker w'); DROP TABLE owned; -- of group g", 'warning', qr/has not been seen/,
	qr/start_group\('g', 'w''\); DROP TABLE owned; --'\);.*: SELECT flo\.drop_consumer\('g', 'pgflo_g_gone_1'\);$/,
	'a worker with a name of its own');
is(src("SELECT count(*) FROM $check WHERE hint LIKE '%SELECT(1)%'"), 0, 'what no worker can be called is none');
src($1) if $quoted =~ /here: (SELECT flo\.drop_consumer.*)$/;

src(q{SELECT flo.start_group('g')});
wait_state($source, 'g', 'replicator', 'streaming');
src(q{CREATE TABLE shop.written_anew (id int PRIMARY KEY)});
tells($dest, $check, 'tables of group g', 'error', qr/shop\.written_anew/, qr/pg_dump/,
	'what the replicator writes counts again');
dst(q{CREATE TABLE shop.written_anew (id int PRIMARY KEY)});

# --- a copy that is to come -------------------------------------------------------------------

src(q{CREATE TABLE copied (id int PRIMARY KEY, v text); INSERT INTO copied VALUES (1, 'x');
	CREATE TABLE split (id int PRIMARY KEY) PARTITION BY LIST (id);
	CREATE TABLE split1 PARTITION OF split FOR VALUES IN (1);
	SELECT flo.create_replicator('c', tables => '{copied,split}', mode => 'copy_and_stream', sync_schema => true,
		track_ddl => true); SELECT flo.start_group('c')});
dst(q{GRANT keeper TO CURRENT_USER; SELECT flo.create_worker('c'); SELECT flo.set_owner('c', 'postgres', 'applier');
	REVOKE CREATE ON SCHEMA public FROM PUBLIC});
my $copy = q{flo.check('c')};
tells($dest, $copy, 'tables of group c', 'ok', qr/the copy or DDL of the source makes them: public\.copied/, qr/^$/,
	'a table that the copy makes');
mistake($dest, $copy, 'privileges of group c', 'error', qr/role applier lacks CREATE.*schema public/,
	qr/^GRANT CREATE ON SCHEMA public TO applier;$/,
	'a role that cannot make it');
dst(q{SELECT flo.set_owner('c', 'postgres', current_user::regrole);
	CREATE TABLE copied (id int PRIMARY KEY, v text);
	INSERT INTO copied VALUES (7, 'mine');
	CREATE TABLE split (id int PRIMARY KEY) PARTITION BY LIST (id);
	CREATE TABLE split1 PARTITION OF split FOR VALUES IN (1)});
for ([ $dest, $copy ], [ $source, $copy ], [ $source, $plan ])
{
	my ($node, $call) = @$_;
	my $locker = FloTest::Session->new($node, 'postgres');
	$locker->query('BEGIN; LOCK TABLE split1');
	is($node->safe_psql('postgres', "SET lock_timeout = '1ms'; SELECT count(*) > 0 FROM $call"), 't',
		$node->name . ": $call waits for nobody who has locked a partition");
	$locker->close;
	is($node->safe_psql('postgres', qq{BEGIN; DO \$\$ BEGIN PERFORM * FROM $call; PERFORM * FROM flo.tables; END \$\$;
		SELECT string_agg(relation::regclass::text, ' ') FROM pg_locks
		WHERE pid = pg_backend_pid() AND relation >= 16384 AND relation::regclass::text !~ '^flo[.]'}), '',
		'and holds nobody up');
}
mistake($dest, $copy, 'rows before the copy of member postgres of group c', 'warning',
	qr/public\.copied \(8192 bytes\)/,
	qr/flo\.alter_worker\('c', 'postgres', '\{"copy_into": "merge"\}'\);/, 'rows that the copy would meet');
dst(q{SELECT flo.start_group('c')});
ok(wait_until($dest, 'postgres', 'SELECT count(*) = 2 FROM copied', 'the copy'), 'it has come');

# what DDL on its way is going to make is not missing, and afterwards it is there
wait_state($dest, 'c', 'postgres', 'streaming');
dst(q{SELECT flo.stop_group('c')});
wait_state($dest, 'c', 'postgres', 'stopped');
my $piece = written('c', 'tables.0');
src('ALTER TABLE copied ADD COLUMN w int');
ok(await(sub { written('c', 'tables.0') > $piece }, 'the definition'), 'the column is told of');
is(scalar(find($dest, $copy, 'columns of group c', 'error', qr/./)), 0,
	'a column that a statement brings is not missing');
dst(q{SELECT flo.start_group('c')});
wait_caught_up($source, $dest, 'c');
is(scalar(find($dest, $copy, 'columns of group c', 'error', qr/./)), 0, 'nor is it when that has come');
dst(q{ALTER TABLE copied DROP COLUMN w});
tells($dest, $copy, 'columns of group c', 'error', qr/public\.copied \(w\)/, qr/ADD COLUMN w integer;/,
	'one that has gone here');

# --- the source's slot -------------------------------------------------------------------------

src(q{SELECT flo.stop_group('c')});
wait_state($source, 'c', 'replicator', 'stopped');
src(q{SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'pgflo%\_c'});
my $resync = tells($source, $copy, 'replication slot of group c', 'error', qr/the slot is gone/,
	qr/^SELECT flo\.resync\('c'\);/, 'a slot that is gone');
src($resync);
src(q{SELECT flo.start_group('c')});
is_mended($source, $copy, 'replication slot of group c', 'error', qr/./, 'a slot that is gone');

# --- without a broker ---------------------------------------------------------------------------

$nats->stop;
tells($source, 'flo.check()', 'NATS', 'error', qr/./, qr/./, 'no broker');
tells($source, $plan, 'NATS', 'error', qr/./, qr/./, 'nor for a plan');
tells($dest, $check, 'member postgres of group g', 'warning', qr/^waiting/, qr/./, 'a member that waits for it');

# a broker with little room, and with few streams
sub account
{
	return "accounts { A { jetstream: { max_mem: 1M, $_[0], max_consumers: 20 },"
	  . " users: [ { user: pgflo, password: pgflo } ] } }\nno_auth_user: pgflo";
}
$nats->configure(account('max_file: 100MB, max_streams: 10'));
$nats->start;
my $large = q{flo.check_plan(options => '{"stream_max_bytes": "1GB"}')};
tells($source, $large, 'room at the broker', 'error', qr/has 100 MB left of 100 MB; the stream may take 1024 MB/,
	qr/stream_max_bytes/, 'too little room');
$nats->set_room('1GB', account('max_file: 100MB, max_streams: 2'));
tells($source, $plan, 'room at the broker', 'error', qr/of 2 streams, a group needs 3/, qr/limit of streams/,
	'too few streams');

is(join("\n", sort keys %without_hint), '', 'whatever was wrong had a hint');
done_testing();
