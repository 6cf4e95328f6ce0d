-- UPDATE and DELETE: what is known of the old row decides what can be done
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
-- the group comes later, if at all: see unknown_names
SET client_min_messages = error;
BEGIN;
CREATE TABLE u (id int PRIMARY KEY, email text, age int, big text);
CREATE FUNCTION pg_temp.try(operation text, new_row jsonb, old_row jsonb DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	SELECT concat_ws(' ', p.operation, 'new', coalesce(p.new_row::text, '-'), 'old', coalesce(p.old_row::text, '-')) INTO result
	  FROM flo.preview('g', 'u', operation, new_row, old_row) p;
	RETURN coalesce(result, 'dropped');
EXCEPTION WHEN OTHERS THEN
	RETURN concat_ws(' | ', SQLSTATE, regexp_replace(SQLERRM, 'rule \d+', 'rule N'));
END
$$;
\pset format unaligned
\pset tuples_only on

INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments) VALUES ('g', 'u', 'age', 'gte', '{"value": 18}');
-- old row known (REPLICA IDENTITY FULL): stays in, stays out, leaves, enters
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 20, "big": "x"}', '{"id": 1, "email": "a", "age": 19, "big": "x"}');
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 10, "big": "x"}', '{"id": 1, "email": "a", "age": 9, "big": "x"}');
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 10, "big": "x"}', '{"id": 1, "email": "a", "age": 19, "big": "x"}');
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 20, "big": "x"}', '{"id": 1, "email": "a", "age": 9, "big": "x"}');
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 20, "big": "x"}', '{"id": 1, "email": "a", "age": null, "big": "x"}');
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": null, "big": "x"}', '{"id": 1, "email": "a", "age": 20, "big": "x"}');
-- entering with a value that was not sent: taken from the old row
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 20}', '{"id": 1, "email": "a", "age": 9, "big": "x"}');
-- old row unknown or only the key: the new row decides
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 20, "big": "x"}');
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 10, "big": "x"}');
SELECT pg_temp.try('UPDATE', '{"id": 2, "email": "a", "age": 10, "big": "x"}', '{"id": 1}');
SELECT pg_temp.try('UPDATE', '{"id": 2, "email": "a", "age": 20, "big": "x"}', '{"id": 1}');
-- DELETE with and without the column
SELECT pg_temp.try('DELETE', NULL, '{"id": 1}');
SELECT pg_temp.try('DELETE', NULL, '{"id": 1, "email": "a", "age": 20, "big": "x"}');
SELECT pg_temp.try('DELETE', NULL, '{"id": 1, "email": "a", "age": 10, "big": "x"}');
UPDATE flo.rules SET allow_empty_deletes = false;
SELECT pg_temp.try('DELETE', NULL, '{"id": 1}');
SELECT pg_temp.try('DELETE', NULL, '{"id": 1, "email": "a", "age": 20, "big": "x"}');
SELECT pg_temp.try('TRUNCATE', NULL);

-- a filter on the key: the old key is known
DELETE FROM flo.rules;
INSERT INTO flo.rules (group_name, table_name, action, arguments) VALUES ('g', 'u', 'where', '{"expression": "id < 100"}');
SELECT pg_temp.try('UPDATE', '{"id": 200, "email": "a", "age": 10, "big": "x"}', '{"id": 1}');
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 10, "big": "x"}', '{"id": 200}');
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 10}', '{"id": 200}');
SELECT pg_temp.try('UPDATE', '{"id": 3, "email": "a", "age": 10, "big": "x"}');
SELECT pg_temp.try('UPDATE', '{"id": 300, "email": "a", "age": 10, "big": "x"}');
SELECT pg_temp.try('DELETE', NULL, '{"id": 1}'), pg_temp.try('DELETE', NULL, '{"id": 200}');

-- two filters: it is enough to know that one of them did not let the row pass
INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments) VALUES ('g', 'u', 'age', 'gte', '{"value": 18}');
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 20, "big": "x"}', '{"id": 200}');
SELECT pg_temp.try('UPDATE', '{"id": 200, "email": "a", "age": 20, "big": "x"}', '{"id": 1}');
-- only for some operations
UPDATE flo.rules SET operations = '{INSERT}';
SELECT pg_temp.try('UPDATE', '{"id": 200, "email": "a", "age": 2, "big": "x"}', '{"id": 1}');
SELECT pg_temp.try('INSERT', '{"id": 200, "email": "a", "age": 2, "big": "x"}');

-- an unchanged value stored out of line is never NULL
DELETE FROM flo.rules;
INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments) VALUES ('g', 'u', 'big', 'contains', '{"value": "x"}');
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 10}');
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 10}', '{"id": 1, "email": "b", "age": 10, "big": "yxy"}');
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 10}', '{"id": 1, "email": "b", "age": 10, "big": "yyy"}');
DELETE FROM flo.rules;
INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments) VALUES ('g', 'u', 'big', 'mask', '{}');
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 10}');
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 10}', '{"id": 1, "email": "b", "age": 10, "big": "yxy"}');
DELETE FROM flo.rules;
INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments) VALUES ('g', 'u', 'big', 'expression', '{"expression": "upper(big)"}');
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 10}');
UPDATE flo.rules SET arguments = '{"expression": "big || age"}';
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 10}');
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 10}', '{"id": 1, "email": "b", "age": 9, "big": "yxy"}');
UPDATE flo.rules SET column_name = 'email', arguments = '{"expression": "left(big, 1)"}';
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 10}');

-- transforms of the key act on old and new key alike, whatever their operations
DELETE FROM flo.rules;
INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments, operations) VALUES ('g', 'u', 'id', 'expression', '{"expression": "id + 1000"}', '{INSERT}');
SELECT pg_temp.try('INSERT', '{"id": 1, "email": "a", "age": 10, "big": "x"}');
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 10, "big": "x"}');
SELECT pg_temp.try('UPDATE', '{"id": 2, "email": "a", "age": 10, "big": "x"}', '{"id": 1}');
SELECT pg_temp.try('DELETE', NULL, '{"id": 1}');
UPDATE flo.rules SET arguments = '{"expression": "id + age"}';
SELECT pg_temp.try('INSERT', '{"id": 1, "email": "a", "age": 10, "big": "x"}');
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "a", "age": 10, "big": "x"}');
SELECT pg_temp.try('DELETE', NULL, '{"id": 1}');
-- transforms of other columns reach the old row where it is known
DELETE FROM flo.rules;
INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments) VALUES ('g', 'u', 'email', 'mask', '{}');
SELECT pg_temp.try('UPDATE', '{"id": 1, "email": "newer", "age": 10, "big": "x"}', '{"id": 1, "email": "older", "age": 9, "big": "x"}');
SELECT pg_temp.try('DELETE', NULL, '{"id": 1, "email": "older", "age": 9, "big": "x"}');

-- what preview refuses
SELECT pg_temp.try('UPSERT', '{}'), pg_temp.try('INSERT', NULL), pg_temp.try('INSERT', '{}', '{}'), pg_temp.try('DELETE', '{}', '{}'),
	pg_temp.try('UPDATE', NULL, '{}'), pg_temp.try('TRUNCATE', '{}'), pg_temp.try('INSERT', '[]'), pg_temp.try('INSERT', '{"id": "x"}'),
	pg_temp.try('INSERT', '{"nothing": 1}'), pg_temp.try(NULL, '{}');
SELECT * FROM flo.preview('nobody', 'u', 'INSERT', '{}');
ROLLBACK;
