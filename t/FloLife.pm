# What tests of a server's life write and compare: a table with a key, and one without, in
# which a row that is taken twice is seen, as no key is in its way.
package FloLife;
use strict;
use warnings;
use Exporter 'import';
use FloTest;
use Test::More;

our @EXPORT = qw(make_life live_on lives_same);

# Empty, at each of the servers
sub make_life
{
	$_->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text, n int DEFAULT 0);
		CREATE TABLE keyless (a int, v text)') for @_;
	return;
}

# So many transactions, one if nothing is said, behind id $last; returns the last one then
sub live_on
{
	my ($source, $last, $words, $transactions) = @_;

	for (1 .. $transactions || 1)
	{
		$source->safe_psql('postgres', "INSERT INTO t SELECT i, '$words' FROM generate_series($last + 1, $last + 100) i;
			INSERT INTO keyless SELECT id, v FROM t WHERE id > $last;
			UPDATE t SET n = n + 1 WHERE id % 10 = 0; DELETE FROM t WHERE id = $last + 7");
		$last += 100;
	}
	return $last;
}

sub lives_same
{
	my ($source, $dest, $name) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 2;
	wait_caught_up($source, $dest, 'g');
	is_same_table($source, $dest, $_, "$name: $_") for qw(t keyless);
	return;
}

1;
