
# What the capture sees: DDL of every kind and from every place, in a database
# of another encoding; and copies of a tracked database, which are not tracked.

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
my $db = 'latin';

$source->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'");
$dest->safe_psql('postgres', "CREATE DATABASE $db");
for my $node ($source, $dest)
{
	$node->safe_psql($db, 'CREATE EXTENSION pg_flo');
	$node->safe_psql($db, "ALTER DATABASE $db SET client_encoding = 'UTF8'");
}
$source->safe_psql('postgres', 'CREATE ROLE joe; CREATE ROLE jim CREATEROLE');
$source->safe_psql($db, q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	INSERT INTO t SELECT i, 'v' FROM generate_series(1, 10) i;
	SELECT flo.create_replicator('g', track_ddl => true);
});
$dest->safe_psql($db, q{CREATE TABLE t (id int PRIMARY KEY, v text);
	INSERT INTO t SELECT i, 'v' FROM generate_series(1, 10) i;
	SELECT flo.create_worker('g', options => '{"ddl_trust": "source"}')});
start_member($source, 'g', 'replicator', $db);
start_member($dest, 'g', 'postgres', $db);

# --- from every place ------------------------------------------------------------------------

my @script = (
	# what the text means depends on settings
	q{SET escape_string_warning = off;
		SET standard_conforming_strings = off;
		ALTER TABLE t ADD c text DEFAULT 'it\\'s; a\\tb'; INSERT INTO t (id) VALUES (11)},
	q{SET transform_null_equals = on; ALTER TABLE t ADD CONSTRAINT never_null CHECK (id > 0 OR id = NULL)},
	q{SET xmloption = document; ALTER TABLE t ADD x xml DEFAULT '<a/>'},
	# names and encodings
	qq{CREATE TABLE "T\x{e4}belle ""q""; -- \x{fc}" ("sp\x{e4}te;r" int PRIMARY KEY, }
	  . qq{"\x{df}" text DEFAULT '\x{e9}\$\$\x{a7}')},
	qq{INSERT INTO "T\x{e4}belle ""q""; -- \x{fc}" VALUES (1, '\x{e0}'), (2, DEFAULT)},
	qq{ALTER TABLE "T\x{e4}belle ""q""; -- \x{fc}" RENAME TO "gr\x{fc}n"},
	qq{COMMENT ON TABLE "gr\x{fc}n" IS E'\x{e4}\\n\\\\x'},
	# several statements, comments, dollar quotes
	q{/* a; */ ALTER TABLE t ADD d int\; -- ;
		ALTER TABLE t ADD e text DEFAULT $a$;$a$ /* b */\; UPDATE t SET d = id},
	# temporary things stay where they are
	q{CREATE TEMP TABLE tmp (id int); CREATE VIEW over_tmp AS SELECT * FROM tmp;
		CREATE VIEW over_both AS WITH w AS (SELECT id FROM t) SELECT w.id FROM w JOIN tmp USING (id);
		CREATE INDEX ON tmp (id); DROP VIEW over_tmp; ALTER VIEW over_both RENAME TO ob;
		CREATE TABLE pg_temp.other AS SELECT * FROM t},
	# schemas with elements, or without a name
	q{CREATE SCHEMA elems CREATE TABLE first (id int PRIMARY KEY) CREATE TABLE second }
	  . q{(id int PRIMARY KEY REFERENCES first) CREATE VIEW both_of AS SELECT id FROM first UNION SELECT id FROM second;
		INSERT INTO elems.first VALUES (1); INSERT INTO elems.second VALUES (1)},
	q{CREATE SCHEMA AUTHORIZATION joe; CREATE TABLE joe.own (id int PRIMARY KEY); INSERT INTO joe.own VALUES (1)},
	# whoever runs it
	q{GRANT ALL ON SCHEMA public TO joe; SET ROLE joe; CREATE TABLE public.by_joe (id int PRIMARY KEY); RESET ROLE;
		ALTER TABLE by_joe OWNER TO CURRENT_USER; INSERT INTO by_joe VALUES (1)},
	q{CREATE FUNCTION maker(name text) RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = elems, public }
	  . q{AS $f$ BEGIN EXECUTE format('CREATE TABLE %I (id int PRIMARY KEY)', name); }
	  . q{EXECUTE format('INSERT INTO %I VALUES (7)', name); RETURN 1; END $f$; SET ROLE joe;
		SELECT maker('made_there'); RESET ROLE; SELECT maker('Made Here') FROM t WHERE id = 1},
	q{CREATE FUNCTION two() RETURNS void LANGUAGE sql AS $f$ ALTER TABLE t ADD two_a int; }
	  . q{ALTER TABLE t ADD two_b int DEFAULT 2 $f$; SELECT two()},
	q{CREATE PROCEDURE steps() LANGUAGE plpgsql AS $f$ BEGIN ALTER TABLE t ADD s1 int; }
	  . q{INSERT INTO t (id, s1) VALUES (20, 1); COMMIT; ALTER TABLE t ADD s2 int; ROLLBACK; ALTER TABLE t ADD s3 int; }
	  . q{INSERT INTO t (id, s3) VALUES (21, 3); END $f$; CALL steps()},
	# prepared before, run after
	q{PREPARE ins (int) AS INSERT INTO t (id, v) VALUES ($1, 'p'); PREPARE sel AS SELECT * FROM t; EXECUTE ins (30);
		EXECUTE sel; ALTER TABLE t ALTER v TYPE varchar(20), ADD f int DEFAULT 5; EXECUTE ins (31);
		ALTER TABLE t DROP f; EXECUTE ins (32)},
	# savepoints within savepoints
	q{BEGIN; SAVEPOINT a; ALTER TABLE t ADD sa int; SAVEPOINT b; ALTER TABLE t ADD sb int; ROLLBACK TO b;
		ALTER TABLE t ADD sc int; RELEASE a; SAVEPOINT d; CREATE TABLE sd (id int PRIMARY KEY);
		INSERT INTO sd VALUES (1); ROLLBACK TO d; INSERT INTO t (id, sa, sc) VALUES (40, 1, 2); COMMIT},
	# in two phases
	q{BEGIN; ALTER TABLE t ADD prepared int; INSERT INTO t (id, prepared) VALUES (50, 1); PREPARE TRANSACTION 'two';
		COMMIT PREPARED 'two'},
	q{BEGIN; ALTER TABLE t ADD never int; PREPARE TRANSACTION 'three'; ROLLBACK PREPARED 'three'},
	# event triggers that run DDL themselves
	q{CREATE FUNCTION audited() RETURNS event_trigger LANGUAGE plpgsql AS $f$ DECLARE r record; }
	  . q{BEGIN FOR r IN SELECT objid::regclass AS name FROM pg_event_trigger_ddl_commands() }
	  . q{WHERE object_type = 'table' AND command_tag = 'CREATE TABLE' LOOP }
	  . q{EXECUTE format('ALTER TABLE %s ADD audit text DEFAULT %L', r.name, tg_event); END LOOP; END $f$},
	q{CREATE EVENT TRIGGER audit ON ddl_command_end EXECUTE FUNCTION audited();
		CREATE TABLE audited_one (id int PRIMARY KEY); INSERT INTO audited_one VALUES (1); DROP EVENT TRIGGER audit},
	# typed tables, inheritance, partition trees
	q{CREATE TYPE tt AS (a int, b text); CREATE TABLE of_type OF tt (PRIMARY KEY (a));
		INSERT INTO of_type VALUES (1, 'x'); ALTER TYPE tt ADD ATTRIBUTE c int CASCADE;
		INSERT INTO of_type VALUES (2, 'y', 3); ALTER TYPE tt RENAME ATTRIBUTE b TO bb CASCADE;
		ALTER TABLE of_type NOT OF},
	q{CREATE TABLE base (id int PRIMARY KEY, v text); CREATE TABLE kid (extra int, PRIMARY KEY (id)) INHERITS (base);
		INSERT INTO kid VALUES (1, 'k', 2); ALTER TABLE base ADD w int DEFAULT 4; UPDATE base SET w = 9;
		ALTER TABLE kid NO INHERIT base; ALTER TABLE base ADD z int; ALTER TABLE kid ADD z int;
		ALTER TABLE kid INHERIT base;
		ALTER TABLE base ADD CONSTRAINT small CHECK (w < 100); ALTER TABLE kid ADD CONSTRAINT small CHECK (w < 100);
		ALTER TABLE base DROP CONSTRAINT small},
	q{CREATE TABLE tree (id int, k int, PRIMARY KEY (id, k)) PARTITION BY RANGE (k);
		CREATE TABLE tree_1 PARTITION OF tree FOR VALUES FROM (0) TO (10) PARTITION BY LIST (k);
		CREATE TABLE tree_1_1 PARTITION OF tree_1 FOR VALUES IN (1); CREATE TABLE tree_d PARTITION OF tree DEFAULT;
		INSERT INTO tree VALUES (1, 1), (2, 50); ALTER TABLE tree ADD v text DEFAULT 'tv'},
	q{CREATE INDEX tree_v ON ONLY tree (v); CREATE INDEX tree_1_v ON ONLY tree_1 (v);
		CREATE INDEX tree_1_1_v ON tree_1_1 (v); ALTER INDEX tree_1_v ATTACH PARTITION tree_1_1_v;
		ALTER INDEX tree_v ATTACH PARTITION tree_1_v; CREATE INDEX tree_d_v ON tree_d (v);
		ALTER INDEX tree_v ATTACH PARTITION tree_d_v; INSERT INTO tree VALUES (3, 1, 'w')},
	q{ALTER TABLE tree_1 DETACH PARTITION tree_1_1; INSERT INTO tree_1_1 VALUES (4, 1, 'alone');
		ALTER TABLE tree_1 ATTACH PARTITION tree_1_1 FOR VALUES IN (1); DROP TABLE tree_d},
	# nothing logical
	q{CREATE MATERIALIZED VIEW mat AS SELECT id FROM t; CREATE UNIQUE INDEX ON mat (id);
		REFRESH MATERIALIZED VIEW CONCURRENTLY mat; REFRESH MATERIALIZED VIEW mat},
	q{REINDEX TABLE t; CLUSTER t USING t_pkey; VACUUM FULL t; ANALYZE t;
		ALTER TABLE ALL IN TABLESPACE pg_default SET TABLESPACE pg_default;
		ALTER TABLE t SET TABLESPACE pg_default, SET (fillfactor = 70)},
	# the size of a transaction that is decoded while it runs
	q{SET logical_decoding_work_mem = '64kB'; BEGIN; INSERT INTO t (id, v) SELECT i, 'big'
		FROM generate_series(1000, 3000) i; ALTER TABLE t ADD big int; UPDATE t SET big = id WHERE id > 2000;
		SAVEPOINT s; ALTER TABLE t ADD gone int; UPDATE t SET gone = 1; ROLLBACK TO s; COMMIT},
	q{DROP SCHEMA elems CASCADE; CREATE SCHEMA elems; DROP SCHEMA joe CASCADE},
);

my $wrong = '';
for my $sql (@script)
{
	my ($out, $err);
	$sql =~ s/\\;/\\;/g;
	utf8::encode($sql);
	$wrong .= "$sql: $err\n" if $source->psql($db, "$sql\n;", stdout => \$out, stderr => \$err,
		on_error_stop => 1) != 0;
}
is($wrong, '', scalar(@script) . ' steps ran at the source');
wait_caught_up($source, $dest, 'g', source_db => $db, dest_db => $db);

sub dump_of
{
	my ($node) = @_;
	my ($out, $err) = run_command([ 'pg_dump', '--schema-only', '--no-publications', '--no-owner', '--no-privileges',
		'--encoding=UTF8',
		'-N', 'flo', '-h', $node->host, '-p', $node->port, $db ]);
	$out =~ s/^\\(un)?restrict.*\n//mg;
	return $out;
}
is(dump_of($dest), dump_of($source), 'pg_dump --schema-only is the same');
my @tables = split /\n/, $source->safe_psql($db,
	q{SELECT c.oid::regclass FROM pg_class c WHERE relkind = 'r' AND relpersistence = 'p'
		AND relnamespace = 'public'::regnamespace ORDER BY 1});
cmp_ok(scalar(@tables), '>=', 8, 'tables to compare');
# hashes of bytes differ between encodings: only what is ASCII everywhere
is_same_table($source, $dest, $_, "$_", $db) for grep { !/"gr/ } @tables;
my ($green) = grep { /"gr/ } @tables;
is($dest->safe_psql($db, "SELECT * FROM $green ORDER BY 1"), $source->safe_psql($db, "SELECT * FROM $green ORDER BY 1"),
	'names and values in another encoding');
is($dest->safe_psql($db, q{SELECT outcome || ' ' || command FROM flo.ddl_log
	WHERE outcome NOT IN ('applied') AND command !~ 'TABLESPACE|joe'}), '', 'all was applied');
is(status_of($dest, 'g', 'postgres', 'last_error', $db), '', 'without an error');

# Made by EXPLAIN ANALYZE: what it explains travels, also from a statement that was prepared by the protocol,
# which has a name in SQL
for my $sql (q{explain /* create */ (ANALYZE, VERBOSE) CREATE TABLE ex1 AS SELECT id FROM t},
	q{EXPLAIN ANALYSE VERBOSE create materialized view ex2 AS SELECT id FROM t WHERE id < 4 -- all},
	q{EXPLAIN (ANALYZE) SELECT id AS create INTO ex3 FROM t})
{
	$source->safe_psql($db, $sql);
}
my $bench = PostgreSQL::Test::Utils::tempdir() . '/explain.sql';
append_to_file($bench, q{CREATE TABLE ex4 AS SELECT id FROM t;
DROP TABLE ex4;
DO $$ BEGIN
	EXECUTE format('EXPLAIN ANALYZE EXECUTE %I',
	(SELECT name FROM pg_prepared_statements WHERE statement LIKE 'CREATE TABLE ex4 %')); END $$;
});
command_ok([ 'pgbench', '-n', '-M', 'prepared', '-t', '1', '-f', $bench, '-h', $source->host, '-p', $source->port,
	$db ], 'a statement prepared by the protocol is explained');
wait_caught_up($source, $dest, 'g', source_db => $db, dest_db => $db);
is($dest->safe_psql($db, q{SELECT string_agg(relname || relkind::text, ' ' ORDER BY relname) FROM pg_class
	WHERE relname ~ '^ex'}), 'ex1r ex2m ex3r ex4r', 'what is explained is there');
is_same_table($source, $dest, 'ex2', 'and a materialized view has its rows', $db);
is($dest->safe_psql($db, q{SELECT string_agg(DISTINCT left(command, 6), ',' ORDER BY left(command, 6)) FROM flo.ddl_log
	WHERE command ~* 'ex[124] '}), 'CREATE,create', 'by the statements that were explained');

# --- copies of the database ---------------------------------------------------------------------

sub messages_of
{
	my ($name, $sql) = @_;
	my $from = $source->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
	$source->safe_psql($name, $sql);
	my $to = $source->safe_psql('postgres', 'SELECT pg_current_wal_flush_lsn()');
	my ($out) = run_command([ 'pg_waldump', '-p', $source->data_dir . '/pg_wal', '-r', 'LogicalMessage', '-s', $from,
		'-e', $to ]);
	return scalar(grep { /pg_flo/ } split /\n/, $out);
}
sub tracked
{
	return $source->safe_psql($_[0], q{SELECT evtenabled <> 'D' FROM pg_event_trigger
		WHERE evtname = 'pg_flo_track_ddl'});
}

$source->safe_psql($db, q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped', $db);
wait_until($source, 'postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = '$db'",
	'nobody to be connected');
$source->safe_psql('postgres', "CREATE DATABASE clone TEMPLATE $db");
$source->safe_psql('postgres', "CREATE DATABASE restored TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'");
my $file = PostgreSQL::Test::Utils::tempdir() . '/dump';
command_ok([ 'pg_dump', '-Fc', '-f', $file, '-h', $source->host, '-p', $source->port, $db ], 'pg_dump');
command_ok([ 'pg_restore', '-d', 'restored', '-h', $source->host, '-p', $source->port, $file ], 'pg_restore');

my $ddl = q{CREATE TABLE untold (id int PRIMARY KEY); ALTER TABLE untold ADD v int;
	CREATE TABLE untold_as AS SELECT 1 AS id; DROP TABLE untold, untold_as};
isnt(messages_of($db, $ddl), 0, 'the database itself is tracked, also while its group rests');
is(tracked('restored'), 'f', 'a restored group is not tracked');
is(messages_of('restored', $ddl), 0, 'nothing is written for it');
is(messages_of('clone', $ddl), 0, 'nothing is written for a cloned one');
for my $copy ('restored', 'clone')
{
	$source->safe_psql($copy, q{UPDATE flo.replicators SET options = options});
	is(tracked($copy), 'f', "$copy: still not");
	$source->safe_psql($copy, q{SELECT flo.drop_group('g', force => true)}) if $copy eq 'clone';
	$source->safe_psql($copy, q{SELECT flo.start_group('g')}) if $copy eq 'restored';
}
is(tracked('restored'), 't', 'until somebody adopts it');
isnt(messages_of('restored', $ddl), 0, 'then it is');

done_testing();
