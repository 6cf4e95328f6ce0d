
# Servers from 17 on can take a slot along to a standby: a group goes on after
# its promotion, or says that the standby lacks what was published.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($version) = PostgreSQL::Test::Cluster->new('probe')->pg_version =~ /^(\d+)/;
plan skip_all => 'of 17 and later' if $version < 17;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);

# A standby that has the slot, and everything written so far
sub standby_of
{
	my ($primary, $name, $slot, $conf) = @_;
	my $standby = PostgreSQL::Test::Cluster->new($name);

	$primary->safe_psql('postgres', "SELECT pg_create_physical_replication_slot('to_$name', true)");
	$primary->backup("for_$name");
	$standby->init_from_backup($primary, "for_$name", has_streaming => 1);
	$standby->append_conf('postgresql.conf',
		"hot_standby_feedback = on\nsync_replication_slots = on\nprimary_slot_name = 'to_$name'\n"
		  . "primary_conninfo = 'host=" . $primary->host . ' port=' . $primary->port . " dbname=postgres'\n$conf");
	$standby->start;
	$primary->safe_psql('postgres', "INSERT INTO t SELECT max(id) + 1, 'with $name' FROM t");
	wait_caught_up($primary, $dest, 'g');
	ok(wait_until($standby, 'postgres', "SELECT synced AND NOT temporary FROM pg_replication_slots
		WHERE slot_name = '$slot'", 'the slot'),
		"$name: the slot is there");
	$primary->wait_for_catchup($standby);
	return $standby;
}

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)') for $source, $dest;
create_group($source, $dest, 'g');
$source->safe_psql('postgres', q{INSERT INTO t SELECT i, 'before' FROM generate_series(1, 100) i});
wait_caught_up($source, $dest, 'g');

# as doc/operations.md says
$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
my $slot = $source->safe_psql('postgres', 'SELECT slot_name FROM pg_replication_slots');
is($source->psql('postgres', "ALTER_REPLICATION_SLOT $slot (FAILOVER true)", replication => 'database'), 0,
	'the slot is to follow');
start_member($source, 'g', 'replicator');

my $second = standby_of($source, 'second', $slot, '');
$source->safe_psql('postgres', q{INSERT INTO t SELECT i, 'at the first' FROM generate_series(1001, 1100) i});
$source->wait_for_catchup($second);
$source->stop('immediate');
$second->promote;
wait_state($second, 'g', 'replicator', 'streaming');
$second->safe_psql('postgres', q{INSERT INTO t SELECT i, 'at the second' FROM generate_series(2001, 2100) i;
	UPDATE t SET v = v || '!' WHERE id % 10 = 0});
wait_caught_up($second, $dest, 'g');
is_same_table($second, $dest, 't', 'the group goes on at the standby');

# one that lacks what was published, and has written more than that since
my $third = standby_of($second, 'third', $slot, "pg_flo.enabled = off\n");
$third->safe_psql('postgres', $_) for q{ALTER SYSTEM SET primary_conninfo = ''}, 'SELECT pg_reload_conf()';
wait_until($third, 'postgres', 'SELECT count(*) = 0 FROM pg_stat_wal_receiver', 'the standby to be cut off') or die;
$second->safe_psql('postgres', q{INSERT INTO t SELECT i, 'lost' FROM generate_series(3001, 3100) i});
wait_caught_up($second, $dest, 'g');
$second->stop('immediate');
$third->promote;
$third->safe_psql('postgres', q{INSERT INTO t SELECT i, 'at the third' FROM generate_series(4001, 14000) i;
	UPDATE t SET v = v || '?'});
$third->safe_psql('postgres', $_) for 'ALTER SYSTEM SET pg_flo.enabled = on', 'SELECT pg_reload_conf()';
wait_state($third, 'g', 'replicator', 'failed');
like(status_of($third, 'g', 'replicator', 'last_error'), qr/history diverged/, 'what the standby lacks is noticed');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM t WHERE v ~ 'third'}), '1', 'and nothing of it is applied');

$_->stop('fast') for $third, $dest;
done_testing();
