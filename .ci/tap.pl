#!/usr/bin/perl
# Run TAP files and leave the number of passed and failed tests in a file, which
# prove itself tells nobody: tap.pl [--lib=DIR]... [--jobs=N] --counts=FILE TEST...
#
# A file that dies, exits badly or runs fewer tests than planned counts as one
# failed test on top of those it reported.
use strict;
use warnings;
use Getopt::Long;
use TAP::Harness;

my (@lib, $counts);
my $jobs = 1;
GetOptions('lib=s' => \@lib, 'jobs=i' => \$jobs, 'counts=s' => \$counts) or exit 2;

my $harness = TAP::Harness->new({ lib => \@lib, jobs => $jobs, timer => 1, failures => 1 });
my $aggregate = $harness->runtests(@ARGV);
my ($passed, $failed) = (scalar $aggregate->passed, scalar $aggregate->failed);

for my $parser ($aggregate->parsers)
{
	$failed++ if $parser->has_problems && !$parser->failed;
}

open my $out, '>', $counts or die "$counts: $!";
print $out "$passed $failed\n";
close $out or die "$counts: $!";
exit($failed ? 1 : 0);
