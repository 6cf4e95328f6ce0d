
# Something takes the place of the broker, accepts connections and never goes on:
# nothing waits for it that cannot be stopped.

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

my $nats = FloTest::Nats->new('broker');

# What a listener says to whoever comes; it never answers what it is told, or closes at once
sub stalled_listener
{
	my ($greeting, $closes) = @_;
	my $socket = IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $@";
	my $port = $socket->sockport;

	in_child(sub {
		my @kept;

		while (my $client = $socket->accept) { syswrite $client, $greeting; push @kept, $client if !$closes; }
	});
	return { url => "nats://127.0.0.1:$port" };
}

my $info = '"server_id":"X","version":"2.10.0","proto":1,"host":"127.0.0.1","port":4222,'
  . '"headers":true,"max_payload":1048576,"client_id":1';
my %listeners = (
	'a TLS handshake that is never answered' => stalled_listener(qq/INFO {$info,"tls_required":true}\r\n/),
	'a greeting that never comes' => stalled_listener(''),
	'half a greeting' => stalled_listener('INFO {"server_id'),
	'a connect that is never answered' => stalled_listener(qq/INFO {$info}\r\n/),
);

my %closers = (
	'a server that dies' => [ stalled_listener(qq/INFO {$info}\r\n/, 1),
		'the server ended the connection|recv error|send error|No server available', 'max_connections' ],
	'a server with TLS that dies' => [ stalled_listener(qq/INFO {$info,"tls_required":true}\r\n/, 1),
		'could not connect', 'max_connections' ],
	'a server that has enough' => [ stalled_listener(qq/INFO {$info}\r\n-ERR 'maximum connections exceeded'\r\n/, 1),
		'maximum connections exceeded, see its max_connections', 'ended' ],
	'a server with TLS that has '
	  . 'enough' => [ stalled_listener(qq/INFO {$info,"tls_required":true}\r\n-ERR 'maximum connections exceeded'\r\n/,
		1), 'maximum connections exceeded, see its max_connections', 'ended' ],
);

my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY)') for $source, $dest;
create_group($source, $dest, 'g');

for my $what (sort keys %listeners)
{
	$source->append_conf('postgresql.conf', "pg_flo.nats_url = '$listeners{$what}{url}'");
	# fast, and the harness would die were it not to end
	$source->restart;
	ok(wait_until($source, 'postgres',
		q{SELECT EXISTS (SELECT FROM flo.status WHERE concat_ws(' ', state, detail, last_error) ~ 'NATS')},
		'NATS in flo.status'),
		"$what: the replicator says what it waits for");
	my $check = $source->safe_psql('postgres',
		q{SELECT string_agg(detail, ' ') FROM flo.check('g') WHERE status = 'error'});
	like($check, qr/NATS/, "$what: so does flo.check()");
	ok(wait_until($source, 'postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'pg_flo agent'},
		'no agent'),
		"$what: and leaves no process behind");
	$source->safe_psql('postgres', q{SELECT flo.stop_group('g')});
	wait_state($source, 'g', 'replicator', 'stopped');
	pass("$what: stop_group stops it");
	$source->safe_psql('postgres', q{SELECT flo.start_group('g')});
	wait_state($source, 'g', 'replicator', 'starting|waiting|backoff');
	$source->append_conf('postgresql.conf', "pg_flo.nats_url = '" . $nats->url . "'");
	$source->reload;
	wait_state($source, 'g', 'replicator', 'streaming');
	$source->safe_psql('postgres', q{INSERT INTO t SELECT coalesce(max(id), 0) + 1 FROM t});
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, 't', "$what: and it streams when the right broker is named");
}
$nats->stop;
for my $what (sort keys %closers)
{
	my ($listener, $said, $unsaid) = @{ $closers{$what} };

	# alone, and beside one that is down
	for my $urls ($listener->{url}, "nats://127.0.0.1:1,$listener->{url}")
	{
		$source->append_conf('postgresql.conf', "pg_flo.nats_url = '$urls'");
		$source->reload;
		my $shown = "SELECT detail FROM flo.status WHERE detail LIKE '%\"$urls\"%'";
		ok(wait_until($source, 'postgres', "SELECT EXISTS ($shown AND detail ~ '$said')", $said),
			"$what: is called that") or diag(status_of($source, 'g', 'replicator', 'detail'));
		unlike($source->safe_psql('postgres', $shown), qr/$unsaid/, "$what: and nothing else");
	}
}
$source->append_conf('postgresql.conf', "pg_flo.nats_url = '"
	  . $listeners{'a TLS handshake that is never answered'}{url} . "'");
$source->restart;
$source->safe_psql('postgres', q{SELECT 1});
$source->stop('fast');
pass('a server stops fast while its members connect');

done_testing();
