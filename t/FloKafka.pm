
=head1 NAME

FloKafka - a broker of Kafka for pg_flo's TAP tests

=head1 SYNOPSIS

  my $kafka = FloKafka->new;            # real, by the script in $ENV{FLO_KAFKA}
  $kafka->create_topic('orders', 3);
  my @messages = $kafka->messages('orders');

=head1 DESCRIPTION

C<make test-kafka> says in the environment where the script is that starts a
broker.  Messages are read with kcat, as who reads committed ones only sees them.

=cut

package FloKafka;

use strict;
use warnings;
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $json = JSON::PP->new->utf8->canonical;

sub new
{
	my ($class) = @_;
	my $self = bless { script => $ENV{FLO_KAFKA}, dir => PostgreSQL::Test::Utils::tempdir() . '/kafka' }, $class;

	$self->{$_} = PostgreSQL::Test::Cluster::get_free_port() for qw(port controller sasl tls);
	$self->{settings} = $self->_settings;
	$self->start;
	return $self;
}

# One can come in the clear, with TLS, and as user flo or as stranger, who may do nothing
sub _settings
{
	my ($self) = @_;
	my $keys = PostgreSQL::Test::Utils::tempdir();

	PostgreSQL::Test::Utils::run_log([
		qw(openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost),
		'-keyout', "$keys/key.pem", '-out', "$keys/ca.pem" ]) or die 'no certificate';
	append_to_file("$keys/both.pem", slurp_file("$keys/key.pem") . slurp_file("$keys/ca.pem"));
	$self->{ca} = "$keys/ca.pem";
	return <<"SETTINGS";
log.cleaner.enable=false
listeners=PLAINTEXT://127.0.0.1:$self->{port},CONTROLLER://127.0.0.1:$self->{controller},\\
SASL://127.0.0.1:$self->{sasl},TLS://127.0.0.1:$self->{tls}
advertised.listeners=PLAINTEXT://127.0.0.1:$self->{port},SASL://127.0.0.1:$self->{sasl},TLS://localhost:$self->{tls}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \\
user_flo="geheim" user_stranger="fremd";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:flo
listener.name.tls.ssl.keystore.type=PEM
listener.name.tls.ssl.keystore.location=$keys/both.pem
SETTINGS
}

sub brokers { return "127.0.0.1:$_[0]->{port}"; }
sub sasl_brokers { return "127.0.0.1:$_[0]->{sasl}"; }
sub tls_brokers { return "localhost:$_[0]->{tls}"; }
sub ca { return $_[0]->{ca}; }

sub _script
{
	my ($self, @arguments) = @_;
	local $ENV{KAFKA_SETTINGS} = $self->{settings};
	local $ENV{KAFKA_CONTROLLER_PORT} = $self->{controller};
	local $ENV{KAFKA_HEAP} = '256m';
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'bash', $self->{script}, @arguments ], '<', \undef, '>', \$out, '2>', \$err)
	  or die "kafka.sh @arguments: $err";
	return $out;
}

sub start { my ($self) = @_; $self->_script('start', $self->{dir}, $self->{port}); }
sub stop { my ($self) = @_; $self->_script('stop', $self->{dir}); }

sub _pid { my ($self) = @_; my $pid = slurp_file("$self->{dir}/pid"); chomp $pid; return $pid; }
sub kill9 { my ($self) = @_; kill 'KILL', $self->_pid; }
sub pause { my ($self) = @_; kill 'STOP', $self->_pid; }
sub resume { my ($self) = @_; kill 'CONT', $self->_pid; }

sub tool { my ($self, $class, @arguments) = @_; return $self->_script('tool', $class, @arguments); }

sub create_topic
{
	my ($self, $topic, $partitions, @config) = @_;
	$self->tool('TopicCommand', '--bootstrap-server', $self->brokers, '--create', '--topic', $topic,
		'--partitions', $partitions || 1, map { ('--config', $_) } @config);
}

# What is in the topic: hashes with partition, key, value and headers
sub messages
{
	my ($self, $topic, $isolation) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'kcat', '-q', '-C', '-e', '-J', '-b', $self->brokers, '-t', $topic, '-o', 'beginning',
		'-X', 'isolation.level=' . ($isolation || 'read_committed') ], '<', \undef, '>', \$out, '2>', \$err);
	return map {
		my $one = $json->decode($_);
		{ partition => $one->{partition}, key => $one->{key}, value => $one->{payload},
			headers => { @{ $one->{headers} || [] } } }
	} grep { /^\{/ } split /\n/, $out;
}

# Their values as events; tombstones are left out
sub events
{
	my ($self, $topic) = @_;
	return map { $json->decode(Encode::encode('UTF-8', $_->{value})) }
	  grep { defined $_->{value} } $self->messages($topic);
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@);
	eval { $self->resume; $self->stop; };
}

use Encode ();

1;
