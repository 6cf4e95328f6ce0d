-- Rules, routes, subscriptions and options that name what is not there: a warning, and a row of flo.check()
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
BEGIN;
SELECT setval('flo.rules_id_seq', 3000) \gset
SELECT setval('flo.routes_id_seq', 3000) \gset
SELECT setval('flo.webhook_subscriptions_id_seq', 3000) \gset
\pset format unaligned
\pset tuples_only on

-- no group of that name
INSERT INTO flo.rules (group_name, table_name, column_name, action) VALUES ('usres', 'users', 'name', 'mask');
CREATE TABLE users (id int PRIMARY KEY, name text);
CREATE TABLE parted (id int PRIMARY KEY) PARTITION BY LIST (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
SELECT flo.create_replicator('users', tables => '{users,parted}');
SELECT flo.create_replicator('orders', tables => '{users}');
UPDATE flo.rules SET position = 1;
INSERT INTO flo.rules (group_name, table_name, column_name, action) SELECT 'elsewhere', 't' || i, 'name', 'mask' FROM generate_series(1, 9) i;
INSERT INTO flo.routes (group_name, source_table, destination_table) VALUES ('user', 'users', 'u');
INSERT INTO flo.webhook_subscriptions (group_name, url) VALUES ('ordrs', 'http://127.0.0.1/');
-- one that is off does nothing anyway
INSERT INTO flo.rules (group_name, table_name, column_name, action, enabled) VALUES ('usres', 'users', 'name', 'mask', false);
UPDATE flo.rules SET enabled = true WHERE NOT enabled;
SELECT flo.import_rules('usrs', '{"tables": {"users": [{"type": "filter", "column": "id", "parameters": {"operator": "gt", "value": 1}}]}}');
SELECT item, detail, hint FROM flo.check() WHERE item ~ '^(rule|route|subscription|worker) .* of group' ORDER BY item;

-- at the source: what the group publishes
INSERT INTO flo.rules (group_name, stage, table_name, column_name, action) VALUES
	('users', 'replicator', 'users', 'name', 'mask'), ('users', 'replicator', 'uesrs', 'name', 'mask'), ('users', 'replicator', 'parted_1', 'id', 'mask'), ('users', 'replicator', 'parted', 'id', 'mask');
INSERT INTO flo.rules (group_name, table_name, column_name, action) VALUES ('users', 'users', 'name', 'mask');
INSERT INTO flo.routes (group_name, source_table, destination_table) VALUES ('users', 'users', 'u');
INSERT INTO flo.webhook_subscriptions (group_name, url) VALUES ('users', 'http://127.0.0.1/');

-- at a destination: nothing is known before it has begun
DELETE FROM flo.rules;
DELETE FROM flo.routes;
DELETE FROM flo.webhook_subscriptions;
SELECT flo.create_worker('dest');
SELECT flo.create_worker('dest', sink => 'webhook', worker_name => 'hook', options => '{"url": "http://127.0.0.1/", "tables": ["public.usrs"]}');
CREATE FUNCTION pg_temp.write() RETURNS void LANGUAGE sql AS $$
	DELETE FROM flo.rules;
	DELETE FROM flo.routes;
	DELETE FROM flo.webhook_subscriptions;
	INSERT INTO flo.rules (group_name, table_name, column_name, action) VALUES ('dest', 'customers', 'name', 'mask'), ('dest', 'custmers', 'name', 'mask'), ('dest', 'customers', 'nmae', 'mask'), ('dest', 'users', 'name', 'mask');
	INSERT INTO flo.routes (group_name, source_schema, source_table, destination_schema, destination_table, column_mappings) VALUES
		('dest', 'public', 'customers', NULL, 'users', '{"name": "name", "id": null, "emial": "x"}'), ('dest', 'public', 'order', NULL, 'parted', '{}'),
		('dest', 'slaes', '*', 'slaes', NULL, '{}'), ('dest', 'public', 'orders', NULL, 'usesr', '{}');
	INSERT INTO flo.webhook_subscriptions (group_name, worker_name, url, schema_name, table_name) VALUES
		('dest', NULL, 'http://127.0.0.1/', NULL, NULL), ('dest', 'hook', 'http://127.0.0.1/', 'public', 'custmers'), ('dest', 'hook', 'http://127.0.0.1/', 'public', 'customers');
$$;
-- but where a route leads
SELECT pg_temp.write();
-- once it follows a source whose copy told of its tables
INSERT INTO flo.progress SELECT 'dest', w, 1, gen_random_uuid(), '0/1', '0/1' FROM unnest('{postgres,hook}'::text[]) w;
INSERT INTO flo.planned_tables VALUES ('dest', 'postgres', 1, 'public', 'customers', 1, 1, 1), ('dest', 'postgres', 2, 'public', 'orders', 1, 1, 1), ('dest', 'postgres', 3, 'sales', 'regions', 1, 1, 1);
INSERT INTO flo.shaped_tables VALUES ('dest', 'postgres', '', 1, 'public', 'customers', '{id,name,email}', 0, 0, '{id}');
SELECT pg_temp.write();
SELECT flo.alter_worker('dest', 'hook', '{"tables": ["public.customers", "public.odrers"]}');
SELECT flo.alter_worker('dest', 'hook', '{"timeout": "3 s"}');
INSERT INTO flo.rules (group_name, worker_name, table_name, column_name, action) VALUES ('dest', 'hok', 'customers', 'name', 'mask');
INSERT INTO flo.webhook_subscriptions (group_name, worker_name, url) VALUES ('dest', 'postgres', 'http://127.0.0.1/');
INSERT INTO flo.rules (group_name, stage, table_name, column_name, action) VALUES ('dest', 'replicator', 'customers', 'name', 'mask');
SELECT item, status, detail, hint FROM flo.check('dest') WHERE item ~ '^(rule|route|subscription|worker) .* of group' AND status <> 'ok' ORDER BY item, detail;

-- a copy of all tables is not the only way that they come: one that is here is not doubted
DELETE FROM flo.planned_tables;
INSERT INTO flo.rules (group_name, table_name, column_name, action) VALUES ('dest', 'users', 'name', 'mask'), ('dest', 'custmers', 'name', 'mask');
INSERT INTO flo.webhook_subscriptions (group_name, worker_name, url, schema_name, table_name) VALUES ('dest', 'hook', 'http://127.0.0.1/', 'public', 'custmers');

-- who may write may be warned
CREATE ROLE flo_writer;
GRANT INSERT ON flo.rules, flo.routes TO flo_writer;
GRANT USAGE ON SEQUENCE flo.rules_id_seq, flo.routes_id_seq TO flo_writer;
SET ROLE flo_writer;
INSERT INTO flo.rules (group_name, table_name, column_name, action) VALUES ('dset', 'users', 'name', 'mask');
INSERT INTO flo.routes (group_name, source_table, destination_table) VALUES ('dset', 'users', 'x');
RESET ROLE;

-- what was restored from elsewhere is not looked at
UPDATE flo.groups SET database = 1 WHERE group_name = 'dest';
SELECT pg_temp.write();
ROLLBACK;
