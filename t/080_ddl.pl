
# DDL in the midst of data: more than 60 statements, in single and in
# multi-statement transactions, on tracked and on untracked tables, with
# savepoints, functions, DO blocks; then both sides' dumps of the schema and all
# rows are equal, also when the worker is killed again and again.

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

my $start = q{
	CREATE TABLE users (id int PRIMARY KEY, name text, age int);
	CREATE TABLE orders (id bigint PRIMARY KEY, user_id int REFERENCES users, total numeric);
	CREATE TYPE mood AS ENUM ('sad', 'ok');
	CREATE TABLE feelings (id int PRIMARY KEY, m mood);
};
$_->safe_psql('postgres', $start) for $source, $dest;

# --- a database that tracks nothing writes nothing ------------------------------------------

sub messages_between
{
	my ($node, $from, $db) = @_;
	my $to = $node->safe_psql($db || 'postgres', 'SELECT pg_current_wal_flush_lsn()');
	my ($out) = run_command([ 'pg_waldump', '-p', $node->data_dir . '/pg_wal', '-r', 'LogicalMessage', '-s', $from,
		'-e', $to ]);
	my @messages = grep { /pg_flo/ } split /\n/, $out;
	return scalar @messages;
}

$source->safe_psql('postgres', 'CREATE DATABASE other');
$source->safe_psql('other', 'CREATE EXTENSION pg_flo');
my $from = $source->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
$source->safe_psql('postgres', 'CREATE TABLE nobody (a int); ALTER TABLE nobody ADD b int; DROP TABLE nobody');
is(messages_between($source, $from), 0, 'no message before a group tracks DDL');

$source->safe_psql('postgres',
	q{SELECT flo.create_replicator('g', schemas => '{public,app}', track_ddl => true,
	options => '{"keyless_tables": "full"}')})
  if $source->safe_psql('postgres', 'CREATE SCHEMA app') || 1;
$dest->safe_psql('postgres', 'CREATE SCHEMA app');
start_member($source, 'g', 'replicator');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g', options => '{"ddl_trust": "source"}')});
start_member($dest, 'g', 'postgres');

$from = $source->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
my $scans = q{SELECT coalesce(sum(seq_scan + coalesce(idx_scan, 0)), 0) FROM pg_stat_user_tables
	WHERE schemaname = 'flo' AND relname <> 'replicators'};
$source->safe_psql('other', 'CREATE TABLE nobody (id int PRIMARY KEY); ALTER TABLE nobody ADD b int;
	CREATE INDEX CONCURRENTLY nobody_b ON nobody (b)');
$source->safe_psql('postgres', 'CREATE TEMP TABLE mine (a int); ALTER TABLE mine ADD b int; DROP TABLE mine');
is(messages_between($source, $from), 0, 'no message in another database, nor for temporary tables');
$source->safe_psql('postgres', 'CREATE TABLE somebody (id int PRIMARY KEY); DROP TABLE somebody');
isnt(messages_between($source, $from), 0, 'messages where DDL is tracked');

# --- the script -----------------------------------------------------------------------------

my @script = (
	# columns
	q{INSERT INTO users SELECT i, 'u' || i, i FROM generate_series(1, 20) i},
	q{ALTER TABLE users ADD COLUMN email text},
	q{UPDATE users SET email = name || '@example.com'},
	q{ALTER TABLE users ADD score int NOT NULL DEFAULT 7, ADD rank numeric(6,2) DEFAULT 1.5},
	q{INSERT INTO users (id, name) VALUES (21, 'late')},
	q{BEGIN; INSERT INTO users VALUES (22, 'before', 1, 'e', 1, 2); ALTER TABLE users ADD note varchar(10);
		INSERT INTO users VALUES (23, 'after', 1, 'e', 1, 2, 'n'); ALTER TABLE users RENAME note TO remark;
		UPDATE users SET remark = 'r' WHERE id = 22; COMMIT},
	q{ALTER TABLE users ALTER age TYPE bigint},
	q{ALTER TABLE users ALTER age SET DEFAULT 18, ALTER score DROP DEFAULT},
	q{INSERT INTO users (id, name, score) VALUES (24, 'default', 1)},
	q{ALTER TABLE users ALTER rank TYPE text USING 'r' || rank::text},
	q{ALTER TABLE users ALTER name SET NOT NULL},
	q{UPDATE users SET rank = upper(rank)},
	q{ALTER TABLE users DROP COLUMN rank},
	q{DELETE FROM users WHERE id = 24},
	q{ALTER TABLE users ADD twice int GENERATED ALWAYS AS (score * 2) STORED},
	q{INSERT INTO users (id, name, score) VALUES (25, 'generated', 21)},
	q{ALTER TABLE users ALTER remark SET STATISTICS 200, ALTER name SET STORAGE EXTERNAL},

	# constraints and indexes
	q{ALTER TABLE users ADD CONSTRAINT score_ok CHECK (score >= 0)},
	q{ALTER TABLE users RENAME CONSTRAINT score_ok TO score_fine},
	q{CREATE UNIQUE INDEX users_email ON users (lower(email)) WHERE email IS NOT NULL AND id > 30},
	q{CREATE INDEX CONCURRENTLY users_age ON users (age)},
	q{INSERT INTO users (id, name, score) VALUES (26, 'indexed', 2)},
	q{CREATE INDEX users_remark ON users (remark) INCLUDE (score)},
	q{ALTER INDEX users_remark RENAME TO users_remark_score},
	q{DROP INDEX CONCURRENTLY users_age},
	q{ALTER TABLE orders ADD CONSTRAINT total_ok CHECK (total > 0) NOT VALID},
	q{INSERT INTO orders SELECT i, i % 20 + 1, i FROM generate_series(1, 50) i},
	q{ALTER TABLE orders VALIDATE CONSTRAINT total_ok},
	q{ALTER TABLE orders DROP CONSTRAINT orders_user_id_fkey},
	q{ALTER TABLE orders ADD FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE},
	q{ALTER TABLE orders ADD CONSTRAINT orders_unique UNIQUE (user_id, id) DEFERRABLE},

	# types
	q{ALTER TYPE mood ADD VALUE 'happy'},
	q{INSERT INTO feelings VALUES (1, 'happy'), (2, 'sad')},
	q{ALTER TYPE mood ADD VALUE 'so-so' BEFORE 'ok'},
	q{INSERT INTO feelings VALUES (3, 'so-so')},
	q{ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'},
	q{INSERT INTO feelings VALUES (4, 'blue')},
	q{CREATE TYPE pair AS (a int, b text)},
	q{CREATE DOMAIN posint AS int CHECK (VALUE > 0)},
	q{CREATE TABLE typed (id posint PRIMARY KEY, p pair, ms mood[])},
	q{INSERT INTO typed VALUES (1, '(1,x)', '{ok,blue}')},
	q{ALTER TYPE pair ADD ATTRIBUTE c int CASCADE},
	q{ALTER DOMAIN posint ADD CONSTRAINT small CHECK (VALUE < 1000)},
	q{INSERT INTO typed VALUES (2, '(1,x,3)', NULL)},

	# new tables, whose rows flow from the first one
	q{CREATE TABLE fresh (id int PRIMARY KEY, v text DEFAULT 'd'); INSERT INTO fresh (id) SELECT generate_series(1, 10);
		ALTER TABLE fresh ADD w int; UPDATE fresh SET w = id},
	q{CREATE TABLE made AS SELECT id, name, score + 0.5 AS half, NULL::mood AS m FROM users WHERE id < 10},
	q{INSERT INTO made VALUES (1000, 'one more', 1, 'ok')},
	q{CREATE TABLE made_empty (x, y) AS SELECT 1, 'a'::varchar(3) COLLATE "C" WITH NO DATA},
	q{INSERT INTO made_empty VALUES (2, 'b')},
	q{SELECT id AS k, v INTO selected FROM fresh},
	q{DELETE FROM selected WHERE k > 5},
	q{PREPARE four AS SELECT g AS n FROM generate_series(1, 4) g; CREATE TABLE executed AS EXECUTE four;
		DEALLOCATE four},
	q{CREATE TABLE copied (LIKE users INCLUDING ALL)},
	q{INSERT INTO copied (id, name, score) VALUES (1, 'c', 1)},
	q{CREATE TABLE counted (id serial PRIMARY KEY, g int GENERATED BY DEFAULT AS IDENTITY, }
	  . q{u uuid DEFAULT gen_random_uuid(), at timestamptz DEFAULT now())},
	q{INSERT INTO counted (g) VALUES (5), (6), (7)},
	q{CREATE UNLOGGED TABLE scratch (a int)},
	q{ALTER TABLE fresh RENAME TO not_so_fresh},
	q{INSERT INTO not_so_fresh VALUES (11, 'x', 1)},
	q{ALTER TABLE not_so_fresh SET SCHEMA app},
	q{INSERT INTO app.not_so_fresh VALUES (12, 'y', 2)},
	q{ALTER TABLE counted ADD PRIMARY KEY (id, g)} => 'fails',
	q{CREATE TABLE short_lived (id int PRIMARY KEY); INSERT INTO short_lived VALUES (1); DROP TABLE short_lived},

	# partitions
	q{CREATE TABLE parted (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY RANGE (k)},
	q{CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10)},
	q{INSERT INTO parted SELECT i, i % 10, 'p' FROM generate_series(1, 30) i},
	q{CREATE TABLE parted_2 (id int NOT NULL, k int NOT NULL, v text)},
	q{ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES FROM (10) TO (20)},
	q{INSERT INTO parted SELECT i, 10 + i % 10, 'q' FROM generate_series(1, 30) i},
	q{ALTER TABLE parted ADD w int DEFAULT 3},
	q{ALTER TABLE parted DETACH PARTITION parted_1},
	q{INSERT INTO parted_1 VALUES (100, 1, 'alone', 1)},
	q{INSERT INTO parted VALUES (200, 11, 'in', 1)},

	# around the tables
	q{CREATE SEQUENCE numbers INCREMENT 5 OWNED BY users.score},
	q{ALTER SEQUENCE numbers MAXVALUE 10000},
	q{CREATE VIEW names AS SELECT id, name FROM users},
	q{CREATE OR REPLACE VIEW names AS SELECT id, name, score FROM users},
	q{CREATE MATERIALIZED VIEW sums AS SELECT sum(total) FROM orders},
	q{CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN NEW.remark := 'touched;'; }
	  . q{RETURN NEW; END $f$},
	q{CREATE TRIGGER touch BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch()},
	q{UPDATE users SET score = score + 1 WHERE id < 5},
	q{ALTER TABLE users DISABLE TRIGGER touch},
	q{ALTER FUNCTION touch() COST 7},
	q{CREATE POLICY mine ON feelings USING (id > 0)},
	q{ALTER TABLE feelings ENABLE ROW LEVEL SECURITY},
	q{ALTER POLICY mine ON feelings USING (id > -1)},
	q{CREATE STATISTICS both_columns ON name, score FROM users},
	q{COMMENT ON TABLE users IS 'it''s; the users'; COMMENT ON COLUMN users.name IS 'their name';
		COMMENT ON INDEX users_email IS 'i'},
	q{CREATE RULE no_delete AS ON DELETE TO made_empty DO INSTEAD NOTHING},
	q{SET search_path = app, public; CREATE TABLE in_app (id int PRIMARY KEY); INSERT INTO in_app VALUES (1);
		ALTER TABLE in_app ADD s mood; INSERT INTO in_app VALUES (2, 'ok'); RESET search_path},

	# as part of something else
	q{DO $$ BEGIN ALTER TABLE users ADD from_do int; UPDATE users SET from_do = id;
		EXECUTE 'ALTER TABLE users ADD from_execute text DEFAULT ''; x'''; END $$},
	q{CREATE FUNCTION make(n int) RETURNS void LANGUAGE plpgsql AS $f$ BEGIN }
	  . q{EXECUTE format('CREATE TABLE made_%s (id int PRIMARY KEY)', n); }
	  . q{EXECUTE format('INSERT INTO made_%s SELECT generate_series(1, %s)', n, n); END $f$; SELECT make(3), make(4)},
	q{CREATE TABLE multi_a (id int PRIMARY KEY)\; CREATE TABLE multi_b (id int PRIMARY KEY)\;
		INSERT INTO multi_a VALUES (1)\; /* ; */ ALTER TABLE multi_b ADD "odd;name" text -- end},
	q{INSERT INTO multi_b VALUES (1, 'x')},

	# what is rolled back never happened
	q{BEGIN; ALTER TABLE users ADD gone int; INSERT INTO users (id, name, score) VALUES (500, 'gone', 1); ROLLBACK},
	q{BEGIN; INSERT INTO users (id, name, score) VALUES (501, 'stays', 1); SAVEPOINT a; ALTER TABLE users ADD gone int;
		CREATE TABLE gone (id int PRIMARY KEY); INSERT INTO gone VALUES (1); ROLLBACK TO a;
		ALTER TABLE users ADD kept int; SAVEPOINT b; UPDATE users SET kept = 1 WHERE id = 501; RELEASE b; COMMIT},
	q{DO $$ BEGIN BEGIN ALTER TABLE users ADD undone int; RAISE 'x'; }
	  . q{EXCEPTION WHEN raise_exception THEN ALTER TABLE users ADD done int; END; END $$},
	q{ALTER TABLE users ADD id int} => 'fails',
	q{CREATE UNIQUE INDEX CONCURRENTLY fails_late ON parted_2 (v)} => 'fails',
	q{DROP INDEX fails_late},

	# the end of things
	q{TRUNCATE made_empty; INSERT INTO made_empty VALUES (3, 'c')},
	q{DROP VIEW names; DROP MATERIALIZED VIEW sums},
	q{DROP TABLE multi_a, multi_b},
	q{DROP TABLE IF EXISTS never_was},
	q{CREATE TABLE IF NOT EXISTS users (other int)},
	q{DROP TRIGGER touch ON users; DROP FUNCTION touch()},
	q{DROP SEQUENCE numbers},
	q{DROP POLICY mine ON feelings; DROP RULE no_delete ON made_empty},
	q{DROP TYPE pair CASCADE},
	q{INSERT INTO typed VALUES (3, '{ok}')},
	q{DROP SCHEMA app CASCADE; CREATE SCHEMA app; CREATE TABLE app.again (id int PRIMARY KEY);
		INSERT INTO app.again VALUES (1)},
);

my $other = q{CREATE SCHEMA IF NOT EXISTS elsewhere; CREATE TABLE elsewhere.t%d AS SELECT 1 AS a;
	ALTER TABLE elsewhere.t%d ADD b int DEFAULT random(); INSERT INTO elsewhere.t%d VALUES (2)};
my ($n, $wrong, $killed) = (0, '', 0);
$source->safe_psql('postgres', 'CREATE SCHEMA elsewhere');
while (defined(my $sql = shift @script))
{
	my $fails = (@script && $script[0] eq 'fails') ? shift @script : '';
	my ($out, $err);
	my $rc = $source->psql('postgres', "$sql\n;", stdout => \$out, stderr => \$err, on_error_stop => 1);
	$n++;
	$wrong .= "$sql: $err\n" if ($rc != 0) ne ($fails ne '');
	$source->safe_psql('postgres', sprintf($other, $n, $n, $n)) if $n % 20 == 0;
	if ($n % 25 == 0)
	{
		kill9_member($dest, 'g', 'postgres');
		$killed++;
	}
}
is($wrong, '', "$n steps did what they should at the source");
ok($killed > 2, "the worker was killed $killed times meanwhile");
wait_caught_up($source, $dest, 'g');

sub dump_of
{
	my ($node) = @_;
	my ($out, $err) = run_command([ 'pg_dump', '--schema-only', '--no-publications', '-N', 'elsewhere', '-N', 'flo',
		'-h', $node->host, '-p', $node->port, 'postgres' ]);
	$out =~ s/^\\(un)?restrict.*\n//mg;
	return $out;
}
is(dump_of($dest), dump_of($source), 'pg_dump --schema-only is the same');
for my $table (split /\n/, $source->safe_psql('postgres',
	q{SELECT c.oid::regclass FROM pg_class c WHERE relkind = 'r' AND relpersistence = 'p'
		AND relnamespace::regnamespace::text IN ('public', 'app') ORDER BY 1}))
{
	is_same_table($source, $dest, $table);
}
is($dest->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('elsewhere')}),
	'0',
	'nothing of an untracked schema arrived');
cmp_ok($dest->safe_psql('postgres', q{SELECT count(*) FROM flo.ddl_log WHERE outcome = 'applied'}), '>=', 60,
	'flo.ddl_log lists what was applied');
is($dest->safe_psql('postgres', q{SELECT command, detail FROM flo.ddl_log WHERE outcome <> 'applied'}),
	'DROP INDEX fails_late|index "fails_late" was never brought here',
	'... and what was to be dropped but had never come about here');
is($dest->safe_psql('postgres', q{SELECT command FROM flo.ddl_log WHERE command ~ 'multi_|from_|made_3' ORDER BY id}),
	join("\n",
	'ALTER TABLE users ADD from_do int',
	q{ALTER TABLE users ADD from_execute text DEFAULT '; x'},
	'CREATE TABLE made_3 (id int PRIMARY KEY)',
	'CREATE TABLE multi_a (id int PRIMARY KEY)',
	'CREATE TABLE multi_b (id int PRIMARY KEY)',
	# from 18 on a statement begins behind the comment
	($source->pg_version >= 18 ? '' : '/* ; */ ') . 'ALTER TABLE multi_b ADD "odd;name" text -- end',
	'DROP TABLE multi_a, multi_b'), 'the exact text of each statement');

done_testing();
