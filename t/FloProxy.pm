
=head1 NAME

FloProxy - a network between pg_flo and its broker that does what networks do

=head1 SYNOPSIS

  my $proxy = FloProxy->new($nats->port);
  $proxy->does('stall');
  $proxy->does('pass');

=head1 DESCRIPTION

Listens on a port of its own (C<port>, C<url>) and hands bytes to and fro between
who connects and the port it was made for.  What it does with them is said by
C<does>, in force when that returns, for connections that stand and those to come:

  pass          hands them on
  stall         hands nothing on, and takes nothing
  stall_up      the same of what clients send, only
  stall_down    the same of what the broker sends, only
  drip          a byte each 2 ms
  drip_down     the same of what the broker sends, only
  delay         hands them on 150 ms later
  cut           ends all connections there are, by a reset; then passes
  half_close    ends the broker's direction of all connections there are, and goes on
                to take what clients send; then passes
  refuse        ends whatever comes at once, and what there is
  choke         ends each connection after 100 kB

=cut

package FloProxy;

use strict;
use warnings;
use Carp;
use FloTest::Child;
use IO::Select;
use IO::Socket::INET;
use Socket qw(AF_UNIX IPPROTO_TCP PF_UNSPEC SHUT_WR SOCK_STREAM SOL_SOCKET SO_LINGER SO_RCVBUF SO_SNDBUF TCP_NODELAY);
use Time::HiRes qw(time);

# What lies here for a direction that does not get on
use constant KEPT => 64 * 1024;

sub new
{
	my ($class, $to) = @_;
	my $listener = IO::Socket::INET->new(Listen => 50, LocalAddr => '127.0.0.1', Proto => 'tcp') or croak "listen: $@";
	my $self = bless { port => $listener->sockport }, $class;

	socketpair($self->{control}, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or croak "socketpair: $!";
	$self->{pid} = in_child(sub { FloProxy::Child->run($listener, $theirs, $to) });
	close $theirs;
	return $self;
}

sub port { return $_[0]->{port}; }
sub url { return "nats://127.0.0.1:$_[0]->{port}"; }

sub does
{
	my ($self, $what) = @_;

	syswrite $self->{control}, "$what\n" or croak "the proxy is gone: $!";
	sysread $self->{control}, my $done, 1 or croak 'the proxy is gone';
}

package FloProxy::Child;

use Time::HiRes qw(time);

# A pair of sockets; "up" is what the client has sent and the broker has not got yet
sub run
{
	my ($class, $listener, $control, $to) = @_;
	my $self = bless { does => 'pass', pairs => {}, to => $to }, $class;

	while (1)
	{
		my $select = IO::Select->new($listener, $control);
		my $writers = IO::Select->new;
		my ($pause, %of) = (0.5);

		for my $pair (values %{ $self->{pairs} })
		{
			for my $way (qw(up down))
			{
				my ($from, $into) = $way eq 'up' ? @$pair{qw(client broker)} : @$pair{qw(broker client)};

				$of{$from} = [ $pair, $way ];
				$select->add($from)
				  if !$pair->{"${way}_ended"} && !$self->stalls($way) && length $pair->{$way} < FloProxy::KEPT;
				$pause = 0.002 if $pair->{$way} ne '' && $self->{does} =~ /drip|delay/;
				$writers->add($into) if $self->due($pair, $way);
			}
		}
		my ($readable) = IO::Select->select($select, $writers->count ? $writers : undef, undef, $pause);

		for my $socket (@{ $readable || [] })
		{
			if ($socket == $listener) { $self->take_in($listener->accept); }
			elsif ($socket == $control) { $self->obey($control) or return; }
			else { $self->take_bytes(@{ $of{$socket} }); }
		}
		$self->hand_on($_) for values %{ $self->{pairs} };
	}
}

sub stalls { my ($self, $way) = @_; return $self->{does} eq 'stall' || $self->{does} eq "stall_$way"; }

sub drips { my ($self, $way) = @_; return $self->{does} eq 'drip' || $self->{does} eq "drip_$way"; }

sub due
{
	my ($self, $pair, $way) = @_;

	return 0 if $pair->{$way} eq '' || $self->stalls($way);
	return time() - $pair->{"${way}_at"} >= 0.15 if $self->{does} eq 'delay';
	return time() - $pair->{"${way}_at"} >= 0.002 if $self->drips($way);
	return 1;
}

sub take_in
{
	my ($self, $client) = @_;

	return close $client if $self->{does} eq 'refuse';
	my $broker = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $self->{to}, Proto => 'tcp', Timeout => 2)
	  or return close $client;

	for ($client, $broker)
	{
		$_->blocking(0);
		setsockopt $_, Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1;
	}
	$self->{pairs}{$client} = { client => $client, broker => $broker, up => '', down => '', seen => 0 };
}

sub end
{
	my ($self, $pair, $reset) = @_;

	for (@$pair{qw(client broker)})
	{
		setsockopt $_, Socket::SOL_SOCKET, Socket::SO_LINGER, pack('ii', 1, 0) if $reset;
		close $_;
	}
	delete $self->{pairs}{ $pair->{client} };
}

sub obey
{
	my ($self, $control) = @_;

	sysread $control, my $word, 100 or return 0;
	chomp $word;
	my @pairs = values %{ $self->{pairs} };
	if ($word eq 'cut' || $word eq 'refuse') { $self->end($_, 1) for @pairs; }
	if ($word eq 'half_close')
	{
		for (@pairs)
		{
			shutdown $_->{client}, 1;
			$_->{down_ended} = 1;
			$_->{down} = '';
		}
	}
	$self->{does} = $word =~ /^(cut|half_close)$/ ? 'pass' : $word;
	syswrite $control, '.';
	return 1;
}

sub take_bytes
{
	my ($self, $pair, $way) = @_;
	return if !$self->{pairs}{ $pair->{client} };
	my $from = $pair->{ $way eq 'up' ? 'client' : 'broker' };
	my $n = sysread $from, my $bytes, 65536;

	return if !defined $n && $!{EAGAIN};
	return $self->end($pair) if !$n;
	$pair->{"${way}_at"} = time() if $pair->{$way} eq '';
	$pair->{$way} .= $bytes;
	$pair->{seen} += $n;
	$self->end($pair, 1) if $self->{does} eq 'choke' && $pair->{seen} > 100 * 1024;
}

sub hand_on
{
	my ($self, $pair) = @_;

	for my $way (qw(up down))
	{
		next if !$self->due($pair, $way) || !$self->{pairs}{ $pair->{client} };
		my $into = $pair->{ $way eq 'up' ? 'broker' : 'client' };
		my $n = syswrite $into, $pair->{$way}, $self->drips($way) ? 1 : length $pair->{$way};

		next if !defined $n && $!{EAGAIN};
		return $self->end($pair) if !defined $n;
		substr($pair->{$way}, 0, $n) = '';
		$pair->{"${way}_at"} = time();
	}
}

1;
