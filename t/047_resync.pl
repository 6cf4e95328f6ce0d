
# flo.resync() always leads out: any number of them, each broken off anywhere,
# with or without a copy, of all tables or of one, ends in a group that streams;
# and a source that is refused has changed nothing at the broker.

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

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text);
	CREATE TABLE other (id int PRIMARY KEY, v text)') for $source, $dest;
create_group($source, $dest, 'g', tables => q{'{public.t,public.other}'});

my $next = 1;
sub insert
{
	$source->safe_psql('postgres', "INSERT INTO t VALUES ($next, 'v'); INSERT INTO other VALUES ($next, 'v')");
	return $next++;
}
sub generation { return $source->safe_psql('postgres', 'SELECT generation FROM flo.generations'); }
sub resync { $source->safe_psql('postgres', "SELECT flo.resync('g', $_[0])"); }
sub up { wait_until($_, 'postgres', 'SELECT true', $_->name) for $source, $dest; }
sub wait_generation
{
	wait_until($source, 'postgres', "SELECT generation <> '$_[0]' AND NOT resync FROM flo.generations",
		'another generation') or die;
}
sub wait_copied
{
	wait_until($source, 'postgres', q{SELECT count(*) = 0 FROM flo.copy_requests}, 'the copy') or die;
}

# After whatever was done: all tables as at the source
sub comes_out
{
	my ($what) = @_;

	resync('copy => true');
	is_led_out($what);
}
sub is_led_out
{
	my ($what) = @_;

	wait_until($source, 'postgres', "SELECT state = 'streaming' AND NOT resync FROM flo.status
		JOIN flo.generations USING (group_name) WHERE member = 'replicator'", 'the source to stream') or die;
	wait_copied();
	insert();
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, $_, "$what: table $_") for qw(t other);
}

insert() for 1 .. 3;
wait_caught_up($source, $dest, 'g');

# --- two requests, the broker away in between ----------------------------------------------

my $was = generation();
my $open = FloTest::Session->new($source);
$open->query(q{BEGIN; INSERT INTO t VALUES (-1, 'open')});
resync('copy => false');
wait_until($source, 'postgres', q{SELECT state = 'waiting' AND detail ~ 'write transactions' FROM flo.status},
	'the slot to wait') or die;
$nats->pause;
$open->query('COMMIT');
wait_generation($was);
my $unannounced = generation();
$open->query(q{BEGIN; INSERT INTO t VALUES (-2, 'open')});
resync('copy => true');
wait_until($source, 'postgres', q{SELECT resync FROM flo.generations}, 'the second request') or die;
$nats->resume;
$open->query('COMMIT');
$open->close;
wait_generation($unannounced);
is_led_out('a resync on top of one that was never announced');
is($source->safe_psql('postgres', q{SELECT follows::text FROM flo.generations}), "{$was,$unannounced}",
	'the generations before it are known');

# --- broken off at each step ---------------------------------------------------------------

# By a stop, then by another one or a crash; what is there to be emptied is there once
for my $step ('slot.before stop', 'slot.after crash', 'generation.after crash', 'empty.after', 'announce.after stop',
	'publish.before crash')
{
	my ($point, $second) = split / /, $step;

	insert();
	halt_at($source, $point);
	resync('copy => false');
	ok(await_halt($source, "$point of a resync"), "broken off at $point");
	if ($second)
	{
		halt_at($source, $point);
		resync('copy => true');
		ok(await_halt($source, "$point of a resync"), 'the next one, too');
	}
	if (!$second || $second eq 'crash')
	{
		kill9_member($source, 'g', 'replicator');
		up();
	}
	resync('copy => true') if !$second || $second eq 'stop';
	is_led_out("broken off at $point");
}

# By a crash of the destination as it begins with the new one: until it has, it has the position that it had
insert();
wait_caught_up($source, $dest, 'g');
my $had = $dest->safe_psql('postgres', q{SELECT remote_lsn FROM pg_replication_origin_status});
halt_at($dest, 'origin.after');
resync('copy => false');
ok(await_halt($dest, 'the new beginning'), 'the worker halts as it begins anew');
$nats->pause;
my $checkpointer = $dest->safe_psql('postgres',
	q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'});
kill9_member($dest, 'g', 'postgres');
wait_until($dest, 'postgres', "SELECT pid <> $checkpointer FROM pg_stat_activity WHERE backend_type = 'checkpointer'",
	'the destination to begin anew') or die;
is($dest->safe_psql('postgres',
	"SELECT greatest(p.start_lsn, (SELECT max(remote_lsn) FROM pg_replication_origin_status)) >= '$had'
	FROM flo.progress p"), 't', 'its position has not gone back');
$nats->resume;
comes_out('a destination that crashed as it began anew');

# A chain of generations that published nothing, with a worker that saw none of them
my $log = -s $dest->logfile;
insert();
wait_caught_up($source, $dest, 'g');
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
insert();
for my $point (qw(generation.after empty.after publish.after))
{
	halt_at($source, $point);
	resync('copy => false');
	ok(await_halt($source, "$point of a resync"), "$point, the worker away");
}
my $given_up = $source->safe_psql('postgres', q{SELECT given_up FROM flo.generations});
resync('copy => false');
wait_state($source, 'g', 'replicator', 'streaming');
is($source->safe_psql('postgres', qq{SELECT given_up <= '$given_up' FROM flo.generations}), 't',
	'what is given up begins where the worker is, not at the generation before');
my $after = insert();
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
wait_state($dest, 'g', 'postgres', 'streaming');
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', q{SELECT max(id) FROM t}), $after, 'it follows past those that it never saw');
like(substr(slurp_file($dest->logfile), $log),
	qr{the source began anew at \S+: what it committed after \S+ is given up here}, 'and says what it gives up');
comes_out('then with a copy');

# One table and all tables, while either copy runs
$source->safe_psql('postgres', q{SELECT flo.resync('g', 't')});
resync('copy => true');
$source->safe_psql('postgres', q{SELECT flo.resync('g', 'other')});
is_led_out('resync of one table and of all at once');
for my $point (qw(plan.before copied.after))
{
	halt_at($source, $point);
	resync('copy => true');
	ok(await_halt($source, $point), "the copy halts at $point");
	halt_at($source, $point);
	$source->safe_psql('postgres', q{SELECT flo.resync('g', 't')});
	resync('copy => true');
	ok(await_halt($source, $point), "and once more");
	comes_out("resync over a copy at $point");
}

# --- a stream of a later state of this server -------------------------------------------------

# A backup from before a resync is restored: to the server the generation that publishes is unknown
my $known = $source->safe_psql('postgres', q{SELECT generation, start_lsn, epoch, follows, copy_attempt
	FROM flo.generations});
$was = generation();
resync('copy => false');
wait_generation($was);
wait_state($source, 'g', 'replicator', 'streaming');
insert();
wait_caught_up($source, $dest, 'g');
$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($source, 'g', 'replicator', 'stopped');
my @columns = split(/\|/, $known);
$source->safe_psql('postgres', "UPDATE flo.generations SET generation = '$columns[0]', start_lsn = '$columns[1]',
	epoch = $columns[2], follows = '$columns[3]', copy_attempt = $columns[4]");

# and it is refused before it touches anything
my $config = $nats->api('STREAM.INFO.pgflo_g_stream')->{config};
my $bucket = $nats->api('STREAM.INFO.KV_pg_flo_state_g')->{state}{last_seq};
$source->safe_psql('postgres', q{SELECT flo.alter_replicator('g', '{"stream_max_bytes": "77MB"}');
	SELECT flo.start_group('g')});
wait_state($source, 'g', 'replicator', 'failed');
like(status_of($source, 'g', 'replicator', 'detail'), qr/owned by another generation/,
	'a stream of an unknown generation is another one\'s');
is($nats->api('STREAM.INFO.pgflo_g_stream')->{config}{max_bytes}, $config->{max_bytes},
	'whose limits stay as they are');
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g')});
wait_state($dest, 'g', 'postgres', 'stopped');
my $keys = $nats->api('STREAM.INFO.KV_pg_flo_state_g')->{state}{last_seq};
$source->safe_psql('postgres', q{SELECT flo.start_group('g')});
wait_until($source, 'postgres', q{SELECT state = 'failed' AND restarts > 0 FROM flo.status}, 'refused again') or die;
is($nats->api('STREAM.INFO.KV_pg_flo_state_g')->{state}{last_seq}, $keys, 'nor is the bucket written to');
$dest->safe_psql('postgres', q{SELECT flo.start_group('g')});
comes_out('and resync leads out');
is($nats->api('STREAM.INFO.pgflo_g_stream')->{config}{max_bytes}, 77 * 1024 * 1024, 'then the limits are ours');

# --- another source ----------------------------------------------------------------------------

my $other = flo_node('other', $nats);
$other->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)');
$other->safe_psql('postgres',
	q{SELECT flo.create_replicator('g', tables => '{public.t}', mode => 'copy_and_stream',
	options => '{"stream_max_bytes": "55MB"}')});
my $seq = $nats->last_seq('pgflo_g_stream');
$other->safe_psql('postgres', q{SELECT flo.start_group('g')});
wait_state($other, 'g', 'replicator', 'failed');
is($nats->api('STREAM.INFO.pgflo_g_stream')->{config}{max_bytes}, 77 * 1024 * 1024,
	'a second source of that name changes no limit');
is_led_out('and the first one goes on');

$_->stop('fast') for $source, $dest, $other;
done_testing();
