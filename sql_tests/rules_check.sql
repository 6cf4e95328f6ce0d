-- flo.check: rules and routes that cannot work or never match
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
BEGIN;
SELECT setval('flo.rules_id_seq', 2000) \gset
SELECT setval('flo.routes_id_seq', 2000) \gset
\pset format unaligned
\pset tuples_only on
CREATE TABLE users (id int PRIMARY KEY, name text, age int);
CREATE TABLE full_users (id int PRIMARY KEY, name text, age int);
ALTER TABLE full_users REPLICA IDENTITY FULL;
CREATE TABLE others (id int PRIMARY KEY);
SELECT flo.create_replicator('checked', tables => '{users,full_users}');
SELECT * FROM flo.check('checked') WHERE item ~ 'rule|route';
INSERT INTO flo.rules (group_name, stage, table_name, column_name, action, arguments) VALUES
	('checked', 'replicator', 'users', 'name', 'mask', '{}'), ('checked', 'replicator', 'users', 'id', 'gt', '{"value": 0}'), ('checked', 'replicator', 'full_users', 'age', 'gt', '{"value": 0}');
SELECT * FROM flo.check('checked') WHERE item ~ 'rule|route';
INSERT INTO flo.rules (group_name, stage, table_name, column_name, action, arguments) VALUES
	('checked', 'replicator', 'users', 'age', 'gt', '{"value": 0}'), ('checked', 'replicator', 'others', 'id', 'mask', '{}'), ('checked', 'replicator', 'typo', 'id', 'mask', '{}'),
	('checked', 'worker', 'users', 'name', 'mask', '{}');
INSERT INTO flo.routes (group_name, source_table, destination_table) VALUES ('checked', 'users', 'people');
ALTER TABLE users RENAME name TO nome;
SELECT * FROM flo.check('checked') WHERE item ~ 'rule|route';
SAVEPOINT s;
\set VERBOSITY terse
SELECT flo.start_group('checked');
ROLLBACK TO s;

-- a destination
SELECT flo.create_worker('dest');
INSERT INTO flo.rules (group_name, worker_name, table_name, column_name, action, arguments) VALUES
	('dest', NULL, 'full_users', 'age', 'gt', '{"value": 0}'), ('dest', 'crm', 'full_users', 'name', 'mask', '{}'), ('dest', NULL, 'nowhere', 'name', 'mask', '{}');
INSERT INTO flo.routes (group_name, source_table, destination_table, column_mappings) VALUES
	('dest', 'users', 'full_users', '{"name": "nothing", "id": "id", "age": null}'), ('dest', 'a', 'nowhere', '{}');
SELECT * FROM flo.check('dest') WHERE item ~ 'rule|route';
-- what workers remember of the tables they have seen
INSERT INTO flo.progress VALUES ('dest', 'postgres', 1, gen_random_uuid(), '0/1', '0/1');
INSERT INTO flo.shaped_tables VALUES ('dest', 'postgres', '', 1, 'public', 'full_users', '{id,name,age}', 0, 0, '{id}');
SELECT * FROM flo.check('dest') WHERE item ~ 'rule|route';
UPDATE flo.shaped_tables SET keys = columns;
SELECT item, detail FROM flo.check('dest') WHERE item ~ 'rule|route';
ROLLBACK;
