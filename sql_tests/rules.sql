-- Rules, routes and subscriptions are checked when they are written
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
-- the group comes later, if at all: see unknown_names
SET client_min_messages = error;
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments)
VALUES ('users', 'users', 'email', 'mask', '{"mask_char": "*"}'),
       ('users', 'users', 'phone', 'regex', jsonb_build_object('pattern', '^(\d{3})(\d{3})(\d{4})$', 'replace', '($1) $2-$3')),
       ('users', 'users', 'age', 'gte', '{"value": 18}');
INSERT INTO flo.rules (group_name, worker_name, table_name, action, arguments, operations)
VALUES ('users', 'crm', 'users', 'where', '{"expression": "age > 18"}', '{INSERT}');
INSERT INTO flo.rules (group_name, stage, table_name, column_name, action, arguments)
VALUES ('users', 'replicator', 'users', 'name', 'expression', '{"expression": "upper(name)"}');
SELECT worker_name, stage, schema_name, table_name, column_name, action, operations, allow_empty_deletes, position, enabled
  FROM flo.rules ORDER BY id;

CREATE FUNCTION pg_temp.rule(action text, arguments jsonb, column_name text DEFAULT 'c', group_name text DEFAULT 'g',
							 worker_name text DEFAULT NULL, stage text DEFAULT 'worker', operations text[] DEFAULT '{INSERT}')
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	INSERT INTO flo.rules (action, arguments, column_name, group_name, worker_name, stage, operations, table_name)
	VALUES (action, arguments, column_name, group_name, worker_name, stage, operations, 't');
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(hint, ''));
END
$$;
\pset format unaligned
\pset tuples_only on
SELECT pg_temp.rule('maks', '{}');
SELECT pg_temp.rule('mask', '{"mask_char": "**"}');
SELECT pg_temp.rule('mask', '{"mask_char": "ü", "keep_first": 0, "keep_last": 4, "short": "keep"}');
SELECT pg_temp.rule('mask', '{"keep_first": -1}');
SELECT pg_temp.rule('mask', '{"keep_first": 1.5}');
SELECT pg_temp.rule('mask', '{"short": "hide"}');
SELECT pg_temp.rule('mask', '{"char": "*"}');
SELECT pg_temp.rule('mask', '[]');
SELECT pg_temp.rule('mask', NULL);
SELECT pg_temp.rule('mask', '{}', column_name => NULL);
SELECT pg_temp.rule('mask', '{}', column_name => '');
SELECT pg_temp.rule('regex', '{"pattern": "a"}');
SELECT pg_temp.rule('regex', '{"pattern": 1, "replace": ""}');
SELECT pg_temp.rule('regex', '{"pattern": "a", "replace": "", "flags": "g"}');
SELECT pg_temp.rule('keep', '{"value": 1}');
SELECT pg_temp.rule('null', '{}', column_name => NULL);
SELECT pg_temp.rule('constant', '{"value": null}');
SELECT pg_temp.rule('eq', '{}');
SELECT pg_temp.rule('eq', '{"value": null}');
SELECT pg_temp.rule('eq', '{"value": [1]}');
SELECT pg_temp.rule('ne', '{"value": true}');
SELECT pg_temp.rule('lte', '{"value": "2020-01-01"}');
SELECT pg_temp.rule('contains', '{"value": 1}');
SELECT pg_temp.rule('where', '{"expression": ""}', column_name => NULL);
SELECT pg_temp.rule('where', '{"expression": "true"}', column_name => NULL);
SELECT pg_temp.rule('mask', '{}', group_name => 'Bad');
SELECT pg_temp.rule('mask', '{}', group_name => NULL);
SELECT pg_temp.rule('mask', '{}', worker_name => 'replicator');
SELECT pg_temp.rule('mask', '{}', stage => 'source');
SELECT pg_temp.rule('mask', '{}', stage => 'replicator', worker_name => 'crm');
SELECT pg_temp.rule('mask', '{}', operations => '{}');
SELECT pg_temp.rule('mask', '{}', operations => '{insert}');
SELECT pg_temp.rule('mask', '{}', operations => '{TRUNCATE}');
SELECT pg_temp.rule('mask', '{}', operations => '{INSERT,NULL}');
SELECT pg_temp.rule('mask', '{}', operations => '{INSERT,INSERT}');
UPDATE flo.rules SET action = 'unmask' WHERE action = 'mask';
\echo :SQLSTATE
ROLLBACK;
