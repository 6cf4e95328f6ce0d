-- Rules and routes of the original tool
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
-- the group comes later, if at all: see unknown_names
SET client_min_messages = error;
BEGIN;
\pset format unaligned
\pset tuples_only on
SELECT flo.import_rules('g', '{"tables": {
	"users": [
		{"type": "transform", "column": "email", "parameters": {"type": "mask", "mask_char": "*", "allow_empty_deletes": true}, "operations": ["INSERT", "UPDATE"]},
		{"type": "transform", "column": "phone", "parameters": {"type": "regex", "pattern": "^(\\d{3})(\\d{3})(\\d{4})$", "replace": "($1) $2-$3"}},
		{"type": "filter", "column": "age", "parameters": {"operator": "gte", "value": 18}, "operations": ["INSERT", "UPDATE", "DELETE"], "allow_empty_deletes": true}],
	"shop.orders": [
		{"type": "filter", "column": "state", "parameters": {"operator": "contains", "value": 7}, "operations": ["insert"]},
		{"type": "filter", "column": "paid", "parameters": {"operator": "eq", "value": true}, "operations": []}]}}');
SELECT flo.import_rules('g', '{"rules": [{"table": "users", "type": "filter", "column": "name", "parameters": {"operator": "ne", "value": "x"}}]}');
SELECT schema_name, table_name, column_name, action, arguments, operations, allow_empty_deletes FROM flo.rules WHERE group_name = 'g' ORDER BY id;
SELECT new_row FROM flo.preview('g', 'users', 'INSERT', '{"email": "ab", "phone": "5551234567", "age": 18, "name": "y"}');
SELECT flo.import_routes('g', '{
	"users": {"source_table": "users", "destination_table": "customers", "column_mappings": [{"source": "id", "destination": "customer_id"}], "operations": ["INSERT", "UPDATE"]},
	"shop.orders": {"destination_table": "archive.old_orders", "operations": ["INSERT"]},
	"plain": {"column_mappings": null}}');
SELECT source_schema, source_table, destination_schema, destination_table, column_mappings, operations FROM flo.routes WHERE group_name = 'g' ORDER BY source_table;
SELECT destination_schema, destination_table, new_row FROM flo.preview('g', 'users', 'INSERT', '{"id": 1, "email": "abc", "phone": "5551234567", "age": 18, "name": "y"}');

CREATE FUNCTION pg_temp.try(what text, file jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SELECT flo.import_%s(''bad'', $1)', what) USING file;
	RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM);
END
$$;
SELECT f, pg_temp.try('rules', f) FROM (VALUES (NULL::jsonb), ('[]'), ('{}'), ('{"tables": []}'), ('{"tables": {}, "more": 1}'), ('{"rules": {}}'), ('{"rules": [1]}'), ('{"rules": [{"type": "filter"}]}'),
	('{"tables": {"t": [{"type": "filter", "column": "c", "parameters": {"operator": "like", "value": 1}}]}}'),
	('{"tables": {"t": [{"type": "transform", "column": "c", "parameters": {"type": "hash"}}]}}'),
	('{"tables": {"t": [{"type": "exclude_column", "column": "c"}]}}'),
	('{"tables": {"t": [{"type": "transform", "column": "c", "parameters": {"type": "mask", "char": "*"}}]}}'),
	('{"tables": {"t": [{"type": "transform", "column": "c", "parameters": {"type": "regex", "pattern": "(", "replace": ""}}]}}'),
	('{"tables": {"t": [{"type": "filter", "column": "c", "parameters": {"operator": "eq", "value": 1}, "operations": ["UPSERT"]}]}}'),
	('{"tables": {"t": [{"typ": "filter"}]}}')) x (f);
SELECT f, pg_temp.try('routes', f) FROM (VALUES (NULL::jsonb), ('[]'), ('{"t": 1}'), ('{"t": {"to": "x"}}'), ('{"t": {"column_mappings": {"a": "b"}}}'), ('{"t": {"column_mappings": [{"source": "a"}]}}'),
	('{"t": {"operations": ["UPSERT"]}}'), ('{"t": {"column_mappings": [{"source": "a", "destination": "x"}, {"source": "b", "destination": "x"}]}}')) x (f);
SELECT count(*) FROM flo.rules WHERE group_name = 'bad';
ROLLBACK;
