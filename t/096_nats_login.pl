
# Every way to be let in by a broker, what is said when that is refused, and what is
# exchanged while a group runs: certificates, passwords, tokens, NKeys, credentials
# that expire, the account, the address.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloNatsKeys;
use FloProxy;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $keys = FloNatsKeys->new($dir) or plan skip_all => 'no openssl that knows ed25519';
my $nats = FloTest::Nats->new('broker');
my %node = map { $_ => flo_node($_, $nats) } qw(source dest);
my ($source, $dest) = @node{qw(source dest)};
my %member = (source => 'replicator', dest => 'postgres');
my ($n, %since, @secrets) = (0);

# The errors of both sides before what is done now
sub remember
{
	$since{$_} = status_of($node{$_}, 'g', $member{$_}, q{coalesce(last_error_at, '-infinity')}) for keys %node;
}
sub set
{
	my (%settings) = @_;

	remember();
	for my $node ($source, $dest)
	{
		$node->append_conf('postgresql.conf', join '', map { "pg_flo.$_ = '$settings{$_}'\n" } sort keys %settings);
		$node->reload;
	}
}
sub arrives
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$n++;
	$source->safe_psql('postgres', "INSERT INTO t VALUES ($n, '$name')");
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, 't', "$name: the same rows");
}
# Both sides say why they are not let in, and are stopped at once.  They say it twice: an
# attempt that was under way knows nothing yet of what was done
sub refused
{
	my ($pattern, $name, $hint) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	for my $side (qw(source dest))
	{
		for my $time ('', ' again')
		{
			ok(wait_until($node{$side}, 'postgres', "SELECT state ~ 'waiting|backoff' AND last_error ~ '$pattern'
					AND last_error_at > '$since{$side}' FROM flo.status", $pattern), "$name: the $side says it$time")
			  or diag(status_of($node{$side}, 'g', $member{$side}, "concat_ws(' | ', state, detail, last_error)"));
			$since{$side} = status_of($node{$side}, 'g', $member{$side}, 'last_error_at');
		}
		note(status_of($node{$side}, 'g', $member{$side}, 'last_error'));
	}
	like(status_of($source, 'g', 'replicator', 'last_hint'), qr/$hint/, "$name: and what to do") if $hint;
}
sub restart
{
	my ($conf) = @_;

	remember();
	$nats->stop;
	$nats->configure($conf) if defined $conf;
	$nats->start;
}

$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)') for $source, $dest;
create_group($source, $dest, 'g');
arrives('nothing asked');

# --- TLS ------------------------------------------------------------------------------------

sub tls
{
	my ($server, $more) = @_;
	return qq{tls {\ncert_file: "$dir/$server.crt"\nkey_file: "$dir/$server.key"\nca_file: "$dir/ca.crt"\n$more\n}};
}
$keys->authority($_) for qw(ca other);
$keys->certificate('server', 'ca');
$keys->certificate('expired', 'ca', from => -7200, to => -3600);
$keys->certificate('early', 'ca', from => 3600);
$keys->certificate('elsewhere', 'ca', names => 'DNS:elsewhere.example.com');
$keys->certificate('client', 'ca');
$keys->certificate('stranger', 'other');

restart(tls('server', ''));
set(nats_tls => 'on', nats_tls_ca_file => "$dir/other.crt", nats_url => 'nats://localhost:' . $nats->port);
refused('certificate verify failed|local issuer', 'signed by another CA', 'nats_tls_ca_file');
set(nats_tls_ca_file => "$dir/ca.crt");
arrives('signed by ours');
for ([ expired => 'expired' ], [ early => 'not yet valid' ], [ elsewhere => 'host ?name mismatch|Hostname' ])
{
	my ($server, $pattern) = @$_;
	restart(tls($server, ''));
	refused($pattern, "a certificate that is $server");
}
restart(tls('server', 'verify: true'));
refused('it may want a client certificate, see pg_flo.nats_tls_cert_file', 'a client certificate is wanted');
set(nats_tls_cert_file => "$dir/stranger.crt", nats_tls_key_file => "$dir/stranger.key");
refused('it may want a client certificate|SSL_write error', 'a client certificate of another CA');
set(nats_tls_cert_file => "$dir/client.crt", nats_tls_key_file => "$dir/client.key");
arrives('a client certificate');

# exchanged where they lie: the next connection uses them
$keys->certificate('new', 'ca');
$keys->rotate("new.$_", "client.$_") for qw(crt key);
$keys->certificate('new', 'ca');
$keys->rotate("new.$_", "server.$_") for qw(crt key);
$nats->reload;
arrives('both certificates exchanged while connected');
restart();
arrives('and connected by them');
$keys->rotate('stranger.key', 'client.key');
restart();
refused('key', 'a key that is not of the certificate');
$keys->rotate('new.key', 'server.key');
$keys->certificate('client', 'ca');
arrives('the pair whole again');
set(nats_tls => 'off', nats_tls_cert_file => '', nats_tls_key_file => '');
restart('');
arrives('without TLS again');

# --- words that let in ------------------------------------------------------------------------

sub word { my ($what) = @_; push @secrets, "sesame-$what"; return "sesame-$what"; }
sub user { my ($word) = @_; return qq{authorization { users = [ { user: "a", password: "$word" } ] }}; }

restart(user(word('first')));
refused('Authorization Violation', 'no password', 'pg_flo.nats_user');
append_to_file("$dir/password", word('wrong') . "\n");
chmod 0600, "$dir/password";
set(nats_user => 'a', nats_password_file => "$dir/password");
refused('Authorization Violation', 'a wrong password');
$keys->_write('password', "sesame-first\n");
arrives('the password of a file');
$keys->_write('password', word('second') . "\n");
$nats->configure(user('sesame-second'));
$nats->reload;
arrives('a password exchanged at both ends');
set(nats_user => '', nats_password_file => '', nats_token => word('token'));
restart('authorization { token: "sesame-token" }');
arrives('a token');
set(nats_token => word('another'));
refused('Authorization Violation', 'another token, taken up at once');
set(nats_token => 'sesame-token');
arrives('the token again');

# --- NKeys -------------------------------------------------------------------------------------

my $one = $keys->nkey('one', 'U');
my $two = $keys->nkey('two', 'U');
push @secrets, map { $_->{seed} } $one, $two;
restart("authorization { users = [ { nkey: $one->{public} } ] }");
set(nats_token => '', nats_nkey => $one->{public}, nats_nkey_file => "$dir/two.seed");
refused('Authorization Violation', 'the seed of another NKey');
set(nats_nkey_file => "$dir/one.seed");
arrives('an NKey');
set(nats_nkey_file => "$dir/no.seed");
refused('no.seed.*No such file', 'a seed that is not there');

# --- credentials, with an operator and accounts ---------------------------------------------------

restart($keys->operator(qw(A B)));
$keys->credentials('user', account => 'A', expires => time() + 1);
push @secrets, $keys->{keys}{user}{seed};
sleep 2;		# sleeps: until they have expired
set(nats_nkey => '', nats_nkey_file => '', nats_credentials_file => "$dir/user.creds");
refused('expired|Authorization Violation', 'credentials that have expired', 'pg_flo.nats_');
# the account is another one, which holds nothing: the worker has all there is
$keys->credentials('user', account => 'A');
arrives('credentials');

# Short-lived ones, handed out again and again until both sides are in by them, however slow the machine
my $expires;
sub arrives_by_short_ones
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$n++;
	$source->safe_psql('postgres', "INSERT INTO t VALUES ($n, '$name')");
	my $lsn = $source->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
	ok(await(sub {
			$expires = time() + 8;
			$keys->credentials('short', account => 'A', expires => $expires);
			$dest->safe_psql('postgres', "SELECT flo.wait_for('g', '$lsn', '2 s')") eq 't';
		}, "rows: $name"), $name);
}
my %pid = map { $_ => pid_of($node{$_}, 'g', $member{$_}) } keys %node;
$keys->credentials('short', account => 'A', expires => time() + 8);
push @secrets, $keys->{keys}{short}{seed};
set(nats_credentials_file => "$dir/short.creds");
wait_other_pid($node{$_}, 'g', $member{$_}, $pid{$_}) for keys %node;
arrives_by_short_ones('let in by short-lived credentials');
remember();
my %log = map { $_ => -s $node{$_}->logfile } keys %node;
# nobody touches the broker: it ends the connections
refused('Authorization Violation|User Authentication Expired', 'credentials that expire while connected');
for my $side (sort keys %node)
{
	like(slurp_file($node{$side}->logfile, $log{$side}), qr/lost the connection to NATS/,
		"and end the connection of the $side");
}
arrives_by_short_ones('renewed where they lie');
$keys->credentials('short', account => 'A');
ok(await(sub { time() > $expires + 1 }, 'the end of those before'), 'renewed before they expire');
arrives('renewed before they expire');

# --- another account, another address --------------------------------------------------------------

$keys->credentials('user_b', account => 'B');
set(nats_credentials_file => "$dir/user_b.creds");
arrives('another account, nothing stopped before');
my @proxy = map { FloProxy->new($nats->port) } 1 .. 2;
set(nats_url => $proxy[0]->url);
arrives('another address');
%pid = map { $_ => pid_of($node{$_}, 'g', $member{$_}) } keys %node;
$_->reload for $source, $dest;
set(nats_url => $proxy[1]->url);
ok(wait_other_pid($node{$_}, 'g', $member{$_}, $pid{$_}), "the $_ leaves the old address, which is there still")
  for sort keys %node;
$proxy[0]->does('stall');
arrives('the old address is gone');

for my $side (sort keys %node)
{
	my $log = slurp_file($node{$side}->logfile);
	my $views = $node{$side}->safe_psql('postgres',
		q{SELECT jsonb_agg(to_jsonb(s))::text || (SELECT jsonb_agg(to_jsonb(e)) FROM flo.events e)::text
			FROM flo.status s});
	my @shown = grep { my $secret = $_; index("$log$views", $secret) >= 0 } @secrets;
	is("@shown", '', "no secret in log and views of the $side");
}
$_->stop('fast') for $source, $dest;
done_testing();
