/* sql/pg_flo--0.1.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION pg_flo" to load this file. \quit

-- Nobody but the owner of the extension may have prepared the schema: whoever
-- owns it could replace what is created here.
DO $$
BEGIN
	IF (SELECT nspowner <> current_user::regrole FROM pg_catalog.pg_namespace WHERE nspname = 'flo') THEN
		RAISE EXCEPTION 'schema "flo" belongs to another role'
			USING ERRCODE = 'object_not_in_prerequisite_state',
				  HINT = 'Drop or rename it, then create the extension again.';
	END IF;
END
$$;

GRANT USAGE ON SCHEMA flo TO PUBLIC;
COMMENT ON SCHEMA flo IS 'pg_flo: groups that stream changes between databases through NATS JetStream';

---------------------------------------------------------------------------
-- Configuration: written by functions only, saved by pg_dump
---------------------------------------------------------------------------

CREATE TABLE flo.groups (
	group_name text PRIMARY KEY CHECK (group_name ~ '^[a-z][a-z0-9_]{0,39}$'),
	system_identifier bigint NOT NULL,
	database oid NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE flo.groups IS 'Groups that have a member in this database';
COMMENT ON COLUMN flo.groups.group_name IS 'name of the group';
COMMENT ON COLUMN flo.groups.system_identifier IS 'cluster in which the configuration is in force; elsewhere (restored, cloned) nothing starts until start_group() is called';
COMMENT ON COLUMN flo.groups.database IS 'OID of the database in which the configuration is in force';
COMMENT ON COLUMN flo.groups.created_at IS 'when the first member was created';

CREATE TABLE flo.replicators (
	group_name text PRIMARY KEY REFERENCES flo.groups,
	tables text[],
	schemas text[],
	except_tables text[],
	mode text NOT NULL DEFAULT 'stream' CHECK (mode IN ('stream', 'copy', 'copy_and_stream')),
	copy_workers int NOT NULL DEFAULT 4 CHECK (copy_workers BETWEEN 1 AND 64),
	sync_schema bool NOT NULL DEFAULT false,
	track_ddl bool NOT NULL DEFAULT false,
	owner name NOT NULL,
	started bool NOT NULL DEFAULT false,
	options jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(options) = 'object')
);
COMMENT ON TABLE flo.replicators IS 'Source sides of groups: what is published from this database';
COMMENT ON COLUMN flo.replicators.group_name IS 'group';
COMMENT ON COLUMN flo.replicators.tables IS 'tables named one by one, quoted and schema-qualified';
COMMENT ON COLUMN flo.replicators.schemas IS 'schemas all of whose tables belong to the group; without tables and schemas: every table of the database';
COMMENT ON COLUMN flo.replicators.except_tables IS 'tables left out, quoted and schema-qualified';
COMMENT ON COLUMN flo.replicators.mode IS 'stream, copy or copy_and_stream';
COMMENT ON COLUMN flo.replicators.copy_workers IS 'processes that copy existing rows';
COMMENT ON COLUMN flo.replicators.sync_schema IS 'publish the table definitions ahead of the rows';
COMMENT ON COLUMN flo.replicators.track_ddl IS 'publish later DDL in order with the data';
COMMENT ON COLUMN flo.replicators.owner IS 'role that created it; only its members may change it';
COMMENT ON COLUMN flo.replicators.started IS 'whether it is to run';
COMMENT ON COLUMN flo.replicators.options IS 'options that differ from the default';

CREATE TABLE flo.workers (
	group_name text NOT NULL REFERENCES flo.groups,
	worker_name text NOT NULL CHECK (worker_name ~ '^[a-z][a-z0-9_]{0,39}$' AND worker_name <> 'replicator'),
	sink text NOT NULL CHECK (sink IN ('postgres', 'file', 'stdout', 'webhook')),
	owner name NOT NULL,
	started bool NOT NULL DEFAULT false,
	options jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(options) = 'object'),
	PRIMARY KEY (group_name, worker_name)
);
COMMENT ON TABLE flo.workers IS 'Destination sides of groups in this database';
COMMENT ON COLUMN flo.workers.group_name IS 'group';
COMMENT ON COLUMN flo.workers.worker_name IS 'name of the worker';
COMMENT ON COLUMN flo.workers.sink IS 'where it writes: postgres, file, stdout or webhook';
COMMENT ON COLUMN flo.workers.owner IS 'role that created it; only its members may change it';
COMMENT ON COLUMN flo.workers.started IS 'whether it is to run';
COMMENT ON COLUMN flo.workers.options IS 'options that differ from the default; never a secret';

---------------------------------------------------------------------------
-- Configuration: edited by INSERT, UPDATE and DELETE, saved by pg_dump
---------------------------------------------------------------------------

CREATE TABLE flo.rules (
	id bigserial PRIMARY KEY,
	group_name text NOT NULL,
	worker_name text,
	stage text NOT NULL DEFAULT 'worker',
	schema_name text NOT NULL DEFAULT 'public',
	table_name text NOT NULL,
	column_name text,
	action text NOT NULL,
	arguments jsonb NOT NULL DEFAULT '{}',
	operations text[] NOT NULL DEFAULT '{INSERT,UPDATE,DELETE}',
	allow_empty_deletes bool NOT NULL DEFAULT true,
	position int NOT NULL DEFAULT 0,
	enabled bool NOT NULL DEFAULT true
);
COMMENT ON TABLE flo.rules IS 'Transforms and filters; checked when written, in force within a second';
COMMENT ON COLUMN flo.rules.id IS 'number of the rule; rules of one column act in the order of position, id';
COMMENT ON COLUMN flo.rules.group_name IS 'group; may be created later';
COMMENT ON COLUMN flo.rules.worker_name IS 'worker it holds for; NULL means every worker of the group in this database';
COMMENT ON COLUMN flo.rules.stage IS 'worker (destination side) or replicator (before the data leaves the source)';
COMMENT ON COLUMN flo.rules.schema_name IS 'schema of the table at the source';
COMMENT ON COLUMN flo.rules.table_name IS 'name of the table at the source, as in pg_class';
COMMENT ON COLUMN flo.rules.column_name IS 'name of the column at the source; not needed for the action where';
COMMENT ON COLUMN flo.rules.action IS 'regex, mask, expression, eq, ne, gt, lt, gte, lte, contains or where';
COMMENT ON COLUMN flo.rules.arguments IS 'arguments of the action, a JSON object';
COMMENT ON COLUMN flo.rules.operations IS 'operations it holds for: INSERT, UPDATE, DELETE';
COMMENT ON COLUMN flo.rules.allow_empty_deletes IS 'whether a DELETE passes a filter whose column is not in the replica identity';
COMMENT ON COLUMN flo.rules.position IS 'order among the rules of one column';
COMMENT ON COLUMN flo.rules.enabled IS 'whether it is in force';

CREATE TABLE flo.routes (
	id bigserial PRIMARY KEY,
	group_name text NOT NULL,
	worker_name text,
	source_schema text NOT NULL DEFAULT 'public',
	source_table text NOT NULL,
	destination_schema text,
	destination_table text,
	column_mappings jsonb NOT NULL DEFAULT '{}',
	operations text[] NOT NULL DEFAULT '{INSERT,UPDATE,DELETE,TRUNCATE}',
	enabled bool NOT NULL DEFAULT true
);
CREATE UNIQUE INDEX routes_source_key
	ON flo.routes (group_name, source_schema, source_table, coalesce(worker_name, ''))
	WHERE enabled;
COMMENT ON TABLE flo.routes IS 'Where the changes of a table go; checked when written, in force within a second';
COMMENT ON COLUMN flo.routes.id IS 'number of the route';
COMMENT ON COLUMN flo.routes.group_name IS 'group; may be created later';
COMMENT ON COLUMN flo.routes.worker_name IS 'worker it holds for; NULL means every worker of the group in this database';
COMMENT ON COLUMN flo.routes.source_schema IS 'schema of the table at the source';
COMMENT ON COLUMN flo.routes.source_table IS 'name of the table at the source, as in pg_class; * means every table of the schema';
COMMENT ON COLUMN flo.routes.destination_schema IS 'schema at the destination; NULL means the same';
COMMENT ON COLUMN flo.routes.destination_table IS 'table at the destination; NULL means the same';
COMMENT ON COLUMN flo.routes.column_mappings IS 'JSON object: source column to destination column; null leaves the column out';
COMMENT ON COLUMN flo.routes.operations IS 'operations that pass: INSERT, UPDATE, DELETE, TRUNCATE';
COMMENT ON COLUMN flo.routes.enabled IS 'whether it is in force';

CREATE TABLE flo.webhook_subscriptions (
	id bigserial PRIMARY KEY,
	group_name text NOT NULL,
	worker_name text,
	schema_name text NOT NULL DEFAULT 'public',
	table_name text NOT NULL,
	operations text[] NOT NULL DEFAULT '{INSERT,UPDATE,DELETE,TRUNCATE}',
	enabled bool NOT NULL DEFAULT true
);
COMMENT ON TABLE flo.webhook_subscriptions IS 'Which events a webhook worker sends; without any of them it sends all';
COMMENT ON COLUMN flo.webhook_subscriptions.id IS 'number of the subscription';
COMMENT ON COLUMN flo.webhook_subscriptions.group_name IS 'group; may be created later';
COMMENT ON COLUMN flo.webhook_subscriptions.worker_name IS 'worker it holds for; NULL means every webhook worker of the group in this database';
COMMENT ON COLUMN flo.webhook_subscriptions.schema_name IS 'schema of the table at the source';
COMMENT ON COLUMN flo.webhook_subscriptions.table_name IS 'name of the table at the source; * means every table of the schema';
COMMENT ON COLUMN flo.webhook_subscriptions.operations IS 'operations that are sent: INSERT, UPDATE, DELETE, TRUNCATE';
COMMENT ON COLUMN flo.webhook_subscriptions.enabled IS 'whether it is in force';

---------------------------------------------------------------------------
-- Runtime state: written by pg_flo's processes, never saved by pg_dump
---------------------------------------------------------------------------

CREATE TABLE flo.generations (
	group_name text PRIMARY KEY,
	generation uuid NOT NULL,
	start_lsn pg_lsn NOT NULL,
	epoch bigint NOT NULL DEFAULT 0,
	copy_attempt int NOT NULL DEFAULT 1,
	created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE flo.generations IS 'The replication slot of each replicator, from its creation to its loss';
COMMENT ON COLUMN flo.generations.group_name IS 'group';
COMMENT ON COLUMN flo.generations.generation IS 'identity of the slot, written into every message';
COMMENT ON COLUMN flo.generations.start_lsn IS 'consistent point of the slot';
COMMENT ON COLUMN flo.generations.epoch IS 'number of the newest publishing session';
COMMENT ON COLUMN flo.generations.copy_attempt IS 'number of the newest snapshot from which tables are or were copied';
COMMENT ON COLUMN flo.generations.created_at IS 'when the slot was created';

CREATE TABLE flo.full_identities (
	group_name text NOT NULL,
	relation oid NOT NULL,
	before "char" NOT NULL,
	PRIMARY KEY (group_name, relation)
);
COMMENT ON TABLE flo.full_identities IS 'Tables that were given REPLICA IDENTITY FULL by keyless_tables = full; undone when the group is dropped';
COMMENT ON COLUMN flo.full_identities.group_name IS 'group';
COMMENT ON COLUMN flo.full_identities.relation IS 'OID of the table';
COMMENT ON COLUMN flo.full_identities.before IS 'pg_class.relreplident as it was before';

CREATE TABLE flo.progress (
	group_name text NOT NULL,
	worker_name text NOT NULL,
	system_identifier bigint NOT NULL,
	generation uuid NOT NULL,
	generation_start pg_lsn NOT NULL,
	start_lsn pg_lsn NOT NULL,
	lsn pg_lsn,
	copying bool NOT NULL DEFAULT false,
	copy_attempt int NOT NULL DEFAULT 0,
	updated_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (group_name, worker_name)
);
COMMENT ON TABLE flo.progress IS 'Which source each worker follows, and how far it is unless a replication origin says so';
COMMENT ON COLUMN flo.progress.group_name IS 'group';
COMMENT ON COLUMN flo.progress.worker_name IS 'worker';
COMMENT ON COLUMN flo.progress.system_identifier IS 'system identifier of the source';
COMMENT ON COLUMN flo.progress.generation IS 'generation of the source''s slot';
COMMENT ON COLUMN flo.progress.generation_start IS 'start of that generation';
COMMENT ON COLUMN flo.progress.start_lsn IS 'where the worker began; nothing at or below it is its business';
COMMENT ON COLUMN flo.progress.lsn IS 'durable position of a sink that has no replication origin';
COMMENT ON COLUMN flo.progress.copying IS 'whether the copy of the tables is not in yet';
COMMENT ON COLUMN flo.progress.copy_attempt IS 'newest snapshot from which tables were copied later than the rest';
COMMENT ON COLUMN flo.progress.updated_at IS 'when the row was written';

CREATE TABLE flo.copy_requests (
	group_name text NOT NULL,
	relation oid NOT NULL,
	add bool NOT NULL,
	requested_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (group_name, relation)
);
COMMENT ON TABLE flo.copy_requests IS 'Tables of running groups that are to be copied, or copied afresh';
COMMENT ON COLUMN flo.copy_requests.group_name IS 'group';
COMMENT ON COLUMN flo.copy_requests.relation IS 'OID of the table';
COMMENT ON COLUMN flo.copy_requests.add IS 'whether it joins the group with the copy';
COMMENT ON COLUMN flo.copy_requests.requested_at IS 'when';

CREATE TABLE flo.copied_tables (
	group_name text NOT NULL,
	worker_name text NOT NULL,
	relation oid NOT NULL,
	schema_name text NOT NULL,
	table_name text NOT NULL,
	attempt int NOT NULL,
	lsn pg_lsn,
	chunks bigint,
	tuples bigint,
	tuples_done bigint,
	bytes bigint,
	bytes_done bigint,
	started_at timestamptz NOT NULL DEFAULT now(),
	finished_at timestamptz,
	PRIMARY KEY (group_name, worker_name, relation)
);
COMMENT ON TABLE flo.copied_tables IS 'Tables being copied, or copied last, from this database (worker replicator) or to it; use the view flo.copy_progress';
COMMENT ON COLUMN flo.copied_tables.group_name IS 'group';
COMMENT ON COLUMN flo.copied_tables.worker_name IS 'worker';
COMMENT ON COLUMN flo.copied_tables.relation IS 'OID of the table at the source';
COMMENT ON COLUMN flo.copied_tables.schema_name IS 'schema of the table at the source';
COMMENT ON COLUMN flo.copied_tables.table_name IS 'name of the table at the source';
COMMENT ON COLUMN flo.copied_tables.attempt IS 'number of the snapshot its rows are from';
COMMENT ON COLUMN flo.copied_tables.lsn IS 'LSN of that snapshot: streamed changes of the table committed before it are in the copy';
COMMENT ON COLUMN flo.copied_tables.chunks IS 'chunks the source has published; NULL while it reads the table';
COMMENT ON COLUMN flo.copied_tables.tuples IS 'rows the source has published';
COMMENT ON COLUMN flo.copied_tables.tuples_done IS 'source: rows read so far, in finished ranges';
COMMENT ON COLUMN flo.copied_tables.bytes IS 'size of the table''s file at the source';
COMMENT ON COLUMN flo.copied_tables.bytes_done IS 'source: bytes of finished ranges';
COMMENT ON COLUMN flo.copied_tables.started_at IS 'when this attempt began';
COMMENT ON COLUMN flo.copied_tables.finished_at IS 'when all of it was read, or in';

CREATE TABLE flo.copied_chunks (
	group_name text NOT NULL,
	worker_name text NOT NULL,
	relation oid NOT NULL,
	attempt int NOT NULL,
	range int NOT NULL,
	ordinal int NOT NULL,
	tuples int NOT NULL,
	PRIMARY KEY (group_name, worker_name, relation, attempt, range, ordinal)
);
COMMENT ON TABLE flo.copied_chunks IS 'Chunks of tables being copied that have been loaded; written in the transactions that load them';
COMMENT ON COLUMN flo.copied_chunks.group_name IS 'group';
COMMENT ON COLUMN flo.copied_chunks.worker_name IS 'worker';
COMMENT ON COLUMN flo.copied_chunks.relation IS 'OID of the table at the source';
COMMENT ON COLUMN flo.copied_chunks.attempt IS 'number of the snapshot';
COMMENT ON COLUMN flo.copied_chunks.range IS 'range of pages of the table';
COMMENT ON COLUMN flo.copied_chunks.ordinal IS 'chunk of the range';
COMMENT ON COLUMN flo.copied_chunks.tuples IS 'rows in it';

CREATE TABLE flo.dead_letters (
	id bigserial PRIMARY KEY,
	group_name text NOT NULL,
	worker_name text NOT NULL,
	lsn pg_lsn,
	event jsonb,
	error text,
	attempts int NOT NULL DEFAULT 0,
	created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE flo.dead_letters IS 'Events that a worker could not deliver and set aside';
COMMENT ON COLUMN flo.dead_letters.id IS 'number of the letter';
COMMENT ON COLUMN flo.dead_letters.group_name IS 'group';
COMMENT ON COLUMN flo.dead_letters.worker_name IS 'worker';
COMMENT ON COLUMN flo.dead_letters.lsn IS 'commit LSN of the transaction';
COMMENT ON COLUMN flo.dead_letters.event IS 'the event';
COMMENT ON COLUMN flo.dead_letters.error IS 'last error';
COMMENT ON COLUMN flo.dead_letters.attempts IS 'deliveries tried';
COMMENT ON COLUMN flo.dead_letters.created_at IS 'when it was set aside';

CREATE TABLE flo.pending_ddl (
	id bigserial PRIMARY KEY,
	group_name text NOT NULL,
	worker_name text NOT NULL,
	lsn pg_lsn NOT NULL,
	committed_at timestamptz NOT NULL,
	tag text NOT NULL,
	command text NOT NULL,
	reason text NOT NULL,
	ordinal int NOT NULL,
	decision text CHECK (decision IN ('release', 'skip')),
	created_at timestamptz NOT NULL DEFAULT now(),
	UNIQUE (group_name, worker_name, lsn, ordinal)
);
COMMENT ON TABLE flo.pending_ddl IS 'DDL that a worker holds until a person decides';
COMMENT ON COLUMN flo.pending_ddl.id IS 'number of the statement';
COMMENT ON COLUMN flo.pending_ddl.group_name IS 'group';
COMMENT ON COLUMN flo.pending_ddl.worker_name IS 'worker';
COMMENT ON COLUMN flo.pending_ddl.lsn IS 'commit LSN of the transaction';
COMMENT ON COLUMN flo.pending_ddl.tag IS 'command tag';
COMMENT ON COLUMN flo.pending_ddl.command IS 'text of the statement';
COMMENT ON COLUMN flo.pending_ddl.committed_at IS 'when the source committed it';
COMMENT ON COLUMN flo.pending_ddl.reason IS 'why it is held';
COMMENT ON COLUMN flo.pending_ddl.ordinal IS 'place among the statements of its transaction';
COMMENT ON COLUMN flo.pending_ddl.decision IS 'release or skip, until the worker has done it';
COMMENT ON COLUMN flo.pending_ddl.created_at IS 'when it arrived';

CREATE TABLE flo.ddl_log (
	id bigserial PRIMARY KEY,
	group_name text NOT NULL,
	worker_name text,
	lsn pg_lsn,
	tag text NOT NULL,
	command text NOT NULL,
	outcome text NOT NULL,
	detail text,
	executed_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE flo.ddl_log IS 'What became of the DDL that arrived at this destination';
COMMENT ON COLUMN flo.ddl_log.id IS 'number of the entry';
COMMENT ON COLUMN flo.ddl_log.group_name IS 'group';
COMMENT ON COLUMN flo.ddl_log.worker_name IS 'worker';
COMMENT ON COLUMN flo.ddl_log.lsn IS 'commit LSN of the transaction';
COMMENT ON COLUMN flo.ddl_log.tag IS 'command tag';
COMMENT ON COLUMN flo.ddl_log.command IS 'text of the statement as the source ran it';
COMMENT ON COLUMN flo.ddl_log.outcome IS 'applied; present (its effect was there already); skipped (flo.skip_ddl()) or ignored (option ddl)';
COMMENT ON COLUMN flo.ddl_log.detail IS 'more about the outcome';
COMMENT ON COLUMN flo.ddl_log.executed_at IS 'when';

CREATE TABLE flo.secrets (
	group_name text NOT NULL,
	worker_name text NOT NULL,
	key text NOT NULL,
	value text NOT NULL,
	PRIMARY KEY (group_name, worker_name, key)
);
COMMENT ON TABLE flo.secrets IS 'Secrets of workers; readable by nobody but the owner of the extension, never dumped';
COMMENT ON COLUMN flo.secrets.group_name IS 'group';
COMMENT ON COLUMN flo.secrets.worker_name IS 'worker';
COMMENT ON COLUMN flo.secrets.key IS 'what it is for';
COMMENT ON COLUMN flo.secrets.value IS 'the secret';

SELECT pg_catalog.pg_extension_config_dump('flo.groups', '');
SELECT pg_catalog.pg_extension_config_dump('flo.replicators', '');
SELECT pg_catalog.pg_extension_config_dump('flo.workers', '');
SELECT pg_catalog.pg_extension_config_dump('flo.rules', '');
SELECT pg_catalog.pg_extension_config_dump('flo.rules_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('flo.routes', '');
SELECT pg_catalog.pg_extension_config_dump('flo.routes_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('flo.webhook_subscriptions', '');
SELECT pg_catalog.pg_extension_config_dump('flo.webhook_subscriptions_id_seq', '');

---------------------------------------------------------------------------
-- Triggers
---------------------------------------------------------------------------

CREATE FUNCTION flo.config_changed() RETURNS trigger
	AS 'MODULE_PATHNAME', 'flo_config_changed' LANGUAGE C
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.config_changed() IS 'internal: tells the launcher and running members, at commit, that the configuration changed';

CREATE FUNCTION flo.validate_row() RETURNS trigger
	AS 'MODULE_PATHNAME', 'flo_validate_row' LANGUAGE C
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.validate_row() IS 'internal: checks a row of rules, routes or webhook_subscriptions (22023)';

CREATE FUNCTION flo.validate_table() RETURNS trigger
	AS 'MODULE_PATHNAME', 'flo_validate_table' LANGUAGE C
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.validate_table() IS 'internal: checks what rows of rules or routes must not be together (22023, 0A000)';

CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.replicators
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.workers
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.copy_requests
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.groups
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.rules
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.routes
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();
CREATE TRIGGER config_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.webhook_subscriptions
	FOR EACH STATEMENT EXECUTE FUNCTION flo.config_changed();

CREATE TRIGGER validate_row BEFORE INSERT OR UPDATE ON flo.rules
	FOR EACH ROW EXECUTE FUNCTION flo.validate_row();
CREATE TRIGGER validate_row BEFORE INSERT OR UPDATE ON flo.routes
	FOR EACH ROW EXECUTE FUNCTION flo.validate_row();
CREATE TRIGGER validate_row BEFORE INSERT OR UPDATE ON flo.webhook_subscriptions
	FOR EACH ROW EXECUTE FUNCTION flo.validate_row();
CREATE TRIGGER validate_table AFTER INSERT OR UPDATE ON flo.rules
	FOR EACH STATEMENT EXECUTE FUNCTION flo.validate_table();
CREATE TRIGGER validate_table AFTER INSERT OR UPDATE ON flo.routes
	FOR EACH STATEMENT EXECUTE FUNCTION flo.validate_table();
CREATE TRIGGER validate_table AFTER INSERT OR UPDATE ON flo.webhook_subscriptions
	FOR EACH STATEMENT EXECUTE FUNCTION flo.validate_table();

-- also for sessions with session_replication_role = replica
ALTER TABLE flo.groups ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.replicators ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.workers ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.rules ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.rules ENABLE ALWAYS TRIGGER validate_row;
ALTER TABLE flo.rules ENABLE ALWAYS TRIGGER validate_table;
ALTER TABLE flo.routes ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.routes ENABLE ALWAYS TRIGGER validate_row;
ALTER TABLE flo.routes ENABLE ALWAYS TRIGGER validate_table;
ALTER TABLE flo.webhook_subscriptions ENABLE ALWAYS TRIGGER config_changed;
ALTER TABLE flo.webhook_subscriptions ENABLE ALWAYS TRIGGER validate_row;
ALTER TABLE flo.webhook_subscriptions ENABLE ALWAYS TRIGGER validate_table;

CREATE FUNCTION flo.new_tables() RETURNS event_trigger
	AS 'MODULE_PATHNAME', 'flo_new_tables' LANGUAGE C
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.new_tables() IS 'internal: lets new tables join the groups that cover them';

CREATE EVENT TRIGGER pg_flo_new_tables ON ddl_command_end
	WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE SCHEMA', 'ALTER TABLE')
	EXECUTE FUNCTION flo.new_tables();
COMMENT ON EVENT TRIGGER pg_flo_new_tables IS 'pg_flo: new tables join the groups that cover them';
ALTER EVENT TRIGGER pg_flo_new_tables ENABLE ALWAYS;

CREATE FUNCTION flo.guard_drop() RETURNS event_trigger
	AS 'MODULE_PATHNAME', 'flo_guard_drop' LANGUAGE C
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.guard_drop() IS 'internal: keeps DROP EXTENSION from leaving groups behind, also in a server that has not preloaded pg_flo';

CREATE EVENT TRIGGER pg_flo_guard_drop ON ddl_command_start
	WHEN TAG IN ('DROP EXTENSION', 'DROP SCHEMA', 'DROP OWNED')
	EXECUTE FUNCTION flo.guard_drop();
COMMENT ON EVENT TRIGGER pg_flo_guard_drop IS 'pg_flo: the extension cannot be dropped while groups exist';
ALTER EVENT TRIGGER pg_flo_guard_drop ENABLE ALWAYS;

-- Never does anything: whether it is enabled tells every session whether DDL is tracked here
CREATE EVENT TRIGGER pg_flo_track_ddl ON ddl_command_start
	WHEN TAG IN ('DROP EXTENSION')
	EXECUTE FUNCTION flo.guard_drop();
COMMENT ON EVENT TRIGGER pg_flo_track_ddl IS 'pg_flo: enabled while a group of this database tracks DDL';
ALTER EVENT TRIGGER pg_flo_track_ddl DISABLE;

CREATE FUNCTION flo.follow_tracking() RETURNS trigger LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	wanted bool := EXISTS (SELECT FROM flo.replicators r WHERE r.track_ddl);
BEGIN
	IF wanted THEN
		-- what DDL messages are signed with
		INSERT INTO flo.secrets (group_name, worker_name, key, value)
		VALUES ('', '', 'ddl', replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''))
			ON CONFLICT DO NOTHING;
	END IF;
	IF wanted <> (SELECT e.evtenabled <> 'D' FROM pg_event_trigger e WHERE e.evtname = 'pg_flo_track_ddl') THEN
		IF wanted THEN
			ALTER EVENT TRIGGER pg_flo_track_ddl ENABLE ALWAYS;
		ELSE
			ALTER EVENT TRIGGER pg_flo_track_ddl DISABLE;
		END IF;
	END IF;
	RETURN NULL;
END
$$;
COMMENT ON FUNCTION flo.follow_tracking() IS 'internal: keeps the event trigger pg_flo_track_ddl in step with flo.replicators';

CREATE TRIGGER follow_tracking AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON flo.replicators
	FOR EACH STATEMENT EXECUTE FUNCTION flo.follow_tracking();
ALTER TABLE flo.replicators ENABLE ALWAYS TRIGGER follow_tracking;

---------------------------------------------------------------------------
-- Control functions
---------------------------------------------------------------------------

CREATE FUNCTION flo.create_replicator(
	group_name text,
	tables regclass[] DEFAULT NULL,
	schemas text[] DEFAULT NULL,
	mode text DEFAULT 'stream',
	copy_workers int DEFAULT 4,
	sync_schema bool DEFAULT false,
	track_ddl bool DEFAULT false,
	options jsonb DEFAULT '{}',
	except_tables regclass[] DEFAULT NULL
) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_create_replicator' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.create_replicator(text, regclass[], text[], text, int, bool, bool, jsonb, regclass[]) IS
'Records the source side of a group and creates its publication. tables and schemas add up, neither means every table. Errors: 22023 bad value, 42710 exists, 42501 not the tables'' owner or no REPLICATION, 42809 not a table, 55000 wal_level, preload or replica identity, 53400 no free slot';

CREATE FUNCTION flo.create_worker(
	group_name text,
	sink text DEFAULT 'postgres',
	worker_name text DEFAULT NULL,
	options jsonb DEFAULT '{}'
) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_create_worker' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.create_worker(text, text, text, jsonb) IS
'Records a destination side of a group; worker_name defaults to the sink''s name. Errors: 22023 bad value, 42710 exists, 55000 not preloaded';

CREATE FUNCTION flo.alter_replicator(group_name text, options jsonb) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_alter_replicator' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.alter_replicator(text, jsonb) IS
'Merges options into those of the replicator (JSON null: back to the default), in force within a second of the commit. Errors: 42704 unknown group, 22023 bad value';

CREATE FUNCTION flo.alter_worker(group_name text, worker_name text, options jsonb) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_alter_worker' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.alter_worker(text, text, jsonb) IS
'Merges options into those of a worker (JSON null: back to the default), in force within a second of the commit. Errors: 42704 unknown group or worker, 22023 bad value';

CREATE FUNCTION flo.start_group(group_name text, member text DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_start_group' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.start_group(text, text) IS
'Starts one member or all members of the group in this database when the transaction commits; also tries a failed one again at once. Errors: 42704 unknown group or member, 55000 not preloaded, 53400 no free process';

CREATE FUNCTION flo.stop_group(group_name text, member text DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_stop_group' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.stop_group(text, text) IS
'Stops one member or all members of the group in this database when the transaction commits; flo.status says stopped when the process is gone. Errors: 42704 unknown group or member';

CREATE FUNCTION flo.add_table(group_name text, table_name regclass, copy bool DEFAULT true) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_add_table' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.add_table(text, regclass, bool) IS
'Adds a table to the group of this database''s replicator. Errors: 42704 unknown group, 42710 already in it, 42809 not a table, 55000 no usable replica identity, 0A000 copy of existing rows';

CREATE FUNCTION flo.resync(group_name text, table_name regclass DEFAULT NULL, copy bool DEFAULT true) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_resync' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.resync(text, regclass, bool) IS
	'copies one table of a running group afresh; destinations wait for it at the same point of the stream; 42704 when it is not in the group';

CREATE FUNCTION flo.remove_table(group_name text, table_name regclass) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_remove_table' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.remove_table(text, regclass) IS
'Takes a table out of the group of this database''s replicator. Errors: 42704 unknown group or table not in it';

CREATE FUNCTION flo.drop_replicator(group_name text, purge_stream bool DEFAULT false, force bool DEFAULT false) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_drop_replicator' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.drop_replicator(text, bool, bool) IS
'Stops the replicator (waits up to 10 s) and removes slot, publication and rows; purge_stream also stream and state bucket. Not transactional; can be repeated. With force an unreachable broker is a warning. Errors: 42704 unknown group, 55006 does not stop, 08xxx broker';

CREATE FUNCTION flo.drop_worker(group_name text, worker_name text, force bool DEFAULT false) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_drop_worker' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.drop_worker(text, text, bool) IS
'Stops a worker (waits up to 10 s) and removes consumer, registration, origin and rows. Not transactional; can be repeated. With force an unreachable broker is a warning. Errors: 42704 unknown group or worker, 55006 does not stop, 08xxx broker';

CREATE FUNCTION flo.drop_group(group_name text, purge_stream bool DEFAULT false, force bool DEFAULT false) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_drop_group' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.drop_group(text, bool, bool) IS
'Drops everything the group has in this database, see drop_replicator and drop_worker. Errors: 42704 unknown group, 55006 does not stop, 08xxx broker';

CREATE FUNCTION flo.drop_consumer(group_name text, consumer text) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_drop_consumer' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.drop_consumer(text, text) IS
'Removes the consumer and the registration of a destination that no longer exists, as shown by stream_status. Errors: 42704 unknown group or consumer, 08xxx broker';

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
	AS 'MODULE_PATHNAME', 'flo_stream_status' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.stream_status(text) IS
'The group''s stream and who holds it: one row per registered worker (one without worker when there is none). Errors: 42704 unknown group, 08xxx broker';

CREATE FUNCTION flo.wait_for(
	group_name text,
	lsn pg_lsn DEFAULT NULL,
	timeout interval DEFAULT '30 s',
	member text DEFAULT NULL
) RETURNS boolean
	AS 'MODULE_PATHNAME', 'flo_wait_for' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.wait_for(text, pg_lsn, interval, text) IS
'Waits until the group has got as far as lsn; false at the timeout. Source: published and acknowledged (lsn NULL: the current LSN). Destination: durable in the sink of one worker, or of all workers here. In a database with both sides and no member named, an lsn of NULL means the replicator and any other lsn all workers. Errors: 42704 unknown group or member, 22004 lsn missing, 22023 negative timeout, 55000 started in this very transaction';

CREATE FUNCTION flo.release_ddl(id bigint) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_release_ddl' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.release_ddl(bigint) IS
'Lets the worker run a statement of flo.pending_ddl as it is, within a second of the commit. Errors: 42704 no such statement, 42501 not the worker''s owner';

CREATE FUNCTION flo.skip_ddl(id bigint) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_skip_ddl' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.skip_ddl(bigint) IS
'Lets the worker pass a statement of flo.pending_ddl without running it, within a second of the commit. Errors: 42704 no such statement, 42501 not the worker''s owner';

CREATE FUNCTION flo.table_schema(table_name regclass) RETURNS jsonb
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT jsonb_build_object(
		'schema', n.nspname,
		'table', c.relname,
		'kind', CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
					WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'type' ELSE c.relkind::text END,
		'replica_identity', CASE c.relreplident WHEN 'd' THEN 'default' WHEN 'n' THEN 'nothing' WHEN 'f' THEN 'full' ELSE 'index' END,
		'columns', coalesce((
			SELECT jsonb_agg(jsonb_build_object(
						'attnum', a.attnum,
						'name', a.attname,
						'type', format_type(a.atttypid, a.atttypmod),
						'nullable', NOT a.attnotnull,
						'default', CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
						'generated', CASE WHEN a.attgenerated <> '' THEN pg_get_expr(d.adbin, d.adrelid) END,
						'identity', CASE a.attidentity WHEN 'a' THEN 'always' WHEN 'd' THEN 'by default' END)
					ORDER BY a.attnum)
			  FROM pg_attribute a
			  LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
			 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]'),
		'keys', coalesce((
			SELECT jsonb_agg(jsonb_build_object(
						'name', i.relname,
						'primary', x.indisprimary,
						'replica_identity', x.indisreplident OR (x.indisprimary AND c.relreplident = 'd'),
						'columns', (SELECT jsonb_agg(pg_get_indexdef(x.indexrelid, k, false) ORDER BY k)
									  FROM generate_series(1, x.indnkeyatts) k))
					ORDER BY NOT x.indisprimary, i.relname)
			  FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
			 WHERE x.indrelid = c.oid AND x.indisunique AND x.indisvalid AND x.indpred IS NULL), '[]'))
	  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	 WHERE c.oid = table_name
$$;
COMMENT ON FUNCTION flo.table_schema(regclass) IS
'The definition of a table as JSON: columns with attnum, type, nullability, default; unique keys; replica identity';

CREATE FUNCTION flo.reset_stats(group_name text DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'flo_reset_stats' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.reset_stats(text) IS
'Sets the counters of the group (NULL: of every group of this database) in flo.status to zero. Errors: 42704 unknown group';

---------------------------------------------------------------------------
-- Views
---------------------------------------------------------------------------

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
	OUT stats_reset timestamptz
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_member_stats' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.member_stats() IS
'What shared memory knows of this database''s members; use the view flo.status. Error texts are shown to the member''s owner and to members of pg_read_all_stats';

CREATE FUNCTION flo.origin_position(group_name text, worker_name text) RETURNS pg_lsn
	AS 'MODULE_PATHNAME', 'flo_origin_position' LANGUAGE C VOLATILE PARALLEL UNSAFE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.origin_position(text, text) IS
'How far the replication origin of a worker of this database is; NULL when it has none';

CREATE FUNCTION flo.is_preloaded() RETURNS bool
	AS 'MODULE_PATHNAME', 'flo_is_preloaded' LANGUAGE C STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.is_preloaded() IS 'Whether pg_flo is in shared_preload_libraries';

CREATE FUNCTION flo.launcher_problem() RETURNS text
	AS 'MODULE_PATHNAME', 'flo_launcher_problem' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.launcher_problem() IS 'Why the launcher cannot start what is wanted; NULL when nothing is wrong';

CREATE VIEW flo.status AS
	SELECT m.group_name,
		   m.member,
		   m.sink,
		   CASE WHEN s.pid IS NOT NULL THEN s.state
				WHEN NOT m.started OR NOT m.here OR NOT m.enabled THEN 'stopped'
				WHEN s.state IN ('starting', 'backoff', 'failed') THEN s.state
				ELSE 'starting'
		   END AS state,
		   CASE WHEN s.pid IS NOT NULL THEN s.detail
				WHEN NOT m.here THEN 'configured in another database; start_group() adopts it'
				WHEN NOT m.started THEN NULL
				WHEN NOT m.enabled THEN 'pg_flo is not in shared_preload_libraries or pg_flo.enabled is off'
				WHEN s.state IN ('starting', 'backoff', 'failed') THEN s.detail
				ELSE coalesce(flo.launcher_problem(), 'waiting for the launcher')
		   END AS detail,
		   s.pid,
		   s.received_lsn,
		   p.durable_lsn,
		   CASE WHEN p.known_lsn > p.durable_lsn THEN (p.known_lsn - p.durable_lsn)::bigint
				WHEN p.known_lsn <= p.durable_lsn THEN 0
		   END AS lag_bytes,
		   CASE WHEN s.pid IS NULL THEN NULL
				WHEN s.oldest_pending IS NULL THEN interval '0'
				ELSE greatest(clock_timestamp() - s.oldest_pending, interval '0')
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
		   s.stats_reset
	  FROM (SELECT u.group_name, u.member, u.sink, u.started,
				   g.system_identifier = (SELECT c.system_identifier FROM pg_catalog.pg_control_system() c)
				   AND g.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) AS here,
				   flo.is_preloaded() AND pg_catalog.current_setting('pg_flo.enabled')::bool AS enabled
			  FROM (SELECT r.group_name, 'replicator' AS member, NULL::text AS sink, r.started FROM flo.replicators r
					UNION ALL
					SELECT k.group_name, k.worker_name, k.sink, k.started FROM flo.workers k) u
			  JOIN flo.groups g ON g.group_name = u.group_name) m
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
								 ELSE flo.origin_position(m.group_name, m.member) END) AS durable_lsn,
				   CASE WHEN m.sink IS NULL THEN w.lsn ELSE s.known_lsn END AS known_lsn) p;
COMMENT ON VIEW flo.status IS 'One row per member of a group in this database; counters since server start or reset, at most a second old';
COMMENT ON COLUMN flo.status.group_name IS 'group';
COMMENT ON COLUMN flo.status.member IS 'replicator, or the name of a worker';
COMMENT ON COLUMN flo.status.sink IS 'where a worker writes';
COMMENT ON COLUMN flo.status.state IS 'stopped, starting, waiting, copying, streaming (also when idle), backoff (an error, retried by itself) or failed (needs a person)';
COMMENT ON COLUMN flo.status.detail IS 'what it waits for, in one sentence';
COMMENT ON COLUMN flo.status.pid IS 'process';
COMMENT ON COLUMN flo.status.received_lsn IS 'replicator: decoded up to here; worker: received up to here';
COMMENT ON COLUMN flo.status.durable_lsn IS 'replicator: acknowledged by the broker; worker: durable in the sink';
COMMENT ON COLUMN flo.status.lag_bytes IS 'bytes of WAL between the newest known LSN and durable_lsn';
COMMENT ON COLUMN flo.status.lag IS 'age of the oldest transaction not yet durable, 0 when there is none, NULL when the member does not run';
COMMENT ON COLUMN flo.status.retained_wal_bytes IS 'bytes of WAL kept for the slot';
COMMENT ON COLUMN flo.status.transactions IS 'source transactions';
COMMENT ON COLUMN flo.status.inserts IS 'rows inserted';
COMMENT ON COLUMN flo.status.updates IS 'rows updated';
COMMENT ON COLUMN flo.status.deletes IS 'rows deleted';
COMMENT ON COLUMN flo.status.truncates IS 'tables truncated';
COMMENT ON COLUMN flo.status.filtered IS 'changes dropped by rules and routes';
COMMENT ON COLUMN flo.status.conflicts IS 'rows that were there, or missing, against expectation';
COMMENT ON COLUMN flo.status.fallbacks IS 'batches applied row by row';
COMMENT ON COLUMN flo.status.bytes IS 'bytes sent or received';
COMMENT ON COLUMN flo.status.restarts IS 'starts after the first';
COMMENT ON COLUMN flo.status.last_error IS 'newest error';
COMMENT ON COLUMN flo.status.last_error_at IS 'when it happened';
COMMENT ON COLUMN flo.status.stats_reset IS 'since when the counters count';

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
	  FROM flo.replicators r
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
							  AND CASE c.relreplident WHEN 'd' THEN x.indisprimary WHEN 'i' THEN x.indisreplident ELSE false END) AS usable) k;
COMMENT ON VIEW flo.tables IS 'What the groups of this database''s replicators replicate now';
COMMENT ON COLUMN flo.tables.group_name IS 'group';
COMMENT ON COLUMN flo.tables.table_name IS 'table, quoted and schema-qualified';
COMMENT ON COLUMN flo.tables.replica_identity IS 'primary key, index, full or none';
COMMENT ON COLUMN flo.tables.state IS 'state of the replicator as far as this table is concerned, see flo.status';
COMMENT ON COLUMN flo.tables.detail IS 'what is special about the table';

CREATE VIEW flo.copy_progress AS
	SELECT t.group_name,
		   t.worker_name AS member,
		   pg_catalog.format('%I.%I', t.schema_name, t.table_name) AS table_name,
		   CASE WHEN t.finished_at IS NOT NULL THEN CASE WHEN d.source THEN 'published' ELSE 'complete' END
				WHEN d.source THEN 'reading'
				ELSE 'loading'
		   END AS phase,
		   d.bytes_processed,
		   t.bytes AS bytes_total,
		   d.tuples_processed,
		   t.tuples AS tuples_total,
		   d.percent,
		   CASE WHEN t.finished_at IS NULL AND d.percent > 0
				THEN pg_catalog.date_trunc('second', (pg_catalog.now() - t.started_at) * ((100 - d.percent) / d.percent)::double precision)
		   END AS eta
	  FROM flo.copied_tables t,
		   LATERAL (SELECT count(*) AS chunks, coalesce(sum(c.tuples), 0)::bigint AS tuples
					  FROM flo.copied_chunks c
					 WHERE c.group_name = t.group_name AND c.worker_name = t.worker_name
					   AND c.relation = t.relation AND c.attempt = t.attempt) c,
		   LATERAL (SELECT t.worker_name = 'replicator' AS source,
						   CASE WHEN t.worker_name = 'replicator' THEN t.bytes_done
								WHEN t.finished_at IS NOT NULL THEN t.bytes
								WHEN t.chunks > 0 THEN (t.bytes * (c.chunks::numeric / t.chunks))::bigint
						   END AS bytes_processed,
						   CASE WHEN t.worker_name = 'replicator' THEN t.tuples_done
								WHEN t.finished_at IS NOT NULL THEN t.tuples
								ELSE c.tuples
						   END AS tuples_processed,
						   CASE WHEN t.finished_at IS NOT NULL THEN 100.0
								WHEN t.worker_name = 'replicator' AND t.bytes > 0 THEN round(100.0 * t.bytes_done / t.bytes, 1)
								WHEN t.chunks > 0 THEN round(100.0 * c.chunks / t.chunks, 1)
						   END AS percent) d;
COMMENT ON VIEW flo.copy_progress IS
'One row per table being copied or copied last: bytes of the table''s file and rows, percent, and the time left at the pace so far. At a destination the totals are known once the source has read the table';

---------------------------------------------------------------------------
-- Preflight
---------------------------------------------------------------------------

CREATE FUNCTION flo.covered_tables(
	group_name text,
	OUT relation regclass,
	OUT has_identity bool,
	OUT published bool
) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_covered_tables' LANGUAGE C VOLATILE PARALLEL UNSAFE STRICT
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.covered_tables(text) IS
'internal: the tables that the choice in flo.replicators covers now, partitions through their root';

CREATE FUNCTION flo.check_broker(group_name text, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'flo_check_broker' LANGUAGE C VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION flo.check_broker(text) IS 'internal: the part of flo.check() that asks NATS';

CREATE FUNCTION flo.check_server(members int, replicators int, workers int,
								 OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	preloaded bool := flo.is_preloaded();
	own_limit int := CASE WHEN flo.is_preloaded() THEN current_setting('pg_flo.max_workers')::int END;
	processes int := current_setting('max_worker_processes')::int;
	slots int := current_setting('max_replication_slots')::int;
	used_slots int := (SELECT count(*) FROM pg_replication_slots);
	own_slots int;
	-- a setting of its own from version 18 on
	origins int := coalesce(current_setting('max_active_replication_origins', true)::int, slots);
	used_origins int := (SELECT count(*) FROM pg_replication_origin);
	own_origins int;
	others int := (SELECT count(*) FROM pg_stat_activity a
					WHERE a.backend_type IN ('logical replication launcher', 'logical replication worker',
											 'logical replication apply worker', 'logical replication tablesync worker',
											 'logical replication parallel worker', 'parallel worker')
					   OR a.backend_type NOT IN ('client backend', 'autovacuum launcher', 'autovacuum worker',
												 'background writer', 'checkpointer', 'walwriter', 'walsender',
												 'walreceiver', 'walsummarizer', 'startup', 'archiver', 'logger',
												 'io worker', 'slotsync worker', 'standalone backend')
						  AND a.backend_type NOT LIKE 'pg_flo%');
	own_database text := (SELECT d.oid::text FROM pg_database d WHERE d.datname = current_database());
BEGIN
	item := 'shared_preload_libraries';
	hint := NULL;
	IF preloaded THEN
		status := 'ok';
		detail := 'pg_flo is loaded at server start';
	ELSE
		status := 'error';
		detail := 'pg_flo is not loaded at server start';
		hint := 'Add pg_flo to shared_preload_libraries and restart the server.';
	END IF;
	RETURN NEXT;

	item := 'wal_level';
	hint := NULL;
	detail := 'wal_level is ' || current_setting('wal_level');
	IF current_setting('wal_level') = 'logical' THEN
		status := 'ok';
	ELSIF replicators > 0 THEN
		status := 'error';
		hint := 'Set wal_level to logical and restart the server.';
	ELSE
		status := 'ok';
		detail := detail || ', enough for a destination';
	END IF;
	RETURN NEXT;

	item := 'pg_flo.enabled';
	hint := NULL;
	detail := 'pg_flo.enabled is ' || coalesce(current_setting('pg_flo.enabled', true), 'unknown');
	status := 'ok';
	IF current_setting('pg_flo.enabled', true) = 'off' THEN
		status := 'warning';
		hint := 'Nothing runs until it is on.';
	END IF;
	RETURN NEXT;

	own_slots := (SELECT count(*) FROM pg_replication_slots s
				   WHERE s.slot_name IN (SELECT 'pgflo_' || own_database || '_' || r.group_name FROM flo.replicators r));
	item := 'replication slots';
	status := 'ok';
	hint := NULL;
	detail := format('%s of %s are in use, pg_flo uses %s and needs %s here', used_slots, slots, own_slots, replicators);
	IF slots - used_slots < replicators - own_slots THEN
		status := 'error';
		hint := 'Free a slot or increase max_replication_slots.';
	END IF;
	RETURN NEXT;

	own_origins := (SELECT count(*) FROM pg_replication_origin o
					 WHERE o.roname IN (SELECT 'pgflo_' || own_database || '_' || w.group_name || '/' || w.worker_name FROM flo.workers w));
	item := 'replication origins';
	status := 'ok';
	hint := NULL;
	detail := format('%s of %s are in use, pg_flo uses %s and needs %s here', used_origins, origins, own_origins, workers);
	IF origins - used_origins < workers - own_origins THEN
		status := 'error';
		hint := 'Remove unused origins or increase ' ||
			CASE WHEN current_setting('max_active_replication_origins', true) IS NULL
				 THEN 'max_replication_slots.' ELSE 'max_active_replication_origins.' END;
	END IF;
	RETURN NEXT;

	-- beside the members: the launcher and the process that reads a database's configuration
	item := 'worker processes';
	status := 'ok';
	hint := NULL;
	detail := format('max_worker_processes is %s (%s used by others), pg_flo.max_workers is %s, this database has %s members',
					 processes, others, CASE WHEN preloaded THEN own_limit::text ELSE 'unknown' END, members);
	IF preloaded AND members > own_limit THEN
		status := 'error';
		hint := 'Increase pg_flo.max_workers and restart the server.';
	ELSIF members + others + 2 > processes THEN
		status := 'error';
		hint := 'Increase max_worker_processes and restart the server.';
	END IF;
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION flo.check_server(int, int, int) IS 'internal: the part of flo.check() about the server''s settings';

CREATE FUNCTION flo.check_source(group_name text, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	replicator flo.replicators;
	names text;
	keyless text;
	slot pg_replication_slots;
BEGIN
	SELECT r.* INTO replicator FROM flo.replicators r WHERE r.group_name = check_source.group_name;
	IF NOT FOUND THEN
		RETURN;
	END IF;

	-- publication and choice of tables
	item := 'publication of group ' || group_name;
	status := 'ok';
	hint := NULL;
	detail := NULL;
	IF NOT EXISTS (SELECT FROM pg_publication p WHERE p.pubname = 'pgflo_' || group_name) THEN
		status := 'error';
		detail := format('publication %I does not exist', 'pgflo_' || group_name);
		hint := 'Drop the replicator and create it again.';
		RETURN NEXT;
	ELSE
		SELECT string_agg(t.name, ', ' ORDER BY t.name) INTO names
		  FROM unnest(replicator.tables) t (name) WHERE to_regclass(t.name) IS NULL;
		IF names IS NOT NULL THEN
			status := 'warning';
			detail := 'tables that no longer exist under their name: ' || names;
			hint := 'They were dropped or renamed since; a renamed table is still replicated.';
			RETURN NEXT;
		END IF;

		SELECT string_agg(c.relation::text, ', ' ORDER BY c.relation::text) INTO names
		  FROM flo.covered_tables(group_name) c WHERE NOT c.published AND c.has_identity;
		IF names IS NOT NULL THEN
			status := 'warning';
			detail := 'tables of the group that are not published: ' || names;
			hint := 'Add them with flo.add_table().';
			RETURN NEXT;
		END IF;

		SELECT string_agg(t.table_name, ', ' ORDER BY t.table_name) INTO names
		  FROM flo.tables t
		 WHERE t.group_name = check_source.group_name
		   AND NOT EXISTS (SELECT FROM flo.covered_tables(check_source.group_name) c
							WHERE c.relation = to_regclass(t.table_name));
		IF names IS NOT NULL THEN
			status := 'warning';
			detail := 'published tables that flo.replicators does not list: ' || names;
			hint := 'They were added to the publication by hand or renamed; rows they held before were not copied.';
			RETURN NEXT;
		END IF;

		IF status = 'ok' THEN
			detail := format('tables published: %s',
							 (SELECT count(*) FROM flo.tables t WHERE t.group_name = check_source.group_name));
			RETURN NEXT;
		END IF;
	END IF;

	-- replica identities
	item := 'replica identities of group ' || group_name;
	status := 'ok';
	detail := 'every published table has one';
	hint := NULL;
	SELECT string_agg(c.relation::text, ', ' ORDER BY c.relation::text) FILTER (WHERE c.published),
		   string_agg(c.relation::text, ', ' ORDER BY c.relation::text) FILTER (WHERE NOT c.published)
	  INTO names, keyless
	  FROM flo.covered_tables(group_name) c
	 WHERE NOT c.has_identity
	   AND NOT EXISTS (SELECT FROM pg_publication p JOIN pg_publication_rel pr ON pr.prpubid = p.oid
						WHERE p.pubname = 'pgflo_' || check_source.group_name || '_insert' AND pr.prrelid = c.relation);
	IF names IS NOT NULL THEN
		status := 'error';
		detail := 'UPDATE and DELETE fail on published tables without a usable one: ' || names;
		hint := 'Add a primary key, set a replica identity, or take the tables out with flo.remove_table().';
	ELSIF keyless IS NOT NULL THEN
		status := 'warning';
		detail := 'not replicated because they have none that is usable: ' || keyless;
		hint := 'They join when they get a primary key; see also the option keyless_tables.';
	END IF;
	RETURN NEXT;

	-- what is covered by name or place, but never in the WAL
	item := 'unlogged and foreign tables of group ' || group_name;
	status := 'ok';
	detail := 'none among the group''s tables';
	hint := NULL;
	SELECT string_agg(c.oid::regclass::text, ', ' ORDER BY c.oid::regclass::text) INTO names
	  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	 WHERE ((c.relkind IN ('r', 'p') AND c.relpersistence = 'u') OR c.relkind = 'f')
	   AND c.oid >= 16384 AND n.nspname <> 'flo'
	   AND (replicator.except_tables IS NULL OR format('%I.%I', n.nspname, c.relname) <> ALL (replicator.except_tables))
	   AND (n.nspname = ANY (replicator.schemas)
			OR (replicator.tables IS NULL AND replicator.schemas IS NULL)
			OR EXISTS (SELECT FROM pg_partition_ancestors(c.oid) a JOIN flo.covered_tables(check_source.group_name) t ON t.relation = a.relid));
	IF names IS NOT NULL THEN
		status := 'warning';
		detail := 'not replicated: ' || names;
		hint := 'Their changes are not in the WAL.';
	END IF;
	RETURN NEXT;

	item := 'large objects of group ' || group_name;
	status := 'ok';
	detail := 'none';
	hint := NULL;
	IF EXISTS (SELECT FROM pg_largeobject_metadata) THEN
		SELECT string_agg(c.relation::text || '.' || quote_ident(a.attname), ', ' ORDER BY c.relation::text, a.attnum) INTO names
		  FROM flo.covered_tables(group_name) c JOIN pg_attribute a ON a.attrelid = c.relation
		 WHERE a.attnum > 0 AND NOT a.attisdropped
		   AND (a.atttypid = 'oid'::regtype OR EXISTS (SELECT FROM pg_type t WHERE t.oid = a.atttypid AND t.typname = 'lo'));
		detail := 'the database has large objects, none of the group''s columns seems to refer to them';
		IF names IS NOT NULL THEN
			status := 'warning';
			detail := 'large objects are not replicated; columns that may refer to some: ' || names;
			hint := 'Move them to columns of type bytea, or copy them by other means.';
		END IF;
	END IF;
	RETURN NEXT;

	-- the slot, and what may take it away
	item := 'replication slot of group ' || group_name;
	status := 'ok';
	hint := NULL;
	SELECT s.* INTO slot FROM pg_replication_slots s
	 WHERE s.slot_name = 'pgflo_' || (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()) || '_' || group_name;
	IF NOT FOUND THEN
		detail := 'not made yet';
		IF EXISTS (SELECT FROM flo.generations g WHERE g.group_name = check_source.group_name) THEN
			status := 'error';
			detail := 'the slot is gone';
			hint := 'Changes since its loss cannot be had any more: drop the replicator and create it again.';
		END IF;
	ELSIF slot.wal_status = 'lost' THEN
		status := 'error';
		detail := 'the server has removed WAL that the slot needs';
		hint := 'Drop the replicator and create it again; see max_slot_wal_keep_size.';
	ELSE
		detail := format('%s keeps %s of WAL', slot.slot_name,
						 pg_size_pretty(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
											 ELSE pg_current_wal_lsn() END - slot.restart_lsn));
	END IF;
	IF status = 'ok' AND current_setting('max_slot_wal_keep_size') <> '-1' THEN
		status := 'warning';
		detail := detail || ', and max_slot_wal_keep_size is ' || current_setting('max_slot_wal_keep_size');
		hint := 'The slot is lost when NATS is away for longer than that much WAL lasts.';
	END IF;
	RETURN NEXT;
END
$$;
COMMENT ON FUNCTION flo.check_source(text) IS 'internal: the part of flo.check() about a group''s replicator';

CREATE FUNCTION flo.check_members(group_name text, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	member record;
	names text;
BEGIN
	FOR member IN
		SELECT s.member, s.state, s.detail, s.last_error,
			   EXISTS (SELECT FROM pg_roles o WHERE o.rolname = m.owner) AS owner_exists, m.owner
		  FROM flo.status s
		  JOIN (SELECT r.group_name, 'replicator' AS member, r.owner FROM flo.replicators r
				UNION ALL SELECT w.group_name, w.worker_name, w.owner FROM flo.workers w) m
			ON m.group_name = s.group_name AND m.member = s.member
		 WHERE s.group_name = check_members.group_name ORDER BY s.member
	LOOP
		item := format('member %s of group %s', member.member, group_name);
		hint := NULL;
		detail := concat_ws(': ', member.state, member.detail);
		status := CASE WHEN member.state = 'failed' THEN 'error'
					   WHEN member.state IN ('backoff', 'waiting', 'stopped') THEN 'warning'
					   ELSE 'ok' END;
		IF member.state IN ('failed', 'backoff') AND member.last_error IS NOT NULL
		   AND position(coalesce(member.detail, '-') IN member.last_error) = 0 THEN
			detail := detail || '; last error: ' || member.last_error;
		END IF;
		IF member.state = 'stopped' THEN
			hint := 'flo.start_group() starts it.';
		ELSIF member.state = 'failed' THEN
			hint := 'Remove the cause, then call flo.start_group().';
		END IF;
		RETURN NEXT;

		IF NOT member.owner_exists THEN
			status := 'error';
			detail := format('its owner "%s" does not exist', member.owner);
			hint := 'Create the role, or drop the member and create it again.';
			RETURN NEXT;
		END IF;
	END LOOP;

	item := 'rules and routes of group ' || group_name;
	status := 'ok';
	detail := 'none';
	hint := NULL;
	SELECT string_agg(x.name, ', ') INTO names
	  FROM (SELECT format('rule %s', r.id) AS name FROM flo.rules r WHERE r.group_name = check_members.group_name AND r.enabled
			UNION ALL
			SELECT format('route %s', r.id) FROM flo.routes r WHERE r.group_name = check_members.group_name AND r.enabled
			UNION ALL
			SELECT format('webhook subscription %s', s.id) FROM flo.webhook_subscriptions s
			 WHERE s.group_name = check_members.group_name AND s.enabled) x;
	IF names IS NOT NULL THEN
		status := 'error';
		detail := 'not executed by this release, the group does not start: ' || names;
		hint := 'Delete or disable them.';
		RETURN NEXT;

		SELECT string_agg(x.name, ', ') INTO names
		  FROM (SELECT format('rule %s (%I.%I)', r.id, r.schema_name, r.table_name) AS name FROM flo.rules r
				 WHERE r.group_name = check_members.group_name AND r.enabled
				   AND to_regclass(format('%I.%I', r.schema_name, r.table_name)) IS NULL
				UNION ALL
				SELECT format('route %s (%I.%I)', r.id, coalesce(r.destination_schema, r.source_schema),
							  coalesce(r.destination_table, r.source_table)) FROM flo.routes r
				 WHERE r.group_name = check_members.group_name AND r.enabled AND r.source_table <> '*'
				   AND to_regclass(format('%I.%I', coalesce(r.destination_schema, r.source_schema),
										  coalesce(r.destination_table, r.source_table))) IS NULL) x;
		IF names IS NOT NULL THEN
			status := 'warning';
			detail := 'name tables that do not exist in this database: ' || names;
			hint := NULL;
			RETURN NEXT;
		END IF;
	ELSE
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION flo.check_members(text) IS 'internal: the part of flo.check() about a group''s processes, rules and routes';

CREATE FUNCTION flo.check(group_name text DEFAULT NULL, OUT item text, OUT status text, OUT detail text, OUT hint text)
	RETURNS SETOF record LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
	name text;
BEGIN
	IF group_name IS NOT NULL AND NOT EXISTS (SELECT FROM flo.groups g WHERE g.group_name = "check".group_name) THEN
		RAISE EXCEPTION 'group "%" does not exist in this database', group_name
			USING ERRCODE = 'undefined_object', HINT = 'flo.groups lists the groups of this database.';
	END IF;

	RETURN QUERY
		SELECT s.* FROM flo.check_server(
			(SELECT count(*)::int FROM (SELECT FROM flo.replicators UNION ALL SELECT FROM flo.workers) m),
			(SELECT count(*)::int FROM flo.replicators),
			(SELECT count(*)::int FROM flo.workers w WHERE w.sink = 'postgres')) s;

	FOR name IN
		SELECT g.group_name FROM flo.groups g
		 WHERE "check".group_name IS NULL OR g.group_name = "check".group_name ORDER BY g.group_name
	LOOP
		RETURN QUERY SELECT s.* FROM flo.check_source(name) s;
		RETURN QUERY SELECT m.* FROM flo.check_members(name) m;
	END LOOP;

	RETURN QUERY SELECT b.* FROM flo.check_broker(group_name) b;
END
$$;
COMMENT ON FUNCTION flo.check(text) IS
'Preflight of one group or of all groups here: what is ok, what is not (warning, error) and what to do about it. Error: 42704 unknown group';

---------------------------------------------------------------------------
-- Privileges: functions for those who are granted them, the rest to be read
---------------------------------------------------------------------------

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA flo FROM PUBLIC;
-- the views call these with the rights of whoever looks
GRANT EXECUTE ON FUNCTION flo.member_stats(), flo.origin_position(text, text), flo.is_preloaded(), flo.launcher_problem() TO PUBLIC;

GRANT SELECT ON ALL TABLES IN SCHEMA flo TO PUBLIC;
GRANT SELECT ON SEQUENCE flo.rules_id_seq, flo.routes_id_seq, flo.webhook_subscriptions_id_seq TO PUBLIC;
REVOKE ALL ON flo.secrets FROM PUBLIC;
