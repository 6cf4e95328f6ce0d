
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

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY)') for $source, $dest;
create_group($source, $dest, 'g');
sub insert_lsn { return $source->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()'); }

# What a message of 512 bytes takes tells how long the last one of a page has to be.  All in one
# call, since other processes write now and then, too.
my $end_page = q{DO $$ DECLARE
	place bigint; spare int; other int;
	BEGIN
		FOR try IN 1 .. 100 LOOP
			place := pg_current_wal_insert_lsn() - '0/0';
			EXIT WHEN place % 8192 = 24;
			PERFORM pg_logical_emit_message(false, 'x', repeat('x', 512));
			other := pg_current_wal_insert_lsn() - '0/0' - place - 512;
			spare := 8192 - (place + 512 + other) % 8192;
			IF spare > 512 + other THEN
				PERFORM pg_logical_emit_message(false, 'x', repeat('x', spare - other));
			END IF;
		END LOOP;
	END $$};
sub page_is_reached
{
	$source->safe_psql('postgres', $end_page);
	my $lsn = insert_lsn();
	my @reached = map { $_->safe_psql('postgres', "SELECT flo.wait_for('g', '$lsn', '10 s')") } $dest, $source;
	return undef if insert_lsn() ne $lsn || hex((split '/', $lsn)[1]) % 8192 != 24;
	return "@reached";
}
for my $round (1 .. 3)
{
	my $reached;

	$source->safe_psql('postgres', "INSERT INTO t VALUES ($round)");
	for (1 .. 20) { last if defined($reached = page_is_reached()); }
	is($reached, 't t', 'worker and replicator reach the end of a page');
}
is_same_table($source, $dest, 't', 'the rows');

$_->stop('fast') for $source, $dest;
done_testing();
