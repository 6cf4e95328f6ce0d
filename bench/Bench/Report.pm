# What was measured, as tables of medians and as a CSV of all runs, from which
# chart.pl draws.
package Bench::Report;
use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(note write_results read_csv median_of);

my @columns = qw(rate lag p50 p99 seconds cpu sender_cpu applier_cpu nats_cpu sender_mb applier_mb mb_rate);
my %result;    # scenario, system => list of measurements

sub median
{
	my @v = sort { $a <=> $b } grep { defined } @_;
	return @v ? ($v[$#v / 2] + $v[@v / 2]) / 2 : undef;
}

sub median_of
{
	my ($name, $system, $what) = @_;
	return median(map { $_->{$what} } @{ $result{$name}{$system} || [] });
}

sub show { my ($format, $v) = @_; return defined $v ? sprintf($format, $v) : '-'; }
sub ratio { my ($of, $to) = @_; return show('%.2f', $of && $to ? $of / $to : undef); }

sub note
{
	my ($run, $scenario, $system, $m) = @_;

	push @{ $result{ $scenario->{name} }{$system} }, $m;
	my @shown = map { sprintf '%9.*f %s%s', $_->{time} ? 2 : 0, $m->{ $_->{key} }, $_->{unit}, $_->{label} }
	  @{ $scenario->{figures} };
	push @shown, sprintf('%6.2f s', $m->{seconds}) if defined $m->{seconds};
	push @shown, sprintf '%.2f CPU s/M (sender %.2f, applier %.2f, nats %.2f)',
	  @$m{qw(cpu sender_cpu applier_cpu nats_cpu)};
	push @shown, sprintf('%.0f/%.0f MB', @$m{qw(sender_mb applier_mb)}) if defined $m->{sender_mb};
	push @shown, sprintf('%.0f MB/s', $m->{mb_rate}) if defined $m->{mb_rate};
	printf "# run %d, %-6s %-12s %s\n", $run, $system, $scenario->{name}, join(', ', @shown);
}

sub memory
{
	my ($name, $system) = @_;
	return join ' / ', map { show('%.0f', median_of($name, $system, $_)) } qw(sender_mb applier_mb);
}

# One system beside another, the one that is judged last
sub table
{
	my ($scenarios, $to, $of) = @_;
	my $goals = $to eq 'native';
	my $what = $of eq 'pg_flo' && $to eq 'base' ? 'this build' : $of;
	my @lines = "| scenario | unit | $to | $what | ratio |" . ($goals ? ' floor | goal |' : '')
	  . " CPU s/M $to | CPU s/M $what | ratio | MB $to (sender/applier) | MB $what |";
	(my $rule = $lines[0]) =~ s/[^|]+/ ---: /g;
	push @lines, $rule =~ s/---: \| ---:/--- | ---/r;

	for my $scenario (@$scenarios)
	{
		my $name = $scenario->{name};
		my @cpu = map { median_of($name, $_, 'cpu') } $to, $of;
		for my $figure (@{ $scenario->{figures} })
		{
			my @v = map { median_of($name, $_, $figure->{key}) } $to, $of;
			push @lines, '| ' . join(' | ', "$scenario->{title}$figure->{label}", $figure->{unit},
				(map { show($figure->{time} ? '%.2f' : '%.0f', $_) } @v), ratio(@v[ 1, 0 ]),
				$goals ? map { $_ // '-' } @$figure{qw(floor goal)} : (),
				(map { show('%.2f', $_) } @cpu), ratio(@cpu[ 1, 0 ]),
				map { memory($name, $_) } $to, $of) . ' |';
		}
	}
	return join("\n", @lines) . "\n";
}

# Of a rate more is better, of a time less
sub write_csv
{
	my ($file, $head, $scenarios, @systems) = @_;

	open my $csv, '>', $file or die "$file: $!\n";
	print $csv "# $head\n", join(',', 'scenario', 'system', 'run', @columns), "\n";
	for my $name (map { $_->{name} } @$scenarios)
	{
		for my $system (@systems)
		{
			my $run = 0;
			for my $m (@{ $result{$name}{$system} || [] })
			{
				print $csv join(',', $name, $system, ++$run,
					map { defined $m->{$_} ? sprintf('%.3f', $m->{$_}) : '' } @columns), "\n";
			}
		}
	}
	close $csv;
}

# Measurements that were written so, as if they had been made just now; returns the head
sub read_csv
{
	my ($file) = @_;

	open my $csv, '<', $file or die "$file: $!\n";
	chomp(my ($head, $names, @lines) = <$csv>);
	my @names = split /,/, $names;
	for my $line (@lines)
	{
		my %m;
		@m{@names} = map { $_ eq '' ? undef : $_ } split /,/, $line, -1;
		push @{ $result{ $m{scenario} }{ $m{system} } }, \%m;
	}
	return $head =~ s/^# //r;
}

# results.md, results.csv; prints the tables
sub write_results
{
	my ($dir, $head, $scenarios, @systems) = @_;
	my %measured = map { $_ => 1 } @systems;
	my $text = "$head\n";

	$text .= "\n" . table($scenarios, 'native', 'pg_flo') if $measured{native} || !$measured{base};
	$text .= "\n" . table($scenarios, 'base', 'pg_flo') if $measured{base};
	write_csv("$dir/results.csv", $head, $scenarios, @systems);
	open my $out, '>', "$dir/results.md" or die "$dir/results.md: $!\n";
	print $out $text;
	close $out;
	print "\n$text";
}

1;
