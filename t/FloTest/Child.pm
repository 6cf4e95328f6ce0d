=pod

=head1 NAME

FloTest::Child - something that goes on beside a test, in a process of its own

=head2 in_child($code)

Runs it in a child and returns the child's pid; C<end_child($pid)> kills it.
What is left is killed when the test ends, whatever it ended by: whoever runs
the tests waits for the last process that holds a test's output.

=cut

package FloTest::Child;

use strict;
use warnings;
use Carp;
use Exporter 'import';
use POSIX ();

our @EXPORT = qw(in_child end_child);

my $parent = $$;
my %children;

# The pipe or file that this test's output goes to, however often it is open
my $output;
BEGIN { $output = readlink '/proc/self/fd/1'; }

sub in_child
{
	my ($code) = @_;
	my $pid = fork();

	croak "fork: $!" if !defined $pid;
	if ($pid == 0)
	{
		for my $fd (map { m{(\d+)$} } glob '/proc/self/fd/*')
		{
			POSIX::close($fd) if (readlink "/proc/self/fd/$fd" // '') eq $output;
		}
		@SIG{qw(TERM INT)} = ('DEFAULT', 'DEFAULT');
		$SIG{PIPE} = 'IGNORE';
		eval { $code->(); 1 } or print STDERR $@;
		POSIX::_exit(0);
	}
	return $children{$pid} = $pid;
}

sub end_child
{
	my ($pid) = @_;

	delete $children{$pid} or return;
	kill 'KILL', $pid;
	waitpid $pid, 0;
}

END
{
	if ($$ == $parent)
	{
		my $status = $?;
		end_child($_) for keys %children;
		$? = $status;
	}
}

1;
