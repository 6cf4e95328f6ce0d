#!/usr/bin/perl
# The names that pg_bsd_indent must know to be types: typedefs.pl SERVER_LIST FILE...
#
# Those that our files define, those of the server (the list that pgindent comes
# with), and those of the libraries; of all these only what our files use, and
# none of the server's that is the name of a field here: "text" is one, and
# pg_bsd_indent would take it for a type wherever it stands.
use strict;
use warnings;

# Types of the libraries: nothing else of theirs is called so
my $library = qr/^(?:nats[A-Z][A-Za-z]*|CURL[A-Za-z]*|curl_\w+_t|
	pcre2_(?:code|match_data|match_context|jit_stack|callout_block))$/x;

my ($server_list, @files) = @ARGV;
my (%type, %ours, %used, %field);

open my $list, '<', $server_list or die "$server_list: $!\n";
while (<$list>) { chomp; $type{$_} = 1; }
close $list;

for my $file (@files)
{
	open my $in, '<', $file or die "$file: $!\n";
	my $text = do { local $/; <$in> };
	close $in;

	# words of comments and strings are none of the code's
	$text =~ s{/\*.*?\*/|"(?:[^"\\\n]|\\.)*"}{ }gs;
	$used{$_} = 1 for $text =~ /\b([A-Za-z_]\w*)\b/g;
	$field{$_} = 1 for $text =~ /(?:->|[\w\])]\.|[{,\s]\.)([A-Za-z_]\w*)\b/g;

	# typedef struct X X;  typedef Y X;  typedef enum {...} X;  typedef void (*X) (...);
	my $braces = qr/(\{(?:[^{}]++|(?1))*\})/;
	while ($text =~ /^typedef\b((?:[^;{}]++|$braces)*);/gm)
	{
		my $what = $1;
		$what =~ s/$braces/ /g;
		if ($what =~ /\(\s*\*\s*(\w+)\s*\)/ || $what =~ /(\w+)\s*(?:\[[^\]]*\]\s*)?$/) { $ours{$1} = 1; }
	}
}

print map { "$_\n" } grep { $ours{$_} || /$library/ || ($type{$_} && !$field{$_}) } sort keys %used;
