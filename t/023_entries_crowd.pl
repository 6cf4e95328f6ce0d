# Rows that are updated as sets, where the look for the same key is left out, in a crowd: local
# sessions enter keys that are there, change the same rows and lock them, indexes are made anew
# beside it, and sets are undone and done again.  No key is ever there twice.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use FloTest::Child;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

my $seconds = $ENV{FLO_CROWD_SECONDS} || 10;
my $rows = 1500;
my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats, conf => "pg_flo.restart_interval = '100ms'\ndeadlock_timeout = '50ms'\n");
my $tables = qq{CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
	CREATE TABLE t (id int PRIMARY KEY, u text COLLATE folded UNIQUE, n numeric UNIQUE, h int UNIQUE NULLS NOT DISTINCT,
		v text);
	CREATE TABLE d (id int PRIMARY KEY, u int UNIQUE DEFERRABLE INITIALLY DEFERRED, v text);
	CREATE TABLE p (id int PRIMARY KEY, u int, v text)};

src($tables);
dst("CREATE EXTENSION amcheck; $tables; ALTER TABLE t ADD w int DEFAULT 0, SET (autovacuum_enabled = off);
	CREATE INDEX t_v ON t (v); CREATE UNIQUE INDEX t_incl ON t (id) INCLUDE (v);
	CREATE UNIQUE INDEX p_some ON p (u) WHERE u > 0; CREATE UNIQUE INDEX p_expr ON p ((u * 2)) INCLUDE (v);
	CREATE TABLE broken (what text)");
sub src { return $source->safe_psql('postgres', $_[0]); }
sub dst { return $dest->safe_psql('postgres', $_[0]); }

create_group($source, $dest, 'g');
src("INSERT INTO t SELECT i, 'key' || i, i, nullif(i, 5), 'v' FROM generate_series(1, $rows) i;
	INSERT INTO d SELECT i, i, 'v' FROM generate_series(1, $rows) i;
	INSERT INTO p SELECT i, i, 'v' FROM generate_series(1, $rows) i");
wait_caught_up($source, $dest, 'g');

my $dir = PostgreSQL::Test::Utils::tempdir();
my %scripts = (
	# each of these keys is there at all times
	enter => qq{\\set i random(1, $rows)
		\\set k random(1, 6)
		SELECT enter(:k, :i);
	},
	change => qq{\\set i random(1, $rows)
		UPDATE t SET w = w + 1 WHERE id = :i;
	},
	lock => qq{\\set i random(1, $rows)
		BEGIN;
		SELECT id FROM t WHERE id = :i FOR NO KEY UPDATE;
		-- sleeps: so that the row is locked when the worker comes
		SELECT pg_sleep(0.002);
		ROLLBACK;
	});
dst(q{CREATE FUNCTION enter(k int, i int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
	CASE k WHEN 1 THEN INSERT INTO t (id) VALUES (i);
		WHEN 2 THEN INSERT INTO t (id, u) VALUES (-i, 'KEY' || i);
		WHEN 3 THEN INSERT INTO t (id, n) VALUES (-i, round(i, 2));
		WHEN 4 THEN INSERT INTO t (id, h) VALUES (-i, nullif(i, 5));
		WHEN 5 THEN INSERT INTO p VALUES (-i, i);
		ELSE INSERT INTO t (id) VALUES (i) ON CONFLICT DO NOTHING; IF NOT FOUND THEN RETURN; END IF;
	END CASE;
	INSERT INTO broken VALUES (k || ' ' || i);
	EXCEPTION WHEN unique_violation OR deadlock_detected THEN NULL; END $$});

my @children;
for my $name (sort keys %scripts)
{
	PostgreSQL::Test::Utils::append_to_file("$dir/$name.sql", $scripts{$name});
	push @children, in_child(sub {
		my ($out, $error) = run_command([ 'pgbench', '-n', '-T', $seconds, '-c', $name eq 'enter' ? 4 : 1,
			'-f', "$dir/$name.sql", '-h', $dest->host, '-p', $dest->port, 'postgres' ]);
		append_to_file("$dir/$name.out", "$out\n$error");
	});
}
push @children, in_child(sub {
	my $until = time() + $seconds;
	while (time() < $until)
	{
		for my $sql ('REINDEX TABLE CONCURRENTLY t', 'VACUUM t, p, d', 'REINDEX TABLE CONCURRENTLY p',
			'CREATE UNIQUE INDEX CONCURRENTLY t_more ON t (n, id)', 'DROP INDEX CONCURRENTLY IF EXISTS t_more',
			'VACUUM (INDEX_CLEANUP on) t')
		{
			$dest->psql('postgres', $sql);
		}
	}
	append_to_file("$dir/anew", 'done');
});

my @updates = (
	q{UPDATE t SET v = repeat('x', (random() * 300)::int)},
	q{UPDATE t SET v = left(v, 3) WHERE id % 3 = 0},
	q{UPDATE t SET u = CASE WHEN id % 2 = 0 THEN upper(u) ELSE lower(u) END, v = v || 'y' WHERE random() < 0.5},
	q{UPDATE t SET n = round(n, (random() * 4)::int), v = repeat('z', 100) WHERE random() < 0.5},
	q{BEGIN; UPDATE t SET v = v || 'a' WHERE id < 700; SAVEPOINT s; UPDATE t SET v = 'never'; ROLLBACK TO s;
		UPDATE t SET v = v || 'b' WHERE id < 900; UPDATE t SET v = right(v, 20) WHERE id < 800; COMMIT},
	q{UPDATE p SET v = repeat('x', (random() * 200)::int) WHERE random() < 0.7},
	q{UPDATE d SET v = repeat('x', (random() * 200)::int) WHERE random() < 0.7},
	q{BEGIN; UPDATE d SET u = 1 + u % (SELECT count(*) FROM d); UPDATE d SET v = 'moved'; COMMIT});
my $until = time() + $seconds;
my $turns = 0;
while (time() < $until)
{
	src($updates[ $turns++ % @updates ]);
	wait_caught_up($source, $dest, 'g') if $turns % 4 == 0;
}
note("$turns statements");
for my $name (sort keys %scripts)
{
	ok(await(sub { -s "$dir/$name.out" }, $name), "$name has ended");
	my $out = slurp_file("$dir/$name.out");
	like($out, qr/actually processed: [1-9]\d+\n/, "$name: many times");
	unlike($out, qr/aborted|error:/, "$name: without an error") or diag($out);
}
ok(await(sub { -e "$dir/anew" }, 'indexes'), 'indexes were made anew');
end_child($_) for @children;
wait_caught_up($source, $dest, 'g');
is(dst('SELECT * FROM broken'), '', 'nobody has entered a key that is there');
for my $table (qw(t d p))
{
	my $columns = $table eq 't' ? 'id, u, n::text, h, v' : '*';
	my $query = "SELECT md5(string_agg(r::text, E'\n' ORDER BY r.id)) FROM (SELECT $columns FROM $table) r";
	is(dst($query), src($query), "$table: the same rows");
}
dst('DROP INDEX CONCURRENTLY IF EXISTS t_more');
for my $index (split /\n/, dst(q{SELECT indexrelid::regclass FROM pg_index JOIN pg_class c ON c.oid = indrelid
	WHERE relname IN ('t', 'd', 'p') AND indisvalid}))
{
	my ($result, $out, $error) = $dest->psql('postgres', "SELECT bt_index_check('$index', true)");
	is($error, '', "$index is whole");
}
is(dst("SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;
	SELECT (SELECT count(*) FROM (SELECT FROM t GROUP BY id HAVING count(*) > 1) x),
		(SELECT count(*) FROM (SELECT FROM t
	GROUP BY u HAVING count(*) > 1) x), (SELECT count(*) FROM (SELECT FROM t GROUP BY n HAVING count(*) > 1) x),
	(SELECT count(*) FROM (SELECT FROM t GROUP BY h HAVING count(*) > 1) x)"), '0|0|0|0', 'no key is there twice');
is(dst('SELECT sum(w) > 0 FROM t'), 't', 'rows were changed here, too');
note("$_: ", status_of($dest, 'g', 'postgres', $_)) for qw(fallbacks restarts);

$_->stop for $source, $dest;
$nats->stop;
done_testing();
