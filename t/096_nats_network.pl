
# A network between both sides and their broker that delays, drips, cuts,
# half-closes and stalls: nothing is lost or doubled, what is wrong is said, once,
# and each side stops at once whatever is wrong.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloProxy;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $nats = FloTest::Nats->new('broker');
my %proxy = map { $_ => FloProxy->new($nats->port) } qw(source dest);
my %node = map { $_ => flo_node($_, $proxy{$_}) } qw(source dest);
my %member = (source => 'replicator', dest => 'postgres');
my ($source, $dest) = @node{qw(source dest)};
my @sides = qw(source dest);
my %from;

transfer_tables($source, $dest);
$_->safe_psql('postgres', 'INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 100) i') for $source, $dest;
# a broker that is away is no error of a row
create_group($source, $dest, 'g', worker_options => q{'{"on_error": "stop"}'});
my $load = transfer_load($source, rate => 50);

sub network
{
	my ($does) = @_;
	%from = map { $_ => -s $node{$_}->logfile } @sides;
	$proxy{$_}->does($does) for @sides;
}
# Lines of the log about the connection, since the network does what it does
sub lines
{
	my ($side) = @_;
	return grep { /NATS/ && / (LOG|WARNING|ERROR|FATAL|PANIC): / && !/ parameter / }
	  split /\n/, slurp_file($node{$side}->logfile, $from{$side});
}
sub value { my ($side, $column) = @_; return status_of($node{$side}, 'g', $member{$side}, $column); }
sub stops
{
	my ($side, $name) = @_;
	my $begun = time();

	$node{$side}->safe_psql('postgres', q{SELECT flo.stop_group('g')});
	wait_state($node{$side}, 'g', $member{$side}, 'stopped');
	my $took = time() - $begun;
	# two seconds, and what a busy machine takes for two sessions
	cmp_ok($took, '<', 8, sprintf('%s: the %s stops at once (%.1f s)', $name, $side, $took));
	$node{$side}->safe_psql('postgres', q{SELECT flo.start_group('g')});
}
moves_arrive($source, $dest, 'at first');

# --- what is slow, or over in a moment -----------------------------------------------------

network('delay');
moves_arrive($source, $dest, 'a slow network');
is(join(' ', map { lines($_) } @sides), '', 'of which nobody complains');
for my $fault (qw(cut half_close))
{
	network($fault);
	moves_arrive($source, $dest, $fault);
	for my $side (@sides)
	{
		ok(await(sub { (lines($side))[0] }, "words of the $side"), "$fault: the $side says it");
		cmp_ok(scalar(lines($side)), '<=', 5, "$fault: once") or diag(join "\n", lines($side));
	}
}

# The broker takes no message as large as before, and says so to who sends one
$nats->configure('max_payload: 32768');
$nats->reload;
$source->safe_psql('postgres', q{INSERT INTO moves (a, amount, note) VALUES (1, 0, repeat('x', 200000))});
moves_arrive($source, $dest, 'max_payload lowered while connected');
$nats->configure('');
$nats->reload;
moves_arrive($source, $dest, 'and raised');

# --- what lasts ------------------------------------------------------------------------------

for my $fault (qw(stall stall_up stall_down drip refuse))
{
	network($fault);
	for my $side (@sides)
	{
		ok(wait_until($node{$side}, 'postgres', q{SELECT state ~ 'waiting|backoff'
				AND concat_ws(' ', detail, last_error) ~ 'NATS'
				AND (state = 'waiting' OR last_error_at > coalesce(recovered_at, '-infinity'))
				AND NOT flo.healthy('g', '1 s') AND (SELECT state !~ 'streaming' FROM flo.overview) FROM flo.status},
			"$fault to be seen"), "$fault: the $side says it, in all views");
		stops($side, $fault);
		cmp_ok(scalar(lines($side)), '<=', 8, "$fault: no flood of words") or diag(join "\n", lines($side));
	}
	network('pass');
	moves_arrive($source, $dest, $fault);
}

# A connection that breaks every second, and another one that is had at once
my $restarts = value('source', 'restarts');
network('choke');
ok(wait_until($source, 'postgres', "SELECT restarts >= $restarts + 7 FROM flo.status", 'breaks'),
	'a connection that breaks again and again');
for my $side (@sides)
{
	my @lost = grep { /lost the connection/ } lines($side);
	cmp_ok(scalar(@lost), '<=', 9, "is told of four times by the $side") or diag(join "\n", @lost);
}
network('pass');
moves_arrive($source, $dest, 'a connection that breaks again and again');

stop_load($load);
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, $_) for qw(accounts moves);
$_->stop('fast') for $source, $dest;
done_testing();
