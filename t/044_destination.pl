
# Promise 4: what cannot be applied stops the worker and says LSN, table, column
# and reason; it goes on by itself once the cause is gone; other groups do not
# notice.

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

$_->safe_psql('postgres', 'CREATE ROLE app; CREATE TABLE t (id int PRIMARY KEY, v text, n bigint);
	ALTER TABLE t OWNER TO app;'
	  . 'CREATE TABLE u (id int PRIMARY KEY)') for $source, $dest;
create_group($source, $dest, 'g', tables => q{'{public.t}'});
create_group($source, $dest, 'h', tables => q{'{public.u}'});

my ($id, $other) = (0, 0);
sub insert
{
	$id++;
	$source->safe_psql('postgres', "INSERT INTO t VALUES ($id, " . ($_[0] // q{'x'}) . ', ' . ($_[1] // 'NULL') . ')');
}

# One fault: what last_error says, that nothing else is held up, that it heals by itself
sub fault
{
	my ($name, $break, $pattern, $mend, $value, $number) = @_;

	$dest->safe_psql('postgres', $break);
	insert($value, $number);
	insert();
	ok(wait_until($dest, 'postgres',
		"SELECT EXISTS (SELECT FROM flo.status WHERE group_name = 'g' AND state = 'backoff' AND last_error ~ '"
			  . ($pattern =~ s/'/''/gr) . "')", "$name: $pattern"), "$name: last_error says what")
	  or diag(status_of($dest, 'g', 'postgres', 'last_error'));
	like(status_of($dest, 'g', 'postgres', 'last_error'), qr{transaction at [0-9A-F]+/[0-9A-F]+},
		"$name: and at which LSN");
	ok(wait_until($dest, 'postgres',
		q{SELECT EXISTS (SELECT FROM flo.status WHERE group_name = 'g' AND state = 'backoff'
		AND detail ~ 'retry in [0-9.]+ s')}, 'the next attempt'),
		"$name: detail says when it will be tried again");
	$other++;
	$source->safe_psql('postgres', "INSERT INTO u VALUES ($other)");
	wait_caught_up($source, $dest, 'h');
	is($dest->safe_psql('postgres', 'SELECT count(*) FROM u'), $other, "$name: the other group goes on");
	$dest->safe_psql('postgres', $mend);
	wait_caught_up($source, $dest, 'g');
	is($dest->safe_psql('postgres', 'SELECT count(*) FROM t'), $id, "$name: heals by itself");
}

fault('constraint', 'ALTER TABLE t ADD CONSTRAINT odd CHECK (id < 0) NOT VALID', 'odd.*INSERT, table "public.t"',
	'ALTER TABLE t DROP CONSTRAINT odd');
fault('missing table', 'ALTER TABLE t RENAME TO t_away', 'table "public.t"', 'ALTER TABLE t_away RENAME TO t');
fault('missing column', 'ALTER TABLE t RENAME v TO w', '"v"', 'ALTER TABLE t RENAME w TO v');
fault('type that does not fit', 'ALTER TABLE t ALTER v TYPE date USING NULL',
	'invalid input syntax for type date.*table "public.t", column "v"',
	'ALTER TABLE t ALTER v TYPE text', q{'no date'});
fault('number out of range', 'ALTER TABLE t ALTER n TYPE int', 'out of range.*column "n"',
	'ALTER TABLE t ALTER n TYPE bigint', q{'x'}, '5000000000');
fault('owner without rights', 'REVOKE ALL ON t FROM app; REVOKE ALL ON SCHEMA public FROM app, PUBLIC',
	'permission denied.*public.t', 'GRANT ALL ON t TO app; GRANT USAGE ON SCHEMA public TO PUBLIC');
fault('trigger that raises',
	q{CREATE FUNCTION bad() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no room on disk' USING ERRCODE
	= 'disk_full'; END$$;
	CREATE TRIGGER bad BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION bad(); ALTER TABLE t ENABLE ALWAYS TRIGGER bad},
	'no room on disk.*table "public.t"', 'DROP TRIGGER bad ON t');

# --- a lock that somebody holds ----------------------------------------------------------------

my $session = $dest->background_psql('postgres');
$session->query_safe('BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE');
my $pid = $session->query_safe('SELECT pg_backend_pid()');
$pid =~ s/\D//g;
insert();
ok(wait_until($dest, 'postgres',
	"SELECT EXISTS (SELECT FROM flo.status WHERE group_name = 'g' AND detail = 'lock held by pid $pid')",
	'the lock in detail'),
	'lock held: detail names the pid');
$other++;
$source->safe_psql('postgres', "INSERT INTO u VALUES ($other)");
wait_caught_up($source, $dest, 'h');
pass('lock held: the other group goes on');
$dest->safe_psql('postgres', q{SELECT flo.alter_worker('g', 'postgres', '{"lock_timeout": "500ms"}')});
$session->query_safe('COMMIT');
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM t'), $id, 'lock held: goes on when it is released');

$session->query_safe('BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE');
insert();
ok(wait_until($dest, 'postgres',
	q{SELECT EXISTS (SELECT FROM flo.status WHERE group_name = 'g' AND last_error ~ 'lock timeout.*table "public.t"')},
	'the time-out'),
	'lock held for longer than lock_timeout: an error that names the table');
$session->query_safe('COMMIT');
$session->quit;
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM t'), $id, 'and heals by itself, too');

# --- on_error => stop -----------------------------------------------------------------------------

$dest->safe_psql('postgres', q{SELECT flo.alter_worker('g', 'postgres', '{"on_error": "stop"}')});
$dest->safe_psql('postgres', 'ALTER TABLE t ADD CONSTRAINT odd CHECK (id < 0) NOT VALID');
insert();
wait_state($dest, 'g', 'postgres', 'failed');
like(status_of($dest, 'g', 'postgres', 'last_error'), qr{odd.*transaction at}s,
	'on_error stop: failed at the first error');
my $restarts = status_of($dest, 'g', 'postgres', 'restarts');
$other++;
$source->safe_psql('postgres', "INSERT INTO u VALUES ($other)");
wait_caught_up($source, $dest, 'h');
is(status_of($dest, 'g', 'postgres', 'restarts'), $restarts, 'on_error stop: not tried again by itself');
$dest->safe_psql('postgres', q{ALTER TABLE t DROP CONSTRAINT odd; SELECT flo.start_group('g')});
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 'u', 'in the end: u');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM t'), $id, 'on_error stop: start_group tries again');
ok(wait_until($dest, 'postgres', q{SELECT recovered_at > last_error_at FROM flo.status WHERE group_name = 'g'},
	'the error to be over'), 'on_error stop: and then the error is over');

# --- memory ---------------------------------------------------------------------------------------

$source->safe_psql('postgres', q{INSERT INTO t SELECT i, repeat(md5(i::text), 30)
	FROM generate_series(100001, 160000) i});
$source->safe_psql('postgres', q{INSERT INTO t SELECT i, repeat(md5(i::text), 500000)
	FROM generate_series(200001, 200003) i});
wait_caught_up($source, $dest, 'g');
private_memory_ok($source, 'g', 'replicator', 64 + 16 * 6,
	'replicator: memory after a large transaction and rows of 16 MB');
private_memory_ok($dest, 'g', 'postgres', 64 + 16 * 6, 'worker: memory after the same');

$_->stop('fast') for $source, $dest;
done_testing();
