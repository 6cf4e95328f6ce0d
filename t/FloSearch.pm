
=head1 NAME

FloSearch - a search service as pg_flo's TAP tests look at it

=head1 SYNOPSIS

  my $search = FloSearch->new($ENV{FLO_SEARCH_URL});
  my $answer = $search->ask('GET', '/public-t/_mapping');
  is_indexed($search, $source, 'public-t', 'SELECT id::text AS id, to_jsonb(t) AS doc FROM t', 'name');

=cut

package FloSearch;

use strict;
use warnings;
use Carp;
use Exporter 'import';
use HTTP::Tiny;
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(is_indexed);

sub new
{
	my ($class, $url) = @_;
	return bless { url => $url, http => HTTP::Tiny->new(timeout => 60) }, $class;
}

sub url { return $_[0]{url}; }

# The answer's text; croaks when it is no 2xx, unless the statuses it may have are named
sub text
{
	my ($self, $method, $path, $body, @may) = @_;
	my %options = (headers => { 'Content-Type' => 'application/json' });

	$options{content} = ref $body ? JSON::PP::encode_json($body) : $body if defined $body;
	my $response = $self->{http}->request($method, "$self->{url}$path", \%options);
	croak "$method $path: $response->{status} $response->{content}"
	  if !$response->{success} && !grep { $_ == $response->{status} } @may;
	return $response->{content};
}

sub ask { my $self = shift; return JSON::PP::decode_json($self->text(@_)); }

sub refresh { my ($self, $index) = @_; $self->text('POST', "/$index/_refresh", undef, 404); }

# How many documents there are, -1 without an index
sub count
{
	my ($self, $index) = @_;
	$self->refresh($index);
	my $answer = $self->ask('GET', "/$index/_count", undef, 404);
	return $answer->{count} // -1;
}

# Ids that a query finds, in order
sub found
{
	my ($self, $index, $query) = @_;
	$self->refresh($index);
	my $answer = $self->ask('POST', "/$index/_search", { query => $query, size => 1000 });
	return join ' ', sort map { $_->{_id} } @{ $answer->{hits}{hits} };
}

# All documents, as an array of the service's own answers in one text
sub documents
{
	my ($self, $index) = @_;
	my @pages;

	$self->refresh($index);
	my $page = $self->text('POST', "/$index/_search?scroll=1m", { size => 5000, sort => ['_doc'] });
	while ($page =~ /"hits":\[\{/)
	{
		my ($scroll) = $page =~ /"_scroll_id":"([^"]+)"/;
		push @pages, $page;
		$page = $self->text('POST', '/_search/scroll', { scroll => '1m', scroll_id => $scroll });
	}
	return '[' . join(',', @pages) . ']';
}

# One test: the documents are the rows, to the last digit.  The query gives id and doc.
sub is_indexed
{
	my ($search, $node, $index, $query, $name) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir() . '/documents';

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	append_to_file($file, $search->documents($index));
	my $differing = $node->safe_psql('postgres', qq{
		SET timezone = 'UTC';
		WITH docs AS (SELECT h->>'_id' AS id, h->'_source' AS doc
			FROM jsonb_array_elements(pg_read_file('$file')::jsonb) p, jsonb_array_elements(p->'hits'->'hits') h),
		rows AS ($query)
		SELECT coalesce(rows.id, '-') || ' ' || coalesce(rows.doc::text, 'no row') || ' / '
			|| coalesce(docs.id, '-') || ' ' || coalesce(docs.doc::text, 'no document')
		FROM rows FULL JOIN docs USING (id) WHERE rows.doc IS DISTINCT FROM docs.doc LIMIT 5});
	unlink $file;
	return is($differing, '', $name);
}

1;
