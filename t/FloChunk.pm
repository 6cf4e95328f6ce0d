
=head1 NAME

FloChunk - reads and forges pg_flo's messages, as src/wire/README.md describes them

=head1 SYNOPSIS

  my $chunk = FloChunk->parse($bytes);
  $chunk->{epoch}--;
  $nats->publish('pgflo.g', $chunk->bytes);

Records that came compressed are plain in the object, and are so in its C<bytes>, too;
C<squeezed> tells.

=cut

package FloChunk;

use strict;
use warnings;

my @fields = qw(magic version flags system timeline generation generation_start encoding epoch number txn_number
  from upto position commit_time anchor_lsn anchor_crc rest zero crc);
my $layout = 'a4 n n Q> N a16 Q> n Q> Q> Q> Q> Q> Q> Q> Q> N N a2 N';
my $size = 124;
my @table;

# CRC-32C of all bytes but the checksum itself
sub crc
{
	my ($bytes) = @_;
	my $crc = 0xFFFFFFFF;

	if (!@table)
	{
		for my $i (0 .. 255)
		{
			my $c = $i;
			$c = $c & 1 ? ($c >> 1) ^ 0x82F63B78 : $c >> 1 for 1 .. 8;
			push @table, $c;
		}
	}
	$crc = ($crc >> 8) ^ $table[ ($crc ^ $_) & 0xFF ] for unpack 'C*', $bytes;
	return $crc ^ 0xFFFFFFFF;
}

# A block of LZ4
sub expand
{
	my ($in) = @_;
	my ($at, $out) = (0, '');
	my $length = sub {
		my ($n) = @_;
		my $more = $n == 15 ? 255 : 0;
		while ($more == 255)
		{
			$more = ord substr($in, $at++, 1);
			$n += $more;
		}
		return $n;
	};
	while ($at < length $in)
	{
		my $token = ord substr($in, $at++, 1);
		my $literals = $length->($token >> 4);
		$out .= substr($in, $at, $literals);
		$at += $literals;
		last if $at >= length $in;
		my $back = unpack 'v', substr($in, $at, 2);
		$at += 2;
		my $match = $length->($token & 15) + 4;
		my $from = length($out) - $back;
		if ($back >= $match) { $out .= substr($out, $from, $match); }
		else
		{
			my $unit = substr($out, $from, $back);
			$out .= substr($unit x ($match / $back + 1), 0, $match);
		}
	}
	return $out;
}

sub parse
{
	my ($class, $bytes) = @_;
	return if length $bytes < $size || substr($bytes, 0, 4) ne 'PFLO';
	my %chunk;
	@chunk{@fields} = unpack $layout, substr($bytes, 0, $size);
	$chunk{records} = substr($bytes, $size);
	$chunk{squeezed} = ($chunk{flags} & 0x2000) != 0;
	if ($chunk{squeezed})
	{
		$chunk{flags} &= ~0x2000;
		$chunk{records} = expand(substr($chunk{records}, 4));
	}
	return bless \%chunk, $class;
}

sub bytes
{
	my ($self) = @_;
	my $head = substr(pack($layout, @$self{@fields}), 0, $size - 4);
	return $head . pack('N', crc($head . $self->{records})) . $self->{records};
}

sub is_heartbeat { return $_[0]->{flags} & 0x10; }

# Each with its length
sub split_records
{
	my ($in, @out) = ($_[0]->{records});
	while (length $in)
	{
		my $len = 4 + unpack 'N', $in;
		push @out, substr($in, 0, $len);
		$in = length $in > $len ? substr($in, $len) : '';
	}
	return @out;
}

# Give the only transaction of the chunk another place in the WAL
sub move_to
{
	my ($self, $from, $lsn) = @_;
	my $out = '';

	for my $raw ($self->split_records)
	{
		my $record = substr($raw, 4);
		substr($record, 1, 8) = pack('Q>', $lsn) if $record =~ /^B/;
		substr($record, 2, 16) = pack('Q> Q>', $lsn, $lsn + 8) if $record =~ /^C/;
		$out .= pack('N', length $record) . $record;
	}
	@$self{qw(records from upto position)} = ($out, $from, $lsn + 8, $lsn + 8);
	return $self;
}

1;
