
# What is gained by order: rows of a table come in the order in which they lie, so that
# its indexes stay dense; indexes that come along are built while other tables are
# loaded, the largest table first, and several of one table at once.  A builder that
# fails, or is killed, loses nothing.

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

sub drop_groups
{
	my ($group, @tables) = @_;
	$dest->append_conf('postgresql.conf', "pg_flo.stop_at = ''\n");
	$dest->reload;
	$dest->safe_psql('postgres', "SELECT flo.drop_group('$group')");
	$source->safe_psql('postgres', "SELECT flo.drop_group('$group', purge_stream => true)");
	$dest->safe_psql('postgres', 'DROP TABLE ' . join ', ', @tables);
}

# --- dense ------------------------------------------------------------------------------------

# more than one range of 64 MB, with little in a row but its key; one loader, as it depends
# on the machine how well several keep their order
$_->safe_psql('postgres', 'CREATE TABLE ordered (id int PRIMARY KEY, filler char(800)) WITH (fillfactor = 50);
	CREATE TABLE built (id int)') for $source, $dest;
$source->safe_psql('postgres', q{INSERT INTO ordered SELECT i, '' FROM generate_series(1, 60000) i});
$dest->safe_psql('postgres', 'INSERT INTO built SELECT generate_series(1, 60000); CREATE UNIQUE INDEX ON built (id)');
cmp_ok($source->safe_psql('postgres', q{SELECT pg_relation_size('ordered')}), '>', 64 * 1024 * 1024,
	'the table has more than one range');
create_copy_group($source, $dest, 'o', tables => q{'{ordered}'}, copy_workers => 4,
	worker_options => q{'{"loaders": 1}'});
is_same_table($source, $dest, 'ordered');
my ($copied, $dense) = split /\|/,
  $dest->safe_psql('postgres', q{SELECT pg_relation_size('ordered_pkey'), pg_relation_size('built_id_idx')});
cmp_ok($copied, '<', 1.3 * $dense, "an index that is there before the rows is dense ($copied, $dense)");
drop_groups('o', 'ordered', 'built');

# --- beside each other ------------------------------------------------------------------------

$source->safe_psql('postgres', qq{CREATE TABLE b$_ (id int PRIMARY KEY, v int, w text);
	CREATE INDEX b${_}_v ON b$_ (v); CREATE INDEX b${_}_w ON b$_ (w);
	INSERT INTO b$_ SELECT i, i, repeat('x', 100) FROM generate_series(1, 1000 * $_) i}) for 1 .. 3;
my $built = q{SELECT string_agg(tablename, ',' ORDER BY tablename) FROM
	(SELECT DISTINCT tablename::text FROM pg_indexes WHERE tablename ~ '^b[123]$') t};

# a loader stands still with a chunk of one of the tables, mostly the smallest, which comes last
halt_at($dest, 'load.before:3');
my $log_before = -s $dest->logfile;
create_copy_group($source, $dest, 'b', tables => q{'{b1, b2, b3}'}, sync_schema => 1, wait => 0, copy_workers => 1,
	worker_options => q{'{"loaders": 2}'});
await_halt($dest, 'a chunk') or die;
my $halted = halted_pid($dest, 'load.before:3', $log_before);
ok(wait_until($dest, 'postgres', "SELECT ($built) ~ '^b.,b.\$'", 'indexes of two tables'),
	'indexes of tables that are in are built while another is loaded');
is($dest->safe_psql('postgres', q{SELECT detail ~ 'tables complete' FROM flo.status}), 't',
	'the copy is still loading');
$dest->safe_psql('postgres', "SELECT pg_terminate_backend($halted)");
wait_state($dest, 'b', 'postgres', 'streaming');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM pg_indexes WHERE tablename ~ '^b[123]$'}), '9', 'and then all');
is_same_table($source, $dest, "b$_") for 1 .. 3;
drop_groups('b', 'b1', 'b2', 'b3');

# --- one that is killed, with its server ------------------------------------------------------

$log_before = -s $dest->logfile;
halt_at($dest, 'build.before:2');
create_copy_group($source, $dest, 'k', tables => q{'{b1, b2, b3}'}, sync_schema => 1, wait => 0,
	worker_options => q{'{"loaders": 3}'});
await_halt($dest, 'an index') or die;
$halted = halted_pid($dest, 'build.before:2', $log_before);
$dest->append_conf('postgresql.conf', "pg_flo.stop_at = ''\n");
kill 'KILL', $halted;
$dest->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $halted)") or die;
wait_state($dest, 'k', 'postgres', 'streaming');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM pg_indexes WHERE tablename ~ '^b[123]$'}), '9',
	'a builder that is killed with its server leaves nothing undone');
is_same_table($source, $dest, "b$_") for 1 .. 3;
drop_groups('k', 'b1', 'b2', 'b3');

# --- one that cannot be built -----------------------------------------------------------------

# its name is taken here
$dest->safe_psql('postgres', 'CREATE VIEW b3_pkey AS SELECT 1');
create_copy_group($source, $dest, 'f', tables => q{'{b1, b2, b3}'}, sync_schema => 1, wait => 0,
	worker_options => q{'{"loaders": 3}'});
ok(wait_until($dest, 'postgres', q{SELECT count(*) = 8 FROM pg_indexes WHERE tablename ~ '^b[123]$'}, 'the others'),
	'all others are built');
ok(wait_until($dest, 'postgres', q{SELECT last_error ~ 'b3_pkey' FROM flo.status}, 'the error'), 'the error names it');
$dest->safe_psql('postgres', 'DROP VIEW b3_pkey');
wait_state($dest, 'f', 'postgres', 'streaming');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM pg_indexes WHERE tablename ~ '^b[123]$'}), '9',
	'and once the name is free, so is that one');
is_same_table($source, $dest, "b$_") for 1 .. 3;
drop_groups('f', 'b1', 'b2', 'b3');

$_->stop('fast') for $source, $dest;
done_testing();
