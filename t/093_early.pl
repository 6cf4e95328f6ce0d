# Large transactions that are published while they run, as the stream shows it to a reader
# of its own: rules 41 to 47 of doc/protocol.md at the source.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloPieces;
use FloTest;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $filler = "repeat(md5(g::text), 50)";
my $early = q{{"large_transactions": "early", "large_transaction_size": "0"}};

$source->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text);
	ALTER TABLE t ALTER v SET STORAGE EXTERNAL;
	CREATE TABLE u (id int PRIMARY KEY, v text); CREATE TABLE small (id int PRIMARY KEY)');
create_group($source, undef, 'g', tables => q{'{t,u,small}'}, options => "'$early'");

sub sql { return $source->safe_psql('postgres', $_[0]); }

# A worker that has never taken anything: nothing is purged
my %report = (version => 1, worker => 'w', system_identifier => '1', database => 'd', lsn => '0/0', seq => 0,
	copied_seq => 0, missing_chunks => 0, missing_attempt => 0, copy_attempt => 0, at => '2026-01-01T00:00:00.000000Z',
	map { $_ => JSON::PP::false() } qw(copying awaits_resync));

sub register
{
	my ($consumer, %more) = @_;
	$nats->publish("\$KV.pg_flo_state_g.worker.$consumer", JSON::PP::encode_json({ %report, %more }));
}

my $reader = FloPieces->new($nats, 'g');
my $steps = 0;

# What is written so far is in the stream
sub published
{
	$steps++;
	sql("INSERT INTO small VALUES ($steps)");
	return await(sub {
		$reader->read;
		my $last = $reader->{transactions}[-1];
		$last && $last->{rows}[-1] && $last->{rows}[-1] eq "small I $steps";
	}, "step $steps in the stream");
}

sub xid { return $_[0]->query_safe('SELECT pg_current_xact_id()::xid') =~ s/\s+$//r; }
sub session { my $s = $source->background_psql('postgres', on_error_stop => 1); $s->query_safe('BEGIN'); return $s; }
sub rows { return map { "$_[0] I $_" } $_[1] .. $_[2]; }
sub held { return $reader->{held}{ $_[0] }; }

sub of_xid
{
	my ($xid) = @_;
	my ($found) = grep { $_->{xid} == $xid } @{ $reader->{transactions} };
	return $found || { rows => [] };
}

sub sound { is_deeply([ splice @{ $reader->{broken} } ], [], "$_[0]: the stream keeps the rules"); }

sub fill
{
	my ($session, $table, $from, $to) = @_;
	$session->query_safe("INSERT INTO $table SELECT g, $filler FROM generate_series($from, $to) g");
}

# --- 47: nobody is registered, or one that does not read pieces ---------------------------------

sub comes_whole
{
	my ($what, $from) = @_;
	my $session = session();
	my $xid = xid($session);

	fill($session, 't', $from, $from + 7999);
	published();
	ok(!held($xid), "$what: nothing is published before the commit");
	$session->query_safe('COMMIT');
	$session->quit;
	published();
	is_deeply(of_xid($xid)->{rows}, [ rows('t', $from, $from + 7999) ], '... and all of it at its commit');
	ok(!of_xid($xid)->{early}, '... whole');
}

comes_whole('no worker', 1);
register('old');
comes_whole('a worker of an earlier version', 100001);
register('old', pieces => JSON::PP::true());
published();

# --- 41, 42: pieces, subtransactions that are rolled back, the commit ----------------------------

my ($session, $xid);
await(sub {
	$session = session();
	$xid = xid($session);
	fill($session, 't', 200001, 208000);
	published();
	return 1 if held($xid);
	# the replicator has not heard of the worker's new report yet
	$session->query_safe('ROLLBACK');
	$session->quit;
	return 0;
}, 'pieces');
ok(held($xid), 'a large transaction is published while it runs');
cmp_ok(held($xid)->{pieces}, '>', 5, '... in pieces');
$session->query_safe('SAVEPOINT a');
fill($session, 'u', 1, 8000);
published();
$session->query_safe('ROLLBACK TO a');
fill($session, 'u', 50001, 58000);
published();
$session->query_safe('SAVEPOINT b; SAVEPOINT c');
fill($session, 't', 250001, 258000);
$session->query_safe('RELEASE c; RELEASE b');
$session->query_safe("INSERT INTO u SELECT 100000 + g, repeat(md5(g::text), 30000) FROM generate_series(1, 4) g");
my $before = status_of($source, 'g', 'replicator', 'inserts');
cmp_ok($before, '<', 20000, 'its rows do not count yet');
cmp_ok(status_of($source, 'g', 'replicator', 'open_bytes'), '>', 8e6, 'flo.status tells how much of it is out');
$session->query_safe('COMMIT');
$session->quit;
published();
my $of = of_xid($xid);
ok($of->{early}, 'its commit stands in the stream, without its rows');
is_deeply([ sort @{ $of->{rows} } ],
	[ sort(rows('t', 200001, 208000), rows('u', 50001, 58000), rows('t', 250001, 258000), rows('u', 100001, 100004)) ],
	'... and its pieces hold them all, but those that were rolled back');
ok(wait_until($source, 'postgres',
	"SELECT inserts = $before + 1 + 8000 * 3 + 4 FROM flo.status WHERE member = 'replicator'", 'the counters'),
	'... which count now');
sound('one');

# --- 42: what is described before a commit of pieces is described anew behind it ---------------------

# nothing of it is left for its commit, so that this is in one chunk with a row before it and one behind
$session = session();
$xid = xid($session);
fill($session, 't', 300001, 304000);
$session->query_safe('SAVEPOINT a');
fill($session, 't', 320001, 328000);
published();
$session->query_safe('ROLLBACK TO a');
published();
ok(held($xid), 'pieces');
my $pid = pid_of($source, 'g', 'replicator');
pause_process($pid);
sql("INSERT INTO u VALUES (310001, 'before'); INSERT INTO t VALUES (310001, 'before')");
$session->query_safe('COMMIT');
$session->quit;
sql("INSERT INTO u VALUES (310002, 'behind'); INSERT INTO t VALUES (310002, 'behind')");
kill 'CONT', $pid;
published();
my ($first) = grep { $_->{rows}[0] && $_->{rows}[0] eq 't I 310001' } @{ $reader->{transactions} };
my ($behind) = grep { $_->{rows}[0] && $_->{rows}[0] eq 't I 310002' } @{ $reader->{transactions} };
is("$first->{seq} $behind->{seq}", join(' ', (of_xid($xid)->{seq}) x 2), 'they are in one chunk');
sound('described anew');

# --- several at a time, one rolled back, small ones between ---------------------------------------

my @sessions = map { session() } 1 .. 3;
my @xids = map { xid($_) } @sessions;
for my $round (1 .. 3)
{
	fill($sessions[$_], 't', ($_ + 1) * 1000000 + $round * 4000, ($_ + 1) * 1000000 + $round * 4000 + 3999) for 0 .. 2;
	published();
}
is(scalar(grep { held($_) } @xids), 3, 'three are published while they run');
$sessions[1]->query_safe('ROLLBACK');
published();
ok(!held($xids[1]), 'what is rolled back is void');
$sessions[$_]->query_safe('COMMIT') for 2, 0;
$_->quit for @sessions;
published();
is_deeply(of_xid($xids[$_])->{rows}, [ rows('t', ($_ + 1) * 1000000 + 4000, ($_ + 1) * 1000000 + 15999) ],
	"all of number $_") for 0, 2;
ok(!@{ of_xid($xids[1])->{rows} }, 'nothing of the other');
sound('several');

# --- 44: a session that ends sends it again whole; one that died with its server does not come -------

$session = session();
$xid = xid($session);
fill($session, 't', 5000001, 5008000);
published();
ok(held($xid), 'published');
$pid = pid_of($source, 'g', 'replicator');
sql("SELECT pg_terminate_backend($pid)");
wait_other_pid($source, 'g', 'replicator', $pid);
fill($session, 't', 5008001, 5016000);
published();
ok(held($xid), 'a new session publishes it again');
$session->query_safe('COMMIT');
$session->quit;
published();
is_deeply(of_xid($xid)->{rows}, [ rows('t', 5000001, 5016000) ], '... each row once');

$session = session();
$xid = xid($session);
fill($session, 't', 5100001, 5108000);
published();
ok(held($xid), 'published');
$pid = kill9_member($source, 'g', 'replicator');
wait_other_pid($source, 'g', 'replicator', $pid);
published();
ok(!held($xid) && !@{ of_xid($xid)->{rows} }, 'it went with its server');
sound('a crash');

# Options, and what workers say, hold for what is read later: does it travel early, "early" or not?
my $trial = 0;
sub travels
{
	my ($early) = @_;

	return await(
		sub {
			my $session = session();
			my $xid = xid($session);

			fill($session, 'u', $trial * 10000 + 2000001, $trial * 10000 + 2008000);
			$trial++;
			published();
			my $held = held($xid) ? 1 : 0;
			$session->query_safe('ROLLBACK');
			$session->quit;
			published();
			return $held == $early;
		},
		'what was said to be heard');
}

# --- 47: a worker that does not read pieces comes; the option is another -------------------------

sub withdrawn_by
{
	my ($what, $from, $act) = @_;
	my $session = session();
	my $xid = xid($session);

	fill($session, 't', $from, $from + 7999);
	published();
	ok(held($xid), "$what: published");
	$act->($xid);
	ok(await(sub { published(); !held($xid) }, 'the withdrawal'), '... and withdrawn');
	fill($session, 't', $from + 8000, $from + 9999);
	published();
	$session->query_safe('COMMIT');
	$session->quit;
	published();
	ok(!of_xid($xid)->{early}, '... and whole at its commit');
	sound($what);
	return of_xid($xid)->{rows};
}

is_deeply(withdrawn_by('an old worker', 6000001, sub { register('new') }), [ rows('t', 6000001, 6010000) ],
	'... all of it');
register('new', pieces => JSON::PP::true());
travels(1);
is_deeply(withdrawn_by('the option', 6100001, sub {
	sql(q{SELECT flo.alter_replicator('g', '{"large_transactions": "at_commit"}')});
}), [ rows('t', 6100001, 6110000) ], '... all of it');
sql("SELECT flo.alter_replicator('g', '$early')");
travels(1);

# --- rules hold for what commits after them -------------------------------------------------------

sql(q{INSERT INTO flo.rules (group_name, stage, table_name, column_name, action, arguments)
	VALUES ('g', 'replicator', 't', 'id', 'lt', '{"value": 6204001}')});
is_deeply(withdrawn_by('a rule', 6200001, sub {
	my ($xid) = @_;
	my ($high) = sort { $b <=> $a } map { $_->[1] =~ / (\d+)$/ } @{ held($xid)->{rows} };

	cmp_ok($high, '<=', 6204000, '... of which the rule of the replicator has left a part');
	sql('DELETE FROM flo.rules');
}), [ rows('t', 6200001, 6210000) ], '... by the rules at its commit');

# --- 46: one that is idle does not hold a stream with a limit ---------------------------------------

sql(q{SELECT flo.alter_replicator('g', '{"stream_max_bytes": "600MB"}')});
travels(1);
is_deeply(withdrawn_by('a stream with a limit', 6300001, sub {
	sql(q{SELECT flo.alter_replicator('g', '{"large_transaction_size": "1TB"}')});
	travels(0);
	sql("INSERT INTO u SELECT g + 1000000, repeat('x', 1000000) FROM generate_series(1, 150) g");
}), [ rows('t', 6300001, 6310000) ], '... all of it');
ok($reader->{voided_inside}, '... among the rows of another that travels whole');
sql(q{SELECT flo.alter_replicator('g',
	'{"stream_max_bytes": null, "stream_max_age": "8s", "large_transaction_size": "0"}')});
travels(1);
is_deeply(withdrawn_by('a stream that forgets', 6400001, sub { }), [ rows('t', 6400001, 6410000) ], '... all of it');

# --- from a size on ---------------------------------------------------------------------------------

sql(q{SELECT flo.alter_replicator('g', '{"stream_max_age": null, "large_transaction_size": "12MB"}')});
travels(0);
$session = session();
$xid = xid($session);
fill($session, 't', 7000001, 7006000);
published();
ok(!held($xid), 'it is not large enough');
fill($session, 't', 7006001, 7018000);
published();
ok(held($xid), '... and now it is');
$session->query_safe('COMMIT');
$session->quit;
published();
is_deeply(of_xid($xid)->{rows}, [ rows('t', 7000001, 7018000) ], 'what came before is there');
sound('size');

$source->stop;
$nats->stop;
done_testing();
