/*
 * 66_fence.sql
 *		Fences: tables that take no writes while another server does.
 */

-- the row of the group does not go while it has a fence: nobody takes one down by accident
CREATE TABLE flo.fences (
	group_name text NOT NULL REFERENCES flo.groups,
	side text NOT NULL CHECK (side IN ('source', 'destination')),
	raised bool NOT NULL DEFAULT false,
	attempt bigint,
	reason text,
	since timestamptz NOT NULL DEFAULT clock_timestamp(),
	tables oid[] NOT NULL,
	passing text[] NOT NULL DEFAULT '{}',
	PRIMARY KEY (group_name, side)
);
COMMENT ON TABLE flo.fences IS 'Fences of this database, which its triggers pg_flo_fence_... go by; use flo.fence_status() and flo.unfence(). Never saved by pg_dump: where the triggers are restored they let everything through';
COMMENT ON COLUMN flo.fences.group_name IS 'group';
COMMENT ON COLUMN flo.fences.side IS 'source: tables that the group reads here; destination: tables that its worker writes here';
COMMENT ON COLUMN flo.fences.raised IS 'nobody but workers may write; else it is prepared';
COMMENT ON COLUMN flo.fences.attempt IS 'number of the cut-over that has raised it; NULL: none';
COMMENT ON COLUMN flo.fences.reason IS 'why it is raised, for who is refused';
COMMENT ON COLUMN flo.fences.since IS 'when it was prepared, raised or lowered';
COMMENT ON COLUMN flo.fences.tables IS 'OIDs of the tables; their partitions are meant, too';
COMMENT ON COLUMN flo.fences.passing IS 'groups whose workers write past it, beside its own group''s';

-- called for each row, so without settings of its own: it looks nothing up by a search_path
CREATE FUNCTION flo.fence() RETURNS trigger
	AS 'MODULE_PATHNAME', 'flo_fence_v2' LANGUAGE C;
COMMENT ON FUNCTION flo.fence() IS 'internal: refuses writes to tables whose fence is raised (55000)';

CREATE FUNCTION flo.fence_status(
	OUT group_name text,
	OUT side text,
	OUT state text,
	OUT attempt bigint,
	OUT since timestamptz,
	OUT reason text,
	OUT tables int,
	OUT uncovered text[]
) RETURNS SETOF record LANGUAGE sql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT f.group_name, f.side, CASE WHEN f.raised THEN 'raised' ELSE 'prepared' END, f.attempt, f.since, f.reason,
		   count(c.oid)::int,
		   array_agg(format('%I.%I', n.nspname, c.relname) ORDER BY n.nspname, c.relname) FILTER (WHERE NOT EXISTS (
				SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND g.tgfoid = 'flo.fence'::regproc
				   AND g.tgenabled = 'A' AND g.tgtype & 1 = 1) AND c.oid IS NOT NULL)
	  FROM flo.fences f
	  LEFT JOIN LATERAL unnest(f.tables) t (oid) ON true
	  LEFT JOIN pg_class c ON c.oid = t.oid
	  LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
	 GROUP BY f.group_name, f.side
	 ORDER BY f.group_name, f.side
$$;
COMMENT ON FUNCTION flo.fence_status() IS
'the fences of this database: raised (only workers of the group write to its tables; everybody else gets 55000) or prepared (the triggers are there and let everything through). tables: how many there are; uncovered: those whose trigger is gone or disabled, which raising the fence makes again';

CREATE FUNCTION flo.unfence(group_name text, force bool DEFAULT false) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_unfence_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.unfence(text, bool) IS
'take down the fence of a group in this database, so that its tables take writes again; of one that is not raised, remove its triggers. force: also the fence of a cut-over, whatever the other server does. Errors: 42704 unknown group, 42501 not its owner, 55000 no fence, or the fence of a cut-over without force';

CREATE FUNCTION flo.prepare_fence(group_name text, side text, tables regclass[], passing text DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_prepare_fence_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.prepare_fence(text, text, regclass[], text) IS
'internal: make the triggers of a fence, or add tables to it; passing: one more group whose workers pass. What flo.cutover() does by itself';

CREATE FUNCTION flo.raise_fence(group_name text, side text, reason text, attempt bigint DEFAULT 0) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_raise_fence_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.raise_fence(text, text, text, bigint) IS
'internal: raise a fence that is prepared; attempt: number of the cut-over, 0 = none. What flo.cutover() does by itself';
