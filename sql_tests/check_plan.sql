-- flo.check_plan: what a replicator would meet, before there is one
-- needs wal_level = logical and pg_flo in shared_preload_libraries
-- expected/check_plan_1.out is of 18 and later, which send generated columns
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
\set plan 'status, item, detail, hint FROM flo.check_plan'
BEGIN;
CREATE SCHEMA planned;
SET search_path = planned;
CREATE TABLE keyed (id int PRIMARY KEY, "Blob" oid);
CREATE TABLE keyless (id int);
CREATE TABLE "Odd one" (id int NOT NULL, CONSTRAINT odd_key UNIQUE (id));
CREATE UNLOGGED TABLE fleeting (id int PRIMARY KEY);
CREATE TABLE made (a int, b int GENERATED ALWAYS AS (a + 1) STORED PRIMARY KEY);
CREATE TEMP TABLE passing (id int PRIMARY KEY);
SET client_min_messages = warning;
CREATE FOREIGN DATA WRAPPER planned_wrapper;
CREATE SERVER planned_server FOREIGN DATA WRAPPER planned_wrapper;
RESET client_min_messages;
CREATE FOREIGN TABLE afar (id int) SERVER planned_server;
CREATE VIEW seen AS SELECT 1 AS id;

-- a schema
SELECT :plan(schemas => '{planned}') WHERE item ~ 'of the plan' AND item !~ '^(size|large)' ORDER BY item, detail;
SELECT item, status FROM flo.check_plan(schemas => '{planned}') WHERE item !~ 'of the plan' ORDER BY item COLLATE "C";
-- what may be done about tables without a key
SELECT :plan(tables => '{keyed,keyless}', options => '{"keyless_tables": "full"}') WHERE item ~ '^replica id';
SELECT :plan(tables => '{keyed,keyless}', options => '{"keyless_tables": "skip"}') WHERE item ~ '^replica id';
SELECT :plan(tables => '{keyed,keyless}', options => '{"keyless_tables": "insert_only"}') WHERE item ~ '^replica id';
SELECT :plan(tables => '{keyed}') WHERE item ~ '^(replica id|tables|unlogged)';
-- its hint is a statement that helps
ALTER TABLE "Odd one" REPLICA IDENTITY USING INDEX odd_key;
SELECT :plan(tables => '{"\"Odd one\""}') WHERE item ~ '^replica id';
-- named tables that cannot be: each is told of
SELECT status, item, regexp_replace(detail, 'temp_\d+', 'temp_N') AS detail, hint FROM flo.check_plan(tables => '{fleeting,afar,seen,passing,keyed,pg_class,flo.groups}') WHERE item ~ '^tables';
SELECT :plan(tables => '{keyed}', except_tables => '{keyed}') WHERE item ~ '^tables';
SELECT :plan(schemas => '{pg_catalog}') WHERE item ~ '^tables';
SELECT :plan(schemas => '{nowhere}') WHERE item ~ '^tables';
-- arguments
SELECT :plan(mode => 'all') WHERE item ~ '^arguments';
SELECT :plan(copy_workers => 0) WHERE item ~ '^arguments';
SELECT :plan(options => '{"colour": "red"}') WHERE item ~ '^arguments';
SELECT :plan(group_name => 'No Name') WHERE item ~ '^arguments';
-- large objects
SELECT lo_create(0) > 0 AS created;
SELECT :plan(tables => '{keyed}') WHERE item ~ '^large';
-- processes
SELECT item, status, regexp_replace(hint, '\d+', 'N') AS hint FROM flo.check_plan(tables => '{keyed}', copy_workers => 64) WHERE item = 'worker processes';
-- what is left of an earlier group of the name
CREATE PUBLICATION pgflo_planned;
SELECT :plan(tables => '{keyed}', group_name => 'planned') WHERE item ~ '^name';
DROP PUBLICATION pgflo_planned;
SELECT flo.create_replicator('planned', tables => '{keyed}');
SELECT :plan(tables => '{keyed}', group_name => 'planned') WHERE item ~ '^name';
-- a role that may not
CREATE ROLE planner;
GRANT USAGE ON SCHEMA planned TO planner;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA flo TO planner;
SET ROLE planner;
SELECT :plan(tables => '{keyed}') WHERE item ~ '^(tables|rights)';
RESET ROLE;
ALTER ROLE planner REPLICATION;
SET ROLE planner;
SELECT :plan(tables => '{keyed}') WHERE item ~ '^(tables|rights)';
RESET ROLE;
-- nothing was changed, and whatever is wrong has a hint
SELECT count(*) FROM flo.groups WHERE group_name <> 'planned';
SELECT item, status FROM flo.check_plan(schemas => '{planned}', mode => 'copy', copy_workers => 64, group_name => 'planned')
 WHERE status <> 'ok' AND coalesce(hint, '') = '';
ROLLBACK;
