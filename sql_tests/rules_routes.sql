-- Routes: tables, schemas, columns, operations; exactly one applies
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
-- the group comes later, if at all: see unknown_names
SET client_min_messages = error;
BEGIN;
CREATE TABLE users (id int PRIMARY KEY, name text, ssn text);
CREATE SCHEMA shop;
CREATE TABLE shop.orders (id int PRIMARY KEY, user_id int);
CREATE FUNCTION pg_temp.try(table_name text, operation text, new_row jsonb, old_row jsonb DEFAULT NULL,
							schema_name text DEFAULT 'public', worker_name text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	SELECT concat_ws(' ', p.destination_schema || '.' || p.destination_table, p.operation, p.new_row::text, p.old_row::text) INTO result
	  FROM flo.preview('g', table_name, operation, new_row, old_row, schema_name, worker_name) p;
	RETURN coalesce(result, 'dropped');
EXCEPTION WHEN OTHERS THEN
	RETURN concat_ws(' | ', SQLSTATE, regexp_replace(SQLERRM, 'route \d+', 'route N'));
END
$$;
\pset format unaligned
\pset tuples_only on

INSERT INTO flo.routes (group_name, source_table, destination_table, column_mappings, operations)
VALUES ('g', 'users', 'customers', '{"id": "customer_id", "ssn": null}', '{INSERT,UPDATE,DELETE}');
SELECT pg_temp.try('users', 'INSERT', '{"id": 1, "name": "bob", "ssn": "123"}');
SELECT pg_temp.try('users', 'UPDATE', '{"id": 2, "name": "bob", "ssn": "123"}', '{"id": 1}');
SELECT pg_temp.try('users', 'UPDATE', '{"id": 2, "name": "bob", "ssn": "123"}', '{"id": 1, "name": "bob", "ssn": "1"}');
SELECT pg_temp.try('users', 'DELETE', NULL, '{"id": 1}');
SELECT pg_temp.try('users', 'TRUNCATE', NULL);
-- rules see the source's names and columns that the route leaves out
INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments)
VALUES ('g', 'users', 'ssn', 'ne', '{"value": "0"}'), ('g', 'users', 'name', 'expression', '{"expression": "name || left(ssn, 1)"}');
SELECT pg_temp.try('users', 'INSERT', '{"id": 1, "name": "bob", "ssn": "123"}'), pg_temp.try('users', 'INSERT', '{"id": 1, "name": "bob", "ssn": "0"}');
DELETE FROM flo.rules;

-- operations: of the change as it came, and as it is by then
UPDATE flo.routes SET operations = '{INSERT,UPDATE}';
SELECT pg_temp.try('users', 'DELETE', NULL, '{"id": 1}');
INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments) VALUES ('g', 'users', 'name', 'eq', '{"value": "in"}');
SELECT pg_temp.try('users', 'UPDATE', '{"id": 1, "name": "out", "ssn": "1"}', '{"id": 1, "name": "in", "ssn": "1"}');
SELECT pg_temp.try('users', 'UPDATE', '{"id": 1, "name": "in", "ssn": "1"}', '{"id": 1, "name": "out", "ssn": "1"}');
UPDATE flo.routes SET operations = '{UPDATE,DELETE}';
SELECT pg_temp.try('users', 'UPDATE', '{"id": 1, "name": "out", "ssn": "1"}', '{"id": 1, "name": "in", "ssn": "1"}');
SELECT pg_temp.try('users', 'UPDATE', '{"id": 1, "name": "in", "ssn": "1"}', '{"id": 1, "name": "out", "ssn": "1"}');
DELETE FROM flo.rules;

-- a table before the whole schema, a worker's own before that of all
INSERT INTO flo.routes (group_name, worker_name, source_schema, source_table, destination_schema, destination_table) VALUES
	('g', NULL, 'shop', '*', 'archive', NULL), ('g', 'crm', 'shop', '*', 'crm', NULL), ('g', NULL, 'shop', 'orders', NULL, 'all_orders'),
	('g', 'crm', 'shop', 'orders', NULL, 'crm_orders'), ('g', 'bi', 'public', 'users', 'bi', 'people');
SELECT w, pg_temp.try('orders', 'INSERT', '{"id": 1}', NULL, 'shop', w), pg_temp.try('others', 'INSERT', '{"id": 1}', NULL, 'shop', w),
	pg_temp.try('users', 'UPDATE', '{"id": 1}', NULL, 'public', w), pg_temp.try('free', 'INSERT', '{"id": 1}', NULL, 'public', w)
  FROM unnest('{NULL,crm,bi}'::text[]) w;
UPDATE flo.routes SET enabled = false WHERE source_table = 'orders';
SELECT w, pg_temp.try('orders', 'INSERT', '{"id": 1}', NULL, 'shop', w), pg_temp.try('orders', 'TRUNCATE', NULL, NULL, 'shop', w) FROM unnest('{NULL,crm,bi}'::text[]) w;

-- the table is not here: its columns' types are those of the destination, or what JSON says
DELETE FROM flo.routes;
CREATE TABLE people (person int PRIMARY KEY, born date);
INSERT INTO flo.routes (group_name, source_table, destination_table, column_mappings) VALUES ('g', 'persons', 'people', '{"id": "person"}');
INSERT INTO flo.rules (group_name, table_name, column_name, action, arguments) VALUES ('g', 'persons', 'born', 'lt', '{"value": "2000-01-01"}'), ('g', 'persons', 'x', 'gt', '{"value": 9}');
SELECT pg_temp.try('persons', 'INSERT', '{"id": 1, "born": "1999-12-31", "x": 10}'), pg_temp.try('persons', 'INSERT', '{"id": 1, "born": "20000101", "x": 10}');

-- several sources into one table
DELETE FROM flo.rules;
DELETE FROM flo.routes;
INSERT INTO flo.routes (group_name, source_schema, source_table, destination_schema, destination_table, operations) VALUES
	('g', 'a', 't', 'public', 'one', '{INSERT,UPDATE,DELETE}'), ('g', 'b', 't', 'public', 'one', '{INSERT,UPDATE,DELETE}');
SELECT pg_temp.try('t', 'INSERT', '{"id": 1}', NULL, s), pg_temp.try('t', 'TRUNCATE', NULL, NULL, s) FROM unnest('{a,b}'::text[]) s;

-- routes that do not fit
DELETE FROM flo.routes;
INSERT INTO flo.routes (group_name, source_table, column_mappings) VALUES ('g', 'users', '{"nothing": "x"}');
SELECT pg_temp.try('users', 'INSERT', '{"id": 1}');
UPDATE flo.routes SET column_mappings = '{"id": null}';
SELECT pg_temp.try('users', 'INSERT', '{"id": 1}');
UPDATE flo.routes SET column_mappings = '{"ssn": "name"}';
SELECT pg_temp.try('users', 'INSERT', '{"id": 1}');
UPDATE flo.routes SET column_mappings = '{"ssn": "name", "name": "ssn"}';
SELECT pg_temp.try('users', 'INSERT', '{"id": 1, "name": "n", "ssn": "s"}');
ROLLBACK;
