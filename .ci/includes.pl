#!/usr/bin/perl
# Which room may see which: includes.pl FILE...
#
# pg_flo.c > worker > source, dest > sink, bus > conf > shape > wire > monitor > core
#
# An include of ours names the room, so that a wrong arrow reads wrong; it
# points to a lower step or stays in the room.  Rooms on one step do not see
# each other.
use strict;
use warnings;

my %step = (
	core => 1, monitor => 2, wire => 3, shape => 4, conf => 5,
	sink => 6, bus => 6, source => 7, dest => 7, worker => 8);
my $top = 9;

my %ours;
for my $file (@ARGV) { $ours{$1} = $file if $file =~ m{([^/]+\.h)$}; }

for my $file (@ARGV)
{
	my ($room) = $file =~ m{^src/(?:([a-z]+)/)?[^/]+$} or do { print "$file: not in a room\n"; next; };
	my $mine = defined $room ? $step{$room} : $top;
	my $first;

	if (!defined $mine) { print "$file: $room is not a room that .ci/includes.pl knows\n"; next; }

	open my $in, '<', $file or die "$file: $!";
	while (<$in>)
	{
		next unless /^\s*#\s*include\s+(["<])([^">]+)[">]/;
		my ($kind, $path) = ($1, $2);
		my ($theirs, $base) = $path =~ m{^(?:(.*)/)?([^/]+)$};

		$first //= $path;
		next if $kind eq '<';

		if (defined $theirs && exists $step{$theirs} && -f "src/$path")
		{
			next if defined $room && $theirs eq $room;
			print "$file:$.: $path is not below " . ($room // 'the top') . "\n" if $step{$theirs} >= $mine;
		}
		elsif (exists $ours{$base} && !defined $theirs)
		{
			print "$file:$.: write the room: \"$base\"\n";
		}
	}
	close $in;
	print "$file: the first include must be postgres.h\n"
	  if $file =~ /\.c$/ && ($first // '') ne 'postgres.h';
}
