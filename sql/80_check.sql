/*
 * 80_check.sql
 *		flo.check(): what is ok, what is not, and what to do about it.
 */

-- What check() looks at in tables whose rows are their owners': names and
-- choices, no row, value or URL, for them and for members of pg_monitor.

CREATE VIEW flo.checked_workers AS
	SELECT w.group_name, w.worker_name, w.sink, w.owner::oid AS owner,
		   coalesce(w.options->>'ddl', 'apply') AS ddl,
		   coalesce(w.options->>'ddl_trust', 'object') AS ddl_trust,
		   coalesce((w.options->>'run_as_owner')::bool, false) AS run_as_owner,
		   coalesce((w.options->>'fire_triggers')::bool, false) AS fire_triggers,
		   coalesce(w.options->>'copy_into', 'empty') AS copy_into,
		   coalesce(w.options->>'start', 'copy') AS start,
		   w.options->'tables' AS tables
	  FROM flo.workers w
	 WHERE pg_catalog.pg_has_role('pg_monitor', 'USAGE')
		OR EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE o.oid = w.owner AND pg_catalog.pg_has_role(o.oid, 'USAGE'));
COMMENT ON VIEW flo.checked_workers IS 'internal: options of workers that flo.check() looks at';
COMMENT ON COLUMN flo.checked_workers.group_name IS 'group';
COMMENT ON COLUMN flo.checked_workers.worker_name IS 'worker';
COMMENT ON COLUMN flo.checked_workers.sink IS 'where it writes';
COMMENT ON COLUMN flo.checked_workers.owner IS 'OID of its owner';
COMMENT ON COLUMN flo.checked_workers.ddl IS 'option';
COMMENT ON COLUMN flo.checked_workers.ddl_trust IS 'option';
COMMENT ON COLUMN flo.checked_workers.run_as_owner IS 'option';
COMMENT ON COLUMN flo.checked_workers.fire_triggers IS 'option';
COMMENT ON COLUMN flo.checked_workers.copy_into IS 'option';
COMMENT ON COLUMN flo.checked_workers.start IS 'option';
COMMENT ON COLUMN flo.checked_workers.tables IS 'option';

CREATE VIEW flo.checked_rules AS
	SELECT r.id, r.group_name, r.worker_name, r.stage, r.schema_name, r.table_name, r.column_name, r.action,
		   r.operations, r.enabled, r.author::oid AS author,
		   EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE o.oid = r.author AND pg_catalog.pg_has_role(o.oid, 'USAGE'))
		   OR coalesce(flo.owns_member(r.group_name), false) AS is_own
	  FROM flo.rules r
	 WHERE pg_catalog.pg_has_role('pg_monitor', 'USAGE') OR flo.owns_member(r.group_name)
		OR EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE o.oid = r.author AND pg_catalog.pg_has_role(o.oid, 'USAGE'));
COMMENT ON VIEW flo.checked_rules IS 'internal: what flo.check() looks at of rules, without their arguments';
COMMENT ON COLUMN flo.checked_rules.id IS 'number of the rule';
COMMENT ON COLUMN flo.checked_rules.group_name IS 'group';
COMMENT ON COLUMN flo.checked_rules.worker_name IS 'worker it holds for';
COMMENT ON COLUMN flo.checked_rules.stage IS 'worker or replicator';
COMMENT ON COLUMN flo.checked_rules.schema_name IS 'schema of the table at the source';
COMMENT ON COLUMN flo.checked_rules.table_name IS 'name of the table at the source';
COMMENT ON COLUMN flo.checked_rules.column_name IS 'name of the column at the source';
COMMENT ON COLUMN flo.checked_rules.action IS 'action';
COMMENT ON COLUMN flo.checked_rules.operations IS 'operations it holds for';
COMMENT ON COLUMN flo.checked_rules.enabled IS 'whether it is in force';
COMMENT ON COLUMN flo.checked_rules.author IS 'OID of its author';
COMMENT ON COLUMN flo.checked_rules.is_own IS 'whether the current user may see its arguments';

CREATE VIEW flo.checked_subscriptions AS
	SELECT w.id, w.group_name, w.author::oid AS author
	  FROM flo.webhook_subscriptions w
	 WHERE pg_catalog.pg_has_role('pg_monitor', 'USAGE') OR flo.owns_member(w.group_name)
		OR EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE o.oid = w.author AND pg_catalog.pg_has_role(o.oid, 'USAGE'));
COMMENT ON VIEW flo.checked_subscriptions IS 'internal: authors of webhook subscriptions, for flo.check()';
COMMENT ON COLUMN flo.checked_subscriptions.id IS 'number of the subscription';
COMMENT ON COLUMN flo.checked_subscriptions.group_name IS 'group';
COMMENT ON COLUMN flo.checked_subscriptions.author IS 'OID of its author';

CREATE VIEW flo.checked_letters AS
	SELECT d.group_name, d.worker_name, count(*) AS letters, min(d.created_at) AS oldest
	  FROM flo.dead_letters d GROUP BY 1, 2;
COMMENT ON VIEW flo.checked_letters IS 'internal: how many dead letters there are, for flo.check()';
COMMENT ON COLUMN flo.checked_letters.group_name IS 'group';
COMMENT ON COLUMN flo.checked_letters.worker_name IS 'worker';
COMMENT ON COLUMN flo.checked_letters.letters IS 'number of letters';
COMMENT ON COLUMN flo.checked_letters.oldest IS 'when the first of them was set aside';

-- unlike to_regclass() it needs no right to the schema
-- in plpgsql, which keeps its plans: it is asked for each of thousands of tables
CREATE FUNCTION flo.table_called(schema_name text, table_name text) RETURNS oid
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RETURN (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			 WHERE n.nspname = table_called.schema_name AND c.relname = table_called.table_name
			   AND c.relkind IN ('r', 'p', 'v', 'm', 'f'));
END
$$;
COMMENT ON FUNCTION flo.table_called(text, text) IS 'internal: OID of a table, or of what else has rows, by its name; NULL when there is none';

CREATE FUNCTION flo.table_called(name text) RETURNS oid
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	names text[] := parse_ident(table_called.name);
BEGIN
	RETURN flo.table_called(names[1], names[2]);
END
$$;
COMMENT ON FUNCTION flo.table_called(text) IS 'internal: the same by its name as flo.tables shows it';

CREATE FUNCTION flo.parts_of(relation oid) RETURNS SETOF oid
	LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE part (relation) AS (
		SELECT parts_of.relation
		UNION
		SELECT c.oid FROM part p JOIN pg_inherits i ON i.inhparent = p.relation JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition)
	SELECT p.relation FROM part p
$$;
COMMENT ON FUNCTION flo.parts_of(oid) IS 'internal: a table and its partitions; unlike pg_partition_tree() it locks none, nor waits for who does';

-- lists in rows of check(), and statements in their hints, are cut at this
CREATE FUNCTION flo.short_list(things text[], separator text DEFAULT ', ') RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT array_to_string(things[1:20], separator)
		   || CASE WHEN cardinality(things) <= 20 THEN ''
				   WHEN separator = ', ' THEN format(' and %s more', cardinality(things) - 20)
				   ELSE format(' -- and %s more', cardinality(things) - 20) END
$$;
COMMENT ON FUNCTION flo.short_list(text[], text) IS 'internal: the first twenty of a list, and how many more there are';

CREATE FUNCTION flo.covered_tables(
	group_name text,
	OUT relation regclass,
	OUT has_identity bool,
	OUT published bool
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_covered_tables_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.covered_tables(text) IS
'internal: the tables that the choice in flo.replicators covers now, partitions through their root';

CREATE FUNCTION flo.check_broker(group_name text, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_check_broker_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.check_broker(text) IS 'internal: the part of flo.check() that asks NATS; rows of status tracked, published and tables are what it finds there for other parts';

CREATE FUNCTION flo.check_server(members int, replicators int, workers int, helpers int DEFAULT 0,
								 OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	preloaded bool := flo.is_preloaded();
	own_limit int := CASE WHEN flo.is_preloaded() THEN current_setting('pg_flo.max_workers')::int END;
	processes int := current_setting('max_worker_processes')::int;
	slots int := current_setting('max_replication_slots')::int;
	used_slots int := (SELECT count(*) FROM pg_replication_slots);
	own_slots int;
	-- a setting of its own from version 18 on
	origins int := coalesce(current_setting('max_active_replication_origins', true)::int, slots);
	used_origins int := (SELECT count(*) FROM pg_replication_origin);
	own_origins int;
	others int := (SELECT count(*) FROM pg_stat_activity a
					WHERE a.backend_type IN ('logical replication launcher', 'logical replication worker',
											 'logical replication apply worker', 'logical replication tablesync worker',
											 'logical replication parallel worker', 'parallel worker')
					   OR a.backend_type NOT IN ('client backend', 'autovacuum launcher', 'autovacuum worker',
												 'background writer', 'checkpointer', 'walwriter', 'walsender',
												 'walreceiver', 'walsummarizer', 'startup', 'archiver', 'logger',
												 'io worker', 'slotsync worker', 'standalone backend')
						  AND a.backend_type NOT LIKE 'pg_flo%');
	own_database text := (SELECT d.oid::text FROM pg_database d WHERE d.datname = current_database());
BEGIN
	item := 'shared_preload_libraries';
	hint := NULL;
	IF preloaded THEN
		status := 'ok';
		detail := 'pg_flo is loaded at server start';
	ELSE
		status := 'error';
		detail := 'pg_flo is not loaded at server start';
		hint := format('ALTER SYSTEM SET shared_preload_libraries = %s; -- and restart the server',
					   (SELECT string_agg(quote_literal(l.name), ', ') FROM (
							SELECT btrim(x, ' "') AS name FROM regexp_split_to_table(current_setting('shared_preload_libraries'), ',') x WHERE btrim(x) <> ''
							UNION ALL SELECT 'pg_flo') l));
	END IF;
	RETURN NEXT;

	item := 'wal_level';
	hint := NULL;
	detail := 'wal_level is ' || current_setting('wal_level');
	IF current_setting('wal_level') = 'logical' THEN
		status := 'ok';
	ELSIF replicators > 0 THEN
		status := 'error';
		hint := 'ALTER SYSTEM SET wal_level = ''logical''; -- and restart the server';
	ELSIF members = 0 THEN
		status := 'warning';
		detail := detail || ', enough for a destination only';
		hint := 'ALTER SYSTEM SET wal_level = ''logical''; -- and restart the server, if it is to have a replicator';
	ELSE
		status := 'ok';
		detail := detail || ', enough for a destination';
	END IF;
	RETURN NEXT;

	item := 'pg_flo.enabled';
	hint := NULL;
	detail := 'pg_flo.enabled is ' || coalesce(current_setting('pg_flo.enabled', true), 'unknown');
	status := 'ok';
	IF current_setting('pg_flo.enabled', true) = 'off' THEN
		status := 'warning';
		hint := 'ALTER SYSTEM SET pg_flo.enabled = on; SELECT pg_reload_conf(); -- nothing runs until it is on';
	END IF;
	RETURN NEXT;

	own_slots := (SELECT count(*) FROM pg_replication_slots s
				   WHERE s.slot_name IN (SELECT 'pgflo_' || own_database || '_' || r.group_name FROM flo.sources r));
	item := 'replication slots';
	status := 'ok';
	hint := NULL;
	detail := format('%s of %s are in use, pg_flo uses %s and needs %s here', used_slots, slots, own_slots, replicators);
	IF slots - used_slots < replicators - own_slots THEN
		status := 'error';
		hint := format('ALTER SYSTEM SET max_replication_slots = %s; -- and restart the server, or free a slot', used_slots + replicators - own_slots);
	END IF;
	RETURN NEXT;

	own_origins := (SELECT count(*) FROM pg_replication_origin o
					 WHERE o.roname IN (SELECT 'pgflo_' || own_database || '_' || m.group_name || '/' || m.member FROM flo.members m));
	item := 'replication origins';
	status := 'ok';
	hint := NULL;
	detail := format('%s of %s are in use, pg_flo uses %s and needs %s here', used_origins, origins, own_origins, workers);
	IF origins - used_origins < workers - own_origins THEN
		status := 'error';
		hint := format('ALTER SYSTEM SET %s = %s; -- and restart the server, or remove unused origins',
					   CASE WHEN current_setting('max_active_replication_origins', true) IS NULL
							THEN 'max_replication_slots' ELSE 'max_active_replication_origins' END, used_origins + workers - own_origins);
	END IF;
	RETURN NEXT;

	-- beside the members: the launcher and the process that reads a database's configuration
	item := 'worker processes';
	status := 'ok';
	hint := NULL;
	detail := format('max_worker_processes is %s (%s used by others), pg_flo.max_workers is %s, this database has %s members',
					 processes, others, CASE WHEN preloaded THEN own_limit::text ELSE 'unknown' END, members);
	IF preloaded AND members > own_limit THEN
		status := 'error';
		hint := format('ALTER SYSTEM SET pg_flo.max_workers = %s; -- and restart the server', members);
	ELSIF members + others + 2 > processes THEN
		status := 'error';
		hint := format('ALTER SYSTEM SET max_worker_processes = %s; -- and restart the server', members + others + helpers + 2);
	ELSIF members + others + helpers + 2 > processes THEN
		status := 'warning';
		detail := detail || format('; a copy with its %s processes is slower with fewer', helpers);
		hint := format('ALTER SYSTEM SET max_worker_processes = %s; -- and restart the server', members + others + helpers + 2);
	END IF;
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION flo.check_server(int, int, int, int) IS 'internal: the part of flo.check() and check_plan() about the server''s settings; helpers are processes of a copy';

CREATE FUNCTION flo.check_slot_limits(about text, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	item := about;
	status := 'warning';
	IF current_setting('max_slot_wal_keep_size') <> '-1' THEN
		detail := 'max_slot_wal_keep_size is ' || current_setting('max_slot_wal_keep_size');
		hint := 'The slot is lost when NATS is away for longer than that much WAL lasts.';
		RETURN NEXT;
	END IF;
	IF current_setting('idle_replication_slot_timeout', true) <> '0' THEN
		detail := 'idle_replication_slot_timeout is ' || current_setting('idle_replication_slot_timeout');
		hint := 'The slot is lost when the replicator is stopped for longer than that.';
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION flo.check_slot_limits(text) IS 'internal: settings by which the server takes a slot away';

CREATE FUNCTION flo.check_unsent(about text, covered oid[], schemas text[], every_table bool, except_tables text[],
								 OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	kind record;
BEGIN
	-- what is covered by name or place, but never in the WAL
	item := 'unlogged and foreign tables ' || about;
	status := 'ok';
	detail := 'none among the group''s tables';
	hint := NULL;
	FOR kind IN
		SELECT c.relkind = 'f' AS is_foreign, array_agg(c.oid::regclass::text ORDER BY c.oid::regclass::text) AS names,
			   array_agg(format('ALTER TABLE %s SET LOGGED;', c.oid::regclass) ORDER BY c.oid::regclass::text) AS statements
		  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		 WHERE ((c.relkind IN ('r', 'p') AND c.relpersistence = 'u') OR c.relkind = 'f')
		   AND c.oid >= 16384 AND n.nspname <> 'flo'
		   AND (except_tables IS NULL OR format('%I.%I', n.nspname, c.relname) <> ALL (except_tables))
		   AND (n.nspname = ANY (schemas) OR every_table OR c.oid = ANY (covered)
				OR EXISTS (SELECT FROM pg_partition_ancestors(c.oid) a WHERE a.relid = ANY (covered)))
		 GROUP BY 1 ORDER BY 1
	LOOP
		status := 'warning';
		detail := format('not replicated, as they are %s: %s',
						 CASE WHEN kind.is_foreign THEN 'foreign' ELSE 'unlogged' END, flo.short_list(kind.names));
		hint := CASE WHEN kind.is_foreign THEN 'Replicate them where their rows are; a foreign server has no WAL here.'
					 ELSE flo.short_list(kind.statements, ' ') END;
		RETURN NEXT;
	END LOOP;
	IF status = 'ok' THEN
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION flo.check_unsent(text, oid[], text[], bool, text[]) IS 'internal: the part of flo.check() and check_plan() about tables whose changes are not in the WAL';

CREATE FUNCTION flo.check_large_objects(about text, covered oid[],
										OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	names text;
BEGIN
	item := 'large objects ' || about;
	status := 'ok';
	detail := 'none';
	IF EXISTS (SELECT FROM pg_largeobject_metadata) THEN
		SELECT flo.short_list(array_agg(a.attrelid::regclass::text || '.' || quote_ident(a.attname) ORDER BY a.attrelid::regclass::text, a.attnum)) INTO names
		  FROM pg_attribute a
		 WHERE a.attrelid = ANY (covered) AND a.attnum > 0 AND NOT a.attisdropped
		   AND (a.atttypid = 'oid'::regtype OR EXISTS (SELECT FROM pg_type t WHERE t.oid = a.atttypid AND t.typname = 'lo'));
		detail := 'the database has large objects, none of the group''s columns seems to refer to them';
		IF names IS NOT NULL THEN
			status := 'warning';
			detail := 'large objects are not replicated; columns that may refer to some: ' || names;
			hint := 'Move them to columns of type bytea, or copy them by other means.';
		END IF;
	END IF;
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION flo.check_large_objects(text, oid[]) IS 'internal: the part of flo.check() and check_plan() about large objects';

CREATE FUNCTION flo.check_source(group_name text, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	replicator flo.replicators;
	names text;
	keyless text;
	astray text;
	slot pg_replication_slots;
	limits record;
	resync text := format('SELECT flo.resync(%L); -- a new slot, and the tables copied afresh', group_name);
BEGIN
	SELECT r.* INTO replicator FROM flo.replicators r WHERE r.group_name = check_source.group_name;
	IF NOT FOUND THEN
		RETURN;
	END IF;

	-- publication and choice of tables
	item := 'publication of group ' || group_name;
	status := 'ok';
	hint := NULL;
	detail := NULL;
	IF NOT EXISTS (SELECT FROM pg_publication p WHERE p.pubname = 'pgflo_' || group_name) THEN
		status := 'error';
		detail := format('publication %I does not exist', 'pgflo_' || group_name);
		hint := format('SELECT flo.resync(%L); -- makes it anew, and copies the tables afresh', group_name);
		RETURN NEXT;
	ELSE
		SELECT string_agg(t.name, ', ' ORDER BY t.name) INTO names
		  FROM unnest(replicator.tables) t (name) WHERE flo.table_called(t.name) IS NULL;
		IF names IS NOT NULL THEN
			status := 'warning';
			detail := 'tables that no longer exist: ' || names;
			hint := 'They were dropped; a table that is made under such a name takes the place.';
			RETURN NEXT;
		END IF;

		SELECT string_agg(c.relation::text, ', ' ORDER BY c.relation::text) INTO names
		  FROM flo.covered_tables(group_name) c WHERE NOT c.published AND c.has_identity;
		IF names IS NOT NULL THEN
			status := 'warning';
			detail := 'tables of the group that are not published: ' || names;
			hint := 'Add them with flo.add_table().';
			RETURN NEXT;
		END IF;

		SELECT string_agg(t.table_name, ', ' ORDER BY t.table_name) INTO names
		  FROM flo.tables t
		 WHERE t.group_name = check_source.group_name AND t.state <> 'left out'
		   AND NOT EXISTS (SELECT FROM flo.covered_tables(check_source.group_name) c
							WHERE c.relation = flo.table_called(t.table_name));
		IF names IS NOT NULL THEN
			status := 'warning';
			detail := 'published tables that flo.replicators does not list: ' || names;
			hint := 'They were added to the publication by hand or renamed; rows they held before were not copied.';
			RETURN NEXT;
		END IF;

		IF status = 'ok' THEN
			detail := format('tables published: %s',
							 (SELECT count(*) FROM flo.tables t WHERE t.group_name = check_source.group_name AND t.state <> 'left out'));
			RETURN NEXT;
		END IF;
	END IF;

	-- replica identities
	item := 'replica identities of group ' || group_name;
	status := 'ok';
	detail := 'every published table has one';
	hint := NULL;
	SELECT string_agg(c.relation::text, ', ' ORDER BY c.relation::text) FILTER (WHERE c.published),
		   string_agg(c.relation::text, ', ' ORDER BY c.relation::text) FILTER (WHERE NOT c.published)
	  INTO names, keyless
	  FROM flo.covered_tables(group_name) c
	 WHERE NOT c.has_identity
	   AND NOT EXISTS (SELECT FROM pg_publication p JOIN pg_publication_rel pr ON pr.prpubid = p.oid
						WHERE p.pubname = 'pgflo_' || check_source.group_name || '_insert' AND pr.prrelid = c.relation);
	SELECT string_agg(a.relation::regclass::text, ', ' ORDER BY a.relation::regclass::text) INTO astray
	  FROM flo.astray a JOIN pg_class c ON c.oid = a.relation WHERE a.group_name = check_source.group_name;
	IF astray IS NOT NULL THEN
		status := 'error';
		detail := 'left out until their replica identity is mended, as it does not identify the rows that change: ' || astray;
		hint := 'Give each the replica identity of the table as which it is published; what was left out is copied then. flo.tables has the reasons.';
	ELSIF names IS NOT NULL THEN
		status := 'error';
		detail := 'UPDATE and DELETE fail on published tables without a usable one: ' || names;
		hint := 'Add a primary key, set a replica identity, or take the tables out with flo.remove_table().';
	ELSIF keyless IS NOT NULL THEN
		status := 'warning';
		detail := 'not replicated because they have none that is usable: ' || keyless;
		hint := 'They join when they get a primary key; see also the option keyless_tables, and flo.tables for the reasons.';
	END IF;
	RETURN NEXT;

	RETURN QUERY SELECT u.* FROM flo.check_unsent('of group ' || group_name,
		ARRAY(SELECT c.relation::oid FROM flo.covered_tables(group_name) c), replicator.schemas,
		replicator.tables IS NULL AND replicator.schemas IS NULL, replicator.except_tables) u;
	RETURN QUERY SELECT l.* FROM flo.check_large_objects('of group ' || group_name,
		ARRAY(SELECT c.relation::oid FROM flo.covered_tables(group_name) c)) l;

	-- the slot, and what may take it away
	item := 'replication slot of group ' || group_name;
	status := 'ok';
	hint := NULL;
	SELECT s.* INTO slot FROM pg_replication_slots s
	 WHERE s.slot_name = 'pgflo_' || (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) || '_' || group_name;
	IF NOT FOUND THEN
		detail := 'not made yet';
		IF pg_is_in_recovery() THEN
			detail := 'none on this standby: unless one follows it, flo.resync() is to be called after a promotion';
		ELSIF EXISTS (SELECT FROM flo.generations g WHERE g.group_name = check_source.group_name) THEN
			status := 'error';
			detail := 'the slot is gone, and with it the changes since its loss';
			hint := resync;
		END IF;
	ELSIF pg_catalog.to_jsonb(slot) ->> 'invalidation_reason' = 'idle_timeout' THEN
		status := 'error';
		detail := 'the slot was not used for longer than idle_replication_slot_timeout and is invalidated';
		hint := resync || '; see also idle_replication_slot_timeout';
	ELSIF slot.wal_status = 'lost' THEN
		status := 'error';
		detail := 'the server has removed WAL that the slot needs';
		hint := resync || '; see also max_slot_wal_keep_size';
	ELSE
		detail := format('%s keeps %s of WAL', slot.slot_name,
						 pg_size_pretty(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
											 ELSE pg_current_wal_lsn() END - slot.restart_lsn));
	END IF;
	IF status = 'ok' THEN
		SELECT l.* INTO limits FROM flo.check_slot_limits(item) l LIMIT 1;
		IF FOUND THEN
			status := limits.status;
			detail := detail || ', and ' || limits.detail;
			hint := limits.hint;
		END IF;
	END IF;
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION flo.check_source(text) IS 'internal: the part of flo.check() about a group''s replicator';

CREATE FUNCTION flo.check_rules(group_name text, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	is_source bool := EXISTS (SELECT FROM flo.sources r WHERE r.group_name = check_rules.group_name);
	rule record;
	seen flo.shaped_tables;
	old_is_unknown bool;
BEGIN
	FOR rule IN
		SELECT r.*, CASE WHEN r.is_own OR flo.rule_problem(r.id) IS NULL THEN flo.rule_problem(r.id)
						 ELSE 'it cannot work; its author and owners of the group''s members are told why' END AS problem,
			   CASE r.stage WHEN 'replicator' THEN is_source
				ELSE EXISTS (SELECT FROM flo.members w WHERE w.sink IS NOT NULL AND w.group_name = r.group_name
							 AND (r.worker_name IS NULL OR w.member = r.worker_name)) END AS has_member,
			   EXISTS (SELECT FROM flo.progress p WHERE p.group_name = r.group_name
						AND (r.worker_name IS NULL OR p.worker_name = r.worker_name)) AS has_begun,
			   EXISTS (SELECT FROM flo.members w WHERE w.sink IS NOT NULL AND w.group_name = r.group_name AND w.sink = 'postgres'
						AND (r.worker_name IS NULL OR w.member = r.worker_name)) AS applied_here
		  FROM flo.checked_rules r WHERE r.group_name = check_rules.group_name AND r.enabled ORDER BY r.id
	LOOP
		item := format('rule %s of group %s', rule.id, group_name);
		IF NOT rule.has_member THEN
			status := 'error';
			detail := 'nothing in this database executes it, and the group does not start';
			hint := 'Write it in the database of the member that is to execute it, or disable it.';
			RETURN NEXT;
		END IF;
		IF rule.problem IS NOT NULL THEN
			status := 'error';
			detail := rule.problem;
			hint := 'It stops its member at the first row of the table: change or disable it.';
			RETURN NEXT;
		END IF;

		-- does it ever match?
		SELECT s.* INTO seen FROM flo.shaped_tables s
		 WHERE s.group_name = check_rules.group_name AND s.schema_name = rule.schema_name AND s.table_name = rule.table_name LIMIT 1;
		IF is_source AND NOT EXISTS (SELECT FROM flo.tables t WHERE t.group_name = check_rules.group_name
									 AND t.table_name = format('%I.%I', rule.schema_name, rule.table_name)) THEN
			status := 'warning';
			detail := format('it never matches: the group does not publish %I.%I', rule.schema_name, rule.table_name);
			hint := 'Names are those of the source; for a partitioned table, of its root.';
			RETURN NEXT;
		ELSIF NOT is_source AND rule.has_begun AND seen.relation IS NULL THEN
			status := 'warning';
			detail := format('it has not matched yet: no row of %I.%I has come', rule.schema_name, rule.table_name);
			hint := 'Names are those of the source; for a partitioned table, of its root.';
			RETURN NEXT;
		ELSIF NOT is_source AND rule.applied_here AND flo.table_called(rule.schema_name, rule.table_name) IS NULL
			  AND NOT EXISTS (SELECT FROM flo.routes o WHERE o.group_name = check_rules.group_name AND o.enabled
							  AND o.source_schema = rule.schema_name AND o.source_table IN (rule.table_name, '*')) THEN
			status := 'warning';
			detail := format('there is no table %I.%I here, and no route for it', rule.schema_name, rule.table_name);
			hint := 'Names are those of the source; for a partitioned table, of its root.';
			RETURN NEXT;
		END IF;

		-- can it tell what leaves the filter?
		old_is_unknown := seen.columns <> seen.keys AND coalesce(rule.column_name <> ALL (seen.keys), true);
		IF is_source THEN
			SELECT c.relreplident <> 'f' AND NOT EXISTS (
						SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
						 WHERE i.indrelid = c.oid AND a.attname = rule.column_name
						   AND CASE c.relreplident WHEN 'd' THEN i.indisprimary ELSE i.indisreplident END)
			  INTO old_is_unknown
			  FROM pg_class c WHERE c.oid = flo.table_called(rule.schema_name, rule.table_name);
		END IF;
		IF old_is_unknown AND 'UPDATE' = ANY (rule.operations) AND rule.action NOT IN ('regex', 'mask', 'expression', 'null', 'constant', 'pseudonym', 'hash', 'keep') THEN
			status := 'warning';
			detail := 'the old row does not hold what this filter looks at: when an UPDATE makes a row leave the filter, the UPDATE is dropped and the row stays at the destination';
			hint := 'Give the table REPLICA IDENTITY FULL at the source.';
			RETURN NEXT;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION flo.check_rules(text) IS 'internal: the part of flo.check() about a group''s rules';

CREATE FUNCTION flo.check_routes(group_name text, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	route record;
	names text;
BEGIN
	FOR route IN
		SELECT r.*, format('%I.%I', coalesce(r.destination_schema, r.source_schema), coalesce(r.destination_table, r.source_table)) AS destination,
			   EXISTS (SELECT FROM flo.members w WHERE w.sink IS NOT NULL AND w.group_name = r.group_name
						AND (r.worker_name IS NULL OR w.member = r.worker_name)) AS has_member,
			   EXISTS (SELECT FROM flo.members w WHERE w.sink IS NOT NULL AND w.group_name = r.group_name AND w.sink = 'postgres'
						AND (r.worker_name IS NULL OR w.member = r.worker_name)) AS applied_here,
			   EXISTS (SELECT FROM flo.progress p WHERE p.group_name = r.group_name
						AND (r.worker_name IS NULL OR p.worker_name = r.worker_name)) AS has_begun,
			   EXISTS (SELECT FROM flo.shaped_tables s WHERE s.group_name = r.group_name AND s.schema_name = r.source_schema
						AND r.source_table IN (s.table_name, '*')) AS has_matched
		  FROM flo.routes r WHERE r.group_name = check_routes.group_name AND r.enabled ORDER BY r.id
	LOOP
		item := format('route %s of group %s', route.id, group_name);
		IF NOT route.has_member THEN
			status := 'error';
			detail := 'nothing in this database executes it, and the group does not start';
			hint := 'Write it in the database of the worker that is to execute it, or disable it.';
			RETURN NEXT;
		ELSIF route.has_begun AND NOT route.has_matched THEN
			status := 'warning';
			detail := format('it has not matched yet: no row of %I.%s has come', route.source_schema,
							 CASE route.source_table WHEN '*' THEN '*' ELSE quote_ident(route.source_table) END);
			hint := 'Names are those of the source; for a partitioned table, of its root.';
			RETURN NEXT;
		END IF;
		CONTINUE WHEN route.source_table = '*' OR NOT route.applied_here;
		IF flo.table_called(route.destination) IS NULL THEN
			status := 'error';
			detail := format('table %s does not exist here', route.destination);
			hint := 'Create it, or change the route.';
			RETURN NEXT;
			CONTINUE;
		END IF;
		SELECT string_agg(format('%I to %I', m.key, m.value), ', ' ORDER BY m.key) INTO names
		  FROM jsonb_each_text(route.column_mappings) m
		 WHERE m.value IS NOT NULL
		   AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = flo.table_called(route.destination)
							AND a.attname = m.value AND a.attnum > 0 AND NOT a.attisdropped);
		IF names IS NOT NULL THEN
			status := 'error';
			detail := format('it maps columns to such as %s does not have: %s', route.destination, names);
			hint := 'Add the columns, or change the route.';
			RETURN NEXT;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION flo.check_routes(text) IS 'internal: the part of flo.check() about a group''s routes';

CREATE FUNCTION flo.check_members(group_name text, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	member record;
	start text;
BEGIN
	FOR member IN
		SELECT s.member, s.sink, s.state, s.detail, s.last_error, s.lag, s.foreign_messages,
			   CASE WHEN s.recovered_at >= s.last_error_at THEN NULL ELSE s.last_hint END AS last_hint,
			   EXISTS (SELECT FROM pg_roles o WHERE o.oid = m.owner) AS owner_exists, m.owner::oid AS owner
		  FROM flo.status s
		  JOIN flo.members m ON m.group_name = s.group_name AND m.member = s.member
		 WHERE s.group_name = check_members.group_name ORDER BY s.member
	LOOP
		item := format('member %s of group %s', member.member, group_name);
		hint := NULL;
		detail := concat_ws(': ', member.state, member.detail);
		status := CASE WHEN member.state = 'failed' THEN 'error'
					   WHEN pg_is_in_recovery() THEN 'ok'
					   WHEN member.state IN ('backoff', 'waiting', 'stopped') THEN 'warning'
					   WHEN member.state = 'streaming' AND member.lag > interval '1 min' THEN 'warning'
					   ELSE 'ok' END;
		IF member.state IN ('failed', 'backoff') AND member.last_error IS NOT NULL
		   AND position(coalesce(member.detail, '-') IN member.last_error) = 0 THEN
			detail := detail || '; last error: ' || member.last_error;
		END IF;
		IF member.lag > interval '1 min' THEN
			detail := format('%s; lag %s', detail, date_trunc('second', member.lag));
		END IF;
		start := format('SELECT flo.start_group(%L, %L);', group_name, member.member);
		hint := CASE member.state
			WHEN 'stopped' THEN CASE
				WHEN member.detail LIKE '%pg_flo.enabled is off' THEN 'See shared_preload_libraries and pg_flo.enabled in this list.'
				WHEN status <> 'ok' THEN start END
			WHEN 'failed' THEN concat_ws(' ', coalesce(member.last_hint, 'Remove the cause.'),
				CASE WHEN member.sink IS NOT NULL AND member.last_error LIKE '%transaction%at %' THEN 'The way past one transaction is flo.skip(), past one table flo.give_up().' END,
				'Then: ' || start)
			WHEN 'backoff' THEN concat_ws(' ', coalesce(member.last_hint, 'Remove the cause.'),
				CASE WHEN member.sink IS NOT NULL THEN 'It is tried again by itself; the way past one transaction is flo.skip(), past one table flo.give_up().'
					 ELSE 'It is tried again by itself.' END)
			WHEN 'waiting' THEN CASE
				WHEN member.detail LIKE 'for the replicator, which was stopped%' OR member.detail LIKE 'for stream %'
				THEN format('At the source: SELECT flo.start_group(%L, %L);', group_name, 'replicator')
				WHEN member.detail LIKE 'for the replicator, which fail%' OR member.detail LIKE 'for the replicator, which has failed%'
				THEN format('At the source: SELECT * FROM flo.check(%L) WHERE status <> %L;', group_name, 'ok')
				WHEN member.detail LIKE 'nothing heard from the replicator%'
				THEN 'See whether the server of the source runs, and reaches NATS: it goes on by itself then.'
				WHEN member.detail LIKE 'needs flo.resync%'
				THEN 'At the source: SELECT ' || substring(member.detail FROM 'flo\.resync\([^)]*\)') || ';'
				WHEN member.detail LIKE 'for flo.release_ddl(%'
				THEN 'SELECT id, tag, command, reason FROM flo.pending_ddl; -- then flo.release_ddl() or flo.skip_ddl(), as the owner of the worker'
				WHEN member.detail LIKE 'for write transactions %'
				THEN 'SELECT pid, usename, state, xact_start, query FROM pg_stat_activity WHERE backend_xid IS NOT NULL; -- it goes on when they have ended'
				ELSE coalesce(member.last_hint, 'It goes on by itself when what it waits for is there.') END
			WHEN 'streaming' THEN CASE WHEN status <> 'ok' THEN
				CASE WHEN member.detail LIKE 'lock held by pid %'
					 THEN format('SELECT pid, usename, state, xact_start, query FROM pg_stat_activity WHERE pid IN (%s); -- it goes on when they have ended', substring(member.detail FROM '[0-9][0-9, ]*'))
					 WHEN member.sink IS NULL THEN 'The broker or the way to it is slow, or a long transaction is being read: flo.stream_status() and pg_stat_activity tell more.'
					 ELSE 'It takes in less than the source writes, or waits: pg_stat_activity has its process, flo.stream_status() at the source what is pending.' END END
			END;
		RETURN NEXT;

		IF member.foreign_messages > 0 THEN
			status := 'warning';
			detail := format('%s logical decoding messages in WAL that somebody else wrote in the name of pg_flo were left out', member.foreign_messages);
			hint := 'Look for a role that calls pg_logical_emit_message(); flo.reset_stats() begins to count anew.';
			RETURN NEXT;
		END IF;
		IF NOT member.owner_exists THEN
			status := 'error';
			detail := format('its owner, a role with OID %s, no longer exists', member.owner);
			hint := 'A superuser gives it another one with flo.set_owner().';
			RETURN NEXT;
		END IF;
	END LOOP;

	FOR member IN
		SELECT d.worker_name, d.letters, d.oldest FROM flo.checked_letters d
		 WHERE d.group_name = check_members.group_name ORDER BY 1
	LOOP
		item := format('dead letters of member %s of group %s', member.worker_name, group_name);
		status := 'warning';
		detail := format('%s, the oldest since %s', member.letters, date_trunc('second', member.oldest));
		hint := format('SELECT flo.redrive_group(%L); -- once their endpoint takes them; flo.dead_letters shows each to the owner', group_name);
		RETURN NEXT;
	END LOOP;

	FOR member IN
		SELECT w.worker_name, o.rolname AS owner, w.ddl_trust AS trust, o.rolsuper
		  FROM flo.checked_workers w JOIN pg_roles o ON o.oid = w.owner
		 WHERE w.group_name = check_members.group_name AND w.sink = 'postgres' AND w.ddl = 'apply'
		 ORDER BY w.worker_name
	LOOP
		item := format('DDL rights of member %s of group %s', member.worker_name, group_name);
		status := 'ok';
		hint := NULL;
		IF member.trust = 'source' THEN
			detail := format('ddl_trust is source: owners of tables at the source can do here whatever %s "%s" can',
							 CASE WHEN member.rolsuper THEN 'superuser' ELSE 'role' END, member.owner);
			IF member.rolsuper THEN
				status := 'warning';
				hint := 'Let a role that is no superuser create the worker, or set ddl_trust to object and release what is held.';
			END IF;
		ELSE
			detail := 'ddl_trust is object: DDL of the source runs as the owner of what it is about; code it brings is held in flo.pending_ddl';
		END IF;
		RETURN NEXT;
	END LOOP;

	FOR member IN
		SELECT t.table_name, t.detail FROM flo.tables t
		 WHERE t.group_name = check_members.group_name AND t.state = 'given up' ORDER BY 1, 2
	LOOP
		item := format('table %s of group %s', member.table_name, group_name);
		status := 'warning';
		detail := 'given up ' || member.detail;
		hint := format('Remove the cause, then, at the source, which copies it anew: SELECT flo.resync(%L, %L);', group_name, member.table_name);
		RETURN NEXT;
	END LOOP;

	RETURN QUERY SELECT r.* FROM flo.check_rules(group_name) r UNION ALL SELECT r.* FROM flo.check_routes(group_name) r;
	IF NOT FOUND THEN
		item := 'rules and routes of group ' || group_name;
		status := 'ok';
		detail := (SELECT CASE count(*) WHEN 0 THEN CASE WHEN flo.owns_member(group_name) OR pg_has_role('pg_monitor', 'USAGE') THEN 'none' ELSE 'shown to owners of its members' END ELSE format('%s, and nothing is known against them', count(*)) END
					 FROM (SELECT FROM flo.checked_rules r WHERE r.group_name = check_members.group_name AND r.enabled
						   UNION ALL
						   SELECT FROM flo.routes r WHERE r.group_name = check_members.group_name AND r.enabled) x);
		hint := NULL;
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION flo.check_members(text) IS 'internal: the part of flo.check() about a group''s processes, rules and routes';

CREATE FUNCTION flo.check_roles(group_name text, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE sql STABLE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT 'roles of group ' || check_roles.group_name, 'warning', format('%s, a role with OID %s, no longer exists', u.used, u.role), u.hint
	  FROM (SELECT 'a reader' AS used, r.reader::oid AS role, format('SELECT flo.revoke_reader(%L, ''%s'') removes it.', r.group_name, r.reader::oid) AS hint
			  FROM flo.readers r WHERE r.group_name = check_roles.group_name
			UNION ALL
			SELECT 'the author of rule ' || string_agg(r.id::text, ', ' ORDER BY r.id), r.author, 'Look at them, then set their author to a role that exists; until then expressions among them fail.'
			  FROM flo.checked_rules r WHERE r.group_name = check_roles.group_name GROUP BY r.author
			UNION ALL
			SELECT 'the author of webhook subscription ' || string_agg(w.id::text, ', ' ORDER BY w.id), w.author, 'Look at them, then set their author to a role that exists; until then their worker fails.'
			  FROM flo.checked_subscriptions w WHERE w.group_name = check_roles.group_name GROUP BY w.author) u
	 WHERE NOT EXISTS (SELECT FROM pg_roles o WHERE o.oid = u.role)
	 ORDER BY 3
$$;
COMMENT ON FUNCTION flo.check_roles(text) IS 'internal: the part of flo.check() about readers and authors that were dropped; a member''s owner is told of with the member';

CREATE FUNCTION flo.check_known(group_name text, tracked jsonb, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	unknown record;
BEGIN
	IF NOT EXISTS (SELECT FROM flo.checked_workers w WHERE w.group_name = check_known.group_name AND w.sink = 'postgres'
				   AND w.ddl <> 'ignore' AND w.ddl_trust = 'object') THEN
		RETURN;
	END IF;
	-- tables and the types of their columns are known by the source's word, when the first statement comes
	SELECT count(*) AS number, string_agg(DISTINCT quote_ident(schema), ',') AS schemas,
		   string_agg(name, ', ' ORDER BY name) FILTER (WHERE place <= 5) AS names
	  INTO unknown
	  FROM (SELECT i.schema, pg_describe_object(a.class, a.object, 0) AS name, row_number() OVER (ORDER BY a.class, a.object) AS place
			  FROM flo.adoptable(ARRAY(SELECT n.oid FROM pg_namespace n
										WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'flo')
										  AND ((tracked->>'all')::bool OR tracked->'schemas' ? n.nspname)), '{}', '{}', '{}') a
				   CROSS JOIN LATERAL pg_identify_object(a.class, a.object, 0) i
			 WHERE i.schema IS NOT NULL
			   AND NOT EXISTS (SELECT FROM pg_attribute t WHERE a.class = 'pg_type'::regclass
							   AND t.atttypid IN (a.object, (SELECT e.typarray FROM pg_type e WHERE e.oid = a.object)))
			   AND NOT EXISTS (SELECT FROM flo.group_objects o WHERE o.group_name = check_known.group_name
							   AND o.class_oid = a.class AND o.object_oid = a.object AND o.may <> 'refer')) u;
	item := 'objects of group ' || group_name;
	status := 'ok';
	detail := 'of what can be changed by DDL of the source nothing is unknown here but tables, which it names';
	IF unknown.number > 0 THEN
		status := 'warning';
		detail := format('%s objects are not known to be the group''s, so that the first statement about each will be held: %s%s',
						 unknown.number, unknown.names, CASE WHEN unknown.number > 5 THEN ', ...' END);
		hint := format('If they are the source''s: SELECT * FROM flo.adopt(%L, schemas => ''{%s}''); if they are yours, the same with may => ''nothing''.',
					   group_name, unknown.schemas);
	END IF;
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION flo.check_known(text, jsonb) IS 'internal: the part of flo.check() about objects of a destination that DDL of the source may be about';

CREATE TYPE flo.piece AS (group_name text, document text);
COMMENT ON TYPE flo.piece IS 'internal: what the source says of some of its tables';

CREATE FUNCTION flo.check(group_name text DEFAULT NULL, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	name text;
	broker record;
	published jsonb := '{}';
	tables flo.piece[] := '{}';
BEGIN
	IF group_name IS NOT NULL AND NOT EXISTS (SELECT FROM flo.groups g WHERE g.group_name = "check".group_name) THEN
		RAISE EXCEPTION 'group "%" does not exist in this database', group_name
			USING ERRCODE = 'undefined_object', HINT = 'flo.groups lists the groups of this database.';
	END IF;

	RETURN QUERY
		SELECT s.* FROM flo.check_server(
			(SELECT count(*)::int FROM flo.members),
			(SELECT count(*)::int FROM flo.sources),
			(SELECT count(*)::int FROM flo.members m WHERE m.sink = 'postgres'),
			(SELECT coalesce(sum(CASE r.mode WHEN 'stream' THEN 1 ELSE r.copy_workers + 1 END), 0)::int FROM flo.sources r
			  WHERE (r.mode <> 'stream' OR r.sync_schema) AND NOT EXISTS (SELECT FROM flo.generations g WHERE g.group_name = r.group_name AND g.copied))) s;

	FOR name IN
		SELECT g.group_name FROM flo.groups g
		 WHERE "check".group_name IS NULL OR g.group_name = "check".group_name ORDER BY g.group_name
	LOOP
		RETURN QUERY SELECT s.* FROM flo.check_source(name) s;
		RETURN QUERY SELECT m.* FROM flo.check_members(name) m;
		RETURN QUERY SELECT r.* FROM flo.check_roles(name) r;
		RETURN QUERY SELECT n.* FROM flo.check_names(name) n;
	END LOOP;
	IF group_name IS NULL THEN
		RETURN QUERY SELECT n.* FROM flo.check_names(NULL) n;
	END IF;

	FOR broker IN SELECT b.* FROM flo.check_broker(group_name) b LOOP
		IF broker.status = 'tracked' THEN
			RETURN QUERY SELECT k.* FROM flo.check_known(broker.item, broker.detail::jsonb) k;
		ELSIF broker.status = 'published' THEN
			published := published || jsonb_build_object(broker.item, broker.detail::jsonb);
		ELSIF broker.status = 'tables' THEN
			tables := tables || ROW(broker.item, broker.detail)::flo.piece;
		ELSE
			item := broker.item;
			status := broker.status;
			detail := broker.detail;
			hint := broker.hint;
			RETURN NEXT;
		END IF;
	END LOOP;

	-- a group's pieces come together, behind what is known of the whole
	FOR name IN SELECT k.key FROM jsonb_each(published) k ORDER BY 1 LOOP
		BEGIN
			RETURN QUERY SELECT d.* FROM flo.check_destination(name, nullif(published->name, 'null'),
				ARRAY(SELECT t.document FROM unnest(tables) t WHERE t.group_name = name)) d;
		EXCEPTION WHEN data_exception OR syntax_error_or_access_rule_violation THEN
			-- fields are what they should be, and yet no source has such tables
			item := 'tables of group ' || name;
			status := 'warning';
			detail := 'they are not compared with those of the source: malformed document "tables": ' || SQLERRM;
			hint := 'pg_flo has not written it so: look who else may write to this NATS account.';
			RETURN NEXT;
		END;
	END LOOP;
END
$$;
COMMENT ON FUNCTION flo.check(text) IS
'Preflight of one group or of all groups here: what is ok, what is not (warning, error) and what to do about it: a hint that ends in a semicolon is the statement to run. Callable by pg_monitor. Error: 42704 unknown group';
