#!/usr/bin/perl
# Tests wait for states: sleeps.pl FILE... prints every sleep that does not say
# why it is one, in its line or in the two above, as "# sleeps: why" in Perl and
# "-- sleeps: why" in SQL.  Between two looks at a state, of a statement that is
# to be slow, or for a random moment is a reason; that something should have
# happened by then is none.
use strict;
use warnings;

for my $file (@ARGV)
{
	open my $in, '<', $file or die "$file: $!";
	my @above = ('', '');

	while (my $line = <$in>)
	{
		my $code = $line =~ s/^\s*(?:#|--).*//r;
		my $sleeps = $code =~ /\b(?:u|nano|pg_)?sleep(?:_for|_until)?\b/ && $code !~ /^use /
		  || $code =~ /\bselect\W+undef\b/;

		# a function that is named and not waited in
		$sleeps = 0 if $code =~ /\bpg_sleep\(0\)/;
		print "$file:$.: sleeps, and does not say why\n" if $sleeps && "@above$line" !~ /(?:#|--) sleeps: \S/;
		@above = ($above[1], $line);
	}
	close $in;
}
