-- Routes are checked when they are written
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
-- the group comes later, if at all: see unknown_names
SET client_min_messages = error;
\set ON_ERROR_ROLLBACK on
BEGIN;
INSERT INTO flo.routes (group_name, source_table, destination_table, column_mappings, operations)
VALUES ('users', 'users', 'customers', '{"id": "customer_id", "ssn": null}', '{INSERT,UPDATE}');
INSERT INTO flo.routes (group_name, worker_name, source_table, destination_table)
VALUES ('users', 'crm', 'users', 'people');
INSERT INTO flo.routes (group_name, source_table, destination_schema) VALUES ('users', '*', 'archive');
SELECT worker_name, source_schema, source_table, destination_schema, destination_table, column_mappings, operations, enabled
  FROM flo.routes ORDER BY id;

CREATE FUNCTION pg_temp.route(source_table text, destination_table text DEFAULT NULL, column_mappings jsonb DEFAULT '{}',
							  operations text[] DEFAULT '{INSERT,UPDATE,DELETE}', source_schema text DEFAULT 'public',
							  destination_schema text DEFAULT NULL, worker_name text DEFAULT NULL)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	INSERT INTO flo.routes (group_name, source_table, destination_table, column_mappings, operations,
							source_schema, destination_schema, worker_name)
	VALUES ('g', source_table, destination_table, column_mappings, operations, source_schema, destination_schema, worker_name);
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN regexp_replace(concat_ws(' | ', SQLSTATE, SQLERRM, nullif(hint, '')), '\d+ and \d+', 'N and M');
END
$$;
\pset format unaligned
\pset tuples_only on
SELECT pg_temp.route('a', 'b', '{"x": ""}');
SELECT pg_temp.route('a', 'b', '{"x": 1}');
SELECT pg_temp.route('a', 'b', '{"x": "z", "y": "z"}');
SELECT pg_temp.route('a', 'b', '[1]');
SELECT pg_temp.route('a', '');
SELECT pg_temp.route('');
SELECT pg_temp.route('*', 'b');
SELECT pg_temp.route('*', column_mappings => '{"x": "y"}');
SELECT pg_temp.route('a', operations => '{MERGE}');
SELECT pg_temp.route('a', worker_name => 'Bad Name');

-- exactly one route for a table and a worker
SELECT pg_temp.route('a', 'b');
SELECT pg_temp.route('a', 'c');
SELECT pg_temp.route('a', 'c', worker_name => 'w');

-- a shared destination, with and without TRUNCATE
SELECT pg_temp.route('d', 'b');
SELECT pg_temp.route('e', 'b', operations => '{INSERT,TRUNCATE}');
SELECT pg_temp.route('c', operations => '{TRUNCATE}');
SELECT pg_temp.route('c', operations => '{TRUNCATE}', worker_name => 'v');
SELECT pg_temp.route('*', source_schema => 's1', destination_schema => 'x', operations => '{INSERT,TRUNCATE}');
SELECT pg_temp.route('t', source_schema => 's1', destination_schema => 'x', operations => '{INSERT,TRUNCATE}');
SELECT pg_temp.route('*', source_schema => 's2', destination_schema => 'x', operations => '{INSERT}');
ROLLBACK;
