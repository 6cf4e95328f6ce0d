/*
 * upgrade_0.1_tail.sql
 *		From 0.1 to 0.2, behind the parts that make 0.2: what was put aside.
 *
 * 0.1 had names of roles and tables where 0.2 has the things themselves.  A role
 * that is no more is a number that no role has: nobody has its rights.
 */

CREATE FUNCTION pg_temp.flo_role(name name) RETURNS regrole LANGUAGE sql STABLE AS
	'SELECT coalesce(pg_catalog.to_regrole(pg_catalog.quote_ident(name)), 4294967295::oid::regrole)';

-- Rows were checked when they were written, and have their authors; those of groups, sources and
-- workers alone tell the launcher that there is something to start
CREATE TABLE pg_temp.flo_triggers AS
	SELECT t.tgrelid::regclass AS relation, t.tgname AS name, CASE t.tgenabled WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE' END AS enabled
	  FROM pg_catalog.pg_trigger t
	 WHERE t.tgrelid IN ('flo.rules'::regclass, 'flo.routes'::regclass, 'flo.webhook_subscriptions'::regclass) AND NOT t.tgisinternal;
ALTER TABLE flo.rules DISABLE TRIGGER USER;
ALTER TABLE flo.routes DISABLE TRIGGER USER;
ALTER TABLE flo.webhook_subscriptions DISABLE TRIGGER USER;

---------------------------------------------------------------------------
-- Configuration
---------------------------------------------------------------------------

INSERT INTO flo.groups (group_name, system_identifier, database, created_at)
SELECT group_name, system_identifier, database, created_at FROM pg_temp.flo_groups;

INSERT INTO flo.sources (group_name, every_table, mode, copy_workers, sync_schema, track_ddl, owner, started, options)
SELECT group_name, tables IS NULL AND schemas IS NULL, mode, copy_workers, sync_schema, track_ddl, pg_temp.flo_role(owner), started, options
  FROM pg_temp.flo_replicators;

INSERT INTO flo.chosen (group_name, kind, object, name)
SELECT r.group_name, c.kind,
	   coalesce(CASE c.kind WHEN 'schema' THEN (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = c.name)
				ELSE pg_catalog.to_regclass(c.name)::oid END, 0),
	   c.name
  FROM pg_temp.flo_replicators r,
	   LATERAL (SELECT 'table', t.name, t.place FROM pg_catalog.unnest(r.tables) WITH ORDINALITY t (name, place)
				UNION ALL
				SELECT 'schema', s.name, s.place FROM pg_catalog.unnest(r.schemas) WITH ORDINALITY s (name, place)
				UNION ALL
				SELECT 'except', e.name, e.place FROM pg_catalog.unnest(r.except_tables) WITH ORDINALITY e (name, place)) c (kind, name, place)
 ORDER BY r.group_name, c.kind, c.place;

-- 0.1 did not note which tables destinations have had from the first: so they all are
INSERT INTO flo.first_tables (group_name, relation, name)
SELECT DISTINCT r.group_name, c.oid, pg_catalog.format('%I.%I', n.nspname, c.relname)
  FROM pg_temp.flo_replicators r
  JOIN pg_catalog.pg_publication_tables p ON p.pubname IN ('pgflo_' || r.group_name, 'pgflo_' || r.group_name || '_insert')
  JOIN pg_catalog.pg_namespace n ON n.nspname = p.schemaname
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename;

INSERT INTO flo.workers (group_name, worker_name, sink, owner, started, options)
SELECT group_name, worker_name, sink, pg_temp.flo_role(owner), started, options FROM pg_temp.flo_workers;

INSERT INTO flo.rules (id, group_name, worker_name, stage, schema_name, table_name, column_name, action, arguments,
					   operations, allow_empty_deletes, position, enabled, author)
SELECT id, group_name, worker_name, stage, schema_name, table_name, column_name, action, arguments,
	   operations, allow_empty_deletes, position, enabled, pg_temp.flo_role(author) FROM pg_temp.flo_rules;

INSERT INTO flo.routes (id, group_name, worker_name, source_schema, source_table, destination_schema, destination_table,
						column_mappings, operations, enabled)
SELECT id, group_name, worker_name, source_schema, source_table, destination_schema, destination_table,
	   column_mappings, operations, enabled FROM pg_temp.flo_routes;

-- 0.1 did not note who wrote these: the worker's owner, or who owns the first webhook worker of the group
INSERT INTO flo.webhook_subscriptions (id, group_name, worker_name, url, schema_name, table_name, operations, enabled, author)
SELECT s.id, s.group_name, s.worker_name, s.url, s.schema_name, s.table_name, s.operations, s.enabled,
	   coalesce((SELECT pg_temp.flo_role(w.owner) FROM pg_temp.flo_workers w
				  WHERE w.group_name = s.group_name AND w.sink = 'webhook' AND (s.worker_name IS NULL OR w.worker_name = s.worker_name)
				  ORDER BY w.worker_name LIMIT 1),
				pg_temp.flo_role(NULL))
  FROM pg_temp.flo_webhook_subscriptions s;

---------------------------------------------------------------------------
-- State, of members that are there
---------------------------------------------------------------------------

INSERT INTO flo.generations (group_name, generation, start_lsn, epoch, follows, given_up, resync, copy_attempt, copied, created_at)
SELECT g.group_name, g.generation, g.start_lsn, g.epoch, pg_catalog.array_remove(ARRAY[g.follows], NULL), g.given_up, g.resync, g.copy_attempt,
	   false, g.created_at
  FROM pg_temp.flo_generations g JOIN flo.sources s USING (group_name);

INSERT INTO flo.full_identities (group_name, relation, before)
SELECT i.group_name, i.relation, i.before FROM pg_temp.flo_full_identities i JOIN flo.sources s USING (group_name);

INSERT INTO flo.copy_requests (group_name, relation, add, requested_at)
SELECT c.group_name, c.relation, c.add, c.requested_at FROM pg_temp.flo_copy_requests c JOIN flo.sources s USING (group_name)
 ORDER BY c.requested_at, c.relation;

INSERT INTO flo.progress (group_name, worker_name, system_identifier, generation, generation_start, start_lsn, lsn, skip_lsn,
						  sink_state, copying, copy_attempt, updated_at)
SELECT p.group_name, p.worker_name, p.system_identifier, p.generation, p.generation_start, p.start_lsn, p.lsn, p.skip_lsn,
	   p.sink_state, p.copying, p.copy_attempt, p.updated_at
  FROM pg_temp.flo_progress p JOIN flo.workers w USING (group_name, worker_name);

INSERT INTO flo.shaped_tables (group_name, worker_name, source, relation, schema_name, table_name, columns, newest_rule, newest_route, keys)
SELECT t.group_name, t.worker_name, t.source, t.relation, t.schema_name, t.table_name, t.columns, t.newest_rule, t.newest_route, t.keys
  FROM pg_temp.flo_shaped_tables t JOIN flo.groups g USING (group_name);

INSERT INTO flo.copied_tables (group_name, worker_name, relation, schema_name, table_name, attempt, expected, lsn, chunks, tuples,
							   tuples_done, bytes, bytes_done, started_at, finished_at)
SELECT t.group_name, t.worker_name, t.relation, t.schema_name, t.table_name, t.attempt, t.expected, t.lsn, t.chunks, t.tuples,
	   t.tuples_done, t.bytes, t.bytes_done, t.started_at, t.finished_at
  FROM pg_temp.flo_copied_tables t JOIN flo.groups g USING (group_name);

INSERT INTO flo.copied_chunks (group_name, worker_name, relation, attempt, range, ordinal, tuples)
SELECT c.group_name, c.worker_name, c.relation, c.attempt, c.range, c.ordinal, c.tuples
  FROM pg_temp.flo_copied_chunks c JOIN flo.workers w USING (group_name, worker_name);

INSERT INTO flo.copied_objects (group_name, worker_name, ordinal, generation, attempt, section, object, part_of, of_table,
								address_type, address_names, address_args, definition, command, action, done_at)
SELECT o.group_name, o.worker_name, o.ordinal, o.generation, o.attempt, o.section, o.object, o.part_of, o.of_table,
	   o.address_type, o.address_names, o.address_args, o.definition, o.command, o.action, o.done_at
  FROM pg_temp.flo_copied_objects o JOIN flo.workers w USING (group_name, worker_name);

INSERT INTO flo.dead_letters (id, group_name, worker_name, url, event_id, lsn, event, error, attempts, first_attempt_at,
							  last_attempt_at, created_at, redrive_requested_at)
SELECT l.id, l.group_name, l.worker_name, l.url, l.event_id, l.lsn, l.event, l.error, l.attempts, l.first_attempt_at,
	   l.last_attempt_at, l.created_at, l.redrive_requested_at
  FROM pg_temp.flo_dead_letters l JOIN flo.workers w USING (group_name, worker_name);

INSERT INTO flo.pending_ddl (id, group_name, worker_name, lsn, committed_at, tag, command, reason, ordinal, decision, created_at)
SELECT d.id, d.group_name, d.worker_name, d.lsn, d.committed_at, d.tag, d.command, d.reason, d.ordinal, d.decision, d.created_at
  FROM pg_temp.flo_pending_ddl d JOIN flo.workers w USING (group_name, worker_name);

INSERT INTO flo.ddl_log (id, group_name, worker_name, lsn, tag, command, outcome, detail, executed_at)
SELECT d.id, d.group_name, d.worker_name, d.lsn, d.tag, d.command, d.outcome, d.detail, d.executed_at
  FROM pg_temp.flo_ddl_log d JOIN flo.groups g USING (group_name);

-- but for the key that 0.1 signed messages in WAL with, which was the whole database's
INSERT INTO flo.secrets (group_name, worker_name, key, value)
SELECT s.group_name, s.worker_name, s.key, s.value FROM pg_temp.flo_secrets s JOIN flo.groups g USING (group_name);

SELECT pg_catalog.setval('flo.' || sequence, last_value, is_called) FROM pg_temp.flo_numbers;

DO $$
DECLARE
	trigger record;
BEGIN
	FOR trigger IN SELECT * FROM pg_temp.flo_triggers LOOP
		EXECUTE pg_catalog.format('ALTER TABLE %s %s TRIGGER %I', trigger.relation, trigger.enabled, trigger.name);
	END LOOP;
END
$$;

---------------------------------------------------------------------------
-- Privileges that somebody has granted or revoked
---------------------------------------------------------------------------

-- What is granted here is no part of the extension: pg_dump is to save it
CREATE TABLE pg_temp.flo_initial AS TABLE pg_catalog.pg_init_privs;
CREATE TABLE pg_temp.flo_initial_roles AS SELECT * FROM pg_catalog.pg_shdepend WHERE deptype = 'i';

DO $$
DECLARE
	item record;
	done text;
BEGIN
	FOR item IN
		SELECT p.*, o.object
		  FROM pg_temp.flo_privileges p
		  JOIN LATERAL (
				SELECT 'flo.' || p.name FROM pg_catalog.pg_class c
				 WHERE p.kind IN ('TABLE', 'SEQUENCE') AND c.oid = pg_catalog.to_regclass('flo.' || p.name)
				   AND (p.of_column IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid
														  AND a.attnum > 0 AND NOT a.attisdropped AND pg_catalog.quote_ident(a.attname) = p.of_column))
				UNION ALL
				SELECT f.oid::regprocedure::text FROM pg_catalog.pg_proc f
				 WHERE p.kind = 'FUNCTION' AND f.pronamespace = 'flo'::regnamespace AND pg_catalog.quote_ident(f.proname) = p.name
				UNION ALL
				SELECT p.name WHERE p.kind = 'SCHEMA') o (object) ON true
	LOOP
		done := item.privilege || coalesce(' (' || item.of_column || ')', '') || ' ON ' || item.kind || ' ' || item.object;
		IF NOT item.granted THEN
			EXECUTE 'REVOKE ' || done || ' FROM ' || item.grantee;
		ELSE
			EXECUTE 'GRANT ' || done || ' TO ' || item.grantee || CASE WHEN item.grantable THEN ' WITH GRANT OPTION' ELSE '' END;
		END IF;
	END LOOP;
END
$$;

DELETE FROM pg_catalog.pg_init_privs i
 WHERE NOT EXISTS (SELECT FROM pg_temp.flo_initial s WHERE s.objoid = i.objoid AND s.classoid = i.classoid AND s.objsubid = i.objsubid);
UPDATE pg_catalog.pg_init_privs i SET initprivs = s.initprivs
  FROM pg_temp.flo_initial s
 WHERE s.objoid = i.objoid AND s.classoid = i.classoid AND s.objsubid = i.objsubid AND s.initprivs::text <> i.initprivs::text;
DELETE FROM pg_catalog.pg_shdepend d
 WHERE d.deptype = 'i' AND d.dbid = (SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database())
   AND NOT EXISTS (SELECT FROM pg_temp.flo_initial_roles s
					WHERE s.dbid = d.dbid AND s.classid = d.classid AND s.objid = d.objid AND s.objsubid = d.objsubid
					  AND s.refclassid = d.refclassid AND s.refobjid = d.refobjid AND s.deptype = 'i');

---------------------------------------------------------------------------
-- Nothing is left behind
---------------------------------------------------------------------------

DROP FUNCTION pg_temp.flo_role(name);
DROP TABLE pg_temp.flo_groups, pg_temp.flo_replicators, pg_temp.flo_workers, pg_temp.flo_rules, pg_temp.flo_routes,
	pg_temp.flo_webhook_subscriptions, pg_temp.flo_generations, pg_temp.flo_full_identities, pg_temp.flo_progress,
	pg_temp.flo_shaped_tables, pg_temp.flo_copy_requests, pg_temp.flo_copied_tables, pg_temp.flo_copied_chunks,
	pg_temp.flo_copied_objects, pg_temp.flo_dead_letters, pg_temp.flo_pending_ddl, pg_temp.flo_ddl_log, pg_temp.flo_secrets,
	pg_temp.flo_numbers, pg_temp.flo_triggers, pg_temp.flo_privileges, pg_temp.flo_initial, pg_temp.flo_initial_roles;
