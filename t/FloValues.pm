
=head1 NAME

FloValues - values of every built-in type that can be written in SQL

=cut

package FloValues;

use strict;
use warnings;
use Exporter 'import';

our @EXPORT = qw(builtin_values);

my $all_chars = q{E'\x01\t\n\r"\\\\''{},()[] ;\u20ac\u00e9\U0001F600'};
my %builtin = (
	bool => [ qw('t' 'f') ],
	bytea => [ q{'\x'}, q{'\x00ff0000'}, q{'\x5c2722'} ],
	'"char"' => [ q{'c'}, q{''}, q{'"'} ],
	name => [ q{'nm'}, q{''}, q{repeat('n', 63)} ],
	int2 => [ qw('-32768' '32767') ],
	int4 => [ qw('-2147483648' '2147483647') ],
	int8 => [ qw('-9223372036854775808' '9223372036854775807') ],
	int2vector => [ q{'1 2 3'}, q{''} ],
	oidvector => [ q{'1 4294967295'}, q{''} ],
	oid => [ qw('0' '4294967295') ],
	oid8 => [ qw('0' '18446744073709551615') ],
	tid => [ q{'(0,1)'}, q{'(4294967295,65535)'} ],
	xid => [ qw('3' '4294967295') ],
	cid => [ qw('0' '4294967295') ],
	xid8 => [ qw('3' '18446744073709551615') ],
	pg_lsn => [ qw('0/0' 'FFFFFFFF/FFFFFFFF') ],
	text => [ q{''}, $all_chars, q{'NULL'}, q{' '} ],
	varchar => [ q{''}, $all_chars ],
	bpchar => [ q{''}, q{'ab  '}, $all_chars ],
	json => [ q{'  {"a" : 1, "a": null}'}, q{'null'}, q{'"x"'}, q{'1.50'}, q{'[]'} ],
	jsonb => [ q{'{"a": {"b": [1, null, "\"x\\\\"]}}'}, q{'null'}, q{'"x"'}, q{'1.50'}, q{'true'} ],
	jsonpath => [ q{'$.a[*] ? (@ > 1)'}, q{'strict $'} ],
	xml => [ q{'<a>1</a>'}, q{'just text'}, q{'<?xml version="1.0"?><b/>'}, q{''} ],
	float4 => [ qw('1.1' 'NaN' 'Infinity' '-Infinity' '-0' '1e-45' '3.4028235e38') ],
	float8 => [ qw('0.1' 'NaN' 'Infinity' '-Infinity' '-0' '5e-324' '1.7976931348623157e308') ],
	numeric => [ qw('NaN' 'Infinity' '-Infinity' '0.00' '1e-100' '123456789012345678901234567890.123456789') ],
	money => [ qw('12.34' '-92233720368547758.08') ],
	date => [ qw('infinity' '-infinity' '4713-01-01BC' '5874897-12-31') ],
	time => [ qw('00:00' '24:00' '23:59:59.999999') ],
	timetz => [ qw('12:00+05:30' '24:00-15:59') ],
	timestamp => [ qw('infinity' '-infinity' '2024-02-29T12:34:56.789012' '0001-01-01BC'
		'294276-12-31T23:59:59.999999') ],
	timestamptz => [ qw('infinity' '-infinity' '2024-02-29T12:34:56.789012+03' '4713-01-01BC'
		'294276-12-31T23:59:59.999999+00') ],
	interval => [ q{'0'}, q{'1 mon -2 days 03:04:05.678'}, q{'-178000000 years'}, q{'1 year -1 second'} ],
	inet => [ qw('10.0.0.1/8' '::1' 'fe80::1/64' '0.0.0.0/0') ],
	cidr => [ qw('10.0.0.0/8' '::/0') ],
	macaddr => [ qw('08:00:2b:01:02:03') , q{'00:00:00:00:00:00'} ],
	macaddr8 => [ qw('08:00:2b:01:02:03:04:05'), q{'ff:ff:ff:ff:ff:ff:ff:ff'} ],
	bit => [ q{B'1'}, q{B'0'} ],
	varbit => [ q{B''}, q{B'10101'} ],
	uuid => [ qw('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' '00000000-0000-0000-0000-000000000000') ],
	tsvector => [ q{'a:1A b:2,3C'}, q{''}, q{$$'it''s'$$} ],
	tsquery => [ q{'a & !b | c:*AB'}, q{''}, q{'a <2> b'} ],
	point => [ q{'(1,2)'}, q{'(NaN,-Infinity)'} ],
	lseg => [ q{'[(1,2),(3,4)]'}, q{'[(0,0),(0.1,-0)]'} ],
	box => [ q{'(3,4),(1,2)'}, q{'(0,0),(0,0)'} ],
	path => [ q{'((1,2),(3,4))'}, q{'[(1,2),(3,4)]'} ],
	polygon => [ q{'((1,2),(3,4),(5,0))'}, q{'((0,0))'} ],
	circle => [ q{'<(1,2),3>'}, q{'<(0,0),0>'} ],
	line => [ q{'{1,-1,0}'}, q{'{0,1,5}'} ],
	refcursor => [ q{'c'}, q{''} ],
	txid_snapshot => [ q{'10:20:10,14'}, q{'1:1:'} ],
	pg_snapshot => [ q{'10:20:10,14'}, q{'1:1:'} ],
	aclitem => [ q{'postgres=r/postgres'}, q{'=U/postgres'} ],
	regproc => [ q{'pg_catalog.now'}, q{'-'}, q{'public.hstore_in'} ],
	regprocedure => [ q{'pg_catalog.abs(bigint)'}, q{'public.hstore_in(cstring)'} ],
	regoper => [ q{'pg_catalog.||/'}, q{'0'} ],
	regoperator => [ q{'pg_catalog.+(integer,integer)'}, q{'public.?(public.hstore,text)'} ],
	regclass => [ q{'pg_catalog.pg_class'}, q{'public.own'}, q{'"public"."Own ""two"'} ],
	regcollation => [ q{'"C"'}, q{'"POSIX"'} ],
	regtype => [ q{'integer'}, q{'public.hstore[]'}, q{'numeric'} ],
	regconfig => [ q{'simple'}, q{'english'} ],
	regdictionary => [ q{'simple'}, q{'english_stem'} ],
	regnamespace => [ q{'public'}, q{'pg_catalog'} ],
	regrole => [ q{'postgres'}, q{'pg_monitor'} ],
	regdatabase => [ q{'postgres'}, q{'template1'} ],
	int4range => [ q{'empty'}, q{'[1,10)'}, q{'(,)'} ],
	int8range => [ q{'empty'}, q{'[1,)'} ],
	numrange => [ q{'(1.5,NaN)'}, q{'[0.00,1]'} ],
	daterange => [ q{'[2024-01-01,infinity)'}, q{'(,2024-01-01)'} ],
	tsrange => [ q{'["2024-01-01 00:00:00.5",infinity]'}, q{'(,)'} ],
	tstzrange => [ q{'["2024-01-01 00:00:00+03",)'}, q{'empty'} ],
	int4multirange => [ q{'{}'}, q{'{[1,3),[5,8)}'} ],
	int8multirange => [ q{'{}'}, q{'{(,3),[5,)}'} ],
	nummultirange => [ q{'{}'}, q{'{[1.5,2],(3,NaN)}'} ],
	datemultirange => [ q{'{}'}, q{'{[2024-01-01,2024-02-01)}'} ],
	tsmultirange => [ q{'{}'}, q{'{["2024-01-01 00:00","2024-01-02 00:00"]}'} ],
	tstzmultirange => [ q{'{}'}, q{'{["2024-01-01 00:00+00",)}'} ],
);

=pod

=head2 builtin_values($node)

The names of those types that the server knows, each with a list of literals. Some are of
objects that a test has to make: the extension hstore, the tables public.own and
public."Own ""two".

=cut

sub builtin_values
{
	my ($node) = @_;
	my $names = join(', ', map { "\$\$$_\$\$" } keys %builtin);

	return map { $_ => $builtin{$_} } split /\n/,
	  $node->safe_psql('postgres', "SELECT t FROM unnest(ARRAY[$names]) t WHERE to_regtype(t) IS NOT NULL");
}

1;
