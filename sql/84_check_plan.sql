/*
 * 84_check_plan.sql
 *		flo.check_plan(): what flo.check() would say of a replicator that is not
 *		there yet, and what flo.create_replicator() would.
 */

CREATE FUNCTION flo.plan_problems(
	group_name text,
	tables regclass[],
	schemas text[],
	mode text,
	copy_workers int,
	sync_schema bool,
	track_ddl bool,
	options jsonb,
	except_tables regclass[],
	OUT item text, OUT status text, OUT detail text, OUT hint text
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_plan_problems_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.plan_problems(text, regclass[], text[], text, int, bool, bool, jsonb, regclass[]) IS
'internal: what flo.create_replicator() would refuse, one question at a time';

CREATE FUNCTION flo.planned_tables(
	group_name text,
	tables regclass[],
	schemas text[],
	mode text,
	copy_workers int,
	sync_schema bool,
	track_ddl bool,
	options jsonb,
	except_tables regclass[],
	OUT relation oid, OUT has_identity bool, OUT lack text, OUT owned bool, OUT locked bool
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_planned_tables_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.planned_tables(text, regclass[], text[], text, int, bool, bool, jsonb, regclass[]) IS
'internal: the tables that a replicator with these arguments would cover';

CREATE FUNCTION flo.plan_broker(copy_bytes bigint, options jsonb, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_plan_broker_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.plan_broker(bigint, jsonb) IS 'internal: the part of flo.check_plan() that asks NATS';

CREATE FUNCTION flo.check_planned_tables(
	keyless_tables text,
	covered oid[],
	keyless oid[],
	lacks text[],
	foreigners oid[],
	OUT item text, OUT status text, OUT detail text, OUT hint text
) RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	names text[] := ARRAY(SELECT c.oid::regclass::text FROM pg_class c WHERE c.oid = ANY (foreigners) ORDER BY 1);
BEGIN
	item := 'tables of the plan';
	status := 'ok';
	detail := format('%s would be replicated', cardinality(covered));
	IF cardinality(names) > 0 THEN
		status := 'error';
		detail := format('they do not belong to role %I, which cannot publish them: %s', current_user, flo.short_list(names));
		-- nobody is to be made a superuser for this
		hint := coalesce(nullif(flo.short_list(ARRAY(SELECT format('GRANT %I TO %I;', o.rolname, current_user) FROM pg_roles o
								 WHERE NOT o.rolsuper AND o.oid IN (SELECT c.relowner FROM pg_class c WHERE c.oid = ANY (foreigners)) ORDER BY 1), ' '), ''),
						 'Have a role create the replicator that owns them, leave them out, or give them to this role with ALTER TABLE ... OWNER TO.');
	ELSIF cardinality(covered) = 0 THEN
		status := 'warning';
		detail := 'there is none that could be replicated';
		hint := 'Tables that are made later join, when the group is one of schemas or of every table.';
	END IF;
	RETURN NEXT;

	item := 'replica identities of the plan';
	status := 'ok';
	detail := 'every table has one';
	hint := NULL;
	IF cardinality(keyless) > 0 THEN
		names := ARRAY(SELECT k.relation::regclass::text || coalesce(' (' || k.lack || ')', '')
						 FROM unnest(keyless, lacks) k (relation, lack) ORDER BY 1);
		hint := flo.short_list(ARRAY(
			SELECT format('ALTER TABLE %s REPLICA IDENTITY %s;', k.relation::regclass,
						  coalesce('USING INDEX ' || quote_ident((
							SELECT x.relname FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
							 WHERE i.indrelid = k.relation AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
							   AND flo.key_is_sent(i.indexrelid)
							   AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = k.relation AND a.attnum = ANY (i.indkey) AND NOT a.attnotnull)
							 ORDER BY i.indexrelid LIMIT 1)), 'FULL'))
			  FROM unnest(keyless) k (relation) ORDER BY 1), ' ') || ' -- or give each a primary key, or see the option keyless_tables';
		CASE keyless_tables
			WHEN 'full' THEN
				detail := 'these get REPLICA IDENTITY FULL, as keyless_tables says: ' || flo.short_list(names);
				hint := NULL;
			WHEN 'insert_only' THEN
				status := 'warning';
				detail := 'only INSERT would be replicated of tables without a usable one: ' || flo.short_list(names);
			WHEN 'skip' THEN
				status := 'warning';
				detail := 'tables without a usable one would not be replicated: ' || flo.short_list(names);
			ELSE
				status := 'error';
				detail := 'none that is usable, so that UPDATE and DELETE could not be replicated: ' || flo.short_list(names);
		END CASE;
	END IF;
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION flo.check_planned_tables(text, oid[], oid[], text[], oid[]) IS 'internal: the part of flo.check_plan() about its tables and their replica identities';

CREATE FUNCTION flo.check_waits(locked oid[], OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql STABLE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	found record;
BEGIN
	-- a slot is made when all transactions that write now, in any database, have ended
	item := 'open transactions';
	status := 'ok';
	detail := 'none that the start would wait for';
	SELECT array_agg(format('pid %s of role %s in database %s, for %s', a.pid, quote_ident(a.usename), quote_ident(a.datname), date_trunc('second', clock_timestamp() - a.xact_start))
					 ORDER BY a.xact_start) AS names,
		   array_agg(format('SELECT pg_terminate_backend(%s);', a.pid) ORDER BY a.xact_start) AS statements INTO found
	  FROM pg_stat_activity a
	 WHERE a.backend_xid IS NOT NULL AND a.pid <> pg_backend_pid() AND a.xact_start < clock_timestamp() - interval '3 s';
	IF found.names IS NOT NULL THEN
		status := 'warning';
		detail := 'the start waits for transactions that have written something: ' || flo.short_list(found.names);
		hint := flo.short_list(found.statements, ' ') || ' -- or wait until they end';
	ELSIF NOT pg_has_role('pg_read_all_stats', 'USAGE') THEN
		detail := 'none of your own that the start would wait for; others'' are shown to members of pg_read_all_stats';
	END IF;
	RETURN NEXT;

	item := 'prepared transactions';
	status := 'ok';
	detail := 'none';
	hint := NULL;
	SELECT array_agg(format('%L in database %s since %s', p.gid, quote_ident(p.database), date_trunc('second', p.prepared)) ORDER BY p.prepared) AS names,
		   array_agg(format('ROLLBACK PREPARED %L;', p.gid) ORDER BY p.prepared) AS statements INTO found
	  FROM pg_prepared_xacts p;
	IF found.names IS NOT NULL THEN
		status := 'warning';
		detail := 'the start waits for them: ' || flo.short_list(found.names);
		hint := flo.short_list(found.statements, ' ') || ' -- or COMMIT PREPARED, each in its database';
	END IF;
	RETURN NEXT;

	SELECT array_agg(DISTINCT l.relation::regclass::text) AS names, array_agg(DISTINCT format('SELECT pg_terminate_backend(%s);', l.pid)) AS statements INTO found
	  FROM pg_locks l
	 WHERE l.relation = ANY (locked) AND l.mode = 'AccessExclusiveLock'
	   AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
	IF found.names IS NOT NULL THEN
		item := 'locks of the plan';
		status := 'warning';
		detail := 'tables that other sessions are changing, which were not looked at and which create_replicator() would wait for: ' || flo.short_list(found.names);
		hint := flo.short_list(found.statements, ' ') || ' -- or wait until they end';
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION flo.check_waits(oid[]) IS 'internal: the part of flo.check_plan() about what making and starting a replicator waits for';

CREATE FUNCTION flo.check_plan(
	tables regclass[] DEFAULT NULL,
	schemas text[] DEFAULT NULL,
	mode text DEFAULT 'copy_and_stream',
	copy_workers int DEFAULT 4,
	sync_schema bool DEFAULT false,
	track_ddl bool DEFAULT false,
	options jsonb DEFAULT '{}',
	except_tables regclass[] DEFAULT NULL,
	group_name text DEFAULT NULL,
	OUT item text, OUT status text, OUT detail text, OUT hint text
) RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	copies bool := coalesce(mode, '') IN ('copy', 'copy_and_stream');
	covered oid[];
	keyless oid[];
	lacks text[];
	foreigners oid[];
	locked oid[];
	except_names text[] := ARRAY(SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
								  WHERE c.oid = ANY (except_tables));
	size record;
	names text[];
BEGIN
	IF pg_is_in_recovery() THEN
		item := 'server of the plan';
		status := 'error';
		detail := 'this server is a standby, where no group can be made or run';
		hint := 'Ask on the primary, or here after a promotion.';
		RETURN NEXT;
	END IF;
	RETURN QUERY SELECT s.* FROM flo.check_server(
		(SELECT count(*)::int + 1 FROM flo.members),
		(SELECT count(*)::int + 1 FROM flo.sources),
		(SELECT count(*)::int FROM flo.members m WHERE m.sink = 'postgres'),
		CASE WHEN copies THEN coalesce(copy_workers, 0) + 1 WHEN sync_schema THEN 1 ELSE 0 END) s;
	RETURN QUERY SELECT l.* FROM flo.check_slot_limits('replication slot of the plan') l;
	RETURN QUERY SELECT p.* FROM flo.plan_problems(group_name, tables, schemas, mode, copy_workers, sync_schema, track_ddl, options, except_tables) p;

	SELECT coalesce(array_agg(t.relation), '{}'), coalesce(array_agg(t.relation) FILTER (WHERE NOT t.has_identity), '{}'),
		   coalesce(array_agg(t.lack) FILTER (WHERE NOT t.has_identity), '{}'), coalesce(array_agg(t.relation) FILTER (WHERE NOT t.owned), '{}'),
		   coalesce(array_agg(t.relation) FILTER (WHERE t.locked), '{}')
	  INTO covered, keyless, lacks, foreigners, locked
	  FROM flo.planned_tables(group_name, tables, schemas, mode, copy_workers, sync_schema, track_ddl, options, except_tables) t;
	RETURN QUERY SELECT t.* FROM flo.check_planned_tables(options->>'keyless_tables', covered, keyless, lacks, foreigners) t;
	RETURN QUERY SELECT u.* FROM flo.check_unsent('of the plan', covered, schemas, tables IS NULL AND schemas IS NULL, except_names) u;

	-- passed over without a word when everything, or a schema, is asked for
	item := 'tables of extensions of the plan';
	names := ARRAY(SELECT format('%s of %I', c.oid::regclass, e.extname)
					 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
					 JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
					 JOIN pg_extension e ON e.oid = d.refobjid
					WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'flo' AND n.nspname !~ '^pg_'
					  AND (n.nspname = ANY (schemas) OR tables IS NULL AND schemas IS NULL)
					  AND format('%I.%I', n.nspname, c.relname) <> ALL (except_names) ORDER BY 1);
	IF cardinality(names) > 0 THEN
		status := 'warning';
		detail := 'not replicated, as they belong to extensions: ' || flo.short_list(names);
		hint := 'The extension makes them at the destination; move rows that are yours by other means.';
		RETURN NEXT;
	END IF;
	RETURN QUERY SELECT l.* FROM flo.check_large_objects('of the plan', covered) l;

	SELECT coalesce(sum(t.bytes), 0)::bigint AS bytes, count(*) AS tables,
		   (array_agg(format('%s with %s', t.relation::regclass, pg_size_pretty(t.bytes)) ORDER BY t.bytes DESC))[1] AS largest INTO size
	  FROM (SELECT c.relation, (SELECT sum(pg_table_size(p.oid)) FROM flo.parts_of(c.relation) p (oid)) AS bytes
			  FROM unnest(covered) c (relation) WHERE c.relation <> ALL (locked)) t;
	IF copies THEN
		item := 'size of the plan';
		status := 'ok';
		detail := format('%s tables, %s to copy%s', size.tables, pg_size_pretty(size.bytes), coalesce(', the largest is ' || size.largest, ''));
		hint := NULL;
		RETURN NEXT;
	END IF;
	RETURN QUERY SELECT w.* FROM flo.check_waits(locked) w;
	BEGIN
		RETURN QUERY SELECT b.* FROM flo.plan_broker(CASE WHEN copies THEN size.bytes ELSE 0 END, options) b;
	EXCEPTION WHEN invalid_parameter_value THEN
		NULL;		-- plan_problems() has said it
	END;
END
$$;
COMMENT ON FUNCTION flo.check_plan(regclass[], text[], text, int, bool, bool, jsonb, regclass[], text) IS
'Preflight of a replicator before there is one, with the arguments of create_replicator(): the same rows as check(). Creates and changes nothing, waits for nobody. With group_name also whether something of that name is left over';
