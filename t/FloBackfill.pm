=pod

=head1 NAME

FloBackfill - backfills, for their tests

Of the group g, called in the database postgres of C<$source>.

=head2 backfill($source, $table, $worker, $where), state_of($source, $id)

Asks for one and returns its number; its state, and detail if there is any.

=head2 wait_done($source, $id, $name)

Waits until it is over, and returns the same.

=head2 snapshots($dir)

How many rows of copies a file worker has written there.

=cut

package FloBackfill;

use strict;
use warnings;
use Exporter 'import';
use FloEvents;
use FloTest;
use Test::More;

our @EXPORT = qw(backfill state_of wait_done snapshots);

sub backfill
{
	my ($source, $table, $worker, $where) = @_;
	$where = defined $where ? "\$where\$$where\$where\$" : 'NULL';
	return $source->safe_psql('postgres', "SELECT flo.backfill('g', '$table', '$worker', $where)");
}

sub state_of
{
	my ($source, $id) = @_;
	return $source->safe_psql('postgres',
		"SELECT state || coalesce(': ' || detail, '') FROM flo.backfills WHERE id = $id");
}

sub wait_done
{
	my ($source, $id, $name) = @_;
	await(sub { state_of($source, $id) =~ /^(done|failed)/ }, "$name is over") or diag(state_of($source, $id));
	return state_of($source, $id);
}

sub snapshots
{
	my ($dir) = @_;
	return scalar grep { /"Snapshot":true/ } file_lines($dir);
}

1;
