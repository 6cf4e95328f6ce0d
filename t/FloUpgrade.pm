
=head1 NAME

FloUpgrade - servers with pg_flo 0.1, and what is compared after an upgrade

=head1 DESCRIPTION

C<.ci/former.sh> makes such a server where the history of this repository is, and
C<make test> says in C<FLO_FORMER>, here C<$former>, where it lies.
skip_without_former() skips all of a test where there is none.

=cut

package FloUpgrade;

use strict;
use warnings;
use Exporter 'import';
use File::Basename qw(basename);
use FloTest;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(skip_without_former former_node former_copy install_over $former upgrade is_logged objects_of);

our $former = $ENV{FLO_FORMER};

sub skip_without_former
{
	plan skip_all => 'no server with pg_flo 0.1 (FLO_FORMER), see .ci/former.sh' if !$former;
	return;
}

=pod

=head2 former_node($name, $nats, %param)

As flo_node(), with pg_flo 0.1.

=cut

sub former_node
{
	my ($name, $nats, %param) = @_;
	return flo_node($name, $nats, %param, install_path => $former);
}

=pod

=head2 former_copy(), install_over($install_path)

A copy of the server with pg_flo 0.1, for C<install_path>; the files of what is
tested in the place of its own, as a package manager puts them there under a server
that runs.

=cut

my %root;

# In a folder of that name the server's files have the paths that they have on this machine
sub former_copy
{
	my ($root, $path) = $former =~ m{^(.*?/former)(/.*)$} or die $former;
	my $copy = "$PostgreSQL::Test::Utils::tmp_check/" . basename($0, '.pl');

	system('cp', '-a', $root, $copy) == 0 or die 'cp';
	$root{"$copy$path"} = $copy;
	return "$copy$path";
}

sub install_over
{
	my ($path) = @_;
	my ($modules, $shared) = map { (run_command([ 'pg_config', $_ ]))[0] } qw(--pkglibdir --sharedir);

	for my $file (glob "$modules/pg_flo*.so $shared/extension/pg_flo*")
	{
		my $there = $root{$path} . $file;
		system('cp', $file, "$there.new") == 0 && rename("$there.new", $there) or die "$there: $!";
	}
	return;
}

=pod

=head2 upgrade($node, $db)

The steps of doc/upgrade.md: the server is started with what is tested, then the
extension of the database (default postgres) is updated.

=cut

sub upgrade
{
	my ($node, $db) = @_;
	$node->run_with(undef);
	$node->safe_psql($db || 'postgres', 'ALTER EXTENSION pg_flo UPDATE');
	return;
}

=pod

=head2 is_logged($node, $since, $pattern, $name)

One test: the server's log says so behind that byte, or will soon.

=cut

sub is_logged
{
	my ($node, $since, $pattern, $name) = @_;
	return ok(await(sub { slurp_file($node->logfile, $since) =~ $pattern }, "a line like $pattern"), $name);
}

=pod

=head2 objects_of($node, $db)

All that the extension consists of, one line each, sorted: what it is, with its
privileges, those that it was born with and its comment; triggers; what pg_dump
saves; and what it depends on.

=cut

sub objects_of
{
	my ($node, $db) = @_;
	return $node->safe_psql($db, <<'SQL');
WITH part AS (
	SELECT d.classid, d.objid, i.type, i.identity
	  FROM pg_depend d, pg_identify_object(d.classid, d.objid, d.objsubid) i
	 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	   AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_flo')),
acl (classid, objid, now) AS (
	SELECT 'pg_class'::regclass::oid, oid, relacl FROM pg_class
	UNION ALL SELECT 'pg_proc'::regclass, oid, proacl FROM pg_proc
	UNION ALL SELECT 'pg_namespace'::regclass, oid, nspacl FROM pg_namespace)
SELECT concat_ws(' ', p.type, p.identity,
		'now', (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM acl, unnest(acl.now) a
			WHERE acl.classid = p.classid AND acl.objid = p.objid),
		'initially', (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM pg_init_privs i, unnest(i.initprivs) a
					   WHERE i.classoid = p.classid AND i.objoid = p.objid),
		obj_description(p.objid, p.classid::regclass::name)) FROM part p
UNION ALL
SELECT concat_ws(' ', 'column', a.attrelid::regclass, a.attname, a.attacl, col_description(a.attrelid, a.attnum))
  FROM part p JOIN pg_attribute a ON a.attrelid = p.objid AND a.attnum > 0 WHERE p.classid = 'pg_class'::regclass
UNION ALL
SELECT concat_ws(' ', t.tgenabled, pg_get_triggerdef(t.oid)) FROM part p JOIN pg_trigger t ON t.tgrelid = p.objid
	AND NOT t.tgisinternal
UNION ALL
SELECT concat_ws(' ', 'event trigger', evtname, evtevent, evtenabled, evttags::text) FROM pg_event_trigger
UNION ALL
SELECT concat_ws(' ', extnamespace::regnamespace, extversion, (SELECT array_agg(c::regclass)
	FROM unnest(extconfig) c), extcondition::text)
  FROM pg_extension WHERE extname = 'pg_flo'
UNION ALL
SELECT concat_ws(' ', 'needs', i.type, i.identity, d.deptype)
  FROM pg_depend d, pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) i
 WHERE d.classid = 'pg_extension'::regclass AND d.objid = (SELECT oid FROM pg_extension WHERE extname = 'pg_flo')
ORDER BY 1
SQL
}

1;
