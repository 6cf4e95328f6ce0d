#!/usr/bin/perl
# Run TAP files and leave the number of passed and failed tests in a file, which
# prove itself tells nobody: tap.pl [--lib=DIR]... [--jobs=N] [--again] --counts=FILE TEST...
#
# A file that dies, exits badly or runs fewer tests than planned counts as one
# failed test on top of those it reported.  With --again files that failed run once
# more, alone, and that counts; those that pass then are named as unsteady.
#
# No file holds the others up: FloTest says where one is after FLO_FILE_SECONDS (0: let
# it) and ends it, this ends what has not ended a minute later, and what a file leaves
# running does not have the pipe that this reads from.
use strict;
use warnings;
use File::Basename;
use Getopt::Long;
use TAP::Harness;

my (@lib, $counts, $again);
my $jobs = 1;
GetOptions('lib=s' => \@lib, 'jobs=i' => \$jobs, 'again' => \$again, 'counts=s' => \$counts) or exit 2;

my $seconds = $ENV{FLO_FILE_SECONDS} //= 600;
my $limit = $seconds && $seconds + 60;
my ($passed, $failed) = (0, 0);
my @unsteady;
my @bad = run($jobs, $again, @ARGV);

if ($again && @bad)
{
	print "# once more, alone: @bad\n";

	# in other folders: those of the first time are looked at
	mkdir($ENV{TESTDIR} .= '/again') or die "$ENV{TESTDIR}: $!";
	$ENV{TESTDATADIR} = "$ENV{TESTDIR}/tmp_check";
	$ENV{TESTLOGDIR} = "$ENV{TESTDATADIR}/log";
	my @still = run(1, 0, @bad);
	my %still = map { $_ => 1 } @still;
	@unsteady = grep { !$still{$_} } @bad;
	@bad = @still;
}
print "# unsteady, to be looked at: $_\n" for @unsteady;

open my $out, '>', $counts or die "$counts: $!";
print $out "$passed $failed\n";
close $out or die "$counts: $!";
exit(@bad ? 1 : 0);

# Those that failed; what passed and failed is added up, of those that will run again nothing
sub run
{
	my ($at_a_time, $will_run_again, @files) = @_;
	my $harness = TAP::Harness->new({ exec => \&command, jobs => $at_a_time, timer => 1, failures => 1 });
	my $aggregate = $harness->runtests(@files);
	my @failed;

	for my $file ($aggregate->descriptions)
	{
		my ($parser) = $aggregate->parsers($file);
		my $is_bad = $parser->failed || $parser->has_problems;

		push @failed, $file if $is_bad;
		next if $is_bad && $will_run_again;
		$passed += $parser->passed;
		$failed += $parser->failed || ($is_bad ? 1 : 0);
	}
	return @failed;
}

# What runs a file
sub command
{
	my (undef, $file) = @_;
	my $output = "$ENV{TESTDIR}/" . basename($file);

	my $script = 'out=$0; "$@" >"$out.out" 2>"$out.err" </dev/null; status=$?;'
	  . ' cat "$out.err" >&2; cat "$out.out"; exit $status';

	return [
		'sh', '-c', $script, $output, 'timeout', '--kill-after=10', $limit, $^X, (map { "-I$_" } @lib), $file ];
}
