
=head1 NAME

FloSuite - comparing what PostgreSQL's regression suite left on two sides

=head1 DESCRIPTION

The lists beside this file say what may differ.  Each has one entry a line, fields
apart by tabs; lines that begin with # say why.  What no entry names is returned.

=cut

package FloSuite;

use strict;
use warnings;
use File::Copy ();
use PostgreSQL::Test::Utils;

# The entries of a list: an array of fields each
sub entries
{
	my ($file) = @_;
	return map { [ split /\t/ ] } grep { /\S/ && !/^#/ } split /\n/, slurp_file($file);
}

# Which tests passed and failed: "test x ... ok" up to 15, "ok 1 - x" since 16
sub passed
{
	return slurp_file($_[0]) =~ /^(?:test|    ) (\S+) +\.\.\. ok\b/mg, slurp_file($_[0]) =~ /^ok +\d+ +[-+] +(\S+)/mg;
}
sub failed
{
	return slurp_file($_[0]) =~ /^(?:test|    ) (\S+) +\.\.\. FAILED\b/mg,
		slurp_file($_[0]) =~ /^not ok +\d+ +[-+] +(\S+)/mg;
}

# What a test has given is what it is to give
sub expect
{
	my ($work, $output, $test) = @_;
	unlink glob "$work/input/expected/${test}_[0-9].out";
	File::Copy::copy("$work/$output/results/$test.out", "$work/input/expected/$test.out") or die "$test: $!";
}

# Lines of the suite's outputs that differ though no entry (test, pattern over the line with its sign) says so.
# How wide a column is, or where a line stands, is no difference.
sub unexpected_differences
{
	my ($file, $list) = @_;
	return [] if !-e $file;
	my @entries = entries($list);
	my ($test, %lines) = ('');
	for my $line (split /\n/, slurp_file($file))
	{
		if ($line =~ m{^diff .*/(\w+)\.out$}) { $test = $1; next; }
		my ($sign, $text) = $line =~ /^([-+])(.*)/ or next;
		next if $line =~ m{^(---|\+\+\+) /} || $text =~ /^[-+ ]*$/;
		$text =~ s/\s+/ /g;
		push @{ $lines{$test}{$text}{$sign} }, 1;
	}
	my @found;
	for my $test (sort keys %lines)
	{
		for my $text (sort keys %{ $lines{$test} })
		{
			my $more = @{ $lines{$test}{$text}{'+'} || [] } - @{ $lines{$test}{$text}{'-'} || [] };
			my $line = ($more > 0 ? '+' : '-') . $text;
			next if $more == 0 || grep { ($_->[0] eq '*' || $_->[0] eq $test) && $line =~ /^(?:$_->[1])$/ } @entries;
			push @found, "$test: " . substr($line, 0, 300);
		}
	}
	return \@found;
}

# What amcheck has to say of every heap and btree
sub amcheck
{
	my ($node, $db) = @_;
	$node->safe_psql($db, 'CREATE SCHEMA amcheck_; CREATE EXTENSION amcheck SCHEMA amcheck_');
	my $out = $node->safe_psql($db, <<'SQL');
SET client_min_messages = error;
CREATE FUNCTION amcheck_.problems() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE r record; m text;
BEGIN
	FOR r IN SELECT c.oid, c.relkind FROM pg_class c JOIN pg_am a ON a.oid = c.relam LEFT
		JOIN pg_index i ON i.indexrelid = c.oid
		WHERE c.relpersistence = 'p' AND (a.amname = 'btree' AND i.indisvalid AND c.relkind = 'i' OR a.amname = 'heap'
			AND c.relkind IN ('r', 't', 'm'))
	LOOP
		BEGIN
			IF r.relkind = 'i' THEN PERFORM amcheck_.bt_index_check(r.oid, true);
			ELSE FOR m IN SELECT msg FROM amcheck_.verify_heapam(r.oid) LOOP RETURN NEXT r.oid::regclass || ': ' || m;
				END LOOP;
			END IF;
		EXCEPTION WHEN OTHERS THEN RETURN NEXT r.oid::regclass || ': ' || SQLERRM;
		END;
	END LOOP;
END $$;
SELECT amcheck_.problems();
SQL
	$node->safe_psql($db, 'SET client_min_messages = error; DROP SCHEMA amcheck_ CASCADE');
	return [ split /\n/, $out ];
}

# The objects of a database as pg_dump writes them: "TYPE schema.name" => text
sub objects
{
	my ($node, $db, $file) = @_;
	my %objects;
	run_log([ 'pg_dump', '--schema-only', '--no-owner', '--no-privileges', '--no-publications', '--no-subscriptions',
		'--no-tablespaces', '-N', 'flo', '-N', 'amcheck_',
		'-h', $node->host, '-p', $node->port, '-f', $file, $db ]) or die "pg_dump of " . $node->name;
	my @parts = split /^--\n-- Name: (.*); Type: (.*); Schema: (.*); Owner: .*\n--\n/m, slurp_file($file);
	shift @parts;
	while (my ($name, $type, $schema, $text) = splice(@parts, 0, 4))
	{
		$text =~ s/^SET default_table_access_method = .*\n//mg;
		$text =~ s/\n--\n-- PostgreSQL database dump complete.*//s;
		$text =~ s/\s+$//;
		$objects{"$type $schema.$name"} .= $text;
	}
	return \%objects;
}

# What pg_dump says of objects that differ, but for entries ("object", pattern over "TYPE schema.name")
sub unexpected_objects
{
	my ($source, $dest, $db, $list, $work) = @_;
	my ($there, $here) = (objects($source, $db, "$work/source.sql"), objects($dest, $db, "$work/dest.sql"));
	my @entries = grep { $_->[0] eq 'object' } entries($list);
	my (%all, @found, $same) = (%$there, %$here);
	for my $object (sort keys %all)
	{
		if (($there->{$object} // '') eq ($here->{$object} // '')) { $same++; next; }
		next if grep { $object =~ /^(?:$_->[1])$/ } @entries;
		push @found, "$object: " . (!defined $there->{$object} ? 'only at the destination' : !defined $here->{$object}
			  ? 'only at the source' : 'other');
		append_to_file("$work/objects.diff", "=== $object\n--- source\n" . ($there->{$object} // '')
			  . "\n--- destination\n" . ($here->{$object} // '') . "\n");
	}
	main::note("$same objects are the same");
	return \@found;
}

# Tables that the group replicates and whose rows differ, but for entries ("rows", pattern over the name)
sub unexpected_rows
{
	my ($source, $dest, $db, $list) = @_;
	my @entries = grep { $_->[0] eq 'rows' } entries($list);
	my @tables = split /\n/, $source->safe_psql($db, <<'SQL');
SELECT DISTINCT coalesce(p.relid::regclass, c.oid::regclass)::text FROM flo.tables t
	JOIN pg_class c ON c.oid = t.table_name::regclass
	LEFT JOIN LATERAL (SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf AND c.relkind = 'p') p ON true
	WHERE t.state <> 'left out' AND coalesce(p.relid, c.oid) IN (SELECT oid FROM pg_class WHERE relkind = 'r')
		ORDER BY 1
SQL
	my @sums;
	for my $node ($source, $dest)
	{
		my %sums;
		for (split /\n/, $node->safe_psql($db, sums_query(@tables)))
		{
			my ($table, $sum) = split /\t/;
			$sums{$table} = $sum;
		}
		push @sums, \%sums;
	}
	main::note(@tables . ' tables are compared');
	return [ map { "$_: $sums[0]{$_} at the source, $sums[1]{$_} at the destination" }
		  grep { my $table = $_; $sums[0]{$table} ne $sums[1]{$table}
		  && !grep { $table =~ /^(?:$_->[1])$/ } @entries } @tables ];
}

# One row a table: its name, and count and sums of hashes of its rows
sub sums_query
{
	my $list = join ',', map { (my $name = $_) =~ s/'/''/g; "('$name')" } @_;
	return <<"SQL";
SET row_security = off; SET extra_float_digits = 3;
CREATE FUNCTION pg_temp.sums(name text) RETURNS text LANGUAGE plpgsql AS \$\$
DECLARE r text;
BEGIN
	EXECUTE format('SELECT count(*) || '' rows ''|| coalesce(sum(hashtextextended(t::text, 1)), 0) FROM ONLY %s t',
		name) INTO r;
	RETURN r;
EXCEPTION WHEN OTHERS THEN RETURN SQLERRM;
END \$\$;
SELECT name || E'\\t' || pg_temp.sums(name) FROM (VALUES $list) t (name);
SQL
}

=head1 FloSuite::Ways

A person at the destination: C<new($source, $dest, $db, $folder_of_statements)>, C<look> (takes the way
out of whatever it stopped for, and counts it), C<until($lsn, $seconds)>,
C<unexpected($list)>, C<counts>.

=cut

package FloSuite::Ways;

use strict;
use warnings;
use FloTest;
use JSON::PP ();
use Time::HiRes qw(sleep time);

sub new
{
	my ($class, $source, $dest, $db, $statements) = @_;
	my $timeout = 7200;		# seconds the suite may take
	return bless {
		statements => join('', map { PostgreSQL::Test::Utils::slurp_file($_) } glob "$statements/*.sql"),
		source => $source,
		dest => $dest,
		db => $db,
		session => FloTest::Session->new($dest, $db, timeout => $timeout),
		at_source => FloTest::Session->new($source, $db, timeout => $timeout),
		stops => {},
		held => {},
		ways => {},
		seen => {},
		next_look_at_source => 0,
	}, $class;
}

# What a sentence says whatever it is about
sub kind
{
	my ($text) = @_;
	$text =~ s/ \(group .*//s;
	$text =~ s/"(?:[^"]|"")*"/"…"/g;
	$text =~ s/ \(the worker's option ddl_trust is object\)//;
	$text =~ s/(?<!\w)'[^']*'(?!\w)/'…'/g;
	$text =~ s/\b(?:public\.)?\w+\([\w,. ]*\)/…()/g;
	my $kinds = qr/table|type|operator|domain|partition|trigger|column/;
	$text =~ s/\b($kinds) (?!because)[^ "…]+(?= (?:because|on|of|for|does|violates|,))/$1 …/g;
	$text =~ s/because other objects depend on it: .*/because other objects depend on it/;
	$text =~ s/table public\.\w+/table …/g;
	$text =~ s/\b\d+\b/N/g;
	$text =~ s/\s+/ /g;
	return $text;
}

sub log
{
	my ($self, $line) = @_;
	open my $file, '>>', "$ENV{TESTDIR}/ways" or die;
	print $file "$line\n";
	close $file;
}

# What is not replicated and missing is made at the destination by hand, as the suite makes it
my @by_hand = (
	[ 'role', qr/role "([^"]+)" does not exist/ ],
	[ 'access method', qr/access method "([^"]+)" does not exist/ ],
	[ 'operator class', qr/operator class "([^"]+)" does not exist/ ],
	[ 'operator class', qr/has no default operator class for access method "([^"]+)"/ ],
);

sub statement_for
{
	my ($self, $what, $name) = @_;
	return qq{CREATE ROLE "$name"} if $what eq 'role';
	my ($statement) = $self->{statements} =~ /^(create $what (?:$name\b|\S+\s+default\s[^;]*?using $name\b).*?);/ims;
	return $statement;
}

# Returns how many statements were held
sub look
{
	my ($self) = @_;
	my $answer = $self->{session}->query(<<'SQL');
SELECT json_build_array(state, detail, last_error,
	(SELECT json_agg(json_build_array(id, tag, reason, command)) FROM flo.pending_ddl WHERE decision IS NULL))
	FROM flo.status WHERE member = 'postgres'
SQL
	my ($state, $detail, $error, $pending) = @{ JSON::PP::decode_json($answer) };
	my @held = grep { $_->[2] !~ /^it fails here: / } @{ $pending || [] };
	for my $held (@held)
	{
		my ($id, $tag, $reason, $command) = @$held;
		$self->{held}{ kind($reason) }++;
		$self->{ways}{'flo.release_ddl()'}++;
		$self->log("held $tag: $reason: $command");
		$self->{session}->query("SELECT flo.release_ddl($id)");
	}
	$self->stopped($error) if $state =~ /^(backoff|failed)$/;
	if (time() >= $self->{next_look_at_source})
	{
		$self->{next_look_at_source} = time() + 2;
		$self->look_at_source;
	}
	return scalar @held;
}

# An error of the worker
sub stopped
{
	my ($self, $error) = @_;
	my ($lsn) = $error =~ m{transaction at ([0-9A-F]+/[0-9A-F]+)};
	my $at = $lsn // '?';
	my $times = ++$self->{seen}{"$at $error"};

	return if !defined $lsn && $times < 500;	# it will find out which transaction it is
	return if $error =~ /deadlock detected|lock timeout/ && $times < 500;
	for my $way (@by_hand)
	{
		my ($what, $pattern) = @$way;
		next if $error !~ $pattern || $self->{made}{"$what $1"}++;
		my $statement = $self->statement_for($what, $1) or next;
		$self->{ways}{"$what made by hand"}++;
		$self->log($statement);
		$self->{session}->query(q{SELECT set_config('search_path',
			(SELECT string_agg(quote_ident(nspname), ', ' ORDER BY nspname <> 'public') FROM pg_namespace
			WHERE nspname !~ '^pg_|^information_schema$|^flo$'), false)});
		$self->{session}->query($statement);
		$self->{session}->query("SELECT flo.start_group('g')");
		return;
	}
	return if !defined $lsn || $self->{skipped}{"$lsn $error"}++ % 100;
	$self->{stops}{ kind($error) }++;
	push @{ $self->{errors} }, $error;
	$self->log("skip $error");

	# one statement, or what else it was with its whole transaction
	my $skipped = $self->{session}->query("SELECT count(flo.skip_ddl(id)::text) FROM flo.pending_ddl
		WHERE lsn = '$lsn' AND reason LIKE 'it fails here: %' AND decision IS DISTINCT FROM 'skip'");
	$self->{ways}{ $skipped ? 'flo.skip_ddl()' : 'flo.skip()' }++;
	$self->{session}->query("SELECT flo.skip('g', 'postgres', '$lsn')") if !$skipped;
}

# The replicator should never stop
sub look_at_source
{
	my ($self) = @_;
	my $answer = $self->{at_source}->query(q{SELECT json_build_array(state, detail, last_error) FROM flo.status
		WHERE member = 'replicator'});
	my ($state, $detail, $error) = @{ JSON::PP::decode_json($answer) };
	return if $state ne 'failed' || $self->{seen}{"source $detail"}++;
	$self->{stops}{ 'replicator: ' . kind($detail) }++;
	push @{ $self->{errors} }, "replicator: $detail $error";
	$self->log("replicator: $detail: $error");
	$self->{ways}{'flo.resync()'}++;
	$self->{at_source}->query("SELECT flo.resync('g')");
}

sub until
{
	my ($self, $lsn, $seconds) = @_;
	my $until = time() + $seconds;

	while (time() < $until)
	{
		next if $self->look;
		return 1 if $self->{session}->query("SELECT flo.wait_for('g', '$lsn', '0 s')") eq 't';
		sleep 0.02;		# sleeps: between two looks
	}
	return 0;
}

# Errors for which it stopped though no entry (a pattern) says that it may
sub unexpected
{
	my ($self, $list) = @_;
	my @entries = FloSuite::entries($list);
	return [ grep { my $error = $_; !grep { $error =~ /$_->[0]/ } @entries } @{ $self->{errors} || [] } ];
}

# A table of all counts, as in doc/ddl.md
sub counts
{
	my ($self, $tests, $differ) = @_;
	my $text = "| what | how often |\n| --- | --- |\n| tests of the suite | $tests, "
		  . "of which $differ differ as listed |\n";
	for (split /\n/, $self->{session}->query('SELECT outcome, count(*) FROM flo.ddl_log GROUP BY 1 ORDER BY 1'))
	{
		my ($outcome, $n) = split /\|/;
		$text .= "| statements: $outcome | $n |\n";
	}
	for my $part ([ 'held', 'held' ], [ 'stops', 'stopped' ], [ 'ways', 'way out' ])
	{
		my ($key, $word) = @$part;
		my $counts = $self->{$key};
		$text .= "| $word: $_ | $counts->{$_} |\n"
		  for sort { $counts->{$b} <=> $counts->{$a} || $a cmp $b } keys %$counts;
	}
	return $text;
}

1;
