-- What CREATE EXTENSION leaves behind: comments, privileges, what pg_dump saves
-- needs wal_level = logical and pg_flo in shared_preload_libraries
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pg_flo;
RESET client_min_messages;
-- every object has a comment
SELECT pg_describe_object(d.classid, d.objid, 0)
  FROM pg_depend d
 WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
   AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_flo')
   AND d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_event_trigger'::regclass)
   AND NOT EXISTS (SELECT FROM pg_class c WHERE d.classid = 'pg_class'::regclass AND c.oid = d.objid AND c.relkind = 'S')
   AND obj_description(d.objid, d.classid::regclass::name) IS NULL
 ORDER BY 1;
SELECT attrelid::regclass, attname FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
 WHERE relnamespace = 'flo'::regnamespace AND relkind IN ('r', 'v') AND attnum > 0 AND NOT attisdropped
   AND relname <> 'tables_pkey' AND col_description(attrelid, attnum) IS NULL ORDER BY 1, 2;

-- nobody may call what he was not given, and nobody's search_path matters; flo.fence() and those of values look at none
SELECT p.oid::regprocedure FROM pg_proc p
 WHERE pronamespace = 'flo'::regnamespace
   AND EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee = 0)
 ORDER BY p.oid::regprocedure::text;
SELECT p.oid::regprocedure AS "of pg_monitor, beside their parts" FROM pg_proc p
 WHERE pronamespace = 'flo'::regnamespace AND obj_description(oid) !~ '^internal'
   AND EXISTS (SELECT FROM aclexplode(proacl) WHERE grantee = 'pg_monitor'::regrole)
 ORDER BY p.oid::regprocedure::text;
SELECT p.oid::regprocedure FROM pg_proc p
 WHERE pronamespace = 'flo'::regnamespace
   AND NOT coalesce(proconfig @> '{"search_path=pg_catalog, pg_temp"}', false);
SELECT count(*) FROM pg_proc WHERE pronamespace = 'flo'::regnamespace AND prosecdef;

-- the configuration can be read by everyone, secrets by nobody
SELECT relname, relkind FROM pg_class
 WHERE relnamespace = 'flo'::regnamespace AND relkind IN ('r', 'v')
   AND NOT has_table_privilege('pg_monitor', oid, 'SELECT');
SELECT relname FROM pg_class
 WHERE relnamespace = 'flo'::regnamespace AND relkind IN ('r', 'v')
   AND has_table_privilege('pg_monitor', oid, 'INSERT, UPDATE, DELETE, TRUNCATE');

-- saved by pg_dump
SELECT unnest(extconfig)::regclass AS saved FROM pg_extension WHERE extname = 'pg_flo' ORDER BY unnest(extconfig)::regclass::text;

-- the columns users depend on
SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'flo.status'::regclass AND attnum > 0;
SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'flo.tables'::regclass AND attnum > 0;
SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'flo.overview'::regclass AND attnum > 0;
SELECT p.proname, pg_get_function_arguments(p.oid) AS arguments, pg_get_function_result(p.oid) AS result
  FROM pg_proc p WHERE pronamespace = 'flo'::regnamespace
   AND proname IN ('create_replicator', 'create_worker', 'start_group', 'stop_group', 'alter_replicator', 'alter_worker', 'add_table',
				   'remove_table', 'drop_replicator', 'drop_worker', 'drop_group', 'wait_for', 'check', 'metrics', 'healthy', 'stream_status', 'drop_consumer', 'reset_stats')
 ORDER BY 1;
