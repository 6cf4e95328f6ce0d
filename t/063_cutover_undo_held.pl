
# A cut-over that is to be undone at the destination while somebody holds its row there, and
# rows keep coming: the worker tries again, between batches, and is the same process throughout.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloCutover;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($old, $new) = cutover_servers();
$_->safe_psql('postgres', 'CREATE TABLE t (id bigserial PRIMARY KEY, v int)') for $old, $new;
create_group($old, $new, 'g', tables => "'{t}'", worker_options => q{'{"allow_cutover": true}'});

# keeps the source from being fenced, so that rows come all the time
my $open = FloTest::Session->new($old);
$open->query('BEGIN; INSERT INTO t (v) VALUES (0)');
my $script = PostgreSQL::Test::Utils::tempdir() . '/insert.sql';
append_to_file($script, "INSERT INTO t (v) VALUES (1);\n");
my $log = PostgreSQL::Test::Utils::tempdir() . '/pgbench.log';
my $writer = IPC::Run::start([ qw(pgbench -n -c 2 -T 120 -R 200 -f), $script, '-p', $old->port, '-h', $old->host,
		'postgres' ], '>', $log, '2>&1');
my $caller = FloTest::Session->new($old);
$caller->send(q{SELECT * FROM flo.cutover('g', timeout => '100 s', max_lag => '60 s')});
await_cutover($new, 'g', 'prepared');
my $pid = pid_of($new, 'g', 'postgres');

# asked for, and the row taken at once: before the worker comes to it
my $gate = FloTest::Session->new($new);
$gate->query('SELECT pg_advisory_lock(1)');
my $holder = FloTest::Session->new($new);
$holder->send(q{DO $$ BEGIN PERFORM flo.unfence('g'); COMMIT; PERFORM flo.unfence('g');
	PERFORM pg_advisory_xact_lock(1); END $$});
wait_until($new, 'postgres', q{SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)},
	'the row is held');
for (1 .. 5)
{
	my $more = $new->safe_psql('postgres', 'SELECT count(*) + 50 FROM t');
	ok(wait_until($new, 'postgres', "SELECT count(*) > $more FROM t", 'rows'), "rows come meanwhile, $_") or last;
}
is(pid_of($new, 'g', 'postgres'), $pid, 'the worker is the same process');
is($new->safe_psql('postgres', 'SELECT state FROM flo.cutovers'), 'prepared', 'the row is held still');

$gate->query('SELECT pg_advisory_unlock(1)');
$holder->result;
await_cutover($new, 'g', 'cancelled');
$open->query('COMMIT');
$writer->kill_kill;
wait_caught_up($old, $new, 'g');
is_same_table($old, $new, 't', 'nothing lost');
is(pid_of($new, 'g', 'postgres'), $pid, 'the same process in the end');
$_->stop('fast') for $old, $new;
done_testing();
