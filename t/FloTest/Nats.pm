
=head1 NAME

FloTest::Nats - a nats-server for pg_flo's tests

=head1 SYNOPSIS

  my $nats = FloTest::Nats->new('broker');
  my $info = $nats->api('STREAM.INFO.pgflo_g_stream');
  $nats->kill9;
  $nats->start;

=head1 DESCRIPTION

The broker of a test, with its store below tmp_check.  It is killed when the
test ends.  What asks it something opens a connection of its own and croaks
when none can be had, when the server hangs up, and when it says nothing for
ten seconds.

=cut

package FloTest::Nats;

use strict;
use warnings;
use Carp;
use File::Path ();
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use MIME::Base64 ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

my @running;

=pod

=head1 THE SERVER

=head2 new($name, %param)

A server, started.  Parameters: C<jetstream>, false for one without;
C<room>, its max_file_store as NATS writes sizes, default C<20GB>; C<conf>,
further lines of its configuration file; C<port>, default a free one;
C<start>, false not to start it; C<server>, another nats-server than that of the
system, which is FLO_NATS_SERVER if that is set.  The store is empty.

=head2 cluster($name, $count, %param)

So many servers of one cluster, called C<$name>1 and so on, all of them started
before one is waited for; returns them.  JetStream is theirs together.

=head2 start_all(@servers)

start() for several: none of a cluster may be waited for before a majority runs.

=cut

sub new
{
	my ($class, $name, %param) = @_;
	my ($test) = $0 =~ m{([^/]+?)(\.pl)?$};
	my $dir = "$PostgreSQL::Test::Utils::tmp_check/t_${test}_nats_$name";
	my $self = bless {
		name => $name,
		dir => $dir,
		port => $param{port} || PostgreSQL::Test::Cluster::get_free_port(),
		log => "$PostgreSQL::Test::Utils::log_path/${test}_nats_$name.log",
		jetstream => !defined $param{jetstream} || $param{jetstream},
		room => $param{room} || '20GB',
		server => $param{server} || $ENV{FLO_NATS_SERVER} || 'nats-server',
		fixed => $param{fixed} || '',
	}, $class;

	File::Path::remove_tree($dir);
	File::Path::make_path($dir);
	$self->configure($param{conf});
	push @running, $self;
	$self->start if !defined $param{start} || $param{start};
	return $self;
}

sub cluster
{
	my ($class, $name, $count, %param) = @_;
	my @routes = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. $count;
	my $routes = join ', ', map { "\"nats://127.0.0.1:$_\"" } @routes;
	my @servers;

	for my $i (1 .. $count)
	{
		my $fixed = "server_name: $name$i\ncluster { name: $name, listen: \"127.0.0.1:$routes[$i - 1]\", "
		  . "no_advertise: true, routes: [ $routes ] }";
		push @servers, $class->new("$name$i", %param, fixed => $fixed, start => 0);
	}
	$class->start_all(@servers);
	return @servers;
}

sub start_all
{
	my ($class, @servers) = @_;

	$_->_run for @servers;
	$_->_await_greeting for @servers;
}

=pod

=head2 port(), url()

Its port on 127.0.0.1, and what C<pg_flo.nats_url> is to be.

=cut

sub port { return $_[0]->{port}; }
sub url { return "nats://127.0.0.1:$_[0]->{port}"; }

=pod

=head2 configure($lines)

Makes C<$lines> all there is in its configuration file beside the usual ones,
in force at the next start.

=cut

sub configure
{
	my ($self, $lines) = @_;
	my $room = $self->{room};

	open my $conf, '>', "$self->{dir}/nats.conf" or croak "$self->{dir}/nats.conf: $!";
	print $conf qq{listen: "127.0.0.1:$self->{port}"\nlog_file: "$self->{log}"\n};
	print $conf qq{jetstream { store_dir: "$self->{dir}/store", max_file_store: $room }\n} if $self->{jetstream};
	print $conf "$self->{fixed}\n" if $self->{fixed};
	print $conf "$lines\n" if $lines;
	close $conf;
}

=pod

=head2 set_room($size, $lines)

Gives it another max_file_store, and C<$lines> as configure() does, by a restart.

=cut

sub set_room
{
	my ($self, $room, $lines) = @_;
	$self->{room} = $room;
	$self->configure($lines);
	$self->restart;
}

=pod

=head2 start()

Starts it, on the same port and store as before, and waits until it greets who
connects.  Croaks when it ends meanwhile, and at the time-out.

=cut

sub start { my ($self) = @_; $self->_run; $self->_await_greeting; }

sub _run
{
	my ($self) = @_;
	my $pid = fork();

	croak "fork: $!" if !defined $pid;
	if ($pid == 0)
	{
		local $ENV{PATH} = "$ENV{PATH}:/usr/sbin:/usr/local/sbin";
		open STDIN, '<', '/dev/null';
		open STDOUT, '>>', "$self->{dir}/output";
		open STDERR, '>&', \*STDOUT;
		exec $self->{server}, '-c', "$self->{dir}/nats.conf" or POSIX::_exit(127);
	}
	$self->{pid} = $pid;
}

sub _await_greeting
{
	my ($self) = @_;
	my $pid = $self->{pid};
	my $until = time() + $PostgreSQL::Test::Utils::timeout_default;

	while (time() < $until)
	{
		croak "nats-server $self->{name} ended: see $self->{dir}/output and $self->{log}"
		  if waitpid($pid, POSIX::WNOHANG()) == $pid;
		return if eval { $self->_greeted };
		sleep 0.02;		# sleeps: between two looks
	}
	croak "nats-server $self->{name} does not answer";
}

sub _end
{
	my ($self, $signal) = @_;
	my $pid = delete $self->{pid} or return;

	kill $signal, $pid;
	waitpid($pid, 0);
}

=pod

=head2 stop(), kill9(), restart()

End it by SIGTERM, or by SIGKILL, and wait until it is gone; nothing happens
when it does not run.  restart() is stop() and start().

=cut

sub stop { $_[0]->_end('TERM'); }
sub kill9 { $_[0]->_end('KILL'); }
sub restart { my ($self) = @_; $self->stop; $self->start; }

=pod

=head2 reload()

Has it read its configuration file again, by SIGHUP; returns when its log says that
it has.

=cut

sub reload
{
	my ($self) = @_;
	my $from = -s $self->{log};
	my $until = time() + $PostgreSQL::Test::Utils::timeout_default;

	my $said;

	kill 'HUP', $self->{pid};
	until (($said) = slurp_file($self->{log}, $from) =~ /(Reloaded server configuration|reload\w* .*(?:fail|error).*)/i)
	{
		croak "nats-server $self->{name} does not reload" if time() > $until;
		sleep 0.02;		# sleeps: between two looks
	}
	croak "nats-server $self->{name}: $said" if $said !~ /^Reloaded/;
}

=pod

=head2 pause(), resume()

SIGSTOP and SIGCONT: as on a network that is stuck, connections stay and
nothing is read or written.

=cut

sub pause { kill 'STOP', $_[0]->{pid}; }
sub resume { kill 'CONT', $_[0]->{pid}; }

=pod

=head2 forget(), save_store(), copy_store(), restore_store()

forget() empties the store of a server that does not run.  save_store() stops
the server, keeps a copy of its store and starts it; copy_store() keeps one as a
kill at this moment would leave it, and the server goes on; restore_store() kills
it and starts it with that copy.

=cut

sub forget { File::Path::remove_tree("$_[0]->{dir}/store"); }

sub save_store
{
	my ($self) = @_;

	$self->stop;
	$self->_keep_store;
	$self->start;
}

sub copy_store
{
	my ($self) = @_;

	$self->pause;
	# each of its threads
	sleep 0.001 until !grep { slurp_file("$_/stat") !~ /\) [Tt] / } glob "/proc/$self->{pid}/task/*";	# sleeps: a look
	$self->_keep_store;
	$self->resume;
}

sub _keep_store
{
	my ($self) = @_;

	File::Path::remove_tree("$self->{dir}/saved");
	system('cp', '-R', "$self->{dir}/store", "$self->{dir}/saved") == 0 or croak 'cp';
}

sub restore_store
{
	my ($self) = @_;

	$self->kill9;
	File::Path::remove_tree("$self->{dir}/store");
	system('cp', '-R', "$self->{dir}/saved", "$self->{dir}/store") == 0 or croak 'cp';
	$self->start;
}

=pod

=head1 WHAT IS IN IT

=head2 request($subject, $data)

Publishes the bytes C<$data> and returns the bytes of the answer; an empty
string when nobody is there to answer.

=cut

# The NATS protocol is lines of text; that much of it is enough for tests.
# The greeting is the same whatever the server asks for afterwards, TLS included.
sub _greeted
{
	my ($self) = @_;
	my $socket = IO::Socket::INET->new(
		PeerAddr => '127.0.0.1', PeerPort => $self->{port}, Proto => 'tcp', Timeout => 5)
	  or croak "connect: $@";
	my $c = { socket => $socket, buffer => '' };

	_line($c) =~ /^INFO / or croak 'this is no nats-server';
	return $c;
}

# A server with users has one called test, with this password
sub _connect
{
	my ($self) = @_;
	my $c = $self->_greeted;
	my $who = '{"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"user":"test","pass":"test"}';

	print { $c->{socket} } "CONNECT $who\r\nPING\r\n";
	while ((my $line = _line($c)) ne 'PONG') { croak $line if $line =~ /^-ERR/; }
	return $c;
}

sub _fill
{
	my ($c) = @_;
	IO::Select->new($c->{socket})->can_read(10) or croak 'no answer from nats-server';
	sysread($c->{socket}, $c->{buffer}, 65536, length $c->{buffer}) or croak 'nats-server hung up';
}

sub _line
{
	my ($c) = @_;
	_fill($c) until $c->{buffer} =~ s/^(.*?)\r\n//;
	return $1;
}

sub _bytes
{
	my ($c, $n) = @_;
	_fill($c) while length $c->{buffer} < $n + 2;
	my $bytes = substr($c->{buffer}, 0, $n);
	substr($c->{buffer}, 0, $n + 2) = '';
	return $bytes;
}

sub request
{
	my ($self, $subject, $data) = @_;
	my $c = $self->_connect;

	print { $c->{socket} } "SUB _INBOX.t 1\r\nPUB $subject _INBOX.t " . length($data) . "\r\n$data\r\n";
	while (1)
	{
		my $line = _line($c);
		return _bytes($c, $1) if $line =~ /^MSG \S+ \S+\s+(\d+)$/;
		if ($line =~ /^HMSG \S+ \S+\s+(\d+) (\d+)$/)
		{
			my ($headers, $size) = ($1, $2);
			return substr(_bytes($c, $size), $headers);
		}
		croak $line if $line =~ /^-ERR/;
		print { $c->{socket} } "PONG\r\n" if $line eq 'PING';
	}
}

=pod

=head2 publish($subject, $data)

Publishes into the stream of that subject; returns JetStream's acknowledgement,
a hash with C<stream> and C<seq> or with C<error>.

=cut

sub publish
{
	my ($self, $subject, $data) = @_;
	return JSON::PP::decode_json($self->request($subject, $data));
}

=pod

=head2 api($subject, \%request)

A call of JetStream's API, by its subject without C<$JS.API.>; returns the
answer as a hash, whose C<error> is there when it was refused or when nobody
answers.

=cut

sub api
{
	my ($self, $subject, $request) = @_;
	my $answer = $self->request("\$JS.API.$subject", $request ? JSON::PP::encode_json($request) : '');
	return $answer eq '' ? { error => { description => 'no answer' } } : JSON::PP::decode_json($answer);
}

=pod

=head2 stream_leader($stream), stream_laggards($stream)

The name of the server of a cluster that leads a stream whose servers all have
what it has, undef while there is none such; the names of those that have not, or
are away, as far as the leader knows.

=cut

sub stream_leader
{
	my ($self, $stream) = @_;
	my $cluster = eval { $self->api("STREAM.INFO.$stream")->{cluster} } or return;

	return if !$cluster->{leader} || _laggards($cluster);
	return $cluster->{leader};
}

sub stream_laggards
{
	my ($self, $stream) = @_;
	my $cluster = eval { $self->api("STREAM.INFO.$stream")->{cluster} } or return;

	return map { $_->{name} } _laggards($cluster);
}

sub _laggards { return grep { !$_->{current} || $_->{offline} } @{ $_[0]->{replicas} || [] }; }

=pod

=head2 streams(), last_seq($stream), message($stream, $seq)

The names of all streams, sorted; the last sequence of one, undef when there is
no such stream; the bytes stored under a sequence, undef when there are none.

=cut

sub streams
{
	my ($self) = @_;
	my $answer = $self->api('STREAM.NAMES', {});
	return sort @{ $answer->{streams} || [] };
}

sub last_seq { return $_[0]->api("STREAM.INFO.$_[1]")->{state}{last_seq}; }

sub message
{
	my ($self, $stream, $seq) = @_;
	my $answer = $self->api("STREAM.MSG.GET.$stream", { seq => $seq + 0 });

	return if !$answer->{message};
	return MIME::Base64::decode_base64($answer->{message}{data} // '');
}

END
{
	# keep the test's own exit status
	my $status = $?;
	$_->kill9 for @running;
	$? = $status;
}

1;
