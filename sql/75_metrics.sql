/*
 * 75_metrics.sql
 *		flo.status for a terminal, for a load balancer, and for Prometheus.
 */

CREATE FUNCTION flo.histograms(
	OUT group_name text,
	OUT member text,
	OUT batch_changes float8[],
	OUT batch_changes_bucket bigint[],
	OUT batch_changes_sum float8,
	OUT batch_changes_count bigint,
	OUT commit_to_durable_seconds float8[],
	OUT commit_to_durable_seconds_bucket bigint[],
	OUT commit_to_durable_seconds_sum float8,
	OUT commit_to_durable_seconds_count bigint
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_histograms_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.histograms() IS
'Of each member of this database, since stats_reset: how many changes its batches hold (worker: a transaction here; replicator: a chunk), and how long it took from a commit at the source until it was durable (worker: in the sink; replicator: at the broker), by both servers'' clocks. Upper bounds, how many lie at or below each, sum and number of all. The bounds do not change';

CREATE FUNCTION flo.rate_of(group_name text, member text, count bigint, since timestamptz) RETURNS float8
	AS 'MODULE_PATHNAME', 'flo_rate_of_v2' LANGUAGE C VOLATILE PARALLEL UNSAFE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.rate_of(text, text, bigint, timestamptz) IS
'internal: by how much a count of a member has risen a second since this session''s statement before; NULL at the first, and when it has begun anew';

CREATE FUNCTION flo.one_line(text text, width int) RETURNS text
	AS 'MODULE_PATHNAME', 'flo_one_line_v2' LANGUAGE C STABLE PARALLEL SAFE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.one_line(text, int) IS
'internal: the text as one line of at most so many columns of a terminal';

CREATE FUNCTION flo.short_interval(at interval) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN s = 0 THEN '0 s'
				WHEN s < 0.9995 THEN round(s * 1000) || ' ms'
				WHEN s < 9.95 THEN round(s, 1) || ' s'
				WHEN s < 100 THEN trunc(s) || ' s'
				WHEN s < 6000 THEN trunc(s / 60) || ' min'
				WHEN s < 360000 THEN trunc(s / 3600) || ' h'
				ELSE trunc(s / 86400) || ' d'
		   END
	  FROM (SELECT extract(epoch FROM at)) e (s)
$$;
COMMENT ON FUNCTION flo.short_interval(interval) IS 'internal: in six characters';

CREATE FUNCTION flo.short_rate(per_second float8) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT CASE WHEN r = 0 THEN '0'
				WHEN r < 9.95 THEN round(r, 1)::text
				WHEN r < 99999.5 THEN round(r)::text
				WHEN r < 999500 THEN round(r / 1000) || ' k'
				ELSE round(r / 1000000, 1) || ' M'
		   END
	  FROM (SELECT per_second::numeric) v (r)
$$;
COMMENT ON FUNCTION flo.short_rate(float8) IS 'internal: in six characters';

CREATE VIEW flo.held_statements AS
	SELECT h.group_name, h.worker_name AS member, count(*) AS statements
	  FROM flo.pending_ddl h
	 WHERE h.decision IS NULL
	 GROUP BY 1, 2;
COMMENT ON VIEW flo.held_statements IS 'internal: how many statements wait for a person, whoever asks; which they are is shown to the worker''s owner';
COMMENT ON COLUMN flo.held_statements.group_name IS 'group';
COMMENT ON COLUMN flo.held_statements.member IS 'worker';
COMMENT ON COLUMN flo.held_statements.statements IS 'number of statements in flo.pending_ddl without a decision';

CREATE FUNCTION flo.health_of(s flo.status,
							  OUT started bool, OUT failing bool, OUT held bigint, OUT first_copy bool,
							  OUT needs_person text, OUT stuck bool) RETURNS record
	LANGUAGE sql STABLE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT m.started, e.failing, CASE WHEN s.sink IS NOT NULL THEN coalesce(d.statements, 0) END, coalesce(p.copying, false),
		   CASE WHEN s.state = 'failed' THEN coalesce(s.last_hint, s.detail, 'see last_error')
				WHEN m.started AND s.state = 'stopped' THEN coalesce(s.detail, 'it is to run and does not')
				WHEN d.statements > 0 THEN d.statements || ' held in flo.pending_ddl'
				WHEN s.dead_letters > 0 THEN s.dead_letters || ' in flo.dead_letters'
		   END,
		   m.started AND NOT coalesce(s.lag <= interval '1 min', false)
		   AND (e.failing OR s.state NOT IN ('streaming', 'copying'))
	  -- nothing is to run on a standby
	  FROM (SELECT u.group_name, u.member, u.started AND NOT pg_catalog.pg_is_in_recovery() AS started FROM flo.members u) m
	  LEFT JOIN flo.held_statements d ON d.group_name = m.group_name AND d.member = m.member
	  LEFT JOIN flo.progress p ON p.group_name = m.group_name AND p.worker_name = m.member
	  CROSS JOIN LATERAL (
			SELECT m.started AND s.last_error_at IS NOT NULL AND s.last_error_at > coalesce(s.recovered_at, '-infinity') AS failing) e
	 WHERE m.group_name = s.group_name AND m.member = s.member
$$;
COMMENT ON FUNCTION flo.health_of(flo.status) IS
'internal: what follows from a row of flo.status: it is to run; it has not recovered from an error; statements held for a decision, NULL of a replicator; a worker''s first copy is not in; what does not end by itself; it waits or fails, and is more than a minute behind';

CREATE VIEW flo.overview AS
	SELECT o.group_name, o.member, o.state, o.lag, o.pending, o.rate AS "rows/s",
		   flo.one_line(o.hint, 80 - greatest(10, max(pg_catalog.length(o.group_name)) OVER ())
								   - greatest(6, max(pg_catalog.length(o.member)) OVER ())
								   - greatest(5, max(pg_catalog.length(o.state)) OVER ())
								   - greatest(3, max(pg_catalog.length(o.lag)) OVER ())
								   - greatest(7, max(pg_catalog.length(o.pending)) OVER ())
								   - greatest(6, max(pg_catalog.length(o.rate)) OVER ())) AS hint
	  FROM (SELECT s.group_name AS name,
				   s.sink IS NOT NULL AS is_worker,
				   s.member AS member_name,
				   flo.one_line(s.group_name, 14) AS group_name,
				   flo.one_line(s.member, 14) AS member,
				   s.state || CASE WHEN h.needs_person IS NOT NULL OR h.stuck THEN ' !' ELSE '' END AS state,
				   flo.short_interval(s.lag) AS lag,
				   pg_catalog.replace(pg_catalog.pg_size_pretty(coalesce(s.pending_bytes, CASE WHEN s.sink IS NULL THEN s.lag_bytes END)), ' bytes', ' B') AS pending,
				   flo.short_rate(flo.rate_of(s.group_name, s.member, s.inserts + s.updates + s.deletes, s.stats_reset)) AS rate,
				   coalesce(h.needs_person, CASE WHEN h.failing THEN coalesce(s.last_hint, s.last_error) END, s.detail) AS hint
			  FROM flo.status s
			  CROSS JOIN LATERAL flo.health_of(s) h) o
	 ORDER BY o.name, o.is_worker, o.member_name;
COMMENT ON VIEW flo.overview IS
'flo.status at a glance: a line of at most 100 characters for each member, made for \watch. Text to be read: for programs there are flo.status and flo.metrics()';
COMMENT ON COLUMN flo.overview.group_name IS 'group, cut at 14 characters';
COMMENT ON COLUMN flo.overview.member IS 'replicator, or the name of a worker, cut at 14 characters';
COMMENT ON COLUMN flo.overview.state IS 'as in flo.status; with an exclamation mark where a person should look: it has failed, is to run and does not, holds DDL or dead letters, or waits or fails and is more than a minute behind';
COMMENT ON COLUMN flo.overview.lag IS 'age of the oldest transaction that is not durable';
COMMENT ON COLUMN flo.overview.pending IS 'worker: in the stream, not applied; replicator: WAL that is not published';
COMMENT ON COLUMN flo.overview."rows/s" IS 'rows inserted, updated and deleted a second since this session looked last; empty at the first look and after reset_stats()';
COMMENT ON COLUMN flo.overview.hint IS 'what is to be done, or else what it waits for or does; cut to fit the line';

CREATE FUNCTION flo.healthy(group_name text DEFAULT NULL, max_lag interval DEFAULT '1 min') RETURNS bool
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
	IF max_lag IS NULL THEN
		RAISE EXCEPTION 'argument "max_lag" must not be null' USING ERRCODE = 'null_value_not_allowed';
	ELSIF max_lag < interval '0' THEN
		RAISE EXCEPTION 'max_lag must not be negative' USING ERRCODE = 'invalid_parameter_value';
	ELSIF group_name IS NOT NULL AND NOT EXISTS (SELECT FROM flo.groups g WHERE g.group_name = healthy.group_name) THEN
		RAISE EXCEPTION 'group "%" does not exist in this database', group_name
			USING ERRCODE = 'undefined_object', HINT = 'flo.groups lists the groups of this database.';
	END IF;
	RETURN coalesce((
		SELECT bool_and(g.healthy)
		  FROM (SELECT coalesce(bool_and(
							coalesce(s.lag <= max_lag, false) AND h.needs_person IS NULL
							AND CASE s.state
									WHEN 'streaming' THEN true
									WHEN 'copying' THEN NOT h.first_copy
									WHEN 'starting' THEN NOT h.failing AND coalesce(s.state_since > clock_timestamp() - max_lag, false)
									WHEN 'waiting' THEN coalesce(s.state_since > clock_timestamp() - max_lag, false)
									ELSE false
								END) FILTER (WHERE h.started), false) AS healthy
				  FROM flo.groups u
				  LEFT JOIN (flo.status s CROSS JOIN LATERAL flo.health_of(s) h) ON s.group_name = u.group_name
				 WHERE healthy.group_name IS NULL OR u.group_name = healthy.group_name
				 GROUP BY u.group_name) g), false);
END
$$;
COMMENT ON FUNCTION flo.healthy(text, interval) IS
'Whether every started member of the group (NULL: of every group of this database) does its work, is no more than max_lag behind, and nothing waits for a person. False, never NULL, where a group has no started member, or the database no group. Errors: 42704 unknown group, 22004 max_lag missing, 22023 max_lag negative';

CREATE FUNCTION flo.label_value(value text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT '"' || replace(replace(replace(value, '\', '\\'), '"', '\"'), E'\n', '\n') || '"'
$$;
COMMENT ON FUNCTION flo.label_value(text) IS 'internal: the value of a label in Prometheus'' text format';

-- Prometheus' text format (0.0.4): families in the order of the list, each with
-- HELP and TYPE once.  What is not known has no sample.
CREATE FUNCTION flo.metrics() RETURNS text
	LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	WITH family (name, type, help) AS (VALUES
		('build_info', 'gauge', 'Version of the extension in this database; always 1.'),
		('launcher_up', 'gauge', 'Whether pg_flo is loaded and pg_flo.enabled, and the launcher finds processes.'),
		('state', 'gauge', 'State of a member: 1 for the one it is in.'),
		('needs_person', 'gauge', 'Whether a member has failed, cannot run, or holds statements or events for a decision.'),
		('failing', 'gauge', 'Whether a member has had an error from which it has not recovered.'),
		('lag_seconds', 'gauge', 'Age of the oldest transaction that is not durable.'),
		('lag_bytes', 'gauge', 'WAL between the newest known LSN and what is durable.'),
		('retained_wal_bytes', 'gauge', 'WAL that the slot of a replicator keeps.'),
		('pending_bytes', 'gauge', 'What is in the stream and a worker has not applied.'),
		('open_bytes', 'gauge', 'What has travelled of transactions that are still running: published, or kept by a worker until they commit.'),
		('source_seen_timestamp_seconds', 'gauge', 'Time of the newest chunk or heartbeat that a worker has seen of its replicator.'),
		('state_since_timestamp_seconds', 'gauge', 'Since when a member is in its state.'),
		('dead_letters', 'gauge', 'Events that a worker could not deliver and has set aside.'),
		('held_statements', 'gauge', 'DDL statements of the source that a worker holds until a person decides.'),
		('transactions_total', 'counter', 'Source transactions that the broker has, or that are committed here.'),
		('rows_total', 'counter', 'Rows, by operation.'),
		('truncates_total', 'counter', 'Tables truncated.'),
		('filtered_total', 'counter', 'Changes dropped by rules and routes, and of tables that are given up.'),
		('conflicts_total', 'counter', 'Rows that were there, or missing, against expectation.'),
		('fallbacks_total', 'counter', 'Batches applied row by row.'),
		('bytes_total', 'counter', 'Bytes sent or received.'),
		('retries_total', 'counter', 'Attempts that failed and were repeated without a new process.'),
		('restarts_total', 'counter', 'Starts of a process after an error.'),
		('foreign_messages_total', 'counter', 'Messages in WAL that somebody else wrote in the name of pg_flo.'),
		('copy_tables', 'gauge', 'Tables of the newest copy.'),
		('copy_finished_tables', 'gauge', 'Those of which all is read, or in.'),
		('copy_size_bytes', 'gauge', 'Size of the files of those tables.'),
		('copy_processed_bytes', 'gauge', 'How much of that is read, or in.'),
		('copy_processed_rows', 'gauge', 'Rows of the newest copy that are read, or in.'),
		('batch_changes', 'histogram', 'Changes in a batch: a transaction of a worker, a chunk of a replicator.'),
		('commit_to_durable_seconds', 'histogram', 'From a commit at the source until it is durable at the broker, or in the sink.')),
	here (labels) AS (SELECT 'database=' || flo.label_value(current_database())),
	status AS MATERIALIZED (
		SELECT concat(here.labels, ',group=', flo.label_value(s.group_name), ',member=', flo.label_value(s.member)) AS labels,
			   h.needs_person, h.failing, h.held, s.*
		  FROM here, flo.status s CROSS JOIN LATERAL flo.health_of(s) h),
	copy AS (
		SELECT concat(here.labels, ',group=', flo.label_value(c.group_name), ',member=', flo.label_value(c.member)) AS labels, c.*
		  FROM here, (
				SELECT c.group_name, c.member, count(*) AS tables, count(*) FILTER (WHERE c.phase IN ('published', 'complete')) AS finished,
					   sum(c.bytes_total) AS size, sum(c.bytes_processed) AS bytes, sum(c.tuples_processed) AS tuples
				  FROM flo.copy_progress c GROUP BY 1, 2) c),
	histogram AS (
		SELECT concat(here.labels, ',group=', flo.label_value(h.group_name), ',member=', flo.label_value(h.member)) AS labels,
			   v.*
		  FROM here, flo.histograms() h
		  CROSS JOIN LATERAL (VALUES
				('batch_changes', h.batch_changes, h.batch_changes_bucket, h.batch_changes_sum, h.batch_changes_count),
				('commit_to_durable_seconds', h.commit_to_durable_seconds, h.commit_to_durable_seconds_bucket,
				 h.commit_to_durable_seconds_sum, h.commit_to_durable_seconds_count)) v (name, bounds, buckets, sum, count)
		 WHERE EXISTS (SELECT FROM flo.members m WHERE m.group_name = h.group_name AND m.member = h.member)),
	sample (name, place, series, labels, value) AS (
		SELECT 'build_info', 0, '', concat(here.labels, ',version=', flo.label_value(e.extversion)), 1::float8
		  FROM here, pg_extension e WHERE e.extname = 'pg_flo'
		UNION ALL
		SELECT 'launcher_up', 0, '', here.labels,
			   coalesce(flo.is_preloaded() AND current_setting('pg_flo.enabled', true)::bool AND flo.launcher_problem() IS NULL, false)::int
		  FROM here
		UNION ALL
		SELECT 'state', t.place, '', concat(s.labels, ',state=', flo.label_value(t.state)), (s.state = t.state)::int
		  FROM status s CROSS JOIN unnest('{stopped,starting,waiting,copying,streaming,backoff,failed}'::text[]) WITH ORDINALITY t (state, place)
		UNION ALL
		SELECT 'rows_total', t.place, '', concat(s.labels, ',operation=', flo.label_value(t.operation)), t.count
		  FROM status s CROSS JOIN LATERAL (VALUES (1, 'insert', s.inserts), (2, 'update', s.updates), (3, 'delete', s.deletes)) t (place, operation, count)
		UNION ALL
		SELECT t.name, 0, '', s.labels, t.value
		  FROM status s CROSS JOIN LATERAL (VALUES
				('needs_person', (s.needs_person IS NOT NULL)::int),
				('failing', s.failing::int),
				('lag_seconds', extract(epoch FROM s.lag)),
				('lag_bytes', s.lag_bytes),
				('retained_wal_bytes', s.retained_wal_bytes),
				('pending_bytes', s.pending_bytes),
				('open_bytes', s.open_bytes),
				('source_seen_timestamp_seconds', extract(epoch FROM s.source_seen_at)),
				('state_since_timestamp_seconds', extract(epoch FROM s.state_since)),
				('dead_letters', CASE WHEN s.sink IS NOT NULL THEN s.dead_letters END),
				('held_statements', s.held),
				('transactions_total', s.transactions),
				('truncates_total', s.truncates),
				('filtered_total', s.filtered),
				('conflicts_total', s.conflicts),
				('fallbacks_total', s.fallbacks),
				('bytes_total', s.bytes),
				('retries_total', s.retries),
				('restarts_total', s.restarts),
				('foreign_messages_total', CASE WHEN s.sink IS NULL THEN s.foreign_messages END)) t (name, value)
		UNION ALL
		SELECT t.name, 0, '', c.labels, t.value
		  FROM copy c CROSS JOIN LATERAL (VALUES
				('copy_tables', c.tables),
				('copy_finished_tables', c.finished),
				('copy_size_bytes', c.size),
				('copy_processed_bytes', c.bytes),
				('copy_processed_rows', c.tuples)) t (name, value)
		UNION ALL
		SELECT h.name, t.place, '_bucket', concat(h.labels, ',le=', flo.label_value(t.bound::text)), t.below
		  FROM histogram h CROSS JOIN unnest(h.bounds, h.buckets) WITH ORDINALITY t (bound, below, place)
		UNION ALL
		SELECT h.name, t.place, t.series, h.labels || t.label, t.value
		  FROM histogram h
		  CROSS JOIN LATERAL (VALUES (1000, '_bucket', ',le="+Inf"', h.count), (1001, '_sum', '', h.sum), (1002, '_count', '', h.count)) t (place, series, label, value))
	SELECT string_agg(CASE WHEN l.first THEN format(E'# HELP pg_flo_%1$s %2$s\n# TYPE pg_flo_%1$s %3$s\n', l.name, l.help, l.type) ELSE '' END
					  || format(E'pg_flo_%s%s{%s} %s\n', l.name, l.series, l.labels, l.value), '' ORDER BY l.line)
	  FROM (SELECT f.name, f.type, f.help, s.series, s.labels, s.value, o.line,
				   row_number() OVER (PARTITION BY f.name ORDER BY o.line) = 1 AS first
			  FROM (SELECT row_number() OVER () AS number, f.* FROM family f) f
			  JOIN sample s ON s.name = f.name
			  CROSS JOIN LATERAL (SELECT ROW(f.number, regexp_replace(s.labels, ',(state|operation|le)="[^"]*"$', ''), s.place) AS line) o
			 WHERE s.value IS NOT NULL) l
$$;
COMMENT ON FUNCTION flo.metrics() IS
'What flo.status knows, and more, as text for Prometheus (exposition format 0.0.4): names do not change. Holds no error texts and no names of tables. For pg_monitor';
