# Random transactions over tables of every kind whose destinations differ in
# order, types, keys and partitions; members are killed now and then.  Set
# FLO_SEED to repeat a run, FLO_ROUNDS for a longer one.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloMatrix;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{FLO_SEED} || int(time()) % 1_000_000;
my $rounds = $ENV{FLO_ROUNDS} || 5;
srand($seed);
note("FLO_SEED=$seed");

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats,
	conf => "pg_flo.restart_interval = '300ms'\nlogical_decoding_work_mem = '64kB'\npg_flo.row_writer = check\n");
my $dest = flo_node('dest', $nats, conf => "pg_flo.restart_interval = '300ms'\n");
my $m = FloMatrix->new($source, $dest, 'g');

my %case = (name => 'r',
	source => q{
		CREATE TABLE t1 (id int PRIMARY KEY, a int, b text, c text);
		ALTER TABLE t1 ALTER b SET STORAGE EXTERNAL, ALTER c SET STORAGE EXTERNAL;
		CREATE TABLE t2 (a int, b text, c numeric(10,2), d float8); ALTER TABLE t2 REPLICA IDENTITY FULL;
		CREATE TABLE t3 (id int UNIQUE, a text, b int); ALTER TABLE t3 REPLICA IDENTITY FULL;
		CREATE TABLE t4 (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, s text, u int);
		ALTER TABLE t4 ALTER s SET STORAGE EXTERNAL;
		CREATE TABLE t5 (k int, l int, v text, PRIMARY KEY (k, l)); ALTER TABLE t5 ALTER v SET STORAGE EXTERNAL;
		CREATE TABLE t6 (id int NOT NULL UNIQUE, a int, b text); ALTER TABLE t6 REPLICA IDENTITY USING INDEX t6_id_key;
		CREATE TABLE t7 (a int, b text, big text); ALTER TABLE t7 REPLICA IDENTITY FULL;
		ALTER TABLE t7 ALTER big SET STORAGE EXTERNAL;
		CREATE TABLE t8 (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
		CREATE TABLE t8a PARTITION OF t8 FOR VALUES IN (0, 1); CREATE TABLE t8b PARTITION OF t8 DEFAULT},
	dest => q{
		CREATE TABLE t1 (b text, x int DEFAULT 9, id bigint PRIMARY KEY, c text, a numeric);
		CREATE TABLE t2 (d float8, a int, b varchar(40), c numeric);
		CREATE TABLE t3 (b int, a text, id int PRIMARY KEY);
		CREATE TABLE t4 (u int, id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
			g int GENERATED ALWAYS AS (u + 1) STORED, s text, ex text DEFAULT 'ex');
		CREATE TABLE t5 (v text, l int, k int, PRIMARY KEY (k, l)) PARTITION BY RANGE (k);
		CREATE TABLE t5a PARTITION OF t5 FOR VALUES FROM (MINVALUE) TO (10);
		CREATE TABLE t5b (l int NOT NULL, k int NOT NULL, v text); ALTER TABLE t5 ATTACH PARTITION t5b DEFAULT;
		CREATE TABLE t6 (a int, id int NOT NULL UNIQUE, b text);
		CREATE TABLE t7 (big text, b text, a int) PARTITION BY LIST (a);
		CREATE TABLE t7a PARTITION OF t7 FOR VALUES IN (1, 2); CREATE TABLE t7b PARTITION OF t7 DEFAULT;
		CREATE TABLE t8 (v text, k int, id int, PRIMARY KEY (id, k)) PARTITION BY HASH (id);
		CREATE TABLE h0 PARTITION OF t8 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
		CREATE TABLE h1 PARTITION OF t8 FOR VALUES WITH (MODULUS 2, REMAINDER 1)},
	tables => [ 'SELECT id, a, b, c FROM r.t1', 'SELECT a, b, c::numeric(10,2), d FROM r.t2',
		'SELECT id, a, b FROM r.t3', 'SELECT id, s, u FROM r.t4',
		'SELECT k, l, v FROM r.t5', 'SELECT id, a, b FROM r.t6', 'SELECT a, b, big FROM r.t7',
		'SELECT id, k, v FROM r.t8' ]);
$m->create(\%case);
$m->start;

sub one { return $_[int(rand(@_))]; }
sub number { my ($n) = @_; return rand() < .15 ? 'NULL' : int(rand(($n || 12) + 1)); }
sub value
{
	my ($big) = @_;
	my $x = rand();
	return 'NULL' if $x < .15;
	return "''" if $x < .25;
	return sprintf("repeat(md5('%f'), %d)", rand(), 100 + int(rand(200))) if $big && $x < .6;
	return q{'} . one(qw(a b c)) . q{'};
}
# one row of a table without a key, as good as at random
sub some_row
{
	my ($table) = @_;
	return "WHERE (ctid, tableoid) IN (SELECT ctid, tableoid FROM $table ORDER BY md5(ctid::text || '" . int(rand(1e9))
	  . "') LIMIT " . (1 + int(rand(2))) . ')';
}

sub statement
{
	my ($t, $o, $k, $far) = (1 + int(rand(8)), rand(), 1 + int(rand(20)), 100 + int(rand(1e8)));
	my $where = 'WHERE id = ' . (1 + int(rand(20)));

	return "TRUNCATE t$t" . ($t != 1 && rand() < .5 ? ', t1' : '') if rand() < .004;
	if ($t == 1)
	{
		return "INSERT INTO t1 VALUES ($k, " . join(', ', number(), value(1), value(1)) . ') ON CONFLICT DO NOTHING'
		  if $o < .35;
		return "DELETE FROM t1 WHERE id = $k" if $o > .8;
		return rand() < .1 ? 'UPDATE t1 SET a = a + 1 WHERE id < 5'
		  : 'UPDATE t1 SET ' . one('a = ' . number(), 'b = ' . value(1), 'c = ' . value(1) . ', a = ' . number(),
			"id = id + $far", "id = $far, b = b || 'x'") . " $where";
	}
	if ($t == 2)
	{
		return 'INSERT INTO t2 VALUES (' . join(', ', number(3), value(), one(qw(1.5 1.50 NULL 0 100)),
			one('0', '-0.0', "'nan'", '1.5', 'NULL')) . ')' if $o < .5;
		return 'DELETE FROM t2 ' . some_row('t2') if $o > .8;
		return 'UPDATE t2 SET ' . one('a = ' . number(3), 'b = ' . value(), 'c = c * 2') . ' ' . some_row('t2');
	}
	if ($t == 3)
	{
		return "INSERT INTO t3 VALUES ($k, " . value(1) . ', ' . number() . ') ON CONFLICT DO NOTHING' if $o < .4;
		return "DELETE FROM t3 WHERE id = $k" if $o > .8;
		return 'UPDATE t3 SET ' . one('a = ' . value(1), 'b = ' . number(), "id = $far") . " $where";
	}
	if ($t == 4)
	{
		my $one = 'WHERE id IN (SELECT id FROM t4 ORDER BY md5(id::text) LIMIT 1)';
		return 'INSERT INTO t4 (s, u) VALUES (' . value(1) . ', ' . number() . ')' if $o < .4;
		return "DELETE FROM t4 $one" if $o > .85;
		return 'UPDATE t4 SET ' . one('s = ' . value(1), 'u = ' . number(), 'id = DEFAULT',
			'id = DEFAULT, u = ' . number()) . " $one";
	}
	if ($t == 5)
	{
		return "INSERT INTO t5 VALUES ($k, " . (1 + int(rand(2))) . ', ' . value(1) . ') ON CONFLICT DO NOTHING'
		  if $o < .4;
		return "DELETE FROM t5 WHERE k = $k" if $o > .8;
		return 'UPDATE t5 SET ' . one('v = ' . value(1), "k = $far", "l = $far") . ' WHERE k = ' . (1 + int(rand(20)))
		  . ' AND l = 1';
	}
	if ($t == 6)
	{
		return "INSERT INTO t6 VALUES ($k, " . number() . ', ' . value() . ') ON CONFLICT DO NOTHING' if $o < .4;
		return "DELETE FROM t6 WHERE id = $k" if $o > .8;
		return 'UPDATE t6 SET ' . one('a = ' . number(), 'b = ' . value(), "id = $far") . " $where";
	}
	if ($t == 7)
	{
		return 'INSERT INTO t7 VALUES (' . join(', ', number(3), value(), value(1)) . ')' if $o < .5;
		return 'DELETE FROM t7 ' . some_row('t7') if $o > .8;
		return 'UPDATE t7 SET ' . one('a = ' . number(3), 'b = ' . value(), 'big = ' . value(1)) . ' ' . some_row('t7');
	}
	return "INSERT INTO t8 VALUES ($k, " . int(rand(4)) . ', ' . value(1) . ') ON CONFLICT DO NOTHING' if $o < .4;
	return "DELETE FROM t8 WHERE id = $k" if $o > .8;
	return 'UPDATE t8 SET ' . one('v = ' . value(1), 'k = ' . (4 + int(rand(1e6))), "id = $far", "id = $far, k = 1")
	  . " $where AND k = " . int(rand(4));
}

for my $round (1 .. $rounds)
{
	my $sql = "SET search_path = r;\n";
	for (1 .. 60)
	{
		my @statements = map { my $s = statement(); rand() < .15
			  ? "SAVEPOINT s; $s; " . one('ROLLBACK TO s', 'RELEASE s') : $s } 1 .. 1 + int(rand(12));
		$sql .= join(";\n", 'BEGIN', @statements, rand() < .1 ? 'ROLLBACK' : 'COMMIT') . ";\n";
	}
	# a statement may fail (two rows come to have one key): its transaction is rolled back
	$source->psql('postgres', $sql, on_error_stop => 0, stderr => \my $errors);
	wait_other_pid($dest, 'g', 'postgres', kill9_member($dest, 'g', 'postgres')) if $round == 2;
	wait_other_pid($source, 'g', 'replicator', kill9_member($source, 'g', 'replicator')) if $round == 3;
	$m->wait;
	$m->compare("round $round of FLO_SEED=$seed", \%case);
	last if $case{wrong};
}
is($dest->safe_psql('postgres', q{SELECT count(*) FROM r.t4 WHERE ex IS DISTINCT FROM 'ex' OR g IS DISTINCT
	FROM u + 1}), '0', 'columns only the destination has');
is(status_of($dest, 'g', 'postgres', 'conflicts'), '0', 'no conflicts');
$_->stop('fast') for $source, $dest;
done_testing();
