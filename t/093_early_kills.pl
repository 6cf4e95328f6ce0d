# Large transactions that are published while they run, when the source's side breaks: its
# processes, its server, its broker, at each arrow on the way of a piece, of what makes
# pieces void and of the commit.  Whatever was half done, both sides end the same.

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

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE small (id int PRIMARY KEY, v int);
	INSERT INTO small SELECT g, 0 FROM generate_series(1, 10) g') for $source, $dest;
create_group($source, $dest, 'g', tables => q{'{t,small}'},
	options => q{'{"large_transactions": "early", "large_transaction_size": "0"}'});

my $from = 0;

# Pieces of two, small ones between; a part of one is rolled back, and all of the other.  It
# is one session's work each, so that a crash of the server takes with it what it may.
sub work
{
	my $first = $from += 100000;
	my $second = $first + 50000;
	my $rows = sub { "INSERT INTO t SELECT g, repeat(md5(g::text), 50) FROM generate_series($_[0], $_[0] + 6999) g;" };
	my $small = 'UPDATE small SET v = v + 1 WHERE id =';
	my @session = map {
		IPC::Run::start([ 'psql', '-qX', '-p', $source->port, '-h', $source->host, '-d', 'postgres', '-c', $_ ],
			'>', \my $out, '2>', \my $err)
	} "BEGIN; " . $rows->($first) . "SAVEPOINT s; UPDATE t SET v = v || 'x' WHERE id BETWEEN $first AND $first + 6999;
		ROLLBACK TO s;" . $rows->($first + 10000) . $rows->($first + 20000)
		  . "DELETE FROM t WHERE id BETWEEN $first AND $first + 999; COMMIT",
	  # sleeps: so that small ones stand between the pieces
	  'BEGIN; ' . $rows->($second) . 'ROLLBACK',
	  "DO \$\$ BEGIN FOR i IN 1 .. 60 LOOP $small 1 + i % 10; COMMIT; PERFORM pg_sleep(0.01); END LOOP; END \$\$";
	return @session;
}

# Large ones before and after, so that each arrow is met with pieces in the stream
sub crash_at
{
	my ($point, $how) = @_;

	halt_at($source, $point);
	my @sessions = work();
	ok(await_halt($source, $point), "$point: a process is there") or return;
	my $pid = pid_of($source, 'g', 'replicator');
	if ($how eq 'committed') { $_->finish for @sessions; }
	if ($how eq 'broker') { $nats->kill9; $nats->start; }
	if ($how eq 'stop') { $source->stop('immediate'); $source->start; }
	else { kill9_member($source, 'g', 'replicator'); }
	$_->finish for @sessions;
	wait_until($source, 'postgres', 'SELECT true', 'the source') or die;
	wait_other_pid($source, 'g', 'replicator', $pid);
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, $_, "$point, $how: $_") for qw(t small);
	return;
}

# With a piece in hand, in flight, or stored; between pieces; at the commit
crash_at($_, 'kill')
  for qw(publish.before:3 publish.after:5 acknowledge.before:4 acknowledge.after:9 decode.after:9000);
crash_at($_, 'committed') for qw(publish.before:60 publish.after:70);
crash_at($_, 'stop') for qw(publish.after:12);
crash_at($_, 'broker') for qw(publish.after:8 acknowledge.before:20);

# The transactions live on: their session at the broker ends, and sends them again
for my $how ('its process', 'its broker')
{
	my $first = $from += 100000;
	my $session = $source->background_psql('postgres', on_error_stop => 1);
	my $rows = sub { "INSERT INTO t SELECT g, repeat(md5(g::text), 50) FROM generate_series($_[0], $_[0] + 9999) g" };
	my $pid = pid_of($source, 'g', 'replicator');

	$session->query_safe('BEGIN; ' . $rows->($first));
	ok(wait_until($source, 'postgres', "SELECT open_bytes > 0 FROM flo.status WHERE member = 'replicator'", 'pieces'),
		"$how: pieces are in the stream");
	if ($how eq 'its process') { $source->safe_psql('postgres', "SELECT pg_terminate_backend($pid)"); }
	else { $nats->kill9; $nats->start; }
	$session->query_safe($rows->($first + 20000));
	$session->query_safe('COMMIT');
	$session->quit;
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, $_, "$how ends: $_") for qw(t small);
}

# What is read again goes to disk at the source, and from there into pieces: the server forgets
# to tell that such a subtransaction is rolled back
{
	my $first = $from += 100000;
	my $session = $source->background_psql('postgres', on_error_stop => 1);
	my $rows = sub { "INSERT INTO t SELECT g, repeat(md5(g::text), 50) FROM generate_series($_[0], $_[0] + 9999) g" };

	$session->query_safe("BEGIN; INSERT INTO t VALUES ($first, 'first')");
	$session->query_safe('SAVEPOINT outer_one; ' . $rows->($first + 10000));
	$source->safe_psql('postgres', 'UPDATE small SET v = v + 1');
	wait_caught_up($source, $dest, 'g');
	my $pid = pid_of($source, 'g', 'replicator');
	$source->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	wait_other_pid($source, 'g', 'replicator', $pid);
	$source->safe_psql('postgres', 'UPDATE small SET v = v + 1');
	wait_caught_up($source, $dest, 'g');
	$session->query_safe('SAVEPOINT inner_one; ' . $rows->($first + 20000));
	ok(wait_until($source, 'postgres', "SELECT open_bytes > 0 FROM flo.status WHERE member = 'replicator'", 'pieces'),
		'read again: pieces are in the stream');
	$session->query_safe("ROLLBACK TO outer_one; INSERT INTO t VALUES ($first + 1, 'last'); COMMIT");
	$session->quit;
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, $_, "read again: $_") for qw(t small);
}

# Undisturbed
$_->finish for work();
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, $_, "undisturbed: $_") for qw(t small);

private_memory_ok($source, 'g', 'replicator', 64);
$_->stop for $source, $dest;
$nats->stop;
done_testing();
