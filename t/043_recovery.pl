
# A person's ways out: flo.skip() of exactly one transaction, flo.resync() to go
# on from now; and what only retries need.

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

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)') for $source, $dest;
create_group($source, $dest, 'g', tables => q{'{public.t}'});

sub insert { $source->safe_psql('postgres', "INSERT INTO t VALUES ($_, 'v$_')") for @_; }

# The servers are back from the crash that a kill -9 is to them
sub up { wait_until($_, 'postgres', 'SELECT true', $_->name) for $source, $dest; }
sub ids { return $dest->safe_psql('postgres', q{SELECT string_agg(id::text, ',' ORDER BY id) FROM t}); }
sub lsn_of
{
	my ($lsn) = status_of($dest, 'g', 'postgres', 'last_error') =~ m{transaction at ([0-9A-F]+/[0-9A-F]+)};
	return $lsn;
}

# Wait for an error that names what it is to name
sub wait_error
{
	my ($pattern) = @_;
	return wait_until($dest, 'postgres',
		"SELECT EXISTS (SELECT FROM flo.status WHERE group_name = 'g' AND member = 'postgres'"
		  . " AND state IN ('backoff', 'failed') AND last_error ~ '$pattern')", "last_error like $pattern");
}

# --- skip -------------------------------------------------------------------------------

$dest->safe_psql('postgres', 'ALTER TABLE t ADD CONSTRAINT no_five CHECK (id <> 5)');
insert(1 .. 3);
# one transaction of three rows, of which one cannot be applied; others behind it
$source->safe_psql('postgres', q{BEGIN; INSERT INTO t VALUES (4, 'a'); INSERT INTO t VALUES (5, 'b');
	INSERT INTO t VALUES (6, 'c'); COMMIT});
insert(7 .. 9);
ok(wait_error('no_five'), 'a constraint violation stops the worker');
like(status_of($dest, 'g', 'postgres', 'last_error'), qr{transaction at \S+.*INSERT.*table "public\.t"}s,
	'last_error names LSN, operation and table');
ok(wait_until($dest, 'postgres', q{SELECT string_agg(id::text, ',' ORDER BY id) = '1,2,3' FROM t},
	'rows before the failed transaction'),
	'what came before is applied, nothing after');

my $lsn = lsn_of();
like(error_of($dest, "SELECT flo.skip('g', 'postgres', '0/1')"), qr/^22023: .*did not fail/,
	'skip of another LSN is refused');
like(error_of($dest, "SELECT flo.skip('g', 'postgres', pg_lsn '$lsn' + 8)"), qr/^22023/, 'also of one nearby');
like(error_of($dest, "SELECT flo.skip('g', 'replicator', '$lsn')"), qr/^22023/, 'the replicator has nothing to skip');
like(error_of($dest, "SELECT flo.skip('g', 'nobody', '$lsn')"), qr/^42704/, 'unknown worker');
like(error_of($dest, "SELECT flo.skip('g', 'postgres', NULL)"), qr/^22004/, 'no LSN');
is(ids(), '1,2,3', 'none of it skipped anything');

my $log = -s $dest->logfile;
$dest->safe_psql('postgres', "SELECT flo.skip('g', 'postgres', '$lsn')");
wait_caught_up($source, $dest, 'g');
is(ids(), '1,2,3,7,8,9', 'skip leaves out the whole transaction and nothing else');
my $words = substr(slurp_file($dest->logfile), $log);
like($words, qr/told by .* to skip the transaction at \Q$lsn\E/, 'who asked for it is in the log');
like($words, qr/skipped the transaction at \Q$lsn\E/, 'and that it was done');
is($dest->safe_psql('postgres', 'SELECT skip_lsn IS NULL FROM flo.progress'), 't', 'the order is used up');
like(error_of($dest, "SELECT flo.skip('g', 'postgres', '$lsn')"), qr/^22023/, 'and cannot be given twice');
kill9_member($dest, 'g', 'postgres');
up();
insert(10);
wait_caught_up($source, $dest, 'g');
is(ids(), '1,2,3,7,8,9,10', 'a crash brings nothing back');

# An error that shows at the commit only
$dest->safe_psql('postgres',
	q{CREATE FUNCTION no_eleven() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.id = 11
	THEN RAISE 'eleven is refused'; END IF; RETURN NULL; END$$;
	CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
		EXECUTE FUNCTION no_eleven();
	ALTER TABLE t ENABLE ALWAYS TRIGGER late});
insert(11 .. 14);
insert(15 .. 17);
ok(wait_error('eleven is refused.*transaction at'), 'an error at the commit names its transaction');
$dest->safe_psql('postgres', "SELECT flo.skip('g', 'postgres', '" . lsn_of() . "')");
wait_caught_up($source, $dest, 'g');
is(ids(), '1,2,3,7,8,9,10,12,13,14,15,16,17', 'it is singled out and skipped');
$dest->safe_psql('postgres', 'DROP TRIGGER late ON t; DELETE FROM t; ALTER TABLE t DROP CONSTRAINT no_five');
$source->safe_psql('postgres', 'TRUNCATE t');
wait_caught_up($source, $dest, 'g');

# --- resync -----------------------------------------------------------------------------

like(error_of($source, q{SELECT flo.resync('nobody', copy => false)}), qr/^42704/, 'unknown group');
$source->safe_psql('postgres', q{SELECT flo.create_replicator('fresh', tables => '{public.t}')});
like(error_of($source, q{SELECT flo.resync('fresh', copy => false)}), qr/^55000: .*never begun/,
	'a group that never began');
$source->safe_psql('postgres', q{SELECT flo.drop_replicator('fresh')});

# Resync of a running group, with a worker that lags behind
my $generation = $source->safe_psql('postgres', 'SELECT generation FROM flo.generations');
insert(20);
wait_caught_up($source, $dest, 'g');
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
insert(21 .. 22);
ok($source->safe_psql('postgres', q{SELECT flo.wait_for('g')}) eq 't', 'published');
$log = -s $source->logfile;
my $dlog = -s $dest->logfile;
$source->safe_psql('postgres', q{SELECT flo.resync('g', copy => false)});
wait_until($source, 'postgres', "SELECT generation <> '$generation' AND follows = '{$generation}'
	AND given_up < start_lsn FROM flo.generations", 'the new generation')
  or die;
wait_state($source, 'g', 'replicator', 'streaming');
like(substr(slurp_file($source->logfile), $log), qr{group "g" begins anew at \S+: what was committed after \S+},
	'the range given up is in the log');
insert(23);
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
wait_state($dest, 'g', 'postgres', 'streaming');
wait_caught_up($source, $dest, 'g');
is(ids(), '20,23', 'resync gives up what lies between and goes on from now');
like(substr(slurp_file($dest->logfile), $dlog),
	qr{the source began anew at \S+: what it committed after \S+ is given up here}, 'so says the worker, too');
kill9_member($dest, 'g', 'postgres');
kill9_member($source, 'g', 'replicator');
up();
insert(24);
wait_caught_up($source, $dest, 'g');
is(ids(), '20,23,24', 'it survives crashes');

# Resync while a worker runs
$source->safe_psql('postgres', q{SELECT flo.resync('g', copy => false)});
wait_until($source, 'postgres', q{SELECT NOT resync FROM flo.generations}, 'the next generation') or die;
wait_state($source, 'g', 'replicator', 'streaming');
insert(25);
wait_caught_up($source, $dest, 'g');
is(ids(), '20,23,24,25', 'a running worker follows by itself');

# --- lost slot ----------------------------------------------------------------------------

# A slot that was dropped by hand: failed, and resync is the way out
$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
$source->safe_psql('postgres', q{SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots});
insert(26);
$source->safe_psql('postgres', q{SELECT flo.start_group('g')});
wait_state($source, 'g', 'replicator', 'failed');
like(status_of($source, 'g', 'replicator', 'detail'),
	qr/^lost slot: replication slot "pgflo_\d+_g" does not exist any more/,
	'F9: a lost slot is never made anew by itself');
$source->safe_psql('postgres', q{SELECT flo.resync('g', copy => false)});
wait_state($source, 'g', 'replicator', 'streaming');
insert(27);
wait_caught_up($source, $dest, 'g');
is(ids(), '20,23,24,25,27', 'resync goes on without what was lost');

# With a copy, what was lost comes with it, and what does not belong there goes
$dest->safe_psql('postgres', 'UPDATE t SET id = id + 1000 WHERE id = 20');
$source->safe_psql('postgres', q{SELECT flo.resync('g')});
insert(28);
wait_until($source, 'postgres', q{SELECT count(*) = 0 FROM flo.copy_requests}, 'the copy of all tables') or die;
wait_state($source, 'g', 'replicator', 'streaming');
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 't', 'resync with a copy makes both sides the same again');

$_->stop('fast') for $source, $dest;
done_testing();
