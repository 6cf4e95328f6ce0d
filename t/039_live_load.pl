
# A live load of small transactions: those of a moment travel together, each whole and
# in order, and a lone one waits for nothing.  Wherever WAL ends, what comes after it is read.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloChunk;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $transactions = 12000;
my $stream = 'pgflo_g_stream';

$_->safe_psql('postgres', 'CREATE TABLE t (id bigint PRIMARY KEY, v text)') for $source, $dest;
create_group($source, $dest, 'g', tables => q{'{public.t}'});
# a position of its own for each, so that nothing is gathered that did not have to be
my $before = $nats->last_seq($stream);
for my $i (1 .. 20)
{
	$source->safe_psql('postgres', "INSERT INTO t VALUES (-$i, 'alone')");
	wait_caught_up($source, $dest, 'g');
}
cmp_ok($nats->last_seq($stream) - $before, '>=', 20, 'lone transactions travel alone');

for my $commit ('off', 'on')
{
	my $begun = time();
	$before = $nats->last_seq($stream);
	my $first = $source->safe_psql('postgres', 'SELECT GREATEST(max(id), 0) FROM t');
	$source->safe_psql('postgres', "SET synchronous_commit = $commit;
		DO \$\$ BEGIN FOR i IN 1 .. $transactions LOOP
			INSERT INTO t VALUES ($first + i, 'some text'); COMMIT;
		END LOOP; END \$\$");
	wait_caught_up($source, $dest, 'g');
	my $messages = $nats->last_seq($stream) - $before;
	my $ms = 1000 * (time() - $begun);
	note("synchronous_commit $commit: $messages messages of $transactions transactions in $ms ms");
	# some milliseconds from one to the next, but for those that tell that there is a load
	cmp_ok($messages, '<', $ms / 2 + 200, "synchronous_commit $commit: transactions travel together");
	is_same_table($source, $dest, 't');
}

# Commits that end at every place of a page, at its end too, most of them looked at alone
$source->safe_psql('postgres', q{SET synchronous_commit = on;
	DO $$ BEGIN FOR i IN 1 .. 1100 LOOP
		PERFORM pg_logical_emit_message(true, 'nobody', repeat('x', 8 * (i % 1024)));
		INSERT INTO t VALUES (1000000 + i, 'some text'); COMMIT;
		IF i % 300 = 0 THEN PERFORM pg_switch_wal(); END IF;
	END LOOP; END $$});
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't');

done_testing();
