
# Memory that belongs to tables is given back: the plugin's, the publisher's, the
# parser's, rules', sinks'; and nothing stays behind of a transaction or a second.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.table_memory = '3MB'\nmax_locks_per_transaction = 256\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);
my $directory = PostgreSQL::Test::Utils::tempdir();
my @members = ([ $source, 'replicator' ], [ $dest, 'postgres' ], [ $dest, 'file' ]);
# a process is promised to take 10 MB at most (doc/operations.md); since 18 it knows a table by more bytes
my $most = 9500000;

# Bytes in all memory contexts of a member, and those used of the topmost one
sub memory
{
	my ($node, $member) = @_;
	my $pid = pid_of($node, 'g', $member);
	my $at = -s $node->logfile;

	$node->safe_psql('postgres', "SELECT pg_log_backend_memory_contexts($pid)");
	$node->wait_for_log(qr/\[$pid\].*Grand total: \d+ bytes/, $at);
	my $log = substr(slurp_file($node->logfile), $at);
	my ($total) = $log =~ /\[$pid\].*Grand total: (\d+) bytes/;
	# which releases before the autumn of 2024 take at once, whatever they decode
	my ($tuples) = $log =~ /\[$pid\].*Tuples: (\d+) total in 1 blocks/;
	my ($used) = $log =~ /\[$pid\].*TopMemoryContext: .*; (\d+) used/;
	$total -= $tuples if ($tuples || 0) == 8 * 1024 * 1024;
	return ($total, $used);
}

$_->safe_psql('postgres', q{CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('a', 'b');
	CREATE TABLE s.steady (id int PRIMARY KEY, v text, m s.mood);
	CREATE TABLE s.masked (id int PRIMARY KEY, v text)}) for $source, $dest;
for my $i (1 .. 60)
{
	$_->safe_psql('postgres', "CREATE TABLE s.live$i (id int PRIMARY KEY, v text, m s.mood)") for $source, $dest;
}
$source->safe_psql('postgres', q{SELECT flo.create_replicator('g', schemas => '{s}', track_ddl => true)});
$source->safe_psql('postgres', q{INSERT INTO flo.rules (group_name, stage, schema_name, table_name, column_name, action)
	VALUES ('g', 'replicator', 's', 'masked', 'v', 'mask')});
start_member($source, 'g', 'replicator');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g')});
$dest->safe_psql('postgres',
	qq{SELECT flo.create_worker('g', sink => 'file', options => '{"directory": "$directory"}')});
$dest->safe_psql('postgres', q{INSERT INTO flo.rules (group_name, schema_name, table_name, column_name, action)
	VALUES ('g', 's', 'steady', 'v', 'mask')});
start_member($dest, 'g', $_) for qw(postgres file);
my @pids = map { pid_of($_->[0], 'g', $_->[1]) } @members;

# --- of transactions and of time ----------------------------------------------------------

sub transactions
{
	my ($from) = @_;
	$source->safe_psql('postgres',
		join('', map { "INSERT INTO s.steady VALUES ($_, 'secret', 'a');\n" } $from .. $from + 199));
	wait_caught_up($source, $dest, 'g');
	return;
}

transactions(1);
my @before = map { [ memory(@$_) ] } @members;
transactions(1001);
transactions(2001);
# heartbeats are an exchange of words with the broker each
for (1 .. 5)
{
	$source->safe_psql('postgres', q{SELECT pg_logical_emit_message(true, 'other', 'x')});
	wait_caught_up($source, $dest, 'g');
}
for my $i (0 .. 2)
{
	my ($total, $used) = memory(@{ $members[$i] });
	cmp_ok($used - $before[$i][1], '<', 2000, "400 transactions leave nothing behind in the $members[$i][1]");
}

# --- of tables that come and go --------------------------------------------------------------

$source->safe_psql('postgres', <<'SQL');
CREATE PROCEDURE come_and_go(a int, b int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN a .. b LOOP
		EXECUTE format('CREATE TABLE s.t%s (id int PRIMARY KEY, a text, b numeric, m s.mood)', i);
		EXECUTE format('INSERT INTO s.t%s SELECT g, g, g, ''a'' FROM generate_series(1, 3) g', i);
		COMMIT;
		EXECUTE format('DROP TABLE s.t%s', i);
		INSERT INTO s.masked VALUES (i, 'secret');
		COMMIT;
	END LOOP;
END $$;
SQL

sub rounds
{
	my ($from, $to) = @_;
	$source->safe_psql('postgres', "CALL come_and_go($from, $to)");
	wait_caught_up($source, $dest, 'g');
	return map { [ memory(@$_) ] } @members;
}

my $log = -s $source->logfile;
my @half = rounds(1, 200);
# a large transaction is on its way meanwhile, which holds descriptions of its own
my $session = FloTest::Session->new($source);
$session->query(q{BEGIN; INSERT INTO s.masked SELECT i, 'secret' FROM generate_series(10001, 30000) i});
rounds(201, 300);
$session->query('ALTER TABLE s.masked ADD w int DEFAULT 7; INSERT INTO s.masked VALUES (30001, \'secret\', 8); COMMIT');
my @whole = rounds(301, 400);
for my $i (0 .. 2)
{
	cmp_ok($whole[$i][0] - $half[$i][0], '<', 3000000, "400 tables take no more than 200 do: $members[$i][1]");
	cmp_ok($whole[$i][0], '<', $most, 'and little');
}
like(substr(slurp_file($source->logfile), $log), qr/starting logical decoding for slot/,
	'the plugin was given another life');
is($dest->safe_psql('postgres', 'SELECT count(*), count(DISTINCT id), sum(w) FROM s.masked'),
	$source->safe_psql('postgres', 'SELECT count(*), count(DISTINCT id), sum(w) FROM s.masked'),
	'nothing is lost or doubled by it');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM s.masked WHERE v <> 's****t'})
	  . $dest->safe_psql('postgres', q{SELECT count(*) FROM s.steady WHERE v <> 's****t'}), '00',
	'and rules hold, of the replicator and of the worker');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM pg_class WHERE relname ~ '^t\d+$'}), '0',
	'tables went there, too');

# --- of tables that stay -------------------------------------------------------------------------

# More than can be remembered, in turn; and a type gets another name in between
for my $round (1 .. 4)
{
	$source->safe_psql('postgres',
		join('',
		map { "INSERT INTO s.live$_ VALUES ($round, 'x', 'b'); UPDATE s.live$_ SET v = v || 'y';\n" } 1 .. 60));
	$source->safe_psql('postgres', 'ALTER TYPE s.mood RENAME TO temper') if $round == 2;
	$source->safe_psql('postgres', "INSERT INTO s.steady VALUES ($round + 10000, 'secret', 'b')");
	wait_caught_up($source, $dest, 'g');
}
my $all = join(' UNION ALL ', map { "SELECT $_ AS n, * FROM s.live$_" } 1 .. 60);
is($dest->safe_psql('postgres', "SELECT md5(string_agg(t::text, ',' ORDER BY n, id)), count(*) FROM ($all) t"),
	$source->safe_psql('postgres', "SELECT md5(string_agg(t::text, ',' ORDER BY n, id)), count(*) FROM ($all) t"),
	'many tables that live are followed all the same');
for my $i (0 .. 2)
{
	my ($total) = memory(@{ $members[$i] });
	cmp_ok($total, '<', $most, "within the memory for it: $members[$i][1]");
}
is(scalar(grep { $_->{Type} eq 'INSERT' && $_->{Table} =~ /^live/ } file_events($directory)), 240,
	'each of their rows was one event');

# Forgotten again and again they would be learned again and again; in the end they are kept
$source->safe_psql('postgres',
	join('', map { "CREATE TABLE s.used$_ (id int PRIMARY KEY, v text, m s.temper);\n" } 1 .. 150));
for my $round (1 .. 8)
{
	$source->safe_psql('postgres', join('', map { "INSERT INTO s.used$_ VALUES ($round, 'x', 'b');\n" } 1 .. 150));
	wait_caught_up($source, $dest, 'g');
	$log = -s $source->logfile if $round == 4;
}
my $lives = () = substr(slurp_file($source->logfile), $log) =~ /starting logical decoding for slot/g;
cmp_ok($lives, '<=', 1, 'the plugin keeps its life with tables that are all in use');
cmp_ok((memory(@{ $members[0] }))[0], '>', 4000000, 'although they take more than there is for them');
# until others come
$source->safe_psql("postgres", "ALTER TYPE s.temper RENAME TO mood");
for my $more (1 .. 4)
{
	last if !grep { $_->[0] >= $most } rounds($more * 200 + 201, $more * 200 + 400);
}
cmp_ok((memory(@{ $members[$_] }))[0], '<', $most,
	"when tables come and go again, memory is given back: $members[$_][1]") for 0 .. 2;
is_deeply([ map { pid_of($_->[0], 'g', $_->[1]) } @members ], \@pids, 'all of it in one life of each process');
$session->close;

done_testing();
