
=head1 NAME

FloMessage - makes pg_flo's messages in WAL, genuine and otherwise, as src/wire/README.md describes them

=head1 SYNOPSIS

  my $bytes = FloMessage::signed(group => 'g', key => $key, kind => 'S', transaction => $xid,
	subtransaction => $xid & 0xFFFFFFFF, ordinal => 1, payload => $json);
  $source->safe_psql('postgres', 'SELECT ' . FloMessage::emit($bytes));
  my @contents = FloMessage::in_wal($source, $from, $to);

=cut

package FloMessage;

use strict;
use warnings;
use Digest::SHA;
use IPC::Run ();

sub head { my (%m) = @_; return pack 'C a Q> N N', $m{version} // 1, @m{qw(kind transaction subtransaction ordinal)}; }

sub signature
{
	my (%m) = @_;
	return Digest::SHA::hmac_sha256("pg_flo message in WAL\0$m{group}\0" . head(%m) . $m{payload}, $m{key});
}

sub signed
{
	my (%m) = @_;
	return head(%m) . pack('n C/a* a32', 1, $m{group}, signature(%m)) . $m{payload};
}

# SQL that writes the bytes
sub emit
{
	my ($bytes, %how) = @_;
	return sprintf q{pg_logical_emit_message(%s, '%s', '\x%s'::bytea)}, $how{transactional} // 'true',
		$how{prefix} // 'pg_flo', unpack('H*', $bytes);
}

# Contents of our messages between two LSNs, from pg_waldump
sub in_wal
{
	my ($node, $from, $to) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'pg_waldump', '-p', $node->data_dir . '/pg_wal', '-r', 'LogicalMessage', '-s', $from, '-e', $to ],
		'>', \$out, '2>', \$err);
	return map { pack 'H*', $_ =~ s/ //gr } $out =~ /prefix "pg_flo"; payload \(\d+ bytes\): ([0-9A-F ]+)/g;
}

1;
