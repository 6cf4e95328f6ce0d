
# Sessions that do not use pg_flo: what they see in a database with groups is
# what they see in one without pg_flo, whatever event triggers do to the tables
# they make; and what they make is the same at the destination.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats, conf => "shared_preload_libraries = 'pg_stat_statements, "
	  . "pg_flo'\npg_stat_statements.track = all\n");
my $dest = flo_node('dest', $nats);
my $file = PostgreSQL::Test::Utils::tempdir() . '/script.sql';

# Databases with groups; one stands for a server without pg_flo
my %groups = (
	plain => [],
	whole => [q{('g_whole', schemas => '{public,other}', track_ddl => true, options => '{"keyless_tables": "full"}')}],
	inserts => [q{('g_inserts', schemas => '{public,other}', track_ddl => true, }
		  . q{options => '{"keyless_tables": "insert_only"}')}],
	skip => [q{('g_skip', schemas => '{public,other}', track_ddl => true, options => '{"keyless_tables": "skip"}')}],
	listed => [q{('g_listed', tables => '{first}', track_ddl => true)}],
	untracked => [q{('g_untracked', options => '{"keyless_tables": "full"}')}],
	two => [ q{('g_one', schemas => '{public}', track_ddl => true, options => '{"keyless_tables": "refuse"}')},
		q{('g_two', schemas => '{other,public}', track_ddl => true, options => '{"keyless_tables": "full"}')} ],
);
my @followed = qw(whole inserts);

# An event trigger "et" that runs a command for each new table of the script
my $on_new = sub {
	my ($command, $tags) = @_;
	return qq{CREATE FUNCTION et() RETURNS event_trigger LANGUAGE plpgsql AS \$f\$ DECLARE r record; BEGIN
		FOR r IN SELECT objid::regclass AS tab FROM pg_event_trigger_ddl_commands()
			WHERE command_tag IN ('CREATE TABLE AS', 'SELECT INTO') AND object_type = 'table'
		LOOP EXECUTE format(\$c\$$command\$c\$, r.tab); END LOOP; END \$f\$;
		CREATE EVENT TRIGGER et ON ddl_command_end WHEN TAG IN ('CREATE TABLE AS', 'SELECT INTO')
			EXECUTE FUNCTION et();\n};
};
my $no_more = "DROP EVENT TRIGGER et; DROP FUNCTION et();\n";
my $by_index = sub {
	my ($table) = @_;
	return qq{SET enable_seqscan = off; SELECT count(*) FROM $table WHERE id = 500; RESET enable_seqscan;
		SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off;
		SELECT count(*) FROM $table WHERE id = 500; RESET ALL;\n};
};

my @scripts = (
	[ 'an index', $on_new->('CREATE INDEX ON %s (id)')
		  . 'CREATE TABLE ix AS SELECT * FROM first; SELECT * INTO ix_into FROM first;' . $by_index->('ix') . $no_more,
		qw(ix ix_into) ],
	[ 'a key', $on_new->('ALTER TABLE %s ADD PRIMARY KEY (id)')
		  . q{CREATE TABLE keyed AS SELECT * FROM first; INSERT INTO keyed VALUES (500, 'dup');
		INSERT INTO keyed VALUES (5000, 'new');
		UPDATE keyed SET v = 'u' WHERE id < 3; DELETE FROM keyed WHERE id = 4;
		CREATE TABLE doubled AS SELECT * FROM first UNION ALL SELECT * FROM first; SELECT count(*) FROM doubled;}
		  . $by_index->('keyed') . $no_more, 'keyed' ],
	[ 'a unique index', $on_new->('CREATE UNIQUE INDEX ON %s (id)')
		  . q{CREATE TABLE uniq AS SELECT * FROM first; INSERT INTO uniq VALUES (5, 'dup');
		CREATE TABLE doubled AS SELECT * FROM first UNION ALL SELECT * FROM first;} . $no_more, 'uniq' ],
	[ 'columns',
		$on_new->('ALTER TABLE %s ADD n int NOT NULL DEFAULT 7, ADD x int GENERATED ALWAYS AS (id * 2) STORED, '
		  . 'ADD CHECK (id > 0)') . q{CREATE TABLE columns AS SELECT * FROM first;
		SELECT count(n), sum(n), sum(x) FROM columns; INSERT INTO columns VALUES (-1, 'refused');
		CREATE TABLE refused AS SELECT -id AS id FROM first;} . $no_more, 'columns' ],
	[ 'other columns', $on_new->('ALTER TABLE %s DROP v, ALTER id TYPE bigint, ALTER id SET NOT NULL')
		  . q{CREATE TABLE less AS SELECT * FROM first; SELECT pg_typeof(id), less FROM less ORDER BY id LIMIT 1;}
		  . $no_more, 'less' ],
	[ 'a new name', $on_new->('ALTER TABLE %s RENAME TO renamed')
		  . q{CREATE TABLE before AS SELECT * FROM first; SELECT count(*) FROM renamed; SELECT count(*) FROM before;}
		  . $no_more, 'renamed' ],
	[ 'another schema', $on_new->('ALTER TABLE %s SET SCHEMA other')
		  . q{CREATE TABLE went AS SELECT * FROM first; SELECT count(*) FROM other.went;} . $no_more, 'other.went' ],
	[ 'no table any more', $on_new->('DROP TABLE %s')
		  . q{CREATE TABLE dropped AS SELECT * FROM first; SELECT count(*) FROM dropped;
		SELECT * INTO dropped FROM first;} . $no_more ],
	[ 'an error', $on_new->('SELECT 1/(count(*) - count(*)) FROM %s')
		  . q{CREATE TABLE failed AS SELECT * FROM first; SELECT count(*) FROM failed;} . $no_more ],
	[ 'row security', $on_new->('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY')
		  . q{CREATE TABLE secured AS SELECT * FROM first; SELECT count(*) FROM secured;} . $no_more, 'secured' ],
	[ 'more rows', $on_new->(q{INSERT INTO %1$s SELECT id + 10000, 'more' FROM %1$s})
		  . q{CREATE TABLE more AS SELECT * FROM first; SELECT count(*) FROM more;} . $no_more, 'more' ],
	[ 'row triggers', q{CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN NEW.v := upper(NEW.v); }
		  . q{RETURN NEW; END $f$;}
		. $on_new->('CREATE TRIGGER shout BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION shout()')
		  . q{CREATE TABLE loud AS SELECT * FROM first; INSERT INTO loud VALUES (0, 'loud');
			SELECT min(v), max(v) FROM loud;} . $no_more, 'loud' ],
	[ 'what event triggers see',
		q{CREATE FUNCTION et() RETURNS event_trigger LANGUAGE plpgsql AS $f$ DECLARE r record; BEGIN
			FOR r IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP RAISE NOTICE '% % % %', tg_tag, r.command_tag,
				r.object_type, r.object_identity; END LOOP; END $f$;
		CREATE EVENT TRIGGER et ON ddl_command_end EXECUTE FUNCTION et();
		CREATE FUNCTION et_start() RETURNS event_trigger LANGUAGE plpgsql AS $f$ BEGIN RAISE NOTICE 'start of %',
			tg_tag; END $f$;
		CREATE EVENT TRIGGER et_start ON ddl_command_start EXECUTE FUNCTION et_start();
		CREATE TABLE seen AS SELECT * FROM first; CREATE TABLE seen_plain (a int); ALTER TABLE seen_plain ADD b int;
		CREATE TABLE seen_key (id int PRIMARY KEY);
		CREATE TABLE seen_parts (a int) PARTITION BY LIST (a); CREATE TABLE seen_part PARTITION OF seen_parts DEFAULT;
		CREATE INDEX ON seen (id); COMMENT ON TABLE seen IS 'c'; DROP TABLE seen_key;
		CREATE TABLE seen_attached (a int); ALTER TABLE seen_parts DETACH PARTITION seen_part;
		ALTER TABLE seen_parts ATTACH PARTITION seen_attached FOR VALUES IN (1);
		DROP EVENT TRIGGER et_start; DROP FUNCTION et_start();} . $no_more, qw(seen seen_plain) ],
	[ 'an event trigger that forbids ALTER TABLE',
		q{CREATE FUNCTION et() RETURNS event_trigger LANGUAGE plpgsql AS $f$ BEGIN RAISE 'no %', tg_tag; END $f$;
		CREATE EVENT TRIGGER et ON ddl_command_start WHEN TAG IN ('ALTER TABLE', 'ALTER PUBLICATION')
			EXECUTE FUNCTION et();
		CREATE TABLE allowed (a int); CREATE TABLE allowed_as AS SELECT 1 AS a; SELECT 2 AS a INTO allowed_into;
		CREATE TABLE allowed_parts (a int) PARTITION BY LIST (a);
		CREATE TABLE allowed_part PARTITION OF allowed_parts DEFAULT; INSERT INTO allowed VALUES (1);
		INSERT INTO allowed_parts VALUES (1); ALTER TABLE allowed ADD b int;} . $no_more,
		qw(allowed allowed_as allowed_into) ],
	[ 'what the query sees', q{CREATE TABLE c1 AS SELECT count(*) AS n FROM pg_class WHERE relname = 'c1';
		SELECT n FROM c1;
		CREATE FUNCTION there(name text) RETURNS bool LANGUAGE plpgsql VOLATILE AS $f$
			BEGIN RETURN to_regclass(name) IS NOT NULL; END $f$; CREATE TABLE c2 AS SELECT there('c2') AS t;
		SELECT t FROM c2;
		BEGIN; INSERT INTO first VALUES (2000, 'own'); CREATE TABLE c3 AS SELECT * FROM first WHERE id >= 2000;
		SELECT count(*) FROM c3; ROLLBACK;
		CREATE TABLE c4 AS WITH w AS (INSERT INTO first VALUES (2001, 'w') RETURNING *) SELECT *,
			(SELECT count(*) FROM first) AS n FROM w; SELECT * FROM c4}, qw(c1 c2 c4 first) ],
	[ 'ways to say it', q{PREPARE p (int) AS SELECT * FROM first WHERE id < $1; CREATE TABLE w1 AS EXECUTE p (5);
		CREATE TABLE w2 (a, b) AS EXECUTE p (5) WITH NO DATA; CREATE TABLE w2a (a) AS SELECT * FROM first WITH NO DATA;
		CREATE TABLE IF NOT EXISTS w1 AS SELECT 1; CREATE TABLE IF NOT EXISTS w3 WITH (fillfactor = 50) AS TABLE first;
		CREATE TABLE w4 (a, b, c) AS SELECT * FROM first; CREATE TABLE w4 AS VALUES (1, 'a'), (2, 'b');
		DO $$ BEGIN CREATE TABLE w5 AS SELECT * FROM first WHERE id < 10; EXECUTE 'SELECT 1 AS one'; END $$;
		CREATE FUNCTION w6() RETURNS bigint LANGUAGE sql AS 'CREATE TABLE w6 AS SELECT 1 AS a; SELECT count(*) FROM w5';
		SELECT w6();
		CREATE UNLOGGED TABLE w7 AS SELECT 1 AS a; CREATE TEMP TABLE w8 ON COMMIT DROP AS SELECT 1 AS a; BEGIN;
		CREATE TEMP TABLE w9 ON COMMIT DELETE ROWS AS SELECT 1 AS a; SELECT count(*) FROM w9; COMMIT;
		SELECT count(*) FROM w9;
		EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) CREATE TEMP TABLE w10 AS SELECT 1 AS a;
		SELECT count(*) FROM w10; CREATE TABLE w11 (LIKE w1); CREATE MATERIALIZED VIEW w12 AS SELECT * FROM first;
		SELECT count(*) FROM w12;
		CREATE TABLE w13 AS SELECT 1 AS a, 2 AS a; CREATE TABLE w14 AS SELECT; CREATE TABLE w15 AS EXECUTE nothing;
		CREATE TABLE w16 AS SELECT 'a' COLLATE "C" || 'b' COLLATE "POSIX" AS c; SELECT a, b INTO w17 FROM w4},
		qw(w1 w2 w2a w3 w4 w5 w6 w11 w14) ],
	[ 'what is explained',
		q{EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) CREATE TABLE e1 AS SELECT * FROM first WHERE id < 20;
		SELECT count(*) FROM e1; INSERT INTO e1 VALUES (0, 'more');
		EXPLAIN (COSTS OFF) CREATE TABLE e2 AS SELECT 1 AS a; SELECT * FROM e2;
		EXPLAIN (ANALYZE, COSTS OFF, ANALYZE off) CREATE TABLE e2 AS SELECT 1 AS a;
		EXPLAIN (ANALYZE maybe) CREATE TABLE e2 AS SELECT 1 AS a;
		EXPLAIN (COSTS OFF, ANALYZE, TIMING OFF, SUMMARY OFF) /* ( */ SELECT id AS create INTO e3 FROM first
			WHERE id < 5;
		PREPARE q (int) AS SELECT * FROM first
			WHERE id < $1; EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) CREATE TABLE e4 (a) AS
			EXECUTE q (7); EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF)
			EXECUTE q (3); EXPLAIN (ANALYZE, COSTS OFF) EXECUTE nothing;
		EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) CREATE MATERIALIZED VIEW e5 AS SELECT id FROM first
			WHERE id < 5; SELECT count(*) FROM e5; DO $$ DECLARE l text;
			BEGIN FOR l IN EXPLAIN ANALYZE CREATE TABLE e6 AS SELECT 1 AS a LOOP END LOOP;
			EXECUTE 'EXPLAIN ANALYZE CREATE TABLE e7 WITH (fillfactor = 50) AS SELECT 2 AS a WITH NO DATA'; END $$;
		EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) CREATE TABLE IF NOT EXISTS e1 AS SELECT 1;
			BEGIN; EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) CREATE TABLE e8 AS SELECT 1
			AS a; ROLLBACK; EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) CREATE TABLE e8 AS SELECT 1/0 AS a;
		EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) INSERT INTO e1 VALUES (-1, 'x')}, qw(e1 e3 e4 e6 e7) ],
	[ 'plans', q{SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
		CREATE TABLE p1 AS SELECT * FROM first WHERE id % 2 = 0; SELECT count(*) FROM p1; RESET ALL;
		CREATE FUNCTION nested_in() RETURNS void LANGUAGE plpgsql AS $f$
			BEGIN CREATE TEMP TABLE IF NOT EXISTS p2t AS SELECT 1 AS x;
			CREATE TABLE IF NOT EXISTS p2 AS SELECT 1 AS inner_row; END $f$;
		CREATE FUNCTION nested() RETURNS int LANGUAGE plpgsql IMMUTABLE AS $f$ BEGIN PERFORM nested_in(); RETURN 1;
			END $f$;
		CREATE TABLE p3 AS SELECT nested() AS n FROM first; SELECT count(*) FROM p3;
		CREATE FUNCTION nested_v(i int) RETURNS int LANGUAGE plpgsql AS $f$ BEGIN
			EXECUTE format('CREATE TABLE p4_%s AS SELECT %s AS x', i, i); RETURN i; END $f$;
		CREATE TABLE p5 AS SELECT nested_v(id) FROM first WHERE id < 4; SELECT * FROM p4_2},
		qw(p1 p2 p3 p4_1 p4_3 p5) ],
	[ 'transactions', q{BEGIN; CREATE TABLE x1 AS SELECT * FROM first; SAVEPOINT a;
		CREATE TABLE x2 AS SELECT 1/(id - 5) AS q FROM first; ROLLBACK TO a; CREATE TABLE x2 AS SELECT id FROM first;
		RELEASE a; COMMIT; SELECT count(*) FROM x2;
		DO $$ BEGIN CREATE TABLE x3 AS SELECT 1/0 AS q; EXCEPTION WHEN division_by_zero
			THEN CREATE TABLE x3 AS SELECT 1 AS q; END $$;
		BEGIN ISOLATION LEVEL REPEATABLE READ; CREATE TABLE x4 AS SELECT * FROM first; INSERT INTO x4 VALUES (0, '');
		COMMIT; BEGIN ISOLATION LEVEL SERIALIZABLE; CREATE TABLE x5 AS SELECT * FROM first; COMMIT;
		BEGIN; CREATE TABLE x6 AS SELECT * FROM first; PREPARE TRANSACTION 'x'; COMMIT PREPARED 'x';
		SELECT count(*) FROM x6; BEGIN; CREATE TABLE x7 AS SELECT 1 AS a; ROLLBACK; SELECT count(*) FROM x7;
		BEGIN READ ONLY; CREATE TABLE x8 AS SELECT 1 AS a; ROLLBACK;
		DECLARE c CURSOR WITH HOLD FOR SELECT * FROM x1 ORDER BY id; BEGIN;
		DECLARE d CURSOR FOR SELECT * FROM x1 ORDER BY id; FETCH 1 FROM d; CREATE TABLE x9 AS SELECT 1 AS a;
		FETCH 1 FROM d; COMMIT; FETCH 1 FROM c}, qw(x1 x2 x3 x4 x5 x6 x9) ],
	[ 'the session', q{CREATE TABLE s1 AS SELECT 1 AS a; SELECT lastval(); CREATE SEQUENCE s2; SELECT nextval('s2');
		CREATE TABLE s3 (a int); SELECT lastval(); SHOW search_path; SELECT current_user, session_user;
		SET statement_timeout = '10s'; CREATE TABLE s4 AS SELECT 1 AS a; SHOW statement_timeout;
		SET search_path = other, public; CREATE TABLE s5 AS SELECT current_schema() AS s; SHOW search_path;
		SELECT * FROM other.s5;
		SET SESSION AUTHORIZATION joe; CREATE TABLE public.s6 AS SELECT current_user AS u, 1 AS i;
		SELECT * FROM public.s6; CREATE TABLE other.s7 AS SELECT 1 AS a; SELECT i INTO public.s8 FROM public.s6;
		CREATE TABLE pg_catalog.s9 AS SELECT 1 AS a}, qw(s1 s4 other.s5) ],
);

$source->safe_psql('postgres', 'CREATE ROLE joe');
for my $db (sort keys %groups)
{
	for my $node ($source, (grep { $_ eq $db } @followed) ? $dest : ())
	{
		$node->safe_psql('postgres', "CREATE DATABASE $db");
		$node->safe_psql($db, q{CREATE SCHEMA other; CREATE EXTENSION amcheck;
			CREATE TABLE first (id int PRIMARY KEY, v text)});
		$node->safe_psql($db, 'CREATE EXTENSION pg_flo') if $db ne 'plain';
	}
	$source->safe_psql($db, q{GRANT CREATE ON SCHEMA public TO joe;
		INSERT INTO first SELECT i, 'v' || i FROM generate_series(1, 1000) i});
	$source->safe_psql($db, "SELECT flo.create_replicator$_") for @{ $groups{$db} };
}
for my $db (@followed)
{
	$dest->safe_psql($db, qq{INSERT INTO first SELECT i, 'v' || i FROM generate_series(1, 1000) i;
		SELECT flo.create_worker('g_$db', options => '{"ddl_trust": "source"}')});
	start_member($source, "g_$db", 'replicator', $db);
	start_member($dest, "g_$db", 'postgres', $db);
}

# All a session is told, but for what pg_flo has to say about its groups
sub session
{
	my ($db, $sql) = @_;
	open my $out, '>', $file or die;
	print $out $sql, ";\n";
	close $out;
	my ($stdout, $stderr) = run_command([ 'psql', '-XAt', '-f', $file, '-h', $source->host, '-p', $source->port, '-d',
		$db ]);
	my $told = "$stdout\n$stderr\n";
	my $more = qr/\n(?:(?:DETAIL|HINT):  [^\n]*\n)*/;
	$told =~ s/^psql:[^\n]*(?:WARNING|NOTICE):  [^\n]*(?:of|by|joins) group "[^\n]*$more//mg;
	$told =~ s/^psql:[^\n]*WARNING:  partition \S+ has no usable replica identity[^\n]*$more//mg;
	# EXPLAIN ANALYZE of 18 tells what of it all was in memory
	$told =~ s/^ *(?:Planning:|Buffers: [^\n]*)\n//mg;
	$told =~ s/\s+\z//;
	return $told;
}

for my $script (@scripts)
{
	my ($name, $sql) = @$script;
	my $expected = session('plain', $sql);
	is(session($_, $sql), $expected, "$name: nothing is different, $_") for grep { $_ ne 'plain' } sort keys %groups;
}

my $sound = q{SELECT count(*) > 0 FROM (SELECT bt_index_check(i.indexrelid, true) FROM pg_index i
	JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
	WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence = 'p' AND i.indisready AND i.indisvalid) x};
is($source->safe_psql($_, $sound), 't', "$_: all indexes are sound") for sort keys %groups;

for my $db (@followed)
{
	wait_caught_up($source, $dest, "g_$db", source_db => $db, dest_db => $db);
	for my $script (@scripts)
	{
		my ($name, undef, @tables) = @$script;
		is_same_table($source, $dest, $_, "$name: $_ is the same in $db", $db) for @tables;
	}
	my $columns = q{SELECT attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute
		JOIN pg_class c ON c.oid = attrelid
		WHERE relnamespace IN ('public'::regnamespace, 'other'::regnamespace) AND relkind IN ('r', 'p', 'i')
			AND attnum > 0 AND NOT attisdropped AND relpersistence = 'p' AND relname <> 's9'
			ORDER BY attrelid::regclass::text, attnum};
	is($dest->safe_psql($db, $columns), $source->safe_psql($db, $columns), "tables and indexes are the same in $db");
	is($dest->safe_psql($db, $sound), 't', "$db: all indexes are sound there, too");
	is(status_of($dest, "g_$db", 'postgres', 'last_error', $db), '', "$db: without an error");
}

# Nor do statistics show what pg_flo does within statements
$source->safe_psql('postgres', 'CREATE EXTENSION pg_stat_statements');
sub statements
{
	my ($db) = @_;
	$source->safe_psql('postgres', 'SELECT pg_stat_statements_reset()');
	session($db, q{CREATE TABLE q1 (id int PRIMARY KEY, v text); CREATE TABLE q2 AS SELECT * FROM q1;
		ALTER TABLE q2 ADD PRIMARY KEY (id); COMMENT ON TABLE q1 IS 'c'; CREATE TEMP TABLE q3 (id int);
		CREATE TABLE q4 (id int, k int) PARTITION BY LIST (k); CREATE TABLE q5 (id int, k int);
		ALTER TABLE q4 ATTACH PARTITION q5 DEFAULT; INSERT INTO q1 VALUES (1, 'a'); DROP TABLE q1, q2, q3, q4});
	return $source->safe_psql('postgres', qq{SELECT toplevel, calls, rows, query FROM pg_stat_statements s
		JOIN pg_database d ON d.oid = s.dbid WHERE datname = '$db' ORDER BY query COLLATE "C"});
}
my $counted = statements('plain');
like($counted, qr/CREATE TABLE q2 AS/, 'statements are counted');
is(statements($_), $counted, "no others are, $_") for qw(skip two untracked listed);

# what has no key joins as its option says, before its first row and without a copy
is($source->safe_psql('whole', q{SELECT relreplident FROM pg_class WHERE oid = 'ix'::regclass}), 'f',
	'keyless tables are identified in full');
is($source->safe_psql('whole', 'SELECT count(*) FROM flo.copy_requests'), '0', 'nothing is copied');
is($source->safe_psql('skip', q{SELECT count(*) FROM pg_publication_tables WHERE tablename IN ('ix', 'w1', 'loud')}),
	'0', 'or stay out');
is($source->safe_psql('listed', q{SELECT string_agg(DISTINCT tablename, ' ') FROM pg_publication_tables}), 'first',
	'a list is a list');
is($source->safe_psql('two', q{SELECT string_agg(pubname, ' ' ORDER BY pubname) FROM pg_publication_tables
	WHERE tablename = 'ix'}), 'pgflo_g_one pgflo_g_two', 'what one group gives an identity joins the other, too');

done_testing();
