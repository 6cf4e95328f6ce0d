
# A replicator that is behind: small transactions are decoded by their tables as they
# were, whatever has become of these, and nothing is left open between them.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $padding = 'x' x 40;

$source->safe_psql('postgres', 'CREATE TABLE a (id serial PRIMARY KEY, v text, n int DEFAULT 1)');
create_copy_group($source, $dest, 'g', sync_schema => 1, track_ddl => 1);

for my $round (1 .. 2)
{
	my $pid = pid_of($source, 'g', 'replicator');
	kill('STOP', $pid) or die "kill $pid: $!";
	for my $i (1 .. 6)
	{
		my $type = $i % 2 ? 'bigint' : 'int';
		$source->safe_psql('postgres', $_)
		  for "INSERT INTO a (v) VALUES ('$padding'), ('$padding')",
		  "ALTER TABLE a ADD c${round}_$i text DEFAULT '$padding'",
		  "INSERT INTO a (v) VALUES ('$padding')",
		  "ALTER TABLE a ALTER n TYPE $type",
		  "UPDATE a SET v = v || '.' WHERE id % 3 = 0",
		  "ALTER TABLE a DROP COLUMN c${round}_$i",
		  "INSERT INTO a (v) VALUES ('$padding')",
		  "CREATE TABLE gone_${round}_$i (id int PRIMARY KEY, v text)",
		  "INSERT INTO gone_${round}_$i VALUES (1, '$padding')",
		  "DROP TABLE gone_${round}_$i";
	}
	kill('CONT', $pid) or die "kill $pid: $!";
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, 'a');
}

# pgoutput of version 18 leaves tables open that it has looked at
unlike(slurp_file($source->logfile), qr/not closed|reference leak/, 'nothing is left open');

done_testing();
