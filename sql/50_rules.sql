/*
 * 50_rules.sql
 *		Functions about rules and routes, which are rows of flo.rules and
 *		flo.routes.
 */

-- settings as in pg_flo's processes: values have the same text form there
CREATE FUNCTION flo.preview(
	group_name text,
	table_name text,
	operation text,
	new_row jsonb,
	old_row jsonb DEFAULT NULL,
	schema_name text DEFAULT 'public',
	worker_name text DEFAULT NULL
) RETURNS TABLE (destination_schema text, destination_table text, operation text, new_row jsonb, old_row jsonb)
	AS 'MODULE_PATHNAME', 'flo_preview_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' SET TimeZone = 'GMT'
	SET extra_float_digits = 3 SET bytea_output = 'hex' SET lc_monetary = 'C';
COMMENT ON FUNCTION flo.preview(text, text, text, jsonb, jsonb, text, text) IS
'What the rules and routes in force make of one change; no row when it is dropped. A column left out of new_row of an UPDATE counts as unchanged and not sent; old_row holds what the replica identity gives; where the source is here the rest is left out. Of a table that is not here, columns that rules and routes name are assumed, which a NOTICE tells. Without worker_name: the only worker, else what holds for every worker. Errors: 22023 bad operation or rows, 42703 unknown column, 42704 unknown group or worker, 42501 neither owner nor reader of the group, or a secret of a rule is not the caller''s to use, and those of the rules';

CREATE FUNCTION flo.import_operations(operations jsonb, missing text[]) RETURNS text[]
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN operations IS NULL OR operations IN ('[]', 'null') THEN missing
				WHEN jsonb_typeof(operations) = 'array'
				THEN (SELECT array_agg(upper(o.value) ORDER BY o.n) FROM jsonb_array_elements_text(operations) WITH ORDINALITY o (value, n))
				ELSE ARRAY[upper(operations #>> '{}')] END
$$;
COMMENT ON FUNCTION flo.import_operations(jsonb, text[]) IS 'internal: a list of operations of an imported file';

CREATE FUNCTION flo.import_rules(group_name text, rules jsonb) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	entry record;
	parameters jsonb;
	kind text;
	name text[];
	count int := 0;
BEGIN
	IF jsonb_typeof(rules) IS DISTINCT FROM 'object'
	   OR coalesce(jsonb_typeof(rules -> 'tables'), 'object') <> 'object'
	   OR coalesce(jsonb_typeof(rules -> 'rules'), 'array') <> 'array'
	   OR NOT rules ?| '{tables,rules}' OR rules - '{tables,rules}'::text[] <> '{}' THEN
		RAISE EXCEPTION 'the rules are not those of a rules.yaml'
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'They are {"tables": {"name": [rule, ...]}} or {"rules": [{"table": "name", ...}]}.';
	END IF;

	FOR entry IN
		SELECT t.key AS table_name, r.value AS rule
		  FROM jsonb_each(coalesce(rules -> 'tables', '{}')) t,
			   jsonb_array_elements(CASE jsonb_typeof(t.value) WHEN 'array' THEN t.value ELSE jsonb_build_array(t.value) END) r
		UNION ALL
		SELECT r.value ->> 'table', CASE jsonb_typeof(r.value) WHEN 'object' THEN r.value - 'table' ELSE r.value END FROM jsonb_array_elements(coalesce(rules -> 'rules', '[]')) r
	LOOP
		IF jsonb_typeof(entry.rule) <> 'object' OR entry.table_name IS NULL
		   OR entry.rule - '{type,column,parameters,operations,allow_empty_deletes}'::text[] <> '{}' THEN
			RAISE EXCEPTION 'invalid rule of table "%": %', coalesce(entry.table_name, ''), entry.rule
				USING ERRCODE = 'invalid_parameter_value',
					  HINT = 'Its keys are: type, column, parameters, operations, allow_empty_deletes; in a list also table.';
		END IF;
		parameters := coalesce(entry.rule -> 'parameters', '{}');
		kind := entry.rule ->> 'type';
		IF kind = 'transform' AND parameters ->> 'type' IN ('mask', 'regex') THEN
			kind := parameters ->> 'type';
		ELSIF kind = 'filter' AND parameters ->> 'operator' IN ('eq', 'ne', 'gt', 'lt', 'gte', 'lte', 'contains') THEN
			kind := parameters ->> 'operator';
		ELSIF kind = 'exclude_column' THEN
			RAISE EXCEPTION 'columns of table "%" are left out by a route', entry.table_name
				USING ERRCODE = 'invalid_parameter_value',
					  HINT = format('Set column_mappings of its row in flo.routes to {%s: null}.', to_json(entry.rule ->> 'column'));
		ELSE
			RAISE EXCEPTION 'unknown rule of table "%": %', entry.table_name, entry.rule
				USING ERRCODE = 'invalid_parameter_value',
					  HINT = 'A transform has parameters.type mask or regex, a filter parameters.operator eq, ne, gt, lt, gte, lte or contains.';
		END IF;

		-- as the other tool does: short values stay as they are, contains takes any value
		name := CASE WHEN entry.table_name LIKE '_%._%' THEN regexp_split_to_array(entry.table_name, '[.]')
					 ELSE ARRAY['public', entry.table_name] END;
		INSERT INTO flo.rules (group_name, schema_name, table_name, column_name, action, arguments, operations, allow_empty_deletes)
		VALUES (import_rules.group_name, name[1], array_to_string(name[2:], '.'), entry.rule ->> 'column', kind,
				parameters - '{type,operator,operations,allow_empty_deletes}'::text[]
				|| CASE kind WHEN 'mask' THEN '{"short": "keep"}'
							 WHEN 'contains' THEN jsonb_build_object('value', parameters ->> 'value') ELSE '{}' END,
				flo.import_operations(coalesce(entry.rule -> 'operations', parameters -> 'operations'), '{INSERT,UPDATE,DELETE}'),
				coalesce((entry.rule ->> 'allow_empty_deletes')::bool, (parameters ->> 'allow_empty_deletes')::bool, false));
		count := count + 1;
	END LOOP;
	RETURN count;
END
$$;
COMMENT ON FUNCTION flo.import_rules(text, jsonb) IS
'Adds the rules of a parsed rules.yaml of the original tool to flo.rules; returns how many. Errors: 22023 not such a file, and those of flo.rules';

CREATE FUNCTION flo.import_routes(group_name text, routes jsonb) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	entry record;
	mappings jsonb;
	source text[];
	destination text[];
	count int := 0;
BEGIN
	IF jsonb_typeof(routes) IS DISTINCT FROM 'object' THEN
		RAISE EXCEPTION 'the routes are not those of a routing.yaml'
			USING ERRCODE = 'invalid_parameter_value',
				  HINT = 'They are {"table": {"destination_table": "name", "column_mappings": [{"source": "a", "destination": "b"}], "operations": ["INSERT"]}}.';
	END IF;

	FOR entry IN SELECT r.key, r.value AS route FROM jsonb_each(routes) r LOOP
		IF jsonb_typeof(entry.route) = 'object' THEN
			mappings := coalesce(nullif(entry.route -> 'column_mappings', 'null'), '[]');
		END IF;
		IF jsonb_typeof(entry.route) <> 'object' OR jsonb_typeof(mappings) <> 'array'
		   OR entry.route - '{source_table,destination_table,column_mappings,operations}'::text[] <> '{}'
		   OR EXISTS (SELECT FROM jsonb_array_elements(mappings) m
					   WHERE coalesce(jsonb_typeof(m -> 'source'), '') <> 'string'
						  OR coalesce(jsonb_typeof(m -> 'destination'), '') <> 'string') THEN
			RAISE EXCEPTION 'invalid route of table "%": %', entry.key, entry.route
				USING ERRCODE = 'invalid_parameter_value',
					  HINT = 'Its keys are: source_table, destination_table, column_mappings (a list of source and destination), operations.';
		END IF;
		-- the key counts, as it does there
		source := CASE WHEN entry.key LIKE '_%._%' THEN regexp_split_to_array(entry.key, '[.]')
					   ELSE ARRAY['public', entry.key] END;
		destination := CASE WHEN entry.route ->> 'destination_table' LIKE '_%._%'
							THEN regexp_split_to_array(entry.route ->> 'destination_table', '[.]')
							ELSE ARRAY[NULL, entry.route ->> 'destination_table'] END;
		INSERT INTO flo.routes (group_name, source_schema, source_table, destination_schema, destination_table, column_mappings, operations)
		VALUES (import_routes.group_name, source[1], array_to_string(source[2:], '.'), destination[1],
				nullif(array_to_string(destination[2:], '.'), ''),
				coalesce((SELECT jsonb_object_agg(m ->> 'source', m -> 'destination') FROM jsonb_array_elements(mappings) m), '{}'),
				flo.import_operations(entry.route -> 'operations', '{INSERT,UPDATE,DELETE,TRUNCATE}'));
		count := count + 1;
	END LOOP;
	RETURN count;
END
$$;
COMMENT ON FUNCTION flo.import_routes(text, jsonb) IS
'Adds the routes of a parsed routing.yaml of the original tool to flo.routes; returns how many. Errors: 22023 not such a file, and those of flo.routes';

CREATE FUNCTION flo.rule_problem(id bigint) RETURNS text
	AS 'MODULE_PATHNAME', 'flo_rule_problem_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.rule_problem(bigint) IS 'internal: why a rule cannot work, as far as can be seen from here; NULL when nothing is known against it';
