# Statements about what was never brought to the destination are passed over and
# told; tablespaces are left out in every clause that names one.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats, conf => "allow_in_place_tablespaces = on\n");
my $dest = flo_node('dest', $nats);

sub outcomes
{
	my ($db, $like) = @_;
	return $dest->safe_psql($db, "SELECT outcome FROM flo.ddl_log WHERE command ~ '$like' ORDER BY id");
}

# Runs each; they have to get through without anybody's help
sub passes
{
	my ($db, $group, $what, @statements) = @_;
	my $before = status_of($dest, $group, 'postgres', 'last_error_at', $db);
	$source->safe_psql($db, $_) for @statements;
	wait_caught_up($source, $dest, $group, source_db => $db, dest_db => $db);
	is(status_of($dest, $group, 'postgres', 'last_error_at', $db), $before, "$what: without an error");
	is($dest->safe_psql($db, 'SELECT count(*) FROM flo.pending_ddl'), '0', "$what: and nobody is asked");
}

# --- objects that are not here, with either trust -------------------------------------------------

my @objects = split /;\s*/, q{
	CREATE VIEW vw AS SELECT id, v FROM t; CREATE MATERIALIZED VIEW mv AS SELECT id FROM t;
	CREATE UNIQUE INDEX mvi ON mv (id); CREATE SEQUENCE loose;
	CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1';
	CREATE FUNCTION trg() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW\; END';
	CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1';
	CREATE AGGREGATE ag (int) (SFUNC = int4pl, STYPE = int);
	CREATE FUNCTION eq(t, t) RETURNS bool LANGUAGE sql AS 'SELECT true';
	CREATE OPERATOR === (LEFTARG = t, RIGHTARG = t, FUNCTION = eq);
	CREATE TYPE mood AS ENUM ('a'); CREATE DOMAIN dd AS int; CREATE COLLATION co (LOCALE = 'C');
	CREATE STATISTICS st ON id, v FROM t; CREATE POLICY po ON t; CREATE RULE ru AS ON DELETE TO t DO ALSO NOTHING;
	CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION trg();
	CREATE TRIGGER trv INSTEAD OF INSERT ON vw FOR EACH ROW EXECUTE FUNCTION trg()};
my @altered = split /;\s*/, q{
	REFRESH MATERIALIZED VIEW mv; REFRESH MATERIALIZED VIEW CONCURRENTLY mv;
	ALTER MATERIALIZED VIEW mv SET (fillfactor = 80); ALTER INDEX mvi SET (fillfactor = 80);
	COMMENT ON INDEX mvi IS 'x'; COMMENT ON COLUMN mv.id IS 'x';
	COMMENT ON VIEW vw IS 'x'; COMMENT ON COLUMN vw.id IS 'x'; ALTER VIEW vw ALTER v SET DEFAULT 5;
	ALTER VIEW vw RENAME COLUMN v TO w; ALTER VIEW vw SET (security_barrier); ALTER VIEW vw RENAME TO vx;
	CREATE VIEW over AS SELECT * FROM vx;
	CREATE MATERIALIZED VIEW mover AS SELECT * FROM vx; ALTER SEQUENCE loose INCREMENT 2;
	COMMENT ON SEQUENCE loose IS 'x'; ALTER FUNCTION f(int) COST 5; COMMENT ON FUNCTION f(int) IS 'x';
	ALTER FUNCTION f(int) RENAME TO f2; ALTER ROUTINE f2(int) STRICT;
	ALTER PROCEDURE p() SECURITY DEFINER; COMMENT ON AGGREGATE ag(int) IS 'x'; ALTER AGGREGATE ag(int) RENAME TO ag2;
	COMMENT ON OPERATOR === (t, t) IS 'x'; ALTER OPERATOR === (t, t) SET (RESTRICT = eqsel);
	COMMENT ON TYPE mood IS 'x'; ALTER TYPE mood ADD VALUE 'b'; ALTER TYPE mood RENAME TO mood2;
	ALTER DOMAIN dd SET DEFAULT 1; COMMENT ON DOMAIN dd IS 'x'; COMMENT ON COLLATION co IS 'x';
	ALTER STATISTICS st SET STATISTICS 5;
	COMMENT ON STATISTICS st IS 'x'; ALTER POLICY po ON t USING (true); COMMENT ON POLICY po ON t IS 'x';
	COMMENT ON RULE ru ON t IS 'x'; ALTER RULE ru ON t RENAME TO ru2; COMMENT ON TRIGGER tr ON t IS 'x';
	ALTER TRIGGER tr ON t RENAME TO tr2;
	COMMENT ON TRIGGER trv ON vx IS 'x'; CREATE OR REPLACE VIEW over AS SELECT * FROM vx; DROP VIEW over;
	DROP MATERIALIZED VIEW mover; DROP TRIGGER tr2 ON t; DROP POLICY po ON t; DROP RULE ru2 ON t};

for my $trust ('object', 'source')
{
	my $db = "rest_$trust";

	for my $node ($source, $dest)
	{
		$node->safe_psql('postgres', "CREATE DATABASE $db");
		$node->safe_psql($db, 'CREATE EXTENSION pg_flo; CREATE TABLE t (id int PRIMARY KEY, v int)');
	}
	$source->safe_psql($db, s/\\//r) for grep { /\S/ } map { s/NEW\\$/NEW; END'/r } grep { !/^END'$/ } @objects;
	create_group($source, $dest, $db, source_db => $db, dest_db => $db, tables => "NULL, track_ddl => true",
		worker_options => qq('{"ddl_trust": "$trust"}'));
	if ($trust eq 'object')
	{
		passes($db, $db, $trust, grep { /\S/ && !/^CREATE/ } map { s/OR REPLACE //r } grep { !/over/ } @altered);
	}
	else
	{
		passes($db, $db, $trust, grep { /\S/ } @altered);
	}
	$source->safe_psql($db, 'INSERT INTO t VALUES (1, 1)');
	wait_caught_up($source, $dest, $db, source_db => $db, dest_db => $db);
	is($dest->safe_psql($db, 'SELECT count(*) FROM t'), '1', "$trust: rows go on");
	is($dest->safe_psql($db, q{SELECT string_agg(command || ' ' || outcome, '; ') FROM flo.ddl_log }
		  . q{WHERE outcome <> 'not_here'}), '', "$trust: all are passed over, and told");
}
# schemas without tables, and tables whose rows do not travel
for my $node ($source, $dest)
{
	$node->safe_psql('postgres', 'CREATE DATABASE apart');
	$node->safe_psql('apart', 'CREATE EXTENSION pg_flo; CREATE TABLE t (id int PRIMARY KEY)');
}
$source->safe_psql('apart', q{CREATE SCHEMA bare; CREATE SCHEMA bare2; CREATE TABLE k (v int);
	CREATE UNLOGGED TABLE u (id int PRIMARY KEY); INSERT INTO u VALUES (1)});
create_copy_group($source, $dest, 'apart', source_db => 'apart', dest_db => 'apart',
	tables => "NULL, track_ddl => true", sync_schema => 1, options => q('{"keyless_tables": "skip"}'));
is($dest->safe_psql('apart', q{SELECT string_agg(nspname, ' ' ORDER BY nspname) FROM pg_namespace
	WHERE nspname ~ 'bare'}), 'bare bare2', 'schemas without tables come along');
$dest->safe_psql('apart', 'DROP SCHEMA bare2; DELETE FROM flo.copied_objects');
passes('apart', 'apart', 'of no use here', q{COMMENT ON SCHEMA bare2 IS 'x'}, 'ALTER SCHEMA bare2 RENAME TO bare3',
	'DROP SCHEMA bare3',
	'ALTER TABLE k ADD x int', q{COMMENT ON COLUMN k.v IS 'x'}, 'CREATE INDEX k_v ON k (v)',
	q{COMMENT ON INDEX k_v IS 'x'}, 'ALTER INDEX k_v RENAME TO k_w', 'DROP INDEX k_w',
	'CREATE STATISTICS k_s ON v, x FROM k', 'ALTER TABLE k RENAME TO l', 'ALTER TABLE l RENAME v TO w',
	'ALTER TABLE u ADD v int', 'CREATE INDEX u_v ON u (v)', 'ALTER TABLE u SET LOGGED', 'INSERT INTO u VALUES (2, 2)',
	'ALTER SCHEMA bare RENAME TO dressed', 'CREATE TABLE dressed.t (id int PRIMARY KEY)',
	'INSERT INTO dressed.t VALUES (1)', 'DROP TABLE l');
wait_until($source, 'apart', 'SELECT count(*) = 0 FROM flo.copy_requests', 'the copy to be in');
wait_caught_up($source, $dest, 'apart', source_db => 'apart', dest_db => 'apart');
is_same_table($source, $dest, $_, "$_ is the same", 'apart') for 'u', 'dressed.t';
is($dest->safe_psql('apart', q{SELECT count(*) FROM pg_indexes WHERE tablename = 'u'}), '2',
	'with all that it has by then');
is(outcomes('apart', ' k ADD x'), 'not_here', 'what was passed over is told');

is(outcomes('rest_source', '^CREATE VIEW over'), 'not_here', 'what is made of such things is, too');
is($dest->safe_psql('rest_source', q{SELECT detail FROM flo.ddl_log WHERE command = 'REFRESH MATERIALIZED VIEW mv'}),
	'materialized view public.mv is not here', 'and why');

# What should be there stays an error
my $db = 'rest_source';
$source->safe_psql($db, 'CREATE VIEW made AS SELECT id FROM t');
wait_caught_up($source, $dest, $db, source_db => $db, dest_db => $db);
is(outcomes($db, 'CREATE VIEW made'), 'applied', 'a view of the stream');
$dest->safe_psql($db, 'DROP VIEW made');
$source->safe_psql($db, q{COMMENT ON VIEW made IS 'x'});
ok(wait_until($dest, $db, q{SELECT last_error LIKE '%relation "public.made" does not exist%' FROM flo.status},
	'the error'), 'that was dropped here is missed');
$dest->safe_psql($db, 'CREATE VIEW made AS SELECT id FROM t');
wait_state($dest, $db, 'postgres', 'streaming', $db);
$dest->safe_psql($db, 'ALTER TABLE t RENAME TO hidden');
$source->safe_psql($db, q{COMMENT ON TABLE t IS 'x'});
ok(wait_until($dest, $db, q{SELECT last_error LIKE '%relation "public.t" does not exist%' FROM flo.status},
	'the error'), 'so is a table');
$dest->safe_psql($db, 'ALTER TABLE hidden RENAME TO t');
wait_caught_up($source, $dest, $db, source_db => $db, dest_db => $db);

# --- tablespaces ----------------------------------------------------------------------------------

$source->safe_psql('postgres', q{CREATE TABLESPACE tsp LOCATION ''});
my @spaces = ('CREATE TABLE a (id int PRIMARY KEY USING INDEX TABLESPACE tsp, u int UNIQUE USING INDEX TABLESPACE tsp) '
	  . 'TABLESPACE tsp', 'CREATE TABLE b (id int, k int, PRIMARY KEY (id) USING INDEX TABLESPACE tsp)',
	'CREATE TABLE c (id int, r int4range, PRIMARY KEY (id), EXCLUDE USING gist (r WITH &&) USING INDEX TABLESPACE tsp)',
	'ALTER TABLE b ADD CONSTRAINT u UNIQUE (k) USING INDEX TABLESPACE tsp',
	'ALTER TABLE b ADD COLUMN z int UNIQUE USING INDEX TABLESPACE tsp', 'CREATE INDEX i ON b (k) TABLESPACE tsp',
	'CREATE INDEX CONCURRENTLY ic ON b (k) TABLESPACE tsp',
	'CREATE MATERIALIZED VIEW m TABLESPACE tsp AS SELECT id FROM b',
	'CREATE TABLE ctas TABLESPACE tsp AS SELECT 1 AS id', 'ALTER TABLE b SET TABLESPACE tsp',
	'ALTER TABLE b SET TABLESPACE tsp, SET (fillfactor = 70)', 'ALTER INDEX u SET TABLESPACE tsp',
	'ALTER MATERIALIZED VIEW m SET TABLESPACE tsp',
	'CREATE TABLE pt (id int PRIMARY KEY USING INDEX TABLESPACE tsp) PARTITION BY RANGE (id) TABLESPACE tsp',
	'CREATE TABLE pt1 PARTITION OF pt (CONSTRAINT one CHECK (id > 0)) FOR VALUES FROM (0) TO (10) TABLESPACE tsp',
	'CREATE SCHEMA el CREATE TABLE x (id int PRIMARY KEY USING INDEX TABLESPACE tsp) TABLESPACE tsp CREATE INDEX xi '
	  . 'ON x (id) TABLESPACE tsp', 'SET default_tablespace = tsp; CREATE TABLE d (id int PRIMARY KEY);
		ALTER TABLE d ADD UNIQUE (id)',
	'ALTER INDEX ALL IN TABLESPACE tsp SET TABLESPACE pg_default', 'REINDEX (TABLESPACE tsp) TABLE b');
passes($db, $db, 'tablespaces', @spaces);
is($dest->safe_psql($db, q{SELECT string_agg(command, '; ') FROM flo.ddl_log }
	  . q{WHERE command ~* 'tablespace' AND (detail IS NULL OR detail !~ 'tablespace "tsp" is left out') }
	  . q{AND command !~ 'ctas'}), '', 'each is told of');
is(outcomes($db, '^ALTER (TABLE b|INDEX u|MATERIALIZED VIEW m) SET TABLESPACE'), "ignored\napplied\nignored\nignored",
	'what is left of a statement is run');
is($dest->safe_psql($db, 'SELECT count(*) FROM pg_class WHERE reltablespace <> 0 AND oid >= 16384'), '0',
	'and all is in the default tablespace');

$_->stop('fast') for $source, $dest;
done_testing();
