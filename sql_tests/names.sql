-- Group and worker names
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
\set ON_ERROR_ROLLBACK on
BEGIN;
CREATE TABLE t (id int PRIMARY KEY);

SELECT flo.create_replicator('a', tables => '{t}');
SELECT flo.create_replicator('abcdefghijabcdefghijabcdefghijabcdefghi0', tables => '{t}');
SELECT flo.create_worker('w', worker_name => 'x_1');
SELECT pubname FROM pg_publication ORDER BY 1;

SELECT flo.create_replicator('', tables => '{t}');
\echo :SQLSTATE
SELECT flo.create_replicator('Users', tables => '{t}');
\echo :SQLSTATE
SELECT flo.create_replicator('1users', tables => '{t}');
\echo :SQLSTATE
SELECT flo.create_replicator('users; drop', tables => '{t}');
\echo :SQLSTATE
SELECT flo.create_replicator('üsers', tables => '{t}');
\echo :SQLSTATE
SELECT flo.create_replicator('abcdefghijabcdefghijabcdefghijabcdefghi01', tables => '{t}');
\echo :SQLSTATE
SELECT flo.create_replicator('users_insert', tables => '{t}');
\echo :SQLSTATE
SELECT flo.create_replicator(NULL, tables => '{t}');
\echo :SQLSTATE
SELECT flo.create_worker('g', worker_name => 'replicator');
\echo :SQLSTATE
SELECT flo.create_worker('g', worker_name => 'My Worker');
\echo :SQLSTATE
SELECT flo.create_worker('G');
\echo :SQLSTATE
ROLLBACK;
