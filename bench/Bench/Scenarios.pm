# What is measured: the tables, and one entry per scenario.
#
#	name, title, unit	what it is called, and what is counted
#	count				how many of them
#	kind				who measures it: a function measure_KIND of Measure.pm
#	needs				a program without which it is left out
#	before, work		SQL at the source, before and while the clock runs
#	figures				what is shown of it (default: its rate), each with
#						floor and goal, as ratios to PostgreSQL's own
#
# A new one is an entry here; a new way of measuring a function there.
package Bench::Scenarios;
use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(scenarios $schema $source_schema @published);

my $scale = $ENV{SCALE} || 1;

sub size { return int($_[0] * $scale); }

# --- the tables ------------------------------------------------------------------------

my $four_columns = '(id bigint PRIMARY KEY, a int, b text, c timestamptz)';
my $four_values = "i, i % 1000, md5(i::text) || 'abcdefgh', now()";
my $wide_columns = join ', ', map { "c$_ " . (qw(int bigint text timestamptz))[$_ % 4] } 1 .. 39;
my $wide_values = join ', ', map { (qw(i i i::text now()))[$_ % 4] } 1 .. 39;

# Of tables that are copied: their columns, and a row of number i
my %narrow = (columns => $four_columns, values => $four_values);
my %kilobyte = (columns => "(id bigint PRIMARY KEY, $wide_columns)",
	values => join ', ', 'i', map { ('i', 'i', 'repeat(md5(i::text), 2)', 'now()')[$_ % 4] } 1 .. 39);

# "benchmark" is the table of the throughput benchmark that came with the pg_flo which was a program of its own
our $schema = <<SQL;
CREATE TABLE bulk $four_columns;
CREATE TABLE latency $four_columns;
CREATE TABLE hot (id int PRIMARY KEY, v bigint, w text);
CREATE TABLE wide (id bigint PRIMARY KEY, $wide_columns);
CREATE TABLE large (id bigint PRIMARY KEY, t text);
CREATE TABLE ready (id int PRIMARY KEY);
CREATE TABLE accounts (aid int PRIMARY KEY, bid int, abalance int, filler char(84));
CREATE TABLE branches (bid int PRIMARY KEY, bbalance int, filler char(88));
CREATE TABLE tellers (tid int PRIMARY KEY, bid int, tbalance int, filler char(84));
CREATE TABLE history (id bigint PRIMARY KEY, tid int, bid int, aid int, delta int, mtime timestamptz, filler char(22));
CREATE TABLE benchmark (id bigserial PRIMARY KEY, user_id bigint NOT NULL, email varchar(255), data jsonb,
	balance numeric(15, 2), created_at timestamp DEFAULT current_timestamp);
SQL
our @published = $schema =~ /^CREATE TABLE (\w+)/mg;

our $source_schema = <<'SQL';
CREATE SEQUENCE history_ids CACHE 100;
CREATE SEQUENCE live_ids CACHE 100;
INSERT INTO hot SELECT i, 0, 'some text' FROM generate_series(1, 10) i;
INSERT INTO accounts SELECT i, 1, 0, '' FROM generate_series(1, 100000) i;
INSERT INTO branches VALUES (1, 0, '');
INSERT INTO tellers SELECT i, 1, 0, '' FROM generate_series(1, 10) i;
CREATE PROCEDURE tpcb(n int) LANGUAGE plpgsql AS $$
DECLARE
	aid_ int; tid_ int; delta_ int;
BEGIN
	FOR i IN 1 .. n LOOP
		aid_ := 1 + floor(random() * 100000); tid_ := 1 + floor(random() * 10);
		delta_ := floor(random() * 10000) - 5000;
		UPDATE accounts SET abalance = abalance + delta_ WHERE aid = aid_;
		UPDATE tellers SET tbalance = tbalance + delta_ WHERE tid = tid_;
		UPDATE branches SET bbalance = bbalance + delta_ WHERE bid = 1;
		INSERT INTO history VALUES (nextval('history_ids'), tid_, 1, aid_, delta_, now(), '');
		COMMIT;
	END LOOP;
END $$;
SQL

sub fill_bulk
{
	my ($rows) = @_;
	return "INSERT INTO bulk SELECT $four_values FROM generate_series(1, $rows) i";
}

# --- the scenarios ---------------------------------------------------------------------

my $bulk = size(1_000_000);
my $small = size(600_000);
my $tpcb = size(160_000);
my $hot = size(1_200_000);
my $wide = size(150_000);
my $large = size(15_000);
my $open = size(2_000_000);

sub rate { my ($floor, $goal) = @_; return [ { key => 'rate', floor => $floor, goal => $goal } ]; }

# Tables of a database of their own; rows of each
sub copy
{
	my ($name, $title, $figures, $what, @rows) = @_;
	my $count = 0;
	$count += $_ for @rows;
	return { name => $name, title => $title, unit => 'rows', count => $count, kind => 'copy', rows => \@rows,
		figures => $figures, %$what };
}

# What the pg_flo that was a program of its own measured with, from the statement until the last row is there
sub original
{
	my ($name, $title, $rows) = @_;
	return { name => $name, title => "original's benchmark, $title", unit => 'rows', count => $rows, kind => 'arrival',
		before => 'TRUNCATE benchmark',
		work => qq{INSERT INTO benchmark (user_id, email, data, balance) SELECT i, 'user' || i || '\@example.com',
			json_build_object('key', 'value' || i, 'number', i), random() * 1000 FROM generate_series(1, $rows) i} };
}

my @scenarios = (
	copy('copy_one', 'initial copy, one table', rate(1.2, 1.5), \%narrow, size(4_000_000)),
	copy('copy_twenty', 'initial copy, twenty tables', rate(1.3, 1.8), \%narrow, map { size(10_000 * $_) } 1 .. 20),
	copy('copy_wide', 'initial copy, rows of 40 columns and 1 kB', rate(), \%kilobyte, size(200_000)),
	{ name => 'copy_schema', title => 'copy with definitions, beside pgcopydb', unit => 'rows', kind => 'schema',
		count => size(1_000_000), figures => rate(1, 1.5), needs => 'pgcopydb',
		work => "CREATE TABLE cloned $four_columns;
			INSERT INTO cloned SELECT $four_values
			FROM generate_series(1, " . size(1_000_000) . ') i' },
	{ name => 'bulk_insert', title => 'bulk insert, one transaction', unit => 'rows', count => $bulk, again => 1,
		figures => rate(4, 6), before => 'TRUNCATE bulk', work => fill_bulk($bulk) },
	{ name => 'bulk_update', title => 'bulk update, one transaction', unit => 'rows', count => $bulk, again => 1,
		figures => rate(3, 4), before => 'TRUNCATE bulk; ' . fill_bulk($bulk),
		work => "UPDATE bulk SET a = a + 1, b = b || 'x'" },
	{ name => 'bulk_delete', title => 'bulk delete, one transaction', unit => 'rows', count => $bulk, again => 1,
		figures => rate(4, 6), before => 'TRUNCATE bulk; ' . fill_bulk($bulk), work => 'DELETE FROM bulk' },
	{ name => 'small', title => 'one-row insert transactions', unit => 'tx', count => $small, again => 1,
		figures => rate(5.5, 8), before => 'TRUNCATE bulk',
		work => "DO \$\$ BEGIN FOR i IN 1 .. $small LOOP
			INSERT INTO bulk VALUES (i, 1, 'some text of an ordinary length', now()); COMMIT; END LOOP; END \$\$" },
	{ name => 'tpcb', title => 'pgbench TPC-B transactions', unit => 'tx', count => $tpcb, again => 1,
		figures => rate(4.5, 6), before => 'TRUNCATE history', work => "CALL tpcb($tpcb)" },
	{ name => 'hot', title => 'hot rows: updates of 10 rows', unit => 'rows', count => $hot, again => 1,
		figures => rate(10, 20), before => 'SELECT 1',
		work => "DO \$\$ BEGIN FOR i IN 1 .. $hot / 100 LOOP
			FOR j IN 1 .. 10 LOOP UPDATE hot SET v = v + 1; END LOOP; COMMIT; END LOOP; END \$\$" },
	{ name => 'wide', title => 'wide rows (40 columns)', unit => 'rows', count => $wide, again => 1,
		figures => rate(2.2, 3), before => 'TRUNCATE wide',
		work => "INSERT INTO wide SELECT i, $wide_values FROM generate_series(1, $wide) i" },
	{ name => 'large', title => 'large values (8 KB text)', unit => 'rows', count => $large,
		figures => rate(1.05, 1.5), before => 'TRUNCATE large',
		work => "INSERT INTO large
			SELECT i, (SELECT string_agg(md5((i * 1000 + j)::text), '') FROM generate_series(1, 256) j)
			FROM generate_series(1, $large) i" },
	original('rows_10k', '10 k rows', size(10_000)),
	original('rows_100k', '100 k rows', size(100_000)),
	original('rows_1m', '1 M rows', size(1_000_000)),
	{ name => 'commit', title => 'a transaction of 2 M rows, commit until visible', unit => 'rows', count => $open,
		kind => 'commit', before => 'TRUNCATE bulk', work => fill_bulk($open),
		figures => [ { key => 'lag', unit => 'ms', floor => 0.5 } ] },
	{ name => 'live', title => 'live load of one-row transactions', unit => 'tx', count => size(40_000),
		kind => 'live', synchronous_commit => 'off', figures => rate(1, undef) },
	{ name => 'live_sync', title => 'the same, synchronous_commit', unit => 'tx', count => size(20_000),
		kind => 'live', synchronous_commit => 'on', figures => rate(1, undef) },
	{ name => 'latency', title => 'latency at 200 tx/s', unit => 'tx', count => 200 * 6, kind => 'latency',
		figures => [
			{ key => 'p50', label => ' p50', unit => 'ms', floor => 1.2, goal => 1 },
			{ key => 'p99', label => ' p99', unit => 'ms', floor => 1.2, goal => 1 } ] });

for my $s (grep { $_->{again} } @scenarios)
{
	push @scenarios, { %$s, name => "again_$s->{name}", title => "$s->{title}, catch-up after stop and start",
		kind => 'again' };
}
for my $s (@scenarios)
{
	$s->{kind} //= 'rate';
	$s->{figures} //= rate();
	for my $figure (@{ $s->{figures} })
	{
		$figure->{label} //= '';
		$figure->{unit} //= "$s->{unit}/s";
		# of a time less is better
		$figure->{time} = $figure->{unit} eq 'ms';
	}
}

sub is_possible
{
	my ($scenario) = @_;
	my $program = $scenario->{needs};

	return 1 if !$program || grep { -x "$_/$program" } split /:/, $ENV{PATH};
	print "# $scenario->{name} is left out: $program is not installed\n";
	return 0;
}

# Those that are named; all, if none is
sub scenarios
{
	my %wanted = map { $_ => 1 } @_;
	my @found = @_ ? grep { delete $wanted{ $_->{name} } } @scenarios : @scenarios;

	die "no scenario is called " . join(', ', sort keys %wanted) . "\n" if %wanted;
	return grep { is_possible($_) } @found;
}

1;
