#!/usr/bin/perl
# Documents: each link leads to a file that is there and to a heading of it, and
# each page is reached from doc/README.md.  Prints what is not so.

use strict;
use warnings;
use File::Basename qw(dirname);

my @pages = split /\n/, `find *.md doc contrib src t suite fuzz bench -name '*.md' | sort`;
my @kept = split /\n/, `find doc -name '*.md' -o -name '*.conf' -o -name '*.svg' -o -name '*.csv' | sort`;
my (%headings, %links);

# The name that GitHub gives a heading
sub anchor
{
	my ($heading) = @_;

	$heading =~ s/\[([^]]*)\]\([^)]*\)/$1/g;
	$heading = lc $heading;
	$heading =~ s/[^\w\- ]//g;
	$heading =~ s/ /-/g;
	return $heading;
}

sub resolve
{
	my ($page, $link) = @_;
	my @path;

	for my $step (split m{/}, dirname($page) . "/$link")
	{
		if ($step eq '..') { pop @path }
		elsif ($step ne '.') { push @path, $step }
	}
	return join '/', @path;
}

for my $page (@pages)
{
	open my $file, '<:encoding(UTF-8)', $page or die "$page: $!\n";
	my $text = do { local $/; <$file> };
	my %seen;

	$text =~ s/^( *)```.*?^ *```$//msg;
	while ($text =~ /^#+ +(.*?)\s*$/mg)
	{
		my $name = anchor($1);
		$headings{$page}{ $seen{$name}++ ? "$name-" . ($seen{$name} - 1) : $name } = 1;
	}
	$text =~ s/^    .*$//mg;
	$text =~ s/`[^`\n]*`/`/g;
	push @{ $links{$page} }, $1 while $text =~ /\]\(([^)\s]+)\)/g;
}

my %reached = ('doc/README.md' => 1);
my @next = keys %reached;

for my $page (@pages)
{
	for my $link (@{ $links{$page} // [] })
	{
		next if $link =~ /^\w+:/;
		my ($file, $heading) = split /#/, $link, 2;
		my $target = $file eq '' ? $page : resolve($page, $file);

		if (!-e $target) { print "$page: $link: no such file\n" }
		elsif (defined $heading && !$headings{$target}{$heading}) { print "$page: $link: no such heading\n" }
	}
}
while (defined(my $page = shift @next))
{
	for my $link (@{ $links{$page} // [] })
	{
		my $target = resolve($page, $link =~ s/#.*//r);
		push @next, $target if !$reached{$target}++ && $links{$target};
	}
}
print "$_: nothing leads there from doc/README.md\n" for grep { !$reached{$_} } @kept;
