#!/usr/bin/perl
# pg_flo beside PostgreSQL's own logical replication, or beside another build of
# itself: the same work, in one run, between the same two clusters.
#
# What is measured: Bench/Scenarios.pm.  How: Bench/Measure.pm.  What is compared:
# Bench/Systems.pm.  The systems take turns at each scenario, RUNS times, in changing
# order, and while one is measured the others are stopped; medians are shown.
#
# Environment: RUNS (3), SCALE (1; sizes are multiplied by it), SCENARIOS (names; all),
# SYSTEMS ("native pg_flo"; with BASE "base pg_flo"), BASE (a revision of git that is
# built and measured as "base"), NATIVE_OPTIONS (of the subscription), WORKER_OPTIONS
# (json), PERF (1: perf record of each rate, for results.perf.*).  BINDIR,
# BASE_BINDIR and WORK come from run.sh.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Bench::Measure;
use Bench::Report;
use Bench::Scenarios;
use Bench::Servers;
use Bench::Systems;
use POSIX ();
use Time::HiRes qw(time);

$| = 1;
my $began = time();
my $runs = $ENV{RUNS} || 3;
my @names = split ' ', $ENV{SYSTEMS} || ($ENV{BASE} ? 'base pg_flo' : 'native pg_flo');
my @scenarios = scenarios(split ' ', $ENV{SCENARIOS} || '');
die "SYSTEMS has base, but there is no BASE\n" if !$ENV{BASE_BINDIR} && grep { $_ eq 'base' } @names;

sub create_database
{
	my ($side, $db) = @_;
	return 0 if psql($side, 'postgres', "SELECT count(*) FROM pg_database WHERE datname = '$db'");
	psql($side, 'postgres', "CREATE DATABASE $db");
	return 1;
}

# Those that publish the same tables, together
sub turns
{
	my (%of, @turns);
	for my $s (@_)
	{
		my $turn = $of{ $s->{db}{source} } //= do { push @turns, []; $turns[-1] };
		push @$turn, $s;
	}
	return @turns;
}

# What the tables hold from the start comes through the pipe
sub set_up
{
	my (@systems) = @_;

	use_build($systems[0]{build});
	for my $s (@systems)
	{
		for my $side (qw(source dest)) { at($s, $side, $schema) if create_database($side, $s->{db}{$side}); }
		$s->{set_up}->();
		$s->{start}->();
		wait_for("$s->{name} to replicate", $s->{sender});
	}
	at($systems[0], 'source', $source_schema);
	for my $s (@systems)
	{
		be_ready($s);
		at($s, $_, 'VACUUM ANALYZE') for qw(source dest);
		$s->{stop}->();
	}
}

# A database that is copied from and to
sub set_up_copy
{
	my ($s, @copies) = @_;

	use_build($s->{build});
	for my $side (qw(source dest))
	{
		my $db = $s->{copy_db};
		if (create_database($side, $db))
		{
			for my $scenario (@copies)
			{
				my $i = 0;
				for my $rows (@{ $scenario->{rows} })
				{
					my $table = "$scenario->{name}_" . ++$i;
					psql($side, $db, "CREATE TABLE $table $scenario->{columns}");
					psql($side, $db, "INSERT INTO $table SELECT $scenario->{values} FROM generate_series(1, $rows) i")
					  if $side eq 'source';
				}
			}
			psql($side, $db, 'VACUUM ANALYZE');
		}
		psql($side, $db, 'CREATE EXTENSION pg_flo') if $s->{name} ne 'native';
	}
}

start_servers();
my @copies = grep { $_->{kind} eq 'copy' } @scenarios;
my %steady = map { $_ => steady_system($_) } @names;
my %again = map { $_ => again_system($_) } @names;
if (grep { $_->{kind} ne 'again' } @scenarios) { set_up(@$_) for turns(@steady{@names}); }
if (grep { $_->{kind} eq 'again' } @scenarios) { set_up(@$_) for turns(@again{@names}); }
if (@copies) { set_up_copy($steady{$_}, @copies) for @names; }

my $version = psql('source', 'postgres', 'SHOW server_version');
chomp(my $nats_version = `nats-server --version`);
chomp(my $cpus = `nproc`);
my ($load) = split ' ', do { local (@ARGV, $/) = '/proc/loadavg'; <> };
my $head = POSIX::strftime('%Y-%m-%d', gmtime) . ": PostgreSQL $version, $nats_version, $cpus CPUs, "
  . "load $load at the start; native: " . native_options() . '; worker: ' . worker_options()
  . ($ENV{REVISION} ? "; pg_flo $ENV{REVISION}" : '') . ($ENV{BASE} ? "; base: $ENV{BASE}" : '')
  . ($ENV{SCALE} ? "; sizes x $ENV{SCALE}" : '') . "; medians of $runs";
print "# $head\n";

for my $run (1 .. $runs)
{
	my @order = $run % 2 ? @names : reverse @names;

	for my $scenario (@scenarios)
	{
		my $again = $scenario->{kind} eq 'again';
		for my $turn (turns($again ? @again{@order} : @steady{@order}))
		{
			use_build($turn->[0]{build});
			if (!$again) { $turn->[0]{start}->(); be_ready($turn->[0]); }
			my %m = measure($scenario, @$turn);
			$turn->[0]{stop}->() if !$again;
			note($run, $scenario, $_, $m{$_}) for map { $_->{name} } @$turn;
		}
	}
}
write_results($ENV{WORK}, $head, \@scenarios, @names);
printf "# %.0f s\n", time() - $began;
