
# Work that takes longer than the broker's patience: it gives up a client that
# does not answer its pings, and that client goes on with what it was doing.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use FloTest::Child;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker', conf => qq{ping_interval: "1s"\nping_max: 1});
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats, conf => "log_min_messages = debug1\n");

for my $node ($source, $dest)
{
	$node->safe_psql('postgres', q{
		CREATE TABLE t (id int PRIMARY KEY, v text);
		CREATE TABLE quick (id int PRIMARY KEY, v text);});
}
$dest->safe_psql('postgres', q{
	-- sleeps: all of the transaction is to take longer than the broker waits
	CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END $$;
	CREATE TRIGGER dawdle BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION dawdle();
	ALTER TABLE t ENABLE ALWAYS TRIGGER dawdle;});
create_group($source, $dest, 'g', tables => "'{t,quick}'", worker_options => q{'{"fire_triggers": true}'});

my $log_from = 0;
sub renewed
{
	my ($name) = @_;
	my $log = slurp_file($dest->logfile, $log_from);
	like($log, qr/connecting to NATS anew/, "$name: the broker did give the worker up");
	is(status_of($dest, 'g', 'postgres', 'restarts'), '0', "$name: the worker was not started again");
	is_same_table($source, $dest, $_, "$name: $_") for qw(t quick);
	$log_from = -s $dest->logfile;
}

# --- one transaction over several chunks -----------------------------------------------------

$source->safe_psql('postgres', q{BEGIN;
	INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 700) i;
	INSERT INTO quick SELECT i, repeat('y', 100) FROM generate_series(1, 20000) i;
	UPDATE t SET v = 'z' WHERE id <= 10; COMMIT;});
wait_caught_up($source, $dest, 'g');
renewed('a statement of fourteen seconds in a transaction of several chunks');

# --- many transactions in one chunk -----------------------------------------------------------

# sleeps: longer than the broker waits
$dest->safe_psql('postgres', q{CREATE OR REPLACE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN }
	  . q{PERFORM pg_sleep(4); RETURN NEW; END $$});
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
$source->safe_psql('postgres', q{DO $$ BEGIN FOR i IN 1001..1003 LOOP INSERT INTO t VALUES (i, 'one'); COMMIT; }
	  . q{END LOOP; END $$});
$source->safe_psql('postgres', q{SELECT flo.wait_for('g')});
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
wait_caught_up($source, $dest, 'g');
renewed('a chunk of transactions each of which takes longer');
# sleeps: all of them together longer
$dest->safe_psql('postgres', q{CREATE OR REPLACE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN }
	  . q{PERFORM pg_sleep(0.03); RETURN NEW; END $$});

# --- the broker is started again meanwhile ------------------------------------------------------

$source->safe_psql('postgres', q{BEGIN;
	INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(2001, 2100) i;
	INSERT INTO quick SELECT i, repeat('y', 100) FROM generate_series(20001, 40000) i;
	UPDATE t SET v = 'zz' WHERE id BETWEEN 2001 AND 2100; COMMIT;});
wait_until($dest, 'postgres',
	q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND backend_type ~ 'pg_flo')},
	'the worker to be busy') or die;
$nats->kill9;
$nats->start;
wait_caught_up($source, $dest, 'g');
renewed('a broker killed while a transaction is half here');

# --- something takes its place that accepts connections and does not go on ------------------------

my $listener = IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $@";
in_child(sub {
	my @kept;

	while (my $client = $listener->accept)
	{
		syswrite $client, q/INFO {"server_id":"X","version":"2.10.0","proto":1,"host":"127.0.0.1","port":4222,/
		  . qq/"headers":true,"max_payload":1048576,"client_id":1,"tls_required":true}\r\n/;
		push @kept, $client;
	}
});
$source->safe_psql('postgres', q{BEGIN;
	INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(3001, 3100) i;
	INSERT INTO quick SELECT i, repeat('y', 100) FROM generate_series(40001, 60000) i;
	UPDATE t SET v = 'zzz' WHERE id BETWEEN 3001 AND 3100; COMMIT;});
wait_until($dest, 'postgres',
	q{SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND backend_type ~ 'pg_flo')},
	'the worker to be busy') or die;
my $worker = pid_of($dest, 'g', 'postgres');
$dest->append_conf('postgresql.conf', "pg_flo.nats_url = 'nats://127.0.0.1:" . $listener->sockport . "'");
$dest->reload;
$nats->kill9;
$nats->start;
# newer libraries have a limit of their own, and end it
wait_until($dest, 'postgres', q{SELECT detail ~ 'no end of the attempt|: Timeout$' FROM flo.status},
	'an attempt to be left alone') or die;
$dest->append_conf('postgresql.conf', "pg_flo.nats_url = '" . $nats->url . "'");
$dest->reload;
wait_caught_up($source, $dest, 'g');
renewed('an attempt to connect that hangs');
is(pid_of($dest, 'g', 'postgres'), $worker, 'nor did it end by itself');
$dest->stop('fast');
pass('a thread that hangs does not keep the server from stopping');

done_testing();
