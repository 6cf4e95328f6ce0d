
=head1 NAME

FloNatsClient - a plain NATS client, as a consumer of events would be one

=head1 SYNOPSIS

  my $client = FloNatsClient->new($nats->port);
  $client->subscribe('cdc.g.public.orders.*');
  my $message = $client->next(10);        # subject, data, headers; undef after 10 s
  my @messages = $client->stream('ORDERS', 'cdc.>');

=head1 DESCRIPTION

Knows nothing of pg_flo: it speaks the protocol of lines that NATS clients
speak.  C<stream> reads what a JetStream stream holds, in its order; C<backup> takes a
stream with its consumers out of the broker and C<restore> puts it there again, as the
commands C<nats stream backup> and C<nats stream restore> do.

=cut

package FloNatsClient;

use strict;
use warnings;
use Carp;
use IO::Select;
use IO::Socket::INET;
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use JSON::PP ();
use Time::HiRes qw(time);

sub new
{
	my ($class, $port, %login) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Proto => 'tcp', Timeout => 10)
	  or croak "connect: $@";
	my $self = bless {
		port => $port, socket => $socket, buffer => '', next_sub => 1, messages => [], inbox => "_INBOX.c$$." . time(),
	}, $class;
	my %options = (verbose => JSON::PP::false(), pedantic => JSON::PP::false(), headers => JSON::PP::true(),
		no_responders => JSON::PP::true(), user => 'test', pass => 'test', %login);

	setsockopt($socket, IPPROTO_TCP, TCP_NODELAY, 1) or croak "setsockopt: $!";
	$self->{inbox} =~ s/\.(\d+)$/-$1/;
	$self->_send('CONNECT ' . JSON::PP::encode_json(\%options));
	$self->flush;
	return $self;
}

sub _send { my ($self, $text) = @_; $self->{socket}->syswrite("$text\r\n") or croak "write: $!"; }

sub subscribe
{
	my ($self, $subject) = @_;
	$self->_send("SUB $subject " . $self->{next_sub}++);
	$self->flush;
}

sub publish
{
	my ($self, $subject, $data, $reply, %headers) = @_;
	my $head = %headers ? join("\r\n", 'NATS/1.0', (map { "$_: $headers{$_}" } sort keys %headers), '', '') : '';
	my $sizes = $head ne '' ? length($head) . ' ' . length("$head$data") : length $data;

	$self->_send(join(' ', ($head ne '' ? 'HPUB' : 'PUB'), $subject, (defined $reply ? $reply : ()), $sizes)
		  . "\r\n$head$data");
}

# All sent before has reached the server
sub flush
{
	my ($self) = @_;
	my $until = time() + 30;

	$self->{pong} = 0;
	$self->_send('PING');
	while (!$self->{pong}) { $self->_read($until - time()) or croak 'no answer from nats-server'; }
}

# Take in what comes within so many seconds; false when nothing does
sub _read
{
	my ($self, $timeout) = @_;

	return 0 if !IO::Select->new($self->{socket})->can_read($timeout > 0 ? $timeout : 0);
	sysread($self->{socket}, $self->{buffer}, 1 << 20, length $self->{buffer}) or croak 'nats-server hung up';
	my $from = 0;
	while ((my $end = index($self->{buffer}, "\r\n", $from)) >= 0)
	{
		my $line = substr($self->{buffer}, $from, $end - $from);
		my $at = $end + 2;

		if ($line =~ /^H?MSG /)
		{
			my (undef, $subject, undef, @rest) = split / /, $line;
			my $size = pop @rest;
			my $head = $line =~ /^H/ ? pop @rest : 0;

			last if length($self->{buffer}) < $at + $size + 2;
			push @{ $self->{messages} },
			  $self->_message($subject, $rest[0], substr($self->{buffer}, $at, $head),
				substr($self->{buffer}, $at + $head, $size - $head));
			$at += $size + 2;
		}
		elsif ($line eq 'PONG') { $self->{pong} = 1; }
		elsif ($line eq 'PING') { $self->_send('PONG'); }
		elsif ($line =~ /^-ERR/) { push @{ $self->{errors} }, $line; }
		$from = $at;
	}
	substr($self->{buffer}, 0, $from) = '';
	return 1;
}

sub _message
{
	my ($self, $subject, $reply, $block, $data) = @_;
	my %headers;
	my ($status) = $block =~ m{^NATS/1.0 +(\d+)};

	while ($block =~ /^([^:\r\n]+): ?(.*?)\r$/mg) { $headers{$1} = $2; }
	return {
		subject => $subject, reply => $reply, data => $data, headers => \%headers, status => $status, at => time(),
	};
}

# The next message of any subscription; undef when none comes within so many seconds
sub next
{
	my ($self, $timeout) = @_;
	my $until = time() + $timeout;

	until (@{ $self->{messages} }) { $self->_read($until - time()) or return; }
	return shift @{ $self->{messages} };
}

# So many messages, or fewer when they do not come in time
sub take
{
	my ($self, $count, $timeout) = @_;
	my $until = time() + $timeout;
	my @taken;

	while (@taken < $count)
	{
		my $message = $self->next($until - time()) or last;
		push @taken, $message;
	}
	return @taken;
}

sub request
{
	my ($self, $subject, $data, %headers) = @_;
	my $inbox = "$self->{inbox}." . $self->{next_sub};
	my @others = splice @{ $self->{messages} };
	my $answer;

	$self->_send("SUB $inbox " . $self->{next_sub}++);
	$self->publish($subject, $data, $inbox, %headers);
	until ($answer)
	{
		my $message = $self->next(30) or croak "no answer to $subject @{ $self->{errors} || [] }";
		if ($message->{subject} eq $inbox) { $answer = $message; }
		else { push @others, $message; }
	}
	unshift @{ $self->{messages} }, @others;
	return $answer;
}

sub api
{
	my ($self, $subject, $request) = @_;
	return JSON::PP::decode_json($self->request("\$JS.API.$subject", $request ? JSON::PP::encode_json($request) : '')
		  ->{data});
}

# What a stream holds of a subject, in its order; each message has its sequence.  From
# that one on, if it is given.
sub stream
{
	my ($other, $stream, $filter, $from) = @_;
	my $self = FloNatsClient->new($other->{port});
	my $inbox = "$self->{inbox}.s" . $self->{next_sub};
	my %config = (ack_policy => 'none', deliver_policy => 'all');
	my @messages;

	$config{filter_subject} = $filter if defined $filter;
	@config{qw(deliver_policy opt_start_seq)} = ('by_start_sequence', $from + 0) if defined $from;
	$self->subscribe($inbox);
	my $made = $self->api("CONSUMER.CREATE.$stream", { stream_name => $stream, config => \%config });
	croak "stream $stream: $made->{error}{description}" if $made->{error};
	for my $i (1 .. $made->{num_pending} || 0)
	{
		# in portions: a server hangs up on who does not keep up
		$self->publish("\$JS.API.CONSUMER.MSG.NEXT.$stream.$made->{name}", '{"batch":5000}', $inbox) if $i % 5000 == 1;
		my $message = $self->next(30) or croak "stream $stream: message $i of $made->{num_pending} does not come";
		($message->{seq}) = $message->{reply} =~ /^\$JS\.ACK\.[^.]+\.[^.]+\.\d+\.(\d+)\./;
		push @messages, $message;
	}
	$self->api("CONSUMER.DELETE.$stream.$made->{name}");
	return @messages;
}

# All of a stream, for restore(); what changes it meanwhile may be in it or not
sub backup
{
	my ($other, $stream) = @_;
	my $self = FloNatsClient->new($other->{port});
	my $inbox = "$self->{inbox}.b";
	my @pieces;

	$self->subscribe($inbox);
	my $said = $self->api("STREAM.SNAPSHOT.$stream", { deliver_subject => $inbox });
	croak "backup of $stream: $said->{error}{description}" if $said->{error};
	while (1)
	{
		my $message = $self->next(30) or croak "backup of $stream: no end";
		last if $message->{data} eq '';
		push @pieces, $message->{data};
		$self->publish($message->{reply}, '');
	}
	return { stream => $stream, config => $said->{config}, state => $said->{state}, pieces => \@pieces };
}

# Of a stream that is not there
sub restore
{
	my ($self, $backup) = @_;
	my $stream = $backup->{stream};
	my $said = $self->api("STREAM.RESTORE.$stream", { config => $backup->{config}, state => $backup->{state} });

	for my $piece (@{ $backup->{pieces} }, '')
	{
		croak "restore of $stream: $said->{error}{description}" if $said->{error};
		my $answer = $self->request($said->{deliver_subject}, $piece)->{data};
		$said = { %$said, %{ JSON::PP::decode_json($answer) } } if $answer =~ /^\{/;
	}
	croak "restore of $stream: $said->{error}{description}" if $said->{error};
	return;
}

1;
