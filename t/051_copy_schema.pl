
# sync_schema: a rich schema arrives as pg_dump sees it, what exists is kept or
# refused with the difference, and sequences go where they are at the source.

use strict;
use warnings;
use FindBin;
use lib $FindBin::Bin;
use FloTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $nats = FloTest::Nats->new('broker');
my $source = flo_node('source', $nats);
my $dest = flo_node('dest', $nats);

$source->safe_psql('postgres', q{
create extension citext; create schema app; create schema other; create extension btree_gist;
create type app.mood as enum ('a','b'); create domain app.pos as int default 7 check (value > 0);
create type app.addr as (street text, m app.mood);
create type app.frange as range (subtype = float8);
create collation app.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create function app.nextish() returns int language sql as 'select 1';
create function app.immu(text) returns text immutable language sql as 'select lower($1)';
create function app.trg() returns trigger language plpgsql as $$begin
--
-- TOC entry 5 (class 1255 OID 3)
-- Name: x; Type: TABLE; Schema: y; Owner: -
--
return new; end$$;
create function app.bodyx(a int) returns int immutable language sql begin atomic; select 1; select a; end;
create function app.unneeded() returns int language sql as 'select 1';
create sequence app.shared start 100 increment 5;
create table app.t (id serial primary key, m app.mood default 'a', ms app.mood[], d app.pos default app.nextish(),
	b text, ad app.addr, ci citext, co text collate app.ci,
  sh int default nextval('app.shared'), g int generated always as (app.bodyx(d)) stored, fr app.frange,
	check (b <> 'bad'), constraint named check (d < 1000) not valid);
create table app."Odd ""T" (id bigint generated always as identity (start 50) primary key, "from" text not null,
	exclude using gist (id with =));
create table app.c (id int primary key, tid int references app.t on delete cascade deferrable, v text collate "C",
	o int);
create table app.outside (id int primary key);
alter table app.c add foreign key (o) references app.outside;
create index c_lower on app.c (app.immu(v)) where v is not null;
create unique index on app.t (m, d) include (b); create statistics app.st on m, d from app.t;
create trigger tt before insert on app.t for each row execute function app.trg();
create table app.part (id int, k text, primary key (id, k), at timestamptz default now()) partition by range (id);
create table app.part1 partition of app.part for values from (0) to (10);
create table app.part2 partition of app.part for values from (10) to (1000) partition by list (k);
create table other.part2a partition of app.part2 for values in ('a');
create table app.part2d partition of app.part2 default;
create index on app.part (at); create trigger tp after update on app.part for each row execute function app.trg();
alter table app.part add unique (id, k, at);
create table app.base (id int primary key, v text);
create table app.kid (extra int, primary key (id)) inherits (app.base);
create table app.keyless (a int, b text); alter table app.keyless replica identity full;
create table app.ridx (a int not null, b int); create unique index ridx_a on app.ridx(a);
alter table app.ridx replica identity using index ridx_a;
comment on table app.t is 'hello'; comment on column app.t.m is 'x'; comment on index app.c_lower is 'idx';
comment on constraint t_pkey on app.t is 'pk'; comment on type app.mood is 'mood'; comment on schema app is 'the app';
create rule r as on delete to app.keyless do also notify x;
insert into app.outside values (1);
insert into app.t (m, ms, d, b, ad, ci, co) select 'a', '{a,b}', g, 'b'||g, row('s'||g,'b'::app.mood)::app.addr,
	'CI'||g, 'co' from generate_series(1,500) g;
insert into app."Odd ""T" ("from") select 'x'||g from generate_series(1,100) g;
insert into app.c select g, g, 'V'||g, 1 from generate_series(1,300) g;
insert into app.part select g, case when g % 2 = 0 then 'a' else 'b' end from generate_series(1,999) g;
insert into app.kid select g, 'k', g from generate_series(1,10) g; insert into app.base values (100,'b');
insert into app.keyless values (1,'a'),(1,'a'); insert into app.ridx values (1,2);
});

# What pg_dump says, entry by entry, without headings; "left" is not to come along
sub dump_of
{
	my ($node, $left) = @_;
	my ($out, $err) = run_command([ 'pg_dump', '-s', '--no-owner', '--no-publications', '-N', 'flo', '-p', $node->port,
		'-h', $node->host, 'postgres' ]);
	my @entries = grep { !/^Dumped|^PostgreSQL database dump|restrict /
		  && !($left && /$left/) } split /\n\n+--\n-- (?=Name: )/, $out;
	shift @entries;
	s/\n\\unrestrict.*|\n--\n-- PostgreSQL database dump complete.*//s for @entries;
	s/^SET default_\w+ = .*;$//mg for @entries;
	s/\s+$// for @entries;
	return join("\n", @entries) . "\n";
}

my $tables = $source->safe_psql('postgres', q{
	SELECT array_agg(c.oid::regclass::text) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	 WHERE n.nspname = 'app' AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> 'outside'});
create_copy_group($source, $dest, 'g', tables => "\$\$$tables\$\$", sync_schema => 1,
	worker_options => q{'{"ddl_trust": "source"}'});
wait_caught_up($source, $dest, 'g');
is_deeply([ split /\n/, dump_of($dest) ], [ split /\n/, dump_of($source, qr/unneeded|outside/) ],
	'the same schema, but for what the tables do not need');
ok($source->log_contains('leaves out constraint c_o_fkey on table app.c'),
	'a foreign key to a table outside the group is left out by name');
is_same_table($source, $dest, $_) for 'app.t', 'app."Odd ""T"', 'app.c', 'app.part1', 'other.part2a', 'app.part2d',
	'app.base', 'app.kid', 'app.keyless';
is($dest->safe_psql('postgres', q{SELECT bool_and(action = 'created') FROM flo.copied_objects}), 't',
	'flo.copied_objects says what was created');

# --- sequences --------------------------------------------------------------------------

my $values = q{SELECT (SELECT (last_value, is_called) FROM app.t_id_seq),
	(SELECT (last_value, is_called) FROM app.shared), (SELECT (last_value, is_called) FROM app."Odd ""T_id_seq")};
is($dest->safe_psql('postgres', $values), $source->safe_psql('postgres', $values),
	'sequences are where they are at the source');
$source->safe_psql('postgres', q{SELECT nextval('app.shared') FROM generate_series(1, 5);
	SELECT setval('app.t_id_seq', 7); ALTER SEQUENCE app.t_id_seq RESTART 7000});
$dest->safe_psql('postgres', q{SELECT setval('app."Odd ""T_id_seq"', 9999)});
my $lsn = $source->safe_psql('postgres', q{SELECT flo.sync_sequences('g')});
is($dest->safe_psql('postgres', "SELECT flo.wait_for('g', '$lsn')"), 't',
	'the LSN of sync_sequences can be waited for');
is($dest->safe_psql('postgres', $values), '(7000,f)|'
	  . $source->safe_psql('postgres', 'SELECT (last_value, is_called) FROM app.shared') . '|(9999,t)',
	'sequences have moved on, and none has gone back');
like(error_of($source, q{SELECT flo.sync_sequences('nobody')}), qr/^42704/, 'sync_sequences of an unknown group');

# Rows follow into what was created
$source->safe_psql('postgres', q{INSERT INTO app.t (m) VALUES ('b'); UPDATE app.part SET id = 1 WHERE id = 500;
	DELETE FROM app.ridx; UPDATE app."Odd ""T" SET "from" = 'y' WHERE id = 50});
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, $_, "followed: $_") for 'app.t', 'app."Odd ""T"', 'app.part1', 'app.part2d', 'app.ridx';

# --- tables that join later ------------------------------------------------------------------

$source->safe_psql('postgres', q{
	CREATE TYPE app.colour AS ENUM ('red', 'blue');
	CREATE TABLE app.later (id serial PRIMARY KEY, c app.colour DEFAULT 'red', tid int REFERENCES app.t,
		o int REFERENCES app.outside, ci citext UNIQUE);
	CREATE INDEX later_c ON app.later (c);
	COMMENT ON TABLE app.later IS 'late'; COMMENT ON INDEX app.later_c IS 'by colour';
	INSERT INTO app.later (tid) SELECT i FROM generate_series(1, 200) i;
	SELECT flo.add_table('g', 'app.later')});
wait_until($dest, 'postgres', q{SELECT to_regclass('app.later') IS NOT NULL}, 'the table') or die;
wait_until($source, 'postgres', q{SELECT count(*) = 0 FROM flo.copy_requests}, 'its copy') or die;
$source->safe_psql('postgres', q{INSERT INTO app.later (c) VALUES ('blue')});
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 'app.later', 'a table that joins is made at the destination');
is_deeply([ split /\n/, dump_of($dest) ], [ split /\n/, dump_of($source, qr/unneeded|outside/) ],
	'with all it needs, and nothing else is touched');
cmp_ok($dest->safe_psql('postgres', 'SELECT last_value FROM app.later_id_seq'), '>=', 200, 'its sequence, too');

# One that is there is compared
$source->safe_psql('postgres', q{CREATE TABLE app.there (id int PRIMARY KEY, v text);
	INSERT INTO app.there VALUES (1, 'x')});
$dest->safe_psql('postgres', q{CREATE TABLE app.there (id int PRIMARY KEY, v int)});
$source->safe_psql('postgres', q{SELECT flo.add_table('g', 'app.there')});
ok(wait_until($dest, 'postgres',
	q{SELECT last_error ~ 'table app.there exists here and differs.*source: column v text.*here: column v integer'
	FROM flo.status}, 'the difference'),
	'one that is there and differs is an error that shows the difference');
$dest->safe_psql('postgres', q{ALTER TABLE app.there ALTER v TYPE text});
wait_until($source, 'postgres', q{SELECT count(*) = 0 FROM flo.copy_requests}, 'its copy') or die;
wait_caught_up($source, $dest, 'g');
is_same_table($source, $dest, 'app.there', 'and goes away with its cause');

# One that is copied afresh stays as it is here
$dest->safe_psql('postgres', q{ALTER TABLE app.there ADD extra int; DELETE FROM app.there});
$source->safe_psql('postgres', q{SELECT flo.resync('g', 'app.there')});
wait_until($source, 'postgres', q{SELECT count(*) = 0 FROM flo.copy_requests}, 'the copy') or die;
wait_caught_up($source, $dest, 'g');
is($dest->safe_psql('postgres', q{SELECT id, v, extra FROM app.there}), '1|x|',
	'what exists is left as it is when a table is copied afresh');
$dest->safe_psql('postgres', q{SELECT flo.drop_group('g')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('g', purge_stream => true)});

# --- a definition that changes between two attempts -----------------------------------------------

$source->safe_psql('postgres', q{CREATE TABLE changes (id int PRIMARY KEY, v int);
	INSERT INTO changes SELECT i, i FROM generate_series(1, 1000) i});
halt_at($source, 'range.before');
create_copy_group($source, $dest, 'c', tables => q{'{changes}'}, sync_schema => 1, wait => 0);
await_halt($source, 'the first range') or die;
wait_until($dest, 'postgres', q{SELECT to_regclass('changes') IS NOT NULL}, 'the table to be made') or die;
$source->stop('immediate');
$source->append_conf('postgresql.conf', "pg_flo.enabled = off\npg_flo.stop_at = ''\n");
$source->start;
$source->safe_psql('postgres', q{ALTER TABLE changes ALTER v TYPE bigint; INSERT INTO changes VALUES (2000, 5)});
$source->append_conf('postgresql.conf', "pg_flo.enabled = on\n");
$source->reload;
ok(wait_until($dest, 'postgres',
	q{SELECT last_error ~
	'table public.changes exists here and differs.*source: column v bigint.*here: column v integer' FROM flo.status},
	'the difference'),
	'a definition that changed between two attempts is noticed')
  or diag(status_of($dest, 'c', 'postgres', 'last_error'));
is($dest->safe_psql('postgres', 'SELECT count(*) FROM changes'), '0', 'before any row is loaded');
$dest->safe_psql('postgres', q{ALTER TABLE changes ALTER v TYPE bigint});
wait_state($dest, 'c', 'postgres', 'streaming');
wait_caught_up($source, $dest, 'c');
is_same_table($source, $dest, 'changes', 'and once it is the same the copy goes on');
$dest->safe_psql('postgres', q{SELECT flo.drop_group('c')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('c', purge_stream => true)});

# --- indexes at once ------------------------------------------------------------------------------

$source->safe_psql('postgres', qq{CREATE TABLE p$_ (id int PRIMARY KEY, v int, r int); CREATE INDEX p${_}_v ON p$_ (v);
	INSERT INTO p$_ SELECT i, i, i FROM generate_series(1, 1000) i}) for 1 .. 3;
$source->safe_psql('postgres', q{ALTER TABLE p2 ADD FOREIGN KEY (r) REFERENCES p1;
	ALTER TABLE p1 ADD FOREIGN KEY (r) REFERENCES p3});
my $log_before = -s $dest->logfile;
halt_at($dest, 'build.before');
create_copy_group($source, $dest, 'p', tables => q{'{p1, p2, p3}'}, sync_schema => 1, wait => 0,
	worker_options => q{'{"loaders": 3}'});
await_halt($dest, 'an index') or die;
ok(wait_until($dest, 'postgres', q{SELECT count(DISTINCT tablename) = 2 AND count(*) = 4 FROM pg_indexes
	WHERE tablename ~ '^p[123]$'}, 'the indexes of the others'),
	'indexes of other tables are built while one takes its time');
is($dest->safe_psql('postgres', q{SELECT count(*) FROM pg_constraint
	WHERE contype = 'f' AND conrelid IN ('p1'::regclass, 'p2'::regclass)}), '0', 'foreign keys come after all');
ok(wait_until($dest, 'postgres', q{SELECT detail ~ '^building indexes: 2 left of \d, \d processes' FROM flo.status
	WHERE group_name = 'p'}, 'the detail'), 'detail says how far it is');
$dest->safe_psql('postgres', 'SELECT pg_terminate_backend(' . halted_pid($dest, 'build.before', $log_before) . ')');
wait_state($dest, 'p', 'postgres', 'streaming');
is($dest->safe_psql('postgres', q{SELECT (SELECT count(*) FROM pg_indexes WHERE tablename ~ '^p[123]$'),
	(SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid IN ('p1'::regclass, 'p2'::regclass))}), '6|2',
	'what a builder left is built by others');
$dest->append_conf('postgresql.conf', "pg_flo.stop_at = ''\n");
$dest->reload;
$dest->safe_psql('postgres', q{SELECT flo.drop_group('p')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('p', purge_stream => true)});

# --- what exists already -------------------------------------------------------------------

$source->safe_psql('postgres', q{CREATE TABLE same (id int PRIMARY KEY, v text DEFAULT 'x');
	CREATE TABLE other_one (id int PRIMARY KEY, v text, n int NOT NULL); INSERT INTO same VALUES (1)});
$dest->safe_psql('postgres', q{CREATE TABLE same (v text DEFAULT 'x', id int PRIMARY KEY);
	CREATE TABLE other_one (id int PRIMARY KEY, v varchar(20), n int NOT NULL)});
create_copy_group($source, $dest, 'e', tables => q{'{same, other_one}'}, sync_schema => 1, wait => 0);
ok(wait_until($dest, 'postgres',
	q{SELECT last_error ~
	'table public.other_one exists here and differs.*source: column v text.*here: column v character varying\(20\)'
	FROM flo.status},
		'the difference'), 'a table that differs is an error that shows the difference')
  or diag(status_of($dest, 'e', 'postgres', 'last_error'));
unlike(status_of($dest, 'e', 'postgres', 'last_error'), qr/column n/, 'and nothing else');
$dest->safe_psql('postgres', 'ALTER TABLE other_one ALTER v TYPE text');
wait_state($dest, 'e', 'postgres', 'streaming');
is($dest->safe_psql('postgres', q{SELECT DISTINCT action FROM flo.copied_objects}), 'kept', 'what is the same is kept');
ok($dest->log_contains('table public.same exists already with the source\'s definition and is kept'), 'and reported');
is_same_table($source, $dest, 'other_one');
$dest->safe_psql('postgres', q{SELECT flo.drop_group('e')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('e', purge_stream => true)});

# --- a connection that pg_dump cannot make ----------------------------------------------------

$dest->safe_psql('postgres', 'DROP TABLE same');
$source->append_conf('postgresql.conf', "pg_flo.schema_dump_conninfo = 'user=nobody_of_that_name'");
$source->reload;
create_copy_group($source, $dest, 'h', tables => q{'{same}'}, sync_schema => 1, wait => 0);
ok(wait_until($source, 'postgres', q{SELECT last_error LIKE '%pg_dump cannot connect%' FROM flo.status}, 'the error'),
	'pg_dump that cannot connect is an error');
ok($source->log_contains('Set pg_flo.schema_dump_conninfo'), 'which names the setting');
$source->adjust_conf('postgresql.conf', 'pg_flo.schema_dump_conninfo', "''");
$source->reload;
wait_state($dest, 'h', 'postgres', 'streaming');
wait_caught_up($source, $dest, 'h');
is($dest->safe_psql('postgres', 'SELECT count(*) FROM same'), '1', 'and goes away with its cause');
$dest->safe_psql('postgres', q{SELECT flo.drop_group('h')});
$source->safe_psql('postgres', q{SELECT flo.drop_group('h', purge_stream => true)});

$_->stop('fast') for $source, $dest;
done_testing();
