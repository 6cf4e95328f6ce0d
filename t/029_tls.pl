
# What is said when TLS is not as the other side wants it.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
plan skip_all => 'no openssl' if system("openssl version >/dev/null 2>&1") != 0;

# A CA, and what it signs for the server and for a client
sub openssl
{
	system("cd '$dir' && openssl $_[0] >>'$PostgreSQL::Test::Utils::log_path/openssl.log' 2>&1") == 0
	  or die "openssl $_[0]";
}
append_to_file("$dir/names", "subjectAltName=IP:127.0.0.1,DNS:localhost\n");
openssl('req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca -keyout ca.key -out ca.crt');
for my $who (qw(server client))
{
	openssl("req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout $who.key -out $who.csr");
	openssl("x509 -req -in $who.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out $who.crt");
}
chmod 0600, glob("$dir/*.key");

my $nats = FloTest::Nats->new('broker', start => 0);
my $node = flo_node('node', $nats);
(my $url = $nats->url) =~ s/127\.0\.0\.1/localhost/;

sub start_tls
{
	my ($more) = @_;
	$nats->stop;
	$nats->configure(
		qq{tls {
			cert_file: "$dir/server.crt"
			key_file: "$dir/server.key"
			ca_file: "$dir/ca.crt"
			$more
		}});
	$nats->start;
}
sub set
{
	my (%settings) = @_;
	$node->append_conf('postgresql.conf', "pg_flo.$_ = '$settings{$_}'\n") for sort keys %settings;
	$node->reload;
}
sub says
{
	my ($pattern, $name) = @_;
	ok(wait_until($node, 'postgres',
		"SELECT EXISTS (SELECT FROM flo.status WHERE concat_ws(' ', detail, last_error) ~ '$pattern')", $pattern),
		$name)
	  or diag(status_of($node, 'g', 'replicator', "concat_ws(' | ', state, detail, last_error)"));
}

set(nats_url => $url);
$nats->start;
set(nats_tls => 'on');
$node->safe_psql('postgres', q{CREATE TABLE t (id int PRIMARY KEY); SELECT flo.create_replicator('g');
	SELECT flo.start_group('g')});
says('the server offers no TLS, and pg_flo.nats_tls is on', 'a server without TLS');
set(nats_tls => 'off', nats_url => "tls://localhost:" . $nats->port);
says('the server offers no TLS, and pg_flo.nats_url has the scheme tls', 'the same by the scheme');
like(status_of($node, 'g', 'replicator', 'last_hint'), qr/pg_flo.nats_tls_ca_file/, 'and what to do');
set(nats_tls => 'on', nats_url => $url);
start_tls('');
says('could not connect to NATS at .*(local issuer certificate|certificate verify failed)',
	'a server whose certificate nobody here knows');
like(status_of($node, 'g', 'replicator', 'last_hint'), qr/pg_flo.nats_tls_ca_file/, 'and what to do');
set(nats_tls_ca_file => "$dir/absent.crt");
says('absent.crt.*No such file', 'a CA file that is not there, by its name');
set(nats_tls_ca_file => "$dir/ca.crt");
wait_state($node, 'g', 'replicator', 'streaming');
pass('with TLS it goes on');
start_tls('verify: true');
says('it may want a client certificate, see pg_flo.nats_tls_cert_file', 'a server that wants a client certificate');
set(nats_tls_cert_file => "$dir/client.crt", nats_tls_key_file => "$dir/client.key");
wait_state($node, 'g', 'replicator', 'streaming');
pass('with one it goes on');

$node->stop('fast');
done_testing();
