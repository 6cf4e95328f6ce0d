
=head1 NAME

FloHook - an HTTP endpoint for pg_flo's TAP tests

=head1 SYNOPSIS

  my $hook = FloHook->new('crm');
  ...options => '{"url": "@{[ $hook->url ]}"}'
  $hook->answer('503 Busy', 'Retry-After' => 2);
  my @requests = $hook->requests;      # hashes: path, headers, body, at, events

=head1 DESCRIPTION

A process of its own that takes any number of connections, and writes down
each request before it answers.  What it answers is told by C<answer> and read
anew for each request: a status line and headers; C<delay>, seconds to wait
before the answer; C<hang>, never answer; C<close>, hang up instead;
C<unless>, a pattern: paths or bodies that match it are answered with 200.
C<stop> and C<start> take the port away and back.

=cut

package FloHook;

use strict;
use warnings;
use Carp;
use File::Basename qw(basename);
use FloTest::Child;
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

my @running;

sub new
{
	my ($class, $name) = @_;
	# files run side by side in one folder
	my $base = "$PostgreSQL::Test::Utils::tmp_check/" . basename($0, '.pl') . "_hook_$name";
	my $self = bless {
		port => PostgreSQL::Test::Cluster::get_free_port(),
		log => "$base.log",
		rules => "$base.answer",
	}, $class;

	unlink $self->{log};
	$self->answer('200 OK');
	push @running, $self;
	$self->start;
	return $self;
}

sub url { my ($self, $path) = @_; return "http://127.0.0.1:$self->{port}" . (defined $path ? $path : '/hook'); }

sub answer
{
	my ($self, $status, %param) = @_;
	open my $f, '>', "$self->{rules}.new" or croak $!;
	print $f JSON::PP::encode_json({ status => $status, %param });
	close $f;
	rename "$self->{rules}.new", $self->{rules} or croak $!;
}

sub requests
{
	my ($self) = @_;
	my @requests;
	open my $f, '<', $self->{log} or return ();
	while (my $line = <$f>)
	{
		last if $line !~ /\n\z/;
		push @requests, JSON::PP::decode_json($line);
	}
	return @requests;
}

# How many requests that are
sub count { my ($self) = @_; return slurp_file($self->{log}) =~ tr/\n//; }

# Events that were taken (answered with 2xx), in the order of arrival
sub events
{
	my ($self, $path) = @_;
	my @events;
	for my $request ($self->requests)
	{
		next if $request->{status} !~ /^2/ || (defined $path && $request->{path} ne $path);
		my $body = JSON::PP::decode_json(Encode::encode_utf8($request->{body}));
		push @events, ref $body eq 'ARRAY' ? @$body : $body;
	}
	return @events;
}

sub forget { my ($self) = @_; truncate $self->{log}, 0; }

sub start
{
	my ($self) = @_;
	my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $self->{port}, Listen => 64,
		ReuseAddr => 1)
	  or croak "listen: $@";

	$self->{pid} = in_child(sub { $self->_serve($listen) });
	close $listen;
}

sub stop
{
	my ($self) = @_;
	my $pid = delete $self->{pid} or return;
	end_child($pid);
}

sub _rules
{
	my ($self) = @_;
	open my $f, '<', $self->{rules} or return { status => '500 No rules' };
	local $/;
	return JSON::PP::decode_json(<$f>);
}

sub _serve
{
	my ($self, $listen) = @_;
	my $select = IO::Select->new($listen);
	my (%buffer, @later);

	open my $log, '>>', $self->{log} or die $!;
	$log->autoflush(1);
	while (1)
	{
		my $now = time();
		my @due = grep { $_->{at} <= $now } @later;
		@later = grep { $_->{at} > $now } @later;
		print { $_->{socket} } $_->{text} for @due;
		my ($next) = sort { $a <=> $b } map { $_->{at} - $now } @later;
		for my $socket ($select->can_read(defined $next ? $next : 10))
		{
			if ($socket == $listen)
			{
				my $client = $listen->accept or next;
				$client->autoflush(1);
				$select->add($client);
				$buffer{$client} = '';
				next;
			}
			my $n = sysread($socket, $buffer{$socket}, 1 << 20, length $buffer{$socket});
			if (!$n)
			{
				$select->remove($socket);
				@later = grep { $_->{socket} != $socket } @later;
				delete $buffer{$socket};
				close $socket;
				next;
			}
			$self->_request($socket, \$buffer{$socket}, $log, \@later, $select);
		}
	}
}

sub _request
{
	my ($self, $socket, $buffer, $log, $later, $select) = @_;

	while ($$buffer =~ /^(.*?)\r\n\r\n/s)
	{
		my ($head, $start) = ($1, $+[0]);
		my ($line, @lines) = split /\r\n/, $head;
		my %headers = map { my ($name, $value) = split /:\s*/, $_, 2; (lc $name => $value) } @lines;
		my $len = $headers{'content-length'} || 0;
		return if length($$buffer) < $start + $len;
		my $body = substr($$buffer, $start, $len);
		substr($$buffer, 0, $start + $len) = '';
		my ($method, $path) = split / /, $line;

		my $rules = $self->_rules;
		my $spared = defined $rules->{unless} && ($path =~ /$rules->{unless}/ || $body =~ /$rules->{unless}/);
		my $status = $spared ? '200 OK' : $rules->{status};
		utf8::decode(my $text = $body);
		my $silent = !$spared && ($rules->{hang} || $rules->{close});
		print $log JSON::PP::encode_json({
			method => $method, path => $path, headers => \%headers, body => $text, at => time(),
			status => $silent ? '0' : $status }) . "\n";
		if (!$spared && $rules->{close}) { $select->remove($socket); close $socket; return; }
		next if !$spared && $rules->{hang};
		my $answer = $rules->{body} // 'ok';
		my $out = "HTTP/1.1 $status\r\nContent-Length: " . length($answer) . "\r\n";
		$out .= "Retry-After: $rules->{'Retry-After'}\r\n" if !$spared && defined $rules->{'Retry-After'};
		$out .= "Location: $rules->{Location}\r\n" if !$spared && defined $rules->{Location};
		$out .= "\r\n$answer";
		if (!$spared && $rules->{delay}) { push @$later,
			{ at => time() + $rules->{delay}, socket => $socket, text => $out }; }
		else { print $socket $out; }
	}
}

use Encode ();

END
{
	my $status = $?;
	$_->stop for @running;
	$? = $status;
}

1;
