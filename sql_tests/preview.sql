-- flo.preview() of less than whole rows: every operation with every action, where the table is here and where it is not
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
BEGIN;
SELECT setval('flo.rules_id_seq', 1, false) \gset
\pset format unaligned
\pset tuples_only on
CREATE SCHEMA elsewhere;
CREATE TABLE here (id int PRIMARY KEY, name text, age int, note text);
CREATE TABLE whole (id int PRIMARY KEY, name text, age int, note text);
ALTER TABLE whole REPLICA IDENTITY FULL;
CREATE TABLE people (person int PRIMARY KEY, full_name text, age int, note text);
CREATE TABLE others (LIKE people INCLUDING ALL);
CREATE TABLE indexed (id int PRIMARY KEY, code int NOT NULL, name text, age int, note text);
CREATE UNIQUE INDEX indexed_code ON indexed (code);
ALTER TABLE indexed REPLICA IDENTITY USING INDEX indexed_code;
-- "there" is not in this database; "routed" neither, but where it leads; the group's members are not here
INSERT INTO flo.routes (group_name, source_table, destination_table, column_mappings) VALUES
	('p', 'routed', 'people', '{"id": "person", "name": "full_name"}'), ('p', 'there', 'gone', '{"id": "key", "name": "called", "note": null}'), ('p', 'here', 'others', '{"id": "person", "name": "full_name"}');
CREATE FUNCTION pg_temp.shapes() RETURNS TABLE (n int, operation text, new_row jsonb, old_row jsonb) LANGUAGE sql AS $$
	VALUES (1, 'INSERT', '{"id": 1}'::jsonb, NULL::jsonb), (2, 'INSERT', '{"id": 1, "name": "anna", "age": 30, "note": "x"}', NULL),
		(3, 'UPDATE', '{"id": 1}', NULL), (4, 'UPDATE', '{"id": 1, "name": "anna"}', NULL), (5, 'UPDATE', '{"id": 2}', '{"id": 1}'),
		(6, 'UPDATE', '{"id": 1, "name": "anna", "age": 30}', NULL), (7, 'UPDATE', '{"id": 1, "name": "anna", "age": 30}', '{"id": 1, "name": "hans", "age": 10, "note": "x"}'),
		(8, 'DELETE', NULL, '{"id": 1}'), (9, 'DELETE', NULL, '{"id": 1, "name": "anna", "age": 30, "note": "x"}')
$$;
CREATE FUNCTION pg_temp.try(source_table text, s record) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	hint text;
BEGIN
	SELECT concat_ws(' ', p.operation, p.destination_table, 'new', p.new_row, 'old', p.old_row) INTO result FROM flo.preview('p', source_table, s.operation, s.new_row, s.old_row) p;
	RETURN coalesce(result, 'dropped');
EXCEPTION WHEN OTHERS THEN
	RETURN 'ERROR: ' || sqlerrm;
END $$;
CREATE FUNCTION pg_temp.all_of(action text, column_name text, arguments jsonb, VARIADIC tables text[] = '{there,routed,here}') RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	DELETE FROM flo.rules;
	IF action <> '' THEN
		INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments)
		SELECT 'p', t, all_of.column_name, all_of.action, all_of.arguments FROM unnest(tables) t;
	END IF;
	RETURN QUERY SELECT format('%s %s: %s', t, s.n, pg_temp.try(t, s)) FROM unnest(tables) WITH ORDINALITY u (t, o), pg_temp.shapes() s ORDER BY o, s.n;
END $$;
SET client_min_messages = error;

-- routes that name columns which were not given
SELECT pg_temp.all_of('', NULL, NULL);
-- rules that do
SELECT pg_temp.all_of('mask', 'name', '{}');
SELECT pg_temp.all_of('gte', 'age', '{"value": 18}');
SELECT pg_temp.all_of('expression', 'note', '{"expression": "name || age"}');
SELECT pg_temp.all_of('where', NULL, '{"expression": "age > 18 AND name <> ''''"}');
SELECT pg_temp.all_of('mask', 'id', '{}');

-- what is not known is said
SET client_min_messages = notice;
DELETE FROM flo.rules;
INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments) VALUES ('p', 'there', 'email', 'mask', '{}'), ('p', 'there', 'age', 'gte', '{"value": 18}'), ('p', 'here', 'age', 'mask', '{}');
SELECT * FROM flo.preview('p', 'there', 'INSERT', '{"id": 1, "note": "x"}');
SELECT * FROM flo.preview('p', 'there', 'UPDATE', '{"id": 1, "age": 20}');
SELECT * FROM flo.preview('p', 'there', 'DELETE', NULL, '{"id": 1}');
SELECT * FROM flo.preview('p', 'there', 'TRUNCATE', NULL);
SELECT * FROM flo.preview('p', 'here', 'INSERT', '{"id": 1}');
SELECT * FROM flo.preview('p', 'here', 'UPDATE', '{"id": 1}');

-- where the source is here, its replica identity decides what an old row holds
SELECT flo.create_replicator('s', tables => '{here,whole,indexed}');
INSERT INTO flo.rules (group_name, stage, table_name, column_name, action, arguments) VALUES ('s', 'replicator', 'here', 'age', 'gte', '{"value": 18}'), ('s', 'replicator', 'whole', 'age', 'gte', '{"value": 18}'), ('s', 'replicator', 'indexed', 'age', 'gte', '{"value": 18}');
SELECT * FROM flo.preview('s', 'here', 'DELETE', NULL, '{"id": 1}');
SELECT * FROM flo.preview('s', 'here', 'DELETE', NULL, '{"id": 1, "age": 3}');
SELECT * FROM flo.preview('s', 'here', 'DELETE', NULL, '{"name": "x"}');
SELECT * FROM flo.preview('s', 'here', 'UPDATE', '{"id": 1, "age": 3}', '{"id": 1, "age": 20}');
SELECT * FROM flo.preview('s', 'indexed', 'DELETE', NULL, '{"code": 1}');
SELECT * FROM flo.preview('s', 'indexed', 'DELETE', NULL, '{"id": 1}');
SELECT * FROM flo.preview('s', 'whole', 'DELETE', NULL, '{"id": 1}');
SELECT * FROM flo.preview('s', 'whole', 'DELETE', NULL, '{"id": 1, "name": "x", "age": 3, "note": null}');
SELECT * FROM flo.preview('s', 'whole', 'UPDATE', '{"id": 1, "age": 3}');
SELECT * FROM flo.preview('s', 'whole', 'UPDATE', '{"id": 1, "age": 3, "name": "x"}', '{"id": 1, "name": "x", "age": 30, "note": "long"}');
ROLLBACK;
