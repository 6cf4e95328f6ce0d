
# The initial copy: exact while the source is written to, for tables of every
# shape, and in the ways the options say.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
# so that no table is ever analysed
my $source = flo_node('source', $nats, conf => "autovacuum = off\n");
my $dest = flo_node('dest', $nats, conf => "autovacuum = off\n");

# --- tables of every shape ------------------------------------------------------------

my $shapes = q{
	CREATE TYPE mood AS ENUM ('sad', 'happy');
	CREATE TABLE empty (id int PRIMARY KEY);
	CREATE TABLE no_key (a int, b text);
	ALTER TABLE no_key REPLICA IDENTITY FULL;
	CREATE TABLE dropped (gone1 int, id int PRIMARY KEY, gone2 text, v text, d int GENERATED ALWAYS AS (id * 2) STORED);
	ALTER TABLE dropped DROP gone1, DROP gone2;
	CREATE TABLE typed (id int PRIMARY KEY, m mood, ms mood[], n numeric, j jsonb, b bytea, big text);
	CREATE TABLE parted (id int, k int, v text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
	CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
	CREATE TABLE parted_2 (v text, gone int, k int NOT NULL, id int NOT NULL);
	ALTER TABLE parted_2 DROP gone;
	ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN (2);
	CREATE TABLE base (id int PRIMARY KEY, v text);
	CREATE TABLE kid (extra int, PRIMARY KEY (id)) INHERITS (base);
	CREATE TABLE listed (id int PRIMARY KEY, seen text, hidden text);
	CREATE DOMAIN computed_text AS text;
	CREATE TABLE computed (id int PRIMARY KEY, v text, g computed_text);
	CREATE TABLE filtered (id int PRIMARY KEY, v text);
	CREATE TABLE large (id int PRIMARY KEY, v text);
	ALTER TABLE large ALTER v SET STORAGE EXTERNAL;
};
my @same = qw(empty no_key dropped typed parted_1 parted_2 base kid large);

$_->safe_psql('postgres', $shapes) for $source, $dest;
pgbench_tables($source, $dest);
$source->safe_psql('postgres', q{
	INSERT INTO no_key SELECT i / 2, 'row ' || i / 2 FROM generate_series(1, 2000) i;
	INSERT INTO dropped (id, v) SELECT i, repeat('d', i % 100) FROM generate_series(1, 5000) i;
	INSERT INTO typed SELECT i, 'happy', '{sad,happy}', i / 7.0, '{"a": [1, null]}', '\x00ff', repeat(md5(i::text), 200)
		FROM generate_series(1, 2000) i;
	INSERT INTO typed (id) VALUES (-1);
	INSERT INTO parted SELECT i, 1 + i % 2, 'p' || i FROM generate_series(1, 5000) i;
	INSERT INTO base SELECT i, 'base' FROM generate_series(1, 10) i;
	INSERT INTO kid SELECT i, 'kid', i FROM generate_series(101, 110) i;
	INSERT INTO listed SELECT i, 's' || i, 'secret' FROM generate_series(1, 100) i;
	INSERT INTO filtered SELECT i, 'f' FROM generate_series(1, 1000) i;
	INSERT INTO large SELECT i, repeat(md5(i::text), 1638400) FROM generate_series(1, 2) i;
	DELETE FROM dropped WHERE id % 3 = 0;
});
$source->command_ok([ 'pgbench', '-i', '-I', 'g', '-s', 5, '-q', '-p', $source->port, '-h', $source->host, 'postgres' ],
	"pgbench's rows");

# since 18 a list may have generated columns
my $computed = $source->pg_version >= 18 ? 'g' : 'v';
$source->safe_psql('postgres', q{ALTER TABLE computed DROP g;
	INSERT INTO computed SELECT i, i FROM generate_series(1, 9) i;
	ALTER TABLE computed ADD g computed_text GENERATED ALWAYS AS (v) STORED});

my $load = start_load($source, clients => 4, rate => 300);
create_copy_group($source, $dest, 'g', copy_workers => 3, wait => 0,
	before_start => 'BEGIN; ALTER PUBLICATION pgflo_g DROP TABLE listed, filtered, computed; '
	  . 'ALTER PUBLICATION pgflo_g ADD TABLE listed (id, seen), filtered WHERE (id % 2 = 0), '
	  . "computed (id, $computed); COMMIT");

my $peak = peak_memory(sub { status_of($dest, 'g', 'postgres', 'state') eq 'streaming' }, $source, $dest);
wait_state($source, 'g', 'replicator', 'streaming');
stop_load($load);
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, $_, "copied under load: $_")
  for qw(pgbench_accounts pgbench_branches pgbench_tellers pgbench_history);
is_same_table($source, $dest, $_, "copied: $_") for @same;
is($dest->safe_psql('postgres', q{SELECT count(*), count(seen), count(hidden) FROM listed}), '100|100|0',
	'a column list holds for the copy');
is($dest->safe_psql('postgres', q{SELECT count(*), sum(coalesce(v, g)::int), count(v) * count(g) FROM computed}),
	'9|45|0', 'and one with a generated column, where it may have one');
is($dest->safe_psql('postgres', q{SELECT count(*), count(*) FILTER (WHERE id % 2 = 1) FROM filtered}), '500|0',
	'and a row filter');
# 64 MB and a small multiple of a row of 50 MB
cmp_ok($peak, '<', (64 + 5 * 50) * 1024, "memory of a process stays bounded with rows of 50 MB ($peak kB)");
is($dest->safe_psql('postgres', q{SELECT count(*) FROM flo.copied_chunks}), '0', 'nothing is left of the bookkeeping');
is($dest->safe_psql('postgres', q{SELECT bool_and(finished_at IS NOT NULL AND attempt = 1) FROM flo.copied_tables}),
	't', 'every table is noted as finished, at the first attempt');
is_deeply([ $nats->streams ], [ 'KV_pg_flo_state_g', 'pgflo_g_stream' ], 'the copy stream is gone');
$dest->safe_psql('postgres', q{SELECT flo.drop_group('g')});
is($dest->safe_psql('postgres', q{SELECT count(*) FROM flo.copied_tables}), '0', 'drop_group forgets the copy');
$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});

# --- what is in the destination already ----------------------------------------------------

$_->safe_psql('postgres', 'CREATE TABLE into_it (id int PRIMARY KEY, v text)') for $source, $dest;
$source->safe_psql('postgres', q{INSERT INTO into_it SELECT i, 'source' FROM generate_series(1, 100) i});
$dest->safe_psql('postgres', q{INSERT INTO into_it SELECT i, 'dest' FROM generate_series(51, 150) i});

create_copy_group($source, $dest, 'e', tables => q{'{into_it}'}, wait => 0);
ok(wait_until($dest, 'postgres', q{SELECT last_error LIKE '%table "public.into_it" is not empty%' FROM flo.status},
	'an error'),
	'a table that is not empty is an error');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM into_it WHERE v = 'dest'}), '100', 'and is left alone');
$dest->safe_psql('postgres', q{SELECT flo.alter_worker('e', 'postgres', '{"copy_into": "merge"}')});
wait_state($dest, 'e', 'postgres', 'streaming');
wait_caught_up($source, $dest, 'e');
is($dest->safe_psql('postgres', q{SELECT count(*), count(*) FILTER (WHERE v = 'source') FROM into_it}), '150|100',
	'copy_into merge');
$dest->safe_psql('postgres', q{SELECT flo.drop_group('e')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('e', purge_stream => true)});

create_copy_group($source, $dest, 't', tables => q{'{into_it, empty}'},
	worker_options => q{'{"copy_into": "truncate"}'});
wait_caught_up($source, $dest, 't');
is_same_table($source, $dest, 'into_it', 'copy_into truncate');
$dest->safe_psql('postgres', q{SELECT flo.drop_group('t')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('t', purge_stream => true)});

# An empty source table empties its destination, too
$dest->safe_psql('postgres', 'INSERT INTO empty VALUES (1)');
create_copy_group($source, $dest, 't2', tables => q{'{empty}'}, worker_options => q{'{"copy_into": "truncate"}'});
is($dest->safe_psql('postgres', 'SELECT count(*) FROM empty'), '0', 'copy_into truncate with an empty source');
$dest->safe_psql('postgres', q{SELECT flo.drop_group('t2')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('t2', purge_stream => true)});

# --- mode copy, through a small stream --------------------------------------------------------

$dest->safe_psql('postgres', 'TRUNCATE pgbench_accounts, typed');
create_copy_group($source, undef, 'c', tables => q{'{pgbench_accounts, typed}'}, mode => 'copy',
	options => q{'{"copy_stream_max_bytes": "64MB"}'});
# the copiers wait for the loaders, and go on when there are some
my $bytes = 0;
await(sub {
		my $info = $nats->api('STREAM.INFO.pgflo_c_copy');
		$bytes = $info->{state} ? $info->{state}{bytes} : 0;
		$bytes > 60 * 1024 * 1024;
	}, 'a full copy stream');
cmp_ok($bytes, '>', 60 * 1024 * 1024, 'the copy stream fills up');
cmp_ok($bytes, '<=', 64 * 1024 * 1024, 'to its limit');
ok(wait_until($source, 'postgres', q{SELECT phase = 'reading' AND percent > 0 AND percent < 100 AND eta IS NOT NULL
	AND bytes_total > bytes_processed
	AND tuples_processed > 0 AND tuples_total >= tuples_processed FROM flo.copy_progress
		WHERE group_name = 'c' AND table_name = 'public.pgbench_accounts'}, 'the progress'),
	'flo.copy_progress shows how far the source is');
ok(wait_until($source, 'postgres', q{SELECT state = 'copying'
	AND detail ~ '^\d of 2 tables published; the copy stream is full, it waits for the workers to load' }
	  . q{FROM flo.status}, 'the detail'),
	'flo.status says what the copy waits for');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('c'); SELECT flo.start_group('c')});
wait_state($dest, 'c', 'postgres', 'stopped');
wait_state($source, 'c', 'replicator', 'stopped');
is($source->safe_psql('postgres',
	q{SELECT string_agg(concat_ws(' ', table_name, phase, percent, tuples_processed = tuples_total, tuples_total, eta),
	', ' ORDER BY table_name) FROM flo.copy_progress}),
	'public.pgbench_accounts published 100.0 t 500000, public.typed published 100.0 t 2001',
	'flo.copy_progress at the source afterwards');
is($dest->safe_psql('postgres',
	q{SELECT string_agg(concat_ws(' ', table_name, phase, percent, tuples_processed = tuples_total,
	bytes_processed = bytes_total, tuples_total, eta), ', ' ORDER BY table_name) FROM flo.copy_progress}),
	'public.pgbench_accounts complete 100.0 t t 500000, public.typed complete 100.0 t t 2001',
	'and at the destination');
is(status_of($dest, 'c', 'postgres', 'inserts'), '502001', 'flo.status counts the rows');
is_same_table($source, $dest, $_, "mode copy: $_") for qw(pgbench_accounts typed);
ok(wait_until($source, 'postgres', q{SELECT count(*) = 0 FROM pg_replication_slots}, 'the slot to go'),
	'the slot is gone');
is_deeply([ grep { /copy/ } $nats->streams ], [], 'and the copy stream');
is($source->safe_psql('postgres', q{SELECT flo.wait_for('c', '0/1')}), 't', 'wait_for answers at the source');
is($dest->safe_psql('postgres', q{SELECT flo.wait_for('c', '0/1')}), 't', 'wait_for answers at the destination');
$source->safe_psql('postgres', q{INSERT INTO typed (id) VALUES (-2)});
$_->restart for $source, $dest;
is($source->safe_psql('postgres', q{SELECT state FROM flo.status}), 'stopped', 'it does not start again by itself');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM typed'), '2001', 'and nothing follows');
$dest->safe_psql('postgres', q{SELECT flo.drop_group('c')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('c', purge_stream => true)});
is_deeply([ $nats->streams ], [], 'nothing is left at the broker');

$_->stop('fast') for $source, $dest;
done_testing();
