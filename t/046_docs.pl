
# The documentation: its SQL examples run, and the reference names everything
# there is.

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
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);
my $text = slurp_file("$doc/sql.md");

$_->safe_psql('postgres', 'CREATE TABLE users (id int PRIMARY KEY, email text);
	CREATE TABLE orders (id int PRIMARY KEY)') for $source, $dest;

# --- examples, in the order of the page -----------------------------------------------------

sub run_examples
{
	my ($file) = @_;
	my $page = slurp_file("$doc/$file");
	my $n = 0;

	while ($page =~ /^```sql (source|destination)\n(.*?)^```/msg)
	{
		my ($node, $sql) = ($1 eq 'source' ? $source : $dest, $2);
		my ($out, $err);
		my $rc = $node->psql('postgres', $sql, stdout => \$out, stderr => \$err, on_error_stop => 1);
		is($rc, 0, "$file: example " . ++$n) or diag("$sql\n$err");
		next if $sql !~ /SELECT flo\.start_group/;
		wait_state($node, 'users', $node == $source ? 'replicator' : 'postgres', 'streaming');
	}
	cmp_ok($n, '>', 0, "$file has examples");
}

run_examples('sql.md');
$source->safe_psql('postgres', q{SELECT flo.create_replicator('users', tables => '{public.users}')});
start_member($source, 'users', 'replicator');
run_examples('operations.md');
run_examples('security.md');
run_examples('events.md');

# --- completeness --------------------------------------------------------------------------------

sub all_named
{
	my ($what, $query) = @_;
	my @missing = grep { index($text, $_) < 0 } split /\n/, $source->safe_psql('postgres', $query);
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
my ($sinks) = error_of($source, q{SELECT flo.create_worker('x', 'nonsense')}) =~ /Valid sinks are: (.*?)\./
  or BAIL_OUT('no list of sinks');
for my $sink ('replicator', split /, /, $sinks)
{
	my $call = $sink eq 'replicator' ? q{flo.create_replicator('x', options => '{"nonsense": 1}')}
	  : qq{flo.create_worker('x', '$sink', options => '{"nonsense": 1}')};
	my ($options) = error_of($source, "SELECT $call") =~ /hint: [^:]*: (.*?)\.?$/m;
	ok($options, "the options of $sink are known") or next;
	my @missing = grep { index($text, "`$_`") < 0 } split /, /, $options;
	is(join(', ', @missing), '', "sql.md names every option of $sink");
}

# --- links ----------------------------------------------------------------------------------------

my @broken;
for my $page (glob "$doc/*.md")
{
	my $words = slurp_file($page);
	while ($words =~ /\]\(([^)#]+\.md)\)/g)
	{
		my $target = $1;
		# what lies beside doc/ is not copied for the tests
		next if $target =~ m{^\.\./};
		push @broken, "$page: $target" if !-e "$doc/$target";
	}
}
is(join("\n", @broken), '', 'links between pages lead somewhere');

$_->stop('fast') for $source, $dest;
done_testing();
