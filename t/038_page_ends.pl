
# WAL that ends with a page: the server says that it ends behind the next page's header,
# which nothing reaches while nobody writes.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $quiet = "autovacuum = off\ncheckpoint_timeout = 1h\n";
my $source = flo_node('source', $nats, conf => $quiet);
my $dest = flo_node('dest', $nats, conf => $quiet);
my ($page, $header) = (8192, 24);

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY)') for $source, $dest;
create_group($source, $dest, 'g');

my $end = q{SELECT pg_current_wal_insert_lsn() - '0/0'};
# bytes of WAL that a message makes, and is flushed by what is committed before
sub write_message { $source->safe_psql('postgres', "SELECT 1 FROM pg_logical_emit_message(false, 'x', repeat('x', $_[0]))"); }
sub begins_with_page
{
	for my $try (1 .. 50)
	{
		my $at = $source->safe_psql('postgres', $end);
		return 1 if $at % $page == $header;
		write_message(512);
		my $size = $source->safe_psql('postgres', $end) - $at - 512;
		my $left = $page - ($at + 512 + $size) % $page - $size;
		write_message($left) if $left > 0;
	}
	return 0;
}
for my $round (1 .. 3)
{
	$source->safe_psql('postgres', "INSERT INTO t VALUES ($round)");
	ok(begins_with_page(), 'WAL ends with a page');
	my $lsn = $source->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
	is($dest->safe_psql('postgres', "SELECT flo.wait_for('g', '$lsn', '20 s')"), 't', 'which the worker reaches');
	is($source->safe_psql('postgres', "SELECT flo.wait_for('g', '$lsn', '20 s')"), 't', 'and the replicator');
	is($source->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()'), $lsn, 'and nobody has written more');
}
is_same_table($source, $dest, 't', 'the rows');

$_->stop('fast') for $source, $dest;
done_testing();
