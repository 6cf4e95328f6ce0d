
=head1 NAME

FloMatrix - many cases of tables at once, changed at the source, compared row by row

=head1 SYNOPSIS

  my $m = FloMatrix->new($source, $dest, 'g');
  $m->case('enum', ddl => q{CREATE TABLE t (...)}, steps => [ q{INSERT ...}, q{UPDATE ...} ]);
  $m->run;
  $m->refused('narrow', ddl => ..., change => ..., error => qr/.../, fix => ...);
  $m->finish;

=head1 DESCRIPTION

Every case lives in a schema of its own, with the case's name, which is also
first in the search_path of its SQL.  C<run> creates all cases on both sides,
starts the group, and then takes the first step of every case at the source,
waits with flo.wait_for and compares every table, then the second step, and so
on: each operation is proved by itself, at the price of one wait for all.

C<refused> is for what must stop the worker: it waits for the error in
flo.status, mends the cause, and expects the group to go on by itself to
equality.

C<finish> prints the matrix: each case as exact, or as not carried with what
the user sees.

=cut

package FloMatrix;

use strict;
use warnings;
use Carp;
use FloTest;
use Test::More;

=pod

=head2 new($class, $source, $dest, $group, %param)

Parameters: C<source_db>, C<dest_db> (default postgres); everything that
FloTest's create_group takes.

=cut

sub new
{
	my ($class, $source, $dest, $group, %param) = @_;
	return bless {
		source => $source,
		dest => $dest,
		group => $group,
		source_db => $param{source_db} || 'postgres',
		dest_db => $param{dest_db} || 'postgres',
		param => \%param,
		cases => [],
		lines => [],
	}, $class;
}

=pod

=head2 case($name, %case)

C<ddl>: on both sides; C<source>, C<dest>: after it on one side.  C<steps>: SQL
for the source, in order; each may be a code reference instead.  C<tables>:
what to compare, default C<t>: names, or queries with the schema in them.
C<columns>: as SQL expressions, for all of its
tables, where the sides differ; C<dest_columns>: when they must be written
differently there.  C<after>: SQL of a query that must return t at the
destination in the end.

=cut

sub case
{
	my ($self, $name, %case) = @_;
	$case{name} = $name;
	$case{tables} ||= ['t'];
	push @{ $self->{cases} }, \%case;
	return \%case;
}

sub _sql
{
	my ($self, $side, $sql) = @_;
	my ($out, $err) = ('', '');
	my $rc = $self->{$side}->psql($self->{"${side}_db"}, "SET client_min_messages = error;\n$sql",
		stdout => \$out, stderr => \$err, on_error_stop => 1);
	croak "at the $side: $err" if $rc != 0;
	return $out;
}

sub _in_schema
{
	my ($case, @sql) = @_;
	my $schema = $case->{name};
	return "SET search_path = \"$schema\", public;\n" . join("\n", map { "$_;" } grep { defined && !ref } @sql) . "\n";
}

# CREATE on both sides
sub create
{
	my ($self, @cases) = @_;
	for my $side ('source', 'dest')
	{
		my $sql = '';
		for my $case (@cases)
		{
			$sql .= qq{CREATE SCHEMA "$case->{name}";\n};
			$sql .= _in_schema($case, $case->{ddl}, $case->{$side});
		}
		$self->_sql($side, $sql);
	}
}

sub start
{
	my ($self) = @_;
	return if $self->{started}++;
	create_group($self->{source}, $self->{dest}, $self->{group}, %{ $self->{param} });
}

sub wait
{
	my ($self) = @_;
	wait_caught_up($self->{source}, $self->{dest}, $self->{group},
		source_db => $self->{source_db}, dest_db => $self->{dest_db});
}

# Rows of a table as text, in the way both sides can be compared
sub _rows
{
	my ($side, $case, $table) = @_;
	my $columns = $side eq 'dest' && $case->{dest_columns} || $case->{columns};
	my $row = defined $columns ? "ROW($columns)" : 't';

	return "SELECT q::text AS r FROM ($table) q" if $table =~ /^SELECT /;
	return qq{SELECT $row\::text AS r FROM ONLY "$case->{name}".$table t};
}

# The tables of the cases, as one line of count and two sums of hashes each
sub _fingerprints
{
	my ($self, $side, @cases) = @_;
	my @parts;
	for my $case (@cases)
	{
		(my $label = $case->{name}) =~ s/'/''/g;
		for my $n (0 .. $#{ $case->{tables} })
		{
			my $rows = _rows($side, $case, $case->{tables}[$n]);
			push @parts, "SELECT '$label/$n:' || count(*) || ':' || coalesce(sum(hashtextextended(r, 1)), 0)"
			  . " || ':' || coalesce(sum(hashtextextended(r, 2)), 0) FROM ($rows) x";
		}
	}
	my %prints;
	for my $line (split /\n/, $self->_sql($side, join("\nUNION ALL ", @parts)))
	{
		my ($key, $print) = $line =~ /^(.*?\/\d+):(.*)$/ or croak "odd answer: $line";
		$prints{$key} = $print;
	}
	return \%prints;
}

sub _show_difference
{
	my ($self, $case, $table) = @_;
	my (%rows, $shown);
	$rows{$_}++ for split /\n/, $self->_sql('source', _rows('source', $case, $table) . ' LIMIT 10000');
	$rows{$_}-- for split /\n/, $self->_sql('dest', _rows('dest', $case, $table) . ' LIMIT 10000');
	for my $row (sort keys %rows)
	{
		next if $rows{$row} == 0;
		diag(($rows{$row} > 0 ? 'only at the source: ' : 'only at the destination: ') . substr($row, 0, 300));
		last if ++$shown >= 10;
	}
}

# One test per case: all its tables are the same
sub compare
{
	my ($self, $when, @cases) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $want = $self->_fingerprints('source', @cases);
	my $got = $self->_fingerprints('dest', @cases);

	for my $case (@cases)
	{
		my @wrong = grep { $want->{"$case->{name}/$_"} ne $got->{"$case->{name}/$_"} } 0 .. $#{ $case->{tables} };
		ok(!@wrong, "$case->{name}: $when");
		$case->{wrong} = $when if @wrong;
		for my $n (@wrong)
		{
			diag("$case->{name}, $case->{tables}[$n]: " . $want->{"$case->{name}/$n"} . ' became '
				  . $got->{"$case->{name}/$n"});
			$self->_show_difference($case, $case->{tables}[$n]);
		}
	}
}

=pod

=head2 run()

Creates, starts, and takes every case through its steps.

=cut

sub run
{
	my ($self) = @_;
	my @cases = grep { !$_->{done}++ } @{ $self->{cases} };
	my $steps = 0;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$self->create(@cases);
	$self->start;
	for my $case (@cases) { $steps = @{ $case->{steps} } if @{ $case->{steps} } > $steps; }
	for my $step (0 .. $steps - 1)
	{
		my @now = grep { defined $_->{steps}[$step] } @cases;
		my $sql = join('', map { _in_schema($_, $_->{steps}[$step]) } @now);
		$self->_sql('source', $sql);
		$_->{steps}[$step]->() for grep { ref $_->{steps}[$step] } @now;
		$self->wait;
		$self->compare('step ' . ($step + 1), @now);
	}
	for my $case (@cases)
	{
		if (defined $case->{after})
		{
			my $answer = $self->_sql('dest', _in_schema($case) . $case->{after});
			is($answer, 't', "$case->{name}: afterwards") or $case->{wrong} = 'afterwards';
		}
		push @{ $self->{lines} }, [ $case->{name}, $case->{wrong} ? "WRONG at $case->{wrong}" : 'exact',
			$case->{note} || '' ];
	}
}

=pod

=head2 refused($name, %case)

As C<case>, with C<change>: SQL for the source that cannot be applied;
C<error>: pattern of last_error, which is told from earlier ones by the case's
name (C<name_in_error>: by this instead); C<fix>: SQL for the destination
(C<fix_source>:
for the source first, C<fix_code>: code) after which the worker goes on by itself.  C<compare>
false: the sides need not be equal then.

=cut

sub refused
{
	my ($self, $name, %case) = @_;
	my $case = \%case;
	$case->{name} = $name;
	$case->{tables} ||= ['t'];
	my $member = $case->{member} || 'postgres';

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$self->create($case) if !$case->{exists};
	$self->start;
	$self->_sql('source', _in_schema($case, $case->{change}));
	my $error = $self->wait_error($case->{error}, $case->{name_in_error} || $name);
	push @{ $self->{lines} }, [ $name, 'refused', $error ];
	$self->wait_retried;
	$self->_sql('source', _in_schema($case, $case->{fix_source})) if $case->{fix_source};
	$self->_sql('dest', _in_schema($case, $case->{fix})) if $case->{fix};
	$case->{fix_code}->() if $case->{fix_code};
	$self->wait;
	$self->compare('goes on by itself', $case) if !defined $case->{compare} || $case->{compare};
}

# Waits until the worker has failed again: the first time may have been at the
# commit of several transactions, of which those before the culprit come in with
# the next attempt, one by one, and need the tables as they were.
sub wait_retried
{
	my ($self) = @_;
	my $restarts = status_of($self->{dest}, $self->{group}, 'postgres', 'restarts', $self->{dest_db});

	wait_until($self->{dest}, $self->{dest_db},
		"SELECT EXISTS (SELECT FROM flo.status WHERE group_name = '$self->{group}' AND member = 'postgres'"
		  . " AND (state = 'failed' OR state = 'backoff' AND restarts > $restarts))",
		'the worker to try again');
}

# Waits for an error of the worker; one test.  Returns it
sub wait_error
{
	my ($self, $pattern, $name) = @_;
	my $error = '';
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	await(sub {
			$error = status_of($self->{dest}, $self->{group}, 'postgres', 'last_error', $self->{dest_db});
			$error =~ /\Q$name\E/ && $error =~ $pattern;
		}, "an error of $name");
	like($error, $pattern, "$name: the error in flo.status");
	$error =~ s/\n/ /g;
	return $error;
}

sub line
{
	my ($self, @line) = @_;
	push @{ $self->{lines} }, \@line;
}

=pod

=head2 finish()

Prints the matrix and the counts of cases.

=cut

sub finish
{
	my ($self) = @_;
	my %count;
	$count{ (split ' ', $_->[1])[0] }++ for @{ $self->{lines} };
	note('matrix of ' . scalar(@{ $self->{lines} }) . ' cases: '
		  . join(', ', map { "$count{$_} $_" } sort keys %count));
	note(sprintf('%-28s %-8s %s', $_->[0], $_->[1], defined $_->[2] ? $_->[2] : '')) for @{ $self->{lines} };
}

1;
