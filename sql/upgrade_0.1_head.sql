/*
 * upgrade_0.1_head.sql
 *		From 0.1 to 0.2, before the parts that make 0.2.
 *
 * What 0.1 knows is put aside, all of 0.1 is dropped, the same parts as in a new
 * installation make 0.2, and upgrade_0.1_tail.sql gives it what was put aside: so
 * nothing can differ from a new installation but the rows, and privileges that
 * somebody has granted or revoked.
 *
 * Nothing of pg_flo runs meanwhile: a library of 0.2 leaves a database alone
 * whose extension is 0.1, and one of 0.1 is refused here.
 */

-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION pg_flo UPDATE" to load this file. \quit

DO $$
BEGIN
	-- a function of 0.2 alone
	CREATE FUNCTION flo.of_this_library() RETURNS bool AS 'MODULE_PATHNAME', 'flo_of_this_library_v2' LANGUAGE C;
	DROP FUNCTION flo.of_this_library();
EXCEPTION WHEN undefined_function THEN
	RAISE EXCEPTION 'this server still runs the library of an earlier version of pg_flo'
		USING ERRCODE = 'object_not_in_prerequisite_state',
			  HINT = 'Restart the server, then run ALTER EXTENSION pg_flo UPDATE again.';
END
$$;

-- nothing of what follows is any group's business
DROP EVENT TRIGGER pg_flo_track_ddl, pg_flo_new_tables, pg_flo_guard_drop;

---------------------------------------------------------------------------
-- What is put aside
---------------------------------------------------------------------------

CREATE TABLE pg_temp.flo_groups AS TABLE flo.groups;
CREATE TABLE pg_temp.flo_replicators AS TABLE flo.replicators;
CREATE TABLE pg_temp.flo_workers AS TABLE flo.workers;
CREATE TABLE pg_temp.flo_rules AS TABLE flo.rules;
CREATE TABLE pg_temp.flo_routes AS TABLE flo.routes;
CREATE TABLE pg_temp.flo_webhook_subscriptions AS TABLE flo.webhook_subscriptions;
CREATE TABLE pg_temp.flo_generations AS TABLE flo.generations;
CREATE TABLE pg_temp.flo_full_identities AS TABLE flo.full_identities;
CREATE TABLE pg_temp.flo_progress AS TABLE flo.progress;
CREATE TABLE pg_temp.flo_shaped_tables AS TABLE flo.shaped_tables;
CREATE TABLE pg_temp.flo_copy_requests AS TABLE flo.copy_requests;
CREATE TABLE pg_temp.flo_copied_tables AS TABLE flo.copied_tables;
CREATE TABLE pg_temp.flo_copied_chunks AS TABLE flo.copied_chunks;
CREATE TABLE pg_temp.flo_copied_objects AS TABLE flo.copied_objects;
CREATE TABLE pg_temp.flo_dead_letters AS TABLE flo.dead_letters;
CREATE TABLE pg_temp.flo_pending_ddl AS TABLE flo.pending_ddl;
CREATE TABLE pg_temp.flo_ddl_log AS TABLE flo.ddl_log;
CREATE TABLE pg_temp.flo_secrets AS TABLE flo.secrets;

-- where numbering goes on
CREATE TABLE pg_temp.flo_numbers AS
	SELECT 'rules_id_seq' AS sequence, last_value, is_called FROM flo.rules_id_seq
	UNION ALL SELECT 'routes_id_seq', last_value, is_called FROM flo.routes_id_seq
	UNION ALL SELECT 'webhook_subscriptions_id_seq', last_value, is_called FROM flo.webhook_subscriptions_id_seq
	UNION ALL SELECT 'dead_letters_id_seq', last_value, is_called FROM flo.dead_letters_id_seq
	UNION ALL SELECT 'pending_ddl_id_seq', last_value, is_called FROM flo.pending_ddl_id_seq
	UNION ALL SELECT 'ddl_log_id_seq', last_value, is_called FROM flo.ddl_log_id_seq;

-- What somebody has granted, and what somebody has revoked, since 0.1 was installed
CREATE TABLE pg_temp.flo_privileges AS
	WITH object (kind, name, of_column, now, initial) AS (
		SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, pg_catalog.quote_ident(c.relname), NULL::text,
			   coalesce(c.relacl, pg_catalog.acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner)),
			   coalesce(i.initprivs, pg_catalog.acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))
		  FROM pg_catalog.pg_class c
		  LEFT JOIN pg_catalog.pg_init_privs i ON i.objoid = c.oid AND i.classoid = 'pg_catalog.pg_class'::regclass AND i.objsubid = 0
		 WHERE c.relnamespace = 'flo'::regnamespace AND c.relkind IN ('r', 'v', 'S')
		UNION ALL
		SELECT 'TABLE', pg_catalog.quote_ident(c.relname), pg_catalog.quote_ident(a.attname), a.attacl, NULL
		  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attacl IS NOT NULL
		 WHERE c.relnamespace = 'flo'::regnamespace
		UNION ALL
		SELECT 'FUNCTION', pg_catalog.quote_ident(p.proname), NULL,
			   coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner)), coalesce(i.initprivs, pg_catalog.acldefault('f', p.proowner))
		  FROM pg_catalog.pg_proc p
		  LEFT JOIN pg_catalog.pg_init_privs i ON i.objoid = p.oid AND i.classoid = 'pg_catalog.pg_proc'::regclass
		 WHERE p.pronamespace = 'flo'::regnamespace
		UNION ALL
		SELECT 'SCHEMA', 'flo', NULL, coalesce(n.nspacl, pg_catalog.acldefault('n', n.nspowner)),
			   coalesce(i.initprivs, pg_catalog.acldefault('n', n.nspowner))
		  FROM pg_catalog.pg_namespace n
		  LEFT JOIN pg_catalog.pg_init_privs i ON i.objoid = n.oid AND i.classoid = 'pg_catalog.pg_namespace'::regclass
		 WHERE n.nspname = 'flo'),
	item AS (
		SELECT o.kind, o.name, o.of_column, true AS is_now, a.grantee, a.privilege_type, a.is_grantable
		  FROM object o, LATERAL pg_catalog.aclexplode(o.now) a
		UNION ALL
		SELECT o.kind, o.name, o.of_column, false, a.grantee, a.privilege_type, a.is_grantable
		  FROM object o, LATERAL pg_catalog.aclexplode(o.initial) a)
	SELECT i.kind, i.name, i.of_column, CASE i.grantee WHEN 0 THEN 'PUBLIC' ELSE i.grantee::regrole::text END AS grantee,
		   i.privilege_type AS privilege, pg_catalog.bool_or(i.is_grantable) FILTER (WHERE i.is_now) AS grantable,
		   pg_catalog.bool_or(i.is_now) AS granted
	  FROM item i
	 GROUP BY 1, 2, 3, 4, 5
	HAVING pg_catalog.bool_or(i.is_now) <> pg_catalog.bool_or(NOT i.is_now)
		OR pg_catalog.bool_or(i.is_grantable) FILTER (WHERE i.is_now) <> pg_catalog.bool_or(i.is_grantable) FILTER (WHERE NOT i.is_now);

---------------------------------------------------------------------------
-- 0.1 goes
---------------------------------------------------------------------------

-- as long as there are groups, the library does not let them be dropped
TRUNCATE flo.groups, flo.replicators, flo.workers;

-- One thing needs another; whatever somebody else has built on it stays, and is told of
DO $$
DECLARE
	part record;
	problem text;
	rest text;
	progress bool := true;
BEGIN
	WHILE progress LOOP
		progress := false;
		problem := NULL;
		FOR part IN
			SELECT i.type, i.identity
			  FROM pg_catalog.pg_depend d, LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, d.objsubid) i
			 WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e'
			   AND d.refobjid = (SELECT e.oid FROM pg_catalog.pg_extension e WHERE e.extname = 'pg_flo')
			   AND i.schema = 'flo' AND i.type IN ('table', 'view', 'function', 'sequence')
			 ORDER BY i.type = 'sequence', i.identity
		LOOP
			BEGIN
				EXECUTE pg_catalog.format('DROP %s IF EXISTS %s', part.type, part.identity);
				progress := true;
			EXCEPTION WHEN dependent_objects_still_exist THEN
				GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, rest = PG_EXCEPTION_DETAIL;
			END;
		END LOOP;
	END LOOP;
	IF problem IS NOT NULL THEN
		RAISE EXCEPTION '%', problem
			USING ERRCODE = 'dependent_objects_still_exist', DETAIL = rest,
				  HINT = 'Drop what is built on pg_flo''s views, tables or functions, update the extension, then make it again.';
	END IF;
END
$$;

-- 0.1 was in the schema flo; to 0.2 it belongs
UPDATE pg_catalog.pg_extension SET extnamespace = 'pg_catalog'::regnamespace, extconfig = NULL, extcondition = NULL
 WHERE extname = 'pg_flo';
DELETE FROM pg_catalog.pg_depend
 WHERE classid = 'pg_catalog.pg_extension'::regclass AND refclassid = 'pg_catalog.pg_namespace'::regclass
   AND objid = (SELECT e.oid FROM pg_catalog.pg_extension e WHERE e.extname = 'pg_flo');
DO $$
DECLARE
	item record;
BEGIN
	FOR item IN SELECT * FROM pg_temp.flo_privileges WHERE kind = 'SCHEMA' AND granted LOOP
		EXECUTE pg_catalog.format('REVOKE %s ON SCHEMA flo FROM %s', item.privilege, item.grantee);
	END LOOP;
END
$$;
ALTER EXTENSION pg_flo ADD SCHEMA flo;
