#!/usr/bin/perl
# Which room may see which: includes.pl FILE...
#
# pg_flo.c > api > process > dest > events > sink, source > conf > shape, bus > wire, monitor > core
#
# An include of ours names the room, so that a wrong arrow reads wrong; it
# points to a lower step or stays in the room.  Rooms on one step do not see
# each other.  Those at the head of a file stand in one order: postgres.h, then
# the system's and the libraries', then all others, each part sorted.
use strict;
use warnings;

my %step = (
	core => 1, monitor => 2, wire => 2, shape => 3, bus => 3, conf => 4,
	sink => 5, source => 5, events => 6, dest => 7, process => 8, api => 9);
my $top = 10;

my %ours;
for my $file (@ARGV) { $ours{$1} = $file if $file =~ m{([^/]+\.h)$}; }

for my $file (@ARGV)
{
	my ($room) = $file =~ m{^src/(?:([a-z]+)/)?[^/]+$} or do { print "$file: not in a room\n"; next; };
	my $mine = defined $room ? $step{$room} : $top;
	my ($first, @head, $in_head);

	if (!defined $mine) { print "$file: $room is not a room that .ci/includes.pl knows\n"; next; }

	open my $in, '<', $file or die "$file: $!";
	while (<$in>)
	{
		if (/^#include\s+([<"].*[>"])$/) { $in_head //= 1; push @head, $1 if $in_head; }
		elsif (/\S/ && defined $in_head) { $in_head = 0; }
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

	# by what it begins with, " is before <
	shift @head if @head && $head[0] eq '"postgres.h"';
	my @sorted = ((sort grep { /^</ } @head), (sort grep { /^"/ } @head));
	print "$file: the includes are not in order: <...> first, then \"...\", each sorted\n" if "@head" ne "@sorted";
	print "$file: the first include must be postgres.h\n"
	  if $file =~ /\.c$/ && ($first // '') ne 'postgres.h';
}
