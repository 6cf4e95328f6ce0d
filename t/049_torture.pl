
# Promise 2 at random: replicator, worker and nats-server are killed, both
# clusters stopped at once without warning, and the network is stuck, in any
# order and at any moment, under a load of transfers.  All the while nobody at
# the destination may see a transaction in parts; in the end both sides are the
# same.  FLO_TORTURE_SECONDS says for how long, FLO_TORTURE_SEED repeats an order
# of faults (not their timing).

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $seconds = $ENV{FLO_TORTURE_SECONDS} || 30;
my $seed = $ENV{FLO_TORTURE_SEED} || int(rand(1_000_000));
srand($seed);
note("seed $seed, $seconds s");

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.broker_sync_interval = '2s'\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);
my %count;
my ($looks, $torn) = (0, 0);

transfer_tables($source, $dest);
create_group($source, $dest, 'g');
$source->safe_psql('postgres', 'INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 100) i');
wait_caught_up($source, $dest, 'g');

# What a reader at the destination sees; nothing while its server is down
# The answer, '' when the server is away or goes away before it has read the query
sub ask
{
	my ($node, $query) = @_;
	my ($out, $err) = ('', '');
	my $rc = eval { $node->psql('postgres', $query, stdout => \$out, stderr => \$err, timeout => $FloTest::timeout) };

	die $@ if $@ ne '' && $@ !~ /Broken pipe/;
	return defined $rc && $rc == 0 && defined $out ? $out : '';
}

sub look
{
	my $out = ask($dest, 'SELECT sum(balance) FROM accounts');
	return if $out eq '';
	$looks++;
	$torn++ if $out ne '100000';
}

sub kill_member
{
	my ($node, $member) = @_;
	my $pid = ask($node, "SELECT pid FROM flo.status WHERE member = '$member'");
	return 0 if $pid !~ /^\d+$/;
	return kill 'KILL', $pid;
}

my %faults = (
	'kill of the replicator' => sub { kill_member($source, 'replicator') },
	'kill of the worker' => sub { kill_member($dest, 'postgres') },
	'kill of nats-server' => sub { $nats->kill9; sleep rand(2); $nats->start; 1 },	# sleeps: a while
	'a stuck network' => sub { $nats->pause; sleep rand(3); $nats->resume; 1 },	# sleeps: a while
	'immediate stop of the source' => sub { $source->stop('immediate'); $source->start; 1 },
	'immediate stop of the destination' => sub { $dest->stop('immediate'); $dest->start; 1 },
	'a large transaction' => sub {
		ask($source, q{INSERT INTO moves (a, amount, note) SELECT i, 0, repeat('y', 300)
			FROM generate_series(1, 5000) i});
		1;
	});

my $load = transfer_load($source, clients => 3, rate => 400);
my $end = time() + $seconds;
while (time() < $end)
{
	my $name = (sort keys %faults)[ int(rand(keys %faults)) ];

	$count{$name}++ if $faults{$name}->();
	for (1 .. 1 + int(rand(4)))
	{
		look();
		sleep rand(0.4);	# sleeps: the moment of the next fault is a random one
	}
}
stop_load($load);
wait_until($_, 'postgres', 'SELECT true', $_->name) for $source, $dest;
wait_caught_up($source, $dest, 'g');
look();

note("$_: $count{$_}") for sort keys %count;
my $kills = 0;
$kills += $count{$_} for grep { !/large/ } keys %count;
cmp_ok($kills, '>', $seconds / 10, "faults survived: $kills in $seconds s (seed $seed)");
cmp_ok($looks, '>', 0, "looks at the destination: $looks");
is($torn, 0, 'no transaction was seen in parts');
is_same_table($source, $dest, $_, "after the torture: $_") for qw(accounts moves);
wait_state($source, 'g', 'replicator', 'streaming');
wait_state($dest, 'g', 'postgres', 'streaming');
private_memory_ok($source, 'g', 'replicator', 64);
private_memory_ok($dest, 'g', 'postgres', 64);

$_->stop('fast') for $source, $dest;
done_testing();
