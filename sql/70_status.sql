/*
 * 70_status.sql
 *		Where groups are: views over tables, shared memory and slots, and
 *		functions that ask or wait.
 */

CREATE FUNCTION flo.member_stats(
	OUT group_name text,
	OUT member text,
	OUT state text,
	OUT detail text,
	OUT pid int,
	OUT received_lsn pg_lsn,
	OUT durable_lsn pg_lsn,
	OUT known_lsn pg_lsn,
	OUT oldest_pending timestamptz,
	OUT transactions bigint,
	OUT inserts bigint,
	OUT updates bigint,
	OUT deletes bigint,
	OUT truncates bigint,
	OUT filtered bigint,
	OUT conflicts bigint,
	OUT fallbacks bigint,
	OUT bytes bigint,
	OUT restarts bigint,
	OUT last_error text,
	OUT last_error_at timestamptz,
	OUT stats_reset timestamptz,
	OUT foreign_messages bigint,
	OUT retries bigint,
	OUT last_hint text,
	OUT last_sqlstate text,
	OUT recovered_at timestamptz,
	OUT source_seen_at timestamptz,
	OUT pending_bytes bigint,
	OUT state_since timestamptz,
	OUT open_bytes bigint
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_member_figures_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 8
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.member_stats() IS
'What shared memory knows of this database''s members; use the view flo.status. Error texts are shown to the member''s owner and to members of pg_read_all_stats';

CREATE FUNCTION flo.origin_position(group_name text, worker_name text) RETURNS pg_lsn
	AS 'MODULE_PATHNAME', 'flo_origin_position_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.origin_position(text, text) IS
'How far the replication origin of a worker of this database is; NULL when it has none';

CREATE FUNCTION flo.unpublished_since(group_name text, only_local bool) RETURNS timestamptz
	AS 'MODULE_PATHNAME', 'flo_unpublished_since_sql_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.unpublished_since(text, bool) IS
'internal: commit time of the oldest transaction of this database that a replicator has not published, from WAL when it cannot tell; NULL when there is none. Reads 16 MB of WAL at most, and goes on where it was at the next call';

CREATE FUNCTION flo.is_preloaded() RETURNS bool
	AS 'MODULE_PATHNAME', 'flo_is_preloaded_v2' LANGUAGE C STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.is_preloaded() IS 'Whether pg_flo is in shared_preload_libraries';

CREATE FUNCTION flo.launcher_problem() RETURNS text
	AS 'MODULE_PATHNAME', 'flo_launcher_problem_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.launcher_problem() IS 'Why the launcher cannot start what is wanted; NULL when nothing is wrong';

CREATE VIEW flo.status AS
	SELECT m.group_name,
		   m.member,
		   m.sink,
		   CASE WHEN s.pid IS NOT NULL THEN s.state
				WHEN NOT m.started OR NOT m.here OR NOT m.enabled OR m.standby THEN 'stopped'
				WHEN s.state IN ('starting', 'backoff', 'failed') THEN s.state
				ELSE 'starting'
		   END AS state,
		   CASE WHEN s.pid IS NOT NULL THEN coalesce(s.detail,
						-- a worker that waits for a lock cannot say so itself
						CASE WHEN m.sink IS NOT NULL THEN
							coalesce((SELECT 'lock held by pid ' || pg_catalog.string_agg(b.pid::text, ', ')
										FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(s.pid)) b (pid)),
									 (SELECT 'without tables that are given up: ' || pg_catalog.string_agg(pg_catalog.format('%I.%I', u.schema_name, u.table_name), ', ' ORDER BY u.id)
										FROM flo.given_up u WHERE u.group_name = m.group_name AND u.worker_name = m.member)) END)
				WHEN NOT m.here THEN 'configured in another database; start_group() adopts it'
				WHEN NOT m.started THEN NULL
				WHEN NOT m.enabled THEN 'pg_flo is not in shared_preload_libraries or pg_flo.enabled is off'
				WHEN m.standby THEN 'this server is a standby: it starts when the server is promoted'
				WHEN s.state IN ('starting', 'backoff', 'failed') THEN s.detail
				ELSE coalesce(flo.launcher_problem(), 'waiting for the launcher')
		   END AS detail,
		   s.pid,
		   s.received_lsn,
		   p.durable_lsn,
		   CASE WHEN p.known_lsn > p.durable_lsn THEN least(p.known_lsn - p.durable_lsn, 9223372036854775807)::bigint
				WHEN p.known_lsn <= p.durable_lsn THEN 0
		   END AS lag_bytes,
		   CASE WHEN p.since IS NOT NULL THEN greatest(clock_timestamp() - p.since, interval '0')
				WHEN s.state = 'failed' THEN NULL
				WHEN s.pid IS NOT NULL OR (m.mode <> 'copy' AND (s.group_name IS NOT NULL OR slot.slot_name IS NOT NULL)) THEN interval '0'
		   END AS lag,
		   (w.lsn - slot.restart_lsn)::bigint AS retained_wal_bytes,
		   coalesce(s.transactions, 0) AS transactions,
		   coalesce(s.inserts, 0) AS inserts,
		   coalesce(s.updates, 0) AS updates,
		   coalesce(s.deletes, 0) AS deletes,
		   coalesce(s.truncates, 0) AS truncates,
		   coalesce(s.filtered, 0) AS filtered,
		   coalesce(s.conflicts, 0) AS conflicts,
		   coalesce(s.fallbacks, 0) AS fallbacks,
		   coalesce(s.bytes, 0) AS bytes,
		   coalesce(s.restarts, 0) AS restarts,
		   s.last_error,
		   s.last_error_at,
		   s.stats_reset,
		   coalesce(s.foreign_messages, 0) AS foreign_messages,
		   CASE WHEN m.sink IS NOT NULL THEN s.source_seen_at END AS source_seen_at,
		   s.pending_bytes,
		   coalesce(s.retries, 0) AS retries,
		   (SELECT count(*) FROM flo.dead_letters l WHERE l.group_name = m.group_name AND l.worker_name = m.member) AS dead_letters,
		   s.last_hint,
		   s.recovered_at,
		   s.state_since,
		   CASE WHEN s.pid IS NOT NULL THEN s.open_bytes ELSE 0 END AS open_bytes
	  FROM (SELECT u.group_name, u.member, u.sink, u.started, r.mode, r.options ->> 'origin' AS origin,
				   g.system_identifier = (SELECT c.system_identifier FROM pg_catalog.pg_control_system() c)
				   AND g.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) AS here,
				   flo.is_preloaded() AND pg_catalog.current_setting('pg_flo.enabled')::bool AS enabled,
				   pg_catalog.pg_is_in_recovery() AS standby
			  FROM flo.members u
			  JOIN flo.groups g ON g.group_name = u.group_name
			  LEFT JOIN flo.sources r ON u.sink IS NULL AND r.group_name = u.group_name) m
	  LEFT JOIN flo.member_stats() s ON s.group_name = m.group_name AND s.member = m.member
	  LEFT JOIN pg_catalog.pg_replication_slots slot
			 ON m.sink IS NULL
			AND slot.slot_name = 'pgflo_' || (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
								 || '_' || m.group_name
	  CROSS JOIN LATERAL (
			SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
						ELSE pg_catalog.pg_current_wal_lsn() END AS lsn) w
	  CROSS JOIN LATERAL (
			SELECT coalesce(s.durable_lsn,
							CASE WHEN m.sink IS NULL THEN slot.confirmed_flush_lsn
								 WHEN flo.origin_position(m.group_name, m.member) IS NOT NULL
								 THEN least(flo.origin_position(m.group_name, m.member),
											(SELECT min(o.since) FROM flo.owed_copies o
											  WHERE o.group_name = m.group_name AND o.worker_name = m.member)) END) AS durable_lsn,
				   CASE WHEN m.sink IS NULL THEN w.lsn ELSE s.known_lsn END AS known_lsn,
				   -- since when something is, or may be, committed at the source and not durable
				   CASE WHEN m.sink IS NULL AND m.mode <> 'copy' THEN flo.unpublished_since(m.group_name, m.origin IS DISTINCT FROM 'any')
						WHEN s.pid IS NOT NULL OR m.sink IS NULL THEN s.oldest_pending
						ELSE coalesce(s.oldest_pending, s.source_seen_at)
				   END AS since) p;
COMMENT ON VIEW flo.status IS 'One row per member of a group in this database; counters since server start or reset, at most a second old';
COMMENT ON COLUMN flo.status.group_name IS 'group';
COMMENT ON COLUMN flo.status.member IS 'replicator, or the name of a worker';
COMMENT ON COLUMN flo.status.sink IS 'where a worker writes';
COMMENT ON COLUMN flo.status.state IS 'stopped, starting, waiting, copying, streaming (also when idle), backoff (an error, retried by itself) or failed (needs a person)';
COMMENT ON COLUMN flo.status.detail IS 'what it waits for, in one sentence; or which tables are given up';
COMMENT ON COLUMN flo.status.pid IS 'process';
COMMENT ON COLUMN flo.status.received_lsn IS 'replicator: decoded up to here; worker: received up to here';
COMMENT ON COLUMN flo.status.durable_lsn IS 'replicator: acknowledged by the broker; worker: everything below is durable in the sink, copies that were asked for included';
COMMENT ON COLUMN flo.status.lag_bytes IS 'bytes of WAL between the newest known LSN and durable_lsn';
COMMENT ON COLUMN flo.status.lag IS 'age of the oldest transaction, copy, or request for one, that is not durable at the broker (replicator) or in the sink (worker), or may not be: with nothing heard from the source it counts from source_seen_at, and it goes on while the member does not run. 0 when there is none, NULL when nothing is known';
COMMENT ON COLUMN flo.status.retained_wal_bytes IS 'bytes of WAL kept for the slot';
COMMENT ON COLUMN flo.status.transactions IS 'source transactions, with all that they did: those that the broker has, or that are committed here';
COMMENT ON COLUMN flo.status.inserts IS 'rows inserted';
COMMENT ON COLUMN flo.status.updates IS 'rows updated';
COMMENT ON COLUMN flo.status.deletes IS 'rows deleted';
COMMENT ON COLUMN flo.status.truncates IS 'tables truncated';
COMMENT ON COLUMN flo.status.filtered IS 'changes dropped by rules and routes, and of tables that are given up';
COMMENT ON COLUMN flo.status.conflicts IS 'rows that were there, or missing, against expectation';
COMMENT ON COLUMN flo.status.fallbacks IS 'batches applied row by row';
COMMENT ON COLUMN flo.status.bytes IS 'bytes sent or received';
COMMENT ON COLUMN flo.status.restarts IS 'starts after the first';
COMMENT ON COLUMN flo.status.last_error IS 'newest error';
COMMENT ON COLUMN flo.status.last_error_at IS 'when it happened';
COMMENT ON COLUMN flo.status.stats_reset IS 'since when the counters count';
COMMENT ON COLUMN flo.status.foreign_messages IS 'replicator: logical decoding messages that somebody else wrote in the name of pg_flo, and that were left out';
COMMENT ON COLUMN flo.status.source_seen_at IS 'worker: when the replicator was last heard, by the clock of the source: time of the newest chunk or heartbeat, or of a word of it in the state bucket, every two heartbeats';
COMMENT ON COLUMN flo.status.pending_bytes IS 'worker: bytes in the stream that are not durable here (messages, as the broker counts them, by what one has on average), as last known; replicator: bytes packed or sent that the broker has not acknowledged; NULL when unknown';
COMMENT ON COLUMN flo.status.retries IS 'attempts at an endpoint, statement or connection that failed and were repeated without a new process';
COMMENT ON COLUMN flo.status.dead_letters IS 'rows of flo.dead_letters';
COMMENT ON COLUMN flo.status.last_hint IS 'what the newest error says is to be done';
COMMENT ON COLUMN flo.status.recovered_at IS 'when it got on after an error; last_error without a later recovered_at means now';
COMMENT ON COLUMN flo.status.state_since IS 'since when it is in that state';
COMMENT ON COLUMN flo.status.open_bytes IS 'bytes of large transactions that are still running at the source: replicator: published; worker: kept in temporary files until they commit';

CREATE FUNCTION flo.unsaved_events(
	OUT number bigint,
	OUT group_name text,
	OUT member text,
	OUT at timestamptz,
	OUT state text,
	OUT detail text,
	OUT error text,
	OUT sqlstate text,
	OUT hint text,
	OUT lsn pg_lsn
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_unsaved_events_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 20
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.unsaved_events() IS
'internal: what has happened to this database''s members and is not in flo.event_log yet; errors are shown to the member''s owner and to members of pg_read_all_stats';

CREATE VIEW flo.events AS
	SELECT e.group_name, e.member, e.at, e.state,
		   CASE WHEN e.shown OR e.state <> 'failed' THEN e.detail END AS detail,
		   CASE WHEN e.shown THEN e.error END AS error,
		   e.sqlstate,
		   CASE WHEN e.shown THEN e.hint END AS hint,
		   e.lsn
	  FROM (SELECT l.*, pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
						OR EXISTS (SELECT FROM flo.members m WHERE m.group_name = l.group_name AND m.member = l.member
								   AND pg_catalog.pg_has_role(m.owner, 'USAGE')) AS shown
			  FROM flo.event_log l
			UNION ALL
			SELECT u.*, true FROM flo.unsaved_events() u
			  JOIN flo.groups g ON g.group_name = u.group_name
			 WHERE NOT EXISTS (SELECT FROM flo.event_log l WHERE l.number = u.number)) e
	 ORDER BY e.number;
COMMENT ON VIEW flo.events IS 'What has happened to members of this database''s groups, oldest first: each line of it is in the server log, too. Kept for pg_flo.events_keep';
COMMENT ON COLUMN flo.events.group_name IS 'group';
COMMENT ON COLUMN flo.events.member IS 'replicator, or the name of a worker';
COMMENT ON COLUMN flo.events.at IS 'when';
COMMENT ON COLUMN flo.events.state IS 'the member''s state from then on, see flo.status';
COMMENT ON COLUMN flo.events.detail IS 'what it waits for or does, or what has happened within the state: an attempt that failed, that it recovered';
COMMENT ON COLUMN flo.events.error IS 'the error, for those who may see it (the owner, pg_read_all_stats)';
COMMENT ON COLUMN flo.events.sqlstate IS 'its code';
COMMENT ON COLUMN flo.events.hint IS 'what it says is to be done';
COMMENT ON COLUMN flo.events.lsn IS 'how far the member was, durable; of an error in a transaction, the LSN of its commit';

CREATE FUNCTION flo.left_out_tables(
	group_name text,
	OUT relation regclass,
	OUT reason text
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_left_out_tables_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE STRICT ROWS 10
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.left_out_tables(text) IS
'internal: tables that a group would have, or was told to leave out, and why it does not have them; waits for no lock';

CREATE FUNCTION flo.key_is_sent(index oid) RETURNS bool
	AS 'MODULE_PATHNAME', 'flo_key_is_sent_v2' LANGUAGE C STABLE PARALLEL SAFE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.key_is_sent(oid) IS
'internal: whether the source sends all columns of an index; before version 18 it does not send generated ones';

CREATE VIEW flo.tables AS
	SELECT r.group_name,
		   pg_catalog.format('%I.%I', n.nspname, c.relname) AS table_name,
		   CASE c.relreplident
				WHEN 'd' THEN CASE WHEN k.usable THEN 'primary key' ELSE 'none' END
				WHEN 'i' THEN CASE WHEN k.usable THEN 'index' ELSE 'none' END
				WHEN 'f' THEN 'full'
				ELSE 'none'
		   END AS replica_identity,
		   s.state,
		   CASE WHEN i.only_inserts THEN 'only INSERT is replicated: the table has no replica identity'
				WHEN c.relreplident <> 'f' AND NOT k.usable THEN 'UPDATE and DELETE fail at the source: the table has no replica identity'
				WHEN p.prqual IS NOT NULL AND p.prattrs IS NOT NULL THEN 'the publication has a row filter and a column list'
				WHEN p.prqual IS NOT NULL THEN 'the publication has a row filter'
				WHEN p.prattrs IS NOT NULL THEN 'the publication has a column list'
		   END AS detail
	  FROM flo.sources r
	  JOIN flo.status s ON s.group_name = r.group_name AND s.member = 'replicator'
	  CROSS JOIN LATERAL (VALUES ('pgflo_' || r.group_name, false),
								 ('pgflo_' || r.group_name || '_insert', true)) i (pubname, only_inserts)
	  JOIN pg_catalog.pg_publication b ON b.pubname = i.pubname
	  JOIN pg_catalog.pg_publication_rel p ON p.prpubid = b.oid
	  JOIN pg_catalog.pg_class c ON c.oid = p.prrelid
	  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	  CROSS JOIN LATERAL (
			SELECT EXISTS (SELECT FROM pg_catalog.pg_index x
							WHERE x.indrelid = c.oid AND x.indisvalid AND x.indimmediate
							  AND CASE c.relreplident WHEN 'd' THEN x.indisprimary WHEN 'i' THEN x.indisreplident ELSE false END
							  AND flo.key_is_sent(x.indexrelid)) AS usable) k
	UNION ALL
	SELECT r.group_name, pg_catalog.format('%I.%I', n.nspname, c.relname),
		   CASE c.relreplident WHEN 'f' THEN 'full' ELSE 'none' END,
		   'left out', pg_catalog.string_agg(l.reason, '; ')
	  FROM flo.sources r
	  CROSS JOIN LATERAL flo.left_out_tables(r.group_name) l
	  JOIN pg_catalog.pg_class c ON c.oid = l.relation
	  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	 GROUP BY 1, 2, 3
	UNION ALL
	SELECT u.group_name, pg_catalog.format('%I.%I', u.schema_name, u.table_name), NULL, 'given up',
		   pg_catalog.format('by worker %I, ', u.worker_name)
		   || CASE WHEN u.since IS NULL THEN 'nothing of it has come yet' ELSE 'since the transaction at ' || u.since END
		   || pg_catalog.format('; told by %s at %s', u.given_up_by, pg_catalog.date_trunc('second', u.given_up_at))
		   || CASE WHEN u.asked THEN '; a copy is coming' ELSE '' END
		   || CASE WHEN u.error IS NULL THEN ''
				   WHEN m.owner IS NULL OR NOT (pg_catalog.pg_has_role(m.owner::oid, 'USAGE') OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')) THEN ''
				   ELSE '; error: ' || u.error END
	  FROM flo.given_up u
	  LEFT JOIN flo.members m ON m.group_name = u.group_name AND m.member = u.worker_name
							 AND EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE o.oid = m.owner);
COMMENT ON VIEW flo.tables IS 'What the groups of this database''s replicators replicate now, and, with state left out, what they would have or were told to leave out; with state given up, source tables that workers of this database pass over';
COMMENT ON COLUMN flo.tables.group_name IS 'group';
COMMENT ON COLUMN flo.tables.table_name IS 'table, quoted and schema-qualified, as the source calls it';
COMMENT ON COLUMN flo.tables.replica_identity IS 'primary key, index, full or none; NULL at a destination';
COMMENT ON COLUMN flo.tables.state IS 'state of the replicator as far as this table is concerned, see flo.status; left out: not replicated, detail says why; given up: see give_up()';
COMMENT ON COLUMN flo.tables.detail IS 'what is special about the table; of one that is given up: by which worker, since which transaction (commit LSN), by whom and when, and, for those who may see the worker''s errors, which one';

CREATE FUNCTION flo.index_builds(
	OUT relation oid,
	OUT phase text,
	OUT blocks_done bigint,
	OUT blocks_total bigint,
	OUT tuples_done bigint,
	OUT tuples_total bigint
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_index_builds_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.index_builds() IS
'internal: what pg_stat_progress_create_index says of indexes that processes of pg_flo are building in this database';

CREATE VIEW flo.copy_work AS
	SELECT k.group_name,
		   k.worker_name AS member,
		   k.relation,
		   pg_catalog.format('%I.%I', n.schema_name, n.table_name) AS table_name,
		   p.relation IS NOT NULL AS planned,
		   CASE WHEN d.finished THEN CASE WHEN d.source THEN 'published' ELSE 'complete' END
				WHEN d.source THEN CASE WHEN t.bytes_done > 0 OR t.tuples_done > 0 THEN 'reading' ELSE 'waiting' END
				WHEN coalesce(c.chunks, 0) = 0 THEN 'waiting'
				WHEN t.chunks IS NULL OR c.chunks < t.chunks THEN 'loading'
				WHEN b.phase IS NOT NULL OR r.phase = 'building indexes' AND x.indexes_done < x.indexes THEN 'building indexes'
				WHEN r.phase = 'building constraints' AND coalesce(x.indexes - x.indexes_done, 0) + coalesce(y.constraints - y.constraints_done, 0) > 0
				THEN 'building constraints'
				ELSE 'loaded'
		   END AS phase,
		   d.rows_in OR d.finished AS rows_in,
		   CASE WHEN d.source THEN coalesce(t.bytes_done, 0)
				WHEN d.rows_in OR p.relation IS NULL AND d.finished THEN t.bytes
				ELSE p.bytes_done
		   END AS bytes_done,
		   coalesce(t.bytes, p.bytes) AS bytes_total,
		   CASE WHEN d.source THEN coalesce(t.tuples_done, 0)
				WHEN d.finished THEN t.tuples
				ELSE coalesce(c.tuples, 0)
		   END AS tuples_done,
		   coalesce(t.tuples, greatest(p.tuples, CASE WHEN d.source THEN t.tuples_done ELSE c.tuples END)) AS tuples_total,
		   coalesce(x.indexes_done, 0) AS indexes_done,
		   coalesce(x.indexes, 0) AS indexes_total,
		   coalesce(y.constraints_done, 0) AS constraints_done,
		   coalesce(y.constraints, 0) AS constraints_total,
		   b.phase AS index_phase,
		   b.blocks_done,
		   b.blocks_total,
		   w.work * CASE WHEN d.finished THEN 1 + w.behind / 4.0
						 WHEN d.source THEN CASE WHEN p.bytes > 0 THEN least(coalesce(t.bytes_done, 0) / p.bytes::numeric, 1) ELSE 0 END
						 ELSE CASE WHEN d.rows_in THEN 1 WHEN p.bytes > 0 THEN p.bytes_done / p.bytes::numeric ELSE 0 END + w.behind_done / 4.0
					END AS work_done,
		   w.work * (1 + w.behind / 4.0) AS work_total,
		   t.started_at,
		   t.finished_at
	  FROM (SELECT group_name, worker_name, relation FROM flo.copied_tables
			UNION SELECT group_name, worker_name, relation FROM flo.planned_tables) k
	  LEFT JOIN flo.copies r USING (group_name, worker_name)
	  LEFT JOIN flo.planned_tables p USING (group_name, worker_name, relation)
	  -- of a copy before this one nothing counts
	  LEFT JOIN flo.copied_tables t ON t.group_name = k.group_name AND t.worker_name = k.worker_name AND t.relation = k.relation
									AND (p.relation IS NULL OR t.attempt >= p.attempt)
	  CROSS JOIN LATERAL (SELECT coalesce(p.schema_name, t.schema_name) AS schema_name, coalesce(p.table_name, t.table_name) AS table_name) n
	  LEFT JOIN LATERAL (SELECT count(*) AS chunks, sum(c.tuples)::bigint AS tuples
						   FROM flo.copied_chunks c
						  WHERE c.group_name = t.group_name AND c.worker_name = t.worker_name
							AND c.relation = t.relation AND c.attempt = t.attempt) c ON t.finished_at IS NULL
	  -- definitions of copies before this one are in flo.copied_objects, too
	  LEFT JOIN (SELECT o.group_name, o.worker_name, o.of_table, count(*) AS indexes, count(o.action) AS indexes_done
				   FROM flo.copied_objects o JOIN flo.copies r USING (group_name, worker_name)
				  WHERE o.section = 'after' AND o.of_table IS NOT NULL AND (o.action IS NULL OR o.done_at >= r.started_at)
				  GROUP BY 1, 2, 3) x
			 ON x.group_name = k.group_name AND x.worker_name = k.worker_name AND x.of_table = k.relation AND p.relation IS NOT NULL
	  LEFT JOIN (SELECT o.group_name, o.worker_name, o.address_names[1] AS schema_name, o.address_names[2] AS table_name,
						count(*) AS constraints, count(o.action) AS constraints_done
				   FROM flo.copied_objects o JOIN flo.copies r USING (group_name, worker_name)
				  WHERE o.section = 'after' AND o.of_table IS NULL AND o.address_type = 'table constraint'
					AND (o.action IS NULL OR o.done_at >= r.started_at)
				  GROUP BY 1, 2, 3, 4) y
			 ON y.group_name = k.group_name AND y.worker_name = k.worker_name AND y.schema_name = n.schema_name AND y.table_name = n.table_name
			AND p.relation IS NOT NULL
	  LEFT JOIN flo.index_builds() b
			 ON b.relation = CASE WHEN r.phase ~ '^(loading|building)' AND p.relation IS NOT NULL
								  THEN pg_catalog.to_regclass(pg_catalog.format('%I.%I', n.schema_name, n.table_name))::oid END
	  CROSS JOIN LATERAL (
			SELECT k.worker_name = 'replicator' AS source,
				   t.finished_at IS NOT NULL AS finished,
				   coalesce(c.chunks >= t.chunks, false) AS rows_in) d
	  CROSS JOIN LATERAL (
			-- an index or a constraint reads what a table has once more, which takes about a quarter of loading it
			SELECT greatest(p.bytes, 8192) AS work,
				   coalesce(x.indexes, 0) + coalesce(y.constraints, 0) AS behind,
				   coalesce(x.indexes_done, 0) + coalesce(y.constraints_done, 0) AS behind_done) w
	 WHERE n.table_name <> '';
COMMENT ON VIEW flo.copy_work IS 'internal: what flo.copy_progress and flo.copy_summary() show';
COMMENT ON COLUMN flo.copy_work.group_name IS 'group';
COMMENT ON COLUMN flo.copy_work.member IS 'see flo.copy_progress';
COMMENT ON COLUMN flo.copy_work.relation IS 'OID of the table at the source';
COMMENT ON COLUMN flo.copy_work.table_name IS 'see flo.copy_progress';
COMMENT ON COLUMN flo.copy_work.planned IS 'whether the table is one of the member''s last copy';
COMMENT ON COLUMN flo.copy_work.phase IS 'see flo.copy_progress';
COMMENT ON COLUMN flo.copy_work.rows_in IS 'whether all rows are read, or in';
COMMENT ON COLUMN flo.copy_work.bytes_done IS 'see flo.copy_progress';
COMMENT ON COLUMN flo.copy_work.bytes_total IS 'see flo.copy_progress';
COMMENT ON COLUMN flo.copy_work.tuples_done IS 'see flo.copy_progress';
COMMENT ON COLUMN flo.copy_work.tuples_total IS 'see flo.copy_progress';
COMMENT ON COLUMN flo.copy_work.indexes_done IS 'see flo.copy_progress';
COMMENT ON COLUMN flo.copy_work.indexes_total IS 'see flo.copy_progress';
COMMENT ON COLUMN flo.copy_work.constraints_done IS 'see flo.copy_progress';
COMMENT ON COLUMN flo.copy_work.constraints_total IS 'see flo.copy_progress';
COMMENT ON COLUMN flo.copy_work.index_phase IS 'see flo.copy_progress';
COMMENT ON COLUMN flo.copy_work.blocks_done IS 'see flo.copy_progress';
COMMENT ON COLUMN flo.copy_work.blocks_total IS 'see flo.copy_progress';
COMMENT ON COLUMN flo.copy_work.work_done IS 'done of work_total';
COMMENT ON COLUMN flo.copy_work.work_total IS 'bytes, and a quarter of them for each index or constraint to be built; 8 kB at least';
COMMENT ON COLUMN flo.copy_work.started_at IS 'when the first row was read, or loaded';
COMMENT ON COLUMN flo.copy_work.finished_at IS 'when all was done';

CREATE VIEW flo.copy_progress AS
	SELECT w.group_name,
		   w.member,
		   w.table_name,
		   w.phase,
		   w.bytes_done AS bytes_processed,
		   w.bytes_total,
		   w.tuples_done AS tuples_processed,
		   w.tuples_total,
		   p.percent,
		   CASE WHEN w.finished_at IS NULL AND p.percent > 0
				THEN pg_catalog.date_trunc('second', (pg_catalog.clock_timestamp() - w.started_at) * ((100 - p.percent) / p.percent)::double precision)
		   END AS eta,
		   w.indexes_done,
		   w.indexes_total,
		   w.constraints_done,
		   w.constraints_total,
		   w.index_phase,
		   w.blocks_done AS index_blocks_done,
		   w.blocks_total AS index_blocks_total
	  FROM flo.copy_work w,
		   LATERAL (SELECT CASE WHEN w.finished_at IS NOT NULL THEN 100.0
								ELSE least(coalesce(trunc(100 * w.work_done / w.work_total, 1), 0.0), 99.9)
						   END AS percent) p;
COMMENT ON VIEW flo.copy_progress IS
'One row per table being copied or copied last: bytes and rows, percent, and the time left at the pace so far. Totals are known before the first row; that of rows is the source''s estimate until it has read the table';
COMMENT ON COLUMN flo.copy_progress.group_name IS 'group';
COMMENT ON COLUMN flo.copy_progress.member IS 'replicator (reading) or a worker (loading)';
COMMENT ON COLUMN flo.copy_progress.table_name IS 'table at the source, quoted and qualified';
COMMENT ON COLUMN flo.copy_progress.phase IS
'waiting, then at the source reading or published; at a destination loading, loaded (all rows are in), building indexes, building constraints, or complete';
COMMENT ON COLUMN flo.copy_progress.bytes_processed IS 'bytes of the table that are read or in; at a destination about, until the source has read it';
COMMENT ON COLUMN flo.copy_progress.bytes_total IS 'size of the table at the source when the copy began, with TOAST, without indexes';
COMMENT ON COLUMN flo.copy_progress.tuples_processed IS 'rows read or in';
COMMENT ON COLUMN flo.copy_progress.tuples_total IS 'rows in all: as the source estimates, exact when it has read the table';
COMMENT ON COLUMN flo.copy_progress.percent IS 'of all work, indexes and constraints that come after the rows included; never goes back within an attempt, 100 only when all is done';
COMMENT ON COLUMN flo.copy_progress.eta IS 'time left at the pace so far';
COMMENT ON COLUMN flo.copy_progress.indexes_done IS 'indexes, keys and unique constraints that came with the copy (sync_schema) and are built';
COMMENT ON COLUMN flo.copy_progress.indexes_total IS 'of so many';
COMMENT ON COLUMN flo.copy_progress.constraints_done IS 'foreign keys and other constraints that came with the copy and are made and validated';
COMMENT ON COLUMN flo.copy_progress.constraints_total IS 'of so many';
COMMENT ON COLUMN flo.copy_progress.index_phase IS 'phase of the index that is being built now, from pg_stat_progress_create_index';
COMMENT ON COLUMN flo.copy_progress.index_blocks_done IS 'blocks of the table that it has read in this phase';
COMMENT ON COLUMN flo.copy_progress.index_blocks_total IS 'of so many';

CREATE FUNCTION flo.copy_summary(
	INOUT group_name text DEFAULT NULL,
	OUT member text,
	OUT phase text,
	OUT tables_done bigint,
	OUT tables_total bigint,
	OUT rows_done bigint,
	OUT rows_total bigint,
	OUT bytes_done bigint,
	OUT bytes_total bigint,
	OUT indexes_done bigint,
	OUT indexes_total bigint,
	OUT constraints_done bigint,
	OUT constraints_total bigint,
	OUT rows_per_second bigint,
	OUT bytes_per_second bigint,
	OUT percent numeric,
	OUT eta interval,
	OUT started_at timestamptz,
	OUT finished_at timestamptz,
	OUT duration interval
) RETURNS SETOF record
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE ROWS 10
	SET search_path = pg_catalog, pg_temp SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	wanted text := copy_summary.group_name;
BEGIN
	IF wanted IS NOT NULL AND NOT EXISTS (SELECT FROM flo.groups g WHERE g.group_name = wanted) THEN
		RAISE EXCEPTION 'group "%" does not exist in this database', wanted
			USING ERRCODE = 'undefined_object', HINT = 'flo.groups lists the groups of this database.';
	END IF;

	RETURN QUERY
		SELECT c.group_name, c.worker_name, c.phase,
			   w.tables_done, w.tables, w.rows_done, w.rows, w.bytes_done, w.bytes,
			   w.indexes_done, w.indexes,
			   w.constraints_done + c.keys_checked, w.constraints + c.keys_to_check,
			   least(w.rows_done / r.seconds, 9223372036854775807)::bigint, least(w.bytes_done / r.seconds, 9223372036854775807)::bigint,
			   p.percent,
			   CASE WHEN c.finished_at IS NULL AND p.percent > 0
					THEN date_trunc('second', (clock_timestamp() - coalesce(c.rows_since, c.started_at)) * ((100 - p.percent) / p.percent)::double precision)
			   END,
			   c.started_at, c.finished_at,
			   coalesce(c.finished_at, clock_timestamp()) - c.started_at
		  FROM flo.copies c
		 CROSS JOIN LATERAL (
				SELECT count(*) FILTER (WHERE w.rows_in) AS tables_done, count(*) AS tables,
					   least(coalesce(sum(w.tuples_done), 0), 9223372036854775807)::bigint AS rows_done, least(coalesce(sum(w.tuples_total), 0), 9223372036854775807)::bigint AS rows,
					   least(coalesce(sum(w.bytes_done), 0), 9223372036854775807)::bigint AS bytes_done, least(coalesce(sum(w.bytes_total), 0), 9223372036854775807)::bigint AS bytes,
					   coalesce(sum(w.indexes_done), 0)::bigint AS indexes_done, coalesce(sum(w.indexes_total), 0)::bigint AS indexes,
					   coalesce(sum(w.constraints_done), 0)::bigint AS constraints_done, coalesce(sum(w.constraints_total), 0)::bigint AS constraints,
					   sum(w.work_done) AS work_done, sum(w.work_total) AS work
				  FROM flo.copy_work w
				 WHERE w.planned AND w.group_name = c.group_name AND w.member = c.worker_name) w
		 CROSS JOIN LATERAL (
				SELECT nullif(extract(epoch FROM coalesce(c.rows_until, c.finished_at, clock_timestamp()) - coalesce(c.rows_since, c.started_at)), 0) AS seconds) r
		 CROSS JOIN LATERAL (
				SELECT CASE WHEN c.finished_at IS NOT NULL THEN 100.0
							ELSE least(coalesce(trunc(100 * w.work_done / w.work, 1), 0.0), 99.9) END AS percent) p
		 WHERE wanted IS NULL OR c.group_name = wanted
		 ORDER BY c.group_name, c.worker_name <> 'replicator', c.worker_name;
END
$$;
COMMENT ON FUNCTION flo.copy_summary(text) IS
'The copy that each member of a group, or of all groups here, has at hand or had last, one row each. Phases: at the source waiting for snapshot, planning, dumping schema, reading, published (workers are loading), at a destination waiting for source, creating schema, loading, checking foreign keys, building indexes, building constraints, setting sequences; complete. Tables count when their rows are read or in; rows and bytes as in flo.copy_progress, their pace per second while rows were read or loaded; percent of all work, indexes and constraints included; eta: time left. Error: 42704 unknown group';

---------------------------------------------------------------------------
-- Asked of the broker and of running members
---------------------------------------------------------------------------

CREATE FUNCTION flo.stream_status(
	group_name text,
	OUT stream text,
	OUT messages bigint,
	OUT bytes bigint,
	OUT max_bytes bigint,
	OUT first_lsn pg_lsn,
	OUT last_lsn pg_lsn,
	OUT consumer text,
	OUT worker_name text,
	OUT system_identifier bigint,
	OUT database text,
	OUT pending_bytes bigint,
	OUT acked_lsn pg_lsn,
	OUT last_seen timestamptz
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_stream_status_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.stream_status(text) IS
'The group''s stream and who holds it: one row per registered worker (one without worker when there is none). Errors: 42704 unknown group, 42501 neither owner nor reader of the group nor pg_monitor, 08xxx broker';

CREATE FUNCTION flo.peek(
	group_name text,
	max_events int DEFAULT 10,
	OUT seq bigint,
	OUT lsn pg_lsn,
	OUT committed_at timestamptz,
	OUT event jsonb
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_peek_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.peek(text, int) IS
'The newest events in the group''s stream as event sinks write them, oldest first, consuming nothing: number of the message, LSN of the commit record, its time, and the event. Errors: 42704 unknown group, 42501 neither owner nor reader of the group, 22023 max_events not between 1 and 1000, 08xxx broker';

CREATE FUNCTION flo.wait_for(
	group_name text,
	lsn pg_lsn DEFAULT NULL,
	timeout interval DEFAULT '30 s',
	member text DEFAULT NULL
) RETURNS boolean
	AS 'MODULE_PATHNAME', 'flo_wait_for_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.wait_for(text, pg_lsn, interval, text) IS
'Waits until the group has got as far as lsn; false at the timeout. Source: published and acknowledged (lsn NULL: the current LSN). Destination: every row committed below is durable in the sink of one worker, or of all workers here, tables being added or copied afresh included. In a database with both sides and no member named, an lsn of NULL means the replicator and any other lsn all workers. Errors: 42704 unknown group or member, 22004 lsn missing, 22023 negative timeout, 55000 started in this very transaction';

CREATE FUNCTION flo.reset_stats(group_name text DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_reset_stats_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.reset_stats(text) IS
'Sets the counters of the group (NULL: of every group of this database) in flo.status to zero. Errors: 42704 unknown group';
