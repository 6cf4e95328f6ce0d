
# Names that the server has chosen at the source (indexes, constraints,
# sequences, types of arrays, statistics) are those of the destination, which
# has other tables, names in the way, fewer partitions, routes: what uses one
# later hits.  What is dropped and is not here is told, or held.

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
my $db;

sub run { $source->safe_psql($db, $_) for @_; }
sub at_source { return $source->safe_psql($db, $_[0]); }
sub at_dest { return $dest->safe_psql($db, $_[0]); }
sub caught_up { wait_caught_up($source, $dest, $db, source_db => $db, dest_db => $db); }
sub outcomes
{
	return at_dest("SELECT string_agg(DISTINCT outcome, ' ' ORDER BY outcome) FROM flo.ddl_log
		WHERE command ~ '$_[0]'");
}

sub wait_error
{
	my ($error, $name) = @_;
	ok(wait_until($dest, $db, qq{SELECT last_error ~ \$re\$$error\$re\$ FROM flo.status
		WHERE group_name = '$db' AND member = 'postgres'}, $name), $name);
}

# a group, a destination prepared by hand
sub group
{
	my ($name, %param) = @_;
	$db = $name;
	for my $node ($source, $dest)
	{
		$node->safe_psql('postgres', "CREATE DATABASE $db");
		$node->safe_psql($db, 'CREATE EXTENSION pg_flo');
	}
	run($param{source});
	at_dest($param{dest});
	create_group($source, $dest, $db, source_db => $db, dest_db => $db, tables => "$param{tables}, track_ddl => true",
		worker_options => $param{worker_options} || q('{}'));
}

# everything in a schema that has a name of its own, with what tells it apart and what is said of it
sub named
{
	my ($node, $schema, $tables) = @_;
	my $not_null = $node->pg_version >= 18 ? '' : q{AND c.contype <> 'n'};
	return $node->safe_psql($db, qq{
		SET search_path = pg_catalog;
		SELECT string_agg(l, E'\\n' ORDER BY l) FROM (
			SELECT format('index %s of %s: %s %s', i.relname, t.relname,
				regexp_replace(pg_get_indexdef(i.oid), '.* USING ', ''), obj_description(i.oid, 'pg_class')) AS l
			  FROM pg_index x JOIN pg_class i ON i.oid = indexrelid JOIN pg_class t ON t.oid = indrelid
				WHERE t.relnamespace = '$schema'::regnamespace AND t.relname ~ '$tables'
			UNION ALL SELECT format('constraint %s of %s: %s %s', c.conname, coalesce(t.relname, d.typname),
				pg_get_constraintdef(c.oid), obj_description(c.oid, 'pg_constraint'))
			  FROM pg_constraint c LEFT JOIN pg_class t ON t.oid = conrelid LEFT JOIN pg_type d ON d.oid = contypid
				WHERE c.connamespace = '$schema'::regnamespace AND coalesce(t.relname, d.typname) ~ '$tables'
			UNION ALL SELECT format('sequence %s of %s.%s: %s', s.relname, t.relname, a.attname,
				obj_description(s.oid, 'pg_class'))
			  FROM pg_depend p JOIN pg_class s ON s.oid = p.objid AND s.relkind = 'S'
				JOIN pg_class t ON t.oid = p.refobjid JOIN pg_attribute a ON a.attrelid = t.oid
				AND a.attnum = p.refobjsubid
			 WHERE p.deptype IN ('a', 'i') AND t.relnamespace = '$schema'::regnamespace AND t.relname ~ '$tables'
			UNION ALL SELECT format('array %s of %s: %s', y.typname, e.typname, obj_description(y.oid, 'pg_type'))
			  FROM pg_type y JOIN pg_type e ON e.oid = y.typelem AND e.typarray = y.oid
				WHERE y.typnamespace = '$schema'::regnamespace AND e.typname ~ '$tables'
			UNION ALL SELECT format('statistics %s of %s: %s', s.stxname, t.relname,
				obj_description(s.oid, 'pg_statistic_ext'))
			  FROM pg_statistic_ext s JOIN pg_class t ON t.oid = stxrelid
				WHERE t.relnamespace = '$schema'::regnamespace AND t.relname ~ '$tables') z});
}

sub same_names
{
	my ($tables, $what, $schema) = @_;
	caught_up();
	is(named($dest, $schema || 'public', $tables), named($source, 'public', $tables), $what);
}

# every one of these is used by its name: told something, then dropped
sub use_names
{
	my ($tables, $what) = @_;
	my @comments = split /\n/, at_source(qq{
		SELECT format('COMMENT ON INDEX %I IS %L', i.relname, 'about ' || i.relname) FROM pg_index x
			JOIN pg_class i ON i.oid = indexrelid JOIN pg_class t ON t.oid = indrelid
			WHERE t.relnamespace = 'public'::regnamespace AND t.relname ~ '$tables'
		UNION ALL SELECT format('COMMENT ON CONSTRAINT %I ON %I IS %L', c.conname, t.relname, 'about ' || c.conname)
			FROM pg_constraint c JOIN pg_class t ON t.oid = conrelid
			WHERE c.connamespace = 'public'::regnamespace AND t.relname ~ '$tables'
		UNION ALL SELECT format('COMMENT ON CONSTRAINT %I ON DOMAIN %I IS %L', c.conname, t.typname,
			'about ' || c.conname) FROM pg_constraint c JOIN pg_type t ON t.oid = contypid
			WHERE c.connamespace = 'public'::regnamespace AND t.typname ~ '$tables'
		UNION ALL SELECT format('COMMENT ON SEQUENCE %I IS %L', s.relname, 'about ' || s.relname) FROM pg_depend p
			JOIN pg_class s ON s.oid = p.objid AND s.relkind = 'S' JOIN pg_class t ON t.oid = p.refobjid
			WHERE p.deptype IN ('a', 'i') AND t.relnamespace = 'public'::regnamespace AND t.relname ~ '$tables'
		UNION ALL SELECT format('COMMENT ON STATISTICS %I IS %L', s.stxname, 'about ' || s.stxname)
			FROM pg_statistic_ext s JOIN pg_class t ON t.oid = stxrelid
			WHERE t.relnamespace = 'public'::regnamespace AND t.relname ~ '$tables'});
	run(join ';', @comments);
	same_names($tables, "$what: " . @comments . ' names are used');
	run(at_source(qq{
		SELECT coalesce(string_agg(format('ALTER TABLE %I DROP CONSTRAINT %I CASCADE', t.relname, c.conname),
			'; ' ORDER BY contype), '') FROM pg_constraint c JOIN pg_class t ON t.oid = conrelid
		 WHERE c.connamespace = 'public'::regnamespace AND t.relname ~ '$tables' AND c.conparentid = 0
			AND c.coninhcount = 0 AND c.contype <> 'n'}));
	run(at_source(qq{
		SELECT coalesce(string_agg(format('DROP INDEX %I', i.relname), '; '), '') FROM pg_index x
			JOIN pg_class i ON i.oid = indexrelid JOIN pg_class t ON t.oid = indrelid
			WHERE t.relnamespace = 'public'::regnamespace AND t.relname ~ '$tables' AND NOT i.relispartition}));
	run(at_source(qq{
		SELECT coalesce(string_agg(format('DROP STATISTICS %I', s.stxname), '; '), '') FROM pg_statistic_ext s
			JOIN pg_class t ON t.oid = stxrelid WHERE t.relnamespace = 'public'::regnamespace
			AND t.relname ~ '$tables'}));
	run(at_source(qq{
		SELECT coalesce(string_agg(format('DROP SEQUENCE %I CASCADE', s.relname), '; '), '') FROM pg_depend p
			JOIN pg_class s ON s.oid = p.objid AND s.relkind = 'S' JOIN pg_class t ON t.oid = p.refobjid
		 WHERE p.deptype = 'a' AND t.relnamespace = 'public'::regnamespace AND t.relname ~ '$tables'}));
	same_names($tables, "$what: and dropped");
}

# --- a group with a list, and what is beside it at the source ----------------------------------

group('list', tables => q{'{t}'}, source => q{
	CREATE TABLE t (id int PRIMARY KEY, v int, w int); CREATE TABLE other (id int PRIMARY KEY, a int);
	CREATE INDEX t_v_idx ON other (a);
	CREATE TABLE keep (id int PRIMARY KEY, a int CONSTRAINT t_w_check CHECK (a > 0)); CREATE INDEX t_w_key ON keep (a)},
	dest => q{CREATE TABLE t (id int PRIMARY KEY, v int, w int)});
run('CREATE INDEX ON t (v); ALTER TABLE t ADD UNIQUE (w); ALTER TABLE t ADD CHECK (w > 0);
	INSERT INTO t VALUES (1, 1, 1)');
same_names('^t$', 'names of an index and two constraints');
run('DROP INDEX t_v_idx1; ALTER TABLE t DROP CONSTRAINT t_w_key1; ALTER TABLE t DROP CONSTRAINT t_w_check1;
	INSERT INTO t VALUES (2, 1, 1), (3, 1, -1)');
same_names('^t$', 'by which they are dropped');
is(outcomes('.'), 'applied', 'all of it was applied');
is(at_dest('SELECT count(*) FROM t'), '3', 'and rows go on that they would refuse');

# --- everything that the server names, with names in the way at the source ---------------------

my $unnamed_statistics = $source->pg_version >= 16 && $dest->pg_version >= 16
  ? 'CREATE STATISTICS ON v, w FROM a; CREATE STATISTICS ON v, w FROM a' : '';

group('every', tables => q{NULL, except_tables => '{way}'}, worker_options => q('{"ddl_trust": "source"}'), source => q{
	CREATE TABLE q (id int PRIMARY KEY); CREATE TABLE way (id int, x int, y int); CREATE TYPE _a AS ENUM ('x');
	CREATE DOMAIN _d AS int; CREATE TYPE ___b AS ENUM ('x');
	CREATE STATISTICS a_v_w_stat ON x, y FROM way; CREATE STATISTICS b_v_w_stat ON x, y FROM way;
	DO $$ DECLARE n text; BEGIN
		FOREACH n IN ARRAY '{a_pkey,a_v_idx,a_v_key,a_v_w_key,a_r_excl,a_lower_idx,b_v_idx,b_lower_idx,b_pkey,p_v_idx,
			p1_v_idx,p2_v_idx1,p2_pkey,p4_pkey,m_n_idx,a_g_key,a_v_w_idx}'::text[] LOOP
			EXECUTE format('CREATE INDEX %I ON way (x)', n); END LOOP;
		FOREACH n IN ARRAY '{a_w_check,a_check,a_check1,a_f_fkey,d_check,d_check1,p_v_check,p_v_fkey,
			p1_v_fkey,p3_v_fkey,pr_id_k_fkey1,p2_k_check,c_check,a_g_check,a_id_not_null}'::text[] LOOP
			EXECUTE format('ALTER TABLE way ADD CONSTRAINT %I CHECK (x > 0)', n); END LOOP;
		FOREACH n IN ARRAY '{a_id_seq,a_n_seq,a_h_seq,p_s_seq}'::text[] LOOP
			EXECUTE format('CREATE SEQUENCE %I OWNED BY way.x', n); END LOOP; END $$},
	dest => q{CREATE TABLE q (id int PRIMARY KEY)});

run(q{CREATE TABLE a (id serial PRIMARY KEY, v int UNIQUE, w int CHECK (w > 0), n int GENERATED BY DEFAULT AS IDENTITY,
	f int REFERENCES q, r int4range, e text,
	EXCLUDE USING gist (r WITH &&), CHECK (v <> w), CHECK (v > 0 OR w > 0), UNIQUE (v, w))},
	q{CREATE INDEX ON a (v); CREATE INDEX ON a (v DESC); CREATE INDEX ON a (v) WHERE w > 1;
		CREATE INDEX ON a (lower(e)); CREATE INDEX ON a (upper(e)); CREATE INDEX ON a (lower(e) DESC)},
	q{CREATE STATISTICS st ON v, w FROM a}, $unnamed_statistics,
	q{ALTER TABLE a ADD COLUMN g int UNIQUE CHECK (g > 0), ADD COLUMN h serial},
	q{CREATE TABLE b (LIKE a INCLUDING ALL)}, q{CREATE INDEX CONCURRENTLY ON a (v, w)},
	q{CREATE DOMAIN d AS int CHECK (value > 0) CHECK (value < 100); ALTER DOMAIN d ADD CHECK (value <> 5);
		CREATE TABLE c (x d, CHECK (x <> 7))},
	q{CREATE TYPE comp AS (x int); CREATE TYPE ra AS RANGE (SUBTYPE = float8);
		CREATE MATERIALIZED VIEW m AS SELECT 1 AS n; CREATE INDEX ON m (n)});
same_names('^(a|b|c|d|m|comp|ra|ra_multirange|q)$', 'whatever a table, domain, type, materialized view has');
run(q{ALTER TABLE a ALTER v TYPE bigint, ALTER e TYPE varchar; ALTER DOMAIN d DROP CONSTRAINT d_check2});
same_names('^(a|b|c|d|m|comp|ra|ra_multirange|q)$', 'a new type of columns, and a domain without one of its checks');
run(q{ALTER TABLE b RENAME TO bb}, q{CREATE TYPE _q AS ENUM ('y'); CREATE TYPE _comp AS (z int)});
same_names('^(a|bb|c|d|m|comp|_comp|_q|ra|ra_multirange|q)$', 'types of arrays give way');

run(q{CREATE TABLE p (id int, k int, v int, s serial, PRIMARY KEY (id, k), CHECK (v > 0)) PARTITION BY LIST (k);
	CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2)},
	q{CREATE INDEX ON p (v); CREATE INDEX ON p (v, k); ALTER TABLE p ADD FOREIGN KEY (v) REFERENCES q;
		CREATE TABLE p3 PARTITION OF p DEFAULT; CREATE TABLE p4 (LIKE p INCLUDING ALL);
		ALTER TABLE p4 ALTER s DROP DEFAULT},
	q{CREATE INDEX ON p4 (k, v); CREATE UNIQUE INDEX p4_pkey2 ON p4 (id, k);
		ALTER TABLE p ATTACH PARTITION p4 FOR VALUES IN (4);
		CREATE TABLE pr (id int, k int, FOREIGN KEY (id, k) REFERENCES p); ALTER TABLE pr ADD UNIQUE (k)},
	q{ALTER TABLE p ADD UNIQUE (s, k), ADD CHECK (k <> 17)});
same_names('^(p[0-9]?|pr)$', 'partitions, those attached too, and a foreign key to them');
run(q{ALTER TABLE p ALTER v TYPE bigint; ALTER TABLE p DETACH PARTITION p1});
same_names('^(p[0-9]?|pr)$', 'a new type of a column of theirs; detached');
use_names('^(a|bb|c|d|m)$', 'tables');
use_names('^(p[0-9]?|pr)$', 'partitions');
is(outcomes('.'), 'applied', 'nothing was passed over');
is(at_dest('SELECT count(*) FROM flo.pending_ddl'), '0', 'or held');

# --- statements of an event trigger use the names at once ----------------------------------------

run(q{CREATE FUNCTION also() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN
		FOR r IN SELECT i.indexrelid::regclass AS i FROM pg_event_trigger_ddl_commands() e
			JOIN pg_index i ON i.indrelid = e.objid WHERE e.command_tag = 'CREATE TABLE' LOOP
			EXECUTE format('COMMENT ON INDEX %s IS %L', r.i, 'of the trigger');
				EXECUTE format('ALTER INDEX %s RENAME TO %I', r.i, 'renamed_' || r.i); END LOOP; END $$;
	CREATE EVENT TRIGGER also ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION also();
	CREATE INDEX n_x_key ON way (x); CREATE INDEX n_pkey ON way (x);
	CREATE TABLE n (id serial PRIMARY KEY, x int UNIQUE); DROP EVENT TRIGGER also});
same_names('^n$', 'an event trigger renames what the statement has made');

# --- partitions that are not here, or only here ---------------------------------------------------

group('parts', tables => 'NULL', source => q{
	CREATE TABLE p (id int, k int, v int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
	CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
	CREATE TABLE pr (id int PRIMARY KEY, k int); CREATE TABLE q (id int PRIMARY KEY)},
	dest => q{CREATE TABLE p (id int, k int, v int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
		CREATE TABLE p0 PARTITION OF p FOR VALUES IN (0); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
		CREATE TABLE p3 PARTITION OF p FOR VALUES IN (3);
	CREATE TABLE pr (id int PRIMARY KEY, k int); CREATE TABLE q (id int PRIMARY KEY)});
my $fkeys = q{SELECT string_agg(conname || ' to ' || confrelid::regclass, ', '
	ORDER BY confrelid::regclass::text, conname) FROM pg_constraint
	WHERE conrelid = 'pr'::regclass AND contype = 'f' AND confrelid::regclass::text IN ('p', 'p1')};
run(q{ALTER TABLE pr ADD FOREIGN KEY (id, k) REFERENCES p;
	ALTER TABLE pr ADD FOREIGN KEY (id, k) REFERENCES p ON DELETE CASCADE},
	q{CREATE INDEX ON p (v); ALTER TABLE p ADD FOREIGN KEY (v) REFERENCES q; ALTER TABLE p ADD CHECK (v > 0)});
same_names('^(p|p1)$', 'where there are other partitions');
is(at_dest($fkeys), at_source($fkeys), 'what arises for a partition that is only here makes room');
run(q{COMMENT ON INDEX p1_v_idx IS 'x'; ALTER TABLE pr DROP CONSTRAINT pr_id_k_fkey;
	ALTER TABLE p DROP CONSTRAINT p_v_fkey, DROP CONSTRAINT p_v_check; DROP INDEX p_v_idx});
caught_up();
is(at_dest($fkeys), at_source($fkeys), 'and is dropped by its name');
is(at_dest(q{SELECT count(*) FROM pg_class WHERE relname ~ 'v_idx'}), '0', 'an index with those of all partitions');

# --- routes ---------------------------------------------------------------------------------------

for my $node ($source, $dest)
{
	$node->safe_psql('postgres', 'CREATE DATABASE routes');
	$node->safe_psql('routes', 'CREATE EXTENSION pg_flo');
}
$db = 'routes';
run(q{CREATE TABLE t (id int PRIMARY KEY, v int, w int, secret int); CREATE TABLE way (x int, y int);
	CREATE INDEX t_v_idx ON way (x); CREATE INDEX t_w_key ON way (x); CREATE SEQUENCE t_n_seq OWNED BY way.x;
	ALTER TABLE way ADD CONSTRAINT t_v_check CHECK (x > 0)},
	q{SELECT flo.create_replicator('routes', except_tables => '{way}', track_ddl => true)});
at_dest(q{CREATE SCHEMA there; CREATE TABLE there.target (id int PRIMARY KEY, vv int, w int);
	CREATE TABLE t_v_idx1 (id int);
	SELECT flo.create_worker('routes', options => '{"ddl_trust": "source"}');
	INSERT INTO flo.routes (group_name, source_table, destination_schema, destination_table, column_mappings)
		VALUES ('routes', 't', 'there', 'target', '{"v": "vv", "secret": null}')});
start_member($source, 'routes', 'replicator', 'routes');
start_member($dest, 'routes', 'postgres', 'routes');
run(q{CREATE INDEX ON t (v); CREATE INDEX ON t (secret); ALTER TABLE t ADD CHECK (v > 0), ADD UNIQUE (w);
	ALTER TABLE t ADD n serial; CREATE STATISTICS st ON v, w FROM t; CREATE INDEX ON t ((v + 1));
	CREATE INDEX ON t ((v + 2))});
caught_up();
my $there = q{SELECT string_agg(n, ' ' ORDER BY n)
	FROM (SELECT relname AS n FROM pg_class WHERE relnamespace = to_regnamespace('%s') AND relkind IN ('i', 'S')
	AND relname ~ '^t_' UNION SELECT conname FROM pg_constraint
	WHERE connamespace = to_regnamespace('%s') AND conname ~ '^t_' AND contype <> 'n') z};
is(at_dest(sprintf $there, 'there', 'there'), 't_expr_idx t_expr_idx1 t_n_seq1 t_v_check1 t_v_idx1 t_w_key1',
	'the names of a table that a route has led elsewhere, with other columns');
run(q{COMMENT ON INDEX t_v_idx1 IS 'the index'; COMMENT ON CONSTRAINT t_v_check1 ON t IS 'the check';
	COMMENT ON SEQUENCE t_n_seq1 IS 'the sequence'; ALTER INDEX t_expr_idx1 RENAME TO renamed});
caught_up();
is(at_dest(q{SELECT concat_ws(', ', obj_description('there.t_v_idx1'::regclass, 'pg_class'),
	obj_description('there.t_n_seq1'::regclass, 'pg_class'), pg_get_indexdef('there.renamed'::regclass, 1, true))}),
	'the index, the sequence, (vv + 2)', 'are used');
run(q{DROP INDEX t_v_idx1, t_expr_idx, renamed; ALTER TABLE t DROP CONSTRAINT t_v_check1, DROP CONSTRAINT t_w_key1;
	DROP SEQUENCE t_n_seq1 CASCADE});
caught_up();
is(at_dest(sprintf $there, 'there', 'there'), '', 'and dropped');
is(at_dest(q{SELECT to_regclass('t_v_idx1') IS NOT NULL}), 't', 'what is called like one, elsewhere, is left alone');

# --- what has such a name here, or is here already ------------------------------------------------

group('here', tables => 'NULL', source => q{
	CREATE TABLE t (id int PRIMARY KEY, v int, w int); CREATE TABLE tmpl (id int PRIMARY KEY, v int);
	CREATE INDEX ta ON tmpl ((v + 1)); CREATE INDEX tb ON tmpl ((v + 2))},
	dest => q{CREATE TABLE t (id int PRIMARY KEY, v int, w int); CREATE TABLE tmpl (id int PRIMARY KEY, v int);
		CREATE INDEX tb ON tmpl ((v + 2)); CREATE INDEX ta ON tmpl ((v + 1));
	CREATE TABLE mine (a int); CREATE INDEX t_v_idx ON mine (a); ALTER TABLE t ADD CONSTRAINT t_w_check CHECK (w > -5);
	CREATE TABLE made (id int CONSTRAINT own_pkey PRIMARY KEY, v int CONSTRAINT own_v UNIQUE, w int,
		CONSTRAINT own_check CHECK (w > 0), x int CONSTRAINT own_x REFERENCES t)});
run(q{CREATE TABLE copied (LIKE tmpl INCLUDING ALL)});
same_names('^copied$', 'two of a kind that are made in another order here');
run(q{CREATE INDEX ON t (v)});
wait_error('the name "t_v_idx", which index public.t_v_idx1 has at the source, '
	  . 'is taken here by index public.t_v_idx .*CREATE INDEX ON t', 'a name that something of others has');
at_dest('ALTER INDEX t_v_idx RENAME TO mine_a');
caught_up();
is(at_dest(q{SELECT 't_v_idx'::regclass IN (SELECT indexrelid FROM pg_index WHERE indrelid = 't'::regclass)}), 't',
	'goes on when it is free');
run(q{ALTER TABLE t ADD CHECK (w > 0)});
wait_error('the name "t_w_check", which constraint t_w_check1 on table public.t has at the source, '
	  . 'is taken here by constraint t_w_check on table public.t', 'a constraint of somebody\'s');
at_dest('ALTER TABLE t RENAME CONSTRAINT t_w_check TO mine');
caught_up();
run(q{ALTER TABLE t DROP CONSTRAINT t_w_check; INSERT INTO t VALUES (1, 1, -1)});
caught_up();
is(at_dest('SELECT count(*) FROM t'), '1', 'the right one is dropped');

run(q{CREATE TABLE made (id int PRIMARY KEY, v int UNIQUE, w int, CHECK (w > 0), x int REFERENCES t)});
same_names('^made$', 'a table that was made by hand, with other names');
like(at_dest(q{SELECT detail FROM flo.ddl_log WHERE command ~ '^CREATE TABLE made' AND outcome = 'present'}),
	qr/constraint "own_check" is called "made_w_check" now, as at the source/, 'is told') ;
run(q{ALTER TABLE made DROP CONSTRAINT made_v_key, DROP CONSTRAINT made_x_fkey; DROP INDEX copied_expr_idx});
same_names('^(made|copied)$', 'and is used by them');

# a statement that is held gets its names when it is released
run(q{ALTER TABLE t ADD s serial UNIQUE});
ok(wait_until($dest, $db, q{SELECT count(*) = 1 FROM flo.pending_ddl}, 'held'), 'a serial column is held');
at_dest(q{CREATE SEQUENCE t_s_seq; SELECT flo.release_ddl(id) FROM flo.pending_ddl});
wait_error('the name "t_s_seq", which sequence public.t_s_seq1 has at the source, '
	  . 'is taken here by sequence public.t_s_seq', 'its names are given');
at_dest('DROP SEQUENCE t_s_seq');
caught_up();
run(q{ALTER TABLE t DROP CONSTRAINT t_s_key; DROP SEQUENCE t_s_seq CASCADE; ALTER TABLE t DROP s});
caught_up();
is(outcomes('DROP SEQUENCE|DROP CONSTRAINT t_s_key'), 'applied', 'used by them');

# --- what was made here before, with just that name, is not there twice ---------------------------

# by hand, or because routes lead two tables to one
for my $node ($source, $dest)
{
	$node->safe_psql('postgres', 'CREATE DATABASE twice');
	$node->safe_psql('twice', q{CREATE EXTENSION pg_flo; CREATE TABLE u (id int PRIMARY KEY);
		CREATE TABLE t (id int PRIMARY KEY, v int, w int, e text); CREATE TABLE base (id int PRIMARY KEY, v int);
		CREATE TABLE kid (PRIMARY KEY (id)) INHERITS (base); CREATE DOMAIN d AS int;
		CREATE TABLE of_d (id int PRIMARY KEY, x d);
		CREATE TABLE p (id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
		CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE SCHEMA s; CREATE TABLE m (id int PRIMARY KEY, v int);
		CREATE TABLE s.m (id int PRIMARY KEY, v int)});
}
$db = 'twice';
run(q{SELECT flo.create_replicator('twice', track_ddl => true)});
at_dest(q{SELECT flo.create_worker('twice'); INSERT INTO flo.routes
	(group_name, source_schema, source_table, destination_table, operations)
	VALUES ('twice', 's', 'm', 'm', '{INSERT,UPDATE,DELETE}'),
	('twice', 'public', 'm', 'm', '{INSERT,UPDATE,DELETE}')});
start_member($source, 'twice', 'replicator', 'twice');
start_member($dest, 'twice', 'postgres', 'twice');
my @twice = ('CREATE INDEX ON t (v)', 'CREATE INDEX ON t (lower(e)) WHERE v > 1', 'ALTER TABLE t ADD UNIQUE (w)',
	'ALTER TABLE t ADD CHECK (w > 5)', 'ALTER TABLE t ADD FOREIGN KEY (v) REFERENCES u',
	'ALTER TABLE base ADD CHECK (v > 5)',
	'ALTER DOMAIN d ADD CHECK (VALUE <> 8)', 'CREATE INDEX ON p (id)', 'ALTER TABLE p ADD CHECK (k <> 99)',
	'ALTER TABLE p ADD FOREIGN KEY (k) REFERENCES u');
at_dest(join ';', @twice);
for my $sql (@twice)
{
	run($sql);
	caught_up();
	like(at_dest(q{SELECT outcome || ': ' || detail FROM flo.ddl_log ORDER BY id DESC LIMIT 1}),
		qr/^applied: (index|constraint) "\w+" exists already$/, "$sql, here already");
}
run("CREATE INDEX ON $_ (v)", "ALTER TABLE $_ ADD CHECK (v > 0), ADD UNIQUE (v)") for 'm', 's.m';
same_names('^(t|base|kid|d|p|p1|m)$', 'nothing is there twice');

# --- what is dropped and is not here --------------------------------------------------------------

group('absent', tables => 'NULL', source => q{
	CREATE TABLE t (id int PRIMARY KEY, v int, w int, CHECK (v > 0), UNIQUE (v)); CREATE INDEX t_w_idx ON t (w);
	CREATE TABLE never (id int PRIMARY KEY); CREATE SEQUENCE t_seq OWNED BY t.w; CREATE STATISTICS t_st ON v, w FROM t;
	CREATE DOMAIN dom AS int CONSTRAINT dom_c CHECK (VALUE > 0);
	CREATE TABLE b (id int PRIMARY KEY, d dom, n int GENERATED BY DEFAULT AS IDENTITY,
		g int GENERATED ALWAYS AS (1) STORED); CREATE TABLE kid (PRIMARY KEY (id)) INHERITS (never)},
	dest => q{CREATE TABLE t (id int PRIMARY KEY, v int, w int); CREATE DOMAIN dom AS int;
		CREATE TABLE b (id int PRIMARY KEY, d dom, n int NOT NULL, g int); CREATE TABLE kid (id int PRIMARY KEY)});
for my $case (
	[ 'DROP INDEX t_w_idx', 'absent', 'index "t_w_idx" was never brought here' ],
	[ 'ALTER TABLE t DROP CONSTRAINT t_v_check', 'absent', 'constraint "t_v_check" was never brought here' ],
	[ 'ALTER TABLE t DROP CONSTRAINT t_v_key, ADD x int', 'applied', 'constraint "t_v_key" was never brought here' ],
	[ 'DROP SEQUENCE t_seq', 'absent', 'sequence "t_seq" was never brought here' ],
	[ 'ALTER DOMAIN dom DROP CONSTRAINT dom_c', 'absent', 'constraint "dom_c" was never brought here' ],
	[ 'ALTER TABLE b ALTER n DROP IDENTITY, ALTER g DROP EXPRESSION', 'present',
		'column "n" is not generated here; column "g" is not generated here' ],
	[ 'ALTER TABLE kid NO INHERIT never', 'present', 'it is no child of "never" here' ],
	[ 'DROP TABLE never', 'absent', 'table "never" was never brought here' ])
{
	my ($sql, $outcome, $detail) = @$case;
	run($sql);
	caught_up();
	is(at_dest(q{SELECT outcome, detail FROM flo.ddl_log ORDER BY id DESC LIMIT 1}), "$outcome|$detail", $sql);
}
run(q{CREATE INDEX ON t (v); ALTER TABLE t ADD CHECK (v > 0), ADD CONSTRAINT named UNIQUE (w);
	CREATE TABLE also (id serial PRIMARY KEY); CREATE INDEX i ON t (w); CREATE TYPE ty AS ENUM ('a');
	ALTER INDEX i RENAME TO j});
caught_up();
at_dest('DROP INDEX t_v_idx; ALTER TABLE t DROP CONSTRAINT t_v_check, DROP CONSTRAINT named; DROP TABLE also;
	DROP INDEX j; DROP TYPE ty');
for my $case (
	[ 'DROP INDEX t_v_idx', 'index "t_v_idx"' ],
	[ 'ALTER TABLE t DROP CONSTRAINT t_v_check', 'constraint "t_v_check"' ],
	[ 'ALTER TABLE t ADD y int, DROP CONSTRAINT named', 'constraint "named"' ],
	[ 'DROP TABLE also', 'table "also"' ], [ 'DROP INDEX j', 'index "j"' ], [ 'DROP TYPE ty', 'type "ty"' ])
{
	my ($sql, $what) = @$case;
	run($sql);
	ok(wait_until($dest, $db, qq{SELECT reason = '$what was made here and is missing now, or has another name'
		FROM flo.pending_ddl}, $sql), "held: $sql");
	at_dest('SELECT flo.release_ddl(id) FROM flo.pending_ddl');
	caught_up();
	is(at_dest(q{SELECT detail FROM flo.ddl_log ORDER BY id DESC LIMIT 1}), "$what is gone already", 'told');
}

# it is known by its name when its table, domain or schema is called otherwise, too
run(q{CREATE SCHEMA sc; CREATE TABLE sc.a (id int PRIMARY KEY, v int CHECK (v > 0), w int UNIQUE);
	CREATE INDEX ON sc.a (v); CREATE DOMAIN sc.d AS int CHECK (VALUE > 0); CREATE TYPE sc.ty AS ENUM ('a')},
	q{ALTER TABLE sc.a RENAME TO a2; ALTER DOMAIN sc.d RENAME TO d2}, q{ALTER SCHEMA sc RENAME TO sc2});
caught_up();
at_dest('ALTER TABLE sc2.a2 DROP CONSTRAINT a_v_check, DROP CONSTRAINT a_w_key; DROP INDEX sc2.a_v_idx;
	ALTER DOMAIN sc2.d2 DROP CONSTRAINT d_check; DROP TYPE sc2.ty');
for my $sql ('ALTER TABLE sc2.a2 DROP CONSTRAINT a_v_check', 'ALTER TABLE sc2.a2 DROP CONSTRAINT a_w_key',
	'DROP INDEX sc2.a_v_idx', 'ALTER DOMAIN sc2.d2 DROP CONSTRAINT d_check', 'DROP TYPE sc2.ty')
{
	run($sql);
	ok(wait_until($dest, $db, q{SELECT reason ~ 'was made here and is missing now' FROM flo.pending_ddl}, $sql),
		"held: $sql");
	at_dest('SELECT flo.release_ddl(id) FROM flo.pending_ddl');
	caught_up();
}

done_testing();
