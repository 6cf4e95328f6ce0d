#!/usr/bin/perl
# How long files and functions may get: sizes.pl FILE...
#
# A function's length is from the line with its opening brace, which pgindent
# puts in column one, to the closing one.  Lines with a string in them may be as
# long as they like: a message that is broken in two cannot be searched for.
use strict;
use warnings;

use constant { MAX_FILE => 900, MAX_FUNCTION => 100, MAX_LINE => 100 };

for my $file (@ARGV)
{
	open my $in, '<', $file or die "$file: $!";
	my ($start, $previous, $name) = (0, '', '');

	while (my $line = <$in>)
	{
		chomp $line;
		my $wide = $line;
		1 while $wide =~ s/^(.*?)\t/$1 . ' ' x (4 - length($1) % 4)/e;
		print "$file:$.: line of " . length($wide) . " columns\n" if length($wide) > MAX_LINE && $line !~ /"/;

		if ($line eq '{') { $start = $.; }
		elsif ($line eq '}' && $start)
		{
			my $length = $. - $start + 1;
			print "$file:$start: $name has $length lines\n" if $length > MAX_FUNCTION;
			$start = 0;
		}
		elsif (!$start && $line =~ /^(\w+)\(/) { $name = $1; }
	}
	print "$file: $. lines\n" if $. > MAX_FILE;
	close $in;
}
