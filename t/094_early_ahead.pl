
# Large transactions are applied ahead of their commit, by a helper: whoever dies, wherever,
# and whoever is in whose way, tables are exact.  Pieces are forged, with the replicator
# stopped, so that each comes exactly when it is wanted.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloForge;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);

$dest->append_conf('postgresql.conf', "log_min_messages = debug1\n");
$dest->reload;
$source->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)');
$dest->safe_psql('postgres', 'CREATE TABLE t (id int, v text)');	# doubles would show
create_group($source, $dest, 'g', tables => q{'{public.t}'}, worker_options => q{'{"lock_timeout": "0"}'});
# a copy that is in holds no helper back
$source->safe_psql('postgres', q{SELECT flo.resync('g', 't')});
wait_until($dest, 'postgres', q{SELECT phase = 'complete' FROM flo.copy_progress}, 'the copy is in') or die;
wait_until($source, 'postgres', q{SELECT phase = 'published' FROM flo.copy_progress}, 'it is over') or die;
$source->safe_psql('postgres', q{INSERT INTO t VALUES (0, 'real')});
wait_caught_up($source, $dest, 'g');
$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
forge_after($nats, 'g', $dest);

# A helper is worth its start from 1 MB on
sub large { my ($from) = @_; return join('', $description, map { row($from + $_, 'x' x 1000) } 0 .. 599); }
my $log = 0;
sub said { my ($what) = @_; return await(sub { slurp_file($dest->logfile, $log) =~ /$what/ }, $what); }
sub await_helper
{
	my $query = q{SELECT pid FROM pg_stat_activity
		WHERE application_name LIKE 'pg_flo ahead%' AND backend_xid IS NOT NULL};
	return await(sub { $dest->safe_psql('postgres', $query) }, 'a helper with rows in hand');
}

# --- the plain case ------------------------------------------------------------------------------

my $all = sub { my ($from) = @_; return join(' ', $from .. $from + 599, $from + 1000 .. $from + 1599); };
sub open_one
{
	my ($xid, $from) = @_;
	$log = -s $dest->logfile;
	piece($xid, large($from));
	piece($xid, large($from + 1000));
	return await_helper();
}
ok(open_one(10, 10000), 'a helper takes it');
whole(11, rows(1));
ids_are(1, 1, '1', 'small transactions go on');
ids_are(10000, 19999, '', 'nothing is seen of it');
pieces_end(10);
ids_are(10000, 19999, $all->(10000), 'it is there after its commit');
ok(said(qr/transaction 10 of the source was applied ahead/), 'and was applied ahead of that');
ok(wait_until($dest, 'postgres', q{SELECT open_bytes = 0 AND inserts > 1200 FROM flo.status}, 'counters'), 'it counts');

# --- whoever dies --------------------------------------------------------------------------------

my ($case, $xid, $from) = (0, 100, 100000);
for my $point (qw(ahead.row ahead.before ahead.commit.before ahead.commit.after ahead.after))
{
	$case++; $xid++; $from += 10000;
	my $halt = $point eq 'ahead.row' ? halt_at($dest, $point) : undef;
	$log = -s $dest->logfile;
	piece($xid, large($from));
	piece($xid, large($from + 1000));
	await_helper() if !$halt;
	$halt //= halt_at($dest, $point);
	whole($xid + 1000, rows($case + 100));
	ids_are($case + 100, $case + 100, $case + 100, 'others go on');
	pieces_end($xid) if $point ne 'ahead.row';
	# who has not heard of the point yet does not halt, and the case is another one
	my $pid = await(sub {
		my $text = slurp_file($dest->logfile, $log);
		return $text =~ /\[(\d+)\] LOG:  halted at "/ ? $1 : $text =~ /was applied ahead/ ? -1 : 0;
	}, $point);
	if ($pid > 0) { kill 'KILL', $pid; }
	else { unlink $halt; }
	pieces_end($xid) if $point eq 'ahead.row';
	ids_are($from, $from + 9999, $all->($from), "killed at $point");
	whole($xid + 2000, rows($case + 200));
	ids_are($case + 200, $case + 200, $case + 200, 'it goes on');
}

# A helper that ends by itself, and a worker that is stopped
$xid++; $from += 10000;
my $pid = open_one($xid, $from);
kill 'TERM', $pid;
ok(wait_until($dest, 'postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)", 'its end'),
	'a helper ends');
piece($xid, rows($from + 5000));
pieces_end($xid);
ids_are($from, $from + 9999, $all->($from) . ' ' . ($from + 5000), '... and it is applied from the file');
$xid++; $from += 10000;
open_one($xid, $from);
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
ok(wait_until($dest, 'postgres',
	q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name LIKE 'pg_flo ahead%')}, 'its end'),
	'a helper ends with its worker');
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
pieces_end($xid);
ids_are($from, $from + 9999, $all->($from), 'and another worker has it');

# --- whoever is in the way ------------------------------------------------------------------------

$dest->safe_psql('postgres', 'CREATE UNIQUE INDEX one_id ON t (id)');
$xid++; $from += 10000;
$pid = open_one($xid, $from);
whole(5000, rows($from + 1));
ids_are($from, $from + 9999, $from + 1, 'the worker needs a row that the helper has: it gives way');
publish(0, void($xid, $xid));
delete $piece_of{$xid};

$xid++; $from += 10000;
$pid = open_one($xid, $from);
$dest->safe_psql('postgres', "ALTER TABLE t ADD COLUMN w int; ALTER TABLE t DROP COLUMN w");
pieces_end($xid);
ids_are($from, $from + 9999, $all->($from), 'it gives way to whoever else waits');

# Also while it waits itself, for one who stays
my $insert = 'BEGIN; INSERT INTO t VALUES';
my $first = FloTest::Session->new($dest);
my $second = FloTest::Session->new($dest);
$xid++; $from += 10000;
open_one($xid, $from);
$first->query("$insert (@{[ $from + 2000 ]})");
piece($xid, rows($from + 2000));
ok(wait_until($dest, 'postgres', q{SELECT EXISTS (SELECT FROM pg_stat_activity
	WHERE application_name LIKE 'pg_flo ahead%' AND wait_event_type = 'Lock')}, 'a lock'), 'a helper waits for a lock');
$second->query("$insert ($from); ROLLBACK");
pass('it gives way to who waits for it meanwhile');
$first->query('ROLLBACK');
$_->close for $first, $second;
pieces_end($xid);
ids_are($from, $from + 9999, $all->($from) . ' ' . ($from + 2000), '... and nothing is lost');

$xid++; $from += 10000;
open_one($xid, $from);
piece($xid, sub_of(77) . rows($from + 3000));
publish(0, void($xid, 77));
pieces_end($xid);
ids_are($from, $from + 9999, $all->($from), 'a subtransaction that is void');

$xid++; $from += 10000;
open_one($xid, $from);
$dest->safe_psql('postgres', q{INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments)
	VALUES ('g', 't', 'v', 'constant', '{"value": "ruled"}')});
pieces_end($xid);
ids_are($from, $from + 9999, $all->($from), 'rules that have changed');
is($dest->safe_psql('postgres', "SELECT count(*) FROM t WHERE id BETWEEN $from AND $from + 9999 AND v <> 'ruled'"),
	0, '... hold for all of it');
$dest->safe_psql('postgres', q{DELETE FROM flo.rules});

# An error is the worker's, and names the commit
$dest->safe_psql('postgres', 'ALTER TABLE t ADD CONSTRAINT refused CHECK (id < 900000)');
$xid++;
$log = -s $dest->logfile;
piece($xid, large(900000));
piece($xid, large(901000));
whole(6000, rows(7000));
ids_are(7000, 7000, 7000, 'an error of the helper is nobody\'s');
my $lsn = sprintf '%X/%X', map { $_ >> 32, $_ & 0xFFFFFFFF } (next_commit())[0];
pieces_end($xid);
wait_state($dest, 'g', 'postgres', 'backoff');
like(status_of($dest, 'g', 'postgres', 'last_error'), qr/refused.*\Q$lsn\E/s, 'at the commit it is the worker\'s');
$dest->safe_psql('postgres', "SELECT flo.skip('g', 'postgres', '$lsn')");
whole(6001, rows(7001));
ids_are(7001, 7001, 7001, 'and is skipped');

$_->stop for $source, $dest;
$nats->stop;
done_testing();
