
# flo.cutover(): to the destination and back under load; what it refuses, and what a
# person can do.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my ($old, $new) = map { flo_node($_, $nats) } qw(old new);
my @tables = qw(pgbench_accounts pgbench_branches pgbench_tellers pgbench_history);
my $allow = q{'{"allow_cutover": true}'};

# The steps of a call as "step: detail" lines, or its error
sub cutover
{
	my ($node, $arguments) = @_;
	my ($out, $err) = ('', '');

	$node->psql('postgres', "\\set VERBOSITY verbose\nSELECT step || ': ' || detail FROM flo.cutover($arguments);",
		stdout => \$out, stderr => \$err);
	return $err =~ /ERROR:\s+(.*)/ ? "$1\n$err" : $out;
}

sub takes_writes
{
	my ($node, $table) = @_;
	my $error = error_of($node, "BEGIN; DELETE FROM $table; ROLLBACK");
	return $error eq '' ? 'yes' : substr($error, 0, 5);
}

# --- under load, there and back ------------------------------------------------

pgbench_tables($old, $new);
$old->safe_psql('postgres', q{
	INSERT INTO pgbench_branches SELECT 1, 0, '';
	INSERT INTO pgbench_tellers SELECT i, 1, 0, '' FROM generate_series(1, 10) i;
	INSERT INTO pgbench_accounts SELECT i, 1, 0, '' FROM generate_series(1, 100000) i;
});
create_copy_group($old, $new, 'move', tables => "'{" . join(',', @tables) . "}'");

like(cutover($old, q{'move', dry_run => true}), qr/^55000: .*does not allow a cut-over\n.*alter_worker/s,
	'the destination has to allow it');
$new->safe_psql('postgres', qq{SELECT flo.alter_worker('move', 'postgres', $allow)});
like(cutover($old, q{'move', reverse => 'back', dry_run => true}),
	qr/^check: attempt.*^check: a cut-over is possible/ms,
	'a dry run');
is($new->safe_psql('postgres', 'SELECT (SELECT count(*) FROM flo.sources) + (SELECT count(*) FROM flo.fences)'), '0',
	'it has made nothing there');
is($old->safe_psql('postgres', 'SELECT (SELECT count(*) FROM flo.workers) + (SELECT count(*) FROM flo.fences)'), '0',
	'nor here');

my $load = start_load($old, clients => 4);
my $steps = cutover($old, q{'move', reverse => 'back', max_lag => '1 min'});
like($steps, qr/^check: .*^fence: 4 tables.*^open: /ms, 'cut over under load');
stop_load($load);
is(takes_writes($old, $_), '55000', "$_: the old server takes no writes") for @tables;
is(takes_writes($new, $_), 'yes', "$_: the new one does") for @tables;
is_same_table($old, $new, $_) for @tables;
my ($fenced, $opened) = map { $_->[0]->safe_psql('postgres',
		"SELECT extract(epoch FROM at) FROM flo.cutover_steps WHERE step = '$_->[1]'") }
  [ $old, 'fence' ], [ $new, 'open' ];
note(sprintf 'from the fence to a destination that is open: %.0f ms', ($opened - $fenced) * 1000);

like(cutover($old, q{'move'}), qr/^55000: .*fenced already.*unfence/s, 'what is fenced is not fenced again');
like(error_of($old, q{SELECT flo.unfence('move')}),
	qr/^55000: .*force/s, 'a fence that was left is not taken down by accident');

$load = start_load($new, clients => 4);
like(cutover($new, q{'back', reverse => 'move', compare => true, max_lag => '1 min', timeout => '1 min'}),
	qr/^fence: .*^compare: 4 tables are equal.*^open: /ms, 'and back, compared');
stop_load($load);
is(takes_writes($new, $_), '55000', "$_: the new server takes no writes") for @tables;
is(takes_writes($old, $_), 'yes', "$_: the old one does again") for @tables;
$old->safe_psql('postgres', q{UPDATE pgbench_accounts SET abalance = 7 WHERE aid < 100});
wait_caught_up($old, $new, 'move');
is_same_table($old, $new, $_) for @tables;

# --- what is wrong with a call ---------------------------------------------------

$_->safe_psql('postgres', 'CREATE TABLE a (id int PRIMARY KEY, t text);
	CREATE TABLE b (LIKE a INCLUDING ALL)') for $old, $new;
create_group($old, $new, 'a', tables => q{'{a}'}, worker_options => $allow);
for my $case (
	[ q{'nobody'}, qr/^42704: group "nobody" does not exist/ ],
	[ q{NULL}, qr/^22004: / ],
	[ q{'a', reverse => 'a'}, qr/^22023: the way back/ ],
	[ q{'a', reverse => 'No Name'}, qr/^22023: / ],
	[ q{'a', reverse => 'move'}, qr/^22023: group "move" has its replicator in this database/ ],
	[ q{'a', timeout => '-1 s'}, qr/^22023: argument "timeout" must be positive/ ],
	[ q{'a', max_lag => NULL}, qr/^22004: / ],
	[ q{'a', worker_name => 'other'}, qr/^55000: .*no worker "other"/ ])
{
	my ($arguments, $error) = @$case;
	like(cutover($old, $arguments), $error, "refused: $arguments");
}
like(cutover($new, q{'a'}), qr/^42704: group "a" has no replicator in this database/, 'refused: at the destination');
like(error_of($old, q{BEGIN; INSERT INTO b VALUES (1); SELECT * FROM flo.cutover('a')}), qr/^25001: /,
	'refused: in a transaction that has written');

# --- what stands in the way ---------------------------------------------------

$new->safe_psql('postgres', q{INSERT INTO flo.dead_letters (group_name, worker_name, url, event_id, event)
	VALUES ('a', 'postgres', 'x', 'x', '{}')});
like(cutover($old, q{'a', reverse => 'a_back'}), qr/^55000: .*there are dead letters/, 'dead letters');
$new->safe_psql('postgres', q{DELETE FROM flo.dead_letters});

$new->safe_psql('postgres', q{INSERT INTO flo.routes (group_name, source_table, destination_table)
	VALUES ('a', 'public.a', 'public.b')});
like(cutover($old, q{'a', reverse => 'a_back'}), qr/^55000: .*rules or routes/, 'a route has no way back');
$new->safe_psql('postgres', q{DELETE FROM flo.routes});

create_group($new, $old, 'other_way', tables => q{'{b}'});
like(cutover($old, q{'a', reverse => 'other_way', dry_run => true}),
	qr/^55000: .*group "other_way", does not send table public\.a\n.*flo\.add_table/s,
	'a way back that was made by hand, of other tables');
$_->safe_psql('postgres', q{SELECT flo.drop_group('other_way')}) for $old, $new;

$new->safe_psql('postgres', q{SELECT flo.stop_group('a')});
wait_state($new, 'a', 'postgres', 'stopped');
like(cutover($old, q{'a', max_lag => '1 s'}),
	qr/^55000: .*behind by more than max_lag/, 'a worker that does not run');
start_member($new, 'a', 'postgres');

# it follows its source for a moment when it is told to, and meanwhile reads what it is asked
my $asked = FloTest::Session->new($old, undef, timeout => 60);
my $stops = pid_of($new, 'a', 'postgres');
pause_process($stops);
$new->safe_psql('postgres', q{SELECT flo.stop_group('a')});
$asked->send(q{SELECT * FROM flo.cutover('a', max_lag => '4 s')});
wait_until($old, 'postgres', q{SELECT state = 'preparing' FROM flo.cutovers WHERE group_name = 'a'}, 'the question');
kill 'CONT', $stops;
$asked->result;
like($asked->{err}, qr/behind by more than max_lag/, 'a worker that is about to stop');
is(takes_writes($old, 'a'), 'yes', 'and nothing is fenced');
$asked->close;
start_member($new, 'a', 'postgres');

my $session = FloTest::Session->new($old);
$session->query('BEGIN; INSERT INTO a VALUES (1)');
# all else is prepared within that
like(cutover($old, q{'a', reverse => 'a_back', timeout => '10 s'}),
	qr/^57014: .*writers did not end/, 'a writer that does not end');
$session->query('COMMIT');

# one that is there before anything of a fence is
$_->safe_psql('postgres', 'CREATE TABLE w (id int PRIMARY KEY)') for $old, $new;
create_group($old, $new, 'w', tables => q{'{w}'}, worker_options => $allow);
$session->query('BEGIN; INSERT INTO w VALUES (1)');
like(cutover($old, "'w', reverse => $_, timeout => '5 s'"),
	qr/^57014: .*writers did not end within timeout: table public\.w/, "the same of a group that has had no fence: $_")
  for 'NULL', q{'w_back'};
$session->query('COMMIT');
$_->safe_psql('postgres', q{SELECT flo.drop_group('w'); DROP TABLE w}) for $old, $new;
for my $force ('false', 'true')
{
	my $waits = FloTest::Session->new($old);

	$session->query('BEGIN; INSERT INTO a VALUES (9)');
	$waits->send(q{SELECT * FROM flo.cutover('a', timeout => '1 min')});
	ok(wait_until($new, 'postgres', q{SELECT state = 'prepared' FROM flo.cutovers WHERE group_name = 'a'},
			'the source to wait for its writers'), 'the source waits for a writer');
	is(error_of($old, "SELECT flo.unfence('a', force => $force)"), '', "a person has it undone, force => $force");
	ok(wait_until($_, 'postgres', q{SELECT state = 'cancelled' FROM flo.cutovers WHERE group_name = 'a'}, 'the end'),
		'it is: ' . $_->name) for $old, $new;
	$session->query('ROLLBACK');
}
$old->safe_psql('postgres', q{BEGIN; INSERT INTO a VALUES (2); PREPARE TRANSACTION 'two'});
like(cutover($old, q{'a', timeout => '5 s'}), qr/^57014: .*writers did not end/, 'nor does one that is prepared');
$old->safe_psql('postgres', q{COMMIT PREPARED 'two'; INSERT INTO a VALUES (3)});
wait_caught_up($old, $new, 'a');
is_same_table($old, $new, 'a', 'everything is as it was');
ok(wait_until($new, 'postgres', q{SELECT NOT EXISTS (SELECT FROM flo.sources WHERE group_name = 'a_back')
		AND NOT EXISTS (SELECT FROM flo.fence_status() WHERE group_name = 'a' AND state = 'raised')},
			'the destination to undo it'),
	'no way back is left');

$new->safe_psql('postgres', q{DELETE FROM a WHERE id = 3});
like(cutover($old, q{'a', compare => true, timeout => '20 s'}),
	qr/^55000: .*comparison \d+: public.a is different/, 'tables that differ');
is(takes_writes($old, 'a'), 'yes', 'the fence is down again');
$new->safe_psql('postgres', q{INSERT INTO a VALUES (3)});

# --- several destinations -------------------------------------------------------

$new->safe_psql('postgres', 'CREATE DATABASE second');
$new->safe_psql('second', 'CREATE EXTENSION pg_flo;
	CREATE TABLE a (id int PRIMARY KEY, t text); INSERT INTO a VALUES (1), (2), (3)');
$new->safe_psql('second', q{SELECT flo.create_worker('a', options => '{"allow_cutover": true, "start": "latest"}')});
start_member($new, 'a', 'postgres', 'second');
# the source has to have heard of it
await(sub { cutover($old, q{'a', dry_run => true}) =~ /^22023/ }, 'the other destination to be known') or die;
my $refused = cutover($old, q{'a'});
like($refused, qr/^22023: .*several databases.*worker_name/s, 'only one can take over');
my $consumer = $old->safe_psql('postgres', q{SELECT consumer FROM flo.stream_status('a') WHERE database = 'second'});
$session->query(q{INSERT INTO a VALUES (4, 'four')});
like(cutover($old, qq{'a', worker_name => '$consumer'}),
	qr/^arrive: destinations have everything.*^open: /ms, 'the one that is named');
is($new->safe_psql('second', 'SELECT count(*) FROM a'), '4', 'it has everything');
is($new->safe_psql('postgres', 'SELECT count(*) FROM a'), '4', 'so has the other one');

# --- by force ---------------------------------------------------------------------

my (undef, undef, $said) = $old->psql('postgres', q{SELECT flo.unfence('a', force => true)});
like($said, qr/WARNING:.*take writes here again/, 'it is said that both may take writes');
ok(wait_until($old, 'postgres', q{SELECT state = 'released' FROM flo.cutovers WHERE group_name = 'a'},
		'the old server to learn that the other one is open'), 'it fences itself again at once');
is(takes_writes($old, 'a'), '55000', 'it takes no writes');
like($old->safe_psql('postgres', q{SELECT detail FROM flo.cutover_steps
	WHERE group_name = 'a' ORDER BY number DESC LIMIT 1}),
	qr/both sides were writable from/, 'and says since when both did');

$_->safe_psql('postgres', 'CREATE TABLE c (id int PRIMARY KEY)') for $old, $new;
create_group($old, $new, 'c', tables => q{'{c}'}, worker_options => $allow);
halt_at($new, 'cutover.said.prepared');
my $call = FloTest::Session->new($old);
$call->send(q{SELECT * FROM flo.cutover('c', reverse => 'c_back')});
ok(await_halt($new, 'said.prepared'), 'the destination sleeps');
ok(wait_until($old, 'postgres', q{SELECT state = 'fenced' FROM flo.cutovers WHERE group_name = 'c'},
	'the fence'), 'the old server is fenced');
(undef, undef, $said) = $old->psql('postgres', q{SELECT flo.unfence('c')});
like($said, qr/NOTICE:.*is being undone/, 'a person has it undone');
kill9_member($new, 'c', 'postgres');
ok(wait_until($old, 'postgres', q{SELECT state IN ('cancelled', 'released') FROM flo.cutovers
	WHERE group_name = 'c'}, 'the end'),
	'both sides come to an end');

# The destination opens while the transaction of who has forced this side is open
$_->safe_psql('postgres', 'CREATE TABLE r (id int PRIMARY KEY); INSERT INTO r VALUES (1)') for $old, $new;
create_group($old, $new, 'r', tables => q{'{r}'}, worker_options => $allow);
halt_at($new, 'cutover.open.before');
my $force = FloTest::Session->new($old);
$call = FloTest::Session->new($old);
$call->send(q{SELECT * FROM flo.cutover('r')});
ok(await_halt($new, 'open.before'), 'the destination sleeps before it opens');
$force->query(q{BEGIN; SELECT flo.unfence('r', force => true)});
kill9_member($new, 'r', 'postgres');
ok(wait_until($new, 'postgres', q{SELECT state = 'open' FROM flo.cutovers WHERE group_name = 'r'}, 'it to open'),
	'it opens');
wait_until($old, 'postgres', q{SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)
		OR clock_timestamp() - changed_at > '3 s' FROM flo.cutovers WHERE group_name = 'r'},
		'the source to hear of it');
$force->query('COMMIT');
ok(wait_until($old, 'postgres', q{SELECT state = 'released' FROM flo.cutovers WHERE group_name = 'r'},
		'the old server to learn of it'), 'the old server learns of it');
is(takes_writes($old, 'r'), '55000', 'and fences itself again, whenever it was forced');

is(error_of($old, q{BEGIN; SELECT flo.unfence('r', force => true); SELECT flo.drop_group('r'); COMMIT}), '',
	'in one transaction it is opened and let go of');
is(takes_writes($old, 'r'), 'yes', 'it stays open then');

# --- as an ordinary owner -----------------------------------------------------------

for my $node ($old, $new)
{
	$node->safe_psql('postgres', q{
		CREATE ROLE mover LOGIN REPLICATION; CREATE ROLE other LOGIN;
		GRANT CREATE ON DATABASE postgres TO mover;
		GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA flo TO mover, other;
		CREATE TABLE d (id serial PRIMARY KEY, t text); ALTER TABLE d OWNER TO mover});
}
$old->safe_psql('postgres', q{SET SESSION AUTHORIZATION mover; SELECT flo.create_replicator('d', tables => '{d}')});
$old->safe_psql('postgres', 'CREATE TABLE not_theirs (id int)');
start_member($old, 'd', 'replicator');
$new->safe_psql('postgres', qq{SET SESSION AUTHORIZATION mover; SELECT flo.create_worker('d', options => $allow)});
start_member($new, 'd', 'postgres');
like(error_of($old, q{SET SESSION AUTHORIZATION other; SELECT * FROM flo.cutover('d')}), qr/^42501: /,
	"somebody else's group is not cut over");
$old->safe_psql('postgres', q{INSERT INTO d (t) VALUES ('old')});
for my $call (q{prepare_fence('d', 'source', '{d}')}, q{raise_fence('d', 'source', 'x')}, q{unfence('d')})
{
	like(error_of($old, "SET SESSION AUTHORIZATION other; SELECT flo.$call"), qr/^42501: /, "nor fenced: $call");
}
like(error_of($old, q{SET SESSION AUTHORIZATION mover; SELECT flo.prepare_fence('d', 'source', '{not_theirs}')}),
	qr/^42501: .*must not fence table/, "nor somebody else's table");
is(error_of($old, q{SET SESSION AUTHORIZATION mover; SELECT * FROM flo.cutover('d', reverse => 'd_back')}), '',
	'an ordinary owner cuts over');
$new->safe_psql('postgres', q{SET SESSION AUTHORIZATION mover; INSERT INTO d (t) VALUES ('new')});
wait_caught_up($new, $old, 'd_back');
is_same_table($old, $new, 'd', 'and follows the new server');

$old->stop('immediate');
(undef, undef, $said) = $new->psql('postgres', q{SELECT flo.unfence('move', force => true)});
unlike($said, qr/ERROR/, 'a destination whose source is gone is opened by force');

$new->stop('fast');
done_testing();
