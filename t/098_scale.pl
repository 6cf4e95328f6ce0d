# What a statement, a change or a quiet second costs does not grow with the tables of
# a group, nor with the groups of a cluster more than each of them needs.  Counted
# in rows, scans and requests; bench/scale.pl has times.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my ($groups, $tables) = (16, 1000);
my $nats = FloTest::Nats->new('broker');
my $conf = <<'CONF';
max_worker_processes = 40
max_replication_slots = 24
pg_flo.max_workers = 20
max_locks_per_transaction = 256
CONF
# of a destination this counts its workers, from 18 on
$conf .= "max_active_replication_origins = 24\n" if PostgreSQL::Test::Cluster->new('probe')->pg_version >= 18;
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);
my @names = map { "g$_" } 1 .. $groups;

# The last line of a session of its own
sub figure { my ($db, $sql) = @_; return (split /\n/, $source->safe_psql($db, $sql))[-1]; }

# How often pg_class was read until now, by all sessions that have told it
my $flush = 'SELECT pg_stat_force_next_flush();';
my $scans = q{SELECT sum(coalesce(idx_scan, 0) + seq_scan) FROM pg_stat_all_tables WHERE relname = 'pg_class'};

# --- groups ----------------------------------------------------------------------------

for my $node ($source, $dest)
{
	$node->safe_psql('postgres', join ';', map { "CREATE TABLE t_$_ (id int PRIMARY KEY)" } @names);
}
$source->safe_psql('postgres', join ';',
	map { "SELECT flo.create_replicator('$_', tables => '{t_$_}'); SELECT flo.start_group('$_')" } @names);
$dest->safe_psql('postgres', join ';', map { "SELECT flo.create_worker('$_'); SELECT flo.start_group('$_')" } @names);
my $streaming = "SELECT count(*) = $groups FROM flo.status WHERE state = 'streaming'";
for my $node ($source, $dest)
{
	ok(wait_until($node, 'postgres', $streaming), "$groups groups stream at the " . $node->name);
}
$source->safe_psql('postgres', join ';', map { "INSERT INTO t_$_ VALUES (1)" } @names);
for my $group (@names) { wait_caught_up($source, $dest, $group); }
is($dest->safe_psql('postgres', join ' UNION ALL ', map { "SELECT count(*) FROM t_$_ WHERE id = 1" } @names),
	join("\n", (1) x $groups), 'each brings its rows');

# a source counts what it has published when it reports, which its worker does not wait for
wait_until($source, 'postgres', 'SELECT bool_and(transactions > 0) FROM flo.status', 'all to have counted') or die;
my $before = $source->safe_psql('postgres', q{SELECT sum(transactions) FROM flo.status WHERE group_name <> 'g1'});
$source->safe_psql('postgres', 'INSERT INTO t_g1 SELECT generate_series(2, 100)');
wait_caught_up($source, $dest, 'g1');
is($source->safe_psql('postgres', q{SELECT sum(transactions) FROM flo.status WHERE group_name <> 'g1'}), $before,
	'a transaction of one group is nothing to the others');

for my $view ('flo.status', 'flo.overview')
{
	cmp_ok(
		figure('postgres', "SET track_functions = 'all'; BEGIN; SELECT count(*) FROM $view;
			SELECT sum(calls) FROM pg_stat_xact_user_functions WHERE funcname = 'member_stats'"),
		'<=', 2, "$view asks shared memory once for all groups");
}

# While nothing happens a replicator looks at its stream and its bucket, and a worker at the
# stream, once in five seconds, and a replicator at the account once or twice; this test asks
# itself, too
my $own = 0;
sub asked { $own++; return $nats->api('INFO')->{api}{total}; }
sub told { $own++; return $nats->last_seq('KV_pg_flo_state_g1'); }
my $told = told();
ok(await(sub { told() >= $told + 8 }, 'the state bucket to be written'), 'quiet groups say that they live');
my ($asked, $since) = (asked(), time());
($own, $told) = (0, told());
ok(await(sub { told() >= $told + 12 }, 'the state bucket to be written'), 'and go on to');
my $now = asked() - $own;
my $rounds = (time() - $since) / 5 + 1;
cmp_ok(($now - $asked) / $rounds / $groups, '<', 5.5, 'they ask the broker little');

# --- tables ----------------------------------------------------------------------------

$source->safe_psql('postgres', 'CREATE DATABASE many');
$source->safe_psql('many', 'CREATE EXTENSION pg_flo');
$source->safe_psql('many', "DO \$\$ BEGIN FOR i IN 0 .. $tables LOOP
	EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, v text)', i); END LOOP; END \$\$");
cmp_ok(
	figure('many', "SET track_functions = 'all'; BEGIN;
		SELECT flo.create_replicator('many',
			tables => (SELECT array_agg(oid::regclass) FROM pg_class WHERE relname ~ '^t[1-9][0-9]*\$'));
		SELECT calls FROM pg_stat_xact_user_functions WHERE funcname = 'config_changed'; COMMIT"),
	'<', 20, "create_replicator() writes $tables tables in a few statements");
is($source->safe_psql('many', 'SELECT count(*) FROM flo.tables'), $tables, 'all of them are published');

my $written = q{SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_all_tables
	WHERE relid = 'flo.chosen'::regclass};
is(figure('many', "BEGIN; SELECT flo.add_table('many', 't0', false); $written; COMMIT"),
	1, 'add_table() writes one row');
is(figure('many', "BEGIN; SELECT flo.remove_table('many', 't0'); $written; COMMIT"), 1, 'remove_table() too');

# A session that knows nothing yet: what it reads of pg_class to its end, and other sessions at most
my %statement = (
	'ALTER TABLE of a table of the group' => 'ALTER TABLE t1 ADD w int',
	'RENAME of one' => 'ALTER TABLE t2 RENAME TO t2_renamed',
	'CREATE TABLE of another' => 'CREATE TABLE another (id int PRIMARY KEY)',
	'DROP TABLE of one' => 'DROP TABLE t3');
for my $what (sort keys %statement)
{
	my ($first, $last) = grep { /\d/ } split /\n/,
	  $source->safe_psql('many', "$flush $scans; $statement{$what}; $flush $scans");
	cmp_ok($last - $first, '<', $tables / 2, "$what does not look at all tables");
}
is($source->safe_psql('many', q{SELECT string_agg(c.name, ' ' ORDER BY c.name) FROM flo.chosen c
	WHERE c.name ~ 't2' AND c.name !~ '\d\d'}), 'public.t2_renamed', 'what was renamed is known by its new name');
$source->safe_psql('many', 'CREATE TABLE t3 (id int PRIMARY KEY)');
is($source->safe_psql('many', q{SELECT count(*) FROM flo.tables WHERE table_name = 'public.t3'}), 1,
	'what is made in the place of a dropped table takes it');

$source->safe_psql('many', "DO \$\$ BEGIN FOR i IN 10 .. 209 LOOP
	EXECUTE format('ALTER TABLE t%s ADD s serial', i); END LOOP; END \$\$");
my $looked = q{SELECT coalesce(sum(idx_scan + seq_scan), 0) FROM pg_stat_xact_all_tables WHERE relname = 'pg_attrdef'};
my ($found, $reads) = split /\n/,
  $source->safe_psql('many', "BEGIN; SELECT jsonb_array_length(flo.sequence_values('many')); $looked; COMMIT");
is($found, 200, 'sequences are found');
cmp_ok($reads, '<', $tables / 2, 'from the sequences, not by looking at each table');

done_testing();
