
# doc/migration.md and doc/major-upgrade.md, block by block, each in a session of its
# own and as an ordinary role, between two clusters, with an application that writes
# to whichever side it is pointed at.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($docs) = grep { -e "$_/migration.md" } "$FindBin::Bin/../doc", 'doc';
die 'doc/migration.md is not here' if !$docs;

my $nats = FloTest::Nats->new('broker');
my %node = map { $_ => flo_node($_, $nats, extension => 0) } qw(source destination);
my $application;

for my $node (values %node)
{
	$node->safe_psql('postgres', 'CREATE ROLE app_owner LOGIN');
	$node->safe_psql('postgres', 'CREATE ROLE app_user LOGIN');
}
my $tables = q{
	CREATE TYPE kind AS ENUM ('new', 'paid');
	CREATE TABLE accounts (id serial PRIMARY KEY, name text NOT NULL UNIQUE, balance numeric NOT NULL DEFAULT 0);
	CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, account int NOT NULL REFERENCES accounts,
		kind kind DEFAULT 'new', at timestamptz DEFAULT now());
	CREATE TABLE audit (id bigserial PRIMARY KEY, what text, who text DEFAULT current_user);
	CREATE INDEX ON orders (account, at);
	CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
		$$BEGIN INSERT INTO public.audit (what) VALUES (TG_TABLE_NAME || ' ' || NEW.id); RETURN NEW; END$$;
	CREATE TRIGGER noted AFTER INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION noted();
	CREATE VIEW paid AS SELECT account, count(*) FROM orders WHERE kind = 'paid' GROUP BY account;
	CREATE FUNCTION paid_by(int) RETURNS bigint LANGUAGE sql AS 'SELECT count FROM public.paid WHERE account = $1';
	GRANT USAGE ON SCHEMA public TO app_user;
	GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app_user;
	GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO app_user;
	INSERT INTO accounts (name) SELECT 'account ' || i FROM generate_series(1, 2000) i;
	INSERT INTO orders (account) SELECT 1 + i % 2000 FROM generate_series(1, 20000) i;
};

# As it is before the first block
sub begin
{
	for my $node (values %node)
	{
		$node->safe_psql('postgres', $_) for 'DROP DATABASE IF EXISTS app', 'CREATE DATABASE app OWNER app_owner';
	}
	$node{source}->safe_psql('app', $tables, extra_params => [ '-U', 'app_owner' ]);
	$application = start_application($node{source}, '-T', 450);
}

# One session of an ordinary role, as a person types it
sub as_role
{
	my ($role, $node, $sql) = @_;
	my ($out, $err);

	IPC::Run::run([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-U', $role, '-d', 'app', '-p', $node->port,
		'-h', $node->host, '-c', $sql ], '>', \$out, '2>', \$err);
	chomp $out;
	return ($? >> 8, $out, $err);
}

# --- the application -------------------------------------------------------------------------------

my $script = PostgreSQL::Test::Utils::tempdir() . '/work.sql';
append_to_file($script, <<'SQL');
BEGIN;
INSERT INTO accounts (name) VALUES (md5(random()::text || clock_timestamp()));
INSERT INTO orders (account) SELECT id FROM accounts ORDER BY random() LIMIT 5;
UPDATE orders SET kind = 'paid' WHERE id IN (SELECT id FROM orders ORDER BY random() LIMIT 5);
COMMIT;
SQL

sub start_application
{
	my ($node, @limit) = @_;
	my $application = { out => '', err => '' };

	$application->{run} = IPC::Run::start(
		[ 'pgbench', '-n', '-c', 2, @limit, '-R', 50, '-f', $script, '-U', 'app_user', '-p', $node->port,
			'-h', $node->host, 'app' ],
		'<', \undef, '>', \$application->{out}, '2>', \$application->{err});
	return $application;
}

# The tables, as both sides have them
sub same_tables
{
	my ($what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	is_same_table($node{source}, $node{destination}, $_, "$what: $_", 'app') for qw(accounts orders audit);
}

my $definitions = q{
	SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
		WHERE conrelid IN ('accounts'::regclass, 'orders'::regclass, 'audit'::regclass)
	 UNION ALL SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
	 UNION ALL SELECT relname, relkind::text, relacl::text || pg_get_userbyid(relowner) FROM pg_class
		WHERE relnamespace = 'public'::regnamespace
	 UNION ALL SELECT proname, prosrc, pg_get_userbyid(proowner) FROM pg_proc
		WHERE pronamespace = 'public'::regnamespace
	 UNION ALL SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid) FROM pg_trigger
		WHERE NOT tgisinternal AND tgname !~ '^pg_flo'
	 UNION ALL SELECT attrelid::regclass::text, attname,
		concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attidentity, pg_get_expr(adbin, adrelid))
	   FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
	  WHERE attrelid IN ('accounts'::regclass, 'orders'::regclass, 'audit'::regclass) AND attnum > 0
	 ORDER BY 1, 2, 3};

# --- the document --------------------------------------------------------------------------------

my $forth;		# the group of the way forth

# What has to be so when a block has run
sub look_after
{
	my ($where, $sql, $answer) = @_;

	if ($sql =~ /flo\.cutover\('\w+', .*dry_run/)
	{
		is($node{source}->safe_psql('app', "SELECT count(*) FROM flo.fence_status() WHERE state = 'raised'"), '0',
			'a dry run fences nothing');
	}
	elsif ($sql =~ /flo\.cutover\('(\w+)', reverse/)
	{
		$forth = $1;
		$application->{run}->finish;
		like($application->{err}, qr/fenced by group "$forth"/,
			'the application was told why it cannot write any more');
		note("steps: $answer");
		same_tables('after the cut-over');
		is($node{destination}->safe_psql('app', $definitions), $node{source}->safe_psql('app', $definitions),
			'the definitions, owners and privileges are the same');
		is($node{destination}->safe_psql('app', 'SELECT last_value >= (SELECT max(id) FROM orders) FROM orders_id_seq'),
			't', 'a sequence is where its rows are');
		my $again = start_application($node{destination}, '-t', 20);
		$again->{run}->finish;
		like($again->{out}, qr{actually processed: 40/40}, 'the application writes to the new server')
		  or diag($again->{err});
		my ($rc, undef, $err) = as_role('app_user', $node{source}, q{INSERT INTO audit (what) VALUES ('late')});
		like($err, qr/ERROR:  cannot write to table .*HINT:/s, 'and cannot write to the old one');
		my ($read) = as_role('app_user', $node{source}, 'SELECT count(*) FROM audit');
		is($read, 0, 'which it can read');
	}
	elsif ($sql =~ /flo\.cutover\('\w+'\)/)
	{
		same_tables('back again');
		my $again = start_application($node{source}, '-t', 20);
		$again->{run}->finish;
		like($again->{out}, qr{actually processed: 40/40}, 'the application writes to the old server again')
		  or diag($again->{err});
		my ($rc, undef, $err) = as_role('app_user', $node{destination}, q{INSERT INTO audit (what) VALUES ('late')});
		like($err, qr/cannot write to table/, 'and cannot write to the new one');
		my ($forward, undef, $why) = as_role('app_owner', $node{source}, "SELECT step FROM flo.cutover('$forth')");
		is($forward, 0, 'and forward again') or diag($why);
		same_tables('forward again');
	}
}

sub run_on
{
	my ($where, $role, $what, $sql) = @_;
	my $node = $node{$where} or die "a block for $where";
	local $Test::Builder::Level = $Test::Builder::Level + 2;

	if (my ($state) = ($what || '') =~ /^until (\w+)$/)
	{
		my ($group) = $sql =~ /group_name = '(\w+)'/;
		wait_until($node, 'app', "SELECT bool_and(state = '$state') FROM flo.status WHERE group_name = '$group'",
			"$group to be $state on the $where")
		  or die "$group is not $state on the $where";
	}
	if (($what || '') eq 'until all are equal')
	{
		ok(wait_until($node, 'app', q{SELECT bool_and(state = 'equal') AND count(*) = 3 FROM flo.comparisons},
			'the comparison'), 'all tables are equal, while the application writes')
		  or diag($node->safe_psql('app', 'TABLE flo.comparisons'));
	}
	my ($rc, $answer, $err) = as_role($role, $node, $sql);
	is($rc, 0, "$where: " . (split /\n/, $sql)[0]) or diag($err);
	diag("$where says: $answer") if $sql =~ /flo.check|copied_objects/ && $answer =~ /error|failed/;
	look_after($where, $sql, $answer);
}

sub run_document
{
	my ($name) = @_;
	my $blocks = 0;
	my $text = slurp_file("$docs/$name");

	while ($text =~ /^```sql\n-- (\w+)(?:, ([^\n]+))?\n(.*?)^```$/msg)
	{
		my ($where, $what, $sql) = ($1, $2, $3);
		my $superuser = $node{source}->safe_psql('postgres', 'SELECT current_user');
		$blocks++;
		run_on($_, ($what || '') eq 'as a superuser' ? $superuser : 'app_owner', $what, $sql)
		  for $where eq 'both' ? qw(source destination) : $where;
	}
	cmp_ok($blocks, '>=', 12, "$name has its blocks");
}

begin();
run_document('migration.md');
is_deeply([ $nats->streams ], [], 'nothing is left at the broker');
is($_->safe_psql('app',
	q{SELECT (SELECT count(*) FROM pg_replication_slots) + (SELECT count(*) FROM pg_publication) + (SELECT count(*)
	FROM pg_replication_origin) + (SELECT count(*) FROM pg_trigger WHERE tgname ~ '^pg_flo')}),
	'0', 'nor in ' . $_->name) for values %node;

begin();
run_document('major-upgrade.md');

$_->stop('fast') for values %node;
done_testing();
