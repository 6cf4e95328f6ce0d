# Transactions of every shape, and definitions changed by hand while streaming.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloMatrix;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# FLO_BIG_ROWS=5000000: transactions of millions of rows
my $rows = $ENV{FLO_BIG_ROWS} || 300_000;

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.restart_interval = '300ms'\nmax_locks_per_transaction = 512\nmax_wal_size = 4GB\n";
my $source = flo_node('source', $nats, conf => "${conf}pg_flo.row_writer = check\n");
my $dest = flo_node('dest', $nats, conf => $conf);
my $m = FloMatrix->new($source, $dest, 'g');

# --- shapes of transactions ------------------------------------------------------------------

$m->case('savepoints', ddl => 'CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE f (v text);
	ALTER TABLE f REPLICA IDENTITY FULL', tables => [qw(t f)],
	steps => [
		q{BEGIN; INSERT INTO t VALUES (1, 'a'); SAVEPOINT a; INSERT INTO t VALUES (2, 'gone'); SAVEPOINT b;
			UPDATE t SET v = 'gone'; ROLLBACK TO a; INSERT INTO t VALUES (2, 'b');
			SAVEPOINT c; DELETE FROM t WHERE id = 1; RELEASE c; INSERT INTO f SELECT 'x' FROM generate_series(1, 3);
			COMMIT},
		q{BEGIN; INSERT INTO t VALUES (3, 'never'); TRUNCATE f; ROLLBACK; INSERT INTO t VALUES (4, 'd')},
		q{DO $$ BEGIN FOR i IN 10..200 LOOP BEGIN INSERT INTO t VALUES (i, 'x'); }
		  . q{IF i % 2 = 0 THEN RAISE EXCEPTION 'no'; END IF; EXCEPTION WHEN raise_exception THEN NULL; END; }
		  . q{END LOOP; END $$},
		q{BEGIN; SAVEPOINT s; TRUNCATE t; INSERT INTO t VALUES (900, 'gone'); ROLLBACK TO s;
			UPDATE t SET v = 'kept' WHERE id = 4; COMMIT},
	]);
$m->case('TRUNCATE',
	ddl => q{CREATE TABLE a (id serial PRIMARY KEY, v text);
		CREATE TABLE b (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int REFERENCES a);
		CREATE TABLE c (id int PRIMARY KEY, b int REFERENCES b); CREATE TABLE x (id int PRIMARY KEY)},
	tables => [qw(a b c x)],
	steps => [
		q{INSERT INTO a (v) SELECT 'x' FROM generate_series(1, 5); INSERT INTO b (a) SELECT id FROM a;
			INSERT INTO c SELECT id, id FROM b; INSERT INTO x VALUES (1)},
		q{TRUNCATE a, b, c RESTART IDENTITY; INSERT INTO a (v) VALUES ('one'); INSERT INTO b (a) VALUES (1)},
		q{INSERT INTO c VALUES (1, 1); TRUNCATE a CASCADE},
		q{BEGIN; INSERT INTO a VALUES (100, 'before'); TRUNCATE a, b, c; INSERT INTO a VALUES (101, 'between');
			TRUNCATE a, b, c, x; INSERT INTO a VALUES (102, 'after'); INSERT INTO x VALUES (2); COMMIT},
	]);
$m->case('sequences after RESTART IDENTITY', ddl => 'CREATE TABLE t (id serial PRIMARY KEY)',
	steps => [ 'INSERT INTO t DEFAULT VALUES; TRUNCATE t RESTART IDENTITY', 'INSERT INTO t VALUES (5)' ],
	dest => q{SELECT setval('t_id_seq', 77)},
	after => q{SELECT last_value = 1 AND NOT is_called FROM t_id_seq},
	note => "the destination's own sequence is restarted, too");
$m->case('prepared transactions', ddl => 'CREATE TABLE t (id int PRIMARY KEY, v text)',
	steps => [
		q{BEGIN; INSERT INTO t VALUES (1, 'prepared'); PREPARE TRANSACTION 'p1'; BEGIN;
			INSERT INTO t VALUES (2, 'never'); PREPARE TRANSACTION 'p2'; INSERT INTO t VALUES (3, 'meanwhile')},
		q{COMMIT PREPARED 'p1'; ROLLBACK PREPARED 'p2'},
		q{BEGIN; UPDATE t SET v = 'long'; SAVEPOINT s; INSERT INTO t VALUES (4, 'sub'); RELEASE s;
			PREPARE TRANSACTION 'p3'},
	]);
$m->case('many at once', ddl => 'CREATE TABLE t (id int PRIMARY KEY, v int)',
	steps => [ join(';',
		map { "INSERT INTO t VALUES ($_, 0); UPDATE t SET v = v + 1 WHERE id = $_;
		DELETE FROM t WHERE id = $_ - 50" } 1 .. 300) ]);
$m->case('messages and nothing', ddl => 'CREATE TABLE t (id int PRIMARY KEY)',
	steps => [ q{SELECT pg_logical_emit_message(true, 'pg_flo', 'x');
		SELECT pg_logical_emit_message(false, 'other', 'y'); BEGIN; COMMIT; CREATE TABLE elsewhere (a int);
		INSERT INTO t VALUES (1); SELECT txid_current()} ]);
$m->run;

# A prepared transaction outlives both servers' restarts, and the members'
$_->restart for $source, $dest;
wait_state($source, 'g', 'replicator', 'streaming');
wait_state($dest, 'g', 'postgres', 'streaming');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM "prepared transactions".t WHERE v = 'long'}), '0',
	'prepared: nothing before its commit');
$source->safe_psql('postgres', q{COMMIT PREPARED 'p3'});
$m->wait;
$m->compare('COMMIT PREPARED after a restart', grep { $_->{name} eq 'prepared transactions' } @{ $m->{cases} });
$source->safe_psql('postgres', q{BEGIN; INSERT INTO "prepared transactions".t VALUES (10, 'crash');
	PREPARE TRANSACTION 'p4'});
$source->stop('immediate');
$source->start;
$source->safe_psql('postgres', q{COMMIT PREPARED 'p4'});
$m->wait;
$m->compare('COMMIT PREPARED after a crash', grep { $_->{name} eq 'prepared transactions' } @{ $m->{cases} });

# --- one transaction of very many rows ----------------------------------------------------------

{
	my %big = (name => 'big', tables => [ 'SELECT count(*), sum(id), sum(hashtext(v)), count(w) FROM big.t' ],
		ddl => 'CREATE TABLE t (id int PRIMARY KEY, v text, w int)');
	$m->create(\%big);
	my $start = time();
	$source->safe_psql('postgres', qq{BEGIN; INSERT INTO big.t SELECT i, md5(i::text), 0
		FROM generate_series(1, $rows) i; UPDATE big.t SET w = NULL WHERE id % 3 = 0;
		DELETE FROM big.t WHERE id % 7 = 0; COMMIT});
	my $pid = pid_of($dest, 'g', 'postgres');
	my $sender = pid_of($source, 'g', 'replicator');
	$m->wait;
	my $took = time() - $start;
	$m->compare("one transaction of $rows inserts and their changes", \%big);
	# beyond shared memory: 64 MB and what a process has anyway
	for my $p ([ $pid, 'worker' ], [ $sender, 'replicator' ])
	{
		next if !-r "/proc/$p->[0]/status";
		my ($anon) = (slurp_file("/proc/$p->[0]/status") =~ /^RssAnon:\s+(\d+)/m);
		my ($peak) = (slurp_file("/proc/$p->[0]/status") =~ /^VmHWM:\s+(\d+)/m);
		note(sprintf('%s: %d MB of its own now, %d MB with shared memory at most', $p->[1], $anon / 1024,
			$peak / 1024));
		cmp_ok($anon, '<', 120 * 1024, "a transaction of $rows rows: the $p->[1]'s memory stays bounded");
	}
	$m->line("transaction of $rows rows", 'exact', sprintf('%.1f s', $took));
}

# --- definitions changed by hand, in either order -------------------------------------------------

# Destination first: nothing to be seen.  Columns it has more, or wider, do no harm.
my %first = (name => 'destination first', exists => 1, columns => 'id, v, b',
	ddl => 'CREATE TABLE t (id int PRIMARY KEY, v varchar(5), a int)',
	dest => 'ALTER TABLE t ALTER v TYPE text, ALTER id TYPE bigint, ADD b int; ALTER TABLE t DROP CONSTRAINT t_pkey;
		ALTER TABLE t ADD PRIMARY KEY (id)');
$m->create(\%first);
$source->safe_psql('postgres', q{SET search_path = "destination first"; INSERT INTO t VALUES (1, 'a', 1);
	UPDATE t SET v = 'b';
	ALTER TABLE t ADD b int; ALTER TABLE t ALTER id TYPE bigint, ALTER v TYPE text;
	INSERT INTO t VALUES (9999999999, repeat('x', 50), 1, 2); ALTER TABLE t DROP a; INSERT INTO t VALUES (3, 'c', 3);
	UPDATE t SET b = 5 WHERE id = 1});
$m->wait;
$m->compare('ADD, TYPE and DROP of columns', \%first);
$m->line('changed there first', 'exact');

# Source first: an error until the destination has it, then it goes on
$m->refused('column added', ddl => 'CREATE TABLE t (id int PRIMARY KEY, v text)',
	change => q{INSERT INTO t VALUES (1, 'a'); ALTER TABLE t ADD b int DEFAULT 5; INSERT INTO t VALUES (2, 'b');
	UPDATE t SET b = 6},
	error => qr/column "b" of table "column added\.t" does not exist at the destination/,
	fix => 'ALTER TABLE t ADD b int DEFAULT 5');
$m->refused('column renamed', ddl => 'CREATE TABLE t (id int PRIMARY KEY, v text)',
	change => q{INSERT INTO t VALUES (1, 'a'); ALTER TABLE t RENAME v TO w; INSERT INTO t VALUES (2, 'b');
	UPDATE t SET w = 'c' WHERE id = 1},
	error => qr/column "w" of table "column renamed\.t" does not exist at the destination/,
	fix => 'ALTER TABLE t RENAME v TO w');
$m->refused('type rewritten', ddl => 'CREATE TABLE t (id int PRIMARY KEY, v int, w text)',
	change => q{INSERT INTO t VALUES (1, 5, '7'); ALTER TABLE t ALTER v TYPE bigint, ALTER w TYPE int USING w::int;
	INSERT INTO t VALUES (2, 5000000000, 8); UPDATE t SET v = v + 1},
	error => qr/out of range for type integer.*column "v"/,
	fix => 'ALTER TABLE t ALTER v TYPE bigint, ALTER w TYPE int USING w::int');
$m->refused('table renamed', ddl => 'CREATE TABLE t (id int PRIMARY KEY)',
	change => q{INSERT INTO t VALUES (1); ALTER TABLE t RENAME TO u; INSERT INTO u VALUES (2)},
	error => qr/table "table renamed\.u" does not exist at the destination/, fix => 'ALTER TABLE t RENAME TO u',
	tables => ['u']);
$m->refused('key column renamed', ddl => 'CREATE TABLE t (id int PRIMARY KEY, v text)',
	change => q{INSERT INTO t VALUES (1, 'a'); ALTER TABLE t RENAME id TO key; UPDATE t SET v = 'b';
	UPDATE t SET key = 2},
	error => qr/column "key" of table "key column renamed\.t" does not exist at the destination/,
	fix => 'ALTER TABLE t RENAME id TO key');
$m->refused('column dropped, NOT NULL there', ddl => 'CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL)',
	change => q{INSERT INTO t VALUES (1, 'a'); ALTER TABLE t DROP v; INSERT INTO t VALUES (2)},
	error => qr/null value in column "v".*violates not-null constraint/, fix => 'ALTER TABLE t DROP v');
$m->refused('destination renamed first', ddl => 'CREATE TABLE t (id int PRIMARY KEY, v text)',
	dest => 'ALTER TABLE t RENAME v TO w', change => q{INSERT INTO t VALUES (1, 'a'); ALTER TABLE t RENAME v TO w;
	INSERT INTO t VALUES (2, 'b')},
	error => qr/column "v" of table "destination renamed first\.t" does not exist at the destination/, fix_code => sub {
		# both names for the time of the change
		$dest->safe_psql('postgres', q{SET search_path = "destination renamed first"; ALTER TABLE t ADD v text});
		$m->wait;
		$dest->safe_psql('postgres', q{SET search_path = "destination renamed first"; UPDATE t SET w = coalesce(w, v);
			ALTER TABLE t DROP v});
	});
# within one transaction: each row as the table was then
$m->refused('changed within a transaction', ddl => 'CREATE TABLE t (id int PRIMARY KEY, a int)',
	dest => 'ALTER TABLE t ADD b text',
	change => q{BEGIN; INSERT INTO t VALUES (1, 1); ALTER TABLE t ADD b text; INSERT INTO t VALUES (2, 2, 'x');
		ALTER TABLE t ADD c numeric; UPDATE t SET c = 1.5; COMMIT},
	error => qr/column "c" of table "changed within a transaction\.t" does not exist at the destination/,
	fix => 'ALTER TABLE t ADD c numeric');
# dropped and made anew under the same name
my %anew = (name => 'made anew', exists => 1, ddl => 'CREATE TABLE t (id int PRIMARY KEY, v text)');
$m->create(\%anew);
$source->safe_psql('postgres', q{SET search_path = "made anew"; INSERT INTO t VALUES (1, 'a'); DELETE FROM t;
	DROP TABLE t; CREATE TABLE t (v text, id int PRIMARY KEY); INSERT INTO t VALUES ('b', 1); UPDATE t SET id = 2});
$m->wait;
$anew{columns} = 'id, v';
$m->compare('DROP and CREATE', \%anew);
$dest->safe_psql('postgres', q{SET search_path = "made anew"; CREATE TABLE u AS TABLE t; DROP TABLE t;
	ALTER TABLE u RENAME TO t; ALTER TABLE t ADD PRIMARY KEY (id)});
$source->safe_psql('postgres', q{SET search_path = "made anew"; UPDATE t SET v = 'c'; INSERT INTO t VALUES ('d', 3)});
$m->wait;
$m->compare('DROP and CREATE at the destination', \%anew);
$m->line('made anew', 'exact');

$m->finish;
$_->stop('fast') for $source, $dest;
done_testing();
