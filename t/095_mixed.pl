
# Two releases of PostgreSQL, a group each way: a copy that makes the tables, then rows of
# all kinds of types, DDL and rules, and a comparison of what has arrived. The older server
# is FLO_OLDER, such as /usr/lib/postgresql/15, with the same pg_flo (.ci/versions.sh has one).

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use FloValues;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $from = $ENV{FLO_OLDER};
plan skip_all => 'no older server with pg_flo (FLO_OLDER), as make test-versions has it' if !$from;

my $nats = FloTest::Nats->new('broker');
my $older = flo_node('older', $nats, install_path => $from);
my $newer = flo_node('newer', $nats);
my ($old_version, $new_version) =
  map { int($_->safe_psql('postgres', 'SHOW server_version_num') / 10000) } $older, $newer;
cmp_ok($old_version, '<', $new_version, "$old_version is older than $new_version");

# --- what is sent ---------------------------------------------------------------------------

# One table with a column for each type that both know, and one for its arrays
my %values = builtin_values($older);
my @types = sort grep { !grep { /public/ } @{ $values{$_} } } keys %values;
my $columns = join(', ', map { "v$_ $types[$_], a$_ $types[$_]\[]" } 0 .. $#types);

sub row_of_types
{
	my ($n) = @_;
	my @row = map {
		my @v = @{ $values{$_} };
		my $v = $v[ $n % @v ];
		"$v\::$_, array_append(NULL::$_\[], $v\::$_)"
	} @types;
	return "($n, " . join(', ', @row) . ')';
}

my $schema = qq{
	CREATE EXTENSION hstore; CREATE SCHEMA app;
	CREATE TYPE app.mood AS ENUM ('sad', 'ok');
	CREATE DOMAIN app.positive AS int CHECK (VALUE > 0);
	CREATE TYPE app.address AS (street text, mood app.mood);
	CREATE FUNCTION app.low(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT lower(\$1)';
	CREATE TABLE app.types (id int PRIMARY KEY, $columns);
	CREATE TABLE app.own (id serial PRIMARY KEY, m app.mood DEFAULT 'ok', p app.positive, a app.address, h hstore,
		doubled int GENERATED ALWAYS AS (p * 2) STORED, name text NOT NULL DEFAULT 'x', CHECK (name <> ''));
	CREATE INDEX own_low ON app.own (app.low(name)) WHERE p IS NOT NULL;
	CREATE TABLE app.child (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
		own int REFERENCES app.own ON DELETE CASCADE, v numeric(12, 3));
	CREATE TABLE app.parted (id int, k text COLLATE "C", at timestamptz, PRIMARY KEY (id, k)) PARTITION BY RANGE (id);
	CREATE TABLE app.parted_low PARTITION OF app.parted FOR VALUES FROM (0) TO (100);
	CREATE TABLE app.parted_rest PARTITION OF app.parted DEFAULT;
	CREATE TABLE app.bag (a int, b text); ALTER TABLE app.bag REPLICA IDENTITY FULL;
	CREATE TABLE app.people (id int PRIMARY KEY, email text, phone text);
	COMMENT ON COLUMN app.own.m IS 'mood';
};
my $rows = 'INSERT INTO app.types VALUES ' . join(', ', map { row_of_types($_) } 0 .. 5) . q{;
	INSERT INTO app.own (m, p, a, h, name) SELECT 'sad', i, ROW('s' || i, 'ok'::app.mood)::app.address,
		hstore('k', i::text), 'N' || i FROM generate_series(1, 500) i;
	INSERT INTO app.child (own, v) SELECT i, i / 7.0 FROM generate_series(1, 500) i;
	INSERT INTO app.parted SELECT i, 'k' || i, now() FROM generate_series(1, 300) i;
	INSERT INTO app.bag SELECT i % 5, repeat('b', 5000) FROM generate_series(1, 20) i;
	INSERT INTO app.people SELECT i, 'p' || i || '@example.com', '0123456789' FROM generate_series(1, 100) i};
my @changes = (
	'INSERT INTO app.types VALUES ' . join(', ', map { row_of_types($_) } 6 .. 9),
	'UPDATE app.types SET ' . join(', ', map { "a$_ = array_append(a$_, v$_)" } 0 .. $#types) . ' WHERE id % 2 = 0',
	q{DELETE FROM app.types WHERE id = 3; UPDATE app.own SET p = p + 1, h = h || 'x=>y' WHERE id % 3 = 0;
	DELETE FROM app.own WHERE id % 7 = 0; UPDATE app.parted SET id = id + 90 WHERE id BETWEEN 20 AND 40;
	UPDATE app.bag SET a = a + 1 WHERE a = 3; DELETE FROM app.bag WHERE a = 0;
	UPDATE app.people SET email = upper(email) WHERE id <= 10; TRUNCATE app.parted_rest},
	q{BEGIN; CREATE TABLE app.later (id int PRIMARY KEY, m app.mood); INSERT INTO app.later VALUES (1, 'ok');
	ALTER TABLE app.own ADD extra text DEFAULT 'e'; ALTER TABLE app.people ALTER id TYPE bigint;
	INSERT INTO app.own (p) VALUES (1); COMMIT},
	q{ALTER TYPE app.mood ADD VALUE 'glad'; CREATE INDEX CONCURRENTLY own_extra ON app.own (extra);
	CREATE TABLE app.parted_high PARTITION OF app.parted FOR VALUES FROM (1000) TO (2000)},
	q{INSERT INTO app.later VALUES (2, 'glad'); INSERT INTO app.parted VALUES (1500, 'k', now());
	ALTER TABLE app.child DROP COLUMN v, ADD w int; INSERT INTO app.child (own, w) VALUES (1, 5);
	ALTER TABLE app.later RENAME TO renamed; DROP INDEX app.own_low});

sub arrived
{
	my ($source, $dest, $db, $tables, $what) = @_;

	wait_caught_up($source, $dest, $db, source_db => $db, dest_db => $db);
	is_same_table($source, $dest, "app.$_", "$what: $_", $db) for @$tables;
}

# --- both ways --------------------------------------------------------------------------------

for my $way ([ 'up', $older, $newer, $old_version, $new_version ],
	[ 'down', $newer, $older, $new_version, $old_version ])
{
	my ($db, $source, $dest, $source_version, $dest_version) = @$way;
	my $what = "$source_version to $dest_version";
	my @tables = qw(types own child parted_low parted_rest bag);

	$_->safe_psql('postgres', "CREATE DATABASE $db"), $_->safe_psql($db, 'CREATE EXTENSION pg_flo') for $source, $dest;
	$source->safe_psql($db, $schema);
	$source->safe_psql($db, $rows);
	$source->safe_psql($db, qq{INSERT INTO flo.rules (group_name, stage, schema_name, table_name, column_name, action,
			arguments)
		VALUES ('$db', 'replicator', 'app', 'people', 'email', 'regex', '{"pattern": "@.*", "replace": "\@masked"}')});
	$dest->safe_psql($db, qq{INSERT INTO flo.rules (group_name, schema_name, table_name, column_name, action, arguments)
		VALUES ('$db', 'app', 'people', 'phone', 'mask', '{}')});
	create_copy_group($source, $dest, $db, sync_schema => 1, track_ddl => 1, source_db => $db, dest_db => $db,
		options => q{'{"keyless_tables": "full"}'}, worker_options => q{'{"ddl_trust": "source"}'});
	arrived($source, $dest, $db, \@tables, "$what, copied");
	$source->safe_psql($db, $_) for @changes;
	arrived($source, $dest, $db, [ @tables, 'renamed', 'parted_high' ], "$what, streamed");
	is($dest->safe_psql($db, q{SELECT count(*), min(regexp_replace(email, '^\w+', '')),
		max(regexp_replace(email, '^\w+', '')), min(phone), max(phone) FROM app.people}),
		'100|@masked|@masked|0********9|0********9', "$what: rules of both sides");

	my $id = $source->safe_psql($db, "SELECT flo.compare('$db')");
	wait_until($source, $db, "SELECT bool_and(finished_at IS NOT NULL) FROM flo.comparisons WHERE id = $id",
		'the comparison');
	is($source->safe_psql($db, "SELECT string_agg(DISTINCT state, ' ') FROM flo.comparisons WHERE id = $id"), 'equal',
		"$what: compared while both run")
	  or diag($source->safe_psql($db, "SELECT * FROM flo.comparisons WHERE id = $id AND state <> 'equal'"));
}

# --- what an older server does not know stops there, and goes on with a person's word -----------

SKIP:
{
	skip 'both know virtual columns, or none does', 2 if $new_version < 18 || $old_version >= 18;
	$newer->safe_psql('down', 'CREATE TABLE app.virtual (id int PRIMARY KEY,
			v int GENERATED ALWAYS AS (id + 1) VIRTUAL);
		INSERT INTO app.virtual VALUES (1)');
	ok(wait_until($older, 'down', q{SELECT last_error ~* 'syntax error at or near "virtual"' FROM flo.status
		WHERE member = 'postgres' AND group_name = 'down'}, 'the error'),
		'a virtual column is an error there, in its own words')
	  or diag(status_of($older, 'down', 'postgres', 'state || coalesce(last_error, detail)', 'down'));
	$older->safe_psql('down', q{CREATE TABLE app.virtual (id int PRIMARY KEY,
			v int GENERATED ALWAYS AS (id + 1) STORED);
		SELECT flo.skip_ddl(id) FROM flo.pending_ddl});
	arrived($newer, $older, 'down', ['virtual'], 'made by hand, and passed over');
}

done_testing();
