# A destination in whose schema public anybody may create objects: bare names of
# what a statement makes, drops or belongs to are still those of the source.

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

$dest->safe_psql('postgres', 'GRANT CREATE ON SCHEMA public TO PUBLIC');
$source->safe_psql('postgres',
	q{SELECT flo.create_replicator('g', track_ddl => true, options => '{"keyless_tables": "full"}')});
start_member($source, 'g', 'replicator');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g')});
start_member($dest, 'g', 'postgres');

# Whoever is asked says yes
sub arrives
{
	my ($sql, $name) = @_;
	$source->safe_psql('postgres', $sql);
	my $lsn = $source->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
	my $until = time() + $FloTest::timeout;
	while ($dest->safe_psql('postgres', "SELECT flo.wait_for('g', '$lsn', '0.2 s')") ne 't' && time() < $until)
	{
		$dest->safe_psql('postgres', 'SELECT flo.release_ddl(id) FROM flo.pending_ddl WHERE decision IS NULL');
		last if status_of($dest, 'g', 'postgres', 'state') =~ /backoff|failed/;
	}
	is($dest->safe_psql('postgres', "SELECT flo.wait_for('g', '$lsn', '1 s')"), 't', $name)
	  or diag(status_of($dest, 'g', 'postgres', 'state || detail || last_error'));
}

my $objects = q{SELECT x FROM (
	SELECT 'table ' || oid::regclass || coalesce(pg_get_partkeydef(oid), '') FROM pg_class
		WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'i', 'S')
	UNION ALL SELECT 'constraint ' || conrelid::regclass || pg_get_constraintdef(oid) FROM pg_constraint
		WHERE connamespace = 'public'::regnamespace
	UNION ALL SELECT 'function ' || oid::regprocedure FROM pg_proc WHERE pronamespace = 'public'::regnamespace
	UNION ALL SELECT 'operator ' || oid::regoperator FROM pg_operator WHERE oprnamespace = 'public'::regnamespace
	UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
	UNION ALL SELECT 'rule ' || pg_get_ruledef(oid) FROM pg_rewrite WHERE rulename <> '_RETURN' AND ev_class >= 16384
	UNION ALL SELECT 'comment ' || description FROM pg_description WHERE objoid >= 16384 AND description LIKE 'my %'
	UNION ALL SELECT 'type ' || oid::regtype FROM pg_type WHERE typnamespace = 'public'::regnamespace
		AND typtype IN ('e', 'd')) o (x) ORDER BY 1};
sub is_same { is($dest->safe_psql('postgres', $objects), $source->safe_psql('postgres', $objects), $_[0]); }

# --- what the statement itself makes --------------------------------------------------------------

arrives(q{CREATE TABLE self (a int PRIMARY KEY, b int REFERENCES self); INSERT INTO self VALUES (1, NULL), (2, 1);
	CREATE TABLE self2 (a int PRIMARY KEY, b int, FOREIGN KEY (b) REFERENCES self2 (a));
	CREATE SCHEMA later; CREATE TABLE later.self3 (a int PRIMARY KEY); SET search_path = public, later;
	CREATE TABLE self3 (a int PRIMARY KEY, b int REFERENCES self3);
	CREATE TABLE by_row (a int, b int, CHECK ((ROW(a, b)::by_row).a > 0)) PARTITION BY LIST ((ROW(a, b)::by_row));
	CREATE TABLE by_row1 PARTITION OF by_row FOR VALUES IN ('(1,2)');
	INSERT INTO by_row VALUES (1, 2)}, 'tables that refer to themselves, '
	  . 'or are partitioned by their own row type, arrive');
is_same('and are the same');
is_same_table($source, $dest, $_) for qw(self by_row1);

# --- arguments, and what belongs to views ---------------------------------------------------------

arrives(q{CREATE TYPE shade AS ENUM ('light'); CREATE TABLE t (id int PRIMARY KEY, s shade);
	CREATE DOMAIN d AS int CONSTRAINT c CHECK (VALUE > 0); CREATE VIEW v AS SELECT * FROM t;
	CREATE MATERIALIZED VIEW m AS SELECT id FROM t;
	CREATE FUNCTION f(shade) RETURNS text LANGUAGE sql AS 'SELECT $1::text';
	CREATE FUNCTION f(t[], d) RETURNS int LANGUAGE sql AS 'SELECT 1';
	CREATE PROCEDURE p(OUT a t, b shade) LANGUAGE sql AS 'SELECT NULL::t';
	CREATE FUNCTION step(int, shade) RETURNS int LANGUAGE sql AS 'SELECT $1';
	CREATE AGGREGATE ag (shade) (SFUNC = step, STYPE = int, INITCOND = '0');
	CREATE FUNCTION eq(shade, t) RETURNS bool LANGUAGE sql AS 'SELECT true';
	CREATE OPERATOR === (LEFTARG = shade, RIGHTARG = t, FUNCTION = eq);
	CREATE FUNCTION tr() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
	CREATE TRIGGER tv INSTEAD OF INSERT ON v FOR EACH ROW EXECUTE FUNCTION tr();
	CREATE RULE rv AS ON DELETE TO v DO INSTEAD NOTHING;
	CREATE TRIGGER tt BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION tr(); CREATE UNIQUE INDEX mi ON m (id);
	CREATE SEQUENCE q; ALTER SEQUENCE q OWNED BY t.id; CREATE SEQUENCE q2 OWNED BY t.id},
	'functions over types, and what belongs to views, arrive');
is_same('and are the same');
arrives(q{COMMENT ON FUNCTION f(shade) IS 'my f'; COMMENT ON AGGREGATE ag(shade) IS 'my ag';
	COMMENT ON OPERATOR === (shade, t) IS 'my operator'; COMMENT ON COLUMN v.id IS 'my column';
	COMMENT ON TRIGGER tv ON v IS 'my trigger'; COMMENT ON RULE rv ON v IS 'my rule';
	ALTER DOMAIN d RENAME CONSTRAINT c TO c2; COMMENT ON CONSTRAINT c2 ON DOMAIN d IS 'my constraint';
	ALTER FUNCTION f(t[], d) RENAME TO f2; ALTER TRIGGER tv ON v RENAME TO tv2; ALTER INDEX mi RENAME TO mi2},
	'they are commented on and renamed');
is_same('with the effect they had');
arrives(q{DROP TRIGGER tv2 ON v; DROP RULE rv ON v; DROP TRIGGER tt ON t; DROP OPERATOR === (shade, t);
	DROP FUNCTION eq(shade, t); DROP AGGREGATE ag(shade); DROP FUNCTION step(int, shade); DROP PROCEDURE p(shade);
	DROP FUNCTION f2(t[], d); DROP FUNCTION f(s shade); DROP INDEX mi2; DROP MATERIALIZED VIEW m; DROP VIEW v;
	DROP FUNCTION tr; DROP TABLE t; DROP TYPE shade; DROP DOMAIN d}, 'and dropped');
is_same('nothing of them is left');

# --- while a statement is held the configuration changes ------------------------------------------

# What was read of it meanwhile says as whom the next statements run
$source->safe_psql('postgres', 'CREATE TABLE filler (id int PRIMARY KEY, v text)');
for my $n (1 .. 4)
{
	my $pid = pid_of($dest, 'g', 'postgres');
	$source->safe_psql('postgres', "CREATE FUNCTION held$n() RETURNS int LANGUAGE sql AS 'SELECT $n'");
	wait_until($dest, 'postgres', "SELECT EXISTS (SELECT FROM flo.pending_ddl WHERE command LIKE '%held$n()%')",
		'it is held');
	$dest->safe_psql('postgres', 'UPDATE flo.workers SET started = started');
	wait_until($dest, 'postgres', "SELECT state = 'waiting' FROM flo.status WHERE member = 'postgres'",
		'it goes on waiting');
	arrives("INSERT INTO filler SELECT $n * 10000 + i, repeat('f', 200) FROM generate_series(1, 3000) i;
		CREATE TABLE by_owner$n (id int PRIMARY KEY);
		CREATE FUNCTION after$n() RETURNS int LANGUAGE sql AS 'SELECT $n'",
		"round $n: statements and rows go on");
	is(pid_of($dest, 'g', 'postgres'), $pid, 'in the same process');
}
is_same('with the rights of the worker');

$_->stop('fast') for $source, $dest;
done_testing();
