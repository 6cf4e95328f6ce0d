/*
 * 75_definitions.sql
 *		What the tables of a group look like, as a replicator tells destinations
 *		and flo.check() compares it there.
 */

CREATE FUNCTION flo.published_tables(group_name text, OUT relation oid, OUT columns name[])
	RETURNS SETOF record LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	-- as pg_publication_tables says, which takes a lock of each table and so waits for whoever changes one
	WITH RECURSIVE publication AS (
		-- pubgencols came with 18
		SELECT p.oid, p.pubviaroot, to_jsonb(p) ->> 'pubgencols' = 's' AS generated FROM pg_publication p
		 WHERE p.pubname IN ('pgflo_' || published_tables.group_name, 'pgflo_' || published_tables.group_name || '_insert')),
	tree (publication, top, relation) AS (
		(SELECT p.oid, r.prrelid, r.prrelid FROM publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
		UNION
		SELECT p.oid, c.oid, c.oid FROM publication p JOIN pg_publication_namespace n ON n.pnpubid = p.oid
		  JOIN pg_class c ON c.relnamespace = n.pnnspid AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p')
		UNION ALL
		SELECT t.publication, t.top, i.inhrelid FROM tree t JOIN pg_class c ON c.oid = t.relation AND c.relkind = 'p'
		  JOIN pg_inherits i ON i.inhparent = t.relation AND NOT i.inhdetachpending),
	part AS (
		SELECT t.publication, t.relation FROM tree t WHERE t.relation <> t.top),
	travels AS (
		SELECT DISTINCT p.oid AS publication, p.generated, t.relation
		  FROM publication p JOIN tree t ON t.publication = p.oid JOIN pg_class c ON c.oid = t.relation
		 WHERE CASE WHEN p.pubviaroot
					THEN t.relation = t.top AND (t.publication, t.relation) NOT IN (SELECT o.publication, o.relation FROM part o)
					ELSE c.relkind <> 'p' END)
	SELECT t.relation,
		   (SELECT array_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
			 WHERE a.attrelid = t.relation AND a.attnum > 0 AND NOT a.attisdropped
			   AND CASE WHEN r.prattrs IS NULL THEN a.attgenerated = '' OR t.generated AND a.attgenerated = 's'
						ELSE a.attnum = ANY (r.prattrs) END)
	  FROM travels t LEFT JOIN pg_publication_rel r ON r.prpubid = t.publication AND r.prrelid = t.relation
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

CREATE FUNCTION flo.definition_roles(group_name text, schemas oid[], everything bool, owners bool, privileges bool, policies bool)
	RETURNS jsonb LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE named AS (
		SELECT d.classid, d.objid, d.deptype, d.refobjid AS role FROM pg_shdepend d
		 WHERE d.dbid = (SELECT b.oid FROM pg_database b WHERE b.datname = current_database()) AND d.refclassid = 'pg_authid'::regclass
		   AND (d.deptype = 'o' AND (owners OR d.classid = 'pg_default_acl'::regclass AND policies)
				OR d.deptype = 'a' AND (privileges OR d.classid = 'pg_default_acl'::regclass AND policies)
				OR d.deptype = 'r' AND policies)
		   AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')),
	relation AS (
		SELECT n.*, CASE n.classid WHEN 'pg_class'::regclass THEN n.objid
							 WHEN 'pg_policy'::regclass THEN (SELECT p.polrelid FROM pg_policy p WHERE p.oid = n.objid) END AS relation
		  FROM named n),
	published AS (
		SELECT p.relation FROM flo.published_tables(definition_roles.group_name) p),
	role (oid) AS (
		SELECT r.role FROM relation r
		 WHERE everything AND NOT coalesce((SELECT c.relnamespace FROM pg_class c WHERE c.oid = r.relation) = 'flo'::regnamespace, false)
			OR r.relation IN (SELECT p.relation FROM published p)
			OR pg_partition_root(r.relation) IN (SELECT p.relation FROM published p)
			OR CASE WHEN r.relation IS NOT NULL THEN (SELECT c.relnamespace FROM pg_class c WHERE c.oid = r.relation)
					WHEN r.classid = 'pg_namespace'::regclass THEN r.objid
					WHEN r.classid = 'pg_default_acl'::regclass THEN (SELECT a.defaclnamespace FROM pg_default_acl a WHERE a.oid = r.objid)
					ELSE (SELECT n.oid FROM pg_identify_object(r.classid, r.objid, 0) i JOIN pg_namespace n ON n.nspname = i.schema) END = ANY (schemas)
		UNION
		-- who has their rights by being a member
		SELECT m.member FROM role r JOIN pg_auth_members m ON m.roleid = r.oid)
	SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object('name', x.name, 'login', nullif(x.login, false), 'member_of', x.member_of)) ORDER BY x.name), '[]')
	  FROM (SELECT r.rolname AS name, r.rolcanlogin AS login,
				   (SELECT jsonb_agg(DISTINCT g.rolname) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
					 WHERE m.member = r.oid AND m.roleid IN (SELECT o.oid FROM role o)) AS member_of
			  FROM pg_roles r
			 WHERE r.oid IN (SELECT o.oid FROM role o) AND r.rolname !~ '^pg_'
			 ORDER BY 1 LIMIT 1000) x
$$;
COMMENT ON FUNCTION flo.definition_roles(text, oid[], bool, bool, bool, bool) IS
'internal: the roles that definitions of a group name, and their members, as a replicator tells of them: of what is in these schemas, or everything, and of its tables';
