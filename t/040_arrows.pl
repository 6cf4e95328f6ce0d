
# Promise 2 at every arrow of the flow: a process dies just before and just after
# each step, driven to that very place by a named stop point.  Whatever was
# half done, both sides converge: nothing lost, nothing doubled, no transaction
# in parts.

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

transfer_tables($source, $dest);
create_group($source, $dest, 'g');
$source->safe_psql('postgres', 'INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 100) i');
wait_caught_up($source, $dest, 'g');

# What each arrow is, and which side's process comes by
my %arrows = (
	decode => $source, publish => $source, acknowledge => $source, confirm => $source, purge => $source,
	fetch => $dest, apply => $dest, commit => $dest, flush => $dest, ack => $dest, report => $dest,
);

# Small transactions, then one of several chunks, small ones again
my $large = 0;
sub work
{
	$large++;
	return IPC::Run::start(
		[ 'psql', '-qX', '-p', $source->port, '-h', $source->host, '-d', 'postgres', '-c', <<"SQL" ], '>', \my $out,
DO \$\$ BEGIN FOR i IN 1..60 LOOP
	UPDATE accounts SET balance = balance - i WHERE id = i;
	UPDATE accounts SET balance = balance + i WHERE id = 101 - i;
	INSERT INTO moves (a, b, amount) VALUES (i, 101 - i, i);
	COMMIT;
	IF i = 30 THEN
		INSERT INTO moves (a, amount, note) SELECT j, 0, repeat(md5(j::text), 10) FROM generate_series(1, 12000) j;
		COMMIT;
	END IF;
END LOOP; END \$\$
SQL
		'2>', \my $err);
}

# The source's own death takes the session of work() with it, and what it had
# not committed; that is no business of this test
sub crash_at
{
	my ($point, $how) = @_;
	my ($arrow) = $point =~ /^(\w+)/;
	my $node = $arrows{$arrow};
	my $member = $node == $source ? 'replicator' : 'postgres';

	halt_at($node, $point);
	my $checkpointer = $node->safe_psql('postgres',
		q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'});
	my $session = work();
	ok(await_halt($node, $point), "$point: a process is there") or return;
	if ($how eq 'kill')
	{
		kill9_member($node, 'g', $member);
	}
	elsif ($how eq 'stop')
	{
		$node->stop('immediate');
		$node->start;
	}
	elsif ($how eq 'broker')
	{
		# the process finds another broker than the one it was talking to
		$nats->kill9;
		$nats->start;
		kill9_member($node, 'g', $member);
	}
	$session->finish;
	# until its server has noticed, it goes on answering, and then drops whoever asks
	wait_until($node, 'postgres', "SELECT pid <> $checkpointer FROM pg_stat_activity
		WHERE backend_type = 'checkpointer'", 'the server to begin anew') or die;
	wait_until($source, 'postgres', 'SELECT true', 'the source') or die;
	wait_caught_up($source, $dest, 'g');
	is($dest->safe_psql('postgres', 'SELECT sum(balance) FROM accounts'), '100000',
		"$point, $how: no transaction in parts");
	is_same_table($source, $dest, $_, "$point, $how: $_") for qw(accounts moves);
	return;
}

for my $arrow (qw(decode publish acknowledge confirm purge fetch apply commit flush ack report))
{
	crash_at("$arrow.$_", 'kill') for qw(before after);
}

# In the middle of a transaction of several chunks
crash_at($_, 'kill') for qw(publish.before:6 publish.after:7 acknowledge.after:6 fetch.after:6 apply.after:3000);

# The whole server, without a chance to write anything down
crash_at($_, 'stop') for qw(publish.after acknowledge.before confirm.after commit.after flush.before ack.before);

# The broker dies at the same moment
crash_at($_, 'broker') for qw(publish.after acknowledge.before commit.after ack.before);

private_memory_ok($source, 'g', 'replicator', 64);
private_memory_ok($dest, 'g', 'postgres', 64);
$_->stop('fast') for $source, $dest;
done_testing();
