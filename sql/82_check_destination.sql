/*
 * 82_check_destination.sql
 *		The part of flo.check() that compares the tables of a destination with those
 *		of the source, as its replicator tells of them, before the first row comes.
 */

CREATE FUNCTION flo.worker_targets(
	group_name text,
	schemas text[],
	tables text[],
	OUT worker_name text,
	OUT place int,
	OUT schema_name text,
	OUT table_name text,
	OUT mappings jsonb,
	OUT truncates bool,
	OUT routed bool
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_worker_targets_v2' LANGUAGE C STABLE PARALLEL UNSAFE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.worker_targets(text, text[], text[]) IS
'internal: which of these tables of the source the group''s workers here take, and where they put their changes';

CREATE FUNCTION flo.type_called(source jsonb) RETURNS oid
	LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN source->>'type_name' IS NULL THEN to_regtype(source->>'type')::oid
				WHEN (source->>'array')::bool THEN nullif(t.typarray, 0)
				ELSE t.oid END
	  FROM (SELECT) x
	  LEFT JOIN LATERAL (
			SELECT t.oid, t.typarray
			  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
			  LEFT JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid
				   AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
			  LEFT JOIN pg_extension e ON e.oid = d.refobjid
			 WHERE t.typname = source->>'type_name' AND (n.nspname = source->>'type_schema' OR e.extname = source->>'extension')
			 ORDER BY n.nspname = source->>'type_schema' DESC LIMIT 1) t ON true
$$;
COMMENT ON FUNCTION flo.type_called(jsonb) IS 'internal: the type here that a column of the source has; of an extension''s wherever that is; NULL when there is none';

CREATE FUNCTION flo.type_below(type oid) RETURNS oid
	LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE below AS (
		SELECT t.oid, t.typtype, t.typbasetype FROM pg_type t WHERE t.oid = type
		UNION ALL
		SELECT t.oid, t.typtype, t.typbasetype FROM below b JOIN pg_type t ON t.oid = b.typbasetype WHERE b.typtype = 'd')
	SELECT b.oid FROM below b WHERE b.typtype <> 'd'
$$;
COMMENT ON FUNCTION flo.type_below(oid) IS 'internal: what a domain is made of, at last; another type itself';

-- Values arrive as text, or as what the same built-in type sends: what counts is
-- whether every value of the one is a value of the other.
CREATE FUNCTION flo.type_fit(source jsonb, type oid, typmod int) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	shown text := format_type(type, typmod);
	own oid := flo.type_called(source);
	theirs text := coalesce(source->>'base', source->>'type');
	here oid := flo.type_below(type);
	there oid;
	category "char" := (SELECT t.typcategory FROM pg_type t WHERE t.oid = here);
	-- length, or digits and those behind the point, or digits of a second
	have int[] := regexp_match((SELECT CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod) ELSE shown END FROM pg_type t WHERE t.oid = type),
							   '\((\d+)(?:,(-?\d+))?\)');
	want int[] := regexp_match(theirs, '\((\d+)(?:,(-?\d+))?\)');
	context "char";
	element oid;
BEGIN
	IF own = type AND shown = source->>'type' THEN
		RETURN 'all';
	END IF;
	there := coalesce(flo.type_below(own), to_regtype(source->>'base')::oid);
	IF here = there OR own = type THEN
		IF have IS NULL THEN
			RETURN 'all';
		ELSIF want IS NULL THEN
			-- without a number a timestamp has six digits, a bit one
			RETURN CASE WHEN shown ~ '^(time|interval)' AND have[1] = 6 OR shown ~ '^(bit|character)\(' AND theirs !~ 'varying' AND theirs <> 'bpchar'
						THEN 'all' ELSE 'some' END;
		ELSIF here = 'numeric'::regtype THEN
			RETURN CASE WHEN have[1] - coalesce(have[2], 0) >= want[1] - coalesce(want[2], 0) AND coalesce(have[2], 0) >= coalesce(want[2], 0)
						THEN 'all' ELSE 'some' END;
		END IF;
		RETURN CASE WHEN have[1] >= want[1] THEN 'all' ELSE 'some' END;
	END IF;
	-- what holds for its elements holds for an array
	SELECT d.typelem INTO element FROM pg_type d WHERE d.oid = here AND category = 'A' AND d.typelem <> 0
	   AND EXISTS (SELECT FROM pg_type s WHERE s.oid = there AND s.typcategory = 'A' AND s.typelem <> 0);
	IF FOUND THEN
		RETURN flo.type_fit(jsonb_build_object('type', regexp_replace(theirs, '(\[\])+$', ''), 'type_schema', source->'type_schema',
											   'type_name', source->'type_name', 'extension', source->'extension'), element, typmod);
	END IF;
	-- any text form is a text, and an enum of the same name has the same labels, or it is told
	IF category = 'S' THEN
		RETURN CASE WHEN have IS NULL OR have[1] >= coalesce(want[1], 40) THEN 'all' ELSE 'some' END;
	END IF;
	IF there IS NULL THEN
		RETURN CASE WHEN source->>'type_name' = (SELECT t.typname FROM pg_type t WHERE t.oid = type) THEN 'all' ELSE 'none' END;
	END IF;
	SELECT c.castcontext INTO context FROM pg_cast c WHERE c.castsource = there AND c.casttarget = here;
	IF context = 'i' OR here IN ('json'::regtype, 'jsonb'::regtype) AND there IN ('json'::regtype, 'jsonb'::regtype) THEN
		RETURN CASE WHEN have IS NULL THEN 'all' ELSE 'some' END;
	END IF;
	RETURN CASE WHEN context = 'a' OR (SELECT t.typcategory FROM pg_type t WHERE t.oid = there) = 'S'
				THEN 'some' ELSE 'none' END;
END
$$;
COMMENT ON FUNCTION flo.type_fit(jsonb, oid, int) IS 'internal: do all, some or none of the values of a column of the source fit into a type?';

CREATE FUNCTION flo.shell_word(word text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$ SELECT '''' || replace(word, '''', '''\''''') || '''' $$;
COMMENT ON FUNCTION flo.shell_word(text) IS 'internal: quoted for a shell';

-- A table of the source beside what it is to be here, for one worker
CREATE TYPE flo.comparison AS (
	worker_name text,
	owner oid,
	run_as_owner bool,
	copy_into text,
	fire_triggers bool,
	copied bool,
	made bool,
	awaited bool,
	name text,
	definition jsonb,
	schema_name text,
	table_name text,
	shown text,
	relation oid,
	relowner oid,
	relkind "char",
	mappings jsonb,
	truncates bool,
	routed bool
);
COMMENT ON TYPE flo.comparison IS 'internal: a table of the source beside what it is to be here';

-- A column likewise
CREATE TYPE flo.compared_column AS (
	shown text,
	relation oid,
	relkind "char",
	made bool,
	awaited bool,
	table_name text,
	place int,
	name text,
	source jsonb,
	attnum smallint
);
COMMENT ON TYPE flo.compared_column IS 'internal: a column that the source sends beside the one that it is to be here';

CREATE FUNCTION flo.compare_tables(group_name text, published jsonb, pieces text[]) RETURNS SETOF flo.comparison
	LANGUAGE sql STABLE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	WITH definition AS MATERIALIZED (
		-- each piece is parsed once, and not for each of its tables
		SELECT t.definition, p.lsn, row_number() OVER ()::int AS place
		  FROM (SELECT d.piece::jsonb->'tables' AS tables, (d.piece::jsonb->>'lsn')::pg_lsn AS lsn FROM unnest(pieces) d (piece) OFFSET 0) p,
			   jsonb_array_elements(p.tables) t (definition)),
	target AS MATERIALIZED (
		SELECT x.* FROM (SELECT array_agg(d.definition->>'schema' ORDER BY d.place) AS schemas,
								array_agg(d.definition->>'table' ORDER BY d.place) AS tables FROM definition d) n
		 CROSS JOIN LATERAL flo.worker_targets(compare_tables.group_name, coalesce(n.schemas, '{}'), coalesce(n.tables, '{}')) x),
	worker AS MATERIALIZED (
		SELECT w.*, s.durable_lsn, p.group_name IS NOT NULL AS begun,
			   published->>'mode' <> 'stream' AS rows, w.start = 'copy' AND coalesce(p.copying, true) AS begins
		  FROM flo.checked_workers w
		  JOIN flo.status s ON s.group_name = w.group_name AND s.member = w.worker_name
		  LEFT JOIN flo.progress p ON p.group_name = w.group_name AND p.worker_name = w.worker_name
		 WHERE w.group_name = compare_tables.group_name)
	SELECT w.worker_name, w.owner, w.run_as_owner, w.copy_into, w.fire_triggers,
		   w.begins AND w.rows AND NOT w.begun,
		   w.begins AND (published->>'sync_schema')::bool,
		   ((published->>'track_ddl')::bool AND w.ddl = 'apply' OR (published->>'sync_schema')::bool) AND coalesce(w.durable_lsn < d.lsn, false),
		   format('%I.%I', d.definition->>'schema', d.definition->>'table'), d.definition,
		   t.schema_name, t.table_name, format('%I.%I', t.schema_name, t.table_name),
		   c.oid, c.relowner, c.relkind, t.mappings, t.truncates, t.routed
	  FROM target t
	  JOIN definition d ON d.place = t.place
	  JOIN worker w ON w.worker_name = t.worker_name
	  CROSS JOIN LATERAL (SELECT flo.table_called(t.schema_name, t.table_name) AS relation OFFSET 0) o
	  LEFT JOIN pg_class c ON c.oid = o.relation
	 WHERE NOT EXISTS (SELECT FROM flo.given_up g WHERE g.group_name = compare_tables.group_name AND g.worker_name = w.worker_name
					   AND g.schema_name = d.definition->>'schema' AND g.table_name = d.definition->>'table')
	 ORDER BY 9, 1
$$;
COMMENT ON FUNCTION flo.compare_tables(text, jsonb, text[]) IS
'internal: the tables of the source that workers here take, as the source tells of them; made: the copy that is still to come makes what is missing; awaited: DDL or the copy of a table that joined may';

CREATE FUNCTION flo.compare_columns(compared flo.comparison[]) RETURNS SETOF flo.compared_column
	LANGUAGE sql STABLE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT t.shown, t.relation, t.relkind, t.made, t.awaited, t.name, k.place::int, n.name, k.source, a.attnum
	  FROM (SELECT DISTINCT ON (c.shown, c.mappings, c.name) c.* FROM unnest(compared) c ORDER BY c.shown, c.mappings, c.name, c.awaited, c.made) t
	  CROSS JOIN LATERAL jsonb_array_elements(t.definition->'columns') WITH ORDINALITY k (source, place)
	  CROSS JOIN LATERAL (SELECT CASE WHEN t.mappings ? (k.source->>'name') THEN t.mappings->>(k.source->>'name') ELSE k.source->>'name' END AS name) n
	  LEFT JOIN pg_attribute a ON a.attrelid = t.relation AND a.attname = n.name AND a.attnum > 0 AND NOT a.attisdropped
	 WHERE n.name IS NOT NULL AND NOT coalesce((k.source->>'unsent')::bool, false)
$$;
COMMENT ON FUNCTION flo.compare_columns(flo.comparison[]) IS 'internal: columns that are sent, of these tables';

CREATE FUNCTION flo.check_presence(about text, compared flo.comparison[], columns flo.compared_column[],
								   OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	found record;
BEGIN
	item := 'schemas ' || about;
	SELECT array_agg(DISTINCT c.schema_name) AS names,
		   array_agg(DISTINCT format('CREATE SCHEMA %I;', c.schema_name)) AS statements INTO found
	  FROM unnest(compared) c
	 WHERE NOT c.made AND NOT c.awaited AND NOT EXISTS (SELECT FROM pg_namespace n WHERE n.nspname = c.schema_name);
	IF found.names IS NOT NULL THEN
		status := 'error';
		detail := 'missing here: ' || flo.short_list(found.names);
		hint := flo.short_list(found.statements, ' ');
		RETURN NEXT;
	END IF;

	-- what lacks here altogether: extensions and types first, as the rest needs them
	FOR found IN
		SELECT s.source->>'extension' AS extension, bool_or(e.name IS NULL) AS absent, bool_and(s.made) AS made,
			   array_agg(DISTINCT s.shown) AS tables
		  FROM unnest(columns) s
		  LEFT JOIN pg_available_extensions e ON e.name = s.source->>'extension'
		 WHERE s.attnum IS NULL AND NOT s.awaited AND s.source ? 'extension' AND NOT EXISTS (SELECT FROM pg_extension x WHERE x.extname = s.source->>'extension')
		 GROUP BY 1 ORDER BY 1
	LOOP
		item := format('extension %s %s', found.extension, about);
		status := CASE WHEN found.made AND NOT found.absent THEN 'warning' ELSE 'error' END;
		detail := format('missing here, columns of these need its types: %s', flo.short_list(found.tables));
		hint := format('CREATE EXTENSION %I;', found.extension);
		IF found.absent THEN
			hint := hint || ' -- when its package is installed on this server';
		END IF;
		RETURN NEXT;
	END LOOP;

	item := 'types ' || about;
	SELECT array_agg(DISTINCT s.source->>'type') AS names, array_agg(DISTINCT s.shown) AS tables INTO found
	  FROM unnest(columns) s
	 WHERE s.attnum IS NULL AND NOT s.made AND NOT s.awaited AND NOT s.source ? 'extension' AND flo.type_called(s.source) IS NULL;
	IF found.names IS NOT NULL THEN
		status := 'error';
		detail := format('missing here: %s; columns of these have them: %s', flo.short_list(found.names), flo.short_list(found.tables));
		hint := 'Create them as they are at the source: pg_dump --schema-only of its database has them, and so has sync_schema.';
		RETURN NEXT;
	END IF;

	item := 'tables ' || about;
	SELECT array_agg(DISTINCT c.shown) FILTER (WHERE NOT c.made AND NOT c.awaited) AS names,
		   array_agg(DISTINCT c.shown) FILTER (WHERE c.made OR c.awaited) AS to_come,
		   array_agg(DISTINCT '-t ' || flo.shell_word(c.name)) FILTER (WHERE NOT c.made AND NOT c.awaited AND NOT c.routed) AS options,
		   array_agg(DISTINCT flo.table_statement(c.shown, c.definition, c.mappings)) FILTER (WHERE NOT c.made AND NOT c.awaited AND c.routed) AS statements
	  INTO found FROM unnest(compared) c WHERE c.relation IS NULL;
	IF found.names IS NOT NULL THEN
		status := 'error';
		detail := 'missing here: ' || flo.short_list(found.names);
		hint := CASE WHEN found.options IS NULL THEN flo.short_list(found.statements, ' ')
					 ELSE format('pg_dump --schema-only %s SOURCE | psql %s', array_to_string(found.options[1:100], ' '), flo.shell_word(current_database()))
						  || coalesce(' and: ' || flo.short_list(found.statements, ' '), ', or let sync_schema of the replicator make them') END;
		RETURN NEXT;
	END IF;
	IF found.to_come IS NOT NULL THEN
		status := 'ok';
		detail := 'not here yet, the copy or DDL of the source makes them: ' || flo.short_list(found.to_come);
		hint := NULL;
		RETURN NEXT;
	END IF;

	SELECT array_agg(DISTINCT c.shown) AS names INTO found FROM unnest(compared) c WHERE c.relkind NOT IN ('r', 'p');
	IF found.names IS NOT NULL THEN
		status := 'error';
		detail := 'no tables here, so that no row can be applied to them: ' || flo.short_list(found.names);
		hint := 'Rename them and create tables in their place, or write routes to other tables.';
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION flo.check_presence(text, flo.comparison[], flo.compared_column[]) IS 'internal: the part of check_destination() about what is missing altogether';

CREATE FUNCTION flo.table_statement(shown text, definition jsonb, mappings jsonb) RETURNS text
	LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	WITH mapped AS (
		SELECT k.source, k.place, CASE WHEN mappings ? (k.source->>'name') THEN mappings->>(k.source->>'name') ELSE k.source->>'name' END AS name
		  FROM jsonb_array_elements(definition->'columns') WITH ORDINALITY k (source, place))
	SELECT format('CREATE TABLE %s (%s%s);', shown,
				  (SELECT string_agg(format('%I %s%s', m.name, m.source->>'type', CASE WHEN (m.source->>'not_null')::bool THEN ' NOT NULL' ELSE '' END), ', ' ORDER BY m.place)
					 FROM mapped m WHERE m.name IS NOT NULL AND NOT coalesce((m.source->>'unsent')::bool, false)),
				  (SELECT ', PRIMARY KEY (' || string_agg(quote_ident(coalesce(m.name, c.name)), ', ' ORDER BY c.place) || ')'
					 FROM (SELECT x.key FROM jsonb_array_elements(definition->'keys') x (key) WHERE (x.key->>'identity')::bool LIMIT 1) i
					CROSS JOIN LATERAL jsonb_array_elements_text(i.key->'columns') WITH ORDINALITY c (name, place)
					 LEFT JOIN mapped m ON m.source->>'name' = c.name
				   HAVING bool_and(m.name IS NOT NULL)))
$$;
COMMENT ON FUNCTION flo.table_statement(text, jsonb, jsonb) IS 'internal: a statement that makes a table which takes the rows of one of the source';

CREATE FUNCTION flo.check_columns(about text, compared flo.comparison[], columns flo.compared_column[],
								  OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	found record;
BEGIN
	item := 'columns ' || about;
	status := 'error';
	SELECT array_agg(x.names ORDER BY x.names) AS names, array_agg(x.statement ORDER BY x.names) AS statements INTO found
	  FROM (SELECT format('%s (%s)', k.shown, string_agg(quote_ident(k.name), ', ' ORDER BY k.place)) AS names,
				   format('ALTER TABLE %s %s;', k.shown, string_agg(format('ADD COLUMN %I %s', k.name, k.source->>'type'), ', ' ORDER BY k.place)) AS statement
			  FROM unnest(columns) k
			 WHERE k.relkind IN ('r', 'p') AND k.attnum IS NULL AND NOT k.awaited
			 GROUP BY k.shown) x;
	IF found.names IS NOT NULL THEN
		detail := 'missing here: ' || flo.short_list(found.names);
		hint := flo.short_list(found.statements, ' ');
		RETURN NEXT;
	END IF;

	item := 'column types ' || about;
	FOR found IN
		SELECT f.fit, array_agg(format('%s.%I is %s here, %s at the source', k.shown, k.name, format_type(a.atttypid, a.atttypmod), k.source->>'type') ORDER BY k.shown, k.place) AS names,
			   array_agg(format('ALTER TABLE %s ALTER COLUMN %I TYPE %s%s;', k.shown, k.name, k.source->>'type',
								CASE WHEN f.fit = 'none' THEN format(' USING %I::text::%s', k.name, k.source->>'type') ELSE '' END) ORDER BY k.shown, k.place) AS statements
		  FROM unnest(columns) k
		  JOIN pg_attribute a ON a.attrelid = k.relation AND a.attnum = k.attnum
		  CROSS JOIN LATERAL (SELECT CASE WHEN k.source ? 'type_name' OR format_type(a.atttypid, a.atttypmod) <> k.source->>'type'
										  THEN flo.type_fit(k.source, a.atttypid, a.atttypmod) ELSE 'all' END AS fit) f
		 WHERE f.fit <> 'all' AND NOT k.awaited
		 GROUP BY 1 ORDER BY 1
	LOOP
		status := CASE found.fit WHEN 'none' THEN 'error' ELSE 'warning' END;
		detail := CASE found.fit WHEN 'none' THEN 'values cannot be assigned: ' ELSE 'not every value fits: ' END || flo.short_list(found.names);
		hint := flo.short_list(found.statements, ' ');
		RETURN NEXT;
	END LOOP;

	item := 'required columns ' || about;
	status := 'error';
	SELECT array_agg(format('%s.%I', t.shown, a.attname) ORDER BY t.shown, a.attnum) AS names,
		   array_agg(format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL;', t.shown, a.attname) ORDER BY t.shown, a.attnum) AS statements INTO found
	  FROM (SELECT k.relation, k.shown, array_remove(array_agg(k.attnum), NULL) AS sent FROM unnest(columns) k
			 WHERE NOT k.awaited AND k.relkind IN ('r', 'p') GROUP BY 1, 2) t
	  JOIN pg_attribute a ON a.attrelid = t.relation AND a.attnum > 0 AND NOT a.attisdropped
	 WHERE a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = ''
	   AND (SELECT y.typdefault FROM pg_type y WHERE y.oid = a.atttypid) IS NULL
	   AND a.attnum <> ALL (t.sent);
	IF found.names IS NOT NULL THEN
		detail := 'the source does not send them, and they are NOT NULL without a default: ' || flo.short_list(found.names);
		hint := flo.short_list(found.statements, ' ');
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION flo.check_columns(text, flo.comparison[], flo.compared_column[]) IS 'internal: the part of check_destination() about columns';

CREATE FUNCTION flo.check_keys(about text, compared flo.comparison[],
							   OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	found record;
BEGIN
	item := 'keys ' || about;
	status := 'warning';
	SELECT array_agg(format('%s (%s)', x.shown, x.list) ORDER BY x.shown) AS names,
		   array_agg(CASE WHEN x.has_primary THEN format('CREATE UNIQUE INDEX ON %s (%s);', x.shown, x.list)
						  ELSE format('ALTER TABLE %s ADD PRIMARY KEY (%s);', x.shown, x.list) END ORDER BY x.shown) AS statements INTO found
	  FROM (SELECT DISTINCT c.shown, k.list,
				   EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.relation AND i.indisprimary) AS has_primary
			  FROM unnest(compared) c
			 CROSS JOIN LATERAL jsonb_array_elements(c.definition->'keys') y (key)
			 CROSS JOIN LATERAL flo.mapped_key(y.key, c.mappings) k
			 WHERE (y.key->>'identity')::bool AND NOT c.awaited AND NOT c.made AND c.relkind IN ('r', 'p') AND k.columns IS NOT NULL
			   AND NOT EXISTS (SELECT FROM flo.unique_columns(c.relation) u WHERE u.columns = k.columns)) x;
	IF found.names IS NOT NULL THEN
		detail := 'rows are found by these columns at the source, and no unique index here has them, so that each UPDATE and DELETE reads the whole table and rows can be doubled: '
				  || flo.short_list(found.names);
		hint := flo.short_list(found.statements, ' ');
		RETURN NEXT;
	END IF;

	SELECT array_agg(format('%s (%s)', x.shown, array_to_string(x.columns, ', ')) ORDER BY x.shown) AS names,
		   array_agg(x.statement ORDER BY x.shown) AS statements INTO found
	  FROM (SELECT DISTINCT c.shown, u.columns,
				   coalesce((SELECT format('ALTER TABLE %s DROP CONSTRAINT %I;', c.shown, o.conname) FROM pg_constraint o
							  WHERE o.conindid = u.index AND o.contype IN ('p', 'u') LIMIT 1),
							format('DROP INDEX %s;', u.index::regclass)) AS statement
			  FROM unnest(compared) c CROSS JOIN LATERAL flo.unique_columns(c.relation) u
			 WHERE NOT c.awaited AND c.relkind IN ('r', 'p')
			   AND u.columns <@ ARRAY(SELECT CASE WHEN c.mappings ? (k.source->>'name') THEN c.mappings->>(k.source->>'name') ELSE k.source->>'name' END
										FROM jsonb_array_elements(c.definition->'columns') k (source) WHERE NOT k.source ? 'unsent')
			   AND NOT EXISTS (SELECT FROM jsonb_array_elements(c.definition->'keys') y (key)
								CROSS JOIN LATERAL flo.mapped_key(y.key, c.mappings) k WHERE k.columns <@ u.columns)) x;
	IF found.names IS NOT NULL THEN
		detail := 'unique here and not at the source, whose rows may not be so: ' || flo.short_list(found.names);
		hint := flo.short_list(found.statements, ' ') || ' -- or make them unique at the source, too';
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION flo.check_keys(text, flo.comparison[]) IS 'internal: the part of check_destination() about unique keys';

CREATE FUNCTION flo.mapped_key(key jsonb, mappings jsonb, OUT columns text[], OUT list text)
	LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN bool_and(m.name IS NOT NULL) THEN array_agg(m.name ORDER BY m.name) END,
		   string_agg(quote_ident(m.name), ', ' ORDER BY c.place)
	  FROM jsonb_array_elements_text(key->'columns') WITH ORDINALITY c (name, place)
	  CROSS JOIN LATERAL (SELECT CASE WHEN mappings ? c.name THEN mappings->>c.name ELSE c.name END AS name) m
$$;
COMMENT ON FUNCTION flo.mapped_key(jsonb, jsonb) IS 'internal: the columns here of a key of the source, sorted, and as a list; NULL when a route leaves one out';

CREATE FUNCTION flo.unique_columns(relation oid, OUT index oid, OUT columns text[])
	RETURNS SETOF record LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT i.indexrelid, (SELECT array_agg(a.attname::text ORDER BY a.attname::text)
							FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
							JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
						   WHERE k.place <= i.indnkeyatts)
	  FROM pg_index i
	 WHERE i.indrelid = unique_columns.relation AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
$$;
COMMENT ON FUNCTION flo.unique_columns(oid) IS 'internal: the unique indexes of a table, and the columns of each, sorted by name';

CREATE FUNCTION flo.check_rights(group_name text, compared flo.comparison[],
								 OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	found record;
	about text := 'of group ' || group_name;
	membership text := CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
	item := 'privileges ' || about;
	status := 'error';
	FOR found IN
		WITH applied AS (
			SELECT c.*, CASE WHEN c.run_as_owner THEN c.owner ELSE c.relowner END AS run_as
			  FROM unnest(compared) c
			 WHERE c.relkind IN ('r', 'p') AND EXISTS (SELECT FROM pg_roles o WHERE o.oid = c.owner))
		SELECT 1 AS place, format('role %I may not act as the owner of these tables', w.rolname) AS what,
			   array_agg(DISTINCT a.shown) AS names,
			   array_agg(DISTINCT CASE WHEN o.rolsuper THEN format('SELECT flo.alter_worker(%L, %L, ''{"run_as_owner": true}'');', group_name, a.worker_name)
									   ELSE format('GRANT %I TO %I;', o.rolname, w.rolname) END) AS statements
		  FROM applied a JOIN pg_roles w ON w.oid = a.owner JOIN pg_roles o ON o.oid = a.relowner
		 WHERE NOT a.run_as_owner AND NOT pg_has_role(a.owner, a.relowner, membership)
		 GROUP BY w.rolname
		UNION ALL
		SELECT 2, format('role %I lacks USAGE on the schemas', o.rolname), array_agg(DISTINCT quote_ident(a.schema_name)),
			   array_agg(DISTINCT format('GRANT USAGE ON SCHEMA %I TO %I;', a.schema_name, o.rolname))
		  FROM applied a JOIN pg_roles o ON o.oid = a.run_as
		  JOIN pg_class c ON c.oid = a.relation
		 WHERE NOT has_schema_privilege(a.run_as, c.relnamespace, 'USAGE')
		 GROUP BY o.rolname
		UNION ALL
		SELECT 3, format('role %I lacks privileges on', o.rolname), array_agg(DISTINCT format('%s (%s)', a.shown, l.list)),
			   array_agg(DISTINCT format('GRANT %s ON %s TO %I;', l.list, a.shown, o.rolname))
		  FROM applied a JOIN pg_roles o ON o.oid = a.run_as
		 CROSS JOIN LATERAL (SELECT string_agg(p.privilege, ', ' ORDER BY p.place) AS list
							   FROM unnest('{SELECT,INSERT,UPDATE,DELETE,TRUNCATE}'::text[]) WITH ORDINALITY p (privilege, place)
							  WHERE (p.privilege <> 'TRUNCATE' OR a.truncates OR a.copied AND a.copy_into = 'truncate')
								AND NOT has_table_privilege(a.run_as, a.relation, p.privilege)) l
		 WHERE l.list IS NOT NULL
		 GROUP BY o.rolname
		UNION ALL
		SELECT 4, format('row-level security applies to role %I on', o.rolname), array_agg(DISTINCT a.shown),
			   array_agg(DISTINCT CASE WHEN c.relforcerowsecurity AND pg_has_role(a.run_as, c.relowner, 'USAGE')
									   THEN format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY;', a.shown)
									   ELSE format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY;', a.shown) END)
		  FROM applied a JOIN pg_roles o ON o.oid = a.run_as
		  JOIN pg_class c ON c.oid = a.relation
		 WHERE c.relrowsecurity AND NOT o.rolsuper AND NOT o.rolbypassrls
		   AND (c.relforcerowsecurity OR NOT pg_has_role(a.run_as, c.relowner, 'USAGE'))
		 GROUP BY o.rolname
		UNION ALL
		SELECT 5, format('role %I lacks CREATE, by which missing tables are made, on', w.rolname),
			   array_agg(DISTINCT CASE WHEN n.oid IS NULL THEN 'database ' || quote_ident(current_database()) ELSE 'schema ' || quote_ident(n.nspname) END),
			   array_agg(DISTINCT CASE WHEN n.oid IS NULL THEN format('GRANT CREATE ON DATABASE %I TO %I;', current_database(), w.rolname)
									   ELSE format('GRANT CREATE ON SCHEMA %I TO %I;', n.nspname, w.rolname) END)
		  FROM unnest(compared) a JOIN pg_roles w ON w.oid = a.owner
		  LEFT JOIN pg_namespace n ON n.nspname = a.schema_name
		 WHERE a.relation IS NULL AND a.made
		   AND NOT CASE WHEN n.oid IS NULL THEN has_database_privilege(a.owner, current_database(), 'CREATE')
						ELSE has_schema_privilege(a.owner, n.oid, 'CREATE') END
		 GROUP BY w.rolname
		 ORDER BY 1, 2
	LOOP
		detail := found.what || ': ' || flo.short_list(found.names);
		hint := flo.short_list(found.statements, ' ');
		RETURN NEXT;
	END LOOP;

	item := 'owners ' || about;
	SELECT array_agg(DISTINCT c.definition->>'owner') AS names,
		   array_agg(DISTINCT format('CREATE ROLE %I;', c.definition->>'owner')) AS statements INTO found
	  FROM unnest(compared) c
	 WHERE c.relation IS NULL AND c.made AND c.definition ? 'owner'
	   AND NOT EXISTS (SELECT FROM pg_roles o WHERE o.rolname = c.definition->>'owner');
	IF found.names IS NOT NULL THEN
		detail := 'with schema_owner tables are given to roles that do not exist here: ' || flo.short_list(found.names);
		hint := flo.short_list(found.statements, ' ');
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION flo.check_rights(text, flo.comparison[]) IS 'internal: the part of check_destination() about roles and what they may do';

CREATE FUNCTION flo.check_surroundings(group_name text, compared flo.comparison[],
									   OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	found record;
BEGIN
	status := 'warning';
	item := 'shared tables of group ' || group_name;
	SELECT array_agg(format('%s from %s', x.shown, x.sources) ORDER BY x.shown) AS names INTO found
	  FROM (SELECT c.shown, string_agg(DISTINCT c.name, ' and ') AS sources FROM unnest(compared) c
			 GROUP BY c.shown HAVING count(DISTINCT c.name) > 1) x;
	IF found.names IS NOT NULL THEN
		detail := 'several tables of the source go to one here, where rows of the same key take each other''s place: ' || flo.short_list(found.names);
		hint := 'Unless their keys never meet, change flo.routes so that each has a table of its own.';
		RETURN NEXT;
	END IF;

	item := 'triggers of group ' || group_name;
	SELECT array_agg(format('%I on %s', t.tgname, c.shown) ORDER BY c.shown, t.tgname) AS names,
		   array_agg(format('ALTER TABLE %s ENABLE TRIGGER %I;', c.shown, t.tgname) ORDER BY c.shown, t.tgname) AS statements INTO found
	  FROM (SELECT DISTINCT c.relation, c.shown FROM unnest(compared) c WHERE NOT c.fire_triggers) c
	  JOIN pg_trigger t ON t.tgrelid = c.relation AND NOT t.tgisinternal AND t.tgenabled IN ('A', 'R') AND t.tgfoid <> 'flo.fence'::regproc;
	IF found.names IS NOT NULL THEN
		detail := 'they fire for rows that come from the source, too (ENABLE ALWAYS or REPLICA): ' || flo.short_list(found.names);
		hint := flo.short_list(found.statements, ' ') || ' -- unless that is meant';
		RETURN NEXT;
	END IF;

	FOR found IN
		SELECT c.worker_name, array_agg(format('%s (%s)', c.shown, pg_size_pretty(z.bytes)) ORDER BY c.shown) AS names
		  FROM unnest(compared) c
		 CROSS JOIN LATERAL (
				-- a size waits for who changes the table
				SELECT CASE WHEN EXISTS (SELECT FROM pg_locks l WHERE l.mode = 'AccessExclusiveLock'
										 AND l.relation IN (SELECT flo.parts_of(c.relation))) THEN 0
							ELSE (SELECT sum(pg_relation_size(p.oid)) FROM flo.parts_of(c.relation) p (oid)) END::bigint AS bytes) z
		 WHERE c.copied AND c.copy_into = 'empty' AND c.relkind IN ('r', 'p') AND z.bytes > 0
		 GROUP BY 1 ORDER BY 1
	LOOP
		item := format('rows before the copy of member %s of group %s', found.worker_name, group_name);
		detail := 'the copy comes into empty tables only, these have had rows: ' || flo.short_list(found.names);
		hint := format('SELECT flo.alter_worker(%L, %L, ''{"copy_into": "merge"}''); -- or "truncate", or TRUNCATE them', group_name, found.worker_name);
		RETURN NEXT;
	END LOOP;

	FOR found IN
		SELECT w.worker_name, array_agg(n.name ORDER BY n.name) AS names
		  FROM flo.checked_workers w
		 CROSS JOIN LATERAL unnest(CASE jsonb_typeof(w.tables) WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(w.tables))
								   ELSE regexp_split_to_array(w.tables #>> '{}', ',(?=(?:[^"]*"[^"]*")*[^"]*$)') END) t (given)
		 CROSS JOIN LATERAL (SELECT CASE cardinality(p.parts) WHEN 1 THEN format('public.%I', p.parts[1]) ELSE format('%I.%I', p.parts[1], p.parts[2]) END AS name
							   FROM (SELECT parse_ident(btrim(t.given), false) AS parts) p) n
		 WHERE w.group_name = check_surroundings.group_name AND w.sink = 'postgres' AND w.tables IS NOT NULL
		   AND NOT EXISTS (SELECT FROM unnest(compared) c WHERE c.worker_name = w.worker_name AND c.name = n.name)
		 GROUP BY 1 ORDER BY 1
	LOOP
		item := format('option tables of member %s of group %s', found.worker_name, group_name);
		detail := 'it names tables that the source does not publish: ' || flo.short_list(found.names);
		hint := 'Names are those of the source, with their schema unless that is public: change the option with flo.alter_worker(), or add the tables at the source with flo.add_table().';
		RETURN NEXT;
	END LOOP;
END
$$;
COMMENT ON FUNCTION flo.check_surroundings(text, flo.comparison[]) IS 'internal: the part of check_destination() about what else meets the rows here';

CREATE FUNCTION flo.check_grantees(about text, published jsonb, compared flo.comparison[],
								OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	found record;
BEGIN
	-- once the definitions are made nothing is granted any more
	IF published->'roles' IS NULL OR NOT EXISTS (SELECT FROM unnest(compared) c WHERE c.made) THEN
		RETURN;
	END IF;
	item := 'roles ' || about;
	WITH role AS (
		SELECT r.role->>'name' AS name, coalesce((r.role->>'login')::bool, false) AS login, r.role->'member_of' AS member_of, r.place
		  FROM jsonb_array_elements(published->'roles') WITH ORDINALITY r (role, place)),
	membership AS (
		SELECT r.name AS member, m.name, r.place FROM role r CROSS JOIN LATERAL jsonb_array_elements_text(r.member_of) m (name)
		 WHERE NOT EXISTS (SELECT FROM pg_roles h JOIN pg_roles g ON g.rolname = m.name
							WHERE h.rolname = r.name AND pg_has_role(h.oid, g.oid, 'MEMBER')))
	SELECT (SELECT array_agg(quote_ident(r.name) ORDER BY r.place) FROM role r WHERE to_regrole(quote_ident(r.name)) IS NULL) AS names,
		   (SELECT array_agg(format('%I of %I', m.member, m.name) ORDER BY m.place) FROM membership m
			 WHERE to_regrole(quote_ident(m.member)) IS NOT NULL AND to_regrole(quote_ident(m.name)) IS NOT NULL) AS members,
		   array_cat((SELECT array_agg(format('CREATE ROLE %I%s;', r.name, CASE WHEN r.login THEN ' LOGIN' ELSE '' END) ORDER BY r.place)
						FROM role r WHERE to_regrole(quote_ident(r.name)) IS NULL),
					 (SELECT array_agg(format('GRANT %I TO %I;', m.name, m.member) ORDER BY m.place) FROM membership m)) AS statements INTO found;
	IF found.names IS NOT NULL THEN
		status := 'error';
		detail := 'missing here, and definitions of the source are theirs, or grant to them: ' || flo.short_list(found.names);
		hint := array_to_string(found.statements, ' ') || ' -- passwords do not travel; pg_dumpall --roles-only of the source has them';
		RETURN NEXT;
	ELSIF found.members IS NOT NULL THEN
		status := 'warning';
		detail := 'at the source roles are members of others to which it grants, here they are not: ' || flo.short_list(found.members);
		hint := array_to_string(found.statements, ' ');
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION flo.check_grantees(text, jsonb, flo.comparison[]) IS 'internal: the part of check_destination() about roles that definitions name';

CREATE FUNCTION flo.check_destination(group_name text, published jsonb, pieces text[],
									  OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	about text := 'of group ' || group_name;
	compared flo.comparison[];
	columns flo.compared_column[];
	found record;
	wrong bool := false;
BEGIN
	item := 'tables ' || about;
	IF published IS NULL THEN
		status := 'warning';
		detail := 'the source has told nothing of its tables yet, so they are not compared';
		hint := format('Start its replicator, in the source''s database: SELECT flo.start_group(%L);', group_name);
		RETURN NEXT;
		RETURN;
	END IF;
	IF NOT EXISTS (SELECT FROM flo.checked_workers w WHERE w.group_name = check_destination.group_name AND w.sink = 'postgres') THEN
		status := 'ok';
		detail := 'compared for owners of the workers and members of pg_monitor';
		RETURN NEXT;
		RETURN;
	END IF;
	BEGIN
		compared := ARRAY(SELECT c FROM flo.compare_tables(group_name, published, pieces) c);
		columns := ARRAY(SELECT k FROM flo.compare_columns(compared) k);
	EXCEPTION WHEN untranslatable_character OR invalid_text_representation THEN
		status := 'warning';
		detail := 'a table of the source has a name that the encoding of this database cannot have, so they are not compared: ' || SQLERRM;
		hint := 'Leave the table out with the option tables of the worker, or make the destination a database in UTF8.';
		RETURN NEXT;
		RETURN;
	END;

	-- whatever a source says, no statement here is to be about these
	SELECT array_agg(DISTINCT c.shown ORDER BY c.shown) AS names INTO found
	  FROM unnest(compared) c WHERE c.schema_name ~ '^pg_' OR c.schema_name IN ('information_schema', 'flo');
	IF found.names IS NOT NULL THEN
		status := 'error';
		detail := 'changes are not applied to system tables: ' || flo.short_list(found.names);
		hint := 'Look who publishes them at the source, or write routes to other tables.';
		wrong := true;
		RETURN NEXT;
		compared := ARRAY(SELECT c FROM unnest(compared) c WHERE c.shown <> ALL (found.names));
		columns := ARRAY(SELECT k FROM unnest(columns) k WHERE k.shown <> ALL (found.names));
	END IF;

	FOR found IN
		SELECT 1 AS place, p.* FROM flo.check_presence(about, compared, columns) p
		UNION ALL SELECT 2, c.* FROM flo.check_columns(about, compared, columns) c
		UNION ALL SELECT 3, k.* FROM flo.check_keys(about, compared) k
		-- a source of before that told of roles names owners of tables alone
		UNION ALL SELECT 4, r.* FROM flo.check_rights(group_name, compared) r WHERE r.item !~ '^owners ' OR NOT published ? 'roles'
		UNION ALL SELECT 5, o.* FROM flo.check_grantees(about, published, compared) o
		UNION ALL SELECT 6, s.* FROM flo.check_surroundings(group_name, compared) s
	LOOP
		item := found.item;
		status := found.status;
		detail := found.detail;
		hint := found.hint;
		wrong := true;
		RETURN NEXT;
	END LOOP;

	IF NOT wrong THEN
		item := 'tables ' || about;
		status := 'ok';
		detail := format('%s of the source are here, with columns, keys and privileges', cardinality(compared));
		hint := NULL;
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION flo.check_destination(text, jsonb, text[]) IS
'internal: the part of flo.check() that compares tables here with those of the source: what the keys tables and tables.n of the state bucket hold';
