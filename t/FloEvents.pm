
=head1 NAME

FloEvents - reads and judges events in pg_flo's TAP tests

=cut

package FloEvents;

use strict;
use warnings;
use Exporter 'import';
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(event_files file_lines file_events are_exactly lines_are_exactly is_replayed create_event_worker);

# Numbers keep their digits only as strings
my $json = JSON::PP->new->utf8->allow_bignum(0);

# Names of the event files of a directory, in order
sub event_files
{
	my ($dir) = @_;
	opendir my $d, $dir or return ();
	my @names = sort grep { /^pg_flo_log_\d{8}T\d{6}\.\d{6}Z\.jsonl$/ } readdir $d;
	return @names;
}

# The lines of a directory's files, or of those from a name on
sub file_lines
{
	my ($dir, $from) = @_;
	my $text = join '', map { slurp_file("$dir/$_") } grep { !defined $from || $_ ge $from } event_files($dir);
	return split /(?<=\n)/, $text;
}

# All events of a directory; dies at a line that is none
sub file_events
{
	my ($dir) = @_;
	return map { /\n\z/ or die "torn line: $_"; $json->decode($_) } file_lines($dir);
}

# One test: no event is there twice, and as many as expected
sub are_exactly
{
	my ($events, $count, $name) = @_;
	my %ids;
	$ids{ $_->{Id} }++ for @$events;
	my @doubled = grep { $ids{$_} > 1 } sort keys %ids;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	diag("doubled: @doubled[0 .. ($#doubled < 5 ? $#doubled : 5)]") if @doubled;
	return is(@$events . ' events, ' . @doubled . ' doubled', "$count events, 0 doubled", $name);
}

# The same for lines, which are looked at but not parsed
sub lines_are_exactly
{
	my ($lines, $count, $name) = @_;
	my @torn = grep { !/^\{"Id":"[^"]+","Type":"[A-Z]+",.*\}\n\z/ } @$lines;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(scalar @torn, 0, "$name: no line is torn") or diag($torn[0]);
	return are_exactly([ map { /^\{"Id":"([^"]+)"/ ? { Id => $1 } : () } @$lines ], $count, $name);
}

# One test: the events, replayed in order, make the rows that the table has now
sub is_replayed
{
	my ($node, $events, $table, $key, $name) = @_;
	my %rows;

	for my $event (grep { "$_->{Schema}.$_->{Table}" eq $table } @$events)
	{
		if ($event->{Type} eq 'TRUNCATE') { %rows = (); next; }
		my $old = $event->{OldTuple} || $event->{NewTuple};
		my $row = delete $rows{ $old->{$key} };
		next if $event->{Type} eq 'DELETE';
		$rows{ $event->{NewTuple}{$key} } = { %{ $row || {} }, %{ $event->{NewTuple} } };
	}
	my $rows = $json->decode(
		Encode::encode_utf8($node->safe_psql('postgres',
			"SELECT coalesce(json_object_agg($key, to_json(t)), '{}') FROM $table t")));

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $canonical = JSON::PP->new->canonical;
	my @wrong = sort grep { $canonical->encode($rows->{$_} || {}) ne $canonical->encode($rows{$_} || {}) } keys %{
		{ %rows, %$rows } };
	for my $key (grep { defined } (@wrong)[ 0 .. 4 ])
	{
		diag("row $key: replayed " . $canonical->encode($rows{$key} || {}) . ', there is '
			  . $canonical->encode($rows->{$key} || {}));
	}
	return is(scalar @wrong, 0, $name || "the events of $table, replayed, are the table");
}

# A worker, started and waited for
sub create_event_worker
{
	my ($node, $group, $sink, $worker, $options, $db) = @_;
	$node->safe_psql($db || 'postgres',
		"SELECT flo.create_worker('$group', '$sink', '$worker', \$json\$" . JSON::PP::encode_json($options)
		  . "\$json\$)");
	FloTest::start_member($node, $group, $worker, $db);
}

use Encode ();

1;
