/*
 * 60_ddl.sql
 *		Definitions that travel: what a person decides about held statements,
 *		which objects here they may be about, and the queries by which
 *		sync_schema finds and compares definitions.
 */

CREATE FUNCTION flo.statement_classes() RETURNS TABLE (name text, commands text, fate text, remark text)
	AS 'MODULE_PATHNAME', 'flo_statement_classes_v2' LANGUAGE C IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.statement_classes() IS
'The statements that the server knows, and what becomes of them with track_ddl: carried; held (for a person, with ddl_trust = object); as rows; not replicated. name: node of the parse tree';

CREATE FUNCTION flo.release_ddl(id bigint) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_release_ddl_v2' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.release_ddl(bigint) IS
'Lets the worker run a statement of flo.pending_ddl as it is, with the rights of the worker''s owner where it cannot with less, once this commits. Errors: 42704 no such statement, 42501 not the worker''s owner';

CREATE FUNCTION flo.skip_ddl(id bigint) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_skip_ddl_v2' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.skip_ddl(bigint) IS
'Lets the worker pass a statement of flo.pending_ddl without running it, once this commits. Errors: 42704 no such statement, 42501 not the worker''s owner';

CREATE FUNCTION flo.table_schema(table_name regclass) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'flo_table_schema_v2' LANGUAGE C STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.table_schema(regclass) IS
'The definition of a table as JSON: columns with attnum, type, nullability, default; unique keys; replica identity';

---------------------------------------------------------------------------
-- Objects that DDL of the source may be about
---------------------------------------------------------------------------

CREATE FUNCTION flo.adoptable(schemas oid[], relations oid[], types oid[], routines oid[],
							  OUT class oid, OUT object oid, OUT owner oid, OUT named bool)
	RETURNS SETOF record LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	WITH relation AS (
		SELECT c.oid, c.relowner, coalesce(c.oid = ANY (relations), false) AS named,
			   -- tables are known by the source's word, or not at all
			   c.relkind IN ('v', 'm', 'S') OR c.oid = ANY (relations) AS itself
		  FROM pg_class c
		 WHERE c.oid = ANY (relations)
			OR (c.relnamespace = ANY (schemas) AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
				-- partitions and owned sequences go with their tables
				AND NOT c.relispartition
				AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
								AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))))
	SELECT x.class, x.object, CASE x.owner WHEN 'pg_database_owner'::regrole THEN (SELECT d.datdba FROM pg_database d WHERE d.datname = current_database()) ELSE x.owner END, x.named
	  FROM (SELECT 'pg_namespace'::regclass::oid AS class, n.oid AS object, n.nspowner AS owner, false AS named
			  FROM pg_namespace n WHERE n.oid = ANY (schemas)
			UNION ALL
			SELECT 'pg_class'::regclass, r.oid, r.relowner, r.named FROM relation r WHERE r.itself
			UNION ALL
			SELECT 'pg_type'::regclass, t.oid, t.typowner, coalesce(t.oid = ANY (types), false) FROM pg_type t
			 WHERE t.oid = ANY (types)
				OR (t.typnamespace = ANY (schemas) AND t.typtype IN ('b', 'c', 'd', 'e', 'r')
					AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind <> 'c')
					AND NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid))
			UNION ALL
			SELECT 'pg_proc'::regclass, p.oid, p.proowner, coalesce(p.oid = ANY (routines), false) FROM pg_proc p
			 WHERE p.oid = ANY (routines)
				OR (p.pronamespace = ANY (schemas)
					-- the functions of a range type
					AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i'))
			UNION ALL
			SELECT 'pg_operator'::regclass, o.oid, o.oprowner, false FROM pg_operator o WHERE o.oprnamespace = ANY (schemas)
			UNION ALL
			SELECT 'pg_collation'::regclass, c.oid, c.collowner, false FROM pg_collation c WHERE c.collnamespace = ANY (schemas)
			UNION ALL
			-- what is attached to these tables and views, and is not part of them
			SELECT 'pg_trigger'::regclass, t.oid, r.relowner, false
			  FROM pg_trigger t JOIN relation r ON r.oid = coalesce(pg_partition_root(t.tgrelid), t.tgrelid)
			 WHERE NOT t.tgisinternal AND t.tgfoid <> 'flo.fence'::regproc
			UNION ALL
			SELECT 'pg_rewrite'::regclass, w.oid, r.relowner, false
			  FROM pg_rewrite w JOIN relation r ON r.oid = w.ev_class WHERE w.rulename <> '_RETURN'
			UNION ALL
			SELECT 'pg_policy'::regclass, p.oid, r.relowner, false FROM pg_policy p JOIN relation r ON r.oid = p.polrelid) x
	 WHERE x.named OR NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = x.class AND d.objid = x.object AND d.deptype = 'e')
$$;
COMMENT ON FUNCTION flo.adoptable(oid[], oid[], oid[], oid[]) IS 'internal: the objects of schemas but tables, and those named, that are nobody''s part and no extension''s';

CREATE FUNCTION flo.adopt(
	group_name text,
	schemas regnamespace[] DEFAULT '{}',
	relations regclass[] DEFAULT '{}',
	types regtype[] DEFAULT '{}',
	routines regprocedure[] DEFAULT '{}',
	may text DEFAULT 'change',
	OUT type text,
	OUT object text
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_adopt_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.adopt(text, regnamespace[], regclass[], regtype[], regprocedure[], text) IS
'At a destination: says that objects which were prepared by hand are what the source has under these names, so that its DDL need not be held: schemas and all in them but tables, as far as it belongs to roles whose rights the caller and a worker''s owner have, and what is named. With may = refer they may only be referred to; with nothing they are none of the group''s. Of what is not named, only that is taken of which nothing was known, or less than change. Returns what has changed. Errors: 42704 no worker with a postgres sink here, 42501 not the worker''s owner, or of another role, 22023 of the system, part of another object or an extension''s, 55000 called by a member''s own process';

---------------------------------------------------------------------------
-- Definitions of tables and what they need (sync_schema)
---------------------------------------------------------------------------

-- few rows: what asks for all that is needed makes tables as large as it expects the result, and 19 knows no bound
CREATE FUNCTION flo.object_needs(class oid, object oid) RETURNS TABLE (needed_class oid, needed_object oid)
	LANGUAGE sql STABLE PARALLEL SAFE ROWS 3
	SET search_path = pg_catalog, pg_temp
AS $$
	-- what it depends on; a sequence does not need the table that owns it
	SELECT d.refclassid, d.refobjid FROM pg_depend d
	 WHERE d.classid = class AND d.objid = object AND d.refobjid >= 16384
	   AND NOT (class = 'pg_class'::regclass AND d.deptype = 'a'
				AND (SELECT c.relkind = 'S' FROM pg_class c WHERE c.oid = object))
	UNION
	-- its parts
	SELECT 'pg_attrdef'::regclass, a.oid FROM pg_attrdef a
	 WHERE class = 'pg_class'::regclass AND a.adrelid = object
	UNION
	SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c
	 WHERE class = 'pg_class'::regclass AND c.conrelid = object AND c.contype = 'c'
	UNION
	SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint c
	 WHERE class = 'pg_type'::regclass AND c.contypid = object
	UNION
	SELECT d.classid, d.objid FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
	 WHERE class = 'pg_class'::regclass AND d.refclassid = class AND d.refobjid = object
	   AND d.classid = class AND d.deptype IN ('a', 'i')
	UNION
	SELECT 'pg_class'::regclass, t.typrelid FROM pg_type t
	 WHERE class = 'pg_type'::regclass AND t.oid = object AND t.typrelid <> 0
	UNION
	SELECT d.classid, d.objid FROM pg_depend d
	 WHERE class IN ('pg_opclass'::regclass, 'pg_opfamily'::regclass) AND d.refclassid = class AND d.refobjid = object
	   AND d.classid IN ('pg_amop'::regclass, 'pg_amproc'::regclass)
$$;
COMMENT ON FUNCTION flo.object_needs(oid, oid) IS 'internal: what has to exist for an object to be created';

CREATE FUNCTION flo.needed_objects(
	group_name text,
	with_policies bool,
	tables oid[],
	OUT class oid,
	OUT object oid,
	OUT left_out text,
	OUT optional bool
) RETURNS SETOF record LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	WITH RECURSIVE published AS (
		SELECT DISTINCT p.relation AS oid FROM flo.published_tables(needed_objects.group_name) p),
	whole AS (
		SELECT p.oid, tables IS NULL OR p.oid = ANY (tables) AS asked FROM published p
		UNION
		SELECT i.inhrelid, w.asked FROM whole w
		  JOIN pg_class p ON p.oid = w.oid AND p.relkind = 'p'
		  JOIN pg_inherits i ON i.inhparent = w.oid),
	tree AS (
		SELECT DISTINCT w.oid FROM whole w WHERE w.asked),
	there AS (
		SELECT w.oid FROM whole w WHERE NOT w.asked AND w.oid NOT IN (SELECT t.oid FROM tree t)),
	needed (class, object) AS (
		SELECT 'pg_class'::regclass::oid, t.oid FROM tree t
		UNION
		SELECT o.needed_class, o.needed_object FROM needed n CROSS JOIN LATERAL flo.object_needs(n.class, n.object) o),
	relation AS (
		SELECT n.object AS oid FROM needed n JOIN pg_class c ON c.oid = n.object
		 WHERE n.class = 'pg_class'::regclass AND c.relkind IN ('r', 'p')),
	-- optional is what no row needs
	extra (class, object, optional) AS (
		SELECT 'pg_class'::regclass::oid, i.indexrelid, NOT i.indisunique FROM relation r JOIN pg_index i ON i.indrelid = r.oid
		UNION ALL
		-- what is NOT NULL comes with its column, unless it is not valid yet (18)
		SELECT 'pg_constraint'::regclass, c.oid, false FROM relation r JOIN pg_constraint c ON c.conrelid = r.oid
		   AND (c.contype IN ('p', 'u', 'x', 'f') OR c.contype = 'n' AND NOT c.convalidated)
		UNION ALL
		SELECT 'pg_trigger'::regclass, t.oid, true FROM relation r JOIN pg_trigger t ON t.tgrelid = r.oid AND NOT t.tgisinternal AND t.tgfoid <> 'flo.fence'::regproc
		UNION ALL
		SELECT 'pg_statistic_ext'::regclass, s.oid, true FROM relation r JOIN pg_statistic_ext s ON s.stxrelid = r.oid
		UNION ALL
		SELECT 'pg_rewrite'::regclass, w.oid, true FROM relation r JOIN pg_rewrite w ON w.ev_class = r.oid AND w.rulename <> '_RETURN'
		UNION ALL
		SELECT 'pg_policy'::regclass, p.oid, true FROM relation r JOIN pg_policy p ON p.polrelid = r.oid WHERE with_policies),
	extra_needs (root_class, root_object, optional, class, object) AS (
		SELECT e.class, e.object, e.optional, e.class, e.object FROM extra e
		UNION
		SELECT x.root_class, x.root_object, x.optional, o.needed_class, o.needed_object
		  FROM extra_needs x CROSS JOIN LATERAL flo.object_needs(x.class, x.object) o
		  LEFT JOIN needed n ON n.class = o.needed_class AND n.object = o.needed_object
		 WHERE n.class IS NULL AND NOT (o.needed_class = 'pg_class'::regclass AND o.needed_object IN (SELECT t.oid FROM there t))),
	outside AS (
		SELECT x.root_class, x.root_object, x.optional, min(x.object::regclass::text) AS other
		  FROM extra_needs x JOIN pg_class c ON c.oid = x.object
		 WHERE x.class = 'pg_class'::regclass AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
		 GROUP BY 1, 2, 3)
	SELECT n.class, n.object, NULL::text, false FROM needed n
	UNION
	SELECT x.class, x.object, NULL, bool_and(x.optional) FROM extra_needs x
	  LEFT JOIN outside o ON o.root_class = x.root_class AND o.root_object = x.root_object
	 WHERE o.root_class IS NULL
	 GROUP BY 1, 2
	UNION
	SELECT o.root_class, o.root_object,
		   format('it needs %s', o.other), o.optional FROM outside o
$$;
COMMENT ON FUNCTION flo.needed_objects(text, bool, oid[]) IS
'internal: the group''s tables, or these of them, and all they need; left_out says why an index, constraint, trigger or rule does not come along, optional that no row needs it';

CREATE FUNCTION flo.definition_of(class oid, object oid) RETURNS text
	LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE class
		WHEN 'pg_class'::regclass THEN (SELECT CASE
			WHEN c.relkind IN ('r', 'p', 'c') THEN concat_ws(E'\n',
				(SELECT string_agg(concat_ws(' ', 'column', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
						(SELECT 'COLLATE ' || l.collname FROM pg_collation l, pg_type t
						  WHERE l.oid = a.attcollation AND t.oid = a.atttypid AND t.typcollation <> a.attcollation),
						CASE WHEN a.attnotnull THEN 'NOT NULL' END,
						CASE a.attidentity WHEN 'a' THEN 'GENERATED ALWAYS AS IDENTITY' WHEN 'd' THEN 'GENERATED BY DEFAULT AS IDENTITY' END,
						CASE WHEN d.oid IS NOT NULL THEN
							CASE WHEN a.attgenerated = '' THEN 'DEFAULT ' ELSE 'GENERATED AS ' END || pg_get_expr(d.adbin, d.adrelid) END,
						CASE WHEN a.attgenerated = 'v' THEN 'VIRTUAL' END),
					E'\n' ORDER BY a.attname)
				   FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
				  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
				(SELECT string_agg('constraint ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid), E'\n' ORDER BY k.conname)
				   FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c' AND k.convalidated),
				'partitioned by ' || pg_get_partkeydef(c.oid),
				(SELECT string_agg(CASE WHEN c.relispartition THEN 'partition of ' ELSE 'inherits ' END || i.inhparent::regclass, E'\n' ORDER BY i.inhseqno)
				   FROM pg_inherits i WHERE i.inhrelid = c.oid),
				pg_get_expr(c.relpartbound, c.oid),
				CASE c.relpersistence WHEN 'u' THEN 'unlogged' END)
			WHEN c.relkind = 'S' THEN (SELECT format('sequence AS %s INCREMENT %s MINVALUE %s MAXVALUE %s START %s %s',
					format_type(s.seqtypid, NULL), s.seqincrement, s.seqmin, s.seqmax, s.seqstart, CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END)
				FROM pg_sequence s WHERE s.seqrelid = c.oid)
			WHEN c.relkind IN ('i', 'I') THEN pg_get_indexdef(c.oid)
			END FROM pg_class c WHERE c.oid = object)
		WHEN 'pg_type'::regclass THEN (SELECT CASE t.typtype
			WHEN 'e' THEN (SELECT string_agg('label ' || quote_literal(e.enumlabel), E'\n' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid)
			WHEN 'd' THEN concat_ws(E'\n', 'domain over ' || format_type(t.typbasetype, t.typtypmod), CASE WHEN t.typnotnull THEN 'NOT NULL' END,
				'DEFAULT ' || t.typdefault,
				(SELECT string_agg('constraint ' || quote_ident(k.conname) || ' ' || pg_get_constraintdef(k.oid), E'\n' ORDER BY k.conname)
				   FROM pg_constraint k WHERE k.contypid = t.oid AND k.convalidated AND k.contype = 'c'))
			WHEN 'c' THEN flo.definition_of('pg_class'::regclass, t.typrelid)
			WHEN 'r' THEN (SELECT 'range of ' || format_type(r.rngsubtype, NULL) FROM pg_range r WHERE r.rngtypid = t.oid)
			END FROM pg_type t WHERE t.oid = object)
		WHEN 'pg_proc'::regclass THEN (SELECT pg_get_functiondef(p.oid) FROM pg_proc p WHERE p.oid = object AND p.prokind <> 'a')
		WHEN 'pg_attrdef'::regclass THEN (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d WHERE d.oid = object)
		WHEN 'pg_constraint'::regclass THEN pg_get_constraintdef(object)
		WHEN 'pg_trigger'::regclass THEN pg_get_triggerdef(object)
		WHEN 'pg_rewrite'::regclass THEN pg_get_ruledef(object)
		WHEN 'pg_statistic_ext'::regclass THEN pg_get_statisticsobjdef(object)
		WHEN 'pg_policy'::regclass THEN (SELECT concat_ws(' ', p.polcmd, p.polpermissive, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
			FROM pg_policy p WHERE p.oid = object)
	END
$$;
COMMENT ON FUNCTION flo.definition_of(oid, oid) IS
'internal: the definition of an object, one property a line, as it compares between two databases; NULL when there is nothing to compare';

CREATE FUNCTION flo.find_object(type text, names text[], args text[], OUT class oid, OUT object oid)
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	SELECT a.classid, a.objid INTO class, object
	  FROM pg_get_object_address(CASE type WHEN 'shell type' THEN 'type' ELSE type END, names, args) a
	 WHERE type = 'shell type' OR NOT EXISTS (
		SELECT FROM pg_type t WHERE a.classid = 'pg_type'::regclass AND t.oid = a.objid AND NOT t.typisdefined)
	   AND NOT EXISTS (
		SELECT FROM pg_operator o WHERE a.classid = 'pg_operator'::regclass AND o.oid = a.objid AND o.oprcode = 0);
EXCEPTION
	WHEN undefined_table OR undefined_object OR undefined_function OR undefined_column OR undefined_parameter
		 OR invalid_schema_name OR wrong_object_type THEN
		NULL;
END
$$;
COMMENT ON FUNCTION flo.find_object(text, text[], text[]) IS
'internal: the object of an address as pg_identify_object_as_address() gives it; NULLs when there is none. A type of which there is no more than the name is a "shell type", such an operator is none';

CREATE FUNCTION flo.definition_difference(there text, here text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN there IS DISTINCT FROM here THEN coalesce(
		(SELECT string_agg(d.line, '; ' ORDER BY split_part(d.place, ' ', 2), d.line DESC)
		   FROM (SELECT 'source: ' || s.line AS line, s.line AS place
				   FROM (SELECT regexp_split_to_table(there, E'\n') EXCEPT SELECT regexp_split_to_table(here, E'\n')) s (line)
				 UNION ALL
				 SELECT 'here: ' || h.line, h.line
				   FROM (SELECT regexp_split_to_table(here, E'\n') EXCEPT SELECT regexp_split_to_table(there, E'\n')) h (line)) d),
		'source: ' || coalesce(there, 'nothing') || '; here: ' || coalesce(here, 'nothing')) END
$$;
COMMENT ON FUNCTION flo.definition_difference(text, text) IS 'internal: the lines that only one of two definitions has; NULL when they are the same';
