
# Promise 2 at random: every kind of process of both sides, whole servers and the broker are
# killed or stopped, the network fails, standbys take the place of servers, under a load of
# transfers, large transactions, DDL, changes of rules and tables, and copies.  All the while
# nobody at the destination may see a transaction in parts; at the end of each round both sides
# are the same.
#
# FLO_TORTURE_SECONDS says for how long, FLO_TORTURE_KILLS until how many kills, whatever comes
# last; FLO_TORTURE_SEED repeats the plan (not its timing).

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use FloTorture;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $seconds = $ENV{FLO_TORTURE_SECONDS} || 20;
my $kills = $ENV{FLO_TORTURE_KILLS} || 0;
# one plan for all who run the whole suite, another one for each who tortures
my $seed = $ENV{FLO_TORTURE_SEED} || ($ENV{FLO_TORTURE_SECONDS} ? int(rand(1_000_000)) : 7);
note("seed $seed, $seconds s, $kills kills");

my $torture = FloTorture->new(seed => $seed);
my $begun = time();

is_deeply([ $torture->planned(3) ], [ $torture->planned(3) ], 'a seed repeats its plan');
for (my $round = 1; time() < $begun + $seconds || $torture->kills < $kills; $round++)
{
	last if !$torture->round($round);
	note(join "\n", $torture->summary) if $round % 10 == 0;
}
my @summary = ($torture->summary, sprintf('in %.0f s', time() - $begun));
diag(join "\n", @summary) if $ENV{FLO_TORTURE_SECONDS};
append_to_file("$ENV{TESTDIR}/summary", join("\n", @summary) . "\n");

cmp_ok($torture->kills, '>', 0, "seed $seed: kills survived");
cmp_ok($torture->{looks}, '>', 0, 'looks at the destination');
is($torture->{torn}, 0, 'no transaction was seen in parts');
private_memory_ok($torture->{source}, 'g', 'replicator', 64);
private_memory_ok($torture->{dest}, 'g', 'postgres', 64);

$torture->{$_}->stop('fast') for qw(source dest);
done_testing();
