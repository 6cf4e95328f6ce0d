/*
 * 86_masking.sql
 *		What becomes of each column of a group on its way, for whoever has to answer for it.
 */

CREATE FUNCTION flo.rule_class(action text, arguments jsonb) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	-- what only its author and the owners of members see
	IF arguments IS NULL AND action IN ('pseudonym', 'hash') THEN
		RETURN 'unknown';
	ELSIF action = 'pseudonym' THEN
		RETURN flo.pseudonym_class(arguments->>'kind');
	ELSIF action = 'hash' THEN
		RETURN CASE WHEN coalesce((arguments->>'length')::int, 32) * log(2, coalesce(char_length(arguments->>'alphabet'), 16)) >= 64
			THEN 'collision-resistant' ELSE 'lossy' END;
	END IF;
	RETURN CASE action WHEN 'keep' THEN 'injective' WHEN 'expression' THEN 'unknown' ELSE 'lossy' END;
END
$$;
COMMENT ON FUNCTION flo.rule_class(text, jsonb) IS
'internal: whether a transform keeps different values different: injective, collision-resistant, lossy; unknown for an expression, and for a rule that the caller does not see';

-- Columns as the source tells of them, else as they came
CREATE FUNCTION flo.columns_of_group(group_name text, pieces text[],
									 OUT schema_name text, OUT table_name text, OUT column_name text, OUT type text, OUT place int, OUT needed text[])
	RETURNS SETOF record LANGUAGE sql STABLE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	WITH told AS MATERIALIZED (
		SELECT t.definition
		  FROM (SELECT d.piece::jsonb->'tables' AS tables FROM unnest(pieces) d (piece) OFFSET 0) p,
			   jsonb_array_elements(p.tables) t (definition)),
	seen AS (
		SELECT DISTINCT ON (s.schema_name, s.table_name) s.*
		  FROM flo.shaped_tables s
		 WHERE s.group_name = columns_of_group.group_name AND s.worker_name <> 'replicator'
		   AND NOT EXISTS (SELECT FROM told t WHERE t.definition->>'schema' = s.schema_name AND t.definition->>'table' = s.table_name)
		 ORDER BY s.schema_name, s.table_name, s.newest_rule DESC)
	SELECT t.definition->>'schema', t.definition->>'table', c.source->>'name', c.source->>'type', c.place::int,
		   -- rules of a key hold whatever the operation
		   CASE WHEN (t.definition->>'full')::bool THEN '{INSERT,UPDATE,DELETE}'::text[]
				WHEN EXISTS (SELECT FROM jsonb_array_elements(t.definition->'keys') k (key)
							  WHERE (k.key->>'identity')::bool AND k.key->'columns' ? (c.source->>'name')) THEN '{}'
				ELSE '{INSERT,UPDATE}' END
	  FROM told t, jsonb_array_elements(t.definition->'columns') WITH ORDINALITY c (source, place)
	 WHERE NOT coalesce((c.source->>'unsent')::bool, false)
	UNION ALL
	SELECT s.schema_name, s.table_name, c.name, CASE WHEN c.type ~ '^\d+$' THEN format_type(c.type::oid, NULL) ELSE c.type END, c.place::int,
		   CASE WHEN s.keys = s.columns THEN '{INSERT,UPDATE,DELETE}'::text[] WHEN c.name = ANY (s.keys) THEN '{}' ELSE '{INSERT,UPDATE}' END
	  FROM seen s, unnest(s.columns, s.types) WITH ORDINALITY c (name, type, place)
$$;
COMMENT ON FUNCTION flo.columns_of_group(text, text[]) IS
'internal: columns that the source of a group here sends, and the operations with which their values come';

CREATE FUNCTION flo.masking_report(
	group_name text,
	OUT member text,
	OUT schema_name text,
	OUT table_name text,
	OUT column_name text,
	OUT type text,
	OUT decision text,
	OUT rules bigint[],
	OUT action text,
	OUT class text
) RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	pieces text[] := '{}';
BEGIN
	IF NOT EXISTS (SELECT FROM flo.groups g WHERE g.group_name = masking_report.group_name) THEN
		RAISE EXCEPTION 'group "%" does not exist in this database', masking_report.group_name
			USING ERRCODE = 'undefined_object', HINT = 'flo.groups lists the groups of this database.';
	END IF;
	IF EXISTS (SELECT FROM flo.checked_workers w WHERE w.group_name = masking_report.group_name) THEN
		pieces := ARRAY(SELECT b.detail FROM flo.check_broker(masking_report.group_name) b WHERE b.status = 'tables' AND b.item = masking_report.group_name);
	END IF;
	RETURN QUERY
		WITH known AS MATERIALIZED (
			SELECT c.*, dense_rank() OVER (ORDER BY c.schema_name, c.table_name)::int AS number
			  FROM flo.columns_of_group(masking_report.group_name, pieces) c),
		target AS MATERIALIZED (
			SELECT t.* FROM flo.worker_targets(masking_report.group_name,
				ARRAY(SELECT min(k.schema_name) FROM known k GROUP BY k.number ORDER BY k.number),
				ARRAY(SELECT min(k.table_name) FROM known k GROUP BY k.number ORDER BY k.number)) t),
		sent AS (
			SELECT t.worker_name AS member, k.schema_name, k.table_name, k.column_name, k.type, k.place, k.needed,
				   coalesce(t.mappings ? k.column_name AND t.mappings->>k.column_name IS NULL, false) AS left_out
			  FROM known k JOIN target t ON t.place = k.number
			UNION ALL
			SELECT 'replicator', n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnum,
				   CASE WHEN c.relreplident = 'f' THEN '{INSERT,UPDATE,DELETE}'::text[]
						WHEN EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND a.attnum = ANY (i.indkey)
									 AND (i.indisreplident OR i.indisprimary AND c.relreplident = 'd')) THEN '{}'
						ELSE '{INSERT,UPDATE}' END, false
			  FROM flo.published_tables(masking_report.group_name) p
			  JOIN pg_class c ON c.oid = p.relation JOIN pg_namespace n ON n.oid = c.relnamespace
			  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = ANY (p.columns)
			 WHERE a.attnum > 0 AND NOT a.attisdropped
			   AND EXISTS (SELECT FROM flo.sources s WHERE s.group_name = masking_report.group_name))
		SELECT s.member, s.schema_name::text, s.table_name::text, s.column_name::text, s.type,
			   CASE WHEN s.left_out THEN 'left out'
					WHEN r.rules IS NULL THEN 'none'
					WHEN r.changed IS NOT NULL AND r.changed @> s.needed THEN 'changed'
					WHEN (coalesce(r.changed, '{}') || coalesce(r.kept, '{}')) @> s.needed THEN 'kept'
					ELSE 'partly' END,
			   r.rules, r.action, CASE WHEN NOT s.left_out THEN r.class END
		  FROM sent s
		  CROSS JOIN LATERAL (
			SELECT array_agg(c.id ORDER BY w.position, c.id) AS rules, string_agg(c.action, ', ' ORDER BY w.position, c.id) AS action,
				   string_to_array(string_agg(array_to_string(c.operations, ','), ',') FILTER (WHERE c.action <> 'keep'), ',') AS changed,
				   string_to_array(string_agg(array_to_string(c.operations, ','), ',') FILTER (WHERE c.action = 'keep'), ',') AS kept,
				   (array_agg(f.class ORDER BY array_position('{lossy,unknown,collision-resistant,injective}', f.class)))[1] AS class
			  FROM flo.checked_rules c
			  LEFT JOIN flo.rules w ON w.id = c.id
			  CROSS JOIN LATERAL (SELECT flo.rule_class(c.action, w.arguments) AS class) f
			 WHERE c.group_name = masking_report.group_name AND c.enabled
			   AND c.stage = CASE s.member WHEN 'replicator' THEN 'replicator' ELSE 'worker' END
			   AND (c.worker_name IS NULL OR c.worker_name = s.member)
			   AND c.schema_name = s.schema_name AND c.table_name = s.table_name AND c.column_name = s.column_name
			   AND c.action <> ALL ('{eq,ne,gt,lt,gte,lte,contains,where}')) r
		 ORDER BY s.member <> 'replicator', s.member, s.schema_name, s.table_name, s.place;
END
$$;
COMMENT ON FUNCTION flo.masking_report(text) IS
'What becomes of each column that the source of a group sends, for each member here. decision: changed, kept (by the action keep), left out (by a route), partly (its rules do not hold for all operations), none; rules that say so; class: whether different values stay different (injective, collision-resistant, lossy; unknown for an expression, and for a pseudonym or hash whose rule the caller does not see). What the broker cannot tell is taken from what came. Callable by pg_monitor. Error: 42704 unknown group';
