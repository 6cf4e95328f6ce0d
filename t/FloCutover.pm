
=head1 NAME

FloCutover - a cut-over that is killed at a named point, and where it ends

=head1 DESCRIPTION

For t/063_cutover_*.pl: each case has a group and a table of its own, a writer
that counts the commits it was told of, and is judged alike.

=cut

package FloCutover;

use strict;
use warnings;
use Exporter 'import';
use FloTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(cutover_servers cutover_case cutover_ends await_cutover);

my ($nats, $old, $new);
my $number = 0;
my @ends;

=head2 cutover_servers()

Two servers and their broker, which are returned.

=cut

sub cutover_servers
{
	$nats = FloTest::Nats->new('broker');
	($old, $new) = map { flo_node($_, $nats) } qw(old new);
	return ($old, $new, $nats);
}

=head2 await_cutover($node, $group, $states)

A test: the node's row of flo.cutovers comes to be in one of the states (C<a|b>).

=cut

sub await_cutover
{
	my ($node, $group, $states) = @_;
	my $name = $node->name . ": $group to be $states";

	return ok(wait_until($node, 'postgres', "SELECT state ~ '^($states)\$' FROM flo.cutovers
		WHERE group_name = '$group'", $name), $name)
	  || diag($node->safe_psql('postgres', 'SELECT * FROM flo.cutovers')) && 0;
}

sub _run
{
	my ($node, @command) = @_;
	my $log = PostgreSQL::Test::Utils::tempdir() . '/run' . $number++;

	return { log => $log, run => IPC::Run::start([ @command, '-p', $node->port, '-h', $node->host, 'postgres' ],
			'>', $log, '2>&1') };
}

# What the writer was told is committed
sub _count
{
	my ($writer) = @_;

	eval { $writer->{run}->finish };
	my ($count) = slurp_file($writer->{log}) =~ /actually processed: (\d+)/;
	return $count || 0;
}

sub _takes_writes
{
	my ($node, $table) = @_;
	my $error = error_of($node, "BEGIN; INSERT INTO $table (id) VALUES (-1); ROLLBACK");

	return 1 if $error eq '';
	like($error, qr/^55000: /, $node->name . ' says why not');
	return 0;
}

sub _state
{
	my ($node, $group) = @_;
	return $node->safe_psql('postgres', "SELECT state || CASE WHEN reverse_made THEN ' and more' ELSE '' END"
		  . " FROM flo.cutovers WHERE group_name = '$group'");
}

sub _await_end
{
	my ($name, $group) = @_;
	my ($a, $b) = ('', '');

	ok(await(sub {
				($a, $b) = map { my $s = eval { _state($_, $group) }; defined $s ? $s : 'down' } $old, $new;
				return $a =~ /^released/ && $b =~ /^open/ || $a eq 'cancelled' && $b =~ /^(cancelled|)$/;
			}, "$name to end"), "$name: both sides come to an end") or diag("old: $a, new: $b");
	return $a;
}

=head2 cutover_case($name, $prepare, $during, %param)

A group, a writer, C<$prepare> (code, may halt a process somewhere), a cut-over, C<$during>
(code, may kill); then who takes writes, and whether anything is lost.  Both get the group's
name.  Parameters: C<ends>, a pattern of the old server's state in the end; C<arguments>
of flo.cutover().

=cut

sub cutover_case
{
	my ($name, $prepare, $during, %param) = @_;
	my $n = ++$number;
	my ($group, $back, $table) = ("g$n", "b$n", "t$n");
	my $script = PostgreSQL::Test::Utils::tempdir() . "/write$n.sql";
	my $arguments = $param{arguments} || q{timeout => '1 min'};

	# who is killed is not back at once
	$arguments .= q{, max_lag => '1 min'} if $arguments !~ /max_lag/;
	append_to_file($script, "INSERT INTO $table DEFAULT VALUES;\n");
	$_->safe_psql('postgres', "CREATE TABLE $table (id bigserial PRIMARY KEY,
		at timestamptz DEFAULT clock_timestamp())")
	  for $old, $new;
	create_group($old, $new, $group, tables => "'{$table}'", worker_options => q{'{"allow_cutover": true}'});
	my $writer = _run($old, qw(pgbench -n -c 2 -T 60 -R 200 -f), $script);
	$prepare->($group) if $prepare;
	my $call = _run($old, qw(psql -qXc), "SELECT * FROM flo.cutover('$group', reverse => '$back', $arguments)");
	$during->($group) if $during;

	my $state = _await_end($name, $group);
	eval { $call->{run}->finish };
	if ($state =~ /^released/)
	{
		my $written = _count($writer);
		ok(!_takes_writes($old, $table), "$name: the old server is closed");
		ok(_takes_writes($new, $table), "$name: the new one is open");
		cmp_ok($new->safe_psql('postgres', "SELECT count(*) FROM $table"), '>=', $written,
			"$name: it has all $written");
		is($new->safe_psql('postgres', "INSERT INTO $table DEFAULT VALUES
			RETURNING id > (SELECT max(id) FROM $table)"), 't', "$name: sequences are there, too");
		wait_caught_up($new, $old, $back);
	}
	else
	{
		$writer->{run}->signal('TERM');
		my $written = _count($writer);
		ok(_takes_writes($old, $table), "$name: the old server is open");
		cmp_ok($old->safe_psql('postgres', "SELECT count(*) FROM $table"), '>=', $written,
			"$name: it has all $written");
		is($new->safe_psql('postgres', "SELECT count(*) FROM flo.sources WHERE group_name = '$back'"), '0',
			"$name: no way back is left there");
		is($old->safe_psql('postgres', "SELECT count(*) FROM flo.workers WHERE group_name = '$back'"), '0',
			"$name: nor here");
		wait_caught_up($old, $new, $group);
	}
	is_same_table($old, $new, $table, "$name: both hold the same");
	like($state, $param{ends}, "$name: it ends as it should") if $param{ends};
	push @ends, sprintf('%-34s %s', $name, $state);
	_clean($group, $back);
}

sub _clean
{
	my ($group, $back) = @_;

	# what was forced open fences itself again when it hears of the other side
	for my $which ([ $new, $group ], [ $old, $back ], [ $old, $group ], [ $new, $back ])
	{
		my ($node, $name) = @$which;
		$node->psql('postgres', "BEGIN; SELECT flo.unfence(group_name, true) FROM flo.fence_status()
			WHERE group_name = '$name'; SELECT flo.drop_group('$name', purge_stream => true, force => true); COMMIT");
	}
}

=head2 cutover_ends()

Where each case ended, as a note.

=cut

sub cutover_ends
{
	note(join("\n", 'killed at, and where the cut-over ended:', @ends));
}

1;
