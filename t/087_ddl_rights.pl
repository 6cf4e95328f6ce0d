
# DDL with the right of the object, not of the worker: whoever owns a table at
# the source, and whoever may create objects in a schema here, tries to have his
# code run as the worker's owner, who is a superuser; by every kind of statement
# and of expression there is.  It is held.  Ordinary DDL of ordinary tables goes
# on without a word from anybody.

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
my $file = $dest->data_dir . '/written_by_mallory';

sub both { my ($sql) = @_; $_->safe_psql($db, $sql) for $source, $dest; }

# Run at the source, as a role there
sub as_role { my ($role, $sql) = @_; $source->safe_psql($db, "SET SESSION AUTHORIZATION $role; $sql"); }

# Nobody got what he was after
sub unharmed
{
	my ($what) = @_;
	my $seen = $dest->safe_psql($db,
		q{SELECT concat_ws(', ', (SELECT 'superuser ' || string_agg(rolname, ' ') FROM pg_roles
		WHERE rolsuper AND rolname <> current_user),
		(SELECT 'marker of ' || string_agg(DISTINCT who, ' ') FROM marker))});
	$seen .= ' file' if -e $file;
	return is($seen, '', "$what: nothing of it ran as a superuser");
}

# A statement is held for a reason; then it is passed
sub held
{
	my ($what, $reason, %param) = @_;
	my $query = q{FROM flo.pending_ddl WHERE group_name = 'g' AND decision IS NULL};
	# that it failed at the try before is said until the next one
	if (!wait_until($dest, $db, "SELECT count(*) = 1 AND bool_and(reason !~ '^it fails here') $query", "held: $what"))
	{
		fail("held: $what");
		return 0;
	}
	like($dest->safe_psql($db, "SELECT reason $query"), $reason, "held: $what");
	unharmed($what);
	my $decision = $param{release} ? 'release' : 'skip';
	$dest->safe_psql($db, "SELECT flo.${decision}_ddl(id) $query");
	return 1;
}

# --- two clusters --------------------------------------------------------------------------------

both(q{
	CREATE ROLE mallory LOGIN;
	CREATE ROLE bob LOGIN;
	CREATE ROLE app LOGIN;
	CREATE TABLE marker (who text);

	-- what mallory, or somebody else without rights, has put there; it may run as anybody who lets it
	CREATE SCHEMA evil AUTHORIZATION mallory;
	SET SESSION AUTHORIZATION mallory;
	CREATE FUNCTION evil.vol(i int) RETURNS int LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO public.marker VALUES (current_user);
		ALTER ROLE mallory SUPERUSER;
		RETURN i;
	EXCEPTION WHEN insufficient_privilege OR read_only_sql_transaction THEN RETURN i;
	END $$;
	CREATE FUNCTION evil.imm(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN evil.vol(i); END';
	CREATE FUNCTION evil.imm2(i int, j int) RETURNS bool IMMUTABLE LANGUAGE plpgsql
		AS 'BEGIN RETURN evil.vol(i) >= 0; END';
	CREATE OPERATOR evil.<+> (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.imm2);
	CREATE DOMAIN evil.dom AS int CHECK (evil.imm(VALUE) IS NOT NULL);
	CREATE TYPE evil.comp AS (a int);
	CREATE FUNCTION evil.cast_it(i int) RETURNS evil.comp IMMUTABLE LANGUAGE plpgsql
		AS 'BEGIN RETURN row(evil.vol(i)); END';
	CREATE CAST (int AS evil.comp) WITH FUNCTION evil.cast_it(int) AS IMPLICIT;
	CREATE SEQUENCE evil.seq;
	CREATE TABLE evil.parent (id int PRIMARY KEY, d int DEFAULT evil.imm(1));
	CREATE TABLE evil.keyed (id evil.dom PRIMARY KEY);
	RESET SESSION AUTHORIZATION;
	GRANT USAGE ON SCHEMA evil TO PUBLIC;

	CREATE SCHEMA trap;
	GRANT USAGE, CREATE ON SCHEMA trap TO PUBLIC;
	CREATE SCHEMA app AUTHORIZATION app;
	CREATE TYPE mood AS ENUM ('sad', 'ok');
	CREATE FUNCTION calm(t text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1';
	CREATE TABLE parent (id int PRIMARY KEY);
	CREATE TABLE mt (id int PRIMARY KEY, v text);
	CREATE TABLE plain (id int PRIMARY KEY, v text);
	CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY LIST (id);
	CREATE TABLE later (id int PRIMARY KEY);
	CREATE DOMAIN good AS int CHECK (VALUE > 0);
	CREATE TYPE pair AS (a int, b int);
	CREATE FUNCTION public.selected(mt) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN evil.vol($1.id); END';
	ALTER FUNCTION public.selected(mt) OWNER TO mallory;
	CREATE FUNCTION quiet() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
	CREATE TRIGGER quiet BEFORE INSERT ON mt FOR EACH ROW EXECUTE FUNCTION quiet();
	CREATE MATERIALIZED VIEW mv AS SELECT 1 AS one;
	CREATE TABLE app.t (id int PRIMARY KEY, v text);
	ALTER TABLE app.t OWNER TO app;
	INSERT INTO mt VALUES (1, 'one');
});
$source->safe_psql($db, 'GRANT CREATE ON SCHEMA public TO mallory');
$source->safe_psql($db, "ALTER TABLE $_ OWNER TO mallory") for qw(mt parted later parent);
$source->safe_psql($db, "ALTER $_ OWNER TO mallory") for 'DOMAIN good', 'TYPE pair', 'MATERIALIZED VIEW mv',
	'FUNCTION calm(text)', 'TYPE mood';

# names that bob has put where they are found first
$dest->safe_psql($db, q{
	SET SESSION AUTHORIZATION bob;
	CREATE DOMAIN trap.mood AS text CHECK (evil.imm(length(VALUE)) IS NOT NULL);
	CREATE FUNCTION trap.calm(t text) RETURNS text IMMUTABLE LANGUAGE plpgsql
		AS 'BEGIN PERFORM evil.vol(1); RETURN t; END';
	CREATE OPERATOR trap.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.imm2);
	CREATE TABLE trap.parent (id int PRIMARY KEY);
	CREATE TABLE trap.bobs (id int NOT NULL, PRIMARY KEY (id));
	CREATE TEXT SEARCH CONFIGURATION trap.plain (COPY = pg_catalog.simple);
});
$source->safe_psql($db, q{
	CREATE OPERATOR public.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
	CREATE TABLE trap.bobs (id int NOT NULL, PRIMARY KEY (id));
	ALTER TABLE trap.bobs OWNER TO mallory;
	CREATE TEXT SEARCH CONFIGURATION public.plain (COPY = pg_catalog.simple);
});
$dest->safe_psql($db, q{CREATE OPERATOR public.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)});

# as whom, and with which path, statements run here
$dest->safe_psql($db, q{
	CREATE TABLE ran (id serial, who text, path text, tag text);
	GRANT INSERT ON ran TO PUBLIC;
	GRANT USAGE ON SEQUENCE ran_id_seq TO PUBLIC;
	CREATE FUNCTION note_ran() RETURNS event_trigger LANGUAGE plpgsql AS
		$$ BEGIN INSERT INTO public.ran (who, path, tag) VALUES (current_user, current_setting('search_path'), tg_tag);
			END $$;
	CREATE EVENT TRIGGER note_ran ON ddl_command_end WHEN tag
		IN ('CREATE TABLE', 'ALTER TABLE', 'CREATE TYPE', 'CREATE DOMAIN', 'CREATE VIEW', 'CREATE MATERIALIZED VIEW',
		'REFRESH MATERIALIZED VIEW')
		EXECUTE FUNCTION note_ran();
	ALTER EVENT TRIGGER note_ran ENABLE ALWAYS;
});
sub ran { return $dest->safe_psql($db, q{SELECT who, path, tag FROM ran ORDER BY id DESC LIMIT 1}); }

$source->safe_psql($db, q{SELECT flo.create_replicator('g', schemas => '{public,app}', track_ddl => true,
	options => '{"keyless_tables": "skip", "schema_owner": true, "schema_privileges": true}')});
start_member($source, 'g', 'replicator');
$dest->safe_psql($db, q{SELECT flo.create_worker('g')});
start_member($dest, 'g', 'postgres');

# --- the two that made a role of the source superuser here, and wrote a file ----------------------

as_role('mallory', q{
	CREATE FUNCTION evil2(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.marker
		VALUES (current_user); ALTER ROLE mallory SUPERUSER; RETURN i;
		EXCEPTION WHEN insufficient_privilege THEN RETURN i; END $$;
	CREATE FUNCTION evil3(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN evil2(i); END';
	CREATE TABLE mt3 (id int PRIMARY KEY);
	INSERT INTO mt3 VALUES (1);
	ALTER TABLE mt3 ADD COLUMN c int DEFAULT evil3(1);
});
held('a function of the source', qr/^it brings code of the source's \(the worker's option ddl_trust is object\)/);
like(status_of($dest, 'g', 'postgres', 'detail'), qr/release_ddl|ddl/, 'flo.status says what to do');
held('another', qr/brings code/);
ok(wait_until($dest, $db, q{SELECT last_error ~ 'function evil3\(integer\) does not exist' FROM flo.status},
	'the default to fail'), 'the function is not there');
$dest->safe_psql($db,
	q{CREATE FUNCTION evil3(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN evil.vol(i); END';
	ALTER FUNCTION evil3(int) OWNER TO mallory});
held('a default that calls it', qr/function "evil3"/);
as_role('mallory', q{DROP TABLE mt3});

# within one query only a large object that was there before can be exported
$dest->safe_psql($db, q{SELECT lo_from_bytea(4711, 'written by mallory')});
as_role('mallory', qq{
	ALTER TABLE mt ADD CONSTRAINT xml CHECK (query_to_xml('select case when current_user=''mallory'' then 1 else
		(select count(*) from query_to_xml(''select lo_export(4711, ''''$file'''')'', true, true, '''') q) end', true,
			true, '') IS NOT NULL)});
held('a CHECK that runs text as SQL', qr/function "query_to_xml"/);

# --- every other way ------------------------------------------------------------------------------

my $function = qr/function "imm"/;
my $code = qr/brings code of the source's/;
my @attacks = (
	# expressions over rows
	[ 'DEFAULT of a new column', q{ALTER TABLE mt ADD c1 int DEFAULT evil.imm(1)}, $function ],
	[ 'SET DEFAULT', q{ALTER TABLE mt ALTER v SET DEFAULT evil.imm(1)::text}, $function,
		q{ALTER TABLE mt ALTER v DROP DEFAULT} ],
	[ 'volatile DEFAULT', q{ALTER TABLE mt ADD c2 int DEFAULT evil.vol(1)}, qr/function "vol"/ ],
	[ 'generated column', q{ALTER TABLE mt ADD c3 int GENERATED ALWAYS AS (evil.imm(id)) STORED}, $function ],
	[ 'CHECK', q{ALTER TABLE mt ADD CHECK (evil.imm(id) > 0)}, $function ],
	[ 'CHECK that is not validated', q{ALTER TABLE mt ADD CHECK (evil.imm(id) > 0) NOT VALID}, $function ],
	[ 'CHECK deep inside',
		q{ALTER TABLE mt ADD CHECK (CASE WHEN id IS NULL THEN ARRAY[1, evil.imm(id)] ELSE NULL END IS NULL }
		  . q{OR coalesce(id, 1) BETWEEN 0 AND 1000)}, $function ],
	[ 'index expression', q{CREATE INDEX mt_i1 ON mt ((evil.imm(id)))}, $function ],
	[ 'index expression, concurrently', q{CREATE INDEX CONCURRENTLY mt_i2 ON mt ((evil.imm(id)))}, $function ],
	[ 'index predicate', q{CREATE INDEX mt_i3 ON mt (id) WHERE evil.imm(id) > 0}, $function ],
	[ 'exclusion', q{ALTER TABLE mt ADD EXCLUDE ((evil.imm(id)) WITH =)}, $function ],
	[ 'USING', q{ALTER TABLE mt ALTER v TYPE int USING evil.imm(id)}, $function,
		q{ALTER TABLE mt ALTER v TYPE text USING v} ],
	[ 'statistics', q{CREATE STATISTICS mt_s ON (evil.imm(id)), (id + 1) FROM mt}, $function, q{DROP STATISTICS mt_s} ],
	[ 'partition key', q{CREATE TABLE pk (id int) PARTITION BY RANGE ((evil.imm(id)))}, $function, q{DROP TABLE pk} ],
	[ 'partition bound', q{CREATE TABLE pb PARTITION OF parted FOR VALUES IN (evil.imm(7))}, $function,
		q{DROP TABLE pb} ],
	[ 'CREATE TABLE', q{CREATE TABLE ct (id int PRIMARY KEY, x int CHECK (evil.imm(x) > 0))}, $function,
		q{DROP TABLE ct} ],
	[ 'function written like a column', q{ALTER TABLE mt ADD CHECK (mt.selected > 0)}, qr/function "selected"/ ],
	[ 'operator', q{ALTER TABLE mt ADD CHECK (id OPERATOR(evil.<+>) 1)}, qr/operator "<\+>"/ ],
	[ 'cast', q{ALTER TABLE mt ADD CHECK (id::evil.comp IS NOT NULL)}, qr/type evil.comp is owned by role "mallory"/ ],
	[ 'function that reads settings', q{ALTER TABLE mt ADD c4 text DEFAULT current_setting('work_mem', true)},
		qr/function "current_setting"/ ],
	[ 'function that runs SQL, in one of its forms',
		q{ALTER TABLE mt ADD CHECK (ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, ''b''::tsquery') IS NOT NULL)},
		qr/function "ts_rewrite"/ ],
	[ 'function that sleeps', q{ALTER TABLE later ADD CHECK (pg_sleep(0) IS NOT NULL)}, qr/function "pg_sleep"/ ],
	[ 'sequence of another', q{ALTER TABLE mt ADD c5 int DEFAULT nextval('evil.seq')}, qr/relation "seq" is owned/ ],

	# types
	[ 'domain as a column', q{ALTER TABLE mt ADD c6 evil.dom DEFAULT 1}, qr/type evil.dom is owned/ ],
	[ 'domain in an array', q{ALTER TABLE mt ADD c7 evil.dom[] DEFAULT '{1}'},
		qr/type evil.dom is owned|type evil.dom\[\]/ ],
	[ 'CREATE DOMAIN', q{CREATE DOMAIN bad AS int CHECK (evil.imm(VALUE) > 0)}, $function, q{DROP DOMAIN bad} ],
	[ 'ALTER DOMAIN', q{ALTER DOMAIN good ADD CHECK (evil.imm(VALUE) > 0)}, $function ],
	[ 'ALTER DOMAIN SET DEFAULT', q{ALTER DOMAIN good SET DEFAULT evil.imm(1)}, $function ],
	[ 'CREATE TYPE with a domain', q{CREATE TYPE two AS (a int, b evil.dom)}, qr/type evil.dom is owned/,
		q{DROP TYPE two} ],
	[ 'ALTER TYPE ADD ATTRIBUTE', q{ALTER TYPE pair ADD ATTRIBUTE c evil.dom}, qr/type evil.dom is owned/ ],
	[ 'range over a domain', q{CREATE TYPE rng AS RANGE (subtype = evil.dom)}, qr/type evil.dom is owned/,
		q{DROP TYPE rng} ],

	# code
	[ 'procedure', q{CREATE PROCEDURE pr() LANGUAGE sql AS 'SELECT 1'}, $code, q{DROP PROCEDURE pr()} ],
	[ 'aggregate', q{CREATE AGGREGATE ag (int) (SFUNC = int4pl, STYPE = int)}, $code, q{DROP AGGREGATE ag(int)} ],
	[ 'operator', q{CREATE OPERATOR public.<-> (LEFTARG = int, RIGHTARG = int, FUNCTION = evil.imm2)}, $code,
		q{DROP OPERATOR public.<-> (int, int)} ],
	[ 'ALTER FUNCTION', q{ALTER FUNCTION calm(text) VOLATILE}, $code ],
	[ 'another name for a function', q{ALTER FUNCTION selected(mt) RENAME TO length}, qr/gives code another name/ ],
	[ 'trigger', q{CREATE TRIGGER tr BEFORE INSERT ON mt FOR EACH ROW EXECUTE FUNCTION quiet()}, $code ],
	[ 'trigger that fires always', q{ALTER TABLE mt ENABLE ALWAYS TRIGGER quiet}, qr/trigger or rule run/ ],
	[ 'rule', q{CREATE RULE ru AS ON INSERT TO mt DO ALSO SELECT evil.imm(1)}, $code ],
	[ 'policy', q{CREATE POLICY po ON mt USING (evil.imm(id) > 0)}, qr/who may see which rows/ ],
	[ 'ALTER POLICY', q{ALTER POLICY po ON mt USING (true)}, qr/who may see which rows/ ],
	[ 'DROP POLICY', q{DROP POLICY po ON mt}, qr/who may see which rows/ ],
	[ 'row security off', q{ALTER TABLE mt DISABLE ROW LEVEL SECURITY}, qr/opens rows to others/ ],
	[ 'view', q{CREATE VIEW vi AS SELECT evil.imm(id) FROM mt}, qr/holds a query/, q{DROP VIEW vi} ],
	[ 'materialized view', q{CREATE MATERIALIZED VIEW ma AS SELECT evil.imm(id) FROM mt}, qr/holds a query/,
		q{DROP MATERIALIZED VIEW ma} ],
	[ 'REFRESH', q{REFRESH MATERIALIZED VIEW mv}, qr/runs a query/ ],

	# rights
	[ 'owner', q{ALTER TABLE later OWNER TO mallory}, qr/gives the object to another role/ ],
	[ 'GRANT', q{GRANT SELECT ON mt TO PUBLIC}, qr/what other roles may do/ ],

	# others' tables
	[ 'LIKE another\'s table', q{CREATE TABLE li (LIKE evil.parent INCLUDING ALL)}, qr/relation "parent" is owned/,
		q{DROP TABLE li} ],
	[ 'child of another\'s table', q{CREATE TABLE ch (x int) INHERITS (evil.parent)},
		qr/role "mallory", as whom it would run, may not create objects in schema "public"/, q{DROP TABLE ch} ],
	[ 'partition of another\'s', q{ALTER TABLE parted ATTACH PARTITION trap.bobs FOR VALUES IN (1)},
		qr/relation "bobs" is owned by role "bob"/ ],
	[ 'foreign key to a domain', q{ALTER TABLE mt ADD c8 int REFERENCES evil.keyed}, qr/relation "keyed" is owned/ ],
	[ 'SET SCHEMA', q{ALTER TABLE later SET SCHEMA trap}, qr/schema "trap" is one where others/ ],

	# names that bob has put where they are found first
	[ 'captured type', q{SET search_path = trap, public; ALTER TABLE mt ADD c9 mood},
		qr/type "mood" may be one of schema "trap"/ ],
	[ 'captured function', q{SET search_path = trap, public; CREATE INDEX mt_i4 ON mt (calm(v))},
		qr/function "calm" may be one of schema "trap"/ ],
	[ 'captured operator', q{SET search_path = trap, public; ALTER TABLE mt ADD CHECK (id === 1 OR true)},
		qr/operator "===" may be one of schema "trap"/ ],
	[ 'captured relation',
		q{SET search_path = trap, public; ALTER TABLE mt ADD CHECK (id <> 'bobs'::regclass::oid::int)},
		qr/relation "bobs" may be one of schema "trap"/ ],
	[ 'relation that the statement makes', q{SET search_path = trap, public;
		CREATE TABLE public.own (id int PRIMARY KEY, CHECK (tableoid = 'own'::regclass))},
		qr/name "own" may be one of schema "trap"/, q{DROP TABLE own} ],
	[ 'captured configuration', q{SET search_path = trap, public;
		CREATE INDEX mt_i5 ON mt USING gin (to_tsvector('plain'::regconfig, v))},
		qr/name "plain" may be one of schema "trap"/ ],
	[ 'type as a constant',
		q{SET search_path = trap, public; ALTER TABLE mt ADD CHECK (id <> 'mood'::regtype::oid::int)},
		qr/name "mood" may be one of schema "trap"/ ],
);
# what is altered has to be here: else it is passed over
$dest->safe_psql($db, 'CREATE POLICY po ON mt');
for my $attack (@attacks)
{
	my ($what, $sql, $reason, $away) = @$attack;
	as_role('mallory', $sql);
	last if !held($what, $reason);
	as_role('mallory', $away) if $away;
	held('drop of a partition that was not made', qr/partition pb of parted is not here/)
	  if ($away || '') eq 'DROP TABLE pb';
}
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql($db, q{SELECT state FROM flo.status}), 'streaming', 'after all of that it streams');

# the source says which table it found
as_role('mallory', 'SET search_path = trap, public; ALTER TABLE mt ADD c10 int REFERENCES parent');
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql($db, q{SELECT confrelid::regclass FROM pg_constraint
	WHERE conrelid = 'mt'::regclass AND contype = 'f'}), 'parent', 'a table that is found first here is not taken');

# --- what everybody does --------------------------------------------------------------------------

$dest->safe_psql($db, 'TRUNCATE ran');
for my $sql (
	q{CREATE TABLE people (id serial PRIMARY KEY, name text NOT NULL CHECK (length(name) > 0 AND name <> 'x'),
		born date DEFAULT CURRENT_DATE CHECK (extract(year FROM born) > 1900),
		at timestamptz NOT NULL DEFAULT now(), tag uuid DEFAULT gen_random_uuid(), m mood DEFAULT 'ok',
			doc jsonb DEFAULT '{}'::jsonb, a int[] DEFAULT '{1,2}',
		low text GENERATED ALWAYS AS (lower(name)) STORED, price numeric(8,2)
			CHECK (price BETWEEN 0 AND 1e6 AND price IN (1, 2, 3)), UNIQUE (name, born))},
	q{INSERT INTO people (name, price) VALUES ('one', 1)},
	q{ALTER TABLE people ADD n int NOT NULL DEFAULT 3, ADD parent int REFERENCES plain, }
	  . q{ADD CONSTRAINT n_ok CHECK (n % 2 = 1 AND name ~ '^[a-z]+$' AND name LIKE '%n%')},
	q{CREATE INDEX ON people (lower(name), (n + 1) DESC) WHERE name IS NOT NULL},
	q{CREATE INDEX CONCURRENTLY people_doc ON people USING gin (doc jsonb_path_ops)},
	q{CREATE STATISTICS people_s ON n, (lower(name)) FROM people},
	q{ALTER TABLE people ALTER n TYPE bigint USING n * 2 + 1, ALTER price TYPE numeric(10,2)},
	q{SET search_path = trap, public; CREATE INDEX ON people USING gin (to_tsvector('english'::regconfig, name));
		ALTER TABLE people ADD CHECK (tableoid = 'people'::regclass)},
	q{COMMENT ON COLUMN people.n IS 'a number'},
	q{ALTER TABLE people RENAME n TO nn; ALTER TABLE people DROP COLUMN a},
	q{CREATE TYPE size AS ENUM ('s', 'l'); ALTER TYPE size ADD VALUE 'm'},
	q{CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TYPE box3 AS (x positive, s size)},
	q{CREATE TABLE events (id int, at timestamptz, s size, p positive, b box3, PRIMARY KEY (id, at))
		PARTITION BY RANGE (at);
	  CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2030-01-01');
	  INSERT INTO events VALUES (1, '2024-01-01', 's', 1, '(1,s)')},
	q{CREATE COLLATION public.c2 FROM "C"; ALTER TABLE events ADD t text COLLATE c2},
	q{CREATE SEQUENCE s1; ALTER TABLE plain ADD q bigint; ALTER TABLE plain ALTER q SET DEFAULT nextval('s1');
		ALTER SEQUENCE s1 OWNED BY plain.q},
	q{CREATE TABLE likewise (LIKE people INCLUDING ALL);
		CREATE TABLE plain_child (x int, PRIMARY KEY (id)) INHERITS (plain)},
	q{CREATE TABLE made AS SELECT id, name FROM people; DROP TABLE made},
	q{CREATE TABLE calmed (id int PRIMARY KEY, v text CHECK (calm(v) <> ''))},
	q{CREATE SCHEMA IF NOT EXISTS more; ALTER TABLE plain ENABLE ROW LEVEL SECURITY;
		ALTER TABLE plain DISABLE TRIGGER ALL})
{
	$source->safe_psql($db, $sql);
}
wait_until($dest, $db, q{SELECT (SELECT durable_lsn FROM flo.status) >= '}
	  . $source->safe_psql($db, 'SELECT pg_current_wal_lsn()') . q{' OR EXISTS (SELECT FROM flo.pending_ddl)},
	'ordinary DDL');
is($dest->safe_psql($db, q{SELECT string_agg(command || ': ' || reason, E'\n') FROM flo.pending_ddl}), '',
	'ordinary DDL is not held');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, $_) for qw(people events plain);
is($dest->safe_psql($db, q{SELECT string_agg(DISTINCT who || ' ' || path, ', ') FROM ran}), 'postgres public, pg_temp',
	'as whom it ran, and with which search_path');

# --- the owner's right, not the worker's ----------------------------------------------------------

$source->safe_psql($db, $_) for
  q{ALTER TABLE app.t ADD w int DEFAULT 5},
  q{CREATE TABLE app.new (id int PRIMARY KEY)},
  q{CREATE VIEW app.view AS WITH x AS (SELECT id, count(*) AS n FROM app.t GROUP BY id) SELECT x.id, upper(t.v) AS v }
  . q{FROM x JOIN app.t t USING (id) ORDER BY t.id},
  q{CREATE MATERIALIZED VIEW app.mat AS SELECT id FROM app.t}, q{REFRESH MATERIALIZED VIEW app.mat};
wait_caught_up($source, $dest, 'g');
is(ran(), 'app|public, pg_temp|REFRESH MATERIALIZED VIEW', 'DDL runs as the owner');
is($dest->safe_psql($db, q{SELECT string_agg(relname || ' ' || relowner::regrole, ', ' ORDER BY relname) FROM pg_class
	WHERE relnamespace = 'app'::regnamespace AND relkind IN ('r', 'v', 'm')}),
	'mat app, new app, t app, view app', 'new objects are of the schema\'s owner');
for my $case (
	[ 'a view that runs text as SQL', q{CREATE VIEW app.bad AS SELECT query_to_xml('SELECT 1', true, true, '') }
		  . q{FROM app.t}, qr/function "query_to_xml"/ ],
	[ 'a view over another\'s table', q{CREATE VIEW app.bad AS SELECT id FROM evil.parent},
		qr/relation "parent" is owned/ ],
	[ 'a view with a function of another', q{CREATE VIEW app.bad AS SELECT id FROM app.t }
		  . q{WHERE id IN (SELECT evil.imm(id) FROM app.t)}, $function ],
	[ 'a function, as a plain owner', q{CREATE FUNCTION app.f() RETURNS int LANGUAGE sql AS 'SELECT 1'}, $code ],
	[ 'a captured type, as a plain owner', q{SET search_path = trap, app; ALTER TABLE app.t ADD m mood},
		qr/type "mood" may be one/ ])
{
	my ($what, $sql, $reason) = @$case;
	$source->safe_psql($db, 'CREATE TYPE trap.mood AS ENUM (\'x\')') if $what =~ /captured/;
	$source->safe_psql($db, $sql);
	last if !held($what, $reason);
	$source->safe_psql($db, 'DROP VIEW app.bad') if $sql =~ /app.bad/;
}
$source->safe_psql($db, 'ALTER TABLE app.t DROP m');
wait_caught_up($source, $dest, 'g');

# --- released: with the rights of the worker's owner ----------------------------------------------

as_role('mallory', q{CREATE FUNCTION double(i int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 2 * i'});
my $id = $dest->safe_psql($db, 'SELECT 1') && wait_until($dest, $db, q{SELECT count(*) = 1 FROM flo.pending_ddl},
	'the function') && $dest->safe_psql($db, 'SELECT id FROM flo.pending_ddl');
$dest->safe_psql($db, q{GRANT USAGE ON SCHEMA flo TO bob; GRANT EXECUTE ON FUNCTION flo.release_ddl(bigint) TO bob});
like(error_of($dest, "SET SESSION AUTHORIZATION bob; SELECT flo.release_ddl($id)"), qr/^42501/,
	'only the worker\'s owner may release it');
$dest->safe_psql($db, "SELECT flo.release_ddl($id)");
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql($db, q{SELECT proowner::regrole FROM pg_proc WHERE proname = 'double'}), 'postgres',
	'released: it is the worker\'s owner\'s');
as_role('mallory', q{CREATE INDEX mt_double ON mt (double(id))});
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql($db, q{SELECT count(*) FROM pg_class WHERE relname = 'mt_double'}), '1',
	'... and trusted from then on');

# a decision is about the text that was read
as_role('mallory', q{CREATE FUNCTION other(i int) RETURNS int LANGUAGE sql AS 'SELECT 3'});
wait_until($dest, $db, q{SELECT count(*) = 1 FROM flo.pending_ddl}, 'the function');
$dest->safe_psql($db, q{UPDATE flo.pending_ddl SET command = 'CREATE FUNCTION another', decision = 'release'});
ok(wait_until($dest, $db, q{SELECT command ~ 'other\(i int\)' AND decision IS NULL FROM flo.pending_ddl},
	'it to be held anew'), 'another text is not released')
  if kill9_member($dest, 'g', 'postgres') || 1;
held('other', $code);
wait_caught_up($source, $dest, 'g');

# --- the source's word is taken -------------------------------------------------------------------

my ($out, $err) = ('', '');
$dest->psql($db, q{SELECT flo.create_worker('warned', options => '{"ddl_trust": "source"}')}, stderr => \$err);
like($err, qr/WARNING:.*owners of tables at the source/, 'create_worker() warns where a superuser takes it');
like($dest->safe_psql($db, q{SELECT status || ' ' || detail FROM flo.check('warned') WHERE item ~ 'DDL'}),
	qr/^warning .*superuser/, 'so does flo.check()');
like($dest->safe_psql($db, q{SELECT status || ' ' || detail FROM flo.check('g') WHERE item ~ 'DDL'}), qr/^ok .*owner/,
	'flo.check() says what the default means');
$dest->psql($db, q{SELECT flo.alter_worker('g', 'postgres', '{"ddl_trust": "source"}')}, stderr => \$err);
like($err, qr/WARNING:.*owners of tables at the source/, 'alter_worker() too');
as_role('mallory', q{CREATE FUNCTION third(i int) RETURNS int LANGUAGE sql AS 'SELECT 3';
	CREATE VIEW vi AS SELECT third(id) FROM mt});
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql($db, q{SELECT string_agg(DISTINCT outcome, ' ') FROM flo.ddl_log WHERE command ~ 'third'}),
	'applied', 'ddl_trust = source: all is applied');
$_->safe_psql($db, q{SELECT flo.drop_group('g', force => true)}) for $dest, $source;

# --- definitions that come with a copy ------------------------------------------------------------

$dest->safe_psql($db, 'DROP EVENT TRIGGER note_ran');
$_->safe_psql($db, q{CREATE DATABASE two}) for $source, $dest;
$_->safe_psql('two', q{CREATE EXTENSION pg_flo; CREATE TABLE marker (who text)}) for $source, $dest;
$source->safe_psql('two', q{
	CREATE SCHEMA m AUTHORIZATION mallory;
	SET SESSION AUTHORIZATION mallory;
	CREATE FUNCTION m.vol(i int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.marker
		VALUES (current_user); ALTER ROLE mallory SUPERUSER; RETURN i;
		EXCEPTION WHEN insufficient_privilege THEN RETURN i; END $$;
	CREATE FUNCTION m.imm(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN m.vol(i); END';
	CREATE FUNCTION m.trg() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM m.vol(1); RETURN NEW; END';
	CREATE TABLE m.t (id int PRIMARY KEY, v int DEFAULT m.imm(1) CHECK (m.imm(v) > 0),
		g int GENERATED ALWAYS AS (m.imm(id)) STORED);
	CREATE INDEX ON m.t (m.imm(id));
	CREATE TRIGGER trg BEFORE INSERT ON m.t FOR EACH ROW EXECUTE FUNCTION m.trg();
	ALTER TABLE m.t ENABLE ALWAYS TRIGGER trg;
	CREATE TABLE m.x
		(id int PRIMARY KEY
		CHECK
		(xml_is_well_formed(query_to_xml('SELECT case when current_user = ''mallory'' then 1 else lo_create(4711) end',
		true, true, '')::text)));
	CREATE TABLE m.fine (id serial PRIMARY KEY, at timestamptz DEFAULT now() CHECK (at > '2000-01-01'), v text);
	CREATE INDEX ON m.fine (lower(v));
	INSERT INTO m.t (id) VALUES (1);
	INSERT INTO m.x (id) VALUES (1);
	INSERT INTO m.fine (v) VALUES ('a');
});

$source->safe_psql('two',
	q{SELECT flo.create_replicator('fine', tables => '{m.fine}', mode => 'copy_and_stream', sync_schema => true,
	track_ddl => true); SELECT flo.start_group('fine')});
$dest->safe_psql('two', q{SELECT flo.create_worker('fine'); SELECT flo.start_group('fine')});
wait_state($dest, 'fine', 'postgres', 'streaming', 'two');
is($dest->safe_psql('two', 'SELECT v FROM m.fine'), 'a', 'sync_schema of an ordinary table, as a superuser');
is($dest->safe_psql('two', q{SELECT count(*) FROM flo.pending_ddl}), '0', '... needs no word');

$source->safe_psql('two',
	q{SELECT flo.create_replicator('c', tables => '{m.t,m.x}', mode => 'copy_and_stream', sync_schema => true);
	SELECT flo.start_group('c')});
$dest->safe_psql('two', q{SELECT flo.create_worker('c'); SELECT flo.start_group('c')});
ok(wait_until($dest, 'two',
	q{SELECT state = 'waiting'
	AND detail ~
	'flo.release_ddl\(\d+\) or flo.skip_ddl\(\d+\), \d+ in flo.pending_ddl: .*code of the source''s .*ddl_trust'
	FROM flo.status WHERE group_name = 'c'}, 'the copy to wait'), 'the copy waits for a person, and says so');
is($dest->safe_psql('two', q{SELECT count(*), count(*) FILTER (WHERE command ~ 'FUNCTION'), min(lsn), min(tag)
	FROM flo.pending_ddl}), '3|2|0/0|sync_schema', 'all functions are held at once, and the CHECK that runs SQL');
kill9_member($dest, 'c', 'postgres', 'two');
wait_until($dest, 'two', q{SELECT state = 'waiting' FROM flo.status WHERE group_name = 'c'}, 'the copy to wait again');
is($dest->safe_psql('two', q{SELECT count(*) FROM flo.pending_ddl}), '3', 'the same after a crash');
unlike($dest->safe_psql('two', q{SELECT string_agg(rolname, ' ') FROM pg_roles WHERE rolsuper}), qr/mallory/,
	'mallory is no superuser');

# a person has read them: what the functions call is harmless here, one table has no such check, the rest may come
$dest->safe_psql('two', q{CREATE FUNCTION m.vol(i int) RETURNS int LANGUAGE sql AS 'SELECT i';
	CREATE TABLE m.x (id int PRIMARY KEY);
	SELECT flo.skip_ddl(id) FROM flo.pending_ddl WHERE command ~ 'query_to_xml';
	SELECT flo.release_ddl(id) FROM flo.pending_ddl WHERE decision IS NULL});
ok(wait_until($dest, 'two', q{SELECT state = 'waiting' AND detail ~ 'trigger' FROM flo.status WHERE group_name = 'c'},
	'the trigger to be held'), 'what comes after the rows is held in its turn');
is($dest->safe_psql('two', q{SELECT count(*) FROM m.t}), '1', 'with the rows in');
my $worker = pid_of($dest, 'c', 'postgres', 'two');
$dest->safe_psql('two', q{SELECT flo.alter_worker('c', 'postgres', '{"ddl_trust": "source"}')});
wait_state($dest, 'c', 'postgres', 'streaming', 'two');
is($dest->safe_psql('two', q{SELECT count(*) FROM flo.pending_ddl}), '0',
	'with ddl_trust = source nothing is held any more');
is($dest->safe_psql('two', q{SELECT string_agg(outcome || ' ' || detail, ', ' ORDER BY detail) FROM flo.ddl_log
	WHERE tag = 'sync_schema'}),
	'applied function m.imm(integer), applied function m.trg(), skipped table m.x, applied trigger trg on table m.t',
	'flo.ddl_log tells it');
is($dest->safe_psql('two', q{SELECT action, count(*) FROM flo.copied_objects WHERE object = 'table m.x' GROUP BY 1}),
	'skipped|1', 'flo.copied_objects, too');
is($dest->safe_psql('two', q{SELECT count(*) FROM pg_roles WHERE rolname = 'mallory' AND rolsuper}), '0',
	'mallory is no superuser');

$_->stop('fast') for $source, $dest;
done_testing();
