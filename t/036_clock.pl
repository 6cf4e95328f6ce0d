
# The time of day jumps, by hours and backwards too: what pg_flo waits for does
# not depend on it.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();

append_to_file("$dir/clock.c", <<'C');
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* the seconds that a file says are added to what the server believes the time to be */
int
gettimeofday(struct timeval *tv, void *zone)
{
	char		text[32] = {0};
	struct timespec now;
	int			fd = open(getenv("FLO_CLOCK"), O_RDONLY);

	if (fd >= 0)
	{
		if (read(fd, text, sizeof(text) - 1) < 0)
			text[0] = '\0';
		close(fd);
	}
	clock_gettime(CLOCK_REALTIME, &now);
	tv->tv_sec = now.tv_sec + atol(text);
	tv->tv_usec = now.tv_nsec / 1000;
	return 0;
}
C
plan skip_all => 'no C compiler' if system("cc -shared -fPIC -o $dir/clock.so $dir/clock.c >$dir/output 2>&1") != 0;

my $n = 0;
my $nats = FloTest::Nats->new('broker');

# Of both servers, or of those named
sub set_clock
{
	my ($by, @names) = @_;
	for my $name (@names ? @names : qw(source dest))
	{
		append_to_file("$dir/new", "$by\n");
		rename "$dir/new", "$dir/$name" or die "rename: $!";
	}
}

set_clock(0);
$ENV{LD_PRELOAD} = "$dir/clock.so";
$ENV{FLO_CLOCK} = "$dir/source";
my $source = flo_node('source', $nats);
$ENV{FLO_CLOCK} = "$dir/dest";
my $dest = flo_node('dest', $nats);

sub insert
{
	$source->safe_psql('postgres', "INSERT INTO t SELECT i, repeat('x', 300) FROM generate_series($n + 1, $n + 20) i");
	$n += 20;
}
# Within a minute, however long that is to the server
sub same
{
	my ($name) = @_;
	my $lsn = $source->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($dest->safe_psql('postgres', "SELECT flo.wait_for('g', '$lsn', '1 min')"), 't', "$name: caught up");
	is_same_table($source, $dest, 't', "$name: the same rows");
}

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)') for $source, $dest;
create_group($source, $dest, 'g');
insert();
same('at first');
for my $by (-3600, 86400, -86400)
{
	set_clock($by);
	is($source->safe_psql('postgres', 'SELECT abs(extract(epoch FROM clock_timestamp()) - ' . time() . ') > 1000'), 't',
		"the servers' clock is off by $by s");
	insert();
	same("clock off by $by s");
	$_->safe_psql('postgres', q{SELECT flo.stop_group('g')}) for $source, $dest;
	wait_state($dest, 'g', 'postgres', 'stopped');
	wait_state($source, 'g', 'replicator', 'stopped');
	$_->safe_psql('postgres', q{SELECT flo.start_group('g')}) for $source, $dest;
	insert();
	same("clock off by $by s, begun anew");
}

# An error that is tried again, and the clock goes back before it is
$dest->safe_psql('postgres', 'ALTER TABLE t ADD CONSTRAINT odd CHECK (id < 0) NOT VALID');
insert();
wait_state($dest, 'g', 'postgres', 'backoff');
set_clock(-3 * 86400);
$dest->safe_psql('postgres', 'ALTER TABLE t DROP CONSTRAINT odd');
same('the clock goes back while a worker waits for its next attempt');
is($source->safe_psql('postgres', q{SELECT flo.wait_for('g', pg_current_wal_lsn() + 1000000, '1 s')}), 'f',
	'a time-out is one');

# Clocks that differ: a replicator that is heard is heard, and lag is never negative
for my $by (3600, -3600)
{
	set_clock(0, 'source');
	set_clock($by, 'dest');
	insert();
	same("the destination's clock is off by $by s");
	$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
	wait_state($dest, 'g', 'postgres', 'stopped');
	start_member($dest, 'g', 'postgres');
	ok(wait_until($dest, 'postgres',
			q{SELECT state = 'streaming' AND lag = '0' AND detail IS NULL FROM flo.status}, 'nothing to lack'),
		"the destination's clock is off by $by s: nothing is missing");
	my $session = FloTest::Session->new($dest);
	$session->query('BEGIN');
	$session->query('LOCK TABLE t');
	insert();
	ok(wait_until($dest, 'postgres',
			q{SELECT detail LIKE 'lock held%' AND lag >= '0' AND pending_bytes > 0 FROM flo.status}, 'lag'),
		"the destination's clock is off by $by s: lag is not negative");
	$session->query('ROLLBACK');
}

$_->stop('fast') for $source, $dest;
done_testing();
