/*
 * 72_unknown_names.sql
 *		Rules, routes, subscriptions and options that name what is not there.
 *
 * All of them may be written before what they are about, so none is refused: a
 * WARNING says so as they are written, and flo.check() later.  At a destination
 * only the source's word tells which tables there are: before that has come,
 * nothing is said of them.
 */

CREATE FUNCTION flo.closest_name(name text, names text[]) RETURNS text
	AS 'MODULE_PATHNAME', 'flo_closest_name_v2' LANGUAGE C IMMUTABLE PARALLEL SAFE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.closest_name(text, text[]) IS 'internal: the one of the names that differs least; NULL when none is close';

-- as with flo.checked_rules: no more of a row than its author, owners of members and pg_monitor may know
CREATE VIEW flo.configured_names AS
	SELECT 'rule' AS kind, r.id, r.group_name, r.worker_name, r.stage = 'replicator' AS at_replicator, r.schema_name, r.table_name,
		   ARRAY(SELECT r.column_name WHERE r.column_name IS NOT NULL) AS columns,
		   NULL::text AS destination_schema, NULL::text AS destination_table, NULL::text[] AS destination_columns
	  FROM flo.rules r
	 WHERE r.enabled AND (pg_catalog.pg_has_role('pg_monitor', 'USAGE') OR flo.owns_member(r.group_name)
		OR EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE o.oid = r.author AND pg_catalog.pg_has_role(o.oid, 'USAGE')))
	UNION ALL
	SELECT 'route', r.id, r.group_name, r.worker_name, false, r.source_schema, r.source_table,
		   ARRAY(SELECT m.key FROM pg_catalog.jsonb_each_text(r.column_mappings) m ORDER BY 1),
		   coalesce(r.destination_schema, r.source_schema), nullif(coalesce(r.destination_table, r.source_table), '*'),
		   ARRAY(SELECT m.value FROM pg_catalog.jsonb_each_text(r.column_mappings) m WHERE m.value IS NOT NULL ORDER BY 1)
	  FROM flo.routes r WHERE r.enabled
	UNION ALL
	SELECT 'subscription', w.id, w.group_name, w.worker_name, false, w.schema_name, w.table_name, '{}', NULL, NULL, NULL
	  FROM flo.webhook_subscriptions w
	 WHERE w.enabled AND (pg_catalog.pg_has_role('pg_monitor', 'USAGE') OR flo.owns_member(w.group_name)
		OR EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE o.oid = w.author AND pg_catalog.pg_has_role(o.oid, 'USAGE')))
	UNION ALL
	SELECT 'option tables', NULL, w.group_name, w.worker_name, false,
		   CASE WHEN pg_catalog.cardinality(p.parts) > 1 THEN p.parts[1] ELSE 'public' END, p.parts[pg_catalog.cardinality(p.parts)], '{}', NULL, NULL, NULL
	  FROM flo.workers w,
		   LATERAL (SELECT e.value FROM pg_catalog.jsonb_array_elements_text(
						CASE pg_catalog.jsonb_typeof(w.options -> 'tables') WHEN 'array' THEN w.options -> 'tables' ELSE '[]' END) e
					 UNION ALL
					SELECT pg_catalog.btrim(e.value) FROM pg_catalog.regexp_split_to_table(
						CASE pg_catalog.jsonb_typeof(w.options -> 'tables') WHEN 'string' THEN w.options ->> 'tables' END,
						',(?=([^"]*"[^"]*")*[^"]*$)') e (value)) n,
		   LATERAL (SELECT pg_catalog.parse_ident(n.value, false) AS parts) p
	 WHERE pg_catalog.pg_has_role('pg_monitor', 'USAGE') OR flo.owns_member(w.group_name);
COMMENT ON VIEW flo.configured_names IS 'internal: what enabled rules, routes, subscriptions and the option tables of workers are about';
COMMENT ON COLUMN flo.configured_names.kind IS 'rule, route, subscription, option tables';
COMMENT ON COLUMN flo.configured_names.id IS 'number of the row';
COMMENT ON COLUMN flo.configured_names.group_name IS 'group';
COMMENT ON COLUMN flo.configured_names.worker_name IS 'worker; NULL means every one';
COMMENT ON COLUMN flo.configured_names.at_replicator IS 'whether the replicator executes it';
COMMENT ON COLUMN flo.configured_names.schema_name IS 'schema of the table at the source; NULL means any';
COMMENT ON COLUMN flo.configured_names.table_name IS 'table at the source; * or NULL means any';
COMMENT ON COLUMN flo.configured_names.columns IS 'its columns that are named';
COMMENT ON COLUMN flo.configured_names.destination_schema IS 'schema of the table that a route leads to';
COMMENT ON COLUMN flo.configured_names.destination_table IS 'that table; NULL means all of the schema';
COMMENT ON COLUMN flo.configured_names.destination_columns IS 'its columns that are named';

CREATE FUNCTION flo.name_hint(name text, names text[], called text, otherwise text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT coalesce('Did you mean ' || flo.closest_name(name, names) || '?',
					called || ': ' || array_to_string(names[1:8], ', ') || CASE WHEN cardinality(names) > 8 THEN ', ...' ELSE '' END || '.',
					otherwise)
$$;
COMMENT ON FUNCTION flo.name_hint(text, text[], text, text) IS 'internal: a hint for a name that is not known: the closest one, or which there are';

CREATE FUNCTION flo.unknown_member(n flo.configured_names, OUT about text, OUT message text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	is_source bool := EXISTS (SELECT FROM flo.sources s WHERE s.group_name = n.group_name);
	wanted text := CASE n.kind WHEN 'subscription' THEN 'webhook worker' ELSE 'worker' END;
	-- what has no worker of the right kind at all, and whoever is called that
	workers text[] := (SELECT array_agg(m.member ORDER BY m.member) FROM flo.members m
						WHERE m.group_name = n.group_name AND m.sink IS NOT NULL AND (n.kind <> 'subscription' OR m.sink = 'webhook'));
BEGIN
	IF NOT EXISTS (SELECT FROM flo.groups g WHERE g.group_name = n.group_name) THEN
		about := 'group';
		message := format('there is no group "%s" in this database, and nothing executes it', n.group_name);
		hint := flo.name_hint(n.group_name, (SELECT array_agg(g.group_name ORDER BY g.group_name) FROM flo.groups g), 'Groups here',
							  'It is in force when the group is made here.');
		RETURN NEXT;
	ELSIF n.at_replicator AND NOT is_source THEN
		about := 'member';
		message := format('the replicator of group "%s" is not in this database, and nothing executes it', n.group_name);
		hint := 'Write it in the database of the replicator.';
		RETURN NEXT;
	ELSIF NOT n.at_replicator AND workers IS NULL THEN
		about := 'member';
		message := format('group "%s" has no %s in this database, and nothing executes it', n.group_name, wanted);
		hint := CASE WHEN is_source AND n.kind = 'rule'
					 THEN 'Write it in the database of the worker, or for the stage "replicator".'
					 ELSE format('Write it in the database of the %s, or make one here.', wanted) END;
		RETURN NEXT;
	ELSIF n.worker_name <> ALL (workers) THEN
		about := 'member';
		message := format('group "%s" has no %s "%s" in this database, and nothing executes it', n.group_name, wanted, n.worker_name);
		hint := flo.name_hint(n.worker_name, workers, 'Those here', NULL);
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION flo.unknown_member(flo.configured_names) IS 'internal: the part of flo.unknown_names() about groups and members';

CREATE FUNCTION flo.unknown_table(n flo.configured_names, OUT about text, OUT message text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	is_source bool := EXISTS (SELECT FROM flo.sources s WHERE s.group_name = n.group_name);
	has_begun bool := EXISTS (SELECT FROM flo.progress p WHERE p.group_name = n.group_name
							   AND (n.worker_name IS NULL OR p.worker_name = n.worker_name));
	to_tables bool := EXISTS (SELECT FROM flo.members m WHERE m.group_name = n.group_name AND m.sink = 'postgres'
							   AND (n.worker_name IS NULL OR m.member = n.worker_name));
	every bool := coalesce(n.table_name, '*') = '*';
	name text := CASE WHEN every OR n.schema_name IS NULL THEN quote_ident(n.schema_name) ELSE format('%I.%I', n.schema_name, n.table_name) END;
	routed bool;
	-- a table of that name may have joined without a copy
	here bool := to_tables AND n.schema_name IS NOT NULL AND flo.table_called(n.schema_name, n.table_name) IS NOT NULL;
	known text[];
	columns text[];
BEGIN
	IF n.schema_name IS NULL OR NOT is_source AND NOT has_begun THEN
		RETURN;
	END IF;
	IF is_source THEN
		known := (SELECT array_agg(t.table_name ORDER BY t.table_name) FROM flo.tables t WHERE t.group_name = n.group_name AND t.state <> 'given up');
	ELSE
		-- which tables there are, the source has told with a copy only
		known := (SELECT array_agg(DISTINCT format('%I.%I', c.schema_name, c.table_name))
					FROM (SELECT p.group_name, p.schema_name, p.table_name FROM flo.planned_tables p
						   UNION SELECT t.group_name, t.schema_name, t.table_name FROM flo.copied_tables t WHERE t.table_name <> '') c
				   WHERE c.group_name = n.group_name);
		IF known IS NOT NULL THEN
			known := known || ARRAY(SELECT format('%I.%I', s.schema_name, s.table_name) FROM flo.shaped_tables s WHERE s.group_name = n.group_name);
		END IF;
		routed := EXISTS (SELECT FROM flo.routes r
						   WHERE r.group_name = n.group_name AND r.enabled AND r.source_schema = n.schema_name AND r.source_table IN (n.table_name, '*'));
	END IF;
	IF every THEN
		IF known IS NOT NULL AND n.schema_name <> ALL (SELECT (parse_ident(k))[1] FROM unnest(known) k) THEN
			about := 'table';
			message := format('group "%s" has no table of schema %s', n.group_name, name);
			hint := flo.name_hint(n.schema_name, ARRAY(SELECT DISTINCT (parse_ident(k))[1] FROM unnest(known) k ORDER BY 1), 'Its schemas', NULL);
			RETURN NEXT;
		END IF;
		RETURN;
	END IF;
	IF is_source AND name <> ALL (coalesce(known, '{}')) THEN
		about := 'table';
		message := format('group "%s" does not publish table %s', n.group_name, name);
		hint := coalesce('Did you mean ' || flo.closest_name(name, known) || '?', 'Names are those of the source; for a partitioned table, of its root.');
		RETURN NEXT;
		RETURN;
	ELSIF NOT is_source AND name <> ALL (coalesce(known, '{}')) AND NOT here AND (known IS NOT NULL OR to_tables AND NOT routed) THEN
		about := 'table';
		message := format('no table %s of group "%s" has come from the source', name, n.group_name)
			|| CASE WHEN to_tables AND NOT routed THEN ', and there is none here' ELSE '' END;
		hint := coalesce('Did you mean ' || flo.closest_name(name, known) || '?', 'Names are those of the source; for a partitioned table, of its root.');
		RETURN NEXT;
		RETURN;
	END IF;
	-- its columns: of the table itself, or as they came when rules and routes were applied
	columns := CASE WHEN is_source AND n.kind = 'rule' THEN NULL	-- those are tried when they are written
					WHEN is_source
					THEN ARRAY(SELECT a.attname FROM pg_attribute a WHERE a.attrelid = flo.table_called(n.schema_name, n.table_name) AND a.attnum > 0 AND NOT a.attisdropped)
					ELSE (SELECT s.columns FROM flo.shaped_tables s
						   WHERE s.group_name = n.group_name AND s.schema_name = n.schema_name AND s.table_name = n.table_name LIMIT 1) END;
	FOR name IN SELECT c FROM unnest(n.columns) c WHERE c <> ALL (columns) LOOP
		about := 'column';
		message := format('table %I.%I of the source has no column "%s"', n.schema_name, n.table_name, name);
		hint := flo.name_hint(name, columns, 'Its columns', NULL);
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION flo.unknown_table(flo.configured_names) IS 'internal: the part of flo.unknown_names() about tables and columns of the source';

CREATE FUNCTION flo.unknown_destination(n flo.configured_names, OUT about text, OUT message text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	here oid := flo.table_called(n.destination_schema, n.destination_table);
	name text;
BEGIN
	IF n.destination_schema IS NULL OR NOT EXISTS (SELECT FROM flo.members m WHERE m.group_name = n.group_name AND m.sink = 'postgres'
												   AND (n.worker_name IS NULL OR m.member = n.worker_name)) THEN
		RETURN;
	END IF;
	about := 'destination';
	IF NOT EXISTS (SELECT FROM pg_namespace s WHERE s.nspname = n.destination_schema) THEN
		message := format('schema "%s", to which it leads, does not exist here', n.destination_schema);
		hint := coalesce('Did you mean ' || flo.closest_name(n.destination_schema, ARRAY(SELECT s.nspname::text FROM pg_namespace s WHERE s.nspname !~ '^pg_')) || '?',
						 'Create it before its rows come.');
		RETURN NEXT;
	ELSIF n.destination_table IS NOT NULL AND here IS NULL THEN
		message := format('table %I.%I, to which it leads, does not exist here', n.destination_schema, n.destination_table);
		hint := coalesce('Did you mean ' || flo.closest_name(n.destination_table, ARRAY(
							SELECT c.relname::text FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
							 WHERE s.nspname = n.destination_schema AND c.relkind IN ('r', 'p'))) || '?', 'Create it before its rows come.');
		RETURN NEXT;
	ELSIF here IS NOT NULL THEN
		FOR name IN SELECT c FROM unnest(n.destination_columns) c
					 WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = here AND a.attname = c AND a.attnum > 0 AND NOT a.attisdropped) LOOP
			message := format('table %I.%I here has no column "%s", to which it maps', n.destination_schema, n.destination_table, name);
			hint := flo.name_hint(name, ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = here AND a.attnum > 0 AND NOT a.attisdropped),
								  'Its columns', NULL);
			RETURN NEXT;
		END LOOP;
	END IF;
END
$$;
COMMENT ON FUNCTION flo.unknown_destination(flo.configured_names) IS 'internal: the part of flo.unknown_names() about where a route leads';

CREATE FUNCTION flo.unknown_names(n flo.configured_names, OUT about text, OUT message text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- what was restored from elsewhere is nobody's business until it is adopted
	IF EXISTS (SELECT FROM flo.groups g WHERE g.group_name = n.group_name
				AND (g.system_identifier <> (SELECT c.system_identifier FROM pg_control_system() c)
					 OR g.database <> (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))) THEN
		RETURN;
	END IF;
	RETURN QUERY SELECT u.* FROM flo.unknown_member(n) u;
	IF NOT FOUND THEN
		RETURN QUERY SELECT u.* FROM flo.unknown_table(n) u;
		RETURN QUERY SELECT u.* FROM flo.unknown_destination(n) u;
	END IF;
END
$$;
COMMENT ON FUNCTION flo.unknown_names(flo.configured_names) IS 'internal: which names of a rule, route, subscription or option are not known here, and what may be meant';

CREATE FUNCTION flo.check_names(group_name text, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
	SELECT CASE n.kind WHEN 'option tables' THEN format('worker %s of group %s', n.worker_name, n.group_name)
					   ELSE format('%s %s of group %s', n.kind, n.id, n.group_name) END,
		   'warning', CASE n.kind WHEN 'option tables' THEN 'its option "tables": ' ELSE '' END || u.message, u.hint
	  FROM flo.configured_names n, LATERAL flo.unknown_names(n) u
	 WHERE CASE WHEN check_names.group_name IS NULL THEN u.about = 'group'
				ELSE n.group_name = check_names.group_name AND (n.kind NOT IN ('rule', 'route') OR u.about = 'column') END
	 ORDER BY n.kind, n.id, n.worker_name, u.message
$$;
COMMENT ON FUNCTION flo.check_names(text) IS
'internal: the part of flo.check() about names in rules, routes, subscriptions and options that are not known, beside what check_rules() and check_routes() find; NULL: those of groups that are not here';

-- once for all rows of a statement about which the same is to be said
CREATE FUNCTION flo.warn_of_names() RETURNS trigger LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
	doubt record;
BEGIN
	FOR doubt IN
		SELECT u.message, u.hint, count(DISTINCT n.id) AS rows,
			   (SELECT string_agg(i::text, ', ' ORDER BY i) FROM (SELECT unnest((array_agg(DISTINCT n.id))[1:5])) s (i)) AS ids
		  FROM written w JOIN flo.configured_names n ON n.kind = TG_ARGV[0] AND n.id = w.id, LATERAL flo.unknown_names(n) u
		 GROUP BY u.message, u.hint ORDER BY min(n.id), u.message
	LOOP
		RAISE WARNING '% %: %', TG_ARGV[0] || CASE WHEN doubt.rows > 1 THEN 's' ELSE '' END,
			doubt.ids || CASE WHEN doubt.rows > 5 THEN format(' and %s more', doubt.rows - 5) ELSE '' END, doubt.message
			USING ERRCODE = 'undefined_object', HINT = coalesce(doubt.hint, 'Names are those of the source.');
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION flo.warn_of_names() IS 'internal: warns of rules, routes and subscriptions that name what is not there (42704)';

CREATE FUNCTION flo.warn_of_option() RETURNS trigger LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
DECLARE
	doubt record;
BEGIN
	FOR doubt IN
		SELECT n.group_name, n.worker_name, u.message, u.hint
		  FROM written w JOIN former f USING (group_name, worker_name)
		  JOIN flo.configured_names n ON n.kind = 'option tables' AND n.group_name = w.group_name AND n.worker_name = w.worker_name,
			   LATERAL flo.unknown_names(n) u
		 WHERE w.options -> 'tables' IS DISTINCT FROM f.options -> 'tables' ORDER BY 1, 2, 3
	LOOP
		RAISE WARNING 'option "tables" of worker "%": %', doubt.worker_name, doubt.message
			USING ERRCODE = 'undefined_object', HINT = coalesce(doubt.hint, 'Names are those of the source.');
	END LOOP;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION flo.warn_of_option() IS 'internal: warns of a worker''s option tables that names what is not there (42704)';

CREATE TRIGGER warn_inserted AFTER INSERT ON flo.rules
	REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION flo.warn_of_names('rule');
CREATE TRIGGER warn_updated AFTER UPDATE ON flo.rules
	REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION flo.warn_of_names('rule');
CREATE TRIGGER warn_inserted AFTER INSERT ON flo.routes
	REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION flo.warn_of_names('route');
CREATE TRIGGER warn_updated AFTER UPDATE ON flo.routes
	REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION flo.warn_of_names('route');
CREATE TRIGGER warn_inserted AFTER INSERT ON flo.webhook_subscriptions
	REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION flo.warn_of_names('subscription');
CREATE TRIGGER warn_updated AFTER UPDATE ON flo.webhook_subscriptions
	REFERENCING NEW TABLE AS written FOR EACH STATEMENT EXECUTE FUNCTION flo.warn_of_names('subscription');
CREATE TRIGGER warn_updated AFTER UPDATE ON flo.workers
	REFERENCING NEW TABLE AS written OLD TABLE AS former FOR EACH STATEMENT EXECUTE FUNCTION flo.warn_of_option();
