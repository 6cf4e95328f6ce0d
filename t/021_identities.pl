# Replica identities: which row changes, in every way the source can say it.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloMatrix;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.restart_interval = '300ms'\n";
my $source = flo_node('source', $nats, conf => "${conf}pg_flo.row_writer = check\n");
my $dest = flo_node('dest', $nats, conf => $conf);

my $m = FloMatrix->new($source, $dest, 'g');

# --- keys -------------------------------------------------------------------------------

$m->case('default',
	ddl => 'CREATE TABLE t (id int PRIMARY KEY, a text);
		CREATE TABLE u (a int, b text, c date, v text, PRIMARY KEY (c, a, b))',
	tables => [qw(t u)],
	steps => [
		q{INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 50) i;
			INSERT INTO u SELECT i % 3, i::text, '2024-01-01'::date + i, 'x' FROM generate_series(1, 50) i},
		q{UPDATE t SET a = NULL WHERE id < 5; UPDATE t SET a = a || 'x'; UPDATE u SET v = 'y' WHERE a = 1},
		q{UPDATE t SET id = id + 1000; UPDATE t SET id = -id WHERE id % 2 = 0; UPDATE u SET a = 9 WHERE a = 2;
			UPDATE u SET b = b || 'k', c = c + 1, v = NULL WHERE a = 9},
		q{DELETE FROM t WHERE id < 0; DELETE FROM u WHERE a = 9},
		q{TRUNCATE t, u; INSERT INTO t VALUES (1, 'again')},
	]);
$m->case('keys change hands',
	ddl => 'CREATE TABLE t (id int PRIMARY KEY, a text)',
	steps => [
		q{INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 10) i},
		q{BEGIN; UPDATE t SET id = 0 WHERE id = 1; UPDATE t SET id = 1 WHERE id = 2; UPDATE t SET id = 2 WHERE id = 0;
			COMMIT},
		q{BEGIN; DELETE FROM t WHERE id = 3; UPDATE t SET id = 3 WHERE id = 4; INSERT INTO t VALUES (4, 'new');
			UPDATE t SET id = 40 WHERE id = 4; DELETE FROM t WHERE id = 40; COMMIT},
		q{DELETE FROM t WHERE id = 5; INSERT INTO t VALUES (5, 'again'); DELETE FROM t WHERE id = 5;
			INSERT INTO t VALUES (5, 'and again'); UPDATE t SET id = 6, a = 'six' WHERE id = 6},
	]);
$m->case('rows that lie behind one another',
	ddl => 'CREATE TABLE t (id int PRIMARY KEY, v int); CREATE TABLE u (a text, b bigint, v int, PRIMARY KEY (b, a))',
	tables => [qw(t u)],
	steps => [
		q{INSERT INTO t SELECT i, 0 FROM generate_series(1, 900) i;
			INSERT INTO u SELECT (i % 2)::text, i / 2, 0 FROM generate_series(1, 900) i},
		q{UPDATE t SET v = v + 1; UPDATE u SET v = v + 1},
		q{UPDATE t SET v = 2 WHERE id % 2 = 0; UPDATE u SET v = 2 WHERE a = '1'},
		q{BEGIN; UPDATE t SET v = 3 WHERE id BETWEEN 100 AND 200; UPDATE t SET v = v + 10;
			DELETE FROM t WHERE id > 800; COMMIT},
		q{DELETE FROM t WHERE id % 3 = 0; DELETE FROM u WHERE b % 3 = 0 AND a = '0'},
		q{INSERT INTO t SELECT i, 5 FROM generate_series(3, 900, 6) i; UPDATE t SET id = id + 1000 WHERE id % 5 = 0},
		q{BEGIN; DELETE FROM t WHERE id < 400; DELETE FROM u WHERE b >= 100; COMMIT},
	]);
$m->case('using index',
	ddl => q{CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, b text NOT NULL, v text);
		CREATE UNIQUE INDEX i ON t (b, a); ALTER TABLE t REPLICA IDENTITY USING INDEX i;
		CREATE TABLE u (a int NOT NULL UNIQUE, v text); ALTER TABLE u REPLICA IDENTITY USING INDEX u_a_key},
	dest => 'DROP INDEX i',
	tables => [qw(t u)],
	steps => [
		q{INSERT INTO t SELECT i, -i, 'b' || i, 'v' FROM generate_series(1, 20) i;
			INSERT INTO u SELECT i, 'v' FROM generate_series(1, 20) i},
		q{UPDATE t SET v = 'w' WHERE id < 5; UPDATE u SET v = 'w' WHERE a < 5},
		q{UPDATE t SET id = id + 100; UPDATE t SET a = a * 2, b = upper(b) WHERE id > 110; UPDATE u SET a = a + 100},
		q{DELETE FROM t WHERE id % 2 = 0; DELETE FROM u WHERE a % 2 = 0},
	]);
$m->case('only a key',
	ddl => q{CREATE TABLE t (a int, b int, PRIMARY KEY (a, b));
		CREATE TABLE u (a int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)},
	tables => [qw(t u)],
	steps => [ q{INSERT INTO t VALUES (1, 1), (2, 2), (3, 3); INSERT INTO u DEFAULT VALUES;
		INSERT INTO u DEFAULT VALUES},
		q{UPDATE t SET b = b; UPDATE t SET b = 30 WHERE a = 3; UPDATE u SET a = DEFAULT WHERE a = 1},
		q{DELETE FROM t WHERE a = 2; DELETE FROM u WHERE a = 2} ]);
$m->case('keys that are equal',
	ddl => q{CREATE TABLE t (n numeric PRIMARY KEY, f float8); CREATE TABLE u (f float8 PRIMARY KEY, v text);
		CREATE TABLE d (d date, b bytea, PRIMARY KEY (b, d))},
	tables => [qw(t u d)],
	steps => [ q{INSERT INTO t VALUES (1.0, 0), ('NaN', 'NaN'), ('Infinity', '-0');
		INSERT INTO u VALUES ('-0', 'a'), ('NaN', 'b'); INSERT INTO d VALUES ('infinity', ''), ('-infinity', '\x00')},
		q{UPDATE t SET n = 1.00 WHERE n = 1; UPDATE u SET f = 0 WHERE f = 0; UPDATE u SET v = 'c';
			UPDATE d SET b = '\x0000' WHERE b = '\x00'},
		q{DELETE FROM t WHERE n = 'NaN'; DELETE FROM u WHERE f = 'NaN'; DELETE FROM d WHERE d = 'infinity'} ]);

# --- FULL ---------------------------------------------------------------------------------

$m->case('full, duplicates and NULLs',
	ddl => 'CREATE TABLE t (a int, b text, c numeric); ALTER TABLE t REPLICA IDENTITY FULL',
	steps => [
		q{INSERT INTO t SELECT 1, 'x', 1.0 FROM generate_series(1, 5);
			INSERT INTO t SELECT NULL, NULL, NULL FROM generate_series(1, 4);
			INSERT INTO t VALUES (2, NULL, 2), (2, '', 2), (2, NULL, NULL), (1, 'x', 1.00)},
		q{UPDATE t SET b = 'one' WHERE ctid = '(0,1)'; UPDATE t SET a = 7 WHERE ctid = '(0,6)';
			UPDATE t SET b = 'e' WHERE a = 2 AND b = ''},
		q{DELETE FROM t WHERE ctid IN ('(0,2)', '(0,7)'); DELETE FROM t WHERE a = 2 AND c IS NULL},
		q{UPDATE t SET c = c + 1; UPDATE t SET a = NULL, b = NULL, c = NULL WHERE a = 1},
		q{DELETE FROM t},
	], note => 'exactly one of equal rows changes');
$m->case('full, keys here and there',
	ddl => q{CREATE TABLE a (id int, v text); ALTER TABLE a REPLICA IDENTITY FULL;
		CREATE TABLE b (id int PRIMARY KEY, v text); ALTER TABLE b REPLICA IDENTITY FULL;
		CREATE TABLE c (id int PRIMARY KEY, v text); ALTER TABLE c REPLICA IDENTITY FULL;
		CREATE TABLE d (id int PRIMARY KEY, v text, w int DEFAULT 0)},
	dest => q{ALTER TABLE a ADD PRIMARY KEY (id); ALTER TABLE b DROP CONSTRAINT b_pkey;
		ALTER TABLE d DROP CONSTRAINT d_pkey, ADD UNIQUE (id), ALTER w SET NOT NULL},
	tables => [qw(a b c d)],
	steps => [
		q{INSERT INTO a VALUES (1, 'a'), (2, NULL); INSERT INTO b VALUES (1, 'a'), (2, NULL);
			INSERT INTO c VALUES (1, 'a'), (2, NULL); INSERT INTO d VALUES (1, 'a'), (2, NULL)},
		q{UPDATE a SET v = 'x' WHERE id = 2; UPDATE b SET v = 'x' WHERE id = 2; UPDATE c SET v = 'x' WHERE id = 2;
			UPDATE d SET v = 'x' WHERE id = 2;
			UPDATE a SET id = 10 WHERE id = 1; UPDATE b SET id = 10 WHERE id = 1; UPDATE c SET id = 10 WHERE id = 1;
			UPDATE d SET id = 10 WHERE id = 1},
		q{DELETE FROM a WHERE id = 10; DELETE FROM b WHERE id = 10; DELETE FROM c WHERE id = 10;
			DELETE FROM d WHERE id = 10},
	]);
$m->case('full, without equality',
	ddl => q{CREATE TYPE co AS (x int, j json);
		CREATE TABLE t (a json, b xml, c point, d co, e int[], f circle, g json[], h path);
		ALTER TABLE t REPLICA IDENTITY FULL},
	steps => [
		q{INSERT INTO t VALUES ('{"a": 1}', '<a/>', '(1,2)', ROW(1, '[1]'), '{1,NULL}', '<(1,1),2>', '{"1",NULL}',
			'[(0,0),(1,1)]'),
			('{"a": 1}', '<a/>', '(1,2)', ROW(1, '[1]'), '{1,NULL}', '<(1,1),2>', '{"1",NULL}', '((0,0),(1,1))'),
			(NULL, NULL, NULL, ROW(NULL, NULL), '{}', NULL, NULL, NULL),
				(NULL, NULL, NULL, NULL, '{}', NULL, NULL, NULL)},
		q{UPDATE t SET e = '{9}' WHERE d::text = '(,)'; UPDATE t SET b = '<b/>' WHERE isopen(h)},
		q{DELETE FROM t WHERE d::text IS NULL; DELETE FROM t WHERE b::text = '<b/>'},
	]);
$m->case('full, no columns',
	ddl => 'CREATE TABLE t (); ALTER TABLE t REPLICA IDENTITY FULL', tables => [ 'SELECT 1 FROM "full, no columns".t' ],
	steps => [ 'INSERT INTO t DEFAULT VALUES; INSERT INTO t DEFAULT VALUES; INSERT INTO t DEFAULT VALUES',
		q{DELETE FROM t WHERE ctid = '(0,2)'} ]);
$m->case('identity changes',
	ddl => 'CREATE TABLE t (id int PRIMARY KEY, u int NOT NULL UNIQUE, v text)',
	steps => [
		q{INSERT INTO t SELECT i, -i, 'a' FROM generate_series(1, 9) i; ALTER TABLE t REPLICA IDENTITY FULL;
			UPDATE t SET v = 'b' WHERE id = 1; UPDATE t SET id = 100 WHERE id = 2},
		q{ALTER TABLE t REPLICA IDENTITY USING INDEX t_u_key; UPDATE t SET v = 'c' WHERE id = 3;
			UPDATE t SET u = 100 WHERE id = 4; DELETE FROM t WHERE id = 5},
		q{BEGIN; UPDATE t SET v = 'd' WHERE id = 3; ALTER TABLE t REPLICA IDENTITY DEFAULT;
			UPDATE t SET id = 60 WHERE id = 6; UPDATE t SET u = 60 WHERE id = 60; COMMIT; DELETE FROM t WHERE id = 7},
		q{ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (u); UPDATE t SET v = 'e' WHERE u = 60;
			UPDATE t SET u = 80, id = 80 WHERE id = 8},
	]);

# --- TOAST ------------------------------------------------------------------------------------

my $big = sub { my ($what) = @_;
	return "(SELECT string_agg(md5($what || i::text), '') FROM generate_series(1, 200) i)" };
$m->case('unchanged TOAST',
	ddl => q{CREATE TABLE t (id int PRIMARY KEY, a int, b text, c text); ALTER TABLE t ALTER b SET STORAGE EXTERNAL;
		CREATE TABLE k (id text PRIMARY KEY, a int); ALTER TABLE k ALTER id SET STORAGE EXTERNAL;
		CREATE TABLE f (id int, b text, c text); ALTER TABLE f REPLICA IDENTITY FULL;
		ALTER TABLE f ALTER b SET STORAGE EXTERNAL;
		CREATE TABLE i (id int PRIMARY KEY, u text NOT NULL UNIQUE, b text);
		ALTER TABLE i REPLICA IDENTITY USING INDEX i_u_key; ALTER TABLE i ALTER u SET STORAGE EXTERNAL},
	tables => [qw(t k f i)],
	steps => [
		"INSERT INTO t SELECT n, n, " . $big->("n::text") . ", " . $big->("n::text || 'c'")
		  . " FROM generate_series(1, 8) n;
		INSERT INTO k SELECT repeat(n::text || 'k', 1200), n FROM generate_series(1, 5) n;
		INSERT INTO f SELECT n, " . $big->("(n / 2)::text")
		  . ", 'x' FROM generate_series(1, 6) n; INSERT INTO f SELECT * FROM f;
		INSERT INTO i SELECT n, repeat(n::text, 2500), " . $big->("n::text") . " FROM generate_series(1, 5) n",
		q{UPDATE t SET a = a + 1; UPDATE k SET a = a + 1; UPDATE f SET c = 'y' WHERE id = 2; UPDATE i SET id = id + 10},
		q{BEGIN; UPDATE t SET a = 0 WHERE id = 3; UPDATE t SET c = 'c' WHERE id = 3;
			UPDATE t SET b = b || 'x' WHERE id = 3; UPDATE t SET a = 9, b = b || 'y' WHERE id = 3;
			UPDATE t SET a = 10 WHERE id = 3; COMMIT;
			BEGIN; UPDATE k SET a = 0 WHERE a = 3; UPDATE k SET a = 30 WHERE a = 0;
			UPDATE k SET id = id || 'z' WHERE a = 30; UPDATE k SET a = 31 WHERE a = 30; COMMIT},
		q{UPDATE t SET id = id + 100 WHERE id > 4; UPDATE k SET id = id || 'y' WHERE a = 2;
			UPDATE f SET b = b || 'q' WHERE ctid IN (SELECT min(ctid) FROM f);
			UPDATE i SET u = u || 'u' WHERE id = 12; UPDATE i SET b = NULL WHERE id = 13},
		q{DELETE FROM k WHERE a = 2; DELETE FROM f WHERE ctid IN (SELECT max(ctid) FROM f);
			DELETE FROM i WHERE id < 14},
	]);

$m->run;

# --- not carried, and what is seen ----------------------------------------------------------------

{
	# a row that was deleted at the destination by hand cannot be made up of an UPDATE that leaves a value out
	my %case = (name => 'unknown TOAST value', exists => 1, change => 'UPDATE t SET a = 2', error => qr/column "b".*/,
		fix => q{INSERT INTO t VALUES (1, 1, repeat('x', 10000))},
		ddl => q{CREATE TABLE t (id int PRIMARY KEY, a int, b text); ALTER TABLE t ALTER b SET STORAGE EXTERNAL});
	$m->create(\%case);
	$source->safe_psql('postgres', q{INSERT INTO "unknown TOAST value".t VALUES (1, 1, repeat('x', 10000))});
	$m->wait;
	$dest->safe_psql('postgres', q{DELETE FROM "unknown TOAST value".t});
	$m->refused('unknown TOAST value', %case);
}
{
	my %case = (name => 'duplicates of a key', exists => 1, change => 'UPDATE t SET a = 2',
		error => qr/the key of one source row matches 2 rows/,
		fix => q{DELETE FROM t WHERE ctid = '(0,2)'}, ddl => 'CREATE TABLE t (id int PRIMARY KEY, a int)',
		dest => 'ALTER TABLE t DROP CONSTRAINT t_pkey');
	$m->create(\%case);
	$source->safe_psql('postgres', q{INSERT INTO "duplicates of a key".t VALUES (1, 1)});
	$m->wait;
	$dest->safe_psql('postgres', q{INSERT INTO "duplicates of a key".t VALUES (1, 1)});
	$m->refused('duplicates of a key', %case);
}

# --- keyless_tables -------------------------------------------------------------------------------

my $keyless = q{CREATE TABLE none (a int, b text); CREATE TABLE nothing (id int PRIMARY KEY, v text);
	ALTER TABLE nothing REPLICA IDENTITY NOTHING;
	CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE, v text); CREATE TABLE keyed (id int PRIMARY KEY, v text);
	CREATE TABLE parts (a int, b text) PARTITION BY RANGE (a);
	CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (5);
	CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (5) TO (100); ALTER TABLE parts_2 ADD PRIMARY KEY (a)};
my @tables = qw(none nothing deferred keyed parts_1 parts_2);
my %rows = (
	insert => q{INSERT INTO none VALUES (1, 'a'), (1, 'a'), (NULL, NULL);
		INSERT INTO nothing VALUES (1, 'a'), (2, 'b'), (3, 'c');
		INSERT INTO deferred VALUES (1, 'a'), (2, 'b'), (3, 'c'); INSERT INTO keyed VALUES (1, 'a'), (2, 'b');
		INSERT INTO parts VALUES (1, 'a'), (1, 'a'), (6, 'b')},
	update => q{UPDATE none SET b = 'c' WHERE ctid = '(0,1)'; UPDATE nothing SET v = 'x' WHERE id = 1;
		UPDATE deferred SET id = 10 WHERE id = 1; UPDATE keyed SET v = 'x';
		UPDATE parts SET b = 'x' WHERE ctid = '(0,1)'; UPDATE parts SET a = 7 WHERE a = 6;
		DELETE FROM none WHERE a IS NULL; DELETE FROM nothing WHERE id = 2; DELETE FROM deferred WHERE id = 2;
		DELETE FROM keyed WHERE id = 2},
	truncate => q{TRUNCATE none, nothing, keyed, parts; INSERT INTO none VALUES (9, 'z');
		INSERT INTO keyed VALUES (9, 'z')});

for my $how (qw(full insert_only skip refuse))
{
	my $k = "k_$how";
	$_->safe_psql('postgres', "CREATE DATABASE $k") for $source, $dest;
	$_->safe_psql($k, "CREATE EXTENSION pg_flo; $keyless") for $source, $dest;
	if ($how eq 'refuse')
	{
		my $error = error_of($source,
			"SELECT flo.create_replicator('$k', options => '{\"keyless_tables\": \"refuse\"}')", $k);
		like($error, qr/^55000: .*: public\."none", public\.nothing, public\.deferred, public\.parts\n/,
			'keyless_tables refuse: create_replicator');
		$m->line('keyless_tables refuse', 'refused', (split /\n/, $error)[0] . ' (create_replicator)');
		next;
	}
	create_group($source, $dest, $k, source_db => $k, dest_db => $k, options => "'{\"keyless_tables\": \"$how\"}'");
	my $wait = sub { wait_caught_up($source, $dest, $k, source_db => $k, dest_db => $k) };
	my $count = sub {
		return $_[0]->safe_psql($k, join(' UNION ALL ', map { "SELECT '$_' || count(*) FROM $_" } @_[1 .. $#_])) };

	$source->safe_psql($k, $rows{insert});
	$wait->();
	if ($how eq 'skip')
	{
		is($count->($dest, qw(none nothing deferred parts keyed)), "none0\nnothing0\ndeferred0\nparts0\nkeyed2",
			"keyless_tables skip: only tables with a key");
		$source->safe_psql($k, $rows{$_}) for qw(update truncate);
		$wait->();
		is_same_table($source, $dest, 'keyed', 'keyless_tables skip: the others go on', $k);
		is($source->safe_psql($k, "SELECT status || ': ' || detail FROM flo.check('$k')
			WHERE item LIKE 'replica identities%'"),
			'warning: not replicated because they have none that is usable: public."none", public.deferred, '
			  . 'public.nothing, public.parts', 'keyless_tables skip: flo.check');
		$m->line("keyless_tables skip", 'left out', 'check: '
			  . $source->safe_psql($k, "SELECT detail FROM flo.check('$k') WHERE item LIKE 'replica identities%'"));
		# a key makes a table a member
		$source->safe_psql($k, 'ALTER TABLE none ADD id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY; TRUNCATE none;
			INSERT INTO none (a) VALUES (1); UPDATE none SET b = a::text');
		$dest->safe_psql($k, 'ALTER TABLE none ADD id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY');
		$wait->();
		is_same_table($source, $dest, 'none', 'keyless_tables skip: a table joins with a key', $k);
		next;
	}
	is_same_table($source, $dest, $_, "keyless_tables $how: INSERT into $_", $k) for @tables;
	my @before = $how eq 'insert_only' ? split(/\n/, $count->($dest, 'none', 'nothing', 'deferred', 'parts')) : ();
	$source->safe_psql($k, $rows{update});
	$wait->();
	is_same_table($source, $dest, $_, "keyless_tables $how: UPDATE and DELETE of $_", $k)
	  for $how eq 'full' ? @tables : 'keyed';
	$source->safe_psql($k, $rows{truncate});
	$wait->();
	is_same_table($source, $dest, $_, "keyless_tables $how: TRUNCATE of $_", $k) for $how eq 'full' ? @tables : 'keyed';
	if ($how eq 'insert_only')
	{
		is($count->($dest, 'none'), 'none4', 'keyless_tables insert_only: UPDATE, '
			  . 'DELETE and TRUNCATE at the source succeed and are not sent');
		$m->line('keyless_tables insert_only', 'inserts',
			'UPDATE, DELETE and TRUNCATE of keyless tables are not sent; flo.tables says so: '
			. $source->safe_psql($k, q{SELECT detail FROM flo.tables WHERE table_name LIKE '%none%'}));
	}
	else
	{
		$m->line('keyless_tables full', 'exact', '');
		$source->safe_psql($k, "SELECT flo.drop_replicator('$k')");
		is($source->safe_psql($k, q{SELECT string_agg(relreplident::text, '' ORDER BY relname) FROM pg_class
			WHERE relname IN ('none', 'nothing', 'deferred', 'parts_1', 'parts_2')}),
			'dddd' =~ s/^(d)(d)(d)(d)$/ddndd/r, 'keyless_tables full: undone with the group');
	}
}

$m->finish;
$_->stop('fast') for $source, $dest;
done_testing();
