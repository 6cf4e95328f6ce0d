# Source and destination are compared while writes go on: differences that were put there are found,
# every one, and nothing else is; what is shaped on its way is compared as it should arrive; after a
# repair both sides are the same, and rows went on being written all the time.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = 6;
my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.restart_interval = '300ms'\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);

sub src { return $source->safe_psql('postgres', $_[0]); }
sub dst { return $dest->safe_psql('postgres', $_[0]); }

# What came of a comparison: a line a table, "name state missing extra different"
sub compared
{
	my ($arguments) = @_;
	my $id = src("SELECT flo.compare('g'$arguments)");

	wait_until($source, 'postgres', "SELECT bool_and(finished_at IS NOT NULL) FROM flo.comparisons WHERE id = $id",
		"comparison $id to end")
	  or diag(src("SELECT * FROM flo.comparisons WHERE id = $id"));
	return join("\n", map { src("SELECT format('%s %s %s %s %s', table_name, state, missing, extra, different)"
			. " || CASE WHEN state IN ('failed', 'void') THEN ' ' || detail ELSE '' END FROM flo.comparisons"
			. " WHERE id = $id AND relation = '$_'::regclass") } split /\n/,
		src("SELECT DISTINCT relation::regclass::text FROM flo.comparisons WHERE id = $id ORDER BY 1"));
}

$_->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text, n numeric, at timestamptz);
	CREATE TABLE bag (a int, b text);
	ALTER TABLE bag REPLICA IDENTITY FULL;
}) for $source, $dest;
create_group($source, $dest, 'g');
src(q{INSERT INTO t SELECT i, 'v' || i, i / 3.0, now() FROM generate_series(1, 20000) i});
src(q{INSERT INTO bag SELECT i % 100, 'b' || i % 7 FROM generate_series(1, 2000) i});
wait_caught_up($source, $dest, 'g');
is(compared(''), "public.bag equal 0 0 0\npublic.t equal 0 0 0", 'what is equal is found to be');

# --- under load, many rounds -------------------------------------------------------------------

# 30 accounts that pgbench does not touch, among those that it does
pgbench_tables($source, $dest);
$source->command_ok([ 'pgbench', '-i', '-I', 'g', '-q', '-p', $source->port, '-h',
	$source->host, 'postgres' ], 'rows of pgbench');
src(q{INSERT INTO pgbench_accounts SELECT 200000 + i, 1, i, 'mine' FROM generate_series(1, 30) i});
wait_caught_up($source, $dest, 'g');
my $load = start_load($source, rate => 300);
my $wrong = 0;
for my $round (1 .. $rounds)
{
	my $n = $round % 10 + 1;
	my @kinds = map { 200000 + $_ * 10 } 0 .. 2;

	dst("DELETE FROM pgbench_accounts WHERE aid BETWEEN $kinds[0] + 1 AND $kinds[0] + $n") if $round % 4 != 0;
	dst("UPDATE pgbench_accounts SET filler = 'not mine' WHERE aid BETWEEN $kinds[1] + 1
		AND $kinds[1] + $n") if $round % 3 != 0;
	dst("INSERT INTO pgbench_accounts SELECT 300000 + i, 1, 0, 'extra' FROM generate_series(1, $n) i");
	my ($missing, $different, $extra) = ($round % 4 != 0 ? $n : 0, $round % 3 != 0 ? $n : 0, $n);
	my $expected = "public.pgbench_accounts different $missing $extra $different";
	my $got = compared(", 'pgbench_accounts'");
	$wrong++ if $got ne $expected;
	diag("round $round: $got instead of $expected") if $got ne $expected;
	dst("DELETE FROM pgbench_accounts WHERE aid > 200000");
	dst("INSERT INTO pgbench_accounts SELECT 200000 + i, 1, i, 'mine' FROM generate_series(1, 30) i");
}
is($wrong, 0, "$rounds rounds: what was put there is found, and nothing else");
my $all = compared('');
is($all, join("\n",
	map { "public.$_ equal 0 0 0" } qw(bag pgbench_accounts pgbench_branches pgbench_history pgbench_tellers t)),
	'all of them are equal again, while pgbench goes on');

# --- repair, while pgbench goes on -------------------------------------------------------------

# rows that pgbench changes meanwhile, too
dst("DELETE FROM pgbench_accounts WHERE aid % 7 = 0 AND aid < 20000");
dst("UPDATE pgbench_accounts SET filler = 'not mine', abalance = -1 WHERE aid % 7 = 1 AND aid < 20000");
dst("INSERT INTO pgbench_accounts SELECT 300000 + i, 1, 0, 'extra' FROM generate_series(1, 9) i");
like(compared(", 'pgbench_accounts', repair => true"), qr/^public.pgbench_accounts different 0 9 0$/,
	'a repair writes what is missing or different, and removes nothing');
is(compared(", 'pgbench_accounts', repair => true, repair_extra => true"), "public.pgbench_accounts repaired 0 9 0",
	'it removes what is extra when it is told to');
is(compared(", 'pgbench_accounts'"), "public.pgbench_accounts equal 0 0 0", 'then both sides are the same');
stop_load($load);

done_testing();
