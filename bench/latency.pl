# The account that latency.sh has made; its head says how.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Bench::Measure;
use Bench::Scenarios;
use Bench::Servers;
use Bench::Systems;
use Time::HiRes qw(sleep);

$| = 1;
my %wanted = (exchange => undef, rate => 200, transactions => 1600, systems => 'native,pg_flo', first => 'no');
for (@ARGV)
{
	my ($name, $value) = /^(\w+)=(.*)$/ or die "what is $_?\n";
	die "what is $name?\n" if !exists $wanted{$name};
	$wanted{$name} = $value;
}
my $exchange = $wanted{exchange} or die "run it by bench/latency.sh\n";
my $seconds = $wanted{transactions} / $wanted{rate};

# Who does what, in the order in which it happens: B is the session, S the sender, N the
# broker, A the applier.  A number is the least that a call must have moved to count.
my @steps = (
	[ 'visible at the source', B => 'ProcArrayEndTransaction' ],
	[ 'sender is awake', S => 'exit_epoll_wait' ],
	[ 'it has read WAL', S => 'LogicalDecodingProcessRecord' ],
	[ 'decoded and packed', S => 'enter_sendto' ],
	[ 'the broker has read it', N => 'exit_read', 200 ],
	[ 'it stores it', N => 'enter_pwrite64' ],
	[ 'it delivers it', N => 'enter_writev' ],
	[ 'applier is awake', A => 'exit_epoll_wait' ],
	[ 'it has received it', A => 'exit_recvfrom', 20 ],
	[ 'applied: visible at the destination', A => 'ProcArrayEndTransaction' ]);

sub result_of { my ($text) = @_; return $text =~ /0x([0-9a-f]{1,8})$/ ? hex $1 : 0; }

# Microseconds of each step, for all transactions of which each was seen
sub account
{
	my ($who, @lines) = @_;
	my @expected = grep { my $step = $_; grep { $_ eq $step->[1] } values %$who } @steps;
	my (@done, $at, $last, @times);

	for (@lines)
	{
		my ($tid, $time, $event, $trace) = /^\s*(\d+)\s+([\d.]+):\s+\w+:(\w+):\s*(.*?)\s*$/ or next;
		my $by = $who->{$tid} or next;
		$event =~ s/^sys_//;
		$time *= 1e6;
		if ($by eq 'B' && $event eq 'exit_fdatasync')
		{
			($at, $last, @times) = (0, $time);
			next;
		}
		next if !defined $at;
		my $step = $expected[$at];
		next if $by ne $step->[1] || $event ne $step->[2] || ($step->[3] && result_of($trace) < $step->[3]);
		push @times, $time - $last;
		$last = $time;
		next if ++$at < @expected;
		push @done, [@times];
		undef $at;
	}
	return (\@expected, \@done);
}

sub percentile
{
	my ($share, @values) = @_;
	@values = sort { $a <=> $b } @values;
	return @values ? $values[ int($share * $#values) ] : 0;
}

sub measure_system
{
	my ($s) = @_;
	my $sequence = 'DROP SEQUENCE IF EXISTS latency_ids; CREATE SEQUENCE latency_ids';

	at($s, 'source', "TRUNCATE latency; $sequence");
	be_ready($s);
	my $load = fork_off(
		sub {
			run_pgbench($s->{db}{source},
				q{INSERT INTO latency VALUES (nextval('latency_ids'), 1, 'x', clock_timestamp());},
				'on', "-c 1 -R $wanted{rate} -t $wanted{transactions}");
		});
	my $session;
	my $query = q{SELECT pid FROM pg_stat_activity WHERE application_name = 'pgbench' AND query ~ '^INSERT' LIMIT 1};
	wait_for('the load', sub { $session = at($s, 'source', $query) });
	my %who = ($session => 'B', $s->{sender}->() => 'S', $s->{applier}->() => 'A');
	my @pids = keys %who;
	if ($s->{name} ne 'native')
	{
		push @pids, nats_pid();
		$who{$_} = 'N' for map { m{(\d+)$} } glob '/proc/' . nats_pid() . '/task/*';
	}
	my $time = $seconds > 3 ? $seconds - 2 : 1;
	open my $ask, '>', "$exchange/new" or die "$exchange/new: $!\n";
	print $ask "$time $wanted{first} @pids\n";
	close $ask;
	rename "$exchange/new", "$exchange/asked" or die $!;
	waitpid $load, 0;
	wait_for('perf', sub { -f "$exchange/answer" });
	open my $in, '<', "$exchange/answer" or die $!;
	my ($expected, $done) = account(\%who, <$in>);
	close $in;
	unlink "$exchange/answer";
	return ($expected, $done);
}

start_servers();
END { stop_servers(); }
my $text = '';
for my $name (split /,/, $wanted{systems})
{
	my $s = steady_system($name);

	psql($_, 'postgres', "CREATE DATABASE $s->{db}{$_}") for qw(source dest);
	at($s, $_, $schema) for qw(source dest);
	$s->{set_up}->();
	$s->{start}->();
	my ($expected, $done) = measure_system($s);
	$s->{stop}->();
	$text .= "$name, " . @$done . " transactions\n\n"
	  . "| us, each from the one before; first from the end of the flush | p50 | p90 | p99 |\n"
	  . "| --- | ---: | ---: | ---: |\n";
	for my $i (0 .. $#$expected)
	{
		my @times = map { $_->[$i] } @$done;
		$text .= sprintf "| %s | %.0f | %.0f | %.0f |\n", $expected->[$i][0],
		  map { percentile($_, @times) } 0.5, 0.9, 0.99;
	}
	my @sums = map { my $sum = 0; $sum += $_ for @$_; $sum } @$done;
	$text .= sprintf "| all | %.0f | %.0f | %.0f |\n\n", map { percentile($_, @sums) } 0.5, 0.9, 0.99;
}
print $text;
open my $out, '>', "$ENV{WORK}/results.latency.md" or die $!;
print $out $text;
