
# The documentation: its SQL examples run, as the ordinary owner of a database and
# each in a session of its own, and the reference names everything there is.
#
# A block that begins with ```sql says where: source, destination or both, and
# "superuser" where one is needed.  Those of three guides are run by tests of their
# own.  No statement stands in a block that does not say what it is; what other
# languages have is not run.  What all of them name is there.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $doc = "$FindBin::Bin/../doc";
plan skip_all => 'no doc/' if !-d $doc;

my $nats = FloTest::Nats->new('broker');
my $conf = q{pg_flo.webhook_allow = 'https://crm.example.com/,https://a.example.com/,https://b.example.com/,}
  . q{https://broker.example.com/,https://search.example.com:9200/'
	pg_flo.kafka_allow = 'kafka1.example.com:9092,kafka2.example.com:9092,kafka1.example.com:9093'
};
my $source = flo_node('source', $nats, extension => 0, conf => $conf);
my $dest = flo_node('dest', $nats, extension => 0, conf => $conf);
my %node = (source => $source, destination => $dest);
my $text = slurp_file("$doc/sql.md");
my $spool = PostgreSQL::Test::Utils::tempdir() . '/spool';
mkdir $spool, 0700;

my $tables = q{
	CREATE TABLE users (id int PRIMARY KEY, name text, email text UNIQUE, phone text, age int, ssn text, token text,
		note text, plan text);
	CREATE TABLE orders (id bigint PRIMARY KEY, customer int, total numeric, created timestamptz DEFAULT now())};
for my $node ($source, $dest)
{
	$node->safe_psql('postgres', 'CREATE ROLE app_owner LOGIN; CREATE DATABASE app OWNER app_owner');
	as_owner($node, $tables);
	as_owner($node, q{CREATE TABLE customers (customer_id int PRIMARY KEY, name text, email text, phone text, age int,
		token text, note text, plan text)}) if $node == $dest;
}
as_owner($source, q{INSERT INTO users (id, name, email, age) VALUES (1, 'Bob', 'bob@example.com', 20);
	INSERT INTO orders VALUES (1, 1, 12.50)});

# --- examples, in the order of the page -----------------------------------------------------

sub session
{
	my ($node, $role, $sql) = @_;
	my ($out, $err);
	my $rc = $node->psql('app', $sql, stdout => \$out, stderr => \$err, on_error_stop => 1,
		extra_params => [ defined $role ? ('-U', $role) : () ]);

	return ($rc, $err, $out);
}

# What is not in a document
sub as_owner
{
	my ($node, $sql) = @_;
	my ($rc, $err, $out) = session($node, 'app_owner', $sql);

	$rc == 0 or die "$sql: $err";
	return $out;
}

# What a page cannot know
sub filled_in
{
	my ($sql) = @_;
	my $lsn = as_owner($source, 'SELECT pg_current_wal_lsn()');

	$sql =~ s{/var/spool/users}{$spool};
	$sql =~ s{'0/1A2B3C8'}{'$lsn'};
	$sql =~ s{ *\\watch.*}{;};
	return $sql;
}

my %is_run = map { $_ => 'by another test' } qw(doc/migration.md doc/major-upgrade.md doc/masking-guide.md);
my %block_of;
for my $page ('README.md', 'contrib/monitoring/README.md', map { s{.*/}{doc/}r } glob "$doc/*.md")
{
	my $words = slurp_file("$doc/../$page");
	$block_of{$page} = [];
	while ($words =~ /^( *)```(\w*) *([^\n]*)\n(.*?)^\1```$/msg)
	{
		my ($language, $where, $sql) = ($2, $3, $4);
		push @{ $block_of{$page} }, $where, $sql if $language eq 'sql';
		fail("$page has a block without a language:\n$sql")
		  if $language eq '' && $sql =~ /^ *(SELECT|INSERT|UPDATE|DELETE|TABLE|CREATE|ALTER|DROP|GRANT)\b.*;/m;
		fail("$page has a block that its test does not find:\n$sql")
		  if $language eq 'sql' && $is_run{$page} && $sql !~ /^-- (source|destination|both)\b/;
	}
}

sub run_examples
{
	my ($page) = @_;
	my @blocks = @{ $block_of{$page} };
	my $n = 0;

	while (my ($where, $sql) = splice @blocks, 0, 2)
	{
		my ($side, $superuser) = $where =~ /^(source|destination|both)( superuser)?$/;
		$n++;
		$side or fail("$page says where example $n is to be run") or next;
		await(sub { as_owner($source, q{SELECT count(*) FROM flo.comparisons WHERE finished_at IS NULL}) == 0 },
			'the end of a comparison') if $sql =~ /repair/;
		wait_state($source, 'back', 'postgres', 'streaming', 'app') if $sql =~ /flo\.cutover\('back'/;
		for my $node ($side eq 'both' ? ($source, $dest) : $node{$side})
		{
			my ($rc, $err) = session($node, $superuser ? undef : 'app_owner', filled_in($sql));
			is($rc, 0, "$page: example $n, at the " . $node->name) or diag("$sql\n$err");
			next if $sql !~ /SELECT flo\.start_group\('users'\)/;
			wait_state($node, 'users', $node == $source ? 'replicator' : 'postgres', 'streaming', 'app');
		}
	}
	cmp_ok($n, '>', 0, "$page has examples");
	$is_run{$page} = 'here';
}

# A group of both sides
sub drop_group
{
	my ($group) = @_;

	as_owner($dest, "SELECT flo.drop_group('$group', purge_rules => true)")
	  if as_owner($dest, "SELECT count(*) FROM flo.groups WHERE group_name = '$group'");
	as_owner($source, "SELECT flo.drop_group('$group', purge_stream => true, purge_rules => true)");
}

sub drop_workers
{
	as_owner($dest, "SELECT flo.drop_worker('users', '$_')")
	  for split /\n/, as_owner($dest, q{SELECT worker_name FROM flo.workers
		WHERE group_name = 'users' AND worker_name <> 'postgres'});
}

# one group, from the first page on
run_examples('README.md');
is(as_owner($dest, q{SELECT count(*) FROM flo.status WHERE state = 'streaming'}), '1', 'README.md leads to a stream');
as_owner($source, q{INSERT INTO orders VALUES (2, 1, 20)});
wait_caught_up($source, $dest, 'users', source_db => 'app', dest_db => 'app');
is(as_owner($dest, 'SELECT id FROM orders'), '2', 'and to a row');
run_examples($_) for 'contrib/monitoring/README.md',
  map { "doc/$_" } qw(check.md operations.md security.md rules.md masking.md ddl.md fence.md upgrade.md);

# its events; a directory wants a right of its own
$dest->safe_psql('postgres', 'GRANT pg_write_server_files TO app_owner');
run_examples("doc/$_") for qw(events.md events-webhook.md);
drop_workers();
run_examples('doc/events-nats.md');
drop_workers();
run_examples('doc/events-bucket.md');
drop_workers();
run_examples('doc/events-search.md');
drop_workers();
if (-e $dest->config_data('--pkglibdir') . '/pg_flo_kafka.so') { run_examples('doc/events-kafka.md') }
else { $is_run{'doc/events-kafka.md'} = 'nowhere: there is no librdkafka' }
drop_group('users');

# another one
as_owner($source, q{SELECT flo.create_replicator('shop', tables => '{users,orders}'); SELECT flo.start_group('shop')});
as_owner($dest, q{SELECT flo.create_worker('shop'); SELECT flo.start_group('shop')});
wait_state($dest, 'shop', 'postgres', 'streaming', 'app');
await(sub { as_owner($source, q{SELECT count(*) FROM flo.stream_status('shop') WHERE last_seen IS NOT NULL}) == 1 },
	'the worker to be heard of');
run_examples('doc/compare.md');
drop_group('shop');

# the first once more, with a copy
as_owner($dest, 'DROP TABLE users, orders');
as_owner($dest, q{SELECT flo.create_worker('users')});
run_examples('doc/copy.md');
drop_group('users');
as_owner($dest, $tables);
run_examples('doc/sql.md');

# there and back, between tables that are the same
as_owner($dest, 'TRUNCATE users, orders');
as_owner($source, q{SELECT flo.create_replicator('move', tables => '{users,orders}', mode => 'copy_and_stream');
	SELECT flo.start_group('move')});
as_owner($dest, q{SELECT flo.create_worker('move', options => '{"allow_cutover": true}');
	SELECT flo.start_group('move')});
wait_state($dest, 'move', 'postgres', 'streaming', 'app');
run_examples('doc/cutover.md');
as_owner($source, 'INSERT INTO orders VALUES (9, 1, 20)');
wait_caught_up($source, $dest, 'move', source_db => 'app', dest_db => 'app');
is_same_table($source, $dest, 'orders', 'doc/cutover.md leads over, back, and on', 'app');

for my $page (sort keys %block_of)
{
	ok($is_run{$page}, "the examples of $page are run") if @{ $block_of{$page} };
}

# --- completeness --------------------------------------------------------------------------------

sub all_named
{
	my ($what, $query) = @_;
	my @missing = grep { index($text, $_) < 0 } split /\n/, $source->safe_psql('app', $query);
	is(join(', ', @missing), '', "sql.md names every $what");
}

all_named('function', q{SELECT '`' || proname || '(' FROM pg_proc WHERE pronamespace = 'flo'::regnamespace
	AND coalesce(obj_description(oid), '') !~ '^internal' AND prorettype
		<> ALL ('{trigger,event_trigger}'::regtype[])});
all_named('table and view', q{SELECT '### flo.' || relname FROM pg_class
	WHERE relnamespace = 'flo'::regnamespace AND relkind IN ('r', 'v')});
all_named('column', q{SELECT DISTINCT '`' || attname || '`' FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
	WHERE relnamespace = 'flo'::regnamespace AND relkind IN ('r', 'v') AND attnum > 0 AND NOT attisdropped});
all_named('setting', q{SELECT '`' || name || '`' FROM pg_settings WHERE name LIKE 'pg\_flo.%'});
my ($sinks) = error_of($source, q{SELECT flo.create_worker('x', 'nonsense')}, 'app') =~ /Valid sinks are: (.*?)\./
  or BAIL_OUT('no list of sinks');
for my $sink ('replicator', split /, /, $sinks)
{
	my $call = $sink eq 'replicator' ? q{flo.create_replicator('x', options => '{"nonsense": 1}')}
	  : qq{flo.create_worker('x', '$sink', options => '{"nonsense": 1}')};
	my ($options) = error_of($source, "SELECT $call", 'app') =~ /hint: [^:]*: (.*?)\.?$/m;
	ok($options, "the options of $sink are known") or next;
	my @missing = grep { index($text, "`$_`") < 0 } split /, /, $options;
	is(join(', ', @missing), '', "sql.md names every option of $sink");
}

# --- names ----------------------------------------------------------------------------------------

# Functions and their arguments, columns and settings that the documents speak of
my %is_there = map { $_ => 1 } split /\n/, $source->safe_psql('app', q{
	SELECT proname || '(' FROM pg_proc WHERE pronamespace = 'flo'::regnamespace
	UNION SELECT proname || '(' || unnest(proargnames) FROM pg_proc WHERE pronamespace = 'flo'::regnamespace
	UNION SELECT relname || '.' || attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
		WHERE relnamespace = 'flo'::regnamespace
	UNION SELECT name FROM pg_settings WHERE name LIKE 'pg\_flo.%'
	-- these are shown nowhere
	UNION SELECT name FROM unnest('{pg_flo.nats_password,pg_flo.nats_token}'::text[]) name
		WHERE current_setting(name, true) IS NOT NULL});
my @unknown;
for my $page (sort keys %block_of)
{
	my $words = slurp_file("$doc/../$page");
	while ($words =~ /(?<![\w.])flo\.(\w+\()((?:[^()]|\([^()]*\))*)/g)
	{
		my ($function, $arguments) = ($1, $2);
		push @unknown, "$page: flo.$_" for grep { !$is_there{$_} } $function,
		  map { $function . $_ } $arguments =~ /(\w+) =>/g;
	}
	push @unknown, map { "$page: $_" } grep { !$is_there{$_} } $words =~ /\bflo\.((?:status|tables|workers)\.\w+)/g,
	  $words =~ /`(pg_flo\.\w+)`/g;
}
is(join("\n", @unknown), '', 'what the documents name is there');

$_->stop('fast') for $source, $dest;
done_testing();
