
# A restart in the midst of a backlog: transactions that follow one another
# without a pause, so that nearly every message begins inside one, and purging
# close behind the worker.  Whatever is restarted, however often, the worker goes
# on where it was.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloChunk;
use FloEvents;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $restarts = $ENV{FLO_RESTARTS} || 5;

# Small messages: a backlog of a few megabytes has hundreds
my $nats = FloTest::Nats->new('broker', conf => 'max_payload: 20000');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $dir = PostgreSQL::Test::Utils::tempdir() . '/events';
my $stream = 'pgflo_g_stream';
mkdir $dir;

for my $node ($source, $dest)
{
	$node->append_conf('postgresql.conf', "pg_flo.restart_interval = '200ms'\n");
	$node->reload;
	$node->safe_psql('postgres', 'CREATE TABLE t (id bigint PRIMARY KEY, v text);
		CREATE TABLE hidden (id bigint PRIMARY KEY);'
		  . 'CREATE TABLE wide (id bigint PRIMARY KEY, '
		  . join(', ', map { "a_rather_long_name_of_a_column_$_ int" } 1 .. 700) . ')');
}

# Small and large transactions, rows and descriptions of tables larger than several
# messages, transactions that are rolled back whole or in part, that touch no table of the group, or
# whose rows a rule leaves out
$source->safe_psql('postgres', <<'SQL');
CREATE TABLE unrelated (id int);
CREATE SEQUENCE ids;
CREATE PROCEDURE load(turns int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. turns LOOP
		INSERT INTO t SELECT nextval('ids'), repeat('x', 200) FROM generate_series(1, 5);
		COMMIT;
		CASE i % 20
			WHEN 1 THEN
				INSERT INTO wide (id) SELECT nextval('ids') FROM generate_series(1, 2);
				INSERT INTO t VALUES (nextval('ids'), 'wide');
				COMMIT;
				INSERT INTO wide (id) VALUES (nextval('ids')); COMMIT;
			WHEN 3 THEN INSERT INTO t SELECT nextval('ids'), 'gone' FROM generate_series(1, 50); ROLLBACK;
			WHEN 6 THEN INSERT INTO unrelated VALUES (i); COMMIT;
			WHEN 9 THEN INSERT INTO hidden SELECT nextval('ids') FROM generate_series(1, 50); COMMIT;
			WHEN 12 THEN
				BEGIN
					INSERT INTO t SELECT nextval('ids'), 'gone' FROM generate_series(1, 50);
					RAISE division_by_zero;
				EXCEPTION WHEN division_by_zero THEN
					INSERT INTO t VALUES (nextval('ids'), 'kept');
				END;
				COMMIT;
			WHEN 14 THEN INSERT INTO t SELECT nextval('ids'), repeat('y', 250) FROM generate_series(1, 300); COMMIT;
			WHEN 16 THEN INSERT INTO t VALUES (nextval('ids'), repeat('z', 100000)); COMMIT;
			WHEN 18 THEN
				UPDATE t SET v = v || 'u' WHERE id IN (SELECT id FROM t ORDER BY id DESC LIMIT 10);
				DELETE FROM t WHERE id = (SELECT max(id) - 3 FROM t);
				COMMIT;
			ELSE NULL;
		END CASE;
	END LOOP;
END $$;
SQL
$source->safe_psql('postgres', q{SELECT flo.create_replicator('g', tables => '{t,hidden,wide}');
	INSERT INTO flo.rules (group_name, table_name, action, arguments, stage)
		VALUES ('g', 'hidden', 'where', '{"expression": "false"}', 'replicator')});
start_member($source, 'g', 'replicator');

# Workers that need a while
sub slowly
{
	$dest->safe_psql('postgres',
		q{INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments, operations)
		VALUES ('g', 't', 'v', 'expression', '{"expression": "public.slowly(v)"}', '{INSERT}')});
}
sub at_full_speed { $dest->safe_psql('postgres', 'DELETE FROM flo.rules'); }
# sleeps: so that the workers fall behind
$dest->safe_psql('postgres', 'CREATE FUNCTION slowly(v text) RETURNS text STABLE LANGUAGE plpgsql AS $$ BEGIN '
	  . 'PERFORM pg_sleep(0.001); RETURN v; END $$');
$dest->safe_psql('postgres', q{SELECT flo.create_worker('g', options => '{"batch_size": 20}')});
slowly();

my @workers = ('postgres');
my $place = 0;

# The replicator must not come to the end of the WAL in between, or it sends what it has
sub load
{
	$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
	wait_state($source, 'g', 'replicator', 'stopped');
	$source->safe_psql('postgres', "CALL load($_[0])");
	start_member($source, 'g', 'replicator');
	$source->safe_psql('postgres', q{SELECT flo.wait_for('g')});
}

sub stream_state { return $nats->api("STREAM.INFO.$stream")->{state}; }
sub start_workers { $dest->safe_psql('postgres', q{SELECT flo.start_group('g')}); }

# Dies where nothing will come of waiting
sub await_streaming
{
	my ($what) = @_;
	my $names = join ', ', map { "'$_'" } @workers;

	wait_until($dest, 'postgres', "SELECT bool_or(state = 'failed') OR bool_and(state = 'streaming') FROM flo.status
		WHERE member IN ($names)", "$what: workers to stream");
	my $failed = $dest->safe_psql('postgres',
		"SELECT member || ': ' || detail FROM flo.status WHERE member IN ($names) AND state = 'failed'");
	return if $failed eq '';
	fail("$what: $failed");
	die "a worker is failed\n";
}

# Wait until purging has followed the workers, and see to it that there is more to do
sub advance
{
	my ($what) = @_;

	my $looks = 0;
	load(120) if stream_state()->{messages} < 60;
	return await(sub {
			my $state = stream_state();

			await_streaming($what) if ++$looks % 20 == 0;
			return 0 if $state->{first_seq} < $place + 3;
			# purging may have waited until nearly nothing was left
			load(120), return 0 if $state->{messages} <= 10;
			$place = $state->{first_seq};
			return 1;
		}, "$what: the stream to be purged");
}

my %restart = (
	'stop and start' => sub {
		$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
		wait_state($dest, 'g', $_, 'stopped') for @workers;
		start_workers();
	},
	'kill -9' => sub { kill9_member($dest, 'g', $workers[ rand @workers ]); },
	'immediate stop of the cluster' => sub { $dest->stop('immediate'); $dest->start; },
	'broker' => sub { $nats->kill9; $nats->start; },
	'error' => sub {
		$dest->safe_psql('postgres', 'ALTER TABLE t ADD CONSTRAINT refused CHECK (id < 0) NOT VALID');
		# what was left may have been applied meanwhile
		$source->safe_psql('postgres', q{INSERT INTO t VALUES (nextval('ids'), 'more')});
		wait_state($dest, 'g', 'postgres', 'backoff');
		$dest->safe_psql('postgres', 'ALTER TABLE t DROP CONSTRAINT refused');
	},
	'replicator' => sub {
		$source->safe_psql('postgres', 'CALL load(40)');
		kill9_member($source, 'g', 'replicator');
		$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
		wait_state($dest, 'g', $_, 'stopped') for @workers;
		start_workers();
		wait_until($source, 'postgres', 'SELECT true', 'the source');
	});

# Of one kind, or of each in turn
sub restart_again_and_again
{
	my ($name, @kinds) = @_;
	my $first = stream_state()->{first_seq};
	my $in_backlog = 0;

	$place = $first;
	load(300);
	for my $n (1 .. $restarts)
	{
		$in_backlog += advance($name);
		$restart{ $kinds[ $n % @kinds ] }->();
		wait_until($dest, 'postgres', 'SELECT true', 'the destination');
		await_streaming("$name, restart $n");
	}
	is($in_backlog, $restarts, "$name: $restarts restarts in a backlog");
	# a broker that was killed may have what was purged a moment before
	cmp_ok($place, '>=', $first + 3 * $restarts, "$name: purging was in force");
}

sub compare
{
	my ($name) = @_;

	at_full_speed();
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, $_, "$name: the same rows in $_") for 't', 'wide';
	is($dest->safe_psql('postgres', 'SELECT count(*) FROM hidden'), 0, "$name: nothing that was left out");
	is($dest->safe_psql('postgres', q{SELECT string_agg(last_error, ' ') FROM flo.status
		WHERE last_error !~ 'constraint|NATS|broker'}), '', "$name: no other errors");
	slowly();
}

# --- one worker ------------------------------------------------------------------------

# Transactions of a few rows and of a few messages: each message begins inside one
load(300);
my @inside = map { $_->{flags} & 1 } grep { defined } map {
	FloChunk->parse($nats->message($stream, $_) // '') } 1 .. stream_state()->{last_seq};
cmp_ok(grep({ $_ } @inside) / @inside, '>', 0.9, 'the backlog is dense');
# Reading may begin at messages that begin inside one
is($source->safe_psql('postgres', q{SELECT count(*), bool_and(event->>'Table' = 't') FROM flo.peek('g', 3)}), '3|t',
	'flo.peek() finds whole transactions');
start_workers();
await_streaming('start');
restart_again_and_again('one worker', sort keys %restart);
compare('one worker');

# --- two ---------------------------------------------------------------------------------

create_event_worker($dest, 'g', 'file', 'file', { directory => $dir, start => 'latest', batch_size => 20 });
push @workers, 'file';
$source->safe_psql('postgres', 'TRUNCATE t');
for my $kind (sort keys %restart)
{
	restart_again_and_again("two workers, $kind", $kind);
	compare("two workers, $kind");
}
my @events = file_events($dir);
my %ids;
$ids{ $_->{Id} }++ for @events;
is(scalar(grep { $_ > 1 } values %ids), 0, 'no event is there twice');
is_replayed($source, \@events, 'public.t', 'id', 'the events make the rows');

$_->stop('fast') for $source, $dest;
done_testing();
