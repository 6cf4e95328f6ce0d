
=head1 NAME

FloPieces - reads a group's stream by the rules, transactions that travel in pieces included

=head1 SYNOPSIS

  my $reader = FloPieces->new($nats, 'g');
  $reader->read;                        # what has come since
  $reader->{transactions}               # whole ones, in the order of their commits
  $reader->{held}{$xid}{pieces}         # of one that is still running
  $reader->{broken}                     # rules that do not hold, in words

=head1 DESCRIPTION

A second reader, by doc/protocol.md and src/wire/README.md alone.  A row is a string: the
table, the letter of the operation and the first column, an integer in binary form.

=cut

package FloPieces;

use strict;
use warnings;
use FloChunk;
use FloNatsClient;

use constant { INSIDE => 1, ENDS_INSIDE => 2, FRAGMENT => 4, ENDS_FRAGMENT => 8, HEARTBEAT => 0x10, PIECE => 0x20,
	OVER_PIECES => 0x1000, WINDOW => 4 };

sub new
{
	my ($class, $nats, $group) = @_;
	return bless {
		nats => $nats, stream => "pgflo_${group}_stream", next => 1, epochs => [], epoch => 0, transactions => [],
		held => {}, broken => [], table => {}, ended => {}, withdrawn => {}, pieces => 0, seen => {},
	}, $class;
}

sub _broken { my ($self, $what) = @_; push @{ $self->{broken} }, "message " . ($self->{next} - 1) . ": $what"; }

# What has come since; at the end the last row that was committed
sub read
{
	my ($self) = @_;
	my $last = $self->{nats}->last_seq($self->{stream});

	return $self if $last < $self->{next};
	for my $message (FloNatsClient->new($self->{nats}->port)->stream($self->{stream}, undef, $self->{next}))
	{
		$self->{next} = $message->{seq} + 1;
		my $chunk = FloChunk->parse($message->{data}) or next;
		my $void = grep { $_ > $chunk->{epoch} } @{ $self->{epochs} };

		push @{ $self->{epochs} }, $chunk->{epoch};
		shift @{ $self->{epochs} } if @{ $self->{epochs} } > WINDOW;
		$self->_chunk($chunk) if !$void;
	}
	return $self;
}

sub _chunk
{
	my ($self, $chunk) = @_;

	if ($chunk->{epoch} > $self->{epoch})
	{
		$self->{epoch} = $chunk->{epoch};
		$self->{$_} = {} for qw(held withdrawn);
		$self->{inside} = $self->{number} = undef;
	}
	$self->_broken('from is not the upto before') if defined $self->{upto} && $chunk->{from} != $self->{upto};
	$self->_broken('a number is missing') if defined $self->{number} && $chunk->{number} != $self->{number} + 1;
	$self->_open($chunk);
	$self->{fragment} = '' if !($chunk->{flags} & FRAGMENT);
	$chunk->{flags} & PIECE ? $self->_piece($chunk) : $self->_ordinary($chunk);
	@$self{qw(upto number position)} = @$chunk{qw(upto number position)};
}

# Rule 43
sub _open
{
	my ($self, $chunk) = @_;
	my @first = sort { $a <=> $b } map { $_->{first} } values %{ $self->{held} };
	my @open = @first;

	push @open, $self->{inside}{number} if $self->{inside};
	my ($oldest) = sort { $a <=> $b } @open, $chunk->{number};
	$self->_broken("txn_number is $chunk->{txn_number} instead of $oldest") if $chunk->{txn_number} != $oldest;
	$self->_broken('says wrongly whether pieces lie before it') if !@first != !($chunk->{flags} & OVER_PIECES);
	$self->_broken('says wrongly whether it starts inside') if !$self->{inside} != !($chunk->{flags} & INSIDE);
}

# Rule 41
sub _piece
{
	my ($self, $chunk) = @_;
	my ($len, $letter, $xid, $ordinal) = unpack 'N a N N', $chunk->{records};
	my $x = $self->{held}{$xid};

	$self->{pieces}++;
	$self->_broken('a piece does not begin with its key') if $len != 9 || $letter ne 'S';
	$self->_broken('a piece within a transaction') if $self->{inside} || $chunk->{flags} & (INSIDE | ENDS_INSIDE);
	$self->_broken('a piece that moves something') if $chunk->{upto} != $chunk->{from}
	  || defined $self->{position} && $chunk->{position} != $self->{position};
	$self->_broken('a piece of one that was withdrawn') if $self->{withdrawn}{$xid};
	$self->_broken('a piece out of its turn') if $ordinal != ($x ? $x->{pieces} + 1 : 1);
	$x ||= $self->{held}{$xid} = { xid => $xid, first => $chunk->{number}, rows => [], void => {} };
	$x->{pieces}++;

	# that of a record goes by where it began
	my $before = $x->{sub};
	$x->{sub} = $xid;
	$self->{seen} = {};
	substr($chunk->{records}, 0, 13) = '';
	$self->_records($chunk, sub {
		my ($record, $split) = @_;

		if ($record =~ /^s/) { $x->{sub} = unpack 'x N', $record; }
		elsif ($record =~ /^[ABCcS]/) { $self->_broken('no record of a piece: ' . substr($record, 0, 1)); }
		else { push @{ $x->{rows} }, [ $split ? $before : $x->{sub}, $_ ] for $self->_row($record); }
	});
}

sub _ordinary
{
	my ($self, $chunk) = @_;

	$self->{seen} = {};
	$self->{end} = $chunk->{from};
	return if $chunk->{flags} & HEARTBEAT || $chunk->{flags} & 0xE00;
	$self->_records($chunk, sub { $self->_record($chunk, $_[0]) });
	$self->_broken('upto is not its last commit') if $chunk->{upto} != $self->{end};
	$self->_broken('says wrongly whether it ends inside') if !$self->{inside} != !($chunk->{flags} & ENDS_INSIDE);
}

sub _record
{
	my ($self, $chunk, $record) = @_;
	my $letter = substr $record, 0, 1;

	if ($letter eq 'B')
	{
		$self->{inside} = { xid => unpack('x17 N', $record), number => $chunk->{number}, rows => [] };
	}
	elsif ($letter eq 'C')
	{
		$self->_commit(delete $self->{inside}, unpack 'x2 Q> Q>', $record);
	}
	elsif ($letter eq 'A')
	{
		my ($xid, $sub) = unpack 'x N N', $record;
		my $x = $self->{held}{$xid} or return $self->_broken('void, and there is nothing of it');

		$self->{voided_inside}++ if $self->{inside};
		if ($sub != $xid) { $x->{void}{$sub} = 1; return; }
		delete $self->{held}{$xid};
		$self->{withdrawn}{$xid} = 1;
	}
	elsif ($letter eq 'c')
	{
		my ($xid, $flags, $lsn, $end, $time, $pieces) = unpack 'x N C Q> Q> q> N', $record;
		my $x = delete $self->{held}{$xid} or return $self->_broken('a commit without pieces');

		$self->_broken('a commit within a transaction') if $self->{inside};
		$self->_broken("a commit of $pieces pieces") if $pieces != $x->{pieces} || $flags != 0;
		my @rows = map { $_->[1] } grep { !$x->{void}{ $_->[0] } } @{ $x->{rows} };
		$self->_commit({ xid => $xid, early => 1, rows => \@rows }, $lsn, $end);
		$self->{seen} = {};
	}
	else { push @{ $self->{inside}{rows} }, $self->_row($record); }
}

sub _commit
{
	my ($self, $txn, $lsn, $end) = @_;
	$self->_broken('a commit out of its order') if $end <= $self->{end};
	@$txn{qw(lsn end seq)} = ($lsn, $end, $self->{next} - 1);
	$self->{end} = $end;
	push @{ $self->{transactions} }, $txn if !$self->{ended}{$end}++;
}

# Rule 42: a table is described where its rows are
sub _row
{
	my ($self, $record) = @_;
	my $letter = substr $record, 0, 1;

	if ($letter eq 'R')
	{
		my ($id, undef, $name) = unpack 'x N Z* Z*', $record;
		$self->{table}{$id} = $name;
		$self->{seen}{$id} = 1;
		return;
	}
	return if $letter eq 'Y';
	return $letter if $letter !~ /[IUD]/;
	my ($id, $kind, $natts, $form, $len) = unpack 'x N a n a N', $record;
	$self->_broken("a row of table $id without its description") if !$self->{seen}{$id};
	return sprintf '%s %s %d', $self->{table}{$id} // $id, $letter, unpack('l', pack 'L', unpack 'x13 N', $record);
}

sub _records
{
	my ($self, $chunk, $take) = @_;
	my $in = $chunk->{records};

	if ($chunk->{flags} & FRAGMENT)
	{
		my $rest = substr $in, 0, $chunk->{rest}, '';
		$self->{fragment} .= $rest;
		if (length $rest == $chunk->{rest})
		{
			$self->{seen} = $self->{fragment_seen};
			$take->($self->{fragment}, 1);
			$self->{seen} = {};
		}
	}
	my $at = 0;
	while ($at < length $in)
	{
		my $len = unpack 'N', substr $in, $at, 4;
		my $record = substr $in, $at + 4, $len;

		$at += 4 + $len;
		if (length $record < $len)
		{
			$self->{fragment} = $record;
			$self->{fragment_seen} = { %{ $self->{seen} } };
			last;
		}
		$take->($record);
	}
}

1;
