
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

# Settings: further lines of server.properties
sub new
{
	my ($class, $settings) = @_;
	my $self = bless {
		script => $ENV{FLO_KAFKA},
		dir => PostgreSQL::Test::Utils::tempdir() . '/kafka',
		port => PostgreSQL::Test::Cluster::get_free_port(),
		controller => PostgreSQL::Test::Cluster::get_free_port(),
		settings => $settings || ''
	}, $class;

	$self->start;
	return $self;
}

sub brokers { return "127.0.0.1:$_[0]->{port}"; }

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
