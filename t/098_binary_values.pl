# Values in binary that no source writes: of a wrong length, out of range, in a wrong
# encoding, too long for the column.  Destinations read most types without a call of their
# receive functions, and refuse what those would.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloChunk;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.restart_interval = '100ms'\n";
my ($source, $dest) = map { flo_node($_, $nats, conf => $conf) } qw(source dest);

# Type of the column, a value of it, and what is sent instead, with what is said of that
my $format = qr/incorrect binary data format/;
my $bytes = qr/invalid byte sequence for encoding "UTF8"/;
my @cases = (
	[ 'int', '7', "\0\0\0", $format ],
	[ 'bool', 'true', '', $format ],
	[ 'float8', '7', "\0" x 9, $format ],
	[ 'date', q{'2024-01-01'}, "\x7f\xff\xff\xf0", qr/date out of range/ ],
	[ 'time', q{'12:00'}, pack('Q>', 86_400_000_001), qr/time out of range/ ],
	[ 'timestamptz', q{'2024-01-01'}, "\x7f\xff\xff\xff\xff\xff\xff\xf0", qr/timestamp out of range/ ],
	[ 'uuid', 'gen_random_uuid()', 'x' x 15, $format ],
	[ 'text', q{'x'}, "x\xff", $bytes ],
	[ 'text', q{'x'}, "x\0x", $bytes ],
	[ 'varchar(3)', q{'x'}, 'abcd', qr/value too long for type character varying\(3\)/ ],
	[ 'char(3)', q{'x'}, 'abcd', qr/value too long for type character\(3\)/ ]);
# ... and what is taken
my @taken = ([ 'bool', 'false', "\2", 'true' ], [ 'date', 'now()', "\x7f\xff\xff\xff", 'infinity' ],
	[ 'timestamp', 'now()', "\x80" . "\0" x 7, '-infinity' ], [ 'varchar(3)', q{'x'}, 'ab  ', 'ab ' ],
	[ 'char(3)', q{'x'}, "\xc3\xa9", "\xc3\xa9  " ], [ 'varchar(3)', q{'x'}, "\xc3\xa9" x 3, "\xc3\xa9" x 3 ]);

$_->safe_psql('postgres', join(';', map { "CREATE TABLE t$_ (id int PRIMARY KEY, v " . (@cases, @taken)[$_]->[0] . ')' }
		0 .. @cases + @taken - 1)) for $source, $dest;
create_group($source, $dest, 'g');
my $stream = $source->safe_psql('postgres', q{SELECT stream FROM flo.stream_status('g')});

# Rows of tables, given as [ number, value, what is sent instead ], as the source sends them but
# with another last value; the message's sequence
sub forge
{
	my @rows = @_;

	$source->safe_psql('postgres', join(';', 'BEGIN', map({ "INSERT INTO t$_->[0] VALUES (1, $_->[1])" } @rows),
		'COMMIT'));
	wait_caught_up($source, $dest, 'g');
	my ($chunk, $end);
	for (my $seq = $nats->last_seq($stream); !$chunk; $seq--)
	{
		my $c = FloChunk->parse($nats->message($stream, $seq) // next) or next;
		$end ||= $c;
		$chunk = $c if !$c->is_heartbeat;
	}
	my ($in, $out) = ($chunk->{records}, '');
	while (length $in)
	{
		my $record = unpack 'N/a', $in;
		$in = substr $in, 4 + length $record;
		if ($record =~ /^I/)
		{
			# operation, relation, kind of row, number of columns; id; value
			$record = substr($record, 0, 8 + 5) . pack('N', 2) . 'b' . pack('N/a', (shift @rows)->[2]);
		}
		$out .= pack 'N/a', $record;
	}
	$chunk->{records} = $out;
	$chunk->move_to($end->{upto}, $end->{position} + 16);
	@$chunk{qw(epoch number)} = ($end->{epoch}, $end->{number} + 1);
	$chunk->{txn_number} = $chunk->{number};
	return $nats->publish('pgflo.g', $chunk->bytes)->{seq};
}

for my $n (0 .. $#cases)
{
	my ($type, $value, $sent, $error) = @{ $cases[$n] };
	my $seq = forge([ $n, $value, $sent ]);

	ok(wait_until($dest, 'postgres', "SELECT coalesce(last_error, '') ~ 't$n' FROM flo.status", 'the error'),
		"$type: refused");
	like(status_of($dest, 'g', 'postgres', 'last_error'), $error, "$type: as its function does");
	ok($nats->api("STREAM.MSG.DELETE.$stream", { seq => $seq })->{success}, 'the message is deleted');
	$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
}
forge(map { [ $_ + @cases, @{ $taken[$_] }[1, 2] ] } 0 .. $#taken);
for my $i (0 .. $#taken)
{
	my ($type, undef, undef, $is) = @{ $taken[$i] };
	my $t = 't' . ($i + @cases);
	my $shown = $type =~ /^char/ ? "rpad(v, 3, ' ')" : 'v::text';

	ok(wait_until($dest, 'postgres', "SELECT count(*) = 1 FROM $t WHERE id = 2", 'the row'), "$type: taken");
	is($dest->safe_psql('postgres', "SELECT to_hex(octet_length(v::text)) || $shown FROM $t WHERE id = 2"),
		sprintf('%x', length($type =~ /^char/ ? "\xc3\xa9" : $is)) . $is, "$type: as its function does");
}

done_testing();
