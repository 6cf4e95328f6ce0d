-- Every action on every kind of type: NULL, characters of several bytes, operations
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
-- the group comes later, if at all: see unknown_names
SET client_min_messages = error;
BEGIN;
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN posint AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text);
-- types of users make the rows travel as text, so each test is done with and without
CREATE TABLE builtin (id int PRIMARY KEY, t text, vc varchar(40), ch char(5), i int, b bigint, s smallint, n numeric(10,2),
	f float8, r float4, ok bool, ts timestamp, tz timestamptz, d date, u uuid, j jsonb, js json, a int[], ta text[], nm name,
	iv interval, by bytea);
CREATE TABLE userish (LIKE builtin, m mood, p posint, c pair, ms mood[], PRIMARY KEY (id));

CREATE FUNCTION pg_temp.row(more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT '{"id": 7, "t": "grüße aus Köln", "vc": "varchar", "ch": "ab", "i": 42, "b": 4200000000, "s": -3, "n": 12.50,
		"f": 0.1, "r": 1.5, "ok": true, "ts": "2024-02-29 12:34:56.789", "tz": "2024-02-29 12:34:56+02", "d": "2024-02-29",
		"u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "j": {"k": [1, "zwei"]}, "js": {"k": 1}, "a": [1, 2, 3], "ta": ["x", null, "y,z"],
		"nm": "name", "iv": "1 day 02:00", "by": "\\x00ff"}'::jsonb || more
$$;
CREATE FUNCTION pg_temp.users(more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
	SELECT pg_temp.row('{"m": "ok", "p": 5, "c": "(1,two)", "ms": ["sad", "happy"]}'::jsonb || more)
$$;

-- One rule alone: what becomes of a column, or of the row
CREATE FUNCTION pg_temp.try(action text, arguments jsonb, column_name text, table_name text DEFAULT 'builtin',
							operation text DEFAULT 'INSERT', new_row jsonb DEFAULT NULL, old_row jsonb DEFAULT NULL,
							operations text[] DEFAULT '{INSERT,UPDATE,DELETE}')
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	place text;
BEGIN
	DELETE FROM flo.rules;
	INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments, operations)
	VALUES ('g', table_name, column_name, action, arguments, operations);
	IF new_row IS NULL AND operation <> 'DELETE' THEN
		new_row := CASE table_name WHEN 'builtin' THEN pg_temp.row() ELSE pg_temp.users() END;
	END IF;
	SELECT p.operation || ' ' || coalesce((p.new_row -> column_name)::text, (p.old_row -> column_name)::text, '-') INTO result
	  FROM flo.preview('g', table_name, operation, new_row, old_row) p;
	RETURN coalesce(result, 'dropped');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS place = PG_EXCEPTION_CONTEXT;
	RETURN regexp_replace(concat_ws(' | ', SQLSTATE, SQLERRM, substring(place from 'rule \d+(?:, row [^\n]*)?')), 'rule \d+', 'rule N', 'g');
END
$$;
\pset format unaligned
\pset tuples_only on

-- untouched values come out as PostgreSQL's own JSON functions write them
SELECT pg_temp.try('mask', '{}', 'nm');
SET timezone = 'GMT';
SELECT p.new_row = to_jsonb(b) || '{"nm": "n**e"}' FROM flo.preview('g', 'builtin', 'INSERT', pg_temp.row()) p,
	jsonb_populate_record(NULL::builtin, pg_temp.row()) b;
SET datestyle = 'SQL, DMY'; SET timezone = 'Asia/Kathmandu'; SET extra_float_digits = -5; SET bytea_output = 'escape';
SELECT p.new_row ->> 'tz', p.new_row ->> 'f', p.new_row ->> 'by' FROM flo.preview('g', 'builtin', 'INSERT', pg_temp.row()) p;
SELECT pg_temp.try('expression', '{"expression": "tz"}', 't'), pg_temp.try('expression', '{"expression": "d"}', 't');
RESET datestyle; RESET timezone; RESET extra_float_digits; RESET bytea_output;

-- mask
SELECT k, pg_temp.try('mask', '{}', k), pg_temp.try('mask', '{}', k, 'userish') FROM jsonb_object_keys(pg_temp.row()) k ORDER BY k COLLATE "C";
SELECT k, pg_temp.try('mask', '{}', k, 'userish') FROM unnest('{m,p,c,ms}'::text[]) k;
SELECT v, pg_temp.try('mask', '{}', 't', new_row => pg_temp.row(jsonb_build_object('t', v))),
	pg_temp.try('mask', '{"short": "keep"}', 't', new_row => pg_temp.row(jsonb_build_object('t', v))),
	pg_temp.try('mask', '{"mask_char": "█", "keep_first": 0, "keep_last": 2}', 't', new_row => pg_temp.row(jsonb_build_object('t', v))),
	pg_temp.try('mask', '{"keep_first": 0, "keep_last": 0}', 't', new_row => pg_temp.row(jsonb_build_object('t', v)))
  FROM unnest('{"",a,ab,abc,ü,üß,üßö,日本語テキスト,"a b"}'::text[]) v;
SELECT pg_temp.try('mask', '{}', 't', new_row => pg_temp.row('{"t": null}'));
SELECT pg_temp.try('mask', '{}', 'n', new_row => pg_temp.row('{"n": null}'));

-- null, constant and keep, where there was a value and where there was none
SELECT k, pg_temp.try('null', '{}', k), pg_temp.try('keep', '{}', k) FROM unnest('{t,i,j,by}'::text[]) k;
SELECT pg_temp.try('constant', '{"value": "grüße"}', 't'), pg_temp.try('constant', '{"value": 5}', 'i'),
	pg_temp.try('constant', '{"value": true}', 'ok', 'userish'), pg_temp.try('constant', '{"value": ""}', 't', new_row => pg_temp.row('{"t": null}'));
SELECT pg_temp.try('constant', '{"value": "x"}', 'i'), pg_temp.try('keep', '{}', 'nowhere');
SELECT a, pg_temp.try(a, CASE a WHEN 'constant' THEN '{"value": 1}'::jsonb ELSE '{}' END, 'id') FROM unnest('{"null",constant,keep}'::text[]) a;

-- regex
SELECT pg_temp.try('regex', '{"pattern": "[aeiouüö]", "replace": "_"}', 't');
SELECT pg_temp.try('regex', '{"pattern": "(\\w+) (\\w+)", "replace": "$2 ${1}$$$0"}', 't');
SELECT pg_temp.try('regex', '{"pattern": "(?<first>gr)(x)?", "replace": "<${first}$2>"}', 't');
SELECT pg_temp.try('regex', '{"pattern": "KÖLN", "replace": "x", "flags": "i"}', 't');
SELECT pg_temp.try('regex', '{"pattern": "x*", "replace": "-"}', 't', new_row => pg_temp.row('{"t": "äxxb"}'));
SELECT pg_temp.try('regex', '{"pattern": "^b", "replace": "c", "flags": "m"}', 't', new_row => pg_temp.row('{"t": "a\nb"}'));
SELECT pg_temp.try('regex', '{"pattern": "a.b", "replace": "c", "flags": "s"}', 't', new_row => pg_temp.row('{"t": "a\nb"}'));
SELECT pg_temp.try('regex', '{"pattern": "a b # comment", "replace": "c", "flags": "x"}', 't', new_row => pg_temp.row('{"t": "ab"}'));
SELECT pg_temp.try('regex', '{"pattern": "nothing", "replace": "x"}', 't');
SELECT pg_temp.try('regex', '{"pattern": "a", "replace": ""}', 't', new_row => pg_temp.row('{"t": null}'));
SELECT k, pg_temp.try('regex', '{"pattern": "[0-9]", "replace": "9"}', k) FROM unnest('{i,b,n,f,ts,tz,d,u,j,a,iv,by}'::text[]) k;
SELECT pg_temp.try('regex', '{"pattern": "a", "replace": "e"}', k, 'userish') FROM unnest('{m,p,c,ms}'::text[]) k;
-- a catastrophic pattern is an error that names the rule and the row
SELECT pg_temp.try('regex', '{"pattern": "(a+)+$", "replace": "x"}', 't', new_row => pg_temp.row(jsonb_build_object('t', repeat('a', 60) || 'b')));
SELECT pg_temp.try('regex', '{"pattern": "(?:.|\\n)+", "replace": "x"}', 't', new_row => pg_temp.row(jsonb_build_object('t', repeat('ab', 500000))));

-- comparisons: by the column's own type
SELECT c.k, c.v, (SELECT string_agg(a || ':' || CASE WHEN pg_temp.try(a, jsonb_build_object('value', c.v), c.k, c.tab) = 'dropped' THEN '-' ELSE '+' END, ' ' ORDER BY n)
					FROM unnest('{eq,ne,gt,lt,gte,lte}'::text[]) WITH ORDINALITY o (a, n))
  FROM (VALUES ('i', '42'::jsonb, 'builtin'), ('i', '"9"', 'builtin'), ('i', '100', 'builtin'), ('i', '42', 'userish'),
			   ('b', '4200000000', 'builtin'), ('b', '5', 'builtin'), ('s', '-3', 'builtin'), ('s', '0', 'builtin'),
			   ('n', '12.5', 'builtin'), ('n', '"9"', 'builtin'), ('n', '"NaN"', 'builtin'), ('f', '0.1', 'builtin'), ('f', '"1e-2"', 'builtin'), ('r', '1.5', 'builtin'),
			   ('t', '"grüße aus Köln"', 'builtin'), ('t', '"a"', 'builtin'), ('t', '"z"', 'userish'), ('vc', '"varchar"', 'builtin'), ('ch', '"ab"', 'builtin'), ('ch', '"ab   "', 'userish'), ('nm', '"zz"', 'builtin'),
			   ('ok', 'true', 'builtin'), ('ok', '"f"', 'builtin'), ('ts', '"2024-02-29 12:34:56.789"', 'builtin'), ('ts', '"2024-03-01"', 'userish'),
			   ('tz', '"2024-02-29 10:34:56Z"', 'builtin'), ('tz', '"2024-02-29 12:34:56Z"', 'builtin'), ('d', '"2024-02-29"', 'builtin'), ('d', '"1999-12-31"', 'userish'),
			   ('u', '"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"', 'builtin'), ('j', '"{\"k\": [1, \"zwei\"]}"', 'builtin'), ('a', '"{1,2,3}"', 'builtin'), ('a', '"{1,10}"', 'builtin'),
			   ('iv', '"26:00"', 'builtin'), ('by', '"\\x00"', 'builtin'),
			   ('m', '"ok"', 'userish'), ('m', '"sad"', 'userish'), ('m', '"happy"', 'userish'), ('p', '5', 'userish'), ('p', '40', 'userish'),
			   ('ms', '"{sad,ok}"', 'userish'), ('c', '"(1,two)"', 'userish')) c (k, v, tab);
SELECT k, pg_temp.try('eq', '{"value": "1"}', k, new_row => pg_temp.row(jsonb_build_object(k, null))),
	pg_temp.try('ne', '{"value": "1"}', k, new_row => pg_temp.row(jsonb_build_object(k, null))) FROM unnest('{i,t,n}'::text[]) k;

-- contains
SELECT v, pg_temp.try('contains', jsonb_build_object('value', v), 't'), pg_temp.try('contains', jsonb_build_object('value', v), 't', 'userish')
  FROM unnest('{aus,AUS,"üße","ß",grüße aus Köln,Kölnx,n}'::text[]) v;
SELECT k, pg_temp.try('contains', '{"value": "a"}', k) FROM unnest('{vc,ch,nm,i,j,ta}'::text[]) k;
SELECT pg_temp.try('contains', '{"value": "a"}', 't', new_row => pg_temp.row('{"t": null}'));

-- where and expression
SELECT e, pg_temp.try('where', jsonb_build_object('expression', e), 'id')
  FROM unnest('{i > 41,i > 42,t IS NULL,"n = 12.5 AND ok","NULL::bool","tz < ''2025-01-01''","j -> ''k'' ->> 1 = ''zwei''",3 = ANY (a),"builtin.i = 42",a[1] = 1}'::text[]) e;
SELECT e, pg_temp.try('where', jsonb_build_object('expression', e), 'id', 'userish')
  FROM unnest('{m > ''sad'',p = 5,(c).b = ''two'',''happy'' = ANY (ms),m = ''no such''}'::text[]) e;
SELECT e, pg_temp.try('expression', jsonb_build_object('expression', e), 't')
  FROM unnest('{upper(vc),"left(t, 3) || ''…''",i + 1,n * 2,"NULL","coalesce(NULL, vc)","j - ''k''",a || 4,"CASE WHEN ok THEN ''yes'' ELSE ''no'' END","md5(t)",u,tz,ok,"to_char(d, ''YYYY'')"}'::text[]) e;
SELECT pg_temp.try('expression', '{"expression": "i + 1"}', 'i'), pg_temp.try('expression', '{"expression": "coalesce(t, ''none'')"}', 't', new_row => pg_temp.row('{"t": null}'));
SELECT pg_temp.try('expression', '{"expression": "1 / (i - 42)"}', 'i');

-- operations
SELECT o, pg_temp.try('mask', '{}', 'vc', operations => ARRAY[o]),
	pg_temp.try('mask', '{}', 'vc', operation => 'UPDATE', operations => ARRAY[o]),
	pg_temp.try('mask', '{}', 'vc', operation => 'DELETE', old_row => pg_temp.row(), operations => ARRAY[o]),
	pg_temp.try('lt', '{"value": 0}', 'i', operations => ARRAY[o]),
	pg_temp.try('lt', '{"value": 0}', 'i', operation => 'UPDATE', operations => ARRAY[o]),
	pg_temp.try('lt', '{"value": 0}', 'i', operation => 'DELETE', old_row => pg_temp.row(), operations => ARRAY[o]),
	pg_temp.try('where', '{"expression": "false"}', 'i', operation => 'DELETE', old_row => pg_temp.row(), operations => ARRAY[o]),
	pg_temp.try('expression', '{"expression": "0"}', 'i', operation => 'UPDATE', operations => ARRAY[o])
  FROM unnest('{INSERT,UPDATE,DELETE}'::text[]) o;

-- transforms chain by position and id, expressions and filters see the row as it came
DELETE FROM flo.rules;
INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments, position) VALUES
	('g', 'builtin', 'vc', 'mask', '{}', 2),
	('g', 'builtin', 'vc', 'regex', '{"pattern": "^", "replace": "<"}', 1),
	('g', 'builtin', 'vc', 'regex', '{"pattern": "$", "replace": ">"}', 2),
	('g', 'builtin', 't', 'expression', '{"expression": "vc || i"}', 9),
	('g', 'builtin', 'i', 'expression', '{"expression": "-i"}', 0),
	('g', 'builtin', 'i', 'gt', '{"value": 0}', 5),
	('g', 'builtin', NULL, 'where', '{"expression": "vc = ''varchar''"}', 7);
SELECT p.new_row ->> 'vc', p.new_row ->> 't', p.new_row ->> 'i' FROM flo.preview('g', 'builtin', 'INSERT', pg_temp.row()) p;
UPDATE flo.rules SET enabled = false WHERE column_name = 'vc' AND position = 2;
SELECT p.new_row ->> 'vc' FROM flo.preview('g', 'builtin', 'INSERT', pg_temp.row()) p;

-- rules of one worker, of all, of the replicator
DELETE FROM flo.rules;
INSERT INTO flo.rules (group_name, worker_name, stage, table_name, column_name, action, arguments) VALUES
	('g', NULL, 'worker', 'builtin', 'vc', 'mask', '{}'), ('g', 'crm', 'worker', 'builtin', 't', 'mask', '{}'),
	('g', NULL, 'replicator', 'builtin', 'nm', 'mask', '{}'), ('other', NULL, 'worker', 'builtin', 'ch', 'mask', '{}'),
	('g', NULL, 'worker', 'userish', 'ch', 'mask', '{}');
SELECT p.new_row ->> 'vc', p.new_row ->> 't', p.new_row ->> 'nm', p.new_row ->> 'ch' FROM flo.preview('g', 'builtin', 'INSERT', pg_temp.row()) p;
SELECT p.new_row ->> 'vc', p.new_row ->> 't', p.new_row ->> 'nm', p.new_row ->> 'ch' FROM flo.preview('g', 'builtin', 'INSERT', pg_temp.row(), worker_name => 'crm') p;
SELECT count(*) FROM flo.preview('g', 'builtin', 'TRUNCATE', NULL);
ROLLBACK;
