
# doc/migration.md, block by block, between two clusters, with an application
# that writes to whichever side it is pointed at.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($doc) = grep { -e } "$FindBin::Bin/../doc/migration.md", 'doc/migration.md';
die 'doc/migration.md is not here' if !$doc;

my $nats = FloTest::Nats->new('broker');
my %node = map { $_ => flo_node($_, $nats, extension => 0) } qw(source destination);
$_->safe_psql('postgres', 'CREATE DATABASE app') for values %node;
$node{source}->safe_psql('app', q{
	CREATE TYPE kind AS ENUM ('new', 'paid');
	CREATE TABLE accounts (id serial PRIMARY KEY, name text NOT NULL UNIQUE, balance numeric NOT NULL DEFAULT 0);
	CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account int NOT NULL REFERENCES accounts,
		kind kind DEFAULT 'new', at timestamptz DEFAULT now());
	CREATE INDEX ON orders (account, at);
	INSERT INTO accounts (name) SELECT 'account ' || i FROM generate_series(1, 2000) i;
	INSERT INTO orders (account) SELECT 1 + i % 2000 FROM generate_series(1, 20000) i;
});

# The application
my $work = 'INSERT INTO accounts (name) VALUES (md5(random()::text || clock_timestamp())); '
  . 'INSERT INTO orders (account) SELECT id FROM accounts ORDER BY random() LIMIT 5; '
  . q{UPDATE orders SET kind = 'paid' WHERE id IN (SELECT id FROM orders ORDER BY random() LIMIT 5)};

my $load;
{
	my $script = PostgreSQL::Test::Utils::tempdir() . '/work.sql';
	append_to_file($script, join(";\n", split /; /, $work) . ";\n");
	$load = IPC::Run::start([ 'pgbench', '-n', '-c', 2, '-T', 120, '-R', 50, '-f', $script, '-p', $node{source}->port,
		'-h', $node{source}->host, 'app' ],
		'>', \my $out, '2>', \my $err);
}

my $lsn = '0/0';
my $compared = 0;
my $definitions = q{
	SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint
		WHERE conrelid IN ('accounts'::regclass, 'orders'::regclass)
	 UNION ALL SELECT tablename::regclass, indexname, indexdef FROM pg_indexes WHERE tablename IN ('accounts', 'orders')
	 UNION ALL SELECT attrelid::regclass, attname,
		concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attidentity, pg_get_expr(adbin, adrelid))
	   FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
	  WHERE attrelid IN ('accounts'::regclass, 'orders'::regclass) AND attnum > 0
	 ORDER BY 1, 2, 3};

sub run_block
{
	my ($where, $what, $sql) = @_;

	$sql =~ s{'0/1A2B3C8'}{'$lsn'}g;
	# the numbers are compared once nobody writes
	if ($where eq 'both')
	{
		return if $load;
		$compared++;
		is($node{destination}->safe_psql('app', $sql), $node{source}->safe_psql('app', $sql),
			'both sides are the same');
		return;
	}
	my $node = $node{$where} or die "a block for $where";
	if (my ($state) = ($what || '') =~ /^until (\w+)/)
	{
		my ($group) = $sql =~ /group_name = '(\w+)'/;
		wait_until($node, 'app', "SELECT bool_and(state = '$state') FROM flo.status WHERE group_name = '$group'",
			"$group to be $state on the $where")
		  or die "$group is not $state on the $where";
	}
	# the read-only default is the database's, and this is its administrator
	local $ENV{PGOPTIONS} = '-c default_transaction_read_only=off';
	my $answer = $node->safe_psql('app', $sql);
	pass("$where: " . (split /\n/, $sql)[0]);
	$lsn = $answer if ($what || '') eq 'LSN';
	is($answer, 't', 'it is true') if ($what || '') eq 'true';
	if ($sql =~ /pg_terminate_backend/)
	{
		$load->finish;
		undef $load;
	}
	if ($sql =~ /drop_group\('move'\)/ && $where eq 'destination')
	{
		is($node{destination}->safe_psql('app', $definitions), $node{source}->safe_psql('app', $definitions),
			'the definitions are the same');
		is($node{destination}->safe_psql('app',
			'SELECT last_value >= (SELECT max(id) FROM accounts) FROM accounts_id_seq'), 't',
			'a sequence is where its rows are');
		is($node{destination}->safe_psql('app', 'SELECT last_value >= (SELECT max(id) FROM orders) FROM orders_id_seq'),
			't', 'so is that of an identity column');
	}
	if ($sql =~ /create_worker\('back'\)/)
	{
		$node{destination}->safe_psql('app', $work) for 1 .. 20;
		pass('the application writes to the new server');
	}
	if ($sql =~ /wait_for\('back'/)
	{
		for my $table (qw(accounts orders))
		{
			is_same_table($node{destination}, $node{source}, $table, "the way back: $table", 'app');
		}
	}
}

my $blocks = 0;
my $text = slurp_file($doc);
while ($text =~ /^```sql\n-- (\w+)(?:, ([^\n]+))?\n(.*?)^```$/msg)
{
	$blocks++;
	run_block($1, $2, $3);
}
cmp_ok($blocks, '>=', 18, 'the document has its blocks');
is($compared, 1, 'both sides were compared while nobody wrote');

# The old server takes over again where the new one ended: no key is handed out twice
$node{source}->safe_psql('app', $work);
pass('sequences went back, too');
is_deeply([ $nats->streams ], [], 'nothing is left at the broker');
is($_->safe_psql('app',
	q{SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication) + (SELECT count(*)
	FROM pg_replication_origin)}),
	'0', 'nor in ' . $_->name) for values %node;

$_->stop('fast') for values %node;
done_testing();
