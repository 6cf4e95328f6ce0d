
# A search service that fails in every way that it can: nothing is lost, and flo.status says what is wrong.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloSearchFaults;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

$FloTest::timeout = 60;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $search = FloSearchFaults->new('one');
my $rows = 0;

$source->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)');
create_group($source, undef, 'g');

sub caught_up { return wait_caught_up($source, $dest, 'g', @_); }
sub status { return status_of($dest, 'g', 'search', $_[0]); }

sub insert
{
	my ($n, $v) = @_;
	$source->safe_psql('postgres', "INSERT INTO t SELECT i, '" . ($v || 'v') . "' FROM generate_series($rows + 1,
		$rows + $n) i");
	$rows += $n;
}

sub alter
{
	my ($options) = @_;
	my $pid = status_of($dest, 'g', 'search', 'pid');
	$dest->safe_psql('postgres', "SELECT flo.alter_worker('g', 'search', '$options')");
	wait_other_pid($dest, 'g', 'search', $pid) if $pid ne '';
}

# One test: the documents are the rows
sub is_same
{
	my ($name) = @_;
	my $documents = $search->documents('public-t');

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is_deeply($documents, { map { my ($id, $v) = split /\|/; ($id => { id => $id + 0, v => $v }) }
			split /\n/, $source->safe_psql('postgres', 'SELECT * FROM t ORDER BY 1') }, $name);
}

# --- requests ------------------------------------------------------------------------------------

create_event_worker($dest, 'g', 'search', 'search',
	{ url => $search->url . '/', auth => { user => 'me', password => 'sesame' }, headers => { 'X-A' => 'b' } });
insert(100);
caught_up();
is_same('documents');
my ($bulk) = $search->bulks;
is($bulk->{headers}{authorization}, 'Basic bWU6c2VzYW1l', 'user and password');
is($bulk->{headers}{'x-a'}, 'b', 'a header');
my ($made) = grep { $_->{method} eq 'PUT' && $_->{path} eq '/public-t' } $search->requests;
is_deeply(JSON::PP::decode_json($made->{body})->{mappings},
	{ dynamic => 'strict', _meta => { pg_flo => { group => 'g', table => 'public.t' } },
		properties => { id => { type => 'integer' },
			v => { type => 'text', fields => { keyword => { type => 'keyword', ignore_above => 8191 } } } } },
	'the index is made');
my @versions = map { $_ =~ /"version":(\d+)/ ? $1 : () } split /\n/, join '', map { $_->{body} } $search->bulks;
is_deeply(\@versions, [ sort { $a <=> $b } @versions ], 'versions grow');
unlike($dest->safe_psql('postgres', 'SELECT options FROM flo.workers'), qr/sesame/,
	'the password is not among the options');
unlike(slurp_file($dest->logfile), qr/bWU6c2VzYW1l/, 'nor in the log');
$dest->safe_psql('postgres', q{SELECT flo.alter_worker('g', 'search', '{"auth": {"api_key": "a2V5"}}')});
insert(1);
caught_up();
is(($search->bulks)[-1]{headers}{authorization}, 'ApiKey a2V5', 'an API key, without a restart');

# --- what is tried again -------------------------------------------------------------------------

for my $case (
	[ 'busy', { bulk => '503 Busy' }, qr/HTTP 503/ ],
	[ 'too many requests', { bulk => '429 Too Many', body => '{"error":{"type":"rejected_execution_exception"}}' },
		qr/HTTP 429.*rejected_execution/ ],
	[ 'a wrong password, which is repeated', { bulk => '401 Unauthorized', body => 'not ApiKey a2V5' },
		qr/HTTP 401: not ApiKey \*\*\*\*/ ],
	[ 'one that has no right', { item => { match => '.', status => 403 } }, qr/403 some_exception: because of 403/ ],
	[ 'items that are rejected', { item => { match => '"v":"odd"', status => 429 } },
		qr/429 some_exception: because of 429/ ],
	[ 'an answer that is none', { garbage => '<html>' }, qr/its answer is not one to a request _bulk/ ],
	[ 'an answer about others', { garbage => '{"errors":true,"items":[{"index":{"status":201}}]}' },
		qr/its answer is not one/ ],
	[ 'an answer that does not end', { garbage => '{"errors":true,"items":[{"index":{"status":' . '[' x 100000 },
		qr/its answer is not one/ ])
{
	my ($what, $rules, $error) = @$case;
	$search->answer(%$rules);
	insert(3);
	insert(3, 'odd');
	ok(wait_until($dest, 'postgres',
		q{SELECT state = 'waiting' AND detail ~ 'search service .*; attempt [2-9]' FROM flo.status }
		  . q{WHERE member = 'search'},
		"$what to be tried again"), "$what: is tried again");
	like(status('last_error'), $error, "$what: last_error");
	$search->answer;
	caught_up();
	is(status("state || coalesce(detail, '')"), 'streaming', "$what: then it gets on");
	is_same("$what: nothing is lost");
}

$search->answer(bulk => '503 Busy', 'Retry-After' => 3, times => 1);
my $start = time();
insert(1);
caught_up();
cmp_ok(time() - $start, '>', 2.5, 'Retry-After is waited for');
$search->stop;
insert(1);
ok(wait_until($dest, 'postgres', q{SELECT detail ~ 'connection refused' FROM flo.status WHERE member = 'search'},
	'no connection'),
	'a service that is not there');
$start = time();
$dest->safe_psql('postgres', q{SELECT flo.stop_group('g', 'search')});
wait_state($dest, 'g', 'search', 'stopped');
cmp_ok(time() - $start, '<', 5, 'holds nobody up who stops the worker');

# --- requests that are refused as a whole ------------------------------------------------------------

$search->start;
$search->answer(largest => 2000);
start_member($dest, 'g', 'search');
insert(200);
caught_up();
is(scalar keys %{ $search->documents('public-t') }, scalar $source->safe_psql('postgres', 'SELECT count(*) FROM t'),
	'a request that is too long is divided');
cmp_ok((sort { $b <=> $a } map { length $_->{body} } ($search->bulks)[-1, -2])[0], '<=', 2000, 'until it is not');
$search->answer(spoils => 'rotten');
insert(50);
insert(1, 'rotten');
insert(50);
wait_state($dest, 'g', 'search', 'failed');
like(status('last_error'), qr/refuses a document of index "public-t": HTTP 400/,
	'of one that is refused, the document is found that spoils it');
alter('{"on_error": "dead_letter"}');
start_member($dest, 'g', 'search');
caught_up();
is($dest->safe_psql('postgres', q{SELECT string_agg(event->'document'->>'v', ' ') FROM flo.dead_letters}), 'rotten',
	'and set aside alone');
$search->answer;
$dest->safe_psql('postgres', 'SELECT flo.redrive(id) FROM flo.dead_letters');
ok(wait_until($dest, 'postgres', 'SELECT NOT EXISTS (SELECT FROM flo.dead_letters)', 'the letter to be taken'),
	'until it is taken');
is(scalar keys %{ $search->documents('public-t') }, $rows, 'nothing is missing');

# Changes beyond the 4095th of a transaction have one version
$search->answer(item => { match => '"v":"first"', status => 429 });
$source->safe_psql('postgres', "BEGIN; INSERT INTO t SELECT i, 'v' FROM generate_series($rows + 1, $rows + 4200) i;
	UPDATE t SET v = 'first' WHERE id <= 3; UPDATE t SET v = 'second' WHERE id = 1;
	DELETE FROM t WHERE id = 2; COMMIT");
$rows += 4200;
ok(wait_until($dest, 'postgres', q{SELECT state = 'waiting' FROM flo.status WHERE member = 'search'},
	'a row to be tried again'), 'documents of a large transaction are tried again');
$search->answer;
caught_up();
is_same('what is tried again does not take the place of a later change of the same transaction');
$source->safe_psql('postgres', "INSERT INTO t VALUES (2, 'v')");
caught_up();
$search->forget;

# --- memory --------------------------------------------------------------------------------------------

alter('{"batch_bytes": "100kB", "on_error": null}');
$search->answer(bulk => '503 Busy');
insert(3000, 'x' x 200);
ok(wait_until($dest, 'postgres', q{SELECT state = 'waiting' FROM flo.status WHERE member = 'search'},
	'the service to fail'), 'a backlog');
$search->answer;
caught_up();
cmp_ok((sort { $b <=> $a } map { length $_->{body} } $search->bulks)[0], '<', 110 * 1024,
	'no request is longer than batch_bytes and a row');
is(scalar keys %{ $search->documents('public-t') }, $rows, 'all of it arrives');

done_testing();
