
=head1 NAME

FloForge - forges a stream, transactions in pieces included

=head1 SYNOPSIS

  forge_after($nats, 'g', $dest);		# the replicator was stopped; the stream has a row of public.t (id, v)
  piece(10, rows(1 .. 5));
  whole(11, rows(6));
  pieces_end(10);

=head1 DESCRIPTION

Messages follow the newest one; what of pieces is open at the start of each stands in
its header.  Functions return sequences, or records.  C<%more> are fields of the header, or
C<squeeze>: what makes compressed records of plain ones.

=cut

package FloForge;

use strict;
use warnings;
use Exporter 'import';
use FloChunk;
use FloTest;
use Test::More;

our @EXPORT = (
	qw(forge_after record row rows sub_of void publish piece next_commit whole pieces_end ids_are),
	qw($end %piece_of $relation $description));

our ($end, $description, $relation);
our %piece_of;		# xid => [number of its first piece, of its pieces]
my ($nats, $subject, $dest);

sub forge_after
{
	my ($broker, $group, $node) = @_;
	($nats, $subject, $dest) = ($broker, "pgflo.$group", $node);
	for (my $seq = $nats->last_seq("pgflo_${group}_stream"); $seq > 0; $seq--)
	{
		my $chunk = FloChunk->parse($nats->message("pgflo_${group}_stream", $seq) // last) or next;
		$end //= $chunk;
		next if $chunk->is_heartbeat;
		($description) = grep { /^....R/s } $chunk->split_records;
		last;
	}
	$relation = substr($description, 5, 4);
}

sub record { return pack('N', length $_[0]) . $_[0]; }
sub row { return record("I${relation}N" . pack('n', 2) . join('', map { 't' . record($_) } @_)); }
sub rows { return join('', $description, map { row($_, "row $_") } @_); }
sub sub_of { return record('s' . pack('N', $_[0])); }
sub void { return record('A' . pack('N N', @_)); }

# A message after the newest one.  What is open at its start stands in its header.
sub publish
{
	my ($flags, $records, %more) = @_;
	my @open = sort { $a <=> $b } map { $_->[0] } values %piece_of;

	$end->{number}++;
	@$end{qw(flags records rest)} = ($flags, $records, 0);
	$end->{from} = $end->{upto};
	$end->{txn_number} = $open[0] // $end->{number};
	$end->{flags} |= 0x1000 if @open;
	my $squeeze = delete $more{squeeze};
	@$end{ keys %more } = values %more;
	@$end{qw(flags records)} = ($end->{flags} | 0x2000, $squeeze->($records)) if $squeeze;
	return $nats->publish($subject, $end->bytes)->{seq};
}

sub piece
{
	my ($xid, $body, %more) = @_;
	my $ordinal = ($piece_of{$xid} ? $piece_of{$xid}[1] : 0) + 1;
	my $seq = publish(0x20, record('S' . pack('N N', $xid, $ordinal)) . $body, %more);

	$piece_of{$xid}[0] //= $end->{number};
	$piece_of{$xid}[1]++;
	return $seq;
}

# LSNs of a commit to come
sub next_commit
{
	my $lsn = $end->{position} + 64;
	return ($lsn, $lsn + 48);
}

sub whole
{
	my ($xid, $body, %more) = @_;
	my ($lsn, $after) = next_commit();

	return publish(0, record('B' . pack('Q> Q> N', $lsn, $end->{commit_time}, $xid)) . $body
		. record('C' . pack('C Q> Q> Q>', 0, $lsn, $after, $end->{commit_time})),
		upto => $after, position => $after, %more);
}

sub pieces_end
{
	my ($xid, %more) = @_;
	my ($lsn, $after) = next_commit();
	my $body = record('c' . pack('N C Q> Q> Q> N', $xid, 0, $lsn, $after, $end->{commit_time},
		$more{pieces} // $piece_of{$xid}[1]));
	delete $more{pieces};
	my $seq = publish(0, ($more{before} // '') . $body, upto => $after, position => $after);
	delete $piece_of{$xid};
	return $seq;
}

# Waits until the rows of t whose id lies between two are these
sub ids_are
{
	my ($from, $to, $ids, $name) = @_;
	my $query = "SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), '') = '$ids' FROM t
		WHERE id BETWEEN $from AND $to";

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(wait_until($dest, 'postgres', $query, $name), $name);
}

1;
