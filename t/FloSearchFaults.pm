
=head1 NAME

FloSearchFaults - a stand-in for a search service that fails as it is told to

=head1 SYNOPSIS

  my $search = FloSearchFaults->new('one');
  $search->answer(bulk => '503 Busy', 'Retry-After' => 1);
  $search->answer(item => { match => 'bad', status => 400 }, largest => 1000);

=head1 DESCRIPTION

Keeps documents as a search service does: the newest version of each, and what was
deleted.  It writes down each request.  C<answer> says what is to go wrong from now on,
and takes back what was said before: C<bulk>, a status line for each _bulk; C<body>,
what it answers then; C<item>, a status for the items whose lines match; C<times>, so
often only; C<largest>, bytes of a _bulk above which it is 413; C<spoils>, a pattern: a
_bulk that it matches is 400 as a whole; C<garbage>, an answer that is none.

=cut

package FloSearchFaults;

use strict;
use warnings;
use Carp;
use File::Basename;
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;

my @running;
my $json = JSON::PP->new->utf8->canonical;

sub new
{
	my ($class, $name) = @_;
	my $base = "$PostgreSQL::Test::Utils::tmp_check/" . basename($0, '.pl') . "_search_$name";
	my $self = bless { port => PostgreSQL::Test::Cluster::get_free_port(), base => $base }, $class;

	$self->answer;
	push @running, $self;
	$self->start;
	return $self;
}

sub url { return "http://127.0.0.1:$_[0]{port}"; }

sub answer
{
	my ($self, %param) = @_;
	open my $f, '>', "$self->{base}.new" or croak $!;
	print $f $json->encode({ %param, said => $self->{said}++ });
	close $f;
	rename "$self->{base}.new", "$self->{base}.rules" or croak $!;
}

sub _lines
{
	my ($self, $kind) = @_;
	open my $f, '<', "$self->{base}.$kind" or return ();
	return map { $json->decode($_) } grep { /\n\z/ } <$f>;
}

# Requests: method, path, headers, body
sub requests { return $_[0]->_lines('log'); }

sub bulks { return grep { $_->{path} =~ /_bulk/ } $_[0]->requests; }

sub forget { truncate "$_[0]{base}.log", 0; }

# Documents by index and id, as they are now
sub documents
{
	my ($self, $index) = @_;
	my %documents;
	for my $act ($self->_lines('acts'))
	{
		if (defined $act->{doc}) { $documents{ $act->{index} }{ $act->{id} } = $act->{doc}; }
		else { delete $documents{ $act->{index} }{ $act->{id} }; }
	}
	return $documents{$index} || {};
}

sub start
{
	my ($self) = @_;
	my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $self->{port}, Listen => 64,
		ReuseAddr => 1)
	  or croak "listen: $@";
	my $pid = fork();

	croak "fork: $!" if !defined $pid;
	if ($pid == 0)
	{
		$SIG{TERM} = 'DEFAULT';
		$SIG{PIPE} = 'IGNORE';
		eval { $self->_serve($listen) };
		print STDERR $@ if $@;
		POSIX::_exit(1);
	}
	close $listen;
	$self->{pid} = $pid;
}

sub stop
{
	my ($self) = @_;
	my $pid = delete $self->{pid} or return;
	kill 'KILL', $pid;
	waitpid $pid, 0;
}

sub _serve
{
	my ($self, $listen) = @_;
	my $select = IO::Select->new($listen);
	my (%buffer);

	for my $kind (qw(log acts))
	{
		open $self->{$kind}, '>>', "$self->{base}.$kind" or die $!;
		$self->{$kind}->autoflush(1);
	}
	while (1)
	{
		for my $socket ($select->can_read(10))
		{
			if ($socket == $listen)
			{
				my $client = $listen->accept or next;
				$client->autoflush(1);
				$select->add($client);
				$buffer{$client} = '';
				next;
			}
			if (!sysread($socket, $buffer{$socket}, 1 << 20, length $buffer{$socket}))
			{
				$select->remove($socket);
				delete $buffer{$socket};
				close $socket;
				next;
			}
			while ($buffer{$socket} =~ /^(.*?)\r\n\r\n/s)
			{
				my ($head, $start) = ($1, $+[0]);
				my ($line, @lines) = split /\r\n/, $head;
				my %headers = map { my ($name, $value) = split /:\s*/, $_, 2; (lc $name => $value) } @lines;
				my $len = $headers{'content-length'} || 0;
				last if length($buffer{$socket}) < $start + $len;
				my $body = substr($buffer{$socket}, $start, $len);
				substr($buffer{$socket}, 0, $start + $len) = '';
				my ($method, $path) = split / /, $line;
				print { $self->{log} } $json->encode({ method => $method, path => $path, headers => \%headers,
						body => $body }) . "\n";
				my ($status, $answer, @headers) = $self->_answer($method, $path, $body);
				print $socket join("\r\n", "HTTP/1.1 $status", 'Content-Length: ' . length $answer, @headers, '',
					$answer);
			}
		}
	}
}

# What goes wrong now; so often only, when that was said
sub _rules
{
	my ($self) = @_;
	my $rules = $json->decode(slurp_file("$self->{base}.rules"));

	($self->{used}, $self->{known}) = (0, $rules->{said}) if !defined $self->{known} ||
		$self->{known} != $rules->{said};
	return {} if defined $rules->{times} && $self->{used} >= $rules->{times};
	return $rules;
}

sub _answer
{
	my ($self, $method, $path, $body) = @_;

	return $self->_bulk($body) if $path =~ m{^/_bulk};
	if ($path =~ m{^/([^/_]+)$} && $method eq 'PUT')
	{
		$self->{mappings}{$1} = $json->decode($body)->{mappings};
		return ('200 OK', '{"acknowledged":true}');
	}
	if ($path =~ m{^/([^/]+)/_mapping$} && $method eq 'GET')
	{
		return ('404 Not Found',
			'{"error":{"type":"index_not_found_exception"},"status":404}') if !$self->{mappings}{$1};
		return ('200 OK', $json->encode({ $1 => { mappings => $self->{mappings}{$1} } }));
	}
	return ('200 OK', '{"acknowledged":true}');
}

sub _bulk
{
	my ($self, $body) = @_;
	my $rules = $self->_rules;
	my @lines = split /\n/, $body;
	my (@items, $errors);

	if ($rules->{bulk} || $rules->{garbage})
	{
		$self->{used}++;
		return ($rules->{bulk} || '200 OK', $rules->{garbage} // $rules->{body} // '',
			defined $rules->{'Retry-After'} ? "Retry-After: $rules->{'Retry-After'}" : ());
	}
	return ('413 Too Large', '') if $rules->{largest} && length $body > $rules->{largest};
	return ('400 Bad', '{"error":{"type":"illegal_argument_exception"}}') if $rules->{spoils} &&
		$body =~ /$rules->{spoils}/;
	while (defined(my $line = shift @lines))
	{
		my ($act, $what) = %{ $json->decode($line) };
		my $source = $act eq 'index' ? shift @lines : undef;
		my $known = \$self->{versions}{ $what->{_index} }{ $what->{_id} };
		my $status = 200;

		if ($rules->{item} && ("$line\n" . ($source // '')) =~ /$rules->{item}{match}/)
		{
			$status = $rules->{item}{status};
			$self->{used}++;
		}
		elsif (defined $$known &&
			($what->{version_type} eq 'external' ? $$known >= $what->{version} : $$known > $what->{version}))
		{
			$status = 409;
		}
		else
		{
			$$known = $what->{version};
			print { $self->{acts} } $json->encode({ index => $what->{_index}, id => $what->{_id},
					doc => defined $source ? $json->decode($source) : undef }) . "\n";
		}
		$errors ||= $status > 299;
		push @items, { $act => { status => $status, $status > 299 ? (error => {
			type => $status == 409 ? 'version_conflict_engine_exception' : 'some_exception',
			reason => "because of $status" }) : () } };
	}
	return ('200 OK', $json->encode({ errors => $errors ? JSON::PP::true : JSON::PP::false, items => \@items }));
}

END
{
	my $status = $?;
	$_->stop for @running;
	$? = $status;
}

1;
