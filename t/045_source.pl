
# What a user sees when something is wrong at the source, and how it ends.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats, conf => "wal_keep_size = 0\nmin_wal_size = 32MB\nmax_wal_size = 64MB\n");
my $dest = flo_node('dest', $nats);

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY); CREATE TABLE noise (v text)') for $source, $dest;

# --- long transactions --------------------------------------------------------------------------

# A write transaction that is open when the group starts
my $session = $source->background_psql('postgres');
$session->query_safe('BEGIN; INSERT INTO t VALUES (1)');
$source->safe_psql('postgres', q{SELECT flo.create_replicator('g', tables => '{public.t}');
	SELECT flo.start_group('g')});
ok(wait_until($source, 'postgres',
	q{SELECT EXISTS (SELECT FROM flo.status WHERE state = 'waiting' AND detail ~ 'write transactions')}, 'waiting'),
	'an open write transaction: the start waits, and says for what');
$session->query_safe('COMMIT');
wait_state($source, 'g', 'replicator', 'streaming');
$source->safe_psql('postgres', 'TRUNCATE t');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g')});
start_member($dest, 'g', 'postgres');

# One that stays open does not hold up the others
$session->query_safe('BEGIN; INSERT INTO t VALUES (2)');
$source->safe_psql('postgres', 'INSERT INTO t VALUES (3)');
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', 'SELECT string_agg(id::text, chr(44)) FROM t'), '3',
	'a long transaction does not hold up others');
$session->query_safe('COMMIT');
$session->quit;
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM t'), '2', 'and comes when it is committed');

# --- idle group, busy cluster ---------------------------------------------------------------------

for (1 .. 3)
{
	$source->safe_psql('postgres', q{INSERT INTO noise SELECT repeat(md5(i::text), 30) FROM generate_series(1, 20000) i;
		CHECKPOINT});
}
ok(wait_until($source, 'postgres', q{SELECT retained_wal_bytes < 8 * 1024 * 1024 FROM flo.status},
	'WAL to be released'), 'an idle group on a busy cluster releases WAL');

# --- names used again -----------------------------------------------------------------------------

$dest->safe_psql('postgres', q{SELECT flo.drop_group('g')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});
$_->safe_psql('postgres', 'TRUNCATE t') for $source, $dest;
create_group($source, $dest, 'g', tables => q{'{public.t}'});
$source->safe_psql('postgres', 'INSERT INTO t VALUES (10)');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'a group of the same name, made again');

# A worker that stayed behind while its group was made again
$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});
$source->safe_psql('postgres', q{SELECT flo.create_replicator('g', tables => '{public.t}')});
start_member($source, 'g', 'replicator');
wait_state($dest, 'g', 'postgres', 'failed');
like(status_of($dest, 'g', 'postgres', 'detail'), qr/another generation/,
	'a worker does not follow a new group of the same name');
$dest->safe_psql('postgres', q{SELECT flo.drop_group('g'); SELECT flo.create_worker('g')});
start_member($dest, 'g', 'postgres');
$source->safe_psql('postgres', 'INSERT INTO t VALUES (11)');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'made again as well, it does');

# --- invalidated slot -----------------------------------------------------------------------------

$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
$source->append_conf('postgresql.conf', "max_slot_wal_keep_size = '16MB'\n");
$source->reload;
for (1 .. 8)
{
	$source->safe_psql('postgres', q{INSERT INTO noise SELECT repeat(md5(i::text), 30) FROM generate_series(1, 15000) i;
		SELECT pg_switch_wal(); CHECKPOINT});
}
is($source->safe_psql('postgres', 'SELECT wal_status FROM pg_replication_slots'), 'lost',
	'the server has invalidated the slot');
$source->safe_psql('postgres', q{SELECT flo.start_group('g')});
wait_state($source, 'g', 'replicator', 'failed');
like(status_of($source, 'g', 'replicator', 'detail'), qr/^lost slot: the server has removed WAL/,
	'an invalidated slot: failed, and why');
$source->safe_psql('postgres', q{SELECT flo.resync('g', copy => false)});
wait_state($source, 'g', 'replicator', 'streaming');
$source->safe_psql('postgres', 'INSERT INTO t VALUES (12)');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'resync is the way out');

# --- promotion (F9) -------------------------------------------------------------------------------

$source->append_conf('postgresql.conf', "max_slot_wal_keep_size = -1\n");
$source->reload;
$source->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($source, 'base', has_streaming => 1);
$standby->start;
$source->safe_psql('postgres', 'INSERT INTO t VALUES (13)');
$source->wait_for_catchup($standby);
is($standby->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ 'pg_flo replicator'}),
	'0', 'a standby does not publish');
is($standby->safe_psql('postgres',
		q{SELECT status || coalesce(hint, '') FROM flo.check('g') WHERE item ~ '^replication slot of'}),
	'ok', 'and has no slot to miss');
is($standby->safe_psql('postgres', q{SELECT status FROM flo.check_plan() WHERE item = 'server of the plan'}), 'error',
	'nor can a group be made there');
wait_caught_up($source, $dest, 'g');
$source->stop('fast');
$standby->promote;
wait_state($standby, 'g', 'replicator', 'failed');
like(status_of($standby, 'g', 'replicator', 'detail'), qr/^lost slot/,
	'F9: after a promotion the slot is missing, which is never taken for a new beginning');
$standby->safe_psql('postgres', q{SELECT flo.resync('g', copy => false)});
wait_state($standby, 'g', 'replicator', 'streaming');
$standby->safe_psql('postgres', 'INSERT INTO t VALUES (14)');
wait_caught_up($standby, $dest, 'g');
is_same_table($standby, $dest, 't', 'resync on the new primary');

$_->stop('fast') for $standby, $dest;
done_testing();
