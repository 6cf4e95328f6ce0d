#!/usr/bin/perl
# Which files need one another: circles.pl OBJECT...
#
# An object needs those that define what it leaves undefined.  Files that need
# one another, directly or over others, cannot be understood one by one: each
# such circle is printed with the symbols that close it.
use strict;
use warnings;

my (%defined_in, %undefined);
for my $object (@ARGV)
{
	open my $nm, '-|', 'nm', '-g', '--portability', $object or die "nm: $!";
	while (<$nm>)
	{
		my ($symbol, $kind) = split;
		if ($kind eq 'U') { push @{ $undefined{$object} }, $symbol; }
		else { $defined_in{$symbol} = $object; }
	}
	close $nm or die "nm $object failed\n";
}

my %needs;
for my $object (@ARGV)
{
	for my $symbol (@{ $undefined{$object} // [] })
	{
		my $other = $defined_in{$symbol};
		push @{ $needs{$object}{$other} }, $symbol if defined $other && $other ne $object;
	}
}

# Whom an object reaches
sub reached
{
	my ($from) = @_;
	my %seen;
	my @todo = ($from);

	while (defined(my $object = pop @todo))
	{
		push @todo, grep { !$seen{$_}++ } keys %{ $needs{$object} // {} };
	}
	return \%seen;
}

my %reached = map { $_ => reached($_) } @ARGV;
for my $object (sort @ARGV)
{
	next unless $reached{$object}{$object};
	for my $other (sort keys %{ $needs{$object} })
	{
		next unless $reached{$other}{$object};
		my @symbols = sort @{ $needs{$object}{$other} };
		my @files = map { s{^.*/}{}r =~ s/\.o$//r =~ s{^src_([a-z]+)_}{$1/}r } $object, $other;
		print "$files[0] needs $files[1], which needs it: @symbols[0 .. ($#symbols > 3 ? 3 : $#symbols)]\n";
	}
}
