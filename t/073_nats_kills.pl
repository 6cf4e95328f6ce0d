
# Exactly once and in order into a stream: a process or the broker dies at each step
# between a change and its position, under load, and while others publish to the same
# stream. Its window of duplicates is too short to be of any help. What is right, a
# worker with sink "file" at the source says.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloNatsClient;
use FloTest;
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $dir = PostgreSQL::Test::Utils::tempdir();
my $json = JSON::PP->new->utf8;

$source->safe_psql('postgres', q{CREATE TABLE orders (id serial PRIMARY KEY, v text, n int NOT NULL DEFAULT 0);
	CREATE TABLE t (id int PRIMARY KEY, v text)});

sub client { return FloNatsClient->new($nats->port); }
my $made = client()->api('STREAM.CREATE.EV',
	{ name => 'EV', subjects => ['cdc.>'], storage => 'file', duplicate_window => 100_000_000 });
ok(!$made->{error}, 'a stream with a window of duplicates of 0.1 s') or diag($json->encode($made));
create_group($source, undef, 'g');
create_event_worker($source, 'g', 'file', 'file', { directory => $dir });
create_event_worker($dest, 'g', 'nats', 'nats', { stream => 'EV' });

# Ids of what the stream has, and the sequence behind it
my @there;
my $seen = 1;

# One test: the stream has all events, each once, in the order of the file
sub is_exact
{
	my ($name) = @_;

	wait_caught_up($source, $source, 'g');
	wait_caught_up($source, $dest, 'g');
	my @right = map { /^\{"Id":"([^"]+)"/ } file_lines($dir);
	my @new = client()->stream('EV', 'cdc.g.>', $seen);
	push @there, map { $_->{headers}{'Nats-Msg-Id'} } @new;
	$seen = $new[-1]{seq} + 1 if @new;
	my $wrong = 0;

	$wrong++ while $wrong < @right && $wrong < @there && $right[$wrong] eq $there[$wrong];
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(scalar @there . " events, $wrong of them as they should be",
		scalar @right . ' events, ' . scalar @right . ' of them as they should be', $name)
	  or diag('there: ' . join(' ', grep { defined } @there[ $wrong .. $wrong + 3 ]) . "\nright: "
		  . join(' ', grep { defined } @right[ $wrong .. $wrong + 3 ]));
}

# Some small transactions, and one that is more than a window
sub work
{
	$source->safe_psql('postgres', q{
		DO $$ BEGIN FOR i IN 1..30 LOOP
			INSERT INTO orders (v) VALUES ('small');
			UPDATE orders SET n = n + 1 WHERE id % 97 = i;
			COMMIT;
		END LOOP; END $$;
		INSERT INTO orders (v) SELECT repeat('x', 200) FROM generate_series(1, 2500);
		DELETE FROM orders;
		TRUNCATE t});
}

sub killed_at
{
	my ($point, $how) = @_;

	halt_at($dest, $point);
	my $checkpointer = $dest->safe_psql('postgres',
		q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'});
	work();
	ok(await_halt($dest, $point), "$point: a process is there") or return;
	if ($how eq 'broker')
	{
		$nats->kill9;
		$nats->start;
	}
	kill9_member($dest, 'g', 'nats');
	wait_until($dest, 'postgres', "SELECT pid <> $checkpointer FROM pg_stat_activity
		WHERE backend_type = 'checkpointer'", 'the server to begin anew') or die;
	is_exact("$point, $how");
}

work();
is_exact('nothing has happened yet');
killed_at($_, 'kill') for qw(send.before send.after send.after:40 send.before:2300 commit.before commit.after
	flush.after ack.before ack.after);
killed_at($_, 'broker') for qw(send.after:1000 commit.before);

# --- under load ---------------------------------------------------------------------------

# Others publish to the same stream meanwhile
my $others = fork();
if ($others == 0)
{
	until (-e "$dir/enough")
	{
		eval {
			my $client = client();
			until (-e "$dir/enough")
			{
				$client->request('cdc.other.x', 'x') for 1 .. 20;
				select undef, undef, undef, 0.01;		# sleeps: a load has a rate
			}
		};
		select undef, undef, undef, 0.2;		# sleeps: the broker is away
	}
	POSIX::_exit(0);
}
pgbench_tables($source);
$source->command_ok([ 'pgbench', '-i', '-I', 'g', '-q', '-p', $source->port, '-h', $source->host, 'postgres' ],
	'and rows');
my $load = start_load($source, clients => 2, rate => 300);
for my $round (1 .. 4)
{
	select undef, undef, undef, 1.0 + rand;		# sleeps: some load between two kills
	if ($round % 2) { $nats->kill9; $nats->start; }
	else { kill9_member($dest, 'g', 'nats'); }
}
stop_load($load);
append_to_file("$dir/enough", '');
waitpid($others, 0);
is_exact('broker and worker killed by turns, while others publish to the stream');
cmp_ok(scalar client()->stream('EV', 'cdc.other.x'), '>', 100, 'as they have');

private_memory_ok($dest, 'g', 'nats', 64);
$_->stop('fast') for $source, $dest;
done_testing();
