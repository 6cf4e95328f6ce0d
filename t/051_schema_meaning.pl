# sync_schema brings what pg_dump means, whatever settings, names and kinds of
# objects there are; what no table needs comes along in a group over schemas,
# or is passed over without stopping anything.

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

# What pg_dump says of a database, in plain settings, without headings
sub dump_of
{
	my ($node, $db) = @_;
	local $ENV{PGOPTIONS} = '-c standard_conforming_strings=on -c bytea_output=hex -c TimeZone=GMT -c '
		  . 'quote_all_identifiers=off -c array_nulls=on';
	my ($out, $err) = run_command([ 'pg_dump', '-s', '--no-owner', '--no-publications', '-N', 'flo', '-p', $node->port,
		'-h', $node->host, $db ]);
	return [ grep { !/^(?:--|\\|SELECT|\s*$)/ } split /\n/, $out ];
}

sub new_database
{
	my ($name) = @_;
	$_->safe_psql('postgres', "CREATE DATABASE $name") for $source, $dest;
	$_->safe_psql($name, 'CREATE EXTENSION pg_flo') for $source, $dest;
}

sub end_group
{
	my ($db, $group) = @_;
	$dest->safe_psql($db, "SELECT flo.drop_group('$group')");
	$source->safe_psql($db, "SELECT flo.drop_group('$group', purge_stream => true)");
}

sub copied
{
	my ($db, $group, %param) = @_;
	create_copy_group($source, $dest, $group, source_db => $db, dest_db => $db, sync_schema => 1,
		worker_options => q{'{"ddl_trust": "source"}'}, %param);
	wait_caught_up($source, $dest, $group, source_db => $db, dest_db => $db);
}

# --- settings of databases and roles --------------------------------------------------------

# What the text of a definition means depends on each of these, there or here
my @settings = ('standard_conforming_strings = off', 'bytea_output = escape', 'array_nulls = off',
	'transform_null_equals = on',
	'search_path = odd, public', 'TimeZone = \'Asia/Kolkata\'', 'DateStyle = \'SQL, DMY\'',
	'IntervalStyle = sql_standard',
	'xmloption = document', 'extra_float_digits = 0', 'check_function_bodies = on',
	'default_table_access_method = heap2', 'quote_all_identifiers = on');

new_database('settings');
for my $node ($source, $dest)
{
	$node->safe_psql('settings', 'CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler;
		CREATE SCHEMA odd');
}
$source->safe_psql('settings', <<'SQL');
CREATE TYPE public.e AS ENUM (E'x\\y', E'it''s');
CREATE TABLE public.t (id int PRIMARY KEY, path text DEFAULT E'c:\\dir', b bytea DEFAULT '\x00ff41',
	a text[] DEFAULT '{NULL,"NULL",x}',
	e public.e DEFAULT E'x\\y', d date DEFAULT '2024-02-01', i interval DEFAULT '1 day 02:03',
		f float8 DEFAULT 0.1 + 0.2,
	z timestamptz DEFAULT '2024-02-01 12:00+02', m money DEFAULT 12.5, x xml DEFAULT 'a<b/>',
	c text CHECK (c ~ E'^\\d+$'), n text CHECK ((n = NULL) IS NULL),
		g text GENERATED ALWAYS AS (E'\\' || id::text) STORED);
COMMENT ON TABLE public.t IS E'a\\b';
CREATE TABLE public.other (id int PRIMARY KEY) USING heap2;
CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.path := E'\\' || 'x\y'; RETURN NEW; END$$;
CREATE TRIGGER g BEFORE INSERT ON public.t FOR EACH ROW WHEN (NEW.path = E'\\') EXECUTE FUNCTION public.f();
CREATE TABLE public.same (id int PRIMARY KEY, v text DEFAULT E'\\');
INSERT INTO public.t (id, c) VALUES (1, '12'); INSERT INTO public.other VALUES (1);
SQL
$dest->safe_psql('settings', q{CREATE TABLE public.same (id int PRIMARY KEY, v text DEFAULT E'\\\\')});
my $there = dump_of($source, 'settings');
for my $node ($source, $dest)
{
	$node->safe_psql('postgres', "ALTER DATABASE settings SET $_") for @settings;
	$node->safe_psql('postgres', 'ALTER ROLE ' . $node->safe_psql('postgres', 'SELECT current_user')
		  . " IN DATABASE settings SET $_") for @settings;
}
copied('settings', 's');
is_deeply(dump_of($dest, 'settings'), $there,
	'definitions are the same whatever settings the databases and roles have');
is($dest->safe_psql('settings', 'SELECT amname FROM pg_class c JOIN pg_am a ON a.oid = relam
	WHERE c.oid = \'public.other\'::regclass'), 'heap2', 'with its access method');
is($dest->safe_psql('settings', 'SELECT action FROM flo.copied_objects WHERE object = \'table public.same\''), 'kept',
	'what is there is compared alike');
end_group('settings', 's');

# --- names ------------------------------------------------------------------------------------

# Each is a table, a column, an index, a type, a constraint and a function
my @names = ("t; Type: INDEX; Schema: public; Owner: postgres", "two\nlines",
	"\n--\n-- TOC entry 5 (class 1255 OID 3)\n-- Name: x", "it's", 'back\\slash\\',
	'do"ble', "caf\x{e9} \x{4e2d}\x{6587}", '; DROP TABLE x; --', ' ', '$1', '%s', 'x' x 63, '$$', '/*', '{}', 'UPPER',
	'select');

new_database('names');
my $sql = '';
for my $i (0 .. $#names)
{
	my $name = $names[$i];
	utf8::encode($name);
	$name =~ s/"/""/g;
	my $literal = $name =~ s/""/"/gr;
	$literal =~ s/'/''/g;
	my $short = substr($name, 0, 60) . $i % 10;
	$sql .= qq{CREATE SCHEMA "$name"; CREATE TYPE "$name"."$name" AS ENUM ('$literal');
		CREATE FUNCTION "$name"."$name"(int) RETURNS int IMMUTABLE LANGUAGE sql
			AS \$body\$ SELECT \$1 /* $literal */*/ \$body\$;
		CREATE TABLE "$name"."$name" ("$name" int CONSTRAINT "$short" PRIMARY KEY, e "$name"."$name"[],
			p text DEFAULT '$literal', CONSTRAINT "$name" CHECK ("$name"."$name"("$name") > 0));
		CREATE INDEX "${short}_" ON "$name"."$name" (p) WHERE p <> '$literal';
		COMMENT ON COLUMN "$name"."$name"."$name" IS '$literal';
		INSERT INTO "$name"."$name" VALUES (7, ARRAY['$literal']::"$name"."$name"[]);\n}
		  =~ s/CREATE TYPE "\K\Q$name\E"."\Q$name\E" AS/$name"."e" AS/r
		  =~ s/e "\Q$name\E"."\Q$name\E"\[\]/e "$name"."e"[]/r
		  =~ s/::"\Q$name\E"."\Q$name\E"\[\]/::"$name"."e"[]/r;
}
$sql =~ s{/\* (.*?) \*/\*/}{}sg;
$source->safe_psql('names', $sql);
copied('names', 'n');
is_deeply(dump_of($dest, 'names'), dump_of($source, 'names'), 'names of any kind are what they are');
is($dest->safe_psql('names', q{SELECT count(*) FROM pg_class
	WHERE relkind = 'r' AND oid >= 16384 AND relnamespace <> 'flo'::regnamespace}), scalar(@names),
	'all tables are there');
end_group('names', 'n');

# --- types that are made of functions -------------------------------------------------------------

new_database('shells');
$source->safe_psql('shells', q{
SET client_min_messages = error;
CREATE SCHEMA b; CREATE SCHEMA a; CREATE TYPE b.shell;
CREATE FUNCTION b.z_in(cstring) RETURNS b.shell IMMUTABLE STRICT LANGUAGE internal AS 'int4in';
CREATE FUNCTION b.a_out(b.shell) RETURNS cstring IMMUTABLE STRICT LANGUAGE internal AS 'int4out';
CREATE TYPE b.shell (INPUT = b.z_in, OUTPUT = b.a_out, LIKE = int4);
CREATE TYPE b.span;
CREATE FUNCTION b.canon(b.span) RETURNS b.span IMMUTABLE STRICT LANGUAGE internal AS 'int4range_canonical';
CREATE TYPE b.span AS RANGE (SUBTYPE = int4, CANONICAL = b.canon);
CREATE TYPE b.only_name;
CREATE FUNCTION b.lt(b.shell, b.shell) RETURNS bool IMMUTABLE STRICT LANGUAGE internal AS 'int4lt';
CREATE FUNCTION b.le(b.shell, b.shell) RETURNS bool IMMUTABLE STRICT LANGUAGE internal AS 'int4le';
CREATE FUNCTION b.eq(b.shell, b.shell) RETURNS bool IMMUTABLE STRICT LANGUAGE internal AS 'int4eq';
CREATE FUNCTION b.ge(b.shell, b.shell) RETURNS bool IMMUTABLE STRICT LANGUAGE internal AS 'int4ge';
CREATE FUNCTION b.gt(b.shell, b.shell) RETURNS bool IMMUTABLE STRICT LANGUAGE internal AS 'int4gt';
CREATE FUNCTION b.cmp(b.shell, b.shell) RETURNS int IMMUTABLE STRICT LANGUAGE internal AS 'btint4cmp';
CREATE OPERATOR b.< (LEFTARG = b.shell, RIGHTARG = b.shell, FUNCTION = b.lt, COMMUTATOR = OPERATOR(b.>),
	NEGATOR = OPERATOR(b.>=));
CREATE OPERATOR b.> (LEFTARG = b.shell, RIGHTARG = b.shell, FUNCTION = b.gt, COMMUTATOR = OPERATOR(b.<));
CREATE OPERATOR b.>= (LEFTARG = b.shell, RIGHTARG = b.shell, FUNCTION = b.ge);
CREATE OPERATOR b.<= (LEFTARG = b.shell, RIGHTARG = b.shell, FUNCTION = b.le);
CREATE OPERATOR b.= (LEFTARG = b.shell, RIGHTARG = b.shell, FUNCTION = b.eq);
CREATE OPERATOR CLASS b.shell_ops DEFAULT FOR TYPE b.shell USING btree AS OPERATOR 1 b.<, OPERATOR 2 b.<=,
	OPERATOR 3 b.=, OPERATOR 4 b.>=, OPERATOR 5 b.>, FUNCTION 1 b.cmp(b.shell, b.shell);
CREATE TABLE a.sh (id int PRIMARY KEY, s b.shell UNIQUE, ss b.shell[], r b.span);
INSERT INTO a.sh VALUES (1, '5', '{6,7}', '[1,3]')});
copied('shells', 'h', tables => q{'{a.sh}'});
is($dest->safe_psql('shells', 'TABLE a.sh'), '1|5|{6,7}|[1,4)',
	'base types and ranges with functions of their own come along');
end_group('shells', 'h');
$dest->safe_psql('shells', 'DROP TABLE a.sh');
copied('shells', 'h', tables => q{'{a.sh}'});
is($dest->safe_psql('shells', q{SELECT count(*) FROM flo.copied_objects
	WHERE object ~ '^type b.s|^SHELL' AND action = 'kept'}), '4', 'and are found the next time');
end_group('shells', 'h');

# --- foreign keys that the source's rows violate --------------------------------------------------

new_database('keys');
$source->safe_psql('keys', q{
CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p);
CREATE TABLE cp (id int PRIMARY KEY, p int REFERENCES p) PARTITION BY RANGE (id);
CREATE TABLE cp1 PARTITION OF cp FOR VALUES FROM (0) TO (10);
CREATE TABLE fine (id int PRIMARY KEY, p int REFERENCES p);
SET session_replication_role = replica; INSERT INTO c VALUES (1, 99); INSERT INTO cp VALUES (1, 99);
SET session_replication_role = origin; INSERT INTO p VALUES (1); INSERT INTO fine VALUES (1, 1)});
copied('keys', 'k');
$source->safe_psql('keys', 'INSERT INTO c VALUES (2, 1)');
wait_caught_up($source, $dest, 'k', source_db => 'keys', dest_db => 'keys');
is($dest->safe_psql('keys', 'SELECT count(*) FROM c'), '2',
	'a foreign key that the source\'s rows violate holds nothing up');
is($dest->safe_psql('keys',
	q{SELECT string_agg(conrelid::regclass || ':' || convalidated, ' ' ORDER BY conrelid::regclass::text)
	FROM pg_constraint WHERE contype = 'f' AND conparentid = 0 AND connamespace = 'public'::regnamespace}),
	'c:false cp:true fine:true', 'it is NOT VALID where it can be');
like($dest->safe_psql('keys', q{SELECT string_agg(detail, '; ' ORDER BY detail) FROM flo.ddl_log }
	  . q{WHERE tag = 'sync_schema'}),
	qr/constraint c_p_fkey on table public.c is not checked: .*violates foreign key/, 'and flo.ddl_log says so');
end_group('keys', 'k');

# --- functions that need a search_path ------------------------------------------------------------

new_database('paths');
$source->safe_psql('paths', q{
CREATE SCHEMA s1; CREATE TABLE s1.dict (id int PRIMARY KEY);
CREATE FUNCTION s1.known(int) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RETURN EXISTS (SELECT FROM dict WHERE id = $1)
	OR true; END$$;
SET search_path = s1; CREATE TABLE s1.data (id int PRIMARY KEY CHECK (s1.known(id))); INSERT INTO s1.data VALUES (1)});
create_copy_group($source, $dest, 'sp', source_db => 'paths', dest_db => 'paths', sync_schema => 1,
	worker_options => q{'{"ddl_trust": "source"}'}, wait => 0);
ok(wait_until($dest, 'paths', q{SELECT last_error ~ 'relation "dict" does not exist.*ALTER FUNCTION ... SET search_path'
	FROM flo.status}, 'the error'), 'a function that needs a search_path is told of');
$dest->safe_psql('paths', 'ALTER FUNCTION s1.known(int) SET search_path = s1');
wait_state($dest, 'sp', 'postgres', 'streaming', 'paths');
is($dest->safe_psql('paths', 'SELECT count(*) FROM s1.data'), '1', 'and with one the copy goes on');
end_group('paths', 'sp');

# --- the rest of the schemas ----------------------------------------------------------------------

my $rest = q{
CREATE SCHEMA app; CREATE SCHEMA elsewhere;
CREATE TABLE app.t (id int PRIMARY KEY, v int); INSERT INTO app.t SELECT i, i FROM generate_series(1, 10) i;
CREATE UNLOGGED TABLE app.unlogged (id int);
CREATE TYPE app.mood AS ENUM ('a'); CREATE DOMAIN app.dd AS int CHECK (VALUE > 0);
CREATE TYPE app.pair AS (a int, m app.mood); CREATE TYPE app.ir AS RANGE (SUBTYPE = int4);
CREATE SEQUENCE app.s START 5; CREATE COLLATION app.co (LOCALE = 'C');
CREATE VIEW app.vw AS SELECT id, v + 1 AS w FROM app.t; ALTER VIEW app.vw ALTER w SET DEFAULT 5;
COMMENT ON VIEW app.vw IS 'view';
CREATE VIEW app.over AS SELECT id FROM app.unlogged;
CREATE MATERIALIZED VIEW app.mv AS SELECT count(*) AS n FROM app.t; CREATE INDEX mvi ON app.mv (n);
CREATE VIEW app.by_key AS SELECT id, v, count(*) AS n FROM app.t GROUP BY id;
CREATE MATERIALIZED VIEW app.a_keyed AS SELECT * FROM app.by_key; CREATE UNIQUE INDEX ON app.a_keyed (id);
CREATE FUNCTION app.f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';
COMMENT ON FUNCTION app.f(int) IS 'a function';
CREATE FUNCTION app.trg() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER tr INSTEAD OF INSERT ON app.vw FOR EACH ROW EXECUTE FUNCTION app.trg();
CREATE PROCEDURE app.p() LANGUAGE sql AS 'SELECT 1'; CREATE AGGREGATE app.ag (int) (SFUNC = int4pl, STYPE = int);
CREATE VIEW elsewhere.v AS SELECT 1 AS one; CREATE FUNCTION elsewhere.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
};
my $brought = q{SELECT string_agg(object || ' ' || action, ', ' ORDER BY object) FROM flo.copied_objects
	WHERE rest AND address_type IS NOT NULL};

for my $trust ('source', 'object')
{
	my $db = "rest_$trust";

	new_database($db);
	$source->safe_psql($db, $rest);
	$source->safe_psql($db,
		qq{SELECT flo.create_replicator('$db', schemas => '{app}', mode => 'copy_and_stream', sync_schema => true,
		track_ddl => true); SELECT flo.start_group('$db')});
	$dest->safe_psql($db, qq{SELECT flo.create_worker('$db', options => '{"ddl_trust": "$trust"}');
		SELECT flo.start_group('$db')});
	wait_state($dest, $db, 'postgres', 'streaming', $db);
	wait_caught_up($source, $dest, $db, source_db => $db, dest_db => $db);
}
is($dest->safe_psql('rest_source', $brought),
	'collation app.co created, default value for column w of view app.vw created, function app.ag(integer) created, '
	  . 'function app.f(integer) created, function app.p() created, function app.trg() created, '
	  . 'index app.a_keyed_id_idx created, index app.mvi created, materialized view app.a_keyed created, '
	  . 'materialized view app.mv created, sequence app.s created, '
	  . 'table app.unlogged left out, trigger tr on view app.vw created, type app.dd created, '
	  . 'type app.ir created, type app.mood created, type app.pair created, '
	  . 'view app.by_key created, view app.over left out, view app.vw created',
	'a group over a schema brings what no table needs, too');
is($dest->safe_psql('rest_source', 'SELECT n FROM app.mv'), '10', 'a materialized view with its rows');
is($dest->safe_psql('rest_source', 'SELECT count(*), sum(v), sum(n) FROM app.a_keyed'), '10|55|10',
	'also where the view below needs a key that is made after the rows');
is($dest->safe_psql('rest_source', q{SELECT pg_get_viewdef('app.by_key'::regclass)}),
	$source->safe_psql('rest_source', q{SELECT pg_get_viewdef('app.by_key'::regclass)}), 'which has its query');
like($dest->safe_psql('rest_source', q{SELECT detail FROM flo.ddl_log WHERE outcome = 'not_here'}),
	qr/^view app.over: relation "app.unlogged" does not exist$/, 'what cannot be made is told once');
like($dest->safe_psql('rest_object', $brought),
	qr/function app.f\(integer\) left out.*sequence app.s created.*trigger tr on view app.vw left out.* app.dd created/,
	'what brings code is left out where the source is not trusted with it');
is($dest->safe_psql('rest_object', 'SELECT count(*) FROM flo.pending_ddl'), '0', 'and nobody has to decide on it');
is($dest->safe_psql('rest_object', q{SELECT count(*) FROM flo.copied_objects
	WHERE object LIKE 'COMMENT%' AND action = 'left out'}), '2', 'its comment neither');

$_->stop('fast') for $source, $dest;
done_testing();
