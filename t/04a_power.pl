
# A broker that forgets its last seconds, as one does whose machine has lost power before it
# flushed them: less than pg_flo.broker_sync_interval ago nobody notices; more than that, and it
# is said, never passed over.  With both servers, fsync on, killed at the same moment, too.
# What a server of its own forgets takes a file system that does: t/04b_power_devices.pl.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $nats = FloTest::Nats->new('broker');
my $conf = "fsync = on\npg_flo.restart_interval = '300ms'\nlogical_decoding_work_mem = '64kB'\n";
my $source = flo_node('source', $nats, conf => "${conf}pg_flo.broker_sync_interval = '60s'\n");
my $dest = flo_node('dest', $nats, conf => $conf);
my $number = 0;

transfer_tables($source, $dest);
$_->safe_psql('postgres', 'CREATE TABLE big (id int PRIMARY KEY, v text)') for $source, $dest;
$_->safe_psql('postgres', 'INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 100) i') for $source, $dest;
create_group($source, $dest, 'g', options => q{'{"large_transactions": "early", "large_transaction_size": "64kB"}'});
my $load = transfer_load($source, rate => 150);

sub large
{
	$number++;
	return "INSERT INTO big SELECT $number * 10000 + g, repeat(md5(g::text), 20) FROM generate_series(1, 3000) g";
}
sub same
{
	my ($name) = @_;

	stop_load($load);
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, $_, "$name: $_") for qw(accounts moves big);
	$load = transfer_load($source, rate => 150);
}
# a broker on a disk that stands still may take longer than a client waits
sub last_seq { return await(sub { eval { $nats->last_seq('pgflo_g_stream') } }, 'an answer'); }

# What it was told in so many seconds is gone, with pieces of a transaction that goes on
sub forgets
{
	my ($seconds, $meanwhile) = @_;
	my $session = FloTest::Session->new($source);

	$session->query('BEGIN');
	$session->query(large());
	$nats->copy_store;
	my ($begun, $seq) = (time(), last_seq());
	$session->query(large());
	ok(await(sub { time() - $begun >= $seconds && last_seq() > $seq + 10 }, 'what it will forget'),
		"what is told in $seconds s will be forgotten");
	$meanwhile->() if $meanwhile;
	$nats->restore_store;
	wait_until($source, 'postgres', 'SELECT true', 'the source') or die;
	# a server that was killed has ended it
	$meanwhile ? $session->{run}->kill_kill : $session->query('COMMIT');
	return;
}

# --- less than broker_sync_interval ago ---------------------------------------------------

moves_arrive($source, $dest, 'at first');
for my $seconds (0.3, 2)
{
	forgets($seconds);
	moves_arrive($source, $dest, "$seconds s forgotten");
	same("$seconds s forgotten");
}

# by a broker that has it alone
my $lock = FloTest::Session->new($dest);
$lock->query('BEGIN; LOCK TABLE moves');
forgets(1);
$lock->query('COMMIT');
same('1 s forgotten that no worker had');

# all three machines at once
forgets(1, sub { $_->kill_all for $source, $dest; $_->start_again for $source, $dest; });
moves_arrive($source, $dest, 'all at once');
same('all three machines at once');
is($_->safe_psql('postgres', q{SELECT count(*) FROM flo.events WHERE state = 'failed'}), '0',
	'no member of ' . $_->name . ' has ever failed')
  for $source, $dest;

# --- more than that ------------------------------------------------------------------------

$source->append_conf('postgresql.conf', "pg_flo.broker_sync_interval = 0\n");
$source->reload;
$lock = FloTest::Session->new($dest);
$lock->query('BEGIN; LOCK TABLE moves');
forgets(1, sub {
		my $lsn = $source->safe_psql('postgres', 'SELECT pg_current_wal_lsn()');
		ok(wait_until($source, 'postgres',
				"SELECT confirmed_flush_lsn >= '$lsn' FROM pg_replication_slots", 'the slot'),
			'the WAL of what is forgotten is released');
	});
$lock->query('COMMIT');
wait_state($source, 'g', 'replicator', 'failed');
like(status_of($source, 'g', 'replicator', 'detail'),
	qr{^gap: the stream ends at \S+/\S+, transactions up to \S+ are lost},
	'what no worker has is lost: it is said, and which');
is($dest->safe_psql('postgres', 'SELECT sum(balance) FROM accounts'), '100000', 'nothing is there in parts');
$source->safe_psql('postgres', q{SELECT flo.resync('g')});
wait_until($source, 'postgres', 'SELECT count(*) = 0 FROM flo.copy_requests', 'the copy') or die;
wait_state($source, 'g', 'replicator', 'streaming');
same('after a resync');

# --- by a broker whose newest chunk is of WAL that a server has removed before it was started -----

stop_load($load);
wait_caught_up($source, $dest, 'g');
$nats->copy_store;
my $kept = $source->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_insert_lsn())');
$source->safe_psql('postgres', "INSERT INTO moves (a, amount) VALUES (1, 0); SELECT pg_switch_wal();") for 1 .. 3;
$source->safe_psql('postgres', "UPDATE accounts SET balance = balance");
wait_caught_up($source, $dest, 'g');
# an orderly stop lets go of WAL, the checkpoint of the next one removes it
$source->restart for 1 .. 3;
ok(!-e $source->data_dir . "/pg_wal/$kept", 'WAL is removed that the broker knows the newest of');
$nats->restore_store;
$load = transfer_load($source, rate => 150);
moves_arrive($source, $dest, 'an old broker, a server that has been started anew');
same('an old broker, a server that has been started anew');

stop_load($load);
$_->stop('fast') for $source, $dest;
done_testing();
