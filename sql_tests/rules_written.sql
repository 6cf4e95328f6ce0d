-- What is wrong with a rule or a route is said when it is written
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
-- the group comes later, if at all: see unknown_names
SET client_min_messages = error;
BEGIN;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE t (id int PRIMARY KEY, name text, n numeric, at timestamptz, j json, m mood, twice int GENERATED ALWAYS AS (id * 2) STORED);
CREATE FUNCTION noisy(text) RETURNS text LANGUAGE sql VOLATILE AS 'SELECT $1';
CREATE FUNCTION quiet(text) RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN upper($1); END';
CREATE FUNCTION pure(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN upper($1); END';
CREATE FUNCTION pg_temp.rule(action text, arguments jsonb, column_name text DEFAULT 'name', table_name text DEFAULT 't', stage text DEFAULT 'worker',
							 group_name text DEFAULT 'g')
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	INSERT INTO flo.rules (action, arguments, column_name, group_name, stage, table_name)
	VALUES (action, arguments, column_name, group_name, stage, table_name);
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	-- offsets in these two, and the name of DateStyle, depend on the versions of PCRE2 and the server
	RETURN concat_ws(' | ', SQLSTATE, regexp_replace(regexp_replace(SQLERRM, 'rule \d+', 'rule N'), '(class|item) at offset \d', '\1'),
					 nullif(replace(hint, '"DateStyle"', '"datestyle"'), ''));
END
$$;
\pset format unaligned
\pset tuples_only on

-- patterns: offset and reason
SELECT pg_temp.rule('regex', '{"pattern": "a(b", "replace": ""}');
SELECT pg_temp.rule('regex', '{"pattern": "ü[z-a]", "replace": ""}');
SELECT pg_temp.rule('regex', '{"pattern": "*a", "replace": ""}', table_name => 'nowhere');
SELECT pg_temp.rule('regex', '{"pattern": "ü\\C", "replace": ""}');
SELECT pg_temp.rule('regex', '{"pattern": "(a)", "replace": "$2"}');
SELECT pg_temp.rule('regex', '{"pattern": "(a)", "replace": "$x"}');
SELECT pg_temp.rule('regex', '{"pattern": "(a)", "replace": "${1"}');
SELECT pg_temp.rule('regex', '{"pattern": "(a)", "replace": "${name}"}');
SELECT pg_temp.rule('regex', '{"pattern": "a", "replace": "", "flags": "iz"}');

-- values: by the column's type
SELECT pg_temp.rule('gt', '{"value": "many"}', 'id');
SELECT pg_temp.rule('gt', '{"value": 1.5}', 'id');
SELECT pg_temp.rule('eq', '{"value": "2024-13-01"}', 'at');
SELECT pg_temp.rule('eq', '{"value": "angry"}', 'm');
SELECT pg_temp.rule('eq', '{"value": "{}"}', 'j');
SELECT pg_temp.rule('contains', '{"value": "1"}', 'n');
SELECT pg_temp.rule('gt', '{"value": 1}', 'no_such_column');
-- values of stored generated columns are sent since 18
SELECT r LIKE CASE WHEN current_setting('server_version_num')::int >= 180000 THEN 'accepted'
	ELSE '428C9 | column "twice" of table "public.t" is generated, and its values are not sent | It is made of other columns where the row is written: %' END
  FROM pg_temp.rule('gt', '{"value": 1}', 'twice') r;

-- expressions
SELECT e, pg_temp.rule('expression', jsonb_build_object('expression', e))
  FROM unnest('{upper(name,upper(nome),nothing(name),"1, 2",name AS x,*,t.*,"1 FROM t","1; DROP TABLE t","(SELECT 1)",count(*),row_number() OVER (),generate_series(1\,2),random(),"nextval(''flo.rules_id_seq'')",clock_timestamp(),now(),$1,"name || other.name",public.noisy(name),public.quiet(name),public.pure(name),quiet(name),"''x''::mood",id / 0,DEFAULT,"name -- comment"}'::text[]) e;
SELECT e, pg_temp.rule('where', jsonb_build_object('expression', e), NULL)
  FROM unnest('{id,id > 1,"name LIKE ''a%''","id IN (1, 2)","EXISTS (SELECT FROM t)",NULL = 1,"m = ''angry''","(id > 1"}'::text[]) e;
-- where the replicator executes it no table can be read
SELECT e, pg_temp.rule('expression', jsonb_build_object('expression', e), stage => 'replicator') FROM unnest('{public.quiet(name),public.pure(name),now(),upper(name)}'::text[]) e;
-- without the table only the syntax can be looked at
SELECT e, pg_temp.rule('expression', jsonb_build_object('expression', e), table_name => 'nowhere') FROM unnest('{"upper(name","nothing(name)","1 FROM t"}'::text[]) e;
-- a table of the name here is not the source's where a route leads elsewhere, or a sink is not this database
SELECT pg_temp.rule('mask', '{}', 'no_such_column', group_name => 'routed');
INSERT INTO flo.routes (group_name, source_table, destination_table) VALUES ('routed', 't', 'u');
SELECT pg_temp.rule('mask', '{}', 'no_such_column', group_name => 'routed');
SELECT pg_temp.rule('mask', '{}', 'no_such_column', group_name => 'routed', stage => 'replicator');

-- one that no longer fits can be disabled, not enabled again
DELETE FROM flo.rules;
SELECT pg_temp.rule('mask', '{}');
ALTER TABLE t RENAME name TO nome;
\set VERBOSITY terse
UPDATE flo.rules SET enabled = false;
SAVEPOINT s;
UPDATE flo.rules SET enabled = true;
ROLLBACK TO s;
ALTER TABLE t RENAME nome TO name;

-- the author: whoever writes what it does
CREATE ROLE flo_bob;
CREATE ROLE flo_ann;
GRANT SELECT, INSERT, UPDATE ON flo.rules TO flo_bob;
GRANT USAGE ON SEQUENCE flo.rules_id_seq TO flo_bob;
INSERT INTO flo.groups (group_name, system_identifier, database) VALUES ('g', 1, 1);
INSERT INTO flo.workers (group_name, worker_name, sink, owner) VALUES ('g', 'bobs', 'postgres', 'flo_bob');
UPDATE flo.rules SET enabled = true;
SELECT author = current_user::regrole FROM flo.rules;
SET ROLE flo_bob;
UPDATE flo.rules SET position = 3;
SELECT author = 'flo_bob'::regrole FROM flo.rules;
UPDATE flo.rules SET arguments = '{"keep_first": 2}';
SELECT author FROM flo.rules;
INSERT INTO flo.rules (group_name, table_name, column_name, action) VALUES ('g', 'elsewhere', 'c', 'mask') RETURNING author;
SAVEPOINT s;
UPDATE flo.rules SET author = 'flo_ann';
ROLLBACK TO s;
INSERT INTO flo.rules (group_name, table_name, column_name, action, author) VALUES ('g', 'elsewhere', 'c', 'mask', 'flo_ann');
ROLLBACK TO s;
RESET ROLE;
UPDATE flo.rules SET enabled = false WHERE table_name = 't';
SELECT author FROM flo.rules WHERE table_name = 't';
UPDATE flo.rules SET author = 'flo_ann' WHERE table_name = 't' RETURNING author;
INSERT INTO flo.rules (group_name, table_name, column_name, action, author) VALUES ('g', 'elsewhere', 'c', 'mask', '4000000000') RETURNING author;

-- an expression has its author's rights and no more
CREATE TABLE secret (s text);
INSERT INTO secret VALUES ('the secret');
CREATE FUNCTION peep() RETURNS text LANGUAGE sql STABLE SECURITY INVOKER SET search_path = public AS 'SELECT s FROM public.secret LIMIT 1';
CREATE FUNCTION whoami() RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN current_user; END';
CREATE FUNCTION meddle() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN PERFORM set_config('search_path', 'meddled', false); RETURN 'ok'; END $$;
CREATE FUNCTION scribble() RETURNS text LANGUAGE plpgsql STABLE AS $$ BEGIN EXECUTE 'CREATE TABLE scribbled (a int)'; RETURN 'ok'; END $$;
GRANT SELECT ON t TO flo_bob;
CREATE FUNCTION pg_temp.as_bob(expression text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	DELETE FROM flo.rules;
	INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments, author)
	VALUES ('g', 't', 'name', 'expression', jsonb_build_object('expression', expression), 'flo_bob');
	SELECT new_row ->> 'name' INTO result FROM flo.preview('g', 't', 'INSERT', '{"id": 1, "name": "x"}');
	RETURN coalesce(result, 'null') || ' ' || current_setting('search_path');
EXCEPTION WHEN OTHERS THEN
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM);
END
$$;
SELECT e, pg_temp.as_bob(e) FROM unnest('{current_user,public.whoami(),public.peep(),public.meddle(),public.scribble(),"pg_read_file(''PG_VERSION'')","set_config(''search_path'', ''x'', false)"}'::text[]) e;
ROLLBACK;
