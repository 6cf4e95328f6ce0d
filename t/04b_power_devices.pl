
# Machines that lose power, at random moments under load, one or all of them: what they had not
# fsynced is gone.  The file systems and who cuts the power come from .ci/power.sh, which says
# what is really done; run it by "make power".  Without it this is skipped.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloTest;
use IO::Handle;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $dir = $ENV{FLO_POWER} or plan skip_all => 'needs root: make power';
my $seconds = $ENV{FLO_POWER_SECONDS} || 120;
my $seed = $ENV{FLO_POWER_SEED} || int(rand(1_000_000));
srand($seed);

open my $requests, '>', "$dir/requests" or die "$dir/requests: $!";
open my $answers, '<', "$dir/answers" or die "$dir/answers: $!";
$requests->autoflush(1);

sub machine
{
	print $requests "@_\n";
	my $answer = <$answers>;
	$answer eq "done\n" or die $answer;
}

# The broker's own interval is a minute in 2.9, two since 2.10, as pg_flo expects of it
my $conf = <<'CONF';
fsync = on
pg_flo.broker_sync_interval = '150s'
pg_flo.restart_interval = '300ms'
logical_decoding_work_mem = '64kB'
CONF
my $nats = FloTest::Nats->new('broker', start => 0);
mkdir "$dir/broker/store";
symlink "$dir/broker/store", "$nats->{dir}/store" or die "symlink: $!";
$nats->start;
my %node = map { $_ => flo_node($_, $nats, conf => $conf, start => 0) } qw(source dest);
my ($source, $dest) = @node{qw(source dest)};
for my $name (qw(source dest))
{
	my $data = $node{$name}->data_dir;

	system('cp', '-a', $data, "$dir/$name/pgdata") == 0 && system('rm', '-r', $data) == 0 or die "$data: $!";
	symlink "$dir/$name/pgdata", $data or die "symlink: $!";
	$node{$name}->start;
	$node{$name}->safe_psql('postgres', 'CREATE EXTENSION pg_flo');
}

transfer_tables($source, $dest);
$_->safe_psql('postgres', 'CREATE TABLE big (id bigint PRIMARY KEY, v text)') for $source, $dest;
$_->safe_psql('postgres', 'INSERT INTO accounts SELECT i, 1000 FROM generate_series(1, 100) i') for $source, $dest;
create_group($source, $dest, 'g', options => q{'{"large_transactions": "early", "large_transaction_size": "64kB"}'});
mkdir "$dir/dest/events";
create_event_worker($dest, 'g', 'file', 'file',
	{ directory => "$dir/dest/events", max_size => '200kB', tables => ['moves'] });
system('sync');		# the machines have stood for a while

my ($cuts, $forgotten, %count, $number) = (0, 0);

# All that each of them runs stands still at this moment
sub lose_power
{
	my @machines = @_;
	my @nodes = map { $node{$_} || () } @machines;
	my $broker = grep { $_ eq 'broker' } @machines;
	my $had = $broker && $nats->last_seq('pgflo_g_stream');

	for (1 .. 2)	# and what was being born meanwhile
	{
		$nats->pause if $broker;
		$_->kill_all('STOP') for @nodes;
	}
	machine('copy', @machines);
	$_->kill_all for @nodes;
	$nats->kill9 if $broker;
	machine('replace', @machines);
	if ($broker)
	{
		$nats->start;
		$forgotten += $had - ($nats->last_seq('pgflo_g_stream') // 0);
	}
	$_->start_again for @nodes;
}

sub large
{
	my $from = ++$number * 100_000;
	my $end = rand() < 0.7 ? 'COMMIT' : 'ROLLBACK';

	# sleeps: it is open for a while
	my $sql = "BEGIN; INSERT INTO big SELECT $from + g, repeat(md5(g::text), 20) FROM generate_series(1, 3000) g;
		SELECT pg_sleep(0.5); UPDATE big SET v = v || 'x' WHERE id BETWEEN $from AND $from + 500; $end";
	return IPC::Run::start([ 'psql', '-qX', '-p', $source->port, '-h', $source->host, '-d', 'postgres', '-c', $sql ],
		'>', \my $out, '2>', \my $err);
}

my $begun = time();
for (my $round = 1; time() < $begun + $seconds; $round++)
{
	my $asynchronous = rand() < 0.3 ? 'off' : 'on';

	$source->safe_psql('postgres', $_)
	  for "ALTER SYSTEM SET synchronous_commit = $asynchronous", 'SELECT pg_reload_conf()';
	my $load = transfer_load($source, rate => 200);
	my @sessions;
	for (1 .. 3)
	{
		my @machines = @{ (['source'], ['dest'], ['broker'], [qw(source dest broker)])[ int(rand(4)) ] };

		push @sessions, large();
		sleep rand(5);		# sleeps: power is lost at a random moment, after more or less was written back
		lose_power(@machines);
		$count{"@machines"}++;
		$cuts++;
	}
	stop_load($load);
	$_->finish for @sessions;
	wait_caught_up($source, $dest, 'g');
	my @same = map { is_same_table($source, $dest, $_, "round $round: $_") } qw(accounts moves big);
	my @moves = split /\n/, $source->safe_psql('postgres', 'SELECT id FROM moves ORDER BY 1');
	my @told = sort { $a <=> $b }
	  map { /"Type":"INSERT".*"NewTuple":\{"id":(\d+)/ ? $1 : () } file_lines("$dir/dest/events");
	push @same, is("@told" eq "@moves", 1, "round $round: each event is there once (" . @told . ')');
	is($_->safe_psql('postgres', q{SELECT string_agg(detail, ' ') FROM flo.status WHERE state = 'failed'}),
		'', "round $round: nothing has failed at " . $_->name)
	  for $source, $dest;
	last if grep { !$_ } @same;
}
diag("seed $seed: power lost $cuts times: " . join(', ', map { "$count{$_} $_" } sort keys %count)
	  . "; the broker forgot $forgotten chunks");

$_->stop('fast') for $source, $dest;
$nats->kill9;
done_testing();
