
# sync_schema moves all that an application has, as roles that are no
# superusers: what pg_dump says of the destination differs from the source in
# nothing but what flo.copied_objects names, with the error.  Also without rows
# (mode stream).

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats, extension => 0);
my $dest = flo_node('dest', $nats, extension => 0);

$source->safe_psql('postgres', q{
	CREATE ROLE app_owner LOGIN REPLICATION; CREATE ROLE app_rw; CREATE ROLE clerk LOGIN IN ROLE app_rw;
	CREATE ROLE "Re ader" LOGIN; CREATE ROLE nobody_here});
$dest->safe_psql('postgres', 'CREATE ROLE app_owner LOGIN');

sub new_database
{
	my ($name) = @_;
	for my $node ($source, $dest)
	{
		$node->safe_psql('postgres', "CREATE DATABASE $name OWNER app_owner");
		$node->safe_psql($name, q{CREATE EXTENSION pg_flo; GRANT USAGE ON SCHEMA flo TO app_owner;
			GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA flo TO app_owner});
	}
}

# As app_owner
sub as_owner { my ($node, $db, $sql) = @_; return $node->safe_psql($db, "SET ROLE app_owner; $sql"); }

# Entries of pg_dump by what they are about; publications are pg_flo's
sub dump_of
{
	my ($node, $db, @options) = @_;
	my ($out) = run_command([ 'pg_dump', '-s', '--no-publications', '-N', 'flo', '-p', $node->port, '-h', $node->host,
		@options, $db ]);
	my %entries;

	$out =~ s/\n\\unrestrict.*|\n--\n-- PostgreSQL database dump complete.*//s;
	for my $entry (split /\n\n+--\n-- (?=Name: )/, $out)
	{
		my ($name, $kind, $schema, $text) =
		  $entry =~ /^Name: (.*?); Type: (.*?); Schema: (.*?); Owner: [^\n]*\n--\n+(.*)/s or next;
		next if $name =~ /^(EXTENSION )?"?pg_flo"?$/;
		# settings for all that follow, and statements that are apart there
		$text =~ s/^SET default_\w+ = .*;$//mg;
		$text =~ s/\s+$|^\s+//g;
		$entries{"$kind $schema.$name"} = $text;
	}
	return \%entries;
}

# Kinds and names of those that only one side has, or has otherwise
sub differences
{
	my ($db, @options) = @_;
	my ($there, $here) = (dump_of($source, $db, @options), dump_of($dest, $db, @options));
	my %all = (%$there, %$here);
	my @differ = grep { !defined $there->{$_} || !defined $here->{$_} || $there->{$_} ne $here->{$_} } sort keys %all;

	note("$_:\nsource: " . ($there->{$_} // 'nothing') . "\nhere: " . ($here->{$_} // 'nothing')) for @differ;
	cmp_ok(scalar(keys %$there), '>', 10, scalar(keys %$there) . " entries in $db");
	return @differ;
}

my $left_out = q{SELECT string_agg(object || ': ' || error, E'\n' ORDER BY object) FROM flo.copied_objects
	WHERE action = 'left out' OR error IS NOT NULL};

my $application = q{
CREATE EXTENSION citext SCHEMA public; CREATE EXTENSION pg_trgm SCHEMA public;
CREATE SCHEMA app; CREATE SCHEMA util; CREATE SCHEMA outside;
COMMENT ON SCHEMA app IS 'the application';
GRANT USAGE ON SCHEMA app TO app_rw, "Re ader"; GRANT USAGE ON SCHEMA util TO PUBLIC;
CREATE TYPE app.mood AS ENUM ('new', 'paid'); CREATE DOMAIN app.pos AS int CHECK (VALUE > 0);
	GRANT USAGE ON TYPE app.mood TO app_rw;
CREATE DOMAIN util.later AS int; ALTER DOMAIN util.later ADD CONSTRAINT small CHECK (VALUE < 9) NOT VALID;
CREATE TYPE util.pair AS (a int, b text); CREATE TYPE util.span AS RANGE (SUBTYPE = float8);
CREATE COLLATION app.de (PROVIDER = icu, LOCALE = 'de'); CREATE SEQUENCE app.numbers START 7;
	GRANT USAGE ON SEQUENCE app.numbers TO app_rw;
CREATE TABLE app.customers (id serial PRIMARY KEY, name text COLLATE app.de, mail citext UNIQUE, secret text);
CREATE TABLE app.orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	customer int NOT NULL REFERENCES app.customers,
	m app.mood DEFAULT 'new', qty app.pos, note text, at timestamptz DEFAULT now());
CREATE TABLE app.audit (id bigserial PRIMARY KEY, what text, who text DEFAULT current_user);
CREATE TABLE app.parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE app.parts_1 PARTITION OF app.parts FOR VALUES FROM (0) TO (100);
CREATE TABLE outside.refs (id int PRIMARY KEY); ALTER TABLE app.orders ADD other int REFERENCES outside.refs;
CREATE INDEX orders_note ON app.orders USING gin (note gin_trgm_ops);
	CREATE STATISTICS app.orders_st ON customer, m FROM app.orders;
CREATE FUNCTION util.immu(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower($1)';
CREATE INDEX customers_low ON app.customers (util.immu(name));
CREATE FUNCTION app.log() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS
	$$BEGIN INSERT INTO app.audit (what) VALUES (TG_TABLE_NAME || ' ' || TG_OP); RETURN NULL; END$$;
REVOKE ALL ON FUNCTION app.log() FROM PUBLIC; GRANT EXECUTE ON FUNCTION app.log() TO app_rw;
CREATE TRIGGER log AFTER INSERT OR DELETE ON app.orders FOR EACH ROW EXECUTE FUNCTION app.log();
CREATE TRIGGER off AFTER UPDATE ON app.orders FOR EACH ROW EXECUTE FUNCTION app.log();
	ALTER TABLE app.orders DISABLE TRIGGER off;
CREATE RULE keep AS ON DELETE TO app.audit DO INSTEAD NOTHING;
ALTER TABLE app.customers ENABLE ROW LEVEL SECURITY;
	CREATE POLICY own ON app.customers TO app_rw USING (id < 10 OR util.immu(name) = 'x');
CREATE POLICY look ON app.customers FOR SELECT TO "Re ader" USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app TO app_rw;
	GRANT SELECT (id, name) ON app.customers TO "Re ader";
GRANT SELECT ON app.customers TO nobody_here;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA app TO app_rw;
ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT SELECT, INSERT ON TABLES TO app_rw;
	ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT USAGE ON SEQUENCES TO app_rw;
CREATE VIEW app.open_orders AS SELECT o.id,
	c.name FROM app.orders o JOIN app.customers c ON c.id = o.customer WHERE o.m = 'new';
		GRANT SELECT ON app.open_orders TO "Re ader";
CREATE VIEW app.per_customer AS SELECT c.id, c.name, count(*)
	AS n FROM app.customers c JOIN app.orders o ON o.customer = c.id GROUP BY c.id;
CREATE MATERIALIZED VIEW app.totals AS SELECT m, count(*) AS n FROM app.orders GROUP BY m;
	CREATE UNIQUE INDEX ON app.totals (m);
CREATE MATERIALIZED VIEW app.unfilled AS SELECT 1 AS one WITH NO DATA;
CREATE FUNCTION app.ins() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER ins INSTEAD OF INSERT ON app.open_orders FOR EACH ROW EXECUTE FUNCTION app.ins();
CREATE PROCEDURE app.close(bigint) LANGUAGE sql AS $$UPDATE app.orders SET m = 'paid' WHERE id = $1$$;
CREATE AGGREGATE util.total (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
CREATE FUNCTION util.eq(util.pair, util.pair) RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT ($1).a = ($2).a';
CREATE OPERATOR util.=== (LEFTARG = util.pair, RIGHTARG = util.pair, FUNCTION = util.eq);
CREATE FUNCTION util.as_text(util.pair) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT ($1).b';
	CREATE CAST (util.pair AS text) WITH FUNCTION util.as_text(util.pair);
CREATE TEXT SEARCH DICTIONARY app.simple_de (TEMPLATE = pg_catalog.simple);
	CREATE TEXT SEARCH CONFIGURATION app.search (COPY = pg_catalog.simple);
ALTER TEXT SEARCH CONFIGURATION app.search ALTER MAPPING FOR asciiword WITH app.simple_de;
COMMENT ON TABLE app.orders IS 'orders'; COMMENT ON COLUMN app.orders.qty IS 'how many';
	COMMENT ON TRIGGER log ON app.orders IS 'logs';
COMMENT ON POLICY own ON app.customers IS 'own rows'; COMMENT ON FUNCTION app.log() IS 'the log';
	COMMENT ON VIEW app.open_orders IS 'open';
INSERT INTO app.customers (name, mail) SELECT 'c' || i, 'M' || i || '@x' FROM generate_series(1, 500) i;
INSERT INTO app.orders (customer, qty, note) SELECT 1 + i % 500, 1 + i % 9, 'note ' || i FROM generate_series(1, 2000)
	i;
INSERT INTO app.parts SELECT i, i FROM generate_series(0, 99) i;
REFRESH MATERIALIZED VIEW app.totals;
};

# --- schemas, as an owner that is no superuser -----------------------------------------------------

new_database('shop');
as_owner($source, 'shop', $application);
as_owner($source, 'shop', q{CREATE UNLOGGED TABLE app.cache (id int PRIMARY KEY, v text);
	COMMENT ON TABLE app.cache IS 'cache'; CREATE INDEX ON app.cache (v);
	CREATE VIEW app.cached AS SELECT v FROM app.cache});
$source->safe_psql('shop', q{
	-- what only a superuser could make: at the destination nobody is
	CREATE FUNCTION util.native(int, int) RETURNS int LANGUAGE internal AS 'int4pl';
		ALTER FUNCTION util.native(int, int) OWNER TO app_owner;
	CREATE VIEW app.native AS SELECT util.native(1, 2) AS three; ALTER VIEW app.native OWNER TO app_owner;
	COMMENT ON VIEW app.native IS 'needs what is not there';
	CREATE FUNCTION util.fast() RETURNS trigger LANGUAGE c AS '$libdir/refint', 'check_primary_key';
		ALTER FUNCTION util.fast() OWNER TO app_owner;
	CREATE TRIGGER fast BEFORE INSERT ON app.parts_1 FOR EACH ROW EXECUTE FUNCTION util.fast('v', 'app.customers',
		'id');
	ALTER TABLE app.parts_1 DISABLE TRIGGER fast;
	SET allow_system_table_mods = on;
	INSERT INTO pg_seclabel VALUES ('app.audit'::regclass, 'pg_class'::regclass, 0, 'nobody', 'secret');
	-- a row that came in with triggers disabled
	SET session_replication_role = replica; INSERT INTO app.orders (customer, qty) VALUES (4711, 1)});
as_owner($source, 'shop', q{SELECT flo.create_replicator('shop', schemas => '{app,util}', mode => 'copy_and_stream',
	sync_schema => true,
	options => '{"schema_owner": true, "schema_privileges": true}')});

as_owner($dest, 'shop', q{SELECT flo.create_worker('shop', options => '{"ddl_trust": "source"}')});
as_owner($source, 'shop', q{SELECT flo.start_group('shop')});
wait_until($dest, 'shop', q{SELECT count(*) > 0 FROM flo.check('shop') WHERE item ~ '^roles'}, 'the roles') or die;
my ($detail, $hint) = split /\|/, $dest->safe_psql('shop',
	q{SELECT detail, hint FROM flo.check('shop') WHERE item = 'roles of group shop' AND status = 'error'});
is($detail,
	'missing here, and definitions of the source are theirs, or grant to them: "Re ader", app_rw, clerk, nobody_here',
	'before the copy, roles that are missing are named');
is($hint =~ s/ -- .*//r, 'CREATE ROLE "Re ader" LOGIN; CREATE ROLE app_rw; CREATE ROLE clerk LOGIN; '
	  . 'CREATE ROLE nobody_here; GRANT app_rw TO clerk;', 'with the statements that make them');
# one of them is forgotten
$dest->safe_psql('shop', $hint =~ s/CREATE ROLE nobody_here;//r);
is($dest->safe_psql('shop', q{SELECT detail FROM flo.check('shop') WHERE item = 'roles of group shop'}),
	'missing here, and definitions of the source are theirs, or grant to them: nobody_here', 'until they are there');

as_owner($dest, 'shop', q{SELECT flo.start_group('shop')});
wait_state($dest, 'shop', 'postgres', 'streaming', 'shop');
wait_state($source, 'shop', 'replicator', 'streaming', 'shop');
wait_caught_up($source, $dest, 'shop', source_db => 'shop', dest_db => 'shop');
is($dest->safe_psql('shop', $left_out), join("\n",
	(map { "ACL TABLE \"$_\": what it belongs to is left out" } qw(cache cached)),
	'ACL TABLE "customers": role "nobody_here" does not exist',
	'COMMENT TABLE "cache": what it belongs to is left out',
	'COMMENT VIEW "native": what it belongs to is left out',
	'SECURITY LABEL TABLE "audit": security label provider "nobody" is not loaded',
	'constraint cache_pkey on table app.cache: what it belongs to is left out',
	'constraint orders_customer_fkey on table app.orders: not checked: insert or update on table "orders" violates '
	  . 'foreign key constraint "orders_customer_fkey" Key (customer)=(4711) is not present in table "customers".',
	'constraint orders_other_fkey on table app.orders: it needs outside.refs, which is not in the group',
	'function util.fast(): permission denied for language c',
	'function util.native(integer,integer): permission denied for language internal',
	'index app.cache_v_idx: what it belongs to is left out',
	'table app.cache: it is not in the group: its rows do not travel',
	'trigger fast on table app.parts_1: function util.fast() does not exist',
	'view app.cached: relation "app.cache" does not exist',
	'view app.native: function util.native(integer, integer) does not exist'),
	'what cannot be made is named with its error');
like($dest->safe_psql('shop', q{SELECT command FROM flo.copied_objects WHERE object = 'ACL TABLE "customers"' AND
	action = 'left out'}),
	qr/^GRANT SELECT ON TABLE "app"."customers" TO "nobody_here";/, 'and its statement');
is_deeply([ differences('shop', '-N', 'outside') ], [
	'ACL app.TABLE cache', 'ACL app.TABLE cached', 'ACL app.TABLE customers', 'COMMENT app.TABLE cache',
		'COMMENT app.VIEW native', 'CONSTRAINT app.cache cache_pkey', 'FK CONSTRAINT app.orders orders_customer_fkey',
		'FK CONSTRAINT app.orders orders_other_fkey',
	'FUNCTION util.fast()', 'FUNCTION util.native(integer, integer)', 'INDEX app.cache_v_idx',
		'SECURITY LABEL app.TABLE audit', 'TABLE app.cache', 'TRIGGER app.parts_1 fast', 'VIEW app.cached',
		'VIEW app.native' ],
	'nothing else differs, owners and privileges neither');
is($dest->safe_psql('shop', q{SELECT pg_get_constraintdef(oid)
	FROM pg_constraint WHERE conname = 'orders_customer_fkey'}),
	'FOREIGN KEY (customer) REFERENCES app.customers(id) NOT VALID', 'a key that rows violate is NOT VALID');
is($dest->safe_psql('shop', 'SELECT sum(n) FROM app.totals'), '2001', 'materialized views are filled');

# What is named is ready to be run
as_owner($dest, 'shop', $dest->safe_psql('shop',
	q{SELECT string_agg(command, ' ' ORDER BY ordinal) FROM flo.copied_objects
	WHERE action = 'left out' AND object ~ 'cache'}));
is($dest->safe_psql('shop', q{SELECT relpersistence, relowner::regrole, (SELECT count(*)
	FROM pg_index WHERE indrelid = c.oid) FROM pg_class c
	WHERE oid = 'app.cache'::regclass}), 'u|app_owner|2', 'a table that is not in the group, too');
$dest->safe_psql('shop', 'CREATE ROLE nobody_here');
as_owner($dest, 'shop', $dest->safe_psql('shop',
	q{SELECT string_agg(command, ' ' ORDER BY ordinal) FROM flo.copied_objects
	WHERE action = 'left out' AND object ~ '^ACL'}));
is($dest->safe_psql('shop', q{SELECT has_table_privilege('nobody_here', 'app.customers', 'SELECT')}), 't',
	'the statement is ready to be run');

# The application goes on at the new server
is($dest->safe_psql('shop', q{SET SESSION AUTHORIZATION clerk;
	INSERT INTO app.orders (customer, qty) VALUES (1, 2) RETURNING qty;
	UPDATE app.orders SET note = 'x' WHERE id = 1; SELECT count(*) FROM app.customers}), "2\n9",
		'the application\'s role can write, and sees what policies let it');
as_owner($_, 'shop', q{SELECT flo.drop_group('shop')}) for $dest;
as_owner($source, 'shop', q{SELECT flo.drop_group('shop', purge_stream => true)});

# --- everything, and what is in no schema ------------------------------------------------------------

new_database('whole');
as_owner($source, 'whole', $application =~ s/^.*nobody_here.*$//mr);
$source->safe_psql('whole', q{
	CREATE EXTENSION hstore; CREATE EXTENSION postgres_fdw;
		CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'nowhere');
	CREATE USER MAPPING FOR clerk SERVER far OPTIONS (user 'x', password 'y');
		CREATE FOREIGN TABLE app.far (id int) SERVER far;
	CREATE FUNCTION util.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
		CREATE EVENT TRIGGER on_ddl ON ddl_command_end EXECUTE FUNCTION util.on_ddl();
	CREATE OPERATOR FAMILY util.fam USING btree;
		CREATE OPERATOR CLASS util.ops FOR TYPE int USING btree FAMILY util.fam AS
		OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 btint4cmp(int, int);
	CREATE CONVERSION util.conv FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
		ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
	REVOKE CREATE ON SCHEMA public FROM PUBLIC; GRANT CREATE ON SCHEMA public TO app_rw;
		CREATE AGGREGATE util.biggest (anyelement) (SFUNC = util.larger, STYPE = anyelement);
} =~ s/CREATE AGGREGATE.*?;//r);
$source->safe_psql('whole', q{SELECT flo.create_replicator('whole', mode => 'copy_and_stream', sync_schema => true,
	options => '{"schema_owner": true, "schema_privileges": true}'); SELECT flo.start_group('whole')});
$dest->safe_psql('whole', q{SELECT flo.create_worker('whole', options => '{"ddl_trust": "source"}');
	SELECT flo.start_group('whole')});
wait_state($dest, 'whole', 'postgres', 'streaming', 'whole');
wait_state($source, 'whole', 'replicator', 'streaming', 'whole');
is($dest->safe_psql('whole', $left_out),
	'USER MAPPING clerk SERVER far: its options may hold a password, and do not travel',
	'of a whole database nothing is left out but what may be secret');
is_deeply([ differences('whole') ], ['USER MAPPING -.USER MAPPING clerk SERVER far'], 'it differs in nothing else');
unlike($dest->safe_psql('whole', q{SELECT string_agg(command, ' ') FROM flo.copied_objects}), qr/password/,
	'whose statement is without it');
$dest->safe_psql('whole', q{SELECT flo.drop_group('whole')});
$source->safe_psql('whole', q{SELECT flo.drop_group('whole', purge_stream => true)});

# --- definitions alone: mode stream ----------------------------------------------------------------------

new_database('follow');
as_owner($source, 'follow', $application =~ s/^.*nobody_here.*$//mr);
# a server that dies before the definitions are out begins again
halt_at($source, 'copied.after');
as_owner($source, 'follow', q{SELECT flo.create_replicator('follow', schemas => '{app,util}', sync_schema => true,
	track_ddl => true);
	SELECT flo.start_group('follow')});
await_halt($source, 'the definitions') or die;
$source->stop('immediate');
$source->append_conf('postgresql.conf', "pg_flo.stop_at = ''\n");
$source->start;
wait_until($source, 'follow', q{SELECT count(*) = 1 FROM flo.generations}, 'the beginning') or die;
# rows of before the worker's first minute wait for their tables
as_owner($source, 'follow', q{INSERT INTO app.audit (what) SELECT 'followed ' || i FROM generate_series(1, 100) i});
as_owner($dest, 'follow', q{CREATE EXTENSION citext SCHEMA public; CREATE EXTENSION pg_trgm SCHEMA public;
	SELECT flo.create_worker('follow', options => '{"ddl_trust": "source"}'); SELECT flo.start_group('follow')});
wait_state($dest, 'follow', 'postgres', 'streaming', 'follow');
wait_state($source, 'follow', 'replicator', 'streaming', 'follow');
wait_caught_up($source, $dest, 'follow', source_db => 'follow', dest_db => 'follow');
is($dest->safe_psql('follow', q{SELECT (SELECT count(*) FROM app.orders), (SELECT count(*) FROM app.audit)}), '0|100',
	'mode stream: tables are made empty, and followed from there');
is_deeply([ differences('follow', '-x', '-N', 'outside') ], ['FK CONSTRAINT app.orders orders_other_fkey'],
	'with all their schemas hold');
is($dest->safe_psql('follow', $left_out), 'constraint orders_other_fkey on table app.orders: '
	. 'it needs outside.refs, which is not in the group', 'but for what is named');

is($source->safe_psql('follow', q{SELECT member || ' ' || phase || ' ' || percent::int FROM
	flo.copy_summary('follow')}), 'replicator complete 100', 'and progress');
# kill -9 harms nothing, and later statements find what they are about
kill9_member($dest, 'follow', 'postgres', 'follow');
as_owner($source, 'follow', q{CREATE TABLE app.joins (id int PRIMARY KEY, m app.mood);
	INSERT INTO app.joins VALUES (1, 'paid');
	DROP VIEW app.per_customer; ALTER TEXT SEARCH CONFIGURATION app.search ALTER MAPPING FOR word WITH app.simple_de;
		DROP POLICY look ON app.customers});
wait_caught_up($source, $dest, 'follow', source_db => 'follow', dest_db => 'follow');
is($dest->safe_psql('follow', 'SELECT count(*) FROM app.joins'), '1', 'and is followed');

# Who comes late waits for flo.resync(), which brings definitions and rows
new_database('late');
as_owner($dest, 'late', q{CREATE EXTENSION citext SCHEMA public; CREATE EXTENSION pg_trgm SCHEMA public;
	SELECT flo.create_worker('follow', options => '{"ddl_trust": "source"}'); SELECT flo.start_group('follow')});
ok(wait_until($dest, 'late', q{SELECT state = 'waiting' AND detail LIKE 'needs flo.resync(%' FROM flo.status},
	'it to wait'),
	'a worker that comes late does not begin without tables');
as_owner($source, 'follow', q{SELECT flo.resync('follow')});
wait_state($dest, 'follow', 'postgres', 'streaming', 'late');
wait_caught_up($source, $dest, 'follow', source_db => 'follow', dest_db => 'late');
is($dest->safe_psql('late', q{SELECT (SELECT count(*) FROM app.orders), (SELECT count(*) FROM app.audit)}),
	'2000|2100', 'and gets all that there is');

# A list of tables, and one that joins it
as_owner($source, 'follow', q{SELECT flo.create_replicator('list', tables => '{app.customers}', sync_schema => true);
	SELECT flo.start_group('list')});
new_database('list');
as_owner($dest, 'list', q{CREATE EXTENSION citext SCHEMA public; CREATE EXTENSION pg_trgm SCHEMA public;
	SELECT flo.create_worker('list', options => '{"ddl_trust": "source"}'); SELECT flo.start_group('list')});
wait_state($dest, 'list', 'postgres', 'streaming', 'list');
as_owner($source, 'follow', q{SELECT flo.add_table('list', 'app.parts')});
ok(wait_until($dest, 'list', q{SELECT to_regclass('app.parts') IS NOT NULL}, 'the new table'),
	'a table that joins a list is made, too');
is($dest->safe_psql('list', q{SELECT (SELECT count(*) FROM app.customers), (SELECT count(*) FROM pg_class
	WHERE relnamespace IN ('app'::regnamespace) AND relkind IN ('r', 'p', 'v', 'm'))}), '0|3', 'and nothing else');

# --- only what tables need ------------------------------------------------------------------------------------

new_database('needed');
as_owner($source, 'needed', $application =~ s/^.*nobody_here.*$//mr);
as_owner($source, 'needed', q{SELECT flo.create_replicator('needed', schemas => '{app,util}',
	mode => 'copy_and_stream', sync_schema => true,
	options => '{"schema_objects": "needed"}'); SELECT flo.start_group('needed')});
as_owner($dest, 'needed', q{SELECT flo.create_worker('needed', options => '{"ddl_trust": "source"}');
	SELECT flo.start_group('needed')});
wait_state($dest, 'needed', 'postgres', 'streaming', 'needed');
is($dest->safe_psql('needed', q{SELECT (SELECT count(*) FROM pg_views WHERE schemaname = 'app'), (SELECT count(*)
	FROM pg_policies WHERE schemaname = 'app'),
	(SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = 'app.orders'::regclass),
		(SELECT bool_or(rest) FROM flo.copied_objects)}), '0|0|2|f',
	'schema_objects needed: nothing but what the tables need');

$_->stop('fast') for $source, $dest;
done_testing();
