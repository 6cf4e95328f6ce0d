
# What belongs to a table goes where a route leads the table: every statement that
# names an index, an owned sequence, a constraint, a statistics object, a trigger,
# a rule, a policy or the row type of a routed table hits that one, and no other
# that is called alike.  A whole schema is routed, and one table under another name.

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
my $db = 'postgres';

sub at_dest { return $dest->safe_psql($db, $_[0]); }

# Each statement runs through; no error, nothing held
sub passes
{
	my ($what, @sql) = @_;
	$source->safe_psql($db, $_) for @sql;
	my $lsn = $source->safe_psql($db, 'SELECT pg_current_wal_lsn()');
	wait_until($dest, $db, qq{SELECT (SELECT bool_and(durable_lsn >= '$lsn') FROM flo.status)
		OR EXISTS (SELECT FROM flo.pending_ddl) OR EXISTS (SELECT FROM flo.status WHERE state = 'backoff')}, $what);
	my $trouble = at_dest(q{SELECT concat((SELECT string_agg(command || ': ' || reason, E'\n') FROM flo.pending_ddl),
		(SELECT string_agg(last_error, E'\n') FROM flo.status WHERE state = 'backoff'))});
	is($trouble, '', $what);
	die $what if $trouble ne '';
}

$source->safe_psql($db, q{
	CREATE TYPE mood AS ENUM ('ok');
	CREATE SCHEMA hers;
	CREATE DOMAIN hers.plain AS int;
	CREATE SCHEMA a;
	CREATE TABLE a.t (id int PRIMARY KEY, v text, n int, m mood);
	CREATE TABLE u (id int PRIMARY KEY, v text, n int, m mood);
	CREATE TABLE plain (id int PRIMARY KEY, v text);
});
$dest->safe_psql($db, q{
	CREATE TYPE mood AS ENUM ('ok');
	CREATE SCHEMA hers;
	CREATE DOMAIN hers.plain AS int;
	CREATE SCHEMA b;
	CREATE TABLE b.t (id int PRIMARY KEY, v text, n int, m mood);
	CREATE SCHEMA there;
	CREATE TABLE there.x (id int PRIMARY KEY, v text, n int, m mood);
	CREATE TABLE plain (id int PRIMARY KEY, v text);

	-- the administrator's, called like parts of routed tables
	CREATE TABLE own (id int, v text);
	CREATE INDEX by_v ON own (v);
	CREATE SEQUENCE u_seq;
	CREATE STATISTICS u_st ON id, v FROM own;
	CREATE TYPE u AS (own int);
});
my $own = q{SELECT (SELECT string_agg(pg_describe_object(classid, objid, objsubid), ', ' ORDER BY 1) FROM pg_depend
	WHERE refobjid = 'own'::regclass), obj_description('by_v'::regclass),
	(SELECT reloptions FROM pg_class WHERE oid = 'by_v'::regclass),
		(SELECT seqincrement FROM pg_sequence WHERE seqrelid = 'u_seq'::regclass),
		(SELECT stxstattarget FROM pg_statistic_ext s WHERE stxname = 'u_st' AND stxrelid = 'own'::regclass),
		obj_description('u'::regtype)};
$own =~ s/stxstattarget/NULLIF(to_jsonb(s)->>'stxstattarget', '-1')/;
my $before = at_dest($own);
$source->safe_psql($db, q{SELECT flo.create_replicator('g', schemas => '{public,a}', track_ddl => true)});
$dest->safe_psql($db, q{SELECT flo.create_worker('g');
	INSERT INTO flo.routes (group_name, source_schema, source_table, destination_schema, destination_table)
		VALUES ('g', 'a', '*', 'b', NULL), ('g', 'public', 'u', 'there', 'x'),
		('g', 'public', 'later', 'there', 'late')});
start_member($source, 'g', 'replicator');
start_member($dest, 'g', 'postgres');
passes('begun', q{INSERT INTO a.t VALUES (1, 'a', 1); INSERT INTO u VALUES (1, 'u', 1); ALTER TABLE plain ADD w int;
	ALTER TABLE u ADD w int; ALTER TABLE a.t ADD w int});

# the schema and, for the table led to there.x, its names at both ends
for my $case ([ 'a', 't', 'b', 't' ], [ 'public', 'u', 'there', 'x' ])
{
	my ($schema, $table, $to_schema, $to_table) = @$case;
	my $path = "SET search_path = $schema; ";

	# indexes
	passes("$table: an index", $path . "CREATE INDEX by_v ON $table (v)",
		$path . 'ALTER INDEX by_v SET (fillfactor = 50)', "ALTER INDEX $schema.by_v RESET (fillfactor)",
		$path . 'ALTER INDEX by_v SET (fillfactor = 60)', $path . q{COMMENT ON INDEX by_v IS 'by v'},
		$path . "ALTER TABLE $table CLUSTER ON by_v",
		$path . "CREATE INDEX gone ON $table (n)", $path . 'DROP INDEX gone',
		"CREATE INDEX gone2 ON $schema.$table (n)", "DROP INDEX $schema.gone2",
		$path . "CREATE INDEX CONCURRENTLY gone3 ON $table (n)", $path . 'DROP INDEX CONCURRENTLY gone3',
		$path . "CREATE INDEX kept ON $table (n)", $path . 'ALTER INDEX kept RENAME TO kept_2',
		$path . "CLUSTER $table USING by_v", $path
		  . "CREATE INDEX st_i ON $table ((n + 1)); ALTER INDEX st_i ALTER 1 SET STATISTICS 77");
	is(at_dest(qq{SELECT obj_description('$to_schema.by_v'::regclass),
		(SELECT reloptions FROM pg_class WHERE oid = '$to_schema.by_v'::regclass),
		(SELECT indisclustered FROM pg_index WHERE indexrelid = '$to_schema.by_v'::regclass)}),
		'by v|{fillfactor=60}|t', "$table: it was that index");
	is(at_dest(qq{SELECT string_agg(relname, ' ' ORDER BY relname COLLATE "C") FROM pg_class c
		JOIN pg_index i ON indexrelid = c.oid WHERE indrelid = '$to_schema.$to_table'::regclass AND NOT indisprimary}),
		'by_v kept_2 st_i', "$table: dropped and renamed are those");

	# constraints
	passes("$table: constraints", $path . "ALTER TABLE $table ADD CONSTRAINT vn UNIQUE (v, n), "
		  . "ADD CONSTRAINT pos CHECK (n > 0) NOT VALID", $path . "ALTER TABLE $table VALIDATE CONSTRAINT pos",
		$path . q{ALTER INDEX vn SET (fillfactor = 70)},
		$path . qq{COMMENT ON CONSTRAINT pos ON $table IS 'positive'},
		$path . "ALTER TABLE $table RENAME CONSTRAINT pos TO pos_2", $path . 'ALTER INDEX vn RENAME TO vn_2',
		$path . "ALTER TABLE $table REPLICA IDENTITY USING INDEX ${table}_pkey" =~ s/USING INDEX .*/FULL/r,
		$path . "ALTER TABLE $table REPLICA IDENTITY DEFAULT");
	is(at_dest(qq{SELECT string_agg(conname || coalesce(' ' || obj_description(oid, 'pg_constraint'), ''), ', '
		ORDER BY conname) FROM pg_constraint WHERE conrelid = '$to_schema.$to_table'::regclass
		AND contype IN ('u', 'c')}),
		'pos_2 positive, vn_2', "$table: its constraints");

	# sequences
	passes("$table: a sequence made by itself", $path . "CREATE SEQUENCE ${table}_q OWNED BY $table.n",
		$path . "ALTER SEQUENCE ${table}_q INCREMENT 4", $path . qq{COMMENT ON SEQUENCE ${table}_q IS 'q'},
		$path . "ALTER TABLE $table ALTER n SET DEFAULT nextval('${table}_q')",
		$path . "INSERT INTO $table (id, v) VALUES (20, 'x')");

	# statistics, with and without a schema
	passes("$table: statistics", $path . "CREATE STATISTICS ${table}_st ON v, n FROM $table",
		$path . "ALTER STATISTICS ${table}_st SET STATISTICS 55", qq{COMMENT ON STATISTICS $schema.${table}_st IS 'st'},
		$path . "CREATE STATISTICS ${table}_st2 ON id, n FROM $table", $path . "DROP STATISTICS ${table}_st2",
		$path . "CREATE STATISTICS ${table}_st3 ON id, v FROM $table",
		$path . "ALTER STATISTICS ${table}_st3 RENAME TO ${table}_st4");
	is(at_dest(qq{SELECT string_agg(stxnamespace::regnamespace || '.' || stxname || ' '
		|| coalesce(obj_description(oid, 'pg_statistic_ext'), ''), ', ' ORDER BY stxname) FROM pg_statistic_ext
		WHERE stxrelid = '$to_schema.$to_table'::regclass}),
		"$to_schema.${table}_st st, $to_schema.${table}_st4 ", "$table: its statistics");

	# the type of its rows
	passes("$table: its row type",
		$path . "CREATE TABLE holds_$table (id int PRIMARY KEY, r $table, rs $schema.${table}" . '[])',
		$path . "ALTER TABLE holds_$table ADD r2 $table", $path . qq{COMMENT ON TYPE $table IS 'row'},
		$path . "CREATE TYPE public.with_$table AS (r $table)",
		$path . "INSERT INTO holds_$table (id, r) SELECT 1, t FROM $table t WHERE id = 1");
	my $holder = $schema eq 'a' ? 'b' : 'public';
	is(at_dest(qq{SELECT string_agg(DISTINCT atttypid::regtype::text, ' ') FROM pg_attribute
		WHERE attrelid = '$holder.holds_$table'::regclass AND attname ~ '^r' AND attnum > 0}),
		"$to_schema.$to_table $to_schema.$to_table\[]", "$table: it was that type");
	is(at_dest(qq{SELECT obj_description('$to_schema.$to_table'::regtype, 'pg_type')}), 'row',
		"$table: and its comment");
	passes("$table: without it", $path . "DROP TYPE public.with_$table; DROP TABLE holds_$table");

	# triggers, rules and policies are somebody's here until he says otherwise
	at_dest(qq{CREATE FUNCTION $to_schema.noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
		CREATE TRIGGER noted BEFORE INSERT ON $to_schema.$to_table FOR EACH ROW EXECUTE FUNCTION $to_schema.noted();
		CREATE RULE ruled AS ON DELETE TO $to_schema.$to_table DO ALSO NOTHING;
		SELECT flo.adopt('g', relations => '{$to_schema.$to_table}')});
	$source->safe_psql($db, qq{SET session_replication_role = replica; ALTER EVENT TRIGGER pg_flo_track_ddl DISABLE;
		CREATE FUNCTION $schema.noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
		CREATE TRIGGER noted BEFORE INSERT ON $schema.$table FOR EACH ROW EXECUTE FUNCTION $schema.noted();
		CREATE RULE ruled AS ON DELETE TO $schema.$table DO ALSO NOTHING;
		ALTER EVENT TRIGGER pg_flo_track_ddl ENABLE ALWAYS});
	passes("$table: triggers and rules", $path . qq{COMMENT ON TRIGGER noted ON $table IS 'n'},
		$path . "ALTER TABLE $table DISABLE TRIGGER noted", $path . "ALTER TRIGGER noted ON $table RENAME TO noted_2",
		$path . qq{COMMENT ON RULE ruled ON $table IS 'r'},
		$path . "ALTER RULE ruled ON $table RENAME TO ruled_2", $path . "DROP RULE ruled_2 ON $table");
	is(at_dest(qq{SELECT tgname, tgenabled, obj_description(oid, 'pg_trigger') FROM pg_trigger
		WHERE tgrelid = '$to_schema.$to_table'::regclass}), 'noted_2|D|n', "$table: it was that trigger");
	passes("$table: dropped", $path . "DROP TRIGGER noted_2 ON $table");
	is_deeply([ at_dest($own) ], [ $before ], "$table: what is called alike is as it was");
}

# what is new in a routed schema that is not here
passes('a new table', 'CREATE TABLE a.new (id int PRIMARY KEY, v text); CREATE INDEX new_v ON a.new (v);
	INSERT INTO a.new VALUES (1, $$n$$)', 'ALTER INDEX a.new_v RENAME TO new_w', 'DROP INDEX a.new_w');
is(at_dest(q{SELECT (SELECT v FROM b.new), to_regnamespace('a') IS NULL}), 'n|t', 'is made where its schema leads');

# types that routed tables use are where they were, also when they are called like a table
passes('types', q{ALTER TYPE mood ADD VALUE 'glad'}, q{COMMENT ON TYPE mood IS 'm'},
	q{INSERT INTO u (id, m) VALUES (60, 'glad')},
	'SET search_path = hers, public; CREATE TABLE public.amb '
	  . '(id int PRIMARY KEY, d plain, f int REFERENCES public.plain, r public.plain)');
is(at_dest(q{SELECT obj_description('mood'::regtype, 'pg_type'), (SELECT m FROM there.x WHERE id = 60)}), 'm|glad',
	'it was that type');
is(at_dest(q{SELECT string_agg(attname || ' ' || atttypid::regtype, ', ' ORDER BY attnum) FROM pg_attribute
	WHERE attrelid = 'amb'::regclass AND attname IN ('d', 'r')}), 'd hers.plain, r plain',
	'a domain is none of the rows of the table that is called like it');

# --- names ----------------------------------------------------------------------------------------

passes('renamed in a routed schema', 'ALTER TABLE a.new RENAME TO newer', 'INSERT INTO a.newer VALUES (2, $$r$$)');
is(at_dest('SELECT count(*) FROM b.newer'), 2, 'rows follow it');
for my $case ([ 'ALTER TABLE u RENAME TO w',
	qr/it is there\.x here, and routes lead what it is called then to public\.w/ ],
	[ 'ALTER TABLE plain RENAME TO later', qr/it is public\.plain here, .* to there\.late/ ])
{
	my ($sql, $reason) = @$case;
	$source->safe_psql($db, $sql);
	wait_until($dest, $db, 'SELECT count(*) = 1 FROM flo.pending_ddl', $sql);
	like(at_dest('SELECT reason FROM flo.pending_ddl'), $reason, "held: $sql");
	at_dest('SELECT flo.skip_ddl(id) FROM flo.pending_ddl');
}
at_dest(q{ALTER TABLE plain RENAME TO late; ALTER TABLE late SET SCHEMA there;
	UPDATE flo.routes SET source_table = 'w' WHERE source_table = 'u'});
passes('with the routes changed', q{INSERT INTO w (id) VALUES (50); INSERT INTO later (id) VALUES (50)},
	'CREATE INDEX w_n ON w (n)', 'DROP INDEX w_n');
is(at_dest('SELECT (SELECT count(*) FROM there.x WHERE id = 50), (SELECT count(*) FROM there.late)'), '1|1',
	'rows follow');

# --- an index of another table --------------------------------------------------------------------

at_dest(q{CREATE TABLE b.other (id int, v text); CREATE INDEX same ON b.other (v)});
$source->safe_psql($db, q{ALTER EVENT TRIGGER pg_flo_track_ddl DISABLE; CREATE INDEX same ON a.t (v);
	ALTER EVENT TRIGGER pg_flo_track_ddl ENABLE ALWAYS});
$source->safe_psql($db, 'DROP INDEX a.same');
ok(wait_until($dest, $db, q{SELECT last_error ~ 'index "b.same" is one of table "other" here, not of "t"'
	FROM flo.status}, 'it to be refused'), 'an index of another table is not dropped in its place');
is(at_dest(q{SELECT to_regclass('b.same') IS NOT NULL}), 't', 'it is there');

$_->stop('fast') for $source, $dest;
done_testing();
