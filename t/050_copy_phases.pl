
# What flo.copy_summary() and flo.copy_progress say in each phase of a copy, held
# there, on both sides; and of copies that are small, later, or not at all.

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

my %seen;

# What copy_summary() says of a member, and that its percent only rises, and is 100 only at the end
sub summary
{
	my ($node, $member, $columns) = @_;
	my ($percent, $phase, $out) = split /\|/, $node->safe_psql('postgres',
		"SELECT percent, phase, concat_ws(' ', $columns) FROM flo.copy_summary('g') WHERE member = '$member'"), 3;

	cmp_ok($percent, '>=', $seen{$member} || 0, "$member: percent does not go back ($percent)");
	cmp_ok($percent, '<', 100, "$member: it is not done") if $phase ne 'complete';
	$seen{$member} = $percent;
	return $out;
}

sub await_phase
{
	my ($node, $member, $phase) = @_;
	return ok(wait_until($node, 'postgres',
		"SELECT count(*) = 1 FROM flo.copy_summary('g') WHERE member = '$member' AND phase = '$phase'", "phase $phase"),
		"$member: $phase");
}

sub newest_halted_pid
{
	my ($node, $point) = @_;
	return await(sub { slurp_file($node->logfile) =~ /.*\[(\d+)\] LOG:  halted at "\Q$point\E"/s && $1 },
		"the log of $point");
}

sub progress
{
	my ($node, $columns) = @_;
	return $node->safe_psql('postgres',
		"SELECT string_agg(concat_ws(' ', split_part(table_name, '.', 2), $columns), ', ' ORDER BY table_name)
			FROM flo.copy_progress");
}

# --- one copy, phase after phase ------------------------------------------------------

# pg_dump takes as long as this file is there
my $wait = $source->data_dir . '/dump_waits';
my $dump = $source->data_dir . '/slow_pg_dump';
my $real = $source->config_data('--bindir') . '/pg_dump';
append_to_file($wait, "wait\n");
# sleeps: between two looks
append_to_file($dump, "#!/bin/sh\nwhile [ -e '$wait' ]; do sleep 0.1; done\nexec '$real' \"\$\@\"\n");
chmod 0755, $dump or die;
$source->append_conf('postgresql.conf', "pg_flo.pg_dump_path = '$dump'\n");
$source->reload;

# an index of "big" cannot be built while somebody has lock 42
$source->safe_psql('postgres', q{
	CREATE FUNCTION slowly(int) RETURNS int LANGUAGE plpgsql IMMUTABLE
		AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(42); RETURN $1; END';
	CREATE TABLE big (id int PRIMARY KEY, n int, v text);
	INSERT INTO big SELECT i, i, repeat(md5(i::text), 30) FROM generate_series(1, 3000) i;
	CREATE INDEX big_slowly ON big (slowly(n));
	CREATE TABLE kid (id int PRIMARY KEY, big int REFERENCES big, n int);
	ALTER TABLE kid ADD CHECK (n > 0) NOT VALID;
	INSERT INTO kid SELECT i, i, i FROM generate_series(1, 1000) i;
	CREATE TABLE nothing (id int PRIMARY KEY);
	CREATE TABLE root (id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
	CREATE TABLE root_1 PARTITION OF root FOR VALUES IN (1);
	CREATE TABLE root_2 PARTITION OF root FOR VALUES IN (2);
	INSERT INTO root SELECT i, 1 + i % 2 FROM generate_series(1, 500) i;
	ANALYZE big, kid, root_1, root_2;});

my $writer = FloTest::Session->new($source, 'postgres');
$writer->query('BEGIN; INSERT INTO kid VALUES (0, NULL, 1)');
halt_at($source, 'plan.before');
create_copy_group($source, $dest, 'g', tables => q{'{big, kid, nothing, root}'}, sync_schema => 1, wait => 0,
	worker_options => q{'{"loaders": 3}'});
await_phase($source, 'replicator', 'waiting for snapshot');
is(summary($source, 'replicator', 'tables_done, tables_total, rows_done, bytes_done, percent, eta'), '0 0 0 0 0.0',
	'nothing is known yet');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM flo.copy_summary('g')}), '0', 'nor at the destination');
$writer->query('COMMIT');
$writer->close;

await_halt($source, 'the plan') or die;
await_phase($source, 'replicator', 'planning');
$source->safe_psql('postgres', 'SELECT pg_terminate_backend(' . newest_halted_pid($source, 'plan.before') . ')');

await_phase($source, 'replicator', 'dumping schema');
is(summary($source, 'replicator', "tables_done, tables_total, rows_done, rows_total, bytes_done,
	bytes_total = (SELECT sum(pg_relation_size(r)) FROM unnest('{big, kid, root_1, root_2}'::regclass[]) r), percent"),
	'0 4 0 4500 0 t 0.0', 'planned: how much there is');
is(progress($source, 'phase'), 'big waiting, kid waiting, nothing waiting, root waiting', 'and each table');
await_phase($dest, 'postgres', 'waiting for source');
unlink $wait or die;

# a function brings code: that waits for a person
await_phase($dest, 'postgres', 'creating schema');
is(summary($dest, 'postgres', "tables_done, tables_total, rows_done, rows_total, bytes_done, bytes_total > 3000000"),
	'0 4 0 4500 0 t', 'the destination knows all from the start');
is(progress($dest, 'phase, percent, tuples_total'),
	'big waiting 0.0 3000, kid waiting 0.0 1000, nothing waiting 0.0 0, root waiting 0.0 500',
	'and each table');
ok(wait_until($source, 'postgres', q{SELECT phase = 'published' FROM flo.copy_summary('g')}, 'the source'),
	'replicator: published');
is(summary($source, 'replicator',
	'tables_done, tables_total, rows_done, rows_total, bytes_done = bytes_total, percent'),
	'4 4 4501 4501 t 99.9', 'the source has read all');
is(progress($source, 'phase, percent, eta'),
	'big published 100.0, kid published 100.0, nothing published 100.0, root published 100.0', 'each table');

# the third chunk halts a loader
halt_at($dest, 'load.after:2');
my $lock = FloTest::Session->new($dest, 'postgres');
$lock->query('SELECT pg_advisory_lock(42)');
$dest->safe_psql('postgres', 'SELECT flo.release_ddl(id) FROM flo.pending_ddl');
await_halt($dest, 'a chunk') or die;
await_phase($dest, 'postgres', 'loading');
ok(wait_until($dest, 'postgres',
	q{SELECT rows_done > 0 AND bytes_done > 0 AND rows_done <= rows_total AND bytes_done <= bytes_total
	AND rows_per_second > 0 AND eta IS NOT NULL AND duration > '0' AND finished_at IS NULL FROM flo.copy_summary('g')},
	'numbers'), 'rows, bytes, pace and time left');
like(progress($dest, 'phase'), qr/loading|loaded/, 'tables are loaded');
summary($dest, 'postgres', 'phase');
$dest->append_conf('postgresql.conf', "pg_flo.stop_at = ''\n");
$dest->reload;
$dest->safe_psql('postgres', 'SELECT pg_terminate_backend(' . newest_halted_pid($dest, 'load.after:2') . ')');

await_phase($dest, 'postgres', 'building indexes');
ok(wait_until($dest, 'postgres',
	q{SELECT count(*) = 1 FROM flo.copy_progress WHERE table_name = 'public.big' AND phase = 'building indexes'
	AND index_phase ~ 'building index' AND index_blocks_total > 0 AND indexes_total = 2 AND indexes_done < 2
	AND percent < 100 AND eta <> '0'},
	'the index'), 'an index that is being built: which phase, and blocks');
ok(wait_until($dest, 'postgres',
	q{SELECT sum(indexes_done) = sum(indexes_total) - max(indexes_total - indexes_done) FROM flo.copy_progress},
	'the other indexes'), 'the other tables have theirs');
like(progress($dest, 'phase'), qr/big building indexes, kid loaded, nothing loaded, root loaded/, 'each table says so');
is(summary($dest, 'postgres',
	'phase, tables_done, tables_total, rows_done, bytes_done = bytes_total, constraints_done, constraints_total'),
	'building indexes 4 4 4501 t 0 2', 'all rows are in, and it is not 100 %');
is($dest->safe_psql('postgres', q{CREATE ROLE anybody; SET ROLE anybody;
	SELECT count(index_phase) FROM flo.copy_progress; SELECT count(*) FROM flo.copy_summary('g')}), "1\n1",
		'anybody may see it');

# a foreign key has to wait for whoever writes
my $other = FloTest::Session->new($dest, 'postgres');
$other->query('BEGIN; LOCK TABLE kid IN ROW EXCLUSIVE MODE');
$lock->query('SELECT pg_advisory_unlock(42)');
await_phase($dest, 'postgres', 'building constraints');
like(summary($dest, 'postgres', 'indexes_done = indexes_total, constraints_done, constraints_total'), qr/^t [01] 2$/,
	'indexes are done, constraints are not');
like(progress($dest, 'phase'), qr/big loaded, kid building constraints/, 'the table whose constraints are made');
$other->query('COMMIT');
$_->close for $other, $lock;

wait_state($dest, 'g', 'postgres', 'streaming');
await_phase($dest, 'postgres', 'complete');
await_phase($source, 'replicator', 'complete');
is(summary($dest, 'postgres',
	"phase, tables_done, tables_total, rows_done, rows_total, bytes_done = bytes_total, indexes_done = indexes_total,
	constraints_done, constraints_total, percent, finished_at - started_at = duration,
		eta"), 'complete 4 4 4501 4501 t t 2 2 100.0 t', 'all of it');
is(summary($source, 'replicator',
	'phase, tables_done, tables_total, rows_done, rows_total, bytes_done = bytes_total, percent, eta'),
	'complete 4 4 4501 4501 t 100.0', 'at the source');
like(progress($dest, 'phase, percent, indexes_done, indexes_total'),
	qr/big complete 100.0 2 2, kid complete 100.0 1 1/, 'each table');
ok(await(sub { slurp_file($dest->logfile)
		=~ /LOG:  worker "postgres" of group "g": copy finished: 4 tables, 4501 rows, \d+ kB in \d+(\.\d)? s\n/
	}, 'a line'),
	'a line in the log of the destination');
ok(await(sub { slurp_file($source->logfile)
		=~ /LOG:  replicator of group "g": copy finished: 4 tables, 4501 rows, \d+ kB in \d+(\.\d)? s\n/ }, 'a line'),
	'and of the source');

# --- later ones -----------------------------------------------------------------------

%seen = ();
$source->safe_psql('postgres',
	q{CREATE TABLE late (id int PRIMARY KEY); INSERT INTO late VALUES (1), (2); SELECT flo.add_table('g', 'late')});
for my $side ([ $source, 'replicator' ], [ $dest, 'postgres' ])
{
	my ($node, $member) = @$side;
	ok(wait_until($node, 'postgres', q{SELECT phase = 'complete' AND tables_total = 1 FROM flo.copy_summary('g')},
		'one table'),
		"$member: a table that joins is a copy of its own");
	is(summary($node, $member, 'tables_done, tables_total, rows_done, rows_total, bytes_total'), '1 1 2 2 8192',
		'of two rows');
	like(progress($node, 'phase'), qr/^big (complete|published), .*late \1/,
		'and the tables of the copy before are shown');
}
my $finished = $dest->safe_psql('postgres', q{SELECT finished_at FROM flo.copy_summary('g')});
$source->safe_psql('postgres', q{SELECT flo.resync('g')});
ok(wait_until($dest, 'postgres', qq{SELECT finished_at > '$finished' AND tables_total = 5 FROM flo.copy_summary('g')},
	'all again'),
	'a resync is another copy');
is($dest->safe_psql('postgres', q{SELECT tables_done, rows_done, rows_total, percent FROM flo.copy_summary()}),
	'5|4503|4503|100.0', 'of all tables');

# --- in two attempts -------------------------------------------------------------------

$_->safe_psql('postgres', q{CREATE TABLE first (id int PRIMARY KEY, v text);
	CREATE TABLE second (id int PRIMARY KEY)}) for $source, $dest;
$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true);
	INSERT INTO first SELECT i, repeat('x', 1000) FROM generate_series(1, 100) i;
	INSERT INTO second SELECT generate_series(1, 50)});
$dest->safe_psql('postgres', q{SELECT flo.drop_group('g')});
is($_->safe_psql('postgres', q{SELECT (SELECT count(*) FROM flo.copies) +
	(SELECT count(*) FROM flo.planned_tables)}), '0', 'nothing is left of a group that is dropped') for $source, $dest;
%seen = ();
halt_at($source, 'range.before:2');
create_copy_group($source, $dest, 'g', tables => q{'{first, second}'}, copy_workers => 1, wait => 0);
await_halt($source, 'the second table') or die;
ok(wait_until($source, 'postgres', q{SELECT count(*) = 1 FROM flo.copy_progress
	WHERE table_name = 'public.first' AND phase = 'published'}, 'the first table'), 'one table is published');
ok(wait_until($dest, 'postgres', q{SELECT rows_done = 100 AND tables_done = 1 FROM flo.copy_summary('g')},
	'the first table'), 'and loaded');
summary($source, 'replicator', 'phase');
summary($dest, 'postgres', 'phase');
my @began = map { $_->safe_psql('postgres', q{SELECT started_at FROM flo.copy_summary('g')}) } $source, $dest;
$source->append_conf('postgresql.conf', "pg_flo.stop_at = ''\n");
$source->stop('immediate');
$source->start;
for my $side ([ $source, 'replicator' ], [ $dest, 'postgres' ])
{
	my ($node, $member) = @$side;
	await_phase($node, $member, 'complete');
	my $columns = "tables_done, tables_total, rows_done, rows_total, started_at = '" . shift(@began) . "'";
	is(summary($node, $member, $columns), '2 2 150 150 t',
		"$member: the rest that comes with another attempt is the same copy");
}

$_->stop('fast') for $source, $dest;
like(slurp_file($_->logfile), qr/group "g": copy finished: 2 tables, 150 rows, \d+ kB in/, 'told as one')
  for $source, $dest;
my @finished = slurp_file($dest->logfile) =~ /copy finished: (\d tables?)/g;
is_deeply(\@finished, [ '4 tables', '1 table', '5 tables', '2 tables' ], 'each copy is told of once');

done_testing();
