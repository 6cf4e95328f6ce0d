
=head1 NAME

FloTest::Cluster - clusters for pg_flo's tests, sessions in them and loads on them

=head1 SYNOPSIS

  my $node = flo_node('source', $nats);
  my $session = FloTest::Session->new($node);
  $session->query('BEGIN');

=head1 DESCRIPTION

PostgreSQL::Test::Cluster with what a test of pg_flo needs of a server.  What
the functions here start is ended with the test.

=cut

package FloTest::Cluster;

use strict;
use warnings;
use Exporter 'import';
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils ();		# its functions would hide methods of the same names
use Time::HiRes qw(sleep time);

our @ISA = ('PostgreSQL::Test::Cluster');
our @EXPORT = qw(flo_node pgbench_tables transfer_tables start_load transfer_load stop_load);

=pod

=head1 A SERVER

=head2 flo_node($name, $nats, %param)

A running cluster with pg_flo preloaded, wal_level logical and the URL of
C<$nats>, if there is one, set.  Parameters: C<conf>, lines added to
postgresql.conf; C<extension>, false to leave database postgres without the
extension; C<start>, false to only initialise; C<initdb>, more arguments of that;
C<install_path>, of a server with another version of pg_flo (see C<run_with>).  Unlike
PostgreSQL's tests, the server comes back by itself when a process is killed: that is
what happens to users.  Dies when it does not start.

=cut

sub flo_node
{
	my ($name, $nats, %param) = @_;
	my $node = FloTest::Cluster->new($name, install_path => $param{install_path});

	$node->init(allows_streaming => 'logical', extra => [ '--encoding=UTF8', '--locale=C', @{ $param{initdb} || [] } ]);
	# what the tests of a newer server write for an older one, too, which does not know it
	$node->adjust_conf('postgresql.conf', 'autovacuum_worker_slots', undef) if $node->pg_version < 18;
	$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'pg_flo'
restart_after_crash = on
max_worker_processes = 24
max_replication_slots = 10
max_prepared_transactions = 5
log_statement = none
pg_flo.restart_interval = '1s'
pg_flo.broker_sync_interval = 0
CONF
	$node->append_conf('postgresql.conf', "pg_flo.nats_url = '" . $nats->url . "'\n") if $nats;
	$node->append_conf('postgresql.conf', $param{conf}) if $param{conf};
	return $node if defined $param{start} && !$param{start};
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION pg_flo') if !defined $param{extension} || $param{extension};
	return $node;
}

=pod

=head2 $node->background_psql($db, %param)

PostgreSQL's own, whose time-out is that of a query here, not of the session.

=cut

sub background_psql
{
	my ($self, @arguments) = @_;
	my $session = $self->SUPER::background_psql(@arguments);

	$session->set_query_timer_restart;
	return $session;
}

=pod

=head2 $node->run_with($install_path)

Stops the server and starts it with the programs and libraries that are there;
undef: those that are tested.

=cut

sub run_with
{
	my ($self, $install_path) = @_;

	$self->stop;
	$self->{_install_path} = $install_path;
	$self->start;
	return;
}

=pod

=head2 $node->processes()

The ids of all its processes, the postmaster's first.

=head2 $node->kill_all($signal), $node->start_again()

A signal, default KILL, to all of them, at once; and its start after that, when the last of
them is gone.

=cut

sub processes
{
	my ($self) = @_;
	my ($postmaster) = PostgreSQL::Test::Utils::slurp_file($self->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	my @children;

	for my $stat (glob '/proc/[0-9]*/stat')
	{
		open my $file, '<', $stat or next;
		my ($pid, $parent) = (<$file> // '') =~ /^(\d+) \(.*\) \S (\d+)/ or next;
		push @children, $pid if $parent == $postmaster;
	}
	return ($postmaster, @children);
}

sub kill_all
{
	my ($self, $signal) = @_;

	kill $signal || 'KILL', $self->processes;
	return;
}

sub start_again
{
	my ($self) = @_;
	my $until = time() + $PostgreSQL::Test::Utils::timeout_default;

	do
	{
		die $self->name . ' does not start' if time() > $until;
		$self->{_pid} = undef;
	} until $self->start(fail_ok => 1);
	return;
}

=pod

=head2 $node->poll_query_until(...)

As of any cluster.  A server that restarts after a kill may turn psql away
before it has read the query, and writing that then fails: here that is no
answer, and it is asked again.

=cut

sub poll_query_until
{
	my ($self, @look) = @_;
	my $until = time() + $PostgreSQL::Test::Utils::timeout_default;

	while (time() < $until)
	{
		my $answer = eval { $self->SUPER::poll_query_until(@look) };
		return $answer if defined $answer;
		die $@ if $@ !~ /Broken pipe/;
		sleep 0.1;		# sleeps: between two looks
	}
	return 0;
}

=pod

=head1 LOADS

=head2 pgbench_tables($node...)

pgbench's tables, empty, with a key for the history.  One test a node.

=cut

sub pgbench_tables
{
	my @nodes = @_;
	for my $node (@nodes)
	{
		$node->command_ok([ 'pgbench', '-i', '-I', 'dtp', '-q', '-p', $node->port, '-h', $node->host, 'postgres' ],
			'pgbench tables in ' . $node->name);
		$node->safe_psql('postgres',
			'ALTER TABLE pgbench_history ADD id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY');
	}
}

=pod

=head2 transfer_tables($node...)

A bank, empty: table C<accounts>, and C<moves>, which notes what was moved.

=cut

sub transfer_tables
{
	my @nodes = @_;
	for my $node (@nodes)
	{
		$node->safe_psql('postgres',
			'CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL);'
			  . 'CREATE TABLE moves (id bigserial PRIMARY KEY, a int, b int, amount int, note text)');
	}
}

=pod

=head2 start_load($node, %param), transfer_load($node, %param)

Start a load on database postgres that begins again when the server throws it
out, and return it for stop_load().  start_load() runs pgbench's standard
transaction.  transfer_load() moves money between the accounts 1 to 100, which
the test has put there, and notes it, a transaction each; the sum over all accounts
never changes, so it shows transactions that arrive in parts.  Parameters:
C<clients>, default 4 and 2; C<rate>, transactions per second of all clients
together, default as many as go.  A node has one load of each kind at a time.

=cut

sub start_load
{
	my ($node, %param) = @_;
	return _start_load($node, 'load', '-M prepared', clients => 4, %param);
}

sub transfer_load
{
	my ($node, %param) = @_;
	my $script = PostgreSQL::Test::Utils::tempdir() . '/transfer.sql';

	PostgreSQL::Test::Utils::append_to_file($script, <<'SQL');
\set a random(1, 100)
\set b random(1, 100)
\set amount random(1, 50)
BEGIN;
UPDATE accounts SET balance = balance - :amount WHERE id = least(:a, :b);
UPDATE accounts SET balance = balance + :amount WHERE id = greatest(:a, :b);
INSERT INTO moves (a, b, amount, note) VALUES (:a, :b, :amount, repeat('x', 200));
END;
SQL
	return _start_load($node, 'transfer', "--max-tries=10 -f '$script'", clients => 2, %param);
}

# Each round of pgbench is short: the load must be back soon after a crash
sub _start_load
{
	my ($node, $kind, $options, %param) = @_;
	# names of this test alone: others run beside it, whose clusters may be called the same
	my $stop = $node->basedir . "/stop_$kind";
	my $log = $node->logfile =~ s/\.log$/_$kind.log/r;
	my $rate = $param{rate} ? "-R $param{rate}" : '';
	my $server = "-h '" . $node->host . "' -p " . $node->port;
	my $script = <<"SHELL";
while [ ! -e '$stop' ] && kill -0 $$ 2>/dev/null; do
	pgbench -n -c $param{clients} -T 2 $rate $options $server postgres || sleep 0.2	# sleeps: the server restarts
done
SHELL

	unlink $stop;
	my $run = IPC::Run::start([ 'sh', '-c', $script ], '<', \undef, '>', $log, '2>&1');
	return { run => $run, stop => $stop };
}

=pod

=head2 stop_load($load)

Ends it and waits until its last transactions are over.

=cut

sub stop_load
{
	my ($load) = @_;
	PostgreSQL::Test::Utils::append_to_file($load->{stop}, "stop\n");
	$load->{run}->finish;
}

=pod

=head1 FloTest::Session

A psql that stays, for what needs one session: open transactions, locks,
settings, statements that wait.

=head2 FloTest::Session->new($node, $db, %param)

Connected to C<$db>, default postgres.  Parameter C<timeout>: seconds that
a statement may take before everything dies, default the time-out of PostgreSQL's own tests.

=cut

package FloTest::Session;

use strict;
use warnings;
use Carp;
use IPC::Run ();
use PostgreSQL::Test::Utils;

sub new
{
	my ($class, $node, $db, %param) = @_;
	my $self = bless { in => '', out => '', err => '', said => '', n => 0, seen => 0 }, $class;
	# of a statement, not of the session, which may stay for as long as the test
	my $timer = $self->{timer} = IPC::Run::timeout($param{timeout} || $PostgreSQL::Test::Utils::timeout_default);

	$self->{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-p', $node->port, '-h', $node->host, '-d', $db || 'postgres' ],
		'<', \$self->{in}, '>', \$self->{out}, '2>', \$self->{said}, $timer);
	return $self;
}

=pod

=head2 query($sql)

Runs it and returns the output, lines without the last line break.  Errors of
SQL are in C<< $session->{err} >>, nothing is thrown for them; croaks when psql ends.

=head2 send($sql), ended(), result()

The same in parts: begin a statement without waiting for its end; is it over;
wait for it, and its output.

=cut

sub query { my ($self, $sql) = @_; $self->send($sql); return $self->result; }

sub send
{
	my ($self, $sql) = @_;
	my $end = 'end-' . ++$self->{n};

	$self->{timer}->start;
	$self->{in} .= "$sql;\n\\echo $end\n\\warn $end\n";
	$self->{run}->pump_nb;
}

# Whole lines of what psql has complained of go to "err"; of which statement it has told all
sub _listen
{
	my ($self) = @_;

	while ($self->{said} =~ s/\A(.*\n)//)
	{
		my $line = $1;

		if ($line =~ /\Aend-(\d+)\n\z/) { $self->{seen} = $1; }
		else { $self->{err} .= $line; }
	}
	return $self->{seen};
}

sub ended
{
	my ($self) = @_;
	$self->{run}->pump_nb;
	return $self->{out} =~ /\Qend-$self->{n}\E\n/ && $self->_listen >= $self->{n};
}

sub result
{
	my ($self) = @_;
	my $end = "end-$self->{n}\n";

	# what went wrong comes another way than what came out, and may be later
	while ($self->{out} !~ /\Q$end\E/ || $self->_listen < $self->{n})
	{
		$self->{run}->pump or croak "psql ended: $self->{err}";
	}
	my $out = $self->{out};
	$self->{out} = '';
	$out =~ s/\Q$end\E//;
	chomp $out;
	return $out;
}

=pod

=head2 close()

Ends psql, and with it the session.

=cut

sub close { my ($self) = @_; $self->{in} .= "\\q\n"; $self->{run}->finish; }

1;
