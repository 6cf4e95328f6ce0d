
# doc/masking-guide.md, block by block and as the ordinary owner of the databases, with
# values planted in the source that must be in no byte that has left it: not at the
# broker, the destination, in logs or events.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloEvents;
use FloTest;
use File::Find ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($doc) = grep { -e } "$FindBin::Bin/../doc/masking-guide.md", 'doc/masking-guide.md';
die 'doc/masking-guide.md is not here' if !$doc;

my $nats = FloTest::Nats->new('broker');
my %node = map { $_ => flo_node($_, $nats, extension => 0) } qw(source destination);
my $dir = PostgreSQL::Test::Utils::tempdir() . '/events';
mkdir $dir;
for my $node (values %node)
{
	$node->safe_psql('postgres', $_) for 'CREATE ROLE app_owner LOGIN', 'CREATE DATABASE app OWNER app_owner';
}
my @owner = (extra_params => [ '-U', 'app_owner' ]);
sub at { my ($where, $sql) = @_; return $node{$where}->safe_psql('app', $sql, @owner); }

at('source', q{
	CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, email text UNIQUE, phone text, birthday date,
		notes text);
	CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int NOT NULL REFERENCES customers,
		total numeric, at timestamptz DEFAULT now(), status text DEFAULT 'PLUGH');
	INSERT INTO customers SELECT i, 'XYZZY name ' || i, 'XYZZY' || i || '@example.org', '+49XYZZY' || i,
		'1980-05-17'::date + i, repeat('XYZZY ', 10) FROM generate_series(1, 500) i;
	INSERT INTO orders (customer, total) SELECT 1 + i % 500, i FROM generate_series(1, 2000) i;
});
my $id = 1000;

# What an application does in between
sub work
{
	my ($and) = @_;
	$id++;
	at('source', qq{INSERT INTO customers (id, name, email, phone, birthday, notes)
			VALUES ($id, 'XYZZY', 'XYZZY$id', '+49XYZZY', '1980-05-17', 'XYZZY XYZZY XYZZY');
		UPDATE customers SET email = 'XYZZY new' || id, notes = 'XYZZY XYZZY XYZZY' WHERE id % 7 = 0;
		DELETE FROM orders WHERE customer = 3; DELETE FROM customers WHERE id = 3;
		INSERT INTO orders (customer, total) VALUES ($id, 1);} . ($and // ''));
}

sub caught_up
{
	return wait_caught_up($node{source}, $node{destination}, 'staging', source_db => 'app', dest_db => 'app');
}

# Files with a value that was planted.  PLUGH is one that may pass: where that is found the other would be, too.
my $kept = 0;
sub found_in
{
	my @found;
	File::Find::find({
			no_chdir => 1,
			wanted => sub {
				return if !-f $_;
				open my $file, '<:raw', $_ or return;
				local $/;
				my $bytes = <$file> // '';
				push @found, $_ if $bytes =~ /XYZZY/;
				$kept++ if $bytes =~ /PLUGH/;
			}
		},
		@_);
	return @found;
}

# What the broker has is removed when everybody has it: look often
my %at_broker;
my $kept_at_broker = 0;
sub look_at_broker
{
	$kept = 0;
	$at_broker{$_} = 1 for found_in($nats->{dir});
	$kept_at_broker++ if $kept > 0;
}

sub run_block
{
	my ($where, $what, $sql) = @_;

	$what //= '';
	if (my ($state) = $what =~ /^until (\w+)/)
	{
		wait_state($node{$where}, 'staging', 'postgres', $state, 'app');
		work();
		caught_up() if $state eq 'streaming';
	}
	if ($what eq 'once the source has told')
	{
		ok(wait_until($node{$where}, 'app', q{SELECT count(*) = 11 FROM flo.masking_report('staging')}, 'the report'),
			'the report knows all columns before a row has come');
		my $all = at('source', q{SELECT string_agg(concat_ws(' ', column_name, decision), ', ')
			FROM flo.masking_report('staging')});
		is($all, 'id none, name changed, email changed, phone changed, birthday changed, notes changed, id none, '
			  . 'customer none, total none, at none, status none', 'and so does the source');
	}
	my ($out, $err) = ('', '');
	my $rc = $node{$where}->psql('app', $sql, stdout => \$out, stderr => \$err, on_error_stop => 1,
		$what eq 'as a superuser' ? () : @owner);
	is($rc, 0, "$where: " . (split /\n/, $sql)[0]) or diag($err);
	is($out, 't', 'it is true') if $what eq 'true';
	like($out,
		qr/^table "public.orders" gets a column "remark" that has no rule for all operations, and masking is strict/,
		'the error is that of the page') if $what eq 'until backoff';
	like($err, qr/NOTICE:  rules \(13\) and routes \(0\) of group "staging" stay/, 'rules stay, and it says how many')
	  if $sql =~ /drop_group/;
	if ($sql =~ /ADD COLUMN iban/)
	{
		work(q{UPDATE customers SET iban = 'DEXYZZY' || id;});
		caught_up();
		is(at('destination', 'SELECT count(*), min(iban) LIKE \'DE***%\' FROM customers WHERE iban IS NOT NULL'),
			at('source', 'SELECT count(*) FROM customers') . '|t', 'a column that was prepared comes without a stop');
	}
}

my $blocks = 0;
my $text = slurp_file($doc);
while ($text =~ /^```sql\n-- (\w+)(?:, ([^\n]+))?\n(.*?)^```$/msg)
{
	my ($where, $what, $sql) = ($1, $2, $3);
	$blocks++;
	run_block($_, $what, $sql) for $where eq 'both' ? qw(source destination) : $where;
	look_at_broker();
	next if $where ne 'destination' || $sql !~ /'keep' FROM flo.masking_report/;

	# the same stream as events; a directory wants a right of its own
	$node{destination}->safe_psql('app', 'GRANT pg_write_server_files TO app_owner');
	at('destination', qq{SELECT flo.create_worker('staging', 'file', options => '{"directory": "$dir"}')});
	start_member($node{destination}, 'staging', 'file', 'app');
}
cmp_ok($blocks, '>=', 19, 'the page has its blocks');

work();
caught_up();
is(at('destination', q{SELECT count(*) FROM orders}), at('source', 'SELECT count(*) FROM orders'),
	'all rows are there');
is(at('destination', q{SELECT count(DISTINCT email) FROM customers}), at('source', 'SELECT count(*) FROM customers'),
	'what was unique is');
cmp_ok(scalar file_events($dir), '>', 100, 'and there are events');

# --- every byte ----------------------------------------------------------------------

$node{destination}->safe_psql('app', 'CHECKPOINT');
look_at_broker();
my @here = found_in($node{source}->data_dir);
cmp_ok(scalar @here, '>', 0, 'the search finds what is at the source');
$nats->stop;
look_at_broker();
is(join(' ', sort keys %at_broker), '', 'nothing of it is at the broker, at any time');
cmp_ok($kept_at_broker, '>', 5, 'where what may pass was found again and again');
$kept = 0;
is(join(' ', found_in($node{destination}->data_dir, $node{destination}->logfile)), '', 'nor at the destination');
cmp_ok($kept, '>', 0, 'where it is found as well');
is(join(' ', found_in($dir)), '', 'nor in events');

$_->stop('fast') for values %node;
done_testing();
