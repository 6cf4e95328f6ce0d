# Rules that take too long: what they do can be cancelled, ends with its process,
# and has a budget.  And whatever else could hold a process: each ends fast.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloTest;
use IO::Socket::INET;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# the half of a second, and what a busy machine takes for a session, or to stop a server
my $limit = 8;
$FloTest::timeout = 60;
my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats, conf => "pg_flo.rule_budget = '1h'\n");
sub dst { my ($sql) = @_; return $dest->safe_psql('postgres', $sql) }

# what costs the square of a value's length, at many places; at one place; a search that is no match but goes on
my %slow = (
	'many places' => [ '\.(\w+\.)*\w+[,;]', "repeat('.a', 80000)" ],
	'one place' => [ '^(?:a|b)*\w*\w*\w*[!?]', "repeat('ab', 20000)" ],
	'where a search begins' => [ 'x\G\w*|\w+\w+\w+[;!]', "repeat('abcdef', 20000)" ],
);
$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text, w text)') for $source, $dest;
$dest->safe_psql('postgres',
	q{CREATE FUNCTION endless(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN LOOP NULL; END LOOP; END';
	CREATE TABLE slow (what text PRIMARY KEY, value text)});
create_group($source, $dest, 'g');

# --- in a session -------------------------------------------------------------------------

sub rule
{
	my ($action, %arguments) = @_;
	my $json = JSON::PP::encode_json(\%arguments);
	return dst("DELETE FROM flo.rules; INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments)
		VALUES ('g', 't', 'v', '$action', \$json\$$json\$json\$) RETURNING id");
}
my $preview = "SELECT count(*) FROM flo.preview('g', 't', 'INSERT', jsonb_build_object('id', 1, 'v', %s))";
for my $what (sort keys %slow)
{
	my ($pattern, $value) = @{ $slow{$what} };
	my $id = rule('regex', pattern => $pattern, replace => 'x');
	my $began = time();
	my $error = error_of($dest, "SET statement_timeout = '500ms'; " . sprintf($preview, $value));
	cmp_ok(time() - $began, '<', $limit, sprintf('%s: statement_timeout after %.1f s', $what, time() - $began));
	like($error, qr/^(57014: canceling statement due to statement timeout|54000: a regular expression gave up)/,
		"$what: and that is what it says") or diag($error);
	$began = time();
	$error = error_of($dest, "SET pg_flo.rule_budget = '300ms'; " . sprintf($preview, $value));
	cmp_ok(time() - $began, '<', $limit, sprintf('%s: its budget ends it after %.1f s', $what, time() - $began));
	like($error,
		qr/^54000: (rule $id was cut short: the rules of a row have 300 ms together|a regular expression gave up)/,
		"$what: by the rule's id") or diag($error);
}
my $id = rule('regex', pattern => $slow{'many places'}[0], replace => 'x');
is(dst(sprintf($preview, "repeat('.a', 500)")), 1, 'a shorter value comes through');
is(error_of($dest, sprintf($preview, "repeat('.a', 500)") . "; SELECT 1"), '',
	'and nothing is left that cancels what follows');
{
	my $session = FloTest::Session->new($dest, 'postgres');
	$session->query("SET application_name = 'slow'");
	$session->send(sprintf($preview, $slow{'many places'}[1]));
	wait_until($dest, 'postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity
		WHERE application_name = 'slow' AND state = 'active' AND now() > query_start + interval '0.3 s'},
		'a session to cancel');
	my $began = time();
	$session->result;
	like($session->{err}, qr/canceling statement due to user request/, 'pg_cancel_backend() cancels it');
	cmp_ok(time() - $began, '<', $limit, 'at once');
	$session->close;
}
$id = rule('expression', expression => 'public.endless(v)');
like(error_of($dest, "SET pg_flo.rule_budget = '300ms'; " . sprintf($preview, "'a'")),
	qr/^54000: rule $id was cut short/, 'an expression has the same budget');

# --- in a worker ------------------------------------------------------------------------------

sub ends
{
	my ($what, $code) = @_;
	my $began = time();
	$code->();
	my $took = time() - $began;
	cmp_ok($took, '<', $limit, sprintf('%s: %.1f s', $what, $took));
}
# Until a member's process has used a tenth of a second of CPU time since a look at it
sub busy
{
	my ($node, $member) = @_;
	my %since;
	return await(sub {
			my $pid = pid_of($node, 'g', $member);
			my $ticks = (split ' ', eval { slurp_file("/proc/$pid/stat") } || return 0)[13];
			$since{$pid} //= $ticks;
			return $ticks - $since{$pid} >= 10;
		}, "$member to be at work");
}

rule('regex', pattern => $slow{'many places'}[0], replace => 'x');
$source->safe_psql('postgres', "INSERT INTO t SELECT 1, $slow{'many places'}[1]");
ok(busy($dest, 'postgres'), 'the worker is at the rule');
ends('stop_group while a rule runs', sub { dst(q{SELECT flo.stop_group('g')});
	wait_state($dest, 'g', 'postgres', 'stopped') });
dst(q{SELECT flo.start_group('g')});
ok(busy($dest, 'postgres'), 'the worker is at the rule again');
ends('pg_ctl stop -m fast while a rule runs', sub { $dest->stop('fast') });
$dest->append_conf('postgresql.conf', "pg_flo.rule_budget = '400ms'");
$dest->start;
my $rule_id = dst('SELECT id FROM flo.rules');
wait_until($dest, 'postgres',
	qq{SELECT last_error ~ 'rule $rule_id was cut short: the rules of a row have 400 ms together' FROM flo.status},
	'the budget to be used up');
like(status_of($dest, 'g', 'postgres', 'last_error'),
	qr/rule $rule_id was cut short.*table "public\.t".*row id=1|rule $rule_id was cut short/,
	'the worker fails closed, by the id of the rule');
is(dst('SELECT count(*) FROM t'), 0, 'and the row does not pass');
dst('DELETE FROM flo.rules');
wait_caught_up($source, $dest, 'g');
is(dst('SELECT length(v) FROM t'), 160000, 'it goes on when the rule is gone');

# --- in a replicator ------------------------------------------------------------------------------

$source->append_conf('postgresql.conf', "pg_flo.rule_budget = '1h'");
$source->reload;
$source->safe_psql('postgres', qq{INSERT INTO flo.rules (group_name, stage, table_name, column_name, action, arguments)
	VALUES ('g', 'replicator', 't', 'v', 'regex', \$json\$}
	  . JSON::PP::encode_json({ pattern => $slow{'many places'}[0], replace => 'x' }) . '$json$)');
$source->safe_psql('postgres', "INSERT INTO t SELECT 2, $slow{'many places'}[1]");
ok(busy($source, 'replicator'), 'the replicator is at the rule');
ends('stop_group, in the replicator', sub { $source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
	wait_state($source, 'g', 'replicator', 'stopped') });
$source->safe_psql('postgres', q{SELECT flo.start_group('g')});
ok(busy($source, 'replicator'), 'the replicator is at the rule again');
ends('pg_ctl stop -m fast, in the replicator', sub { $source->stop('fast') });
# else it would be at the rule when that is taken away
$source->append_conf('postgresql.conf', "pg_flo.rule_budget = '400ms'");
$source->start;
$source->safe_psql('postgres', 'DELETE FROM flo.rules');
wait_caught_up($source, $dest, 'g');

# --- what else waits for somebody ----------------------------------------------------------------

# an endpoint that takes connections and says nothing; one that begins a handshake; an address that swallows
# packets; a name server that does not answer
my $silent = IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $@";
my $port = $silent->sockport;
my %urls = (
	'an endpoint that does not answer' => "http://127.0.0.1:$port/x",
	'a TLS handshake that is not answered' => "https://127.0.0.1:$port/x",
	'an address that swallows packets' => 'http://192.0.2.1/x',
	'a name that nobody answers for' => 'http://nobody-knows.example.invalid/x',
);
$dest->append_conf('postgresql.conf',
	"pg_flo.webhook_allow = 'http://192.0.2.1,http://127.0.0.1,https://127.0.0.1,http://nobody-knows.example.invalid'");
$dest->reload;
my $n = 10;
for my $what (sort keys %urls)
{
	dst(qq{SELECT flo.create_worker('g', 'webhook', 'hook', '{"url": "$urls{$what}", "timeout": "60s"}');
		SELECT flo.start_group('g', 'hook')});
	$source->safe_psql('postgres', 'INSERT INTO t VALUES (' . ++$n . ')');
	wait_until($dest, 'postgres', q{SELECT pid IS NOT NULL FROM flo.status WHERE member = 'hook'}, 'the worker to run');
	wait_busy($dest, 'g', 'hook');
	ends("$what: pg_ctl stop -m fast", sub { $dest->stop('fast') });
	$dest->start;
	wait_until($dest, 'postgres', q{SELECT pid IS NOT NULL FROM flo.status WHERE member = 'hook'}, 'the worker to run');
	wait_busy($dest, 'g', 'hook');
	ends("$what: stop_group", sub { dst(q{SELECT flo.stop_group('g', 'hook')});
		wait_state($dest, 'g', 'hook', 'stopped') });
	dst(q{SELECT flo.drop_worker('g', 'hook')});
}

$_->stop('fast') for $source, $dest;
done_testing();
