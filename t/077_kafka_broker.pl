
# Events in topics of Kafka, each of them exactly once whatever dies: with a real
# broker, by "make test-kafka".

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloKafka;
use FloTest;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

plan skip_all => 'make test-kafka runs it, with a broker' if !$ENV{FLO_KAFKA};

my $json = JSON::PP->new->utf8->canonical;
my $kafka = FloKafka->new;
my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);

sub options { return { brokers => $kafka->brokers, @_ }; }

sub status { my ($worker, $what) = @_; return status_of($dest, 'g', $worker, $what); }

sub insert
{
	my ($from, $to) = @_;
	$source->safe_psql('postgres', "INSERT INTO t SELECT i, 'v' || i FROM generate_series($from, $to) i");
}

sub drop_worker
{
	my ($worker) = @_;
	$dest->safe_psql('postgres', "SELECT flo.stop_group('g', '$worker'); SELECT flo.drop_worker('g', '$worker')");
}

# --- what messages say -------------------------------------------------------------------

$source->safe_psql('postgres', q{
	CREATE TABLE t (id int PRIMARY KEY, v text);
	CREATE TABLE "Odd Näme" (a text, b int, c text, PRIMARY KEY (b, a));
	CREATE TABLE keyless (v text);
	ALTER TABLE keyless REPLICA IDENTITY FULL;
	INSERT INTO t SELECT i, 'copied' FROM generate_series(1, 500) i;
});
$kafka->create_topic('g.public.t', 3);
create_copy_group($source, undef, 'g', wait => 0);
create_event_worker($dest, 'g', 'kafka', 'k', options(start => 'copy', compression => 'lz4'));
wait_caught_up($source, $dest, 'g', member => 'k');
are_exactly([ $kafka->events('g.public.t') ], 500, 'copied rows are messages');

insert(501, 1000);
$source->safe_psql('postgres', q{
	UPDATE t SET v = 'new' WHERE id = 1;
	DELETE FROM t WHERE id = 2;
	INSERT INTO "Odd Näme" VALUES ('x "y"', 5, 'c');
	INSERT INTO keyless VALUES ('a');
	TRUNCATE "Odd Näme";
});
wait_caught_up($source, $dest, 'g', member => 'k');
my @messages = $kafka->messages('g.public.t');
my %partitions;
push @{ $partitions{ $_->{key} }{ $_->{partition} } }, $json->decode($_->{value})->{Type} for @messages;
is(scalar(grep { keys %$_ > 1 } values %partitions), 0, 'messages of a key are in one partition');
ok((grep { !exists $partitions{qq({"id":$_})} } 1 .. 1000) == 0, 'the key is that of the row');
is_deeply([ values %{ $partitions{'{"id":1}'} } ], [ [ 'INSERT', 'UPDATE' ] ], 'in order');
is_deeply([ values %{ $partitions{'{"id":2}'} } ], [ [ 'INSERT', 'DELETE' ] ], 'a DELETE has the old key');
my %used = map { $_->{partition} => 1 } @messages;
is(scalar keys %used, 3, 'all partitions are used');
my ($one) = grep { $_->{key} eq '{"id":1}' } reverse @messages;
is_deeply([ @{ $one->{headers} }{qw(Flo-Type Flo-Schema Flo-Table)} ], [qw(UPDATE public t)], 'headers');
@messages = $kafka->messages('g.public.Odd-20N-C3-A4me');
is_deeply([ map { $_->{key} } @messages ], [ '{"a":"x \"y\"","b":5}', undef ],
	'a name that is none of a topic is escaped; what is about a whole table has no key');
is_deeply([ map { $_->{key} } $kafka->messages('g.public.keyless') ], [undef], 'nor has a row of a table without one');
drop_worker('k');

# Formats, tombstones, other keys
create_event_worker($dest, 'g', 'kafka', 'other', options(start => 'latest', topic => 'all', format => 'debezium',
	tombstones => JSON::PP::true, partition_by => 'table'));
$source->safe_psql('postgres', 'DELETE FROM t WHERE id = 3');
wait_caught_up($source, $dest, 'g', member => 'other');
@messages = $kafka->messages('all');
is_deeply([ map { [ $_->{key}, defined $_->{value} ? $json->decode($_->{value})->{op} : undef ] } @messages ],
	[ [ '{"Schema":"public","Table":"t"}', 'd' ], [ '{"Schema":"public","Table":"t"}', undef ] ],
	'formats, tombstones and partition_by');
drop_worker('other');

# --- kills at each arrow ---------------------------------------------------------------------

my $rows = 0;
create_event_worker($dest, 'g', 'kafka', 'k', options(topic => 'arrows.{table}', start => 'latest'));
insert(2000 + $rows + 1, 2000 + $rows + 100);
$rows += 100;
wait_caught_up($source, $dest, 'g', member => 'k');
for my $point ('send.before', 'send.after', 'committed.after', 'commit.before', 'commit.after', 'ack.before')
{
	my $visible = $point =~ /^send/ ? 0 : 100;

	halt_at($dest, $point);
	insert(2000 + $rows + 1, 2000 + $rows + 100);
	await_halt($dest, $point);
	is(scalar($kafka->events('arrows.t')), $rows + $visible, "$point: what is committed is there");
	$rows += 100;
	kill9_member($dest, 'g', 'k');
	wait_caught_up($source, $dest, 'g', member => 'k');
	are_exactly([ $kafka->events('arrows.t') ], $rows, "killed at $point: each event once");
}

# More than the batch that was committed comes again, and in other batches
halt_at($dest, 'committed.after');
insert(2000 + $rows + $_ * 10 + 1, 2000 + $rows + $_ * 10 + 10) for 0 .. 9;
$rows += 100;
await_halt($dest);
$dest->safe_psql('postgres', q{SELECT flo.alter_worker('g', 'k', '{"batch_size": 7}')});
kill9_member($dest, 'g', 'k');
wait_caught_up($source, $dest, 'g', member => 'k');
are_exactly([ $kafka->events('arrows.t') ], $rows, 'other batches after the kill: each event once');
my @ids = map { $_->{NewTuple}{id} } $kafka->events('arrows.t');
is_deeply(\@ids, [ 2001 .. 2000 + $rows ], 'and in order');

drop_worker('k');

# Chunks of a copy, of which a loader has several
$source->safe_psql('postgres', q{CREATE TABLE c (id int PRIMARY KEY, v text);
	INSERT INTO c SELECT i, repeat(md5(i::text), 40) FROM generate_series(1, 3000) i});
for my $point ('send.after', 'committed.after')
{
	my $group = 'h_' . $point =~ s/\W/_/gr;
	my $from = -s $dest->logfile;

	halt_at($dest, "$point:2");
	$source->safe_psql('postgres', "SELECT flo.create_replicator('$group', tables => '{c}', mode => 'copy_and_stream');
		SELECT flo.start_group('$group')");
	$dest->safe_psql('postgres', "SELECT flo.create_worker('$group', 'kafka', 'c', '"
		  . JSON::PP::encode_json(options(topic => "copy.$group", start => 'copy'))
		  . "'); SELECT flo.start_group('$group')");
	await_halt($dest, "$point in a loader") and kill 'KILL', halted_pid($dest, "$point:2", $from);
	wait_caught_up($source, $dest, $group, member => 'c');
	are_exactly([ $kafka->events("copy.$group") ], 3000, "a loader killed at $point: each row once");
	$_->safe_psql('postgres', "SELECT flo.stop_group('$group')") for $source, $dest;
}

# --- a broker that dies, hangs, is slow ---------------------------------------------------------

create_event_worker($dest, 'g', 'kafka', 'k',
	options(topic => 'outage', start => 'latest', transaction_timeout => '10s'));
$rows = 0;
sub more { my ($n) = @_; insert(10001 + $rows, 10000 + $rows + $n); $rows += $n; }

more(1000);
$kafka->kill9;
more(1000);
ok(wait_until($dest, 'postgres', q{SELECT count(*) > 0 FROM flo.status
	WHERE member = 'k' AND state IN ('waiting', 'backoff') AND detail ~ 'Kafka'}, 'the worker to wait'),
	'a broker that is away is waited for');
$kafka->start;
more(1000);
wait_caught_up($source, $dest, 'g', member => 'k');
are_exactly([ $kafka->events('outage') ], $rows, 'killed and started again: each event once');

$kafka->pause;
more(1000);
wait_state($dest, 'g', 'k', 'waiting');
my $began = time;
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g', 'k')});
wait_state($dest, 'g', 'k', 'stopped');
cmp_ok(time - $began, '<', 8, 'a worker whose broker hangs is stopped at once');
$dest->safe_psql('postgres', q{SELECT flo.start_group('g', 'k')});
wait_state($dest, 'g', 'k', 'waiting');
$began = time;
$dest->stop('fast');
cmp_ok(time - $began, '<', 8, 'and so is its server');
$dest->start;
$kafka->resume;
more(1000);
wait_caught_up($source, $dest, 'g', member => 'k');
are_exactly([ $kafka->events('outage') ], $rows, 'after a pause: each event once');
drop_worker('k');

# --- another producer with the same id ------------------------------------------------------------

create_event_worker($dest, 'g', 'kafka', 'old', options(topic => 'old', start => 'latest', transactional_id => 'mine'));
insert(50001, 50100);
wait_caught_up($source, $dest, 'g', member => 'old');
my $pid = pid_of($dest, 'g', 'old');
$kafka->pause;
insert(50101, 50200);
wait_state($dest, 'g', 'old', 'waiting');	# for the commit
kill 'STOP', $pid;
$kafka->resume;
create_event_worker($dest, 'g', 'kafka', 'new',
	options(topic => 'new', start => 'latest', transactional_id => 'mine'));
insert(50201, 50300);
wait_caught_up($source, $dest, 'g', member => 'new');
kill 'CONT', $pid;
wait_state($dest, 'g', 'old', 'failed');
like(status('old', 'last_error'), qr/another producer has taken over the transactional id "mine"/,
	'who is fenced fails');
is(scalar($kafka->events('old')), 100, 'what it had in hand is not there');
is(scalar($kafka->events('new')), 100, 'and the other one goes on');
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g', 'new')});
start_member($dest, 'g', 'old');
wait_caught_up($source, $dest, 'g', member => 'old');
are_exactly([ $kafka->events('old') ], 300, 'until a person says which of them it is to be: each event once');
drop_worker('new');
drop_worker('old');

# --- what brokers refuse --------------------------------------------------------------------------

sub fails_with
{
	my ($worker, $options, $sql, $pattern, $name) = @_;
	$dest->safe_psql('postgres', "SELECT flo.create_worker('g', 'kafka', '$worker', '"
		  . JSON::PP::encode_json({ start => 'latest', on_error => 'stop', %$options }) . "');
		SELECT flo.start_group('g', '$worker')");
	if ($sql)
	{
		wait_state($dest, 'g', $worker, 'streaming');
		$source->safe_psql('postgres', $sql);
	}
	wait_until($dest, 'postgres', "SELECT last_error IS NOT NULL FROM flo.status WHERE member = '$worker'",
		"$name: an error");
	like(status($worker, q{concat_ws(' / ', (SELECT max(sqlstate) FROM flo.events e
		WHERE e.member = status.member), last_error, last_hint)}), $pattern, $name);
}

$kafka->create_topic('small', 1, 'max.message.bytes=20000');
fails_with('large', options(topic => 'large', max_message_bytes => 50000),
	q{INSERT INTO t VALUES (-1, repeat('x', 60000))}, qr/^54000 .*an event makes a message of 60\d+ bytes.*oversize/,
	'more than max_message_bytes');
$dest->safe_psql('postgres', q{SELECT flo.alter_worker('g', 'large', '{"oversize": "reference"}');
	SELECT flo.start_group('g', 'large')});
wait_caught_up($source, $dest, 'g', member => 'large');
is_deeply([ map { [ $_->{NewTuple}, $_->{Omitted} ] } $kafka->events('large') ], [ [ { id => -1 }, ['v'] ] ],
	'or without the value');
drop_worker('large');
fails_with('small', options(topic => 'small'), q{INSERT INTO t VALUES (-2, repeat('x', 30000))},
	qr/^54000 .*"small".*max\.message\.bytes/, 'more than the topic takes');
drop_worker('small');

# --- who comes, and how -------------------------------------------------------------------------------

sub as_user
{
	my ($user, $password) = @_;
	return { brokers => $kafka->sasl_brokers, security_protocol => 'sasl_plaintext', sasl_mechanism => 'PLAIN',
		sasl_username => $user, sasl_password => $password, topic => 'secure', start => 'latest' };
}
create_event_worker($dest, 'g', 'kafka', 'flo', as_user('flo', 'geheim'));
create_event_worker($dest, 'g', 'kafka', 'tls', { brokers => $kafka->tls_brokers, security_protocol => 'ssl',
	ssl_ca_file => $kafka->ca, topic => 'secure', start => 'latest' });
fails_with('wrong', as_user('flo', 'falsch'), undef, qr/^28000 .*uthentication.*sasl_password/, 'a wrong password');
fails_with('nobody', as_user('stranger', 'fremd'), undef, qr/^42501 .*uthoriz.*Write/, 'who has no rights');
fails_with('untrusted', { brokers => $kafka->tls_brokers, security_protocol => 'ssl' }, undef, qr/^08006 .*certificate/,
	'a certificate that nobody here has signed');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM flo.workers w, flo.status s
	WHERE w::text || s::text ~ 'geheim|falsch|fremd'}), 0, 'passwords are not shown');
insert(200001, 200100);
wait_caught_up($source, $dest, 'g', member => $_) for 'flo', 'tls';
is(scalar($kafka->events('secure')), 200, 'with a password, and with TLS');
unlike(slurp_file($dest->logfile), qr/falsch|fremd/, 'nor are they in the log');

$_->stop('fast') for $dest, $source;
done_testing();
