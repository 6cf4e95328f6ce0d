#!/usr/bin/perl
# Draws what bench.pl measured: one bar per scenario, how many times as fast as
# PostgreSQL's own logical replication, all on one axis; of latencies the inverse.
#
#	bench/chart.pl bench/results/results.csv >doc/performance.svg
#
# The figures are medians of the CSV's runs; its first line says where they come from
# and is shown.  The colours follow the reader's light or dark scheme.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use Bench::Report;
use Bench::Scenarios;

my ($file) = @ARGV or die "usage: chart.pl results.csv\n";
my $head = read_csv($file);
my ($left, $width, $right, $step, $top) = (330, 400, 190, 26, 74);
my @bars = map { bars_of($_) } scenarios();
die "$file has nothing of native and pg_flo\n" if !@bars;
my $most = 1;
for (@bars) { $most = $_->{ratio} if $_->{ratio} > $most; }
$most = int($most) + 1;

sub bars_of
{
	my ($scenario) = @_;
	my @found;
	for my $figure (@{ $scenario->{figures} })
	{
		my ($native, $flo) = map { median_of($scenario->{name}, $_, $figure->{key}) } qw(native pg_flo);
		next if !$native || !$flo;
		push @found, { title => "$scenario->{title}$figure->{label}", native => $native, flo => $flo,
			unit => $figure->{unit}, ratio => $figure->{time} ? $native / $flo : $flo / $native };
	}
	return @found;
}

sub escaped { my ($text) = @_; return $text =~ s/&/&amp;/gr =~ s/</&lt;/gr; }

sub text
{
	my ($x, $y, $text, $class, $anchor) = @_;
	printf qq{<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>\n}, $x, $y, $class, $anchor // 'start',
	  escaped($text);
}

# 1234567 as 1.23 M
sub short
{
	my ($v, $unit) = @_;
	return sprintf('%.2f', $v) if $unit eq 'ms';
	return sprintf($v >= 1e5 ? '%.0f k' : '%.1f k', $v / 1e3) if $v < 1e6;
	return sprintf '%.2f M', $v / 1e6;
}

# At blanks, so that each line fits
sub broken
{
	my ($text, $most) = @_;
	return $text =~ /\G\s*(.{1,$most})(?=\s|$)/g;
}

sub x_of { my ($ratio) = @_; return $left + $width * $ratio / $most; }

my @source = broken($head, 150);
my $bottom = $top + $step * @bars;
my $height = $bottom + 30 + 16 * @source;
my $all = $left + $width + $right;
print <<SVG;
<svg xmlns="http://www.w3.org/2000/svg" width="$all" height="$height" viewBox="0 0 $all $height"
	font-family="sans-serif" font-size="13">
<style>
.quiet { font-size: 11px } .head { font-size: 16px }
.back { fill: #ffffff } .text, .head { fill: #1f2328 } .quiet { fill: #59636e }
.faster { fill: #336791 } .slower { fill: #b35900 } .same { stroke: #1f2328 } .grid { stroke: #d1d9e0 }
\@media (prefers-color-scheme: dark) {
.back { fill: #0d1117 } .text, .head { fill: #f0f6fc } .quiet { fill: #9198a1 }
.faster { fill: #6ba5d7 } .slower { fill: #e09b4f } .same { stroke: #f0f6fc } .grid { stroke: #3d444d }
}
</style>
<rect width="100%" height="100%" class="back"/>
SVG
text(12, 26, "pg_flo beside PostgreSQL's own logical replication", 'head');
text(12, 46, 'times as fast, the same work between the same servers in the same run; dashed: equally fast',
	'quiet');
text($all - 12, $top - 6, "pg_flo : PostgreSQL's own", 'quiet', 'end');
my $every = $most > 12 ? 2 : 1;
for (my $n = 0; $n <= $most; $n += $every)
{
	printf qq{<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" class="grid"/>\n}, (x_of($n)) x 2, $top, $bottom;
	text(x_of($n), $top - 6, $n, 'quiet', 'middle');
}
my $y = $top;
for my $bar (@bars)
{
	text($left - 8, $y + 17, $bar->{title}, 'text', 'end');
	printf qq{<rect x="%d" y="%d" width="%.1f" height="%d" class="%s"/>\n},
	  $left, $y + 4, x_of($bar->{ratio}) - $left, $step - 8, $bar->{ratio} >= 1 ? 'faster' : 'slower';
	text(x_of($bar->{ratio}) + 6, $y + 17, sprintf('%.2f', $bar->{ratio}), 'text');
	text($all - 12, $y + 17, short($bar->{flo}, $bar->{unit}) . ' : ' . short($bar->{native}, $bar->{unit})
		  . " $bar->{unit}", 'quiet', 'end');
	$y += $step;
}
printf qq{<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" class="same" stroke-dasharray="4,3"/>\n},
  (x_of(1)) x 2, $top, $bottom;
$y = $bottom + 20;
for my $line (@source) { text(12, $y, $line, 'quiet'); $y += 16; }
print "</svg>\n";
