
# Why there is no broker: what flo.status, flo.check() and the log say in each case,
# and that it is counted, and over when it is.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use FloTest::Child;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

$FloTest::timeout = 60;

my $nats = FloTest::Nats->new('broker');
my $node = flo_node('node', undef, conf => "listen_addresses = '127.0.0.1'\n");

# Takes connections; answers what it is told with $answer, unless that is undef
sub listener
{
	my ($answer) = @_;
	my $socket = IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $@";

	in_child(sub {
		my @kept;

		while (my $client = $socket->accept)
		{
			push @kept, $client;
			next if !defined $answer;
			my $asked = '';
			1 while $asked !~ /\r\n\r\n/ && sysread $client, $asked, 100, length $asked;
			syswrite $client, $answer;
		}
	});
	return 'nats://127.0.0.1:' . $socket->sockport;
}

# What flo.status says with a URL; $more are other settings
sub says
{
	my ($what, $url, $error, $hint, %param) = @_;
	my $state = $param{state} || 'waiting';
	my $before = status_of($node, 'g', 'replicator', 'retries');

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->append_conf('postgresql.conf', join '', map { "pg_flo.$_\n" } "nats_url = '$url'", @{ $param{set} || [] });
	$node->reload;
	ok(wait_until($node, 'postgres', "SELECT coalesce(state ~ '$state' AND last_error ~ '$error' AND "
			. ($state eq 'waiting' ? "detail ~ 'for NATS: .*$error' AND retries > $before" : 'true') . ', false)
			FROM flo.status', $error), "$what: flo.status says so");
	like(status_of($node, 'g', 'replicator', 'last_hint'), $hint, "$what: and what to do");
	is(status_of($node, 'g', 'replicator', 'recovered_at < last_error_at OR recovered_at IS NULL'), 't', "$what: now");
	return;
}

# --- nobody is there --------------------------------------------------------------------

my $closed = PostgreSQL::Test::Cluster::get_free_port();
$node->append_conf('postgresql.conf', "pg_flo.nats_url = 'nats://127.0.0.1:$closed'\n");
$node->reload;
$node->safe_psql('postgres', q{CREATE TABLE t (id int PRIMARY KEY); SELECT flo.create_replicator('g');
	SELECT flo.start_group('g')});
wait_state($node, 'g', 'replicator', 'waiting');

says('a port where nobody listens', "nats://127.0.0.1:$closed",
	"could not connect to NATS at .nats://127.0.0.1:$closed.: connection refused", qr/that nats-server runs there/);
says('a name that nobody knows', 'nats://nowhere.invalid:4222',
	'the name "nowhere.invalid" cannot be resolved', qr/the name servers of this machine/);
says('two servers', "nats://127.0.0.1:$closed,nats://nowhere.invalid",
	"127.0.0.1:$closed: connection refused; nowhere.invalid:4222: the name", qr/Check pg_flo.nats_url/);

# --- something else is there ----------------------------------------------------------------

says('somebody who is silent', listener(undef), 'it takes the connection and says nothing', qr/nats-server can answer/);
says('a web server', listener("HTTP/1.1 400 Bad Request\r\n\r\n"), 'it is a web server', qr/4222/);
says('a server of something else', listener("what?\r\n"), 'it does not speak NATS', qr/4222/);
says('a PostgreSQL server', 'nats://127.0.0.1:' . $node->port, 'it is a PostgreSQL server', qr/4222/);
says('a PostgreSQL server, beside nobody', "nats://127.0.0.1:$closed,nats://127.0.0.1:" . $node->port,
	"127.0.0.1:$closed: connection refused; 127.0.0.1:" . $node->port . ': it is a PostgreSQL server',
	qr/Check pg_flo.nats_url/);
{
	my $check = $node->safe_psql('postgres', q{SELECT string_agg(concat_ws('|', detail, hint), ' ') FROM flo.check('g')
		WHERE status = 'error'});
	like($check, qr/it is a PostgreSQL server/, 'flo.check() says the same');
}

# --- it does not let us in --------------------------------------------------------------------

my $users = FloTest::Nats->new('users', conf => 'authorization { users: [{ user: "flo", password: "right" }] }');
says('no user', $users->url, 'NATS refused the connection: Authorization Violation', qr/pg_flo.nats_user/);
says('a wrong password', $users->url, 'NATS refused the connection: Authorization Violation', qr/pg_flo.nats_user/,
	set => [ q{nats_user = 'flo'}, q{nats_password = 'wrong'} ]);
unlike(slurp_file($node->logfile), qr/wrong|right/, 'no password is in the log');

my $few = FloTest::Nats->new('few', conf => 'max_connections: 1');
my $taker;
# the connection that looked whether the server was up may still count
await(sub {
		$taker = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $few->port) or die $@;
		print $taker "CONNECT {\"verbose\":false}\r\nPING\r\n";
		my $greeting = '';
		1 while $greeting !~ /PONG|-ERR/ && sysread $taker, $greeting, 1000, length $greeting;
		$greeting =~ /PONG/ && $greeting !~ /-ERR/;
	}, 'the one connection') or die;
says('a server that has enough connections', $few->url,
	'the server takes no connection: maximum connections exceeded, see its max_connections', qr/Raise max_connections/);

# --- it does not do what is needed --------------------------------------------------------------

my $plain = FloTest::Nats->new('plain', jetstream => 0);
says('a server without JetStream', $plain->url, 'JetStream is not enabled in NATS', qr/-js/,
	state => 'backoff|waiting|starting');
my $account = FloTest::Nats->new('account',
	conf => 'accounts { A { users: [{ user: "flo", password: "wrong" }] }, B { jetstream: enabled } }');
says('an account without JetStream', $account->url, '[Jj]et[Ss]tream.* not enabled', qr/account/,
	state => 'backoff|waiting|starting');

# --- over -----------------------------------------------------------------------------------

my $from = -s $node->logfile;
$node->append_conf('postgresql.conf', "pg_flo.nats_url = 'nats://127.0.0.1:$closed'\n");
$node->reload;
ok(wait_until($node, 'postgres', q{SELECT last_error ~ 'connection refused' AND state = 'waiting' FROM flo.status},
	'it to be away'), 'away');
$node->append_conf('postgresql.conf', "pg_flo.nats_url = '" . $nats->url . "'\n");
$node->reload;
wait_state($node, 'g', 'replicator', 'streaming');
ok(wait_until($node, 'postgres', q{SELECT recovered_at > last_error_at AND retries > 0 FROM flo.status}, 'recovered'),
	'flo.status: since when it is over, and how often it was tried');
like(slurp_file($node->logfile, $from), qr/replicator of group "g": recovered after \d+ retr(y|ies) in [\d.e+]+ s/,
	'a line of the log says so');

$node->stop('fast');
done_testing();
