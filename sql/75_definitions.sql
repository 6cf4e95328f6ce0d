/*
 * 75_definitions.sql
 *		What the tables of a group look like, as a replicator tells destinations
 *		and flo.check() compares it there.
 */

CREATE FUNCTION flo.published_tables(group_name text, OUT relation oid, OUT columns name[])
	RETURNS SETOF record LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT c.oid, p.attnames
	  FROM pg_publication_tables p
	  JOIN pg_namespace n ON n.nspname = p.schemaname
	  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
	 WHERE p.pubname IN ('pgflo_' || published_tables.group_name, 'pgflo_' || published_tables.group_name || '_insert')
$$;
COMMENT ON FUNCTION flo.published_tables(text) IS
'internal: the tables of a group as they travel, partitions as their root unless they are published for themselves, and the columns of each that may be sent';

CREATE FUNCTION flo.published_size(group_name text, OUT tables bigint, OUT columns bigint)
	LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT count(*), coalesce(sum(c.relnatts), 0)
	  FROM flo.published_tables(published_size.group_name) p JOIN pg_class c ON c.oid = p.relation
$$;
COMMENT ON FUNCTION flo.published_size(text) IS 'internal: how much there is for published_definitions() to say';

CREATE FUNCTION flo.published_definitions(
	group_name text,
	pieces int,
	wanted int[],
	with_owner bool,
	OUT piece int,
	OUT tables jsonb
) RETURNS SETOF record LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT (c.oid::bigint % pieces)::int,
		   jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
				'relation', c.oid::bigint,
				'schema', n.nspname,
				'table', c.relname,
				'owner', CASE WHEN with_owner THEN (SELECT o.rolname FROM pg_roles o WHERE o.oid = c.relowner) END,
				'full', nullif(c.relreplident = 'f', false),
				'columns', (
					SELECT jsonb_agg(jsonb_build_object(
						'name', a.attname,
						'type', format_type(a.atttypid, a.atttypmod),
						'type_schema', CASE WHEN u.own THEN m.nspname END,
						'type_name', CASE WHEN u.own THEN e.typname END,
						'array', nullif(u.own AND e.oid <> t.oid, false),
						'base', CASE WHEN e.typtype = 'd' AND e.oid = t.oid THEN format_type(e.typbasetype, e.typtypmod) END,
						'extension', x.extname,
						'not_null', nullif(a.attnotnull, false),
						'unsent', nullif(a.attname <> ALL (p.columns) OR a.attgenerated <> '' AND NOT (s.generated AND a.attgenerated = 's'), false))
						ORDER BY a.attnum)
					  FROM pg_attribute a
					  JOIN pg_type t ON t.oid = a.atttypid
					  JOIN pg_type e ON e.oid = CASE WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN t.typelem ELSE t.oid END
					  JOIN pg_namespace m ON m.oid = e.typnamespace
					  CROSS JOIN LATERAL (SELECT m.nspname <> 'pg_catalog' AS own) u
					  CROSS JOIN LATERAL (SELECT current_setting('server_version_num')::int >= 180000 AS generated) s
					  LEFT JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = e.oid
						   AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
					  LEFT JOIN pg_extension x ON x.oid = d.refobjid
					 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
				'keys', (
					SELECT jsonb_agg(jsonb_build_object(
						'columns', (SELECT jsonb_agg(a.attname ORDER BY k.place)
									  FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, place)
									  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
									 WHERE k.place <= i.indnkeyatts),
						'identity', nullif(CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END, false))
						ORDER BY i.indisprimary DESC, i.indexrelid)
					  FROM pg_index i
					 WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid
					   AND i.indpred IS NULL AND i.indexprs IS NULL)))
				ORDER BY c.oid)
	  FROM flo.published_tables(published_definitions.group_name) p
	  JOIN pg_class c ON c.oid = p.relation
	  JOIN pg_namespace n ON n.oid = c.relnamespace
	 WHERE (c.oid::bigint % pieces)::int = ANY (wanted)
	 GROUP BY 1
$$;
COMMENT ON FUNCTION flo.published_definitions(text, int, int[], bool) IS
'internal: what a replicator puts into the state bucket of its tables whose OID is one of wanted modulo pieces: names, types and keys, as src/bus/records.h has them';
