
# Events over HTTP: order, failures of the endpoint, dead letters, subscriptions.

use strict;
use warnings;
use Digest::SHA qw(hmac_sha256_hex);
use Encode ();
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloHook;
use FloTest;
use IO::Socket::INET;
use JSON::PP ();
use List::Util qw(min);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

$FloTest::timeout = 60;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $hook = FloHook->new('one');

$source->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE other (id int PRIMARY KEY)');
create_group($source, undef, 'g');

my $inserted = 0;
sub insert
{
	my ($n, $v) = @_;
	$source->safe_psql('postgres', "INSERT INTO t SELECT i, '" . ($v || 'v')
		  . "' FROM generate_series($inserted + 1, $inserted + $n) i");
	$inserted += $n;
}

sub ids { return map { $_->{NewTuple}{id} } @_; }

# Change options, and wait until they are in force
sub alter
{
	my ($options) = @_;
	my $pid = status_of($dest, 'g', 'webhook', 'pid');
	$dest->safe_psql('postgres', "SELECT flo.alter_worker('g', 'webhook', '$options')");
	wait_other_pid($dest, 'g', 'webhook', $pid) if $pid ne '';
}
sub caught_up { return wait_caught_up($source, $dest, 'g', @_); }

# Keys and values of a query's one row
sub status { my ($columns, $member) = @_; return status_of($dest, 'g', $member || 'webhook', $columns); }

# --- requests ---------------------------------------------------------------------------

create_event_worker($dest, 'g', 'webhook', 'webhook',
	{ url => $hook->url, secret => 'sesame', headers => { Authorization => 'Bearer abc', 'X-Empty' => '' },
		timeout => '2s' });
insert(20, 'é " \\');
caught_up();
my @requests = $hook->requests;
is(scalar @requests, 20, 'one request for each event');
is_deeply([ ids($hook->events) ], [ 1 .. 20 ], 'in order');
my ($first) = @requests;
is($first->{method}, 'POST', 'POST');
is($first->{headers}{'content-type'}, 'application/json', 'application/json');
is($first->{headers}{'idempotency-key'}, ($hook->events)[0]{Id}, 'the idempotency key is the Id');
is($first->{headers}{'x-pg-flo-signature'}, 'sha256=' . hmac_sha256_hex(Encode::encode_utf8($first->{body}), 'sesame'),
	'the body is signed');
is($first->{headers}{authorization}, 'Bearer abc', 'headers of the option');
ok(exists $first->{headers}{'x-empty'}, 'a header without a value');
is(($hook->events)[0]{NewTuple}{v}, Encode::decode('UTF-8', 'é " \\'), 'UTF-8');

# --- secrets are nowhere to be seen ------------------------------------------------------------

is($dest->safe_psql('postgres', q{SELECT options::text ~ 'sesame|abc' FROM flo.workers}), 'f',
	'secrets are not among the options');
$dest->safe_psql('postgres', 'CREATE ROLE nosy LOGIN');
like(error_of($dest, 'SET ROLE nosy; SELECT * FROM flo.secrets'), qr/^42501/, 'nor readable');
{
	my $dump = '';
	IPC::Run::run([ 'pg_dump', '-h', $dest->host, '-p', $dest->port, 'postgres' ], '>', \$dump);
	like($dump, qr/flo\.workers/, 'pg_dump saves the worker');
	unlike($dump, qr/sesame|abc/, 'without its secrets');
}
unlike(slurp_file($dest->logfile), qr/Bearer abc/, 'nor in the log');

# --- an endpoint that fails -----------------------------------------------------------------------

$hook->forget;
$hook->answer('503 Busy', body => "try\nlater");
insert(5);
ok(wait_until($dest, 'postgres',
	q{SELECT state = 'waiting' AND detail ~ '127.0.0.1.*HTTP 503: try later; attempt \d, retry in \d+ s' }
	  . q{FROM flo.status WHERE member = 'webhook'}, 'the failure to be seen'),
	'flo.status shows the endpoint, its answer, and when it is tried again');
is(status('pid IS NOT NULL'), 't', 'the process stays');
ok(wait_until($dest, 'postgres', q{SELECT detail ~ 'attempt 3' FROM flo.status WHERE member = 'webhook'},
	'three attempts'), 'it is tried again');
@requests = $hook->requests;
is_deeply([ map { $_->{headers}{'idempotency-key'} } @requests ],
	[ ($requests[0]{headers}{'idempotency-key'}) x @requests ],
	'the same event each time, no other before it');
# a busy machine makes any of them longer
ok(await(sub {
			@requests = $hook->requests;
			my @pauses = map { $requests[$_]{at} - $requests[ $_ - 1 ]{at} } 1 .. $#requests;
			return $pauses[-1] > 2.2 * min(@pauses);
		}, 'a longer pause'), 'pauses grow');
cmp_ok(status('retries'), '>=', 3, 'each attempt counts');
like(status("concat_ws('|', last_error, last_hint, recovered_at IS NULL OR recovered_at < last_error_at)"),
	qr/^endpoint "[^"]*" did not take an event: HTTP 503: try later\|Look into the log of the endpoint\.\|t$/,
	'flo.status keeps the error, what is to be done, and that it holds');
my $retries = status('retries');
$hook->answer('200 OK');
caught_up();
is_deeply([ ids($hook->events) ], [ 21 .. 25 ], 'then all arrive, in order');
is(status("state || coalesce(detail, '')"), 'streaming', 'and the state says so');
is(status("last_error ~ 'HTTP 503' AND recovered_at > last_error_at AND retries >= $retries"), 't',
	'the error stays, and since when it is over');
{
	my @lines = slurp_file($dest->logfile) =~ /worker "webhook" of group "g": (.*)/g;

	is(scalar(grep { /^waiting for endpoint "[^"]*".*: HTTP 503/ } @lines), 1, 'the log has one line of it');
	is(scalar(grep { /^recovered after \d+ retries in [\d.]+ s$/ } @lines), 1, 'and one when it is over');
	is(scalar(grep { /failed/ } @lines), 0, 'and no other');
}

# --- each kind of failure, by its name ----------------------------------------------------------------

# What flo.status says while a worker's endpoint fails, and that it is the same at each attempt
sub failure_like
{
	my ($worker, $url, $error, $hint) = @_;
	my $timeout = $error =~ /no answer/ ? '1s' : '30s';

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$dest->safe_psql('postgres', "SELECT flo.create_worker('g', 'webhook', '$worker', '"
		  . JSON::PP::encode_json({ url => $url, timeout => $timeout }) . "'); SELECT flo.start_group('g', '$worker')");
	insert(1);
	ok(wait_until($dest, 'postgres', "SELECT coalesce(retries > 1 AND state = 'waiting', false)
		FROM flo.status WHERE member = '$worker'", 'two attempts'),
		"$worker: is tried again");
	like(status('last_error', $worker), qr/did not take an event: $error/, "$worker: last_error");
	like(status('last_hint', $worker), $hint, "$worker: last_hint");
	is(scalar(() = slurp_file($dest->logfile) =~ /worker "$worker" of group "g": (waiting|failed)/g), 1,
		"$worker: one line of the log");
	$dest->safe_psql('postgres', "SELECT flo.drop_worker('g', '$worker', force => true)");
}
my $closed = FloHook->new('closed');
$closed->stop;
failure_like('refused', $closed->url, 'connection refused', qr/that the endpoint runs there/);
failure_like('unknown', 'http://nowhere.invalid/', 'the name of its host cannot be resolved', qr/the name servers/);
$closed->start;
$closed->answer('200 OK', hang => 1);
failure_like('silent', $closed->url, 'no answer within 1 s', qr/option timeout/);
$closed->answer('200 OK', close => 1);
failure_like('closing', $closed->url, 'it ended the connection without an answer', qr/log of the endpoint/);
$closed->answer('403 Forbidden');
failure_like('forbidden', $closed->url, 'HTTP 403', qr/headers and secret/);
$closed->answer('404 Not Found');
failure_like('missing', $closed->url, 'HTTP 404', qr/the path of the URL/);
$closed->stop;
$hook->forget;

$hook->forget;
$hook->answer('429 Slow down', 'Retry-After' => 3);
insert(1);
ok(wait_until($dest, 'postgres', q{SELECT detail ~ 'HTTP 429' FROM flo.status WHERE member = 'webhook'}, '429'),
	'429 is a failure');
$hook->answer('204 No content');
caught_up();
@requests = $hook->requests;
cmp_ok($requests[1]{at} - $requests[0]{at}, '>=', 2.9, 'Retry-After is honoured');

$hook->forget;
$hook->answer('302 Found', Location => $hook->url('/elsewhere'));
insert(1);
ok(wait_until($dest, 'postgres', q{SELECT detail ~ 'HTTP 302' FROM flo.status WHERE member = 'webhook'}, '302'),
	'a redirect is a failure');
is(scalar(grep { $_->{path} ne '/hook' } $hook->requests), 0, 'and not followed');
$hook->answer('200 OK', body => 'x' x 300000);
caught_up();
pass('a long answer does no harm');
$hook->answer('200 OK');

$hook->forget;
$hook->answer('200 OK', close => 1);
insert(1);
ok(wait_until($dest, 'postgres', q{SELECT state = 'waiting' FROM flo.status WHERE member = 'webhook'}, 'a failure'),
	'no answer is a failure');
$hook->answer('200 OK');
caught_up();

$hook->stop;
insert(2);
ok(wait_until($dest, 'postgres', q{SELECT detail ~ 'connection refused' FROM flo.status WHERE member = 'webhook'},
	'a failure'), 'so is nobody at home');
$hook->start;
caught_up();
is(($hook->events)[-1]{NewTuple}{id}, $inserted, 'and it goes on');

# --- a slow endpoint, and the end of the process --------------------------------------------------

$hook->answer('200 OK', hang => 1);
insert(1);
ok(wait_until($dest, 'postgres', q{SELECT detail ~ 'no answer within 2 s' FROM flo.status WHERE member = 'webhook'},
	'a time-out'), 'an answer that does not come is a failure');
my $asked = $hook->count;
alter('{"timeout": "1h"}');
await(sub { $hook->count > $asked }, 'another request') or die;
my $start = time();
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g', 'webhook')});
wait_state($dest, 'g', 'webhook', 'stopped');
cmp_ok(time() - $start, '<', 8, 'a worker that waits for an answer ends at once');
$hook->answer('200 OK');
start_member($dest, 'g', 'webhook');
caught_up();

# An address that swallows packets, and a name that does not resolve
for my $url ('http://10.255.255.1/x', 'http://no-such-host.invalid/x')
{
	alter(qq({"url": "$url"}));
	insert(1);
	$source->safe_psql('postgres', "UPDATE t SET v = 'x' WHERE id = $inserted");
	wait_busy($dest, 'g', 'webhook');
	$start = time();
	$dest->safe_psql('postgres', q{SELECT flo.stop_group('g', 'webhook')});
	wait_state($dest, 'g', 'webhook', 'stopped');
	cmp_ok(time() - $start, '<', 8, "so does one that waits for $url");
	next if $url =~ /invalid/;
	$dest->safe_psql('postgres', q{SELECT flo.start_group('g', 'webhook')});
	wait_state($dest, 'g', 'webhook', 'streaming|waiting');
}
$hook->forget;
alter('{"url": "' . $hook->url . '", "timeout": null}');
start_member($dest, 'g', 'webhook');
caught_up();
ok((grep { $_->{Type} eq 'UPDATE' } $hook->events) >= 1, 'a changed url is in force, and nothing is lost');

# --- crashes: at least once, the same Id, in order ------------------------------------------------

$hook->forget;
my $load = start_load_of_t();
for (1 .. 4)
{
	my $before = $hook->count;
	await(sub { $hook->count > $before + 50 }, 'some more events');
	wait_other_pid($dest, 'g', 'webhook', kill9_member($dest, 'g', 'webhook'));
}
stop_load_of_t($load);
caught_up();
{
	my (%seen, @fresh);
	for my $event ($hook->events) { push @fresh, $event if !$seen{ $event->{Id} }++; }
	is(scalar @fresh, $source->safe_psql('postgres', q{SELECT count(*) FROM t WHERE v = 'load'}),
		'every event arrives');
	is_deeply([ map { $_->{Id} } @fresh ], [ sort map { $_->{Id} } @fresh ], 'in order, doubles left out');
	my $doubled = grep { $_ > 1 } values %seen;
	cmp_ok($doubled, '<', 1000, "few are doubled ($doubled)");
}

sub start_load_of_t
{
	my $stop = PostgreSQL::Test::Utils::tempdir() . '/load.sql';
	append_to_file($stop, "INSERT INTO t SELECT coalesce(max(id), 0) + 1, 'load' FROM t;\n");
	return IPC::Run::start([ 'pgbench', '-n', '-c', 1, '-T', 600, '-R', 300, '-f', $stop, '-h', $source->host, '-p',
		$source->port, 'postgres' ],
		'>', \my $out, '2>', \my $err);
}
sub stop_load_of_t
{
	$_[0]->signal('TERM');
	$_[0]->finish;
	$inserted = $source->safe_psql('postgres', 'SELECT max(id) FROM t');
}

# --- several events to a request ------------------------------------------------------------------

$hook->forget;
alter('{"events_per_request": 10}');
insert(95);
caught_up();
@requests = $hook->requests;
is_deeply([ ids($hook->events) ], [ $inserted - 94 .. $inserted ], 'many events to a request, in order');
cmp_ok(scalar @requests, '<=', 15, 'in fewer requests');
is(ref JSON::PP::decode_json(Encode::encode_utf8($requests[0]{body})), 'ARRAY', 'each an array');
$hook->forget;
insert(1);
caught_up();
is(scalar(@{ JSON::PP::decode_json(($hook->requests)[0]{body}) }), 1, 'also of one');
alter('{"events_per_request": null}');

# --- on_error stop --------------------------------------------------------------------------------

$hook->answer('500 No');
alter('{"on_error": "stop", "max_attempts": 2}');
insert(1);
wait_state($dest, 'g', 'webhook', 'failed');
like(status('last_error'), qr/did not take an event in 2 attempts: HTTP 500/, 'on_error stop: the worker fails');
$hook->answer('200 OK');
$dest->safe_psql('postgres', q{SELECT flo.start_group('g', 'webhook')});
caught_up();
is(($hook->events)[-1]{NewTuple}{id}, $inserted, 'and goes on when it is started');

# --- dead letters ---------------------------------------------------------------------------------

$hook->forget;
alter('{"on_error": "dead_letter", "max_attempts": 2}');
$hook->answer('422 Bad', unless => '"v":"good"');
insert(1, 'bad');
insert(1, 'good');
insert(2, 'bad');
insert(1, 'good');
caught_up();
is(join(' ', ids($hook->events)), join(' ', $inserted - 3, $inserted), 'the others arrive');
is($dest->safe_psql('postgres',
	q{SELECT string_agg(concat_ws(' ', event->'NewTuple'->>'v', error, attempts, first_attempt_at < last_attempt_at,
	url = '} . $hook->url . q{', event_id = event->>'Id'), ',' ORDER BY id) FROM flo.dead_letters}),
	join(',', ('bad HTTP 422: ok 2 t t t') x 3), 'the rest is in flo.dead_letters');
like(error_of($dest, q{SELECT flo.redrive(99999)}), qr/^42704/, 'redrive of no letter');
like(error_of($dest, q{SELECT flo.redrive_group('nobody')}), qr/^42704/, 'redrive_group of no group');
$dest->safe_psql('postgres', q{GRANT EXECUTE ON FUNCTION flo.redrive(bigint) TO nosy});
like(error_of($dest, q{SET ROLE nosy; SELECT flo.redrive(1)}), qr/^42501/, 'redrive is for the owner');
is($dest->safe_psql('postgres', q{SET ROLE nosy; SELECT count(*) FROM flo.dead_letters}), '0',
	'and so are the letters');

my $letter = $dest->safe_psql('postgres', 'SELECT min(id) FROM flo.dead_letters');
$dest->safe_psql('postgres', "SELECT flo.redrive($letter)");
ok(wait_until($dest, 'postgres', "SELECT attempts = 3 AND redrive_requested_at IS NULL FROM flo.dead_letters
	WHERE id = $letter", 'a redrive'),
	'a letter that fails again stays');
$hook->answer('200 OK');
$hook->forget;
$dest->safe_psql('postgres', "SELECT flo.redrive($letter)");
ok(wait_until($dest, 'postgres', "SELECT NOT EXISTS (SELECT FROM flo.dead_letters WHERE id = $letter)", 'a redrive'),
	'one that is taken goes');
is(scalar $hook->events, 1, 'and arrives');
is(($hook->requests)[0]{headers}{'x-pg-flo-signature'}, 'sha256='
	  . hmac_sha256_hex(($hook->requests)[0]{body}, 'sesame'), 'signed');
is($dest->safe_psql('postgres', q{SELECT flo.redrive_group('g')}), '2', 'redrive_group');
ok(wait_until($dest, 'postgres', 'SELECT count(*) = 0 FROM flo.dead_letters', 'redrives'), 'empties the table');
is_deeply([ ids($hook->events) ], [ $inserted - 4, $inserted - 2, $inserted - 1 ], 'in order');

# Of the newest event: nothing else tells whether the endpoint takes events again
$hook->answer('422 Bad');
insert(1, 'bad');
caught_up();
my $over = "coalesce(recovered_at > last_error_at, false)";
is(status($over), 'f', 'a letter as the last event: the error holds');
alter('{"timeout": "3s"}');
wait_state($dest, 'g', 'webhook', 'streaming');
is(status($over), 'f', 'a worker that starts again has not been taken anything from');
$hook->answer('200 OK');
$dest->safe_psql('postgres', q{SELECT flo.redrive_group('g')});
ok(wait_until($dest, 'postgres', "SELECT $over FROM flo.status WHERE member = 'webhook'", 'the error to be over'),
	'a redrive that is taken ends it');

# --- subscriptions --------------------------------------------------------------------------------

my $two = FloHook->new('two');
$hook->forget;
alter('{"url": null}');
$dest->safe_psql('postgres', "
	INSERT INTO flo.webhook_subscriptions (group_name, worker_name, url, schema_name, table_name, operations) VALUES
		('g', 'webhook', '" . $hook->url('/t') . "', 'public', 't', '{INSERT,DELETE}'),
		('g', NULL, '" . $two->url('/all') . "', NULL, NULL, NULL),
		('g', NULL, '" . $two->url('/all') . "', NULL, 'other', '{INSERT}'),
		('g', 'another', '" . $two->url('/never') . "', NULL, NULL, NULL),
		('other', NULL, '" . $two->url('/never') . "', NULL, NULL, NULL)");
insert(1);
$source->safe_psql('postgres', "UPDATE t SET v = 'u' WHERE id = 1; INSERT INTO other VALUES (1);
	DELETE FROM t WHERE id = 1; TRUNCATE other");
caught_up();
is(join(' ', map { $_->{Type} } $hook->events('/t')), 'INSERT DELETE', 'a subscription to a table and operations');
is(join(' ', map { "$_->{Type}:$_->{Table}" } $two->events('/all')),
	'INSERT:t UPDATE:t INSERT:other DELETE:t TRUNCATE:other', 'one to everything, each event once');
is(scalar $two->events('/never'), 0, 'others are not concerned');

# One endpoint fails: its events become letters, the other's arrive
$two->answer('500 No');
insert(3);
caught_up();
is_deeply([ (ids($hook->events('/t')))[ -3 .. -1 ] ], [ $inserted - 2 .. $inserted ],
	'an endpoint that fails does not keep back the other');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM flo.dead_letters WHERE url LIKE '%/all'}), '3',
	'its events are letters');
$two->answer('200 OK');

# Edited while running, and while waiting for the endpoint
alter('{"on_error": null}');
$two->answer('500 No');
insert(1);
ok(wait_until($dest, 'postgres', q{SELECT state = 'waiting' FROM flo.status WHERE member = 'webhook'}, 'a failure'),
	'waiting for one of them');
$dest->safe_psql('postgres', q{DELETE FROM flo.webhook_subscriptions WHERE url LIKE '%/all'});
caught_up();
is(status('state'), 'streaming', 'a subscription that is deleted is not waited for');
insert(1);
caught_up();
is((ids($hook->events('/t')))[-1], $inserted, 'the other goes on');
$dest->safe_psql('postgres', q{DELETE FROM flo.webhook_subscriptions});

# --- who may send where ---------------------------------------------------------------------------

$dest->append_conf('postgresql.conf', "pg_flo.webhook_allow = '" . $hook->url('/allowed/')
	  . ", https://hooks.example.com'");
$dest->reload;
$dest->safe_psql('postgres', q{
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA flo TO nosy;
	GRANT INSERT, UPDATE ON flo.webhook_subscriptions TO nosy;
	GRANT USAGE ON SEQUENCE flo.webhook_subscriptions_id_seq TO nosy});
sub as_nosy
{
	my ($url) = @_;
	return error_of($dest, "SET ROLE nosy; SELECT flo.create_worker('g', 'webhook', 'n', '{\"url\": \"$url\"}');
		ROLLBACK");
}
for my $url ($hook->url('/'), $hook->url('/allowed'), $hook->url('/allowed/../x'), $hook->url('/allowed/%2e%2e/x'),
	'http://127.0.0.1/allowed/',
	'https://hooks.example.com.evil.org/', 'https://hooks.example.com:444/', 'http://hooks.example.com/',
	'https://hooks.example.com@evil.org/')
{
	like(as_nosy($url), qr/^(42501|22023)/, "a plain role may not use $url");
}
is(error_of($dest,
	"BEGIN; SET ROLE nosy; SELECT flo.create_worker('g', 'webhook', 'n',
	'{\"url\": \"https://HOOKS.example.com:443/a?b\"}'); ROLLBACK"), '', 'but what is listed');
like(error_of($dest, "SET ROLE nosy; INSERT INTO flo.webhook_subscriptions (group_name, url)
	VALUES ('g', 'http://169.254.169.254/')"), qr/^42501/, 'subscriptions, too');
$dest->safe_psql('postgres', "SET ROLE nosy; SELECT flo.create_worker('g', 'webhook', 'n', '{\"url\": \""
	  . $hook->url('/allowed/n') . "\"}'); SELECT flo.start_group('g', 'n')");
wait_state($dest, 'g', 'n', 'streaming');
$dest->append_conf('postgresql.conf', "pg_flo.webhook_allow = ''");
$dest->reload;
ok(wait_until($dest, 'postgres', q{SELECT last_error ~ 'must not send events to this URL' FROM flo.status
	WHERE member = 'n'}, 'a refusal'),
	'what is no longer allowed is refused while it runs');

$_->stop('fast') for $source, $dest;
done_testing();
