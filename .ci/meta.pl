# META.json as the PGXN Meta Spec (https://pgxn.org/spec) wants it, and the version
# that all of a release's files name: meta.pl, in the top folder.
use strict;
use warnings;
use JSON::PP ();

my @wrong;

sub text
{
	my ($file) = @_;
	open my $in, '<', $file or die "$file: $!\n";
	local $/;
	return scalar <$in>;
}
sub want($$) { my ($true, $what) = @_; push @wrong, $what if !$true; return; }
sub string { my ($value, $what) = @_; want(defined $value && !ref $value && $value ne '', "$what: no text"); }
sub url { my ($value, $what) = @_; want(($value || '') =~ m{^[a-z]+://[^/?#]+}, "$what: no URL"); }
sub version
{
	my ($value, $what) = @_;
	want(($value || '') =~ /^\d+\.\d+\.\d+(?:-[a-z][-0-9a-z]*)?$/i, "$what: no version");
}
sub known
{
	my ($map, $where, @keys) = @_;
	want(ref $map eq 'HASH', "$where: no map");
	for my $key (keys %{ ref $map eq 'HASH' ? $map : {} })
	{
		want($key =~ /^x_/i || grep({ $_ eq $key } @keys), "$where: unknown key $key");
	}
}

my $meta = JSON::PP->new->decode(text('META.json'));
known($meta, 'META.json', qw(name version abstract maintainer license provides meta-spec description generated_by
	tags no_index prereqs release_status resources));
string($meta->{$_}, $_) for qw(abstract description generated_by);
want($meta->{name} =~ m{^[^\s/\\]{2,}$}, 'name');
version($meta->{version}, 'version');
want(ref $meta->{maintainer} eq 'ARRAY', 'maintainer: no list');
string($_, 'maintainer') for @{ $meta->{maintainer} };
want($meta->{license} =~ /^(apache_[12]_[01]|artistic_[12]|bsd|[al]?gpl_[123]|mit|mozilla_1_[01]|postgresql|perl_5)$/,
	'license');
want($meta->{release_status} =~ /^(un)?stable$|^testing$/, 'release_status');
want(length $_ <= 256 && m{^[^/\\[:cntrl:]]+$}, "tag $_") for @{ $meta->{tags} };

known($meta->{'meta-spec'}, 'meta-spec', qw(version url));
version($meta->{'meta-spec'}{version}, 'meta-spec: version');
url($meta->{'meta-spec'}{url}, 'meta-spec: url');
for my $name (keys %{ $meta->{provides} })
{
	my $provided = $meta->{provides}{$name};
	known($provided, $name, qw(file version abstract docfile));
	version($provided->{version}, "$name: version");
	want(-e ($provided->{$_} || ''), "$name: no $_") for qw(file docfile);
}
for my $phase (keys %{ $meta->{prereqs} })
{
	known({ $phase => 1 }, 'prereqs', qw(configure build test runtime develop));
	known($meta->{prereqs}{$phase}, "prereqs: $phase", qw(requires recommends suggests conflicts));
	version($_, "prereqs: $phase") for map { values %$_ } values %{ $meta->{prereqs}{$phase} };
}
my $resources = $meta->{resources};
known($resources, 'resources', qw(homepage bugtracker repository));
known($resources->{bugtracker}, 'bugtracker', qw(web mailto));
known($resources->{repository}, 'repository', qw(url web type));
url($_, 'resources')
  for $resources->{homepage}, $resources->{bugtracker}{web}, @{ $resources->{repository} }{qw(url web)};

# --- the version ---------------------------------------------------------------------

my ($version) = text('pg_flo.control') =~ /^default_version = '(.+)'/m;
my %says = (
	'META.json' => $meta->{version} =~ s/\.0$//r,
	'META.json, provides,' => $meta->{provides}{pg_flo}{version} =~ s/\.0$//r,
	'src/core/names.h' => text('src/core/names.h') =~ /^#define FLO_VERSION "(.+)"/m ? $1 : '',
	'debian/changelog' => text('debian/changelog') =~ /\((.+)-/ ? $1 : '',
	'contrib/rpm/pg_flo.spec' => text('contrib/rpm/pg_flo.spec') =~ /^Version:\s+(\S+)/m ? $1 : '',
	'CHANGELOG.md' => text('CHANGELOG.md') =~ /^## (\d\S*)/m ? $1 : '',
);
want($says{$_} eq $version, "$_ is of version $says{$_}, pg_flo.control of $version") for sort keys %says;

print STDERR map { "META.json: $_\n" } @wrong;
exit !!@wrong;
