# Settings of databases and roles that must not reach the processes; encodings
# and collations that differ.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloMatrix;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $conf = "pg_flo.restart_interval = '300ms'\n";
my $source = flo_node('source', $nats, conf => $conf);
my $dest = flo_node('dest', $nats, conf => $conf);

# --- settings --------------------------------------------------------------------------------

my %settings = (
	default_transaction_read_only => 'on', default_transaction_isolation => 'serializable',
		default_transaction_deferrable => 'on',
	statement_timeout => '1ms', lock_timeout => '1ms', idle_in_transaction_session_timeout => '1ms',
	search_path => 'nowhere', datestyle => 'SQL, DMY', intervalstyle => 'sql_standard',
	timezone => 'Asia/Kathmandu', extra_float_digits => '-10', bytea_output => 'escape', array_nulls => 'off',
	xmloption => 'document', lc_monetary => 'C.UTF-8',
	client_encoding => 'LATIN1', row_security => 'off', session_replication_role => 'replica',
	standard_conforming_strings => 'off', backslash_quote => 'off', transform_null_equals => 'on',
	quote_all_identifiers => 'on', default_tablespace => '', temp_tablespaces => '', role => 'nobody',
	synchronous_commit => 'off', check_function_bodies => 'off', plan_cache_mode => 'force_custom_plan',
	enable_indexscan => 'off', enable_bitmapscan => 'off', default_statistics_target => '1',
	gin_fuzzy_search_limit => '1', work_mem => '64kB', idle_session_timeout => '1ms', log_statement => 'all',
	debug_discard_caches => 0);
delete $settings{debug_discard_caches};
my $user = $source->safe_psql('postgres', 'SELECT current_user');
for my $node ($source, $dest)
{
	# what a user's own session needs is put back for the test's
	my $sql = "CREATE ROLE nobody; GRANT nobody TO $user;\n";
	$sql .= "ALTER DATABASE postgres SET $_ = '$settings{$_}'; ALTER ROLE $user SET $_ = '$settings{$_}';
		ALTER ROLE $user IN DATABASE postgres SET $_ = '$settings{$_}';\n" for sort keys %settings;
	$node->safe_psql('postgres', $sql);
}
$ENV{PGOPTIONS} = '-c role=none -c default_transaction_read_only=off -c default_transaction_isolation=read\ committed '
	  . '-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0'
  . ' -c search_path=public -c datestyle=ISO -c extra_float_digits=1 -c timezone=UTC -c intervalstyle=postgres -c '
  . 'bytea_output=hex -c array_nulls=on -c client_encoding=UTF8 -c session_replication_role=origin'
  . ' -c standard_conforming_strings=on -c backslash_quote=safe_encoding -c lc_monetary=C -c xmloption=content -c '
  . 'row_security=on -c quote_all_identifiers=off -c transform_null_equals=off -c default_transaction_deferrable=off';

my $m = FloMatrix->new($source, $dest, 'g');
my %values = (
	steps => [
		q{INSERT INTO t VALUES (1, '2024-02-03', '2024-02-03 04:05:06.789', '2024-02-03 04:05:06.789+02',
			'1 year -2 mons 3 days -04:05:06', 0.1::float8 + 0.2::float8, 1.1, '\x00ff5c', '{NULL,"NULL",a}',
			'just text', '12.34', 'pg_class', 'é', '12:00+05', '{"2024-02-03 00:00:00+01"}'),
			(2, '0044-03-15 BC', 'infinity', '-infinity', '-1 day', 1e300, 'NaN', '', '{}', '<a/>', '-1', 'own', '',
				'00:00+00', '{}')},
		q{UPDATE t SET v = v || 'ü', d = d + 1; UPDATE t SET id = 20 WHERE id = 2}, 'DELETE FROM t WHERE id = 1',
		'TRUNCATE t' ]);
my $columns = q{id int PRIMARY KEY, d date, ts timestamp, tz timestamptz, i interval, f float8, r real, b bytea, }
	  . q{a text[], x xml, m money, c regclass, v text, tt timetz, tza timestamptz[]};
$_->safe_psql('postgres', 'CREATE TABLE public.own (a int PRIMARY KEY)') for $source, $dest;
$m->case('settings, binary', ddl => "CREATE TABLE t ($columns); ALTER TABLE t DROP c, ADD c int",
	steps => [ map { s/'pg_class', //r =~ s/'own', //r } @{ $values{steps} } ]);
$m->case('settings, text', ddl => "CREATE TYPE e AS ENUM ('x'); CREATE TABLE t ($columns, e e DEFAULT 'x')", %values);
$m->case('settings, to text columns', ddl => "CREATE TABLE t ($columns)",
	dest => 'DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY, d text, ts text, tz text, i text, f text, r text, '
	  . 'b text, a text, x text, m text, c text, v text, tt text, tza text)',
	%values, columns => q{id, d, ts, i, f, r, b, a, x::text, v, tt});
# Another role's tables, and a search_path that would catch unqualified names
$m->case('settings, owner', ddl => 'CREATE TABLE t (id int PRIMARY KEY, v text)',
	dest => q{ALTER ROLE nobody SET search_path = nowhere; ALTER ROLE nobody SET default_transaction_read_only = on;
		ALTER ROLE nobody SET statement_timeout = '1ms'; GRANT USAGE ON SCHEMA "settings, owner" TO nobody;
		ALTER TABLE t OWNER TO nobody},
	steps => [ q{INSERT INTO t SELECT i, 'x' FROM generate_series(1, 1000) i}, q{UPDATE t SET v = 'y'},
		'DELETE FROM t' ]);
$m->run;
# none of them reaches a process after a restart of the server either
$_->restart for $source, $dest;
$source->safe_psql('postgres', q{INSERT INTO "settings, owner".t VALUES (1, 'after')});
$m->wait;
$m->compare('after a restart', grep { $_->{name} eq 'settings, owner' } @{ $m->{cases} });
$m->line(join(' ', 'settings:', sort keys %settings), 'exact');

# --- encodings and collations -------------------------------------------------------------------

$ENV{PGCLIENTENCODING} = 'UTF8';
for my $node ($source, $dest)
{
	$node->safe_psql('template1', "ALTER ROLE $user RESET ALL; ALTER ROLE $user IN DATABASE postgres RESET ALL;
		ALTER DATABASE postgres RESET ALL");
}
delete $ENV{PGOPTIONS};
my $letters = "'éüß' || repeat('ö', 3000)";
my $ddl = q{CREATE TABLE "tä" (id int PRIMARY KEY, "cö" text, v varchar(3), j json, c char(4), n name, a text[]);
	CREATE TABLE k ("schlüssel" text PRIMARY KEY, v int); CREATE TABLE f (a text);
	ALTER TABLE f REPLICA IDENTITY FULL};
my @steps = (
	qq{INSERT INTO "tä" VALUES (1, $letters, 'äöü', '{"ß":"é"}', 'é', 'ñ', '{é,"à b"}'),
		(2, '', NULL, NULL, NULL, NULL, NULL); INSERT INTO k VALUES ('ä', 1), ('a', 2), ('Z', 3);
		INSERT INTO f VALUES ('ä'), ('ä'), ('a')},
	q{UPDATE "tä" SET v = 'ö' WHERE id = 1; UPDATE "tä" SET id = 20 WHERE id = 2;
		UPDATE k SET "schlüssel" = 'ö' WHERE "schlüssel" = 'ä'; UPDATE f SET a = 'é' WHERE ctid = '(0,1)'},
	q{DELETE FROM k WHERE "schlüssel" = 'ö'; DELETE FROM f WHERE a = 'ä'; DELETE FROM "tä" WHERE id = 1;
		TRUNCATE "tä"});

# name, encoding and locale of the source and of the destination
for my $pair ([ 'latin1_utf8', 'LATIN1', 'C', 'UTF8', 'C' ], [ 'utf8_latin1', 'UTF8', 'C', 'LATIN1', 'C' ],
	[ 'latin9_latin1', 'LATIN9', 'C', 'LATIN1', 'C' ], [ 'win_utf8', 'WIN1252', 'C', 'UTF8', 'C.UTF-8' ],
	[ 'collations', 'UTF8', 'C.UTF-8', 'UTF8', 'C' ])
{
	my ($name, $se, $sl, $de, $dl) = @$pair;
	$source->safe_psql('postgres', "CREATE DATABASE $name ENCODING '$se' LOCALE '$sl' TEMPLATE template0");
	$dest->safe_psql('postgres', "CREATE DATABASE $name ENCODING '$de' LOCALE '$dl' TEMPLATE template0");
	$_->safe_psql($name, 'CREATE EXTENSION pg_flo') for $source, $dest;
	if ($name eq 'latin9_latin1')
	{
		$source->safe_psql($name, "SELECT flo.create_replicator('$name'); SELECT flo.start_group('$name')");
		$dest->safe_psql($name, "SELECT flo.create_worker('$name'); SELECT flo.start_group('$name')");
		wait_state($dest, $name, 'postgres', 'failed', $name);
		my $error = status_of($dest, $name, 'postgres', 'last_error', $name);
		like($error, qr/text of the source is in encoding LATIN9, which cannot be converted to LATIN1 of this database/,
			'encodings without a conversion');
		$m->line("$se to $de", 'refused', $error);
		next;
	}
	my $e = FloMatrix->new($source, $dest, $name, source_db => $name, dest_db => $name);
	$e->case("$se to $de ($sl to $dl)", ddl => $ddl,
		tables => [ map { qq{SELECT convert_to(t::text, 'UTF8') FROM "$se to $de ($sl to $dl)".$_ t} } '"tä"', 'k',
		'f' ], steps => [@steps]);
	$e->run;
	if ($name eq 'utf8_latin1')
	{
		$e->create({ name => 'unmappable', ddl => 'CREATE TABLE t (id int PRIMARY KEY, v text)' });
		$source->safe_psql($name, q{INSERT INTO unmappable.t VALUES (1, 'fine'), (2, '10 €')});
		my $error =
			$e->wait_error(
			qr/byte sequence 0xe2 0x82 0xac .* has no equivalent in encoding "LATIN1".*"unmappable\.t", column "v"/,
			'unmappable');
		$m->line('a character the destination lacks', 'refused', $error);
		# a name that cannot be written there is one more thing that is missing
		is($dest->safe_psql($name, 'SELECT count(*) FROM unmappable.t'), '0',
			'and nothing of the transaction is applied');
	}
	push @{ $m->{lines} }, @{ $e->{lines} };
}

# A copy converts, too
{
	my $ddl = q{CREATE TABLE "tä" (id int PRIMARY KEY, v text);
		CREATE TABLE m (id int PRIMARY KEY, v text, a aclitem[], i int2vector, q tsquery[])};
	for my $side ([ $source, 'LATIN1' ], [ $dest, 'UTF8' ])
	{
		my ($node, $encoding) = @$side;
		$node->safe_psql('postgres', "CREATE DATABASE copied ENCODING '$encoding' LOCALE 'C' TEMPLATE template0");
		$node->safe_psql('copied', "CREATE EXTENSION pg_flo; $ddl");
	}
	$source->safe_psql('copied', q{INSERT INTO "tä" SELECT i, 'é' || i FROM generate_series(1, 1000) i;
		INSERT INTO m VALUES (1, 'ü', '{postgres=r/postgres}', '', ARRAY[''::tsquery])});
	$source->safe_psql('copied', q{SELECT flo.create_replicator('copied', mode => 'copy_and_stream');
		SELECT flo.start_group('copied')});
	$dest->safe_psql('copied', q{SELECT flo.create_worker('copied'); SELECT flo.start_group('copied')});
	wait_state($dest, 'copied', 'postgres', 'streaming', 'copied');
	$source->safe_psql('copied', q{UPDATE "tä" SET v = v || 'ö' WHERE id < 10});
	wait_caught_up($source, $dest, 'copied', source_db => 'copied', dest_db => 'copied');
	my $all = q{SELECT count(*), sum(hashtext(encode(convert_to(v, 'UTF8'), 'hex'))) FROM %s};
	for my $table ('"tä"', 'm')
	{
		my $query = sprintf($all, $table);
		is($dest->safe_psql('copied', $query), $source->safe_psql('copied', $query),
			"copy from LATIN1 to UTF8: $table");
	}
	$m->line('copy, LATIN1 to UTF8', 'exact');
}

# SQL_ASCII: bytes of no known encoding
for my $pair ([ 'ascii_utf8', 'SQL_ASCII', 'UTF8' ], [ 'utf8_ascii', 'UTF8', 'SQL_ASCII' ],
	[ 'ascii_ascii', 'SQL_ASCII', 'SQL_ASCII' ])
{
	my ($name, $se, $de) = @$pair;
	$source->safe_psql('postgres', "CREATE DATABASE $name ENCODING '$se' LOCALE 'C' TEMPLATE template0");
	$dest->safe_psql('postgres', "CREATE DATABASE $name ENCODING '$de' LOCALE 'C' TEMPLATE template0");
	$_->safe_psql($name, 'CREATE EXTENSION pg_flo') for $source, $dest;
	my $e = FloMatrix->new($source, $dest, $name, source_db => $name, dest_db => $name);
	local $ENV{PGCLIENTENCODING} = 'SQL_ASCII';
	$e->case("$se to $de", ddl => 'CREATE TABLE t (id int PRIMARY KEY, v text)',
		steps => [ q{INSERT INTO t VALUES (1, 'plain'), (2, 'é')}, q{UPDATE t SET v = v || 'ü'} ]);
	$e->run;
	if ($name eq 'ascii_utf8')
	{
		$e->create({ name => 'broken', ddl => 'CREATE TABLE t (id int PRIMARY KEY, v text)' });
		$source->safe_psql($name, q{INSERT INTO broken.t VALUES (1, E'\\xE9')});
		my $error = $e->wait_error(qr/invalid byte sequence for encoding "UTF8": 0xe9.*table "broken\.t", column "v"/,
			'broken');
		$m->line('SQL_ASCII with bytes that are no UTF8', 'refused', $error);
	}
	push @{ $m->{lines} }, @{ $e->{lines} };
}

$m->finish;
$_->stop('fast') for $source, $dest;
done_testing();
