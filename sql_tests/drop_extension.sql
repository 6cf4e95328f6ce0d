-- DROP EXTENSION with and without groups
\set SHOW_CONTEXT never
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
BEGIN;
SELECT flo.create_worker('g');
DROP EXTENSION pg_flo;
\echo :SQLSTATE
ROLLBACK;
BEGIN;
SELECT flo.create_worker('g');
DROP EXTENSION pg_flo CASCADE;
\echo :SQLSTATE
ROLLBACK;
BEGIN;
SELECT flo.create_worker('g');
DROP SCHEMA flo CASCADE;
\echo :SQLSTATE
ROLLBACK;

-- rows deleted in the same transaction count as gone
BEGIN;
SELECT flo.create_worker('g');
DELETE FROM flo.workers;
DELETE FROM flo.groups;
DROP EXTENSION pg_flo;
ROLLBACK;
SELECT count(*) FROM flo.groups;

BEGIN;
DROP EXTENSION pg_flo;
SELECT count(*) FROM pg_namespace WHERE nspname = 'flo';
SELECT count(*) FROM pg_event_trigger WHERE evtname LIKE 'pg_flo%';
CREATE EXTENSION pg_flo;
ROLLBACK;

-- somebody else's schema of that name is not used
CREATE ROLE flo_squatter;
BEGIN;
DROP EXTENSION pg_flo;
CREATE SCHEMA flo AUTHORIZATION flo_squatter;
CREATE EXTENSION pg_flo;
\echo :SQLSTATE
ROLLBACK;
DROP ROLE flo_squatter;
